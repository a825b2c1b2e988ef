/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * TCP. Nothing runs per packet: a flow is opened and closed by the socket's
 * state changes, and its numbers are the socket's own counters.
 *
 * One table, keyed by the socket's address, on every kernel. Socket storage
 * would do the same from 5.11 on, is no faster, and has no ceiling.
 *
 * Two may want to report the same flow at once: the sweep (deltas) in process
 * context and the close, which may interrupt it or run on another CPU. Nobody
 * waits: the close leaves its numbers in the flow and goes away if the sweep is
 * busy with it; the sweep looks again when it is done. Whoever deletes the
 * entry reports the end, so that it is reported once. An entry that is deleted may
 * be another flow's at once: the sweep's mark is part of the flow's id.
 *
 * docs/FLOWS.md says what is exact at which ending.
 */
#pragma once

/* The socket's counters at one moment. */
struct tcp_numbers {
	u64 out_bytes, in_bytes;
	u32 out_packets, in_packets;
	u32 retransmits, srtt_us;
	u64 at_ns;
};

/* Kept small: it is copied into the table once per connection. */
struct tcp_flow {
	u64 id;
	u64 start_ns;
	/* Who connected; of an accepted one, who was seen to use it. tgid 0: nobody yet. */
	struct event_task task;
	struct tcp_numbers reported; /* what earlier reports counted; at_ns: when */
	struct tcp_numbers final;    /* left by the close; valid when closing is set */
	u32 sweeping;		     /* tcp_sweep_mark(): a sweep is busy with that flow */
	u32 closing;
	u32 barriers; /* only its being written counts */
	u32 report;
	u32 flags; /* enum flow_flag */
	u32 error;
	u8 direction;
	u8 tcp_flags;
	u8 tcp_state;
	u8 ended; /* reported, but the table would not let go of it, or an adopted one was not in it
		   */
	u8 used;  /* the user was seen to read */
	u8 crossed; /* SYNs crossed: it goes through SYN_RECV, but it is no accepted one */
	u8 pad[2];
	struct event_task user; /* of one that we connected, if it is not task; tgid 0: it is */
	u64 unacknowledged;	/* of final.out_bytes */
	EVENTS_EXTRA
};

/* What the socket itself knows as long as it is there. */
struct tcp_names {
	u32 local[4], remote[4];
	u16 local_port, remote_port;
	u32 netns;
	u32 ifindex;
	u8 ip_version;
};

/* Which of tcp_scratch. A socket's owner is in process context, all others are in softirq. */
enum { SCRATCH_PROCESS, SCRATCH_SOFTIRQ, SCRATCH_WALK, SCRATCHES };

static __always_inline u32 tcp_context(struct sock *sk)
{
	return sk->sk_lock.owned ? SCRATCH_PROCESS : SCRATCH_SOFTIRQ;
}

/*
 * Sizes, not types: a map with BTF can not take the place of tcp_before's template,
 * which has none, on 6.1 (bpf_map_meta_equal() compares timer_off there).
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536); /* flows.max */
	__uint(key_size, sizeof(u64));
	__uint(value_size, sizeof(struct tcp_flow));
} tcp_flows SEC(".maps");

/*
 * Those of the capture before ours, until they are all in ours. Theirs is what is
 * in their table: whoever deletes it there has it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, u32);
	__array(
		values, struct {
			__uint(type, BPF_MAP_TYPE_HASH);
			__uint(max_entries, 1);
			__uint(key_size, sizeof(u64));
			__uint(value_size, sizeof(struct tcp_flow)); /* theirs */
		});
} tcp_before SEC(".maps");

/*
 * Who called listen() on a port: the first guess at who owns what is accepted there.
 * tgid 0: several did, each for itself (SO_REUSEPORT).
 */
struct listen_key {
	u32 netns;
	u16 port;
	u16 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct listen_key);
	__type(value, struct event_task);
} tcp_listeners SEC(".maps");

/* A new flow is put together here: it is too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SCRATCHES);
	__type(key, u32);
	__type(value, struct tcp_flow);
} tcp_scratch SEC(".maps");

/* Never 0. */
static __always_inline u32 tcp_sweep_mark(u64 id)
{
	return (u32)id | 1;
}

static __always_inline void tcp_names_finish(struct tcp_names *n, bool six)
{
	n->ip_version = six ? 6 : 4;
	if (six && is_v4_mapped(n->remote)) {
		n->ip_version = 4;
		n->local[0] = n->local[3];
		n->remote[0] = n->remote[3];
		n->local[1] = n->local[2] = n->local[3] = 0;
		n->remote[1] = n->remote[2] = n->remote[3] = 0;
	}
}

static __always_inline void tcp_read_names(struct tcp_names *n, struct sock *sk)
{
	bool six = sk->__sk_common.skc_family == AF_INET6;
	struct dst_entry *dst = sk->sk_dst_cache;

	__builtin_memset(n, 0, sizeof(*n));
	if (six) {
		for (int i = 0; i < 4; i++) {
			n->local[i] = sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[i];
			n->remote[i] = sk->__sk_common.skc_v6_daddr.in6_u.u6_addr32[i];
		}
	} else {
		n->local[0] = sk->__sk_common.skc_rcv_saddr;
		n->remote[0] = sk->__sk_common.skc_daddr;
	}
	tcp_names_finish(n, six);
	/* A port that the kernel chose is given back before the state becomes TCP_CLOSE. */
	n->local_port = sk->__sk_common.skc_num;
	if (!n->local_port)
		n->local_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	n->remote_port = bpf_ntohs(sk->__sk_common.skc_dport);
	n->netns = sk->__sk_common.skc_net.net->ns.inum;
	if (dst)
		n->ifindex = BPF_CORE_READ(dst, dev, ifindex);
}

/* The same from a bare address: the sweep has no typed pointer. */
static __always_inline void tcp_probe_names(struct tcp_names *n, u64 address)
{
	struct sock *sk = (struct sock *)address;
	bool six = BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6;

	__builtin_memset(n, 0, sizeof(*n));
	if (six) {
		BPF_CORE_READ_INTO(&n->local, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32);
		BPF_CORE_READ_INTO(&n->remote, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr32);
	} else {
		n->local[0] = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		n->remote[0] = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	}
	tcp_names_finish(n, six);
	n->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	if (!n->local_port)
		n->local_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	n->remote_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	n->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	n->ifindex = BPF_CORE_READ(sk, sk_dst_cache, dev, ifindex);
}

/*
 * Exact at the transition to TCP_CLOSE: bytes_received counts the peer's FIN
 * (SOCK_DONE), bytes_sent counts every transmission of payload.
 */
static __always_inline void tcp_read_numbers(struct tcp_numbers *n, struct sock *sk,
					     struct tcp_sock *tp, u64 now, u8 direction)
{
	n->in_bytes = tp->bytes_received - ((sk->__sk_common.skc_flags >> SOCK_FLAG_DONE) & 1);
	n->out_bytes = tp->bytes_sent - tp->bytes_retrans;
	/* The SYN-ACK was sent before the socket was made. */
	n->out_packets = tp->segs_out + (direction == FLOW_IN);
	n->in_packets = tp->segs_in;
	n->retransmits = tp->total_retrans;
	n->srtt_us = tp->srtt_us >> 3;
	n->at_ns = now;
}

/*
 * The same from a bare address, while the socket goes on: never more than is true.
 * A retransmission is counted as one before it is counted as sent; a FIN is counted
 * before SOCK_DONE says that it was one, and nothing comes after it.
 */
static __always_inline void tcp_probe_numbers(struct tcp_numbers *n, u64 address, u64 now,
					      u8 direction)
{
	struct tcp_sock *tp = (struct tcp_sock *)address;
	struct sock *sk = (struct sock *)address;
	u64 sent, retransmitted;

	n->in_bytes = BPF_CORE_READ(tp, bytes_received);
	sent = BPF_CORE_READ(tp, bytes_sent);
	barrier();
	retransmitted = BPF_CORE_READ(tp, bytes_retrans);
	n->out_bytes = sent - retransmitted;
	n->out_packets = BPF_CORE_READ(tp, segs_out) + (direction == FLOW_IN);
	n->in_packets = BPF_CORE_READ(tp, segs_in);
	n->retransmits = BPF_CORE_READ(tp, total_retrans);
	n->srtt_us = BPF_CORE_READ(tp, srtt_us) >> 3;
	n->at_ns = now;
	barrier();
	if (BPF_CORE_READ(sk, __sk_common.skc_flags) >> SOCK_FLAG_DONE & 1)
		n->in_bytes = BPF_CORE_READ(tp, bytes_received) - 1;
}

/* Counters only grow; what was read while they did may be behind what was read before. */
static __always_inline u64 since(u64 now, u64 before)
{
	return now > before ? now - before : 0;
}

static __always_inline u32 since32(u32 now, u32 before)
{
	return (s32)(now - before) > 0 ? now - before : 0;
}

static __always_inline void tcp_numbers_not_before(struct tcp_numbers *n,
						   const struct tcp_numbers *before)
{
	if (n->out_bytes < before->out_bytes)
		n->out_bytes = before->out_bytes;
	if (n->in_bytes < before->in_bytes)
		n->in_bytes = before->in_bytes;
	n->out_packets = before->out_packets + since32(n->out_packets, before->out_packets);
	n->in_packets = before->in_packets + since32(n->in_packets, before->in_packets);
	n->retransmits = before->retransmits + since32(n->retransmits, before->retransmits);
}

/*
 * Who connected, from the socket's own counters: one that did has had its SYN
 * acknowledged, so that it has a byte more of sequence numbers than of payload. That
 * of a FIN is known from the state.
 */
static __always_inline u8 tcp_direction(u64 acked, u32 in_flight, u64 payload, int state,
					bool all_sent, u32 *flags)
{
	bool fin = all_sent && (state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 ||
				state == TCP_CLOSING || state == TCP_LAST_ACK);
	u64 syn = acked + in_flight - payload - fin;

	if (syn > 1 && state != TCP_SYN_SENT)
		*flags |= FLOW_NO_DIRECTION;
	return syn || state == TCP_SYN_SENT ? FLOW_OUT : FLOW_IN;
}

static __always_inline bool task_is_kworker(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	return BPF_CORE_READ(task, flags) & PF_WQ_WORKER;
}

/* The one that runs now uses this socket. Nothing beyond a look, most of the time. */
static __always_inline void tcp_note_user(struct tcp_flow *f)
{
	u32 tgid = bpf_get_current_pid_tgid() >> 32;

	if (f->task.tgid == tgid)
		f->user.tgid = 0;
	else if (f->direction == FLOW_IN || f->flags & FLOW_NO_START)
		task_current(&f->task);
	else
		task_current(&f->user);
}

/* It closes the socket, or its half of it: for one that nobody has read from. */
static __always_inline void tcp_note_closer(struct tcp_flow *f)
{
	if (f->used || (f->flags & FLOW_NO_START && f->task.tgid) || task_is_kworker())
		return;
	tcp_note_user(f);
}

static __always_inline void tcp_event_fill(struct event_flow *e, const struct tcp_flow *f,
					   const struct tcp_names *names,
					   const struct tcp_numbers *now, u8 end_reason)
{
	struct event_task *listener = NULL;

	e->h.type = EVENT_FLOW;
	e->h.pad = 0;
	e->h.size = sizeof(*e);
	e->h.boot_ns = now->at_ns;
	e->id = f->id;
	e->start_ns = f->start_ns;
	e->from_ns = f->report ? f->reported.at_ns : f->start_ns;
	e->last_ns = now->at_ns;
	e->out_bytes = since(now->out_bytes, f->reported.out_bytes);
	e->in_bytes = since(now->in_bytes, f->reported.in_bytes);
	e->out_packets = since32(now->out_packets, f->reported.out_packets);
	e->in_packets = since32(now->in_packets, f->reported.in_packets);
	e->out_total = now->out_bytes;
	e->in_total = now->in_bytes;
	e->flags = f->flags | (f->report ? 0 : FLOW_FIRST) |
		   (end_reason == FLOW_END_ACTIVE ? 0 : FLOW_LAST);
	if (now->in_bytes < f->reported.in_bytes)
		e->flags |= FLOW_IN_UNCERTAIN;
	if (f->flags & FLOW_NO_START && !f->used)
		e->flags |= FLOW_USER_IS_GUESS;
	e->user = f->task;
	if (f->direction == FLOW_IN) {
		struct listen_key lk = { .netns = names->netns, .port = names->local_port };

		listener = bpf_map_lookup_elem(&tcp_listeners, &lk);
		if (listener)
			e->opener = *listener;
		else
			__builtin_memset(&e->opener, 0, sizeof(e->opener));
		if (!f->task.tgid)
			e->flags |= FLOW_USER_IS_GUESS;
	} else if (f->flags & FLOW_NO_START) {
		__builtin_memset(&e->opener, 0, sizeof(e->opener));
	} else {
		e->opener = f->task;
		if (f->user.tgid)
			e->user = f->user;
	}
	__builtin_memcpy(e->local, names->local, sizeof(e->local));
	__builtin_memcpy(e->remote, names->remote, sizeof(e->remote));
	e->local_port = names->local_port;
	e->remote_port = names->remote_port;
	e->icmp_type_code = 0;
	e->ip_version = names->ip_version;
	e->protocol = IPPROTO_TCP;
	e->direction = f->direction;
	e->end_reason = end_reason;
	e->tcp_flags = f->tcp_flags | (e->out_total || e->in_total ? 0x08 : 0);
	e->tcp_state = f->tcp_state;
	e->error = f->error;
	e->ifindex = names->ifindex;
	e->netns = names->netns;
	e->retransmits = since32(now->retransmits, f->reported.retransmits);
	e->srtt_us = now->srtt_us;
	e->report = f->report;
	e->unacknowledged = end_reason == FLOW_END_DETECTED ? f->unacknowledged : 0;
}

/*
 * Moves a flow from the table of the capture before ours. Its events come one
 * after the other, so there is at most one other who does it: the walk. No pointer
 * of ours stays valid over it. A function of its own has a stack of its own.
 */
static __noinline int tcp_take_over(u64 key)
{
	struct tcp_flow theirs = {}, *there, *ours;
	u32 zero = 0, size = tcp_before_size;
	void *table = bpf_map_lookup_elem(&tcp_before, &zero);

	if (!table)
		return 0;
	there = bpf_map_lookup_elem(table, &key);
	if (!there)
		return 0;
	if (size > sizeof(theirs))
		size = sizeof(theirs);
	if (bpf_probe_read_kernel(&theirs, size, there))
		return 0;
	if (theirs.ended) {
		bpf_map_delete_elem(table, &key);
		return 0;
	}
	/* There already: the other one is at it. No room: it stays where it is. */
	if (bpf_map_update_elem(&tcp_flows, &key, &theirs, BPF_NOEXIST))
		return 0;
	if (!bpf_map_delete_elem(table, &key))
		return 0;
	/* It was taken over, and has ended, since we looked. */
	ours = bpf_map_lookup_elem(&tcp_flows, &key);
	if (ours && ours->id == theirs.id)
		bpf_map_delete_elem(&tcp_flows, &key);
	return 0;
}

static __always_inline struct tcp_flow *tcp_find(u64 key)
{
	struct tcp_flow *f = bpf_map_lookup_elem(&tcp_flows, &key);

	if (f || !tunables.capture.before)
		return f;
	tcp_take_over(key);
	return bpf_map_lookup_elem(&tcp_flows, &key);
}

/* The older capture has reported how this flow ended. It may have been ours by mistake. */
static __always_inline void tcp_forget(u64 key)
{
	if (!bpf_map_delete_elem(&tcp_flows, &key))
		count_back(COUNT_SEEN);
}

/*
 * Takes f out of the table: false when somebody else just did, and so reports
 * it. Another error means that the lock of the bucket could not be had: then
 * the next sweep takes it away. An int, not a long: older kernels call the
 * map's own function, which returns one.
 */
static __always_inline bool tcp_take(u64 key, struct tcp_flow *f)
{
	int err = bpf_map_delete_elem(&tcp_flows, &key);

	if (err == -ENOENT)
		return false;
	if (err)
		f->ended = 1;
	if (tunables.capture.before) {
		/* While it is being taken over it is in both tables. */
		u32 zero = 0;
		void *table = bpf_map_lookup_elem(&tcp_before, &zero);

		if (table)
			bpf_map_delete_elem(table, &key);
	}
	return true;
}

/* Reports the end of f by its final numbers, unless somebody else just did. */
static __always_inline void tcp_report_end(u64 key, struct tcp_flow *f,
					   const struct tcp_names *names, u8 end_reason)
{
	struct event_flow *e;

	e = bpf_ringbuf_reserve(&flow_ring, sizeof(*e), 0);
	if (!e) {
		/* It goes on: the next sweep tells it. */
		if (end_reason == FLOW_END_FORCED)
			count(COUNT_REPORTS_RING_FULL);
		else if (tcp_take(key, f))
			lost(COUNT_RING_FULL);
		return;
	}
	/* Filled before it is taken: after that the entry may be another flow's. */
	tcp_event_fill(e, f, names, &f->final, end_reason);
	if (!tcp_take(key, f)) {
		bpf_ringbuf_discard(e, BPF_RB_NO_WAKEUP);
		return;
	}
	if (!filter_allows_owner(e)) {
		count(COUNT_FILTERED);
		bpf_ringbuf_discard(e, BPF_RB_NO_WAKEUP);
		return;
	}
	count(COUNT_SUBMITTED);
	bpf_ringbuf_submit(e, wake_flags(&flow_ring, sizeof(*e)));
}

/* Both ends on this host? Asked before anything is paid for. */
static __always_inline bool tcp_is_loopback(struct sock *sk)
{
	struct sock_common *c = &sk->__sk_common;

	if (c->skc_family == AF_INET6) {
		u32 local[4], remote[4];

		for (int i = 0; i < 4; i++) {
			local[i] = c->skc_v6_rcv_saddr.in6_u.u6_addr32[i];
			remote[i] = c->skc_v6_daddr.in6_u.u6_addr32[i];
		}
		if (is_v4_mapped(remote))
			return is_local_pair(4, local + 3, remote + 3);
		return is_local_pair(6, local, remote);
	}
	return (c->skc_daddr & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) ||
	       c->skc_daddr == c->skc_rcv_saddr;
}

/* Whatever its owner. Sets FLOW_LOOPBACK in *flags when it is that. */
static __always_inline bool tcp_is_wanted(struct sock *sk, u8 direction, u32 *flags)
{
	struct tcp_names n;

	if (tcp_is_loopback(sk)) {
		*flags |= FLOW_LOOPBACK;
		if (!tunables.loopback)
			return false;
	}
	if (!tunables.filter)
		return true;
	tcp_read_names(&n, sk);
	return filter_allows(n.ip_version, IPPROTO_TCP, direction, n.local, n.remote, n.local_port,
			     n.remote_port);
}

/* A flow that leaves TCP_CLOSE or SYN_RECV. */
static __always_inline void tcp_flow_begin(struct sock *sk, u8 direction)
{
	u64 key = (u64)sk;
	u32 at = tcp_context(sk);
	struct tcp_flow *f;
	u32 flags = 0;
	u64 now;
	int err;

	if (tunables.phase == FLOWS_ENDING)
		return;
	count(COUNT_SEEN);
	now = bpf_ktime_get_boot_ns();
	if (!tcp_is_wanted(sk, direction, &flags) || !filter_samples(now)) {
		count(COUNT_FILTERED);
		return;
	}
	f = bpf_map_lookup_elem(&tcp_scratch, &at);
	if (!f)
		return;
	f->start_ns = now;
	f->id = flow_new_id(now);
	f->flags = flags;
	f->direction = direction;
	f->tcp_flags = 0x02; /* SYN */
	f->sweeping = f->closing = f->report = f->error = 0;
	f->tcp_state = 0;
	f->ended = f->used = f->crossed = 0;
	f->user.tgid = 0;
	f->unacknowledged = 0;
	__builtin_memset(&f->reported, 0, sizeof(f->reported));
	f->reported.at_ns = f->start_ns;
	if (direction == FLOW_OUT)
		task_current(&f->task);
	else
		__builtin_memset(&f->task, 0, sizeof(f->task));
	err = bpf_map_update_elem(&tcp_flows, &key, f, BPF_NOEXIST);
	if (err == -EEXIST) {
		struct tcp_flow *old = bpf_map_lookup_elem(&tcp_flows, &key);

		if (old && old->crossed && direction == FLOW_IN) {
			count_back(COUNT_SEEN);
			return;
		}
		/* The socket that was here went away while no program of ours ran. */
		if (!old || !old->ended)
			lost(COUNT_MISSED);
		err = bpf_map_update_elem(&tcp_flows, &key, f, BPF_ANY);
	}
	if (err)
		lost(COUNT_NO_ROOM);
}

/* Tells how the flow ended, as far as this side can know. */
static __always_inline void tcp_read_end(struct tcp_flow *f, struct sock *sk, struct tcp_sock *tp,
					 int oldstate)
{
	bool fin_received = sk->__sk_common.skc_flags >> SOCK_FLAG_DONE & 1;
	bool dead = sk->__sk_common.skc_flags >> SOCK_FLAG_DEAD & 1;
	u64 acked = tp->bytes_acked;

	f->tcp_state = oldstate;
	f->error = sk->sk_err;
	/* What was on the way when the flow was cut: perhaps it arrived, perhaps it did not. */
	if (f->direction == FLOW_OUT && acked)
		acked--;
	f->unacknowledged = since(f->final.out_bytes, acked);
	if (f->unacknowledged)
		f->flags |= FLOW_OUT_UNCERTAIN;
	if (oldstate == TCP_SYN_SENT) {
		if (f->error == ECONNREFUSED) {
			f->tcp_flags |= 0x14; /* RST, ACK */
			f->flags |= FLOW_RESET | FLOW_RESET_BY_PEER;
		}
		return;
	}
	f->flags |= FLOW_ESTABLISHED;
	f->tcp_flags |= 0x10; /* ACK */
	if (fin_received || oldstate == TCP_FIN_WAIT1 || oldstate == TCP_FIN_WAIT2 ||
	    oldstate == TCP_CLOSING || oldstate == TCP_LAST_ACK)
		f->tcp_flags |= 0x01; /* FIN */
	switch (f->error) {
	case ECONNRESET:
	case EPIPE:
		f->flags |= FLOW_RESET | FLOW_RESET_BY_PEER;
		break;
	case ECONNABORTED:
		f->flags |= FLOW_RESET;
		break;
	case 0:
		/*
		 * No error, and no way to TCP_CLOSE that two FINs take: our own reset, which
		 * is sent after this. An orphan in FIN_WAIT2 is left to a timer.
		 */
		if (oldstate == TCP_ESTABLISHED || oldstate == TCP_CLOSE_WAIT ||
		    oldstate == TCP_SYN_RECV || oldstate == TCP_FIN_WAIT1 ||
		    (oldstate == TCP_FIN_WAIT2 && !fin_received && !dead))
			f->flags |= FLOW_RESET;
		break;
	default:
		break; /* timed out, unreachable: nobody reset it */
	}
	if (f->flags & FLOW_RESET)
		f->tcp_flags |= 0x04;
	/* It has closed what nobody had read from: in its own context, as nothing else comes here.
	 */
	if (!f->error && f->flags & FLOW_RESET && !dead && sk->sk_lock.owned)
		tcp_note_closer(f);
}

/* The socket is about to be gone. oldstate is the state that it leaves, 0 if not known. */
static __always_inline void tcp_flow_end(struct sock *sk, struct tcp_flow *f, int oldstate)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct tcp_names names;
	u64 key = (u64)sk;

	if (!tp)
		return;
	tcp_read_numbers(&f->final, sk, tp, bpf_ktime_get_boot_ns(), f->direction);
	if (oldstate == TCP_SYN_SENT && !f->final.out_packets) {
		/* connect() failed before anything was sent: no address was free, say. No flow. */
		if (tcp_take(key, f))
			count_back(COUNT_SEEN);
		return;
	}
	tcp_read_end(f, sk, tp, oldstate);
	f->closing = 1;
	barrier_full(f);
	if (f->sweeping == tcp_sweep_mark(f->id))
		return; /* the sweep sees closing when it is done, and reports */
	tcp_read_names(&names, sk);
	tcp_report_end(key, f, &names, FLOW_END_DETECTED);
}

/*
 * A flow that ends and that we did not see begin. Its totals are whole, its start is not
 * known. False: it is in the table after all.
 */
static __always_inline bool tcp_flow_adopt(struct sock *sk, int oldstate)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	u32 at = tcp_context(sk), flags = 0;
	struct tcp_names names;
	u64 key = (u64)sk;
	struct event_flow *e;
	struct tcp_flow *f;
	u8 direction;

	f = bpf_map_lookup_elem(&tcp_scratch, &at);
	if (!tp || !f)
		return true;
	/* Reported already: a stop ends all flows. */
	if (tunables.phase == FLOWS_ENDING)
		return true;
	/* One that was filtered at its start was counted then. These do not decide alike now: */
	if (tunables.sample_rate > 1 || tunables.filter & (FILTER_DIRECTION | FILTER_PORTS))
		return true;
	direction = tcp_direction(tp->bytes_acked, tp->snd_nxt - tp->snd_una,
				  tp->bytes_sent - tp->bytes_retrans, oldstate,
				  tp->snd_nxt == tp->write_seq, &flags);
	if (!tcp_is_wanted(sk, direction, &flags))
		return true;
	__builtin_memset(f, 0, sizeof(*f));
	if (tunables.phase == FLOWS_ADOPTED) {
		/* The walk that looks for such flows must not find this one. */
		f->ended = 1;
		if (bpf_map_update_elem(&tcp_flows, &key, f, BPF_NOEXIST) == -EEXIST)
			return false;
	}
	count(COUNT_SEEN);
	count(COUNT_ADOPTED);
	f->start_ns = tunables.attached_ns;
	f->flags = flags | FLOW_NO_START;
	f->direction = direction;
	f->tcp_flags = 0x02; /* SYN */
	tcp_read_numbers(&f->final, sk, tp, bpf_ktime_get_boot_ns(), f->direction);
	f->id = flow_new_id(f->final.at_ns);
	tcp_read_end(f, sk, tp, oldstate);
	tcp_read_names(&names, sk);
	e = bpf_ringbuf_reserve(&flow_ring, sizeof(*e), 0);
	if (!e) {
		lost(COUNT_RING_FULL);
		return true;
	}
	tcp_event_fill(e, f, &names, &f->final, FLOW_END_DETECTED);
	count(COUNT_SUBMITTED);
	bpf_ringbuf_submit(e, wake_flags(&flow_ring, sizeof(*e)));
	return true;
}

/* Somebody listens on a port, as t says. */
static __always_inline void tcp_note_listener(u32 netns, u16 port, bool shared,
					      struct event_task *t, u64 flags)
{
	struct listen_key lk = { .netns = netns, .port = port };
	struct event_task *before;

	if (shared) {
		before = bpf_map_lookup_elem(&tcp_listeners, &lk);
		if (before && before->tgid != t->tgid) {
			/* Which of them accepts is not known. */
			before->tgid = 0;
			return;
		}
	}
	bpf_map_update_elem(&tcp_listeners, &lk, t, flags);
}

/*
 * MPTCP is seen as its subflows, plain TCP, which are closed by a kernel thread. What
 * their user does, it does to the socket above them.
 */
static __always_inline int mptcp_closes(struct sock *sk, int newstate)
{
	struct mptcp_sock *m = (struct mptcp_sock *)sk;
	struct tcp_flow *f;
	u64 key;

	if ((newstate != TCP_FIN_WAIT1 && newstate != TCP_LAST_ACK && newstate != TCP_CLOSE) ||
	    !bpf_core_field_exists(m->first) || !sk->sk_lock.owned)
		return 0;
	key = (u64)BPF_CORE_READ(m, first);
	f = key ? bpf_map_lookup_elem(&tcp_flows, &key) : NULL;
	if (f)
		tcp_note_closer(f);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_set_state, struct sock *sk, int oldstate, int newstate)
{
	u64 key = (u64)sk;
	struct tcp_flow *f;

	if (sk->sk_protocol != IPPROTO_TCP)
		return sk->sk_protocol == IPPROTO_MPTCP ? mptcp_closes(sk, newstate) : 0;
	switch (newstate) {
	case TCP_SYN_SENT:
		if (handover_is_others(key))
			return 0;
		tcp_flow_begin(sk, FLOW_OUT);
		handover_mark(key);
		return 0;
	case TCP_ESTABLISHED:
		if (oldstate != TCP_SYN_RECV || handover_is_others(key))
			return 0;
		tcp_flow_begin(sk, FLOW_IN);
		handover_mark(key);
		return 0;
	case TCP_SYN_RECV:
		if (oldstate != TCP_SYN_SENT || handover_is_others(key))
			return 0;
		f = tcp_find(key);
		if (f)
			f->crossed = 1;
		handover_mark(key);
		return 0;
	case TCP_CLOSE_WAIT:
		/* TCP Fast Open: there are data, and may be an end, before the handshake's. */
		if (oldstate != TCP_SYN_RECV || handover_is_others(key))
			return 0;
		tcp_flow_begin(sk, FLOW_IN);
		handover_mark(key);
		return 0;
	case TCP_FIN_WAIT1:
	case TCP_LAST_ACK:
		/* The owner closes: process context, and the last to tell who it was. */
		if (handover_is_others(key))
			return 0;
		if (oldstate == TCP_SYN_RECV)
			tcp_flow_begin(sk, FLOW_IN);
		f = tcp_find(key);
		if (f)
			tcp_note_closer(f);
		handover_mark(key);
		return 0;
	case TCP_LISTEN: {
		struct event_task t = {};

		task_current(&t);
		tcp_note_listener(sk->__sk_common.skc_net.net->ns.inum, sk->__sk_common.skc_num,
				  BPF_CORE_READ_BITFIELD(&sk->__sk_common, skc_reuseport), &t,
				  BPF_ANY);
		return 0;
	}
	case TCP_CLOSE:
		if (oldstate == TCP_LISTEN || oldstate == TCP_CLOSE)
			return 0;
		if (handover_is_others(key)) {
			tcp_forget(key);
			return 0;
		}
		f = tcp_find(key);
		if (!f && oldstate != TCP_SYN_RECV && oldstate != TCP_NEW_SYN_RECV &&
		    oldstate != TCP_SYN_SENT && !tcp_flow_adopt(sk, oldstate))
			f = tcp_find(key);
		if (f && !f->ended)
			tcp_flow_end(sk, f, oldstate);
		handover_mark(key);
		return 0;
	}
	return 0;
}

/*
 * The safety net: a tracing program that interrupts itself is skipped by the
 * kernel, so a change of state in a softirq can be missed. This is the last
 * sight of the whole socket.
 */
SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(tcp_destroy, struct sock *sk)
{
	u64 key = (u64)sk;
	struct tcp_flow *f;

	if (handover_is_others(key)) {
		tcp_forget(key);
		return 0;
	}
	f = tcp_find(key);
	if (f && !f->closing && !f->ended) {
		tcp_flow_end(sk, f, f->tcp_state);
		handover_mark(key);
	}
	return 0;
}

/*
 * In tcp_recvmsg(), in the reader's own context: who really uses the socket. Others
 * that read (kTLS) may do so in softirq, where they do not own it.
 */
SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(tcp_reader, struct sock *sk)
{
	u64 key = (u64)sk;
	struct tcp_flow *f = bpf_map_lookup_elem(&tcp_flows, &key);

	if (!f && tunables.capture.before) {
		if (handover_is_others(key))
			return 0;
		f = tcp_find(key);
	}
	if (!f)
		return 0;
	if (!f->used && sk->sk_lock.owned) {
		tcp_note_user(f);
		f->used = 1;
	}
	handover_mark(key);
	return 0;
}

/* Walks the flows of the capture before ours, whose programs are gone. */
SEC("iter/bpf_map_elem")
int tcp_take_over_all(struct bpf_iter__bpf_map_elem *ctx)
{
	u64 *key = ctx->key;

	if (key)
		tcp_take_over(*key);
	return 0;
}

/* What was listened to or connected before we were there: each socket of each process. */
SEC("iter/task_file")
int tcp_find_open(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	u32 at = SCRATCH_WALK, flags = FLOW_NO_START;
	struct tcp_names names;
	struct tcp_sock *tp;
	struct tcp_flow *f;
	struct sock *sk;
	u64 key, now;
	int err;
	u8 state;

	if (!task || !file || (file->f_inode->i_mode & S_IFMT) != S_IFSOCK)
		return 0;
	sk = BPF_CORE_READ((struct socket *)file->private_data, sk);
	if (!sk || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP ||
	    BPF_CORE_READ(sk, sk_type) != SOCK_STREAM)
		return 0;
	state = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (state != AF_INET && state != AF_INET6)
		return 0;
	f = bpf_map_lookup_elem(&tcp_scratch, &at);
	if (!f)
		return 0;
	__builtin_memset(f, 0, sizeof(*f));
	task_read(&f->task, task);
	state = BPF_CORE_READ(sk, __sk_common.skc_state);
	if (state == TCP_LISTEN) {
		tcp_note_listener(BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum),
				  BPF_CORE_READ(sk, __sk_common.skc_num),
				  BPF_CORE_READ_BITFIELD_PROBED(&sk->__sk_common, skc_reuseport),
				  &f->task, BPF_NOEXIST);
		return 0;
	}
	key = (u64)sk;
	if (state == TCP_CLOSE || state == TCP_SYN_RECV || state > TCP_CLOSING ||
	    tunables.sample_rate > 1 || bpf_map_lookup_elem(&tcp_flows, &key))
		return 0;
	tp = (struct tcp_sock *)sk;
	now = bpf_ktime_get_boot_ns();
	tcp_probe_names(&names, key);
	f->direction = tcp_direction(
		BPF_CORE_READ(tp, bytes_acked),
		BPF_CORE_READ(tp, snd_nxt) - BPF_CORE_READ(tp, snd_una),
		BPF_CORE_READ(tp, bytes_sent) - BPF_CORE_READ(tp, bytes_retrans), state,
		BPF_CORE_READ(tp, snd_nxt) == BPF_CORE_READ(tp, write_seq), &flags);
	if (is_local_pair(names.ip_version, names.local, names.remote)) {
		flags |= FLOW_LOOPBACK;
		if (!tunables.loopback)
			return 0;
	}
	if (tunables.filter &&
	    !filter_allows(names.ip_version, IPPROTO_TCP, f->direction, names.local, names.remote,
			   names.local_port, names.remote_port))
		return 0;
	/* What was counted until now is not ours to report. */
	tcp_probe_numbers(&f->reported, key, now, f->direction);
	f->start_ns = now;
	f->id = flow_new_id(now);
	f->flags = flags;
	f->tcp_flags = 0x02; /* SYN */
	err = bpf_map_update_elem(&tcp_flows, &key, f, BPF_NOEXIST);
	if (err == -EEXIST)
		return 0;
	count(COUNT_SEEN);
	count(COUNT_ADOPTED);
	if (err)
		lost(COUNT_NO_ROOM);
	return 0;
}

/* The memory of a closed socket is still one, and has been connected. */
static __always_inline bool tcp_is_there(u64 address, const struct tcp_names *names)
{
	struct sock *sk = (struct sock *)address;
	u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return (family == AF_INET || family == AF_INET6) && names->remote_port &&
	       BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP;
}

/* Those that a socket is no longer there for, and that nobody has reported. */
static __always_inline void tcp_miss(u64 key, struct tcp_flow *f)
{
	if (tcp_take(key, f))
		lost(COUNT_MISSED);
}

/* Reports what is new in each flow that was last reported too long ago. */
SEC("iter/bpf_map_elem")
int tcp_sweep(struct bpf_iter__bpf_map_elem *ctx)
{
	u64 *keyp = ctx->key, key, boot_ns;
	struct tcp_names names;
	struct tcp_numbers now;
	struct event_flow *e;
	struct tcp_flow *f;
	bool flush;
	u32 mark;
	u8 state;

	if (!keyp)
		return 0;
	key = *keyp;
	f = bpf_map_lookup_elem(&tcp_flows, &key);
	if (!f)
		return 0;
	if (f->ended) {
		bpf_map_delete_elem(&tcp_flows, &key);
		return 0;
	}
	boot_ns = bpf_ktime_get_boot_ns();
	flush = tunables.flush;
	due_at(f->reported.at_ns + tunables.active_ns);
	/* One that has ended unseen is told at once: its socket may soon be another one. */
	state = BPF_CORE_READ((struct sock *)key, __sk_common.skc_state);
	if (!flush && state != TCP_CLOSE && since(boot_ns, f->reported.at_ns) < tunables.active_ns)
		return 0;
	mark = tcp_sweep_mark(f->id);
	f->sweeping = mark;
	barrier_full(f);
	/* Still the same flow? Then it stays: who ends it from now on leaves it to us. */
	if (tcp_sweep_mark(f->id) != mark || bpf_map_lookup_elem(&tcp_flows, &key) != f)
		return 0;
	state = BPF_CORE_READ((struct sock *)key, __sk_common.skc_state);
	tcp_probe_names(&names, key);
	tcp_probe_numbers(&now, key, boot_ns, f->direction);
	barrier_full(f);
	/* If it has ended by now, the socket may be gone, and another one where it was. */
	if (!f->closing) {
		tcp_numbers_not_before(&now, &f->reported);
		if (state == TCP_CLOSE && !tcp_is_there(key, &names)) {
			/* It ended unseen, and its socket is no more. */
			tcp_miss(key, f);
			return 0;
		}
		if (flush || state == TCP_CLOSE) {
			/*
			 * We are going: what the flow has now is all that will be known. Or it
			 * has ended without our having been run: these are its last numbers.
			 */
			f->final = now;
			if (state != TCP_SYN_SENT && (state != TCP_CLOSE || now.srtt_us)) {
				f->flags |= FLOW_ESTABLISHED;
				f->tcp_flags |= 0x10;
			}
			f->sweeping = 0;
			tcp_report_end(key, f, &names,
				       state == TCP_CLOSE ? FLOW_END_DETECTED : FLOW_END_FORCED);
			return 0;
		}
		e = bpf_ringbuf_reserve(&flow_ring, sizeof(*e), 0);
		if (e) {
			tcp_event_fill(e, f, &names, &now, FLOW_END_ACTIVE);
			if (state != TCP_SYN_SENT) {
				e->flags |= FLOW_ESTABLISHED;
				e->tcp_flags |= 0x10;
			}
			f->reported = now;
			f->report++;
			if (filter_allows_owner(e)) {
				count(COUNT_REPORTS);
				bpf_ringbuf_submit(e, wake_flags(&flow_ring, sizeof(*e)));
			} else {
				bpf_ringbuf_discard(e, BPF_RB_NO_WAKEUP);
			}
		} else {
			count(COUNT_REPORTS_RING_FULL);
		}
	}
	f->sweeping = 0;
	barrier_full(f);
	if (f->closing)
		tcp_report_end(key, f, &names, FLOW_END_DETECTED);
	return 0;
}

/* For people who look: each flow as it is now, whole, and nothing of it changes. */
SEC("iter/bpf_map_elem")
int tcp_show(struct bpf_iter__bpf_map_elem *ctx)
{
	struct tcp_numbers now = {};
	struct tcp_names names = {};
	struct event_flow e = {};
	u64 *keyp = ctx->key, key;
	struct tcp_flow *f;

	if (!keyp)
		return 0;
	key = *keyp;
	f = bpf_map_lookup_elem(&tcp_flows, &key);
	if (!f || f->ended || f->closing)
		return 0;
	tcp_probe_names(&names, key);
	tcp_probe_numbers(&now, key, bpf_ktime_get_boot_ns(), f->direction);
	tcp_event_fill(&e, f, &names, &now, FLOW_END_ACTIVE);
	if (filter_allows_owner(&e))
		bpf_seq_write(ctx->meta->seq, &e, sizeof(e));
	return 0;
}
