/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the writer's files share; nobody else includes it.
 *
 *   spool.c           spool.h's functions, the batch, appending it
 *   spool_open.c      the directory, the identity, recovery
 *   spool_segments.c  the table of segments, and each one's life
 *   spool_room.c      what is given up, and when
 *   spool_thin.c      writing segments again without what was given up
 */
#pragma once

#include "output/spool.h"
#include "output/spool_dir.h"
#include "output/spool_format.h"
#include "output/spool_scan.h"

#define SPOOL_ROOM (SPOOL_SEGMENT_HEADER + SPOOL_BATCH_HEADER) /* before a batch's body */

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

struct segment {
	uint64_t first_seq;
	uint64_t bytes;
	int fd; /* of the one being written, and of those that wait for a sync; or -1 */
	bool unsynced;
	bool counted; /* tally is known */
	bool damaged; /* found when it was counted: not to be thinned */
	struct spool_tally tally;
};

struct spool {
	/* options */
	char *dir;
	char **outputs;
	int n_outputs;
	uint64_t max_bytes, segment_bytes, max_age_us, sync_interval_ms;
	uint32_t drop_steps[MSG_CLASSES], n_drop_steps;
	enum spool_sync sync;
	uid_t reader_uid;
	gid_t reader_gid;

	/* the directory */
	int dir_fd, lock_fd, state_fd, cursors_fd;
	dev_t state_dev;
	ino_t state_ino;
	bool gone; /* the directory was removed or replaced: make it again */
	bool dir_unsynced;
	uint64_t checked_ms, synced_ms;

	/* what is in it */
	struct spool_key key;
	struct spool_state state; /* as of the newest commit */
	struct spool_epochs epochs;
	uint64_t boot_id;
	bool was_torn;	      /* by the end of another boot */
	struct segment *segs; /* ascending; the last may be being written (fd >= 0) */
	size_t n_segs, cap_segs;
	uint64_t bytes;	     /* of all of them */
	bool sealed;	     /* nothing more goes into the last one */
	int64_t thin_budget; /* bytes that may be read to thin segments until the next tick */

	/* the batch being built: SPOOL_ROOM, then the body */
	uint8_t *batch;
	size_t body_max, body_len;
	uint32_t n_records;
	struct spool_tally batch_tally;

	struct spool_stats stats;
};

/* ------------------------------------------------------------------ spool_segments.c */

struct segment *segment_last(struct spool *s);
/* The one that batches go to, or NULL. */
struct segment *segment_current(struct spool *s);
/* The last number that it may have. */
uint64_t segment_end(const struct spool *s, size_t i);
/* It was read through, or written here, and no event is left in it. */
bool segment_is_hole(const struct segment *seg);
void segment_resize(struct spool *s, struct segment *seg, uint64_t bytes);
void segment_forget(struct spool *s, size_t i);
void segments_forget(struct spool *s);
/* Makes room for one more in the table. */
int segments_reserve(struct spool *s);
/* Best effort: a stale slot delays readers by a batch and never misleads them. */
void state_write(struct spool *s);
void segments_sync(struct spool *s);
/* The segment that was written so far is complete. */
void segment_retire(struct spool *s, struct segment *seg);
/* A file that becomes one by rename: its descriptor, or -errno. */
int segment_temporary(struct spool *s, const char *name);
/* Makes one of the n bytes at p, header and first batch. */
int segment_create(struct spool *s, uint64_t first_seq, const uint8_t *p, size_t n);
/* The current segment must be as this process left it: 0 or -errno. */
int segment_check(struct spool *s);
/* Its tally, by reading it through when it is not known. 0 or -errno. */
int segment_count(struct spool *s, struct segment *seg);
/* A spool_found_fn whose arg is a struct segment: fills its tally. */
int segment_on_found(void *arg, const struct spool_found *f);

/* ------------------------------------------------------------------ spool_room.c */

/* Everything up to the answer has been acknowledged by all outputs. */
uint64_t acknowledged_seq(const struct spool *s);
void remove_acknowledged(struct spool *s);
/* On a full disk. True when there is room that was not there before. */
bool give_back(struct spool *s);
/* Before n more bytes are written. */
void make_room(struct spool *s, uint64_t n);
/* Once a tick: what is older than it may be. */
void give_up_old(struct spool *s, uint64_t real_us);

/* ------------------------------------------------------------------ spool_thin.c */

#define SPOOL_ALL_CLASSES ((1u << MSG_CLASSES) - 1)

/*
 * Gives up the events of these classes in segment i, for this reason: writes it
 * again without them. When no event is left, its neighbours that are holes, too,
 * become one with it. 0 or -errno, and then nothing has changed; -EBADMSG: it is
 * damaged, and can only go as a whole.
 */
int segment_thin(struct spool *s, size_t i, uint32_t classes, enum spool_loss reason);

/* ------------------------------------------------------------------ spool_open.c */

/* Opens the directory and all that is in it; made when missing. */
int dir_open(struct spool *s);
/* Writes to the disk what is not there yet, and that nothing is missing. */
void dir_end(struct spool *s);
void dir_close(struct spool *s);
/* After the directory went away: all that is known lives on in a new one. */
int dir_reopen(struct spool *s);
/* Is what we have open still what the path names? */
bool dir_is_gone(const struct spool *s);

/* ------------------------------------------------------------------ spool.c */

/* A batch without events, to keep positions and numbers where readers find them. */
int append_empty(struct spool *s, const struct spool_state *next, bool new_segment);
