/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a segment through; see spool_scan.h. */
#define _GNU_SOURCE
#include "output/spool_scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "output/spool_dir.h"
#include "user/util/cleanup.h"

#define WINDOW	  (SPOOL_BATCH_MAX + (256u << 10))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

struct window {
	int fd;
	uint8_t *buf;
	uint64_t off; /* of buf in the file */
	size_t pos, len;
	bool eof;
};

/* Moves the window on behind pos; a page that can not be read is damage. 0 or -errno. */
static int window_fill(struct window *w)
{
	ssize_t n;

	memmove(w->buf, w->buf + w->pos, w->len - w->pos);
	w->off += w->pos;
	w->len -= w->pos;
	w->pos = 0;
	do {
		n = spool_pread(w->fd, w->buf + w->len, WINDOW - w->len, w->off + w->len);
		if (n == -EIO)
			n = spool_pread_zeroes(w->fd, w->buf + w->len, WINDOW - w->len,
					       w->off + w->len);
		if (n < 0)
			return (int)n;
		w->len += (size_t)n;
	} while (n && w->len < WINDOW);
	w->eof = n == 0;
	return 0;
}

static int tell(spool_found_fn fn, void *arg, const struct spool_found *found, uint64_t batches,
		uint64_t damaged)
{
	struct spool_found other = *found;
	int r = 0;

	if (fn && found->walk->damaged > damaged) {
		other.what = SPOOL_FOUND_DAMAGE;
		r = fn(arg, &other);
	}
	if (fn && r == 0 && found->walk->batches > batches) {
		other.what = SPOOL_FOUND_BATCH;
		r = fn(arg, &other);
	}
	if (fn && r == 0 && found->msg)
		r = fn(arg, found);
	return r;
}

int spool_scan_from(int fd, const struct spool_key *key, uint64_t offset, uint64_t want,
		    bool is_last, spool_found_fn fn, void *arg, struct spool_scan *ret)
{
	_cleanup_free_ uint8_t *buf = malloc(WINDOW);
	struct window w = { .fd = fd, .buf = buf, .off = offset };
	bool final = !is_last, in_tail = false;
	struct spool_walk *walk = &ret->walk;
	struct spool_batch b;
	struct msg m;
	int r;

	*ret = (struct spool_scan){ .end = offset };
	spool_walk_init(walk, key, want);
	if (!buf)
		return -ENOMEM;
	for (;;) {
		struct spool_found found = { .offset = w.off + w.pos,
					     .bytes = buf + w.pos,
					     .in_batch = walk->where == SPOOL_IN_BATCH,
					     .walk = walk };
		uint64_t batches = walk->batches, damaged = walk->damaged;
		enum spool_step step;

		walk->confirmed = true;
		step = spool_walk_step(walk, buf + w.pos, w.len - w.pos, final && w.eof,
				       &found.size, &m);
		if (step == SPOOL_MORE && !w.eof) {
			r = window_fill(&w);
			if (r < 0)
				return r;
			continue;
		}
		if (step == SPOOL_MORE) {
			if (!in_tail) {
				ret->end = w.off + w.pos;
				ret->tail = w.len - w.pos;
				ret->torn = spool_batch_decode(buf + w.pos, w.len - w.pos, key,
							       &b) >= 0;
			}
			if (final || ret->tail == 0 || ret->torn)
				return 0;
			final = in_tail = true;
			continue;
		}
		ret->records += in_tail && step == SPOOL_RECORD;
		if (step == SPOOL_RECORD || step == SPOOL_GONE) {
			found.what = step == SPOOL_GONE ? SPOOL_FOUND_HOLE : SPOOL_FOUND_RECORD;
			found.msg = &m;
		}
		r = tell(fn, arg, &found, batches, damaged);
		if (r)
			return r;
		w.pos += found.size;
	}
}

int spool_scan(int fd, const struct spool_key *key, uint64_t want, bool is_last, spool_found_fn fn,
	       void *arg, struct spool_scan *ret)
{
	return spool_scan_from(fd, key, SPOOL_SEGMENT_HEADER, want, is_last, fn, arg, ret);
}

/* ------------------------------------------------------------------ tallies */

static void widen(struct spool_tally *t, uint64_t oldest_us, uint64_t newest_us)
{
	if (!t->oldest_us || (oldest_us && oldest_us < t->oldest_us))
		t->oldest_us = oldest_us;
	t->newest_us = MAX(t->newest_us, newest_us);
}

void spool_tally_add(struct spool_tally *t, const struct msg *m, size_t size)
{
	t->n[m->class]++;
	t->bytes[m->class] += size;
	widen(t, m->time_us, m->time_us);
}

void spool_tally_merge(struct spool_tally *t, const struct spool_tally *more)
{
	for (int class = 0; class < MSG_CLASSES; class ++) {
		t->n[class] += more->n[class];
		t->bytes[class] += more->bytes[class];
		for (int reason = 0; reason < SPOOL_LOSSES; reason++)
			t->lost[reason][class] += more->lost[reason][class];
	}
	widen(t, more->oldest_us, more->newest_us);
}

void spool_tally_holes(struct spool_tally *t, const struct spool_hole *hole)
{
	for (int reason = 0; reason < SPOOL_LOSSES; reason++)
		for (int class = 0; class < MSG_CLASSES; class ++)
			t->lost[reason][class] += hole->lost[reason][class];
}

uint64_t spool_tally_events(const struct spool_tally *t)
{
	uint64_t n = 0;

	for (int class = 0; class < MSG_CLASSES; class ++)
		n += t->n[class];
	return n;
}

uint64_t spool_tally_lost(const struct spool_tally *t)
{
	uint64_t n = 0;

	for (int reason = 0; reason < SPOOL_LOSSES; reason++)
		for (int class = 0; class < MSG_CLASSES; class ++)
			n += t->lost[reason][class];
	return n;
}
