/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/journal_export.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "user/journal_parse.h"

enum state {
	IN_LINE,   /* KEY=VALUE, or the KEY of a binary value, or the empty line of an end */
	IN_LENGTH, /* eight bytes, little-endian */
	IN_VALUE,
	BEHIND_VALUE, /* its line feed */
	LOST,	      /* to the end of this entry */
};

void journal_export_init(struct journal_export *x)
{
	*x = (struct journal_export){ .state = IN_LINE };
	buf_init(&x->entry, JOURNAL_ENTRY_MAX);
}

void journal_export_done(struct journal_export *x)
{
	buf_done(&x->entry);
}

/* ------------------------------------------------------------------ bytes to entries */

static struct slice field_of(const struct journal_export *x)
{
	return (struct slice){ x->entry.len ? buf_data(&x->entry) + x->field : "",
			       x->entry.len - x->field };
}

static void drop_field(struct journal_export *x)
{
	x->entry.len = x->field;
	x->left_out = true;
}

/* Keeps what has room. An entry without room for a field goes without it. */
static int keep(struct journal_export *x, const char *p, size_t n)
{
	size_t have = x->entry.len - x->field;
	size_t room = have < JOURNAL_FIELD_MAX ? JOURNAL_FIELD_MAX - have : 0;
	size_t cut = n > room ? n - room : 0;
	int err = 0;

	if (x->left_out)
		cut = n;
	else
		err = buf_append(&x->entry, p, n - cut);
	if (err == -ENOBUFS) {
		cut = x->entry.len - x->field + n;
		drop_field(x);
		err = 0;
	}
	x->cut_bytes += cut;
	if (x->is_message)
		x->message_cut += cut;
	return err;
}

static int end_field(struct journal_export *x)
{
	int err = x->left_out ? 0 : buf_append(&x->entry, "\n", 1);

	if (err == -ENOBUFS) {
		x->cut_bytes += x->entry.len - x->field;
		drop_field(x);
		err = 0;
	}
	x->field = x->entry.len;
	x->line = 0;
	x->left_out = x->is_message = false;
	x->state = IN_LINE;
	return err;
}

static bool is_message(struct slice field)
{
	return field.p && field.len >= 8 && !memcmp(field.p, "MESSAGE", 7) &&
	       (field.p[7] == '=' || field.p[7] == '\n');
}

/* Without its line feed, or the part of it that there is room for. */
static int end_line(struct journal_export *x)
{
	struct slice line = field_of(x);
	const char *equals = line.p ? memchr(line.p, '=', line.len) : NULL;
	struct slice key = { line.p, equals ? (size_t)(equals - line.p) : line.len };
	int err;

	if (!x->line) {
		x->whole = x->entry.len > 0;
		return 0;
	}
	if (x->left_out)
		return end_field(x);
	if (!journal_is_key(key)) {
		x->malformed++;
		drop_field(x);
		return end_field(x);
	}
	if (equals)
		return end_field(x);
	err = buf_append(&x->entry, "\n\0\0\0\0\0\0\0\0", 9);
	if (err == -ENOBUFS) {
		drop_field(x);
		err = 0;
	}
	x->is_message = !x->left_out && is_message(field_of(x));
	x->n_length = 0;
	x->state = IN_LENGTH;
	return err;
}

static int take_line(struct journal_export *x, struct slice *bytes)
{
	const char *nl = memchr(bytes->p, '\n', bytes->len);
	size_t n = nl ? (size_t)(nl - bytes->p) : bytes->len;
	int err;

	if (!x->line)
		x->field = x->entry.len;
	err = keep(x, bytes->p, n);
	x->line += n;
	if (!x->left_out && !x->is_message && x->line)
		x->is_message = is_message(field_of(x));
	journal_skip(bytes, nl ? n + 1 : n);
	return err || !nl ? err : end_line(x);
}

static void take_length(struct journal_export *x, struct slice *bytes)
{
	while (bytes->len && x->n_length < 8) {
		x->length[x->n_length++] = (uint8_t)bytes->p[0];
		journal_skip(bytes, 1);
	}
	if (x->n_length < 8)
		return;
	x->remaining = 0;
	for (int i = 7; i >= 0; i--)
		x->remaining = x->remaining << 8 | x->length[i];
	x->state = x->remaining ? IN_VALUE : BEHIND_VALUE;
}

static int take_value(struct journal_export *x, struct slice *bytes)
{
	size_t n = bytes->len < x->remaining ? bytes->len : (size_t)x->remaining;
	int err = keep(x, bytes->p, n);

	journal_skip(bytes, n);
	x->remaining -= n;
	if (!x->remaining)
		x->state = BEHIND_VALUE;
	return err;
}

/* The length of what was kept of the value, in its place. */
static void set_length(struct journal_export *x)
{
	struct slice f = field_of(x);
	char *nl = x->left_out || !f.p ? NULL : memchr((char *)f.p, '\n', f.len);
	uint64_t len = nl ? (uint64_t)(f.p + f.len - nl - 9) : 0;

	for (int i = 0; nl && i < 8; i++)
		nl[1 + i] = (char)(len >> 8 * i);
}

static int take_end(struct journal_export *x, struct slice *bytes)
{
	bool is_end = bytes->p[0] == '\n';

	if (is_end) {
		journal_skip(bytes, 1);
		set_length(x);
		return end_field(x);
	}
	x->malformed++;
	x->line = 1;
	x->state = LOST;
	return 0;
}

/* Nothing is known of where we are, but that an empty line ends an entry. */
static void look_for_end(struct journal_export *x, struct slice *bytes)
{
	const char *nl = memchr(bytes->p, '\n', bytes->len);
	size_t n = nl ? (size_t)(nl - bytes->p) : bytes->len;

	x->line += n;
	journal_skip(bytes, nl ? n + 1 : n);
	if (!nl)
		return;
	if (!x->line) {
		buf_clear(&x->entry);
		x->field = 0;
		x->left_out = x->is_message = false;
		x->state = IN_LINE;
	}
	x->line = 0;
}

int journal_export_feed(struct journal_export *x, struct slice *bytes)
{
	int err = 0;

	if (x->whole) {
		buf_clear(&x->entry);
		x->field = 0;
		x->message_cut = 0;
		x->whole = false;
	}
	while (bytes->len && !err && !x->whole) {
		switch ((enum state)x->state) {
		case IN_LINE:
			err = take_line(x, bytes);
			break;
		case IN_LENGTH:
			take_length(x, bytes);
			break;
		case IN_VALUE:
			err = take_value(x, bytes);
			break;
		case BEHIND_VALUE:
			err = take_end(x, bytes);
			break;
		case LOST:
			look_for_end(x, bytes);
			break;
		}
	}
	if (err)
		return err;
	x->entries += x->whole;
	return x->whole;
}

/* ------------------------------------------------------------------ what an entry says */

struct fields {
	struct slice message, priority, facility, identifier, syslog_pid, message_id, raw;
	struct slice transport, cursor, boot, real, mono, pid, uid, gid, comm, exe, cmdline, cgroup;
	struct slice unit, audit_type, audit_id, source_real, stream;
};

static const struct {
	const char *key;
	size_t offset;
} wanted[] = {
	{ "MESSAGE", offsetof(struct fields, message) },
	{ "PRIORITY", offsetof(struct fields, priority) },
	{ "SYSLOG_FACILITY", offsetof(struct fields, facility) },
	{ "SYSLOG_IDENTIFIER", offsetof(struct fields, identifier) },
	{ "SYSLOG_PID", offsetof(struct fields, syslog_pid) },
	{ "SYSLOG_RAW", offsetof(struct fields, raw) },
	{ "MESSAGE_ID", offsetof(struct fields, message_id) },
	{ "_TRANSPORT", offsetof(struct fields, transport) },
	{ "__CURSOR", offsetof(struct fields, cursor) },
	{ "_BOOT_ID", offsetof(struct fields, boot) },
	{ "__REALTIME_TIMESTAMP", offsetof(struct fields, real) },
	{ "__MONOTONIC_TIMESTAMP", offsetof(struct fields, mono) },
	{ "_PID", offsetof(struct fields, pid) },
	{ "_UID", offsetof(struct fields, uid) },
	{ "_GID", offsetof(struct fields, gid) },
	{ "_COMM", offsetof(struct fields, comm) },
	{ "_EXE", offsetof(struct fields, exe) },
	{ "_CMDLINE", offsetof(struct fields, cmdline) },
	{ "_SYSTEMD_CGROUP", offsetof(struct fields, cgroup) },
	{ "_SYSTEMD_UNIT", offsetof(struct fields, unit) },
	{ "_AUDIT_TYPE", offsetof(struct fields, audit_type) },
	{ "_AUDIT_ID", offsetof(struct fields, audit_id) },
	{ "_SOURCE_REALTIME_TIMESTAMP", offsetof(struct fields, source_real) },
	{ "_STREAM_ID", offsetof(struct fields, stream) },
};

static void take_field(struct fields *f, struct slice key, struct slice value)
{
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		struct slice *at = (struct slice *)((char *)f + wanted[i].offset);

		/* As with the tap: the first value of a key counts. */
		if (slice_is(key, wanted[i].key) && !at->p) {
			*at = value;
			return;
		}
	}
}

/* Twenty digits: times in microseconds have more than journal_parse_number() takes. */
static bool parse_u64(struct slice s, uint64_t *ret)
{
	uint64_t v = 0;

	if (!s.len || s.len > 19)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (!journal_is_digit(s.p[i]))
			return false;
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	*ret = v;
	return true;
}

static uint32_t parse_u32(struct slice s)
{
	uint64_t v;

	return journal_parse_number(s, UINT32_MAX, &v) ? (uint32_t)v : 0;
}

static struct slice base_name(struct slice path)
{
	const char *slash = path.len ? memrchr(path.p, '/', path.len) : NULL;
	size_t skip = slash ? (size_t)(slash + 1 - path.p) : 0;

	return slash ? (struct slice){ path.p + skip, path.len - skip } : path;
}

/* As journald saw its sender when it read the message. */
static void parse_process(const struct fields *f, struct process_info *ret)
{
	*ret = (struct process_info){ .pid = parse_u32(f->pid), .gone = true };
	ret->executable = f->exe;
	ret->command_line = f->cmdline;
	ret->name = base_name(f->exe);
	if (!ret->name.len)
		ret->name = f->comm;
	if (f->cgroup.len)
		container_parse_path(f->cgroup, &ret->container);
}

/* journald says "USER_LOGIN pid=1 ...", audit.log "type=USER_LOGIN msg=audit(1.002:3): pid=1 ...".
 */
static void parse_audit(const struct fields *f, struct journal_entry *ret)
{
	struct slice text = f->message.p ? f->message : SLICE("");
	const char *blank = text.len ? memchr(text.p, ' ', text.len) : NULL;
	struct slice type = { text.p, blank ? (size_t)(blank - text.p) : text.len };
	uint64_t us = 0;
	int n;

	parse_u64(f->source_real, &us);
	n = snprintf(ret->audit, sizeof(ret->audit), "type=%.*s msg=audit(%" PRIu64 ".%03u:%.*s): ",
		     type.len < 64 ? (int)type.len : 64, type.p ? type.p : "", us / 1000000,
		     (unsigned)(us / 1000 % 1000), f->audit_id.len < 20 ? (int)f->audit_id.len : 20,
		     f->audit_id.p ? f->audit_id.p : "");
	journal_skip(&text, blank ? type.len + 1 : type.len);
	if (text.len > sizeof(ret->audit) - (size_t)n) {
		ret->line.cut_bytes += text.len - (sizeof(ret->audit) - (size_t)n);
		text.len = sizeof(ret->audit) - (size_t)n;
	}
	if (text.len)
		memcpy(ret->audit + n, text.p, text.len);
	ret->line.text = (struct slice){ ret->audit, (size_t)n + text.len };
	n = snprintf(ret->code, sizeof(ret->code), "%u", parse_u32(f->audit_type));
	ret->line.code = (struct slice){ ret->code, (size_t)n };
	ret->line.pri = JOURNAL_PRI_AUDIT;
	ret->line.identifier = SLICE("audit");
	ret->line.pid = journal_audit_pid(ret->line.text);
	ret->line.trusted_pid = ret->process.pid = 0; /* it is from the kernel */
}

/* An entry need not have a message; its sender's fields are the message then. */
static void text_of_fields(struct journal_entry *ret)
{
	struct slice fields = ret->line.fields, key, value;
	size_t n = 0;

	while (journal_next_field(&fields, &key, &value)) {
		if (key.len + value.len + 2 > sizeof(ret->text) - n) {
			ret->line.cut_bytes += key.len + value.len + 2;
			continue;
		}
		memcpy(ret->text + n, key.p, key.len);
		n += key.len;
		ret->text[n++] = '=';
		memcpy(ret->text + n, value.p, value.len);
		n += value.len;
		ret->text[n++] = '\n';
	}
	ret->line.text = (struct slice){ ret->text, n };
	ret->line.fields.len = 0;
}

static void parse_line(const struct journal_export *x, const struct fields *f,
		       enum journal_transport transport, struct journal_entry *ret)
{
	struct journal_line *line = &ret->line;
	uint64_t v;

	*line = (struct journal_line){
		.transport = transport,
		.pri = JOURNAL_PRI_DATAGRAM,
		.identifier = f->identifier,
		.text = f->message,
		.code = SLICE(""),
		.unit = f->unit,
		.fields = SLICE(""),
		.trusted_pid = parse_u32(f->pid),
		.uid = parse_u32(f->uid),
		.gid = parse_u32(f->gid),
		.time_us = ret->real_us,
		.cut_bytes = x->message_cut,
	};
	line->pid = parse_u32(f->syslog_pid);
	if (!line->pid)
		line->pid = line->trusted_pid;
	if (f->facility.len && journal_parse_number(f->facility, 23, &v))
		line->pri = (uint8_t)(v * 8 + (line->pri & 7));
	if (f->priority.len && journal_parse_number(f->priority, 7, &v))
		line->pri = (uint8_t)((line->pri & ~7u) | v);
	line->pri = journal_checked_pri(line->pri);
	switch (transport) {
	case JOURNAL_NATIVE:
		line->code = f->message_id;
		line->fields = buf_slice(&x->entry);
		if (!f->message.p)
			text_of_fields(ret);
		while (line->text.len && line->text.p[line->text.len - 1] == '\n')
			line->text.len--;
		break;
	case JOURNAL_SYSLOG:
		/* journald keeps the datagram where its own reading loses something. */
		if (f->raw.len) {
			line->pid = line->trusted_pid;
			line->identifier.len = 0;
			journal_parse_syslog(f->raw, line);
		} else if (!f->identifier.len) {
			journal_parse_rfc5424(f->message, line);
		}
		break;
	case JOURNAL_AUDIT:
		parse_audit(f, ret);
		break;
	case JOURNAL_STDOUT:
		break;
	}
}

int journal_entry_parse(const struct journal_export *x, struct journal_entry *ret)
{
	static const char *const transports[] = {
		[JOURNAL_NATIVE] = "journal",
		[JOURNAL_SYSLOG] = "syslog",
		[JOURNAL_STDOUT] = "stdout",
		[JOURNAL_AUDIT] = "audit",
	};
	struct slice all = buf_slice(&x->entry), key, value;
	const char *at = all.p, *end = at + all.len;
	struct fields f = { .message.p = NULL };
	uint64_t mono_us;

	ret->is_line = ret->is_stream = false;
	ret->process.pid = 0;
	ret->note = ret->note_value = SLICE("");
	ret->cursor = SLICE("");
	while (at < end) {
		if (journal_parse_field(&at, end, &key, &value) <= 0)
			return -EBADMSG;
		if (key.len > sizeof(JOURNAL_NOTE) - 1 &&
		    !memcmp(key.p, JOURNAL_NOTE, sizeof(JOURNAL_NOTE) - 1)) {
			ret->note = key;
			journal_skip(&ret->note, sizeof(JOURNAL_NOTE) - 1);
			ret->note_value = value;
			return 0;
		}
		take_field(&f, key, value);
	}
	if (f.boot.len != JOURNAL_BOOT_SIZE - 1 || !parse_u64(f.real, &ret->real_us) ||
	    !parse_u64(f.mono, &mono_us))
		return -EBADMSG;
	memcpy(ret->boot, f.boot.p, f.boot.len);
	ret->boot[f.boot.len] = '\0';
	ret->mono_ns = mono_us * 1000;
	ret->cursor = f.cursor;
	ret->is_stream = f.stream.len > 0;
	for (size_t i = 0; i < sizeof(transports) / sizeof(*transports); i++) {
		if (!slice_is(f.transport, transports[i]))
			continue;
		parse_process(&f, &ret->process);
		parse_line(x, &f, (enum journal_transport)i, ret);
		ret->is_line = ret->line.text.len || ret->line.cut_bytes;
		return 0;
	}
	return 0; /* journald's own words, and the kernel's */
}
