/* SPDX-License-Identifier: Apache-2.0 */
#include "user/util/json_reader.h"

#include <stdlib.h>
#include <string.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *skip_blanks(const char *p, const char *end)
{
	while (p < end && is_blank(*p))
		p++;
	return p;
}

/* Behind the string that begins at p, or NULL when it has no end. */
static const char *skip_string(const char *p, const char *end)
{
	for (p++; p < end; p++) {
		if (*p == '\\')
			p++;
		else if (*p == '"')
			return p + 1;
	}
	return NULL;
}

/* Behind the value, which is balanced; what is in it is not judged. NULL: it has no end. */
static const char *skip_value(const char *p, const char *end)
{
	size_t depth = 0;

	do {
		p = skip_blanks(p, end);
		if (p == end)
			return NULL;
		switch (*p) {
		case '"':
			p = skip_string(p, end);
			if (!p)
				return NULL;
			break;
		case '{':
		case '[':
			depth++;
			p++;
			break;
		case '}':
		case ']':
			if (!depth)
				return NULL;
			depth--;
			p++;
			break;
		case ',':
		case ':':
			if (!depth)
				return NULL;
			p++;
			break;
		default:
			while (p < end && !is_blank(*p) && !memchr(",:]}[{\"", *p, 7))
				p++;
		}
	} while (depth);
	return p;
}

/* The member of this key; where the values of the object begin is behind its brace. */
static bool find_member(struct slice json, struct slice key, struct slice *ret)
{
	const char *end = json.p + json.len, *p = skip_blanks(json.p, end);

	if (p == end || *p++ != '{')
		return false;
	for (;;) {
		const char *name, *value, *next;
		bool found;

		p = skip_blanks(p, end);
		if (p == end || *p != '"')
			return false;
		name = p + 1;
		p = skip_string(p, end);
		if (!p)
			return false;
		found = (size_t)(p - 1 - name) == key.len && !memcmp(name, key.p, key.len);
		p = skip_blanks(p, end);
		if (p == end || *p++ != ':')
			return false;
		value = skip_blanks(p, end);
		next = skip_value(value, end);
		/* The object of which we want a member may be cut off behind that. */
		if (found && (next || (value < end && *value == '{'))) {
			*ret = (struct slice){ value, (size_t)((next ? next : end) - value) };
			return true;
		}
		if (!next)
			return false;
		p = skip_blanks(next, end);
		if (p == end || *p++ != ',')
			return false;
	}
}

bool json_find(struct slice json, const char *path, struct slice *ret)
{
	struct slice at = json;

	if (!json.p)
		return false;
	for (;;) {
		size_t n = strcspn(path, ".");

		if (!find_member(at, (struct slice){ path, n }, &at))
			return false;
		path += n;
		if (!*path++)
			break;
	}
	*ret = at;
	return at.len > 0;
}

bool json_member(struct slice object, const char *key, struct slice *ret)
{
	return object.p && find_member(object, (struct slice){ key, strlen(key) }, ret);
}

bool json_next_item(struct slice *rest, struct slice *ret)
{
	const char *p, *next, *end;

	if (!rest->p)
		return false;
	end = rest->p + rest->len;
	p = skip_blanks(rest->p, end);
	/* The bracket, or what stands between two. */
	if (p == end || (*p != '[' && *p != ','))
		return false;
	p = skip_blanks(p + 1, end);
	if (p == end || *p == ']')
		return false;
	next = skip_value(p, end);
	if (!next || next == p)
		return false;
	*ret = (struct slice){ p, (size_t)(next - p) };
	*rest = (struct slice){ next, (size_t)(end - next) };
	return true;
}

/* ------------------------------------------------------------------ texts */

/* Four hex digits, or -1. */
static long hex4(const char *p, const char *end)
{
	long v = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = p[i];
		int digit = c >= '0' && c <= '9'   ? c - '0'
			    : c >= 'a' && c <= 'f' ? c - 'a' + 10
			    : c >= 'A' && c <= 'F' ? c - 'A' + 10
						   : -1;

		if (digit < 0)
			return -1;
		v = v << 4 | digit;
	}
	return v;
}

/* RFC 3629; a lone surrogate is U+FFFD. Returns how many bytes. */
static size_t put_utf8(unsigned long c, char ret[static 4])
{
	if (c >= 0xd800 && c < 0xe000)
		c = 0xfffd;
	if (c < 0x80) {
		ret[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		ret[0] = (char)(0xc0 | c >> 6);
		ret[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		ret[0] = (char)(0xe0 | c >> 12);
		ret[1] = (char)(0x80 | (c >> 6 & 0x3f));
		ret[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	ret[0] = (char)(0xf0 | c >> 18);
	ret[1] = (char)(0x80 | (c >> 12 & 0x3f));
	ret[2] = (char)(0x80 | (c >> 6 & 0x3f));
	ret[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* One escape behind its backslash; *p moves behind it. */
static size_t put_escape(const char **p, const char *end, char ret[static 4])
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at;
	long c, low;

	if (**p == 'u') {
		c = hex4(*p + 1, end);
		if (c < 0) {
			*p += 1;
			return put_utf8(0xfffd, ret);
		}
		*p += 5;
		if (c >= 0xd800 && c < 0xdc00 && end - *p >= 6 && (*p)[0] == '\\' &&
		    (*p)[1] == 'u') {
			low = hex4(*p + 2, end);
			if (low >= 0xdc00 && low < 0xe000) {
				*p += 6;
				c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
			}
		}
		return put_utf8((unsigned long)c, ret);
	}
	at = **p ? strchr(from, **p) : NULL;
	ret[0] = at ? to[at - from] : **p;
	*p += 1;
	return 1;
}

/* Not in the middle of a character. */
static size_t whole_characters(const char *text, size_t len)
{
	size_t n = len, lead;

	while (n && len - n < 3 && ((unsigned char)text[n - 1] & 0xc0) == 0x80)
		n--;
	if (!n || (unsigned char)text[n - 1] < 0xc0)
		return len;
	lead = (unsigned char)text[n - 1];
	return len - n + 1 < (lead >= 0xf0 ? 4u : lead >= 0xe0 ? 3u : 2u) ? n - 1 : len;
}

size_t json_text(struct slice value, char *ret, size_t size)
{
	const char *p = value.p, *end = value.p + value.len;
	size_t len = 0;

	if (!size)
		return 0;
	*ret = '\0';
	if (value.len && *p == '[') {
		const char *item = skip_blanks(p + 1, end), *next;

		next = item < end && *item != ']' ? skip_value(item, end) : NULL;
		if (!next || *item == '[')
			return 0;
		return json_text((struct slice){ item, (size_t)(next - item) }, ret, size);
	}
	if (!value.len || *p != '"') {
		len = value.len < size - 1 ? value.len : size - 1;
		if (len)
			memcpy(ret, p, len);
	} else {
		for (p++; p < end && *p != '"';) {
			char bytes[4] = { *p };
			size_t n = 1;

			if (*p != '\\')
				p++;
			else if (++p == end)
				break;
			else
				n = put_escape(&p, end, bytes);
			if (len + n > size - 1)
				break;
			memcpy(ret + len, bytes, n);
			len += n;
		}
	}
	len = len < value.len ? whole_characters(ret, len) : len;
	ret[len] = '\0';
	return len;
}

size_t json_find_text(struct slice json, const char *path, char *ret, size_t size)
{
	struct slice value;

	if (size)
		*ret = '\0';
	return json_find(json, path, &value) ? json_text(value, ret, size) : 0;
}

bool json_find_u64(struct slice json, const char *path, uint64_t *ret)
{
	struct slice value;
	uint64_t v = 0;

	if (!json_find(json, path, &value) || value.len > 20)
		return false;
	for (size_t i = 0; i < value.len; i++) {
		uint64_t digit = (uint64_t)(value.p[i] - '0');

		if (digit > 9 || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, digit, &v))
			return false;
	}
	*ret = v;
	return true;
}
