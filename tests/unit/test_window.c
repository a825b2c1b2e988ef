/* SPDX-License-Identifier: Apache-2.0 */
#include "output/window.h"

#include <errno.h>

#include "tests/lib/test.h"

static uint64_t random_state;

static uint64_t random_below(uint64_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (random_state >> 8) % n;
}

TEST(in_order)
{
	struct window w;
	uint64_t seq, rejected, filtered;

	CHECK_INT(window_init(&w, 4, 1000), 0);
	CHECK(window_is_empty(&w));
	CHECK(!window_take(&w, &seq, &rejected, &filtered));
	for (uint64_t i = 1; i <= 4; i++)
		CHECK_INT(window_push(&w, i, 10), 0);
	CHECK_INT(window_push(&w, 5, 10), -ENOBUFS);
	CHECK_INT(window_settle(&w, 1, 2, false), 2);
	CHECK(window_take(&w, &seq, &rejected, &filtered));
	CHECK_INT(seq, 2);
	CHECK_INT(rejected, 0);
	CHECK(!window_take(&w, &seq, &rejected, &filtered));
	CHECK_INT(window_push(&w, 5, 10), 0);
	window_done(&w);
}

TEST(out_of_order_waits_for_the_gap)
{
	struct window w;
	uint64_t seq, rejected, filtered;

	CHECK_INT(window_init(&w, 8, 1000), 0);
	for (uint64_t i = 10; i < 18; i++)
		CHECK_INT(window_push(&w, i, 1), 0);
	CHECK_INT(window_settle(&w, 12, 17, true), 6);
	CHECK(!window_take(&w, &seq, &rejected, &filtered));
	CHECK_INT(window_push(&w, 18, 1), -ENOBUFS);
	CHECK_INT(window_settle(&w, 10, 11, false), 2);
	CHECK(window_take(&w, &seq, &rejected, &filtered));
	CHECK_INT(seq, 17);
	CHECK_INT(rejected, 6);
	CHECK(window_is_empty(&w));
	window_done(&w);
}

TEST(nothing_is_settled_twice)
{
	struct window w;
	uint64_t seq, rejected, filtered;

	CHECK_INT(window_init(&w, 8, 1000), 0);
	CHECK_INT(window_push(&w, 5, 1), 0);
	CHECK_INT(window_push(&w, 9, 1), 0);
	CHECK_INT(window_settle(&w, 9, 9, true), 1);
	CHECK_INT(window_settle(&w, 9, 9, false), 0);
	CHECK_INT(window_settle(&w, 0, UINT64_MAX, false), 1);
	CHECK_INT(window_settle(&w, 0, UINT64_MAX, false), 0);
	CHECK(window_take(&w, &seq, &rejected, &filtered));
	CHECK_INT(seq, 9);
	CHECK_INT(rejected, 1);
	CHECK_INT(window_settle(&w, 5, 9, false), 0);
	CHECK(!window_take(&w, &seq, &rejected, &filtered));
	window_done(&w);
}

TEST(what_was_not_sent_can_not_be_settled)
{
	struct window w;
	uint64_t seq, rejected, filtered;

	CHECK_INT(window_init(&w, 8, 1000), 0);
	CHECK_INT(window_push(&w, 5, 1), 0);
	CHECK_INT(window_push(&w, 50, 1), 0);
	CHECK_INT(window_settle(&w, 6, 49, false), 0);
	CHECK_INT(window_settle(&w, 51, UINT64_MAX, false), 0);
	CHECK_INT(window_settle(&w, 0, 4, false), 0);
	CHECK_INT(window_settle(&w, 50, 5, false), 0);
	CHECK(!window_take(&w, &seq, &rejected, &filtered));
	window_done(&w);
}

TEST(numbers_must_grow)
{
	struct window w;

	CHECK_INT(window_init(&w, 8, 1000), 0);
	CHECK_INT(window_push(&w, 5, 1), 0);
	CHECK_INT(window_push(&w, 5, 1), -EINVAL);
	CHECK_INT(window_push(&w, 4, 1), -EINVAL);
	window_reset(&w);
	CHECK_INT(window_push(&w, 4, 1), 0);
	window_done(&w);
}

TEST(the_last_one_can_be_taken_back)
{
	struct window w;
	uint64_t seq, rejected, filtered;

	CHECK_INT(window_init(&w, 2, 10), 0);
	window_unpush(&w, 1);
	CHECK_INT(window_push(&w, 1, 6), 0);
	CHECK_INT(window_push(&w, 2, 4), 0);
	window_unpush(&w, 1);
	CHECK_INT(w.unsettled, 2);
	window_unpush(&w, 2);
	CHECK_INT(w.unsettled, 1);
	CHECK_INT(w.bytes, 6);
	CHECK_INT(window_push(&w, 2, 4), 0);
	CHECK_INT(window_settle(&w, 2, 2, false), 1);
	window_unpush(&w, 2);
	CHECK_INT(window_settle(&w, 1, 1, false), 1);
	CHECK(window_take(&w, &seq, &rejected, &filtered));
	CHECK_INT(seq, 2);
	window_done(&w);
}

TEST(bytes_are_a_ceiling_except_for_one_large_message)
{
	struct window w;

	CHECK_INT(window_init(&w, 8, 100), 0);
	CHECK(window_has_room(&w, 5000));
	CHECK_INT(window_push(&w, 1, 5000), 0);
	CHECK(!window_has_room(&w, 1));
	CHECK(!window_has_room(&w, 0));
	CHECK_INT(window_settle(&w, 1, 1, false), 1);
	CHECK(window_has_room(&w, 100));
	CHECK_INT(window_push(&w, 2, 60), 0);
	CHECK(window_has_room(&w, 40));
	CHECK(!window_has_room(&w, 41));
	/* What is settled does not count, wherever it stands. */
	CHECK_INT(window_push(&w, 3, 40), 0);
	CHECK_INT(window_settle(&w, 3, 3, false), 1);
	CHECK(window_has_room(&w, 40));
	window_done(&w);
}

/* The same in the most naive way: one cell per number. */
#define MODEL_SEQS 100000
static struct {
	bool sent, settled;
	enum window_fate fate;
	uint32_t bytes;
} model[MODEL_SEQS];

static void against_the_model(uint64_t seed, uint32_t max_msgs, uint64_t max_bytes, int gap_percent)
{
	uint64_t next = 1, taken = 0; /* everything up to taken was taken */
	struct window w;

	random_state = seed * 0x9e3779b97f4a7c15ull + 1;
	memset(model, 0, sizeof(model));
	CHECK_INT(window_init(&w, max_msgs, max_bytes), 0);
	for (int step = 0; step < 20000 && next < MODEL_SEQS - 2000 && !test_failed; step++) {
		uint64_t span = 0, bytes = 0, unsettled = 0, seq, rejected, filtered, want_seq = 0,
			 want_rejected = 0, want_filtered = 0;
		bool took;

		for (uint64_t i = taken + 1; i < next; i++) {
			span += model[i].sent;
			if (model[i].sent && !model[i].settled) {
				unsettled++;
				bytes += model[i].bytes;
			}
		}
		CHECK_INT(w.unsettled, unsettled);
		CHECK_INT(w.bytes, bytes);
		CHECK_INT(window_is_empty(&w), span == 0);

		switch (random_below(10)) {
		case 0 ... 4: {
			uint32_t size = (uint32_t)random_below(max_bytes / 4 + 2);
			bool room = span < max_msgs && (!unsettled || bytes + size <= max_bytes);

			if (random_below(100) < (uint64_t)gap_percent)
				next += 1 + random_below(random_below(20) ? 5 : 300);
			CHECK_INT(window_has_room(&w, size), room);
			CHECK_INT(window_push(&w, next, size), room ? 0 : -ENOBUFS);
			if (room) {
				model[next].sent = true;
				model[next].bytes = size;
				next++;
			}
			break;
		}
		case 5 ... 7: {
			uint64_t from = taken + random_below(next - taken + 5);
			uint64_t to = from + random_below(random_below(3) ? 4 : 60);
			enum window_fate fate = random_below(4)	  ? WINDOW_ACKED
						: random_below(2) ? WINDOW_REJECTED
								  : WINDOW_FILTERED;
			uint32_t n = 0;

			for (uint64_t i = from; i <= to; i++) {
				if (!model[i].sent || model[i].settled || i <= taken)
					continue;
				model[i].settled = true;
				model[i].fate = fate;
				n++;
			}
			CHECK_INT(window_settle(&w, from, to, fate), n);
			break;
		}
		case 8:
			for (uint64_t i = taken + 1; i < next; i++) {
				if (!model[i].sent)
					continue;
				if (!model[i].settled)
					break;
				want_seq = i;
				want_rejected += model[i].fate == WINDOW_REJECTED;
				want_filtered += model[i].fate == WINDOW_FILTERED;
			}
			took = window_take(&w, &seq, &rejected, &filtered);
			CHECK_INT(took, want_seq != 0);
			if (took && want_seq) {
				CHECK_INT(seq, want_seq);
				CHECK_INT(rejected, want_rejected);
				CHECK_INT(filtered, want_filtered);
				taken = want_seq;
			}
			break;
		default:
			window_rest(&w);
			if (random_below(40))
				break;
			/* The connection was lost: all that was not taken is sent again. */
			window_reset(&w);
			for (uint64_t i = taken + 1; i < next; i++)
				memset(&model[i], 0, sizeof(model[i]));
			next = taken + 1;
		}
	}
	window_done(&w);
}

TEST(random_operations_agree_with_a_naive_model)
{
	static const struct {
		uint32_t msgs;
		uint64_t bytes;
		int gap_percent;
	} cases[] = {
		{ 1, 100, 0 },	     { 1, 100, 50 },	  { 2, 10, 10 },
		{ 7, 1000, 0 },	     { 64, 400, 5 },	  { 100, 1 << 20, 30 },
		{ 100, 1 << 20, 0 }, { 128, 100000, 90 }, { 1024, 1 << 30, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (uint64_t seed = 1; seed <= 3; seed++)
			against_the_model(seed * 100 + i, cases[i].msgs, cases[i].bytes,
					  cases[i].gap_percent);
}

TEST(after_a_cut_only_what_is_not_settled_goes_again)
{
	struct window w;
	uint64_t seq, rejected, filtered;

	CHECK_INT(window_init(&w, 8, 1000), 0);
	for (uint64_t i = 1; i <= 8; i++)
		CHECK_INT(window_push(&w, i, 10), 0);
	CHECK_INT(window_settle(&w, 2, 2, false), 1);
	CHECK_INT(window_settle(&w, 4, 6, false), 3);
	CHECK_INT(window_settle(&w, 7, 7, true), 1);
	window_rewind(&w);
	CHECK_INT(w.unsettled, 0);
	/* An answer that comes late is for nobody. */
	CHECK_INT(window_settle(&w, 1, 8, false), 0);
	CHECK(!window_take(&w, &seq, &rejected, &filtered));

	CHECK(!window_pass(&w, 1));
	CHECK(window_has_room(&w, 10));
	CHECK_INT(window_push(&w, 1, 10), 0);
	CHECK(window_pass(&w, 2));
	CHECK(!window_pass(&w, 3));
	CHECK_INT(window_push(&w, 3, 10), 0);
	window_unpush(&w, 3);
	CHECK_INT(w.unsettled, 1);
	CHECK(!window_pass(&w, 3));
	CHECK_INT(window_push(&w, 3, 10), 0);
	for (uint64_t i = 4; i <= 7; i++)
		CHECK(window_pass(&w, i));
	CHECK(!window_pass(&w, 8));
	CHECK_INT(window_push(&w, 8, 10), 0);
	CHECK(!window_pass(&w, 9));
	CHECK_INT(window_push(&w, 9, 10), -ENOBUFS);
	CHECK_INT(w.unsettled, 3);
	CHECK_INT(window_settle(&w, 1, 8, false), 3);
	CHECK(window_take(&w, &seq, &rejected, &filtered));
	CHECK_INT(seq, 8);
	CHECK_INT(rejected, 1);
	CHECK(window_is_empty(&w));
	CHECK_INT(window_push(&w, 9, 10), 0);
	window_done(&w);
}

/* The spool's limit took some of them in the meantime. */
TEST(what_is_gone_when_it_should_go_again_holds_nothing_up)
{
	struct window w;
	uint64_t seq, rejected, filtered;

	CHECK_INT(window_init(&w, 8, 1000), 0);
	for (uint64_t i = 1; i <= 6; i++)
		CHECK_INT(window_push(&w, i, 10), 0);
	CHECK_INT(window_settle(&w, 2, 2, true), 1);
	window_rewind(&w);
	CHECK(!window_pass(&w, 5));
	CHECK_INT(window_push(&w, 5, 10), 0);
	CHECK(window_take(&w, &seq, &rejected, &filtered));
	CHECK_INT(seq, 4);
	CHECK_INT(rejected, 0);
	CHECK(!window_pass(&w, 100));
	CHECK_INT(window_push(&w, 100, 10), 0);
	CHECK_INT(window_settle(&w, 5, 100, false), 2);
	CHECK(window_take(&w, &seq, &rejected, &filtered));
	CHECK_INT(seq, 100);
	CHECK_INT(window_push(&w, 100, 10), 0); /* it is empty: any number may begin it */
	window_done(&w);
}

/* Random cuts against a plain list of what has been settled. */
TEST(cuts_at_random)
{
	enum { N = 20000 };
	static uint8_t state[N + 1]; /* 1: acked, 2: rejected */
	struct window w;
	uint64_t cursor = 0, next = 1, sent = 0, seq, rejected, filtered, n_rejected = 0,
		 taken_rejected = 0;

	random_state = 42;
	memset(state, 0, sizeof(state));
	CHECK_INT(window_init(&w, 64, 100000), 0);
	while (cursor < N) {
		switch (random_below(40)) {
		case 0:
			window_rewind(&w);
			next = cursor + 1;
			break;
		case 1 ... 20:
			if (next > N)
				break;
			if (window_pass(&w, next)) {
				CHECK(state[next]);
				next++;
			} else if (window_has_room(&w, 10)) {
				CHECK(!state[next]);
				CHECK_INT(window_push(&w, next, 10), 0);
				next++;
				sent++;
			}
			break;
		default:
			seq = cursor + 1 + random_below(64);
			if (seq >= next || state[seq])
				break;
			state[seq] = (uint8_t)(1 + random_below(2));
			CHECK_INT(window_settle(&w, seq, seq, state[seq] == 2), 1);
			n_rejected += state[seq] == 2;
		}
		if (window_take(&w, &seq, &rejected, &filtered)) {
			for (uint64_t i = cursor + 1; i <= seq; i++)
				CHECK(state[i]);
			taken_rejected += rejected;
			cursor = seq;
		}
	}
	CHECK_INT(cursor, N);
	CHECK_INT(taken_rejected, n_rejected);
	CHECK(sent > N);
	window_done(&w);
}
