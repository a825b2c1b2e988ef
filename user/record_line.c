/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/record_line.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "user/util/clock.h"
#include "user/util/json_reader.h"
#include "user/util/json_writer.h"

#define HEAD_COLUMNS 17 /* "05:33:01 journal " */

static const char *const class_names[MSG_CLASSES] = {
	[MSG_JOURNAL] = "journal", [MSG_FLOW] = "flow", [MSG_KERNEL] = "kernel", [MSG_SELF] = "self"
};

/* ------------------------------------------------------------------ reading */

/* The first of these paths that is there. */
static size_t find_first(struct slice json, const char *const *paths, char *ret, size_t size)
{
	size_t n = 0;

	for (; *paths && !n; paths++)
		n = json_find_text(json, *paths, ret, size);
	return n;
}

static void find_number(struct slice json, const char *path, const char *other, uint64_t *ret)
{
	if (!json_find_u64(json, path, ret) && !json_find_u64(json, other, ret))
		*ret = 0;
}

static void read_flow(struct slice json, struct record_facts *ret)
{
	static const char *const source[] = { "source.ip", "sourceIPv4Address", "sourceIPv6Address",
					      NULL };
	static const char *const destination[] = { "destination.ip", "destinationIPv4Address",
						   "destinationIPv6Address", NULL };
	static const char *const transport[] = { "network.transport", "protocolIdentifier", NULL };

	find_first(json, source, ret->source, sizeof(ret->source));
	find_first(json, destination, ret->destination, sizeof(ret->destination));
	find_first(json, transport, ret->transport, sizeof(ret->transport));
	if (!strcmp(ret->transport, "6"))
		strcpy(ret->transport, "tcp");
	else if (!strcmp(ret->transport, "17"))
		strcpy(ret->transport, "udp");
	find_number(json, "source.port", "sourceTransportPort", &ret->source_port);
	find_number(json, "destination.port", "destinationTransportPort", &ret->destination_port);
	find_number(json, "source.bytes", "initiatorOctets", &ret->sent);
	find_number(json, "destination.bytes", "responderOctets", &ret->received);
}

static void copy(char *ret, size_t size, struct slice s)
{
	size_t n = s.len < size - 1 ? s.len : size - 1;

	if (n)
		memcpy(ret, s.p, n);
	ret[n] = '\0';
}

void record_read(const struct msg *m, struct record_facts *ret)
{
	struct slice json = m->json;

	*ret = (struct record_facts){ .msg = m, .is_flow = m->class == MSG_FLOW };
	if (ret->is_flow)
		read_flow(json, ret);
	json_find_text(json, "process.name", ret->process, sizeof(ret->process));
	if (!json_find_u64(json, "process.pid", &ret->pid))
		ret->pid = 0;
	json_find_text(json, "container.id", ret->container, sizeof(ret->container));
	json_find_text(json, "event.action", ret->action, sizeof(ret->action));
	if (!ret->is_flow)
		copy(ret->app, sizeof(ret->app), m->app);
	if (m->text.len)
		copy(ret->text, sizeof(ret->text), m->text);
	else if (!json_find_text(json, "event.reason", ret->text, sizeof(ret->text)) &&
		 !json_find_text(json, "process.command_line", ret->text, sizeof(ret->text)))
		copy(ret->text, sizeof(ret->text), json);
}

/* ------------------------------------------------------------------ a line */

const char *record_bytes(uint64_t n, char ret[static 16])
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
	double v = (double)n;
	size_t i = 0;

	for (; v >= 999.5; i++)
		v /= 1000;
	snprintf(ret, 16, i && v < 9.95 ? "%.1f %s" : "%.0f %s", v, units[i]);
	return ret;
}

/* One character of UTF-8 (RFC 3629) at p: its bytes and its number; 0: it is none. */
static size_t decode_utf8(const unsigned char *p, const unsigned char *end, unsigned long *ret)
{
	static const unsigned long least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = *p < 0x80   ? 1
		   : *p < 0xc2 ? 0
		   : *p < 0xe0 ? 2
		   : *p < 0xf0 ? 3
		   : *p < 0xf5 ? 4
			       : 0;
	unsigned long c = n == 1 ? *p : *p & (0x7fu >> n);

	if (!n || (size_t)(end - p) < n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (n > 1 && (c < least[n] || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff))
		return 0;
	*ret = c;
	return n;
}

/* As terminals have it; what turns the direction of text round, or has no width, is not shown. */
static int width_of(unsigned long c)
{
	if (c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) ||
	    (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
	    (c >= 0x300 && c <= 0x36f) || (c >= 0xfe00 && c <= 0xfe0f) || c >= 0xe0000)
		return 0;
	return (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) ||
			       (c >= 0xac00 && c <= 0xd7a3) || (c >= 0xf900 && c <= 0xfaff) ||
			       (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
			       (c >= 0xffe0 && c <= 0xffe6) || (c >= 0x1f300 && c <= 0x1faff) ||
			       (c >= 0x20000 && c <= 0x3fffd)
		       ? 2
		       : 1;
}

size_t record_columns(struct slice text, size_t columns, char *ret, size_t size)
{
	const unsigned char *p = (const unsigned char *)text.p, *end = p + text.len;
	size_t len = 0;

	while (p < end) {
		unsigned long c = 0;
		size_t n = decode_utf8(p, end, &c);
		int width = n ? width_of(c) : 0;
		const char *put = (const char *)p;
		size_t bytes = width ? n : 1;

		if (!width) {
			put = c == '\t' || c == '\n' ? " " : "?";
			width = 1;
		}
		if ((size_t)width > columns || len + bytes >= size)
			break;
		memcpy(ret + len, put, bytes);
		len += bytes;
		columns -= (size_t)width;
		p += n ? n : 1;
	}
	if (size)
		ret[len] = '\0';
	return len;
}

/* An IPv6 address in brackets; a long one loses its middle when narrow is set. */
static int put_end(char *at, size_t size, const char *ip, uint64_t port, bool narrow)
{
	size_t n = strlen(ip);
	char number[24] = "";

	if (port)
		snprintf(number, sizeof(number), ":%llu", (unsigned long long)port);
	if (!strchr(ip, ':'))
		return snprintf(at, size, "%s%s", ip, number);
	if (narrow && n > 18)
		return snprintf(at, size, "[%.8s..%s]%s", ip, ip + n - 5, number);
	return snprintf(at, size, "[%s]%s", ip, number);
}

static size_t put_flow(const struct record_facts *r, char *ret, size_t size, bool narrow)
{
	char from[64], to[64], who[96] = "", sent[16], received[16];

	put_end(from, sizeof(from), r->source, r->source_port, narrow);
	put_end(to, sizeof(to), r->destination, r->destination_port, narrow);
	if (r->pid)
		snprintf(who, sizeof(who), " %s(%llu)", r->process[0] ? r->process : "?",
			 (unsigned long long)r->pid);
	return (size_t)snprintf(ret, size, "%s -> %s %s %s/%s%s", from, to, r->transport,
				record_bytes(r->sent, sent), record_bytes(r->received, received),
				who);
}

static size_t put_text(const struct record_facts *r, char *ret, size_t size)
{
	const struct slice procid = r->msg->procid;
	char number[24] = "";

	if (procid.len && procid.len < 16)
		snprintf(number, sizeof(number), "[%.*s]", (int)procid.len, procid.p);
	return (size_t)snprintf(ret, size, "%s%s: %s", r->app, number, r->text);
}

void record_line(const struct record_facts *r, char ret[static RECORD_LINE_SIZE])
{
	char when[CLOCK_RFC3339_SIZE], text[768];
	size_t len;
	int n;

	clock_format_rfc3339(r->msg->time_us, when);
	n = snprintf(ret, RECORD_LINE_SIZE, "%.8s %-7s ", when + 11, class_names[r->msg->class]);
	if (r->is_flow && r->source[0]) {
		len = put_flow(r, text, sizeof(text), false);
		if (len > RECORD_COLUMNS - HEAD_COLUMNS)
			len = put_flow(r, text, sizeof(text), true);
	} else {
		len = put_text(r, text, sizeof(text));
	}
	if (len >= sizeof(text))
		len = sizeof(text) - 1;
	record_columns((struct slice){ text, len }, RECORD_COLUMNS - HEAD_COLUMNS, ret + n,
		       RECORD_LINE_SIZE - (size_t)n);
}

/* ------------------------------------------------------------------ as it is */

/* One line, whatever is in it: control bytes become blanks. */
static void put_line(struct slice s, FILE *f)
{
	for (size_t i = 0; i < s.len; i++)
		putc_unlocked(iscntrl((unsigned char)s.p[i]) ? ' ' : s.p[i], f);
}

int record_put_json(const struct msg *m, FILE *f)
{
	static char text[JSON_ESCAPE_MAX * MSG_MAX_BYTES + 1];
	char *end;

	put_line(m->json, f);
	if (!m->json.len) {
		put_line(m->text, f);
	} else if (m->text.len || m->json.p[m->json.len - 1] != '}') {
		if (json_escape(text, sizeof(text), m->text, &end))
			return -EMSGSIZE;
		putc_unlocked('"', f);
		fwrite(text, 1, (size_t)(end - text), f);
		fputs("\"}}", f);
	}
	putc_unlocked('\n', f);
	return 0;
}

/* ------------------------------------------------------------------ the filter */

static bool parse_number(const char *text, uint64_t max, uint64_t *ret)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return !errno && !*end && *ret && *ret <= max;
}

int record_filter_add(struct record_filter *f, const char *text)
{
	static const struct {
		const char *name;
		enum record_wish_kind kind;
		uint64_t max; /* of a number; 0: it is a text */
	} keys[] = {
		{ "process=", WISH_PROCESS, 0 }, { "pid=", WISH_PID, UINT32_MAX },
		{ "host=", WISH_HOST, 0 },	 { "port=", WISH_PORT, 65535 },
		{ "text=", WISH_TEXT, 0 },	 { "container=", WISH_CONTAINER, 0 },
	};
	struct record_wish *w = &f->wishes[f->n];

	if (f->n == RECORD_WISHES)
		return -E2BIG;
	*w = (struct record_wish){ .kind = WISH_KINDS };
	for (int class = 0; class < MSG_CLASSES; class ++) {
		size_t n = strlen(class_names[class]);

		if (!strncmp(text, class_names[class], n) &&
		    (!text[n] || (class == MSG_FLOW && !strcmp(text + n, "s"))))
			*w = (struct record_wish){ WISH_CLASS, NULL, (uint64_t) class };
	}
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		size_t n = strlen(keys[i].name);

		if (strncmp(text, keys[i].name, n) != 0)
			continue;
		*w = (struct record_wish){ .kind = keys[i].kind, .text = text + n };
		if (!text[n] || (keys[i].max && !parse_number(text + n, keys[i].max, &w->number)))
			return -EINVAL;
	}
	if (w->kind == WISH_KINDS)
		return -EINVAL;
	f->n++;
	return 0;
}

static bool has_text(struct slice s, const char *text)
{
	size_t n = strlen(text);

	for (size_t i = 0; i + n <= s.len; i++)
		if (!strncasecmp(s.p + i, text, n))
			return true;
	return false;
}

static bool takes(const struct record_wish *w, const struct record_facts *r)
{
	switch (w->kind) {
	case WISH_CLASS:
		return (uint64_t)r->msg->class == w->number;
	case WISH_PROCESS:
		return !strcmp(r->process, w->text) || !strcmp(r->app, w->text);
	case WISH_PID:
		return r->pid == w->number;
	case WISH_HOST:
		return !strcmp(r->source, w->text) || !strcmp(r->destination, w->text);
	case WISH_PORT:
		return r->source_port == w->number || r->destination_port == w->number;
	case WISH_CONTAINER:
		return !strncmp(r->container, w->text, strlen(w->text));
	case WISH_TEXT:
		return has_text(r->msg->text, w->text) || has_text(r->msg->json, w->text);
	default:
		return false;
	}
}

bool record_filter_takes(const struct record_filter *f, const struct record_facts *r)
{
	bool asked[WISH_KINDS] = { 0 }, met[WISH_KINDS] = { 0 };

	for (int i = 0; i < f->n; i++) {
		asked[f->wishes[i].kind] = true;
		met[f->wishes[i].kind] |= takes(&f->wishes[i], r);
	}
	for (int kind = 0; kind < WISH_KINDS; kind++)
		if (asked[kind] && !met[kind])
			return false;
	return true;
}
