/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal export format: entries are the same in whatever pieces they come, what they say
 * stays within them, and a record is made of each. And what else comes from files for it: the
 * saved list of gaps, and what journald keeps of a stream.
 */
#include <stdlib.h>

#include "user/journal_export.h"
#include "user/journal_gaps.h"
#include "user/journal_parse.h"
#include "user/journal_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_line(const struct journal_entry *e)
{
	static struct record *r;
	const struct journal_details d = { .process = &e->process };
	struct msg m;

	if (!r && record_new(&(struct record_opts){ .hostname = SLICE("host") }, &r) < 0)
		abort();
	journal_record_format(r, &e->line, &d, &m);
	if (m.text.len + m.json.len > RECORD_MAX_BYTES)
		abort();
}

/* A number that all entries have a part in. */
static uint64_t read_all(const uint8_t *data, size_t size, size_t piece)
{
	static struct journal_entry e;
	struct journal_export x;
	uint64_t sum = 0;

	journal_export_init(&x);
	for (size_t at = 0; at < size; at += piece) {
		struct slice bytes = { (const char *)data + at,
				       size - at < piece ? size - at : piece };

		while (bytes.len) {
			if (journal_export_feed(&x, &bytes) != 1)
				continue;
			if (x.entry.len > JOURNAL_ENTRY_MAX)
				abort();
			sum = sum * 31 + x.entry.len;
			for (size_t i = 0; i < x.entry.len; i++)
				sum = sum * 31 + (unsigned char)buf_data(&x.entry)[i];
			if (journal_entry_parse(&x, &e) < 0 || !e.is_line)
				continue;
			e.line.backfill = true;
			e.line.cursor = e.cursor;
			check_line(&e);
		}
	}
	sum += x.malformed * 7 + x.cut_bytes;
	journal_export_done(&x);
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct journal_stream_header header;
	struct journal_gaps g = { .n = 0 };
	struct buf b;

	if (size > 1 << 20)
		return 0;
	if (journal_parse_stream((struct slice){ (const char *)data, size }, &header) &&
	    (header.pri > JOURNAL_PRI_MAX || strlen(header.identifier) >= JOURNAL_NAME_SIZE))
		abort();
	if (read_all(data, size, size ? size : 1) != read_all(data, size, 5))
		abort();
	buf_init(&b, 16 << 20);
	if (journal_gaps_restore(&g, (struct slice){ (const char *)data, size }) == 0) {
		if (journal_gaps_save(&g, &b) < 0 || b.len != size)
			abort();
		for (int i = 0; i < g.n; i++) {
			const struct journal_read of = { .ns = g.list[i].to_ns };

			journal_gap_judge(&g.list[i], g.list[i].to_boot, &of, 0);
			journal_gap_judge(&g.list[i], g.list[i].to_boot, &of, of.ns + 1);
		}
	}
	journal_gaps_done(&g);
	buf_done(&b);
	return 0;
}
