/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/command_status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "config/config.h"
#include "user/util/buf.h"
#include "user/util/log.h"

#define ANSWER_MAX_BYTES (1u << 20)
#define WAIT_SECONDS	 10

static int tell_refusal(const char *path, int err)
{
	if (err == ENOENT || err == ECONNREFUSED)
		log_error("no collector answers at %s; start it (systemctl start sekoia-ebpf), or "
			  "name its monitor.socket, as its configuration does",
			  path);
	else if (err == EACCES || err == EPERM)
		log_error("%s: only root may ask: sudo sekoia-ebpf status", path);
	else
		log_error("%s: %s", path, log_strerror(err));
	return STATUS_NOT_RUNNING;
}

static int ask(const char *path, const char *page, struct buf *ret)
{
	static const struct timeval wait = { .tv_sec = WAIT_SECONDS };
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	char request[64];
	size_t len;

	if ((size_t)snprintf(at.sun_path, sizeof(at.sun_path), "%s", path) >= sizeof(at.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return -errno;
	len = (size_t)snprintf(request, sizeof(request), "GET %s HTTP/1.0\r\n\r\n", page);
	if (write(fd, request, len) != (ssize_t)len)
		return -EIO;
	for (;;) {
		char *to;
		ssize_t n;
		int err = buf_reserve(ret, 16384, &to);

		if (err)
			return err;
		n = read(fd, to, 16384);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (n == 0)
			return 0;
		buf_added(ret, (size_t)n);
	}
}

/* The number behind a header's name, or -1. */
static long header(struct slice head, const char *name)
{
	const char *at = memmem(head.p, head.len, name, strlen(name));

	return at ? strtol(at + strlen(name), NULL, 10) : -1;
}

static int show(const char *path, struct buf *answer)
{
	struct slice all = buf_slice(answer), head = all;
	const char *end = all.len ? memmem(all.p, all.len, "\r\n\r\n", 4) : NULL;
	long length, wrongs;

	if (end)
		head.len = (size_t)(end + 2 - all.p);
	length = header(head, "\r\nContent-Length: ");
	wrongs = header(head, "\r\nSekoia-Wrong: ");
	if (!end || all.len < 13 || memcmp(all.p, "HTTP/1.0 200 ", 13) != 0 || wrongs < 0 ||
	    length != (long)(all.len - head.len - 2)) {
		log_error("%s: the answer is not a collector's, or not whole; is another program "
			  "behind it, or is it busy? Try again",
			  path);
		return STATUS_NOT_RUNNING;
	}
	fwrite(end + 4, 1, (size_t)length, stdout);
	if (fflush(stdout))
		return STATUS_NOT_RUNNING;
	return wrongs ? STATUS_WRONG : STATUS_WELL;
}

int command_status(const struct config *c, int argc, char **argv)
{
	const char *page = "/", *path = c->monitor_socket;
	struct buf answer;
	int err;

	if (c->command_flags & COMMAND_JSON)
		page = "/status";
	if (argc && !strcmp(argv[0], "metrics")) {
		page = "/metrics";
	} else if (argc) {
		log_error("status: \"%s\" is no form of it; allowed: metrics, --json, or nothing",
			  argv[0]);
		return STATUS_NOT_RUNNING;
	}
	if (!path || !*path || !strcmp(path, "off")) {
		log_error("monitor.socket is off: a collector with this configuration can not be "
			  "asked; give it a path, /run/sekoia-ebpf/monitor");
		return STATUS_NOT_RUNNING;
	}
	buf_init(&answer, ANSWER_MAX_BYTES);
	err = ask(path, page, &answer);
	err = err ? tell_refusal(path, -err) : show(path, &answer);
	buf_done(&answer);
	return err;
}
