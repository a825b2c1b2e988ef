/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/top_table.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "user/flow_record.h"
#include "user/record_line.h"

#define NAME_COLUMNS (TOP_COLUMNS - 44)
#define BUCKETS	     16384

const char *const top_groups[] = { "process", "peer", "container", NULL };
const char *const top_orders[] = { "rate", "total", "flows", NULL };

/* A flow as it was: ids are unique on a host. */
struct then {
	uint64_t id, out, in;
};

struct row {
	char name[64];
	uint64_t out, in, new_out, new_in; /* since the start; since the last look */
	uint64_t flows;
};

struct top {
	enum top_group group;
	uint64_t now_ns, then_ns; /* then_ns 0: this is the first look */
	struct then *then, *now;
	size_t n_then, n_now;
	struct row *rows; /* one more than TOP_ROWS_MAX: the others */
	size_t n_rows;
	uint16_t buckets[BUCKETS]; /* 1 + the row; 0: free */
};

int top_new(struct top **ret)
{
	_cleanup_(top_freep) struct top *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->then = calloc(TOP_FLOWS_MAX, sizeof(*t->then));
	t->now = calloc(TOP_FLOWS_MAX, sizeof(*t->now));
	t->rows = calloc(TOP_ROWS_MAX + 1, sizeof(*t->rows));
	if (!t->then || !t->now || !t->rows)
		return -ENOMEM;
	*ret = TAKE_PTR(t);
	return 0;
}

void top_free(struct top *t)
{
	if (!t)
		return;
	free(t->then);
	free(t->now);
	free(t->rows);
	free(t);
}

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = ((const struct then *)a)->id, y = ((const struct then *)b)->id;

	return (x > y) - (x < y);
}

void top_begin(struct top *t, enum top_group group, uint64_t now_ns)
{
	struct then *swap = t->then;

	t->then = t->now;
	t->n_then = t->n_now;
	qsort(t->then, t->n_then, sizeof(*t->then), compare_ids);
	t->now = swap;
	t->n_now = 0;
	t->then_ns = t->now_ns;
	t->now_ns = now_ns;
	t->group = group;
	t->n_rows = 0;
	memset(t->buckets, 0, sizeof(t->buckets));
	t->rows[TOP_ROWS_MAX] = (struct row){ .name = "others" };
}

/* ------------------------------------------------------------------ adding */

static void name_row(const struct top *t, const struct flow *f, const char *container, char *ret,
		     size_t size)
{
	const struct task_ref *who = flow_process(f);
	char ip[INET6_ADDRSTRLEN];

	switch (t->group) {
	case TOP_PEER:
		inet_ntop(f->ip_version == 6 ? AF_INET6 : AF_INET, f->remote, ip, sizeof(ip));
		snprintf(ret, size, "%s", ip);
		break;
	case TOP_CONTAINER:
		snprintf(ret, size, "%s", *container ? container : "(no container)");
		break;
	default:
		if (who->pid)
			snprintf(ret, size, "%s(%u)", who->comm, who->pid);
		else
			snprintf(ret, size, "(not known)");
	}
}

static struct row *find_row(struct top *t, const char *name)
{
	uint32_t hash = 2166136261u;

	for (const char *p = name; *p; p++)
		hash = (hash ^ (uint8_t)*p) * 16777619u;
	/* There are more buckets than rows, so one is free. */
	for (uint32_t i = hash;; i++) {
		uint16_t *b = &t->buckets[i % BUCKETS];

		if (*b && !strcmp(t->rows[*b - 1].name, name))
			return &t->rows[*b - 1];
		if (*b)
			continue;
		if (t->n_rows == TOP_ROWS_MAX)
			return &t->rows[TOP_ROWS_MAX];
		t->rows[t->n_rows] = (struct row){ 0 };
		snprintf(t->rows[t->n_rows].name, sizeof(t->rows[0].name), "%s", name);
		*b = (uint16_t)++t->n_rows;
		return &t->rows[*b - 1];
	}
}

void top_add(struct top *t, const struct flow *f, const char *container)
{
	struct then now = { f->id, f->out_total, f->in_total }, *then;
	char name[sizeof(t->rows[0].name)];
	struct row *row;

	name_row(t, f, container, name, sizeof(name));
	row = find_row(t, name);
	row->flows++;
	row->out += now.out;
	row->in += now.in;
	then = bsearch(&now, t->then, t->n_then, sizeof(now), compare_ids);
	/* One that was not there at the last look has begun since. */
	if (then && now.out >= then->out && now.in >= then->in) {
		row->new_out += now.out - then->out;
		row->new_in += now.in - then->in;
	} else if (!then && t->then_ns && f->start_ns >= t->then_ns) {
		row->new_out += now.out;
		row->new_in += now.in;
	}
	if (t->n_now < TOP_FLOWS_MAX)
		t->now[t->n_now++] = now;
}

/* ------------------------------------------------------------------ the table */

static int compare_rows(const void *a, const void *b, void *arg)
{
	const struct row *x = a, *y = b;
	uint64_t keys[TOP_ORDERS][2] = { { x->new_out + x->new_in, y->new_out + y->new_in },
					 { x->out + x->in, y->out + y->in },
					 { x->flows, y->flows } };
	const int first = *(const enum top_order *)arg;

	for (int i = 0; i < TOP_ORDERS; i++) {
		const uint64_t *k = keys[(first + i) % TOP_ORDERS];

		if (k[0] != k[1])
			return k[0] < k[1] ? 1 : -1;
	}
	return strcmp(x->name, y->name);
}

static const char *rate(const struct top *t, uint64_t n, char ret[static 16])
{
	uint64_t ns = t->now_ns - t->then_ns;

	if (!t->then_ns || !ns)
		return strcpy(ret, "-");
	return record_bytes((uint64_t)((double)n * 1e9 / (double)ns), ret);
}

static int put_row(const struct top *t, const struct row *r, struct buf *ret)
{
	char name[NAME_COLUMNS * 4 + 1], a[16], b[16], c[16], d[16];

	record_columns(slice_of(r->name), NAME_COLUMNS, name, sizeof(name));
	return buf_printf(ret, "%8s %8s %8s %8s %6llu  %s\n", rate(t, r->new_out, a),
			  rate(t, r->new_in, b), record_bytes(r->out, c), record_bytes(r->in, d),
			  (unsigned long long)r->flows, name);
}

int top_format(struct top *t, enum top_order order, size_t lines, struct buf *ret)
{
	size_t room = lines > 4 ? lines - 2 : 2;
	struct row sum = { 0 }, rest = t->rows[TOP_ROWS_MAX];
	char out[16], in[16], group[16];
	int err;

	qsort_r(t->rows, t->n_rows, sizeof(*t->rows), compare_rows, &order);
	for (size_t i = 0; i < t->n_rows + 1; i++) {
		const struct row *r = i < t->n_rows ? &t->rows[i] : &t->rows[TOP_ROWS_MAX];

		sum.flows += r->flows;
		sum.new_out += r->new_out;
		sum.new_in += r->new_in;
	}
	err = buf_printf(ret, "%llu %s, %s/s out, %s/s in; by %s, sorted by %s\n",
			 (unsigned long long)sum.flows, sum.flows == 1 ? "flow" : "flows",
			 rate(t, sum.new_out, out), rate(t, sum.new_in, in), top_groups[t->group],
			 top_orders[order]);
	snprintf(group, sizeof(group), "%s", top_groups[t->group]);
	for (char *p = group; *p; p++)
		*p = (char)toupper(*p);
	if (!err)
		err = buf_printf(ret, "%8s %8s %8s %8s %6s  %s\n", "OUT/S", "IN/S", "OUT", "IN",
				 "FLOWS", group);
	for (size_t i = 0; i < t->n_rows && !err; i++) {
		const struct row *r = &t->rows[i];
		bool fits = i + 1 < room || (i + 1 == room && i + 1 == t->n_rows && !rest.flows);

		if (fits) {
			err = put_row(t, r, ret);
			continue;
		}
		rest.flows += r->flows;
		rest.out += r->out;
		rest.in += r->in;
		rest.new_out += r->new_out;
		rest.new_in += r->new_in;
	}
	if (!err && rest.flows)
		err = put_row(t, &rest, ret);
	return err;
}
