/* SPDX-License-Identifier: Apache-2.0 */
/* QUIC's first packets: the RFCs' own, and some to our wish; also those that are none. */
#include "user/quic_initial.h"

#include <errno.h>
#include <stdio.h>

#include "tests/lib/hello.h"
#include "tests/lib/quic.h"
#include "tests/lib/test.h"

static const uint16_t ciphers[] = { 0x1301, 0x1302, 1 }, extensions[] = { 21, 43, 1 },
		      versions[] = { 0x0304, 1 };

static struct quic *quic;
static uint8_t hello[16384]; /* the message, without its record */
static size_t n_hello;

static void make(size_t pad)
{
	uint8_t record[16384];

	n_hello = hello_make(&(struct hello_wish){ .server_name = "a.test",
						   .alpn = "h3",
						   .ciphers = ciphers,
						   .extensions = extensions,
						   .versions = versions,
						   .pad = pad },
			     record) -
		  5;
	memcpy(hello, record + 5, n_hello);
}

TEST(starts)
{
	CHECK_INT(quic_new(&quic), 0);
}

/* RFC 9001, A.2, and RFC 9369, A.2. */
TEST(the_packets_of_the_rfcs)
{
	static const char *const files[] = { "tests/data/quic/rfc9001_a2.bin",
					     "tests/data/quic/rfc9369_a2.bin" };

	for (int i = 0; i < 2; i++) {
		struct quic_hello q = { .id_len = 0 };
		struct tls_hello h;
		uint8_t packet[1201];
		FILE *f = fopen(files[i], "re");

		CHECK(f);
		if (!f)
			return;
		CHECK_INT(fread(packet, 1, sizeof(packet), f), 1200);
		fclose(f);
		CHECK_INT(quic_take_datagram(quic, packet, 1200, &q), 0);
		CHECK_INT(quic_hello_parse(&q, &h), 0);
		CHECK_STR(h.server_name, "example.com");
		CHECK_INT(h.n_alpn, 1);
		CHECK_MEM(h.alpn[0].text, h.alpn[0].len, "alpn");
		CHECK(!strncmp(h.ja4, "q13d0211an_", 11));
		/* Any bit that is another one makes it another's. */
		for (size_t byte = 0; byte < 1200; byte += byte < 60 ? 1 : 97) {
			struct quic_hello other = { .id_len = 0 };

			packet[byte] ^= 0x20;
			CHECK_INT(quic_take_datagram(quic, packet, 1200, &other), -EBADMSG);
			packet[byte] ^= 0x20;
		}
		for (size_t len = 0; len < 1200; len++)
			CHECK_INT(quic_take_datagram(quic, packet, len, &q), -EBADMSG);
	}
}

/* The hello in pieces of a datagram, each in a packet of its own. */
TEST(out_of_order_and_in_two_packets)
{
	uint8_t frames[4096], datagram[4096];
	struct quic_hello q = { .id_len = 0 };
	struct tls_hello h;
	size_t n = 0, size;

	make(1500); /* with a key of ML-KEM it is about so long */
	CHECK(n_hello > 1500 && n_hello < 1800);
	/* The end of it first, backwards, with PING and PADDING between, and its beginning last. */
	n += quic_crypto(hello, 1400, n_hello - 1400, frames + n);
	frames[n++] = 1;
	n += quic_crypto(hello, 1000, 400, frames + n);
	memset(frames + n, 0, 7);
	n += 7;
	size = quic_seal(&(struct quic_wish){ .number = 1, .size = 1200 }, frames, n, datagram);
	CHECK_INT(size, 1200);
	CHECK_INT(quic_take_datagram(quic, datagram, size, &q), 0);
	CHECK_INT(quic_hello_parse(&q, &h), -EAGAIN);
	n = quic_crypto(hello, 0, 1010, frames);
	size = quic_seal(&(struct quic_wish){ .token = 60, .size = 1200 }, frames, n, datagram);
	CHECK_INT(quic_take_datagram(quic, datagram, size, &q), 0);
	CHECK_INT(quic_hello_parse(&q, &h), 0);
	CHECK_STR(h.server_name, "a.test");
	CHECK(!strncmp(h.ja4, "q13d0204h3_", 11));
}

/* Two packets in one datagram, with zeros behind; and one after the server has answered. */
TEST(coalesced_and_with_another_id)
{
	uint8_t frames[4096], datagram[4096];
	struct quic_hello q = { .id_len = 0 };
	struct tls_hello h;
	size_t n, size;

	make(300);
	n = quic_crypto(hello, 0, 100, frames);
	size = quic_seal(&(struct quic_wish){ .v2 = true }, frames, n, datagram);
	n = quic_crypto(hello, 100, 100, frames);
	size += quic_seal(&(struct quic_wish){ .v2 = true, .number = 1 }, frames, n,
			  datagram + size);
	memset(datagram + size, 0, 100);
	CHECK_INT(quic_take_datagram(quic, datagram, size + 100, &q), 0);
	CHECK_INT(quic_hello_parse(&q, &h), -EAGAIN);
	n = quic_crypto(hello, 200, n_hello - 200, frames);
	size = quic_seal(&(struct quic_wish){ .v2 = true, .id = "servers_", .number = 300 }, frames,
			 n, datagram);
	/* Behind it, a packet of another kind: a handshake's. */
	memcpy(datagram + size, "\xe0\0\0\0\1", 5);
	CHECK_INT(quic_take_datagram(quic, datagram, size + 500, &q), 0);
	CHECK_INT(quic_hello_parse(&q, &h), 0);
	CHECK_STR(h.server_name, "a.test");
}

static const struct {
	const char *bytes;
	size_t n;
	int want;
} frames_of[] = {
	{ "", 0, 0 },
	{ "\0\0\1\0", 4, 0 },
	{ "\2\5\0\1\1\0\0\1", 8, 0 },		 /* ACK, two ranges */
	{ "\3\5\0\0\1\0\0\0\1", 9, 0 },		 /* with counts of ECN */
	{ "\2\5\0\x7f\xff\1\0\0", 8, -EBADMSG }, /* more ranges than bytes */
	{ "\6\0\5abc", 6, -EBADMSG },
	{ "\6\0", 2, -EBADMSG },
	{ "\6\x60\0\1a", 5, -EMSGSIZE },			    /* beyond what we keep */
	{ "\6\xff\xff\xff\xff\xff\xff\xff\xff\1a", 11, -EMSGSIZE }, /* 2^62 - 1 */
	{ "\x1c\0\0\0rubbish", 11, 0 },
	{ "\x08 stream", 8, -EBADMSG },
	{ "\xff", 1, -EBADMSG },
};

TEST(frames)
{
	for (size_t i = 0; i < sizeof(frames_of) / sizeof(*frames_of); i++) {
		struct quic_hello q = { .id_len = 0 };

		CHECK_INT(quic_take_frames((const uint8_t *)frames_of[i].bytes, frames_of[i].n, &q),
			  frames_of[i].want);
	}
}

TEST(what_is_no_hello)
{
	struct quic_hello q = { .id_len = 0 };
	struct tls_hello h;
	uint8_t frame[64] = "\6\0\4\2\0\0\0";

	CHECK_INT(quic_hello_parse(&q, &h), -EAGAIN);
	CHECK_INT(quic_take_frames(frame, 7, &q), 0); /* a server's */
	CHECK_INT(quic_hello_parse(&q, &h), -EBADMSG);
	memset(&q, 0, sizeof(q));
	memcpy(frame, "\6\0\4\1\1\0\0", 7); /* 64 KiB of it */
	CHECK_INT(quic_take_frames(frame, 7, &q), 0);
	CHECK_INT(quic_hello_parse(&q, &h), -EBADMSG);
}

TEST(ends)
{
	quic_free(quic);
	quic_free(NULL);
}
