/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTPS: POST PATH/array, one element for each event, which carries its key:
 *
 *   [{"intake_key":"KEY","json":"<the event, as a JSON string>","timestamp":"…"}, …]
 *
 * One request is in flight on one connection, and the next one is built
 * meanwhile: requests are few and large by the platform's rules, so that a
 * second connection would mostly wait for its turn. A batch is kept until all
 * of it is answered: what is refused as a whole is sent again in halves, down
 * to the event at fault, and the shipper need not know.
 */
#define _GNU_SOURCE
#include "output/out_https.h"

#include <errno.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "output/http1.h"
#include "output/intake_answer.h"
#include "output/msg_json.h"
#include "output/out.h"
#include "user/util/clock.h"
#include "user/util/json_writer.h"

#define BATCH_EVENTS 10000
#define BATCHES	     2 /* one in flight, one being built */
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
	struct event *events;
	uint32_t n;
};

struct range {
	uint32_t first, end;
};

struct https {
	struct output *out;
	struct conn *conn;
	bool is_down; /* on_down() was called: nothing more happens */
	bool is_open;
	bool is_ready;	 /* on_ready() was called a first time */
	bool is_starved; /* send() has said -EAGAIN */
	bool is_flushed; /* what is being built may go */
	bool is_full;	 /* it must */
	bool is_finishing;
	bool is_asking;	  /* a request is out, or on its way */
	bool is_ending;	  /* all is answered, and we have said goodbye */
	bool is_repeated; /* it is the second try, after a connection that was let go */
	char path[PATH_BYTES + 8];
	uint64_t batch_bytes;
	struct libdeflate_compressor *gzip;

	struct batch batches[BATCHES];
	struct batch *building, *flight;
	char prefix[PREFIX_BYTES];
	size_t prefix_len;
	const char *prefix_key;

	struct range todo[SPLITS]; /* of the batch in flight; the last one is next */
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
	bool has_warned;
	uint32_t requests; /* on this connection */
	uint64_t next_ms;  /* before this no request starts */
	uint64_t marker;   /* where things stood when the timeout was set */
	struct loop_timer pace, timeout;
	struct loop_timer soon; /* on_ready(), which must not come from inside send() or flush() */
};

static void on_conn(void *arg, enum conn_event event);
static void try_start(struct https *h);

static void drop_conn(struct https *h)
{
	conn_free(h->conn);
	h->conn = NULL;
	h->is_open = false;
	h->requests = 0;
}

static void stop(struct https *h)
{
	h->is_down = true;
	loop_timer_cancel(&h->pace);
	loop_timer_cancel(&h->timeout);
	loop_timer_cancel(&h->soon);
	drop_conn(h);
}

static const char *peer_of(const struct https *h)
{
	return h->conn ? conn_peer(h->conn) : out_host(h->out);
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
	err = buf_reserve(&b->body, bound, &at);
	if (err)
		return err == -ENOBUFS ? -ENOSPC : err;
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

static int connect_anew(struct https *h)
{
	return out_connect(h->out, out_bytes_max(h, h->building->body.max_bytes), on_conn, h,
			   &h->conn);
}

/*
 * The head names the length of what follows it, so the body comes first, in
 * its place behind the longest head, and moves up. It is small by then.
 */
static int append_request(struct https *h, struct slice body)
{
	struct http1_request request = {
		.method = "POST",
		.host = out_host(h->out),
		.port = out_port(h->out),
		.default_port = CONFIG_PORT_HTTPS,
		.path = h->path,
		.content_type = "application/json",
		.content_encoding = h->gzip ? "gzip" : NULL,
	};
	struct buf *out = conn_out(h->conn);
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
	struct https *h = arg;
	struct event *e;

	if (index >= h->asked.end - h->asked.first)
		return;
	e = &h->flight->events[h->asked.first + index];
	e->is_refused = true;
	if (status)
		e->status = (uint16_t)(status > 999 ? 999 : status);
}

/* All that moves when something moves. */
static uint64_t progress_marker(const struct https *h)
{
	int unacked;

	if (!h->conn)
		return h->received;
	unacked = h->is_open ? conn_unacked(h->conn) : 0;
	return h->received * 31 + conn_out(h->conn)->len * 7 +
	       (uint64_t)(unacked < 0 ? 0 : unacked);
}

static void arm_timeout(struct https *h)
{
	h->marker = progress_marker(h);
	loop_timer_set(h->out->loop, &h->timeout,
		       loop_now_ms(h->out->loop) + h->out->config->output_timeout_ms);
}

/* Puts the range that is asked for on the open connection. */
static void ask(struct https *h)
{
	struct batch *b = h->flight;
	uint32_t first = b->events[h->asked.first].start - 1;
	uint32_t last = event_end(b, h->asked.end - 1);
	char *base = buf_data(&b->body), before = base[first], after = base[last];
	int err;

	base[first] = '[';
	base[last] = ']';
	err = append_request(h, (struct slice){ base + first, last - first + 1 });
	base[first] = before;
	base[last] = after;
	if (err) {
		out_down(h->out, 0, "%s: make the request: %s", peer_of(h), log_strerror(err));
		stop(h);
		return;
	}
	h->response = (struct http1_response){ 0 };
	h->answer = (struct intake_answer){ .refused = on_event_refused, .arg = h };
	h->body_bytes = 0;
	h->is_bad_json = false;
	h->requests++;
	for (uint32_t i = h->asked.first; i < h->asked.end; i++) {
		b->events[i].is_refused = false;
		b->events[i].status = 0;
	}
	conn_flush(h->conn);
	arm_timeout(h);
}

/* The next part of the batch in flight, or the batch that was being built. */
static bool take_next(struct https *h)
{
	struct batch *done = h->flight;

	if (!h->n_todo) {
		if (!h->building->n || !(h->is_flushed || h->is_full || h->is_finishing))
			return false;
		h->flight = h->building;
		h->building = done;
		batch_clear(h->building);
		/* There is room for the closing bracket: see batch_add(). */
		buf_append(&h->flight->body, "]", 1);
		h->is_full = h->is_flushed = false;
		h->n_suspects = 0;
		h->was_split = h->was_refused = false;
		h->largest_ok = 0;
		h->todo[h->n_todo++] = (struct range){ 0, h->flight->n };
	}
	h->asked = h->todo[--h->n_todo];
	return true;
}

static void on_soon(void *arg, uint64_t now_ms)
{
	struct https *h = arg;

	(void)now_ms;
	if (!h->is_starved || h->is_full || h->is_finishing || h->is_down)
		return;
	h->is_starved = false;
	h->out->events->on_ready(h->out->arg);
}

static void closed(struct https *h)
{
	out_down(h->out, 0, "closed");
	stop(h);
}

static void say_goodbye(struct https *h)
{
	if (h->is_ending)
		return;
	if (!h->is_open) {
		closed(h);
		return;
	}
	h->is_ending = true;
	loop_timer_set(h->out->loop, &h->timeout, loop_now_ms(h->out->loop) + CLOSE_MS);
	conn_finish(h->conn);
}

/* Starts the next request, if there is one, its time has come and the road is clear. */
static void try_start(struct https *h)
{
	uint64_t now_ms = loop_now_ms(h->out->loop);
	uint64_t per_second = h->out->config->output_requests_per_second;
	int err;

	if (h->is_down || h->is_asking)
		return;
	if (now_ms < h->next_ms) {
		loop_timer_set(h->out->loop, &h->pace, h->next_ms);
		return;
	}
	if (!take_next(h)) {
		if (h->is_finishing)
			say_goodbye(h);
		return;
	}
	h->is_asking = true;
	h->is_repeated = false;
	h->next_ms = now_ms + (per_second ? (1000 + per_second - 1) / per_second : 0);
	if (h->conn && h->is_open) {
		ask(h);
	} else if (!h->conn) {
		err = connect_anew(h);
		if (err) {
			out_down(h->out, 0, "connect: %s", log_strerror(err));
			stop(h);
			return;
		}
	}
	if (h->is_starved)
		loop_timer_set(h->out->loop, &h->soon, now_ms);
}

static void on_pace(void *arg, uint64_t now_ms)
{
	(void)now_ms;
	try_start(arg);
}

static void on_timeout(void *arg, uint64_t now_ms)
{
	struct https *h = arg;

	(void)now_ms;
	if (h->is_ending) {
		closed(h);
		return;
	}
	if (progress_marker(h) != h->marker) {
		arm_timeout(h);
		return;
	}
	out_down(h->out, 0, "%s: no answer for %u s", peer_of(h),
		 (unsigned)(h->out->config->output_timeout_ms / 1000));
	stop(h);
}

/* ------------------------------------------------------------------ answers */

static void down(struct https *h, uint64_t retry_after_ms, const char *what)
{
	out_down(h->out, retry_after_ms, "%s: %s", peer_of(h), what);
	stop(h);
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
static void down_for_key(struct https *h, uint64_t wait_ms, int status)
{
	char text[96];

	h->out->keep_target = true;
	snprintf(text, sizeof(text), "intake key refused (%d): check intake.key%s", status,
		 h->out->config->intake_routes ? " and intake.routes" : "");
	down(h, wait_ms ? wait_ms : KEY_RETRY_MS, text);
}

/* Refused for now, or for the key, and not for what the event is. */
static bool is_temporary(unsigned status)
{
	return status == 401 || status == 403 || status == 408 || status == 429 || status >= 500;
}

/* The status when each event of this answer is refused for its key, which they share; else 0. */
static int key_status(const struct https *h)
{
	const struct event *events = h->flight->events;

	for (uint32_t i = h->asked.first; i < h->asked.end; i++)
		if (!events[i].is_refused ||
		    (events[i].status != 401 && events[i].status != 403 && events[i].status != 422))
			return 0;
	return events[h->asked.first].status;
}

static void reject_suspects(struct https *h)
{
	char text[64];

	h->was_refused |= h->n_suspects > 0;
	for (uint32_t i = 0; i < h->n_suspects; i++) {
		const struct event *e = &h->flight->events[h->suspects[i]];

		h->out->events->on_settled(h->out->arg, e->seq, e->seq, OUTPUT_REJECTED,
					   refusal_text(e->status, text, sizeof(text)));
	}
	h->n_suspects = 0;
}

/* Settles the range that was asked for. Returns how many are to be tried again. */
static uint32_t settle_asked(struct https *h)
{
	const struct event *events = h->flight->events;
	uint32_t i = h->asked.first, start, later = 0;
	char text[64];

	while (i < h->asked.end) {
		start = i;
		if (events[i].is_refused) {
			if (is_temporary(events[i].status))
				later++;
			else
				h->out->events->on_settled(
					h->out->arg, events[i].seq, events[i].seq, OUTPUT_REJECTED,
					refusal_text(events[i].status, text, sizeof(text)));
			i++;
			continue;
		}
		while (i < h->asked.end && !events[i].is_refused)
			i++;
		h->out->events->on_settled(h->out->arg, events[start].seq, events[i - 1].seq,
					   OUTPUT_ACKED, NULL);
	}
	return later;
}

static uint64_t asked_bytes(const struct https *h)
{
	return event_end(h->flight, h->asked.end - 1) - h->flight->events[h->asked.first].start + 2;
}

/* Nothing of the batch is left. */
static void on_batch_done(struct https *h)
{
	struct output_memory *memory = &h->out->memory;
	char text[96];

	if (h->n_suspects) {
		if (!memory->worked) {
			snprintf(text, sizeof(text),
				 "it refuses everything (%d); check output.host and output.path",
				 h->suspect_status);
			down(h, 0, text);
			return;
		}
		reject_suspects(h);
		memory->worked = false;
	}
	/* Its parts were taken and it was not: such a batch is too large for what is there. */
	if (h->was_split && !h->was_refused && h->largest_ok && h->largest_ok < h->batch_bytes) {
		h->batch_bytes = h->largest_ok > SMALL_BATCH ? h->largest_ok : SMALL_BATCH;
		memory->batch_bytes = h->batch_bytes;
	}
}

static void on_accepted(struct https *h)
{
	uint32_t later;
	char text[96];
	int status;

	if (h->body_bytes && (h->is_bad_json || intake_answer_end(&h->answer) < 0)) {
		down(h, 0, "its answer is not an intake's; check output.host and output.path");
		return;
	}
	if (h->answer.has_ids && h->answer.entries != h->asked.end - h->asked.first &&
	    !h->has_warned) {
		h->has_warned = true;
		log_warning("https %s: took %u events and names %llu; counted as delivered",
			    peer_of(h), h->asked.end - h->asked.first,
			    (unsigned long long)h->answer.entries);
	}
	status = key_status(h);
	if (status) {
		down_for_key(h, 0, status);
		return;
	}
	h->out->memory.worked = true;
	reject_suspects(h);
	if (asked_bytes(h) > h->largest_ok)
		h->largest_ok = asked_bytes(h);
	later = settle_asked(h);
	if (later) {
		snprintf(text, sizeof(text), "it could not take %u of %u events", later,
			 h->asked.end - h->asked.first);
		down(h, 0, text);
	}
}

/* 413, or 400: at least one event of these is at fault. */
static void on_refused(struct https *h, int status)
{
	uint32_t n = h->asked.end - h->asked.first, middle = h->asked.first + n / 2;
	uint64_t not_before = loop_now_ms(h->out->loop) + out_https_refused_pause_ms;
	char text[96];

	if (h->next_ms < not_before)
		h->next_ms = not_before;
	h->suspect_status = status;
	if (n > 1) {
		/* The depth of halving BATCH_EVENTS is far below SPLITS. */
		h->was_split = true;
		h->todo[h->n_todo++] = (struct range){ middle, h->asked.end };
		h->todo[h->n_todo++] = (struct range){ h->asked.first, middle };
		return;
	}
	if (h->n_suspects == SUSPECTS) {
		snprintf(
			text, sizeof(text),
			"it refuses one event after the other (%d); check output.host and output.path",
			status);
		down(h, 0, text);
		return;
	}
	h->flight->events[h->asked.first].status = (uint16_t)status;
	h->suspects[h->n_suspects++] = h->asked.first;
}

static void on_status(struct https *h, int status)
{
	uint64_t wait_ms = h->response.retry_after_s * 1000;
	char text[128];

	if (wait_ms > WAIT_MAX_MS)
		wait_ms = WAIT_MAX_MS;
	switch (status) {
	case 200 ... 299:
		on_accepted(h);
		return;
	case 400:
	case 413:
		on_refused(h, status);
		return;
	case 422:
		down_for_key(h, wait_ms, status);
		return;
	case 300 ... 399:
		snprintf(
			text, sizeof(text),
			"it redirects (%d), which is not followed; check output.host and output.path",
			status);
		break;
	case 401:
	case 403:
		h->out->keep_target = true;
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
		h->out->keep_target = true;
		snprintf(text, sizeof(text), "too many requests (429)");
		break;
	default:
		snprintf(text, sizeof(text), "it answers %d", status);
		break;
	}
	down(h, wait_ms, text);
}

/* The answer is complete. */
static void on_answered(struct https *h)
{
	loop_timer_cancel(&h->timeout);
	h->is_asking = false;
	on_status(h, h->response.status);
	if (h->is_down)
		return;
	/* An answer to a request that is not all out yet: the rest of it is useless. */
	if (!h->response.keep_alive || (h->conn && conn_out(h->conn)->len))
		drop_conn(h);
	if (!h->n_todo)
		on_batch_done(h);
	try_start(h);
}

static void on_data(struct https *h)
{
	struct buf *in = conn_in(h->conn);
	struct slice body;
	ssize_t n;

	if (h->is_ending) {
		buf_clear(in);
		return;
	}
	if (!h->is_asking) {
		/* Not asked for: 408, on a connection that was idle too long for the peer. */
		drop_conn(h);
		return;
	}
	do {
		n = http1_parse(&h->response, buf_slice(in), &body);
		if (n < 0) {
			down(h, 0, "its answer is not HTTP; check output.host and output.port");
			return;
		}
		if (body.len) {
			h->body_bytes += body.len;
			if (h->response.status / 100 == 2 && !h->is_bad_json)
				h->is_bad_json = intake_answer_feed(&h->answer, body) < 0;
		}
		h->received += (uint64_t)n;
		buf_consume(in, (size_t)n);
	} while (n && h->response.state != HTTP1_DONE);
	if (h->response.state == HTTP1_DONE)
		on_answered(h);
}

/* The connection is over: by an end, or by an error. */
static void on_over(struct https *h, const char *what)
{
	bool fresh = h->requests <= 1;
	bool silent = h->response.state == HTTP1_STATUS && !h->response.head_bytes;
	int err;

	if (!h->is_open) {
		out_down(h->out, 0, "%s", what);
		stop(h);
		return;
	}
	if (h->is_ending) {
		closed(h);
		return;
	}
	if (!h->is_asking) {
		drop_conn(h);
		return;
	}
	if (!fresh && silent && !h->is_repeated) {
		/* The peer let go of an idle connection just when we used it again. */
		loop_timer_cancel(&h->timeout);
		drop_conn(h);
		h->is_repeated = true;
		err = connect_anew(h);
		if (!err)
			return;
		what = log_strerror(err);
	}
	down(h, 0, what);
}

static void on_conn(void *arg, enum conn_event event)
{
	struct https *h = arg;

	switch (event) {
	case CONN_OPEN:
		h->is_open = true;
		out_opened(h->out, h->conn);
		if (h->is_asking)
			ask(h);
		if (!h->is_ready && !h->is_down) {
			h->is_ready = true;
			h->is_starved = false;
			h->out->events->on_ready(h->out->arg);
		}
		return;
	case CONN_DATA:
		on_data(h);
		return;
	case CONN_DRAIN:
		return;
	case CONN_EOF:
		if (h->is_asking && http1_parse_eof(&h->response) == 0) {
			h->response.keep_alive = false;
			on_answered(h);
			return;
		}
		on_over(h, "the peer closed the connection before it had answered");
		return;
	case CONN_ERROR:
		on_over(h, conn_error(h->conn));
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
	for (int i = 0; i < BATCHES; i++) {
		buf_wipe(&h->batches[i].body); /* the key is in it */
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
	for (int i = 0; i < BATCHES; i++) {
		err = batch_init(&h->batches[i], max_bytes);
		if (err)
			return err;
	}
	h->building = &h->batches[0];
	h->flight = &h->batches[1];
	if (config->output_gzip) {
		h->gzip = libdeflate_alloc_compressor(GZIP_LEVEL);
		if (!h->gzip)
			return -ENOMEM;
	}
	return connect_anew(h);
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
	h->timeout = (struct loop_timer){ .fn = on_timeout, .arg = h };
	h->soon = (struct loop_timer){ .fn = on_soon, .arg = h };
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
	if (!h->is_ready || h->is_full) {
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
		if (h->is_full) {
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

const struct output_ops output_https = {
	.name = "https",
	.port = CONFIG_PORT_HTTPS,
	.window_msgs = BATCHES * BATCH_EVENTS,
	.window_bytes = WINDOW_BYTES,
	.open = https_open,
	.send = https_send,
	.flush = https_flush,
	.finish = https_finish,
	.probe = out_probe,
	.probe_end = out_probe_end,
	.close = https_close,
};
