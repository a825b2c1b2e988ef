/* SPDX-License-Identifier: Apache-2.0 */
#include "user/kmsg.h"

#include <errno.h>
#include <stdbool.h>

#include "user/util/hex.h"

#define PRI_MAX 191

static bool parse_u64(struct slice *s, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;

	for (; i < s->len && s->p[i] >= '0' && s->p[i] <= '9'; i++) {
		if (v > (UINT64_MAX - 9) / 10)
			return false;
		v = v * 10 + (uint64_t)(s->p[i] - '0');
	}
	s->p += i;
	s->len -= i;
	*ret = v;
	return i > 0;
}

static bool skip_char(struct slice *s, char c)
{
	if (!s->len || s->p[0] != c)
		return false;
	s->p++;
	s->len--;
	return true;
}

/* \xNN to the byte; never longer than it was. Returns behind what it wrote. */
static char *unescape(struct slice s, char *at)
{
	for (size_t i = 0; i < s.len; i++) {
		bool escaped = s.p[i] == '\\' && i + 3 < s.len && s.p[i + 1] == 'x';
		int high = escaped ? hex_value(s.p[i + 2]) : -1;
		int low = escaped ? hex_value(s.p[i + 3]) : -1;

		if (high >= 0 && low >= 0) {
			*at++ = (char)(high * 16 + low);
			i += 3;
		} else {
			*at++ = s.p[i];
		}
	}
	return at;
}

static struct slice take_line(struct slice *s)
{
	const char *nl = memchr(s->p, '\n', s->len);
	struct slice line = { s->p, nl ? (size_t)(nl - s->p) : s->len };
	size_t n = line.len + (nl ? 1 : 0);

	s->p += n;
	s->len -= n;
	return line;
}

/* The value of " KEY=value", or one of length 0 with p NULL. */
static struct slice value_of(struct slice line, const char *key)
{
	size_t n = strlen(key);

	if (line.len < n + 2 || line.p[0] != ' ' || memcmp(line.p + 1, key, n) != 0 ||
	    line.p[n + 1] != '=')
		return (struct slice){ NULL, 0 };
	return (struct slice){ line.p + n + 2, line.len - n - 2 };
}

int kmsg_parse(struct slice record, struct kmsg *ret)
{
	struct slice s = record, line, value;
	char *at = ret->buf;
	const char *semicolon;
	uint64_t pri;

	if (record.len > KMSG_MAX)
		return -EBADMSG;
	if (!parse_u64(&s, &pri) || !skip_char(&s, ',') || !parse_u64(&s, &ret->seq) ||
	    !skip_char(&s, ',') || !parse_u64(&s, &ret->clock_us))
		return -EBADMSG;
	/* Kernels add fields here: flags, then the caller's id. */
	semicolon = memchr(s.p, ';', s.len);
	if (!semicolon || (s.p[0] != ',' && s.p[0] != ';'))
		return -EBADMSG;
	s.len -= (size_t)(semicolon + 1 - s.p);
	s.p = semicolon + 1;
	/* /dev/kmsg takes any facility from root; syslog knows 24. */
	ret->pri = (uint8_t)(pri <= PRI_MAX ? pri : 1 * 8 + (pri & 7));

	line = take_line(&s);
	ret->text.p = at;
	at = unescape(line, at);
	ret->text.len = (size_t)(at - ret->text.p);
	ret->subsystem = ret->device = (struct slice){ at, 0 };
	while (s.len) {
		line = take_line(&s);
		value = value_of(line, "SUBSYSTEM");
		if (value.p) {
			ret->subsystem.p = at;
			at = unescape(value, at);
			ret->subsystem.len = (size_t)(at - ret->subsystem.p);
		}
		value = value_of(line, "DEVICE");
		if (value.p) {
			ret->device.p = at;
			at = unescape(value, at);
			ret->device.len = (size_t)(at - ret->device.p);
		}
	}
	return 0;
}
