/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spool, framing and TLS together: appends events of 300 bytes as fast as the
 * spool takes them while the real shipper, a process of its own, sends them to
 * an intake. Prints messages/s from the first append to the last
 * acknowledgement, and the CPU of both processes.
 *
 *   bench_ship TRANSPORT PORT CA-FILE KEY-FILE SPOOL-DIR MESSAGES [OPTION...]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/config.h"
#include "output/shipper.h"
#include "output/spool.h"
#include "user/shipper_process.h"
#include "user/starter.h"
#include "user/util/clock.h"
#include "user/util/log.h"
#include "user/util/loop.h"
#include "user/util/privs.h"

#define BATCH 2000	 /* events per commit, as a busy collector makes them */
#define AHEAD (4u << 20) /* events that may wait: nothing is dropped */

struct bench {
	struct loop *loop;
	struct spool *spool;
	struct shipper_process *shipper;
	struct loop_timer timer;
	const char *dir, *output;
	uint64_t n, added;
};

static void add_batch(struct bench *b)
{
	/* The end of each text differs, as hashes and addresses do: gzip is not flattered. */
	static char text[] =
		"Accepted publickey for admin from 192.0.2.17 port 51234 ssh2: ED25519 "
		"SHA256:Q0ZqN1h6bGJkVnhLc2pkZmhza2Q4N2Zoc2RmaA and then some words that make this "
		"line as long as the three hundred bytes which an ordinary message has when its "
		"header is counted, too";
	uint64_t now_us = clock_real_us();
	struct msg m = {
		.time_us = now_us,
		.class = MSG_JOURNAL,
		.pri = 86,
		.host = SLICE("bench.example"),
		.app = SLICE("sshd"),
		.procid = SLICE("1234"),
		.text = { text, 176 },
	};

	for (int i = 0; i < BATCH && b->added < b->n; i++, b->added++) {
		uint64_t x = b->added * 0x9e3779b97f4a7c15ull;

		for (int k = 0; k < 48; k++) {
			text[120 + k] = "0123456789abcdef"[x >> 60];
			x = x * 6364136223846793005ull + 1442695040888963407ull;
		}
		if (spool_add(b->spool, &m) < 0)
			break;
	}
	if (spool_commit(b->spool, NULL, 0, loop_now_ms(b->loop)) < 0) {
		fprintf(stderr, "commit failed\n");
		exit(1);
	}
	shipper_wake(b->shipper);
}

static void on_stopped(void *arg, bool clean)
{
	struct bench *b = arg;

	loop_stop(b->loop, clean ? 0 : 1);
}

static void on_timer(void *arg, uint64_t now_ms)
{
	struct bench *b = arg;

	for (int i = 0; i < 20 && b->added < b->n; i++)
		add_batch(b);
	spool_tick(b->spool, now_ms);
	if (b->added < b->n)
		loop_timer_set(b->loop, &b->timer, now_ms);
	else
		shipper_stop(b->shipper, now_ms + 120000, on_stopped, b);
}

static double seconds(const struct rusage *r)
{
	return (double)r->ru_utime.tv_sec + (double)r->ru_stime.tv_sec +
	       (double)(r->ru_utime.tv_usec + r->ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv, char **envp)
{
	_cleanup_(config_freep) struct config *c = NULL;
	struct config_errors errors;
	enum config_action action;
	struct bench b = { 0 };
	struct spool_opts o = { 0 };
	struct spool_cursor cursor;
	struct rusage self, child;
	char *args[64] = { "bench" };
	const char *outputs[1];
	int n_args = 1, rest, code;
	double s, cpu_self, cpu_child;
	uint64_t from;

	if (argc == 2 && !strcmp(argv[1], "shipper"))
		return shipper_main(3);
	if (argc == 2 && !strcmp(argv[1], "starter"))
		return starter_main(3);
	if (argc < 7) {
		fprintf(stderr, "usage: bench_ship TRANSPORT PORT CA KEY-FILE DIR N [OPTION...]\n");
		return 2;
	}
	const char *fixed[] = { "--config",
				"/dev/null",
				"--output",
				argv[1],
				"--output-host",
				"localhost",
				"--output-port",
				argv[2],
				"--tls-ca",
				argv[3],
				"--intake-key-file",
				argv[4],
				"--spool-dir",
				argv[5],
				"--output-requests-per-second",
				"0",
				"--log-level",
				"warning" };
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		args[n_args++] = strdup(fixed[i]);
	for (int i = 7; i < argc && n_args < 63; i++)
		args[n_args++] = argv[i];
	config_errors_init(&errors);
	if (config_new(&c) < 0)
		return 1;
	config_load(c, n_args, args, envp, &action, &rest, &errors);
	config_load_key(c, &errors);
	if (errors.n) {
		fprintf(stderr, "%.*s", (int)errors.text.len, buf_data(&errors.text));
		return 2;
	}
	log_set_level((enum log_level)c->log_level);
	b.n = strtoull(argv[6], NULL, 10);
	b.dir = argv[5];
	outputs[0] = argv[1];
	o = (struct spool_opts){ .dir = b.dir,
				 .max_bytes = 16ull << 30,
				 .segment_bytes = c->spool_segment_bytes,
				 .sync = SPOOL_SYNC_INTERVAL,
				 .sync_interval_ms = 1000,
				 .outputs = outputs,
				 .n_outputs = 1 };
	privs_lookup_unprivileged(c->shipper_user, &o.reader_uid, &o.reader_gid);
	if (loop_new(&b.loop) < 0 || spool_new(&o, &b.spool) < 0 ||
	    shipper_start(b.loop, c, &b.shipper) < 0) {
		fprintf(stderr, "start failed\n");
		return 1;
	}
	/* Connected first: a handshake is not what is measured. */
	for (int i = 0; i < 100; i++) {
		usleep(20000);
		if (spool_cursor_peek(b.dir, argv[1], &cursor) == 0 && cursor.connects)
			break;
	}
	b.timer = (struct loop_timer){ .fn = on_timer, .arg = &b };
	loop_timer_set(b.loop, &b.timer, 0);
	from = clock_boot_ns();
	code = loop_run(b.loop);
	s = (double)(clock_boot_ns() - from) / 1e9;
	shipper_free(b.shipper);
	getrusage(RUSAGE_SELF, &self);
	getrusage(RUSAGE_CHILDREN, &child);
	cpu_self = seconds(&self);
	cpu_child = seconds(&child);
	if (spool_cursor_peek(b.dir, argv[1], &cursor) < 0 || cursor.acked != b.n) {
		fprintf(stderr, "acknowledged %llu of %llu\n", (unsigned long long)cursor.acked,
			(unsigned long long)b.n);
		return 1;
	}
	printf("{\"sender\":\"sekoia-ebpf %s\",\"messages\":%llu,\"rate\":%.0f,"
	       "\"cpu_per_million\":%.3f,\"append_cpu\":%.3f,\"ship_cpu\":%.3f,"
	       "\"rss_mib\":%.1f}\n",
	       argv[1], (unsigned long long)b.n, (double)b.n / s,
	       (cpu_self + cpu_child) * 1e6 / (double)b.n, cpu_self * 1e6 / (double)b.n,
	       cpu_child * 1e6 / (double)b.n, (double)(self.ru_maxrss + child.ru_maxrss) / 1024);
	spool_free(b.spool);
	loop_free(b.loop);
	return code;
}
