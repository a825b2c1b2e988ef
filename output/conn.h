/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's stream to host:port, non-blocking from the name to the last byte:
 * resolve (c-ares, each time anew), race IPv6 and IPv4 (RFC 8305), HTTP CONNECT
 * proxy (RFC 9110, 9.3.6), TLS. Everything that the transports share.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "user/util/buf.h"
#include "user/util/loop.h"

struct conn;
struct tls_client;
struct tls_peer;

struct conn_opts {
	const char *host; /* a name or an address, IPv6 without brackets */
	uint16_t port;
	struct tls_client *tls;	     /* borrowed; NULL: no TLS */
	const char *server_name;     /* for SNI and the name check; NULL: host */
	const char *proxy;	     /* "http://[user:password@]host:port", or NULL */
	uint32_t connect_timeout_ms; /* from open to CONN_OPEN, in all */
	uint32_t idle_timeout_ms;    /* unacknowledged data for this long is an error
					(TCP_USER_TIMEOUT) */
	size_t max_out_bytes;	     /* of what may wait to be written */
	size_t max_in_bytes;	     /* of what may wait to be consumed */
};

enum conn_event {
	CONN_OPEN,  /* handshakes done: write, if you like */
	CONN_DATA,  /* conn_in() grew */
	CONN_DRAIN, /* conn_out() had reached half of its ceiling and shrank below it */
	CONN_EOF,   /* the peer ended its side in an orderly way; conn_in() is final */
	CONN_ERROR, /* it is over; conn_error() says why. Nothing follows */
};

/* May call conn_free(). */
typedef void (*conn_fn)(void *arg, enum conn_event event);

/*
 * Copies the strings. Errors after this arrive as CONN_ERROR, and no event ever
 * comes from inside a call. -EINVAL: no host or port, or proxy_parse() refuses
 * the proxy's URL.
 */
int conn_new(struct loop *loop, const struct conn_opts *opts, conn_fn fn, void *arg,
	     struct conn **ret);

/* Closes at once, without a goodbye. NULL is fine. */
void conn_free(struct conn *c);
DEFINE_CLEANUP(struct conn *, conn_free);

/* Append here what is to be sent, then conn_flush() once per turn. */
struct buf *conn_out(struct conn *c);
/*
 * Consume from here what was received. Reading pauses while it is full; ask for
 * it anew each time, as this is how we learn that there is room again.
 */
struct buf *conn_in(struct conn *c);

/* Gives back the memory of both that nothing is in. */
void conn_rest(struct conn *c);

/* Writes as much as the socket takes now; the rest follows by itself. */
void conn_flush(struct conn *c);

/*
 * Everything that was appended goes out, then close_notify and FIN; CONN_EOF
 * when the peer has answered with its own, CONN_ERROR otherwise, at the latest
 * idle_timeout_ms after the last progress. This CONN_EOF is a receipt: the peer
 * had read everything when it closed (a close that crossed ours is an error).
 * When CONN_EOF came before, another follows once ours is out; it is none.
 *
 * Without conn_finish(), TCP's end without close_notify is a CONN_ERROR under
 * TLS, as somebody may have cut the stream; after it, it is a CONN_EOF.
 */
void conn_finish(struct conn *c);

/*
 * Bytes on the wire that the peer's TCP has not acknowledged, TLS's own
 * included; what waits in conn_out() is not among them. -ENOTCONN when it is
 * not open, -errno.
 */
int conn_unacked(const struct conn *c);

/*
 * Asks the peer's TLS for a receipt of all that was written so far, which is
 * all that was appended but what conn_out() still holds; see tls.h. 0; -EAGAIN:
 * ask again later; -ENOTSUP: this connection can not. conn_receipts() counts
 * the answers, which come without an event: look now and then.
 */
int conn_ask_receipt(struct conn *c);
uint64_t conn_receipts(const struct conn *c);

/* One line: the stage, the cause, the cure: "resolve intake.example: no such name". */
const char *conn_error(const struct conn *c);

/* "192.0.2.1:10514 (intake.sekoia.io)" once connected; the wanted name before. */
const char *conn_peer(const struct conn *c);

/* "TLSv1.3 TLS_AES_256_GCM_SHA384, resumed", or "no TLS". */
const char *conn_describe(const struct conn *c, char *text, size_t size);

/* The certificate that the peer has shown; see tls.h. -ENOENT: none, or no TLS. */
int conn_get_tls_peer(const struct conn *c, struct tls_peer *ret);
