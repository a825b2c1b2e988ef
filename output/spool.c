/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool's writer: what spool.h promises, and batches into segments. Its
 * other files are named in spool_private.h; the reading side is spool_reader.c.
 *
 * What the readers' folder says is written by an unprivileged process: it
 * decides how long segments live, and nothing else here depends on it.
 */
#define _GNU_SOURCE
#include "output/spool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "output/spool_private.h"
#include "user/util/clock.h"

#define MIN_BYTES	(1u << 20) /* two batches that each have two messages of the greatest size */
#define SEGMENT_DEFAULT (16u << 20)
#define SEGMENT_MIN	4096u
#define SEGMENTS	16384	    /* about as many files as max_bytes may be spread over */
#define ROTATE_BYTES	(1u << 20)  /* an acknowledged segment of this size is given up */
#define THIN_BYTES	(64u << 20) /* are read to thin segments, between two ticks */
#define DIR_CHECK_MS	1000

/* ------------------------------------------------------------------ appending */

/*
 * Writes one batch: its body, which has SPOOL_ROOM bytes before it, behind the header.
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
	r = segment_check(s);
	if (r < 0)
		return r;
	seg = segment_current(s);
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
		seg = segment_current(s); /* make_room() moved the table */
		r = spool_pwrite(seg->fd, p, n, seg->bytes);
		if (r < 0) {
			if (ftruncate(seg->fd, (off_t)seg->bytes) < 0)
				segment_retire(s, seg);
			return r;
		}
		segment_resize(s, seg, seg->bytes + n);
		seg->unsynced = true;
	}
	if (n_records)
		spool_tally_merge(&segment_last(s)->tally, &s->batch_tally);
	generation = s->state.generation;
	removed_seq = s->state.removed_seq;
	s->state = *next;
	s->state.generation = generation;
	s->state.removed_seq = removed_seq;
	s->state.last_seq = b.first_seq + n_records - 1;
	state_write(s);
	return 0;
}

int append_empty(struct spool *s, const struct spool_state *next, bool new_segment)
{
	uint8_t room[SPOOL_ROOM];

	return append(s, room + SPOOL_ROOM, 0, 0, next, new_segment);
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
	s->max_age_us = opts->max_age_ms * 1000;
	memcpy(s->drop_steps, opts->drop_steps, sizeof(s->drop_steps));
	s->n_drop_steps = MIN(opts->n_drop_steps, MSG_CLASSES);
	s->thin_budget = THIN_BYTES;
	s->body_max = MIN(SPOOL_BODY_MAX, s->max_bytes / 2 - SPOOL_ROOM);
	s->sync = opts->sync;
	s->boot_id = opts->boot_id;
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
	s->batch = malloc(SPOOL_ROOM + s->body_max);
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
		dir_end(s);
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

uint64_t spool_epoch(const struct spool *s)
{
	return spool_epochs_find(&s->epochs, s->key.id, SPOOL_SEQ_MAX);
}

bool spool_was_torn(const struct spool *s)
{
	return s->was_torn;
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
	spool_record_encode(s->batch + SPOOL_ROOM + s->body_len, (size_t)size, &s->key,
			    spool_next_seq(s), m);
	spool_tally_add(&s->batch_tally, m, (size_t)size);
	s->body_len += (size_t)size;
	s->n_records++;
	return 0;
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
	r = append(s, s->batch + SPOOL_ROOM, s->body_len, s->n_records, next, false);
	if ((r == -ENOSPC || r == -EDQUOT) && give_back(s))
		r = append(s, s->batch + SPOOL_ROOM, s->body_len, s->n_records, next, false);
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
	spool_abandon(s);
	if (s->sync == SPOOL_SYNC_BATCH) {
		segments_sync(s);
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
	s->batch_tally = (struct spool_tally){};
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
		segments_sync(s);
	}
	s->thin_budget = THIN_BYTES;
	remove_acknowledged(s);
	give_up_old(s, clock_real_us());
	/* All of it was delivered: a small new segment replaces it, and it need not reach a disk.
	 */
	seg = segment_current(s);
	if (seg && seg->bytes >= MIN(ROTATE_BYTES, s->segment_bytes / 2) &&
	    seg->first_seq <= s->state.last_seq && acknowledged_seq(s) >= s->state.last_seq &&
	    append_empty(s, &s->state, true) == 0)
		remove_acknowledged(s);
}

void spool_get_stats(const struct spool *s, struct spool_stats *ret)
{
	*ret = s->stats;
	ret->last_seq = s->state.last_seq;
	ret->first_seq = s->state.last_seq + 1;
	for (size_t i = s->n_segs; i-- > 0;)
		if (!segment_is_hole(&s->segs[i]) ||
		    &s->segs[i] == segment_current((struct spool *)s))
			ret->first_seq = s->segs[i].first_seq;
	ret->removed_seq = s->state.removed_seq;
	ret->bytes = s->bytes;
	ret->segments = (uint32_t)s->n_segs;
}
