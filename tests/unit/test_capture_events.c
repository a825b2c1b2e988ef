/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel events on the running kernel: processes whose truth is known, the raw
 * samples; and one capture that takes over from another while processes come and
 * go: each exec and each exit is in one of their rings. Needs root.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bpf/events.h"
#include "tests/lib/test.h"
#include "user/probe.h"
#include "user/ring.h"

#define CHILDREN_MAX 40000
#define ROUNDS	     3

static struct kernel *kernel;
static char dir[64];
static bool usable, with_environment;
static pid_t maker; /* 0: everybody's; else only its children are looked at */

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

TEST(attaches)
{
	snprintf(dir, sizeof(dir), "/sys/fs/bpf/sekoia-test-ev%d", getpid());
	if (geteuid()) {
		printf("# skipped: not root\n");
		return;
	}
	seen = calloc(PIDS, sizeof(*seen));
	CHECK(seen != NULL);
	CHECK_INT(take_over(4 << 20, &kernel), 0);
	usable = kernel && seen;
	if (!usable)
		return;
	CHECK(kernel_has(kernel, KERNEL_EVENTS));
	if (kernel_lacks(kernel, KERNEL_EVENTS))
		printf("# lacks: %s\n", kernel_lacks(kernel, KERNEL_EVENTS));
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

TEST(from_one_capture_to_the_next)
{
	struct shared {
		volatile bool stop;
		volatile int n;
		pid_t pid[CHILDREN_MAX];
	} * shared;
	struct kernel_counters c;
	int lost = 0, twice = 0;

	if (!usable)
		return;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	CHECK(shared != MAP_FAILED);
	forget();
	maker = fork();
	if (maker == 0) {
		/* Or a capture's programs would stay as long as we do. */
		close_range(3, ~0u, 0);
		while (!shared->stop && shared->n < CHILDREN_MAX) {
			shared->pid[shared->n] = run(0);
			shared->n++;
		}
		_exit(0);
	}
	for (int i = 0; i < ROUNDS; i++) {
		struct kernel *next;

		nap(100);
		kernel_free(kernel);
		kernel = NULL;
		CHECK_INT(take_over(i % 2 ? 4 << 20 : 8 << 20, &next), 0);
		kernel = next;
		if (!kernel)
			break;
		CHECK(!kernel_was_adopted(kernel));
		nap(100);
		/* What the older one has is read first. */
		read_all();
		kernel_drop_older(kernel);
		CHECK(!kernel_has_older(kernel));
	}
	shared->stop = true;
	waitpid(maker, NULL, 0);
	if (!kernel)
		return;
	read_all();
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
