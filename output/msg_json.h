/* SPDX-License-Identifier: Apache-2.0 */
/* A message as a JSON string: the escaped form of the JSON object, or of the line, that it is. */
#pragma once

#include "output/msg.h"
#include "user/util/json_writer.h"

/* What msg_put_json_string() writes at the most. */
static inline size_t msg_json_string_max(const struct msg *m)
{
	return JSON_ESCAPE_MAX * m->json.len + JSON_ESCAPE_TWICE_MAX * m->text.len + 8;
}

/* Without the quotes around it. One past the end, or NULL when there is no room up to end. */
static inline char *msg_put_json_string(char *dst, const char *end, const struct msg *m)
{
	if (m->json.len && json_escape(dst, (size_t)(end - dst), m->json, &dst) < 0)
		return NULL;
	if (!m->text.len)
		return dst;
	if (!m->json.len)
		return json_escape(dst, (size_t)(end - dst), m->text, &dst) < 0 ? NULL : dst;
	/* A string inside the event, which is a string itself; see msg.h. */
	if (end - dst < 8)
		return NULL;
	*dst++ = '\\';
	*dst++ = '"';
	if (json_escape_twice(dst, (size_t)(end - dst), m->text, &dst) < 0 || end - dst < 4)
		return NULL;
	*dst++ = '\\';
	*dst++ = '"';
	*dst++ = '}';
	*dst++ = '}';
	return dst;
}
