/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/users.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#define NAME_MAX_BYTES 256

struct row {
	uint32_t uid;
	uint32_t at; /* in text */
	uint32_t len;
};

struct users {
	char *path;
	char *text;
	struct row *rows; /* sorted by uid, then by place in the file */
	uint64_t checked_ms;
	bool checked;
	struct stat seen; /* of the file that text was read from; zero: none */
	struct users_stats stats;
};

int users_new(const char *path, struct users **ret)
{
	_cleanup_(users_freep) struct users *u = NULL;

	u = calloc(1, sizeof(*u));
	if (!u)
		return -ENOMEM;
	u->path = strdup(path ? path : "/etc/passwd");
	if (!u->path)
		return -ENOMEM;
	*ret = TAKE_PTR(u);
	return 0;
}

void users_free(struct users *u)
{
	if (!u)
		return;
	free(u->path);
	free(u->text);
	free(u->rows);
	free(u);
}

static int compare(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->uid != y->uid)
		return x->uid < y->uid ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

/* name:password:uid:… False for comments, NIS lines and nonsense. */
static bool parse_line(const char *text, size_t at, size_t len, struct row *ret)
{
	const char *line = text + at, *end = line + len, *name_end, *p;
	uint64_t uid = 0;

	if (!len || *line == '#' || *line == '+' || *line == '-')
		return false;
	name_end = memchr(line, ':', len);
	if (!name_end || name_end == line || name_end - line > NAME_MAX_BYTES)
		return false;
	p = memchr(name_end + 1, ':', (size_t)(end - name_end - 1));
	if (!p || ++p == end || *p == ':')
		return false;
	for (; p < end && *p != ':'; p++) {
		if (*p < '0' || *p > '9')
			return false;
		uid = uid * 10 + (uint64_t)(*p - '0');
		if (uid > UINT32_MAX)
			return false;
	}
	*ret = (struct row){ (uint32_t)uid, (uint32_t)at, (uint32_t)(name_end - line) };
	return true;
}

static int read_all(int fd, size_t size, char **ret, size_t *ret_len)
{
	_cleanup_free_ char *text = malloc(size ? size : 1);
	size_t len = 0;

	if (!text)
		return -ENOMEM;
	while (len < size) {
		ssize_t n = read(fd, text + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret = TAKE_PTR(text);
	*ret_len = len;
	return 0;
}

static int load(struct users *u, const struct stat *st, int fd)
{
	_cleanup_free_ struct row *rows = NULL;
	_cleanup_free_ char *text = NULL;
	size_t size = (size_t)st->st_size, len = 0, n_lines = 0;
	uint32_t n = 0;
	int r;

	if (st->st_size > USERS_FILE_MAX)
		size = USERS_FILE_MAX;
	r = read_all(fd, size, &text, &len);
	if (r < 0)
		return r;
	for (size_t i = 0; i < len; i++)
		n_lines += text[i] == '\n';
	n_lines++;
	rows = malloc((n_lines < USERS_MAX ? n_lines : USERS_MAX) * sizeof(*rows));
	if (!rows)
		return -ENOMEM;

	u->stats.ignored += st->st_size > USERS_FILE_MAX;
	for (size_t at = 0; at < len;) {
		const char *nl = memchr(text + at, '\n', len - at);
		size_t line_len = nl ? (size_t)(nl - text) - at : len - at;

		if (n < USERS_MAX && parse_line(text, at, line_len, &rows[n]))
			n++;
		else if (line_len)
			u->stats.ignored++;
		at += line_len + 1;
	}
	qsort(rows, n, sizeof(*rows), compare);

	free(u->text);
	free(u->rows);
	u->text = TAKE_PTR(text);
	u->rows = TAKE_PTR(rows);
	u->stats.entries = n;
	u->stats.reloads++;
	return 0;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* On failure the names that are known stay. */
static void check_file(struct users *u)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (stat(u->path, &st) == 0 && is_same_file(&st, &u->seen))
		return;
	fd = open(u->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || load(u, &st, fd) < 0) {
		u->stats.errors++;
		return;
	}
	u->seen = st;
}

struct slice users_find(struct users *u, uint32_t uid, uint64_t now_ms)
{
	uint32_t lo = 0, hi;

	if (!u->checked || now_ms - u->checked_ms >= USERS_CHECK_MS) {
		u->checked = true;
		u->checked_ms = now_ms;
		check_file(u);
	}
	/* The first row of this uid: as getpwuid() answers. */
	hi = u->stats.entries;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (u->rows[mid].uid < uid)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == u->stats.entries || u->rows[lo].uid != uid)
		return (struct slice){ "", 0 };
	return (struct slice){ u->text + u->rows[lo].at, u->rows[lo].len };
}

void users_get_stats(const struct users *u, struct users_stats *ret)
{
	*ret = u->stats;
}
