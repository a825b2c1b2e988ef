/* SPDX-License-Identifier: Apache-2.0 */
/* What sekoia-ebpf can be told to do. A command of more than a few lines has a file of its own. */
#pragma once

#include "config/config.h"

/* The first row is what a bare invocation runs; the last is zeroed. */
extern const struct config_command commands[];
