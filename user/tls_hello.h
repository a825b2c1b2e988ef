/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TLS client hello (RFC 8446, 4.1.2; RFC 5246, 7.4.1.2), as a connection
 * begins with it: the name that the client wants, the protocols that it offers,
 * and its JA4 fingerprint. Pure, and strict: the bytes are a stranger's.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "user/util/slice.h"

#define TLS_HELLO_MAX 8192 /* bytes of records; a longer one is given up */
#define TLS_NAME_MAX  253
#define TLS_ALPN_MAX  8
#define JA4_SIZE      37

struct tls_hello {
	char server_name[TLS_NAME_MAX + 1]; /* lower case; empty: none, or not a name of a host */
	struct {
		uint8_t len;
		char text[32]; /* of a longer one its beginning */
	} alpn[TLS_ALPN_MAX];  /* the first of them */
	int n_alpn;
	char ja4[JA4_SIZE];
};

/*
 * The message alone, without records, and from its header on: as QUIC carries it. transport is
 * JA4's letter for that, 't' or 'q'. The same answers.
 */
int tls_hello_parse_message(const uint8_t *p, size_t size, char transport, struct tls_hello *ret);

/* 0; -EAGAIN: it goes on behind these bytes; -EBADMSG: it is none. */
int tls_hello_parse(const uint8_t *p, size_t size, struct tls_hello *ret);
