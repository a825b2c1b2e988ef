/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one event costs between the ring and the spool: nanoseconds for
 * decoding, looking up a process that is known, and formatting. One thread,
 * the best of a few rounds, so that a busy neighbour costs little.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "bpf/events.h"
#include "user/event.h"
#include "user/flow_record.h"
#include "user/journal.h"
#include "user/journal_record.h"
#include "user/process.h"
#include "user/users.h"
#include "user/util/clock.h"

#define ROUNDS 9
#define EVENTS 50000

static struct record *record;
static struct process_cache *processes;
static struct users *users;
static struct journal *journal;
static struct event_flow flow_sample;
static struct process_exec exec_seen;
static uint64_t bytes; /* of the last round's records */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void one_flow(void)
{
	struct flow_details d = { 0 };
	const struct task_ref *who;
	struct event e;
	struct msg m;

	if (event_decode(&flow_sample, sizeof(flow_sample), &e) < 0)
		abort();
	who = flow_process(&e.flow);
	d.process = process_find(processes, who, e.flow.last_ns, 1000);
	d.user_name = users_find(users, who->uid, 1000);
	record->seq++;
	if (flow_record_format(record, &e.flow, &d, &m) < 0)
		abort();
	bytes += m.json.len;
}

static bool on_line(void *arg, const struct journal_line *line)
{
	struct task_ref who = journal_line_task(line);
	struct journal_details d = { 0 };
	struct msg m;

	(void)arg;
	d.process = process_find(processes, &who, line->boot_ns, 1000);
	d.user_name = users_find(users, who.uid, 1000);
	record->seq++;
	journal_record_format(record, line, &d, &m);
	bytes += m.json.len + m.text.len;
	return true;
}

static void one_sample(const char *path, struct slice data, bool stream)
{
	const struct journal_sample s = {
		.boot_ns = clock_boot_ns(),
		.socket = 1,
		.pid = (uint32_t)getpid(),
		.stream = stream,
		.full_len = (uint32_t)data.len,
		.path = slice_of(path),
		.data = data,
	};

	journal_decode(journal, &s, record->boot_to_real_ns, on_line, NULL);
}

static void one_syslog(void)
{
	one_sample(
		"/run/systemd/journal/dev-log",
		SLICE("<86>Nov 23 05:33:01 sshd[4242]: Accepted publickey for root from 192.0.2.7 "
		      "port 40000 ssh2: ED25519 SHA256:0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"),
		false);
}

static void one_native(void)
{
	one_sample(
		"/run/systemd/journal/socket",
		SLICE("PRIORITY=6\nSYSLOG_FACILITY=3\nCODE_FILE=src/core/job.c\nCODE_LINE=768\n"
		      "CODE_FUNC=job_emit_done_message\nSYSLOG_IDENTIFIER=systemd\n"
		      "MESSAGE_ID=39f53479d3a045ac8e11786248231fbf\nJOB_ID=1234\nJOB_TYPE=start\n"
		      "JOB_RESULT=done\nUNIT=logrotate.service\n"
		      "MESSAGE=Finished logrotate.service - Rotate log files.\n"),
		false);
}

static void one_stdout(void)
{
	one_sample(
		"/run/systemd/journal/stdout",
		SLICE("192.0.2.7 - - [23/Nov/2026:05:33:01 +0000] \"GET / HTTP/1.1\" 200 612 \"-\"\n"),
		true);
}

static void measure(const char *name, void (*one)(void))
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start = now_ns(), took;

		bytes = 0;
		for (int k = 0; k < EVENTS; k++)
			one();
		took = now_ns() - start;
		if (took < best)
			best = took;
	}
	printf("%-28s %6llu ns  %5llu bytes\n", name, (unsigned long long)(best / EVENTS),
	       (unsigned long long)(bytes / EVENTS));
}

static int lookup(void *arg, uint32_t pid, uint64_t start_ns, struct process_exec *ret)
{
	(void)arg, (void)pid, (void)start_ns;
	*ret = exec_seen;
	return 0;
}

int main(void)
{
	static const char *const ips[] = { "192.0.2.10", "2001:db8::10", "fe80::1" };
	static const char args[] =
		"/usr/bin/curl\0--silent\0--output\0/dev/null\0https://www.example.com/";
	const struct record_opts opts = {
		.hostname = SLICE("web-1.example.com"),
		.ips = ips,
		.n_ips = 3,
		.os_name = SLICE("Debian GNU/Linux"),
		.os_version = SLICE("12"),
		.agent_id = SLICE("0123456789abcdef0123456789abcdef"),
		.version = SLICE(SEKOIA_VERSION),
		.epoch = 0x0123456789abcdef,
	};
	/* This process stands for the one that opened the flow. */
	flow_sample = (struct event_flow){
		.h = { .type = EVENT_FLOW, .size = sizeof(flow_sample) },
		.id = 0x1234567890,
		.start_ns = clock_boot_ns() - 1250000000,
		.last_ns = clock_boot_ns(),
		.out_bytes = 517,
		.in_bytes = 4096,
		.out_packets = 7,
		.in_packets = 6,
		.opener = { .start_ns = 77,
			    .tgid = 4194303,
			    .uid = 0,
			    .ppid = (uint32_t)getppid(),
			    .comm = "curl" },
		.local = { 192, 0, 2, 10 },
		.remote = { 198, 51, 100, 7 },
		.local_port = 40000,
		.remote_port = 443,
		.ip_version = 4,
		.protocol = 6,
		.direction = FLOW_OUT,
		.end_reason = FLOW_END_DETECTED,
		.flags = FLOW_FIRST | FLOW_LAST | FLOW_ESTABLISHED,
		.ifindex = 2,
		.srtt_us = 20000,
	};
	snprintf(exec_seen.filename, sizeof(exec_seen.filename), "/usr/bin/curl");
	memcpy(exec_seen.args, args, sizeof(args));
	exec_seen.args_len = sizeof(args);

	if (record_new(&opts, &record) < 0 || users_new(NULL, &users) < 0 ||
	    journal_new(NULL, &journal) < 0 ||
	    process_cache_new(&(struct process_opts){ .lookup = lookup }, &processes) < 0) {
		fprintf(stderr, "bench_records: no memory\n");
		return 1;
	}
	record->boot_to_real_ns = clock_boot_to_real_ns();

	measure("flow, both schemas", one_flow);
	record->flow_schema = FLOW_SCHEMA_IPFIX;
	measure("flow, ipfix", one_flow);
	record->flow_schema = FLOW_SCHEMA_ECS;
	measure("flow, ecs", one_flow);
	flow_sample.ip_version = 6;
	record->flow_schema = FLOW_SCHEMA_BOTH;
	measure("flow over IPv6, both", one_flow);
	measure("journal, syslog", one_syslog);
	measure("journal, native", one_native);
	measure("journal, stdout", one_stdout);
	record->journal_schema = JOURNAL_SCHEMA_RAW;
	measure("journal, syslog, raw", one_syslog);

	journal_free(journal);
	process_cache_free(processes);
	users_free(users);
	record_free(record);
	return 0;
}
