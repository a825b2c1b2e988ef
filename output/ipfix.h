/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IPFIX (RFC 7011) with biflows (RFC 5103) and type information (RFC 5610), and
 * NetFlow 9 (RFC 3954): stored flow records to messages. Pure: no descriptor, no
 * clock; whoever sends is out_ipfix.c. docs/IPFIX.md is made from the table here.
 *
 * The stored record is our JSON, whose top level has IPFIX's names already. To
 * keep a second, binary form beside it would make every spool larger for an
 * output that few use; to read it costs 7 us a flow (bench_records).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "user/util/slice.h"

#define IPFIX_PEN	  53288 /* Sekoia.io's private enterprise number */
#define IPFIX_PEN_REVERSE 29305 /* RFC 5103, 6.1 */
#define IPFIX_MAX_BYTES	  65535 /* RFC 7011, 3.1 */
#define IPFIX_MIN_BYTES	  1232	/* IPv6's smallest MTU without its headers: each flow fits */
#define IPFIX_FIELDS_MAX  64

enum ipfix_version { IPFIX_NETFLOW9 = 9, IPFIX_10 = 10 };

/* A flow as its record has it. The slices point into the record. */
struct ipfix_flow {
	uint8_t kind; /* which template: TCP, with ports, ICMP, others… */
	bool is_v6;   /* …of which family */
	uint64_t has; /* bit i: field i is known */
	struct {
		uint64_t number;
		uint8_t address[16];
		struct slice text; /* JSON, with its escapes */
	} value[IPFIX_FIELDS_MAX];
};

/* 0, or -EBADMSG: it is no flow record, or lacks what each flow has. */
int ipfix_parse(struct slice json, struct ipfix_flow *ret);

/* What a stream of messages has to remember. */
struct ipfix {
	enum ipfix_version version;
	uint32_t domain;   /* observation domain id, source id */
	uint32_t sequence; /* of the next message: data records so far; messages for version 9 */
	size_t max_bytes;
	char host[256]; /* observationDomainName */
	/* Version 9 has times in ms since this one, which the header tells. */
	uint64_t origin_ms;

	/* The message that is being written. */
	char *buf;
	size_t len, set_at; /* set_at 0: no set is open */
	uint16_t set_id;
	uint32_t records;     /* those that a sequence number counts, */
	uint32_t all_records; /* and with templates, for version 9 */
	uint32_t flows;
};

/* Times are since the epoch. boot_ms: when the host was started. host may be empty. */
void ipfix_init(struct ipfix *x, enum ipfix_version version, uint32_t domain, size_t max_bytes,
		const char *host, uint64_t boot_ms);

/* A new message in buf, which has max_bytes. */
void ipfix_begin(struct ipfix *x, char *buf, uint64_t now_ms);

/*
 * One biflow; two flows in version 9, if there was an answer. 0; -ENOBUFS: the message
 * is full (end it, begin another); never for an empty one of IPFIX_MIN_BYTES or more.
 */
int ipfix_put_flow(struct ipfix *x, const struct ipfix_flow *f);

/*
 * Templates and what describes them, from *at on (0 for all). 0: all are in;
 * -ENOBUFS: the message is full, call it again for the next one.
 */
int ipfix_put_templates(struct ipfix *x, unsigned *at);

/* Ends the message; returns its length. 0: it was empty. */
size_t ipfix_end(struct ipfix *x, uint64_t now_ms);

/* The tables of docs/IPFIX.md, as Markdown. */
void ipfix_put_reference(FILE *f);
