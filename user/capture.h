/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the kernel side share: the tables of sources and programs
 * (probe.c), a capture's pins (capture.c), the way from one capture to the next
 * (handover.c). Nobody else includes this.
 *
 *   DIR/NAME/SOURCE/{maps,links,sweeps,shows,called}/   a capture; NAME is its layout's, eight hex
 * digits, and "-N" behind it when that name is taken DIR/NAME/before                        a link
 * to the one that it took over from DIR/NAME/pending/                      there as long as it has
 * not: programs for that DIR/NAME/stopped/                      its links are going or gone
 *   DIR/NAME_new, DIR/NAME_gone            of no use to anybody: half built, half removed
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "user/probe.h"

/*
 * ATTACH_TAKE_OVER: is not attached, but walks a table of the capture before. ATTACH_SHOW:
 * whoever opens its pin reads a table, as samples; nothing runs before that. ATTACH_WALK:
 * neither attached nor pinned, but run once, when all others of a new capture are attached.
 * ATTACH_CALLED: by a program of the flows, through its table of calls.
 * ATTACH_SYSCALL: behind the function of a system call, and jumps to its handler, which is in a
 * map; it stays from one capture to the next, where the handler is replaced.
 */
enum attach {
	ATTACH_AUTO,
	ATTACH_CGROUP,
	ATTACH_SWEEP,
	ATTACH_SHOW,
	ATTACH_TAKE_OVER,
	ATTACH_WALK,
	ATTACH_CALLED,
	ATTACH_SYSCALL,
};

struct program_row {
	enum kernel_source source;
	const char *name;
	enum attach attach;
	const char *map;   /* what it walks, is called through, or where its handler is */
	const char *group; /* programs that only make sense together */
	/* Of kernel events, which may lack programs one by one: */
	uint32_t class;	     /* enum kernel_class */
	const char *what;    /* what is lost without it, for people */
	const char *first;   /* it is attached only where the program of this name can't be */
	const char *handler; /* of ATTACH_SYSCALL */
};

extern const struct program_row kernel_programs[];
extern const size_t kernel_n_programs;
#define KERNEL_PROGRAMS_MAX 96

struct source_row {
	const char *name;
	const char *ring; /* the name of its ring's map */
	const void *(*elf)(size_t *size);
};

extern const struct source_row kernel_sources[KERNEL_SOURCES];

struct source_state {
	bool present;
	bool attached; /* has links: it still sees what happens */
	int ring_fd, counters_fd, carried_fd;
	int map_fd; /* processes, or readers */
	int cgroups_fd;
	int bss_fd;
	void *bss; /* mapped */
	size_t bss_size;
	uint64_t skipped; /* up to the detaching */
};

/* One folder, opened. */
struct capture {
	char *dir;
	char name[24];
	uint64_t generation;
	uint32_t format; /* EVENTS_FORMAT of who made it; 0: before there was one */
	struct source_state source[KERNEL_SOURCES];
	/* Opened while it was allowed: by its number a program is found with CAP_SYS_ADMIN alone.
	 */
	int program_fds[KERNEL_PROGRAMS_MAX]; /* -1: not attached */
};

struct kernel {
	char *dir; /* collector.bpf_dir */
	bool adopted;
	struct capture now;
	struct capture older[KERNEL_OLDER_MAX]; /* the oldest first; whole, but they see nothing */
	int n_older;
	char lacks[KERNEL_SOURCES][360];
	uint64_t lost[KERNEL_SOURCES];
	int n_cpus;
};

#define STOPPED "stopped"

struct place {
	char path[512];
};

/* The row that is attached only where that one can't be, or NULL. */
const struct program_row *row_twin(const struct program_row *row);

/* "links", or wherever else a program of this kind is pinned. */
const char *pin_folder(enum attach attach);

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
 * dir/SOURCE. before is the capture that is there, or NULL: then what is attached
 * does nothing until handover_run(). lacks says what is lost with it, or that all of it is, why,
 * and what to do about it.
 */
int source_build(enum kernel_source source, const struct kernel_opts *o, const char *dir,
		 const struct capture *before, int cgroup_fd, uint64_t generation, char *lacks,
		 size_t lacks_size);

/* 0; -errno when a part is missing. The caller closes *ret in either case. */
int capture_open(const char *dir, const char *name, struct capture *ret);
void capture_close(struct capture *c);

/* A pinned map of a source: a descriptor that the caller closes, or -errno. */
int capture_open_map(const struct capture *c, enum kernel_source source, const char *name);

/* How many entries a map has. */
uint64_t map_count(int map_fd);

/* Runs the sweeps of all sources, or with one >= 0 of that one. */
int capture_sweep(struct capture *c, int one, bool flush);

/* Ends what it sees; returns when no program of it runs any more. */
void capture_detach(struct capture *c);

/* All events that are under way now have ended when it returns. */
void wait_for_events(void);

/* How often the kernel did not run a program because it was running already. */
uint64_t count_skipped(const struct capture *c, enum kernel_source source);

/* Of this capture alone. ret has room for COUNTERS. */
int capture_get_counters(const struct capture *c, enum kernel_source source, int n_cpus,
			 uint64_t *ret);

/*
 * From one capture to the next, in the kernel: when it returns 0 ours sees all
 * that happens, has the tables of theirs, and theirs sees nothing: its rings are still
 * to be read. Every step may be the last one before a SIGKILL: call it again.
 */
int handover_run(struct capture *ours, struct capture *theirs, char *text, size_t text_size);

/* The rest of it: theirs was read to its end. Its numbers go to ours, and it is removed. */
int handover_finish(struct capture *ours, struct capture *theirs, const char *dir, int n_cpus);
