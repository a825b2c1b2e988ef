/* SPDX-License-Identifier: Apache-2.0 */
/* A list of paths, and behind its first line a path: what is told has its folder watched. */
#include "config/watch_paths.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One that a walk would come to, and not too deep. */
static bool is_path(const char *path)
{
	size_t n = 0;

	for (const char *p = path; *p; p += 1 + strcspn(p + 1, "/"), n++)
		if (*p != '/' || strcspn(p + 1, "/") == 0 || strcspn(p + 1, "/") > 255)
			return false;
	return n && n <= WATCH_DEPTH_MAX && strlen(path) < WATCH_PATH_SIZE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *list = strndup((const char *)data, size), *path = list ? strchr(list, '\n') : NULL;
	struct watch_paths *p = NULL;
	struct slice name;
	bool pattern;
	int err;

	if (!list)
		return 0;
	if (path)
		*path++ = '\0';
	err = watch_paths_new(list, &p);
	if (!err && config_check_paths(list))
		abort();
	if (!err && path && is_path(path)) {
		bool has = watch_paths_has(p, path);
		char *slash = strrchr(path, '/');

		for (size_t i = 0; watch_paths_next(p, i, path, &name, &pattern); i++)
			if (name.len > 255 || memchr(name.p, '/', name.len))
				abort();
		*slash = '\0';
		if (has && watch_paths_need(p, slash == path ? "/" : path) == WATCH_NOTHING)
			abort();
	}
	watch_paths_free(p);
	free(list);
	return 0;
}
