/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/lib/test.h"
#include "user/stream_state.h"

static char dir[] = "/tmp/test_stream_state.XXXXXX";
static struct stream_state state;

static struct slice bytes_of(const char *s)
{
	return (struct slice){ s, strlen(s) };
}

static void save(uint64_t position, uint64_t seq, const char *text)
{
	struct stream_moment when = { 7, position, seq };

	CHECK_INT(stream_state_save(&state, &when, bytes_of(text)), 0);
}

/* What a collector that starts now finds: NULL for nothing. */
static void check_load(uint64_t generation, uint64_t position, uint64_t seq, const char *want)
{
	struct stream_moment now = { generation, position, seq };
	struct stream_state fresh;
	struct buf b;
	int err;

	buf_init(&b, 1 << 20);
	stream_state_init(&fresh, dir, "s", 42);
	err = stream_state_load(&fresh, &now, &b);
	CHECK_INT(err, want ? 0 : -ENOENT);
	if (!err && want)
		CHECK_MEM(buf_data(&b), b.len, want);
	buf_done(&b);
}

TEST(the_newest_that_is_not_beyond_the_spool)
{
	CHECK(mkdtemp(dir) != NULL);
	stream_state_init(&state, dir, "s", 42);
	check_load(7, 100, 100, NULL);
	save(100, 10, "first");
	check_load(7, 100, 10, "first");
	check_load(7, 500, 50, "first"); /* nothing has changed since */
	save(200, 20, "second");
	check_load(7, 200, 20, "second");
	check_load(7, 199, 20, "first"); /* died before the commit */
	check_load(7, 100, 10, "first");
	check_load(7, 50, 5, NULL);
	check_load(8, 200, 20, NULL); /* another ring */
}

TEST(a_commit_without_a_new_position)
{
	/* An unfinished line was given out: only the number of events grew. */
	save(200, 21, "third");
	check_load(7, 200, 20, "second");
	check_load(7, 200, 21, "third");
}

TEST(the_turn_goes_on_after_a_restart)
{
	struct stream_moment now = { 7, 200, 20 };
	struct buf b;

	/* It resumes with the older one, so the newer one is what may be overwritten. */
	buf_init(&b, 1 << 20);
	stream_state_init(&state, dir, "s", 42);
	CHECK_INT(stream_state_load(&state, &now, &b), 0);
	buf_done(&b);
	save(300, 22, "fourth");
	check_load(7, 200, 20, "second");
	check_load(7, 300, 22, "fourth");
}

TEST(a_torn_file_is_not_believed)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/s.1", dir);
	for (int which = 0; which < 2; which++) {
		path[strlen(path) - 1] = (char)('0' + which);
		fd = open(path, O_WRONLY);
		CHECK(fd >= 0 && pwrite(fd, "!", 1, 20) == 1);
		close(fd);
	}
	check_load(7, 300, 22, NULL);
	stream_state_forget(&state);
	CHECK(access(path, F_OK) < 0 && errno == ENOENT);
	CHECK_INT(rmdir(dir), 0);
}
