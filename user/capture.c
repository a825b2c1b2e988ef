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
#include <linux/membarrier.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "bpf/events.h"
#include "user/ring.h"
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

/* Where libbpf learns the numbers of tracepoints. Without it those of system calls are lacking. */
static void ensure_tracefs(void)
{
	if (access("/sys/kernel/debug/tracing/events", F_OK) < 0 &&
	    access("/sys/kernel/tracing/events", F_OK) < 0 &&
	    mount("tracefs", "/sys/kernel/tracing", "tracefs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "mode=0700") < 0)
		log_debug("/sys/kernel/tracing: mounting tracefs: %s", log_strerror(errno));
}

/* --------------------------------------------------------------- one folder */

int capture_open_map(const struct capture *c, enum kernel_source source, const char *name)
{
	struct place place;
	int fd;

	at(&place, "%s/%s/maps/%s", c->dir, kernel_sources[source].name, name);
	fd = bpf_obj_get(place.path);
	return fd < 0 ? -errno : fd;
}

static bool has_entries(const char *path)
{
	struct dirent *e;
	DIR *d = opendir(path);
	bool found = false;

	while (d && !found && (e = readdir(d)))
		found = e->d_name[0] != '.';
	if (d)
		closedir(d);
	return found;
}

static int source_open(struct capture *c, enum kernel_source source)
{
	struct source_state *s = &c->source[source];
	struct bpf_map_info info = { 0 };
	__u32 info_len = sizeof(info);
	struct place place;

	at(&place, "%s/%s", c->dir, kernel_sources[source].name);
	if (access(place.path, F_OK) < 0)
		return -ENOENT;
	s->counters_fd = capture_open_map(c, source, "counters");
	if (s->counters_fd < 0)
		return s->counters_fd;
	s->carried_fd = capture_open_map(c, source, "carried");
	if (source == KERNEL_PROCESSES) {
		s->map_fd = capture_open_map(c, source, "processes");
		if (s->map_fd < 0)
			return s->map_fd;
		/* Made by a version that had none of these: then they are not known. */
		s->cgroups_fd = capture_open_map(c, source, "cgroups");
	}
	if (source == KERNEL_JOURNAL) {
		s->map_fd = capture_open_map(c, source, "readers");
		if (s->map_fd < 0)
			return s->map_fd;
	}
	if (kernel_sources[source].ring) {
		const struct capture_tunables *t;

		s->ring_fd = capture_open_map(c, source, kernel_sources[source].ring);
		if (s->ring_fd < 0)
			return s->ring_fd;
		s->bss_fd = capture_open_map(c, source, "bss");
		if (s->bss_fd < 0)
			return s->bss_fd;
		if (bpf_obj_get_info_by_fd(s->bss_fd, &info, &info_len) < 0)
			return -errno;
		s->bss_size = info.value_size;
		s->bss = mmap(NULL, s->bss_size, PROT_READ | PROT_WRITE, MAP_SHARED, s->bss_fd, 0);
		if (s->bss == MAP_FAILED) {
			s->bss = NULL;
			return -errno;
		}
		t = s->bss;
		c->generation = t->generation;
		c->format = s->carried_fd >= 0 && s->bss_size >= sizeof(*t) ? t->format : 0;
	}
	s->attached = has_entries(at(&place, "%s/%s/links", c->dir, kernel_sources[source].name)) ||
		      has_entries(at(&place, "%s/%s/called", c->dir, kernel_sources[source].name));
	at(&place, "%s/%s/sweeps", c->dir, kernel_sources[source].name);
	s->present = access(place.path, F_OK) == 0;
	return s->present ? 0 : -ENOENT;
}

static void capture_init(struct capture *c)
{
	*c = (struct capture){ .format = EVENTS_FORMAT };
	for (int i = 0; i < KERNEL_SOURCES; i++) {
		struct source_state *s = &c->source[i];

		s->ring_fd = s->counters_fd = s->carried_fd = s->map_fd = s->bss_fd = -1;
		s->cgroups_fd = -1;
	}
	for (size_t i = 0; i < KERNEL_PROGRAMS_MAX; i++)
		c->program_fds[i] = -1;
}

static void close_programs(struct capture *c)
{
	for (size_t i = 0; i < KERNEL_PROGRAMS_MAX; i++) {
		close_fd(c->program_fds[i]);
		c->program_fds[i] = -1;
	}
}

/*
 * A program is found by its number with CAP_SYS_ADMIN alone, which is given up
 * after the start: what count_skipped() asks is opened now.
 */
static void open_programs(struct capture *c)
{
	close_programs(c);
	for (size_t i = 0; i < kernel_n_programs; i++) {
		const struct program_row *p = &kernel_programs[i];
		struct bpf_link_info link = { 0 };
		__u32 len = sizeof(link);
		_cleanup_close_ int link_fd = -1;
		struct place place;
		int fd;

		at(&place, "%s/%s/%s/%s", c->dir, kernel_sources[p->source].name,
		   pin_folder(p->attach), p->name);
		link_fd = bpf_obj_get(place.path);
		if (link_fd < 0 || bpf_obj_get_info_by_fd(link_fd, &link, &len) < 0)
			continue;
		fd = bpf_prog_get_fd_by_id(link.prog_id);
		c->program_fds[i] = fd < 0 ? -1 : fd;
	}
}

int capture_open(const char *dir, const char *name, struct capture *ret)
{
	capture_init(ret);
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	if (asprintf(&ret->dir, "%s/%s", dir, name) < 0) {
		ret->dir = NULL;
		return -ENOMEM;
	}
	for (int i = 0; i < KERNEL_SOURCES; i++) {
		int err = source_open(ret, (enum kernel_source)i);

		if (err && err != -ENOENT)
			return err;
	}
	open_programs(ret);
	return 0;
}

void capture_close(struct capture *c)
{
	for (int i = 0; i < KERNEL_SOURCES; i++) {
		struct source_state *s = &c->source[i];

		if (s->bss)
			munmap(s->bss, s->bss_size);
		close_fd(s->bss_fd);
		close_fd(s->ring_fd);
		close_fd(s->counters_fd);
		close_fd(s->carried_fd);
		close_fd(s->map_fd);
		close_fd(s->cgroups_fd);
	}
	close_programs(c);
	free(c->dir);
	capture_init(c);
}

void wait_for_events(void)
{
	/* All that a program of ours may be in is one read-side section of RCU. */
	const struct timespec pause = { .tv_nsec = 5 * 1000000 },
			      long_pause = { .tv_nsec = 100 * 1000000 };

	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0)
		nanosleep(&long_pause, NULL);
	else
		nanosleep(&pause, NULL);
}

/*
 * A link may outlive its last pin by a moment: the kernel defers that work. -EPERM:
 * it takes CAP_SYS_ADMIN to see that it is gone.
 */
static int wait_for_program(__u32 id)
{
	const struct timespec pause = { .tv_nsec = 2 * 1000000 };

	for (int i = 0; i < 1000; i++) {
		int fd = bpf_prog_get_fd_by_id(id);

		if (fd < 0)
			return errno == EPERM ? -EPERM : 0;
		close(fd);
		nanosleep(&pause, NULL);
	}
	return 0;
}

/*
 * Kernel events do nothing from here on, at once: their programs look whether another
 * capture sees to all. To let go of a tracepoint of a system call takes the kernel two
 * grace periods, one tracepoint after the other, and nobody has to wait for that.
 */
static bool silence(struct capture *c, enum kernel_source source)
{
	struct capture_tunables *t = c->source[source].bss;

	if (source != KERNEL_EVENTS || !t || c->format != EVENTS_FORMAT)
		return false;
	__atomic_store_n(&t->before, BEFORE_ALL, __ATOMIC_SEQ_CST);
	return true;
}

/*
 * Unpins a link. Who lets go of it last detaches it: we do, and *ret_id is the program to wait
 * for, if there is one; or, when nobody waits, the kernel, which has it by its pin alone.
 */
static bool unpin_link(const char *path, bool wait, __u32 *ret_id)
{
	struct bpf_link_info info = { 0 };
	__u32 len = sizeof(info);
	_cleanup_close_ int fd = -1;

	fd = bpf_obj_get(path);
	if (fd < 0)
		return false;
	if (wait && bpf_obj_get_info_by_fd(fd, &info, &len) == 0)
		*ret_id = info.prog_id;
	if (!wait)
		close_fd(TAKE_FD(fd));
	unlink(path);
	return true;
}

void capture_detach(struct capture *c)
{
	const struct timespec long_pause = { .tv_nsec = 50 * 1000000 };
	__u32 ids[KERNEL_PROGRAMS_MAX], n = 0;
	bool blind = false;
	struct place place;

	/* Who finds only some of its links is not to take it for one that goes on. */
	mkdir(at(&place, "%s/" STOPPED, c->dir), 0700);
	/* The links first: what is pinned nowhere and open nowhere runs no more. */
	for (int i = 0; i < KERNEL_SOURCES; i++) {
		bool silent = silence(c, (enum kernel_source)i);

		c->source[i].skipped += count_skipped(c, (enum kernel_source)i);
		for (size_t p = 0; p < kernel_n_programs; p++) {
			const struct program_row *row = &kernel_programs[p];
			__u32 id = 0;

			if (row->source != (enum kernel_source)i || n == KERNEL_PROGRAMS_MAX)
				continue;
			at(&place, "%s/%s/links/%s", c->dir, kernel_sources[i].name, row->name);
			if (unpin_link(place.path, !silent, &id) && id &&
			    row->attach == ATTACH_AUTO)
				ids[n++] = id;
		}
		/* And those that another version has. */
		at(&place, "%s/%s/links", c->dir, kernel_sources[i].name);
		remove_tree(place.path);
		remove_tree(at(&place, "%s/%s/called", c->dir, kernel_sources[i].name));
		c->source[i].attached = false;
	}
	close_programs(c);
	for (__u32 i = 0; i < n; i++)
		if (wait_for_program(ids[i]) < 0)
			blind = true;
	/* A grace period for the pin to go, and one for the link. */
	if (blind)
		nanosleep(&long_pause, NULL);
	wait_for_events();
}

int capture_sweep(struct capture *c, int one, bool flush)
{
	struct flow_tunables *t = c->source[KERNEL_FLOWS].bss;
	struct place place;
	char nothing[64];
	int ret = 0;

	if (!t)
		return 0;
	if (flush)
		t->flush = 1;
	for (size_t i = 0; i < kernel_n_programs; i++) {
		_cleanup_close_ int fd = -1;

		if (kernel_programs[i].attach != ATTACH_SWEEP || (one >= 0 && (size_t)one != i))
			continue;
		at(&place, "%s/%s/sweeps/%s", c->dir,
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

/* -------------------------------------------------------------- all of them */

static bool is_digits(const char *s)
{
	return *s && s[strspn(s, "0123456789")] == '\0';
}

/* Only what we name: eight hex digits, perhaps a number, perhaps unfinished. */
static bool is_capture(const char *name, bool *ret_whole)
{
	char base[32];
	size_t n = strlen(name);

	*ret_whole = true;
	if (n >= sizeof(base))
		return false;
	memcpy(base, name, n + 1);
	if (n > 4 && !strcmp(base + n - 4, "_new"))
		base[n - 4] = 0;
	else if (n > 5 && !strcmp(base + n - 5, "_gone"))
		base[n - 5] = 0;
	*ret_whole = strlen(base) == n;
	return strspn(base, "0123456789abcdef") == 8 &&
	       (!base[8] || (base[8] == '-' && is_digits(base + 9)));
}

#define NAMES_MAX 32
struct names {
	char name[NAMES_MAX][24];
	int n;
};

/* Removes what is of no use, or all; ret (or NULL) gets the names of the rest. Returns how many
 * went. */
static int look_around(const char *dir, bool remove_all, struct names *ret)
{
	struct place place;
	struct dirent *e;
	DIR *d = opendir(dir);
	bool whole;
	int n = 0;

	if (ret)
		ret->n = 0;
	if (!d)
		return 0;
	while ((e = readdir(d))) {
		if (!is_capture(e->d_name, &whole))
			continue;
		if (!whole || remove_all) {
			at(&place, "%s/%s", dir, e->d_name);
			n += remove_tree(place.path) == 0;
		} else if (ret && ret->n < NAMES_MAX) {
			snprintf(ret->name[ret->n++], sizeof(ret->name[0]), "%.23s", e->d_name);
		}
	}
	closedir(d);
	return n;
}

/* The name of the capture before this one: 0, or -ENOENT when there is none any more. */
static int read_before(const char *dir, const char *name, char *ret, size_t size)
{
	struct place place;
	char to[24];
	ssize_t n = readlink(at(&place, "%s/%s/before", dir, name), to, sizeof(to) - 1);
	bool whole;

	if (n < 0)
		return -errno;
	to[n] = 0;
	if (!is_capture(to, &whole) || !whole || access(at(&place, "%s/%s", dir, to), F_OK) < 0)
		return -ENOENT;
	snprintf(ret, size, "%s", to);
	return 0;
}

/* The one that none other took over from; NULL when there is none at all. */
static const char *find_head(const char *dir, const struct names *names)
{
	for (int i = 0; i < names->n; i++) {
		bool taken = false;

		for (int j = 0; j < names->n && !taken; j++) {
			char before[24];

			taken = read_before(dir, names->name[j], before, sizeof(before)) == 0 &&
				!strcmp(before, names->name[i]);
		}
		if (!taken)
			return names->name[i];
	}
	return NULL;
}

/* Sees what happens, and not only a part of it, as one whose collector died in a stop. */
static bool is_attached(const struct capture *c)
{
	struct place place;

	if (access(at(&place, "%s/" STOPPED, c->dir), F_OK) == 0)
		return false;
	return c->source[KERNEL_FLOWS].attached || c->source[KERNEL_JOURNAL].attached ||
	       c->source[KERNEL_EVENTS].attached;
}

static int open_failed(const struct capture *c, int err, char *text, size_t size)
{
	say(text, size, "%s: %s; \"sekoia-ebpf cleanup\" removes it, and what is in it", c->dir,
	    log_strerror(err));
	return err;
}

static int too_many(const struct kernel *k, char *text, size_t size)
{
	say(text, size,
	    "%s: %d captures wait for a spool that can be written; mend that with the version "
	    "that runs last, or give them up with \"sekoia-ebpf cleanup\"",
	    k->dir, KERNEL_OLDER_MAX);
	return -E2BIG;
}

/* Opens name and all that were before it: the newest is k->now, the rest k->older. */
static int open_chain(struct kernel *k, const char *name, char *text, size_t size)
{
	char before[24];
	int err = capture_open(k->dir, name, &k->now);

	if (err)
		return open_failed(&k->now, err, text, size);
	while (read_before(k->dir, k->n_older ? k->older[0].name : name, before, sizeof(before)) ==
	       0) {
		if (k->n_older == KERNEL_OLDER_MAX)
			return too_many(k, text, size);
		memmove(&k->older[1], &k->older[0], (size_t)k->n_older * sizeof(k->older[0]));
		k->n_older++;
		err = capture_open(k->dir, before, &k->older[0]);
		if (err)
			return open_failed(&k->older[0], err, text, size);
	}
	return 0;
}

/* Makes a capture and puts it in place of k->now, if there is one (before). */
static int build(struct kernel *k, const struct kernel_opts *opts, const struct capture *before,
		 char *text, size_t size)
{
	_cleanup_close_ int cgroup_fd = -1;
	struct place building, place;
	uint64_t generation;
	char why[160], name[24];
	bool any = false;
	const char *first = "";
	int err = -ENOTSUP;

	if (before && k->n_older == KERNEL_OLDER_MAX)
		return too_many(k, text, size);
	snprintf(name, sizeof(name), "%08x", layout_id(opts));
	for (int i = 2; access(at(&place, "%s/%s", k->dir, name), F_OK) == 0; i++)
		snprintf(name, sizeof(name), "%08x-%d", layout_id(opts), i);
	at(&building, "%s/%s_new", k->dir, name);
	if (mkdir(building.path, 0700) < 0) {
		err = -errno;
		say(text, size, "%s: %s", building.path, log_strerror(err));
		return err;
	}
	if (before && (symlink(before->name, at(&place, "%s/before", building.path)) < 0 ||
		       mkdir(at(&place, "%s/pending", building.path), 0700) < 0)) {
		err = -errno;
		say(text, size, "%s: %s", place.path, log_strerror(err));
		remove_tree(building.path);
		return err;
	}
	if (getrandom(&generation, sizeof(generation), 0) < 0)
		return -errno;
	generation |= 1;
	cgroup_fd = cgroup_root_open(why, sizeof(why), NULL);
	if (opts->wanted[KERNEL_EVENTS])
		ensure_tracefs();
	for (int i = 0; i < KERNEL_SOURCES; i++) {
		if (!opts->wanted[i])
			continue;
		err = source_build((enum kernel_source)i, opts, building.path,
				   before && before->source[i].present ? before : NULL, cgroup_fd,
				   generation, k->lacks[i], sizeof(k->lacks[i]));
		/* What is captured now must not end because the next one fails. */
		if (err && before && before->source[i].attached) {
			remove_tree(building.path);
			say(text, size,
			    "%s: the capture of %s can not be taken over (%s), and goes on; stop "
			    "its collector with SIGTERM, or give it up with \"sekoia-ebpf cleanup\"",
			    before->dir, kernel_sources[i].name, k->lacks[i]);
			return err;
		}
		if (!err)
			any = true;
	}
	if (!any) {
		remove_tree(building.path);
		for (int i = 0; i < KERNEL_SOURCES && !first[0]; i++)
			first = k->lacks[i];
		say(text, size, "no BPF program could be attached: %s", first);
		return err ? err : -ENOTSUP;
	}
	if (rename(building.path, at(&place, "%s/%s", k->dir, name)) < 0) {
		err = -errno;
		say(text, size, "%s: rename: %s", building.path, log_strerror(err));
		remove_tree(building.path);
		return err;
	}
	if (before)
		k->older[k->n_older++] = k->now;
	err = capture_open(k->dir, name, &k->now);
	return err ? open_failed(&k->now, err, text, size) : 0;
}

/* What is in a capture that can not be read: counted, before it goes. */
static void count_lost(struct kernel *k, const struct capture *c)
{
	for (int i = 0; i < KERNEL_SOURCES; i++) {
		_cleanup_(ring_freep) struct ring *ring = NULL;
		const void *sample;
		size_t size;

		if (c->source[i].ring_fd >= 0 && ring_new(c->source[i].ring_fd, &ring) == 0)
			while (ring_next(ring, &sample, &size) > 0)
				k->lost[i]++;
	}
	for (int i = 0; i < 2; i++) {
		_cleanup_close_ int fd =
			capture_open_map(c, KERNEL_FLOWS, i ? "packet_flows" : "tcp_flows");

		if (fd >= 0)
			k->lost[KERNEL_FLOWS] += map_count(fd);
	}
}

/* Ours beside captures that can not be read: those are counted, and go. */
static int replace_unreadable(struct kernel *k, const struct kernel_opts *opts, char *text,
			      size_t size)
{
	struct capture old[KERNEL_OLDER_MAX + 1];
	struct place place;
	int n = k->n_older + 1, err;

	memcpy(old, k->older, (size_t)k->n_older * sizeof(old[0]));
	old[k->n_older] = k->now;
	k->n_older = 0;
	capture_init(&k->now);
	err = build(k, opts, NULL, text, size);
	for (int i = 0; i < n; i++) {
		if (!err) {
			capture_detach(&old[i]);
			count_lost(k, &old[i]);
			remove_tree(at(&place, "%s", old[i].dir));
		}
		capture_close(&old[i]);
	}
	return err;
}

/* Those that need no new programs hold for adopted ones, too. */
static int set_wishes(struct kernel *k, const struct kernel_opts *opts, char *text, size_t size)
{
	struct flow_tunables *t = k->now.source[KERNEL_FLOWS].bss;
	int err;

	if (!t)
		return 0;
	t->flush = 0;
	t->phase = FLOWS_CAPTURED;
	kernel_set_timing(k, opts->active_ns, opts->idle_ns, opts->loopback);
	err = opts->rules ? kernel_set_rules(k, opts->rules) : 0;
	if (err)
		say(text, size, "the filter of flows: %s", log_strerror(err));
	return err;
}

int kernel_new(const struct kernel_opts *opts, char *text, size_t text_size, struct kernel **ret)
{
	_cleanup_(kernel_freep) struct kernel *k = NULL;
	const char *head;
	struct names names;
	char id[16];
	int err;

	libbpf_speaks_through_us();
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	capture_init(&k->now);
	k->n_cpus = libbpf_num_possible_cpus();
	if (k->n_cpus < 1) {
		say(text, text_size, "/sys/devices/system/cpu/possible can not be read");
		return -ENODEV;
	}
	err = ensure_bpffs(opts->dir, text, text_size);
	if (err)
		return err;
	k->dir = strdup(opts->dir);
	if (!k->dir)
		return -ENOMEM;

	look_around(k->dir, false, &names);
	head = find_head(k->dir, &names);
	snprintf(id, sizeof(id), "%08x", layout_id(opts));
	if (head) {
		err = open_chain(k, head, text, text_size);
		/* One that was on its way when its collector died gets there first. */
		if (!err && k->n_older && k->now.format == EVENTS_FORMAT)
			err = handover_run(&k->now, &k->older[k->n_older - 1], text, text_size);
		if (err)
			return err;
		k->adopted = !strncmp(head, id, 8) && is_attached(&k->now);
	}
	if (!head)
		err = build(k, opts, NULL, text, text_size);
	else if (k->now.format != EVENTS_FORMAT)
		err = replace_unreadable(k, opts, text, text_size);
	else if (!k->adopted) {
		err = build(k, opts, &k->now, text, text_size);
		if (!err)
			err = handover_run(&k->now, &k->older[k->n_older - 1], text, text_size);
	}
	if (!err)
		err = set_wishes(k, opts, text, text_size);
	if (err)
		return err;
	/* A handover has changed the programs of links. */
	open_programs(&k->now);
	*ret = TAKE_PTR(k);
	return 0;
}

void kernel_free(struct kernel *k)
{
	if (!k)
		return;
	for (int i = 0; i < k->n_older; i++)
		capture_close(&k->older[i]);
	capture_close(&k->now);
	free(k->dir);
	free(k);
}

int kernel_cleanup(const char *dir)
{
	int n = look_around(dir, true, NULL);

	/* The folder itself goes when nobody else uses it. */
	rmdir(dir);
	return n;
}

void kernel_end_flows(struct kernel *k)
{
	struct flow_tunables *t = k->now.source[KERNEL_FLOWS].bss;

	if (t)
		t->phase = FLOWS_ENDING;
	capture_sweep(&k->now, -1, true);
}

void kernel_detach(struct kernel *k)
{
	capture_detach(&k->now);
}

bool kernel_was_adopted(const struct kernel *k)
{
	return k->adopted;
}

bool kernel_has(const struct kernel *k, enum kernel_source source)
{
	return k->now.source[source].present;
}

const char *kernel_lacks(const struct kernel *k, enum kernel_source source)
{
	return k->lacks[source][0] ? k->lacks[source] : NULL;
}

uint64_t kernel_lost(const struct kernel *k, enum kernel_source source)
{
	return k->lost[source];
}

uint64_t kernel_generation(const struct kernel *k)
{
	return k->now.generation;
}

void kernel_set_timing(struct kernel *k, uint64_t active_ns, uint64_t idle_ns, bool loopback)
{
	struct flow_tunables *t = k->now.source[KERNEL_FLOWS].bss;
	struct names_tunables *names = k->now.source[KERNEL_NAMES].bss;

	if (names)
		names->loopback = loopback;
	if (!t)
		return;
	t->active_ns = active_ns;
	t->idle_ns = idle_ns;
	t->loopback = loopback;
}

void kernel_set_nat(struct kernel *k, bool on)
{
	struct flow_tunables *t = k->now.source[KERNEL_FLOWS].bss;

	if (t && t->nat != on)
		t->nat = on;
}

int kernel_set_rules(struct kernel *k, const struct flow_rules *rules)
{
	_cleanup_close_ int networks = -1, ports = -1, owners = -1;

	if (!k->now.source[KERNEL_FLOWS].bss)
		return 0;
	networks = capture_open_map(&k->now, KERNEL_FLOWS, "flow_networks");
	if (networks < 0)
		return networks;
	ports = capture_open_map(&k->now, KERNEL_FLOWS, "flow_ports");
	if (ports < 0)
		return ports;
	owners = capture_open_map(&k->now, KERNEL_FLOWS, "flow_owners");
	if (owners < 0)
		return owners;
	return flow_rules_apply(rules, &(struct flow_rules_maps){ networks, ports, owners },
				k->now.source[KERNEL_FLOWS].bss);
}

uint64_t kernel_lineage(const struct kernel *k, enum kernel_source source)
{
	const struct capture_tunables *t = k->now.source[source].bss;

	return t ? t->lineage : k->now.generation;
}

int kernel_ring_fd(const struct kernel *k, enum kernel_source source)
{
	return k->now.source[source].ring_fd;
}

int kernel_rings(const struct kernel *k, enum kernel_source source,
		 struct kernel_ring ret[KERNEL_OLDER_MAX + 1])
{
	int n = 0;

	for (int i = 0; i <= k->n_older; i++) {
		const struct capture *c = i < k->n_older ? &k->older[i] : &k->now;

		if (c->source[source].ring_fd >= 0)
			ret[n++] = (struct kernel_ring){ .fd = c->source[source].ring_fd,
							 .generation = c->generation,
							 .current = i == k->n_older };
	}
	return n;
}

bool kernel_has_older(const struct kernel *k)
{
	return k->n_older;
}

void kernel_drop_older(struct kernel *k)
{
	while (k->n_older) {
		struct capture *next = k->n_older > 1 ? &k->older[1] : &k->now;

		if (handover_finish(next, &k->older[0], k->dir, k->n_cpus) < 0)
			return; /* the next start tries again */
		capture_close(&k->older[0]);
		k->n_older--;
		memmove(&k->older[0], &k->older[1], (size_t)k->n_older * sizeof(k->older[0]));
	}
}

int kernel_sweep(struct kernel *k, bool flush)
{
	struct flow_tunables *t = k->now.source[KERNEL_FLOWS].bss;

	if (t)
		t->due_ns = UINT64_MAX;
	return capture_sweep(&k->now, -1, flush);
}

uint64_t kernel_next_due_ns(const struct kernel *k)
{
	const struct flow_tunables *t = k->now.source[KERNEL_FLOWS].bss;

	return t ? t->due_ns : UINT64_MAX;
}

uint64_t kernel_get_skipped(const struct kernel *k, enum kernel_source source)
{
	return count_skipped(&k->now, source);
}

void kernel_set_asleep(struct kernel *k, bool asleep)
{
	struct flow_tunables *flows = k->now.source[KERNEL_FLOWS].bss;
	struct journal_tunables *journal = k->now.source[KERNEL_JOURNAL].bss;
	struct events_tunables *events = k->now.source[KERNEL_EVENTS].bss;

	if (flows)
		flows->asleep = asleep;
	if (journal)
		journal->asleep = asleep;
	if (events)
		events->asleep = asleep;
}
