/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When nobody captured what journald read, and whether an entry of its files is from then.
 * Pure; times are CLOCK_MONOTONIC's of the boot that is named, in nanoseconds.
 *
 * Why a time is enough: journald does one thing after the other. It wakes up, which is the time
 * that it gives to an entry; it reads one message, or once from a stream, which is when the tap
 * sees it; it writes what it read, all with that time; and only then it wakes up again. So
 * what it read at R belongs to the last time of its entries that is not behind R, and an
 * entry was captured if the tap saw a read between its time and the next one. Of the reads
 * that make no entry none is noted, as far as that can be told; for the rest the sender must be the
 * same.
 *
 * One read from a stream takes many writes, each of which is a sample of its own: a ring
 * that is nearly full has room for some of them. So of a stream each line is noted, and an
 * entry was captured if its line was.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "user/journal_export.h"
#include "user/util/buf.h"
#include "user/util/cleanup.h"

#define JOURNAL_GAPS_MAX   8
#define JOURNAL_READS_MAX  (1u << 19) /* of a gap: a ring of 128 MiB has no more samples */
#define JOURNAL_CURSOR_MAX 256
#define JOURNAL_READ_NS	   1000000000ull /* longer than one read takes, all its lines */

/* A datagram, or a line of a stream. */
struct journal_read {
	uint64_t ns;
	uint32_t pid; /* of the sender; 0: not known */
	uint32_t is_stream : 1;
	uint32_t is_used : 1; /* its entry was found */
	uint32_t line : 30;   /* of a stream: journal_line_sum(); 0: not known, any will do */
};
_Static_assert(sizeof(struct journal_read) == 16, "saved as it is");

/* What tells the lines of one read apart. */
uint32_t journal_line_sum(struct slice text);

struct journal_gap {
	char from_boot[JOURNAL_BOOT_SIZE]; /* empty: from_real_us is all that is known */
	char to_boot[JOURNAL_BOOT_SIZE];
	uint64_t from_ns;      /* the last read that the tap saw before it */
	uint64_t from_real_us; /* about the same */
	uint64_t
		to_ns; /* what journald woke up for behind this was captured; UINT64_MAX: not yet */
	char cursor[JOURNAL_CURSOR_MAX]; /* the entry that was taken last; empty: none */
	uint64_t told;			 /* so many lines were missing */
	uint64_t first_us, last_us;	 /* of them */
	bool closed;			 /* reads has the first one behind to_ns */
	bool reads_left_out; /* there was no room for all of them: what is theirs comes twice */
	struct journal_read *reads; /* in to_boot, in order: what the tap saw up to there */
	uint32_t n_reads, reads_cap;
};

struct journal_gaps {
	struct journal_gap list[JOURNAL_GAPS_MAX]; /* one behind the other */
	int n;
	uint64_t changes; /* of what journal_gaps_save() writes */
};

void journal_gaps_done(struct journal_gaps *g);

/* Behind the others; *gap has no reads. The first one is given up if there are too many: -ENOSPC.
 */
int journal_gaps_add(struct journal_gaps *g, const struct journal_gap *gap);
/* The first one is dealt with. */
void journal_gaps_drop(struct journal_gaps *g);

/* The tap saw a read of journald's in this boot: once for each line, if it is from a stream. */
void journal_gaps_note(struct journal_gaps *g, const char *boot, const struct journal_read *read);

enum journal_verdict {
	JOURNAL_CAPTURED,
	JOURNAL_MISSING,
	JOURNAL_BEHIND, /* the gap ends before it */
	JOURNAL_ASK,	/* it takes the time of the next entry to tell */
};

/*
 * Of an entry that journald wrote at this time (of->ns) of its boot, of whom, and which line of a
 * stream. next_ns is the next time that it wrote anything, or until when it is known to have
 * written nothing else; 0: not known. The line that is found is used up: an entry is asked about
 * once with a next_ns.
 */
enum journal_verdict journal_gap_judge(struct journal_gap *gap, const char *boot,
				       const struct journal_read *of, uint64_t next_ns);

/* Save appends: -ENOBUFS or -ENOMEM. Restore: -EBADMSG for bytes that are not ours, or -ENOMEM. */
int journal_gaps_save(const struct journal_gaps *g, struct buf *ret);
int journal_gaps_restore(struct journal_gaps *g, struct slice bytes);
