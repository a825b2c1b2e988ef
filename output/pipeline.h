/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One output of the shipper: spool reader -> transport -> settled -> cursor.
 * Window, retry, counters and what people are told about it. It never holds
 * more than the window's bookkeeping: what is not settled is read again from
 * the spool. Whoever owns the process and its end is shipper.c.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "output/output.h"
#include "output/spool.h"
#include "user/util/cleanup.h"
#include "user/util/loop.h"

struct pipeline;

struct pipeline_opts {
	struct loop *loop;
	const struct config *config;
	const struct output_ops *ops;
	struct tls_client *tls;
	struct spool_reader *reader; /* taken on success: pipeline_free() frees it */
	uint64_t seed;		     /* for the jitter of the pauses */
};

/*
 * Borrows everything else for its life. Connects at the loop's next turn.
 * The caller owns *ret. 0 or -ENOMEM.
 */
int pipeline_new(const struct pipeline_opts *opts, struct pipeline **ret);

/* Closes without a goodbye; the cursor is as far as the peer is known to be. */
void pipeline_free(struct pipeline *p);
DEFINE_CLEANUP(struct pipeline *, pipeline_free);

/*
 * Does what can be done now, up to a budget. Call it before the loop sleeps.
 * True: there is more to do at once, so don't sleep.
 */
bool pipeline_turn(struct pipeline *p);

/* The spool may have grown. */
void pipeline_wake(struct pipeline *p);

/*
 * Sends what is in the spool at this moment, then says goodbye. A connection
 * that can not be made again ends it early; deadline_ms (monotonic) ends it in
 * any case. With drain false nothing more is sent, only the goodbye.
 */
void pipeline_stop(struct pipeline *p, uint64_t deadline_ms, bool drain);

/* It has stopped: nothing will happen any more. */
bool pipeline_is_done(const struct pipeline *p);

/* Events in the spool that are not settled. */
uint64_t pipeline_waiting(const struct pipeline *p);
