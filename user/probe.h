/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel side: what this kernel can run; load, attach, pin; or adopt what
 * an earlier collector left running. Tests for features by trying, never by
 * version.
 *
 * Everything is pinned in one folder per capture: maps/, links/ and sweeps/. The
 * folder gets its name when all is in place, so one with that name is whole. A
 * capture that our programs or wishes would not have made (another version's, or
 * with other sizes) is replaced without a gap: ours sees what happens from the event on that
 * the other does not see any more, and has its tables; what is in the
 * other's rings is to be read first.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "user/util/cleanup.h"

enum kernel_source {
	KERNEL_FLOWS,
	KERNEL_JOURNAL,
	KERNEL_PROCESSES,
	KERNEL_EVENTS,
	KERNEL_NAMES,
	KERNEL_SOURCES,
};

/* Of kernel events; bits. What is not wanted is not attached. */
enum kernel_class {
	CLASS_EXEC = 1 << 0,
	CLASS_EXIT = 1 << 1,
	CLASS_MODULES = 1 << 2,
	CLASS_OOM = 1 << 3,
	CLASS_SIGNALS = 1 << 4,
	CLASS_PTRACE = 1 << 5,
	CLASS_BPF = 1 << 6,
	CLASS_MOUNTS = 1 << 7,
	CLASS_NAMESPACES = 1 << 8,
	CLASS_CREDENTIALS = 1 << 9,
	CLASS_LISTEN = 1 << 10,
};
#define CLASS_ALL 0xffffffffu

/* As in the configuration and the books: "flows". */
const char *kernel_source_name(enum kernel_source source);
/* KERNEL_SOURCES when there is none of this name. */
enum kernel_source kernel_source_find(const char *name);

struct kernel_opts {
	const char *dir; /* collector.bpf_dir */
	const char *btf; /* NULL: the running kernel's own */
	bool wanted[KERNEL_SOURCES];
	uint32_t events;  /* enum kernel_class: which of KERNEL_EVENTS */
	bool environment; /* of CLASS_EXEC: with names of variables */
	uint64_t flow_ring_bytes, journal_ring_bytes, events_ring_bytes, names_ring_bytes;
	uint64_t flows_max;
	uint64_t active_ns, idle_ns;
	bool loopback;
	bool names_dns, names_tls, names_quic; /* of KERNEL_NAMES: which */
	bool no_trampolines;		       /* for tests: as on a kernel that refuses them */
	const struct flow_rules *rules;	       /* which flows; NULL: all */
};

struct flow_rules;
struct kernel;

/* The counters of a source, summed over CPUs. */
struct kernel_counters {
	uint64_t seen, submitted, filtered, ring_full, no_room, truncated;
	uint64_t reports, reports_put_off, adopted;
	uint64_t skipped; /* runs that the kernel did not make: a program does not nest */
	uint64_t missed;  /* flows that ended unseen, found when their socket's place was taken */
	uint64_t live;	  /* seen and not yet accounted for */
	uint64_t summed_packets, summed_bytes; /* of flows without room, by source network */
};

/*
 * Makes dir, if need be, and takes it for this process, until *ret_fd is
 * closed: whoever reads a ring moves its position, so there is one reader.
 * 0; -EBUSY: another process has it; else -errno. text says which, and the cure.
 */
int kernel_lock(const char *dir, char *text, size_t text_size, int *ret_fd);

/* Captures that were replaced and not yet read to their end: one for each time. */
#define KERNEL_OLDER_MAX 8

/*
 * Adopts, replaces or attaches. What a kernel lacks is left out and told by
 * kernel_has(); it is an error only when nothing at all could be attached.
 * text, of text_size bytes, says what and why, and what to do about it.
 */
int kernel_new(const struct kernel_opts *opts, char *text, size_t text_size, struct kernel **ret);

/* Forgets; leaves everything pinned and running. */
void kernel_free(struct kernel *k);
DEFINE_CLEANUP(struct kernel *, kernel_free);

/* Detaches and unpins all that is below dir, whoever made it. Returns how many folders went. */
int kernel_cleanup(const char *dir);

/*
 * Reports all flows, as they are now, for the last time. TCP flows that begin later are not
 * seen, and one that ends later is not taken for one from before our time.
 */
void kernel_end_flows(struct kernel *k);

/* Ends the capture: nothing is seen from here on; rings and tables stay readable. */
void kernel_detach(struct kernel *k);

bool kernel_was_adopted(const struct kernel *k);
bool kernel_has(const struct kernel *k, enum kernel_source source);
/* What a source lacks on this kernel, for people: NULL if nothing. */
const char *kernel_lacks(const struct kernel *k, enum kernel_source source);

/* Of our own rings. */
uint64_t kernel_generation(const struct kernel *k);

/* Stays what it is when another capture takes over and goes on with the numbers of a source. */
uint64_t kernel_lineage(const struct kernel *k, enum kernel_source source);

/* The map of our own ring of a source, or -1. Owned by k. */
int kernel_ring_fd(const struct kernel *k, enum kernel_source source);

/* From here on; reports that are due by them come with the next sweep. */
void kernel_set_timing(struct kernel *k, uint64_t active_ns, uint64_t idle_ns, bool loopback);

/* This host translates addresses, or it does not any more. */
void kernel_set_nat(struct kernel *k, bool on);

/*
 * The rings of a source: those of captures that were replaced, the oldest first, and
 * last our own, if we have that source. Returns how many. generation: random, drawn when
 * the ring was made; positions of other rings mean nothing. Only a ring that is
 * current will get more.
 */
struct kernel_ring {
	int fd; /* owned by k */
	uint64_t generation;
	bool current;
};
int kernel_rings(const struct kernel *k, enum kernel_source source,
		 struct kernel_ring ret[KERNEL_OLDER_MAX + 1]);

/* All but the current rings were read to their end, and that is in the spool: they go. */
bool kernel_has_older(const struct kernel *k);
void kernel_drop_older(struct kernel *k);

/* What was in a capture of a format that we can not read, which is gone: samples and flows. */
uint64_t kernel_lost(const struct kernel *k, enum kernel_source source);

/*
 * The root of the cgroup-v2 tree, wherever it is mounted, or mounted nowhere; the caller closes
 * it. *ret_is_root, unless NULL: false when there is only a part of the tree. text says where.
 * -ENOENT: text says that there is none.
 */
int cgroup_root_open(char *text, size_t size, bool *ret_is_root);

/* Other rules from here on: flows that are followed already stay. 0 or -errno. */
int kernel_set_rules(struct kernel *k, const struct flow_rules *rules);

/* Walks the tables of flows: puts due reports into the ring; with flush, all. */
int kernel_sweep(struct kernel *k, bool flush);

/*
 * When one of the flows that the last sweep met is due, CLOCK_BOOTTIME; UINT64_MAX: none. It may
 * be past: what found no room, and a flow that was idle once, are for the next sweep.
 */
uint64_t kernel_next_due_ns(const struct kernel *k);

/*
 * How often the kernel did not run one of the programs of a source, because it ran already: then
 * something happened unseen.
 */
uint64_t kernel_get_skipped(const struct kernel *k, enum kernel_source source);

/*
 * The reader sleeps: the next sample of flows, the journal or kernel events is to wake it at
 * once. A program that has just looked at this does not know yet.
 */
void kernel_set_asleep(struct kernel *k, bool asleep);

/*
 * Which log daemons to listen to: from /proc now, and by themselves from here on. Returns
 * how many there are now.
 */
uint64_t kernel_find_readers(struct kernel *k);

int kernel_get_counters(const struct kernel *k, enum kernel_source source,
			struct kernel_counters *ret);

/* What exec saw of pid: 0; -ENOENT when it is not known, or is another process by now. */
struct kernel_exec {
	uint64_t start_ns;
	uint32_t ppid;
	char filename[257];
	char args[513];
	size_t args_len;
};
int kernel_find_exec(const struct kernel *k, uint32_t pid, uint64_t start_ns,
		     struct kernel_exec *ret);

/*
 * The path of a cgroup of v2, "/system.slice/ssh.service", that was made since the capture
 * began, also when it is gone by now. 0; -ENOENT: not known, or forgotten; -ENAMETOOLONG.
 */
int kernel_find_cgroup(const struct kernel *k, uint64_t cgroup_id, char *ret, size_t size);

/* What became of one program when it was tried. Valid during the call. */
struct kernel_trial {
	enum kernel_source source;
	const char *source_name; /* "flows" */
	const char *program;
	int err;	  /* 0: it loads and attaches; else -errno */
	const char *why;  /* "load", "attach": what failed */
	const char *cure; /* what to do about it; NULL: not known */
	bool used;	  /* kernel_new() would run it */
	const char *lost; /* what is lost without it, for people; NULL: nothing */
	const char *cost; /* of using it, for those who have nothing of it; NULL: none */
	bool optional;	  /* the rest of its source works without it */
};

/*
 * Loads and attaches each program by itself and lets it go again: pins nothing,
 * and leaves what runs alone. Its maps are small, whatever opts says.
 */
int kernel_try(const struct kernel_opts *opts,
	       void (*fn)(void *arg, const struct kernel_trial *trial), void *arg);

/*
 * Each flow that goes on, of all captures below dir, as a sample for event_decode(): numbers since
 * its start, and nothing is changed by looking. Needs root and nothing else; beside a
 * collector of any version that pins what shows them. How many tables were read; 0: none is there.
 */
int kernel_show(const char *dir, void (*fn)(void *arg, const void *sample, size_t size), void *arg);
