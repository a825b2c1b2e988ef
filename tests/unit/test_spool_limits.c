/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a full spool gives up: in which order, how exactly it is counted for each
 * reader, and what is left when the writer is killed at it. Each event's class
 * follows from its number, so for every loss it is known what it should be.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/wait.h>

#include "tests/lib/spool.h"
#include "user/util/clock.h"

#define KIB 1024

/* Of ten events five are of the journal, four are flows, one is the kernel's. */
static enum msg_class class_of(uint64_t i)
{
	return i % 10 == 0 ? MSG_KERNEL : i % 2 ? MSG_JOURNAL : MSG_FLOW;
}

static uint64_t of_class(enum msg_class class, uint64_t first, uint64_t last)
{
	uint64_t n = 0;

	for (uint64_t i = first; i <= last; i++)
		n += class_of(i) == class;
	return n;
}

static int add_mixed(struct spool *s, uint64_t i, uint64_t time_us, size_t len)
{
	static char text[4096];
	struct msg m = { .time_us = time_us, .class = class_of(i), .pri = 14 };

	snprintf(text, sizeof(text), "%-*llu", (int)len, (unsigned long long)i);
	m.text = (struct slice){ text, len };
	return spool_add(s, &m);
}

/* Batches of ten or so, up to last. */
static void append_mixed(struct spool *s, uint64_t first, uint64_t last, uint64_t time_us,
			 size_t len)
{
	struct spool_position p = { .source = 1, .generation = 7 };

	while (first <= last) {
		uint64_t n = 7 + first % 8;

		for (; n && first <= last; n--, first++)
			CHECK_INT(add_mixed(s, first, time_us, len), 0);
		p.position = first - 1;
		CHECK_INT(spool_commit(s, &p, 1, 0), 0);
	}
}

static struct spool_opts limited(void)
{
	struct spool_opts o = options();

	o.max_bytes = 1 << 20;
	o.segment_bytes = 64 * KIB;
	o.drop_steps[0] = 1u << MSG_JOURNAL;
	o.drop_steps[1] = 1u << MSG_FLOW;
	o.drop_steps[2] = 1u << MSG_KERNEL;
	o.n_drop_steps = 3;
	return o;
}

/* What a reader got, and what it was told to be lost. */
struct got {
	uint64_t n[MSG_CLASSES], all, last;
};

static void read_mixed(struct spool_reader *r, struct got *g)
{
	struct msg m;
	int e;

	while ((e = spool_reader_next(r, &m)) > 0) {
		CHECK(m.seq > g->last);
		CHECK_INT(number(&m), m.seq);
		CHECK_INT(m.class, class_of(m.seq));
		g->n[m.class]++;
		g->all++;
		g->last = m.seq;
		/* Often enough that the list of losses does not fill. */
		if (g->all % 500 == 0)
			spool_reader_settle(r, m.seq, 0);
	}
	CHECK_INT(e, 0);
	if (g->last)
		spool_reader_settle(r, g->last, 0);
}

static uint64_t drops(const struct spool *s, enum spool_loss reason, enum msg_class class)
{
	struct spool_stats st;

	spool_get_stats(s, &st);
	return st.drops[reason][class].events;
}

static uint64_t bytes(const struct spool *s)
{
	struct spool_stats st;

	spool_get_stats(s, &st);
	return st.bytes;
}

/* All classes of all reasons; what the cursor says, by class and as a sum. */
static void check_classes(const struct spool_cursor *c, const struct got *g, uint64_t appended)
{
	for (enum msg_class class = 0; class < MSG_CLASSES; class ++) {
		uint64_t lost = 0;

		for (int reason = 0; reason < SPOOL_LOSSES; reason++)
			lost += c->lost[reason][class];
		CHECK_INT(g->n[class] + lost, of_class(class, 1, appended));
	}
	CHECK_INT(c->acked, g->all);
	CHECK_INT(c->cursor_seq, appended);
	CHECK_INT(c->acked + c->lost_limit + c->lost_age + c->lost_damage, appended);
}

/* ------------------------------------------------------------------ the order */

TEST(the_lowest_class_goes_first_and_alone)
{
	struct spool_opts opts = limited();
	struct spool_ahead ahead;
	struct spool_stats st;
	struct spool_reader *r;
	struct got g = {};
	uint64_t i = 0, before_ms = clock_real_us() / 1000;
	struct spool *s;

	dir_fresh();
	s = writer(&opts);
	/* A journal line goes, and nothing else, as long as there is one in a whole segment. */
	while (drops(s, SPOOL_LOST_LIMIT, MSG_FLOW) == 0 && i < 20000 && !test_failed) {
		append_mixed(s, i + 1, i + 100, 5, 500);
		i += 100;
		CHECK(bytes(s) <= opts.max_bytes);
		CHECK_INT(drops(s, SPOOL_LOST_LIMIT, MSG_KERNEL), 0);
	}
	spool_get_stats(s, &st);
	/* Of 1900 that fit half are flows: there is room for about 3800, all of them but journal.
	 */
	CHECK(i > 3200 && i < 4500);
	CHECK(st.drops[SPOOL_LOST_LIMIT][MSG_JOURNAL].events >
	      of_class(MSG_JOURNAL, 1, i) * 8 / 10);
	CHECK(st.thinned >= 10);
	CHECK_INT(st.dropped, st.drops[SPOOL_LOST_LIMIT][MSG_JOURNAL].events +
				      st.drops[SPOOL_LOST_LIMIT][MSG_FLOW].events);
	CHECK_INT(st.dropped_unknown, 0);
	CHECK_INT(st.drops[SPOOL_LOST_LIMIT][MSG_JOURNAL].oldest_us, 5);
	CHECK_INT(st.drops[SPOOL_LOST_LIMIT][MSG_JOURNAL].newest_us, 5);
	CHECK(st.drops[SPOOL_LOST_LIMIT][MSG_JOURNAL].first_ms >= before_ms);
	CHECK(st.drops[SPOOL_LOST_LIMIT][MSG_JOURNAL].last_ms >=
	      st.drops[SPOOL_LOST_LIMIT][MSG_JOURNAL].first_ms);
	/* Whoever asks for the books now gets what the reader will find. */
	spool_get_ahead(s, 0, &ahead);
	CHECK_INT(ahead.dropped, st.dropped);
	CHECK_INT(ahead.waiting, i - st.dropped);
	for (enum msg_class class = 0; class < MSG_CLASSES; class ++)
		CHECK_INT(ahead.lost[SPOOL_LOST_LIMIT][class],
			  st.drops[SPOOL_LOST_LIMIT][class].events);
	r = reader("main");
	read_mixed(r, &g);
	check_classes(spool_reader_cursor(r), &g, i);
	CHECK_INT(spool_reader_cursor(r)->lost_limit, st.dropped);
	CHECK_INT(spool_reader_cursor(r)->lost_damage, 0);
	CHECK_INT(g.n[MSG_KERNEL], of_class(MSG_KERNEL, 1, i));
	CHECK_INT(spool_reader_waiting(r), 0);
	CHECK_BOOKS(r, i);
	spool_reader_free(r);
	spool_free(s);
}

/* What this process has read, by its system calls. */
static uint64_t read_so_far(void)
{
	unsigned long long n = 0;
	FILE *f = fopen("/proc/self/io", "re");

	if (!f || fscanf(f, "rchar: %llu", &n) != 1)
		n = 0;
	if (f)
		fclose(f);
	return n;
}

/* A spool that the last process left full is not read through for one look at the books. */
TEST(the_books_of_a_large_spool_take_several_looks)
{
	struct spool_opts opts = options();
	struct spool_ahead ahead;
	const uint64_t total = 60000;
	uint64_t before, most = 0;
	struct spool_stats st;
	struct spool *s;
	int looks = 0;

	dir_fresh();
	opts.max_bytes = 1 << 30;
	opts.segment_bytes = 4 << 20;
	opts.sync = SPOOL_SYNC_NONE;
	s = writer(&opts);
	append_mixed(s, 1, total, 5, 2000);
	spool_free(s);
	s = writer(&opts);
	spool_get_stats(s, &st);
	CHECK(st.bytes > 100 << 20);
	do {
		before = read_so_far();
		spool_get_ahead(s, 0, &ahead);
		before = read_so_far() - before;
		most = before > most ? before : most;
		looks++;
		CHECK_INT(ahead.waiting, total);
		CHECK_INT(ahead.dropped, 0);
	} while (before > 1 << 20 && looks < 100);
	CHECK(most <= 40 << 20);
	CHECK(looks > 3 && looks < 20);
	spool_free(s);
}

TEST(flows_go_next_and_the_kernels_events_last)
{
	struct spool_opts opts = limited();
	struct spool_stats st;
	struct spool_reader *r;
	struct got g = {};
	const uint64_t total = 30000;
	struct spool *s;
	size_t n;
	char paths[512][128];

	dir_fresh();
	s = writer(&opts);
	for (uint64_t i = 1; i <= total && !test_failed; i += 100) {
		append_mixed(s, i, i + 99, 5, 500);
		CHECK(bytes(s) <= opts.max_bytes);
		if (drops(s, SPOOL_LOST_LIMIT, MSG_KERNEL) == 0)
			continue;
		/* The oldest file with what is most dear: all else has gone before it. */
		spool_get_stats(s, &st);
		CHECK(st.drops[SPOOL_LOST_LIMIT][MSG_FLOW].events >
		      of_class(MSG_FLOW, 1, i) * 8 / 10);
	}
	spool_get_stats(s, &st);
	CHECK(st.drops[SPOOL_LOST_LIMIT][MSG_KERNEL].events > 0);
	CHECK_INT(st.dropped_unknown, 0);
	/* Files of holes become one with their neighbours. */
	n = segments(paths, 512);
	CHECK(n < 200);
	r = reader("main");
	read_mixed(r, &g);
	check_classes(spool_reader_cursor(r), &g, total);
	CHECK_INT(spool_reader_cursor(r)->lost_limit, st.dropped);
	CHECK_INT(g.n[MSG_KERNEL] + st.drops[SPOOL_LOST_LIMIT][MSG_KERNEL].events, total / 10);
	CHECK(g.n[MSG_KERNEL] > 1200);
	CHECK_INT(g.n[MSG_KERNEL], of_class(MSG_KERNEL, total - g.n[MSG_KERNEL] * 10 + 1, total));
	CHECK_BOOKS(r, total);
	spool_tick(s, 0);
	CHECK_INT(segments(paths, 512), 1);
	spool_reader_free(r);
	spool_free(s);
}

TEST(another_order_and_none)
{
	for (int oldest = 0; oldest < 2; oldest++) {
		struct spool_opts opts = limited();
		struct spool_stats st;
		struct spool_reader *r;
		struct got g = {};
		const uint64_t total = 5000;
		struct spool *s;

		dir_fresh();
		opts.drop_steps[0] = 1u << MSG_FLOW;
		opts.n_drop_steps = oldest ? 0 : 1;
		s = writer(&opts);
		append_mixed(s, 1, total, 5, 500);
		spool_get_stats(s, &st);
		CHECK(bytes(s) <= opts.max_bytes);
		r = reader("main");
		read_mixed(r, &g);
		check_classes(spool_reader_cursor(r), &g, total);
		CHECK_INT(st.dropped_unknown, 0);
		CHECK_INT(st.thinned > 0, !oldest);
		if (oldest) {
			/* The newest ones, without a gap. */
			CHECK_INT(spool_reader_cursor(r)->lost_limit, total - g.all);
			CHECK_INT(g.n[MSG_FLOW], of_class(MSG_FLOW, total - g.all + 1, total));
		} else {
			/* What no step names goes with the oldest: when all flows were gone. */
			CHECK(st.drops[SPOOL_LOST_LIMIT][MSG_FLOW].events >
			      of_class(MSG_FLOW, 1, total) * 8 / 10);
			CHECK(st.drops[SPOOL_LOST_LIMIT][MSG_KERNEL].events > 0);
		}
		CHECK_BOOKS(r, total);
		spool_reader_free(r);
		spool_free(s);
	}
}

/* A little of a class in a large file is not worth writing the file again. */
TEST(a_rare_class_does_not_make_the_disk_busy)
{
	struct spool_opts opts = limited();
	struct spool_stats st;
	struct spool *s;

	dir_fresh();
	s = writer(&opts);
	for (uint64_t i = 1; i <= 6000; i++) {
		struct msg m = { .class = i % 1000 ? MSG_KERNEL : MSG_JOURNAL };
		static char text[500];

		m.text = (struct slice){ text, sizeof(text) };
		CHECK_INT(spool_add(s, &m), 0);
		CHECK_INT(spool_commit(s, NULL, 0, 0), 0);
	}
	spool_get_stats(s, &st);
	CHECK_INT(st.thinned, 0);
	CHECK(st.drops[SPOOL_LOST_LIMIT][MSG_KERNEL].events > 1000);
	spool_free(s);
}

/* ------------------------------------------------------------------ readers */

TEST(a_reader_that_has_the_file_open_reads_on_in_it)
{
	struct spool_opts opts = limited();
	const struct spool_cursor *c;
	struct spool_reader *r, *late;
	struct got g = {}, l = {};
	struct spool *s;
	struct msg m;

	dir_fresh();
	s = writer(&opts);
	append_mixed(s, 1, 400, 5, 500);
	r = reader("main");
	late = reader("late");
	CHECK_INT(spool_reader_next(r, &m), 1); /* it has the first segment, of about 110 */
	CHECK_INT(m.seq, 1);
	g = (struct got){ .n = { [MSG_JOURNAL] = 1 }, .all = 1, .last = 1 };
	append_mixed(s, 401, 4000, 5, 500);
	CHECK(drops(s, SPOOL_LOST_LIMIT, MSG_JOURNAL) > 1000);
	for (int i = 0; i < 99; i++, g.all++, g.last++) {
		CHECK_INT(spool_reader_next(r, &m), 1);
		CHECK_INT(m.seq, i + 2);
		g.n[m.class]++;
	}
	/* A lost connection: the same file still. */
	spool_reader_settle(r, 50, 0);
	CHECK_INT(spool_reader_rewind(r), 0);
	CHECK_INT(spool_reader_next(r, &m), 1);
	CHECK_INT(m.seq, 51);
	for (int i = 0; i < 49; i++)
		CHECK_INT(spool_reader_next(r, &m), 1);
	CHECK_INT(m.seq, 100);
	read_mixed(r, &g);
	c = spool_reader_cursor(r);
	check_classes(c, &g, 4000);
	/* The other one got no journal line of that time. */
	read_mixed(late, &l);
	check_classes(spool_reader_cursor(late), &l, 4000);
	CHECK(l.n[MSG_JOURNAL] + 50 <= g.n[MSG_JOURNAL]);
	CHECK_INT(spool_reader_cursor(late)->lost_damage + c->lost_damage, 0);
	CHECK_BOOKS(r, 4000);
	spool_reader_free(late);
	spool_reader_free(r);
	spool_free(s);
}

TEST(a_cursor_in_the_midst_of_what_goes)
{
	struct spool_opts opts = limited();
	struct spool_reader *r;
	struct got g = {};
	struct spool_ahead ahead;
	struct spool *s;
	struct msg m;

	dir_fresh();
	s = writer(&opts);
	append_mixed(s, 1, 1000, 5, 500);
	r = reader("main");
	for (int i = 0; i < 333; i++) {
		CHECK_INT(spool_reader_next(r, &m), 1);
		g.n[m.class]++;
	}
	g.all = g.last = 333;
	spool_reader_settle(r, 333, 0);
	spool_reader_free(r);
	append_mixed(s, 1001, 9000, 5, 500);
	CHECK(drops(s, SPOOL_LOST_LIMIT, MSG_FLOW) > 0);
	spool_get_ahead(s, 333, &ahead);
	CHECK_INT(ahead.waiting + ahead.dropped, 9000 - 333);
	r = reader("main");
	read_mixed(r, &g);
	/* Exact, by class, though the hole has lost their order: it was cut at the cursor. */
	check_classes(spool_reader_cursor(r), &g, 9000);
	CHECK_INT(spool_reader_cursor(r)->lost_limit, ahead.dropped);
	CHECK(memcmp(spool_reader_cursor(r)->lost, ahead.lost, sizeof(ahead.lost)) == 0);
	/* What it had is not among the spool's losses. */
	CHECK_INT(drops(s, SPOOL_LOST_LIMIT, MSG_JOURNAL),
		  spool_reader_cursor(r)->lost[SPOOL_LOST_LIMIT][MSG_JOURNAL]);
	CHECK_BOOKS(r, 9000);
	spool_reader_free(r);
	spool_free(s);
}

TEST(a_hole_is_cut_where_a_reader_is)
{
	struct spool_hole hole = { .first = 10, .last = 29 };
	uint8_t p[SPOOL_HOLE_MAX];
	struct spool_key key;
	struct spool_hole back;
	struct msg m;
	size_t size;

	hole.lost[SPOOL_LOST_LIMIT][MSG_JOURNAL] = 12;
	hole.lost[SPOOL_LOST_LIMIT][MSG_KERNEL] = 3;
	hole.lost[SPOOL_LOST_AGE][MSG_FLOW] = 5;
	spool_key_init(&key, 42);
	size = spool_hole_encode(p, &key, &hole);
	CHECK_INT(size, SPOOL_RECORD_HEADER + 3 * 10);
	CHECK_INT(spool_record_decode(p, size, &key, &m), size);
	CHECK_INT(m.class, SPOOL_HOLE);
	CHECK_INT(spool_hole_decode(&m, &back), 0);
	CHECK(memcmp(&hole, &back, sizeof(hole)) == 0);
	for (size_t i = 0; i < size; i++) {
		p[i] ^= 0x10;
		CHECK(spool_record_decode(p, size, &key, &m) <= 0);
		p[i] ^= 0x10;
		CHECK_INT(spool_record_decode(p, i, &key, &m), 0);
	}
	spool_hole_cut(&hole, 10);
	CHECK_INT(hole.lost[SPOOL_LOST_LIMIT][MSG_JOURNAL], 12);
	spool_hole_cut(&hole, 24);
	CHECK_INT(hole.first, 24);
	CHECK_INT(hole.lost[SPOOL_LOST_LIMIT][MSG_JOURNAL], 0);
	CHECK_INT(hole.lost[SPOOL_LOST_LIMIT][MSG_KERNEL], 1);
	CHECK_INT(hole.lost[SPOOL_LOST_AGE][MSG_FLOW], 5);
}

/* ------------------------------------------------------------------ by age */

TEST(what_is_too_old_goes_and_is_counted_apart)
{
	uint64_t now_us = clock_real_us(), hour_us = 3600ull * 1000000;
	struct spool_opts opts = limited();
	struct spool_stats st;
	struct spool_reader *r;
	struct got g = {};
	struct spool *s;

	dir_fresh();
	opts.max_bytes = 64 << 20;
	opts.max_age_ms = 24 * 3600 * 1000;
	s = writer(&opts);
	append_mixed(s, 1, 500, now_us - 30 * hour_us, 500);
	spool_tick(s, 0);
	spool_tick(s, 0);
	CHECK_INT(drops(s, SPOOL_LOST_AGE, MSG_FLOW), of_class(MSG_FLOW, 1, 500));
	append_mixed(s, 501, 900, now_us - 20 * hour_us, 500);
	append_mixed(s, 901, 1000, now_us, 500);
	spool_tick(s, 0);
	spool_free(s);
	/* The next one has to look into the files first. */
	opts.max_age_ms = 10 * 3600 * 1000;
	s = writer(&opts);
	for (int i = 0; i < 3; i++)
		spool_tick(s, 0);
	spool_get_stats(s, &st);
	CHECK_INT(st.dropped, st.drops[SPOOL_LOST_AGE][MSG_FLOW].events +
				      st.drops[SPOOL_LOST_AGE][MSG_JOURNAL].events +
				      st.drops[SPOOL_LOST_AGE][MSG_KERNEL].events);
	/* Files go as a whole: those of 20 hours ago, but not the one that has newer ones, too. */
	CHECK(st.dropped >= 300 && st.dropped < 400);
	r = reader("main");
	read_mixed(r, &g);
	check_classes(spool_reader_cursor(r), &g, 1000);
	CHECK_INT(spool_reader_cursor(r)->lost_age, 500 + st.dropped);
	CHECK_INT(spool_reader_cursor(r)->lost_limit, 0);
	CHECK_BOOKS(r, 1000);
	spool_reader_free(r);
	spool_free(s);
}

TEST(events_without_a_time_are_of_no_age)
{
	struct spool_opts opts = limited();
	struct spool_stats st;
	struct spool *s;

	dir_fresh();
	opts.max_age_ms = 1000;
	s = writer(&opts);
	append_mixed(s, 1, 500, 0, 500);
	for (int i = 0; i < 3; i++)
		spool_tick(s, 0);
	spool_get_stats(s, &st);
	CHECK_INT(st.dropped, 0);
	spool_free(s);
}

/* ------------------------------------------------------------------ mishaps */

TEST(damage_in_what_is_given_up_stays_damage)
{
	struct spool_opts opts = limited();
	struct spool_stats st;
	struct spool_reader *r;
	char paths[64][128];
	struct got g = {};
	struct spool *s;

	dir_fresh();
	opts.max_bytes = 4 << 20;
	s = writer(&opts);
	append_mixed(s, 1, 1500, 5, 500);
	spool_free(s);
	CHECK(segments(paths, 64) > 8);
	/* One event in the third file, a header in the fourth. */
	overwrite(paths[2], 5000, "damage", 6);
	overwrite(paths[3], SPOOL_SEGMENT_HEADER + 3, "damage", 6);
	opts.max_bytes = 1 << 20;
	s = writer(&opts);
	append_mixed(s, 1501, 20000, 5, 500);
	CHECK(bytes(s) <= opts.max_bytes);
	CHECK(drops(s, SPOOL_LOST_LIMIT, MSG_KERNEL) > 0);
	spool_get_stats(s, &st);
	r = reader("main");
	read_mixed(r, &g);
	CHECK_INT(spool_reader_cursor(r)->lost_damage, 1);
	CHECK_INT(g.all + spool_reader_cursor(r)->lost_limit + 1, 20000);
	CHECK_INT(spool_reader_cursor(r)->lost_limit, st.dropped);
	CHECK_BOOKS(r, 20000);
	spool_reader_free(r);
	spool_free(s);
}

/* Killed between the rename of the first and the removal of the others. */
TEST(covered_files_go_when_the_spool_is_opened)
{
	struct spool_opts opts = limited();
	char paths[64][128], again[64][128];
	uint8_t *saved[64];
	size_t size[64], n;
	struct spool_reader *r;
	struct got g = {};
	struct spool *s;

	dir_fresh();
	opts.n_drop_steps = 0;
	s = writer(&opts);
	append_mixed(s, 1, 1500, 5, 500);
	n = segments(paths, 64);
	CHECK(n > 4);
	for (size_t i = 0; i < n; i++)
		size[i] = slurp(paths[i], &saved[i]);
	append_mixed(s, 1501, 2500, 5, 500);
	CHECK(drops(s, SPOOL_LOST_LIMIT, MSG_KERNEL) > 0);
	spool_free(s);
	/* The second and the third are in the first one's hole. */
	segments(again, 64);
	CHECK_STR(again[0], paths[0]);
	CHECK(access(paths[1], F_OK) < 0 && access(paths[2], F_OK) < 0);
	spit(paths[1], saved[1], size[1]);
	spit(paths[2], saved[2], size[2]);
	run("head -c 5000 /dev/urandom >%s/thin.tmp", dir);
	for (int with_writer = 0; with_writer < 2; with_writer++) {
		/* A reader that comes before the writer steps over them. */
		if (with_writer)
			s = writer(&opts);
		run("rm -f %s/cursors/main", dir);
		g = (struct got){};
		r = reader("main");
		read_mixed(r, &g);
		check_classes(spool_reader_cursor(r), &g, 2500);
		CHECK_INT(spool_reader_cursor(r)->lost_damage, 0);
		CHECK_BOOKS(r, 2500);
		spool_reader_free(r);
	}
	CHECK(access(paths[1], F_OK) < 0 && access(paths[2], F_OK) < 0);
	run("test ! -e %s/thin.tmp", dir);
	spool_free(s);
	for (size_t i = 0; i < n; i++)
		free(saved[i]);
}

TEST(no_room_for_a_thinner_copy)
{
	struct spool_opts opts = limited();
	struct spool_stats st;
	struct spool_reader *r;
	struct got g = {};
	struct spool *s;

	if (!mount_tmpfs(1100))
		return;
	opts.segment_bytes = 256 * KIB;
	s = writer(&opts);
	append_mixed(s, 1, 8000, 5, 500);
	CHECK(bytes(s) <= opts.max_bytes);
	spool_get_stats(s, &st);
	CHECK_INT(st.commit_errors, 0);
	r = reader("main");
	read_mixed(r, &g);
	CHECK_INT(g.all + spool_reader_cursor(r)->lost_limit, 8000);
	CHECK_INT(spool_reader_cursor(r)->lost_limit, st.dropped);
	CHECK_INT(spool_reader_cursor(r)->lost_damage, 0);
	CHECK_BOOKS(r, 8000);
	spool_reader_free(r);
	spool_free(s);
	unmount_tmpfs();
}

/* Writes behind its position as fast as it can; the limit is always reached. */
static void thinning_child(const struct spool_opts *opts)
{
	struct spool_position p = { .source = 1, .generation = 7 };
	struct spool *s = NULL;

	if (spool_new(opts, &s) < 0)
		_exit(1);
	if (spool_position(s, 1, &p) == 0 && p.position != last_seq(s))
		_exit(2);
	for (uint64_t i = p.position;;) {
		for (uint64_t n = 1 + rng() % 60; n; n--, i++)
			if (add_mixed(s, i + 1, i, 300 + rng() % 500) < 0)
				_exit(3);
		p.position = i;
		if (spool_commit(s, &p, 1, i) < 0)
			_exit(4);
		if (rng() % 16 == 0)
			spool_tick(s, i);
	}
}

TEST(the_writer_is_killed_while_it_gives_up)
{
	struct spool_opts opts = limited();
	uint64_t tmp = 0, read = 0;
	struct spool_reader *r;
	struct got g = {};
	struct spool *s;

	dir_fresh();
	opts.max_bytes = 2 << 20;
	spool_free(writer(&opts));
	for (int round = 0; round < 150 && !test_failed; round++) {
		char path[128];
		int status = 0;
		pid_t child;

		opts.sync = round % 3 == 0 ? SPOOL_SYNC_BATCH : SPOOL_SYNC_NONE;
		fflush(stdout);
		child = fork();
		if (child == 0) {
			rng_state += (uint64_t)round * 7919;
			thinning_child(&opts);
		}
		sleep_us(1500 + rng() % 6000);
		kill(child, SIGKILL);
		CHECK(waitpid(child, &status, 0) == child);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		snprintf(path, sizeof(path), "%s/thin.tmp", dir);
		tmp += access(path, F_OK) == 0;
		/* Now and then somebody reads a part, before or after the next writer comes. */
		if (round % 10 == 5) {
			struct msg m;

			r = reader("main");
			for (uint64_t n = rng() % 2000; n && spool_reader_next(r, &m) > 0; n--) {
				CHECK_INT(m.class, class_of(m.seq));
				CHECK_INT(number(&m), m.seq);
				g.n[m.class]++;
				g.all++;
				g.last = m.seq;
				if (n % 100 == 0)
					spool_reader_settle(r, m.seq, 0);
			}
			if (g.last)
				spool_reader_settle(r, g.last, 0);
			read = g.all;
			CHECK_INT(spool_reader_cursor(r)->lost_damage, 0);
			spool_reader_free(r);
		}
	}
	s = writer(&opts);
	r = reader("main");
	read_mixed(r, &g);
	check_classes(spool_reader_cursor(r), &g, last_seq(s));
	CHECK_INT(spool_reader_cursor(r)->lost_damage, 0);
	CHECK(spool_reader_cursor(r)->lost_limit > 1000);
	CHECK_BOOKS(r, last_seq(s));
	printf("# %" PRIu64 " events, %" PRIu64 " given up, %" PRIu64 " read on the way; %" PRIu64
	       " of 150 kills left a copy half made\n",
	       last_seq(s), spool_reader_cursor(r)->lost_limit, read, tmp);
	spool_reader_free(r);
	spool_free(s);
}

/* Everything at once, in any order, with two readers of which one is seldom there. */
TEST(many_turns_at_random)
{
	for (int round = 0; round < 8 && !test_failed; round++) {
		static const char *const two[] = { "main", "slow" };
		struct spool_opts opts = limited();
		struct spool_reader *r[2] = {};
		uint64_t read[2] = {}, i = 0;
		struct spool *s;
		struct msg m;

		dir_fresh();
		opts.outputs = two;
		opts.n_outputs = 2;
		opts.segment_bytes = round % 2 ? 16 * KIB : 200 * KIB;
		opts.n_drop_steps = (uint32_t)round % 4;
		opts.max_age_ms = round % 3 ? 0 : 3600 * 1000;
		s = writer(&opts);
		for (int turn = 0; turn < 250 && !test_failed; turn++) {
			uint64_t what = rng() % 100, n = rng() % 200;
			int k = rng() % 5 == 0;

			if (what < 55) {
				uint64_t age = rng() % 10 ? 0 : 7200ull * 1000000;

				append_mixed(s, i + 1, i + n, clock_real_us() - age,
					     10 + rng() % 1500);
				i += n;
			} else if (what < 60) {
				spool_free(s);
				s = writer(&opts);
				CHECK_INT(last_seq(s), i);
			} else if (what < 65) {
				spool_tick(s, (uint64_t)turn * 1000);
			} else if (what < 70 && r[k]) {
				spool_reader_free(r[k]);
				r[k] = NULL;
			} else if (what < 75 && r[k]) {
				spool_reader_rewind(r[k]);
				read[k] = spool_reader_cursor(r[k])->cursor_seq;
			} else {
				if (!r[k]) {
					r[k] = reader(two[k]);
					read[k] = spool_reader_cursor(r[k])->cursor_seq;
				}
				for (; n && spool_reader_next(r[k], &m) > 0; n--) {
					CHECK(m.seq > read[k]);
					CHECK_INT(number(&m), m.seq);
					CHECK_INT(m.class, class_of(m.seq));
					read[k] = m.seq;
				}
				if (rng() % 2)
					spool_reader_settle(r[k], read[k], 0);
			}
		}
		for (int k = 0; k < 2; k++) {
			const struct spool_cursor *c;
			struct spool_ahead ahead;
			struct got g = {};

			spool_reader_free(r[k]);
			r[k] = reader(two[k]);
			c = spool_reader_cursor(r[k]);
			spool_get_ahead(s, c->cursor_seq, &ahead);
			CHECK_INT(c->cursor_seq + ahead.waiting + ahead.dropped, i);
			read[k] = c->acked;
			read_mixed(r[k], &g);
			CHECK_INT(c->acked - read[k], ahead.waiting);
			CHECK_INT(c->cursor_seq, i);
			CHECK_INT(c->lost_damage, 0);
			CHECK_INT(c->start_seq + c->acked + c->lost_limit + c->lost_age, i);
			spool_reader_free(r[k]);
		}
		spool_free(s);
		if (test_failed)
			printf("# round %d\n", round);
	}
}
