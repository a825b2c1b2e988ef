/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/monitor_request.h"

#include <errno.h>

/* RFC 9112, 2.2: a lone LF may end a line, too. */
static bool is_whole(struct slice bytes)
{
	return memmem(bytes.p, bytes.len, "\n\r\n", 3) || memmem(bytes.p, bytes.len, "\n\n", 2);
}

/* The next word of *line, which is ended by one blank or by the line. */
static struct slice word(struct slice *line)
{
	const char *blank = memchr(line->p, ' ', line->len);
	struct slice ret = { line->p, blank ? (size_t)(blank - line->p) : line->len };
	size_t n = ret.len + (blank ? 1 : 0);

	line->p += n;
	line->len -= n;
	return ret;
}

static bool is_version(struct slice text)
{
	return text.len == 8 && memcmp(text.p, "HTTP/1.", 7) == 0 && text.p[7] >= '0' &&
	       text.p[7] <= '9';
}

static bool is_printable(struct slice line)
{
	for (size_t i = 0; i < line.len; i++)
		if (line.p[i] < 0x20 || line.p[i] > 0x7e)
			return false;
	return true;
}

int monitor_parse(struct slice bytes, enum monitor_page *ret)
{
	const char *end = bytes.len ? memchr(bytes.p, '\n', bytes.len) : NULL;
	struct slice line = bytes, method, path, version;
	const char *query;

	if (!end)
		return bytes.len >= MONITOR_REQUEST_MAX ? -EMSGSIZE : 0;
	line.len = (size_t)(end - bytes.p);
	if (line.len && line.p[line.len - 1] == '\r')
		line.len--;
	if (!is_printable(line))
		return -EBADMSG;
	end = line.p + line.len;
	method = word(&line);
	path = word(&line);
	version = word(&line);
	if (!method.len || !path.len || path.p[0] != '/' || version.p + version.len != end ||
	    !is_version(version))
		return -EBADMSG;
	if (!is_whole(bytes))
		return bytes.len >= MONITOR_REQUEST_MAX ? -EMSGSIZE : 0;
	query = memchr(path.p, '?', path.len);
	if (query)
		path.len = (size_t)(query - path.p);
	if (!slice_is(method, "GET"))
		*ret = MONITOR_NOT_ALLOWED;
	else if (slice_is(path, "/"))
		*ret = MONITOR_PAGE;
	else if (slice_is(path, "/status"))
		*ret = MONITOR_STATUS;
	else if (slice_is(path, "/metrics"))
		*ret = MONITOR_METRICS;
	else
		*ret = MONITOR_NOT_FOUND;
	return 1;
}
