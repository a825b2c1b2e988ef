/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/journal_parse.h"

#include <errno.h>
#include <string.h>

#include "user/journal.h"

bool journal_parse_number(struct slice s, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (!s.len || s.len > 10)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (!journal_is_digit(s.p[i]))
			return false;
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	if (v > max)
		return false;
	*ret = v;
	return true;
}

/* "<N>" with N up to max. */
bool journal_parse_pri(struct slice *s, unsigned max, unsigned *ret)
{
	const char *close = memchr(s->p, '>', s->len < 5 ? s->len : 5);
	uint64_t v;

	if (!close || s->p[0] != '<' ||
	    !journal_parse_number((struct slice){ s->p + 1, (size_t)(close - s->p - 1) }, max, &v))
		return false;
	journal_skip(s, (size_t)(close - s->p) + 1);
	*ret = (unsigned)v;
	return true;
}

/* 'a' a letter, '0' a digit, '_' a digit or a blank, others themselves. */
static bool has_shape(struct slice s, const char *shape)
{
	size_t i = 0;

	for (; shape[i]; i++) {
		char c = i < s.len ? s.p[i] : '\0';
		bool ok;

		if (shape[i] == 'a')
			ok = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
		else if (shape[i] == '0')
			ok = journal_is_digit(c);
		else if (shape[i] == '_')
			ok = journal_is_digit(c) || c == ' ';
		else
			ok = c == shape[i];
		if (!ok)
			return false;
	}
	return true;
}

static struct slice next_word(struct slice *s)
{
	const char *blank = memchr(s->p, ' ', s->len);
	struct slice word = { s->p, blank ? (size_t)(blank - s->p) : s->len };

	journal_skip(s, blank ? word.len + 1 : word.len);
	return word;
}

bool journal_parse_identifier(struct slice *text, struct slice *identifier, uint32_t *pid)
{
	size_t start = 0, end, name_end;
	uint64_t v;

	while (start < text->len && journal_is_blank(text->p[start]))
		start++;
	end = start;
	while (end < text->len && !journal_is_blank(text->p[end]))
		end++;
	if (end <= start + 1 || text->p[end - 1] != ':')
		return false;
	name_end = end - 1;
	if (text->p[name_end - 1] == ']') {
		size_t open = name_end - 1;

		while (open > start && text->p[open] != '[')
			open--;
		if (open > start) {
			if (journal_parse_number(
				    (struct slice){ text->p + open + 1, name_end - open - 2 },
				    UINT32_MAX, &v) &&
			    v)
				*pid = (uint32_t)v;
			name_end = open;
		}
	}
	*identifier = (struct slice){ text->p + start, name_end - start };
	if (end < text->len)
		end++;
	journal_skip(text, end);
	return true;
}
/* ------------------------------------------------------------------ syslog */

/* RFC 5424, 6: <PRI>1 TIME HOST APP PROCID MSGID SD MSG, behind its PRI. */
bool journal_parse_rfc5424(struct slice s, struct journal_line *line)
{
	static const char bom[] = "\xef\xbb\xbf";
	struct slice time, app, procid, msgid, data;
	uint64_t v;

	if (!has_shape(s, "1 "))
		return false;
	journal_skip(&s, 2);
	time = next_word(&s);
	if (!slice_is(time, "-") && !has_shape(time, "0000-00-00T00:00:00"))
		return false;
	next_word(&s); /* the host: this one */
	app = next_word(&s);
	procid = next_word(&s);
	msgid = next_word(&s);
	if (!app.len || !procid.len || !s.len)
		return false;
	data = s;
	if (s.p[0] == '-') {
		journal_skip(&s, 1);
		data.p = s.p;
	} else if (s.p[0] == '[') {
		while (s.len && s.p[0] == '[') {
			bool quoted = false;
			size_t i = 1;

			for (; i < s.len && (quoted || s.p[i] != ']'); i++) {
				if (s.p[i] == '"')
					quoted = !quoted;
				else if (s.p[i] == '\\')
					i++;
			}
			if (i >= s.len)
				return false;
			journal_skip(&s, i + 1);
		}
	} else {
		return false;
	}
	if (s.len && s.p[0] != ' ')
		return false;
	data.len = (size_t)(s.p - data.p);
	if (s.len)
		journal_skip(&s, 1);
	if (s.len >= 3 && memcmp(s.p, bom, 3) == 0)
		journal_skip(&s, 3);

	if (!slice_is(app, "-"))
		line->identifier = app;
	if (!slice_is(msgid, "-"))
		line->code = msgid;
	line->data = data;
	if (journal_parse_number(procid, UINT32_MAX, &v) && v)
		line->pid = (uint32_t)v;
	line->text = s;
	return true;
}

static struct slice take_until(struct slice *s, const char *ends)
{
	struct slice word = { s->p, 0 };

	while (word.len < s->len && !(s->p[word.len] && strchr(ends, s->p[word.len])))
		word.len++;
	journal_skip(s, word.len);
	return word;
}

bool journal_next_param(struct slice *data, struct slice *id, struct slice *name,
			struct slice *value)
{
	bool begins = data->len && data->p[0] == '[';
	size_t n = 0;

	if (begins) {
		journal_skip(data, 1);
		*id = take_until(data, " ]");
	}
	while (data->len && data->p[0] == ' ')
		journal_skip(data, 1);
	*name = *value = SLICE("");
	if (data->len && data->p[0] == ']') {
		journal_skip(data, 1);
		return begins ? id->len > 0 : journal_next_param(data, id, name, value);
	}
	*name = take_until(data, "= ]\"");
	if (!name->len || !id->len || data->len < 2 || data->p[0] != '=' || data->p[1] != '"')
		return false;
	journal_skip(data, 2);
	while (n < data->len && data->p[n] != '"')
		n += data->p[n] == '\\' ? 2 : 1;
	if (n >= data->len)
		return false;
	*value = (struct slice){ data->p, n };
	journal_skip(data, n + 1);
	return true;
}

/* The time is when we read it: what is written here has no year, and often no zone. */
static void skip_time(struct slice *s)
{
	if (has_shape(*s, "aaa _0 00:00:00 ")) {
		journal_skip(s, 16);
	} else if (has_shape(*s, "0000-00-00T00:00:00")) {
		const char *blank = memchr(s->p, ' ', s->len < 40 ? s->len : 40);

		if (blank)
			journal_skip(s, (size_t)(blank - s->p) + 1);
	}
}

bool journal_parse_syslog(struct slice s, struct journal_line *line)
{
	unsigned pri;

	while (s.len && (journal_is_blank(s.p[s.len - 1]) || !s.p[s.len - 1]))
		s.len--;
	if (journal_parse_pri(&s, JOURNAL_PRI_MAX, &pri)) {
		line->pri = journal_checked_pri(pri);
		if (journal_parse_rfc5424(s, line))
			return true;
	} else if (s.len && s.p[0] == '<') {
		/* Some other form: none of it is taken for a name. */
		line->text = s;
		return false;
	}
	skip_time(&s);
	journal_parse_identifier(&s, &line->identifier, &line->pid);
	line->text = s;
	return true;
}

/* ------------------------------------------------------------------ a stream's state */

static int hex_digit(char c)
{
	if (journal_is_digit(c))
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* As journald escapes it: like C, and what is not printable as \\ooo or \\xhh. */
static void unescape(struct slice s, char ret[static JOURNAL_NAME_SIZE])
{
	static const char letters[] = "abfnrtvs", bytes[] = "\a\b\f\n\r\t\v ";
	size_t n = 0;

	for (size_t i = 0; i < s.len && n < JOURNAL_NAME_SIZE - 1; i++) {
		char c = s.p[i];
		const char *letter;

		if (c == '\\' && i + 1 < s.len) {
			c = s.p[++i];
			letter = memchr(letters, c, sizeof(letters) - 1);
			if (letter) {
				c = bytes[letter - letters];
			} else if (c == 'x' && i + 2 < s.len && hex_digit(s.p[i + 1]) >= 0 &&
				   hex_digit(s.p[i + 2]) >= 0) {
				c = (char)(hex_digit(s.p[i + 1]) << 4 | hex_digit(s.p[i + 2]));
				i += 2;
			} else if (c >= '0' && c <= '3' && i + 2 < s.len) {
				c = (char)((c - '0') << 6 | (s.p[i + 1] & 7) << 3 |
					   (s.p[i + 2] & 7));
				i += 2;
			}
		}
		if (c)
			ret[n++] = c;
	}
	ret[n] = '\0';
}

bool journal_parse_stream(struct slice text, struct journal_stream_header *ret)
{
	bool has_pri = false;
	uint64_t v;

	*ret = (struct journal_stream_header){ .level_prefix = true };
	while (text.len) {
		const char *nl = memchr(text.p, '\n', text.len), *equals;
		struct slice line = { text.p, nl ? (size_t)(nl - text.p) : text.len };
		struct slice key, value;

		journal_skip(&text, nl ? line.len + 1 : line.len);
		equals = memchr(line.p, '=', line.len);
		if (!equals)
			continue;
		key = (struct slice){ line.p, (size_t)(equals - line.p) };
		value = (struct slice){ equals + 1, line.len - key.len - 1 };
		if (slice_is(key, "PRIORITY") && journal_parse_number(value, JOURNAL_PRI_MAX, &v)) {
			ret->pri = (uint8_t)v;
			has_pri = true;
		} else if (slice_is(key, "LEVEL_PREFIX")) {
			ret->level_prefix = !slice_is(value, "0");
		} else if (slice_is(key, "IDENTIFIER")) {
			unescape(value, ret->identifier);
		} else if (slice_is(key, "UNIT")) {
			unescape(value, ret->unit);
		}
	}
	return has_pri;
}

/* ------------------------------------------------------------------ audit */

/* The kernel writes it before anything that a process could have said; 0: it did not. */
uint32_t journal_audit_pid(struct slice text)
{
	static const struct slice name = SLICE(" pid=");
	const char *p = memmem(text.p, text.len, name.p, name.len);
	const char *said = memmem(text.p, text.len, " msg='", 6);
	struct slice number;
	uint64_t v;

	if (!p || (said && said < p))
		return 0;
	number.p = p + name.len;
	number.len = 0;
	while (number.p + number.len < text.p + text.len && journal_is_digit(number.p[number.len]))
		number.len++;
	return journal_parse_number(number, UINT32_MAX, &v) ? (uint32_t)v : 0;
}

/* ------------------------------------------------------------------ fields */

bool journal_is_key(struct slice key)
{
	if (!key.len || key.len > JOURNAL_KEY_MAX || journal_is_digit(key.p[0]))
		return false;
	for (size_t i = 0; i < key.len; i++)
		if (!((key.p[i] >= 'A' && key.p[i] <= 'Z') || journal_is_digit(key.p[i]) ||
		      key.p[i] == '_'))
			return false;
	return true;
}

static uint64_t le64(const char *p)
{
	uint64_t v = 0;

	for (int i = 7; i >= 0; i--)
		v = v << 8 | (unsigned char)p[i];
	return v;
}

int journal_parse_field(const char **at, const char *end, struct slice *ret_key,
			struct slice *ret_value)
{
	const char *nl = memchr(*at, '\n', (size_t)(end - *at));
	const char *line_end = nl ? nl : end;
	const char *equals = memchr(*at, '=', (size_t)(line_end - *at));
	struct slice key = { *at, (size_t)((equals ? equals : line_end) - *at) };
	uint64_t len;

	if (!journal_is_key(key))
		return -EBADMSG;
	*ret_key = key;
	*ret_value = (struct slice){ NULL, 0 };
	if (equals) {
		*ret_value = (struct slice){ equals + 1, (size_t)(line_end - equals - 1) };
		*at = nl ? nl + 1 : end;
		return nl ? 1 : 0;
	}
	if (!nl || end - nl - 1 < 8)
		return 0;
	len = le64(nl + 1);
	*at = nl + 1 + 8;
	*ret_value = (struct slice){ *at, (size_t)(end - *at) };
	if (len > (uint64_t)(end - *at)) {
		*at = end;
		return 0;
	}
	ret_value->len = (size_t)len;
	*at += len;
	if (*at == end)
		return 0;
	if (**at != '\n')
		return -EBADMSG;
	(*at)++;
	return 1;
}

/* What is in the line, and what no sender may say, as journald has it. */
static bool is_told(struct slice key)
{
	static const char *const told[] = { "MESSAGE",		 "PRIORITY",   "SYSLOG_FACILITY",
					    "SYSLOG_IDENTIFIER", "SYSLOG_PID", "MESSAGE_ID" };

	for (size_t i = 0; i < sizeof(told) / sizeof(*told); i++)
		if (slice_is(key, told[i]))
			return true;
	return key.p[0] == '_';
}

bool journal_next_field(struct slice *fields, struct slice *key, struct slice *value)
{
	const char *at = fields->p, *end = at + fields->len;

	while (at < end) {
		if (*at == '#' || *at == '.') {
			const char *nl = memchr(at, '\n', (size_t)(end - at));

			at = nl ? nl + 1 : end;
			continue;
		}
		value->p = NULL;
		if (journal_parse_field(&at, end, key, value) <= 0)
			at = end;
		*fields = (struct slice){ at, (size_t)(end - at) };
		if (value->p && !is_told(*key))
			return true;
	}
	return false;
}
