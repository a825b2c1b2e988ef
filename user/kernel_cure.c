/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/kernel_cure.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "user/util/cleanup.h"
#include "user/util/privs.h"

#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#define CAP_BPF	    39
#endif

bool kernel_lockdown(char *ret, unsigned long size)
{
	_cleanup_fclose_ FILE *f = fopen("/sys/kernel/security/lockdown", "re");
	char line[128], *mode, *end;

	/* "none [integrity] confidentiality" */
	if (!f || !fgets(line, sizeof(line), f))
		return false;
	mode = strchr(line, '[');
	end = mode ? strchr(mode, ']') : NULL;
	if (!end)
		return false;
	*end = '\0';
	snprintf(ret, size, "%s", mode + 1);
	return true;
}

/* In a child, which can raise the limit no more: does a map need it? */
bool kernel_counts_memlock(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		struct rlimit none = { 0, 0 };
		union bpf_attr attr = {
			.map_type = BPF_MAP_TYPE_ARRAY,
			.key_size = 4,
			.value_size = 8,
			.max_entries = 1,
		};
		long fd;

		if (setrlimit(RLIMIT_MEMLOCK, &none) < 0)
			_exit(0);
		/* Not by libbpf, which would raise the limit. */
		fd = syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
		_exit(fd < 0 && errno == EPERM);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

static bool has_cap(int cap)
{
	return privs_effective() >> cap & 1;
}

static bool has_caps(enum kernel_step step)
{
	bool admin = has_cap(CAP_SYS_ADMIN);

	return (admin || (has_cap(CAP_BPF) && has_cap(CAP_PERFMON))) &&
	       (step != KERNEL_ATTACH_CGROUP || has_cap(CAP_NET_ADMIN));
}

static bool is_memlock_short(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
	       kernel_counts_memlock();
}

const char *kernel_cure(int err, enum kernel_step step)
{
	char lockdown[32];

	switch (-err) {
	case ESRCH: /* libbpf, of what BTF does not have */
		return access("/sys/kernel/btf/vmlinux", F_OK) < 0
			       ? "boot a kernel with CONFIG_DEBUG_INFO_BTF=y"
			       : NULL;
	case ENOENT:
		return step == KERNEL_ATTACH_CGROUP
			       ? "mount -t cgroup2 none /sys/fs/cgroup/unified, or run it with "
				 "CAP_SYS_ADMIN"
			       : NULL;
	case ENOMEM:
		return "free memory, or raise the memory limit of this cgroup";
	case EPERM:
	case EACCES:
	case EINVAL: /* of a helper that is not there for us */
		if (kernel_lockdown(lockdown, sizeof(lockdown)) &&
		    !strcmp(lockdown, "confidentiality"))
			return "boot with lockdown=integrity: under confidentiality BPF may not "
			       "read the kernel's memory";
		if (err == -EINVAL)
			return NULL;
		if (!has_caps(step))
			return "run it as root; in a container: with CAP_BPF, CAP_PERFMON and "
			       "CAP_NET_ADMIN, or privileged";
		if (step == KERNEL_ATTACH_CGROUP)
			return "another program has this hook of the root cgroup for itself: "
			       "\"bpftool cgroup tree\" names it; it must be attached with "
			       "BPF_F_ALLOW_MULTI";
		if (is_memlock_short())
			return "ulimit -l unlimited; in a systemd unit: LimitMEMLOCK=infinity";
		return NULL;
	default:
		return NULL;
	}
}
