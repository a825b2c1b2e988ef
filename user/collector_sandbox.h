/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the collector gives up when all is open: capabilities, most system
 * calls, any socket but a Unix one, programs, BPF beyond reading and writing its
 * maps. What is left, and why, is in docs/SECURITY.md.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct collector_sandbox {
	bool filter;	       /* sandbox.enable: else capabilities alone are given up */
	bool kernel;	       /* it has BPF maps to read */
	bool kernel_log;       /* and /dev/kmsg, which may have to be opened again */
	const char *spool_dir; /* to be made again when it is removed */
	uid_t reader_uid;      /* the only user that files may be given to */
	int cgroup_root_fd;    /* cgroups may be opened by their number below it; -1: none */
};

/*
 * Goes in, for good. Call it when the starter runs and all that needs a privilege is
 * open. What this kernel has not is logged and left out. 0, or -errno, logged:
 * what could be given up was not.
 */
int collector_sandbox_enter(const struct collector_sandbox *s);

/*
 * Is enough there to start with, for a capture in the kernel? If not, false,
 * and text says what is missing and what to do.
 */
bool collector_may_start(bool kernel, char *text, size_t text_size);
