/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "output/resolve.h"

#include <ares.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "user/util/cleanup.h"

#define SOCKETS_MAX	  16
#define SERVER_TIMEOUT_MS 2000
#define SERVER_TRIES	  3
#define IPV6_GRACE_MS	  50 /* RFC 8305, 3 */

enum family { V6, V4, FAMILIES };
static const int af_of[FAMILIES] = { AF_INET6, AF_INET };

struct query {
	struct resolve *r;
	bool done;
	int status; /* ARES_* */
};

struct watch {
	struct resolve *r;
	struct loop_io io;
};

struct resolve {
	struct loop *loop;
	resolve_fn fn;
	void *arg;
	ares_channel channel; /* NULL for a literal */
	struct query query[FAMILIES];
	struct watch watches[SOCKETS_MAX];
	struct loop_timer io_timer;   /* c-ares wants to be called */
	struct loop_timer tell_timer; /* there is something to tell; never from inside c-ares */
	uint16_t port;
	/* Not told yet. */
	union resolve_addr addrs[FAMILIES][RESOLVE_ADDRS_MAX];
	int n[FAMILIES];
	bool told_any;
	char host[];
};

/* ------------------------------------------------------------------ addresses */

/* if_nametoindex(3), whose Unix socket the shipper may not have. 0: there is none. */
static unsigned int zone_index(const char *name)
{
	_cleanup_close_ int fd = -1;
	struct ifreq r = { 0 };

	if (!*name || strlen(name) >= sizeof(r.ifr_name))
		return 0;
	memcpy(r.ifr_name, name, strlen(name));
	fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return fd >= 0 && ioctl(fd, SIOCGIFINDEX, &r) == 0 ? (unsigned int)r.ifr_ifindex : 0;
}

/* The same the other way round. */
static bool zone_name(unsigned int index, char ret[static IF_NAMESIZE])
{
	_cleanup_close_ int fd = -1;
	struct ifreq r = { .ifr_ifindex = (int)index };

	fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCGIFNAME, &r) < 0)
		return false;
	memcpy(ret, r.ifr_name, IF_NAMESIZE);
	return true;
}

bool resolve_literal(const char *host, uint16_t port, union resolve_addr *ret)
{
	char text[INET6_ADDRSTRLEN];
	const char *zone;
	size_t len;

	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, host, &ret->v4.sin_addr) == 1) {
		ret->v4.sin_family = AF_INET;
		ret->v4.sin_port = htons(port);
		return true;
	}
	zone = strchrnul(host, '%');
	len = (size_t)(zone - host);
	if (len >= sizeof(text))
		return false;
	memcpy(text, host, len);
	text[len] = '\0';
	if (inet_pton(AF_INET6, text, &ret->v6.sin6_addr) != 1)
		return false;
	ret->v6.sin6_family = AF_INET6;
	ret->v6.sin6_port = htons(port);
	if (*zone) {
		ret->v6.sin6_scope_id = zone_index(zone + 1);
		return ret->v6.sin6_scope_id != 0;
	}
	return true;
}

const char *resolve_addr_text(const union resolve_addr *a, char text[static RESOLVE_TEXT_SIZE])
{
	char zone[IF_NAMESIZE];
	size_t len;

	if (a->any.sa_family != AF_INET6) {
		inet_ntop(AF_INET, &a->v4.sin_addr, text, RESOLVE_TEXT_SIZE);
		return text;
	}
	inet_ntop(AF_INET6, &a->v6.sin6_addr, text, RESOLVE_TEXT_SIZE);
	len = strlen(text);
	if (a->v6.sin6_scope_id && zone_name(a->v6.sin6_scope_id, zone))
		snprintf(text + len, RESOLVE_TEXT_SIZE - len, "%%%s", zone);
	return text;
}

/* The port is the same for all. */
static bool is_same_addr(const union resolve_addr *a, const union resolve_addr *b)
{
	if (a->any.sa_family != b->any.sa_family)
		return false;
	if (a->any.sa_family == AF_INET6)
		return IN6_ARE_ADDR_EQUAL(&a->v6.sin6_addr, &b->v6.sin6_addr) &&
		       a->v6.sin6_scope_id == b->v6.sin6_scope_id;
	return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
}

static void add_addr(struct resolve *r, const struct sockaddr *sa)
{
	enum family f = sa->sa_family == AF_INET6 ? V6 : V4;
	union resolve_addr *a;

	if ((sa->sa_family != AF_INET6 && sa->sa_family != AF_INET) || r->n[f] == RESOLVE_ADDRS_MAX)
		return;
	a = &r->addrs[f][r->n[f]];
	memset(a, 0, sizeof(*a));
	if (f == V6) {
		memcpy(&a->v6, sa, sizeof(a->v6));
		a->v6.sin6_port = htons(r->port);
	} else {
		memcpy(&a->v4, sa, sizeof(a->v4));
		a->v4.sin_port = htons(r->port);
	}
	for (int i = 0; i < r->n[f]; i++)
		if (is_same_addr(&r->addrs[f][i], a))
			return;
	r->n[f]++;
}

static void add_answer(struct resolve *r, struct ares_addrinfo *answer)
{
	for (struct ares_addrinfo_node *node = answer->nodes; node; node = node->ai_next)
		add_addr(r, node->ai_addr);
	ares_freeaddrinfo(answer);
}

/* ------------------------------------------------------------------ telling */

static void tell_at(struct resolve *r, uint64_t due_ms)
{
	loop_timer_set(r->loop, &r->tell_timer, due_ms);
}

void resolve_servers(const struct resolve *r, char *text, size_t size)
{
	struct ares_addr_port_node *servers = NULL;
	char addr[INET6_ADDRSTRLEN];
	size_t at = 0;

	text[0] = '\0';
	if (!r->channel || ares_get_servers_ports(r->channel, &servers) != ARES_SUCCESS)
		return;
	for (struct ares_addr_port_node *s = servers; s && at < size; s = s->next) {
		if (!inet_ntop(s->family, &s->addr, addr, sizeof(addr)))
			continue;
		at += (size_t)snprintf(text + at, size - at, "%s%s", at ? ", " : "", addr);
	}
	ares_free_data(servers);
}

static void explain(const struct resolve *r, char *text, size_t size)
{
	int status = r->query[V6].status;
	char servers[128];

	/* "No address of this family" says least, so the other one's answer counts. */
	if (status == ARES_SUCCESS || status == ARES_ENODATA)
		status = r->query[V4].status;
	resolve_servers(r, servers, sizeof(servers));
	switch (status) {
	case ARES_ENOTFOUND:
	case ARES_EBADNAME:
		snprintf(text, size, "no such name; check its spelling");
		return;
	case ARES_SUCCESS:
	case ARES_ENODATA:
		snprintf(text, size, "the name has no address");
		return;
	case ARES_ETIMEOUT:
		snprintf(text, size,
			 "no answer from the name server (%s); check /etc/resolv.conf and the "
			 "firewall",
			 servers);
		return;
	case ARES_ECONNREFUSED: /* c-ares' word for "each one failed", too */
	case ARES_ESERVFAIL:
	case ARES_EREFUSED:
	case ARES_ENOTIMP:
	case ARES_EFORMERR:
		snprintf(
			text, size,
			"the name server (%s) failed or can not be reached; check /etc/resolv.conf",
			servers);
		return;
	default:
		snprintf(text, size, "%s", ares_strerror(status));
	}
}

static void on_tell(void *arg, uint64_t now_ms)
{
	struct resolve *r = arg;
	union resolve_addr all[FAMILIES * RESOLVE_ADDRS_MAX];
	bool more = !r->query[V6].done || !r->query[V4].done;
	char why[320] = "";
	int n = 0;

	(void)now_ms;
	for (int f = 0; f < FAMILIES; f++) {
		for (int i = 0; i < r->n[f]; i++)
			all[n++] = r->addrs[f][i];
		r->n[f] = 0;
	}
	if (n)
		r->told_any = true;
	if (!n && more)
		return;
	if (!r->told_any)
		explain(r, why, sizeof(why));
	r->fn(r->arg, all, n, more, why);
}

/* ------------------------------------------------------------------ c-ares */

static void process(struct resolve *r, int read_fd, int write_fd)
{
	struct timeval tv, *next;
	uint64_t ms;

	ares_process_fd(r->channel, read_fd, write_fd);
	next = ares_timeout(r->channel, NULL, &tv);
	if (!next) {
		loop_timer_cancel(&r->io_timer);
		return;
	}
	/* Rounded up, and at least 1: c-ares must find that the time has come. */
	ms = (uint64_t)next->tv_sec * 1000 + ((uint64_t)next->tv_usec + 999) / 1000;
	loop_timer_set(r->loop, &r->io_timer, loop_now_ms(r->loop) + (ms ? ms : 1));
}

static void on_io_timer(void *arg, uint64_t now_ms)
{
	(void)now_ms;
	process(arg, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

static void on_io(void *arg, uint32_t events)
{
	struct watch *w = arg;
	int fd = w->io.fd;

	process(w->r, events & (EPOLLIN | EPOLLERR | EPOLLHUP) ? fd : ARES_SOCKET_BAD,
		events & EPOLLOUT ? fd : ARES_SOCKET_BAD);
}

static void on_socket(void *arg, int fd, int readable, int writable)
{
	struct resolve *r = arg;
	struct watch *w = NULL, *unused = NULL;
	uint32_t events = (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u);

	for (int i = 0; i < SOCKETS_MAX; i++) {
		if (r->watches[i].io.loop && r->watches[i].io.fd == fd)
			w = &r->watches[i];
		else if (!r->watches[i].io.loop && !unused)
			unused = &r->watches[i];
	}
	if (!events) {
		if (w)
			loop_del(&w->io);
	} else if (w) {
		loop_watch(&w->io, events);
	} else if (unused) {
		/* On failure, and without a place, the server's timeout helps. */
		*unused = (struct watch){ r, { .fd = fd, .events = events, .fn = on_io } };
		unused->io.arg = unused;
		loop_add(r->loop, &unused->io);
	}
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *answer)
{
	struct query *q = arg;
	struct resolve *r = q->r;
	uint64_t now_ms = loop_now_ms(r->loop);
	bool is_v4 = q == &r->query[V4];

	(void)timeouts;
	if (status == ARES_EDESTRUCTION || status == ARES_ECANCELLED)
		return;
	q->done = true;
	q->status = status;
	if (status == ARES_SUCCESS)
		add_answer(r, answer);
	if (r->query[V4].done && r->query[V6].done)
		tell_at(r, now_ms);
	else if (r->n[V4] || r->n[V6])
		tell_at(r, is_v4 ? now_ms + IPV6_GRACE_MS : now_ms);
}

static void on_hosts(void *arg, int status, int timeouts, struct ares_addrinfo *answer)
{
	struct resolve *r = arg;

	(void)timeouts;
	if (status == ARES_SUCCESS)
		add_answer(r, answer);
}

static int new_channel(struct resolve *r, const char *lookups, ares_channel *ret)
{
	char order[4];
	struct ares_options options = {
		.lookups = order,
		.timeout = SERVER_TIMEOUT_MS,
		.tries = SERVER_TRIES,
		.sock_state_cb = on_socket,
		.sock_state_cb_data = r,
	};

	snprintf(order, sizeof(order), "%s", lookups);
	switch (ares_init_options(ret, &options,
				  ARES_OPT_LOOKUPS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
					  ARES_OPT_SOCK_STATE_CB)) {
	case ARES_SUCCESS:
		return 0;
	case ARES_ENOMEM:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

/* What /etc/hosts says about a name is all there is: it overrides DNS for both families. */
static int ask_hosts(struct resolve *r)
{
	/* The name server's order is kept: it may be how load is balanced. */
	struct ares_addrinfo_hints hints = { .ai_flags = ARES_AI_NOSORT,
					     .ai_family = AF_UNSPEC,
					     .ai_socktype = SOCK_STREAM };
	ares_channel channel;
	int err;

	err = new_channel(r, "f", &channel);
	if (err)
		return err;
	ares_getaddrinfo(channel, r->host, NULL, &hints, on_hosts, r);
	ares_destroy(channel);
	return 0;
}

static int ask_dns(struct resolve *r)
{
	struct ares_addrinfo_hints hints = { .ai_flags = ARES_AI_NOSORT,
					     .ai_socktype = SOCK_STREAM };
	int err;

	err = new_channel(r, "b", &r->channel);
	if (err)
		return err;
	/* Two questions, so that a server that drops one of them costs the grace time at most. */
	for (int f = 0; f < FAMILIES; f++) {
		hints.ai_family = af_of[f];
		ares_getaddrinfo(r->channel, r->host, NULL, &hints, on_answer, &r->query[f]);
	}
	process(r, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	return 0;
}

int resolve_new(struct loop *loop, const char *host, uint16_t port, resolve_fn fn, void *arg,
		struct resolve **ret)
{
	_cleanup_(resolve_freep) struct resolve *r = NULL;
	static bool library_ready;
	union resolve_addr literal;
	size_t len = strlen(host);
	int err;

	if (!len || len > RESOLVE_HOST_MAX)
		return -EINVAL;
	if (!library_ready && ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
		return -ENOMEM;
	library_ready = true;

	r = calloc(1, sizeof(*r) + len + 1);
	if (!r)
		return -ENOMEM;
	memcpy(r->host, host, len);
	r->loop = loop;
	r->fn = fn;
	r->arg = arg;
	r->port = port;
	r->query[V4].r = r->query[V6].r = r;
	r->io_timer = (struct loop_timer){ .fn = on_io_timer, .arg = r };
	r->tell_timer = (struct loop_timer){ .fn = on_tell, .arg = r };

	if (resolve_literal(host, port, &literal)) {
		add_addr(r, &literal.any);
	} else {
		err = ask_hosts(r);
		if (err)
			return err;
	}
	if (r->n[V4] || r->n[V6]) {
		r->query[V4].done = r->query[V6].done = true;
		tell_at(r, loop_now_ms(loop));
	} else {
		err = ask_dns(r);
		if (err)
			return err;
	}
	*ret = TAKE_PTR(r);
	return 0;
}

void resolve_free(struct resolve *r)
{
	if (!r)
		return;
	if (r->channel)
		ares_destroy(r->channel);
	for (int i = 0; i < SOCKETS_MAX; i++)
		loop_del(&r->watches[i].io);
	loop_timer_cancel(&r->io_timer);
	loop_timer_cancel(&r->tell_timer);
	free(r);
}
