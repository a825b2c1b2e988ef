/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a JSON object of our own making (user/util/json_writer.h), member by
 * member, without building anything: for outputs that send something else than
 * the JSON. Pure. What it does not understand is an error, never a guess.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "user/util/slice.h"

#define JSON_WALK_DEPTH 8
#define JSON_WALK_PATH	96 /* bytes of "process.parent.name"; a longer one is passed over */

/*
 * A value that is no object and no array; items of an array have its path. is_string:
 * raw is what stands between the quotes, with its escapes. Else it is a number
 * or a word.
 */
typedef void (*json_walk_fn)(void *arg, struct slice path, bool is_string, struct slice raw);

/* 0, or -EBADMSG: it is no whole object, or is nested too deep. fn may have been called. */
int json_walk(struct slice text, json_walk_fn fn, void *arg);

/*
 * Without its escapes, and cut at a character's border where it does not fit. Returns
 * the length; what is no escape stays as it is.
 */
size_t json_unescape(struct slice raw, char *dst, size_t size);
