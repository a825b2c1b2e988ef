/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP whose every datagram is known: a client process sends, a server process
 * answers some, one at a time, so that no buffer overflows and nothing is
 * lost. The truth file says what each flow was; both ends count, and must agree.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/peers/truth.h"
#include "user/util/clock.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#define GSO_SEGMENTS  4
#define GSO_MAX_BYTES 1200
#define UDP_MAX_BYTES 65487 /* with IPv6's header: all of the loopback's MTU */
#define MAX_SIZES     32

struct options {
	const char *v4, *v6, *bind_v4, *bind_v6, *client_netns, *server_netns;
	uint32_t flows, max_packets, max_bytes, timeout_s, sizes[MAX_SIZES], n_sizes;
	uint64_t seed;
	bool gso;
	const char *truth;
};

static const char help[] =
	"Usage: udpgen [OPTION]... --truth FILE\n"
	"Makes UDP flows of known size between two processes of its own, and writes\n"
	"a line of JSON about each of them.\n\n"
	"  --flows N           how many (1000)\n"
	"  --max-packets N     datagrams from the client, 1 to N; answers: 0 to those (8)\n"
	"  --max-bytes B       of payload, 0 to B (1400)\n"
	"  --sizes B[,B...]    these sizes in turn, instead\n"
	"  --gso               the client lets the kernel cut four datagrams from one send\n"
	"  --seed S            of sizes and numbers (1)\n"
	"  --v4 ADDR --v6 ADDR the server's addresses; \"\": not this family (127.0.0.1, ::1)\n"
	"  --bind-v4, --bind-v6 ADDR  the client's, if they are others\n"
	"  --client-netns, --server-netns NAME  where each of them lives\n"
	"  --timeout S         give up (60)\n"
	"  --truth FILE        where the truth goes\n\n"
	"IP bytes in the truth are the payload, 8 of UDP and 20 (IPv4) or 40 (IPv6).\n";

static char payload[65536];

/* The payload of datagram k (from 0) of flow i, by both ends alike. */
static uint32_t datagram_size(const struct options *o, uint32_t i, uint32_t k, bool answer)
{
	uint64_t state = o->seed ^ (uint64_t)i << 24 ^ (uint64_t)k << 1 ^ answer;

	if (o->n_sizes)
		return o->sizes[(i + k + answer) % o->n_sizes];
	truth_random(&state);
	return truth_size(&state, o->max_bytes);
}

/* ------------------------------------------------------------------ server */

static void server_answer(struct truth *t, const struct options *o, int fd, unsigned family,
			  unsigned port)
{
	union truth_addr peer;
	socklen_t len = sizeof(peer);
	ssize_t n = recvfrom(fd, payload, sizeof(payload), 0, &peer.sa, &len);
	struct truth_entry *e = n < 0 ? NULL : truth_find(t, family, port, &peer);
	uint32_t k, size;

	if (!e)
		return;
	k = atomic_load(&e->server_packets_received);
	e->server_pid = (uint32_t)getpid();
	e->server_received += (uint64_t)n;
	if (k < e->to_client) {
		size = datagram_size(o, (uint32_t)(e - t->entries), k, true);
		if (sendto(fd, payload, size, 0, &peer.sa, len) == (ssize_t)size) {
			e->server_sent += size;
			e->server_packets_sent++;
		}
	}
	atomic_store(&e->server_packets_received, k + 1);
}

static int server_run(struct truth *t, const struct options *o, const union truth_addr to[2],
		      int ready_fd)
{
	struct pollfd fds[2 * TRUTH_PORTS];

	for (unsigned i = 0; i < 2 * TRUTH_PORTS; i++) {
		union truth_addr at = to[i / TRUTH_PORTS];
		socklen_t len = truth_addr_len(&at);

		fds[i] = (struct pollfd){ .fd = -1, .events = POLLIN };
		if (at.sa.sa_family == AF_UNSPEC)
			continue;
		fds[i].fd = socket(at.sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		truth_set_port(&at, 0);
		if (fds[i].fd < 0 || bind(fds[i].fd, &at.sa, len) < 0 ||
		    getsockname(fds[i].fd, &at.sa, &len) < 0)
			return -errno;
		t->ports[i / TRUTH_PORTS][i % TRUTH_PORTS] = truth_port_of(&at);
	}
	if (write(ready_fd, "", 1) != 1)
		return -errno;
	for (;;) {
		if (poll(fds, 2 * TRUTH_PORTS, -1) < 0)
			return -errno;
		for (unsigned i = 0; i < 2 * TRUTH_PORTS; i++)
			if (fds[i].revents)
				server_answer(t, o, fds[i].fd, i / TRUTH_PORTS, i % TRUTH_PORTS);
	}
}

/* ------------------------------------------------------------------ client */

/* One datagram, or with segment several from one buffer. */
static bool client_send(int fd, size_t size, uint16_t segment, const union truth_addr *to)
{
	char control[CMSG_SPACE(sizeof(uint16_t))] = { 0 };
	struct iovec iov = { payload, size };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (to) {
		m.msg_name = (void *)to;
		m.msg_namelen = truth_addr_len(to);
	}
	if (segment) {
		struct cmsghdr *c;

		m.msg_control = control;
		m.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_UDP;
		c->cmsg_type = UDP_SEGMENT;
		c->cmsg_len = CMSG_LEN(sizeof(segment));
		memcpy(CMSG_DATA(c), &segment, sizeof(segment));
	}
	return sendmsg(fd, &m, 0) == (ssize_t)size;
}

/* Until the server has counted n datagrams, and their answers are here. */
static bool client_await(struct truth_entry *e, int fd, uint32_t n)
{
	uint32_t answers = n < e->to_client ? n : e->to_client;
	uint64_t until_ms = clock_mono_ms() + 5000;
	ssize_t got;

	while (e->client_packets_received < answers) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (poll(&p, 1, 5000) <= 0)
			return false;
		got = recv(fd, payload, sizeof(payload), 0);
		if (got < 0)
			return false;
		e->client_received += (uint64_t)got;
		e->client_packets_received++;
	}
	while (atomic_load(&e->server_packets_received) < n) {
		if (clock_mono_ms() > until_ms)
			return false;
		sched_yield();
	}
	return true;
}

static int client_flow(struct truth *t, const struct options *o, uint32_t i,
		       const union truth_addr to[2], const union truth_addr from[2])
{
	struct truth_entry *e = &t->entries[i];
	union truth_addr at = to[e->family];
	_cleanup_close_ int fd = -1;
	bool connected = i & 2; /* both ways to use a socket */
	int err;

	do {
		close_fd(fd);
		fd = socket(at.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			return -errno;
		err = truth_bind(t, i, fd, &from[e->family], false);
	} while (err == -EAGAIN);
	if (err)
		return err;
	truth_set_port(&at, e->dport);
	if (connected && connect(fd, &at.sa, truth_addr_len(&at)) < 0)
		return -errno;
	e->client_pid = (uint32_t)getpid();
	while (e->client_packets_sent < e->to_server) {
		uint32_t k = e->client_packets_sent, n = 1;
		uint32_t size = datagram_size(o, i, k, false);

		if (o->gso && size && e->to_server - k >= GSO_SEGMENTS) {
			n = GSO_SEGMENTS;
			if (size > GSO_MAX_BYTES)
				size = GSO_MAX_BYTES;
		}
		if (!client_send(fd, (size_t)size * n, n > 1 ? (uint16_t)size : 0,
				 connected ? NULL : &at)) {
			snprintf(e->error, sizeof(e->error), "%s", strerrorname_np(errno));
			break;
		}
		e->client_sent += (uint64_t)size * n;
		e->client_packets_sent += n;
		if (!client_await(e, fd, k + n)) {
			snprintf(e->error, sizeof(e->error), "LOST");
			break;
		}
	}
	return 0;
}

/* ------------------------------------------------------------------ the run */

static int write_truth(const struct truth *t, const struct options *o)
{
	const char *src[2] = { o->bind_v4 ? o->bind_v4 : o->v4, o->bind_v6 ? o->bind_v6 : o->v6 };
	const char *dst[2] = { o->v4, o->v6 };
	FILE *f = fopen(o->truth, "we");

	if (!f)
		return -errno;
	for (uint32_t i = 0; i < t->n; i++) {
		const struct truth_entry *e = &t->entries[i];
		unsigned header = e->family == TRUTH_V4 ? 28 : 48;

		fprintf(f,
			"{\"proto\":17,\"src\":\"%s\",\"sport\":%u,\"dst\":\"%s\",\"dport\":%u,"
			"\"sent\":%" PRIu64 ",\"received\":%" PRIu64
			",\"sent_datagrams\":%u,\"received_datagrams\":%u,\"sent_ip_bytes\":%" PRIu64
			",\"received_ip_bytes\":%" PRIu64
			",\"client_pid\":%u,\"server_pid\":%u,\"mode\":\"udp\",\"error\":\"%s\"}\n",
			src[e->family], e->sport, dst[e->family], e->dport, e->client_sent,
			e->client_received, e->client_packets_sent, e->client_packets_received,
			e->client_sent + (uint64_t)header * e->client_packets_sent,
			e->client_received + (uint64_t)header * e->client_packets_received,
			e->client_pid, e->server_pid, e->error);
	}
	return fclose(f) ? -errno : 0;
}

/* Forks; the child dies with us and lives in the namespace, if one is given. */
static pid_t spawn(const char *netns)
{
	pid_t pid = fork();
	int err;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	err = netns ? truth_enter_netns(netns) : 0;
	if (err) {
		log_error("network namespace %s: %s", netns, log_strerror(err));
		_exit(1);
	}
	return 0;
}

static int client_run(struct truth *t, const struct options *o, const union truth_addr to[2],
		      const union truth_addr from[2])
{
	int err;

	for (uint32_t i = 0; i < t->n; i++) {
		err = client_flow(t, o, i, to, from);
		if (err) {
			log_error("flow %u: %s", i, log_strerror(err));
			return err;
		}
	}
	return 0;
}

static uint32_t report(const struct truth *t)
{
	uint64_t sent = 0, received = 0, packets_sent = 0, packets_received = 0;
	uint32_t wrong = 0;

	for (uint32_t i = 0; i < t->n; i++) {
		const struct truth_entry *e = &t->entries[i];

		sent += e->client_sent;
		received += e->client_received;
		packets_sent += e->client_packets_sent;
		packets_received += e->client_packets_received;
		if (!e->error[0] && e->client_packets_sent == e->to_server &&
		    e->client_packets_received == e->to_client &&
		    e->server_packets_received == e->to_server &&
		    e->server_packets_sent == e->to_client &&
		    e->client_sent == e->server_received && e->client_received == e->server_sent)
			continue;
		if (wrong++ < 10)
			log_warning(
				"port %u to %u: planned %u/%u datagrams, client %u/%u, server %u/%u, "
				"error \"%s\"",
				e->sport, e->dport, e->to_server, e->to_client,
				e->client_packets_sent, e->client_packets_received,
				e->server_packets_received, e->server_packets_sent, e->error);
	}
	printf("{\"flows\":%u,\"sent\":%" PRIu64 ",\"received\":%" PRIu64
	       ",\"sent_datagrams\":%" PRIu64 ",\"received_datagrams\":%" PRIu64 ",\"wrong\":%u}\n",
	       t->n, sent, received, packets_sent, packets_received, wrong);
	return wrong;
}

static int run(const struct options *o)
{
	struct truth *t = truth_new(o->flows);
	union truth_addr to[2] = { 0 }, from[2] = { 0 };
	uint64_t state = o->seed, until_ms;
	pid_t server, client, done = 0;
	int ready[2], status = 0, err;
	uint32_t wrong;
	char byte;

	if (!t)
		return -ENOMEM;
	for (uint32_t i = 0; i < t->n; i++) {
		struct truth_entry *e = &t->entries[i];

		e->family = !o->v4 || (o->v6 && i % 2) ? TRUTH_V6 : TRUTH_V4;
		e->to_server = 1 + (uint32_t)(truth_random(&state) % o->max_packets);
		e->to_client = (uint32_t)(truth_random(&state) % (e->to_server + 1));
	}
	for (unsigned f = 0; f < 2; f++) {
		const char *server_at = f ? o->v6 : o->v4, *bind_at = f ? o->bind_v6 : o->bind_v4;

		if (!server_at)
			continue;
		if (!truth_parse_addr(server_at, 0, &to[f]) ||
		    !truth_parse_addr(bind_at ? bind_at : server_at, 0, &from[f])) {
			log_error("not an address: %s", bind_at ? bind_at : server_at);
			return -EINVAL;
		}
	}

	if (pipe2(ready, O_CLOEXEC) < 0)
		return -errno;
	server = spawn(o->server_netns);
	if (server < 0)
		return -errno;
	if (!server) {
		log_error("server: %s", log_strerror(server_run(t, o, to, ready[1])));
		_exit(1);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		return -ECHILD;
	client = spawn(o->client_netns);
	if (client < 0)
		return -errno;
	if (!client)
		_exit(client_run(t, o, to, from) ? 1 : 0);

	until_ms = clock_mono_ms() + o->timeout_s * 1000ull;
	while (!done && clock_mono_ms() < until_ms) {
		done = waitpid(client, &status, WNOHANG);
		if (!done)
			usleep(1000);
	}
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	if (!done)
		kill(client, SIGKILL);
	wrong = report(t);
	if (!done || !WIFEXITED(status) || WEXITSTATUS(status)) {
		log_error("the client %s", done ? "failed" : "did not finish in time");
		return -ECHILD;
	}
	if (o->truth) {
		err = write_truth(t, o);
		if (err) {
			log_error("%s: %s", o->truth, log_strerror(err));
			return err;
		}
	}
	return wrong ? -EBADMSG : 0;
}

static void parse_sizes(const char *text, struct options *o)
{
	char *end;

	while (*text && o->n_sizes < MAX_SIZES) {
		o->sizes[o->n_sizes++] = truth_number(text, &end, 0, UDP_MAX_BYTES);
		text = end + (*end == ',');
	}
}

int main(int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "flows", 1, NULL, 'n' },	  { "max-packets", 1, NULL, 'p' },
		{ "max-bytes", 1, NULL, 'b' },	  { "sizes", 1, NULL, 'z' },
		{ "gso", 0, NULL, 'g' },	  { "seed", 1, NULL, 's' },
		{ "v4", 1, NULL, '4' },		  { "v6", 1, NULL, '6' },
		{ "bind-v4", 1, NULL, 'B' },	  { "bind-v6", 1, NULL, 'C' },
		{ "client-netns", 1, NULL, 'c' }, { "server-netns", 1, NULL, 'r' },
		{ "timeout", 1, NULL, 't' },	  { "truth", 1, NULL, 'o' },
		{ "help", 0, NULL, 'h' },	  { 0 },
	};
	struct options o = { .v4 = "127.0.0.1",
			     .v6 = "::1",
			     .flows = 1000,
			     .max_packets = 8,
			     .max_bytes = 1400,
			     .timeout_s = 60,
			     .seed = 1 };
	int c;

	log_set_name("udpgen");
	while ((c = getopt_long(argc, argv, "h", longopts, NULL)) != -1) {
		switch (c) {
		case 'n':
			o.flows = truth_number(optarg, NULL, 1, TRUTH_MAX_ENTRIES);
			break;
		case 'p':
			o.max_packets = truth_number(optarg, NULL, 1, 100000);
			break;
		case 'b':
			o.max_bytes = truth_number(optarg, NULL, 0, UDP_MAX_BYTES);
			break;
		case 'z':
			parse_sizes(optarg, &o);
			break;
		case 'g':
			o.gso = true;
			break;
		case 's':
			o.seed = strtoull(optarg, NULL, 10);
			break;
		case '4':
			o.v4 = *optarg ? optarg : NULL;
			break;
		case '6':
			o.v6 = *optarg ? optarg : NULL;
			break;
		case 'B':
			o.bind_v4 = optarg;
			break;
		case 'C':
			o.bind_v6 = optarg;
			break;
		case 'c':
			o.client_netns = optarg;
			break;
		case 'r':
			o.server_netns = optarg;
			break;
		case 't':
			o.timeout_s = truth_number(optarg, NULL, 1, 86400);
			break;
		case 'o':
			o.truth = optarg;
			break;
		case 'h':
			fputs(help, stdout);
			return 0;
		default:
			return 2;
		}
	}
	if (optind < argc || (!o.v4 && !o.v6)) {
		log_error("nothing to do; see --help");
		return 2;
	}
	return run(&o) ? EXIT_FAILURE : EXIT_SUCCESS;
}
