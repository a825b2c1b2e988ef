/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RELP frames: TXNR SP COMMAND SP DATALEN [SP DATA] LF. Pure; what is open in
 * a session is out_relp.c's to know.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "output/msg.h"
#include "output/rfc5424.h"
#include "user/util/buf.h"
#include "user/util/slice.h"

/* librelp counts on to ten digits here and then refuses them: never get near. */
#define RELP_TXNR_MAX	 999999999
#define RELP_COMMAND_MAX 32
/* Of what a server says to us: answers of one line, offers of a few. */
#define RELP_DATA_MAX  16384
#define RELP_FRAME_MAX (9 + 1 + RELP_COMMAND_MAX + 1 + 9 + 1 + RELP_DATA_MAX + 1)

/* Appends a frame. 0, -ENOBUFS or -ENOMEM. */
int relp_append(struct buf *b, uint32_t txnr, const char *command, struct slice data);

/* Appends what a client opens a session with: our offers, as transaction 1. */
int relp_append_open(struct buf *b);

/* Appends m in a syslog frame. 0 and *ret_bytes, -ENOBUFS or -ENOMEM. */
int relp_append_syslog(struct buf *b, uint32_t txnr, const struct rfc5424_sd *sd,
		       const struct msg *m, size_t *ret_bytes);

struct relp_frame {
	uint32_t txnr;
	struct slice command;
	struct slice data;
};

/* The first frame of in: bytes consumed, 0 for "need more", -EBADMSG. Slices point into in. */
ssize_t relp_parse(struct slice in, struct relp_frame *ret);

/* The data of a rsp frame: "200 OK", then after a LF what the command defines. */
struct relp_rsp {
	int code;
	struct slice text; /* for people; may be empty */
	struct slice data;
};
int relp_parse_rsp(struct slice data, struct relp_rsp *ret);

/* What the server answers to our offers. */
struct relp_offers {
	int version; /* -1: not said */
	bool syslog; /* the command is offered */
	struct slice software;
};
int relp_parse_offers(struct slice data, struct relp_offers *ret);
