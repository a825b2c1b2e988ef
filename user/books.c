/* SPDX-License-Identifier: Apache-2.0 */
#include "user/books.h"

#include <string.h>

#include "config/config.h"
#include "output/spool.h"
#include "user/probe.h"
#include "user/source.h"

static void put(FILE *f, const char *key, uint64_t value)
{
	fprintf(f, " %s=%llu", key, (unsigned long long)value);
}

/* What is almost always nothing is told only when it is something. */
static void put_if(FILE *f, const char *key, uint64_t value)
{
	if (value)
		put(f, key, value);
}

static void print_kernel(FILE *f, const struct kernel *k, enum kernel_source source,
			 const char *name)
{
	struct kernel_counters c;

	if (!k || kernel_get_counters(k, source, &c) < 0)
		return;
	fprintf(f, "books: kernel.%s", name);
	put(f, "seen", c.seen);
	put(f, "submitted", c.submitted);
	put(f, "filtered", c.filtered);
	put(f, "ring_full", c.ring_full);
	put(f, "no_room", c.no_room);
	put(f, "live", c.live);
	put_if(f, "reports", c.reports);
	put_if(f, "reports_put_off", c.reports_put_off);
	put_if(f, "missed", c.missed);
	put_if(f, "adopted", c.adopted);
	put_if(f, "truncated", c.truncated);
	put_if(f, "skipped", c.skipped);
	fputc('\n', f);
}

void books_print(FILE *f, const struct books *b)
{
	struct spool_stats s;

	print_kernel(f, b->kernel, KERNEL_FLOWS, "flows");
	print_kernel(f, b->kernel, KERNEL_JOURNAL, "journal");
	for (int i = 0; i < b->n_sources; i++) {
		const struct source *src = b->sources[i];

		fprintf(f, "books: source.%s", src->ops->name);
		put(f, "samples", src->stats.samples);
		put(f, "records", src->stats.records);
		put_if(f, "bad", src->stats.bad);
		put_if(f, "filtered", src->stats.filtered);
		put_if(f, "rate_limited", src->stats.rate_limited);
		put_if(f, "too_large", src->stats.too_large);
		put_if(f, "lost", src->stats.lost);
		fputc('\n', f);
	}
	spool_get_stats(b->spool, &s);
	fprintf(f, "books: spool");
	put(f, "appended", s.last_seq);
	put(f, "bytes", s.bytes);
	put_if(f, "torn_bytes", s.torn_bytes);
	put_if(f, "dropped_segments", s.dropped_segments);
	put_if(f, "commit_errors", s.commit_errors);
	fputc('\n', f);
	for (const char *p = b->config->output; *p;) {
		size_t n = strcspn(p, ",");
		uint64_t from, gone;
		struct spool_cursor c;
		char name[32];

		snprintf(name, sizeof(name), "%.*s", (int)n, p);
		p += n + (p[n] == ',');
		if (spool_cursor_peek(b->config->spool_dir, name, &c) < 0 ||
		    c.spool_id != spool_id(b->spool))
			continue;
		/* What the limit took is dropped, though its reader has not come to it yet. */
		from = c.cursor_seq;
		gone = s.removed_seq > from ? s.removed_seq - from : 0;
		from += gone;
		fprintf(f, "books: output.%s", name);
		put(f, "acknowledged", c.acked);
		put(f, "rejected", c.rejected);
		put(f, "dropped", c.lost_limit + gone);
		put(f, "damaged", c.lost_damage);
		/* The cursor may be a moment ahead of the numbers that we took before it. */
		put(f, "waiting", s.last_seq > from ? s.last_seq - from : 0);
		put_if(f, "before", c.start_seq);
		put_if(f, "dead_lettered", c.dead_lettered);
		put_if(f, "dead_unwritten", c.dead_unwritten);
		put_if(f, "dead_dropped", c.dead_dropped);
		put(f, "sent", c.sent);
		put_if(f, "connects", c.connects);
		put_if(f, "failures", c.failures);
		fputc('\n', f);
	}
}
