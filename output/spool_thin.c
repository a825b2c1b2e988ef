/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments written again without the events that the spool gives up, which leave
 * holes: neighbours that went become one hole with their number by reason and
 * class. The new file takes the old one's name by rename, so a kill at any
 * instant leaves the one or the other; a reader that has the old one open reads
 * on in it, and nothing is missing there.
 *
 * Segments of nothing but holes become one with their neighbours of that kind.
 * The first takes all of their numbers before the others' names go, so after a
 * kill in between the others are found to be covered, and go then.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "output/spool_private.h"
#include "user/util/clock.h"

#define BORDERS	  16		   /* cursors that a hole is cut at */
#define HOLE_SPAN (UINT32_MAX / 2) /* numbers in one segment of holes */

struct rewrite {
	struct spool *s;
	uint32_t classes; /* that go */
	enum spool_loss reason;
	bool whole; /* all classes: then it is one batch, of holes */
	uint64_t acked;
	uint64_t borders[BORDERS]; /* so that each reader finds what is its own */
	int n_borders;

	int fd;
	uint64_t size;
	uint8_t *room; /* SPOOL_BATCH_HEADER, then the body */
	size_t body_len;
	struct spool_batch batch; /* first_seq 0: none yet */
	struct spool_hole hole;	  /* not written yet; first 0: none */

	struct spool_tally tally; /* of what is written */
	struct spool_drop drops[MSG_CLASSES];
};

static void rewrite_done(struct rewrite *w)
{
	close_fd(w->fd);
	free(w->room);
}

static int rewrite_init(struct rewrite *w, uint64_t first_seq)
{
	uint8_t header[SPOOL_SEGMENT_HEADER];
	struct spool *s = w->s;
	struct spool_cursor c;

	w->acked = acknowledged_seq(s);
	for (int i = 0; i < s->n_outputs && w->n_borders < BORDERS; i++)
		if (spool_cursor_read(s->cursors_fd, s->outputs[i], &c) == 0 &&
		    c.spool_id == s->key.id)
			w->borders[w->n_borders++] = c.cursor_seq;
	w->room = malloc(SPOOL_BATCH_MAX);
	if (!w->room)
		return -ENOMEM;
	w->fd = segment_temporary(s, "thin.tmp");
	if (w->fd < 0)
		return w->fd;
	spool_segment_encode(header, s->key.id, first_seq);
	w->size = sizeof(header);
	return spool_pwrite(w->fd, header, sizeof(header), 0);
}

/* ------------------------------------------------------------------ batches, holes */

static bool has_border(const struct rewrite *w, uint64_t from, uint64_t to)
{
	for (int i = 0; i < w->n_borders; i++)
		if (w->borders[i] >= from && w->borders[i] <= to)
			return true;
	return false;
}

static int hole_flush(struct rewrite *w)
{
	uint8_t *at = w->room + SPOOL_BATCH_HEADER + w->body_len;

	if (!w->hole.first)
		return 0;
	if (w->body_len + SPOOL_HOLE_MAX > SPOOL_BODY_MAX)
		return -ENOBUFS;
	w->body_len += spool_hole_encode(at, &w->s->key, &w->hole);
	w->batch.thinned = true;
	spool_tally_holes(&w->tally, &w->hole);
	w->hole.first = 0;
	return 0;
}

static int hole_add(struct rewrite *w, const struct spool_hole *hole)
{
	int r;

	if (w->hole.first && w->hole.last + 1 == hole->first &&
	    !has_border(w, w->hole.last, w->hole.last)) {
		for (int reason = 0; reason < SPOOL_LOSSES; reason++)
			for (int class = 0; class < MSG_CLASSES; class ++)
				w->hole.lost[reason][class] += hole->lost[reason][class];
		w->hole.last = hole->last;
		return 0;
	}
	r = hole_flush(w);
	w->hole = *hole;
	return r;
}

static int batch_flush(struct rewrite *w)
{
	uint8_t *p = w->room + SPOOL_BATCH_HEADER - spool_batch_header_size(w->batch.n_positions);
	size_t n;
	int r = hole_flush(w);

	if (r < 0 || !w->batch.first_seq)
		return r;
	w->batch.body_len = (uint32_t)w->body_len;
	spool_batch_encode(p, &w->s->key, &w->batch);
	n = spool_batch_header_size(w->batch.n_positions) + w->body_len;
	r = spool_pwrite(w->fd, p, n, w->size);
	w->size += n;
	w->body_len = 0;
	return r;
}

/* ------------------------------------------------------------------ what goes, what stays */

static void count_drops(struct rewrite *w, int class, uint64_t n, uint64_t oldest_us,
			uint64_t newest_us)
{
	struct spool_drop *d = &w->drops[class];

	d->events += n;
	if (!d->oldest_us || (oldest_us && oldest_us < d->oldest_us))
		d->oldest_us = oldest_us;
	d->newest_us = MAX(d->newest_us, newest_us);
}

static int on_record(struct rewrite *w, const struct spool_found *f)
{
	const struct msg *m = f->msg;
	struct spool_hole hole = { .first = m->seq, .last = m->seq };
	int r;

	/* What everybody has is not lost, and need not be kept for the others either. */
	if (m->seq <= w->acked || w->classes & 1u << m->class) {
		hole.lost[w->reason][m->class] = 1;
		if (m->seq > w->acked)
			count_drops(w, (int)m->class, 1, m->time_us, m->time_us);
		return hole_add(w, &hole);
	}
	r = hole_flush(w);
	if (r < 0)
		return r;
	if (w->body_len + f->size > SPOOL_BODY_MAX)
		return -ENOBUFS;
	memcpy(w->room + SPOOL_BATCH_HEADER + w->body_len, f->bytes, f->size);
	w->body_len += f->size;
	spool_tally_add(&w->tally, m, f->size);
	return 0;
}

static int on_found(void *arg, const struct spool_found *f)
{
	struct rewrite *w = arg;
	int r;

	switch (f->what) {
	case SPOOL_FOUND_BATCH:
		if (w->whole)
			return 0;
		r = batch_flush(w);
		w->batch = f->walk->batch;
		return r;
	case SPOOL_FOUND_RECORD:
		return on_record(w, f);
	case SPOOL_FOUND_HOLE:
		return hole_add(w, &f->walk->hole);
	case SPOOL_FOUND_DAMAGE:
		/* What is missing in a batch is damage to its readers, and stays that. */
		return w->whole ? 0 : -EBADMSG;
	}
	return 0;
}

/* A segment that was written here, and that no reader is in the midst of, goes unread. */
static bool add_unread(struct rewrite *w, size_t i, int *ret)
{
	const struct segment *seg = &w->s->segs[i];
	struct spool_hole hole = { .first = seg->first_seq, .last = segment_end(w->s, i) };
	const struct spool_tally *t = &seg->tally;

	if (!seg->counted || seg->damaged || hole.first > hole.last || w->acked >= hole.first ||
	    has_border(w, hole.first, hole.last - 1) ||
	    spool_tally_events(t) + spool_tally_lost(t) != hole.last - hole.first + 1)
		return false;
	memcpy(hole.lost, t->lost, sizeof(hole.lost));
	for (int class = 0; class < MSG_CLASSES; class ++) {
		hole.lost[w->reason][class] += t->n[class];
		if (t->n[class])
			count_drops(w, class, t->n[class], t->oldest_us, t->newest_us);
	}
	*ret = hole_add(w, &hole);
	return true;
}

static int add_segment(struct rewrite *w, size_t i, uint64_t want)
{
	_cleanup_close_ int fd = -1;
	char name[SPOOL_NAME_SIZE];
	struct spool_scan scan;
	int r = 0;

	if (w->whole && add_unread(w, i, &r))
		return r;
	spool_segment_name(w->s->segs[i].first_seq, name);
	fd = spool_open_regular(w->s->dir_fd, name);
	if (fd < 0)
		return fd;
	return spool_scan(fd, &w->s->key, want, false, on_found, w, &scan);
}

/* ------------------------------------------------------------------ taking its place */

static void note_drops(struct spool *s, const struct rewrite *w)
{
	uint64_t now_ms = clock_real_us() / 1000;

	for (int class = 0; class < MSG_CLASSES; class ++) {
		struct spool_drop *d = &s->stats.drops[w->reason][class];
		const struct spool_drop *more = &w->drops[class];

		if (!more->events)
			continue;
		if (!d->events)
			d->first_ms = now_ms;
		d->last_ms = now_ms;
		d->events += more->events;
		if (!d->oldest_us || (more->oldest_us && more->oldest_us < d->oldest_us))
			d->oldest_us = more->oldest_us;
		d->newest_us = MAX(d->newest_us, more->newest_us);
		s->stats.dropped += more->events;
	}
}

/* How far everything is a hole, for those that want to know how much waits. */
static void move_removed(struct spool *s)
{
	uint64_t seq = s->state.removed_seq;

	for (size_t i = 0; i < s->n_segs && segment_is_hole(&s->segs[i]); i++)
		if (&s->segs[i] != segment_current(s))
			seq = MAX(seq, segment_end(s, i));
	if (seq > s->state.removed_seq) {
		s->state.removed_seq = seq;
		state_write(s);
	}
}

/* Segments from to last become the one that w has written. */
static int replace(struct rewrite *w, size_t from, size_t last)
{
	struct segment *seg = &w->s->segs[from];
	char name[SPOOL_NAME_SIZE];
	struct spool *s = w->s;

	if (s->sync != SPOOL_SYNC_NONE && fdatasync(w->fd) < 0)
		return -errno;
	spool_segment_name(seg->first_seq, name);
	if (renameat(s->dir_fd, "thin.tmp", s->dir_fd, name) < 0)
		return -errno;
	s->dir_unsynced = true;
	close_fd(seg->fd);
	seg->fd = -1;
	seg->unsynced = false;
	seg->damaged = false;
	seg->counted = true;
	seg->tally = w->tally;
	segment_resize(s, seg, w->size);
	for (; last > from; last--) {
		spool_segment_name(s->segs[last].first_seq, name);
		unlinkat(s->dir_fd, name, 0);
		segment_forget(s, last);
	}
	return 0;
}

/* The neighbours that are holes like i will be. */
static void neighbours(struct spool *s, size_t i, size_t *ret_from, size_t *ret_last)
{
	size_t from = i, last = i;

	while (from > 0 && segment_is_hole(&s->segs[from - 1]) &&
	       segment_end(s, last) - s->segs[from - 1].first_seq < HOLE_SPAN)
		from--;
	while (last + 1 < s->n_segs && &s->segs[last + 1] != segment_current(s) &&
	       segment_is_hole(&s->segs[last + 1]) &&
	       segment_end(s, last + 1) - s->segs[from].first_seq < HOLE_SPAN)
		last++;
	*ret_from = from;
	*ret_last = last;
}

int segment_thin(struct spool *s, size_t i, uint32_t classes, enum spool_loss reason)
{
	_cleanup_(rewrite_done) struct rewrite w = {
		.s = s, .classes = classes, .reason = reason, .fd = -1
	};
	const struct segment *seg = &s->segs[i];
	size_t from = i, last = i;
	uint64_t want;
	int r;

	w.whole = classes == SPOOL_ALL_CLASSES;
	if (seg->counted && !w.whole) {
		w.whole = true;
		for (int class = 0; class < MSG_CLASSES; class ++)
			w.whole &= classes & 1u << class || !seg->tally.n[class];
	}
	if (w.whole)
		neighbours(s, i, &from, &last);
	want = s->segs[from].first_seq;
	if (w.whole) {
		w.batch.first_seq = want;
		w.batch.n_records = (uint32_t)(segment_end(s, last) + 1 - want);
		w.batch.thinned = w.batch.n_records > 0;
	}
	r = rewrite_init(&w, want);
	for (size_t k = from; k <= last && r == 0; k++)
		r = add_segment(&w, k, MAX(want, s->segs[k].first_seq));
	if (r == 0)
		r = batch_flush(&w);
	if (r == 0)
		r = replace(&w, from, last);
	if (r < 0) {
		unlinkat(s->dir_fd, "thin.tmp", 0);
		return r;
	}
	note_drops(s, &w);
	if (w.whole)
		s->stats.dropped_segments++;
	else
		s->stats.thinned++;
	move_removed(s);
	return 0;
}
