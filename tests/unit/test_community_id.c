/* SPDX-License-Identifier: Apache-2.0 */
#include "user/community_id.h"

#include <arpa/inet.h>

#include "tests/lib/test.h"
#include "user/util/sha1.h"

TEST(sha1_of_known_texts)
{
	/* FIPS 180 and, around the edges of a block, what sha1sum(1) says. */
	static const struct {
		char c;
		size_t n;
		const char *text, *want;
	} cases[] = {
		{ 0, 0, "", "da39a3ee5e6b4b0d3255bfef95601890afd80709" },
		{ 0, 0, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d" },
		{ 0, 0, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "84983e441c3bd26ebaae4aa1f95129e5e54670f1" },
		{ 'a', 1000000, NULL, "34aa973cd4c4daa4f61eeb2bdbad27316534016f" },
		{ 'x', 55, NULL, "cef734ba81a024479e09eb5a75b6ddae62e6abf1" },
		{ 'x', 56, NULL, "901305367c259952f4e7af8323f480d59f81335b" },
		{ 'x', 63, NULL, "0ddc4e0cccd9a12850deb5abb0853a4425559fec" },
		{ 'x', 64, NULL, "bb2fa3ee7afb9f54c6dfb5d021f14b1ffe40c163" },
		{ 'x', 65, NULL, "78c741ddc482e4cdf8c474a0876347a0905b6233" },
	};
	static char text[1000000];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint8_t digest[SHA1_SIZE];
		char hex[2 * SHA1_SIZE + 1];
		size_t n = cases[i].text ? strlen(cases[i].text) : cases[i].n;

		memset(text, cases[i].c, sizeof(text));
		if (cases[i].text)
			memcpy(text, cases[i].text, n);
		sha1(text, n, digest);
		for (int k = 0; k < SHA1_SIZE; k++)
			snprintf(hex + 2 * k, 3, "%02x", digest[k]);
		CHECK_STR(hex, cases[i].want);
	}
}

TEST(same_text_from_both_ends)
{
	/* The specification's reference values; the fifth was made with another implementation. */
	static const struct {
		int version, protocol;
		const char *src, *dst;
		int sport, dport;
		const char *want;
	} cases[] = {
		{ 4, 6, "128.232.110.120", "66.35.250.204", 34855, 80,
		  "1:LQU9qZlK+B5F3KDmev6m5PMibrg=" },
		{ 4, 6, "66.35.250.204", "128.232.110.120", 80, 34855,
		  "1:LQU9qZlK+B5F3KDmev6m5PMibrg=" },
		{ 4, 17, "192.168.1.52", "8.8.8.8", 54585, 53, "1:d/FP5EW3wiY1vCndhwleRRKHowQ=" },
		{ 4, 17, "8.8.8.8", "192.168.1.52", 53, 54585, "1:d/FP5EW3wiY1vCndhwleRRKHowQ=" },
		{ 4, 6, "1.2.3.4", "5.6.7.8", 1122, 3344, "1:wCb3OG7yAFWelaUydu0D+125CLM=" },
		{ 4, 132, "192.168.170.8", "192.168.170.56", 7, 80,
		  "1:jQgCxbku+pNGw8WPbEc/TS/uTpQ=" },
		{ 4, 1, "192.168.0.89", "192.168.0.1", 8, 0, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=" },
		{ 4, 1, "192.168.0.1", "192.168.0.89", 0, 0, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=" },
		{ 6, 58, "fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea", 135, 0,
		  "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=" },
		{ 6, 58, "fe80::260:97ff:fe07:69ea", "fe80::200:86ff:fe05:80da", 136, 0,
		  "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int family = cases[i].version == 6 ? AF_INET6 : AF_INET;
		uint8_t src[16] = { 0 }, dst[16] = { 0 };
		char text[COMMUNITY_ID_SIZE];
		size_t len;

		inet_pton(family, cases[i].src, src);
		inet_pton(family, cases[i].dst, dst);
		len = community_id((uint8_t)cases[i].version, (uint8_t)cases[i].protocol, src, dst,
				   (uint16_t)cases[i].sport, (uint16_t)cases[i].dport, text);
		CHECK_INT(len, strlen(cases[i].want));
		CHECK_STR(text, cases[i].want);
	}
}

TEST(messages_without_an_answer_keep_their_order)
{
	/* Destination unreachable (3/1) has no counterpart: each direction is its own flow. */
	const uint8_t a[4] = { 10, 0, 0, 1 }, b[4] = { 10, 0, 0, 2 };
	char forth[COMMUNITY_ID_SIZE], back[COMMUNITY_ID_SIZE], gre[COMMUNITY_ID_SIZE];

	community_id(4, 1, a, b, 3, 1, forth);
	community_id(4, 1, b, a, 3, 1, back);
	CHECK(strcmp(forth, back) != 0);
	/* No ports: the same both ways, whatever is passed for them. */
	community_id(4, 47, a, b, 7, 9, forth);
	community_id(4, 47, b, a, 0, 0, gre);
	CHECK_STR(forth, gre);
}
