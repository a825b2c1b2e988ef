/* SPDX-License-Identifier: Apache-2.0 */
/* Giving up privileges for good, and proving that they are gone. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "user/util/slice.h"

#define PRIVS_NOBODY 65534

/*
 * A user's numbers from the text of a passwd(5) file. 0, or -ENOENT. Lines
 * that are not well-formed are no users.
 */
int privs_parse_passwd(struct slice text, const char *user, uid_t *ret_uid, gid_t *ret_gid);

/*
 * The same from /etc/passwd itself, without NSS: a static binary has none.
 * -ENOENT: no such user. Else -errno of the file.
 */
int privs_lookup(const char *user, uid_t *ret_uid, gid_t *ret_gid);

/*
 * Whom the unprivileged process runs as: user (NULL: not given), else
 * "nobody", else PRIVS_NOBODY for both. Returns the name that was found.
 * The spool must be made readable for the same one.
 */
const char *privs_lookup_unprivileged(const char *user, uid_t *ret_uid, gid_t *ret_gid);

/*
 * From here on this process is uid:gid with no other group, no capability in
 * any set, no way to gain one (no_new_privs), no core dump, and no peer may
 * trace it. Call it while there is one thread. Verifies all of it.
 * 0; -EINVAL: root is not unprivileged; -EPERM: CAP_SETUID, CAP_SETGID or
 * CAP_SETPCAP is missing; -ENOTRECOVERABLE: something could be regained. After
 * a failure the process is in between: end it.
 */
int privs_drop(uid_t uid, gid_t gid);

/*
 * Could uid:gid, without any other group or capability, go into dir and read its
 * list? Tried in a child, so that access lists and security modules have their
 * say. 0; -EACCES: no, and *ret is the directory on the way, or dir itself, that
 * refuses (the caller's to free); else -errno, and nothing is known.
 */
int privs_can_reach(const char *dir, uid_t uid, gid_t gid, char **ret);

/*
 * From here on this process, still of the same user, has of its capabilities
 * those of keep (a bit for each CAP_) and can get no other: they are gone from all sets, the
 * bounding set among them, and no_new_privs is on. What it did not have it
 * does not get. 0 or -errno.
 */
int privs_keep(uint64_t keep);

/* The capabilities that are in effect. 0 when they can not be read. */
uint64_t privs_effective(void);

/* No core dump, no tracing by others: before a secret enters. 0 or -errno. */
int privs_hide_memory(void);
