/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of a service manager that is told how a service is: binds the socket
 * that $NOTIFY_SOCKET is to name (a path, or @NAME for an abstract one) and
 * prints what comes, each assignment on a line, until it is killed. It says who
 * spoke, because a manager listens to the main process alone.
 *
 *     manager SOCKET
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static void print(const char *text, size_t len, pid_t pid)
{
	while (len) {
		const char *end = memchr(text, '\n', len);
		size_t n = end ? (size_t)(end - text) : len;

		printf("%d %.*s\n", (int)pid, (int)n, text);
		n += end != NULL;
		text += n;
		len -= n;
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const int on = 1;
	size_t len;
	int fd;

	if (argc != 2 || strlen(argv[1]) >= sizeof(a.sun_path)) {
		fputs("usage: manager SOCKET\n", stderr);
		return 2;
	}
	len = strlen(argv[1]);
	memcpy(a.sun_path, argv[1], len);
	if (a.sun_path[0] == '@')
		a.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&a,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0) {
		perror(argv[1]);
		return 1;
	}
	puts("listening");
	fflush(stdout);
	for (;;) {
		union {
			struct cmsghdr align;
			char space[CMSG_SPACE(sizeof(struct ucred))];
		} control;
		char text[4096];
		struct iovec iov = { text, sizeof(text) };
		struct msghdr m = { .msg_iov = &iov,
				    .msg_iovlen = 1,
				    .msg_control = &control,
				    .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(fd, &m, 0);
		struct ucred who = { 0 };
		struct cmsghdr *c;

		if (n < 0)
			return 1;
		c = CMSG_FIRSTHDR(&m);
		if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
			memcpy(&who, CMSG_DATA(c), sizeof(who));
		print(text, (size_t)n, who.pid);
	}
}
