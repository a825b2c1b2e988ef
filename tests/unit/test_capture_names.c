/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names' programs alone, on the running kernel: questions and answers, and
 * client hellos, between sockets of this process; what the ring got is byte for byte
 * what was sent. Needs root.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bpf/events.h"
#include "tests/lib/hello.h"
#include "tests/lib/test.h"
#include "user/event.h"
#include "user/probe.h"
#include "user/ring.h"

static struct kernel *kernel;
static struct ring *ring;
static char dir[64];
static bool usable;
static uint8_t net; /* 127.251.net.0/24 is ours */

static struct event event; /* points into copy */
static uint8_t copy[8192];

static struct kernel_opts opts(bool dns, bool tls, bool loopback)
{
	return (struct kernel_opts){ .dir = dir,
				     .wanted = { [KERNEL_FLOWS] = true, [KERNEL_NAMES] = true },
				     .flow_ring_bytes = 1 << 20,
				     .journal_ring_bytes = 1 << 20,
				     .names_ring_bytes = 1 << 20,
				     .flows_max = 1024,
				     .names_dns = dns,
				     .names_tls = tls,
				     .names_quic = tls,
				     .loopback = loopback };
}

static void attach(bool dns, bool tls, bool loopback)
{
	struct kernel_opts o = opts(dns, tls, loopback);
	char text[256] = "";
	int err;

	ring_free(ring);
	kernel_free(kernel);
	ring = NULL;
	kernel = NULL;
	err = kernel_new(&o, text, sizeof(text), &kernel);
	CHECK_INT(err, 0);
	if (err) {
		printf("# %s\n", text);
		return;
	}
	CHECK_INT(ring_new(kernel_ring_fd(kernel, KERNEL_NAMES), &ring), 0);
}

/* The next sample of these ports; others on this host use the network, too. */
static bool take(uint16_t local_port, uint16_t remote_port)
{
	const void *p;
	size_t size;

	while (ring_next(ring, &p, &size) > 0) {
		CHECK(size <= sizeof(copy));
		memcpy(copy, p, size);
		CHECK_INT(event_decode(copy, size, &event), 0);
		CHECK_INT(event.kind, EVENT_IS_PACKET);
		if (event.packet.local_port == local_port &&
		    event.packet.remote_port == remote_port)
			return true;
	}
	return false;
}

/* Of a socket, port 0: any. */
static int bound(int family, int type, uint16_t port, uint16_t *ret_port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr =
					  htonl(127u << 24 | 251u << 16 | net << 8 | 1) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
				    .sin6_port = htons(port),
				    .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	void *a = family == AF_INET ? (void *)&in : (void *)&in6;
	socklen_t len = family == AF_INET ? sizeof(in) : sizeof(in6);
	int fd = socket(family, type | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, a, len) < 0) {
		close(fd);
		return -errno;
	}
	getsockname(fd, a, &len);
	*ret_port = ntohs(family == AF_INET ? in.sin_port : in6.sin6_port);
	return fd;
}

static int connected_to(int family, int type, int server, uint16_t *ret_port)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);
	int fd = bound(family, type, 0, ret_port), one = 1;

	getsockname(server, (void *)&a, &len);
	CHECK_INT(connect(fd, (void *)&a, len), 0);
	if (type == SOCK_STREAM)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

TEST(attaches)
{
	snprintf(dir, sizeof(dir), "/sys/fs/bpf/sekoia-test-%d", getpid());
	net = (uint8_t)getpid();
	if (geteuid()) {
		printf("# skipped: not root\n");
		return;
	}
	attach(true, true, true);
	usable = kernel && ring;
	if (usable && kernel_lacks(kernel, KERNEL_NAMES))
		printf("# lacks: %s\n", kernel_lacks(kernel, KERNEL_NAMES));
}

static void answer(int server, uint8_t *message, size_t n)
{
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	uint8_t got[512];

	CHECK(recvfrom(server, got, sizeof(got), 0, (void *)&from, &len) > 0);
	message[2] |= 0x80;
	CHECK_INT(sendto(server, message, n, 0, (void *)&from, len), n);
}

static void check_dns(int family)
{
	static const size_t sizes[] = { 12, 13, 100, 512, 648, 649, 1232, 3976, 3977, 4096 };
	uint8_t message[8192] = { 0 }, got[8192];
	uint16_t server_port, port;
	int server = bound(family, SOCK_DGRAM, 53, &server_port), client;
	struct kernel_counters before, after;

	if (server < 0) {
		printf("# skipped: port 53 is taken\n");
		return;
	}
	client = connected_to(family, SOCK_DGRAM, server, &port);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size_t n = sizes[i], have;

		for (size_t k = 2; k < n; k++)
			message[k] = (uint8_t)(k * 7);
		message[0] = 0x55;
		message[1] = (uint8_t)i;
		message[2] = 1; /* a question: RD */
		CHECK_INT(send(client, message, 40, 0), 40);
		answer(server, message, n);
		CHECK_INT(recv(client, got, sizeof(got), 0), n);
		CHECK(take(port, 53));
		have = n < 4096 - sizeof(struct event_packet) ? n
							      : 4096 - sizeof(struct event_packet);
		CHECK_INT(event.packet.full_len, n);
		CHECK_INT(event.packet.data.len, have);
		CHECK(!memcmp(event.packet.data.p, message, have));
		CHECK_INT(event.packet.asker.pid, getpid());
		CHECK(event.packet.asker.start_ns != 0 && event.packet.asker.cgroup_id != 0);
		CHECK_INT(event.packet.ip_version, family == AF_INET ? 4 : 6);
		CHECK_INT(event.packet.protocol, IPPROTO_UDP);
		CHECK(!event.packet.outbound);
		CHECK_INT(event.packet.local[family == AF_INET ? 0 : 15],
			  family == AF_INET ? 127 : 1);
		/* The same answer once more: nobody asked for that one. */
		kernel_get_counters(kernel, KERNEL_NAMES, &before);
		CHECK_INT(send(client, "\1\1\200 no question", 15, 0), 15);
		answer(server, message, n);
		CHECK_INT(recv(client, got, sizeof(got), 0), n);
		CHECK(!take(port, 53));
		kernel_get_counters(kernel, KERNEL_NAMES, &after);
		CHECK(after.filtered > before.filtered);
		CHECK_INT(after.live, 0);
	}
	close(client);
	close(server);
}

TEST(answers_to_questions_v4)
{
	if (usable)
		check_dns(AF_INET);
}

TEST(answers_to_questions_v6)
{
	if (usable)
		check_dns(AF_INET6);
}

static const uint16_t ciphers[] = { 0x1301, 1 }, extensions[] = { 21, 1 };
static uint8_t hello[16384], sink[65536];
static size_t n_hello;

static void make(size_t pad)
{
	n_hello = hello_make(&(struct hello_wish){ .server_name = "a.test",
						   .ciphers = ciphers,
						   .extensions = extensions,
						   .pad = pad },
			     hello);
}

struct pair {
	int listener, client, server;
	uint16_t client_port, server_port;
};

static struct pair pair_new(int family)
{
	struct pair p;

	p.listener = bound(family, SOCK_STREAM, 0, &p.server_port);
	CHECK_INT(listen(p.listener, 1), 0);
	p.client = connected_to(family, SOCK_STREAM, p.listener, &p.client_port);
	p.server = accept4(p.listener, NULL, NULL, SOCK_CLOEXEC);
	CHECK(p.server >= 0);
	return p;
}

static void pair_done(const struct pair *p)
{
	close(p->client);
	close(p->server);
	close(p->listener);
}

/* Sent and read, so that it is one segment. */
static void pass(int from, int to, const void *bytes, size_t n)
{
	CHECK_INT(send(from, bytes, n, 0), n);
	for (size_t got = 0; got < n;) {
		ssize_t r = read(to, sink, n - got);

		if (r <= 0) {
			CHECK(r > 0);
			return;
		}
		got += (size_t)r;
	}
}

static void check_hello_packet(size_t from, size_t n, bool out)
{
	size_t room = 4096 - sizeof(struct event_packet), have = n < room ? n : room;

	CHECK_INT(event.packet.full_len, n);
	CHECK_INT(event.packet.data.len, have);
	CHECK(!memcmp(event.packet.data.p, hello + from, have));
	CHECK_INT(event.packet.protocol, IPPROTO_TCP);
	CHECK_INT(event.packet.outbound, out);
	CHECK_INT(event.packet.asker.pid, 0);
}

/* Both ends are here: each sees it. */
static void check_hello(int family)
{
	static const size_t pads[] = { 0, 1, 400, 600, 1500, 3000, 3960 };

	for (size_t i = 0; i < sizeof(pads) / sizeof(*pads); i++) {
		struct pair p = pair_new(family);

		make(pads[i]);
		pass(p.client, p.server, hello, n_hello);
		CHECK(take(p.client_port, p.server_port));
		check_hello_packet(0, n_hello, true);
		CHECK(take(p.server_port, p.client_port));
		check_hello_packet(0, n_hello, false);
		/* What comes behind it is of no interest. */
		pass(p.client, p.server, "data", 4);
		pass(p.server, p.client, "data", 4);
		CHECK(!take(p.client_port, p.server_port));
		pair_done(&p);
	}
}

TEST(hellos_v4)
{
	if (usable)
		check_hello(AF_INET);
}

TEST(hellos_v6)
{
	if (usable)
		check_hello(AF_INET6);
}

TEST(a_hello_in_parts)
{
	struct pair p;
	uint32_t seq;

	if (!usable)
		return;
	p = pair_new(AF_INET);
	make(2500);
	pass(p.client, p.server, hello, 1000);
	pass(p.client, p.server, hello + 1000, 1200);
	pass(p.client, p.server, hello + 2200, n_hello - 2200);
	pass(p.client, p.server, "data", 4);
	CHECK(take(p.client_port, p.server_port));
	check_hello_packet(0, 1000, true);
	seq = event.packet.seq;
	CHECK(take(p.client_port, p.server_port));
	check_hello_packet(1000, 1200, true);
	CHECK_INT(event.packet.seq - seq, 1000);
	CHECK(take(p.client_port, p.server_port));
	check_hello_packet(2200, n_hello - 2200, true);
	CHECK(!take(p.client_port, p.server_port));
	pair_done(&p);
}

/* STARTTLS: behind a few words in plain text; and where it is not looked for any more. */
TEST(where_it_is_looked_for)
{
	struct pair p;

	if (!usable)
		return;
	make(0);
	p = pair_new(AF_INET);
	for (int i = 0; i < 3; i++)
		pass(p.client, p.server, "EHLO a.test\r\n", 13);
	pass(p.client, p.server, hello, n_hello);
	CHECK(take(p.client_port, p.server_port));
	check_hello_packet(0, n_hello, true);
	pair_done(&p);
	p = pair_new(AF_INET);
	for (int i = 0; i < 20; i++)
		pass(p.client, p.server, "EHLO a.test\r\n", 13);
	pass(p.client, p.server, hello, n_hello);
	CHECK(!take(p.client_port, p.server_port));
	pair_done(&p);
}

/* Questions and answers over TCP: what comes from port 53 is of who asked. */
TEST(answers_over_tcp)
{
	struct pair p = { .listener = -1 };
	uint8_t message[6000];

	if (!usable)
		return;
	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)(i * 5);
	p.listener = bound(AF_INET, SOCK_STREAM, 53, &p.server_port);
	if (p.listener < 0) {
		printf("# skipped: port 53 is taken\n");
		return;
	}
	CHECK_INT(listen(p.listener, 1), 0);
	p.client = connected_to(AF_INET, SOCK_STREAM, p.listener, &p.client_port);
	p.server = accept4(p.listener, NULL, NULL, SOCK_CLOEXEC);
	/* Nobody has asked yet. */
	pass(p.server, p.client, message, 100);
	CHECK(!take(p.client_port, 53));
	pass(p.client, p.server, "\0\4abcd", 6);
	CHECK(!take(p.client_port, 53));
	for (size_t n = 1; n <= sizeof(message); n = n * 9 + 1) {
		size_t room = 4096 - sizeof(struct event_packet), have = n < room ? n : room;

		pass(p.server, p.client, message, n);
		CHECK(take(p.client_port, 53));
		CHECK_INT(event.packet.full_len, n);
		CHECK_INT(event.packet.data.len, have);
		CHECK(!memcmp(event.packet.data.p, message, have));
		CHECK_INT(event.packet.asker.pid, getpid());
		CHECK(event.packet.asker.cgroup_id != 0);
		CHECK_INT(event.packet.protocol, IPPROTO_TCP);
		CHECK(!event.packet.outbound);
	}
	/* The first few of a connection. */
	for (int i = 0; i < 20; i++)
		pass(p.server, p.client, message, 50);
	while (take(p.client_port, 53))
		;
	pass(p.server, p.client, message, 50);
	CHECK(!take(p.client_port, 53));
	/* The server's side asks nobody. */
	CHECK(!take(53, p.client_port));
	pair_done(&p);
}

static const struct {
	const char *head;
	size_t size;
	bool is_initial;
} datagrams[] = {
	{ "\xc3\0\0\0\1", 1200, true },		 { "\xcf\0\0\0\1", 1472, true },
	{ "\xd0\x6b\x33\x43\xcf", 1252, true },	 { "\xc3\0\0\0\1", 1199, false },
	{ "\xd3\0\0\0\1", 1200, false },	 /* 0-RTT */
	{ "\xc0\x6b\x33\x43\xcf", 1200, false }, /* version 2's Retry */
	{ "\xc3\0\0\0\0", 1200, false },	 /* version negotiation */
	{ "\x43\0\0\0\1", 1200, false },	 /* a short header */
	{ "\xc3\0\0\0\1", 3000, true },
};

static void check_quic(int family)
{
	uint8_t datagram[4096];
	uint16_t port, server_port;
	int server = bound(family, SOCK_DGRAM, 443, &server_port), client;

	if (server < 0) {
		printf("# skipped: port 443 is taken\n");
		return;
	}
	for (size_t i = 0; i < sizeof(datagram); i++)
		datagram[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < sizeof(datagrams) / sizeof(*datagrams); i++) {
		size_t n = datagrams[i].size;

		client = connected_to(family, SOCK_DGRAM, server, &port);
		memcpy(datagram, datagrams[i].head, 5);
		CHECK_INT(send(client, datagram, n, 0), n);
		CHECK_INT(recv(server, sink, sizeof(sink), 0), n);
		CHECK_INT(take(port, 443), datagrams[i].is_initial);
		if (datagrams[i].is_initial) {
			CHECK_INT(event.packet.data.len, n);
			CHECK(!memcmp(event.packet.data.p, datagram, n));
			CHECK(event.packet.outbound);
			CHECK_INT(event.packet.protocol, IPPROTO_UDP);
			CHECK(take(443, port));
			CHECK(!event.packet.outbound);
		}
		close(client);
	}
	/* Of one client the first four, and no more for ten seconds. */
	client = connected_to(family, SOCK_DGRAM, server, &port);
	memcpy(datagram, datagrams[0].head, 5);
	for (int i = 0; i < 10; i++) {
		CHECK_INT(send(client, datagram, 1200, 0), 1200);
		CHECK_INT(take(port, 443), i < 4);
	}
	close(client);
	close(server);
}

TEST(quic_v4)
{
	if (usable)
		check_quic(AF_INET);
}

TEST(quic_v6)
{
	if (usable)
		check_quic(AF_INET6);
}

/* Each by itself; and flows from this host to itself, which are not captured. */
TEST(what_is_switched_off)
{
	struct kernel_counters c;
	struct pair p;

	if (!usable)
		return;
	make(0);
	attach(false, true, false);
	if (!ring)
		return;
	p = pair_new(AF_INET);
	pass(p.client, p.server, hello, n_hello);
	CHECK(!take(p.client_port, p.server_port));
	kernel_get_counters(kernel, KERNEL_NAMES, &c);
	CHECK(c.filtered >= 2);
	kernel_set_timing(kernel, 1, 1, true);
	pass(p.client, p.server, hello, n_hello);
	CHECK(take(p.client_port, p.server_port));
	pair_done(&p);

	attach(true, false, true);
	if (!ring)
		return;
	p = pair_new(AF_INET);
	pass(p.client, p.server, hello, n_hello);
	CHECK(!take(p.client_port, p.server_port));
	pair_done(&p);
	check_dns(AF_INET);
}

TEST(detaches)
{
	ring_free(ring);
	kernel_free(kernel);
	if (usable)
		CHECK(kernel_cleanup(dir) >= 1);
}
