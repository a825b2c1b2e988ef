/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/stream_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "user/util/cleanup.h"
#include "user/util/crc32c.h"

struct state_header {
	uint32_t magic;
	uint32_t crc; /* of what follows it, the bytes included */
	struct stream_moment when;
	uint64_t len;
};

static uint32_t header_crc(const struct state_header *h, struct slice bytes)
{
	uint32_t crc = crc32c(0, &h->when, sizeof(*h) - offsetof(struct state_header, when));

	return crc32c(crc, bytes.p, bytes.len);
}

void stream_state_init(struct stream_state *s, const char *dir, const char *name, uint32_t magic)
{
	*s = (struct stream_state){ .magic = magic };
	for (int i = 0; i < 2; i++)
		snprintf(s->path[i], sizeof(s->path[i]), "%s/%s.%d", dir, name, i);
}

int stream_state_save(struct stream_state *s, const struct stream_moment *when, struct slice bytes)
{
	struct state_header h = { .magic = s->magic, .when = *when, .len = bytes.len };
	struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)bytes.p, bytes.len } };
	_cleanup_close_ int fd = -1;
	ssize_t n;

	h.crc = header_crc(&h, bytes);
	fd = open(s->path[s->turn], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	n = pwritev(fd, iov, bytes.len ? 2 : 1, 0);
	if (n < 0)
		return -errno;
	if ((size_t)n != sizeof(h) + bytes.len)
		return -ENOSPC;
	s->turn ^= 1;
	return 0;
}

/* 0 and the header when the file is whole and belongs to a moment up to this one. */
static int load_one(struct stream_state *s, int which, const struct stream_moment *now,
		    struct state_header *h, struct buf *ret)
{
	_cleanup_close_ int fd = open(s->path[which], O_RDONLY | O_CLOEXEC);
	char *at;
	int err;

	if (fd < 0)
		return -errno;
	if (read(fd, h, sizeof(*h)) != sizeof(*h) || h->magic != s->magic ||
	    h->when.generation != now->generation || h->when.position > now->position ||
	    h->when.next_seq > now->next_seq)
		return -ENOENT;
	buf_clear(ret);
	err = buf_reserve(ret, h->len, &at);
	if (err)
		return err;
	if (h->len && read(fd, at, h->len) != (ssize_t)h->len)
		return -EBADMSG;
	buf_added(ret, h->len);
	return h->crc == header_crc(h, buf_slice(ret)) ? 0 : -EBADMSG;
}

static bool is_newer(const struct state_header *a, const struct state_header *b)
{
	return a->when.position != b->when.position ? a->when.position > b->when.position
						    : a->when.next_seq > b->when.next_seq;
}

int stream_state_load(struct stream_state *s, const struct stream_moment *now, struct buf *ret)
{
	struct state_header h[2] = { 0 };
	int err[2], best;

	for (int i = 0; i < 2; i++)
		err[i] = load_one(s, i, now, &h[i], ret);
	if (err[0] && err[1])
		return -ENOENT;
	best = err[0] || (!err[1] && is_newer(&h[1], &h[0])) ? 1 : 0;
	s->turn = (uint32_t)best ^ 1;
	return load_one(s, best, now, &h[best], ret);
}

void stream_state_forget(struct stream_state *s)
{
	for (int i = 0; i < 2; i++)
		unlink(s->path[i]);
}
