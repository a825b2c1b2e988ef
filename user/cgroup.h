/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which cgroup a number is: its path, from the number that the kernel gives with a process
 * or a socket (bpf_get_current_cgroup_id()). Of cgroup v2 alone, whose numbers these are.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The root of the tree has this number on every kernel; processes of v1's hierarchies do, too. */
#define CGROUP_ROOT_ID 1

/*
 * The path of one that is there now, from the hierarchy's root: "/system.slice/ssh.service".
 * root is a descriptor of the mounted root (cgroup_root_open()), or -1. Needs
 * CAP_DAC_READ_SEARCH; O(1). 0; -ENOENT: there is none of that number, or it is not to be seen
 * from here; -ENAMETOOLONG; another -errno: not allowed, no cgroup v2.
 */
int cgroup_find_path(int root, uint64_t cgroup_id, char *ret, size_t size);
