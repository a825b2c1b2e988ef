/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel events: ring samples to records. What an exec tells is kept for those
 * who ask about that process later: its exit, its flows, its log lines.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "output/spool.h"
#include "user/event.h"
#include "user/events_record.h"
#include "user/probe.h"
#include "user/process.h"
#include "user/rings.h"
#include "user/secrets.h"
#include "user/source.h"
#include "user/task_ids.h"
#include "user/users.h"

#define LINE_MAX_BYTES 8192 /* what a sample has of arguments */

struct source_events {
	struct source source;
	struct rings *rings;
	uint64_t page_bytes;
	char args[LINE_MAX_BYTES], line[LINE_MAX_BYTES];
	char user_name[256];
};

uint32_t source_events_classes(const struct config *config)
{
	const struct {
		bool on;
		uint32_t class;
	} rows[] = {
		{ config->events_exec, CLASS_EXEC },
		{ config->events_exit, CLASS_EXIT },
		{ config->events_modules, CLASS_MODULES },
		{ config->events_oom, CLASS_OOM },
		{ config->events_signals, CLASS_SIGNALS },
		{ config->events_ptrace, CLASS_PTRACE },
		{ config->events_bpf, CLASS_BPF },
		{ config->events_mounts, CLASS_MOUNTS },
		{ config->events_namespaces, CLASS_NAMESPACES },
		{ config->events_credentials, CLASS_CREDENTIALS },
		{ config->events_listen, CLASS_LISTEN },
	};
	uint32_t classes = 0;

	for (size_t i = 0; config->events && i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].on)
			classes |= rows[i].class;
	return classes;
}

/* users_find()'s answer lives until its next one. */
static struct slice keep_name(struct source_events *v, struct slice name)
{
	if (name.len > sizeof(v->user_name))
		name.len = sizeof(v->user_name);
	if (name.len)
		memcpy(v->user_name, name.p, name.len);
	return (struct slice){ v->user_name, name.len };
}

static struct slice base_name(struct slice path)
{
	const char *slash = path.len ? memrchr(path.p, '/', path.len) : NULL;
	size_t skip = slash ? (size_t)(slash + 1 - path.p) : 0;

	return (struct slice){ path.p + skip, path.len - skip };
}

/* *ret points into the sample, v and the cache. */
static void describe_exec(struct source_events *v, const struct event *e, struct sink *sink,
			  struct process_info *ret)
{
	const struct exec_event *x = &e->exec;
	const struct process_info *parent;
	size_t len = x->args.len;

	*ret = (struct process_info){
		.pid = x->task.pid,
		.start_ns = x->task.start_ns,
		.name = base_name(x->path),
		.executable = x->path,
		.args_cut = x->args_cut || x->no_args,
		.deleted = x->deleted,
		.parent.pid = x->parent.pid,
	};
	if (!ret->name.len)
		ret->name = slice_of(x->task.comm);
	if (len)
		memcpy(v->args, x->args.p, len);
	secrets_mask(sink->config, v->args, len);
	ret->args = (struct slice){ v->args, len };
	for (size_t i = 0; i < len; i++)
		v->line[i] = v->args[i] ? v->args[i] : ' ';
	if (len && !v->args[len - 1])
		len--;
	ret->command_line = (struct slice){ v->line, len };
	process_find_container(sink->processes, &x->task, &ret->container);
	if (x->parent.pid) {
		parent = process_find(sink->processes, &x->parent, e->boot_ns, sink->now_ms);
		ret->parent.name = parent->name;
		ret->parent.executable = parent->executable;
		ret->parent.command_line = parent->command_line;
	}
}

static void take_event(struct source_events *v, const struct event *e, struct sink *sink)
{
	bool is_exec = e->kind == EVENT_IS_EXEC;
	const struct task_ref *task = is_exec			 ? &e->exec.task
				      : e->kind == EVENT_IS_EXIT ? &e->exit.task
								 : &e->action.task;
	struct event_details d = { .page_bytes = v->page_bytes };
	struct process_info info;
	struct msg m;

	if (is_exec && sink->tasks)
		task_ids_put(sink->tasks, task);
	/* Or what starts a shipper again and again would be events to send. */
	if (own_is_of(&sink->own, task)) {
		v->source.stats.own++;
		return;
	}
	d.user_name = users_find(sink->users, task->uid, sink->now_ms);
	if (is_exec) {
		if (e->exec.euid != task->uid) {
			d.user_name = keep_name(v, d.user_name);
			d.effective_name = users_find(sink->users, e->exec.euid, sink->now_ms);
		}
		describe_exec(v, e, sink, &info);
		process_put(sink->processes, task, &info, sink->now_ms);
		d.process = &info;
	} else if (task->pid) {
		d.process = process_find(sink->processes, task, e->boot_ns, sink->now_ms);
	}
	if (e->kind == EVENT_IS_ACTION && e->action.target.pid)
		d.target =
			process_find(sink->processes, &e->action.target, e->boot_ns, sink->now_ms);
	/* What the kernel does by itself is told of whom it does it to. */
	if (!d.process)
		d.process = d.target;
	sink_begin(sink);
	if (events_record_format(sink->record, e, &d, &m) < 0)
		v->source.stats.too_large++;
	else
		sink_add(&v->source, sink, &m);
}

static int events_take(struct source *s, struct sink *sink)
{
	struct source_events *v = (struct source_events *)s;
	const void *sample;
	struct event e;
	size_t size;

	if (!rings_next(v->rings, &s->generation, &s->position, &sample, &size)) {
		s->behind = rings_is_behind(v->rings);
		return 0;
	}
	s->stats.samples++;
	if (event_decode(sample, size, &e) < 0 || e.kind < EVENT_IS_EXEC)
		s->stats.bad++;
	else
		take_event(v, &e, sink);
	s->position = rings_position(v->rings);
	return 1;
}

static void events_release(struct source *s)
{
	rings_release(((struct source_events *)s)->rings, s->position);
}

static void events_get_ring(const struct source *s, uint64_t *ret_size, uint64_t *ret_fill)
{
	const struct source_events *v = (const struct source_events *)s;

	*ret_size = rings_size(v->rings);
	*ret_fill = rings_fill(v->rings);
}

static void events_free(struct source *s)
{
	rings_free(((struct source_events *)s)->rings);
	free(s);
}

static const struct source_ops events_ops = {
	.name = "events",
	.id = SOURCE_EVENTS,
	.take = events_take,
	.release = events_release,
	.get_ring = events_get_ring,
	.free = events_free,
};

int source_events_new(const struct kernel *k, const struct spool_position *resume,
		      struct source **ret)
{
	struct source_events *v = calloc(1, sizeof(*v));
	int err;

	if (!v)
		return -ENOMEM;
	err = rings_new(k, KERNEL_EVENTS, resume, &v->rings);
	if (err) {
		free(v);
		return err;
	}
	v->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	v->source = (struct source){ .ops = &events_ops,
				     .fd = kernel_ring_fd(k, KERNEL_EVENTS),
				     .generation = rings_generation(v->rings),
				     .position = rings_position(v->rings),
				     .behind = rings_is_behind(v->rings) };
	v->source.stats.lost = kernel_lost(k, KERNEL_EVENTS);
	*ret = &v->source;
	return 0;
}
