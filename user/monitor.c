/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "config/config.h"
#include "user/monitor_request.h"
#include "user/util/buf.h"

#define CLIENTS_MAX	 8    /* of the Unix socket */
#define SCRAPERS_MAX	 4    /* of the loopback address */
#define CLIENT_MS	 5000 /* from the accept to the last byte */
#define ANSWER_MAX_BYTES (256u << 10)

struct client {
	struct monitor *monitor;
	struct loop_io io;
	struct loop_timer deadline;
	struct buf answer;
	bool is_scraper; /* for it there is /metrics */
	size_t len;	 /* of request */
	char request[MONITOR_REQUEST_MAX];
};

struct monitor {
	struct monitor_opts opts;
	struct loop_io io, scrape_io;
	struct stat made; /* the socket's file */
	struct client clients[CLIENTS_MAX + SCRAPERS_MAX];
	struct monitor_stats stats;
};

static void close_client(struct client *c)
{
	loop_del(&c->io);
	loop_timer_cancel(&c->deadline);
	close_fd(c->io.fd);
	c->io.fd = -1;
	buf_done(&c->answer);
}

static void refuse(struct client *c)
{
	c->monitor->stats.refused++;
	close_client(c);
}

static void on_deadline(void *arg, uint64_t now_ms)
{
	(void)now_ms;
	refuse(arg);
}

/* ------------------------------------------------------------------ answers */

static int put_status(const struct books *b, struct buf *ret)
{
	struct json_writer w;
	char *at;
	int err = buf_reserve(ret, ANSWER_MAX_BYTES / 2, &at);

	if (err)
		return err;
	json_init(&w, at, ANSWER_MAX_BYTES / 2);
	json_object(&w, NULL);
	books_put_json(b, false, &w);
	json_object_end(&w);
	if (!json_len(&w))
		return -ENOBUFS;
	buf_added(ret, json_len(&w));
	return buf_puts(ret, "\n");
}

static int put_body(struct monitor *m, enum monitor_page page, bool scraper, struct buf *ret)
{
	struct books *b = m->opts.books;

	m->opts.read_books(m->opts.arg, b, BOOKS_READ_ALL);
	switch (page) {
	case MONITOR_PAGE:
		return books_put_page(b, ret);
	case MONITOR_STATUS:
		return put_status(b, ret);
	case MONITOR_METRICS:
		return books_put_metrics(b, ret);
	default:
		return buf_puts(ret, scraper ? "There is /metrics.\n"
					     : "There is /, /status and /metrics.\n");
	}
}

static const char *const types[] = {
	[MONITOR_PAGE] = "text/plain; charset=utf-8",
	[MONITOR_STATUS] = "application/json",
	[MONITOR_METRICS] = "text/plain; version=0.0.4; charset=utf-8",
	[MONITOR_NOT_FOUND] = "text/plain",
	[MONITOR_NOT_ALLOWED] = "text/plain",
};

static int put_answer(struct monitor *m, enum monitor_page page, bool scraper, struct buf *ret)
{
	const char *status = page == MONITOR_NOT_FOUND	   ? "404 Not Found"
			     : page == MONITOR_NOT_ALLOWED ? "405 Method Not Allowed"
							   : "200 OK";
	struct buf body;
	int err;

	buf_init(&body, ANSWER_MAX_BYTES);
	err = put_body(m, page, scraper, &body);
	if (!err)
		err = buf_printf(ret,
				 "HTTP/1.0 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
				 "Sekoia-Wrong: %d\r\nConnection: close\r\n\r\n",
				 status, types[page], body.len, m->opts.books->n_wrongs);
	if (!err)
		err = buf_append(ret, buf_data(&body), body.len);
	buf_done(&body);
	return err;
}

/* ------------------------------------------------------------------ clients */

static void write_answer(struct client *c)
{
	while (c->answer.len) {
		ssize_t n = write(c->io.fd, buf_data(&c->answer), c->answer.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (loop_watch(&c->io, EPOLLOUT) < 0)
				refuse(c);
			return;
		}
		if (n <= 0) {
			refuse(c);
			return;
		}
		buf_consume(&c->answer, (size_t)n);
	}
	close_client(c);
}

static void read_request(struct client *c)
{
	enum monitor_page page;
	ssize_t n;
	int whole;

	do {
		n = read(c->io.fd, c->request + c->len, sizeof(c->request) - c->len);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		refuse(c);
		return;
	}
	c->len += (size_t)n;
	whole = monitor_parse((struct slice){ c->request, c->len }, &page);
	if (!whole)
		return;
	if (whole < 0) {
		static const char bad[] = "HTTP/1.0 400 Bad Request\r\n\r\n";

		/* If it can not be told at once it is not told. */
		if (write(c->io.fd, bad, sizeof(bad) - 1) < 0)
			errno = 0;
		refuse(c);
		return;
	}
	c->monitor->stats.requests++;
	if (c->is_scraper && (page == MONITOR_PAGE || page == MONITOR_STATUS))
		page = MONITOR_NOT_FOUND;
	if (put_answer(c->monitor, page, c->is_scraper, &c->answer) < 0)
		refuse(c);
	else
		write_answer(c);
}

static void on_client(void *arg, uint32_t events)
{
	struct client *c = arg;

	(void)events;
	if (c->answer.len)
		write_answer(c);
	else
		read_request(c);
}

static void take_client(struct monitor *m, int listener, int first, int n)
{
	struct client *c = NULL;
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	for (int i = first; i < first + n && !c; i++)
		if (m->clients[i].io.fd < 0)
			c = &m->clients[i];
	if (!c) {
		m->stats.refused++;
		close(fd);
		return;
	}
	c->len = 0;
	buf_init(&c->answer, 2 * ANSWER_MAX_BYTES);
	c->io = (struct loop_io){ .fd = fd, .events = EPOLLIN, .fn = on_client, .arg = c };
	c->deadline = (struct loop_timer){ .fn = on_deadline, .arg = c };
	loop_timer_set(m->opts.loop, &c->deadline, loop_now_ms(m->opts.loop) + CLIENT_MS);
	if (loop_add(m->opts.loop, &c->io) < 0)
		refuse(c);
}

static void on_accept(void *arg, uint32_t events)
{
	struct monitor *m = arg;

	(void)events;
	take_client(m, m->io.fd, 0, CLIENTS_MAX);
}

static void on_scraper(void *arg, uint32_t events)
{
	struct monitor *m = arg;

	(void)events;
	take_client(m, m->scrape_io.fd, CLIENTS_MAX, SCRAPERS_MAX);
}

/* ------------------------------------------------------------------ the socket */

/* Root's alone, from its first moment on; a dead collector's is replaced. */
static int listen_at(const char *path, struct stat *made)
{
	_cleanup_close_ int fd = -1, probe = -1;
	struct sockaddr_un at = { .sun_family = AF_UNIX }, next = { .sun_family = AF_UNIX };
	mode_t mask;
	int err;

	if ((size_t)snprintf(at.sun_path, sizeof(at.sun_path), "%s", path) >= sizeof(at.sun_path) ||
	    (size_t)snprintf(next.sun_path, sizeof(next.sun_path), "%s.%d", path, (int)getpid()) >=
		    sizeof(next.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || probe < 0)
		return -errno;
	/* -EAGAIN: it lives, and has much to do. */
	if (!connect(probe, (struct sockaddr *)&at, sizeof(at)) || errno == EAGAIN)
		return -EADDRINUSE;
	if (errno != ENOENT && errno != ECONNREFUSED)
		return -errno;
	unlink(next.sun_path);
	mask = umask(0177);
	err = bind(fd, (struct sockaddr *)&next, sizeof(next)) < 0 ? -errno : 0;
	umask(mask);
	if (err)
		return err;
	if (listen(fd, CLIENTS_MAX) < 0 || stat(next.sun_path, made) < 0 ||
	    rename(next.sun_path, at.sun_path) < 0) {
		err = -errno;
		unlink(next.sun_path);
		return err;
	}
	return TAKE_FD(fd);
}

/* /run/sekoia-ebpf is gone after each boot. Only the last folder of the path is made. */
static int make_folder(const char *path)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
	const char *slash = strrchr(path, '/');

	if (!slash || slash == path)
		return 0;
	if ((size_t)(slash - path) >= sizeof(dir))
		return -ENAMETOOLONG;
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = 0;
	return mkdir(dir, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

int monitor_new(const struct monitor_opts *opts, struct monitor **ret)
{
	_cleanup_(monitor_freep) struct monitor *m = calloc(1, sizeof(*m));
	int fd, err;

	if (!m)
		return -ENOMEM;
	m->opts = *opts;
	m->io.fd = m->scrape_io.fd = -1;
	for (int i = 0; i < CLIENTS_MAX + SCRAPERS_MAX; i++) {
		m->clients[i].monitor = m;
		m->clients[i].io.fd = -1;
		m->clients[i].is_scraper = i >= CLIENTS_MAX;
	}
	if (!opts->path) {
		*ret = TAKE_PTR(m);
		return 0;
	}
	err = make_folder(opts->path);
	if (err)
		return err;
	fd = listen_at(opts->path, &m->made);
	if (fd < 0)
		return fd;
	m->io = (struct loop_io){ .fd = fd, .events = EPOLLIN, .fn = on_accept, .arg = m };
	err = loop_add(opts->loop, &m->io);
	if (err)
		return err;
	*ret = TAKE_PTR(m);
	return 0;
}

int monitor_listen(struct monitor *m, const char *address)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_storage at;
	int on = 1, err;

	err = config_parse_listen(address, &at);
	if (err)
		return err;
	fd = socket(at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* A predecessor's connections are no reason to wait. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&at,
		 at.ss_family == AF_INET ? sizeof(struct sockaddr_in)
					 : sizeof(struct sockaddr_in6)) < 0 ||
	    listen(fd, SCRAPERS_MAX) < 0)
		return -errno;
	m->scrape_io = (struct loop_io){ .fd = fd, .events = EPOLLIN, .fn = on_scraper, .arg = m };
	err = loop_add(m->opts.loop, &m->scrape_io);
	if (err) {
		m->scrape_io.fd = -1;
		return err;
	}
	TAKE_FD(fd);
	return 0;
}

void monitor_free(struct monitor *m)
{
	struct stat now;

	if (!m)
		return;
	for (int i = 0; i < CLIENTS_MAX + SCRAPERS_MAX; i++)
		if (m->clients[i].io.fd >= 0)
			close_client(&m->clients[i]);
	loop_del(&m->io);
	loop_del(&m->scrape_io);
	close_fd(m->scrape_io.fd);
	if (m->io.fd >= 0 && stat(m->opts.path, &now) == 0 && now.st_dev == m->made.st_dev &&
	    now.st_ino == m->made.st_ino)
		unlink(m->opts.path);
	close_fd(m->io.fd);
	free(m);
}

void monitor_get_stats(const struct monitor *m, struct monitor_stats *ret)
{
	*ret = m ? m->stats : (struct monitor_stats){ 0 };
}
