/* SPDX-License-Identifier: Apache-2.0 */
/* What every record says about this host. Read once, at the start. */
#pragma once

#include <stdint.h>

#include "user/record.h"

struct host {
	char name[256];
	char os_name[64], os_version[64];
	char id[33]; /* of the agent: of this machine, but not its secret machine-id */
	char ips[RECORD_MAX_IPS][46];
	const char *ip_list[RECORD_MAX_IPS];
	int n_ips;
};

/* hostname: as configured, or NULL for the system's. */
void host_read(struct host *h, const char *hostname);

/* os-release(5), of which it keeps NAME and VERSION_ID; others stay as they are. Pure. */
void host_parse_os_release(struct slice text, struct host *ret);

/* Borrows: h must outlive what is made of ret. */
void host_fill(const struct host *h, struct record_opts *ret);

/*
 * What to add to a time of the kernel's log (CLOCK_MONOTONIC-like, it stops in
 * suspend) to get CLOCK_REALTIME, both in ns.
 */
int64_t host_kernel_to_real_ns(void);
