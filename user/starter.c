/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/starter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "user/util/log.h"
#include "user/util/privs.h"

#define CONTROL_FD 3
/* A fork takes less than a millisecond; a starter that does not answer is stopped or stuck. */
#define ANSWER_MS 5000

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

/* Requests are one byte; that for a start comes with a descriptor. */
enum request { REQUEST_START = 's', REQUEST_KILL = 'k' };

/* ------------------------------------------------------------------ becoming another */

/*
 * What they may know of our environment; above all, not a key that was
 * given in it. The last three are for tests.
 */
static const char *const kept_variables[] = {
	"SSL_CERT_FILE",   "SSL_CERT_DIR",  "TZ",
	"LD_LIBRARY_PATH", "LOCALDOMAIN",   "RES_OPTIONS",
	"ASAN_OPTIONS",	   "UBSAN_OPTIONS", "LSAN_OPTIONS",
};
#define N_KEPT (sizeof(kept_variables) / sizeof(kept_variables[0]))

static void keep_environment(char *ret[static N_KEPT + 1])
{
	size_t n = 0;

	for (char **e = environ; e && *e; e++) {
		for (size_t i = 0; i < N_KEPT; i++) {
			size_t len = strlen(kept_variables[i]);

			if (n < N_KEPT && strncmp(*e, kept_variables[i], len) == 0 &&
			    (*e)[len] == '=')
				ret[n++] = *e;
		}
	}
	ret[n] = NULL;
}

static void close_from(int first)
{
	struct rlimit limit;

#ifdef SYS_close_range
	if (syscall(SYS_close_range, (unsigned int)first, ~0u, 0u) == 0)
		return;
#endif
	/* Before Linux 5.9. */
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > 1 << 20)
		limit.rlim_cur = 1 << 20;
	for (int fd = first; fd < (int)limit.rlim_cur; fd++)
		close(fd);
}

/* After fork(): system calls only. argv is { title, verb, ..., NULL }. */
__attribute__((noreturn)) static void become(char *const argv[], int control_fd, char **envp)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t none;
	int null_fd;

	/* Not those three for a moment: the whole group gets a Ctrl-C. */
	for (int signo = 1; signo < NSIG; signo++) {
		bool group = signo == SIGINT || signo == SIGTERM || signo == SIGHUP;

		sigaction(signo, group ? &ignore : &plain, NULL);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);

	/* dup2() of a descriptor to itself would leave it close-on-exec. */
	if (control_fd == CONTROL_FD) {
		if (fcntl(CONTROL_FD, F_SETFD, 0) < 0)
			_exit(126);
	} else if (dup2(control_fd, CONTROL_FD) < 0) {
		_exit(126);
	}
	null_fd = open("/dev/null", O_RDONLY);
	if (null_fd >= 0)
		dup2(null_fd, STDIN_FILENO);
	close_from(CONTROL_FD + 1);
	execve("/proc/self/exe", argv, envp);
	_exit(127);
}

/* ------------------------------------------------------------------ the starter */

/*
 * What a shipper needs until it has read its files and become its user: to
 * read a key that is its owner's alone, to make its own file tree, to change
 * user. And to kill it afterwards.
 */
#define BIT(cap) (1ull << (cap))
static const uint64_t kept_caps = BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_DAC_OVERRIDE) |
				  BIT(CAP_SYS_ADMIN) | BIT(CAP_SETUID) | BIT(CAP_SETGID) |
				  BIT(CAP_SETPCAP) | BIT(CAP_KILL);

/* As fork(), but the child is our parent's. */
static pid_t fork_sibling(void)
{
#ifdef __s390x__
	return (pid_t)syscall(SYS_clone, 0, CLONE_PARENT | SIGCHLD, 0, 0, 0);
#else
	return (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
#endif
}

static int32_t start(int control_fd, int *pid_fd)
{
	static char title[] = "sekoia-ebpf: shipper", verb[] = "shipper";
	char *argv[] = { title, verb, NULL };
	pid_t pid;

	pid = fork_sibling();
	if (pid == 0)
		become(argv, control_fd, environ);
	if (pid < 0)
		return -errno;
	close_fd(*pid_fd);
	*pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (*pid_fd >= 0)
		fcntl(*pid_fd, F_SETFD, FD_CLOEXEC);
	return pid;
}

/* The request, 0 when the collector is gone, or -errno. The caller owns *ret_fd, perhaps -1. */
static int receive(int fd, int *ret_fd)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	char request = 0;
	struct iovec iov = { .iov_base = &request, .iov_len = 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control.room,
			    .msg_controllen = sizeof(control.room) };
	struct cmsghdr *c;
	ssize_t n;

	*ret_fd = -1;
	do {
		n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : 0;
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	return (unsigned char)request;
}

int starter_main(int fd)
{
	_cleanup_close_ int pid_fd = -1;
	int32_t answer;
	int err;

	log_set_name("sekoia-ebpf[starter]");
	prctl(PR_SET_NAME, "sekoia-starter", 0, 0, 0);
	err = privs_keep(kept_caps);
	if (err)
		log_warning("giving up capabilities: %s", log_strerror(err));
	for (;;) {
		_cleanup_close_ int control_fd = -1;
		int request = receive(fd, &control_fd);

		if (request == -ENOTSOCK || request == -EBADF)
			log_error("this process is started by the collector, not by hand");
		if (request <= 0)
			return request ? EXIT_FAILURE : EXIT_SUCCESS;
		answer = -EINVAL;
		if (request == REQUEST_START && control_fd >= 0)
			answer = start(control_fd, &pid_fd);
		else if (request == REQUEST_KILL)
			answer = syscall(SYS_pidfd_send_signal, pid_fd, SIGKILL, NULL, 0) < 0
					 ? -errno
					 : 0;
		if (send(fd, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
			return EXIT_FAILURE;
	}
}

/* ------------------------------------------------------------------ the collector's side */

int starter_spawn(char *const argv[], int fd, pid_t *ret_pid)
{
	char *envp[N_KEPT + 1];
	sigset_t all, before;
	pid_t pid;
	int err;

	keep_environment(envp);
	/* No signal meets the new process before it has chosen what to ignore. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		become(argv, fd, envp);
	err = -errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return err;
	*ret_pid = pid;
	return 0;
}

int starter_init(struct starter *ret)
{
	static char title[] = "sekoia-ebpf: starter", verb[] = "starter";
	char *argv[] = { title, verb, NULL };
	_cleanup_close_ int ours = -1, theirs = -1;
	int pair[2], err;

	*ret = (struct starter){ .fd = -1 };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	err = starter_spawn(argv, theirs, &ret->pid);
	if (err)
		return err;
	ret->fd = TAKE_FD(ours);
	return 0;
}

/* Asks and waits for the answer. What goes wrong on the way ends the acquaintance. */
static int ask(struct starter *s, char request, int fd, int32_t *ret)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .align = { .cmsg_level = SOL_SOCKET,
				 .cmsg_type = SCM_RIGHTS,
				 .cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct iovec iov = { .iov_base = &request, .iov_len = 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	int r;

	if (s->fd < 0)
		return -EPIPE;
	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
		m.msg_control = control.room;
		m.msg_controllen = sizeof(control.room);
	}
	if (sendmsg(s->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == 1) {
		do {
			r = poll(&p, 1, ANSWER_MS);
		} while (r < 0 && errno == EINTR);
		if (r == 1 && recv(s->fd, ret, sizeof(*ret), MSG_DONTWAIT) == sizeof(*ret))
			return 0;
	}
	close_fd(TAKE_FD(s->fd));
	return -EPIPE;
}

int starter_start(struct starter *s, int fd, pid_t *ret_pid)
{
	int32_t answer;
	int err = ask(s, REQUEST_START, fd, &answer);

	if (err)
		return err;
	if (answer <= 0)
		return answer ? answer : -EPROTO;
	*ret_pid = answer;
	return 0;
}

int starter_kill(struct starter *s)
{
	int32_t answer;

	return ask(s, REQUEST_KILL, -1, &answer);
}

void starter_done(struct starter *s)
{
	close_fd(s->fd);
	s->fd = -1;
	if (!s->pid)
		return;
	/* It has nothing to do but to see that we are gone; one that is stuck is init's. */
	for (int i = 0; i < 100; i++) {
		const struct timespec pause = { .tv_nsec = 2000000 };

		if (waitpid(s->pid, NULL, WNOHANG) != 0)
			break;
		nanosleep(&pause, NULL);
	}
	s->pid = 0;
}
