/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/journal.h"

#include <stdio.h>
#include <string.h>

#include "user/audit_type.h"
#include "user/journal_parse.h"

#define DEFAULT_STREAMS 1024
#define DEFAULT_BYTES	(4u << 20)
#define NONE		UINT32_MAX
#define NAME_SIZE	JOURNAL_NAME_SIZE
#define HEADER_LINES	7
#define AUDIT_TEXT_MAX	16384 /* the kernel's own limit is 8970 */
#define NLMSG_HEADER	16
#define AUDIT_EOE	1320 /* the end of several records: no text */

struct stream {
	uint64_t socket, socket_ino; /* the key */
	uint64_t last_ns;
	uint64_t cgroup_id;
	uint32_t pid, uid, gid; /* who wrote what is in partial */
	uint8_t pri;
	bool has_header, level_prefix;
	bool is_syslog; /* /dev/log as a stream: each line is a message of its own */
	char identifier[NAME_SIZE], unit[NAME_SIZE];
	char *partial;
	uint32_t partial_len, partial_cap;
	uint32_t chain, newer, older;
};

struct journal {
	struct stream *streams;
	uint32_t max_streams;
	size_t max_bytes;
	journal_find_header_fn find_header;
	void *find_header_arg;
	uint32_t *buckets;
	uint32_t bucket_mask;
	uint32_t free, newest, oldest;
	struct journal_stats stats;
	size_t taken;	/* bytes of the sample at hand that are told, or in a stream's line */
	bool in_sample; /* it was counted */
	char code[12];
	char audit[AUDIT_TEXT_MAX];
};

/* One call of journal_decode(): what its helpers need. */
struct decode {
	struct journal *j;
	const struct journal_sample *s;
	int64_t boot_to_real_ns;
	journal_line_fn fn;
	void *arg;
};

int journal_new(const struct journal_opts *opts, struct journal **ret)
{
	_cleanup_(journal_freep) struct journal *j = NULL;
	uint32_t n_buckets = 1;

	j = calloc(1, sizeof(*j));
	if (!j)
		return -ENOMEM;
	j->max_streams = opts && opts->max_streams ? opts->max_streams : DEFAULT_STREAMS;
	j->max_bytes = opts && opts->max_bytes ? opts->max_bytes : DEFAULT_BYTES;
	if (opts) {
		j->find_header = opts->find_header;
		j->find_header_arg = opts->find_header_arg;
	}
	if (j->max_streams > 1u << 20)
		return -ENOMEM;
	while (n_buckets < j->max_streams * 2)
		n_buckets *= 2;
	j->bucket_mask = n_buckets - 1;
	j->streams = calloc(j->max_streams, sizeof(*j->streams));
	j->buckets = malloc(n_buckets * sizeof(*j->buckets));
	if (!j->streams || !j->buckets)
		return -ENOMEM;
	for (uint32_t i = 0; i < n_buckets; i++)
		j->buckets[i] = NONE;
	for (uint32_t i = 0; i < j->max_streams; i++)
		j->streams[i].chain = i + 1 < j->max_streams ? i + 1 : NONE;
	j->newest = j->oldest = NONE;
	*ret = TAKE_PTR(j);
	return 0;
}

void journal_free(struct journal *j)
{
	if (!j)
		return;
	for (uint32_t i = 0; j->streams && i < j->max_streams; i++)
		free(j->streams[i].partial);
	free(j->streams);
	free(j->buckets);
	free(j);
}

/* ------------------------------------------------------------------ telling */

static struct journal_line line_of(const struct decode *d, enum journal_transport transport)
{
	const struct journal_sample *s = d->s;

	return (struct journal_line){
		.transport = transport,
		.pri = JOURNAL_PRI_DATAGRAM,
		.identifier = SLICE(""),
		.text = SLICE(""),
		.code = SLICE(""),
		.unit = SLICE(""),
		.fields = SLICE(""),
		.pid = s->pid,
		.trusted_pid = s->pid,
		.uid = s->uid,
		.gid = s->gid,
		.cgroup_id = s->sender_cgroup,
		.boot_ns = s->boot_ns,
	};
}

/*
 * False when it was not taken. Then everybody returns false, and leaves the
 * streams and j->taken so that this line is the first to be told next time.
 */
static bool tell(const struct decode *d, struct journal_line *line)
{
	int64_t real_ns = (int64_t)line->boot_ns + d->boot_to_real_ns;

	if (!line->text.len && !line->cut_bytes) {
		d->j->stats.empty++;
		return true;
	}
	line->time_us = real_ns < 0 ? 0 : (uint64_t)real_ns / 1000;
	if (!d->fn(d->arg, line))
		return false;
	d->j->stats.lines++;
	return true;
}

/* A sample that is given again was counted. */
static void count_once(const struct decode *d, uint64_t *samples)
{
	if (!d->j->in_sample)
		(*samples)++;
}

static uint64_t missing(const struct journal_sample *s)
{
	return s->full_len > s->data.len ? s->full_len - s->data.len : 0;
}

/* ------------------------------------------------------------------ syslog */

/* One message; line has the sender, and what is not in the text. */
static bool tell_syslog(const struct decode *d, struct journal_line *line, struct slice s)
{
	if (!journal_parse_syslog(s, line))
		d->j->stats.malformed++;
	return tell(d, line);
}

static bool decode_syslog(const struct decode *d)
{
	struct journal_line line = line_of(d, JOURNAL_SYSLOG);

	count_once(d, &d->j->stats.syslog);
	line.cut_bytes = missing(d->s);
	return tell_syslog(d, &line, d->s->data);
}

/* ------------------------------------------------------------------ native */

struct native_entry {
	struct slice message, priority, facility, identifier, pid, message_id;
	const char *start, *end;
	int fields;
	bool has_message;
};

/* The first value of a key counts. Keys with a leading underscore are not for senders. */
static void take_field(struct native_entry *e, struct slice key, struct slice value)
{
	const struct {
		const char *key;
		struct slice *value;
	} wanted[] = {
		{ "PRIORITY", &e->priority },
		{ "SYSLOG_FACILITY", &e->facility },
		{ "SYSLOG_IDENTIFIER", &e->identifier },
		{ "SYSLOG_PID", &e->pid },
		{ "MESSAGE_ID", &e->message_id },
	};

	e->fields++;
	if (slice_is(key, "MESSAGE")) {
		if (!e->has_message)
			e->message = value;
		e->has_message = true;
		return;
	}
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
		if (slice_is(key, wanted[i].key) && !wanted[i].value->p)
			*wanted[i].value = value;
}

static bool tell_entry(const struct decode *d, const struct native_entry *e, uint64_t cut_bytes)
{
	struct journal_line line = line_of(d, JOURNAL_NATIVE);
	uint64_t v;

	if (!e->fields && !cut_bytes)
		return true;
	if (e->identifier.len)
		line.identifier = e->identifier;
	if (e->message_id.len)
		line.code = e->message_id;
	if (e->pid.len && journal_parse_number(e->pid, UINT32_MAX, &v) && v)
		line.pid = (uint32_t)v;
	if (e->facility.len && journal_parse_number(e->facility, 23, &v))
		line.pri = (uint8_t)(v * 8 + (line.pri & 7));
	if (e->priority.len && journal_parse_number(e->priority, 7, &v))
		line.pri = (uint8_t)((line.pri & ~7u) | v);
	line.pri = journal_checked_pri(line.pri);
	/* An entry need not have a message; its fields are the message then. */
	line.fields = (struct slice){ e->start, (size_t)(e->end - e->start) };
	if (e->has_message) {
		line.text = e->message;
	} else {
		line.text = line.fields;
		line.fields.len = 0;
	}
	while (line.text.len && line.text.p[line.text.len - 1] == '\n')
		line.text.len--;
	line.cut_bytes = cut_bytes;
	if (tell(d, &line))
		return true;
	d->j->taken = (size_t)(e->start - d->s->data.p);
	return false;
}

static bool decode_native(const struct decode *d)
{
	const char *at = d->s->data.p + d->j->taken, *end = d->s->data.p + d->s->data.len;
	struct native_entry e = { .start = at, .end = at };
	struct slice key, value;
	int r = 1;

	count_once(d, &d->j->stats.native);
	while (r > 0 && at < end) {
		const char *nl;

		if (*at == '\n') { /* an empty line ends an entry */
			if (!tell_entry(d, &e, 0))
				return false;
			at++;
			e = (struct native_entry){ .start = at, .end = at };
			continue;
		}
		if (*at == '#' || *at == '.') {
			nl = memchr(at, '\n', (size_t)(end - at));
			at = nl ? nl + 1 : end;
			continue;
		}
		value.p = NULL;
		r = journal_parse_field(&at, end, &key, &value);
		if (value.p)
			take_field(&e, key, value);
		e.end = at;
	}
	if (r < 0) {
		d->j->stats.malformed++;
		e.end = end;
		/* Fields that were understood stand; without a message, the bytes do. */
		e.fields++;
	}
	return tell_entry(d, &e, missing(d->s));
}

/* ------------------------------------------------------------------ audit */

static bool decode_audit(const struct decode *d)
{
	struct journal_line line = line_of(d, JOURNAL_AUDIT);
	struct journal *j = d->j;
	struct slice s = d->s->data;
	uint16_t type;
	size_t len;
	int n;

	count_once(d, &j->stats.audit);
	if (s.len < NLMSG_HEADER) {
		j->stats.malformed++;
		return true;
	}
	memcpy(&type, s.p + 4, sizeof(type)); /* nlmsg_type, in the host's order */
	/* Below are the answers to requests, with two exceptions: USER and LOGIN. */
	if ((type < 1100 && type != 1005 && type != 1006) || type == AUDIT_EOE) {
		j->stats.control++;
		return true;
	}
	journal_skip(&s, NLMSG_HEADER);
	while (s.len && (journal_is_blank(s.p[s.len - 1]) || !s.p[s.len - 1]))
		s.len--;
	/* The form of audit.log, so that tools which read that read this. */
	if (audit_type_name(type))
		n = snprintf(j->audit, sizeof(j->audit), "type=%s msg=", audit_type_name(type));
	else
		n = snprintf(j->audit, sizeof(j->audit), "type=UNKNOWN[%u] msg=", type);
	len = s.len;
	line.cut_bytes = missing(d->s);
	if (len > sizeof(j->audit) - (size_t)n) {
		len = sizeof(j->audit) - (size_t)n;
		line.cut_bytes += s.len - len;
	}
	if (len)
		memcpy(j->audit + n, s.p, len);
	line.text = (struct slice){ j->audit, (size_t)n + len };
	n = snprintf(j->code, sizeof(j->code), "%u", type);
	line.code = (struct slice){ j->code, (size_t)n };
	line.pri = JOURNAL_PRI_AUDIT;
	line.identifier = SLICE("audit");
	line.pid = journal_audit_pid(line.text);
	return tell(d, &line);
}

/* ------------------------------------------------------------------ streams: the table */

static uint32_t bucket_of(const struct journal *j, uint64_t socket)
{
	return (uint32_t)(socket * 0x9e3779b97f4a7c15ull >> 32) & j->bucket_mask;
}

static void lru_remove(struct journal *j, struct stream *st)
{
	if (st->newer != NONE)
		j->streams[st->newer].older = st->older;
	else
		j->newest = st->older;
	if (st->older != NONE)
		j->streams[st->older].newer = st->newer;
	else
		j->oldest = st->newer;
}

static void lru_add(struct journal *j, struct stream *st)
{
	uint32_t i = (uint32_t)(st - j->streams);

	st->newer = NONE;
	st->older = j->newest;
	if (j->newest != NONE)
		j->streams[j->newest].newer = i;
	else
		j->oldest = i;
	j->newest = i;
}

static void drop_partial(struct journal *j, struct stream *st)
{
	j->stats.bytes -= st->partial_cap;
	free(st->partial);
	st->partial = NULL;
	st->partial_len = st->partial_cap = 0;
}

static struct stream *stream_find(struct journal *j, uint64_t socket)
{
	uint32_t i = j->buckets[bucket_of(j, socket)];

	while (i != NONE && j->streams[i].socket != socket)
		i = j->streams[i].chain;
	return i == NONE ? NULL : &j->streams[i];
}

static void stream_remove(struct journal *j, struct stream *st)
{
	uint32_t i = (uint32_t)(st - j->streams);
	uint32_t *at = &j->buckets[bucket_of(j, st->socket)];

	while (*at != i)
		at = &j->streams[*at].chain;
	*at = st->chain;
	lru_remove(j, st);
	drop_partial(j, st);
	st->chain = j->free;
	j->free = i;
	j->stats.streams--;
	j->stats.changes++;
}

/* There is a free one: the caller has seen to it. */
static struct stream *stream_add(struct journal *j, uint64_t socket)
{
	uint32_t *bucket = &j->buckets[bucket_of(j, socket)], i = j->free;
	struct stream *st = &j->streams[i];

	j->free = st->chain;
	*st = (struct stream){
		.socket = socket,
		.pri = JOURNAL_PRI_STREAM,
		.level_prefix = true,
		.chain = *bucket,
	};
	*bucket = i;
	lru_add(j, st);
	j->stats.streams++;
	j->stats.changes++;
	return st;
}

/* ------------------------------------------------------------------ streams: their lines */

static bool tell_stream(const struct decode *d, const struct stream *st, struct slice text,
			uint64_t boot_ns, uint64_t cut_bytes)
{
	struct journal_line line = {
		.transport = JOURNAL_STDOUT,
		.pri = st->pri,
		.identifier = slice_of(st->identifier),
		.code = SLICE(""),
		.unit = slice_of(st->unit),
		.fields = SLICE(""),
		.pid = st->pid,
		.trusted_pid = st->pid,
		.uid = st->uid,
		.gid = st->gid,
		.cgroup_id = st->cgroup_id,
		.boot_ns = boot_ns,
		.cut_bytes = cut_bytes,
	};
	unsigned severity;

	if (st->is_syslog) {
		line.transport = JOURNAL_SYSLOG;
		line.pri = JOURNAL_PRI_DATAGRAM;
		return tell_syslog(d, &line, text);
	}
	if (st->level_prefix && text.len && journal_parse_pri(&text, 7, &severity))
		line.pri = (uint8_t)((st->pri & ~7u) | severity);
	line.text = text;
	return tell(d, &line);
}

static bool tell_partial(const struct decode *d, struct stream *st, uint64_t boot_ns,
			 uint64_t cut_bytes)
{
	if (!st->partial_len && !cut_bytes)
		return true;
	if (!tell_stream(d, st, (struct slice){ st->partial ? st->partial : "", st->partial_len },
			 boot_ns, cut_bytes))
		return false;
	drop_partial(d->j, st);
	d->j->stats.changes++;
	return true;
}

/* Ends the unfinished lines that are the oldest until bytes more fit. */
static void make_room(const struct decode *d, const struct stream *keep, size_t bytes)
{
	struct journal *j = d->j;
	uint32_t i = j->oldest;

	while (i != NONE && j->stats.bytes + bytes > j->max_bytes) {
		struct stream *st = &j->streams[i];

		i = st->newer;
		if (st == keep || !st->partial_len)
			continue;
		if (!tell_partial(d, st, st->last_ns, 0))
			return;
		j->stats.split++;
	}
}

/* False when there is no memory for it, also because a line that is in the way was not taken. */
static bool keep_partial(const struct decode *d, struct stream *st, struct slice text)
{
	uint32_t need = st->partial_len + (uint32_t)text.len, cap = st->partial_cap;
	struct journal *j = d->j;
	char *p;

	if (need > cap || !st->partial) {
		cap = cap ? cap : 256;
		while (cap < need)
			cap *= 2;
		if (cap > JOURNAL_LINE_MAX)
			cap = JOURNAL_LINE_MAX;
		make_room(d, st, cap - st->partial_cap);
		if (j->stats.bytes + cap - st->partial_cap > j->max_bytes)
			return false;
		p = realloc(st->partial, cap);
		if (!p)
			return false;
		j->stats.bytes += cap - st->partial_cap;
		st->partial = p;
		st->partial_cap = cap;
	}
	memcpy(st->partial + st->partial_len, text.p, text.len);
	st->partial_len = need;
	j->stats.changes++;
	return true;
}

/* At most max bytes of text, ending with a whole character if it is UTF-8. */
static size_t border(struct slice text, size_t max)
{
	size_t n = max;

	if (text.len <= max)
		return text.len;
	while (n > 1 && max - n < 3 && ((unsigned char)text.p[n] & 0xc0) == 0x80)
		n--;
	return ((unsigned char)text.p[n] & 0xc0) == 0x80 ? max : n;
}

/*
 * Text of one line; ended tells whether its end is here. When a line is not
 * taken, what is left in *text is neither told nor in the stream's line.
 */
static bool take_text(const struct decode *d, struct stream *st, struct slice *text, bool ended)
{
	uint64_t now_ns = d->s->boot_ns;

	while (st->partial_len + text->len > JOURNAL_LINE_MAX) {
		size_t n = border(*text, JOURNAL_LINE_MAX - st->partial_len);

		if (!st->partial_len) {
			if (!tell_stream(d, st, (struct slice){ text->p, n }, now_ns, 0))
				return false;
			journal_skip(text, n);
		} else {
			bool kept = keep_partial(d, st, (struct slice){ text->p, n });

			if (!tell_partial(d, st, now_ns, 0)) {
				st->partial_len -= kept ? (uint32_t)n : 0;
				return false;
			}
			if (kept)
				journal_skip(text, n);
		}
		d->j->stats.split++;
	}
	if (ended && !st->partial_len)
		return tell_stream(d, st, *text, now_ns, 0);
	if (text->len && !keep_partial(d, st, *text)) {
		/* No memory for it: two lines rather than none. */
		if (!tell_partial(d, st, now_ns, 0) || !tell_stream(d, st, *text, now_ns, 0))
			return false;
		d->j->stats.split++;
		return true;
	}
	journal_skip(text, text->len);
	return !ended || tell_partial(d, st, now_ns, 0);
}

static void copy_name(char dst[NAME_SIZE], struct slice s)
{
	if (s.len > NAME_SIZE - 1)
		s.len = NAME_SIZE - 1;
	if (s.len)
		memcpy(dst, s.p, s.len);
	dst[s.len] = '\0';
}

/*
 * What a stream starts with: identifier, unit, priority, level prefix, and
 * three ways of forwarding, each a line. Senders write it at once. Returns its
 * length, or 0 when this is something else.
 */
static size_t parse_header(struct slice data, bool from_root, struct stream *st)
{
	struct slice lines[HEADER_LINES];
	const char *at = data.p, *end = at + data.len;
	uint64_t pri, flag, prefix;

	for (int i = 0; i < HEADER_LINES; i++) {
		const char *nl = memchr(at, '\n', (size_t)(end - at));

		if (!nl)
			return 0;
		lines[i] = (struct slice){ at, (size_t)(nl - at) };
		at = nl + 1;
	}
	if (!journal_parse_number(lines[2], JOURNAL_PRI_MAX, &pri) ||
	    !journal_parse_number(lines[3], 1, &prefix))
		return 0;
	for (int i = 4; i < HEADER_LINES; i++)
		if (!journal_parse_number(lines[i], 1, &flag))
			return 0;
	if (memchr(lines[0].p, 0, lines[0].len) || memchr(lines[1].p, 0, lines[1].len))
		return 0;
	copy_name(st->identifier, lines[0]);
	/* Root's word is taken for the unit, as journald does; others could claim any. */
	if (from_root)
		copy_name(st->unit, lines[1]);
	st->pri = journal_checked_pri((unsigned)pri);
	st->level_prefix = prefix;
	st->has_header = true;
	return (size_t)(at - data.p);
}

/* It was there before us; the log daemon knows it longer. */
static bool find_header(const struct decode *d, struct stream *st)
{
	struct journal_stream_header header;

	if (!d->j->find_header || !d->j->find_header(d->j->find_header_arg, d->s, &header))
		return false;
	memcpy(st->identifier, header.identifier, NAME_SIZE);
	memcpy(st->unit, header.unit, NAME_SIZE);
	st->pri = journal_checked_pri(header.pri);
	st->level_prefix = header.level_prefix;
	st->has_header = true;
	return true;
}

/* NULL when a line that is in the way was not taken. */
static struct stream *stream_of(const struct decode *d, bool *is_new)
{
	struct stream *st = stream_find(d->j, d->s->socket);

	/* The address was given to another socket: the first one is closed. */
	if (st && st->socket_ino != d->s->socket_ino) {
		if (!tell_partial(d, st, st->last_ns, 0))
			return NULL;
		stream_remove(d->j, st);
		st = NULL;
	}
	*is_new = !st;
	if (st) {
		lru_remove(d->j, st);
		lru_add(d->j, st);
		return st;
	}
	if (d->j->free == NONE) {
		struct stream *oldest = &d->j->streams[d->j->oldest];

		if (!tell_partial(d, oldest, oldest->last_ns, 0))
			return NULL;
		stream_remove(d->j, oldest);
		d->j->stats.evicted++;
	}
	st = stream_add(d->j, d->s->socket);
	st->socket_ino = d->s->socket_ino;
	return st;
}

/* What a line begins with whose beginning is lost. It is a part of it, and saved with it. */
static struct slice loss_note(const struct journal_sample *s, char ret[static 48])
{
	int n = snprintf(ret, 48, "[%llu bytes lost] \xe2\x80\xa6", (unsigned long long)s->lost);

	return (struct slice){ ret, (size_t)n };
}

/*
 * Before this sample a part of the stream was lost: the line that was begun has no end,
 * and what goes on in the middle of one has no beginning. False: not now.
 */
static bool take_loss(const struct decode *d, struct stream *st)
{
	char text[48];
	struct slice note = loss_note(d->s, text);

	if (!d->s->lost || d->j->taken)
		return true;
	/* Nothing but the note: it is this sample's, which is given once more. */
	if (d->s->lost_open && st->partial &&
	    slice_is((struct slice){ st->partial, st->partial_len }, text))
		return true;
	if (st->partial_len && !tell_partial(d, st, st->last_ns, d->s->lost))
		return false;
	if (!d->s->lost_open || keep_partial(d, st, note))
		return true;
	return tell_stream(d, st, note, d->s->boot_ns, 0);
}

static bool decode_stream(const struct decode *d, bool is_syslog)
{
	const struct journal_sample *s = d->s;
	struct slice data = s->data;
	struct stream *st;
	bool is_new;

	count_once(d, is_syslog ? &d->j->stats.syslog : &d->j->stats.stdout_);
	st = stream_of(d, &is_new);
	if (!st)
		return false;
	/* A line is of one process: who follows on the same socket begins another. */
	if (st->pid && s->pid && st->pid != s->pid && st->partial_len &&
	    !tell_partial(d, st, st->last_ns, s->lost))
		return false;
	if (!take_loss(d, st))
		return false;
	st->last_ns = s->boot_ns;
	/*
	 * What is sent after the log daemon's accept() and before it asks for
	 * credentials has none: it is of the one that writes there anyway.
	 */
	if (is_new || s->pid) {
		st->pid = s->pid;
		st->uid = s->uid;
		st->gid = s->gid;
		st->cgroup_id = s->sender_cgroup;
	}
	if (is_new)
		st->is_syslog = is_syslog;
	if (is_new && !is_syslog) {
		size_t n = parse_header(data, s->uid == 0, st);

		if (!n && !find_header(d, st))
			d->j->stats.headerless++;
		d->j->taken = n;
	}
	journal_skip(&data, d->j->taken);

	while (data.len) {
		const char *nl = memchr(data.p, '\n', data.len);
		size_t n = nl ? (size_t)(nl - data.p) : data.len;
		const char *nul = memchr(data.p, '\0', n); /* ends a line, too */
		struct slice text;
		bool all;

		if (nul)
			n = (size_t)(nul - data.p);
		text = (struct slice){ data.p, n };
		all = take_text(d, st, &text, nul || nl);
		if (!all) {
			d->j->taken = (size_t)(text.p - s->data.p);
			return false;
		}
		journal_skip(&data, nul || nl ? n + 1 : n);
	}
	/* What follows does not belong to what is here. */
	if (missing(s) && !tell_partial(d, st, s->boot_ns, missing(s))) {
		d->j->taken = s->data.len;
		return false;
	}
	return true;
}

/* ------------------------------------------------------------------ which protocol */

static bool ends_with(struct slice s, const char *text)
{
	size_t n = strlen(text);

	return s.len >= n && memcmp(s.p + s.len - n, text, n) == 0;
}

static enum journal_transport transport_of(const struct journal_sample *s)
{
	const char *nl;

	if (s->netlink)
		return JOURNAL_AUDIT;
	if (ends_with(s->path, "/dev-log") || ends_with(s->path, "/log") ||
	    ends_with(s->path, "/syslog"))
		return JOURNAL_SYSLOG;
	if (s->stream)
		return JOURNAL_STDOUT;
	if (ends_with(s->path, "/socket"))
		return JOURNAL_NATIVE;

	/* No path that says it: a native message starts with a key. */
	nl = memchr(s->data.p, '\n', s->data.len);
	if (nl) {
		struct slice first = { s->data.p, (size_t)(nl - s->data.p) };
		const char *equals = memchr(first.p, '=', first.len);

		if (equals)
			first.len = (size_t)(equals - first.p);
		if (journal_is_key(first))
			return JOURNAL_NATIVE;
	}
	return JOURNAL_SYSLOG;
}

static bool decode(const struct decode *d)
{
	switch (transport_of(d->s)) {
	case JOURNAL_NATIVE:
		return decode_native(d);
	case JOURNAL_SYSLOG:
		return d->s->stream ? decode_stream(d, true) : decode_syslog(d);
	case JOURNAL_STDOUT:
		return decode_stream(d, false);
	case JOURNAL_AUDIT:
		return decode_audit(d);
	}
	return true;
}

bool journal_decode(struct journal *j, const struct journal_sample *s, int64_t boot_to_real_ns,
		    journal_line_fn fn, void *arg)
{
	const struct decode d = { j, s, boot_to_real_ns, fn, arg };
	bool went_on = j->taken > 0;

	if (j->taken > s->data.len)
		j->taken = 0; /* restored with another sample than it was saved with */
	count_once(&d, &j->stats.samples);
	if (s->has_fds && !s->stream)
		count_once(&d, &j->stats.memfd);
	if (missing(s) && !j->in_sample) {
		j->stats.truncated++;
		j->stats.cut_bytes += missing(s);
	}
	if (!decode(&d)) {
		j->in_sample = true;
		j->stats.changes++;
		return false;
	}
	j->taken = 0;
	j->in_sample = false;
	if (went_on)
		j->stats.changes++;
	return true;
}

bool journal_flush_idle(struct journal *j, uint64_t boot_ns, uint64_t idle_ns,
			journal_is_open_fn is_open, int64_t boot_to_real_ns, journal_line_fn fn,
			void *arg)
{
	const struct decode d = { j, NULL, boot_to_real_ns, fn, arg };

	for (uint32_t i = j->oldest; i != NONE; i = j->streams[i].newer) {
		struct stream *st = &j->streams[i];

		if (idle_ns && st->last_ns + idle_ns > boot_ns)
			break;
		if (!st->partial_len || (is_open && is_open(arg, st->pid, st->socket_ino)))
			continue;
		if (!tell_partial(&d, st, st->last_ns, 0))
			return false;
		j->stats.split++;
	}
	return true;
}

struct task_ref journal_line_task(const struct journal_line *line)
{
	return (struct task_ref){
		.pid = line->trusted_pid,
		.uid = line->uid,
		.gid = line->gid,
		.cgroup_id = line->cgroup_id,
	};
}

void journal_get_stats(const struct journal *j, struct journal_stats *ret)
{
	*ret = j->stats;
}

/* ------------------------------------------------------------------ saving */

#define SAVE_MAGIC 0x32534a53u /* "SJS2" */

struct saved_head {
	uint32_t magic, count;
	uint64_t taken;
};

struct saved_stream {
	uint64_t socket, socket_ino, last_ns, cgroup_id;
	uint32_t pid, uid, gid;
	uint32_t partial_len; /* bytes behind this struct */
	uint8_t pri, has_header, level_prefix, is_syslog, pad[4];
	char identifier[NAME_SIZE], unit[NAME_SIZE];
};
_Static_assert(sizeof(struct saved_stream) == 32 + 16 + 8 + 2 * NAME_SIZE, "no hidden padding");

int journal_stream_save(const struct journal *j, struct buf *ret)
{
	struct saved_head head = { SAVE_MAGIC, j->stats.streams, j->taken };
	size_t before = ret->len;
	int r;

	r = buf_append(ret, &head, sizeof(head));
	/* The oldest first, so that restoring in this order gives the same LRU. */
	for (uint32_t i = j->oldest; i != NONE && r == 0; i = j->streams[i].newer) {
		const struct stream *st = &j->streams[i];
		struct saved_stream s = {
			.socket = st->socket,
			.socket_ino = st->socket_ino,
			.last_ns = st->last_ns,
			.cgroup_id = st->cgroup_id,
			.pid = st->pid,
			.uid = st->uid,
			.gid = st->gid,
			.partial_len = st->partial_len,
			.pri = st->pri,
			.has_header = st->has_header,
			.level_prefix = st->level_prefix,
			.is_syslog = st->is_syslog,
		};

		memcpy(s.identifier, st->identifier, NAME_SIZE);
		memcpy(s.unit, st->unit, NAME_SIZE);
		r = buf_append(ret, &s, sizeof(s));
		if (r == 0 && st->partial_len)
			r = buf_append(ret, st->partial, st->partial_len);
	}
	if (r < 0)
		ret->len = before; /* half of it is worth nothing */
	return r;
}

static void forget_all(struct journal *j)
{
	while (j->oldest != NONE)
		stream_remove(j, &j->streams[j->oldest]);
	j->taken = 0;
	j->in_sample = false;
}

static int restore_one(struct journal *j, struct slice *bytes)
{
	struct saved_stream s;
	struct stream *st;

	if (bytes->len < sizeof(s))
		return -EBADMSG;
	memcpy(&s, bytes->p, sizeof(s));
	journal_skip(bytes, sizeof(s));
	if (s.partial_len > bytes->len || s.partial_len > JOURNAL_LINE_MAX ||
	    s.pri > JOURNAL_PRI_MAX || s.identifier[NAME_SIZE - 1] || s.unit[NAME_SIZE - 1])
		return -EBADMSG;
	if (j->free == NONE || stream_find(j, s.socket))
		return -EBADMSG;
	if (j->stats.bytes + s.partial_len > j->max_bytes)
		return -EBADMSG;

	st = stream_add(j, s.socket);
	st->socket_ino = s.socket_ino;
	st->last_ns = s.last_ns;
	st->cgroup_id = s.cgroup_id;
	st->pid = s.pid;
	st->uid = s.uid;
	st->gid = s.gid;
	st->pri = s.pri;
	st->has_header = s.has_header;
	st->level_prefix = s.level_prefix;
	st->is_syslog = s.is_syslog;
	memcpy(st->identifier, s.identifier, NAME_SIZE);
	memcpy(st->unit, s.unit, NAME_SIZE);
	if (s.partial_len) {
		st->partial = malloc(s.partial_len);
		if (!st->partial)
			return -ENOMEM;
		memcpy(st->partial, bytes->p, s.partial_len);
		st->partial_len = st->partial_cap = s.partial_len;
		j->stats.bytes += s.partial_len;
		journal_skip(bytes, s.partial_len);
	}
	return 0;
}

int journal_stream_restore(struct journal *j, struct slice bytes)
{
	struct saved_head head;
	int r = 0;

	forget_all(j);
	if (bytes.len < sizeof(head))
		return -EBADMSG;
	memcpy(&head, bytes.p, sizeof(head));
	journal_skip(&bytes, sizeof(head));
	if (head.magic != SAVE_MAGIC)
		return -EBADMSG;
	for (uint32_t i = 0; i < head.count && r == 0; i++)
		r = restore_one(j, &bytes);
	if (r == 0 && bytes.len)
		r = -EBADMSG;
	if (r < 0)
		forget_all(j);
	else
		j->taken = head.taken;
	return r;
}
