/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where events come from. A source gives one sample at a time and knows how far
 * it has been read; it gives nothing up before the spool has it, so a collector
 * that dies is followed by one that goes on at the same place.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "output/msg.h"
#include "user/interfaces.h"
#include "user/own.h"
#include "user/util/buf.h"

struct config;
struct kernel;
struct names;
struct nat;
struct process_cache;
struct record;
struct routes;
struct sink;
struct source;
struct task_ids;
struct users;

/* The numbers in the spool: never give one to another source. */
enum source_id {
	SOURCE_FLOWS = 1,
	SOURCE_JOURNAL = 2,
	SOURCE_KERNEL_LOG = 3,
	SOURCE_SELF = 4,
	SOURCE_EVENTS = 5,
	SOURCE_NAMES = 6,
	SOURCE_BACKFILL = 7,
	SOURCE_FILES = 8,
};
#define SOURCE_MAX 8

/* What stands beside the kernel's own counters in the books. */
struct source_stats {
	uint64_t samples;      /* taken */
	uint64_t records;      /* appended */
	uint64_t bad;	       /* samples that nobody of ours wrote */
	uint64_t filtered;     /* samples that are not for us, lines that are not wanted */
	uint64_t own;	       /* what we did ourselves: connections to the intake, log lines */
	uint64_t rate_limited; /* lines above journal.rate_limit: summed up, not sent */
	uint64_t too_large;    /* records that the spool would not have */
	uint64_t lost;	       /* known to be missing: gaps in numbers */
	uint64_t limited;      /* backfills that journal.backfill or its _max cut short */
};

struct source_ops {
	const char *name; /* as in the configuration: "flows" */
	enum source_id id;
	bool apart; /* not from our BPF: it goes on when the capture has ended */
	bool quiet; /* nobody waits for what it has */

	/*
	 * Takes one sample and hands its records to sink_add(). 1; 0 when there is
	 * none; -errno when the source is broken (told once, by the caller). A sample
	 * of many records may end early because the sink is full: position stays
	 * before it, and the next call goes on with it.
	 */
	int (*take)(struct source *s, struct sink *sink);

	/* Everything up to s->position is in the spool. */
	void (*release)(struct source *s);

	/*
	 * Just before what was taken is committed: what must be on disk with it, so
	 * how much of the sample behind s->position was taken. next_seq is what the
	 * spool will then give next. May be NULL.
	 */
	int (*prepare)(struct source *s, uint64_t next_seq);

	/*
	 * Gives out what is held back: what nothing will be added to any more, once a
	 * second, or, at a clean stop, all of it. False: the sink is full, commit and
	 * call again. May be NULL.
	 */
	bool (*flush)(struct source *s, struct sink *sink, bool all);

	/* Of the ring, in bytes. NULL: there is none. */
	void (*get_ring)(const struct source *s, uint64_t *ret_size, uint64_t *ret_fill);

	void (*free)(struct source *s);
};

struct source {
	const struct source_ops *ops;
	int fd;		     /* readable when there is something; -1: only the timer looks */
	bool edge;	     /* what is kept makes fd readable, too: only what is new counts */
	uint64_t generation; /* of the positions */
	uint64_t position;   /* behind the last sample that was taken whole */
	bool behind;	     /* at rings of a capture that was replaced */
	bool soon;	     /* holds something back for a moment, and is to be asked again then */
	struct source_stats stats;
};

/* Where records go, and what they are made with. One for all sources. */
struct sink {
	struct record *record; /* sink_begin() sets its seq */
	struct process_cache *processes;
	struct users *users;
	struct task_ids *tasks; /* who executed a program; NULL: nobody asks */
	struct routes *routes;
	struct interfaces interfaces;
	struct own own;		     /* who we are ourselves */
	const struct config *config; /* as it is now: what is secret is in no event */
	struct names *names;	     /* what flows are called; NULL: not wanted */
	struct nat *nat;	     /* what this host translates; NULL: not wanted, or nothing */
	struct source *names_source; /* where that comes from: asked before a flow is told */
	uint64_t now_ms;
	bool stopping; /* what can be had again later is left for the next start */

	/*
	 * 0: it is in the batch. -EMSGSIZE, -EINVAL: never. -ENOBUFS: it is full, and
	 * was asked for more than the one record of a take().
	 */
	int (*add)(void *arg, const struct msg *m);
	uint64_t (*next_seq)(void *arg);
	/*
	 * So much waits to be committed that take() must stop before its next record.
	 * It is not, when take() begins: the first one has room.
	 */
	bool (*is_full)(void *arg);
	void *arg;
};

/* Before each record is formatted. */
void sink_begin(struct sink *sink);
/* Counts in s->stats. A journal line has its route; others are given theirs. */
void sink_add(struct source *s, struct sink *sink, const struct msg *m);

/*
 * Each opens at the position that the spool knows, if there is one (resume is
 * NULL when there is none). The caller owns *ret. 0 or -errno.
 */
struct spool_position;
int source_flows_new(const struct kernel *k, const struct spool_position *resume,
		     struct source **ret);
int source_journal_new(const struct kernel *k, const struct config *config,
		       const struct spool_position *resume, uint64_t next_seq, struct source **ret);
int source_events_new(const struct kernel *k, const struct spool_position *resume,
		      struct source **ret);
/* The classes of kernel events that are wanted: enum kernel_class. */
uint32_t source_events_classes(const struct config *config);
/* Gives no records: it fills names, which is borrowed. */
int source_names_new(const struct kernel *k, struct names *names, struct source **ret);
/* Where a journal's source notes what this host's journald has read: NULL, nowhere. */
struct journal_reads;
void source_journal_note_to(struct source *s, struct journal_reads *reads);
/* text says why it can not be had. tasks is borrowed; the sources of execs fill it. */
int source_files_new(const struct config *config, struct task_ids *tasks,
		     const struct spool_position *resume, char *text, size_t text_size,
		     struct source **ret);
int source_kmsg_new(const char *path, const struct spool_position *resume, struct source **ret);
void source_free(struct source *s);
