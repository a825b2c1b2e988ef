/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arbitrary bytes as a segment, as an identity file and as a cursor. Whatever
 * they are: nothing is read outside of them, no message reaches outside of
 * them, numbers only go up, and it ends.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output/spool_walk.h"
#include "user/util/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_ID 0x0123456789abcdefull /* of the corpus */

static struct spool_key key;

static void must(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "not so: %s\n", what);
		abort();
	}
}

static void check_slice(struct slice s, const uint8_t *p, size_t n)
{
	const uint8_t *at = (const uint8_t *)s.p;

	must(at >= p && s.len <= n && at <= p + n - s.len, "a message lies in the window");
}

static void check_msg(const struct msg *m, const uint8_t *p, size_t n)
{
	check_slice(m->host, p, n);
	check_slice(m->app, p, n);
	check_slice(m->procid, p, n);
	check_slice(m->route, p, n);
	check_slice(m->text, p, n);
	check_slice(m->json, p, n);
	must(m->class < MSG_CLASSES, "the class is one");
}

/* As the reader does: a window that grows by step bytes; AGAIN goes back to the batch. */
static uint64_t walk(const uint8_t *data, size_t size, size_t step, uint64_t want)
{
	size_t pos = 0, end = 0, unit = 0, confirmed = SIZE_MAX, used, steps = 0;
	struct spool_walk w;
	uint64_t last = want - 1, records = 0, before;
	struct msg m;

	spool_walk_init(&w, &key, want);
	for (;;) {
		must(++steps < 16 * size + 1000, "it ends");
		if (w.where == SPOOL_AT_BATCH) {
			unit = pos;
			w.confirmed = unit == confirmed;
		}
		before = w.want;
		switch (spool_walk_step(&w, data + pos, end - pos, end == size, &used, &m)) {
		case SPOOL_RECORD:
			must(used > 0 && used <= end - pos, "a record has a size");
			must(m.seq > last && m.seq >= before, "numbers go up");
			check_msg(&m, data + pos, end - pos);
			last = m.seq;
			records++;
			pos += used;
			break;
		case SPOOL_GONE:
			must(used > 0 && used <= end - pos, "a hole has a size");
			must(w.hole.first > last && w.hole.first >= before, "it goes up, too");
			must(w.hole.last >= w.hole.first && w.hole.last + 1 == w.want, "it ends");
			last = w.hole.last;
			pos += used;
			break;
		case SPOOL_SKIPPED:
			must(used <= end - pos, "skipping stays in the window");
			pos += used;
			break;
		case SPOOL_AGAIN:
			must(confirmed != unit, "damage is read again once");
			confirmed = unit;
			pos = unit;
			spool_walk_restart(&w);
			break;
		case SPOOL_MORE:
			if (end == size) {
				must(pos == size, "all of it was looked at");
				return records;
			}
			end = size - end < step ? size : end + step;
			break;
		}
		must(w.want >= before, "nothing is wanted twice");
	}
}

/* With the magics and sums put right, so that the checks behind them are reached. */
static void decode_repaired(const uint8_t *data, size_t size)
{
	uint8_t *p = malloc(size ? size : 1);
	struct spool_batch b;
	uint32_t n, sum;
	struct msg m;
	ssize_t r;

	if (!p)
		abort();
	memcpy(p, data, size);
	if (size >= SPOOL_RECORD_HEADER) {
		memcpy(p, &key.magic, 4);
		memcpy(&n, p + 8, 4);
		if (n >= 8 && n <= size) {
			sum = crc32c(key.seed, p + 8, n - 8);
			memcpy(p + 4, &sum, 4);
		}
		r = spool_record_decode(p, size, &key, &m);
		if (r > 0 && m.class == SPOOL_HOLE) {
			uint8_t q[SPOOL_HOLE_MAX];
			struct spool_hole hole, again;

			must(spool_hole_decode(&m, &hole) == 0, "a hole that is decoded is one");
			must(spool_hole_encode(q, &key, &hole) <= sizeof(q), "it has room");
			must(spool_record_decode(q, sizeof(q), &key, &m) > 0, "it is one again");
			must(spool_hole_decode(&m, &again) == 0, "with all that it had");
			must(memcmp(&hole, &again, sizeof(hole)) == 0, "and no more");
		} else if (r > 0) {
			uint8_t *q = malloc((size_t)r);

			must(q != NULL, "memory");
			check_msg(&m, p, (size_t)r);
			must(spool_record_size(&m) == r, "sizes agree");
			spool_record_encode(q, (size_t)r, &key, m.seq, &m);
			/* All but the bytes that mean nothing yet. */
			must(memcmp(q + 8, p + 8, 34) == 0, "encoding is the inverse");
			must(memcmp(q + 44, p + 44, (size_t)r - 44) == 0, "of all of it");
			free(q);
		}
	}
	if (size >= SPOOL_BATCH_FIXED) {
		memcpy(p, "SKB1", 4);
		memcpy(p + 8, &key.id, 8);
		memcpy(&n, p + 32, 4);
		if (n <= SPOOL_SOURCES && spool_batch_header_size(n) <= size) {
			sum = crc32c(key.seed, p + 8, spool_batch_header_size(n) - 8);
			memcpy(p + 4, &sum, 4);
		}
		r = spool_batch_decode(p, size, &key, &b);
		must(r <= (ssize_t)size, "a header lies in the window");
		walk(p, size, size, 1);
	}
	free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t page[SPOOL_PAGE] = {};
	struct spool_cursor_gens gens;
	struct spool_cursor cursor;
	struct spool_epochs epochs;
	struct spool_state state;
	uint64_t id, first_seq;

	spool_key_init(&key, FUZZ_ID);
	spool_segment_decode(data, size, &id, &first_seq);
	spool_identity_decode(data, size, &state, &epochs);
	memcpy(page, data, size < sizeof(page) ? size : sizeof(page));
	if (spool_cursor_decode(page, &cursor, &gens) == 0) {
		must(strlen(cursor.state) < sizeof(cursor.state), "texts end");
		must(strlen(cursor.last_error) < sizeof(cursor.last_error), "all texts end");
	}
	decode_repaired(data, size);
	if (size >= SPOOL_SEGMENT_HEADER) {
		data += SPOOL_SEGMENT_HEADER;
		size -= SPOOL_SEGMENT_HEADER;
	}
	walk(data, size, size ? size : 1, 1);
	walk(data, size, 61, 1);
	walk(data, size, size / 3 + 1, 5);
	return 0;
}
