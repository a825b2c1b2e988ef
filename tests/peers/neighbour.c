/* SPDX-License-Identifier: Apache-2.0 */
/*
 * neighbour CGROUP_ROOT KIND...: another BPF agent on the hooks that are ours, too. It attaches,
 * says "ready", and lets go at SIGTERM. Kinds: cgroup-alone, cgroup-override and cgroup-multi
 * (packets of the root cgroup, in the three ways of sharing that hook), sock-ops, raw-tp, tc.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ATTACHED_MAX 8

/* Younger than this machine's headers. */
#define TCX_INGRESS ((enum bpf_attach_type)46)

static struct {
	int prog;
	enum bpf_attach_type type;
} attached[ATTACHED_MAX];
static int n_attached, cgroup = -1;

/* One that says yes, or with TC "go on", and does nothing. */
static int program(enum bpf_prog_type type, enum bpf_attach_type expected, int answer)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = answer },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = expected);

	return bpf_prog_load(type, "neighbour", "GPL", insns, 2, &opts);
}

static int on_cgroup(enum bpf_prog_type prog_type, enum bpf_attach_type type, unsigned int flags)
{
	int prog = program(prog_type, type, 1);

	if (prog < 0 || n_attached == ATTACHED_MAX)
		return -1;
	if (bpf_prog_attach(prog, cgroup, type, flags) < 0)
		return -1;
	attached[n_attached].prog = prog;
	attached[n_attached++].type = type;
	return 0;
}

static int on_packets(unsigned int flags)
{
	if (on_cgroup(BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, flags) < 0)
		return -1;
	return on_cgroup(BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS, flags);
}

/* By a link since 6.6; before, by a classifier, which may be a module. */
static int on_tc(void)
{
	int prog = program(BPF_PROG_TYPE_SCHED_CLS, (enum bpf_attach_type)0, -1);
	int lo = (int)if_nametoindex("lo");

	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = lo, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = prog);

	if (prog < 0)
		return -1;
	if (bpf_link_create(prog, lo, TCX_INGRESS, NULL) >= 0)
		return 0;
	if (bpf_tc_hook_create(&hook) < 0)
		return -1;
	return bpf_tc_attach(&hook, &opts);
}

static int attach(const char *kind)
{
	if (!strcmp(kind, "cgroup-alone"))
		return on_packets(0);
	if (!strcmp(kind, "cgroup-override"))
		return on_packets(BPF_F_ALLOW_OVERRIDE);
	if (!strcmp(kind, "cgroup-multi"))
		return on_packets(BPF_F_ALLOW_MULTI);
	if (!strcmp(kind, "sock-ops"))
		return on_cgroup(BPF_PROG_TYPE_SOCK_OPS, BPF_CGROUP_SOCK_OPS, BPF_F_ALLOW_MULTI);
	if (!strcmp(kind, "raw-tp"))
		return bpf_raw_tracepoint_open("inet_sock_set_state",
					       program(BPF_PROG_TYPE_RAW_TRACEPOINT,
						       (enum bpf_attach_type)0, 0)) < 0
			       ? -1
			       : 0;
	if (!strcmp(kind, "tc"))
		return on_tc();
	errno = EINVAL;
	return -1;
}

static void detach(int signo)
{
	(void)signo;
	for (int i = 0; i < n_attached; i++)
		bpf_prog_detach2(attached[i].prog, cgroup, attached[i].type);
	_exit(0);
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "Usage: neighbour CGROUP_ROOT KIND...\n");
		return 2;
	}
	cgroup = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 2; i < argc; i++) {
		errno = 0;
		if (attach(argv[i]) < 0) {
			fprintf(stderr, "neighbour: %s: %s\n", argv[i], strerror(errno));
			detach(0);
		}
	}
	signal(SIGTERM, detach);
	printf("ready\n");
	fflush(stdout);
	for (;;)
		pause();
}
