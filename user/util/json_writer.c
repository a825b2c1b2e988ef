/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/util/json_writer.h"

#include <errno.h>
#include <string.h>

#include "user/util/clock.h"

void json_init(struct json_writer *w, char *buf, size_t size)
{
	*w = (struct json_writer){ .start = buf, .at = buf, .end = buf + size };
}

size_t json_len(const struct json_writer *w)
{
	return w->full ? 0 : (size_t)(w->at - w->start);
}

void json_raw(struct json_writer *w, const char *text, size_t len)
{
	if (len > (size_t)(w->end - w->at)) {
		w->full = true;
		w->end = w->at; /* nothing shorter may slip in behind it */
		return;
	}
	memcpy(w->at, text, len);
	w->at += len;
}

void json_key(struct json_writer *w, const char *key)
{
	if (w->comma)
		json_raw(w, ",", 1);
	w->comma = true;
	if (key) {
		json_raw(w, "\"", 1);
		json_raw(w, key, strlen(key));
		json_raw(w, "\":", 2);
	}
}

void json_object(struct json_writer *w, const char *key)
{
	json_key(w, key);
	json_raw(w, "{", 1);
	w->comma = false;
}

void json_object_end(struct json_writer *w)
{
	json_raw(w, "}", 1);
	w->comma = true;
}

void json_array(struct json_writer *w, const char *key)
{
	json_key(w, key);
	json_raw(w, "[", 1);
	w->comma = false;
}

void json_array_end(struct json_writer *w)
{
	json_raw(w, "]", 1);
	w->comma = true;
}

void json_u64(struct json_writer *w, const char *key, uint64_t value)
{
	char digits[20], *at = digits + sizeof(digits);

	do {
		*--at = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	json_key(w, key);
	json_raw(w, at, (size_t)(digits + sizeof(digits) - at));
}

/*
 * What a byte needs inside a JSON string: 0 nothing, 1 a six-byte \u00XX,
 * 'n' 't' '"'… a two-byte escape, 2 a look at UTF-8.
 */
static const unsigned char escape_class[256] = {
	[0x00 ... 0x07] = 1, ['\b'] = 'b', ['\t'] = 't',	['\n'] = 'n',
	[0x0b] = 1,	     ['\f'] = 'f', ['\r'] = 'r',	['"'] = '"',
	['\\'] = '\\',	     [0x7f] = 1,   [0x0e ... 0x1f] = 1, [0x80 ... 0xff] = 2,
};

/* The length of the well-formed UTF-8 sequence at p (RFC 3629, 4), or 0. */
static size_t utf8_len(const unsigned char *p, const unsigned char *end, size_t *ill_formed)
{
	unsigned char lo = 0x80, hi = 0xbf;
	size_t n, i;

	*ill_formed = 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		n = 2;
	} else if (p[0] >= 0xe0 && p[0] <= 0xef) {
		n = 3;
		if (p[0] == 0xe0)
			lo = 0xa0;
		if (p[0] == 0xed)
			hi = 0x9f; /* surrogates */
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		n = 4;
		if (p[0] == 0xf0)
			lo = 0x90;
		if (p[0] == 0xf4)
			hi = 0x8f;
	} else {
		return 0;
	}
	for (i = 1; i < n; i++) {
		if (p + i >= end || p[i] < lo || p[i] > hi) {
			*ill_formed = i;
			return 0;
		}
		lo = 0x80;
		hi = 0xbf;
	}
	return n;
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define PLAIN_STEP 8
/*
 * How many of the 8 bytes at p stand for themselves, from the first one on.
 * Bytes are compared in their lanes of one word; a borrow or carry only spoils
 * lanes behind one that has already been found.
 */
static inline unsigned plain_bytes(const unsigned char *p)
{
	const uint64_t ones = 0x0101010101010101, high = ones << 7;
	uint64_t x, quote, backslash, control, above, found;

	memcpy(&x, p, sizeof(x));
	quote = x ^ (ones * '"');
	backslash = x ^ (ones * '\\');
	quote = (quote - ones) & ~quote;
	backslash = (backslash - ones) & ~backslash;
	control = (x - ones * 0x20) & ~x;
	above = (x + ones) | x; /* 0x7f and all that is not ASCII */
	found = (quote | backslash | control | above) & high;
	return found ? (unsigned)__builtin_ctzll(found) / 8 : 8;
}
#else
#define PLAIN_STEP SIZE_MAX
static inline unsigned plain_bytes(const unsigned char *p)
{
	(void)p;
	return 0;
}
#endif

/* In a string inside a string each backslash is escaped, and so is each quote. */
static inline __attribute__((always_inline)) int escape(char *dst, size_t dst_size,
							struct slice text, bool twice, char **ret)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *p = (const unsigned char *)text.p;
	const unsigned char *end = text.len ? p + text.len : p;
	char *out = dst, *out_end = dst + dst_size;
	size_t n, skip;

	while (p < end) {
		if ((size_t)(end - p) >= PLAIN_STEP && (size_t)(out_end - out) >= PLAIN_STEP) {
			/* Quotes are near each other in JSON: a copy of what it takes costs less.
			 */
			n = plain_bytes(p);
			memcpy(out, p, 8);
			out += n;
			p += n;
			if (n == 8)
				continue;
		} else if (!escape_class[*p]) {
			if (out == out_end)
				return -ENOBUFS;
			*out++ = (char)*p++;
			continue;
		}
		if (out_end - out < (twice ? JSON_ESCAPE_TWICE_MAX : JSON_ESCAPE_MAX))
			return -ENOBUFS;
		switch (escape_class[*p]) {
		case 1:
			if (twice)
				*out++ = '\\';
			memcpy(out, "\\u00", 4);
			out[4] = hex[*p >> 4];
			out[5] = hex[*p & 15];
			out += 6;
			p++;
			break;
		case 2:
			n = utf8_len(p, end, &skip);
			if (n) {
				memcpy(out, p, n);
				out += n;
				p += n;
			} else {
				memcpy(out, "\xef\xbf\xbd", 3);
				out += 3;
				p += skip;
			}
			break;
		default:
			*out++ = '\\';
			if (twice) {
				*out++ = '\\';
				if (*p == '"' || *p == '\\')
					*out++ = '\\';
			}
			*out++ = (char)escape_class[*p++];
			break;
		}
	}
	*ret = out;
	return 0;
}

int json_escape(char *dst, size_t dst_size, struct slice text, char **ret)
{
	return escape(dst, dst_size, text, false, ret);
}

int json_escape_twice(char *dst, size_t dst_size, struct slice text, char **ret)
{
	return escape(dst, dst_size, text, true, ret);
}

void json_slice(struct json_writer *w, const char *key, struct slice text)
{
	char *at;

	json_key(w, key);
	json_raw(w, "\"", 1);
	if (w->full)
		return;
	if (json_escape(w->at, (size_t)(w->end - w->at), text, &at) < 0) {
		w->full = true;
		w->end = w->at;
		return;
	}
	w->at = at;
	json_raw(w, "\"", 1);
}

void json_str(struct json_writer *w, const char *key, const char *text)
{
	json_slice(w, key, slice_of(text));
}

void json_plain(struct json_writer *w, const char *key, const char *text, size_t len)
{
	json_key(w, key);
	json_raw(w, "\"", 1);
	json_raw(w, text, len);
	json_raw(w, "\"", 1);
}

void json_time_us(struct json_writer *w, const char *key, uint64_t real_us)
{
	char text[CLOCK_RFC3339_SIZE];
	size_t len = clock_format_rfc3339(real_us, text);

	json_plain(w, key, text, len);
}
