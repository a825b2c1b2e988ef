/* SPDX-License-Identifier: Apache-2.0 */
/* The monitor's requests from a table; its socket against clients that misbehave. */
#define _GNU_SOURCE
#include "user/monitor.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/test.h"
#include "user/monitor_request.h"
#include "user/util/clock.h"

static char dir[] = "/tmp/test_monitor.XXXXXX";
static char path[64];
static struct loop *loop;
static struct books books;
static struct monitor *monitor;
static int reads;

TEST(requests)
{
	static const struct {
		const char *text;
		int want;
		enum monitor_page page;
	} cases[] = {
		{ "GET / HTTP/1.0\r\n\r\n", 1, MONITOR_PAGE },
		{ "GET /status HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n", 1, MONITOR_STATUS },
		{ "GET /metrics?x=/status HTTP/1.1\r\n\r\n", 1, MONITOR_METRICS },
		{ "GET /metrics HTTP/1.1\n\n", 1, MONITOR_METRICS },
		{ "GET /metrics/ HTTP/1.1\r\n\r\n", 1, MONITOR_NOT_FOUND },
		{ "GET /../etc/shadow HTTP/1.1\r\n\r\n", 1, MONITOR_NOT_FOUND },
		{ "POST /status HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 1, MONITOR_NOT_ALLOWED },
		{ "HEAD / HTTP/1.1\r\n\r\n", 1, MONITOR_NOT_ALLOWED },
		{ "get / HTTP/1.1\r\n\r\n", 1, MONITOR_NOT_ALLOWED },
		{ "", 0, 0 },
		{ "G", 0, 0 },
		{ "GET / HTTP/1.0\r\n", 0, 0 },
		{ "GET / HTTP/1.0\r\nHost: x\r\n", 0, 0 },
		{ "GET / HTTP/1.0\r\nHost: x\r\n\r", 0, 0 },
		{ "\r\n\r\n", -EBADMSG, 0 },
		{ "GET\r\n\r\n", -EBADMSG, 0 },
		{ "GET /\r\n\r\n", -EBADMSG, 0 },
		{ "GET  / HTTP/1.0\r\n\r\n", -EBADMSG, 0 },
		{ "GET / HTTP/1.0 \r\n\r\n", -EBADMSG, 0 },
		{ "GET / HTTP/2.0\r\n\r\n", -EBADMSG, 0 },
		{ "GET / HTTP/1.x\r\n\r\n", -EBADMSG, 0 },
		{ "GET status HTTP/1.0\r\n\r\n", -EBADMSG, 0 },
		{ "GET /\x1b[2J HTTP/1.0\r\n\r\n", -EBADMSG, 0 },
		{ "\x16\x03\x01\n", -EBADMSG, 0 },
	};
	static char large[MONITOR_REQUEST_MAX];
	enum monitor_page page;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slice text = slice_of(cases[i].text);

		page = (enum monitor_page)99;
		if (monitor_parse(text, &page) != cases[i].want)
			printf("# not so: %s\n", cases[i].text), test_failed = true;
		if (cases[i].want == 1)
			CHECK_INT(page, cases[i].page);
		/* In any pieces: what is not whole is not refused. */
		for (size_t n = 0; cases[i].want == 1 && n + 4 < text.len; n++)
			CHECK(monitor_parse((struct slice){ text.p, n }, &page) >= 0);
	}
	memset(large, 'x', sizeof(large));
	CHECK_INT(monitor_parse((struct slice){ large, sizeof(large) - 1 }, &page), 0);
	CHECK_INT(monitor_parse((struct slice){ large, sizeof(large) }, &page), -EMSGSIZE);
	memcpy(large, "GET / HTTP/1.0\r\n", 16);
	CHECK_INT(monitor_parse((struct slice){ large, sizeof(large) }, &page), -EMSGSIZE);
}

/* ------------------------------------------------------------------ the socket */

static void read_books(void *arg, struct books *ret, enum books_extent extent)
{
	(void)arg, (void)extent;
	reads++;
	*ret = (struct books){ .version = "1.2.3", .hostname = "web-1", .n_items = 1 };
	ret->items[0].scope = BOOKS_SPOOL;
	ret->items[0].spool.appended = 42;
}

static int dial(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void on_stop(void *arg, uint64_t now_ms)
{
	(void)arg, (void)now_ms;
	loop_stop(loop, 0);
}

/* Lets the loop turn for so long. */
static void turn(uint64_t ms)
{
	struct loop_timer t = { .fn = on_stop };

	loop_timer_set(loop, &t, clock_mono_ms() + ms);
	loop_run(loop);
}

static bool say(int fd, const char *text)
{
	return write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* What has come by now; -1 at the end of a connection without anything. */
static ssize_t hear(int fd, char *ret, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, ret + len, size - 1 - len)) > 0)
		len += (size_t)n;
	ret[len] = 0;
	return n == 0 && !len ? -1 : (ssize_t)len;
}

static uint64_t refused(void)
{
	struct monitor_stats s;

	monitor_get_stats(monitor, &s);
	return s.refused;
}

TEST(start)
{
	struct monitor_opts o = { .path = path, .books = &books, .read_books = read_books };
	struct monitor *second = NULL;
	struct stat st;

	CHECK(mkdtemp(dir) != NULL);
	CHECK_INT(loop_new(&loop), 0);
	o.loop = loop;
	snprintf(path, sizeof(path), "%s/made/monitor", dir);
	CHECK_INT(monitor_new(&o, &monitor), 0);
	CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
	CHECK_INT(monitor_new(&o, &second), -EADDRINUSE);
	o.path = "/proc/none/monitor";
	CHECK(monitor_new(&o, &second) < 0);
	o.path = "/a/path/that/is/much/longer/than/the/hundred/and/eight/bytes/which/the/address/of"
		 "/a/unix/socket/has/room/for/monitor";
	CHECK_INT(monitor_new(&o, &second), -ENAMETOOLONG);
	CHECK(second == NULL);
	monitor_free(second);
}

TEST(answers)
{
	static char text[65536];
	const char *body;
	uint64_t before;
	int fd = dial();

	CHECK(say(fd, "GET /sta"));
	turn(20);
	before = refused(); /* whoever asked whether the socket lives */
	CHECK(say(fd, "tus HTTP/1.0\r\n\r\n"));
	turn(50);
	CHECK(hear(fd, text, sizeof(text)) > 0);
	CHECK(!strncmp(text, "HTTP/1.0 200 OK\r\n", 17));
	body = strstr(text, "\r\n\r\n");
	CHECK(body != NULL);
	CHECK(body && strstr(body, "\"appended\":42"));
	CHECK_INT(reads, 1);
	close(fd);

	fd = dial();
	CHECK(say(fd, "nonsense\r\n\r\n"));
	turn(50);
	CHECK(hear(fd, text, sizeof(text)) > 0);
	CHECK(!strncmp(text, "HTTP/1.0 400 ", 13));
	CHECK_INT(refused(), before + 1);
	close(fd);
}

TEST(clients_that_misbehave)
{
	uint64_t before = refused();
	static char text[65536];
	int fds[12], fd;

	/* Gone before it has asked, and before it has heard. */
	close(dial());
	turn(20);
	CHECK_INT(refused(), before + 1);
	fd = dial();
	CHECK(say(fd, "GET / HTTP/1.0\r\n\r\n"));
	close(fd);
	turn(20);
	/* Too much. */
	memset(text, 'x', sizeof(text) - 1);
	fd = dial();
	CHECK(write(fd, text, 5000) == 5000);
	turn(20);
	close(fd);
	/* Too many at once: the first eight are kept. */
	before = refused();
	for (int i = 0; i < 12; i++) {
		fds[i] = dial();
		turn(5);
	}
	turn(50);
	CHECK_INT(refused(), before + 4);
	for (int i = 8; i < 12; i++) {
		CHECK_INT(hear(fds[i], text, sizeof(text)), -1);
		close(fds[i]);
	}
	CHECK(say(fds[0], "GET / HTTP/1.0\r\n\r\n"));
	turn(50);
	CHECK(hear(fds[0], text, sizeof(text)) > 0);
	close(fds[0]);
	/* Too slow: five seconds. */
	turn(5300);
	CHECK_INT(refused(), before + 4 + 7);
	for (int i = 1; i < 8; i++) {
		CHECK_INT(hear(fds[i], text, sizeof(text)), -1);
		close(fds[i]);
	}
	fd = dial();
	CHECK(say(fd, "GET /metrics HTTP/1.0\r\n\r\n"));
	turn(50);
	CHECK(hear(fd, text, sizeof(text)) > 0);
	close(fd);
}

TEST(end)
{
	struct stat st;

	monitor_free(monitor);
	CHECK(stat(path, &st) < 0);
	loop_free(loop);
	*strrchr(path, '/') = 0;
	rmdir(path);
	rmdir(dir);
}
