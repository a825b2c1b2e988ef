/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread's event loop: descriptors (epoll), timers, signals (signalfd).
 * It reads the clock once per turn and hands the time down.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "user/util/cleanup.h"

struct loop;

/* events are EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR. May delete any source. */
typedef void (*loop_io_fn)(void *arg, uint32_t events);
typedef void (*loop_timer_fn)(void *arg, uint64_t now_ms);
typedef void (*loop_signal_fn)(void *arg, int signo);

/* Embed one per descriptor. Start from { .fd = -1 }. The descriptor stays yours. */
struct loop_io {
	int fd;
	uint32_t events;
	loop_io_fn fn;
	void *arg;
	struct loop *loop; /* set while it is added */
};

/* Embed one per timer; zero-initialised is idle. A timer fires once per set. */
struct loop_timer {
	uint64_t due_ms; /* monotonic */
	loop_timer_fn fn;
	void *arg;
	struct loop_timer *next, **link; /* link is NULL while it is idle */
};

int loop_new(struct loop **ret);
void loop_free(struct loop *l);
DEFINE_CLEANUP(struct loop *, loop_free);

/* Watches io->fd for io->events; io outlives its stay in the loop. 0 or -errno. */
int loop_add(struct loop *l, struct loop_io *io);
/* Changes what is watched. Cheap when nothing changes. */
int loop_watch(struct loop_io *io, uint32_t events);
/* Idempotent; call it before the descriptor is closed. */
void loop_del(struct loop_io *io);

/* Arms or re-arms. Timers are few, so they sit in an unsorted list. */
void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t due_ms);
void loop_timer_cancel(struct loop_timer *t);
static inline bool loop_timer_is_set(const struct loop_timer *t)
{
	return t->link != NULL;
}

/* Blocks the signal and calls fn from the loop instead. One fn for all of them. */
int loop_signals(struct loop *l, const int *signos, int n, loop_signal_fn fn, void *arg);

/* Called at the end of each turn, before it sleeps: the place for batched work. */
void loop_before_sleep(struct loop *l, void (*fn)(void *arg), void *arg);

/* Monotonic, in ms, as of the start of this turn. */
uint64_t loop_now_ms(const struct loop *l);

/* Runs until loop_stop(); returns its code, or -errno when epoll fails. */
int loop_run(struct loop *l);
void loop_stop(struct loop *l, int code);
