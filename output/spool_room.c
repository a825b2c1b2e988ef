/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the spool keeps and what it gives up: segments that all outputs have
 * acknowledged go at once; at the limit of its size one class after the other,
 * the oldest first; by age whole segments. Every event that goes before all
 * outputs have it leaves a hole that says what it was (spool_thin.c).
 *
 * A segment is thinned only while that is worth it and the tick's budget lasts;
 * beyond it the oldest segment goes, whatever is in it, which costs no reading.
 * The segment that is being written is never touched.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "output/spool_private.h"

#define WORTH_PART 64	      /* of its bytes: for less a segment is not written again */
#define AGE_PARTS  16	      /* of the greatest age: what one segment may span */
#define LOOK_BYTES (32 << 20) /* that one look at the books may read */

uint64_t acknowledged_seq(const struct spool *s)
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

/* Removes a file; readers are told first that this was on purpose. */
static void segment_remove(struct spool *s, size_t i)
{
	uint64_t first_seq = s->segs[i].first_seq, last = segment_end(s, i);
	char name[SPOOL_NAME_SIZE];

	if (s->state.removed_seq < last) {
		s->state.removed_seq = last;
		state_write(s);
	}
	spool_segment_name(first_seq, name);
	unlinkat(s->dir_fd, name, 0);
	segment_forget(s, i);
}

void remove_acknowledged(struct spool *s)
{
	uint64_t seq = acknowledged_seq(s);

	while (s->n_segs > 1 && s->segs[1].first_seq <= seq + 1)
		segment_remove(s, 0);
}

/*
 * Gives back the last segment as well, when all of it has been acknowledged;
 * otherwise it would wait for room that it takes itself. The next batch makes a
 * new one.
 */
bool give_back(struct spool *s)
{
	_cleanup_close_ int fd = -1;
	char name[SPOOL_NAME_SIZE];
	uint64_t before = s->bytes;
	struct segment *seg;

	if (acknowledged_seq(s) < s->state.last_seq)
		return false;
	remove_acknowledged(s);
	seg = segment_last(s);
	if (s->n_segs == 1 && seg->first_seq <= s->state.last_seq) {
		/* Cut first: its room comes free though a reader has it open. */
		spool_segment_name(seg->first_seq, name);
		fd = openat(s->dir_fd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0 && ftruncate(fd, 0) == 0)
			segment_remove(s, 0);
	}
	return s->bytes < before;
}

/* ------------------------------------------------------------------ at the limit */

static uint64_t bytes_of(const struct segment *seg, uint32_t classes)
{
	uint64_t n = 0;

	for (int class = 0; class < MSG_CLASSES; class ++)
		if (classes & 1u << class)
			n += seg->tally.bytes[class];
	return n;
}

/* False: it can not be known now. */
static bool count_within_budget(struct spool *s, struct segment *seg)
{
	if (seg->counted)
		return true;
	if (s->thin_budget <= 0)
		return false;
	s->thin_budget -= (int64_t)seg->bytes;
	if (segment_count(s, seg) == 0)
		return true;
	seg->damaged = true;
	return false;
}

/* Thins the oldest segment that has enough of the first class there is. False: none. */
static bool thin_one(struct spool *s)
{
	uint32_t classes = 0;

	for (uint32_t step = 0; step < s->n_drop_steps; step++) {
		classes |= s->drop_steps[step];
		for (size_t i = 0; i < s->n_segs; i++) {
			struct segment *seg = &s->segs[i];

			if (seg == segment_current(s) || s->thin_budget <= 0)
				break;
			if (seg->damaged || !count_within_budget(s, seg) || seg->damaged ||
			    bytes_of(seg, classes) < MAX(1, seg->bytes / WORTH_PART))
				continue;
			s->thin_budget -= (int64_t)seg->bytes;
			if (segment_thin(s, i, classes, SPOOL_LOST_LIMIT) == 0)
				return true;
			seg->damaged = true; /* it goes as a whole, when its time has come */
		}
	}
	return false;
}

/* The oldest segment that has events, but not the current one; n_segs: none. */
static size_t oldest(struct spool *s)
{
	size_t i = 0;

	while (i < s->n_segs && segment_is_hole(&s->segs[i]))
		i++;
	return i < s->n_segs && &s->segs[i] == segment_current(s) ? s->n_segs : i;
}

static bool drop_oldest(struct spool *s)
{
	size_t i = oldest(s);
	uint64_t n, had;

	if (i == s->n_segs)
		return false;
	if (segment_thin(s, i, SPOOL_ALL_CLASSES, SPOOL_LOST_LIMIT) == 0)
		return true;
	/* Not even room for a hole: all that is known is how many they were. */
	had = MAX(acknowledged_seq(s), s->segs[i].first_seq - 1);
	n = segment_end(s, i) > had ? segment_end(s, i) - had : 0;
	s->stats.dropped += n;
	s->stats.dropped_unknown += n;
	s->stats.dropped_segments++;
	segment_remove(s, i);
	return true;
}

void make_room(struct spool *s, uint64_t n)
{
	if (s->bytes + n <= s->max_bytes)
		return;
	remove_acknowledged(s);
	while (s->bytes + n > s->max_bytes)
		if (!thin_one(s) && !drop_oldest(s))
			return;
}

/* ------------------------------------------------------------------ by age */

void give_up_old(struct spool *s, uint64_t real_us)
{
	struct segment *seg;
	uint64_t limit_us;

	if (!s->max_age_us || real_us < s->max_age_us)
		return;
	limit_us = real_us - s->max_age_us;
	for (size_t i; (i = oldest(s)) < s->n_segs;) {
		seg = &s->segs[i];
		if (!count_within_budget(s, seg))
			return;
		if (segment_is_hole(seg))
			continue;
		if (!seg->tally.newest_us || seg->tally.newest_us >= limit_us)
			return;
		if (segment_thin(s, i, SPOOL_ALL_CLASSES, SPOOL_LOST_AGE) < 0)
			return;
	}
	/* Of the one that is written, in time: it goes when its newest event is too old. */
	seg = segment_current(s);
	if (seg && seg->tally.oldest_us &&
	    seg->tally.oldest_us < real_us - s->max_age_us / AGE_PARTS)
		(void)append_empty(s, &s->state, true);
}

/* ------------------------------------------------------------------ for the books */

static int on_hole(void *arg, const struct spool_found *f)
{
	if (f->what == SPOOL_FOUND_HOLE)
		spool_tally_holes(arg, &f->walk->hole);
	return 0;
}

/* The holes of a segment from seq on, as far as the budget lasts to find them. */
static void holes_from(struct spool *s, struct segment *seg, uint64_t seq, int64_t *budget,
		       struct spool_tally *ret)
{
	_cleanup_close_ int fd = -1;
	char name[SPOOL_NAME_SIZE];
	struct spool_scan scan;

	if (!seg->counted) {
		if (*budget <= 0)
			return;
		*budget -= (int64_t)seg->bytes;
	}
	if (segment_count(s, seg) < 0 || spool_tally_lost(&seg->tally) == 0)
		return;
	if (seg->first_seq >= seq) {
		spool_tally_merge(ret, &seg->tally);
		return;
	}
	spool_segment_name(seg->first_seq, name);
	fd = spool_open_regular(s->dir_fd, name);
	if (fd >= 0)
		(void)spool_scan(fd, &s->key, seq, false, on_hole, ret, &scan);
}

void spool_get_ahead(struct spool *s, uint64_t cursor_seq, struct spool_ahead *ret)
{
	uint64_t removed = MIN(s->state.removed_seq, s->state.last_seq);
	struct spool_tally all = {}, above = {};
	int64_t budget = LOOK_BYTES;

	*ret = (struct spool_ahead){};
	if (cursor_seq >= s->state.last_seq)
		return;
	for (size_t i = 0; i < s->n_segs; i++) {
		struct segment *seg = &s->segs[i];
		struct spool_tally holes = {};

		if (segment_end(s, i) <= cursor_seq)
			continue;
		holes_from(s, seg, cursor_seq + 1, &budget, &holes);
		spool_tally_merge(&all, &holes);
		/* Of what is below that, all is gone, also what has left no hole. */
		if (seg->first_seq > removed)
			spool_tally_merge(&above, &holes);
	}
	memcpy(ret->lost, all.lost, sizeof(ret->lost));
	ret->dropped = spool_tally_lost(&above) + (removed > cursor_seq ? removed - cursor_seq : 0);
	ret->dropped = MIN(ret->dropped, s->state.last_seq - cursor_seq);
	ret->waiting = s->state.last_seq - cursor_seq - ret->dropped;
}
