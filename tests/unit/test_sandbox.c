/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must be impossible inside the two sandboxes is tried there, by a child
 * that went in by the same function as the real process; and what must go on
 * working, too.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "config/config.h"
#include "output/shipper_sandbox.h"
#include "tests/lib/test.h"
#include "user/collector_sandbox.h"
#include "user/util/landlock.h"
#include "user/util/log.h"
#include "user/util/privs.h"
#include "user/util/sanitizer_calls.h"
#include "user/util/seccomp.h"

#define ID     65534
#define KILLED -1 /* by SIGSYS */

/* The scratch folder, and a spool in it. */
static char top[] = "/tmp/test-sandbox-XXXXXX";
static char spool[64], cursor[96], foreign[64];
/* /proc/PID/exe of a process that is another user's. */
static char another[64];
static pid_t another_pid;

static int result(long r)
{
	return r < 0 ? errno : 0;
}

static int open_as(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);
	int err = result(fd);

	close(fd);
	return err;
}

/* ------------------------------------------------------------------ attempts */

#define ATTEMPT(name, expression)                                                                  \
	static int name(void)                                                                      \
	{                                                                                          \
		return result((long)(expression));                                                 \
	}
#define OPENING(name, path, flags)                                                                 \
	static int name(void)                                                                      \
	{                                                                                          \
		return open_as(path, flags);                                                       \
	}

static char *const no_args[] = { (char *)"true", NULL };

OPENING(read_shadow, "/etc/shadow", O_RDONLY)
OPENING(read_passwd, "/etc/passwd", O_RDONLY)
OPENING(write_passwd, "/etc/passwd", O_WRONLY)
OPENING(read_proc, "/proc/1/status", O_RDONLY)
OPENING(read_binary, "/bin/sh", O_RDONLY)
OPENING(read_mem, "/dev/mem", O_RDONLY)
OPENING(list_root, "/", O_RDONLY | O_DIRECTORY)
OPENING(list_etc, "/etc", O_RDONLY | O_DIRECTORY)
OPENING(write_outside, "/tmp/outside", O_WRONLY | O_CREAT)
OPENING(read_urandom, "/dev/urandom", O_RDONLY)
OPENING(write_null, "/dev/null", O_WRONLY)
OPENING(read_resolv, "/etc/resolv.conf", O_RDONLY)
OPENING(list_spool, spool, O_RDONLY | O_DIRECTORY)
OPENING(write_cursor, cursor, O_RDWR | O_CREAT)
OPENING(read_kmsg, "/dev/kmsg", O_RDONLY | O_NONBLOCK)
OPENING(make_file, foreign, O_WRONLY | O_CREAT)

ATTEMPT(socket_inet, socket(AF_INET, SOCK_STREAM, 0))
ATTEMPT(socket_inet6, socket(AF_INET6, SOCK_DGRAM, 0))
ATTEMPT(socket_unix, socket(AF_UNIX, SOCK_DGRAM, 0))
ATTEMPT(socket_unix_stream, socket(AF_UNIX, SOCK_STREAM, 0))
ATTEMPT(socket_netlink, socket(AF_NETLINK, SOCK_RAW, 0))
ATTEMPT(socket_packet, socket(AF_PACKET, SOCK_RAW, 0))
ATTEMPT(socket_vsock, socket(AF_VSOCK, SOCK_STREAM, 0))
ATTEMPT(call_listen, listen(socket(AF_INET, SOCK_STREAM, 0), 1))
ATTEMPT(call_execve, execve("/bin/true", no_args, no_args + 1))
ATTEMPT(call_execveat, syscall(SYS_execveat, 0, "", no_args, no_args + 1, AT_EMPTY_PATH))
ATTEMPT(call_ptrace, ptrace(PTRACE_SEIZE, getppid(), NULL, NULL))
ATTEMPT(call_vm_read, syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0))
ATTEMPT(call_mount, mount("none", "/mnt", "tmpfs", 0, NULL))
ATTEMPT(call_umount, umount2("/proc", MNT_DETACH))
ATTEMPT(call_pivot, syscall(SYS_pivot_root, ".", "."))
ATTEMPT(call_chroot, chroot("/"))
ATTEMPT(call_unshare, unshare(CLONE_NEWUSER))
ATTEMPT(call_setns, setns(0, 0))
ATTEMPT(call_setuid, setuid(0))
ATTEMPT(call_setgroups, syscall(SYS_setgroups, 0, NULL))
ATTEMPT(call_capset, syscall(SYS_capset, NULL, NULL))
ATTEMPT(call_init_module, syscall(SYS_init_module, NULL, 0, ""))
ATTEMPT(call_kexec, syscall(SYS_kexec_load, 0, 0, NULL, 0))
ATTEMPT(call_keyctl, syscall(SYS_keyctl, 0, 0, 0, 0, 0))
ATTEMPT(call_perf, syscall(SYS_perf_event_open, NULL, 0, 0, 0, 0))
ATTEMPT(call_userfaultfd, syscall(SYS_userfaultfd, 0))
ATTEMPT(call_personality, syscall(SYS_personality, 0xffffffffu))
ATTEMPT(call_handle, syscall(SYS_open_by_handle_at, 0, NULL, 0))
ATTEMPT(call_setxattr, setxattr(spool, "user.a", "b", 1, 0))
ATTEMPT(call_mknod, syscall(SYS_mknodat, AT_FDCWD, foreign, S_IFCHR, 0))
ATTEMPT(call_clock, syscall(SYS_clock_settime, 0, NULL))
ATTEMPT(call_io_uring, syscall(425, 1, NULL))
ATTEMPT(call_open_tree, syscall(428, -1, "/", 0))
ATTEMPT(call_pidfd_getfd, syscall(438, 0, 0, 0))
ATTEMPT(call_future, syscall(600))
ATTEMPT(call_clone3, syscall(435, NULL, 0))
ATTEMPT(call_kill, kill(getppid(), SIGURG))
ATTEMPT(call_kill_init, kill(1, SIGURG))
ATTEMPT(is_gone, kill(0x3fffffff, 0))
ATTEMPT(call_symlink, symlink("/etc/shadow", foreign))
ATTEMPT(call_link, link("/etc/passwd", foreign))
ATTEMPT(call_memfd, syscall(SYS_memfd_create, "x", 0))
ATTEMPT(call_core_limit, setrlimit(RLIMIT_CORE, &(struct rlimit){ 1, 1 }))
ATTEMPT(call_dumpable, prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
ATTEMPT(call_shm, syscall(SYS_shmget, 0, 4096, 0600))
ATTEMPT(call_mq, syscall(SYS_mq_open, "/x", O_RDWR))
ATTEMPT(call_nice, setpriority(PRIO_PROCESS, 0, -5))
ATTEMPT(bpf_load, syscall(SYS_bpf, BPF_PROG_LOAD, NULL, 0))
ATTEMPT(bpf_create, syscall(SYS_bpf, BPF_MAP_CREATE, NULL, 0))
ATTEMPT(bpf_attach, syscall(SYS_bpf, BPF_LINK_CREATE, NULL, 0))
ATTEMPT(bpf_by_id, syscall(SYS_bpf, BPF_PROG_GET_FD_BY_ID, NULL, 0))
ATTEMPT(bpf_lookup, syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, NULL, 0))
ATTEMPT(exe_of_another, readlink(another, (char[256]){ 0 }, 256))
ATTEMPT(chown_to_reader, fchown(open(spool, O_RDONLY | O_CLOEXEC), (uid_t)-1, ID))
ATTEMPT(chown_to_another, fchown(open(spool, O_RDONLY | O_CLOEXEC), 1000, ID))
ATTEMPT(chown_path_to_another, syscall(SYS_fchownat, AT_FDCWD, spool, 1000, ID, 0))
ATTEMPT(make_folder, mkdir(foreign, 0700))
ATTEMPT(open_timer, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC))
ATTEMPT(open_epoll, epoll_create1(EPOLL_CLOEXEC))
ATTEMPT(lock_file, flock(open(cursor, O_RDWR | O_CREAT | O_CLOEXEC, 0600), LOCK_EX))

static int call_fork(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return result(pid);
}

static int map_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno : 0;
}

static int make_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? 200 : result(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static int bind_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? 200 : result(bind(fd, (struct sockaddr *)&a, sizeof(a)));
}

static int connect_unix(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "/run/docker.sock" };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? 200 : result(connect(fd, (struct sockaddr *)&a, sizeof(a)));
}

static int connect_tcp(void)
{
	/* Nobody listens on the port that was just given back. */
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons(1) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? 200 : result(connect(fd, (struct sockaddr *)&a, sizeof(a)));
}

static int map_cursor(void)
{
	int fd = open(cursor, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *p;

	if (fd < 0 || pwrite(fd, "x", 1, 4095) != 1)
		return errno;
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return p == MAP_FAILED ? errno : 0;
}

#ifdef __x86_64__
/* Numbers of other ABIs, which a filter for one would let through. */
ATTEMPT(call_x32, syscall(0x40000000 + SYS_getpid))

static int call_int80(void)
{
	long r;

	__asm__ volatile("int $0x80" : "=a"(r) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
	return r < 0 ? (int)-r : 0;
}
#endif

/* ------------------------------------------------------------------ two tables */

enum { SAME_IN_SAN, NOT_IN_SAN };

/* What a file tree of its own hides; Landlock alone refuses it. */
#define HIDDEN 300
/* What Landlock alone refuses. */
#define FENCED 301

struct attempt {
	const char *name;
	int (*fn)(void);
	int want; /* an errno, 0, or KILLED */
	int or_want;
	int san; /* a build with ASan may do more */
};

#define T(fn, ...)                                                                                 \
	{                                                                                          \
#fn, fn, __VA_ARGS__                                                               \
	}

static const struct attempt shipper_attempts[] = {
	T(read_shadow, EACCES, ENOENT),
	T(write_passwd, EACCES, EROFS),
	T(read_proc, HIDDEN, 0, NOT_IN_SAN),
	T(read_binary, HIDDEN, 0, NOT_IN_SAN),
	T(read_mem, ENOENT, EACCES),
	T(list_root, FENCED),
	T(list_etc, FENCED),
	T(write_outside, HIDDEN),
	T(make_file, EACCES),
	T(socket_unix, EAFNOSUPPORT),
	T(socket_unix_stream, EAFNOSUPPORT),
	T(socket_netlink, EAFNOSUPPORT),
	T(socket_packet, EAFNOSUPPORT),
	T(socket_vsock, EAFNOSUPPORT),
	T(bind_port, EPERM),
	T(call_listen, EPERM),
	T(call_execve, KILLED),
	T(call_execveat, KILLED),
	T(call_ptrace, KILLED, 0, NOT_IN_SAN),
	T(call_vm_read, KILLED),
	T(call_mount, KILLED),
	T(call_umount, KILLED),
	T(call_pivot, KILLED),
	T(call_chroot, KILLED),
	T(call_unshare, KILLED),
	T(call_setns, KILLED),
	T(call_setuid, KILLED),
	T(call_setgroups, KILLED),
	T(call_capset, KILLED),
	T(call_init_module, KILLED),
	T(call_kexec, KILLED),
	T(call_keyctl, KILLED),
	T(call_perf, KILLED),
	T(call_userfaultfd, KILLED),
	T(call_personality, KILLED),
	T(call_handle, KILLED),
	T(call_setxattr, KILLED),
	T(call_mknod, KILLED),
	T(call_clock, KILLED),
	T(bpf_load, KILLED),
	T(bpf_lookup, KILLED),
	T(call_io_uring, ENOSYS),
	T(call_open_tree, ENOSYS),
	T(call_pidfd_getfd, ENOSYS),
	T(call_future, ENOSYS),
	T(call_clone3, ENOSYS),
	T(call_fork, EPERM, 0, NOT_IN_SAN),
	T(call_kill, EPERM),
	T(call_kill_init, EPERM),
	T(call_symlink, EPERM),
	T(call_link, EPERM),
	T(call_memfd, EPERM),
	T(call_core_limit, EPERM, 0, NOT_IN_SAN),
	T(call_dumpable, EPERM, 0, NOT_IN_SAN),
	T(call_shm, EPERM),
	T(call_mq, EPERM),
	T(call_nice, EPERM),
	T(map_executable, EPERM, 0, NOT_IN_SAN),
	T(make_executable, EPERM, 0, NOT_IN_SAN),
#ifdef __x86_64__
	T(call_x32, KILLED),
	T(call_int80, KILLED),
#endif
	/* What it is for. */
	T(read_passwd, 0),
	T(read_resolv, 0, ENOENT),
	T(read_urandom, 0),
	T(write_null, 0),
	T(list_spool, 0),
	T(write_cursor, 0),
	T(map_cursor, 0),
	T(lock_file, 0),
	T(socket_inet, 0),
	T(socket_inet6, 0, EAFNOSUPPORT),
	T(connect_tcp, ECONNREFUSED),
	T(open_timer, 0),
	T(open_epoll, 0),
};

static const struct attempt collector_attempts[] = {
	T(socket_inet, EAFNOSUPPORT),
	T(socket_inet6, EAFNOSUPPORT),
	T(socket_netlink, EAFNOSUPPORT),
	T(socket_packet, EAFNOSUPPORT),
	T(socket_vsock, EAFNOSUPPORT),
	T(connect_unix, EPERM),
	T(bpf_load, EPERM),
	T(bpf_create, EPERM),
	T(bpf_attach, EPERM),
	T(bpf_by_id, EPERM),
	T(call_execve, KILLED),
	T(call_execveat, KILLED),
	T(call_ptrace, KILLED, 0, NOT_IN_SAN),
	T(call_vm_read, KILLED),
	T(call_mount, KILLED),
	T(call_umount, KILLED),
	T(call_pivot, KILLED),
	T(call_chroot, KILLED),
	T(call_unshare, KILLED),
	T(call_setns, KILLED),
	T(call_setuid, KILLED),
	T(call_setgroups, KILLED),
	T(call_capset, KILLED),
	T(call_init_module, KILLED),
	T(call_kexec, KILLED),
	T(call_keyctl, KILLED),
	T(call_perf, KILLED),
	T(call_userfaultfd, KILLED),
	T(call_handle, KILLED),
	T(call_setxattr, KILLED),
	T(call_mknod, KILLED),
	T(call_clock, KILLED),
	T(call_io_uring, ENOSYS),
	T(call_open_tree, ENOSYS),
	T(call_pidfd_getfd, ENOSYS),
	T(call_future, ENOSYS),
	T(call_fork, EPERM, 0, NOT_IN_SAN),
	T(call_kill, EPERM),
	T(call_kill_init, EPERM),
	T(call_symlink, EPERM),
	T(call_link, EPERM),
	T(call_memfd, EPERM),
	T(call_core_limit, EPERM, 0, NOT_IN_SAN),
	T(call_dumpable, EPERM, 0, NOT_IN_SAN),
	T(call_nice, EPERM),
	T(chown_to_another, EPERM),
	T(chown_path_to_another, EPERM),
	T(read_mem, EPERM, ENOENT),
	T(map_executable, EPERM, 0, NOT_IN_SAN),
	T(make_executable, EPERM, 0, NOT_IN_SAN),
#ifdef __x86_64__
	T(call_x32, KILLED),
	T(call_int80, KILLED),
#endif
	/* What it is for. */
	T(bpf_lookup, EINVAL, EFAULT),
	T(socket_unix, 0),
	T(exe_of_another, 0),
	T(is_gone, ESRCH),
	T(read_proc, 0),
	T(read_passwd, 0),
	T(read_kmsg, 0),
	T(make_folder, 0),
	T(chown_to_reader, 0),
	T(list_spool, 0),
	T(open_epoll, 0),
};

/* ------------------------------------------------------------------ going in */

static struct config *config;

static int enter_shipper(void)
{
	int err;

	shipper_sandbox_view(config);
	err = privs_drop(ID, ID);
	return err ? err : shipper_sandbox_enter(config);
}

static int enter_collector(void)
{
	const struct collector_sandbox s = {
		.cgroup_root_fd = -1,
		.filter = true,
		.kernel = true,
		.kernel_log = true,
		.spool_dir = spool,
		.reader_uid = ID,
	};
	int err = privs_hide_memory();

	return err ? err : collector_sandbox_enter(&s);
}

static int view_alone(void)
{
	shipper_sandbox_view(config);
	return 0;
}

/* In a child of its own: an errno, 0, KILLED, or something odd. */
static int try(int (*enter)(void), int (*fn)(void))
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (enter())
			_exit(250);
		_exit(fn());
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? KILLED : 1000 + WTERMSIG(status);
	return WEXITSTATUS(status);
}

static bool setup(void)
{
	struct config_errors e;

	if (geteuid() != 0) {
		printf("# skipped: needs root\n");
		return false;
	}
	memcpy(top + sizeof(top) - 7, "XXXXXX", 6);
	CHECK(mkdtemp(top) != NULL);
	CHECK_INT(chmod(top, 0755), 0);
	snprintf(spool, sizeof(spool), "%s/spool", top);
	snprintf(foreign, sizeof(foreign), "%s/foreign", top);
	snprintf(cursor, sizeof(cursor), "%s/cursors", spool);
	CHECK_INT(mkdir(spool, 0755), 0);
	CHECK_INT(mkdir(cursor, 0700), 0);
	CHECK_INT(chown(cursor, ID, ID), 0);
	snprintf(cursor, sizeof(cursor), "%s/cursors/x", spool);
	another_pid = fork();
	if (another_pid == 0) {
		if (setresgid(1000, 1000, 1000) < 0 || setresuid(1000, 1000, 1000) < 0)
			_exit(1);
		for (;;)
			pause();
	}
	snprintf(another, sizeof(another), "/proc/%d/exe", (int)another_pid);
	CHECK_INT(config_new(&config), 0);
	config_errors_init(&e);
	config_set(config, config_find("spool.dir"), spool, "the test", &e);
	CHECK_INT(e.n, 0);
	config_errors_done(&e);
	return true;
}

static void teardown(void)
{
	kill(another_pid, SIGKILL);
	waitpid(another_pid, NULL, 0);
	unlink(cursor);
	snprintf(cursor, sizeof(cursor), "%s/cursors", spool);
	rmdir(cursor);
	rmdir(spool);
	rmdir(foreign);
	rmdir(top);
	config_free(config);
}

/* The walls that there are here: an initramfs has no root to turn, old kernels no Landlock. */
static bool has_view, has_landlock;

static bool is_as_wanted(const struct attempt *a, int got)
{
	switch (a->want) {
	case HIDDEN:
		return has_view ? got == ENOENT || got == EROFS || got == EACCES
				: got == EACCES || !has_landlock;
	case FENCED:
		return got == EACCES || !has_landlock;
	default:
		return got == a->want || (a->or_want && got == a->or_want);
	}
}

static void look_for_walls(void)
{
	const char *why;

	has_landlock = landlock_version(&why) > 0;
	has_view = try(view_alone, write_outside) == EROFS;
	unlink("/tmp/outside");
	printf("# Landlock: %s; a file tree of its own: %s\n", has_landlock ? "yes" : why,
	       has_view ? "yes" : "no");
}

static void check_all(int (*enter)(void), const struct attempt *a, size_t n)
{
	if (!setup())
		return;
	look_for_walls();
	for (size_t i = 0; i < n; i++) {
		int got = try(enter, a[i].fn);

#ifdef SANITIZED
		if (a[i].san == NOT_IN_SAN)
			continue;
#endif
		if (is_as_wanted(&a[i], got))
			continue;
		printf("# %s: %d, expected %d (-1: killed by SIGSYS)\n", a[i].name, got, a[i].want);
		CHECK_INT(got, a[i].want);
	}
	teardown();
}

TEST(what_the_shipper_can_not_do_and_what_it_can)
{
	check_all(enter_shipper, shipper_attempts,
		  sizeof(shipper_attempts) / sizeof(shipper_attempts[0]));
}

TEST(what_the_collector_can_not_do_and_what_it_can)
{
	check_all(enter_collector, collector_attempts,
		  sizeof(collector_attempts) / sizeof(collector_attempts[0]));
}

/* ------------------------------------------------------------------ layers alone */

static int without_view(void)
{
	int err = privs_drop(ID, ID);

	return err ? err : shipper_sandbox_enter(config);
}

/* Without CAP_SYS_ADMIN there are no mounts of its own: Landlock holds alone. */
TEST(landlock_alone_hides_the_file_tree)
{
	const char *why;

	if (!setup())
		return;
	if (!landlock_version(&why)) {
		printf("# skipped: Landlock: %s\n", why);
	} else {
#ifndef SANITIZED
		CHECK_INT(try(without_view, read_binary), EACCES);
#endif
		CHECK_INT(try(without_view, list_root), EACCES);
		CHECK_INT(try(without_view, write_outside), EACCES);
		CHECK_INT(try(without_view, read_passwd), 0);
		CHECK_INT(try(without_view, write_cursor), 0);
		CHECK_INT(try(without_view, read_urandom), 0);
	}
	teardown();
}

/* As on a kernel without Landlock, and as root: what is not there can not be opened. */
TEST(the_file_tree_of_its_own_hides_without_landlock)
{
	if (!setup())
		return;
	look_for_walls();
	if (has_view) {
		CHECK_INT(try(view_alone, read_binary), ENOENT);
		CHECK_INT(try(view_alone, write_outside), EROFS);
		CHECK_INT(try(view_alone, write_passwd), EROFS);
		CHECK_INT(try(view_alone, read_mem), ENOENT);
		CHECK_INT(try(view_alone, write_cursor), 0);
	}
	teardown();
}

/* ------------------------------------------------------------------ capabilities */

TEST(root_with_too_little_is_told_what_is_missing)
{
	static const struct {
		uint64_t caps;
		bool kernel;
		const char *missing; /* NULL: it may start */
	} cases[] = {
		{ ~0ull, true, NULL },
		/* Without CAP_SYS_ADMIN: what it stands for. */
		{ ~(1ull << 21), true, NULL },
		{ ~(1ull << 21 | 1ull << 39), true, "CAP_BPF (to load BPF programs)" },
		{ ~(1ull << 21 | 1ull << 38), true, "CAP_PERFMON" },
		{ ~(1ull << 39 | 1ull << 38), true, NULL },
		{ ~(1ull << 12), true, "CAP_NET_ADMIN" },
		{ ~(1ull << 12), false, NULL },
		{ ~(1ull << 7), false, "CAP_SETUID (to start the shipper as another user)" },
		{ ~(1ull << 7 | 1ull << 6), true, "CAP_SETUID" },
	};

	if (geteuid() != 0) {
		printf("# skipped: needs root\n");
		return;
	}
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			char text[512];
			bool may;

			if (privs_keep(cases[i].caps))
				_exit(9);
			may = collector_may_start(cases[i].kernel, text, sizeof(text));
			if (may != !cases[i].missing)
				_exit(1);
			_exit(cases[i].missing && !strstr(text, cases[i].missing) ? 2 : 0);
		}
		CHECK(waitpid(pid, &status, 0) == pid);
		if (status)
			printf("# case %zu\n", i);
		CHECK_INT(status, 0);
	}
}

/* ------------------------------------------------------------------ the compiler of rules */

TEST(too_many_rules_are_an_error)
{
	struct sock_filter program[64];
	size_t len = 0;

	CHECK_INT(seccomp_compile(&seccomp_libc, 1, program, 64, &len), -E2BIG);
	CHECK_INT((long)len, 0);
	CHECK_INT(seccomp_compile(NULL, 0, program, 64, &len), 0);
	CHECK(len < 12);
}
