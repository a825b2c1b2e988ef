/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of events.paths, read: whose change is told, and which folders must be
 * watched for it. Pure; watching is user/source_files.c's.
 *
 *   /etc/passwd                      that file, once it is there, too
 *   /etc/cron.d/                     the folder, and all that is in it, folders as well
 *   /home/X/.ssh/authorized_keys     with a * for X: of all; a * is never a slash
 *   !/etc/cron.d/.placeholder        not this one, whatever else says so
 *   default                          all of watch_paths_default
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "user/util/cleanup.h"
#include "user/util/slice.h"

#define WATCH_PATH_SIZE 1024 /* with its NUL */
#define WATCH_DEPTH_MAX 8    /* folders below a folder of the list */
#define WATCH_PATHS_MAX 512  /* those of "default" included */

/* What stands for the word "default": ends with a NULL. */
extern const char *const watch_paths_default[];

enum watch_need {
	WATCH_NOTHING,
	WATCH_WAY, /* a folder on the way: of what appears in it some may be wanted */
	WATCH_ALL, /* what is in it is wanted, or some of it */
};

struct watch_paths;

/* The caller owns *ret. -ENOMEM; -EINVAL: not a list of paths, or too long a one. */
int watch_paths_new(const char *list, struct watch_paths **ret);
void watch_paths_free(struct watch_paths *p);
DEFINE_CLEANUP(struct watch_paths *, watch_paths_free);

/* Paths are absolute, without a slash at their end ("/" excepted), dots or empty names. */
bool watch_paths_has(const struct watch_paths *p, const char *path);
enum watch_need watch_paths_need(const struct watch_paths *p, const char *dir);

/*
 * What may be wanted in a folder: names, one for each i from 0 on; false behind the
 * last one. *ret may be a pattern (then the folder must be read), and empty: nothing for this i.
 * It lives as long as p does.
 */
bool watch_paths_next(const struct watch_paths *p, size_t i, const char *dir, struct slice *ret,
		      bool *ret_pattern);

/* name, which is one component, is what a pattern of watch_paths_next() means. */
bool watch_name_matches(struct slice pattern, const char *name);
