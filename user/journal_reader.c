/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/journal_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "user/journal_export.h"
#include "user/journal_reads.h"
#include "user/starter.h"
#include "user/util/cleanup.h"
#include "user/util/log.h"
#include "user/util/privs.h"

#define SOCKET_BYTES (1 << 20)
/* journald writes what it has when it has nothing else to do: in a storm that may be never. */
#define SYNC_MS 15000
#define NICE	10
#define NONE	"-"
#define PER_RUN 3 /* arguments */
#define DONE_MS 2000

static const char *const programs[] = { "/usr/bin/journalctl", "/bin/journalctl" };

static const char *find_program(void)
{
	for (size_t i = 0; i < sizeof(programs) / sizeof(*programs); i++)
		if (access(programs[i], X_OK) == 0)
			return programs[i];
	return NULL;
}

bool journal_reader_can(void)
{
	return find_program() != NULL;
}

/* ------------------------------------------------------------------ the collector's side */

int journal_reader_start(const struct journal_reader_run *runs, int n, struct journal_reader *ret)
{
	static char title[] = "sekoia-ebpf: journal reader", verb[] = JOURNAL_READER_VERB;
	char times[JOURNAL_READER_RUNS][24];
	char *argv[2 + JOURNAL_READER_RUNS * PER_RUN + 1] = { title, verb };
	_cleanup_close_ int ours = -1, theirs = -1;
	int pair[2], at = 2, size = SOCKET_BYTES, err;

	*ret = (struct journal_reader){ .fd = -1 };
	if (!find_program())
		return -ENOENT;
	if (n > JOURNAL_READER_RUNS)
		return -EINVAL;
	for (int i = 0; i < n; i++) {
		snprintf(times[i], sizeof(times[i]), "%" PRIu64, runs[i].since_us);
		argv[at++] = (char *)(runs[i].cursor ? runs[i].cursor : NONE);
		argv[at++] = runs[i].since_us ? times[i] : NONE;
		argv[at++] = (char *)(runs[i].boot ? runs[i].boot : NONE);
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	/* Else it has the usual size. */
	setsockopt(theirs, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	err = starter_spawn(argv, theirs, &ret->pid);
	if (err)
		return err;
	ret->fd = TAKE_FD(ours);
	return 0;
}

int journal_reader_go(struct journal_reader *r)
{
	return send(r->fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? 0 : -errno;
}

void journal_reader_done(struct journal_reader *r)
{
	close_fd(r->fd);
	r->fd = -1;
	if (!r->pid)
		return;
	/* Its next write is its last one. What waits for longer is init's. */
	for (int i = 0; i < DONE_MS / 2; i++) {
		const struct timespec pause = { .tv_nsec = 2000000 };

		if (waitpid(r->pid, NULL, WNOHANG) != 0)
			break;
		nanosleep(&pause, NULL);
	}
	r->pid = 0;
}

/* ------------------------------------------------------------------ the process */

/* Kills what takes longer than limit_ms (0: nothing does). The status of wait(), or -1. */
static int run(char *const argv[], int out_fd, uint64_t limit_ms)
{
	static char locale[] = "LC_ALL=C";
	static char *envp[] = { locale, NULL };
	const struct timespec pause = { .tv_nsec = 5000000 };
	int status = -1, null_fd;
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		null_fd = open("/dev/null", O_RDWR);
		if (null_fd >= 0) {
			dup2(null_fd, STDOUT_FILENO);
			dup2(null_fd, STDERR_FILENO);
		}
		if (out_fd >= 0)
			dup2(out_fd, STDOUT_FILENO);
		execve(argv[0], argv, envp);
		_exit(127);
	}
	if (pid < 0)
		return -1;
	for (uint64_t ms = 0; limit_ms && waitpid(pid, &status, WNOHANG) == 0; ms += 5) {
		if (ms >= limit_ms)
			kill(pid, SIGKILL);
		nanosleep(&pause, NULL);
	}
	if (!limit_ms && waitpid(pid, &status, 0) < 0)
		return -1;
	return status;
}

static int note(int fd, const char *name, uint64_t value)
{
	return dprintf(fd, JOURNAL_NOTE "%s=%" PRIu64 "\n\n", name, value) < 0 ? -errno : 0;
}

static int read_files(const char *program, int fd, const char *cursor, const char *since,
		      const char *boot)
{
	static char quiet[] = "-q", pager[] = "--no-pager", output[] = "-o", export[] = "export";
	char from[JOURNAL_CURSOR_MAX + 16], match[64];
	char *argv[8] = { (char *)program, quiet, pager, output, export };
	int n = 5;

	if (strcmp(cursor, NONE) != 0) {
		snprintf(from, sizeof(from), "--cursor=%s", cursor);
		argv[n++] = from;
	} else if (strcmp(since, NONE) != 0) {
		snprintf(from, sizeof(from), "--since=@%" PRIu64,
			 (uint64_t)strtoull(since, NULL, 10) / 1000000);
		argv[n++] = from;
	}
	if (strcmp(boot, NONE) != 0) {
		snprintf(match, sizeof(match), "_BOOT_ID=%s", boot);
		argv[n++] = match;
	}
	return run(argv, fd, 0);
}

int journal_reader_main(int fd, int argc, char **argv)
{
	const char *program = find_program();
	static char sync[] = "--sync";
	char *sync_argv[] = { (char *)program, sync, NULL };
	uint64_t now_ns;
	int err, status = 0;
	char go;

	log_set_name("sekoia-ebpf[journal reader]");
	prctl(PR_SET_NAME, "sekoia-journal", 0, 0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!program || argc % PER_RUN || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return EXIT_FAILURE;
	err = privs_keep(1ull << CAP_DAC_READ_SEARCH);
	if (err)
		log_warning("giving up capabilities: %s", log_strerror(err));
	if (nice(NICE) < 0)
		log_debug("nice: %s", log_strerror(errno));
	if (recv(fd, &go, 1, 0) != 1)
		return EXIT_SUCCESS; /* the collector is gone */
	/* What journald had read by now is written when it answers. */
	now_ns = journal_reads_now_ns();
	if (run(sync_argv, -1, SYNC_MS) != 0)
		now_ns = 0;
	err = note(fd, "SYNCED", now_ns);
	for (int i = 0; i < argc && !err; i += PER_RUN) {
		int one;

		err = note(fd, "RUN", (uint64_t)i / PER_RUN);
		if (err)
			break;
		one = read_files(program, fd, argv[i], argv[i + 1], argv[i + 2]);

		if (one)
			status = one;
	}
	if (!err)
		err = note(fd, "END", (uint64_t)(uint32_t)status);
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
