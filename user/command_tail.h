/* SPDX-License-Identifier: Apache-2.0 */
/* "sekoia-ebpf tail": the records of the collector that runs, as they pass. */
#pragma once

#include "config/config.h"

/* argv: what is to be shown, as of record_filter_add(). Returns the exit status. */
int command_tail(const struct config *c, int argc, char **argv);
