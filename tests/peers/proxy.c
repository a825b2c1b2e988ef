/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP proxy for tests: CONNECT, to 127.0.0.1 whatever the name, so
 * that names can stand in a test that no resolver knows. It wants a password,
 * refuses, dawdles, babbles and cuts tunnels on request. One process for each
 * connection, since nothing here must be fast.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "user/util/cleanup.h"

#define HEAD_MAX 8192

static struct {
	uint16_t port;
	const char *ports_file, *log;
	char *auth;
	long status, delay_ms, byte_ms, cut_after;
	bool garbage, drop;
} opts;

static const char help[] =
	"Usage: proxy --ports-file FILE [OPTION...]\n"
	"  --port N        listen on this port of 127.0.0.1; 0 (default): any free one\n"
	"  --log FILE      a line for each request: \"CONNECT host:port STATUS\"\n"
	"  --auth FILE     it holds user:password; 407 for all others\n"
	"  --status CODE   answer with CODE, whatever is asked\n"
	"  --delay-ms MS   before the answer\n"
	"  --byte-ms MS    after each byte of the answer\n"
	"  --cut-after N   cut each tunnel after N bytes from the client\n"
	"  --garbage       answer with what is not HTTP\n"
	"  --drop          close instead of an answer\n";

static void sleep_ms(long ms)
{
	usleep((useconds_t)ms * 1000);
}

static bool send_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t done = send(fd, p, n, MSG_NOSIGNAL);

		if (done <= 0)
			return false;
		p += done;
		n -= (size_t)done;
	}
	return true;
}

static void answer(int fd, const char *text)
{
	if (opts.delay_ms)
		sleep_ms(opts.delay_ms);
	for (size_t i = 0; opts.byte_ms && text[i]; i++) {
		send_all(fd, text + i, 1);
		sleep_ms(opts.byte_ms);
	}
	if (!opts.byte_ms)
		send_all(fd, text, strlen(text));
}

/* Up to the empty line; not a byte of what follows. */
static bool read_head(int fd, char *head, size_t size)
{
	size_t len = 0;

	while (len + 1 < size && recv(fd, head + len, 1, 0) == 1) {
		head[++len] = '\0';
		if (head[0] != 'C')
			return false;
		if (len >= 4 && strcmp(head + len - 4, "\r\n\r\n") == 0)
			return true;
	}
	return false;
}

static bool is_allowed(const char *head)
{
	char expected[512] = "Proxy-Authorization: Basic ";
	size_t n = strlen(expected);

	if (!opts.auth)
		return true;
	EVP_EncodeBlock((unsigned char *)expected + n, (const unsigned char *)opts.auth,
			(int)strlen(opts.auth));
	strcat(expected, "\r\n");
	return strcasestr(head, expected);
}

static void note(const char *host, unsigned port, long status)
{
	_cleanup_fclose_ FILE *f = opts.log ? fopen(opts.log, "ae") : NULL;

	if (f)
		fprintf(f, "CONNECT %s:%u %ld\n", host, port, status);
}

static int connect_to(unsigned port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return -1;
	return TAKE_FD(fd);
}

/* Both ways, until both have ended. */
static void relay(int client, int server)
{
	struct pollfd p[2] = { { .fd = client, .events = POLLIN },
			       { .fd = server, .events = POLLIN } };
	char bytes[65536];
	long sent = 0;

	while (p[0].fd >= 0 || p[1].fd >= 0) {
		if (poll(p, 2, -1) < 0)
			return;
		for (int i = 0; i < 2; i++) {
			int to = i ? client : server;
			ssize_t n;

			if (p[i].fd < 0 || !p[i].revents)
				continue;
			n = recv(p[i].fd, bytes, sizeof(bytes), 0);
			if (n < 0)
				return;
			if (!n) {
				shutdown(to, SHUT_WR);
				p[i].fd = -1;
				continue;
			}
			if (!i)
				sent += n;
			if ((opts.cut_after && sent > opts.cut_after) ||
			    !send_all(to, bytes, (size_t)n))
				return;
		}
	}
}

static void serve(int client)
{
	_cleanup_close_ int server = -1;
	char head[HEAD_MAX], host[300], text[128];
	unsigned port = 0;
	long status = opts.status;

	if (!read_head(client, head, sizeof(head)) ||
	    sscanf(head, "CONNECT %299[^:]:%u HTTP/1.1\r\n", host, &port) != 2) {
		answer(client, "HTTP/1.1 400 Bad Request\r\n\r\n");
		return;
	}
	if (!status)
		status = is_allowed(head) ? 200 : 407;
	if (status == 200) {
		server = connect_to(port);
		if (server < 0)
			status = 502;
	}
	note(host, port, status);
	if (opts.drop)
		return;
	if (opts.garbage) {
		answer(client, "220 mail.example ESMTP ready\r\n");
		return;
	}
	snprintf(text, sizeof(text), "HTTP/1.1 %ld %s\r\n%s\r\n", status,
		 status == 200 ? "Connection established" : "No",
		 status == 407 ? "Proxy-Authenticate: Basic realm=\"test\"\r\n" : "");
	answer(client, text);
	if (status == 200)
		relay(client, server);
}

static int listen_on(uint16_t port, uint16_t *ret_port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(at);
	int one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&at, len) < 0 || listen(fd, 64) < 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &len) < 0)
		return -1;
	*ret_port = ntohs(at.sin_port);
	return TAKE_FD(fd);
}

static bool say_port(uint16_t port)
{
	char tmp[4096];
	FILE *f;

	snprintf(tmp, sizeof(tmp), "%s.tmp", opts.ports_file);
	f = fopen(tmp, "we");
	if (!f)
		return false;
	fprintf(f, "%u\n", port);
	return fclose(f) == 0 && rename(tmp, opts.ports_file) == 0;
}

/* Not from argv, where all can see it. */
static char *read_auth(const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	char line[256];

	if (!f || !fgets(line, sizeof(line), f))
		return NULL;
	line[strcspn(line, "\n")] = '\0';
	return strdup(line);
}

static bool parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "port", required_argument, NULL, 'p' },
		{ "ports-file", required_argument, NULL, 'f' },
		{ "log", required_argument, NULL, 'l' },
		{ "auth", required_argument, NULL, 'a' },
		{ "status", required_argument, NULL, 's' },
		{ "delay-ms", required_argument, NULL, 'd' },
		{ "byte-ms", required_argument, NULL, 'b' },
		{ "cut-after", required_argument, NULL, 'c' },
		{ "garbage", no_argument, NULL, 'g' },
		{ "drop", no_argument, NULL, 'x' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		long n = optarg ? strtol(optarg, NULL, 10) : 0;

		switch (c) {
		case 'p':
			opts.port = (uint16_t)n;
			break;
		case 'f':
			opts.ports_file = optarg;
			break;
		case 'l':
			opts.log = optarg;
			break;
		case 'a':
			opts.auth = read_auth(optarg);
			break;
		case 's':
			opts.status = n;
			break;
		case 'd':
			opts.delay_ms = n;
			break;
		case 'b':
			opts.byte_ms = n;
			break;
		case 'c':
			opts.cut_after = n;
			break;
		case 'g':
			opts.garbage = true;
			break;
		case 'x':
			opts.drop = true;
			break;
		default:
			return false;
		}
	}
	return opts.ports_file && optind == argc;
}

int main(int argc, char **argv)
{
	_cleanup_close_ int listener = -1;
	uint16_t port;

	if (!parse(argc, argv)) {
		fputs(help, stderr);
		return 2;
	}
	/* The children end by themselves, and with us: a tunnel does not outlive its proxy. */
	signal(SIGCHLD, SIG_IGN);
	setpgid(0, 0);
	listener = listen_on(opts.port, &port);
	if (listener < 0 || !say_port(port)) {
		perror("proxy");
		return EXIT_FAILURE;
	}
	for (;;) {
		_cleanup_close_ int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			continue;
		if (fork() == 0) {
			close_fd(listener);
			serve(fd);
			_exit(0);
		}
	}
}
