/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP proxy's CONNECT (RFC 9110, 9.3.6; RFC 9112): its URL, what we ask,
 * what it answers. Pure: bytes to values; conn.c does the talking.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "user/util/buf.h"

#define PROXY_ANSWER_MAX 16384 /* bytes of all headers; more is a broken proxy */

struct proxy {
	char *host; /* without brackets; NULL: no proxy */
	uint16_t port;
	char *credentials; /* base64 of "user:password", a secret; NULL: none given */
};

/*
 * "http://[user:password@]host:port[/]"; user and password percent-encoded.
 * -EINVAL: why (a constant text, never a part of the URL) says what is wrong.
 */
int proxy_parse(const char *url, struct proxy *ret, const char **why);
/* Wipes the secret. */
void proxy_done(struct proxy *p);

/* Appends the request. -EINVAL for a host that can not stand in one; buf_wipe() it afterwards. */
int proxy_format_request(const struct proxy *p, const char *host, uint16_t port, struct buf *ret);

struct proxy_answer {
	int status;	 /* the last one: 200, 407; interim ones (1xx) are skipped */
	char reason[64]; /* printable ASCII, for people */
	bool done;	 /* the empty line was seen: what follows is the tunnel's */

	/* Inside: */
	size_t total;
	size_t line_len;
	bool in_headers;
	char line[128]; /* the start of the status line */
};

/*
 * Takes the next bytes and returns how many of them belong to the answer: all
 * of them, or fewer when it is done. -EBADMSG: not HTTP; -EMSGSIZE: too long.
 * Start from a zeroed struct.
 */
ssize_t proxy_parse_answer(struct proxy_answer *a, const char *p, size_t n);
