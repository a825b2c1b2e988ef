/* SPDX-License-Identifier: Apache-2.0 */
#include "user/container_config.h"

#include <string.h>

#include "user/util/json_reader.h"

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_';
}

/* What stands between a registry, a path, a tag and a digest, too. */
static bool is_image_char(char c)
{
	return is_name_char(c) || c == '/' || c == ':' || c == '@' || c == '+';
}

static void set(struct container_texts *t, char *ret, size_t size, struct slice text,
		bool (*is_char)(char c))
{
	bool fits = text.len && text.len < size;

	if (*ret)
		return;
	for (size_t i = 0; i < text.len && fits; i++)
		fits = is_char(text.p[i]);
	if (!fits) {
		t->malformed++;
		return;
	}
	memcpy(ret, text.p, text.len);
	ret[text.len] = '\0';
}

#define SET(field, text) set(t, t->field, sizeof(t->field), text, is_name_char)

/* Cuts s at its first c; false when there is none. */
static bool split(struct slice *s, char c, struct slice *ret)
{
	const char *at = s->len ? memchr(s->p, c, s->len) : NULL;

	if (!at)
		return false;
	*ret = (struct slice){ s->p, (size_t)(at - s->p) };
	s->len -= ret->len + 1;
	s->p = at + 1;
	return true;
}

static bool cut_end(struct slice *s, const char *end)
{
	size_t n = strlen(end);

	if (s->len < n || memcmp(s->p + s->len - n, end, n) != 0)
		return false;
	s->len -= n;
	return true;
}

bool container_parse_log_name(struct slice file, const char *id, struct container_texts *t)
{
	struct slice pod, namespace;

	/* None of the three has an underscore in it. */
	if (!cut_end(&file, ".log") || !cut_end(&file, id) || !cut_end(&file, "-") ||
	    !split(&file, '_', &pod) || !split(&file, '_', &namespace) || !file.len)
		return false;
	SET(pod, pod);
	SET(namespace, namespace);
	SET(name, file);
	return true;
}

bool container_parse_pod_folder(struct slice folder, const char *uid, struct container_texts *t)
{
	struct slice namespace;

	if (!cut_end(&folder, uid) || !cut_end(&folder, "_") || !split(&folder, '_', &namespace) ||
	    !folder.len)
		return false;
	SET(namespace, namespace);
	SET(pod, folder);
	return true;
}

/* ------------------------------------------------------------------ JSON */

/* A string in an object whose keys have dots in them; empty: it has no such. */
static struct slice text_of(struct slice object, const char *key, char *buf, size_t size)
{
	struct slice value;

	if (!json_member(object, key, &value) || !value.len || *value.p != '"')
		return (struct slice){ buf, 0 };
	return (struct slice){ buf, json_text(value, buf, size) };
}

/* Longer than any that has its place: so that one which was cut is seen not to fit. */
#define TEXT_MAX 1024

static void set_from(struct container_texts *t, char *ret, size_t size, struct slice object,
		     const char *key, bool (*is_char)(char c))
{
	char buf[TEXT_MAX];
	struct slice text = text_of(object, key, buf, sizeof(buf));

	if (text.len)
		set(t, ret, size, text, is_char);
}

#define SET_FROM(field, object, key)                                                               \
	set_from(t, t->field, sizeof(t->field), object, key,                                       \
		 t->field == t->image ? is_image_char : is_name_char)

void container_parse_oci(struct slice json, struct container_texts *t)
{
	struct slice notes, found;
	char manager[32] = "";

	if (!json_member(json, "annotations", &notes))
		return;
	if (json_member(notes, "io.kubernetes.cri.container-type", &found) ||
	    json_member(notes, "nerdctl/name", &found))
		t->runtime = "containerd";
	else if (slice_is(text_of(notes, "io.container.manager", manager, sizeof(manager)),
			  "cri-o"))
		t->runtime = "cri-o";
	else if (slice_is((struct slice){ manager, strlen(manager) }, "libpod"))
		t->runtime = "podman";

	SET_FROM(pod, notes, "io.kubernetes.cri.sandbox-name");
	SET_FROM(namespace, notes, "io.kubernetes.cri.sandbox-namespace");
	SET_FROM(name, notes, "io.kubernetes.cri.container-name");
	SET_FROM(image, notes, "io.kubernetes.cri.image-name");
	SET_FROM(pod, notes, "io.kubernetes.pod.name");
	SET_FROM(namespace, notes, "io.kubernetes.pod.namespace");
	SET_FROM(name, notes, "io.kubernetes.container.name");
	SET_FROM(image, notes, "io.kubernetes.cri-o.ImageName");
	SET_FROM(name, notes, "nerdctl/name");
}

void container_parse_docker(struct slice json, struct container_texts *t)
{
	char buf[TEXT_MAX];
	struct slice config, name = text_of(json, "Name", buf, sizeof(buf));

	t->runtime = "docker";
	if (name.len && *name.p == '/') {
		name.p++;
		name.len--;
	}
	if (name.len)
		SET(name, name);
	if (json_member(json, "Config", &config))
		SET_FROM(image, config, "Image");
}

void container_parse_storage(struct slice json, const char *id, struct container_texts *t)
{
	struct slice item, names;
	char buf[4 * TEXT_MAX];

	while (json_next_item(&json, &item)) {
		struct slice meta;

		if (!slice_is(text_of(item, "id", buf, sizeof(buf)), id))
			continue;
		if (json_member(item, "names", &names) && names.len && *names.p == '[') {
			struct slice name = { buf, json_text(names, buf, sizeof(buf)) };

			if (name.len)
				SET(name, name);
		}
		/* A JSON text in a string. */
		meta = text_of(item, "metadata", buf, sizeof(buf));
		SET_FROM(image, meta, "image-name");
		return;
	}
}
