/* SPDX-License-Identifier: Apache-2.0 */
/* Which Unix sockets of this network namespace are open, by inode, at one moment. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct unix_sockets {
	uint64_t *inodes; /* in order */
	size_t n;
};

/* From /proc/net/unix, or a file of its form. 0 or -errno, and then ret is empty. */
int unix_sockets_read(const char *path, struct unix_sockets *ret);
bool unix_sockets_has(const struct unix_sockets *u, uint64_t inode);

/* May be called again, and for one that is all zero. */
void unix_sockets_done(struct unix_sockets *u);
