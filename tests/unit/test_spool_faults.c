/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that fails under the spool, at each call in turn and at each byte: what
 * the system calls answer is decided here. Whatever it was, each event that was
 * committed is there, once, or is counted as what became of it.
 */
#define _GNU_SOURCE
#include <sys/syscall.h>

#include "tests/lib/spool.h"

/* ------------------------------------------------------------------ the disk */

static struct {
	uint64_t calls;	  /* that change something, since the disk was told to fail */
	uint64_t from, n; /* these fail; n 0: none */
	int error;
	bool half; /* a write that fails has written half of it */
	/* reading these bytes of files that have this inode fails with EIO */
	ino_t bad_ino;
	uint64_t bad_from, bad_to;
} disk;

static bool fails(void)
{
	disk.calls++;
	if (!disk.n || disk.calls < disk.from || disk.calls >= disk.from + disk.n)
		return false;
	errno = disk.error;
	return true;
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t off)
{
	if (fails()) {
		if (disk.half && n > 1)
			return (ssize_t)syscall(SYS_pwrite64, fd, p, n / 2, off);
		return -1;
	}
	return (ssize_t)syscall(SYS_pwrite64, fd, p, n, off);
}

int ftruncate(int fd, off_t n)
{
	return fails() ? -1 : (int)syscall(SYS_ftruncate, fd, n);
}

int fdatasync(int fd)
{
	(void)fd; /* nothing here loses its power */
	return fails() ? -1 : 0;
}

int fsync(int fd)
{
	(void)fd;
	return fails() ? -1 : 0;
}

int renameat(int a, const char *from, int b, const char *to)
{
	return fails() ? -1 : (int)syscall(SYS_renameat2, a, from, b, to, 0);
}

int unlinkat(int fd, const char *name, int flags)
{
	return fails() ? -1 : (int)syscall(SYS_unlinkat, fd, name, flags);
}

int fchown(int fd, uid_t uid, gid_t gid)
{
	return fails() ? -1 : (int)syscall(SYS_fchown, fd, uid, gid);
}

ssize_t pread(int fd, void *p, size_t n, off_t off)
{
	struct stat st;

	if (disk.bad_ino && fstat(fd, &st) == 0 && st.st_ino == disk.bad_ino) {
		uint64_t at = (uint64_t)off;

		if (at >= disk.bad_from && at < disk.bad_to) {
			errno = EIO;
			return -1;
		}
		/* As a kernel does: what comes before it is given. */
		if (at < disk.bad_from && at + n > disk.bad_from)
			n = disk.bad_from - at;
	}
	return (ssize_t)syscall(SYS_pread64, fd, p, n, off);
}

static void disk_mend(void)
{
	memset(&disk, 0, sizeof(disk));
}

/* ------------------------------------------------------------------ writing fails */

static int add_some(struct spool *s, uint64_t i)
{
	static const enum msg_class classes[] = { MSG_JOURNAL, MSG_FLOW, MSG_JOURNAL, MSG_KERNEL };
	static char text[700];
	struct msg m = { .class = classes[i % 4], .text = { text, 400 + i % 300 } };

	snprintf(text, sizeof(text), "%-699llu", (unsigned long long)i);
	return spool_add(s, &m);
}

/* The same again and again: small segments, a limit that is reached, a tick now and then. */
static void work(struct spool *s, struct spool_reader *r, uint64_t first, uint64_t last,
		 uint64_t *read, uint64_t *ret_errors)
{
	struct spool_position p = { .source = 1 };
	struct msg m;

	for (uint64_t i = first; i <= last; i++) {
		CHECK_INT(add_some(s, i), 0);
		if (i % 16 && i != last)
			continue;
		p.position = i;
		for (int again = 0; spool_commit(s, &p, 1, i) < 0; again++) {
			(*ret_errors)++;
			if (again > 100) {
				CHECK_INT(again, 0);
				return;
			}
		}
		spool_tick(s, i);
		/* A reader that follows, far behind the writer. */
		for (int n = 0; n < 3 && spool_reader_next(r, &m) > 0; n++) {
			CHECK(m.seq > *read);
			CHECK_INT(number(&m), m.seq);
			*read = m.seq;
		}
		spool_reader_settle(r, *read, 0);
	}
}

static struct spool_opts small_segments(void)
{
	struct spool_opts o = options();

	o.max_bytes = 1 << 20;
	o.segment_bytes = 48 << 10;
	o.drop_steps[0] = 1u << MSG_JOURNAL;
	o.drop_steps[1] = 1u << MSG_FLOW;
	o.n_drop_steps = 2;
	return o;
}

TEST(each_call_fails_in_turn)
{
	static const struct {
		int error;
		bool half;
		uint64_t n;
		enum spool_sync sync;
	} ways[] = { { ENOSPC, false, 1, SPOOL_SYNC_NONE },
		     { EIO, true, 1, SPOOL_SYNC_BATCH },
		     { EROFS, false, 7, SPOOL_SYNC_NONE },
		     { EDQUOT, true, 2, SPOOL_SYNC_NONE } };
	uint64_t calls = 0, swept = 0, errors = 0;

	for (size_t way = 0; way < 4; way++) {
		/* In steps: all of them would take a minute. The ways begin at different ones. */
		for (uint64_t at = 1 + way; (at == 1 + way || at < calls) && !test_failed;
		     at += 29) {
			struct spool_opts opts = small_segments();
			uint64_t read = 0, last = 0, n = 0;
			struct spool_reader *r;
			struct spool_stats st;
			struct spool *s;
			struct msg m;

			disk_mend();
			dir_fresh();
			opts.sync = ways[way].sync;
			s = writer(&opts);
			r = reader("main");
			work(s, r, 1, 1500, &read, &errors);
			disk.calls = 0;
			disk.from = at;
			disk.n = ways[way].n;
			disk.error = ways[way].error;
			disk.half = ways[way].half;
			work(s, r, 1501, 3000, &read, &errors);
			calls = disk.calls > calls ? disk.calls : calls;
			disk_mend();
			swept++;
			if (at % 2) {
				spool_free(s);
				s = writer(&opts);
			}
			spool_get_stats(s, &st);
			CHECK_INT(st.last_seq, 3000);
			while (spool_reader_next(r, &m) > 0) {
				CHECK(m.seq > last);
				CHECK_INT(number(&m), m.seq);
				last = m.seq;
				n++;
				if (n % 100 == 0)
					spool_reader_settle(r, last, 0);
			}
			spool_reader_settle(r, last, 0);
			CHECK_INT(spool_reader_cursor(r)->cursor_seq, 3000);
			CHECK_INT(spool_reader_cursor(r)->lost_damage, 0);
			CHECK(spool_reader_cursor(r)->lost_limit > 0);
			CHECK_BOOKS(r, 3000);
			spool_reader_free(r);
			spool_free(s);
			if (test_failed)
				printf("# way %zu, call %" PRIu64 "\n", way, at);
		}
	}
	printf("# %" PRIu64 " runs with a fault, %" PRIu64 " commits refused, about %" PRIu64
	       " calls in each\n",
	       swept, errors, calls);
	CHECK(swept > 50);
	CHECK(errors > 10);
}

TEST(a_sync_that_fails_is_told_and_loses_nothing)
{
	struct spool_opts opts = options();
	struct spool_reader *r;
	struct spool_stats st;
	struct spool *s;

	dir_fresh();
	opts.sync = SPOOL_SYNC_BATCH;
	s = writer(&opts);
	batch(s, 1, 5, 100);
	for (int i = 0; i < 5; i++)
		CHECK_INT(add(s, 6 + (uint64_t)i, 100), 0);
	disk = (typeof(disk)){ .from = 2, .n = 1, .error = EIO };
	/* The batch, then the state; then the sync. */
	disk.from = 3;
	CHECK_INT(spool_commit(s, NULL, 0, 0), 0);
	disk_mend();
	spool_get_stats(s, &st);
	CHECK_INT(st.last_error, -EIO);
	CHECK_INT(st.commit_errors, 1);
	r = reader("main");
	CHECK_BOOKS(r, 10);
	spool_reader_free(r);
	spool_free(s);
}

/* ------------------------------------------------------------------ reading fails */

/* A block that fails once may come the next time: it is asked for a few times. */
static uint64_t read_over(struct spool_reader *r)
{
	uint64_t n = 0, last = 0;
	struct msg m;

	for (int tries = 0; tries < 10; tries++) {
		int e;

		while ((e = spool_reader_next(r, &m)) > 0) {
			CHECK_INT(number(&m), m.seq);
			last = m.seq;
			n++;
		}
		CHECK(e == 0 || e == -EIO);
	}
	spool_reader_settle(r, last, 0);
	return n;
}

TEST(a_block_in_the_middle_can_not_be_read)
{
	struct spool_opts opts = options();
	uint64_t bad = 0;
	struct spool_reader *r;
	struct spool_stats st;
	char paths[8][128];
	struct spool_key key;
	struct stat file;
	uint8_t *seg;
	struct spool *s;
	struct msg m;
	size_t size;

	dir_fresh();
	s = writer(&opts);
	spool_key_init(&key, spool_id(s));
	for (uint64_t i = 1; i <= 400; i += 20)
		batch(s, i, i + 19, 333);
	CHECK_INT(segments(paths, 8), 1);
	CHECK_INT(stat(paths[0], &file), 0);
	/* How many events touch the block, by looking at each place. */
	size = slurp(paths[0], &seg);
	for (size_t at = 0; at < size; at++) {
		ssize_t n = spool_record_decode(seg + at, size - at, &key, &m);

		bad += n > 0 && at < 12 * 4096 && at + (size_t)n > 11 * 4096;
	}
	free(seg);
	CHECK(bad > 5 && bad < 20);
	disk = (typeof(disk)){ .bad_ino = file.st_ino, .bad_from = 11 * 4096, .bad_to = 12 * 4096 };
	r = reader("main");
	CHECK_INT(read_over(r), 400 - bad);
	CHECK_INT(spool_reader_cursor(r)->cursor_seq, 400);
	CHECK_INT(spool_reader_cursor(r)->lost_damage, bad);
	spool_reader_free(r);
	/* The writer, too, comes up and goes on behind it. */
	spool_free(s);
	s = writer(&opts);
	spool_get_stats(s, &st);
	CHECK_INT(st.last_seq, 400);
	batch(s, 401, 420, 333);
	run("rm %s/cursors/main", dir);
	r = reader("main");
	CHECK_INT(read_over(r), 420 - bad);
	CHECK_INT(spool_reader_cursor(r)->cursor_seq, 420);
	CHECK_INT(spool_reader_cursor(r)->lost_damage, bad);
	disk_mend();
	CHECK_BOOKS(r, 420);
	spool_reader_free(r);
	spool_free(s);
}

/* ------------------------------------------------------------------ each byte */

static void forget_cursor(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/cursors/main", dir);
	unlink(path);
}

/*
 * The last batch of a writer that was killed: cut at each byte, and from each
 * byte on with what happened to be on the disk. It was not committed: nothing is lost.
 */
TEST(torn_at_each_byte_with_garbage_behind)
{
	uint64_t before, after;
	char paths[4][128], state_path[128];
	uint8_t *seg, *state;
	struct spool_stats st;
	struct spool *s;

	dir_fresh();
	snprintf(state_path, sizeof(state_path), "%s/spool", dir);
	s = writer(NULL);
	batch(s, 1, 7, 20);
	CHECK_INT(segments(paths, 4), 1);
	slurp(state_path, &state);
	spool_get_stats(s, &st);
	before = st.bytes;
	batch(s, 8, 10, 20);
	spool_free(s);
	after = slurp(paths[0], &seg);
	for (int way = 0; way < 3; way++) {
		for (uint64_t cut = before; cut < after && !test_failed; cut++) {
			uint8_t *copy = malloc(after);
			struct spool_reader *r;

			memcpy(copy, seg, after);
			for (uint64_t i = cut; i < after; i++)
				copy[i] = way == 0   ? 0
					  : way == 1 ? (uint8_t)rng()
						     : (uint8_t)~seg[i];
			forget_cursor();
			spit(paths[0], copy, after);
			spit(state_path, state, SPOOL_PAGE);
			free(copy);
			s = writer(NULL);
			spool_get_stats(s, &st);
			/* Whole events before the garbage may be kept: then their numbers are, too.
			 */
			CHECK(st.last_seq >= 7 && st.last_seq <= 10);
			batch(s, st.last_seq + 1, 20, 33);
			r = reader("main");
			CHECK_BOOKS(r, 20);
			if (st.last_seq == 7)
				CHECK_INT(spool_reader_cursor(r)->acked, 20);
			CHECK(spool_reader_cursor(r)->lost_damage <= 3);
			spool_reader_free(r);
			spool_free(s);
			if (test_failed)
				printf("# way %d, cut at %" PRIu64 "\n", way, cut);
		}
	}
	free(seg);
	free(state);
}

/* Each byte of a segment, header by header and record by record: exactly what it costs. */
TEST(each_byte_flipped_costs_exactly_what_it_is_part_of)
{
	struct spool_opts opts = options();
	char paths[4][128];
	struct spool_key key;
	struct spool_batch b;
	struct spool *s;
	uint8_t *seg;
	size_t size, off = SPOOL_SEGMENT_HEADER;
	uint8_t *costs;

	dir_fresh();
	opts.segment_bytes = 4096;
	s = writer(&opts);
	spool_key_init(&key, spool_id(s));
	batch(s, 1, 2, 10);
	batch(s, 3, 5, 10);
	batch(s, 6, 6, 10);
	batch(s, 7, 8, 3500);
	spool_free(s);
	CHECK_INT(segments(paths, 4), 2);
	size = slurp(paths[0], &seg);
	costs = calloc(size, 1);
	while (off < size) {
		off += (size_t)spool_batch_decode(seg + off, size - off, &key, &b);
		memset(costs + off, 1, b.body_len);
		off += b.body_len;
	}
	for (size_t at = 0; at < size && !test_failed; at++) {
		for (int way = 0; way < 3; way++) {
			const uint8_t flips[] = { 0xff, 0x01, 0x80 };
			struct spool_reader *r;
			uint64_t n, last;

			seg[at] ^= flips[way];
			spit(paths[0], seg, size);
			seg[at] ^= flips[way];
			forget_cursor();
			r = reader("main");
			n = read_all(r, &last);
			spool_reader_settle(r, 8, 0);
			CHECK_INT(n, 8 - costs[at]);
			CHECK_INT(last, 8);
			CHECK_INT(spool_reader_cursor(r)->lost_damage, costs[at]);
			CHECK_INT(spool_reader_cursor(r)->lost_limit, 0);
			CHECK_BOOKS(r, 8);
			spool_reader_free(r);
		}
		if (test_failed)
			printf("# flipped at %zu\n", at);
	}
	free(costs);
	free(seg);
}
