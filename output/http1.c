/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "output/http1.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

bool http1_is_clean(const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++)
		if (*p <= ' ' || *p >= 0x7f)
			return false;
	return true;
}

int http1_append_request(struct buf *b, const struct http1_request *r)
{
	bool v6 = strchr(r->host, ':') != NULL;
	char port[8] = "";

	if (r->port != r->default_port)
		snprintf(port, sizeof(port), ":%u", r->port);
	return buf_printf(b,
			  "%s %s HTTP/1.1\r\n"
			  "Host: %s%s%s%s\r\n"
			  "User-Agent: sekoia-ebpf/" SEKOIA_VERSION "\r\n"
			  "Content-Type: %s\r\n"
			  "%s%s%s"
			  "Content-Length: %zu\r\n"
			  "\r\n",
			  r->method, r->path, v6 ? "[" : "", r->host, v6 ? "]" : "", port,
			  r->content_type, r->content_encoding ? "Content-Encoding: " : "",
			  r->content_encoding ? r->content_encoding : "",
			  r->content_encoding ? "\r\n" : "", r->content_length);
}

/* ------------------------------------------------------------------ words */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_word(struct slice s, const char *word)
{
	return s.len == strlen(word) && strncasecmp(s.p, word, s.len) == 0;
}

static struct slice trim(struct slice s)
{
	while (s.len && (s.p[0] == ' ' || s.p[0] == '\t')) {
		s.p++;
		s.len--;
	}
	while (s.len && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* The next member of a comma-separated list; false at its end. */
static bool next_member(struct slice *list, struct slice *ret)
{
	const char *comma;

	if (!list->len)
		return false;
	comma = memchr(list->p, ',', list->len);
	ret->p = list->p;
	ret->len = comma ? (size_t)(comma - list->p) : list->len;
	list->p += ret->len + (comma ? 1 : 0);
	list->len -= ret->len + (comma ? 1 : 0);
	*ret = trim(*ret);
	return true;
}

static int parse_u64(struct slice s, uint64_t *ret)
{
	uint64_t value = 0;

	if (!s.len || s.len > 18)
		return -EBADMSG;
	for (size_t i = 0; i < s.len; i++) {
		if (!is_digit(s.p[i]))
			return -EBADMSG;
		value = value * 10 + (uint64_t)(s.p[i] - '0');
	}
	*ret = value;
	return 0;
}

/* ------------------------------------------------------------------ dates */

static int month_of(struct slice s)
{
	static const char names[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

	for (int i = 0; i < 12; i++)
		if (slice_is(s, names[i]))
			return i + 1;
	return 0;
}

/* HH:MM:SS as seconds, or -1. */
static int seconds_of(struct slice s)
{
	int v[3];

	if (s.len != 8 || s.p[2] != ':' || s.p[5] != ':')
		return -1;
	for (int i = 0; i < 3; i++) {
		if (!is_digit(s.p[3 * i]) || !is_digit(s.p[3 * i + 1]))
			return -1;
		v[i] = (s.p[3 * i] - '0') * 10 + (s.p[3 * i + 1] - '0');
	}
	if (v[0] > 23 || v[1] > 59 || v[2] > 60)
		return -1;
	return v[0] * 3600 + v[1] * 60 + v[2];
}

/* Counted from 1 March, so that the leap day is the last of a year. */
static uint64_t days_of(uint64_t year, unsigned month, unsigned day)
{
	uint64_t y = month > 2 ? year : year - 1;
	unsigned m = month > 2 ? month - 3 : month + 9;

	return y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

int http1_parse_date(struct slice text, uint64_t *ret)
{
	uint64_t day = 0, year = 0, number;
	int month = 0, seconds = -1, m, s;
	size_t i = 0, start;

	/*
	 *   Sun, 06 Nov 1994 08:49:37 GMT
	 *   Sunday, 06-Nov-94 08:49:37 GMT
	 *   Sun Nov  6 08:49:37 1994
	 * In all of them the first number is the day and the second the year.
	 */
	while (i < text.len) {
		struct slice word;

		if (text.p[i] == ' ' || text.p[i] == ',' || text.p[i] == '-') {
			i++;
			continue;
		}
		for (start = i; i < text.len && !memchr(" ,-", text.p[i], 3); i++)
			;
		word = (struct slice){ text.p + start, i - start };
		m = month_of(word);
		s = seconds_of(word);
		if (m && !month) {
			month = m;
		} else if (s >= 0 && seconds < 0) {
			seconds = s;
		} else if (word.len <= 4 && parse_u64(word, &number) == 0) {
			if (!day) {
				day = number;
			} else if (!year) {
				/* Two digits: no date of ours is older than 1970. */
				year = word.len > 2 ? number : number + (number < 70 ? 2000 : 1900);
			} else {
				return -EBADMSG;
			}
		}
	}
	if (day < 1 || day > 31 || !month || seconds < 0 || year < 1970)
		return -EBADMSG;
	*ret = days_of(year, (unsigned)month, (unsigned)day) * 86400 + (uint64_t)seconds;
	return 0;
}

/* ------------------------------------------------------------------ answers */

static int on_status_line(struct http1_response *r, struct slice line)
{
	/* "HTTP/1.1 200 OK"; the reason may be missing, with or without its space. */
	if (line.len < 12 || memcmp(line.p, "HTTP/1.", 7) != 0 || !is_digit(line.p[7]) ||
	    line.p[8] != ' ' || (line.len > 12 && line.p[12] != ' '))
		return -EBADMSG;
	if (!is_digit(line.p[9]) || !is_digit(line.p[10]) || !is_digit(line.p[11]))
		return -EBADMSG;
	r->status = (line.p[9] - '0') * 100 + (line.p[10] - '0') * 10 + (line.p[11] - '0');
	if (r->status < 100 || r->status > 599)
		return -EBADMSG;
	r->keep_alive = line.p[7] != '0';
	r->state = HTTP1_HEADERS;
	return 0;
}

static int on_header(struct http1_response *r, struct slice line)
{
	const char *colon = memchr(line.p, ':', line.len);
	struct slice name, value, member;
	uint64_t number;

	/* RFC 9112, 5.1 and 5.2: no space before the colon, no folded lines. */
	if (!colon || colon == line.p || memchr(line.p, ' ', (size_t)(colon - line.p)) ||
	    memchr(line.p, '\t', (size_t)(colon - line.p)))
		return -EBADMSG;
	name = (struct slice){ line.p, (size_t)(colon - line.p) };
	value = trim((struct slice){ colon + 1, line.len - name.len - 1 });

	if (is_word(name, "content-length")) {
		if (parse_u64(value, &number) < 0 || (r->has_length && r->left != number))
			return -EBADMSG;
		r->has_length = true;
		r->left = number;
	} else if (is_word(name, "transfer-encoding")) {
		/* We never asked for another one. */
		if (!is_word(value, "chunked") || r->chunked)
			return -EBADMSG;
		r->chunked = true;
	} else if (is_word(name, "connection")) {
		while (next_member(&value, &member)) {
			if (is_word(member, "close"))
				r->keep_alive = false;
			else if (is_word(member, "keep-alive"))
				r->keep_alive = true;
		}
	} else if (is_word(name, "retry-after")) {
		if (parse_u64(value, &number) == 0)
			r->retry_after_s = number;
		else if (http1_parse_date(value, &number) == 0)
			r->retry_date_s = number;
	} else if (is_word(name, "date")) {
		if (http1_parse_date(value, &number) == 0)
			r->date_s = number;
	}
	return 0;
}

static int on_head_end(struct http1_response *r)
{
	if (r->status < 200) {
		/* RFC 9110, 15.2: any number of these may come first. 101 we never asked for. */
		uint32_t head_bytes = r->head_bytes;

		if (r->status == 101)
			return -EBADMSG;
		*r = (struct http1_response){ .head_bytes = head_bytes };
		return 0;
	}
	/* The peer's own clock on both sides: ours may be wrong. */
	if (r->retry_date_s && r->date_s && r->retry_date_s > r->date_s)
		r->retry_after_s = r->retry_date_s - r->date_s;
	if (r->status == 204 || r->status == 304) {
		r->state = HTTP1_DONE;
	} else if (r->chunked) {
		/* RFC 9112, 6.3: a length beside it is an attack or a mistake. */
		if (r->has_length)
			return -EBADMSG;
		r->state = HTTP1_CHUNK_SIZE;
	} else if (r->has_length) {
		r->state = r->left ? HTTP1_BODY : HTTP1_DONE;
	} else {
		r->keep_alive = false;
		r->state = HTTP1_BODY_TO_EOF;
	}
	return 0;
}

static int on_chunk_size(struct http1_response *r, struct slice line)
{
	uint64_t size = 0;
	size_t i;

	for (i = 0; i < line.len; i++) {
		char c = line.p[i] | 0x20;
		unsigned digit;

		if (is_digit(line.p[i]))
			digit = (unsigned)(line.p[i] - '0');
		else if (c >= 'a' && c <= 'f')
			digit = (unsigned)(c - 'a') + 10;
		else
			break;
		if (i >= 15)
			return -EBADMSG;
		size = size * 16 + digit;
	}
	/* Extensions are allowed, and mean nothing to us. */
	if (!i || (i < line.len && !memchr("; \t", line.p[i], 3)))
		return -EBADMSG;
	r->left = size;
	r->state = size ? HTTP1_CHUNK_DATA : HTTP1_TRAILERS;
	return 0;
}

static int on_line(struct http1_response *r, struct slice line)
{
	switch (r->state) {
	case HTTP1_STATUS:
		return on_status_line(r, line);
	case HTTP1_HEADERS:
		return line.len ? on_header(r, line) : on_head_end(r);
	case HTTP1_CHUNK_SIZE:
		return on_chunk_size(r, line);
	case HTTP1_CHUNK_END:
		if (line.len)
			return -EBADMSG;
		r->state = HTTP1_CHUNK_SIZE;
		return 0;
	default: /* HTTP1_TRAILERS */
		if (!line.len)
			r->state = HTTP1_DONE;
		return 0;
	}
}

ssize_t http1_parse(struct http1_response *r, struct slice in, struct slice *body)
{
	const char *lf;
	size_t n;
	int err;

	*body = (struct slice){ 0 };
	if (!in.len || r->state == HTTP1_DONE)
		return 0;
	if (r->state == HTTP1_BODY_TO_EOF) {
		*body = in;
		return (ssize_t)in.len;
	}
	if (r->state == HTTP1_BODY || r->state == HTTP1_CHUNK_DATA) {
		n = in.len < r->left ? in.len : (size_t)r->left;
		*body = (struct slice){ in.p, n };
		r->left -= n;
		if (!r->left)
			r->state = r->state == HTTP1_BODY ? HTTP1_DONE : HTTP1_CHUNK_END;
		return (ssize_t)n;
	}

	lf = memchr(in.p, '\n', in.len < HTTP1_LINE_MAX ? in.len : HTTP1_LINE_MAX);
	if (!lf)
		return in.len < HTTP1_LINE_MAX ? 0 : -EBADMSG;
	n = (size_t)(lf - in.p) + 1;
	if (r->state == HTTP1_STATUS || r->state == HTTP1_HEADERS || r->state == HTTP1_TRAILERS) {
		r->head_bytes += (uint32_t)n;
		if (r->head_bytes > HTTP1_HEAD_MAX)
			return -EBADMSG;
	}
	in.len = n - 1;
	if (in.len && in.p[in.len - 1] == '\r')
		in.len--;
	err = on_line(r, in);
	return err ? err : (ssize_t)n;
}

int http1_parse_eof(struct http1_response *r)
{
	if (r->state != HTTP1_BODY_TO_EOF && r->state != HTTP1_DONE)
		return -EBADMSG;
	r->state = HTTP1_DONE;
	return 0;
}
