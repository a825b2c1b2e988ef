/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/util/file_view.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "user/util/cleanup.h"

/* Where the new tree is made: a folder that every Linux has and nobody here needs. */
#define SCRATCH "/sys"
#define PLAIN	(MS_NOSUID | MS_NOEXEC)

/* All folders above path, which begins in the new tree. 0 or -errno. */
static int make_parents(char *path)
{
	for (char *p = path + sizeof(SCRATCH); (p = strchr(p, '/')); p++) {
		*p = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return 0;
}

static int make_target(const char *target, bool is_dir)
{
	_cleanup_free_ char *path = strdup(target);
	_cleanup_close_ int fd = -1;
	int err;

	if (!path)
		return -ENOMEM;
	err = make_parents(path);
	if (err)
		return err;
	if (is_dir)
		return mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
	fd = open(path, O_RDONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0444);
	return fd < 0 && errno != EEXIST && errno != ELOOP ? -errno : 0;
}

static int bind_one(int source_fd, const struct file_view_path *p)
{
	unsigned long flags = PLAIN | (p->writable ? 0 : MS_RDONLY);
	char source[64], target[PATH_MAX];
	struct stat st;
	int err;

	if (fstat(source_fd, &st) < 0)
		return -errno;
	if (!S_ISCHR(st.st_mode))
		flags |= MS_NODEV;
	if (snprintf(target, sizeof(target), SCRATCH "%s", p->path) >= (int)sizeof(target))
		return -ENAMETOOLONG;
	err = make_target(target, S_ISDIR(st.st_mode));
	if (err)
		return err;
	snprintf(source, sizeof(source), "/proc/self/fd/%d", source_fd);
	if (mount(source, target, NULL, MS_BIND | MS_REC, NULL) < 0)
		return -errno;
	return mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | flags, NULL) < 0 ? -errno : 0;
}

static int bind_all(const struct file_view_path *paths, size_t n, const int *fds)
{
	for (size_t i = 0; i < n; i++) {
		int err = fds[i] < 0 ? 0 : bind_one(fds[i], &paths[i]);

		if (err)
			return err;
	}
	return 0;
}

/* The new tree becomes the root, and the old one is let go. */
static int turn(const char **ret_what)
{
	*ret_what = "pivot_root";
	if (chdir(SCRATCH) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		return -errno;
	*ret_what = "leaving the old root";
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	*ret_what = "making the root read-only";
	if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NODEV | PLAIN, NULL) < 0)
		return -errno;
	return 0;
}

int file_view_enter(const struct file_view_path *paths, size_t n, const char **ret_what)
{
	_cleanup_free_ int *fds = malloc((n ? n : 1) * sizeof(*fds));
	mode_t mask;
	int err;

	*ret_what = "memory";
	if (!fds)
		return -ENOMEM;
	*ret_what = "a mount namespace";
	if (unshare(CLONE_NEWNS) < 0)
		return -errno;
	*ret_what = "mounts of our own";
	/* What the host mounts and unmounts is seen; what we do is not. */
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return -errno;
	/* Before anything is covered. */
	for (size_t i = 0; i < n; i++)
		fds[i] = open(paths[i].path, O_PATH | O_CLOEXEC);
	*ret_what = "an empty tree";
	/* Whatever it is: another user has to come through these folders. */
	mask = umask(022);
	err = mount("tmpfs", SCRATCH, "tmpfs", MS_NODEV | PLAIN, "size=64k,nr_inodes=256,mode=0755")
		      ? -errno
		      : 0;
	if (!err) {
		*ret_what = "what is to be seen in it";
		err = bind_all(paths, n, fds);
	}
	umask(mask);
	for (size_t i = 0; i < n; i++)
		close_fd(fds[i]);
	return err ? err : turn(ret_what);
}
