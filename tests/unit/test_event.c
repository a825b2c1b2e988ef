/* SPDX-License-Identifier: Apache-2.0 */
#include "user/event.h"

#include <errno.h>
#include <stddef.h>

#include "bpf/events.h"
#include "tests/lib/test.h"

static struct event_flow good_flow(void)
{
	struct event_flow e = {
		.h = { .type = EVENT_FLOW, .size = sizeof(e), .boot_ns = 77 },
		.id = 5,
		.start_ns = 10,
		.from_ns = 20,
		.last_ns = 30,
		.out_bytes = 100,
		.in_bytes = 200,
		.out_packets = 3,
		.in_packets = 4,
		.out_total = 1000,
		.in_total = 2000,
		.opener = { .start_ns = 8,
			    .cgroup_id = 9,
			    .tgid = 11,
			    .uid = 12,
			    .gid = 13,
			    .ppid = 14,
			    .comm = "opener" },
		.user = { .tgid = 21, .comm = "sixteen bytes ok" },
		.local = { 10, 0, 0, 1 },
		.remote = { 10, 0, 0, 2 },
		.local_port = 1234,
		.remote_port = 443,
		.icmp_type_code = 3 * 256 + 1,
		.ip_version = 4,
		.protocol = 6,
		.direction = FLOW_OUT,
		.end_reason = FLOW_END_DETECTED,
		.tcp_flags = 0x1b,
		.flags = FLOW_FIRST | FLOW_LAST | FLOW_ESTABLISHED,
		.error = 104,
		.ifindex = 2,
		.netns = 4026531840u,
		.retransmits = 6,
		.srtt_us = 250,
		.report = 1,
		.unacknowledged = 0x0102030405060708,
	};

	return e;
}

TEST(every_field_of_a_flow)
{
	struct event_flow e = good_flow();
	struct event ev;

	CHECK_INT(event_decode(&e, sizeof(e), &ev), 0);
	CHECK_INT(ev.kind, EVENT_IS_FLOW);
	CHECK_INT(ev.boot_ns, 77);
	CHECK_INT(ev.flow.id, 5);
	CHECK_INT(ev.flow.start_ns, 10);
	CHECK_INT(ev.flow.from_ns, 20);
	CHECK_INT(ev.flow.last_ns, 30);
	CHECK_INT(ev.flow.out_bytes, 100);
	CHECK_INT(ev.flow.in_bytes, 200);
	CHECK_INT(ev.flow.out_packets, 3);
	CHECK_INT(ev.flow.in_packets, 4);
	CHECK_INT(ev.flow.out_total, 1000);
	CHECK_INT(ev.flow.in_total, 2000);
	CHECK_INT(ev.flow.opener.pid, 11);
	CHECK_INT(ev.flow.opener.uid, 12);
	CHECK_INT(ev.flow.opener.gid, 13);
	CHECK_INT(ev.flow.opener.ppid, 14);
	CHECK_INT(ev.flow.opener.start_ns, 8);
	CHECK_INT(ev.flow.opener.cgroup_id, 9);
	CHECK_STR(ev.flow.opener.comm, "opener");
	CHECK_INT(ev.flow.user.pid, 21);
	CHECK_STR(ev.flow.user.comm, "sixteen bytes ok"); /* had no NUL on the wire */
	CHECK(memcmp(ev.flow.local, e.local, 16) == 0);
	CHECK(memcmp(ev.flow.remote, e.remote, 16) == 0);
	CHECK_INT(ev.flow.local_port, 1234);
	CHECK_INT(ev.flow.remote_port, 443);
	CHECK_INT(ev.flow.icmp_type, 3);
	CHECK_INT(ev.flow.icmp_code, 1);
	CHECK_INT(ev.flow.ip_version, 4);
	CHECK_INT(ev.flow.protocol, 6);
	CHECK_INT(ev.flow.outbound, 1);
	CHECK_INT(ev.flow.direction_known, 1);
	CHECK_INT(ev.flow.end_reason, 3);
	CHECK_INT(ev.flow.tcp_flags, 0x1b);
	CHECK_INT(ev.flow.error, 104);
	CHECK_INT(ev.flow.ifindex, 2);
	CHECK_INT(ev.flow.netns, 4026531840u);
	CHECK_INT(ev.flow.retransmits, 6);
	CHECK_INT(ev.flow.srtt_us, 250);
	CHECK_INT(ev.flow.report, 1);
	CHECK(ev.flow.unacknowledged == 0x0102030405060708);
}

TEST(every_flag_of_a_flow)
{
	for (unsigned bit = 0; bit < 11; bit++) {
		struct event_flow e = good_flow();
		struct event ev;

		e.flags = 1u << bit;
		CHECK_INT(event_decode(&e, sizeof(e), &ev), 0);
		CHECK_INT(!ev.flow.direction_known, bit == 0);
		CHECK_INT(ev.flow.user_is_guess, bit == 1);
		CHECK_INT(ev.flow.out_uncertain, bit == 2);
		CHECK_INT(ev.flow.first, bit == 3);
		CHECK_INT(ev.flow.last, bit == 4);
		CHECK_INT(ev.flow.reset, bit == 5);
		CHECK_INT(ev.flow.loopback, bit == 6);
		CHECK_INT(ev.flow.established, bit == 7);
		CHECK_INT(ev.flow.start_unknown, bit == 8);
		CHECK_INT(ev.flow.in_uncertain, bit == 9);
		CHECK_INT(ev.flow.reset_by_peer, bit == 10);
	}
}

TEST(what_no_program_of_ours_wrote)
{
	static const struct {
		const char *what;
		size_t at;
		uint32_t value;
		int bytes;
	} cases[] = {
		{ "type", offsetof(struct event_flow, h.type), 99, 2 },
		{ "type none", offsetof(struct event_flow, h.type), 0, 2 },
		{ "size above the sample", offsetof(struct event_flow, h.size), 10000, 4 },
		{ "size too small", offsetof(struct event_flow, h.size), 100, 4 },
		{ "size 0", offsetof(struct event_flow, h.size), 0, 4 },
		{ "ip_version", offsetof(struct event_flow, ip_version), 5, 1 },
		{ "direction", offsetof(struct event_flow, direction), 2, 1 },
		{ "end_reason 0", offsetof(struct event_flow, end_reason), 0, 1 },
		{ "end_reason 6", offsetof(struct event_flow, end_reason), 6, 1 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct event_flow e = good_flow();
		struct event ev;

		memcpy((char *)&e + cases[i].at, &cases[i].value, (size_t)cases[i].bytes);
		if (event_decode(&e, sizeof(e), &ev) != -EBADMSG) {
			printf("# taken: %s\n", cases[i].what);
			test_failed = true;
		}
	}
}

TEST(a_flow_cut_anywhere)
{
	struct event_flow e = good_flow();
	struct event ev;

	for (size_t n = 0; n < sizeof(e); n++)
		CHECK_INT(event_decode(&e, n, &ev), -EBADMSG);
}

union journal_bytes {
	struct event_journal e;
	char bytes[sizeof(struct event_journal) + 64];
};

static union journal_bytes good_journal(const char *text)
{
	union journal_bytes b = {
		.e = { .h = { .type = EVENT_JOURNAL, .boot_ns = 5 },
		       .socket = 0xffff888000000000ull,
		       .socket_ino = 77,
		       .sender_cgroup = 88,
		       .sender_pid = 1,
		       .sender_uid = 2,
		       .sender_gid = 3,
		       .reader_tgid = 4,
		       .path = "/run/systemd/journal/socket",
		       .path_len = 40 },
	};

	b.e.len = b.e.full_len = (uint32_t)strlen(text);
	b.e.h.size = (uint32_t)sizeof(b.e) + b.e.len;
	memcpy(b.bytes + sizeof(b.e), text, strlen(text));
	return b;
}

TEST(every_field_of_a_journal_sample)
{
	union journal_bytes b = good_journal("MESSAGE=hello\n");
	struct event ev;

	CHECK_INT(event_decode(&b, b.e.h.size, &ev), 0);
	CHECK_INT(ev.kind, EVENT_IS_JOURNAL);
	CHECK_INT(ev.journal.boot_ns, 5);
	CHECK(ev.journal.socket == 0xffff888000000000ull);
	CHECK_INT(ev.journal.socket_ino, 77);
	CHECK_INT(ev.journal.sender_cgroup, 88);
	CHECK_INT(ev.journal.pid, 1);
	CHECK_INT(ev.journal.uid, 2);
	CHECK_INT(ev.journal.gid, 3);
	CHECK_INT(ev.journal.reader_pid, 4);
	CHECK_INT(ev.journal.full_len, 14);
	CHECK(!ev.journal.stream && !ev.journal.truncated);
	CHECK(!ev.journal.has_fds && !ev.journal.netlink);
	CHECK_MEM(ev.journal.path.p, ev.journal.path.len, "/run/systemd/journal/socket");
	CHECK_MEM(ev.journal.data.p, ev.journal.data.len, "MESSAGE=hello\n");
}

TEST(what_a_stream_lost_and_a_sample_from_before_that_was_known)
{
	union journal_bytes b = good_journal("hello");
	struct event ev;

	CHECK_INT(event_decode(&b, b.e.h.size, &ev), 0);
	CHECK_INT(ev.journal.lost, 0);
	b.e.flags = JOURNAL_STREAM;
	b.e.lost = 70000;
	CHECK_INT(event_decode(&b, b.e.h.size, &ev), 0);
	CHECK_INT(ev.journal.lost, 70000);
	CHECK(!ev.journal.lost_open);
	b.e.flags |= JOURNAL_LOST_OPEN;
	CHECK_INT(event_decode(&b, b.e.h.size, &ev), 0);
	CHECK(ev.journal.lost_open);
	/* The first version ended with the path. */
	memmove(b.bytes + EVENT_JOURNAL_MIN, b.bytes + sizeof(b.e), b.e.len);
	b.e.h.size = EVENT_JOURNAL_MIN + b.e.len;
	CHECK_INT(event_decode(&b, b.e.h.size, &ev), 0);
	CHECK_INT(ev.journal.lost, 0);
	CHECK(!ev.journal.lost_open);
	CHECK_MEM(ev.journal.data.p, ev.journal.data.len, "hello");
}

TEST(journal_flags_and_lengths)
{
	union journal_bytes b = good_journal("hello");
	struct event ev;

	b.e.flags = JOURNAL_STREAM | JOURNAL_FDS | JOURNAL_NETLINK;
	b.e.full_len = 500; /* more than there is: that is truncated, said or not */
	/* The room that was reserved is larger than what is in it. */
	CHECK_INT(event_decode(&b, sizeof(b), &ev), 0);
	CHECK(ev.journal.stream && ev.journal.truncated);
	CHECK(ev.journal.has_fds && ev.journal.netlink);
	CHECK_INT(ev.journal.data.len, 5);
	CHECK_INT(ev.journal.full_len, 500);

	b = good_journal("hello");
	b.e.len += 1 + sizeof(b.e) - EVENT_JOURNAL_MIN;
	CHECK_INT(event_decode(&b, b.e.h.size, &ev), -EBADMSG);
	b = good_journal("hello");
	b.e.len = UINT32_MAX;
	CHECK_INT(event_decode(&b, sizeof(b), &ev), -EBADMSG);
	b = good_journal("hello");
	b.e.path_len = 41;
	CHECK_INT(event_decode(&b, sizeof(b), &ev), -EBADMSG);
	b = good_journal("hello");
	for (size_t n = 0; n < b.e.h.size; n++)
		CHECK_INT(event_decode(&b, n, &ev), -EBADMSG);
}

union exec_bytes {
	struct event_exec e;
	char bytes[sizeof(struct event_exec) + 128];
};

/* "/bin/a", "a", "/tmp" and the arguments "a", "b c". */
static union exec_bytes good_exec(void)
{
	static const char data[] = "/bin/aa/tmpa\0b c";
	union exec_bytes b = {
		.e = { .h = { .type = EVENT_EXEC, .boot_ns = 5 },
		       .task = { .start_ns = 8,
				 .cgroup_id = 9,
				 .tgid = 11,
				 .uid = 12,
				 .gid = 13,
				 .ppid = 14,
				 .comm = "a" },
		       .parent_start_ns = 7,
		       .euid = 1,
		       .egid = 2,
		       .args_total = 6,
		       .path_len = 6,
		       .file_len = 1,
		       .cwd_len = 4,
		       .args_len = 6,
		       .parent_comm = "sixteen bytes ok" },
	};

	memcpy(b.bytes + sizeof(b.e), data, sizeof(data));
	b.e.h.size = (uint32_t)(sizeof(b.e) + sizeof(data));
	return b;
}

TEST(every_field_of_an_exec)
{
	union exec_bytes b = good_exec();
	struct event ev;

	CHECK_INT(event_decode(&b, b.e.h.size, &ev), 0);
	CHECK_INT(ev.kind, EVENT_IS_EXEC);
	CHECK_INT(ev.boot_ns, 5);
	CHECK_INT(ev.exec.task.pid, 11);
	CHECK_INT(ev.exec.task.start_ns, 8);
	CHECK_INT(ev.exec.task.cgroup_id, 9);
	CHECK_INT(ev.exec.task.uid, 12);
	CHECK_INT(ev.exec.task.gid, 13);
	CHECK_INT(ev.exec.parent.pid, 14);
	CHECK_INT(ev.exec.parent.start_ns, 7);
	CHECK_STR(ev.exec.parent.comm, "sixteen bytes ok");
	CHECK_INT(ev.exec.euid, 1);
	CHECK_INT(ev.exec.egid, 2);
	CHECK_INT(ev.exec.args_total, 6);
	CHECK_MEM(ev.exec.path.p, ev.exec.path.len, "/bin/a");
	CHECK_MEM(ev.exec.file.p, ev.exec.file.len, "a");
	CHECK_MEM(ev.exec.cwd.p, ev.exec.cwd.len, "/tmp");
	CHECK_INT(ev.exec.args.len, 6);
	CHECK(memcmp(ev.exec.args.p, "a\0b c", 6) == 0);
	CHECK_INT(ev.exec.environment.len, 0);
	for (unsigned bit = 0; bit < 10; bit++) {
		b.e.flags = 1u << bit;
		CHECK_INT(event_decode(&b, b.e.h.size, &ev), 0);
		CHECK_INT(ev.exec.environment_cut, bit == 8);
		CHECK_INT(ev.exec.args_cut, bit == 0);
		CHECK_INT(ev.exec.path_cut, bit == 1);
		CHECK_INT(ev.exec.cwd_cut, bit == 2);
		CHECK_INT(ev.exec.script, bit == 3);
		CHECK_INT(ev.exec.memfd, bit == 4);
		CHECK_INT(ev.exec.deleted, bit == 5);
		CHECK_INT(ev.exec.privileged, bit == 6);
		CHECK_INT(ev.exec.no_args, bit == 7);
	}
}

/* They are before the other bytes, where a version that does not know them does not look. */
TEST(an_exec_with_names_of_variables)
{
	static const char names[] = "HOME\0PATH";
	union exec_bytes b = good_exec();
	size_t data = b.e.h.size - sizeof(b.e);
	struct event ev;

	memmove(b.bytes + sizeof(b.e) + sizeof(names), b.bytes + sizeof(b.e), data);
	memcpy(b.bytes + sizeof(b.e), names, sizeof(names));
	b.e.environment_len = sizeof(names);
	b.e.h.size += (uint32_t)sizeof(names);
	CHECK_INT(event_decode(&b, b.e.h.size, &ev), 0);
	CHECK_INT(ev.exec.environment.len, sizeof(names));
	CHECK(memcmp(ev.exec.environment.p, names, sizeof(names)) == 0);
	CHECK_MEM(ev.exec.path.p, ev.exec.path.len, "/bin/a");
	b.e.environment_len = 200;
	CHECK_INT(event_decode(&b, b.e.h.size, &ev), -EBADMSG);
	b.e.environment_len = EVENT_ENVIRONMENT_MAX + 1;
	CHECK_INT(event_decode(&b, b.e.h.size, &ev), -EBADMSG);
}

TEST(an_exec_whose_lengths_do_not_fit)
{
	static const struct {
		size_t at;
		uint32_t value;
	} cases[] = {
		{ offsetof(struct event_exec, path_len), 1025 },
		{ offsetof(struct event_exec, path_len), UINT32_MAX },
		{ offsetof(struct event_exec, file_len), UINT32_MAX },
		{ offsetof(struct event_exec, cwd_len), UINT32_MAX - 12 },
		{ offsetof(struct event_exec, args_len), 200 },
		{ offsetof(struct event_exec, h.size), EVENT_EXEC_MIN - 1 },
		{ offsetof(struct event_exec, h.size), 100000 },
	};
	struct event ev;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		union exec_bytes b = good_exec();

		memcpy(b.bytes + cases[i].at, &cases[i].value, 4);
		CHECK_INT(event_decode(&b, sizeof(b), &ev), -EBADMSG);
	}
	for (size_t n = 0; n < good_exec().e.h.size; n++) {
		union exec_bytes b = good_exec();

		CHECK_INT(event_decode(&b, n, &ev), -EBADMSG);
	}
}

TEST(an_exec_of_a_newer_version)
{
	union exec_bytes b = good_exec();
	size_t data = b.e.h.size - sizeof(b.e);
	struct event ev;

	memmove(b.bytes + sizeof(b.e) + 16, b.bytes + sizeof(b.e), data);
	memset(b.bytes + sizeof(b.e), 0xff, 16);
	b.e.h.size += 16;
	CHECK_INT(event_decode(&b, b.e.h.size, &ev), 0);
	CHECK_MEM(ev.exec.path.p, ev.exec.path.len, "/bin/a");
	CHECK_INT(ev.exec.task.pid, 11);
}

TEST(every_field_of_an_exit)
{
	struct event_exit e = {
		.h = { .type = EVENT_EXIT, .size = sizeof(e), .boot_ns = 9 },
		.task = { .tgid = 11, .start_ns = 8, .ppid = 3 },
		.parent_start_ns = 2,
		.cpu_ns = 100,
		.max_rss_pages = 200,
		.code = 3 << 8,
		.flags = EXIT_NO_EXEC,
		.parent_comm = "init",
	};
	struct event ev;

	CHECK_INT(event_decode(&e, sizeof(e), &ev), 0);
	CHECK_INT(ev.kind, EVENT_IS_EXIT);
	CHECK_INT(ev.exit.task.pid, 11);
	CHECK_INT(ev.exit.parent.pid, 3);
	CHECK_INT(ev.exit.parent.start_ns, 2);
	CHECK_STR(ev.exit.parent.comm, "init");
	CHECK_INT(ev.exit.cpu_ns, 100);
	CHECK_INT(ev.exit.max_rss_pages, 200);
	CHECK_INT(ev.exit.status, 3);
	CHECK_INT(ev.exit.signal, 0);
	CHECK(ev.exit.no_exec && !ev.exit.core);
	e.code = 11 | 0x80;
	e.flags = 0;
	CHECK_INT(event_decode(&e, sizeof(e), &ev), 0);
	CHECK_INT(ev.exit.signal, 11);
	CHECK(ev.exit.core && !ev.exit.no_exec);
	for (size_t n = 0; n < sizeof(e); n++)
		CHECK_INT(event_decode(&e, n, &ev), -EBADMSG);
}

union action_bytes {
	struct event_action e;
	char bytes[sizeof(struct event_action) + 4 * EVENT_ACTION_TEXT];
};

static union action_bytes good_action(void)
{
	union action_bytes b = {
		.e = { .h = { .type = EVENT_ACTION,
			      .size = sizeof(b.e) + 3 * EVENT_ACTION_TEXT,
			      .boot_ns = 5 },
		       .task = { .tgid = 11, .comm = "mount" },
		       .target = { .tgid = 12, .comm = "target" },
		       .value = { 1, 2, 3, 4, 5 },
		       .action = ACTION_MOUNT,
		       .result = -13,
		       .texts = 3 },
	};

	memcpy(b.bytes + sizeof(b.e), "one", 3);
	memset(b.bytes + sizeof(b.e) + EVENT_ACTION_TEXT, 'x', EVENT_ACTION_TEXT); /* no NUL */
	return b;
}

TEST(every_field_of_an_action)
{
	union action_bytes b = good_action();
	struct event ev;

	CHECK_INT(event_decode(&b, b.e.h.size, &ev), 0);
	CHECK_INT(ev.kind, EVENT_IS_ACTION);
	CHECK_INT(ev.action.kind, ACTED_MOUNT);
	CHECK_INT(ev.action.error, 13);
	CHECK_INT(ev.action.task.pid, 11);
	CHECK_INT(ev.action.target.pid, 12);
	CHECK_STR(ev.action.target.comm, "target");
	for (int i = 0; i < 5; i++)
		CHECK_INT(ev.action.value[i], i + 1);
	CHECK_MEM(ev.action.text[0].p, ev.action.text[0].len, "one");
	CHECK_INT(ev.action.text[1].len, EVENT_ACTION_TEXT);
	CHECK_INT(ev.action.text[2].len, 0);
	/* Of a newer version: bytes between. */
	b.e.h.size += EVENT_ACTION_TEXT;
	memmove(b.bytes + sizeof(b.e) + EVENT_ACTION_TEXT, b.bytes + sizeof(b.e),
		3 * EVENT_ACTION_TEXT);
	CHECK_INT(event_decode(&b, b.e.h.size, &ev), 0);
	CHECK_MEM(ev.action.text[0].p, ev.action.text[0].len, "one");
}

TEST(an_action_that_nobody_does)
{
	static const struct {
		size_t at;
		uint32_t value;
	} cases[] = {
		{ offsetof(struct event_action, action), 0 },
		{ offsetof(struct event_action, action), ACTIONS },
		{ offsetof(struct event_action, result), 1 },
		{ offsetof(struct event_action, result), (uint32_t)-4096 },
		{ offsetof(struct event_action, texts), 4 },
		{ offsetof(struct event_action, texts), UINT32_MAX },
	};
	struct event ev;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		union action_bytes b = good_action();

		memcpy(b.bytes + cases[i].at, &cases[i].value, 4);
		CHECK_INT(event_decode(&b, sizeof(b), &ev), -EBADMSG);
	}
	for (size_t n = 0; n < good_action().e.h.size; n++) {
		union action_bytes b = good_action();

		CHECK_INT(event_decode(&b, n, &ev), -EBADMSG);
	}
}

/* What the next version may add: bytes at the end, a flag. */
TEST(a_flow_of_a_newer_version)
{
	struct {
		struct event_flow e;
		char more[24];
	} b = { .e = good_flow() };
	struct event old, ev;

	memset(b.more, 0xff, sizeof(b.more));
	CHECK_INT(event_decode(&b.e, sizeof(b.e), &old), 0);
	b.e.h.size = sizeof(b);
	b.e.flags |= 1u << 20;
	CHECK_INT(event_decode(&b, sizeof(b), &ev), 0);
	CHECK_INT(ev.boot_ns, old.boot_ns);
	CHECK_INT(ev.flow.id, old.flow.id);
	CHECK_INT(ev.flow.start_ns, old.flow.start_ns);
	CHECK_INT(ev.flow.out_bytes, old.flow.out_bytes);
	CHECK_INT(ev.flow.in_total, old.flow.in_total);
	CHECK_INT(ev.flow.remote_port, old.flow.remote_port);
	CHECK_INT(ev.flow.report, old.flow.report);
}

/* And the other way round: the first version had EVENT_FLOW_MIN bytes. */
TEST(a_flow_of_an_older_version)
{
	struct event_flow e = good_flow();
	struct event ev;

	e.h.size = EVENT_FLOW_MIN;
	CHECK_INT(event_decode(&e, EVENT_FLOW_MIN, &ev), 0);
	CHECK_INT(ev.flow.report, 1);
	e.h.size = EVENT_FLOW_MIN - 1;
	CHECK_INT(event_decode(&e, sizeof(e), &ev), -EBADMSG);
}

TEST(a_journal_sample_of_a_newer_version)
{
	union journal_bytes b = good_journal("");
	struct event ev;

	/* Sixteen bytes more before the text. */
	memset(b.bytes + sizeof(b.e), 0xff, 16);
	memcpy(b.bytes + sizeof(b.e) + 16, "hello", 5);
	b.e.len = b.e.full_len = 5;
	b.e.h.size = (uint32_t)sizeof(b.e) + 16 + 5;
	b.e.flags = 1u << 9;
	CHECK_INT(event_decode(&b, sizeof(b), &ev), 0);
	CHECK_MEM(ev.journal.data.p, ev.journal.data.len, "hello");
	CHECK_INT(ev.journal.reader_pid, 4);
	CHECK(!ev.journal.stream && !ev.journal.truncated);
}

TEST(a_packet)
{
	union {
		struct event_packet e;
		uint8_t bytes[256];
	} b = { .e = { .h = { .type = EVENT_PACKET, .size = sizeof(b.e) + 5, .boot_ns = 9 },
		       .asker = { .tgid = 4, .start_ns = 8, .cgroup_id = 15 },
		       .local = { 192, 0, 2, 1 },
		       .remote = { 192, 0, 2, 2 },
		       .local_port = 40000,
		       .remote_port = 53,
		       .ip_version = 4,
		       .protocol = 17,
		       .outbound = 1,
		       .seq = 77,
		       .full_len = 900,
		       .len = 5 } };
	struct event ev;

	memcpy(b.bytes + sizeof(b.e), "hello", 5);
	CHECK_INT(event_decode(&b, sizeof(b), &ev), 0);
	CHECK_INT(ev.kind, EVENT_IS_PACKET);
	CHECK_INT(ev.packet.boot_ns, 9);
	CHECK_INT(ev.packet.asker.pid, 4);
	CHECK_INT(ev.packet.asker.start_ns, 8);
	CHECK_INT(ev.packet.asker.cgroup_id, 15);
	CHECK_INT(ev.packet.local[3], 1);
	CHECK_INT(ev.packet.remote[3], 2);
	CHECK_INT(ev.packet.local_port, 40000);
	CHECK_INT(ev.packet.remote_port, 53);
	CHECK_INT(ev.packet.ip_version, 4);
	CHECK_INT(ev.packet.protocol, 17);
	CHECK(ev.packet.outbound);
	CHECK_INT(ev.packet.seq, 77);
	CHECK_INT(ev.packet.full_len, 900);
	CHECK_MEM(ev.packet.data.p, ev.packet.data.len, "hello");

	/* Sixteen bytes more before the payload: a newer version's. */
	memset(b.bytes + sizeof(b.e), 0xff, 16);
	memcpy(b.bytes + sizeof(b.e) + 16, "hello", 5);
	b.e.h.size += 16;
	CHECK_INT(event_decode(&b, sizeof(b), &ev), 0);
	CHECK_MEM(ev.packet.data.p, ev.packet.data.len, "hello");
	b.e.h.size -= 16;

	for (size_t n = 0; n < b.e.h.size; n++)
		CHECK_INT(event_decode(&b, n, &ev), -EBADMSG);
	b.e.len = UINT32_MAX;
	CHECK_INT(event_decode(&b, sizeof(b), &ev), -EBADMSG);
	b.e.len = (uint32_t)(sizeof(b.e) - EVENT_PACKET_MIN) + 6;
	CHECK_INT(event_decode(&b, sizeof(b), &ev), -EBADMSG);
	b.e.len = 5;
	b.e.ip_version = 5;
	CHECK_INT(event_decode(&b, sizeof(b), &ev), -EBADMSG);
}

TEST(a_flood)
{
	struct event_flood e = {
		.h = { .type = EVENT_FLOOD, .size = sizeof(e), .boot_ns = 90 },
		.start_ns = 10,
		.last_ns = 80,
		.packets = 5,
		.bytes = 600,
		.flows = 4,
		.source = { .address = { 0x01020304 },
			    .prefix_len = 24,
			    .ip_version = 4,
			    .protocol = 17,
			    .direction = FLOW_OUT },
	};
	struct event ev;

	CHECK_INT(event_decode(&e, sizeof(e), &ev), 0);
	CHECK_INT(ev.kind, EVENT_IS_FLOOD);
	CHECK_INT(ev.flood.start_ns, 10);
	CHECK_INT(ev.flood.last_ns, 80);
	CHECK_INT(ev.flood.packets, 5);
	CHECK_INT(ev.flood.bytes, 600);
	CHECK_INT(ev.flood.flows, 4);
	CHECK(!memcmp(ev.flood.network, e.source.address, 16));
	CHECK_INT(ev.flood.prefix_len, 24);
	CHECK_INT(ev.flood.ip_version, 4);
	CHECK_INT(ev.flood.protocol, 17);
	CHECK(ev.flood.outbound);
	for (size_t n = 0; n < sizeof(e); n++)
		CHECK_INT(event_decode(&e, n, &ev), -EBADMSG);
	/* One that was told while it began. */
	e.start_ns = 0;
	CHECK_INT(event_decode(&e, sizeof(e), &ev), 0);
	CHECK_INT(ev.flood.start_ns, 80);
	e.source.prefix_len = 33;
	CHECK_INT(event_decode(&e, sizeof(e), &ev), -EBADMSG);
	e.source.prefix_len = 0;
	e.source.ip_version = 5;
	CHECK_INT(event_decode(&e, sizeof(e), &ev), -EBADMSG);
	e.source.ip_version = 6;
	e.source.direction = 2;
	CHECK_INT(event_decode(&e, sizeof(e), &ev), -EBADMSG);
}
