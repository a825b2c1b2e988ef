/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What flows are called: which name an address was the answer to, and what a
 * TLS or QUIC client said at the start of its connection. Two tables with a ceiling each;
 * the least recently used goes first, counted. No clock, no descriptor: all times
 * are the samples' own.
 *
 * An address is known by who asked: the process, its cgroup, and anybody on this host.
 * It is remembered since when it has its name, and which one it had before, so
 * that a long flow keeps the name that it began with.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "user/dns.h"
#include "user/event.h"
#include "user/tls_hello.h"
#include "user/util/cleanup.h"
#include "user/util/slice.h"

struct names;

struct names_opts {
	uint32_t max_addresses, max_flows; /* 0: the usual ones */
	bool quic;			   /* its hellos are to be opened */
};
#define NAMES_MAX_ADDRESSES 16384
#define NAMES_MAX_FLOWS	    4096
#define NAMES_MAX_PARTS	    64 /* hellos, and answers over TCP, of which more is to come */

/* For a flow that begins later than its name's time to live, and than this, it is no more. */
#define NAMES_KEEP_NS (3600 * 1000000000ull)

struct names_stats {
	uint64_t addresses, flows; /* in the tables now */
	/* Each packet is one of these four. */
	uint64_t answers, hellos; /* understood */
	uint64_t parts;		  /* of either, beside the packet that completes one */
	uint64_t malformed;	  /* it made no sense */
	uint64_t incomplete;	  /* those that were given up: a part is missing */
	uint64_t evicted_addresses, evicted_flows;
	uint64_t flows_named, flows_with_hello; /* records that got something */
};

/* The caller owns *ret. 0 or -ENOMEM. */
int names_new(const struct names_opts *opts, struct names **ret);
void names_free(struct names *n);

/* It was wanted, but libcrypto has no AES here. */
bool names_lacks_quic(const struct names *n);
DEFINE_CLEANUP(struct names *, names_free);

/* Takes what a packet says, whatever it is. */
void names_take_packet(struct names *n, const struct packet_sample *p);

/* The parts of it; the first for those who have parsed it. */
void names_learn(struct names *n, const struct task_ref *asker, const struct dns_answer *a,
		 uint64_t boot_ns);

/* The remote end's name: empty when it is not known. Good until the next packet is taken. */
struct names_domain {
	struct slice name;
	bool by_other; /* who asked is not known to be who uses it */
};
struct names_domain names_find_domain(struct names *n, const struct flow *f);

/* NULL: it began with none that was seen. Good until the next packet is taken. */
const struct tls_hello *names_find_hello(struct names *n, const struct flow *f);

/* The DNS transaction of a flow; NULL: none. Good until the next packet is taken. */
#define NAMES_ANSWER_ADDRESSES 8
struct names_answer {
	char name[DNS_NAME_MAX + 1]; /* that was asked for */
	uint16_t type;
	uint8_t rcode;
	int n_addresses; /* the first of them */
	struct dns_address addresses[NAMES_ANSWER_ADDRESSES];
};
const struct names_answer *names_find_answer(struct names *n, const struct flow *f);

/* Its last report was made. */
void names_forget(struct names *n, const struct flow *f);

void names_get_stats(const struct names *n, struct names_stats *ret);
