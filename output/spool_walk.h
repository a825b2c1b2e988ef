/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking through a segment's bytes, record by record, over all damage. As pure
 * as spool_format.h, whose pieces it puts together: it sees a window of the
 * file, and whoever calls moves that along.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "output/spool_format.h"

/*
 * Goes through the bytes behind a segment's header, record by record, in a
 * window that the caller moves. What is damaged is stepped over: in a batch
 * whose header is good, up to the next good record; where a batch header should
 * be and is none, record by record up to the next good header.
 */
struct spool_walk {
	struct spool_key key;
	uint64_t want; /* the next seq to deliver; smaller ones are passed over */
	enum { SPOOL_AT_BATCH, SPOOL_IN_BATCH, SPOOL_IN_JUNK, SPOOL_IN_OPEN_JUNK } where;
	bool confirmed;		  /* damage that is seen now was there in another read, too */
	uint64_t left;		  /* bytes of this batch or junk */
	uint64_t end_seq;	  /* the records here are below it */
	uint64_t batches;	  /* good headers seen */
	uint64_t damaged;	  /* records and headers stepped over */
	struct spool_batch batch; /* the newest good and complete one */
	struct spool_hole hole;	  /* with SPOOL_GONE */
};

enum spool_step {
	SPOOL_MORE,    /* the window is too small; with final: nothing is left */
	SPOOL_SKIPPED, /* *ret_used bytes held no record that was wanted */
	SPOOL_RECORD,  /* *ret is a record; its slices point into the window */
	SPOOL_GONE,    /* walk.hole has events that were given up, from want on */
	SPOOL_AGAIN,   /* damage: read this batch anew, set confirmed, come back */
};

void spool_walk_init(struct spool_walk *w, const struct spool_key *key, uint64_t want);

/* Forgets where in a segment it is, and keeps want. */
void spool_walk_restart(struct spool_walk *w);

/*
 * One step from p, where n bytes are. final: these are all that there will ever
 * be. want grows by more than the one record when records before it are lost.
 * Makes progress whenever n >= SPOOL_BATCH_MAX.
 */
enum spool_step spool_walk_step(struct spool_walk *w, const uint8_t *p, size_t n, bool final,
				size_t *ret_used, struct msg *ret);
