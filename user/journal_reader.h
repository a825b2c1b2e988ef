/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's files, read by journalctl in a process beside the collector: it is started before
 * the collector gives up to start anything, has no privilege but to read, and ends when it is
 * done or when the collector is gone. libsystemd could read them, too, but not from a
 * static binary: it loads what it decompresses with at run time.
 *
 * It begins when it is told to. What comes through the socket is the export format
 * (user/journal_export.h) with notes: "SYNCED", until when all that journald had read is in its
 * files; "RUN" before each call of journalctl, with its number; in the end "END" with the status of
 * the last one that failed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define JOURNAL_READER_VERB "journal-reader"
#define JOURNAL_READER_RUNS 2

/* One call of journalctl. Any may be NULL, or 0. */
struct journal_reader_run {
	const char *cursor; /* from this entry on; it need not be one that exists */
	uint64_t since_us;  /* not older than this; instead of a cursor */
	const char *boot;   /* of this boot alone */
};

struct journal_reader {
	int fd; /* -1: there is none; to be read without waiting */
	pid_t pid;
};

/* Is there a journalctl? */
bool journal_reader_can(void);

/* -ENOENT: there is no journalctl. Done with journal_reader_done(). 0 or -errno. */
int journal_reader_start(const struct journal_reader_run *runs, int n, struct journal_reader *ret);

/* From now on. 0 or -errno: it is gone. */
int journal_reader_go(struct journal_reader *r);

/* Ends it, if it has not ended. */
void journal_reader_done(struct journal_reader *r);

/* The whole life of the process; fd is where it writes. Returns the exit code. */
int journal_reader_main(int fd, int argc, char **argv);
