/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Processes that begin a program, and that end. Threads are neither: an exec by a
 * thread takes its leader's place, and a process ends with its last thread.
 */
#pragma once

#define COMPONENTS 48 /* of a path; what is before them is cut */

/*
 * The sample is put together here, and copied into the ring with its exact size,
 * which a reservation must know beforehand. Per CPU: a program does not nest.
 */
struct exec_scratch {
	struct event_exec e;
	u8 data[3 * EVENT_PATH_MAX + EVENT_ARGS_MAX];
	char path[EVENT_PATH_MAX + 256]; /* is filled from its end; 256 for the verifier */
	/* Where it begins. In memory, so that old verifiers do not follow each value it may have.
	 */
	u32 path_at;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct exec_scratch);
} scratch SEC(".maps");

/*
 * An absolute path, as its own namespace sees it, right-aligned in s->path. Returns
 * where it begins; *cut when there is more before it.
 */
static __always_inline u32 path_walk(struct exec_scratch *s, struct vfsmount *mnt,
				     struct dentry *dentry, bool *cut)
{
	volatile u32 *path_at = &s->path_at;
	bool whole = false;
	u32 at;

	*path_at = EVENT_PATH_MAX;
	for (int i = 0; i < COMPONENTS; i++) {
		struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
		struct dentry *root = BPF_CORE_READ(mnt, mnt_root);
		const unsigned char *name;
		u32 len;

		if (dentry == root) {
			struct mount *m = (void *)mnt - bpf_core_field_offset(struct mount, mnt);
			struct mount *up = BPF_CORE_READ(m, mnt_parent);

			if (m == up) {
				whole = true;
				break;
			}
			dentry = BPF_CORE_READ(m, mnt_mountpoint);
			mnt = (void *)up + bpf_core_field_offset(struct mount, mnt);
			continue;
		}
		len = BPF_CORE_READ(dentry, d_name.len);
		name = BPF_CORE_READ(dentry, d_name.name);
		at = *path_at;
		if (len > 255 || at > EVENT_PATH_MAX || at < len + 1)
			break;
		at -= len;
		asm volatile("" : "+r"(at));
		asm volatile("" : "+r"(len));
		if (at > EVENT_PATH_MAX || len > 255 ||
		    bpf_probe_read_kernel(&s->path[at], len, name))
			break;
		/* A file that no folder ever had: in memory, a name and no path. */
		if (dentry == parent) {
			*path_at = at;
			whole = true;
			break;
		}
		at--;
		asm volatile("" : "+r"(at));
		if (at > EVENT_PATH_MAX)
			break;
		s->path[at] = '/';
		*path_at = at;
		dentry = parent;
	}
	at = *path_at;
	/* The root itself. */
	if (at == EVENT_PATH_MAX && whole) {
		at--;
		s->path[at] = '/';
	}
	*cut = !whole;
	return at;
}

/* Appends the path that begins at from in s->path. Returns its length. */
static __always_inline u32 path_append(struct exec_scratch *s, u32 *size, u32 from)
{
	u32 len = EVENT_PATH_MAX - from, at = *size;

	asm volatile("" : "+r"(len));
	asm volatile("" : "+r"(at));
	asm volatile("" : "+r"(from));
	if (len > EVENT_PATH_MAX || at > 2 * EVENT_PATH_MAX || from > 256 + EVENT_PATH_MAX - 1)
		return 0;
	if (bpf_probe_read_kernel(&s->data[at], len, (void *)s->path + from))
		return 0;
	*size = at + len;
	return len;
}

static __always_inline bool is_memfd(const char *path)
{
	return path[0] == 'm' && path[1] == 'e' && path[2] == 'm' && path[3] == 'f' &&
	       path[4] == 'd' && path[5] == ':';
}

/* events.environment; else none of this is loaded, and there is no such map. */
const volatile bool want_environment;

#define VARIABLES     128  /* that are looked at */
#define VARIABLE_MAX  8192 /* bytes, with its value */
#define VARIABLE_NAME 64   /* bytes that a name and its = have */

struct environment {
	u8 sample[sizeof(struct event_exec) + EVENT_ENVIRONMENT_MAX + 3 * EVENT_PATH_MAX +
		  EVENT_ARGS_MAX];
	u8 names[EVENT_ENVIRONMENT_MAX + VARIABLE_NAME];
	/* In memory, so that old verifiers do not follow each value it may have. */
	u32 len;
	u32 pad;
	union {
		char bytes[VARIABLE_MAX];
		u64 words[VARIABLE_NAME / 8];
	} variable; /* with its value: zeroes between two uses */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct environment);
} environment SEC(".maps");

/* Bytes before the first =, of eight: 8 if there is none. Without a loop or a jump. */
static __always_inline u64 bytes_to_equals(u64 word)
{
	const u64 ones = 0x0101010101010101ull;
	u64 x = word ^ '=' * ones, found = ((x - ones) & ~x & 0x80 * ones) >> 7;

	return (((found - 1) & ~found & ones) * ones) >> 56;
}

/*
 * Names alone: a value is read, for there is no other way to its end, and overwritten. What
 * has no = is no variable, and not told.
 */
static __always_inline void read_names(struct environment *env, struct task_struct *task,
				       u32 *flags)
{
	unsigned long from = BPF_CORE_READ(task, mm, env_start);
	unsigned long to = BPF_CORE_READ(task, mm, env_end);
	volatile u32 *len = &env->len;

	*len = 0;
	for (int i = 0; i < VARIABLES; i++) {
		u64 name_len = 0, more = 1;
		u32 at = *len, n;
		long size;

		if (from >= to)
			break;
		size = bpf_probe_read_user_str(env->variable.bytes, VARIABLE_MAX, (void *)from);
		if (size <= 0)
			break;
		from += size;
		/* Longer than that: this one is told, the next would be a piece of its value. */
		if (size == VARIABLE_MAX) {
			*flags |= EXEC_ENVIRONMENT_CUT;
			to = from;
		}
#pragma unroll
		for (int k = 0; k < VARIABLE_NAME / 8; k++) {
			u64 here = bytes_to_equals(env->variable.words[k]);

			name_len += here & -more;
			more &= here >> 3;
		}
		n = name_len;
		if (more && size > VARIABLE_NAME)
			*flags |= EXEC_ENVIRONMENT_CUT;
		if (more || n + 1 >= size)
			continue;
		if (at + n + 1 > EVENT_ENVIRONMENT_MAX) {
			*flags |= EXEC_ENVIRONMENT_CUT;
			break;
		}
		asm volatile("" : "+r"(at));
		asm volatile("" : "+r"(n));
		if (at >= EVENT_ENVIRONMENT_MAX || n >= VARIABLE_NAME)
			break;
		bpf_probe_read_kernel(env->names + at, n, env->variable.bytes);
		env->names[at + n] = 0;
		*len = at + n + 1;
	}
	if (from < to)
		*flags |= EXEC_ENVIRONMENT_CUT;
	/* A read that fails leaves zeroes. */
	bpf_probe_read_user(env->variable.bytes, VARIABLE_MAX, NULL);
}

/* The sample of s->data's first data_len bytes, with names of variables. */
static __always_inline int submit_with_names(struct exec_scratch *s, struct task_struct *task,
					     u32 data_len)
{
	struct environment *env;
	u32 zero = 0, n, at, len;

	env = bpf_map_lookup_elem(&environment, &zero);
	if (!env)
		return -1;
	read_names(env, task, &s->e.flags);
	n = *(volatile u32 *)&env->len;
	if (n > EVENT_ENVIRONMENT_MAX)
		n = 0;
	s->e.environment_len = n;
	at = sizeof(s->e) + n;
	len = at + data_len;
	s->e.h.size = len;
	__builtin_memcpy(env->sample, &s->e, sizeof(s->e));
	asm volatile("" : "+r"(n));
	if (n > EVENT_ENVIRONMENT_MAX ||
	    bpf_probe_read_kernel(env->sample + sizeof(s->e), n, env->names))
		return -1;
	asm volatile("" : "+r"(at));
	asm volatile("" : "+r"(data_len));
	if (at > sizeof(s->e) + EVENT_ENVIRONMENT_MAX || data_len > sizeof(s->data) ||
	    bpf_probe_read_kernel(env->sample + at, data_len, s->data))
		return -1;
	asm volatile("" : "+r"(len));
	if (len > sizeof(env->sample))
		return -1;
	return bpf_ringbuf_output(&events_ring, env->sample, len, wake_flags(&events_ring, len));
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(event_exec, struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm)
{
	u64 thread = bpf_get_current_pid_tgid();
	unsigned long args_from, args_to;
	struct exec_scratch *s;
	const struct cred *cred;
	u32 zero = 0, size = 0, from, at, len;
	struct file *file;
	long n;
	bool cut;

	if (!event_begin(event_key(EVENT_EXEC, thread)))
		return 0;
	s = bpf_map_lookup_elem(&scratch, &zero);
	if (!s)
		return 0;
	s->e.h.type = EVENT_EXEC;
	s->e.h.pad = 0;
	s->e.pad = 0;
	s->e.h.boot_ns = bpf_ktime_get_boot_ns();
	s->e.flags = 0;
	task_current(&s->e.task);
	task_parent(task, &s->e.parent_start_ns, s->e.parent_comm);
	cred = task->real_cred;
	s->e.euid = BPF_CORE_READ(cred, euid.val);
	s->e.egid = BPF_CORE_READ(cred, egid.val);
	if (BPF_CORE_READ_BITFIELD_PROBED(bprm, secureexec))
		s->e.flags |= EXEC_PRIVILEGED;

	file = BPF_CORE_READ(bprm, file);
	from = path_walk(s, BPF_CORE_READ(file, f_path.mnt), BPF_CORE_READ(file, f_path.dentry),
			 &cut);
	if (cut)
		s->e.flags |= EXEC_PATH_CUT;
	if (!BPF_CORE_READ(file, f_inode, i_nlink)) {
		s->e.flags |= EXEC_DELETED;
		if (from <= EVENT_PATH_MAX && is_memfd(&s->path[from]))
			s->e.flags |= EXEC_MEMFD;
	}
	s->e.path_len = path_append(s, &size, from);

	/* The kernel takes a copy when an interpreter takes the file's place. */
	if (BPF_CORE_READ(bprm, interp) != BPF_CORE_READ(bprm, filename))
		s->e.flags |= EXEC_SCRIPT;
	at = size;
	asm volatile("" : "+r"(at));
	if (at > EVENT_PATH_MAX)
		at = EVENT_PATH_MAX;
	n = bpf_probe_read_kernel_str(&s->data[at], EVENT_PATH_MAX, BPF_CORE_READ(bprm, filename));
	s->e.file_len = n > 0 ? n - 1 : 0;
	size = at + s->e.file_len;

	from = path_walk(s, BPF_CORE_READ(task, fs, pwd.mnt), BPF_CORE_READ(task, fs, pwd.dentry),
			 &cut);
	if (cut)
		s->e.flags |= EXEC_CWD_CUT;
	s->e.cwd_len = path_append(s, &size, from);

	args_from = BPF_CORE_READ(task, mm, arg_start);
	args_to = BPF_CORE_READ(task, mm, arg_end);
	s->e.args_total = args_to - args_from;
	len = s->e.args_total;
	if (len > EVENT_ARGS_MAX) {
		len = EVENT_ARGS_MAX;
		s->e.flags |= EXEC_ARGS_CUT;
	}
	at = size;
	asm volatile("" : "+r"(at));
	asm volatile("" : "+r"(len));
	if (at > 3 * EVENT_PATH_MAX || len > EVENT_ARGS_MAX)
		return 0;
	if (bpf_probe_read_user(&s->data[at], len, (void *)args_from)) {
		s->e.flags |= EXEC_NO_ARGS;
		len = 0;
	}
	if (s->e.flags & EXEC_NO_ARGS)
		lost(COUNT_TRUNCATED);
	s->e.args_len = len;
	len += at;
	s->e.environment_len = 0;
	if (want_environment) {
		if (submit_with_names(s, task, len))
			lost(COUNT_RING_FULL);
		else
			count(COUNT_SUBMITTED);
		return 0;
	}
	len += sizeof(s->e);
	asm volatile("" : "+r"(len));
	if (len > sizeof(s->e) + sizeof(s->data))
		return 0;
	s->e.h.size = len;
	if (bpf_ringbuf_output(&events_ring, s, len, wake_flags(&events_ring, len)))
		lost(COUNT_RING_FULL);
	else
		count(COUNT_SUBMITTED);
	return 0;
}

#define SIGNAL_GROUP_EXIT 4    /* include/linux/sched/signal.h */
#define PF_FORKNOEXEC	  0x40 /* include/linux/sched.h */

static __always_inline int process_exit(struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;
	struct signal_struct *signal = task->signal;
	struct event_exit *e;
	u32 code, flags = 0;
	u64 cpu_ns;

	if (!event_begin(event_key(EVENT_EXIT, bpf_get_current_pid_tgid())))
		return 0;
	code = BPF_CORE_READ(signal, flags) & SIGNAL_GROUP_EXIT
		       ? BPF_CORE_READ(signal, group_exit_code)
		       : BPF_CORE_READ(leader, exit_code);
	if (BPF_CORE_READ(leader, flags) & PF_FORKNOEXEC)
		flags |= EXIT_NO_EXEC;
	/* A subshell, or the like, that ended as it should. */
	if ((flags & EXIT_NO_EXEC) && !(code & 0x7f)) {
		count(COUNT_FILTERED);
		return 0;
	}
	e = bpf_ringbuf_reserve(&events_ring, sizeof(*e), 0);
	if (!e) {
		lost(COUNT_RING_FULL);
		return 0;
	}
	e->h.type = EVENT_EXIT;
	e->h.pad = 0;
	e->h.size = sizeof(*e);
	e->h.boot_ns = bpf_ktime_get_boot_ns();
	task_current(&e->task);
	task_parent(task, &e->parent_start_ns, e->parent_comm);
	cpu_ns =
		BPF_CORE_READ(signal, sum_sched_runtime) + BPF_CORE_READ(task, se.sum_exec_runtime);
	if (leader != task)
		cpu_ns += BPF_CORE_READ(leader, se.sum_exec_runtime);
	e->cpu_ns = cpu_ns;
	e->max_rss_pages = BPF_CORE_READ(signal, maxrss);
	e->code = code;
	e->flags = flags;
	count(COUNT_SUBMITTED);
	bpf_ringbuf_submit(e, wake_flags(&events_ring, sizeof(*e)));
	return 0;
}

/* From 6.16 on the kernel says which thread was the last one. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(event_exit, struct task_struct *task, bool group_dead)
{
	return group_dead ? process_exit(task) : 0;
}

/* Processes of which one thread has told the end already. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, u8);
} ended SEC(".maps");

/* Before that, all threads that are on their way out together see that none lives: one tells. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(event_exit_threads, struct task_struct *task)
{
	u64 key = (u64)task->tgid << 40 ^ BPF_CORE_READ(task, group_leader, start_boottime);
	u8 one = 1;

	if (BPF_CORE_READ(task, signal, live.counter))
		return 0;
	if (bpf_map_update_elem(&ended, &key, &one, BPF_NOEXIST))
		return 0;
	return process_exit(task);
}
