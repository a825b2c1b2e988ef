/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shipper as a process: this program executes itself, as the daemon does.
 * What the new process becomes is chosen by a value of its configuration: the
 * real shipper with a transport that writes a file, or one that misbehaves.
 */
#define _GNU_SOURCE
#include "user/shipper_process.h"
#include "user/starter.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/config.h"
#include "output/output.h"
#include "output/shipper.h"
#include "output/spool.h"
#include "output/tls.h"
#include "tests/lib/test.h"
#include "user/util/clock.h"
#include "user/util/control.h"
#include "user/util/log.h"
#include "user/util/privs.h"

#define KEY "0123456789abcdefSECRETSECRET0123"

/* ------------------------------------------------------------------ inside of the new process */

struct to_file {
	int fd;
	uint64_t first, last;
};

static int file_open(struct output *out)
{
	struct to_file *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	out->impl = f;
	f->fd = open(out->config->output_file, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (f->fd < 0)
		return -errno;
	dprintf(f->fd, "uid=%u gid=%u groups=%d nnp=%d dumpable=%d key=%s tls=%d\n", getuid(),
		getgid(), getgroups(0, NULL), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
		prctl(PR_GET_DUMPABLE, 0, 0, 0, 0),
		out->config->intake_key && strcmp(out->config->intake_key, KEY) == 0 ? "right"
										     : "wrong",
		out->tls != NULL);
	snprintf(out->peer, sizeof(out->peer), "a file");
	out->events->on_ready(out->arg);
	return 0;
}

static int file_send(struct output *out, const struct msg *m)
{
	struct to_file *f = out->impl;

	if (dprintf(f->fd, "seq=%" PRIu64 " %.*s\n", m->seq, (int)m->text.len, m->text.p) < 0)
		return -errno;
	if (!f->first)
		f->first = m->seq;
	f->last = m->seq;
	return 0;
}

static void file_flush(struct output *out)
{
	struct to_file *f = out->impl;

	if (f->first)
		out->events->on_settled(out->arg, f->first, f->last, OUTPUT_ACKED, NULL);
	f->first = 0;
}

static void file_finish(struct output *out)
{
	struct to_file *f = out->impl;

	dprintf(f->fd, "goodbye\n");
	out->events->on_down(out->arg, "the goodbye is said", 0);
}

static void file_close(struct output *out)
{
	struct to_file *f = out->impl;

	if (f)
		close(f->fd);
	free(f);
	out->impl = NULL;
}

static const struct output_ops file_ops = {
	.name = "file",
	.local = true,
	.window_msgs = 100,
	.window_bytes = 1 << 20,
	.open = file_open,
	.send = file_send,
	.flush = file_flush,
	.finish = file_finish,
	.close = file_close,
};

/* In place of the real transports and of TLS. */
const struct output_ops *output_find(const char *name)
{
	return strcmp(name, "file") == 0 ? &file_ops : NULL;
}

int tls_client_new(const struct tls_opts *opts, char *text, size_t text_size,
		   struct tls_client **ret)
{
	(void)opts;
	(void)ret;
	snprintf(text, text_size, "no TLS in this test");
	return -ENOENT;
}

void tls_client_free(struct tls_client *c)
{
	(void)c;
}

/* Writes what the new process was given, for the test to read. */
static void report(const char *path)
{
	FILE *f = fopen(path, "we");
	struct sigaction sa;
	struct dirent *e;
	sigset_t mask;
	int fds = 0;
	DIR *d;

	if (!f)
		return;
	for (char **p = environ; *p; p++)
		fprintf(f, "env %s\n", *p);
	d = opendir("/proc/self/fd");
	while (d && (e = readdir(d)))
		fds += e->d_name[0] != '.' && atoi(e->d_name) != dirfd(d) &&
		       atoi(e->d_name) != fileno(f);
	closedir(d);
	fprintf(f, "fds %d\n", fds);
	sigprocmask(SIG_BLOCK, NULL, &mask);
	for (int signo = 1; signo < 32; signo++) {
		sigaction(signo, NULL, &sa);
		if (sigismember(&mask, signo) || sa.sa_handler != SIG_DFL)
			fprintf(f, "signal %d %s\n", signo,
				sa.sa_handler == SIG_IGN ? "ignored" : "odd");
	}
	fprintf(f, "end\n");
	fclose(f);
}

/* Runs before main(): the new process is not a test. */
__attribute__((constructor)) static void maybe_shipper(int argc, char **argv)
{
	char text[4096] = "", path[256] = "";
	const char *p;
	ssize_t n;

	if (argc == 2 && !strcmp(argv[1], "starter"))
		exit(starter_main(3));
	if (argc < 2 || strcmp(argv[1], "shipper") != 0)
		return;
	n = recv(3, text, sizeof(text) - 1, MSG_PEEK);
	text[n > 0 ? n : 0] = '\0';
	p = strstr(text, "file = ");
	if (p)
		sscanf(p, "file = %255s", path);
	if (strstr(text, "hostname = segv")) {
		signal(SIGSEGV, SIG_DFL);
		raise(SIGSEGV);
	}
	if (strstr(text, "hostname = seven"))
		_exit(7);
	if (strstr(text, "hostname = report"))
		report(path);
	if (strstr(text, "hostname = stuck") || strstr(text, "hostname = report"))
		for (;;)
			pause();
	exit(shipper_main(3));
}

/* ------------------------------------------------------------------ the bench */

static struct {
	char dir[64], spool_dir[80], file[80];
	struct config *config;
	struct spool *spool;
	struct loop *loop;
	struct shipper_process *shipper;
	struct loop_timer poll, limit;
	bool (*until)(void);
	bool timed_out, stopped, clean;
} bench;

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void set(const char *key, const char *value)
{
	struct config_errors e;

	config_errors_init(&e);
	config_set(bench.config, config_find(key), value, "the test", &e);
	CHECK_INT(e.n, 0);
	config_errors_done(&e);
}

static bool bench_init(const char *mode)
{
	static const char *const names[] = { "file" };
	struct spool_opts opts = {
		.max_bytes = 1 << 30,
		.segment_bytes = 1 << 20,
		.sync = SPOOL_SYNC_NONE,
		.outputs = names,
		.n_outputs = 1,
	};
	uid_t uid;
	gid_t gid;
	int fd;

	if (geteuid() != 0) {
		printf("# skipped: needs root\n");
		return false;
	}
	memset(&bench, 0, sizeof(bench));
	snprintf(bench.dir, sizeof(bench.dir), "/tmp/test_shipper_process.XXXXXX");
	CHECK(mkdtemp(bench.dir) != NULL);
	CHECK_INT(chmod(bench.dir, 0755), 0);
	snprintf(bench.spool_dir, sizeof(bench.spool_dir), "%s/spool", bench.dir);
	snprintf(bench.file, sizeof(bench.file), "%s/out", bench.dir);
	privs_lookup_unprivileged("no-such-user-here", &uid, &gid);
	fd = open(bench.file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	CHECK_INT(fchown(fd, uid, gid), 0);
	close(fd);

	CHECK_INT(config_new(&bench.config), 0);
	set("intake.key", KEY);
	set("output.type", "file");
	set("output.file", bench.file);
	set("spool.dir", bench.spool_dir);
	set("shipper.user", "no-such-user-here");
	set("collector.hostname", mode);

	opts.dir = bench.spool_dir;
	opts.reader_uid = uid;
	opts.reader_gid = gid;
	CHECK_INT(spool_new(&opts, &bench.spool), 0);
	CHECK_INT(loop_new(&bench.loop), 0);
	return true;
}

static void bench_done(void)
{
	shipper_free(bench.shipper);
	loop_free(bench.loop);
	spool_free(bench.spool);
	config_free(bench.config);
	nftw(bench.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void on_poll(void *arg, uint64_t now_ms)
{
	(void)arg;
	if (bench.until())
		loop_stop(bench.loop, 0);
	else
		loop_timer_set(bench.loop, &bench.poll, now_ms + 10);
}

static void on_limit(void *arg, uint64_t now_ms)
{
	(void)arg;
	(void)now_ms;
	bench.timed_out = true;
	loop_stop(bench.loop, 0);
}

static void run_until(bool (*until)(void))
{
	bench.until = until;
	bench.timed_out = false;
	bench.poll = (struct loop_timer){ .fn = on_poll };
	bench.limit = (struct loop_timer){ .fn = on_limit };
	loop_timer_set(bench.loop, &bench.poll, 0);
	loop_timer_set(bench.loop, &bench.limit, clock_mono_ms() + 20000);
	CHECK_INT(loop_run(bench.loop), 0);
	CHECK(!bench.timed_out);
	loop_timer_cancel(&bench.poll);
	loop_timer_cancel(&bench.limit);
}

static struct shipper_process_stats stats(void)
{
	struct shipper_process_stats s;

	shipper_get_stats(bench.shipper, &s);
	return s;
}

static void on_stopped(void *arg, bool clean)
{
	(void)arg;
	bench.stopped = true;
	bench.clean = clean;
}

static bool is_stopped(void)
{
	return bench.stopped;
}

static void append(int n)
{
	for (int i = 0; i < n; i++) {
		struct msg m = { .class = MSG_FLOW,
				 .pri = 134,
				 .host = SLICE("h"),
				 .app = SLICE("a"),
				 .text = SLICE("some text") };

		CHECK_INT(spool_add(bench.spool, &m), 0);
	}
	CHECK_INT(spool_commit(bench.spool, NULL, 0, clock_mono_ms()), 0);
}

static uint64_t cursor_seq(void)
{
	struct spool_cursor c;

	if (spool_cursor_peek(bench.spool_dir, "file", &c) < 0)
		return 0;
	return c.cursor_seq;
}

static bool all_is_settled(void)
{
	return cursor_seq() == spool_next_seq(bench.spool) - 1;
}

static char *read_file(void)
{
	static char text[1 << 20];
	int fd = open(bench.file, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* ------------------------------------------------------------------ tests */

TEST(it_ships_without_privileges_and_stops_when_told)
{
	struct spool_cursor c = { 0 };
	char *text, want[64];
	uid_t uid;
	gid_t gid;

	if (!bench_init("real"))
		return;
	append(500);
	CHECK_INT(shipper_start(bench.loop, bench.config, &bench.shipper), 0);
	run_until(all_is_settled);
	append(1);
	shipper_wake(bench.shipper);
	run_until(all_is_settled);
	/* What comes just before the stop goes out as well. */
	append(500);
	shipper_stop(bench.shipper, clock_mono_ms() + 5000, on_stopped, NULL);
	run_until(is_stopped);
	CHECK(bench.clean);
	CHECK_INT(cursor_seq(), 1001);
	CHECK_INT(stats().pid, 0);
	CHECK_INT(stats().starts, 1);
	CHECK_INT(stats().deaths, 0);

	text = read_file();
	privs_lookup_unprivileged(NULL, &uid, &gid);
	snprintf(want, sizeof(want), "uid=%u gid=%u groups=0 nnp=1 dumpable=0 key=right tls=0\n",
		 uid, gid);
	CHECK(strncmp(text, want, strlen(want)) == 0);
	CHECK(strstr(text, "seq=1 some text\n") != NULL);
	CHECK(strstr(text, "seq=1001 some text\ngoodbye\n") != NULL);
	CHECK_INT(spool_cursor_peek(bench.spool_dir, "file", &c), 0);
	CHECK_STR(c.state, "stopped");
	CHECK_STR(c.last_error, "");
	CHECK_INT(c.acked, 1001);
	CHECK_INT(c.sent, 1001);
	bench_done();
}

static bool has_new_process(void)
{
	return stats().starts == 2 && stats().pid;
}

TEST(it_is_started_again_and_goes_on)
{
	if (!bench_init("real"))
		return;
	append(100);
	CHECK_INT(shipper_start(bench.loop, bench.config, &bench.shipper), 0);
	run_until(all_is_settled);
	CHECK_INT(kill(stats().pid, SIGKILL), 0);
	append(100);
	run_until(has_new_process);
	run_until(all_is_settled);
	CHECK_INT(stats().deaths, 1);
	CHECK_STR(stats().last_death, "killed by SIGKILL");
	CHECK_INT(cursor_seq(), 200);
	shipper_stop(bench.shipper, clock_mono_ms() + 5000, on_stopped, NULL);
	run_until(is_stopped);
	CHECK(bench.clean);
	bench_done();
}

TEST(the_signals_of_the_group_do_not_end_it)
{
	if (!bench_init("real"))
		return;
	CHECK_INT(shipper_start(bench.loop, bench.config, &bench.shipper), 0);
	kill(stats().pid, SIGTERM);
	kill(stats().pid, SIGINT);
	kill(stats().pid, SIGHUP);
	append(10);
	run_until(all_is_settled);
	kill(stats().pid, SIGTERM);
	kill(stats().pid, SIGINT);
	append(10);
	run_until(all_is_settled);
	CHECK_INT(stats().starts, 1);
	CHECK_INT(stats().deaths, 0);
	bench_done();
}

static pid_t orphan;

static bool orphan_is_gone(void)
{
	return waitpid(orphan, NULL, WNOHANG) != 0;
}

TEST(it_ends_when_the_collector_is_gone)
{
	if (!bench_init("real"))
		return;
	append(10);
	CHECK_INT(shipper_start(bench.loop, bench.config, &bench.shipper), 0);
	run_until(all_is_settled);
	orphan = stats().pid;
	shipper_free(bench.shipper);
	bench.shipper = NULL;
	run_until(orphan_is_gone);
	CHECK(strstr(read_file(), "goodbye\n") != NULL);
	bench_done();
}

static bool died_twice(void)
{
	return stats().deaths >= 2;
}

TEST(deaths_are_named_and_the_pauses_grow)
{
	static const struct {
		const char *mode, *death;
	} cases[] = {
		{ "segv", "killed by SIGSEGV" },
		{ "seven", "exited with code 7" },
	};

	for (size_t i = 0; i < 2; i++) {
		uint64_t start_ms = clock_mono_ms();

		if (!bench_init(cases[i].mode))
			return;
		log_set_level(-1);
		CHECK_INT(shipper_start(bench.loop, bench.config, &bench.shipper), 0);
		run_until(died_twice);
		log_set_level(LOG_LEVEL_INFO);
		/* It may have dumped core on this machine. */
		CHECK(strncmp(stats().last_death, cases[i].death, strlen(cases[i].death)) == 0);
		CHECK_INT(stats().starts, 2);
		CHECK(clock_mono_ms() - start_ms >= 500);
		/* Told to stop between two lives. */
		shipper_stop(bench.shipper, clock_mono_ms() + 5000, on_stopped, NULL);
		CHECK(!bench.stopped);
		run_until(is_stopped);
		CHECK(bench.clean);
		CHECK_INT(stats().starts, 2);
		bench_done();
	}
}

TEST(one_that_does_not_stop_is_killed)
{
	if (!bench_init("stuck"))
		return;
	CHECK_INT(shipper_start(bench.loop, bench.config, &bench.shipper), 0);
	/* Its queue of wake-ups is full, and nobody is blocked by that. */
	for (int i = 0; i < 10000; i++)
		shipper_wake(bench.shipper);
	log_set_level(-1);
	shipper_stop(bench.shipper, clock_mono_ms() + 10000, on_stopped, NULL);
	shipper_stop(bench.shipper, clock_mono_ms() + 50, on_stopped, NULL);
	run_until(is_stopped);
	log_set_level(LOG_LEVEL_INFO);
	CHECK(!bench.clean);
	CHECK_INT(stats().kills, 1);
	CHECK_INT(stats().pid, 0);
	CHECK_STR(stats().last_death, "killed by SIGKILL");
	bench_done();
}

static bool has_reported(void)
{
	return strstr(read_file(), "end\n") != NULL;
}

TEST(the_new_process_is_given_nothing_that_it_does_not_need)
{
	char cmdline[256] = "", path[64], *text;
	sigset_t blocked;
	int fd, open_here;

	if (!bench_init("report"))
		return;
	setenv("SEKOIA_INTAKE_KEY", KEY, 1);
	setenv("TZ", "UTC", 1);
	open_here = open("/etc/passwd", O_RDONLY);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	signal(SIGUSR2, SIG_IGN);
	CHECK_INT(shipper_start(bench.loop, bench.config, &bench.shipper), 0);
	run_until(has_reported);
	sigprocmask(SIG_UNBLOCK, &blocked, NULL);
	signal(SIGUSR2, SIG_DFL);
	close(open_here);
	unsetenv("SEKOIA_INTAKE_KEY");

	text = read_file();
	CHECK(strstr(text, "env TZ=UTC\n") != NULL);
	CHECK(strstr(text, "SECRET") == NULL);
	CHECK(strstr(text, "fds 4\n") != NULL);
	CHECK(strstr(text, "signal 1 ignored\n") != NULL);
	CHECK(strstr(text, "signal 2 ignored\n") != NULL);
	CHECK(strstr(text, "signal 15 ignored\n") != NULL);
	/* Neither blocked nor ignored, as they are here. */
	CHECK(strstr(text, "signal 10 ") == NULL);
	CHECK(strstr(text, "signal 12 ") == NULL);
	CHECK(strstr(text, "signal 17 ") == NULL);
	if (test_failed)
		printf("# %s\n", text);
	snprintf(path, sizeof(path), "/proc/%d/cmdline", stats().pid);
	fd = open(path, O_RDONLY);
	CHECK(read(fd, cmdline, sizeof(cmdline)) > 0);
	close(fd);
	CHECK(memcmp(cmdline, "sekoia-ebpf: shipper\0shipper\0", 30) == 0);
	kill(stats().pid, SIGKILL);
	waitpid(stats().pid, NULL, 0);
	bench_done();
}

TEST(the_next_shipper_waits_for_the_cursor)
{
	struct spool_reader *r = NULL;
	uint64_t until_ms;
	uid_t uid;
	gid_t gid;

	if (!bench_init("real"))
		return;
	/* The cursor is the shipper's own file. */
	privs_lookup_unprivileged(NULL, &uid, &gid);
	CHECK_INT(setegid(gid), 0);
	CHECK_INT(seteuid(uid), 0);
	CHECK_INT(spool_reader_new(bench.spool_dir, "file", &r), 0);
	CHECK_INT(seteuid(0), 0);
	CHECK_INT(setegid(0), 0);
	append(10);
	CHECK_INT(shipper_start(bench.loop, bench.config, &bench.shipper), 0);
	until_ms = clock_mono_ms() + 300;
	while (clock_mono_ms() < until_ms)
		usleep(10000);
	CHECK_INT(cursor_seq(), 0);
	spool_reader_free(r);
	run_until(all_is_settled);
	CHECK_INT(stats().starts, 1);
	CHECK_INT(stats().deaths, 0);
	bench_done();
}

/* How often it slept, and how often it was made to wait. */
static long switches(void)
{
	char path[64], line[128];
	long n, sum = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", stats().pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1 ||
		    sscanf(line, "nonvoluntary_ctxt_switches: %ld", &n) == 1)
			sum += n;
	if (f)
		fclose(f);
	return sum;
}

TEST(it_sleeps_when_there_is_nothing_to_do)
{
	long before;

	if (!bench_init("real"))
		return;
	append(10);
	CHECK_INT(shipper_start(bench.loop, bench.config, &bench.shipper), 0);
	run_until(all_is_settled);
	before = switches();
	CHECK(before > 0);
	usleep(1000000);
	/* Two turns a second are meant; thousands would be a loop. */
	CHECK(switches() - before < 50);
	bench_done();
}

/* Started by hand: no socket there. */
TEST(by_hand_it_says_what_it_is)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int fd = open("/dev/null", O_RDWR);

		dup2(fd, 2);
		_exit(shipper_main(fd));
	}
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	CHECK_INT(WEXITSTATUS(status), 1);
}

/* What the collector may never send, but a wrong version could. */
TEST(a_configuration_that_is_not_understood_ends_it)
{
	static const char *const texts[] = {
		"[output]\ntype = pigeon\n", "[intake\n",
		"[intake]\nnonsense = 1\n",  "[shipper]\nuser = root\n[output]\ntype = file\n",
		"[output]\ntype = relp\n", /* which this test does not have */
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		int pair[2], status;
		pid_t pid;

		CHECK_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
		CHECK(send(pair[0], texts[i], strlen(texts[i]), 0) > 0);
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			dup2(open("/dev/null", O_RDWR), 2);
			_exit(shipper_main(pair[1]));
		}
		CHECK_INT(waitpid(pid, &status, 0), pid);
		CHECK(WIFEXITED(status));
		CHECK_INT(WEXITSTATUS(status), 1);
		close(pair[0]);
		close(pair[1]);
	}
}
