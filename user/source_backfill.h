/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source of journal lines that nobody captured when they were logged: before the
 * collector was started, after it was stopped, while a ring was full and nobody read it. It reads
 * the journal's files (journal.backfill), and nothing at all where there are none.
 */
#pragma once

#include "user/journal_reads.h"
#include "user/source.h"

struct source_backfill_opts {
	const struct config *config;
	uint64_t next_seq; /* spool_next_seq() */
	bool is_new;	   /* the tap was attached by us, now: nothing was captured before */
	bool has_lost;	   /* it was there before, but its ring was full once */
};

/*
 * Call it when the tap is attached, and before the sandbox: it starts a process. The caller
 * owns *ret. 0 or -errno.
 */
int source_backfill_new(const struct source_backfill_opts *opts,
			const struct spool_position *resume, struct source **ret);

/* Where the tap's source notes what journald has read. It lives as long as the source. */
struct journal_reads *source_backfill_reads(struct source *s);
