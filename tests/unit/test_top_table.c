/* SPDX-License-Identifier: Apache-2.0 */
/* Flows are added up by who, with whom and where; rates are of what came since the last look. */
#include "user/top_table.h"

#include "tests/lib/test.h"

#define SECOND 1000000000ull

static struct flow of(uint64_t id, uint32_t pid, const char *comm, uint8_t peer, uint64_t out,
		      uint64_t in)
{
	struct flow f = { .id = id,
			  .start_ns = SECOND / 2,
			  .ip_version = 4,
			  .protocol = 6,
			  .local = { 10, 0, 0, 1 },
			  .remote = { 192, 0, 2, peer },
			  .out_total = out,
			  .in_total = in,
			  .user = { .pid = pid } };

	snprintf(f.user.comm, sizeof(f.user.comm), "%s", comm);
	return f;
}

static void add(struct top *t, struct flow f, const char *container)
{
	top_add(t, &f, container);
}

static const char *table(struct top *t, enum top_order order, size_t lines)
{
	static char text[65536];
	struct buf b;

	buf_init(&b, sizeof(text) - 1);
	CHECK_INT(top_format(t, order, lines, &b), 0);
	memcpy(text, buf_data(&b), b.len);
	text[b.len] = '\0';
	buf_done(&b);
	for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
		CHECK(strcspn(line, "\n") <= TOP_COLUMNS);
	return text;
}

TEST(first_look_has_no_rates)
{
	_cleanup_(top_freep) struct top *t = NULL;

	CHECK_INT(top_new(&t), 0);
	top_begin(t, TOP_PROCESS, SECOND);
	add(t, of(1, 7, "curl", 1, 1000, 2000), "");
	CHECK_STR(table(t, TOP_BY_RATE, 24),
		  "1 flow, -/s out, -/s in; by process, sorted by rate\n"
		  "   OUT/S     IN/S      OUT       IN  FLOWS  PROCESS\n"
		  "       -        -   1.0 kB   2.0 kB      1  curl(7)\n");
}

TEST(rates_are_since_the_last_look)
{
	_cleanup_(top_freep) struct top *t = NULL;
	struct flow young = of(3, 9, "nc", 3, 500, 0), adopted = of(4, 10, "old", 4, 9000, 0);

	CHECK_INT(top_new(&t), 0);
	top_begin(t, TOP_PROCESS, SECOND);
	add(t, of(1, 7, "curl", 1, 1000, 2000), "");
	add(t, of(2, 7, "curl", 2, 0, 0), "");
	top_begin(t, TOP_PROCESS, 3 * SECOND);
	add(t, of(1, 7, "curl", 1, 3000, 2000), "");
	add(t, of(2, 7, "curl", 2, 0, 400), "");
	young.start_ns = 2 * SECOND;
	add(t, young, "");
	add(t, adopted, "");
	CHECK_STR(table(t, TOP_BY_RATE, 24),
		  "4 flows, 1.2 kB/s out, 200 B/s in; by process, sorted by rate\n"
		  "   OUT/S     IN/S      OUT       IN  FLOWS  PROCESS\n"
		  "  1.0 kB    200 B   3.0 kB   2.4 kB      2  curl(7)\n"
		  "   250 B      0 B    500 B      0 B      1  nc(9)\n"
		  "     0 B      0 B   9.0 kB      0 B      1  old(10)\n");
	CHECK(strstr(table(t, TOP_BY_TOTAL, 24), "PROCESS\n     0 B      0 B   9.0 kB"));
	CHECK(strstr(table(t, TOP_BY_FLOWS, 24), "PROCESS\n  1.0 kB"));
}

TEST(groups)
{
	_cleanup_(top_freep) struct top *t = NULL;
	struct flow six = of(5, 0, "", 0, 1, 0);

	CHECK_INT(top_new(&t), 0);
	top_begin(t, TOP_PEER, SECOND);
	add(t, of(1, 7, "a", 1, 1, 0), "");
	add(t, of(2, 8, "b", 1, 1, 0), "");
	six.ip_version = 6;
	six.remote[0] = 0x20;
	six.remote[15] = 1;
	add(t, six, "");
	CHECK(strstr(table(t, TOP_BY_FLOWS, 24), "     2  192.0.2.1\n"));
	CHECK(strstr(table(t, TOP_BY_FLOWS, 24), "     1  2000::c000:200:0:1\n") ||
	      strstr(table(t, TOP_BY_FLOWS, 24), "     1  20"));
	top_begin(t, TOP_CONTAINER, 2 * SECOND);
	add(t, of(1, 7, "a", 1, 1, 0), "0123456789ab");
	add(t, of(2, 8, "b", 1, 1, 0), "");
	CHECK(strstr(table(t, TOP_BY_FLOWS, 24), "     1  0123456789ab\n"));
	CHECK(strstr(table(t, TOP_BY_FLOWS, 24), "     1  (no container)\n"));
	top_begin(t, TOP_PROCESS, 3 * SECOND);
	add(t, of(1, 0, "", 1, 1, 0), "");
	CHECK(strstr(table(t, TOP_BY_FLOWS, 24), "     1  (not known)\n"));
}

TEST(what_does_not_fit_is_one_row)
{
	_cleanup_(top_freep) struct top *t = NULL;
	const char *text;

	CHECK_INT(top_new(&t), 0);
	top_begin(t, TOP_PROCESS, SECOND);
	for (uint32_t i = 1; i <= TOP_ROWS_MAX + 100; i++)
		add(t, of(i, i, "p", 1, i, 0), "");
	text = table(t, TOP_BY_TOTAL, 5);
	CHECK(strstr(text, "8292 flows, "));
	CHECK(strstr(text, "  p(8192)\n"));
	CHECK(strstr(text, "  p(8191)\n"));
	CHECK(!strstr(text, "  p(8190)\n"));
	CHECK(strstr(text, "  8290  others\n"));
	/* Three rows, and room for three. */
	top_begin(t, TOP_PROCESS, 2 * SECOND);
	for (uint32_t i = 1; i <= 3; i++)
		add(t, of(i, i, "p", 1, i, 0), "");
	text = table(t, TOP_BY_TOTAL, 5);
	CHECK(strstr(text, "  p(1)\n") && !strstr(text, "others"));
}

TEST(a_name_that_a_terminal_would_obey)
{
	_cleanup_(top_freep) struct top *t = NULL;

	CHECK_INT(top_new(&t), 0);
	top_begin(t, TOP_PROCESS, SECOND);
	add(t, of(1, 7, "\x1b[31mx", 1, 1, 0), "");
	CHECK(strstr(table(t, TOP_BY_RATE, 24), "  ?[31mx(7)\n"));
}
