/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Standard output and a file: one record a line, as it would be sent, JSON or
 * an RFC 5424 message, but without the intake key. A line feed inside a message
 * is written as #012. Settled when written; what a file's disk makes of it is
 * not ours.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "output/out.h"

#define WINDOW_MSGS  16384 /* a power of two */
#define WINDOW_BYTES (4u << 20)
#define LOOK_MS	     1000 /* is the file still the one that has this name? */

static const struct slice key_shown = { "***", 3 };

struct file {
	struct output *out;
	const char *path; /* NULL: standard output */
	int fd;
	bool is_nonblocking; /* or a regular file: write(2) takes what it can */
	bool is_starved;
	struct buf buf;
	uint64_t written; /* bytes of the stream */
	uint64_t looked_ms;
	struct out_marks marks;
	struct rfc5424_sd sd;
	struct loop_io io; /* in the loop while the descriptor is full */
	struct loop_timer start;
	char failed[PATH_MAX + 80]; /* why open() has failed */
};

static const char *name_of(const struct file *f)
{
	return f->path ? f->path : "stdout";
}

static void stop(struct file *f)
{
	loop_timer_cancel(&f->start);
	loop_del(&f->io);
	if (f->path)
		close_fd(f->fd);
	f->fd = -1;
}

/* ------------------------------------------------------------------ the descriptor */

/* A line that a crash or a full disk has cut is ended, so that it damages no other. */
static int end_torn_line(const struct file *f)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	char last;

	if (fstat(f->fd, &st) < 0 || !S_ISREG(st.st_mode) || !st.st_size)
		return 0;
	fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || pread(fd, &last, 1, st.st_size - 1) != 1 || last == '\n')
		return 0;
	return write(f->fd, "\n", 1) == 1 ? 0 : -errno;
}

static int open_path(struct file *f)
{
	f->fd = open(f->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		     0640);
	if (f->fd < 0)
		return -errno;
	f->is_nonblocking = true;
	f->io.fd = f->fd;
	return end_torn_line(f);
}

static int open_stdout(struct file *f)
{
	struct stat st;
	int flags;

	flags = fcntl(STDOUT_FILENO, F_GETFL);
	if (flags < 0 || fstat(STDOUT_FILENO, &st) < 0)
		return -errno;
	/*
	 * Others share this open file, a shell among them: its flags are not
	 * ours to change. So a pipe gets no more at once than poll() promises.
	 */
	f->is_nonblocking = (flags & O_NONBLOCK) || S_ISREG(st.st_mode);
	f->fd = STDOUT_FILENO;
	f->io.fd = f->fd;
	return 0;
}

/* It was moved or removed, as log rotation does: what comes next goes to a new one. */
static int follow_path(struct file *f)
{
	struct stat ours, named;
	uint64_t now_ms = loop_now_ms(f->out->loop);

	if (!f->path || f->buf.len || now_ms - f->looked_ms < LOOK_MS)
		return 0;
	f->looked_ms = now_ms;
	if (fstat(f->fd, &ours) < 0 || !S_ISREG(ours.st_mode))
		return 0;
	if (stat(f->path, &named) == 0 && named.st_ino == ours.st_ino &&
	    named.st_dev == ours.st_dev)
		return 0;
	loop_del(&f->io);
	close_fd(TAKE_FD(f->fd));
	return open_path(f);
}

/* ------------------------------------------------------------------ writing */

static void on_writable(void *arg, uint32_t events);

static ssize_t write_once(struct file *f)
{
	struct pollfd p = { .fd = f->fd, .events = POLLOUT };
	size_t n = f->buf.len;
	ssize_t done;

	if (!f->is_nonblocking) {
		if (poll(&p, 1, 0) == 0)
			return -EAGAIN;
		n = n < PIPE_BUF ? n : PIPE_BUF;
	}
	do
		done = write(f->fd, buf_data(&f->buf), n);
	while (done < 0 && errno == EINTR);
	return done < 0 ? -errno : done;
}

/* 0, also when the rest has to wait; -errno. Settles what was written. */
static int write_some(struct file *f)
{
	ssize_t n = 0;
	int err = 0;

	while (f->buf.len) {
		n = write_once(f);
		if (n < 0)
			break;
		buf_consume(&f->buf, (size_t)n);
		f->written += (uint64_t)n;
	}
	out_marks_settle(f->out, &f->marks, f->written);
	if (n < 0 && n != -EAGAIN)
		return (int)n;
	if (!f->buf.len) {
		loop_del(&f->io);
	} else if (!f->io.loop) {
		f->io.events = EPOLLOUT;
		err = loop_add(f->out->loop, &f->io);
	}
	return err;
}

static void fail(struct file *f, int err)
{
	out_down(f->out, 0, "write %s: %s", name_of(f), log_strerror(err));
	stop(f);
}

static void on_writable(void *arg, uint32_t events)
{
	struct file *f = arg;
	int err;

	(void)events;
	err = write_some(f);
	if (err) {
		fail(f, err);
		return;
	}
	if (f->is_starved && f->buf.len < OUT_HIGH_BYTES) {
		f->is_starved = false;
		f->out->events->on_ready(f->out->arg);
	}
}

/* ------------------------------------------------------------------ lines */

/* The message at at[0..len) has extra bytes of room behind it for its n_lf line feeds. */
static size_t show_line_feeds(char *at, size_t len, size_t n_lf)
{
	size_t from = len, to = len + 3 * n_lf, all = to;

	while (from != to) {
		char c = at[--from];

		if (c == '\n') {
			to -= 4;
			memcpy(at + to, "#012", 4);
		} else {
			at[--to] = c;
		}
	}
	return all;
}

static size_t count_line_feeds(struct slice s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++)
		n += s.p[i] == '\n';
	return n;
}

static int append_line(struct file *f, const struct msg *m)
{
	size_t n_lf, len;
	char *at;
	int err;

	if (!m->text.len) {
		err = buf_reserve(&f->buf, m->json.len + 1, &at);
		if (err)
			return err;
		if (m->json.len)
			memcpy(at, m->json.p, m->json.len);
		len = m->json.len;
		/* Between the tokens of JSON one space is as good as another. */
		for (char *p = at; (p = memchr(p, '\n', (size_t)(at + len - p)));)
			*p = ' ';
	} else {
		n_lf = count_line_feeds(m->text);
		len = rfc5424_len(&f->sd, m);
		err = buf_reserve(&f->buf, len + 3 * n_lf + 1, &at);
		if (err)
			return err;
		rfc5424_encode(at, &f->sd, m);
		len = show_line_feeds(at, len, n_lf);
	}
	at[len] = '\n';
	buf_added(&f->buf, len + 1);
	out_marks_push(&f->marks, m->seq, len + 1);
	f->out->sent_bytes += len + 1;
	return 0;
}

/* ------------------------------------------------------------------ what the shipper calls */

static void on_start(void *arg, uint64_t now_ms)
{
	struct file *f = arg;

	(void)now_ms;
	if (f->fd >= 0) {
		snprintf(f->out->peer, sizeof(f->out->peer), "%s", name_of(f));
		f->out->events->on_ready(f->out->arg);
		return;
	}
	out_down(f->out, 0, "%s", f->failed);
}

static void file_close(struct output *out)
{
	struct file *f = out->impl;

	if (!f)
		return;
	stop(f);
	out_marks_done(&f->marks);
	buf_done(&f->buf);
	free(f);
	out->impl = NULL;
}

static int file_open_any(struct output *out, const char *path)
{
	struct file *f;
	int err;

	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	out->impl = f;
	f->out = out;
	f->path = path;
	f->fd = -1;
	f->io = (struct loop_io){ .fd = -1, .fn = on_writable, .arg = f };
	f->start = (struct loop_timer){ .fn = on_start, .arg = f };
	f->looked_ms = loop_now_ms(out->loop);
	/* A message of nothing but line feeds is four times as long here. */
	buf_init(&f->buf, OUT_HIGH_BYTES + 4 * (MSG_MAX_BYTES + 4096));
	rfc5424_sd_init(&f->sd, key_shown);
	err = out_marks_init(&f->marks, WINDOW_MSGS);
	if (err) {
		file_close(out);
		return err;
	}
	err = path ? open_path(f) : open_stdout(f);
	if (err) {
		snprintf(f->failed, sizeof(f->failed), "open %s: %s", name_of(f),
			 log_strerror(err));
		stop(f);
	}
	/* A missing folder may come back: told as any end of a connection, from the loop. */
	loop_timer_set(out->loop, &f->start, loop_now_ms(out->loop));
	return 0;
}

static int file_open(struct output *out)
{
	return out->config->output_file ? file_open_any(out, out->config->output_file) : -EINVAL;
}

static int stdout_open(struct output *out)
{
	return file_open_any(out, NULL);
}

static int file_send(struct output *out, const struct msg *m)
{
	struct file *f = out->impl;
	int err;

	if (f->fd < 0)
		return -ENOTCONN;
	err = follow_path(f);
	if (err)
		return err;
	if (out_marks_is_full(&f->marks) && !f->io.loop) {
		err = write_some(f);
		if (err)
			return err;
	}
	if (out_marks_is_full(&f->marks) || f->buf.len >= OUT_HIGH_BYTES) {
		/* The loop watches the descriptor: on_writable() follows. */
		f->is_starved = true;
		return -EAGAIN;
	}
	err = append_line(f, m);
	if (err)
		return err == -ENOBUFS ? -EMSGSIZE : err;
	if (f->buf.len >= OUT_FLUSH_BYTES && !f->io.loop)
		return write_some(f);
	return 0;
}

static void file_flush(struct output *out)
{
	struct file *f = out->impl;
	int err;

	if (f->fd < 0 || f->io.loop)
		return;
	err = write_some(f);
	if (err)
		fail(f, err);
}

static void file_rest(struct output *out)
{
	struct file *f = out->impl;

	out_marks_rest(&f->marks);
	buf_rest(&f->buf);
}

static void file_finish(struct output *out)
{
	struct file *f = out->impl;
	int err = 0;

	if (f->fd < 0)
		return;
	/* One more try; what a full pipe does not take now stays in the spool. */
	err = write_some(f);
	if (err)
		out_down(out, 0, "write %s: %s", name_of(f), log_strerror(err));
	else
		out_down(out, 0, "closed");
	stop(f);
}

const struct output_ops output_stdout = {
	.name = "stdout",
	.local = true,
	.window_msgs = WINDOW_MSGS,
	.window_bytes = WINDOW_BYTES,
	.open = stdout_open,
	.send = file_send,
	.flush = file_flush,
	.rest = file_rest,
	.finish = file_finish,
	.close = file_close,
};

const struct output_ops output_file = {
	.name = "file",
	.local = true,
	.window_msgs = WINDOW_MSGS,
	.window_bytes = WINDOW_BYTES,
	.open = file_open,
	.send = file_send,
	.flush = file_flush,
	.rest = file_rest,
	.finish = file_finish,
	.close = file_close,
};
