/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/util/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "user/util/cleanup.h"

/* The same numbers on every architecture; headers may be older than the kernel. */
#define NR_CREATE_RULESET 444
#define NR_ADD_RULE	  445
#define NR_RESTRICT_SELF  446
#define CREATE_VERSION	  1u
#define RULE_PATH_BENEATH 1

#define FS_EXECUTE     (1ull << 0)
#define FS_WRITE_FILE  (1ull << 1)
#define FS_READ_FILE   (1ull << 2)
#define FS_READ_DIR    (1ull << 3)
#define FS_REMOVE_FILE (1ull << 5)
#define FS_MAKE_DIR    (1ull << 7)
#define FS_MAKE_REG    (1ull << 8)
#define FS_V1	       ((1ull << 13) - 1)
#define FS_REFER       (1ull << 13) /* version 2 */
#define FS_TRUNCATE    (1ull << 14) /* version 3 */
#define FS_IOCTL_DEV   (1ull << 15) /* version 5 */
#define FS_OF_A_FILE   (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)
#define NET_BIND_TCP   (1ull << 0) /* version 4 */
#define SCOPE_ABSTRACT (1ull << 0) /* version 6 */
#define SCOPE_SIGNAL   (1ull << 1)

struct ruleset_attr {
	uint64_t fs, net, scoped;
};

struct path_beneath_attr {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));

int landlock_version(const char **ret_why)
{
	long v = syscall(NR_CREATE_RULESET, NULL, 0, CREATE_VERSION);

	*ret_why = v > 0		 ? ""
		   : errno == ENOSYS	 ? "this kernel has none"
		   : errno == EOPNOTSUPP ? "it is switched off at boot (lsm=)"
					 : "it can not be asked";
	return v > 0 ? (int)v : 0;
}

/* What a version knows; the size of its struct goes by what it has. */
static size_t attr_of(int version, struct ruleset_attr *ret)
{
	*ret = (struct ruleset_attr){ .fs = FS_V1 };
	if (version >= 2)
		ret->fs |= FS_REFER;
	if (version >= 3)
		ret->fs |= FS_TRUNCATE;
	if (version >= 5)
		ret->fs |= FS_IOCTL_DEV;
	if (version >= 4)
		ret->net = NET_BIND_TCP;
	if (version >= 6)
		ret->scoped = SCOPE_ABSTRACT | SCOPE_SIGNAL;
	return version >= 6 ? 24 : version >= 4 ? 16 : 8;
}

static int add_path(int ruleset_fd, uint64_t handled, const struct landlock_path *p)
{
	static const uint64_t rights[] = {
		[LANDLOCK_READ_FILES] = FS_READ_FILE,
		[LANDLOCK_READ] = FS_READ_FILE | FS_READ_DIR,
		[LANDLOCK_WRITE] = FS_READ_FILE | FS_READ_DIR | FS_WRITE_FILE | FS_TRUNCATE |
				   FS_MAKE_REG | FS_REMOVE_FILE | FS_MAKE_DIR,
	};
	struct path_beneath_attr rule = { .allowed = rights[p->may] & handled };
	_cleanup_close_ int fd = open(p->path, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		rule.allowed &= FS_OF_A_FILE;
	rule.parent_fd = fd;
	return syscall(NR_ADD_RULE, ruleset_fd, RULE_PATH_BENEATH, &rule, 0) < 0 ? -errno : 0;
}

int landlock_enter(const struct landlock_path *paths, size_t n)
{
	_cleanup_close_ int fd = -1;
	struct ruleset_attr attr;
	const char *why;
	int version, err;
	size_t size;

	version = landlock_version(&why);
	if (!version)
		return -ENOTSUP;
	size = attr_of(version, &attr);
	fd = (int)syscall(NR_CREATE_RULESET, &attr, size, 0);
	if (fd < 0)
		return -errno;
	for (size_t i = 0; i < n; i++) {
		err = add_path(fd, attr.fs, &paths[i]);
		if (err)
			return err;
	}
	return syscall(NR_RESTRICT_SELF, fd, 0) < 0 ? -errno : 0;
}
