/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte queue with a ceiling: append at the end, consume from the front.
 * No buffer without a maximum: what does not fit is refused, and the caller
 * decides what that means.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "user/util/slice.h"

struct buf {
	char *base;	  /* malloc'ed, or NULL */
	size_t off;	  /* the first byte that was not consumed */
	size_t len;	  /* bytes waiting, from off */
	size_t cap;	  /* size of base */
	size_t max_bytes; /* len never exceeds this */
};

/* max_bytes is the ceiling of what may wait. Allocates nothing yet. */
void buf_init(struct buf *b, size_t max_bytes);
void buf_done(struct buf *b);

/* Forgets the content and keeps the memory. */
void buf_clear(struct buf *b);

/* Keeps the content, and gives back the memory that is around it until it is wanted again. */
void buf_rest(struct buf *b);

/* Overwrites the memory with zeroes before it frees it: for secrets. */
void buf_wipe(struct buf *b);

/* NULL until there was something. */
static inline char *buf_data(const struct buf *b)
{
	return b->base ? b->base + b->off : NULL;
}

static inline struct slice buf_slice(const struct buf *b)
{
	return (struct slice){ buf_data(b), b->len };
}

static inline size_t buf_room(const struct buf *b)
{
	return b->max_bytes - b->len;
}

/*
 * Makes room for n more bytes behind the content; *ret is where they go, and
 * buf_added() says how many were written there.
 * -ENOBUFS over the ceiling, -ENOMEM; the content is untouched by both.
 */
int buf_reserve(struct buf *b, size_t n, char **ret);
void buf_added(struct buf *b, size_t n);

/* 0, -ENOBUFS or -ENOMEM: all of it was appended, or nothing. */
int buf_append(struct buf *b, const void *p, size_t n);
int buf_puts(struct buf *b, const char *s);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Drops n bytes from the front; n is at most b->len. */
void buf_consume(struct buf *b, size_t n);
