/* SPDX-License-Identifier: Apache-2.0 */
/* "sekoia-ebpf top": the flows that go on, by process, peer or container. */
#pragma once

#include "config/config.h"

/* argv: a grouping and an order, as in top_table.h. Returns the exit status. */
int command_top(const struct config *c, int argc, char **argv);
