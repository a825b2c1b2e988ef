/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What every source shares: counters, the ring's wake-up policy, who is
 * running. Include it after vmlinux.h, once per object: each source is an
 * object of its own with maps of its own, so that one which a kernel refuses
 * does not take the others with it.
 */
#pragma once

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "bpf/events.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* enum counter in events.h; summed over CPUs by whoever reads it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, u32);
	__type(value, u64);
} counters SEC(".maps");

/* Atomic although it is per CPU: a softirq may interrupt us between load and store. */
static __always_inline void count(u32 which)
{
	u64 *c = bpf_map_lookup_elem(&counters, &which);

	if (c)
		__sync_fetch_and_add(c, 1);
}

/*
 * A wake-up costs over a microsecond, so the reader is woken when this much
 * waits; for what is less it looks by itself, several times a second.
 */
#define WAKE_BYTES (256 * 1024)

static __always_inline u64 wake_flags(void *ring)
{
	return bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) >= WAKE_BYTES ? BPF_RB_FORCE_WAKEUP
									: BPF_RB_NO_WAKEUP;
}

static __always_inline void task_fill(struct event_task *t, struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	u64 ids = bpf_get_current_uid_gid();

	t->start_ns = BPF_CORE_READ(leader, start_boottime);
	t->cgroup_id = bpf_get_current_cgroup_id();
	t->tgid = bpf_get_current_pid_tgid() >> 32;
	t->uid = (u32)ids;
	t->gid = ids >> 32;
	t->ppid = BPF_CORE_READ(task, real_parent, tgid);
	BPF_CORE_READ_INTO(&t->comm, leader, comm);
}

/* Who runs now. Only from process context: in a softirq current is an accident. */
static __always_inline void task_current(struct event_task *t)
{
	task_fill(t, (struct task_struct *)bpf_get_current_task());
}

static __always_inline bool is_v4_mapped(const u32 *a)
{
	return a[0] == 0 && a[1] == 0 && a[2] == bpf_htonl(0xffff);
}

/* Addresses of 16 bytes, IPv4 in the first four. */
static __always_inline bool is_local_pair(u8 ip_version, const u32 *local, const u32 *remote)
{
	if (ip_version == 4)
		return (remote[0] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) ||
		       remote[0] == local[0];
	return remote[0] == local[0] && remote[1] == local[1] && remote[2] == local[2] &&
	       remote[3] == local[3];
}
