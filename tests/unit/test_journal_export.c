/* SPDX-License-Identifier: Apache-2.0 */
/* The journal export format, in pieces of any size, and what its entries say. */
#include "user/journal_export.h"

#include <errno.h>

#include "tests/lib/test.h"
#include "user/journal_parse.h"

#define CHECK_SLICE(got, want) CHECK_MEM((got).p, (got).len, want)
#define TIMES                                                                                      \
	"__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1795447184796618\n"                                \
	"__MONOTONIC_TIMESTAMP=35184295212\n_BOOT_ID=2b7f8cbcb6de4320a2ddf059ac7d54c3\n"
#define SENDER "_PID=77\n_UID=1000\n_GID=100\n_COMM=app\n_EXE=/usr/bin/app\n_CMDLINE=app -x\n"

static struct journal_entry entry;

/* Feeds it in pieces of size bytes; the number of entries, the last of which is in entry. */
static int feed(struct journal_export *x, struct slice text, size_t size)
{
	int entries = 0;

	for (size_t at = 0; at < text.len; at += size) {
		struct slice piece = { text.p + at, text.len - at < size ? text.len - at : size };

		while (piece.len)
			if (journal_export_feed(x, &piece) == 1) {
				entries++;
				if (journal_entry_parse(x, &entry) < 0)
					entries += 1000;
			}
	}
	return entries;
}

/* One entry, in one piece, and in all others. */
static bool parse(struct slice text)
{
	static const size_t sizes[] = { 1, 2, 3, 7, 64, SIZE_MAX };
	static struct journal_export x;
	bool ok = true;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		journal_export_done(&x);
		journal_export_init(&x);
		ok &= feed(&x, text, sizes[i] < text.len ? sizes[i] : text.len) == 1;
		ok &= x.malformed == 0 && x.cut_bytes == 0;
	}
	return ok;
}

TEST(a_native_message)
{
	struct slice fields, key, value;
	const struct journal_line *line = &entry.line;

	CHECK(parse(SLICE(TIMES SENDER
			  "_TRANSPORT=journal\nPRIORITY=3\nSYSLOG_FACILITY=4\nSYSLOG_IDENTIFIER=a\n"
			  "MESSAGE_ID=0123456789abcdef0123456789abcdef\nCODE_LINE=12\n"
			  "_SYSTEMD_CGROUP=/system.slice/app.service\n_SYSTEMD_UNIT=app.service\n"
			  "MESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\nX_Y=\n\n")));
	CHECK(entry.is_line && !entry.is_stream);
	CHECK_INT(line->transport, JOURNAL_NATIVE);
	CHECK_INT(line->pri, 4 * 8 + 3);
	CHECK_SLICE(line->identifier, "a");
	CHECK_SLICE(line->text, "two\nlines");
	CHECK_SLICE(line->code, "0123456789abcdef0123456789abcdef");
	CHECK_INT(line->pid, 77);
	CHECK_INT(line->uid, 1000);
	CHECK_INT(line->gid, 100);
	CHECK(line->time_us == 1795447184796618ull);
	CHECK(entry.mono_ns == 35184295212000ull);
	CHECK(!strcmp(entry.boot, "2b7f8cbcb6de4320a2ddf059ac7d54c3"));
	CHECK_SLICE(entry.cursor, "s=1;i=2");
	CHECK_SLICE(entry.process.name, "app");
	CHECK_SLICE(entry.process.executable, "/usr/bin/app");
	CHECK_SLICE(entry.process.command_line, "app -x");
	CHECK(!strcmp(entry.process.container.unit, "app.service"));
	fields = line->fields;
	CHECK(journal_next_field(&fields, &key, &value));
	CHECK_SLICE(key, "CODE_LINE");
	CHECK(journal_next_field(&fields, &key, &value));
	CHECK_SLICE(key, "X_Y");
	CHECK(!journal_next_field(&fields, &key, &value));
}

TEST(no_message_but_fields)
{
	CHECK(parse(SLICE(TIMES "_TRANSPORT=journal\n_PID=1\nA=b\nC=d\nPRIORITY=7\n\n")));
	CHECK_SLICE(entry.line.text, "A=b\nC=d");
	CHECK_INT(entry.line.pri, 8 + 7);
	CHECK_INT(entry.line.fields.len, 0);
}

TEST(syslog)
{
	CHECK(parse(SLICE(TIMES SENDER "_TRANSPORT=syslog\nPRIORITY=5\nSYSLOG_FACILITY=10\n"
				       "SYSLOG_IDENTIFIER=sshd\nSYSLOG_PID=9\nMESSAGE=hello\n"
				       "SYSLOG_TIMESTAMP=Nov 23 15:19:45 \n\n")));
	CHECK_INT(entry.line.pri, 10 * 8 + 5);
	CHECK_SLICE(entry.line.identifier, "sshd");
	CHECK_INT(entry.line.pid, 9);
	CHECK_INT(entry.line.trusted_pid, 77);
	CHECK_SLICE(entry.line.text, "hello");
	CHECK_INT(entry.line.fields.len, 0);
}

TEST(the_new_form_that_journald_does_not_know)
{
	CHECK(parse(SLICE(
		TIMES SENDER
		"_TRANSPORT=syslog\nPRIORITY=5\nSYSLOG_FACILITY=1\n"
		"MESSAGE=1 2026-11-23T15:19:45.492269+00:00 vm five - M1 [t x=\"1\"] new form\n"
		"SYSLOG_RAW=<13>1 2026-11-23T15:19:45.492269+00:00 vm five - M1 [t x=\"1\"] new form\n\n")));
	CHECK_SLICE(entry.line.identifier, "five");
	CHECK_SLICE(entry.line.code, "M1");
	CHECK_SLICE(entry.line.text, "new form");
	CHECK_INT(entry.line.pri, 13);
}

TEST(a_stream)
{
	CHECK(parse(SLICE(TIMES SENDER "_TRANSPORT=stdout\n_STREAM_ID=4c6fb232\nPRIORITY=6\n"
				       "SYSLOG_IDENTIFIER=c\nMESSAGE=hello\n\n")));
	CHECK(entry.is_line && entry.is_stream);
	CHECK_INT(entry.line.transport, JOURNAL_STDOUT);
	CHECK_INT(entry.line.pri, 8 + 6);
	CHECK_SLICE(entry.line.text, "hello");
}

TEST(audit_as_in_audit_log)
{
	CHECK(parse(SLICE(TIMES "_TRANSPORT=audit\n_AUDIT_TYPE=1112\n_AUDIT_ID=456\n"
				"_SOURCE_REALTIME_TIMESTAMP=1700000000123000\n"
				"_AUDIT_TYPE_NAME=USER_LOGIN\n"
				"MESSAGE=USER_LOGIN pid=9 uid=0 msg='op=login'\n\n")));
	CHECK_SLICE(entry.line.text,
		    "type=USER_LOGIN msg=audit(1700000000.123:456): pid=9 uid=0 msg='op=login'");
	CHECK_SLICE(entry.line.code, "1112");
	CHECK_SLICE(entry.line.identifier, "audit");
	CHECK_INT(entry.line.pid, 9);
	CHECK_INT(entry.line.pri, 4 * 8 + 5);
}

TEST(what_the_tap_does_not_see)
{
	CHECK(parse(SLICE(TIMES "_TRANSPORT=driver\nMESSAGE=Journal started\n\n")));
	CHECK(!entry.is_line);
	CHECK(parse(SLICE(TIMES "_TRANSPORT=kernel\nMESSAGE=a panic\n\n")));
	CHECK(!entry.is_line);
	CHECK(parse(SLICE(TIMES "_TRANSPORT=stdout\nMESSAGE=\n\n")));
	CHECK(!entry.is_line);
}

TEST(a_note_of_the_reader)
{
	CHECK(parse(SLICE("__SEKOIA_SYNCED=123\n\n")));
	CHECK_SLICE(entry.note, "SYNCED");
	CHECK_SLICE(entry.note_value, "123");
	CHECK(!entry.is_line);
}

TEST(what_journald_has_not_written)
{
	static const struct {
		struct slice text;
		int entries, malformed; /* entries: 1000 for each that says nothing */
	} cases[] = {
		{ { "\n\n\n", 3 }, 0, 0 },
		{ { "no key\nMESSAGE=x\n\n", 18 }, 1001, 1 },
		{ { "MESSAGE=x\n\n", 11 }, 1001, 0 },
		{ { "A\n\1\0\0\0\0\0\0\0xyzzy\nB=c\n\nMESSAGE=y\n\n", 33 }, 1001, 1 },
		{ { "A\n\xff\xff\xff\xff\xff\xff\xff\xff", 10 }, 0, 0 },
		{ { "=\n\n", 3 }, 0, 1 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct journal_export x;

		journal_export_init(&x);
		CHECK_INT(feed(&x, cases[i].text, 4), cases[i].entries);
		CHECK_INT(x.malformed, cases[i].malformed);
		journal_export_done(&x);
	}
}

TEST(what_is_too_long_is_cut_and_counted)
{
	static const char head[] = TIMES "_TRANSPORT=stdout\nA=b\nMESSAGE=";
	const size_t long_bytes = JOURNAL_FIELD_MAX * 3;
	char *text = malloc(sizeof(head) + long_bytes + 64), *at = text;
	struct journal_export x;

	memcpy(at, head, sizeof(head) - 1);
	at += sizeof(head) - 1;
	memset(at, 'x', long_bytes);
	at += long_bytes;
	memcpy(at, "\n_PID=5\n\n", 9);
	at += 9;
	journal_export_init(&x);
	CHECK_INT(feed(&x, (struct slice){ text, (size_t)(at - text) }, 1000), 1);
	CHECK_INT(entry.line.text.len, JOURNAL_FIELD_MAX - 8);
	CHECK_INT(entry.line.cut_bytes, long_bytes - (JOURNAL_FIELD_MAX - 8));
	CHECK_INT(entry.line.trusted_pid, 5);
	CHECK_INT(x.cut_bytes, entry.line.cut_bytes);

	/* An entry of many fields: those that have no room are left out. */
	at = text;
	for (int i = 0; i < 8; i++) {
		at = text;
		*at++ = 'F';
		*at++ = (char)('0' + i);
		*at++ = '=';
		memset(at, 'y', JOURNAL_FIELD_MAX / 2);
		at += JOURNAL_FIELD_MAX / 2;
		*at++ = '\n';
		feed(&x, (struct slice){ text, (size_t)(at - text) }, 70000);
	}
	CHECK_INT(feed(&x, SLICE(TIMES "_TRANSPORT=stdout\nMESSAGE=short\n\n"), 100), 1);
	CHECK_SLICE(entry.line.text, "short");
	CHECK_INT(entry.line.cut_bytes, 0);
	CHECK(x.cut_bytes > entry.line.cut_bytes);
	CHECK_INT(x.malformed, 0);
	journal_export_done(&x);
	free(text);
}
