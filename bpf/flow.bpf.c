/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Flows: TCP from the socket's own counters (flow_tcp.bpf.h), everything else
 * from its packets (flow_packet.bpf.h). One object, because they share the
 * ring. No flow state lives in user space: what is not reported yet is in the
 * tables here, so a collector may die at any time.
 */
#include "vmlinux.h"

#include "bpf/common.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20); /* ring.flows */
} flow_ring SEC(".maps");

struct flow_tunables tunables;

/* Of the values in the tables of the capture before ours. */
const volatile __u32 tcp_before_size, packet_before_size;

static __always_inline void lost(u32 which)
{
	count_loss(which, tunables.loss_epoch);
}

/* Of the sweep that runs: there is something to do again at that time. */
static __always_inline void due_at(u64 boot_ns)
{
	if (boot_ns < tunables.due_ns)
		tunables.due_ns = boot_ns;
}

/*
 * Unique on this host for 800 days: no CPU begins two flows within 16 ns. It
 * says nothing about kernel addresses, as a socket's would.
 */
static __always_inline u64 flow_new_id(u64 boot_ns)
{
	return ((u64)bpf_get_smp_processor_id() << 52) | ((boot_ns >> 4) & ((1ull << 52) - 1));
}

#include "bpf/handover.bpf.h"

#include "bpf/flow_filter.bpf.h"
#include "bpf/flow_packet.bpf.h"
#include "bpf/flow_tcp.bpf.h"
