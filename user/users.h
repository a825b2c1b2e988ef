/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uid -> name, from /etc/passwd itself: a static binary has no NSS, and names
 * from a directory server are not worth a lookup on the network. Read again
 * when the file changes, which is looked at most once a second.
 */
#pragma once

#include <stdint.h>

#include "user/util/cleanup.h"
#include "user/util/slice.h"

#define USERS_FILE_MAX (4u << 20) /* what is behind it is not read, and counted */
#define USERS_MAX      16384
#define USERS_CHECK_MS 1000

struct users;

struct users_stats {
	uint64_t reloads, errors; /* errors: the file could not be read */
	uint64_t ignored;	  /* lines beyond a limit, or not in the file's form */
	uint32_t entries;
};

/* NULL: "/etc/passwd". A missing file is not an error. The caller owns *ret. */
int users_new(const char *path, struct users **ret);
void users_free(struct users *u);
DEFINE_CLEANUP(struct users *, users_free);

/* Empty when there is no such user. Lives until the next call. */
struct slice users_find(struct users *u, uint32_t uid, uint64_t now_ms);

void users_get_stats(const struct users *u, struct users_stats *ret);
