/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes JSON (RFC 8259) into a fixed buffer, with no allocation: the hot path
 * of every record. The writer keeps commas and nesting; the caller keeps the
 * order. When the buffer is full the writer stops and says so at the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "user/util/slice.h"

struct json_writer {
	char *start, *at, *end;
	bool comma; /* the next member needs one before it */
	bool full;  /* something did not fit: the text is not valid JSON */
};

void json_init(struct json_writer *w, char *buf, size_t size);

/* The length of the text, or 0 when it did not fit. It is not terminated. */
size_t json_len(const struct json_writer *w);

/* Keys are literals of ours and are not escaped. A NULL key is for array items. */
void json_object(struct json_writer *w, const char *key);
void json_object_end(struct json_writer *w);
void json_array(struct json_writer *w, const char *key);
void json_array_end(struct json_writer *w);

void json_u64(struct json_writer *w, const char *key, uint64_t value);

/*
 * Any bytes: escaped as RFC 8259, 7 asks; bytes that are not UTF-8 (RFC 3629)
 * become U+FFFD, one for each maximal ill-formed part.
 */
void json_str(struct json_writer *w, const char *key, const char *text);
void json_slice(struct json_writer *w, const char *key, struct slice text);

/* A string value that the caller knows to need no escape: numbers, addresses, dates. */
void json_plain(struct json_writer *w, const char *key, const char *text, size_t len);

/* RFC 3339 in UTC with six decimals, from microseconds since the epoch. */
void json_time_us(struct json_writer *w, const char *key, uint64_t real_us);

/* A member whose value the caller writes next, as it stands, with json_raw(). */
void json_key(struct json_writer *w, const char *key);
void json_raw(struct json_writer *w, const char *text, size_t len);

/*
 * The escape itself, for those who build a JSON string in a buffer of their own.
 * Writes the escaped form of text, without quotes; *ret is one past the last
 * byte written. Needs up to JSON_ESCAPE_MAX bytes per byte of text: -ENOBUFS
 * when dst is too small, and then nothing is promised about its content.
 */
#define JSON_ESCAPE_MAX 6
int json_escape(char *dst, size_t dst_size, struct slice text, char **ret);

/*
 * The same for a JSON string that is to stand inside another JSON string: what
 * json_escape() of json_escape() would give, in one pass.
 */
#define JSON_ESCAPE_TWICE_MAX 7
int json_escape_twice(char *dst, size_t dst_size, struct slice text, char **ret);
