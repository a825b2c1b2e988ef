/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/file_watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include "config/watch_paths.h"
#include "user/util/log.h"
#include "user/util/privs.h"

/* Newer than some headers. */
#ifndef __NR_openat2
#define __NR_openat2 437
#endif
#ifndef FAN_REPORT_DIR_FID
#define FAN_REPORT_DIR_FID 0x00000400
#define FAN_REPORT_NAME	   0x00000800
#endif
#ifndef FAN_EVENT_INFO_TYPE_DFID_NAME
#define FAN_EVENT_INFO_TYPE_DFID_NAME 2
#define FAN_EVENT_INFO_TYPE_DFID      3
#endif

#define WAY_MASK (FAN_CREATE | FAN_DELETE | FAN_MOVED_TO | FAN_MOVED_FROM | FAN_ONDIR)
#define ALL_MASK (WAY_MASK | FAN_MODIFY | FAN_CLOSE_WRITE | FAN_ATTRIB | FAN_EVENT_ON_CHILD)

#define BUFFER_BYTES 16384
#define HANDLE_MAX   64
#define FOUND_MAX    4096

/* As fanotify names a folder: its file system, and what name_to_handle_at() says of it there. */
struct fid {
	uint64_t fs;
	uint32_t bytes;
	int32_t type;
	unsigned char handle[HANDLE_MAX];
};

struct dir {
	char *path; /* "" is the root */
	struct fid fid;
	enum watch_need need;
	uint32_t round; /* of visits: the last one that came by */
};

struct file_watch {
	struct watch_paths *paths;
	int fan_fd, root_fd;
	bool knows_pids;
	struct dir *dirs;
	size_t n_dirs, cap_dirs;
	uint32_t round;
	struct file_watch_stats stats;
	char refusal[200];

	/* What was there already when a folder of it appeared. */
	char **found;
	size_t n_found, at_found;
	uint32_t found_pid;

	char path[WATCH_PATH_SIZE + 256]; /* of the notice that was given last */
	size_t len, at;			  /* of buffer */
	_Alignas(8) char buffer[BUFFER_BYTES];
};

/* ------------------------------------------------------------------ paths */

/* Links lead where they do below the root. */
static int open_below(const struct file_watch *w, const char *path, uint64_t flags)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
	long fd = syscall(__NR_openat2, w->root_fd, *path ? path : "/", &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

int file_watch_stat(const struct file_watch *w, const char *path, struct stat *ret)
{
	_cleanup_close_ int fd = open_below(w, path, O_PATH | O_NOFOLLOW);

	if (fd < 0)
		return fd;
	return fstatat(fd, "", ret, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int fid_of(int fd, struct fid *ret)
{
	struct {
		struct file_handle h;
		unsigned char bytes[MAX_HANDLE_SZ];
	} handle = { .h.handle_bytes = MAX_HANDLE_SZ };
	struct statfs fs;
	int mount;

	*ret = (struct fid){ 0 };
	if (name_to_handle_at(fd, "", &handle.h, &mount, AT_EMPTY_PATH) < 0 || fstatfs(fd, &fs) < 0)
		return -errno;
	if (handle.h.handle_bytes > HANDLE_MAX)
		return -EOVERFLOW;
	*ret = (struct fid){ .bytes = handle.h.handle_bytes, .type = handle.h.handle_type };
	memcpy(&ret->fs, &fs.f_fsid, sizeof(ret->fs));
	memcpy(ret->handle, handle.h.f_handle, ret->bytes);
	return 0;
}

static bool same_fid(const struct fid *a, const struct fid *b)
{
	return a->fs == b->fs && a->bytes == b->bytes && a->type == b->type &&
	       memcmp(a->handle, b->handle, a->bytes) == 0;
}

static struct dir *find_path(struct file_watch *w, const char *path)
{
	for (size_t i = 0; i < w->n_dirs; i++)
		if (!strcmp(w->dirs[i].path, path))
			return &w->dirs[i];
	return NULL;
}

static struct dir *find_fid(struct file_watch *w, const struct fid *fid)
{
	for (size_t i = 0; i < w->n_dirs; i++)
		if (same_fid(&w->dirs[i].fid, fid))
			return &w->dirs[i];
	return NULL;
}

/* A folder that is not there any more, and what was in it. */
static void forget(struct file_watch *w, const char *path)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < w->n_dirs;) {
		struct dir *d = &w->dirs[i];

		if (strncmp(d->path, path, len) != 0 || (d->path[len] && d->path[len] != '/')) {
			i++;
			continue;
		}
		free(d->path);
		*d = w->dirs[--w->n_dirs];
	}
}

/* ------------------------------------------------------------------ visits */

struct visit {
	void (*fn)(void *arg, const char *path, const struct stat *st);
	void *arg;
};

static void refuse(struct file_watch *w, const char *path, int err)
{
	w->stats.refused++;
	if (!w->refusal[0])
		snprintf(w->refusal, sizeof(w->refusal), "%.120s: %s", *path ? path : "/",
			 err == -ENOSPC ? "more than 1024 folders"
			 : err == -EXDEV || err == -ENODEV || err == -EOPNOTSUPP
				 ? "its file system can not be watched"
				 : log_strerror(-err));
}

/* Its mark, and its row. False: it is not to be gone into. */
static bool take_dir(struct file_watch *w, const char *path, int fd, enum watch_need need)
{
	struct dir *d = find_path(w, path);
	struct dir *same;
	struct fid fid;
	int err = fid_of(fd, &fid);

	if (err) {
		refuse(w, path, err);
		return false;
	}
	if (d && d->round == w->round)
		return false;
	/* One folder by two ways: the first one is its name. */
	same = find_fid(w, &fid);
	if (same && same != d) {
		if (same->round == w->round)
			return false;
		forget(w, same->path);
		d = find_path(w, path);
	}
	if (!d && w->n_dirs == FILE_WATCH_DIRS_MAX) {
		refuse(w, path, -ENOSPC);
		return false;
	}
	if (fanotify_mark(w->fan_fd, FAN_MARK_ADD, need == WATCH_ALL ? ALL_MASK : WAY_MASK, fd,
			  NULL) < 0) {
		refuse(w, path, -errno);
		return false;
	}
	if (!d) {
		if (w->n_dirs == w->cap_dirs) {
			size_t cap = w->cap_dirs ? w->cap_dirs * 2 : 64;
			struct dir *more = realloc(w->dirs, cap * sizeof(*more));

			if (!more) {
				refuse(w, path, -ENOMEM);
				return false;
			}
			w->dirs = more;
			w->cap_dirs = cap;
		}
		d = &w->dirs[w->n_dirs];
		*d = (struct dir){ .path = strdup(path) };
		if (!d->path) {
			refuse(w, path, -ENOMEM);
			return false;
		}
		w->n_dirs++;
	}
	d->fid = fid;
	d->need = need;
	d->round = w->round;
	return true;
}

static void visit(struct file_watch *w, const char *path, bool follow, const struct visit *v);

static void visit_child(struct file_watch *w, const char *dir, const char *name, bool follow,
			const struct visit *v)
{
	char path[WATCH_PATH_SIZE];
	int n = snprintf(path, sizeof(path), "%s/%s", dir, name);
	struct stat st;

	if (n < 0 || (size_t)n >= sizeof(path))
		return;
	if (v->fn && watch_paths_has(w->paths, path) && file_watch_stat(w, path, &st) == 0)
		v->fn(v->arg, path, &st);
	if (watch_paths_need(w->paths, path) != WATCH_NOTHING)
		visit(w, path, follow, v);
}

static void visit_all(struct file_watch *w, const char *path, int fd, const struct visit *v)
{
	DIR *dir = fdopendir(fd);
	const struct dirent *e;

	if (!dir) {
		close_fd(fd);
		return;
	}
	while ((e = readdir(dir)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			visit_child(w, path, e->d_name, false, v);
	closedir(dir);
}

/* Below "/", which is "". follow: what the list names itself may be a link. */
static void visit(struct file_watch *w, const char *path, bool follow, const struct visit *v)
{
	enum watch_need need = watch_paths_need(w->paths, *path ? path : "/");
	_cleanup_close_ int fd = -1;
	bool pattern, read_all = false;
	struct slice next;

	fd = open_below(w, path, O_RDONLY | O_DIRECTORY | (follow ? 0 : O_NOFOLLOW));
	if (fd < 0) {
		if (fd != -ENOENT && fd != -ENOTDIR && fd != -ELOOP)
			refuse(w, path, fd);
		return;
	}
	if (!take_dir(w, path, fd, need))
		return;
	for (size_t i = 0; watch_paths_next(w->paths, i, *path ? path : "/", &next, &pattern);
	     i++) {
		char name[256];

		read_all = read_all || pattern;
		if (!next.len || pattern || next.len >= sizeof(name))
			continue;
		memcpy(name, next.p, next.len);
		name[next.len] = '\0';
		visit_child(w, path, name, true, v);
	}
	if (read_all)
		visit_all(w, path, TAKE_FD(fd), v);
}

static void visit_root(struct file_watch *w, const struct visit *v)
{
	w->round++;
	w->stats.refused = 0;
	visit(w, "", true, v);
}

void file_watch_scan(struct file_watch *w,
		     void (*fn)(void *arg, const char *path, const struct stat *st), void *arg)
{
	const struct visit v = { fn, arg };

	visit_root(w, &v);
}

static void keep_found(void *arg, const char *path, const struct stat *st)
{
	struct file_watch *w = arg;

	(void)st;
	if (!w->found)
		w->found = calloc(FOUND_MAX, sizeof(*w->found));
	if (!w->found || w->n_found == FOUND_MAX)
		return;
	w->found[w->n_found] = strdup(path);
	w->n_found += w->found[w->n_found] != NULL;
}

/* A folder that has come: what is in it came before we could look. */
static void welcome(struct file_watch *w, const char *path, uint32_t pid)
{
	const struct visit v = { keep_found, w };

	forget(w, path);
	w->found_pid = pid;
	w->round++;
	visit(w, path, true, &v);
}

/* ------------------------------------------------------------------ notices */

static bool take_found(struct file_watch *w, struct file_notice *ret)
{
	if (w->at_found == w->n_found)
		return false;
	snprintf(w->path, sizeof(w->path), "%s", w->found[w->at_found]);
	free(w->found[w->at_found++]);
	if (w->at_found == w->n_found)
		w->at_found = w->n_found = 0;
	*ret = (struct file_notice){ w->path, FILE_CREATED, w->found_pid };
	return true;
}

/* Of what event happened to which name in which folder: the first such information. */
static const struct dir *find_dir(struct file_watch *w, const char *info, size_t len,
				  const char **ret_name)
{
	while (len >= sizeof(struct fanotify_event_info_header)) {
		struct fanotify_event_info_header head;
		struct fanotify_event_info_fid whole;
		struct fid fid = { .bytes = 0 };
		struct file_handle handle;
		size_t at = offsetof(struct fanotify_event_info_fid, handle);

		memcpy(&head, info, sizeof(head));
		if (head.len > len || head.len < sizeof(head))
			return NULL;
		if ((head.info_type != FAN_EVENT_INFO_TYPE_DFID_NAME &&
		     head.info_type != FAN_EVENT_INFO_TYPE_DFID) ||
		    head.len < at + sizeof(handle)) {
			info += head.len;
			len -= head.len;
			continue;
		}
		memcpy(&whole, info, sizeof(whole));
		memcpy(&handle, info + at, sizeof(handle));
		at += sizeof(handle);
		if (handle.handle_bytes > HANDLE_MAX || at + handle.handle_bytes > head.len)
			return NULL;
		memcpy(&fid.fs, &whole.fsid, sizeof(fid.fs));
		fid.bytes = handle.handle_bytes;
		fid.type = handle.handle_type;
		memcpy(fid.handle, info + at, fid.bytes);
		at += fid.bytes;
		*ret_name = ".";
		if (head.info_type == FAN_EVENT_INFO_TYPE_DFID_NAME &&
		    memchr(info + at, '\0', head.len - at))
			*ret_name = info + at;
		return find_fid(w, &fid);
	}
	return NULL;
}

static uint32_t changes_of(uint64_t mask)
{
	return (mask & FAN_CREATE ? FILE_CREATED : 0) | (mask & FAN_MOVED_TO ? FILE_RENAMED : 0) |
	       (mask & FAN_MODIFY ? FILE_WRITTEN : 0) | (mask & FAN_CLOSE_WRITE ? FILE_CLOSED : 0) |
	       (mask & FAN_ATTRIB ? FILE_ATTRIBUTES : 0) |
	       (mask & FAN_MOVED_FROM ? FILE_MOVED : 0) | (mask & FAN_DELETE ? FILE_DELETED : 0);
}

/* True: *ret is something that is told. */
static bool take_event(struct file_watch *w, const struct fanotify_event_metadata *m,
		       const char *info, struct file_notice *ret)
{
	const char *name = NULL;
	const struct dir *dir;
	uint32_t pid = m->pid > 0 ? (uint32_t)m->pid : 0;
	int n;

	if (m->mask & FAN_Q_OVERFLOW) {
		const struct visit v = { NULL, NULL };

		w->stats.overflow++;
		visit_root(w, &v);
		*ret = (struct file_notice){ .path = NULL };
		return true;
	}
	dir = find_dir(w, info, m->event_len - m->metadata_len, &name);
	if (!dir) {
		w->stats.other++;
		return false;
	}
	n = strcmp(name, ".") == 0
		    ? snprintf(w->path, sizeof(w->path), "%s", *dir->path ? dir->path : "/")
		    : snprintf(w->path, sizeof(w->path), "%s/%s", dir->path, name);
	if (n < 0 || n >= WATCH_PATH_SIZE) {
		w->stats.other++;
		return false;
	}
	if (m->mask & FAN_ONDIR) {
		if (m->mask & (FAN_MOVED_FROM | FAN_DELETE))
			forget(w, w->path);
		if (m->mask & (FAN_CREATE | FAN_MOVED_TO) &&
		    watch_paths_need(w->paths, w->path) != WATCH_NOTHING)
			welcome(w, w->path, pid);
	}
	if (!watch_paths_has(w->paths, w->path)) {
		w->stats.other++;
		return false;
	}
	*ret = (struct file_notice){ w->path, changes_of(m->mask), pid };
	return ret->changes;
}

bool file_watch_has_more(const struct file_watch *w)
{
	return w->at_found < w->n_found || w->at < w->len;
}

int file_watch_next(struct file_watch *w, struct file_notice *ret)
{
	for (;;) {
		struct fanotify_event_metadata m;
		const char *event;
		ssize_t n;

		if (take_found(w, ret))
			return 1;
		if (w->len - w->at < sizeof(m)) {
			n = read(w->fan_fd, w->buffer, sizeof(w->buffer));
			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				return !n || errno == EAGAIN ? 0 : -errno;
			w->len = (size_t)n;
			w->at = 0;
			continue;
		}
		event = w->buffer + w->at;
		memcpy(&m, event, sizeof(m));
		if (m.event_len < m.metadata_len || m.metadata_len < sizeof(m) ||
		    m.event_len > w->len - w->at || m.vers != FANOTIFY_METADATA_VERSION) {
			w->at = w->len;
			return -EBADMSG;
		}
		w->at += m.event_len;
		if (take_event(w, &m, event + m.metadata_len, ret))
			return 1;
	}
}

/* ------------------------------------------------------------------ begin and end */

static int open_root(const char *root)
{
	int fd = open(root ? root : "/proc/1/root", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && !root)
		fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_fanotify(bool *ret_knows_pids)
{
	const unsigned flags =
		FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_DIR_FID | FAN_REPORT_NAME;
	/* Who is not privileged may (from 5.13 on), and is not told who it was. */
	int fd = fanotify_init(flags, O_RDONLY | O_CLOEXEC);

	*ret_knows_pids = privs_effective() >> CAP_SYS_ADMIN & 1;
	return fd < 0 ? -errno : fd;
}

static int explain(int err, char *text, size_t size)
{
	snprintf(text, size, "%s",
		 err == -EPERM
			 ? "the kernel does not allow fanotify: it takes CAP_SYS_ADMIN before "
			   "Linux 5.13"
		 : err == -EINVAL || err == -ENOSYS
			 ? "this kernel has no fanotify that tells names (Linux 5.9 and later)"
			 : log_strerror(-err));
	return err;
}

int file_watch_new(const char *list, const char *root, char *text, size_t text_size,
		   struct file_watch **ret)
{
	_cleanup_(file_watch_freep) struct file_watch *w = calloc(1, sizeof(*w));
	const struct visit v = { NULL, NULL };
	int err;

	if (!w)
		return explain(-ENOMEM, text, text_size);
	w->fan_fd = w->root_fd = -1;
	err = watch_paths_new(list, &w->paths);
	if (err) {
		snprintf(text, text_size, "not a list of paths, or more than %d", WATCH_PATHS_MAX);
		return err;
	}
	w->root_fd = open_root(root);
	if (w->root_fd < 0)
		return explain(w->root_fd, text, text_size);
	w->fan_fd = open_fanotify(&w->knows_pids);
	if (w->fan_fd < 0)
		return explain(w->fan_fd, text, text_size);
	visit_root(w, &v);
	if (!w->n_dirs) {
		snprintf(text, text_size, "nothing can be watched: %s", w->refusal);
		return -ENOENT;
	}
	*ret = TAKE_PTR(w);
	return 0;
}

void file_watch_free(struct file_watch *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->n_dirs; i++)
		free(w->dirs[i].path);
	free(w->dirs);
	while (w->at_found < w->n_found)
		free(w->found[w->at_found++]);
	free(w->found);
	watch_paths_free(w->paths);
	close_fd(w->fan_fd);
	close_fd(w->root_fd);
	free(w);
}

int file_watch_fd(const struct file_watch *w)
{
	return w->fan_fd;
}

bool file_watch_knows_pids(const struct file_watch *w)
{
	return w->knows_pids;
}

const char *file_watch_refusal(const struct file_watch *w)
{
	return w->refusal;
}

void file_watch_get_stats(const struct file_watch *w, struct file_watch_stats *ret)
{
	*ret = w->stats;
	ret->dirs = (uint32_t)w->n_dirs;
}
