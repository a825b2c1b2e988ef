/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A BPF ring buffer, read so that nothing is lost: libbpf's reader gives each
 * sample's room back before we know that it is safe in the spool. Here the
 * consumer position moves when ring_release() says so, and not before. Of the
 * ring's data only what is read is mapped, a window of it, so that a large ring costs the
 * reader no memory. (The layout of the mapped pages is the kernel's ABI: kernel/bpf/ringbuf.c.)
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "user/util/cleanup.h"

struct ring;

/* map_fd is borrowed for the call; the ring keeps a copy of it. The caller owns *ret. */
int ring_new(int map_fd, struct ring **ret);
void ring_free(struct ring *r);
DEFINE_CLEANUP(struct ring *, ring_free);

/*
 * Where reading goes on after a restart: the position that was stored with the
 * last batch, if it is one that this ring can have. 0, or -ERANGE for one that
 * it can not, and then reading goes on where the ring itself says.
 */
int ring_seek(struct ring *r, uint64_t position);

/*
 * 1 and the next sample, which is there until the next call; 0 when there is none, its
 * producer is not done yet, or there is no memory to look at it now.
 */
int ring_next(struct ring *r, const void **sample, size_t *size);

/* The sample that ring_next() gave, at this position, was not taken whole: give it again. */
void ring_unread(struct ring *r, uint64_t position);

/* Behind the last sample that ring_next() gave. */
uint64_t ring_position(const struct ring *r);

/*
 * Gives the room of all samples up to position back to the kernel: at most up to
 * ring_position(), never what is still being decoded.
 */
void ring_release(struct ring *r, uint64_t position);

/* What waits, in bytes. */
uint64_t ring_waiting(const struct ring *r);

/* Bytes in all, and those that are not released, whether read or not. */
uint64_t ring_size(const struct ring *r);
uint64_t ring_fill(const struct ring *r);
