/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal export format, as "journalctl -o export" writes it, and what one of its
 * entries says, in the terms of what the tap sees (user/journal.h). Pure: bytes in, in
 * pieces of any size, entries out.
 *
 * An entry may be as large as journald takes it, which is hundreds of megabytes (core
 * dumps): here a field has JOURNAL_FIELD_MAX bytes, an entry JOURNAL_ENTRY_MAX. What is
 * beyond is counted, and of a message it is said.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "user/journal.h"
#include "user/process.h"
#include "user/util/buf.h"

#define JOURNAL_FIELD_MAX (256u << 10)
#define JOURNAL_ENTRY_MAX (1u << 20)
#define JOURNAL_BOOT_SIZE 33 /* 32 hex digits and a NUL */

struct journal_export {
	struct buf entry; /* its fields so far, each in the form of journal_parse_field() */
	int state;
	size_t field;	    /* where the one at hand begins there */
	size_t line;	    /* bytes of the line at hand, those that are not kept, too */
	uint64_t remaining; /* of a binary value */
	uint8_t length[8];
	int n_length;
	bool whole, left_out, is_message;
	uint64_t message_cut; /* bytes of MESSAGE that were not kept */
	/* Counted: */
	uint64_t entries;
	uint64_t malformed; /* what is not in the format, skipped to the next field or entry */
	uint64_t cut_bytes;
};

void journal_export_init(struct journal_export *x);
void journal_export_done(struct journal_export *x);

/*
 * Takes from *bytes, which moves. 1: an entry is whole, and stays in x until the next call;
 * 0: all was taken. -ENOMEM.
 */
int journal_export_feed(struct journal_export *x, struct slice *bytes);

/*
 * What an entry says; the slices point into it, or into ret.
 */
struct journal_entry {
	struct journal_line line; /* boot_ns is 0: it may be of another boot */
	struct process_info process;
	bool is_line;	/* the tap would have seen it */
	bool is_stream; /* of a stdout stream */
	struct slice cursor;
	char boot[JOURNAL_BOOT_SIZE];
	uint64_t mono_ns; /* when journald woke up to read it; whole microseconds */
	uint64_t real_us;
	struct slice note, note_value; /* of whoever reads the journal for us: its fields */
	char code[12];
	char audit[16384];
	char text[16384]; /* of an entry without a message */
};

/* JOURNAL_NOTE "SYNCED=": no sender can send a field that begins with an underscore. */
#define JOURNAL_NOTE "__SEKOIA_"

/* 0, or -EBADMSG for what journald has not written. */
int journal_entry_parse(const struct journal_export *x, struct journal_entry *ret);
