/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "output/dead_letter.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output/msg_json.h"
#include "user/util/cleanup.h"
#include "user/util/json_writer.h"

#define HEAD_BYTES 8192 /* all but the message */

static const char *const class_names[] = {
	[MSG_JOURNAL] = "journal",
	[MSG_FLOW] = "flow",
	[MSG_KERNEL] = "kernel",
	[MSG_SELF] = "self",
};

static struct slice at_most(struct slice s, size_t max)
{
	return (struct slice){ s.p, s.len < max ? s.len : max };
}

static void put_head(struct json_writer *w, const struct dead_letter *d, const struct msg *m)
{
	char id[48];

	snprintf(id, sizeof(id), "%016" PRIx64 "-%" PRIu64, m->epoch, m->seq);
	json_object(w, NULL);
	json_time_us(w, "time", d->real_us);
	json_str(w, "output", d->output);
	if (d->target && d->target[0])
		json_str(w, "target", d->target);
	json_slice(w, "reason", at_most(slice_of(d->reason), 256));
	json_str(w, "id", id);
	json_u64(w, "seq", m->seq);
	json_str(w, "class", class_names[m->class]);
	json_time_us(w, "event_time", m->time_us);
	json_u64(w, "pri", m->pri);
	json_slice(w, "host", at_most(m->host, 255));
	json_slice(w, "app", at_most(m->app, 255));
	if (m->procid.len)
		json_slice(w, "procid", at_most(m->procid, 128));
	json_key(w, "message");
}

/* One line; the caller frees *ret. */
static int format(const struct dead_letter *d, const struct msg *m, char **ret, size_t *ret_len)
{
	size_t size = HEAD_BYTES + msg_json_string_max(m) + 16;
	_cleanup_free_ char *text = malloc(size);
	struct json_writer w;
	char *at, *end;

	if (!text)
		return -ENOMEM;
	json_init(&w, text, HEAD_BYTES);
	put_head(&w, d, m);
	if (!json_len(&w))
		return -ENOBUFS;
	at = text + json_len(&w);
	end = text + size;
	*at++ = '"';
	at = msg_put_json_string(at, end, m);
	if (!at || end - at < 3)
		return -ENOBUFS;
	memcpy(at, "\"}\n", 3);
	*ret_len = (size_t)(at + 3 - text);
	*ret = TAKE_PTR(text);
	return 0;
}

static uint64_t count_lines(int dir_fd, const char *name)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char bytes[16384];
	uint64_t lines = 0;
	ssize_t n;

	while (fd >= 0 && (n = read(fd, bytes, sizeof(bytes))) > 0)
		for (const char *p = bytes; (p = memchr(p, '\n', (size_t)(bytes + n - p))); p++)
			lines++;
	return lines;
}

/* Opens the file that is written to; -EBADMSG when it is something else. */
static int open_letters(int dir_fd, const char *name, uint64_t *ret_size)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	fd = openat(dir_fd, name,
		    O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return -EBADMSG;
	*ret_size = (uint64_t)st.st_size;
	return TAKE_FD(fd);
}

static int append(int fd, const char *text, size_t len, uint64_t size)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(fd, text + done, len - done);
		int err = n < 0 ? -errno : -EIO;

		if (n > 0) {
			done += (size_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		/* Half a line would spoil the next one. */
		if (done && ftruncate(fd, (off_t)size) < 0)
			return -errno;
		return err;
	}
	return 0;
}

int dead_letter_write(const struct dead_letter *d, const struct msg *m, uint64_t *ret_dropped)
{
	_cleanup_close_ int dir_fd = -1, fd = -1;
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX], name[64], old[64];
	uint64_t size = 0, dropped;
	size_t len = 0;
	int err;

	*ret_dropped = 0;
	if (snprintf(path, sizeof(path), "%s/dead", d->dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	snprintf(name, sizeof(name), "%s.jsonl", d->output);
	snprintf(old, sizeof(old), "%s.jsonl.1", d->output);
	err = format(d, m, &text, &len);
	if (err)
		return err;
	if (len > d->max_bytes / 2)
		return -EFBIG;
	dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir_fd < 0)
		return -errno;
	fd = open_letters(dir_fd, name, &size);
	if (fd < 0)
		return fd;
	if (size && size + len > d->max_bytes / 2) {
		dropped = count_lines(dir_fd, old);
		if (renameat(dir_fd, name, dir_fd, old) < 0)
			return -errno;
		*ret_dropped = dropped;
		close_fd(TAKE_FD(fd));
		fd = open_letters(dir_fd, name, &size);
		if (fd < 0)
			return fd;
	}
	return append(fd, text, len, size);
}
