/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "output/out_stream.h"

#include <errno.h>

#include "config/config.h"

/* Neither TCP nor TLS tells when an acknowledgement comes in: we look once in POLL_MS. */
#define POLL_MS OUT_STREAM_POLL_MS
#define HOLD_MS OUT_STREAM_HOLD_MS
/* GnuTLS ends a connection with more than eight KeyUpdates a second. */
#define ASK_UNKNOWN_MS 250
/* One that has answered is not GnuTLS, which answers only when its program writes. */
#define ASK_MS 50
/* So many requests without any answer, and what came before is long acknowledged by TCP. */
#define ASK_TRIES 12
#define ASKS_MAX  OUT_STREAM_ASKS

static void stop(struct out_stream *s)
{
	loop_timer_cancel(&s->poll);
	conn_free(s->conn);
	s->conn = NULL;
	s->is_open = false;
}

static uint64_t written_bytes(const struct out_stream *s)
{
	return s->marks.bytes - conn_out(s->conn)->len;
}

/*
 * How many bytes of our stream the peer's kernel has. TLS makes more of them,
 * never less, so that to subtract its unacknowledged ones errs on the safe side.
 */
static uint64_t arrived_bytes(const struct out_stream *s)
{
	uint64_t written = written_bytes(s);
	int unacked = conn_unacked(s->conn);

	if (unacked < 0 || (uint64_t)unacked > written)
		return 0;
	return written - (uint64_t)unacked;
}

static uint64_t tcp_receipt(struct out_stream *s)
{
	uint64_t *held = &s->held[s->n_held++ % (HOLD_MS / POLL_MS)];
	uint64_t safe = *held;

	*held = arrived_bytes(s);
	return safe;
}

/* Counts the answers that came in; up to where the stream is safe. */
static uint64_t tls_receipt(struct out_stream *s)
{
	uint64_t got = conn_receipts(s->conn);

	if (got > s->answered)
		s->out->memory.gives_receipts = true;
	while (s->answered < got && s->answered < s->asked)
		s->safe_bytes = s->asks[s->answered++ & (ASKS_MAX - 1)].offset;
	return s->safe_bytes;
}

/*
 * Asks again as long as something is not receipted, and so once more than there
 * is something new: many hold an answer back until the next request arrives.
 */
static void ask(struct out_stream *s, uint64_t now_ms)
{
	uint32_t every_ms = s->out->memory.gives_receipts ? ASK_MS : ASK_UNKNOWN_MS;
	uint64_t written = written_bytes(s);
	int err;

	if (s->safe_bytes >= written || s->asked - s->answered >= ASKS_MAX ||
	    now_ms - s->ask_ms < every_ms)
		return;
	if (!s->out->memory.gives_receipts && s->asked >= ASK_TRIES) {
		/* Silent, although its kernel has it all? Then silence is no sign of distress. */
		if (arrived_bytes(s) >= s->asks[0].offset) {
			s->by_tcp = true;
			return;
		}
		if (s->asked - s->answered >= 2 * ASK_TRIES)
			return;
	}
	err = conn_ask_receipt(s->conn);
	if (err == -ENOTSUP)
		s->by_tcp = true;
	if (err)
		return;
	s->asks[s->asked++ & (ASKS_MAX - 1)].offset = written;
	s->ask_ms = now_ms;
}

/* Up to where the stream is safe, by the best means that this peer has. */
static uint64_t receipt(struct out_stream *s, uint64_t now_ms)
{
	uint64_t safe = tls_receipt(s);

	if (!s->by_tcp)
		ask(s, now_ms);
	if (s->by_tcp) {
		uint64_t held = tcp_receipt(s);

		return held > safe ? held : safe;
	}
	return safe;
}

static void arm_poll(struct out_stream *s)
{
	if (!out_marks_is_empty(&s->marks) && !loop_timer_is_set(&s->poll))
		loop_timer_set(s->out->loop, &s->poll, loop_now_ms(s->out->loop) + POLL_MS);
}

static void tell_ready(struct out_stream *s)
{
	if (s->before_ready)
		s->before_ready(s->out);
	s->out->events->on_ready(s->out->arg);
}

static void wake(struct out_stream *s)
{
	if (!s->is_starved || !s->is_open || s->is_finishing || out_marks_is_full(&s->marks) ||
	    conn_out(s->conn)->len >= OUT_HIGH_BYTES)
		return;
	s->is_starved = false;
	tell_ready(s);
}

static void on_poll(void *arg, uint64_t now_ms)
{
	struct out_stream *s = arg;

	if (out_marks_settle(s->out, &s->marks, receipt(s, now_ms)))
		s->progress_ms = now_ms;
	if (!out_marks_is_empty(&s->marks) &&
	    now_ms - s->progress_ms >= s->out->config->output_timeout_ms) {
		out_down(s->out, 0, "%s: nothing was read there for %u s", conn_peer(s->conn),
			 (unsigned)(s->out->config->output_timeout_ms / 1000));
		stop(s);
		return;
	}
	arm_poll(s);
	wake(s);
}

static void on_conn(void *arg, enum conn_event event)
{
	struct out_stream *s = arg;

	switch (event) {
	case CONN_OPEN:
		s->is_open = true;
		out_opened(s->out, s->conn);
		if (!s->is_finishing)
			tell_ready(s);
		return;
	case CONN_DATA:
		/* Nothing that such a receiver says means anything. */
		buf_clear(conn_in(s->conn));
		return;
	case CONN_DRAIN:
		wake(s);
		return;
	case CONN_EOF:
		if (s->is_finishing) {
			out_marks_settle(s->out, &s->marks, s->marks.bytes);
			out_down(s->out, 0, "closed");
		} else {
			out_down(s->out, 0, "%s: the peer closed the connection",
				 conn_peer(s->conn));
		}
		break;
	case CONN_ERROR:
		out_down(s->out, 0, "%s%s%s", s->is_open ? conn_peer(s->conn) : "",
			 s->is_open ? ": " : "", conn_error(s->conn));
		break;
	}
	stop(s);
}

int out_stream_open(struct out_stream *s, struct output *out, uint32_t max_marks, bool with_tls)
{
	int err;

	*s = (struct out_stream){ .out = out };
	s->poll = (struct loop_timer){ .fn = on_poll, .arg = s };
	err = out_marks_init(&s->marks, max_marks);
	if (err)
		return err;
	return with_tls ? out_connect(out, OUT_MAX_BYTES, on_conn, s, &s->conn)
			: out_connect_plain(out, OUT_MAX_BYTES, on_conn, s, &s->conn);
}

void out_stream_close(struct out_stream *s)
{
	stop(s);
	out_marks_done(&s->marks);
}

int out_stream_ready(struct out_stream *s)
{
	if (!s->conn)
		return -ENOTCONN;
	if (s->is_open && !out_marks_is_full(&s->marks) && conn_out(s->conn)->len < OUT_HIGH_BYTES)
		return 0;
	s->is_starved = true;
	if (s->is_open)
		conn_flush(s->conn);
	return -EAGAIN;
}

void out_stream_sent(struct out_stream *s, uint64_t seq, size_t bytes)
{
	if (out_marks_is_empty(&s->marks))
		s->progress_ms = loop_now_ms(s->out->loop);
	out_marks_push(&s->marks, seq, bytes);
	s->out->sent_bytes += bytes;
	if (conn_out(s->conn)->len >= OUT_FLUSH_BYTES)
		conn_flush(s->conn);
	arm_poll(s);
}

void out_stream_add(struct out_stream *s, size_t bytes)
{
	s->marks.bytes += bytes;
	s->out->sent_bytes += bytes;
}

void out_stream_rest(struct out_stream *s)
{
	out_marks_rest(&s->marks);
	if (s->conn)
		conn_rest(s->conn);
}

void out_stream_flush(struct out_stream *s)
{
	if (s->is_open)
		conn_flush(s->conn);
}

void out_stream_finish(struct out_stream *s)
{
	if (!s->conn || s->is_finishing)
		return;
	s->is_finishing = true;
	if (!s->is_open) {
		stop(s);
		out_down(s->out, 0, "closed");
		return;
	}
	/* From here on the better receipt counts, as it is soon to come. */
	loop_timer_cancel(&s->poll);
	conn_finish(s->conn);
}
