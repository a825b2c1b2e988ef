/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The collector as a source of its own: loss events and heartbeats, through the
 * spool like any other event. Its position is the version of the ledger of
 * losses, which is saved beside each batch that changes it.
 */
#pragma once

#include "user/books.h"
#include "user/losses.h"
#include "user/source.h"

struct spool_position;

struct source_self_opts {
	struct kernel *kernel; /* may be NULL */
	const char *state_dir;
	uint64_t spool_id;
	uint64_t heartbeat_ms; /* 0: none */
	struct losses *losses; /* borrowed, restored here */
	struct books *books;   /* borrowed: where they are read to */
	/* What they are read from is the caller's, and known when there are sources. */
	void (*read_books)(void *arg, struct books *ret, enum books_extent extent);
	void *arg;
};

/* The caller owns *ret. resume as for other sources. 0 or -errno. */
int source_self_new(const struct source_self_opts *opts, const struct spool_position *resume,
		    uint64_t next_seq, struct source **ret);

/* Looks for losses; and for the time of the next heartbeat. Once a second. */
void source_self_look(struct source *s, struct sink *sink);
