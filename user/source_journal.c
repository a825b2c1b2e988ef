/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: ring samples to lines to records. The state of stdout streams
 * (who it is, the unfinished line) goes to disk with each batch, so that a
 * line that was read in two halves is whole after a crash between them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "output/spool.h"
#include "user/event.h"
#include "user/journal.h"
#include "user/journal_parse.h"
#include "user/journal_reads.h"
#include "user/journal_teller.h"
#include "user/probe.h"
#include "user/process.h"
#include "user/record.h"
#include "user/rings.h"
#include "user/source.h"
#include "user/stream_state.h"
#include "user/unix_sockets.h"
#include "user/util/cleanup.h"
#include "user/util/clock.h"
#include "user/util/log.h"

#define STATE_MAGIC	0x324a4b53u /* "SKJ2": the form of journal_stream_save() */
#define RATE_MAGIC	0x314c5253u /* "SRL1": the form of rate_limit_save() */
#define STATE_MAX_BYTES (8u << 20)
/* An unfinished line is asked about when its stream was silent for so long. */
#define LINE_IDLE_NS 1000000000ull
#define NOT_SAVED    UINT64_MAX

struct source_journal {
	struct source source;
	struct rings *rings;
	struct journal *journal;
	struct journal_teller teller;
	struct stream_state state;
	uint64_t not_told; /* lines that were none: so many are counted */
	struct buf saved;
	uint64_t saved_changes; /* journal_stats.changes when it was last saved */
	struct stream_state rate_state;
	uint64_t saved_rate_changes;
	struct sink *sink; /* for on_line() */
	uint64_t socket_dev;
	struct journal_reads *reads;	     /* NULL: nobody wants to know */
	const struct journal_sample *sample; /* at hand; NULL: lines are flushed */
	bool has_told;			     /* a line of it */
	struct unix_sockets sockets;	     /* those that are open, while lines are flushed */
	bool has_sockets;
};

static bool on_line(void *arg, const struct journal_line *line)
{
	struct source_journal *j = arg;
	struct task_ref who = journal_line_task(line);
	const struct process_info *process = NULL;

	if (j->sink->is_full(j->sink->arg))
		return false;
	j->has_told = true;
	if (j->reads && j->sample)
		journal_reads_note_line(j->reads, j->sample, line);
	if (!journal_teller_wants(&j->teller, &j->source, j->sink, line))
		return true;
	if (who.pid)
		process = process_find(j->sink->processes, &who, line->boot_ns, j->sink->now_ms);
	journal_teller_tell(&j->teller, &j->source, j->sink, line, process, line->boot_ns);
	return true;
}

/*
 * What a journald, of whichever namespace, passes on to a classic syslog daemon was
 * seen when journald read it; the rest are its own control sockets. Of a long path
 * there is only the end.
 */
static bool is_log_socket(struct slice path, bool is_cut)
{
	static const char journald[] = "/run/systemd/journal";
	const char *slash = path.len ? memrchr(path.p, '/', path.len) : NULL;
	struct slice name;

	if (!slash)
		return true;
	name.p = slash + 1;
	name.len = (size_t)(path.p + path.len - name.p);
	if (!slice_is(name, "syslog") && !slice_is(name, "io.systemd.journal"))
		return true;
	return !is_cut &&
	       (path.len < sizeof(journald) ||
		memcmp(path.p, journald, sizeof(journald) - 1) != 0 ||
		(path.p[sizeof(journald) - 1] != '/' && path.p[sizeof(journald) - 1] != '.'));
}

/* Empty lines, and audit's answers to requests. */
static void count_not_told(struct source_journal *j)
{
	struct journal_stats stats;

	journal_get_stats(j->journal, &stats);
	j->source.stats.filtered += stats.empty + stats.control - j->not_told;
	j->not_told = stats.empty + stats.control;
}

/* False: it is not done, the sink is full. */
static bool decode(struct source_journal *j, const struct journal_sample *s)
{
	bool done;

	j->sample = s;
	j->has_told = false;
	done = journal_decode(j->journal, s, j->sink->record->boot_to_real_ns, on_line, j);
	j->sample = NULL;
	count_not_told(j);
	if (j->reads && (done || j->has_told))
		journal_reads_note(j->reads, s);
	return done;
}

static int journal_take(struct source *s, struct sink *sink)
{
	struct source_journal *j = (struct source_journal *)s;
	uint64_t generation = s->generation;
	const void *sample;
	struct event e = { .kind = EVENT_IS_FLOW };
	size_t size;
	int more;

	more = rings_next(j->rings, &s->generation, &s->position, &sample, &size);
	/* The state of the streams goes on with the next ring: it is saved under that name. */
	if (s->generation != generation)
		j->saved_changes = NOT_SAVED;
	if (!more) {
		s->behind = rings_is_behind(j->rings);
		if (j->reads)
			j->reads->idle = true;
		return 0;
	}
	j->sink = sink;
	if (event_decode(sample, size, &e) < 0 || e.kind != EVENT_IS_JOURNAL) {
		s->stats.bad++;
	} else if (!is_log_socket(e.journal.path, e.journal.path_is_cut)) {
		s->stats.filtered++;
	} else if (!decode(j, &e.journal)) {
		/* The rest of it when the sink has room; the kernel keeps it as long. */
		rings_unread(j->rings, s->position);
		return 1;
	}
	s->stats.samples++;
	s->position = rings_position(j->rings);
	return 1;
}

void source_journal_note_to(struct source *s, struct journal_reads *reads)
{
	((struct source_journal *)s)->reads = reads;
}

static int save_rates(struct source_journal *j, const struct stream_moment *when)
{
	int err;

	if (!j->teller.rates || rate_limit_changes(j->teller.rates) == j->saved_rate_changes)
		return 0;
	buf_clear(&j->saved);
	err = rate_limit_save(j->teller.rates, &j->saved);
	if (!err)
		err = stream_state_save(&j->rate_state, when, buf_slice(&j->saved));
	if (!err)
		j->saved_rate_changes = rate_limit_changes(j->teller.rates);
	return err;
}

static int journal_prepare(struct source *s, uint64_t next_seq)
{
	struct source_journal *j = (struct source_journal *)s;
	struct stream_moment when = { s->generation, s->position, next_seq };
	struct journal_stats stats;
	int err;

	err = save_rates(j, &when);
	if (err)
		return err;
	journal_get_stats(j->journal, &stats);
	if (stats.changes == j->saved_changes)
		return 0;
	buf_clear(&j->saved);
	err = journal_stream_save(j->journal, &j->saved);
	if (err)
		return err;
	err = stream_state_save(&j->state, &when, buf_slice(&j->saved));
	if (!err)
		j->saved_changes = stats.changes;
	return err;
}

static void journal_release(struct source *s)
{
	rings_release(((struct source_journal *)s)->rings, s->position);
}

/*
 * The log daemon closes its end when it has read all that was written, and what
 * it has read is here already. In a namespace whose sockets we do not see, the
 * end of the writer has to do.
 */
static bool is_open(void *arg, uint32_t pid, uint64_t socket_ino)
{
	struct source_journal *j = arg;

	if (!j->has_sockets) {
		if (unix_sockets_read("/proc/net/unix", &j->sockets) < 0)
			return true;
		j->has_sockets = true;
	}
	return unix_sockets_has(&j->sockets, socket_ino) ||
	       !(kill((pid_t)pid, 0) < 0 && errno == ESRCH);
}

static bool journal_flush(struct source *s, struct sink *sink, bool all)
{
	struct source_journal *j = (struct source_journal *)s;
	bool done;

	/* Between two samples, too: in a storm the ring is never empty. */
	if (!journal_teller_report(&j->teller, s, sink, clock_boot_ns(),
				   sink->record->boot_to_real_ns, all))
		return false;
	/* What waits in the ring may be the rest of such a line. */
	if (!all && rings_waiting(j->rings))
		return true;
	j->sink = sink;
	j->has_sockets = false;
	done = journal_flush_idle(j->journal, clock_boot_ns(), all ? 0 : LINE_IDLE_NS,
				  all ? NULL : is_open, sink->record->boot_to_real_ns, on_line, j);
	unix_sockets_done(&j->sockets);
	return done;
}

static void journal_get_ring(const struct source *s, uint64_t *ret_size, uint64_t *ret_fill)
{
	const struct source_journal *j = (const struct source_journal *)s;

	*ret_size = rings_size(j->rings);
	*ret_fill = rings_fill(j->rings);
}

static void journal_source_free(struct source *s)
{
	struct source_journal *j = (struct source_journal *)s;

	rings_free(j->rings);
	journal_free(j->journal);
	journal_teller_done(&j->teller);
	buf_done(&j->saved);
	free(j);
}

/*
 * A stream that was open before the tap was attached: this host's journald keeps how it
 * began in a file, which has the name of its end of the socket.
 */
static bool find_header(void *arg, const struct journal_sample *s,
			struct journal_stream_header *ret)
{
	static const struct slice suffix = SLICE("/stdout");
	struct source_journal *j = arg;
	char path[128], text[4096];
	_cleanup_close_ int fd = -1;
	ssize_t n;

	if (!j->socket_dev || s->path_is_cut || s->path.len <= suffix.len ||
	    memcmp(s->path.p, "/run/systemd/journal", 20) != 0 ||
	    memcmp(s->path.p + s->path.len - suffix.len, suffix.p, suffix.len) != 0 ||
	    !journal_reads_has_our_run(s->reader_pid))
		return false;
	snprintf(path, sizeof(path), "%.*s/streams/%llu:%llu", (int)(s->path.len - suffix.len),
		 s->path.p, (unsigned long long)j->socket_dev, (unsigned long long)s->socket_ino);
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text));
	return n > 0 && journal_parse_stream((struct slice){ text, (size_t)n }, ret);
}

/* All sockets are on one device. 0: not known. */
static uint64_t find_socket_dev(void)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 ? st.st_dev : 0;
}

static const struct source_ops journal_ops = {
	.name = "journal",
	.id = SOURCE_JOURNAL,
	.take = journal_take,
	.prepare = journal_prepare,
	.release = journal_release,
	.flush = journal_flush,
	.get_ring = journal_get_ring,
	.free = journal_source_free,
};

/* Both go on where the spool says that they were. */
static void restore(struct source_journal *j, const struct stream_moment *now)
{
	if (stream_state_load(&j->state, now, &j->saved) == 0 &&
	    journal_stream_restore(j->journal, buf_slice(&j->saved)) < 0)
		log_warning("journal streams: the saved state is damaged; lines that were "
			    "being written are cut");
	buf_clear(&j->saved);
	if (j->teller.rates && stream_state_load(&j->rate_state, now, &j->saved) == 0 &&
	    rate_limit_restore(j->teller.rates, buf_slice(&j->saved)) < 0)
		log_warning("journal.rate_limit: the saved state is damaged; what was suppressed "
			    "before is not summed up");
	if (j->teller.rates)
		j->saved_rate_changes = rate_limit_changes(j->teller.rates);
}

int source_journal_new(const struct kernel *k, const struct config *config,
		       const struct spool_position *resume, uint64_t next_seq, struct source **ret)
{
	struct source_journal *j = calloc(1, sizeof(*j));
	struct journal_opts opts = { .find_header = find_header, .find_header_arg = j };
	struct journal_stats stats;
	int err;

	if (!j)
		return -ENOMEM;
	j->socket_dev = find_socket_dev();
	j->source = (struct source){ .ops = &journal_ops, .fd = kernel_ring_fd(k, KERNEL_JOURNAL) };
	buf_init(&j->saved, STATE_MAX_BYTES);
	stream_state_init(&j->state, config->spool_dir, "journal-streams", STATE_MAGIC);
	stream_state_init(&j->rate_state, config->spool_dir, "journal-rates", RATE_MAGIC);
	err = journal_new(&opts, &j->journal);
	if (!err)
		err = journal_teller_init(&j->teller, config);
	if (!err)
		err = rings_new(k, KERNEL_JOURNAL, resume, &j->rings);
	if (err) {
		journal_source_free(&j->source);
		return err;
	}
	j->source.generation = rings_generation(j->rings);
	j->source.position = rings_position(j->rings);
	j->source.behind = rings_is_behind(j->rings);
	j->source.stats.lost = kernel_lost(k, KERNEL_JOURNAL);
	if (resume && resume->generation == j->source.generation) {
		struct stream_moment now = { resume->generation, resume->position, next_seq };

		restore(j, &now);
	}
	journal_get_stats(j->journal, &stats);
	j->saved_changes = stats.changes;
	*ret = &j->source;
	return 0;
}
