/* SPDX-License-Identifier: Apache-2.0 */
/* RELP frames, written and read, whole and in pieces. */
#include "output/relp.h"

#include <errno.h>

#include "tests/lib/test.h"

TEST(frames_are_written_as_librelp_reads_them)
{
	struct buf b;

	buf_init(&b, 65536);
	CHECK_INT(relp_append(&b, 1, "open", SLICE("relp_version=0")), 0);
	CHECK_INT(relp_append(&b, 999999999, "close", SLICE("")), 0);
	CHECK_MEM(buf_data(&b), b.len, "1 open 14 relp_version=0\n999999999 close 0\n");
	buf_clear(&b);
	CHECK_INT(relp_append_open(&b), 0);
	CHECK(b.len > 30 && memcmp(buf_data(&b), "1 open ", 7) == 0);
	buf_done(&b);
}

TEST(a_syslog_frame_counts_its_message)
{
	struct msg m = { .seq = 1, .host = SLICE("h"), .text = SLICE("hello") };
	struct rfc5424_sd sd;
	struct relp_frame f;
	struct rfc5424 r;
	size_t bytes = 0;
	struct buf b;

	buf_init(&b, 65536);
	CHECK_INT(rfc5424_sd_init(&sd, SLICE("K")), 0);
	CHECK_INT(relp_append_syslog(&b, 12, &sd, &m, &bytes), 0);
	CHECK_INT(bytes, b.len);
	CHECK_INT(relp_parse(buf_slice(&b), &f), b.len);
	CHECK_INT(f.txnr, 12);
	CHECK_MEM(f.command.p, f.command.len, "syslog");
	CHECK_INT(rfc5424_parse(f.data, &r), 0);
	CHECK_MEM(r.msg.p, r.msg.len, "hello");
	buf_done(&b);

	buf_init(&b, bytes - 1);
	CHECK_INT(relp_append_syslog(&b, 12, &sd, &m, &bytes), -ENOBUFS);
	CHECK_INT(b.len, 0);
	buf_done(&b);
}

TEST(answers_cut_at_every_byte)
{
	static const char text[] = "1 rsp 93 200 OK\nrelp_version=0\nrelp_software=librelp,1.11.0,"
				   "http://librelp.adiscon.com\ncommands=syslog\n2 rsp 6 200 OK\n"
				   "3 rsp 9 500 error\n0 serverclose 0\n";
	static const struct {
		uint32_t txnr;
		const char *command;
		size_t len;
	} want[] = { { 1, "rsp", 93 }, { 2, "rsp", 6 }, { 3, "rsp", 9 }, { 0, "serverclose", 0 } };

	for (size_t cut = 0; cut < sizeof(text); cut++) {
		struct slice rest = { text, cut };
		size_t seen = 0;
		ssize_t n;

		/* First what came before the cut, then all of it. */
		for (int part = 0; part < 2; part++) {
			struct relp_frame f;

			while ((n = relp_parse(rest, &f)) > 0) {
				CHECK(seen < 4);
				CHECK_INT(f.txnr, want[seen].txnr);
				CHECK_MEM(f.command.p, f.command.len, want[seen].command);
				CHECK_INT(f.data.len, want[seen].len);
				seen++;
				rest.p += n;
				rest.len -= (size_t)n;
			}
			CHECK_INT(n, 0);
			rest.len = (size_t)(text + sizeof(text) - 1 - rest.p);
		}
		CHECK_INT(seen, 4);
	}
}

TEST(broken_frames)
{
	static const char *const cases[] = {
		" ",
		"x",
		"1x",
		"1  rsp",
		"1 2",
		"1 rsp x",
		"1 rsp-",
		"1 rsp 1x",
		"1 rsp 3 200x",
		"1 rsp 0 \n",
		"1 rsp 0x",
		"1234567890 ",
		"1 rsp 1000000000 ",
		"1 rsp 16385 ",
		"-1 rsp 0\n",
		"1 abcdefghijklmnopqrstuvwxyzabcdefg ",
		"HTTP/1.1 400 Bad Request\r\n",
	};
	struct relp_frame f;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ssize_t n = relp_parse(slice_of(cases[i]), &f);

		if (n != -EBADMSG) {
			printf("# %s: %zd\n", cases[i], n);
			CHECK(!"refused");
		}
	}
}

TEST(answers)
{
	static const struct {
		const char *data;
		int err, code;
		const char *text, *rest;
	} cases[] = {
		{ "200 OK", 0, 200, "OK", "" },
		{ "200 OK\n", 0, 200, "OK", "" },
		{ "200 OK\na=b\n", 0, 200, "OK", "a=b\n" },
		{ "200", 0, 200, "", "" },
		{ "500 not now", 0, 500, "not now", "" },
		{ "20", -EBADMSG, 0, NULL, NULL },
		{ "", -EBADMSG, 0, NULL, NULL },
		{ "2000 OK", -EBADMSG, 0, NULL, NULL },
		{ "OK\n200", -EBADMSG, 0, NULL, NULL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct relp_rsp r;

		CHECK_INT(relp_parse_rsp(slice_of(cases[i].data), &r), cases[i].err);
		if (cases[i].err)
			continue;
		CHECK_INT(r.code, cases[i].code);
		CHECK_MEM(r.text.len ? r.text.p : "", r.text.len, cases[i].text);
		CHECK_MEM(r.data.len ? r.data.p : "", r.data.len, cases[i].rest);
	}
}

TEST(offers)
{
	static const struct {
		const char *data;
		int err, version;
		bool syslog;
	} cases[] = {
		{ "relp_version=0\nrelp_software=x\ncommands=syslog", 0, 0, true },
		{ "commands=open,syslog,eventlog\nrelp_version=1\n", 0, 1, true },
		{ "relp_version=0\ncommands=syslogger", 0, 0, false },
		{ "commands=syslog", 0, -1, true },
		{ "relp_version=\ncommands=syslog", -EBADMSG, 0, false },
		{ "relp_version=1x", -EBADMSG, 0, false },
		{ "relp_version=9999999999", -EBADMSG, 0, false },
		{ "\n\n=\nrelp_software", 0, -1, false },
		{ "", 0, -1, false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct relp_offers o;

		CHECK_INT(relp_parse_offers(slice_of(cases[i].data), &o), cases[i].err);
		if (cases[i].err)
			continue;
		CHECK_INT(o.version, cases[i].version);
		CHECK_INT(o.syslog, cases[i].syslog);
	}
}
