/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel side alone, on the running kernel: attach, make traffic whose
 * truth is known, read the raw samples. Needs root and a BPF that may trace.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bpf/events.h"
#include "tests/lib/test.h"
#include "user/probe.h"
#include "user/ring.h"

static struct kernel *kernel;
static struct ring *ring;
static char dir[64];
static bool usable;

static struct kernel_opts options(void)
{
	return (struct kernel_opts){
		.dir = dir,
		.wanted = { true, true, true, true, true },
		.events = CLASS_ALL,
		.names_dns = true,
		.names_tls = true,
		.names_quic = true,
		.names_ring_bytes = 1 << 20,
		.flow_ring_bytes = 1 << 20,
		.journal_ring_bytes = 1 << 20,
		.events_ring_bytes = 1 << 20,
		.flows_max = 4096,
		.active_ns = 3600ull * 1000000000,
		.idle_ns = 3600ull * 1000000000,
		.loopback = true,
	};
}

static void attach(void)
{
	struct kernel_opts o = options();
	char text[256] = "";
	int err = kernel_new(&o, text, sizeof(text), &kernel);

	CHECK_INT(err, 0);
	if (err) {
		printf("# %s\n", text);
		return;
	}
	CHECK_INT(ring_new(kernel_ring_fd(kernel, KERNEL_FLOWS), &ring), 0);
}

static void leave(void)
{
	ring_free(ring);
	kernel_free(kernel);
	ring = NULL;
	kernel = NULL;
}

static void nap(void)
{
	struct timespec ts = { .tv_nsec = 20000000 };

	nanosleep(&ts, NULL);
}

/* The samples of the flow between these ports, added up; the last one in *ret. */
static int find_flow(uint8_t protocol, uint16_t local, uint16_t remote, struct event_flow *ret)
{
	const void *sample;
	size_t size;
	int found = 0;
	struct event_flow sum = { 0 };

	while (ring_next(ring, &sample, &size) > 0) {
		struct event_flow e;

		/* Another test's flood of flows is the host's, too. */
		if (((const struct event_header *)sample)->type == EVENT_FLOOD)
			continue;
		CHECK_INT(size, sizeof(e));
		memcpy(&e, sample, sizeof(e));
		if (e.protocol != protocol || e.local_port != local || e.remote_port != remote)
			continue;
		e.out_bytes += sum.out_bytes;
		e.in_bytes += sum.in_bytes;
		e.out_packets += sum.out_packets;
		e.in_packets += sum.in_packets;
		sum = e;
		found++;
	}
	*ret = sum;
	return found;
}

struct pair {
	int client, server;
	uint16_t client_port, server_port;
};

static uint16_t port_of(const struct sockaddr_storage *ss)
{
	return ntohs(ss->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)ss)->sin6_port
					       : ((const struct sockaddr_in *)ss)->sin_port);
}

static socklen_t loopback(int family, struct sockaddr_storage *ss)
{
	memset(ss, 0, sizeof(*ss));
	ss->ss_family = (sa_family_t)family;
	if (family == AF_INET6) {
		((struct sockaddr_in6 *)ss)->sin6_addr = in6addr_loopback;
		return sizeof(struct sockaddr_in6);
	}
	((struct sockaddr_in *)ss)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return sizeof(struct sockaddr_in);
}

static struct pair connect_pair(int family)
{
	struct sockaddr_storage ss;
	socklen_t len = loopback(family, &ss);
	struct pair p;
	int listener = socket(family, SOCK_STREAM, 0);

	CHECK(bind(listener, (void *)&ss, len) == 0 && listen(listener, 8) == 0);
	getsockname(listener, (void *)&ss, &len);
	p.server_port = port_of(&ss);
	p.client = socket(family, SOCK_STREAM, 0);
	CHECK(connect(p.client, (void *)&ss, len) == 0);
	p.server = accept(listener, NULL, NULL);
	getsockname(p.client, (void *)&ss, &len);
	p.client_port = port_of(&ss);
	close(listener);
	return p;
}

static void send_all(int from, int to, size_t n)
{
	static char bytes[65536];

	while (n) {
		size_t part = n < sizeof(bytes) ? n : sizeof(bytes);
		ssize_t sent = write(from, bytes, part);

		CHECK(sent > 0);
		for (ssize_t got = 0; got < sent;) {
			ssize_t r = read(to, bytes, (size_t)(sent - got));

			CHECK(r > 0);
			got += r;
		}
		n -= (size_t)sent;
	}
}

static void check_closed(int family)
{
	struct pair p = connect_pair(family);
	struct event_flow e;

	send_all(p.client, p.server, 12345);
	send_all(p.server, p.client, 777777);
	close(p.client);
	nap();
	close(p.server);
	nap();
	CHECK_INT(find_flow(IPPROTO_TCP, p.client_port, p.server_port, &e), 1);
	CHECK_INT(e.out_bytes, 12345);
	CHECK_INT(e.in_bytes, 777777);
	CHECK_INT(e.direction, FLOW_OUT);
	CHECK_INT(e.end_reason, FLOW_END_DETECTED);
	CHECK_INT(e.user.tgid, getpid());
	CHECK_INT(e.opener.tgid, getpid());
	CHECK_INT(e.ip_version, family == AF_INET ? 4 : 6);
	CHECK_INT(e.flags & (FLOW_FIRST | FLOW_LAST | FLOW_ESTABLISHED | FLOW_RESET),
		  FLOW_FIRST | FLOW_LAST | FLOW_ESTABLISHED);
	CHECK_INT(e.error, 0);
	CHECK_STR(e.user.comm, "test_capture");
}

TEST(attaches)
{
	snprintf(dir, sizeof(dir), "/sys/fs/bpf/sekoia-test-%d", getpid());
	if (geteuid()) {
		printf("# skipped: not root\n");
		return;
	}
	attach();
	usable = kernel && ring;
	if (!usable)
		return;
	CHECK(!kernel_was_adopted(kernel));
	CHECK(kernel_generation(kernel) != 0);
	for (int i = 0; i < KERNEL_SOURCES; i++) {
		if (kernel_lacks(kernel, (enum kernel_source)i))
			printf("# lacks: %s\n", kernel_lacks(kernel, (enum kernel_source)i));
		CHECK(kernel_has(kernel, (enum kernel_source)i));
	}
}

TEST(tcp_closed_v4)
{
	if (usable)
		check_closed(AF_INET);
}

TEST(tcp_closed_v6)
{
	if (usable)
		check_closed(AF_INET6);
}

TEST(tcp_both_ends_agree)
{
	struct event_flow e;
	struct pair p;

	if (!usable)
		return;
	p = connect_pair(AF_INET);
	send_all(p.client, p.server, 1000);
	send_all(p.server, p.client, 50);
	close(p.server);
	nap();
	close(p.client);
	nap();
	CHECK_INT(find_flow(IPPROTO_TCP, p.server_port, p.client_port, &e), 1);
	CHECK_INT(e.out_bytes, 50);
	CHECK_INT(e.in_bytes, 1000);
	CHECK_INT(e.direction, FLOW_IN);
	CHECK_INT(e.user.tgid, getpid());
}

TEST(tcp_refused)
{
	struct sockaddr_storage ss;
	socklen_t len = loopback(AF_INET, &ss);
	struct event_flow e;
	const void *sample;
	size_t size;
	int fd, found = 0;

	if (!usable)
		return;
	((struct sockaddr_in *)&ss)->sin_port = htons(1);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(fd, (void *)&ss, len) < 0 && errno == ECONNREFUSED);
	close(fd);
	nap();
	while (ring_next(ring, &sample, &size) > 0) {
		if (size < sizeof(e))
			continue;
		memcpy(&e, sample, sizeof(e));
		if (e.remote_port != 1)
			continue;
		found++;
		CHECK_INT(e.error, ECONNREFUSED);
		CHECK_INT(e.out_bytes, 0);
		CHECK(e.local_port != 0);
		CHECK(!(e.flags & FLOW_ESTABLISHED));
	}
	CHECK_INT(found, 1);
}

TEST(tcp_reset)
{
	struct linger now = { .l_onoff = 1 };
	struct event_flow e;
	struct pair p;

	if (!usable)
		return;
	p = connect_pair(AF_INET);
	send_all(p.client, p.server, 4000);
	setsockopt(p.client, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(p.client);
	nap();
	close(p.server);
	nap();
	CHECK_INT(find_flow(IPPROTO_TCP, p.client_port, p.server_port, &e), 1);
	CHECK_INT(e.out_bytes, 4000);
	CHECK(e.flags & FLOW_RESET);
}

TEST(tcp_deltas_sum_up)
{
	struct event_flow e;
	struct pair p;

	if (!usable)
		return;
	p = connect_pair(AF_INET6);
	send_all(p.client, p.server, 10000);
	kernel_free(kernel); /* another active timeout: adopt with it */
	{
		struct kernel_opts o = options();
		char text[256];

		o.active_ns = 1000000;
		CHECK_INT(kernel_new(&o, text, sizeof(text), &kernel), 0);
		CHECK(kernel_was_adopted(kernel));
	}
	nap();
	CHECK_INT(kernel_sweep(kernel, false), 0);
	send_all(p.client, p.server, 2345);
	nap();
	CHECK_INT(kernel_sweep(kernel, false), 0);
	send_all(p.server, p.client, 1);
	close(p.client);
	nap();
	close(p.server);
	nap();
	CHECK_INT(find_flow(IPPROTO_TCP, p.client_port, p.server_port, &e), 3);
	CHECK_INT(e.out_bytes, 12345);
	CHECK_INT(e.in_bytes, 1);
	CHECK_INT(e.out_total, 12345);
	CHECK_INT(e.report, 2);
	CHECK(e.out_packets > 0);
}

TEST(accepted_by_a_forked_child)
{
	struct event_flow e;
	struct pair p;
	char byte = 0;
	pid_t child;

	if (!usable)
		return;
	p = connect_pair(AF_INET);
	child = fork();
	if (child == 0) {
		close(p.client);
		if (read(p.server, &byte, 1) != 1)
			_exit(1);
		_exit(0);
	}
	close(p.server);
	CHECK(write(p.client, &byte, 1) == 1);
	waitpid(child, NULL, 0);
	close(p.client);
	nap();
	CHECK_INT(find_flow(IPPROTO_TCP, p.server_port, p.client_port, &e), 1);
	CHECK_INT(e.user.tgid, child);
	CHECK_INT(e.opener.tgid, getpid());
}

TEST(udp_counts_packets)
{
	struct sockaddr_storage ss;
	socklen_t len = loopback(AF_INET, &ss);
	struct event_flow e;
	uint16_t from, to;
	int a, b;
	char bytes[1000];

	if (!usable)
		return;
	a = socket(AF_INET, SOCK_DGRAM, 0);
	b = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK(bind(b, (void *)&ss, len) == 0);
	getsockname(b, (void *)&ss, &len);
	to = port_of(&ss);
	CHECK(connect(a, (void *)&ss, len) == 0);
	getsockname(a, (void *)&ss, &len);
	from = port_of(&ss);
	for (int i = 0; i < 10; i++)
		CHECK(send(a, bytes, 100, 0) == 100);
	for (int i = 0; i < 10; i++)
		CHECK(recv(b, bytes, sizeof(bytes), 0) == 100);
	CHECK(sendto(b, bytes, 7, 0, (void *)&ss, len) == 7);
	CHECK(recv(a, bytes, sizeof(bytes), 0) == 7);
	CHECK_INT(kernel_sweep(kernel, true), 0);
	CHECK_INT(find_flow(IPPROTO_UDP, from, to, &e), 1);
	CHECK_INT(e.out_packets, 10);
	CHECK_INT(e.out_bytes, 1280);
	CHECK_INT(e.in_packets, 1);
	CHECK_INT(e.in_bytes, 35);
	CHECK_INT(e.direction, FLOW_OUT);
	CHECK_INT(e.user.tgid, getpid());
	CHECK_INT(e.end_reason, FLOW_END_FORCED);
	close(a);
	close(b);
}

/* One socket that speaks with several in turn; its flows end, and begin again. */
static void check_several_peers(int family)
{
	enum { PEERS = 3, TURNS = 7 };
	struct event_flow sum[PEERS] = { 0 }, e;
	int a = socket(family, SOCK_DGRAM, 0), peers[PEERS];
	struct sockaddr_storage to[PEERS], self;
	socklen_t len = loopback(family, &self);
	uint64_t headers = family == AF_INET ? 28 : 48;
	int samples[PEERS] = { 0 };
	const void *sample;
	char bytes[1000] = { 0 };
	size_t size;

	CHECK(bind(a, (void *)&self, len) == 0);
	getsockname(a, (void *)&self, &len);
	for (int p = 0; p < PEERS; p++) {
		peers[p] = socket(family, SOCK_DGRAM, 0);
		loopback(family, &to[p]);
		CHECK(bind(peers[p], (void *)&to[p], len) == 0);
		getsockname(peers[p], (void *)&to[p], &len);
	}
	for (int life = 0; life < 2; life++) {
		for (int turn = 0; turn < TURNS; turn++)
			for (int p = 0; p < PEERS; p++) {
				size_t n = (size_t)(100 * p + turn);

				CHECK(sendto(a, bytes, n, 0, (void *)&to[p], len) == (ssize_t)n);
				CHECK(recv(peers[p], bytes, sizeof(bytes), 0) == (ssize_t)n);
				if (p == turn % PEERS) /* some are answered */
					CHECK(sendto(peers[p], bytes, 9, 0, (void *)&self, len) ==
						      9 &&
					      recv(a, bytes, sizeof(bytes), 0) == 9);
			}
		CHECK_INT(kernel_sweep(kernel, true), 0);
		while (ring_next(ring, &sample, &size) > 0) {
			if (((const struct event_header *)sample)->type == EVENT_FLOOD)
				continue;
			memcpy(&e, sample, sizeof(e));
			for (int p = 0; p < PEERS; p++)
				if (e.protocol == IPPROTO_UDP && e.local_port == port_of(&self) &&
				    e.remote_port == port_of(&to[p])) {
					samples[p]++;
					sum[p].out_packets += e.out_packets;
					sum[p].out_bytes += e.out_bytes;
					sum[p].in_packets += e.in_packets;
					sum[p].in_bytes += e.in_bytes;
				}
		}
	}
	for (int p = 0; p < PEERS; p++) {
		uint64_t answers = 2 * (TURNS / PEERS + (p < TURNS % PEERS));

		CHECK_INT(samples[p], 2);
		CHECK_INT(sum[p].out_packets, 2 * TURNS);
		CHECK_INT(sum[p].out_bytes,
			  2 * (TURNS * (headers + 100u * (unsigned)p) + TURNS * (TURNS - 1) / 2));
		CHECK_INT(sum[p].in_packets, answers);
		CHECK_INT(sum[p].in_bytes, answers * (headers + 9));
		close(peers[p]);
	}
	close(a);
}

TEST(udp_with_several_peers)
{
	if (!usable)
		return;
	check_several_peers(AF_INET);
	check_several_peers(AF_INET6);
}

/* The ring's memory is not cleared: after a lap whatever a sample leaves out is of another one. */
TEST(udp_samples_leave_nothing_out)
{
	struct sockaddr_storage ss;
	socklen_t len = loopback(AF_INET, &ss);
	int a, seen = 0, wrong = 0;
	const void *sample;
	size_t size;

	if (!usable)
		return;
	a = socket(AF_INET, SOCK_DGRAM, 0);
	for (int lap = 0; lap < 6; lap++) {
		for (int i = 1; i <= 1000; i++) {
			((struct sockaddr_in *)&ss)->sin_port = htons((uint16_t)i);
			sendto(a, "", 0, 0, (void *)&ss, len);
		}
		CHECK_INT(kernel_sweep(kernel, true), 0);
		while (ring_next(ring, &sample, &size) > 0) {
			struct event_flow e;

			if (size != sizeof(e))
				continue;
			memcpy(&e, sample, sizeof(e));
			seen += e.protocol == IPPROTO_UDP;
			wrong += e.protocol == IPPROTO_UDP && e.unacknowledged;
		}
		ring_release(ring, ring_position(ring));
	}
	CHECK(seen >= 6000);
	CHECK_INT(wrong, 0);
	close(a);
}

TEST(restart_resumes_at_the_position)
{
	struct event_flow e;
	struct pair p;
	uint64_t before;

	if (!usable)
		return;
	p = connect_pair(AF_INET);
	close(p.client);
	close(p.server);
	nap();
	before = ring_position(ring);
	CHECK_INT(find_flow(IPPROTO_TCP, p.client_port, p.server_port, &e), 1);
	leave();
	attach(); /* nothing was released since: all is there again */
	if (!ring)
		return;
	CHECK(kernel_was_adopted(kernel));
	CHECK_INT(ring_seek(ring, before), 0);
	CHECK_INT(find_flow(IPPROTO_TCP, p.client_port, p.server_port, &e), 1);
	CHECK_INT(ring_seek(ring, ring_position(ring)), 0);
	CHECK_INT(ring_waiting(ring), 0);
	CHECK_INT(ring_seek(ring, ring_position(ring) + 4096), -ERANGE);
}

/* An epoll that tells of a ring's wake-ups, and not of what is in it. */
static int watch_wakes(enum kernel_source source)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLET };
	int fd = epoll_create1(EPOLL_CLOEXEC);

	CHECK_INT(epoll_ctl(fd, EPOLL_CTL_ADD, kernel_ring_fd(kernel, source), &e), 0);
	return fd;
}

static bool wakes(int fd, int ms)
{
	struct epoll_event e;

	return epoll_wait(fd, &e, 1, ms) == 1;
}

static void make_flow(void)
{
	struct pair p = connect_pair(AF_INET);

	close(p.client);
	close(p.server);
}

static void make_exec(void)
{
	pid_t child = fork();

	if (!child) {
		execl("/bin/true", "true", (char *)NULL);
		_exit(1);
	}
	waitpid(child, NULL, 0);
}

/* Others' samples are the host's, too: they wake as ours do. */
static void check_wakes(enum kernel_source source, struct ring *r, void (*make)(void))
{
	int fd = watch_wakes(source);
	const void *sample;
	size_t size;

	while (ring_next(r, &sample, &size) > 0)
		;
	ring_release(r, ring_position(r));
	kernel_set_asleep(kernel, false);
	while (wakes(fd, 0))
		;
	make();
	CHECK(!wakes(fd, 50));
	kernel_set_asleep(kernel, true);
	make();
	CHECK(wakes(fd, 1000));
	/* Once. */
	while (wakes(fd, 0))
		;
	make();
	CHECK(!wakes(fd, 50));
	kernel_set_asleep(kernel, false);
	close(fd);
}

TEST(a_reader_that_sleeps_is_woken_by_the_next_sample)
{
	struct ring *events;

	if (!usable)
		return;
	check_wakes(KERNEL_FLOWS, ring, make_flow);
	if (!kernel_has(kernel, KERNEL_EVENTS))
		return;
	CHECK_INT(ring_new(kernel_ring_fd(kernel, KERNEL_EVENTS), &events), 0);
	check_wakes(KERNEL_EVENTS, events, make_exec);
	ring_free(events);
}

TEST(a_sweep_says_when_a_flow_is_due)
{
	struct timespec now;
	struct pair p;
	uint64_t now_ns;

	if (!usable)
		return;
	p = connect_pair(AF_INET);
	nap();
	CHECK_INT(kernel_sweep(kernel, false), 0);
	clock_gettime(CLOCK_BOOTTIME, &now);
	now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	CHECK(kernel_next_due_ns(kernel) <= now_ns + options().active_ns);
	close(p.client);
	close(p.server);
}

TEST(the_counters_balance)
{
	struct kernel_counters c;

	if (!usable)
		return;
	CHECK_INT(kernel_sweep(kernel, true), 0);
	CHECK_INT(kernel_get_counters(kernel, KERNEL_FLOWS, &c), 0);
	CHECK(c.seen > 0);
	CHECK_INT(c.ring_full + c.no_room, 0);
	printf("# seen %llu submitted %llu filtered %llu live %lld skipped %llu\n",
	       (unsigned long long)c.seen, (unsigned long long)c.submitted,
	       (unsigned long long)c.filtered, (long long)c.live, (unsigned long long)c.skipped);
	/* Other programs of this host may have flows open. */
	CHECK((long long)c.live >= 0);
}

/* More peers than flows.max: none of their packets is left out. */
TEST(a_flood_is_summed_up)
{
	const uint32_t peers = 6000, ours = htonl(0x7f4d0001); /* 127.77.0.1 */
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = ours };
	uint64_t kept = 0, packets = 0, bytes = 0, flows = 0, taken;
	const void *sample;
	size_t size;
	int fd;

	if (!usable)
		return;
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK(bind(fd, (void *)&at, sizeof(at)) == 0);
	at.sin_port = htons(9);
	for (uint32_t i = 0; i < 2 * peers; i++) {
		at.sin_addr.s_addr = htonl(0x7f4e0000 + i / 2); /* each twice */
		/* Refused before: nobody listens there. */
		if (sendto(fd, "hello", 5, 0, (void *)&at, sizeof(at)) < 0)
			CHECK(sendto(fd, "hello", 5, 0, (void *)&at, sizeof(at)) == 5);
	}
	/* The ring is smaller than the table. */
	do {
		taken = 0;
		CHECK_INT(kernel_sweep(kernel, true), 0);
		while (ring_next(ring, &sample, &size) > 0) {
			struct event_header h;
			struct event_flow e;
			struct event_flood f;

			memcpy(&h, sample, sizeof(h));
			taken++;
			if (h.type == EVENT_FLOOD && size == sizeof(f)) {
				memcpy(&f, sample, sizeof(f));
				if (f.source.address[0] != (ours & htonl(0xffffff00)) ||
				    f.source.protocol != IPPROTO_UDP)
					continue;
				CHECK_INT(f.source.prefix_len, 24);
				CHECK_INT(f.source.direction, FLOW_OUT);
				packets += f.packets;
				bytes += f.bytes;
				flows += f.flows;
			} else if (h.type == EVENT_FLOW && size == sizeof(e)) {
				memcpy(&e, sample, sizeof(e));
				if (memcmp(e.local, &ours, 4) || e.protocol != IPPROTO_UDP)
					continue;
				kept++;
				packets += e.out_packets;
				bytes += e.out_bytes;
			}
		}
		ring_release(ring, ring_position(ring));
	} while (taken);
	CHECK_INT(packets, 2 * peers);
	CHECK_INT(bytes, 2 * peers * 33);
	CHECK(kept > 0 && flows > 0);
	/* The other side of a packet was refused between two of one flow, perhaps. */
	CHECK(kept + flows >= peers && kept + flows <= 2 * peers);
	close(fd);
}

/* More connections at once than flows.max: each is told, at the latest when it ends. */
TEST(tcp_without_room_is_told_at_its_end)
{
	enum { PAIRS = 2500, SENT = 10 };
	static int clients[PAIRS], servers[PAIRS];
	struct rlimit files = { .rlim_cur = 2 * PAIRS + 100, .rlim_max = 2 * PAIRS + 100 };
	uint64_t told = 0, adopted = 0, wrong = 0;
	struct kernel_counters before, after;
	struct sockaddr_storage ss;
	socklen_t len = loopback(AF_INET, &ss);
	int listener;
	char bytes[SENT] = { 0 };
	const void *sample;
	uint16_t port;
	size_t size;

	if (!usable)
		return;
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &files), 0);
	kernel_get_counters(kernel, KERNEL_FLOWS, &before);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(bind(listener, (void *)&ss, len) == 0 && listen(listener, 8) == 0);
	getsockname(listener, (void *)&ss, &len);
	port = port_of(&ss);
	for (int i = 0; i < PAIRS; i++) {
		clients[i] = socket(AF_INET, SOCK_STREAM, 0);
		CHECK(connect(clients[i], (void *)&ss, len) == 0);
		servers[i] = accept(listener, NULL, NULL);
		CHECK(write(clients[i], bytes, SENT) == SENT);
	}
	kernel_get_counters(kernel, KERNEL_FLOWS, &after);
	CHECK(after.no_room - before.no_room >= 2 * PAIRS - 4096);
	for (int i = 0; i < PAIRS; i++) {
		CHECK(read(servers[i], bytes, SENT) == SENT);
		close(clients[i]);
		close(servers[i]);
		if (i % 500 < 499)
			continue;
		nap();
		while (ring_next(ring, &sample, &size) > 0) {
			struct event_flow e;

			memcpy(&e, sample, size < sizeof(e) ? size : sizeof(e));
			if (e.h.type != EVENT_FLOW || size < sizeof(e) ||
			    e.protocol != IPPROTO_TCP ||
			    (e.local_port != port && e.remote_port != port))
				continue;
			told++;
			adopted += (e.flags & FLOW_NO_START) != 0;
			wrong += e.local_port == port ? e.in_total != SENT || e.out_total
						      : e.out_total != SENT || e.in_total;
		}
		ring_release(ring, ring_position(ring));
	}
	close(listener);
	CHECK_INT(told, 2 * PAIRS);
	CHECK(adopted > 0);
	CHECK_INT(wrong, 0);
}

TEST(exec_is_remembered)
{
	struct kernel_exec exec;
	pid_t child;

	if (!usable)
		return;
	child = fork();
	if (child == 0) {
		execl("/bin/sleep", "sleep", "0", NULL);
		_exit(127);
	}
	waitpid(child, NULL, 0);
	CHECK_INT(kernel_find_exec(kernel, (uint32_t)child, 0, &exec), 0);
	CHECK_STR(exec.filename, "/bin/sleep");
	CHECK_INT(exec.args_len, 8);
	CHECK_STR(exec.args + 6, "0");
	CHECK_INT(exec.ppid, getpid());
	CHECK_INT(kernel_find_exec(kernel, (uint32_t)child, exec.start_ns + 1, &exec), -ENOENT);
}

/* The folder of the one capture that is there. */
static bool find_capture(char ret[static 512])
{
	DIR *d = opendir(dir);
	struct dirent *e;

	*ret = 0;
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			snprintf(ret, 512, "%s/%s", dir, e->d_name);
	if (d)
		closedir(d);
	return *ret;
}

TEST(a_stop_that_was_killed_in_its_middle_is_no_capture_that_goes_on)
{
	static const char *const gone[] = { "tcp_set_state", "tcp_destroy", "tcp_reader" };
	char at[512], path[640];
	struct event_flow e;
	struct pair p;

	if (!usable)
		return;
	CHECK(find_capture(at));
	snprintf(path, sizeof(path), "%s/stopped", at);
	CHECK_INT(mkdir(path, 0700), 0);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/flows/links/%s", at, gone[i]);
		CHECK_INT(unlink(path), 0);
	}
	leave();
	attach();
	if (!ring)
		return;
	CHECK(!kernel_was_adopted(kernel));
	p = connect_pair(AF_INET);
	close(p.client);
	close(p.server);
	nap();
	CHECK_INT(find_flow(IPPROTO_TCP, p.client_port, p.server_port, &e), 1);
	CHECK(kernel_has_older(kernel));
	kernel_drop_older(kernel);
	CHECK(!kernel_has_older(kernel));
}

TEST(cleanup_leaves_nothing)
{
	if (!usable)
		return;
	kernel_detach(kernel);
	leave();
	CHECK_INT(kernel_cleanup(dir), 1);
	CHECK(access(dir, F_OK) < 0);
}
