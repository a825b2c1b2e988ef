/* SPDX-License-Identifier: Apache-2.0 */
#include "output/backoff.h"

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* splitmix64: any state will do, and each step changes all bits. */
static uint64_t next_random(struct backoff *b)
{
	uint64_t x = b->random += 0x9e3779b97f4a7c15ull;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

void backoff_init(struct backoff *b, uint64_t seed, uint64_t max_ms)
{
	*b = (struct backoff){ .random = seed, .max_ms = max_ms };
}

uint64_t backoff_next_ms(struct backoff *b, uint64_t retry_after_ms)
{
	uint64_t least = min_u64(BACKOFF_MIN_MS, b->max_ms);
	uint64_t most = 2 * least;
	uint64_t pause;

	for (uint32_t i = 0; i < b->attempts && most < b->max_ms; i++)
		most *= 2;
	most = min_u64(most, b->max_ms);
	if (b->attempts < UINT32_MAX)
		b->attempts++;

	pause = least + next_random(b) % (most - least + 1);
	retry_after_ms = min_u64(retry_after_ms, BACKOFF_RETRY_AFTER_MAX_MS);
	/* All that were told the same time should not take it to the millisecond. */
	if (retry_after_ms > pause)
		pause = retry_after_ms + next_random(b) % (least + 1);
	return pause;
}

uint64_t backoff_jitter_ms(struct backoff *b, uint64_t most_ms)
{
	return next_random(b) % (most_ms + 1);
}

void backoff_reset(struct backoff *b)
{
	b->attempts = 0;
}
