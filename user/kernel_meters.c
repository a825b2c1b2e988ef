/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/kernel_meters.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/events.h"
#include "user/capture.h"
#include "user/util/cleanup.h"

/* Losses from here on are of a new epoch. Returns the one before. */
static uint64_t next_epoch(struct kernel *k, enum kernel_source source)
{
	void *tunables = k->now.source[source].bss;

	if (!tunables)
		return 0;
	switch (source) {
	case KERNEL_FLOWS:
		return ((struct flow_tunables *)tunables)->loss_epoch++;
	case KERNEL_JOURNAL:
		return ((struct journal_tunables *)tunables)->loss_epoch++;
	case KERNEL_EVENTS:
		return ((struct events_tunables *)tunables)->loss_epoch++;
	case KERNEL_NAMES:
		return ((struct names_tunables *)tunables)->loss_epoch++;
	default:
		return 0;
	}
}

static void widen(struct kernel_span *span, uint64_t first_ns, uint64_t last_ns)
{
	if (!span->first_ns || first_ns < span->first_ns)
		span->first_ns = first_ns;
	if (last_ns > span->last_ns)
		span->last_ns = last_ns;
}

/*
 * What was lost in the epoch that has just ended, and what may have been since:
 * the caller's counters know of both.
 */
static int read_window(int fd, uint32_t counter, uint64_t epoch, struct loss_window *per_cpu,
		       int n_cpus, struct kernel_span *ret)
{
	if (bpf_map_lookup_elem(fd, &counter, per_cpu) < 0)
		return -errno;
	for (int i = 0; i < n_cpus; i++)
		for (int half = 0; half < 2; half++)
			if (per_cpu[i].half[half].last_ns &&
			    (per_cpu[i].half[half].epoch == epoch ||
			     per_cpu[i].half[half].epoch == epoch + 1))
				widen(ret, per_cpu[i].half[half].first_ns,
				      per_cpu[i].half[half].last_ns);
	return 0;
}

int kernel_take_losses(struct kernel *k, enum kernel_source source, struct kernel_losses *ret)
{
	_cleanup_free_ struct loss_window *per_cpu = NULL;
	_cleanup_close_ int fd = -1;
	int n_cpus = libbpf_num_possible_cpus(), err;
	uint64_t epoch;
	struct place place;

	*ret = (struct kernel_losses){ 0 };
	if (n_cpus < 1)
		return -ENODEV;
	per_cpu = calloc((size_t)n_cpus, sizeof(*per_cpu));
	if (!per_cpu)
		return -ENOMEM;
	fd = bpf_obj_get(at(&place, "%s/%s/maps/losses", k->now.dir, kernel_sources[source].name));
	if (fd < 0)
		return -errno;
	epoch = next_epoch(k, source);
	err = read_window(fd, COUNT_RING_FULL, epoch, per_cpu, n_cpus, &ret->ring_full);
	if (!err)
		err = read_window(fd, COUNT_NO_ROOM, epoch, per_cpu, n_cpus, &ret->no_room);
	if (!err)
		err = read_window(fd, COUNT_MISSED, epoch, per_cpu, n_cpus, &ret->missed);
	if (!err)
		err = read_window(fd, COUNT_TRUNCATED, epoch, per_cpu, n_cpus, &ret->truncated);
	return err;
}

int kernel_get_programs(const struct kernel *k, struct kernel_program *ret, int max)
{
	int n = 0;

	for (size_t i = 0; i < kernel_n_programs && n < max; i++) {
		struct bpf_prog_info prog = { 0 };
		__u32 len = sizeof(prog);

		if (k->now.program_fds[i] < 0 ||
		    bpf_obj_get_info_by_fd(k->now.program_fds[i], &prog, &len) < 0)
			continue;
		ret[n] = (struct kernel_program){
			.run_ns = prog.run_time_ns,
			.runs = prog.run_cnt,
			.skipped = prog.recursion_misses,
		};
		snprintf(ret[n++].name, sizeof(ret->name), "%.31s", kernel_programs[i].name);
	}
	return n;
}
