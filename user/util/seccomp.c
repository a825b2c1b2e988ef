/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/util/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
/* The x32 ABI: the same architecture to the kernel, other numbers. */
#define FOREIGN_FROM 0x40000000u
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

/*
 * From here on (Linux 5.1) all architectures count alike, and what a table does
 * not name is "not there": libraries ask for such a call and have another way.
 */
#define UNIFIED_FROM 424

#define PROGRAM_MAX 1024
#define DATA(field) ((uint32_t)offsetof(struct seccomp_data, field))

/* Newer than some headers. */
#ifndef __NR_faccessat2
#define __NR_faccessat2 439
#endif

/* ------------------------------------------------------------------ tables */

static const struct seccomp_rule fatal_rules[] = {
	/* other programs, and other processes */
	SECCOMP_KILL(execve),
	SECCOMP_KILL(execveat),
	SECCOMP_KILL(ptrace),
	SECCOMP_KILL(process_vm_readv),
	SECCOMP_KILL(process_vm_writev),
	SECCOMP_KILL(kcmp),
	SECCOMP_KILL(unshare),
	SECCOMP_KILL(setns),
	/* who we are */
	SECCOMP_KILL(setuid),
	SECCOMP_KILL(setgid),
	SECCOMP_KILL(setreuid),
	SECCOMP_KILL(setregid),
	SECCOMP_KILL(setresuid),
	SECCOMP_KILL(setresgid),
	SECCOMP_KILL(setfsuid),
	SECCOMP_KILL(setfsgid),
	SECCOMP_KILL(setgroups),
	SECCOMP_KILL(capset),
	SECCOMP_KILL(personality),
	/* the file tree and its devices */
	SECCOMP_KILL(mount),
	SECCOMP_KILL(umount2),
	SECCOMP_KILL(pivot_root),
	SECCOMP_KILL(chroot),
	SECCOMP_KILL(mknodat),
	SECCOMP_KILL(swapon),
	SECCOMP_KILL(swapoff),
	SECCOMP_KILL(quotactl),
	SECCOMP_KILL(open_by_handle_at),
	SECCOMP_KILL(setxattr),
	SECCOMP_KILL(lsetxattr),
	SECCOMP_KILL(fsetxattr),
	/* the kernel and the machine */
	SECCOMP_KILL(init_module),
	SECCOMP_KILL(finit_module),
	SECCOMP_KILL(delete_module),
	SECCOMP_KILL(kexec_load),
	SECCOMP_KILL(reboot),
	SECCOMP_KILL(sethostname),
	SECCOMP_KILL(setdomainname),
	SECCOMP_KILL(settimeofday),
	SECCOMP_KILL(clock_settime),
	SECCOMP_KILL(adjtimex),
	SECCOMP_KILL(clock_adjtime),
	SECCOMP_KILL(acct),
	SECCOMP_KILL(syslog),
	SECCOMP_KILL(bpf),
	SECCOMP_KILL(perf_event_open),
	SECCOMP_KILL(userfaultfd),
	SECCOMP_KILL(add_key),
	SECCOMP_KILL(request_key),
	SECCOMP_KILL(keyctl),
#ifdef __NR_kexec_file_load
	SECCOMP_KILL(kexec_file_load),
#endif
#ifdef __x86_64__
	SECCOMP_KILL(mknod),
	SECCOMP_KILL(iopl),
	SECCOMP_KILL(ioperm),
	SECCOMP_KILL(modify_ldt),
#endif
};
const struct seccomp_table seccomp_fatal = SECCOMP_TABLE(fatal_rules);

static const struct seccomp_rule libc_rules[] = {
	SECCOMP_ALLOW(brk),
	SECCOMP_ALLOW(munmap),
	SECCOMP_ALLOW(mremap),
	SECCOMP_ALLOW(madvise),
	/* What runs was mapped when the process began. */
	SECCOMP_ALLOW_IF(mmap, 2, PROT_EXEC, 0),
	SECCOMP_ALLOW_IF(mprotect, 2, PROT_EXEC, 0),
	SECCOMP_ALLOW(futex),
	SECCOMP_ALLOW(getrandom),
	SECCOMP_ALLOW(rt_sigaction),
	SECCOMP_ALLOW(rt_sigprocmask),
	SECCOMP_ALLOW(rt_sigreturn),
	SECCOMP_ALLOW(sigaltstack),
	SECCOMP_ALLOW(restart_syscall),
	SECCOMP_ALLOW(sched_yield),
	SECCOMP_ALLOW(sched_getaffinity),
	SECCOMP_ALLOW(getcpu),
	SECCOMP_ALLOW(getpid),
	SECCOMP_ALLOW(gettid),
	SECCOMP_ALLOW(getppid),
	SECCOMP_ALLOW(getuid),
	SECCOMP_ALLOW(geteuid),
	SECCOMP_ALLOW(getgid),
	SECCOMP_ALLOW(getegid),
	SECCOMP_ALLOW(getresuid),
	SECCOMP_ALLOW(getresgid),
	SECCOMP_ALLOW(getgroups),
	SECCOMP_ALLOW(capget),
	SECCOMP_ALLOW(getrusage),
	SECCOMP_ALLOW(times),
	SECCOMP_ALLOW(uname),
	SECCOMP_ALLOW(sysinfo),
	SECCOMP_ALLOW(umask),
	/* Reading limits, not setting them: the new ones are argument 2. */
	SECCOMP_ALLOW_IF(prlimit64, 2, 0xffffffffu, 0),
	SECCOMP_ALLOW_IF(prctl, 0, 0xffffffffu, PR_SET_NAME),
	SECCOMP_ALLOW_IF(prctl, 0, 0xffffffffu, PR_GET_DUMPABLE),
	SECCOMP_ALLOW_IF(prctl, 0, 0xffffffffu, PR_GET_NO_NEW_PRIVS),
	SECCOMP_ALLOW_IF(prctl, 0, 0xffffffffu, PR_CAPBSET_READ),
#ifdef PR_SET_VMA
	SECCOMP_ALLOW_IF(prctl, 0, 0xffffffffu, PR_SET_VMA), /* names of malloc's mappings */
#endif
	SECCOMP_ALLOW(exit),
	SECCOMP_ALLOW(exit_group),
#ifdef __NR_getrlimit
	SECCOMP_ALLOW(getrlimit),
#endif
#ifdef __x86_64__
	SECCOMP_ALLOW(arch_prctl),
	SECCOMP_ALLOW(time),
	SECCOMP_ALLOW(alarm),
#endif
};
const struct seccomp_table seccomp_libc = SECCOMP_TABLE(libc_rules);

static const struct seccomp_rule files_rules[] = {
	SECCOMP_ALLOW(read),
	SECCOMP_ALLOW(write),
	SECCOMP_ALLOW(pread64),
	SECCOMP_ALLOW(pwrite64),
	SECCOMP_ALLOW(readv),
	SECCOMP_ALLOW(writev),
	SECCOMP_ALLOW(preadv),
	SECCOMP_ALLOW(pwritev),
	SECCOMP_ALLOW(lseek),
	SECCOMP_ALLOW(openat),
	SECCOMP_ALLOW(close),
	SECCOMP_ALLOW(fstat),
	SECCOMP_ALLOW(newfstatat),
	SECCOMP_ALLOW(statx),
	SECCOMP_ALLOW(statfs),
	SECCOMP_ALLOW(fstatfs),
	SECCOMP_ALLOW(faccessat),
	SECCOMP_ALLOW(faccessat2),
	SECCOMP_ALLOW(readlinkat),
	SECCOMP_ALLOW(getdents64),
	SECCOMP_ALLOW(getcwd),
	SECCOMP_ALLOW(fcntl),
	SECCOMP_ALLOW(flock),
	SECCOMP_ALLOW(fsync),
	SECCOMP_ALLOW(fdatasync),
	SECCOMP_ALLOW(sync_file_range),
	SECCOMP_ALLOW(msync),
	SECCOMP_ALLOW(ftruncate),
	SECCOMP_ALLOW(fallocate),
	SECCOMP_ALLOW(fadvise64),
	SECCOMP_ALLOW(fchmod),
	SECCOMP_ALLOW(mkdirat),
	SECCOMP_ALLOW(unlinkat),
	SECCOMP_ALLOW(renameat2),
	SECCOMP_ALLOW(renameat),
	SECCOMP_ALLOW(utimensat),
	SECCOMP_ALLOW(pipe2),
	SECCOMP_ALLOW(dup),
	SECCOMP_ALLOW(dup3),
	SECCOMP_ALLOW(ppoll),
	SECCOMP_ALLOW(pselect6),
	SECCOMP_ALLOW(epoll_create1),
	SECCOMP_ALLOW(epoll_ctl),
	SECCOMP_ALLOW(epoll_pwait),
	SECCOMP_ALLOW(eventfd2),
	SECCOMP_ALLOW(timerfd_create),
	SECCOMP_ALLOW(timerfd_settime),
	SECCOMP_ALLOW(timerfd_gettime),
	SECCOMP_ALLOW(clock_gettime),
	SECCOMP_ALLOW(clock_getres),
	SECCOMP_ALLOW(gettimeofday),
	SECCOMP_ALLOW(clock_nanosleep),
	SECCOMP_ALLOW(nanosleep),
	/* isatty(), which stdio asks */
	SECCOMP_ALLOW_IF(ioctl, 1, 0xffffffffu, TCGETS),
	SECCOMP_ALLOW_IF(ioctl, 1, 0xffffffffu, FIONREAD),
	SECCOMP_ALLOW_IF(ioctl, 1, 0xffffffffu, FIONBIO),
#ifdef __x86_64__
	/* The older names of the same. */
	SECCOMP_ALLOW(open),
	SECCOMP_ALLOW(stat),
	SECCOMP_ALLOW(lstat),
	SECCOMP_ALLOW(access),
	SECCOMP_ALLOW(readlink),
	SECCOMP_ALLOW(getdents),
	SECCOMP_ALLOW(rename),
	SECCOMP_ALLOW(mkdir),
	SECCOMP_ALLOW(rmdir),
	SECCOMP_ALLOW(unlink),
	SECCOMP_ALLOW(chmod),
	SECCOMP_ALLOW(pipe),
	SECCOMP_ALLOW(dup2),
	SECCOMP_ALLOW(poll),
	SECCOMP_ALLOW(select),
	SECCOMP_ALLOW(epoll_create),
	SECCOMP_ALLOW(epoll_wait),
#else
	SECCOMP_ALLOW(fchmodat),
#endif
};
const struct seccomp_table seccomp_files = SECCOMP_TABLE(files_rules);

/* ------------------------------------------------------------------ the program */

struct program {
	struct sock_filter *at;
	size_t n, max;
};

static void emit(struct program *p, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
	if (p->n < p->max)
		p->at[p->n] = (struct sock_filter){ code, jt, jf, k };
	p->n++;
}

static uint32_t answer(const struct seccomp_rule *r)
{
	switch (r->action) {
	case SECCOMP_ALLOWED:
		return SECCOMP_RET_ALLOW;
	case SECCOMP_REFUSED:
		return SECCOMP_RET_ERRNO | ((uint32_t)r->error & SECCOMP_RET_DATA);
	case SECCOMP_FATAL:
		break;
	}
	return SECCOMP_RET_KILL_PROCESS;
}

/* The number is in the accumulator before and behind each rule. */
static void emit_rule(struct program *p, const struct seccomp_rule *r)
{
	/* Both architectures are little-endian: the lower half comes first. */
	uint32_t low = DATA(args) + 8u * r->arg;

	if (!r->looks) {
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)r->nr, 0, 1);
		emit(p, BPF_RET | BPF_K, answer(r), 0, 0);
		return;
	}
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)r->nr, 0, 5);
	emit(p, BPF_LD | BPF_W | BPF_ABS, low, 0, 0);
	emit(p, BPF_ALU | BPF_AND | BPF_K, r->mask, 0, 0);
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, r->equals, 0, 1);
	emit(p, BPF_RET | BPF_K, answer(r), 0, 0);
	emit(p, BPF_LD | BPF_W | BPF_ABS, DATA(nr), 0, 0);
}

int seccomp_compile(const struct seccomp_table *tables, size_t n, struct sock_filter *program,
		    size_t max, size_t *ret_len)
{
#ifdef ARCH
	struct program p = { .at = program, .max = max };

	emit(&p, BPF_LD | BPF_W | BPF_ABS, DATA(arch), 0, 0);
	emit(&p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	emit(&p, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0);
	emit(&p, BPF_LD | BPF_W | BPF_ABS, DATA(nr), 0, 0);
#ifdef FOREIGN_FROM
	emit(&p, BPF_JMP | BPF_JGE | BPF_K, FOREIGN_FROM, 0, 1);
	emit(&p, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0);
#endif
	for (size_t t = 0; t < n; t++)
		for (size_t i = 0; i < tables[t].n; i++)
			emit_rule(&p, &tables[t].rules[i]);
	emit(&p, BPF_JMP | BPF_JGE | BPF_K, UNIFIED_FROM, 0, 1);
	emit(&p, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS, 0, 0);
	emit(&p, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM, 0, 0);
	if (p.n > p.max)
		return -E2BIG;
	*ret_len = p.n;
	return 0;
#else
	(void)tables, (void)n, (void)program, (void)max, (void)ret_len;
	return -ENOTSUP;
#endif
}

int seccomp_enter(const struct seccomp_table *tables, size_t n)
{
	struct sock_filter program[PROGRAM_MAX];
	struct sock_fprog fprog = { .filter = program };
	size_t len;
	int err;

	err = seccomp_compile(tables, n, program, PROGRAM_MAX, &len);
	if (err)
		return err;
	fprog.len = (unsigned short)len;
	/*
	 * Not SECCOMP_FILTER_FLAG_LOG: a refused call would be a line in the kernel's log, which
	 * is an event for us. What kills is told without it.
	 */
	if (syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &fprog) == 0)
		return 0;
	return -errno;
}
