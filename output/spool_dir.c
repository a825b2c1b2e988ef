/* SPDX-License-Identifier: Apache-2.0 */
/* The spool's directory; see spool_dir.h. */
#define _GNU_SOURCE
#include "output/spool_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "user/util/cleanup.h"

#define PAGE	   4096 /* what a disk loses at a time */
#define READ_TRIES 100	/* of a page that is being written; each try takes a microsecond */

void spool_segment_name(uint64_t first_seq, char ret[static SPOOL_NAME_SIZE])
{
	snprintf(ret, SPOOL_NAME_SIZE, "%016" PRIx64 ".seg", first_seq);
}

static bool segment_name_parse(const char *name, uint64_t *ret)
{
	char canonical[SPOOL_NAME_SIZE];
	char *end;

	*ret = strtoull(name, &end, 16);
	if (*ret == 0 || *ret > SPOOL_SEQ_MAX)
		return false;
	spool_segment_name(*ret, canonical);
	return strcmp(name, canonical) == 0;
}

bool spool_cursor_name_is_valid(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n <= NAME_MAX && name[0] != '.' && !strchr(name, '/');
}

static int compare_seq(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static inline void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

int spool_list(int dir_fd, uint64_t **ret, size_t *ret_n)
{
	_cleanup_(closedirp) DIR *d = NULL;
	_cleanup_free_ uint64_t *seqs = NULL;
	_cleanup_close_ int fd = -1;
	size_t n = 0, cap = 0;
	struct dirent *e;
	uint64_t seq;

	fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d)
		return -errno;
	TAKE_FD(fd);
	while ((errno = 0, e = readdir(d))) {
		if (!segment_name_parse(e->d_name, &seq))
			continue;
		if (n == cap) {
			size_t more = cap ? cap * 2 : 64;
			uint64_t *p = realloc(seqs, more * sizeof(*p));

			if (!p)
				return -ENOMEM;
			seqs = p;
			cap = more;
		}
		seqs[n++] = seq;
	}
	if (errno)
		return -errno;
	if (n)
		qsort(seqs, n, sizeof(*seqs), compare_seq);
	*ret = TAKE_PTR(seqs);
	*ret_n = n;
	return 0;
}

int spool_open_regular(int dir_fd, const char *name)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ELOOP ? -EBADMSG : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	return TAKE_FD(fd);
}

ssize_t spool_pread(int fd, void *p, size_t n, uint64_t off)
{
	size_t got = 0;

	while (got < n) {
		ssize_t r = pread(fd, (char *)p + got, n - got, (off_t)(off + got));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return got ? (ssize_t)got : -errno;
		if (r == 0)
			break;
		got += (size_t)r;
	}
	return (ssize_t)got;
}

ssize_t spool_pread_zeroes(int fd, void *p, size_t n, uint64_t off)
{
	size_t to_end = PAGE - off % PAGE;
	struct stat st;

	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size <= off)
		return -EIO;
	if (to_end > (uint64_t)st.st_size - off)
		to_end = (size_t)((uint64_t)st.st_size - off);
	if (n > to_end)
		n = to_end;
	memset(p, 0, n);
	return (ssize_t)n;
}

int spool_pwrite(int fd, const void *p, size_t n, uint64_t off)
{
	while (n) {
		ssize_t r = pwrite(fd, p, n, (off_t)off);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			return -EIO;
		p = (const char *)p + r;
		n -= (size_t)r;
		off += (uint64_t)r;
	}
	return 0;
}

int spool_state_read(int fd, struct spool_state *ret, struct spool_epochs *ret_epochs)
{
	uint8_t page[SPOOL_PAGE];
	struct spool_epochs epochs;
	struct spool_state st;
	int r = -EIO;

	/* Between its two halves a slot may be half old, half new; then read again. */
	for (int i = 0; i < READ_TRIES; i++) {
		ssize_t n = spool_pread(fd, page, sizeof(page), 0);

		if (n < 0)
			return (int)n;
		r = spool_identity_decode(page, (size_t)n, &st, &epochs);
		if (r == 0 && st.generation)
			break;
		if (i)
			sched_yield();
	}
	if (r < 0)
		return r;
	*ret = st;
	if (ret_epochs)
		*ret_epochs = epochs;
	return 0;
}

int spool_cursor_read(int cursors_fd, const char *name, struct spool_cursor *ret)
{
	_cleanup_close_ int fd = -1;
	struct spool_cursor_gens gens;
	uint8_t page[SPOOL_PAGE];

	if (!spool_cursor_name_is_valid(name))
		return -EINVAL;
	fd = spool_open_regular(cursors_fd, name);
	if (fd < 0)
		return fd;
	for (int i = 0; i < READ_TRIES; i++) {
		ssize_t n = spool_pread(fd, page, sizeof(page), 0);

		if (n < 0)
			return (int)n;
		if (n != sizeof(page))
			return -EBADMSG;
		if (spool_cursor_decode(page, ret, &gens) == 0)
			return 0;
		sched_yield();
	}
	return -EBADMSG;
}
