/* SPDX-License-Identifier: Apache-2.0 */
#include "output/window.h"

#include <errno.h>
#include <stdlib.h>

#include "user/util/pages.h"

enum entry_state {
	ENTRY_SENT,
	ENTRY_ACKED,
	ENTRY_REJECTED,
	ENTRY_FILTERED,
	ENTRY_LOST, /* the connection was, and it had no answer */
	ENTRY_GONE, /* the spool does not have it any more */
};

struct window_entry {
	uint64_t seq;
	uint32_t bytes;
	uint32_t state; /* enum entry_state */
};

static struct window_entry *at(const struct window *w, uint64_t position)
{
	return &w->ring[position & w->mask];
}

int window_init(struct window *w, uint32_t max_msgs, uint64_t max_bytes)
{
	uint32_t slots = 1;

	*w = (struct window){ .max_msgs = max_msgs, .max_bytes = max_bytes };
	while (slots < max_msgs && slots < 1u << 31)
		slots *= 2;
	w->ring = calloc(slots, sizeof(*w->ring));
	if (!w->ring)
		return -ENOMEM;
	w->mask = slots - 1;
	return 0;
}

void window_done(struct window *w)
{
	free(w->ring);
	*w = (struct window){ 0 };
}

void window_reset(struct window *w)
{
	w->head = w->again = w->tail;
	w->taken_seq = 0;
	w->bytes = 0;
	w->unsettled = 0;
}

void window_rest(struct window *w)
{
	pages_forget_ring(w->ring, sizeof(*w->ring), w->mask, w->head, w->tail);
}

void window_rewind(struct window *w)
{
	for (uint64_t i = w->head; i < w->tail; i++)
		if (at(w, i)->state == ENTRY_SENT)
			at(w, i)->state = ENTRY_LOST;
	w->again = w->head;
	w->bytes = 0;
	w->unsettled = 0;
}

/* Those before seq were not read again: what becomes of them is the reader's matter. */
static void skip_gone(struct window *w, uint64_t seq)
{
	for (; w->again < w->tail && at(w, w->again)->seq < seq; w->again++)
		if (at(w, w->again)->state != ENTRY_ACKED)
			at(w, w->again)->state = ENTRY_GONE;
}

bool window_pass(struct window *w, uint64_t seq)
{
	struct window_entry *e;

	/* What was settled behind a gap may have been taken while it was read again. */
	if (seq <= w->taken_seq)
		return true;
	skip_gone(w, seq);
	if (w->again == w->tail || at(w, w->again)->seq != seq)
		return false;
	e = at(w, w->again);
	if (e->state != ENTRY_ACKED && e->state != ENTRY_REJECTED && e->state != ENTRY_FILTERED)
		return false;
	w->again++;
	return true;
}

bool window_has_room(const struct window *w, size_t bytes)
{
	/*
	 * A settled message behind an unsettled one still needs its place in the ring;
	 * one that is read again has it.
	 */
	if (w->again == w->tail && w->tail - w->head >= w->max_msgs)
		return false;
	return !w->unsettled || (w->bytes <= w->max_bytes && bytes <= w->max_bytes - w->bytes);
}

int window_push(struct window *w, uint64_t seq, size_t bytes)
{
	if (bytes > UINT32_MAX)
		return -ENOBUFS;
	skip_gone(w, seq);
	if (w->again == w->tail && w->head != w->tail && seq <= at(w, w->tail - 1)->seq)
		return -EINVAL;
	if (w->again < w->tail && at(w, w->again)->seq != seq)
		return -EINVAL;
	if (!window_has_room(w, bytes))
		return -ENOBUFS;
	*at(w, w->again++) = (struct window_entry){ .seq = seq, .bytes = (uint32_t)bytes };
	if (w->again > w->tail)
		w->tail = w->again;
	w->bytes += bytes;
	w->unsettled++;
	return 0;
}

void window_unpush(struct window *w, uint64_t seq)
{
	struct window_entry *e;

	if (w->head == w->again)
		return;
	e = at(w, w->again - 1);
	if (e->seq != seq || e->state != ENTRY_SENT)
		return;
	if (w->again == w->tail)
		w->tail--;
	else
		e->state = ENTRY_LOST;
	w->again--;
	w->bytes -= e->bytes;
	w->unsettled--;
}

/*
 * The position of the first message that is not below seq. Without gaps it is
 * where arithmetic says; a gap puts it before that, never behind.
 */
static uint64_t find(const struct window *w, uint64_t seq)
{
	uint64_t low = w->head, high = w->tail;
	uint64_t offset;

	if (low == high || seq <= at(w, low)->seq)
		return low;
	offset = seq - at(w, low)->seq;
	if (offset < high - low) {
		if (at(w, low + offset)->seq == seq)
			return low + offset;
		high = low + offset;
	}
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (at(w, middle)->seq < seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

uint32_t window_settle(struct window *w, uint64_t first, uint64_t last, enum window_fate fate)
{
	static const enum entry_state states[] = {
		[WINDOW_ACKED] = ENTRY_ACKED,
		[WINDOW_REJECTED] = ENTRY_REJECTED,
		[WINDOW_FILTERED] = ENTRY_FILTERED,
	};
	uint32_t n = 0;

	for (uint64_t i = find(w, first); i < w->tail && at(w, i)->seq <= last; i++) {
		struct window_entry *e = at(w, i);

		if (e->state != ENTRY_SENT)
			continue;
		e->state = states[fate];
		w->bytes -= e->bytes;
		w->unsettled--;
		n++;
	}
	return n;
}

bool window_take(struct window *w, uint64_t *ret_seq, uint64_t *ret_rejected,
		 uint64_t *ret_filtered)
{
	uint64_t start = w->head, rejected = 0, filtered = 0;

	while (w->head < w->tail && at(w, w->head)->state != ENTRY_SENT &&
	       at(w, w->head)->state != ENTRY_LOST) {
		rejected += at(w, w->head)->state == ENTRY_REJECTED;
		filtered += at(w, w->head)->state == ENTRY_FILTERED;
		w->head++;
	}
	if (w->head == start)
		return false;
	if (w->again < w->head)
		w->again = w->head;
	*ret_seq = w->taken_seq = at(w, w->head - 1)->seq;
	*ret_rejected = rejected;
	*ret_filtered = filtered;
	return true;
}
