/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What flows are called: the DNS's answers to what this host's sockets asked, and the
 * first bytes of TLS and QUIC connections, copied for user space to make sense of. An object
 * of its own, which is loaded only when names are wanted; what of it is not
 * wanted the verifier takes out.
 *
 * Its programs are called by those that count packets, for what names.bpf.h lets pass.
 */
#include "vmlinux.h"

#include "bpf/common.bpf.h"

#include "bpf/names.bpf.h"

#define SMALL_ROOM  768
#define MEDIUM_ROOM 1664 /* a datagram of 1500 bytes */
#define LARGE_ROOM  4096

#define QUIC_DATAGRAMS 4 /* of a client's first flight, and what of it is sent again */
#define QUIC_AGAIN_NS  10000000000ull
#define QUIC_V1	       1
#define QUIC_V2	       0x6b3343cf /* RFC 9369 */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 2 << 20); /* ring.names */
} names_ring SEC(".maps");

struct names_tunables tunables;

/* Who waits for an answer. One that nobody has asked for is not believed. */
#define ASKED_OVER_TCP 0x10000
struct asker_key {
	u64 cookie; /* of the socket */
	u32 id;	    /* of the question, or ASKED_OVER_TCP: of the connection */
	u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct asker_key);
	__type(value, struct event_task);
} askers SEC(".maps");

/* Hellos of which more is to come, by their sockets. */
struct hello_rest {
	u32 next_seq;
	u32 missing;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, struct hello_rest);
} hellos SEC(".maps");

/* Who has begun to speak QUIC: of each one's datagrams the first few. */
struct quic_key {
	u32 remote[4];
	u16 local_port, remote_port;
	u32 pad;
};

struct quic_seen {
	u64 since_ns;
	u64 datagrams;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2048);
	__type(key, struct quic_key);
	__type(value, struct quic_seen);
} quics SEC(".maps");

struct packet {
	u32 offset, len; /* of the payload */
	u32 seq;
	u16 source, destination; /* ports */
	u8 protocol;
	bool out;
	bool is_hello; /* it names this flow alone, and not others */
};

/* Who runs now: a question leaves in its sender's own context. */
static __always_inline void asker_read(struct event_task *t, struct __sk_buff *skb)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	t->start_ns = BPF_CORE_READ(leader, start_boottime);
	t->cgroup_id = bpf_skb_cgroup_id(skb);
	t->tgid = BPF_CORE_READ(task, tgid);
	t->uid = BPF_CORE_READ(task, real_cred, uid.val);
	t->ppid = BPF_CORE_READ(task, real_parent, tgid);
	BPF_CORE_READ_INTO(&t->comm, leader, comm);
}

static __always_inline bool read_addresses(struct __sk_buff *skb, struct event_packet *e, bool out)
{
	u8 *source = out ? e->local : e->remote;
	u8 *destination = out ? e->remote : e->local;

	__builtin_memset(e->local, 0, sizeof(e->local));
	__builtin_memset(e->remote, 0, sizeof(e->remote));
	if (e->ip_version == 4)
		return !bpf_skb_load_bytes(skb, 12, source, 4) &&
		       !bpf_skb_load_bytes(skb, 16, destination, 4);
	return !bpf_skb_load_bytes(skb, 8, source, 16) &&
	       !bpf_skb_load_bytes(skb, 24, destination, 16);
}

/* Copies what fits into room, which is reserved whole. */
static __always_inline void packet_submit(struct __sk_buff *skb, struct event_packet *e,
					  const struct packet *p, const struct event_task *asker,
					  u32 room)
{
	u32 n = p->len;
	u8 first;

	e->h.type = EVENT_PACKET;
	e->h.pad = 0;
	e->h.boot_ns = bpf_ktime_get_boot_ns();
	if (asker)
		e->asker = *asker;
	else
		__builtin_memset(&e->asker, 0, sizeof(e->asker));
	e->local_port = bpf_ntohs(p->out ? p->source : p->destination);
	e->remote_port = bpf_ntohs(p->out ? p->destination : p->source);
	e->protocol = p->protocol;
	e->outbound = p->out;
	e->pad = 0;
	e->seq = p->seq;
	e->full_len = p->len;
	e->pad2 = 0;
	e->ip_version = 0;
	if (!bpf_skb_load_bytes(skb, 0, &first, 1))
		e->ip_version = first >> 4;
	if (!read_addresses(skb, e, p->out))
		goto no_room;
	/* Bounds are pinned where they are used, and by a sum: 5.10 does not see that n is not 0.
	 */
	n--;
	asm volatile("" : "+r"(n));
	if (n > room - sizeof(*e) - 1)
		n = room - sizeof(*e) - 1;
	asm volatile("" : "+r"(n));
	n++;
	if (bpf_skb_load_bytes(skb, p->offset, e->data, n))
		goto no_room;
	if (p->is_hello && !tunables.loopback &&
	    is_local_pair(e->ip_version, (u32 *)e->local, (u32 *)e->remote)) {
		count(COUNT_FILTERED);
		bpf_ringbuf_discard(e, BPF_RB_NO_WAKEUP);
		return;
	}
	e->len = n;
	e->h.size = sizeof(*e) + n;
	count(COUNT_SUBMITTED);
	/* Flows look here before they need it. */
	bpf_ringbuf_submit(e, wake_flags(&names_ring, room));
	return;
no_room:
	count_loss(COUNT_NO_ROOM, tunables.loss_epoch);
	bpf_ringbuf_discard(e, BPF_RB_NO_WAKEUP);
}

static __always_inline void packet_sample(struct __sk_buff *skb, const struct packet *p,
					  const struct event_task *asker)
{
	struct event_packet *e;

	count(COUNT_SEEN);
	if (p->len <= SMALL_ROOM - sizeof(*e)) {
		e = bpf_ringbuf_reserve(&names_ring, SMALL_ROOM, 0);
		if (e) {
			packet_submit(skb, e, p, asker, SMALL_ROOM);
			return;
		}
	} else if (p->len <= MEDIUM_ROOM - sizeof(*e)) {
		e = bpf_ringbuf_reserve(&names_ring, MEDIUM_ROOM, 0);
		if (e) {
			packet_submit(skb, e, p, asker, MEDIUM_ROOM);
			return;
		}
	} else {
		e = bpf_ringbuf_reserve(&names_ring, LARGE_ROOM, 0);
		if (e) {
			packet_submit(skb, e, p, asker, LARGE_ROOM);
			return;
		}
	}
	count_loss(COUNT_RING_FULL, tunables.loss_epoch);
}

static __always_inline void dns_look(struct __sk_buff *skb, const u8 *ip, const u8 *end, u32 offset,
				     bool out)
{
	const u16 *udp = (const u16 *)(ip + offset);
	struct packet p = { .protocol = IPPROTO_UDP, .out = out };
	struct asker_key key = {};
	struct event_task *asker;
	u8 head[12];

	if ((const u8 *)(udp + 4) > end || udp[out ? 1 : 0] != bpf_htons(DNS_PORT))
		return;
	p.source = udp[0];
	p.destination = udp[1];
	p.offset = offset + 8;
	if (skb->len < p.offset + sizeof(head) ||
	    bpf_skb_load_bytes(skb, p.offset, head, sizeof(head)))
		return;
	p.len = skb->len - p.offset;
	key.cookie = bpf_get_socket_cookie(skb);
	key.id = head[0] << 8 | head[1];
	if (out) {
		struct event_task t = {};

		if (head[2] & 0xf8) /* no question */
			return;
		asker_read(&t, skb);
		bpf_map_update_elem(&askers, &key, &t, BPF_ANY);
		return;
	}
	if (!(head[2] & 0x80))
		return;
	asker = bpf_map_lookup_elem(&askers, &key);
	if (!asker) {
		count(COUNT_SEEN);
		count(COUNT_FILTERED);
		return;
	}
	packet_sample(skb, &p, asker);
	bpf_map_delete_elem(&askers, &key);
}

/*
 * RFC 1035, 4.2.2. The segments of a question and of its answers belong to one socket; who sends
 * the first one is who asks. What a segment is of, user space finds out.
 */
static __always_inline void dns_tcp_look(struct __sk_buff *skb, const u8 *tcp, u32 offset, bool out)
{
	struct packet p = { .protocol = IPPROTO_TCP, .out = out };
	struct asker_key key = { .id = ASKED_OVER_TCP };
	struct event_task *asker;

	p.offset = offset + (tcp[12] >> 4) * 4;
	if (skb->len < p.offset + 1)
		return;
	p.len = skb->len - p.offset;
	key.cookie = bpf_get_socket_cookie(skb);
	if (out) {
		struct event_task t = {};

		asker_read(&t, skb);
		bpf_map_update_elem(&askers, &key, &t, BPF_NOEXIST);
		return;
	}
	asker = bpf_map_lookup_elem(&askers, &key);
	if (!asker) {
		count(COUNT_SEEN);
		count(COUNT_FILTERED);
		return;
	}
	p.source = *(const u16 *)tcp;
	p.destination = *(const u16 *)(tcp + 2);
	p.seq = bpf_ntohl(*(const u32 *)(tcp + 4));
	packet_sample(skb, &p, asker);
}

/* False: of this client there were enough. */
static __always_inline bool quic_is_new(struct __sk_buff *skb, const struct packet *p, u8 version)
{
	struct quic_key key = {};
	struct quic_seen *seen, one = {};
	u64 now = bpf_ktime_get_ns();

	if (version == 4) {
		if (bpf_skb_load_bytes(skb, p->out ? 16 : 12, key.remote, 4))
			return false;
	} else if (bpf_skb_load_bytes(skb, p->out ? 24 : 8, key.remote, 16)) {
		return false;
	}
	key.local_port = p->out ? p->source : p->destination;
	key.remote_port = p->out ? p->destination : p->source;
	seen = bpf_map_lookup_elem(&quics, &key);
	if (seen && now - seen->since_ns < QUIC_AGAIN_NS) {
		if (seen->datagrams >= QUIC_DATAGRAMS)
			return false;
		seen->datagrams++;
		return true;
	}
	one.since_ns = now;
	one.datagrams = 1;
	bpf_map_update_elem(&quics, &key, &one, BPF_ANY);
	return true;
}

/* RFC 9000, 17.2.2: what a client begins with; the keys to it are in it. */
static __always_inline void quic_look(struct __sk_buff *skb, const u8 *ip, const u8 *end,
				      u32 offset, bool out)
{
	const u16 *udp = (const u16 *)(ip + offset);
	struct packet p = { .protocol = IPPROTO_UDP, .out = out, .is_hello = true };
	u32 version;
	u8 head[5];

	if ((const u8 *)(udp + 4) > end || udp[1] != bpf_htons(QUIC_PORT))
		return;
	p.offset = offset + 8;
	if (skb->len < p.offset + QUIC_INITIAL ||
	    bpf_skb_load_bytes(skb, p.offset, head, sizeof(head)))
		return;
	version = (u32)head[1] << 24 | head[2] << 16 | head[3] << 8 | head[4];
	if (!((head[0] & 0xf0) == 0xc0 && version == QUIC_V1) &&
	    !((head[0] & 0xf0) == 0xd0 && version == QUIC_V2))
		return;
	p.len = skb->len - p.offset;
	p.source = udp[0];
	p.destination = udp[1];
	if (quic_is_new(skb, &p, ip[0] >> 4))
		packet_sample(skb, &p, NULL);
}

static __always_inline void tls_look(struct __sk_buff *skb, const u8 *tcp, u32 offset, bool out)
{
	struct packet p = { .protocol = IPPROTO_TCP, .out = out, .is_hello = true };
	struct hello_rest rest, *known;
	u8 head[6];
	u64 cookie;

	p.offset = offset + (tcp[12] >> 4) * 4;
	if (skb->len < p.offset + 1)
		return;
	p.len = skb->len - p.offset;
	p.source = *(const u16 *)tcp;
	p.destination = *(const u16 *)(tcp + 2);
	p.seq = bpf_ntohl(*(const u32 *)(tcp + 4));
	cookie = bpf_get_socket_cookie(skb) << 1 | out;
	if (p.len >= sizeof(head) && !bpf_skb_load_bytes(skb, p.offset, head, sizeof(head)) &&
	    head[0] == TLS_HANDSHAKE && head[1] == 3 && head[5] == 1) {
		rest.missing = (head[3] << 8 | head[4]) + 5;
		if (rest.missing > p.len) {
			rest.missing -= p.len;
			rest.next_seq = p.seq + p.len;
			bpf_map_update_elem(&hellos, &cookie, &rest, BPF_ANY);
		}
		packet_sample(skb, &p, NULL);
		return;
	}
	known = bpf_map_lookup_elem(&hellos, &cookie);
	if (!known || known->next_seq != p.seq)
		return;
	packet_sample(skb, &p, NULL);
	if (known->missing <= p.len) {
		bpf_map_delete_elem(&hellos, &cookie);
	} else {
		known->missing -= p.len;
		known->next_seq += p.len;
	}
}

/* The IP header is always in the linear part when a cgroup program runs. */
static __always_inline int names_look(struct __sk_buff *skb, bool out)
{
	const u8 *ip = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	u32 offset = 40;
	u8 protocol;

	if (ip + 20 > end)
		return 1;
	protocol = ip[6];
	if (ip[0] >> 4 == 4) {
		protocol = ip[9];
		offset = (ip[0] & 15) * 4;
	}
	if (protocol == IPPROTO_TCP) {
		const u8 *tcp = ip + offset;

		if (tcp + 20 > end)
			return 1;
		if (names & NAMES_DNS && ((const u16 *)tcp)[out ? 1 : 0] == bpf_htons(DNS_PORT))
			dns_tcp_look(skb, tcp, offset, out);
		if (names & NAMES_TLS)
			tls_look(skb, tcp, offset, out);
	}
	if (names & NAMES_DNS && protocol == IPPROTO_UDP)
		dns_look(skb, ip, end, offset, out);
	if (names & NAMES_QUIC && protocol == IPPROTO_UDP)
		quic_look(skb, ip, end, offset, out);
	return 1;
}

SEC("cgroup_skb/egress")
int names_egress(struct __sk_buff *skb)
{
	return names_look(skb, true);
}

SEC("cgroup_skb/ingress")
int names_ingress(struct __sk_buff *skb)
{
	return names_look(skb, false);
}
