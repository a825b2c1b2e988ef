/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which intake an event goes to: the names of intake.routes. The keys are the
 * shipper's; a record carries the name alone. Pure.
 */
#pragma once

#include "output/msg.h"
#include "user/util/cleanup.h"

struct routes;

/* intake.routes as it was checked; NULL: none. The caller owns *ret. -ENOMEM. */
int routes_new(const char *list, struct routes **ret);
void routes_free(struct routes *r);
DEFINE_CLEANUP(struct routes *, routes_free);

/*
 * The first one that fits, or an empty slice: the default intake. Lives as long as r.
 * app and unit are a journal line's; unit may be empty.
 */
struct slice routes_find(const struct routes *r, enum msg_class class, struct slice app,
			 struct slice unit);
