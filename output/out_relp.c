/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RELP over TLS: each frame is answered. Keeps the session: which transactions
 * are open, which message each of them carries, and when to begin another
 * session. What is not answered with 200 when a session ends, and nothing else,
 * is the shipper's to give again: the number of open transactions at most.
 *
 * "200" says that the collector has received the message, not that it is on a
 * disk there: librelp answers so whatever becomes of it afterwards.
 */
#define _GNU_SOURCE
#include "output/out_relp.h"

#include <errno.h>
#include <stdlib.h>

#include "config/config.h"
#include "output/out.h"
#include "output/relp.h"
#include "user/util/pages.h"

#define WINDOW_MSGS  16384 /* a power of two */
#define WINDOW_BYTES (4u << 20)
#define CLOSE_MS     2000 /* for each step of a goodbye: all that matters is answered by then */

/*
 * RFC 5424, 6.1: every receiver should take 2048 bytes. A session that ends on
 * a frame above that, sent alone, three times, ends because of its size. Below it,
 * we need to see it more often to blame the message and not the peer.
 */
#define PLAIN_BYTES  2048
#define ABORTS_LARGE 3
#define ABORTS_PLAIN 5

uint32_t out_relp_last_txnr = 900000000;

_Static_assert(900000000 < RELP_TXNR_MAX, "far from where librelp fails");

enum state {
	STATE_DOWN,
	STATE_CONNECTING,
	STATE_OPENING, /* "open" is sent */
	STATE_READY,
	STATE_DRAINING, /* no more frames: the open ones are waited for */
	STATE_CLOSING,	/* "close" is sent */
	STATE_ENDING,	/* it is answered, or nobody is there: TLS and TCP end */
};

/* Why a session is drained, and so what follows. */
enum reason { REASON_NONE, REASON_FINISH, REASON_ROTATE, REASON_SERVERCLOSE, REASON_REFUSED };

struct transaction {
	uint64_t seq; /* 0: none, or answered */
	uint32_t bytes;
};

struct relp {
	struct output *out;
	struct conn *conn;
	enum state state;
	enum reason reason;
	bool is_starved; /* send() has said -EAGAIN */
	bool is_alone;	 /* what is open is one frame under suspicion */
	bool is_finishing;
	bool has_opened; /* this connection, as far as CONN_OPEN */
	struct transaction *ring;
	uint32_t head_txnr; /* the oldest open transaction */
	uint32_t next_txnr;
	uint32_t open; /* how many are */
	uint32_t close_txnr;
	uint64_t accepted; /* in this session */
	uint64_t progress_ms;
	struct loop_timer timer;
	struct out_sd sd;
	/* Neighbours that were accepted, not yet told. */
	uint64_t run_first, run_last;
	uint32_t run_txnr;
	/* Refused in this session; judged when all is answered. */
	uint64_t refused[OUTPUT_REFUSED_MAX];
	uint32_t n_refused;
	char refused_text[96];
};

static void on_conn(void *arg, enum conn_event event);

static struct transaction *transaction_of(const struct relp *r, uint32_t txnr)
{
	return &r->ring[txnr & (WINDOW_MSGS - 1)];
}

static void stop(struct relp *r)
{
	loop_timer_cancel(&r->timer);
	conn_free(r->conn);
	r->conn = NULL;
	r->state = STATE_DOWN;
}

/* "192.0.2.1:11514 (intake.example): " once there is a connection to speak of. */
#define PEER_FMT     "%s%s"
#define PEER_ARGS(r) (r)->has_opened ? conn_peer((r)->conn) : "", (r)->has_opened ? ": " : ""

static int connect_anew(struct relp *r)
{
	r->head_txnr = r->next_txnr = 1;
	r->open = r->close_txnr = 0;
	r->accepted = 0;
	r->n_refused = 0;
	r->is_alone = false;
	r->has_opened = false;
	r->reason = REASON_NONE;
	r->state = STATE_CONNECTING;
	return out_connect(r->out, OUT_MAX_BYTES, on_conn, r, &r->conn);
}

/* Something is waited for from now on. */
static void expect(struct relp *r, uint64_t ms)
{
	r->progress_ms = loop_now_ms(r->out->loop);
	loop_timer_set(r->out->loop, &r->timer, r->progress_ms + ms);
}

static void wake(struct relp *r)
{
	if (!r->is_starved || r->state != STATE_READY || r->is_alone ||
	    conn_out(r->conn)->len >= OUT_HIGH_BYTES)
		return;
	r->is_starved = false;
	r->out->events->on_ready(r->out->arg);
}

/* ------------------------------------------------------------------ a message alone is at fault */

/* The session has ended under open frames, by the peer's hand. */
static void blame(struct relp *r)
{
	struct output_memory *memory = &r->out->memory;
	struct transaction culprit = { 0 };
	uint32_t needed;
	char why[160];

	/* The first one without an answer, unless there is one that may be too large. */
	for (uint32_t txnr = r->head_txnr; txnr != r->next_txnr; txnr++) {
		const struct transaction *t = transaction_of(r, txnr);

		if (t->seq &&
		    (!culprit.seq || (t->bytes > PLAIN_BYTES && t->bytes > culprit.bytes)))
			culprit = *t;
	}
	/* A peer that was answering ends for another reason. */
	if (!culprit.seq || conn_in(r->conn)->len)
		return;
	if (culprit.bytes > PLAIN_BYTES) {
		memory->suspect_bytes = culprit.bytes;
		/* Among others it is a guess; from now on such a one goes alone. */
		if (r->open > 1)
			return;
	}
	needed = culprit.bytes > PLAIN_BYTES ? ABORTS_LARGE : ABORTS_PLAIN;
	if (culprit.seq != memory->suspect_seq) {
		memory->suspect_seq = culprit.seq;
		memory->suspect_aborts = 0;
	}
	memory->suspect_aborts++;
	if (memory->suspect_aborts < needed)
		return;
	snprintf(why, sizeof(why), "the peer ends its session on this message of %u bytes%s",
		 culprit.bytes, culprit.bytes > PLAIN_BYTES ? "; raise its size limit" : "");
	memory->suspect_seq = 0;
	memory->suspect_aborts = 0;
	r->out->events->on_settled(r->out->arg, culprit.seq, culprit.seq, OUTPUT_REJECTED, why);
}

static bool is_suspect(const struct relp *r, uint32_t bytes)
{
	return r->out->memory.suspect_bytes && bytes >= r->out->memory.suspect_bytes;
}

/* Stays so: what is rejected out of order may come again, and is known then. */
static bool was_refused(const struct output_memory *memory, uint64_t seq)
{
	for (unsigned i = 0; i < OUTPUT_REFUSED_MAX; i++)
		if (memory->refused[i] == seq)
			return true;
	return false;
}

/*
 * All is answered, some of it by an error. The first time it is the session's
 * fault; the second time the message's, but only if this session took others:
 * a peer that refuses everything is out of order, and nothing is given up.
 */
static void judge_refused(struct relp *r)
{
	struct output_memory *memory = &r->out->memory;
	char why[sizeof(r->refused_text) + 40];

	snprintf(why, sizeof(why), "the peer refuses it twice: %s", r->refused_text);
	for (uint32_t i = 0; r->accepted && i < r->n_refused; i++) {
		uint64_t seq = r->refused[i];

		if (was_refused(memory, seq))
			r->out->events->on_settled(r->out->arg, seq, seq, OUTPUT_REJECTED, why);
		else
			memory->refused[memory->n_refused++ % OUTPUT_REFUSED_MAX] = seq;
	}
	r->out->keep_target = r->accepted > 0;
	out_down(r->out, 0, PEER_FMT "the peer refuses %s: %s", PEER_ARGS(r),
		 r->accepted ? "some messages" : "every message", r->refused_text);
	stop(r);
}

/* ------------------------------------------------------------------ the end of a session */

static void drain(struct relp *r, enum reason reason)
{
	r->reason = reason;
	r->state = STATE_DRAINING;
}

static void ended(struct relp *r)
{
	int err;

	stop(r);
	if (r->reason == REASON_FINISH || r->is_finishing) {
		out_down(r->out, 0, "closed");
		return;
	}
	err = connect_anew(r);
	if (err) {
		out_down(r->out, 0, "connect: %s", log_strerror(err));
		stop(r);
	}
}

/* After the last answer, or when a drain begins with none due. */
static void drained(struct relp *r)
{
	if (r->state != STATE_DRAINING || r->open)
		return;
	switch (r->reason) {
	case REASON_REFUSED:
		judge_refused(r);
		return;
	case REASON_SERVERCLOSE:
		out_down(r->out, 0, PEER_FMT "the peer closes the session (serverclose)",
			 PEER_ARGS(r));
		stop(r);
		return;
	default:
		break;
	}
	r->close_txnr = r->next_txnr;
	r->state = STATE_CLOSING;
	if (relp_append(conn_out(r->conn), r->close_txnr, "close", SLICE("")) < 0) {
		ended(r);
		return;
	}
	conn_flush(r->conn);
	expect(r, CLOSE_MS);
}

static void closed(struct relp *r)
{
	r->state = STATE_ENDING;
	expect(r, CLOSE_MS);
	conn_finish(r->conn);
}

static void broken(struct relp *r, const char *what)
{
	out_down(r->out, 0, PEER_FMT "%s", PEER_ARGS(r), what);
	stop(r);
}

static void on_timer(void *arg, uint64_t now_ms)
{
	struct relp *r = arg;
	unsigned seconds = (unsigned)(r->out->config->output_timeout_ms / 1000);

	(void)now_ms;
	if (r->state == STATE_CLOSING || r->state == STATE_ENDING) {
		ended(r);
		return;
	}
	out_down(r->out, 0, PEER_FMT "no answer to %s for %u s", PEER_ARGS(r),
		 r->state == STATE_OPENING ? "\"open\"" : "what was sent", seconds);
	stop(r);
}

/* The connection is over: by an end, or by an error. */
static void on_over(struct relp *r, const char *what)
{
	uint64_t idle_ms = loop_now_ms(r->out->loop) - r->progress_ms;

	switch (r->state) {
	case STATE_CLOSING:
	case STATE_ENDING:
		ended(r);
		return;
	case STATE_READY:
	case STATE_DRAINING:
		/* A silence that ends in an error is the network's fault. */
		if (r->open && r->reason != REASON_SERVERCLOSE &&
		    idle_ms < r->out->config->output_timeout_ms / 2)
			blame(r);
		break;
	default:
		break;
	}
	broken(r, what);
}

/* ------------------------------------------------------------------ answers */

static void tell_accepted(struct relp *r)
{
	if (r->run_first)
		r->out->events->on_settled(r->out->arg, r->run_first, r->run_last, OUTPUT_ACKED,
					   NULL);
	r->run_first = 0;
}

static void on_accepted(struct relp *r, uint32_t txnr, const struct transaction *t)
{
	if (r->run_first && txnr == r->run_txnr + 1) {
		r->run_last = t->seq;
	} else {
		tell_accepted(r);
		r->run_first = r->run_last = t->seq;
	}
	r->run_txnr = txnr;
	r->accepted++;
	if (is_suspect(r, t->bytes)) {
		/* It takes this size after all. */
		r->out->memory.suspect_bytes = 0;
		r->out->memory.suspect_seq = 0;
	}
}

static void on_refused(struct relp *r, const struct transaction *t, const struct relp_rsp *rsp)
{
	if (!r->n_refused)
		snprintf(r->refused_text, sizeof(r->refused_text), "%d %.*s", rsp->code,
			 (int)(rsp->text.len < 64 ? rsp->text.len : 64),
			 rsp->text.len ? rsp->text.p : "");
	/* Above the ceiling they are not remembered, and so have their two tries later. */
	if (r->n_refused < OUTPUT_REFUSED_MAX)
		r->refused[r->n_refused++] = t->seq;
	if (r->state == STATE_READY || r->reason == REASON_ROTATE)
		drain(r, REASON_REFUSED);
}

/* The answer to "open": 0, or what is wrong with it. */
static const char *on_opened(struct relp *r, const struct relp_rsp *rsp)
{
	struct relp_offers offers;

	if (rsp->code != 200)
		return "the peer refuses the session";
	if (relp_parse_offers(rsp->data, &offers) < 0 || offers.version < 0)
		return "its answer to \"open\" is not RELP";
	if (offers.version > 1)
		return "it speaks a RELP version that we do not know";
	if (!offers.syslog)
		return "it does not offer the command syslog";
	loop_timer_cancel(&r->timer);
	r->head_txnr = r->next_txnr = 2;
	r->state = STATE_READY;
	r->is_starved = true; /* the shipper waits for the first one, too */
	if (r->is_finishing)
		drain(r, REASON_FINISH);
	return NULL;
}

static const char *on_rsp(struct relp *r, const struct relp_frame *f)
{
	struct transaction *t;
	struct relp_rsp rsp;

	if (r->close_txnr && f->txnr == r->close_txnr) {
		/* librelp says nothing in it, not even 200; all else is answered already. */
		closed(r);
		return NULL;
	}
	if (relp_parse_rsp(f->data, &rsp) < 0)
		return "its answer has no code";
	if (r->state == STATE_OPENING) {
		if (f->txnr != 1)
			return "it answers what was not asked";
		return on_opened(r, &rsp);
	}
	t = transaction_of(r, f->txnr);
	if (f->txnr < r->head_txnr || f->txnr >= r->next_txnr || !t->seq)
		return "it answers what was not asked";
	if (rsp.code == 200)
		on_accepted(r, f->txnr, t);
	else
		on_refused(r, t, &rsp);
	t->seq = 0;
	r->open--;
	r->is_alone = false;
	while (r->head_txnr != r->next_txnr && !transaction_of(r, r->head_txnr)->seq)
		r->head_txnr++;
	return NULL;
}

static const char *on_frame(struct relp *r, const struct relp_frame *f)
{
	if (r->state == STATE_ENDING)
		return NULL;
	if (slice_is(f->command, "rsp"))
		return on_rsp(r, f);
	if (slice_is(f->command, "serverclose")) {
		if (r->state == STATE_OPENING)
			return "the peer closes the session (serverclose)";
		if (r->state == STATE_CLOSING)
			closed(r);
		else if (r->reason != REASON_FINISH)
			drain(r, REASON_SERVERCLOSE);
		return NULL;
	}
	return "it sends a command that is not a server's";
}

static void on_data(struct relp *r)
{
	const char *wrong = NULL;
	struct relp_frame f;
	struct buf *in;
	ssize_t n = 0;

	/* All of it, as far as it goes; then it is told, once. */
	in = conn_in(r->conn);
	while (!wrong && (n = relp_parse(buf_slice(in), &f)) > 0) {
		wrong = on_frame(r, &f);
		buf_consume(in, (size_t)n);
	}
	tell_accepted(r);
	if (n < 0 || wrong) {
		broken(r, wrong ? wrong : "what it sends is not RELP");
		return;
	}
	if (r->state == STATE_READY || r->state == STATE_DRAINING) {
		if (r->open)
			expect(r, r->out->config->output_timeout_ms);
		else
			loop_timer_cancel(&r->timer);
	}
	drained(r);
	if (r->state != STATE_READY)
		return;
	if (r->next_txnr >= out_relp_last_txnr) {
		drain(r, REASON_ROTATE);
		drained(r);
		return;
	}
	wake(r);
}

static void on_conn(void *arg, enum conn_event event)
{
	struct relp *r = arg;

	switch (event) {
	case CONN_OPEN:
		r->has_opened = true;
		out_opened(r->out, r->conn);
		r->state = STATE_OPENING;
		expect(r, r->out->config->output_timeout_ms);
		if (relp_append_open(conn_out(r->conn)) < 0)
			broken(r, "out of memory");
		else
			conn_flush(r->conn);
		return;
	case CONN_DATA:
		on_data(r);
		return;
	case CONN_DRAIN:
		wake(r);
		return;
	case CONN_EOF:
		on_over(r, r->state == STATE_OPENING
				   ? "the peer closed the connection before it answered to \"open\""
			   : r->reason == REASON_SERVERCLOSE && r->state == STATE_DRAINING
				   ? "the peer closed the session (serverclose)"
				   : "the peer closed the connection");
		return;
	case CONN_ERROR:
		on_over(r, conn_error(r->conn));
		return;
	}
}

/* ------------------------------------------------------------------ what the shipper calls */

static void relp_out_close(struct output *out)
{
	struct relp *r = out->impl;

	if (!r)
		return;
	stop(r);
	free(r->ring);
	free(r);
	out->impl = NULL;
}

static int relp_out_open(struct output *out)
{
	struct relp *r;
	int err = -ENOMEM;

	if (!output_key(out->config, SLICE("")).p)
		return -ENOKEY;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	out->impl = r;
	r->out = out;
	r->timer = (struct loop_timer){ .fn = on_timer, .arg = r };
	r->ring = calloc(WINDOW_MSGS, sizeof(*r->ring));
	if (r->ring)
		err = connect_anew(r);
	if (err)
		relp_out_close(out);
	return err;
}

static int relp_out_send(struct output *out, const struct msg *m)
{
	struct relp *r = out->impl;
	const struct rfc5424_sd *sd = out_sd(out, &r->sd, m->route);
	bool suspect = false;
	size_t bytes;
	int err;

	if (r->state == STATE_DOWN)
		return -ENOTCONN;
	if (!sd)
		return -ENOKEY;
	if (r->state == STATE_READY && r->next_txnr >= out_relp_last_txnr) {
		drain(r, REASON_ROTATE);
		conn_flush(r->conn);
		drained(r);
	}
	if (r->state == STATE_READY && out->memory.suspect_bytes)
		suspect = is_suspect(r, (uint32_t)rfc5424_len(sd, m));
	if (r->state != STATE_READY || r->next_txnr - r->head_txnr >= WINDOW_MSGS || r->is_alone ||
	    (suspect && r->open) || conn_out(r->conn)->len >= OUT_HIGH_BYTES) {
		r->is_starved = true;
		if (r->state == STATE_READY)
			conn_flush(r->conn);
		return -EAGAIN;
	}
	err = relp_append_syslog(conn_out(r->conn), r->next_txnr, sd, m, &bytes);
	if (err)
		return err == -ENOBUFS ? -EMSGSIZE : err;
	/* What a size limit at the peer counts: the message, not the frame. */
	*transaction_of(r, r->next_txnr++) =
		(struct transaction){ .seq = m->seq, .bytes = (uint32_t)rfc5424_len(sd, m) };
	if (!r->open++)
		expect(r, out->config->output_timeout_ms);
	r->is_alone = suspect;
	out->sent_bytes += bytes;
	if (suspect || conn_out(r->conn)->len >= OUT_FLUSH_BYTES)
		conn_flush(r->conn);
	return 0;
}

static void relp_out_flush(struct output *out)
{
	struct relp *r = out->impl;

	if (r->conn && r->has_opened)
		conn_flush(r->conn);
}

static void relp_out_rest(struct output *out)
{
	struct relp *r = out->impl;

	if (r->next_txnr == r->head_txnr)
		pages_forget(r->ring, WINDOW_MSGS * sizeof(*r->ring));
	if (r->conn)
		conn_rest(r->conn);
}

static void relp_out_finish(struct output *out)
{
	struct relp *r = out->impl;

	if (r->state == STATE_DOWN || r->is_finishing)
		return;
	r->is_finishing = true;
	switch (r->state) {
	case STATE_CONNECTING:
		stop(r);
		out_down(out, 0, "closed");
		break;
	case STATE_READY:
		drain(r, REASON_FINISH);
		conn_flush(r->conn);
		drained(r);
		break;
	default:
		/* It ends already; ended() and on_opened() know what then follows. */
		break;
	}
}

const struct output_ops output_relp = {
	.name = "relp",
	.port = CONFIG_PORT_RELP,
	.window_msgs = WINDOW_MSGS,
	.window_bytes = WINDOW_BYTES,
	.open = relp_out_open,
	.send = relp_out_send,
	.flush = relp_out_flush,
	.rest = relp_out_rest,
	.finish = relp_out_finish,
	.probe = out_probe,
	.probe_end = out_probe_end,
	.close = relp_out_close,
};
