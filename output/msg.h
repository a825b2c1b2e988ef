/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the collector hands over and the shipper sends: one event, in the terms
 * of RFC 5424, plus its JSON. Nothing here knows what a flow is.
 *
 * text and json: an event has json, or text, or both.
 *   - json alone is one complete object: sent as it is by every transport.
 *   - text alone is sent as it is by every transport.
 *   - With both, text is what syslog and RELP send. JSON transports send json,
 *     which then stops where the value of its last member is due; it is
 *     completed by the text as a JSON string and two closing braces:
 *         {"@timestamp":"…","event":{"kind":"event","reason":   "TEXT"}}
 *     So the text is stored once.
 */
#pragma once

#include <stdint.h>

#include "user/util/slice.h"

/* In the order in which a full spool gives them up. */
enum msg_class { MSG_JOURNAL, MSG_FLOW, MSG_KERNEL, MSG_SELF, MSG_CLASSES };

struct msg {
	uint64_t seq;	  /* its number in the spool, from 1 */
	uint64_t epoch;	  /* with seq, its id: EPOCH-SEQ, of which no other event has the same */
	uint64_t time_us; /* since the epoch, UTC */
	enum msg_class class;
	uint8_t pri;	     /* RFC 5424, 6.2.1: facility * 8 + severity, 0 to 191 */
	struct slice host;   /* HOSTNAME */
	struct slice app;    /* APP-NAME: the identifier, or our own name */
	struct slice procid; /* PROCID; may be empty */
	struct slice route;  /* the name of the intake, or empty for the default one */
	struct slice text;
	struct slice json;
};

/* Sekoia refuses events above 250 KiB; its own senders stop at this many bytes. */
#define MSG_MAX_BYTES 250000
