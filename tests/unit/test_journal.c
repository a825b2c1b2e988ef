/* SPDX-License-Identifier: Apache-2.0 */
#include "user/journal.h"

#include <stdarg.h>

#include "tests/lib/test.h"
#include "user/journal_parse.h"

#define NATIVE_PATH  "/run/systemd/journal/socket"
#define SYSLOG_PATH  "/run/systemd/journal/dev-log"
#define STDOUT_PATH  "/run/systemd/journal/stdout"
#define HEADER(name) name "\n\n30\n1\n0\n0\n0\n"

/* What the callback saw, one line each: "pri|identifier|pid|code|unit|cut|text". */
struct seen {
	char text[1 << 20];
	size_t len;
	struct journal_line last; /* its slices are gone */
	unsigned char first_byte; /* of last's text */
	int n;
};

static struct seen seen;

static int refuse_every; /* that many lines; 0: none */

static bool on_line(void *arg, const struct journal_line *l)
{
	static int calls;
	struct seen *s = arg;

	if (refuse_every && ++calls % refuse_every == 0)
		return false;

	s->n++;
	s->last = *l;
	s->first_byte = l->text.len ? (unsigned char)l->text.p[0] : 0;
	s->len += (size_t)snprintf(s->text + s->len, sizeof(s->text) - s->len,
				   "%u|%.*s|%u|%.*s|%.*s|%llu|", l->pri, (int)l->identifier.len,
				   l->identifier.p, l->pid, (int)l->code.len, l->code.p,
				   (int)l->unit.len, l->unit.p, (unsigned long long)l->cut_bytes);
	for (size_t i = 0; i < l->text.len && s->len < sizeof(s->text) - 2; i++)
		s->text[s->len++] = l->text.p[i] ? l->text.p[i] : '0';
	s->text[s->len++] = ';';
	s->text[s->len] = '\0';
	return true;
}

static struct journal_sample sample_of(const char *path, const char *data, size_t len)
{
	return (struct journal_sample){
		.boot_ns = 5000000000,
		.socket = 1,
		.socket_ino = 10,
		.pid = 77,
		.uid = 1000,
		.gid = 100,
		.full_len = (uint32_t)len,
		.path = slice_of(path),
		.data = { data, len },
	};
}

static struct journal *journal_of(uint32_t max_streams, size_t max_bytes)
{
	const struct journal_opts opts = { .max_streams = max_streams, .max_bytes = max_bytes };
	struct journal *j;

	if (journal_new(&opts, &j) < 0)
		abort();
	return j;
}

/* The lines of one datagram. */
static const char *lines_of(const char *path, const char *data, size_t len)
{
	_cleanup_(journal_freep) struct journal *j = journal_of(0, 0);
	struct journal_sample s = sample_of(path, data, len);

	seen.n = 0;
	seen.len = 0;
	seen.text[0] = '\0';
	journal_decode(j, &s, 1000, on_line, &seen);
	return seen.text;
}

#define LINES(path, literal) lines_of(path, literal, sizeof(literal) - 1)

TEST(syslog_as_local_programs_write_it)
{
	static const struct {
		const char *data, *want;
	} cases[] = {
		{ "<13>Nov 23 05:33:01 sshd[42]: Accepted publickey",
		  "13|sshd|42|||0|Accepted publickey;" },
		{ "<38>Nov  3 05:33:01 sshd: x", "38|sshd|77|||0|x;" },
		{ "<86>Nov 23 05:33:01 su[9]:  two blanks", "86|su|9|||0| two blanks;" },
		{ "<30>systemd[1]: no time", "30|systemd|1|||0|no time;" },
		{ "no pri at all", "14||77|||0|no pri at all;" },
		{ "app: no pri", "14|app|77|||0|no pri;" },
		/* Users have no facility 0. */
		{ "<3>x: as the kernel", "11|x|77|||0|as the kernel;" },
		{ "<191>x: highest", "191|x|77|||0|highest;" },
		/* What is no priority stays in the text. */
		{ "<192>x: too high", "14||77|||0|<192>x: too high;" },
		{ "<>x", "14||77|||0|<>x;" },
		{ "<1a>x", "14||77|||0|<1a>x;" },
		{ "<12345>x", "14||77|||0|<12345>x;" },
		{ "<13", "14||77|||0|<13;" },
		{ "<13>2026-11-23T05:33:01.123456+01:00 app[5]: iso time",
		  "13|app|5|||0|iso time;" },
		{ "<13>Nov 23 05:33:01 my app: two words", "13||77|||0|my app: two words;" },
		{ "<13>Nov 23 05:33:01 app[x]: no number", "13|app|77|||0|no number;" },
		{ "<13>Nov 23 05:33:01 app[99999999999]: too big", "13|app|77|||0|too big;" },
		{ "<13>Nov 23 05:33:01 [5]: no name", "13|[5]|77|||0|no name;" },
		{ "<13>Nov 23 05:33:01 : x", "13||77|||0|: x;" },
		{ "<13>Nov 23 05:33:01 app: with the end\n", "13|app|77|||0|with the end;" },
		{ "<13>Nov 23 05:33:01 app: two\nlines\n", "13|app|77|||0|two\nlines;" },
		{ "<13>Nov 23 05:33:01 app:", "" },
		{ "", "" },
		{ " \n", "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		CHECK_STR(lines_of(SYSLOG_PATH, cases[i].data, strlen(cases[i].data)),
			  cases[i].want);
	/* A NUL at the end is glibc's; inside it hides nothing. */
	CHECK_STR(LINES("/dev/log", "<13>app: x\0"), "13|app|77|||0|x;");
	CHECK_STR(LINES("/dev/log", "<13>app: seen\0 too"), "13|app|77|||0|seen0 too;");
}

TEST(syslog_rfc5424)
{
	static const struct {
		const char *data, *want;
	} cases[] = {
		{ "<165>1 2026-11-23T22:14:15.003Z host app 8710 ID47 - the text",
		  "165|app|8710|ID47||0|the text;" },
		{ "<165>1 - - app - - - \xef\xbb\xbfwith a BOM", "165|app|77|||0|with a BOM;" },
		{ "<165>1 - - - - - [a@1 k=\"v\"][b x=\"]\\\"]\"] text", "165||77|||0|text;" },
		{ "<13>1 - h app p m -", "" },
		{ "<13>1 - h app p m - x", "13|app|77|m||0|x;" },
		/* Not in that form: as it stands. */
		{ "<13>1 apple: fell", "13||77|||0|1 apple: fell;" },
		{ "<13>1 - - app - - [open", "13||77|||0|1 - - app - - [open;" },
		{ "<13>1 - - app - - [a]x", "13||77|||0|1 - - app - - [a]x;" },
		{ "<13>1 - - app", "13||77|||0|1 - - app;" },
		{ "<13>1 ", "13||77|||0|1;" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		CHECK_STR(lines_of(SYSLOG_PATH, cases[i].data, strlen(cases[i].data)),
			  cases[i].want);
}

/* "id name value;" of each parameter. */
static const char *params_of(const char *text)
{
	static char ret[512];
	struct slice data = slice_of(text), id = SLICE(""), name, value;
	size_t len = 0;

	ret[0] = '\0';
	while (data.len && journal_next_param(&data, &id, &name, &value))
		len += (size_t)snprintf(ret + len, sizeof(ret) - len, "%.*s %.*s %.*s;",
					(int)id.len, id.p, (int)name.len, name.p, (int)value.len,
					value.p);
	if (data.len)
		snprintf(ret + len, sizeof(ret) - len, "rest: %.*s", (int)data.len, data.p);
	return ret;
}

TEST(structured_data)
{
	struct slice message = SLICE("1 - - app - - [a@1 k=\"v\"][b x=\"]\\\"]\"] text");
	struct journal_line line = { .pri = 1 };

	CHECK(journal_parse_rfc5424(message, &line));
	CHECK_MEM(line.data.p, line.data.len, "[a@1 k=\"v\"][b x=\"]\\\"]\"]");
	CHECK_MEM(line.text.p, line.text.len, "text");
	CHECK(journal_parse_rfc5424(SLICE("1 - - app - - - text"), &line));
	CHECK_INT(line.data.len, 0);
	CHECK_STR(params_of("[a@1 k=\"v\" l=\"\"][b x=\"]\\\"]\"]"), "a@1 k v;a@1 l ;b x ]\\\"];");
	CHECK_STR(params_of("[a][b]"), "a  ;b  ;");
	CHECK_STR(params_of("[]"), "");
	CHECK_STR(params_of("[a k]"), "rest: ]");
	CHECK_STR(params_of("[a k=\"v]"), "rest: v]");
	CHECK_STR(params_of("[ =\"v\"]"), "rest: =\"v\"]");
}

TEST(a_streams_state_as_journald_keeps_it)
{
	struct journal_stream_header h;

	CHECK(journal_parse_stream(
		SLICE("# This is private data. Do not parse.\nPRIORITY=30\nLEVEL_PREFIX=0\n"
		      "FORWARD_TO_SYSLOG=0\nSTREAM_ID=5b\nIDENTIFIER=my\\x20app\\ttab\\\\\\101\n"
		      "UNIT=app@a\\\\x2db.service\n"),
		&h));
	CHECK_INT(h.pri, 30);
	CHECK(!h.level_prefix);
	CHECK_STR(h.identifier, "my app\ttab\\A");
	CHECK_STR(h.unit, "app@a\\x2db.service");
	CHECK(journal_parse_stream(SLICE("PRIORITY=6"), &h));
	CHECK(h.level_prefix);
	CHECK_STR(h.identifier, "");
	CHECK(!journal_parse_stream(SLICE("PRIORITY=192\n"), &h));
	CHECK(!journal_parse_stream(SLICE(""), &h));
}

static bool know_header(void *arg, const struct journal_sample *s,
			struct journal_stream_header *ret)
{
	*ret = *(const struct journal_stream_header *)arg;
	return s->socket_ino == 10;
}

TEST(a_stream_that_was_there_before_has_its_name)
{
	struct journal_stream_header header = { .pri = 30, .level_prefix = true };
	const struct journal_opts opts = { .find_header = know_header, .find_header_arg = &header };
	_cleanup_(journal_freep) struct journal *j = NULL;
	struct journal_sample s = sample_of("/run/systemd/journal/stdout", "<3>one\ntwo\n", 11);
	struct journal_stats stats;

	strcpy(header.identifier, "app");
	strcpy(header.unit, "app.service");
	CHECK_INT(journal_new(&opts, &j), 0);
	s.stream = true;
	seen.len = 0;
	CHECK(journal_decode(j, &s, 0, on_line, &seen));
	s.socket = 2;
	s.socket_ino = 11;
	CHECK(journal_decode(j, &s, 0, on_line, &seen));
	CHECK_STR(seen.text, "27|app|77||app.service|0|one;30|app|77||app.service|0|two;"
			     "27||77|||0|one;30||77|||0|two;");
	journal_get_stats(j, &stats);
	CHECK_INT(stats.headerless, 1);
}

TEST(native)
{
	CHECK_STR(LINES(NATIVE_PATH, "MESSAGE=hello\nPRIORITY=3\nSYSLOG_IDENTIFIER=app\n"),
		  "11|app|77|||0|hello;");
	CHECK_STR(LINES(NATIVE_PATH, "PRIORITY=4\nSYSLOG_FACILITY=10\nSYSLOG_PID=5\nMESSAGE_ID="
				     "0123456789abcdef0123456789abcdef\nMESSAGE=x\n"),
		  "84||5|0123456789abcdef0123456789abcdef||0|x;");
	/* Binary values keep their line feeds. */
	CHECK_STR(LINES(NATIVE_PATH,
			"PRIORITY=6\nMESSAGE\n\x0a\0\0\0\0\0\0\0two\nlines!\n\nCODE_LINE=1\n"),
		  "14||77|||0|two\nlines!;14||77|||0|CODE_LINE=1;");
	/* Several entries, comments, and a last line that has no end. */
	CHECK_STR(LINES(NATIVE_PATH, "#c\nMESSAGE=1\n.x\n\n\nMESSAGE=2\nPRIORITY=7\n\nMESSAGE=3"),
		  "14||77|||0|1;15||77|||0|2;14||77|||0|3;");
	/* The first value counts; out of range does not. */
	CHECK_STR(LINES(NATIVE_PATH,
			"MESSAGE=a\nMESSAGE=b\nPRIORITY=8\nPRIORITY=1\nSYSLOG_FACILITY=24\n"),
		  "14||77|||0|a;");
	/* What a sender can not vouch for is not taken. */
	CHECK_STR(LINES(NATIVE_PATH, "MESSAGE=a\n_PID=1\n_SYSTEMD_UNIT=x.service\n"),
		  "14||77|||0|a;");
	CHECK_STR(LINES(NATIVE_PATH, "FOO=1\nBAR=2\n"), "14||77|||0|FOO=1\nBAR=2;");
	CHECK_STR(LINES(NATIVE_PATH, "MESSAGE=\nFOO=1\n"), "");
	CHECK_STR(LINES(NATIVE_PATH, "MESSAGE=a=b\n"), "14||77|||0|a=b;");
	CHECK_STR(LINES(NATIVE_PATH, "SYSLOG_FACILITY=0\nMESSAGE=x\n"), "14||77|||0|x;");
}

TEST(native_in_pieces)
{
	/* Lengths that promise more than there is. */
	CHECK_STR(LINES(NATIVE_PATH, "MESSAGE\n\xff\xff\xff\xff\xff\xff\xff\xff"
				     "abc"),
		  "14||77|||0|abc;");
	CHECK_STR(LINES(NATIVE_PATH, "PRIORITY=3\nMESSAGE\n\x05\0\0\0"), "11||77|||0|PRIORITY=3;");
	CHECK_STR(LINES(NATIVE_PATH, "MESSAGE\n\3\0\0\0\0\0\0\0abc"), "14||77|||0|abc;");
	/* Not the protocol: the bytes themselves. */
	CHECK_STR(LINES(NATIVE_PATH, "plain words\n"), "14||77|||0|plain words;");
	CHECK_STR(LINES(NATIVE_PATH, "MESSAGE=kept\nplain words\n"), "14||77|||0|kept;");
	CHECK_STR(LINES(NATIVE_PATH, "FOO=1\nplain words\n"), "14||77|||0|FOO=1\nplain words;");
	CHECK_STR(LINES(NATIVE_PATH, "MESSAGE\n\3\0\0\0\0\0\0\0abcX"), "14||77|||0|abc;");
	CHECK_STR(LINES(NATIVE_PATH, ""), "");
}

/* "KEY=value;" of each field that is not in the line itself. */
static const char *fields_of(const char *data, size_t len)
{
	static char text[512];
	struct slice fields = { data, len }, key, value;
	size_t at = 0;

	text[0] = '\0';
	while (journal_next_field(&fields, &key, &value))
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%.*s=%.*s;", (int)key.len,
				       key.p, (int)value.len, value.p);
	return text;
}
#define FIELDS(data) fields_of(data, sizeof(data) - 1)

TEST(native_fields)
{
	CHECK_STR(FIELDS(""), "");
	CHECK_STR(FIELDS("MESSAGE=a\nPRIORITY=1\nSYSLOG_FACILITY=2\nSYSLOG_IDENTIFIER=b\n"
			 "SYSLOG_PID=3\nMESSAGE_ID=c\n_PID=4\n"),
		  "");
	CHECK_STR(FIELDS("A=1\nMESSAGE=x\nB2=\nC_=a=b\nA=2"), "A=1;B2=;C_=a=b;A=2;");
	CHECK_STR(FIELDS("B\n\4\0\0\0\0\0\0\0x\ny=\nC=3\n"), "B=x\ny=;C=3;");
	CHECK_STR(FIELDS("#c\n.c\nA=1\n#"), "A=1;");
	/* Cut short, and then something else. */
	CHECK_STR(FIELDS("A=1\nB\n\4\0\0\0\0\0\0\0x"), "A=1;B=x;");
	CHECK_STR(FIELDS("A=1\nB\n\4\0\0"), "A=1;");
	CHECK_STR(FIELDS("A=1\nB"), "A=1;");
	CHECK_STR(FIELDS("A=1\nplain words\nB=2\n"), "A=1;");
	CHECK_STR(FIELDS("A\n\1\0\0\0\0\0\0\0xy\nB=2\n"), "A=x;");
	/* Of each entry its own, and none when they are the text. */
	CHECK_STR(LINES(NATIVE_PATH, "MESSAGE=1\nA=1\n\nMESSAGE=2\nB=2\n"),
		  "14||77|||0|1;14||77|||0|2;");
	CHECK_INT(seen.last.fields.len, 14);
	CHECK_STR(LINES(NATIVE_PATH, "A=1\n"), "14||77|||0|A=1;");
	CHECK_INT(seen.last.fields.len, 0);
}

TEST(which_protocol)
{
	CHECK_STR(LINES("", "MESSAGE=a\n"), "14||77|||0|a;");
	CHECK_STR(LINES("", "MESSAGE\n\1\0\0\0\0\0\0\0x\n"), "14||77|||0|x;");
	CHECK_STR(LINES("", "<13>app: a"), "13|app|77|||0|a;");
	CHECK_STR(LINES("", "words"), "14||77|||0|words;");
	CHECK_STR(LINES("/run/systemd/journal.ns/socket", "A=b\n"), "14||77|||0|A=b;");
	CHECK_STR(LINES("/run/systemd/journal.ns/dev-log", "A=b\n"), "14||77|||0|A=b;");
	CHECK_INT(seen.last.transport, JOURNAL_SYSLOG);
}

TEST(sender_time_and_truncation)
{
	_cleanup_(journal_freep) struct journal *j = journal_of(0, 0);
	struct journal_sample s = sample_of(SYSLOG_PATH, "<13>app: x", 10);
	struct journal_stats st;

	s.sender_cgroup = 9;
	s.full_len = 1010;
	s.truncated = true;
	seen.len = 0;
	journal_decode(j, &s, 1000000, on_line, &seen);
	CHECK_STR(seen.text, "13|app|77|||1000|x;");
	CHECK_INT(seen.last.trusted_pid, 77);
	CHECK_INT(seen.last.uid, 1000);
	CHECK_INT(seen.last.gid, 100);
	CHECK_INT(seen.last.cgroup_id, 9);
	CHECK_INT(seen.last.boot_ns, 5000000000);
	CHECK_INT(seen.last.time_us, 5001000);
	CHECK_INT(journal_line_task(&seen.last).pid, 77);
	CHECK_INT(journal_line_task(&seen.last).uid, 1000);
	CHECK_INT(journal_line_task(&seen.last).start_ns, 0);

	/* In a file that was passed: not here, but it is told that there was one. */
	s = sample_of(NATIVE_PATH, "", 0);
	s.has_fds = true;
	s.full_len = 300000;
	seen.len = 0;
	journal_decode(j, &s, 0, on_line, &seen);
	CHECK_STR(seen.text, "14||77|||300000|;");
	journal_get_stats(j, &st);
	CHECK_INT(st.memfd, 1);
	CHECK_INT(st.truncated, 2);
	CHECK_INT(st.cut_bytes, 301000);
	CHECK_INT(st.samples, 2);
	CHECK_INT(st.lines, 2);
}

TEST(audit)
{
	static const char user_login[] = "\0\0\0\0\x58\4\0\0\0\0\0\0\0\0\0\0audit(1.2:3): pid=1\0";
	static const char end[] = "\0\0\0\0\x28\5\0\0\0\0\0\0\0\0\0\0audit(1.2:3): \0";
	static const char reply[] = "\0\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0xxxx";
	_cleanup_(journal_freep) struct journal *j = journal_of(0, 0);
	struct journal_sample s = sample_of("", user_login, sizeof(user_login) - 1);
	struct journal_stats st;

	s.netlink = true;
	seen.len = 0;
	seen.n = 0;
	journal_decode(j, &s, 0, on_line, &seen);
	CHECK_STR(seen.text, "37|audit|1|1112||0|type=USER_LOGIN msg=audit(1.2:3): pid=1;");
	s = sample_of("", reply, sizeof(reply) - 1);
	s.netlink = true;
	journal_decode(j, &s, 0, on_line, &seen);
	s = sample_of("", end, sizeof(end) - 1);
	s.netlink = true;
	journal_decode(j, &s, 0, on_line, &seen);
	s = sample_of("", "short", 5);
	s.netlink = true;
	journal_decode(j, &s, 0, on_line, &seen);
	CHECK_INT(seen.n, 1);
	journal_get_stats(j, &st);
	CHECK_INT(st.control, 2);
	CHECK_INT(st.malformed, 1);
}

/* Whose record it is: as the kernel says, and not as somebody wrote into it. */
TEST(audit_pids)
{
	static const struct {
		unsigned char low, high; /* of the type */
		const char *text, *want;
	} cases[] = {
		{ 0x14, 5, "audit(1.2:3): arch=c000003e syscall=59 ppid=5 pid=6 auid=0",
		  "37|audit|6|1300||0|type=SYSCALL msg=audit(1.2:3): arch=c000003e syscall=59 ppid=5 "
		  "pid=6 auid=0;" },
		{ 0x63, 4, "audit(1.2:3): pid=7 uid=0 msg='x pid=8'",
		  "37|audit|7|1123||0|type=USER_CMD msg=audit(1.2:3): pid=7 uid=0 msg='x pid=8';" },
		{ 0x63, 4, "audit(1.2:3): uid=0 msg='x pid=8'",
		  "37|audit|0|1123||0|type=USER_CMD msg=audit(1.2:3): uid=0 msg='x pid=8';" },
		{ 0x63, 4, "audit(1.2:3): pid=99999999999",
		  "37|audit|0|1123||0|type=USER_CMD msg=audit(1.2:3): pid=99999999999;" },
		{ 0xff, 9, "audit(1.2:3): pid=",
		  "37|audit|0|2559||0|type=UNKNOWN[2559] msg=audit(1.2:3): pid=;" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		_cleanup_(journal_freep) struct journal *j = journal_of(0, 0);
		char data[256] = { [4] = (char)cases[i].low, [5] = (char)cases[i].high };
		struct journal_sample s;

		snprintf(data + 16, sizeof(data) - 16, "%s", cases[i].text);
		s = sample_of("", data, 16 + strlen(cases[i].text) + 1);
		s.netlink = true;
		s.pid = 0;
		seen.len = 0;
		journal_decode(j, &s, 0, on_line, &seen);
		CHECK_STR(seen.text, cases[i].want);
	}
}

/* ------------------------------------------------------------------ streams */

static struct journal *streams;

static void streams_begin(uint32_t max_streams, size_t max_bytes)
{
	journal_free(streams);
	streams = journal_of(max_streams, max_bytes);
	seen.n = 0;
	seen.len = 0;
	seen.text[0] = '\0';
}

static void feed(uint64_t socket, uint32_t pid, const char *data, size_t len)
{
	struct journal_sample s = sample_of(STDOUT_PATH, data, len);
	char *copy = malloc(len ? len : 1); /* the ring's memory is gone afterwards */

	memcpy(copy, data, len);
	s.data.p = copy;
	s.stream = true;
	s.socket = socket;
	s.socket_ino = socket * 10;
	s.pid = pid;
	journal_decode(streams, &s, 0, on_line, &seen);
	free(copy);
}

#define FEED(socket, literal) feed(socket, 77, literal, sizeof(literal) - 1)

/* What was told since the last time. */
static const char *told(void)
{
	static struct seen copy;

	copy = seen;
	seen.len = 0;
	seen.n = 0;
	seen.text[0] = '\0';
	return copy.text;
}

TEST(stream_without_credentials_for_a_moment)
{
	streams_begin(0, 0);
	feed(1, 77, HEADER("app") "begin", sizeof(HEADER("app") "begin") - 1);
	feed(1, 0, " middle", 7);
	CHECK_STR(told(), "");
	feed(1, 77, " end\n", 5);
	CHECK_STR(told(), "30|app|77|||0|begin middle end;");
	feed(1, 0, "alone\nby 77", 11);
	CHECK_STR(told(), "30|app|77|||0|alone;");
	feed(1, 78, " then 78\n", 9);
	CHECK_STR(told(), "30|app|77|||0|by 77;30|app|78|||0| then 78;");
	/* From its beginning. */
	feed(2, 0, HEADER("two") "begin", sizeof(HEADER("two") "begin") - 1);
	feed(2, 79, " end\n", 5);
	CHECK_STR(told(), "30|two|79|||0|begin end;");
}

TEST(stream_with_its_header)
{
	streams_begin(0, 0);
	FEED(1, HEADER("app"));
	CHECK_STR(told(), "");
	FEED(1, "hello\n");
	CHECK_STR(told(), "30|app|77|||0|hello;");
	FEED(1, "<3>bad\n<9>no level\n\nlast");
	CHECK_STR(told(), "27|app|77|||0|bad;30|app|77|||0|<9>no level;");
	FEED(1, " part");
	FEED(1, " of it\nnext");
	CHECK_STR(told(), "30|app|77|||0|last part of it;");
	FEED(1, "\n");
	CHECK_STR(told(), "30|app|77|||0|next;");
	FEED(1, "a\0b\0\n");
	CHECK_STR(told(), "30|app|77|||0|a;30|app|77|||0|b;");
	/* Header and text at once. */
	FEED(2, HEADER("two") "x\n");
	CHECK_STR(told(), "30|two|77|||0|x;");
}

TEST(stream_headers)
{
	/* No level prefix wanted; facility local0. */
	streams_begin(0, 0);
	FEED(1, "app\nunit.service\n134\n0\n1\n1\n1\n<3>x\n");
	CHECK_STR(told(), "134|app|77|||0|<3>x;"); /* the unit is only taken from root */
	{
		static const char data[] = "app\nunit.service\n6\n1\n0\n0\n0\nx\n";
		struct journal_sample s = sample_of(STDOUT_PATH, data, sizeof(data) - 1);

		s.stream = true;
		s.socket = 2;
		s.uid = 0;
		journal_decode(streams, &s, 0, on_line, &seen);
		CHECK_STR(told(), "14|app|77||unit.service|0|x;");
	}
	/* Streams that were there before us, whatever they look like. */
	FEED(3, "just text\n");
	CHECK_STR(told(), "30||77|||0|just text;");
	FEED(4, "a\nb\n999\n1\n0\n0\n0\n");
	CHECK_STR(told(), "30||77|||0|a;30||77|||0|b;30||77|||0|999;30||77|||0|1;30||77|||0|0;"
			  "30||77|||0|0;30||77|||0|0;");
	FEED(5, "a\n\n30\n1\n0\n0\n2\n");
	CHECK_INT(seen.n, 6);
	told();
	/* Only its beginning is a header. */
	FEED(3, HEADER("liar"));
	CHECK(strstr(told(), "|liar;") != NULL);
	{
		struct journal_stats st;

		journal_get_stats(streams, &st);
		CHECK_INT(st.headerless, 3);
		CHECK_INT(st.streams, 5);
	}
}

TEST(streams_do_not_mix)
{
	streams_begin(0, 0);
	FEED(1, HEADER("one") "aaa");
	FEED(2, HEADER("two") "bbb");
	FEED(1, "AAA\n");
	FEED(2, "BBB\n");
	CHECK_STR(told(), "30|one|77|||0|aaaAAA;30|two|77|||0|bbbBBB;");
	/* Two processes on one stream: a line is of one. */
	feed(1, 77, "from 77", 7);
	feed(1, 78, "from 78\n", 8);
	CHECK_STR(told(), "30|one|77|||0|from 77;30|one|78|||0|from 78;");
}

TEST(an_address_used_again)
{
	struct journal_sample s;

	streams_begin(0, 0);
	FEED(1, HEADER("one") "unfinished");
	s = sample_of(STDOUT_PATH, HEADER("new") "x\n", sizeof(HEADER("new") "x\n") - 1);
	s.stream = true;
	s.socket = 1;
	s.socket_ino = 999;
	journal_decode(streams, &s, 0, on_line, &seen);
	CHECK_STR(told(), "30|one|77|||0|unfinished;30|new|77|||0|x;");
}

TEST(long_lines)
{
	static char big[3 * JOURNAL_LINE_MAX];
	struct journal_stats st;
	size_t total = 0;

	memset(big, 'a', sizeof(big));
	streams_begin(0, 0);
	FEED(1, HEADER("app"));
	/* In one piece, and in small ones: the same bytes come out. */
	for (size_t step = 1000; step <= sizeof(big); step += sizeof(big) - 1000) {
		for (size_t at = 0; at < sizeof(big); at += step)
			feed(1, 77, big + at, step < sizeof(big) - at ? step : sizeof(big) - at);
		feed(1, 77, "\n", 1);
		total = 0;
		for (size_t i = 0; i < seen.len; i++)
			total += seen.text[i] == 'a' && (i < 2 || seen.text[i + 1] != 'p');
		CHECK(total >= sizeof(big) && total <= sizeof(big) + 2 * 4);
		CHECK_INT(seen.n, 3);
		CHECK(seen.last.text.len <= JOURNAL_LINE_MAX);
		told();
	}
	journal_get_stats(streams, &st);
	CHECK(st.split >= 4);
	CHECK_INT(st.bytes, 0);

	/* Not in the middle of a character. */
	for (size_t i = 0; i + 3 <= sizeof(big); i += 3)
		memcpy(big + i, "\xe2\x82\xac", 3);
	feed(1, 77, "x", 1);
	feed(1, 77, big, 2 * JOURNAL_LINE_MAX);
	CHECK_INT(seen.n, 2);
	CHECK_INT(seen.first_byte, 0xe2);
	told();
}

TEST(missing_bytes_in_a_stream)
{
	struct journal_sample s = sample_of(STDOUT_PATH, "one\ntwo", 7);

	streams_begin(0, 0);
	FEED(1, HEADER("app"));
	s.stream = true;
	s.socket_ino = 10;
	s.full_len = 107;
	s.truncated = true;
	journal_decode(streams, &s, 0, on_line, &seen);
	FEED(1, "after\n");
	CHECK_STR(told(), "30|app|77|||0|one;30|app|77|||100|two;30|app|77|||0|after;");
	/* Also when nothing is left of the line. */
	s.data.len = 4;
	journal_decode(streams, &s, 0, on_line, &seen);
	CHECK_STR(told(), "30|app|77|||0|one;30|app|77|||103|;");
}

/* As feed(), behind a part that had no room in the ring. */
static bool feed_after(uint32_t pid, uint64_t lost, bool lost_open, const char *text)
{
	struct journal_sample s = sample_of(STDOUT_PATH, text, strlen(text));

	s.stream = true;
	s.socket_ino = 10;
	s.pid = pid;
	s.lost = lost;
	s.lost_open = lost_open;
	return journal_decode(streams, &s, 0, on_line, &seen);
}

TEST(a_part_of_a_stream_that_had_no_room)
{
	static const struct {
		const char *before, *after;
		bool open;
		const char *want; /* after the header */
	} cases[] = {
		/* Whole lines: nothing is wrong with those around them. */
		{ "one\n", "two\n", false, "30|app|77|||0|one;30|app|77|||0|two;" },
		/* The end of one, … */
		{ "one\nha", "two\n", false,
		  "30|app|77|||0|one;30|app|77|||300|ha;30|app|77|||0|two;" },
		/* …the beginning, … */
		{ "one\n", "lf\ntwo\n", true,
		  "30|app|77|||0|one;30|app|77|||0|[300 bytes lost] \xe2\x80\xa6lf;"
		  "30|app|77|||0|two;" },
		/* …the middle, which is not joined, … */
		{ "be", "nd\n", true,
		  "30|app|77|||300|be;30|app|77|||0|[300 bytes lost] \xe2\x80\xa6nd;" },
		/* …all but the line feed, */
		{ "one\n", "\ntwo\n", true,
		  "30|app|77|||0|one;30|app|77|||0|[300 bytes lost] \xe2\x80\xa6;30|app|77|||0|two;" },
		/* and a line that goes on for some time. */
		{ "", "n", true, "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		/* The sample is given again for as long as a line was not taken. */
		for (refuse_every = 0; refuse_every <= 3; refuse_every += refuse_every ? 1 : 2) {
			streams_begin(0, 0);
			FEED(1, HEADER("app"));
			while (!feed_after(77, 0, false, cases[i].before))
				;
			while (!feed_after(77, 300, cases[i].open, cases[i].after))
				;
			CHECK_STR(told(), cases[i].want);
		}
		refuse_every = 0;
	}
	FEED(1, "ext\n");
	CHECK_STR(told(), "30|app|77|||0|[300 bytes lost] \xe2\x80\xa6next;");
	/* Twice in the same line. */
	feed_after(77, 300, true, "a");
	feed_after(77, 400, true, "b\n");
	CHECK_STR(told(), "30|app|77|||400|[300 bytes lost] \xe2\x80\xa6"
			  "a;30|app|77|||0|[400 bytes lost] \xe2\x80\xa6"
			  "b;");
	/* Behind it another process goes on. */
	feed_after(77, 0, false, "of 77");
	feed_after(78, 5ull << 32, true, "of 78\n");
	CHECK_STR(told(), "30|app|77|||21474836480|of 77;"
			  "30|app|78|||0|[21474836480 bytes lost] \xe2\x80\xa6of 78;");
	feed_after(79, 300, false, "of 79\n");
	CHECK_STR(told(), "30|app|79|||0|of 79;");
	/* A stream that was there before us. */
	streams_begin(0, 0);
	feed_after(77, 300, true, "rest\n");
	CHECK(strstr(told(), "|[300 bytes lost] \xe2\x80\xa6rest;") != NULL);
	/* No memory for a line's beginning. */
	streams_begin(0, 100);
	FEED(1, HEADER("app"));
	feed_after(77, 300, true, "rest\n");
	CHECK_STR(told(), "30|app|77|||0|[300 bytes lost] \xe2\x80\xa6;30|app|77|||0|rest;");
}

TEST(the_end_of_a_writer)
{
	streams_begin(0, 0);
	FEED(1, HEADER("app") "last words");
	journal_flush_idle(streams, 6000000000, 2000000000, NULL, 0, on_line, &seen);
	CHECK_STR(told(), "");
	journal_flush_idle(streams, 7000000000, 2000000000, NULL, 0, on_line, &seen);
	CHECK_STR(told(), "30|app|77|||0|last words;");
	journal_flush_idle(streams, 8000000000, 0, NULL, 0, on_line, &seen);
	CHECK_STR(told(), "");
	FEED(1, "x\n");
	CHECK_STR(told(), "30|app|77|||0|x;"); /* the header is still known */
}

static bool only_pid_78(void *arg, uint32_t pid, uint64_t socket_ino)
{
	(void)arg;
	return pid == 78 && socket_ino == 20;
}

TEST(the_end_of_a_closed_stream)
{
	streams_begin(0, 0);
	feed(1, 77, HEADER("app") "closed", sizeof(HEADER("app") "closed") - 1);
	feed(2, 78, HEADER("app") "open", sizeof(HEADER("app") "open") - 1);
	journal_flush_idle(streams, 9000000000, 2000000000, only_pid_78, 0, on_line, &seen);
	CHECK_STR(told(), "30|app|77|||0|closed;");
	refuse_every = 1;
	CHECK(!journal_flush_idle(streams, 9000000000, 0, NULL, 0, on_line, &seen));
	refuse_every = 0;
	CHECK(journal_flush_idle(streams, 9000000000, 0, NULL, 0, on_line, &seen));
	CHECK_STR(told(), "30|app|78|||0|open;");
}

TEST(more_streams_than_we_keep)
{
	struct journal_stats st;

	streams_begin(2, 0);
	FEED(1, HEADER("one") "1");
	FEED(2, HEADER("two") "2");
	FEED(1, "1");
	FEED(3, HEADER("three") "3"); /* two was silent for longest */
	CHECK_STR(told(), "30|two|77|||0|2;");
	FEED(1, "\n");
	CHECK_STR(told(), "30|one|77|||0|11;");
	FEED(2, "x\n");
	CHECK_STR(told(), "30|three|77|||0|3;30||77|||0|x;");
	journal_get_stats(streams, &st);
	CHECK_INT(st.evicted, 2);
	CHECK_INT(st.streams, 2);
}

TEST(more_unfinished_bytes_than_we_keep)
{
	static char text[1000];
	struct journal_stats st;
	size_t bytes = 0;

	memset(text, 'z', sizeof(text));
	streams_begin(100, 4096);
	for (uint64_t i = 1; i <= 20; i++) {
		feed(i, 77, text, sizeof(text));
		journal_get_stats(streams, &st);
		CHECK(st.bytes <= 4096);
	}
	journal_flush_idle(streams, 0, 0, NULL, 0, on_line, &seen);
	for (size_t i = 0; i < seen.len; i++)
		bytes += seen.text[i] == 'z';
	CHECK_INT(bytes, 20 * 1000);
	told();
	/* No room for a single one: still nothing is lost. */
	streams_begin(2, 100);
	feed(1, 77, text, sizeof(text));
	feed(1, 77, "end\n", 4);
	CHECK_INT(seen.n, 2);
	told();
}

TEST(syslog_on_a_stream)
{
	struct journal_sample s = sample_of("/dev/log", "<13>app[3]: one\n<14>app: t", 26);

	streams_begin(0, 0);
	s.stream = true;
	journal_decode(streams, &s, 0, on_line, &seen);
	s = sample_of("/dev/log", "wo\0", 3);
	s.stream = true;
	journal_decode(streams, &s, 0, on_line, &seen);
	CHECK_STR(told(), "13|app|3|||0|one;14|app|77|||0|two;");
}

TEST(saved_and_restored)
{
	_cleanup_(buf_done) struct buf first = { 0 }, second = { 0 };
	struct journal_stats st;
	uint64_t changes;

	buf_init(&first, 1 << 20);
	buf_init(&second, 1 << 20);
	streams_begin(0, 0);
	FEED(1, HEADER("one") "half ");
	FEED(2, HEADER("two"));
	journal_get_stats(streams, &st);
	changes = st.changes;
	CHECK_INT(journal_stream_save(streams, &first), 0);

	streams_begin(0, 0);
	CHECK_INT(journal_stream_restore(streams, buf_slice(&first)), 0);
	CHECK_INT(journal_stream_save(streams, &second), 0);
	CHECK_INT(second.len, first.len);
	CHECK(memcmp(buf_data(&first), buf_data(&second), first.len) == 0);
	FEED(1, "line\n");
	FEED(2, "x\n");
	CHECK_STR(told(), "30|one|77|||0|half line;30|two|77|||0|x;");
	/* A whole line in one piece changes nothing that is worth saving. */
	journal_get_stats(streams, &st);
	changes = st.changes;
	FEED(2, "y\n");
	journal_get_stats(streams, &st);
	CHECK(st.changes == changes);
	told();

	/* Cut or changed anywhere: refused, and then nothing is there. */
	for (size_t n = 0; n < first.len; n++) {
		CHECK(journal_stream_restore(streams, (struct slice){ buf_data(&first), n }) < 0);
		journal_get_stats(streams, &st);
		CHECK_INT(st.streams, 0);
		CHECK_INT(st.bytes, 0);
	}
	/* More streams than there is room for. */
	streams_begin(1, 0);
	CHECK(journal_stream_restore(streams, buf_slice(&first)) < 0);
	/* No room to write it. */
	streams_begin(0, 0);
	FEED(1, HEADER("one") "half ");
	buf_done(&second);
	buf_init(&second, 100);
	CHECK_INT(journal_stream_save(streams, &second), -ENOBUFS);
	CHECK_INT(second.len, 0);
	journal_free(TAKE_PTR(streams));
	streams = NULL;
}

/* All kinds of samples, one after the other; each refusal is followed by a crash. */
static void feed_all(void)
{
	static char big[2 * JOURNAL_LINE_MAX + 3];
	const struct {
		const char *path, *data;
		size_t len;
		uint64_t socket;
		bool stream;
	} samples[] = {
#define TEXT(s) s, sizeof(s) - 1
		{ STDOUT_PATH, TEXT(HEADER("one") "a\n\nb\nc"), 1, true },
		{ NATIVE_PATH, TEXT("MESSAGE=x\n\nMESSAGE=y\n\n\nMESSAGE=z"), 2, false },
		{ STDOUT_PATH, TEXT("d\ne\0f\n"), 1, true },
		{ STDOUT_PATH, TEXT("no header\nat all\nunfinished"), 3, true },
		{ SYSLOG_PATH, TEXT("<13>app: text"), 4, false },
		{ "/dev/log", TEXT("<13>app[3]: one\n<14>app: two\n<15>th"), 5, true },
		{ "/dev/log", TEXT("ree\n"), 5, true },
		{ STDOUT_PATH, TEXT(HEADER("big")), 6, true },
		{ STDOUT_PATH, big, sizeof(big), 6, true },
		{ STDOUT_PATH, TEXT("\nrest\n"), 6, true },
#undef TEXT
	};

	for (size_t i = 0; i + 2 < sizeof(big); i += 3)
		memcpy(big + i, "\xe2\x82\xac", 3);
	for (size_t i = 0; i < sizeof(samples) / sizeof(*samples); i++) {
		struct journal_sample s =
			sample_of(samples[i].path, samples[i].data, samples[i].len);

		s.socket = samples[i].socket;
		s.socket_ino = samples[i].socket * 10;
		s.stream = samples[i].stream;
		while (!journal_decode(streams, &s, 0, on_line, &seen)) {
			_cleanup_(buf_done) struct buf saved = { 0 };

			buf_init(&saved, 1 << 20);
			CHECK_INT(journal_stream_save(streams, &saved), 0);
			journal_free(streams);
			streams = journal_of(0, 0);
			CHECK_INT(journal_stream_restore(streams, buf_slice(&saved)), 0);
		}
	}
	while (!journal_flush_idle(streams, 0, 0, NULL, 0, on_line, &seen))
		;
}

TEST(a_line_that_was_not_taken_comes_again)
{
	static char want[sizeof(seen.text)];
	int n;

	streams_begin(0, 0);
	feed_all();
	n = seen.n;
	CHECK(n > 15);
	strcpy(want, told());
	for (refuse_every = 2; refuse_every < 2 * n; refuse_every++) {
		streams_begin(0, 0);
		feed_all();
		CHECK_INT(seen.n, n);
		CHECK(strcmp(told(), want) == 0);
	}
	refuse_every = 0;
}
