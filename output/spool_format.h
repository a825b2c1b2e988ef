/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool's bytes, and nothing but bytes: what lies in a segment, in the
 * identity file and in a cursor, to structs and back. Pure: no descriptor, no
 * clock, no allocation. Nothing here trusts what it reads.
 *
 *   segment = header (64 bytes), then batches
 *   batch   = header, positions of the sources, body: records and holes
 *   record  = header, host, app, procid, route, text, json
 *   hole    = header as of a record, then how many events of which class are not
 *             there any more, and why: they were given up, and are no damage
 *
 * All numbers are little-endian. Every piece carries a CRC-32C that starts from
 * a value derived from the spool's random id: bytes of another spool, or bytes
 * that somebody wrote into a log message, are never taken for ours.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "output/msg.h"
#include "output/spool.h"

#define SPOOL_VERSION	     1
#define SPOOL_PAGE	     4096 /* of the identity file and of a cursor */
#define SPOOL_SEGMENT_HEADER 64
#define SPOOL_BATCH_MAGIC    0x31424b53u /* "SKB1" */
#define SPOOL_POSITION_SIZE  20
#define SPOOL_BATCH_FIXED    40
#define SPOOL_BATCH_HEADER   (SPOOL_BATCH_FIXED + SPOOL_SOURCES * SPOOL_POSITION_SIZE) /* most */
#define SPOOL_RECORD_HEADER  44
#define SPOOL_RECORD_MAX     (SPOOL_RECORD_HEADER + MSG_MAX_BYTES)
#define SPOOL_BODY_MAX	     (1u << 20)
#define SPOOL_BATCH_MAX	     (SPOOL_BATCH_HEADER + SPOOL_BODY_MAX)
#define SPOOL_HOLE_MAX	     (SPOOL_RECORD_HEADER + SPOOL_LOSSES * MSG_CLASSES * 10)
#define SPOOL_SEQ_MAX	     (1ull << 62) /* a greater one is nonsense, whatever its CRC says */

/* What tells one spool's bytes from another's. */
struct spool_key {
	uint64_t id;
	uint32_t seed;	/* where each CRC starts */
	uint32_t magic; /* of a record; nobody who lacks the id can write it into a message */
};

void spool_key_init(struct spool_key *key, uint64_t id);

void spool_segment_encode(uint8_t p[static SPOOL_SEGMENT_HEADER], uint64_t id, uint64_t first_seq);
/* 0 or -EBADMSG. */
int spool_segment_decode(const uint8_t *p, size_t n, uint64_t *ret_id, uint64_t *ret_first_seq);

struct spool_batch {
	uint64_t first_seq; /* of its first record, or of the next batch when it has none */
	uint32_t n_records; /* numbers that belong to it, those of holes included */
	uint32_t body_len;
	uint32_t n_positions;
	bool thinned; /* written again without some of its records */
	struct spool_position positions[SPOOL_SOURCES];
};

static inline size_t spool_batch_header_size(uint32_t n_positions)
{
	return SPOOL_BATCH_FIXED + (size_t)n_positions * SPOOL_POSITION_SIZE;
}

/* Writes spool_batch_header_size() bytes. */
void spool_batch_encode(uint8_t *p, const struct spool_key *key, const struct spool_batch *b);
/* The header's size; 0 when n bytes are too few to tell; -EBADMSG. */
ssize_t spool_batch_decode(const uint8_t *p, size_t n, const struct spool_key *key,
			   struct spool_batch *ret);

/* The record's size in bytes; -EMSGSIZE, or -EINVAL for a class that is none. */
ssize_t spool_record_size(const struct msg *m);
/* Writes size bytes, as spool_record_size() gave it. */
void spool_record_encode(uint8_t *p, size_t size, const struct spool_key *key, uint64_t seq,
			 const struct msg *m);
/*
 * The record's size; 0 when n bytes are too few to tell; -EBADMSG. *ret points
 * into p. Of a hole, the class is SPOOL_HOLE and seq the first that is missing.
 */
ssize_t spool_record_decode(const uint8_t *p, size_t n, const struct spool_key *key,
			    struct msg *ret);

/* Neighbours that were given up. Of the order in which they were nothing is kept. */
struct spool_hole {
	uint64_t first, last;
	uint64_t lost[SPOOL_LOSSES][MSG_CLASSES]; /* in all: last - first + 1 */
};
#define SPOOL_HOLE ((enum msg_class)255)

/* Writes the hole; returns its size, SPOOL_HOLE_MAX at most. */
size_t spool_hole_encode(uint8_t p[static SPOOL_HOLE_MAX], const struct spool_key *key,
			 const struct spool_hole *hole);
/* Of a record whose class is SPOOL_HOLE. 0 or -EBADMSG. */
int spool_hole_decode(const struct msg *m, struct spool_hole *ret);
/* Takes the events before seq out of it, of the first classes that it has. */
void spool_hole_cut(struct spool_hole *hole, uint64_t seq);

/* ------------------------------------------------------------------ identity file */

/* Two slots, written in turn, so that one of them is always whole. */
struct spool_state {
	uint64_t id;
	uint64_t generation;  /* of the newest slot; 0 when there is none */
	uint64_t last_seq;    /* as of the newest commit; a crash can leave it one batch behind */
	uint64_t removed_seq; /* events up to here were removed on purpose */
	uint32_t n_positions;
	struct spool_position positions[SPOOL_SOURCES];
	uint64_t boot_id; /* of the machine when it was written; 0: not known */
	bool clean;	  /* all of it was on the disk when the writer ended */
};

#define SPOOL_STATE_SLOT 212

/*
 * A machine that loses its power forgets what was not on its disk yet, though it may
 * have been sent. The same numbers are given again, and so the ids of events
 * change with them: from first_seq on, an id begins with this one.
 */
struct spool_epoch {
	uint64_t first_seq, id;
};

#define SPOOL_EPOCHS 16
struct spool_epochs {
	uint32_t n;
	struct spool_epoch epoch[SPOOL_EPOCHS]; /* ascending; before the first, the spool's id */
};

/* Another one from seq on. The oldest is forgotten when there is no room. */
void spool_epochs_add(struct spool_epochs *e, uint64_t first_seq, uint64_t id);
/* What the id of event seq begins with. */
uint64_t spool_epochs_find(const struct spool_epochs *e, uint64_t spool_id, uint64_t seq);

void spool_identity_encode(uint8_t page[static SPOOL_PAGE], uint64_t id,
			   const struct spool_epochs *epochs);
/* Writes the slot that st->generation belongs to; returns its place in the page. */
size_t spool_state_encode(uint8_t p[static SPOOL_STATE_SLOT], const struct spool_state *st);
/*
 * 0; -EBADMSG when this is not ours, or of a later version; -ENODATA when it
 * was ours, or never written, and the id cannot be read from it.
 */
int spool_identity_decode(const uint8_t *page, size_t n, struct spool_state *ret,
			  struct spool_epochs *ret_epochs);

/* ------------------------------------------------------------------ cursor file */

/* Two slots for the books, two for the rest, two for the peer, each pair written in turn. */
struct spool_cursor_gens {
	uint64_t books, rest, peer; /* of the newest slots; 0 when there is none */
};

#define SPOOL_CURSOR_BOOKS (80 + SPOOL_LOSSES * MSG_CLASSES * 8)
#define SPOOL_CURSOR_REST  280
#define SPOOL_CURSOR_PEER  512

/* Each returns the slot's place in the page; gen is the new slot's. */
size_t spool_cursor_encode_books(uint8_t p[static SPOOL_CURSOR_BOOKS], uint64_t gen,
				 const struct spool_cursor *c);
size_t spool_cursor_encode_rest(uint8_t p[static SPOOL_CURSOR_REST], uint64_t gen,
				const struct spool_cursor *c);
size_t spool_cursor_encode_peer(uint8_t p[static SPOOL_CURSOR_PEER], uint64_t gen,
				const struct spool_cursor *c);
/* 0, or -EBADMSG when no slot is whole. The texts are terminated. */
int spool_cursor_decode(const uint8_t page[static SPOOL_PAGE], struct spool_cursor *ret,
			struct spool_cursor_gens *ret_gens);
