/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer's segments: the table of them, and the life of each one: created
 * with its first batch, written to, retired, synced, forgotten. What is given up
 * is spool_room.c's matter.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output/spool_private.h"

#define UNSYNCED_SEGMENTS 8 /* descriptors kept for the next sync; more sync at once */

struct segment *segment_last(struct spool *s)
{
	return s->n_segs ? &s->segs[s->n_segs - 1] : NULL;
}

struct segment *segment_current(struct spool *s)
{
	struct segment *seg = segment_last(s);

	return seg && seg->fd >= 0 && !s->sealed ? seg : NULL;
}

uint64_t segment_end(const struct spool *s, size_t i)
{
	return i + 1 < s->n_segs ? s->segs[i + 1].first_seq - 1 : s->state.last_seq;
}

bool segment_is_hole(const struct segment *seg)
{
	return seg->counted && spool_tally_events(&seg->tally) == 0;
}

void segment_resize(struct spool *s, struct segment *seg, uint64_t bytes)
{
	s->bytes += bytes - seg->bytes;
	seg->bytes = bytes;
}

void segment_forget(struct spool *s, size_t i)
{
	close_fd(s->segs[i].fd);
	s->bytes -= s->segs[i].bytes;
	s->n_segs--;
	memmove(&s->segs[i], &s->segs[i + 1], (s->n_segs - i) * sizeof(*s->segs));
}

void segments_forget(struct spool *s)
{
	while (s->n_segs)
		segment_forget(s, s->n_segs - 1);
}

int segments_reserve(struct spool *s)
{
	size_t cap = s->cap_segs ? s->cap_segs * 2 : 64;
	struct segment *p;

	if (s->n_segs < s->cap_segs)
		return 0;
	p = realloc(s->segs, cap * sizeof(*p));
	if (!p)
		return -ENOMEM;
	s->segs = p;
	s->cap_segs = cap;
	return 0;
}

void state_write(struct spool *s)
{
	uint8_t slot[SPOOL_STATE_SLOT];
	size_t at;

	s->state.generation++;
	at = spool_state_encode(slot, &s->state);
	(void)spool_pwrite(s->state_fd, slot, sizeof(slot), at);
}

static void segment_sync(struct spool *s, struct segment *seg)
{
	if (seg->unsynced && fdatasync(seg->fd) < 0) {
		s->stats.commit_errors++;
		s->stats.last_error = -errno;
	}
	seg->unsynced = false;
	if (seg != segment_current(s)) {
		close_fd(seg->fd);
		seg->fd = -1;
	}
}

void segments_sync(struct spool *s)
{
	if (s->dir_unsynced && fsync(s->dir_fd) < 0) {
		s->stats.commit_errors++;
		s->stats.last_error = -errno;
	}
	s->dir_unsynced = false;
	for (size_t i = 0; i < s->n_segs; i++)
		if (s->segs[i].fd >= 0)
			segment_sync(s, &s->segs[i]);
}

void segment_retire(struct spool *s, struct segment *seg)
{
	size_t unsynced = 0;

	s->sealed = true;
	for (size_t i = 0; i < s->n_segs; i++)
		unsynced += s->segs[i].unsynced;
	if (s->sync == SPOOL_SYNC_NONE)
		seg->unsynced = false;
	if (!seg->unsynced || unsynced > UNSYNCED_SEGMENTS)
		segment_sync(s, seg);
}

/* ------------------------------------------------------------------ on the disk */

/* Segments that somebody else removed are no longer ours to count. */
static void forget_missing(struct spool *s)
{
	char name[SPOOL_NAME_SIZE];
	struct stat st;

	for (size_t i = s->n_segs; i-- > 0;) {
		spool_segment_name(s->segs[i].first_seq, name);
		if (fstatat(s->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
			segment_forget(s, i);
	}
}

int segment_check(struct spool *s)
{
	struct segment *seg = segment_current(s);
	struct stat st;

	if (!seg)
		return 0;
	if (fstat(seg->fd, &st) < 0)
		return -errno;
	if (st.st_nlink == 0) {
		if (dir_is_gone(s))
			return -ENOENT;
		forget_missing(s);
		/* It is the last one still if only its name came back; not ours then. */
		if (segment_current(s))
			segment_retire(s, segment_current(s));
		return 0;
	}
	/* Somebody else changed it: readers will say what is lost, and nothing is added. */
	if ((uint64_t)st.st_size != seg->bytes) {
		segment_retire(s, seg);
		segment_resize(s, seg, (uint64_t)st.st_size);
		seg->counted = false;
	}
	return 0;
}

int segment_temporary(struct spool *s, const char *name)
{
	_cleanup_close_ int fd = -1;
	int r;

	fd = openat(s->dir_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	if (fchown(fd, (uid_t)-1, s->reader_gid) < 0 || fchmod(fd, 0640) < 0) {
		r = -errno;
		unlinkat(s->dir_fd, name, 0);
		return r;
	}
	return TAKE_FD(fd);
}

int segment_create(struct spool *s, uint64_t first_seq, const uint8_t *p, size_t n)
{
	_cleanup_close_ int fd = -1;
	char name[SPOOL_NAME_SIZE];
	int r;

	/* Under another name first: readers never meet a segment without its first batch. */
	fd = segment_temporary(s, "new.tmp");
	if (fd < 0)
		return fd;
	spool_segment_name(first_seq, name);
	r = spool_pwrite(fd, p, n, 0);
	if (r == 0)
		r = segments_reserve(s);
	if (r == 0 && renameat(s->dir_fd, "new.tmp", s->dir_fd, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(s->dir_fd, "new.tmp", 0);
		return r;
	}
	/* A segment of the same name held no event (positions, or junk), and was replaced. */
	if (s->n_segs && s->segs[s->n_segs - 1].first_seq == first_seq)
		segment_forget(s, s->n_segs - 1);
	s->segs[s->n_segs++] = (struct segment){
		.first_seq = first_seq,
		.bytes = n,
		.fd = TAKE_FD(fd),
		.unsynced = true,
		.counted = true,
	};
	s->bytes += n;
	s->sealed = false;
	s->dir_unsynced = true;
	return 0;
}

/* ------------------------------------------------------------------ counting */

int segment_on_found(void *arg, const struct spool_found *f)
{
	struct segment *seg = arg;

	if (f->what == SPOOL_FOUND_RECORD)
		spool_tally_add(&seg->tally, f->msg, f->size);
	else if (f->what == SPOOL_FOUND_HOLE)
		spool_tally_holes(&seg->tally, &f->walk->hole);
	else if (f->what == SPOOL_FOUND_DAMAGE)
		seg->damaged = true;
	return 0;
}

int segment_count(struct spool *s, struct segment *seg)
{
	_cleanup_close_ int fd = -1;
	char name[SPOOL_NAME_SIZE];
	struct spool_scan scan;
	int r;

	if (seg->counted)
		return 0;
	spool_segment_name(seg->first_seq, name);
	fd = spool_open_regular(s->dir_fd, name);
	if (fd < 0)
		return fd;
	seg->tally = (struct spool_tally){};
	r = spool_scan(fd, &s->key, 1, false, segment_on_found, seg, &scan);
	seg->counted = r == 0;
	return r;
}
