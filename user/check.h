/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "sekoia-ebpf check": finds out whether this host can do what the
 * configuration asks for, and what to do where it can not. Changes nothing that
 * stays. What is found goes to a sink, one thing at a time, as it is found.
 */
#pragma once

#include <stdbool.h>

#include "user/util/finding.h"

struct config;

struct check {
	const struct config *config;
	struct finding_sink sink;
};

/* The kernel: release, BTF, each program, lockdown, locked memory, bpffs, cgroups, captures. */
void check_kernel(const struct check *c);
/* The host: capabilities, kernel log, spool, clock. */
void check_host(const struct check *c);
/* The way to the intake, from a process without privileges, as the shipper goes it. */
void check_network(const struct check *c);

/* Is this capability in our effective set? */
bool check_has_cap(int cap);
