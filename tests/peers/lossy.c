/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network that loses packets, where the kernel has no netem: a program of six
 * instructions at an interface's ingress drops some of what arrives, by chance. It
 * stays there when this program ends, and goes with the interface.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "user/util/log.h"

static int load(double share)
{
	const struct bpf_insn program[] = {
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_get_prandom_u32 },
		/* 32 bits: without signs, and the result is what it is. */
		{ .code = BPF_ALU | BPF_MOV | BPF_X, .dst_reg = 1, .src_reg = 0 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = TC_ACT_UNSPEC },
		{ .code = BPF_ALU64 | BPF_RSH | BPF_K, .dst_reg = 1, .imm = 1 },
		{ .code = BPF_JMP | BPF_JGE | BPF_K,
		  .dst_reg = 1,
		  .off = 1,
		  .imm = (int32_t)(share * INT32_MAX) },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = TC_ACT_SHOT },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "lossy", "GPL", program,
			     sizeof(program) / sizeof(*program), NULL);
}

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 1, .flags = BPF_TC_F_REPLACE);
	double percent = argc == 3 ? strtod(argv[2], NULL) : -1;
	int err;

	log_set_name("lossy");
	if (percent < 0 || percent > 100) {
		fputs("Usage: lossy INTERFACE PERCENT\n"
		      "Drops so many of the packets that arrive there, from now on.\n",
		      stderr);
		return 2;
	}
	hook.ifindex = (int)if_nametoindex(argv[1]);
	opts.prog_fd = load(percent / 100);
	if (!hook.ifindex || opts.prog_fd < 0) {
		log_error("%s: %s", argv[1], log_strerror(errno));
		return 1;
	}
	libbpf_set_print(NULL);
	bpf_tc_hook_create(&hook); /* there already: as well */
	err = bpf_tc_attach(&hook, &opts);
	if (err) {
		log_error("%s: %s", argv[1], log_strerror(err));
		return 1;
	}
	return 0;
}
