/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long to wait before the next attempt to connect: exponential with full
 * jitter, so that a fleet that lost its intake in one instant does not come
 * back in one instant. Pure: the seed comes from outside, no clock is read.
 */
#pragma once

#include <stdint.h>

#define BACKOFF_MIN_MS 500
/* The longest that a peer's Retry-After is believed. */
#define BACKOFF_RETRY_AFTER_MAX_MS (60 * 60 * 1000)

struct backoff {
	uint64_t random;   /* state of the generator */
	uint64_t max_ms;   /* the ceiling of a pause */
	uint32_t attempts; /* pauses given since the last progress */
};

/* Any seed will do; two hosts should not have the same one. */
void backoff_init(struct backoff *b, uint64_t seed, uint64_t max_ms);

/*
 * The next pause: between BACKOFF_MIN_MS (or max_ms, if that is less) and a
 * limit that starts at twice that and doubles each time up to max_ms. Not
 * shorter than retry_after_ms, the peer's own wish (0: it has none), which
 * may exceed max_ms.
 */
uint64_t backoff_next_ms(struct backoff *b, uint64_t retry_after_ms);

/* Between 0 and most_ms: so that a fleet does not go elsewhere in one instant. */
uint64_t backoff_jitter_ms(struct backoff *b, uint64_t most_ms);

/* A message was settled. That a connection was made is no reason to call this. */
void backoff_reset(struct backoff *b);
