/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the rooms meet: drain the sources, make records, append them in
 * batches, move the sources' positions behind each batch, wake the shipper.
 *
 * A batch is committed with the positions of all sources. What a commit refuses
 * (a full disk) stays in the batch and in the rings; nothing is drained until
 * it went through, so the kernel keeps what fits and counts the rest.
 *
 * A sample can be more records than a batch should have. Its source then stops
 * when the sink is full, and goes on with it behind the commit; how far it had
 * come is in what it prepares for that, so that a crash there repeats nothing.
 */
#define _GNU_SOURCE
#include "user/collector.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "config/config.h"
#include "output/spool.h"
#include "user/books.h"
#include "user/cgroup.h"
#include "user/collector_sandbox.h"
#include "user/container_names.h"
#include "user/flow_rules.h"
#include "user/host.h"
#include "user/losses.h"
#include "user/monitor.h"
#include "user/names.h"
#include "user/nat.h"
#include "user/probe.h"
#include "user/process.h"
#include "user/record.h"
#include "user/reload.h"
#include "user/routes.h"
#include "user/secrets.h"
#include "user/shipper_process.h"
#include "user/source.h"
#include "user/source_backfill.h"
#include "user/source_self.h"
#include "user/task_ids.h"
#include "user/users.h"
#include "user/util/clock.h"
#include "user/util/log.h"
#include "user/util/loop.h"
#include "user/util/notify.h"
#include "user/util/privs.h"

#define DRAIN_MS      100	  /* how long an event waits at the most */
#define EMPTY_LOOKS   2		  /* so many in a row, and the next event is to wake us */
#define TICK_MS	      1000	  /* clocks, users, spool, sweeps */
#define COMMIT_BYTES  (512 << 10) /* a batch is committed when it has this much, */
#define COMMIT_PART   8		  /* or this part of a small spool: a batch is half of it at most */
#define DRAIN_SAMPLES 20000	  /* per turn of the loop, so that signals get their turn */
#define QUIET_MS      5
#define QUIET_TURNS   100 /* on stopping */
#define STUCK_LOG_MS  60000
#define RELOAD_MS     1000 /* for the goodbyes of a shipper that is replaced */
#define HAND_OVER_MS  500
#define STOP_SPARE_MS 15000 /* what a stop takes beside its waiting, on a slow host */
#define RATE_SECONDS  60
#define BOOKS_TICKS   10 /* the books are looked at this rarely while nothing happens */

struct watched {
	struct source *source;
	struct loop_io io;
	struct collector *collector;
};

struct collector {
	const struct config *origin; /* what we were started with */
	const struct config *config; /* what counts: that, or */
	struct config *reloaded;     /* what SIGHUP brought */
	struct loop *loop;
	struct kernel *kernel;
	int kernel_lock_fd;
	struct flow_rules *rules;
	int cgroup_root_fd;
	struct spool *spool;
	uid_t reader_uid;
	struct shipper_process *shipper;
	struct sink sink;
	struct host host;
	struct watched sources[SOURCE_MAX];
	int n_sources;
	struct notify notify;
	char status[160];    /* what the service manager shows while all is well */
	struct source *self; /* one of them */
	struct losses *losses;
	struct container_names *containers;  /* NULL: not wanted, or not to be had */
	struct monitor *monitor;	     /* NULL: none */
	struct books *books;		     /* as they were read last */
	uint64_t run_id;		     /* CLOCK_BOOTTIME when we began */
	uint64_t appended_then;		     /* when we began */
	uint64_t appended[RATE_SECONDS + 1]; /* by second */
	uint64_t ticks;
	pid_t shipper_pid; /* as sink.own knows it */
	struct loop_timer drain_timer, tick_timer, watchdog_timer;
	int empty_looks;
	uint64_t quiet_ticks; /* since something was taken */
	bool has_news;	      /* something was taken since the last sweep */
	uint64_t swept_ms, next_sweep_ms;
	uint64_t sweep_every_ms, sweep_latest_ms; /* at the least, at the most */
	uint64_t skipped;			  /* programs of flows, as of the last sweep */
	uint64_t commit_bytes;
	uint64_t stuck_since_ms; /* 0: commits go through */
	uint64_t stuck_logged_ms;
	struct spool_stats drops_told;
	uint64_t drops_told_ms;
	bool stuck_told; /* this time; a disk that is full on and off is told once a minute */
	bool stopping, stopped_clean;
	bool leave_kernel; /* what it holds is not in the spool */
	bool handing_over; /* to the next collector, with all that is attached */
};

static uint32_t source_events_of(const struct watched *w)
{
	return w->source->edge ? EPOLLIN | EPOLLET : EPOLLIN;
}

/* A ring stays readable while the spool is stuck: then only the timer looks. */
static void watch_sources(struct collector *c, bool on)
{
	for (int i = 0; i < c->n_sources; i++)
		if (c->sources[i].io.loop)
			loop_watch(&c->sources[i].io, on ? source_events_of(&c->sources[i]) : 0);
}

/* What the sources keep on disk beside the batch. It lives in the spool's directory. */
static int prepare(struct collector *c)
{
	int err = 0;

	for (int i = 0; i < c->n_sources && !err; i++) {
		struct source *s = c->sources[i].source;

		if (!s->ops->prepare)
			continue;
		err = s->ops->prepare(s, spool_next_seq(c->spool));
		if (err == -ENOENT && !spool_restore(c->spool))
			err = s->ops->prepare(s, spool_next_seq(c->spool));
	}
	return err;
}

/* Captures that ours has replaced: they go when all that was in them is in the spool. */
static void drop_older(struct collector *c)
{
	if (!c->kernel || !kernel_has_older(c->kernel))
		return;
	for (int i = 0; i < c->n_sources; i++)
		if (c->sources[i].source->behind)
			return;
	kernel_drop_older(c->kernel);
	/* What ended while one gave way to the other may not have been seen. */
	c->next_sweep_ms = 0;
	if (!kernel_has_older(c->kernel))
		log_info("bpf: the capture of before was read to its end, and is removed");
}

static int commit(struct collector *c)
{
	struct spool_position positions[SOURCE_MAX];
	size_t bytes;
	uint32_t events = spool_pending(c->spool, &bytes);
	int err = prepare(c);

	for (int i = 0; i < c->n_sources; i++) {
		const struct source *s = c->sources[i].source;

		positions[i] = (struct spool_position){
			.source = s->ops->id,
			.generation = s->generation,
			.position = s->position,
		};
	}
	if (!err)
		err = spool_commit(c->spool, positions, c->n_sources, c->sink.now_ms);
	if (err) {
		if (!c->stuck_since_ms) {
			c->stuck_since_ms = c->sink.now_ms;
			watch_sources(c, false);
		}
		if (!c->stuck_logged_ms || c->sink.now_ms - c->stuck_logged_ms >= STUCK_LOG_MS) {
			log_error("spool %s: %s; events wait in the kernel until it can be written",
				  c->config->spool_dir, log_strerror(err));
			c->stuck_logged_ms = c->sink.now_ms;
			c->stuck_told = true;
			notify_send(&c->notify, "STATUS=spool can not be written: %s",
				    log_strerror(err));
		}
		return err;
	}
	if (c->stuck_since_ms) {
		if (c->stuck_told) {
			notify_send(&c->notify, "STATUS=%s", c->status);
			log_info("spool %s: written again after %llu s", c->config->spool_dir,
				 (unsigned long long)(c->sink.now_ms - c->stuck_since_ms) / 1000);
		}
		c->stuck_since_ms = 0;
		c->stuck_told = false;
		watch_sources(c, true);
	}
	for (int i = 0; i < c->n_sources; i++)
		c->sources[i].source->ops->release(c->sources[i].source);
	if (c->shipper && events)
		shipper_wake(c->shipper);
	drop_older(c);
	return 0;
}

static int on_add(void *arg, const struct msg *m)
{
	struct collector *c = arg;

	return spool_add(c->spool, m);
}

static uint64_t on_next_seq(void *arg)
{
	struct collector *c = arg;

	return spool_next_seq(c->spool);
}

/* struct sink: is it time for a commit? Below that, any message has room. */
static bool is_full(void *arg)
{
	struct collector *c = arg;
	size_t bytes;

	spool_pending(c->spool, &bytes);
	return bytes >= c->commit_bytes;
}

/* ------------------------------------------------------------------- books */

static uint64_t appended_now(const struct collector *c)
{
	struct spool_stats s;

	spool_get_stats(c->spool, &s);
	return s.last_seq;
}

/* Whole seconds, and a fair number also in the first of them. */
static uint64_t rate(uint64_t events, uint64_t seconds)
{
	return events / (seconds ? seconds : 1);
}

static struct books_daemon daemon_books(const struct collector *c)
{
	uint64_t seconds = c->ticks < RATE_SECONDS ? c->ticks : RATE_SECONDS;
	uint64_t now = appended_now(c), uptime_ns = clock_boot_ns() - c->run_id;
	struct monitor_stats monitor;

	monitor_get_stats(c->monitor, &monitor);
	return (struct books_daemon){
		.uptime_ns = uptime_ns,
		.rate = rate(now - c->appended_then, uptime_ns / 1000000000),
		.rate_minute =
			rate(now - c->appended[(c->ticks - seconds) % (RATE_SECONDS + 1)], seconds),
		.stuck_ns =
			c->stuck_since_ms ? (clock_mono_ms() - c->stuck_since_ms) * 1000000 + 1 : 0,
		.monitor_requests = monitor.requests,
		.monitor_refused = monitor.refused,
	};
}

static void read_books(void *arg, struct books *ret, enum books_extent extent)
{
	struct collector *c = arg;
	struct source *list[SOURCE_MAX];

	for (int i = 0; i < c->n_sources; i++)
		list[i] = c->sources[i].source;
	books_read(ret,
		   &(struct books_inputs){ .config = c->config,
					   .kernel = c->kernel,
					   .spool = c->spool,
					   .sources = list,
					   .n_sources = c->n_sources,
					   .names = c->sink.names,
					   .nat = c->sink.nat,
					   .containers = c->containers,
					   .losses = c->losses,
					   .shipper = c->shipper,
					   .hostname = c->host.name,
					   .run_id = c->run_id,
					   .daemon = daemon_books(c) },
		   extent);
}

/* A shipper that was started anew is ours from its first packet on. */
static void know_shipper(struct collector *c)
{
	struct shipper_process_stats s;

	if (!c->shipper)
		return;
	shipper_get_stats(c->shipper, &s);
	if (!s.pid || s.pid == c->shipper_pid)
		return;
	c->shipper_pid = s.pid;
	own_add(&c->sink.own, (uint32_t)s.pid, s.fork_from_ns, s.fork_to_ns);
}

/* ------------------------------------------------------------------- drain */

static void read_clocks(struct collector *c)
{
	c->sink.record->boot_to_real_ns = clock_boot_to_real_ns();
	c->sink.record->kernel_to_real_ns = host_kernel_to_real_ns();
}

/* Takes what there is, up to a budget. True when nothing is left. */
static bool drain(struct collector *c, uint64_t now_ms)
{
	int budget = DRAIN_SAMPLES;
	bool empty;

	c->sink.now_ms = now_ms;
	know_shipper(c);
	if (c->stuck_since_ms && commit(c))
		return true; /* nothing moves; the timer tries again */
	/* What happened after the clock was stepped must not be told in the old time. */
	read_clocks(c);
	do {
		empty = true;
		for (int i = 0; i < c->n_sources; i++) {
			struct source *s = c->sources[i].source;

			for (int n = 0; n < 256; n++) {
				if (s->ops->take(s, &c->sink) <= 0)
					break;
				empty = false;
				if (!s->ops->quiet) {
					c->empty_looks = 0;
					c->has_news = true;
				}
				budget--;
				if (is_full(c) && commit(c))
					return true;
			}
		}
	} while (!empty && budget > 0);
	commit(c);
	return empty;
}

/* ------------------------------------------------------------------- asleep */

/* Only the tick looks, and whatever is captured wakes us. */
static bool is_asleep(const struct collector *c)
{
	return c->empty_looks > EMPTY_LOOKS;
}

static bool may_sleep(const struct collector *c)
{
	if (c->stuck_since_ms || (c->kernel && kernel_has_older(c->kernel)))
		return false;
	for (int i = 0; i < c->n_sources; i++)
		if (c->sources[i].source->soon)
			return false;
	return true;
}

/*
 * The kernel is told one look before the last: a program that knew nothing of it yet has
 * submitted its sample until then.
 */
static void look(struct collector *c, uint64_t now_ms)
{
	bool empty = drain(c, now_ms);

	if (!may_sleep(c))
		c->empty_looks = 0;
	if (c->kernel && c->empty_looks <= EMPTY_LOOKS)
		kernel_set_asleep(c->kernel, c->empty_looks == EMPTY_LOOKS);
	if (!empty)
		loop_timer_set(c->loop, &c->drain_timer, now_ms);
	else if (!is_asleep(c))
		loop_timer_set(c->loop, &c->drain_timer, now_ms + DRAIN_MS);
}

static void on_drain_timer(void *arg, uint64_t now_ms)
{
	struct collector *c = arg;

	c->empty_looks++;
	look(c, now_ms);
}

static void on_source(void *arg, uint32_t events)
{
	struct watched *w = arg;
	struct collector *c = w->collector;

	(void)events;
	/* The program that woke us has taken the wish back: it is told anew. */
	if (!w->source->ops->quiet && !w->source->ops->apart)
		c->empty_looks = 0;
	look(c, loop_now_ms(c->loop));
}

/* False: the spool is stuck. */
static bool flush_source(struct collector *c, struct source *s, bool all)
{
	while (s->ops->flush && !s->ops->flush(s, &c->sink, all))
		if (commit(c))
			return false;
	return true;
}

static void flush_sources(struct collector *c, bool all)
{
	for (int i = 0; i < c->n_sources; i++)
		if (!flush_source(c, c->sources[i].source, all))
			return;
}

/* What is given up is told once a minute, with what it was. */
static void tell_drops(struct collector *c, uint64_t now_ms)
{
	static const char *const limits[] = { [SPOOL_LOST_LIMIT] = "at its limit (spool.max_bytes)",
					      [SPOOL_LOST_AGE] =
						      "events are older than spool.max_age" };
	static const char *const names[] = { [MSG_JOURNAL] = "journal lines",
					     [MSG_FLOW] = "flows",
					     [MSG_KERNEL] = "kernel events",
					     [MSG_SELF] = "of its own" };
	struct spool_stats s;

	spool_get_stats(c->spool, &s);
	if (s.dropped == c->drops_told.dropped ||
	    (c->drops_told_ms && now_ms - c->drops_told_ms < STUCK_LOG_MS))
		return;
	for (int reason = 0; reason < SPOOL_LOSSES; reason++) {
		uint64_t unknown = s.dropped_unknown - c->drops_told.dropped_unknown;
		char what[160] = "";
		size_t len = 0;

		for (int class = 0; class < MSG_CLASSES; class ++) {
			uint64_t n = s.drops[reason][class].events -
				     c->drops_told.drops[reason][class].events;

			if (n)
				len += (size_t)snprintf(what + len, sizeof(what) - len, "%s%llu %s",
							len ? ", " : "", (unsigned long long)n,
							names[class]);
		}
		if (unknown && reason == SPOOL_LOST_LIMIT)
			len += (size_t)snprintf(what + len, sizeof(what) - len, "%s%llu events",
						len ? ", " : "", (unsigned long long)unknown);
		if (len)
			log_warning("spool %s: %s: dropped before the intake has taken them: %s "
				    "since the last such line",
				    c->config->spool_dir, limits[reason], what);
	}
	c->drops_told = s;
	c->drops_told_ms = now_ms;
}

/* A cgroup's id is another one when its service has been started again. */
static void refresh_rules(struct collector *c)
{
	_cleanup_(flow_rules_freep) struct flow_rules *now = NULL;
	char text[200];

	if (!c->kernel || !c->config->flows_cgroups ||
	    flow_rules_new(c->config, c->cgroup_root_fd, NULL, text, sizeof(text), &now) < 0 ||
	    flow_rules_equal(now, c->rules) || kernel_set_rules(c->kernel, now) < 0)
		return;
	flow_rules_free(c->rules);
	c->rules = TAKE_PTR(now);
}

/*
 * While something happens, every now and then: a flow whose end was not seen is told at once, for
 * its socket may soon be another one. Else when a flow is due: of those that began since, none
 * is before its timeout has passed once.
 */
static void sweep(struct collector *c, uint64_t now_ms)
{
	uint64_t skipped = kernel_get_skipped(c->kernel, KERNEL_FLOWS), due_ns, boot_ns, wait_ms;

	if (now_ms < c->next_sweep_ms &&
	    ((skipped == c->skipped && !c->has_news) || now_ms - c->swept_ms < c->sweep_every_ms))
		return;
	c->skipped = skipped;
	c->has_news = false;
	c->swept_ms = now_ms;
	kernel_sweep(c->kernel, false);
	due_ns = kernel_next_due_ns(c->kernel);
	boot_ns = clock_boot_ns();
	wait_ms = due_ns > boot_ns ? (due_ns - boot_ns) / 1000000 + 1 : 0;
	if (wait_ms < c->sweep_every_ms)
		wait_ms = c->sweep_every_ms;
	if (wait_ms > c->sweep_latest_ms)
		wait_ms = c->sweep_latest_ms;
	c->next_sweep_ms = now_ms + wait_ms;
}

static void on_tick(void *arg, uint64_t now_ms)
{
	struct collector *c = arg;

	loop_timer_set(c->loop, &c->tick_timer, now_ms + TICK_MS);
	c->sink.now_ms = now_ms;
	read_clocks(c);
	if (!c->stuck_since_ms)
		flush_sources(c, false);
	spool_tick(c->spool, now_ms);
	tell_drops(c, now_ms);
	shipper_check_view(c->shipper);
	if (c->sink.nat)
		kernel_set_nat(c->kernel, nat_is_used(c->sink.nat, now_ms));
	refresh_rules(c);
	c->appended[++c->ticks % (RATE_SECONDS + 1)] = appended_now(c);
	c->quiet_ticks = is_asleep(c) ? c->quiet_ticks + 1 : 0;
	if (!c->stuck_since_ms &&
	    (c->quiet_ticks < BOOKS_TICKS || c->quiet_ticks % BOOKS_TICKS == 0))
		source_self_look(c->self, &c->sink);
	if (c->kernel)
		sweep(c, now_ms);
	if (is_asleep(c) && !c->stopping)
		look(c, now_ms);
}

/* From the loop: a collector that hangs in it is killed, and started again. */
static void on_watchdog(void *arg, uint64_t now_ms)
{
	struct collector *c = arg;

	loop_timer_set(c->loop, &c->watchdog_timer, now_ms + c->notify.watchdog_ms);
	notify_send(&c->notify, "WATCHDOG=1");
}

static void tell_ready(struct collector *c)
{
	snprintf(c->status, sizeof(c->status), "%s%s%s%sto %s%s",
		 c->kernel && kernel_has(c->kernel, KERNEL_FLOWS) ? "flows " : "",
		 c->kernel && kernel_has(c->kernel, KERNEL_JOURNAL) ? "journal " : "",
		 c->kernel && kernel_has(c->kernel, KERNEL_EVENTS) ? "events " : "",
		 c->config->kernel_log ? "kernel-log " : "", c->config->output,
		 c->kernel && kernel_was_adopted(c->kernel) ? "; resumed from the kernel's rings"
		 : c->kernel && kernel_has_older(c->kernel) ? "; took over from another capture"
							    : "");
	log_info("ready: %s", c->status);
	notify_send(&c->notify, "READY=1\nSTATUS=%s", c->status);
	c->watchdog_timer = (struct loop_timer){ .fn = on_watchdog, .arg = c };
	if (c->notify.watchdog_ms)
		on_watchdog(c, loop_now_ms(c->loop));
}

static void on_shipper_stopped(void *arg, bool clean)
{
	struct collector *c = arg;

	c->stopped_clean = clean;
	loop_stop(c->loop, 0);
}

static void drain_all(struct collector *c, uint64_t now_ms)
{
	while (!drain(c, now_ms))
		;
}

static uint64_t ring_samples(const struct collector *c)
{
	uint64_t n = 0;

	for (int i = 0; i < c->n_sources; i++)
		if (!c->sources[i].source->ops->apart)
			n += c->sources[i].source->stats.samples;
	return n;
}

/*
 * The kernel lets go of a program some time after its last pin went (the work
 * is deferred), and one that runs at that moment is still to submit its sample.
 */
static void drain_until_quiet(struct collector *c, uint64_t now_ms)
{
	const struct timespec pause = { .tv_nsec = QUIET_MS * 1000000 };

	for (int turn = 0, quiet = 0; turn < QUIET_TURNS && quiet < 2; turn++) {
		uint64_t before = ring_samples(c);

		nanosleep(&pause, NULL);
		drain_all(c, now_ms);
		quiet = ring_samples(c) == before ? quiet + 1 : 0;
	}
}

/* The tables may hold more flows than the ring: those that found no room come with the next sweep.
 */
static void sweep_until_empty(struct collector *c, uint64_t now_ms)
{
	struct kernel_counters before = { 0 }, after = { 0 };

	do {
		before = after;
		kernel_sweep(c->kernel, true);
		drain_all(c, now_ms);
		if (kernel_get_counters(c->kernel, KERNEL_FLOWS, &after) < 0)
			return;
		/* The first time it is not known how many were put off before. */
	} while (after.reports_put_off != before.reports_put_off && !c->stuck_since_ms);
}

/* Nothing more enters the spool: what is in the rings must outlive this process. */
static void leave_to_the_next(struct collector *c, const char *which)
{
	c->leave_kernel = true;
	log_warning("spool %s: can not be written still: what is not in it stays in the kernel%s; "
		    "the next start takes it over, \"sekoia-ebpf cleanup\" gives it up",
		    c->config->spool_dir, which);
}

/* The kernel keeps nothing of these for the next one. */
static void flush_files(struct collector *c)
{
	for (int i = 0; i < c->n_sources; i++)
		if (c->sources[i].source->ops->id == SOURCE_FILES &&
		    !flush_source(c, c->sources[i].source, true))
			return;
	drain_all(c, c->sink.now_ms);
}

/*
 * For a successor, which is another version perhaps: the kernel goes on collecting.
 */
static void hand_over(struct collector *c, uint64_t now_ms)
{
	c->handing_over = true;
	log_info("handing over: the kernel goes on collecting for the next start");
	drain_all(c, now_ms);
	flush_files(c);
	watch_sources(c, false);
	loop_timer_cancel(&c->drain_timer);
	/* Answers that are on their way save the next one from sending that again. */
	shipper_stop(c->shipper, now_ms + HAND_OVER_MS, on_shipper_stopped, c);
}

static void set_sweeps(struct collector *c)
{
	const struct config *config = c->config;

	c->sweep_latest_ms = config->flows_idle_timeout_ms < config->flows_active_timeout_ms
				     ? config->flows_idle_timeout_ms
				     : config->flows_active_timeout_ms;
	if (c->sweep_latest_ms < TICK_MS)
		c->sweep_latest_ms = TICK_MS;
	c->sweep_every_ms = c->sweep_latest_ms / 8;
	if (c->sweep_every_ms < TICK_MS)
		c->sweep_every_ms = TICK_MS;
}

/* Nothing stops: sources and spool go on, and the shipper changes between two batches. */
static void reload(struct collector *c, uint64_t now_ms)
{
	struct config *next = NULL;
	enum config_live live;

	if (reload_config(c->origin, c->config, &next, &live) < 0)
		return;
	c->config = c->sink.config = next;
	shipper_set_config(c->shipper, next);
	config_free(c->reloaded);
	c->reloaded = next;
	log_set_level((enum log_level)next->log_level);
	if (c->kernel) {
		kernel_set_timing(c->kernel, next->flows_active_timeout_ms * 1000000,
				  next->flows_idle_timeout_ms * 1000000, next->flows_loopback);
		set_sweeps(c);
		c->next_sweep_ms = now_ms;
	}
	if (live == CONFIG_LIVE_SHIPPER)
		shipper_restart(c->shipper, now_ms + RELOAD_MS);
}

static void on_signal(void *arg, int signo)
{
	struct collector *c = arg;
	uint64_t now_ms = clock_mono_ms();

	if (signo == SIGHUP) {
		if (!c->stopping)
			reload(c, now_ms);
		return;
	}

	if (signo == SIGUSR2 && !c->stopping) {
		c->stopping = c->sink.stopping = true;
		hand_over(c, now_ms);
		return;
	}
	if (c->stopping) {
		log_info("%s again: stopping now; the rest stays in the spool", sigdescr_np(signo));
		shipper_stop(c->shipper, now_ms, on_shipper_stopped, c);
		return;
	}
	c->stopping = c->sink.stopping = true;
	/* Longer than the manager would wait by itself, perhaps. */
	notify_send(&c->notify, "STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=%llu",
		    (unsigned long long)(c->config->stop_timeout_ms + STOP_SPARE_MS) * 1000);
	log_info("%s: stopping; waiting up to %llu s for acknowledgements", sigdescr_np(signo),
		 (unsigned long long)c->config->stop_timeout_ms / 1000);
	drain_all(c, now_ms);
	if (c->stuck_since_ms) {
		leave_to_the_next(c, ", which goes on collecting");
	} else {
		if (c->kernel) {
			/* Packets that pass between the two sweeps are in the second one. */
			kernel_end_flows(c->kernel);
			kernel_detach(c->kernel);
			drain_until_quiet(c, now_ms);
			sweep_until_empty(c, now_ms);
		}
		drain_all(c, now_ms);
		flush_sources(c, true);
		/* The disk may be full by now: what is detached is still in its rings. */
		if (commit(c))
			leave_to_the_next(c, c->kernel ? ", which collects no more" : "");
	}
	/* What comes from now on is for the next collector. */
	watch_sources(c, false);
	loop_timer_cancel(&c->drain_timer);
	/* The shipper sends what is there when it hears of the stop. */
	watch_sources(c, false);
	shipper_stop(c->shipper, now_ms + c->config->stop_timeout_ms, on_shipper_stopped, c);
}

/* ------------------------------------------------------------------- start */

/* The shipper would fail at it again and again, and events would wait for nothing. */
static int check_reader(const struct collector *c, const char *user, uid_t uid, gid_t gid)
{
	const char *dir = c->config->spool_dir;
	_cleanup_free_ char *refusal = NULL;
	struct stat st, last;
	bool is_last;
	int err;

	if (uid == 0 || gid == 0) {
		log_error("shipper.user: %s is root, or in its group; the shipper runs as neither",
			  user);
		return -EINVAL;
	}
	err = privs_can_reach(dir, uid, gid, &refusal);
	if (err != -EACCES || stat(refusal, &st) < 0 || stat(dir, &last) < 0)
		return 0; /* or not known: the shipper will say what is wrong */
	is_last = st.st_dev == last.st_dev && st.st_ino == last.st_ino;
	log_error("spool %s: the shipper's user %s may not enter %s (mode %04o, owner %u:%u); to "
		  "mend it: chmod o+%s %s, or choose another spool.dir",
		  dir, user, refusal, st.st_mode & 07777, st.st_uid, st.st_gid,
		  is_last ? "rx" : "x", refusal);
	return err;
}

/* spool.drop_order, whose words were checked: "oldest" is no step at all. */
static void read_drop_order(const char *text, struct spool_opts *o)
{
	static const struct {
		const char *name;
		enum msg_class class;
	} names[] = { { "journal", MSG_JOURNAL }, { "flows", MSG_FLOW }, { "kernel", MSG_KERNEL } };

	for (const char *p = text; *p && o->n_drop_steps < MSG_CLASSES;) {
		size_t n = strcspn(p, ",");

		for (size_t i = 0; i < 3; i++)
			if (strlen(names[i].name) == n && strncmp(names[i].name, p, n) == 0)
				o->drop_steps[o->n_drop_steps++] = 1u << names[i].class;
		p += n + (p[n] == ',');
	}
}

static int open_spool(struct collector *c)
{
	const struct config *config = c->config;
	char names[8][16];
	const char *outputs[8];
	struct spool_opts o = {
		.dir = config->spool_dir,
		.max_bytes = config->spool_max_bytes,
		.max_age_ms = config->spool_max_age_ms,
		.segment_bytes = config->spool_segment_bytes,
		.sync = (enum spool_sync)config->spool_sync,
		.sync_interval_ms = (uint32_t)config->spool_sync_interval_ms,
		.boot_id = clock_boot_id(),
		.outputs = outputs,
	};
	const char *user;
	int err;

	read_drop_order(config->spool_drop_order, &o);
	for (const char *p = config->output; *p && o.n_outputs < 8;) {
		size_t n = strcspn(p, ",");

		snprintf(names[o.n_outputs], sizeof(names[0]), "%.*s", (int)n, p);
		outputs[o.n_outputs] = names[o.n_outputs];
		o.n_outputs++;
		p += n + (p[n] == ',');
	}
	user = privs_lookup_unprivileged(config->shipper_user, &o.reader_uid, &o.reader_gid);
	c->reader_uid = o.reader_uid;
	err = spool_new(&o, &c->spool);
	if (err == -EBUSY)
		log_error("spool %s: another collector has it; stop that one first, or give this "
			  "one another spool.dir and collector.bpf_dir",
			  config->spool_dir);
	else if (err == -EBADMSG)
		log_error("spool %s: holds files that are not a spool's; choose another spool.dir",
			  config->spool_dir);
	else if (err)
		log_error("spool %s: %s; %s", config->spool_dir, log_strerror(err),
			  err == -EROFS ? "choose a folder on a disk that can be written with "
					  "spool.dir"
			  : err == -ENOSPC
				  ? "make room, or choose another disk with spool.dir"
				  : "run as root, or choose another folder with spool.dir");
	if (!err && spool_was_torn(c->spool))
		log_warning("spool %s: the machine went down while it was in use: what was not on "
			    "its disk yet (spool.sync) is lost; the ids of events begin anew",
			    config->spool_dir);
	return err ? err : check_reader(c, user, o.reader_uid, o.reader_gid);
}

static int open_kernel(struct collector *c)
{
	const struct config *config = c->config;
	struct kernel_opts o = {
		.dir = config->bpf_dir,
		.btf = config->btf,
		.wanted = { [KERNEL_FLOWS] = config->flows,
			    [KERNEL_JOURNAL] = config->journal,
			    [KERNEL_PROCESSES] = config->flows || config->journal ||
						 source_events_classes(config),
			    [KERNEL_EVENTS] = source_events_classes(config),
			    [KERNEL_NAMES] =
				    config->flows && (config->flows_dns || config->flows_tls ||
						      config->flows_quic) },
		.events = source_events_classes(config),
		.environment = config->events_environment,
		.names_dns = config->flows_dns,
		.names_tls = config->flows_tls,
		.names_quic = config->flows_quic,
		.flow_ring_bytes = config->ring_flows_bytes,
		.journal_ring_bytes = config->ring_journal_bytes,
		.events_ring_bytes = config->ring_events_bytes,
		.names_ring_bytes = config->ring_names_bytes,
		.flows_max = config->flows_max,
		.active_ns = config->flows_active_timeout_ms * 1000000,
		.idle_ns = config->flows_idle_timeout_ms * 1000000,
		.loopback = config->flows_loopback,
	};
	char text[400] = "";
	int err;

	if (!config->flows && !config->journal && !o.events)
		return 0;
	c->cgroup_root_fd = cgroup_root_open(text, sizeof(text), NULL);
	err = flow_rules_new(config, c->cgroup_root_fd, NULL, text, sizeof(text), &c->rules);
	if (err) {
		log_error("%s", text);
		return err;
	}
	o.rules = c->rules;
	err = kernel_lock(config->bpf_dir, text, sizeof(text), &c->kernel_lock_fd);
	if (!err)
		err = kernel_new(&o, text, sizeof(text), &c->kernel);
	if (err) {
		log_error("bpf: %s", text);
		return err;
	}
	for (int i = 0; i < KERNEL_SOURCES; i++)
		if (o.wanted[i] && kernel_lacks(c->kernel, (enum kernel_source)i))
			log_warning("bpf: this kernel can not give %s",
				    kernel_lacks(c->kernel, (enum kernel_source)i));
	for (int i = 0; i < KERNEL_SOURCES; i++)
		if (kernel_lost(c->kernel, (enum kernel_source)i))
			log_error(
				"bpf: the capture that was here was of a version that this one can "
				"not read: %llu samples and live flows in it are lost; next time, "
				"stop the old version (SIGTERM) before the new one starts",
				(unsigned long long)kernel_lost(c->kernel, (enum kernel_source)i));
	if (!kernel_find_readers(c->kernel) && kernel_has(c->kernel, KERNEL_JOURNAL))
		log_info("journal: no log daemon runs (journald, rsyslogd, syslog-ng, syslogd): "
			 "nobody reads /dev/log, so that no line is captured until one is started");
	set_sweeps(c);
	return 0;
}

static int watch(struct collector *c, int err, struct source *s, const char *what)
{
	struct watched *w = &c->sources[c->n_sources];

	if (err) {
		log_error("%s: %s", what, log_strerror(err));
		return err;
	}
	*w = (struct watched){ .source = s, .collector = c };
	c->n_sources++;
	if (s->fd < 0)
		return 0;
	w->io = (struct loop_io){
		.fd = s->fd, .events = source_events_of(w), .fn = on_source, .arg = w
	};
	return loop_add(c->loop, &w->io);
}

/* The last of the sources: it tells what the others lost. */
static int open_self(struct collector *c)
{
	struct source_self_opts o = { .kernel = c->kernel,
				      .state_dir = c->config->spool_dir,
				      .spool_id = spool_id(c->spool),
				      .heartbeat_ms = c->config->heartbeat_ms,
				      .books = c->books,
				      .read_books = read_books,
				      .arg = c };
	struct spool_position at;
	bool known = spool_position(c->spool, SOURCE_SELF, &at) == 0;
	int err = losses_new(&c->losses);

	o.losses = c->losses;
	if (!err)
		err = source_self_new(&o, known ? &at : NULL, spool_next_seq(c->spool), &c->self);
	return watch(c, err, c->self, "losses");
}

static void tell_no_monitor(const char *path, int err)
{
	if (err == -EADDRINUSE)
		log_warning("monitor.socket %s: another collector has it; \"status\" shows that "
			    "one, give this one another path",
			    path);
	else
		log_warning("monitor.socket %s: %s; \"status\" and metrics are not to be had", path,
			    log_strerror(err));
}

/* Whoever can not be asked works all the same. */
static void open_monitor(struct collector *c)
{
	const char *path = c->config->monitor_socket, *listen = c->config->monitor_listen;
	struct monitor_opts o = {
		.loop = c->loop, .path = path, .books = c->books, .read_books = read_books, .arg = c
	};
	int err;

	if (!path || !*path || !strcmp(path, "off"))
		o.path = path = NULL;
	if (!path && !listen)
		return;
	err = monitor_new(&o, &c->monitor);
	if (err && path && listen) {
		tell_no_monitor(path, err);
		o.path = path = NULL;
		err = monitor_new(&o, &c->monitor);
	}
	if (err) {
		tell_no_monitor(path ? path : listen, err);
		return;
	}
	if (!listen)
		return;
	err = monitor_listen(c->monitor, listen);
	if (err == -EADDRINUSE)
		log_warning("monitor.listen %s: another program has that port; metrics are not to "
			    "be had there: choose another one",
			    listen);
	else if (err)
		log_warning("monitor.listen %s: %s; metrics are not to be had there", listen,
			    log_strerror(err));
}

/* What journald stored while its messages were not captured. tap is the journal's source. */
static int open_backfill(struct collector *c, struct source *tap, int n_rings)
{
	struct source_backfill_opts o = { .config = c->config,
					  .next_seq = spool_next_seq(c->spool) };
	struct kernel_counters counters;
	struct spool_position at;
	struct source *s = NULL;
	bool known;
	int err;

	if (!kernel_has(c->kernel, KERNEL_JOURNAL))
		return 0;
	known = spool_position(c->spool, SOURCE_BACKFILL, &at) == 0;
	o.is_new = !kernel_was_adopted(c->kernel) && n_rings == 1;
	o.has_lost = !o.is_new && kernel_get_counters(c->kernel, KERNEL_JOURNAL, &counters) == 0 &&
		     counters.ring_full;
	err = source_backfill_new(&o, known ? &at : NULL, &s);
	if (!err)
		source_journal_note_to(tap, source_backfill_reads(s));
	return watch(c, err, s, "journal.backfill");
}

/* Behind the kernel events, so that an exec is known before what it did. */
static int open_files(struct collector *c)
{
	struct spool_position at;
	bool known = spool_position(c->spool, SOURCE_FILES, &at) == 0;
	struct source *s = NULL;
	char text[300] = "";

	c->sink.tasks = calloc(1, sizeof(*c->sink.tasks));
	if (!c->sink.tasks)
		return watch(c, -ENOMEM, NULL, "files");
	if (source_files_new(c->config, c->sink.tasks, known ? &at : NULL, text, sizeof(text),
			     &s)) {
		log_warning("files: %s; changes of files (events.files) are not captured", text);
		return 0;
	}
	return watch(c, 0, s, "files");
}

static int open_sources(struct collector *c)
{
	struct kernel_ring rings[KERNEL_OLDER_MAX + 1];
	struct spool_position at;
	struct source *s = NULL;
	bool known;
	int err = 0;

	if (c->kernel && kernel_has(c->kernel, KERNEL_NAMES)) {
		err = names_new(&(struct names_opts){ .quic = c->config->flows_quic },
				&c->sink.names);
		if (!err && names_lacks_quic(c->sink.names))
			log_warning(
				"flows.quic: OpenSSL has no AES-128-GCM here; what QUIC's clients "
				"say is not read");
		if (!err)
			err = source_names_new(c->kernel, c->sink.names, &s);
		err = watch(c, err, s, "names");
		if (!err)
			c->sink.names_source = s;
	}
	if (!err && c->kernel && kernel_rings(c->kernel, KERNEL_FLOWS, rings)) {
		known = spool_position(c->spool, SOURCE_FLOWS, &at) == 0;
		err = source_flows_new(c->kernel, known ? &at : NULL, &s);
		err = watch(c, err, s, "flows");
	}
	if (!err && c->kernel && kernel_rings(c->kernel, KERNEL_JOURNAL, rings)) {
		known = spool_position(c->spool, SOURCE_JOURNAL, &at) == 0;
		err = source_journal_new(c->kernel, c->config, known ? &at : NULL,
					 spool_next_seq(c->spool), &s);
		err = watch(c, err, s, "journal");
		if (!err)
			err = open_backfill(c, s, kernel_rings(c->kernel, KERNEL_JOURNAL, rings));
	}
	if (!err && c->kernel && kernel_rings(c->kernel, KERNEL_EVENTS, rings)) {
		known = spool_position(c->spool, SOURCE_EVENTS, &at) == 0;
		err = source_events_new(c->kernel, known ? &at : NULL, &s);
		err = watch(c, err, s, "events");
	}
	if (!err && c->config->events && c->config->events_files)
		err = open_files(c);
	if (!err && c->config->kernel_log) {
		known = spool_position(c->spool, SOURCE_KERNEL_LOG, &at) == 0;
		err = source_kmsg_new("/dev/kmsg", known ? &at : NULL, &s);
		if (err) {
			log_warning("/dev/kmsg: %s; the kernel's log is not captured",
				    log_strerror(err));
			err = 0;
		} else {
			err = watch(c, 0, s, "kernel log");
		}
	}
	if (!err && !c->n_sources) {
		log_error("nothing to capture: flows, journal, kernel events and kernel log are "
			  "off or not to be had here");
		err = -ENOTSUP;
	}
	return err ? err : open_self(c);
}

static int find_exec(void *arg, uint32_t pid, uint64_t start_ns, struct process_exec *ret)
{
	struct kernel_exec e;
	int err = kernel_find_exec(arg, pid, start_ns, &e);

	if (err)
		return err;
	memcpy(ret->filename, e.filename, sizeof(ret->filename) - 1);
	ret->filename[sizeof(ret->filename) - 1] = 0;
	memcpy(ret->args, e.args, sizeof(ret->args));
	ret->args_len = (uint32_t)e.args_len;
	ret->ppid = e.ppid;
	return 0;
}

/* One that is gone by now the kernel has seen when it was made, perhaps. */
static int find_cgroup(void *arg, uint64_t cgroup_id, char *ret, size_t size)
{
	const struct collector *c = arg;
	int err = cgroup_find_path(c->cgroup_root_fd, cgroup_id, ret, size);

	return err && c->kernel ? kernel_find_cgroup(c->kernel, cgroup_id, ret, size) : err;
}

static void mask_args(void *arg, char *args, size_t len)
{
	const struct collector *c = arg;

	secrets_mask(c->config, args, len);
}

static void name_container(void *arg, const struct container_info *info, struct container_name *ret)
{
	const struct collector *c = arg;

	container_names_find(c->containers, info, c->sink.now_ms, ret);
}

/* Without them all is there but the names. */
static int open_containers(struct collector *c)
{
	int err;

	if (!c->config->containers_names)
		return 0;
	err = container_names_new(c->config->containers_root, 0, &c->containers);
	if (err == -ENOMEM)
		return err;
	if (err)
		log_warning("containers.root %s: %s; containers are told without their names",
			    c->config->containers_root, log_strerror(err));
	else
		record_set_container_names(c->sink.record, name_container, c);
	return 0;
}

/* Where no connection is tracked none is translated. */
static void open_nat(struct collector *c)
{
	int err;

	if (!c->kernel || !c->config->flows || !c->config->flows_nat || !nat_is_possible())
		return;
	err = nat_new(&c->sink.nat);
	if (err)
		log_warning("nat: %s; flows do not tell what this host translates",
			    log_strerror(err));
	kernel_set_nat(c->kernel, nat_is_used(c->sink.nat, loop_now_ms(c->loop)));
}

static int open_sink(struct collector *c)
{
	struct process_opts o = { .lookup = c->kernel ? find_exec : NULL,
				  .lookup_arg = c->kernel,
				  .find_cgroup = find_cgroup,
				  .find_cgroup_arg = c,
				  .mask = mask_args,
				  .mask_arg = c };
	struct record_opts r = {
		.epoch = spool_epoch(c->spool),
		.version = SLICE(SEKOIA_VERSION),
		.flow_schema = (enum config_flow_schema)c->config->flows_schema,
		.journal_schema = (enum config_journal_schema)c->config->journal_schema,
	};
	int err;

	host_read(&c->host, c->config->hostname);
	host_fill(&c->host, &r);
	err = record_new(&r, &c->sink.record);
	if (!err)
		err = process_cache_new(&o, &c->sink.processes);
	if (!err)
		err = users_new(NULL, &c->sink.users);
	if (!err)
		err = routes_new(c->config->intake_routes, &c->sink.routes);
	if (!err)
		err = open_containers(c);
	interfaces_init(&c->sink.interfaces);
	c->sink.own.collector = (uint32_t)getpid();
	c->sink.config = c->config;
	c->sink.add = on_add;
	c->sink.next_seq = on_next_seq;
	c->sink.is_full = is_full;
	c->sink.arg = c;
	c->sink.now_ms = loop_now_ms(c->loop);
	if (!err)
		read_clocks(c);
	return err;
}

/* All is open and the starter runs: from here on it is enough to read and to write. */
static int enter_sandbox(const struct collector *c)
{
	const struct collector_sandbox s = {
		.filter = c->config->sandbox,
		.kernel = c->kernel,
		.kernel_log = c->config->kernel_log,
		.spool_dir = c->config->spool_dir,
		.reader_uid = c->reader_uid,
		.cgroup_root_fd = c->cgroup_root_fd,
	};

	return collector_sandbox_enter(&s);
}

static void done(struct collector *c)
{
	monitor_free(c->monitor);
	for (int i = 0; i < c->n_sources; i++) {
		loop_del(&c->sources[i].io);
		source_free(c->sources[i].source);
	}
	loop_timer_cancel(&c->drain_timer);
	loop_timer_cancel(&c->tick_timer);
	loop_timer_cancel(&c->watchdog_timer);
	notify_done(&c->notify);
	shipper_free(c->shipper);
	config_free(c->reloaded);
	record_free(c->sink.record);
	process_cache_free(c->sink.processes);
	users_free(c->sink.users);
	routes_free(c->sink.routes);
	names_free(c->sink.names);
	nat_free(c->sink.nat);
	container_names_free(c->containers);
	free(c->sink.tasks);
	losses_free(c->losses);
	free(c->books);
	spool_free(c->spool);
	kernel_free(c->kernel);
	close_fd(c->kernel_lock_fd);
	close_fd(c->cgroup_root_fd);
	flow_rules_free(c->rules);
	loop_free(c->loop);
}

int collector_run(const struct config *config)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR2 };
	_cleanup_(done) struct collector c = {
		.origin = config,
		.config = config,
		.kernel_lock_fd = -1,
		.notify = { .fd = -1 },
		.cgroup_root_fd = -1,
		.commit_bytes = COMMIT_BYTES,
		.run_id = clock_boot_ns(),
		.books = calloc(1, sizeof(struct books)),
	};
	int err;

	if (!c.books) {
		log_error("start: %s", log_strerror(ENOMEM));
		return EXIT_FAILURE;
	}

	if (c.commit_bytes > config->spool_max_bytes / COMMIT_PART)
		c.commit_bytes = config->spool_max_bytes / COMMIT_PART;
	err = notify_init(&c.notify);
	if (err)
		log_warning("$NOTIFY_SOCKET: %s; the service manager is told nothing",
			    log_strerror(err));
	err = loop_new(&c.loop);
	if (err) {
		log_error("event loop: %s", log_strerror(err));
		return EXIT_FAILURE;
	}
	if (open_spool(&c) || open_kernel(&c))
		return EXIT_FAILURE;
	err = open_sink(&c);
	if (err) {
		log_error("start: %s", log_strerror(err));
		return EXIT_FAILURE;
	}
	err = open_sources(&c);
	if (err)
		return EXIT_FAILURE;
	c.appended_then = c.appended[0] = appended_now(&c);
	open_monitor(&c);
	open_nat(&c);
	err = loop_signals(c.loop, signals, 4, on_signal, &c);
	if (!err)
		err = shipper_start(c.loop, config, &c.shipper);
	if (err) {
		log_error("start: %s", log_strerror(err));
		return EXIT_FAILURE;
	}
	if (enter_sandbox(&c))
		return EXIT_FAILURE;
	c.drain_timer = (struct loop_timer){ .fn = on_drain_timer, .arg = &c };
	c.tick_timer = (struct loop_timer){ .fn = on_tick, .arg = &c };
	loop_timer_set(c.loop, &c.drain_timer, loop_now_ms(c.loop));
	loop_timer_set(c.loop, &c.tick_timer, loop_now_ms(c.loop));
	tell_ready(&c);
	err = loop_run(c.loop);
	if (err < 0) {
		log_error("event loop: %s", log_strerror(err));
		return EXIT_FAILURE;
	}
	read_books(&c, c.books, BOOKS_READ_ALL);
	books_print(stderr, c.books);
	if (c.leave_kernel)
		return EXIT_FAILURE;
	if (c.handing_over)
		return EXIT_SUCCESS;
	/* Without captures of our own there may be another collector's. */
	if (c.kernel)
		kernel_cleanup(config->bpf_dir);
	return c.stopped_clean ? EXIT_SUCCESS : EXIT_FAILURE;
}
