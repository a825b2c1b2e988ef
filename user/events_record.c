/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/events_record.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "user/action_text.h"
#include "user/file_watch.h"

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

static void put_signal(struct json_writer *w, unsigned signal)
{
	const char *name = action_signal_name(signal);

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

/* A NUL behind each. */
static void put_names(struct json_writer *w, const char *key, struct slice names)
{
	if (!names.len)
		return;
	json_array(w, key);
	while (names.len) {
		size_t n = strnlen(names.p, names.len);

		json_slice(w, NULL, (struct slice){ names.p, n });
		n += n < names.len;
		names.p += n;
		names.len -= n;
	}
	json_array_end(w);
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
	record_put_container(r, w, &d->process->container);
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
	put_names(w, "environment", x->environment);
	put_bool(w, "environment_cut", x->environment_cut);
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
	record_put_container(r, w, &d->process->container);
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

/* ------------------------------------------------------------------ actions */

static const struct {
	const char *category, *type, *action;
} actions[ACTED_KINDS] = {
	[ACTED_MODULE_LOAD] = { "driver", "start", "module-load" },
	[ACTED_MODULE_UNLOAD] = { "driver", "end", "module-unload" },
	[ACTED_OOM_KILL] = { "process", "end", "oom-kill" },
	[ACTED_SIGNAL] = { "process", "change", "signal" },
	[ACTED_PTRACE] = { "process", "access", "ptrace" },
	[ACTED_BPF_PROGRAM] = { "driver", "start", "bpf-program-load" },
	[ACTED_BPF_MAP] = { "driver", "start", "bpf-map-create" },
	[ACTED_MOUNT] = { "host", "change", "mount" },
	[ACTED_UNMOUNT] = { "host", "change", "unmount" },
	[ACTED_UNSHARE] = { "process", "change", "unshare" },
	[ACTED_SETNS] = { "process", "change", "setns" },
	[ACTED_CLONE] = { "process", "change", "clone-namespaces" },
	[ACTED_SET_USER] = { "process", "change", "set-user" },
	[ACTED_SET_GROUP] = { "process", "change", "set-group" },
	[ACTED_LISTEN] = { "network", "start", "listen" },
};

struct reason {
	char text[1024];
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void say_reason(struct reason *r, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(r->text + r->len, sizeof(r->text) - r->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		r->len += (size_t)n < sizeof(r->text) - r->len ? (size_t)n
							       : sizeof(r->text) - r->len - 1;
}

#define TEXT(s) (int)(s).len, (s).len ? (s).p : ""

static void put_text(struct json_writer *w, const char *key, struct slice text)
{
	if (text.len)
		json_slice(w, key, text);
}

static void put_name(struct json_writer *w, const char *key, const char *name, uint64_t number)
{
	if (name)
		json_str(w, key, name);
	else
		json_u64(w, key, number);
}

static void put_target(struct json_writer *w, const struct process_info *t)
{
	if (!t || !t->pid)
		return;
	json_object(w, "target");
	json_u64(w, "pid", t->pid);
	put_text(w, "name", t->name);
	put_text(w, "executable", t->executable);
	put_text(w, "command_line", t->command_line);
	json_object_end(w);
}

static void say_target(struct reason *r, const struct action_event *a,
		       const struct event_details *d)
{
	const struct process_info *t = d->target;

	if (t && t->pid && t->name.len)
		say_reason(r, " %.*s (pid %u)", TEXT(t->name), t->pid);
	else if (t && t->pid)
		say_reason(r, " pid %u", t->pid);
	else if (a->value[1] && a->kind == ACTED_PTRACE)
		say_reason(r, " pid %llu of its namespace", (unsigned long long)a->value[1]);
}

/* A list of words, in the JSON and in the reason. */
static void put_words(struct json_writer *w, const char *key, struct reason *r, uint64_t flags,
		      const char *(*word)(uint64_t flags, int n))
{
	const char *name;

	json_array(w, key);
	for (int n = 0; (name = word(flags, n)); n++) {
		json_str(w, NULL, name);
		say_reason(r, "%s%s", n ? ", " : ": ", name);
	}
	json_array_end(w);
}

/* Members of sekoia_ebpf{}, and the same for people. */
static void put_what(struct json_writer *w, const struct action_event *a,
		     const struct event_details *d, struct reason *r)
{
	const char *name;
	char taints[ACTION_TAINTS_SIZE];
	bool is_program = a->kind == ACTED_BPF_PROGRAM;

	switch (a->kind) {
	case ACTED_MODULE_LOAD:
	case ACTED_MODULE_UNLOAD:
		action_taints(a->value[0], taints);
		json_object(w, "module");
		put_text(w, "name", a->text[0]);
		if (taints[0])
			json_str(w, "taints", taints);
		json_object_end(w);
		say_reason(r, "module %.*s %s", TEXT(a->text[0]),
			   a->kind == ACTED_MODULE_LOAD ? "loaded" : "unloaded");
		if (taints[0])
			say_reason(r, ", which taints the kernel: %s", taints);
		break;
	case ACTED_OOM_KILL:
		say_reason(r, "out of memory: the kernel kills");
		say_target(r, a, d);
		break;
	case ACTED_SIGNAL:
		put_signal(w, (unsigned)a->value[0]);
		name = action_signal_name((unsigned)a->value[0]);
		if (name)
			say_reason(r, "%s for", name);
		else
			say_reason(r, "signal %llu for", (unsigned long long)a->value[0]);
		say_target(r, a, d);
		if (!a->task.pid)
			say_reason(r, ", from the kernel");
		break;
	case ACTED_PTRACE:
		json_object(w, "ptrace");
		put_name(w, "request", action_ptrace_name(a->value[0]), a->value[0]);
		json_object_end(w);
		say_reason(r, a->value[0] ? "ptrace:" : "ptrace: lets itself be traced by");
		say_target(r, a, d);
		break;
	case ACTED_BPF_PROGRAM:
	case ACTED_BPF_MAP:
		name = is_program ? action_bpf_program_type(a->value[0])
				  : action_bpf_map_type(a->value[0]);
		json_object(w, "bpf");
		put_name(w, "type", name, a->value[0]);
		put_text(w, "name", a->text[0]);
		json_object_end(w);
		say_reason(r, "BPF %s %.*s", is_program ? "program" : "map", TEXT(a->text[0]));
		if (name)
			say_reason(r, "%sof type %s", a->text[0].len ? " " : "", name);
		break;
	case ACTED_MOUNT:
		json_object(w, "mount");
		put_text(w, "source", a->text[0]);
		put_text(w, "target", a->text[1]);
		put_text(w, "type", a->text[2]);
		say_reason(r, "%.*s mounted on %.*s", TEXT(a->text[0]), TEXT(a->text[1]));
		if (a->text[2].len)
			say_reason(r, ", %.*s", TEXT(a->text[2]));
		if (action_mount_flag(a->value[0], 0))
			put_words(w, "flags", r, a->value[0], action_mount_flag);
		json_object_end(w);
		break;
	case ACTED_UNMOUNT:
		json_object(w, "mount");
		put_text(w, "target", a->text[0]);
		json_object_end(w);
		say_reason(r, "%.*s unmounted", TEXT(a->text[0]));
		break;
	case ACTED_UNSHARE:
	case ACTED_SETNS:
	case ACTED_CLONE:
		say_reason(r, "%s",
			   a->kind == ACTED_UNSHARE ? "new namespaces"
			   : a->kind == ACTED_SETNS ? "enters namespaces of others"
						    : "new process in new namespaces");
		if (action_namespace(a->value[0], 0))
			put_words(w, "namespaces", r, a->value[0], action_namespace);
		break;
	case ACTED_SET_USER:
	case ACTED_SET_GROUP:
		json_object(w, a->kind == ACTED_SET_USER ? "uid" : "gid");
		json_u64(w, "real", a->value[0]);
		json_u64(w, "effective", a->value[1]);
		json_u64(w, "saved", a->value[2]);
		json_object_end(w);
		say_reason(r, "%s is now %llu, effective %llu, saved %llu",
			   a->kind == ACTED_SET_USER ? "user" : "group",
			   (unsigned long long)a->value[0], (unsigned long long)a->value[1],
			   (unsigned long long)a->value[2]);
		break;
	default:
		break;
	}
}

/* A listening socket, as what flows will come to. */
static void put_socket(struct json_writer *w, const struct action_event *a, struct reason *r)
{
	const char *name = action_transport_name(a->value[0]);
	char ip[INET6_ADDRSTRLEN] = "";

	inet_ntop(a->value[2] == 4 ? AF_INET : AF_INET6, &a->value[3], ip, sizeof(ip));
	json_object(w, "destination");
	json_str(w, "ip", ip);
	if (a->value[1])
		json_u64(w, "port", a->value[1]);
	json_object_end(w);
	json_object(w, "network");
	if (name)
		json_str(w, "transport", name);
	json_str(w, "type", a->value[2] == 4 ? "ipv4" : "ipv6");
	json_object_end(w);
	say_reason(r, "listens on %s port %llu", ip, (unsigned long long)a->value[1]);
	if (name)
		say_reason(r, ", %s", name);
}

static void put_action(struct record *r, struct json_writer *w, const struct event *e,
		       const struct event_details *d)
{
	const struct action_event *a = &e->action;
	struct reason why = { .len = 0 };
	char code[16];

	json_object(w, RECORD_JSON_NAME);
	put_what(w, a, d, &why);
	put_target(w, d->target);
	put_cgroup(w, &a->task);
	json_object_end(w);
	if (a->kind == ACTED_LISTEN)
		put_socket(w, a, &why);
	if (a->error) {
		say_reason(&why, "; it failed: %s",
			   strerrordesc_np(a->error) ? strerrordesc_np(a->error) : "unknown error");
		json_object(w, "error");
		snprintf(code, sizeof(code), "%d", a->error);
		json_str(w, "code", code);
		json_object_end(w);
	}
	open_event(r, w, actions[a->kind].category, actions[a->kind].type, actions[a->kind].action);
	json_str(w, "outcome", a->error ? "failure" : "success");
	json_slice(w, "reason", (struct slice){ why.text, why.len });
	json_object_end(w);
	if (d->process) {
		record_put_process(r, w, d->process);
		record_put_container(r, w, &d->process->container);
	}
	if (a->task.pid)
		put_user(w, &a->task, a->task.uid, d);
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
	} else if (e->kind == EVENT_IS_ACTION) {
		put_action(r, &w, e, d);
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

/* ------------------------------------------------------------------ files */

/* The first one that happened is what it is called; in this order. */
static const struct {
	uint32_t change;
	const char *type, *action, *word, *text;
} changes[] = {
	{ FILE_DELETED, "deletion", "file-delete", "delete", "deleted" },
	{ FILE_MOVED, "deletion", "file-move", "move", "moved away" },
	{ FILE_CREATED, "creation", "file-create", "create", "created" },
	{ FILE_RENAMED, "change", "file-replace", "replace", "replaced by another file" },
	{ FILE_WRITTEN | FILE_CLOSED, "change", "file-write", "write", "written" },
	{ FILE_ATTRIBUTES, "change", "file-attributes", "attributes", "given other attributes" },
	{ 0, "change", "file-change", NULL, "changed" },
};
#define N_CHANGES (sizeof(changes) / sizeof(changes[0]))

/* What is there after all was not deleted for long. */
static size_t main_change(const struct file_event *e)
{
	size_t i = 0;

	while (i + 1 < N_CHANGES &&
	       (!(changes[i].change & e->changes) ||
		(e->there && changes[i].change & (FILE_DELETED | FILE_MOVED) &&
		 e->changes & ~(uint32_t)(FILE_DELETED | FILE_MOVED | FILE_ATTRIBUTES))))
		i++;
	return i;
}

static const char *file_type(mode_t mode)
{
	return S_ISREG(mode) ? "file" : S_ISDIR(mode) ? "dir" : S_ISLNK(mode) ? "symlink" : "other";
}

static void put_number(struct json_writer *w, const char *key, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
	json_str(w, key, text);
}

static void put_file(struct json_writer *w, const struct file_event *e,
		     const struct event_details *d)
{
	const char *slash = memrchr(e->path.p, '/', e->path.len);
	size_t at = slash ? (size_t)(slash - e->path.p) : 0;
	char mode[16];

	json_object(w, "file");
	json_slice(w, "path", e->path);
	json_slice(w, "name", (struct slice){ e->path.p + at + 1, e->path.len - at - 1 });
	json_slice(w, "directory", (struct slice){ e->path.p, at ? at : 1 });
	if (e->there) {
		json_str(w, "type", file_type(e->stat->st_mode));
		snprintf(mode, sizeof(mode), "%04o", e->stat->st_mode & 07777);
		json_str(w, "mode", mode);
		put_number(w, "uid", e->stat->st_uid);
		put_number(w, "gid", e->stat->st_gid);
		put_text(w, "owner", d->owner_name);
		put_number(w, "inode", e->stat->st_ino);
		json_u64(w, "size", (uint64_t)e->stat->st_size);
		json_time_us(w, "mtime",
			     (uint64_t)e->stat->st_mtim.tv_sec * 1000000 +
				     (uint64_t)e->stat->st_mtim.tv_nsec / 1000);
	}
	json_object_end(w);
}

int events_record_file(struct record *r, const struct file_event *e, const struct event_details *d,
		       struct msg *ret)
{
	uint64_t from_us = e->unseen_us ? e->unseen_us : record_real_us(r, e->first_ns);
	size_t what = main_change(e);
	struct reason why = { .len = 0 };
	struct json_writer w;

	say_reason(&why, "%.*s %s", TEXT(e->path), changes[what].text);
	if (e->unseen_us)
		say_reason(&why, " while nobody watched");
	else if (d->process && d->process->name.len)
		say_reason(&why, " by %.*s (pid %u)", TEXT(d->process->name), e->task.pid);
	else if (e->task.pid)
		say_reason(&why, " by pid %u", e->task.pid);

	record_begin(r, &w, from_us);
	open_event(r, &w, "file", changes[what].type, changes[what].action);
	if (!e->unseen_us && e->last_ns > e->first_ns) {
		json_time_us(&w, "start", from_us);
		json_time_us(&w, "end", record_real_us(r, e->last_ns));
	}
	json_str(&w, "outcome", "success");
	json_slice(&w, "reason", (struct slice){ why.text, why.len });
	json_object_end(&w);
	put_file(&w, e, d);
	json_object(&w, RECORD_JSON_NAME);
	json_object(&w, "file");
	if (e->changes) {
		json_array(&w, "changes");
		for (size_t i = 0; i < N_CHANGES; i++)
			if (changes[i].change & e->changes)
				json_str(&w, NULL, changes[i].word);
		json_array_end(&w);
		json_u64(&w, "notices", e->notices);
	}
	if (e->unseen_us)
		json_time_us(&w, "not_watched_since", e->watched_until_us);
	json_object_end(&w);
	put_cgroup(&w, &e->task);
	json_object_end(&w);
	if (d->process) {
		record_put_process(r, &w, d->process);
		record_put_container(r, &w, &d->process->container);
	}
	if (e->has_ids)
		put_user(&w, &e->task, e->task.uid, d);
	json_object_end(&w);
	if (!json_len(&w))
		return -EMSGSIZE;
	*ret = (struct msg){
		.seq = r->seq,
		.time_us = from_us,
		.class = MSG_KERNEL,
		.pri = FACILITY_AUTHPRIV | SEVERITY_NOTICE,
		.host = r->hostname,
		.app = SLICE(RECORD_NAME),
		.json = { r->json, json_len(&w) },
	};
	return 0;
}
