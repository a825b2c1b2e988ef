/* SPDX-License-Identifier: Apache-2.0 */
/* TLS for clients (OpenSSL stops in tls.c): 1.2 and up, chain and name checked. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "user/util/cleanup.h"

struct tls_client; /* what all connections share: trust, certificate, session cache */
struct tls;	   /* one connection */

struct tls_opts {
	const char *ca;	  /* a PEM file or a folder of them; NULL: the system's store */
	const char *cert; /* PEM, with its chain: the client certificate; NULL: none */
	const char *key;  /* its private key, PEM, not encrypted; NULL: it is in cert, too */
};

/*
 * Reads all files, so that it can run before privileges go. On failure, text
 * says which file, why and the cure (in text_size bytes), and it is -errno.
 */
int tls_client_new(const struct tls_opts *opts, char *text, size_t text_size,
		   struct tls_client **ret);
void tls_client_free(struct tls_client *c);
DEFINE_CLEANUP(struct tls_client *, tls_client_free);

/* Takes the connected, non-blocking fd for the connection's life; does not close it. */
int tls_new(struct tls_client *client, int fd, const char *server_name, struct tls **ret);
void tls_free(struct tls *t);
DEFINE_CLEANUP(struct tls *, tls_free);

/*
 * All of these: -EAGAIN when the socket must become ready first (tls_wants()
 * says for what), -EPROTO when it is over (tls_error() says why); for a read,
 * -ECONNABORTED when TCP ended without the peer's close_notify.
 */
int tls_handshake(struct tls *t);			   /* 0: done, peer verified */
ssize_t tls_read(struct tls *t, void *p, size_t n);	   /* 0: close_notify */
ssize_t tls_write(struct tls *t, const void *p, size_t n); /* a repeat may move and grow */
int tls_shutdown(struct tls *t);			   /* 0: ours is sent */

/*
 * A receipt of TLS 1.3 (RFC 8446, 4.6.3): the peer must answer a KeyUpdate that
 * requests one, and can do so only when it has read all that came before. r
 * answers mean that at least r of our requests were read; some libraries hold
 * the last answer back until the next request arrives.
 *
 * 0: the request follows what was written; -EAGAIN: not now, a write is under
 * way; -ENOTSUP: not with this version. tls_receipts() counts the answers.
 */
int tls_ask_receipt(struct tls *t);
uint64_t tls_receipts(const struct tls *t);

/* Bytes may wait inside, where epoll does not see them: read on until -EAGAIN. */
bool tls_has_pending(const struct tls *t);

/* EPOLLIN or EPOLLOUT: what the last -EAGAIN waits for. */
uint32_t tls_wants(const struct tls *t);
const char *tls_error(const struct tls *t);

/* The peer's certificate, for people: ASCII, whatever is in it. */
struct tls_peer {
	char names[256];  /* what it is for: "a.example, *.b.example" */
	char issuer[160]; /* "CN=R11,O=Let's Encrypt,C=US", in quotes */
	int days_left;	  /* until it expires; negative: it has */
};
/* After the handshake. -ENOENT: it has shown none. */
int tls_get_peer(const struct tls *t, struct tls_peer *ret);

/* "TLSv1.3 TLS_AES_256_GCM_SHA384, resumed" for people. */
const char *tls_describe(const struct tls *t, char *text, size_t size);
