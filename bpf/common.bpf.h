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
static __always_inline void count_add(u32 which, u64 n)
{
	u64 *c = bpf_map_lookup_elem(&counters, &which);

	if (c)
		__sync_fetch_and_add(c, n);
}

static __always_inline void count(u32 which)
{
	count_add(which, 1);
}

/* What was counted is the other capture's to count. */
static __always_inline void count_back(u32 which)
{
	u64 *c = bpf_map_lookup_elem(&counters, &which);

	if (c)
		__sync_fetch_and_add(c, -1);
}

/* enum carried in events.h; user space alone writes it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CARRIED_COUNTERS + COUNTERS);
	__type(key, u32);
	__type(value, u64);
} carried SEC(".maps");

/* By enum counter: those of losses. The least and the greatest of all CPUs are what counts. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, u32);
	__type(value, struct loss_window);
} losses SEC(".maps");

/*
 * Counts, and notes when. The clock is read on this path alone. Whoever is
 * interrupted here by another loss is off by as long as that takes.
 */
static __always_inline void count_loss(u32 which, u64 epoch)
{
	struct loss_window *w = bpf_map_lookup_elem(&losses, &which);
	u64 now = bpf_ktime_get_boot_ns();

	if (w) {
		u32 half = epoch & 1;

		if (w->half[half].epoch != epoch || !w->half[half].first_ns) {
			w->half[half].first_ns = now;
			w->half[half].epoch = epoch;
		}
		w->half[half].last_ns = now;
	}
	count(which);
}

/* xadd is a full barrier on x86 and all that 5.10's instruction set has. */
#define barrier_full(f) __sync_fetch_and_add(&(f)->barriers, 1)

/*
 * A wake-up costs over a microsecond, so the reader is woken each time that
 * this much more waits; for less it looks by itself, several times a second. One that has
 * found nothing for a while says that it sleeps, and is woken by the next sample.
 */
#define WAKE_BYTES (256 * 1024)

/* For a sample of this size that is reserved already. */
#define wake_flags(ring, size) wake_flags_for(ring, size, &tunables.asleep)

static __always_inline u64 wake_flags_for(void *ring, u32 size, u32 *asleep)
{
	u64 waiting;

	if (*asleep) {
		*asleep = 0;
		return BPF_RB_FORCE_WAKEUP;
	}
	waiting = bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA);
	if (waiting < WAKE_BYTES || (waiting & (WAKE_BYTES - 1)) >= size + BPF_RINGBUF_HDR_SZ)
		return BPF_RB_NO_WAKEUP;
	return BPF_RB_FORCE_WAKEUP;
}

/*
 * Who runs now. Only from process context: in a softirq current is an accident.
 * The typed pointer (5.11) is read directly, which is several times cheaper.
 */
static __always_inline void task_current(struct event_task *t)
{
	u64 ids = bpf_get_current_uid_gid();
	struct task_struct *leader;

	t->cgroup_id = bpf_get_current_cgroup_id();
	t->tgid = bpf_get_current_pid_tgid() >> 32;
	t->uid = (u32)ids;
	t->gid = ids >> 32;
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)) {
		struct task_struct *task = bpf_get_current_task_btf();

		leader = task->group_leader;
		t->start_ns = leader->start_boottime;
		t->ppid = task->real_parent->tgid;
	} else {
		struct task_struct *task = (struct task_struct *)bpf_get_current_task();

		leader = BPF_CORE_READ(task, group_leader);
		t->start_ns = BPF_CORE_READ(leader, start_boottime);
		t->ppid = BPF_CORE_READ(task, real_parent, tgid);
	}
	BPF_CORE_READ_INTO(&t->comm, leader, comm);
}

/* Of any task. */
static __always_inline void task_read(struct event_task *t, struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	t->start_ns = BPF_CORE_READ(leader, start_boottime);
	t->cgroup_id = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	t->tgid = BPF_CORE_READ(task, tgid);
	t->uid = BPF_CORE_READ(task, cred, uid.val);
	t->gid = BPF_CORE_READ(task, cred, gid.val);
	t->ppid = BPF_CORE_READ(task, real_parent, tgid);
	BPF_CORE_READ_INTO(&t->comm, leader, comm);
}

/* The same where typed pointers are not to be had: in cgroup programs. */
static __always_inline void task_current_untyped(struct event_task *t)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
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
