/* SPDX-License-Identifier: Apache-2.0 */
/* Which paths are watched, and what must be looked at on the way there. */
#include "config/watch_paths.h"

#include <errno.h>

#include "config/private.h"
#include "tests/lib/test.h"

static const char list[] =
	"/etc/passwd, /etc/cron.d/,/home/*/.ssh/keys, !/etc/cron.d/.placeholder,!/etc/cron.d/skip/";

TEST(what_is_told)
{
	static const struct {
		const char *path;
		bool has;
	} rows[] = {
		{ "/etc/passwd", true },
		{ "/etc/passwd-", false },
		{ "/etc/passwd/x", false },
		{ "/etc", false },
		{ "/etc/cron.d", true },
		{ "/etc/cron.d/a", true },
		{ "/etc/cron.d/a/b", true },
		{ "/etc/cron.daily", false },
		{ "/etc/cron.d/.placeholder", false },
		{ "/etc/cron.d/skip", false },
		{ "/etc/cron.d/skip/x", false },
		{ "/home/mia/.ssh/keys", true },
		{ "/home/mia/x/.ssh/keys", false },
		{ "/home/.ssh/keys", false },
		{ "/home/mia/.ssh/keys2", false },
		{ "/", false },
	};
	_cleanup_(watch_paths_freep) struct watch_paths *p = NULL;

	CHECK_INT(watch_paths_new(list, &p), 0);
	for (size_t i = 0; p && i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (watch_paths_has(p, rows[i].path) != rows[i].has)
			printf("# %s\n", rows[i].path);
		CHECK_INT(watch_paths_has(p, rows[i].path), rows[i].has);
	}
}

TEST(which_folders)
{
	static const struct {
		const char *dir;
		enum watch_need need;
	} rows[] = {
		{ "/", WATCH_WAY },
		{ "/etc", WATCH_ALL },
		{ "/etc/ssh", WATCH_NOTHING },
		{ "/etc/cron.d", WATCH_ALL },
		{ "/etc/cron.d/a/b/c", WATCH_ALL },
		{ "/etc/cron.d/1/2/3/4/5/6/7/8", WATCH_ALL },
		{ "/etc/cron.d/1/2/3/4/5/6/7/8/9", WATCH_NOTHING },
		{ "/etc/cron.d/skip", WATCH_NOTHING },
		{ "/home", WATCH_WAY },
		{ "/home/mia", WATCH_WAY },
		{ "/home/mia/.ssh", WATCH_ALL },
		{ "/home/mia/src", WATCH_NOTHING },
		{ "/var", WATCH_NOTHING },
	};
	_cleanup_(watch_paths_freep) struct watch_paths *p = NULL;

	CHECK_INT(watch_paths_new(list, &p), 0);
	for (size_t i = 0; p && i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (watch_paths_need(p, rows[i].dir) != rows[i].need)
			printf("# %s\n", rows[i].dir);
		CHECK_INT(watch_paths_need(p, rows[i].dir), rows[i].need);
	}
}

static void check_next(const struct watch_paths *p, size_t i, const char *dir, const char *want,
		       bool want_pattern)
{
	struct slice name;
	bool pattern;

	CHECK(watch_paths_next(p, i, dir, &name, &pattern));
	CHECK_MEM(name.p, name.len, want);
	CHECK_INT(pattern, want_pattern);
}

TEST(what_comes_next)
{
	_cleanup_(watch_paths_freep) struct watch_paths *p = NULL;
	struct slice name;
	bool pattern;

	CHECK_INT(watch_paths_new(list, &p), 0);
	if (!p)
		return;
	check_next(p, 0, "/", "etc", false);
	check_next(p, 0, "/etc", "passwd", false);
	check_next(p, 0, "/etc/passwd", "", false);
	check_next(p, 1, "/etc", "cron.d", false);
	check_next(p, 1, "/etc/cron.d", "*", true);
	check_next(p, 2, "/home", "*", true);
	check_next(p, 2, "/home/mia", ".ssh", false);
	check_next(p, 3, "/etc", "", false);
	CHECK(!watch_paths_next(p, 5, "/", &name, &pattern));
	CHECK(watch_name_matches(SLICE("a*"), "abc") && !watch_name_matches(SLICE("a*"), "b"));
}

TEST(lists)
{
	static const struct {
		const char *list;
		bool good;
	} rows[] = {
		{ "default", true },
		{ "default, /srv/keys/, !/etc/ssh/moduli", true },
		{ "/", true },
		{ "/a b/c", true },
		{ "", false },
		{ "etc/passwd", false },
		{ "!default", false },
		{ "/etc/../passwd", false },
		{ "/etc/./passwd", false },
		{ "/etc//passwd", false },
		{ "/etc/passwd,,/etc/shadow", false },
		{ "/etc/pass\nwd", false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		_cleanup_(watch_paths_freep) struct watch_paths *p = NULL;
		char text[100];

		snprintf(text, sizeof(text), "%s", rows[i].list);
		if ((config_check_paths(text) == NULL) != rows[i].good)
			printf("# %s\n", rows[i].list);
		CHECK_INT(config_check_paths(text) == NULL, rows[i].good);
		CHECK_INT(watch_paths_new(rows[i].list, &p), rows[i].good ? 0 : -EINVAL);
	}
}

TEST(the_default)
{
	_cleanup_(watch_paths_freep) struct watch_paths *p = NULL;

	CHECK_INT(watch_paths_new("default", &p), 0);
	if (!p)
		return;
	CHECK(watch_paths_has(p, "/etc/shadow"));
	CHECK(watch_paths_has(p, "/etc/systemd/system/ssh.service.d/override.conf"));
	CHECK(watch_paths_has(p, "/root/.ssh/authorized_keys"));
	CHECK(!watch_paths_has(p, "/root/.bash_history"));
	CHECK_INT(watch_paths_need(p, "/root"), WATCH_WAY);
}
