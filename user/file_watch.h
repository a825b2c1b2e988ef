/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the files of a list change, and whose process did it: fanotify marks on their folders,
 * and on the folders on the way there, so that what does not exist yet is watched as soon
 * as it does. A mark is on an inode: what happens elsewhere is not looked at, and what
 * happens here is seen whichever mount, call or ring it comes through.
 *
 * Paths are those of the root that is given (the host's, also from within a container). Needs a
 * privilege to be made, and none afterwards.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "user/util/cleanup.h"

#define FILE_WATCH_DIRS_MAX 1024 /* folders; beyond it they are refused, and counted */

/* Bits. */
enum file_change {
	FILE_CREATED = 1 << 0,
	FILE_RENAMED = 1 << 1,	  /* another one was given this name */
	FILE_WRITTEN = 1 << 2,	  /* or truncated */
	FILE_CLOSED = 1 << 3,	  /* by who had opened it to write, and perhaps has not */
	FILE_ATTRIBUTES = 1 << 4, /* owner, mode, times, links */
	FILE_MOVED = 1 << 5,	  /* given another name */
	FILE_DELETED = 1 << 6,
};

struct file_notice {
	const char *path; /* until the next call; NULL: the kernel's queue was full */
	uint32_t changes; /* enum file_change */
	uint32_t pid;	  /* 0: not known */
};

struct file_watch_stats {
	uint32_t dirs;	   /* that are watched */
	uint32_t refused;  /* that can not be */
	uint64_t overflow; /* how often the kernel's queue was full */
	uint64_t other;	   /* notices about what is not in the list */
};

struct file_watch;

/*
 * list: events.paths. root: the folder that is "/"; NULL: the first process's root, or ours.
 * The caller owns *ret. 0; -EINVAL for the list; or -errno: the kernel can not do it, text
 * says why and what to do.
 */
int file_watch_new(const char *list, const char *root, char *text, size_t text_size,
		   struct file_watch **ret);
void file_watch_free(struct file_watch *w);
DEFINE_CLEANUP(struct file_watch *, file_watch_free);

/* Readable when there is something. Owned by w. */
int file_watch_fd(const struct file_watch *w);
/* The kernel says whose process it was: it does to who was privileged. */
bool file_watch_knows_pids(const struct file_watch *w);

/* 1: *ret; 0: nothing waits; -errno: it is broken. */
int file_watch_next(struct file_watch *w, struct file_notice *ret);
/* file_watch_next() has something without asking the kernel. */
bool file_watch_has_more(const struct file_watch *w);

/* Calls fn for each file of the list that is there. */
void file_watch_scan(struct file_watch *w,
		     void (*fn)(void *arg, const char *path, const struct stat *st), void *arg);

/* As lstat(), below the root. 0 or -errno. */
int file_watch_stat(const struct file_watch *w, const char *path, struct stat *ret);

/* The first folder that could not be watched, for people; empty: none. */
const char *file_watch_refusal(const struct file_watch *w);

void file_watch_get_stats(const struct file_watch *w, struct file_watch_stats *ret);
