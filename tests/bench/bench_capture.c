/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What capture costs the host: the same load bare, with us and with others, in
 * alternating rounds, so that a busy neighbour hits all alike. Prints the median of the
 * bare rate and of each other's as a ratio to it:
 *
 *   kernel     our BPF, with loopback and kernel events, its rings drained and thrown away
 *   names      the same with DNS and TLS names
 *   whole      the program itself, with loopback: records, spool and an output to /dev/null
 *   unasked    our BPF when loopback and kernel events are switched off
 *   empty      programs that do nothing at the hooks of our flows: what no use of them undercuts
 *   tc         a table of flows at the traffic-control hooks, and nothing else
 *   softflowd  softflowd on lo, exporting NetFlow v9
 *
 * Then what each of our programs takes in each load, as the kernel counts it.
 *
 *   bench_capture [LOAD|all [ROUNDS [MS]]]
 */
#define _GNU_SOURCE
#include "tests/bench/loads.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/bench/empty.skel.h"
#include "tests/bench/tc_flows.skel.h"
#include "user/kernel_meters.h"
#include "user/probe.h"
#include "user/ring.h"

#define MAX_ROUNDS   51
#define MAX_PROGRAMS 96

static char bpf_dir[64], work_dir[64], program[256];

/* ------------------------------------------------------------------ our BPF */

static struct kernel *kernel;
static pid_t drain;

/* Keeps the rings from filling, several times a second, as the collector does. */
static void start_drain(void)
{
	struct ring *rings[KERNEL_SOURCES];
	int n = 0;
	const void *sample;
	size_t size;

	drain = fork();
	if (drain)
		return;
	for (int i = 0; i < KERNEL_SOURCES; i++)
		if (kernel_has(kernel, (enum kernel_source)i) &&
		    kernel_ring_fd(kernel, (enum kernel_source)i) >= 0 &&
		    ring_new(kernel_ring_fd(kernel, (enum kernel_source)i), &rings[n++]) < 0)
			_exit(1);
	for (;;) {
		for (int i = 0; i < n; i++) {
			while (ring_next(rings[i], &sample, &size))
				;
			ring_release(rings[i], ring_position(rings[i]));
		}
		usleep(20000);
	}
}

static bool attach(bool loopback, bool names)
{
	struct kernel_opts o = {
		.dir = bpf_dir,
		.wanted = { true, true, true, [KERNEL_EVENTS] = loopback, [KERNEL_NAMES] = names },
		.events = CLASS_ALL,
		.events_ring_bytes = 16 << 20,
		.names_ring_bytes = 2 << 20,
		.names_dns = names,
		.names_tls = names,
		.names_quic = names,
		.flow_ring_bytes = 16 << 20,
		.journal_ring_bytes = 16 << 20,
		.flows_max = 65536,
		.active_ns = 60000000000ull,
		.idle_ns = 15000000000ull,
		.loopback = loopback,
	};
	char text[300];

	if (kernel_new(&o, text, sizeof(text), &kernel) < 0) {
		fprintf(stderr, "%s\n", text);
		return false;
	}
	start_drain();
	return true;
}

static bool start_kernel(void)
{
	return attach(true, false);
}

static bool start_names(void)
{
	return attach(true, true);
}

static bool start_unasked(void)
{
	return attach(false, false);
}

static void stop_child(pid_t *pid, int signal)
{
	if (*pid > 0) {
		kill(*pid, signal);
		waitpid(*pid, NULL, 0);
	}
	*pid = 0;
}

static void stop_kernel(void)
{
	stop_child(&drain, SIGKILL);
	kernel_free(kernel);
	kernel_cleanup(bpf_dir);
}

/* ------------------------------------------------------------------ the whole program */

static pid_t whole;
static FILE *whole_log; /* it says little: the pipe holds it */

static void stop_whole(void)
{
	char command[128];

	stop_child(&whole, SIGINT);
	if (whole_log)
		fclose(whole_log);
	whole_log = NULL;
	kernel_cleanup(bpf_dir);
	snprintf(command, sizeof(command), "rm -rf '%s/spool'", work_dir);
	if (system(command) != 0)
		perror("rm");
}

static bool start_whole(void)
{
	char spool[96], text[4096];
	const char *argv[] = { program,	 "--config",	     "/dev/null", "--output",
			       "stdout", "--spool-dir",	     spool,	  "--collector-bpf-dir",
			       bpf_dir,	 "--monitor-socket", "off",	  "--flows-loopback",
			       "yes",	 "--kernel-log",     "no",	  NULL };
	int err[2], null;

	snprintf(spool, sizeof(spool), "%s/spool", work_dir);
	if (pipe2(err, O_CLOEXEC) < 0)
		return false;
	whole = fork();
	if (!whole) {
		null = open("/dev/null", O_WRONLY);
		dup2(null, STDOUT_FILENO);
		dup2(err[1], STDERR_FILENO);
		execv(program, (char **)argv);
		_exit(1);
	}
	close(err[1]);
	whole_log = fdopen(err[0], "r");
	while (whole_log && fgets(text, sizeof(text), whole_log))
		if (strstr(text, ": ready"))
			return true;
	fprintf(stderr, "it did not get ready: %s", text);
	stop_whole();
	return false;
}

/* ------------------------------------------------------------------ others */

static struct empty_bpf *empty;
static struct bpf_link *empty_links[2];

static void stop_empty(void)
{
	for (int i = 0; i < 2; i++)
		bpf_link__destroy(empty_links[i]);
	empty_links[0] = empty_links[1] = NULL;
	empty_bpf__destroy(empty);
	empty = NULL;
}

static bool start_empty(void)
{
	char text[160];
	int cgroup = cgroup_root_open(text, sizeof(text), NULL);

	empty = cgroup < 0 ? NULL : empty_bpf__open_and_load();
	if (empty) {
		empty_links[0] = bpf_program__attach_cgroup(empty->progs.empty_egress, cgroup);
		empty_links[1] = bpf_program__attach_cgroup(empty->progs.empty_ingress, cgroup);
	}
	close(cgroup);
	if (empty && empty_links[0] && empty_links[1] && empty_bpf__attach(empty) == 0)
		return true;
	stop_empty();
	return false;
}

static struct tc_flows_bpf *tc;

static bool start_tc(void)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex("lo"),
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, in);
	LIBBPF_OPTS(bpf_tc_opts, out);

	tc = tc_flows_bpf__open_and_load();
	if (!tc || bpf_tc_hook_create(&hook) < 0)
		return false;
	hook.attach_point = BPF_TC_INGRESS;
	in.prog_fd = bpf_program__fd(tc->progs.tc_ingress);
	if (bpf_tc_attach(&hook, &in) < 0)
		return false;
	hook.attach_point = BPF_TC_EGRESS;
	out.prog_fd = bpf_program__fd(tc->progs.tc_egress);
	return bpf_tc_attach(&hook, &out) == 0;
}

static void stop_tc(void)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)if_nametoindex("lo"),
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);

	bpf_tc_hook_destroy(&hook);
	tc_flows_bpf__destroy(tc);
	tc = NULL;
}

static pid_t softflowd;
static int softflowd_sink = -1;

static bool start_softflowd(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(to);
	char where[40], pid[96], control[96];
	int null;

	softflowd_sink = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (bind(softflowd_sink, (void *)&to, sizeof(to)) < 0 ||
	    getsockname(softflowd_sink, (void *)&to, &len) < 0)
		return false;
	snprintf(where, sizeof(where), "127.0.0.1:%u", ntohs(to.sin_port));
	snprintf(pid, sizeof(pid), "%s/softflowd.pid", work_dir);
	snprintf(control, sizeof(control), "%s/softflowd.ctl", work_dir);
	softflowd = fork();
	if (!softflowd) {
		null = open("/dev/null", O_WRONLY);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		execlp("softflowd", "softflowd", "-d", "-N", "-i", "lo", "-v", "9", "-n", where,
		       "-m", "65536", "-p", pid, "-c", control, NULL);
		_exit(127);
	}
	for (int i = 0; i < 200; i++) {
		if (access(control, F_OK) == 0)
			return true;
		if (waitpid(softflowd, NULL, WNOHANG) == softflowd)
			break;
		usleep(10000);
	}
	softflowd = 0;
	close(softflowd_sink);
	return false;
}

static void stop_softflowd(void)
{
	char file[96];

	stop_child(&softflowd, SIGTERM);
	close(softflowd_sink);
	snprintf(file, sizeof(file), "%s/softflowd.pid", work_dir);
	unlink(file);
	snprintf(file, sizeof(file), "%s/softflowd.ctl", work_dir);
	unlink(file);
}

/* ------------------------------------------------------------------ rounds */

static const struct condition {
	const char *name;
	bool (*start)(void);
	void (*stop)(void);
	bool of_flows; /* has nothing to do with processes and logs */
} conditions[] = {
	{ "kernel", start_kernel, stop_kernel },
	{ "names", start_names, stop_kernel },
	{ "whole", start_whole, stop_whole },
	{ "unasked", start_unasked, stop_kernel },
	{ "empty", start_empty, stop_empty, true },
	{ "tc", start_tc, stop_tc, true },
	{ "softflowd", start_softflowd, stop_softflowd, true },
};
#define N_CONDITIONS (sizeof(conditions) / sizeof(conditions[0]))

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), compare);
	return v[n / 2];
}

static void measure(const struct load *l, int rounds, unsigned ms)
{
	bool is_flow = l->type == SOCK_STREAM || l->server == udp_server;
	double bare[MAX_ROUNDS], with[N_CONDITIONS][MAX_ROUNDS], base;
	bool ran[N_CONDITIONS];

	for (size_t c = 0; c < N_CONDITIONS; c++)
		ran[c] = is_flow || !conditions[c].of_flows;
	for (int r = 0; r < rounds; r++) {
		bare[r] = run_load(l, ms);
		for (size_t c = 0; c < N_CONDITIONS; c++) {
			if (!ran[c])
				continue;
			ran[c] = conditions[c].start();
			if (!ran[c])
				continue;
			with[c][r] = run_load(l, ms);
			conditions[c].stop();
		}
	}
	base = median(bare, rounds);
	printf("%-8s %9.0f %-14s", l->name, base, l->unit);
	for (size_t c = 0; c < N_CONDITIONS; c++)
		if (ran[c])
			printf(" %*.3f",
			       (int)strlen(conditions[c].name) < 6
				       ? 6
				       : (int)strlen(conditions[c].name),
			       median(with[c], rounds) / base);
		else
			printf(" %*s",
			       (int)strlen(conditions[c].name) < 6
				       ? 6
				       : (int)strlen(conditions[c].name),
			       "-");
	putchar('\n');
	fflush(stdout);
}

/* Each of our programs in one round of its own: counting has its price, too. */
static void measure_programs(const struct load *l, unsigned ms)
{
	static struct kernel_program programs[MAX_PROGRAMS];
	int fd = bpf_enable_stats(BPF_STATS_RUN_TIME), n;
	double done;

	if (fd < 0 || !start_names()) {
		printf("%s: the kernel does not count\n", l->name);
		return;
	}
	done = run_load(l, ms) * ms / 1000;
	n = kernel_get_programs(kernel, programs, MAX_PROGRAMS);
	for (int i = 0; i < n; i++) {
		const struct kernel_program *p = &programs[i];

		/* Whatever else happens on the host is no part of the load. */
		if ((double)p->runs > done / 20 && done > 0)
			printf("%-8s %-31s %6.2f runs %6.0f ns each\n", l->name, p->name,
			       (double)p->runs / done, (double)p->run_ns / (double)p->runs);
	}
	stop_kernel();
	close(fd);
	fflush(stdout);
}

static bool find_program(void)
{
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - sizeof("/sekoia-ebpf"));

	for (int up = 0; n > 0 && up < 3; up++) {
		program[n] = '\0';
		n = strrchr(program, '/') - program;
	}
	if (n <= 0)
		return false;
	strcpy(program + n, "/sekoia-ebpf");
	return access(program, X_OK) == 0;
}

int main(int argc, char **argv)
{
	const char *only = argc > 1 ? argv[1] : "all";
	int rounds = argc > 2 ? atoi(argv[2]) : 7;
	unsigned ms = argc > 3 ? (unsigned)atoi(argv[3]) : 700;
	size_t n_loads = sizeof(loads) / sizeof(loads[0]);
	bool has_journald = access(JOURNAL_SOCKET, F_OK) == 0;

	if (rounds < 1 || rounds > MAX_ROUNDS)
		rounds = 7;
	done_count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	snprintf(bpf_dir, sizeof(bpf_dir), "/sys/fs/bpf/sekoia-bench-%d", getpid());
	snprintf(work_dir, sizeof(work_dir), "/tmp/sekoia-bench-%d", getpid());
	if (done_count == MAP_FAILED || mkdir(work_dir, 0711) < 0 || !find_program()) {
		fprintf(stderr, "bench_capture: no memory, no %s, or no program beside it\n",
			work_dir);
		return 1;
	}
	libbpf_set_print(NULL);
	printf("%-8s %24s", "load", "bare");
	for (size_t c = 0; c < N_CONDITIONS; c++)
		printf(" %6s", conditions[c].name);
	putchar('\n');
	for (size_t i = 0; i < n_loads; i++)
		if ((!strcmp(only, "all") || !strcmp(only, loads[i].name)) &&
		    (loads[i].client != journal_client || has_journald))
			measure(&loads[i], rounds, ms);
	printf("\nOf our programs, for one of each:\n");
	for (size_t i = 0; i < n_loads; i++)
		if ((!strcmp(only, "all") || !strcmp(only, loads[i].name)) &&
		    loads[i].client != syscall_client &&
		    (loads[i].client != journal_client || has_journald))
			measure_programs(&loads[i], ms);
	if (!has_journald)
		printf("journal: no journald here\n");
	rmdir(bpf_dir);
	rmdir(work_dir);
	return 0;
}
