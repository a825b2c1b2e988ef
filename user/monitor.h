/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monitor socket: answers HTTP/1.0 on a Unix socket of root's, one request a
 * connection, from the collector's loop; and the metrics alone, when asked to, on a
 * loopback address, where anybody on the host is a client. Clients have
 * ceilings in number, bytes and time, those of either socket their own, and never make it wait.
 */
#pragma once

#include "user/books.h"
#include "user/util/loop.h"

struct monitor;

struct monitor_opts {
	struct loop *loop;
	const char *path;    /* NULL: no Unix socket */
	struct books *books; /* borrowed: where they are read to */
	void (*read_books)(void *arg, struct books *ret, enum books_extent extent);
	void *arg;
};

struct monitor_stats {
	uint64_t requests; /* answered */
	uint64_t refused;  /* too many at once, too slow, too long, or no request */
};

/*
 * Makes the socket, and its folder, and serves it. The caller owns *ret.
 * -EADDRINUSE: another collector serves it. Else -errno of what failed.
 */
int monitor_new(const struct monitor_opts *opts, struct monitor **ret);

/*
 * Serves /metrics at this address (config_parse_listen()), too. It has to be called
 * before the sandbox is entered, in which no network socket can be made. 0; -errno.
 */
int monitor_listen(struct monitor *m, const char *address);

/* Removes the socket, unless another one took its place. */
void monitor_free(struct monitor *m);
DEFINE_CLEANUP(struct monitor *, monitor_free);

void monitor_get_stats(const struct monitor *m, struct monitor_stats *ret);
