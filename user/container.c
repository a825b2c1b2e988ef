/* SPDX-License-Identifier: Apache-2.0 */
#include "user/container.h"

#include <stddef.h>

#define UUID_LEN 36

static bool is_hex(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f')))
			return false;
	return true;
}

static bool starts_with(struct slice s, const char *text)
{
	size_t n = strlen(text);

	return s.len >= n && memcmp(s.p, text, n) == 0;
}

static bool ends_with(struct slice s, const char *text)
{
	size_t n = strlen(text);

	return s.len >= n && memcmp(s.p + s.len - n, text, n) == 0;
}

/* False, and nothing copied, when it does not fit. */
static bool copy(char *dst, size_t dst_size, struct slice s)
{
	if (s.len >= dst_size)
		return false;
	memcpy(dst, s.p, s.len);
	dst[s.len] = '\0';
	return true;
}

/*
 * What stands before the id in its own path element. The last one that is a
 * process of the runtime, not of the container, has no runtime's name.
 */
static const struct {
	const char *prefix, *runtime;
	bool monitor;
} prefixes[] = {
	{ "libpod-conmon-", NULL, true },    { "crio-conmon-", NULL, true },
	{ "docker-", "docker", false },	     { "cri-containerd-", "containerd", false },
	{ "crio-", "cri-o", false },	     { "libpod-", "podman", false },
	{ "nerdctl-", "containerd", false },
};

/* Between colons, when the runtime writes a systemd path with the other driver. */
static const struct {
	const char *infix, *runtime;
} infixes[] = {
	{ ":cri-containerd:", "containerd" },
	{ ":docker:", "docker" },
	{ ":crio:", "cri-o" },
	{ ":libpod:", "podman" },
};

/* The element before a bare id. */
static const struct {
	const char *element, *runtime;
} parents[] = {
	{ "docker", "docker" },
	{ "libpod_parent", "podman" },
};

/* 64 hex digits, or 32 of them, a dash and digits (a task of AWS Fargate), at the end of s. */
static size_t trailing_id(struct slice s)
{
	size_t digits = 0;

	if (s.len >= 64 && is_hex(s.p + s.len - 64, 64))
		return 64;
	while (digits < s.len && s.p[s.len - 1 - digits] >= '0' && s.p[s.len - 1 - digits] <= '9')
		digits++;
	if (digits && digits <= 20 && s.len == 32 + 1 + digits && s.p[32] == '-' && is_hex(s.p, 32))
		return s.len;
	return 0;
}

/* True when the element names a container; ret is changed only then. */
static bool parse_container(struct slice element, struct slice before, struct container_info *ret)
{
	struct slice s = element, head;
	const char *runtime = NULL;
	size_t n;

	if (ends_with(s, ".scope"))
		s.len -= 6;
	n = trailing_id(s);
	if (!n)
		return false;
	head = (struct slice){ s.p, s.len - n };
	if (head.len && head.p[head.len - 1] != '-' && head.p[head.len - 1] != ':')
		return false;

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes) && !runtime; i++) {
		if (!slice_is(head, prefixes[i].prefix))
			continue;
		if (prefixes[i].monitor)
			return false;
		runtime = prefixes[i].runtime;
	}
	for (size_t i = 0; i < sizeof(infixes) / sizeof(*infixes) && !runtime; i++)
		if (ends_with(head, infixes[i].infix))
			runtime = infixes[i].runtime;
	for (size_t i = 0; i < sizeof(parents) / sizeof(*parents) && !runtime && !head.len; i++)
		if (slice_is(before, parents[i].element))
			runtime = parents[i].runtime;

	copy(ret->id, sizeof(ret->id), (struct slice){ s.p + head.len, n });
	ret->runtime = runtime;
	return true;
}

static void parse_named(struct slice element, struct container_info *ret)
{
	static const struct {
		const char *prefix, *suffix, *runtime;
	} kinds[] = {
		{ "lxc.payload.", "", "lxc" },
		{ "machine-", ".scope", "systemd-nspawn" },
		{ "systemd-nspawn@", ".service", "systemd-nspawn" },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		size_t skip = strlen(kinds[i].prefix), drop = strlen(kinds[i].suffix);

		if (!starts_with(element, kinds[i].prefix) ||
		    !ends_with(element, kinds[i].suffix) || element.len <= skip + drop)
			continue;
		if (copy(ret->id, sizeof(ret->id),
			 (struct slice){ element.p + skip, element.len - skip - drop }))
			ret->runtime = kinds[i].runtime;
		return;
	}
}

/* A pod's uid behind "pod": a UUID, with underscores in a slice's name, or 32 hex digits. */
static void parse_pod(struct slice element, struct container_info *ret)
{
	for (size_t i = 0; i + 3 + 32 <= element.len; i++) {
		const char *p = element.p + i + 3;
		size_t left = element.len - i - 3, n = 0;

		if (memcmp(element.p + i, "pod", 3) != 0)
			continue;
		for (; n < left && n < UUID_LEN; n++) {
			bool dash = n == 8 || n == 13 || n == 18 || n == 23;

			if (dash ? p[n] != '-' && p[n] != '_' : !is_hex(p + n, 1))
				break;
		}
		if (n == UUID_LEN) {
			for (n = 0; n < UUID_LEN; n++)
				ret->pod_uid[n] = p[n] == '_' ? '-' : p[n];
			ret->pod_uid[UUID_LEN] = '\0';
		} else if (is_hex(p, 32) && (left == 32 || p[32] == '.')) {
			copy(ret->pod_uid, sizeof(ret->pod_uid), (struct slice){ p, 32 });
		}
	}
}

static bool is_unit(struct slice element)
{
	static const char *const types[] = { ".service", ".scope", ".socket", ".mount", ".swap" };

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (ends_with(element, types[i]) && element.len > strlen(types[i]))
			return true;
	return false;
}

/* systemd escapes names that look like the kernel's own files. */
static void copy_unit(char ret[static CONTAINER_UNIT_SIZE], struct slice element)
{
	if (element.p[0] == '_') {
		element.p++;
		element.len--;
	}
	copy(ret, CONTAINER_UNIT_SIZE, element);
}

/* The manager of a user's units, which are below it. */
static bool is_user_manager(const char *unit)
{
	return starts_with(slice_of(unit), "user@") && ends_with(slice_of(unit), ".service");
}

void container_parse_path(struct slice path, struct container_info *ret)
{
	struct slice before = { path.p, 0 };
	size_t i = 0;

	*ret = (struct container_info){ .runtime = NULL };
	while (i < path.len) {
		struct slice element = { path.p + i, 0 };
		const char *slash;

		slash = memchr(element.p, '/', path.len - i);
		element.len = slash ? (size_t)(slash - element.p) : path.len - i;
		i += element.len + 1;
		if (!element.len)
			continue;

		/* The innermost container is the one that the process knows. */
		if (!parse_container(element, before, ret) && !ret->id[0]) {
			parse_named(element, ret);
			if (!ret->id[0] && slice_is(before, "lxc") &&
			    copy(ret->id, sizeof(ret->id), element))
				ret->runtime = "lxc";
		}
		if (!ret->pod_uid[0])
			parse_pod(element, ret);
		/* The outermost unit is the one that the system's manager runs. */
		if (!ret->unit[0]) {
			if (is_unit(element))
				copy_unit(ret->unit, element);
		} else if (!ret->user_unit[0] && is_unit(element) && is_user_manager(ret->unit) &&
			   !slice_is(element, "init.scope")) {
			copy_unit(ret->user_unit, element);
		}
		before = element;
	}
}

void container_parse_cgroup(struct slice text, struct container_info *ret)
{
	const char *at = text.p, *end = text.p + text.len;

	*ret = (struct container_info){ .runtime = NULL };
	/* "hierarchy:controllers:path"; the path may hold colons. */
	while (at < end) {
		const char *nl = memchr(at, '\n', (size_t)(end - at));
		const char *line_end = nl ? nl : end, *first, *second;
		struct container_info info;

		first = memchr(at, ':', (size_t)(line_end - at));
		second = first ? memchr(first + 1, ':', (size_t)(line_end - first - 1)) : NULL;
		if (second) {
			struct slice names = { first + 1, (size_t)(second - first - 1) };

			container_parse_path(
				(struct slice){ second + 1, (size_t)(line_end - second - 1) },
				&info);
			if (info.id[0] && !ret->id[0]) {
				memcpy(ret->id, info.id, sizeof(ret->id));
				ret->runtime = info.runtime;
			}
			if (info.pod_uid[0] && !ret->pod_uid[0])
				memcpy(ret->pod_uid, info.pod_uid, sizeof(ret->pod_uid));
			/* Only systemd's own hierarchy has its units. */
			if (info.unit[0] && !ret->unit[0] &&
			    (!names.len || slice_is(names, "name=systemd"))) {
				memcpy(ret->unit, info.unit, sizeof(ret->unit));
				memcpy(ret->user_unit, info.user_unit, sizeof(ret->user_unit));
			}
		}
		at = line_end + 1;
	}
}
