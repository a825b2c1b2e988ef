/* SPDX-License-Identifier: Apache-2.0 */
/* Which target is next, and when the first one is returned to. */
#include "output/targets.h"

#include "tests/lib/test.h"

#define BACK 300000

static struct targets t;

static void start(const char *hosts)
{
	targets_init(&t, hosts, "region.example", BACK);
}

static enum targets_next failed(bool worked, uint64_t now_ms)
{
	return targets_failed(&t, worked, false, "connection refused", now_ms);
}

TEST(a_list_is_taken_apart)
{
	char text[300];

	start("a.example, b.example:514,[2001:db8::1]:1514,2001:db8::2,192.0.2.1:99");
	CHECK_INT(t.n, 5);
	CHECK_STR(target_text(&t.list[0], text, sizeof(text)), "a.example");
	CHECK_STR(target_text(&t.list[1], text, sizeof(text)), "b.example:514");
	CHECK_STR(target_text(&t.list[2], text, sizeof(text)), "[2001:db8::1]:1514");
	CHECK_STR(t.list[2].host, "2001:db8::1");
	CHECK_STR(t.list[3].host, "2001:db8::2");
	CHECK_INT(t.list[3].port, 0);
	CHECK_INT(t.list[4].port, 99);
	start(NULL);
	CHECK_INT(t.n, 1);
	CHECK_STR(targets_present(&t)->host, "region.example");
}

TEST(one_alone_is_always_the_same)
{
	start("a.example");
	for (uint64_t i = 1; i < 10; i++)
		CHECK_INT(failed(i % 2, i * 1000), TARGETS_SAME);
	CHECK_INT(t.present, 0);
	CHECK(!targets_is_back_due(&t, 1000000000));
}

TEST(each_has_its_turn_and_then_a_pause)
{
	start("a,b,c");
	for (int round = 0; round < 3; round++) {
		CHECK_INT(t.present, 0);
		CHECK_INT(failed(false, 1000), TARGETS_NEXT);
		CHECK_INT(t.present, 1);
		CHECK(targets_has_untried(&t));
		CHECK_INT(failed(false, 1001), TARGETS_NEXT);
		CHECK_INT(t.present, 2);
		CHECK(!targets_has_untried(&t));
		CHECK_INT(failed(false, 1002), TARGETS_ROUND);
	}
}

TEST(one_that_worked_is_tried_again_before_it_is_left)
{
	start("a,b");
	targets_worked(&t, 1000);
	CHECK_INT(failed(true, 2000), TARGETS_SAME);
	/* The attempt that follows fails: it is gone. */
	CHECK_INT(failed(false, 3000), TARGETS_NEXT);
	CHECK_INT(t.present, 1);
}

TEST(one_that_is_cut_again_and_again_is_left)
{
	start("a,b");
	targets_worked(&t, 1000);
	CHECK_INT(failed(true, 2000), TARGETS_SAME);
	CHECK_INT(failed(true, 3000), TARGETS_SAME);
	CHECK_INT(failed(true, 4000), TARGETS_NEXT);
	/* Once in a while is no reason. */
	start("a,b");
	targets_worked(&t, 1000);
	for (uint64_t now_ms = 2000; now_ms < 20 * TARGETS_CUTS_MS; now_ms += TARGETS_CUTS_MS / 2)
		CHECK_INT(failed(true, now_ms), TARGETS_SAME);
}

TEST(the_key_is_the_same_everywhere)
{
	start("a,b");
	for (int i = 0; i < 5; i++)
		CHECK_INT(targets_failed(&t, false, true, "422", 1000), TARGETS_SAME);
	CHECK_INT(t.present, 0);
}

TEST(the_first_is_returned_to)
{
	start("a,b");
	CHECK_INT(failed(false, 1000), TARGETS_NEXT);
	CHECK(!targets_is_back_due(&t, 10 * BACK)); /* b does not work yet */
	targets_worked(&t, 2000);
	CHECK(!targets_is_back_due(&t, 2000 + BACK - 1));
	CHECK(targets_is_back_due(&t, 2000 + BACK));
	targets_not_yet(&t, "no answer", 2000 + BACK);
	CHECK(!targets_is_back_due(&t, 2000 + BACK));
	CHECK(targets_is_back_due(&t, 2000 + 2 * BACK));
	targets_return(&t, 2000 + 2 * BACK);
	CHECK_INT(t.present, 0);
	CHECK(!targets_is_back_due(&t, 10 * BACK));
}

/* Comes back, takes something, goes: each time it must wait longer. */
TEST(one_that_comes_and_goes_waits_longer)
{
	uint64_t now_ms = 1000, before = 0;

	start("a,b");
	targets_worked(&t, now_ms);
	for (int i = 0; i < 8; i++) {
		now_ms += 1000;
		CHECK_INT(failed(true, now_ms), TARGETS_SAME);
		CHECK_INT(failed(false, ++now_ms), TARGETS_NEXT);
		targets_worked(&t, ++now_ms);
		CHECK(t.back_due_ms - now_ms >= before);
		before = t.back_due_ms - now_ms;
		CHECK(before <= (uint64_t)TARGETS_BACK_MOST * BACK);
		now_ms = t.back_due_ms;
		targets_return(&t, now_ms);
		targets_worked(&t, ++now_ms);
	}
	CHECK_INT(before, (uint64_t)TARGETS_BACK_MOST * BACK);
	/* Once it has stood for as long, it is believed again. */
	now_ms += (uint64_t)TARGETS_BACK_MOST * BACK;
	CHECK_INT(failed(false, now_ms), TARGETS_NEXT);
	targets_worked(&t, now_ms);
	CHECK_INT(t.back_due_ms - now_ms, BACK);
}

/* It can be connected to, and takes nothing. */
TEST(one_that_only_seems_well_waits_longer)
{
	start("a,b");
	CHECK_INT(failed(false, 1000), TARGETS_NEXT);
	targets_worked(&t, 1001);
	CHECK_INT(t.back_due_ms - 1001, BACK);
	targets_return(&t, t.back_due_ms);
	CHECK_INT(failed(false, 2 * BACK), TARGETS_NEXT);
	targets_worked(&t, 2 * BACK + 1);
	CHECK_INT(t.back_due_ms - 2 * BACK - 1, 2 * BACK);
}

TEST(the_others_are_described)
{
	char text[400];

	start("a:514,b,c");
	CHECK_INT(failed(false, 5000), TARGETS_NEXT);
	CHECK_INT(targets_failed(&t, false, false, "tls b: expired", 6000), TARGETS_NEXT);
	targets_describe_out(&t, 7000, 1000000000ull * 1000000, text, sizeof(text));
	CHECK_STR(text, "a:514 since 2001-09-09T01:46:38Z: connection refused; "
			"b since 2001-09-09T01:46:39Z: tls b: expired");
	targets_describe_out(&t, 7000, 1000000000ull * 1000000, text, 20);
	CHECK_INT(strlen(text), 19);
}
