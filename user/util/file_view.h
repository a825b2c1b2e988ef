/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file tree of one's own: an empty one, read-only, in which the folders and
 * files that are needed are where they always are, and nothing else.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct file_view_path {
	const char *path; /* absolute; what is not there is left out */
	bool writable;
};

/*
 * From here on this process sees the paths alone. What is mounted or replaced
 * below them later is seen; what is replaced as a whole is not. Needs CAP_SYS_ADMIN,
 * /proc and /sys. 0; else -errno, *ret_what is what failed, and it sees
 * what it saw before (but perhaps no /sys).
 */
int file_view_enter(const struct file_view_path *paths, size_t n, const char **ret_what);
