/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads what a syslog or RELP sender writes: octet counts (RFC 5425, 4.3), the
 * RFC 5424 header and its structured data, RELP frames. Strict and pure.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "user/util/slice.h"

#define SYSLOG_MAX_FRAME (1024 * 1024)

struct syslog_line {
	unsigned pri;
	struct slice time, host, app, procid, msgid, msg;
	struct slice key; /* of [SEKOIA@53288 intake_key="KEY"]; p is NULL when there is none */
	struct slice id;  /* of [event@53288 id="ID"]; p is NULL when there is none */
	uint64_t seq;	  /* of [meta sequenceId="N"]; 0 when there is none */
};

/*
 * "MSG-LEN SP MSG": returns the bytes of the whole frame and the message in
 * *ret; 0: more is needed; -EBADMSG: not a count; -EMSGSIZE: above the ceiling.
 */
static ssize_t syslog_unframe(const char *p, size_t n, struct slice *ret)
{
	size_t len = 0, i;

	for (i = 0; i < n && p[i] >= '0' && p[i] <= '9'; i++) {
		len = len * 10 + (size_t)(p[i] - '0');
		if (!len)
			return -EBADMSG; /* NONZERO-DIGIT *DIGIT */
		if (len > SYSLOG_MAX_FRAME)
			return -EMSGSIZE;
	}
	if (i == n)
		return 0;
	if (!i || p[i] != ' ')
		return -EBADMSG;
	i++;
	if (n - i < len)
		return 0;
	*ret = (struct slice){ p + i, len };
	return (ssize_t)(i + len);
}

/* Takes one field of PRINTUSASCII and the space behind it. */
static bool syslog_field(const char **p, const char *end, size_t max, struct slice *ret)
{
	const char *at = *p;

	while (at<end && * at> 32 && *at < 127)
		at++;
	*ret = (struct slice){ *p, (size_t)(at - *p) };
	if (at == end || *at != ' ' || !ret->len || ret->len > max)
		return false;
	*p = at + 1;
	return true;
}

/* Two digits at p, between min and max. */
static inline bool syslog_two(const char *p, int min, int max)
{
	int v = (p[0] - '0') * 10 + (p[1] - '0');

	return p[0] >= '0' && p[0] <= '9' && p[1] >= '0' && p[1] <= '9' && v >= min && v <= max;
}

/* RFC 5424, 6.2.3: RFC 3339 with "T" and "Z" in capitals, no leap second, at most six decimals. */
static bool syslog_is_time(struct slice t)
{
	static const int days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	const char *p = t.p, *end = t.p + t.len;
	int digits = 0;

	if (slice_is(t, "-"))
		return true;
	if (t.len < 20 || !syslog_two(p, 0, 99) || !syslog_two(p + 2, 0, 99) || p[4] != '-' ||
	    !syslog_two(p + 5, 1, 12) || p[7] != '-')
		return false;
	if (!syslog_two(p + 8, 1, days[(p[5] - '0') * 10 + p[6] - '0' - 1]) || p[10] != 'T' ||
	    !syslog_two(p + 11, 0, 23) || p[13] != ':' || !syslog_two(p + 14, 0, 59) ||
	    p[16] != ':' || !syslog_two(p + 17, 0, 59))
		return false;
	p += 19;
	if (*p == '.') {
		for (p++; p < end && *p >= '0' && *p <= '9'; p++)
			digits++;
		if (digits < 1 || digits > 6)
			return false;
	}
	if (end - p == 1)
		return *p == 'Z';
	return end - p == 6 && (*p == '+' || *p == '-') && syslog_two(p + 1, 0, 23) &&
	       p[3] == ':' && syslog_two(p + 4, 0, 59);
}

static struct slice syslog_sd_name(const char **p, const char *end)
{
	struct slice name = { *p, 0 };

	while (*p<end &&* * p> 32 && **p < 127 && **p != '=' && **p != ']' && **p != '"')
		(*p)++;
	name.len = (size_t)(*p - name.p);
	return name;
}

/* One SD-ELEMENT, behind its '['. */
static bool syslog_sd_element(const char **at, const char *end, struct syslog_line *ret)
{
	const char *p = *at;
	struct slice id = syslog_sd_name(&p, end);
	bool is_key = slice_is(id, "SEKOIA@53288"), is_meta = slice_is(id, "meta"),
	     is_event = slice_is(id, "event@53288");

	if (!id.len || id.len > 32)
		return false;
	while (p < end && *p == ' ') {
		struct slice name, value;

		p++;
		name = syslog_sd_name(&p, end);
		if (!name.len || name.len > 32 || end - p < 2 || p[0] != '=' || p[1] != '"')
			return false;
		p += 2;
		value.p = p;
		while (p < end && *p != '"' && *p != ']') {
			/* RFC 5424, 6.3.3: '"', '\' and ']' must be escaped. */
			if (*p == '\\' && end - p > 1)
				p++;
			p++;
		}
		if (p >= end || *p != '"')
			return false;
		value.len = (size_t)(p - value.p);
		p++;
		if (is_key && slice_is(name, "intake_key"))
			ret->key = value;
		if (is_event && slice_is(name, "id"))
			ret->id = value;
		if (is_meta && slice_is(name, "sequenceId")) {
			uint64_t seq = 0;

			if (!value.len || value.len > 18)
				return false;
			for (size_t i = 0; i < value.len; i++) {
				if (value.p[i] < '0' || value.p[i] > '9')
					return false;
				seq = seq * 10 + (uint64_t)(value.p[i] - '0');
			}
			ret->seq = seq;
		}
	}
	if (p == end || *p != ']')
		return false;
	*at = p + 1;
	return true;
}

/* 0, or -EBADMSG when the header is not RFC 5424's to the letter. */
static int syslog_parse(struct slice line, struct syslog_line *ret)
{
	const char *p = line.p, *end = line.p + line.len;
	size_t digits = 0;

	*ret = (struct syslog_line){ 0 };
	/* Templates of rsyslog end in LF; it is no part of the message. */
	if (line.len && end[-1] == '\n')
		end--;

	if (p == end || *p++ != '<')
		return -EBADMSG;
	for (; p < end && *p >= '0' && *p <= '9' && digits < 4; digits++)
		ret->pri = ret->pri * 10 + (unsigned)(*p++ - '0');
	if (!digits || ret->pri > 191 || (digits > 1 && p[-(ptrdiff_t)digits] == '0'))
		return -EBADMSG;
	if (end - p < 3 || p[0] != '>' || p[1] != '1' || p[2] != ' ')
		return -EBADMSG;
	p += 3;
	if (!syslog_field(&p, end, 32, &ret->time) || !syslog_is_time(ret->time) ||
	    !syslog_field(&p, end, 255, &ret->host) || !syslog_field(&p, end, 48, &ret->app) ||
	    !syslog_field(&p, end, 128, &ret->procid) || !syslog_field(&p, end, 32, &ret->msgid))
		return -EBADMSG;

	if (p < end && *p == '-') {
		p++;
	} else {
		if (p == end || *p != '[')
			return -EBADMSG;
		while (p < end && *p == '[') {
			p++;
			if (!syslog_sd_element(&p, end, ret))
				return -EBADMSG;
		}
	}
	if (p == end) {
		ret->msg = (struct slice){ p, 0 };
		return 0;
	}
	if (*p++ != ' ')
		return -EBADMSG;
	ret->msg = (struct slice){ p, (size_t)(end - p) };
	return 0;
}

/* ------------------------------------------------------------------ RELP */

struct relp_frame {
	uint32_t txnr;
	struct slice number; /* txnr as it was written */
	struct slice command, data;
};

/* "TXNR SP COMMAND SP DATALEN [SP DATA] LF"; answers as syslog_unframe() does. */
static ssize_t relp_unframe(const char *p, size_t n, size_t max_data, struct relp_frame *ret)
{
	size_t i = 0, start, len = 0;
	uint32_t txnr = 0;

	for (; i < n && p[i] >= '0' && p[i] <= '9'; i++) {
		if (i == 9)
			return -EBADMSG;
		txnr = txnr * 10 + (uint32_t)(p[i] - '0');
	}
	if (i == n)
		return 0;
	if (!i || p[i] != ' ')
		return -EBADMSG;
	ret->txnr = txnr;
	ret->number = (struct slice){ p, i };

	for (start = ++i; i < n && ((p[i] | 0x20) >= 'a' && (p[i] | 0x20) <= 'z'); i++)
		if (i - start == 32)
			return -EBADMSG;
	if (i == n)
		return 0;
	if (i == start || p[i] != ' ')
		return -EBADMSG;
	ret->command = (struct slice){ p + start, i - start };

	for (start = ++i; i < n && p[i] >= '0' && p[i] <= '9'; i++) {
		if (i - start == 9)
			return -EBADMSG;
		len = len * 10 + (size_t)(p[i] - '0');
	}
	if (i == n)
		return 0;
	if (i == start)
		return -EBADMSG;
	if (len > max_data)
		return -EMSGSIZE;
	if (len) {
		if (p[i++] != ' ')
			return -EBADMSG;
		if (n - i <= len)
			return 0;
	}
	ret->data = (struct slice){ p + i, len };
	if (p[i + len] != '\n')
		return -EBADMSG;
	return (ssize_t)(i + len + 1);
}
