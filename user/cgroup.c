/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "user/util/cleanup.h"

/* linux/exportfs.h, FILEID_KERNFS: the handle of a kernfs node is its number alone (Linux 5.5). */
#define HANDLE_KERNFS 0xfe

/* As /proc knows it: with the place where the hierarchy is mounted in front. */
static ssize_t path_of(int fd, char *ret, size_t size)
{
	char link[40];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, ret, size);
	if (n < 0)
		return -errno;
	return (size_t)n < size ? n : -ENAMETOOLONG;
}

int cgroup_find_path(int root, uint64_t cgroup_id, char *ret, size_t size)
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + sizeof(uint64_t)];
	} u = { .handle = { .handle_bytes = sizeof(uint64_t), .handle_type = HANDLE_KERNFS } };
	char top[512], path[4096];
	_cleanup_close_ int fd = -1;
	ssize_t n_top, n;

	if (root < 0 || !cgroup_id)
		return -ENOENT;
	memcpy(u.handle.f_handle, &cgroup_id, sizeof(cgroup_id));
	fd = open_by_handle_at(root, &u.handle, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return errno == ESTALE ? -ENOENT : -errno;
	n_top = path_of(root, top, sizeof(top));
	if (n_top < 0)
		return (int)n_top;
	n = path_of(fd, path, sizeof(path));
	if (n < 0)
		return (int)n;
	if (n < n_top || memcmp(path, top, (size_t)n_top) != 0 || (n > n_top && path[n_top] != '/'))
		return -ENOENT; /* beside what is mounted here */
	n -= n_top;
	if ((size_t)n + 2 > size)
		return -ENAMETOOLONG;
	memcpy(ret, path + n_top, (size_t)n);
	if (!n)
		ret[n++] = '/';
	ret[n] = '\0';
	return 0;
}
