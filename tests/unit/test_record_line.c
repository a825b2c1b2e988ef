/* SPDX-License-Identifier: Apache-2.0 */
/* Each kind of record is a line of a terminal, 80 columns at the most; filters take what they say.
 */
#include "user/record_line.h"

#include <errno.h>

#include "tests/lib/test.h"

#define TIME 1795412345123456ull /* 06:59:05 on a day of 2026 */

static const char flow[] =
	"{\"@timestamp\":\"x\",\"sourceIPv4Address\":\"10.0.0.9\",\"event\":{\"action\":\"network_flow\"},"
	"\"source\":{\"ip\":\"10.0.0.1\",\"port\":34567,\"bytes\":1234,\"packets\":1},"
	"\"destination\":{\"ip\":\"192.0.2.4\",\"port\":443,\"bytes\":34000},\"network\":{\"transport\":\"tcp\"},"
	"\"process\":{\"pid\":12,\"name\":\"curl\"},\"container\":{\"id\":\"abcdef\"}}";
static const char flow6[] =
	"{\"sourceIPv6Address\":\"2001:db8:1111:2222:3333:4444:5555:6666\",\"destinationIPv6Address\":"
	"\"2001:db8:1111:2222:3333:4444:5555:7777\",\"sourceTransportPort\":1024,"
	"\"destinationTransportPort\":53,\"protocolIdentifier\":17,\"initiatorOctets\":1,\"responderOctets\":0}";

static struct msg of(enum msg_class class, const char *app, const char *text, const char *json)
{
	return (struct msg){ .class = class,
			     .time_us = TIME,
			     .app = slice_of(app),
			     .procid = SLICE("77"),
			     .text = slice_of(text),
			     .json = slice_of(json) };
}

TEST(lines)
{
	const struct {
		struct msg m;
		const char *want;
	} cases[] = {
		{ of(MSG_FLOW, "sekoia-ebpf", "", flow),
		  " flow    10.0.0.1:34567 -> 192.0.2.4:443 tcp 1.2 kB/34 kB curl(12)" },
		{ of(MSG_FLOW, "sekoia-ebpf", "", flow6),
		  " flow    [2001:db8..:6666]:1024 -> [2001:db8..:7777]:53 udp 1 B/0 B" },
		{ of(MSG_JOURNAL, "sshd", "Accepted\x1b[31m \xc3\xa9\n", "{}"),
		  " journal sshd[77]: Accepted?[31m \xc3\xa9 " },
		{ of(MSG_KERNEL, "kernel", "", "{\"event\":{\"reason\":\"usb \\u001b 1\"}}"),
		  " kernel  kernel[77]: usb ? 1" },
		{ of(MSG_SELF, "sekoia-ebpf", "", "{\"event\":{\"reason\":\"\\u202eturned\"}}"),
		  " self    sekoia-ebpf[77]: ?turned" },
		{ of(MSG_FLOW, "x", "", "nonsense"), " flow    [77]: nonsense" },
	};
	struct record_facts facts;
	char line[RECORD_LINE_SIZE];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		record_read(&cases[i].m, &facts);
		record_line(&facts, line);
		CHECK_STR(line + 8, cases[i].want);
		CHECK(line[2] == ':' && line[5] == ':');
	}
}

TEST(columns)
{
	char text[200], line[RECORD_LINE_SIZE];
	struct record_facts facts;
	struct msg m;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	m = of(MSG_JOURNAL, "app", text, "");
	record_read(&m, &facts);
	record_line(&facts, line);
	CHECK_INT(strlen(line), RECORD_COLUMNS);
	/* Two columns each; half of one is none. */
	CHECK_INT(record_columns(SLICE("\xe6\xbc\xa2\xe6\xbc\xa2"), 3, text, sizeof(text)), 3);
	CHECK_INT(record_columns(SLICE("\xff\xc3"), 9, text, sizeof(text)), 2);
	CHECK_STR(text, "??");
	CHECK_INT(record_columns(SLICE("abc"), 9, text, 3), 2);
}

TEST(sizes)
{
	static const struct {
		uint64_t n;
		const char *want;
	} cases[] = { { 0, "0 B" },	    { 999, "999 B" },	    { 1000, "1.0 kB" },
		      { 9949, "9.9 kB" },   { 9990, "10 kB" },	    { 999499, "999 kB" },
		      { 999999, "1.0 MB" }, { UINT64_MAX, "18 EB" } };
	char text[16];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		CHECK_STR(record_bytes(cases[i].n, text), cases[i].want);
}

static bool taken(const char *const *words, const struct msg *m)
{
	struct record_filter f = { 0 };
	struct record_facts facts;

	for (; *words; words++)
		CHECK_INT(record_filter_add(&f, *words), 0);
	record_read(m, &facts);
	return record_filter_takes(&f, &facts);
}

TEST(filters)
{
	const struct msg a = of(MSG_FLOW, "sekoia-ebpf", "", flow);
	const struct msg b = of(MSG_JOURNAL, "sshd", "Accepted publickey", "{}");
	static const struct {
		const char *words[4];
		bool flow, line;
	} cases[] = {
		{ { NULL }, true, true },
		{ { "flows" }, true, false },
		{ { "flow" }, true, false },
		{ { "journal" }, false, true },
		{ { "flows", "journal" }, true, true },
		{ { "kernel" }, false, false },
		{ { "port=443" }, true, false },
		{ { "port=34567" }, true, false },
		{ { "port=44" }, false, false },
		{ { "host=10.0.0.1" }, true, false },
		{ { "host=10.0.0.1", "host=10.9.9.9" }, true, false },
		{ { "host=10.0.0.1", "port=80" }, false, false },
		{ { "process=curl" }, true, false },
		{ { "process=sshd" }, false, true },
		{ { "pid=12" }, true, false },
		{ { "container=abc" }, true, false },
		{ { "text=PUBLICKEY" }, false, true },
		{ { "text=curl" }, true, false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		CHECK_INT(taken(cases[i].words, &a), cases[i].flow);
		CHECK_INT(taken(cases[i].words, &b), cases[i].line);
	}
}

TEST(mistakes)
{
	static const char *const bad[] = { "",	     "flowss",	   "journals", "port=",
					   "port=0", "port=65536", "port=x",   "pid=-1",
					   "x=y",    "process=",   "nonsense" };
	struct record_filter f = { 0 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		CHECK_INT(record_filter_add(&f, bad[i]), -EINVAL);
	CHECK_INT(f.n, 0);
	for (int i = 0; i < RECORD_WISHES; i++)
		CHECK_INT(record_filter_add(&f, "flows"), 0);
	CHECK_INT(record_filter_add(&f, "flows"), -E2BIG);
}
