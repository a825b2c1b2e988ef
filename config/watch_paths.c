/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "config/watch_paths.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "config/flow_filter.h"
#include "config/private.h"

/* docs/EVENTS.md has this list, too. */
const char *const watch_paths_default[] = {
	/* who may log in, and become whom */
	"/etc/passwd",
	"/etc/shadow",
	"/etc/group",
	"/etc/gshadow",
	"/etc/sudoers",
	"/etc/sudoers.d/",
	"/etc/pam.conf",
	"/etc/pam.d/",
	"/etc/security/",
	"/etc/nsswitch.conf",
	"/etc/ssh/",
	"/root/.ssh/authorized_keys",
	"/root/.ssh/authorized_keys2",
	"/home/*/.ssh/authorized_keys",
	"/home/*/.ssh/authorized_keys2",
	/* what is run by itself */
	"/etc/crontab",
	"/etc/anacrontab",
	"/etc/cron.d/",
	"/etc/cron.hourly/",
	"/etc/cron.daily/",
	"/etc/cron.weekly/",
	"/etc/cron.monthly/",
	"/var/spool/cron/",
	"/etc/systemd/",
	"/usr/lib/systemd/system/",
	"/usr/lib/systemd/user/",
	"/usr/local/lib/systemd/",
	"/etc/init.d/",
	"/etc/rc.local",
	"/etc/profile",
	"/etc/profile.d/",
	"/etc/bash.bashrc",
	"/etc/environment",
	/* what is loaded into programs and into the kernel */
	"/etc/ld.so.preload",
	"/etc/ld.so.conf",
	"/etc/ld.so.conf.d/",
	"/etc/modules",
	"/etc/modules-load.d/",
	"/etc/modprobe.d/",
	/* what we are told ourselves */
	"/etc/sekoia-ebpf/",
	NULL,
};

struct item {
	char *path; /* without the slash at its end; "" is the root */
	size_t len;
	bool tree, unwanted;
};

struct watch_paths {
	struct item items[WATCH_PATHS_MAX];
	size_t n;
};

/* Absolute, and no other way of writing another path. */
static bool is_path(struct slice s)
{
	if (!s.len || s.len >= WATCH_PATH_SIZE || s.p[0] != '/')
		return false;
	for (size_t at = 1; at < s.len;) {
		const char *name = s.p + at;
		const char *slash = memchr(name, '/', s.len - at);
		size_t n = slash ? (size_t)(slash - name) : s.len - at;

		if (!n || n > 255 || (n == 1 && name[0] == '.') ||
		    (n == 2 && name[0] == '.' && name[1] == '.'))
			return false;
		at += n + 1;
	}
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return false;
	return true;
}

static bool is_item(void *arg, struct slice item, bool unwanted)
{
	(void)arg;
	return (slice_is(item, "default") && !unwanted) || is_path(item);
}

const char *config_check_paths(char *value)
{
	return flow_list_each(value, is_item, NULL)
		       ? NULL
		       : "is not a list of paths; allowed: default, /etc/passwd, /etc/cron.d/ with "
			 "all that is in it, /home/*/.netrc, !/etc/ssh/moduli, at most 256";
}

static bool add(struct watch_paths *p, struct slice path, bool unwanted)
{
	struct item *item = &p->items[p->n];
	bool tree = path.p[path.len - 1] == '/';

	if (p->n == WATCH_PATHS_MAX)
		return false;
	path.len -= tree;
	item->path = strndup(path.len ? path.p : "", path.len);
	if (!item->path)
		return false;
	item->len = path.len;
	item->tree = tree;
	item->unwanted = unwanted;
	p->n++;
	return true;
}

static bool add_item(void *arg, struct slice item, bool unwanted)
{
	struct watch_paths *p = arg;

	if (!is_item(NULL, item, unwanted))
		return false;
	if (item.p[0] == '/')
		return add(p, item, unwanted);
	for (const char *const *path = watch_paths_default; *path; path++)
		if (!add(p, slice_of(*path), false))
			return false;
	return true;
}

int watch_paths_new(const char *list, struct watch_paths **ret)
{
	_cleanup_(watch_paths_freep) struct watch_paths *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	if (!flow_list_each(list, add_item, p))
		return -EINVAL;
	*ret = TAKE_PTR(p);
	return 0;
}

void watch_paths_free(struct watch_paths *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++)
		free(p->items[i].path);
	free(p);
}

/* ------------------------------------------------------------------ matching */

bool watch_name_matches(struct slice pattern, const char *name)
{
	char text[256];

	if (pattern.len >= sizeof(text))
		return false;
	memcpy(text, pattern.p, pattern.len);
	text[pattern.len] = '\0';
	return fnmatch(text, name, 0) == 0;
}

/* The component at *at, which is behind a slash; *at is then behind the next one. */
static struct slice component(const char *path, size_t len, size_t *at)
{
	const char *from = path + *at;
	const char *slash = memchr(from, '/', len - *at);
	size_t n = slash ? (size_t)(slash - from) : len - *at;

	*at += n + 1;
	return (struct slice){ from, n };
}

static bool is_pattern(struct slice s)
{
	return memchr(s.p, '*', s.len) || memchr(s.p, '?', s.len) || memchr(s.p, '[', s.len);
}

/*
 * Walks path and item together. Both are over: 0. The path has so many components more:
 * above 0; the item: below 0. *same is false where they part.
 */
static int compare(const struct item *item, const char *path, bool *same, size_t *rest)
{
	size_t path_len = strlen(path), a = 1, b = 1;
	int more = 0;

	if (path_len == 1)
		path_len = 0; /* the root has no component */
	*same = true;
	while (a < item->len && b < path_len) {
		struct slice want = component(item->path, item->len, &a);
		struct slice have = component(path, path_len, &b);
		char name[256];

		if (have.len >= sizeof(name)) {
			*same = false;
			return 0;
		}
		memcpy(name, have.p, have.len);
		name[have.len] = '\0';
		if (is_pattern(want)
			    ? !watch_name_matches(want, name)
			    : want.len != have.len || memcmp(want.p, have.p, want.len) != 0) {
			*same = false;
			return 0;
		}
	}
	*rest = a;
	while (b < path_len) {
		component(path, path_len, &b);
		more++;
	}
	while (a < item->len) {
		component(item->path, item->len, &a);
		more--;
	}
	return more;
}

bool watch_paths_has(const struct watch_paths *p, const char *path)
{
	bool has = false, same;
	size_t rest;

	for (size_t i = 0; i < p->n; i++) {
		const struct item *item = &p->items[i];
		int more = compare(item, path, &same, &rest);

		if (!same || more < 0 || (more > 0 && !item->tree))
			continue;
		if (item->unwanted)
			return false;
		has = true;
	}
	return has;
}

enum watch_need watch_paths_need(const struct watch_paths *p, const char *dir)
{
	enum watch_need need = WATCH_NOTHING;
	size_t rest;
	bool same;

	for (size_t i = 0; i < p->n; i++) {
		const struct item *item = &p->items[i];
		int more = compare(item, dir, &same, &rest);
		enum watch_need here = WATCH_NOTHING;

		if (!same)
			continue;
		if (item->tree && more >= 0 && more <= WATCH_DEPTH_MAX)
			here = item->unwanted ? WATCH_NOTHING : WATCH_ALL;
		else if (more == -1 && !item->tree)
			here = item->unwanted ? WATCH_NOTHING : WATCH_ALL;
		else if (more < 0)
			here = item->unwanted ? WATCH_NOTHING : WATCH_WAY;
		if (item->unwanted && item->tree && more >= 0)
			return WATCH_NOTHING;
		if (here > need)
			need = here;
	}
	return need;
}

bool watch_paths_next(const struct watch_paths *p, size_t i, const char *dir, struct slice *ret,
		      bool *ret_pattern)
{
	const struct item *item;
	size_t rest = 0;
	bool same;
	int more;

	if (i >= p->n)
		return false;
	item = &p->items[i];
	*ret = (struct slice){ "", 0 };
	*ret_pattern = false;
	more = compare(item, dir, &same, &rest);
	if (!same || item->unwanted)
		return true;
	if (more < 0) {
		*ret = component(item->path, item->len, &rest);
		*ret_pattern = is_pattern(*ret);
	} else if (item->tree && more < WATCH_DEPTH_MAX) {
		*ret = SLICE("*");
		*ret_pattern = true;
	}
	return true;
}
