/* SPDX-License-Identifier: Apache-2.0 */
/* The books for programs: JSON and the text format of Prometheus (version 0.0.4). */
#include <stdio.h>
#include <string.h>

#include "user/books.h"

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && !strcmp(text + n - m, end);
}

void books_metric_name(const struct books_row *row, char ret[static BOOKS_METRIC_SIZE])
{
	const char *unit = row->unit == BOOKS_NS      ? "_seconds"
			   : row->unit == BOOKS_BYTES ? "_bytes"
						      : "";

	snprintf(ret, BOOKS_METRIC_SIZE, "sekoia_ebpf_%s_%s%s%s", books_scopes[row->scope].name,
		 row->key, ends_with(row->key, "bytes") ? "" : unit,
		 row->kind == BOOKS_COUNTER ? "_total" : "");
}

static int put_value(struct buf *ret, const struct books_row *row, uint64_t value)
{
	if (row->unit != BOOKS_NS)
		return buf_printf(ret, "%llu\n", (unsigned long long)value);
	return buf_printf(ret, "%llu.%09llu\n", (unsigned long long)(value / 1000000000),
			  (unsigned long long)(value % 1000000000));
}

/* Names are ours: they need no escape. */
static int put_row(const struct books *b, const struct books_row *row, struct buf *ret)
{
	const char *label = books_scopes[row->scope].label;
	char metric[BOOKS_METRIC_SIZE];
	bool begun = false;
	int err = 0;

	books_metric_name(row, metric);
	for (int i = 0; i < b->n_items && !err; i++) {
		const struct books_item *item = &b->items[i];

		if (item->scope != row->scope)
			continue;
		if (!begun)
			err = buf_printf(ret, "# HELP %s %s\n# TYPE %s %s\n", metric, row->help,
					 metric, row->kind == BOOKS_COUNTER ? "counter" : "gauge");
		begun = true;
		if (!err && label)
			err = buf_printf(ret, "%s{%s=\"%s\"} ", metric, label, item->name);
		else if (!err)
			err = buf_printf(ret, "%s ", metric);
		if (!err)
			err = put_value(ret, row, books_value(item, row));
	}
	return err;
}

int books_put_metrics(const struct books *b, struct buf *ret)
{
	int err = buf_printf(ret,
			     "# HELP sekoia_ebpf_info Which version runs\n"
			     "# TYPE sekoia_ebpf_info gauge\n"
			     "sekoia_ebpf_info{version=\"%s\"} 1\n"
			     "# HELP sekoia_ebpf_output_up Whether an output delivers, or has "
			     "nothing to\n# TYPE sekoia_ebpf_output_up gauge\n",
			     b->version);

	for (int i = 0; i < b->n_items && !err; i++)
		if (b->items[i].scope == BOOKS_OUTPUT)
			err = buf_printf(ret, "sekoia_ebpf_output_up{output=\"%s\"} %d\n",
					 b->items[i].name,
					 strcmp(b->items[i].state, "backing off") != 0);
	for (const struct books_row *row = books_rows; row->key && !err; row++)
		err = put_row(b, row, ret);
	return err;
}

static void put_item(const struct books_item *item, bool brief, struct json_writer *w)
{
	for (const struct books_row *row = books_rows; row->key; row++) {
		char key[48];

		if (row->scope != item->scope || (brief && !row->always && !books_value(item, row)))
			continue;
		/* The unit is part of the name. */
		snprintf(key, sizeof(key), "%s%s", row->key, row->unit == BOOKS_NS ? "_ns" : "");
		json_u64(w, key, books_value(item, row));
	}
	if (item->scope == BOOKS_OUTPUT) {
		json_str(w, "state", item->state);
		if (item->peer[0])
			json_str(w, "peer", item->peer);
		if (item->error[0])
			json_str(w, "last_error", item->error);
	}
}

void books_put_json(const struct books *b, bool brief, struct json_writer *w)
{
	json_str(w, "version", b->version);
	json_str(w, "hostname", b->hostname);
	json_time_us(w, "time", b->real_us);
	json_array(w, "wrong");
	for (int i = 0; i < b->n_wrongs; i++)
		json_str(w, NULL, b->wrongs[i]);
	json_array_end(w);
	for (int scope = 0; scope < BOOKS_SCOPES; scope++) {
		bool many = books_scopes[scope].label, begun = false;

		if (brief && scope == BOOKS_PROGRAM)
			continue;
		for (int i = 0; i < b->n_items; i++) {
			if (b->items[i].scope != (enum books_scope)scope)
				continue;
			if (!begun)
				json_object(w, books_scopes[scope].name);
			begun = true;
			if (many)
				json_object(w, b->items[i].name);
			put_item(&b->items[i], brief, w);
			if (many)
				json_object_end(w);
		}
		if (begun)
			json_object_end(w);
	}
}
