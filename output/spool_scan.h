/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a segment's file through, from its first batch to its end, and tells
 * what lies where. The steps are spool_walk.h's; here are the descriptor and the
 * window. For whoever needs all of a segment: recovery, thinning, people.
 */
#pragma once

#include "output/spool_walk.h"

struct spool_found {
	enum {
		SPOOL_FOUND_BATCH, /* a good header; walk->batch has it */
		SPOOL_FOUND_RECORD,
		SPOOL_FOUND_HOLE,  /* walk->hole, from the wanted seq on */
		SPOOL_FOUND_DAMAGE /* in_batch: of a record, else of a header */
	} what;
	uint64_t offset; /* in the file */
	const uint8_t *bytes;
	size_t size; /* of a record or hole; of the damage, as far as it is known */
	const struct msg *msg;
	bool in_batch;
	const struct spool_walk *walk;
};

/* Not 0: the scan ends, and returns it. What is found lives until it returns. */
typedef int (*spool_found_fn)(void *arg, const struct spool_found *found);

struct spool_scan {
	struct spool_walk walk; /* want - 1 is the greatest number seen */
	uint64_t end;		/* where the good part ends */
	uint64_t tail;		/* bytes behind it */
	bool torn;		/* the tail is the beginning of a batch */
	uint64_t records;	/* good ones in the tail */
};

/*
 * Tells fn (NULL: nobody) of all from the number want on. In the last segment a
 * tail that is a torn batch is not looked into. 0, -ENOMEM, -errno of a read
 * that failed, or what fn returned.
 */
int spool_scan(int fd, const struct spool_key *key, uint64_t want, bool is_last, spool_found_fn fn,
	       void *arg, struct spool_scan *ret);

/* The same from a batch on: where an earlier scan of the last segment had come to its end. */
int spool_scan_from(int fd, const struct spool_key *key, uint64_t offset, uint64_t want,
		    bool is_last, spool_found_fn fn, void *arg, struct spool_scan *ret);

/* What a segment holds. */
struct spool_tally {
	uint64_t n[MSG_CLASSES], bytes[MSG_CLASSES];
	uint64_t lost[SPOOL_LOSSES][MSG_CLASSES]; /* its holes */
	uint64_t oldest_us, newest_us;		  /* of its events; 0: it has none */
};

void spool_tally_add(struct spool_tally *t, const struct msg *m, size_t size);
void spool_tally_merge(struct spool_tally *t, const struct spool_tally *more);
void spool_tally_holes(struct spool_tally *t, const struct spool_hole *hole);
/* All of its events, and all of its holes. */
uint64_t spool_tally_events(const struct spool_tally *t);
uint64_t spool_tally_lost(const struct spool_tally *t);
