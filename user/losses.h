/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger of losses: how much was lost, for each reason, when, and how much
 * of that was told in events. It is saved beside each batch, so that the sum of
 * all loss events is what was lost, also across a collector that was killed.
 * Pure: numbers in, what is due out.
 *
 * A reason is told at once, and then once a minute while it goes on. Loss
 * events can be lost themselves; when nothing but our own records can have been
 * lost, the pause doubles, so that a loss does not keep itself going.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "user/util/buf.h"
#include "user/util/cleanup.h"

struct books_row;

#define LOSSES_MAX	  96 /* more than there are reasons: test_losses.c counts them */
#define LOSS_NAME_SIZE	  40
#define LOSS_PAUSE_MS	  60000
#define LOSS_PAUSE_MAX_MS (24 * 3600000)

struct loss {
	char name[LOSS_NAME_SIZE];  /* "kernel.flows.ring_full" */
	uint64_t generation;	    /* of counted */
	uint64_t counted;	    /* where the counter stood at the last look */
	uint64_t noticed;	    /* the same of what is known to come, for the times */
	uint64_t lost, told;	    /* for as long as the spool exists */
	uint64_t first_us, last_us; /* of what was not told, or was told last; since the epoch */
	/* Not saved: */
	const struct books_row *row; /* NULL: of a version that counted other things */
	char item[LOSS_NAME_SIZE];   /* "flows" */
	uint64_t tell_ms, pause_ms, own_told;
};

struct losses;

int losses_new(struct losses **ret);
void losses_free(struct losses *l);
DEFINE_CLEANUP(struct losses *, losses_free);

/*
 * Where a counter stands. generation: a counter of another one began at 0.
 * noticed is value, or more when some of it is not settled. It grew somewhen
 * between first_us and last_us. A table that is full takes no new reason, and has
 * room for all that there are. True when it grew.
 */
bool losses_note(struct losses *l, const struct books_row *row, const char *scope, const char *item,
		 uint64_t generation, uint64_t value, uint64_t noticed, uint64_t first_us,
		 uint64_t last_us);

/* What a counter showed at the last look: false when it is new or of another generation. */
bool losses_has_grown(const struct losses *l, const char *scope, const char *item, const char *key,
		      uint64_t generation, uint64_t value);

/* One that is to be told now, or NULL. all: the minute has not to be over. */
struct loss *losses_due(struct losses *l, uint64_t now_ms, bool all);

/* It is told, as far as it was known. own: how many events of our own there were before it. */
void losses_told(struct losses *l, struct loss *loss, uint64_t own, uint64_t now_ms);

/* By number, in no order; NULL behind the last one, and for l = NULL. */
const struct loss *losses_get(const struct losses *l, int i);

/* It grows with each change of what losses_save() writes. */
uint64_t losses_version(const struct losses *l);

/* Save appends: -ENOBUFS or -ENOMEM. Restore replaces all: -EBADMSG for bytes that are not ours. */
int losses_save(const struct losses *l, struct buf *ret);
int losses_restore(struct losses *l, struct slice bytes);
