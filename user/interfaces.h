/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interface numbers to names, in our own network namespace only: a number of
 * another one would get somebody else's name. A small cache; entries are asked
 * for again after a while, since numbers are given again.
 */
#pragma once

#include <net/if.h>
#include <stdint.h>

#include "user/util/slice.h"

#define INTERFACES_MAX	   64
#define INTERFACES_KEEP_MS 10000

struct interfaces {
	uint32_t netns; /* inode number of ours; 0: not known, and then nothing has a name */
	uint64_t lookups;
	struct {
		uint32_t ifindex;
		uint64_t until_ms;
		char name[IF_NAMESIZE];
	} slots[INTERFACES_MAX];
};

/* Reads which namespace this is. */
void interfaces_init(struct interfaces *i);

/* Empty when it has no name, or is in another namespace. Lives until the next call. */
struct slice interfaces_find(struct interfaces *i, uint32_t ifindex, uint32_t netns,
			     uint64_t now_ms);
