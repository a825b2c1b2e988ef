/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quic_client ADDRESS PORT NAME PAD VERSION: the first flight of a QUIC client whose hello takes
 * two datagrams, of which the second one is sent first. No server understands it, and none is
 * asked.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/hello.h"
#include "tests/lib/quic.h"

int main(int argc, char **argv)
{
	static const uint16_t ciphers[] = { 0x1301, 0x1302, 0x1303, 1 }, versions[] = { 0x0304, 1 },
			      algorithms[] = { 0x0403, 0x0804, 1 },
			      extensions[] = { 13, 21, 43, 57, 1 };
	struct sockaddr_in to = { .sin_family = AF_INET };
	uint8_t record[16384], frames[2048], datagram[2048];
	struct hello_wish wish = { .alpn = "h3",
				   .ciphers = ciphers,
				   .extensions = extensions,
				   .versions = versions,
				   .algorithms = algorithms };
	size_t len, n;
	int fd;

	if (argc != 6 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
		fprintf(stderr, "usage: quic_client ADDRESS PORT NAME PAD VERSION\n");
		return 2;
	}
	to.sin_port = htons((uint16_t)atoi(argv[2]));
	wish.server_name = argv[3];
	wish.pad = (size_t)atoi(argv[4]);
	if (wish.pad < 1000 || wish.pad > 1800) {
		fprintf(stderr, "quic_client: PAD is from 1000 to 1800: it must take two\n");
		return 2;
	}
	len = hello_make(&wish, record) - 5;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		perror("quic_client");
		return 1;
	}
	for (int second = 1; second >= 0; second--) {
		size_t from = second ? 1000 : 0, to_byte = second ? len : 1000;

		n = quic_crypto(record + 5, from, to_byte - from, frames);
		n = quic_seal(&(struct quic_wish){ .v2 = *argv[5] == '2',
						   .number = (uint32_t)second,
						   .size = 1200 },
			      frames, n, datagram);
		if (send(fd, datagram, n, 0) != (ssize_t)n) {
			perror("quic_client");
			return 1;
		}
	}
	close(fd);
	return 0;
}
