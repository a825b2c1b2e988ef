/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Syslog over TLS (RFC 5425): octet-counted frames, many in a TLS record.
 *
 * The protocol has no acknowledgement. What we take for one is receipt(), and
 * it is worth this: the peer's kernel has had the bytes for HOLD_MS, and the
 * connection is still there. A collector that crashes with bytes unread in its
 * socket tells us by a reset, and what arrived just before is sent again; one
 * that reads slower than that loses what it had not read, and we do not learn
 * of it. It is more than "written", which most senders count, and less than an
 * answer: who needs one takes relp or https. An orderly end is worth all of it:
 * after our close_notify and FIN, the peer's own close says that it had read
 * everything.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "config/config.h"
#include "output/out.h"

#define WINDOW_MSGS  65536 /* a power of two */
#define WINDOW_BYTES (16u << 20)
/* TCP tells nobody when an acknowledgement comes in, so we look once in this time. */
#define HOLD_MS 100

struct syslog {
	struct output *out;
	struct conn *conn;
	bool is_open, is_finishing;
	bool is_starved; /* send() has said -EAGAIN */
	struct out_marks marks;
	struct out_sd sd;
	struct loop_timer poll;
	uint64_t held_bytes;  /* what had arrived when we last looked */
	uint64_t progress_ms; /* when something last arrived, or first waited */
};

static void stop(struct syslog *s)
{
	loop_timer_cancel(&s->poll);
	conn_free(s->conn);
	s->conn = NULL;
	s->is_open = false;
}

/*
 * How many bytes of our stream the peer has. TLS makes more of them, never
 * less, so that to subtract its unacknowledged ones errs on the safe side.
 */
static uint64_t arrived_bytes(const struct syslog *s)
{
	uint64_t written = s->marks.bytes - conn_out(s->conn)->len;
	int unacked = conn_unacked(s->conn);

	if (unacked < 0 || (uint64_t)unacked > written)
		return 0;
	return written - (uint64_t)unacked;
}

/*
 * The receipt: up to where the stream is safe. Asked once in HOLD_MS. Another
 * kind of receipt (TLS 1.3's KeyUpdate is one) would take this function's place.
 */
static uint64_t receipt(struct syslog *s)
{
	uint64_t held = s->held_bytes;

	s->held_bytes = arrived_bytes(s);
	return held;
}

static void arm_poll(struct syslog *s)
{
	if (!out_marks_is_empty(&s->marks) && !loop_timer_is_set(&s->poll))
		loop_timer_set(s->out->loop, &s->poll, loop_now_ms(s->out->loop) + HOLD_MS);
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

	if (out_marks_settle(s->out, &s->marks, receipt(s)))
		s->progress_ms = now_ms;
	if (!out_marks_is_empty(&s->marks) &&
	    now_ms - s->progress_ms >= s->out->config->output_timeout_ms) {
		out_down(s->out, 0, "%s: nothing arrived there for %u s", conn_peer(s->conn),
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

	if (!output_key(out->config, SLICE("")))
		return -ENOKEY;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	out->impl = s;
	s->out = out;
	s->poll = (struct loop_timer){ .fn = on_poll, .arg = s };
	err = out_marks_init(&s->marks, WINDOW_MSGS);
	if (!err)
		err = out_connect(out, CONFIG_PORT_SYSLOG, OUT_MAX_BYTES, on_conn, s, &s->conn);
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
	.window_msgs = WINDOW_MSGS,
	.window_bytes = WINDOW_BYTES,
	.open = syslog_open,
	.send = syslog_send,
	.flush = syslog_flush,
	.finish = syslog_finish,
	.close = syslog_close,
};
