/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sekoia-ebpf top: the flows that go on, added up, once a second. It reads the
 * tables of the capture that a collector has pinned, which is not disturbed by that; if there
 * is none it makes one of its own for as long as it runs. The terminal is as it was on every way
 * out but SIGKILL.
 */
#define _GNU_SOURCE
#include "user/command_top.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "user/container.h"
#include "user/flow_record.h"
#include "user/probe.h"
#include "user/record_line.h"
#include "user/top_table.h"
#include "user/util/clock.h"
#include "user/util/log.h"

#define LOOK_MS	    1000
#define OWN_RING    (256u << 10) /* nobody reads it: what ended is not shown */
#define MEMO	    1024
#define ONCE_LINES  100000
#define TABLE_MAX   (8u << 20)
#define SCREEN_ON   "\033[?1049h\033[?25l"
#define SCREEN_OFF  "\033[?25h\033[?1049l"
#define SCREEN_HOME "\033[H"
#define SCREEN_REST "\033[J"
#define LINE_REST   "\033[K"

struct memo {
	uint32_t pid;
	uint64_t start_ns;
	char container[16]; /* as people know it: its first digits */
};

struct view {
	const char *dir; /* whose flows */
	struct kernel *own;
	char own_dir[512];
	int own_lock;
	struct top *top;
	enum top_group group;
	enum top_order order;
	struct memo memo[MEMO];
};

/* ------------------------------------------------------------------ the terminal */

static struct termios before;
static volatile sig_atomic_t screen_is_on, asked_to_stop, asked_to_pause, resized;

/* From signal handlers, too. */
static void screen_off(void)
{
	if (!screen_is_on)
		return;
	screen_is_on = 0;
	if (write(STDOUT_FILENO, SCREEN_OFF, sizeof(SCREEN_OFF) - 1) < 0)
		errno = 0;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
}

static int screen_on(void)
{
	struct termios now = before;

	now.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	now.c_cc[VMIN] = 0;
	now.c_cc[VTIME] = 0;
	screen_is_on = 1;
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &now) < 0 ||
	    write(STDOUT_FILENO, SCREEN_ON, sizeof(SCREEN_ON) - 1) < 0)
		return -errno;
	return 0;
}

static void on_signal(int signo)
{
	if (signo == SIGTSTP)
		asked_to_pause = 1;
	else if (signo == SIGWINCH)
		resized = 1;
	else
		asked_to_stop = 1;
}

/* A fault of ours is no reason to leave the terminal unusable. */
static void on_fault(int signo)
{
	screen_off();
	raise(signo); /* SA_RESETHAND: now it does what it does */
}

static void catch_signals(bool screen)
{
	static const int stops[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	static const int faults[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };
	const struct sigaction stop = { .sa_handler = on_signal };
	const struct sigaction fault = { .sa_handler = on_fault,
					 .sa_flags = SA_RESETHAND | SA_NODEFER };

	for (size_t i = 0; i < sizeof(stops) / sizeof(*stops); i++)
		sigaction(stops[i], &stop, NULL);
	if (!screen)
		return;
	sigaction(SIGTSTP, &stop, NULL);
	sigaction(SIGWINCH, &stop, NULL);
	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++)
		sigaction(faults[i], &fault, NULL);
}

/* ------------------------------------------------------------------ the flows */

static const char *container_of_task(struct view *v, const struct task_ref *who)
{
	struct memo *m = &v->memo[who->pid % MEMO];
	struct container_info info = { 0 };
	char path[32], text[4096];
	_cleanup_close_ int fd = -1;
	ssize_t n;

	if (!who->pid)
		return "";
	if (m->pid == who->pid && m->start_ns == who->start_ns)
		return m->container;
	*m = (struct memo){ .pid = who->pid, .start_ns = who->start_ns };
	snprintf(path, sizeof(path), "/proc/%u/cgroup", who->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text));
	if (n > 0)
		container_parse_cgroup((struct slice){ text, (size_t)n }, &info);
	snprintf(m->container, sizeof(m->container), "%.12s", info.id);
	return m->container;
}

static void on_sample(void *arg, const void *sample, size_t size)
{
	struct view *v = arg;
	struct event e;

	if (event_decode(sample, size, &e) == 0 && e.kind == EVENT_IS_FLOW)
		top_add(v->top, &e.flow,
			v->group == TOP_CONTAINER ? container_of_task(v, flow_process(&e.flow))
						  : "");
}

/* How many tables there were. */
static int look(struct view *v)
{
	/* Ended ones leave the table of an own capture, as a collector's sweeps see to it. */
	if (v->own)
		kernel_sweep(v->own, false);
	top_begin(v->top, v->group, clock_boot_ns());
	return kernel_show(v->dir, on_sample, v);
}

/* Captures of ours that were killed. One that runs holds its lock. */
static void clean_up_others(const char *dir)
{
	char parent[512], prefix[512], path[1024], text[400];
	const char *slash = strrchr(dir, '/');
	struct dirent *e;
	DIR *d;

	if (!slash || slash == dir || strlen(dir) >= sizeof(parent))
		return;
	snprintf(parent, sizeof(parent), "%.*s", (int)(slash - dir), dir);
	snprintf(prefix, sizeof(prefix), "%.400s-top-", slash + 1);
	d = opendir(parent);
	while (d && (e = readdir(d))) {
		int fd;

		if (strncmp(e->d_name, prefix, strlen(prefix)) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%.255s", parent, e->d_name);
		if (kernel_lock(path, text, sizeof(text), &fd) < 0)
			continue;
		kernel_cleanup(path);
		close(fd);
		rmdir(path);
	}
	if (d)
		closedir(d);
}

static int capture_for_us(struct view *v, const struct config *c)
{
	struct kernel_opts o = {
		.dir = v->own_dir,
		.btf = c->btf,
		.wanted = { [KERNEL_FLOWS] = true },
		.flow_ring_bytes = OWN_RING,
		.journal_ring_bytes = OWN_RING,
		.flows_max = c->flows_max,
		.active_ns = c->flows_active_timeout_ms * 1000000,
		.idle_ns = c->flows_idle_timeout_ms * 1000000,
		.loopback = true,
	};
	char text[400] = "";
	int err;

	snprintf(v->own_dir, sizeof(v->own_dir), "%.400s-top-%d", c->bpf_dir, (int)getpid());
	v->dir = v->own_dir;
	err = kernel_lock(v->own_dir, text, sizeof(text), &v->own_lock);
	if (!err)
		err = kernel_new(&o, text, sizeof(text), &v->own);
	if (err)
		log_error("top: no collector runs, and flows can not be captured here: %s", text);
	return err;
}

static void view_done(struct view *v)
{
	screen_off();
	if (v->own) {
		kernel_detach(v->own);
		kernel_free(v->own);
	}
	if (v->own_dir[0]) {
		kernel_cleanup(v->own_dir);
		rmdir(v->own_dir);
	}
	close_fd(v->own_lock);
	top_free(v->top);
}

/* ------------------------------------------------------------------ the loop */

static void wait_ms(int ms)
{
	struct pollfd none = { .fd = -1 };

	poll(&none, 1, ms);
}

static int print_once(struct view *v)
{
	struct buf text;
	int err;

	look(v);
	wait_ms(LOOK_MS);
	look(v);
	buf_init(&text, TABLE_MAX);
	err = top_format(v->top, v->order, ONCE_LINES, &text);
	if (!err && (fwrite(buf_data(&text), 1, text.len, stdout) != text.len || fflush(stdout)) &&
	    errno != EPIPE)
		err = -errno;
	buf_done(&text);
	return err;
}

/* Without the last LF: a line more would scroll. At most so many columns of each line. */
static int put_screen(struct slice table, size_t columns, struct buf *ret)
{
	int err = buf_puts(ret, SCREEN_HOME);

	while (table.p && table.len && !err) {
		const char *lf = memchr(table.p, '\n', table.len);
		size_t n = lf ? (size_t)(lf - table.p) : table.len, skip = n + (lf != NULL);
		char line[TOP_COLUMNS * 4 + 1];

		record_columns((struct slice){ table.p, n }, columns, line, sizeof(line));
		err = buf_printf(ret, "%s" LINE_REST "%s", line, skip < table.len ? "\r\n" : "");
		table.p += skip;
		table.len -= skip;
	}
	return err ? err : buf_puts(ret, SCREEN_REST);
}

static int draw(struct view *v)
{
	static const char keys[] = "p process  r peer  c container | s rate  t total  f flows | "
				   "q quit";
	struct winsize w = { 0 };
	struct buf table, screen;
	size_t at = 0;
	int err;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0 || !w.ws_row || !w.ws_col)
		w = (struct winsize){ .ws_row = 24, .ws_col = TOP_COLUMNS };
	buf_init(&table, TABLE_MAX);
	buf_init(&screen, 2 * TABLE_MAX);
	err = buf_printf(&table, "%s\n", keys);
	if (!err)
		err = top_format(v->top, v->order, w.ws_row > 5 ? (size_t)w.ws_row - 1 : 4, &table);
	if (!err)
		err = put_screen(buf_slice(&table), w.ws_col, &screen);
	while (!err && at < screen.len) {
		ssize_t n = write(STDOUT_FILENO, buf_data(&screen) + at, screen.len - at);

		if (n < 0 && errno != EINTR)
			err = -errno;
		else if (n > 0)
			at += (size_t)n;
	}
	buf_done(&table);
	buf_done(&screen);
	return err;
}

/* False: it was the last one. */
static bool on_key(struct view *v, char key)
{
	static const char groups[] = "prc", orders[] = "stf";
	const char *at;

	if (key == 'q' || key == 'Q' || key == 3 || key == 4)
		return false;
	at = key ? strchr(groups, key) : NULL;
	if (at)
		v->group = (enum top_group)(at - groups);
	at = key ? strchr(orders, key) : NULL;
	if (at)
		v->order = (enum top_order)(at - orders);
	return true;
}

static int show(struct view *v)
{
	uint64_t next_ms = 0;
	bool group_changed = false;
	int err = screen_on();

	while (!err && !asked_to_stop) {
		struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
		uint64_t now_ms = clock_mono_ms();
		char keys[16];
		ssize_t n;

		if (asked_to_pause) {
			asked_to_pause = 0;
			screen_off();
			raise(SIGSTOP);
			err = screen_on();
		}
		if (now_ms >= next_ms || group_changed) {
			look(v);
			next_ms = now_ms + LOOK_MS;
			group_changed = false;
		}
		if (!err)
			err = draw(v);
		if (err || poll(&in, 1, (int)(next_ms - now_ms)) <= 0)
			continue;
		n = read(STDIN_FILENO, keys, sizeof(keys));
		if (n <= 0 && (n == 0 || errno != EINTR))
			break; /* the terminal is gone */
		for (ssize_t i = 0; i < n; i++) {
			enum top_group was = v->group;

			if (!on_key(v, keys[i]))
				asked_to_stop = 1;
			group_changed |= was != v->group;
		}
	}
	screen_off();
	return err == -EIO || err == -EPIPE ? 0 : err;
}

static bool take_word(struct view *v, const char *word)
{
	for (int i = 0; i < TOP_GROUPS; i++)
		if (!strcmp(word, top_groups[i]))
			return v->group = (enum top_group)i, true;
	for (int i = 0; i < TOP_ORDERS; i++)
		if (!strcmp(word, top_orders[i]))
			return v->order = (enum top_order)i, true;
	return false;
}

static void ignore_sample(void *arg, const void *sample, size_t size)
{
	(void)arg, (void)sample, (void)size;
}

int command_top(const struct config *c, int argc, char **argv)
{
	_cleanup_(view_done) struct view v = { .dir = c->bpf_dir, .own_lock = -1 };
	bool screen = !(c->command_flags & COMMAND_ONCE) && isatty(STDOUT_FILENO) &&
		      tcgetattr(STDIN_FILENO, &before) == 0;
	int err;

	for (int i = 0; i < argc; i++) {
		if (take_word(&v, argv[i]))
			continue;
		log_error("top: \"%s\" is no grouping and no order; allowed: process, peer, "
			  "container; rate, total, flows",
			  argv[i]);
		return 2;
	}
	if (geteuid() != 0) {
		log_error("top: only root may read the tables: sudo sekoia-ebpf top");
		return EXIT_FAILURE;
	}
	err = top_new(&v.top);
	if (err) {
		log_error("top: %s", log_strerror(err));
		return EXIT_FAILURE;
	}
	catch_signals(screen);
	clean_up_others(c->bpf_dir);
	if (!kernel_show(c->bpf_dir, ignore_sample, NULL) && capture_for_us(&v, c))
		return EXIT_FAILURE;
	err = screen ? show(&v) : print_once(&v);
	if (err)
		log_error("top: %s", log_strerror(err));
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
