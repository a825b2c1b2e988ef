/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record read again, for people: what is in it that a person asks for, as one
 * line of a terminal, and whether it is one that was asked for. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "output/msg.h"

#define RECORD_COLUMNS	 80
#define RECORD_LINE_SIZE (RECORD_COLUMNS * 4 + 1)

/* Of one record. What it does not have is empty, or 0. */
struct record_facts {
	const struct msg *msg;
	bool is_flow;
	char source[48], destination[48]; /* addresses */
	uint64_t source_port, destination_port;
	char transport[16];
	uint64_t sent, received; /* by the source */
	char process[64], app[64], container[72], action[32];
	uint64_t pid;
	char text[512]; /* what the line or the event says, its beginning */
};

/* m is borrowed for as long as ret is used. */
void record_read(const struct msg *m, struct record_facts *ret);

/* "05:33:01 flow    10.0.0.1:34567 -> 192.0.2.4:443 tcp 1.2 kB/34 kB curl(1234)" */
void record_line(const struct record_facts *r, char ret[static RECORD_LINE_SIZE]);

/* As JSON transports send it (see msg.h), or the bare text; and an LF. 0 or -EMSGSIZE. */
int record_put_json(const struct msg *m, FILE *f);

/* Text for a terminal: at most columns of it, and nothing that a terminal would obey. */
size_t record_columns(struct slice text, size_t columns, char *ret, size_t size);

/* 999 B, 1.2 kB, 34 MB: eight columns at the most. */
const char *record_bytes(uint64_t n, char ret[static 16]);

/* What was asked for. Of the same kind, one is enough; of several kinds, all. */
#define RECORD_WISHES 16
struct record_filter {
	int n;
	struct record_wish {
		enum record_wish_kind {
			WISH_CLASS,
			WISH_PROCESS,
			WISH_PID,
			WISH_HOST,
			WISH_PORT,
			WISH_CONTAINER,
			WISH_TEXT,
			WISH_KINDS
		} kind;
		const char *text;
		uint64_t number;
	} wishes[RECORD_WISHES];
};

/* "flows", "port=443", or a text; text is borrowed. -EINVAL, -E2BIG. */
int record_filter_add(struct record_filter *f, const char *text);
bool record_filter_takes(const struct record_filter *f, const struct record_facts *r);
