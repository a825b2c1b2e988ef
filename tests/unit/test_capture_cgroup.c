/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which cgroup a number is, on the running kernel: one that is there, by its handle; one that
 * is gone, by what the kernel side saw when it was made. Needs root.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/test.h"
#include "user/cgroup.h"
#include "user/probe.h"
#include "user/process.h"

static struct kernel *kernel;
static char dir[64];
static int root = -1;

static uint64_t make(const char *name)
{
	struct stat st = { .st_ino = 0 };

	mkdirat(root, name, 0755);
	CHECK_INT(fstatat(root, name, &st, 0), 0);
	return st.st_ino;
}

TEST(attaches)
{
	struct kernel_opts o = { .dir = dir,
				 .wanted = { [KERNEL_PROCESSES] = true },
				 .flow_ring_bytes = 1 << 20,
				 .journal_ring_bytes = 1 << 20,
				 .names_ring_bytes = 1 << 20,
				 .flows_max = 1024 };
	char text[256] = "";
	int err;

	snprintf(dir, sizeof(dir), "/sys/fs/bpf/sekoia-test-%d", getpid());
	if (geteuid()) {
		printf("# skipped: not root\n");
		return;
	}
	root = cgroup_root_open(text, sizeof(text), NULL);
	if (root < 0) {
		printf("# skipped: %s\n", text);
		return;
	}
	err = kernel_new(&o, text, sizeof(text), &kernel);
	CHECK_INT(err, 0);
	if (err)
		printf("# %s\n", text);
	else if (kernel_lacks(kernel, KERNEL_PROCESSES))
		printf("# lacks: %s\n", kernel_lacks(kernel, KERNEL_PROCESSES));
}

TEST(one_that_is_there)
{
	char name[40], inner[80], want[96], path[256] = "";
	uint64_t id;

	if (!kernel)
		return;
	snprintf(name, sizeof(name), "sekoia-test-%d", getpid());
	snprintf(inner, sizeof(inner), "%s/in ner", name);
	snprintf(want, sizeof(want), "/%s", inner);
	make(name);
	id = make(inner);
	CHECK_INT(cgroup_find_path(root, id, path, sizeof(path)), 0);
	CHECK_STR(path, want);
	CHECK_INT(cgroup_find_path(root, id, path, strlen(want)), -ENAMETOOLONG);
	CHECK_INT(cgroup_find_path(root, CGROUP_ROOT_ID, path, sizeof(path)), 0);
	CHECK_STR(path, "/");
	CHECK_INT(cgroup_find_path(root, id + 100000, path, sizeof(path)), -ENOENT);
	CHECK_INT(cgroup_find_path(-1, id, path, sizeof(path)), -ENOENT);

	unlinkat(root, inner, AT_REMOVEDIR);
	CHECK_INT(cgroup_find_path(root, id, path, sizeof(path)), -ENOENT);
	CHECK_INT(kernel_find_cgroup(kernel, id, path, sizeof(path)), 0);
	CHECK_STR(path, want);
	CHECK_INT(kernel_find_cgroup(kernel, id, path, strlen(want)), -ENAMETOOLONG);
	CHECK_INT(kernel_find_cgroup(kernel, id + 100000, path, sizeof(path)), -ENOENT);
	unlinkat(root, name, AT_REMOVEDIR);
}

/* A path that does not fit is not known by its beginning. */
TEST(a_path_that_is_too_long)
{
	char at[1024] = "", part[160], path[2048];
	size_t ends[4], n = 0;
	uint64_t id = 0;

	if (!kernel)
		return;
	memset(part, 'x', sizeof(part));
	for (int i = 0; i < 3; i++) {
		n += (size_t)snprintf(at + n, sizeof(at) - n, "%ssekoia-test-%d%.140s",
				      i ? "/" : "", getpid(), part);
		ends[i] = n;
		id = make(at);
	}
	CHECK_INT(kernel_find_cgroup(kernel, id, path, sizeof(path)), -ENOENT);
	CHECK_INT(cgroup_find_path(root, id, path, sizeof(path)), 0);
	CHECK_INT(strlen(path), n + 1);
	for (int i = 2; i >= 0; i--) {
		at[ends[i]] = '\0';
		unlinkat(root, at, AT_REMOVEDIR);
	}
}

static int find(void *arg, uint64_t cgroup_id, char *ret, size_t size)
{
	(void)arg;
	return kernel_find_cgroup(kernel, cgroup_id, ret, size);
}

/* Who ended, and whose cgroup ended with it. */
TEST(of_a_process_that_is_gone)
{
	_cleanup_(process_cache_freep) struct process_cache *c = NULL;
	struct task_ref ref = { .pid = 0x3ffffff0, .start_ns = 1, .comm = "gone" };
	struct container_info info = { .runtime = NULL };
	char name[64];
	uint64_t id;

	if (!kernel)
		return;
	snprintf(name, sizeof(name), "sekoia-test-%d.service", getpid());
	id = ref.cgroup_id = make(name);
	unlinkat(root, name, AT_REMOVEDIR);
	CHECK_INT(process_cache_new(&(struct process_opts){ .find_cgroup = find }, &c), 0);
	CHECK_STR(process_find(c, &ref, 1, 1)->container.unit, name);
	CHECK_INT(process_find_cgroup(c, id, &info), 0);
	CHECK_STR(info.unit, name);
	CHECK_INT(process_find_cgroup(c, 0, &info), -ENOENT);
	CHECK_INT(process_find_cgroup(c, CGROUP_ROOT_ID, &info), -ENOENT);
	CHECK_INT(process_find_cgroup(c, id + 100000, &info), -ENOENT);
	ref.start_ns = 2;
	process_find_container(c, &ref, &info);
	CHECK_STR(info.unit, name);
}

TEST(detaches)
{
	kernel_free(kernel);
	if (kernel)
		CHECK(kernel_cleanup(dir) >= 1);
	if (root >= 0)
		close(root);
}
