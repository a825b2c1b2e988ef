/* SPDX-License-Identifier: Apache-2.0 */
#include "output/json_walk.h"

#include <errno.h>
#include <stdint.h>

struct walk {
	const char *at, *end;
	json_walk_fn fn;
	void *arg;
	char path[JSON_WALK_PATH];
	size_t path_len;
	bool is_long; /* the path does not fit: its values are not told */
};

static void skip_blanks(struct walk *w)
{
	while (w->at < w->end &&
	       (*w->at == ' ' || *w->at == '\t' || *w->at == '\n' || *w->at == '\r'))
		w->at++;
}

/* Behind the character c, or not. */
static bool take(struct walk *w, char c)
{
	skip_blanks(w);
	if (w->at == w->end || *w->at != c)
		return false;
	w->at++;
	return true;
}

/* The opening quote is taken. */
static bool take_string(struct walk *w, struct slice *ret)
{
	const char *start = w->at, *p = start, *quote;
	size_t slashes;

	for (;;) {
		quote = memchr(p, '"', (size_t)(w->end - p));
		if (!quote)
			return false;
		for (slashes = 0;
		     quote - slashes > start && quote[-1 - (ptrdiff_t)slashes] == '\\';)
			slashes++;
		if (slashes % 2 == 0)
			break;
		p = quote + 1;
	}
	*ret = (struct slice){ start, (size_t)(quote - start) };
	w->at = quote + 1;
	return true;
}

static bool take_word(struct walk *w, struct slice *ret)
{
	const char *start = w->at;

	while (w->at < w->end &&
	       ((*w->at >= '0' && *w->at <= '9') || (*w->at >= 'a' && *w->at <= 'z') ||
		*w->at == '-' || *w->at == '+' || *w->at == '.' || *w->at == 'E'))
		w->at++;
	*ret = (struct slice){ start, (size_t)(w->at - start) };
	return ret->len > 0;
}

static bool take_value(struct walk *w, int depth);

static bool take_member(struct walk *w, int depth)
{
	size_t len = w->path_len;
	bool was_long = w->is_long, good;
	struct slice key;

	if (!take(w, '"') || !take_string(w, &key) || !take(w, ':'))
		return false;
	if (len + key.len + 1 > sizeof(w->path)) {
		w->is_long = true;
	} else {
		if (len)
			w->path[w->path_len++] = '.';
		memcpy(w->path + w->path_len, key.p, key.len);
		w->path_len += key.len;
	}
	good = take_value(w, depth);
	w->path_len = len;
	w->is_long = was_long;
	return good;
}

static bool take_members(struct walk *w, char end, int depth)
{
	if (depth == JSON_WALK_DEPTH)
		return false;
	if (take(w, end))
		return true;
	do {
		if (!(end == '}' ? take_member(w, depth + 1) : take_value(w, depth + 1)))
			return false;
	} while (take(w, ','));
	return take(w, end);
}

static bool take_value(struct walk *w, int depth)
{
	struct slice raw;
	bool is_string;

	if (take(w, '{'))
		return take_members(w, '}', depth);
	if (take(w, '['))
		return take_members(w, ']', depth);
	is_string = take(w, '"');
	if (!(is_string ? take_string(w, &raw) : take_word(w, &raw)))
		return false;
	if (!w->is_long)
		w->fn(w->arg, (struct slice){ w->path, w->path_len }, is_string, raw);
	return true;
}

int json_walk(struct slice text, json_walk_fn fn, void *arg)
{
	struct walk w = { .at = text.p, .end = text.p + text.len, .fn = fn, .arg = arg };

	if (!text.len || !take(&w, '{') || !take_members(&w, '}', 0))
		return -EBADMSG;
	skip_blanks(&w);
	return w.at == w.end ? 0 : -EBADMSG;
}

/* ------------------------------------------------------------------ strings */

static int hex4(const char *p, const char *end, uint32_t *ret)
{
	uint32_t v = 0;

	if (end - p < 4)
		return -EBADMSG;
	for (int i = 0; i < 4; i++) {
		char c = p[i];

		if (c >= '0' && c <= '9')
			v = v * 16 + (uint32_t)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			v = v * 16 + (uint32_t)((c | 0x20) - 'a' + 10);
		else
			return -EBADMSG;
	}
	*ret = v;
	return 0;
}

static size_t put_utf8(uint32_t c, char out[static 4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* The character behind a backslash: its bytes to out, its end in the text is returned. */
static const char *unescape_one(const char *p, const char *end, char out[static 4], size_t *ret_len)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	const char *found;
	uint32_t c, low;

	*ret_len = 1;
	if (*p != 'u') {
		found = memchr(from, *p, sizeof(from) - 1);
		out[0] = found ? to[found - from] : *p;
		return p + 1;
	}
	if (hex4(p + 1, end, &c) < 0) {
		out[0] = 'u';
		return p + 1;
	}
	p += 5;
	if (c >= 0xd800 && c < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' &&
	    hex4(p + 2, end, &low) == 0 && low >= 0xdc00 && low < 0xe000) {
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		p += 6;
	} else if (c >= 0xd800 && c < 0xe000) {
		c = 0xfffd; /* half of a pair is no character */
	}
	*ret_len = put_utf8(c, out);
	return p;
}

/* The bytes of the UTF-8 character at p, as its first byte tells. */
static size_t utf8_len(const char *p, const char *end)
{
	unsigned char c = (unsigned char)*p;
	size_t n = c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

	return n <= (size_t)(end - p) ? n : (size_t)(end - p);
}

size_t json_unescape(struct slice raw, char *dst, size_t size)
{
	const char *p = raw.p, *end = raw.p + raw.len, *from;
	size_t len = 0, n;
	char out[4];

	while (p < end) {
		if (*p == '\\' && p + 1 < end) {
			p = unescape_one(p + 1, end, out, &n);
			from = out;
		} else {
			n = utf8_len(p, end);
			from = p;
			p += n;
		}
		if (n > size - len)
			break;
		memcpy(dst + len, from, n);
		len += n;
	}
	return len;
}
