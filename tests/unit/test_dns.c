/* SPDX-License-Identifier: Apache-2.0 */
/* DNS answers byte by byte: chains, compression, and what a stranger may send. */
#include "user/dns.h"

#include <errno.h>

#include "tests/lib/test.h"

/* A message is built here. */
static uint8_t m[4096];
static size_t n;

static void u16(unsigned v)
{
	m[n++] = (uint8_t)(v >> 8);
	m[n++] = (uint8_t)v;
}

/* "a.b" as labels; a text that begins with @ ends in a pointer to the place behind it: "a@12". */
static void name(const char *text)
{
	const char *at = strchr(text, '@');
	const char *end = at ? at : text + strlen(text);

	while (text < end) {
		size_t len = strcspn(text, ".@");

		m[n++] = (uint8_t)len;
		memcpy(m + n, text, len);
		n += len;
		text += len + (text[len] == '.');
	}
	if (at)
		u16(0xc000 | (unsigned)atoi(at + 1));
	else
		m[n++] = 0;
}

static void begin(const char *question, unsigned type, unsigned answers)
{
	n = 0;
	u16(0x1234);
	u16(0x8180);
	u16(1);
	u16(answers);
	u16(0);
	u16(0);
	name(question);
	u16(type);
	u16(1);
}

static void record(const char *owner, unsigned type, unsigned ttl, const void *data, size_t len)
{
	name(owner);
	u16(type);
	u16(1);
	u16(ttl >> 16);
	u16(ttl);
	u16((unsigned)len);
	memcpy(m + n, data, len);
	n += len;
}

static void cname(const char *owner, const char *target)
{
	size_t at;

	name(owner);
	u16(DNS_CNAME);
	u16(1);
	u16(0);
	u16(60);
	at = n;
	u16(0);
	name(target);
	m[at] = (uint8_t)((n - at - 2) >> 8);
	m[at + 1] = (uint8_t)(n - at - 2);
}

static struct dns_answer a;

static int parse(void)
{
	/* Of exact size, so that a sanitizer sees the first byte that is read beyond it. */
	uint8_t *copy = malloc(n ? n : 1);
	int err;

	memcpy(copy, m, n);
	err = dns_parse(copy, n, n, &a);
	free(copy);
	return err;
}

TEST(an_address)
{
	begin("WWW.Example.TEST", DNS_A, 1);
	record("@12", DNS_A, 300, "\xc0\0\2\7", 4);
	CHECK_INT(parse(), 0);
	CHECK_INT(a.id, 0x1234);
	CHECK_INT(a.type, DNS_A);
	CHECK_INT(a.rcode, 0);
	CHECK(!a.cut);
	CHECK_MEM(a.name, a.name_len, "www.example.test");
	CHECK_INT(a.n_addresses, 1);
	CHECK_INT(a.addresses[0].ip_version, 4);
	CHECK_INT(a.addresses[0].ttl_s, 300);
	CHECK(!memcmp(a.addresses[0].bytes, "\xc0\0\2\7", 4));
}

TEST(aaaa_and_several)
{
	begin("x.test", DNS_AAAA, 3);
	record("x.test", DNS_AAAA, 1, "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	record("@12", DNS_AAAA, 0x80000001, "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\2", 16);
	record("other.test", DNS_AAAA, 1, "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\3", 16);
	CHECK_INT(parse(), 0);
	CHECK_INT(a.n_addresses, 2);
	CHECK_INT(a.addresses[1].ip_version, 6);
	CHECK_INT(a.addresses[1].bytes[15], 2);
	CHECK_INT(a.addresses[1].ttl_s, 0); /* RFC 2181, 8 */
}

TEST(chains_in_any_order)
{
	begin("a.test", DNS_A, 4);
	record("d.test", DNS_A, 9, "\1\2\3\4", 4);
	cname("c.test", "d.test");
	cname("b.test", "c.test");
	cname("@12", "b.test");
	CHECK_INT(parse(), 0);
	CHECK_MEM(a.name, a.name_len, "a.test");
	CHECK_INT(a.n_addresses, 1);

	/* An address of the alias itself, or of a name beside the chain, is nobody's. */
	begin("a.test", DNS_A, 3);
	cname("@12", "b.test");
	record("@12", DNS_A, 9, "\1\2\3\4", 4);
	record("z.test", DNS_A, 9, "\1\2\3\5", 4);
	CHECK_INT(parse(), 0);
	CHECK_INT(a.n_addresses, 0);

	/* A ring of names comes to an end. */
	begin("a.test", DNS_A, 2);
	cname("a.test", "b.test");
	cname("b.test", "a.test");
	CHECK_INT(parse(), 0);
	CHECK_INT(a.n_addresses, 0);
}

TEST(no_such_name)
{
	begin("nope.test", DNS_A, 0);
	m[3] |= 3;
	CHECK_INT(parse(), 0);
	CHECK_INT(a.rcode, 3);
	CHECK_STR(dns_rcode_name(a.rcode), "NXDOMAIN");
	CHECK_STR(dns_type_name(DNS_AAAA), "AAAA");
	CHECK_STR(dns_type_name(65), "HTTPS");
	CHECK(!dns_type_name(1234) && !dns_rcode_name(15));
}

TEST(other_records_are_passed_over)
{
	begin("a.test", DNS_A, 3);
	record("@12", 46, 1, "signature", 9);
	record("a b.test", DNS_A, 1, "\1\2\3\4", 4); /* a name that no host has */
	record("@12", DNS_A, 1, "\1\2\3\5", 4);
	CHECK_INT(parse(), 0);
	CHECK_INT(a.n_addresses, 1);
	CHECK_INT(a.addresses[0].bytes[3], 5);
}

TEST(more_than_there_is_room_for)
{
	begin("a.test", DNS_A, 60);
	for (int i = 0; i < 60; i++)
		record("@12", DNS_A, 1, "\1\2\3\4", 4);
	CHECK_INT(parse(), 0);
	CHECK_INT(a.n_addresses, DNS_ADDRESSES_MAX);
	begin("a.test", DNS_A, 100);
	for (int i = 0; i < 100; i++)
		record("@12", DNS_A, 1, "\1\2\3\4", 4);
	CHECK_INT(parse(), 0);
	CHECK(a.cut);
}

TEST(cut_short)
{
	begin("a.test", DNS_A, 2);
	record("@12", DNS_A, 1, "\1\2\3\4", 4);
	n -= 1;
	CHECK_INT(parse(), -EBADMSG); /* it says that it is whole */
	m[2] |= 2;		      /* TC */
	CHECK_INT(parse(), 0);
	CHECK(a.cut);
	CHECK_INT(a.n_addresses, 0);
	m[2] &= (uint8_t)~2;
	CHECK_INT(dns_parse(m, n, n + 200, &a), 0); /* not all of it was copied */
	CHECK(a.cut);
}

TEST(hostile)
{
	size_t whole;

	/* A pointer to itself, to what follows, into the header, and two that go round. */
	static const char *const owners[] = { "@24", "@40", "@4", "x@24" };

	for (size_t i = 0; i < sizeof(owners) / sizeof(*owners); i++) {
		begin("a.test", DNS_A, 1);
		CHECK_INT(n, 24);
		record(owners[i], DNS_A, 1, "\1\2\3\4", 4);
		CHECK_INT(parse(), 0);
		CHECK_INT(a.n_addresses, 0);
	}
	begin("@12", DNS_A, 0);
	CHECK_INT(parse(), -EBADMSG);
	begin("a\1b.test", DNS_A, 0);
	CHECK_INT(parse(), -EBADMSG);
	begin("\"a\".test", DNS_A, 0);
	CHECK_INT(parse(), -EBADMSG);

	/* A name of 256 bytes by a pointer into a long one. */
	begin("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa."
	      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa."
	      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa."
	      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	      DNS_A, 1);
	record("b@12", DNS_A, 1, "\1\2\3\4", 4);
	CHECK_INT(parse(), 0);
	CHECK_INT(a.name_len, 253);
	CHECK_INT(a.n_addresses, 0);

	/* Not an answer; not a query's; no question; two. */
	begin("a.test", DNS_A, 0);
	m[2] &= 0x7f;
	CHECK_INT(parse(), -EBADMSG);
	begin("a.test", DNS_A, 0);
	m[2] |= 0x28;
	CHECK_INT(parse(), -EBADMSG);
	begin("a.test", DNS_A, 0);
	m[5] = 0;
	CHECK_INT(parse(), -EBADMSG);
	m[5] = 2;
	CHECK_INT(parse(), -EBADMSG);

	/* An address of another length. */
	begin("a.test", DNS_A, 1);
	record("@12", DNS_A, 1, "\1\2\3", 3);
	CHECK_INT(parse(), -EBADMSG);

	/* Each prefix of a good one. */
	begin("a.test", DNS_A, 2);
	cname("@12", "b@14");
	record("b@14", DNS_A, 1, "\1\2\3\4", 4);
	CHECK_INT(parse(), 0);
	CHECK_INT(a.n_addresses, 1);
	for (whole = n, n = 0; n < whole; n++)
		CHECK_INT(parse(), -EBADMSG);
}
