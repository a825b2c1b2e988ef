/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel must give: found out by trying, never by its version. */
#define _GNU_SOURCE
#include "user/check.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "config/config.h"
#include "user/kernel_cure.h"
#include "user/probe.h"
#include "user/source.h"
#include "user/util/cleanup.h"
#include "user/util/log.h"

#define BTF_FILE  "/sys/kernel/btf/vmlinux"
#define BPFFS	  "/sys/fs/bpf"
#define PATH_SIZE 512

/* NAME= of os-release(5), as archives of BTF name their folders. */
static void read_os(const char *name, char *ret, size_t size)
{
	_cleanup_fclose_ FILE *f = fopen("/etc/os-release", "re");
	size_t len = strlen(name);
	char line[256];

	snprintf(ret, size, "?");
	while (f && fgets(line, sizeof(line), f)) {
		char *value = line + len + 1;

		if (strncmp(line, name, len) != 0 || line[len] != '=')
			continue;
		value += *value == '"' || *value == '\'';
		value[strcspn(value, "\"'\n")] = '\0';
		snprintf(ret, size, "%s", value);
	}
}

/*
 * --btf relocates what the programs read. Most of them, on BTF tracepoints and as iterators, are
 * also attached by the kernel's own BTF, which no file replaces.
 */
static void check_btf(const struct check *c, const struct utsname *uts)
{
	char id[40], version[40], cure[600];
	const char *path = c->config->btf;
	struct btf *btf;
	bool own, given;

	btf = btf__load_vmlinux_btf();
	own = !libbpf_get_error(btf);
	if (own)
		btf__free(btf);
	if (path) {
		btf = btf__parse(path, NULL);
		given = !libbpf_get_error(btf);
		if (given)
			btf__free(btf);
		if (!given)
			finding_tell(&c->sink, FINDING_FAIL, "kernel.btf",
				     "give --btf the BTF of exactly this kernel",
				     "%s: not BTF, or not readable", path);
		else if (own)
			finding_tell(&c->sink, FINDING_OK, "kernel.btf", NULL, "%s", path);
		else
			finding_tell(
				&c->sink, FINDING_WARN, "kernel.btf",
				"boot a kernel with CONFIG_DEBUG_INFO_BTF=y for all of them",
				"%s; enough for kernel events at system calls, signals and OOM "
				"kills: the other programs need the kernel's own, too",
				path);
		return;
	}
	if (own) {
		finding_tell(&c->sink, FINDING_OK, "kernel.btf", NULL, "%s",
			     access(BTF_FILE, R_OK) == 0 ? BTF_FILE : "in the kernel's image");
		return;
	}
	read_os("ID", id, sizeof(id));
	read_os("VERSION_ID", version, sizeof(version));
	snprintf(
		cure, sizeof(cure),
		"boot a kernel with CONFIG_DEBUG_INFO_BTF=y. For kernel events at system calls, "
		"signals and OOM kills alone: the BTF of %s %s (archives keep it as %s/%s/%s/%s.btf.tar.xz), unpacked, with "
		"--btf FILE",
		uts->release, uts->machine, id, version, uts->machine, uts->release);
	finding_tell(&c->sink, FINDING_FAIL, "kernel.btf", cure,
		     "this kernel does not tell its types: no " BTF_FILE);
}

/* ------------------------------------------------------------------ programs */

/* libbpf says "no such process" of what BTF does not have. */
static const char *reason_of(int err)
{
	return err == -ESRCH ? "no such hook in the kernel's BTF" : log_strerror(err);
}

static const char *other_cure(int err)
{
	return err == -ESRCH ? "see kernel.btf"
			     : "another kernel, or live with it: the other programs work without "
			       "it; --log-level debug shows what the kernel says";
}

static void on_trial(void *arg, const struct kernel_trial *t)
{
	const struct check *c = arg;
	char what[32];

	snprintf(what, sizeof(what), "bpf.%s", t->program);
	if (!t->err)
		finding_tell(&c->sink, FINDING_OK, what, NULL, "%s: %s%s%s", t->source_name,
			     t->used ? "works" : "works; not needed here", t->cost ? "; " : "",
			     t->cost ? t->cost : "");
	else if (!t->lost)
		finding_tell(&c->sink, FINDING_TWIN, what, NULL,
			     "%s: not on this kernel (%s: %s); another one does its work",
			     t->source_name, t->why, reason_of(t->err));
	else
		finding_tell(&c->sink, t->optional ? FINDING_WARN : FINDING_FAIL, what,
			     t->optional && t->err == -ENOENT
				     ? "mount -t tracefs tracefs /sys/kernel/tracing; a run tries "
				       "that by itself"
			     : t->cure && t->err != -ESRCH ? t->cure
							   : other_cure(t->err),
			     "%s: missing (%s: %s); lost: %s", t->source_name, t->why,
			     reason_of(t->err), t->lost);
}

static void check_programs(const struct check *c)
{
	const struct config *config = c->config;
	const struct kernel_opts opts = {
		.dir = config->bpf_dir,
		.btf = config->btf,
		.wanted = { [KERNEL_FLOWS] = config->flows,
			    [KERNEL_JOURNAL] = config->journal,
			    [KERNEL_PROCESSES] = config->flows || config->journal ||
						 source_events_classes(config),
			    [KERNEL_EVENTS] = source_events_classes(config),
			    [KERNEL_NAMES] =
				    config->flows && (config->flows_dns || config->flows_tls ||
						      config->flows_quic) },
		.events = source_events_classes(config),
		.environment = config->events_environment,
		.names_dns = config->flows_dns,
		.names_tls = config->flows_tls,
		.names_quic = config->flows_quic,
		.active_ns = config->flows_active_timeout_ms * 1000000,
		.idle_ns = config->flows_idle_timeout_ms * 1000000,
	};

	kernel_try(&opts, on_trial, (void *)c);
}

/* ------------------------------------------------------------------ policy */

static void check_lockdown(const struct check *c)
{
	char mode[32] = "none";

	if (kernel_lockdown(mode, sizeof(mode)) && !strcmp(mode, "confidentiality"))
		finding_tell(&c->sink, FINDING_FAIL, "kernel.lockdown",
			     "boot with lockdown=integrity, or without lockdown=",
			     "confidentiality: BPF programs may not read the kernel's memory");
	else
		finding_tell(&c->sink, FINDING_OK, "kernel.lockdown", NULL, "%s", mode);
}

static void check_memlock(const struct check *c)
{
	struct rlimit limit;

	if (!check_has_cap(CAP_BPF) && !check_has_cap(CAP_SYS_ADMIN))
		return; /* told with the capabilities */
	if (!kernel_counts_memlock())
		finding_tell(&c->sink, FINDING_OK, "kernel.memlock", NULL,
			     "not needed: this kernel charges BPF's memory to the cgroup");
	else if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_max == RLIM_INFINITY)
		finding_tell(&c->sink, FINDING_OK, "kernel.memlock", NULL, "unlimited");
	else if (check_has_cap(CAP_SYS_RESOURCE))
		finding_tell(&c->sink, FINDING_OK, "kernel.memlock", NULL,
			     "raised when it is needed (CAP_SYS_RESOURCE)");
	else
		finding_tell(&c->sink, FINDING_FAIL, "kernel.memlock",
			     "ulimit -l unlimited; in a systemd unit: LimitMEMLOCK=infinity",
			     "only %" PRIu64 " bytes may be locked, and the rings need more",
			     (uint64_t)limit.rlim_max);
}

/* ------------------------------------------------------------------ pins */

static int try_pin(const char *dir)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_SIZE + 32];
	int err = 0;

	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, 8, 1, NULL);
	if (fd < 0)
		return -errno;
	snprintf(path, sizeof(path), "%s/sekoia-check-%d", dir, (int)getpid());
	if (bpf_obj_pin(fd, path) < 0)
		err = -errno;
	unlink(path);
	return err;
}

/* The nearest part of dir that is there. */
static void find_existing(const char *dir, char ret[static PATH_SIZE])
{
	struct stat st;

	snprintf(ret, PATH_SIZE, "%s", dir);
	while (stat(ret, &st) < 0 && strcmp(ret, "/") != 0) {
		char *slash = strrchr(ret, '/');

		if (!slash) {
			snprintf(ret, PATH_SIZE, ".");
			return;
		}
		slash[slash == ret] = '\0';
	}
}

static void check_bpffs(const struct check *c)
{
	const char *dir = c->config->bpf_dir;
	char there[PATH_SIZE];
	struct statfs fs;
	int err;

	find_existing(dir, there);
	if (statfs(there, &fs) == 0 && fs.f_type == BPF_FS_MAGIC) {
		err = try_pin(there);
		if (err)
			finding_tell(&c->sink, FINDING_FAIL, "kernel.bpffs",
				     kernel_cure(err, KERNEL_LOAD),
				     "%s: nothing can be pinned there: %s", there,
				     log_strerror(err));
		else
			finding_tell(&c->sink, FINDING_OK, "kernel.bpffs", NULL,
				     "%s: pins can be made", there);
		return;
	}
	if (strncmp(dir, BPFFS "/", strlen(BPFFS "/")) != 0)
		finding_tell(&c->sink, FINDING_FAIL, "kernel.bpffs",
			     "choose a folder below " BPFFS " with --collector-bpf-dir",
			     "%s is not on a bpffs: pins can not be made there", dir);
	else if (check_has_cap(CAP_SYS_ADMIN))
		finding_tell(&c->sink, FINDING_WARN, "kernel.bpffs", "mount -t bpf bpf " BPFFS,
			     "no bpffs at " BPFFS "; the collector will mount one");
	else
		finding_tell(&c->sink, FINDING_FAIL, "kernel.bpffs", "mount -t bpf bpf " BPFFS,
			     "no bpffs at " BPFFS ", and no right to mount one (CAP_SYS_ADMIN)");
}

static bool has_cgroup_v1(void)
{
	struct mntent *m;
	FILE *f = setmntent("/proc/self/mounts", "re");
	bool found = false;

	while (f && !found && (m = getmntent(f)))
		found = !strcmp(m->mnt_type, "cgroup");
	if (f)
		endmntent(f);
	return found;
}

static void check_cgroup(const struct check *c)
{
	static const char mount_cure[] =
		"run it with CAP_SYS_ADMIN; or mount -t cgroup2 none /sys/fs/cgroup/unified; or "
		"boot with systemd.unified_cgroup_hierarchy=1";
	_cleanup_close_ int fd = -1;
	char where[PATH_SIZE];
	bool is_root;

	fd = cgroup_root_open(where, sizeof(where), &is_root);
	if (fd < 0)
		finding_tell(&c->sink, FINDING_FAIL, "kernel.cgroup", mount_cure,
			     "no cgroup-v2 tree is mounted%s: no UDP and ICMP flows",
			     has_cgroup_v1() ? " (only v1)" : "");
	else if (!is_root)
		finding_tell(&c->sink, FINDING_WARN, "kernel.cgroup",
			     "in a container: use the host's cgroup namespace and mount",
			     "%s is not the root of the tree: UDP and ICMP flows of other cgroups "
			     "are not seen",
			     where);
	else
		finding_tell(&c->sink, FINDING_OK, "kernel.cgroup", NULL, "v2 root %s%s%s",
			     *where == '/' ? "at " : "", where,
			     has_cgroup_v1() ? ", beside v1" : "");
}

/* ------------------------------------------------------------------ others of us */

/* Who holds the lock of this inode: /proc/locks, or 0. */
static pid_t lock_holder(const struct stat *st)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/locks", "re");
	char line[256], want[64];
	int pid;

	snprintf(want, sizeof(want), "%02x:%02x:%llu ", major(st->st_dev), minor(st->st_dev),
		 (unsigned long long)st->st_ino);
	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, want) &&
		    sscanf(line, "%*s FLOCK %*s %*s %d", &pid) == 1) /* NOLINT(cert-err34-c) */
			return pid;
	return 0;
}

static int count_captures(const char *path)
{
	struct dirent *e;
	DIR *dir = opendir(path);
	int n = 0;

	if (!dir)
		return 0;
	while ((e = readdir(dir)))
		n += strspn(e->d_name, "0123456789abcdef") == 8;
	closedir(dir);
	return n;
}

static void check_others(const struct check *c)
{
	const char *dir = c->config->bpf_dir;
	_cleanup_close_ int fd = -1;
	struct stat st;
	pid_t pid;
	int n;

	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		if (errno == ENOENT || errno == ENOTDIR)
			finding_tell(&c->sink, FINDING_OK, "collector.running", NULL,
				     "none is running, and none was killed");
		else
			finding_tell(&c->sink, FINDING_WARN, "collector.running", "run it as root",
				     "not known: %s: %s", dir, log_strerror(errno));
		return;
	}
	/* Held for this moment only, and shared, so that two checks do not see each other. */
	if (flock(fd, LOCK_SH | LOCK_NB) < 0) {
		pid = lock_holder(&st);
		finding_tell(&c->sink, FINDING_OK, "collector.running", NULL,
			     "yes (pid %d): a second one needs another collector.bpf_dir and "
			     "spool.dir",
			     (int)pid);
		return;
	}
	flock(fd, LOCK_UN);
	n = count_captures(dir);
	if (n)
		finding_tell(&c->sink, FINDING_WARN, "collector.running",
			     "start it again, which takes over; or give it up: sekoia-ebpf cleanup",
			     "no, but %d %s of a killed one %s on in the kernel", n,
			     n == 1 ? "capture" : "captures", n == 1 ? "goes" : "go");
	else
		finding_tell(&c->sink, FINDING_OK, "collector.running", NULL,
			     "none is running, and none was killed");
}

void check_kernel(const struct check *c)
{
	struct utsname uts;

	libbpf_set_print(NULL);
	uname(&uts);
	finding_tell(&c->sink, FINDING_OK, "kernel.release", NULL, "%s %s", uts.release,
		     uts.machine);
	check_btf(c, &uts);
	check_lockdown(c);
	check_memlock(c);
	check_bpffs(c);
	check_cgroup(c);
	check_others(c);
	check_programs(c);
}
