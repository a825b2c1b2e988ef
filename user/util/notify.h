/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the service manager how we are: sd_notify(3), spoken without libsystemd.
 * Where no manager listens (no $NOTIFY_SOCKET), nothing is sent and nothing
 * fails. What it says is for people and for restarts: no event depends on it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Start from { .fd = -1 }. */
struct notify {
	int fd; /* -1: nobody listens */
	struct sockaddr_un to;
	socklen_t to_len;
	uint64_t watchdog_ms; /* WATCHDOG=1 is due this often; 0: never. Half of what kills us. */
};

/*
 * Reads $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID and takes them out of the
 * environment: no child of ours is to speak for us. 0, also when nobody listens;
 * -EAFNOSUPPORT for an address that is neither a path nor abstract; -errno.
 */
int notify_init(struct notify *n);
void notify_done(struct notify *n);

/*
 * "READY=1\nSTATUS=...": one assignment a line; never blocks. What does not fit into
 * 512 bytes is cut off. 0 or -errno, which nothing depends on.
 */
int notify_send(const struct notify *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
