/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A spool as people look at it: read only, without a lock, beside a running
 * daemon or in a copy of the directory. Goes through all of it once and tells
 * what is there, what was given up, and what is damaged.
 */
#pragma once

#include "output/spool.h"

struct spool_item {
	enum {
		SPOOL_ITEM_EVENT,   /* msg */
		SPOOL_ITEM_DROPPED, /* first to last: by a limit; lost says what they were */
		SPOOL_ITEM_DAMAGE,  /* at offset: what */
		SPOOL_ITEM_MISSING, /* first to last: damaged, or their file is gone */
		SPOOL_ITEM_TORN	    /* bytes at offset: a batch that was never complete */
	} kind;
	const char *file;
	uint64_t offset;
	const struct msg *msg;
	uint64_t first, last;
	uint64_t lost[SPOOL_LOSSES][MSG_CLASSES];
	const char *what;
	uint64_t bytes;
};

struct spool_file {
	char name[24];
	uint64_t first_seq, last_seq; /* last: first - 1 when it has none */
	uint64_t bytes;
	uint64_t events, of_class[MSG_CLASSES], dropped;
	uint64_t oldest_us, newest_us; /* of its events; 0: none */
	uint64_t damaged;	       /* places */
};

struct spool_view {
	uint64_t id, last_seq, removed_seq; /* as the identity says */
	uint64_t bytes, events, of_class[MSG_CLASSES], dropped;
	uint64_t files, damaged, missing, torn_bytes;
};

struct spool_viewer {
	int (*on_item)(void *arg, const struct spool_item *item); /* not 0: end here */
	int (*on_file)(void *arg, const struct spool_file *file); /* behind its items */
	void *arg;
};

/*
 * Calls the viewer's functions (each may be NULL) in the order of the events. 0,
 * what one of them returned, -ENOENT (no such directory), -EBADMSG (no spool),
 * or -errno. Files that are delivered and removed meanwhile are passed over.
 */
int spool_view(const char *dir, const struct spool_viewer *viewer, struct spool_view *ret);

/* Each cursor, by name: fn with NULL for one that can not be read. 0 or -errno. */
int spool_view_cursors(const char *dir,
		       void (*fn)(void *arg, const char *name, const struct spool_cursor *c),
		       void *arg);

/*
 * What is appended from now on, as it comes: of a spool that a collector writes. Nobody waits
 * for such a reader: what was delivered or dropped, and removed, before it
 * looked is gone for it, and told as that.
 */
struct spool_follow;

/* The caller owns *ret. -ENOENT, -EBADMSG, -errno, as of spool_view(). */
int spool_follow_new(const char *dir, struct spool_follow **ret);
void spool_follow_free(struct spool_follow *f);
DEFINE_CLEANUP(struct spool_follow *, spool_follow_free);

/*
 * Calls the viewer's on_item with events, and with SPOOL_ITEM_DROPPED or SPOOL_ITEM_MISSING
 * for numbers that are not to be had any more, up to the present end. 0, what on_item
 * returned, -ESTALE (the directory is gone, or holds another spool), or -errno.
 */
int spool_follow_read(struct spool_follow *f, const struct spool_viewer *viewer);

/* Does a collector hold this spool's lock? -errno: it is not to be known. */
int spool_has_writer(const char *dir);
