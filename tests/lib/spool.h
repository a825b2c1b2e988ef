/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A spool in a directory of its own, for the tests of the spool: events that say
 * their number, readers that check it, and the books, to the event.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "output/spool.h"
#include "output/spool_dir.h"
#include "output/spool_walk.h"
#include "tests/lib/test.h"

static char dir[64];
static const char *const outputs[] __attribute__((unused)) = { "main" };

__attribute__((format(printf, 1, 2))) static void run(const char *fmt, ...)
{
	char command[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	if (system(command) != 0) {
		printf("Bail out! %s\n", command);
		exit(EXIT_FAILURE);
	}
}

static inline void dir_remove(void)
{
	if (dir[0])
		run("rm -rf %s", dir);
}

/* A new name for each test; nothing is there yet. */
static inline void dir_fresh(void)
{
	static bool registered;

	if (!registered)
		atexit(dir_remove);
	registered = true;
	dir_remove();
	strcpy(dir, "/tmp/test_spool.XXXXXX");
	if (!mkdtemp(dir))
		abort();
}

static inline struct spool_opts options(void)
{
	return (struct spool_opts){ .dir = dir,
				    .max_bytes = 64 << 20,
				    .segment_bytes = 0,
				    .reader_uid = getuid(),
				    .reader_gid = getgid(),
				    .outputs = outputs,
				    .n_outputs = 1 };
}

static inline struct spool *writer(const struct spool_opts *opts)
{
	struct spool_opts defaults = options();
	struct spool *s = NULL;
	int r = spool_new(opts ? opts : &defaults, &s);

	if (r < 0) {
		printf("Bail out! spool_new: %s\n", strerror(-r));
		exit(EXIT_FAILURE);
	}
	return s;
}

static inline struct spool_reader *reader(const char *name)
{
	struct spool_reader *r = NULL;
	int e = spool_reader_new(dir, name, &r);

	if (e < 0) {
		printf("Bail out! spool_reader_new: %s\n", strerror(-e));
		exit(EXIT_FAILURE);
	}
	return r;
}

/* Event i, with a text that says so, of text_len bytes at least. */
static inline int add(struct spool *s, uint64_t i, size_t text_len)
{
	static char text[MSG_MAX_BYTES];
	struct msg m = { .time_us = i, .class = MSG_FLOW, .pri = 14, .app = SLICE("test") };
	size_t n;

	n = (size_t)snprintf(text, sizeof(text), "%" PRIu64 " ", i);
	if (n < text_len)
		memset(text + n, 'x', text_len - n);
	m.text = (struct slice){ text, n < text_len ? text_len : n };
	return spool_add(s, &m);
}

static inline uint64_t number(const struct msg *m)
{
	return strtoull(m->text.p, NULL, 10);
}

static inline void batch(struct spool *s, uint64_t first, uint64_t last, size_t text_len)
{
	struct spool_position p = { .source = 1, .generation = 7, .position = last };

	for (uint64_t i = first; i <= last; i++)
		CHECK_INT(add(s, i, text_len), 0);
	CHECK_INT(spool_commit(s, &p, 1, 0), 0);
}

static inline uint64_t last_seq(const struct spool *s)
{
	struct spool_stats st;

	spool_get_stats(s, &st);
	return st.last_seq;
}

/* Reads all there is; returns how many events, checks that each is the one of its seq. */
static inline uint64_t read_all(struct spool_reader *r, uint64_t *ret_last)
{
	uint64_t n = 0, last = 0;
	struct msg m;
	int e;

	while ((e = spool_reader_next(r, &m)) > 0) {
		CHECK(m.seq > last);
		CHECK_INT(number(&m), m.seq);
		last = m.seq;
		n++;
	}
	CHECK_INT(e, 0);
	if (ret_last)
		*ret_last = last;
	return n;
}

/*
 * The identity. What waits is counted by reading it (the reader is rewound for
 * that, twice), and what was damaged before the end is noted by that, too.
 */
#define CHECK_BOOKS(r, appended) check_books(r, appended, __LINE__)
static inline void check_books(struct spool_reader *r, uint64_t appended, int line)
{
	const struct spool_cursor *c = spool_reader_cursor(r);
	struct spool_cursor seen;
	uint64_t waiting, last;

	spool_reader_rewind(r);
	waiting = read_all(r, &last);
	if (waiting) {
		/* Losses between waiting events are on no account yet: settle, as lost or read. */
		uint64_t before = c->acked;

		spool_reader_settle(r, last, 0);
		if (c->acked - before != waiting) {
			printf("# line %d: %" PRIu64 " read, %" PRIu64 " acknowledged\n", line,
			       waiting, c->acked - before);
			test_failed = true;
		}
	}
	if (c->start_seq + c->acked + c->rejected + c->filtered + c->lost_limit + c->lost_age +
			    c->lost_damage !=
		    c->cursor_seq ||
	    c->cursor_seq != appended || spool_reader_last_seq(r) != appended) {
		printf("# line %d: appended %" PRIu64 ", cursor %" PRIu64 " (reader sees %" PRIu64
		       ") = start %" PRIu64 " + acked %" PRIu64 " + rejected %" PRIu64
		       " + filtered %" PRIu64 " + limit %" PRIu64 " + age %" PRIu64
		       " + damage %" PRIu64 "\n",
		       line, appended, c->cursor_seq, spool_reader_last_seq(r), c->start_seq,
		       c->acked, c->rejected, c->filtered, c->lost_limit, c->lost_age,
		       c->lost_damage);
		test_failed = true;
	}
	CHECK_INT(spool_cursor_peek(dir, "main", &seen), 0);
	CHECK_INT(seen.cursor_seq, c->cursor_seq);
	CHECK_INT(seen.acked, c->acked);
	CHECK_INT(seen.lost_damage, c->lost_damage);
	CHECK_INT(seen.lost_limit, c->lost_limit);
	CHECK_INT(seen.lost_age, c->lost_age);
	CHECK(memcmp(seen.lost, c->lost, sizeof(c->lost)) == 0);
}

/* The segments' paths, oldest first. */
static inline size_t segments(char paths[][128], size_t max)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY);
	uint64_t *seqs = NULL;
	size_t n = 0;

	CHECK_INT(spool_list(fd, &seqs, &n), 0);
	for (size_t i = 0; i < n && i < max; i++) {
		char name[SPOOL_NAME_SIZE];

		spool_segment_name(seqs[i], name);
		snprintf(paths[i], 128, "%s/%s", dir, name);
	}
	free(seqs);
	close(fd);
	return n;
}

static inline size_t slurp(const char *path, uint8_t **ret)
{
	int fd = open(path, O_RDONLY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		abort();
	*ret = malloc((size_t)st.st_size + 1);
	if (!*ret || spool_pread(fd, *ret, (size_t)st.st_size, 0) != st.st_size)
		abort();
	close(fd);
	return (size_t)st.st_size;
}

static inline void spit(const char *path, const uint8_t *p, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);

	if (fd < 0 || spool_pwrite(fd, p, n, 0) < 0)
		abort();
	close(fd);
}

static inline void overwrite(const char *path, uint64_t off, const void *p, size_t n)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || spool_pwrite(fd, p, n, off) < 0)
		abort();
	close(fd);
}

static uint64_t rng_state __attribute__((unused)) = 88172645463325252ull;
static inline uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

static inline bool mount_tmpfs(size_t kib)
{
	char text[64];

	dir_fresh();
	snprintf(text, sizeof(text), "size=%zuk", kib);
	if (mount("tmpfs", dir, "tmpfs", 0, text) < 0) {
		printf("# skipped: a full disk needs the right to mount: %s\n", strerror(errno));
		return false;
	}
	strcat(dir, "/spool");
	return true;
}

static inline void unmount_tmpfs(void)
{
	dir[strlen(dir) - strlen("/spool")] = '\0';
	CHECK_INT(umount2(dir, MNT_DETACH), 0);
}

static inline void sleep_us(uint64_t us)
{
	struct timespec ts = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };

	nanosleep(&ts, NULL);
}
