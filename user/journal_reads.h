/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host's own journald has read, as the tap saw it: the newest of it, and, while there
 * are gaps, each one for them. Other log daemons, containers' journalds and those of
 * namespaces write other files than the journal that is read for what is missing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "user/event.h"
#include "user/journal.h"
#include "user/journal_gaps.h"

#define JOURNAL_READERS_KNOWN 16

struct journal_reads {
	struct journal_gaps *gaps;    /* borrowed */
	char boot[JOURNAL_BOOT_SIZE]; /* this one */
	uint64_t last_ns;	      /* CLOCK_MONOTONIC of the newest; 0: none */
	bool idle;		      /* the ring was seen empty */
	/* Private. */
	uint64_t off_ns, off_before_ns; /* CLOCK_BOOTTIME - CLOCK_MONOTONIC, now and before */
	uint64_t looked_ns, changed_ns; /* CLOCK_BOOTTIME: up to changed_ns it was off_before_ns */
	bool has_pids;			/* journald has the same numbers for processes as the tap */
	struct {
		uint32_t tgid;
		bool ours;
	} known[JOURNAL_READERS_KNOWN];
	int next_known;
};

/* 0, or -errno when /proc does not say which boot this is. */
int journal_reads_init(struct journal_reads *r, struct journal_gaps *gaps);

/* The clocks drift apart when the host sleeps: call it every so often. */
void journal_reads_look(struct journal_reads *r);

/* A sample that was taken, or of which at least a line was: the rest of it is not lost. */
void journal_reads_note(struct journal_reads *r, const struct journal_sample *s);

/* A line that ended in it, so that journald made an entry of it. */
void journal_reads_note_line(struct journal_reads *r, const struct journal_sample *s,
			     const struct journal_line *line);

/* Is this a process that has the /run that we have, as this host's daemons do? */
bool journal_reads_has_our_run(uint32_t tgid);

/* CLOCK_MONOTONIC now. */
uint64_t journal_reads_now_ns(void);
