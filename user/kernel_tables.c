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

uint64_t count_skipped(const struct capture *c, enum kernel_source source)
{
	uint64_t total = 0;

	for (size_t i = 0; i < kernel_n_programs; i++) {
		struct bpf_prog_info prog = { 0 };
		__u32 len = sizeof(prog);

		if (kernel_programs[i].source == source &&
		    (kernel_programs[i].attach == ATTACH_AUTO ||
		     kernel_programs[i].attach == ATTACH_SYSCALL) &&
		    c->program_fds[i] >= 0 &&
		    bpf_obj_get_info_by_fd(c->program_fds[i], &prog, &len) == 0)
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

uint64_t kernel_find_readers(struct kernel *k)
{
	struct journal_tunables *t = k->now.source[KERNEL_JOURNAL].bss;
	struct dirent *e;
	DIR *proc;

	if (!t)
		return 0;
	proc = opendir("/proc");
	while (proc && (e = readdir(proc))) {
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
				bpf_map_update_elem(k->now.source[KERNEL_JOURNAL].map_fd, &tgid,
						    &one, BPF_ANY);
		}
	}
	if (proc)
		closedir(proc);
	return map_count(k->now.source[KERNEL_JOURNAL].map_fd);
}

uint64_t map_count(int map_fd)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);
	_cleanup_free_ char *key = NULL;
	uint64_t n = 0;
	void *from = NULL;

	if (bpf_obj_get_info_by_fd(map_fd, &info, &len) < 0)
		return 0;
	key = malloc(info.key_size);
	if (!key)
		return 0;
	/* A key that has gone meanwhile sends the walk back to its start. */
	while (n <= info.max_entries && bpf_map_get_next_key(map_fd, from, key) == 0) {
		from = key;
		n++;
	}
	return n;
}

int capture_get_counters(const struct capture *c, enum kernel_source source, int n_cpus,
			 uint64_t *ret)
{
	const struct source_state *s = &c->source[source];
	_cleanup_free_ uint64_t *per_cpu = calloc((size_t)n_cpus, sizeof(*per_cpu));

	if (!per_cpu)
		return -ENOMEM;
	for (__u32 i = 0; i < COUNTERS; i++) {
		ret[i] = 0;
		if (bpf_map_lookup_elem(s->counters_fd, &i, per_cpu) < 0) {
			if (errno == ENOENT)
				continue; /* an older one does not count that */
			return -errno;
		}
		for (int cpu = 0; cpu < n_cpus; cpu++)
			ret[i] += per_cpu[cpu];
	}
	return 0;
}

int kernel_get_counters(const struct kernel *k, enum kernel_source source,
			struct kernel_counters *ret)
{
	uint64_t sum[COUNTERS] = { 0 }, one[COUNTERS] = { 0 }, carried;
	const struct source_state *now = &k->now.source[source];
	const struct capture *oldest = NULL;
	__u32 at;

	for (int i = 0; i <= k->n_older; i++) {
		const struct capture *c = i < k->n_older ? &k->older[i] : &k->now;
		int err;

		if (!c->source[source].present)
			continue;
		if (!oldest)
			oldest = c;
		err = capture_get_counters(c, source, k->n_cpus, one);
		if (err)
			return err;
		for (int j = 0; j < COUNTERS; j++)
			sum[j] += one[j];
	}
	if (!oldest)
		return -ENOENT;
	for (__u32 j = 0; j < COUNTERS; j++) {
		at = CARRIED_COUNTERS + j;
		if (bpf_map_lookup_elem(oldest->source[source].carried_fd, &at, &carried) == 0)
			sum[j] += carried;
	}
	at = CARRIED_SKIPPED;
	if (bpf_map_lookup_elem(now->carried_fd, &at, &carried) < 0)
		carried = 0;
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
		.summed_packets = sum[COUNT_SUMMED_PACKETS],
		.summed_bytes = sum[COUNT_SUMMED_BYTES],
		.skipped = carried + now->skipped + count_skipped(&k->now, source),
	};
	ret->live = ret->seen - ret->submitted - ret->filtered - ret->ring_full - ret->no_room -
		    ret->missed;
	return 0;
}

int kernel_find_exec(const struct kernel *k, uint32_t pid, uint64_t start_ns,
		     struct kernel_exec *ret)
{
	struct process_exec_info info;

	if (k->now.source[KERNEL_PROCESSES].map_fd < 0)
		return -ENOENT;
	if (bpf_map_lookup_elem(k->now.source[KERNEL_PROCESSES].map_fd, &pid, &info) < 0)
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

int kernel_find_cgroup(const struct kernel *k, uint64_t cgroup_id, char *ret, size_t size)
{
	int fd = k->now.source[KERNEL_PROCESSES].cgroups_fd;
	struct process_cgroup info;
	size_t n;

	if (fd < 0)
		return -ENOENT;
	if (bpf_map_lookup_elem(fd, &cgroup_id, &info) < 0)
		return -errno;
	n = strnlen(info.path, sizeof(info.path));
	if (n >= size)
		return -ENAMETOOLONG;
	memcpy(ret, info.path, n);
	ret[n] = 0;
	return 0;
}

/* ------------------------------------------------------------------ for people who look */

/* What the program behind fd writes: samples, one behind the other. */
static void show_samples(int fd, void (*fn)(void *arg, const void *sample, size_t size), void *arg)
{
	static _Alignas(8) char buf[64 << 10];
	struct event_header h;
	size_t have = 0, done;

	for (;;) {
		ssize_t n = read(fd, buf + have, sizeof(buf) - have);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return;
		have += (size_t)n;
		for (done = 0; have - done >= sizeof(h); done += h.size) {
			memcpy(&h, buf + done, sizeof(h));
			if (h.size < sizeof(h) || h.size > sizeof(buf))
				return;
			if (have - done < h.size)
				break;
			fn(arg, buf + done, h.size);
		}
		memmove(buf, buf + done, have - done);
		have -= done;
	}
}

int kernel_show(const char *dir, void (*fn)(void *arg, const void *sample, size_t size), void *arg)
{
	struct dirent *e;
	int found = 0;
	DIR *d = opendir(dir);

	if (!d)
		return 0;
	while ((e = readdir(d))) {
		for (size_t i = 0; i < kernel_n_programs; i++) {
			_cleanup_close_ int fd = -1;
			struct place place;

			if (kernel_programs[i].attach != ATTACH_SHOW || e->d_name[0] == '.')
				continue;
			at(&place, "%s/%s/%s/%s/%s", dir, e->d_name,
			   kernel_sources[kernel_programs[i].source].name, pin_folder(ATTACH_SHOW),
			   kernel_programs[i].name);
			fd = open(place.path, O_RDONLY | O_CLOEXEC);
			if (fd < 0)
				continue;
			found++;
			show_samples(fd, fn, arg);
		}
	}
	closedir(d);
	return found;
}
