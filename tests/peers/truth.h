/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the traffic generators share: sizes from a seed, addresses, a table in
 * shared memory that both sides write, and the truth file made of it.
 *
 * Who is who: the client takes its source port with bind(), writes the entry,
 * publishes it under (family, server port, source port) and then connects; the
 * server finds the entry by the peer's port. So no byte on the wire is spent
 * on it, and a tuple is never used twice in one run.
 */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "user/util/cleanup.h"
#include "user/util/log.h"

#define TRUTH_PORTS	      16 /* server ports for each family, and as many closed ones behind them */
#define TRUTH_MAX_ENTRIES     1000000
#define TRUTH_PORTS_OF_KERNEL 8000 /* source ports that the kernel chooses; later ones we do */
#define TRUTH_PORT_FIRST      32768
#define TRUTH_PORT_RANGE      28000

#define TRUTH_V4 0
#define TRUTH_V6 1

union truth_addr {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* One connection, or one UDP flow. Each side writes its own half. */
struct truth_entry {
	uint8_t family; /* TRUTH_V4, TRUTH_V6 */
	uint8_t mode;
	uint16_t sport, dport;
	uint32_t to_server, to_client;	    /* bytes (TCP), datagrams (UDP), as planned */
	uint32_t rounds;		    /* TCP: connections, one after the other; 0 is 1 */
	_Atomic uint32_t handed_on;	    /* 1: the server's socket is another process's; 2: the
					       client's; 4: the process for it is there */
	char error[24];			    /* the client's errno by name, or empty */
	uint32_t client_pid, client_opener; /* who used the socket; who made it, 0: the same */
	uint64_t client_sent, client_received;
	uint32_t client_packets_sent, client_packets_received;
	_Atomic bool client_ready; /* TCP: all is exchanged, and what it sent acknowledged */

	uint32_t server_pid, server_opener;
	uint64_t server_sent, server_received;
	uint32_t server_packets_sent;
	_Atomic uint32_t server_packets_received;
	_Atomic bool server_ready;
};

struct truth {
	uint32_t n;
	uint16_t ports[2][2 * TRUTH_PORTS]; /* the server's: open ones, closed ones */
	_Atomic uint32_t clients_done, servers_done;
	_Atomic uint32_t fast_opened; /* connections whose SYN carried data */
	/* Entry number + 1, by family, server port and source port. */
	_Atomic uint32_t by_port[2][2 * TRUTH_PORTS][65536];
	struct truth_entry entries[];
};

static inline struct truth *truth_new(uint32_t n)
{
	size_t size = sizeof(struct truth) + n * sizeof(struct truth_entry);
	struct truth *t =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (t == MAP_FAILED)
		return NULL;
	t->n = n;
	return t;
}

/* splitmix64: the same seed gives the same run. */
static uint64_t truth_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* A number of the command line, up to its end; with end, or up to a comma. What is none ends the
 * program. */
static inline uint32_t truth_number(const char *text, char **end, uint32_t min, uint32_t max)
{
	char *stop;
	unsigned long long n = strtoull(text, &stop, 10);

	if (stop == text || (end ? *stop && *stop != ',' : *stop != '\0') || n < min || n > max) {
		log_error("\"%s\" is not a number from %u to %u", text, min, max);
		exit(2);
	}
	if (end)
		*end = stop;
	return (uint32_t)n;
}

/* 0 to max, small numbers as likely as large ones: first how many bits, then which. */
static inline uint32_t truth_size(uint64_t *state, uint32_t max)
{
	unsigned bits = 0;
	uint32_t n;

	while (bits < 32 && (uint64_t)1 << bits <= max)
		bits++;
	bits = (unsigned)(truth_random(state) % (bits + 1));
	n = (uint32_t)(truth_random(state) & (((uint64_t)1 << bits) - 1));
	return n > max ? max : n;
}

static bool truth_parse_addr(const char *text, uint16_t port, union truth_addr *ret)
{
	*ret = (union truth_addr){ 0 };
	if (inet_pton(AF_INET, text, &ret->v4.sin_addr) == 1) {
		ret->v4.sin_family = AF_INET;
		ret->v4.sin_port = htons(port);
		return true;
	}
	if (inet_pton(AF_INET6, text, &ret->v6.sin6_addr) == 1) {
		ret->v6.sin6_family = AF_INET6;
		ret->v6.sin6_port = htons(port);
		return true;
	}
	return false;
}

static socklen_t truth_addr_len(const union truth_addr *a)
{
	return a->sa.sa_family == AF_INET ? sizeof(a->v4) : sizeof(a->v6);
}

static uint16_t truth_port_of(const union truth_addr *a)
{
	return ntohs(a->sa.sa_family == AF_INET ? a->v4.sin_port : a->v6.sin6_port);
}

static void truth_set_port(union truth_addr *a, uint16_t port)
{
	if (a->sa.sa_family == AF_INET)
		a->v4.sin_port = htons(port);
	else
		a->v6.sin6_port = htons(port);
}

/* Takes a server port (or a closed one) that was not yet used with e->sport. */
static bool truth_publish(struct truth *t, uint32_t i, bool closed)
{
	struct truth_entry *e = &t->entries[i];

	for (unsigned k = 0; k < TRUTH_PORTS; k++) {
		unsigned port = (i + k) % TRUTH_PORTS + (closed ? TRUTH_PORTS : 0);
		uint32_t none = 0;

		if (atomic_compare_exchange_strong(&t->by_port[e->family][port][e->sport], &none,
						   i + 1)) {
			e->dport = t->ports[e->family][port];
			return true;
		}
	}
	return false;
}

/*
 * Gives entry number i a source port on fd, and a server port with which it
 * was not yet used; publishes both. -EADDRINUSE when all are used.
 */
static inline int truth_bind(struct truth *t, uint32_t i, int fd, const union truth_addr *from,
			     bool closed)
{
	static unsigned next[2];
	struct truth_entry *e = &t->entries[i];
	union truth_addr at = *from;
	socklen_t len = truth_addr_len(from);

	/* The kernel gives each port once, and searches long for the last ones. */
	for (unsigned k = 0; k < 2 * TRUTH_PORT_RANGE; k++) {
		unsigned n = next[e->family]++;

		truth_set_port(&at, n < TRUTH_PORTS_OF_KERNEL
					    ? 0
					    : (uint16_t)(TRUTH_PORT_FIRST + n % TRUTH_PORT_RANGE));
		if (bind(fd, &at.sa, len) < 0) {
			if (errno == EADDRINUSE)
				continue;
			return -errno;
		}
		if (getsockname(fd, &at.sa, &len) < 0)
			return -errno;
		e->sport = truth_port_of(&at);
		/* A socket is bound once: if its port is used up, another socket is needed. */
		return truth_publish(t, i, closed) ? 0 : -EAGAIN;
	}
	return -EADDRINUSE;
}

/* The entry of a peer that the server sees; NULL: a stranger. */
static inline struct truth_entry *truth_find(struct truth *t, unsigned family, unsigned port_index,
					     const union truth_addr *peer)
{
	uint32_t i = atomic_load(&t->by_port[family][port_index][truth_port_of(peer)]);

	return i ? &t->entries[i - 1] : NULL;
}

static inline int truth_enter_netns(const char *name)
{
	char path[256];
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "/run/netns/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		return -errno;
	return 0;
}
