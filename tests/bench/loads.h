/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a host is kept busy with, one process that asks and one that answers, on one CPU:
 *
 *   conn     connect, 64 bytes, 64 bytes back, close: connections/s
 *   rr       request and response of 64 bytes on one connection: exchanges/s
 *   tcp      one TCP stream: MB/s
 *   udp      datagrams of 64 bytes: datagrams/s
 *   exec     fork, exec of /bin/true, exit: processes/s
 *   syscall  getppid(), which we do not hook: calls/s
 *   journal  native messages to the journald of this mount namespace: lines/s
 */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "user/util/clock.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

static volatile uint64_t *done_count; /* shared with the children */

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

static void idle_server(int fd)
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

static void syscall_client(const struct sockaddr_in *to)
{
	(void)to;
	for (;;) {
		for (int i = 0; i < 100; i++)
			syscall(SYS_getppid);
		*done_count += 100;
	}
}

/* A full queue makes us wait, so this is the rate of journald. */
static void journal_client(const struct sockaddr_in *to)
{
	static const char line[] =
		"MESSAGE=a line of the benchmark, as long as most lines of a log are\n"
		"PRIORITY=6\nSYSLOG_IDENTIFIER=bench\n";
	struct sockaddr_un journal = { .sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET };
	int c = socket(AF_UNIX, SOCK_DGRAM, 0);

	(void)to;
	if (connect(c, (const void *)&journal, sizeof(journal)) < 0)
		abort();
	while (write(c, line, sizeof(line) - 1) > 0)
		++*done_count;
}

static const struct load loads[] = {
	{ "conn", "connections/s", conn_server, conn_client, SOCK_STREAM },
	{ "rr", "exchanges/s", rr_server, rr_client, SOCK_STREAM },
	{ "tcp", "MB/s", tcp_server, tcp_client, SOCK_STREAM },
	{ "udp", "datagrams/s", udp_server, udp_client, SOCK_DGRAM },
	{ "exec", "processes/s", idle_server, exec_client, SOCK_DGRAM },
	{ "syscall", "calls/s", idle_server, syscall_client, SOCK_DGRAM },
	{ "journal", "lines/s", idle_server, journal_client, SOCK_DGRAM },
};

/* Both ends on one CPU: its time is what counts, not how fast another one wakes up. */
static void pin(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		perror("sched_setaffinity");
}

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
		pin();
		l->server(fd);
		_exit(0);
	}
	client = fork();
	if (!client) {
		pin();
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
