/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes to a log daemon as programs do, and as logger and systemd-cat can not:
 *
 *   journal_sender lines TAG FROM TO [prio]     the test lines, to look at or to pipe
 *   journal_sender pieces TAG FILE              test lines from 1 on, cut where no line ends,
 *                                               until SIGTERM; then their number to FILE
 *   journal_sender steady HOW TAG FILE          test lines from 1 on, each whole, now and then,
 *                                               until SIGTERM; then their number to FILE.
 *                                               HOW: native, syslog, or stdout
 *   journal_sender native TAG FROM TO           test lines as native messages
 *   journal_sender datagram PATH                standard input as one datagram
 *   journal_sender stream PATH                  standard input over a stream socket
 *   journal_sender unread PATH                  a socket there that nobody reads
 *   journal_sender memfd                        standard input as a native message in a memfd
 *   journal_sender audit TEXT                   an audit record, by way of the kernel
 *
 * Line n of a tag is always the same text, so whoever receives it can tell
 * whether it is whole. Its priority is n modulo 8.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "user/util/cleanup.h"

#define NATIVE_SOCKET "/run/systemd/journal/socket"
#define LINE_SIZE     512
#define INPUT_MAX     (16u << 20)

static volatile sig_atomic_t is_over;

static void on_term(int signo)
{
	(void)signo;
	is_over = 1;
}

static int fail(const char *what)
{
	fprintf(stderr, "journal_sender: %s: %s\n", what, strerror(errno));
	return EXIT_FAILURE;
}

/* Knuth's MMIX generator: the same text for the same number, everywhere. */
static uint32_t next(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*state >> 33);
}

/* Line n of a tag, without a line feed; returns its length. */
static size_t put_line(char *at, const char *tag, unsigned long n)
{
	static const char *const words[] = {
		"accepted",	"\"quoted\"",	    "back\\slash", "caf\xc3\xa9", "[bracket]",
		"\xe2\x82\xac", "tab\there",	    "a=b",	   "100%",	  "<13>",
		"'single'",	"\xf0\x9f\x94\x92", "{\"k\":1}",
	};
	uint64_t state = n;
	uint32_t count = next(&state) % 12;
	int len = snprintf(at, LINE_SIZE, "%s %lu", tag, n);

	for (uint32_t i = 0; i < count; i++)
		len += snprintf(at + len, LINE_SIZE - (size_t)len, " %s",
				words[next(&state) % (sizeof(words) / sizeof(*words))]);
	len += snprintf(at + len, LINE_SIZE - (size_t)len, " end %lu", n);
	return (size_t)len;
}

static int print_lines(const char *tag, unsigned long from, unsigned long to, bool with_priority)
{
	char line[LINE_SIZE];

	for (unsigned long n = from; n <= to; n++) {
		size_t len = put_line(line, tag, n);

		if (with_priority)
			printf("<%lu>", n % 8);
		fwrite(line, 1, len, stdout);
		putchar('\n');
	}
	return fflush(stdout) ? fail("standard output") : EXIT_SUCCESS;
}

static int write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

static int write_count(const char *path, unsigned long n)
{
	FILE *f = fopen(path, "we");

	if (!f)
		return fail(path);
	fprintf(f, "%lu\n", n);
	return fclose(f) ? fail(path) : EXIT_SUCCESS;
}

/* Each write ends somewhere in a line, now and then several lines later. */
static int print_pieces(const char *tag, const char *path)
{
	struct sigaction on = { .sa_handler = on_term };
	char waiting[16 * LINE_SIZE];
	size_t len = 0, size;
	uint64_t state = 1;
	unsigned long n = 0;

	sigaction(SIGTERM, &on, NULL);
	while (!is_over) {
		while (len < sizeof(waiting) - 2 * LINE_SIZE) {
			len += put_line(waiting + len, tag, ++n);
			waiting[len++] = '\n';
		}
		size = next(&state) % 8 ? next(&state) % 120 : next(&state) % 3000;
		size = size + 1 < len ? size + 1 : len;
		if (write_all(STDOUT_FILENO, waiting, size) < 0)
			return fail("standard output");
		memmove(waiting, waiting + size, len - size);
		len -= size;
		if (next(&state) % 4 == 0)
			usleep(1000 + next(&state) % 3000);
	}
	if (write_all(STDOUT_FILENO, waiting, len) < 0)
		return fail("standard output");
	return write_count(path, n);
}

static int connect_to(const char *path, int type)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0), size = 8 << 20;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Even lines as text, odd ones in the binary form, which may hold line feeds. */
static size_t put_native(char message[static 2 * LINE_SIZE], const char *tag, unsigned long n)
{
	char line[LINE_SIZE];
	size_t len = put_line(line, tag, n), at;

	at = (size_t)snprintf(message, 2 * LINE_SIZE,
			      "PRIORITY=%lu\nSYSLOG_FACILITY=%lu\nSYSLOG_IDENTIFIER=%s\nMESSAGE",
			      n % 8, 1 + n % 23, tag);
	if (n % 2) {
		message[at++] = '\n';
		for (int i = 0; i < 8; i++)
			message[at++] = (char)((uint64_t)len >> 8 * i);
	} else {
		message[at++] = '=';
	}
	memcpy(message + at, line, len);
	at += len;
	message[at++] = '\n';
	return at;
}

static int send_native(const char *tag, unsigned long from, unsigned long to)
{
	_cleanup_close_ int fd = connect_to(NATIVE_SOCKET, SOCK_DGRAM);
	char message[2 * LINE_SIZE];

	if (fd < 0)
		return fail(NATIVE_SOCKET);
	for (unsigned long n = from; n <= to; n++)
		if (send(fd, message, put_native(message, tag, n), 0) < 0)
			return fail(NATIVE_SOCKET);
	return EXIT_SUCCESS;
}

static size_t put_syslog(char message[static 2 * LINE_SIZE], const char *tag, unsigned long n)
{
	size_t at = (size_t)snprintf(message, LINE_SIZE, "<%lu>%s[%d]: ", 8 + n % 8, tag, getpid());

	return at + put_line(message + at, tag, n);
}

/* A few lines at a time, so that they are there whatever else happens meanwhile. */
static int send_steady(const char *how, const char *tag, const char *path)
{
	bool is_native = !strcmp(how, "native"), is_syslog = !strcmp(how, "syslog");
	struct sigaction on = { .sa_handler = on_term };
	_cleanup_close_ int fd = -1;
	char message[2 * LINE_SIZE];
	uint64_t state = 1;
	unsigned long n = 0;
	size_t len;

	sigaction(SIGTERM, &on, NULL);
	fd = is_native	 ? connect_to(NATIVE_SOCKET, SOCK_DGRAM)
	     : is_syslog ? connect_to("/dev/log", SOCK_DGRAM)
			 : dup(STDOUT_FILENO);
	if (fd < 0)
		return fail(how);
	while (!is_over) {
		n++;
		if (is_native) {
			len = put_native(message, tag, n);
		} else if (is_syslog) {
			len = put_syslog(message, tag, n);
		} else {
			len = put_line(message, tag, n);
			message[len++] = '\n';
		}
		while (write(fd, message, len) < 0)
			if (errno != EINTR)
				return fail(how);
		if (next(&state) % 8 == 0)
			usleep(2000 + next(&state) % 4000);
	}
	return write_count(path, n);
}

static char *read_input(size_t *ret_len)
{
	char *p = malloc(INPUT_MAX);
	size_t len = 0;
	ssize_t n;

	while (p && len < INPUT_MAX && (n = read(STDIN_FILENO, p + len, INPUT_MAX - len)) > 0)
		len += (size_t)n;
	*ret_len = len;
	return p;
}

static int send_datagram(const char *path)
{
	_cleanup_close_ int fd = connect_to(path, SOCK_DGRAM);
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (fd < 0)
		return fail(path);
	text = read_input(&len);
	if (!text || send(fd, text, len, 0) < 0)
		return fail(path);
	return EXIT_SUCCESS;
}

static int send_stream(const char *path)
{
	_cleanup_close_ int fd = connect_to(path, SOCK_STREAM);
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (fd < 0)
		return fail(path);
	text = read_input(&len);
	if (!text || write_all(fd, text, len) < 0)
		return fail(path);
	return EXIT_SUCCESS;
}

/* As a log daemon that died leaves it. */
static int make_unread(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	return fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? fail(path)
									      : EXIT_SUCCESS;
}

/* What sd_journal_sendv() does with a message that is too large for a datagram. */
static int send_memfd(void)
{
	_cleanup_close_ int fd = connect_to(NATIVE_SOCKET, SOCK_DGRAM), file = -1;
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .head = { .cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS,
				.cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct msghdr m = { .msg_control = &control, .msg_controllen = sizeof(control) };
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (fd < 0)
		return fail(NATIVE_SOCKET);
	text = read_input(&len);
	file = memfd_create("journal_sender", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (!text || file < 0 || write_all(file, text, len) < 0)
		return fail("memfd");
	if (fcntl(file, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return fail("memfd");
	memcpy(CMSG_DATA(&control.head), &file, sizeof(file));
	return sendmsg(fd, &m, 0) < 0 ? fail(NATIVE_SOCKET) : EXIT_SUCCESS;
}

/* A kind that the kernel passes on whether auditing is on or not. */
static int send_audit(const char *text)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_AUDIT);
	struct {
		struct nlmsghdr head;
		char text[LINE_SIZE];
	} request = { .head = { .nlmsg_len = sizeof(request),
				.nlmsg_type = AUDIT_USER_AVC,
				.nlmsg_flags = NLM_F_REQUEST } };

	snprintf(request.text, sizeof(request.text), "%s", text);
	return fd < 0 || send(fd, &request, sizeof(request), 0) < 0 ? fail("audit") : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "lines") && (argc == 5 || argc == 6))
		return print_lines(argv[2], strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10),
				   argc == 6);
	if (!strcmp(what, "pieces") && argc == 4)
		return print_pieces(argv[2], argv[3]);
	if (!strcmp(what, "steady") && argc == 5)
		return send_steady(argv[2], argv[3], argv[4]);
	if (!strcmp(what, "native") && argc == 5)
		return send_native(argv[2], strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10));
	if (!strcmp(what, "datagram") && argc == 3)
		return send_datagram(argv[2]);
	if (!strcmp(what, "stream") && argc == 3)
		return send_stream(argv[2]);
	if (!strcmp(what, "unread") && argc == 3)
		return make_unread(argv[2]);
	if (!strcmp(what, "memfd") && argc == 2)
		return send_memfd();
	if (!strcmp(what, "audit") && argc == 3)
		return send_audit(argv[2]);
	fputs("usage: journal_sender lines TAG FROM TO [prio] | pieces TAG FILE |"
	      " steady HOW TAG FILE | native TAG FROM TO | datagram PATH |\n"
	      " stream PATH | unread PATH | memfd | audit TEXT\n",
	      stderr);
	return 2;
}
