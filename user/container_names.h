/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What containers are called: pod, namespace, container and image of a container's id and a
 * pod's uid, from the files that kubelet and the container runtimes keep on this host. The
 * API of neither is asked.
 *
 * A cache with a ceiling. What is known is not looked up again: an id is never given twice.
 * What is not there is looked for again, less and less often: some files come a moment after
 * the container. What all lookups may cost in a second has a limit as well. No link is
 * followed that a container could have made, and no file is waited for.
 */
#pragma once

#include <stdint.h>

#include "user/container.h"
#include "user/util/cleanup.h"
#include "user/util/slice.h"

#define CONTAINER_NAMES_MAX	   2048
#define CONTAINER_LOOKUPS_A_SECOND 64
#define CONTAINER_FOLDER_MAX	   16384	 /* names of a folder that are looked at */
#define CONTAINER_FILE_MAX	   (1024 * 1024) /* bytes of a file that are read */

struct container_names;

/* Each may be empty. */
struct container_name {
	struct slice pod, namespace, name;
	struct slice image; /* without its tag */
	struct slice tag;
	const char *runtime; /* NULL: what the path of the cgroup says */
};

struct container_names_stats {
	uint64_t entries; /* now */
	uint64_t lookups, found;
	uint64_t put_off;   /* not looked up: too many at once */
	uint64_t malformed; /* names that none can be */
	uint64_t cut;	    /* folders and files that are larger than what is looked at */
	uint64_t evicted;
};

/*
 * root is where the host's files are, "/" most of the time. The caller owns *ret. 0, -ENOMEM, or
 * -errno when there is no such folder.
 */
int container_names_new(const char *root, uint32_t max_entries, struct container_names **ret);
void container_names_free(struct container_names *n);
DEFINE_CLEANUP(struct container_names *, container_names_free);

/* *ret is good until the next call. */
void container_names_find(struct container_names *n, const struct container_info *c,
			  uint64_t now_ms, struct container_name *ret);

void container_names_get_stats(const struct container_names *n, struct container_names_stats *ret);
