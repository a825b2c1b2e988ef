/* SPDX-License-Identifier: Apache-2.0 */
#include "user/routes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/routes.h"
#include "user/journal_filter.h"

struct routes {
	char *text;
	int n;
	struct slice names[CONFIG_ROUTES_MAX]; /* in text */
};

int routes_new(const char *list, struct routes **ret)
{
	_cleanup_(routes_freep) struct routes *r = calloc(1, sizeof(*r));
	struct config_route route;
	const char *at;

	if (!r)
		return -ENOMEM;
	r->text = strdup(list ? list : "");
	if (!r->text)
		return -ENOMEM;
	at = r->text;
	while (r->n < CONFIG_ROUTES_MAX && config_route_next(&at, &route))
		r->names[r->n++] = route.name;
	*ret = TAKE_PTR(r);
	return 0;
}

void routes_free(struct routes *r)
{
	if (!r)
		return;
	free(r->text);
	free(r);
}

static bool fits(struct slice name, enum msg_class class, struct slice app, struct slice unit)
{
	/* These two are no names of lines. */
	if (slice_is(name, "flows"))
		return class == MSG_FLOW;
	if (slice_is(name, "kernel"))
		return class == MSG_KERNEL;
	return class == MSG_JOURNAL && (journal_filter_is_identifier(name, app) ||
					(unit.len && journal_filter_is_unit(name, unit)));
}

struct slice routes_find(const struct routes *r, enum msg_class class, struct slice app,
			 struct slice unit)
{
	for (int i = 0; i < r->n; i++)
		if (fits(r->names[i], class, app, unit))
			return r->names[i];
	return SLICE("");
}
