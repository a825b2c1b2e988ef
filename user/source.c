/* SPDX-License-Identifier: Apache-2.0 */
#include "user/source.h"

#include <errno.h>

#include "user/record.h"
#include "user/routes.h"

void sink_begin(struct sink *sink)
{
	sink->record->seq = sink->next_seq(sink->arg);
}

void sink_add(struct source *s, struct sink *sink, const struct msg *m)
{
	struct msg routed = *m;
	int err;

	if (m->class != MSG_JOURNAL)
		routed.route = routes_find(sink->routes, m->class, m->app, SLICE(""));
	err = sink->add(sink->arg, &routed);
	if (!err)
		s->stats.records++;
	else if (err == -EMSGSIZE || err == -EINVAL)
		s->stats.too_large++;
	else
		s->stats.lost++;
}

void source_free(struct source *s)
{
	if (s)
		s->ops->free(s);
}
