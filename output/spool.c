/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool's writer: batches into segments, recovery, limits, retention.
 * The bytes are spool_format.c's, the reading side is spool_reader.c.
 *
 * What the readers' folder says is written by an unprivileged process: it
 * decides how long segments live, and nothing else here depends on it.
 */
#define _GNU_SOURCE
#include "output/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output/spool_dir.h"
#include "output/spool_format.h"

#define MIN_BYTES	  (1u << 20) /* four batches of one message of the greatest size */
#define SEGMENT_DEFAULT	  (16u << 20)
#define SEGMENT_MIN	  4096u
#define SEGMENTS	  16384	     /* about as many files as max_bytes may be spread over */
#define ROTATE_BYTES	  (1u << 20) /* an acknowledged segment of this size is given up */
#define UNSYNCED_SEGMENTS 8	     /* descriptors kept for the next sync; more sync at once */
#define DIR_CHECK_MS	  1000
#define CURSORS_MAX	  256	       /* that are looked at when a spool is opened */
#define CURSOR_LEAD	  (1ull << 40) /* a cursor further ahead than this is no witness */
#define ROOM		  (SPOOL_SEGMENT_HEADER + SPOOL_BATCH_HEADER) /* before a body */
#define MIN(a, b)	  ((a) < (b) ? (a) : (b))
#define MAX(a, b)	  ((a) > (b) ? (a) : (b))

struct segment {
	uint64_t first_seq;
	uint64_t bytes;
	int fd; /* of the one being written, and of those that wait for a sync; or -1 */
	bool unsynced;
};

struct spool {
	/* options */
	char *dir;
	char **outputs;
	int n_outputs;
	uint64_t max_bytes, segment_bytes, sync_interval_ms;
	enum spool_sync sync;
	uid_t reader_uid;
	gid_t reader_gid;

	/* the directory */
	int dir_fd, lock_fd, state_fd, cursors_fd;
	dev_t state_dev;
	ino_t state_ino;
	bool gone; /* the directory was removed or replaced: make it again */
	bool dir_unsynced;
	uint64_t checked_ms, synced_ms;

	/* what is in it */
	struct spool_key key;
	struct spool_state state; /* as of the newest commit */
	struct segment *segs;	  /* ascending; the last may be being written (fd >= 0) */
	size_t n_segs, cap_segs;
	uint64_t bytes; /* of all of them */
	bool sealed;	/* nothing more goes into the last one */

	/* the batch being built: ROOM, then the body */
	uint8_t *batch;
	size_t body_max, body_len;
	uint32_t n_records;

	struct spool_stats stats;
};

/* ------------------------------------------------------------------ segments */

static struct segment *last_seg(struct spool *s)
{
	return s->n_segs ? &s->segs[s->n_segs - 1] : NULL;
}

/* The one that batches go to, or NULL. */
static struct segment *current(struct spool *s)
{
	struct segment *seg = last_seg(s);

	return seg && seg->fd >= 0 && !s->sealed ? seg : NULL;
}

static void segment_resize(struct spool *s, struct segment *seg, uint64_t bytes)
{
	s->bytes += bytes - seg->bytes;
	seg->bytes = bytes;
}

static void segment_forget(struct spool *s, size_t i)
{
	close_fd(s->segs[i].fd);
	s->bytes -= s->segs[i].bytes;
	s->n_segs--;
	memmove(&s->segs[i], &s->segs[i + 1], (s->n_segs - i) * sizeof(*s->segs));
}

static void segments_forget(struct spool *s)
{
	while (s->n_segs)
		segment_forget(s, s->n_segs - 1);
}

/* Makes room for one more in the table. */
static int segments_reserve(struct spool *s)
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

/* Best effort: a stale slot delays readers by a batch and never misleads them. */
static void state_write(struct spool *s)
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
	if (seg != current(s)) {
		close_fd(seg->fd);
		seg->fd = -1;
	}
}

static void sync_all(struct spool *s)
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

/* The segment that was written so far is complete. */
static void segment_retire(struct spool *s, struct segment *seg)
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

static uint64_t acknowledged_seq(const struct spool *s);

/* Removes the oldest segment; readers are told first that this was on purpose. */
static void segment_remove(struct spool *s, bool acknowledged)
{
	char name[SPOOL_NAME_SIZE];
	uint64_t first_seq = s->segs[0].first_seq;
	uint64_t last = s->n_segs > 1 ? s->segs[1].first_seq - 1 : s->state.last_seq;
	uint64_t had;

	if (s->state.removed_seq < last) {
		s->state.removed_seq = last;
		state_write(s);
	}
	spool_segment_name(first_seq, name);
	unlinkat(s->dir_fd, name, 0);
	segment_forget(s, 0);
	if (acknowledged)
		return;
	s->stats.dropped_segments++;
	had = MAX(acknowledged_seq(s), first_seq - 1);
	s->stats.dropped += last > had ? last - had : 0;
}

/* ------------------------------------------------------------------ retention */

/* Everything up to the answer has been acknowledged by all outputs. */
static uint64_t acknowledged_seq(const struct spool *s)
{
	uint64_t seq = s->n_outputs ? s->state.last_seq : 0;
	struct spool_cursor c;

	for (int i = 0; i < s->n_outputs && seq; i++) {
		if (spool_cursor_read(s->cursors_fd, s->outputs[i], &c) < 0 ||
		    c.spool_id != s->key.id)
			return 0;
		seq = MIN(seq, c.cursor_seq);
	}
	return seq;
}

static void remove_acknowledged(struct spool *s)
{
	uint64_t seq = acknowledged_seq(s);

	while (s->n_segs > 1 && s->segs[1].first_seq <= seq + 1)
		segment_remove(s, true);
}

/*
 * On a full disk: gives back the last segment as well, when all of it has been
 * acknowledged; otherwise it would wait for room that it takes itself. The next
 * batch makes a new one. True when there is room that was not there before.
 */
static bool give_back(struct spool *s)
{
	_cleanup_close_ int fd = -1;
	char name[SPOOL_NAME_SIZE];
	uint64_t before = s->bytes;
	struct segment *seg;

	if (acknowledged_seq(s) < s->state.last_seq)
		return false;
	remove_acknowledged(s);
	seg = last_seg(s);
	if (s->n_segs == 1 && seg->first_seq <= s->state.last_seq) {
		/* Cut first: its room comes free though a reader has it open. */
		spool_segment_name(seg->first_seq, name);
		fd = openat(s->dir_fd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0 && ftruncate(fd, 0) == 0)
			segment_remove(s, true);
	}
	return s->bytes < before;
}

/* Before n more bytes are written. */
static void make_room(struct spool *s, uint64_t n)
{
	if (s->bytes + n <= s->max_bytes)
		return;
	remove_acknowledged(s);
	while (s->n_segs > 1 && s->bytes + n > s->max_bytes)
		segment_remove(s, false);
	/* The last one goes only when it is not the one that will be written. */
	if (s->n_segs == 1 && !current(s) && s->segs[0].bytes + n > s->max_bytes)
		segment_remove(s, false);
}

/* ------------------------------------------------------------------ writing */

/* Is what we have open still what the path names? */
static bool dir_is_gone(const struct spool *s)
{
	struct stat mine, there;
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/spool", s->dir) >= (int)sizeof(path))
		return true;
	return stat(path, &there) < 0 || there.st_dev != s->state_dev ||
	       there.st_ino != s->state_ino || fstat(s->dir_fd, &mine) < 0 || mine.st_nlink == 0;
}

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

/* The current segment must be as this process left it. */
static int check_current(struct spool *s)
{
	struct segment *seg = current(s);
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
		if (current(s))
			segment_retire(s, current(s));
		return 0;
	}
	/* Somebody else changed it: readers will say what is lost, and nothing is added. */
	if ((uint64_t)st.st_size != seg->bytes) {
		segment_retire(s, seg);
		segment_resize(s, seg, (uint64_t)st.st_size);
	}
	return 0;
}

static int segment_create(struct spool *s, uint64_t first_seq, const uint8_t *p, size_t n)
{
	_cleanup_close_ int fd = -1;
	char name[SPOOL_NAME_SIZE];
	int r;

	/* Under another name first: readers never meet a segment without its first batch. */
	fd = openat(s->dir_fd, "new.tmp", O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		    0640);
	if (fd < 0)
		return -errno;
	spool_segment_name(first_seq, name);
	r = 0;
	if (fchown(fd, (uid_t)-1, s->reader_gid) < 0 || fchmod(fd, 0640) < 0)
		r = -errno;
	if (r == 0)
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
		.first_seq = first_seq, .bytes = n, .fd = TAKE_FD(fd), .unsynced = true
	};
	s->bytes += n;
	s->sealed = false;
	s->dir_unsynced = true;
	return 0;
}

/*
 * Writes one batch: its body, which has ROOM bytes before it, behind the header.
 * With next as the new state, or nothing has happened.
 */
static int append(struct spool *s, uint8_t *body, size_t body_len, uint32_t n_records,
		  const struct spool_state *next, bool new_segment)
{
	struct spool_batch b = { .first_seq = s->state.last_seq + 1,
				 .n_records = n_records,
				 .body_len = (uint32_t)body_len,
				 .n_positions = next->n_positions };
	uint8_t *p = body - spool_batch_header_size(b.n_positions);
	size_t n = (size_t)(body - p) + body_len;
	uint64_t generation, removed_seq;
	struct segment *seg;
	int r;

	memcpy(b.positions, next->positions, sizeof(b.positions));
	spool_batch_encode(p, &s->key, &b);
	r = check_current(s);
	if (r < 0)
		return r;
	seg = current(s);
	if (seg && (new_segment || seg->bytes + n > s->segment_bytes)) {
		segment_retire(s, seg);
		seg = NULL;
	}
	if (!seg) {
		p -= SPOOL_SEGMENT_HEADER;
		n += SPOOL_SEGMENT_HEADER;
		spool_segment_encode(p, s->key.id, b.first_seq);
	}
	make_room(s, n);
	if (!seg) {
		r = segment_create(s, b.first_seq, p, n);
		if (r < 0)
			return r;
	} else {
		seg = current(s); /* make_room() moved the table */
		r = spool_pwrite(seg->fd, p, n, seg->bytes);
		if (r < 0) {
			if (ftruncate(seg->fd, (off_t)seg->bytes) < 0)
				segment_retire(s, seg);
			return r;
		}
		segment_resize(s, seg, seg->bytes + n);
		seg->unsynced = true;
	}
	generation = s->state.generation;
	removed_seq = s->state.removed_seq;
	s->state = *next;
	s->state.generation = generation;
	s->state.removed_seq = removed_seq;
	s->state.last_seq = b.first_seq + n_records - 1;
	state_write(s);
	return 0;
}

/* A batch without events, to keep positions and numbers where readers find them. */
static int append_empty(struct spool *s, const struct spool_state *next, bool new_segment)
{
	uint8_t room[ROOM];

	return append(s, room + ROOM, 0, 0, next, new_segment);
}

/* ------------------------------------------------------------------ recovery */

struct scan {
	struct spool_walk walk;
	uint64_t end;	  /* where the good part ends */
	uint64_t tail;	  /* bytes behind it */
	bool torn;	  /* the tail is the beginning of a batch */
	uint64_t records; /* good ones in the tail */
};

/* Reads a segment through. A tail is looked into only if it is no torn batch. */
static int segment_scan(const struct spool *s, int fd, bool is_last, struct scan *ret)
{
	const size_t cap = SPOOL_BATCH_MAX + (256u << 10);
	_cleanup_free_ uint8_t *buf = NULL;
	size_t pos = 0, len = 0, used;
	uint64_t off = SPOOL_SEGMENT_HEADER; /* of buf */
	bool final = !is_last, eof = false, in_tail = false;
	struct spool_batch b;
	struct msg m;
	ssize_t n;

	*ret = (struct scan){ .end = off };
	spool_walk_init(&ret->walk, &s->key, 1);
	buf = malloc(cap);
	if (!buf)
		return -ENOMEM;
	for (;;) {
		ret->walk.confirmed = true;
		switch (spool_walk_step(&ret->walk, buf + pos, len - pos, final && eof, &used,
					&m)) {
		case SPOOL_RECORD:
			ret->records += in_tail;
			break;
		case SPOOL_MORE:
			if (!eof) {
				memmove(buf, buf + pos, len - pos);
				off += pos;
				len -= pos;
				pos = 0;
				n = spool_pread(fd, buf + len, cap - len, off + len);
				if (n < 0)
					return (int)n;
				eof = len + (size_t)n < cap;
				len += (size_t)n;
				continue;
			}
			if (!in_tail) {
				ret->end = off + pos;
				ret->tail = len - pos;
				ret->torn =
					spool_batch_decode(buf + pos, len - pos, &s->key, &b) >= 0;
			}
			if (final || ret->tail == 0 || ret->torn)
				return 0;
			final = in_tail = true;
			continue;
		case SPOOL_SKIPPED:
		case SPOOL_AGAIN:
			break;
		}
		pos += used;
	}
}

/* To look through the cursors; NULL when that can not be. */
static DIR *cursors_list(const struct spool *s)
{
	int fd = openat(s->cursors_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d)
		close_fd(fd);
	return d;
}

/* The greatest number that any reader of this spool has settled, limit at most. */
static uint64_t greatest_cursor(const struct spool *s, uint64_t limit)
{
	DIR *d = cursors_list(s);
	struct spool_cursor c;
	struct dirent *e;
	uint64_t seq = 0;

	if (!d)
		return 0;
	for (int i = 0; i < CURSORS_MAX && (e = readdir(d)); i++)
		if (spool_cursor_name_is_valid(e->d_name) &&
		    spool_cursor_read(s->cursors_fd, e->d_name, &c) == 0 &&
		    c.spool_id == s->key.id && c.cursor_seq <= limit)
			seq = MAX(seq, c.cursor_seq);
	closedir(d);
	return seq;
}

/* What to do with what lies behind the last good batch of the last segment. */
static int recover_tail(struct spool *s, struct segment *seg, int fd, const struct scan *scan)
{
	s->stats.damaged += scan->walk.damaged;
	s->sealed = false;
	if (scan->tail && !scan->torn && scan->records) {
		/* A damaged header with good records behind it: leave that to the readers. */
		s->sealed = true;
		return 0;
	}
	if (scan->tail) {
		if (ftruncate(fd, (off_t)scan->end) < 0)
			return -errno;
		s->stats.torn_bytes += scan->tail;
	}
	/* Shorter than its header: nothing can be appended here. */
	s->sealed = seg->bytes < SPOOL_SEGMENT_HEADER;
	if (!s->sealed)
		segment_resize(s, seg, scan->end);
	return 0;
}

/*
 * Takes stock of the segments. Positions and the last number come from the
 * newest batch that can be read; the number never falls behind what any other
 * witness saw, so that none is given twice.
 */
static int recover(struct spool *s)
{
	_cleanup_free_ uint64_t *seqs = NULL;
	char name[SPOOL_NAME_SIZE];
	uint64_t last_seq = 0, known;
	bool found = false;
	struct stat st;
	size_t n = 0;
	int r;

	segments_forget(s);
	unlinkat(s->dir_fd, "new.tmp", 0);
	r = spool_list(s->dir_fd, &seqs, &n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		spool_segment_name(seqs[i], name);
		if (fstatat(s->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
			continue;
		/* Written for another reader, whose user it was then. */
		if (st.st_gid != s->reader_gid &&
		    fchownat(s->dir_fd, name, (uid_t)-1, s->reader_gid, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		r = segments_reserve(s);
		if (r < 0)
			return r;
		s->segs[s->n_segs++] = (struct segment){ .first_seq = seqs[i],
							 .bytes = (uint64_t)st.st_size,
							 .fd = -1 };
		s->bytes += (uint64_t)st.st_size;
	}
	for (size_t i = s->n_segs; i-- > 0 && !found;) {
		bool is_last = i == s->n_segs - 1;
		struct segment *seg = &s->segs[i];
		_cleanup_close_ int fd = -1;
		struct scan scan;

		last_seq = MAX(last_seq, seg->first_seq - 1);
		spool_segment_name(seg->first_seq, name);
		fd = openat(s->dir_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		r = segment_scan(s, fd, is_last, &scan);
		if (r == 0 && is_last)
			r = recover_tail(s, seg, fd, &scan);
		if (r < 0)
			return r;
		if (is_last && !s->sealed)
			seg->fd = TAKE_FD(fd);
		last_seq = MAX(last_seq, scan.walk.want - 1);
		found = scan.walk.batches > 0;
		if (found) {
			s->state.n_positions = scan.walk.batch.n_positions;
			memcpy(s->state.positions, scan.walk.batch.positions,
			       sizeof(s->state.positions));
		}
	}
	known = MAX(last_seq, s->state.last_seq);
	known = MAX(known, greatest_cursor(s, known + CURSOR_LEAD));
	s->state.last_seq = known;
	if (s->state.last_seq >= SPOOL_SEQ_MAX / 2)
		return -EOVERFLOW;
	/* Readers learn now that what is missing will not come; if not, with the next batch. */
	if (known > last_seq)
		(void)append_empty(s, &s->state, false);
	else
		state_write(s);
	return 0;
}

/* ------------------------------------------------------------------ the directory */

/* With all of its parents; tells whether the last one was made now. */
static int make_dirs(const char *dir, bool *ret_made)
{
	_cleanup_free_ char *path = strdup(dir);

	if (!path)
		return -ENOMEM;
	for (char *p = path + 1; *p; p++) {
		if (*p != '/' || p[1] == '\0')
			continue;
		*p = '\0';
		/* Whatever the umask is: the readers must come through. */
		if (mkdir(path, 0755) == 0 ? chmod(path, 0755) < 0 : errno != EEXIST)
			return -errno;
		*p = '/';
	}
	*ret_made = mkdir(path, 0750) == 0;
	return *ret_made || errno == EEXIST ? 0 : -errno;
}

static bool dir_is_empty(int dir_fd)
{
	bool empty = true;
	struct dirent *e;
	DIR *d;
	int fd;

	fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		close_fd(fd);
		return false;
	}
	while (empty && (e = readdir(d)))
		empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
	closedir(d);
	return empty;
}

/* The id as some segment's header has it, or 0. */
static uint64_t id_from_segments(int dir_fd)
{
	_cleanup_free_ uint64_t *seqs = NULL;
	uint64_t id, first_seq;
	size_t n = 0;

	if (spool_list(dir_fd, &seqs, &n) < 0)
		return 0;
	while (n-- > 0) {
		uint8_t header[SPOOL_SEGMENT_HEADER];
		_cleanup_close_ int fd = -1;
		char name[SPOOL_NAME_SIZE];

		spool_segment_name(seqs[n], name);
		fd = spool_open_regular(dir_fd, name);
		if (fd >= 0 &&
		    spool_pread(fd, header, sizeof(header), 0) == (ssize_t)sizeof(header) &&
		    spool_segment_decode(header, sizeof(header), &id, &first_seq) == 0)
			return id;
	}
	return 0;
}

static int identity_create(struct spool *s, uint64_t id, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	uint8_t page[SPOOL_PAGE];
	int r;

	while (id == 0)
		if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
			return -errno;
	fd = openat(s->dir_fd, "spool.tmp", O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		    0640);
	if (fd < 0)
		return -errno;
	spool_identity_encode(page, id);
	r = spool_pwrite(fd, page, sizeof(page), 0);
	if (r == 0 && (fsync(fd) < 0 || renameat(s->dir_fd, "spool.tmp", s->dir_fd, "spool") < 0))
		r = -errno;
	if (r < 0) {
		unlinkat(s->dir_fd, "spool.tmp", 0);
		return r;
	}
	s->dir_unsynced = true;
	s->state = (struct spool_state){ .id = id };
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int identity_open(struct spool *s, uint64_t expected_id, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	uint8_t page[SPOOL_PAGE];
	struct stat st;
	ssize_t n;
	int r;

	fd = openat(s->dir_fd, "spool", O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno != ENOENT)
		return errno == ELOOP || errno == EISDIR ? -EBADMSG : -errno;
	if (fd >= 0) {
		if (fstat(fd, &st) < 0)
			return -errno;
		if (!S_ISREG(st.st_mode))
			return -EBADMSG;
		n = spool_pread(fd, page, sizeof(page), 0);
		if (n < 0)
			return (int)n;
		r = spool_identity_decode(page, (size_t)n, &s->state);
		if (r == 0) {
			*ret_fd = TAKE_FD(fd);
			return 0;
		}
		if (r != -ENODATA)
			return r;
	}
	/* Missing or unreadable: the segments know the id, if there are any. */
	return identity_create(s, expected_id ? expected_id : id_from_segments(s->dir_fd), ret_fd);
}

/* Cursors that another user left behind must be the reader's, or it cannot go on. */
static void adopt_cursors(struct spool *s)
{
	DIR *d = cursors_list(s);
	struct dirent *e;
	struct stat st;
	int fd;

	if (!d)
		return;
	for (int i = 0; i < CURSORS_MAX && (e = readdir(d)); i++) {
		if (!spool_cursor_name_is_valid(e->d_name))
			continue;
		fd = spool_open_regular(s->cursors_fd, e->d_name);
		/* One name only: no link to a file from elsewhere is given away. */
		if (fd >= 0 && fstat(fd, &st) == 0 && st.st_nlink == 1 &&
		    st.st_uid != s->reader_uid && fchown(fd, s->reader_uid, s->reader_gid) < 0)
			s->stats.last_error = -errno;
		close_fd(fd);
	}
	closedir(d);
}

static int cursors_open(struct spool *s)
{
	if (mkdirat(s->dir_fd, "cursors", 0700) < 0 && errno != EEXIST)
		return -errno;
	s->cursors_fd =
		openat(s->dir_fd, "cursors", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s->cursors_fd < 0)
		return -errno;
	if (fchown(s->cursors_fd, s->reader_uid, s->reader_gid) < 0 ||
	    fchmod(s->cursors_fd, 0700) < 0)
		return -errno;
	adopt_cursors(s);
	return 0;
}

/* The shipper's own, too; that it can not be made stops nobody: it is the shipper who tells. */
static void dead_letters_open(struct spool *s)
{
	_cleanup_close_ int fd = -1;

	if (mkdirat(s->dir_fd, "dead", 0700) < 0 && errno != EEXIST)
		return;
	fd = openat(s->dir_fd, "dead", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	if (fchown(fd, s->reader_uid, s->reader_gid) < 0 || fchmod(fd, 0700) < 0)
		s->stats.last_error = -errno;
}

static void dir_close(struct spool *s)
{
	segments_forget(s);
	close_fd(s->cursors_fd);
	close_fd(s->state_fd);
	close_fd(s->dir_fd);
	close_fd(s->lock_fd);
	s->cursors_fd = s->state_fd = s->dir_fd = s->lock_fd = -1;
}

/* Opens the directory and all that is in it; made when missing. */
static int dir_open(struct spool *s)
{
	uint64_t expected_id = s->key.id;
	bool mine = false;
	struct stat st;
	int r;

	r = make_dirs(s->dir, &mine);
	if (r < 0)
		return r;
	s->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0)
		return -errno;
	/* The mode of somebody else's directory is not ours to change. */
	if (!mine)
		mine = dir_is_empty(s->dir_fd);
	if (!mine)
		mine = fstatat(s->dir_fd, "lock", &st, AT_SYMLINK_NOFOLLOW) == 0;
	if (mine &&
	    (fchown(s->dir_fd, (uid_t)-1, s->reader_gid) < 0 || fchmod(s->dir_fd, 0750) < 0))
		return -errno;
	/* Not the directory itself: whoever may read it could hold that lock. */
	s->lock_fd = openat(s->dir_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return -errno;
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	r = identity_open(s, expected_id, &s->state_fd);
	if (r < 0)
		return r;
	if (expected_id && s->state.id != expected_id)
		return -EBADMSG;
	spool_key_init(&s->key, s->state.id);
	if (fchown(s->state_fd, (uid_t)-1, s->reader_gid) < 0 || fchmod(s->state_fd, 0640) < 0 ||
	    fstat(s->state_fd, &st) < 0)
		return -errno;
	s->state_dev = st.st_dev;
	s->state_ino = st.st_ino;
	dead_letters_open(s);
	r = cursors_open(s);
	if (r < 0)
		return r;
	return recover(s);
}

/* After the directory went away: all that is known lives on in a new one. */
static int dir_reopen(struct spool *s)
{
	struct spool_state old = s->state;
	uint64_t found_seq;
	int r;

	dir_close(s);
	r = dir_open(s);
	if (r == 0) {
		found_seq = s->state.last_seq;
		if (found_seq > old.last_seq)
			r = -EBADMSG; /* it holds what this process did not write */
	}
	if (r < 0) {
		dir_close(s);
		s->state = old;
		return r;
	}
	old.generation = s->state.generation;
	old.removed_seq = MAX(old.removed_seq, s->state.removed_seq);
	s->state = old;
	s->gone = false;
	/* What was lost shows as a gap, in front of this or of the next batch. */
	if (append_empty(s, &old, false) < 0)
		state_write(s);
	return 0;
}

/* ------------------------------------------------------------------ spool.h */

static int copy_options(struct spool *s, const struct spool_opts *opts)
{
	s->dir = strdup(opts->dir);
	s->outputs = calloc((size_t)opts->n_outputs + 1, sizeof(*s->outputs));
	if (!s->dir || !s->outputs)
		return -ENOMEM;
	for (int i = 0; i < opts->n_outputs; i++) {
		s->outputs[i] = strdup(opts->outputs[i]);
		if (!s->outputs[i])
			return -ENOMEM;
		s->n_outputs++;
	}
	s->max_bytes = MAX(opts->max_bytes, MIN_BYTES);
	s->segment_bytes = opts->segment_bytes ? opts->segment_bytes : SEGMENT_DEFAULT;
	s->segment_bytes = MAX(s->segment_bytes, MAX(SEGMENT_MIN, s->max_bytes / SEGMENTS));
	s->segment_bytes = MIN(s->segment_bytes, s->max_bytes / 4);
	s->body_max = MIN(SPOOL_BODY_MAX, s->max_bytes / 4 - ROOM);
	s->sync = opts->sync;
	s->sync_interval_ms = opts->sync_interval_ms;
	s->reader_uid = opts->reader_uid;
	s->reader_gid = opts->reader_gid;
	return 0;
}

int spool_new(const struct spool_opts *opts, struct spool **ret)
{
	_cleanup_(spool_freep) struct spool *s = NULL;
	int r;

	s = malloc(sizeof(*s));
	if (!s)
		return -ENOMEM;
	*s = (struct spool){ .dir_fd = -1, .lock_fd = -1, .state_fd = -1, .cursors_fd = -1 };
	r = copy_options(s, opts);
	if (r < 0)
		return r;
	s->batch = malloc(ROOM + s->body_max);
	if (!s->batch)
		return -ENOMEM;
	r = dir_open(s);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

void spool_free(struct spool *s)
{
	if (!s)
		return;
	if (s->sync != SPOOL_SYNC_NONE && s->dir_fd >= 0)
		sync_all(s);
	dir_close(s);
	for (int i = 0; i < s->n_outputs; i++)
		free(s->outputs[i]);
	free(s->outputs);
	free(s->segs);
	free(s->batch);
	free(s->dir);
	free(s);
}

uint64_t spool_id(const struct spool *s)
{
	return s->key.id;
}

uint64_t spool_next_seq(const struct spool *s)
{
	return s->state.last_seq + s->n_records + 1;
}

int spool_add(struct spool *s, const struct msg *m)
{
	ssize_t size = spool_record_size(m);

	if (size < 0)
		return (int)size;
	if ((size_t)size > s->body_max - s->body_len)
		return -ENOBUFS;
	spool_record_encode(s->batch + ROOM + s->body_len, (size_t)size, &s->key, spool_next_seq(s),
			    m);
	s->body_len += (size_t)size;
	s->n_records++;
	return 0;
}

int spool_check(const struct msg *m)
{
	ssize_t size = spool_record_size(m);

	return size < 0 ? (int)size : 0;
}

/* Puts the n positions into st; *ret_moved: at least one of them is new there. */
static int positions_merge(struct spool_state *st, const struct spool_position *positions, int n,
			   bool *ret_moved)
{
	*ret_moved = false;
	for (int i = 0; i < n; i++) {
		const struct spool_position *p = &positions[i];
		uint32_t k = 0;

		while (k < st->n_positions && st->positions[k].source != p->source)
			k++;
		if (k == SPOOL_SOURCES)
			return -EINVAL;
		if (k < st->n_positions && st->positions[k].generation == p->generation &&
		    st->positions[k].position == p->position)
			continue;
		if (k == st->n_positions)
			st->n_positions++;
		st->positions[k] = *p;
		*ret_moved = true;
	}
	return 0;
}

static int commit(struct spool *s, const struct spool_state *next)
{
	int r;

	if (s->gone) {
		r = dir_reopen(s);
		if (r < 0)
			return r;
	}
	r = append(s, s->batch + ROOM, s->body_len, s->n_records, next, false);
	if ((r == -ENOSPC || r == -EDQUOT) && give_back(s))
		r = append(s, s->batch + ROOM, s->body_len, s->n_records, next, false);
	if (r == -ENOENT && dir_is_gone(s))
		s->gone = true;
	return r;
}

int spool_commit(struct spool *s, const struct spool_position *positions, int n, uint64_t now_ms)
{
	struct spool_state next = s->state;
	bool moved;
	int r;

	r = positions_merge(&next, positions, n, &moved);
	if (r < 0)
		return r;
	if (s->n_records == 0 && !moved)
		return 0;
	r = commit(s, &next);
	s->stats.last_error = r;
	if (r < 0) {
		s->stats.commit_errors++;
		return r;
	}
	s->stats.batches++;
	s->body_len = 0;
	s->n_records = 0;
	if (s->sync == SPOOL_SYNC_BATCH) {
		sync_all(s);
		s->synced_ms = now_ms;
	}
	return 0;
}

int spool_restore(struct spool *s)
{
	s->gone |= dir_is_gone(s);
	return s->gone ? dir_reopen(s) : 0;
}

void spool_abandon(struct spool *s)
{
	s->body_len = 0;
	s->n_records = 0;
}

uint32_t spool_pending(const struct spool *s, size_t *ret_bytes)
{
	if (ret_bytes)
		*ret_bytes = s->body_len;
	return s->n_records;
}

int spool_position(const struct spool *s, uint32_t source, struct spool_position *ret)
{
	for (uint32_t i = 0; i < s->state.n_positions; i++) {
		if (s->state.positions[i].source == source) {
			*ret = s->state.positions[i];
			return 0;
		}
	}
	return -ENOENT;
}

void spool_tick(struct spool *s, uint64_t now_ms)
{
	struct segment *seg;

	if (s->gone)
		return;
	if (now_ms - s->checked_ms >= DIR_CHECK_MS) {
		s->checked_ms = now_ms;
		if (dir_is_gone(s)) {
			s->gone = true;
			return;
		}
	}
	if (s->sync == SPOOL_SYNC_INTERVAL && now_ms - s->synced_ms >= s->sync_interval_ms) {
		s->synced_ms = now_ms;
		sync_all(s);
	}
	remove_acknowledged(s);
	/* All of it was delivered: a small new segment replaces it, and it need not reach a disk.
	 */
	seg = current(s);
	if (seg && seg->bytes >= MIN(ROTATE_BYTES, s->segment_bytes / 2) &&
	    seg->first_seq <= s->state.last_seq && acknowledged_seq(s) >= s->state.last_seq &&
	    append_empty(s, &s->state, true) == 0)
		remove_acknowledged(s);
}

void spool_get_stats(const struct spool *s, struct spool_stats *ret)
{
	*ret = s->stats;
	ret->last_seq = s->state.last_seq;
	ret->first_seq = s->n_segs ? s->segs[0].first_seq : s->state.last_seq + 1;
	ret->removed_seq = s->state.removed_seq;
	ret->bytes = s->bytes;
	ret->segments = (uint32_t)s->n_segs;
}
