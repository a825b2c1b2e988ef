/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/container_names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "user/container_config.h"

#define NONE	       UINT32_MAX
#define ID_LEN	       64
#define FIRST_RETRY_MS 250
#define LAST_RETRY_MS  300000

enum text { POD, NAMESPACE, NAME, IMAGE, TAG, TEXTS };

struct entry {
	char key[CONTAINER_ID_SIZE]; /* the container's id, else the pod's uid */
	const char *runtime;
	char *blob;
	uint32_t len[TEXTS]; /* of the parts of blob */
	uint32_t chain, newer, older;
	uint32_t tries;
	bool is_done; /* there is nothing more to be found */
	uint64_t retry_ms;
};

struct container_names {
	int root_fd;
	uint32_t max, mask, newest, oldest;
	struct entry *entries;
	uint32_t *buckets;
	uint64_t second; /* which lookups are counted for */
	uint32_t lookups;
	struct container_names_stats stats;
};

int container_names_new(const char *root, uint32_t max_entries, struct container_names **ret)
{
	_cleanup_(container_names_freep) struct container_names *n = calloc(1, sizeof(*n));
	uint32_t buckets = 16;

	if (!n)
		return -ENOMEM;
	n->newest = n->oldest = NONE;
	n->max = max_entries ? max_entries : CONTAINER_NAMES_MAX;
	n->root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (n->root_fd < 0)
		return -errno;
	while (buckets < n->max)
		buckets *= 2;
	n->mask = buckets - 1;
	n->entries = calloc(n->max, sizeof(*n->entries));
	n->buckets = malloc(buckets * sizeof(*n->buckets));
	if (!n->entries || !n->buckets)
		return -ENOMEM;
	memset(n->buckets, 0xff, buckets * sizeof(*n->buckets));
	*ret = TAKE_PTR(n);
	return 0;
}

void container_names_free(struct container_names *n)
{
	if (!n)
		return;
	for (uint32_t i = 0; n->entries && i < n->max; i++)
		free(n->entries[i].blob);
	free(n->entries);
	free(n->buckets);
	close_fd(n->root_fd);
	free(n);
}

/* ------------------------------------------------------------------ the table */

static uint32_t *bucket_of(struct container_names *n, const char *key)
{
	uint64_t h = 0xcbf29ce484222325ull;

	for (; *key; key++)
		h = (h ^ (uint8_t)*key) * 0x100000001b3ull;
	return &n->buckets[(uint32_t)(h ^ h >> 32) & n->mask];
}

static void unlink_age(struct container_names *n, const struct entry *e)
{
	*(e->newer == NONE ? &n->newest : &n->entries[e->newer].older) = e->older;
	*(e->older == NONE ? &n->oldest : &n->entries[e->older].newer) = e->newer;
}

static void link_newest(struct container_names *n, struct entry *e)
{
	uint32_t i = (uint32_t)(e - n->entries);

	e->newer = NONE;
	e->older = n->newest;
	*(n->newest == NONE ? &n->oldest : &n->entries[n->newest].newer) = i;
	n->newest = i;
}

static struct entry *find(struct container_names *n, const char *key)
{
	for (uint32_t i = *bucket_of(n, key); i != NONE; i = n->entries[i].chain) {
		struct entry *e = &n->entries[i];

		if (strcmp(e->key, key) != 0)
			continue;
		if (n->newest != i) {
			unlink_age(n, e);
			link_newest(n, e);
		}
		return e;
	}
	return NULL;
}

static struct entry *add(struct container_names *n, const char *key)
{
	uint32_t i = (uint32_t)n->stats.entries, *at;
	struct entry *e;

	if (n->stats.entries == n->max) {
		i = n->oldest;
		e = &n->entries[i];
		for (at = bucket_of(n, e->key); *at != i;)
			at = &n->entries[*at].chain;
		*at = e->chain;
		unlink_age(n, e);
		free(e->blob);
		n->stats.evicted++;
	} else {
		n->stats.entries++;
	}
	e = &n->entries[i];
	at = bucket_of(n, key);
	*e = (struct entry){ .chain = *at };
	memcpy(e->key, key, strlen(key) + 1);
	*at = i;
	link_newest(n, e);
	return e;
}

/* ------------------------------------------------------------------ the files */

/* Names alone are read: what they lead to is not opened. */
static void look_in_folder(struct container_names *n, const char *folder, const char *key,
			   bool (*parse)(struct slice name, const char *key,
					 struct container_texts *t),
			   struct container_texts *t)
{
	int fd = openat(n->root_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		close_fd(fd);
		return;
	}
	for (int i = 0; (e = readdir(d)); i++) {
		if (i == CONTAINER_FOLDER_MAX) {
			n->stats.cut++;
			break;
		}
		if (parse(slice_of(e->d_name), key, t))
			break;
	}
	closedir(d);
}

/* Opens dir/path, of which no part may be a link. */
static int open_below(int dir, const char *path)
{
	_cleanup_close_ int at = -1;

	for (;;) {
		const char *slash = strchr(path, '/');
		char part[ID_LEN + 32];
		int next;

		if (!slash)
			return openat(at < 0 ? dir : at, path,
				      O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if ((size_t)(slash - path) >= sizeof(part))
			return -1;
		memcpy(part, path, (size_t)(slash - path));
		part[slash - path] = '\0';
		next = openat(at < 0 ? dir : at, part,
			      O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return -1;
		close_fd(at);
		at = next;
		path = slash + 1;
	}
}

/* The folder is the runtime's own, wherever it may lie; what is below it is in its place. */
static char *read_below(struct container_names *n, const char *folder, const char *path,
			size_t *ret_len)
{
	_cleanup_close_ int dir = openat(n->root_fd, folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = dir < 0 ? -1 : open_below(dir, path);
	_cleanup_free_ char *text = NULL;
	struct stat st;
	size_t size, len = 0;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !st.st_size)
		return NULL;
	size = (size_t)st.st_size;
	if (st.st_size > CONTAINER_FILE_MAX) {
		size = CONTAINER_FILE_MAX;
		n->stats.cut++;
	}
	text = malloc(size);
	if (!text)
		return NULL;
	while (len < size) {
		ssize_t got = read(fd, text + len, size - len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		len += (size_t)got;
	}
	*ret_len = len;
	return TAKE_PTR(text);
}

#define STORAGE "var/lib/containers/storage/overlay-containers"

static void look_in_files(struct container_names *n, const char *id, struct container_texts *t)
{
	static const struct {
		const char *folder, *file; /* of the folder that has the id for its name */
		void (*parse)(struct slice json, struct container_texts *t);
	} rows[] = {
		{ "run/containerd/io.containerd.runtime.v2.task/k8s.io", "config.json",
		  container_parse_oci },
		{ STORAGE, "userdata/config.json", container_parse_oci },
		{ "var/lib/docker/containers", "config.v2.json", container_parse_docker },
		{ "run/containerd/io.containerd.runtime.v2.task/default", "config.json",
		  container_parse_oci },
	};
	size_t len;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		_cleanup_free_ char *text = NULL;
		char path[ID_LEN + 32];

		snprintf(path, sizeof(path), "%s/%s", id, rows[i].file);
		text = read_below(n, rows[i].folder, path, &len);
		if (!text)
			continue;
		rows[i].parse((struct slice){ text, len }, t);
		break;
	}
	if (t->runtime && !strcmp(t->runtime, "podman")) {
		_cleanup_free_ char *text = read_below(n, STORAGE, "containers.json", &len);

		if (text)
			container_parse_storage((struct slice){ text, len }, id, t);
	}
}

/* ------------------------------------------------------------------ lookups */

/* "registry:5000/a/nginx:1.25": the tag is behind the last colon, if no path follows. */
static size_t tag_at(const char *image)
{
	const char *slash = strrchr(image, '/'), *colon = strrchr(image, ':');

	if (!colon || strchr(image, '@') || (slash && colon < slash))
		return strlen(image);
	return (size_t)(colon - image);
}

static void keep(struct entry *e, const struct container_texts *t)
{
	size_t image = tag_at(t->image);
	const char *tag = t->image + image + (t->image[image] != '\0');
	const struct slice texts[TEXTS] = {
		[POD] = slice_of(t->pod),   [NAMESPACE] = slice_of(t->namespace),
		[NAME] = slice_of(t->name), [IMAGE] = { t->image, image },
		[TAG] = slice_of(tag),
	};
	size_t len = 0;
	char *at;

	for (int i = 0; i < TEXTS; i++)
		len += texts[i].len;
	at = malloc(len ? len : 1);
	if (!at)
		return;
	free(e->blob);
	e->blob = at;
	e->runtime = t->runtime;
	for (int i = 0; i < TEXTS; i++) {
		e->len[i] = (uint32_t)texts[i].len;
		memcpy(at, texts[i].p, texts[i].len);
		at += texts[i].len;
	}
}

static bool is_id(const char *id)
{
	return strlen(id) == ID_LEN && strspn(id, "0123456789abcdef") == ID_LEN;
}

static void look_up(struct container_names *n, struct entry *e, const struct container_info *c)
{
	struct container_texts t = { .runtime = NULL };
	bool has_id = is_id(c->id);

	n->stats.lookups++;
	if (has_id)
		look_in_folder(n, "var/log/containers", c->id, container_parse_log_name, &t);
	if (c->pod_uid[0] && !t.pod[0])
		look_in_folder(n, "var/log/pods", c->pod_uid, container_parse_pod_folder, &t);
	if (has_id)
		look_in_files(n, c->id, &t);
	n->stats.malformed += t.malformed;
	e->is_done = (t.name[0] || !has_id) && (t.pod[0] || !c->pod_uid[0]);
	if (t.name[0] || t.pod[0] || t.image[0]) {
		n->stats.found += !e->blob;
		keep(e, &t);
	}
}

/* False: so many were looked up that this one has to wait. */
static bool may_look(struct container_names *n, uint64_t now_ms)
{
	if (n->second != now_ms / 1000) {
		n->second = now_ms / 1000;
		n->lookups = 0;
	}
	if (n->lookups == CONTAINER_LOOKUPS_A_SECOND) {
		n->stats.put_off++;
		return false;
	}
	n->lookups++;
	return true;
}

void container_names_find(struct container_names *n, const struct container_info *c,
			  uint64_t now_ms, struct container_name *ret)
{
	const char *key = is_id(c->id) ? c->id : c->pod_uid, *at;
	struct slice *texts[TEXTS] = {
		[POD] = &ret->pod,   [NAMESPACE] = &ret->namespace,
		[NAME] = &ret->name, [IMAGE] = &ret->image,
		[TAG] = &ret->tag,
	};
	struct entry *e;

	*ret = (struct container_name){ .runtime = NULL };
	if (!*key)
		return;
	e = find(n, key);
	if (!e || (!e->is_done && now_ms >= e->retry_ms)) {
		if (may_look(n, now_ms)) {
			uint64_t wait_ms;

			if (!e)
				e = add(n, key);
			look_up(n, e, c);
			wait_ms = (uint64_t)FIRST_RETRY_MS << (e->tries < 16 ? e->tries : 16);
			e->retry_ms = now_ms + (wait_ms < LAST_RETRY_MS ? wait_ms : LAST_RETRY_MS);
			e->tries++;
		}
	}
	if (!e || !e->blob)
		return;
	at = e->blob;
	for (int i = 0; i < TEXTS; i++) {
		*texts[i] = (struct slice){ at, e->len[i] };
		at += e->len[i];
	}
	ret->runtime = e->runtime;
}

void container_names_get_stats(const struct container_names *n, struct container_names_stats *ret)
{
	*ret = n->stats;
}
