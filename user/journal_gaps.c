/* SPDX-License-Identifier: Apache-2.0 */
#include "user/journal_gaps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Longer than journald can be kept from reading what woke it up, but for a debugger: an
 * entry that is so much older than the next read has nothing to do with it.
 */
#define STALL_NS 60000000000ull

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

static int add_read(struct journal_gap *gap, uint64_t read_ns)
{
	uint64_t *more;
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
	gap->reads[gap->n_reads++] = read_ns;
	return 0;
}

void journal_gaps_note(struct journal_gaps *g, const char *boot, uint64_t read_ns)
{
	for (int i = 0; i < g->n; i++) {
		struct journal_gap *gap = &g->list[i];

		if (gap->closed || strcmp(gap->to_boot, boot) != 0 ||
		    (!strcmp(gap->from_boot, boot) && read_ns <= gap->from_ns))
			continue;
		/* In the order of the ring, which is that of the reads. */
		if (gap->n_reads && read_ns <= gap->reads[gap->n_reads - 1])
			continue;
		gap->closed = read_ns > gap->to_ns;
		if (add_read(gap, read_ns))
			gap->reads_left_out = true;
		g->changes++;
	}
}

/* The first read that is not before this time, or NULL. */
static const uint64_t *find_read(const struct journal_gap *gap, uint64_t mono_ns)
{
	uint32_t low = 0, high = gap->n_reads;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (gap->reads[mid] < mono_ns)
			low = mid + 1;
		else
			high = mid;
	}
	return low < gap->n_reads ? &gap->reads[low] : NULL;
}

enum journal_verdict journal_gap_judge(const struct journal_gap *gap, const char *boot,
				       uint64_t mono_ns, uint64_t next_ns)
{
	const uint64_t *read;

	if (!strcmp(gap->from_boot, boot) && mono_ns <= gap->from_ns)
		return JOURNAL_CAPTURED;
	if (strcmp(gap->to_boot, boot) != 0)
		return strcmp(gap->from_boot, gap->to_boot) ? JOURNAL_MISSING : JOURNAL_BEHIND;
	if (mono_ns > gap->to_ns)
		return JOURNAL_BEHIND;
	read = find_read(gap, mono_ns);
	if (!read)
		return gap->reads_left_out ? JOURNAL_CAPTURED : JOURNAL_MISSING;
	if (next_ns)
		return *read < next_ns ? JOURNAL_CAPTURED : JOURNAL_MISSING;
	return *read - mono_ns > STALL_NS ? JOURNAL_MISSING : JOURNAL_ASK;
}

/* ------------------------------------------------------------------ saving */

struct saved_gap {
	char from_boot[JOURNAL_BOOT_SIZE], to_boot[JOURNAL_BOOT_SIZE];
	char cursor[JOURNAL_CURSOR_MAX];
	uint8_t closed, reads_left_out, pad[4];
	uint64_t from_ns, from_real_us, to_ns, told, first_us, last_us;
	uint64_t n_reads; /* as many numbers follow */
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
	uint64_t *reads = NULL;

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
