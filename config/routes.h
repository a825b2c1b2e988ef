/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intake.routes, "NAME:FILE,NAME:FILE", and what the key files make of it,
 * "NAME:KEY,NAME:KEY": one reader for both. Pure.
 *
 * NAME is "flows" or "kernel", or the name or the unit of journal lines, with * and ?.
 */
#pragma once

#include <stdbool.h>

#include "user/util/slice.h"

#define CONFIG_ROUTES_MAX     16
#define CONFIG_ROUTE_NAME_MAX 64

struct config_route {
	struct slice name, value;
};

/* The next entry of *list, which moves behind it. False at its end, and for what is no entry. */
bool config_route_next(const char **list, struct config_route *ret);
