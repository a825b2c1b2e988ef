/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads, attaches, pins and adopts our BPF objects, all by the two tables
 * below: a source is an object, a program is a row. Whether a kernel can run a
 * program is found out by loading and attaching it.
 */
#define _GNU_SOURCE
#include "user/probe.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <mntent.h>
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
#include "bpf/flow.skel.h"
#include "bpf/journal.skel.h"
#include "bpf/process.skel.h"
#include "user/util/clock.h"
#include "user/util/crc32c.h"
#include "user/util/log.h"

enum attach { ATTACH_AUTO, ATTACH_CGROUP, ATTACH_SWEEP };

struct program_row {
	enum kernel_source source;
	const char *name;
	enum attach attach;
	const char *map;   /* ATTACH_SWEEP: what it walks */
	const char *group; /* programs that only make sense together */
};

/* A group named twice has twins: the first one that loads and attaches is used. */
static const struct program_row programs[] = {
	{ KERNEL_FLOWS, "tcp_set_state", ATTACH_AUTO, NULL, "tcp" },
	{ KERNEL_FLOWS, "tcp_destroy", ATTACH_AUTO, NULL, "tcp" },
	{ KERNEL_FLOWS, "tcp_reader", ATTACH_AUTO, NULL, "tcp" },
	{ KERNEL_FLOWS, "tcp_sweep", ATTACH_SWEEP, "tcp_flows", "tcp" },
	{ KERNEL_FLOWS, "packet_egress", ATTACH_CGROUP, NULL, "packet" },
	{ KERNEL_FLOWS, "packet_ingress", ATTACH_CGROUP, NULL, "packet" },
	{ KERNEL_FLOWS, "packet_socket", ATTACH_CGROUP, NULL, "packet" },
	{ KERNEL_FLOWS, "packet_sweep", ATTACH_SWEEP, "packet_flows", "packet" },
	{ KERNEL_JOURNAL, "journal_read", ATTACH_AUTO, NULL, "dynptr" },
	{ KERNEL_JOURNAL, "journal_read_pages", ATTACH_AUTO, NULL, "pages" },
	{ KERNEL_JOURNAL, "journal_read_linear", ATTACH_AUTO, NULL, "linear" },
	{ KERNEL_JOURNAL, "journal_exec", ATTACH_AUTO, NULL, "dynptr pages linear" },
	{ KERNEL_JOURNAL, "journal_exit", ATTACH_AUTO, NULL, "dynptr pages linear" },
	{ KERNEL_PROCESSES, "process_exec", ATTACH_AUTO, NULL, "exec" },
};
#define N_PROGRAMS (sizeof(programs) / sizeof(programs[0]))

/* What to try for each source, in this order; the first that works is taken. */
struct variant_row {
	enum kernel_source source;
	const char *groups;
	const char *lacks; /* what is lost with it; NULL: nothing */
};

static const struct variant_row variants[] = {
	{ KERNEL_FLOWS, "tcp packet", NULL },
	{ KERNEL_FLOWS, "tcp", "UDP and ICMP flows: no cgroup-v2 hook" },
	{ KERNEL_FLOWS, "packet", "TCP flows: no BTF tracepoint sock/inet_sock_set_state" },
	{ KERNEL_JOURNAL, "dynptr", NULL },
	{ KERNEL_JOURNAL, "pages", NULL },
	{ KERNEL_JOURNAL, "linear",
	  "journal messages of more than 3 to 15 KiB, or parts of them: no "
	  "bpf_dynptr_from_skb, and no kernel symbols (kernel.kptr_restrict=2?)" },
	{ KERNEL_PROCESSES, "exec", NULL },
};
#define N_VARIANTS (sizeof(variants) / sizeof(variants[0]))

struct source_row {
	const char *name;
	const char *ring; /* the name of its ring's map */
	const void *(*elf)(size_t *size);
};

static const struct source_row sources[KERNEL_SOURCES] = {
	[KERNEL_FLOWS] = { "flows", "flow_ring", flow_bpf__elf_bytes },
	[KERNEL_JOURNAL] = { "journal", "journal_ring", journal_bpf__elf_bytes },
	[KERNEL_PROCESSES] = { "processes", NULL, process_bpf__elf_bytes },
};

/* The .bss of the flow and the journal object is exactly this. */
_Static_assert(sizeof(((struct flow_bpf *)0)->bss->tunables) == sizeof(struct flow_tunables), "");

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
	int program_fds[N_PROGRAMS]; /* -1: not attached */
	int n_cpus;
};

static bool has_word(const char *words, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = words; (p = strstr(p, word)); p += n)
		if ((p == words || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
			return true;
	return false;
}

static bool row_in_variant(const struct program_row *row, const struct variant_row *v)
{
	char groups[64], *save = NULL;

	snprintf(groups, sizeof(groups), "%s", row->group);
	for (char *g = strtok_r(groups, " ", &save); g; g = strtok_r(NULL, " ", &save))
		if (has_word(v->groups, g))
			return true;
	return false;
}

/*
 * libbpf speaks at length when a program does not load; that is for debugging.
 * The verifier's complaint is at the end of what it says.
 */
#define LIBBPF_LINES 12
__attribute__((format(printf, 2, 0))) static int on_libbpf_print(enum libbpf_print_level level,
								 const char *fmt, va_list ap)
{
	_cleanup_free_ char *text = NULL;
	const char *from;
	int lines = 0;

	if (level == LIBBPF_DEBUG || log_get_level() < LOG_LEVEL_DEBUG)
		return 0;
	if (vasprintf(&text, fmt, ap) < 0) {
		text = NULL;
		return 0;
	}
	from = text + strlen(text);
	while (from > text && lines < LIBBPF_LINES)
		lines += *--from == '\n';
	for (char *save = NULL, *line = strtok_r(text + (from - text), "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		log_debug("%s", line);
	return 0;
}

struct place {
	char path[512];
};

/* A path from its parts. The folder's length was checked when it was configured. */
static const char *at(struct place *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static const char *at(struct place *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->path, sizeof(p->path), fmt, ap);
	va_end(ap);
	return p->path;
}

static void say(char *text, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void say(char *text, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, size, fmt, ap);
	va_end(ap);
}

/* ------------------------------------------------------------------ places */

static int remove_tree(const char *path)
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

static int cgroup_root_open(char *text, size_t size)
{
	struct mntent *m;
	FILE *f = setmntent("/proc/self/mounts", "re");
	int fd = -1;

	if (!f) {
		say(text, size, "/proc/self/mounts: %s", log_strerror(errno));
		return -ENOENT;
	}
	while ((m = getmntent(f))) {
		if (strcmp(m->mnt_type, "cgroup2") != 0)
			continue;
		fd = open(m->mnt_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0)
			break;
	}
	endmntent(f);
	if (fd < 0) {
		say(text, size, "no cgroup-v2 file system is mounted");
		return -ENOENT;
	}
	return fd;
}

static uint64_t round_up_pow2(uint64_t n)
{
	uint64_t p = 4096;

	while (p < n)
		p <<= 1;
	return p;
}

/* All that makes two sets of pins the same: the programs, the sizes, the wishes. */
static uint32_t layout_id(const struct kernel_opts *o)
{
	uint64_t words[] = { EVENTS_LAYOUT, round_up_pow2(o->flow_ring_bytes),
			     round_up_pow2(o->journal_ring_bytes), o->flows_max,
			     o->wanted[0] | o->wanted[1] << 1 | o->wanted[2] << 2 };
	uint32_t crc = crc32c(0, words, sizeof(words));

	for (int i = 0; i < KERNEL_SOURCES; i++) {
		size_t size;
		const void *elf = sources[i].elf(&size);

		crc = crc32c(crc, elf, size);
	}
	return crc;
}

/* ------------------------------------------------------------------ attach */

static int set_sizes(struct bpf_object *obj, enum kernel_source source, const struct kernel_opts *o)
{
	int err = 0;

	if (source == KERNEL_FLOWS) {
		err = bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "flow_ring"),
					       (uint32_t)round_up_pow2(o->flow_ring_bytes));
		if (!err)
			err = bpf_map__set_max_entries(
				bpf_object__find_map_by_name(obj, "tcp_flows"),
				(uint32_t)o->flows_max);
		if (!err)
			err = bpf_map__set_max_entries(
				bpf_object__find_map_by_name(obj, "packet_flows"),
				(uint32_t)o->flows_max);
	} else if (source == KERNEL_JOURNAL) {
		err = bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, "journal_ring"),
					       (uint32_t)round_up_pow2(o->journal_ring_bytes));
	}
	return err;
}

static int attach_row(const struct program_row *row, struct bpf_object *obj, int cgroup_fd,
		      struct bpf_link **ret)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, row->name);
	struct bpf_link *link = NULL;

	if (!prog)
		return -ENOENT;
	switch (row->attach) {
	case ATTACH_AUTO:
		link = bpf_program__attach(prog);
		break;
	case ATTACH_CGROUP:
		if (cgroup_fd < 0)
			return -ENOENT;
		link = bpf_program__attach_cgroup(prog, cgroup_fd);
		break;
	case ATTACH_SWEEP: {
		struct bpf_map *map = bpf_object__find_map_by_name(obj, row->map);
		union bpf_iter_link_info info = { .map.map_fd = (__u32)bpf_map__fd(map) };
		LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info,
			    .link_info_len = sizeof(info));

		link = bpf_program__attach_iter(prog, &opts);
		break;
	}
	}
	if (!link)
		return -errno;
	*ret = link;
	return 0;
}

/* Global data are maps named after the object, "flow_bpf.bss": the part behind the dot. */
static const char *map_pin_name(const struct bpf_map *map)
{
	const char *name = bpf_map__name(map), *dot = strrchr(name, '.');

	return dot ? dot + 1 : name;
}

static int pin_maps(struct bpf_object *obj, const char *dir)
{
	struct bpf_map *map;
	struct place place;
	int err;

	bpf_object__for_each_map(map, obj)
	{
		if (!strcmp(map_pin_name(map), "rodata"))
			continue;
		at(&place, "%s/%s", dir, map_pin_name(map));
		err = bpf_map__pin(map, place.path);
		if (err)
			return err;
	}
	return 0;
}

/*
 * One source in one variant, below dir. Nothing of it stays when it fails: the
 * links go with their descriptors, and the caller removes the folder.
 */
static int source_attach(enum kernel_source source, const struct variant_row *v,
			 const struct kernel_opts *o, const char *dir, int cgroup_fd,
			 uint64_t generation, char *why, size_t why_size)
{
	LIBBPF_OPTS(bpf_object_open_opts, open_opts, .object_name = sources[source].name,
		    .btf_custom_path = o->btf);
	struct bpf_link *links[N_PROGRAMS] = { 0 };
	struct bpf_object *obj;
	struct bpf_program *prog;
	struct bpf_map *bss;
	struct place place;
	const void *elf;
	size_t size;
	int err;

	elf = sources[source].elf(&size);
	obj = bpf_object__open_mem(elf, size, &open_opts);
	if (!obj) {
		say(why, why_size, "open: %s", log_strerror(errno));
		return -errno;
	}
	bpf_object__for_each_program(prog, obj)
	{
		bool wanted = false;

		for (size_t i = 0; i < N_PROGRAMS; i++)
			if (programs[i].source == source &&
			    !strcmp(programs[i].name, bpf_program__name(prog)))
				wanted = row_in_variant(&programs[i], v);
		bpf_program__set_autoload(prog, wanted);
	}
	err = set_sizes(obj, source, o);
	if (!err)
		err = bpf_object__load(obj);
	if (err) {
		say(why, why_size, "load: %s", log_strerror(err));
		goto out;
	}

	/* The tunables are set before anything can run. */
	bss = NULL;
	for (struct bpf_map *m = bpf_object__next_map(obj, NULL); m;
	     m = bpf_object__next_map(obj, m))
		if (!strcmp(map_pin_name(m), "bss"))
			bss = m;
	if (bss && source == KERNEL_FLOWS) {
		struct flow_tunables t = { .generation = generation,
					   .attached_ns = clock_boot_ns(),
					   .active_ns = o->active_ns,
					   .idle_ns = o->idle_ns,
					   .loopback = o->loopback };
		__u32 zero = 0;

		err = bpf_map_update_elem(bpf_map__fd(bss), &zero, &t, BPF_ANY);
	} else if (bss && source == KERNEL_JOURNAL) {
		static const char *const names[JOURNAL_NAMES] = { "systemd-journal", "rsyslogd",
								  "syslog-ng", "syslogd" };
		struct journal_tunables t = { .generation = generation };
		__u32 zero = 0;

		for (int i = 0; i < JOURNAL_NAMES; i++)
			memcpy(t.names[i], names[i], strlen(names[i]));
		err = bpf_map_update_elem(bpf_map__fd(bss), &zero, &t, BPF_ANY);
	}
	if (err) {
		say(why, why_size, "tunables: %s", log_strerror(err));
		goto out;
	}

	if (mkdir(dir, 0700) < 0) {
		err = -errno;
		say(why, why_size, "%s: %s", dir, log_strerror(err));
		goto out;
	}
	at(&place, "%s/maps", dir);
	if (mkdir(place.path, 0700) == 0)
		err = pin_maps(obj, place.path);
	else
		err = -errno;
	at(&place, "%s/links", dir);
	if (!err && mkdir(place.path, 0700) < 0)
		err = -errno;
	at(&place, "%s/sweeps", dir);
	if (!err && mkdir(place.path, 0700) < 0)
		err = -errno;
	if (err) {
		say(why, why_size, "pin: %s", log_strerror(err));
		goto out;
	}
	for (size_t i = 0; i < N_PROGRAMS && !err; i++) {
		if (programs[i].source != source || !row_in_variant(&programs[i], v))
			continue;
		err = attach_row(&programs[i], obj, cgroup_fd, &links[i]);
		if (!err) {
			at(&place, "%s/%s/%s", dir,
			   programs[i].attach == ATTACH_SWEEP ? "sweeps" : "links",
			   programs[i].name);
			err = bpf_link__pin(links[i], place.path);
		}
		if (err)
			say(why, why_size, "attach %s: %s", programs[i].name, log_strerror(err));
	}
out:
	/* What is pinned stays, what is not goes. */
	for (size_t i = 0; i < N_PROGRAMS; i++)
		bpf_link__destroy(links[i]);
	bpf_object__close(obj);
	return err;
}

static int source_build(enum kernel_source source, const struct kernel_opts *o, const char *dir,
			int cgroup_fd, uint64_t generation, char *lacks, size_t lacks_size)
{
	char why[160] = "";
	int err = -ENOTSUP;

	for (size_t i = 0; i < N_VARIANTS; i++) {
		if (variants[i].source != source)
			continue;
		err = source_attach(source, &variants[i], o, dir, cgroup_fd, generation, why,
				    sizeof(why));
		if (!err) {
			if (variants[i].lacks)
				say(lacks, lacks_size, "%s", variants[i].lacks);
			return 0;
		}
		log_debug("bpf %s (%s): %s", sources[source].name, variants[i].groups, why);
		remove_tree(dir);
	}
	say(lacks, lacks_size, "all of it: %s", why);
	return err;
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
	const char *name = sources[source].name;
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
	if (sources[source].ring) {
		s->ring_fd = open_pin(k->dir, name, sources[source].ring);
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

/*
 * A program is found by its number with CAP_SYS_ADMIN alone, which is given up
 * after the start: what count_skipped() asks is opened now.
 */
static void open_programs(struct kernel *k)
{
	for (size_t i = 0; i < N_PROGRAMS; i++) {
		struct bpf_link_info link = { 0 };
		__u32 len = sizeof(link);
		_cleanup_close_ int link_fd = -1;
		struct place place;
		int fd;

		at(&place, "%s/%s/%s/%s", k->dir, sources[programs[i].source].name,
		   programs[i].attach == ATTACH_SWEEP ? "sweeps" : "links", programs[i].name);
		link_fd = bpf_obj_get(place.path);
		if (link_fd < 0 || bpf_obj_get_info_by_fd(link_fd, &link, &len) < 0)
			continue;
		fd = bpf_prog_get_fd_by_id(link.prog_id);
		k->program_fds[i] = fd < 0 ? -1 : fd;
	}
}

static void close_programs(struct kernel *k)
{
	for (size_t i = 0; i < N_PROGRAMS; i++) {
		close_fd(k->program_fds[i]);
		k->program_fds[i] = -1;
	}
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

	libbpf_set_print(on_libbpf_print);
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	for (int i = 0; i < KERNEL_SOURCES; i++)
		k->source[i].ring_fd = k->source[i].counters_fd = k->source[i].map_fd =
			k->source[i].bss_fd = -1;
	for (size_t i = 0; i < N_PROGRAMS; i++)
		k->program_fds[i] = -1;
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
			at(&place, "%s/%s", building.path, sources[i].name);
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
			    k->dir, sources[i].name, log_strerror(err));
			return err;
		}
	}
	open_programs(k);
	/* Wishes that need no new programs hold for adopted ones, too. */
	if (k->source[KERNEL_FLOWS].bss) {
		struct flow_tunables *t = k->source[KERNEL_FLOWS].bss;

		t->active_ns = opts->active_ns;
		t->idle_ns = opts->idle_ns;
		t->loopback = opts->loopback;
		t->flush = 0;
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
	close_programs(k);
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

/* How often the kernel did not run a program because it was running already. */
static uint64_t count_skipped(const struct kernel *k, enum kernel_source source)
{
	uint64_t total = 0;

	for (size_t i = 0; i < N_PROGRAMS; i++) {
		struct bpf_prog_info prog = { 0 };
		__u32 len = sizeof(prog);

		if (programs[i].source == source && programs[i].attach == ATTACH_AUTO &&
		    k->program_fds[i] >= 0 &&
		    bpf_obj_get_info_by_fd(k->program_fds[i], &prog, &len) == 0)
			total += prog.recursion_misses;
	}
	return total;
}

int kernel_program_fd(const struct kernel *k, enum kernel_source source, const char *name)
{
	for (size_t i = 0; i < N_PROGRAMS; i++)
		if (programs[i].source == source && !strcmp(programs[i].name, name))
			return k->program_fds[i];
	return -1;
}

void kernel_detach(struct kernel *k)
{
	struct place place;

	/* The links first: what is pinned nowhere and open nowhere runs no more. */
	for (int i = 0; i < KERNEL_SOURCES; i++) {
		k->source[i].skipped += count_skipped(k, (enum kernel_source)i);
		at(&place, "%s/%s/links", k->dir, sources[i].name);
		remove_tree(place.path);
	}
	close_programs(k);
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
	for (size_t i = 0; i < N_PROGRAMS; i++) {
		_cleanup_close_ int fd = -1;

		if (programs[i].attach != ATTACH_SWEEP)
			continue;
		at(&place, "%s/%s/sweeps/%s", k->dir, sources[programs[i].source].name,
		   programs[i].name);
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
