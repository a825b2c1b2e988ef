/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/util/loop.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "user/util/clock.h"

#define EVENTS_PER_TURN 64

struct loop {
	int epoll_fd;
	uint64_t now_ms;
	struct loop_timer *timers;
	bool stopped;
	int code;
	void (*before_sleep)(void *arg);
	void *before_sleep_arg;
	struct loop_io signal_io;
	loop_signal_fn signal_fn;
	void *signal_arg;
	/* The turn's events: a callback that deletes a source clears its slot. */
	struct epoll_event ready[EVENTS_PER_TURN];
	int n_ready;
};

int loop_new(struct loop **ret)
{
	_cleanup_(loop_freep) struct loop *l = NULL;

	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->signal_io.fd = -1;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0)
		return -errno;
	l->now_ms = clock_mono_ms();
	*ret = TAKE_PTR(l);
	return 0;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	while (l->timers)
		loop_timer_cancel(l->timers);
	loop_del(&l->signal_io);
	close_fd(l->signal_io.fd);
	close_fd(l->epoll_fd);
	free(l);
}

int loop_add(struct loop *l, struct loop_io *io)
{
	struct epoll_event ev = { .events = io->events, .data.ptr = io };

	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, io->fd, &ev) < 0)
		return -errno;
	io->loop = l;
	return 0;
}

int loop_watch(struct loop_io *io, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = io };

	if (io->events == events)
		return 0;
	if (epoll_ctl(io->loop->epoll_fd, EPOLL_CTL_MOD, io->fd, &ev) < 0)
		return -errno;
	io->events = events;
	return 0;
}

void loop_del(struct loop_io *io)
{
	struct loop *l = io->loop;

	if (!l)
		return;
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
	for (int i = 0; i < l->n_ready; i++)
		if (l->ready[i].data.ptr == io)
			l->ready[i].data.ptr = NULL;
	io->loop = NULL;
}

void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t due_ms)
{
	t->due_ms = due_ms;
	if (t->link)
		return;
	t->next = l->timers;
	if (t->next)
		t->next->link = &t->next;
	t->link = &l->timers;
	l->timers = t;
}

void loop_timer_cancel(struct loop_timer *t)
{
	if (!t->link)
		return;
	*t->link = t->next;
	if (t->next)
		t->next->link = t->link;
	t->next = NULL;
	t->link = NULL;
}

static void on_signal_fd(void *arg, uint32_t events)
{
	struct loop *l = arg;
	struct signalfd_siginfo info;

	(void)events;
	while (read(l->signal_io.fd, &info, sizeof(info)) == sizeof(info))
		l->signal_fn(l->signal_arg, (int)info.ssi_signo);
}

int loop_signals(struct loop *l, const int *signos, int n, loop_signal_fn fn, void *arg)
{
	sigset_t set;

	sigemptyset(&set);
	for (int i = 0; i < n; i++)
		sigaddset(&set, signos[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	l->signal_fn = fn;
	l->signal_arg = arg;
	l->signal_io = (struct loop_io){ .events = EPOLLIN, .fn = on_signal_fd, .arg = l };
	l->signal_io.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (l->signal_io.fd < 0)
		return -errno;
	return loop_add(l, &l->signal_io);
}

void loop_before_sleep(struct loop *l, void (*fn)(void *arg), void *arg)
{
	l->before_sleep = fn;
	l->before_sleep_arg = arg;
}

uint64_t loop_now_ms(const struct loop *l)
{
	return l->now_ms;
}

static int ms_to_next_timer(const struct loop *l)
{
	uint64_t due = UINT64_MAX;

	for (const struct loop_timer *t = l->timers; t; t = t->next)
		if (t->due_ms < due)
			due = t->due_ms;
	if (due == UINT64_MAX)
		return -1;
	if (due <= l->now_ms)
		return 0;
	return due - l->now_ms > INT_MAX ? INT_MAX : (int)(due - l->now_ms);
}

static void run_timers(struct loop *l)
{
	struct loop_timer *t;

	/* A callback may set or cancel any timer, so look again from the start. */
again:
	for (t = l->timers; t; t = t->next) {
		if (t->due_ms <= l->now_ms) {
			loop_timer_cancel(t);
			t->fn(t->arg, l->now_ms);
			if (l->stopped)
				return;
			goto again;
		}
	}
}

int loop_run(struct loop *l)
{
	l->stopped = false;
	while (!l->stopped) {
		if (l->before_sleep)
			l->before_sleep(l->before_sleep_arg);
		if (l->stopped)
			break;
		l->n_ready =
			epoll_wait(l->epoll_fd, l->ready, EVENTS_PER_TURN, ms_to_next_timer(l));
		l->now_ms = clock_mono_ms();
		if (l->n_ready < 0) {
			if (errno != EINTR)
				return -errno;
			l->n_ready = 0;
		}
		for (int i = 0; i < l->n_ready && !l->stopped; i++) {
			struct loop_io *io = l->ready[i].data.ptr;

			if (io)
				io->fn(io->arg, l->ready[i].events);
		}
		l->n_ready = 0;
		if (!l->stopped)
			run_timers(l);
	}
	return l->code;
}

void loop_stop(struct loop *l, int code)
{
	l->stopped = true;
	l->code = code;
}
