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
	if (p && p->container.user_unit[0])
		return slice_of(p->container.user_unit);
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

/* Of structured data: RFC 5424, 6.3.3 has 32 bytes for a name. */
#define PARAMS_MAX	 64
#define PARAM_NAME_MAX	 64
#define PARAMS_MAX_BYTES 16384 /* of JSON */

struct param {
	struct slice id, name, value;
	bool is_told;
};

static bool is_same(struct slice a, struct slice b)
{
	return a.len == b.len && (!a.len || !memcmp(a.p, b.p, a.len));
}

/* A name as a key, which is not escaped: what would need that becomes an underscore. */
static const char *key_of(struct slice name, char ret[static PARAM_NAME_MAX + 1])
{
	size_t n = name.len < PARAM_NAME_MAX ? name.len : PARAM_NAME_MAX;

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)name.p[i];

		ret[i] = c > ' ' && c < 0x7f && c != '"' && c != '\\' ? (char)c : '_';
	}
	ret[n] = '\0';
	return ret;
}

static void put_value(struct json_writer *w, const char *key, struct slice value)
{
	char text[1024];
	size_t n = 0;

	if (value.len > sizeof(text) || !value.len || !memchr(value.p, '\\', value.len)) {
		json_slice(w, key, value);
		return;
	}
	for (size_t i = 0; i < value.len; i++) {
		if (value.p[i] == '\\' && i + 1 < value.len && strchr("\"\\]", value.p[i + 1]))
			i++;
		text[n++] = value.p[i];
	}
	json_slice(w, key, (struct slice){ text, n });
}

/* All values of p[i]'s name in its element: a name may be there more than once. */
static void put_param(struct json_writer *w, struct param *p, int i, int n)
{
	char key[PARAM_NAME_MAX + 1];
	bool many = false;

	p[i].is_told = true;
	if (!p[i].name.len)
		return;
	for (int k = i + 1; k < n; k++)
		many |= is_same(p[k].id, p[i].id) && is_same(p[k].name, p[i].name);
	if (!many) {
		put_value(w, key_of(p[i].name, key), p[i].value);
		return;
	}
	json_array(w, key_of(p[i].name, key));
	for (int k = i; k < n; k++) {
		if (!is_same(p[k].id, p[i].id) || !is_same(p[k].name, p[i].name))
			continue;
		put_value(w, NULL, p[k].value);
		p[k].is_told = true;
	}
	json_array_end(w);
}

/* log.syslog.structured_data: an object for each element. Returns how many had no room. */
static uint64_t put_structured_data(struct json_writer *w, struct slice data)
{
	struct param p[PARAMS_MAX];
	char key[PARAM_NAME_MAX + 1], *end = w->end;
	struct slice id = SLICE(""), name, value;
	struct json_writer before = *w;
	uint64_t left_out = 0;
	int n = 0;

	while (data.len && journal_next_param(&data, &id, &name, &value)) {
		if (n < PARAMS_MAX)
			p[n++] = (struct param){ id, name, value, false };
		else
			left_out++;
	}
	left_out += data.len > 0; /* what follows makes no sense */
	if (!n)
		return left_out;
	json_object(w, "structured_data");
	if (w->end - w->at > PARAMS_MAX_BYTES)
		w->end = w->at + PARAMS_MAX_BYTES;
	for (int i = 0; i < n; i++) {
		if (p[i].is_told)
			continue;
		json_object(w, key_of(p[i].id, key));
		for (int k = i; k < n; k++)
			if (!p[k].is_told && is_same(p[k].id, p[i].id))
				put_param(w, p, k, n);
		json_object_end(w);
	}
	w->end = end;
	json_object_end(w);
	if (!w->full)
		return left_out;
	*w = before; /* all or nothing */
	return left_out + (uint64_t)n;
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
static void put_fields(struct json_writer *w, const struct journal_line *line, uint64_t left_out)
{
	struct slice fields = line->fields;
	struct field f[FIELDS_MAX];
	struct slice key, value;
	char *end = w->end;
	int n = 0;

	while (journal_next_field(&fields, &key, &value)) {
		if (n < FIELDS_MAX)
			f[n++] = (struct field){ key, value, false };
		else
			left_out++;
	}
	if (!n && !line->backfill && !left_out)
		return;
	json_object(w, RECORD_JSON_NAME);
	if (n || line->backfill)
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
	if (n || line->backfill)
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
	uint64_t left_out;
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
	record_open_log(&w, "journal", ret);
	left_out = put_structured_data(&w, line->data);
	json_object_end(&w);
	json_object_end(&w);
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
	put_fields(&w, line, left_out);
	record_open_event(r, &w, providers[line->transport]);
	if (line->code.len)
		json_slice(&w, "code", at_most(line->code, NAME_MAX_BYTES));
	record_finish_text(r, schema, &w, line->text, line->cut_bytes, ret);
}
