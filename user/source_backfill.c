/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What journald stored while nobody captured it: read back from its files, once, and
 * joined to what the tap saw without a gap or a repeat (user/journal_gaps.h says how).
 *
 * Its position is that of the tap in journald's own order: what journald had read up to there, in
 * this boot, is in the spool. So the next start knows where its gap begins, also
 * after a loss of power. Which gaps there are, and how far each was filled, is beside it on disk.
 */
#define _GNU_SOURCE
#include "user/source_backfill.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/config.h"
#include "output/spool.h"
#include "user/journal_export.h"
#include "user/journal_gaps.h"
#include "user/journal_reader.h"
#include "user/journal_reads.h"
#include "user/journal_teller.h"
#include "user/probe.h"
#include "user/process.h"
#include "user/record.h"
#include "user/secrets.h"
#include "user/stream_state.h"
#include "user/util/clock.h"
#include "user/util/log.h"

#define STATE_MAGIC	0x31474a53u /* "SJG1" */
#define STATE_MAX_BYTES (16u << 20)
#define HELD_MAX_BYTES	(32u << 20) /* entries of one read of journald's, in whole */
#define READ_BYTES	65536
#define SKIP_ENTRIES	256 /* at once, of those that are captured */
#define STEP_NS		1000000000ll

/* In the state, before the gaps. */
struct saved_head {
	char boot[JOURNAL_BOOT_SIZE];
	uint8_t pad[7];
	int64_t mono_to_real_ns;
};
_Static_assert(sizeof(struct saved_head) == 48, "no hidden padding");

enum end { NOT_ENDED, ENDED_WHOLE, ENDED_AT_MAX, ENDED_BROKEN };

struct source_backfill {
	struct source source;
	struct journal_teller teller;
	struct journal_reads reads;
	struct journal_gaps gaps;
	struct journal_reader reader;
	struct journal_export export;
	struct journal_entry entry; /* what export has */
	bool has_entry;		    /* not judged yet */
	bool at_end;
	enum end end;
	struct buf held; /* of one time, waiting for the next one: lengths and fields */
	struct journal_export replay; /* one of them */
	char held_boot[JOURNAL_BOOT_SIZE];
	uint64_t held_ns;
	uint64_t held_next_ns; /* the next time; 0: not known yet */
	uint64_t synced_ns;    /* what journald had read by then is in its files; 0: who knows */
	uint64_t told, max_told;
	bool too_old; /* journal.backfill left something out */
	int run, n_runs;
	uint64_t ready_ns; /* the tap's reads must be known up to here */
	bool going;	   /* the journal is being read */
	uint64_t teller_ns;
	char buf[READ_BYTES];
	struct slice rest; /* of buf */
	struct stream_state state;
	struct buf saved;
	uint64_t saved_changes, saved_generation;
	int64_t mono_to_real_ns, saved_mono_to_real_ns;
};

struct journal_reads *source_backfill_reads(struct source *s)
{
	return &((struct source_backfill *)s)->reads;
}

/* ------------------------------------------------------------------ telling */

/* A process that is still there is known better than journald tells. */
static const struct process_info *process_of(struct source_backfill *b, struct sink *sink,
					     struct journal_entry *e)
{
	struct task_ref who = journal_line_task(&e->line);
	const struct process_info *p;

	if (!who.pid)
		return NULL;
	secrets_mask(sink->config, (char *)e->process.command_line.p, e->process.command_line.len);
	if (strcmp(e->boot, b->reads.boot) != 0)
		return &e->process;
	p = process_find(sink->processes, &who, e->mono_ns + b->reads.off_ns, sink->now_ms);
	if (e->process.executable.len &&
	    (p->gone || p->executable.len != e->process.executable.len ||
	     memcmp(p->executable.p, e->process.executable.p, p->executable.len) != 0))
		return &e->process;
	return p;
}

static void tell(struct source_backfill *b, struct sink *sink, struct journal_entry *e)
{
	struct journal_gap *gap = &b->gaps.list[0];

	gap->told++;
	if (!gap->first_us)
		gap->first_us = e->real_us;
	gap->last_us = e->real_us;
	b->gaps.changes++;
	b->told++;
	e->line.backfill = true;
	e->line.cursor = e->cursor;
	/* journal.rate_limit counts in a time that does not go back. */
	if (e->real_us * 1000 > b->teller_ns)
		b->teller_ns = e->real_us * 1000;
	if (!strcmp(e->boot, b->reads.boot) &&
	    !journal_teller_wants(&b->teller, &b->source, sink, &e->line))
		return;
	journal_teller_tell(&b->teller, &b->source, sink, &e->line, process_of(b, sink, e),
			    b->teller_ns);
}

static void take(struct source_backfill *b, struct sink *sink, struct journal_entry *e,
		 enum journal_verdict verdict)
{
	struct journal_gap *gap = &b->gaps.list[0];

	b->source.stats.samples++;
	if (verdict == JOURNAL_MISSING && e->is_line)
		tell(b, sink, e);
	else
		b->source.stats.filtered++;
	if (e->cursor.len < sizeof(gap->cursor)) {
		memcpy(gap->cursor, e->cursor.p, e->cursor.len);
		gap->cursor[e->cursor.len] = '\0';
		b->gaps.changes++;
	}
}

/* What became of a gap: in the log, and as an event. False: the sink is full. */
static bool report(struct source_backfill *b, struct sink *sink)
{
	const struct journal_gap *gap = &b->gaps.list[0];
	char from[CLOCK_RFC3339_SIZE], to[CLOCK_RFC3339_SIZE], text[512];
	static const char *const ends[] = {
		[NOT_ENDED] = "",
		[ENDED_WHOLE] = "",
		[ENDED_AT_MAX] = "; journal.backfill_max ended it there, what follows is missing",
		[ENDED_BROKEN] = "; journalctl failed, so that some of it may be missing",
	};
	uint64_t now_us = clock_real_us();
	bool ok = b->end == ENDED_WHOLE && !b->too_old;

	if (!gap->told && ok) {
		log_debug("journal: nothing is missing since the collector was here last");
		return true;
	}
	clock_format_rfc3339(gap->first_us, from);
	clock_format_rfc3339(gap->last_us, to);
	if (gap->told)
		snprintf(text, sizeof(text),
			 "%" PRIu64 " lines of the journal, from %.19sZ to %.19sZ, that nobody had "
			 "captured were read from its files%s%s",
			 gap->told, from, to,
			 b->too_old ? "; older ones were not looked for (journal.backfill)" : "",
			 ends[b->end]);
	else
		snprintf(text, sizeof(text),
			 "no line of the journal that nobody had captured was read from its "
			 "files%s%s",
			 b->too_old ? "; older ones were not looked for (journal.backfill)" : "",
			 ends[b->end]);
	if (!journal_teller_say(&b->source, sink, ok ? 5 : 4, "journal.backfill", SLICE(""), now_us,
				text))
		return false;
	log_write(ok ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, "%s", text);
	b->source.stats.limited += b->too_old + (b->end == ENDED_AT_MAX);
	b->too_old = false;
	return true;
}

/* ------------------------------------------------------------------ entries, in order */

static void on_note(struct source_backfill *b)
{
	uint64_t value = strtoull(b->entry.note_value.p, NULL, 10);

	if (slice_is(b->entry.note, "SYNCED")) {
		b->synced_ns = value;
		/* What the tap saw until then may be in its ring still. */
		b->reads.idle = false;
		if (value > b->ready_ns)
			b->ready_ns = value;
		if (!value)
			log_warning("journal: journald does not say that all is in its files "
				    "(journalctl --sync); the last lines before the start may be "
				    "missing");
	} else if (slice_is(b->entry.note, "RUN")) {
		b->run = (int)value;
	} else if (slice_is(b->entry.note, "END") && b->end == NOT_ENDED) {
		b->end = value ? ENDED_BROKEN : ENDED_WHOLE;
		if (value)
			log_warning("journal: journalctl ended with status %u; to see why: "
				    "journalctl -n 1 -o export",
				    (unsigned)(value >> 8 & 0xff));
	}
}

/* Do we know all that the tap saw? */
static bool is_ready(const struct source_backfill *b)
{
	return b->reads.idle || b->reads.last_ns > b->ready_ns;
}

/*
 * The ring was read to its end: what was lost there while it was full is a thing of the past,
 * and so, a little later, is the gap: of a line that journald reads in two halves, the first one
 * may be lost and the second one not. Whoever reads the journal from there on finds all of it.
 */
static bool go(struct source_backfill *b)
{
	struct journal_gap *last = &b->gaps.list[b->gaps.n - 1];
	uint64_t now_ns = journal_reads_now_ns();

	if (b->going)
		return true;
	if (!b->reads.idle)
		return false;
	if (last->to_ns == UINT64_MAX) {
		last->to_ns = now_ns + JOURNAL_READ_NS;
		b->gaps.changes++;
	}
	if (now_ns <= last->to_ns) {
		b->reads.idle = false;
		return false;
	}
	b->going = true;
	b->ready_ns = last->to_ns;
	journal_reader_go(&b->reader); /* if it is gone, nothing comes, and that is seen */
	return true;
}

/* b->entry is the next one. False: not now, or b->at_end. */
static bool next_entry(struct source_backfill *b)
{
	int r;

	while (!b->has_entry && !b->at_end) {
		if (!b->rest.len) {
			ssize_t n = read(b->reader.fd, b->buf, sizeof(b->buf));

			if (n < 0 && (errno == EAGAIN || errno == EINTR))
				return false;
			b->at_end = n <= 0;
			b->rest = (struct slice){ b->buf, n > 0 ? (size_t)n : 0 };
			continue;
		}
		r = journal_export_feed(&b->export, &b->rest);
		if (r < 0) {
			b->source.stats.bad++;
			b->at_end = true;
			b->end = ENDED_BROKEN;
		}
		if (r <= 0)
			continue;
		if (journal_entry_parse(&b->export, &b->entry) < 0)
			b->source.stats.bad++;
		else if (b->entry.note.len)
			on_note(b);
		else if (b->run == b->n_runs - 1 || strcmp(b->entry.boot, b->reads.boot) != 0)
			b->has_entry = true;
		if (!is_ready(b))
			return false;
	}
	return b->has_entry;
}

static bool is_last_taken(const struct source_backfill *b)
{
	const char *cursor = b->gaps.list[0].cursor;

	return cursor[0] && slice_is(b->entry.cursor, cursor);
}

static int hold(struct source_backfill *b)
{
	uint64_t head[2] = { b->export.entry.len, b->export.message_cut };
	int err;

	err = buf_append(&b->held, head, sizeof(head));
	if (err)
		return err;
	err = buf_append(&b->held, buf_data(&b->export.entry), b->export.entry.len);
	if (err)
		b->held.len -= sizeof(head);
	return err;
}

/*
 * Boots have an order that their names do not tell: of this one, all that is left of
 * gaps that end in others is behind them.
 */
static enum journal_verdict judge(struct source_backfill *b, const struct journal_entry *e,
				  uint64_t next_ns)
{
	struct journal_gap *gap = &b->gaps.list[0];
	const struct journal_read read = {
		.ns = e->mono_ns,
		.pid = b->reads.has_pids ? e->process.pid : 0,
		.is_stream = e->is_stream,
		.line = e->is_stream ? journal_line_sum(e->line.text) : 0,
	};

	if (!strcmp(e->boot, b->reads.boot) && strcmp(gap->to_boot, e->boot) != 0)
		return JOURNAL_BEHIND;
	return journal_gap_judge(gap, e->boot, &read, next_ns);
}

/* The oldest of those that waited for the next time. */
static void take_held(struct source_backfill *b, struct sink *sink)
{
	static struct journal_entry e;
	uint64_t head[2];

	memcpy(head, buf_data(&b->held), sizeof(head));
	buf_consume(&b->held, sizeof(head));
	buf_clear(&b->replay.entry);
	b->replay.message_cut = head[1];
	if (buf_append(&b->replay.entry, buf_data(&b->held), head[0]) == 0 &&
	    journal_entry_parse(&b->replay, &e) == 0)
		take(b, sink, &e, judge(b, &e, b->held_next_ns));
	else
		b->source.stats.bad++;
	buf_consume(&b->held, head[0]);
}

/* 1: an entry was dealt with, or put aside; 0: there is none now; -ENODATA: there are no more. */
static int step(struct source_backfill *b, struct sink *sink, bool *ret_behind)
{
	enum journal_verdict verdict;
	bool is_same;

	*ret_behind = false;
	if (b->held.len && b->held_next_ns) {
		take_held(b, sink);
		return 1;
	}
	if (!next_entry(b)) {
		if (!b->at_end)
			return 0;
		if (!b->held.len)
			return -ENODATA;
		b->held_next_ns = b->synced_ns ? b->synced_ns : journal_reads_now_ns();
		return 1;
	}
	is_same = b->held.len && b->entry.mono_ns == b->held_ns &&
		  !strcmp(b->entry.boot, b->held_boot);
	if (b->held.len && !is_same) {
		if (strcmp(b->entry.boot, b->held_boot) != 0)
			b->held_next_ns = UINT64_MAX;
		else
			b->held_next_ns = b->entry.mono_ns ? b->entry.mono_ns : 1;
		return 1;
	}
	if (is_last_taken(b)) {
		b->has_entry = false;
		return 1;
	}
	verdict = judge(b, &b->entry, 0);
	if (verdict == JOURNAL_BEHIND) {
		*ret_behind = true;
		return 1;
	}
	if (verdict == JOURNAL_ASK && hold(b) == 0) {
		memcpy(b->held_boot, b->entry.boot, sizeof(b->held_boot));
		b->held_ns = b->entry.mono_ns;
		b->held_next_ns = 0;
		b->has_entry = false;
		return 1;
	}
	/* Without room to wait: rather twice than not at all. */
	take(b, sink, &b->entry, verdict == JOURNAL_ASK ? JOURNAL_MISSING : verdict);
	b->has_entry = false;
	return 1;
}

static void stop_reading(struct source_backfill *b)
{
	journal_reader_done(&b->reader);
	buf_done(&b->held);
	journal_export_done(&b->export);
	journal_export_done(&b->replay);
	b->rest.len = 0;
	b->has_entry = false;
}

/* ------------------------------------------------------------------ the source */

static int backfill_take(struct source *s, struct sink *sink)
{
	struct source_backfill *b = (struct source_backfill *)s;
	uint64_t told = b->told;
	bool behind = false;
	int r = 1;

	s->soon = b->gaps.n;
	/* A stop does not wait for what can be read again. Nor is a gap known before its end. */
	if (!b->gaps.n || sink->stopping || !go(b) || !is_ready(b))
		return 0;
	if (b->end == NOT_ENDED && b->told >= b->max_told)
		b->end = ENDED_AT_MAX;
	for (int n = 0; b->end != ENDED_AT_MAX && r == 1 && !behind && n < SKIP_ENTRIES; n++) {
		r = step(b, sink, &behind);
		if (b->told != told)
			return 1;
	}
	if (r == 0)
		return 0;
	if (r == -ENODATA && b->end == NOT_ENDED)
		b->end = ENDED_BROKEN;
	if (r == 1 && !behind && b->end != ENDED_AT_MAX)
		return 1;
	/* One that is passed was filled; else it is the last one that there is anything of. */
	if (behind) {
		enum end end = b->end;

		b->end = ENDED_WHOLE;
		if (!report(b, sink))
			return 0;
		b->end = end;
	} else if (!report(b, sink)) {
		return 0;
	}
	journal_gaps_drop(&b->gaps);
	if (!b->gaps.n)
		stop_reading(b);
	return 1;
}

static int backfill_prepare(struct source *s, uint64_t next_seq)
{
	struct source_backfill *b = (struct source_backfill *)s;
	struct stream_moment when;
	struct saved_head head = { .pad = { 0 } };
	int64_t moved_ns;
	int err;

	journal_reads_look(&b->reads);
	if (b->reads.last_ns > s->position)
		s->position = b->reads.last_ns;
	b->mono_to_real_ns = clock_boot_to_real_ns() + (int64_t)b->reads.off_ns;
	moved_ns = b->mono_to_real_ns - b->saved_mono_to_real_ns;
	if (b->gaps.changes == b->saved_changes && s->generation == b->saved_generation &&
	    moved_ns < STEP_NS && moved_ns > -STEP_NS)
		return 0;
	when = (struct stream_moment){ s->generation, s->position, next_seq };
	memcpy(head.boot, b->reads.boot, sizeof(head.boot));
	head.mono_to_real_ns = b->mono_to_real_ns;
	buf_clear(&b->saved);
	err = buf_append(&b->saved, &head, sizeof(head));
	if (!err)
		err = journal_gaps_save(&b->gaps, &b->saved);
	if (!err)
		err = stream_state_save(&b->state, &when, buf_slice(&b->saved));
	if (err)
		return err;
	b->saved_changes = b->gaps.changes;
	b->saved_generation = s->generation;
	b->saved_mono_to_real_ns = b->mono_to_real_ns;
	return 0;
}

/* The journal's files are journald's. */
static void backfill_release(struct source *s)
{
	struct source_backfill *b = (struct source_backfill *)s;

	if (!b->gaps.n && b->reader.pid && waitpid(b->reader.pid, NULL, WNOHANG) != 0)
		b->reader.pid = 0;
}

static bool backfill_flush(struct source *s, struct sink *sink, bool all)
{
	struct source_backfill *b = (struct source_backfill *)s;

	return journal_teller_report(&b->teller, s, sink, b->teller_ns, 0, all || !b->gaps.n);
}

static void backfill_free(struct source *s)
{
	struct source_backfill *b = (struct source_backfill *)s;

	stop_reading(b);
	journal_gaps_done(&b->gaps);
	journal_teller_done(&b->teller);
	buf_done(&b->saved);
	free(b);
}

static const struct source_ops backfill_ops = {
	.name = "backfill",
	.id = SOURCE_BACKFILL,
	.apart = true,
	.take = backfill_take,
	.prepare = backfill_prepare,
	.release = backfill_release,
	.flush = backfill_flush,
	.free = backfill_free,
};

/* ------------------------------------------------------------------ which gaps there are */

struct last_time {
	bool known;
	char boot[JOURNAL_BOOT_SIZE]; /* empty: not known */
	uint64_t mono_ns, real_us;
};

/* What the last collector knew: its boot, and which gaps it had not filled. */
static void restore(struct source_backfill *b, const struct spool_position *resume,
		    uint64_t next_seq, struct last_time *ret)
{
	struct stream_moment now = { resume->generation, resume->position, next_seq };
	int64_t mono_to_real_ns = b->mono_to_real_ns, real_ns;
	struct saved_head head;
	struct slice bytes;

	*ret = (struct last_time){ .known = true, .mono_ns = resume->position };
	if (resume->generation == b->source.generation)
		memcpy(ret->boot, b->reads.boot, sizeof(ret->boot));
	if (stream_state_load(&b->state, &now, &b->saved) == 0) {
		bytes = buf_slice(&b->saved);
		if (bytes.p && bytes.len >= sizeof(head)) {
			memcpy(&head, bytes.p, sizeof(head));
			head.boot[JOURNAL_BOOT_SIZE - 1] = '\0';
			bytes.p += sizeof(head);
			bytes.len -= sizeof(head);
			memcpy(ret->boot, head.boot, sizeof(ret->boot));
			mono_to_real_ns = head.mono_to_real_ns;
		}
		if (journal_gaps_restore(&b->gaps, bytes) < 0)
			log_warning("journal: the saved list of gaps is damaged; what was missing "
				    "before the last start is not read any more");
	}
	buf_clear(&b->saved);
	real_ns = (int64_t)ret->mono_ns + mono_to_real_ns;
	ret->real_us = real_ns > 0 ? (uint64_t)real_ns / 1000 : 0;
}

static void add_gap(struct source_backfill *b, const struct last_time *last, uint64_t to_ns)
{
	struct journal_gap gap = {
		.from_ns = last->mono_ns,
		.from_real_us = last->real_us,
		.to_ns = to_ns,
	};

	memcpy(gap.from_boot, last->boot, sizeof(gap.from_boot));
	memcpy(gap.to_boot, b->reads.boot, sizeof(gap.to_boot));
	if (journal_gaps_add(&b->gaps, &gap) < 0)
		log_warning("journal: more than %d gaps wait to be filled; the oldest is given up",
			    JOURNAL_GAPS_MAX);
}

/* journal.backfill: what is older is left out. */
static void limit_age(struct source_backfill *b, const struct config *config)
{
	uint64_t now_us = clock_real_us(), max_us = config->journal_backfill_ms * 1000;
	uint64_t oldest_us = now_us > max_us ? now_us - max_us : 0;

	for (int i = 0; i < b->gaps.n; i++) {
		struct journal_gap *gap = &b->gaps.list[i];

		if (gap->from_real_us >= oldest_us)
			continue;
		gap->from_real_us = oldest_us;
		gap->cursor[0] = '\0';
		gap->from_boot[0] = '\0';
		b->too_old = true;
	}
}

/* The boot of a cursor, which has it as "b=" among other things. */
static void boot_of_cursor(const char *cursor, char ret[static JOURNAL_BOOT_SIZE])
{
	const char *at = strstr(cursor, "b=");

	snprintf(ret, JOURNAL_BOOT_SIZE, "%.*s", JOURNAL_BOOT_SIZE - 1, at ? at + 2 : "");
}

/*
 * The real time may have been set to anything, so what can be had without it is. A place in a boot
 * is one in its own time; only which boots came after it is a matter of dates. This boot
 * is read by itself, from its beginning.
 */
static int start_reading(struct source_backfill *b)
{
	const struct journal_gap *gap = &b->gaps.list[0];
	struct journal_reader_run runs[JOURNAL_READER_RUNS] = { { .boot = NULL } };
	char cursor[JOURNAL_CURSOR_MAX], boot[JOURNAL_BOOT_SIZE] = "";

	if (gap->cursor[0]) {
		memcpy(cursor, gap->cursor, sizeof(cursor));
		boot_of_cursor(cursor, boot);
	} else if (gap->from_boot[0]) {
		snprintf(cursor, sizeof(cursor), "b=%s;m=%" PRIx64 ";t=%" PRIx64, gap->from_boot,
			 gap->from_ns / 1000, gap->from_real_us);
		memcpy(boot, gap->from_boot, sizeof(boot));
	}
	b->n_runs = 1;
	if (boot[0])
		runs[0].cursor = cursor;
	else
		runs[0].since_us = gap->from_real_us;
	if (!strcmp(boot, b->reads.boot))
		runs[0].boot = b->reads.boot;
	else if (boot[0])
		runs[b->n_runs++].boot = b->reads.boot;
	return journal_reader_start(runs, b->n_runs, &b->reader);
}

static void find_gaps(struct source_backfill *b, const struct source_backfill_opts *o,
		      const struct spool_position *resume)
{
	const struct config *config = o->config;
	struct last_time last = { .known = false };
	uint64_t now_ns = journal_reads_now_ns();
	int err;

	if (resume)
		restore(b, resume, o->next_seq, &last);
	if (!last.known && config->journal_backfill_first_ms && o->is_new) {
		uint64_t now_us = clock_real_us(),
			 back_us = config->journal_backfill_first_ms * 1000;

		last.known = true;
		last.real_us = now_us > back_us ? now_us - back_us : 1;
	}
	for (int i = 0; i < b->gaps.n; i++)
		if (b->gaps.list[i].to_ns == UINT64_MAX &&
		    !strcmp(b->gaps.list[i].to_boot, b->reads.boot))
			b->gaps.list[i].to_ns = now_ns;
	if (last.known && (o->is_new || o->has_lost))
		add_gap(b, &last, o->is_new ? now_ns : UINT64_MAX);
	/* What comes before now is a gap's, or nobody wants it; or the tap's. */
	b->source.position = now_ns;
	if (resume && resume->generation == b->source.generation && !o->is_new && !o->has_lost)
		b->source.position = resume->position;
	if (!config->journal_backfill_ms)
		journal_gaps_done(&b->gaps);
	limit_age(b, config);
	if (!b->gaps.n)
		return;
	err = start_reading(b);
	if (!err)
		return;
	if (err == -ENOENT)
		log_info("journal: there is no journalctl here; what was logged while nobody "
			 "captured is not sent");
	else
		log_warning("journalctl: %s; what was logged while nobody captured is not sent",
			    log_strerror(err));
	journal_gaps_done(&b->gaps);
	b->gaps.changes++;
}

int source_backfill_new(const struct source_backfill_opts *opts,
			const struct spool_position *resume, struct source **ret)
{
	struct source_backfill *b = calloc(1, sizeof(*b));
	int err;

	if (!b)
		return -ENOMEM;
	b->source = (struct source){
		.ops = &backfill_ops,
		.fd = -1,
		.generation = clock_boot_id(),
	};
	b->reader.fd = -1;
	b->max_told = opts->config->journal_backfill_max;
	journal_export_init(&b->export);
	journal_export_init(&b->replay);
	buf_init(&b->held, HELD_MAX_BYTES);
	buf_init(&b->saved, STATE_MAX_BYTES);
	stream_state_init(&b->state, opts->config->spool_dir, "journal-gaps", STATE_MAGIC);
	err = journal_teller_init(&b->teller, opts->config);
	if (!err)
		err = journal_reads_init(&b->reads, &b->gaps);
	if (err) {
		backfill_free(&b->source);
		return err;
	}
	b->mono_to_real_ns = clock_boot_to_real_ns() + (int64_t)b->reads.off_ns;
	find_gaps(b, opts, resume);
	*ret = &b->source;
	return 0;
}
