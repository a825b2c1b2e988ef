/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Syslog over TLS (RFC 5425): octet-counted frames, many in a TLS record.
 *
 * The protocol has no acknowledgement, so we take the best that is there:
 *
 *   - TLS 1.3: the peer's TLS is asked for a receipt (tls.h) several times a
 *     second. It says that the peer's program has taken the bytes from its
 *     socket, with no change at the receiver.
 *   - A peer that has never answered one (TLS 1.2; a library that waits until
 *     its program writes): its kernel has had the bytes for HOLD_MS and the
 *     connection is still there. A receiver that crashes loses what it had not
 *     read, and we do not learn of it.
 *   - An orderly end is worth all of it: after our close_notify and FIN, the
 *     peer's own close says that it had read everything.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "config/config.h"
#include "output/out.h"

#define WINDOW_MSGS  262144	/* a power of two; what a fast peer takes between two receipts */
#define WINDOW_BYTES (1u << 30) /* they are in the spool, not in memory */
/* Neither TCP nor TLS tells when an acknowledgement comes in: we look once in POLL_MS. */
#define POLL_MS 10
#define HOLD_MS 50
/* GnuTLS ends a connection with more than eight KeyUpdates a second. */
#define ASK_UNKNOWN_MS 250
/* One that has answered is not GnuTLS, which answers only when its program writes. */
#define ASK_MS 50
/* So many requests without any answer, and what came before is long acknowledged by TCP. */
#define ASK_TRIES 12
#define ASKS_MAX  64 /* unanswered; a power of two */

struct ask {
	uint64_t offset; /* of the stream: all before it is receipted */
};

struct syslog {
	struct output *out;
	struct conn *conn;
	bool is_open, is_finishing;
	bool is_starved; /* send() has said -EAGAIN */
	struct out_marks marks;
	struct out_sd sd;
	struct loop_timer poll;
	uint64_t progress_ms; /* when something was last settled, or first waited */

	bool by_tcp;			  /* no receipts from this peer: TCP's word must do */
	uint64_t held[HOLD_MS / POLL_MS]; /* by_tcp: what had arrived each time we looked */
	unsigned n_held;		  /* counts on: the oldest is overwritten */
	struct ask asks[ASKS_MAX];
	uint64_t asked, answered; /* how many; the oldest unanswered is asks[answered] */
	uint64_t safe_bytes;	  /* up to where there is a receipt */
	uint64_t ask_ms;	  /* when the last one went out */
};

static void stop(struct syslog *s)
{
	loop_timer_cancel(&s->poll);
	conn_free(s->conn);
	s->conn = NULL;
	s->is_open = false;
}

static uint64_t written_bytes(const struct syslog *s)
{
	return s->marks.bytes - conn_out(s->conn)->len;
}

/*
 * How many bytes of our stream the peer's kernel has. TLS makes more of them,
 * never less, so that to subtract its unacknowledged ones errs on the safe side.
 */
static uint64_t arrived_bytes(const struct syslog *s)
{
	uint64_t written = written_bytes(s);
	int unacked = conn_unacked(s->conn);

	if (unacked < 0 || (uint64_t)unacked > written)
		return 0;
	return written - (uint64_t)unacked;
}

static uint64_t tcp_receipt(struct syslog *s)
{
	uint64_t *held = &s->held[s->n_held++ % (HOLD_MS / POLL_MS)];
	uint64_t safe = *held;

	*held = arrived_bytes(s);
	return safe;
}

/* Counts the answers that came in; up to where the stream is safe. */
static uint64_t tls_receipt(struct syslog *s)
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
static void ask(struct syslog *s, uint64_t now_ms)
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
static uint64_t receipt(struct syslog *s, uint64_t now_ms)
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

static void arm_poll(struct syslog *s)
{
	if (!out_marks_is_empty(&s->marks) && !loop_timer_is_set(&s->poll))
		loop_timer_set(s->out->loop, &s->poll, loop_now_ms(s->out->loop) + POLL_MS);
}

static void wake(struct syslog *s)
{
	if (!s->is_starved || !s->is_open || s->is_finishing || out_marks_is_full(&s->marks) ||
	    conn_out(s->conn)->len >= OUT_HIGH_BYTES)
		return;
	s->is_starved = false;
	s->out->events->on_ready(s->out->arg);
}

static void on_poll(void *arg, uint64_t now_ms)
{
	struct syslog *s = arg;

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
	struct syslog *s = arg;

	switch (event) {
	case CONN_OPEN:
		s->is_open = true;
		out_opened(s->out, s->conn);
		if (!s->is_finishing)
			s->out->events->on_ready(s->out->arg);
		return;
	case CONN_DATA:
		/* Nothing that a syslog receiver says means anything. */
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

static void syslog_close(struct output *out)
{
	struct syslog *s = out->impl;

	if (!s)
		return;
	stop(s);
	out_marks_done(&s->marks);
	free(s);
	out->impl = NULL;
}

static int syslog_open(struct output *out)
{
	struct syslog *s;
	int err;

	if (!output_key(out->config, SLICE("")).p)
		return -ENOKEY;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	out->impl = s;
	s->out = out;
	s->poll = (struct loop_timer){ .fn = on_poll, .arg = s };
	err = out_marks_init(&s->marks, WINDOW_MSGS);
	if (!err)
		err = out_connect(out, OUT_MAX_BYTES, on_conn, s, &s->conn);
	if (err)
		syslog_close(out);
	return err;
}

static int syslog_send(struct output *out, const struct msg *m)
{
	struct syslog *s = out->impl;
	const struct rfc5424_sd *sd = out_sd(out, &s->sd, m->route);
	size_t bytes = 0;
	int err;

	if (!s->conn)
		return -ENOTCONN;
	if (!sd)
		return -ENOKEY;
	if (!s->is_open || out_marks_is_full(&s->marks) ||
	    conn_out(s->conn)->len >= OUT_HIGH_BYTES) {
		s->is_starved = true;
		if (s->is_open)
			conn_flush(s->conn);
		return -EAGAIN;
	}
	err = rfc5424_append_counted(conn_out(s->conn), sd, m, &bytes);
	if (err)
		return err == -ENOBUFS ? -EMSGSIZE : err;
	if (out_marks_is_empty(&s->marks))
		s->progress_ms = loop_now_ms(out->loop);
	out_marks_push(&s->marks, m->seq, bytes);
	out->sent_bytes += bytes;
	if (conn_out(s->conn)->len >= OUT_FLUSH_BYTES)
		conn_flush(s->conn);
	arm_poll(s);
	return 0;
}

static void syslog_flush(struct output *out)
{
	struct syslog *s = out->impl;

	if (s->is_open)
		conn_flush(s->conn);
}

static void syslog_finish(struct output *out)
{
	struct syslog *s = out->impl;

	if (!s->conn || s->is_finishing)
		return;
	s->is_finishing = true;
	if (!s->is_open) {
		stop(s);
		out_down(out, 0, "closed");
		return;
	}
	/* From here on the better receipt counts, as it is soon to come. */
	loop_timer_cancel(&s->poll);
	conn_finish(s->conn);
}

const struct output_ops output_syslog = {
	.name = "syslog",
	.port = CONFIG_PORT_SYSLOG,
	.window_msgs = WINDOW_MSGS,
	.window_bytes = WINDOW_BYTES,
	.open = syslog_open,
	.send = syslog_send,
	.flush = syslog_flush,
	.finish = syslog_finish,
	.probe = out_probe,
	.probe_end = out_probe_end,
	.close = syslog_close,
};
