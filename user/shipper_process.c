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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "config/config.h"
#include "user/starter.h"
#include "user/util/clock.h"
#include "user/util/control.h"
#include "user/util/log.h"

#define RESTART_MIN_MS 500
#define RESTART_MAX_MS 30000
/* A shipper that has lived for this long was well: its death starts a new series. */
#define WELL_MS 60000
/* Without pidfd_open(2) (before Linux 5.3) the process is asked this often. */
#define POLL_MS 200
/* From the deadline of a stop to SIGKILL. */
#define KILL_AFTER_MS 1000
#define TELL_AGAIN_MS 20
/* What a shipper gets to end, when it is to be started again with another view. */
#define MOVE_MS	  1000
#define BOOKS_MAX 8 /* outputs */

/* What a shipper sees as long as it lives, by its numbers. */
struct view {
	dev_t dev, spool_dev; /* spool_dev: 0 while there is no spool */
	ino_t ino;
};

struct shipper_process {
	struct loop *loop;
	const struct config *config;
	struct starter starter;
	pid_t pid;		 /* 0: none */
	int control_fd;		 /* -1: none */
	struct loop_io exit_io;	 /* the pidfd */
	struct loop_timer poll;	 /* instead of it */
	struct loop_timer later; /* start it; on stopping: tell it again, or tell the caller */
	struct loop_timer kill;
	bool killed;
	struct view view; /* of this shipper */
	struct {
		size_t len;
		uint8_t data[CONTROL_BOOKS_MAX];
	} books[BOOKS_MAX]; /* of the one before, for the next one */
	int n_books;
	uint64_t started_ms;
	uint64_t pause_ms; /* before the next start */
	bool restarting;   /* it was told to end, to be started again at once */
	bool stopping;
	bool gave_up; /* there is no starter */
	uint64_t deadline_ms;
	shipper_stopped_fn stopped_fn;
	void *stopped_arg;
	struct shipper_process_stats stats;
};

/* ------------------------------------------------------------------ its end */

static void start_later(struct shipper_process *s)
{
	uint64_t now_ms = loop_now_ms(s->loop);

	if (s->pause_ms < RESTART_MIN_MS || now_ms - s->started_ms >= WELL_MS)
		s->pause_ms = RESTART_MIN_MS;
	loop_timer_set(s->loop, &s->later, now_ms + s->pause_ms);
	s->pause_ms = s->pause_ms * 2 < RESTART_MAX_MS ? s->pause_ms * 2 : RESTART_MAX_MS;
}

static void start_now(struct shipper_process *s)
{
	s->pause_ms = 0;
	loop_timer_set(s->loop, &s->later, loop_now_ms(s->loop));
}

static void describe_status(int status, char *ret, size_t size)
{
	if (WIFSIGNALED(status)) {
		const char *name = sigabbrev_np(WTERMSIG(status));

		snprintf(ret, size, "killed by SIG%s%s%s", name ? name : "?",
			 WTERMSIG(status) == SIGSYS ? ", for a system call that it may not make"
						    : "",
			 WCOREDUMP(status) ? ", dumped core" : "");
	} else if (WEXITSTATUS(status) == 127) {
		snprintf(ret, size, "could not be executed; is /proc mounted?");
	} else {
		snprintf(ret, size, "exited with code %d", WEXITSTATUS(status));
	}
}

/* What it handed back when it ended. One that was killed had no time to. */
static void take_books(struct shipper_process *s)
{
	bool was_reset = false;

	s->n_books = 0;
	while (s->control_fd >= 0 && s->n_books < BOOKS_MAX) {
		uint8_t *data = s->books[s->n_books].data;
		ssize_t n = recv(s->control_fd, data, CONTROL_BOOKS_MAX, MSG_DONTWAIT);

		/* It left wake-ups unread, which is told before what it has sent. */
		if (n < 0 && errno == ECONNRESET && !was_reset) {
			was_reset = true;
			continue;
		}
		if (n <= 0)
			break;
		if (data[0] == CONTROL_BOOKS)
			s->books[s->n_books++].len = (size_t)n;
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
	s->killed = s->restarting = false;
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
	bool clean, restart;
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
	restart = s->restarting && clean;
	take_books(s);
	forget_process(s);
	if (s->stopping) {
		if (!clean)
			log_warning("shipper (pid %d): %s while stopping; what is not acknowledged "
				    "stays in the spool",
				    (int)pid, s->stats.last_death);
		tell_stopped(s, clean);
		return;
	}
	if (restart) {
		start_now(s);
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
		/* Stuck in the kernel, or nobody could kill it: the collector does not wait. */
		forget_process(s);
		if (s->stopping)
			tell_stopped(s, false);
		else
			start_later(s);
		return;
	}
	log_warning("shipper (pid %d): did not stop in time; killing it, what is not acknowledged "
		    "stays in the spool",
		    (int)s->pid);
	s->stats.kills++;
	s->killed = true;
	starter_kill(&s->starter);
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

/* 0, or -errno: there is no such folder at the moment. */
static int look(const struct shipper_process *s, struct view *ret)
{
	_cleanup_free_ char *path = strdup(s->config->spool_dir);
	size_t len = path ? strlen(path) : 0;
	struct stat around, spool;
	char *slash;

	if (!path)
		return -ENOMEM;
	*ret = (struct view){ 0 };
	if (stat(path, &spool) == 0)
		ret->spool_dev = spool.st_dev;
	while (len > 1 && path[len - 1] == '/')
		path[--len] = '\0';
	slash = strrchr(path, '/');
	if (!slash || slash == path)
		return 0;
	*slash = '\0';
	if (stat(path, &around) < 0)
		return -errno;
	ret->dev = around.st_dev;
	ret->ino = around.st_ino;
	return 0;
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
	int pair[2], err;
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
	for (int i = 0; i < s->n_books; i++)
		(void)send(ours, s->books[i].data, s->books[i].len, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)look(s, &s->view);
	*ret_what = "fork";
	s->stats.fork_from_ns = clock_boot_ns();
	err = starter_start(&s->starter, theirs, &pid);
	s->stats.fork_to_ns = clock_boot_ns();
	if (err)
		return err;

	s->pid = pid;
	s->control_fd = TAKE_FD(ours);
	err = watch_exit(s);
	/* What can not be watched by its descriptor is asked every so often. */
	if (err)
		loop_timer_set(s->loop, &s->poll, loop_now_ms(s->loop) + POLL_MS);
	return 0;
}

/* Without a starter there will be no shipper: who starts the collector again makes both. */
static void give_up(struct shipper_process *s)
{
	int status = 0;

	if (!s->gave_up) {
		if (waitpid(s->starter.pid, &status, WNOHANG) == s->starter.pid)
			describe_status(status, s->stats.last_death, sizeof(s->stats.last_death));
		else
			snprintf(s->stats.last_death, sizeof(s->stats.last_death),
				 "does not answer");
		log_error("starter (pid %d): %s; without it no shipper can be started: ending, so "
			  "that a new start can. Nothing is lost: the kernel goes on collecting",
			  (int)s->starter.pid, s->stats.last_death);
	}
	s->gave_up = true;
	/* Once more from inside the loop, in case that it does not run yet. */
	loop_timer_set(s->loop, &s->later, loop_now_ms(s->loop));
	loop_stop(s->loop, -EPIPE);
}

static void start(struct shipper_process *s)
{
	const char *what;
	int err;

	s->started_ms = loop_now_ms(s->loop);
	err = start_process(s, &what);
	if (err) {
		s->stats.failures++;
		if (s->starter.fd < 0) {
			give_up(s);
			return;
		}
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

void shipper_check_view(struct shipper_process *s)
{
	struct view now;

	if (!s->pid || s->stopping || s->restarting || look(s, &now) < 0 || !now.spool_dev ||
	    (now.dev == s->view.dev && now.ino == s->view.ino &&
	     (now.spool_dev == s->view.spool_dev || !s->view.spool_dev)))
		return;
	log_info("spool %s: the folder around it, or its file system, is another one, which the "
		 "shipper (pid %d) does not see: it is started again",
		 s->config->spool_dir, (int)s->pid);
	shipper_restart(s, loop_now_ms(s->loop) + MOVE_MS);
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
	if (s->pid)
		tell_stop(s);
	else if (!s->stopping)
		start(s);
	else
		tell_stopped(s, true);
}

void shipper_stop(struct shipper_process *s, uint64_t deadline_ms, shipper_stopped_fn fn, void *arg)
{
	if (s->stopping && s->deadline_ms < deadline_ms)
		return;
	s->restarting = false;
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

void shipper_set_config(struct shipper_process *s, const struct config *config)
{
	s->config = config;
}

void shipper_restart(struct shipper_process *s, uint64_t deadline_ms)
{
	if (s->stopping)
		return;
	if (!s->pid) {
		/* What it died of may be what was mended. */
		start_now(s);
		return;
	}
	s->restarting = true;
	s->deadline_ms = deadline_ms;
	tell_stop(s);
	loop_timer_set(s->loop, &s->kill, deadline_ms + KILL_AFTER_MS);
}

/* ------------------------------------------------------------------ life */

int shipper_start(struct loop *loop, const struct config *config, struct shipper_process **ret)
{
	struct shipper_process *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	err = starter_init(&s->starter);
	if (err) {
		free(s);
		return err;
	}
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
	starter_done(&s->starter);
	free(s);
}
