/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 for a client (RFC 9112): the head of a request, and answers read as
 * a stream. Pure. What is inside a body is for others (intake_answer.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "user/util/buf.h"
#include "user/util/slice.h"

#define HTTP1_HEAD_MAX 16384 /* of an answer: all lines before the body */
#define HTTP1_LINE_MAX 8192  /* of any line, those around chunks too */

struct http1_request {
	const char *method;
	const char *host; /* IPv6 without brackets */
	uint16_t port;
	uint16_t default_port; /* left out of the Host line */
	const char *path;
	const char *content_type;
	const char *content_encoding; /* or NULL */
	size_t content_length;
};

/* Appends the head with its empty line. 0, -ENOBUFS or -ENOMEM. */
int http1_append_request(struct buf *b, const struct http1_request *r);

/* Whether text may stand in a request line or a Host line: no space, no control. */
bool http1_is_clean(const char *text);

enum http1_state {
	HTTP1_STATUS,
	HTTP1_HEADERS,
	HTTP1_BODY,	   /* content-length bytes */
	HTTP1_BODY_TO_EOF, /* until the peer closes */
	HTTP1_CHUNK_SIZE,
	HTTP1_CHUNK_DATA,
	HTTP1_CHUNK_END,
	HTTP1_TRAILERS,
	HTTP1_DONE,
};

/* One answer. Start from all zeroes for each. */
struct http1_response {
	enum http1_state state;
	int status;	 /* 100 to 599 */
	bool keep_alive; /* another request may follow on this connection */
	bool chunked;
	bool has_length;
	uint64_t left;		/* of the body, or of this chunk */
	uint64_t retry_after_s; /* as a number, or counted from the answer's Date; 0: not said */
	uint64_t date_s;	/* the Date header; 0: none */
	uint64_t retry_date_s;	/* Retry-After as a date; 0: none */
	uint32_t head_bytes;
};

/*
 * One step: consumes a line, or a part of the body, which is then *body (else
 * that is empty). Bytes consumed, 0 for "need more", -EBADMSG. Call it until
 * it returns 0 or state is HTTP1_DONE; interim answers (1xx) are stepped over.
 */
ssize_t http1_parse(struct http1_response *r, struct slice in, struct slice *body);

/* The peer has closed: 0 when that is the body's end, else -EBADMSG. */
int http1_parse_eof(struct http1_response *r);

/* RFC 9110, 5.6.7, all three forms. 0 and seconds since the epoch, or -EBADMSG. */
int http1_parse_date(struct slice text, uint64_t *ret);
