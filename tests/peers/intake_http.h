/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTPS intake without its connection: request heads, chunked bodies, and
 * what the six endpoints take. Pure.
 */
#pragma once

#include <errno.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>

#include "tests/peers/intake_json.h"
#include "user/util/buf.h"
#include "user/util/slice.h"

#define HTTP_MAX_HEAD	(64 * 1024)
#define HTTP_MAX_BODY	10485760 /* of a request, compressed and not */
#define HTTP_MAX_EVENTS 200000	 /* in one request: ours, the platform names no limit */
#define HTTP_PREFIX	"/api/v1/intake-http"

enum http_endpoint { EP_PLAIN, EP_PLAIN_BATCH, EP_JSONS, EP_ROOT, EP_BATCH, EP_ARRAY, EP_NONE };

static const char *const http_paths[] = {
	[EP_PLAIN] = "/plain", [EP_PLAIN_BATCH] = "/plain/batch",
	[EP_JSONS] = "/jsons", [EP_ROOT] = "/",
	[EP_BATCH] = "/batch", [EP_ARRAY] = "/array",
};

struct http_request {
	bool post, http_1_0;
	enum http_endpoint endpoint;
	bool has_length, chunked, gzip, unknown_coding, expect, close;
	bool has_jsonpath; /* ?path=, which we do not speak */
	size_t length;	   /* Content-Length */
	size_t head_len;   /* up to and including the empty line */
	char key[256];	   /* header, Basic password or query; empty: none */
};

static bool http_copy_key(struct http_request *r, struct slice key)
{
	if (key.len >= sizeof(r->key))
		return false;
	memcpy(r->key, key.p, key.len);
	r->key[key.len] = '\0';
	return true;
}

/* "Basic base64(user:password)": the password is the key. */
static bool http_basic_key(struct http_request *r, struct slice value)
{
	unsigned char text[256];
	const char *colon;
	int n;

	if (value.len < 6 || strncasecmp(value.p, "Basic ", 6) != 0 || value.len > 300)
		return false;
	n = EVP_DecodeBlock(text, (const unsigned char *)value.p + 6, (int)value.len - 6);
	if (n < 0)
		return false;
	for (const char *p = value.p + value.len; n && p[-1] == '='; p--)
		n--;
	colon = memchr(text, ':', (size_t)n);
	if (!colon)
		return false;
	colon++;
	return http_copy_key(r, (struct slice){ colon, (size_t)((char *)text + n - colon) });
}

static bool http_query(struct http_request *r, struct slice query)
{
	const char *p = query.p, *end = query.p + query.len;

	while (p < end) {
		const char *amp = memchr(p, '&', (size_t)(end - p));
		const char *stop = amp ? amp : end;
		const char *equals = memchr(p, '=', (size_t)(stop - p));
		struct slice name = { p, (size_t)((equals ? equals : stop) - p) };
		struct slice value = { stop, 0 };

		if (equals)
			value = (struct slice){ equals + 1, (size_t)(stop - equals - 1) };
		if ((slice_is(name, "intake_key") ||
		     slice_is(name, "header_X-SEKOIAIO-INTAKE-KEY")) &&
		    !http_copy_key(r, value))
			return false;
		if (slice_is(name, "path"))
			r->has_jsonpath = true;
		p = stop + 1;
	}
	return true;
}

static bool http_header(struct http_request *r, struct slice name, struct slice value)
{
#define NAME_IS(text)  (name.len == sizeof(text) - 1 && strncasecmp(name.p, text, name.len) == 0)
#define VALUE_IS(text) (value.len == sizeof(text) - 1 && strncasecmp(value.p, text, value.len) == 0)
	if (NAME_IS("content-length")) {
		size_t n = 0;

		if (!value.len || value.len > 15 || r->has_length)
			return false;
		for (size_t i = 0; i < value.len; i++) {
			if (value.p[i] < '0' || value.p[i] > '9')
				return false;
			n = n * 10 + (size_t)(value.p[i] - '0');
		}
		r->length = n;
		r->has_length = true;
	} else if (NAME_IS("transfer-encoding")) {
		r->chunked = VALUE_IS("chunked");
		return r->chunked;
	} else if (NAME_IS("content-encoding")) {
		r->gzip = VALUE_IS("gzip");
		r->unknown_coding = !r->gzip && !VALUE_IS("identity");
	} else if (NAME_IS("expect")) {
		r->expect = VALUE_IS("100-continue");
	} else if (NAME_IS("connection")) {
		r->close = VALUE_IS("close");
	} else if (NAME_IS("x-sekoiaio-intake-key")) {
		return http_copy_key(r, value);
	} else if (NAME_IS("authorization")) {
		return http_basic_key(r, value);
	}
	return true;
#undef NAME_IS
#undef VALUE_IS
}

/* Bytes of the head, 0 for more, -EBADMSG, or -EMSGSIZE above HTTP_MAX_HEAD. */
static ssize_t http_parse_head(const char *p, size_t n, struct http_request *ret)
{
	size_t seen = n < HTTP_MAX_HEAD ? n : HTTP_MAX_HEAD;
	const char *end = memmem(p, seen, "\r\n\r\n", 4), *eol, *sp, *mark;
	size_t prefix = strlen(HTTP_PREFIX);
	struct slice target;

	*ret = (struct http_request){ .endpoint = EP_NONE };
	if (!end)
		return n >= HTTP_MAX_HEAD ? -EMSGSIZE : 0;
	ret->head_len = (size_t)(end + 4 - p);
	end += 2;

	eol = memmem(p, (size_t)(end - p), "\r\n", 2);
	sp = memchr(p, ' ', (size_t)(eol - p));
	if (!sp || sp == p)
		return -EBADMSG;
	ret->post = slice_is((struct slice){ p, (size_t)(sp - p) }, "POST");
	target.p = ++sp;
	sp = memchr(sp, ' ', (size_t)(eol - sp));
	if (!sp)
		return -EBADMSG;
	target.len = (size_t)(sp - target.p);
	sp++;
	if (slice_is((struct slice){ sp, (size_t)(eol - sp) }, "HTTP/1.0"))
		ret->http_1_0 = ret->close = true;
	else if (!slice_is((struct slice){ sp, (size_t)(eol - sp) }, "HTTP/1.1"))
		return -EBADMSG;
	if (!target.len || target.p[0] != '/')
		return -EBADMSG;

	mark = memchr(target.p, '?', target.len);
	if (mark) {
		if (!http_query(ret, (struct slice){ mark + 1,
						     target.len - (size_t)(mark + 1 - target.p) }))
			return -EBADMSG;
		target.len = (size_t)(mark - target.p);
	}
	if (target.len >= prefix && memcmp(target.p, HTTP_PREFIX, prefix) == 0) {
		target.p += prefix;
		target.len -= prefix;
		if (!target.len)
			target = SLICE("/");
	}
	for (int i = 0; i < EP_NONE; i++)
		if (slice_is(target, http_paths[i]))
			ret->endpoint = (enum http_endpoint)i;

	for (p = eol + 2; p < end; p = eol + 2) {
		const char *colon, *from, *to;

		eol = memmem(p, (size_t)(end - p), "\r\n", 2);
		colon = memchr(p, ':', (size_t)(eol - p));
		if (!colon || colon == p || colon[-1] == ' ')
			return -EBADMSG;
		for (from = colon + 1; from < eol && (*from == ' ' || *from == '\t'); from++)
			;
		for (to = eol; to > from && (to[-1] == ' ' || to[-1] == '\t'); to--)
			;
		if (!http_header(ret, (struct slice){ p, (size_t)(colon - p) },
				 (struct slice){ from, (size_t)(to - from) }))
			return -EBADMSG;
	}
	/* RFC 9112, 6.1: both together are how requests are smuggled. */
	if (ret->chunked && ret->has_length)
		return -EBADMSG;
	return (ssize_t)ret->head_len;
}

/*
 * Moves whole chunks from p into body. Returns the bytes consumed, 0 for more;
 * *done after the last chunk. -EBADMSG; -EMSGSIZE when body is at its ceiling.
 */
static ssize_t http_dechunk(const char *p, size_t n, struct buf *body, bool *done)
{
	size_t used = 0;

	*done = false;
	for (;;) {
		const char *eol = memmem(p + used, n - used, "\r\n", 2);
		size_t len = 0, line;

		if (!eol)
			return n - used > 1024 ? -EBADMSG : (ssize_t)used;
		line = (size_t)(eol - (p + used));
		if (!line)
			return -EBADMSG;
		for (size_t i = 0; i < line && p[used + i] != ';'; i++) {
			int digit = json_hex(p[used + i]);

			if (digit < 0 || i == 8)
				return -EBADMSG;
			len = len << 4 | (size_t)digit;
		}
		if (len > HTTP_MAX_BODY)
			return -EMSGSIZE;
		if (n - used < line + 2 + len + 2)
			return (ssize_t)used;
		if (memcmp(eol + 2 + len, "\r\n", 2) != 0)
			return -EBADMSG; /* and no trailers */
		if (buf_append(body, eol + 2, len))
			return -EMSGSIZE;
		used += line + 2 + len + 2;
		if (!len) {
			*done = true;
			return (ssize_t)used;
		}
	}
}

/* ------------------------------------------------------------------ bodies */

struct http_event {
	struct slice full; /* the element as it came */
	struct slice raw;  /* the event, or what stands between its quotes */
	bool escaped;
};

/* Borrowed from the body, kept from request to request for its memory. */
struct http_events {
	struct http_event *list;
	size_t n, cap;
	bool wrong_key;	  /* an element names a key that is not ours */
	bool missing_key; /* an element, or the request, names none */
};

typedef bool (*http_key_fn)(const void *arg, struct slice key);

static int http_add(struct http_events *l, struct slice full, struct slice raw, bool escaped)
{
	if (l->n == HTTP_MAX_EVENTS)
		return -EMSGSIZE;
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 1024;
		struct http_event *list = realloc(l->list, cap * sizeof(*list));

		if (!list)
			return -ENOMEM;
		l->list = list;
		l->cap = cap;
	}
	l->list[l->n++] = (struct http_event){ full, raw, escaped };
	return 0;
}

static int http_plain_batch(struct http_events *l, struct slice body)
{
	const char *p = body.p, *end = body.p + body.len;
	int err = 0;

	while (p < end && !err) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		struct slice line = { p, (size_t)((lf ? lf : end) - p) };

		if (line.len)
			err = http_add(l, line, line, false);
		p = lf ? lf + 1 : end;
	}
	return err;
}

/* An array of strings, or (objects_too) of objects that are events as they stand. */
static int http_string_array(struct http_events *l, struct json_at *at, bool objects_too)
{
	if (!json_take(at, '['))
		return -EBADMSG;
	if (json_take(at, ']'))
		return 0;
	do {
		struct json_text text;
		const char *start;
		int err;

		json_space(at);
		start = at->p;
		if (objects_too && start < at->end && *start == '{') {
			if (!json_skip(at, 1, false))
				return -EBADMSG;
			text = (struct json_text){ { start, (size_t)(at->p - start) }, false };
		} else if (!json_string(at, &text)) {
			return -EBADMSG;
		}
		err = http_add(l, (struct slice){ start, (size_t)(at->p - start) }, text.raw,
			       text.escaped);
		if (err)
			return err;
	} while (json_take(at, ','));
	return json_take(at, ']') ? 0 : -EBADMSG;
}

/* {"intake_key":…,"json":…} or, with many, {"intake_key":…,"jsons":[…]}. */
static int http_envelope(struct http_events *l, struct json_at *at, bool many, http_key_fn is_ours,
			 const void *arg)
{
	struct json_text key, text, intake_key = { 0 }, event = { 0 };
	const char *start;
	bool seen = false;
	int err;

	json_space(at);
	start = at->p;
	if (!json_take(at, '{'))
		return -EBADMSG;
	do {
		if (!json_string(at, &key) || !json_take(at, ':'))
			return -EBADMSG;
		if (slice_is(key.raw, "intake_key")) {
			if (!json_string(at, &intake_key))
				return -EBADMSG;
		} else if (!many && slice_is(key.raw, "json")) {
			if (!json_string(at, &event))
				return -EBADMSG;
			seen = true;
		} else if (many && slice_is(key.raw, "jsons")) {
			err = http_string_array(l, at, false);
			if (err)
				return err;
			seen = true;
		} else if (slice_is(key.raw, "timestamp") || slice_is(key.raw, "@timestamp")) {
			if (!json_string(at, &text))
				return -EBADMSG;
		} else {
			return -EBADMSG;
		}
	} while (json_take(at, ','));
	if (!json_take(at, '}') || !seen)
		return -EBADMSG;
	if (!intake_key.raw.p)
		l->missing_key = true;
	else if (!is_ours(arg, intake_key.raw))
		l->wrong_key = true;
	if (many)
		return 0;
	return http_add(l, (struct slice){ start, (size_t)(at->p - start) }, event.raw,
			event.escaped);
}

/* 0; -EBADMSG: not what this endpoint takes; -EMSGSIZE: too many events. */
static int http_parse_body(struct http_events *l, const struct http_request *r, struct slice body,
			   http_key_fn is_ours, const void *arg)
{
	struct json_at at = { .p = body.p, .end = body.p + body.len };
	int err;

	l->n = 0;
	l->wrong_key = l->missing_key = false;
	if (!body.len)
		return -EBADMSG;
	switch (r->endpoint) {
	case EP_PLAIN:
		return http_add(l, body, body, false);
	case EP_PLAIN_BATCH:
		return http_plain_batch(l, body);
	case EP_JSONS:
		err = http_string_array(l, &at, true);
		break;
	case EP_ROOT:
	case EP_BATCH:
		err = http_envelope(l, &at, r->endpoint == EP_BATCH, is_ours, arg);
		break;
	case EP_ARRAY:
		if (!json_take(&at, '['))
			return -EBADMSG;
		err = 0;
		if (json_take(&at, ']'))
			break;
		do {
			err = http_envelope(l, &at, false, is_ours, arg);
		} while (!err && json_take(&at, ','));
		if (!err && !json_take(&at, ']'))
			err = -EBADMSG;
		break;
	default:
		return -EBADMSG;
	}
	if (err)
		return err;
	json_space(&at);
	return at.p == at.end ? 0 : -EBADMSG;
}
