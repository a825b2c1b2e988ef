/* SPDX-License-Identifier: Apache-2.0 */
#include "user/users.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tests/lib/test.h"

static char path[64];

static void write_file(const char *text, size_t len, int mtime)
{
	struct timespec times[2] = { { .tv_sec = mtime }, { .tv_sec = mtime } };
	FILE *f = fopen(path, "we");

	if (!f || fwrite(text, 1, len, f) != len || fclose(f) != 0)
		abort();
	utimensat(AT_FDCWD, path, times, 0);
}

static void write_text(const char *text, int mtime)
{
	write_file(text, strlen(text), mtime);
}

static void begin(void)
{
	int fd;

	strcpy(path, "/tmp/test_users.XXXXXX");
	fd = mkstemp(path);
	if (fd < 0)
		abort();
	close(fd);
}

#define CHECK_NAME(u, uid, now, want)                                                              \
	do {                                                                                       \
		struct slice name_ = users_find(u, uid, now);                                      \
		CHECK_MEM(name_.p, name_.len, want);                                               \
	} while (0)

TEST(names)
{
	_cleanup_(users_freep) struct users *u = NULL;
	struct users_stats s;

	begin();
	write_text("root:x:0:0:root:/root:/bin/bash\n"
		   "# a comment\n"
		   "+nis::::::\n"
		   "alice:x:1000:1000::/home/alice:/bin/sh\n"
		   "toor:x:0:0::/:/bin/sh\n"
		   ":x:5:5::/:/bin/sh\n"
		   "negative:x:-2:5::/:/bin/sh\n"
		   "letters:x:12a:5::/:/bin/sh\n"
		   "huge:x:4294967296:5::/:/bin/sh\n"
		   "nouid:x\n"
		   "empty:x::5::/:/bin/sh\n"
		   "short:x:7\n"
		   "\n"
		   "last:x:4294967295:1::/:/bin/sh",
		   1);
	CHECK_INT(users_new(path, &u), 0);
	CHECK_NAME(u, 0, 0, "root"); /* the first one counts */
	CHECK_NAME(u, 1000, 0, "alice");
	CHECK_NAME(u, 4294967295u, 0, "last");
	CHECK_NAME(u, 7, 0, "short");
	CHECK_NAME(u, 5, 0, "");
	CHECK_NAME(u, 12, 0, "");
	CHECK_NAME(u, 1001, 0, "");
	users_get_stats(u, &s);
	CHECK_INT(s.entries, 5);
	CHECK_INT(s.ignored, 8);
	CHECK_INT(s.reloads, 1);
	unlink(path);
}

TEST(looked_at_once_a_second)
{
	_cleanup_(users_freep) struct users *u = NULL;
	struct users_stats s;

	begin();
	write_text("old:x:1:1::/:/bin/sh\n", 1);
	CHECK_INT(users_new(path, &u), 0);
	CHECK_NAME(u, 1, 5000, "old");
	write_text("new:x:1:1::/:/bin/sh\n", 2);
	CHECK_NAME(u, 1, 5999, "old");
	CHECK_NAME(u, 1, 6000, "new");
	CHECK_NAME(u, 1, 9000, "new");
	users_get_stats(u, &s);
	CHECK_INT(s.reloads, 2); /* an unchanged file is not read */

	/* A file that went away: the names stay, and it is counted. */
	unlink(path);
	CHECK_NAME(u, 1, 20000, "new");
	users_get_stats(u, &s);
	CHECK_INT(s.errors, 1);
	/* And when it is back. */
	write_text("back:x:1:1::/:/bin/sh\n", 3);
	CHECK_NAME(u, 1, 30000, "back");
	unlink(path);
}

TEST(no_file_at_all)
{
	_cleanup_(users_freep) struct users *u = NULL;

	CHECK_INT(users_new("/nonexistent/passwd", &u), 0);
	CHECK_NAME(u, 0, 0, "");
}

TEST(more_users_than_we_keep)
{
	_cleanup_(users_freep) struct users *u = NULL;
	struct users_stats s;
	char *text = malloc(USERS_MAX * 40u + 4000), *at = text;

	for (int i = 0; i < USERS_MAX + 100; i++)
		at += sprintf(at, "user%d:x:%d:1::/:/bin/sh\n", i, i);
	begin();
	write_file(text, (size_t)(at - text), 1);
	free(text);
	CHECK_INT(users_new(path, &u), 0);
	CHECK_NAME(u, USERS_MAX - 1, 0, "user16383");
	CHECK_NAME(u, USERS_MAX, 0, "");
	users_get_stats(u, &s);
	CHECK_INT(s.entries, USERS_MAX);
	CHECK_INT(s.ignored, 100);
	unlink(path);
}
