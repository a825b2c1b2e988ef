/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTPS: POST PATH/array, one element for each event, which carries its key:
 *
 *   [{"intake_key":"KEY","json":"<the event, as a JSON string>","timestamp":"…"}, …]
 *
 * Requests are few and large by the platform's rules, and an answer may take
 * seconds. So there are lanes: each is a connection with one request in flight, while
 * the next one is built. A full batch takes a lane of its own; one that is not full waits
 * until nothing is in flight. A lane keeps its batch until all of it is answered: what is
 * refused as a whole is sent again in halves, down to the event at fault, and
 * the shipper need not know.
 *
 * When one request fails, no other is begun; those that are out have their answers
 * first, so that nothing is sent again that was taken.
 */
#define _GNU_SOURCE
#include "output/out_https.h"

#include <errno.h>
#include <libdeflate.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "output/http1.h"
#include "output/intake_answer.h"
#include "output/msg_json.h"
#include "output/out.h"
#include "user/util/clock.h"
#include "user/util/json_writer.h"
#include "user/util/pages.h"

#define BATCH_EVENTS 10000
#define LANES_MAX    CONFIG_REQUESTS_IN_FLIGHT_MAX
#define WINDOW_MSGS  65536
#define WINDOW_BYTES (32u << 20)
#define GZIP_LEVEL   1
#define HEAD_BYTES   2048
#define PATH_BYTES   1024
#define SPLITS	     32 /* ranges that wait: two for each halving */
#define SUSPECTS     8	/* events refused one after the other: more, and it is not the events */
#define SMALL_BATCH  (64u << 10)
#define KEY_RETRY_MS 60000
#define WAIT_MAX_MS  (3600 * 1000)
#define CLOSE_MS     2000 /* for the peer's side of a goodbye */
#define LANES_REGAIN 32	  /* requests that are taken, and one more is tried at a time */

#define ELEMENT_KEY   "{\"intake_key\":\""
#define ELEMENT_JSON  "\",\"json\":\""
#define ELEMENT_TIME  "\",\"timestamp\":\""
#define ELEMENT_END   "\"}"
#define PREFIX_BYTES  (JSON_ESCAPE_MAX * RFC5424_KEY_MAX + 64)
#define ELEMENT_EXTRA (PREFIX_BYTES + 128)
#define ELEMENT_MAX   (JSON_ESCAPE_TWICE_MAX * (MSG_MAX_BYTES + 4096) + ELEMENT_EXTRA)

uint32_t out_https_refused_pause_ms = 1000;

struct event {
	uint64_t seq;
	uint32_t start; /* in the body */
	uint16_t status;
	bool is_refused;
};

/* '[', elements with ',' between them, ']': any range of them is made a body of its own. */
struct batch {
	struct buf body;
	size_t used; /* of its memory, ever */
	struct event *events;
	uint32_t n;
};

struct range {
	uint32_t first, end;
};

/* One connection, and the batch that is in flight on it. */
struct lane {
	struct https *h;
	struct conn *conn;
	bool is_open;
	bool is_asking;	  /* a request is out, or on its way */
	bool is_repeated; /* it is the second try, after a connection that was let go */
	bool has_left;	  /* it has failed: nothing more happens here */

	struct batch *flight;
	struct range todo[SPLITS]; /* of it; the last one is next */
	uint32_t n_todo;
	struct range asked; /* what the request out there has */
	uint32_t suspects[SUSPECTS];
	uint32_t n_suspects;
	int suspect_status;
	bool was_split, was_refused; /* the batch in flight; an event of it, for good */
	uint64_t largest_ok;	     /* body bytes */

	struct http1_response response;
	struct intake_answer answer;
	uint64_t body_bytes, received;
	bool is_bad_json;
	uint32_t requests; /* on this connection */
	uint64_t marker;   /* where things stood when the timeout was set */
	struct loop_timer timeout;
};

struct https {
	struct output *out;
	bool is_down;	 /* on_down() was called: nothing more happens */
	bool is_ready;	 /* on_ready() was called a first time */
	bool is_starved; /* send() has said -EAGAIN */
	bool is_flushed; /* what is being built may go */
	bool is_full;	 /* it must */
	bool is_finishing;
	bool is_ending;	 /* all is answered, and we have said goodbye */
	bool is_leaving; /* on_down() follows as soon as nothing is in flight: */
	char why[OUT_WHY_SIZE];
	uint64_t retry_after_ms;
	char path[PATH_BYTES + 8];
	uint64_t batch_bytes;
	struct libdeflate_compressor *gzip;

	struct batch batches[LANES_MAX + 1];
	struct batch *building;
	struct lane lanes[LANES_MAX];
	uint32_t n_lanes;
	char prefix[PREFIX_BYTES];
	size_t prefix_len;
	const char *prefix_key;

	bool has_warned;
	uint64_t next_ms; /* before this no request starts */
	struct loop_timer pace;
	struct loop_timer soon; /* on_ready(), which must not come from inside send() or flush() */
	struct loop_timer goodbye;
};

static void on_conn(void *arg, enum conn_event event);
static void try_start(struct https *h);

static void drop_conn(struct lane *l)
{
	conn_free(l->conn);
	l->conn = NULL;
	l->is_open = false;
	l->requests = 0;
}

static void stop(struct https *h)
{
	h->is_down = true;
	loop_timer_cancel(&h->pace);
	loop_timer_cancel(&h->soon);
	loop_timer_cancel(&h->goodbye);
	for (uint32_t i = 0; i < h->n_lanes; i++) {
		loop_timer_cancel(&h->lanes[i].timeout);
		drop_conn(&h->lanes[i]);
	}
}

static const char *peer_of(const struct lane *l)
{
	return l->conn ? conn_peer(l->conn) : out_host(l->h->out);
}

static uint32_t n_asking(const struct https *h)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < h->n_lanes; i++)
		n += h->lanes[i].is_asking;
	return n;
}

static uint32_t n_open(const struct https *h)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < h->n_lanes; i++)
		n += h->lanes[i].is_open;
	return n;
}

/* How many may be in flight: what is configured, or what this peer was seen to take. */
static uint32_t lanes_now(const struct https *h)
{
	uint32_t learned = h->out->memory.lanes;

	return learned && learned < h->n_lanes ? learned : h->n_lanes;
}

static void allow_lanes(struct https *h, uint32_t n)
{
	h->out->memory.lanes = n ? n : 1;
	h->out->memory.lanes_worked = 0;
}

/* A request was taken: after a while the peer may take more of them at a time. */
static void regain_lanes(struct https *h)
{
	struct output_memory *memory = &h->out->memory;

	if (!memory->lanes || ++memory->lanes_worked < LANES_REGAIN)
		return;
	allow_lanes(h, memory->lanes + 1);
	if (memory->lanes >= h->n_lanes)
		memory->lanes = 0;
}

/* Nothing is in flight any more: what was to be said of the first failure is said. */
static void end_leaving(struct https *h)
{
	if (!h->is_leaving || h->is_down || n_asking(h))
		return;
	out_down(h->out, h->retry_after_ms, "%s", h->why);
	stop(h);
}

/* This lane has failed. The others end what they have begun; then it is told. */
__attribute__((format(printf, 3, 4))) static void leave(struct lane *l, uint64_t retry_after_ms,
							const char *fmt, ...)
{
	struct https *h = l->h;
	va_list ap;

	if (!h->is_leaving) {
		va_start(ap, fmt);
		vsnprintf(h->why, sizeof(h->why), fmt, ap);
		va_end(ap);
	}
	if (retry_after_ms > h->retry_after_ms)
		h->retry_after_ms = retry_after_ms;
	h->is_leaving = l->has_left = true;
	loop_timer_cancel(&h->pace);
	for (uint32_t i = 0; i < h->n_lanes; i++) {
		struct lane *x = &h->lanes[i];

		if (x->is_open && x != l)
			continue;
		loop_timer_cancel(&x->timeout);
		x->is_asking = false;
		drop_conn(x);
	}
	end_leaving(h);
}

/* ------------------------------------------------------------------ building */

static void batch_clear(struct batch *b)
{
	buf_clear(&b->body);
	b->n = 0;
}

static int batch_init(struct batch *b, size_t max_bytes)
{
	buf_init(&b->body, max_bytes);
	b->events = calloc(BATCH_EVENTS, sizeof(*b->events));
	return b->events ? 0 : -ENOMEM;
}

/* The key is in it. What was never used stays so: it would only then be real memory. */
static void batch_wipe(struct batch *b)
{
	if (b->body.base)
		explicit_bzero(b->body.base, b->used < b->body.cap ? b->used : b->body.cap);
	buf_done(&b->body);
}

static void batch_rest(struct batch *b)
{
	pages_forget(b->events + b->n, (BATCH_EVENTS - b->n) * sizeof(*b->events));
	buf_rest(&b->body);
	b->used = b->body.off + b->body.len;
}

static char *put(char *at, const void *p, size_t n)
{
	memcpy(at, p, n);
	return at + n;
}
#define PUT_LITERAL(at, text) put(at, text, sizeof(text) - 1)

/* The part of an element before the event, for this key. */
static int set_prefix(struct https *h, struct slice key)
{
	char *at = h->prefix;
	int err;

	h->prefix_key = NULL;
	if (key.len > RFC5424_KEY_MAX)
		return -EMSGSIZE;
	at = PUT_LITERAL(at, ELEMENT_KEY);
	err = json_escape(at, JSON_ESCAPE_MAX * RFC5424_KEY_MAX, key, &at);
	if (err)
		return err;
	at = PUT_LITERAL(at, ELEMENT_JSON);
	h->prefix_len = (size_t)(at - h->prefix);
	h->prefix_key = key.p;
	return 0;
}

/* Writes one element at dst, where there is room for the worst case up to end. */
static char *put_element(const struct https *h, char *dst, const char *end, const struct msg *m)
{
	char time[CLOCK_RFC3339_SIZE];
	size_t n;

	dst = put(dst, h->prefix, h->prefix_len);
	dst = msg_put_json_string(dst, end, m);
	if (!dst)
		return NULL;
	dst = PUT_LITERAL(dst, ELEMENT_TIME);
	n = clock_format_rfc3339(m->time_us, time);
	dst = put(dst, time, n);
	return PUT_LITERAL(dst, ELEMENT_END);
}

/* 0; -ENOSPC when the batch has enough and this event is for the next one; -errno. */
static int batch_add(struct https *h, struct batch *b, const struct msg *m)
{
	size_t bound = 1 + ELEMENT_EXTRA + JSON_ESCAPE_MAX * m->json.len +
		       JSON_ESCAPE_TWICE_MAX * m->text.len;
	size_t all;
	char *at, *end;
	int err;

	if (b->n == BATCH_EVENTS)
		return -ENOSPC;
	if (m->json.len + m->text.len > MSG_MAX_BYTES + 4096)
		return -EMSGSIZE;
	/* At once what it will come to, so that it leaves no smaller pieces behind as it grows. */
	err = b->n ? 0 : buf_reserve(&b->body, h->batch_bytes + 1, &at);
	if (!err)
		err = buf_reserve(&b->body, bound, &at);
	if (err)
		return err == -ENOBUFS ? -ENOSPC : err;
	if (b->used < b->body.len + bound)
		b->used = b->body.len + bound;
	*at = b->n ? ',' : '[';
	end = put_element(h, at + 1, at + bound, m);
	if (!end)
		return -EMSGSIZE;
	all = (size_t)(end - at);
	if (b->n && b->body.len + all + 1 > h->batch_bytes)
		return -ENOSPC;
	b->events[b->n++] = (struct event){ .seq = m->seq, .start = (uint32_t)b->body.len + 1 };
	buf_added(&b->body, all);
	return 0;
}

static uint32_t event_end(const struct batch *b, uint32_t i)
{
	return (i + 1 < b->n ? b->events[i + 1].start : (uint32_t)b->body.len) - 1;
}

/* ------------------------------------------------------------------ asking */

static size_t out_bytes_max(const struct https *h, size_t body_bytes)
{
	size_t bound = h->gzip ? libdeflate_gzip_compress_bound(h->gzip, body_bytes) : body_bytes;

	return bound + HEAD_BYTES;
}

static int connect_anew(struct lane *l)
{
	struct https *h = l->h;

	return out_connect(h->out, out_bytes_max(h, h->building->body.max_bytes), on_conn, l,
			   &l->conn);
}

/*
 * The head names the length of what follows it, so the body comes first, in
 * its place behind the longest head, and moves up. It is small by then.
 */
static int append_request(struct lane *l, struct slice body)
{
	struct https *h = l->h;
	struct http1_request request = {
		.method = "POST",
		.host = out_host(h->out),
		.port = out_port(h->out),
		.default_port = CONFIG_PORT_HTTPS,
		.path = h->path,
		.content_type = "application/json",
		.content_encoding = h->gzip ? "gzip" : NULL,
	};
	struct buf *out = conn_out(l->conn);
	size_t all = out_bytes_max(h, body.len), len;
	struct buf head;
	char *at;
	int err;

	err = buf_reserve(out, all, &at);
	if (err)
		return err;
	if (h->gzip) {
		len = libdeflate_gzip_compress(h->gzip, body.p, body.len, at + HEAD_BYTES,
					       all - HEAD_BYTES);
		if (!len)
			return -ENOBUFS;
	} else {
		len = body.len;
	}
	request.content_length = len;
	buf_init(&head, HEAD_BYTES - 1);
	err = http1_append_request(&head, &request);
	if (!err) {
		memcpy(at, buf_data(&head), head.len);
		if (h->gzip)
			memmove(at + head.len, at + HEAD_BYTES, len);
		else
			memcpy(at + head.len, body.p, len);
		buf_added(out, head.len + len);
		h->out->sent_bytes += head.len + len;
	}
	buf_done(&head);
	return err;
}

static void on_event_refused(void *arg, uint64_t index, unsigned status)
{
	struct lane *l = arg;
	struct event *e;

	if (index >= l->asked.end - l->asked.first)
		return;
	e = &l->flight->events[l->asked.first + index];
	e->is_refused = true;
	if (status)
		e->status = (uint16_t)(status > 999 ? 999 : status);
}

/* What of the requests is not at the peer yet. */
static uint64_t unsent_bytes(const struct lane *l)
{
	int unacked;

	if (!l->conn)
		return 0;
	unacked = l->is_open ? conn_unacked(l->conn) : 0;
	return conn_out(l->conn)->len + (uint64_t)(unacked < 0 ? 0 : unacked);
}

/* All that moves when something moves. */
static uint64_t progress_marker(const struct lane *l)
{
	return l->received * 31 + unsent_bytes(l);
}

static void arm_timeout(struct lane *l)
{
	struct output *out = l->h->out;

	l->marker = progress_marker(l);
	loop_timer_set(out->loop, &l->timeout,
		       loop_now_ms(out->loop) + out->config->output_timeout_ms);
}

/* Puts the range that is asked for on the open connection. */
static void ask(struct lane *l)
{
	struct batch *b = l->flight;
	uint32_t first = b->events[l->asked.first].start - 1;
	uint32_t last = event_end(b, l->asked.end - 1);
	char *base = buf_data(&b->body), before = base[first], after = base[last];
	int err;

	base[first] = '[';
	base[last] = ']';
	err = append_request(l, (struct slice){ base + first, last - first + 1 });
	base[first] = before;
	base[last] = after;
	if (err) {
		leave(l, 0, "%s: make the request: %s", peer_of(l), log_strerror(err));
		return;
	}
	l->response = (struct http1_response){ 0 };
	l->answer = (struct intake_answer){ .refused = on_event_refused, .arg = l };
	l->body_bytes = 0;
	l->is_bad_json = false;
	l->requests++;
	for (uint32_t i = l->asked.first; i < l->asked.end; i++) {
		b->events[i].is_refused = false;
		b->events[i].status = 0;
	}
	conn_flush(l->conn);
	arm_timeout(l);
}

/* May the batch that is being built go, now that so many requests are in flight? */
static bool is_built(const struct https *h, uint32_t asking)
{
	if (!h->building->n || asking >= lanes_now(h))
		return false;
	return h->is_full || h->is_finishing || (h->is_flushed && !asking);
}

/* A lane that has nothing out, but something to ask: the rest of its batch, or the next batch. */
static struct lane *idle_lane(struct https *h)
{
	uint32_t asking = n_asking(h);
	struct lane *idle = NULL;

	for (uint32_t i = 0; i < h->n_lanes; i++) {
		struct lane *l = &h->lanes[i];

		if (l->is_asking)
			continue;
		if (l->n_todo)
			return l;
		if (!idle)
			idle = l;
	}
	return is_built(h, asking) ? idle : NULL;
}

static void take_next(struct lane *l)
{
	struct https *h = l->h;
	struct batch *done = l->flight;

	if (!l->n_todo) {
		l->flight = h->building;
		h->building = done;
		batch_clear(h->building);
		/* There is room for the closing bracket: see batch_add(). */
		buf_append(&l->flight->body, "]", 1);
		h->is_full = h->is_flushed = false;
		l->n_suspects = 0;
		l->was_split = l->was_refused = false;
		l->largest_ok = 0;
		l->todo[l->n_todo++] = (struct range){ 0, l->flight->n };
	}
	l->asked = l->todo[--l->n_todo];
}

static void on_soon(void *arg, uint64_t now_ms)
{
	struct https *h = arg;

	(void)now_ms;
	if (!h->is_starved || h->is_full || h->is_finishing || h->is_leaving || h->is_down)
		return;
	h->is_starved = false;
	h->out->events->on_ready(h->out->arg);
}

static void closed(struct https *h)
{
	out_down(h->out, 0, "closed");
	stop(h);
}

/* A connection has ended after our goodbye; with the last one all has. */
static void ended(struct lane *l)
{
	struct https *h = l->h;

	drop_conn(l);
	for (uint32_t i = 0; i < h->n_lanes; i++)
		if (h->lanes[i].conn)
			return;
	closed(h);
}

static void on_goodbye(void *arg, uint64_t now_ms)
{
	(void)now_ms;
	closed(arg);
}

static void say_goodbye(struct https *h)
{
	uint32_t open = 0;

	if (h->is_ending)
		return;
	h->is_ending = true;
	for (uint32_t i = 0; i < h->n_lanes; i++) {
		struct lane *l = &h->lanes[i];

		if (l->is_open) {
			conn_finish(l->conn);
			open++;
		} else {
			drop_conn(l);
		}
	}
	if (!open)
		closed(h);
	else
		loop_timer_set(h->out->loop, &h->goodbye, loop_now_ms(h->out->loop) + CLOSE_MS);
}

static void start(struct lane *l)
{
	int err;

	take_next(l);
	l->is_asking = true;
	l->is_repeated = false;
	if (l->is_open) {
		ask(l);
	} else if (!l->conn) {
		err = connect_anew(l);
		if (err)
			leave(l, 0, "connect: %s", log_strerror(err));
	}
}

/* Starts the next requests, if there are any, their time has come and the road is clear. */
static void try_start(struct https *h)
{
	uint64_t now_ms = loop_now_ms(h->out->loop);
	uint64_t per_second = h->out->config->output_requests_per_second;
	struct lane *l;

	while (!h->is_down && !h->is_leaving && (l = idle_lane(h))) {
		if (now_ms < h->next_ms) {
			loop_timer_set(h->out->loop, &h->pace, h->next_ms);
			return;
		}
		h->next_ms = now_ms + (per_second ? (1000 + per_second - 1) / per_second : 0);
		start(l);
		if (h->is_starved && !h->is_down)
			loop_timer_set(h->out->loop, &h->soon, now_ms);
	}
	if (h->is_finishing && !h->is_down && !h->is_leaving && !n_asking(h) && !h->building->n)
		say_goodbye(h);
}

static void on_pace(void *arg, uint64_t now_ms)
{
	(void)now_ms;
	try_start(arg);
}

static void on_timeout(void *arg, uint64_t now_ms)
{
	struct lane *l = arg;

	(void)now_ms;
	if (progress_marker(l) != l->marker) {
		arm_timeout(l);
		return;
	}
	leave(l, 0, "%s: no answer for %u s", peer_of(l),
	      (unsigned)(l->h->out->config->output_timeout_ms / 1000));
}

/* ------------------------------------------------------------------ answers */

static void down(struct lane *l, uint64_t retry_after_ms, const char *what)
{
	leave(l, retry_after_ms, "%s: %s", peer_of(l), what);
}

static const char *refusal_text(int status, char *text, size_t size)
{
	if (status == 413)
		return "event too large for the intake";
	if (status)
		snprintf(text, size, "the intake refuses this event (%d)", status);
	else
		snprintf(text, size, "the intake refuses this event");
	return text;
}

/* It is not the events: they stay, until the key is another one or is let in again. */
static void down_for_key(struct lane *l, uint64_t wait_ms, int status)
{
	char text[96];

	l->h->out->keep_target = true;
	snprintf(text, sizeof(text), "intake key refused (%d): check intake.key%s", status,
		 l->h->out->config->intake_routes ? " and intake.routes" : "");
	down(l, wait_ms ? wait_ms : KEY_RETRY_MS, text);
}

/* Refused for now, or for the key, and not for what the event is. */
static bool is_temporary(unsigned status)
{
	return status == 401 || status == 403 || status == 408 || status == 429 || status >= 500;
}

/* The status when each event of this answer is refused for its key, which they share; else 0. */
static int key_status(const struct lane *l)
{
	const struct event *events = l->flight->events;

	for (uint32_t i = l->asked.first; i < l->asked.end; i++)
		if (!events[i].is_refused ||
		    (events[i].status != 401 && events[i].status != 403 && events[i].status != 422))
			return 0;
	return events[l->asked.first].status;
}

static void reject_suspects(struct lane *l)
{
	char text[64];

	l->was_refused |= l->n_suspects > 0;
	for (uint32_t i = 0; i < l->n_suspects; i++) {
		const struct event *e = &l->flight->events[l->suspects[i]];

		l->h->out->events->on_settled(l->h->out->arg, e->seq, e->seq, OUTPUT_REJECTED,
					      refusal_text(e->status, text, sizeof(text)));
	}
	l->n_suspects = 0;
}

/* Settles the range that was asked for. Returns how many are to be tried again. */
static uint32_t settle_asked(struct lane *l)
{
	const struct event *events = l->flight->events;
	uint32_t i = l->asked.first, start, later = 0;
	char text[64];

	while (i < l->asked.end) {
		start = i;
		if (events[i].is_refused) {
			if (is_temporary(events[i].status))
				later++;
			else
				l->h->out->events->on_settled(
					l->h->out->arg, events[i].seq, events[i].seq,
					OUTPUT_REJECTED,
					refusal_text(events[i].status, text, sizeof(text)));
			i++;
			continue;
		}
		while (i < l->asked.end && !events[i].is_refused)
			i++;
		l->h->out->events->on_settled(l->h->out->arg, events[start].seq, events[i - 1].seq,
					      OUTPUT_ACKED, NULL);
	}
	return later;
}

static uint64_t asked_bytes(const struct lane *l)
{
	return event_end(l->flight, l->asked.end - 1) - l->flight->events[l->asked.first].start + 2;
}

/* Nothing of the batch is left. */
static void on_batch_done(struct lane *l)
{
	struct output_memory *memory = &l->h->out->memory;
	char text[96];

	if (l->n_suspects) {
		if (!memory->worked) {
			snprintf(text, sizeof(text),
				 "it refuses everything (%d); check output.host and output.path",
				 l->suspect_status);
			down(l, 0, text);
			return;
		}
		reject_suspects(l);
		memory->worked = false;
	}
	/* Its parts were taken and it was not: such a batch is too large for what is there. */
	if (l->was_split && !l->was_refused && l->largest_ok && l->largest_ok < l->h->batch_bytes) {
		l->h->batch_bytes = l->largest_ok > SMALL_BATCH ? l->largest_ok : SMALL_BATCH;
		memory->batch_bytes = l->h->batch_bytes;
	}
}

static void on_accepted(struct lane *l)
{
	uint32_t later;
	char text[96];
	int status;

	if (l->body_bytes && (l->is_bad_json || intake_answer_end(&l->answer) < 0)) {
		down(l, 0, "its answer is not an intake's; check output.host and output.path");
		return;
	}
	if (l->answer.has_ids && l->answer.entries != l->asked.end - l->asked.first &&
	    !l->h->has_warned) {
		l->h->has_warned = true;
		log_warning("https %s: took %u events and names %llu; counted as delivered",
			    peer_of(l), l->asked.end - l->asked.first,
			    (unsigned long long)l->answer.entries);
	}
	status = key_status(l);
	if (status) {
		down_for_key(l, 0, status);
		return;
	}
	l->h->out->memory.worked = true;
	regain_lanes(l->h);
	reject_suspects(l);
	if (asked_bytes(l) > l->largest_ok)
		l->largest_ok = asked_bytes(l);
	later = settle_asked(l);
	if (later) {
		snprintf(text, sizeof(text), "it could not take %u of %u events", later,
			 l->asked.end - l->asked.first);
		down(l, 0, text);
	}
}

/* 413, or 400: at least one event of these is at fault. */
static void on_refused(struct lane *l, int status)
{
	uint32_t n = l->asked.end - l->asked.first, middle = l->asked.first + n / 2;
	uint64_t not_before = loop_now_ms(l->h->out->loop) + out_https_refused_pause_ms;
	char text[96];

	if (l->h->next_ms < not_before)
		l->h->next_ms = not_before;
	l->suspect_status = status;
	if (n > 1) {
		/* The depth of halving BATCH_EVENTS is far below SPLITS. */
		l->was_split = true;
		l->todo[l->n_todo++] = (struct range){ middle, l->asked.end };
		l->todo[l->n_todo++] = (struct range){ l->asked.first, middle };
		return;
	}
	if (l->n_suspects == SUSPECTS) {
		snprintf(
			text, sizeof(text),
			"it refuses one event after the other (%d); check output.host and output.path",
			status);
		down(l, 0, text);
		return;
	}
	l->flight->events[l->asked.first].status = (uint16_t)status;
	l->suspects[l->n_suspects++] = l->asked.first;
}

/* If it was asked more than one thing at a time, fewer may be better. */
static void too_many(struct lane *l)
{
	if (n_asking(l->h))
		allow_lanes(l->h, lanes_now(l->h) / 2);
}

static void on_status(struct lane *l, int status)
{
	uint64_t wait_s = l->response.retry_after_s, wait_ms;
	char text[128];

	wait_ms = wait_s < WAIT_MAX_MS / 1000 ? wait_s * 1000 : WAIT_MAX_MS;
	switch (status) {
	case 200 ... 299:
		on_accepted(l);
		return;
	case 400:
	case 413:
		on_refused(l, status);
		return;
	case 422:
		down_for_key(l, wait_ms, status);
		return;
	case 300 ... 399:
		snprintf(
			text, sizeof(text),
			"it redirects (%d), which is not followed; check output.host and output.path",
			status);
		break;
	case 401:
	case 403:
		l->h->out->keep_target = true;
		snprintf(
			text, sizeof(text),
			"access refused (%d); check intake.key, and whether this address is blocked",
			status);
		break;
	case 404:
	case 405:
		snprintf(text, sizeof(text),
			 "no intake there (%d); check output.host and output.path", status);
		break;
	case 429:
		too_many(l);
		l->h->out->keep_target = true;
		snprintf(text, sizeof(text), "too many requests (429)");
		break;
	case 503:
		too_many(l);
		/* fall through */
	default:
		snprintf(text, sizeof(text), "it answers %d", status);
		break;
	}
	down(l, wait_ms, text);
}

/* The answer is complete. */
static void on_answered(struct lane *l)
{
	struct https *h = l->h;

	loop_timer_cancel(&l->timeout);
	l->is_asking = false;
	on_status(l, l->response.status);
	if (!l->has_left) {
		/* An answer to a request that is not all out yet: the rest of it is useless. */
		if (!l->response.keep_alive || (l->conn && conn_out(l->conn)->len))
			drop_conn(l);
		if (!l->n_todo)
			on_batch_done(l);
	}
	try_start(h);
	end_leaving(h);
}

static void on_data(struct lane *l)
{
	struct buf *in = conn_in(l->conn);
	struct slice body;
	ssize_t n;

	if (l->h->is_ending) {
		buf_clear(in);
		return;
	}
	if (!l->is_asking) {
		/* Not asked for: 408, on a connection that was idle too long for the peer. */
		drop_conn(l);
		return;
	}
	do {
		n = http1_parse(&l->response, buf_slice(in), &body);
		if (n < 0) {
			down(l, 0, "its answer is not HTTP; check output.host and output.port");
			return;
		}
		if (body.len) {
			l->body_bytes += body.len;
			if (l->response.status / 100 == 2 && !l->is_bad_json)
				l->is_bad_json = intake_answer_feed(&l->answer, body) < 0;
		}
		l->received += (uint64_t)n;
		buf_consume(in, (size_t)n);
	} while (n && l->response.state != HTTP1_DONE);
	if (l->response.state == HTTP1_DONE)
		on_answered(l);
}

/*
 * Of an answer without a length TLS's close_notify tells the end. Where that is missing,
 * as it often is, the JSON object tells whether it is all there.
 */
static bool is_whole(const struct lane *l)
{
	return l->response.state == HTTP1_BODY_TO_EOF && l->response.status / 100 == 2 &&
	       !l->is_bad_json && intake_answer_end(&l->answer) == 0;
}

/* The connection is over: by an end, or by an error. */
static void on_over(struct lane *l, const char *what)
{
	bool fresh = l->requests <= 1;
	bool silent = l->response.state == HTTP1_STATUS && !l->response.head_bytes;
	int err;

	if (l->h->is_ending) {
		ended(l);
		return;
	}
	if (!l->is_open) {
		/* It has others of ours: so many may be what this peer takes. */
		if (n_open(l->h))
			allow_lanes(l->h, n_open(l->h));
		leave(l, 0, "%s", what);
		return;
	}
	if (!l->is_asking) {
		drop_conn(l);
		return;
	}
	if (!fresh && silent && !l->is_repeated && !l->h->is_leaving) {
		/* The peer let go of an idle connection just when we used it again. */
		loop_timer_cancel(&l->timeout);
		drop_conn(l);
		l->is_repeated = true;
		err = connect_anew(l);
		if (!err)
			return;
		what = log_strerror(err);
	}
	down(l, 0, what);
}

static void on_conn(void *arg, enum conn_event event)
{
	struct lane *l = arg;
	struct https *h = l->h;

	switch (event) {
	case CONN_OPEN:
		l->is_open = true;
		out_opened(h->out, l->conn);
		if (l->is_asking)
			ask(l);
		if (!h->is_ready && !h->is_leaving) {
			h->is_ready = true;
			h->is_starved = false;
			h->out->events->on_ready(h->out->arg);
		}
		return;
	case CONN_DATA:
		on_data(l);
		return;
	case CONN_DRAIN:
		return;
	case CONN_EOF:
		if (l->is_asking && http1_parse_eof(&l->response) == 0) {
			l->response.keep_alive = false;
			on_answered(l);
			return;
		}
		on_over(l, "the peer closed the connection before it had answered");
		return;
	case CONN_ERROR:
		if (l->is_asking && l->is_open && is_whole(l)) {
			on_answered(l);
			return;
		}
		on_over(l, conn_error(l->conn));
		return;
	}
}

/* ------------------------------------------------------------------ what the shipper calls */

static void https_close(struct output *out)
{
	struct https *h = out->impl;

	if (!h)
		return;
	stop(h);
	for (uint32_t i = 0; i <= h->n_lanes; i++) {
		batch_wipe(&h->batches[i]);
		free(h->batches[i].events);
	}
	libdeflate_free_compressor(h->gzip);
	explicit_bzero(h->prefix, sizeof(h->prefix));
	free(h);
	out->impl = NULL;
}

int out_https_path(const struct config *config, const char *endpoint, char *ret, size_t size)
{
	const char *path = config->output_path ? config->output_path
					       : config_endpoints[config->region].https_path;
	size_t len = strlen(path);

	if (len > PATH_BYTES || !http1_is_clean(path))
		return -EINVAL;
	while (len && path[len - 1] == '/')
		len--;
	if ((size_t)snprintf(ret, size, "%s%.*s/%s", len && path[0] != '/' ? "/" : "", (int)len,
			     path, endpoint) >= size)
		return -EINVAL;
	return 0;
}

static int init(struct https *h, const struct config *config)
{
	size_t max_bytes;
	int err;

	if (!http1_is_clean(out_host(h->out)))
		return -EINVAL;
	err = out_https_path(config, "array", h->path, sizeof(h->path));
	if (err)
		return err;
	h->batch_bytes = config->output_batch_bytes;
	if (h->out->memory.batch_bytes && h->out->memory.batch_bytes < h->batch_bytes)
		h->batch_bytes = h->out->memory.batch_bytes;
	/* Room to try whether one more fits, whatever it is, and for the bracket. */
	max_bytes = h->batch_bytes + ELEMENT_MAX + 1;
	if (max_bytes < 2 * (size_t)ELEMENT_MAX)
		max_bytes = 2 * (size_t)ELEMENT_MAX;
	for (uint32_t i = 0; i <= h->n_lanes; i++) {
		err = batch_init(&h->batches[i], max_bytes);
		if (err)
			return err;
	}
	h->building = &h->batches[h->n_lanes];
	if (config->output_gzip) {
		h->gzip = libdeflate_alloc_compressor(GZIP_LEVEL);
		if (!h->gzip)
			return -ENOMEM;
	}
	return connect_anew(&h->lanes[0]);
}

static int https_open(struct output *out)
{
	struct https *h;
	int err;

	if (!output_key(out->config, SLICE("")).p)
		return -ENOKEY;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	out->impl = h;
	h->out = out;
	h->pace = (struct loop_timer){ .fn = on_pace, .arg = h };
	h->goodbye = (struct loop_timer){ .fn = on_goodbye, .arg = h };
	h->soon = (struct loop_timer){ .fn = on_soon, .arg = h };
	h->n_lanes = (uint32_t)out->config->output_requests_in_flight;
	h->n_lanes = h->n_lanes < 1 ? 1 : h->n_lanes > LANES_MAX ? LANES_MAX : h->n_lanes;
	for (uint32_t i = 0; i < h->n_lanes; i++) {
		struct lane *l = &h->lanes[i];

		l->h = h;
		l->flight = &h->batches[i];
		l->timeout = (struct loop_timer){ .fn = on_timeout, .arg = l };
	}
	err = init(h, out->config);
	if (err)
		https_close(out);
	return err;
}

static int https_send(struct output *out, const struct msg *m)
{
	struct https *h = out->impl;
	struct slice key = output_key(out->config, m->route);
	int err;

	if (h->is_down)
		return -ENOTCONN;
	if (!key.p)
		return -ENOKEY;
	if (!h->is_ready || h->is_full || h->is_leaving) {
		h->is_starved = true;
		return -EAGAIN;
	}
	if (key.p != h->prefix_key) {
		err = set_prefix(h, key);
		if (err)
			return err == -EMSGSIZE ? -ENOKEY : err;
	}
	err = batch_add(h, h->building, m);
	if (err == -ENOSPC && h->building->n) {
		h->is_full = true;
		try_start(h);
		if (h->is_down)
			return -ENOTCONN;
		if (h->is_full || h->is_leaving) {
			h->is_starved = true;
			return -EAGAIN;
		}
		/* It has gone, and this one is the first of the next. */
		err = batch_add(h, h->building, m);
	}
	return err == -ENOSPC ? -EMSGSIZE : err;
}

static void https_flush(struct output *out)
{
	struct https *h = out->impl;

	if (h->is_down || !h->building->n)
		return;
	h->is_flushed = true;
	try_start(h);
}

static void https_rest(struct output *out)
{
	struct https *h = out->impl;

	for (uint32_t i = 0; i < h->n_lanes; i++) {
		struct lane *l = &h->lanes[i];

		if (!l->is_asking && !l->n_todo)
			batch_clear(l->flight);
		batch_rest(l->flight);
		if (l->conn)
			conn_rest(l->conn);
	}
	batch_rest(h->building);
}

static void https_finish(struct output *out)
{
	struct https *h = out->impl;

	if (h->is_down || h->is_finishing)
		return;
	h->is_finishing = true;
	if (!h->is_ready)
		closed(h);
	else
		try_start(h);
}

/* Grows as long as the peer takes what was sent to it. */
static uint64_t https_progress(const struct output *out)
{
	const struct https *h = out->impl;
	uint64_t unsent = 0;

	for (uint32_t i = 0; h && i < h->n_lanes; i++)
		unsent += unsent_bytes(&h->lanes[i]);
	return out->sent_bytes - unsent;
}

const struct output_ops output_https = {
	.name = "https",
	.port = CONFIG_PORT_HTTPS,
	.window_msgs = WINDOW_MSGS,
	.window_bytes = WINDOW_BYTES,
	.open = https_open,
	.send = https_send,
	.flush = https_flush,
	.rest = https_rest,
	.finish = https_finish,
	.progress = https_progress,
	.probe = out_probe,
	.probe_end = out_probe_end,
	.close = https_close,
};
