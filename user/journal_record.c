/* SPDX-License-Identifier: Apache-2.0 */
#include "user/journal_record.h"

#include <stdio.h>

#include "user/journal_parse.h"

static const char *const providers[] = {
	[JOURNAL_NATIVE] = "journal",
	[JOURNAL_SYSLOG] = "syslog",
	[JOURNAL_STDOUT] = "stdout",
	[JOURNAL_AUDIT] = "audit",
};

/* Names may come from anyone; a record has room for the text, too. */
#define NAME_MAX_BYTES 255

/* What a sender adds of its own must leave room for the text. */
#define FIELDS_MAX	 64
#define FIELDS_MAX_BYTES 16384 /* of JSON */

static struct slice at_most(struct slice s, size_t max)
{
	return (struct slice){ s.p, s.len < max ? s.len : max };
}

struct slice journal_record_unit(const struct journal_line *line, const struct process_info *p)
{
	if (p && p->container.unit[0])
		return slice_of(p->container.unit);
	return at_most(line->unit, NAME_MAX_BYTES);
}

struct slice journal_record_app(const struct journal_line *line, const struct process_info *p)
{
	if (line->identifier.len)
		return at_most(line->identifier, NAME_MAX_BYTES);
	if (p && p->name.len)
		return at_most(p->name, NAME_MAX_BYTES);
	return slice_of(providers[line->transport]);
}

struct field {
	struct slice key, value;
	bool is_told;
};

/* All values of f[i]'s key: journald, too, lets a field have several. */
static void put_field(struct json_writer *w, struct field *f, int i, int n)
{
	char key[JOURNAL_KEY_MAX + 1];
	bool many = false;

	memcpy(key, f[i].key.p, f[i].key.len);
	key[f[i].key.len] = '\0';
	for (int k = i + 1; k < n; k++) {
		f[k].is_told |= slice_is(f[k].key, key);
		many |= slice_is(f[k].key, key);
	}
	if (!many) {
		json_slice(w, key, f[i].value);
		return;
	}
	json_array(w, key);
	for (int k = i; k < n; k++)
		if (slice_is(f[k].key, key))
			json_slice(w, NULL, f[k].value);
	json_array_end(w);
}

/* As they are named; those that have no room are counted. */
static void put_fields(struct json_writer *w, const struct journal_line *line)
{
	struct slice fields = line->fields;
	struct field f[FIELDS_MAX];
	struct slice key, value;
	uint64_t left_out = 0;
	char *end = w->end;
	int n = 0;

	while (journal_next_field(&fields, &key, &value)) {
		if (n < FIELDS_MAX)
			f[n++] = (struct field){ key, value, false };
		else
			left_out++;
	}
	if (!n && !line->backfill)
		return;
	json_object(w, RECORD_JSON_NAME);
	json_object(w, "journal");
	if (line->backfill) {
		json_key(w, "backfill");
		json_raw(w, "true", 4);
		json_slice(w, "cursor", at_most(line->cursor, NAME_MAX_BYTES));
	}
	if (w->end - w->at > FIELDS_MAX_BYTES)
		w->end = w->at + FIELDS_MAX_BYTES;
	for (int i = 0; i < n; i++) {
		struct json_writer before = *w;

		if (f[i].is_told)
			continue;
		put_field(w, f, i, n);
		if (!w->full)
			continue;
		*w = before;
		for (int k = i; k < n; k++)
			left_out += f[k].key.len == f[i].key.len &&
				    !memcmp(f[k].key.p, f[i].key.p, f[i].key.len);
	}
	w->end = end;
	json_object_end(w);
	if (left_out)
		json_u64(w, "journal_left_out", left_out);
	json_object_end(w);
}

void journal_record_format(struct record *r, const struct journal_line *line,
			   const struct journal_details *d, struct msg *ret)
{
	enum config_journal_schema schema = r->journal_schema;
	const struct process_info *p = d->process;
	struct json_writer w;
	struct slice unit;
	char gid[16];

	*ret = (struct msg){
		.seq = r->seq,
		.time_us = line->time_us,
		.class = MSG_JOURNAL,
		.pri = line->pri,
		.host = r->hostname,
		.app = journal_record_app(line, p),
		.route = d->route,
	};
	ret->procid = (struct slice){ r->number, 0 };
	if (line->pid)
		ret->procid.len = (size_t)snprintf(r->number, sizeof(r->number), "%u", line->pid);

	if (d->route.len && schema == JOURNAL_SCHEMA_AUTO)
		schema = JOURNAL_SCHEMA_RAW;
	if (schema == JOURNAL_SCHEMA_RAW) {
		record_finish_text(r, schema, NULL, line->text, line->cut_bytes, ret);
		return;
	}

	record_begin(r, &w, line->time_us);
	record_put_log(&w, "journal", ret);
	if (p && p->pid) {
		record_put_process(r, &w, p);
	} else if (line->trusted_pid) {
		record_put_process(r, &w, &(struct process_info){ .pid = line->trusted_pid });
	}
	if (line->trusted_pid) {
		record_put_user(&w, line->uid, d->user_name);
		json_object(&w, "group");
		json_plain(&w, "id", gid, (size_t)snprintf(gid, sizeof(gid), "%u", line->gid));
		json_object_end(&w);
	}
	if (p)
		record_put_container(r, &w, &p->container);
	unit = journal_record_unit(line, p);
	if (unit.len) {
		json_object(&w, "service");
		json_slice(&w, "name", unit);
		json_object_end(&w);
	}
	put_fields(&w, line);
	record_open_event(r, &w, providers[line->transport]);
	if (line->code.len)
		json_slice(&w, "code", at_most(line->code, NAME_MAX_BYTES));
	record_finish_text(r, schema, &w, line->text, line->cut_bytes, ret);
}
