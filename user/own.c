/* SPDX-License-Identifier: Apache-2.0 */
#include "user/own.h"

void own_add(struct own *o, uint32_t pid, uint64_t from_ns, uint64_t to_ns)
{
	uint32_t at = o->n++ % OWN_MAX;

	o->list[at].pid = pid;
	o->list[at].from_ns = from_ns;
	o->list[at].to_ns = to_ns;
}

bool own_has(const struct own *o, const struct task_ref *task)
{
	if (!task->pid || !task->start_ns)
		return false;
	for (int i = 0; i < OWN_MAX; i++)
		if (o->list[i].pid == task->pid && task->start_ns >= o->list[i].from_ns &&
		    task->start_ns <= o->list[i].to_ns)
			return true;
	return false;
}

bool own_is_of(const struct own *o, const struct task_ref *task)
{
	return task->pid &&
	       (task->pid == o->collector || task->ppid == o->collector || own_has(o, task));
}

/*
 * A number that was ours may be another's now: of those that ended only the last
 * one is believed, whose lines may still be in the ring.
 */
bool own_has_pid(const struct own *o, uint32_t pid)
{
	if (!pid)
		return false;
	if (pid == o->collector)
		return true;
	for (uint32_t back = 1; back <= 2 && back <= o->n; back++)
		if (o->list[(o->n - back) % OWN_MAX].pid == pid)
			return true;
	return false;
}
