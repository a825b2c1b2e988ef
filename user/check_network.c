/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to the intake is gone by a child that has given up everything, as the
 * shipper has: what peers say is parsed there. What it finds comes back through
 * a pipe, in pieces of a fixed size, and is not trusted either.
 */
#define _GNU_SOURCE
#include "user/check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/config.h"
#include "output/diagnose.h"
#include "user/util/cleanup.h"
#include "user/util/log.h"
#include "user/util/privs.h"

_Static_assert(sizeof(struct finding) <= PIPE_BUF, "one write is one finding");

static void send_finding(void *arg, const struct finding *f)
{
	const int *fd = arg;

	while (write(*fd, f, sizeof(*f)) < 0 && errno == EINTR)
		;
}

/* The child: only the pipe leads out of it. */
static int run_child(const struct config *config, int fd)
{
	const struct finding_sink sink = { .take = send_finding, .arg = &fd };
	_cleanup_(diagnosis_freep) struct diagnosis *d = NULL;
	const char *user;
	uid_t uid;
	gid_t gid;
	int err;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	err = diagnosis_new(config, &sink, &d);
	if (err)
		return err;
	user = privs_lookup_unprivileged(config->shipper_user, &uid, &gid);
	/* Nobody has nothing to give up: an ordinary user's check looks as that user. */
	if (geteuid() == 0) {
		err = privs_drop(uid, gid);
		if (err) {
			finding_tell(&sink, FINDING_FAIL, "network.privileges",
				     "CAP_SETUID, CAP_SETGID and CAP_SETPCAP are needed, and a "
				     "shipper.user that is not root",
				     "can not become %s: %s; the network was not tried", user,
				     log_strerror(err));
			return 0;
		}
		/* It was for the parent's death, and a change of user has cleared it. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	}
	return diagnosis_run(d);
}

static void take_findings(const struct check *c, int fd)
{
	struct finding f;
	size_t have = 0;
	ssize_t n;

	for (;;) {
		n = read(fd, (char *)&f + have, sizeof(f) - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		have += (size_t)n;
		if (have < sizeof(f))
			continue;
		finding_tidy(&f);
		c->sink.take(c->sink.arg, &f);
		have = 0;
	}
}

void check_network(const struct check *c)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	int pair[2], status = 0;
	pid_t pid;

	if (pipe2(pair, O_CLOEXEC) < 0) {
		finding_tell(&c->sink, FINDING_FAIL, "network", NULL, "pipe: %s",
			     log_strerror(errno));
		return;
	}
	ours = pair[0];
	theirs = pair[1];
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		finding_tell(&c->sink, FINDING_FAIL, "network", NULL, "fork: %s",
			     log_strerror(errno));
		return;
	}
	if (pid == 0) {
		close_fd(TAKE_FD(ours));
		_exit(run_child(c->config, theirs) ? EXIT_FAILURE : EXIT_SUCCESS);
	}
	close_fd(TAKE_FD(theirs));
	take_findings(c, ours);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		finding_tell(&c->sink, FINDING_FAIL, "network",
			     "please report it, with what you see",
			     "the process that tries the network ended badly (%s %d)",
			     WIFSIGNALED(status) ? "signal" : "status",
			     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}
