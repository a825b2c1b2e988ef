/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What a flow collector at the traffic-control hooks does at the least: it reads the
 * headers of each packet, and adds it to its flow in a table. No process, no
 * DNS, no TLS. A peer to be measured beside; nothing of it is in the product.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct flow_key {
	__u8 source[16], destination[16];
	__u16 source_port, destination_port;
	__u32 ifindex;
	__u8 protocol, is_egress;
	__u16 pad;
};

struct flow {
	__u64 first_ns, last_ns, bytes, packets;
	__u64 tcp_flags;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow_key);
	__type(value, struct flow);
} tc_flow_table SEC(".maps");

static int read_headers(struct __sk_buff *skb, struct flow_key *key, __u8 *tcp_flags)
{
	__u32 at = sizeof(struct ethhdr);

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) < 0)
			return -1;
		__builtin_memcpy(key->source + 12, &ip.saddr, 4);
		__builtin_memcpy(key->destination + 12, &ip.daddr, 4);
		key->protocol = ip.protocol;
		at += ip.ihl * 4;
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) < 0)
			return -1;
		__builtin_memcpy(key->source, &ip.saddr, 16);
		__builtin_memcpy(key->destination, &ip.daddr, 16);
		key->protocol = ip.nexthdr;
		at += sizeof(ip);
	} else {
		return -1;
	}
	if (key->protocol == IPPROTO_TCP || key->protocol == IPPROTO_UDP)
		bpf_skb_load_bytes(skb, at, &key->source_port, 4);
	if (key->protocol == IPPROTO_TCP)
		bpf_skb_load_bytes(skb, at + 13, tcp_flags, 1);
	return 0;
}

static int count(struct __sk_buff *skb, __u8 is_egress)
{
	struct flow_key key = { .ifindex = skb->ifindex, .is_egress = is_egress };
	struct flow *flow, fresh = { 0 };
	__u64 now = bpf_ktime_get_ns();
	__u8 tcp_flags = 0;

	if (read_headers(skb, &key, &tcp_flags) < 0)
		return TC_ACT_PIPE;
	flow = bpf_map_lookup_elem(&tc_flow_table, &key);
	if (flow) {
		__sync_fetch_and_add(&flow->bytes, skb->len);
		__sync_fetch_and_add(&flow->packets, 1);
		flow->tcp_flags |= tcp_flags;
		flow->last_ns = now;
		return TC_ACT_PIPE;
	}
	fresh.first_ns = fresh.last_ns = now;
	fresh.bytes = skb->len;
	fresh.packets = 1;
	fresh.tcp_flags = tcp_flags;
	bpf_map_update_elem(&tc_flow_table, &key, &fresh, BPF_ANY);
	return TC_ACT_PIPE;
}

SEC("tc")
int tc_ingress(struct __sk_buff *skb)
{
	return count(skb, 0);
}

SEC("tc")
int tc_egress(struct __sk_buff *skb)
{
	return count(skb, 1);
}
