/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stages of a connection, one after the other: resolve, connect, proxy,
 * TLS, open. Each either advances or ends in fail(), which keeps the text.
 *
 * Events are only ever delivered from on_soon(), a timer that is due at once
 * (the loop runs it in the same turn), so nothing here is re-entrant. resolve.c,
 * proxy.c and tls.c know their own matters; reconnecting is the caller's.
 */
#define _GNU_SOURCE
#include "output/conn.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "output/proxy.h"
#include "output/resolve.h"
#include "output/tls.h"

#define READ_BYTES	 (16u << 10)
#define READ_TURN_BYTES	 (256u << 10) /* of one connection, before others have their turn */
#define TLS_RECORD_BYTES (16u << 10)
#define ATTEMPT_DELAY_MS 250 /* RFC 8305, 5 */
#define ADDRS_MAX	 (2 * RESOLVE_ADDRS_MAX)
#define ERROR_SIZE	 640
#define PEER_SIZE	 384

enum stage { STAGE_RESOLVE, STAGE_CONNECT, STAGE_PROXY, STAGE_TLS, STAGE_OPEN, STAGE_OVER };

/* One address and what became of it. */
struct attempt {
	struct conn *c;
	union resolve_addr addr;
	struct loop_io io;
	bool started;
	int err; /* why it failed, positive; 0: not yet */
};

/* Exists only until one address has answered. */
struct race {
	struct resolve *resolve;
	bool more; /* addresses may follow */
	int last_family;
	struct loop_timer next;
	int n;
	struct attempt attempts[ADDRS_MAX];
};

/* Exists only while the proxy is asked. */
struct proxy_talk {
	struct buf request; /* holds the secret */
	struct proxy_answer answer;
};

struct conn {
	struct loop *loop;
	conn_fn fn;
	void *arg;
	bool telling; /* an event is being delivered, */
	bool gone;    /* and conn_free() came from there: tell() frees the rest */

	char *host;
	char *server_name;
	struct tls_client *tls_client;
	struct proxy proxy;
	uint32_t connect_timeout_ms, idle_timeout_ms;
	uint16_t port;

	enum stage stage;
	struct race *race;
	struct proxy_talk *talk;
	struct tls *tls;
	struct loop_io io; /* io.fd is the socket */
	struct buf in, out;
	struct loop_timer deadline; /* of connecting, then of finishing */
	struct loop_timer soon;
	struct loop_timer again; /* the other connections had their turn: read on */
	size_t turn_bytes;	 /* read in this turn */

	/* Events that wait for on_soon(). */
	bool tell_open, tell_data, tell_drain, tell_eof, tell_error;

	bool in_full;	     /* reading pauses */
	bool read_first;     /* something may have come with the handshake */
	bool write_blocked;  /* until EPOLLOUT */
	bool read_needs_out; /* TLS must write before it can read */
	bool was_high;	     /* conn_out() reached half of its ceiling */
	bool finishing;	     /* conn_finish() was called */
	bool fin_sent;	     /* our close_notify and FIN are out */
	bool tls_eof;	     /* the peer's close_notify is in */
	bool eof;	     /* the peer's end was told */

	char peer[PEER_SIZE];
	char error[ERROR_SIZE];
};

static void on_socket(void *arg, uint32_t events);
static void write_some(struct conn *c);
static void read_some(struct conn *c);

/* ------------------------------------------------------------------ events and failure */

static void soon(struct conn *c)
{
	loop_timer_set(c->loop, &c->soon, loop_now_ms(c->loop));
}

static void race_end(struct conn *c)
{
	struct race *r = c->race;

	if (!r)
		return;
	resolve_free(r->resolve);
	loop_timer_cancel(&r->next);
	for (int i = 0; i < r->n; i++) {
		loop_del(&r->attempts[i].io);
		close_fd(r->attempts[i].io.fd);
	}
	free(r);
	c->race = NULL;
}

static void talk_end(struct conn *c)
{
	if (c->talk)
		buf_wipe(&c->talk->request);
	free(c->talk);
	c->talk = NULL;
}

/* Gives back all that the kernel and TLS hold; buffers and texts stay. */
static void disconnect(struct conn *c)
{
	race_end(c);
	talk_end(c);
	loop_timer_cancel(&c->deadline);
	loop_timer_cancel(&c->again);
	tls_free(TAKE_PTR(c->tls));
	loop_del(&c->io);
	close_fd(TAKE_FD(c->io.fd));
}

__attribute__((format(printf, 2, 3))) static void fail(struct conn *c, const char *fmt, ...)
{
	va_list ap;

	if (c->stage == STAGE_OVER)
		return;
	va_start(ap, fmt);
	vsnprintf(c->error, sizeof(c->error), fmt, ap);
	va_end(ap);
	c->stage = STAGE_OVER;
	disconnect(c);
	c->tell_eof = false;
	c->tell_error = true;
	soon(c);
}

/* Returns false when the callback freed c. */
static bool tell(struct conn *c, bool *pending, enum conn_event event)
{
	if (!*pending)
		return true;
	*pending = false;
	c->telling = true;
	c->fn(c->arg, event);
	c->telling = false;
	if (!c->gone)
		return true;
	free(c);
	return false;
}

/* Only what we really wait for: epoll always reports errors, so nothing means not in the loop. */
static void watch(struct conn *c)
{
	uint32_t events = 0;
	int err = 0;

	switch (c->stage) {
	case STAGE_PROXY:
		events = c->talk->request.len ? EPOLLOUT : EPOLLIN;
		break;
	case STAGE_TLS:
		events = tls_wants(c->tls);
		break;
	case STAGE_OPEN:
		if (!c->in_full && !c->eof)
			events |= EPOLLIN;
		if (c->write_blocked || c->read_needs_out)
			events |= EPOLLOUT;
		break;
	default:
		return;
	}
	if (!events) {
		loop_del(&c->io);
	} else if (c->io.loop) {
		err = loop_watch(&c->io, events);
	} else {
		c->io.events = events;
		err = loop_add(c->loop, &c->io);
	}
	if (err)
		fail(c, "epoll: %s", strerror(-err));
}

static void on_soon(void *arg, uint64_t now_ms)
{
	struct conn *c = arg;

	(void)now_ms;
	if (!tell(c, &c->tell_open, CONN_OPEN) || !tell(c, &c->tell_data, CONN_DATA) ||
	    !tell(c, &c->tell_drain, CONN_DRAIN))
		return;
	if (c->stage == STAGE_OPEN) {
		if (c->in_full && buf_room(&c->in)) {
			c->in_full = false;
			c->read_first = true;
		}
		if (c->read_first) {
			c->read_first = false;
			read_some(c);
		}
		write_some(c);
		watch(c);
		/* What these found is told first: data before its end. */
		if (loop_timer_is_set(&c->soon))
			return;
	}
	if (!tell(c, &c->tell_eof, CONN_EOF))
		return;
	tell(c, &c->tell_error, CONN_ERROR);
}

/* ------------------------------------------------------------------ open: reading */

/*
 * Is the peer's end an answer to ours, or did the two cross? What we sent last
 * may then have reached a closed socket. A peer that closes with unread data
 * sends RST, so that its FIN, with everything acknowledged, says: all was read.
 */
static bool is_answered(struct conn *c)
{
	int err = 0, unacked = 0;
	socklen_t size = sizeof(err);

	if (getsockopt(c->io.fd, SOL_SOCKET, SO_ERROR, &err, &size) == 0 && err) {
		fail(c, "close: %s", strerror(err));
		return false;
	}
	/* One for our FIN, which the peer need not have seen. */
	if (ioctl(c->io.fd, SIOCOUTQ, &unacked) == 0 && unacked > 1) {
		fail(c, "close: the peer closed before it had received everything");
		return false;
	}
	return true;
}

/* The peer's side has ended: close_notify, or FIN without TLS. */
static void on_end(struct conn *c)
{
	if (c->finishing && !c->fin_sent) {
		fail(c, "close: the peer closed before everything was sent");
		return;
	}
	if (c->fin_sent && !is_answered(c))
		return;
	c->eof = true;
	c->tell_eof = true;
	if (c->fin_sent)
		loop_timer_cancel(&c->deadline);
	soon(c);
}

static void on_read_error(struct conn *c, int err)
{
	if (err == ETIMEDOUT)
		fail(c, "receive: nothing was acknowledged for %u s, the peer is gone",
		     c->idle_timeout_ms / 1000);
	else
		fail(c, "receive: %s", strerror(err));
}

/* After close_notify there is only TCP's end to wait for; bytes before it mean nothing. */
static void read_tcp_end(struct conn *c)
{
	char rest[512];
	ssize_t n;

	n = recv(c->io.fd, rest, sizeof(rest), MSG_DONTWAIT);
	if (!n)
		on_end(c);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		on_read_error(c, errno);
}

/* The bytes read, 0 at the end, -EAGAIN, or -EPROTO when it has failed. */
static ssize_t read_once(struct conn *c, char *at, size_t size)
{
	ssize_t n;

	if (c->tls) {
		n = tls_read(c->tls, at, size);
		if (n == -EAGAIN) {
			c->read_needs_out = tls_wants(c->tls) == EPOLLOUT;
		} else if (!n) {
			c->tls_eof = true;
		} else if (n == -ECONNABORTED && c->fin_sent) {
			/* Many answer close_notify with a plain FIN. */
			n = 0;
		} else if (n < 0) {
			fail(c, "receive: %s", tls_error(c->tls));
			n = -EPROTO;
		}
		return n;
	}
	do
		n = recv(c->io.fd, at, size, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	if (errno == EAGAIN)
		return -EAGAIN;
	on_read_error(c, errno);
	return -EPROTO;
}

static void read_some(struct conn *c)
{
	size_t want;
	bool pending;
	ssize_t n;
	char *at;

	c->read_needs_out = false;
	while (c->stage == STAGE_OPEN && !c->eof) {
		if (c->tls_eof) {
			read_tcp_end(c);
			return;
		}
		want = buf_room(&c->in) < READ_BYTES ? buf_room(&c->in) : READ_BYTES;
		if (!want) {
			c->in_full = true;
			return;
		}
		if (buf_reserve(&c->in, want, &at) < 0) {
			fail(c, "receive: out of memory");
			return;
		}
		n = read_once(c, at, want);
		if (!n && c->tls_eof && c->fin_sent)
			continue;
		if (!n)
			on_end(c);
		if (n <= 0)
			return;
		buf_added(&c->in, (size_t)n);
		c->tell_data = true;
		soon(c);
		/* A short read has emptied the socket, but for what waits in TLS. */
		pending = c->tls && tls_has_pending(c->tls);
		if ((size_t)n < want && !pending)
			return;
		c->turn_bytes += (size_t)n;
		if (c->turn_bytes >= READ_TURN_BYTES) {
			/* epoll tells of what waits in the socket, but not in TLS. */
			if (pending)
				loop_timer_set(c->loop, &c->again, loop_now_ms(c->loop) + 1);
			return;
		}
	}
}

/* ------------------------------------------------------------------ open: writing */

static void on_write_error(struct conn *c, int err)
{
	/* The peer may have said why: an alert, or a last acknowledgement. */
	if (!c->in_full && !c->eof)
		read_some(c);
	if (c->tls)
		fail(c, "send: %s", tls_error(c->tls));
	else if (err == ETIMEDOUT)
		fail(c, "send: nothing was acknowledged for %u s, the peer is gone",
		     c->idle_timeout_ms / 1000);
	else
		fail(c, "send: %s", strerror(err));
}

/* The bytes written; -EAGAIN sets write_blocked; other errors end the connection. */
static ssize_t write_once(struct conn *c)
{
	ssize_t n;
	int err;

	if (c->tls) {
		n = tls_write(c->tls, buf_data(&c->out),
			      c->out.len < TLS_RECORD_BYTES ? c->out.len : TLS_RECORD_BYTES);
		err = EPROTO;
		if (n == -EAGAIN) {
			/* Reading is always on, so only its other want needs a note. */
			c->write_blocked = tls_wants(c->tls) == EPOLLOUT;
			return n;
		}
	} else {
		do
			n = send(c->io.fd, buf_data(&c->out), c->out.len,
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		while (n < 0 && errno == EINTR);
		err = errno;
		if (n < 0 && err == EAGAIN) {
			c->write_blocked = true;
			return -EAGAIN;
		}
	}
	if (n < 0)
		on_write_error(c, err);
	return n;
}

static void send_end(struct conn *c)
{
	int err = c->tls ? tls_shutdown(c->tls) : 0;

	if (err == -EAGAIN) {
		c->write_blocked = true;
		return;
	}
	if (err) {
		on_write_error(c, EPROTO);
		return;
	}
	if (shutdown(c->io.fd, SHUT_WR) < 0) {
		fail(c, "close: %s", strerror(errno));
		return;
	}
	c->fin_sent = true;
	if (c->eof || c->tls_eof) {
		/* It ended first: there is nobody to wait for. */
		loop_timer_cancel(&c->deadline);
		c->eof = true;
		c->tell_eof = true;
		soon(c);
	}
}

static void restart_deadline(struct conn *c, uint32_t ms)
{
	if (ms)
		loop_timer_set(c->loop, &c->deadline, loop_now_ms(c->loop) + ms);
}

static void write_some(struct conn *c)
{
	ssize_t n = 0;
	bool wrote = false;

	if (c->stage != STAGE_OPEN || c->write_blocked || c->fin_sent)
		return;
	if (c->out.len >= c->out.max_bytes / 2)
		c->was_high = true;
	while (c->out.len) {
		n = write_once(c);
		if (n < 0)
			break;
		buf_consume(&c->out, (size_t)n);
		wrote = true;
	}
	if (c->stage != STAGE_OPEN)
		return;
	if (c->was_high && c->out.len < c->out.max_bytes / 2) {
		c->was_high = false;
		c->tell_drain = true;
		soon(c);
	}
	if (!c->finishing)
		return;
	if (wrote)
		restart_deadline(c, c->idle_timeout_ms);
	if (!c->out.len)
		send_end(c);
}

static void on_open(struct conn *c, uint32_t events)
{
	bool broken = events & (EPOLLERR | EPOLLHUP);

	if (events & EPOLLOUT || broken)
		c->write_blocked = false;
	if (!c->in_full && !c->eof && (events & EPOLLIN || broken || c->read_needs_out))
		read_some(c);
	write_some(c);
	if (c->stage != STAGE_OPEN)
		return;
	/* Errors can not be unwatched: until we read or write again, stay out of the loop. */
	if (broken && (c->in_full || c->eof) && !c->write_blocked)
		loop_del(&c->io);
	else
		watch(c);
}

static void on_again(void *arg, uint64_t now_ms)
{
	struct conn *c = arg;

	(void)now_ms;
	c->turn_bytes = 0;
	if (c->stage == STAGE_OPEN && !c->in_full && !c->eof)
		on_open(c, EPOLLIN);
}

static void enter_open(struct conn *c)
{
	c->stage = STAGE_OPEN;
	loop_timer_cancel(&c->deadline);
	c->tell_open = true;
	c->read_first = true;
	if (c->finishing)
		restart_deadline(c, c->idle_timeout_ms);
	soon(c);
	watch(c);
}

/* ------------------------------------------------------------------ TLS */

static void step_tls(struct conn *c)
{
	int err = tls_handshake(c->tls);

	if (!err) {
		enter_open(c);
		return;
	}
	if (err == -EAGAIN)
		watch(c);
	else
		fail(c, "tls %s: %s", c->server_name, tls_error(c->tls));
}

static void enter_tls(struct conn *c)
{
	int err;

	if (!c->tls_client) {
		enter_open(c);
		return;
	}
	err = tls_new(c->tls_client, c->io.fd, c->server_name, &c->tls);
	if (err) {
		fail(c, "tls %s: %s", c->server_name, strerror(-err));
		return;
	}
	c->stage = STAGE_TLS;
	step_tls(c);
}

/* ------------------------------------------------------------------ proxy */

static void fail_proxy_status(struct conn *c)
{
	const struct proxy_answer *a = &c->talk->answer;
	const char *cause;

	switch (a->status) {
	case 407:
		cause = c->proxy.credentials
				? "it refuses the user or the password of output.proxy"
				: "it wants a user and a password; give them with output.proxy, "
				  "http://user:password@host:port";
		break;
	case 401:
	case 403:
		cause = "it does not allow this destination; allow host and port there";
		break;
	case 400:
	case 404:
	case 405:
	case 501:
		cause = "it does not do CONNECT; check that it is a proxy for HTTPS";
		break;
	case 429:
		cause = "it has too much to do";
		break;
	case 502:
	case 503:
	case 504:
		cause = "it can not reach the destination";
		break;
	default:
		cause = "it refuses";
	}
	fail(c, "proxy %s:%u: CONNECT %s:%u: %s (%d%s%s)", c->proxy.host, c->proxy.port, c->host,
	     c->port, cause, a->status, a->reason[0] ? " " : "", a->reason);
}

/* Peeks, so that no byte behind the answer is taken from the tunnel. */
static void read_proxy_answer(struct conn *c)
{
	struct proxy_answer *a = &c->talk->answer;
	char bytes[2048];
	ssize_t n, used;

	n = recv(c->io.fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		fail(c, "proxy %s:%u: %s before it answered", c->proxy.host, c->proxy.port,
		     n ? strerror(errno) : "it closed the connection");
		return;
	}
	used = proxy_parse_answer(a, bytes, (size_t)n);
	if (used < 0) {
		fail(c, "proxy %s:%u: %s", c->proxy.host, c->proxy.port,
		     used == -EMSGSIZE ? "its answer is too long"
				       : "its answer is not HTTP; check host and port");
		return;
	}
	if (recv(c->io.fd, bytes, (size_t)used, MSG_DONTWAIT) != used) {
		fail(c, "proxy %s:%u: %s", c->proxy.host, c->proxy.port, strerror(errno));
		return;
	}
	if (!a->done)
		return;
	if (a->status / 100 != 2) {
		fail_proxy_status(c);
		return;
	}
	talk_end(c);
	enter_tls(c);
}

static void step_proxy(struct conn *c)
{
	struct buf *request = &c->talk->request;
	ssize_t n;

	if (!request->len) {
		read_proxy_answer(c);
		return;
	}
	n = send(c->io.fd, buf_data(request), request->len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n >= 0)
		buf_consume(request, (size_t)n);
	else if (errno != EAGAIN && errno != EINTR)
		fail(c, "proxy %s:%u: %s", c->proxy.host, c->proxy.port, strerror(errno));
	watch(c);
}

static void enter_proxy(struct conn *c)
{
	int err = -ENOMEM;

	if (!c->proxy.host) {
		enter_tls(c);
		return;
	}
	c->talk = calloc(1, sizeof(*c->talk));
	if (c->talk) {
		buf_init(&c->talk->request, 4096);
		err = proxy_format_request(&c->proxy, c->host, c->port, &c->talk->request);
	}
	if (err) {
		fail(c, "proxy %s:%u: CONNECT %s:%u: %s", c->proxy.host, c->proxy.port, c->host,
		     c->port, strerror(-err));
		return;
	}
	c->stage = STAGE_PROXY;
	step_proxy(c);
}

/* ------------------------------------------------------------------ connect */

static void set_options(const struct conn *c, int fd)
{
	int on = 1, timeout_ms = (int)c->idle_timeout_ms, idle_s, interval_s;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	if (!timeout_ms)
		return;
	/* Data that is not acknowledged, and silence when there is none. */
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
	idle_s = timeout_ms > 4000 ? timeout_ms / 2000 : 2;
	interval_s = timeout_ms > 12000 ? timeout_ms / 6000 : 2;
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
}

static void set_peer(struct conn *c, const union resolve_addr *a)
{
	char text[RESOLVE_TEXT_SIZE];
	bool is_v6 = a->any.sa_family == AF_INET6;
	const char *open = is_v6 ? "[" : "", *close = is_v6 ? "]" : "";

	resolve_addr_text(a, text);
	if (c->proxy.host)
		snprintf(c->peer, sizeof(c->peer), "%s:%u through the proxy %s%s%s:%u", c->host,
			 c->port, open, text, close, c->proxy.port);
	else if (!strcmp(text, c->host))
		snprintf(c->peer, sizeof(c->peer), "%s%s%s:%u", open, text, close, c->port);
	else
		snprintf(c->peer, sizeof(c->peer), "%s%s%s:%u (%s)", open, text, close, c->port,
			 c->host);
}

static const char *target_host(const struct conn *c)
{
	return c->proxy.host ? c->proxy.host : c->host;
}

static uint16_t target_port(const struct conn *c)
{
	return c->proxy.host ? c->proxy.port : c->port;
}

/* "::1: Connection refused, 192.0.2.1: no answer"; pending ones count as silent. */
static void describe_attempts(const struct race *r, char *text, size_t size)
{
	char addr[RESOLVE_TEXT_SIZE];
	size_t at = 0;

	text[0] = '\0';
	for (int i = 0; i < r->n && at < size; i++) {
		const struct attempt *a = &r->attempts[i];

		if (!a->started)
			continue;
		at += (size_t)snprintf(text + at, size - at, "%s%s: %s", at ? ", " : "",
				       resolve_addr_text(&a->addr, addr),
				       a->err ? strerror(a->err) : "no answer");
	}
}

static void fail_connect(struct conn *c)
{
	char what[400];
	bool refused = false, silent = false, unreachable = false;
	const char *cure = "";

	for (int i = 0; i < c->race->n; i++) {
		const struct attempt *a = &c->race->attempts[i];

		refused |= a->err == ECONNREFUSED;
		silent |= a->started && (!a->err || a->err == ETIMEDOUT);
		unreachable |= a->err == ENETUNREACH || a->err == EHOSTUNREACH;
	}
	describe_attempts(c->race, what, sizeof(what));
	if (silent)
		cure = "; a firewall may drop it";
	else if (refused)
		cure = "; check the port, and that the service runs";
	else if (unreachable)
		cure = "; check the network and its routes";
	fail(c, "%s %s:%u: %s%s", c->proxy.host ? "proxy" : "connect", target_host(c),
	     target_port(c), what, cure);
}

static void race_step(struct conn *c);

static void attempt_failed(struct attempt *a, int err)
{
	a->err = err;
	loop_del(&a->io);
	close_fd(TAKE_FD(a->io.fd));
}

static void attempt_won(struct attempt *a)
{
	struct conn *c = a->c;
	union resolve_addr addr = a->addr;

	loop_del(&a->io);
	c->io.fd = TAKE_FD(a->io.fd);
	race_end(c);
	set_options(c, c->io.fd);
	set_peer(c, &addr);
	enter_proxy(c);
}

static void on_attempt(void *arg, uint32_t events)
{
	struct attempt *a = arg;
	int err = 0;
	socklen_t size = sizeof(err);

	(void)events;
	if (getsockopt(a->io.fd, SOL_SOCKET, SO_ERROR, &err, &size) < 0)
		err = errno;
	if (!err) {
		attempt_won(a);
		return;
	}
	attempt_failed(a, err);
	race_step(a->c);
}

static int attempt_start(struct attempt *a)
{
	int err;

	a->started = true;
	a->io.fd = socket(a->addr.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (a->io.fd < 0)
		return -errno;
	if (connect(a->io.fd, &a->addr.any, resolve_addr_size(&a->addr)) < 0 &&
	    errno != EINPROGRESS)
		return -errno;
	a->io.events = EPOLLOUT;
	a->io.fn = on_attempt;
	a->io.arg = a;
	err = loop_add(a->c->loop, &a->io);
	return err;
}

/* The other family than last time, if it has an address left; IPv6 at first. */
static struct attempt *pick(struct race *r)
{
	struct attempt *same = NULL;

	for (int i = 0; i < r->n; i++) {
		struct attempt *a = &r->attempts[i];

		if (a->started)
			continue;
		if (a->addr.any.sa_family != r->last_family)
			return a;
		if (!same)
			same = a;
	}
	return same;
}

/* Starts the next attempt, now: one has failed, or the time has come. */
static void race_step(struct conn *c)
{
	struct race *r = c->race;
	struct attempt *a;
	int err;

	while ((a = pick(r))) {
		r->last_family = a->addr.any.sa_family;
		err = attempt_start(a);
		if (err) {
			attempt_failed(a, -err);
			continue;
		}
		loop_timer_set(c->loop, &r->next, loop_now_ms(c->loop) + ATTEMPT_DELAY_MS);
		return;
	}
	if (r->more)
		return;
	for (int i = 0; i < r->n; i++)
		if (!r->attempts[i].err)
			return;
	fail_connect(c);
}

static void on_next_attempt(void *arg, uint64_t now_ms)
{
	(void)now_ms;
	race_step(arg);
}

static void on_resolved(void *arg, const union resolve_addr *addrs, int n, bool more,
			const char *why)
{
	struct conn *c = arg;
	struct race *r = c->race;

	r->more = more;
	for (int i = 0; i < n && r->n < ADDRS_MAX; i++) {
		struct attempt *a = &r->attempts[r->n++];

		*a = (struct attempt){ .c = c, .addr = addrs[i], .io = { .fd = -1 } };
	}
	if (!r->n && !more) {
		fail(c, "resolve %s%s: %s", c->proxy.host ? "the proxy " : "", target_host(c), why);
		return;
	}
	c->stage = STAGE_CONNECT;
	/* Another attempt is under way: its own delay counts. */
	if (!loop_timer_is_set(&r->next))
		race_step(c);
}

static void on_deadline(void *arg, uint64_t now_ms)
{
	struct conn *c = arg;
	char servers[128];
	unsigned seconds = (c->connect_timeout_ms + 999) / 1000;

	(void)now_ms;
	switch (c->stage) {
	case STAGE_RESOLVE:
		resolve_servers(c->race->resolve, servers, sizeof(servers));
		fail(c,
		     "resolve %s: no answer from the name server (%s) in %u s; check "
		     "/etc/resolv.conf and the firewall",
		     target_host(c), servers, seconds);
		return;
	case STAGE_CONNECT:
		fail_connect(c);
		return;
	case STAGE_PROXY:
		fail(c, "proxy %s:%u: no answer to CONNECT %s:%u in %u s", c->proxy.host,
		     c->proxy.port, c->host, c->port, seconds);
		return;
	case STAGE_TLS:
		fail(c,
		     "tls %s: no answer in the handshake in %u s; check that this port speaks TLS",
		     c->server_name, seconds);
		return;
	case STAGE_OPEN:
		/* Its goodbye came, only its FIN did not. */
		if (c->tls_eof && is_answered(c)) {
			c->eof = true;
			c->tell_eof = true;
			soon(c);
		} else {
			fail(c, "close: the peer did not close its side in %u s",
			     c->idle_timeout_ms / 1000);
		}
		return;
	case STAGE_OVER:
		return;
	}
}

static void on_socket(void *arg, uint32_t events)
{
	struct conn *c = arg;

	c->turn_bytes = 0;
	switch (c->stage) {
	case STAGE_PROXY:
		step_proxy(c);
		return;
	case STAGE_TLS:
		step_tls(c);
		return;
	case STAGE_OPEN:
		on_open(c, events);
		return;
	default:
		loop_del(&c->io);
	}
}

/* ------------------------------------------------------------------ the interface */

static int init(struct conn *c, const struct conn_opts *opts)
{
	const char *why;
	int err;

	c->host = strdup(opts->host);
	c->server_name = strdup(opts->server_name ? opts->server_name : opts->host);
	if (!c->host || !c->server_name)
		return -ENOMEM;
	if (opts->proxy) {
		err = proxy_parse(opts->proxy, &c->proxy, &why);
		if (err)
			return err;
	}
	snprintf(c->peer, sizeof(c->peer), strchr(c->host, ':') ? "[%s]:%u" : "%s:%u", c->host,
		 c->port);
	c->race = calloc(1, sizeof(*c->race));
	if (!c->race)
		return -ENOMEM;
	c->race->last_family = AF_INET;
	c->race->more = true;
	c->race->next = (struct loop_timer){ .fn = on_next_attempt, .arg = c };
	restart_deadline(c, c->connect_timeout_ms);
	return resolve_new(c->loop, target_host(c), target_port(c), on_resolved, c,
			   &c->race->resolve);
}

int conn_new(struct loop *loop, const struct conn_opts *opts, conn_fn fn, void *arg,
	     struct conn **ret)
{
	_cleanup_(conn_freep) struct conn *c = NULL;
	int err;

	if (!opts->host || !opts->host[0] || !opts->port)
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->loop = loop;
	c->fn = fn;
	c->arg = arg;
	c->port = opts->port;
	c->tls_client = opts->tls;
	c->connect_timeout_ms = opts->connect_timeout_ms;
	c->idle_timeout_ms = opts->idle_timeout_ms;
	c->io = (struct loop_io){ .fd = -1, .fn = on_socket, .arg = c };
	c->deadline = (struct loop_timer){ .fn = on_deadline, .arg = c };
	c->soon = (struct loop_timer){ .fn = on_soon, .arg = c };
	c->again = (struct loop_timer){ .fn = on_again, .arg = c };
	buf_init(&c->in, opts->max_in_bytes);
	buf_init(&c->out, opts->max_out_bytes);
	err = init(c, opts);
	if (err)
		return err;
	*ret = TAKE_PTR(c);
	return 0;
}

void conn_free(struct conn *c)
{
	if (!c)
		return;
	disconnect(c);
	loop_timer_cancel(&c->soon);
	proxy_done(&c->proxy);
	buf_done(&c->in);
	buf_done(&c->out);
	free(c->host);
	free(c->server_name);
	if (c->telling)
		c->gone = true;
	else
		free(c);
}

void conn_rest(struct conn *c)
{
	buf_rest(&c->in);
	buf_rest(&c->out);
}

struct buf *conn_out(struct conn *c)
{
	return &c->out;
}

struct buf *conn_in(struct conn *c)
{
	/* The caller is about to make room; at the end of this turn we look. */
	if (c->in_full)
		soon(c);
	return &c->in;
}

void conn_flush(struct conn *c)
{
	bool was_blocked = c->write_blocked;

	write_some(c);
	if (c->write_blocked != was_blocked)
		watch(c);
}

void conn_finish(struct conn *c)
{
	if (c->finishing || c->stage == STAGE_OVER)
		return;
	c->finishing = true;
	if (c->stage != STAGE_OPEN)
		return;
	/* Its end is in, and not told yet: told now, it would pass for the answer to ours. */
	if (c->tell_eof) {
		fail(c, "close: the peer closed before everything was sent");
		return;
	}
	restart_deadline(c, c->idle_timeout_ms);
	write_some(c);
	watch(c);
}

int conn_ask_receipt(struct conn *c)
{
	int err;

	if (!c->tls)
		return -ENOTSUP;
	if (c->stage != STAGE_OPEN || c->write_blocked || c->fin_sent)
		return -EAGAIN;
	err = tls_ask_receipt(c->tls);
	if (err && err != -EAGAIN && err != -ENOTSUP) {
		on_write_error(c, EPROTO);
		return -EAGAIN;
	}
	return err;
}

uint64_t conn_receipts(const struct conn *c)
{
	return c->tls ? tls_receipts(c->tls) : 0;
}

int conn_unacked(const struct conn *c)
{
	int bytes;

	if (c->stage != STAGE_OPEN)
		return -ENOTCONN;
	return ioctl(c->io.fd, SIOCOUTQ, &bytes) < 0 ? -errno : bytes;
}

const char *conn_error(const struct conn *c)
{
	return c->error;
}

const char *conn_peer(const struct conn *c)
{
	return c->peer;
}

const char *conn_describe(const struct conn *c, char *text, size_t size)
{
	if (c->tls)
		return tls_describe(c->tls, text, size);
	snprintf(text, size, "no TLS");
	return text;
}

int conn_get_tls_peer(const struct conn *c, struct tls_peer *ret)
{
	return c->tls ? tls_get_peer(c->tls, ret) : -ENOENT;
}
