/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel counts by itself of packets that belong to no socket, from
 * /proc/net/snmp and snmp6: of the network namespace that we run in, since it was made.
 */
#pragma once

#include <stdint.h>

#include "user/util/slice.h"

enum unowned {
	UNOWNED_TCP,
	UNOWNED_UDP,
	UNOWNED_ICMP,
	UNOWNED_ICMP6,
	UNOWNED_OTHER,
	UNOWNED_FORWARDED,
	UNOWNED_KINDS,
};
extern const char *const unowned_names[UNOWNED_KINDS];

struct unowned_packets {
	uint64_t sent, received;
};

/* Adds what a file's text says; what it does not say stays. Pure. */
void snmp_parse(struct slice text, struct unowned_packets ret[static UNOWNED_KINDS]);
void snmp6_parse(struct slice text, struct unowned_packets ret[static UNOWNED_KINDS]);

/* From the files; what can not be read is 0. */
void snmp_read(struct unowned_packets ret[static UNOWNED_KINDS]);
