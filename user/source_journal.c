/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: ring samples to lines to records. The state of stdout streams
 * (who it is, the unfinished line) goes to disk with each batch, so that a
 * line that was read in two halves is whole after a crash between them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "output/spool.h"
#include "user/event.h"
#include "user/journal.h"
#include "user/journal_record.h"
#include "user/probe.h"
#include "user/process.h"
#include "user/ring.h"
#include "user/source.h"
#include "user/stream_state.h"
#include "user/unix_sockets.h"
#include "user/users.h"
#include "user/util/clock.h"
#include "user/util/log.h"

#define STATE_MAGIC	0x324a4b53u /* "SKJ2": the form of journal_stream_save() */
#define STATE_MAX_BYTES (8u << 20)
/* An unfinished line is asked about when its stream was silent for so long. */
#define LINE_IDLE_NS 1000000000ull

struct source_journal {
	struct source source;
	struct ring *ring;
	struct journal *journal;
	struct stream_state state;
	struct buf saved;
	uint64_t saved_changes;	     /* journal_stats.changes when it was last saved */
	struct sink *sink;	     /* for on_line() */
	struct unix_sockets sockets; /* those that are open, while lines are flushed */
	bool has_sockets;
};

static bool on_line(void *arg, const struct journal_line *line)
{
	struct source_journal *j = arg;
	struct task_ref who = journal_line_task(line);
	struct journal_details d = { 0 };
	struct msg m;

	if (j->sink->is_full(j->sink->arg))
		return false;
	/* Each line that tells of trouble would make another event, and more trouble. */
	if (own_has_pid(&j->sink->own, line->trusted_pid)) {
		j->source.stats.own++;
		return true;
	}
	if (who.pid) {
		d.process = process_find(j->sink->processes, &who, line->boot_ns, j->sink->now_ms);
		d.user_name = users_find(j->sink->users, who.uid, j->sink->now_ms);
	}
	sink_begin(j->sink);
	journal_record_format(j->sink->record, line, &d, &m);
	sink_add(&j->source, j->sink, &m);
	return true;
}

/*
 * What journald passes on to a classic syslog daemon was seen when journald
 * read it; the rest are its own control sockets.
 */
static bool is_log_socket(struct slice path)
{
	return !slice_is(path, "/run/systemd/journal/syslog") &&
	       !slice_is(path, "/run/systemd/journal/io.systemd.journal");
}

static int journal_take(struct source *s, struct sink *sink)
{
	struct source_journal *j = (struct source_journal *)s;
	uint64_t before = ring_position(j->ring);
	const void *sample;
	struct event e;
	size_t size;

	if (ring_next(j->ring, &sample, &size) == 0)
		return 0;
	j->sink = sink;
	if (event_decode(sample, size, &e) < 0 || e.kind != EVENT_IS_JOURNAL) {
		s->stats.bad++;
	} else if (!is_log_socket(e.journal.path)) {
		s->stats.filtered++;
	} else if (!journal_decode(j->journal, &e.journal, sink->record->boot_to_real_ns, on_line,
				   j)) {
		/* The rest of it when the sink has room; the kernel keeps it as long. */
		ring_unread(j->ring, before);
		return 1;
	}
	s->stats.samples++;
	s->position = ring_position(j->ring);
	return 1;
}

static int journal_prepare(struct source *s, uint64_t next_seq)
{
	struct source_journal *j = (struct source_journal *)s;
	struct stream_moment when = { s->generation, s->position, next_seq };
	struct journal_stats stats;
	int err;

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
	ring_release(((struct source_journal *)s)->ring, s->position);
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

	/* What waits in the ring may be the rest of such a line. */
	if (!all && ring_waiting(j->ring))
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

	*ret_size = ring_size(j->ring);
	*ret_fill = ring_fill(j->ring);
}

static void journal_source_free(struct source *s)
{
	struct source_journal *j = (struct source_journal *)s;

	ring_free(j->ring);
	journal_free(j->journal);
	buf_done(&j->saved);
	free(j);
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

int source_journal_new(const struct kernel *k, const char *state_dir,
		       const struct spool_position *resume, uint64_t next_seq, struct source **ret)
{
	struct source_journal *j = calloc(1, sizeof(*j));
	struct journal_opts opts = { 0 };
	struct journal_stats stats;
	int err;

	if (!j)
		return -ENOMEM;
	j->source = (struct source){ .ops = &journal_ops,
				     .fd = kernel_ring_fd(k, KERNEL_JOURNAL),
				     .generation = kernel_generation(k) };
	buf_init(&j->saved, STATE_MAX_BYTES);
	stream_state_init(&j->state, state_dir, "journal-streams", STATE_MAGIC);
	err = journal_new(&opts, &j->journal);
	if (!err)
		err = ring_new(j->source.fd, &j->ring);
	if (err) {
		journal_source_free(&j->source);
		return err;
	}
	if (resume && resume->generation == j->source.generation) {
		struct stream_moment now = { resume->generation, resume->position, next_seq };

		ring_seek(j->ring, resume->position);
		if (stream_state_load(&j->state, &now, &j->saved) == 0 &&
		    journal_stream_restore(j->journal, buf_slice(&j->saved)) < 0)
			log_warning("journal streams: the saved state is damaged; lines that were "
				    "being written are cut");
	}
	journal_get_stats(j->journal, &stats);
	j->saved_changes = stats.changes;
	j->source.position = ring_position(j->ring);
	*ret = &j->source;
	return 0;
}
