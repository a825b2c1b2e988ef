/* SPDX-License-Identifier: Apache-2.0 */
/* Flows: ring samples to flow records. All flow state is in the kernel's tables. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "output/spool.h"
#include "user/event.h"
#include "user/flood_record.h"
#include "user/flow_record.h"
#include "user/names.h"
#include "user/nat.h"
#include "user/probe.h"
#include "user/process.h"
#include "user/rings.h"
#include "user/source.h"
#include "user/users.h"

struct source_flows {
	struct source source;
	struct rings *rings;
};

static int flows_take(struct source *s, struct sink *sink)
{
	struct source_flows *f = (struct source_flows *)s;
	struct source *names = sink->names_source;
	struct flow_details d = { 0 };
	struct nat_view nat;
	const struct task_ref *who;
	const void *sample;
	struct event e;
	struct msg m;
	size_t size;

	if (!rings_next(f->rings, &s->generation, &s->position, &sample, &size)) {
		s->behind = rings_is_behind(f->rings);
		return 0;
	}
	s->stats.samples++;
	if (event_decode(sample, size, &e) < 0 ||
	    (e.kind != EVENT_IS_FLOW && e.kind != EVENT_IS_FLOOD)) {
		s->stats.bad++;
		goto taken;
	}
	if (e.kind == EVENT_IS_FLOOD) {
		sink_begin(sink);
		if (flood_record_format(sink->record, &e.flood, &m) < 0)
			s->stats.too_large++;
		else
			sink_add(s, sink, &m);
		goto taken;
	}
	/* What there is to know of it was there before it was reported. */
	while (names && names->ops->take(names, sink) > 0)
		;
	/* Or each report of our connection would be sent over it, and make the next one. */
	if (own_has(&sink->own, &e.flow.opener) || own_has(&sink->own, &e.flow.user)) {
		s->stats.own++;
		goto forget;
	}
	if (nat_find(sink->nat, &e.flow, sink->now_ms, &nat))
		d.nat = &nat;
	who = flow_process(&e.flow);
	if (who->pid) {
		d.process = process_find(sink->processes, who, e.flow.last_ns, sink->now_ms);
		d.user_name = users_find(sink->users, who->uid, sink->now_ms);
	}
	if (e.flow.opener.pid && e.flow.opener.pid != who->pid)
		d.opener =
			process_find(sink->processes, &e.flow.opener, e.flow.last_ns, sink->now_ms);
	if (e.flow.ifindex)
		d.interface_name = interfaces_find(&sink->interfaces, e.flow.ifindex, e.flow.netns,
						   sink->now_ms);
	if (sink->names) {
		struct names_domain domain = names_find_domain(sink->names, &e.flow);

		d.domain = domain.name;
		d.domain_by_other = domain.by_other;
		d.hello = names_find_hello(sink->names, &e.flow);
		d.answer = names_find_answer(sink->names, &e.flow);
	}
	sink_begin(sink);
	if (flow_record_format(sink->record, &e.flow, &d, &m) < 0)
		s->stats.too_large++;
	else
		sink_add(s, sink, &m);
forget:
	if (sink->names && e.flow.last)
		names_forget(sink->names, &e.flow);
taken:
	s->position = rings_position(f->rings);
	return 1;
}

static void flows_release(struct source *s)
{
	rings_release(((struct source_flows *)s)->rings, s->position);
}

static void flows_get_ring(const struct source *s, uint64_t *ret_size, uint64_t *ret_fill)
{
	const struct source_flows *f = (const struct source_flows *)s;

	*ret_size = rings_size(f->rings);
	*ret_fill = rings_fill(f->rings);
}

static void flows_free(struct source *s)
{
	rings_free(((struct source_flows *)s)->rings);
	free(s);
}

static const struct source_ops flows_ops = {
	.name = "flows",
	.id = SOURCE_FLOWS,
	.take = flows_take,
	.release = flows_release,
	.get_ring = flows_get_ring,
	.free = flows_free,
};

int source_flows_new(const struct kernel *k, const struct spool_position *resume,
		     struct source **ret)
{
	struct source_flows *f = calloc(1, sizeof(*f));
	int err;

	if (!f)
		return -ENOMEM;
	err = rings_new(k, KERNEL_FLOWS, resume, &f->rings);
	if (err) {
		free(f);
		return err;
	}
	f->source = (struct source){ .ops = &flows_ops,
				     .fd = kernel_ring_fd(k, KERNEL_FLOWS),
				     .generation = rings_generation(f->rings),
				     .position = rings_position(f->rings),
				     .behind = rings_is_behind(f->rings) };
	f->source.stats.lost = kernel_lost(k, KERNEL_FLOWS);
	*ret = &f->source;
	return 0;
}
