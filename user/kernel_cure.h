/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What to do when the kernel refuses a BPF program: looked for where such refusals come from,
 * when there was one. For check and for the start; what is tried is theirs.
 */
#pragma once

#include <stdbool.h>

enum kernel_step {
	KERNEL_LOAD,
	KERNEL_ATTACH,
	KERNEL_ATTACH_CGROUP,
};

/* For people, in the form "do this". NULL when nothing is known of such an error (-errno). */
const char *kernel_cure(int err, enum kernel_step step);

/* The mode of lockdown, as "integrity" or "none", into ret; false when there is no such thing. */
bool kernel_lockdown(char *ret, unsigned long size);

/* Maps count against the limit of locked memory, as before Linux 5.11. */
bool kernel_counts_memlock(void);
