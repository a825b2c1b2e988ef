/* SPDX-License-Identifier: Apache-2.0 */
/* Journal and kernel lines as records: both halves, each schema, every length. */
#define _GNU_SOURCE
#include "user/journal_record.h"

#include <errno.h>

#include "tests/lib/test.h"
#include "user/kernel_record.h"

#include "tests/lib/json.h"

#define BOOT_REAL_NS 1795392000000000000ll

static const char *const ips[] = { "192.0.2.10" };

static struct record *record_of(enum config_journal_schema schema)
{
	static struct record *r;
	const struct record_opts opts = {
		.hostname = SLICE("web-1"),
		.ips = ips,
		.n_ips = 1,
		.agent_id = SLICE("id"),
		.version = SLICE("1"),
		.epoch = 1,
		.journal_schema = schema,
	};

	record_free(r);
	if (record_new(&opts, &r) < 0)
		abort();
	r->seq = 7;
	r->boot_to_real_ns = BOOT_REAL_NS;
	return r;
}

/* What a JSON transport sends: head, text as a JSON string, two braces. */
static struct json_c_object *whole_of(const struct msg *m, size_t *ret_len)
{
	static char text[2 * MSG_MAX_BYTES];
	char *at = text;

	memcpy(at, m->json.p, m->json.len);
	at += m->json.len;
	if (m->text.len) {
		*at++ = '"';
		if (json_escape(at, sizeof(text) - m->json.len - 8, m->text, &at) < 0)
			abort();
		memcpy(at, "\"}}", 3);
		at += 3;
	}
	*ret_len = (size_t)(at - text);
	return json_of(text, *ret_len);
}

static const struct process_info sshd = {
	.pid = 77,
	.start_ns = 1000000000,
	.name = { "sshd", 4 },
	.executable = { "/usr/sbin/sshd", 14 },
	.command_line = { "sshd -D", 7 },
	.container = { .unit = "ssh.service" },
};

static struct journal_line line_of(const char *text)
{
	return (struct journal_line){
		.transport = JOURNAL_SYSLOG,
		.pri = 10 * 8 + 6,
		.identifier = SLICE("sshd-session"),
		.text = slice_of(text),
		.code = SLICE(""),
		.unit = SLICE(""),
		.pid = 78,
		.trusted_pid = 77,
		.uid = 0,
		.gid = 100,
		.boot_ns = 1500000000,
		.time_us = 1795392001500000,
	};
}

TEST(every_key)
{
	static const struct {
		const char *path, *want;
	} cases[] = {
		{ "@timestamp", "'2026-11-23T00:00:01.500000Z" },
		{ "host.hostname", "'web-1" },
		{ "host.ip", "[\"192.0.2.10\"]" },
		{ "host.os.type", "'linux" },
		{ "agent.type", "'sekoia-ebpf" },
		{ "log.level", "'info" },
		{ "log.logger", "'journal" },
		{ "log.syslog.appname", "'sshd-session" },
		{ "log.syslog.procid", "'78" },
		{ "log.syslog.facility.code", "10" },
		{ "log.syslog.facility.name", "'authpriv" },
		{ "log.syslog.severity.code", "6" },
		{ "log.syslog.severity.name", "'info" },
		{ "process.pid", "77" },
		{ "process.name", "'sshd" },
		{ "process.executable", "'/usr/sbin/sshd" },
		{ "process.command_line", "'sshd -D" },
		{ "user.id", "'0" },
		{ "user.name", "'root" },
		{ "group.id", "'100" },
		{ "service.name", "'ssh.service" },
		{ "container", NULL },
		{ "event.id", "'0000000000000001-7" },
		{ "event.kind", "'event" },
		{ "event.category", "[\"host\"]" },
		{ "event.type", "[\"info\"]" },
		{ "event.provider", "'syslog" },
		{ "event.code", NULL },
		{ "event.reason", "'Accepted \"key\"\nfor \\root" },
	};
	static const enum config_journal_schema schemas[] = { JOURNAL_SCHEMA_AUTO,
							      JOURNAL_SCHEMA_ECS };
	const struct journal_details d = { .process = &sshd, .user_name = SLICE("root") };
	struct journal_line line = line_of("Accepted \"key\"\nfor \\root");

	for (int k = 0; k < 2; k++) {
		struct record *r = record_of(schemas[k]);
		struct json_c_object *o;
		struct msg m = { 0 };
		size_t len;

		journal_record_format(r, &line, &d, &m);
		CHECK_INT(m.seq, 7);
		CHECK_INT(m.time_us, 1795392001500000);
		CHECK_INT(m.class, MSG_JOURNAL);
		CHECK_INT(m.pri, 86);
		CHECK_MEM(m.host.p, m.host.len, "web-1");
		CHECK_MEM(m.app.p, m.app.len, "sshd-session");
		CHECK_MEM(m.procid.p, m.procid.len, "78");
		CHECK_MEM(m.text.p, m.text.len, k ? "" : "Accepted \"key\"\nfor \\root");
		o = whole_of(&m, &len);
		for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
			CHECK_JSON(o, cases[i].path, cases[i].want);
		json_object_put(o);
	}
}

TEST(structured_data)
{
	static const struct {
		const char *data, *want;
	} cases[] = {
		{ "[a@1 k=\"v\"]", "{\"a@1\":{\"k\":\"v\"}}" },
		{ "[a k=\"v\" l=\"w\"][b m=\"\"]",
		  "{\"a\":{\"k\":\"v\",\"l\":\"w\"},\"b\":{\"m\":\"\"}}" },
		{ "[a x=\"]\\\"\\]\\\\\" y=\"\\n\"]",
		  "{\"a\":{\"x\":\"]\\\"]\\\\\",\"y\":\"\\\\n\"}}" },
		{ "[a ip=\"1\" n=\"2\" ip=\"3\"]", "{\"a\":{\"ip\":[\"1\",\"3\"],\"n\":\"2\"}}" },
		{ "[a k=\"1\"][b k=\"2\"][a l=\"3\"]",
		  "{\"a\":{\"k\":\"1\",\"l\":\"3\"},\"b\":{\"k\":\"2\"}}" },
		{ "[alone]", "{\"alone\":{}}" },
		{ "[a\"\\b k=\"v\"]", "{\"a__b\":{\"k\":\"v\"}}" },
		{ "", NULL },
		{ "[]", NULL },
		{ "[a k=v]", NULL },
		{ "[a k=\"v\" no]", "{\"a\":{\"k\":\"v\"}}" },
	};
	const struct journal_details d = { .process = &sshd };

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct journal_line line = line_of("x");
		struct json_c_object *o;
		struct msg m;
		size_t len;

		line.data = slice_of(cases[i].data);
		journal_record_format(record_of(JOURNAL_SCHEMA_ECS), &line, &d, &m);
		o = whole_of(&m, &len);
		CHECK_JSON(o, "log.syslog.structured_data", cases[i].want);
		CHECK_JSON(o, "log.syslog.severity.code", "6");
		json_object_put(o);
	}
}

TEST(structured_data_without_room)
{
	const struct journal_details d = { .process = &sshd };
	struct journal_line line = line_of("x");
	struct json_c_object *o;
	char data[40000], *at = data;
	struct msg m;
	size_t len;

	/* More parameters than are sent. */
	at += sprintf(at, "[a");
	for (int i = 0; i < 70; i++)
		at += sprintf(at, " k%d=\"v\"", i);
	at += sprintf(at, "]");
	line.data = (struct slice){ data, (size_t)(at - data) };
	journal_record_format(record_of(JOURNAL_SCHEMA_ECS), &line, &d, &m);
	o = whole_of(&m, &len);
	CHECK_JSON(o, "log.syslog.structured_data.a.k63", "'v");
	CHECK_JSON(o, "log.syslog.structured_data.a.k64", NULL);
	CHECK_JSON(o, "sekoia_ebpf.journal_left_out", "6");
	json_object_put(o);
	/* One that is too long. */
	memset(data, 'y', sizeof(data));
	memcpy(data, "[a k=\"", 6);
	memcpy(data + sizeof(data) - 2, "\"]", 2);
	line.data = (struct slice){ data, sizeof(data) };
	journal_record_format(record_of(JOURNAL_SCHEMA_ECS), &line, &d, &m);
	o = whole_of(&m, &len);
	CHECK_JSON(o, "log.syslog.structured_data", NULL);
	CHECK_JSON(o, "sekoia_ebpf.journal_left_out", "1");
	CHECK_JSON(o, "event.reason", "'x");
	json_object_put(o);
}

TEST(from_the_journals_files)
{
	const struct journal_details d = { .process = &sshd };
	struct journal_line line = line_of("x");
	struct json_c_object *o;
	struct msg m;
	size_t len;

	line.backfill = true;
	line.cursor = SLICE("s=1;i=2");
	journal_record_format(record_of(JOURNAL_SCHEMA_ECS), &line, &d, &m);
	o = whole_of(&m, &len);
	CHECK_JSON(o, "sekoia_ebpf.journal", "{\"backfill\":true,\"cursor\":\"s=1;i=2\"}");
	json_object_put(o);
	line.fields = SLICE("CODE_LINE=7\n");
	journal_record_format(record_of(JOURNAL_SCHEMA_ECS), &line, &d, &m);
	o = whole_of(&m, &len);
	CHECK_JSON(o, "sekoia_ebpf.journal.backfill", "true");
	CHECK_JSON(o, "sekoia_ebpf.journal.CODE_LINE", "'7");
	json_object_put(o);
}

TEST(raw)
{
	const struct journal_details d = { 0 };
	struct journal_line line = line_of("text");
	struct msg m;

	journal_record_format(record_of(JOURNAL_SCHEMA_RAW), &line, &d, &m);
	CHECK_MEM(m.text.p, m.text.len, "text");
	CHECK_INT(m.json.len, 0);
	CHECK_MEM(m.app.p, m.app.len, "sshd-session");
}

TEST(what_is_not_known)
{
	struct record *r = record_of(JOURNAL_SCHEMA_AUTO);
	struct journal_details d = { .process = &sshd };
	struct journal_line line = line_of("x");
	struct json_c_object *o;
	struct msg m;
	size_t len;

	/* No name: the process's. */
	line.identifier.len = 0;
	line.code = SLICE("1112");
	journal_record_format(r, &line, &d, &m);
	CHECK_MEM(m.app.p, m.app.len, "sshd");
	o = whole_of(&m, &len);
	CHECK_JSON(o, "event.code", "'1112");
	json_object_put(o);
	/* Nobody at all. */
	d.process = NULL;
	line.pid = line.trusted_pid = 0;
	line.unit = SLICE("a.service");
	journal_record_format(r, &line, &d, &m);
	CHECK_MEM(m.app.p, m.app.len, "syslog");
	CHECK_INT(m.procid.len, 0);
	o = whole_of(&m, &len);
	CHECK_JSON(o, "process", NULL);
	CHECK_JSON(o, "user", NULL);
	CHECK_JSON(o, "log.syslog.procid", NULL);
	CHECK_JSON(o, "service.name", "'a.service");
	json_object_put(o);
	/* A pid, and no more. */
	line.trusted_pid = 5;
	journal_record_format(r, &line, &d, &m);
	o = whole_of(&m, &len);
	CHECK_JSON(o, "process.pid", "5");
	json_object_put(o);
}

/* The text's letters that survive, and what its end says is missing: together all of it. */
TEST(fields)
{
	const struct journal_details d = { .process = &sshd };
	struct journal_line line = line_of("text");
	struct record *r = record_of(JOURNAL_SCHEMA_AUTO);
	static char many[70 * 1000], *at;
	struct json_c_object *o;
	struct msg m = { 0 };
	size_t len;

	journal_record_format(r, &line, &d, &m);
	o = whole_of(&m, &len);
	CHECK_JSON(o, "sekoia_ebpf", NULL);
	json_object_put(o);

	line.fields = SLICE("CODE_FILE=a \"b\".c\nMESSAGE=text\nN=1\nBAD=caf\xe9\nN=2\nE=\nN=3\n");
	journal_record_format(r, &line, &d, &m);
	o = whole_of(&m, &len);
	CHECK_JSON(o, "sekoia_ebpf.journal.CODE_FILE", "'a \"b\".c");
	CHECK_JSON(o, "sekoia_ebpf.journal.N", "[\"1\",\"2\",\"3\"]");
	CHECK_JSON(o, "sekoia_ebpf.journal.BAD", "'caf\xef\xbf\xbd");
	CHECK_JSON(o, "sekoia_ebpf.journal.E", "'");
	CHECK_JSON(o, "sekoia_ebpf.journal.MESSAGE", NULL);
	CHECK_JSON(o, "sekoia_ebpf.journal_left_out", NULL);
	CHECK_JSON(o, "event.reason", "'text");
	json_object_put(o);

	/* Too long, and too many: the others are there, and the text. */
	at = many;
	at += sprintf(at, "FIRST=1\nBIG=%030000d\nBIG=2\n", 0);
	for (int i = 0; i < 70; i++)
		at += sprintf(at, "F%d=%d\n", i, i);
	line.fields = (struct slice){ many, (size_t)(at - many) };
	journal_record_format(r, &line, &d, &m);
	o = whole_of(&m, &len);
	CHECK_JSON(o, "sekoia_ebpf.journal.FIRST", "'1");
	CHECK_JSON(o, "sekoia_ebpf.journal.BIG", NULL);
	CHECK_JSON(o, "sekoia_ebpf.journal.F60", "'60");
	CHECK_JSON(o, "sekoia_ebpf.journal.F61", NULL);
	CHECK_JSON(o, "sekoia_ebpf.journal_left_out", "11");
	CHECK_JSON(o, "event.reason", "'text");
	json_object_put(o);

	/* The text of a line that is cut gives way, not the JSON. */
	memset(many, 'x', sizeof(many));
	line.fields = SLICE("A=1\n");
	line.text = (struct slice){ many, sizeof(many) };
	journal_record_format(record_of(JOURNAL_SCHEMA_ECS), &line, &d, &m);
	o = whole_of(&m, &len);
	CHECK_JSON(o, "sekoia_ebpf.journal.A", "'1");
	json_object_put(o);

	journal_record_format(record_of(JOURNAL_SCHEMA_RAW), &line, &d, &m);
	CHECK_INT(m.text.len, sizeof(many));
	CHECK_INT(m.json.len, 0);
}

/* One program's lines in an intake of their own: as a format of that program reads them. */
TEST(routes)
{
	const struct journal_details d = { .process = &sshd, .route = SLICE("sshd") };
	const struct journal_line line = line_of("text");
	struct msg m = { 0 };

	journal_record_format(record_of(JOURNAL_SCHEMA_AUTO), &line, &d, &m);
	CHECK_MEM(m.route.p, m.route.len, "sshd");
	CHECK_MEM(m.text.p, m.text.len, "text");
	CHECK_INT(m.json.len, 0);
	journal_record_format(record_of(JOURNAL_SCHEMA_ECS), &line, &d, &m);
	CHECK_MEM(m.route.p, m.route.len, "sshd");
	CHECK(m.json.len > 0);
}

TEST(too_long)
{
	static const enum config_journal_schema schemas[] = { JOURNAL_SCHEMA_AUTO,
							      JOURNAL_SCHEMA_RAW,
							      JOURNAL_SCHEMA_ECS };
	/* A letter, one that is escaped twofold, sixfold, three bytes of UTF-8, no UTF-8. */
	static const char *const units[] = { "a", "\"", "\x01", "\xe2\x82\xac", "\xff" };
	static char text[400000];
	const struct journal_details d = { .process = &sshd };

	for (int k = 0; k < 3; k++) {
		for (int u = 0; u < 5; u++) {
			size_t unit = strlen(units[u]), total = sizeof(text) / unit * unit,
			       kept = 0, len;
			struct journal_line line = line_of("");
			unsigned long long cut = 0;
			struct json_c_object *o;
			struct msg m;

			for (size_t i = 0; i < total; i++)
				text[i] = units[u][i % unit];
			line.text = (struct slice){ text, total };
			line.cut_bytes = 5;
			journal_record_format(record_of(schemas[k]), &line, &d, &m);
			CHECK(m.text.len + m.json.len + m.host.len + m.app.len + m.procid.len <
			      MSG_MAX_BYTES);
			if (schemas[k] != JOURNAL_SCHEMA_RAW) {
				const char *reason;

				o = whole_of(&m, &len);
				CHECK(o != NULL);
				CHECK(len < MSG_MAX_BYTES);
				/* Not cut more than needed, either. */
				CHECK(len > MSG_MAX_BYTES - 12000);
				reason = json_object_get_string(json_at(o, "event.reason"));
				CHECK(strstr(reason, " bytes cut]") != NULL);
				if (schemas[k] == JOURNAL_SCHEMA_ECS)
					CHECK(sscanf(strrchr(reason, '['), "[%llu", &cut) == 1);
				json_object_put(o);
			}
			if (schemas[k] != JOURNAL_SCHEMA_ECS) {
				const char *note = memrchr(m.text.p, '[', m.text.len);

				CHECK(note && sscanf(note, "[%llu", &cut) == 1);
				kept = (size_t)(note - m.text.p) - strlen("\xe2\x80\xa6 ");
				CHECK_INT(kept + cut, total + 5);
				CHECK_INT(kept % unit, 0);
			}
		}
	}
}

TEST(just_fits)
{
	static char text[MSG_MAX_BYTES];
	struct record *r = record_of(JOURNAL_SCHEMA_AUTO);
	const struct journal_details d = { 0 };
	struct journal_line line = line_of("");
	bool was_whole = true;
	struct msg m;

	memset(text, 'a', sizeof(text));
	for (size_t n = RECORD_MAX_BYTES - 2000; n < RECORD_MAX_BYTES; n++) {
		line.text = (struct slice){ text, n };
		journal_record_format(r, &line, &d, &m);
		CHECK(m.text.len + m.json.len + 4 <= RECORD_MAX_BYTES);
		if (m.text.len != n)
			was_whole = false;
		CHECK(was_whole == (m.text.len == n)); /* one border, crossed once */
	}
	CHECK(!was_whole);
}

TEST(a_name_of_a_kilobyte)
{
	static char name[1024];
	struct record *r = record_of(JOURNAL_SCHEMA_AUTO);
	const struct journal_details d = { 0 };
	struct journal_line line = line_of("x");
	struct json_c_object *o;
	struct msg m;
	size_t len;

	memset(name, 'n', sizeof(name));
	line.identifier = line.code = line.unit = (struct slice){ name, sizeof(name) };
	journal_record_format(r, &line, &d, &m);
	CHECK_INT(m.app.len, 255);
	o = whole_of(&m, &len);
	CHECK(o != NULL);
	json_object_put(o);
}

TEST(kernel)
{
	struct record *r = record_of(JOURNAL_SCHEMA_AUTO);
	static struct kmsg k;
	struct json_c_object *o;
	struct msg m;
	size_t len;

	r->kernel_to_real_ns = 0;
	CHECK_INT(
		kmsg_parse(SLICE("4,339,1500000,-;usb 1-1: new\n SUBSYSTEM=usb\n DEVICE=c189:1\n"),
			   &k),
		0);
	CHECK_INT(kernel_record_format(r, &k, &m), 0);
	CHECK_INT(m.class, MSG_KERNEL);
	CHECK_INT(m.pri, 4);
	CHECK_INT(m.time_us, 1795392001500000);
	CHECK_MEM(m.app.p, m.app.len, "kernel");
	CHECK_INT(m.procid.len, 0);
	CHECK_INT(m.text.len, 0); /* JSON on every transport */
	o = whole_of(&m, &len);
	CHECK_JSON(o, "@timestamp", "'2026-11-23T00:00:01.500000Z");
	CHECK_JSON(o, "log.logger", "'kernel");
	CHECK_JSON(o, "log.level", "'warning");
	CHECK_JSON(o, "log.syslog.appname", "'kernel");
	CHECK_JSON(o, "log.syslog.facility.name", "'kern");
	CHECK_JSON(o, "labels.subsystem", "'usb");
	CHECK_JSON(o, "labels.device", "'c189:1");
	CHECK_JSON(o, "event.id", "'0000000000000001-7");
	CHECK_JSON(o, "event.provider", "'kernel");
	CHECK_JSON(o, "event.category", "[\"host\"]");
	CHECK_JSON(o, "event.reason", "'usb 1-1: new");
	json_object_put(o);

	/* A program that wrote to /dev/kmsg; the log's clock is behind by a night in suspend. */
	r->kernel_to_real_ns = BOOT_REAL_NS + 28800000000000ll;
	CHECK_INT(kmsg_parse(SLICE("30,340,1500000,-;systemd[1]: Started it.\n"), &k), 0);
	CHECK_INT(kernel_record_format(r, &k, &m), 0);
	CHECK_INT(m.time_us, 1795392001500000 + 28800000000);
	CHECK_MEM(m.app.p, m.app.len, "systemd");
	CHECK_MEM(m.procid.p, m.procid.len, "1");
	o = whole_of(&m, &len);
	CHECK_JSON(o, "event.reason", "'Started it.");
	json_object_put(o);

	CHECK_INT(kmsg_parse(SLICE("6,341,1,-;\n"), &k), 0);
	CHECK_INT(kernel_record_format(r, &k, &m), -ENODATA);
	CHECK_INT(kmsg_parse(SLICE("6,341,1,-;raw\n"), &k), 0);
	r = record_of(JOURNAL_SCHEMA_RAW);
	CHECK_INT(kernel_record_format(r, &k, &m), 0);
	CHECK_MEM(m.text.p, m.text.len, "raw");
	CHECK_INT(m.json.len, 0);
}

TEST(kmsg)
{
	static const struct {
		const char *record;
		int ret, pri;
		unsigned long long seq, clock_us;
		const char *text, *subsystem, *device;
	} cases[] = {
		{ "6,339,5140900,-;NET: Registered\n", 0, 6, 339, 5140900, "NET: Registered", "",
		  "" },
		{ "6,1,2,-,caller=T1;with a caller\n", 0, 6, 1, 2, "with a caller", "", "" },
		{ "6,1,2;no flags\n", 0, 6, 1, 2, "no flags", "", "" },
		{ "6,1,2,c;no end", 0, 6, 1, 2, "no end", "", "" },
		{ "6,1,2,-;a\\x0ab\\x5cc\\x\\xzz\\x4\n", 0, 6, 1, 2, "a\nb\\c\\x\\xzz\\x4", "",
		  "" },
		{ "6,1,2,-;a;b,c\n", 0, 6, 1, 2, "a;b,c", "", "" },
		{ "6,1,2,-;x\n SUBSYSTEM=pci\n DEVICE=+pci:0\\x5c1\n OTHER=1\n", 0, 6, 1, 2, "x",
		  "pci", "+pci:0\\1" },
		{ "6,1,2,-;x\nSUBSYSTEM=pci\n", 0, 6, 1, 2, "x", "", "" },
		{ "30,1,2,-;daemon\n", 0, 30, 1, 2, "daemon", "", "" },
		{ "999,1,2,-;any facility\n", 0, 15, 1, 2, "any facility", "", "" },
		{ "6,18446744073709551614,2,-;x", -EBADMSG, 0, 0, 0, "", "", "" },
		{ "", -EBADMSG, 0, 0, 0, "", "", "" },
		{ "6", -EBADMSG, 0, 0, 0, "", "", "" },
		{ "6,1,2,-", -EBADMSG, 0, 0, 0, "", "", "" },
		{ "6,1;x", -EBADMSG, 0, 0, 0, "", "", "" },
		{ "6,1,2x;x", -EBADMSG, 0, 0, 0, "", "", "" },
		{ ",1,2,-;x", -EBADMSG, 0, 0, 0, "", "", "" },
		{ "-6,1,2,-;x", -EBADMSG, 0, 0, 0, "", "", "" },
	};
	static char big[KMSG_MAX + 1];
	static struct kmsg k;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		CHECK_INT(kmsg_parse(slice_of(cases[i].record), &k), cases[i].ret);
		if (cases[i].ret)
			continue;
		CHECK_INT(k.pri, cases[i].pri);
		CHECK_INT(k.seq, cases[i].seq);
		CHECK_INT(k.clock_us, cases[i].clock_us);
		CHECK_MEM(k.text.p, k.text.len, cases[i].text);
		CHECK_MEM(k.subsystem.p, k.subsystem.len, cases[i].subsystem);
		CHECK_MEM(k.device.p, k.device.len, cases[i].device);
	}
	memset(big, 'x', sizeof(big));
	memcpy(big, "6,1,2,-;", 8);
	CHECK_INT(kmsg_parse((struct slice){ big, sizeof(big) }, &k), -EBADMSG);
	CHECK_INT(kmsg_parse((struct slice){ big, KMSG_MAX }, &k), 0);
}
