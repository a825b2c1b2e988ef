/* SPDX-License-Identifier: Apache-2.0 */
#include "user/journal_gaps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "user/util/crc32c.h"

/*
 * Longer than journald can be kept from reading what woke it up, but for a debugger: an
 * entry that is so much older than the next read has nothing to do with it.
 */
#define STALL_NS 60000000000ull

uint32_t journal_line_sum(struct slice text)
{
	uint32_t sum = crc32c(0, text.p, text.len) >> 2;

	return sum ? sum : 1;
}

void journal_gaps_done(struct journal_gaps *g)
{
	for (int i = 0; i < g->n; i++)
		free(g->list[i].reads);
	g->n = 0;
}

void journal_gaps_drop(struct journal_gaps *g)
{
	if (!g->n)
		return;
	free(g->list[0].reads);
	g->n--;
	memmove(g->list, g->list + 1, (size_t)g->n * sizeof(g->list[0]));
	g->changes++;
}

int journal_gaps_add(struct journal_gaps *g, const struct journal_gap *gap)
{
	int err = 0;

	if (g->n == JOURNAL_GAPS_MAX) {
		journal_gaps_drop(g);
		err = -ENOSPC;
	}
	g->list[g->n++] = *gap;
	g->changes++;
	return err;
}

static int add_read(struct journal_gap *gap, const struct journal_read *read)
{
	struct journal_read *more;
	uint32_t cap;

	if (gap->n_reads == gap->reads_cap) {
		cap = gap->reads_cap ? gap->reads_cap * 2 : 64;
		more = cap > JOURNAL_READS_MAX ? NULL
					       : reallocarray(gap->reads, cap, sizeof(*more));
		if (!more)
			return -ENOBUFS;
		gap->reads = more;
		gap->reads_cap = cap;
	}
	gap->reads[gap->n_reads++] = *read;
	return 0;
}

void journal_gaps_note(struct journal_gaps *g, const char *boot, const struct journal_read *read)
{
	for (int i = 0; i < g->n; i++) {
		struct journal_gap *gap = &g->list[i];

		if (gap->closed || strcmp(gap->to_boot, boot) != 0 ||
		    (!strcmp(gap->from_boot, boot) && read->ns <= gap->from_ns))
			continue;
		/* In the order of the ring, which is that of the reads. */
		if (gap->n_reads && read->ns < gap->reads[gap->n_reads - 1].ns + !read->is_stream)
			continue;
		/* The lines of one read from a stream may be on both sides. */
		gap->closed = read->ns > gap->to_ns &&
			      (!read->is_stream || read->ns - gap->to_ns > JOURNAL_READ_NS);
		if (add_read(gap, read))
			gap->reads_left_out = true;
		g->changes++;
	}
}

/* The first read that is not before this time: n_reads when there is none. */
static uint32_t find_read(const struct journal_gap *gap, uint64_t ns)
{
	uint32_t low = 0, high = gap->n_reads;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (gap->reads[mid].ns < ns)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool is_same_sender(const struct journal_read *a, const struct journal_read *b)
{
	return a->is_stream == b->is_stream && (a->pid == b->pid || !a->pid || !b->pid);
}

/* Is this read the entry's? */
static bool is_read_of(struct journal_read *read, const struct journal_read *of)
{
	if (!is_same_sender(read, of))
		return false;
	if (!of->is_stream || !read->line || !of->line)
		return true;
	if (read->is_used || read->line != of->line)
		return false;
	read->is_used = true;
	return true;
}

enum journal_verdict journal_gap_judge(struct journal_gap *gap, const char *boot,
				       const struct journal_read *of, uint64_t next_ns)
{
	uint32_t i;

	if (!strcmp(gap->from_boot, boot) && of->ns <= gap->from_ns)
		return JOURNAL_CAPTURED;
	if (strcmp(gap->to_boot, boot) != 0)
		return strcmp(gap->from_boot, gap->to_boot) ? JOURNAL_MISSING : JOURNAL_BEHIND;
	if (of->ns > gap->to_ns)
		return JOURNAL_BEHIND;
	i = find_read(gap, of->ns);
	/* With reads that are not known, too: rather twice than not at all. */
	if (i == gap->n_reads)
		return JOURNAL_MISSING;
	if (!next_ns)
		return gap->reads[i].ns - of->ns > STALL_NS ? JOURNAL_MISSING : JOURNAL_ASK;
	for (; i < gap->n_reads && gap->reads[i].ns < next_ns; i++)
		if (is_read_of(&gap->reads[i], of))
			return JOURNAL_CAPTURED;
	return JOURNAL_MISSING;
}

/* ------------------------------------------------------------------ saving */

struct saved_gap {
	char from_boot[JOURNAL_BOOT_SIZE], to_boot[JOURNAL_BOOT_SIZE];
	char cursor[JOURNAL_CURSOR_MAX];
	uint8_t closed, reads_left_out, pad[4];
	uint64_t from_ns, from_real_us, to_ns, told, first_us, last_us;
	uint64_t n_reads; /* as many of them follow */
};
_Static_assert(sizeof(struct saved_gap) == 2 * JOURNAL_BOOT_SIZE + JOURNAL_CURSOR_MAX + 6 + 56,
	       "no hidden padding");

int journal_gaps_save(const struct journal_gaps *g, struct buf *ret)
{
	size_t before = ret->len;
	int err = 0;

	for (int i = 0; i < g->n && !err; i++) {
		const struct journal_gap *gap = &g->list[i];
		struct saved_gap s = {
			.closed = gap->closed,
			.reads_left_out = gap->reads_left_out,
			.from_ns = gap->from_ns,
			.from_real_us = gap->from_real_us,
			.to_ns = gap->to_ns,
			.told = gap->told,
			.first_us = gap->first_us,
			.last_us = gap->last_us,
			.n_reads = gap->n_reads,
		};

		memcpy(s.from_boot, gap->from_boot, sizeof(s.from_boot));
		memcpy(s.to_boot, gap->to_boot, sizeof(s.to_boot));
		memcpy(s.cursor, gap->cursor, sizeof(s.cursor));
		err = buf_append(ret, &s, sizeof(s));
		if (!err && gap->n_reads)
			err = buf_append(ret, gap->reads, gap->n_reads * sizeof(*gap->reads));
	}
	if (err)
		ret->len = before;
	return err;
}

static int restore_one(struct journal_gaps *g, struct slice *bytes)
{
	struct journal_gap gap = { .closed = false };
	struct saved_gap s;
	struct journal_read *reads = NULL;

	if (bytes->len < sizeof(s) || g->n == JOURNAL_GAPS_MAX)
		return -EBADMSG;
	memcpy(&s, bytes->p, sizeof(s));
	bytes->p += sizeof(s);
	bytes->len -= sizeof(s);
	if (s.from_boot[JOURNAL_BOOT_SIZE - 1] || s.to_boot[JOURNAL_BOOT_SIZE - 1] ||
	    s.cursor[JOURNAL_CURSOR_MAX - 1] || s.n_reads > JOURNAL_READS_MAX ||
	    s.n_reads * sizeof(*reads) > bytes->len)
		return -EBADMSG;
	memcpy(gap.from_boot, s.from_boot, sizeof(s.from_boot));
	memcpy(gap.to_boot, s.to_boot, sizeof(s.to_boot));
	memcpy(gap.cursor, s.cursor, sizeof(s.cursor));
	gap.closed = s.closed;
	gap.reads_left_out = s.reads_left_out;
	gap.from_ns = s.from_ns;
	gap.from_real_us = s.from_real_us;
	gap.to_ns = s.to_ns;
	gap.told = s.told;
	gap.first_us = s.first_us;
	gap.last_us = s.last_us;
	if (s.n_reads) {
		reads = malloc(s.n_reads * sizeof(*reads));
		if (!reads)
			return -ENOMEM;
		memcpy(reads, bytes->p, s.n_reads * sizeof(*reads));
		bytes->p += s.n_reads * sizeof(*reads);
		bytes->len -= s.n_reads * sizeof(*reads);
	}
	gap.reads = reads;
	gap.n_reads = gap.reads_cap = (uint32_t)s.n_reads;
	return journal_gaps_add(g, &gap);
}

int journal_gaps_restore(struct journal_gaps *g, struct slice bytes)
{
	int err = 0;

	journal_gaps_done(g);
	while (bytes.len && !err)
		err = restore_one(g, &bytes);
	if (err)
		journal_gaps_done(g);
	return err;
}
