/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two files of a source's state, as a crash or a disk may leave them: two
 * are saved, then the input, four bytes at a time, is written over them, or cuts
 * them. What is loaded is never longer than its file, and it is one of the two
 * that were saved unless somebody made the checksum anew.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "user/stream_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAGIC = 42, TEXT = 200, CRC_FROM = 4, CRC_TO = 8 };

static char dir[] = "/tmp/fuzz_stream_state.XXXXXX";
static struct stream_state state;

static void remove_dir(void)
{
	stream_state_forget(&state);
	rmdir(dir);
}

static void save(uint64_t position, char fill)
{
	const struct stream_moment when = { 7, position, position / 10 };
	char text[TEXT];

	memset(text, fill, sizeof(text));
	if (stream_state_save(&state, &when, (struct slice){ text, sizeof(text) }) < 0)
		abort();
}

/* True when the checksum may be another one. */
static bool damage(const uint8_t p[static 4])
{
	int fd = open(state.path[p[0] & 1], O_RDWR | O_CLOEXEC);
	off_t at = p[1];
	bool is_cut = p[0] & 2;

	if (fd < 0 || (is_cut ? ftruncate(fd, at) : pwrite(fd, p + 2, 2, at) != 2))
		abort();
	close(fd);
	return !is_cut && at + 2 > CRC_FROM && at < CRC_TO;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct stream_moment now = { 7, 1000, 100 };
	bool may_be_forged = false;
	struct stat st[2];
	struct buf b;

	if (strstr(dir, "XXXXXX")) {
		if (!mkdtemp(dir))
			abort();
		stream_state_init(&state, dir, "s", MAGIC);
		atexit(remove_dir);
	}
	stream_state_forget(&state);
	save(100, 'a');
	save(200, 'b');
	for (; size >= 4; data += 4, size -= 4)
		may_be_forged |= damage(data);
	if (stat(state.path[0], &st[0]) < 0 || stat(state.path[1], &st[1]) < 0)
		abort();

	buf_init(&b, 1 << 16);
	if (stream_state_load(&state, &now, &b) == 0) {
		if (b.len > (size_t)(st[0].st_size > st[1].st_size ? st[0].st_size : st[1].st_size))
			abort();
		if (!may_be_forged) {
			const char *p = buf_data(&b);

			if (b.len != TEXT || (p[0] != 'a' && p[0] != 'b'))
				abort();
			for (size_t i = 1; i < TEXT; i++)
				if (p[i] != p[0])
					abort();
		}
	}
	buf_done(&b);
	return 0;
}
