/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/shipper_process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "config/config.h"
#include "user/util/clock.h"
#include "user/util/control.h"
#include "user/util/log.h"

#define CONTROL_FD     3
#define RESTART_MIN_MS 500
#define RESTART_MAX_MS 30000
/* A shipper that has lived for this long was well: its death starts a new series. */
#define WELL_MS 60000
/* Without pidfd_open(2) (before Linux 5.3) the process is asked this often. */
#define POLL_MS 200
/* From the deadline of a stop to SIGKILL. */
#define KILL_AFTER_MS 1000
#define TELL_AGAIN_MS 20

struct shipper_process {
	struct loop *loop;
	const struct config *config;
	pid_t pid;		 /* 0: none */
	int control_fd;		 /* -1: none */
	struct loop_io exit_io;	 /* the pidfd */
	struct loop_timer poll;	 /* instead of it */
	struct loop_timer later; /* start it; on stopping: tell it again, or tell the caller */
	struct loop_timer kill;
	bool killed;
	uint64_t started_ms;
	uint64_t pause_ms; /* before the next start */
	bool stopping;
	uint64_t deadline_ms;
	shipper_stopped_fn stopped_fn;
	void *stopped_arg;
	struct shipper_process_stats stats;
};

/* ------------------------------------------------------------------ the child */

/*
 * What the shipper may know of our environment; above all, not a key that was
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

/* After fork(): system calls only. */
__attribute__((noreturn)) static void become_shipper(int control_fd, char **envp)
{
	static char name[] = "sekoia-ebpf: shipper", verb[] = "shipper";
	char *argv[] = { name, verb, NULL };
	struct sigaction plain = { .sa_handler = SIG_DFL };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t none;
	int null_fd;

	for (int signo = 1; signo < NSIG; signo++)
		sigaction(signo, &plain, NULL);
	/* From its first instruction on: the whole group gets a Ctrl-C. */
	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGTERM, &ignore, NULL);
	sigaction(SIGHUP, &ignore, NULL);
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

/* ------------------------------------------------------------------ its end */

static void start_later(struct shipper_process *s)
{
	uint64_t now_ms = loop_now_ms(s->loop);

	if (s->pause_ms < RESTART_MIN_MS || now_ms - s->started_ms >= WELL_MS)
		s->pause_ms = RESTART_MIN_MS;
	loop_timer_set(s->loop, &s->later, now_ms + s->pause_ms);
	s->pause_ms = s->pause_ms * 2 < RESTART_MAX_MS ? s->pause_ms * 2 : RESTART_MAX_MS;
}

static void describe_status(int status, char *ret, size_t size)
{
	if (WIFSIGNALED(status)) {
		const char *name = sigabbrev_np(WTERMSIG(status));

		snprintf(ret, size, "killed by SIG%s%s", name ? name : "?",
			 WCOREDUMP(status) ? ", dumped core" : "");
	} else if (WEXITSTATUS(status) == 127) {
		snprintf(ret, size, "could not be executed; is /proc mounted?");
	} else {
		snprintf(ret, size, "exited with code %d", WEXITSTATUS(status));
	}
}

static void forget_process(struct shipper_process *s)
{
	loop_del(&s->exit_io);
	close_fd(s->exit_io.fd);
	s->exit_io.fd = -1;
	close_fd(s->control_fd);
	s->control_fd = -1;
	loop_timer_cancel(&s->poll);
	loop_timer_cancel(&s->kill);
	s->pid = 0;
	s->killed = false;
}

/* The last thing that its caller does: fn may free s. */
static void tell_stopped(struct shipper_process *s, bool clean)
{
	loop_timer_cancel(&s->later);
	if (s->stopped_fn)
		s->stopped_fn(s->stopped_arg, clean);
}

static void reap(struct shipper_process *s)
{
	bool clean;
	int status;
	pid_t pid;

	pid = waitpid(s->pid, &status, WNOHANG);
	if (pid == 0 || (pid < 0 && errno == EINTR))
		return;
	if (pid < 0) {
		/* Somebody else has waited for it; it is gone all the same. */
		snprintf(s->stats.last_death, sizeof(s->stats.last_death), "waitpid: %s",
			 log_strerror(errno));
		status = -1;
	}
	clean = pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
	if (pid > 0 && !(clean && s->stopping))
		describe_status(status, s->stats.last_death, sizeof(s->stats.last_death));
	pid = s->pid;
	forget_process(s);
	if (s->stopping) {
		if (!clean)
			log_warning("shipper (pid %d): %s while stopping; what is not acknowledged "
				    "stays in the spool",
				    (int)pid, s->stats.last_death);
		tell_stopped(s, clean);
		return;
	}
	s->stats.deaths++;
	start_later(s);
	log_error("shipper (pid %d): %s; starting it again in %" PRIu64 " ms, nothing is lost",
		  (int)pid, s->stats.last_death, s->later.due_ms - loop_now_ms(s->loop));
}

static void on_exit_io(void *arg, uint32_t events)
{
	(void)events;
	reap(arg);
}

static void on_poll(void *arg, uint64_t now_ms)
{
	struct shipper_process *s = arg;

	loop_timer_set(s->loop, &s->poll, now_ms + POLL_MS);
	reap(s);
}

static void on_kill(void *arg, uint64_t now_ms)
{
	struct shipper_process *s = arg;

	if (!s->pid)
		return;
	if (s->killed) {
		/* No CAP_KILL, or stuck in the kernel: the collector does not wait for that. */
		forget_process(s);
		tell_stopped(s, false);
		return;
	}
	log_warning("shipper (pid %d): did not stop in time; killing it, what is not acknowledged "
		    "stays in the spool",
		    (int)s->pid);
	s->stats.kills++;
	s->killed = true;
	kill(s->pid, SIGKILL);
	loop_timer_set(s->loop, &s->kill, now_ms + KILL_AFTER_MS);
}

/* ------------------------------------------------------------------ its start */

static int send_config(const struct shipper_process *s, int fd)
{
	struct buf text;
	ssize_t n;
	int err;

	buf_init(&text, CONTROL_CONFIG_MAX);
	err = config_write(s->config, &text);
	/* Never empty: that would be the end of the stream. */
	if (!err)
		err = buf_puts(&text, "\n");
	if (!err) {
		n = send(fd, buf_data(&text), text.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		err = n < 0 ? -errno : 0;
	}
	buf_wipe(&text);
	return err;
}

static int watch_exit(struct shipper_process *s)
{
#ifdef SYS_pidfd_open
	s->exit_io.fd = (int)syscall(SYS_pidfd_open, s->pid, 0);
	if (s->exit_io.fd >= 0) {
		fcntl(s->exit_io.fd, F_SETFD, FD_CLOEXEC);
		return loop_add(s->loop, &s->exit_io);
	}
#endif
	loop_timer_set(s->loop, &s->poll, loop_now_ms(s->loop) + POLL_MS);
	return 0;
}

static int start_process(struct shipper_process *s, const char **ret_what)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	char *envp[N_KEPT + 1];
	int pair[2], err;
	sigset_t all, before;
	pid_t pid;

	*ret_what = "socketpair";
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	*ret_what = "handing over the configuration";
	err = send_config(s, ours);
	if (err)
		return err;
	keep_environment(envp);
	*ret_what = "fork";
	/* No signal meets the new process before it has chosen what to ignore. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	s->stats.fork_from_ns = clock_boot_ns();
	pid = fork();
	if (pid == 0)
		become_shipper(theirs, envp);
	err = -errno;
	s->stats.fork_to_ns = clock_boot_ns();
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return err;

	s->pid = pid;
	s->control_fd = TAKE_FD(ours);
	err = watch_exit(s);
	/* What can not be watched by its descriptor is asked every so often. */
	if (err)
		loop_timer_set(s->loop, &s->poll, loop_now_ms(s->loop) + POLL_MS);
	return 0;
}

static void start(struct shipper_process *s)
{
	const char *what;
	int err;

	s->started_ms = loop_now_ms(s->loop);
	err = start_process(s, &what);
	if (err) {
		s->stats.failures++;
		start_later(s);
		log_error("shipper: %s: %s; trying again in %" PRIu64 " ms, nothing is lost", what,
			  log_strerror(err), s->later.due_ms - loop_now_ms(s->loop));
		return;
	}
	s->stats.starts++;
	log_debug("shipper: started as pid %d", (int)s->pid);
}

/* ------------------------------------------------------------------ messages */

static int tell(const struct shipper_process *s, const struct control_msg *m)
{
	uint8_t data[CONTROL_MSG_MAX];
	size_t len = control_encode(m, data);

	if (s->control_fd < 0)
		return -ENOTCONN;
	return send(s->control_fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

void shipper_wake(struct shipper_process *s)
{
	static const struct control_msg wake = { .type = CONTROL_WAKE };

	/*
	 * -EAGAIN: wake-ups that it has not read are waiting already. Others: it is
	 * dead, which its pidfd tells; the next one looks at the spool by itself.
	 */
	tell(s, &wake);
}

static void tell_stop(struct shipper_process *s)
{
	struct control_msg stop = { .type = CONTROL_STOP, .deadline_ms = s->deadline_ms };

	/* Its queue is full of wake-ups, which it will read. */
	if (tell(s, &stop) == -EAGAIN)
		loop_timer_set(s->loop, &s->later, loop_now_ms(s->loop) + TELL_AGAIN_MS);
}

static void on_later(void *arg, uint64_t now_ms)
{
	struct shipper_process *s = arg;

	(void)now_ms;
	if (!s->stopping)
		start(s);
	else if (s->pid)
		tell_stop(s);
	else
		tell_stopped(s, true);
}

void shipper_stop(struct shipper_process *s, uint64_t deadline_ms, shipper_stopped_fn fn, void *arg)
{
	if (s->stopping && s->deadline_ms < deadline_ms)
		return;
	s->stopping = true;
	s->deadline_ms = deadline_ms;
	s->stopped_fn = fn;
	s->stopped_arg = arg;
	if (s->pid) {
		tell_stop(s);
		loop_timer_set(s->loop, &s->kill, deadline_ms + KILL_AFTER_MS);
	} else {
		/* fn is called from the loop, never from inside this. */
		loop_timer_set(s->loop, &s->later, loop_now_ms(s->loop));
	}
}

/* ------------------------------------------------------------------ life */

int shipper_start(struct loop *loop, const struct config *config, struct shipper_process **ret)
{
	struct shipper_process *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->config = config;
	s->control_fd = -1;
	s->exit_io = (struct loop_io){ .fd = -1, .events = EPOLLIN, .fn = on_exit_io, .arg = s };
	s->poll = (struct loop_timer){ .fn = on_poll, .arg = s };
	s->later = (struct loop_timer){ .fn = on_later, .arg = s };
	s->kill = (struct loop_timer){ .fn = on_kill, .arg = s };
	start(s);
	*ret = s;
	return 0;
}

void shipper_get_stats(const struct shipper_process *s, struct shipper_process_stats *ret)
{
	*ret = s->stats;
	ret->pid = s->pid;
}

void shipper_free(struct shipper_process *s)
{
	if (!s)
		return;
	forget_process(s);
	loop_timer_cancel(&s->later);
	free(s);
}
