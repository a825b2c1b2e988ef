/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "output/shipper_sandbox.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config/config.h"
#include "user/util/cleanup.h"
#include "user/util/file_view.h"
#include "user/util/landlock.h"
#include "user/util/log.h"
#include "user/util/sanitizer_calls.h"
#include "user/util/seccomp.h"

#define ALL 0xffffffffu

/* ------------------------------------------------------------------ files */

#define PLACES_MAX 24

struct places {
	struct landlock_path at[PLACES_MAX];
	size_t n;
};

/* Keeps path. What does not fit is not seen, which its user will say. */
static void add(struct places *p, char *path, enum landlock_may may)
{
	if (!path || path[0] != '/' || !path[1] || p->n == PLACES_MAX) {
		free(path);
		return;
	}
	for (size_t i = 0; i < p->n; i++) {
		if (strcmp(p->at[i].path, path) == 0 && p->at[i].may >= may) {
			free(path);
			return;
		}
	}
	p->at[p->n++] = (struct landlock_path){ path, may };
}

static void places_done(struct places *p)
{
	for (size_t i = 0; i < p->n; i++)
		free((char *)p->at[i].path);
	p->n = 0;
}

/* The folder that path is in; path itself when that is the root. NULL: no memory. */
static char *folder_of(const char *path)
{
	size_t len = strlen(path);
	const char *slash;

	while (len > 1 && path[len - 1] == '/')
		len--;
	slash = memrchr(path, '/', len);
	return slash && slash != path ? strndup(path, (size_t)(slash - path)) : strndup(path, len);
}

/*
 * The folder around it, under the name that was given and under its real one: the file
 * or folder itself may be made anew, and shall be found then.
 */
static void add_around(struct places *p, const char *path, enum landlock_may may)
{
	_cleanup_free_ char *real = realpath(path, NULL);

	add(p, folder_of(path), may);
	if (!real) {
		/* It does not exist yet; its folder may have another real name. */
		_cleanup_free_ char *folder = folder_of(path);

		add(p, folder ? realpath(folder, NULL) : NULL, may);
	} else {
		add(p, folder_of(real), may);
	}
}

/* Where names are resolved: replaced by renaming, and often links to elsewhere. */
static const char *const etc_files[] = { "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf",
					 "/etc/localtime" };

static void list_places(const struct config *config, struct places *p)
{
	add(p, strdup("/etc"), LANDLOCK_READ_FILES);
	for (size_t i = 0; i < sizeof(etc_files) / sizeof(etc_files[0]); i++)
		add_around(p, etc_files[i], LANDLOCK_READ_FILES);
	add(p, strdup("/dev/null"), LANDLOCK_WRITE);
	add(p, strdup("/dev/urandom"), LANDLOCK_READ_FILES);
	add_around(p, config->spool_dir, LANDLOCK_WRITE);
	if (config->output_file)
		add_around(p, config->output_file, LANDLOCK_WRITE);
#ifdef SANITIZED
	add(p, strdup("/proc"), LANDLOCK_WRITE);
	add(p, strdup("/usr"), LANDLOCK_READ);
#endif
}

/* ------------------------------------------------------------------ system calls */

static const struct seccomp_rule rules[] = {
	SECCOMP_ALLOW(sendto),
	SECCOMP_ALLOW(sendmsg),
	SECCOMP_ALLOW(recvfrom),
	SECCOMP_ALLOW(recvmsg),
	SECCOMP_ALLOW(sendmmsg),
	SECCOMP_ALLOW(recvmmsg),
	/*
	 * To connect, not to be connected to. No Unix sockets, behind which are
	 * the daemons of this host, and none of the kernel's own.
	 */
	SECCOMP_ALLOW_IF(socket, 0, ALL, AF_INET),
	SECCOMP_ALLOW_IF(socket, 0, ALL, AF_INET6),
	SECCOMP_REFUSE(socket, EAFNOSUPPORT),
	SECCOMP_ALLOW(connect),
	SECCOMP_ALLOW(getsockopt),
	SECCOMP_ALLOW(setsockopt),
	SECCOMP_ALLOW(getsockname),
	SECCOMP_ALLOW(getpeername),
	SECCOMP_ALLOW(shutdown),
	SECCOMP_ALLOW_IF(ioctl, 1, ALL, SIOCOUTQ),
	SECCOMP_ALLOW_IF(ioctl, 1, ALL, SIOCINQ),
	SECCOMP_ALLOW_IF(ioctl, 1, ALL, SIOCGIFINDEX), /* the zone of a link-local address */
	SECCOMP_ALLOW_IF(ioctl, 1, ALL, SIOCGIFNAME),
};

static int enter_filter(void)
{
	const struct seccomp_rule own[] = {
		/* abort() */
		SECCOMP_ALLOW_IF(tgkill, 0, ALL, getpid()),
	};
	const struct seccomp_table tables[] = {
		SECCOMP_TABLE(rules), seccomp_files,   seccomp_libc,
		SECCOMP_TABLE(own),   sanitizer_calls, seccomp_fatal,
	};
	int err = seccomp_enter(tables, sizeof(tables) / sizeof(tables[0]));

	if (err == -ENOTSUP || err == -EINVAL || err == -ENOSYS) {
		log_warning("sandbox: no filter of system calls: %s",
			    err == -ENOTSUP ? "not made for this architecture"
					    : "this kernel has none (CONFIG_SECCOMP_FILTER)");
		return 0;
	}
	if (err)
		log_error("sandbox: the filter of system calls: %s", log_strerror(err));
	return err;
}

/* ------------------------------------------------------------------ layers */

void shipper_sandbox_view(const struct config *config)
{
	struct file_view_path paths[PLACES_MAX];
	_cleanup_(places_done) struct places places = { 0 };
	const char *what;
	int err;

	if (!config->sandbox)
		return;
	list_places(config, &places);
	for (size_t i = 0; i < places.n; i++)
		paths[i] = (struct file_view_path){ places.at[i].path,
						    places.at[i].may == LANDLOCK_WRITE };
	err = file_view_enter(paths, places.n, &what);
	if (err)
		log_info("sandbox: no file tree of its own: %s: %s; %s", what, log_strerror(err),
			 err == -EPERM ? "CAP_SYS_ADMIN would allow it, and the rest holds without"
				       : "the rest holds without");
}

int shipper_sandbox_enter(const struct config *config)
{
	_cleanup_(places_done) struct places places = { 0 };
	const char *why;
	int version, err;

	if (!config->sandbox) {
		log_warning("sandbox: switched off (sandbox.enable): only the user and its "
			    "missing privileges hold the shipper back");
		return 0;
	}
	list_places(config, &places);
	version = landlock_version(&why);
	err = landlock_enter(places.at, places.n);
	if (err == -ENOTSUP) {
		log_info("sandbox: without Landlock: %s", why);
	} else if (err) {
		log_error("sandbox: Landlock: %s", log_strerror(err));
		return err;
	}
	err = enter_filter();
	if (!err)
		log_debug("sandbox: entered; Landlock's version is %d", version);
	return err;
}
