/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A capture's pins: the lock on their folder, the folder's parts; adopt, sweep,
 * detach, remove. What is in the maps is for kernel_tables.c.
 */
#define _GNU_SOURCE
#include "user/capture.h"
#include "user/flow_rules.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bpf/events.h"
#include "user/util/log.h"

const char *at(struct place *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->path, sizeof(p->path), fmt, ap);
	va_end(ap);
	return p->path;
}

void say(char *text, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, size, fmt, ap);
	va_end(ap);
}

/* ------------------------------------------------------------------ places */

int remove_tree(const char *path)
{
	_cleanup_free_ char *child = NULL;
	struct dirent *e;
	DIR *d = opendir(path);

	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		struct stat st;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		free(child);
		child = NULL;
		if (asprintf(&child, "%s/%s", path, e->d_name) < 0)
			continue;
		if (lstat(child, &st) == 0 && S_ISDIR(st.st_mode))
			remove_tree(child);
		else
			unlink(child);
	}
	closedir(d);
	return rmdir(path) < 0 ? -errno : 0;
}

/* Makes dir, and mounts a bpffs at /sys/fs/bpf when none is there. */
static int ensure_bpffs(const char *dir, char *text, size_t size)
{
	struct statfs fs;
	struct place place;
	char *path = place.path;

	if (!strncmp(dir, "/sys/fs/bpf/", 12) && statfs("/sys/fs/bpf", &fs) == 0 &&
	    fs.f_type != BPF_FS_MAGIC) {
		if (mount("bpf", "/sys/fs/bpf", "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC,
			  "mode=0700") < 0) {
			say(text, size,
			    "/sys/fs/bpf: no bpffs, and mounting one failed: %s; run as root, or: "
			    "mount -t bpf bpf /sys/fs/bpf",
			    log_strerror(errno));
			return -ENODEV;
		}
	}
	at(&place, "%s", dir);
	for (char *p = path + 1;; p++) {
		if (*p && *p != '/')
			continue;
		char c = *p;

		*p = 0;
		if (mkdir(path, 0700) < 0 && errno != EEXIST) {
			int err = -errno;

			say(text, size, "%s: %s; run as root", path, log_strerror(err));
			return err;
		}
		*p = c;
		if (!c)
			break;
	}
	if (statfs(dir, &fs) < 0 || fs.f_type != BPF_FS_MAGIC) {
		say(text, size,
		    "%s is not on a bpffs: pins can not be made there; choose a folder below "
		    "/sys/fs/bpf with collector.bpf_dir",
		    dir);
		return -ENODEV;
	}
	return 0;
}

int kernel_lock(const char *dir, char *text, size_t text_size, int *ret_fd)
{
	struct stat mine, there;
	int err;

	for (;;) {
		_cleanup_close_ int fd = -1;

		err = ensure_bpffs(dir, text, text_size);
		if (err)
			return err;
		fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT)
			continue; /* who had it has just removed it */
		if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0) {
			err = errno == EWOULDBLOCK ? -EBUSY : -errno;
			say(text, text_size, "%s: %s", dir,
			    err == -EBUSY ? "a running collector has it; stop that one first, or "
					    "choose another collector.bpf_dir"
					  : log_strerror(err));
			return err;
		}
		if (fstat(fd, &mine) < 0 || stat(dir, &there) < 0 || mine.st_ino != there.st_ino)
			continue;
		*ret_fd = TAKE_FD(fd);
		return 0;
	}
}

/* ------------------------------------------------------------------- adopt */

static int open_pin(const char *dir, const char *source, const char *name)
{
	struct place place;
	int fd;

	at(&place, "%s/%s/maps/%s", dir, source, name);
	fd = bpf_obj_get(place.path);
	return fd < 0 ? -errno : fd;
}

static int source_open(struct kernel *k, enum kernel_source source)
{
	struct source_state *s = &k->source[source];
	const char *name = kernel_sources[source].name;
	struct bpf_map_info info = { 0 };
	__u32 info_len = sizeof(info);
	struct place place;
	ssize_t n;
	int fd;

	at(&place, "%s/%s", k->dir, name);
	if (access(place.path, F_OK) < 0)
		return -ENOENT;
	s->counters_fd = open_pin(k->dir, name, "counters");
	if (s->counters_fd < 0)
		return s->counters_fd;
	if (source == KERNEL_PROCESSES) {
		s->map_fd = open_pin(k->dir, name, "processes");
		if (s->map_fd < 0)
			return s->map_fd;
	}
	if (source == KERNEL_JOURNAL) {
		s->map_fd = open_pin(k->dir, name, "readers");
		if (s->map_fd < 0)
			return s->map_fd;
	}
	if (kernel_sources[source].ring) {
		s->ring_fd = open_pin(k->dir, name, kernel_sources[source].ring);
		if (s->ring_fd < 0)
			return s->ring_fd;
		fd = open_pin(k->dir, name, "bss");
		if (fd < 0)
			return fd;
		s->bss_fd = fd;
		if (bpf_obj_get_info_by_fd(fd, &info, &info_len) < 0)
			return -errno;
		s->bss_size = info.value_size;
		s->bss = mmap(NULL, s->bss_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (s->bss == MAP_FAILED) {
			s->bss = NULL;
			return -errno;
		}
		/* Each object's tunables begin with the generation. */
		k->generation = *(uint64_t *)s->bss;
	}
	at(&place, "%s/%s/sweeps", k->dir, name);
	n = access(place.path, F_OK);
	s->present = n == 0;
	return s->present ? 0 : -ENOENT;
}

static int remove_captures(const char *dir)
{
	struct place place;
	struct dirent *e;
	DIR *d = opendir(dir);
	int n = 0;

	if (!d)
		return 0;
	while ((e = readdir(d))) {
		/* Only what we name: eight hex digits, perhaps unfinished. */
		if (strspn(e->d_name, "0123456789abcdef") != 8 ||
		    (e->d_name[8] && strcmp(e->d_name + 8, "_new") != 0))
			continue;
		at(&place, "%s/%s", dir, e->d_name);
		if (remove_tree(place.path) == 0)
			n++;
	}
	closedir(d);
	return n;
}

int kernel_new(const struct kernel_opts *opts, char *text, size_t text_size, struct kernel **ret)
{
	_cleanup_(kernel_freep) struct kernel *k = NULL;
	_cleanup_close_ int cgroup_fd = -1;
	struct place building, place;
	char why[160];
	bool any = false;
	int err;

	libbpf_speaks_through_us();
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	for (int i = 0; i < KERNEL_SOURCES; i++)
		k->source[i].ring_fd = k->source[i].counters_fd = k->source[i].map_fd =
			k->source[i].bss_fd = -1;
	k->n_cpus = libbpf_num_possible_cpus();
	if (k->n_cpus < 1) {
		say(text, text_size, "/sys/devices/system/cpu/possible can not be read");
		return -ENODEV;
	}
	err = ensure_bpffs(opts->dir, text, text_size);
	if (err)
		return err;
	if (asprintf(&k->dir, "%s/%08x", opts->dir, layout_id(opts)) < 0) {
		k->dir = NULL;
		return -ENOMEM;
	}

	k->adopted = access(k->dir, F_OK) == 0;
	if (!k->adopted) {
		remove_captures(opts->dir);
		at(&building, "%s_new", k->dir);
		if (mkdir(building.path, 0700) < 0) {
			err = -errno;
			say(text, text_size, "%s: %s", building.path, log_strerror(err));
			return err;
		}
		if (getrandom(&k->generation, sizeof(k->generation), 0) < 0)
			return -errno;
		k->generation |= 1;
		cgroup_fd = cgroup_root_open(why, sizeof(why));
		for (int i = 0; i < KERNEL_SOURCES; i++) {
			if (!opts->wanted[i])
				continue;
			at(&place, "%s/%s", building.path, kernel_sources[i].name);
			err = source_build((enum kernel_source)i, opts, place.path, cgroup_fd,
					   k->generation, k->source[i].lacks,
					   sizeof(k->source[i].lacks));
			if (!err)
				any = true;
		}
		if (!any) {
			remove_tree(building.path);
			say(text, text_size, "no BPF program could be attached: %s%s",
			    k->source[0].lacks, geteuid() ? "; run as root" : "");
			return err ? err : -ENOTSUP;
		}
		if (rename(building.path, k->dir) < 0) {
			err = -errno;
			say(text, text_size, "%s: rename: %s", building.path, log_strerror(err));
			remove_tree(building.path);
			return err;
		}
	}
	for (int i = 0; i < KERNEL_SOURCES; i++) {
		err = source_open(k, (enum kernel_source)i);
		if (err && err != -ENOENT) {
			say(text, text_size, "%s/%s: %s; \"sekoia-ebpf cleanup\" removes it",
			    k->dir, kernel_sources[i].name, log_strerror(err));
			return err;
		}
	}
	/* Wishes that need no new programs hold for adopted ones, too. */
	if (k->source[KERNEL_FLOWS].bss) {
		struct flow_tunables *t = k->source[KERNEL_FLOWS].bss;

		t->active_ns = opts->active_ns;
		t->idle_ns = opts->idle_ns;
		t->loopback = opts->loopback;
		t->flush = 0;
		err = opts->rules ? kernel_set_rules(k, opts->rules) : 0;
		if (err) {
			say(text, text_size, "the filter of flows: %s", log_strerror(err));
			return err;
		}
	}
	*ret = TAKE_PTR(k);
	return 0;
}

void kernel_free(struct kernel *k)
{
	if (!k)
		return;
	for (int i = 0; i < KERNEL_SOURCES; i++) {
		struct source_state *s = &k->source[i];

		if (s->bss)
			munmap(s->bss, s->bss_size);
		close_fd(s->bss_fd);
		close_fd(s->ring_fd);
		close_fd(s->counters_fd);
		close_fd(s->map_fd);
	}
	free(k->dir);
	free(k);
}

int kernel_cleanup(const char *dir)
{
	int n = remove_captures(dir);

	/* The folder itself goes when nobody else uses it. */
	rmdir(dir);
	return n;
}

void kernel_detach(struct kernel *k)
{
	struct place place;

	/* The links first: what is pinned nowhere and open nowhere runs no more. */
	for (int i = 0; i < KERNEL_SOURCES; i++) {
		k->source[i].skipped += count_skipped(k, (enum kernel_source)i);
		at(&place, "%s/%s/links", k->dir, kernel_sources[i].name);
		remove_tree(place.path);
	}
}

bool kernel_was_adopted(const struct kernel *k)
{
	return k->adopted;
}

bool kernel_has(const struct kernel *k, enum kernel_source source)
{
	return k->source[source].present;
}

const char *kernel_lacks(const struct kernel *k, enum kernel_source source)
{
	return k->source[source].lacks[0] ? k->source[source].lacks : NULL;
}

uint64_t kernel_generation(const struct kernel *k)
{
	return k->generation;
}

int kernel_set_rules(struct kernel *k, const struct flow_rules *rules)
{
	const char *name = kernel_sources[KERNEL_FLOWS].name;
	_cleanup_close_ int networks = -1, ports = -1, owners = -1;

	if (!k->source[KERNEL_FLOWS].bss)
		return 0;
	networks = open_pin(k->dir, name, "flow_networks");
	if (networks < 0)
		return networks;
	ports = open_pin(k->dir, name, "flow_ports");
	if (ports < 0)
		return ports;
	owners = open_pin(k->dir, name, "flow_owners");
	if (owners < 0)
		return owners;
	return flow_rules_apply(rules, &(struct flow_rules_maps){ networks, ports, owners },
				k->source[KERNEL_FLOWS].bss);
}

int kernel_ring_fd(const struct kernel *k, enum kernel_source source)
{
	return k->source[source].ring_fd;
}

int kernel_sweep(struct kernel *k, bool flush)
{
	struct flow_tunables *t = k->source[KERNEL_FLOWS].bss;
	struct place place;
	char nothing[64];
	int ret = 0;

	if (!k->source[KERNEL_FLOWS].present)
		return 0;
	if (flush)
		t->flush = 1;
	for (size_t i = 0; i < kernel_n_programs; i++) {
		_cleanup_close_ int fd = -1;

		if (kernel_programs[i].attach != ATTACH_SWEEP)
			continue;
		at(&place, "%s/%s/sweeps/%s", k->dir,
		   kernel_sources[kernel_programs[i].source].name, kernel_programs[i].name);
		fd = open(place.path, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			if (errno != ENOENT)
				ret = -errno;
			continue;
		}
		/* The program writes nothing; -EAGAIN after each million of entries. */
		while (read(fd, nothing, sizeof(nothing)) < 0) {
			if (errno != EAGAIN && errno != EINTR) {
				ret = -errno;
				break;
			}
		}
	}
	if (flush)
		t->flush = 0;
	return ret;
}
