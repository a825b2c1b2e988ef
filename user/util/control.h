/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the collector tells the shipper, one datagram each, over the socket
 * pair that it started it with: first the configuration as INI text, then
 * these. The shipper answers nothing: its books are in its cursors. Only when it
 * ends it hands them back, for the next one to go on with in case that the
 * cursors are lost with their folder. The end of the stream says that the
 * collector is gone.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The configuration's text is not longer than this. */
#define CONTROL_CONFIG_MAX 65536

enum control_type {
	CONTROL_WAKE = 'w', /* the spool has grown */
	CONTROL_STOP = 's', /* send what is in the spool now, then exit */
};

struct control_msg {
	enum control_type type;
	uint64_t deadline_ms; /* CONTROL_STOP: monotonic, when to exit at the latest */
};
#define CONTROL_MSG_MAX 9

/*
 * CONTROL_BOOKS: the books of one output, which only the shipper understands.
 * From an ending shipper to the collector, and from there, behind the
 * configuration, to the next shipper.
 */
#define CONTROL_BOOKS	  'b'
#define CONTROL_BOOKS_MAX 1024

/* Returns the length. */
size_t control_encode(const struct control_msg *m, uint8_t ret[static CONTROL_MSG_MAX]);

/* 0, or -EBADMSG when this is none of the above; then *ret is untouched. */
int control_decode(const void *data, size_t len, struct control_msg *ret);
