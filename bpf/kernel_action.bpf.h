/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What processes do to the system and to each other. Where there is a tracepoint for
 * the thing itself, that one; else the end of its system call. What a call was given is
 * read when it is over: a string may have been changed meanwhile, its effect not.
 */
#pragma once

/* Texts are zero when they are not read. size: constant, for the verifier. */
static __always_inline struct event_action *action_reserve(u32 action, u32 texts)
{
	u32 size = sizeof(struct event_action) + texts * EVENT_ACTION_TEXT;
	struct event_action *e = bpf_ringbuf_reserve(&events_ring, size, 0);

	if (!e) {
		lost(COUNT_RING_FULL);
		return NULL;
	}
	__builtin_memset(e, 0, size);
	e->h.type = EVENT_ACTION;
	e->h.size = size;
	e->h.boot_ns = bpf_ktime_get_boot_ns();
	e->action = action;
	e->texts = texts;
	return e;
}

static __always_inline void action_submit(struct event_action *e)
{
	u32 size = e->h.size;

	count(COUNT_SUBMITTED);
	bpf_ringbuf_submit(e, wake_flags(&events_ring, size));
}

static __always_inline void put_actor(struct event_action *e)
{
	task_current(&e->task);
	e->parent_start_ns = BPF_CORE_READ((struct task_struct *)bpf_get_current_task(),
					   real_parent, group_leader, start_boottime);
}

/* Any task, from any context. */
static __always_inline void put_target(struct event_action *e, struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	struct event_task *t = &e->target;

	t->start_ns = BPF_CORE_READ(leader, start_boottime);
	t->cgroup_id = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	t->tgid = BPF_CORE_READ(task, tgid);
	t->uid = BPF_CORE_READ(task, real_cred, uid.val);
	t->gid = BPF_CORE_READ(task, real_cred, gid.val);
	t->ppid = BPF_CORE_READ(task, real_parent, tgid);
	BPF_CORE_READ_INTO(&t->comm, leader, comm);
}

static __always_inline char *text_of(struct event_action *e, u32 i)
{
	return (char *)(e + 1) + i * EVENT_ACTION_TEXT;
}

/* Actions of a thread, which does one at a time. */
static __always_inline u64 action_key(u32 action)
{
	return event_key(0x80 | action, bpf_get_current_pid_tgid());
}

static __always_inline bool action_begin(u32 action)
{
	return event_begin(action_key(action));
}

/* ------------------------------------------------------------------ the kernel */

SEC("tp_btf/module_load")
int BPF_PROG(event_module_load, struct module *module)
{
	struct event_action *e;

	if (!action_begin(ACTION_MODULE_LOAD))
		return 0;
	e = action_reserve(ACTION_MODULE_LOAD, 1);
	if (!e)
		return 0;
	put_actor(e);
	e->value[0] = BPF_CORE_READ(module, taints);
	bpf_probe_read_kernel_str(text_of(e, 0), EVENT_ACTION_TEXT, module->name);
	action_submit(e);
	return 0;
}

SEC("tp_btf/module_free")
int BPF_PROG(event_module_free, struct module *module)
{
	struct event_action *e;

	if (!action_begin(ACTION_MODULE_UNLOAD))
		return 0;
	e = action_reserve(ACTION_MODULE_UNLOAD, 1);
	if (!e)
		return 0;
	put_actor(e);
	bpf_probe_read_kernel_str(text_of(e, 0), EVENT_ACTION_TEXT, module->name);
	action_submit(e);
	return 0;
}

/* Its argument was a pid before 6.8; a pointer is no such small number. */
SEC("raw_tp/mark_victim")
int event_oom(struct bpf_raw_tracepoint_args *ctx)
{
	u64 victim = ctx->args[0];
	struct event_action *e;

	if (!action_begin(ACTION_OOM_KILL))
		return 0;
	e = action_reserve(ACTION_OOM_KILL, 0);
	if (!e)
		return 0;
	put_actor(e);
	if (victim >> 32)
		put_target(e, (struct task_struct *)victim);
	else
		e->target.tgid = victim;
	action_submit(e);
	return 0;
}

/* ------------------------------------------------------------------ signals */

/* Those that do not end a process by themselves: CHLD CONT STOP TSTP TTIN TTOU URG WINCH. */
#define SIGNALS_HARMLESS                                                                           \
	(1ull << 16 | 1ull << 17 | 1ull << 18 | 1ull << 19 | 1ull << 20 | 1ull << 21 |             \
	 1ull << 22 | 1ull << 27)
#define SI_KERNEL 0x80
#define SI_QUEUE  -1
#define SI_TKILL  -6

/* Under the lock of the target's handlers: of one target, one at a time. */
SEC("raw_tp/signal_generate")
int event_signal(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx->args[2];
	u64 info = ctx->args[1];
	int sig = ctx->args[0], result = ctx->args[4];
	struct event_action *e;
	void *action, *handler = NULL;
	int code = 0;
	u32 n = sig - 1;

	if (result || n >= 64 || (1ull << n & SIGNALS_HARMLESS))
		return 0;
	action = (void *)BPF_CORE_READ(task, sighand) +
		 bpf_core_field_offset(struct sighand_struct, action) +
		 n * bpf_core_type_size(struct k_sigaction) +
		 bpf_core_field_offset(struct k_sigaction, sa.sa_handler);
	if (bpf_probe_read_kernel(&handler, sizeof(handler), action) || handler)
		return 0;
	if (!event_begin(event_key(0x80 | ACTION_SIGNAL, (u64)task << 8 ^ sig)))
		return 0;
	e = action_reserve(ACTION_SIGNAL, 0);
	if (!e)
		return 0;
	/* No information at all: from a process, or (1) from the kernel. */
	if (info == 1)
		code = SI_KERNEL;
	else if (info)
		bpf_core_read(&code, sizeof(code), &((struct kernel_siginfo *)info)->si_code);
	put_target(e, task);
	e->value[0] = sig;
	e->value[1] = (s64)code;
	if (code == 0 || code == SI_QUEUE || code == SI_TKILL)
		put_actor(e);
	action_submit(e);
	return 0;
}

/* ------------------------------------------------------------------ namespaces */

#define CLONE_NEWTIME 0x80 /* with clone() that is part of the signal */
#define CLONE_NEW     0x7e020000u

SEC("tp_btf/task_newtask")
int BPF_PROG(event_clone, struct task_struct *task, u64 flags)
{
	struct event_action *e;

	if (!(flags & CLONE_NEW))
		return 0;
	if (!action_begin(ACTION_CLONE))
		return 0;
	e = action_reserve(ACTION_CLONE, 0);
	if (!e)
		return 0;
	put_actor(e);
	put_target(e, task);
	e->value[0] = flags & CLONE_NEW;
	action_submit(e);
	return 0;
}

/* ------------------------------------------------------------------ system calls */

/*
 * Each call has two ways to one body. on_X is behind the call's own function, where the kernel
 * lets us: nobody pays for it who does not make that call. event_X is its tracepoint, for
 * which each call of the host takes the kernel's slow way out.
 *
 * What is attached behind the function is call_X, which only jumps to on_X by the map to_X.
 * Whenever something is attached behind a function or taken away, the kernel runs nothing behind
 * the calls that are under way in it. So call_X stays from one capture to the next, and on_X is
 * replaced in one instant. A map for each: it takes programs behind functions of one type alone.
 */
struct call {
	const struct pt_regs *regs;
	s64 ret;
	bool at_tracepoint;
};

struct syscall_exit {
	u64 common;
	s64 number;
	s64 ret;
};

/*
 * What the system call that ends here was given. Not from the function's argument, whose type some
 * kernels' BTF does not have where that function is.
 */
static __always_inline const struct pt_regs *syscall_regs(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs)) /* 5.15 */
		return (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
#if defined(__TARGET_ARCH_x86)
	/* They end the stack of four pages, as that helper knows, too. */
	return (void *)BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), stack) + 16384 -
	       bpf_core_type_size(struct pt_regs);
#else
	return NULL;
#endif
}

#define call_arg(c, n)                                                                             \
	({                                                                                         \
		const struct pt_regs *regs = (c)->regs;                                            \
		bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs)                \
			? regs->SYSCALL_ARG##n                                                     \
			: BPF_CORE_READ(regs, SYSCALL_ARG##n);                                     \
	})

#define CALL(name, body, ...)                                                                      \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_PROG_ARRAY);                                             \
		__uint(max_entries, 1);                                                            \
		__type(key, u32);                                                                  \
		__type(value, u32);                                                                \
	} to_##name SEC(".maps");                                                                  \
                                                                                                   \
	SEC("tp/syscalls/sys_exit_" #name)                                                         \
	int event_##name(struct syscall_exit *ctx)                                                 \
	{                                                                                          \
		struct call c = { syscall_regs(), ctx->ret, true };                                \
                                                                                                   \
		return body(&c, ##__VA_ARGS__);                                                    \
	}                                                                                          \
                                                                                                   \
	SEC("fexit/" SYSCALL_FUNCTION #name)                                                       \
	int BPF_PROG(on_##name, const struct pt_regs *regs, long ret)                              \
	{                                                                                          \
		struct call c = { syscall_regs(), ret, false };                                    \
                                                                                                   \
		return body(&c, ##__VA_ARGS__);                                                    \
	}                                                                                          \
                                                                                                   \
	SEC("fexit/" SYSCALL_FUNCTION #name)                                                       \
	int call_##name(void *ctx)                                                                 \
	{                                                                                          \
		bpf_tail_call_static(ctx, &to_##name, 0);                                          \
		return 0;                                                                          \
	}

/*
 * Behind a function, nothing of the capture before runs beside us, and its tracepoints come
 * later: there are no marks to look for.
 */
static __always_inline bool call_begin(const struct call *c, u32 action)
{
	u32 mode = *(volatile u32 *)&tunables.calls;
	u64 key;

	if (c->at_tracepoint)
		return action_begin(action);
	if (mode == CALLS_AS_ALL && *(volatile u32 *)&tunables.capture.before == BEFORE_ALL)
		return false;
	count(COUNT_SEEN);
	key = action_key(action);
	if (mode == CALLS_MARKING)
		handover_leave_mark(key);
	else
		handover_mark(key);
	return true;
}

/* With its outcome, and who made it. */
static __always_inline struct event_action *call_reserve(const struct call *c, u32 action,
							 u32 texts)
{
	struct event_action *e;

	if (!call_begin(c, action))
		return NULL;
	e = action_reserve(action, texts);
	if (!e)
		return NULL;
	put_actor(e);
	e->result = c->ret < 0 ? c->ret : 0;
	return e;
}

static __always_inline void read_text(struct event_action *e, u32 i, u64 from)
{
	bpf_probe_read_user_str(text_of(e, i), EVENT_ACTION_TEXT, (void *)from);
}

#define PTRACE_TRACEME 0
#define PTRACE_ATTACH  16
#define PTRACE_SEIZE   0x4206

static __always_inline int tell_ptrace(const struct call *c)
{
	u64 request = call_arg(c, 1);
	struct event_action *e;
	struct task_struct *task;

	if (request != PTRACE_TRACEME && request != PTRACE_ATTACH && request != PTRACE_SEIZE)
		return 0;
	e = call_reserve(c, ACTION_PTRACE, 0);
	if (!e)
		return 0;
	e->value[0] = request;
	task = (struct task_struct *)bpf_get_current_task();
	if (request == PTRACE_TRACEME) {
		put_target(e, BPF_CORE_READ(task, real_parent));
	} else {
		e->value[1] = (u32)call_arg(c, 2);
		/* The newest of those that this thread traces. */
		if (!c->ret)
			put_target(e,
				   (void *)BPF_CORE_READ(task, ptraced.next) -
					   bpf_core_field_offset(struct task_struct, ptrace_entry));
	}
	action_submit(e);
	return 0;
}
CALL(ptrace, tell_ptrace)

static __always_inline int tell_bpf(const struct call *c)
{
	u64 command = call_arg(c, 1), attr = call_arg(c, 2);
	struct event_action *e;
	u32 type = 0;

	/* Those that fail are trials: every loader asks so what the kernel can do. */
	if (c->ret < 0 || (command != BPF_MAP_CREATE && command != BPF_PROG_LOAD))
		return 0;
	e = call_reserve(c, command == BPF_PROG_LOAD ? ACTION_BPF_PROGRAM : ACTION_BPF_MAP, 1);
	if (!e)
		return 0;
	bpf_probe_read_user(&type, sizeof(type), (void *)attr);
	e->value[0] = type;
	attr += command == BPF_PROG_LOAD ? offsetof(union bpf_attr, prog_name)
					 : offsetof(union bpf_attr, map_name);
	bpf_probe_read_user_str(text_of(e, 0), BPF_OBJ_NAME_LEN, (void *)attr);
	action_submit(e);
	return 0;
}
CALL(bpf, tell_bpf)

static __always_inline int tell_mount(const struct call *c)
{
	struct event_action *e = call_reserve(c, ACTION_MOUNT, 3);

	if (!e)
		return 0;
	e->value[0] = call_arg(c, 4);
	read_text(e, 0, call_arg(c, 1));
	read_text(e, 1, call_arg(c, 2));
	read_text(e, 2, call_arg(c, 3));
	action_submit(e);
	return 0;
}
CALL(mount, tell_mount)

/* The last step of a mount by fsopen(), or of one that is moved or bound. */
static __always_inline int tell_move_mount(const struct call *c)
{
	struct event_action *e = call_reserve(c, ACTION_MOUNT, 3);

	if (!e)
		return 0;
	e->value[1] = 1;
	read_text(e, 0, call_arg(c, 2));
	read_text(e, 1, call_arg(c, 4));
	action_submit(e);
	return 0;
}
CALL(move_mount, tell_move_mount)

static __always_inline int tell_umount(const struct call *c)
{
	struct event_action *e = call_reserve(c, ACTION_UNMOUNT, 1);

	if (!e)
		return 0;
	e->value[0] = (u32)call_arg(c, 2);
	read_text(e, 0, call_arg(c, 1));
	action_submit(e);
	return 0;
}
CALL(umount, tell_umount)

static __always_inline int tell_unshare(const struct call *c)
{
	u64 flags = call_arg(c, 1) & (CLONE_NEW | CLONE_NEWTIME);
	struct event_action *e;

	if (!flags)
		return 0;
	e = call_reserve(c, ACTION_UNSHARE, 0);
	if (!e)
		return 0;
	e->value[0] = flags;
	action_submit(e);
	return 0;
}
CALL(unshare, tell_unshare)

static __always_inline int tell_setns(const struct call *c)
{
	struct event_action *e = call_reserve(c, ACTION_SETNS, 0);

	if (!e)
		return 0;
	e->value[0] = (u32)call_arg(c, 2);
	action_submit(e);
	return 0;
}
CALL(setns, tell_setns)

/* ------------------------------------------------------------------ credentials */

static __always_inline int tell_ids(const struct call *c, u32 action, bool has_real)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	const struct cred *cred = BPF_CORE_READ(task, cred);
	struct event_action *e;

	/*
	 * A server that borrows a user's rights for a moment (the effective id alone) does so
	 * for each request.
	 */
	if (c->ret || (has_real && (u32)call_arg(c, 1) == ~0u))
		return 0;
	e = call_reserve(c, action, 0);
	if (!e)
		return 0;
	if (action == ACTION_SET_USER) {
		e->value[0] = BPF_CORE_READ(cred, uid.val);
		e->value[1] = BPF_CORE_READ(cred, euid.val);
		e->value[2] = BPF_CORE_READ(cred, suid.val);
	} else {
		e->value[0] = BPF_CORE_READ(cred, gid.val);
		e->value[1] = BPF_CORE_READ(cred, egid.val);
		e->value[2] = BPF_CORE_READ(cred, sgid.val);
	}
	action_submit(e);
	return 0;
}

CALL(setuid, tell_ids, ACTION_SET_USER, false)
CALL(setreuid, tell_ids, ACTION_SET_USER, true)
CALL(setresuid, tell_ids, ACTION_SET_USER, true)
CALL(setgid, tell_ids, ACTION_SET_GROUP, false)
CALL(setregid, tell_ids, ACTION_SET_GROUP, true)
CALL(setresgid, tell_ids, ACTION_SET_GROUP, true)

/* ------------------------------------------------------------------ sockets */

static __always_inline int tell_listen(const struct call *c)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct file **fds, *file = NULL;
	struct event_action *e;
	struct socket *socket;
	struct sock *sk;
	u32 fd, address;
	u16 family;

	if (c->ret)
		return 0;
	fd = call_arg(c, 1);
	if (fd >= BPF_CORE_READ(task, files, fdt, max_fds))
		return 0;
	fds = BPF_CORE_READ(task, files, fdt, fd);
	if (bpf_probe_read_kernel(&file, sizeof(file), fds + fd) || !file)
		return 0;
	socket = BPF_CORE_READ(file, private_data);
	sk = BPF_CORE_READ(socket, sk);
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (family != AF_INET && family != AF_INET6)
		return 0;
	e = call_reserve(c, ACTION_LISTEN, 0);
	if (!e)
		return 0;
	e->value[0] = BPF_CORE_READ(sk, sk_protocol);
	e->value[1] = BPF_CORE_READ(sk, __sk_common.skc_num);
	e->value[2] = family == AF_INET ? 4 : 6;
	if (family == AF_INET) {
		address = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		e->value[3] = address;
	} else {
		bpf_core_read(&e->value[3], 16, &sk->__sk_common.skc_v6_rcv_saddr);
	}
	action_submit(e);
	return 0;
}
CALL(listen, tell_listen)
