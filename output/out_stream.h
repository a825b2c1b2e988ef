/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream to a peer that never says what it has: syslog's, IPFIX's. So we take the
 * best that TLS and TCP know:
 *
 *   - TLS 1.3: the peer's TLS is asked for a receipt (tls.h) several times a
 *     second. It says that the peer's program has taken the bytes from its
 *     socket, with no change at the receiver.
 *   - A peer that has never answered one (TLS 1.2; a library that waits until
 *     its program writes), or that has no TLS: its kernel has had the bytes for HOLD_MS
 *     and the connection is still there. A receiver that crashes loses what it had
 *     not read, and we do not learn of it.
 *   - An orderly end is worth all of it: after our close_notify and FIN, the
 *     peer's own close says that it had read everything.
 */
#pragma once

#include "output/out.h"

#define OUT_STREAM_POLL_MS 10
#define OUT_STREAM_HOLD_MS 50
#define OUT_STREAM_ASKS	   64 /* unanswered; a power of two */

struct out_stream_ask {
	uint64_t offset; /* of the stream: all before it is receipted */
};

struct out_stream {
	struct output *out;
	struct conn *conn; /* NULL: it is over, or was not begun */
	bool is_open, is_finishing;
	bool is_starved; /* the transport has said -EAGAIN */
	/* Called before each on_ready(): for what has to go first. May be NULL. */
	void (*before_ready)(struct output *out);
	struct out_marks marks;
	struct loop_timer poll;
	uint64_t progress_ms; /* when something was last settled, or first waited */

	bool by_tcp; /* no receipts from this peer: TCP's word must do */
	/* by_tcp: what had arrived each time we looked */
	uint64_t held[OUT_STREAM_HOLD_MS / OUT_STREAM_POLL_MS];
	unsigned n_held; /* counts on: the oldest is overwritten */
	struct out_stream_ask asks[OUT_STREAM_ASKS];
	uint64_t asked, answered; /* how many; the oldest unanswered is asks[answered] */
	uint64_t safe_bytes;	  /* up to where there is a receipt */
	uint64_t ask_ms;	  /* when the last one went out */
};

/*
 * Connects; on_ready(), on_settled() and on_down() follow. s stays where it is until
 * out_stream_close(), which is due after a failure, too. max_marks is a power of two.
 */
int out_stream_open(struct out_stream *s, struct output *out, uint32_t max_marks, bool with_tls);
void out_stream_close(struct out_stream *s);

/* 0: append to conn_out(s->conn), then say so. -EAGAIN: on_ready() will follow. -ENOTCONN. */
int out_stream_ready(struct out_stream *s);
/* These bytes, just appended, are message seq; 0 bytes: it is in what came before, too. */
void out_stream_sent(struct out_stream *s, uint64_t seq, size_t bytes);

/* These bytes, just appended, belong to no message. */
void out_stream_add(struct out_stream *s, size_t bytes);

void out_stream_flush(struct out_stream *s);
void out_stream_rest(struct out_stream *s);
void out_stream_finish(struct out_stream *s);
