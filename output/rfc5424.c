/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "output/rfc5424.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "output/decimal.h"
#include "user/util/clock.h"

#define TIME_LEN     27 /* of clock_format_rfc3339() */
#define PRI_MAX	     191
#define PRI_FALLBACK 13 /* user.notice, as receivers assume (RFC 3164, 4.3.3) */
#define MSGID	     "LOG"
#define EVENT_START  "[event@53288 id=\""
#define META_START   "\"][meta sequenceId=\""

static bool is_print(unsigned char c)
{
	return c >= 33 && c <= 126;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* ------------------------------------------------------------------ writing */

static char *put(char *dst, const void *p, size_t n)
{
	memcpy(dst, p, n);
	return dst + n;
}

int rfc5424_sd_init(struct rfc5424_sd *sd, struct slice key)
{
	static const char start[] = "[SEKOIA@53288 intake_key=\"";
	char *at = sd->text;

	if (key.len > RFC5424_KEY_MAX)
		return -EMSGSIZE;
	at = put(at, start, sizeof(start) - 1);
	for (size_t i = 0; i < key.len; i++) {
		/* RFC 5424, 6.3.3: these three are escaped, and nothing else is. */
		if (key.p[i] == '"' || key.p[i] == '\\' || key.p[i] == ']')
			*at++ = '\\';
		*at++ = key.p[i];
	}
	at = put(at, "\"]", 2);
	sd->len = (size_t)(at - sd->text);
	return 0;
}

/* RFC 5424, 7.3.1: from 1 to 2147483647, then 1 again. */
static uint32_t sequence_id(const struct msg *m)
{
	return (uint32_t)((m->seq - 1) % 2147483647 + 1);
}

static unsigned pri_of(const struct msg *m)
{
	return m->pri > PRI_MAX ? PRI_FALLBACK : m->pri;
}

static size_t field_len(struct slice s, size_t max)
{
	return !s.len ? 1 : s.len > max ? max : s.len;
}

static char *put_field(char *dst, struct slice s, size_t max)
{
	size_t n = s.len > max ? max : s.len;

	if (!n) {
		*dst++ = '-';
	} else {
		for (size_t i = 0; i < n; i++)
			dst[i] = is_print((unsigned char)s.p[i]) ? s.p[i] : '_';
		dst += n;
	}
	*dst++ = ' ';
	return dst;
}

size_t rfc5424_len(const struct rfc5424_sd *sd, const struct msg *m)
{
	struct slice text = m->text.len ? m->text : m->json;
	size_t n = sizeof("<>1 ") - 1 + decimal_len(pri_of(m)) + TIME_LEN + 1;

	n += field_len(m->host, RFC5424_HOST_MAX) + 1;
	n += field_len(m->app, RFC5424_APP_MAX) + 1;
	n += field_len(m->procid, RFC5424_PROCID_MAX) + 1;
	n += sizeof(MSGID " ") - 1 + sd->len;
	if (m->text.len)
		n += sizeof(EVENT_START "-" META_START "\"]") - 1 + 16 + decimal_len(m->seq) +
		     decimal_len(sequence_id(m));
	return n + 1 + text.len;
}

char *rfc5424_encode(char *dst, const struct rfc5424_sd *sd, const struct msg *m)
{
	struct slice text = m->text.len ? m->text : m->json;

	*dst++ = '<';
	dst = decimal_put(dst, pri_of(m));
	dst = put(dst, ">1 ", 3);
	/* It ends in a NUL, which what follows overwrites. */
	dst += clock_format_rfc3339(m->time_us, dst);
	*dst++ = ' ';
	dst = put_field(dst, m->host, RFC5424_HOST_MAX);
	dst = put_field(dst, m->app, RFC5424_APP_MAX);
	dst = put_field(dst, m->procid, RFC5424_PROCID_MAX);
	dst = put(dst, MSGID " ", sizeof(MSGID " ") - 1);
	dst = put(dst, sd->text, sd->len);
	if (m->text.len) {
		dst = put(dst, EVENT_START, sizeof(EVENT_START) - 1);
		for (int shift = 60; shift >= 0; shift -= 4)
			*dst++ = "0123456789abcdef"[m->epoch >> shift & 15];
		*dst++ = '-';
		dst = decimal_put(dst, m->seq);
		dst = put(dst, META_START, sizeof(META_START) - 1);
		dst = decimal_put(dst, sequence_id(m));
		dst = put(dst, "\"]", 2);
	}
	*dst++ = ' ';
	if (text.len)
		dst = put(dst, text.p, text.len);
	return dst;
}

int rfc5424_append_counted(struct buf *b, const struct rfc5424_sd *sd, const struct msg *m,
			   size_t *ret_bytes)
{
	size_t len = rfc5424_len(sd, m), all = decimal_len(len) + 1 + len;
	char *at;
	int err;

	err = buf_reserve(b, all, &at);
	if (err)
		return err;
	at = decimal_put(at, len);
	*at++ = ' ';
	rfc5424_encode(at, sd, m);
	buf_added(b, all);
	*ret_bytes = all;
	return 0;
}

/* ------------------------------------------------------------------ reading */

struct cursor {
	const char *p, *end;
};

static bool take(struct cursor *c, char want)
{
	if (c->p == c->end || *c->p != want)
		return false;
	c->p++;
	return true;
}

/* n digits, and their value between lo and hi. */
static bool take_number(struct cursor *c, int n, int lo, int hi)
{
	int value = 0;

	while (n-- > 0) {
		if (c->p == c->end || !is_digit(*c->p))
			return false;
		value = value * 10 + (*c->p++ - '0');
	}
	return value >= lo && value <= hi;
}

/* 1 to max characters of PRINTUSASCII and the space behind them; "-" is empty. */
static bool take_field(struct cursor *c, size_t max, struct slice *ret)
{
	const char *start = c->p;

	while (c->p < c->end && is_print((unsigned char)*c->p))
		c->p++;
	*ret = (struct slice){ start, (size_t)(c->p - start) };
	if (!ret->len || ret->len > max || !take(c, ' '))
		return false;
	if (slice_is(*ret, "-"))
		ret->len = 0;
	return true;
}

static bool is_date(struct slice s)
{
	static const int days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	struct cursor c = { s.p, s.p + s.len };
	int month, digits = 0;

	if (!take_number(&c, 4, 0, 9999) || !take(&c, '-') || !take_number(&c, 2, 1, 12))
		return false;
	month = (c.p[-2] - '0') * 10 + (c.p[-1] - '0');
	if (!take(&c, '-') || !take_number(&c, 2, 1, days[month - 1]) || !take(&c, 'T'))
		return false;
	/* RFC 5424, 6.2.3: no leap seconds. */
	if (!take_number(&c, 2, 0, 23) || !take(&c, ':') || !take_number(&c, 2, 0, 59) ||
	    !take(&c, ':') || !take_number(&c, 2, 0, 59))
		return false;
	if (take(&c, '.')) {
		while (c.p < c.end && is_digit(*c.p)) {
			c.p++;
			digits++;
		}
		if (digits < 1 || digits > 6)
			return false;
	}
	if (!take(&c, 'Z')) {
		if (!take(&c, '+') && !take(&c, '-'))
			return false;
		if (!take_number(&c, 2, 0, 23) || !take(&c, ':') || !take_number(&c, 2, 0, 59))
			return false;
	}
	return c.p == c.end;
}

static bool take_sd_name(struct cursor *c, struct slice *ret)
{
	const char *start = c->p;

	while (c->p < c->end && is_print((unsigned char)*c->p) && *c->p != '=' && *c->p != ']' &&
	       *c->p != '"')
		c->p++;
	*ret = (struct slice){ start, (size_t)(c->p - start) };
	return ret->len >= 1 && ret->len <= 32;
}

/* What stands between the quotes, and the closing one. */
static bool take_sd_value(struct cursor *c, struct slice *ret)
{
	const char *start = c->p;

	for (; c->p < c->end; c->p++) {
		if (*c->p == '"') {
			*ret = (struct slice){ start, (size_t)(c->p++ - start) };
			return true;
		}
		if (*c->p == ']')
			return false;
		if (*c->p == '\\' && c->p + 1 < c->end &&
		    (c->p[1] == '"' || c->p[1] == '\\' || c->p[1] == ']'))
			c->p++;
	}
	return false;
}

/*
 * One element. With want_id and want_name, *found is the value of that
 * parameter, if it is there.
 */
static bool take_sd_element(struct cursor *c, const char *want_id, const char *want_name,
			    struct slice *found)
{
	struct slice id, name, value;

	if (!take(c, '[') || !take_sd_name(c, &id))
		return false;
	while (take(c, ' ')) {
		if (!take_sd_name(c, &name) || !take(c, '=') || !take(c, '"') ||
		    !take_sd_value(c, &value))
			return false;
		if (want_id && !found->p && slice_is(id, want_id) && slice_is(name, want_name))
			*found = value;
	}
	return take(c, ']');
}

int rfc5424_parse(struct slice text, struct rfc5424 *ret)
{
	struct rfc5424 r = { 0 };
	struct slice none = { 0 };
	struct cursor c;
	const char *start;
	unsigned pri = 0;

	if (!text.len)
		return -EBADMSG;
	c = (struct cursor){ text.p, text.p + text.len };
	if (!take(&c, '<'))
		return -EBADMSG;
	for (start = c.p; c.p < c.end && is_digit(*c.p) && c.p - start < 3; c.p++)
		pri = pri * 10 + (unsigned)(*c.p - '0');
	if (c.p == start || pri > PRI_MAX || (*start == '0' && c.p - start > 1))
		return -EBADMSG;
	r.pri = (uint8_t)pri;
	if (!take(&c, '>') || !take(&c, '1') || !take(&c, ' '))
		return -EBADMSG;
	if (!take_field(&c, 32, &r.time) || (r.time.len && !is_date(r.time)))
		return -EBADMSG;
	if (!take_field(&c, RFC5424_HOST_MAX, &r.host) ||
	    !take_field(&c, RFC5424_APP_MAX, &r.app) ||
	    !take_field(&c, RFC5424_PROCID_MAX, &r.procid) ||
	    !take_field(&c, RFC5424_MSGID_MAX, &r.msgid))
		return -EBADMSG;
	start = c.p;
	if (!take(&c, '-')) {
		do {
			if (!take_sd_element(&c, NULL, NULL, &none))
				return -EBADMSG;
		} while (c.p < c.end && *c.p == '[');
		r.sd = (struct slice){ start, (size_t)(c.p - start) };
	}
	if (c.p < c.end) {
		if (!take(&c, ' '))
			return -EBADMSG;
		r.msg = (struct slice){ c.p, (size_t)(c.end - c.p) };
	}
	*ret = r;
	return 0;
}

ssize_t rfc5424_parse_counted(struct slice in, size_t max_bytes, struct slice *ret)
{
	size_t len = 0, i;

	/* RFC 5425, 4.3: MSG-LEN = NONZERO-DIGIT *DIGIT */
	for (i = 0; i < in.len && is_digit(in.p[i]); i++) {
		len = len * 10 + (size_t)(in.p[i] - '0');
		if (!len || len > max_bytes)
			return -EBADMSG;
	}
	if (i == in.len)
		return 0;
	if (!i || in.p[i] != ' ')
		return -EBADMSG;
	i++;
	if (in.len - i < len)
		return 0;
	*ret = (struct slice){ in.p + i, len };
	return (ssize_t)(i + len);
}

int rfc5424_param(struct slice sd, const char *id, const char *name, struct slice *ret)
{
	struct slice found = { 0 };
	struct cursor c;

	if (!sd.len)
		return -ENOENT;
	c = (struct cursor){ sd.p, sd.p + sd.len };
	while (c.p < c.end && !found.p)
		if (!take_sd_element(&c, id, name, &found))
			return -ENOENT;
	if (!found.p)
		return -ENOENT;
	*ret = found;
	return 0;
}

size_t rfc5424_unescape(char *dst, struct slice value)
{
	size_t n = 0;

	for (size_t i = 0; i < value.len; i++) {
		/* RFC 5424, 6.3.3: a backslash before anything else is a backslash. */
		if (value.p[i] == '\\' && i + 1 < value.len &&
		    (value.p[i + 1] == '"' || value.p[i + 1] == '\\' || value.p[i + 1] == ']'))
			i++;
		dst[n++] = value.p[i];
	}
	return n;
}
