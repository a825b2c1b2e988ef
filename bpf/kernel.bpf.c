/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Kernel events: what processes do, from tracepoints that fire once for it. Each
 * class is a program or more, attached when it is wanted; the ring is theirs
 * alone. What an event means is for user space to say.
 */
#include "vmlinux.h"

#include "bpf/common.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20); /* ring.events */
} events_ring SEC(".maps");

struct events_tunables tunables;

#include "bpf/handover.bpf.h"

static __always_inline void lost(u32 which)
{
	count_loss(which, tunables.loss_epoch);
}

/*
 * The key of an event for a handover: those that can be under way at once differ. A
 * thread is in one exec, exit or system call at a time; what interrupts it has
 * another kind.
 */
static __always_inline u64 event_key(u32 kind, u64 thread)
{
	return (u64)kind << 56 ^ thread;
}

/* True when it is ours to tell. Counted, and marked for a newer capture. */
static __always_inline bool event_begin(u64 key)
{
	if (handover_is_others(key))
		return false;
	count(COUNT_SEEN);
	handover_mark(key);
	return true;
}

static __always_inline void task_parent(struct task_struct *task, u64 *start_ns, char *comm)
{
	struct task_struct *parent = BPF_CORE_READ(task, real_parent, group_leader);

	*start_ns = BPF_CORE_READ(parent, start_boottime);
	bpf_core_read(comm, EVENT_COMM_SIZE, &parent->comm);
}

#include "bpf/kernel_action.bpf.h"
#include "bpf/kernel_process.bpf.h"
