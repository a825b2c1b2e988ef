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
#define MIN(a, b)      ((a) < (b) ? (a) : (b))
#define THINNED	       1u
#define RUN_SIZE       10 /* 0 reason, 1 class, 2 how many */

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

/* 0 magic, 4 CRC of what follows, 8 id, 16 first seq, 24 records, 28 body, 32 positions, 36 flags
 */
void spool_batch_encode(uint8_t *p, const struct spool_key *key, const struct spool_batch *b)
{
	put32(p, SPOOL_BATCH_MAGIC);
	put64(p + 8, key->id);
	put64(p + 16, b->first_seq);
	put32(p + 24, b->n_records);
	put32(p + 28, b->body_len);
	put32(p + 32, b->n_positions);
	put32(p + 36, b->thinned ? THINNED : 0);
	positions_encode(p + SPOOL_BATCH_FIXED, b->positions, b->n_positions);
	put32(p + 4, crc32c(key->seed, p + 8, spool_batch_header_size(b->n_positions) - 8));
}

ssize_t spool_batch_decode(const uint8_t *p, size_t n, const struct spool_key *key,
			   struct spool_batch *ret)
{
	uint32_t n_positions;
	struct spool_batch b;
	size_t size;

	if (n >= 4 && get32(p) != SPOOL_BATCH_MAGIC)
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
	b.thinned = get32(p + 36) & THINNED;
	if (b.body_len > SPOOL_BODY_MAX || b.first_seq == 0 || b.first_seq > SPOOL_SEQ_MAX ||
	    (b.n_records > b.body_len / SPOOL_RECORD_HEADER && !b.thinned) ||
	    (!b.n_records && b.body_len))
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

/* Apart, so that the path of all other records needs no room for one. */
static __attribute__((noinline)) bool is_hole(const struct msg *m)
{
	struct spool_hole hole;

	return spool_hole_decode(m, &hole) == 0;
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
	if (ret->seq == 0 || ret->seq > SPOOL_SEQ_MAX ||
	    (ret->class >= MSG_CLASSES && ret->class != SPOOL_HOLE))
		return -EBADMSG;
	ret->host = take(&at, host_len);
	ret->app = take(&at, app_len);
	ret->procid = take(&at, procid_len);
	ret->route = take(&at, route_len);
	ret->text = take(&at, text_len);
	ret->json = take(&at, size - SPOOL_RECORD_HEADER - before_json);
	if (ret->class == SPOOL_HOLE && !is_hole(ret))
		return -EBADMSG;
	return (ssize_t)size;
}

/* ------------------------------------------------------------------ hole */

size_t spool_hole_encode(uint8_t p[static SPOOL_HOLE_MAX], const struct spool_key *key,
			 const struct spool_hole *hole)
{
	uint8_t *at = p + SPOOL_RECORD_HEADER;
	size_t size;

	memset(p, 0, SPOOL_RECORD_HEADER);
	for (unsigned int reason = 0; reason < SPOOL_LOSSES; reason++) {
		for (unsigned int class = 0; class < MSG_CLASSES; class ++) {
			if (!hole->lost[reason][class])
				continue;
			at[0] = (uint8_t)reason;
			at[1] = (uint8_t) class;
			put64(at + 2, hole->lost[reason][class]);
			at += RUN_SIZE;
		}
	}
	size = (size_t)(at - p);
	put32(p, key->magic);
	put32(p + 8, (uint32_t)size);
	put64(p + 16, hole->first);
	p[40] = (uint8_t)SPOOL_HOLE;
	put32(p + 4, crc32c(key->seed, p + 8, size - 8));
	return size;
}

int spool_hole_decode(const struct msg *m, struct spool_hole *ret)
{
	const uint8_t *at = (const uint8_t *)m->json.p, *end = at + m->json.len;
	struct spool_hole hole = { .first = m->seq };
	uint64_t sum = 0;

	if (m->json.len % RUN_SIZE || m->json.len > SPOOL_HOLE_MAX - SPOOL_RECORD_HEADER ||
	    (const char *)at != m->host.p)
		return -EBADMSG;
	for (; at < end; at += RUN_SIZE) {
		uint64_t n = get64(at + 2);

		if (at[0] >= SPOOL_LOSSES || at[1] >= MSG_CLASSES || n == 0 || n > SPOOL_SEQ_MAX ||
		    hole.lost[at[0]][at[1]])
			return -EBADMSG; /* each once */
		hole.lost[at[0]][at[1]] = n;
		sum += n;
		if (sum > SPOOL_SEQ_MAX)
			return -EBADMSG;
	}
	hole.last = hole.first + sum - 1;
	if (sum == 0 || hole.last > SPOOL_SEQ_MAX)
		return -EBADMSG;
	*ret = hole;
	return 0;
}

void spool_hole_cut(struct spool_hole *hole, uint64_t seq)
{
	for (unsigned int reason = 0; reason < SPOOL_LOSSES; reason++) {
		for (unsigned int class = 0; class < MSG_CLASSES && hole->first < seq; class ++) {
			uint64_t n = MIN(hole->lost[reason][class], seq - hole->first);

			hole->lost[reason][class] -= n;
			hole->first += n;
		}
	}
}

/* ------------------------------------------------------------------ identity file */

/* header: 0 magic, 8 version, 12 zero, 16 id, 24 zero, 60 CRC; slots at 512 and 1024, epochs */
#define STATE_SLOT_AT(gen) (512 + 512 * ((gen)&1))
#define EPOCHS_AT	   2048
#define EPOCHS_SIZE	   (8 + SPOOL_EPOCHS * 16) /* 0 CRC of the rest, 4 how many, 8 each */

void spool_epochs_add(struct spool_epochs *e, uint64_t first_seq, uint64_t id)
{
	/* Of one that gave no number nothing was sent. */
	if (e->n && e->epoch[e->n - 1].first_seq >= first_seq)
		e->n--;
	if (e->n == SPOOL_EPOCHS)
		memmove(&e->epoch[0], &e->epoch[1], --e->n * sizeof(e->epoch[0]));
	e->epoch[e->n++] = (struct spool_epoch){ first_seq, id };
}

uint64_t spool_epochs_find(const struct spool_epochs *e, uint64_t spool_id, uint64_t seq)
{
	for (uint32_t i = e->n; i-- > 0;)
		if (e->epoch[i].first_seq <= seq)
			return e->epoch[i].id;
	return spool_id;
}

void spool_identity_encode(uint8_t page[static SPOOL_PAGE], uint64_t id,
			   const struct spool_epochs *epochs)
{
	uint8_t *p = page + EPOCHS_AT;

	memset(page, 0, SPOOL_PAGE);
	memcpy(page, IDENTITY_MAGIC, 8);
	put32(page + 8, SPOOL_VERSION);
	put64(page + 16, id);
	put32(page + 60, crc32c(0, page, 60));
	put32(p + 4, epochs->n);
	for (uint32_t i = 0; i < epochs->n; i++) {
		put64(p + 8 + i * 16, epochs->epoch[i].first_seq);
		put64(p + 16 + i * 16, epochs->epoch[i].id);
	}
	put32(p, crc32c(5, p + 4, EPOCHS_SIZE - 4));
}

static void epochs_decode(const uint8_t *p, struct spool_epochs *ret)
{
	*ret = (struct spool_epochs){ 0 };
	if (get32(p) != crc32c(5, p + 4, EPOCHS_SIZE - 4) || get32(p + 4) > SPOOL_EPOCHS)
		return;
	ret->n = get32(p + 4);
	for (uint32_t i = 0; i < ret->n; i++)
		ret->epoch[i] =
			(struct spool_epoch){ get64(p + 8 + i * 16), get64(p + 16 + i * 16) };
}

/*
 * 0 CRC of the rest, 4 positions, 8 generation, 16 id, 24 last seq, 32 removed seq,
 * 40 positions, 200 boot id, 208 clean
 */
#define STATE_BOOT_AT (40 + SPOOL_SOURCES * SPOOL_POSITION_SIZE)
_Static_assert(STATE_BOOT_AT + 12 == SPOOL_STATE_SLOT, "");

size_t spool_state_encode(uint8_t p[static SPOOL_STATE_SLOT], const struct spool_state *st)
{
	memset(p, 0, SPOOL_STATE_SLOT);
	put32(p + 4, st->n_positions);
	put64(p + 8, st->generation);
	put64(p + 16, st->id);
	put64(p + 24, st->last_seq);
	put64(p + 32, st->removed_seq);
	positions_encode(p + 40, st->positions, st->n_positions);
	put64(p + STATE_BOOT_AT, st->boot_id);
	put32(p + STATE_BOOT_AT + 8, st->clean);
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
		.boot_id = get64(p + STATE_BOOT_AT),
		.clean = get32(p + STATE_BOOT_AT + 8),
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

int spool_identity_decode(const uint8_t *page, size_t n, struct spool_state *ret,
			  struct spool_epochs *ret_epochs)
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
	*ret_epochs = (struct spool_epochs){ 0 };
	if (n >= EPOCHS_AT + EPOCHS_SIZE)
		epochs_decode(page + EPOCHS_AT, ret_epochs);
	return 0;
}

/* ------------------------------------------------------------------ cursor file */

#define BOOKS_AT(gen) (256 + 256 * ((gen)&1))
#define REST_AT(gen)  (1024 + 1024 * ((gen)&1))
#define PEER_AT(gen)  (3072 + 512 * ((gen)&1))

/*
 * 0 CRC of the rest, 4 version, 8 generation, 16 id, 24 the books. The books of
 * version 1 end before what was lost by age and by class, and are written as
 * long as that is nothing: once for each settle.
 */
#define BOOKS_VERSION 2
#define BOOKS_1	      72

size_t spool_cursor_encode_books(uint8_t p[static SPOOL_CURSOR_BOOKS], uint64_t gen,
				 const struct spool_cursor *c)
{
	const uint64_t *lost = &c->lost[0][0];
	uint64_t any = c->lost_age;
	size_t size = BOOKS_1;

	put64(p + 8, gen);
	put64(p + 16, c->spool_id);
	put64(p + 24, c->start_seq);
	put64(p + 32, c->cursor_seq);
	put64(p + 40, c->acked);
	put64(p + 48, c->rejected);
	put64(p + 56, c->lost_limit);
	put64(p + 64, c->lost_damage);
	for (size_t i = 0; i < SPOOL_LOSSES * MSG_CLASSES; i++)
		any |= lost[i];
	if (any) {
		size = SPOOL_CURSOR_BOOKS;
		put64(p + 72, c->lost_age);
		for (size_t i = 0; i < SPOOL_LOSSES * MSG_CLASSES; i++)
			put64(p + 80 + 8 * i, lost[i]);
	}
	put32(p + 4, any ? BOOKS_VERSION : 1);
	put32(p, crc32c(2, p + 4, size - 4));
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

		size_t size = get32(p + 4) == BOOKS_VERSION ? SPOOL_CURSOR_BOOKS : BOOKS_1;

		if (get32(p) != crc32c(2, p + 4, size - 4) || get32(p + 4) > BOOKS_VERSION ||
		    get64(p + 8) <= gens.books || get64(p + 32) > SPOOL_SEQ_MAX)
			continue;
		gens.books = get64(p + 8);
		c.spool_id = get64(p + 16);
		c.start_seq = get64(p + 24);
		c.cursor_seq = get64(p + 32);
		c.acked = get64(p + 40);
		c.rejected = get64(p + 48);
		c.lost_limit = get64(p + 56);
		c.lost_damage = get64(p + 64);
		c.lost_age = size > BOOKS_1 ? get64(p + 72) : 0;
		for (size_t i = 0; i < SPOOL_LOSSES * MSG_CLASSES; i++)
			c.lost[i / MSG_CLASSES][i % MSG_CLASSES] =
				size > BOOKS_1 ? get64(p + 80 + 8 * i) : 0;
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
