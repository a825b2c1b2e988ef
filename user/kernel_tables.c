/* SPDX-License-Identifier: Apache-2.0 */
/* What the maps of a capture say: the counters, the executables; and who reads the journal. */
#define _GNU_SOURCE
#include "user/capture.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/events.h"

uint64_t count_skipped(const struct kernel *k, enum kernel_source source)
{
	uint64_t total = 0;
	struct place place;

	for (size_t i = 0; i < kernel_n_programs; i++) {
		struct bpf_link_info link = { 0 };
		struct bpf_prog_info prog = { 0 };
		__u32 link_len = sizeof(link), prog_len = sizeof(prog);
		_cleanup_close_ int link_fd = -1, prog_fd = -1;

		if (kernel_programs[i].source != source || kernel_programs[i].attach != ATTACH_AUTO)
			continue;
		at(&place, "%s/%s/links/%s", k->dir, kernel_sources[source].name,
		   kernel_programs[i].name);
		link_fd = bpf_obj_get(place.path);
		if (link_fd < 0 || bpf_obj_get_info_by_fd(link_fd, &link, &link_len) < 0)
			continue;
		prog_fd = bpf_prog_get_fd_by_id(link.prog_id);
		if (prog_fd >= 0 && bpf_obj_get_info_by_fd(prog_fd, &prog, &prog_len) == 0)
			total += prog.recursion_misses;
	}
	return total;
}

/*
 * Is this process root's, or the program that its comm says? Anybody can take
 * another name, and nobody should fill the table of readers. A log daemon may
 * have changed its user since; its binary is still root's.
 */
static bool is_log_daemon(unsigned long pid, const char *comm)
{
	struct place place;
	char exe[512];
	const char *base;
	struct stat st;
	ssize_t n;

	at(&place, "/proc/%lu", pid);
	if (stat(place.path, &st) == 0 && st.st_uid == 0)
		return true;
	at(&place, "/proc/%lu/exe", pid);
	if (stat(place.path, &st) < 0 || st.st_uid != 0)
		return false;
	n = readlink(place.path, exe, sizeof(exe) - 1);
	if (n < 0)
		return false;
	exe[n] = 0;
	base = strrchr(exe, '/');
	return base && !strncmp(base + 1, comm, strlen(comm));
}

void kernel_find_readers(struct kernel *k)
{
	struct journal_tunables *t = k->source[KERNEL_JOURNAL].bss;
	struct dirent *e;
	DIR *proc;

	if (!t)
		return;
	proc = opendir("/proc");
	if (!proc)
		return;
	while ((e = readdir(proc))) {
		struct place place;
		char comm[sizeof(t->names[0]) + 1] = { 0 };
		unsigned long pid = strtoul(e->d_name, NULL, 10);
		_cleanup_close_ int fd = -1;
		ssize_t n;

		if (!pid)
			continue;
		at(&place, "/proc/%lu/comm", pid);
		fd = open(place.path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		n = read(fd, comm, sizeof(comm) - 1);
		if (n <= 0)
			continue;
		comm[strcspn(comm, "\n")] = 0;
		for (size_t i = strlen(comm); i < sizeof(comm); i++)
			comm[i] = 0;
		for (int i = 0; i < JOURNAL_NAMES; i++) {
			__u32 tgid = (__u32)pid;
			__u8 one = 1;

			if (!memcmp(t->names[i], comm, sizeof(t->names[i])) &&
			    is_log_daemon(pid, comm))
				bpf_map_update_elem(k->source[KERNEL_JOURNAL].map_fd, &tgid, &one,
						    BPF_ANY);
		}
	}
	closedir(proc);
}

int kernel_get_counters(const struct kernel *k, enum kernel_source source,
			struct kernel_counters *ret)
{
	_cleanup_free_ uint64_t *per_cpu = NULL;
	uint64_t sum[COUNTERS] = { 0 };

	if (!k->source[source].present)
		return -ENOENT;
	per_cpu = calloc((size_t)k->n_cpus, sizeof(*per_cpu));
	if (!per_cpu)
		return -ENOMEM;
	for (__u32 c = 0; c < COUNTERS; c++) {
		if (bpf_map_lookup_elem(k->source[source].counters_fd, &c, per_cpu) < 0)
			return -errno;
		for (int i = 0; i < k->n_cpus; i++)
			sum[c] += per_cpu[i];
	}
	*ret = (struct kernel_counters){
		.seen = sum[COUNT_SEEN],
		.submitted = sum[COUNT_SUBMITTED],
		.filtered = sum[COUNT_FILTERED],
		.ring_full = sum[COUNT_RING_FULL],
		.no_room = sum[COUNT_NO_ROOM],
		.truncated = sum[COUNT_TRUNCATED],
		.reports = sum[COUNT_REPORTS],
		.reports_put_off = sum[COUNT_REPORTS_RING_FULL],
		.adopted = sum[COUNT_ADOPTED],
		.missed = sum[COUNT_MISSED],
		.skipped = k->source[source].skipped + count_skipped(k, source),
	};
	ret->live = ret->seen - ret->submitted - ret->filtered - ret->ring_full - ret->no_room -
		    ret->missed;
	return 0;
}

int kernel_find_exec(const struct kernel *k, uint32_t pid, uint64_t start_ns,
		     struct kernel_exec *ret)
{
	struct process_exec_info info;

	if (k->source[KERNEL_PROCESSES].map_fd < 0)
		return -ENOENT;
	if (bpf_map_lookup_elem(k->source[KERNEL_PROCESSES].map_fd, &pid, &info) < 0)
		return -errno;
	if (start_ns && info.start_ns != start_ns)
		return -ENOENT;
	ret->start_ns = info.start_ns;
	ret->ppid = info.ppid;
	memcpy(ret->filename, info.filename, sizeof(info.filename));
	ret->filename[sizeof(info.filename)] = 0;
	ret->args_len = info.args_len <= sizeof(info.args) ? info.args_len : sizeof(info.args);
	memcpy(ret->args, info.args, ret->args_len);
	ret->args[ret->args_len] = 0;
	return 0;
}
