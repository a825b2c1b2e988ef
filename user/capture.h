/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the kernel side share: the tables of sources and programs
 * (probe.c), a capture's pins (capture.c). Nobody else includes this.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "user/probe.h"

enum attach { ATTACH_AUTO, ATTACH_CGROUP, ATTACH_SWEEP };

struct program_row {
	enum kernel_source source;
	const char *name;
	enum attach attach;
	const char *map;   /* ATTACH_SWEEP: what it walks */
	const char *group; /* programs that only make sense together */
};

extern const struct program_row kernel_programs[];
extern const size_t kernel_n_programs;

struct source_row {
	const char *name;
	const char *ring; /* the name of its ring's map */
	const void *(*elf)(size_t *size);
};

extern const struct source_row kernel_sources[KERNEL_SOURCES];

struct source_state {
	bool present;
	char lacks[160];
	int ring_fd, counters_fd, map_fd; /* map_fd: processes, or readers */
	int bss_fd;
	uint64_t skipped; /* up to the detaching */
	void *bss;	  /* mapped */
	size_t bss_size;
};

struct kernel {
	char *dir; /* of this layout */
	bool adopted;
	uint64_t generation;
	struct source_state source[KERNEL_SOURCES];
	int n_cpus;
};

struct place {
	char path[512];
};

/* A path from its parts. The folder's length was checked when it was configured. */
const char *at(struct place *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void say(char *text, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* With all that is below it. 0 or -errno. */
int remove_tree(const char *path);

/* All that makes two sets of pins the same: the programs, the sizes, the wishes. */
uint32_t layout_id(const struct kernel_opts *o);

void libbpf_speaks_through_us(void);

/*
 * Loads a source in the first variant that works, attaches it and pins it below
 * dir. lacks says what is lost with it, or all of it and why.
 */
int source_build(enum kernel_source source, const struct kernel_opts *o, const char *dir,
		 int cgroup_fd, uint64_t generation, char *lacks, size_t lacks_size);

/* How often the kernel did not run a program because it was running already. */
uint64_t count_skipped(const struct kernel *k, enum kernel_source source);
