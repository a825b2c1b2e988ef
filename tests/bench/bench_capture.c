/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What our BPF costs the host: the same load with and without it attached, in
 * alternating rounds, so that a busy neighbour hits both alike. Prints medians
 * and their ratio. A drained ring and nothing else: the collector's own work
 * is measured apart.
 *
 *   conn   connect, 64 bytes, 64 bytes back, close: connections/s
 *   rr     request and response of 64 bytes on one connection: exchanges/s
 *   tcp    one TCP stream: MB/s
 *   udp    datagrams of 64 bytes: datagrams/s
 *   exec   fork, exec of /bin/true, exit: processes/s; "filtered" is without kernel events
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "user/probe.h"
#include "user/ring.h"
#include "user/util/clock.h"

#define MAX_ROUNDS 51

static volatile uint64_t *done_count; /* shared with the children */
static char dir[64];

struct load {
	const char *name, *unit;
	void (*server)(int fd);
	void (*client)(const struct sockaddr_in *to);
	int type;
};

static void conn_server(int fd)
{
	char bytes[64];

	for (;;) {
		int c = accept(fd, NULL, NULL);

		if (c < 0)
			continue;
		if (read(c, bytes, sizeof(bytes)) == sizeof(bytes) &&
		    write(c, bytes, sizeof(bytes)) != sizeof(bytes))
			abort();
		close(c);
	}
}

static void conn_client(const struct sockaddr_in *to)
{
	char bytes[64] = { 0 };

	for (;;) {
		int c = socket(AF_INET, SOCK_STREAM, 0);

		if (connect(c, (const void *)to, sizeof(*to)) == 0 &&
		    write(c, bytes, sizeof(bytes)) == sizeof(bytes) &&
		    read(c, bytes, sizeof(bytes)) == sizeof(bytes))
			++*done_count;
		/* The server closes last and its port pays the TIME_WAIT... of one address. */
		close(c);
	}
}

static void rr_server(int fd)
{
	char bytes[64];
	int c = accept(fd, NULL, NULL);

	while (read(c, bytes, sizeof(bytes)) > 0)
		if (write(c, bytes, sizeof(bytes)) < 0)
			break;
}

static void rr_client(const struct sockaddr_in *to)
{
	char bytes[64] = { 0 };
	int c = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(c, (const void *)to, sizeof(*to)) < 0)
		abort();
	while (write(c, bytes, sizeof(bytes)) > 0 && read(c, bytes, sizeof(bytes)) > 0)
		++*done_count;
}

static void tcp_server(int fd)
{
	static char bytes[128 << 10];
	int c = accept(fd, NULL, NULL);

	while (read(c, bytes, sizeof(bytes)) > 0)
		;
}

static void tcp_client(const struct sockaddr_in *to)
{
	static char bytes[128 << 10];
	int c = socket(AF_INET, SOCK_STREAM, 0);
	uint64_t bytes_sent = 0;
	ssize_t n;

	if (connect(c, (const void *)to, sizeof(*to)) < 0)
		abort();
	while ((n = write(c, bytes, sizeof(bytes))) > 0) {
		bytes_sent += (uint64_t)n;
		*done_count = bytes_sent / 1000000;
	}
}

static void udp_server(int fd)
{
	char bytes[64];

	while (read(fd, bytes, sizeof(bytes)) >= 0)
		;
}

static void udp_client(const struct sockaddr_in *to)
{
	char bytes[64] = { 0 };
	int c = socket(AF_INET, SOCK_DGRAM, 0);

	if (connect(c, (const void *)to, sizeof(*to)) < 0)
		abort();
	for (;;)
		if (write(c, bytes, sizeof(bytes)) > 0)
			++*done_count;
}

static void exec_server(int fd)
{
	(void)fd;
	for (;;)
		pause();
}

static void exec_client(const struct sockaddr_in *to)
{
	char *argv[] = { (char *)"true", (char *)"of the benchmark", NULL }, *envp[] = { NULL };
	pid_t pid;

	(void)to;
	while (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, envp) == 0 &&
	       waitpid(pid, NULL, 0) == pid)
		++*done_count;
}

static const struct load loads[] = {
	{ "conn", "connections/s", conn_server, conn_client, SOCK_STREAM },
	{ "rr", "exchanges/s", rr_server, rr_client, SOCK_STREAM },
	{ "tcp", "MB/s", tcp_server, tcp_client, SOCK_STREAM },
	{ "udp", "datagrams/s", udp_server, udp_client, SOCK_DGRAM },
	{ "exec", "processes/s", exec_server, exec_client, SOCK_DGRAM },
};

/* One round: what the load does in a second. */
static double run_load(const struct load *l, unsigned ms)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(to);
	int fd = socket(AF_INET, l->type, 0), one = 1;
	uint64_t from, from_ns, to_ns;
	pid_t server, client;
	double ret;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (void *)&to, sizeof(to)) < 0 ||
	    (l->type == SOCK_STREAM && listen(fd, 1024) < 0)) {
		perror("listen");
		exit(1);
	}
	getsockname(fd, (void *)&to, &len);
	*done_count = 0;
	server = fork();
	if (!server) {
		l->server(fd);
		_exit(0);
	}
	client = fork();
	if (!client) {
		close(fd);
		l->client(&to);
		_exit(0);
	}
	close(fd);
	usleep(50000);
	from = *done_count;
	from_ns = clock_boot_ns();
	usleep(ms * 1000);
	ret = (double)(*done_count - from);
	to_ns = clock_boot_ns();
	kill(client, SIGKILL);
	kill(server, SIGKILL);
	waitpid(client, NULL, 0);
	waitpid(server, NULL, 0);
	return ret * 1e9 / (double)(to_ns - from_ns);
}

/* Keeps the ring from filling, several times a second, as the collector does. */
static pid_t start_drain(const struct kernel *k)
{
	pid_t pid = fork();
	static const enum kernel_source sources[] = { KERNEL_FLOWS, KERNEL_EVENTS, KERNEL_NAMES };
	struct ring *rings[sizeof(sources) / sizeof(sources[0])];
	int n = 0;
	const void *sample;
	size_t size;

	if (pid)
		return pid;
	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
		if (kernel_has(k, sources[i]) &&
		    ring_new(kernel_ring_fd(k, sources[i]), &rings[n++]) < 0)
			_exit(1);
	for (;;) {
		for (int i = 0; i < n; i++) {
			while (ring_next(rings[i], &sample, &size))
				;
			ring_release(rings[i], ring_position(rings[i]));
		}
		usleep(20000);
	}
}

static double run_attached(const struct load *l, unsigned ms, bool loopback, bool names)
{
	struct kernel_opts o = {
		.dir = dir,
		.wanted = { true, true, true, [KERNEL_EVENTS] = loopback, [KERNEL_NAMES] = names },
		.events = CLASS_ALL,
		.events_ring_bytes = 16 << 20,
		.names_ring_bytes = 2 << 20,
		.names_dns = names,
		.names_tls = names,
		.names_quic = names,
		.flow_ring_bytes = 16 << 20,
		.journal_ring_bytes = 1 << 20,
		.flows_max = 65536,
		.active_ns = 60000000000ull,
		.idle_ns = 15000000000ull,
		.loopback = loopback,
	};
	struct kernel *k;
	char text[300];
	pid_t drain;
	double ret;

	if (kernel_new(&o, text, sizeof(text), &k) < 0) {
		fprintf(stderr, "%s\n", text);
		exit(1);
	}
	drain = start_drain(k);
	ret = run_load(l, ms);
	kill(drain, SIGKILL);
	waitpid(drain, NULL, 0);
	kernel_free(k);
	kernel_cleanup(dir);
	return ret;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), compare);
	return v[n / 2];
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[2]) : 7;
	unsigned ms = argc > 3 ? (unsigned)atoi(argv[3]) : 700;
	const char *only = argc > 1 ? argv[1] : "all";

	if (rounds < 1 || rounds > MAX_ROUNDS)
		rounds = 7;
	done_count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (done_count == MAP_FAILED)
		return 1;
	snprintf(dir, sizeof(dir), "/sys/fs/bpf/sekoia-bench-%d", getpid());
	printf("%-5s %11s %11s %7s %11s %7s %11s %7s  %s\n", "load", "without", "captured", "ratio",
	       "with names", "ratio", "filtered", "ratio", "unit");
	for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
		double without[MAX_ROUNDS], captured[MAX_ROUNDS], named[MAX_ROUNDS],
			filtered[MAX_ROUNDS];
		double base, with, names, skip;

		if (strcmp(only, "all") && strcmp(only, loads[i].name))
			continue;
		for (int r = 0; r < rounds; r++) {
			without[r] = run_load(&loads[i], ms);
			captured[r] = run_attached(&loads[i], ms, true, false);
			named[r] = run_attached(&loads[i], ms, true, true);
			filtered[r] = run_attached(&loads[i], ms, false, false);
		}
		base = median(without, rounds);
		with = median(captured, rounds);
		names = median(named, rounds);
		skip = median(filtered, rounds);
		printf("%-5s %11.0f %11.0f %7.3f %11.0f %7.3f %11.0f %7.3f  %s\n", loads[i].name,
		       base, with, with / base, names, names / base, skip, skip / base,
		       loads[i].unit);
		fflush(stdout);
	}
	rmdir(dir);
	return 0;
}
