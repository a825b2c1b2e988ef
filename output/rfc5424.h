/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Syslog messages (RFC 5424) with octet counting (RFC 6587, 3.4.1; RFC 5425,
 * 4.3), as the intake wants them:
 *
 *   <PRI>1 TIME HOST APP PROCID LOG [SEKOIA@53288 intake_key="KEY"] MSG
 *
 * and before a raw line, which can not carry it, the event's id, as a JSON event has
 * it in event.id: [event@53288 id="EPOCH-NUMBER"][meta sequenceId="NUMBER"].
 *
 * Pure: messages to bytes and back; no clock, descriptor or global.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "output/msg.h"
#include "user/util/buf.h"
#include "user/util/slice.h"

#define RFC5424_HOST_MAX   255
#define RFC5424_APP_MAX	   48
#define RFC5424_PROCID_MAX 128
#define RFC5424_MSGID_MAX  32
#define RFC5424_KEY_MAX	   256

/* Structured data that is made once for each key and copied into each message. */
struct rfc5424_sd {
	size_t len;
	char text[2 * RFC5424_KEY_MAX + 40];
};

/* The key's element. -EMSGSIZE above RFC5424_KEY_MAX bytes. */
int rfc5424_sd_init(struct rfc5424_sd *sd, struct slice key);

/* The exact length of what rfc5424_encode() writes. */
size_t rfc5424_len(const struct rfc5424_sd *sd, const struct msg *m);

/*
 * Writes the message; returns one past its end. MSG is the text if there is
 * one, else the JSON; a message with text also carries its id, by which a repeat
 * can be told, and its number as meta sequenceId (RFC 5424, 7.3.1). A header field
 * is cut to its limit, and bytes that it may not have become '_'.
 */
char *rfc5424_encode(char *dst, const struct rfc5424_sd *sd, const struct msg *m);

/*
 * Appends MSG-LEN SP SYSLOG-MSG. 0 and *ret_bytes, -ENOBUFS or -ENOMEM.
 */
int rfc5424_append_counted(struct buf *b, const struct rfc5424_sd *sd, const struct msg *m,
			   size_t *ret_bytes);

/* A message taken apart: slices into the text; the NILVALUE is an empty slice. */
struct rfc5424 {
	uint8_t pri;
	struct slice time, host, app, procid, msgid;
	struct slice sd;  /* all elements with their brackets, still escaped */
	struct slice msg; /* any bytes */
};

/* Strict, except that UTF-8 in structured data is not checked. 0 or -EBADMSG. */
int rfc5424_parse(struct slice text, struct rfc5424 *ret);

/* One octet-counted frame: bytes consumed, 0 for "need more", -EBADMSG (also above max_bytes). */
ssize_t rfc5424_parse_counted(struct slice in, size_t max_bytes, struct slice *ret);

/* The value (still escaped) of a parameter in r->sd: 0 or -ENOENT. */
int rfc5424_param(struct slice sd, const char *id, const char *name, struct slice *ret);

/* Undoes the escape of a parameter's value; dst holds value.len bytes. Returns the length. */
size_t rfc5424_unescape(char *dst, struct slice value);
