/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool, writer against reader: every way to lose an event is tried, and
 * after each one the books must balance, to the event:
 *     appended = start + acked + rejected + lost_limit + lost_damage + waiting
 * where waiting is what a reader can still read, by reading it.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/lib/spool.h"

/* ------------------------------------------------------------------ the ordinary */

TEST(round_trip_of_every_field)
{
	struct msg in = { .time_us = 1795000000123456,
			  .class = MSG_KERNEL,
			  .pri = 191,
			  .host = SLICE("host.example"),
			  .app = SLICE("sshd"),
			  .procid = SLICE("4711"),
			  .route = SLICE("ssh"),
			  .text = { "a\0b\n", 4 },
			  .json = SLICE("{\"a\":1}") };
	struct msg empty = { .class = MSG_JOURNAL }, out;
	struct spool_reader *r;
	struct spool *s;

	dir_fresh();
	s = writer(NULL);
	CHECK(spool_id(s) != 0);
	CHECK_INT(spool_next_seq(s), 1);
	CHECK_INT(spool_add(s, &in), 0);
	CHECK_INT(spool_next_seq(s), 2);
	CHECK_INT(spool_add(s, &empty), 0);
	r = reader("main");
	CHECK_INT(spool_reader_next(r, &out), 0);
	CHECK_INT(spool_commit(s, NULL, 0, 0), 0);
	CHECK_INT(spool_reader_next(r, &out), 1);
	CHECK_INT(out.seq, 1);
	CHECK_INT(out.time_us, in.time_us);
	CHECK_INT(out.class, MSG_KERNEL);
	CHECK_INT(out.pri, 191);
	CHECK_MEM(out.host.p, out.host.len, "host.example");
	CHECK_MEM(out.app.p, out.app.len, "sshd");
	CHECK_MEM(out.procid.p, out.procid.len, "4711");
	CHECK_MEM(out.route.p, out.route.len, "ssh");
	CHECK_INT(out.text.len, 4);
	CHECK(memcmp(out.text.p, "a\0b\n", 4) == 0);
	CHECK_MEM(out.json.p, out.json.len, "{\"a\":1}");
	CHECK_INT(spool_reader_next(r, &out), 1);
	CHECK_INT(out.seq, 2);
	CHECK_INT(out.host.len + out.text.len + out.json.len, 0);
	CHECK_INT(spool_reader_next(r, &out), 0);
	spool_reader_settle(r, 2, 1);
	CHECK_INT(spool_reader_cursor(r)->acked, 1);
	CHECK_INT(spool_reader_cursor(r)->rejected, 1);
	CHECK_BOOKS(r, last_seq(s));
	spool_reader_free(r);
	spool_free(s);
}

TEST(limits_of_one_message_and_of_a_batch)
{
	static char big[MSG_MAX_BYTES + 1];
	struct msg m = { .text = { big, MSG_MAX_BYTES } };
	struct spool_opts opts = options();
	struct spool_reader *r;
	struct spool *s;
	size_t bytes;
	int n = 0;

	dir_fresh();
	opts.max_bytes = 1; /* the least possible is taken: every message must fit */
	s = writer(&opts);
	CHECK_INT(spool_add(s, &m), 0);
	m.text.len++;
	CHECK_INT(spool_add(s, &m), -EMSGSIZE);
	m.text.len = MSG_MAX_BYTES;
	m.json = SLICE("{");
	CHECK_INT(spool_add(s, &m), -EMSGSIZE);
	m = (struct msg){ .host = { big, 65536 } };
	CHECK_INT(spool_add(s, &m), -EMSGSIZE);
	m = (struct msg){ .class = MSG_CLASSES };
	CHECK_INT(spool_add(s, &m), -EINVAL);
	CHECK_INT(spool_pending(s, &bytes), 1);
	CHECK(bytes > MSG_MAX_BYTES);
	spool_abandon(s);
	CHECK_INT(spool_pending(s, &bytes), 0);
	CHECK_INT(bytes, 0);
	CHECK_INT(spool_next_seq(s), 1);
	spool_free(s);

	opts = options();
	s = writer(&opts);
	while (add(s, (uint64_t)n + 1, 1000) == 0)
		n++;
	CHECK(n > 500 && n < 2000);
	CHECK_INT(add(s, (uint64_t)n + 1, 1000), -ENOBUFS);
	CHECK_INT(spool_commit(s, NULL, 0, 0), 0);
	CHECK_INT(spool_pending(s, &bytes), 0);
	r = reader("main");
	CHECK_INT(read_all(r, NULL), n);
	CHECK_BOOKS(r, last_seq(s));
	spool_reader_free(r);
	spool_free(s);
}

TEST(a_second_writer_or_reader_is_busy)
{
	struct spool_opts opts = options();
	struct spool *s, *other = NULL;
	struct spool_reader *r, *other_reader = NULL;

	dir_fresh();
	s = writer(&opts);
	CHECK_INT(spool_new(&opts, &other), -EBUSY);
	CHECK(other == NULL);
	r = reader("main");
	CHECK_INT(spool_reader_new(dir, "main", &other_reader), -EBUSY);
	CHECK_INT(spool_reader_new(dir, "../spool", &other_reader), -EINVAL);
	CHECK_INT(spool_reader_new(dir, ".x", &other_reader), -EINVAL);
	CHECK_INT(spool_reader_new("/nonexistent", "main", &other_reader), -ENOENT);
	CHECK_INT(spool_reader_new("/etc", "main", &other_reader), -EBADMSG);
	CHECK(other_reader == NULL);
	CHECK_INT(spool_reader_new(dir, "second", &other_reader), 0);
	spool_reader_free(other_reader);
	spool_reader_free(r);
	r = reader("main");
	spool_reader_free(r);
	spool_free(s);
	s = writer(&opts);
	spool_free(s);
}

TEST(modes_and_owners)
{
	static const struct {
		const char *name;
		mode_t mode;
		bool readers;
	} cases[] = { { ".", 0750, false },	 { "spool", 0640, false },
		      { "lock", 0600, false },	 { "0000000000000001.seg", 0640, false },
		      { "cursors", 0700, true }, { "dead", 0700, true } };
	struct spool_opts opts = options();
	struct spool *s;
	mode_t old = umask(077);

	dir_fresh();
	strcat(dir, "/a/b"); /* parents are made, too */
	opts.dir = dir;
	if (getuid() == 0)
		opts.reader_uid = opts.reader_gid = 65534;
	s = writer(&opts);
	batch(s, 1, 3, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char path[128];
		struct stat st;

		snprintf(path, sizeof(path), "%s/%s", dir, cases[i].name);
		CHECK_INT(stat(path, &st), 0);
		CHECK_INT(st.st_mode & 07777, cases[i].mode);
		CHECK_INT(st.st_uid, cases[i].readers ? opts.reader_uid : getuid());
		if (strcmp(cases[i].name, "lock") != 0)
			CHECK_INT(st.st_gid, opts.reader_gid);
	}
	umask(old);
	/* The unprivileged reader can do all it needs with that. */
	if (getuid() == 0) {
		char parent[64];
		pid_t child;
		int status;

		snprintf(parent, sizeof(parent), "%.22s", dir);
		run("chmod 755 %s %s/a", parent, parent);
		child = fork();
		if (child == 0) {
			struct spool_reader *r = NULL;

			if (setgid(65534) < 0 || setuid(65534) < 0 ||
			    spool_reader_new(dir, "main", &r) < 0 || read_all(r, NULL) != 3)
				_exit(1);
			spool_reader_settle(r, 3, 0);
			/* A segment cannot be written, and the lock not be held by it. */
			if (open(dir, O_WRONLY | O_TMPFILE, 0600) >= 0)
				_exit(2);
			_exit(test_failed ? 3 : 0);
		}
		CHECK(waitpid(child, &status, 0) == child && status == 0);
	} else {
		printf("# skipped: another user's view needs root\n");
	}
	spool_free(s);
	dir[22] = '\0';
}

TEST(a_directory_with_other_things_keeps_its_mode)
{
	char path[128];
	struct stat st;

	dir_fresh();
	CHECK_INT(chmod(dir, 0711), 0);
	snprintf(path, sizeof(path), "%s/precious", dir);
	spit(path, (const uint8_t *)"x", 1);
	spool_free(writer(NULL));
	CHECK_INT(stat(dir, &st), 0);
	CHECK_INT(st.st_mode & 07777, 0711);
	CHECK_INT(access(path, F_OK), 0);
}

TEST(positions)
{
	struct spool_position p[SPOOL_SOURCES + 1], got;
	struct spool_stats st;
	struct spool *s;

	dir_fresh();
	s = writer(NULL);
	CHECK_INT(spool_position(s, 1, &got), -ENOENT);
	for (uint32_t i = 0; i <= SPOOL_SOURCES; i++)
		p[i] = (struct spool_position){ i * 1000, i, 100 + i };
	CHECK_INT(spool_commit(s, p, SPOOL_SOURCES + 1, 0), -EINVAL);
	CHECK_INT(spool_commit(s, p, SPOOL_SOURCES, 0), 0);
	CHECK_INT(spool_commit(s, p, SPOOL_SOURCES, 0), 0); /* nothing moved, nothing written */
	spool_get_stats(s, &st);
	CHECK_INT(st.batches, 1);
	p[3].position = 5; /* backwards is a move, too: the source knows why */
	CHECK_INT(spool_commit(s, &p[3], 1, 0), 0);
	p[4].generation = 99;
	CHECK_INT(spool_commit(s, &p[4], 1, 0), 0);
	CHECK_INT(spool_commit(s, &p[SPOOL_SOURCES], 1, 0), -EINVAL);
	spool_free(s);
	s = writer(NULL);
	for (uint32_t i = 0; i < SPOOL_SOURCES; i++) {
		CHECK_INT(spool_position(s, i * 1000, &got), 0);
		CHECK_INT(got.generation, p[i].generation);
		CHECK_INT(got.position, p[i].position);
	}
	CHECK_INT(last_seq(s), 0);
	spool_free(s);
}

TEST(positions_alone_do_not_fill_the_disk)
{
	struct spool_opts opts = options();
	struct spool_position p = { .source = 1 };
	struct spool_reader *r;
	struct spool_stats st;
	struct spool *s;

	dir_fresh();
	opts.segment_bytes = 4096;
	opts.max_bytes = 1 << 20;
	s = writer(&opts);
	r = reader("main");
	for (uint64_t i = 1; i < 1000; i++) {
		p.position = i;
		CHECK_INT(spool_commit(s, &p, 1, 0), 0);
		CHECK_INT(read_all(r, NULL), 0);
		if (i == 500) {
			batch(s, 1, 1, 0);
			CHECK_INT(read_all(r, NULL), 1);
		}
	}
	spool_get_stats(s, &st);
	CHECK(st.segments <= 2);
	CHECK(st.bytes <= 8192);
	CHECK_BOOKS(r, 1);
	spool_reader_free(r);
	spool_free(s);
	s = writer(&opts);
	CHECK_INT(spool_position(s, 1, &p), 0);
	CHECK_INT(p.position, 999);
	spool_free(s);
}

TEST(a_reader_follows_growing_and_rotating_segments)
{
	struct spool_opts opts = options();
	struct spool_reader *r;
	struct spool_stats st;
	uint64_t last, seen = 0;
	struct spool *s;

	dir_fresh();
	opts.segment_bytes = 4096;
	s = writer(&opts);
	r = reader("main");
	for (uint64_t i = 1; i <= 1000; i += 10) {
		batch(s, i, i + 9, 100 + i % 37);
		if (i % 3 == 0)
			continue;
		seen += read_all(r, &last);
		CHECK_INT(last, i + 9);
		if (i % 7 == 0) {
			spool_reader_settle(r, last - 3, 0);
			spool_tick(s, 0);
		}
	}
	seen += read_all(r, NULL);
	CHECK_INT(seen, 1000);
	CHECK_BOOKS(r, last_seq(s));
	CHECK_INT(spool_reader_cursor(r)->acked, 1000);
	spool_tick(s, 0);
	spool_get_stats(s, &st);
	CHECK_INT(st.segments, 1);
	CHECK_INT(st.first_seq, 1001);
	CHECK_INT(st.dropped_segments, 0);
	spool_reader_free(r);
	spool_free(s);
}

TEST(events_are_found_by_their_numbers)
{
	struct spool_opts opts = options();
	struct spool_lookup *l = NULL;
	struct spool_reader *r;
	struct spool *s;
	struct msg m;

	dir_fresh();
	opts.segment_bytes = 4096;
	s = writer(&opts);
	r = reader("main");
	for (uint64_t i = 1; i <= 20000; i += 10)
		batch(s, i, i + 9, 100 + i % 37);
	CHECK_INT(spool_lookup_new(r, &l), 0);
	for (int i = 0; i < 300; i++) {
		uint64_t seq = rng() % 20000 + 1;

		/* In steps, as refusals come, and anywhere. */
		for (uint64_t k = seq; k < seq + 5 && k <= 20000; k++) {
			CHECK_INT(spool_lookup(l, k, &m), 1);
			CHECK_INT(m.seq, k);
			CHECK_INT(number(&m), k);
		}
	}
	CHECK_INT(spool_lookup(l, 20001, &m), 0);
	CHECK_INT(spool_lookup(l, 20000, &m), 1);
	/* The cursor and its books have not moved. */
	CHECK_INT(spool_reader_cursor(r)->cursor_seq, 0);
	/* What all have is removed, and not found any more. */
	while (spool_reader_next(r, &m) == 1 && m.seq < 15000)
		;
	spool_reader_settle(r, 15000, 0);
	spool_tick(s, 0);
	CHECK_INT(spool_lookup(l, 1, &m), 0);
	CHECK_INT(spool_lookup(l, 19000, &m), 1);
	CHECK_INT(number(&m), 19000);
	CHECK_INT(read_all(r, NULL), 5000);
	CHECK_BOOKS(r, last_seq(s));
	spool_lookup_free(l);
	spool_reader_free(r);
	spool_free(s);
}

TEST(numbers_and_positions_survive_an_empty_spool)
{
	struct spool_opts opts = options();
	struct spool_position p;
	struct spool_reader *r;
	struct spool_stats st;
	struct spool *s;

	dir_fresh();
	opts.segment_bytes = 4096;
	for (int round = 0; round < 5; round++) {
		s = writer(&opts);
		r = reader("main");
		CHECK_INT(last_seq(s), round * 100);
		if (round) {
			CHECK_INT(spool_position(s, 1, &p), 0);
			CHECK_INT(p.position, round * 100);
		}
		for (uint64_t i = 1; i <= 100; i++)
			batch(s, (uint64_t)round * 100 + i, (uint64_t)round * 100 + i,
			      i == 100 ? 3000 : 200);
		CHECK_INT(read_all(r, NULL), 100);
		CHECK_BOOKS(r, (uint64_t)(round + 1) * 100);
		CHECK_INT(spool_reader_cursor(r)->acked, (round + 1) * 100);
		spool_tick(s, 0);
		spool_get_stats(s, &st);
		CHECK_INT(st.first_seq, st.last_seq + 1);
		CHECK_INT(st.segments, 1);
		CHECK(st.bytes < 4096);
		spool_reader_free(r);
		spool_free(s);
	}
	/* Even when somebody removes every segment. */
	run("rm %s/*.seg", dir);
	s = writer(&opts);
	CHECK_INT(last_seq(s), 500);
	CHECK_INT(spool_position(s, 1, &p), 0);
	CHECK_INT(p.position, 500);
	r = reader("main");
	batch(s, 501, 501, 0);
	CHECK_BOOKS(r, 501);
	CHECK_INT(spool_reader_cursor(r)->lost_damage, 0);
	spool_reader_free(r);
	spool_free(s);
}

TEST(the_cursor_survives)
{
	struct spool_cursor c;
	struct spool_reader *r;
	struct spool *s;

	dir_fresh();
	s = writer(NULL);
	batch(s, 1, 100, 50);
	r = reader("main");
	CHECK_INT(read_all(r, NULL), 100);
	spool_reader_settle(r, 40, 3);
	spool_reader_cursor(r)->sent = 40;
	strcpy(spool_reader_cursor(r)->last_error, "refused");
	CHECK_INT(spool_cursor_peek(dir, "main", &c), 0);
	CHECK_INT(c.cursor_seq, 40);
	CHECK_INT(c.acked, 37);
	CHECK_INT(c.rejected, 3);
	CHECK_INT(c.sent, 0);
	spool_reader_publish(r);
	CHECK_INT(spool_cursor_peek(dir, "main", &c), 0);
	CHECK_INT(c.sent, 40);
	CHECK_STR(c.last_error, "refused");
	CHECK_INT(spool_cursor_peek(dir, "nobody", &c), -ENOENT);
	spool_reader_settle(r, 30, 0); /* is history */
	CHECK_INT(spool_reader_cursor(r)->cursor_seq, 40);
	spool_reader_settle(r, 5000, 0); /* no more than was read */
	CHECK_INT(spool_reader_cursor(r)->cursor_seq, 100);
	spool_reader_free(r);
	spool_free(s);

	s = writer(NULL);
	batch(s, 101, 110, 50);
	r = reader("main");
	CHECK_INT(spool_reader_cursor(r)->sent, 40);
	CHECK_INT(read_all(r, NULL), 10);
	CHECK_BOOKS(r, 110);
	spool_reader_free(r);
	spool_free(s);
}

TEST(rewind_reads_again_what_is_not_settled)
{
	struct spool_opts opts = options();
	struct spool_reader *r;
	uint64_t last;
	struct spool *s;

	dir_fresh();
	opts.segment_bytes = 4096;
	s = writer(&opts);
	for (uint64_t i = 1; i <= 200; i += 5)
		batch(s, i, i + 4, 100);
	r = reader("main");
	CHECK_INT(read_all(r, NULL), 200);
	for (uint64_t settled = 0; settled < 200; settled += 13) {
		spool_reader_settle(r, settled, 0);
		CHECK_INT(spool_reader_rewind(r), 0);
		spool_reader_settle(r, 200, 0); /* a late answer of the old connection */
		CHECK_INT(spool_reader_cursor(r)->cursor_seq, settled);
		CHECK_INT(read_all(r, &last), 200 - settled);
		CHECK_INT(last, 200);
	}
	CHECK_BOOKS(r, 200);
	spool_reader_free(r);
	spool_free(s);
}

TEST(a_new_cursor_begins_at_the_oldest_event)
{
	struct spool_opts opts = options();
	struct spool_reader *r;
	struct spool_stats st;
	struct spool *s;

	dir_fresh();
	opts.segment_bytes = 4096;
	s = writer(&opts);
	for (uint64_t i = 1; i <= 100; i++)
		batch(s, i, i, 300);
	r = reader("main");
	read_all(r, NULL);
	spool_reader_settle(r, 60, 0);
	spool_tick(s, 0);
	spool_get_stats(s, &st);
	CHECK(st.first_seq > 40 && st.first_seq <= 61);
	spool_reader_free(r);
	run("rm %s/cursors/main", dir);
	r = reader("main");
	CHECK_INT(spool_reader_cursor(r)->start_seq, st.first_seq - 1);
	CHECK_INT(read_all(r, NULL), 101 - st.first_seq);
	CHECK_BOOKS(r, 100);
	spool_reader_free(r);
	spool_free(s);
}

/* The events that a reader gets, all of them; the epoch of each one that it should be of. */
static int read_epochs(struct spool_reader *r, uint64_t from, uint64_t epoch)
{
	struct msg m;
	int n = 0;

	for (; spool_reader_next(r, &m) == 1; n++)
		if (m.seq >= from)
			CHECK_INT(m.epoch, epoch);
	return n;
}

TEST(after_a_loss_of_power_ids_are_others)
{
	struct spool_opts o = { .max_bytes = 16 << 20, .boot_id = 1 };
	uint64_t id, epochs[20];
	struct spool_reader *r;
	struct spool *s;

	dir_fresh();
	s = writer(&o);
	id = spool_id(s);
	CHECK_INT(spool_epoch(s), id);
	CHECK(!spool_was_torn(s));
	batch(s, 1, 50, 0);
	run("cp -r %s %s.power", dir, dir);
	spool_free(s);
	/* A clean end, and another boot. */
	o.boot_id = 2;
	s = writer(&o);
	CHECK_INT(spool_epoch(s), id);
	CHECK(!spool_was_torn(s));
	spool_free(s);

	/* The same boot: the page cache had it all. */
	run("rm -r %s && cp -r %s.power %s", dir, dir, dir);
	o.boot_id = 1;
	s = writer(&o);
	CHECK_INT(spool_epoch(s), id);
	CHECK(!spool_was_torn(s));
	spool_free(s);

	/* No clean end, another boot: and that many times, more than are remembered. */
	run("rm -r %s && mv %s.power %s", dir, dir, dir);
	for (uint64_t i = 0; i < 20; i++) {
		o.boot_id = i + 2;
		s = writer(&o);
		CHECK_INT(spool_id(s), id);
		CHECK(spool_was_torn(s));
		epochs[i] = spool_epoch(s);
		CHECK(epochs[i] != id && (i == 0 || epochs[i] != epochs[i - 1]));
		CHECK_INT(last_seq(s), 50 + 10 * i);
		batch(s, 51 + 10 * i, 60 + 10 * i, 0);
		run("cp -r %s %s.power", dir, dir);
		if (i == 0) {
			/* A reader that waited all the time. */
			r = reader("main");
			CHECK_INT(read_epochs(r, 51, epochs[0]), 60);
			spool_reader_free(r);
		}
		spool_free(s);
		run("rm -r %s && mv %s.power %s", dir, dir, dir);
	}
	o.boot_id = 21;
	s = writer(&o);
	CHECK(!spool_was_torn(s));
	CHECK_INT(spool_epoch(s), epochs[19]);
	r = reader("late");
	CHECK_INT(read_epochs(r, 241, epochs[19]), 250);
	spool_reader_free(r);
	spool_free(s);
}

TEST(the_cursor_of_another_spool_starts_anew)
{
	struct spool_reader *r;
	struct spool *s;
	uint64_t id;

	dir_fresh();
	s = writer(NULL);
	id = spool_id(s);
	batch(s, 1, 50, 0);
	r = reader("main");
	read_all(r, NULL);
	spool_reader_settle(r, 50, 0);
	spool_reader_free(r);
	spool_free(s);
	run("rm %s/spool %s/*.seg", dir, dir);
	s = writer(NULL);
	CHECK(spool_id(s) != id);
	CHECK_INT(last_seq(s), 0);
	batch(s, 1, 5, 0);
	r = reader("main");
	CHECK_INT(spool_reader_cursor(r)->cursor_seq, 0);
	CHECK_INT(spool_reader_cursor(r)->acked, 0);
	CHECK_INT(read_all(r, NULL), 5);
	CHECK_BOOKS(r, 5);
	spool_reader_free(r);
	spool_free(s);
}

/* ------------------------------------------------------------------ the size limit */

TEST(a_slow_reader_at_the_size_limit)
{
	struct spool_opts opts = options();
	const struct spool_cursor *c;
	uint64_t read_before, n, last;
	struct spool_reader *r;
	struct spool_stats st;
	struct spool *s;
	struct msg m;

	dir_fresh();
	opts.max_bytes = 1 << 20;
	opts.segment_bytes = 16 << 10;
	s = writer(&opts);
	r = reader("main");
	c = spool_reader_cursor(r);
	for (uint64_t i = 1; i <= 100; i++)
		batch(s, i, i, 1000);
	/* It has read something, settled less, and then stands still. */
	for (read_before = 0; read_before < 55; read_before++)
		CHECK_INT(spool_reader_next(r, &m), 1);
	spool_reader_settle(r, 20, 0);
	for (uint64_t i = 101; i <= 5000; i++) {
		batch(s, i, i, 1000);
		spool_get_stats(s, &st);
		CHECK(st.bytes <= 1 << 20);
		if (i % 50 == 0)
			spool_tick(s, i);
	}
	CHECK(st.dropped_segments > 0);
	CHECK_INT(st.dropped, st.first_seq - 1 - 20);
	CHECK_INT(st.removed_seq, st.first_seq - 1);
	CHECK_INT(spool_reader_waiting(r), 5000 - (st.first_seq - 1));
	CHECK(st.first_seq > 3000);
	/* The segment it has open is still its own: that is read to its end. */
	CHECK_INT(spool_reader_next(r, &m), 1);
	CHECK_INT(m.seq, 56);
	for (last = 56; spool_reader_next(r, &m) == 1 && m.seq == last + 1;)
		last = m.seq;
	CHECK_INT(m.seq, st.first_seq);
	n = 1 + read_all(r, NULL);
	CHECK_INT(n, 5000 - st.first_seq + 1);
	spool_reader_settle(r, last, 0);
	/* The loss follows at once on the last event before it. */
	CHECK_INT(c->lost_limit, st.first_seq - 1 - last);
	CHECK_INT(c->cursor_seq, st.first_seq - 1);
	CHECK_INT(c->lost_damage, 0);
	CHECK_INT(c->acked, last);
	CHECK_BOOKS(r, 5000);
	CHECK_INT(c->acked, last + n);
	spool_reader_free(r);

	/* A reader that comes back only now, its cursor far in what was removed. */
	for (uint64_t i = 5001; i <= 9000; i++)
		batch(s, i, i, 1000);
	spool_get_stats(s, &st);
	r = reader("main");
	c = spool_reader_cursor(r);
	n = c->lost_limit;
	CHECK_INT(spool_reader_next(r, &m), 1);
	CHECK_INT(m.seq, st.first_seq);
	CHECK_INT(c->cursor_seq, st.first_seq - 1);
	CHECK_INT(c->lost_limit - n, st.first_seq - 1 - 5000);
	CHECK_INT(c->lost_damage, 0);
	/* Unsettled, rewound, and removed meanwhile: lost after all. */
	CHECK_INT(read_all(r, NULL), 9000 - st.first_seq);
	for (uint64_t i = 9001; i <= 12000; i++)
		batch(s, i, i, 1000);
	CHECK_INT(spool_reader_rewind(r), 0);
	CHECK_BOOKS(r, 12000);
	CHECK_INT(c->lost_damage, 0);
	spool_reader_free(r);
	spool_free(s);
}

TEST(batches_larger_than_segments_stay_below_the_limit)
{
	struct spool_opts opts = options();
	struct spool_reader *r;
	struct spool_stats st;
	struct spool *s;
	uint64_t i = 0;

	dir_fresh();
	opts.max_bytes = 1 << 20;
	opts.segment_bytes = 4096;
	s = writer(&opts);
	r = reader("main");
	for (int round = 0; round < 30; round++) {
		while (add(s, i + 1, 3000 + rng() % 60000) == 0)
			i++;
		CHECK_INT(spool_commit(s, NULL, 0, 0), 0);
		spool_get_stats(s, &st);
		CHECK(st.bytes <= 1 << 20);
	}
	CHECK_BOOKS(r, i);
	CHECK(spool_reader_cursor(r)->lost_limit > 0);
	CHECK_INT(spool_reader_cursor(r)->lost_damage, 0);
	spool_reader_free(r);
	spool_free(s);
	/* A limit that was lowered is kept with the next batch. */
	opts.max_bytes = 64 << 20;
	s = writer(&opts);
	for (int k = 0; k < 3000; k++, i++)
		CHECK_INT(add(s, i + 1, 3000) == 0 ||
				  (spool_commit(s, NULL, 0, 0) == 0 && add(s, i + 1, 3000) == 0),
			  1);
	CHECK_INT(spool_commit(s, NULL, 0, 0), 0);
	spool_free(s);
	opts.max_bytes = 1 << 20;
	s = writer(&opts);
	i++;
	batch(s, i, i, 10);
	spool_get_stats(s, &st);
	CHECK(st.bytes <= 1 << 20);
	r = reader("main");
	CHECK_BOOKS(r, i);
	CHECK_INT(spool_reader_cursor(r)->lost_damage, 0);
	spool_reader_free(r);
	spool_free(s);
}

/* ------------------------------------------------------------------ damage */

TEST(torn_at_every_byte_of_the_last_batch)
{
	uint64_t size_before, size_after, cut, id;
	char paths[4][128], state_path[128];
	uint8_t *seg, *state;
	struct spool_position p;
	struct spool_reader *r;
	struct spool_stats st;
	struct spool *s;

	dir_fresh();
	snprintf(state_path, sizeof(state_path), "%s/spool", dir);
	s = writer(NULL);
	batch(s, 1, 7, 20);
	CHECK_INT(segments(paths, 4), 1);
	/* The state as it is when a writer is killed in the middle of the write that follows. */
	slurp(state_path, &state);
	spool_get_stats(s, &st);
	size_before = st.bytes;
	id = spool_id(s);
	batch(s, 8, 11, 20);
	spool_free(s);
	size_after = slurp(paths[0], &seg);
	CHECK(size_after > size_before);
	for (cut = size_before; cut <= size_after; cut++) {
		bool whole = cut == size_after;
		uint64_t last = whole ? 11 : 7;

		run("rm -f %s/cursors/main", dir);
		spit(paths[0], seg, cut);
		spit(state_path, state, SPOOL_PAGE);
		/* A reader that is there before the recovery does not see the torn batch. */
		r = reader("main");
		CHECK_INT(read_all(r, NULL), last);
		s = writer(NULL);
		spool_get_stats(s, &st);
		CHECK_INT(spool_id(s), id);
		CHECK_INT(st.last_seq, last);
		CHECK_INT(st.torn_bytes, whole ? 0 : cut - size_before);
		CHECK_INT(spool_position(s, 1, &p), 0);
		CHECK_INT(p.position, last);
		CHECK_INT(read_all(r, NULL), 0);
		batch(s, last + 1, 20, 33);
		CHECK_INT(read_all(r, NULL), 20 - last);
		CHECK_BOOKS(r, 20);
		CHECK_INT(spool_reader_cursor(r)->acked, 20);
		spool_reader_free(r);
		spool_free(s);
		if (test_failed) {
			printf("# cut at %" PRIu64 "\n", cut);
			break;
		}
	}
	free(seg);
	free(state);
}

TEST(a_batch_that_was_committed_and_is_gone_counts_as_damage)
{
	char paths[4][128];
	struct spool_reader *r;
	struct spool_stats st;
	uint64_t before;
	struct spool *s;

	dir_fresh();
	s = writer(NULL);
	batch(s, 1, 7, 20);
	spool_get_stats(s, &st);
	before = st.bytes;
	batch(s, 8, 11, 20);
	spool_free(s);
	CHECK_INT(segments(paths, 4), 1);
	CHECK_INT(truncate(paths[0], (off_t)before + 3), 0);
	s = writer(NULL);
	CHECK_INT(last_seq(s), 11); /* no number is given twice */
	r = reader("main");
	CHECK_BOOKS(r, 11);
	CHECK_INT(spool_reader_cursor(r)->acked, 7);
	CHECK_INT(spool_reader_cursor(r)->lost_damage, 4);
	spool_reader_free(r);
	spool_free(s);
}

TEST(each_bit_of_each_header_flipped)
{
	/* Two segments of three batches; the flips go through all of the first one. */
	struct spool_opts opts = options();
	char paths[4][128];
	struct spool *s;
	uint8_t *seg;
	size_t size;

	dir_fresh();
	opts.segment_bytes = 4096;
	s = writer(&opts);
	batch(s, 1, 2, 10);
	batch(s, 3, 5, 10);
	batch(s, 6, 6, 10);
	batch(s, 7, 8, 3500);
	spool_free(s);
	CHECK_INT(segments(paths, 4), 2);
	size = slurp(paths[0], &seg);
	for (size_t at = 0; at < size && !test_failed; at++) {
		struct spool_reader *r;
		uint64_t n, lost;

		seg[at] ^= (uint8_t)(1u << at % 8);
		spit(paths[0], seg, size);
		seg[at] ^= (uint8_t)(1u << at % 8);
		run("rm -f %s/cursors/main", dir);
		r = reader("main");
		n = read_all(r, NULL);
		spool_reader_settle(r, 8, 0);
		lost = spool_reader_cursor(r)->lost_damage;
		/* A header of a segment or a batch costs nothing, a record only itself. */
		CHECK(lost <= 1);
		CHECK_INT(n + lost, 8);
		CHECK_INT(spool_reader_cursor(r)->lost_limit, 0);
		CHECK_BOOKS(r, 8);
		spool_reader_free(r);
		if (test_failed)
			printf("# flipped at %zu\n", at);
	}
	free(seg);
}

/* The records that are whole in these bytes, by looking at each place. */
static uint64_t count_whole_records(const uint8_t *p, size_t n, const struct spool_key *key)
{
	struct msg m;
	uint64_t found = 0;

	for (size_t at = 0; at < n; at++)
		found += spool_record_decode(p + at, n - at, key, &m) > 0;
	return found;
}

TEST(random_blocks_zeroed)
{
	struct spool_opts opts = options();
	const uint64_t total = 900;
	struct spool_key key;
	uint8_t *saved[64], *state;
	char paths[64][128], state_path[128];
	size_t size[64], n;
	struct spool *s;

	dir_fresh();
	opts.segment_bytes = 16 << 10;
	s = writer(&opts);
	spool_key_init(&key, spool_id(s));
	for (uint64_t i = 1; i <= total;) {
		uint64_t to = i + rng() % 12;

		to = to > total ? total : to;
		batch(s, i, to, rng() % 400);
		i = to + 1;
	}
	spool_free(s);
	n = segments(paths, 64);
	CHECK(n > 8);
	snprintf(state_path, sizeof(state_path), "%s/spool", dir);
	slurp(state_path, &state);
	for (size_t i = 0; i < n; i++)
		size[i] = slurp(paths[i], &saved[i]);
	for (int round = 0; round < 60 && !test_failed; round++) {
		uint64_t whole = 0, got;
		struct spool_reader *r;

		run("rm -f %s/cursors/main %s/*.seg", dir, dir);
		overwrite(state_path, 0, state, SPOOL_PAGE);
		for (size_t i = 0; i < n; i++) {
			uint8_t *copy = malloc(size[i]);

			memcpy(copy, saved[i], size[i]);
			for (uint64_t k = rng() % 4; k; k--) {
				size_t from = rng() % size[i], len = rng() % 2000;

				len = len > size[i] - from ? size[i] - from : len;
				memset(copy + from, round % 2 ? 0 : (int)rng(), len);
			}
			whole += count_whole_records(copy, size[i], &key);
			spit(paths[i], copy, size[i]);
			free(copy);
		}
		/* With and without the recovery of a writer before it. */
		s = round % 3 ? writer(&opts) : NULL;
		if (s) {
			CHECK_INT(last_seq(s), total);
			batch(s, total + 1, total + 3, 10);
			whole += 3;
		}
		r = reader("main");
		got = read_all(r, NULL);
		if (s) {
			CHECK_INT(got, whole);
			CHECK_BOOKS(r, total + 3);
			CHECK_INT(spool_reader_cursor(r)->lost_damage, total + 3 - whole);
			CHECK_INT(spool_reader_cursor(r)->lost_limit, 0);
		} else {
			/* What is behind the last good header may be in the making. */
			CHECK(got <= whole);
		}
		spool_reader_free(r);
		spool_free(s);
		if (test_failed)
			printf("# round %d\n", round);
	}
	for (size_t i = 0; i < n; i++)
		free(saved[i]);
	free(state);
}

TEST(a_live_reader_steps_over_damage_in_the_newest_segment)
{
	char paths[4][128];
	struct spool_reader *r;
	struct spool_stats st;
	uint64_t at, last;
	struct spool *s;

	dir_fresh();
	s = writer(NULL);
	r = reader("main");
	batch(s, 1, 5, 20);
	CHECK_INT(read_all(r, NULL), 5);
	spool_get_stats(s, &st);
	at = st.bytes;
	batch(s, 6, 9, 20);
	CHECK_INT(segments(paths, 4), 1);
	overwrite(paths[0], at + 8, "garbage", 7);
	CHECK_INT(read_all(r, NULL), 0); /* could be in the making */
	batch(s, 10, 12, 20);
	CHECK_INT(read_all(r, &last), 7); /* it was not: 6 to 9 are whole, and 10 to 12 */
	CHECK_INT(last, 12);
	/* Two of the last records: lost, and known at once. */
	spool_reader_settle(r, 12, 0);
	spool_get_stats(s, &st);
	batch(s, 13, 16, 2000);
	overwrite(paths[0], st.bytes + 3 * 2000, "?", 1);
	overwrite(paths[0], st.bytes + 4 * 2000, "?", 1);
	CHECK_INT(read_all(r, &last), 2);
	CHECK_INT(last, 14);
	spool_reader_settle(r, 14, 0);
	CHECK_INT(spool_reader_cursor(r)->cursor_seq, 16);
	CHECK_INT(spool_reader_cursor(r)->lost_damage, 2);
	CHECK_BOOKS(r, 16);
	spool_reader_free(r);
	spool_free(s);
}

/*
 * A reader that is slow between two reads can have the beginning of a batch
 * that was cut and the end of the one that took its place.
 */
TEST(damage_is_believed_only_when_it_is_read_twice)
{
	uint8_t bytes[1024], bad[1024];
	struct spool_batch b = { .first_seq = 1, .n_records = 2 };
	struct msg m = { .text = SLICE("a text") };
	size_t header = spool_batch_header_size(0), size = (size_t)spool_record_size(&m), n, used;
	struct spool_key key;
	struct spool_walk w;

	spool_key_init(&key, 42);
	b.body_len = (uint32_t)(2 * size);
	n = header + b.body_len;
	spool_batch_encode(bytes, &key, &b);
	spool_record_encode(bytes + header, size, &key, 1, &m);
	spool_record_encode(bytes + header + size, size, &key, 2, &m);
	for (size_t at = 0; at < n; at++) {
		bool first = at >= header && at < header + size;
		enum spool_step step;
		size_t pos = 0;

		memcpy(bad, bytes, n);
		bad[at] ^= 1;
		spool_walk_init(&w, &key, 1);
		while ((step = spool_walk_step(&w, bad + pos, n - pos, true, &used, &m)) ==
			       SPOOL_SKIPPED ||
		       step == SPOOL_RECORD)
			pos += used;
		CHECK_INT(step, SPOOL_AGAIN);
		CHECK(w.want <= 2);
		/* It was that: the second read is good, and nothing is missing. */
		spool_walk_restart(&w);
		for (pos = 0; (step = spool_walk_step(&w, bytes + pos, n - pos, true, &used, &m)) !=
			      SPOOL_MORE;
		     pos += used)
			CHECK(step == SPOOL_SKIPPED || step == SPOOL_RECORD);
		CHECK_INT(w.want, 3);
		CHECK_INT(w.damaged, 0);
		/* It was not: all but what is damaged is given. */
		spool_walk_init(&w, &key, 1);
		for (uint64_t got = pos = 0;; pos += used) {
			w.confirmed = true;
			step = spool_walk_step(&w, bad + pos, n - pos, true, &used, &m);
			got += step == SPOOL_RECORD ? m.seq : 0;
			if (step != SPOOL_MORE)
				continue;
			CHECK_INT(got, at < header ? 3 : first ? 2 : 1);
			break;
		}
	}
}

TEST(more_losses_than_the_list_has_room_for)
{
	const uint64_t total = 20000;
	struct spool_reader *r;
	uint64_t last = 0, before, n = 0;
	char paths[4][128];
	uint8_t *seg;
	struct spool *s;
	struct msg m;
	size_t size;

	dir_fresh();
	s = writer(NULL);
	for (uint64_t i = 1; i <= total; i += 5000)
		batch(s, i, i + 4999, 100);
	CHECK_INT(segments(paths, 4), 1);
	size = slurp(paths[0], &seg);
	for (uint64_t i = 2; i <= total; i += 2) /* the last byte of event i */
		seg[size - (total - i) * 148 - (total - i) / 5000 * 60 - 1] ^= 1;
	spit(paths[0], seg, size);
	free(seg);
	r = reader("main");
	for (int turn = 0; turn < 10; turn++) {
		before = n;
		for (; spool_reader_next(r, &m) > 0; n++, last = m.seq)
			CHECK_INT(m.seq, last ? last + 2 : 1);
		CHECK(n - before <= 4096); /* it waits for the cursor */
		spool_reader_settle(r, last, 0);
	}
	CHECK_INT(n, total / 2);
	CHECK_BOOKS(r, total);
	CHECK_INT(spool_reader_cursor(r)->lost_damage, total / 2);
	spool_reader_free(r);
	spool_free(s);
}

static int open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

TEST(descriptors_that_wait_for_a_sync_are_few)
{
	struct spool_opts opts = options();
	int before = open_descriptors();
	struct spool_reader *r;
	struct spool *s;

	dir_fresh();
	opts.segment_bytes = 4096;
	opts.sync = SPOOL_SYNC_INTERVAL;
	opts.sync_interval_ms = 100;
	s = writer(&opts);
	for (uint64_t i = 1; i <= 60; i++)
		batch(s, i, i, 3000);
	CHECK(open_descriptors() - before <= 4 + 1 + 8);
	spool_tick(s, 100);
	CHECK_INT(open_descriptors() - before, 4 + 1);
	r = reader("main");
	CHECK_BOOKS(r, 60);
	spool_reader_free(r);
	spool_tick(s, 200);
	spool_free(s);
	CHECK_INT(open_descriptors(), before);
}

TEST(an_incomplete_batch_before_the_last_segment_is_damage)
{
	struct spool_opts opts = options();
	char paths[8][128];
	struct spool_reader *r;
	struct stat st;
	struct spool *s;

	dir_fresh();
	opts.segment_bytes = 4096;
	s = writer(&opts);
	for (uint64_t i = 1; i <= 30; i += 10)
		batch(s, i, i + 9, 300);
	CHECK_INT(segments(paths, 8), 3);
	CHECK_INT(stat(paths[1], &st), 0);
	CHECK_INT(truncate(paths[1], st.st_size - 400), 0);
	r = reader("main");
	CHECK_INT(read_all(r, NULL), 28); /* its whole records count */
	CHECK_BOOKS(r, 30);
	CHECK_INT(spool_reader_cursor(r)->lost_damage, 2);
	spool_reader_free(r);
	/* And one that is missing: removed by somebody, not by the limit. */
	run("rm %s %s/cursors/main", paths[1], dir);
	r = reader("main");
	CHECK_BOOKS(r, 30);
	CHECK_INT(spool_reader_cursor(r)->lost_damage, 10);
	CHECK_INT(spool_reader_cursor(r)->lost_limit, 0);
	spool_reader_free(r);
	spool_free(s);
}

TEST(the_identity_file_damaged)
{
	char path[128], paths[4][128];
	struct spool_opts opts = options();
	struct spool_reader *r;
	struct spool *s = NULL;
	uint64_t id;

	dir_fresh();
	snprintf(path, sizeof(path), "%s/spool", dir);
	s = writer(NULL);
	id = spool_id(s);
	batch(s, 1, 9, 0);
	spool_free(s);
	/* Its header, one slot, all of it: the rest still knows. */
	for (int what = 0; what < 4; what++) {
		uint8_t *page, zeroes[SPOOL_PAGE] = {};

		CHECK_INT(slurp(path, &page), SPOOL_PAGE);
		if (what == 0)
			overwrite(path, 16, "12345678", 8);
		else if (what == 1)
			overwrite(path, 512, zeroes, 1024);
		else if (what == 2)
			overwrite(path, 0, zeroes, SPOOL_PAGE);
		else
			CHECK_INT(truncate(path, 0), 0);
		s = writer(NULL);
		CHECK_INT(spool_id(s), id);
		CHECK_INT(last_seq(s), 9);
		r = reader("main");
		CHECK_BOOKS(r, 9);
		CHECK_INT(spool_reader_cursor(r)->acked, 9);
		spool_reader_free(r);
		spool_free(s);
		free(page);
	}
	spit(path, (const uint8_t *)"somebody else's file, and of some length, too", 45);
	CHECK_INT(spool_new(&opts, &s), -EBADMSG);
	CHECK_INT(segments(paths, 4), 1);
}

TEST(each_byte_of_a_cursor_flipped)
{
	struct spool_cursor c;
	struct spool_reader *r;
	uint8_t *page;
	char path[128];
	struct spool *s;

	dir_fresh();
	snprintf(path, sizeof(path), "%s/cursors/main", dir);
	s = writer(NULL);
	batch(s, 1, 30, 0);
	r = reader("main");
	read_all(r, NULL);
	spool_reader_settle(r, 10, 0);
	spool_reader_settle(r, 20, 0);
	spool_reader_free(r);
	slurp(path, &page);
	for (size_t at = 0; at < SPOOL_PAGE && !test_failed; at++) {
		if (page[at] == 0 && at % 5)
			continue;
		page[at] ^= 0x40;
		spit(path, page, SPOOL_PAGE);
		page[at] ^= 0x40;
		CHECK_INT(spool_cursor_peek(dir, "main", &c), 0);
		CHECK(c.cursor_seq == 20 || c.cursor_seq == 10);
		CHECK_INT(c.acked, c.cursor_seq);
	}
	/* None whole: from the oldest event on, again. */
	memset(page, 0xaa, SPOOL_PAGE);
	spit(path, page, SPOOL_PAGE);
	CHECK_INT(spool_cursor_peek(dir, "main", &c), -EBADMSG);
	r = reader("main");
	CHECK_INT(read_all(r, NULL), 30);
	CHECK_BOOKS(r, 30);
	spool_reader_free(r);
	spool_free(s);
	free(page);
}

TEST(hostile_cursor_files_do_not_harm_the_writer)
{
	struct spool_opts opts = options();
	uint8_t slot[SPOOL_CURSOR_BOOKS];
	struct spool_cursor c = {};
	uint8_t page[SPOOL_PAGE] = {};
	char path[128];
	struct spool *s;
	size_t at;

	dir_fresh();
	opts.segment_bytes = 4096;
	s = writer(&opts);
	c.spool_id = spool_id(s);
	for (uint64_t i = 1; i <= 30; i++)
		batch(s, i, i, 500);
	snprintf(path, sizeof(path), "%s/cursors/main", dir);
	CHECK_INT(mkfifo(path, 0666), 0);
	spool_tick(s, 0); /* does not wait */
	unlink(path);
	CHECK_INT(symlink("/etc/passwd", path), 0);
	spool_tick(s, 0);
	spool_free(s);
	s = writer(&opts);
	unlink(path);
	c.cursor_seq = SPOOL_SEQ_MAX; /* so far ahead that no number would be left */
	at = spool_cursor_encode_books(slot, 1, &c);
	memcpy(page + at, slot, sizeof(slot));
	spit(path, page, sizeof(page));
	spool_free(s);
	s = writer(&opts);
	CHECK_INT(last_seq(s), 30);
	batch(s, 31, 31, 0);
	spool_free(s);
	/* A little ahead is an honest witness: its numbers were given once. */
	c.cursor_seq = 40;
	at = spool_cursor_encode_books(slot, 1, &c);
	memcpy(page + at, slot, sizeof(slot));
	spit(path, page, sizeof(page));
	s = writer(&opts);
	CHECK_INT(last_seq(s), 40);
	batch(s, 41, 41, 0);
	spool_free(s);
}

/* ------------------------------------------------------------------ the directory goes away */

TEST(the_directory_is_removed_under_writer_and_reader)
{
	struct spool_opts opts = options();
	struct spool_position p = { .source = 1, .position = 30 };
	struct spool_reader *r;
	struct spool *s;
	uint64_t id, last;

	dir_fresh();
	opts.segment_bytes = 4096;
	s = writer(&opts);
	id = spool_id(s);
	for (uint64_t i = 1; i <= 20; i++)
		batch(s, i, i, 500);
	r = reader("main");
	CHECK_INT(read_all(r, NULL), 20);
	spool_reader_settle(r, 12, 0);
	run("rm -rf %s", dir);
	for (uint64_t i = 21; i <= 30; i++)
		CHECK_INT(add(s, i, 10), 0);
	CHECK_INT(spool_commit(s, &p, 1, 0), -ENOENT);
	CHECK_INT(spool_pending(s, NULL), 10);
	CHECK_INT(spool_commit(s, &p, 1, 0), 0);
	CHECK_INT(spool_id(s), id);
	CHECK_INT(read_all(r, &last), 10);
	CHECK_INT(last, 30);
	spool_reader_settle(r, 20, 0); /* those had been read, and the peer has them */
	CHECK_BOOKS(r, 30);
	CHECK_INT(spool_reader_cursor(r)->acked, 30);
	spool_tick(s, 0);

	/* Not settled, lost with the directory: said so. */
	batch(s, 31, 40, 10);
	CHECK_INT(read_all(r, NULL), 10);
	spool_reader_settle(r, 35, 0);
	run("rm -rf %s", dir);
	spool_tick(s, 100000); /* sees it, too */
	CHECK_INT(add(s, 41, 0), 0);
	CHECK_INT(spool_commit(s, NULL, 0, 0), 0);
	CHECK_INT(read_all(r, NULL), 1);
	spool_reader_free(r);
	r = reader("main");
	CHECK_INT(spool_reader_cursor(r)->acked, 35);
	CHECK_BOOKS(r, 41);
	CHECK_INT(spool_reader_cursor(r)->lost_damage, 5);
	CHECK_INT(spool_reader_cursor(r)->acked, 36);
	spool_reader_free(r);
	spool_free(s);
	s = writer(&opts);
	CHECK_INT(last_seq(s), 41);
	CHECK_INT(spool_position(s, 1, &p), 0);
	CHECK_INT(p.position, 40);
	spool_free(s);
}

TEST(only_segments_or_the_identity_are_removed)
{
	struct spool_opts opts = options();
	struct spool_reader *r;
	struct spool *s;

	dir_fresh();
	opts.segment_bytes = 4096;
	s = writer(&opts);
	r = reader("main");
	for (uint64_t i = 1; i <= 20; i++)
		batch(s, i, i, 500);
	CHECK_INT(read_all(r, NULL), 20);
	spool_reader_settle(r, 20, 0);
	run("rm %s/*.seg", dir);
	batch(s, 21, 25, 0);
	CHECK_INT(read_all(r, NULL), 5);
	CHECK_BOOKS(r, 25);
	run("rm %s/spool", dir);
	spool_tick(s, 1000000);
	CHECK_INT(add(s, 26, 0), 0);
	CHECK_INT(spool_commit(s, NULL, 0, 0), 0);
	CHECK_INT(read_all(r, NULL), 1);
	CHECK_INT(read_all(r, NULL), 0);
	batch(s, 27, 30, 0);
	CHECK_BOOKS(r, 30);
	CHECK_INT(spool_reader_cursor(r)->acked, 30);
	spool_reader_free(r);
	spool_free(s);
}

TEST(a_moved_directory_is_left_alone)
{
	struct spool_reader *r;
	struct spool *s;

	dir_fresh();
	s = writer(NULL);
	r = reader("main");
	batch(s, 1, 5, 0);
	CHECK_INT(read_all(r, NULL), 5);
	run("mv %s %s.old", dir, dir);
	spool_tick(s, 5000);
	CHECK_INT(add(s, 6, 0), 0);
	CHECK_INT(spool_commit(s, NULL, 0, 0), 0);
	CHECK_INT(read_all(r, NULL), 1);
	spool_reader_settle(r, 6, 0);
	CHECK_BOOKS(r, 6);
	spool_reader_free(r);
	spool_free(s);
	run("rm -rf %s.old", dir);
}

/* ------------------------------------------------------------------ the disk is full */

TEST(a_full_disk_loses_nothing)
{
	static const enum spool_sync policies[] = { SPOOL_SYNC_NONE, SPOOL_SYNC_INTERVAL,
						    SPOOL_SYNC_BATCH };
	for (size_t k = 0; k < 3; k++) {
		struct spool_opts opts = options();
		struct spool_position p = { .source = 1 }, got;
		struct spool_reader *r;
		struct spool_stats st;
		struct spool *s;
		uint64_t i = 0, read, last, failed;
		int e = 0;

		if (!mount_tmpfs(600))
			return;
		opts.segment_bytes = k == 1 ? 30000 : 0; /* in a segment, or at the start of one */
		opts.sync = policies[k];
		s = writer(&opts);
		r = reader("main");
		while (i < 10000) {
			while (add(s, i + 1, 700) == 0 && ++i % 20)
				;
			p.position = i;
			e = spool_commit(s, &p, 1, i);
			spool_tick(s, i);
			if (e < 0)
				break;
		}
		CHECK_INT(e, -ENOSPC);
		failed = spool_pending(s, NULL);
		CHECK_INT(failed, 20);
		for (int again = 0; again < 3; again++)
			CHECK_INT(spool_commit(s, &p, 1, i), -ENOSPC);
		CHECK_INT(add(s, ++i, 700), 0); /* may go on growing */
		failed++;
		spool_get_stats(s, &st);
		CHECK_INT(st.commit_errors, 4);
		CHECK_INT(st.last_error, -ENOSPC);
		CHECK_INT(st.last_seq, i - failed);
		CHECK_INT(spool_position(s, 1, &got), 0);
		CHECK_INT(got.position, i - failed);
		read = read_all(r, &last);
		CHECK_INT(read, i - failed);
		/* Half of it makes no room when all of it is in one segment. */
		if (k != 1) {
			spool_reader_settle(r, last / 2, 0);
			CHECK_INT(spool_commit(s, &p, 1, i), -ENOSPC);
		}
		/* The cursor works on the full disk, and what is acknowledged makes room. */
		spool_reader_settle(r, last, 0);
		p.position = i;
		CHECK_INT(spool_commit(s, &p, 1, i), 0);
		spool_get_stats(s, &st);
		CHECK_INT(st.last_error, 0);
		CHECK_INT(st.last_seq, i);
		CHECK_INT(read_all(r, NULL), failed);
		CHECK_BOOKS(r, i);
		CHECK_INT(spool_reader_cursor(r)->acked, i);
		spool_reader_free(r);
		spool_free(s);
		s = writer(&opts);
		CHECK_INT(spool_position(s, 1, &got), 0);
		CHECK_INT(got.position, i);
		spool_free(s);
		unmount_tmpfs();
	}
}

TEST(killed_or_reopened_on_a_full_disk)
{
	struct spool_opts opts = options();
	struct spool_position p;
	struct spool_reader *r;
	uint64_t i = 0, lost;
	struct spool *s;

	if (!mount_tmpfs(300))
		return;
	s = writer(&opts);
	r = reader("main");
	do {
		i++;
		CHECK_INT(add(s, i, 3000), 0);
		p = (struct spool_position){ .source = 1, .position = i };
	} while (spool_commit(s, &p, 1, 0) == 0);
	spool_free(s); /* what was not committed is the source's to give again */
	s = writer(&opts);
	CHECK_INT(last_seq(s), i - 1);
	CHECK_INT(spool_position(s, 1, &p), 0);
	CHECK_INT(p.position, i - 1);
	lost = read_all(r, NULL);
	CHECK_INT(lost, i - 1);
	run("mount -o remount,size=2m %.22s", dir);
	batch(s, i, i, 3000);
	CHECK_BOOKS(r, i);
	CHECK_INT(spool_reader_cursor(r)->acked, i);
	spool_reader_free(r);
	spool_free(s);
	unmount_tmpfs();
}

/* ------------------------------------------------------------------ kill -9 */

/* A source of numbered events: goes on behind the position that the spool gives. */
static void writer_child(const struct spool_opts *opts)
{
	struct spool_position p = { .source = 1, .generation = 1 };
	struct spool *s = NULL;
	uint64_t i;

	if (spool_new(opts, &s) < 0)
		_exit(1);
	if (spool_position(s, 1, &p) == 0 && p.position != last_seq(s))
		_exit(2);
	for (i = p.position;;) {
		for (uint64_t n = 1 + rng() % 800; n; n--) {
			if (add(s, i + 1, rng() % 2000) < 0)
				break;
			i++;
		}
		p.position = i;
		if (spool_commit(s, &p, 1, i) < 0)
			_exit(3);
		spool_tick(s, i * 10);
	}
}

static void check_next(const struct msg *m, uint64_t *last)
{
	CHECK_INT(m->seq, *last + 1);
	CHECK_INT(number(m), *last + 1);
	*last = m->seq;
}

TEST(the_writer_is_killed_a_hundred_times)
{
	struct spool_opts opts = options();
	uint64_t expected = 0, torn = 0;
	struct spool_reader *r;
	struct spool *s;

	dir_fresh();
	opts.segment_bytes = 2 << 20;
	opts.max_bytes = 1 << 30;
	spool_free(writer(&opts));
	r = reader("main");
	for (int round = 0; round < 100 && !test_failed; round++) {
		struct spool_stats st;
		int status = 0;
		struct msg m;
		pid_t child;

		fflush(stdout);
		child = fork();
		if (child == 0) {
			rng_state += (uint64_t)round;
			writer_child(&opts);
		}
		sleep_us(500 + rng() % 4000);
		/* Also while it is being written, each event comes once and in order. */
		for (int k = 0; k < 50; k++) {
			for (int n = 0; n < 200 && spool_reader_next(r, &m) > 0; n++)
				check_next(&m, &expected);
			spool_reader_settle(r, expected, 0);
		}
		kill(child, SIGKILL);
		CHECK(waitpid(child, &status, 0) == child);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		s = writer(&opts);
		spool_get_stats(s, &st);
		torn += st.torn_bytes > 0;
		while (!test_failed && spool_reader_next(r, &m) > 0)
			check_next(&m, &expected);
		spool_reader_settle(r, expected, 0);
		CHECK_INT(expected, st.last_seq);
		CHECK_INT(st.damaged, 0);
		spool_free(s);
	}
	CHECK_INT(spool_reader_cursor(r)->acked, expected);
	CHECK(expected > 100);
	printf("# %" PRIu64 " events, %" PRIu64 " of 100 kills tore a batch\n", expected, torn);
	spool_reader_free(r);
}

struct seen {
	uint64_t last; /* the newest event that the reader's peer has got */
	uint64_t bad;
};

/* Reads and settles; in memory that survives it, what it handed to its "peer". */
static void reader_child(struct seen *seen)
{
	struct spool_reader *r = NULL;
	struct msg m;

	if (spool_reader_new(dir, "main", &r) < 0)
		_exit(1);
	for (;;) {
		int e = spool_reader_next(r, &m);

		if (e < 0)
			_exit(2);
		if (e == 0)
			continue;
		/* At least once, in order: it may repeat, and never leaves one out. */
		if (m.seq > seen->last + 1 || number(&m) != m.seq)
			seen->bad = m.seq;
		if (m.seq > seen->last)
			seen->last = m.seq;
		if (rng() % 3 == 0)
			spool_reader_settle(r, m.seq, 0);
	}
}

TEST(the_reader_is_killed_a_hundred_times)
{
	struct spool_opts opts = options();
	struct spool_reader *r;
	struct seen *seen;
	uint64_t i = 0;
	struct spool *s;

	dir_fresh();
	opts.segment_bytes = 64 << 10;
	s = writer(&opts);
	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(seen != MAP_FAILED);
	for (int round = 0; round < 100 && !test_failed; round++) {
		struct spool_cursor c;
		pid_t child;

		fflush(stdout);
		child = fork();
		if (child == 0) {
			spool_free(s);
			rng_state += (uint64_t)round;
			reader_child(seen);
		}
		for (int k = 0; k < 20; k++) {
			batch(s, i + 1, i + 50, 100);
			i += 50;
			spool_tick(s, i);
			if (k % 8 == 0)
				sleep_us(rng() % 1000);
		}
		kill(child, SIGKILL);
		CHECK(waitpid(child, NULL, 0) == child);
		CHECK_INT(seen->bad, 0);
		if (spool_cursor_peek(dir, "main", &c) == 0) {
			CHECK(c.cursor_seq <= seen->last);
			CHECK_INT(c.acked, c.cursor_seq);
			CHECK_INT(c.lost_damage + c.lost_limit + c.rejected + c.start_seq, 0);
		}
	}
	r = reader("main");
	CHECK(spool_reader_cursor(r)->cursor_seq > 0);
	CHECK_BOOKS(r, i);
	CHECK_INT(spool_reader_cursor(r)->acked, i);
	spool_reader_free(r);
	spool_free(s);
	munmap(seen, sizeof(*seen));
}
