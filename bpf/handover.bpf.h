/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * How two captures share the events of a handover (user/handover.c tells the
 * whole story). Include it behind the object's tunables.
 */
#pragma once

/*
 * What the older capture has seen to and the newer one has not yet passed by:
 * one map for both. A key names an event among those that can be under way at once:
 * a socket, whose events come one after the other, or a thread.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, u8);
} marks SEC(".maps");

/* This event is ours, done or not worth it: whoever runs behind us leaves it alone. */
static __always_inline void handover_leave_mark(u64 key)
{
	u8 one = 1;

	bpf_map_update_elem(&marks, &key, &one, BPF_ANY);
}

/* The same, when we are the older one. */
static __always_inline void handover_mark(u64 key)
{
	if (tunables.capture.marking)
		handover_leave_mark(key);
}

/* We are the newer one: has the older one seen to this event, which ran just before us? */
static __always_inline bool handover_is_others(u64 key)
{
	u32 before = *(volatile u32 *)&tunables.capture.before;
	bool marked;

	if (before < BEFORE_MARKED)
		return false;
	marked = !bpf_map_delete_elem(&marks, &key);
	return marked || before == BEFORE_ALL;
}
