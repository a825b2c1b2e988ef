/* SPDX-License-Identifier: Apache-2.0 */
/* "sekoia-ebpf spool": looks into a spool's directory. */
#pragma once

#include "config/config.h"

/* ls, cat or verify, and a directory. Returns the exit status: 1 for damage or failure. */
int command_spool(const struct config *c, int argc, char **argv);
