/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 5424 messages: what is written, and what is taken for one. */
#include "output/rfc5424.h"

#include <errno.h>

#include "tests/lib/test.h"

#define NOW_US 1795412001123456ull /* 2026-11-23T05:33:21.123456Z */

static struct rfc5424_sd sd_of(const char *key)
{
	struct rfc5424_sd sd;

	CHECK_INT(rfc5424_sd_init(&sd, slice_of(key)), 0);
	return sd;
}

/* Encoded, with the announced length checked; static, for one use. */
static struct slice encoded(const char *key, const struct msg *m)
{
	static char text[4096];
	struct rfc5424_sd sd = sd_of(key);
	size_t len = rfc5424_len(&sd, m);

	memset(text, '#', sizeof(text));
	CHECK_INT(rfc5424_encode(text, &sd, m) - text, len);
	CHECK(text[len] == '#');
	return (struct slice){ text, len };
}

TEST(a_record)
{
	struct msg m = { .seq = 7,
			 .time_us = NOW_US,
			 .pri = 14,
			 .host = SLICE("web-1"),
			 .app = SLICE("sekoia-ebpf"),
			 .json = SLICE("{\"a\":1}") };
	struct slice s = encoded("KEY", &m);

	CHECK_MEM(s.p, s.len,
		  "<14>1 2026-11-23T05:33:21.123456Z web-1 sekoia-ebpf - LOG "
		  "[SEKOIA@53288 intake_key=\"KEY\"] {\"a\":1}");
}

TEST(a_text_carries_its_number)
{
	struct msg m = { .seq = 7,
			 .time_us = NOW_US,
			 .pri = 0,
			 .host = SLICE("h"),
			 .app = SLICE("sshd"),
			 .procid = SLICE("4711"),
			 .epoch = 0xabc,
			 .text = SLICE("two\nlines"),
			 .json = SLICE("{\"reason\":") };
	struct slice s = encoded("KEY", &m);

	CHECK_MEM(
		s.p, s.len,
		"<0>1 2026-11-23T05:33:21.123456Z h sshd 4711 LOG "
		"[SEKOIA@53288 intake_key=\"KEY\"][event@53288 id=\"0000000000000abc-7\"][meta sequenceId=\"7\"] two\nlines");
}

TEST(sequence_ids_wrap)
{
	static const struct {
		uint64_t seq;
		const char *want;
	} cases[] = { { 1, "1" },
		      { 2147483647, "2147483647" },
		      { 2147483648, "1" },
		      { 2147483647ull * 2, "2147483647" },
		      { 2147483647ull * 2 + 1, "1" } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct msg m = { .seq = cases[i].seq, .text = SLICE("x") };
		struct rfc5424 r;
		struct slice value = { 0 };

		CHECK_INT(rfc5424_parse(encoded("K", &m), &r), 0);
		CHECK_INT(rfc5424_param(r.sd, "meta", "sequenceId", &value), 0);
		CHECK_MEM(value.p, value.len, cases[i].want);
	}
}

TEST(fields_are_made_to_fit)
{
	static char longer[600];
	struct msg m = { .seq = 1, .pri = 255, .json = SLICE("x") };
	struct rfc5424 r;
	struct slice s;

	memset(longer, 'h', sizeof(longer));
	m.host = m.app = m.procid = (struct slice){ longer, sizeof(longer) };
	s = encoded("K", &m);
	CHECK_INT(rfc5424_parse(s, &r), 0);
	CHECK_INT(r.host.len, 255);
	CHECK_INT(r.app.len, 48);
	CHECK_INT(r.procid.len, 128);
	CHECK_INT(r.pri, 13);

	m.host = SLICE("a b\tc\n\xc3\xa9\x7f!~");
	m.app = SLICE(" ");
	m.procid = SLICE("");
	s = encoded("K", &m);
	CHECK_INT(rfc5424_parse(s, &r), 0);
	CHECK_MEM(r.host.p, r.host.len, "a_b_c____!~");
	CHECK_MEM(r.app.p, r.app.len, "_");
	CHECK_INT(r.procid.len, 0);
}

TEST(keys_are_escaped)
{
	static char long_key[RFC5424_KEY_MAX + 1];
	struct msg m = { .seq = 1, .json = SLICE("x") };
	struct rfc5424_sd sd;
	struct slice value = { 0 };
	struct rfc5424 r;
	char back[64];

	CHECK_INT(rfc5424_parse(encoded("a\"b\\c]d", &m), &r), 0);
	CHECK_INT(rfc5424_param(r.sd, "SEKOIA@53288", "intake_key", &value), 0);
	CHECK_MEM(value.p, value.len, "a\\\"b\\\\c\\]d");
	CHECK_MEM(back, rfc5424_unescape(back, value), "a\"b\\c]d");

	memset(long_key, ']', sizeof(long_key));
	CHECK_INT(rfc5424_sd_init(&sd, (struct slice){ long_key, RFC5424_KEY_MAX }), 0);
	CHECK(sd.len <= sizeof(sd.text));
	CHECK_INT(rfc5424_sd_init(&sd, (struct slice){ long_key, sizeof(long_key) }), -EMSGSIZE);
}

TEST(what_is_a_message)
{
	static const struct {
		const char *text;
		bool ok;
	} cases[] = {
		{ "<14>1 - - - - - -", true },
		{ "<14>1 - - - - - - ", true },
		{ "<0>1 - - - - - - x", true },
		{ "<191>1 2026-11-23T05:33:21Z h a p m - x", true },
		{ "<14>1 2026-02-29T05:33:21.1+23:59 h a p m - x", true },
		{ "<14>1 - h a p m [a@1 b=\"c\"][d] x", true },
		{ "<14>1 - h a p m [a@1 b=\"\\]\\\"\\\\\\x\"]", true },
		{ "", false },
		{ "14>1 - - - - - -", false },
		{ "<>1 - - - - - -", false },
		{ "<192>1 - - - - - -", false },
		{ "<014>1 - - - - - -", false },
		{ "<1400>1 - - - - - -", false },
		{ "<14>2 - - - - - -", false },
		{ "<14>1 - - - - -", false },
		{ "<14>1 -  - - - -", false },
		{ "<14>1 2026-13-23T05:33:21Z h a p m - x", false },
		{ "<14>1 2026-04-31T05:33:21Z h a p m - x", false },
		{ "<14>1 2026-11-23t05:33:21Z h a p m - x", false },
		{ "<14>1 2026-11-23T24:33:21Z h a p m - x", false },
		{ "<14>1 2026-11-23T05:33:60Z h a p m - x", false },
		{ "<14>1 2026-11-23T05:33:21 h a p m - x", false },
		{ "<14>1 2026-11-23T05:33:21.Z h a p m - x", false },
		{ "<14>1 2026-11-23T05:33:21.1234567Z h a p m - x", false },
		{ "<14>1 - h\xc3 a p m - x", false },
		{ "<14>1 - h a p 123456789012345678901234567890123 - x", false },
		{ "<14>1 - h a p m [] x", false },
		{ "<14>1 - h a p m [a b] x", false },
		{ "<14>1 - h a p m [a b=c] x", false },
		{ "<14>1 - h a p m [a b=\"c] x", false },
		{ "<14>1 - h a p m [a b=\"c]\"] x", false },
		{ "<14>1 - h a p m [a b=\"c\" ] x", false },
		{ "<14>1 - h a p m [a b=\"c\"]x", false },
		{ "<14>1 - h a p m [a", false },
	};
	struct rfc5424 r;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int err = rfc5424_parse(slice_of(cases[i].text), &r);

		if (err != (cases[i].ok ? 0 : -EBADMSG)) {
			printf("# %s: %d\n", cases[i].text, err);
			CHECK(!"as the table says");
		}
	}
}

TEST(frames_cut_anywhere)
{
	struct buf b;
	struct msg m = { .seq = 1, .host = SLICE("h"), .text = SLICE("one") };
	struct rfc5424_sd sd = sd_of("K");
	struct slice frame = { 0 }, in;
	struct rfc5424 r;
	size_t bytes = 0;
	ssize_t n;

	buf_init(&b, 4096);
	CHECK_INT(rfc5424_append_counted(&b, &sd, &m, &bytes), 0);
	CHECK_INT(b.len, bytes);
	for (size_t cut = 0; cut < b.len; cut++)
		CHECK_INT(rfc5424_parse_counted((struct slice){ buf_data(&b), cut }, 1000, &frame),
			  0);
	in = buf_slice(&b);
	n = rfc5424_parse_counted(in, 1000, &frame);
	CHECK_INT(n, b.len);
	CHECK_INT(rfc5424_parse(frame, &r), 0);
	CHECK_MEM(r.msg.p, r.msg.len, "one");
	CHECK_INT(rfc5424_parse_counted(in, 20, &frame), -EBADMSG);
	CHECK_INT(rfc5424_parse_counted(SLICE("012 x"), 1000, &frame), -EBADMSG);
	CHECK_INT(rfc5424_parse_counted(SLICE(" x"), 1000, &frame), -EBADMSG);
	CHECK_INT(rfc5424_parse_counted(SLICE("<14>1"), 1000, &frame), -EBADMSG);
	CHECK_INT(rfc5424_parse_counted(SLICE("3xabc"), 1000, &frame), -EBADMSG);
	CHECK_INT(rfc5424_parse_counted(SLICE("99999999999999999999999"), 1000, &frame), -EBADMSG);
	buf_done(&b);
}

TEST(a_full_buffer_is_left_alone)
{
	struct buf b;
	struct msg m = { .seq = 1, .json = SLICE("x") };
	struct rfc5424_sd sd = sd_of("K");
	size_t bytes;

	buf_init(&b, 50);
	CHECK_INT(rfc5424_append_counted(&b, &sd, &m, &bytes), -ENOBUFS);
	CHECK_INT(b.len, 0);
	buf_done(&b);
}
