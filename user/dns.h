/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer of the DNS (RFC 1035): what was asked, and the addresses that the
 * answer leads to, over its CNAMEs. Pure, and strict: the bytes are a stranger's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_NAME_MAX	  253
#define DNS_ADDRESSES_MAX 32

enum dns_type { DNS_A = 1, DNS_CNAME = 5, DNS_AAAA = 28 };

struct dns_address {
	uint8_t bytes[16]; /* network order; IPv4 in the first four */
	uint8_t ip_version;
	uint32_t ttl_s;
};

struct dns_answer {
	uint16_t id;
	uint16_t type; /* enum dns_type, or any other: of the question */
	uint8_t rcode;
	bool cut;		     /* by its sender or by whoever copied it: there may be more */
	char name[DNS_NAME_MAX + 1]; /* of the question: lower case, no dot at the end */
	size_t name_len;	     /* 0: the root */
	int n_addresses; /* of the question's name; what is beyond the maximum is not here */
	struct dns_address addresses[DNS_ADDRESSES_MAX];
};

/*
 * size bytes of a message of full_size. 0; -EBADMSG: it is none, or no answer to one
 * question of class IN, or it has a name that no host can have.
 */
int dns_parse(const uint8_t *p, size_t size, size_t full_size, struct dns_answer *ret);

/* "A", "AAAA", "NXDOMAIN"; NULL: it has no name here. */
const char *dns_type_name(uint16_t type);
const char *dns_rcode_name(uint8_t rcode);
