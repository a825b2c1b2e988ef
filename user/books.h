/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The books: what each hop took, gave, and could not keep. At any quiet moment
 *
 *     seen      = submitted + filtered + ring_full + no_room + missed + live
 *     appended  = acknowledged + rejected + filtered + dropped + damaged + waiting + before
 *     lost      = told + untold
 *
 * where before (mostly 0) is what had come and gone when the output was first used.
 *
 * One table says what there is to count; the lines at the exit, the JSON of
 * status and heartbeat, the Prometheus metrics, the loss events and their
 * documentation follow from it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "user/container_names.h"
#include "user/kernel_meters.h"
#include "user/names.h"
#include "user/nat.h"
#include "user/probe.h"
#include "user/snmp.h"
#include "user/source.h"
#include "user/util/buf.h"
#include "user/util/json_writer.h"

struct config;
struct losses;
struct shipper_process;
struct spool;

enum books_scope {
	BOOKS_DAEMON,
	BOOKS_KERNEL,
	BOOKS_RING,
	BOOKS_SOURCE,
	BOOKS_NAMES,
	BOOKS_CONTAINERS,
	BOOKS_NAT,
	BOOKS_UNOWNED,
	BOOKS_SPOOL,
	BOOKS_OUTPUT,
	BOOKS_LOSS,
	BOOKS_PROCESS,
	BOOKS_PROGRAM,
	BOOKS_SCOPES,
};

struct books_scope_row {
	const char *name;
	const char *label; /* what the name of an item is to Prometheus; NULL: there is one item */
	bool in_lines;	   /* books_print() shows it */
	const char *help;  /* a sentence, for the documentation */
};
extern const struct books_scope_row books_scopes[BOOKS_SCOPES];

enum books_kind { BOOKS_COUNTER, BOOKS_GAUGE };
enum books_unit { BOOKS_NUMBER, BOOKS_BYTES, BOOKS_NS };

struct books_row {
	enum books_scope scope;
	const char *key;
	enum books_kind kind;
	enum books_unit unit;
	size_t offset;	   /* of its uint64_t in the item's values */
	bool always;	   /* in the lines even when it is 0; other gauges are in none */
	const char *help;  /* what it means; one sentence without its full stop */
	const char *lost;  /* what to say when it grew, because that is a loss; NULL: it is none */
	const char *cure;  /* what to do about it; of a ring, behind its size */
	const char *cause; /* "the ring was full" */
};
extern const struct books_row books_rows[]; /* ended by a NULL key; in order of scopes */

struct books_daemon {
	uint64_t uptime_ns, rate, rate_minute; /* events a second */
	uint64_t shipper_starts, shipper_deaths, shipper_failures;
	uint64_t stuck_ns; /* since when nothing could be written into the spool */
	uint64_t monitor_requests, monitor_refused;
};

struct books_ring {
	uint64_t size, fill;
};

struct books_spool {
	uint64_t appended, bytes, max_bytes, oldest_ns;
	uint64_t torn_bytes, dropped_segments, commit_errors;
};

struct books_output {
	uint64_t acknowledged, rejected, filtered, dropped, damaged, waiting, before;
	uint64_t dropped_old; /* of the dropped: too old; and of which class, as far as known */
	uint64_t dropped_journal, dropped_flows, dropped_kernel, dropped_self;
	uint64_t sent, sent_bytes, connects, failures;
	uint64_t dead_lettered, dead_unwritten, dead_dropped;
	uint64_t settled_dropped; /* dropped, as far as its reader has come */
};

struct books_loss {
	uint64_t lost, told;
};

struct books_process {
	uint64_t pid, rss, cpu_ns;
};

/* One line of the books. */
struct books_item {
	enum books_scope scope;
	char name[40];	     /* empty where there is one item */
	uint64_t generation; /* counters of another one begin anew */
	union {
		struct books_daemon daemon;
		struct kernel_counters kernel;
		struct books_ring ring;
		struct source_stats source;
		struct names_stats names;
		struct container_names_stats containers;
		struct nat_stats nat;
		struct unowned_packets unowned;
		struct books_spool spool;
		struct books_output output;
		struct books_loss loss;
		struct books_process process;
		struct kernel_program program;
	};
	char state[32]; /* of an output */
	char peer[80];
	char error[192];
};

#define BOOKS_ITEMS  192
#define BOOKS_WRONGS 8

struct books {
	const char *version;
	char hostname[256];
	uint64_t real_us, boot_ns; /* when they were read */
	int n_items;
	struct books_item items[BOOKS_ITEMS];
	/* What somebody should look at, for people; none when all is well. */
	int n_wrongs;
	char wrongs[BOOKS_WRONGS][160];
};

/* What they are read from. Any pointer but spool and config may be NULL. */
struct books_inputs {
	const struct config *config;
	struct kernel *kernel;
	struct spool *spool;
	struct source *const *sources;
	int n_sources;
	const struct names *names;
	const struct nat *nat;
	const struct container_names *containers;
	const struct losses *losses;
	const struct shipper_process *shipper;
	const char *hostname;
	uint64_t run_id;	    /* of this process: its own counters began with it */
	struct books_daemon daemon; /* what the collector itself counts */
};

/* How much to read: with each batch; what else losses are made of, each second; on demand. */
enum books_extent { BOOKS_READ_SOURCES, BOOKS_READ_LOSSES, BOOKS_READ_ALL };
void books_read(struct books *b, const struct books_inputs *in, enum books_extent extent);

/* NULL when there is none. name may be NULL where there is one item. */
const struct books_item *books_find(const struct books *b, enum books_scope scope,
				    const char *name);

static inline uint64_t books_value(const struct books_item *item, const struct books_row *row)
{
	return *(const uint64_t *)((const char *)&item->daemon + row->offset);
}

/* To people: all that is about events. */
bool books_is_shown(const struct books_item *item);

/* A line for each hop: "books: NAME key=N key=N". */
void books_print(FILE *f, const struct books *b);

/* "sekoia_ebpf_kernel_ring_full_total": a row's name for Prometheus. */
#define BOOKS_METRIC_SIZE 96
void books_metric_name(const struct books_row *row, char ret[static BOOKS_METRIC_SIZE]);

/* Prometheus's text format. 0, -ENOBUFS or -ENOMEM. */
int books_put_metrics(const struct books *b, struct buf *ret);

/* Members of an object that the caller opened. brief: without what is 0, and what programs cost. */
void books_put_json(const struct books *b, bool brief, struct json_writer *w);

/* For people, in 80 columns. 0, -ENOBUFS or -ENOMEM. */
int books_put_page(const struct books *b, struct buf *ret);

/* Each counter as a line of Markdown, for the documentation. */
void books_put_reference(FILE *f);
