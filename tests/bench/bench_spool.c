/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the spool costs: messages per second and CPU seconds per million, for
 * the writer, for a reader that settles as it goes, and for both at once.
 *     bench_spool [messages [bytes [directory]]]
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "output/spool.h"

#define BATCH	  256  /* messages in one commit, as a busy ring gives them */
#define IN_FLIGHT 1000 /* messages between reading and settling */

static const char *const outputs[] = { "bench" };
static uint64_t messages = 4000000;
static size_t size = 300;
static char dir[512];

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double cpu(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void die(const char *what, int err)
{
	fprintf(stderr, "%s: %s\n", what, strerror(-err));
	exit(EXIT_FAILURE);
}

static void report(const char *what, uint64_t n, double seconds, double cpu_seconds)
{
	printf("%-24s %10.0f msg/s %8.1f MB/s  %6.3f CPU s per million\n", what,
	       (double)n / seconds, (double)n * (double)size / seconds / 1e6,
	       cpu_seconds * 1e6 / (double)n);
	fflush(stdout);
}

static void write_all(const char *what)
{
	const struct spool_opts opts = { .dir = dir,
					 .max_bytes = 64ull << 30,
					 .sync = SPOOL_SYNC_NONE,
					 .reader_uid = getuid(),
					 .reader_gid = getgid(),
					 .outputs = outputs,
					 .n_outputs = 1 };
	struct spool_position p = { .source = 1 };
	struct spool *s = NULL;
	char *text = malloc(size);
	struct msg m = { .class = MSG_FLOW,
			 .pri = 14,
			 .host = SLICE("host.example"),
			 .app = SLICE("bench"),
			 .json = { text, size } };
	double t, c;
	int r = spool_new(&opts, &s);

	if (r < 0 || !text)
		die("spool_new", r);
	memset(text, 'x', size);
	t = now();
	c = cpu();
	for (uint64_t i = 0; i < messages; i++) {
		m.time_us = i;
		r = spool_add(s, &m);
		if (r < 0)
			die("spool_add", r);
		if (i % BATCH == BATCH - 1 || i == messages - 1) {
			p.position = i + 1;
			r = spool_commit(s, &p, 1, i);
			if (r < 0)
				die("spool_commit", r);
		}
		if (i % 65536 == 0)
			spool_tick(s, i);
	}
	report(what, messages, now() - t, cpu() - c);
	spool_free(s);
	free(text);
}

static void read_all(const char *what)
{
	struct spool_reader *r = NULL;
	uint64_t n = 0, last = 0;
	struct msg m;
	double t, c;
	int e = spool_reader_new(dir, "bench", &r);

	if (e < 0)
		die("spool_reader_new", e);
	t = now();
	c = cpu();
	while (n < messages) {
		e = spool_reader_next(r, &m);
		if (e < 0)
			die("spool_reader_next", e);
		if (e == 0) {
			usleep(200);
			continue;
		}
		n++;
		last = m.seq;
		if (n % IN_FLIGHT == 0)
			spool_reader_settle(r, last, 0);
	}
	spool_reader_settle(r, last, 0);
	report(what, n, now() - t, cpu() - c);
	spool_reader_free(r);
}

/* The cursor for each single message: what a transport of one answer each costs. */
static void settle_each(void)
{
	struct spool_reader *r = NULL;
	struct msg m;
	double t, c;
	uint64_t n = 0;
	int e = spool_reader_new(dir, "each", &r);

	if (e < 0)
		die("spool_reader_new", e);
	t = now();
	c = cpu();
	while (spool_reader_next(r, &m) > 0) {
		spool_reader_settle(r, m.seq, 0);
		n++;
	}
	report("read, settle each", n, now() - t, cpu() - c);
	spool_reader_free(r);
}

int main(int argc, char **argv)
{
	char command[640];
	pid_t child;

	if (argc > 1)
		messages = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		size = strtoull(argv[2], NULL, 10);
	snprintf(dir, sizeof(dir), "%s/bench_spool.XXXXXX", argc > 3 ? argv[3] : "/tmp");
	if (messages == 0 || size > MSG_MAX_BYTES || !mkdtemp(dir))
		die(dir, -22);
	write_all("write");
	settle_each();
	read_all("read");
	child = fork();
	if (child == 0) {
		read_all("read while written");
		_exit(0);
	}
	write_all("write while read");
	waitpid(child, NULL, 0);
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
