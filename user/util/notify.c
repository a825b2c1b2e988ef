/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/util/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "user/util/cleanup.h"

#define MESSAGE_MAX 512

/* A number that is nothing but digits; 0 if it is not. */
static uint64_t parse_number(const char *text)
{
	char *end;
	unsigned long long value;

	if (!text || *text < '0' || *text > '9')
		return 0;
	errno = 0;
	value = strtoull(text, &end, 10);
	return errno || *end ? 0 : value;
}

static uint64_t watchdog_ms(void)
{
	const char *pid = getenv("WATCHDOG_PID");

	/* Set for another process: one that executed us. */
	if (pid && parse_number(pid) != (uint64_t)getpid())
		return 0;
	return parse_number(getenv("WATCHDOG_USEC")) / 2000;
}

/* sd_notify(3): a path, or the name of an abstract socket behind an @. */
static int parse_address(const char *text, struct sockaddr_un *ret, socklen_t *ret_len)
{
	size_t len = strlen(text);

	if (text[0] != '/' && text[0] != '@')
		return -EAFNOSUPPORT;
	if (len < 2)
		return -EINVAL;
	/* A path has its final NUL, an abstract name is as long as it says. */
	if (len + (text[0] == '/') > sizeof(ret->sun_path))
		return -ENAMETOOLONG;
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(ret->sun_path, text, len);
	if (text[0] == '@')
		ret->sun_path[0] = '\0';
	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (text[0] == '/'));
	return 0;
}

int notify_init(struct notify *n)
{
	const char *address = getenv("NOTIFY_SOCKET");
	int err = 0;

	*n = (struct notify){ .fd = -1 };
	if (address && *address)
		err = parse_address(address, &n->to, &n->to_len);
	if (address && *address && !err) {
		/* Opened once, while this is still allowed. */
		n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (n->fd < 0)
			err = -errno;
		else
			n->watchdog_ms = watchdog_ms();
	}
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	return err;
}

void notify_done(struct notify *n)
{
	close_fd(n->fd);
	n->fd = -1;
}

int notify_send(const struct notify *n, const char *fmt, ...)
{
	char text[MESSAGE_MAX];
	va_list ap;
	int len;

	if (n->fd < 0)
		return 0;
	va_start(ap, fmt);
	len = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (len < 0)
		return -EINVAL;
	if (len >= (int)sizeof(text))
		len = sizeof(text) - 1;
	/* Each time by its address: a manager that executes itself anew makes a new socket. */
	if (sendto(n->fd, text, (size_t)len, MSG_NOSIGNAL, (const struct sockaddr *)&n->to,
		   n->to_len) < 0)
		return -errno;
	return 0;
}
