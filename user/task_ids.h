/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a process was when it executed its program, by its pid alone: for events whose source
 * names no more than that, of processes that are gone by then. Each pid has one place, which
 * it shares with others: the newest one is known. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "user/event.h"

#define TASK_IDS 4096

struct task_ids {
	struct {
		uint32_t pid, uid, gid, ppid; /* 0: none */
		uint64_t start_ns, cgroup_id;
	} rows[TASK_IDS];
};

static inline void task_ids_put(struct task_ids *t, const struct task_ref *task)
{
	__typeof__(t->rows[0]) *row = &t->rows[task->pid % TASK_IDS];

	row->pid = task->pid;
	row->uid = task->uid;
	row->gid = task->gid;
	row->ppid = task->ppid;
	row->start_ns = task->start_ns;
	row->cgroup_id = task->cgroup_id;
}

/* *ret is set when pid was known, and had begun before before_ns (CLOCK_BOOTTIME). */
static inline bool task_ids_find(const struct task_ids *t, uint32_t pid, uint64_t before_ns,
				 struct task_ref *ret)
{
	const __typeof__(t->rows[0]) *row = &t->rows[pid % TASK_IDS];

	if (!pid || row->pid != pid || row->start_ns > before_ns)
		return false;
	*ret = (struct task_ref){ .pid = pid,
				  .uid = row->uid,
				  .gid = row->gid,
				  .ppid = row->ppid,
				  .start_ns = row->start_ns,
				  .cgroup_id = row->cgroup_id };
	return true;
}
