/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The starter: a small process between collector and shipper, that exists
 * because of what the collector has given up. A process that can start none and
 * has no network (its filter is handed down to whatever it starts) can not start one that has. So
 * the collector starts this one first, while it may, and asks it for each shipper.
 *
 * The starter executes our own binary as the shipper, or kills the shipper it
 * started last; nothing else can be asked of it. It reads no event, no
 * configuration and no file. A shipper that it starts is the collector's child.
 */
#pragma once

#include <sys/types.h>

#include "user/util/cleanup.h"

struct starter {
	pid_t pid; /* 0: there is none */
	int fd;	   /* -1: there is none */
};

/*
 * Executes ourselves anew with argv (title, verb, arguments, NULL) as a child of this process, with
 * fd as its descriptor 3, no other one but the standard ones, and little of our
 * environment: nothing of what this process knows goes with it. 0 or -errno.
 */
int starter_spawn(char *const argv[], int fd, pid_t *ret_pid);

/*
 * Executes ourselves as the starter, before this process gives anything up.
 * Done with starter_done(). 0, or -errno and *ret is as good as done.
 */
int starter_init(struct starter *ret);

/*
 * A shipper with fd as its control socket, as a child of this process: *ret_pid is to be
 * waited for. 0; -EPIPE: the starter is gone, or does not answer; else -errno
 * of its attempt.
 */
int starter_start(struct starter *s, int fd, pid_t *ret_pid);

/* Kills the shipper that was started last. Without effect when it is dead. 0 or -EPIPE. */
int starter_kill(struct starter *s);

/* It ends by itself, and is waited for. */
void starter_done(struct starter *s);

/* The whole life of the process; fd is its end of the socket pair. Returns the exit code. */
int starter_main(int fd);
