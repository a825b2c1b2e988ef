/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the messages that were sent are settled. Peers settle in any order;
 * the cursor moves only over a prefix in which nothing is missing. Numbers
 * grow from one message to the next and may leave gaps. Pure; the memory is
 * taken once and never grows.
 *
 * It outlives a connection: what is settled behind a gap stays settled, so that
 * only what has no answer is sent again.
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
	uint64_t again; /* from here to tail: read again after a lost connection */
	uint64_t tail;	/* where the next one goes */
	uint64_t taken_seq;
	uint64_t bytes; /* of the messages that are not settled */
	uint32_t unsettled;
};

/* max_msgs is at least 1. 0 or -ENOMEM; window_done() is safe after both. */
int window_init(struct window *w, uint32_t max_msgs, uint64_t max_bytes);
void window_done(struct window *w);

/* Forgets all messages. */
void window_reset(struct window *w);

/* Gives back the memory that messages took which are no longer there. */
void window_rest(struct window *w);

/*
 * The connection is lost: what is not settled will be pushed again, in order, on
 * another one. The caller reads from the oldest that was not taken.
 */
void window_rewind(struct window *w);

/*
 * Was seq, read again, settled on an earlier connection? Then it is not sent,
 * and passed over. Ask for each message before window_push(), in order.
 */
bool window_pass(struct window *w, uint64_t seq);

/*
 * May a message of this size be sent now? One that is larger than the whole
 * window may, when nothing else is unsettled.
 */
bool window_has_room(const struct window *w, size_t bytes);

/*
 * A message goes out, for the first time or again. Those before it that were not
 * pushed again are gone: no cursor waits for them. -ENOBUFS: no room. -EINVAL: seq
 * is not above the last one.
 */
int window_push(struct window *w, uint64_t seq, size_t bytes);

/* Takes the last message back, if it is seq and not settled: it did not go out. */
void window_unpush(struct window *w, uint64_t seq);

/*
 * The messages first to last, both included, are settled. What was not sent or
 * is settled already is left alone. Returns how many became settled by this.
 */
enum window_fate {
	WINDOW_ACKED,
	WINDOW_REJECTED,
	WINDOW_FILTERED, /* it was not for this peer, and was not sent */
};
uint32_t window_settle(struct window *w, uint64_t first, uint64_t last, enum window_fate fate);

/*
 * Takes away the settled messages at the front: true, *ret_seq is the last of
 * them, *ret_rejected and *ret_filtered how many of them were. False: nothing is new.
 */
bool window_take(struct window *w, uint64_t *ret_seq, uint64_t *ret_rejected,
		 uint64_t *ret_filtered);

static inline bool window_is_empty(const struct window *w)
{
	return w->head == w->tail;
}
