/* SPDX-License-Identifier: Apache-2.0 */
/* Walking through a segment's bytes; see spool_walk.h. */
#define _GNU_SOURCE
#include "output/spool_walk.h"

#include <endian.h>
#include <string.h>

#define MIN(a, b) ((a) < (b) ? (a) : (b))

void spool_walk_init(struct spool_walk *w, const struct spool_key *key, uint64_t want)
{
	*w = (struct spool_walk){ .key = *key, .want = want };
}

void spool_walk_restart(struct spool_walk *w)
{
	w->where = SPOOL_AT_BATCH;
	w->left = 0;
	w->confirmed = false;
}

/* Where, from p + 1 on, the next good batch header is; n when there is none. */
static size_t find_batch(const struct spool_walk *w, const uint8_t *p, size_t n,
			 struct spool_batch *ret)
{
	const uint8_t *at = p + 1, *end = p + n;
	const uint32_t magic = htole32(SPOOL_BATCH_MAGIC);

	while (at < end && (at = memmem(at, (size_t)(end - at), &magic, 4))) {
		if (spool_batch_decode(at, (size_t)(end - at), &w->key, ret) > 0)
			return (size_t)(at - p);
		at++;
	}
	return n;
}

/* Where, from p + 1 on, the next good record is, or one that n bytes are too few to judge. */
static size_t find_record(const struct spool_walk *w, const uint8_t *p, size_t n)
{
	const uint8_t *at = p + 1, *end = p + n;
	const uint32_t magic = htole32(w->key.magic);
	struct msg m;

	while (at < end && (at = memmem(at, (size_t)(end - at), &magic, 4))) {
		if (spool_record_decode(at, (size_t)(end - at), &w->key, &m) >= 0)
			return (size_t)(at - p);
		at++;
	}
	return n;
}

static enum spool_step skip(struct spool_walk *w, size_t n, size_t *ret_used)
{
	*ret_used = n;
	w->left -= MIN(w->left, n);
	return SPOOL_SKIPPED;
}

/* A good record or hole, behind which the caller goes on. */
static enum spool_step give(struct spool_walk *w, const struct msg *m)
{
	if (m->class == SPOOL_HOLE) {
		if (spool_hole_decode(m, &w->hole) < 0 || w->hole.last < w->want)
			return SPOOL_SKIPPED;
		spool_hole_cut(&w->hole, w->want);
		w->want = w->hole.last + 1;
		return SPOOL_GONE;
	}
	if (m->seq < w->want)
		return SPOOL_SKIPPED;
	w->want = m->seq + 1;
	return SPOOL_RECORD;
}

static enum spool_step step_batch(struct spool_walk *w, const uint8_t *p, size_t n, bool final,
				  size_t *ret_used)
{
	struct spool_batch b;
	ssize_t header;
	size_t at;

	if (n == 0)
		return SPOOL_MORE;
	header = spool_batch_decode(p, n, &w->key, &b);
	if (header > 0 && n >= (size_t)header + b.body_len) {
		w->batches++;
		w->batch = b;
		if (w->want < b.first_seq)
			w->want = b.first_seq;
		w->end_seq = b.first_seq + b.n_records;
		if (w->want >= w->end_seq) {
			*ret_used = (size_t)header + b.body_len;
			return SPOOL_SKIPPED;
		}
		w->where = SPOOL_IN_BATCH;
		w->left = b.body_len;
		*ret_used = (size_t)header;
		return SPOOL_SKIPPED;
	}
	if (header >= 0 && !final)
		return SPOOL_MORE;
	if (!w->confirmed)
		return SPOOL_AGAIN;
	/*
	 * Not a batch. Its records are good only if it is known to be complete:
	 * when something was written behind it, or when so many bytes are here
	 * that no single batch could have them all.
	 */
	at = find_batch(w, p, n, &b);
	if (at == n && !final && n < SPOOL_BATCH_MAX)
		return SPOOL_MORE;
	w->damaged++;
	w->where = SPOOL_IN_JUNK;
	w->left = at;
	w->end_seq = at < n ? b.first_seq : UINT64_MAX;
	if (at == n && !final) {
		/* A header could begin in the last bytes, so they are looked at again. */
		w->where = SPOOL_IN_OPEN_JUNK;
		w->left = n - SPOOL_BATCH_HEADER;
	}
	return SPOOL_SKIPPED;
}

static enum spool_step step_junk(struct spool_walk *w, const uint8_t *p, size_t n, bool final,
				 size_t *ret_used, struct msg *ret)
{
	bool open = w->where == SPOOL_IN_OPEN_JUNK;
	size_t room = open ? n : (size_t)MIN(w->left, n);
	ssize_t size;

	if (w->left == 0 || (n == 0 && final)) {
		spool_walk_restart(w);
		return SPOOL_SKIPPED;
	}
	if (room == 0)
		return SPOOL_MORE;
	size = spool_record_decode(p, room, &w->key, ret);
	if (size == 0 && open) {
		/* It ends beyond the window, which can now move up to here. */
		spool_walk_restart(w);
		return SPOOL_SKIPPED;
	}
	if (size <= 0 || ret->seq >= w->end_seq)
		return skip(w, MIN(find_record(w, p, room), w->left), ret_used);
	skip(w, (size_t)size, ret_used);
	return give(w, ret);
}

enum spool_step spool_walk_step(struct spool_walk *w, const uint8_t *p, size_t n, bool final,
				size_t *ret_used, struct msg *ret)
{
	ssize_t size;

	*ret_used = 0;
	if (w->where == SPOOL_AT_BATCH)
		return step_batch(w, p, n, final, ret_used);
	if (w->where != SPOOL_IN_BATCH)
		return step_junk(w, p, n, final, ret_used, ret);

	if (w->left == 0) {
		/* What did not come is lost: the header says that it was here. */
		if (w->want < w->end_seq)
			w->want = w->end_seq;
		w->where = SPOOL_AT_BATCH;
		return SPOOL_SKIPPED;
	}
	if (n < w->left)
		return SPOOL_MORE; /* the caller moved the window back */
	size = spool_record_decode(p, w->left, &w->key, ret);
	if (size <= 0 || ret->seq < w->batch.first_seq || ret->seq >= w->end_seq) {
		if (!w->confirmed)
			return SPOOL_AGAIN;
		w->damaged++;
		return skip(w, find_record(w, p, w->left), ret_used);
	}
	*ret_used = (size_t)size;
	w->left -= (size_t)size;
	return give(w, ret);
}
