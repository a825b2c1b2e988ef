/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool's reading side: goes through the segments behind a writer that it
 * never waits for, keeps the books of what became of each event, and the cursor
 * in which they survive. Runs unprivileged; the bytes are spool_format.c's.
 *
 * A gap in the numbers is a loss. It is put on a list when it is seen, with its
 * kind, and enters the books when the cursor comes to it.
 */
#define _GNU_SOURCE
#include "output/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output/spool_dir.h"
#include "output/spool_format.h"
#include "output/spool_walk.h"
#include "user/util/pages.h"

#define CHUNK	     (256u << 10) /* read at once; a batch stays in the CPU's cache */
#define WINDOW	     (SPOOL_BATCH_MAX + CHUNK)
#define GAPS	     4096 /* noted and not yet settled; then reading waits for settles */
#define GAPS_AT_ONCE (1 + SPOOL_LOSSES * MSG_CLASSES) /* that one step can find */
#define REST_EVERY   64 /* settles between two copies of counters and texts */
#define EIO_TRIES    3	/* then a page of the disk counts as zeroes */
#define LIST_TRIES   8
#define NOWHERE	     UINT64_MAX
#define MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MAX(a, b)    ((a) > (b) ? (a) : (b))

struct gap {
	uint64_t first, last;
	enum { GAP_DAMAGE, GAP_REMOVED, GAP_HOLE } kind; /* removed: nobody knows what it was */
	enum spool_loss reason;				 /* of a hole */
	enum msg_class class;
};

struct spool_reader {
	char *dir, *name;

	/* the directory and the cursor's file */
	int dir_fd, state_fd, cursor_fd;
	dev_t state_dev;
	ino_t state_ino;
	struct spool_epochs epochs;
	uint8_t *page; /* the mapped cursor; NULL while there is none */
	struct spool_cursor_gens gens;
	struct spool_cursor cursor;
	struct spool_cursor published; /* the rest, as others see it */
	unsigned int settles;
	bool is_new; /* no cursor was found */

	/* the segment, and a window of it */
	int seg_fd;
	uint64_t seg_first;
	bool sealed; /* nothing is appended to it any more */
	bool eof;    /* and the window reaches to its end */
	uint8_t *buf;
	uint64_t off; /* of buf in the file */
	size_t pos, len;
	unsigned int eio;

	struct spool_walk walk;
	uint64_t unit_off;	/* where the batch that walk is in begins */
	uint64_t confirmed_off; /* of the one that was read again because of damage */

	/* a queue, ascending, from the first gap behind the cursor */
	struct gap gaps[GAPS];
	unsigned int gap_head, n_gaps;
	uint64_t filtered; /* of what is settled next */
};

/* ------------------------------------------------------------------ cursor */

static void publish_books(struct spool_reader *r)
{
	uint8_t slot[SPOOL_CURSOR_BOOKS] = {};
	size_t at;

	if (!r->page)
		return;
	at = spool_cursor_encode_books(slot, ++r->gens.books, &r->cursor);
	memcpy(r->page + at, slot, sizeof(slot));
	__asm__ volatile("" ::: "memory");
}

static bool rest_changed(const struct spool_reader *r)
{
	const struct spool_cursor *a = &r->cursor, *b = &r->published;

	return a->sent != b->sent || a->sent_bytes != b->sent_bytes || a->connects != b->connects ||
	       a->failures != b->failures || strncmp(a->state, b->state, sizeof(a->state)) != 0 ||
	       strncmp(a->last_error, b->last_error, sizeof(a->last_error)) != 0;
}

static bool peer_changed(const struct spool_reader *r)
{
	const struct spool_cursor *a = &r->cursor, *b = &r->published;

	return a->dead_lettered != b->dead_lettered || a->dead_unwritten != b->dead_unwritten ||
	       a->dead_dropped != b->dead_dropped || a->target_since_us != b->target_since_us ||
	       strncmp(a->target, b->target, sizeof(a->target)) != 0 ||
	       strncmp(a->others, b->others, sizeof(a->others)) != 0;
}

static void publish_peer(struct spool_reader *r)
{
	uint8_t slot[SPOOL_CURSOR_PEER];
	size_t at = spool_cursor_encode_peer(slot, ++r->gens.peer, &r->cursor);

	memcpy(r->page + at, slot, sizeof(slot));
	__asm__ volatile("" ::: "memory");
}

void spool_reader_publish(struct spool_reader *r)
{
	uint8_t slot[SPOOL_CURSOR_REST];
	size_t at;

	if (!r->page)
		return;
	if (peer_changed(r))
		publish_peer(r);
	if (!rest_changed(r)) {
		r->published = r->cursor;
		return;
	}
	at = spool_cursor_encode_rest(slot, ++r->gens.rest, &r->cursor);
	memcpy(r->page + at, slot, sizeof(slot));
	__asm__ volatile("" ::: "memory");
	r->published = r->cursor;
}

void spool_reader_rest(struct spool_reader *r)
{
	pages_forget(r->buf, r->pos);
	pages_forget(r->buf + r->len, WINDOW - r->len);
}

struct spool_cursor *spool_reader_cursor(struct spool_reader *r)
{
	return &r->cursor;
}

static void cursor_close(struct spool_reader *r)
{
	if (r->page)
		munmap(r->page, SPOOL_PAGE);
	r->page = NULL;
	close_fd(r->cursor_fd);
	r->cursor_fd = -1;
}

/* Opens, locks and maps the file. 1: *ret is what it held; 0: it held nothing of use. */
static int cursor_open(struct spool_reader *r, struct spool_cursor *ret)
{
	static const uint8_t zeroes[SPOOL_PAGE];
	_cleanup_close_ int cursors_fd = -1;
	struct stat st;
	void *page;
	int e;

	cursors_fd = openat(r->dir_fd, "cursors", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (cursors_fd < 0)
		return -errno;
	r->cursor_fd = openat(cursors_fd, r->name,
			      O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (r->cursor_fd < 0)
		return -errno;
	if (flock(r->cursor_fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (fstat(r->cursor_fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	/* Written, not just extended: a hole could not be filled on a full disk. */
	if (st.st_size < SPOOL_PAGE) {
		e = spool_pwrite(r->cursor_fd, zeroes, (size_t)(SPOOL_PAGE - st.st_size),
				 (uint64_t)st.st_size);
		if (e < 0)
			return e;
	}
	page = mmap(NULL, SPOOL_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, r->cursor_fd, 0);
	if (page == MAP_FAILED)
		return -errno;
	r->page = page;
	r->gens = (struct spool_cursor_gens){};
	return spool_cursor_decode(r->page, ret, &r->gens) == 0;
}

/* ------------------------------------------------------------------ books */

/* Losses that the cursor has come to enter the books. True if it moved. */
static bool absorb(struct spool_reader *r)
{
	struct spool_cursor *c = &r->cursor;
	bool moved = false;

	while (r->n_gaps) {
		struct gap *g = &r->gaps[r->gap_head];
		uint64_t n;

		if (g->first > c->cursor_seq + 1)
			break;
		n = g->last - c->cursor_seq;
		if (g->kind == GAP_DAMAGE)
			c->lost_damage += n;
		else if (g->kind == GAP_HOLE && g->reason == SPOOL_LOST_AGE)
			c->lost_age += n;
		else
			c->lost_limit += n;
		if (g->kind == GAP_HOLE)
			c->lost[g->reason][g->class] += n;
		c->cursor_seq = g->last;
		r->gap_head = (r->gap_head + 1) % GAPS;
		r->n_gaps--;
		moved = true;
	}
	return moved;
}

static bool continues(const struct gap *a, const struct gap *b)
{
	return a->last + 1 == b->first && a->kind == b->kind && a->reason == b->reason &&
	       a->class == b->class;
}

/* There is room: reading stops before the list is full. */
static void note(struct spool_reader *r, const struct gap *gap)
{
	struct gap *tail = &r->gaps[(r->gap_head + r->n_gaps + GAPS - 1) % GAPS];

	if (gap->first > gap->last)
		return;
	if (r->n_gaps && continues(tail, gap)) {
		tail->last = gap->last;
	} else {
		r->gaps[(r->gap_head + r->n_gaps) % GAPS] = *gap;
		r->n_gaps++;
	}
}

static void note_gap(struct spool_reader *r, uint64_t first, uint64_t last, bool removed)
{
	note(r, &(struct gap){
			.first = first, .last = last, .kind = removed ? GAP_REMOVED : GAP_DAMAGE });
	if (absorb(r))
		publish_books(r);
}

/* In the order in which spool_hole_cut() takes them: a part of it is a part of the same. */
static void note_hole(struct spool_reader *r, const struct spool_hole *hole)
{
	struct gap gap = { .first = hole->first, .kind = GAP_HOLE };

	for (gap.reason = 0; gap.reason < SPOOL_LOSSES; gap.reason++) {
		for (gap.class = 0; gap.class < MSG_CLASSES; gap.class ++) {
			gap.last = gap.first + hole->lost[gap.reason][gap.class] - 1;
			note(r, &gap);
			gap.first = gap.last + 1;
		}
	}
	if (absorb(r))
		publish_books(r);
}

void spool_reader_filter(struct spool_reader *r, uint64_t n)
{
	r->filtered += n;
}

void spool_reader_settle(struct spool_reader *r, uint64_t seq, uint64_t rejected)
{
	struct spool_cursor *c = &r->cursor;
	uint64_t events = 0, filtered = r->filtered;

	r->filtered = 0;
	seq = MIN(seq, r->walk.want - 1); /* no more than what was read */
	if (seq <= c->cursor_seq)
		return;
	while (c->cursor_seq < seq) {
		uint64_t to = seq;

		if (absorb(r))
			continue;
		if (r->n_gaps)
			to = MIN(to, r->gaps[r->gap_head].first - 1);
		events += to - c->cursor_seq;
		c->cursor_seq = to;
	}
	absorb(r);
	rejected = MIN(rejected, events);
	filtered = MIN(filtered, events - rejected);
	c->acked += events - rejected - filtered;
	c->rejected += rejected;
	c->filtered += filtered;
	publish_books(r);
	if (++r->settles % REST_EVERY == 0)
		spool_reader_publish(r);
}

/* ------------------------------------------------------------------ segments */

static void window_reset(struct spool_reader *r, uint64_t off)
{
	r->off = off;
	r->pos = r->len = 0;
	r->eof = false;
	r->eio = 0;
}

static void segment_close(struct spool_reader *r)
{
	close_fd(r->seg_fd);
	r->seg_fd = -1;
	spool_walk_restart(&r->walk);
	window_reset(r, SPOOL_SEGMENT_HEADER);
}

/* Events from want up to before first are not in any segment: why? */
static void note_missing(struct spool_reader *r, uint64_t first)
{
	struct spool_state st = {};
	uint64_t want = r->walk.want, removed;

	if (first <= want)
		return;
	(void)spool_state_read(r->state_fd, &st, NULL);
	removed = MIN(st.removed_seq, first - 1);
	r->walk.want = first;
	if (removed >= want) {
		note_gap(r, want, removed, true);
		want = removed + 1;
	}
	note_gap(r, want, first - 1, false);
}

/*
 * Opens the segment that has want, or the next one there is, among those that
 * begin at min_first or above. 1, or 0 when there is none, or -errno.
 */
static int segment_locate(struct spool_reader *r, uint64_t min_first)
{
	if (r->dir_fd < 0)
		return 0; /* follow_directory() is at it */
	for (int i = 0; i < LIST_TRIES; i++) {
		_cleanup_free_ uint64_t *seqs = NULL;
		_cleanup_close_ int fd = -1;
		char name[SPOOL_NAME_SIZE];
		uint64_t found = 0;
		size_t n = 0;
		int e;

		e = spool_list(r->dir_fd, &seqs, &n);
		if (e < 0)
			return e == -ENOENT ? 0 : e;
		for (size_t k = 0; k < n; k++) {
			if (seqs[k] < min_first)
				continue;
			if (found && seqs[k] > r->walk.want)
				break;
			found = seqs[k];
		}
		if (!found)
			return 0;
		spool_segment_name(found, name);
		fd = spool_open_regular(r->dir_fd, name);
		if (fd == -ENOENT)
			continue; /* removed in this moment */
		if (fd < 0)
			return fd;
		segment_close(r);
		note_missing(r, found);
		r->seg_fd = TAKE_FD(fd);
		r->seg_first = found;
		r->sealed = false;
		r->unit_off = r->confirmed_off = NOWHERE;
		return 1;
	}
	return 0;
}

/* Is there a segment after this one? */
static int has_later(struct spool_reader *r)
{
	_cleanup_free_ uint64_t *seqs = NULL;
	size_t n = 0;
	int e;

	if (r->dir_fd < 0)
		return 0;
	e = spool_list(r->dir_fd, &seqs, &n);
	if (e < 0)
		return e == -ENOENT ? 0 : e;
	return n && seqs[n - 1] > r->seg_first;
}

/*
 * The window ends where the file ends. Is that for good? 1 or 0, or -errno.
 * The common answer, no, takes no listing of the directory.
 */
static int is_complete(struct spool_reader *r)
{
	struct spool_state state;
	char name[SPOOL_NAME_SIZE];
	struct stat st;

	if (fstat(r->seg_fd, &st) < 0)
		return -errno;
	if (st.st_nlink == 0)
		return 1; /* nobody appends to what has no name */
	if (r->pos < r->len)
		return has_later(r);
	spool_segment_name(r->walk.want, name);
	if (r->walk.want != r->seg_first && faccessat(r->dir_fd, name, F_OK, 0) == 0)
		return 1;
	if (spool_state_read(r->state_fd, &state, NULL) == 0 && state.last_seq >= r->walk.want)
		return has_later(r);
	return 0;
}

/* The segment is read to its end. 1: there is another one. */
static int next_segment(struct spool_reader *r)
{
	struct stat st;
	bool linked = fstat(r->seg_fd, &st) == 0 && st.st_nlink > 0;

	return segment_locate(r, linked ? r->seg_first + 1 : 1);
}

/* Reads on behind what is in the window. How much, 0 at the end, or -errno. */
static ssize_t fill(struct spool_reader *r)
{
	size_t n;
	ssize_t got;

	if (r->pos) {
		memmove(r->buf, r->buf + r->pos, r->len - r->pos);
		r->off += r->pos;
		r->len -= r->pos;
		r->pos = 0;
	}
	n = MIN(CHUNK, WINDOW - r->len);
	got = spool_pread(r->seg_fd, r->buf + r->len, n, r->off + r->len);
	/* A page that the disk does not give back is damage like any other. */
	if (got == -EIO && ++r->eio > EIO_TRIES)
		got = spool_pread_zeroes(r->seg_fd, r->buf + r->len, n, r->off + r->len);
	if (got < 0)
		return got;
	r->eio = 0;
	r->len += (size_t)got;
	return got;
}

/* ------------------------------------------------------------------ opening */

static void dir_close(struct spool_reader *r)
{
	cursor_close(r);
	close_fd(r->state_fd);
	close_fd(r->dir_fd);
	r->state_fd = r->dir_fd = -1;
}

/* 1: *ret is the cursor as it was; 0: there was none of this spool; -errno. */
static int dir_open(struct spool_reader *r, struct spool_state *ret_state, struct spool_cursor *ret)
{
	struct stat st;
	int e;

	r->dir_fd = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->dir_fd < 0)
		return -errno;
	r->state_fd = spool_open_regular(r->dir_fd, "spool");
	if (r->state_fd < 0)
		return r->state_fd == -ENOENT ? -EBADMSG : r->state_fd;
	if (fstat(r->state_fd, &st) < 0)
		return -errno;
	r->state_dev = st.st_dev;
	r->state_ino = st.st_ino;
	e = spool_state_read(r->state_fd, ret_state, &r->epochs);
	if (e < 0)
		return e == -ENODATA ? -EBADMSG : e;
	e = cursor_open(r, ret);
	if (e <= 0)
		return e;
	return ret->spool_id == ret_state->id;
}

/* A cursor for a spool that this reader does not know: at the oldest event. */
static int start_anew(struct spool_reader *r, const struct spool_state *state)
{
	_cleanup_free_ uint64_t *seqs = NULL;
	size_t n = 0;
	int e = spool_list(r->dir_fd, &seqs, &n);

	if (e < 0)
		return e;
	r->cursor = (struct spool_cursor){ .spool_id = state->id,
					   .start_seq = n ? seqs[0] - 1 : state->last_seq };
	r->cursor.cursor_seq = r->cursor.start_seq;
	return 0;
}

static void start_reading(struct spool_reader *r)
{
	struct spool_key key;

	segment_close(r);
	spool_key_init(&key, r->cursor.spool_id);
	spool_walk_init(&r->walk, &key, r->cursor.cursor_seq + 1);
	r->gap_head = r->n_gaps = 0;
	/* So that others see all of it, whatever the file held. */
	memset(&r->published, 0xff, sizeof(r->published));
	publish_books(r);
	spool_reader_publish(r);
}

int spool_reader_new(const char *dir, const char *name, struct spool_reader **ret)
{
	_cleanup_(spool_reader_freep) struct spool_reader *r = NULL;
	struct spool_state state;
	int e;

	if (!spool_cursor_name_is_valid(name))
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->dir_fd = r->state_fd = r->cursor_fd = r->seg_fd = -1;
	r->dir = strdup(dir);
	r->name = strdup(name);
	r->buf = malloc(WINDOW);
	if (!r->dir || !r->name || !r->buf)
		return -ENOMEM;
	e = dir_open(r, &state, &r->cursor);
	r->is_new = e == 0;
	if (e == 0)
		e = start_anew(r, &state);
	if (e < 0)
		return e;
	snprintf(r->cursor.state, sizeof(r->cursor.state), "stopped");
	start_reading(r);
	*ret = TAKE_PTR(r);
	return 0;
}

bool spool_reader_adopt(struct spool_reader *r, const struct spool_cursor *last)
{
	if (!r->is_new || last->spool_id != r->cursor.spool_id)
		return false;
	r->cursor = *last;
	start_reading(r);
	return true;
}

void spool_reader_free(struct spool_reader *r)
{
	if (!r)
		return;
	spool_reader_publish(r);
	close_fd(r->seg_fd);
	dir_close(r);
	free(r->buf);
	free(r->name);
	free(r->dir);
	free(r);
}

/* When the writer made the directory again: go there with the books as they are. */
static bool follow_directory(struct spool_reader *r)
{
	struct spool_cursor there = {};
	struct spool_state state = {};
	char path[PATH_MAX];
	struct stat st;
	int e;

	if (!r->dir)
		return false; /* spool_lookup() */
	if (snprintf(path, sizeof(path), "%s/spool", r->dir) >= (int)sizeof(path) ||
	    stat(path, &st) < 0 ||
	    (r->page && st.st_dev == r->state_dev && st.st_ino == r->state_ino))
		return false;
	dir_close(r);
	e = dir_open(r, &state, &there);
	if (e < 0) {
		/* Not ready, or not readable: the next call tries again. */
		dir_close(r);
		return false;
	}
	if (state.id == r->cursor.spool_id) {
		memset(&r->published, 0xff, sizeof(r->published));
		publish_books(r);
		spool_reader_publish(r);
		return true;
	}
	if (e > 0)
		r->cursor = there;
	else if (start_anew(r, &state) < 0)
		return false;
	start_reading(r);
	return true;
}

/* ------------------------------------------------------------------ reading */

/* Nothing to read now. What is there of a batch is read again when all of it is. */
static bool idle(struct spool_reader *r)
{
	r->len = r->pos;
	spool_reader_publish(r);
	return !follow_directory(r);
}

/* The walk needs more than the window has. 1: go on, 0: there is nothing yet, or -errno. */
static int more(struct spool_reader *r)
{
	ssize_t got;
	int e;

	if (r->seg_fd < 0)
		return segment_locate(r, 1);
	if (r->eof)
		return next_segment(r);
	got = fill(r);
	if (got)
		return got > 0 ? 1 : (int)got;
	if (r->sealed) {
		r->eof = true;
		return 1;
	}
	e = is_complete(r);
	if (e <= 0)
		return e;
	/* What was appended before it was complete must be seen, too. */
	r->sealed = true;
	r->len = r->pos;
	return 1;
}

int spool_reader_next(struct spool_reader *r, struct msg *ret)
{
	struct spool_walk *w = &r->walk;
	uint64_t want;
	size_t used;
	int e;

	for (;;) {
		if (r->n_gaps > GAPS - GAPS_AT_ONCE)
			return 0;
		if (w->where == SPOOL_AT_BATCH) {
			r->unit_off = r->off + r->pos;
			w->confirmed = r->unit_off == r->confirmed_off;
		}
		want = w->want;
		switch (spool_walk_step(w, r->buf + r->pos, r->len - r->pos, r->eof, &used, ret)) {
		case SPOOL_RECORD:
			r->pos += used;
			if (ret->seq != want)
				note_gap(r, want, ret->seq - 1, false);
			ret->epoch = spool_epochs_find(&r->epochs, r->cursor.spool_id, ret->seq);
			return 1;
		case SPOOL_GONE:
			r->pos += used;
			note_gap(r, want, w->hole.first - 1, false);
			note_hole(r, &w->hole);
			break;
		case SPOOL_SKIPPED:
			r->pos += used;
			if (w->want != want)
				note_gap(r, want, w->want - 1, false);
			break;
		case SPOOL_AGAIN:
			/* It may have been cut and written anew while it was being read. */
			r->confirmed_off = r->unit_off;
			spool_walk_restart(w);
			window_reset(r, r->unit_off);
			break;
		case SPOOL_MORE:
			e = more(r);
			if (e < 0)
				return e;
			if (e == 0 && idle(r))
				return 0;
			break;
		}
	}
}

int spool_reader_rewind(struct spool_reader *r)
{
	uint64_t want = r->cursor.cursor_seq + 1;

	if (r->seg_fd >= 0 && r->seg_first > want) {
		segment_close(r);
	} else {
		spool_walk_restart(&r->walk);
		window_reset(r, SPOOL_SEGMENT_HEADER);
		r->unit_off = r->confirmed_off = NOWHERE;
	}
	r->walk.want = want;
	r->gap_head = r->n_gaps = 0;
	spool_reader_publish(r);
	return 0;
}

uint64_t spool_reader_last_seq(struct spool_reader *r)
{
	struct spool_state state;
	uint64_t seq = MAX(r->cursor.cursor_seq, r->walk.want - 1);

	if (spool_state_read(r->state_fd, &state, NULL) == 0 && state.id == r->cursor.spool_id)
		seq = MAX(seq, state.last_seq);
	return seq;
}

uint64_t spool_reader_waiting(struct spool_reader *r)
{
	uint64_t last = spool_reader_last_seq(r), gone = r->cursor.cursor_seq;
	struct spool_state state;

	if (spool_state_read(r->state_fd, &state, NULL) == 0 && state.id == r->cursor.spool_id)
		gone = MAX(gone, state.removed_seq);
	return last > gone ? last - gone : 0;
}

/* ------------------------------------------------------------------ by number */

/* A reader that has no cursor and no page: what it publishes goes nowhere. */
struct spool_lookup {
	struct spool_reader r;
};

/* From here on it is cheaper to look for the segment than to read up to there. */
#define LOOKUP_FAR 4096

int spool_lookup_new(struct spool_reader *of, struct spool_lookup **ret)
{
	_cleanup_(spool_lookup_freep) struct spool_lookup *l = calloc(1, sizeof(*l));
	struct spool_reader *r;
	struct spool_key key;

	if (!l)
		return -ENOMEM;
	r = &l->r;
	r->dir_fd = r->state_fd = r->cursor_fd = r->seg_fd = -1;
	r->buf = malloc(WINDOW);
	if (!r->buf)
		return -ENOMEM;
	r->dir_fd = open(of->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->dir_fd < 0)
		return -errno;
	r->state_fd = spool_open_regular(r->dir_fd, "spool");
	if (r->state_fd < 0)
		return r->state_fd;
	r->cursor.spool_id = of->cursor.spool_id;
	r->epochs = of->epochs;
	spool_key_init(&key, of->cursor.spool_id);
	spool_walk_init(&r->walk, &key, 1);
	*ret = TAKE_PTR(l);
	return 0;
}

void spool_lookup_free(struct spool_lookup *l)
{
	if (!l)
		return;
	close_fd(l->r.seg_fd);
	dir_close(&l->r);
	free(l->r.buf);
	free(l);
}

int spool_lookup(struct spool_lookup *l, uint64_t seq, struct msg *ret)
{
	struct spool_reader *r = &l->r;
	int e;

	if (seq < r->walk.want || seq - r->walk.want > LOOKUP_FAR)
		segment_close(r);
	r->walk.want = seq;
	/* Its losses are in the books of the one that has the cursor. */
	r->gap_head = r->n_gaps = 0;
	r->cursor.cursor_seq = seq - 1;
	e = spool_reader_next(r, ret);
	if (e <= 0)
		return e;
	return ret->seq == seq;
}

int spool_cursor_peek(const char *dir, const char *name, struct spool_cursor *ret)
{
	_cleanup_close_ int dir_fd = -1, cursors_fd = -1;

	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return -errno;
	cursors_fd = openat(dir_fd, "cursors", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (cursors_fd < 0)
		return -errno;
	return spool_cursor_read(cursors_fd, name, ret);
}
