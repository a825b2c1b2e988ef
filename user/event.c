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
		.in_uncertain = e.flags & FLOW_IN_UNCERTAIN,
		.reset_by_peer = e.flags & FLOW_RESET_BY_PEER,
		.unacknowledged = e.unacknowledged,
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
		.lost_open = e.lost && e.flags & JOURNAL_LOST_OPEN,
		.lost = e.lost,
		.full_len = e.full_len > e.len ? e.full_len : e.len,
		.path = { base + offsetof(struct event_journal, path), e.path_len },
		.path_is_cut = e.path_len >= sizeof(e.path) - 1,
		.data = { base + size - len, len },
	};
	/* The program copies a whole sun_path; what counts ends at its first NUL. */
	ret->path.len = strnlen(ret->path.p, ret->path.len);
	return 0;
}

static void decode_parent(const struct event_task *child, uint64_t start_ns,
			  const char comm[EVENT_COMM_SIZE], struct task_ref *ret)
{
	*ret = (struct task_ref){ .pid = child->ppid, .start_ns = start_ns };
	memcpy(ret->comm, comm, EVENT_COMM_SIZE);
	ret->comm[EVENT_COMM_SIZE] = '\0';
}

/* The next len bytes of what is left, at *at. */
static bool take_bytes(const char **at, size_t *left, uint32_t len, uint32_t max, struct slice *ret)
{
	if (len > max || len > *left)
		return false;
	*ret = (struct slice){ *at, len };
	*at += len;
	*left -= len;
	return true;
}

static int decode_exec(const void *sample, size_t size, struct exec_event *ret)
{
	const char *base = sample, *at;
	struct event_exec e;
	size_t left;

	copy_known(&e, EVENT_EXEC_MIN, sample, EVENT_EXEC_MIN);
	/* The bytes are the last ones; the struct before them may be longer than ours. */
	left = (size_t)e.path_len + e.file_len + e.cwd_len + e.args_len;
	if (left > size - EVENT_EXEC_MIN)
		return -EBADMSG;
	copy_known(&e, sizeof(e), sample, size - left);
	at = base + size - left;
	if (e.environment_len > EVENT_ENVIRONMENT_MAX ||
	    e.environment_len > size - left - EVENT_EXEC_MIN)
		return -EBADMSG;

	*ret = (struct exec_event){
		.euid = e.euid,
		.egid = e.egid,
		.args_cut = e.flags & EXEC_ARGS_CUT,
		.path_cut = e.flags & EXEC_PATH_CUT,
		.cwd_cut = e.flags & EXEC_CWD_CUT,
		.no_args = e.flags & EXEC_NO_ARGS,
		.environment_cut = e.flags & EXEC_ENVIRONMENT_CUT,
		.environment = { at - e.environment_len, e.environment_len },
		.script = e.flags & EXEC_SCRIPT,
		.memfd = e.flags & EXEC_MEMFD,
		.deleted = e.flags & EXEC_DELETED,
		.privileged = e.flags & EXEC_PRIVILEGED,
		.args_total = e.args_total,
	};
	if (!take_bytes(&at, &left, e.path_len, EVENT_PATH_MAX, &ret->path) ||
	    !take_bytes(&at, &left, e.file_len, EVENT_PATH_MAX, &ret->file) ||
	    !take_bytes(&at, &left, e.cwd_len, EVENT_PATH_MAX, &ret->cwd) ||
	    !take_bytes(&at, &left, e.args_len, EVENT_ARGS_MAX, &ret->args))
		return -EBADMSG;
	decode_task(&e.task, &ret->task);
	decode_parent(&e.task, e.parent_start_ns, e.parent_comm, &ret->parent);
	return 0;
}

static int decode_exit(const void *sample, size_t size, struct exit_event *ret)
{
	struct event_exit e;

	copy_known(&e, sizeof(e), sample, size);
	*ret = (struct exit_event){
		.cpu_ns = e.cpu_ns,
		.max_rss_pages = e.max_rss_pages,
		.status = (uint8_t)(e.code >> 8),
		.signal = e.code & 0x7f,
		.core = e.code & 0x80,
		.no_exec = e.flags & EXIT_NO_EXEC,
	};
	decode_task(&e.task, &ret->task);
	decode_parent(&e.task, e.parent_start_ns, e.parent_comm, &ret->parent);
	return 0;
}

_Static_assert((int)ACTED_KINDS == (int)ACTIONS && (int)ACTED_LISTEN == (int)ACTION_LISTEN &&
		       (int)ACTED_SIGNAL == (int)ACTION_SIGNAL,
	       "one list, twice");

static int decode_action(const void *sample, size_t size, struct action_event *ret)
{
	const char *base = sample, *text;
	struct event_action e;
	__u32 texts;

	/* The texts are the last bytes; the struct before them may be longer than ours. */
	memcpy(&texts, base + offsetof(struct event_action, texts), sizeof(texts));
	if (texts > EVENT_ACTION_TEXTS ||
	    (size_t)texts * EVENT_ACTION_TEXT > size - EVENT_ACTION_MIN)
		return -EBADMSG;
	text = base + size - (size_t)texts * EVENT_ACTION_TEXT;
	copy_known(&e, sizeof(e), sample, (size_t)(text - base));
	if (e.action == ACTION_NONE || e.action >= ACTIONS || e.result > 0 || e.result < -4095)
		return -EBADMSG;
	*ret = (struct action_event){ .kind = (enum action_kind)e.action,
				      .error = -e.result,
				      .parent_start_ns = e.parent_start_ns };
	decode_task(&e.task, &ret->task);
	decode_task(&e.target, &ret->target);
	memcpy(ret->value, e.value, sizeof(ret->value));
	for (__u32 i = 0; i < texts; i++, text += EVENT_ACTION_TEXT)
		ret->text[i] = (struct slice){ text, strnlen(text, EVENT_ACTION_TEXT) };
	return 0;
}

static int decode_packet(const void *sample, size_t size, struct packet_sample *ret)
{
	struct event_packet e;
	const char *base = sample;
	__u32 len;

	memcpy(&len, base + offsetof(struct event_packet, len), sizeof(len));
	if (len > size - EVENT_PACKET_MIN)
		return -EBADMSG;
	copy_known(&e, sizeof(e), sample, size - len);
	if (e.ip_version != 4 && e.ip_version != 6)
		return -EBADMSG;
	*ret = (struct packet_sample){
		.boot_ns = e.h.boot_ns,
		.local_port = e.local_port,
		.remote_port = e.remote_port,
		.ip_version = e.ip_version,
		.protocol = e.protocol,
		.outbound = e.outbound,
		.seq = e.seq,
		.full_len = e.full_len > len ? e.full_len : len,
		.data = { base + size - len, len },
	};
	memcpy(ret->local, e.local, sizeof(ret->local));
	memcpy(ret->remote, e.remote, sizeof(ret->remote));
	decode_task(&e.asker, &ret->asker);
	return 0;
}

static int decode_flood(const void *sample, size_t size, struct flood_sample *ret)
{
	struct event_flood e;

	copy_known(&e, sizeof(e), sample, size);
	if (e.source.ip_version != 4 && e.source.ip_version != 6)
		return -EBADMSG;
	if (e.source.direction != FLOW_IN && e.source.direction != FLOW_OUT)
		return -EBADMSG;
	if (e.source.prefix_len > (e.source.ip_version == 4 ? 32 : 128))
		return -EBADMSG;
	*ret = (struct flood_sample){
		.start_ns = e.start_ns && e.start_ns < e.last_ns ? e.start_ns : e.last_ns,
		.last_ns = e.last_ns,
		.packets = e.packets,
		.bytes = e.bytes,
		.flows = e.flows,
		.prefix_len = e.source.prefix_len,
		.ip_version = e.source.ip_version,
		.protocol = e.source.protocol,
		.outbound = e.source.direction == FLOW_OUT,
	};
	memcpy(ret->network, e.source.address, sizeof(ret->network));
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
	case EVENT_EXEC:
		if (h.size < EVENT_EXEC_MIN)
			return -EBADMSG;
		ret->kind = EVENT_IS_EXEC;
		r = decode_exec(sample, h.size, &ret->exec);
		break;
	case EVENT_EXIT:
		if (h.size < EVENT_EXIT_MIN)
			return -EBADMSG;
		ret->kind = EVENT_IS_EXIT;
		r = decode_exit(sample, h.size, &ret->exit);
		break;
	case EVENT_ACTION:
		if (h.size < EVENT_ACTION_MIN)
			return -EBADMSG;
		ret->kind = EVENT_IS_ACTION;
		r = decode_action(sample, h.size, &ret->action);
		break;
	case EVENT_PACKET:
		if (h.size < EVENT_PACKET_MIN)
			return -EBADMSG;
		ret->kind = EVENT_IS_PACKET;
		r = decode_packet(sample, h.size, &ret->packet);
		break;
	case EVENT_FLOOD:
		if (h.size < EVENT_FLOOD_MIN)
			return -EBADMSG;
		ret->kind = EVENT_IS_FLOOD;
		r = decode_flood(sample, h.size, &ret->flood);
		break;
	default:
		return -EBADMSG;
	}
	ret->boot_ns = h.boot_ns;
	return r;
}
