/* SPDX-License-Identifier: Apache-2.0 */
#include "output/pipeline.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "output/backoff.h"
#include "output/dead_letter.h"
#include "output/out.h"
#include "output/targets.h"
#include "output/window.h"
#include "user/util/clock.h"
#include "user/util/log.h"

/* One turn of one output, so that signals and other outputs have theirs. */
#define TURN_MSGS  512
#define TURN_BYTES (1 << 20)
/* The same for messages that are not for this output. */
#define TURN_PASSED 4096

/* How often to look for data whose wake-up was missed, and at the clock. */
#define TICK_MS 500
/* The same while there is nothing to send, and nothing to wait for. */
#define TICK_QUIET_MS 5000
/* After an error of the spool's disk. */
#define READ_RETRY_MS 1000
/* The same line is not repeated before this. */
#define REPEAT_MS 60000
/* Of a cause with its cure, which stands at the end. */
#define WHY_SIZE 640
/* So many may take turns (a reset, an end; one address, another), and each is told once. */
#define TOLD_CAUSES 4
/* Before another target is tried, at the most. */
#define NEXT_TARGET_MS 300
/* On stopping, how long receipts may take before the goodbye asks for them. */
#define RECEIPTS_MS 500

uint32_t pipeline_rest_ms = 10000;

enum pipeline_state {
	PIPELINE_WAITING,    /* no connection; act opens one when it fires */
	PIPELINE_IDLE,	     /* the peer left in good order; connect when there is data */
	PIPELINE_CONNECTING, /* open() was called, on_ready() was not */
	PIPELINE_UP,
	PIPELINE_FINISHING, /* finish() was called, on_down() was not */
	PIPELINE_DOWN,	    /* on_down() was called; act closes */
	PIPELINE_DONE,
};

struct pipeline {
	struct output out;
	struct loop *loop;
	const struct config *config;
	const struct output_ops *ops;
	struct spool_reader *reader;
	struct spool_cursor *cursor;
	uint64_t spool_id; /* whose numbers the window holds */
	struct window window;
	struct backoff backoff;
	struct targets targets;
	int opened_target;	     /* whose peer out.memory is about */
	bool is_probing;	     /* the first target, while another one is in use */
	struct spool_lookup *lookup; /* for dead letters; opened when there is one */

	enum pipeline_state state;
	struct loop_timer act;	/* opens in WAITING, closes in DOWN */
	struct loop_timer tick; /* looks for missed data, counts silence */
	struct loop_timer end;	/* the deadline of a stop */

	struct msg msg; /* read and not sent yet; its slices are the reader's */
	bool has_msg;
	bool blocked;	  /* send() said -EAGAIN, on_ready() did not come yet */
	bool must_flush;  /* something was sent since the last flush() */
	bool caught_up;	  /* the reader had nothing; a wake-up clears it */
	bool has_worked;  /* something was read since memory was given back */
	bool must_rewind; /* nothing may be read before that has worked */
	uint64_t read_after_ms;
	uint64_t rest_ms; /* no memory is given back before */

	/* This connection. */
	bool was_up, had_progress;
	bool moving; /* it ends so that the next one goes to the first target */
	uint64_t opened_ms;
	uint64_t progress_ms; /* when something was settled, or could first be */
	uint64_t moved;	      /* output_ops.progress() */
	char why[WHY_SIZE];
	uint64_t retry_after_ms;
	uint64_t sent_bytes_seen;

	/* What people know. */
	uint32_t attempts; /* that failed since the last connection that was told */
	bool told_down, told_up, told_all_down;
	int told_target;
	struct told {
		char why[WHY_SIZE];
		uint64_t ms;
	} told_causes[TOLD_CAUSES];
	uint64_t told_read_ms, told_rejected_ms, told_unwritten_ms;
	uint64_t rejected_untold;

	/* The end. */
	bool stopping, drain;
	bool stop_attempted; /* a connection was begun since */
	uint64_t stop_seq, deadline_ms;
	uint64_t all_sent_ms; /* 0: not yet */
};

/* ------------------------------------------------------------------ for people */

/* 12345 as "12,345". */
static const char *count_text(uint64_t n, char ret[static 32])
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, n);
	char *to = ret;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return ret;
}

/* "700 ms", "8 s". */
static const char *pause_text(uint64_t ms, char ret[static 32])
{
	if (ms < 1000)
		snprintf(ret, 32, "%" PRIu64 " ms", ms);
	else
		snprintf(ret, 32, "%" PRIu64 " s", (ms + 500) / 1000);
	return ret;
}

/* A peer may have chosen the words: no control character leaves this. */
static void copy_text(char *to, size_t size, const char *from)
{
	size_t i = 0;

	for (; from && from[i] && i < size - 1; i++)
		to[i] = (unsigned char)from[i] < 0x20 || from[i] == 0x7f ? ' ' : from[i];
	to[i] = '\0';
}

static bool is_due(uint64_t *told_ms, uint64_t now_ms)
{
	if (*told_ms && now_ms - *told_ms < REPEAT_MS)
		return false;
	*told_ms = now_ms ? now_ms : 1;
	return true;
}

uint64_t pipeline_waiting(const struct pipeline *p)
{
	return spool_reader_waiting(p->reader);
}

static void tell_up(struct pipeline *p)
{
	char waiting[32];

	p->attempts++;
	if (!p->told_up || p->told_down || p->told_target != p->targets.present)
		log_info("%s: connected%s%s after %u attempt%s, %s events waiting", p->ops->name,
			 p->out.peer[0] ? " to " : "", p->out.peer, p->attempts,
			 p->attempts == 1 ? "" : "s", count_text(pipeline_waiting(p), waiting));
	p->told_up = true;
	p->told_down = p->told_all_down = false;
	p->told_target = p->targets.present;
	p->attempts = 0;
}

/* Times, counts and ports change from one attempt to the next, causes do not. */
static bool is_same_cause(const char *a, const char *b)
{
	for (;;) {
		while (isdigit((unsigned char)*a))
			a++;
		while (isdigit((unsigned char)*b))
			b++;
		if (*a != *b)
			return false;
		if (!*a)
			return true;
		a++;
		b++;
	}
}

/* True when it is time to tell p->why, which is then taken as told. */
static bool is_news(struct pipeline *p)
{
	uint64_t now_ms = loop_now_ms(p->loop);
	struct told *oldest = &p->told_causes[0];

	for (int i = 0; i < TOLD_CAUSES; i++) {
		struct told *t = &p->told_causes[i];

		if (t->ms && is_same_cause(t->why, p->why))
			return is_due(&t->ms, now_ms);
		if (t->ms < oldest->ms)
			oldest = t;
	}
	memcpy(oldest->why, p->why, sizeof(p->why));
	oldest->ms = now_ms ? now_ms : 1;
	return true;
}

/* "b.example:514 (2 of 3)", or "b.example:514" when there is no other. */
static const char *present_text(const struct pipeline *p, char *text, size_t size)
{
	struct target x = *targets_present(&p->targets);
	const struct output out = { .ops = p->ops, .config = p->config, .port = x.port };
	size_t len;

	x.port = out_port(&out);
	target_text(&x, text, size);
	len = strlen(text);
	if (p->targets.n > 1)
		snprintf(text + len, size - len, " (%d of %d)", p->targets.present + 1,
			 p->targets.n);
	return text;
}

/* What status shows of the targets. */
static void describe_targets(struct pipeline *p)
{
	uint64_t now_ms = loop_now_ms(p->loop), real_us = clock_real_us();
	struct spool_cursor *c = p->cursor;

	if (p->ops->local)
		return;
	present_text(p, c->target, sizeof(c->target));
	targets_describe_out(&p->targets, now_ms, real_us, c->others, sizeof(c->others));
	c->target_since_us =
		p->targets.since_ms ? real_us - (now_ms - p->targets.since_ms) * 1000 : 0;
}

static void tell_down(struct pipeline *p, uint64_t pause_ms, enum targets_next next)
{
	char text[TARGET_HOST_MAX + 32];
	/* Each cause may have been told, but not that nothing is left. */
	bool told_all = next != TARGETS_ROUND || p->told_all_down;

	p->attempts++;
	if (!is_news(p) && told_all)
		return;
	p->told_down = true;
	if (next == TARGETS_ROUND)
		log_warning("%s: %s; none of the %d targets works, beginning again in %s",
			    p->ops->name, p->why, p->targets.n, pause_text(pause_ms, text));
	else if (next == TARGETS_NEXT)
		log_warning("%s: %s; trying %s", p->ops->name, p->why,
			    present_text(p, text, sizeof(text)));
	else
		log_warning("%s: %s; retrying in %s", p->ops->name, p->why,
			    pause_text(pause_ms, text));
	p->told_all_down |= next == TARGETS_ROUND;
}

static void tell_unwritten(struct pipeline *p, int err)
{
	if (!is_due(&p->told_unwritten_ms, loop_now_ms(p->loop)))
		return;
	if (err == -EFBIG)
		log_warning("%s: a refused event is larger than half of "
			    "output.dead_letter_max_bytes; it is counted and not kept",
			    p->ops->name);
	else
		log_warning("%s: a refused event can not be kept in %s/dead: %s; it is counted",
			    p->ops->name, p->config->spool_dir,
			    err == -ENODATA ? "the spool does not have it any more"
					    : log_strerror(err));
}

/*
 * The event, read again from the spool: the transport may have let it go. A folder
 * that was made anew since the last time is found at the second try.
 */
static int look_up(struct pipeline *p, uint64_t seq, struct msg *ret)
{
	int r = 0;

	for (int i = 0; i < 2 && !r; i++) {
		if (i) {
			spool_lookup_free(p->lookup);
			p->lookup = NULL;
		}
		if (!p->lookup)
			r = spool_lookup_new(p->reader, &p->lookup);
		if (!r)
			r = spool_lookup(p->lookup, seq, ret);
	}
	return r > 0 ? 0 : r ? r : -ENODATA;
}

static void keep_dead_letter(struct pipeline *p, uint64_t seq, const char *why)
{
	const struct dead_letter d = {
		.dir = p->config->spool_dir,
		.output = p->ops->name,
		.target = p->cursor->target,
		.reason = why,
		.real_us = clock_real_us(),
		.max_bytes = p->config->output_dead_letter_max_bytes,
	};
	uint64_t dropped = 0;
	struct msg m;
	int err = 0;

	if (d.max_bytes) {
		err = look_up(p, seq, &m);
		if (!err)
			err = dead_letter_write(&d, &m, &dropped);
		if (err)
			tell_unwritten(p, err);
	}
	if (err || !d.max_bytes)
		p->cursor->dead_unwritten++;
	else
		p->cursor->dead_lettered++;
	p->cursor->dead_dropped += dropped;
}

static void tell_rejected(struct pipeline *p, uint64_t seq, const char *text)
{
	char refused[32];

	p->rejected_untold++;
	snprintf(p->cursor->last_error, sizeof(p->cursor->last_error),
		 "event %" PRIu64 " was refused: %s", seq, text);
	if (!is_due(&p->told_rejected_ms, loop_now_ms(p->loop)))
		return;
	log_warning("%s: event %" PRIu64 " was refused: %s; %s refused in all since the last such "
		    "line, %s and not sent again",
		    p->ops->name, seq, text, count_text(p->rejected_untold, refused),
		    p->config->output_dead_letter_max_bytes ? "set aside in the spool's folder dead"
							    : "counted");
	p->rejected_untold = 0;
}

static void set_state(struct pipeline *p, enum pipeline_state state)
{
	static const char *const names[] = {
		[PIPELINE_WAITING] = "backing off",   [PIPELINE_IDLE] = "idle",
		[PIPELINE_CONNECTING] = "connecting", [PIPELINE_UP] = "connected",
		[PIPELINE_FINISHING] = "finishing",   [PIPELINE_DOWN] = "disconnected",
		[PIPELINE_DONE] = "stopped",
	};

	p->state = state;
	copy_text(p->cursor->state, sizeof(p->cursor->state), names[state]);
	spool_reader_publish(p->reader);
}

static void publish(struct pipeline *p)
{
	p->cursor->sent_bytes += p->out.sent_bytes - p->sent_bytes_seen;
	p->sent_bytes_seen = p->out.sent_bytes;
}

static void on_down(void *arg, const char *why, uint64_t retry_after_ms);

/* ------------------------------------------------------------------ the window */

static void note_progress(struct pipeline *p)
{
	p->progress_ms = loop_now_ms(p->loop);
	if (!p->had_progress) {
		targets_worked(&p->targets, p->progress_ms);
		describe_targets(p);
		spool_reader_publish(p->reader);
	}
	p->had_progress = true;
	backoff_reset(&p->backoff);
}

/* Moves the cursor over what is settled without a gap. */
static void take_settled(struct pipeline *p)
{
	uint64_t seq, rejected, filtered;

	if (!window_take(&p->window, &seq, &rejected, &filtered))
		return;
	spool_reader_filter(p->reader, filtered);
	spool_reader_settle(p->reader, seq, rejected);
}

static size_t msg_bytes(const struct msg *m)
{
	return m->host.len + m->app.len + m->procid.len + m->route.len + m->text.len + m->json.len;
}

/*
 * The reader has followed the writer to a spool that was made anew, where the
 * numbers begin again: an answer to an old one must not settle a new one.
 */
static void leave_old_spool(struct pipeline *p)
{
	p->spool_id = p->cursor->spool_id;
	spool_lookup_free(p->lookup);
	p->lookup = NULL;
	window_reset(&p->window);
	on_down(p, "the spool was made anew", 0);
	p->must_rewind = true;
}

/* Reads one message ahead; true when there is one. */
static bool fetch(struct pipeline *p)
{
	uint64_t now_ms = loop_now_ms(p->loop);
	int r;

	if (p->has_msg)
		return true;
	if (p->caught_up || now_ms < p->read_after_ms)
		return false;
	r = p->must_rewind ? spool_reader_rewind(p->reader) : 0;
	if (!r) {
		p->must_rewind = false;
		do
			r = spool_reader_next(p->reader, &p->msg);
		while (r > 0 && p->cursor->spool_id == p->spool_id &&
		       window_pass(&p->window, p->msg.seq));
	}
	if (r < 0) {
		p->read_after_ms = now_ms + READ_RETRY_MS;
		if (is_due(&p->told_read_ms, now_ms))
			log_error("%s: spool: reading: %s; trying again every second", p->ops->name,
				  log_strerror(r));
		return false;
	}
	if (p->cursor->spool_id != p->spool_id) {
		leave_old_spool(p);
		return false;
	}
	p->has_msg = r > 0;
	p->caught_up = !r;
	p->has_worked |= p->has_msg;
	return p->has_msg;
}

/* Is there something to send? On stopping: of what was there at that time. */
static bool has_work(struct pipeline *p)
{
	if (p->stopping && !p->drain)
		return false;
	return fetch(p) && !(p->stopping && p->msg.seq > p->stop_seq);
}

/*
 * What is not for this output is settled without the peer, and so without a connection.
 * Up to a budget; true: there may be more of it.
 */
static bool pass_unwanted(struct pipeline *p)
{
	if (!p->ops->wants || p->state == PIPELINE_DOWN)
		return false;
	for (int n = 0; n < TURN_PASSED; n++) {
		if (!window_has_room(&p->window, 0) || !has_work(p) || p->ops->wants(&p->msg))
			return false;
		if (window_push(&p->window, p->msg.seq, 0) < 0)
			return false;
		window_settle(&p->window, p->msg.seq, p->msg.seq, WINDOW_FILTERED);
		p->has_msg = false;
	}
	return true;
}

static bool can_send(struct pipeline *p)
{
	return p->state == PIPELINE_UP && !p->blocked && window_has_room(&p->window, 0) &&
	       has_work(p) && window_has_room(&p->window, msg_bytes(&p->msg));
}

/* ------------------------------------------------------------------ what transports call */

static void on_ready(void *arg)
{
	struct pipeline *p = arg;

	p->blocked = false;
	if (p->state != PIPELINE_CONNECTING)
		return;
	p->was_up = true;
	p->progress_ms = loop_now_ms(p->loop);
	p->cursor->connects++;
	set_state(p, PIPELINE_UP);
	tell_up(p);
}

/* One at a time: each is set aside, with what the peer says of it. */
static void reject(struct pipeline *p, uint64_t seq, const char *why)
{
	char text[160];

	if (!window_settle(&p->window, seq, seq, WINDOW_REJECTED))
		return;
	note_progress(p);
	copy_text(text, sizeof(text), why && why[0] ? why : "the peer gave no reason");
	out_hide_key(p->config, text);
	keep_dead_letter(p, seq, text);
	tell_rejected(p, seq, text);
	spool_reader_publish(p->reader);
}

static void on_settled(void *arg, uint64_t first, uint64_t last, enum output_verdict verdict,
		       const char *why)
{
	struct pipeline *p = arg;

	/*
	 * The cursor moves in the next turn, not here: this may be inside of send(),
	 * and the message's slices are the reader's.
	 */
	if (verdict == OUTPUT_REJECTED) {
		for (uint64_t seq = first; seq <= last; seq++)
			reject(p, seq, why);
		return;
	}
	if (window_settle(&p->window, first, last, WINDOW_ACKED))
		note_progress(p);
}

static void on_down(void *arg, const char *why, uint64_t retry_after_ms)
{
	struct pipeline *p = arg;

	if (p->state != PIPELINE_CONNECTING && p->state != PIPELINE_UP &&
	    p->state != PIPELINE_FINISHING)
		return;
	copy_text(p->why, sizeof(p->why), why && why[0] ? why : "the connection ended");
	out_hide_key(p->config, p->why);
	p->retry_after_ms = retry_after_ms;
	set_state(p, PIPELINE_DOWN);
	/* Not from here: the transport is still on the stack. */
	loop_timer_set(p->loop, &p->act, loop_now_ms(p->loop));
}

static void on_probed(void *arg, const char *why);

static const struct output_events events = {
	.on_ready = on_ready,
	.on_settled = on_settled,
	.on_down = on_down,
	.on_probed = on_probed,
};

/* ------------------------------------------------------------------ the connection */

static void probe_end(struct pipeline *p)
{
	if (p->is_probing)
		p->ops->probe_end(&p->out);
	p->is_probing = false;
}

static void finish_for_good(struct pipeline *p)
{
	loop_timer_cancel(&p->act);
	loop_timer_cancel(&p->tick);
	loop_timer_cancel(&p->end);
	probe_end(p);
	set_state(p, PIPELINE_DONE);
}

static void open_connection(struct pipeline *p)
{
	int err;

	p->blocked = false;
	p->was_up = false;
	p->had_progress = false;
	p->opened_ms = loop_now_ms(p->loop);
	p->retry_after_ms = 0;
	p->stop_attempted |= p->stopping;
	p->out.peer[0] = '\0';
	p->out.host = targets_present(&p->targets)->host;
	p->out.port = targets_present(&p->targets)->port;
	p->out.keep_target = false;
	if (p->opened_target != p->targets.present)
		p->out.memory = (struct output_memory){ 0 };
	p->opened_target = p->targets.present;
	describe_targets(p);
	set_state(p, PIPELINE_CONNECTING);
	err = p->ops->open(&p->out);
	if (err) {
		char why[160];

		snprintf(why, sizeof(why), "can not start with this configuration: %s",
			 log_strerror(err));
		on_down(p, why, 0); /* unless the transport has said more */
	}
}

/* There is data again. A peer that ends each connection soon is not asked too often. */
static void leave_idle(struct pipeline *p)
{
	set_state(p, PIPELINE_WAITING);
	loop_timer_set(p->loop, &p->act, p->opened_ms + BACKOFF_MIN_MS);
}

/* The books first, then forget the connection: the rest is read again. */
static void close_connection(struct pipeline *p)
{
	p->ops->close(&p->out);
	take_settled(p);
	window_rewind(&p->window);
	p->has_msg = false;
	p->blocked = false;
	p->must_flush = false;
	p->must_rewind = true;
	p->caught_up = false;
	p->read_after_ms = 0;
	p->all_sent_ms = 0;
	publish(p);
}

static void wait_and_open(struct pipeline *p, uint64_t pause_ms)
{
	set_state(p, PIPELINE_WAITING);
	loop_timer_set(p->loop, &p->act, loop_now_ms(p->loop) + pause_ms);
}

static void fail(struct pipeline *p)
{
	enum targets_next next;
	uint64_t pause_ms;

	next = targets_failed(&p->targets, p->had_progress, p->out.keep_target, p->why,
			      loop_now_ms(p->loop));
	if (next == TARGETS_NEXT)
		pause_ms = backoff_jitter_ms(&p->backoff, NEXT_TARGET_MS);
	else
		pause_ms = backoff_next_ms(&p->backoff, p->retry_after_ms);
	p->cursor->failures++;
	copy_text(p->cursor->last_error, sizeof(p->cursor->last_error), p->why);
	describe_targets(p);
	wait_and_open(p, pause_ms);
	tell_down(p, pause_ms, next);
}

static void move_to_first(struct pipeline *p)
{
	char text[TARGET_HOST_MAX + 32];

	targets_return(&p->targets, loop_now_ms(p->loop));
	log_info("%s: %s is well again; returning to it", p->ops->name,
		 present_text(p, text, sizeof(text)));
	wait_and_open(p, 0);
}

static void after_down(struct pipeline *p, bool had_unsettled, bool said_goodbye)
{
	if (p->moving) {
		p->moving = false;
		move_to_first(p);
		return;
	}
	if (p->stopping) {
		/* Again for what is left, unless no connection could be made for that. */
		if (has_work(p) &&
		    (!(p->stop_attempted && !p->was_up) || targets_has_untried(&p->targets))) {
			fail(p);
			return;
		}
		if (!said_goodbye) {
			p->cursor->failures++;
			copy_text(p->cursor->last_error, sizeof(p->cursor->last_error), p->why);
			log_warning("%s: %s; stopping, what is not acknowledged stays in the spool",
				    p->ops->name, p->why);
		}
		finish_for_good(p);
		return;
	}
	if (p->had_progress && !had_unsettled && !has_work(p)) {
		/* A peer may end a connection that nobody needs. */
		log_debug("%s: %s; connecting again when there is something to send", p->ops->name,
			  p->why);
		set_state(p, PIPELINE_IDLE);
		return;
	}
	fail(p);
}

static void on_act(void *arg, uint64_t now_ms)
{
	struct pipeline *p = arg;
	bool had_unsettled, said_goodbye;

	(void)now_ms;
	switch (p->state) {
	case PIPELINE_WAITING:
		open_connection(p);
		break;
	case PIPELINE_DOWN:
		had_unsettled = p->window.unsettled > 0;
		said_goodbye = p->all_sent_ms && !(had_unsettled && p->drain);
		close_connection(p);
		after_down(p, had_unsettled, said_goodbye);
		break;
	default:
		break;
	}
}

static void say_goodbye(struct pipeline *p)
{
	set_state(p, PIPELINE_FINISHING);
	if (p->ops->finish)
		p->ops->finish(&p->out);
	else
		on_down(p, NULL, 0);
}

/* ------------------------------------------------------------------ back to the first target */

/* With a goodbye, so that nothing has to be sent twice. */
static void leave_for_first(struct pipeline *p)
{
	if (p->stopping)
		return;
	if (p->state == PIPELINE_UP) {
		p->moving = true;
		say_goodbye(p);
	} else if (p->state == PIPELINE_IDLE) {
		targets_return(&p->targets, loop_now_ms(p->loop));
		describe_targets(p);
		spool_reader_publish(p->reader);
	}
}

static void on_probed(void *arg, const char *why)
{
	struct pipeline *p = arg;
	char text[WHY_SIZE];

	p->is_probing = false;
	if (!why) {
		leave_for_first(p);
		return;
	}
	copy_text(text, sizeof(text), why);
	targets_not_yet(&p->targets, text, loop_now_ms(p->loop));
	describe_targets(p);
}

/* No more is learned of the first target than that it can be connected to. */
static void look_at_first(struct pipeline *p)
{
	const struct target *first = &p->targets.list[0];

	if (p->is_probing || p->stopping ||
	    (p->state != PIPELINE_UP && p->state != PIPELINE_IDLE) ||
	    !targets_is_back_due(&p->targets, loop_now_ms(p->loop)))
		return;
	if (p->ops->probe && p->ops->probe(&p->out, first->host, first->port) == 0)
		p->is_probing = true;
	else
		leave_for_first(p);
}

/* The part of a turn that belongs to stopping. */
static void turn_to_the_end(struct pipeline *p)
{
	uint64_t now_ms = loop_now_ms(p->loop);

	switch (p->state) {
	case PIPELINE_WAITING:
	case PIPELINE_IDLE:
		if (!has_work(p) || p->act.due_ms >= p->deadline_ms)
			finish_for_good(p);
		break;
	case PIPELINE_CONNECTING:
		if (!has_work(p)) {
			close_connection(p);
			finish_for_good(p);
		}
		break;
	case PIPELINE_UP:
		if (p->drain && has_work(p))
			break;
		if (!p->all_sent_ms) {
			p->all_sent_ms = now_ms ? now_ms : 1;
			/* For the case that nothing else wakes the loop. */
			loop_timer_set(p->loop, &p->tick, now_ms + RECEIPTS_MS);
		}
		/* Some peers give their receipt only when asked by the goodbye. */
		if (!p->drain || window_is_empty(&p->window) ||
		    now_ms - p->all_sent_ms >= RECEIPTS_MS)
			say_goodbye(p);
		break;
	default:
		break;
	}
}

/* It may be a quiet one that is set. */
static void tick_soon(struct pipeline *p)
{
	uint64_t due_ms = loop_now_ms(p->loop) + TICK_MS;

	if (p->tick.due_ms > due_ms)
		loop_timer_set(p->loop, &p->tick, due_ms);
}

bool pipeline_turn(struct pipeline *p)
{
	size_t bytes = 0;
	bool more;
	int err;

	if (p->state == PIPELINE_DONE)
		return false;
	take_settled(p);
	more = pass_unwanted(p);
	if (p->state == PIPELINE_IDLE && !more && has_work(p))
		leave_idle(p);

	for (int n = 0; !more && n < TURN_MSGS && bytes < TURN_BYTES && can_send(p); n++) {
		struct msg *m = &p->msg;

		/* Before send(), which may settle it at once. */
		err = window_push(&p->window, m->seq, msg_bytes(m));
		if (!err)
			err = p->ops->send(&p->out, m);
		if (err == -EAGAIN) {
			window_unpush(&p->window, m->seq);
			p->blocked = true;
			p->must_flush = true;
			break;
		}
		if (err && err != -EMSGSIZE) {
			window_unpush(&p->window, m->seq);
			on_down(p, log_strerror(err), 0);
			break;
		}
		if (p->window.unsettled == 1) {
			p->progress_ms = loop_now_ms(p->loop);
			tick_soon(p);
		}
		p->has_msg = false;
		bytes += msg_bytes(m);
		if (err == -EMSGSIZE) {
			on_settled(p, m->seq, m->seq, OUTPUT_REJECTED,
				   "it is larger than this output can carry");
		} else {
			p->cursor->sent++;
			p->must_flush = true;
		}
		more = pass_unwanted(p);
	}
	/* A batch is not cut because this turn is over. */
	if (p->state == PIPELINE_UP && p->must_flush && !more && !can_send(p)) {
		p->must_flush = false;
		p->ops->flush(&p->out);
	}
	take_settled(p);
	publish(p);
	if (p->stopping && !more)
		turn_to_the_end(p);
	/* What flush() settled may have made room. */
	return more || can_send(p);
}

/* On a slow line what was sent may take longer to arrive than a silence may last. */
static void look_at_progress(struct pipeline *p, uint64_t now_ms)
{
	uint64_t moved;

	if (p->state != PIPELINE_UP || !p->ops->progress)
		return;
	moved = p->ops->progress(&p->out);
	if (moved > p->moved)
		p->progress_ms = now_ms;
	p->moved = moved;
}

/* Nothing is under way: what is held for more goes back. */
static void rest(struct pipeline *p, uint64_t now_ms)
{
	if (!p->has_worked || now_ms < p->rest_ms || p->has_msg || !window_is_empty(&p->window))
		return;
	p->has_worked = false;
	p->rest_ms = now_ms + pipeline_rest_ms;
	window_rest(&p->window);
	spool_reader_rest(p->reader);
	if (p->ops->rest && p->state == PIPELINE_UP)
		p->ops->rest(&p->out);
}

static void on_tick(void *arg, uint64_t now_ms)
{
	struct pipeline *p = arg;
	/* A transport may watch this, too, and then it knows more: a quarter for that. */
	uint64_t silence_ms = p->config->output_timeout_ms * 5 / 4;
	bool quiet =
		p->caught_up && window_is_empty(&p->window) && !p->stopping && !p->targets.present;

	p->caught_up = false;
	publish(p);
	spool_reader_publish(p->reader);
	look_at_first(p);
	look_at_progress(p, now_ms);
	rest(p, now_ms);
	if (!p->ops->local && p->state == PIPELINE_UP && p->window.unsettled &&
	    now_ms - p->progress_ms >= silence_ms) {
		char why[96];

		snprintf(why, sizeof(why), "the peer acknowledged nothing for %" PRIu64 " s",
			 (now_ms - p->progress_ms) / 1000);
		on_down(p, why, 0);
	}
	loop_timer_set(p->loop, &p->tick, now_ms + (quiet ? TICK_QUIET_MS : TICK_MS));
}

/* ------------------------------------------------------------------ life */

static void on_end(void *arg, uint64_t now_ms)
{
	struct pipeline *p = arg;
	char left[32];

	(void)now_ms;
	if (p->state == PIPELINE_DONE)
		return;
	if (p->state != PIPELINE_WAITING && p->state != PIPELINE_IDLE)
		close_connection(p);
	if (p->drain && pipeline_waiting(p))
		log_warning("%s: stopped at its time limit; %s events stay in the spool",
			    p->ops->name, count_text(pipeline_waiting(p), left));
	finish_for_good(p);
}

void pipeline_wake(struct pipeline *p)
{
	p->caught_up = false;
}

void pipeline_stop(struct pipeline *p, uint64_t deadline_ms, bool drain)
{
	if (p->state == PIPELINE_DONE)
		return;
	/* A second, shorter limit counts; a stop that drains may become one that does not. */
	if (p->stopping && p->deadline_ms <= deadline_ms)
		deadline_ms = p->deadline_ms;
	p->drain = drain && (!p->stopping || p->drain);
	if (!p->stopping)
		p->stop_seq = spool_reader_last_seq(p->reader);
	p->stopping = true;
	p->deadline_ms = deadline_ms;
	p->caught_up = false;
	p->read_after_ms = 0;
	loop_timer_set(p->loop, &p->end, deadline_ms);
	tick_soon(p);
	/* Don't sit out a pause; but a peer that asked for one has it. */
	if (p->state == PIPELINE_WAITING && !p->retry_after_ms)
		loop_timer_set(p->loop, &p->act, loop_now_ms(p->loop));
}

bool pipeline_is_done(const struct pipeline *p)
{
	return p->state == PIPELINE_DONE;
}

int pipeline_new(const struct pipeline_opts *opts, struct pipeline **ret)
{
	struct pipeline *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return -ENOMEM;
	err = window_init(&p->window, opts->ops->window_msgs, opts->ops->window_bytes);
	if (err) {
		free(p);
		return err;
	}
	p->loop = opts->loop;
	p->config = opts->config;
	p->ops = opts->ops;
	p->reader = opts->reader;
	p->cursor = spool_reader_cursor(opts->reader);
	p->spool_id = p->cursor->spool_id;
	p->out = (struct output){
		.ops = opts->ops,
		.loop = opts->loop,
		.config = opts->config,
		.tls = opts->tls,
		.events = &events,
		.arg = p,
	};
	p->act = (struct loop_timer){ .fn = on_act, .arg = p };
	p->tick = (struct loop_timer){ .fn = on_tick, .arg = p };
	p->end = (struct loop_timer){ .fn = on_end, .arg = p };
	targets_init(&p->targets, config_hosts(opts->config, opts->ops->name),
		     config_endpoints[opts->config->region].host, opts->config->output_failback_ms);
	if (p->ops->local)
		p->targets.n = 1;
	backoff_init(&p->backoff, opts->seed, opts->config->output_retry_max_ms);
	set_state(p, PIPELINE_WAITING);
	loop_timer_set(p->loop, &p->act, loop_now_ms(p->loop));
	loop_timer_set(p->loop, &p->tick, loop_now_ms(p->loop) + TICK_MS);
	*ret = p;
	return 0;
}

void pipeline_free(struct pipeline *p)
{
	if (!p)
		return;
	if (p->state != PIPELINE_DONE) {
		if (p->state != PIPELINE_WAITING && p->state != PIPELINE_IDLE)
			close_connection(p);
		finish_for_good(p);
	}
	window_done(&p->window);
	spool_lookup_free(p->lookup);
	spool_reader_free(p->reader);
	free(p);
}
