/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a message costs before TLS: nanoseconds for each framing, for a line of
 * text of 300 bytes and a record of 1.2 KB. One core, medians of nine rounds.
 */
#define _GNU_SOURCE
#include <libdeflate.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "output/intake_answer.h"
#include "output/relp.h"
#include "output/rfc5424.h"
#include "user/util/json_writer.h"

#define ROUNDS	  9
#define PER_ROUND 20000
#define BATCH	  2000 /* messages in a request, for gzip */

static struct rfc5424_sd sd;
static struct buf out;
static char escaped[16384];

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void measure(const char *name, const struct msg *m, void (*fn)(const struct msg *m))
{
	double ns[ROUNDS];

	for (int r = 0; r < ROUNDS; r++) {
		uint64_t start = now_ns();

		for (int i = 0; i < PER_ROUND; i++)
			fn(m);
		ns[r] = (double)(now_ns() - start) / PER_ROUND;
	}
	qsort(ns, ROUNDS, sizeof(ns[0]), by_value);
	printf("%-44s %8.1f ns/message\n", name, ns[ROUNDS / 2]);
}

static void room(void)
{
	if (buf_room(&out) < 65536)
		buf_clear(&out);
}

static void do_syslog(const struct msg *m)
{
	size_t n;

	room();
	if (rfc5424_append_counted(&out, &sd, m, &n) < 0)
		abort();
}

static void do_relp(const struct msg *m)
{
	static uint32_t txnr = 1;
	size_t n;

	room();
	if (relp_append_syslog(&out, txnr++ % 900000000 + 1, &sd, m, &n) < 0)
		abort();
}

/* As out_https.c does it: the event, escaped, as a JSON string. */
static size_t element(const struct msg *m, char *dst, size_t size)
{
	char *at = dst;

	if (m->json.len && json_escape(at, size, m->json, &at) < 0)
		abort();
	if (m->text.len && json_escape_twice(at, size - (size_t)(at - dst), m->text, &at) < 0)
		abort();
	return (size_t)(at - dst);
}

static void do_element(const struct msg *m)
{
	element(m, escaped, sizeof(escaped));
}

static void measure_gzip(const char *name, struct msg *make(int i))
{
	static const int levels[] = { 1, 2, 3, 6 };
	char *body = malloc(BATCH * 8192), *packed = malloc(BATCH * 8192);
	size_t len = 0, n = 0;

	for (int i = 0; i < BATCH; i++)
		len += element(make(i), body + len, 8192);
	for (size_t l = 0; l < sizeof(levels) / sizeof(levels[0]); l++) {
		struct libdeflate_compressor *c = libdeflate_alloc_compressor(levels[l]);
		double ns[ROUNDS];

		for (int r = 0; r < ROUNDS; r++) {
			uint64_t start = now_ns();

			n = libdeflate_gzip_compress(c, body, len, packed, BATCH * 8192);
			ns[r] = (double)(now_ns() - start) / BATCH;
		}
		qsort(ns, ROUNDS, sizeof(ns[0]), by_value);
		printf("%s, gzip level %d %*s%8.1f ns/message, %4.1f %% of %.0f bytes\n", name,
		       levels[l], 22 - (int)strlen(name), "", ns[ROUNDS / 2],
		       100.0 * (double)n / (double)len, (double)len / BATCH);
		libdeflate_free_compressor(c);
	}
	free(body);
	free(packed);
}

static struct msg *a_line(int i)
{
	static char text[400];
	static struct msg m;

	m = (struct msg){ .seq = (uint64_t)i + 1,
			  .time_us = 1795412001123456ull + (uint64_t)i * 777,
			  .pri = 38,
			  .host = SLICE("web-1.example.net"),
			  .app = SLICE("sshd"),
			  .procid = SLICE("48213") };
	m.text.p = text;
	m.text.len = (size_t)snprintf(
		text, sizeof(text),
		"Accepted publickey for deploy%d from 198.51.100.%d port %d ssh2: "
		"ED25519 SHA256:%08x%08xq2Yl8Vd0pXrK7mZtBw3cE5nHsJ6u and then some "
		"more words to make a line that is as long as lines are: session "
		"opened for user deploy%d(uid=%d) by (uid=0) on \"pts/%d\" after "
		"%d ms, reverse mapping checked",
		i % 7, i % 250, 1024 + i * 37 % 60000, (unsigned)i * 2654435761u,
		(unsigned)i * 40503u, i % 7, 1000 + i % 7, i % 12, i * 31 % 900);
	if (m.text.len > 300)
		m.text.len = 300;
	return &m;
}

static struct msg *a_record(int i)
{
	static char text[2048];
	static struct msg m;

	m = (struct msg){ .seq = (uint64_t)i + 1,
			  .time_us = 1795412001123456ull + (uint64_t)i * 777,
			  .pri = 134,
			  .host = SLICE("web-1.example.net"),
			  .app = SLICE("sekoia-ebpf") };
	m.json.p = text;
	m.json.len = (size_t)snprintf(
		text, sizeof(text),
		"{\"@timestamp\":\"2026-11-23T05:33:21.%06dZ\",\"sourceIPv4Address\":\"10.0.3.%d\","
		"\"destinationIPv4Address\":\"203.0.113.%d\",\"sourceTransportPort\":%d,"
		"\"destinationTransportPort\":443,\"protocolIdentifier\":6,\"ipVersion\":4,"
		"\"IP_PROTOCOL_VERSION\":4,\"octetDeltaCount\":%d,\"packetDeltaCount\":%d,"
		"\"initiatorOctets\":%d,\"responderOctets\":%d,\"initiatorPackets\":%d,"
		"\"responderPackets\":%d,\"flowDirection\":1,\"tcpControlBits\":27,\"flowEndReason\":3,"
		"\"event\":{\"kind\":\"event\",\"category\":[\"network\"],\"type\":[\"connection\","
		"\"end\"],\"action\":\"connection\",\"outcome\":\"success\",\"provider\":\"sekoia-ebpf\"},"
		"\"source\":{\"ip\":\"10.0.3.%d\",\"port\":%d,\"bytes\":%d,\"packets\":%d},"
		"\"destination\":{\"ip\":\"203.0.113.%d\",\"port\":443,\"bytes\":%d,\"packets\":%d},"
		"\"network\":{\"direction\":\"egress\",\"transport\":\"tcp\",\"type\":\"ipv4\","
		"\"community_id\":\"1:%08x%08xLQU9qZlK+B5F3KDmev6m5PMi\"},\"process\":{\"pid\":%d,"
		"\"executable\":\"/usr/bin/curl\",\"name\":\"curl\",\"command_line\":\"curl -s "
		"https://www.example.net/path\"},\"user\":{\"id\":\"%d\",\"name\":\"deploy\"},"
		"\"host\":{\"hostname\":\"web-1.example.net\",\"os\":{\"type\":\"linux\"}},\"agent\":{"
		"\"type\":\"sekoia-ebpf\",\"version\":\"0.1.0\"}}",
		i * 777 % 1000000, i % 250, i % 199, 1024 + i * 37 % 60000, i * 811, i % 97,
		i * 211, i * 600, i % 50, i % 47, i % 250, 1024 + i * 37 % 60000, i * 211, i % 50,
		i % 199, i * 600, i % 47, (unsigned)i * 2654435761u, (unsigned)i * 40503u,
		1000 + i % 30000, 1000 + i % 7);
	return &m;
}

static void on_refused(void *arg, uint64_t index, unsigned status)
{
	(void)arg;
	(void)index;
	(void)status;
}

static void do_answer(const struct msg *m)
{
	struct intake_answer a = { .refused = on_refused };

	(void)m;
	intake_answer_feed(&a, SLICE("{\"event_ids\":[\"01234567-89ab-cdef-0123-456789abcdef\""));
	for (int i = 0; i < 99; i++)
		intake_answer_feed(&a, SLICE(",\"01234567-89ab-cdef-0123-456789abcdef\""));
	intake_answer_feed(&a, SLICE("]}"));
}

int main(void)
{
	struct msg line = *a_line(4711), record = *a_record(4711);

	if (rfc5424_sd_init(&sd, SLICE("0123456789abcdef0123456789abcdef")) < 0)
		return 1;
	buf_init(&out, 1 << 20);
	printf("text: %zu bytes; record: %zu bytes\n", line.text.len, record.json.len);
	measure("syslog, text", &line, do_syslog);
	measure("syslog, record", &record, do_syslog);
	measure("relp, text", &line, do_relp);
	measure("relp, record", &record, do_relp);
	measure("https element, text (escaped twice)", &line, do_element);
	measure("https element, record", &record, do_element);
	measure("https answer, 100 events", &line, do_answer);
	measure_gzip("https, text", a_line);
	measure_gzip("https, record", a_record);
	buf_done(&out);
	return 0;
}
