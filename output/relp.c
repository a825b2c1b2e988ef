/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "output/relp.h"

#include <errno.h>
#include <string.h>

#include "output/decimal.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* ------------------------------------------------------------------ writing */

static size_t header_len(uint32_t txnr, size_t command_len, size_t data_len)
{
	/* librelp puts no space behind a DATALEN of 0, and expects none. */
	return decimal_len(txnr) + 1 + command_len + 1 + decimal_len(data_len) + (data_len ? 1 : 0);
}

static char *put_header(char *dst, uint32_t txnr, struct slice command, size_t data_len)
{
	dst = decimal_put(dst, txnr);
	*dst++ = ' ';
	memcpy(dst, command.p, command.len);
	dst += command.len;
	*dst++ = ' ';
	dst = decimal_put(dst, data_len);
	if (data_len)
		*dst++ = ' ';
	return dst;
}

int relp_append(struct buf *b, uint32_t txnr, const char *command, struct slice data)
{
	struct slice name = slice_of(command);
	size_t all = header_len(txnr, name.len, data.len) + data.len + 1;
	char *at;
	int err;

	err = buf_reserve(b, all, &at);
	if (err)
		return err;
	at = put_header(at, txnr, name, data.len);
	if (data.len)
		memcpy(at, data.p, data.len);
	at[data.len] = '\n';
	buf_added(b, all);
	return 0;
}

int relp_append_open(struct buf *b)
{
	/* The specification says version 1; every peer in the field says, and takes, 0. */
	return relp_append(b, 1, "open",
			   SLICE("relp_version=0\n"
				 "relp_software=sekoia-ebpf," SEKOIA_VERSION "\n"
				 "commands=syslog"));
}

int relp_append_syslog(struct buf *b, uint32_t txnr, const struct rfc5424_sd *sd,
		       const struct msg *m, size_t *ret_bytes)
{
	const struct slice name = SLICE("syslog");
	size_t len = rfc5424_len(sd, m);
	size_t all = header_len(txnr, name.len, len) + len + 1;
	char *at;
	int err;

	err = buf_reserve(b, all, &at);
	if (err)
		return err;
	at = put_header(at, txnr, name, len);
	at = rfc5424_encode(at, sd, m);
	*at = '\n';
	buf_added(b, all);
	*ret_bytes = all;
	return 0;
}

/* ------------------------------------------------------------------ reading */

/* 1 to 9 digits from *i on: true and the value, or *i is where it went wrong. */
static bool take_number(struct slice in, size_t *i, uint32_t *ret)
{
	size_t start = *i;
	uint32_t value = 0;

	while (*i < in.len && is_digit(in.p[*i]) && *i - start < 9)
		value = value * 10 + (uint32_t)(in.p[(*i)++] - '0');
	*ret = value;
	return *i > start;
}

ssize_t relp_parse(struct slice in, struct relp_frame *ret)
{
	struct relp_frame f = { 0 };
	uint32_t len;
	size_t i = 0, start;
	bool ok;

	/* Whether a part is well-formed matters first; that it may go on, second. */
	ok = take_number(in, &i, &f.txnr);
	if (i == in.len)
		return 0;
	if (!ok || in.p[i++] != ' ')
		return -EBADMSG;

	start = i;
	while (i < in.len && is_letter(in.p[i]) && i - start < RELP_COMMAND_MAX)
		i++;
	if (i == in.len)
		return 0;
	f.command = (struct slice){ in.p + start, i - start };
	if (!f.command.len || in.p[i++] != ' ')
		return -EBADMSG;

	ok = take_number(in, &i, &len);
	if (len > RELP_DATA_MAX)
		return -EBADMSG;
	if (i == in.len)
		return 0;
	if (!ok)
		return -EBADMSG;
	if (len && in.p[i++] != ' ')
		return -EBADMSG;
	if (in.len - i < len)
		return 0;
	f.data = (struct slice){ in.p + i, len };
	i += len;
	if (i == in.len)
		return 0;
	if (in.p[i++] != '\n')
		return -EBADMSG;
	*ret = f;
	return (ssize_t)i;
}

int relp_parse_rsp(struct slice data, struct relp_rsp *ret)
{
	struct relp_rsp r = { 0 };
	const char *lf = data.len ? memchr(data.p, '\n', data.len) : NULL;
	size_t line = lf ? (size_t)(lf - data.p) : data.len;

	if (line < 3 || !is_digit(data.p[0]) || !is_digit(data.p[1]) || !is_digit(data.p[2]))
		return -EBADMSG;
	if (line > 3 && data.p[3] != ' ')
		return -EBADMSG;
	r.code = (data.p[0] - '0') * 100 + (data.p[1] - '0') * 10 + (data.p[2] - '0');
	if (line > 4)
		r.text = (struct slice){ data.p + 4, line - 4 };
	if (lf)
		r.data = (struct slice){ lf + 1, data.len - line - 1 };
	*ret = r;
	return 0;
}

static bool has_word(struct slice list, const char *word)
{
	while (list.len) {
		const char *comma = memchr(list.p, ',', list.len);
		size_t n = comma ? (size_t)(comma - list.p) : list.len;

		if (slice_is((struct slice){ list.p, n }, word))
			return true;
		if (!comma)
			break;
		list.p += n + 1;
		list.len -= n + 1;
	}
	return false;
}

int relp_parse_offers(struct slice data, struct relp_offers *ret)
{
	struct relp_offers o = { .version = -1 };

	while (data.len) {
		const char *lf = memchr(data.p, '\n', data.len);
		size_t line = lf ? (size_t)(lf - data.p) : data.len;
		const char *eq = line ? memchr(data.p, '=', line) : NULL;
		struct slice name = { data.p, eq ? (size_t)(eq - data.p) : line };
		struct slice value = { 0 };

		if (eq)
			value = (struct slice){ eq + 1, line - name.len - 1 };
		if (slice_is(name, "relp_version")) {
			uint32_t version;
			size_t i = 0;

			if (!take_number(value, &i, &version) || i != value.len)
				return -EBADMSG;
			o.version = (int)version;
		} else if (slice_is(name, "commands")) {
			o.syslog = has_word(value, "syslog");
		} else if (slice_is(name, "relp_software")) {
			o.software = value;
		}
		data.p += lf ? line + 1 : line;
		data.len -= lf ? line + 1 : line;
	}
	*ret = o;
	return 0;
}
