/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/collector_sandbox.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "user/util/cleanup.h"
#include "user/util/log.h"
#include "user/util/privs.h"
#include "user/util/sanitizer_calls.h"
#include "user/util/seccomp.h"

/* Newer than some headers. */
#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#define CAP_BPF	    39
#endif
#ifndef __NR_openat2
#define __NR_openat2 437
#endif
#ifndef __NR_pidfd_open
#define __NR_pidfd_open 434
#endif
#define BIT(cap) (1ull << (cap))
#define ALL	 0xffffffffu

/* ------------------------------------------------------------------ system calls */

/* Values that are not known before the start are in the rules of enter(). */
static const struct seccomp_rule rules[] = {
	/* Maps and pins as they are: nothing is loaded, attached or made any more. */
	SECCOMP_ALLOW_IF(bpf, 0, ALL, BPF_MAP_LOOKUP_ELEM),
	SECCOMP_ALLOW_IF(bpf, 0, ALL, BPF_MAP_UPDATE_ELEM),
	SECCOMP_ALLOW_IF(bpf, 0, ALL, BPF_MAP_DELETE_ELEM),
	SECCOMP_ALLOW_IF(bpf, 0, ALL, BPF_MAP_GET_NEXT_KEY),
	SECCOMP_ALLOW_IF(bpf, 0, ALL, BPF_MAP_LOOKUP_BATCH),
	SECCOMP_ALLOW_IF(bpf, 0, ALL, BPF_MAP_LOOKUP_AND_DELETE_BATCH),
	SECCOMP_ALLOW_IF(bpf, 0, ALL, BPF_OBJ_GET),
	SECCOMP_ALLOW_IF(bpf, 0, ALL, BPF_OBJ_GET_INFO_BY_FD),
	SECCOMP_ALLOW_IF(bpf, 0, ALL, BPF_ITER_CREATE),
	SECCOMP_REFUSE(bpf, EPERM),
	/*
	 * To send datagrams (a service manager is told so), to listen, and for
	 * names of interfaces. Never to connect: daemons that obey root listen there.
	 */
	SECCOMP_ALLOW_IF(socket, 0, ALL, AF_UNIX),
	SECCOMP_REFUSE(socket, EAFNOSUPPORT),
	SECCOMP_ALLOW_IF(socketpair, 0, ALL, AF_UNIX),
	SECCOMP_ALLOW(bind),
	SECCOMP_ALLOW(listen),
	SECCOMP_ALLOW(accept4),
	SECCOMP_ALLOW(sendto),
	SECCOMP_ALLOW(sendmsg),
	SECCOMP_ALLOW(recvfrom),
	SECCOMP_ALLOW(recvmsg),
	SECCOMP_ALLOW(getsockopt),
	SECCOMP_ALLOW(setsockopt),
	SECCOMP_ALLOW(getsockname),
	SECCOMP_ALLOW(getpeername),
	SECCOMP_ALLOW(shutdown),
	SECCOMP_ALLOW_IF(ioctl, 1, ALL, SIOCGIFNAME),
	SECCOMP_ALLOW_IF(ioctl, 1, ALL, SIOCGIFINDEX),
	SECCOMP_ALLOW(signalfd4),
	/* To watch folders that come: marks on inodes, which take no privilege. */
	SECCOMP_ALLOW_IF(fanotify_mark, 1, FAN_MARK_MOUNT | FAN_MARK_FILESYSTEM, 0),
	SECCOMP_ALLOW(name_to_handle_at),
	SECCOMP_ALLOW(openat2),
	/* To wait until the programs that run have ended: linux/membarrier.h, GLOBAL. */
	SECCOMP_ALLOW_IF(membarrier, 0, ALL, 1),
	SECCOMP_ALLOW_IF(kill, 1, ALL, 0), /* is there such a process? */
	SECCOMP_ALLOW(wait4),
	SECCOMP_ALLOW(waitid),
	SECCOMP_ALLOW(pidfd_open),
};

static int enter_filter(const struct collector_sandbox *s)
{
	uint32_t pid = (uint32_t)getpid();
	const struct seccomp_rule own[] = {
		/* By a number, and in the tree of cgroups alone. */
		SECCOMP_ALLOW_IF(open_by_handle_at, 0, ALL, (uint32_t)s->cgroup_root_fd),
		/* abort() */
		SECCOMP_ALLOW_IF(tgkill, 0, ALL, pid),
		/* Files are given to the shipper's group, cursors to its user. */
		SECCOMP_ALLOW_IF(fchown, 1, ALL, ALL),
		SECCOMP_ALLOW_IF(fchown, 1, ALL, s->reader_uid),
		SECCOMP_ALLOW_IF(fchownat, 2, ALL, ALL),
		SECCOMP_ALLOW_IF(fchownat, 2, ALL, s->reader_uid),
	};
	const struct seccomp_table tables[] = {
		seccomp_files,	    seccomp_libc,    SECCOMP_TABLE(rules),
		SECCOMP_TABLE(own), sanitizer_calls, seccomp_fatal,
	};

	return seccomp_enter(tables, sizeof(tables) / sizeof(tables[0]));
}

/* ------------------------------------------------------------------ capabilities */

/* Another user's folder: to make the spool there again takes more than being its owner. */
static bool parent_is_foreign(const char *dir)
{
	_cleanup_free_ char *parent = strdup(dir);
	char *slash = parent ? strrchr(parent, '/') : NULL;
	struct stat st;

	if (!slash || slash == parent)
		return false;
	*slash = '\0';
	return stat(parent, &st) == 0 && st.st_uid != geteuid();
}

static uint64_t caps_to_keep(const struct collector_sandbox *s)
{
	/* Whose program a pid is: /proc/PID/exe. And who owns a file of the spool. */
	uint64_t keep =
		BIT(CAP_SYS_PTRACE) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_CHOWN) | BIT(CAP_FOWNER);

	/* Before 5.8, reading a map took CAP_SYS_ADMIN. */
	if (s->kernel)
		keep |= prctl(PR_CAPBSET_READ, CAP_BPF, 0, 0, 0) < 0 ? BIT(CAP_SYS_ADMIN)
								     : BIT(CAP_BPF);
	if (s->kernel_log)
		keep |= BIT(CAP_SYSLOG);
	if (parent_is_foreign(s->spool_dir))
		keep |= BIT(CAP_DAC_OVERRIDE);
	return keep;
}

int collector_sandbox_enter(const struct collector_sandbox *s)
{
	int err;

	err = privs_keep(caps_to_keep(s));
	if (err) {
		log_error("sandbox: giving up capabilities: %s", log_strerror(err));
		return err;
	}
	if (!s->filter) {
		log_warning("sandbox: switched off (sandbox.enable): the collector may still make "
			    "any system call");
		return 0;
	}
	err = enter_filter(s);
	if (err == -ENOTSUP || err == -EINVAL || err == -ENOSYS) {
		log_warning("sandbox: no filter for the collector's system calls: %s",
			    err == -ENOTSUP ? "not made for this architecture"
					    : "this kernel has none (CONFIG_SECCOMP_FILTER)");
		return 0;
	}
	if (err)
		log_error("sandbox: the filter of system calls: %s", log_strerror(err));
	else
		log_debug("sandbox: capabilities %#llx, system calls filtered",
			  (unsigned long long)privs_effective());
	return err;
}

/* ------------------------------------------------------------------ before all that */

/* Without CAP_SYS_ADMIN, which includes the first three, all of these. */
static const struct {
	int cap;
	const char *name, *use;
	bool kernel; /* for a capture in the kernel only */
} needed[] = {
	{ CAP_BPF, "CAP_BPF", "load BPF programs", true },
	{ CAP_PERFMON, "CAP_PERFMON", "let them read the kernel's data", true },
	{ CAP_NET_ADMIN, "CAP_NET_ADMIN", "attach them to the network", true },
	{ CAP_SETUID, "CAP_SETUID", "start the shipper as another user", false },
	{ CAP_SETGID, "CAP_SETGID", "start the shipper in another group", false },
	{ CAP_SETPCAP, "CAP_SETPCAP", "take capabilities away from the shipper", false },
	{ CAP_CHOWN, "CAP_CHOWN", "give the shipper its files", false },
};

bool collector_may_start(bool kernel, char *text, size_t text_size)
{
	uint64_t have = privs_effective();
	size_t at = 0;

	if (have & BIT(CAP_SYS_ADMIN))
		have |= BIT(CAP_BPF) | BIT(CAP_PERFMON);
	text[0] = '\0';
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if ((have >> needed[i].cap & 1) || (needed[i].kernel && !kernel))
			continue;
		at += (size_t)snprintf(text + at, at < text_size ? text_size - at : 0,
				       "%s%s (to %s)", at ? ", " : "", needed[i].name,
				       needed[i].use);
		if (at >= text_size)
			break;
	}
	return !text[0];
}
