/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel events on the running kernel: processes whose truth is known, the raw
 * samples; and one capture that takes over from another while processes come and
 * go and make system calls: each of them is in one of their rings. Needs root.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bpf/events.h"
#include "tests/lib/test.h"
#include "user/probe.h"
#include "user/ring.h"

#define CHILDREN_MAX 40000
#define ROUNDS	     3
#define KILLS	     8

static struct kernel *kernel;
static char dir[64];
static bool usable, with_environment;
static bool behind_functions; /* system calls are told from there, not by tracepoints */
static bool no_trampolines;
static pid_t maker; /* 0: everybody's; else only its children are looked at */
static double bare_ns;
static bool both_ways; /* of seeing system calls: behind functions, and by tracepoints */
static long took_ms;   /* to take over */

/* What a process does again and again, each time with another number, and how often it was told. */
#define CALLS_MAX 40000
enum { SETNS, PTRACE, UMOUNT, KINDS };
static pid_t caller;
static uint8_t told[KINDS][CALLS_MAX];
struct calls {
	volatile bool stop;
	volatile int round, n;
};

/* What one process did, and the last of each kind. */
static pid_t actor;
static int acts[ACTIONS];
static struct {
	struct event_action e;
	char text[EVENT_ACTION_TEXTS][EVENT_ACTION_TEXT];
} last[ACTIONS];

/* What was seen of each pid, since it was forgotten. */
static struct seen {
	uint8_t execs, exits, signals, clones;
	uint8_t made; /* a number is given again, after a while */
	struct event_exec exec;
	struct event_exit exit;
	struct event_action signal;
	char data[512];
} * seen;
#define PIDS (1 << 16)

/* What a child that executes us again is for: it only ends. */
__attribute__((constructor(101))) static void be_a_child(void)
{
	if (getenv("TEST_CHILD"))
		_exit(atoi(getenv("TEST_CHILD")));
}

static int take_over(uint64_t ring_bytes, struct kernel **ret)
{
	struct kernel_opts o = {
		.dir = dir,
		.wanted = { [KERNEL_EVENTS] = true },
		.events = CLASS_ALL,
		.environment = with_environment,
		.no_trampolines = no_trampolines,
		.events_ring_bytes = ring_bytes,
	};
	char text[256] = "";
	int err = kernel_new(&o, text, sizeof(text), ret);

	if (err)
		printf("# %s\n", text);
	return err;
}

static void nap(long ms)
{
	struct timespec ts = { .tv_nsec = ms * 1000000 };

	nanosleep(&ts, NULL);
}

static void see_call(const struct event_action *e)
{
	int kind = e->action == ACTION_SETNS	 ? SETNS
		   : e->action == ACTION_PTRACE	 ? PTRACE
		   : e->action == ACTION_UNMOUNT ? UMOUNT
						 : KINDS;
	uint64_t number = e->value[kind == PTRACE] & 0xfffffff;

	CHECK(kind < KINDS && number < CALLS_MAX && e->result < 0);
	if (kind < KINDS && number < CALLS_MAX)
		told[kind][number]++;
}

static void see(const void *sample, size_t size)
{
	struct event_header h;
	struct seen *s;
	union {
		struct event_exec exec;
		struct event_exit exit;
		struct event_action action;
	} e;

	memcpy(&h, sample, sizeof(h));
	memset(&e, 0, sizeof(e));
	memcpy(&e, sample, size < sizeof(e) ? size : sizeof(e));
	switch (h.type) {
	case EVENT_EXEC:
		s = &seen[e.exec.task.tgid % PIDS];
		if (maker && e.exec.task.ppid != (uint32_t)maker)
			break;
		s->execs++;
		s->exec = e.exec;
		memset(s->data, 0, sizeof(s->data));
		size -= sizeof(e.exec);
		memcpy(s->data, (const char *)sample + sizeof(e.exec),
		       size < sizeof(s->data) ? size : sizeof(s->data));
		break;
	case EVENT_EXIT:
		s = &seen[e.exit.task.tgid % PIDS];
		if (maker && e.exit.task.ppid != (uint32_t)maker)
			break;
		s->exits++;
		s->exit = e.exit;
		break;
	case EVENT_ACTION:
		s = &seen[e.action.target.tgid % PIDS];
		if (e.action.action == ACTION_SIGNAL) {
			s->signals++;
			s->signal = e.action;
		}
		s->clones += e.action.action == ACTION_CLONE;
		if (caller && e.action.task.tgid == (uint32_t)caller)
			see_call(&e.action);
		if (actor && e.action.task.tgid == (uint32_t)actor && e.action.action < ACTIONS) {
			acts[e.action.action]++;
			memcpy(&last[e.action.action], sample,
			       size < sizeof(last[0]) ? size : sizeof(last[0]));
		}
		break;
	default:
		CHECK(false);
	}
}

static void read_all(void)
{
	struct kernel_ring maps[KERNEL_OLDER_MAX + 1];
	int n = kernel_rings(kernel, KERNEL_EVENTS, maps);

	for (int i = 0; i < n; i++) {
		_cleanup_(ring_freep) struct ring *ring = NULL;
		const void *sample;
		size_t size;

		CHECK_INT(ring_new(maps[i].fd, &ring), 0);
		while (ring && ring_next(ring, &sample, &size) > 0)
			see(sample, size);
		if (ring)
			ring_release(ring, ring_position(ring));
	}
}

static pid_t run(int code)
{
	char number[16];
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		char *argv[] = { (char *)"child", (char *)"two words", (char *)"", NULL };
		char *envp[] = { number, NULL };

		snprintf(number, sizeof(number), "TEST_CHILD=%d", code);
		execve("/proc/self/exe", argv, envp);
		_exit(127);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == code);
	return pid;
}

static struct seen *seen_of(pid_t pid)
{
	read_all();
	return &seen[pid % PIDS];
}

static void forget(void)
{
	read_all();
	memset(seen, 0, PIDS * sizeof(*seen));
}

/* The cheapest call there is, and none of those that we tell: the least of several rounds. */
static double getppid_ns(void)
{
	double best = 1e9;

	for (int i = 0; i < 30; i++) {
		struct timespec a, b;
		double ns;

		clock_gettime(CLOCK_MONOTONIC, &a);
		for (int j = 0; j < 10000; j++)
			syscall(SYS_getppid);
		clock_gettime(CLOCK_MONOTONIC, &b);
		ns = ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) /
		     10000;
		if (ns < best)
			best = ns;
	}
	return best;
}

static void on_trial(void *arg, const struct kernel_trial *t)
{
	bool *works = arg;

	if (!strcmp(t->program, "call_setns"))
		*works = !t->err;
	/* Whoever is at a tracepoint of a call does not do it beside another, and says what it
	 * costs. */
	if (!strcmp(t->program, "event_setns")) {
		CHECK(t->used != *works || t->err);
		CHECK(!t->cost == !t->used);
	}
}

TEST(attaches)
{
	const struct kernel_opts o = { .dir = dir,
				       .wanted = { [KERNEL_EVENTS] = true },
				       .events = CLASS_NAMESPACES };

	snprintf(dir, sizeof(dir), "/sys/fs/bpf/sekoia-test-ev%d", getpid());
	if (geteuid()) {
		printf("# skipped: not root\n");
		return;
	}
	seen = calloc(PIDS, sizeof(*seen));
	CHECK(seen != NULL);
	bare_ns = getppid_ns();
	CHECK_INT(kernel_try(&o, on_trial, &behind_functions), 0);
	CHECK_INT(take_over(4 << 20, &kernel), 0);
	usable = kernel && seen;
	if (!usable)
		return;
	CHECK(kernel_has(kernel, KERNEL_EVENTS));
	if (kernel_lacks(kernel, KERNEL_EVENTS))
		printf("# lacks: %s\n", kernel_lacks(kernel, KERNEL_EVENTS));
}

/* Of our own links of system calls: how many are behind functions, how many at tracepoints. */
static void count_links(int *ret_functions, int *ret_tracepoints)
{
	char path[640], capture[300] = "";
	struct dirent *e;
	DIR *d;

	*ret_functions = *ret_tracepoints = 0;
	d = opendir(dir);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			snprintf(capture, sizeof(capture), "%s", e->d_name);
	if (d)
		closedir(d);
	snprintf(path, sizeof(path), "%s/%s/events/links", dir, capture);
	d = opendir(path);
	CHECK(d != NULL);
	while (d && (e = readdir(d))) {
		struct bpf_link_info info = { 0 };
		__u32 len = sizeof(info);
		int fd;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s/events/links/%s", dir, capture, e->d_name);
		fd = bpf_obj_get(path);
		CHECK(fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0);
		close(fd);
		*ret_functions += !strncmp(e->d_name, "call_", 5);
		*ret_tracepoints += info.type == BPF_LINK_TYPE_PERF_EVENT;
	}
	if (d)
		closedir(d);
}

/* A tracepoint of one call makes all calls of all tasks slower: none, where there is another way.
 */
TEST(who_makes_other_calls_pays_nothing)
{
	int functions, tracepoints;
	double ns;

	if (!usable)
		return;
	count_links(&functions, &tracepoints);
	CHECK_INT(functions, behind_functions ? 14 : 0);
	CHECK_INT(tracepoints, behind_functions ? 0 : 14);
	ns = getppid_ns();
	printf("# system calls %s; getppid(): %.1f ns bare, %.1f with us, ratio %.3f\n",
	       behind_functions ? "behind their functions" : "by tracepoints", bare_ns, ns,
	       bare_ns / ns);
}

TEST(an_exec_and_its_exit)
{
	char exe[256] = "", cwd[256] = "", want[600];
	const struct event_exec *e;
	const struct seen *s;
	size_t n;

	if (!usable)
		return;
	CHECK(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0);
	CHECK(getcwd(cwd, sizeof(cwd)) != NULL);
	s = seen_of(run(42));
	e = &s->exec;
	CHECK_INT(s->execs, 1);
	CHECK_INT(s->exits, 1);
	CHECK_INT(e->task.ppid, getpid());
	CHECK_INT(e->flags, 0);
	CHECK_INT(e->args_len, 17);
	CHECK_INT(e->args_total, 17);
	n = (size_t)snprintf(want, sizeof(want), "%s/proc/self/exe%s", exe, cwd);
	CHECK_INT(e->path_len + e->file_len + e->cwd_len, n);
	CHECK(memcmp(s->data, want, n) == 0);
	CHECK(n > 400 || memcmp(s->data + n, "child\0two words\0", 17) == 0);
	CHECK(s->exit.task.start_ns == e->task.start_ns);
	CHECK(s->exit.parent_start_ns == e->parent_start_ns && e->parent_start_ns);
	CHECK_INT(s->exit.code, 42 << 8);
	CHECK_INT(s->exit.flags, 0);
	CHECK(s->exit.max_rss_pages > 10 && s->exit.max_rss_pages < 1 << 20);
}

static void *end_together(void *barrier)
{
	pthread_barrier_wait(barrier);
	return NULL;
}

/* However they race, the process ends once. */
TEST(threads_that_end_together)
{
	pid_t pids[100];

	if (!usable)
		return;
	forget();
	for (int i = 0; i < 100; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			pthread_barrier_t b;
			pthread_t t;

			/* It has to count, though it executes nothing: by a signal. */
			pthread_barrier_init(&b, NULL, 9);
			for (int j = 0; j < 8; j++)
				pthread_create(&t, NULL, end_together, &b);
			pthread_barrier_wait(&b);
			if (i % 2)
				raise(SIGKILL);
			pthread_exit(NULL);
		}
		waitpid(pids[i], NULL, 0);
	}
	read_all();
	for (int i = 0; i < 100; i++)
		CHECK_INT(seen[pids[i] % PIDS].exits, i % 2);
}

TEST(forks_and_signals)
{
	const struct seen *s;
	pid_t pid;

	if (!usable)
		return;
	forget();
	pid = fork();
	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	CHECK_INT(seen_of(pid)->exits, 0); /* filtered */
	pid = fork();
	if (pid == 0) {
		for (;;)
			pause();
	}
	kill(pid, SIGUSR1);
	waitpid(pid, NULL, 0);
	s = seen_of(pid);
	CHECK_INT(s->exits, 1);
	CHECK_INT(s->exit.code, SIGUSR1);
	CHECK_INT(s->exit.flags, EXIT_NO_EXEC);
	CHECK_INT(s->signals, 1);
	CHECK_INT(s->signal.value[0], SIGUSR1);
	CHECK_INT(s->signal.task.tgid, getpid());
	CHECK(s->signal.target.start_ns == s->exit.task.start_ns);
	/* By itself, with a handler that is the default: a fault. */
	pid = fork();
	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		*(volatile char *)mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) =
			0;
	}
	waitpid(pid, NULL, 0);
	s = seen_of(pid);
	CHECK_INT(s->signals, 1);
	CHECK_INT(s->signal.value[0], SIGSEGV);
	CHECK_INT(s->signal.task.tgid, 0); /* the kernel's */
	CHECK_INT(s->exit.code & 0x7f, SIGSEGV);
}

TEST(namespaces_of_a_new_process)
{
	static char stack[65536] __attribute__((aligned(16)));
	pid_t pid;

	if (!usable)
		return;
	forget();
	pid = clone((int (*)(void *))(void *)getpid, stack + sizeof(stack), CLONE_NEWUTS | SIGCHLD,
		    NULL);
	CHECK(pid > 0);
	waitpid(pid, NULL, 0);
	CHECK_INT(seen_of(pid)->clones, 1);
}

static void act(void)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY,
				.key_size = 4,
				.value_size = 4,
				.max_entries = 1,
				.map_name = "acts" };
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int tcp = socket(AF_INET, SOCK_STREAM, 0), local = socket(AF_UNIX, SOCK_STREAM, 0);

	ptrace(PTRACE_TRACEME, 0, 0, 0);
	ptrace(PTRACE_CONT, 1, 0, 0); /* not told */
	syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
	syscall(SYS_bpf, BPF_MAP_CREATE, &attr, 1); /* fails: not told */
	syscall(SYS_move_mount, -1, "from", -1, "to", 0);
	mount("what", "/no/where", "tmpfs", MS_NOSUID, NULL);
	umount2("/no/where", MNT_DETACH);
	unshare(CLONE_NEWUTS);
	unshare(CLONE_FS); /* not told */
	setns(-1, CLONE_NEWNET);
	syscall(SYS_setgid, 0);
	syscall(SYS_setregid, 0, 0);
	syscall(SYS_setresgid, 0, 0, 0);
	syscall(SYS_setresgid, -1, 0, 0); /* not told */
	syscall(SYS_setuid, 0);
	syscall(SYS_setreuid, 0, 0);
	syscall(SYS_setresuid, 0, 0, 77);
	bind(tcp, (void *)&in, sizeof(in));
	listen(tcp, 1);
	listen(local, 1); /* not told */
	listen(-1, 1);
}

TEST(each_call_with_its_arguments)
{
	static const int want[ACTIONS] = {
		[ACTION_PTRACE] = 1,	[ACTION_BPF_MAP] = 1,  [ACTION_MOUNT] = 2,
		[ACTION_UNMOUNT] = 1,	[ACTION_UNSHARE] = 1,  [ACTION_SETNS] = 1,
		[ACTION_SET_GROUP] = 3, [ACTION_SET_USER] = 3, [ACTION_LISTEN] = 1,
	};

	if (!usable)
		return;
	read_all();
	actor = fork();
	if (actor == 0) {
		act();
		_exit(0);
	}
	waitpid(actor, NULL, 0);
	read_all();
	for (int i = 0; i < ACTIONS; i++) {
		if (acts[i] != want[i])
			printf("# action %d\n", i);
		CHECK_INT(acts[i], want[i]);
	}
	CHECK_INT(last[ACTION_PTRACE].e.target.tgid, getpid());
	CHECK_INT(last[ACTION_BPF_MAP].e.value[0], BPF_MAP_TYPE_ARRAY);
	CHECK(!strcmp(last[ACTION_BPF_MAP].text[0], "acts"));
	CHECK_INT(last[ACTION_MOUNT].e.result, -ENOENT);
	CHECK_INT(last[ACTION_MOUNT].e.value[0], MS_NOSUID);
	CHECK(!strcmp(last[ACTION_MOUNT].text[0], "what"));
	CHECK(!strcmp(last[ACTION_MOUNT].text[1], "/no/where"));
	CHECK(!strcmp(last[ACTION_MOUNT].text[2], "tmpfs"));
	CHECK_INT(last[ACTION_UNMOUNT].e.value[0], MNT_DETACH);
	CHECK(!strcmp(last[ACTION_UNMOUNT].text[0], "/no/where"));
	CHECK_INT(last[ACTION_UNSHARE].e.value[0], CLONE_NEWUTS);
	CHECK_INT(last[ACTION_UNSHARE].e.result, 0);
	CHECK_INT(last[ACTION_SETNS].e.value[0], CLONE_NEWNET);
	CHECK_INT(last[ACTION_SETNS].e.result, -EBADF);
	CHECK_INT(last[ACTION_SET_USER].e.value[2], 77);
	CHECK_INT(last[ACTION_SET_GROUP].e.value[2], 0);
	CHECK_INT(last[ACTION_LISTEN].e.value[0], IPPROTO_TCP);
	CHECK_INT(last[ACTION_LISTEN].e.value[2], 4);
	CHECK_INT(last[ACTION_LISTEN].e.value[3], htonl(INADDR_LOOPBACK));
	CHECK(last[ACTION_LISTEN].e.value[1] > 0);
	actor = 0;
}

/* The next one takes over, and what both have is read. False: there is none. */
static bool replace(uint64_t ring_bytes)
{
	struct timespec a, b;

	kernel_free(kernel);
	kernel = NULL;
	clock_gettime(CLOCK_MONOTONIC, &a);
	CHECK_INT(take_over(ring_bytes, &kernel), 0);
	clock_gettime(CLOCK_MONOTONIC, &b);
	if (!kernel)
		return false;
	took_ms = (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000;
	printf("# it took %ld ms\n", took_ms);
	CHECK(!kernel_was_adopted(kernel));
	nap(100);
	/* What the older one has is read first. */
	read_all();
	kernel_drop_older(kernel);
	CHECK(!kernel_has_older(kernel));
	return true;
}

static void *unmount(void *path)
{
	umount2(path, MNT_EXPIRE);
	return NULL;
}

/* A page that is there when we say so: what reads it waits. -1: not on this kernel. */
static int make_missing_page(void **ret)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -1;
	*ret = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	range.range.start = (uintptr_t)*ret;
	range.range.len = 4096;
	CHECK(ioctl(fd, UFFDIO_API, &api) == 0 && ioctl(fd, UFFDIO_REGISTER, &range) == 0);
	return fd;
}

/* It begins with one capture and ends with the one behind the next: that one tells it. */
TEST(a_call_that_takes_longer_than_two_handovers)
{
	struct uffdio_zeropage there = { .range.len = 4096 };
	struct uffd_msg msg;
	pthread_t thread;
	void *page;
	int fd;

	if (!usable)
		return;
	fd = make_missing_page(&page);
	if (fd < 0) {
		printf("# skipped: no userfaultfd()\n");
		return;
	}
	read_all();
	memset(acts, 0, sizeof(acts));
	actor = getpid();
	pthread_create(&thread, NULL, unmount, page);
	for (int i = 0; i < 200 && read(fd, &msg, sizeof(msg)) < 0; i++)
		nap(10);
	usable = replace(8 << 20) && replace(4 << 20);
	CHECK_INT(acts[ACTION_UNMOUNT], 0);
	there.range.start = (uintptr_t)page;
	CHECK(ioctl(fd, UFFDIO_ZEROPAGE, &there) == 0);
	pthread_join(thread, NULL);
	close(fd);
	munmap(page, 4096);
	if (usable)
		read_all();
	CHECK_INT(acts[ACTION_UNMOUNT], 1);
	CHECK_INT(last[ACTION_UNMOUNT].e.value[0], MNT_EXPIRE);
	CHECK_INT(last[ACTION_UNMOUNT].e.result, -ENOENT);
	actor = 0;
}

/*
 * Less and less often until the next round: a ring has room for what is done in a handover, however
 * long that takes on an emulated machine. Without what it may have open of a capture, whose
 * programs would stay as long as it does.
 */
static void call_again_and_again(struct calls *c)
{
	int round = 0, from = 0;

	close_range(3, ~0u, 0);
	while (!c->stop && c->n < CALLS_MAX) {
		setns(-1, c->n);
		ptrace(PTRACE_ATTACH, 0x10000000 + c->n, 0, 0);
		umount2("", 0x10000000 + c->n);
		c->n++;
		if (c->n % 8 == 0)
			nap(2 + (c->n - from) / 50);
		if (round != c->round)
			from = c->n;
		round = c->round;
	}
}

/* How many calls were told never, or more than once. */
static void check_calls(int n)
{
	int lost = 0, twice = 0;

	for (int kind = 0; kind < KINDS; kind++) {
		for (int i = 0; i < n; i++) {
			lost += !told[kind][i];
			twice += told[kind][i] > 1;
		}
	}
	printf("# %d calls; lost %d, twice %d\n", n * KINDS, lost, twice);
	CHECK(n > 100);
	CHECK_INT(lost, 0);
	CHECK_INT(twice, 0);
}

/* A child makes each of the calls, until calls_end(). */
static struct calls *calls_begin(void)
{
	struct calls *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(shared != MAP_FAILED);
	memset(told, 0, sizeof(told));
	caller = fork();
	if (caller == 0) {
		call_again_and_again(shared);
		_exit(0);
	}
	return shared;
}

static void calls_end(struct calls *shared)
{
	no_trampolines = false;
	shared->stop = true;
	waitpid(caller, NULL, 0);
	if (usable)
		read_all();
	check_calls(shared->n);
	caller = 0;
	munmap(shared, sizeof(*shared));
}

/* From behind the functions to the tracepoints and back, as when a version knows but these. */
TEST(from_one_way_of_seeing_calls_to_the_other)
{
	struct calls *shared;

	if (!usable || !behind_functions) {
		printf("# skipped: there is but one way\n");
		return;
	}
	/* Before 5.15, too. */
	no_trampolines = true;
	usable = replace(8 << 20);
	if (usable && kernel_lacks(kernel, KERNEL_EVENTS) &&
	    strstr(kernel_lacks(kernel, KERNEL_EVENTS), "setns")) {
		printf("# skipped: tracepoints of calls are no links\n");
		no_trampolines = false;
		usable = replace(4 << 20);
		return;
	}
	both_ways = usable;
	shared = calls_begin();
	for (int i = 0; i < 5 && usable; i++) {
		int functions, tracepoints;

		shared->round = i;
		nap(50);
		no_trampolines = i % 2;
		usable = replace(i % 2 ? 8 << 20 : 16 << 20);
		if (!usable)
			break;
		count_links(&functions, &tracepoints);
		CHECK_INT(functions, no_trampolines ? 0 : 14);
		CHECK_INT(tracepoints, no_trampolines ? 14 : 0);
	}
	calls_end(shared);
}

/*
 * One is killed on its way, at any moment of it, and another goes on from there: each pair of
 * ways to see calls, where there are two.
 */
TEST(from_one_that_was_killed_to_the_next)
{
	struct calls *shared;

	if (!usable)
		return;
	srandom((unsigned)time(NULL));
	usable = replace(64 << 20);
	shared = calls_begin();
	for (int i = 0; i < KILLS && usable; i++) {
		pid_t pid;

		shared->round = i;
		kernel_free(kernel);
		kernel = NULL;
		pid = fork();
		if (pid == 0) {
			no_trampolines = both_ways && i & 1;
			take_over(i % 2 ? 8 << 20 : 16 << 20, &kernel);
			_exit(0);
		}
		nap(random() % (took_ms + 1));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		no_trampolines = both_ways && i & 2;
		usable = take_over(32 << 20, &kernel) == 0;
		CHECK(usable);
		if (!usable)
			break;
		nap(20);
		read_all();
		kernel_drop_older(kernel);
		CHECK(!kernel_has_older(kernel));
	}
	calls_end(shared);
}

TEST(from_one_capture_to_the_next)
{
	struct shared {
		struct calls calls;
		volatile int n;
		pid_t pid[CHILDREN_MAX];
	} * shared;
	struct kernel_counters c;
	int lost = 0, twice = 0;

	if (!usable)
		return;
	memset(told, 0, sizeof(told));
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	CHECK(shared != MAP_FAILED);
	forget();
	maker = fork();
	if (maker == 0) {
		/* Or a capture's programs would stay as long as we do. */
		close_range(3, ~0u, 0);
		while (!shared->calls.stop && shared->n < CHILDREN_MAX) {
			shared->pid[shared->n] = run(0);
			shared->n++;
		}
		_exit(0);
	}
	caller = fork();
	if (caller == 0) {
		call_again_and_again(&shared->calls);
		_exit(0);
	}
	for (int i = 0; i < ROUNDS; i++) {
		shared->calls.round = i;
		nap(100);
		if (!replace(i % 2 ? 32 << 20 : 16 << 20))
			break;
	}
	shared->calls.stop = true;
	waitpid(maker, NULL, 0);
	waitpid(caller, NULL, 0);
	if (!kernel)
		return;
	read_all();
	check_calls(shared->calls.n);
	caller = 0;
	for (int i = 0; i < shared->n; i++)
		seen[shared->pid[i] % PIDS].made++;
	for (int i = 0; i < PIDS; i++) {
		lost += (seen[i].execs < seen[i].made) + (seen[i].exits < seen[i].made);
		twice += (seen[i].execs > seen[i].made) + (seen[i].exits > seen[i].made);
	}
	CHECK_INT(kernel_get_counters(kernel, KERNEL_EVENTS, &c), 0);
	printf("# %d processes, %d replacements; lost %d, twice %d; seen %llu submitted %llu filtered %llu skipped %llu\n",
	       shared->n, ROUNDS, lost, twice, (unsigned long long)c.seen,
	       (unsigned long long)c.submitted, (unsigned long long)c.filtered,
	       (unsigned long long)c.skipped);
	CHECK_INT(lost, 0);
	CHECK_INT(twice, 0);
	CHECK(shared->n > 10);
	CHECK_INT(c.live, 0);
	CHECK_INT(c.ring_full, 0);
}

/* From a capture that does not tell of the environment to one that does, and back. */
TEST(names_of_the_environment)
{
	static const char want[] = "TEST_CHILD\0/";
	const struct seen *s;

	maker = 0;
	for (int i = 0; usable && kernel && i < 2; i++) {
		with_environment = i == 0;
		kernel_free(kernel);
		kernel = NULL;
		CHECK_INT(take_over(4 << 20, &kernel), 0);
		if (!kernel)
			break;
		read_all();
		kernel_drop_older(kernel);
		forget();
		s = seen_of(run(0));
		CHECK_INT(s->execs, 1);
		CHECK_INT(s->exec.flags, 0);
		CHECK_INT(s->exec.environment_len, with_environment ? 11 : 0);
		CHECK(memcmp(s->data, with_environment ? want : want + 11, 1) == 0);
		CHECK(!with_environment || memcmp(s->data, want, 12) == 0);
	}
}

TEST(gone)
{
	if (kernel)
		kernel_detach(kernel);
	kernel_free(kernel);
	if (!geteuid()) {
		kernel_cleanup(dir);
		CHECK(access(dir, F_OK) < 0);
	}
	free(seen);
}
