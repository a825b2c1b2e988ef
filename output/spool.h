/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wall between collector and shipper: a directory of segment files.
 * One process appends (struct spool), any number of others read, each with a
 * cursor of its own (struct spool_reader). Neither can corrupt the other.
 *
 *   DIR/spool                     identity: the spool's id, fixed at creation; last seq
 *   DIR/lock                      of the one writer
 *   DIR/0000000000000001.seg      segments, named by their first sequence (hex)
 *   DIR/cursors/NAME              one per output, written by its reader alone
 *   DIR/dead/NAME.jsonl           what an output's peer refused: dead_letter.h
 *
 * A batch enters with one write(2), is whole or is cut away by the recovery,
 * and carries the positions that its sources had reached behind it. So after a
 * crash each source resumes at the position that spool_position() gives, and
 * every event enters exactly once. Survives SIGKILL without fsync (the page
 * cache is the kernel's); a power failure costs what the sync policy allows.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "output/msg.h"
#include "user/util/cleanup.h"

enum spool_sync { SPOOL_SYNC_NONE, SPOOL_SYNC_INTERVAL, SPOOL_SYNC_BATCH };

/* Why the spool gives up events that not every output has. */
enum spool_loss {
	SPOOL_LOST_LIMIT, /* spool.max_bytes */
	SPOOL_LOST_AGE,	  /* spool.max_age */
	SPOOL_LOSSES
};

struct spool_opts {
	const char *dir;     /* created with its parents when it is missing */
	uint64_t max_bytes;  /* of all segments; 1 MiB at least */
	uint64_t max_age_ms; /* an older event is given up; 0: however old it is */
	/*
	 * What goes first when max_bytes are reached: a bit for each class (1 << MSG_FLOW)
	 * that the first step gives up, the second one, and so on. What no step names
	 * goes last, the oldest segment first. No step: the oldest segment at once.
	 */
	uint32_t drop_steps[MSG_CLASSES];
	uint32_t n_drop_steps;
	uint64_t segment_bytes; /* a new segment starts at this size; 0: a default */
	enum spool_sync sync;
	uint32_t sync_interval_ms;  /* for SPOOL_SYNC_INTERVAL */
	uint64_t boot_id;	    /* of the machine: clock_boot_id(); 0: not known */
	uid_t reader_uid;	    /* owns cursors/ and dead/ */
	gid_t reader_gid;	    /* may read the segments */
	const char *const *outputs; /* names of the cursors that keep segments alive */
	int n_outputs;
};

/* How far a source had been read when a batch was committed. */
struct spool_position {
	uint32_t source;     /* the caller's number for it; at most SPOOL_SOURCES differ */
	uint64_t generation; /* positions of another generation mean nothing */
	uint64_t position;
};
#define SPOOL_SOURCES 8

/* Events that were given up for one reason, of one class, since this process opened the spool. */
struct spool_drop {
	uint64_t events;
	uint64_t first_ms, last_ms;    /* when the first and the last were, since the epoch, UTC */
	uint64_t oldest_us, newest_us; /* the times of the events themselves; 0: not known */
};

/* What the writer did; all are totals of this spool, restored when it is opened. */
struct spool_stats {
	uint64_t last_seq;    /* = appended: the number of the newest committed event */
	uint64_t first_seq;   /* the oldest event still on disk; last_seq + 1 when none is */
	uint64_t removed_seq; /* events up to here are gone on purpose, delivered or not */
	uint64_t bytes;	      /* on disk now, all segments */
	uint32_t segments;
	/* Since this process opened it: */
	uint64_t batches, torn_bytes, damaged, dropped_segments, commit_errors;
	uint64_t dropped; /* events that went before all outputs had them: the sum of drops, */
	uint64_t dropped_unknown; /* and of these, whose class could not be told any more */
	struct spool_drop drops[SPOOL_LOSSES][MSG_CLASSES];
	uint64_t thinned; /* segments that were written again without a class */
	int last_error;	  /* -errno of the newest failed commit, 0 after a good one */
};

struct spool;

/*
 * Opens for appending: creates, or recovers (cuts a torn tail). The caller
 * owns *ret; it is untouched on failure. -EBUSY: another writer holds it.
 * -EBADMSG: DIR/spool is not one of ours. Else -errno of what failed.
 */
int spool_new(const struct spool_opts *opts, struct spool **ret);

/* Does not commit what was only added. NULL is fine. */
void spool_free(struct spool *s);
DEFINE_CLEANUP(struct spool *, spool_free);

/* Random, fixed at creation. */
uint64_t spool_id(const struct spool *s);

/*
 * (epoch, seq) names an event for ever. A machine that loses its power forgets numbers
 * that were given and sent, but not on the disk: they are given again, in another epoch.
 */
uint64_t spool_epoch(const struct spool *s);

/* The writer of another boot did not end in order: what it had not synced may be lost. */
bool spool_was_torn(const struct spool *s);

/* The seq that the next spool_add() gives: for records that carry their number. */
uint64_t spool_next_seq(const struct spool *s);

/*
 * Copies m into the batch being built; m->seq is ignored, the spool numbers.
 * -EMSGSIZE: above MSG_MAX_BYTES in all, or one of host, app, procid and route
 * above 65,535. -EINVAL: no such class. -ENOBUFS: the batch is full, commit first;
 * not while less than an eighth of max_bytes and less than 512 KiB are pending.
 */
int spool_add(struct spool *s, const struct msg *m);

/*
 * Writes the batch and the n positions behind it. Without events, writes only
 * if a position moved. On failure nothing has entered, the batch and its
 * numbers are kept, and the same call may be made again later: -ENOSPC, -EIO,
 * -EROFS, -ENOENT (the directory was removed; it is made again at the next call).
 * A sync that fails is no such failure: the batch is in, stats.last_error tells.
 */
int spool_commit(struct spool *s, const struct spool_position *positions, int n, uint64_t now_ms);

/*
 * Makes the directory again if it was removed, as spool_commit() does by itself:
 * for what else lives in it. 0, or -errno of what failed.
 */
int spool_restore(struct spool *s);

/* Forgets what was added since the last commit; its numbers are given again. */
void spool_abandon(struct spool *s);

/* How many events and bytes wait for spool_commit(). */
uint32_t spool_pending(const struct spool *s, size_t *ret_bytes);

/* The newest committed position of a source: 0, or -ENOENT when there is none. */
int spool_position(const struct spool *s, uint32_t source, struct spool_position *ret);

/*
 * Sync by policy, delete what all outputs have acknowledged, give up what is too
 * old. Call it once a second, or more often.
 */
void spool_tick(struct spool *s, uint64_t now_ms);

void spool_get_stats(const struct spool *s, struct spool_stats *ret);

/* What a reader whose cursor is at some seq still has before it. */
struct spool_ahead {
	uint64_t waiting;			  /* events to be read */
	uint64_t dropped;			  /* that it will find to be given up: */
	uint64_t lost[SPOOL_LOSSES][MSG_CLASSES]; /* these, as far as their class is known */
};

/*
 * For the books of an output, beside what its cursor says. It reads segments
 * through that are not known yet, those that another process wrote, but no more
 * of them at once than takes a moment: what was given up in the others counts
 * as waiting until a later call has come to them.
 */
void spool_get_ahead(struct spool *s, uint64_t cursor_seq, struct spool_ahead *ret);

/* ------------------------------------------------------------------ reading */

/*
 * The cursor's file is shared memory: the reader writes, anyone may look.
 * The identity that always holds:
 *     cursor_seq = start_seq + acked + rejected + filtered +
 *                  lost_limit + lost_age + lost_damage
 *     appended   = cursor_seq + waiting
 * lost[] says of which class lost_limit and lost_age were, as far as it is known.
 */
struct spool_cursor {
	uint64_t spool_id;
	uint64_t start_seq;   /* where it began; 0 unless the spool was in use before it */
	uint64_t cursor_seq;  /* everything up to here is settled */
	uint64_t acked;	      /* the peer has it */
	uint64_t rejected;    /* the peer refuses it for good */
	uint64_t lost_limit;  /* dropped by the spool's size limit before it was sent */
	uint64_t lost_age;    /* dropped by its limit of age */
	uint64_t lost_damage; /* did not survive on the disk */
	uint64_t lost[SPOOL_LOSSES][MSG_CLASSES];
	uint64_t filtered;    /* not for this output, and never sent */
	uint64_t sent;	      /* handed to the transport, repeats included */
	uint64_t sent_bytes;  /* framed, before TLS */
	uint64_t connects;    /* connections that reached the point of sending */
	uint64_t failures;    /* attempts and connections that ended with an error */
	char state[32];	      /* "connected", "connecting", "backing off", "stopped" */
	char last_error[192]; /* for people; empty when there was none */
	/*
	 * Of those rejected: in DIR/dead, or could not be written there; and
	 * how many of the former its ceiling has pushed out since.
	 * rejected = dead_lettered + dead_unwritten, but for what a crash interrupted.
	 */
	uint64_t dead_lettered, dead_unwritten, dead_dropped;
	uint64_t target_since_us; /* since the epoch: when the present target first worked; 0: not
				     yet */
	char target[112];	  /* "b.example:514 (2 of 3)"; empty for one that is local */
	char others[344];	  /* why the others are out: "a.example for 5 min: …; …" */
};

struct spool_reader;

/*
 * Opens the cursor NAME (made when missing, at the oldest event there is) and
 * locks it: -EBUSY while another process has it. The caller owns *ret.
 * -ENOENT: there is no such directory. -EBADMSG: dir is no spool. -EINVAL: the
 * name has a '/' or begins with a dot. A cursor of another spool id starts anew.
 */
int spool_reader_new(const char *dir, const char *name, struct spool_reader **ret);
void spool_reader_free(struct spool_reader *r);

/*
 * The books of the reader before, which may have died with the directory that its cursor
 * was in. Taken over when there was no cursor of this spool for r; call it
 * before r reads anything. True if it was.
 */
bool spool_reader_adopt(struct spool_reader *r, const struct spool_cursor *last);
DEFINE_CLEANUP(struct spool_reader *, spool_reader_free);

/*
 * The next event: 1 and *ret, whose slices live until the next call; 0 when
 * there is none yet; -errno when the disk fails (try again later). Damaged
 * records are stepped over; a gap in ret->seq is a loss that has been noted
 * and is settled together with the events around it.
 */
int spool_reader_next(struct spool_reader *r, struct msg *ret);

/* Read again from the first event that is not settled: after a lost connection. */
int spool_reader_rewind(struct spool_reader *r);

/*
 * Settles all events up to and including seq, of which rejected were refused;
 * moves the cursor. Losses that lie before seq are counted as what they are.
 */
void spool_reader_settle(struct spool_reader *r, uint64_t seq, uint64_t rejected);

/*
 * Of the events that the next spool_reader_settle() settles, n were not for this
 * output: they are filtered, not acked.
 */
void spool_reader_filter(struct spool_reader *r, uint64_t n);

/* The newest committed seq that this reader can see. */
uint64_t spool_reader_last_seq(struct spool_reader *r);

/*
 * Events that are not settled and not given up, as far as one can see now: what was
 * given up between others counts until it is read. Nothing waits: 0.
 */
uint64_t spool_reader_waiting(struct spool_reader *r);

/*
 * The cursor itself, for the counters and texts that the shipper keeps in it
 * (from sent on; what stands above is the reader's). Others see the books as
 * soon as they change; the rest with spool_reader_publish(), with each 64th
 * settle, and whenever spool_reader_next() has nothing.
 */
struct spool_cursor *spool_reader_cursor(struct spool_reader *r);
void spool_reader_publish(struct spool_reader *r);

/* Gives back the memory into which was read; the last message is not valid any more. */
void spool_reader_rest(struct spool_reader *r);

/*
 * Reads events by their numbers, without a cursor: for dead letters. Cheap as
 * long as numbers grow. Reads the spool that `of` reads, and borrows nothing of it.
 */
struct spool_lookup;
int spool_lookup_new(struct spool_reader *of, struct spool_lookup **ret);
void spool_lookup_free(struct spool_lookup *l);
DEFINE_CLEANUP(struct spool_lookup *, spool_lookup_free);
/* 1 and *ret, whose slices live until the next call; 0 when it is not there any more; -errno. */
int spool_lookup(struct spool_lookup *l, uint64_t seq, struct msg *ret);

/* Copies the cursor NAME of the spool in dir, without locking it. 0 or -errno. */
int spool_cursor_peek(const char *dir, const char *name, struct spool_cursor *ret);
