/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages that the spool can not take now, copied, in their order. One sample
 * can be many lines: when the disk is full in the midst of them, the rest waits
 * here. Nothing is drained while something waits, so it is one sample's worth.
 */
#pragma once

#include <stddef.h>

#include "output/msg.h"

#define HELD_MAX_BYTES (64u << 20)

struct held {
	struct msg **list; /* each with its bytes behind it */
	size_t n, first, cap;
	size_t bytes;
};

/* Copies m. 0; -ENOBUFS: HELD_MAX_BYTES are reached; -ENOMEM. */
int held_add(struct held *h, const struct msg *m);

/* The oldest one, or NULL. Valid until it is dropped. */
const struct msg *held_first(const struct held *h);
void held_drop_first(struct held *h);

size_t held_count(const struct held *h);
void held_done(struct held *h);
