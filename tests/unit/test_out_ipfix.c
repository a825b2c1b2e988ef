/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ipfix and netflow9 outputs against a UDP socket: what goes first, when templates
 * come again, what is settled when, and a port that nobody listens at.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config/config.h"
#include "output/output.h"
#include "tests/lib/test.h"
#include "user/util/log.h"

#define DATAGRAMS 4096

static struct rig {
	struct loop *loop;
	struct config config;
	struct output out;
	struct loop_timer failsafe, step;
	int fd; /* the collector's; -1: nobody listens */
	uint64_t total, next, settled, rejected;
	bool ready, timed_out, is_down;
	uint64_t step_ms; /* a flow each; 0: all at once */
	char why[256];
} rig;

/* What came, a datagram each. */
static struct {
	unsigned char data[1500];
	size_t len;
} got[DATAGRAMS];
static int n_got;

static void make_flow(uint64_t seq, struct msg *m)
{
	static char text[1024];
	int n = snprintf(
		text, sizeof(text),
		"{\"sourceIPv4Address\":\"192.0.2.1\",\"destinationIPv4Address\":"
		"\"198.51.100.2\",\"sourceTransportPort\":%u,\"destinationTransportPort\":53,"
		"\"protocolIdentifier\":17,\"ipVersion\":4,\"initiatorOctets\":1,"
		"\"responderOctets\":2,\"initiatorPackets\":1,\"responderPackets\":1,"
		"\"flowStartSeconds\":\"2026-11-23T13:21:29.001999Z\","
		"\"flowEndSeconds\":\"2026-11-23T13:21:30.000000Z\",%s"
		"\"event\":{\"id\":\"00ab-%llu\"}}",
		(unsigned)seq & 0xffff, seq % 100 == 50 ? "\"ipVersion\":77777," : "",
		(unsigned long long)seq);

	*m = (struct msg){ .seq = seq, .class = MSG_FLOW, .json = { text, (size_t)n } };
}

static void on_ready(void *arg)
{
	(void)arg;
	rig.ready = true;
}

static void on_settled(void *arg, uint64_t first, uint64_t last, enum output_verdict verdict,
		       const char *why)
{
	(void)arg, (void)why;
	if (verdict == OUTPUT_REJECTED)
		rig.rejected += last - first + 1;
	else
		rig.settled = last;
}

static void on_down(void *arg, const char *why, uint64_t retry_after_ms)
{
	(void)arg, (void)retry_after_ms;
	rig.is_down = true;
	rig.ready = false;
	snprintf(rig.why, sizeof(rig.why), "%s", why);
	loop_stop(rig.loop, 0);
}

static const struct output_events events = { on_ready, on_settled, on_down };

static void take_datagrams(void)
{
	ssize_t n;

	while (rig.fd >= 0 && n_got < DATAGRAMS &&
	       (n = recv(rig.fd, got[n_got].data, sizeof(got[0].data), MSG_DONTWAIT)) >= 0)
		got[n_got++].len = (size_t)n;
}

static void on_step(void *arg, uint64_t now_ms)
{
	(void)arg, (void)now_ms;
}

static void pump(void *arg)
{
	bool sent = false;
	struct msg m;
	int err = 0;

	(void)arg;
	take_datagrams();
	while (rig.ready && rig.next <= rig.total && !rig.is_down) {
		make_flow(rig.next, &m);
		err = rig.out.ops->send(&rig.out, &m);
		if (err)
			break;
		rig.next++;
		sent = true;
		if (rig.step_ms)
			break;
	}
	if (err == -EAGAIN)
		rig.ready = false;
	else if (err && !rig.is_down)
		on_down(NULL, log_strerror(err), 0);
	if ((sent || err) && !rig.is_down)
		rig.out.ops->flush(&rig.out);
	if (rig.total && rig.settled == rig.total)
		loop_stop(rig.loop, 0);
	loop_timer_set(rig.loop, &rig.step,
		       loop_now_ms(rig.loop) + (rig.step_ms ? rig.step_ms : 1));
}

static void on_failsafe(void *arg, uint64_t now_ms)
{
	(void)arg, (void)now_ms;
	rig.timed_out = true;
	loop_stop(rig.loop, 1);
}

/* A socket that is bound, and so a port that is ours; *ret_port is its number. */
static int bind_udp(uint16_t *ret_port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = 4 << 20;
	socklen_t len = sizeof(a);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		abort();
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static void rig_init(const struct output_ops *ops, uint64_t total)
{
	uint16_t port;

	rig = (struct rig){ .total = total, .next = 1 };
	n_got = 0;
	rig.fd = bind_udp(&port);
	rig.config = (struct config){ .ipfix_domain = 7,
				      .hostname = (char *)"host-1",
				      .ipfix_template_interval_ms = 3600000,
				      .ipfix_message_bytes = 1400 };
	CHECK_INT(loop_new(&rig.loop), 0);
	rig.out = (struct output){ .ops = ops,
				   .host = "127.0.0.1",
				   .port = port,
				   .loop = rig.loop,
				   .config = &rig.config,
				   .events = &events };
	rig.failsafe = (struct loop_timer){ .fn = on_failsafe };
	rig.step = (struct loop_timer){ .fn = on_step };
}

static void rig_run(void)
{
	loop_before_sleep(rig.loop, pump, NULL);
	loop_timer_set(rig.loop, &rig.failsafe, loop_now_ms(rig.loop) + 20000);
	CHECK_INT(rig.out.ops->open(&rig.out), 0);
	loop_run(rig.loop);
	CHECK(!rig.timed_out);
	take_datagrams();
}

static void rig_done(void)
{
	rig.out.ops->close(&rig.out);
	loop_free(rig.loop);
	if (rig.fd >= 0)
		close(rig.fd);
}

static unsigned at16(int i, size_t at)
{
	return (unsigned)got[i].data[at] << 8 | got[i].data[at + 1];
}

static unsigned long at32(int i, size_t at)
{
	return (unsigned long)at16(i, at) << 16 | at16(i, at + 2);
}

/* Datagrams that begin with a set of this id. */
static int count_first_set(unsigned id, size_t header)
{
	int n = 0;

	for (int i = 0; i < n_got; i++)
		n += at16(i, header) == id;
	return n;
}

TEST(templates_go_first_and_all_flows_follow)
{
	rig_init(&output_ipfix, 1000);
	rig_run();
	CHECK_INT(rig.settled, 1000);
	CHECK_INT(rig.rejected, 10); /* those whose record is odd */
	CHECK(n_got > 100);
	CHECK_INT(at16(0, 16), 2);
	CHECK_INT(count_first_set(2, 16), 3); /* they fill two messages and a half, … */
	for (int i = 0; i < n_got; i++) {
		CHECK_INT(at16(i, 0), 10);
		CHECK_INT(at16(i, 2), got[i].len);
		CHECK(got[i].len <= 1400);
		CHECK_INT(at32(i, 12), 7);
		if (i && at16(i, 16) == 258)
			CHECK(at32(i, 8) > at32(i - 1, 8) || at16(i - 1, 16) != 258);
	}
	/* 22 records of options, and the flows but the odd ones: the next would be this one. */
	CHECK_INT(rig.out.memory.sequence, 22 + 990);
	rig_done();
}

TEST(templates_come_again_after_so_many_messages)
{
	rig_init(&output_ipfix, 40);
	rig.config.ipfix_template_messages = 10;
	rig.step_ms = 2; /* a message each */
	rig_run();
	CHECK_INT(rig.settled, 40);
	/* At the start, and at least at each tenth message from there on. */
	CHECK(count_first_set(2, 16) >= 2 * 5);
	CHECK(count_first_set(2, 16) <= 2 * 12);
	rig_done();
}

TEST(templates_come_again_after_some_time)
{
	rig_init(&output_netflow9, 30);
	rig.config.ipfix_template_interval_ms = 20;
	rig.step_ms = 5;
	rig_run();
	CHECK_INT(rig.settled, 30);
	CHECK(count_first_set(0, 20) >= 3);
	/* Version 9 counts messages. */
	for (int i = 0; i < n_got; i++) {
		CHECK_INT(at16(i, 0), 9);
		CHECK_INT(at32(i, 12), i);
		CHECK_INT(at32(i, 16), 7);
	}
	rig_done();
}

TEST(another_socket_goes_on_counting)
{
	rig_init(&output_netflow9, 5);
	rig.out.memory.sequence = 0xfffffffe;
	rig_run();
	CHECK(n_got >= 2);
	CHECK_INT(at32(0, 12), 0xfffffffe);
	CHECK_INT(at32(1, 12), 0xffffffff);
	CHECK_INT(rig.out.memory.sequence, (uint32_t)(0xfffffffe + (unsigned)n_got));
	rig_done();
}

TEST(what_nobody_listens_to_is_not_settled)
{
	rig_init(&output_ipfix, 100);
	close(rig.fd);
	rig.fd = -1;
	rig_run();
	CHECK(rig.is_down);
	CHECK(strstr(rig.why, "nobody listens there"));
	CHECK_INT(rig.settled, 0);
	rig_done();
}

TEST(a_name_that_is_none)
{
	rig_init(&output_ipfix, 1);
	rig.out.host = "no.such.name.invalid";
	rig.out.port = 4739;
	rig_run();
	CHECK(rig.is_down);
	CHECK(strstr(rig.why, "resolve no.such.name.invalid"));
	rig_done();
}

TEST(flows_alone_are_wanted)
{
	const struct msg flow = { .class = MSG_FLOW }, line = { .class = MSG_JOURNAL },
			 self = { .class = MSG_SELF };

	CHECK(output_ipfix.wants(&flow) && output_netflow9.wants(&flow));
	CHECK(!output_ipfix.wants(&line) && !output_netflow9.wants(&self));
}
