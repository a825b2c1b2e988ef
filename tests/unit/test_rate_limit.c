/* SPDX-License-Identifier: Apache-2.0 */
/* Each line passes, or is in exactly one report: also when names are forgotten, and after a crash.
 */
#include "user/rate_limit.h"

#include <errno.h>
#include <stdio.h>

#include "tests/lib/test.h"

#define SECOND 1000000000ull

static struct {
	uint64_t lines, reports, first_ns, last_ns;
	char name[128];
	int refuse;
} told;

static bool on_report(void *arg, const struct rate_limit_report *r)
{
	(void)arg;
	if (told.refuse-- > 0)
		return false;
	told.lines += r->lines;
	told.reports++;
	told.first_ns = r->first_ns;
	told.last_ns = r->last_ns;
	snprintf(told.name, sizeof(told.name), "%.*s", (int)r->name.len, r->name.p);
	return true;
}

static void forget(void)
{
	memset(&told, 0, sizeof(told));
}

static uint64_t take(struct rate_limit *r, const char *name, uint64_t n, uint64_t now_ns)
{
	uint64_t passed = 0;

	while (n--)
		passed += rate_limit_take(r, slice_of(name), now_ns);
	return passed;
}

TEST(a_bucket_holds_the_limit_and_is_filled_again)
{
	_cleanup_(rate_limit_freep) struct rate_limit *r = NULL;

	forget();
	CHECK_INT(rate_limit_new(100, 10 * SECOND, 0, &r), 0);
	CHECK_INT(take(r, "a", 150, SECOND), 100);
	CHECK_INT(take(r, "b", 50, SECOND), 50);
	CHECK_INT(take(r, "a", 50, 2 * SECOND), 10);
	CHECK_INT(take(r, "b", 100, 2 * SECOND), 60);
	CHECK_INT(take(r, "a", 200, 100 * SECOND), 100);
}

TEST(what_is_suppressed_is_told_once)
{
	_cleanup_(rate_limit_freep) struct rate_limit *r = NULL;

	forget();
	CHECK_INT(rate_limit_new(100, 10 * SECOND, 0, &r), 0);
	CHECK(!rate_limit_is_due(r, 1000 * SECOND));
	take(r, "a", 150, 1 * SECOND);
	take(r, "a", 50, 2 * SECOND);
	take(r, "b", 150, 5 * SECOND);
	CHECK(!rate_limit_is_due(r, 10 * SECOND));
	CHECK(rate_limit_report(r, 10 * SECOND, false, on_report, NULL));
	CHECK_INT(told.reports, 0);
	CHECK(rate_limit_is_due(r, 11 * SECOND));
	CHECK(rate_limit_report(r, 11 * SECOND, false, on_report, NULL));
	CHECK_INT(told.reports, 1);
	CHECK_INT(told.lines, 90);
	CHECK_STR(told.name, "a");
	CHECK_INT(told.first_ns, SECOND);
	CHECK_INT(told.last_ns, 2 * SECOND);
	/* The other one, when it is due; and not what was told already. */
	CHECK(!rate_limit_is_due(r, 11 * SECOND));
	told.refuse = 1;
	CHECK(!rate_limit_report(r, 15 * SECOND, false, on_report, NULL));
	CHECK(rate_limit_is_due(r, 15 * SECOND));
	CHECK(rate_limit_report(r, 15 * SECOND, false, on_report, NULL));
	CHECK_INT(told.lines, 90 + 50);
	CHECK_INT(told.reports, 2);
	CHECK(!rate_limit_is_due(r, 1000 * SECOND));
	take(r, "a", 300, 200 * SECOND);
	CHECK(rate_limit_report(r, 200 * SECOND, true, on_report, NULL));
	CHECK_INT(told.lines, 90 + 50 + 200);
}

TEST(a_flood_of_names_is_bounded_and_counted)
{
	_cleanup_(rate_limit_freep) struct rate_limit *r = NULL;
	uint64_t passed = 0, all = 0;
	char name[64];

	forget();
	CHECK_INT(rate_limit_new(2, 10 * SECOND, 16, &r), 0);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "unit-%d", i % 100);
		passed += take(r, name, 3, SECOND + (uint64_t)i);
		all += 3;
	}
	CHECK(rate_limit_report(r, 12 * SECOND, true, on_report, NULL));
	CHECK_INT(passed + told.lines, all);
	CHECK(told.reports <= 17);
	CHECK_STR(told.name, "");
}

/* Long names that begin alike are one; an empty one is a name, too. */
TEST(names)
{
	_cleanup_(rate_limit_freep) struct rate_limit *r = NULL;
	char a[300], b[300];

	memset(a, 'x', sizeof(a));
	memset(b, 'x', sizeof(b));
	a[299] = b[299] = '\0';
	b[200] = 'y';
	CHECK_INT(rate_limit_new(2, SECOND, 0, &r), 0);
	CHECK_INT(take(r, a, 1, SECOND), 1);
	CHECK_INT(take(r, b, 2, SECOND), 1);
	CHECK_INT(take(r, "", 3, SECOND), 2);
}

TEST(after_a_crash_the_numbers_are_the_same)
{
	_cleanup_(rate_limit_freep) struct rate_limit *r = NULL, *after = NULL;
	struct buf saved;
	uint64_t changes;

	forget();
	buf_init(&saved, 1 << 20);
	CHECK_INT(rate_limit_new(100, 10 * SECOND, 4, &r), 0);
	for (int i = 0; i < 10; i++) {
		char name[2] = { (char)('a' + i), '\0' };

		take(r, name, 150, SECOND);
	}
	take(r, "quiet", 10, SECOND);
	CHECK_INT(rate_limit_save(r, &saved), 0);

	CHECK_INT(rate_limit_new(100, 10 * SECOND, 4, &after), 0);
	CHECK_INT(rate_limit_restore(after, buf_slice(&saved)), 0);
	/* Its bucket is as empty as it was. */
	CHECK_INT(take(after, "j", 30, 2 * SECOND), 10);
	changes = rate_limit_changes(after);
	CHECK(rate_limit_report(after, 20 * SECOND, false, on_report, NULL));
	CHECK(rate_limit_changes(after) != changes);
	CHECK_INT(told.lines, 10 * 50 + 20);

	/* Damage is seen, and leaves nothing. */
	buf_data(&saved)[0] ^= 1;
	CHECK_INT(rate_limit_restore(after, buf_slice(&saved)), -EBADMSG);
	CHECK_INT(rate_limit_restore(after, (struct slice){ buf_data(&saved), 7 }), -EBADMSG);
	CHECK(!rate_limit_is_due(after, 1000 * SECOND));
	CHECK_INT(take(after, "j", 200, 2 * SECOND), 100);
	buf_done(&saved);
}
