/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acts WHAT TOKEN [FILE]: does one of the things that a kernel event is made of. The
 * token is only there to be found among the arguments. Exits 0 when it worked.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
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

static const struct {
	const char *name;
	int (*fn)(const char *token, const char *file);
} acts[] = {
	{ "memfd", memfd },
	{ "deleted", deleted },
	{ "threads", threads },
	{ "forks", forks },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 2 && i < sizeof(acts) / sizeof(acts[0]); i++)
		if (!strcmp(acts[i].name, argv[1]))
			return acts[i].fn(argv[2], argv[3]);
	fprintf(stderr, "usage: acts WHAT TOKEN [FILE]\n");
	return 2;
}
