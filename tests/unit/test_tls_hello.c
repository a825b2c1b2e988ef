/* SPDX-License-Identifier: Apache-2.0 */
/* Client hellos: names, protocols, and JA4 against the published examples. */
#include "user/tls_hello.h"

#include <errno.h>

#include "tests/lib/hello.h"
#include "tests/lib/test.h"
#include "user/util/sha256.h"

static const uint16_t ciphers[] = { 0x5a5a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f,
				    0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
				    0x009c, 0x009d, 0x002f, 0x0035, 1 };
static const uint16_t extensions[] = { 0x8a8a, 0x0017, 0xff01, 0x000a, 0x000b, 0x0023,
				       0x0005, 0x000d, 0x0012, 0x0033, 0x002d, 0x002b,
				       0x001b, 0x4469, 0xdada, 0x0015, 1 };
static const uint16_t algorithms[] = { 0x0403, 0x0804, 0x0401, 0x0503, 0x0805,
				       0x0501, 0x0806, 0x0601, 1 };
static const uint16_t versions[] = { 0xbaba, 0x0304, 0x0303, 1 };

static uint8_t bytes[32768];
static struct tls_hello h;

static int parse(const struct hello_wish *w)
{
	size_t n = hello_make(w, bytes);
	uint8_t *copy = malloc(n);
	int err;

	memcpy(copy, bytes, n);
	err = tls_hello_parse(copy, n, &h);
	free(copy);
	return err;
}

static struct hello_wish browser(void)
{
	return (struct hello_wish){ .server_name = "WWW.example.test",
				    .alpn = "h2 http/1.1",
				    .ciphers = ciphers,
				    .extensions = extensions,
				    .versions = versions,
				    .algorithms = algorithms };
}

TEST(sha256_of_the_standard)
{
	static const struct {
		const char *text;
		uint8_t first, last;
	} cases[] = { { "abc", 0xba, 0xad },
		      { "", 0xe3, 0x55 },
		      { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 0x24, 0xc1 } };
	uint8_t hash[SHA256_SIZE];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		sha256(cases[i].text, strlen(cases[i].text), hash);
		CHECK_INT(hash[0], cases[i].first);
		CHECK_INT(hash[31], cases[i].last);
	}
}

/* The example of the specification: a browser. */
TEST(ja4_as_published)
{
	struct hello_wish w = browser();

	CHECK_INT(parse(&w), 0);
	CHECK_STR(h.ja4, "t13d1516h2_8daaf6152771_e5627efa2ab1");
	CHECK_STR(h.server_name, "www.example.test");
	CHECK_INT(h.n_alpn, 2);
	CHECK_MEM(h.alpn[0].text, h.alpn[0].len, "h2");
	CHECK_MEM(h.alpn[1].text, h.alpn[1].len, "http/1.1");
}

TEST(ja4_corners)
{
	static const uint16_t old[] = { 0x0300, 1 }, none[] = { 1 }, one[] = { 0x002f, 1 };
	static const uint16_t no_algorithms[] = { 0x000a, 0x0017, 1 };
	struct hello_wish w = browser();

	w.server_name = NULL;
	CHECK_INT(parse(&w), 0);
	CHECK_STR(h.ja4, "t13i1515h2_8daaf6152771_e5627efa2ab1");
	w.alpn = NULL;
	CHECK_INT(parse(&w), 0);
	CHECK_STR(h.ja4, "t13i151400_8daaf6152771_e5627efa2ab1");
	w.alpn = "h";
	CHECK_INT(parse(&w), 0);
	CHECK_STR(h.ja4, "t13i1515hh_8daaf6152771_e5627efa2ab1");
	w.alpn = "\xab"; /* not a letter: of its hexadecimal form */
	CHECK_INT(parse(&w), 0);
	CHECK_STR(h.ja4, "t13i1515ab_8daaf6152771_e5627efa2ab1");
	w.alpn = "0\xab";
	CHECK_INT(parse(&w), 0);
	CHECK_STR(h.ja4, "t13i15153b_8daaf6152771_e5627efa2ab1");
	w.alpn = NULL;
	w.versions = old;
	CHECK_INT(parse(&w), 0);
	CHECK_MEM(h.ja4, 3, "ts3");
	w.extensions = no_algorithms;
	w.ciphers = one;
	CHECK_INT(parse(&w), 0);
	/* sha256("002f") and sha256("000a,0017") */
	CHECK_STR(h.ja4, "t12i010200_ba72b8082249_c5fbb8d9fc5a");
	w.extensions = NULL;
	w.ciphers = none;
	w.version = 0x0301;
	CHECK_INT(parse(&w), 0);
	CHECK_STR(h.ja4, "t10i000000_000000000000_000000000000");
	CHECK_STR(h.server_name, "");
	CHECK_INT(h.n_alpn, 0);
}

TEST(in_several_records)
{
	struct hello_wish w = browser();

	for (w.record = 1; w.record < 300; w.record += 13) {
		CHECK_INT(parse(&w), 0);
		CHECK_STR(h.ja4, "t13d1516h2_8daaf6152771_e5627efa2ab1");
	}
}

TEST(large_ones)
{
	struct hello_wish w = browser();

	w.pad = 7000;
	CHECK_INT(parse(&w), 0);
	CHECK_STR(h.ja4, "t13d1516h2_8daaf6152771_e5627efa2ab1");
	w.pad = 9000;
	CHECK_INT(parse(&w), -EBADMSG);
}

TEST(each_prefix_asks_for_more)
{
	struct hello_wish w = browser();
	size_t n = hello_make(&w, bytes);

	for (size_t i = 0; i < n; i++) {
		uint8_t *copy = malloc(i ? i : 1);

		memcpy(copy, bytes, i);
		CHECK_INT(tls_hello_parse(copy, i, &h), -EAGAIN);
		free(copy);
	}
	/* What comes behind it is no part of it. */
	bytes[n] = 0xff;
	CHECK_INT(tls_hello_parse(bytes, n + 1, &h), 0);
}

TEST(what_is_none)
{
	struct hello_wish w = browser();
	size_t n;

	CHECK_INT(tls_hello_parse((const uint8_t *)"GET / HTTP/1.1\r\n", 16, &h), -EBADMSG);
	n = hello_make(&w, bytes);
	bytes[5] = 2; /* a server's */
	CHECK_INT(tls_hello_parse(bytes, n, &h), -EBADMSG);
	n = hello_make(&w, bytes);
	bytes[3] = 0x7f;
	CHECK_INT(tls_hello_parse(bytes, n, &h), -EBADMSG);
	n = hello_make(&w, bytes);
	bytes[43] = 0xff; /* the session's length */
	CHECK_INT(tls_hello_parse(bytes, n, &h), -EBADMSG);
	/* A name that no host has is left out; the fingerprint is not. */
	w.server_name = "a\"b\n";
	CHECK_INT(parse(&w), 0);
	CHECK_STR(h.server_name, "");
	CHECK_STR(h.ja4, "t13d1516h2_8daaf6152771_e5627efa2ab1");
}
