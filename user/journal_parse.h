/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in a line, whatever way it came: priorities, names and pids, syslog's two
 * forms, the fields of the journal's own protocol. Pure: text in, slices of it out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "user/util/slice.h"

struct journal_line;

/* What senders leave open. */
#define JOURNAL_PRI_DATAGRAM (1 * 8 + 6) /* user.info */
#define JOURNAL_PRI_STREAM   (3 * 8 + 6) /* daemon.info */
#define JOURNAL_PRI_AUDIT    (4 * 8 + 5) /* auth.notice */
#define JOURNAL_PRI_MAX	     191

static inline bool journal_is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static inline bool journal_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline void journal_skip(struct slice *s, size_t n)
{
	s->p += n;
	s->len -= n;
}

/* No sender but the kernel is facility 0: it is what "not given" looks like. */
static inline uint8_t journal_checked_pri(unsigned pri)
{
	return (uint8_t)(pri < 8 ? 1 * 8 + pri : pri);
}

/* Ten digits at the most, and nothing else. */
bool journal_parse_number(struct slice s, uint64_t max, uint64_t *ret);

/* "<N>" with N up to max: moves *s behind it. */
bool journal_parse_pri(struct slice *s, unsigned max, unsigned *ret);

/*
 * "name[pid]: " at the start of *text, as syslog(3) writes it: moves *text
 * behind it and sets *identifier, and *pid if there is one. False, and nothing
 * changed, when there is none.
 */
bool journal_parse_identifier(struct slice *text, struct slice *identifier, uint32_t *pid);

/*
 * RFC 5424, 6, behind its PRI: "1 TIME HOST APP PROCID MSGID SD MSG". Sets what it has
 * in *line; false, and nothing changed, for something else.
 */
bool journal_parse_rfc5424(struct slice s, struct journal_line *line);

/*
 * The next parameter of structured data (RFC 5424, 6.3) from *data, which moves behind it. id
 * is that of its element, and stays what it was where none begins: empty before the first call.
 * An element without any has one with an empty name. value is as it was written: each of
 * its ", \\ and ] behind a \\. False: there are no more that make sense.
 */
bool journal_next_param(struct slice *data, struct slice *id, struct slice *name,
			struct slice *value);

/*
 * A message to /dev/log, as journald and syslogd understand it: sets pri, identifier, pid,
 * code and text of *line. False when it has no form that is known: it is all text.
 */
bool journal_parse_syslog(struct slice s, struct journal_line *line);

/*
 * The file in which journald keeps what it knows of a stream, for its own next start:
 * /run/systemd/journal/streams/DEV:INO. False when there is no priority in it.
 */
struct journal_stream_header;
bool journal_parse_stream(struct slice text, struct journal_stream_header *ret);

/* The pid that an audit record is about; 0: none. */
uint32_t journal_audit_pid(struct slice text);

/* ------------------------------------------------------------------ fields */

/* A key is at most JOURNAL_KEY_MAX bytes of A to Z, 0 to 9 and _; a value is any bytes. */
#define JOURNAL_KEY_MAX 64
bool journal_is_key(struct slice key);

/*
 * One field at *at. 1 and *at behind it; 0 when it does not end here: *ret_value is what
 * there is of it (p is NULL: nothing), and nothing follows; -EBADMSG for something else.
 */
int journal_parse_field(const char **at, const char *end, struct slice *ret_key,
			struct slice *ret_value);

/*
 * The next field of a native message that has no place in struct journal_line,
 * from *fields, which moves behind it. False: there are no more.
 */
bool journal_next_field(struct slice *fields, struct slice *key, struct slice *value);
