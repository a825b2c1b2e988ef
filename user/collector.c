/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the rooms meet: drain the sources, make records, append them in
 * batches, move the sources' positions behind each batch, wake the shipper.
 *
 * A batch is committed with the positions of all sources. What a commit refuses
 * (a full disk) stays in the batch and in the rings; nothing is drained until
 * it went through, so the kernel keeps what fits and counts the rest.
 *
 * A sample can be more than a batch has room for. What is committed in the midst
 * of it carries the position before it: after a crash between its parts the
 * sample is taken again, so that its first records come twice and none is lost.
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

#include "config/config.h"
#include "output/spool.h"
#include "user/books.h"
#include "user/held.h"
#include "user/host.h"
#include "user/probe.h"
#include "user/process.h"
#include "user/record.h"
#include "user/shipper_process.h"
#include "user/source.h"
#include "user/users.h"
#include "user/util/clock.h"
#include "user/util/log.h"
#include "user/util/loop.h"
#include "user/util/notify.h"
#include "user/util/privs.h"

#define DRAIN_MS      100	  /* how long an event waits at the most */
#define TICK_MS	      1000	  /* clocks, users, spool, sweeps */
#define COMMIT_BYTES  (512 << 10) /* a batch is committed when it has this much, */
#define COMMIT_PART   8		  /* or this part of a small spool: a batch is a quarter at most */
#define DRAIN_SAMPLES 20000	  /* per turn of the loop, so that signals get their turn */
#define QUIET_MS      5
#define QUIET_TURNS   100 /* on stopping */
#define STUCK_LOG_MS  60000
#define STOP_SPARE_MS 15000 /* what a stop takes beside its waiting, on a slow host */

struct watched {
	struct source *source;
	struct loop_io io;
	struct collector *collector;
};

struct collector {
	const struct config *config;
	struct loop *loop;
	struct kernel *kernel;
	int kernel_lock_fd;
	struct spool *spool;
	struct shipper_process *shipper;
	struct sink sink;
	struct host host;
	struct watched sources[SOURCE_MAX];
	int n_sources;
	struct loop_timer drain_timer, tick_timer, watchdog_timer;
	struct notify notify;
	char status[160]; /* what the service manager shows while all is well */
	uint64_t next_sweep_ms, sweep_every_ms;
	uint64_t commit_bytes;
	struct held held; /* what did not fit into the batch when the spool got stuck, */
	const struct source *held_of; /* from this source, */
	uint64_t held_position;	      /* which had been read up to here before */
	const struct source *taking;  /* whose records come in now */
	uint64_t stuck_since_ms;      /* 0: commits go through */
	uint64_t stuck_logged_ms;
	uint64_t drops_told, drops_told_ms;
	bool stuck_told; /* this time; a disk that is full on and off is told once a minute */
	bool stopping, stopped_clean;
	bool leave_kernel; /* what it holds is not in the spool */
};

/* A ring stays readable while the spool is stuck: then only the timer looks. */
static void watch_sources(struct collector *c, bool on)
{
	for (int i = 0; i < c->n_sources; i++)
		if (c->sources[i].io.loop)
			loop_watch(&c->sources[i].io, on ? EPOLLIN : 0);
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

/* whole: no sample has a part of its records elsewhere. */
static int commit_batch(struct collector *c, bool whole)
{
	struct spool_position positions[SOURCE_MAX];
	size_t bytes;
	uint32_t events = spool_pending(c->spool, &bytes);
	int err = whole ? prepare(c) : 0;

	for (int i = 0; i < c->n_sources; i++) {
		const struct source *s = c->sources[i].source;

		positions[i] = (struct spool_position){
			.source = s->ops->id,
			.generation = s->generation,
			.position = s == c->held_of ? c->held_position : s->position,
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
		if (c->sources[i].source != c->held_of)
			c->sources[i].source->ops->release(c->sources[i].source);
	if (c->shipper && events)
		shipper_wake(c->shipper);
	return 0;
}

/* Puts what was held into the empty batch, as much as fits. False: nothing was held. */
static bool add_held(struct collector *c)
{
	const struct msg *m = held_first(&c->held);

	if (!m)
		return false;
	while (m && !spool_add(c->spool, m)) {
		held_drop_first(&c->held);
		m = held_first(&c->held);
	}
	if (!m)
		c->held_of = NULL;
	return true;
}

static int commit(struct collector *c)
{
	int err;

	do {
		err = commit_batch(c, !c->held_of);
	} while (!err && add_held(c));
	return err;
}

static int hold(struct collector *c, const struct msg *m)
{
	int err = spool_check(m);

	if (!err)
		err = held_add(&c->held, m);
	if (!err && !c->held_of) {
		c->held_of = c->taking;
		c->held_position = c->taking->position;
	}
	return err;
}

/* struct sink: a full batch is committed with the positions before this sample. */
static int on_add(void *arg, const struct msg *m)
{
	struct collector *c = arg;
	int err;

	if (held_count(&c->held))
		return hold(c, m);
	err = spool_add(c->spool, m);
	if (err != -ENOBUFS)
		return err;
	return commit_batch(c, false) ? hold(c, m) : spool_add(c->spool, m);
}

static uint64_t on_next_seq(void *arg)
{
	struct collector *c = arg;

	return spool_next_seq(c->spool) + held_count(&c->held);
}

/* struct sink: is it time for a commit, or is one overdue? */
static bool is_full(void *arg)
{
	struct collector *c = arg;
	size_t bytes;

	spool_pending(c->spool, &bytes);
	return bytes >= c->commit_bytes || held_count(&c->held);
}

/* Takes what there is, up to a budget. True when nothing is left. */
static bool drain(struct collector *c, uint64_t now_ms)
{
	int budget = DRAIN_SAMPLES;
	bool empty;

	c->sink.now_ms = now_ms;
	if (c->stuck_since_ms && commit(c))
		return true; /* nothing moves; the timer tries again */
	do {
		empty = true;
		for (int i = 0; i < c->n_sources; i++) {
			struct source *s = c->sources[i].source;

			c->taking = s;
			for (int n = 0; n < 256; n++) {
				if (s->ops->take(s, &c->sink) <= 0)
					break;
				empty = false;
				budget--;
				if (is_full(c) && commit(c))
					return true;
			}
		}
	} while (!empty && budget > 0);
	commit(c);
	return empty;
}

static void on_drain_timer(void *arg, uint64_t now_ms)
{
	struct collector *c = arg;
	bool empty = drain(c, now_ms);

	loop_timer_set(c->loop, &c->drain_timer, now_ms + (empty ? DRAIN_MS : 0));
}

static void on_source(void *arg, uint32_t events)
{
	struct watched *w = arg;
	struct collector *c = w->collector;

	(void)events;
	if (!drain(c, loop_now_ms(c->loop)))
		loop_timer_set(c->loop, &c->drain_timer, loop_now_ms(c->loop));
}

static void read_clocks(struct collector *c)
{
	c->sink.record->boot_to_real_ns = clock_boot_to_real_ns();
	c->sink.record->kernel_to_real_ns = host_kernel_to_real_ns();
}

static void flush_sources(struct collector *c, bool all)
{
	for (int i = 0; i < c->n_sources; i++) {
		struct source *s = c->sources[i].source;

		c->taking = s;
		while (s->ops->flush && !s->ops->flush(s, &c->sink, all))
			if (commit(c))
				return;
	}
}

/* A limit that is reached is told once a minute, with what it cost. */
static void tell_drops(struct collector *c, uint64_t now_ms)
{
	struct spool_stats s;

	spool_get_stats(c->spool, &s);
	if (s.dropped == c->drops_told ||
	    (c->drops_told_ms && now_ms - c->drops_told_ms < STUCK_LOG_MS))
		return;
	log_warning("spool %s: at its limit (spool.max_bytes): the oldest events are dropped "
		    "before the intake has taken them, %llu since the last such line",
		    c->config->spool_dir, (unsigned long long)(s.dropped - c->drops_told));
	c->drops_told = s.dropped;
	c->drops_told_ms = now_ms;
}

static void on_tick(void *arg, uint64_t now_ms)
{
	struct collector *c = arg;

	loop_timer_set(c->loop, &c->tick_timer, now_ms + TICK_MS);
	read_clocks(c);
	if (!c->stuck_since_ms)
		flush_sources(c, false);
	spool_tick(c->spool, now_ms);
	tell_drops(c, now_ms);
	if (c->kernel && now_ms >= c->next_sweep_ms) {
		c->next_sweep_ms = now_ms + c->sweep_every_ms;
		kernel_sweep(c->kernel, false);
	}
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
	snprintf(c->status, sizeof(c->status), "%s%s%sto %s%s",
		 c->kernel && kernel_has(c->kernel, KERNEL_FLOWS) ? "flows " : "",
		 c->kernel && kernel_has(c->kernel, KERNEL_JOURNAL) ? "journal " : "",
		 c->config->kernel_log ? "kernel-log " : "", c->config->output,
		 c->kernel && kernel_was_adopted(c->kernel) ? "; resumed from the kernel's rings"
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
		if (c->sources[i].source->ops->id != SOURCE_KERNEL_LOG)
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

/* Nothing more enters the spool: what is in the rings must outlive this process. */
static void leave_to_the_next(struct collector *c)
{
	c->leave_kernel = true;
	log_warning("spool %s: can not be written still: what is not in it stays in the kernel, "
		    "which goes on collecting; the next start takes it over, \"sekoia-ebpf "
		    "cleanup\" gives it up",
		    c->config->spool_dir);
}

static void on_signal(void *arg, int signo)
{
	struct collector *c = arg;
	uint64_t now_ms = clock_mono_ms();

	if (c->stopping) {
		log_info("%s again: stopping now; the rest stays in the spool", sigdescr_np(signo));
		shipper_stop(c->shipper, now_ms, on_shipper_stopped, c);
		return;
	}
	c->stopping = true;
	/* Longer than the manager would wait by itself, perhaps. */
	notify_send(&c->notify, "STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=%llu",
		    (unsigned long long)(c->config->stop_timeout_ms + STOP_SPARE_MS) * 1000);
	log_info("%s: stopping; waiting up to %llu s for acknowledgements", sigdescr_np(signo),
		 (unsigned long long)c->config->stop_timeout_ms / 1000);
	drain_all(c, now_ms);
	if (c->stuck_since_ms) {
		leave_to_the_next(c);
	} else {
		if (c->kernel) {
			/* Flows that begin and end between the two sweeps are in the second one. */
			kernel_sweep(c->kernel, true);
			kernel_detach(c->kernel);
			drain_until_quiet(c, now_ms);
			kernel_sweep(c->kernel, true);
		}
		drain_all(c, now_ms);
		flush_sources(c, true);
		commit(c);
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

static int open_spool(struct collector *c)
{
	const struct config *config = c->config;
	char names[8][16];
	const char *outputs[8];
	struct spool_opts o = {
		.dir = config->spool_dir,
		.max_bytes = config->spool_max_bytes,
		.segment_bytes = config->spool_segment_bytes,
		.sync = (enum spool_sync)config->spool_sync,
		.sync_interval_ms = (uint32_t)config->spool_sync_interval_ms,
		.outputs = outputs,
	};
	const char *user;
	int err;

	for (const char *p = config->output; *p && o.n_outputs < 8;) {
		size_t n = strcspn(p, ",");

		snprintf(names[o.n_outputs], sizeof(names[0]), "%.*s", (int)n, p);
		outputs[o.n_outputs] = names[o.n_outputs];
		o.n_outputs++;
		p += n + (p[n] == ',');
	}
	user = privs_lookup_unprivileged(config->shipper_user, &o.reader_uid, &o.reader_gid);
	err = spool_new(&o, &c->spool);
	if (err == -EBUSY)
		log_error("spool %s: another collector has it; stop that one first, or give this "
			  "one another spool.dir and collector.bpf_dir",
			  config->spool_dir);
	else if (err == -EBADMSG)
		log_error("spool %s: holds files that are not a spool's; choose another spool.dir",
			  config->spool_dir);
	else if (err)
		log_error("spool %s: %s", config->spool_dir, log_strerror(err));
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
			    [KERNEL_PROCESSES] = config->flows || config->journal },
		.flow_ring_bytes = config->ring_flows_bytes,
		.journal_ring_bytes = config->ring_journal_bytes,
		.flows_max = config->flows_max,
		.active_ns = config->flows_active_timeout_ms * 1000000,
		.idle_ns = config->flows_idle_timeout_ms * 1000000,
		.loopback = config->flows_loopback,
	};
	char text[400] = "";
	int err;

	if (!config->flows && !config->journal)
		return 0;
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
	kernel_find_readers(c->kernel);
	c->sweep_every_ms = (config->flows_idle_timeout_ms < config->flows_active_timeout_ms
				     ? config->flows_idle_timeout_ms
				     : config->flows_active_timeout_ms) /
			    8;
	if (c->sweep_every_ms < TICK_MS)
		c->sweep_every_ms = TICK_MS;
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
	w->io = (struct loop_io){ .fd = s->fd, .events = EPOLLIN, .fn = on_source, .arg = w };
	return loop_add(c->loop, &w->io);
}

static int open_sources(struct collector *c)
{
	struct spool_position at;
	struct source *s = NULL;
	bool known;
	int err = 0;

	if (c->kernel && kernel_has(c->kernel, KERNEL_FLOWS)) {
		known = spool_position(c->spool, SOURCE_FLOWS, &at) == 0;
		err = source_flows_new(c->kernel, known ? &at : NULL, &s);
		err = watch(c, err, s, "flows");
	}
	if (!err && c->kernel && kernel_has(c->kernel, KERNEL_JOURNAL)) {
		known = spool_position(c->spool, SOURCE_JOURNAL, &at) == 0;
		err = source_journal_new(c->kernel, c->config->spool_dir, known ? &at : NULL,
					 spool_next_seq(c->spool), &s);
		err = watch(c, err, s, "journal");
	}
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
		log_error("nothing to capture: flows, journal and kernel log are off or not to be "
			  "had here");
		err = -ENOTSUP;
	}
	return err;
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

static int open_sink(struct collector *c)
{
	struct process_opts o = { .lookup = c->kernel ? find_exec : NULL, .lookup_arg = c->kernel };
	struct record_opts r = {
		.spool_id = spool_id(c->spool),
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
	interfaces_init(&c->sink.interfaces);
	c->sink.add = on_add;
	c->sink.next_seq = on_next_seq;
	c->sink.is_full = is_full;
	c->sink.arg = c;
	c->sink.now_ms = loop_now_ms(c->loop);
	if (!err)
		read_clocks(c);
	return err;
}

static void done(struct collector *c)
{
	for (int i = 0; i < c->n_sources; i++) {
		loop_del(&c->sources[i].io);
		source_free(c->sources[i].source);
	}
	loop_timer_cancel(&c->drain_timer);
	loop_timer_cancel(&c->tick_timer);
	loop_timer_cancel(&c->watchdog_timer);
	notify_done(&c->notify);
	shipper_free(c->shipper);
	record_free(c->sink.record);
	process_cache_free(c->sink.processes);
	users_free(c->sink.users);
	held_done(&c->held);
	spool_free(c->spool);
	kernel_free(c->kernel);
	close_fd(c->kernel_lock_fd);
	loop_free(c->loop);
}

int collector_run(const struct config *config)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	_cleanup_(done) struct collector c = {
		.config = config,
		.kernel_lock_fd = -1,
		.notify = { .fd = -1 },
		.commit_bytes = COMMIT_BYTES,
	};
	int err;

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
	err = loop_signals(c.loop, signals, 3, on_signal, &c);
	if (!err)
		err = shipper_start(c.loop, config, &c.shipper);
	if (err) {
		log_error("start: %s", log_strerror(err));
		return EXIT_FAILURE;
	}
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
	{
		struct source *list[SOURCE_MAX];

		for (int i = 0; i < c.n_sources; i++)
			list[i] = c.sources[i].source;
		books_print(stderr, &(struct books){ .config = config,
						     .kernel = c.kernel,
						     .spool = c.spool,
						     .sources = list,
						     .n_sources = c.n_sources });
	}
	if (c.leave_kernel)
		return EXIT_FAILURE;
	/* Without captures of our own there may be another collector's. */
	if (c.kernel)
		kernel_cleanup(config->bpf_dir);
	return c.stopped_clean ? EXIT_SUCCESS : EXIT_FAILURE;
}
