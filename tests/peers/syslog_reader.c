/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syslog_reader SOCKET: a log daemon that keeps nothing: makes a datagram socket, reads what is
 * sent there, and forgets it. Run it by the name of a log daemon, and it is one for the collector.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	static char message[65536];
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (argc != 2 || strlen(argv[1]) >= sizeof(to.sun_path)) {
		fprintf(stderr, "Usage: syslog_reader SOCKET\n");
		return 2;
	}
	memcpy(to.sun_path, argv[1], strlen(argv[1]) + 1);
	unlink(argv[1]);
	if (fd < 0 || bind(fd, (const void *)&to, sizeof(to)) < 0) {
		fprintf(stderr, "syslog_reader: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	while (recv(fd, message, sizeof(message), 0) >= 0 || errno == EINTR)
		;
	return 1;
}
