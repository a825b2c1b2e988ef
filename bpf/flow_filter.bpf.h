/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Which flows are wanted. What addresses, ports, protocol and direction decide
 * is asked when a flow begins; who owns it, when it is reported, because that
 * is when it is known. tunables.filter has a bit for each list that is not
 * empty: one that is costs nothing.
 */
#pragma once

/* IPv4 as ::ffff:a.b.c.d, so that one trie has both. The longest match decides. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, FILTER_NETWORKS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct filter_network);
	__type(value, u32); /* enum filter_verdict */
} flow_networks SEC(".maps");

/* Two bitmaps of all ports: those that are wanted, those that are not. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * FILTER_PORT_WORDS);
	__type(key, u32);
	__type(value, u64);
} flow_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FILTER_OWNERS_MAX);
	__type(key, struct filter_owner);
	__type(value, u32); /* enum filter_verdict */
} flow_owners SEC(".maps");

static __always_inline u32 filter_network(u8 ip_version, const u32 *address)
{
	struct filter_network key = { .prefix_len = 128 };
	u32 *verdict;

	if (ip_version == 4) {
		key.address[2] = bpf_htonl(0xffff);
		key.address[3] = address[0];
	} else {
		__builtin_memcpy(key.address, address, sizeof(key.address));
	}
	verdict = bpf_map_lookup_elem(&flow_networks, &key);
	return verdict ? *verdict : 0;
}

static __always_inline bool filter_port(u32 port, u32 bitmap)
{
	u32 word = bitmap * FILTER_PORT_WORDS + port / 64;
	u64 *bits = bpf_map_lookup_elem(&flow_ports, &word);

	return bits && (*bits >> (port % 64) & 1);
}

/* RFC 1918, RFC 6598, RFC 4193, and what is of one link or one host. */
static __always_inline bool is_private(u8 ip_version, const u32 *address)
{
	u32 a = bpf_ntohl(address[0]);

	if (ip_version == 4)
		return a >> 24 == 10 || a >> 20 == 0xac1 || a >> 16 == 0xc0a8 ||
		       a >> 22 == 0x6440 >> 6 || a >> 16 == 0xa9fe || a >> 24 == 127;
	return a >> 25 == 0xfc >> 1 || a >> 22 == 0xfe80 >> 6 ||
	       (!address[0] && !address[1] && !address[2] && address[3] == bpf_htonl(1));
}

static __always_inline bool filter_allows(u8 ip_version, u8 protocol, u8 direction,
					  const u32 *local, const u32 *remote, u16 local_port,
					  u16 remote_port)
{
	u32 on = tunables.filter;

	if (on & FILTER_DIRECTION && direction != tunables.direction)
		return false;
	if (on & FILTER_PROTOCOLS && !(tunables.protocols[protocol >> 6] >> (protocol & 63) & 1))
		return false;
	if (on & FILTER_PRIVATE && is_private(ip_version, local) && is_private(ip_version, remote))
		return false;
	if (on & FILTER_NETWORKS) {
		u32 verdict =
			filter_network(ip_version, local) | filter_network(ip_version, remote);

		if (verdict & FILTER_UNWANTED)
			return false;
		if (on & FILTER_NETWORKS_ONLY && !(verdict & FILTER_WANTED))
			return false;
	}
	if (on & FILTER_PORTS) {
		if (filter_port(local_port, 1) || filter_port(remote_port, 1))
			return false;
		if (on & FILTER_PORTS_ONLY && !filter_port(local_port, 0) &&
		    !filter_port(remote_port, 0))
			return false;
	}
	return true;
}

static __always_inline u32 filter_owner(u32 kind, u64 first, u64 second)
{
	struct filter_owner key = { .kind = kind, .value = { first, second } };
	u32 *verdict = bpf_map_lookup_elem(&flow_owners, &key);

	return verdict ? *verdict : 0;
}

static __always_inline bool filter_verdict_allows(u32 verdict, bool only)
{
	return !(verdict & FILTER_UNWANTED) && (!only || verdict & FILTER_WANTED);
}

/* Who uses it; of an accepted flow that nobody has touched, who listens there. */
static __always_inline bool filter_allows_owner(const struct event_flow *e)
{
	const struct event_task *t = e->user.tgid ? &e->user : &e->opener;
	u32 on = tunables.filter;
	char comm[EVENT_COMM_SIZE];
	u64 words[2];
	bool ended = false;

	if (!(on & (FILTER_USERS | FILTER_COMMANDS | FILTER_CGROUPS)))
		return true;
	if (on & FILTER_USERS &&
	    !filter_verdict_allows(filter_owner(FILTER_USERS, t->uid, 0), on & FILTER_USERS_ONLY))
		return false;
	if (on & FILTER_CGROUPS &&
	    !filter_verdict_allows(filter_owner(FILTER_CGROUPS, t->cgroup_id, 0),
				   on & FILTER_CGROUPS_ONLY))
		return false;
	if (on & FILTER_COMMANDS) {
		/* Behind its end there may be the rest of an older name. */
		for (int i = 0; i < EVENT_COMM_SIZE; i++) {
			ended |= !t->comm[i];
			comm[i] = ended ? 0 : t->comm[i];
		}
		__builtin_memcpy(words, comm, sizeof(words));
		if (!filter_verdict_allows(filter_owner(FILTER_COMMANDS, words[0], words[1]),
					   on & FILTER_COMMANDS_ONLY))
			return false;
	}
	return true;
}

/* One flow in sample_rate; the same seed is always decided alike. */
static __always_inline bool filter_samples(u64 seed)
{
	u32 rate = tunables.sample_rate;

	return rate < 2 || (u32)(seed * 0x9e3779b97f4a7c15ull >> 32) % rate == 0;
}
