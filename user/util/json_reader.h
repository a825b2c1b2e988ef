/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds a value in a JSON text (RFC 8259) by its path, without a tree: for the
 * few places that look at a record again. Any bytes may come; what is not JSON
 * has no values. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "user/util/slice.h"

/*
 * The value of a member, "process.parent.pid", of the object that json begins with:
 * as it is written, a string with its quotes; it points into json. What stands behind it
 * is not looked at, so the object may be cut off there. A key with an escape or a
 * dot in it is not found.
 */
bool json_find(struct slice json, const char *path, struct slice *ret);

/* The same of one member, whose key may have dots in it. */
bool json_member(struct slice object, const char *key, struct slice *ret);

/*
 * The next value of an array: *rest, which is the array at first, moves behind it. False: there
 * is none, or it was cut off.
 */
bool json_next_item(struct slice *rest, struct slice *ret);

/*
 * The text of a string value, or any other value as it is written; of an array,
 * its first item. Cut at size - 1 bytes, between two characters; always terminated.
 * Returns its length.
 */
size_t json_text(struct slice value, char *ret, size_t size);

/* Both together: 0 when there is no such member. */
size_t json_find_text(struct slice json, const char *path, char *ret, size_t size);

/* A number without sign, fraction and exponent. */
bool json_find_u64(struct slice json, const char *path, uint64_t *ret);
