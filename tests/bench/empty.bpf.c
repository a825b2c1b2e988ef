/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Programs that do nothing, where ours for flows are: what the hooks themselves cost, and so what
 * nobody who uses them can be cheaper than. Nothing of it is in the product.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("cgroup_skb/egress")
int empty_egress(struct __sk_buff *skb)
{
	(void)skb;
	return 1;
}

SEC("cgroup_skb/ingress")
int empty_ingress(struct __sk_buff *skb)
{
	(void)skb;
	return 1;
}

SEC("tp_btf/inet_sock_set_state")
int empty_state(void *ctx)
{
	(void)ctx;
	return 0;
}

SEC("tp_btf/tcp_destroy_sock")
int empty_destroy(void *ctx)
{
	(void)ctx;
	return 0;
}

SEC("tp_btf/tcp_rcv_space_adjust")
int empty_reader(void *ctx)
{
	(void)ctx;
	return 0;
}
