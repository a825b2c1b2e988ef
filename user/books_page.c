/* SPDX-License-Identifier: Apache-2.0 */
/* The books for people: what "sekoia-ebpf status" shows, in 80 columns. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "user/books.h"
#include "user/self_record.h"

#define PAGE_WIDTH 79

/* The first error stays: what comes after it is not written either. */
struct page {
	const struct books *books;
	struct buf *buf;
	int err;
};

__attribute__((format(printf, 2, 3))) static void put(struct page *p, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!p->err)
		p->err = buf_puts(p->buf, text);
}

static const char *duration(uint64_t ns, char *ret, size_t size)
{
	unsigned long long s = ns / 1000000000;

	if (s < 120)
		snprintf(ret, size, "%llu s", s);
	else if (s < 7200)
		snprintf(ret, size, "%llu min", s / 60);
	else if (s < 172800)
		snprintf(ret, size, "%llu h %llu min", s / 3600, s / 60 % 60);
	else
		snprintf(ret, size, "%llu days %llu h", s / 86400, s / 3600 % 24);
	return ret;
}

static unsigned long long percent(uint64_t part, uint64_t whole)
{
	return whole ? part / (whole / 100 ? whole / 100 : 1) : 0;
}

static void put_head(struct page *p)
{
	const struct books *b = p->books;
	const struct books_item *daemon = books_find(b, BOOKS_DAEMON, NULL);
	const struct books_item *spool = books_find(b, BOOKS_SPOOL, NULL);
	char text[48];

	put(p, "sekoia-ebpf %s on %.40s, running for %s: %s\n", b->version, b->hostname,
	    duration(daemon ? daemon->daemon.uptime_ns : 0, text, sizeof(text)),
	    b->n_wrongs ? "something is wrong" : "all is well");
	for (int i = 0; i < b->n_wrongs; i++)
		put(p, "  ! %s\n", b->wrongs[i]);
	if (daemon && spool)
		put(p,
		    "%llu events appended; a second: %llu since the start, %llu in the last "
		    "minute\n",
		    (unsigned long long)spool->spool.appended,
		    (unsigned long long)daemon->daemon.rate,
		    (unsigned long long)daemon->daemon.rate_minute);
}

/* A table: the values of these keys for each item of a scope. */
static void put_table(struct page *p, enum books_scope scope, const char *title,
		      const char *const *keys, int n, int width)
{
	const struct books *b = p->books;
	bool begun = false;

	for (int i = 0; i < b->n_items; i++) {
		const struct books_item *item = &b->items[i];

		if (item->scope != scope || !books_is_shown(item))
			continue;
		if (!begun) {
			put(p, "\n%-*s", PAGE_WIDTH - n * width, title);
			for (int k = 0; k < n; k++)
				put(p, " %*s", width - 1, keys[k]);
			put(p, "\n");
		}
		begun = true;
		put(p, "  %-*s", PAGE_WIDTH - n * width - 2, item->name);
		for (int k = 0; k < n; k++)
			for (const struct books_row *row = books_rows; row->key; row++)
				if (row->scope == scope && !strcmp(row->key, keys[k]))
					put(p, " %*llu", width - 1,
					    (unsigned long long)books_value(item, row));
		put(p, "\n");
	}
}

#define TABLE(p, scope, title, width, ...)                                                         \
	do {                                                                                       \
		static const char *const keys_[] = { __VA_ARGS__ };                                \
		put_table(p, scope, title, keys_, (int)(sizeof(keys_) / sizeof(*keys_)), width);   \
	} while (0)

static void put_outputs(struct page *p)
{
	const struct books *b = p->books;

	TABLE(p, BOOKS_OUTPUT, "OUTPUT", 13, "acknowledged", "waiting", "rejected", "dropped",
	      "damaged");
	for (int i = 0; i < b->n_items; i++) {
		const struct books_item *item = &b->items[i];

		if (item->scope != BOOKS_OUTPUT)
			continue;
		put(p, "  %s: %s%s%.60s\n", item->name, item->state[0] ? item->state : "not begun",
		    item->peer[0] ? ", " : "", item->peer);
		if (item->error[0])
			put(p, "    last error: %s\n", item->error);
	}
}

static void put_places(struct page *p)
{
	const struct books *b = p->books;
	const struct books_item *spool = books_find(b, BOOKS_SPOOL, NULL);
	char has[SELF_SIZE_TEXT], of[SELF_SIZE_TEXT], age[48];

	put(p, "\n%-20s%14s%14s%10s\n", "ROOM", "used", "of", "percent");
	if (spool)
		put(p, "  %-18s%14s%14s%9llu%%  oldest %s\n", "spool",
		    self_format_bytes(spool->spool.bytes, has),
		    self_format_bytes(spool->spool.max_bytes, of),
		    percent(spool->spool.bytes, spool->spool.max_bytes),
		    duration(spool->spool.oldest_ns, age, sizeof(age)));
	for (int i = 0; i < b->n_items; i++) {
		const struct books_item *item = &b->items[i];

		if (item->scope == BOOKS_RING)
			put(p, "  ring %-13s%14s%14s%9llu%%\n", item->name,
			    self_format_bytes(item->ring.fill, has),
			    self_format_bytes(item->ring.size, of),
			    percent(item->ring.fill, item->ring.size));
	}
}

/* A part of the time since the start, in thousandths of one CPU. */
static void put_share(struct page *p, uint64_t ns, uint64_t of_ns)
{
	unsigned long long milli = of_ns ? ns / (of_ns / 100000 ? of_ns / 100000 : 1) : 0;

	put(p, "%llu.%03llu%%", milli / 1000, milli % 1000);
}

static void put_costs(struct page *p)
{
	const struct books *b = p->books;
	const struct books_item *daemon = books_find(b, BOOKS_DAEMON, NULL);
	bool counted = false, any = false;
	char has[SELF_SIZE_TEXT];

	put(p, "\n%-20s%10s%16s%16s  of a CPU\n", "COST", "pid", "memory", "CPU seconds");
	for (int i = 0; i < b->n_items; i++) {
		const struct books_item *item = &b->items[i];

		if (item->scope == BOOKS_PROCESS) {
			put(p, "  %-18s%10llu%16s%13llu.%02llu  ", item->name,
			    (unsigned long long)item->process.pid,
			    self_format_bytes(item->process.rss, has),
			    (unsigned long long)(item->process.cpu_ns / 1000000000),
			    (unsigned long long)(item->process.cpu_ns / 10000000 % 100));
			put_share(p, item->process.cpu_ns, daemon ? daemon->daemon.uptime_ns : 0);
			put(p, "\n");
		}
		if (item->scope == BOOKS_PROGRAM) {
			any = true;
			counted |= item->program.runs > 0;
		}
	}
	if (any && !counted)
		put(p,
		    "  BPF programs: not measured; to measure: sysctl kernel.bpf_stats_enabled=1\n");
	if (!counted)
		return;
	put(p, "\n%-20s%16s%16s%16s%10s\n", "BPF PROGRAM", "runs", "ns per run", "CPU seconds",
	    "skipped");
	for (int i = 0; i < b->n_items; i++) {
		const struct books_item *item = &b->items[i];
		const struct kernel_program *prog = &item->program;

		if (item->scope == BOOKS_PROGRAM)
			put(p, "  %-18s%16llu%16llu%12llu.%03llu%10llu\n", item->name,
			    (unsigned long long)prog->runs,
			    (unsigned long long)(prog->runs ? prog->run_ns / prog->runs : 0),
			    (unsigned long long)(prog->run_ns / 1000000000),
			    (unsigned long long)(prog->run_ns / 1000000 % 1000),
			    (unsigned long long)prog->skipped);
	}
}

int books_put_page(const struct books *b, struct buf *ret)
{
	struct page p = { .books = b, .buf = ret };

	put_head(&p);
	TABLE(&p, BOOKS_KERNEL, "KERNEL", 10, "seen", "submitted", "filtered", "ring_full",
	      "no_room", "missed", "live");
	TABLE(&p, BOOKS_SOURCE, "SOURCE", 10, "samples", "records", "filtered", "own", "too_large",
	      "lost");
	TABLE(&p, BOOKS_NAMES, "NAMES", 12, "answers", "hellos", "malformed", "addresses",
	      "evicted");
	put_outputs(&p);
	TABLE(&p, BOOKS_LOSS, "LOST", 14, "lost", "told");
	put_places(&p);
	put_costs(&p);
	return p.err;
}
