/* SPDX-License-Identifier: Apache-2.0 */
/* What the host must give: rights, the kernel's log, room on the disk, the time. */
#define _GNU_SOURCE
#include "user/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "config/config.h"
#include "user/util/cleanup.h"
#include "user/util/log.h"
#include "user/util/privs.h"

#define PATH_SIZE  512
#define TRY_BYTES  (64u << 10)
#define MIB	   (1024.0 * 1024.0)
#define FIRST_YEAR 2025 /* a clock before this was never set */

/* ------------------------------------------------------------------ capabilities */

bool check_has_cap(int cap)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	if (syscall(SYS_capget, &header, data) < 0)
		return false;
	return data[cap / 32].effective & 1u << cap % 32;
}

enum need { NEED_ALWAYS, NEED_BPF, NEED_FLOWS, NEED_KERNEL_LOG };

static const struct cap_row {
	int cap;
	const char *name;
	enum need need;
	bool must; /* nothing, or a whole source, works without it */
	bool admin_will_do;
	const char *purpose;
} caps[] = {
	{ CAP_BPF, "CAP_BPF", NEED_BPF, true, true, "to load programs and maps" },
	{ CAP_PERFMON, "CAP_PERFMON", NEED_BPF, true, true, "to attach to tracepoints" },
	{ CAP_NET_ADMIN, "CAP_NET_ADMIN", NEED_FLOWS, true, true, "for UDP and ICMP flows" },
	{ CAP_SYSLOG, "CAP_SYSLOG", NEED_KERNEL_LOG, true, true, "to read the kernel's log" },
	{ CAP_SETUID, "CAP_SETUID", NEED_ALWAYS, true, false, "to run the shipper as nobody" },
	{ CAP_SETGID, "CAP_SETGID", NEED_ALWAYS, true, false, "to run the shipper as nobody" },
	{ CAP_SETPCAP, "CAP_SETPCAP", NEED_ALWAYS, true, false, "to run the shipper as nobody" },
	{ CAP_CHOWN, "CAP_CHOWN", NEED_ALWAYS, true, false, "to give the shipper its cursor" },
	{ CAP_SYS_PTRACE, "CAP_SYS_PTRACE", NEED_BPF, false, false,
	  "for the executables of other users' processes" },
	{ CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", NEED_ALWAYS, false, false,
	  "for files that only their owner may read" },
	{ CAP_KILL, "CAP_KILL", NEED_ALWAYS, false, false, "to end a shipper that hangs" },
};
#define N_CAPS (sizeof(caps) / sizeof(caps[0]))

static bool is_needed(const struct config *c, enum need need)
{
	switch (need) {
	case NEED_BPF:
		return c->flows || c->journal;
	case NEED_FLOWS:
		return c->flows;
	case NEED_KERNEL_LOG:
		return c->kernel_log;
	case NEED_ALWAYS:
		break;
	}
	return true;
}

static void check_caps(const struct check *c)
{
	int missing = 0;
	char cure[160];

	for (size_t i = 0; i < N_CAPS; i++) {
		const struct cap_row *row = &caps[i];

		if (!is_needed(c->config, row->need) || check_has_cap(row->cap) ||
		    (row->admin_will_do && check_has_cap(CAP_SYS_ADMIN)))
			continue;
		missing++;
		snprintf(cure, sizeof(cure),
			 "run it as root; in a unit: add %s to CapabilityBoundingSet; in a "
			 "container: --cap-add %s",
			 row->name, row->name + strlen("CAP_"));
		finding_tell(&c->sink, row->must ? FINDING_FAIL : FINDING_WARN, "host.capabilities",
			     cure, "%s is missing, which is needed %s", row->name, row->purpose);
	}
	if (!missing)
		finding_tell(&c->sink, FINDING_OK, "host.capabilities", NULL,
			     "all that are needed");
}

static void check_kernel_log(const struct check *c)
{
	_cleanup_close_ int fd = -1;

	if (!c->config->kernel_log)
		return;
	fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		finding_tell(&c->sink, FINDING_FAIL, "host.kernel_log",
			     errno == EPERM || errno == EACCES
				     ? "run it as root, with CAP_SYSLOG"
				     : "give the container the host's /dev/kmsg, or turn it off "
				       "with --kernel-log no",
			     "/dev/kmsg: %s", log_strerror(errno));
	else
		finding_tell(&c->sink, FINDING_OK, "host.kernel_log", NULL,
			     "/dev/kmsg can be read");
}

/* ------------------------------------------------------------------ spool */

/* Writes a little into dir, where nobody sees it, and lets it go. 0 or -errno. */
static int try_write(const char *dir)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *zeroes = calloc(1, TRY_BYTES);
	char path[PATH_SIZE + 32];
	ssize_t n;

	if (!zeroes)
		return -ENOMEM;
	fd = open(dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
		snprintf(path, sizeof(path), "%s/.sekoia-check.%d", dir, (int)getpid());
		fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
		if (fd >= 0)
			unlink(path);
	}
	if (fd < 0)
		return -errno;
	n = write(fd, zeroes, TRY_BYTES);
	if (n < 0)
		return -errno;
	return n == TRY_BYTES ? 0 : -ENOSPC;
}

/* What the spool holds already; it counts as room. */
static uint64_t dir_bytes(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	uint64_t bytes = 0;
	struct stat st;

	while (dir && (e = readdir(dir)))
		if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode))
			bytes += (uint64_t)st.st_blocks * 512;
	if (dir)
		closedir(dir);
	return bytes;
}

static void check_room(const struct check *c, const char *there, bool is_new)
{
	const char *dir = c->config->spool_dir;
	uint64_t room, held, max = c->config->spool_max_bytes;
	struct statvfs fs;
	char cure[200];

	if (statvfs(there, &fs) < 0) {
		finding_tell(&c->sink, FINDING_WARN, "spool.room", NULL, "%s: %s", there,
			     log_strerror(errno));
		return;
	}
	room = (uint64_t)fs.f_bavail * fs.f_frsize;
	held = is_new ? 0 : dir_bytes(dir);
	snprintf(cure, sizeof(cure),
		 "make room, choose another disk with --spool-dir, or --spool-max-bytes %.0fM",
		 (double)(room + held) / 2 / MIB > 1 ? (double)(room + held) / 2 / MIB : 1);
	if (room + held < max)
		finding_tell(&c->sink, FINDING_WARN, "spool.room", cure,
			     "%.0f MiB free and %.0f MiB held, less than spool.max_bytes of %.0f "
			     "MiB",
			     (double)room / MIB, (double)held / MIB, (double)max / MIB);
	else
		finding_tell(&c->sink, FINDING_OK, "spool.room", NULL,
			     "%.0f MiB free, %.0f MiB held; spool.max_bytes is %.0f MiB",
			     (double)room / MIB, (double)held / MIB, (double)max / MIB);
}

static void check_reader(const struct check *c)
{
	const char *dir = c->config->spool_dir, *user;
	_cleanup_free_ char *refusal = NULL;
	char cure[PATH_SIZE + 64];
	uid_t uid;
	gid_t gid;

	user = privs_lookup_unprivileged(c->config->shipper_user, &uid, &gid);
	if (!uid || !gid) {
		finding_tell(&c->sink, FINDING_FAIL, "spool.reader",
			     "choose a user without privileges with --shipper-user",
			     "shipper.user %s is root, or in its group", user);
		return;
	}
	if (privs_can_reach(dir, uid, gid, &refusal) == -EACCES) {
		snprintf(cure, sizeof(cure), "chmod o+x %s, or choose another spool.dir", refusal);
		finding_tell(&c->sink, FINDING_FAIL, "spool.reader", cure,
			     "the shipper's user %s may not enter %s", user, refusal);
		return;
	}
	finding_tell(&c->sink, FINDING_OK, "spool.reader", NULL, "the shipper runs as %s (%u:%u)",
		     user, uid, gid);
}

static void check_spool(const struct check *c)
{
	const char *dir = c->config->spool_dir;
	char there[PATH_SIZE];
	struct stat st;
	bool is_new;
	int err;

	snprintf(there, sizeof(there), "%s", dir);
	while (stat(there, &st) < 0 && errno == ENOENT) {
		char *slash = strrchr(there, '/');

		if (!slash) {
			snprintf(there, sizeof(there), ".");
			break;
		}
		slash[slash == there] = '\0';
	}
	is_new = strcmp(there, dir) != 0;
	err = try_write(there);
	if (err)
		finding_tell(&c->sink, FINDING_FAIL, "spool.write",
			     err == -ENOSPC || err == -EDQUOT
				     ? "make room, or choose another disk with --spool-dir"
			     : err == -EROFS
				     ? "choose a folder on a disk that can be written with "
				       "--spool-dir"
				     : "run it as root, or choose another folder with --spool-dir",
			     "%s: %s", there, log_strerror(err));
	else
		finding_tell(&c->sink, FINDING_OK, "spool.write", NULL, "%s can be %s", dir,
			     is_new ? "made" : "written");
	check_room(c, there, is_new);
	if (!is_new)
		check_reader(c);
}

/* ------------------------------------------------------------------ clock */

static void check_clock(const struct check *c)
{
	struct timex state = { 0 };
	time_t now = time(NULL);
	struct tm tm;
	int r;

	gmtime_r(&now, &tm);
	r = adjtimex(&state);
	if (tm.tm_year + 1900 < FIRST_YEAR)
		finding_tell(&c->sink, FINDING_FAIL, "host.clock",
			     "set it: no certificate is valid yet, and events carry its time",
			     "it is %04d-%02d-%02d, says the clock", tm.tm_year + 1900,
			     tm.tm_mon + 1, tm.tm_mday);
	else if (r == TIME_ERROR || state.status & STA_UNSYNC)
		finding_tell(
			&c->sink, FINDING_WARN, "host.clock",
			"run chrony or systemd-timesyncd, unless the hypervisor keeps the time",
			"%04d-%02d-%02d %02d:%02d UTC; nothing tells the kernel that this is "
			"right",
			tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min);
	else
		finding_tell(&c->sink, FINDING_OK, "host.clock", NULL, "kept right");
}

void check_host(const struct check *c)
{
	check_caps(c);
	check_kernel_log(c);
	check_spool(c);
	check_clock(c);
}
