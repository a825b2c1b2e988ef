/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acts WHAT TOKEN [FILE]: does one of the things that a kernel event is made of. The
 * token is only there to be found among the arguments. Exits 0 when it worked.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int die(const char *what)
{
	perror(what);
	return 1;
}

static int wait_for(pid_t pid, int *status)
{
	return waitpid(pid, status, 0) == pid ? 0 : die("wait");
}

/* Executes what fd is, as a child. */
static int run_fd(int fd, const char *token)
{
	char *argv[] = { (char *)"x", (char *)token, NULL };
	char path[64];
	int status;
	pid_t pid;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	pid = fork();
	if (pid == 0) {
		execve(path, argv, NULL);
		_exit(127);
	}
	if (wait_for(pid, &status))
		return 1;
	return status ? 1 : 0;
}

static int memfd(const char *token, const char *file)
{
	int from = open(file, O_RDONLY | O_CLOEXEC), fd = memfd_create("hidden", 0);
	struct stat st;

	if (from < 0 || fd < 0 || fstat(from, &st) < 0 ||
	    sendfile(fd, from, NULL, (size_t)st.st_size) != st.st_size)
		return die(file);
	return run_fd(fd, token);
}

static int deleted(const char *token, const char *file)
{
	int fd = open(file, O_RDONLY);

	if (fd < 0 || unlink(file) < 0)
		return die(file);
	return run_fd(fd, token);
}

static void *sleep_a_little(void *until)
{
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, until, NULL);
	return NULL;
}

/* Forty threads that end at the same time, the first one among them. */
static int threads(const char *token, const char *file)
{
	static struct timespec until;
	pthread_t t;

	(void)token;
	(void)file;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec++;
	for (int i = 0; i < 40; i++)
		if (pthread_create(&t, NULL, sleep_a_little, &until))
			return die("thread");
	sleep_a_little(&until);
	pthread_exit(NULL);
}

/* Two that execute nothing: one ends, one is killed. */
static int forks(const char *token, const char *file)
{
	int status;
	pid_t pid;

	(void)token;
	(void)file;
	pid = fork();
	if (pid == 0)
		_exit(0);
	if (wait_for(pid, &status))
		return 1;
	pid = fork();
	if (pid == 0) {
		raise(SIGKILL);
		_exit(0);
	}
	return wait_for(pid, &status);
}

/* Attaches to a child of its own, and kills it. */
static int traces(const char *token, const char *file)
{
	int status;
	pid_t pid = fork();

	(void)token;
	(void)file;
	if (pid == 0) {
		for (;;)
			pause();
	}
	if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) < 0 || wait_for(pid, &status) ||
	    ptrace(PTRACE_DETACH, pid, NULL, NULL) < 0 || kill(pid, SIGKILL) < 0)
		return die("ptrace");
	return wait_for(pid, &status);
}

static int bpf_objects(const char *token, const char *file)
{
	/* return 0 */
	const struct bpf_insn insns[] = { { .code = 0xb7 }, { .code = 0x95 } };
	union bpf_attr map = { .map_type = BPF_MAP_TYPE_ARRAY,
			       .key_size = 4,
			       .value_size = 8,
			       .max_entries = 1,
			       .map_name = "acts_map" };
	union bpf_attr prog = { .prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
				.insn_cnt = 2,
				.insns = (uintptr_t)insns,
				.license = (uintptr_t) "GPL",
				.prog_name = "acts_prog" };

	(void)token;
	(void)file;
	if (syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof(map)) < 0 ||
	    syscall(SYS_bpf, BPF_PROG_LOAD, &prog, sizeof(prog)) < 0)
		return die("bpf");
	return 0;
}

/* In namespaces of its own; and one mount that fails. */
static int mounts(const char *token, const char *file)
{
	if (unshare(CLONE_NEWNS | CLONE_NEWUTS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return die("unshare");
	if (mount(token, file, "tmpfs", MS_NOSUID, NULL) < 0 || umount2(file, MNT_DETACH) < 0)
		return die(file);
	return mount(token, "/nowhere/at/all", "tmpfs", 0, NULL) < 0 ? 0 : 1;
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

static int namespaces(const char *token, const char *file)
{
	static char stack[65536] __attribute__((aligned(16)));
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), status;
	pid_t pid;

	(void)token;
	(void)file;
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		return die("setns");
	pid = clone(nothing, stack + sizeof(stack), CLONE_NEWPID | CLONE_NEWIPC | SIGCHLD, NULL);
	if (pid < 0)
		return die("clone");
	return wait_for(pid, &status);
}

/* Borrows another user's rights, which is not told; then becomes that user. */
static int user(const char *token, const char *file)
{
	(void)token;
	(void)file;
	if (setresuid((uid_t)-1, 65534, (uid_t)-1) < 0 || setresuid((uid_t)-1, 0, (uid_t)-1) < 0 ||
	    setgid(65534) < 0 || setresuid(65534, 65534, 65534) < 0)
		return die("setuid");
	return 0;
}

/* On both kinds of loopback; says on which ports. */
static int listens(const char *token, const char *file)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int a = socket(AF_INET, SOCK_STREAM, 0), b = socket(AF_INET6, SOCK_STREAM, 0);
	socklen_t len = sizeof(in), len6 = sizeof(in6);

	(void)token;
	(void)file;
	if (bind(a, (void *)&in, len) < 0 || bind(b, (void *)&in6, len6) < 0 || listen(a, 1) < 0 ||
	    listen(b, 1) < 0 || getsockname(a, (void *)&in, &len) < 0 ||
	    getsockname(b, (void *)&in6, &len6) < 0)
		return die("listen");
	printf("%d %d\n", ntohs(in.sin_port), ntohs(in6.sin6_port));
	return 0;
}

/* More memory than its control group has. */
static int eat(const char *token, const char *file)
{
	(void)token;
	(void)file;
	for (int i = 0; i < 4096; i++) {
		char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			       -1, 0);

		if (p == MAP_FAILED)
			return die("mmap");
		memset(p, 1, 1 << 20);
	}
	return 0;
}

static const struct {
	const char *name;
	int (*fn)(const char *token, const char *file);
} acts[] = {
	{ "memfd", memfd },	{ "deleted", deleted },
	{ "threads", threads }, { "forks", forks },
	{ "traces", traces },	{ "bpf", bpf_objects },
	{ "mounts", mounts },	{ "namespaces", namespaces },
	{ "user", user },	{ "listens", listens },
	{ "eat", eat },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 2 && i < sizeof(acts) / sizeof(acts[0]); i++)
		if (!strcmp(acts[i].name, argv[1]))
			return acts[i].fn(argv[2], argv[3]);
	fprintf(stderr, "usage: acts WHAT TOKEN [FILE]\n");
	return 2;
}
