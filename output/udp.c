/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "output/udp.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "output/resolve.h"
#include "user/util/log.h"

/* So many, then a pause: 45 KiB of them fit into the smallest receive buffer there is. */
#define BURST	 32
#define PAUSE_MS 2
/* A full queue of the interface: there is no event for its end. */
#define NOBUFS_MS 10

struct udp {
	struct loop *loop;
	udp_fn fn;
	void *arg;
	char host[RESOLVE_HOST_MAX + 1];
	uint16_t port;
	struct resolve *resolve;
	struct loop_io io;	/* io.fd is the socket */
	struct loop_timer soon; /* tells */
	struct loop_timer pause;
	unsigned burst;	   /* since burst_ms */
	uint64_t burst_ms; /* when it began */
	bool is_open, is_over;
	int connect_err; /* of the last address that was tried */
	char peer[RESOLVE_HOST_MAX + RESOLVE_TEXT_SIZE + 16];
	char error[256];
};

__attribute__((format(printf, 2, 3))) static void fail(struct udp *u, const char *fmt, ...)
{
	va_list ap;

	if (u->is_over)
		return;
	va_start(ap, fmt);
	vsnprintf(u->error, sizeof(u->error), fmt, ap);
	va_end(ap);
	u->is_over = true;
	loop_timer_cancel(&u->pause);
	loop_del(&u->io);
	loop_timer_set(u->loop, &u->soon, loop_now_ms(u->loop));
}

static void fail_sending(struct udp *u, int err)
{
	if (err == ECONNREFUSED)
		fail(u, "%s: nobody listens there (UDP); is the collector running?", u->peer);
	else
		fail(u, "%s: send: %s", u->peer, log_strerror(-err));
}

static void on_soon(void *arg, uint64_t now_ms)
{
	struct udp *u = arg;

	(void)now_ms;
	u->fn(u->arg, u->is_over ? UDP_ERROR : UDP_OPEN);
}

static void on_pause_over(void *arg, uint64_t now_ms)
{
	struct udp *u = arg;

	(void)now_ms;
	u->burst = 0;
	u->fn(u->arg, UDP_DRAIN);
}

/* Only errors, and room behind -EAGAIN, are waited for: nobody answers. */
static void on_socket(void *arg, uint32_t events)
{
	struct udp *u = arg;
	socklen_t size = sizeof(int);
	int err = 0;

	if (events & EPOLLERR) {
		getsockopt(u->io.fd, SOL_SOCKET, SO_ERROR, &err, &size);
		if (err) {
			fail_sending(u, err);
			return;
		}
	}
	if (events & EPOLLIN) {
		char drop[64];

		while (recv(u->io.fd, drop, sizeof(drop), MSG_DONTWAIT) >= 0)
			;
	}
	if (events & EPOLLOUT) {
		loop_watch(&u->io, EPOLLIN);
		u->fn(u->arg, UDP_DRAIN);
	}
}

/* Is there a way to this address? */
static int try_address(struct udp *u, const union resolve_addr *a)
{
	char text[RESOLVE_TEXT_SIZE];
	int fd, err;

	fd = socket(a->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, &a->any, resolve_addr_size(a)) < 0) {
		err = -errno;
		close_fd(fd);
		return err;
	}
	u->io.fd = fd;
	u->io.events = EPOLLIN;
	err = loop_add(u->loop, &u->io);
	if (err) {
		close_fd(TAKE_FD(u->io.fd));
		return err;
	}
	resolve_addr_text(a, text);
	snprintf(u->peer, sizeof(u->peer), a->any.sa_family == AF_INET6 ? "[%s]:%u" : "%s:%u", text,
		 u->port);
	if (strcmp(text, u->host) != 0) {
		size_t len = strlen(u->peer);

		snprintf(u->peer + len, sizeof(u->peer) - len, " (%s)", u->host);
	}
	return 0;
}

static void on_addrs(void *arg, const union resolve_addr *addrs, int n, bool more, const char *why)
{
	struct udp *u = arg;

	for (int i = 0; i < n && !u->is_open; i++) {
		u->connect_err = try_address(u, &addrs[i]);
		u->is_open = !u->connect_err;
	}
	if (!u->is_open && more)
		return;
	resolve_free(u->resolve);
	u->resolve = NULL;
	if (u->is_open)
		loop_timer_set(u->loop, &u->soon, loop_now_ms(u->loop));
	else if (u->connect_err)
		fail(u, "%s:%u: connect: %s", u->host, u->port, log_strerror(u->connect_err));
	else
		fail(u, "resolve %s: %s", u->host, why ? why : "no address");
}

int udp_new(struct loop *loop, const char *host, uint16_t port, udp_fn fn, void *arg,
	    struct udp **ret)
{
	struct udp *u;
	int err;

	if (!host || !host[0] || strlen(host) >= sizeof(u->host) || !port)
		return -EINVAL;
	u = calloc(1, sizeof(*u));
	if (!u)
		return -ENOMEM;
	u->loop = loop;
	u->fn = fn;
	u->arg = arg;
	u->port = port;
	u->io = (struct loop_io){ .fd = -1, .fn = on_socket, .arg = u };
	u->soon = (struct loop_timer){ .fn = on_soon, .arg = u };
	u->pause = (struct loop_timer){ .fn = on_pause_over, .arg = u };
	snprintf(u->host, sizeof(u->host), "%s", host);
	snprintf(u->peer, sizeof(u->peer), "%s:%u", host, port);
	err = resolve_new(loop, host, port, on_addrs, u, &u->resolve);
	if (err) {
		free(u);
		return err;
	}
	*ret = u;
	return 0;
}

void udp_free(struct udp *u)
{
	if (!u)
		return;
	resolve_free(u->resolve);
	loop_timer_cancel(&u->soon);
	loop_timer_cancel(&u->pause);
	loop_del(&u->io);
	close_fd(u->io.fd);
	free(u);
}

static int wait_ms(struct udp *u, uint64_t ms)
{
	if (!loop_timer_is_set(&u->pause))
		loop_timer_set(u->loop, &u->pause, loop_now_ms(u->loop) + ms);
	return -EAGAIN;
}

int udp_send(struct udp *u, const void *p, size_t n)
{
	uint64_t now_ms = loop_now_ms(u->loop);
	ssize_t done;

	if (u->is_over || !u->is_open)
		return -ENOTCONN;
	if (now_ms - u->burst_ms >= PAUSE_MS) {
		u->burst_ms = now_ms;
		u->burst = 0;
	}
	if (u->burst >= BURST || loop_timer_is_set(&u->pause))
		return wait_ms(u, PAUSE_MS);
	do
		done = send(u->io.fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (done < 0 && errno == EINTR);
	if (done >= 0) {
		u->burst++;
		return 0;
	}
	if (errno == EAGAIN) {
		loop_watch(&u->io, EPOLLIN | EPOLLOUT);
		return -EAGAIN;
	}
	if (errno == ENOBUFS)
		return wait_ms(u, NOBUFS_MS);
	fail_sending(u, errno);
	return -ENOTCONN;
}

const char *udp_peer(const struct udp *u)
{
	return u->peer;
}

const char *udp_error(const struct udp *u)
{
	return u->error;
}
