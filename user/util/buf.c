/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/util/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "user/util/pages.h"

void buf_init(struct buf *b, size_t max_bytes)
{
	*b = (struct buf){ .max_bytes = max_bytes };
}

void buf_done(struct buf *b)
{
	free(b->base);
	*b = (struct buf){ .max_bytes = b->max_bytes };
}

void buf_clear(struct buf *b)
{
	b->off = 0;
	b->len = 0;
}

void buf_rest(struct buf *b)
{
	if (!b->base)
		return;
	pages_forget(b->base, b->off);
	pages_forget(b->base + b->off + b->len, b->cap - b->off - b->len);
}

void buf_wipe(struct buf *b)
{
	if (b->base)
		explicit_bzero(b->base, b->cap);
	buf_done(b);
}

int buf_reserve(struct buf *b, size_t n, char **ret)
{
	size_t need, cap;
	char *base;

	if (n > b->max_bytes - b->len)
		return -ENOBUFS;
	need = b->len + n;
	if (b->off + need > b->cap) {
		/* Moving is cheap while little waits; else grow. */
		if (need <= b->cap && b->len <= b->cap / 2) {
			memmove(b->base, b->base + b->off, b->len);
			b->off = 0;
		} else {
			cap = b->cap ? b->cap : 512;
			while (cap < b->off + need)
				cap *= 2;
			base = malloc(cap);
			if (!base)
				return -ENOMEM;
			if (b->len)
				memcpy(base, b->base + b->off, b->len);
			if (b->base)
				explicit_bzero(b->base, b->cap);
			free(b->base);
			b->base = base;
			b->cap = cap;
			b->off = 0;
		}
	}
	*ret = b->base ? buf_data(b) + b->len : NULL;
	return 0;
}

void buf_added(struct buf *b, size_t n)
{
	assert(b->off + b->len + n <= b->cap);
	b->len += n;
}

int buf_append(struct buf *b, const void *p, size_t n)
{
	char *at;
	int err;

	if (!n)
		return 0;
	err = buf_reserve(b, n, &at);
	if (err)
		return err;
	memcpy(at, p, n);
	buf_added(b, n);
	return 0;
}

int buf_puts(struct buf *b, const char *s)
{
	return buf_append(b, s, strlen(s));
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	char *at;
	int n, err;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -EINVAL;
	if ((size_t)n > buf_room(b))
		return -ENOBUFS;
	/* vsnprintf writes a NUL that is not part of the content. */
	b->max_bytes++;
	err = buf_reserve(b, (size_t)n + 1, &at);
	b->max_bytes--;
	if (err)
		return err;
	va_start(ap, fmt);
	vsnprintf(at, (size_t)n + 1, fmt, ap);
	va_end(ap);
	buf_added(b, (size_t)n);
	return 0;
}

void buf_consume(struct buf *b, size_t n)
{
	assert(n <= b->len);
	b->off += n;
	b->len -= n;
	if (!b->len)
		b->off = 0;
}
