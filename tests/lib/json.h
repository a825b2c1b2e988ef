/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at JSON that we wrote with somebody else's parser. After tests/lib/test.h. */
#pragma once

/* One of its type names is the name of a function in our own writer. */
#define json_object json_c_object
#include <json-c/json.h>
#undef json_object

/* A whole text, nothing behind it; NULL when it is not JSON. */
static inline struct json_c_object *json_of(const char *p, size_t len)
{
	struct json_tokener *tok = json_tokener_new_ex(32);
	struct json_c_object *o;

	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(tok, p, (int)len);
	if (o && json_tokener_get_parse_end(tok) != len) {
		json_object_put(o);
		o = NULL;
	}
	json_tokener_free(tok);
	return o;
}

/* "source.ip": an object's member, or NULL. */
static inline struct json_c_object *json_at(struct json_c_object *o, const char *path)
{
	char key[128];

	while (o && *path) {
		size_t n = strcspn(path, ".");

		if (n >= sizeof(key))
			return NULL;
		memcpy(key, path, n);
		key[n] = '\0';
		if (!json_object_object_get_ex(o, key, &o))
			return NULL;
		path += n + (path[n] == '.');
	}
	return o;
}

/*
 * want: a text as it is, other values as JSON ("1", "[\"a\"]"), NULL for "is
 * not there". A text that should be a text starts with a quote: "'1" is "1".
 */
static inline bool json_is(struct json_c_object *o, const char *path, const char *want)
{
	struct json_c_object *v = json_at(o, path);
	const char *got;

	if (!want || !v)
		return !want && !v;
	if (want[0] == '\'')
		return json_object_is_type(v, json_type_string) &&
		       strcmp(json_object_get_string(v), want + 1) == 0;
	if (json_object_is_type(v, json_type_string))
		return false;
	got = json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN |
							JSON_C_TO_STRING_NOSLASHESCAPE);
	return strcmp(got, want) == 0;
}

#define CHECK_JSON(object, path, want)                                                             \
	do {                                                                                       \
		const char *path_ = (path), *json_want_ = (want);                                  \
		struct json_c_object *v_ = json_at((object), path_);                               \
		if (!json_is((object), path_, json_want_)) {                                       \
			printf("# %s:%d: %s is %s, not %s\n", __FILE__, __LINE__, path_,           \
			       v_ ? json_object_to_json_string(v_) : "absent",                     \
			       json_want_ ? json_want_ : "absent");                                \
			test_failed = true;                                                        \
		}                                                                                  \
	} while (0)
