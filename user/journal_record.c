/* SPDX-License-Identifier: Apache-2.0 */
#include "user/journal_record.h"

#include <stdio.h>

static const char *const providers[] = {
	[JOURNAL_NATIVE] = "journal",
	[JOURNAL_SYSLOG] = "syslog",
	[JOURNAL_STDOUT] = "stdout",
	[JOURNAL_AUDIT] = "audit",
};

/* Names may come from anyone; a record has room for the text, too. */
#define NAME_MAX_BYTES 255

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

void journal_record_format(struct record *r, const struct journal_line *line,
			   const struct journal_details *d, struct msg *ret)
{
	enum config_journal_schema schema = r->journal_schema;
	const struct process_info *p = d->process;
	struct json_writer w;
	struct slice unit;

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
	if (line->trusted_pid)
		record_put_user(&w, line->uid, d->user_name);
	if (p)
		record_put_container(&w, &p->container);
	unit = journal_record_unit(line, p);
	if (unit.len) {
		json_object(&w, "service");
		json_slice(&w, "name", unit);
		json_object_end(&w);
	}
	record_open_event(r, &w, providers[line->transport]);
	if (line->code.len)
		json_slice(&w, "code", at_most(line->code, NAME_MAX_BYTES));
	record_finish_text(r, schema, &w, line->text, line->cut_bytes, ret);
}
