/* SPDX-License-Identifier: Apache-2.0 */
/* Client hellos to a test's wish, byte by byte. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct hello_wish {
	const char *server_name; /* NULL: no extension */
	const char *alpn;	 /* "h2 http/1.1"; NULL: no extension */
	uint16_t version;	 /* of the message; 0: TLS 1.2 */
	const uint16_t *ciphers, *extensions, *versions, *algorithms; /* each ended by 1 */
	size_t record; /* bytes of message in one record; 0: all */
	size_t pad;    /* bytes of extension 21 when it is among the extensions */
};

struct hello_out {
	uint8_t bytes[16384];
	size_t n;
};

static inline void hello_u16(struct hello_out *o, size_t v)
{
	o->bytes[o->n++] = (uint8_t)(v >> 8);
	o->bytes[o->n++] = (uint8_t)v;
}

static inline void hello_fill16(struct hello_out *o, size_t at)
{
	o->bytes[at] = (uint8_t)((o->n - at - 2) >> 8);
	o->bytes[at + 1] = (uint8_t)(o->n - at - 2);
}

static inline void hello_list(struct hello_out *o, const uint16_t *list)
{
	for (; list && *list != 1; list++)
		hello_u16(o, *list);
}

static inline void hello_extension(struct hello_out *o, uint16_t type, const struct hello_wish *w)
{
	size_t at, inner;

	hello_u16(o, type);
	at = o->n;
	hello_u16(o, 0);
	inner = o->n;
	switch (type) {
	case 0:
		hello_u16(o, 0);
		o->bytes[o->n++] = 0;
		hello_u16(o, strlen(w->server_name));
		memcpy(o->bytes + o->n, w->server_name, strlen(w->server_name));
		o->n += strlen(w->server_name);
		hello_fill16(o, inner);
		break;
	case 16:
		hello_u16(o, 0);
		for (const char *p = w->alpn; *p;) {
			size_t len = strcspn(p, " ");

			o->bytes[o->n++] = (uint8_t)len;
			memcpy(o->bytes + o->n, p, len);
			o->n += len;
			p += len + (p[len] == ' ');
		}
		hello_fill16(o, inner);
		break;
	case 43:
		o->bytes[o->n++] = 0;
		hello_list(o, w->versions);
		o->bytes[inner] = (uint8_t)(o->n - inner - 1);
		break;
	case 13:
		hello_u16(o, 0);
		hello_list(o, w->algorithms);
		hello_fill16(o, inner);
		break;
	case 21:
		memset(o->bytes + o->n, 0, w->pad);
		o->n += w->pad;
		break;
	}
	hello_fill16(o, at);
}

/* The records; returns their length. bytes has room for 16 KiB. */
static inline size_t hello_make(const struct hello_wish *w, uint8_t *bytes)
{
	static struct hello_out m; /* the message */
	size_t at, out = 0, record = w->record ? w->record : sizeof(m.bytes);

	m.n = 0;
	m.bytes[m.n++] = 1;
	m.bytes[m.n++] = 0;
	hello_u16(&m, 0);
	hello_u16(&m, w->version ? w->version : 0x0303);
	memset(m.bytes + m.n, 7, 32);
	m.n += 32;
	m.bytes[m.n++] = 0; /* session */
	at = m.n;
	hello_u16(&m, 0);
	hello_list(&m, w->ciphers);
	hello_fill16(&m, at);
	m.bytes[m.n++] = 1; /* compression: none */
	m.bytes[m.n++] = 0;
	if (w->extensions || w->server_name || w->alpn) {
		at = m.n;
		hello_u16(&m, 0);
		if (w->server_name)
			hello_extension(&m, 0, w);
		for (const uint16_t *e = w->extensions; e && *e != 1; e++)
			hello_extension(&m, *e, w);
		if (w->alpn)
			hello_extension(&m, 16, w);
		hello_fill16(&m, at);
	}
	hello_fill16(&m, 2);
	for (size_t from = 0; from < m.n; from += record) {
		size_t len = m.n - from < record ? m.n - from : record;

		bytes[out++] = 22;
		bytes[out++] = 3;
		bytes[out++] = 1;
		bytes[out++] = (uint8_t)(len >> 8);
		bytes[out++] = (uint8_t)len;
		memcpy(bytes + out, m.bytes + from, len);
		out += len;
	}
	return out;
}
