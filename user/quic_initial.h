/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a QUIC client begins with (RFC 9000, 17.2.2; RFC 9001, 5; RFC 9369): its Initial packets,
 * which are encrypted with keys that everybody can make from the packet itself, and in them its TLS
 * client hello. Strict: the bytes are a stranger's.
 *
 * AES is OpenSSL's libcrypto, which is linked for TLS: the one place beside output/tls.c that sees
 * it. No key of ours, and nothing secret, is in here.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "user/tls_hello.h"
#include "user/util/cleanup.h"

/* The ciphers, ready for use. Fetched once, before the sandbox: a fetch reads files. */
struct quic;

/* The caller owns *ret. 0; -ENOMEM; -ENOTSUP: libcrypto has no AES (a policy forbids it). */
int quic_new(struct quic **ret);
void quic_free(struct quic *q);
DEFINE_CLEANUP(struct quic *, quic_free);

#define QUIC_ID_MAX	 20
#define QUIC_INITIAL_MIN 1200 /* a client's datagram with such a packet is not smaller */

/* What came of a client's hello so far; frames come in any order. All zero at first. */
struct quic_hello {
	uint8_t id[QUIC_ID_MAX]; /* of the first packet: the keys of later ones, too */
	uint8_t id_len;
	uint8_t has_id;
	uint8_t bytes[TLS_HELLO_MAX];
	uint64_t have[TLS_HELLO_MAX / 64]; /* which of them */
};

/*
 * Takes the Initial packets of a datagram. 0: some, see quic_hello_parse(); -EBADMSG: there is none
 * that can be opened, or what it holds is against the rules; -EMSGSIZE: a hello above
 * TLS_HELLO_MAX.
 */
int quic_take_datagram(struct quic *q, const uint8_t *p, size_t size, struct quic_hello *h);

/* The frames of an Initial packet, in the clear. The same answers. */
int quic_take_frames(const uint8_t *p, size_t size, struct quic_hello *h);

/* 0; -EAGAIN: a part is missing; -EBADMSG. */
int quic_hello_parse(const struct quic_hello *h, struct tls_hello *ret);
