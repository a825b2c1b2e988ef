/* SPDX-License-Identifier: Apache-2.0 */
#include "user/losses.h"

#include <errno.h>

#include "tests/lib/test.h"
#include "user/books.h"
#include "user/own.h"
#include "user/source.h"

static const struct books_row *row_of(enum books_scope scope, const char *key)
{
	for (const struct books_row *row = books_rows; row->key; row++)
		if (row->scope == scope && !strcmp(row->key, key))
			return row;
	return NULL;
}

/* Where the counter stands, at a moment. */
static bool note(struct losses *l, uint64_t generation, uint64_t value, uint64_t us)
{
	return losses_note(l, row_of(BOOKS_KERNEL, "ring_full"), "kernel", "flows", generation,
			   value, value, us - 10, us);
}

/* Tells what is due: how many events, 0 for none. */
static uint64_t tell(struct losses *l, uint64_t own, uint64_t now_ms, bool all)
{
	struct loss *loss = losses_due(l, now_ms, all);
	uint64_t n;

	if (!loss)
		return 0;
	n = loss->lost - loss->told;
	losses_told(l, loss, own, now_ms);
	return n;
}

TEST(at_once_then_once_a_minute)
{
	struct losses *l;

	CHECK_INT(losses_new(&l), 0);
	CHECK(!note(l, 1, 0, 1000));
	CHECK(losses_get(l, 0) == NULL);
	CHECK(note(l, 1, 5, 1000));
	CHECK(!note(l, 1, 5, 2000));
	CHECK_INT(tell(l, 0, 100, false), 5);
	CHECK_INT(tell(l, 1, 100, false), 0);
	CHECK(note(l, 1, 7, 3000));
	CHECK(note(l, 1, 10, 4000));
	CHECK_INT(tell(l, 1, 60099, false), 0);
	CHECK_INT(losses_get(l, 0)->first_us, 2990);
	CHECK_INT(losses_get(l, 0)->last_us, 4000);
	CHECK_INT(tell(l, 1, 60100, false), 5);
	CHECK(note(l, 1, 11, 5000));
	CHECK_INT(tell(l, 2, 60200, true), 1); /* at the end, all */
	CHECK_INT(losses_get(l, 0)->lost, 11);
	CHECK_INT(losses_get(l, 0)->told, 11);
	losses_free(l);
}

TEST(a_new_generation_counts_from_nothing)
{
	struct losses *l;

	CHECK_INT(losses_new(&l), 0);
	CHECK(note(l, 1, 5, 1000));
	CHECK(note(l, 2, 3, 2000));
	CHECK_INT(tell(l, 0, 100, false), 8);
	CHECK(losses_has_grown(l, "kernel", "flows", "ring_full", 2, 4));
	CHECK(!losses_has_grown(l, "kernel", "flows", "ring_full", 2, 3));
	CHECK(losses_has_grown(l, "kernel", "flows", "ring_full", 3, 1));
	CHECK(!losses_has_grown(l, "kernel", "flows", "ring_full", 3, 0));
	losses_free(l);
}

/* A reader that has not come to the gap: its time is known, its size is not. */
TEST(what_is_noticed_is_told_when_it_is_settled)
{
	const struct books_row *row = row_of(BOOKS_OUTPUT, "dropped");
	struct losses *l;

	CHECK_INT(losses_new(&l), 0);
	CHECK(losses_note(l, row, "output", "https", 1, 0, 100, 10, 20));
	CHECK_INT(tell(l, 0, 100, true), 0);
	CHECK(losses_note(l, row, "output", "https", 1, 0, 150, 30, 40));
	/* What was read before it went is delivered still. */
	CHECK(losses_note(l, row, "output", "https", 1, 140, 140, 50, 60));
	CHECK_INT(losses_get(l, 0)->first_us, 10);
	CHECK_INT(losses_get(l, 0)->last_us, 40);
	CHECK_INT(tell(l, 0, 100, false), 140);
	CHECK(!losses_note(l, row, "output", "https", 1, 140, 140, 70, 80));
	losses_free(l);
}

/* Each loss event is refused, which is a loss. */
TEST(a_loss_of_loss_events_dies_out)
{
	const struct books_row *row = row_of(BOOKS_OUTPUT, "rejected");
	uint64_t lost = 1, own = 0, told = 0, sum = 0;
	struct losses *l;

	CHECK_INT(losses_new(&l), 0);
	for (uint64_t now_ms = 0; now_ms < 24 * 3600000ull; now_ms += 1000) {
		uint64_t n;

		losses_note(l, row, "output", "https", 1, lost, lost, now_ms * 1000, now_ms * 1000);
		n = tell(l, own, now_ms, false);
		if (n) {
			own++, told++, lost++;
			sum += n;
		}
	}
	CHECK(told < 15);
	CHECK_INT(sum + 1, lost);
	/* Others are lost again: no pause that came of ourselves is left after one of them. */
	for (uint64_t now_ms = 24 * 3600000ull; now_ms < 50 * 3600000ull; now_ms += 1000) {
		lost++;
		losses_note(l, row, "output", "https", 1, lost, lost, now_ms * 1000, now_ms * 1000);
		told += tell(l, own, now_ms, false) > 0;
	}
	CHECK(told > 60);
	losses_free(l);
}

TEST(saved_and_restored)
{
	struct losses *l, *again;
	struct buf b;

	buf_init(&b, 65536);
	CHECK_INT(losses_new(&l), 0);
	CHECK_INT(losses_new(&again), 0);
	note(l, 1, 5, 1000);
	CHECK_INT(tell(l, 0, 100, false), 5);
	note(l, 1, 9, 2000);
	CHECK_INT(losses_save(l, &b), 0);
	CHECK_INT(losses_restore(again, buf_slice(&b)), 0);
	CHECK_INT(losses_version(again), losses_version(l));
	CHECK_INT(losses_get(again, 0)->lost, 9);
	CHECK_INT(losses_get(again, 0)->told, 5);
	CHECK_STR(losses_get(again, 0)->item, "flows");
	CHECK(losses_get(again, 0)->row == row_of(BOOKS_KERNEL, "ring_full"));
	CHECK(!note(again, 1, 9, 3000));
	CHECK_INT(tell(again, 0, 0, false), 4);
	for (size_t n = 0; n < b.len; n++)
		CHECK_INT(losses_restore(again, (struct slice){ buf_data(&b), n }), -EBADMSG);
	CHECK(losses_get(again, 0) == NULL);
	buf_done(&b);
	losses_free(l);
	losses_free(again);
}

/* All that can be lost at once has its place: a reason without one would not be told. */
TEST(there_is_room_for_each_reason)
{
	static const int items[] = {
		[BOOKS_KERNEL] = KERNEL_SOURCES,
		[BOOKS_SOURCE] = SOURCE_MAX,
		[BOOKS_OUTPUT] = 8, /* OUTPUTS_MAX of shipper.c */
	};
	int n = 0;

	for (const struct books_row *row = books_rows; row->key; row++) {
		if (!row->lost)
			continue;
		CHECK(row->scope < sizeof(items) / sizeof(items[0]) && items[row->scope]);
		n += items[row->scope];
	}
	CHECK(n > 0 && n <= LOSSES_MAX);
}

TEST(more_reasons_than_there_is_room_for)
{
	struct losses *l;
	char item[16];
	int n = 0;

	CHECK_INT(losses_new(&l), 0);
	for (int i = 0; i < 2 * LOSSES_MAX; i++) {
		snprintf(item, sizeof(item), "item%d", i);
		n += losses_note(l, row_of(BOOKS_KERNEL, "ring_full"), "kernel", item, 1, 1, 1, 1,
				 2);
	}
	CHECK_INT(n, LOSSES_MAX);
	losses_free(l);
}

TEST(own_processes)
{
	struct own o = { .collector = 77 };
	struct task_ref t = { .pid = 100, .start_ns = 55 };

	CHECK(!own_has(&o, &t));
	own_add(&o, 100, 50, 60);
	CHECK(own_has(&o, &t));
	CHECK(own_has_pid(&o, 100));
	CHECK(own_has_pid(&o, 77));
	CHECK(!own_has_pid(&o, 0));
	t.start_ns = 61; /* the number was given to another */
	CHECK(!own_has(&o, &t));
	t.start_ns = 0;
	CHECK(!own_has(&o, &t));
	t = (struct task_ref){ .pid = 100, .start_ns = 50 };
	for (uint32_t i = 1; i < OWN_MAX; i++)
		own_add(&o, 100 + i, 100 * i, 100 * i + 10);
	CHECK(own_has(&o, &t));
	CHECK(!own_has_pid(&o, 100));
	own_add(&o, 200, 1000, 1010);
	CHECK(!own_has(&o, &t)); /* forgotten */
}
