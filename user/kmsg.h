/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One record of /dev/kmsg, as read(2) gives it:
 *
 *   6,339,5140900,-;NET: Registered PF_INET6
 *    SUBSYSTEM=pci
 *    DEVICE=+pci:0000:00:01.0
 *
 * Pure. Gaps in seq are losses, and for the reader to count.
 */
#pragma once

#include <stdint.h>

#include "user/util/slice.h"

#define KMSG_MAX 8192 /* what the kernel writes at most, in its escaped form */

struct kmsg {
	uint8_t pri; /* facility * 8 + severity; facility 0 is the kernel itself */
	uint64_t seq;
	uint64_t clock_us;		/* of the kernel log's clock, which stops in suspend */
	struct slice text;		/* unescaped */
	struct slice subsystem, device; /* may be empty */
	char buf[KMSG_MAX];		/* the slices point here: do not copy this struct */
};

/* 0, or -EBADMSG for what the kernel did not write. */
int kmsg_parse(struct slice record, struct kmsg *ret);
