/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many lines each unit may have: a bucket for each name, which holds `limit`
 * and is filled again in interval_ns. What is too much is counted, and told by
 * whoever asks for reports. Pure: the time is the line's own, so the same lines
 * have the same fate after a crash.
 *
 * The table has a ceiling: above it the name that was silent for longest is
 * forgotten, and what it had too much is told of all such together.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "user/util/buf.h"
#include "user/util/cleanup.h"
#include "user/util/slice.h"

#define RATE_LIMIT_UNITS    1024
#define RATE_LIMIT_NAME_MAX 96 /* a longer one is told by its start */

struct rate_limit;

struct rate_limit_report {
	struct slice name; /* empty: of names that were forgotten */
	uint64_t lines;	   /* suppressed */
	uint64_t first_ns, last_ns;
};

/* False: not now. It is told again. */
typedef bool (*rate_limit_fn)(void *arg, const struct rate_limit_report *report);

/* limit and interval_ns are at least 1; the caller owns *ret. max_units 0: RATE_LIMIT_UNITS. */
int rate_limit_new(uint64_t limit, uint64_t interval_ns, uint32_t max_units,
		   struct rate_limit **ret);
void rate_limit_free(struct rate_limit *r);
DEFINE_CLEANUP(struct rate_limit *, rate_limit_free);

/* A line of name at this time: may it pass? */
bool rate_limit_take(struct rate_limit *r, struct slice name, uint64_t now_ns);

/* Is there something to report, for the first time interval_ns after it began? Cheap. */
bool rate_limit_is_due(const struct rate_limit *r, uint64_t now_ns);

/* Tells what is due; all: whatever there is. False when fn did not take one. */
bool rate_limit_report(struct rate_limit *r, uint64_t now_ns, bool all, rate_limit_fn fn,
		       void *arg);

/* Grows with each line that is suppressed or reported: save when it moved. */
uint64_t rate_limit_changes(const struct rate_limit *r);

/*
 * What was suppressed and not reported, as bytes. Those within their limit are
 * left out: they begin anew with a full bucket. Save appends: -ENOBUFS or -ENOMEM.
 * Restore: -EBADMSG for bytes that are not ours, and then nothing is known.
 */
int rate_limit_save(const struct rate_limit *r, struct buf *ret);
int rate_limit_restore(struct rate_limit *r, struct slice bytes);
