/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which flows, and journal lines, are wanted: the lists of [flows] and [journal], read. An item is
 * wanted, or with a ! in front of it unwanted; a list with a wanted item wants nothing else. What
 * the lists mean to the kernel is in user/flow_rules.c, and to the journal in
 * user/journal_filter.c.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "user/util/slice.h"

#define FLOW_LIST_MAX  256 /* items of a list */
#define FLOW_ITEM_SIZE 256

struct flow_network {
	uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d; bits behind the prefix are 0 */
	uint32_t prefix_len; /* 0 to 128; of IPv4: 96 and more */
	bool unwanted;
};

struct flow_ports {
	uint16_t first, last;
	bool unwanted;
};

/* A user, a process or a cgroup, as it was written. */
struct flow_name {
	struct slice name;
	bool unwanted;
};

/* Without what a message or a list could not have: blanks, commas, control characters. */
bool flow_is_plain(struct slice name);

/* Calls fn for each item of a list. False as soon as fn says so, or for an empty or 257th item. */
bool flow_list_each(const char *list, bool (*fn)(void *arg, struct slice item, bool unwanted),
		    void *arg);

/* One item each; false when it is none. */
bool flow_network_parse(struct slice item, struct flow_network *ret);
bool flow_ports_parse(struct slice item, struct flow_ports *ret);
/* An IANA protocol number, or the name of a usual one. -1: neither. */
int flow_protocol_parse(struct slice item);
