/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what a log daemon read to lines: the native protocol, syslog (RFC 3164
 * as local programs write it, and RFC 5424), stdout streams, audit. Streams
 * have state, kept here with a ceiling; everything else is a value in and
 * lines out. Reads no file, no clock.
 *
 * What can not be parsed still becomes a line, with its bytes as the text.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "user/event.h"
#include "user/util/buf.h"
#include "user/util/cleanup.h"
#include "user/util/slice.h"

#define JOURNAL_LINE_MAX (48u << 10) /* of a stream; a longer one becomes several lines */

enum journal_transport { JOURNAL_NATIVE, JOURNAL_SYSLOG, JOURNAL_STDOUT, JOURNAL_AUDIT };

struct journal_line {
	enum journal_transport transport;
	uint8_t pri;		 /* facility * 8 + severity */
	struct slice identifier; /* empty: the sender gave none */
	struct slice text;	 /* may hold line feeds; without the last one */
	struct slice code;   /* MESSAGE_ID, MSGID, or the number of an audit type; may be empty */
	struct slice unit;   /* as root's stream announced it; may be empty */
	struct slice fields; /* of a native message with a text: for journal_next_field() */
	struct slice data;   /* structured data of RFC 5424: for journal_next_param() */
	uint32_t pid;	     /* as the sender gave it, else trusted_pid */
	uint32_t trusted_pid, uid, gid; /* from the kernel */
	uint64_t cgroup_id;		/* of the sender's socket; 0: not known */
	uint64_t boot_ns;		/* when it was read */
	uint64_t time_us;		/* the same, since the epoch */
	uint64_t cut_bytes;		/* missing at its end: they could not be copied */
	bool backfill;			/* from the journal's files, not from the tap */
	struct slice cursor;		/* of the entry there */
};

/*
 * Takes the line; its slices live until it returns. False: not now, the line was
 * not taken; whoever called us returns false, and calls again when there is room.
 */
typedef bool (*journal_line_fn)(void *arg, const struct journal_line *line);

/* Is this socket, on which pid wrote last, still open at the log daemon's end? */
typedef bool (*journal_is_open_fn)(void *arg, uint32_t pid, uint64_t socket_ino);

/* What a stream began with. */
#define JOURNAL_NAME_SIZE 128
struct journal_stream_header {
	char identifier[JOURNAL_NAME_SIZE], unit[JOURNAL_NAME_SIZE]; /* terminated */
	uint8_t pri;
	bool level_prefix; /* a line may begin with <N> */
};

/* Of a stream that was there before us: does anybody know how it began? */
typedef bool (*journal_find_header_fn)(void *arg, const struct journal_sample *s,
				       struct journal_stream_header *ret);

struct journal_opts {
	uint32_t max_streams; /* 0: 1024; above it the one silent for longest is forgotten */
	size_t max_bytes;     /* 0: 4 MiB, of unfinished lines; above it the oldest ends here */
	journal_find_header_fn find_header; /* may be NULL */
	void *find_header_arg;
};

struct journal_stats {
	uint64_t samples, lines;
	uint64_t native, syslog, stdout_, audit; /* samples, by protocol */
	uint64_t memfd;				 /* the message was in a file that we can not see */
	uint64_t truncated;			 /* samples with bytes missing */
	uint64_t cut_bytes;			 /* how many */
	uint64_t malformed;  /* not in the protocol's form: told as they stand */
	uint64_t empty;	     /* empty lines and messages: not told */
	uint64_t control;    /* audit: not records */
	uint64_t split;	     /* lines ended by a limit, not by their writer */
	uint64_t headerless; /* streams that were there before us, of which nobody knows more */
	uint64_t evicted;    /* streams */
	uint32_t streams;
	size_t bytes;	  /* of unfinished lines */
	uint64_t changes; /* of what journal_stream_save() writes: save when it moved */
};

struct journal;

/* The caller owns *ret. -ENOMEM. */
int journal_new(const struct journal_opts *opts, struct journal **ret);
void journal_free(struct journal *j);
DEFINE_CLEANUP(struct journal *, journal_free);

/*
 * Calls fn for each line that ends in this sample: none, one or many. False when
 * fn did not take one: the same sample, given again, goes on with that line, also
 * after the streams were saved and restored in between.
 */
bool journal_decode(struct journal *j, const struct journal_sample *s, int64_t boot_to_real_ns,
		    journal_line_fn fn, void *arg);

/*
 * Tells unfinished lines of streams that were silent for idle_ns and are not
 * open (NULL: or are): their writer ended in the middle of a line. False: as above.
 */
bool journal_flush_idle(struct journal *j, uint64_t boot_ns, uint64_t idle_ns,
			journal_is_open_fn is_open, int64_t boot_to_real_ns, journal_line_fn fn,
			void *arg);

/* The sender, as process_find() takes it. Its start is not known. */
struct task_ref journal_line_task(const struct journal_line *line);

/*
 * The streams, and how much of a sample was taken, as bytes, to go on after a restart. Save
 * appends: -ENOBUFS or -ENOMEM. Restore replaces all streams: -EBADMSG for bytes that are not ours,
 * or -ENOMEM, and then there are none. Only for the same boot: the caller checks.
 */
int journal_stream_save(const struct journal *j, struct buf *ret);
int journal_stream_restore(struct journal *j, struct slice bytes);

void journal_get_stats(const struct journal *j, struct journal_stats *ret);
