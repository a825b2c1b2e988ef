/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes events whose number is known: short TCP connections on loopback, the
 * Ith from 127.X.(I / 256).(I % 256), so that each record names its number and
 * a missing or repeated one is seen. Each carries I % 1000 + 1 bytes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "user/util/cleanup.h"

#define BYTES_MAX 1000

static int fail(const char *what)
{
	fprintf(stderr, "emit: %s: %s\n", what, strerror(errno));
	return -1;
}

static struct sockaddr_in at(unsigned net, unsigned i, uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = port,
				     .sin_addr.s_addr = htonl(127u << 24 | net << 16 | i) };
}

static int listen_on(unsigned net, struct sockaddr_in *ret)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*ret);
	int one = 1;

	*ret = at(net, 0xfffe, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)ret, len) < 0 || listen(fd, 16) < 0 ||
	    getsockname(fd, (struct sockaddr *)ret, &len) < 0)
		return fail("listen");
	return TAKE_FD(fd);
}

static int connect_once(int listener, const struct sockaddr_in *to, unsigned net, unsigned i)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), peer = -1;
	struct sockaddr_in from = at(net, i, 0);
	static const char bytes[BYTES_MAX];
	char in[BYTES_MAX];

	if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0 ||
	    connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
		return fail("connect");
	peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (peer < 0)
		return fail("accept");
	if (send(fd, bytes, i % BYTES_MAX + 1, MSG_NOSIGNAL) < 0)
		return fail("send");
	/* The client first: its end of the connection waits, the server's is gone at once. */
	if (shutdown(fd, SHUT_WR) < 0)
		return fail("shutdown");
	while (recv(peer, in, sizeof(in), 0) > 0)
		;
	return 0;
}

/* Keeps to the rate on the whole: who is late does not wait. */
static void wait_for_turn(const struct timespec *start, unsigned done, unsigned rate)
{
	uint64_t ns = (uint64_t)start->tv_nsec + (uint64_t)done * 1000000000 / rate;
	struct timespec due = { .tv_sec = start->tv_sec + (time_t)(ns / 1000000000),
				.tv_nsec = (long)(ns % 1000000000) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "net", required_argument, NULL, 'x' },
		{ "first", required_argument, NULL, 'f' },
		{ "count", required_argument, NULL, 'n' },
		{ "rate", required_argument, NULL, 'r' },
		{ "note", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	bool note = false;
	unsigned net = 0, first = 1, count = 1, rate = 0;
	_cleanup_close_ int listener = -1;
	struct sockaddr_in to;
	struct timespec start;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		unsigned n = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;

		switch (c) {
		case 'x':
			net = n;
			break;
		case 'f':
			first = n;
			break;
		case 'n':
			count = n;
			break;
		case 'r':
			rate = n;
			break;
		case 'o':
			note = true;
			break;
		default:
			net = 0;
		}
	}
	if (!net || net > 254 || first + count > 0xff00) {
		fprintf(stderr,
			"Usage: emit --net X [--first I] [--count N] [--rate PER_SECOND] [--note TEXT]\n"
			"N connections to 127.X.255.254, the Ith from 127.X.(I/256).(I%%256)\n");
		return 2;
	}
	listener = listen_on(net, &to);
	if (listener < 0)
		return EXIT_FAILURE;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (unsigned i = 0; i < count; i++) {
		if (rate)
			wait_for_turn(&start, i, rate);
		if (connect_once(listener, &to, net, first + i) < 0)
			return EXIT_FAILURE;
	}
	/* It is there to be long, in the records of this process: they are made soon. */
	if (note)
		sleep(1);
	return EXIT_SUCCESS;
}
