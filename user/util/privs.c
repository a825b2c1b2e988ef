/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/util/privs.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "user/util/cleanup.h"

/* More than any host without a directory service has; such users come by NSS. */
#define PASSWD_MAX (4 << 20)

/* The text up to the next delimiter (or the end), which is taken off *rest with it. */
static struct slice next_field(struct slice *rest, char delimiter)
{
	const char *end = rest->len ? memchr(rest->p, delimiter, rest->len) : NULL;
	struct slice field = { rest->p, end ? (size_t)(end - rest->p) : rest->len };
	size_t used = field.len + (end ? 1 : 0);

	rest->p += used;
	rest->len -= used;
	return field;
}

static bool parse_id(struct slice text, uint32_t *ret)
{
	uint64_t value = 0;

	if (!text.len || text.len > 10)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(text.p[i] - '0');
	}
	/* (uid_t)-1 means "leave as it is" to setresuid(2). */
	if (value >= UINT32_MAX)
		return false;
	*ret = (uint32_t)value;
	return true;
}

int privs_parse_passwd(struct slice text, const char *user, uid_t *ret_uid, gid_t *ret_gid)
{
	while (text.len) {
		struct slice line = next_field(&text, '\n');
		struct slice name = next_field(&line, ':');
		struct slice uid_text, gid_text;
		uint32_t uid, gid;

		if (!name.len || !slice_is(name, user))
			continue;
		next_field(&line, ':'); /* the password's place */
		uid_text = next_field(&line, ':');
		gid_text = next_field(&line, ':');
		if (!parse_id(uid_text, &uid) || !parse_id(gid_text, &gid))
			continue;
		*ret_uid = uid;
		*ret_gid = gid;
		return 0;
	}
	return -ENOENT;
}

int privs_lookup(const char *user, uid_t *ret_uid, gid_t *ret_gid)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = -1;
	size_t len = 0;

	fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	text = malloc(PASSWD_MAX);
	if (!text)
		return -ENOMEM;
	while (len < PASSWD_MAX) {
		ssize_t n = read(fd, text + len, PASSWD_MAX - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		len += (size_t)n;
	}
	return privs_parse_passwd((struct slice){ text, len }, user, ret_uid, ret_gid);
}

const char *privs_lookup_unprivileged(const char *user, uid_t *ret_uid, gid_t *ret_gid)
{
	if (user && privs_lookup(user, ret_uid, ret_gid) == 0)
		return user;
	if (privs_lookup("nobody", ret_uid, ret_gid) < 0) {
		*ret_uid = PRIVS_NOBODY;
		*ret_gid = PRIVS_NOBODY;
	}
	return "nobody";
}

int privs_hide_memory(void)
{
	struct rlimit none = { 0, 0 };

	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return -errno;
	return 0;
}

static int get_caps(struct __user_cap_data_struct ret[2])
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return syscall(SYS_capget, &header, ret) < 0 ? -errno : 0;
}

static int drop_bounding_set(uint64_t keep)
{
	for (int cap = 0; cap < 64; cap++) {
		int has = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);

		if (has < 0)
			break; /* beyond the last one that this kernel knows */
		if (has && !(keep >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return -errno;
	}
	return 0;
}

static int drop_ids(uid_t uid, gid_t gid)
{
	/* Already there, as in a container that runs as this user: nothing to set. */
	if (getuid() == uid && geteuid() == uid && getgid() == gid && getegid() == gid &&
	    getgroups(0, NULL) == 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	return 0;
}

static int drop_caps(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	if (syscall(SYS_capset, &header, none) < 0)
		return -errno;
	/* Ambient capabilities fall with the permitted ones; to say so costs nothing. */
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

uint64_t privs_effective(void)
{
	struct __user_cap_data_struct caps[2];

	return get_caps(caps) < 0 ? 0 : caps[0].effective | (uint64_t)caps[1].effective << 32;
}

int privs_keep(uint64_t keep)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2];
	int err;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	err = get_caps(caps);
	if (err)
		return err;
	/* The bounding set first: it takes CAP_SETPCAP, which may go with the rest. */
	if (caps[CAP_SETPCAP / 32].effective & CAP_TO_MASK(CAP_SETPCAP)) {
		err = drop_bounding_set(keep);
		if (err)
			return err;
	}
	for (int i = 0; i < 2; i++) {
		uint32_t part = (uint32_t)(keep >> 32 * i);

		caps[i].permitted &= part;
		caps[i].effective &= part;
		caps[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &header, caps) < 0)
		return -errno;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

/* In the child: how many bytes of path name the directory that refuses; 0: none. */
static size_t first_refusal(char *path)
{
	size_t len = strlen(path);

	if (access("/", X_OK) < 0)
		return 1;
	for (size_t i = 1; i <= len; i++) {
		char c = path[i];

		if (c != '/' && c)
			continue;
		path[i] = '\0';
		if (access(path, c ? X_OK : X_OK | R_OK) < 0)
			return i;
		path[i] = c;
	}
	return 0;
}

int privs_can_reach(const char *dir, uid_t uid, gid_t gid, char **ret)
{
	_cleanup_free_ char *path = realpath(dir, NULL);
	_cleanup_close_ int read_fd = -1, write_fd = -1;
	size_t refusal = 0;
	int pair[2];
	ssize_t n;
	pid_t pid;

	if (!path)
		return -errno;
	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	read_fd = pair[0];
	write_fd = pair[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		/* Our secrets are in this copy, too. */
		if (drop_ids(uid, gid) == 0 && privs_hide_memory() == 0) {
			refusal = first_refusal(path);
			if (write(write_fd, &refusal, sizeof(refusal)) < 0)
				_exit(1);
		}
		_exit(0);
	}
	close_fd(TAKE_FD(write_fd));
	do {
		n = read(read_fd, &refusal, sizeof(refusal));
	} while (n < 0 && errno == EINTR);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (n != sizeof(refusal))
		return -EPERM; /* it could not become that user */
	if (!refusal)
		return 0;
	path[refusal] = '\0';
	*ret = TAKE_PTR(path);
	return -EACCES;
}

static bool all_is_gone(uid_t uid, gid_t gid)
{
	struct __user_cap_data_struct caps[2];
	uid_t ruid, euid, suid;
	gid_t rgid, egid, sgid;

	if (getresuid(&ruid, &euid, &suid) < 0 || ruid != uid || euid != uid || suid != uid)
		return false;
	if (getresgid(&rgid, &egid, &sgid) < 0 || rgid != gid || egid != gid || sgid != gid)
		return false;
	if (getgroups(0, NULL) != 0)
		return false;
	if (setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0 || setegid(0) == 0)
		return false;
	if (get_caps(caps) < 0)
		return false;
	for (int i = 0; i < 2; i++)
		if (caps[i].effective || caps[i].permitted || caps[i].inheritable)
			return false;
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 &&
	       prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0;
}

int privs_drop(uid_t uid, gid_t gid)
{
	int err;

	if (uid == 0 || gid == 0)
		return -EINVAL;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	err = drop_bounding_set(0);
	if (err)
		return err;
	/* Otherwise setresuid() would leave the capabilities in place. */
	if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		return -errno;
	err = drop_ids(uid, gid);
	if (err)
		return err;
	err = drop_caps();
	if (err)
		return err;
	/* A change of user gives PR_SET_DUMPABLE back, so this comes last. */
	err = privs_hide_memory();
	if (err)
		return err;
	return all_is_gone(uid, gid) ? 0 : -ENOTRECOVERABLE;
}
