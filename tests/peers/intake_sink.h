/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of an event that was taken: counted, looked up by its id,
 * written to files, printed for people. And the summary of all that.
 */
#pragma once

#include <inttypes.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "tests/peers/intake_ids.h"
#include "tests/peers/intake_json.h"
#include "user/util/buf.h"
#include "user/util/cleanup.h"
#include "user/util/slice.h"

enum transport { BY_SYSLOG, BY_RELP, BY_HTTPS, TRANSPORTS };

static const char *const transport_names[TRANSPORTS] = { "syslog", "relp", "https" };

#define SINK_MAX_EVENT (250 * 1024) /* the platform refuses what is larger */
#define SINK_COLUMNS   80

struct event_in {
	enum transport by;
	struct slice full;		/* as it came: the syslog line, the JSON element */
	struct slice msg;		/* the event */
	struct slice time, app, procid; /* of the syslog header; may be empty */
	struct slice id;		/* of a raw line; p is NULL: none */
	uint64_t seq;			/* sequenceId; 0: none */
	struct id_stream **id_hint;
};

/* The summary's members, in its order. */
#define SINK_COUNTERS(X)                                                                           \
	X(received)	   /* events taken, repeats included */                                    \
	X(no_id)	   /* taken, but without an id: received = unique + repeats + no_id */     \
	X(bad_header)	   /* lines that are not RFC 5424 */                                       \
	X(bad_key)	   /* events or requests with another intake key, or none */               \
	X(bad_json)	   /* taken, although they begin with '{' and are not JSON */              \
	X(bad_frame)	   /* connections given up: not octet counting, RELP, HTTP */              \
	X(too_large)	   /* events over 250 KiB */                                               \
	X(refused)	   /* by --reject-nth */                                                   \
	X(connections)	   /* accepted */                                                          \
	X(tls_failures)	   /* handshakes that failed */                                            \
	X(clean_closes)	   /* the peer said close_notify (plain: FIN) */                           \
	X(unclean_closes)  /* it did not */                                                        \
	X(misdeeds)	   /* closes, resets and stalls that flags asked for */                    \
	X(requests)	   /* https, all */                                                        \
	X(requests_failed) /* https, answered with 4xx or 5xx */                                   \
	X(bytes)	   /* of the events taken */                                               \
	X(wire_bytes)	   /* of what came out of TLS */

struct sink {
#define X(name) uint64_t name;
	SINK_COUNTERS(X)
#undef X
	uint64_t by_transport[TRANSPORTS];
	struct ids ids;
	FILE *write, *write_full; /* or NULL */
	bool print, colour;
	uint64_t shown; /* received, as of the last --count line */
};

/* ------------------------------------------------------------------ files */

/* One line per event: an LF inside becomes the two characters \n. */
static void sink_write_line(FILE *f, struct slice text)
{
	const char *p = text.p, *end = text.p + text.len;

	while (p < end) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));

		fwrite_unlocked(p, 1, (size_t)((lf ? lf : end) - p), f);
		if (!lf)
			break;
		fwrite_unlocked("\\n", 1, 2, f);
		p = lf + 1;
	}
	putc_unlocked('\n', f);
}

/* ------------------------------------------------------------------ for people */

static struct json_object *json_in(struct json_object *o, const char *a, const char *b)
{
	struct json_object *v = NULL;

	if (!json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, a, &v))
		return NULL;
	return b ? json_in(v, b, NULL) : v;
}

static const char *json_text_in(struct json_object *o, const char *a, const char *b)
{
	struct json_object *v = json_in(o, a, b);

	if (json_object_is_type(v, json_type_array))
		v = json_object_array_get_idx(v, 0);
	return v ? json_object_get_string(v) : NULL;
}

static const char *human_bytes(char *text, size_t size, uint64_t n)
{
	static const char *const unit[] = { "B", "kB", "MB", "GB", "TB" };
	double v = (double)n;
	size_t i = 0;

	for (; v >= 1000 && i + 1 < sizeof(unit) / sizeof(unit[0]); i++)
		v /= 1000;
	snprintf(text, size, i && v < 10 ? "%.1f %s" : "%.0f %s", v, unit[i]);
	return text;
}

/* An IPv6 address in brackets; a long one loses its middle when narrow is set. */
static void human_endpoint(FILE *f, const char *ip, const char *port, bool narrow)
{
	size_t n = strlen(ip);

	if (!strchr(ip, ':'))
		fputs(ip, f);
	else if (narrow && n > 18)
		fprintf(f, "[%.8s..%s]", ip, ip + n - 5);
	else
		fprintf(f, "[%s]", ip);
	if (port)
		fprintf(f, ":%s", port);
}

static void human_process(FILE *f, struct json_object *o)
{
	const char *name = json_text_in(o, "process", "name");
	const char *pid = json_text_in(o, "process", "pid");

	if (name || pid)
		fprintf(f, " %s(%s)", name ? name : "?", pid ? pid : "?");
}

static bool human_flow(FILE *f, struct json_object *o, bool narrow)
{
	const char *src = json_text_in(o, "sourceIPv4Address", NULL);
	const char *dst = json_text_in(o, "destinationIPv4Address", NULL);
	const char *sport = json_text_in(o, "sourceTransportPort", NULL);
	const char *dport = json_text_in(o, "destinationTransportPort", NULL);
	const char *proto = json_text_in(o, "network", "transport");
	struct json_object *sent = json_in(o, "initiatorOctets", NULL);
	struct json_object *received = json_in(o, "responderOctets", NULL);
	char a[32], b[32];

	src = src ? src : json_text_in(o, "sourceIPv6Address", NULL);
	src = src ? src : json_text_in(o, "source", "ip");
	dst = dst ? dst : json_text_in(o, "destinationIPv6Address", NULL);
	dst = dst ? dst : json_text_in(o, "destination", "ip");
	sport = sport ? sport : json_text_in(o, "source", "port");
	dport = dport ? dport : json_text_in(o, "destination", "port");
	proto = proto ? proto : json_text_in(o, "protocolIdentifier", NULL);
	sent = sent ? sent : json_in(o, "source", "bytes");
	received = received ? received : json_in(o, "destination", "bytes");
	if (!src || !dst)
		return false;
	human_endpoint(f, src, sport, narrow);
	fputs(" -> ", f);
	human_endpoint(f, dst, dport, narrow);
	fprintf(f, " %s %s/%s", proto ? proto : "?",
		human_bytes(a, sizeof(a), (uint64_t)json_object_get_int64(sent)),
		human_bytes(b, sizeof(b), (uint64_t)json_object_get_int64(received)));
	human_process(f, o);
	return true;
}

static void human_log(FILE *f, const struct event_in *e, struct json_object *o)
{
	const char *text = json_text_in(o, "event", "reason");
	const char *app =
		json_text_in(o, "log", "syslog") ? NULL : json_text_in(o, "process", "name");
	const char *pid = json_text_in(o, "process", "pid");
	struct json_object *log = json_in(o, "log", "syslog");

	if (log && json_text_in(log, "appname", NULL))
		app = json_text_in(log, "appname", NULL);
	if (app)
		fputs(app, f);
	else if (e->app.len && !slice_is(e->app, "-"))
		fprintf(f, "%.*s", (int)e->app.len, e->app.p);
	if (pid && app)
		fprintf(f, "[%s]", pid);
	else if (!app && e->procid.len && !slice_is(e->procid, "-"))
		fprintf(f, "[%.*s]", (int)e->procid.len, e->procid.p);
	if (app || e->app.len)
		fputs(": ", f);
	if (text)
		fputs(text, f);
	else
		fwrite(e->msg.p, 1, e->msg.len < 256 ? e->msg.len : 256, f);
}

/* At most columns characters, nothing in them that a terminal would obey. */
static void human_put(FILE *f, const char *p, size_t n, int columns)
{
	const unsigned char *at = (const unsigned char *)p, *end = at + n;

	while (at < end && columns) {
		size_t len = *at < 0x80 ? 1 : json_utf8_len(at, end);

		if (!len || *at < 0x20 || *at == 0x7f || (*at == 0xc2 && at[1] < 0xa0)) {
			fputc(*at == '\t' ? ' ' : '?', f);
			at += len ? len : 1;
		} else {
			fwrite(at, 1, len, f);
			at += len;
		}
		columns--;
	}
}

static size_t human_width(const char *p, size_t n)
{
	size_t width = 0;

	for (size_t i = 0; i < n; i++)
		width += (p[i] & 0xc0) != 0x80;
	return width;
}

/* "05:33:01 flow    10.0.0.1:34567 -> 1.2.3.4:443 tcp 1.2 kB/34 kB curl(1234)" */
static void sink_print(const struct sink *s, const struct event_in *e)
{
	static const char *const colours[] = { "36", "32", "33" };
	static const char *const kinds[] = { "flow", "journal", "event" };
	struct json_object *o = NULL;
	struct json_tokener *tokener;
	const char *stamp = NULL, *action;
	char clock[9] = "--:--:--";
	char *text = NULL;
	size_t size = 0;
	int kind = 1;
	FILE *f;

	if (e->msg.len && e->msg.p[0] == '{') {
		tokener = json_tokener_new();
		if (tokener)
			o = json_tokener_parse_ex(tokener, e->msg.p, (int)e->msg.len);
		json_tokener_free(tokener);
	}
	stamp = json_text_in(o, "@timestamp", NULL);
	if (stamp && strlen(stamp) >= 19)
		memcpy(clock, stamp + 11, 8);
	else if (e->time.len >= 19)
		memcpy(clock, e->time.p + 11, 8);

	for (int narrow = 0; narrow < 2; narrow++) {
		free(text);
		text = NULL;
		f = open_memstream(&text, &size);
		if (!f)
			break;
		action = json_text_in(o, "event", "action");
		if (json_in(o, "protocolIdentifier", NULL) || json_in(o, "network", "transport")) {
			kind = human_flow(f, o, narrow) ? 0 : 2;
		} else if (o && !json_in(o, "log", "level") &&
			   json_in(o, "process", "command_line")) {
			kind = 2;
			fprintf(f, "%s %s", action ? action : "exec",
				json_text_in(o, "process", "command_line"));
			human_process(f, o);
		} else {
			human_log(f, e, o);
		}
		fclose(f);
		if (human_width(text, size) <= SINK_COLUMNS - 17)
			break;
	}
	if (s->colour)
		printf("\033[2m%s\033[0m \033[%sm%-7s\033[0m ", clock, colours[kind], kinds[kind]);
	else
		printf("%s %-7s ", clock, kinds[kind]);
	if (text)
		human_put(stdout, text, size, SINK_COLUMNS - 17);
	putchar('\n');
	free(text);
	json_object_put(o);
}

/* ------------------------------------------------------------------ events */

static void sink_take(struct sink *s, const struct event_in *e)
{
	struct slice id = { 0 }, name = { 0 };
	enum id_verdict verdict = ID_UNKNOWN;
	uint64_t seq = e->seq;

	s->received++;
	s->by_transport[e->by]++;
	s->bytes += e->msg.len;
	if (e->msg.len && e->msg.p[0] == '{') {
		if (!json_check(e->msg, &id))
			s->bad_json++;
		else if (id.len && !id_parse(id, &name, &seq))
			seq = 0;
	}
	if (!id.len && e->id.len && !id_parse(e->id, &name, &seq))
		seq = 0;
	if (seq)
		verdict = ids_mark(&s->ids, e->id_hint, name, seq);
	if (verdict == ID_UNKNOWN)
		s->no_id++;

	if (s->write)
		sink_write_line(s->write, e->msg);
	if (s->write_full)
		sink_write_line(s->write_full, e->full);
	if (s->print)
		sink_print(s, e);
}

static void sink_flush(struct sink *s)
{
	if (s->write)
		fflush(s->write);
	if (s->write_full)
		fflush(s->write_full);
	fflush(stdout);
}

static void sink_totals(const struct sink *s, uint64_t *unique, uint64_t *repeats, uint64_t *gaps)
{
	*unique = *repeats = *gaps = 0;
	for (int i = 0; i < s->ids.n_streams; i++) {
		*unique += s->ids.streams[i]->unique;
		*repeats += s->ids.streams[i]->repeats;
		*gaps += id_stream_gaps(s->ids.streams[i]);
	}
}

static void sink_print_count(struct sink *s)
{
	uint64_t unique, repeats, gaps;

	sink_totals(s, &unique, &repeats, &gaps);
	printf("received %" PRIu64 " (+%" PRIu64 ") unique %" PRIu64 " repeats %" PRIu64
	       " gaps %" PRIu64 " bytes %" PRIu64 "\n",
	       s->received, s->received - s->shown, unique, repeats, gaps, s->bytes);
	s->shown = s->received;
}

/* One line of JSON. first and last are those of the first id stream. */
static void sink_summary(const struct sink *s, struct buf *b)
{
	const struct id_stream *first = s->ids.n_streams ? s->ids.streams[0] : NULL;
	uint64_t unique, repeats, gaps;

	sink_totals(s, &unique, &repeats, &gaps);
	buf_puts(b, "{");
#define X(name) buf_printf(b, "\"%s\":%" PRIu64 ",", #name, s->name);
	SINK_COUNTERS(X)
#undef X
	buf_printf(b,
		   "\"unique\":%" PRIu64 ",\"repeats\":%" PRIu64 ",\"gaps\":%" PRIu64
		   ",\"first\":%" PRIu64 ",\"last\":%" PRIu64 ",\"by_transport\":{",
		   unique, repeats, gaps, first ? first->first : 0, first ? first->last : 0);
	for (int i = 0; i < TRANSPORTS; i++)
		buf_printf(b, "%s\"%s\":%" PRIu64, i ? "," : "", transport_names[i],
			   s->by_transport[i]);
	buf_puts(b, "},\"streams\":[");
	for (int i = 0; i < s->ids.n_streams; i++) {
		if (i)
			buf_puts(b, ",");
		id_stream_write(b, s->ids.streams[i]);
	}
	buf_puts(b, "]}\n");
}
