/* SPDX-License-Identifier: Apache-2.0 */
/* What the transports share among themselves, besides conn.h. In out.c and out_conn.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "output/conn.h"
#include "output/output.h"
#include "output/rfc5424.h"

/* What may wait to be written; send() says -EAGAIN from the half on, where CONN_DRAIN is. */
#define OUT_MAX_BYTES  (1u << 20)
#define OUT_HIGH_BYTES (OUT_MAX_BYTES / 2)
/* From here on it is worth a write(2) of its own, without waiting for flush(). */
#define OUT_FLUSH_BYTES (64u << 10)
#define OUT_IN_BYTES	(64u << 10)

_Static_assert(MSG_MAX_BYTES + 4096 < OUT_MAX_BYTES - OUT_HIGH_BYTES, "a frame fits above high");

/* The target's, or without one the region's. */
const char *out_host(const struct output *out);
/* The target's, the configured one, or the transport's own. */
uint16_t out_port(const struct output *out);

/*
 * conn_new() with what the configuration says about address, proxy, times and
 * names. Never without TLS: -EINVAL.
 */
int out_connect(struct output *out, size_t max_out_bytes, conn_fn fn, void *arg, struct conn **ret);
/* The same without TLS and without the proxy: for a collector in the own network. */
int out_connect_plain(struct output *out, size_t max_out_bytes, conn_fn fn, void *arg,
		      struct conn **ret);

/* struct output_ops, probe() and probe_end(), for all that go over a conn. */
int out_probe(struct output *out, const char *host, uint16_t port);
void out_probe_end(struct output *out);

/* Makes secrets in a peer's words unreadable: the key, also one that is cut at the end. */
void out_hide_key(const struct config *config, char *text);

/* Writes out->peer: call it at CONN_OPEN. */
void out_opened(struct output *out, const struct conn *c);

/* Enough for a cause with its cure. */
#define OUT_WHY_SIZE 768

/* on_down(), with a text whose control characters, from the peer or not, are made visible. */
void out_down(struct output *out, uint64_t retry_after_ms, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The SD element of a route's key: made again when the key is another one. */
struct out_sd {
	const char *key;
	struct rfc5424_sd sd;
};
/* NULL when there is no key for it. */
const struct rfc5424_sd *out_sd(const struct output *out, struct out_sd *cache, struct slice route);

/*
 * Where in a stream of bytes each message ends: what of it has arrived is
 * settled. All offsets count from the start of the connection.
 */
struct out_mark {
	uint64_t end, seq;
};
struct out_marks {
	struct out_mark *ring;
	uint32_t mask;
	uint64_t head, tail; /* positions: the oldest, and where the next one goes */
	uint64_t bytes;	     /* of the stream so far */
};

/* size is a power of two. 0 or -ENOMEM. */
int out_marks_init(struct out_marks *m, uint32_t size);
void out_marks_done(struct out_marks *m);

static inline bool out_marks_is_full(const struct out_marks *m)
{
	return m->tail - m->head > m->mask;
}

static inline bool out_marks_is_empty(const struct out_marks *m)
{
	return m->tail == m->head;
}

/* Gives back the memory that marks took which are no longer there. */
void out_marks_rest(struct out_marks *m);

/* The next bytes of the stream are message seq. It is not full. */
void out_marks_push(struct out_marks *m, uint64_t seq, size_t bytes);

/* Everything before offset has arrived. Returns whether that settled anything. */
bool out_marks_settle(struct output *out, struct out_marks *m, uint64_t offset);
