/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process in /proc: the input is its stat, cmdline and cgroup, with a byte
 * 0xff between them. What programs choose for themselves is in all three.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "user/process.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PID 42

static char root[] = "/tmp/fuzz_process.XXXXXX";
static const char *const names[] = { "stat", "cmdline", "cgroup" };
#define N_NAMES (sizeof(names) / sizeof(names[0]))

static const char *path_of(const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/%d%s%s", root, PID, name[0] ? "/" : "", name);
	return path;
}

static void remove_root(void)
{
	for (size_t i = 0; i < N_NAMES; i++)
		unlink(path_of(names[i]));
	rmdir(path_of(""));
	rmdir(root);
}

static void put(const char *name, const uint8_t *data, size_t size)
{
	FILE *f = fopen(path_of(name), "we");

	if (!f || fwrite(data, 1, size, f) != size || fclose(f))
		abort();
}

static void check(const struct process_info *p, size_t size)
{
	if (p->args.len > PROCESS_ARGS_MAX || p->args.len > size ||
	    p->command_line.len != p->args.len || p->executable.len || p->name.len > 16 ||
	    (p->args.len && !p->args.p[p->args.len - 1]) ||
	    (p->command_line.len && memchr(p->command_line.p, 0, p->command_line.len)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Known by its start, and by its number alone. */
	const struct task_ref refs[] = { { .pid = PID, .start_ns = 10000000, .comm = "fuzz" },
					 { .pid = PID, .comm = "fuzz" } };
	struct process_opts opts = { .procfs = root, .max_entries = 2 };
	struct process_cache *c;
	const uint8_t *at = data;
	size_t left = size;

	if (strstr(root, "XXXXXX")) {
		if (!mkdtemp(root) || mkdir(path_of(""), 0755) < 0)
			abort();
		atexit(remove_root);
	}
	for (size_t i = 0; i < N_NAMES; i++) {
		const uint8_t *end = left ? memchr(at, 0xff, left) : NULL;
		size_t n = end ? (size_t)(end - at) : left;

		put(names[i], at, n);
		at += n + !!end;
		left -= n + !!end;
	}
	if (process_cache_new(&opts, &c) < 0)
		abort();
	for (size_t i = 0; i < sizeof(refs) / sizeof(refs[0]); i++)
		check(process_find(c, &refs[i], UINT64_MAX, 0), size);
	process_cache_free(c);
	return 0;
}
