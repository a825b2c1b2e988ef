/* SPDX-License-Identifier: Apache-2.0 */
/* Which entries of the journal were captured: by the times of journald's reads alone. */
#include "user/journal_gaps.h"

#include <errno.h>

#include "tests/lib/test.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "cccccccccccccccccccccccccccccccc"

static struct journal_gap gap_of(const char *from, uint64_t from_ns, const char *to, uint64_t to_ns)
{
	struct journal_gap gap = { .from_ns = from_ns, .to_ns = to_ns };

	snprintf(gap.from_boot, sizeof(gap.from_boot), "%s", from);
	snprintf(gap.to_boot, sizeof(gap.to_boot), "%s", to);
	return gap;
}

TEST(verdicts)
{
	static const struct {
		const char *from, *to;
		uint64_t reads[4]; /* of process 7 */
		const char *boot;
		uint64_t mono_ns, next_ns;
		enum journal_verdict want;
	} cases[] = {
		/* The gap is from the read at 1000 to 5000, in one boot. */
		{ A, A, { 0 }, A, 990, 0, JOURNAL_CAPTURED },
		{ A, A, { 0 }, A, 1000, 0, JOURNAL_CAPTURED },
		{ A, A, { 0 }, A, 1001, 0, JOURNAL_MISSING },
		{ A, A, { 0 }, A, 5000, 0, JOURNAL_MISSING },
		{ A, A, { 0 }, A, 5001, 0, JOURNAL_BEHIND },
		{ A, A, { 0 }, B, 1, 0, JOURNAL_BEHIND },
		/* The first read that was captured is of whoever woke up last before it. */
		{ A, A, { 5100 }, A, 4000, 0, JOURNAL_ASK },
		{ A, A, { 5100 }, A, 4000, 4500, JOURNAL_MISSING },
		{ A, A, { 5100 }, A, 4500, 5100, JOURNAL_MISSING },
		{ A, A, { 5100 }, A, 4500, 5101, JOURNAL_CAPTURED },
		{ A, A, { 5100 }, A, 4500, UINT64_MAX, JOURNAL_CAPTURED },
		/* Some of them found room in a full ring. */
		{ A, A, { 2000, 3000, 5100 }, A, 1900, 2100, JOURNAL_CAPTURED },
		{ A, A, { 2000, 3000, 5100 }, A, 2000, 2100, JOURNAL_CAPTURED },
		{ A, A, { 2000, 3000, 5100 }, A, 2100, 2900, JOURNAL_MISSING },
		{ A, A, { 2000, 3000, 5100 }, A, 2900, 3100, JOURNAL_CAPTURED },
		{ A, A, { 2000, 3000, 5100 }, A, 3100, 5000, JOURNAL_MISSING },
		/* Over boots, of which the gap knows the first and the last. */
		{ A, B, { 5100 }, A, 1000, 0, JOURNAL_CAPTURED },
		{ A, B, { 5100 }, A, 900000, 0, JOURNAL_MISSING },
		{ A, B, { 5100 }, C, 1, 0, JOURNAL_MISSING },
		{ A, B, { 5100 }, B, 900, 0, JOURNAL_ASK },
		{ A, B, { 5100 }, B, 5001, 0, JOURNAL_BEHIND },
		/* Nothing is known but a date: journalctl has seen to that. */
		{ "", B, { 0 }, A, 1, 0, JOURNAL_MISSING },
		{ "", B, { 0 }, B, 1, 0, JOURNAL_MISSING },
		{ "", B, { 0 }, B, 5001, 0, JOURNAL_BEHIND },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct journal_gap gap = gap_of(cases[i].from, 1000, cases[i].to, 5000);
		const struct journal_read of = { .ns = cases[i].mono_ns, .pid = 7 };
		struct journal_read reads[4];

		gap.reads = reads;
		for (; gap.n_reads < 4 && cases[i].reads[gap.n_reads]; gap.n_reads++)
			reads[gap.n_reads] =
				(struct journal_read){ .ns = cases[i].reads[gap.n_reads],
						       .pid = 7 };
		if (journal_gap_judge(&gap, cases[i].boot, &of, cases[i].next_ns) != cases[i].want)
			printf("# case %zu\n", i);
		CHECK_INT(journal_gap_judge(&gap, cases[i].boot, &of, cases[i].next_ns),
			  cases[i].want);
	}
}

TEST(a_read_long_after_has_nothing_to_do_with_it)
{
	struct journal_gap gap = gap_of(A, 1000, A, 5000);
	struct journal_read read = { .ns = 100000000000ull, .pid = 7 },
			    of = { .ns = 4000, .pid = 7 };

	gap.reads = &read;
	gap.n_reads = 1;
	CHECK_INT(journal_gap_judge(&gap, A, &of, 0), JOURNAL_MISSING);
}

TEST(a_read_is_of_its_sender)
{
	static const struct {
		struct journal_read read, of;
		enum journal_verdict want;
	} cases[] = {
		{ { 2050, 7, .is_stream = 0 }, { 2000, 7, .is_stream = 0 }, JOURNAL_CAPTURED },
		{ { 2050, 8, .is_stream = 0 }, { 2000, 7, .is_stream = 0 }, JOURNAL_MISSING },
		{ { 2050, 7, .is_stream = 1 }, { 2000, 7, .is_stream = 0 }, JOURNAL_MISSING },
		{ { 2050, 0, .is_stream = 0 }, { 2000, 7, .is_stream = 0 }, JOURNAL_CAPTURED },
		{ { 2050, 7, .is_stream = 0 }, { 2000, 0, .is_stream = 0 }, JOURNAL_CAPTURED },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct journal_gap gap = gap_of(A, 1000, A, 5000);
		struct journal_read reads[] = { { 2010, 9, .is_stream = 1 }, cases[i].read };

		gap.reads = reads;
		gap.n_reads = 2;
		CHECK_INT(journal_gap_judge(&gap, A, &cases[i].of, 2100), cases[i].want);
	}
}

static void note(struct journal_gaps *g, const char *boot, uint64_t ns)
{
	const struct journal_read read = { .ns = ns, .pid = 7 };

	journal_gaps_note(g, boot, &read);
}

TEST(reads_are_noted_up_to_the_first_one_behind)
{
	struct journal_gaps g = { .n = 0 };
	struct journal_gap gap = gap_of(A, 1000, A, 5000);

	CHECK_INT(journal_gaps_add(&g, &gap), 0);
	note(&g, B, 2000); /* another boot's */
	note(&g, A, 900);  /* before the gap */
	note(&g, A, 2000);
	note(&g, A, 2000); /* the same again */
	note(&g, A, 3000);
	CHECK(!g.list[0].closed);
	note(&g, A, 5001);
	CHECK(g.list[0].closed);
	note(&g, A, 6000);
	CHECK_INT(g.list[0].n_reads, 3);
	CHECK_INT(g.list[0].reads[2].ns, 5001);
	journal_gaps_done(&g);
}

/*
 * One read of a stream takes many writes. Of this one, of process 7 at 2000, the ring had room
 * for the first lines and the last one.
 */
TEST(of_one_read_some_lines_had_no_room)
{
	static const char *const lines[] = { "one", "same", "same", "two", "same", "three" };
	struct journal_gaps g = { .n = 0 }, back = { .n = 0 };
	struct journal_gap gap = gap_of(A, 1000, A, 5000);
	struct journal_read read = { 2010, 7, .is_stream = 1 };
	struct buf b;

	buf_init(&b, 1 << 20);
	journal_gaps_add(&g, &gap);
	for (int i = 0; i < 6; i++) {
		if (i == 2 || i == 3)
			continue;
		read.line = journal_line_sum(slice_of(lines[i]));
		read.ns += i == 1 ? 0 : 5; /* "one" and "same" in one write */
		journal_gaps_note(&g, A, &read);
	}
	/* Another process's, and what is captured later, is none of it. */
	read = (struct journal_read){ 2040, 8, .is_stream = 1 };
	read.line = journal_line_sum(SLICE("two"));
	journal_gaps_note(&g, A, &read);
	read.ns = 2110;
	read.pid = 7;
	journal_gaps_note(&g, A, &read);
	CHECK_INT(g.list[0].n_reads, 6);
	for (int i = 0; i < 6; i++) {
		struct journal_read of = { 2000, 7, .is_stream = 1 };
		/* Three are the same, two were captured: which one is told makes no odds. */
		bool missing = i == 3 || i == 4;

		of.line = journal_line_sum(slice_of(lines[i]));
		CHECK_INT(journal_gap_judge(&g.list[0], A, &of, 0), JOURNAL_ASK);
		CHECK_INT(journal_gap_judge(&g.list[0], A, &of, 2100),
			  missing ? JOURNAL_MISSING : JOURNAL_CAPTURED);
		/* Killed after each of them. */
		buf_clear(&b);
		CHECK_INT(journal_gaps_save(&g, &b), 0);
		CHECK_INT(journal_gaps_restore(&back, buf_slice(&b)), 0);
		CHECK_INT(journal_gaps_restore(&g, buf_slice(&b)), 0);
	}
	journal_gaps_done(&g);
	journal_gaps_done(&back);
	buf_done(&b);
}

TEST(the_lines_of_one_read_are_noted_on_both_sides_of_the_end)
{
	struct journal_gaps g = { .n = 0 };
	struct journal_gap gap = gap_of(A, 1000, A, 5000);
	struct journal_read read = { 0, 7, .is_stream = 1 };

	journal_gaps_add(&g, &gap);
	for (read.ns = 4990; read.ns < 5010; read.ns += 5, read.line++)
		journal_gaps_note(&g, A, &read);
	CHECK_INT(g.list[0].n_reads, 4);
	CHECK(!g.list[0].closed);
	note(&g, A, 5020);
	CHECK(g.list[0].closed);
	journal_gaps_done(&g);
}

/* A version that noted reads, not lines. */
TEST(a_stream_s_read_without_lines)
{
	struct journal_gap gap = gap_of(A, 1000, A, 5000);
	struct journal_read read = { 2010, 7, .is_stream = 1 };
	const struct journal_read of = { 2000, 7, .is_stream = 1, .line = 5 };

	gap.reads = &read;
	gap.n_reads = 1;
	CHECK_INT(journal_gap_judge(&gap, A, &of, 2100), JOURNAL_CAPTURED);
	CHECK_INT(journal_gap_judge(&gap, A, &of, 2100), JOURNAL_CAPTURED);
}

/* Of those there was no room for, it is not known: twice rather than not at all. */
TEST(reads_without_room)
{
	struct journal_gap gap = gap_of(A, 1000, A, 5000);
	const struct journal_read of = { .ns = 2000, .pid = 7 };

	gap.reads_left_out = true;
	CHECK_INT(journal_gap_judge(&gap, A, &of, 2100), JOURNAL_MISSING);
}

TEST(saved_and_restored)
{
	struct journal_gaps g = { .n = 0 }, back = { .n = 0 };
	struct journal_gap one = gap_of(A, 1000, B, 5000), two = gap_of(B, 7000, B, 9000);
	struct buf b;

	buf_init(&b, 1 << 20);
	strcpy(one.cursor, "s=1;i=2");
	one.told = 7;
	journal_gaps_add(&g, &one);
	journal_gaps_add(&g, &two);
	for (uint64_t ns = 7001; ns < 7501; ns++)
		note(&g, B, ns);
	CHECK_INT(journal_gaps_save(&g, &b), 0);
	CHECK_INT(journal_gaps_restore(&back, buf_slice(&b)), 0);
	CHECK_INT(back.n, 2);
	CHECK(!strcmp(back.list[0].cursor, "s=1;i=2"));
	CHECK_INT(back.list[0].told, 7);
	CHECK_INT(back.list[0].closed, true);
	CHECK_INT(back.list[0].n_reads, 1);
	CHECK_INT(back.list[1].n_reads, 500);
	CHECK_INT(back.list[1].reads[499].ns, 7500);
	CHECK_INT(journal_gaps_restore(&back, (struct slice){ buf_data(&b), b.len - 1 }), -EBADMSG);
	CHECK_INT(back.n, 0);
	CHECK_INT(journal_gaps_restore(&back, SLICE("")), 0);
	for (int i = 0; i < JOURNAL_GAPS_MAX - 2; i++)
		CHECK_INT(journal_gaps_add(&g, &(struct journal_gap){ .from_ns = 1 }), 0);
	CHECK_INT(journal_gaps_add(&g, &(struct journal_gap){ .from_ns = 2 }), -ENOSPC);
	CHECK_INT(g.n, JOURNAL_GAPS_MAX);
	CHECK_INT(g.list[0].from_ns, 7000);
	journal_gaps_drop(&g);
	CHECK_INT(g.list[0].from_ns, 1);
	journal_gaps_done(&g);
	buf_done(&b);
}
