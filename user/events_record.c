/* SPDX-License-Identifier: Apache-2.0 */
#include "user/events_record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FACILITY_AUTHPRIV (10 << 3)
#define SEVERITY_NOTICE	  5
#define SEVERITY_INFO	  6

static void put_bool(struct json_writer *w, const char *key, bool value)
{
	if (!value)
		return;
	json_key(w, key);
	json_raw(w, "true", 4);
}

static void put_word(struct json_writer *w, const char *key, const char *word)
{
	json_array(w, key);
	json_str(w, NULL, word);
	json_array_end(w);
}

/* event{}, not closed. */
static void open_event(struct record *r, struct json_writer *w, const char *category,
		       const char *type, const char *action)
{
	json_object(w, "event");
	record_put_id(r, w);
	json_str(w, "kind", "event");
	put_word(w, "category", category);
	put_word(w, "type", type);
	json_str(w, "action", action);
	json_str(w, "provider", RECORD_NAME);
}

static void put_user(struct json_writer *w, const struct task_ref *task, uint32_t euid,
		     const struct event_details *d)
{
	char id[16];

	json_object(w, "user");
	snprintf(id, sizeof(id), "%u", task->uid);
	json_str(w, "id", id);
	if (d->user_name.len)
		json_slice(w, "name", d->user_name);
	snprintf(id, sizeof(id), "%u", task->gid);
	json_object(w, "group");
	json_str(w, "id", id);
	json_object_end(w);
	if (euid != task->uid) {
		json_object(w, "effective");
		snprintf(id, sizeof(id), "%u", euid);
		json_str(w, "id", id);
		if (d->effective_name.len)
			json_slice(w, "name", d->effective_name);
		json_object_end(w);
	}
	json_object_end(w);
}

static const char *signal_name(unsigned signal)
{
	static const char *const names[] = {
		[1] = "SIGHUP",	  [2] = "SIGINT",   [3] = "SIGQUIT",	[4] = "SIGILL",
		[5] = "SIGTRAP",  [6] = "SIGABRT",  [7] = "SIGBUS",	[8] = "SIGFPE",
		[9] = "SIGKILL",  [10] = "SIGUSR1", [11] = "SIGSEGV",	[12] = "SIGUSR2",
		[13] = "SIGPIPE", [14] = "SIGALRM", [15] = "SIGTERM",	[16] = "SIGSTKFLT",
		[24] = "SIGXCPU", [25] = "SIGXFSZ", [26] = "SIGVTALRM", [27] = "SIGPROF",
		[29] = "SIGIO",	  [30] = "SIGPWR",  [31] = "SIGSYS",
	};

	return signal < sizeof(names) / sizeof(names[0]) ? names[signal] : NULL;
}

static void put_signal(struct json_writer *w, unsigned signal)
{
	const char *name = signal_name(signal);

	json_object(w, "signal");
	json_u64(w, "number", signal);
	if (name)
		json_str(w, "name", name);
	json_object_end(w);
}

static void put_cgroup(struct json_writer *w, const struct task_ref *task)
{
	if (task->cgroup_id)
		json_u64(w, "cgroup_id", task->cgroup_id);
}

static void put_exec(struct record *r, struct json_writer *w, const struct event *e,
		     const struct event_details *d)
{
	const struct exec_event *x = &e->exec;

	open_event(r, w, "process", "start", "exec");
	json_object_end(w);
	record_open_process(r, w, d->process);
	if (x->cwd.len)
		json_slice(w, "working_directory", x->cwd);
	json_object_end(w);
	put_user(w, &x->task, x->euid, d);
	record_put_container(w, &d->process->container);
	json_object(w, RECORD_JSON_NAME);
	json_object(w, "exec");
	if (x->file.len)
		json_slice(w, "file", x->file);
	put_bool(w, "script", x->script);
	put_bool(w, "memfd", x->memfd);
	put_bool(w, "deleted", x->deleted);
	put_bool(w, "privileged", x->privileged);
	if (x->args_cut || x->no_args)
		json_u64(w, "args_cut", x->args_total - x->args.len);
	put_bool(w, "path_cut", x->path_cut);
	put_bool(w, "working_directory_cut", x->cwd_cut);
	json_object_end(w);
	put_cgroup(w, &x->task);
	json_object_end(w);
}

static void put_exit(struct record *r, struct json_writer *w, const struct event *e,
		     const struct event_details *d)
{
	const struct exit_event *x = &e->exit;
	uint64_t end_us = record_real_us(r, e->boot_ns);

	open_event(r, w, "process", "end", "exit");
	json_time_us(w, "start", record_real_us(r, x->task.start_ns));
	json_time_us(w, "end", end_us);
	if (e->boot_ns > x->task.start_ns)
		json_u64(w, "duration", e->boot_ns - x->task.start_ns);
	json_object_end(w);
	record_open_process(r, w, d->process);
	/* As a shell tells it. */
	json_u64(w, "exit_code", x->signal ? 128u + x->signal : x->status);
	json_time_us(w, "end", end_us);
	json_object_end(w);
	put_user(w, &x->task, x->task.uid, d);
	record_put_container(w, &d->process->container);
	json_object(w, RECORD_JSON_NAME);
	json_object(w, "exit");
	if (x->signal)
		put_signal(w, x->signal);
	put_bool(w, "core_dumped", x->core);
	put_bool(w, "no_exec", x->no_exec);
	json_u64(w, "cpu_ns", x->cpu_ns);
	json_u64(w, "max_memory_bytes", x->max_rss_pages * d->page_bytes);
	json_object_end(w);
	put_cgroup(w, &x->task);
	json_object_end(w);
}

int events_record_format(struct record *r, const struct event *e, const struct event_details *d,
			 struct msg *ret)
{
	uint64_t time_us = record_real_us(r, e->boot_ns);
	uint8_t severity = SEVERITY_INFO;
	struct json_writer w;

	record_begin(r, &w, time_us);
	if (e->kind == EVENT_IS_EXEC) {
		put_exec(r, &w, e, d);
		if (e->exec.memfd || e->exec.deleted || e->exec.privileged)
			severity = SEVERITY_NOTICE;
	} else {
		put_exit(r, &w, e, d);
		if (e->exit.signal)
			severity = SEVERITY_NOTICE;
	}
	json_object_end(&w);
	if (!json_len(&w))
		return -EMSGSIZE;
	*ret = (struct msg){
		.seq = r->seq,
		.time_us = time_us,
		.class = MSG_KERNEL,
		.pri = FACILITY_AUTHPRIV | severity,
		.host = r->hostname,
		.app = SLICE(RECORD_NAME),
		.json = { r->json, json_len(&w) },
	};
	return 0;
}
