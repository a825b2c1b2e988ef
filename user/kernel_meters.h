/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel measures about our programs, read from their pins: when
 * something was lost, what each program costs.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "user/probe.h"

/* CLOCK_BOOTTIME in ns; 0: nothing was lost, or it is not known when. */
struct kernel_span {
	uint64_t first_ns, last_ns;
};

struct kernel_losses {
	struct kernel_span ring_full, no_room, missed, truncated;
};

/* When the losses since the last call were. 0 or -errno. */
int kernel_take_losses(struct kernel *k, enum kernel_source source, struct kernel_losses *ret);

struct kernel_program {
	char name[32];
	uint64_t run_ns, runs; /* 0 unless the kernel is asked to count them */
	uint64_t skipped;      /* runs that it did not make: a program does not nest */
};

/* Those that are attached, max at the most. Returns how many. */
int kernel_get_programs(const struct kernel *k, struct kernel_program *ret, int max);
