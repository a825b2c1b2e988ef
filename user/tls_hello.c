/* SPDX-License-Identifier: Apache-2.0 */
#include "user/tls_hello.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "user/util/sha256.h"

enum {
	RECORD_HANDSHAKE = 22,
	HANDSHAKE_CLIENT_HELLO = 1,
	EXT_SERVER_NAME = 0,
	EXT_SIGNATURE_ALGORITHMS = 13,
	EXT_ALPN = 16,
	EXT_SUPPORTED_VERSIONS = 43,
};

#define RECORD_MAX 16384
#define LIST_MAX   512 /* ciphers, extensions, signature algorithms */

struct list {
	uint16_t values[LIST_MAX];
	size_t n;
};

/* What JA4 is made of. */
struct parts {
	struct list ciphers, extensions, algorithms;
	uint16_t version;
	bool has_name;
	struct slice alpn; /* the first */
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* RFC 8701: values that nobody means. */
static bool is_grease(uint16_t v)
{
	return (v & 0x0f0f) == 0x0a0a && v >> 8 == (v & 0xff);
}

static int add(struct list *l, uint16_t v)
{
	if (is_grease(v))
		return 0;
	if (l->n == LIST_MAX)
		return -EBADMSG;
	l->values[l->n++] = v;
	return 0;
}

/* A vector with a length of one or two bytes in front: it is taken from *in. */
static int take(struct slice *in, int length_bytes, struct slice *ret)
{
	const uint8_t *p = (const uint8_t *)in->p;
	size_t head = (size_t)length_bytes, n;

	if (in->len < head)
		return -EBADMSG;
	n = length_bytes == 1 ? p[0] : get16(p);
	if (in->len - head < n)
		return -EBADMSG;
	*ret = (struct slice){ in->p + head, n };
	in->p += head + n;
	in->len -= head + n;
	return 0;
}

static int add_all(struct list *l, struct slice in)
{
	int err = in.len % 2 ? -EBADMSG : 0;

	for (size_t i = 0; i + 1 < in.len && !err; i += 2)
		err = add(l, get16((const uint8_t *)in.p + i));
	return err;
}

/* RFC 6066, 3. A name that is none stays out; it is the client's own affair. */
static int read_server_name(struct slice in, struct tls_hello *ret)
{
	struct slice list, name;

	if (take(&in, 2, &list))
		return -EBADMSG;
	while (list.len) {
		bool is_host = list.p[0] == 0;
		size_t i;

		list.p++;
		list.len--;
		if (take(&list, 2, &name))
			return -EBADMSG;
		if (!is_host || name.len > TLS_NAME_MAX || ret->server_name[0])
			continue;
		for (i = 0; i < name.len; i++) {
			char c = name.p[i];

			if (c >= 'A' && c <= 'Z')
				c = (char)(c - 'A' + 'a');
			if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
			      c == '_' || c == '.' || c == ':'))
				break;
			ret->server_name[i] = c;
		}
		if (i < name.len)
			i = 0;
		ret->server_name[i] = '\0';
	}
	return 0;
}

static int read_alpn(struct slice in, struct parts *parts, struct tls_hello *ret)
{
	struct slice list, one;

	if (take(&in, 2, &list))
		return -EBADMSG;
	while (list.len) {
		if (take(&list, 1, &one) || !one.len)
			return -EBADMSG;
		if (!parts->alpn.len)
			parts->alpn = one;
		if (ret->n_alpn == TLS_ALPN_MAX)
			continue;
		if (one.len > sizeof(ret->alpn[0].text))
			one.len = sizeof(ret->alpn[0].text);
		ret->alpn[ret->n_alpn].len = (uint8_t)one.len;
		memcpy(ret->alpn[ret->n_alpn++].text, one.p, one.len);
	}
	return 0;
}

static int read_versions(struct slice in, struct parts *parts)
{
	struct slice list;
	uint16_t best = 0;

	if (take(&in, 1, &list) || list.len % 2)
		return -EBADMSG;
	for (size_t i = 0; i + 1 < list.len; i += 2) {
		uint16_t v = get16((const uint8_t *)list.p + i);

		if (!is_grease(v) && v > best)
			best = v;
	}
	if (best)
		parts->version = best;
	return 0;
}

static int read_extensions(struct slice in, struct parts *parts, struct tls_hello *ret)
{
	struct slice body, list;
	int err = 0;

	while (in.len && !err) {
		uint16_t type;

		if (in.len < 2)
			return -EBADMSG;
		type = get16((const uint8_t *)in.p);
		in.p += 2;
		in.len -= 2;
		if (take(&in, 2, &body) || add(&parts->extensions, type))
			return -EBADMSG;
		switch (type) {
		case EXT_SERVER_NAME:
			parts->has_name = true;
			err = read_server_name(body, ret);
			break;
		case EXT_ALPN:
			err = read_alpn(body, parts, ret);
			break;
		case EXT_SUPPORTED_VERSIONS:
			err = read_versions(body, parts);
			break;
		case EXT_SIGNATURE_ALGORITHMS:
			if (parts->algorithms.n)
				return -EBADMSG;
			err = take(&body, 2, &list);
			if (!err)
				err = add_all(&parts->algorithms, list);
			break;
		}
	}
	return err;
}

/* The message itself, without its header. */
static int read_hello(struct slice in, struct parts *parts, struct tls_hello *ret)
{
	struct slice session, ciphers, compression, extensions = { 0 };

	if (in.len < 34)
		return -EBADMSG;
	parts->version = get16((const uint8_t *)in.p);
	in.p += 34;
	in.len -= 34;
	if (take(&in, 1, &session) || take(&in, 2, &ciphers) || take(&in, 1, &compression) ||
	    add_all(&parts->ciphers, ciphers))
		return -EBADMSG;
	/* Before TLS 1.2 there may be none. */
	if (in.len && take(&in, 2, &extensions))
		return -EBADMSG;
	return read_extensions(extensions, parts, ret);
}

/* ------------------------------------------------------------------------ JA4 */

static int compare(const void *a, const void *b)
{
	const uint16_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static char *put_list(char *at, const struct list *l)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < l->n; i++) {
		if (i)
			*at++ = ',';
		for (int shift = 12; shift >= 0; shift -= 4)
			*at++ = digits[l->values[i] >> shift & 15];
	}
	return at;
}

/* The first twelve digits of the hash; of nothing, zeros. */
static void put_hash(char *ret, const char *text, size_t len)
{
	uint8_t hash[SHA256_SIZE];

	if (!len) {
		memcpy(ret, "000000000000", 13);
		return;
	}
	sha256(text, len, hash);
	for (int i = 0; i < 6; i++)
		snprintf(ret + 2 * (size_t)i, 3, "%02x", hash[i]);
}

static const char *version_name(uint16_t v)
{
	switch (v) {
	case 0x0304:
		return "13";
	case 0x0303:
		return "12";
	case 0x0302:
		return "11";
	case 0x0301:
		return "10";
	case 0x0300:
		return "s3";
	case 0x0002:
		return "s2";
	default:
		return "00";
	}
}

static bool is_alnum(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Its first and last character; where one is no letter or digit, of its hexadecimal form. */
static void alpn_ends(struct slice alpn, char ret[3])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t first, last;

	memcpy(ret, "00", 3);
	if (!alpn.len)
		return;
	first = (uint8_t)alpn.p[0];
	last = (uint8_t)alpn.p[alpn.len - 1];
	if (is_alnum(first) && is_alnum(last)) {
		ret[0] = (char)first;
		ret[1] = (char)last;
	} else {
		ret[0] = digits[first >> 4];
		ret[1] = digits[last & 15];
	}
}

static int at_most_99(size_t n)
{
	return n > 99 ? 99 : (int)n;
}

static void make_ja4(struct parts *p, char transport, char ret[JA4_SIZE])
{
	char text[2 * 5 * LIST_MAX + 2], first[13], second[13], ends[3], *at;
	size_t n_ciphers = p->ciphers.n, n_extensions = p->extensions.n, n = 0;

	alpn_ends(p->alpn, ends);
	qsort(p->ciphers.values, n_ciphers, sizeof(uint16_t), compare);
	at = put_list(text, &p->ciphers);
	put_hash(first, text, (size_t)(at - text));

	for (size_t i = 0; i < n_extensions; i++) {
		uint16_t v = p->extensions.values[i];

		if (v != EXT_SERVER_NAME && v != EXT_ALPN)
			p->extensions.values[n++] = v;
	}
	p->extensions.n = n;
	qsort(p->extensions.values, n, sizeof(uint16_t), compare);
	at = put_list(text, &p->extensions);
	if (at > text && p->algorithms.n) {
		*at++ = '_';
		at = put_list(at, &p->algorithms);
	}
	put_hash(second, text, (size_t)(at - text));

	snprintf(ret, JA4_SIZE, "%c%s%c%02d%02d%s_%s_%s", transport, version_name(p->version),
		 p->has_name ? 'd' : 'i', at_most_99(n_ciphers), at_most_99(n_extensions), ends,
		 first, second);
}

/* ------------------------------------------------------------------------ records */

int tls_hello_parse_message(const uint8_t *p, size_t size, char transport, struct tls_hello *ret)
{
	struct parts parts = { 0 };
	size_t need;

	if (size && p[0] != HANDSHAKE_CLIENT_HELLO)
		return -EBADMSG;
	if (size < 4)
		return -EAGAIN;
	need = 4 + (size_t)get16(p + 2);
	if (p[1] || need > TLS_HELLO_MAX)
		return -EBADMSG;
	if (size < need)
		return -EAGAIN;
	*ret = (struct tls_hello){ 0 };
	if (read_hello((struct slice){ (const char *)p + 4, need - 4 }, &parts, ret))
		return -EBADMSG;
	make_ja4(&parts, transport, ret->ja4);
	return 0;
}

int tls_hello_parse(const uint8_t *p, size_t size, struct tls_hello *ret)
{
	uint8_t flat[TLS_HELLO_MAX];
	size_t len = 0, need = 4;

	/* RFC 8446, 5.1: a message may be in several records. */
	for (size_t at = 0; len < need;) {
		size_t n, have;

		if (size - at < 5)
			return size - at && p[at] != RECORD_HANDSHAKE ? -EBADMSG : -EAGAIN;
		if (p[at] != RECORD_HANDSHAKE || p[at + 1] != 3)
			return -EBADMSG;
		n = get16(p + at + 3);
		if (!n || n > RECORD_MAX)
			return -EBADMSG;
		at += 5;
		have = size - at < n ? size - at : n;
		if (have > sizeof(flat) - len)
			have = sizeof(flat) - len;
		memcpy(flat + len, p + at, have);
		len += have;
		at += have;
		if (len >= 4) {
			if (flat[0] != HANDSHAKE_CLIENT_HELLO || flat[1])
				return -EBADMSG;
			need = 4 + (size_t)get16(flat + 2);
			if (need > sizeof(flat))
				return -EBADMSG;
		}
		if (len < need && have < n)
			return -EAGAIN;
	}
	return tls_hello_parse_message(flat, len, 't', ret);
}
