/* SPDX-License-Identifier: Apache-2.0 */
#include "output/backoff.h"

#include "tests/lib/test.h"

static uint64_t limit_after(uint32_t attempts, uint64_t max_ms)
{
	uint64_t most = 2 * BACKOFF_MIN_MS;

	while (attempts-- && most < max_ms)
		most *= 2;
	return most < max_ms ? most : max_ms;
}

TEST(each_pause_is_between_the_least_and_a_limit_that_doubles)
{
	for (uint64_t seed = 0; seed < 200; seed++) {
		struct backoff b;

		backoff_init(&b, seed, 60000);
		for (uint32_t i = 0; i < 100; i++) {
			uint64_t ms = backoff_next_ms(&b, 0);

			CHECK(ms >= BACKOFF_MIN_MS);
			CHECK(ms <= limit_after(i, 60000));
		}
	}
}

TEST(the_whole_range_is_used)
{
	uint64_t least = UINT64_MAX, most = 0;
	struct backoff b;

	backoff_init(&b, 7, 60000);
	for (int i = 0; i < 20; i++)
		backoff_next_ms(&b, 0);
	for (int i = 0; i < 2000; i++) {
		uint64_t ms = backoff_next_ms(&b, 0);

		least = ms < least ? ms : least;
		most = ms > most ? ms : most;
	}
	CHECK(least < 2000);
	CHECK(most > 58000);
}

TEST(hosts_do_not_come_back_together)
{
	int same = 0;

	for (uint64_t seed = 0; seed < 1000; seed++) {
		struct backoff a, b;

		backoff_init(&a, seed, 60000);
		backoff_init(&b, seed + 1, 60000);
		same += backoff_next_ms(&a, 0) == backoff_next_ms(&b, 0);
	}
	CHECK(same < 20);
}

TEST(the_same_seed_gives_the_same_pauses)
{
	struct backoff a, b;

	backoff_init(&a, 99, 5000);
	backoff_init(&b, 99, 5000);
	for (int i = 0; i < 50; i++)
		CHECK_INT(backoff_next_ms(&a, 0), backoff_next_ms(&b, 0));
}

TEST(progress_starts_anew)
{
	struct backoff b;

	backoff_init(&b, 3, 60000);
	for (int i = 0; i < 30; i++)
		backoff_next_ms(&b, 0);
	backoff_reset(&b);
	CHECK(backoff_next_ms(&b, 0) <= 2 * BACKOFF_MIN_MS);
}

TEST(a_small_ceiling_is_kept)
{
	static const uint64_t ceilings[] = { 0, 1, 100, 499, 500, 501, 999, 1000, 1001 };

	for (size_t i = 0; i < sizeof(ceilings) / sizeof(ceilings[0]); i++) {
		struct backoff b;

		backoff_init(&b, i, ceilings[i]);
		for (int k = 0; k < 100; k++)
			CHECK(backoff_next_ms(&b, 0) <= ceilings[i]);
	}
}

TEST(a_huge_ceiling_does_not_overflow)
{
	struct backoff b;

	backoff_init(&b, 1, UINT64_MAX / 4);
	for (int i = 0; i < 1000; i++)
		CHECK(backoff_next_ms(&b, 0) <= UINT64_MAX / 4);
}

TEST(the_peer_may_ask_for_more_but_not_for_less)
{
	for (uint64_t seed = 0; seed < 100; seed++) {
		struct backoff b;
		uint64_t ms;

		backoff_init(&b, seed, 60000);
		ms = backoff_next_ms(&b, 120000);
		CHECK(ms >= 120000);
		CHECK(ms <= 120000 + BACKOFF_MIN_MS);
		CHECK(backoff_next_ms(&b, 1) >= BACKOFF_MIN_MS);
		ms = backoff_next_ms(&b, UINT64_MAX);
		CHECK(ms <= BACKOFF_RETRY_AFTER_MAX_MS + BACKOFF_MIN_MS);
	}
}
