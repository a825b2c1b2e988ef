/* SPDX-License-Identifier: Apache-2.0 */
#include "user/dns.h"

#include <errno.h>
#include <string.h>

#define HEADER_SIZE 12
#define CLASS_IN    1
#define RECORDS_MAX 64 /* of an answer: what is beyond is not looked at */
#define HOPS_MAX    32 /* of one name's compression */

struct reader {
	const uint8_t *p;
	size_t size, at;
};

struct dns_record {
	uint16_t type;
	uint32_t ttl_s;
	char owner[DNS_NAME_MAX + 1];
	size_t data, data_len;
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* What names of hosts and services are made of; in lower case, or 0. */
static char name_char(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c - 'A' + 'a');
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '*')
		return (char)c;
	return 0;
}

/*
 * A name at r->at, which moves behind it. RFC 1035, 4.1.4: a pointer is to a prior
 * place, so each one goes further back and no loop can be made. 0; -ENODATA: the
 * message ends before; -EBADMSG. With text NULL it is passed over.
 */
static int read_name(struct reader *r, char text[DNS_NAME_MAX + 1], size_t *ret_len)
{
	size_t at = r->at, limit = r->at, len = 0, wire = 0;
	bool jumped = false;

	for (int hops = 0;;) {
		uint8_t n;

		if (at >= r->size)
			return -ENODATA;
		n = r->p[at];
		if ((n & 0xc0) == 0xc0) {
			size_t to;

			if (at + 2 > r->size)
				return -ENODATA;
			to = get16(r->p + at) & 0x3fff;
			if (!jumped)
				r->at = at + 2;
			jumped = true;
			if (to >= limit || to < HEADER_SIZE || ++hops > HOPS_MAX)
				return -EBADMSG;
			at = limit = to;
			continue;
		}
		if (n & 0xc0)
			return -EBADMSG;
		if (at + 1 + n > r->size)
			return -ENODATA;
		at += 1 + (size_t)n;
		wire += 1 + (size_t)n;
		if (wire > 255)
			return -EBADMSG;
		if (!n)
			break;
		if (len)
			text[len++] = '.';
		for (size_t i = at - n; i < at; i++) {
			char c = name_char(r->p[i]);

			if (!c)
				return -EBADMSG;
			text[len++] = c;
		}
	}
	if (!jumped)
		r->at = at;
	text[len] = '\0';
	*ret_len = len;
	return 0;
}

/* An owner that no host can have is of no interest, but what comes behind it is. */
static int read_record(struct reader *r, struct dns_record *ret)
{
	size_t from = r->at, len;
	const uint8_t *p;
	int err = read_name(r, ret->owner, &len);

	if (err == -EBADMSG) {
		/* Over its labels: the end of a name is a zero or a pointer. */
		for (r->at = from; r->at < r->size && r->p[r->at] && r->p[r->at] < 64;)
			r->at += 1 + (size_t)r->p[r->at];
		if (r->at >= r->size)
			return -ENODATA;
		if (r->p[r->at] && r->p[r->at] < 0xc0)
			return -EBADMSG;
		r->at += r->p[r->at] ? 2 : 1;
		ret->owner[0] = '\0';
	} else if (err) {
		return err;
	}
	if (r->at > r->size || r->size - r->at < 10)
		return -ENODATA;
	p = r->p + r->at;
	ret->type = get16(p + 2) == CLASS_IN && !err ? get16(p) : 0;
	ret->ttl_s = get32(p + 4);
	if (ret->ttl_s >> 31) /* RFC 2181, 8 */
		ret->ttl_s = 0;
	ret->data_len = get16(p + 8);
	ret->data = r->at + 10;
	if (r->size - ret->data < ret->data_len)
		return -ENODATA;
	r->at = ret->data + ret->data_len;
	if ((ret->type == DNS_A && ret->data_len != 4) ||
	    (ret->type == DNS_AAAA && ret->data_len != 16))
		return -EBADMSG;
	return 0;
}

/* From the name that was asked for to the one that has the addresses. */
static void follow(const struct reader *r, const struct dns_record *records, int n, char *name)
{
	bool used[RECORDS_MAX] = { false }, moved;

	do {
		moved = false;
		for (int i = 0; i < n; i++) {
			struct reader target = { r->p, records[i].data + records[i].data_len,
						 records[i].data };
			char next[DNS_NAME_MAX + 1];
			size_t len;

			if (records[i].type != DNS_CNAME || used[i] ||
			    strcmp(records[i].owner, name) != 0)
				continue;
			used[i] = true; /* so that a ring of names comes to an end */
			if (read_name(&target, next, &len))
				continue;
			memcpy(name, next, len + 1);
			moved = true;
		}
	} while (moved);
}

int dns_parse(const uint8_t *p, size_t size, size_t full_size, struct dns_answer *ret)
{
	struct dns_record records[RECORDS_MAX];
	char name[DNS_NAME_MAX + 1];
	struct reader r = { p, size, HEADER_SIZE };
	int n = 0, answers;

	/* QR, a plain query, one question. */
	if (size < HEADER_SIZE || (p[2] & 0xf8) != 0x80 || get16(p + 4) != 1)
		return -EBADMSG;
	*ret = (struct dns_answer){ .id = get16(p),
				    .rcode = p[3] & 15,
				    .cut = (p[2] & 2) || size < full_size };
	if (read_name(&r, ret->name, &ret->name_len) || size - r.at < 4 ||
	    get16(p + r.at + 2) != CLASS_IN)
		return -EBADMSG;
	ret->type = get16(p + r.at);
	r.at += 4;
	answers = get16(p + 6);
	if (answers > RECORDS_MAX) {
		answers = RECORDS_MAX;
		ret->cut = true;
	}
	for (; n < answers; n++) {
		int err = read_record(&r, &records[n]);

		if (err == -ENODATA && ret->cut)
			break;
		if (err)
			return -EBADMSG;
	}
	memcpy(name, ret->name, ret->name_len + 1);
	follow(&r, records, n, name);
	for (int i = 0; i < n && ret->n_addresses < DNS_ADDRESSES_MAX; i++) {
		struct dns_address *a = &ret->addresses[ret->n_addresses];

		if ((records[i].type != DNS_A && records[i].type != DNS_AAAA) ||
		    strcmp(records[i].owner, name) != 0)
			continue;
		*a = (struct dns_address){ .ip_version = records[i].type == DNS_A ? 4 : 6,
					   .ttl_s = records[i].ttl_s };
		memcpy(a->bytes, p + records[i].data, records[i].data_len);
		ret->n_addresses++;
	}
	return 0;
}

const char *dns_type_name(uint16_t type)
{
	static const char *const names[] = {
		[DNS_A] = "A", [2] = "NS",     [DNS_CNAME] = "CNAME", [6] = "SOA",
		[12] = "PTR",  [15] = "MX",    [16] = "TXT",	      [DNS_AAAA] = "AAAA",
		[33] = "SRV",  [35] = "NAPTR", [43] = "DS",	      [48] = "DNSKEY",
		[64] = "SVCB", [65] = "HTTPS",
	};

	if (type == 255)
		return "ANY";
	return type < sizeof(names) / sizeof(*names) ? names[type] : NULL;
}

const char *dns_rcode_name(uint8_t rcode)
{
	static const char *const names[] = { "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN",
					     "NOTIMP",	"REFUSED", "YXDOMAIN", "YXRRSET",
					     "NXRRSET", "NOTAUTH", "NOTZONE" };

	return rcode < sizeof(names) / sizeof(*names) ? names[rcode] : NULL;
}
