/* SPDX-License-Identifier: Apache-2.0 */
/*
 * confine [--drop CAP,CAP...] [--keep CAP,CAP...] [--memlock BYTES] COMMAND [ARG...]: runs a
 * command as a root that has less: without these capabilities, or with none but these (as in
 * "net_admin"), and with that much memory that it may lock. Where there is no setpriv.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* By their numbers. */
static const char *const caps[] = {
	"chown",
	"dac_override",
	"dac_read_search",
	"fowner",
	"fsetid",
	"kill",
	"setgid",
	"setuid",
	"setpcap",
	"linux_immutable",
	"net_bind",
	"net_broadcast",
	"net_admin",
	"net_raw",
	"ipc_lock",
	"ipc_owner",
	"sys_module",
	"sys_rawio",
	"sys_chroot",
	"sys_ptrace",
	"sys_pacct",
	"sys_admin",
	"sys_boot",
	"sys_nice",
	"sys_resource",
	"sys_time",
	"sys_tty_config",
	"mknod",
	"lease",
	"audit_write",
	"audit_control",
	"setfcap",
	"mac_override",
	"mac_admin",
	"syslog",
	"wake_alarm",
	"block_suspend",
	"audit_read",
	"perfmon",
	"bpf",
	"checkpoint_restore",
};
#define N_CAPS (sizeof(caps) / sizeof(caps[0]))

static uint64_t read_caps(char *list)
{
	uint64_t set = 0;

	for (char *save = NULL, *name = strtok_r(list, ",", &save); name;
	     name = strtok_r(NULL, ",", &save)) {
		size_t i = 0;

		while (i < N_CAPS && strcmp(caps[i], name) != 0)
			i++;
		if (i == N_CAPS) {
			fprintf(stderr, "confine: %s: no such capability\n", name);
			exit(2);
		}
		set |= 1ull << i;
	}
	return set;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "drop", required_argument, NULL, 'd' },
		{ "keep", required_argument, NULL, 'k' },
		{ "memlock", required_argument, NULL, 'm' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t drop = 0;
	struct rlimit limit;
	int opt;

	while ((opt = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		switch (opt) {
		case 'd':
			drop |= read_caps(optarg);
			break;
		case 'k':
			drop |= ~read_caps(optarg);
			break;
		case 'm':
			limit.rlim_cur = limit.rlim_max = strtoul(optarg, NULL, 10);
			if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0) {
				fprintf(stderr, "confine: setrlimit: %s\n", strerror(errno));
				return 2;
			}
			break;
		default:
			return 2;
		}
	}
	if (optind == argc) {
		fprintf(stderr, "Usage: confine [--drop CAPS] [--keep CAPS] [--memlock BYTES] "
				"COMMAND [ARG...]\n");
		return 2;
	}
	for (unsigned long i = 0; i < 64; i++)
		if (drop >> i & 1 && prctl(PR_CAPBSET_READ, i, 0, 0, 0) > 0 &&
		    prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0) {
			fprintf(stderr, "confine: capability %lu: %s\n", i, strerror(errno));
			return 2;
		}
	execvp(argv[optind], argv + optind);
	fprintf(stderr, "confine: %s: %s\n", argv[optind], strerror(errno));
	return 2;
}
