/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds repeats and gaps. An event's id is a name and a number, "<hex>-<n>";
 * each name has a bitmap of the numbers that were seen. A number without a
 * name (sequenceId of a text message) belongs to the name that its connection
 * used last: both come from one spool.
 */
#pragma once

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "user/util/buf.h"
#include "user/util/slice.h"

#define IDS_MAX_STREAMS 1024
#define IDS_NAME_SIZE	32
#define IDS_CHUNK_BITS	(512u * 1024) /* numbers in one piece of a bitmap: 64 KiB */
#define IDS_MAX_CHUNKS	16384u	      /* 1 GiB of bitmaps in all */
#define IDS_MAX_SEQ	(1ull << 40)

struct id_stream {
	char name[IDS_NAME_SIZE]; /* empty until a message tells it */
	size_t name_len;
	uint64_t first, last, unique, repeats;
	uint64_t **chunks;
	size_t n_chunks;
};

struct ids {
	struct id_stream *streams[IDS_MAX_STREAMS];
	int n_streams;
	struct id_stream *latest; /* the one whose name came last, from anywhere */
	size_t chunks;
};

enum id_verdict { ID_NEW, ID_REPEAT, ID_UNKNOWN };

static void ids_done(struct ids *ids)
{
	for (int i = 0; i < ids->n_streams; i++) {
		struct id_stream *s = ids->streams[i];

		for (size_t c = 0; c < s->n_chunks; c++)
			free(s->chunks[c]);
		free(s->chunks);
		free(s);
	}
	*ids = (struct ids){ 0 };
}

/* "<1 to 32 hex digits>-<number>", or false. */
static bool id_parse(struct slice id, struct slice *ret_name, uint64_t *ret_seq)
{
	uint64_t seq = 0;
	size_t i;

	for (i = 0; i < id.len && i < IDS_NAME_SIZE; i++)
		if (!((id.p[i] >= '0' && id.p[i] <= '9') || (id.p[i] >= 'a' && id.p[i] <= 'f')))
			break;
	if (!i || i == id.len || id.p[i] != '-' || id.len - i < 2 || id.len - i > 19)
		return false;
	*ret_name = (struct slice){ id.p, i };
	for (i++; i < id.len; i++) {
		if (id.p[i] < '0' || id.p[i] > '9')
			return false;
		seq = seq * 10 + (uint64_t)(id.p[i] - '0');
	}
	*ret_seq = seq;
	return true;
}

static inline bool id_stream_is(const struct id_stream *s, struct slice name)
{
	return s && s->name_len == name.len && memcmp(s->name, name.p, name.len) == 0;
}

/* The stream of this name, made when missing; NULL at the ceiling. */
static struct id_stream *ids_stream(struct ids *ids, struct slice name)
{
	struct id_stream *s;

	if (name.len && id_stream_is(ids->latest, name))
		return ids->latest;
	if (!name.len && ids->latest)
		return ids->latest;
	/* The first name is that of the numbers which came without one. */
	if (ids->n_streams == 1 && !ids->streams[0]->name_len) {
		s = ids->streams[0];
		if (name.len)
			memcpy(s->name, name.p, name.len);
		s->name_len = name.len;
		return s;
	}
	for (int i = 0; i < ids->n_streams; i++)
		if (id_stream_is(ids->streams[i], name))
			return ids->streams[i];
	if (ids->n_streams == IDS_MAX_STREAMS)
		return NULL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	if (name.len)
		memcpy(s->name, name.p, name.len);
	s->name_len = name.len;
	ids->streams[ids->n_streams++] = s;
	return s;
}

static uint64_t *id_stream_chunk(struct ids *ids, struct id_stream *s, uint64_t seq)
{
	size_t i = seq / IDS_CHUNK_BITS;

	if (i >= s->n_chunks) {
		uint64_t **more = realloc(s->chunks, (i + 1) * sizeof(*more));

		if (!more)
			return NULL;
		memset(more + s->n_chunks, 0, (i + 1 - s->n_chunks) * sizeof(*more));
		s->chunks = more;
		s->n_chunks = i + 1;
	}
	if (!s->chunks[i] && ids->chunks < IDS_MAX_CHUNKS) {
		s->chunks[i] = calloc(1, IDS_CHUNK_BITS / 8);
		ids->chunks += s->chunks[i] != NULL;
	}
	return s->chunks[i];
}

/* *hint is the connection's own "latest"; starts as NULL. An empty name: not told. */
static enum id_verdict ids_mark(struct ids *ids, struct id_stream **hint, struct slice name,
				uint64_t seq)
{
	struct id_stream *s;
	uint64_t *word, bit;

	if (name.len)
		s = id_stream_is(*hint, name) ? *hint : ids_stream(ids, name);
	else
		s = *hint ? *hint : ids_stream(ids, name);
	if (!s || !seq || seq >= IDS_MAX_SEQ)
		return ID_UNKNOWN;
	if (name.len) {
		ids->latest = s;
		*hint = s;
	}
	word = id_stream_chunk(ids, s, seq);
	if (!word)
		return ID_UNKNOWN;
	word += seq % IDS_CHUNK_BITS / 64;
	bit = 1ull << (seq % 64);
	if (*word & bit) {
		s->repeats++;
		return ID_REPEAT;
	}
	*word |= bit;
	if (!s->unique || seq < s->first)
		s->first = seq;
	if (seq > s->last)
		s->last = seq;
	s->unique++;
	return ID_NEW;
}

static uint64_t id_stream_gaps(const struct id_stream *s)
{
	return s->unique ? s->last - s->first + 1 - s->unique : 0;
}

static bool id_stream_has(const struct id_stream *s, uint64_t seq)
{
	size_t i = seq / IDS_CHUNK_BITS;

	return i < s->n_chunks && s->chunks[i] &&
	       s->chunks[i][seq % IDS_CHUNK_BITS / 64] >> (seq % 64) & 1;
}

/* One JSON object, with the first ten gaps as ranges. */
static void id_stream_write(struct buf *b, const struct id_stream *s)
{
	uint64_t left = id_stream_gaps(s);

	buf_printf(b,
		   "{\"id\":\"%.*s\",\"first\":%" PRIu64 ",\"last\":%" PRIu64 ",\"unique\":%" PRIu64
		   ",\"repeats\":%" PRIu64 ",\"gaps\":%" PRIu64 ",\"missing\":[",
		   (int)s->name_len, s->name, s->first, s->last, s->unique, s->repeats, left);
	for (uint64_t seq = s->first, n = 0; left && n < 10; n++) {
		uint64_t from;

		while (id_stream_has(s, seq))
			seq++;
		from = seq;
		while (!id_stream_has(s, seq))
			seq++;
		left -= seq - from;
		buf_printf(b, "%s[%" PRIu64 ",%" PRIu64 "]", n ? "," : "", from, seq - 1);
	}
	buf_puts(b, "]}");
}
