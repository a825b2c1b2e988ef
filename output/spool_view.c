/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at a spool; see spool_view.h. */
#define _GNU_SOURCE
#include "output/spool_view.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "output/spool_dir.h"
#include "output/spool_scan.h"
#include "user/util/cleanup.h"

#define NAMES_MAX	 256
#define BEING_WRITTEN_MS 100
#define MIN(a, b)	 ((a) < (b) ? (a) : (b))
#define MAX(a, b)	 ((a) > (b) ? (a) : (b))

struct view {
	const struct spool_viewer *viewer;
	struct spool_view *sum;
	struct spool_key key;
	int dir_fd, state_fd;
	uint64_t want;	  /* the next number */
	uint64_t cleared; /* removed_seq, as it was seen last */
	struct spool_file file;
};

static int tell(struct view *v, const struct spool_item *item)
{
	return v->viewer->on_item ? v->viewer->on_item(v->viewer->arg, item) : 0;
}

/* Numbers from want up to before first are not here: delivered, or lost? */
static int pass(struct view *v, uint64_t first)
{
	struct spool_item item = { .kind = SPOOL_ITEM_MISSING,
				   .file = v->file.name,
				   .last = first - 1 };
	struct spool_state st;

	if (first <= v->want)
		return 0;
	/* They may have been acknowledged a moment ago. */
	if (v->cleared < first - 1 && spool_state_read(v->state_fd, &st, NULL) == 0)
		v->cleared = MAX(v->cleared, st.removed_seq);
	item.first = MAX(v->want, v->cleared + 1);
	v->want = first;
	if (item.first > item.last)
		return 0;
	v->sum->missing += item.last - item.first + 1;
	return tell(v, &item);
}

static int on_record(struct view *v, const struct spool_found *f)
{
	const struct msg *m = f->msg;
	struct spool_item item = {
		.kind = SPOOL_ITEM_EVENT, .file = v->file.name, .offset = f->offset, .msg = m
	};
	int r = pass(v, m->seq);

	v->want = m->seq + 1;
	v->file.events++;
	v->file.of_class[m->class]++;
	if (!v->file.oldest_us || (m->time_us && m->time_us < v->file.oldest_us))
		v->file.oldest_us = m->time_us;
	v->file.newest_us = MAX(v->file.newest_us, m->time_us);
	return r ? r : tell(v, &item);
}

static int on_hole(struct view *v, const struct spool_found *f)
{
	const struct spool_hole *hole = &f->walk->hole;
	struct spool_item item = { .kind = SPOOL_ITEM_DROPPED,
				   .file = v->file.name,
				   .offset = f->offset,
				   .first = hole->first,
				   .last = hole->last };
	int r = pass(v, hole->first);

	memcpy(item.lost, hole->lost, sizeof(item.lost));
	v->want = hole->last + 1;
	v->file.dropped += hole->last - hole->first + 1;
	return r ? r : tell(v, &item);
}

static int damage(struct view *v, uint64_t offset, const char *what)
{
	struct spool_item item = {
		.kind = SPOOL_ITEM_DAMAGE, .file = v->file.name, .offset = offset, .what = what
	};

	v->file.damaged++;
	return tell(v, &item);
}

static int on_found(void *arg, const struct spool_found *f)
{
	struct view *v = arg;

	switch (f->what) {
	case SPOOL_FOUND_RECORD:
		return on_record(v, f);
	case SPOOL_FOUND_HOLE:
		return on_hole(v, f);
	case SPOOL_FOUND_DAMAGE:
		return damage(v, f->offset, f->in_batch ? "event" : "head of a batch");
	case SPOOL_FOUND_BATCH:
		break;
	}
	return 0;
}

/* A batch that is not complete may be on its way; one that stays so is not. */
static bool is_growing(int fd, uint64_t size)
{
	const struct timespec pause = { .tv_nsec = BEING_WRITTEN_MS * 1000000l };
	struct stat st;

	nanosleep(&pause, NULL);
	return fstat(fd, &st) == 0 && (uint64_t)st.st_size != size;
}

static int view_file(struct view *v, uint64_t first_seq, uint64_t next_first, bool is_last)
{
	uint8_t header[SPOOL_SEGMENT_HEADER];
	_cleanup_close_ int fd = -1;
	uint64_t id, first, seen;
	struct spool_item torn;
	struct spool_scan scan;
	struct stat st;
	int r;

	v->file = (struct spool_file){ .first_seq = first_seq };
	spool_segment_name(first_seq, v->file.name);
	fd = spool_open_regular(v->dir_fd, v->file.name);
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	v->file.bytes = (uint64_t)st.st_size;
	r = pass(v, first_seq);
	if (r == 0 && (spool_pread(fd, header, sizeof(header), 0) != sizeof(header) ||
		       spool_segment_decode(header, sizeof(header), &id, &first) < 0 ||
		       id != v->key.id || first != first_seq))
		r = damage(v, 0, "head of the file");
	if (r == 0)
		r = spool_scan(fd, &v->key, v->want, is_last, on_found, v, &scan);
	if (r)
		return r;
	seen = scan.walk.want;
	r = pass(v, is_last ? seen : MAX(seen, next_first));
	torn = (struct spool_item){ .kind = SPOOL_ITEM_TORN,
				    .file = v->file.name,
				    .offset = scan.end,
				    .bytes = scan.tail };
	if (r == 0 && is_last && scan.torn && scan.tail && !is_growing(fd, scan.end + scan.tail)) {
		v->sum->torn_bytes += scan.tail;
		r = tell(v, &torn);
	}
	v->file.last_seq = v->want - 1;
	v->sum->files++;
	v->sum->bytes += v->file.bytes;
	v->sum->events += v->file.events;
	v->sum->dropped += v->file.dropped;
	v->sum->damaged += v->file.damaged;
	for (int class = 0; class < MSG_CLASSES; class ++)
		v->sum->of_class[class] += v->file.of_class[class];
	if (r == 0 && v->viewer->on_file)
		r = v->viewer->on_file(v->viewer->arg, &v->file);
	return r;
}

int spool_view(const char *dir, const struct spool_viewer *viewer, struct spool_view *ret)
{
	struct view v = { .viewer = viewer, .sum = ret };
	_cleanup_close_ int dir_fd = -1, state_fd = -1;
	_cleanup_free_ uint64_t *seqs = NULL;
	struct spool_state st;
	size_t n = 0;
	int r;

	*ret = (struct spool_view){};
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return -errno;
	state_fd = spool_open_regular(dir_fd, "spool");
	if (state_fd < 0)
		return state_fd == -ENOENT ? -EBADMSG : state_fd;
	r = spool_state_read(state_fd, &st, NULL);
	if (r < 0)
		return r == -ENODATA ? -EBADMSG : r;
	ret->id = st.id;
	ret->last_seq = st.last_seq;
	ret->removed_seq = st.removed_seq;
	v.dir_fd = dir_fd;
	v.state_fd = state_fd;
	v.cleared = st.removed_seq;
	spool_key_init(&v.key, st.id);
	r = spool_list(dir_fd, &seqs, &n);
	/* Before the first file is what was removed; what a file has is told, removed or not. */
	v.want = n ? MIN(seqs[0], st.removed_seq + 1) : st.removed_seq + 1;
	for (size_t i = 0; i < n && r == 0; i++)
		r = view_file(&v, seqs[i], i + 1 < n ? seqs[i + 1] : 0, i + 1 == n);
	if (r == 0)
		r = pass(&v, st.last_seq + 1);
	return r;
}

/* ------------------------------------------------------------------ cursors */

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

int spool_view_cursors(const char *dir,
		       void (*fn)(void *arg, const char *name, const struct spool_cursor *c),
		       void *arg)
{
	_cleanup_close_ int dir_fd = -1, fd = -1;
	_cleanup_free_ char(*names)[NAME_MAX + 1] = NULL;
	struct spool_cursor c;
	struct dirent *e;
	size_t n = 0;
	DIR *d;

	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return -errno;
	fd = openat(dir_fd, "cursors", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	names = calloc(NAMES_MAX, sizeof(*names));
	d = names ? fdopendir(fd) : NULL;
	if (!d)
		return names ? -errno : -ENOMEM;
	while (n < NAMES_MAX && (e = readdir(d)))
		if (spool_cursor_name_is_valid(e->d_name))
			strcpy(names[n++], e->d_name);
	qsort(names, n, sizeof(*names), compare_names);
	for (size_t i = 0; i < n; i++)
		fn(arg, names[i], spool_cursor_read(fd, names[i], &c) == 0 ? &c : NULL);
	closedir(d);
	TAKE_FD(fd);
	return 0;
}
