/* SPDX-License-Identifier: Apache-2.0 */
#include "user/event.h"

#include <errno.h>

#include "bpf/events.h"

static void decode_task(const struct event_task *t, struct task_ref *ret)
{
	*ret = (struct task_ref){
		.pid = t->tgid,
		.uid = t->uid,
		.gid = t->gid,
		.ppid = t->ppid,
		.start_ns = t->start_ns,
		.cgroup_id = t->cgroup_id,
	};
	memcpy(ret->comm, t->comm, sizeof(t->comm));
	ret->comm[sizeof(t->comm)] = '\0';
}

/*
 * What both know of a struct of theirs bytes: the rest of an older one is zero, a
 * newer one has more than we look at. A copy, because nobody promises alignment.
 */
static void copy_known(void *ours, size_t size, const void *sample, size_t theirs)
{
	memset(ours, 0, size);
	memcpy(ours, sample, theirs < size ? theirs : size);
}

static int decode_flow(const void *sample, size_t size, struct flow *ret)
{
	struct event_flow e;

	copy_known(&e, sizeof(e), sample, size);
	if (e.ip_version != 4 && e.ip_version != 6)
		return -EBADMSG;
	if (e.direction != FLOW_IN && e.direction != FLOW_OUT)
		return -EBADMSG;
	if (e.end_reason < FLOW_END_IDLE || e.end_reason > FLOW_END_RESOURCES)
		return -EBADMSG;

	*ret = (struct flow){
		.id = e.id,
		.start_ns = e.start_ns,
		.from_ns = e.from_ns,
		.last_ns = e.last_ns,
		.out_bytes = e.out_bytes,
		.in_bytes = e.in_bytes,
		.out_packets = e.out_packets,
		.in_packets = e.in_packets,
		.out_total = e.out_total,
		.in_total = e.in_total,
		.local_port = e.local_port,
		.remote_port = e.remote_port,
		.icmp_type = (uint8_t)(e.icmp_type_code >> 8),
		.icmp_code = (uint8_t)e.icmp_type_code,
		.ip_version = e.ip_version,
		.protocol = e.protocol,
		.outbound = e.direction == FLOW_OUT,
		.direction_known = !(e.flags & FLOW_NO_DIRECTION),
		.end_reason = e.end_reason,
		.tcp_flags = e.tcp_flags,
		.user_is_guess = e.flags & FLOW_USER_IS_GUESS,
		.out_uncertain = e.flags & FLOW_OUT_UNCERTAIN,
		.first = e.flags & FLOW_FIRST,
		.last = e.flags & FLOW_LAST,
		.reset = e.flags & FLOW_RESET,
		.loopback = e.flags & FLOW_LOOPBACK,
		.established = e.flags & FLOW_ESTABLISHED,
		.start_unknown = e.flags & FLOW_NO_START,
		.error = e.error,
		.ifindex = e.ifindex,
		.netns = e.netns,
		.retransmits = e.retransmits,
		.srtt_us = e.srtt_us,
		.report = e.report,
	};
	memcpy(ret->local, e.local, sizeof(ret->local));
	memcpy(ret->remote, e.remote, sizeof(ret->remote));
	decode_task(&e.opener, &ret->opener);
	decode_task(&e.user, &ret->user);
	return 0;
}

static int decode_journal(const void *sample, size_t size, struct journal_sample *ret)
{
	struct event_journal e;
	const char *base = sample;
	__u32 len;

	/* The data are the last len bytes; the struct before them may be longer than ours. */
	memcpy(&len, base + offsetof(struct event_journal, len), sizeof(len));
	if (len > size - EVENT_JOURNAL_MIN)
		return -EBADMSG;
	copy_known(&e, sizeof(e), sample, size - len);
	if (e.path_len > sizeof(e.path))
		return -EBADMSG;

	*ret = (struct journal_sample){
		.boot_ns = e.h.boot_ns,
		.socket = e.socket,
		.socket_ino = e.socket_ino,
		.sender_cgroup = e.sender_cgroup,
		.pid = e.sender_pid,
		.uid = e.sender_uid,
		.gid = e.sender_gid,
		.reader_pid = e.reader_tgid,
		.stream = e.flags & JOURNAL_STREAM,
		.truncated = (e.flags & JOURNAL_TRUNCATED) || e.full_len > e.len,
		.has_fds = e.flags & JOURNAL_FDS,
		.netlink = e.flags & JOURNAL_NETLINK,
		.full_len = e.full_len > e.len ? e.full_len : e.len,
		.path = { base + offsetof(struct event_journal, path), e.path_len },
		.path_is_cut = e.path_len >= sizeof(e.path) - 1,
		.data = { base + size - len, len },
	};
	/* The program copies a whole sun_path; what counts ends at its first NUL. */
	ret->path.len = strnlen(ret->path.p, ret->path.len);
	return 0;
}

int event_decode(const void *sample, size_t size, struct event *ret)
{
	struct event_header h;
	int r;

	if (size < sizeof(h))
		return -EBADMSG;
	memcpy(&h, sample, sizeof(h));
	if (h.size > size)
		return -EBADMSG;

	switch (h.type) {
	case EVENT_FLOW:
		if (h.size < EVENT_FLOW_MIN)
			return -EBADMSG;
		ret->kind = EVENT_IS_FLOW;
		r = decode_flow(sample, h.size, &ret->flow);
		break;
	case EVENT_JOURNAL:
		if (h.size < EVENT_JOURNAL_MIN)
			return -EBADMSG;
		ret->kind = EVENT_IS_JOURNAL;
		r = decode_journal(sample, h.size, &ret->journal);
		break;
	default:
		return -EBADMSG;
	}
	ret->boot_ns = h.boot_ns;
	return r;
}
