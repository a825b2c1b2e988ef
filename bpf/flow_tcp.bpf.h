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
 * entry reports the end, so that it is reported once.
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
	u32 sweeping;		     /* a sweep is busy with this flow */
	u32 closing;
	u32 barriers; /* only its being written counts */
	u32 report;
	u32 flags; /* enum flow_flag */
	u32 error;
	u8 direction;
	u8 tcp_flags;
	u8 tcp_state;
	u8 ended; /* reported, but the table would not let go of it */
	u8 pad[4];
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

/* Who called listen() on a port: the first guess at who owns what is accepted there. */
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
	__uint(max_entries, 2); /* process context and softirq do not share one */
	__type(key, u32);
	__type(value, struct tcp_flow);
} tcp_scratch SEC(".maps");

/* xadd is a full barrier on x86 and all that 5.10's instruction set has. */
#define barrier_full(f) __sync_fetch_and_add(&(f)->barriers, 1)

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

/* The same from a bare address: the sweep has no typed pointer. */
static __always_inline void tcp_probe_numbers(struct tcp_numbers *n, u64 address, u64 now,
					      u8 direction)
{
	struct tcp_sock *tp = (struct tcp_sock *)address;
	struct sock *sk = (struct sock *)address;
	u64 flags = BPF_CORE_READ(sk, __sk_common.skc_flags);

	n->in_bytes = BPF_CORE_READ(tp, bytes_received) - ((flags >> SOCK_FLAG_DONE) & 1);
	n->out_bytes = BPF_CORE_READ(tp, bytes_sent) - BPF_CORE_READ(tp, bytes_retrans);
	n->out_packets = BPF_CORE_READ(tp, segs_out) + (direction == FLOW_IN);
	n->in_packets = BPF_CORE_READ(tp, segs_in);
	n->retransmits = BPF_CORE_READ(tp, total_retrans);
	n->srtt_us = BPF_CORE_READ(tp, srtt_us) >> 3;
	n->at_ns = now;
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
	e->out_bytes = now->out_bytes - f->reported.out_bytes;
	e->in_bytes = now->in_bytes - f->reported.in_bytes;
	e->out_packets = (u32)(now->out_packets - f->reported.out_packets);
	e->in_packets = (u32)(now->in_packets - f->reported.in_packets);
	e->out_total = now->out_bytes;
	e->in_total = now->in_bytes;
	e->flags = f->flags | (f->report ? 0 : FLOW_FIRST) |
		   (end_reason == FLOW_END_ACTIVE ? 0 : FLOW_LAST);
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
	} else {
		e->opener = f->task;
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
	e->retransmits = now->retransmits - f->reported.retransmits;
	e->srtt_us = now->srtt_us;
	e->report = f->report;
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
		if (tcp_take(key, f))
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

/* A flow that leaves TCP_CLOSE or SYN_RECV. at is 1 in softirq. */
static __always_inline void tcp_flow_begin(struct sock *sk, u32 at, u8 direction)
{
	u64 key = (u64)sk;
	struct tcp_flow *f;
	u32 flags = 0;
	u64 now;
	int err;

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
	f->ended = 0;
	__builtin_memset(&f->reported, 0, sizeof(f->reported));
	f->reported.at_ns = f->start_ns;
	if (direction == FLOW_OUT)
		task_current(&f->task);
	else
		__builtin_memset(&f->task, 0, sizeof(f->task));
	err = bpf_map_update_elem(&tcp_flows, &key, f, BPF_NOEXIST);
	if (err == -EEXIST) {
		/* The socket that was here went away while no program of ours ran. */
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
	f->tcp_state = oldstate;
	f->error = sk->sk_err;
	if (oldstate != TCP_SYN_SENT) {
		f->flags |= FLOW_ESTABLISHED;
		f->tcp_flags |= 0x10; /* ACK */
	}
	switch (oldstate) {
	case TCP_SYN_SENT:
		if (f->error == 111) {
			f->tcp_flags |= 0x14; /* RST, ACK */
			f->flags |= FLOW_RESET;
		}
		return;
	case TCP_ESTABLISHED:
	case TCP_CLOSE_WAIT:
	case TCP_SYN_RECV:
		/* Straight from an open state: an abort, ours or the peer's. */
		f->flags |= FLOW_RESET;
		f->tcp_flags |= 0x14;
		break;
	default:
		f->tcp_flags |= 0x01; /* FIN */
		if (f->error == 104 || f->error == 32) {
			f->flags |= FLOW_RESET;
			f->tcp_flags |= 0x04;
		}
		break;
	}
	if (oldstate == TCP_CLOSE_WAIT || oldstate == TCP_LAST_ACK)
		f->tcp_flags |= 0x01;
	/* What was in flight when the flow was cut: only what was acknowledged is certain. */
	if (((f->flags & FLOW_RESET) || f->error) && tp->snd_nxt != tp->snd_una) {
		u64 acked = tp->bytes_acked;

		if (f->direction == FLOW_OUT && acked)
			acked--;
		if (acked < f->final.out_bytes) {
			f->final.out_bytes = acked;
			f->flags |= FLOW_OUT_UNCERTAIN;
		}
	}
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
	tcp_read_end(f, sk, tp, oldstate);
	f->closing = 1;
	barrier_full(f);
	if (f->sweeping)
		return; /* the sweep sees closing when it is done, and reports */
	tcp_read_names(&names, sk);
	tcp_report_end(key, f, &names, FLOW_END_DETECTED);
}

/* A flow that ends and that we did not see begin: its totals are whole, its start is not known. */
static __always_inline void tcp_flow_adopt(struct sock *sk, int oldstate)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct tcp_names names;
	struct event_flow *e;
	struct tcp_flow *f;
	u32 at = 1, flags = 0;

	f = bpf_map_lookup_elem(&tcp_scratch, &at);
	if (!tp || !f)
		return;
	/* One that was filtered at its start was counted then. These do not decide alike now: */
	if (tunables.sample_rate > 1 || tunables.filter & (FILTER_DIRECTION | FILTER_PORTS))
		return;
	if (!tcp_is_wanted(sk, FLOW_OUT, &flags))
		return;
	count(COUNT_SEEN);
	count(COUNT_ADOPTED);
	__builtin_memset(f, 0, sizeof(*f));
	f->start_ns = tunables.attached_ns;
	f->flags = flags | FLOW_NO_START | FLOW_NO_DIRECTION;
	f->direction = FLOW_OUT;
	tcp_read_numbers(&f->final, sk, tp, bpf_ktime_get_boot_ns(), f->direction);
	f->id = flow_new_id(f->final.at_ns);
	tcp_read_end(f, sk, tp, oldstate);
	tcp_read_names(&names, sk);
	e = bpf_ringbuf_reserve(&flow_ring, sizeof(*e), 0);
	if (!e) {
		lost(COUNT_RING_FULL);
		return;
	}
	tcp_event_fill(e, f, &names, &f->final, FLOW_END_DETECTED);
	count(COUNT_SUBMITTED);
	bpf_ringbuf_submit(e, wake_flags(&flow_ring, sizeof(*e)));
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_set_state, struct sock *sk, int oldstate, int newstate)
{
	u64 key = (u64)sk;
	struct tcp_flow *f;

	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	switch (newstate) {
	case TCP_SYN_SENT:
		if (handover_is_others(key))
			return 0;
		tcp_flow_begin(sk, 0, FLOW_OUT);
		handover_mark(key);
		return 0;
	case TCP_ESTABLISHED:
		if (oldstate != TCP_SYN_RECV || handover_is_others(key))
			return 0;
		tcp_flow_begin(sk, 1, FLOW_IN);
		handover_mark(key);
		return 0;
	case TCP_FIN_WAIT1:
	case TCP_LAST_ACK:
		/* The owner closes: process context, and the last to tell who it was. */
		if (handover_is_others(key))
			return 0;
		f = tcp_find(key);
		if (f && !f->task.tgid)
			task_current(&f->task);
		handover_mark(key);
		return 0;
	case TCP_LISTEN: {
		struct listen_key lk = {};
		struct event_task t = {};

		lk.netns = sk->__sk_common.skc_net.net->ns.inum;
		lk.port = sk->__sk_common.skc_num;
		task_current(&t);
		bpf_map_update_elem(&tcp_listeners, &lk, &t, BPF_ANY);
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
		if (f)
			tcp_flow_end(sk, f, oldstate);
		else if (oldstate != TCP_SYN_RECV && oldstate != TCP_NEW_SYN_RECV &&
			 oldstate != TCP_SYN_SENT)
			tcp_flow_adopt(sk, oldstate);
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

/* In tcp_recvmsg(), in the reader's own context: who really uses the socket. */
SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(tcp_reader, struct sock *sk)
{
	u64 key = (u64)sk;
	struct tcp_flow *f = bpf_map_lookup_elem(&tcp_flows, &key);

	if (f) {
		if (!f->task.tgid)
			task_current(&f->task);
		handover_mark(key);
	} else if (tunables.capture.before) {
		if (handover_is_others(key))
			return 0;
		f = tcp_find(key);
		if (f && !f->task.tgid)
			task_current(&f->task);
	}
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
	if (!flush && boot_ns - f->reported.at_ns < tunables.active_ns)
		return 0;
	f->sweeping = 1;
	barrier_full(f);
	state = BPF_CORE_READ((struct sock *)key, __sk_common.skc_state);
	tcp_probe_names(&names, key);
	if (!f->closing) {
		tcp_probe_numbers(&now, key, boot_ns, f->direction);
		if (flush) {
			/*
			 * We are going: what the flow has now is all that will be
			 * known. Without the hooks its socket may be another's by now.
			 */
			f->final = state != TCP_CLOSE && state <= TCP_CLOSING ? now : f->reported;
			if (state != TCP_SYN_SENT) {
				f->flags |= FLOW_ESTABLISHED;
				f->tcp_flags |= 0x10;
			}
			f->sweeping = 0;
			tcp_report_end(key, f, &names, FLOW_END_FORCED);
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
