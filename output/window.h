/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the messages that were sent are settled. Peers settle in any order;
 * the cursor moves only over a prefix in which nothing is missing. Numbers
 * grow from one message to the next and may leave gaps. Pure; the memory is
 * taken once and never grows.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct window_entry;

struct window {
	struct window_entry *ring;
	uint32_t mask;
	uint32_t max_msgs;
	uint64_t max_bytes;
	/* Positions in the ring, counted since the start: head <= tail. */
	uint64_t head;	/* the oldest message that was not taken */
	uint64_t tail;	/* where the next one goes */
	uint64_t bytes; /* of the messages that are not settled */
	uint32_t unsettled;
};

/* max_msgs is at least 1. 0 or -ENOMEM; window_done() is safe after both. */
int window_init(struct window *w, uint32_t max_msgs, uint64_t max_bytes);
void window_done(struct window *w);

/* Forgets all messages: they will be sent again on another connection. */
void window_reset(struct window *w);

/*
 * May a message of this size be sent now? One that is larger than the whole
 * window may, when nothing else is unsettled.
 */
bool window_has_room(const struct window *w, size_t bytes);

/* A message goes out. -ENOBUFS: no room. -EINVAL: seq is not above the last one. */
int window_push(struct window *w, uint64_t seq, size_t bytes);

/* Takes the last message back, if it is seq and not settled: it did not go out. */
void window_unpush(struct window *w, uint64_t seq);

/*
 * The messages first to last, both included, are settled. What was not sent or
 * is settled already is left alone. Returns how many became settled by this.
 */
uint32_t window_settle(struct window *w, uint64_t first, uint64_t last, bool rejected);

/*
 * Takes away the settled messages at the front: true, *ret_seq is the last of
 * them and *ret_rejected how many of them were rejected. False: nothing is new.
 */
bool window_take(struct window *w, uint64_t *ret_seq, uint64_t *ret_rejected);

static inline bool window_is_empty(const struct window *w)
{
	return w->head == w->tail;
}
