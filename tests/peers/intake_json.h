/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads JSON (RFC 8259) in place and without allocation: checks a text, finds
 * event.id in it, walks over arrays and objects. Strict, UTF-8 included: what
 * a sender writes must be right, not almost right. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "user/util/slice.h"

#define JSON_MAX_DEPTH 64

/* A position in a text. p is NULL once the text has turned out to be wrong. */
struct json_at {
	const char *p, *end;
	struct slice event_id; /* event.id or "event.id" of the outermost object */
};

/* What a string literal holds: escapes and all, between the quotes. */
struct json_text {
	struct slice raw;
	bool escaped;
};

static inline bool json_fail(struct json_at *at)
{
	at->p = NULL;
	return false;
}

static inline void json_space(struct json_at *at)
{
	while (at->p < at->end &&
	       (*at->p == ' ' || *at->p == '\n' || *at->p == '\r' || *at->p == '\t'))
		at->p++;
}

/* Steps over c, and over the space before it. */
static inline bool json_take(struct json_at *at, char c)
{
	json_space(at);
	if (at->p == at->end || *at->p != c)
		return false;
	at->p++;
	return true;
}

/* The length of the UTF-8 sequence at p (RFC 3629, 4), or 0. */
static size_t json_utf8_len(const unsigned char *p, const unsigned char *end)
{
	size_t n = p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

	if (!n || (size_t)(end - p) < n)
		return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

static inline int json_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool json_hex4(const char *p, const char *end, uint32_t *ret)
{
	uint32_t v = 0;

	if (end - p < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		int digit = json_hex(p[i]);

		if (digit < 0)
			return false;
		v = v << 4 | (uint32_t)digit;
	}
	*ret = v;
	return true;
}

/*
 * How many of the eight bytes at p have no meaning in a string: neither '"' nor
 * '\\', nor below 0x20, nor above 0x7f. A borrow can only mark a byte above one
 * that is marked rightly, so the lowest mark is exact.
 */
static inline unsigned json_plain_bytes(const char *p)
{
	const uint64_t ones = 0x0101010101010101ull, high = 0x8080808080808080ull;
	uint64_t w, marks;

	memcpy(&w, p, sizeof(w));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	w = __builtin_bswap64(w);
#endif
	marks = (((w ^ ones * '"') - ones) | ((w ^ ones * '\\') - ones) | (w - ones * 0x20) | w) &
		high;
	return marks ? (unsigned)__builtin_ctzll(marks) / 8 : 8;
}

/* at is behind the opening quote; leaves it behind the closing one. */
static bool json_string_rest(struct json_at *at, struct json_text *ret)
{
	const char *p = at->p, *end = at->end;

	*ret = (struct json_text){ .raw.p = p };
	for (;;) {
		while (end - p >= 8) {
			unsigned n = json_plain_bytes(p);

			p += n;
			if (n < 8)
				break;
		}
		if (p == end || (unsigned char)*p < 0x20)
			return json_fail(at);
		if (*p == '"')
			break;
		if (*p == '\\') {
			uint32_t unused;

			ret->escaped = true;
			if (++p == end)
				return json_fail(at);
			if (*p == 'u') {
				if (!json_hex4(p + 1, end, &unused))
					return json_fail(at);
				p += 4;
			} else if (!strchr("\"\\/bfnrt", *p) || !*p) {
				return json_fail(at);
			}
			p++;
		} else if ((unsigned char)*p >= 0x80) {
			size_t n =
				json_utf8_len((const unsigned char *)p, (const unsigned char *)end);

			if (!n)
				return json_fail(at);
			p += n;
		} else {
			p++;
		}
	}
	ret->raw.len = (size_t)(p - ret->raw.p);
	at->p = p + 1;
	return true;
}

static inline bool json_string(struct json_at *at, struct json_text *ret)
{
	return json_take(at, '"') ? json_string_rest(at, ret) : json_fail(at);
}

static bool json_digits(struct json_at *at)
{
	const char *p = at->p;

	while (at->p < at->end && *at->p >= '0' && *at->p <= '9')
		at->p++;
	return at->p > p;
}

static bool json_number(struct json_at *at)
{
	bool zero;

	if (*at->p == '-')
		at->p++;
	zero = at->p < at->end && *at->p == '0';
	if (zero)
		at->p++;
	else if (!json_digits(at))
		return json_fail(at);
	if (at->p < at->end && *at->p == '.') {
		at->p++;
		if (!json_digits(at))
			return json_fail(at);
	}
	if (at->p < at->end && (*at->p | 0x20) == 'e') {
		at->p++;
		if (at->p < at->end && (*at->p == '+' || *at->p == '-'))
			at->p++;
		if (!json_digits(at))
			return json_fail(at);
	}
	return true;
}

static bool json_word(struct json_at *at, struct slice word)
{
	if ((size_t)(at->end - at->p) < word.len || memcmp(at->p, word.p, word.len) != 0)
		return json_fail(at);
	at->p += word.len;
	return true;
}

/*
 * Steps over one value. depth is 0 for the outermost one; in_event says that
 * it is the value of the outermost object's "event".
 */
static bool json_skip(struct json_at *at, int depth, bool in_event)
{
	struct json_text key, text;

	json_space(at);
	if (at->p == at->end || depth > JSON_MAX_DEPTH)
		return json_fail(at);
	switch (*at->p) {
	case '"':
		at->p++;
		return json_string_rest(at, &text);
	case '{':
		at->p++;
		if (json_take(at, '}'))
			return true;
		do {
			bool is_id;

			if (!json_string(at, &key) || !json_take(at, ':'))
				return json_fail(at);
			is_id = (in_event && slice_is(key.raw, "id")) ||
				(!depth && slice_is(key.raw, "event.id"));
			json_space(at);
			if (is_id && at->p < at->end && *at->p == '"') {
				at->p++;
				if (!json_string_rest(at, &text))
					return false;
				at->event_id = text.raw;
			} else if (!json_skip(at, depth + 1,
					      !depth && slice_is(key.raw, "event"))) {
				return false;
			}
		} while (json_take(at, ','));
		return json_take(at, '}') || json_fail(at);
	case '[':
		at->p++;
		if (json_take(at, ']'))
			return true;
		do {
			if (!json_skip(at, depth + 1, false))
				return false;
		} while (json_take(at, ','));
		return json_take(at, ']') || json_fail(at);
	case 't':
		return json_word(at, SLICE("true"));
	case 'f':
		return json_word(at, SLICE("false"));
	case 'n':
		return json_word(at, SLICE("null"));
	default:
		return json_number(at);
	}
}

/* Is all of it one JSON value? *ret_id is its event.id, or empty. */
static bool json_check(struct slice text, struct slice *ret_id)
{
	struct json_at at = { .p = text.p, .end = text.p + text.len };

	*ret_id = (struct slice){ 0 };
	if (!json_skip(&at, 0, false))
		return false;
	json_space(&at);
	*ret_id = at.event_id;
	return at.p == at.end;
}

static size_t json_put_utf8(char *dst, uint32_t c)
{
	if (c < 0x80) {
		dst[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		dst[0] = (char)(0xc0 | c >> 6);
		dst[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		dst[0] = (char)(0xe0 | c >> 12);
		dst[1] = (char)(0x80 | (c >> 6 & 0x3f));
		dst[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	dst[0] = (char)(0xf0 | c >> 18);
	dst[1] = (char)(0x80 | (c >> 12 & 0x3f));
	dst[2] = (char)(0x80 | (c >> 6 & 0x3f));
	dst[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* raw has passed json_string(). dst has room for raw.len bytes. Returns the length. */
static size_t json_unescape(char *dst, struct slice raw)
{
	const char *p = raw.p, *end = raw.p + raw.len;
	char *start = dst;

	while (p < end) {
		const char *slash = memchr(p, '\\', (size_t)(end - p));
		size_t n = (size_t)((slash ? slash : end) - p);
		uint32_t c, low;

		memcpy(dst, p, n);
		dst += n;
		p += n;
		if (!slash)
			break;
		p++;
		switch (*p++) {
		case 'b':
			*dst++ = '\b';
			break;
		case 'f':
			*dst++ = '\f';
			break;
		case 'n':
			*dst++ = '\n';
			break;
		case 'r':
			*dst++ = '\r';
			break;
		case 't':
			*dst++ = '\t';
			break;
		case 'u':
			json_hex4(p, end, &c);
			p += 4;
			if (c >= 0xd800 && c < 0xdc00 && end - p >= 6 && p[0] == '\\' &&
			    p[1] == 'u' && json_hex4(p + 2, end, &low) && low >= 0xdc00 &&
			    low < 0xe000) {
				c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
				p += 6;
			} else if (c >= 0xd800 && c < 0xe000) {
				c = 0xfffd;
			}
			dst += json_put_utf8(dst, c);
			break;
		default:
			*dst++ = p[-1];
			break;
		}
	}
	return (size_t)(dst - start);
}
