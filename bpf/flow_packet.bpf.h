/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Flows that are not TCP, counted from the packets that sockets send and get,
 * at the root of the cgroup-v2 hierarchy. TCP is not, and leaves after a few looks.
 * Bytes are those of IP packets, headers included; a GSO packet counts as the
 * segments that it will be.
 */
#pragma once

#include "bpf/names.bpf.h"

#define IP_OFFSET	0x1fff
#define IPPROTO_DCCP	33
#define IPPROTO_SCTP	132
#define IPPROTO_UDPLITE 136
#define UDP_HEADER	8
#define SCTP_HEADER	12
#define EXTENSIONS_MAX	4 /* headers between IPv6 and what it carries */
enum {
	NEXTHDR_HOP = 0,
	NEXTHDR_ROUTING = 43,
	NEXTHDR_FRAGMENT = 44,
	NEXTHDR_AUTH = 51,
	NEXTHDR_DEST = 60
};

struct packet_key {
	u64 cookie; /* of the socket */
	u8 local[16], remote[16];
	u16 local_port, remote_port; /* of ICMP, and of others without ports: 0 */
	u8 protocol;
	u8 ip_version;
	u16 icmp; /* 1 + the type, of an answer its question's: one flow for both; 0: no ICMP */
};

struct packet_flow {
	u64 id;
	u64 start_ns, last_ns, from_ns;
	u64 out_bytes, in_bytes, out_packets, in_packets; /* since the start */
	u64 rep_out_bytes, rep_in_bytes, rep_out_packets, rep_in_packets;
	u32 report;
	u32 flags; /* enum flow_flag */
	u32 ifindex;
	u32 netns;
	u16 icmp_type_code;
	u8 direction;
	u8 ending; /* idle at the last sweep */
	u32 slot;  /* 1 + its number; 0: it has none */
	u64 tick;  /* of last_ns: a busy flow's clock is read once a tick, which is 1 to 10 ms */
	EVENTS_EXTRA
};

/* Sizes, not types, as of tcp_flows. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536); /* flows.max */
	__uint(key_size, sizeof(struct packet_key));
	__uint(value_size, sizeof(struct packet_flow));
} packet_flows SEC(".maps");

/* Those of the capture before ours, until they are all in ours. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, u32);
	__array(
		values, struct {
			__uint(type, BPF_MAP_TYPE_HASH);
			__uint(max_entries, 1);
			__uint(key_size, sizeof(struct packet_key));
			__uint(value_size, sizeof(struct packet_flow)); /* theirs */
		});
} packet_before SEC(".maps");

/*
 * Where the packets of a socket's flow are counted from the second one on: to get there
 * from the socket takes half the time that packet_flows takes. A flow's slot follows from
 * its id, so that two CPUs do not take two; one whose slot is taken does without. Of several
 * flows of a socket one has a slot.
 */
#define PACKET_SLOTS 8192
struct packet_slot {
	u64 id; /* of the flow that has it */
	struct packet_key key;
	u64 out_bytes, in_bytes, out_packets, in_packets; /* which the flow does not have */
	u64 last_ns, tick;
	u32 turn;     /* odd: it is taken */
	u32 barriers; /* only its being written counts */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PACKET_SLOTS);
	__type(key, u32);
	__type(value, struct packet_slot);
} packet_slots SEC(".maps");

/* Those that are taken. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PACKET_SLOTS);
	__type(key, u32);
	__type(value, u8);
} packet_slots_taken SEC(".maps");

/* A socket's slot: its turn when it was taken, and its number. One word, as it is not locked. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u64);
} socket_slots SEC(".maps");

/*
 * Flows that found no room, summed up by where their packets came from. When this
 * table is full, too, the rest goes to the entry of prefix_len 0 of its direction
 * and IP version: those four are there from the start, and stay.
 */
#define FLOOD_PREFIX_V4 24
#define FLOOD_PREFIX_V6 48

struct flood {
	u64 start_ns, last_ns; /* of what was not told yet */
	u64 packets, bytes, flows;
	u64 rep_packets, rep_bytes, rep_flows;
	u32 ending; /* idle at the last sweep */
	u32 pad;
	EVENTS_EXTRA
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FLOODS_MAX);
	__uint(key_size, sizeof(struct flood_key));
	__uint(value_size, sizeof(struct flood));
} packet_floods SEC(".maps");

/*
 * Flows that were refused lately, each where its hash says: a flow of many packets
 * is one flow, unless another one took its place in between.
 */
#define REFUSED_SLOTS 8192
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, REFUSED_SLOTS);
	__type(key, u32);
	__type(value, u64);
} packet_refused SEC(".maps");

/* Who made a socket, by its cookie: cgroup_skb runs in softirqs and can not ask. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, u64);
	__type(value, struct event_task);
} socket_owners SEC(".maps");

static __always_inline u8 icmp_question(u8 protocol, u8 type)
{
	if (protocol == IPPROTO_ICMP)
		return type == 0 ? 8 : type == 14 || type == 16 || type == 18 ? type - 1 : type;
	return type == 129 || type == 134 || type == 136 ? type - 1 : type;
}

/* Replies and errors: the kernel's, as a rule. */
static __always_inline bool icmp_is_answer(u8 protocol, u8 type)
{
	if (protocol == IPPROTO_ICMP)
		return type == 0 || type == 3 || type == 11 || type == 12 || type == 14;
	return type < 128 || type == 129;
}

/* What is behind the extension headers of IPv6. *first: not a later fragment. */
static __always_inline u8 packet_skip_extensions(struct __sk_buff *skb, u8 protocol, u32 *offset,
						 bool *first)
{
	u8 header[4];

#pragma unroll
	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		if (protocol != NEXTHDR_HOP && protocol != NEXTHDR_ROUTING &&
		    protocol != NEXTHDR_FRAGMENT && protocol != NEXTHDR_AUTH &&
		    protocol != NEXTHDR_DEST)
			break;
		if (bpf_skb_load_bytes(skb, *offset, header, 4))
			break;
		if (protocol == NEXTHDR_FRAGMENT) {
			*first = !(header[2] | header[3] >> 3);
			*offset += 8;
		} else if (protocol == NEXTHDR_AUTH) {
			*offset += (header[1] + 2) * 4;
		} else {
			*offset += (header[1] + 1) * 8;
		}
		protocol = header[0];
		if (!*first)
			break;
	}
	return protocol;
}

/*
 * Reads the addresses and, where there are any, the ports; later fragments have
 * none. *offset: where the payload of IP begins. False: TCP, or not IP.
 */
static __always_inline bool packet_parse(struct __sk_buff *skb, struct packet_key *key, bool out,
					 u16 *icmp, u32 *offset)
{
	const u8 *ip = (void *)(long)skb->data, *end = (void *)(long)skb->data_end, *behind;
	u32 *source = (u32 *)(out ? key->local : key->remote);
	u32 *destination = (u32 *)(out ? key->remote : key->local);
	bool first = true;
	u8 protocol;
	union {
		u16 ports[2];
		u8 bytes[4];
	} head = {};

	if (ip + 20 > end)
		return false;
	if (ip[0] >> 4 == 4) {
		key->ip_version = 4;
		protocol = ip[9];
		*offset = (ip[0] & 15) * 4;
		source[0] = *(const u32 *)(ip + 12);
		destination[0] = *(const u32 *)(ip + 16);
		first = !(*(const u16 *)(ip + 6) & bpf_htons(IP_OFFSET));
	} else if (ip[0] >> 4 == 6 && ip + 40 <= end) {
		key->ip_version = 6;
		protocol = ip[6];
		*offset = 40;
		__builtin_memcpy(source, ip + 8, 16);
		__builtin_memcpy(destination, ip + 24, 16);
		if (protocol != IPPROTO_UDP && protocol != IPPROTO_ICMPV6)
			protocol = packet_skip_extensions(skb, protocol, offset, &first);
	} else {
		return false;
	}
	key->protocol = protocol;
	if (protocol == IPPROTO_TCP)
		return false;
	if (!first ||
	    (protocol != IPPROTO_UDP && protocol != IPPROTO_ICMP && protocol != IPPROTO_ICMPV6 &&
	     protocol != IPPROTO_SCTP && protocol != IPPROTO_UDPLITE && protocol != IPPROTO_DCCP))
		return true;
	behind = ip + (*offset & 0xff);
	if (*offset <= 60 && behind + 4 <= end)
		*(u32 *)&head = *(const u32 *)behind;
	else if (bpf_skb_load_bytes(skb, *offset, &head, 4))
		return true; /* too short to have any */
	if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
		*icmp = head.bytes[0] << 8 | head.bytes[1];
		key->icmp = 1 + icmp_question(protocol, head.bytes[0]);
	} else {
		key->local_port = bpf_ntohs(head.ports[out ? 0 : 1]);
		key->remote_port = bpf_ntohs(head.ports[out ? 1 : 0]);
	}
	return true;
}

/* For the sampling: all packets of a flow have the same. */
static __always_inline u64 packet_seed(const struct packet_key *key)
{
	const u32 *remote = (const u32 *)key->remote;

	return key->cookie ^ ((u64)remote[0] << 32 | (remote[0] ^ remote[3])) ^
	       ((u64)key->remote_port << 40 | (u64)key->local_port << 16 | key->protocol);
}

/*
 * What leaves is seen behind the translation, what arrives is, too; a socket sees neither. One
 * that is connected says what it sees. (If it sends elsewhere by sendto() all the same,
 * that is told as sent to its peer: hence only where addresses are translated at all.)
 */
static __always_inline void packet_unmask(struct __sk_buff *skb, struct packet_key *key)
{
	u32 *local = (u32 *)key->local, *remote = (u32 *)key->remote;
	struct bpf_sock *sk = skb->sk;

	if (!sk || !sk->dst_port)
		return;
	if (key->ip_version == 4) {
		remote[0] = sk->dst_ip4;
		local[0] = sk->src_ip4;
	} else {
		remote[0] = sk->dst_ip6[0];
		remote[1] = sk->dst_ip6[1];
		remote[2] = sk->dst_ip6[2];
		remote[3] = sk->dst_ip6[3];
		local[0] = sk->src_ip6[0];
		local[1] = sk->src_ip6[1];
		local[2] = sk->src_ip6[2];
		local[3] = sk->src_ip6[3];
	}
	key->remote_port = bpf_ntohs((u16)sk->dst_port);
	key->local_port = (u16)sk->src_port;
}

static __always_inline struct packet_slot *slot_of(u64 near)
{
	u32 slot = (u32)near, turn = near >> 32;
	struct packet_slot *s = bpf_map_lookup_elem(&packet_slots, &slot);

	return s && s->turn == turn && turn & 1 ? s : NULL;
}

/* The socket's slot, when this is a datagram of the flow that has it. *offset: of its header. */
static __always_inline struct packet_slot *slot_find(struct __sk_buff *skb, struct bpf_sock *sk,
						     bool out, u32 *offset)
{
	const u8 *ip = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct packet_slot *s;
	const u16 *ports;
	u64 *near;

	near = bpf_sk_storage_get(&socket_slots, sk, NULL, 0);
	s = near ? slot_of(*near) : NULL;
	if (!s)
		return NULL;
	if (ip + 28 <= end && ip[0] == 0x45) {
		const u32 *addresses = (const u32 *)(ip + 12);

		if (ip[9] != IPPROTO_UDP || *(const u16 *)(ip + 6) & bpf_htons(IP_OFFSET) ||
		    s->key.ip_version != 4 || addresses[out ? 0 : 1] != *(u32 *)s->key.local ||
		    addresses[out ? 1 : 0] != *(u32 *)s->key.remote)
			return NULL;
		*offset = 20;
	} else if (ip + 48 <= end && ip[0] >> 4 == 6) {
		const u32 *local = (const u32 *)(ip + (out ? 8 : 24));
		const u32 *remote = (const u32 *)(ip + (out ? 24 : 8));
		const u32 *key_local = (const u32 *)s->key.local;
		const u32 *key_remote = (const u32 *)s->key.remote;

		if (ip[6] != IPPROTO_UDP || s->key.ip_version != 6)
			return NULL;
		for (int i = 0; i < 4; i++)
			if (local[i] != key_local[i] || remote[i] != key_remote[i])
				return NULL;
		*offset = 40;
	} else {
		return NULL;
	}
	ports = (const u16 *)(ip + *offset);
	return ports[out ? 0 : 1] == bpf_htons(s->key.local_port) &&
			       ports[out ? 1 : 0] == bpf_htons(s->key.remote_port)
		       ? s
		       : NULL;
}

static __always_inline u32 slot_number(u64 flow_id)
{
	return (u32)(flow_id * 0x9e3779b97f4a7c15ull >> 32) % PACKET_SLOTS;
}

/* A slot for a flow that goes on, unless its socket has one that another flow of it uses. */
static __always_inline void slot_take(struct bpf_sock *sk, const struct packet_key *key,
				      struct packet_flow *f)
{
	u32 slot = slot_number(f->id);
	struct packet_slot *s;
	u64 *near, id = f->id;
	u8 one = 1;

	near = bpf_sk_storage_get(&socket_slots, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!near || slot_of(*near))
		return;
	s = bpf_map_lookup_elem(&packet_slots, &slot);
	if (!s || bpf_map_update_elem(&packet_slots_taken, &slot, &one, BPF_NOEXIST))
		return;
	s->id = id;
	s->key = *key;
	f->slot = slot + 1;
	s->turn++;
	barrier_full(s);
	/* The sweep may just have told its end: then it, or nobody, takes the slot back. */
	if (bpf_map_lookup_elem(&packet_flows, key) == f && f->id == id)
		*near = (u64)s->turn << 32 | slot;
}

/* To whoever takes it next. Its turn is over already: nobody counts there any more. */
static __always_inline void slot_free(struct packet_slot *s, u32 slot)
{
	s->out_bytes = s->in_bytes = s->out_packets = s->in_packets = 0;
	s->last_ns = s->tick = 0;
	bpf_map_delete_elem(&packet_slots_taken, &slot);
}

/* That of a flow which is no longer in the table, if it was taken while it went. */
static __always_inline void slot_free_late(u64 flow_id)
{
	u32 slot = slot_number(flow_id);
	struct packet_slot *s = bpf_map_lookup_elem(&packet_slots, &slot);

	if (!s)
		return;
	barrier_full(s);
	if (s->id != flow_id || !(s->turn & 1))
		return;
	s->turn++;
	slot_free(s, slot);
}

static __always_inline struct packet_slot *slot_of_flow(const struct packet_flow *f)
{
	u32 slot = f->slot - 1;

	return f->slot ? bpf_map_lookup_elem(&packet_slots, &slot) : NULL;
}

/* The flow's own and its slot's. */
struct packet_sums {
	u64 out_bytes, in_bytes, out_packets, in_packets, last_ns;
};

static __always_inline void packet_sum(const struct packet_flow *f, struct packet_sums *ret)
{
	const struct packet_slot *s = slot_of_flow(f);

	ret->out_bytes = f->out_bytes + (s ? s->out_bytes : 0);
	ret->in_bytes = f->in_bytes + (s ? s->in_bytes : 0);
	ret->out_packets = f->out_packets + (s ? s->out_packets : 0);
	ret->in_packets = f->in_packets + (s ? s->in_packets : 0);
	ret->last_ns = s && s->last_ns > f->last_ns ? s->last_ns : f->last_ns;
}

/* What the slot has counted goes to its flow. */
static __always_inline void slot_give_back(struct packet_flow *f)
{
	struct packet_slot *s = slot_of_flow(f);
	struct packet_sums sums;
	u32 slot = f->slot - 1;

	if (!s)
		return;
	s->turn++;
	packet_sum(f, &sums);
	f->out_bytes = sums.out_bytes;
	f->in_bytes = sums.in_bytes;
	f->out_packets = sums.out_packets;
	f->in_packets = sums.in_packets;
	f->last_ns = sums.last_ns;
	f->slot = 0;
	slot_free(s, slot);
}

static __always_inline u64 mix(u64 h, u64 word)
{
	h = (h ^ word) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 32;
}

static __always_inline bool is_refused_anew(const struct packet_key *key)
{
	const u64 *words = (const u64 *)key;
	u64 h = 0, *there;
	u32 slot;

	for (u32 i = 0; i < sizeof(*key) / 8; i++)
		h = mix(h, words[i]);
	slot = (u32)h % REFUSED_SLOTS;
	there = bpf_map_lookup_elem(&packet_refused, &slot);
	if (!there || *there == h)
		return false;
	*there = h;
	return true;
}

static __always_inline struct flood *flood_find(struct flood_key *key, u64 now)
{
	struct flood *f = bpf_map_lookup_elem(&packet_floods, key);
	struct flood fresh = {};

	if (f)
		return f;
	fresh.start_ns = fresh.last_ns = now;
	bpf_map_update_elem(&packet_floods, key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&packet_floods, key);
}

/* The table of flows is full. The packet is counted all the same, with those of its origin. */
static __always_inline void packet_refuse(const struct packet_key *key, bool out, u64 bytes,
					  u64 packets, u64 now)
{
	struct flood_key network = { .ip_version = key->ip_version,
				     .protocol = key->protocol,
				     .direction = out ? FLOW_OUT : FLOW_IN };
	const u32 *from = (const u32 *)(out ? key->local : key->remote);
	bool anew = is_refused_anew(key);
	struct flood *f;

	if (key->ip_version == 4) {
		network.prefix_len = FLOOD_PREFIX_V4;
		network.address[0] = from[0] & bpf_htonl(0xffffff00);
	} else {
		network.prefix_len = FLOOD_PREFIX_V6;
		network.address[0] = from[0];
		network.address[1] = from[1] & bpf_htonl(0xffff0000);
	}
	if (anew) {
		count(COUNT_SEEN);
		lost(COUNT_NO_ROOM);
	}
	count_add(COUNT_SUMMED_PACKETS, packets);
	count_add(COUNT_SUMMED_BYTES, bytes);
	f = flood_find(&network, now);
	if (!f) {
		network.prefix_len = 0;
		network.protocol = 0;
		network.address[0] = network.address[1] = 0;
		f = bpf_map_lookup_elem(&packet_floods, &network);
		if (!f)
			return; /* user space made it */
	}
	if (!f->start_ns)
		f->start_ns = now;
	__sync_fetch_and_add(&f->packets, packets);
	__sync_fetch_and_add(&f->bytes, bytes);
	if (anew)
		__sync_fetch_and_add(&f->flows, 1);
	f->last_ns = now;
}

/* Who names flows: of the names object. What is not there is not called. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} egress_calls SEC(".maps"), ingress_calls SEC(".maps");

/* A busy flow's clock is read once a tick. */
static __always_inline void packet_note_time(u64 *last_ns, u64 *last_tick)
{
	u64 tick = bpf_jiffies64();

	if (*last_tick != tick) {
		*last_ns = bpf_ktime_get_boot_ns();
		*last_tick = tick;
	}
}

/* What is counted for a packet that may be a GSO one. *bytes: of the one that is there. */
static __always_inline u64 packet_segments(struct __sk_buff *skb, u32 headers, u64 *bytes)
{
	u64 packets = skb->gso_segs ? skb->gso_segs : 1;

	/* Each segment after the first brings its own headers. */
	*bytes = skb->len + (packets - 1) * headers;
	return packets;
}

#define COUNT_PACKETS(to, out, bytes, packets)                                                     \
	do {                                                                                       \
		if (out) {                                                                         \
			__sync_fetch_and_add(&(to)->out_bytes, bytes);                             \
			__sync_fetch_and_add(&(to)->out_packets, packets);                         \
		} else {                                                                           \
			__sync_fetch_and_add(&(to)->in_bytes, bytes);                              \
			__sync_fetch_and_add(&(to)->in_packets, packets);                          \
		}                                                                                  \
	} while (0)

/* True: it may name something. */
static __always_inline bool packet_count(struct __sk_buff *skb, bool out)
{
	struct bpf_sock *sk = skb->sk ? bpf_sk_fullsock(skb->sk) : NULL;
	struct packet_key key = {};
	u64 now, bytes, packets;
	struct packet_slot *s;
	struct packet_flow *f;
	bool may_name = false;
	u32 offset = 0;
	u16 icmp = 0;

	/* Where addresses are translated, the headers are not what the flow is known by. */
	s = sk && !tunables.nat ? slot_find(skb, sk, out, &offset) : NULL;
	if (s) {
		packets = packet_segments(skb, offset + UDP_HEADER, &bytes);
		COUNT_PACKETS(s, out, bytes, packets);
		packet_note_time(&s->last_ns, &s->tick);
		return datagram_may_name(bpf_htons(out ? s->key.local_port : s->key.remote_port),
					 bpf_htons(out ? s->key.remote_port : s->key.local_port),
					 skb->len - offset - UDP_HEADER, out);
	}
	if (!packet_parse(skb, &key, out, &icmp, &offset))
		return false;
	if (key.protocol == IPPROTO_UDP)
		may_name = datagram_may_name(bpf_htons(out ? key.local_port : key.remote_port),
					     bpf_htons(out ? key.remote_port : key.local_port),
					     skb->len - offset - UDP_HEADER, out);
	if (!tunables.nat && !tunables.loopback &&
	    is_local_pair(key.ip_version, (u32 *)key.local, (u32 *)key.remote)) {
		count(COUNT_SEEN);
		count(COUNT_FILTERED);
		return may_name;
	}
	if (tunables.nat && out && key.protocol == IPPROTO_UDP)
		packet_unmask(skb, &key);
	key.cookie = bpf_get_socket_cookie(skb);
	/* The kernel answers from a socket of each CPU: one flow all the same. */
	if (out && key.icmp && icmp_is_answer(key.protocol, icmp >> 8) &&
	    !bpf_map_lookup_elem(&socket_owners, &key.cookie))
		key.cookie = 0;
	packets = packet_segments(
		skb, offset + (key.protocol == IPPROTO_SCTP ? SCTP_HEADER : UDP_HEADER), &bytes);

	f = bpf_map_lookup_elem(&packet_flows, &key);
	if (!f) {
		struct packet_flow fresh = {};
		bool wanted = true;

		now = bpf_ktime_get_boot_ns();
		if (is_local_pair(key.ip_version, (u32 *)key.local, (u32 *)key.remote)) {
			fresh.flags = FLOW_LOOPBACK;
			wanted = tunables.loopback;
		}
		if (wanted && tunables.filter)
			wanted = filter_allows(key.ip_version, key.protocol,
					       out ? FLOW_OUT : FLOW_IN, (u32 *)key.local,
					       (u32 *)key.remote, key.local_port, key.remote_port);
		if (!wanted || !filter_samples(packet_seed(&key))) {
			count(COUNT_SEEN);
			count(COUNT_FILTERED);
			return may_name;
		}
		fresh.id = flow_new_id(now);
		fresh.start_ns = fresh.from_ns = fresh.last_ns = now;
		fresh.direction = out ? FLOW_OUT : FLOW_IN;
		fresh.ifindex = skb->ifindex;
		fresh.icmp_type_code = icmp;
		/* When another CPU was first its entry is the one, and already counted. */
		if (!bpf_map_update_elem(&packet_flows, &key, &fresh, BPF_NOEXIST))
			count(COUNT_SEEN);
		f = bpf_map_lookup_elem(&packet_flows, &key);
		if (!f) {
			packet_refuse(&key, out, bytes, packets, now);
			return may_name;
		}
	} else if (sk && key.protocol == IPPROTO_UDP && !f->slot && !tunables.nat) {
		slot_take(sk, &key, f);
	}
	COUNT_PACKETS(f, out, bytes, packets);
	packet_note_time(&f->last_ns, &f->tick);
	return may_name;
}

/*
 * Each packet of TCP comes by here, too: no call and no lookup for most of them. The
 * IP header is always in the linear part when a cgroup program runs.
 */
static __always_inline bool packet_look(struct __sk_buff *skb, bool out)
{
	const u8 *ip = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (ip + 20 <= end) {
		if (ip[0] >> 4 == 4 && ip[9] == IPPROTO_TCP)
			return segment_may_name(skb, ip, end, (ip[0] & 15) * 4, out);
		if (ip[0] >> 4 == 6 && ip[6] == IPPROTO_TCP)
			return segment_may_name(skb, ip, end, 40, out);
	}
	return packet_count(skb, out);
}

SEC("cgroup_skb/egress")
int packet_egress(struct __sk_buff *skb)
{
	if (packet_look(skb, true))
		bpf_tail_call(skb, &egress_calls, 0);
	return 1;
}

SEC("cgroup_skb/ingress")
int packet_ingress(struct __sk_buff *skb)
{
	if (packet_look(skb, false))
		bpf_tail_call(skb, &ingress_calls, 0);
	return 1;
}

SEC("cgroup/sock_create")
int packet_socket(struct bpf_sock *sk)
{
	struct event_task t = {};
	u64 cookie;

	if (sk->type == SOCK_STREAM)
		return 1;
	task_current_untyped(&t);
	cookie = bpf_get_socket_cookie(sk);
	bpf_map_update_elem(&socket_owners, &cookie, &t, BPF_ANY);
	return 1;
}

SEC("iter/bpf_map_elem")
int packet_sweep(struct bpf_iter__bpf_map_elem *ctx)
{
	struct packet_key *keyp = ctx->key, key;
	struct event_task *owner;
	struct packet_sums sums;
	struct packet_flow *f;
	struct event_flow *e;
	bool wanted;
	u64 now;
	u8 end;

	if (!keyp)
		return 0;
	__builtin_memcpy(&key, keyp, sizeof(key));
	f = bpf_map_lookup_elem(&packet_flows, &key);
	if (!f)
		return 0;
	if (tunables.give_back) {
		slot_give_back(f);
		return 0;
	}
	packet_sum(f, &sums);
	now = bpf_ktime_get_boot_ns();
	due_at(sums.last_ns + tunables.idle_ns);
	due_at(f->from_ns + tunables.active_ns);
	if (tunables.flush) {
		end = FLOW_END_FORCED;
	} else if (now - sums.last_ns > tunables.idle_ns && now > sums.last_ns) {
		/* Idle at two sweeps: a packet that is just being counted is not lost. */
		if (!f->ending) {
			f->ending = 1;
			return 0;
		}
		end = FLOW_END_IDLE;
	} else if (now - f->from_ns > tunables.active_ns) {
		f->ending = 0;
		end = FLOW_END_ACTIVE;
	} else {
		f->ending = 0;
		return 0;
	}

	e = bpf_ringbuf_reserve(&flow_ring, sizeof(*e), 0);
	if (!e) {
		count(COUNT_REPORTS_RING_FULL);
		return 0; /* it stays, and the next sweep tries again */
	}
	e->h.type = EVENT_FLOW;
	e->h.pad = 0;
	e->h.size = sizeof(*e);
	e->h.boot_ns = now;
	e->id = f->id;
	e->start_ns = f->start_ns;
	e->from_ns = f->report ? f->from_ns : f->start_ns;
	if (end != FLOW_END_ACTIVE) {
		slot_give_back(f);
		packet_sum(f, &sums);
	}
	e->last_ns = sums.last_ns;
	e->out_total = sums.out_bytes;
	e->in_total = sums.in_bytes;
	e->out_bytes = e->out_total - f->rep_out_bytes;
	e->in_bytes = e->in_total - f->rep_in_bytes;
	e->out_packets = sums.out_packets - f->rep_out_packets;
	e->in_packets = sums.in_packets - f->rep_in_packets;
	f->rep_out_bytes += e->out_bytes;
	f->rep_in_bytes += e->in_bytes;
	f->rep_out_packets += e->out_packets;
	f->rep_in_packets += e->in_packets;
	owner = bpf_map_lookup_elem(&socket_owners, &key.cookie);
	if (owner) {
		e->opener = *owner;
		e->user = *owner;
	} else {
		__builtin_memset(&e->opener, 0, sizeof(e->opener));
		__builtin_memset(&e->user, 0, sizeof(e->user));
	}
	__builtin_memcpy(e->local, key.local, sizeof(e->local));
	__builtin_memcpy(e->remote, key.remote, sizeof(e->remote));
	e->local_port = key.local_port;
	e->remote_port = key.remote_port;
	e->icmp_type_code = f->icmp_type_code;
	e->ip_version = key.ip_version;
	e->protocol = key.protocol;
	e->direction = f->direction;
	e->end_reason = end;
	e->tcp_flags = 0;
	e->tcp_state = 0;
	e->flags =
		f->flags | (f->report ? 0 : FLOW_FIRST) | (end == FLOW_END_ACTIVE ? 0 : FLOW_LAST);
	e->error = 0;
	e->ifindex = f->ifindex;
	e->netns = f->netns;
	e->retransmits = 0;
	e->srtt_us = 0;
	e->report = f->report++;
	e->unacknowledged = 0;
	f->from_ns = now;
	wanted = filter_allows_owner(e);
	if (end == FLOW_END_ACTIVE) {
		if (wanted)
			count(COUNT_REPORTS);
	} else {
		bpf_map_delete_elem(&packet_flows, &key);
		slot_free_late(e->id);
		count(wanted ? COUNT_SUBMITTED : COUNT_FILTERED);
	}
	if (wanted)
		bpf_ringbuf_submit(e, wake_flags(&flow_ring, sizeof(*e)));
	else
		bpf_ringbuf_discard(e, BPF_RB_NO_WAKEUP);
	return 0;
}

/* As packet_sweep, for what is summed up: one sample for each window. */
SEC("iter/bpf_map_elem")
int flood_sweep(struct bpf_iter__bpf_map_elem *ctx)
{
	struct flood_key *keyp = ctx->key, key;
	struct event_flood *e;
	struct flood *f;
	bool idle;
	u64 now;

	if (!keyp)
		return 0;
	__builtin_memcpy(&key, keyp, sizeof(key));
	f = bpf_map_lookup_elem(&packet_floods, &key);
	if (!f)
		return 0;
	now = bpf_ktime_get_boot_ns();
	idle = now > f->last_ns && now - f->last_ns > tunables.idle_ns;
	if (f->packets == f->rep_packets) {
		/* Told, and idle at two sweeps: a packet that is just being counted is not lost. */
		if (!idle || !key.prefix_len)
			return 0;
		if (f->ending)
			bpf_map_delete_elem(&packet_floods, &key);
		else
			f->ending = 1;
		return 0;
	}
	f->ending = 0;
	due_at(f->last_ns + tunables.idle_ns);
	due_at(f->start_ns + tunables.active_ns);
	if (!tunables.flush && !idle && now - f->start_ns <= tunables.active_ns)
		return 0;
	e = bpf_ringbuf_reserve(&flow_ring, sizeof(*e), 0);
	if (!e) {
		count(COUNT_REPORTS_RING_FULL);
		return 0;
	}
	e->h.type = EVENT_FLOOD;
	e->h.pad = 0;
	e->h.size = sizeof(*e);
	e->h.boot_ns = now;
	e->start_ns = f->start_ns;
	e->last_ns = f->last_ns;
	e->packets = f->packets - f->rep_packets;
	e->bytes = f->bytes - f->rep_bytes;
	e->flows = f->flows - f->rep_flows;
	f->rep_packets += e->packets;
	f->rep_bytes += e->bytes;
	f->rep_flows += e->flows;
	f->start_ns = f->packets == f->rep_packets ? 0 : now;
	__builtin_memcpy(&e->source, &key, sizeof(e->source));
	bpf_ringbuf_submit(e, wake_flags(&flow_ring, sizeof(*e)));
	return 0;
}

/*
 * Walks the flows of the capture before ours, whose programs are gone. One that
 * has gone on meanwhile is both: theirs by name and history, and the sum.
 */
SEC("iter/bpf_map_elem")
int packet_take_over(struct bpf_iter__bpf_map_elem *ctx)
{
	struct packet_key *keyp = ctx->key, key;
	struct packet_flow theirs = {}, *ours, *there;
	u32 zero = 0, size = packet_before_size;
	void *table;

	if (!keyp)
		return 0;
	__builtin_memcpy(&key, keyp, sizeof(key));
	table = bpf_map_lookup_elem(&packet_before, &zero);
	if (!table)
		return 0;
	there = bpf_map_lookup_elem(table, &key);
	if (!there)
		return 0;
	if (size > sizeof(theirs))
		size = sizeof(theirs);
	if (bpf_probe_read_kernel(&theirs, size, there))
		return 0;
	theirs.slot = 0; /* given back, and never one of ours */
	if (bpf_map_update_elem(&packet_flows, &key, &theirs, BPF_NOEXIST)) {
		ours = bpf_map_lookup_elem(&packet_flows, &key);
		if (!ours)
			return 0; /* no room: theirs is reported as it is */
		__sync_fetch_and_add(&ours->out_bytes, theirs.out_bytes);
		__sync_fetch_and_add(&ours->in_bytes, theirs.in_bytes);
		__sync_fetch_and_add(&ours->out_packets, theirs.out_packets);
		__sync_fetch_and_add(&ours->in_packets, theirs.in_packets);
		ours->rep_out_bytes = theirs.rep_out_bytes;
		ours->rep_in_bytes = theirs.rep_in_bytes;
		ours->rep_out_packets = theirs.rep_out_packets;
		ours->rep_in_packets = theirs.rep_in_packets;
		ours->id = theirs.id;
		ours->start_ns = theirs.start_ns;
		ours->from_ns = theirs.from_ns;
		ours->report = theirs.report;
		ours->direction = theirs.direction;
		ours->icmp_type_code = theirs.icmp_type_code;
		count_back(COUNT_SEEN); /* it was seen once */
	}
	bpf_map_delete_elem(table, &key);
	return 0;
}

/* For people who look, as tcp_show. */
SEC("iter/bpf_map_elem")
int packet_show(struct bpf_iter__bpf_map_elem *ctx)
{
	struct packet_key *keyp = ctx->key, key;
	struct event_task *owner;
	struct event_flow e = {};
	struct packet_sums sums;
	struct packet_flow *f;

	if (!keyp)
		return 0;
	__builtin_memcpy(&key, keyp, sizeof(key));
	f = bpf_map_lookup_elem(&packet_flows, &key);
	if (!f)
		return 0;
	e.h.type = EVENT_FLOW;
	e.h.size = sizeof(e);
	e.h.boot_ns = bpf_ktime_get_boot_ns();
	e.id = f->id;
	e.start_ns = f->start_ns;
	e.from_ns = f->report ? f->from_ns : f->start_ns;
	packet_sum(f, &sums);
	e.last_ns = sums.last_ns;
	e.out_total = sums.out_bytes;
	e.in_total = sums.in_bytes;
	e.out_bytes = e.out_total - f->rep_out_bytes;
	e.in_bytes = e.in_total - f->rep_in_bytes;
	e.out_packets = sums.out_packets - f->rep_out_packets;
	e.in_packets = sums.in_packets - f->rep_in_packets;
	owner = bpf_map_lookup_elem(&socket_owners, &key.cookie);
	if (owner) {
		e.opener = *owner;
		e.user = *owner;
	}
	__builtin_memcpy(e.local, key.local, sizeof(e.local));
	__builtin_memcpy(e.remote, key.remote, sizeof(e.remote));
	e.local_port = key.local_port;
	e.remote_port = key.remote_port;
	e.icmp_type_code = f->icmp_type_code;
	e.ip_version = key.ip_version;
	e.protocol = key.protocol;
	e.direction = f->direction;
	e.end_reason = FLOW_END_ACTIVE;
	e.flags = f->flags | (f->report ? 0 : FLOW_FIRST);
	e.ifindex = f->ifindex;
	e.netns = f->netns;
	e.report = f->report;
	if (filter_allows_owner(&e))
		bpf_seq_write(ctx->meta->seq, &e, sizeof(e));
	return 0;
}
