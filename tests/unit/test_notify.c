/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/util/notify.h"

#include <errno.h>
#include <unistd.h>

#include "tests/lib/test.h"

static void environment(const char *socket, const char *usec, const char *pid)
{
	const char *const values[][2] = {
		{ "NOTIFY_SOCKET", socket },
		{ "WATCHDOG_USEC", usec },
		{ "WATCHDOG_PID", pid },
	};

	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		if (values[i][1])
			setenv(values[i][0], values[i][1], 1);
		else
			unsetenv(values[i][0]);
	}
}

/* A socket as a service manager has it; name as in $NOTIFY_SOCKET. */
static int manager(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	size_t len = strlen(name);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(a.sun_path, name, len);
	if (name[0] == '@')
		a.sun_path[0] = '\0';
	CHECK(fd >= 0);
	CHECK_INT(bind(fd, (struct sockaddr *)&a,
		       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
		  0);
	return fd;
}

static void check_talk(const char *name)
{
	int fd = manager(name);
	char got[1024], way_too_long[2000];
	struct notify n;

	environment(name, NULL, NULL);
	CHECK_INT(notify_init(&n), 0);
	CHECK(!getenv("NOTIFY_SOCKET"));
	CHECK_INT(n.watchdog_ms, 0);
	CHECK_INT(notify_send(&n, "READY=1\nSTATUS=%s", "all is well"), 0);
	CHECK_MEM(got, (size_t)recv(fd, got, sizeof(got), 0), "READY=1\nSTATUS=all is well");
	memset(way_too_long, 'x', sizeof(way_too_long) - 1);
	way_too_long[sizeof(way_too_long) - 1] = '\0';
	CHECK_INT(notify_send(&n, "STATUS=%s", way_too_long), 0);
	CHECK_INT(recv(fd, got, sizeof(got), 0), 511);
	/* A manager that does not read, or is gone, stops nobody. */
	for (int i = 0; i < 5000; i++)
		notify_send(&n, "WATCHDOG=1");
	CHECK_INT(notify_send(&n, "WATCHDOG=1"), -EAGAIN);
	close(fd);
	CHECK(notify_send(&n, "WATCHDOG=1") < 0);
	notify_done(&n);
	CHECK_INT(n.fd, -1);
	notify_done(&n);
}

TEST(a_path)
{
	char dir[] = "/tmp/sekoia-test.XXXXXX", path[64];

	CHECK(mkdtemp(dir) != NULL);
	snprintf(path, sizeof(path), "%s/notify", dir);
	check_talk(path);
	unlink(path);
	rmdir(dir);
}

TEST(an_abstract_name)
{
	char name[64];

	snprintf(name, sizeof(name), "@sekoia-test/%d", (int)getpid());
	check_talk(name);
}

TEST(addresses)
{
	static char longest_path[1 + 107], longest_name[1 + 108], path_too_long[1 + 108],
		name_too_long[1 + 109];
	const struct {
		const char *address;
		int err;
		bool opened;
	} cases[] = {
		{ NULL, 0, false },
		{ "", 0, false },
		{ "/", -EINVAL, false },
		{ "@", -EINVAL, false },
		{ "run/notify", -EAFNOSUPPORT, false },
		{ "vsock:2:1234", -EAFNOSUPPORT, false },
		{ longest_path, 0, true },
		{ path_too_long, -ENAMETOOLONG, false },
		{ longest_name, 0, true },
		{ name_too_long, -ENAMETOOLONG, false },
	};

	memset(longest_path, '/', sizeof(longest_path) - 1);
	memset(path_too_long, '/', sizeof(path_too_long) - 1);
	memset(longest_name, '@', sizeof(longest_name) - 1);
	memset(name_too_long, '@', sizeof(name_too_long) - 1);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct notify n = { .fd = -1 };

		environment(cases[i].address, "1000000", NULL);
		CHECK_INT(notify_init(&n), cases[i].err);
		CHECK_INT(n.fd >= 0, cases[i].opened);
		CHECK_INT(n.watchdog_ms, cases[i].opened ? 500 : 0);
		if (!cases[i].opened)
			CHECK_INT(notify_send(&n, "READY=1"), 0);
		notify_done(&n);
	}
}

TEST(watchdog)
{
	char own[32], other[32];
	const struct {
		const char *usec, *pid;
		uint64_t ms;
	} cases[] = {
		{ "30000000", NULL, 15000 },
		{ "30000000", own, 15000 },
		{ "30000000", other, 0 },
		{ "30000000", "", 0 },
		{ "30000000", "nobody", 0 },
		{ NULL, own, 0 },
		{ "", own, 0 },
		{ "0", own, 0 },
		{ "1999", own, 0 },
		{ "-30000000", own, 0 },
		{ "30000000 ", own, 0 },
		{ "99999999999999999999999", own, 0 },
	};

	snprintf(own, sizeof(own), "%d", (int)getpid());
	snprintf(other, sizeof(other), "%d", (int)getppid());
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct notify n;

		environment("@nobody", cases[i].usec, cases[i].pid);
		CHECK_INT(notify_init(&n), 0);
		CHECK_INT(n.watchdog_ms, cases[i].ms);
		CHECK(!getenv("WATCHDOG_USEC") && !getenv("WATCHDOG_PID"));
		notify_done(&n);
	}
}
