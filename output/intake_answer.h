/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body with which the intake answers POST /array, read as a stream: it
 * has 39 bytes for each event sent, and none of them is kept. Pure.
 *
 * Documented is {"event_ids":["…", …]}, and that a batch in which only some
 * events are refused has "a status for each event in the body". Its shape is
 * not documented; our reading takes all of these for "event i was refused":
 *
 *   {"event_ids":["…", null, {"status":413}, {"error":413}, {"error":"text"}]}
 *   {"event_ids":["…", null], "errors":[{"index":1,"status":413}]}
 *
 * A status below 400, and a kind of value that is not listed, is no refusal.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "user/util/slice.h"

#define INTAKE_ANSWER_DEPTH 32

/* Event index (from 0) was refused; status is 0 when the intake did not say which. */
typedef void (*intake_refused_fn)(void *arg, uint64_t index, unsigned status);

/* Start from { .refused = …, .arg = … }. The rest is the scanner's own. */
struct intake_answer {
	intake_refused_fn refused;
	void *arg;
	uint64_t entries; /* of event_ids, so far */
	bool has_ids;	  /* there was an event_ids array */

	unsigned state;
	unsigned depth;
	uint32_t arrays; /* bit n: level n + 1 is an array */
	unsigned list;	 /* the array of the top level that we are in */
	char word[16];	 /* a key, number or literal; what is longer is none of ours */
	unsigned word_len;
	unsigned key;	 /* which of ours the last key was */
	unsigned escape; /* characters left of an escape in a string */
	uint64_t index;
	unsigned status;
	bool has_index, failed;
};

/* The next bytes of the body. 0, or -EBADMSG: this is no JSON object. */
int intake_answer_feed(struct intake_answer *a, struct slice in);

/* The body is over: 0 for one complete JSON object, else -EBADMSG. */
int intake_answer_end(const struct intake_answer *a);
