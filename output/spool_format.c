/* SPDX-License-Identifier: Apache-2.0 */
/* The spool's bytes; see spool_format.h. */
#define _GNU_SOURCE
#include "output/spool_format.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "user/util/crc32c.h"

#define SEGMENT_MAGIC  "SKAseg\r\n"
#define IDENTITY_MAGIC "SKAspool"
#define BATCH_MAGIC    0x31424b53u /* "SKB1" */
#define MIN(a, b)      ((a) < (b) ? (a) : (b))

static inline void put16(uint8_t *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p, &v, sizeof(v));
}

static inline void put32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void put64(uint8_t *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

static inline uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return le16toh(v);
}

static inline uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static inline uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

void spool_key_init(struct spool_key *key, uint64_t id)
{
	uint8_t bytes[8];

	put64(bytes, id);
	key->id = id;
	key->seed = crc32c(0, bytes, sizeof(bytes));
	key->magic = crc32c(key->seed, "record", 6);
}

/* ------------------------------------------------------------------ segment header */

/* 0 magic, 8 version, 12 this header's size, 16 id, 24 first seq, 32 zero, 60 CRC */
void spool_segment_encode(uint8_t p[static SPOOL_SEGMENT_HEADER], uint64_t id, uint64_t first_seq)
{
	memset(p, 0, SPOOL_SEGMENT_HEADER);
	memcpy(p, SEGMENT_MAGIC, 8);
	put32(p + 8, SPOOL_VERSION);
	put32(p + 12, SPOOL_SEGMENT_HEADER);
	put64(p + 16, id);
	put64(p + 24, first_seq);
	put32(p + 60, crc32c(0, p, 60));
}

int spool_segment_decode(const uint8_t *p, size_t n, uint64_t *ret_id, uint64_t *ret_first_seq)
{
	if (n < SPOOL_SEGMENT_HEADER || memcmp(p, SEGMENT_MAGIC, 8) != 0 ||
	    get32(p + 8) != SPOOL_VERSION || get32(p + 60) != crc32c(0, p, 60))
		return -EBADMSG;
	*ret_id = get64(p + 16);
	*ret_first_seq = get64(p + 24);
	return 0;
}

/* ------------------------------------------------------------------ positions, batch header */

static void positions_encode(uint8_t *p, const struct spool_position *positions, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++, p += SPOOL_POSITION_SIZE) {
		put32(p, positions[i].source);
		put64(p + 4, positions[i].generation);
		put64(p + 12, positions[i].position);
	}
}

static void positions_decode(const uint8_t *p, struct spool_position *ret, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++, p += SPOOL_POSITION_SIZE)
		ret[i] = (struct spool_position){ .source = get32(p),
						  .generation = get64(p + 4),
						  .position = get64(p + 12) };
}

/* 0 magic, 4 CRC of what follows, 8 id, 16 first seq, 24 records, 28 body, 32 positions, 36 zero */
void spool_batch_encode(uint8_t *p, const struct spool_key *key, const struct spool_batch *b)
{
	put32(p, BATCH_MAGIC);
	put64(p + 8, key->id);
	put64(p + 16, b->first_seq);
	put32(p + 24, b->n_records);
	put32(p + 28, b->body_len);
	put32(p + 32, b->n_positions);
	put32(p + 36, 0);
	positions_encode(p + SPOOL_BATCH_FIXED, b->positions, b->n_positions);
	put32(p + 4, crc32c(key->seed, p + 8, spool_batch_header_size(b->n_positions) - 8));
}

ssize_t spool_batch_decode(const uint8_t *p, size_t n, const struct spool_key *key,
			   struct spool_batch *ret)
{
	uint32_t n_positions;
	struct spool_batch b;
	size_t size;

	if (n >= 4 && get32(p) != BATCH_MAGIC)
		return -EBADMSG;
	if (n >= 16 && get64(p + 8) != key->id)
		return -EBADMSG;
	if (n < SPOOL_BATCH_FIXED)
		return 0;
	n_positions = get32(p + 32);
	if (n_positions > SPOOL_SOURCES)
		return -EBADMSG;
	size = spool_batch_header_size(n_positions);
	if (n < size)
		return 0;
	if (get32(p + 4) != crc32c(key->seed, p + 8, size - 8))
		return -EBADMSG;
	b.first_seq = get64(p + 16);
	b.n_records = get32(p + 24);
	b.body_len = get32(p + 28);
	b.n_positions = n_positions;
	if (b.body_len > SPOOL_BODY_MAX || b.first_seq == 0 || b.first_seq > SPOOL_SEQ_MAX ||
	    b.n_records > b.body_len / SPOOL_RECORD_HEADER || (!b.n_records && b.body_len))
		return -EBADMSG;
	positions_decode(p + SPOOL_BATCH_FIXED, b.positions, n_positions);
	*ret = b;
	return (ssize_t)size;
}

/* ------------------------------------------------------------------ record */

ssize_t spool_record_size(const struct msg *m)
{
	size_t size;

	if ((unsigned int)m->class >= MSG_CLASSES)
		return -EINVAL;
	if (m->host.len > UINT16_MAX || m->app.len > UINT16_MAX || m->procid.len > UINT16_MAX ||
	    m->route.len > UINT16_MAX || m->text.len > MSG_MAX_BYTES || m->json.len > MSG_MAX_BYTES)
		return -EMSGSIZE;
	size = m->host.len + m->app.len + m->procid.len + m->route.len + m->text.len + m->json.len;
	if (size > MSG_MAX_BYTES)
		return -EMSGSIZE;
	return (ssize_t)(SPOOL_RECORD_HEADER + size);
}

static inline uint8_t *put_slice(uint8_t *p, struct slice s)
{
	if (s.len)
		memcpy(p, s.p, s.len);
	return p + s.len;
}

/*
 * 0 magic, 4 CRC of what follows, 8 size, 12 text's length, 16 seq, 24 time, 32 lengths of
 * host, app, procid, route, 40 class, 41 pri, 42 zero; json is what remains
 */
void spool_record_encode(uint8_t *p, size_t size, const struct spool_key *key, uint64_t seq,
			 const struct msg *m)
{
	uint8_t *at = p + SPOOL_RECORD_HEADER;

	put32(p, key->magic);
	put32(p + 8, (uint32_t)size);
	put32(p + 12, (uint32_t)m->text.len);
	put64(p + 16, seq);
	put64(p + 24, m->time_us);
	put16(p + 32, (uint16_t)m->host.len);
	put16(p + 34, (uint16_t)m->app.len);
	put16(p + 36, (uint16_t)m->procid.len);
	put16(p + 38, (uint16_t)m->route.len);
	p[40] = (uint8_t)m->class;
	p[41] = m->pri;
	put16(p + 42, 0);
	at = put_slice(at, m->host);
	at = put_slice(at, m->app);
	at = put_slice(at, m->procid);
	at = put_slice(at, m->route);
	at = put_slice(at, m->text);
	put_slice(at, m->json);
	put32(p + 4, crc32c(key->seed, p + 8, size - 8));
}

static inline struct slice take(const uint8_t **p, size_t n)
{
	struct slice s = { (const char *)*p, n };

	*p += n;
	return s;
}

ssize_t spool_record_decode(const uint8_t *p, size_t n, const struct spool_key *key,
			    struct msg *ret)
{
	size_t size, text_len, host_len, app_len, procid_len, route_len, before_json;
	const uint8_t *at = p + SPOOL_RECORD_HEADER;

	if (n >= 4 && get32(p) != key->magic)
		return -EBADMSG;
	if (n < SPOOL_RECORD_HEADER)
		return 0;
	size = get32(p + 8);
	text_len = get32(p + 12);
	host_len = get16(p + 32);
	app_len = get16(p + 34);
	procid_len = get16(p + 36);
	route_len = get16(p + 38);
	if (size < SPOOL_RECORD_HEADER || size > SPOOL_RECORD_MAX || text_len > MSG_MAX_BYTES)
		return -EBADMSG;
	before_json = host_len + app_len + procid_len + route_len + text_len;
	if (before_json > size - SPOOL_RECORD_HEADER)
		return -EBADMSG;
	if (n < size)
		return 0;
	if (get32(p + 4) != crc32c(key->seed, p + 8, size - 8))
		return -EBADMSG;
	ret->seq = get64(p + 16);
	ret->time_us = get64(p + 24);
	ret->class = p[40];
	ret->pri = p[41];
	if (ret->seq == 0 || ret->seq > SPOOL_SEQ_MAX || ret->class >= MSG_CLASSES)
		return -EBADMSG;
	ret->host = take(&at, host_len);
	ret->app = take(&at, app_len);
	ret->procid = take(&at, procid_len);
	ret->route = take(&at, route_len);
	ret->text = take(&at, text_len);
	ret->json = take(&at, size - SPOOL_RECORD_HEADER - before_json);
	return (ssize_t)size;
}

/* ------------------------------------------------------------------ walking a segment */

void spool_walk_init(struct spool_walk *w, const struct spool_key *key, uint64_t want)
{
	*w = (struct spool_walk){ .key = *key, .want = want };
}

void spool_walk_restart(struct spool_walk *w)
{
	w->where = SPOOL_AT_BATCH;
	w->left = 0;
	w->confirmed = false;
}

/* Where, from p + 1 on, the next good batch header is; n when there is none. */
static size_t find_batch(const struct spool_walk *w, const uint8_t *p, size_t n,
			 struct spool_batch *ret)
{
	const uint8_t *at = p + 1, *end = p + n;
	const uint32_t magic = htole32(BATCH_MAGIC);

	while (at < end && (at = memmem(at, (size_t)(end - at), &magic, 4))) {
		if (spool_batch_decode(at, (size_t)(end - at), &w->key, ret) > 0)
			return (size_t)(at - p);
		at++;
	}
	return n;
}

/* Where, from p + 1 on, the next good record is, or one that n bytes are too few to judge. */
static size_t find_record(const struct spool_walk *w, const uint8_t *p, size_t n)
{
	const uint8_t *at = p + 1, *end = p + n;
	const uint32_t magic = htole32(w->key.magic);
	struct msg m;

	while (at < end && (at = memmem(at, (size_t)(end - at), &magic, 4))) {
		if (spool_record_decode(at, (size_t)(end - at), &w->key, &m) >= 0)
			return (size_t)(at - p);
		at++;
	}
	return n;
}

static enum spool_step skip(struct spool_walk *w, size_t n, size_t *ret_used)
{
	*ret_used = n;
	w->left -= MIN(w->left, n);
	return SPOOL_SKIPPED;
}

static enum spool_step step_batch(struct spool_walk *w, const uint8_t *p, size_t n, bool final,
				  size_t *ret_used)
{
	struct spool_batch b;
	ssize_t header;
	size_t at;

	if (n == 0)
		return SPOOL_MORE;
	header = spool_batch_decode(p, n, &w->key, &b);
	if (header > 0 && n >= (size_t)header + b.body_len) {
		w->batches++;
		w->batch = b;
		if (w->want < b.first_seq)
			w->want = b.first_seq;
		w->end_seq = b.first_seq + b.n_records;
		if (w->want >= w->end_seq) {
			*ret_used = (size_t)header + b.body_len;
			return SPOOL_SKIPPED;
		}
		w->where = SPOOL_IN_BATCH;
		w->left = b.body_len;
		*ret_used = (size_t)header;
		return SPOOL_SKIPPED;
	}
	if (header >= 0 && !final)
		return SPOOL_MORE;
	if (!w->confirmed)
		return SPOOL_AGAIN;
	/*
	 * Not a batch. Its records are good only if it is known to be complete:
	 * when something was written behind it, or when so many bytes are here
	 * that no single batch could have them all.
	 */
	at = find_batch(w, p, n, &b);
	if (at == n && !final && n < SPOOL_BATCH_MAX)
		return SPOOL_MORE;
	w->damaged++;
	w->where = SPOOL_IN_JUNK;
	w->left = at;
	w->end_seq = at < n ? b.first_seq : UINT64_MAX;
	if (at == n && !final) {
		/* A header could begin in the last bytes, so they are looked at again. */
		w->where = SPOOL_IN_OPEN_JUNK;
		w->left = n - SPOOL_BATCH_HEADER;
	}
	return SPOOL_SKIPPED;
}

static enum spool_step step_junk(struct spool_walk *w, const uint8_t *p, size_t n, bool final,
				 size_t *ret_used, struct msg *ret)
{
	bool open = w->where == SPOOL_IN_OPEN_JUNK;
	size_t room = open ? n : (size_t)MIN(w->left, n);
	ssize_t size;

	if (w->left == 0 || (n == 0 && final)) {
		spool_walk_restart(w);
		return SPOOL_SKIPPED;
	}
	if (room == 0)
		return SPOOL_MORE;
	size = spool_record_decode(p, room, &w->key, ret);
	if (size == 0 && open) {
		/* It ends beyond the window, which can now move up to here. */
		spool_walk_restart(w);
		return SPOOL_SKIPPED;
	}
	if (size <= 0 || ret->seq >= w->end_seq)
		return skip(w, MIN(find_record(w, p, room), w->left), ret_used);
	skip(w, (size_t)size, ret_used);
	if (ret->seq < w->want)
		return SPOOL_SKIPPED;
	w->want = ret->seq + 1;
	return SPOOL_RECORD;
}

enum spool_step spool_walk_step(struct spool_walk *w, const uint8_t *p, size_t n, bool final,
				size_t *ret_used, struct msg *ret)
{
	ssize_t size;

	*ret_used = 0;
	if (w->where == SPOOL_AT_BATCH)
		return step_batch(w, p, n, final, ret_used);
	if (w->where != SPOOL_IN_BATCH)
		return step_junk(w, p, n, final, ret_used, ret);

	if (w->left == 0) {
		/* What did not come is lost: the header says that it was here. */
		if (w->want < w->end_seq)
			w->want = w->end_seq;
		w->where = SPOOL_AT_BATCH;
		return SPOOL_SKIPPED;
	}
	if (n < w->left)
		return SPOOL_MORE; /* the caller moved the window back */
	size = spool_record_decode(p, w->left, &w->key, ret);
	if (size <= 0 || ret->seq < w->batch.first_seq || ret->seq >= w->end_seq) {
		if (!w->confirmed)
			return SPOOL_AGAIN;
		w->damaged++;
		return skip(w, find_record(w, p, w->left), ret_used);
	}
	*ret_used = (size_t)size;
	w->left -= (size_t)size;
	if (ret->seq < w->want)
		return SPOOL_SKIPPED;
	w->want = ret->seq + 1;
	return SPOOL_RECORD;
}

/* ------------------------------------------------------------------ identity file */

/* header: 0 magic, 8 version, 12 zero, 16 id, 24 zero, 60 CRC; slots at 512 and 1024 */
#define STATE_SLOT_AT(gen) (512 + 512 * ((gen)&1))

void spool_identity_encode(uint8_t page[static SPOOL_PAGE], uint64_t id)
{
	memset(page, 0, SPOOL_PAGE);
	memcpy(page, IDENTITY_MAGIC, 8);
	put32(page + 8, SPOOL_VERSION);
	put64(page + 16, id);
	put32(page + 60, crc32c(0, page, 60));
}

/* 0 CRC of the rest, 4 positions, 8 generation, 16 id, 24 last seq, 32 removed seq, 40 positions */
_Static_assert(40 + SPOOL_SOURCES * SPOOL_POSITION_SIZE == SPOOL_STATE_SLOT, "");

size_t spool_state_encode(uint8_t p[static SPOOL_STATE_SLOT], const struct spool_state *st)
{
	memset(p, 0, SPOOL_STATE_SLOT);
	put32(p + 4, st->n_positions);
	put64(p + 8, st->generation);
	put64(p + 16, st->id);
	put64(p + 24, st->last_seq);
	put64(p + 32, st->removed_seq);
	positions_encode(p + 40, st->positions, st->n_positions);
	put32(p, crc32c(1, p + 4, SPOOL_STATE_SLOT - 4));
	return STATE_SLOT_AT(st->generation);
}

static int state_decode(const uint8_t *p, struct spool_state *ret)
{
	struct spool_state st = {
		.n_positions = get32(p + 4),
		.generation = get64(p + 8),
		.id = get64(p + 16),
		.last_seq = get64(p + 24),
		.removed_seq = get64(p + 32),
	};

	if (get32(p) != crc32c(1, p + 4, SPOOL_STATE_SLOT - 4) || st.generation == 0 ||
	    st.n_positions > SPOOL_SOURCES || st.last_seq > SPOOL_SEQ_MAX ||
	    st.removed_seq > SPOOL_SEQ_MAX)
		return -EBADMSG;
	positions_decode(p + 40, st.positions, st.n_positions);
	*ret = st;
	return 0;
}

static bool is_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

int spool_identity_decode(const uint8_t *page, size_t n, struct spool_state *ret)
{
	bool ours = n >= 8 && memcmp(page, IDENTITY_MAGIC, 8) == 0;
	bool whole = n >= 64 && get32(page + 60) == crc32c(0, page, 60);
	struct spool_state best = {}, st;

	if (ours && whole && get32(page + 8) != SPOOL_VERSION)
		return -EBADMSG;
	for (uint64_t slot = 0; slot < 2; slot++) {
		size_t at = STATE_SLOT_AT(slot);

		if (n >= at + SPOOL_STATE_SLOT && state_decode(page + at, &st) == 0 &&
		    (!(ours && whole) || st.id == get64(page + 16)) &&
		    st.generation > best.generation)
			best = st;
	}
	if (ours && whole)
		best.id = get64(page + 16);
	else if (!best.generation)
		return ours || is_zero(page, n) ? -ENODATA : -EBADMSG;
	*ret = best;
	return 0;
}

/* ------------------------------------------------------------------ cursor file */

#define BOOKS_AT(gen) (256 + 256 * ((gen)&1))
#define REST_AT(gen)  (1024 + 1024 * ((gen)&1))
#define PEER_AT(gen)  (3072 + 512 * ((gen)&1))

/* 0 CRC of the rest, 4 version, 8 generation, 16 id, 24 the books */
size_t spool_cursor_encode_books(uint8_t p[static SPOOL_CURSOR_BOOKS], uint64_t gen,
				 const struct spool_cursor *c)
{
	put32(p + 4, SPOOL_VERSION);
	put64(p + 8, gen);
	put64(p + 16, c->spool_id);
	put64(p + 24, c->start_seq);
	put64(p + 32, c->cursor_seq);
	put64(p + 40, c->acked);
	put64(p + 48, c->rejected);
	put64(p + 56, c->lost_limit);
	put64(p + 64, c->lost_damage);
	put32(p, crc32c(2, p + 4, SPOOL_CURSOR_BOOKS - 4));
	return BOOKS_AT(gen);
}

size_t spool_cursor_encode_rest(uint8_t p[static SPOOL_CURSOR_REST], uint64_t gen,
				const struct spool_cursor *c)
{
	_Static_assert(56 + sizeof(c->state) + sizeof(c->last_error) == SPOOL_CURSOR_REST, "");

	put32(p + 4, SPOOL_VERSION);
	put64(p + 8, gen);
	put64(p + 16, c->spool_id);
	put64(p + 24, c->sent);
	put64(p + 32, c->sent_bytes);
	put64(p + 40, c->connects);
	put64(p + 48, c->failures);
	memcpy(p + 56, c->state, sizeof(c->state));
	memcpy(p + 56 + sizeof(c->state), c->last_error, sizeof(c->last_error));
	put32(p, crc32c(3, p + 4, SPOOL_CURSOR_REST - 4));
	return REST_AT(gen);
}

size_t spool_cursor_encode_peer(uint8_t p[static SPOOL_CURSOR_PEER], uint64_t gen,
				const struct spool_cursor *c)
{
	_Static_assert(56 + sizeof(c->target) + sizeof(c->others) == SPOOL_CURSOR_PEER, "");

	put32(p + 4, SPOOL_VERSION);
	put64(p + 8, gen);
	put64(p + 16, c->spool_id);
	put64(p + 24, c->dead_lettered);
	put64(p + 32, c->dead_unwritten);
	put64(p + 40, c->dead_dropped);
	put64(p + 48, c->target_since_us);
	memcpy(p + 56, c->target, sizeof(c->target));
	memcpy(p + 56 + sizeof(c->target), c->others, sizeof(c->others));
	put32(p, crc32c(4, p + 4, SPOOL_CURSOR_PEER - 4));
	return PEER_AT(gen);
}

int spool_cursor_decode(const uint8_t page[static SPOOL_PAGE], struct spool_cursor *ret,
			struct spool_cursor_gens *ret_gens)
{
	struct spool_cursor_gens gens = {};
	struct spool_cursor c = {};

	for (uint64_t slot = 0; slot < 2; slot++) {
		const uint8_t *p = page + BOOKS_AT(slot);

		if (get32(p) != crc32c(2, p + 4, SPOOL_CURSOR_BOOKS - 4) ||
		    get32(p + 4) != SPOOL_VERSION || get64(p + 8) <= gens.books ||
		    get64(p + 32) > SPOOL_SEQ_MAX)
			continue;
		gens.books = get64(p + 8);
		c.spool_id = get64(p + 16);
		c.start_seq = get64(p + 24);
		c.cursor_seq = get64(p + 32);
		c.acked = get64(p + 40);
		c.rejected = get64(p + 48);
		c.lost_limit = get64(p + 56);
		c.lost_damage = get64(p + 64);
	}
	if (!gens.books)
		return -EBADMSG;
	for (uint64_t slot = 0; slot < 2; slot++) {
		const uint8_t *p = page + REST_AT(slot);

		if (get32(p) != crc32c(3, p + 4, SPOOL_CURSOR_REST - 4) ||
		    get32(p + 4) != SPOOL_VERSION || get64(p + 8) <= gens.rest ||
		    get64(p + 16) != c.spool_id)
			continue;
		gens.rest = get64(p + 8);
		c.sent = get64(p + 24);
		c.sent_bytes = get64(p + 32);
		c.connects = get64(p + 40);
		c.failures = get64(p + 48);
		memcpy(c.state, p + 56, sizeof(c.state));
		memcpy(c.last_error, p + 56 + sizeof(c.state), sizeof(c.last_error));
	}
	for (uint64_t slot = 0; slot < 2; slot++) {
		const uint8_t *p = page + PEER_AT(slot);

		if (get32(p) != crc32c(4, p + 4, SPOOL_CURSOR_PEER - 4) ||
		    get32(p + 4) != SPOOL_VERSION || get64(p + 8) <= gens.peer ||
		    get64(p + 16) != c.spool_id)
			continue;
		gens.peer = get64(p + 8);
		c.dead_lettered = get64(p + 24);
		c.dead_unwritten = get64(p + 32);
		c.dead_dropped = get64(p + 40);
		c.target_since_us = get64(p + 48);
		memcpy(c.target, p + 56, sizeof(c.target));
		memcpy(c.others, p + 56 + sizeof(c.target), sizeof(c.others));
	}
	c.target[sizeof(c.target) - 1] = '\0';
	c.others[sizeof(c.others) - 1] = '\0';
	c.state[sizeof(c.state) - 1] = '\0';
	c.last_error[sizeof(c.last_error) - 1] = '\0';
	*ret = c;
	*ret_gens = gens;
	return 0;
}
