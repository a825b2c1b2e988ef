/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a pid is: executable, arguments, parent, container. A cache with a
 * ceiling in entries and one in bytes, keyed by (pid, start time): a number
 * that was given to another process is never confused with the first one.
 *
 * Filled from what the kernel saw at exec, if there is such a source, and from
 * /proc. All work is O(1) per event; a hit costs no system call.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "user/container.h"
#include "user/event.h"
#include "user/util/cleanup.h"
#include "user/util/slice.h"

#define PROCESS_ARGS_MAX	4096 /* of a process, all together */
#define PROCESS_PARENT_ARGS_MAX 1024
#define PROCESS_EXE_MAX		4096

struct process_info {
	uint32_t pid;		   /* 0: not known */
	uint64_t start_ns;	   /* CLOCK_BOOTTIME; 0: not known */
	struct slice name;	   /* of the executable, or comm */
	struct slice executable;   /* empty for kernel threads */
	struct slice args;	   /* each ended by a NUL */
	struct slice command_line; /* the same, with blanks between */
	bool args_cut;		   /* there were more than PROCESS_ARGS_MAX bytes */
	bool deleted;		   /* the executable is no longer on the disk */
	bool gone; /* it was not there to be asked: comm, ids, maybe what exec saw */
	struct {
		uint32_t pid; /* 0: not known */
		struct slice name, executable, command_line;
	} parent;
	struct container_info container;
};

/* What the kernel saw at exec: for a process that ended before we could look. */
struct process_exec {
	char filename[256]; /* terminated */
	char args[512];	    /* each ended by a NUL */
	uint32_t args_len;
	uint32_t ppid; /* 0: not known */
};

struct process_opts {
	const char *procfs;   /* NULL: "/proc" */
	uint32_t max_entries; /* 0: 4096 */
	size_t max_bytes;     /* 0: 8 MiB, of texts */
	/*
	 * Asked when /proc has no answer, for /proc knows more: the absolute path,
	 * all arguments, the control group. 0, or -errno. May be NULL.
	 */
	int (*lookup)(void *arg, uint32_t pid, uint64_t start_ns, struct process_exec *ret);
	void *lookup_arg;
	/*
	 * The path of a cgroup, by its number: for a process that ended before we could look.
	 * 0, or -errno. May be NULL.
	 */
	int (*find_cgroup)(void *arg, uint64_t cgroup_id, char *ret, size_t size);
	void *find_cgroup_arg;
	/* Takes out of arguments what nobody shall see. May be NULL. */
	void (*mask)(void *arg, char *args, size_t len);
	void *mask_arg;
};

struct process_stats {
	uint64_t hits, misses;
	uint64_t reread;    /* of the misses: a cached one that changed its name, or was too old */
	uint64_t gone;	    /* of the misses: not in /proc any more */
	uint64_t reused;    /* of gone: the pid belongs to another process by now */
	uint64_t from_exec; /* of gone: but exec had been seen */
	uint64_t from_cgroup; /* cgroups that were found by their number */
	uint64_t evictions;
	uint32_t entries;
	size_t bytes;
};

struct process_cache;

/* The caller owns *ret. -ENOMEM, or -EINVAL for a procfs path that is too long. */
int process_cache_new(const struct process_opts *opts, struct process_cache **ret);
void process_cache_free(struct process_cache *c);
DEFINE_CLEANUP(struct process_cache *, process_cache_free);

/*
 * Never NULL: of a process that is gone it has what ref has. ref->start_ns may
 * be 0 (not known): then event_ns says when it was alive, and the answer is
 * whoever had started before. The result lives until the call after the next:
 * two processes can be told in one record.
 */
const struct process_info *process_find(struct process_cache *c, const struct task_ref *ref,
					uint64_t event_ns, uint64_t now_ms);

/*
 * What was seen of a process when it executed a program: what is asked about it later
 * is answered from here, and not from /proc, where it may have ended. info is copied;
 * its parent may be the last answer of process_find(). NULL: no memory.
 */
const struct process_info *process_put(struct process_cache *c, const struct task_ref *ref,
				       const struct process_info *info, uint64_t now_ms);

/*
 * What the cgroup of this number tells, of whoever is or was in it: a hit in a small table,
 * or opts.find_cgroup. 0; -ENOENT: not known.
 */
int process_find_cgroup(struct process_cache *c, uint64_t cgroup_id, struct container_info *ret);

/* The container that it runs in, by its control group, or from /proc. */
void process_find_container(struct process_cache *c, const struct task_ref *ref,
			    struct container_info *ret);

void process_get_stats(const struct process_cache *c, struct process_stats *ret);
