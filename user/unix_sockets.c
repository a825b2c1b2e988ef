/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/unix_sockets.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "user/util/cleanup.h"

#define SOCKETS_MAX (1u << 20)

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int add(struct unix_sockets *u, size_t *room, uint64_t inode)
{
	uint64_t *p;

	if (u->n == *room) {
		if (u->n >= SOCKETS_MAX)
			return -ENOBUFS;
		*room = *room ? *room * 2 : 256;
		p = reallocarray(u->inodes, *room, sizeof(*p));
		if (!p)
			return -ENOMEM;
		u->inodes = p;
	}
	u->inodes[u->n++] = inode;
	return 0;
}

int unix_sockets_read(const char *path, struct unix_sockets *ret)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_free_ char *line = NULL;
	unsigned long long inode;
	size_t size = 0, room = 0;
	int err = 0;

	*ret = (struct unix_sockets){ 0 };
	if (!f)
		return -errno;
	/* Num RefCount Protocol Flags Type St Inode Path; the heading has no numbers. */
	while (!err && getline(&line, &size, f) > 0)
		if (sscanf(line, "%*s %*s %*s %*s %*s %*s %llu", &inode) == 1)
			err = add(ret, &room, inode);
	if (!err && ferror(f))
		err = -EIO;
	if (err)
		unix_sockets_done(ret);
	else if (ret->n)
		qsort(ret->inodes, ret->n, sizeof(*ret->inodes), compare);
	return err;
}

bool unix_sockets_has(const struct unix_sockets *u, uint64_t inode)
{
	return u->n && bsearch(&inode, u->inodes, u->n, sizeof(inode), compare);
}

void unix_sockets_done(struct unix_sockets *u)
{
	free(u->inodes);
	*u = (struct unix_sockets){ 0 };
}
