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
}

TEST(every_flag_of_a_flow)
{
	for (unsigned bit = 0; bit < 9; bit++) {
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
	b.e.len++;
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
