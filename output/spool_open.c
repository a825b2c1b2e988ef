/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a spool to write: its directory, its identity, its cursors' folder, and
 * the recovery: what the last writer left, cut where it was torn.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output/spool_private.h"

#define CURSORS_MAX 256		 /* that are looked at when a spool is opened */
#define CURSOR_LEAD (1ull << 40) /* a cursor further ahead than this is no witness */

/* ------------------------------------------------------------------ recovery */

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
static int recover_tail(struct spool *s, struct segment *seg, int fd, const struct spool_scan *scan)
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

/* Holes that became one with those before them, by a writer that was killed at it. */
static void forget_covered(struct spool *s)
{
	uint8_t head[SPOOL_SEGMENT_HEADER + SPOOL_BATCH_HEADER];
	char name[SPOOL_NAME_SIZE];
	struct spool_batch b;

	for (size_t i = 0; i + 1 < s->n_segs; i++) {
		_cleanup_close_ int fd = -1;
		ssize_t n;

		spool_segment_name(s->segs[i].first_seq, name);
		fd = spool_open_regular(s->dir_fd, name);
		n = fd < 0 ? -1 : spool_pread(fd, head, sizeof(head), 0);
		if (n < SPOOL_SEGMENT_HEADER ||
		    spool_batch_decode(head + SPOOL_SEGMENT_HEADER,
				       (size_t)n - SPOOL_SEGMENT_HEADER, &s->key, &b) <= 0)
			continue;
		while (i + 1 < s->n_segs && s->segs[i + 1].first_seq < b.first_seq + b.n_records) {
			spool_segment_name(s->segs[i + 1].first_seq, name);
			unlinkat(s->dir_fd, name, 0);
			segment_forget(s, i + 1);
		}
	}
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
	unlinkat(s->dir_fd, "thin.tmp", 0);
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
	forget_covered(s);
	for (size_t i = s->n_segs; i-- > 0 && !found;) {
		bool is_last = i == s->n_segs - 1;
		struct segment *seg = &s->segs[i];
		_cleanup_close_ int fd = -1;
		struct spool_scan scan;

		last_seq = MAX(last_seq, seg->first_seq - 1);
		spool_segment_name(seg->first_seq, name);
		fd = openat(s->dir_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		r = spool_scan(fd, &s->key, 1, is_last, segment_on_found, seg, &scan);
		seg->counted = r == 0;
		if (r == 0 && is_last)
			r = recover_tail(s, seg, fd, &scan);
		if (r < 0)
			return r;
		if (is_last && !s->sealed)
			seg->fd = TAKE_FD(fd);
		last_seq = MAX(last_seq, scan.walk.want - 1);
		found = scan.walk.batch.n_positions > 0; /* holes have none */
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

/* Random, and never 0. */
static int draw_id(uint64_t *ret)
{
	do {
		if (getrandom(ret, sizeof(*ret), 0) != (ssize_t)sizeof(*ret))
			return -errno;
	} while (*ret == 0);
	return 0;
}

static int identity_create(struct spool *s, uint64_t id, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	uint8_t page[SPOOL_PAGE];
	int r = id ? 0 : draw_id(&id);

	if (r < 0)
		return r;
	fd = openat(s->dir_fd, "spool.tmp", O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		    0640);
	if (fd < 0)
		return -errno;
	spool_identity_encode(page, id, &s->epochs);
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

static int state_sync(struct spool *s)
{
	state_write(s);
	return fdatasync(s->state_fd) < 0 ? -errno : 0;
}

/*
 * Was this left behind by a machine that went down under its writer? Then numbers
 * that are not there may have been sent, and those to come are of another epoch. It
 * is on the disk before the first of them is given.
 */
static int begin(struct spool *s, bool torn)
{
	_cleanup_close_ int fd = -1;
	struct spool_state state;
	uint64_t id;
	int r;

	if (!torn)
		return state_sync(s);
	r = draw_id(&id);
	if (r < 0)
		return r;
	spool_epochs_add(&s->epochs, s->state.last_seq + 1, id);
	state = s->state;
	r = identity_create(s, s->key.id, &fd);
	if (r < 0)
		return r;
	s->state = state;
	close_fd(s->state_fd);
	s->state_fd = TAKE_FD(fd);
	s->was_torn = true;
	r = state_sync(s);
	if (r == 0 && fsync(s->dir_fd) < 0)
		r = -errno;
	return r;
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
		r = spool_identity_decode(page, (size_t)n, &s->state, &s->epochs);
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

void dir_end(struct spool *s)
{
	uint64_t errors = s->stats.commit_errors;

	segments_sync(s);
	s->state.clean = s->stats.commit_errors == errors;
	if (state_sync(s) < 0)
		s->stats.commit_errors++;
}

void dir_close(struct spool *s)
{
	segments_forget(s);
	close_fd(s->cursors_fd);
	close_fd(s->state_fd);
	close_fd(s->dir_fd);
	close_fd(s->lock_fd);
	s->cursors_fd = s->state_fd = s->dir_fd = s->lock_fd = -1;
}

int dir_open(struct spool *s)
{
	uint64_t expected_id = s->key.id;
	bool mine = false, torn, anew;
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
	torn = s->state.generation && !s->state.clean && s->boot_id &&
	       s->state.boot_id != s->boot_id;
	anew = !s->state.generation && !expected_id;
	s->state.boot_id = s->boot_id;
	s->state.clean = false;
	dead_letters_open(s);
	r = cursors_open(s);
	if (r == 0)
		r = recover(s);
	/* With the identity, the epochs are gone. */
	if (r == 0)
		r = begin(s, torn || (anew && s->n_segs));
	if (r < 0)
		return r;
	if (fchown(s->state_fd, (uid_t)-1, s->reader_gid) < 0 || fchmod(s->state_fd, 0640) < 0 ||
	    fstat(s->state_fd, &st) < 0)
		return -errno;
	s->state_dev = st.st_dev;
	s->state_ino = st.st_ino;
	return 0;
}

int dir_reopen(struct spool *s)
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

bool dir_is_gone(const struct spool *s)
{
	struct stat mine, there;
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/spool", s->dir) >= (int)sizeof(path))
		return true;
	return stat(path, &there) < 0 || there.st_dev != s->state_dev ||
	       there.st_ino != s->state_ino || fstat(s->dir_fd, &mine) < 0 || mine.st_nlink == 0;
}
