/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock: a process confines itself to parts of the file tree, without any
 * privilege. Linux 5.13 has it first, and may have it switched off; what later
 * versions add is used where it is there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum landlock_may {
	LANDLOCK_READ_FILES, /* below the path */
	LANDLOCK_READ,	     /* and list its folders */
	LANDLOCK_WRITE,	     /* and make, write and remove files, and make folders */
};

/* What is not there is left out. Paths are followed to where they point now. */
struct landlock_path {
	const char *path;
	enum landlock_may may;
};

/* The version of the kernel's Landlock; 0: none; *ret_why says why not. */
int landlock_version(const char **ret_why);

/*
 * From here on this thread reaches the paths and nothing else: no program is
 * executed, no TCP port taken, no abstract Unix socket of others reached, and no signal sent to
 * others, as far as the kernel's version goes. Needs no_new_privs. 0; -ENOTSUP:
 * none here; else -errno.
 */
int landlock_enter(const struct landlock_path *paths, size_t n);
