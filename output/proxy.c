/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "output/proxy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "user/util/cleanup.h"
#include "user/util/hex.h"

#define HOST_MAX	255
#define CREDENTIALS_MAX 512

/* ------------------------------------------------------------------ the URL */

/* Decodes %XX in place; the length, or -1. */
static ssize_t percent_decode(char *p, size_t n)
{
	size_t out = 0;
	int high, low;

	for (size_t i = 0; i < n; i++) {
		if (p[i] != '%') {
			p[out++] = p[i];
			continue;
		}
		if (n - i < 3)
			return -1;
		high = hex_value(p[i + 1]);
		low = hex_value(p[i + 2]);
		if (high < 0 || low < 0)
			return -1;
		p[out++] = (char)(high << 4 | low);
		i += 2;
	}
	return (ssize_t)out;
}

static char *base64(const char *p, size_t n)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *text = malloc((n + 2) / 3 * 4 + 1), *at = text;

	if (!text)
		return NULL;
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)(uint8_t)p[i] << 16;

		if (i + 1 < n)
			v |= (uint32_t)(uint8_t)p[i + 1] << 8;
		if (i + 2 < n)
			v |= (uint8_t)p[i + 2];
		*at++ = digits[v >> 18];
		*at++ = digits[v >> 12 & 63];
		*at++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
		*at++ = i + 2 < n ? digits[v & 63] : '=';
	}
	*at = '\0';
	return text;
}

/* [from, to) is "user:password", still encoded. */
static int parse_credentials(const char *from, const char *to, struct proxy *p, const char **why)
{
	char clear[CREDENTIALS_MAX];
	size_t len = (size_t)(to - from);
	const char *colon;
	ssize_t user_len, password_len;
	int err = -EINVAL;

	if (len > sizeof(clear)) {
		*why = "the user and the password are too long";
		return -EINVAL;
	}
	memcpy(clear, from, len);
	colon = memchr(clear, ':', len);
	if (!colon) {
		*why = "what stands before @ must be user:password";
		goto out;
	}
	/* RFC 7617, 2: the first colon ends the user, so that an encoded one can not be in it. */
	user_len = percent_decode(clear, (size_t)(colon - clear));
	password_len =
		percent_decode(clear + (colon - clear) + 1, len - (size_t)(colon - clear) - 1);
	if (user_len < 0 || password_len < 0) {
		*why = "a % in the user or the password must be followed by two hex digits";
		goto out;
	}
	if (memchr(clear, ':', (size_t)user_len)) {
		*why = "a user must not hold a colon";
		goto out;
	}
	memmove(clear + user_len + 1, colon + 1, (size_t)password_len);
	clear[user_len] = ':';
	p->credentials = base64(clear, (size_t)(user_len + 1 + password_len));
	err = p->credentials ? 0 : -ENOMEM;
out:
	explicit_bzero(clear, sizeof(clear));
	return err;
}

static bool is_host_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '-' || c == '_' || c == ':' || c == '%';
}

static bool is_host(const char *p, size_t n)
{
	if (!n || n > HOST_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_host_char(p[i]))
			return false;
	return true;
}

/* [from, to) is "host:port" or "[v6]:port". */
static int parse_authority(const char *from, const char *to, struct proxy *p, const char **why)
{
	const char *host = from, *host_end, *at;
	unsigned port = 0;

	if (from < to && *from == '[') {
		host = from + 1;
		host_end = memchr(host, ']', (size_t)(to - host));
		if (!host_end) {
			*why = "an IPv6 address needs its closing bracket";
			return -EINVAL;
		}
		at = host_end + 1;
	} else {
		host_end = memchr(from, ':', (size_t)(to - from));
		at = host_end = host_end ? host_end : to;
	}
	if (!is_host(host, (size_t)(host_end - host))) {
		*why = "there is no host, or it holds a character that no host has";
		return -EINVAL;
	}
	if (at == to || *at != ':') {
		*why = "the port is missing: http://host:port";
		return -EINVAL;
	}
	for (at++; at < to && *at >= '0' && *at <= '9' && port < 65536; at++)
		port = port * 10 + (unsigned)(*at - '0');
	if (at != to || !port || port > 65535) {
		*why = "the port must be a number from 1 to 65535";
		return -EINVAL;
	}
	p->port = (uint16_t)port;
	p->host = strndup(host, (size_t)(host_end - host));
	return p->host ? 0 : -ENOMEM;
}

int proxy_parse(const char *url, struct proxy *ret, const char **why)
{
	struct proxy p = { 0 };
	const char *from, *to, *at;
	int err;

	*why = "out of memory";
	if (strncasecmp(url, "http://", 7) != 0) {
		*why = "it must begin with http://";
		return -EINVAL;
	}
	from = url + 7;
	/* The last @: a password may hold one that was not encoded, and hosts never do. */
	at = strrchr(from, '@');
	to = strchrnul(at ? at + 1 : from, '/');
	if (*to && to[1]) {
		*why = "there must be nothing behind the port";
		return -EINVAL;
	}
	err = parse_authority(at ? at + 1 : from, to, &p, why);
	if (!err && at)
		err = parse_credentials(from, at, &p, why);
	if (err) {
		proxy_done(&p);
		return err;
	}
	*ret = p;
	return 0;
}

void proxy_done(struct proxy *p)
{
	free(p->host);
	if (p->credentials)
		explicit_bzero(p->credentials, strlen(p->credentials));
	free(p->credentials);
	*p = (struct proxy){ 0 };
}

/* ------------------------------------------------------------------ the request */

int proxy_format_request(const struct proxy *p, const char *host, uint16_t port, struct buf *ret)
{
	bool is_v6 = strchr(host, ':');
	const char *open = is_v6 ? "[" : "", *close = is_v6 ? "]" : "";
	int err;

	if (!is_host(host, strlen(host)))
		return -EINVAL;
	err = buf_printf(ret,
			 "CONNECT %s%s%s:%u HTTP/1.1\r\nHost: %s%s%s:%u\r\n"
			 "User-Agent: sekoia-ebpf/" SEKOIA_VERSION "\r\n",
			 open, host, close, port, open, host, close, port);
	if (!err && p->credentials)
		err = buf_printf(ret, "Proxy-Authorization: Basic %s\r\n", p->credentials);
	if (!err)
		err = buf_puts(ret, "\r\n");
	return err;
}

/* ------------------------------------------------------------------ the answer */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* RFC 9112, 4: "HTTP/1.1 200 reason"; the space before an empty reason is often left out. */
static int parse_status_line(struct proxy_answer *a)
{
	const char *p = a->line;
	size_t len = a->line_len < sizeof(a->line) ? a->line_len : sizeof(a->line), n = 0;

	if (len && p[len - 1] == '\r')
		len--;
	if (len < 12 || memcmp(p, "HTTP/1.", 7) != 0 || !is_digit(p[7]) || p[8] != ' ' ||
	    p[9] < '1' || p[9] > '9' || !is_digit(p[10]) || !is_digit(p[11]) ||
	    (len > 12 && p[12] != ' '))
		return -EBADMSG;
	a->status = (p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0');
	for (size_t i = 13; i < len && n < sizeof(a->reason) - 1; i++)
		a->reason[n++] = p[i] >= 0x20 && p[i] < 0x7f ? p[i] : '?';
	a->reason[n] = '\0';
	return 0;
}

static int end_line(struct proxy_answer *a)
{
	bool is_empty = !a->line_len || (a->line_len == 1 && a->line[0] == '\r');
	int err = 0;

	if (!a->in_headers) {
		err = parse_status_line(a);
		a->in_headers = true;
	} else if (is_empty) {
		/* 101 would be a protocol that we did not ask for. */
		if (a->status >= 200 || a->status == 101)
			a->done = true;
		else
			a->in_headers = false;
	}
	a->line_len = 0;
	return err;
}

ssize_t proxy_parse_answer(struct proxy_answer *a, const char *p, size_t n)
{
	static const char start[] = "HTTP/1.";
	size_t i;
	int err;

	for (i = 0; i < n && !a->done; i++) {
		if (++a->total > PROXY_ANSWER_MAX)
			return -EMSGSIZE;
		if (p[i] == '\n') {
			err = end_line(a);
			if (err)
				return err;
			continue;
		}
		/* Told at once, not when a line ends that may never end. */
		if (!p[i] || (!a->in_headers && a->line_len < sizeof(start) - 1 &&
			      p[i] != start[a->line_len]))
			return -EBADMSG;
		if (a->line_len < sizeof(a->line))
			a->line[a->line_len] = p[i];
		a->line_len++;
	}
	return (ssize_t)i;
}
