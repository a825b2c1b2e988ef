/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shipper's pipeline between a real spool and a transport that does all
 * that a transport may do: settles in any order, goes down at any time, is
 * busy, refuses. It keeps its own books, and both must agree.
 */
#define _GNU_SOURCE
#include "output/pipeline.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "tests/lib/test.h"
#include "user/util/clock.h"
#include "user/util/log.h"

#define MAX_SEQ 120000
#define WINDOW	256

static uint64_t random_state = 88172645463325252ull;

static uint64_t random_below(uint64_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (random_state >> 8) % n;
}

/* True once in n times. */
static bool one_in(uint64_t n)
{
	return n && random_below(n) == 0;
}

/* ------------------------------------------------------------------ the transport */

static struct {
	/* How it behaves; 0 is never, n is once in n times. */
	uint64_t fail_open, fail_connect, down, busy, send_error;
	bool at_once;	     /* settles inside of send() */
	bool mute;	     /* never settles by itself */
	bool is_slow;	     /* but what was sent goes on arriving there */
	bool receipt_at_end; /* settles when finish() asks, and then only */
	bool refuse_everything, deaf_to_finish;
	bool picky; /* wants but every third message */
	uint64_t retry_after_ms;

	struct output *out; /* NULL: closed */
	bool ready, blocked, finishing, dead;
	uint64_t last_sent;
	uint64_t flying[WINDOW + 1]; /* sent on this connection, not settled; ascending */
	int n_flying, most_flying;
	bool unflushed;

	unsigned int opens, closes, sends, flushes, finishes, wrong;
	uint64_t opened_ms[64];
	uint8_t settled[MAX_SEQ]; /* times */
	uint8_t rejected[MAX_SEQ];
	uint32_t delivered[MAX_SEQ];
} peer;

/* What can not be CHECKed there and then is counted. */
static void wrong(const char *what, uint64_t seq)
{
	if (peer.wrong++ < 5)
		printf("# the transport saw: %s (%" PRIu64 ")\n", what, seq);
}

static bool is_too_large(uint64_t seq)
{
	return seq % 1000 == 13;
}

static bool is_refused(uint64_t seq)
{
	return peer.refuse_everything || seq % 700 == 7;
}

static void peer_down(const char *why)
{
	peer.dead = true;
	peer.out->events->on_down(peer.out->arg, why, peer.retry_after_ms);
}

static int peer_open(struct output *out)
{
	if (peer.out)
		wrong("open() of an open transport", 0);
	peer.opened_ms[peer.opens++ % 64] = loop_now_ms(out->loop);
	peer.out = out;
	peer.ready = peer.blocked = peer.finishing = peer.dead = false;
	peer.n_flying = 0;
	peer.last_sent = 0;
	if (one_in(peer.fail_open))
		return -ENOKEY;
	if (peer.fail_connect != 1 && one_in(4)) {
		peer.ready = true;
		out->events->on_ready(out->arg);
	}
	return 0;
}

static void settle_range(int from, int to, bool reject)
{
	uint64_t first = peer.flying[from], last = peer.flying[to];

	for (int i = from; i <= to; i++) {
		peer.settled[peer.flying[i]]++;
		peer.rejected[peer.flying[i]] = reject;
	}
	memmove(&peer.flying[from], &peer.flying[to + 1],
		(size_t)(peer.n_flying - to - 1) * sizeof(peer.flying[0]));
	peer.n_flying -= to - from + 1;
	peer.out->events->on_settled(peer.out->arg, first, last,
				     reject ? OUTPUT_REJECTED : OUTPUT_ACKED,
				     reject ? "500 not for\r\nus" : NULL);
}

/* Settles up to n messages from position i on, as many as have the same verdict and no gap. */
static void settle_at(int i, int n)
{
	bool reject = is_refused(peer.flying[i]);
	int to = i;

	while (to + 1 < peer.n_flying && to - i + 1 < n &&
	       peer.flying[to + 1] == peer.flying[to] + 1 &&
	       is_refused(peer.flying[to + 1]) == reject)
		to++;
	settle_range(i, to, reject);
}

static void settle_all(void)
{
	while (peer.n_flying && !peer.dead)
		settle_at(0, WINDOW);
}

static bool is_unwanted(uint64_t seq)
{
	return peer.picky && seq % 3 != 0;
}

static bool peer_wants(const struct msg *m)
{
	return !is_unwanted(m->seq);
}

static int peer_send(struct output *out, const struct msg *m)
{
	char want[32];
	int len = snprintf(want, sizeof(want), "event %" PRIu64, m->seq);

	peer.sends++;
	if (!peer.ready || peer.blocked || peer.finishing || peer.dead)
		wrong("send() when it is not ready", m->seq);
	if (is_unwanted(m->seq))
		wrong("what it does not want", m->seq);
	if (m->seq <= peer.last_sent)
		wrong("numbers that do not grow", m->seq);
	if (m->text.len != (size_t)len || memcmp(m->text.p, want, m->text.len) != 0)
		wrong("another event's text", m->seq);
	if (one_in(peer.busy)) {
		peer.blocked = true;
		return -EAGAIN;
	}
	if (one_in(peer.send_error)) {
		peer.dead = true;
		return -EPIPE;
	}
	peer.last_sent = m->seq;
	if (is_too_large(m->seq)) {
		peer.settled[m->seq]++;
		peer.rejected[m->seq] = true;
		return -EMSGSIZE;
	}
	if (peer.n_flying >= WINDOW) {
		wrong("more than the window", m->seq);
		return -EIO;
	}
	peer.flying[peer.n_flying++] = m->seq;
	if (peer.n_flying > peer.most_flying)
		peer.most_flying = peer.n_flying;
	peer.delivered[m->seq]++;
	out->sent_bytes += m->text.len;
	peer.unflushed = true;
	if (peer.at_once)
		settle_all();
	else if (one_in(10000) && peer.down)
		peer_down("reset inside of send");
	return 0;
}

static void peer_flush(struct output *out)
{
	if (out != peer.out || peer.dead)
		wrong("flush() without a connection", 0);
	peer.flushes++;
	peer.unflushed = false;
}

static void peer_finish(struct output *out)
{
	if (peer.finishing || peer.dead)
		wrong("finish() without a connection", 0);
	peer.finishes++;
	peer.finishing = true;
	if (peer.deaf_to_finish)
		return;
	if (peer.receipt_at_end)
		settle_all();
	if (!peer.n_flying)
		out->events->on_down(out->arg, "the goodbye is said", 0);
}

static void peer_close(struct output *out)
{
	if (out != peer.out)
		wrong("close() of a closed transport", 0);
	peer.out = NULL;
	peer.n_flying = 0;
	peer.unflushed = false;
	peer.closes++;
}

/* It takes what was sent, slowly. */
static uint64_t peer_progress(const struct output *out)
{
	return peer.is_slow ? loop_now_ms(out->loop) : 0;
}

static const struct output_ops peer_ops = {
	.name = "peer",
	.window_msgs = WINDOW,
	.window_bytes = 1 << 20,
	.wants = peer_wants,
	.open = peer_open,
	.send = peer_send,
	.flush = peer_flush,
	.finish = peer_finish,
	.progress = peer_progress,
	.close = peer_close,
};

/* What the network would do between two turns. */
static void peer_step(void)
{
	if (!peer.out || peer.dead)
		return;
	if (one_in(peer.fail_connect) && !peer.ready) {
		peer_down("refused");
		return;
	}
	if (!peer.ready) {
		if (one_in(2)) {
			peer.ready = true;
			peer.out->events->on_ready(peer.out->arg);
		}
		return;
	}
	if (one_in(peer.down)) {
		peer_down(one_in(2) ? "reset by peer" : "timed out");
		return;
	}
	if (peer.blocked && one_in(2)) {
		peer.blocked = false;
		peer.out->events->on_ready(peer.out->arg);
	}
	if (peer.mute || peer.receipt_at_end)
		return;
	for (int n = (int)random_below(8); n > 0 && peer.n_flying && !peer.dead; n--)
		settle_at((int)random_below((uint64_t)peer.n_flying),
			  1 + (int)random_below(one_in(3) ? WINDOW : 8));
	/* Answers to what nobody has asked. */
	if (one_in(20))
		peer.out->events->on_settled(peer.out->arg, MAX_SEQ * 2, MAX_SEQ * 3, OUTPUT_ACKED,
					     NULL);
	if (peer.finishing && !peer.n_flying && !peer.deaf_to_finish)
		peer_down("the goodbye is said");
}

/* ------------------------------------------------------------------ the bench */

static struct {
	char dir[64];
	struct config config;
	struct spool *spool;
	struct loop *loop;
	struct pipeline *pipeline;
	struct spool_cursor *cursor;
	struct loop_timer again, limit;
	void (*step)(void);
	bool timed_out;
	bool check_losses; /* the cursor may pass what was not settled, if it counts it */
	uint64_t checked;  /* the cursor's move up to here was right */
} bench;

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void nothing(void *arg, uint64_t now_ms)
{
	(void)arg;
	(void)now_ms;
}

static void on_limit(void *arg, uint64_t now_ms)
{
	(void)arg;
	(void)now_ms;
	bench.timed_out = true;
	loop_stop(bench.loop, 0);
}

static void open_pipeline(void)
{
	struct pipeline_opts opts = {
		.loop = bench.loop,
		.config = &bench.config,
		.ops = &peer_ops,
		.seed = 1,
	};

	CHECK_INT(spool_reader_new(bench.dir, "peer", &opts.reader), 0);
	bench.cursor = spool_reader_cursor(opts.reader);
	bench.pipeline = NULL;
	CHECK_INT(pipeline_new(&opts, &bench.pipeline), 0);
}

static void open_spool(uint64_t max_bytes)
{
	static const char *const names[] = { "peer" };
	struct spool_opts opts = {
		.dir = bench.dir,
		.max_bytes = max_bytes,
		.segment_bytes = 1 << 18,
		.sync = SPOOL_SYNC_NONE,
		.outputs = names,
		.n_outputs = 1,
	};

	CHECK_INT(spool_new(&opts, &bench.spool), 0);
}

static void bench_init(void)
{
	memset(&peer, 0, sizeof(peer));
	memset(&bench, 0, sizeof(bench));
	snprintf(bench.dir, sizeof(bench.dir), "/tmp/test_shipper.XXXXXX");
	CHECK(mkdtemp(bench.dir) != NULL);
	bench.config.output_retry_max_ms = 1;
	bench.config.output_timeout_ms = 60000;
	open_spool(1 << 30);
	CHECK_INT(loop_new(&bench.loop), 0);
	bench.again = (struct loop_timer){ .fn = nothing };
	bench.limit = (struct loop_timer){ .fn = on_limit };
	open_pipeline();
}

static void bench_done(void)
{
	pipeline_free(bench.pipeline);
	CHECK(peer.out == NULL);
	CHECK_INT(peer.opens, peer.closes);
	CHECK_INT(peer.wrong, 0);
	loop_free(bench.loop);
	spool_free(bench.spool);
	nftw(bench.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void append(int n)
{
	for (int i = 0; i < n; i++) {
		uint64_t seq = spool_next_seq(bench.spool);
		char text[32];
		struct msg m = {
			.class = MSG_FLOW,
			.pri = 134,
			.host = SLICE("host"),
			.app = SLICE("app"),
			.text = { text, 0 },
		};

		m.text.len = (size_t)snprintf(text, sizeof(text), "event %" PRIu64, seq);
		while (spool_add(bench.spool, &m) == -ENOBUFS)
			CHECK_INT(spool_commit(bench.spool, NULL, 0, clock_mono_ms()), 0);
	}
	CHECK_INT(spool_commit(bench.spool, NULL, 0, clock_mono_ms()), 0);
}

static uint64_t appended(void)
{
	return spool_next_seq(bench.spool) - 1;
}

/* The cursor never stands behind an event that the peer has not settled. */
static void check_books(void)
{
	const struct spool_cursor *c = bench.cursor;

	while (bench.checked < c->cursor_seq) {
		bench.checked++;
		if (!peer.settled[bench.checked] && !is_unwanted(bench.checked) &&
		    !bench.check_losses)
			wrong("the cursor is ahead of the peer", bench.checked);
	}
	/* What the window says when it is used in a wrong way. */
	if (strstr(c->last_error, log_strerror(EINVAL)) ||
	    strstr(c->last_error, log_strerror(ENOBUFS)))
		wrong("a message that the window refused", c->cursor_seq);
	if (c->cursor_seq !=
	    c->start_seq + c->acked + c->rejected + c->filtered + c->lost_limit + c->lost_damage)
		wrong("the cursor's sum", c->cursor_seq);
}

static void turn(void *arg)
{
	bool more;

	(void)arg;
	peer_step();
	if (bench.step)
		bench.step();
	more = pipeline_turn(bench.pipeline);
	if (peer.unflushed && peer.ready && !peer.dead && !more)
		wrong("what was sent waits for a flush", peer.last_sent);
	check_books();
	if (pipeline_is_done(bench.pipeline) || peer.wrong)
		loop_stop(bench.loop, 0);
	/* The peer acts between turns, so none of them waits. */
	loop_timer_set(bench.loop, &bench.again, loop_now_ms(bench.loop));
}

static void run(uint64_t limit_ms)
{
	loop_timer_set(bench.loop, &bench.limit, clock_mono_ms() + limit_ms);
	loop_before_sleep(bench.loop, turn, NULL);
	CHECK_INT(loop_run(bench.loop), 0);
	CHECK(!bench.timed_out);
	CHECK_INT(peer.wrong, 0);
}

static void stop_when_settled(void)
{
	if (bench.cursor->cursor_seq == appended())
		loop_stop(bench.loop, 0);
}

/* ------------------------------------------------------------------ everything goes wrong */

#define EVENTS 100000
static int phase;
static size_t heap_at_start;

static void keep_appending(void)
{
	if (appended() < EVENTS) {
		if (peer.fail_connect != 1 && one_in(4)) {
			append(1 + (int)random_below(400));
			pipeline_wake(bench.pipeline);
		}
		/* A wake-up may be lost: then the tick finds it. */
	} else {
		stop_when_settled();
	}
	if (!heap_at_start && bench.cursor->cursor_seq > 20000)
		heap_at_start = mallinfo2().uordblks;
}

TEST(each_event_is_settled_once_and_none_is_lost)
{
	uint64_t rejected = 0, repeats = 0, lost = 0;

	bench_init();
	log_set_level(LOG_LEVEL_ERROR);
	peer.fail_open = 20;
	peer.fail_connect = 5;
	peer.down = 100;
	peer.busy = 100;
	peer.send_error = 20000;
	bench.step = keep_appending;
	heap_at_start = 0;
	run(60000);
	CHECK(mallinfo2().uordblks <= heap_at_start + 65536);
	for (uint64_t seq = 1; seq <= appended(); seq++) {
		bool want = is_too_large(seq) || is_refused(seq);

		CHECK(peer.settled[seq] >= 1);
		CHECK_INT(peer.rejected[seq], want);
		rejected += want;
		lost += !peer.delivered[seq] && !is_too_large(seq);
		repeats += peer.delivered[seq] > 1;
		if (test_failed)
			break;
	}
	CHECK_INT(lost, 0);
	CHECK_INT(bench.cursor->cursor_seq, appended());
	CHECK_INT(bench.cursor->rejected, rejected);
	CHECK_INT(bench.cursor->acked, appended() - rejected);
	CHECK_INT(pipeline_waiting(bench.pipeline), 0);
	CHECK(bench.cursor->failures > 50);
	CHECK(bench.cursor->connects > 50);
	CHECK(bench.cursor->sent >= bench.cursor->acked);
	CHECK(repeats > 0);
	CHECK(peer.most_flying == WINDOW);
	printf("# %" PRIu64 " events, %u connections, %" PRIu64 " repeated\n", appended(),
	       peer.opens, repeats);
	log_set_level(LOG_LEVEL_INFO);
	bench_done();
}

/* Cuts, refusals and a busy peer, as above; two of three messages are not for it. */
TEST(what_is_not_wanted_is_not_sent_and_in_the_books)
{
	uint64_t rejected = 0, filtered = 0;

	bench_init();
	log_set_level(LOG_LEVEL_ERROR);
	peer.picky = true;
	peer.fail_open = 20;
	peer.fail_connect = 5;
	peer.down = 100;
	peer.busy = 100;
	bench.step = keep_appending;
	run(60000);
	for (uint64_t seq = 1; seq <= appended() && !test_failed; seq++) {
		bool refused = is_too_large(seq) || is_refused(seq);

		CHECK_INT(peer.settled[seq] >= 1, !is_unwanted(seq));
		filtered += is_unwanted(seq);
		rejected += !is_unwanted(seq) && refused;
	}
	CHECK_INT(bench.cursor->cursor_seq, appended());
	CHECK_INT(bench.cursor->filtered, filtered);
	CHECK_INT(bench.cursor->rejected, rejected);
	CHECK_INT(bench.cursor->acked, appended() - rejected - filtered);
	CHECK_INT(pipeline_waiting(bench.pipeline), 0);
	log_set_level(LOG_LEVEL_INFO);
	bench_done();
}

TEST(what_is_not_wanted_needs_no_connection)
{
	bench_init();
	peer.picky = true;
	peer.fail_connect = 1;
	append(2);
	bench.step = stop_when_settled;
	run(5000);
	CHECK_INT(bench.cursor->filtered, 2);
	CHECK_INT(bench.cursor->connects, 0);
	bench_done();
}

TEST(a_transport_that_settles_inside_of_send)
{
	bench_init();
	peer.at_once = true;
	append(5000);
	bench.step = stop_when_settled;
	run(20000);
	CHECK_INT(bench.cursor->cursor_seq, 5000);
	CHECK(peer.flushes < 100);
	CHECK(strcmp(bench.cursor->state, "connected") == 0);
	bench_done();
}

/* ------------------------------------------------------------------ what the spool does */

static void overrun(void)
{
	if (appended() < EVENTS) {
		append(1000);
		spool_tick(bench.spool, clock_mono_ms());
		pipeline_wake(bench.pipeline);
		return;
	}
	peer.mute = false;
	stop_when_settled();
}

/* The cursor steps over what the spool gave up, and says so. */
TEST(what_the_spool_dropped_is_in_the_books)
{
	const struct spool_cursor *c;

	bench_init();
	log_set_level(LOG_LEVEL_ERROR);
	spool_free(bench.spool);
	open_spool(1 << 20);
	peer.mute = true;
	peer.down = 50;
	bench.step = overrun;
	bench.check_losses = true;
	run(20000);
	c = bench.cursor;
	CHECK_INT(c->cursor_seq, appended());
	CHECK(c->lost_limit > 1000);
	CHECK_INT(c->lost_damage, 0);
	CHECK_INT(c->cursor_seq, c->acked + c->rejected + c->lost_limit);
	log_set_level(LOG_LEVEL_INFO);
	bench_done();
}

static void make_the_spool_anew(void)
{
	if (phase == 0 && peer.n_flying == 99) {
		spool_free(bench.spool);
		nftw(bench.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
		open_spool(1 << 30);
		append(50);
		pipeline_wake(bench.pipeline);
		phase = 1;
	} else if (phase == 1 && peer.out && !peer.dead && peer.n_flying == 99) {
		/* The answers to the old events, at the worst time. */
		memset(peer.delivered, 0, sizeof(peer.delivered));
		settle_all();
		memset(peer.settled, 0, sizeof(peer.settled));
	} else if (phase == 1 && bench.cursor->cursor_seq == 50) {
		loop_stop(bench.loop, 0);
	} else if (peer.opens > 1) {
		peer.mute = false;
	}
}

TEST(answers_of_an_old_spool_settle_nothing_in_a_new_one)
{
	bench_init();
	log_set_level(LOG_LEVEL_ERROR);
	append(100);
	peer.mute = true;
	phase = 0;
	bench.check_losses = true;
	bench.step = make_the_spool_anew;
	run(20000);
	for (uint64_t seq = 1; seq <= 50; seq++)
		CHECK(peer.delivered[seq] || is_too_large(seq));
	CHECK_INT(bench.cursor->acked + bench.cursor->rejected, 50);
	log_set_level(LOG_LEVEL_INFO);
	bench_done();
}

/* ------------------------------------------------------------------ the next process */

static void stop_in_the_middle(void)
{
	if (bench.cursor->cursor_seq > 2000)
		loop_stop(bench.loop, 0);
}

TEST(another_process_goes_on_where_the_last_one_was)
{
	uint64_t settled, resent = 0;

	bench_init();
	append(10000);
	bench.step = stop_in_the_middle;
	run(20000);
	settled = bench.cursor->cursor_seq;
	CHECK(settled < 10000);
	pipeline_free(bench.pipeline);
	memset(peer.delivered, 0, sizeof(peer.delivered));
	open_pipeline();
	CHECK_INT(bench.cursor->cursor_seq, settled);
	bench.step = stop_when_settled;
	run(20000);
	for (uint64_t seq = 1; seq <= settled; seq++)
		resent += peer.delivered[seq];
	CHECK_INT(resent, 0);
	bench_done();
}

/* ------------------------------------------------------------------ stopping */

static void (*at_stop)(void);

static void stop_soon(void)
{
	if (bench.cursor->cursor_seq > 100 && at_stop) {
		at_stop();
		at_stop = NULL;
	}
}

static void drain_in_5_s(void)
{
	pipeline_stop(bench.pipeline, clock_mono_ms() + 5000, true);
	/* What comes after the stop is for the next start. */
	append(100);
	pipeline_wake(bench.pipeline);
}

TEST(a_stop_sends_what_is_there_and_says_goodbye)
{
	bench_init();
	append(5000);
	bench.step = stop_soon;
	at_stop = drain_in_5_s;
	run(4000);
	CHECK(pipeline_is_done(bench.pipeline));
	CHECK_INT(bench.cursor->cursor_seq, 5000);
	CHECK_INT(peer.finishes, 1);
	CHECK_INT(bench.cursor->failures, 0);
	CHECK_STR(bench.cursor->state, "stopped");
	CHECK_INT(pipeline_waiting(bench.pipeline), 100);
	bench_done();
}

TEST(a_stop_survives_lost_connections)
{
	bench_init();
	log_set_level(LOG_LEVEL_ERROR);
	append(20000);
	peer.down = 100;
	bench.step = stop_soon;
	at_stop = drain_in_5_s;
	run(6000);
	CHECK(pipeline_is_done(bench.pipeline));
	CHECK_INT(bench.cursor->cursor_seq, 20000);
	log_set_level(LOG_LEVEL_INFO);
	bench_done();
}

TEST(a_peer_that_gives_receipts_at_the_end_only)
{
	bench_init();
	peer.receipt_at_end = true;
	append(200);
	CHECK_INT(bench.cursor->cursor_seq, 0);
	pipeline_stop(bench.pipeline, clock_mono_ms() + 5000, true);
	run(4000);
	CHECK(pipeline_is_done(bench.pipeline));
	CHECK_INT(bench.cursor->cursor_seq, 200);
	CHECK_INT(peer.finishes, 1);
	bench_done();
}

TEST(a_stop_with_nothing_to_send_does_not_wait)
{
	bench_init();
	pipeline_stop(bench.pipeline, clock_mono_ms() + 600000, true);
	run(400);
	CHECK(pipeline_is_done(bench.pipeline));
	CHECK_INT(peer.finishes, 0);
	bench_done();
}

static void stop_when_backing_off(void)
{
	if (strcmp(bench.cursor->state, "backing off") == 0 && peer.opens == 1)
		pipeline_stop(bench.pipeline, clock_mono_ms() + 600000, true);
}

TEST(a_stop_with_a_dead_peer_tries_once)
{
	bench_init();
	bench.config.output_retry_max_ms = 60000;
	peer.fail_connect = 1;
	append(10);
	bench.step = stop_when_backing_off;
	log_set_level(LOG_LEVEL_ERROR);
	run(4000);
	CHECK(pipeline_is_done(bench.pipeline));
	CHECK_INT(peer.opens, 2);
	CHECK_STR(bench.cursor->last_error, "refused");
	log_set_level(LOG_LEVEL_INFO);
	bench_done();
}

TEST(a_stop_ends_at_its_deadline)
{
	bench_init();
	peer.mute = peer.deaf_to_finish = true;
	append(1000);
	pipeline_stop(bench.pipeline, clock_mono_ms() + 300, true);
	run(5000);
	CHECK(pipeline_is_done(bench.pipeline));
	CHECK_INT(bench.cursor->cursor_seq, 0);
	CHECK_STR(bench.cursor->state, "stopped");
	bench_done();
}

static void do_not_drain(void)
{
	pipeline_stop(bench.pipeline, clock_mono_ms() + 2000, false);
	peer.sends = 0;
}

TEST(an_orphan_sends_nothing_more_but_takes_the_answers)
{
	bench_init();
	append(20000);
	bench.step = stop_soon;
	at_stop = do_not_drain;
	run(4000);
	CHECK(pipeline_is_done(bench.pipeline));
	CHECK_INT(peer.sends, 0);
	CHECK_INT(peer.finishes, 1);
	CHECK(bench.cursor->cursor_seq < 20000);
	/* All answers were taken: nothing that was sent is left open. */
	CHECK(peer.settled[bench.cursor->cursor_seq]);
	CHECK(!peer.delivered[bench.cursor->cursor_seq + 1]);
	bench_done();
}

/* ------------------------------------------------------------------ what people read */

static int saved_stderr;
static char said[65536];

static void listen_begin(void)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);

	fflush(stderr);
	saved_stderr = dup(STDERR_FILENO);
	dup2(fd, STDERR_FILENO);
	close(fd);
}

static void listen_end(void)
{
	ssize_t n = pread(STDERR_FILENO, said, sizeof(said) - 1, 0);

	said[n > 0 ? n : 0] = '\0';
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
}

static int count_said(const char *what)
{
	int n = 0;

	for (const char *p = said; (p = strstr(p, what)); p++)
		n++;
	return n;
}

static void recover_after_50(void)
{
	if (peer.opens == 50)
		peer.fail_connect = 0;
	stop_when_settled();
}

TEST(the_same_failure_is_told_once)
{
	bench_init();
	append(12345);
	peer.fail_connect = 1;
	bench.step = recover_after_50;
	listen_begin();
	run(20000);
	listen_end();
	CHECK_INT(count_said("peer: refused; retrying in 1 ms\n"), 1);
	CHECK_INT(count_said("refused;"), 1);
	CHECK_INT(count_said("peer: connected after "), 1);
	CHECK_INT(count_said(" attempts, 12,345 events waiting\n"), 1);
	/* Two kinds of refusal, many events, one line; and no second line within it. */
	CHECK_INT(count_said("was refused: "), 1);
	CHECK_STR(bench.cursor->state, "connected");
	if (test_failed)
		printf("# %s", said);
	bench_done();
}

TEST(the_peers_words_can_not_forge_a_line)
{
	bench_init();
	peer.refuse_everything = true;
	append(3);
	bench.step = stop_when_settled;
	listen_begin();
	run(20000);
	listen_end();
	CHECK_INT(count_said("was refused: 500 not for  us;"), 1);
	CHECK(strstr(bench.cursor->last_error, "500 not for  us") != NULL);
	bench_done();
}

/* ------------------------------------------------------------------ retry */

static void stop_at_4_opens(void)
{
	if (peer.opens >= 4)
		loop_stop(bench.loop, 0);
}

TEST(a_peer_may_ask_for_a_pause)
{
	bench_init();
	append(1);
	peer.fail_connect = 1;
	peer.retry_after_ms = 120;
	bench.step = stop_at_4_opens;
	log_set_level(LOG_LEVEL_ERROR);
	run(20000);
	for (int i = 1; i < 4; i++)
		CHECK(peer.opened_ms[i] - peer.opened_ms[i - 1] >= 120);
	log_set_level(LOG_LEVEL_INFO);
	bench_done();
}

static void stop_at_2_opens(void)
{
	if (peer.opens >= 2)
		loop_stop(bench.loop, 0);
}

TEST(a_silent_peer_is_left)
{
	bench_init();
	bench.config.output_timeout_ms = 100;
	peer.mute = true;
	append(10);
	bench.step = stop_at_2_opens;
	log_set_level(LOG_LEVEL_ERROR);
	run(20000);
	CHECK(strstr(bench.cursor->last_error, "acknowledged nothing") != NULL);
	CHECK_INT(bench.cursor->failures, 1);
	log_set_level(LOG_LEVEL_INFO);
	bench_done();
}

static void stop_after_2_s(void)
{
	static uint64_t from_ms;
	uint64_t now_ms = loop_now_ms(bench.loop);

	if (!from_ms)
		from_ms = now_ms;
	if (peer.opens >= 2 || now_ms - from_ms >= 2000)
		loop_stop(bench.loop, 0);
	else
		loop_timer_set(bench.loop, &bench.again, now_ms + 20);
}

/* What takes longer to send than a silence may last would be begun again for ever. */
TEST(a_slow_line_is_no_silent_peer)
{
	bench_init();
	bench.config.output_timeout_ms = 400;
	peer.mute = peer.is_slow = true;
	append(10);
	bench.step = stop_after_2_s;
	run(20000);
	CHECK_INT(peer.opens, 1);
	CHECK_INT(bench.cursor->failures, 0);
	CHECK_INT(peer.n_flying, 10);
	bench_done();
}

static void idle_phases(void)
{
	if (phase == 0 && bench.cursor->cursor_seq == 10) {
		phase = 1;
	} else if (phase == 1 && peer.out && !peer.dead) {
		peer_down("closed by peer");
		phase = 2;
	} else if (phase == 2 && strcmp(bench.cursor->state, "idle") == 0) {
		append(5);
		pipeline_wake(bench.pipeline);
		phase = 3;
	} else if (phase == 3 && bench.cursor->cursor_seq == 15) {
		loop_stop(bench.loop, 0);
	}
}

TEST(a_connection_that_nobody_needs_may_end)
{
	bench_init();
	append(10);
	phase = 0;
	bench.step = idle_phases;
	run(20000);
	CHECK_INT(phase, 3);
	CHECK_INT(bench.cursor->failures, 0);
	CHECK_INT(bench.cursor->connects, 2);
	bench_done();
}
