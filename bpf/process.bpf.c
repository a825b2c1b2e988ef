/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Remembers what each process executed, so that a flow or a log line of a
 * process that is long gone still gets its executable and arguments. The least
 * recently used are forgotten; for those that live, /proc knows better.
 *
 * The same of the cgroups that are made: one that lasted for a moment has no path any more
 * when somebody asks which unit or container its number was.
 */
#include "vmlinux.h"

#include "bpf/common.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, u32);
	__type(value, struct process_exec_info);
} processes SEC(".maps");

/* Too large for the stack; a task is not preempted inside of a tracepoint. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct process_exec_info);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, struct process_cgroup);
} cgroups SEC(".maps");

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm)
{
	struct process_exec_info *info;
	unsigned long from, to;
	u32 zero = 0, tgid = task->tgid;
	u64 len;

	count(COUNT_SEEN);
	info = bpf_map_lookup_elem(&scratch, &zero);
	if (!info)
		return 0;
	info->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	info->ppid = BPF_CORE_READ(task, real_parent, tgid);
	if (bpf_probe_read_kernel_str(info->filename, sizeof(info->filename), bprm->interp) < 0)
		info->filename[0] = 0;
	from = BPF_CORE_READ(task, mm, arg_start);
	to = BPF_CORE_READ(task, mm, arg_end);
	len = to - from;
	if (len > sizeof(info->args))
		len = sizeof(info->args);
	if (bpf_probe_read_user(info->args, len, (void *)from))
		len = 0;
	info->args_len = len;
	if (bpf_map_update_elem(&processes, &tgid, info, BPF_ANY))
		count(COUNT_NO_ROOM);
	else
		count(COUNT_SUBMITTED);
	return 0;
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(process_cgroup, struct cgroup *cgroup, const char *path)
{
	struct process_cgroup value = {};
	int n;
	u64 id;

	/* Of v1's hierarchies the numbers mean other cgroups. */
	if (BPF_CORE_READ(cgroup, root, hierarchy_id))
		return 0;
	id = BPF_CORE_READ(cgroup, kn, id);
	/* The end of a path is what counts: one that does not fit is of no use. */
	n = bpf_probe_read_kernel_str(value.path, sizeof(value.path), path);
	if (n > 1 && n < (int)sizeof(value.path))
		bpf_map_update_elem(&cgroups, &id, &value, BPF_ANY);
	return 0;
}
