/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rings of one source, one behind the other: those of captures that were
 * replaced (user/probe.h), which get nothing more, and then our own. The next one is
 * begun when one was read to its end, so that what a source remembers of earlier
 * samples goes on over the change.
 *
 * A position belongs to a ring; the ring's generation tells which. What comes
 * before the ring that the spool knows is in the spool.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "user/probe.h"
#include "user/util/cleanup.h"

struct rings;
struct spool_position;

/*
 * Opens all of them; reading begins at resume (NULL: not known). Their maps stay k's.
 * The caller owns *ret. 0, -ENOENT when there is none, or -errno.
 */
int rings_new(const struct kernel *k, enum kernel_source source,
	      const struct spool_position *resume, struct rings **ret);
void rings_free(struct rings *r);
DEFINE_CLEANUP(struct rings *, rings_free);

/*
 * 1 and the next sample; 0 when there is none, and *position is behind what was passed: samples
 * that their programs gave up. Either may have gone on to the next ring: then *generation
 * and *position, of what was read so far, are that ring's.
 */
int rings_next(struct rings *r, uint64_t *generation, uint64_t *position, const void **sample,
	       size_t *size);

/* Of the ring that is read now: see ring.h. Waiting is what waits in all of them. */
void rings_unread(struct rings *r, uint64_t position);
uint64_t rings_position(const struct rings *r);
uint64_t rings_generation(const struct rings *r);
uint64_t rings_waiting(const struct rings *r);
uint64_t rings_size(const struct rings *r);
uint64_t rings_fill(const struct rings *r);

/* What was read up to position, and all rings before this one: given back. */
void rings_release(struct rings *r, uint64_t position);

/* There is more than our own ring still to be read. */
bool rings_is_behind(const struct rings *r);
