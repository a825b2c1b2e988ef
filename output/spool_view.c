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
#include <sys/sysmacros.h>
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

/* ------------------------------------------------------------------ following */

struct spool_follow {
	const struct spool_viewer *viewer; /* of the call */
	struct spool_key key;
	int dir_fd;
	uint64_t want;
	/* The file that is being read; -1: none. */
	int fd;
	uint64_t first_seq, offset;
};

void spool_follow_free(struct spool_follow *f)
{
	if (!f)
		return;
	close_fd(f->fd);
	close_fd(f->dir_fd);
	free(f);
}

int spool_follow_new(const char *dir, struct spool_follow **ret)
{
	_cleanup_(spool_follow_freep) struct spool_follow *f = calloc(1, sizeof(*f));
	_cleanup_close_ int state_fd = -1;
	struct spool_state st;
	int r;

	if (!f)
		return -ENOMEM;
	f->fd = -1;
	f->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->dir_fd < 0)
		return -errno;
	state_fd = spool_open_regular(f->dir_fd, "spool");
	if (state_fd < 0)
		return state_fd == -ENOENT ? -EBADMSG : state_fd;
	r = spool_state_read(state_fd, &st, NULL);
	if (r < 0)
		return r == -ENODATA ? -EBADMSG : r;
	f->want = st.last_seq + 1;
	spool_key_init(&f->key, st.id);
	*ret = TAKE_PTR(f);
	return 0;
}

/* Numbers up to before first are not to be had. */
static int follow_pass(struct spool_follow *f, uint64_t first)
{
	struct spool_item item = {
		.kind = SPOOL_ITEM_MISSING, .file = "", .first = f->want, .last = first - 1
	};

	if (first <= f->want)
		return 0;
	f->want = first;
	return f->viewer->on_item(f->viewer->arg, &item);
}

static int follow_found(void *arg, const struct spool_found *found)
{
	struct spool_follow *f = arg;
	struct spool_item item = { .kind = SPOOL_ITEM_EVENT, .file = "", .offset = found->offset };
	int r;

	switch (found->what) {
	case SPOOL_FOUND_RECORD:
		r = follow_pass(f, found->msg->seq);
		if (r)
			return r;
		f->want = found->msg->seq + 1;
		item.msg = found->msg;
		return f->viewer->on_item(f->viewer->arg, &item);
	case SPOOL_FOUND_HOLE:
		r = follow_pass(f, found->walk->hole.first);
		if (r)
			return r;
		f->want = found->walk->hole.last + 1;
		item.kind = SPOOL_ITEM_DROPPED;
		item.first = found->walk->hole.first;
		item.last = found->walk->hole.last;
		memcpy(item.lost, found->walk->hole.lost, sizeof(item.lost));
		return f->viewer->on_item(f->viewer->arg, &item);
	default:
		return 0;
	}
}

/* The file that holds the wanted number, or the first one behind it. */
static int follow_open(struct spool_follow *f, const uint64_t *seqs, size_t n)
{
	char name[SPOOL_NAME_SIZE];
	size_t i = 0;
	int fd;

	while (i + 1 < n && seqs[i + 1] <= f->want)
		i++;
	if (!n)
		return -EAGAIN;
	spool_segment_name(seqs[i], name);
	fd = spool_open_regular(f->dir_fd, name);
	if (fd < 0)
		return fd;
	close_fd(f->fd);
	f->fd = fd;
	f->first_seq = seqs[i];
	f->offset = SPOOL_SEGMENT_HEADER;
	return 0;
}

/* It may be gone, or written again without some of its events: then ours gets nothing more. */
static bool follow_is_current(const struct spool_follow *f)
{
	char name[SPOOL_NAME_SIZE];
	struct stat ours, named;

	spool_segment_name(f->first_seq, name);
	return fstat(f->fd, &ours) == 0 &&
	       fstatat(f->dir_fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

static int follow_scan(struct spool_follow *f, bool is_last)
{
	struct spool_scan scan;
	struct stat st;
	int r;

	if (fstat(f->fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size <= f->offset)
		return 0;
	r = spool_scan_from(f->fd, &f->key, f->offset, f->want, is_last, follow_found, f, &scan);
	if (r)
		return r;
	f->offset = scan.end;
	return 0;
}

int spool_follow_read(struct spool_follow *f, const struct spool_viewer *viewer)
{
	f->viewer = viewer;
	for (;;) {
		_cleanup_free_ uint64_t *seqs = NULL;
		uint64_t next = 0;
		struct stat dir;
		bool current;
		size_t n;
		int r;

		if (fstat(f->dir_fd, &dir) < 0 || !dir.st_nlink)
			return -ESTALE;
		r = spool_list(f->dir_fd, &seqs, &n);
		if (r < 0)
			return r == -ENOENT ? -ESTALE : r;
		if (f->fd < 0) {
			r = follow_open(f, seqs, n);
			if (r == -ENOENT)
				continue; /* it went between the two */
			if (r)
				return r == -EAGAIN ? 0 : r;
		}
		for (size_t i = 0; i < n && !next; i++)
			next = seqs[i] > f->first_seq ? seqs[i] : 0;
		/* Asked before it is read: what is appended in between is read next time. */
		current = follow_is_current(f);
		r = follow_scan(f, !next && current);
		if (r || (!next && current))
			return r;
		/* The next file, or this one anew; if there is none yet, in a moment. */
		if (n && next > f->want) {
			r = follow_pass(f, next);
			if (r)
				return r;
		}
		close_fd(f->fd);
		f->fd = -1;
		if (!n)
			return 0;
	}
}

/* As the kernel tells it: to try the lock would be to hold it for a moment. */
int spool_has_writer(const char *dir)
{
	char path[4096], line[256], at[64];
	struct stat st;
	int found = 0;
	FILE *f;

	if ((size_t)snprintf(path, sizeof(path), "%s/lock", dir) >= sizeof(path))
		return -ENAMETOOLONG;
	if (stat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	snprintf(at, sizeof(at), " %02x:%02x:%llu ", major(st.st_dev), minor(st.st_dev),
		 (unsigned long long)st.st_ino);
	f = fopen("/proc/locks", "re");
	if (!f)
		return -errno;
	while (!found && fgets(line, sizeof(line), f))
		found = strstr(line, " FLOCK ") && strstr(line, at);
	fclose(f);
	return found;
}
