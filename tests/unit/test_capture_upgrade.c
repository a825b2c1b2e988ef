/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One capture takes over from another, on the running kernel, while a child makes
 * connections, a UDP flow goes on and messages are read: what both rings say
 * together is what was. Other sizes make another capture, as another version does.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <glob.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bpf/events.h"
#include "tests/lib/test.h"
#include "user/probe.h"
#include "user/ring.h"

#define CONNECTIONS_MAX 60000
#define MESSAGES_MAX	400000
#define ROUNDS		4
#define NET		(127u << 24 | 64u << 16)

static char dir[64];
static bool usable;
static struct kernel *kernel;

/* By the client's port, and the number of a message: what was, and what was reported. */
static struct shared {
	_Atomic uint32_t connections, messages, datagrams;
	_Atomic bool stop;
	uint16_t port[CONNECTIONS_MAX]; /* of each one's client */
} * shared;

static uint32_t ends[65536];
static uint64_t bytes_of[65536];
static uint8_t read_times[MESSAGES_MAX];
static uint16_t server_port, udp_from, udp_to;
static pid_t children[3];

static void nap(long ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

static int take_over(uint64_t flows_max, struct kernel **ret)
{
	struct kernel_opts o = {
		.dir = dir,
		.wanted = { true, true, true, true, true },
		.names_dns = true,
		.names_tls = true,
		.names_quic = true,
		.names_ring_bytes = 1 << 20,
		.flow_ring_bytes = 16 << 20,
		.journal_ring_bytes = 32 << 20,
		.flows_max = flows_max,
		.active_ns = 3600ull * 1000000000,
		.idle_ns = 3600ull * 1000000000,
		.loopback = true,
	};
	char text[256] = "";
	int err = kernel_new(&o, text, sizeof(text), ret);

	if (err)
		printf("# %s\n", text);
	for (int i = 0; !err && i < KERNEL_SOURCES; i++)
		if (!kernel_has(*ret, (enum kernel_source)i))
			printf("# lacks: %s\n", kernel_lacks(*ret, (enum kernel_source)i));
	return err;
}

static int bound(int type, uint16_t *port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, type, 0);

	CHECK(bind(fd, (void *)&in, len) == 0);
	getsockname(fd, (void *)&in, &len);
	*port = ntohs(in.sin_port);
	return fd;
}

static void connect_again_and_again(int listener)
{
	static char bytes[1000];

	/* Connection i comes from 127.64.0.0 + i: a port is used again too soon. */
	while (!shared->stop && shared->connections < CONNECTIONS_MAX) {
		struct sockaddr_in in = { .sin_family = AF_INET,
					  .sin_port = htons(server_port),
					  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		uint32_t i = shared->connections;
		struct sockaddr_in from = { .sin_family = AF_INET,
					    .sin_addr.s_addr = htonl(NET + i) };
		int a = socket(AF_INET, SOCK_STREAM, 0), b;

		if (bind(a, (void *)&from, sizeof(from)) < 0 ||
		    connect(a, (void *)&in, sizeof(in)) < 0)
			break;
		b = accept(listener, NULL, NULL);
		if (write(a, bytes, i % 1000 + 1) < 0 || read(b, bytes, sizeof(bytes)) < 0)
			break;
		shared->connections = i + 1;
		shutdown(a, SHUT_WR);
		while (read(b, bytes, sizeof(bytes)) > 0)
			;
		close(b);
		close(a);
		if (i % 8 == 0)
			nap(1);
	}
}

static void send_again_and_again(int udp)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons(udp_to),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	char bytes[100] = { 0 };

	while (!shared->stop) {
		if (sendto(udp, bytes, sizeof(bytes), 0, (void *)&in, sizeof(in)) == sizeof(bytes))
			shared->datagrams++;
		if (shared->datagrams % 64 == 0)
			nap(1);
	}
}

/* Reads, as a log daemon does, what it has just written: the number of the message. */
static void log_again_and_again(void)
{
	int pair[2], yes = 1;

	prctl(PR_SET_NAME, "rsyslogd");
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) < 0)
		return;
	setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes));
	nap(50);
	while (!shared->stop && shared->messages < MESSAGES_MAX) {
		uint32_t n = shared->messages;

		if (write(pair[0], &n, sizeof(n)) < 0 || read(pair[1], &n, sizeof(n)) < 0)
			break;
		shared->messages = n + 1;
		if (n % 8 == 0)
			nap(1);
	}
}

static pid_t start(void (*fn)(int), int fd)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* A program that is open here would not go when it is detached. */
		for (int other = 3; other < 256; other++)
			if (other != fd)
				close(other);
		if (fn)
			fn(fd);
		else
			log_again_and_again();
		_exit(0);
	}
	return pid;
}

static uint64_t udp_id, udp_bytes, udp_packets;
static bool udp_two_ids;

static void read_flows(struct ring *ring)
{
	const void *sample;
	size_t size;

	while (ring_next(ring, &sample, &size) > 0) {
		struct event_flow e;
		uint32_t i;

		/* Another test's flood of flows is the host's, too. */
		if (((const struct event_header *)sample)->type == EVENT_FLOOD)
			continue;
		CHECK_INT(size, sizeof(e));
		memcpy(&e, sample, sizeof(e));
		memcpy(&i, e.local, sizeof(i));
		i = ntohl(i) - NET;
		if (e.protocol == IPPROTO_TCP && e.remote_port == server_port &&
		    i < CONNECTIONS_MAX) {
			bytes_of[i] += e.out_bytes;
			ends[i] += !!(e.flags & FLOW_LAST);
			if (e.user.tgid != (uint32_t)children[0] || e.direction != FLOW_OUT ||
			    e.flags & FLOW_NO_START)
				ends[i] += 100;
		} else if (e.protocol == IPPROTO_UDP && e.local_port == udp_from &&
			   e.remote_port == udp_to) {
			udp_two_ids |= udp_id && udp_id != e.id;
			udp_id = e.id;
			udp_bytes += e.out_bytes;
			udp_packets += e.out_packets;
		}
	}
}

static void read_messages(struct ring *ring)
{
	const void *sample;
	size_t size;

	while (ring_next(ring, &sample, &size) > 0) {
		struct event_journal e;
		uint32_t n;

		memcpy(&e, sample, sizeof(e));
		if (e.reader_tgid != (uint32_t)children[2] || e.len != sizeof(n))
			continue;
		memcpy(&n, (const char *)sample + sizeof(e), sizeof(n));
		if (n < MESSAGES_MAX)
			read_times[n]++;
	}
}

static void read_all(void)
{
	for (int s = KERNEL_FLOWS; s <= KERNEL_JOURNAL; s++) {
		struct kernel_ring maps[KERNEL_OLDER_MAX + 1];
		int n = kernel_rings(kernel, (enum kernel_source)s, maps);

		for (int i = 0; i < n; i++) {
			_cleanup_(ring_freep) struct ring *ring = NULL;

			CHECK_INT(ring_new(maps[i].fd, &ring), 0);
			if (!ring)
				continue;
			if (s == KERNEL_FLOWS)
				read_flows(ring);
			else
				read_messages(ring);
			ring_release(ring, ring_position(ring));
			CHECK(maps[i].current || ring_waiting(ring) == 0);
		}
	}
}

TEST(attaches)
{
	int listener, udp, sink;

	snprintf(dir, sizeof(dir), "/sys/fs/bpf/sekoia-test-up%d", getpid());
	if (geteuid()) {
		printf("# skipped: not root\n");
		return;
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	CHECK(shared != MAP_FAILED);
	CHECK_INT(take_over(8192, &kernel), 0);
	usable = kernel;
	if (!usable)
		return;
	listener = bound(SOCK_STREAM, &server_port);
	CHECK(listen(listener, 64) == 0);
	udp = bound(SOCK_DGRAM, &udp_from);
	sink = bound(SOCK_DGRAM, &udp_to);
	(void)sink; /* full, and that is all the same: what counts is what was sent */
	children[0] = start(connect_again_and_again, listener);
	children[1] = start(send_again_and_again, udp);
	children[2] = start(NULL, -1);
	nap(20);
	kernel_find_readers(kernel);
	nap(100);
	CHECK(shared->connections > 0 && shared->datagrams > 0 && shared->messages > 0);
}

TEST(one_takes_over_from_the_other)
{
	struct kernel_counters c;
	uint64_t lost = 0, twice = 0, wrong = 0, seen = 0;

	if (!usable)
		return;
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t generation = kernel_generation(kernel);
		uint64_t lineage = kernel_lineage(kernel, KERNEL_FLOWS);

		nap(30);
		kernel_free(kernel);
		kernel = NULL;
		CHECK_INT(take_over(i % 2 ? 8192 : 10000, &kernel), 0);
		if (!kernel)
			return;
		CHECK(!kernel_was_adopted(kernel));
		CHECK(kernel_has_older(kernel));
		CHECK(kernel_generation(kernel) != generation);
		CHECK_INT(kernel_lineage(kernel, KERNEL_FLOWS), lineage);
		CHECK(kernel_lineage(kernel, KERNEL_JOURNAL) == lineage);
		nap(30);
		/* Now and then the rings of several are to be read. */
		if (i % 3 == 0)
			continue;
		read_all();
		kernel_drop_older(kernel);
		CHECK(!kernel_has_older(kernel));
	}
	shared->stop = true;
	for (int i = 0; i < 3; i++)
		waitpid(children[i], NULL, 0);
	nap(50);
	CHECK_INT(kernel_sweep(kernel, true), 0);
	read_all();

	for (uint32_t i = 0; i < shared->connections; i++) {
		lost += !ends[i];
		twice += ends[i] > 1;
		wrong += bytes_of[i] != i % 1000 + 1;
	}
	CHECK_INT(kernel_get_counters(kernel, KERNEL_FLOWS, &c), 0);
	printf("# %u connections: %llu lost, %llu twice or of another, %llu with wrong bytes, "
	       "skipped %llu missed %llu\n",
	       shared->connections, (unsigned long long)lost, (unsigned long long)twice,
	       (unsigned long long)wrong, (unsigned long long)c.skipped,
	       (unsigned long long)c.missed);
	CHECK(shared->connections > 100);
	CHECK_INT(lost, 0);
	CHECK_INT(twice, 0);
	CHECK_INT(wrong, 0);

	CHECK(shared->datagrams > 100);
	CHECK_INT(udp_packets, shared->datagrams);
	CHECK_INT(udp_bytes, 128ull * shared->datagrams);
	CHECK(!udp_two_ids);

	lost = twice = 0;
	for (uint32_t n = 0; n < shared->messages; n++) {
		/* Those before it was known that somebody reads are nobody's. */
		if (!seen && !read_times[n])
			continue;
		seen++;
		lost += !read_times[n];
		twice += read_times[n] > 1;
	}
	CHECK_INT(kernel_get_counters(kernel, KERNEL_JOURNAL, &c), 0);
	printf("# %u messages: %llu lost, %llu twice, ring full %llu, skipped %llu\n",
	       shared->messages, (unsigned long long)lost, (unsigned long long)twice,
	       (unsigned long long)c.ring_full, (unsigned long long)c.skipped);
	CHECK_INT(c.ring_full, 0);
	CHECK(seen > 100);
	/* A program that was preempted does not run for others on its CPU: not ours to mend. */
	CHECK(lost <= c.skipped);
	CHECK_INT(twice, 0);
}

/* The books of all of them are one. */
/* The map of the only capture that is there; -1: there are several. */
static int losses_map(void)
{
	char pattern[128];
	glob_t found;
	int fd = -1;

	snprintf(pattern, sizeof(pattern), "%s/*/journal/maps/stream_losses", dir);
	if (glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc == 1)
		fd = bpf_obj_get(found.gl_pathv[0]);
	globfree(&found);
	return fd;
}

TEST(the_counters_go_on)
{
	const struct journal_loss half = { .bytes = 5ull << 32, .open = 1 };
	struct kernel_counters before, after;
	struct journal_loss loss = { 0 };
	uint64_t stream = 1ull << 63; /* nobody's */
	int losses;

	if (!usable || !kernel)
		return;
	CHECK_INT(kernel_get_counters(kernel, KERNEL_JOURNAL, &before), 0);
	CHECK(before.seen >= shared->messages / 2);
	CHECK_INT(before.live, 0);
	kernel_drop_older(kernel);
	losses = losses_map();
	CHECK_INT(bpf_map_update_elem(losses, &stream, &half, BPF_NOEXIST), 0);
	close(losses);
	kernel_free(kernel);
	kernel = NULL;
	CHECK_INT(take_over(20000, &kernel), 0);
	if (!kernel)
		return;
	read_all();
	kernel_drop_older(kernel);
	/* What was lost of a stream is still to be said. */
	losses = losses_map();
	CHECK_INT(bpf_map_lookup_elem(losses, &stream, &loss), 0);
	CHECK_INT(loss.bytes, half.bytes);
	CHECK_INT(loss.open, 1);
	close(losses);
	CHECK_INT(kernel_get_counters(kernel, KERNEL_JOURNAL, &after), 0);
	CHECK(after.seen >= before.seen);
	CHECK_INT(after.live, 0);
	CHECK_INT(kernel_get_counters(kernel, KERNEL_FLOWS, &after), 0);
	CHECK(after.seen >= shared->connections * 2);
	CHECK(after.live < 1000);
}

/* The last words of a capture that was detached are taken over like any other's. */
TEST(a_detached_one_is_not_adopted)
{
	if (!usable || !kernel)
		return;
	kernel_detach(kernel);
	kernel_free(kernel);
	kernel = NULL;
	CHECK_INT(take_over(20000, &kernel), 0);
	if (!kernel)
		return;
	CHECK(!kernel_was_adopted(kernel));
	CHECK(kernel_has_older(kernel));
	CHECK_INT(kernel_lost(kernel, KERNEL_FLOWS), 0);
	read_all();
	kernel_drop_older(kernel);
	CHECK(!kernel_has_older(kernel));
}

/* As when the version before this one was killed in the middle of a downgrade. */
TEST(a_handover_of_an_older_version_is_finished)
{
	char path[160], newest[160];
	glob_t found;

	if (!usable || !kernel)
		return;
	kernel_free(kernel);
	kernel = NULL;
	CHECK_INT(take_over(8192, &kernel), 0);
	if (!kernel)
		return;
	snprintf(path, sizeof(path), "%s/*/before", dir);
	CHECK_INT(glob(path, 0, NULL, &found), 0);
	CHECK_INT(found.gl_pathc, 1);
	if (test_failed)
		return;
	snprintf(newest, sizeof(newest), "%.*s", (int)(strlen(found.gl_pathv[0]) - 7),
		 found.gl_pathv[0]);
	globfree(&found);
	snprintf(path, sizeof(path), "%.100s/journal/maps/stream_losses", newest);
	CHECK(unlink(path) == 0);
	snprintf(path, sizeof(path), "%.100s/pending", newest);
	CHECK(mkdir(path, 0700) == 0);
	kernel_free(kernel);
	kernel = NULL;
	CHECK_INT(take_over(8192, &kernel), 0);
	if (!kernel)
		return;
	CHECK(kernel_was_adopted(kernel));
	CHECK(access(path, F_OK) < 0);
	read_all();
	kernel_drop_older(kernel);
}

TEST(cleanup_leaves_nothing)
{
	if (!usable)
		return;
	kernel_free(kernel);
	CHECK(kernel_cleanup(dir) >= 1);
	CHECK(access(dir, F_OK) < 0);
}
