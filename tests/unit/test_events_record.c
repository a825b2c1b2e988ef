/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel events as records, read by another parser than the one that wrote them. */
#define _GNU_SOURCE
#include "user/events_record.h"

#include "tests/lib/test.h"

#include "tests/lib/json.h"
#include "user/file_watch.h"

#define BOOT_REAL_NS 1795392000000000000ll

static struct record *r;

static struct json_c_object *record_of(const struct event *e, const struct event_details *d,
				       struct msg *m)
{
	const struct record_opts opts = { .hostname = SLICE("web-1"), .epoch = 1 };

	if (!r && record_new(&opts, &r) < 0)
		abort();
	r->seq = 7;
	r->boot_to_real_ns = BOOT_REAL_NS;
	CHECK_INT(events_record_format(r, e, d, m), 0);
	CHECK_INT(m->class, MSG_KERNEL);
	CHECK_INT(m->seq, 7);
	return json_of(m->json.p, m->json.len);
}

static struct json_c_object *file_of(const struct file_event *e, const struct event_details *d)
{
	const struct record_opts opts = { .hostname = SLICE("web-1"), .epoch = 1 };
	struct msg m;

	if (!r && record_new(&opts, &r) < 0)
		abort();
	r->boot_to_real_ns = BOOT_REAL_NS;
	CHECK_INT(events_record_file(r, e, d, &m), 0);
	CHECK_INT(m.class, MSG_KERNEL);
	return json_of(m.json.p, m.json.len);
}

static const struct process_info info = {
	.pid = 77,
	.start_ns = 1000000000,
	.name = { "ls", 2 },
	.executable = { "/usr/bin/ls", 11 },
	.args = { "ls\0-l", 5 },
	.command_line = { "ls -l", 5 },
	.parent = { .pid = 70, .name = { "bash", 4 }, .executable = { "/bin/bash", 9 } },
};

static struct event exec_of(void)
{
	return (struct event){
		.kind = EVENT_IS_EXEC,
		.boot_ns = 1500000000,
		.exec = { .task = { .pid = 77, .uid = 1000, .gid = 100, .cgroup_id = 5 },
			  .euid = 1000,
			  .egid = 100,
			  .path = SLICE("/usr/bin/ls"),
			  .file = SLICE("ls"),
			  .cwd = SLICE("/tmp"),
			  .args_total = 6 },
	};
}

TEST(an_exec)
{
	const struct event_details d = { .process = &info, .user_name = SLICE("mia") };
	struct event e = exec_of();
	struct json_c_object *o;
	struct msg m;

	o = record_of(&e, &d, &m);
	CHECK(json_is(o, "@timestamp", "'2026-11-23T00:00:01.500000Z"));
	CHECK(json_is(o, "event.id", "'0000000000000001-7"));
	CHECK(json_is(o, "event.kind", "'event"));
	CHECK(json_is(o, "event.category", "[\"process\"]"));
	CHECK(json_is(o, "event.type", "[\"start\"]"));
	CHECK(json_is(o, "event.action", "'exec"));
	CHECK(json_is(o, "process.pid", "77"));
	CHECK(json_is(o, "process.executable", "'/usr/bin/ls"));
	CHECK(json_is(o, "process.args", "[\"ls\",\"-l\"]"));
	CHECK(json_is(o, "process.command_line", "'ls -l"));
	CHECK(json_is(o, "process.working_directory", "'/tmp"));
	CHECK(json_is(o, "process.parent.pid", "70"));
	CHECK(json_is(o, "process.parent.executable", "'/bin/bash"));
	CHECK(json_is(o, "user.id", "'1000"));
	CHECK(json_is(o, "user.name", "'mia"));
	CHECK(json_is(o, "user.group.id", "'100"));
	CHECK(json_is(o, "user.effective", NULL));
	CHECK(json_is(o, "sekoia_ebpf.exec.file", "'ls"));
	CHECK(json_is(o, "sekoia_ebpf.exec.script", NULL));
	CHECK(json_is(o, "sekoia_ebpf.exec.args_cut", NULL));
	CHECK(json_is(o, "sekoia_ebpf.cgroup_id", "5"));
	CHECK_INT(m.pri, 10 * 8 + 6);
	json_object_put(o);
}

TEST(an_exec_with_all_its_marks)
{
	const struct event_details d = { .process = &info,
					 .user_name = SLICE("mia"),
					 .effective_name = SLICE("root") };
	struct event e = exec_of();
	struct json_c_object *o;
	struct msg m;

	e.exec.euid = 0;
	e.exec.script = e.exec.memfd = e.exec.deleted = e.exec.privileged = true;
	e.exec.args_cut = e.exec.path_cut = e.exec.cwd_cut = true;
	e.exec.environment_cut = true;
	e.exec.environment = (struct slice){ "HOME\0PATH", 10 };
	e.exec.args_total = 10006;
	e.exec.args = (struct slice){ "ls\0-l", 6 };
	o = record_of(&e, &d, &m);
	CHECK(json_is(o, "user.effective.id", "'0"));
	CHECK(json_is(o, "user.effective.name", "'root"));
	CHECK(json_is(o, "sekoia_ebpf.exec.script", "true"));
	CHECK(json_is(o, "sekoia_ebpf.exec.memfd", "true"));
	CHECK(json_is(o, "sekoia_ebpf.exec.deleted", "true"));
	CHECK(json_is(o, "sekoia_ebpf.exec.privileged", "true"));
	CHECK(json_is(o, "sekoia_ebpf.exec.args_cut", "10000"));
	CHECK(json_is(o, "sekoia_ebpf.exec.path_cut", "true"));
	CHECK(json_is(o, "sekoia_ebpf.exec.working_directory_cut", "true"));
	CHECK(json_is(o, "sekoia_ebpf.exec.environment", "[\"HOME\",\"PATH\"]"));
	CHECK(json_is(o, "sekoia_ebpf.exec.environment_cut", "true"));
	CHECK_INT(m.pri, 10 * 8 + 5);
	json_object_put(o);
}

TEST(an_exit)
{
	const struct event_details d = { .process = &info, .page_bytes = 4096 };
	struct event e = {
		.kind = EVENT_IS_EXIT,
		.boot_ns = 1500000000,
		.exit = { .task = { .pid = 77, .start_ns = 1000000000 },
			  .cpu_ns = 5,
			  .max_rss_pages = 3,
			  .status = 2 },
	};
	struct json_c_object *o;
	struct msg m;

	o = record_of(&e, &d, &m);
	CHECK(json_is(o, "event.type", "[\"end\"]"));
	CHECK(json_is(o, "event.action", "'exit"));
	CHECK(json_is(o, "event.duration", "500000000"));
	CHECK(json_is(o, "process.exit_code", "2"));
	CHECK(json_is(o, "process.end", "'2026-11-23T00:00:01.500000Z"));
	CHECK(json_is(o, "sekoia_ebpf.exit.cpu_ns", "5"));
	CHECK(json_is(o, "sekoia_ebpf.exit.max_memory_bytes", "12288"));
	CHECK(json_is(o, "sekoia_ebpf.exit.signal", NULL));
	json_object_put(o);

	e.exit.signal = 11;
	e.exit.core = true;
	o = record_of(&e, &d, &m);
	CHECK(json_is(o, "process.exit_code", "139"));
	CHECK(json_is(o, "sekoia_ebpf.exit.signal.number", "11"));
	CHECK(json_is(o, "sekoia_ebpf.exit.signal.name", "'SIGSEGV"));
	CHECK(json_is(o, "sekoia_ebpf.exit.core_dumped", "true"));
	json_object_put(o);
}

TEST(each_action_in_words)
{
	static const struct {
		enum action_kind kind;
		uint64_t value[5];
		const char *text[3];
		int error;
		const char *category, *action, *reason;
	} cases[] = {
		{ ACTED_MODULE_LOAD,
		  { 1 << 12 | 1 << 13 },
		  { "evil" },
		  0,
		  "driver",
		  "module-load",
		  "module evil loaded, which taints the kernel: OE" },
		{ ACTED_MODULE_UNLOAD,
		  { 0 },
		  { "evil" },
		  0,
		  "driver",
		  "module-unload",
		  "module evil unloaded" },
		{ ACTED_OOM_KILL,
		  { 0 },
		  { NULL },
		  0,
		  "process",
		  "oom-kill",
		  "out of memory: the kernel kills victim (pid 88)" },
		{ ACTED_SIGNAL,
		  { 9 },
		  { NULL },
		  0,
		  "process",
		  "signal",
		  "SIGKILL for victim (pid 88)" },
		{ ACTED_SIGNAL,
		  { 40 },
		  { NULL },
		  0,
		  "process",
		  "signal",
		  "signal 40 for victim (pid 88)" },
		{ ACTED_PTRACE,
		  { 16, 5 },
		  { NULL },
		  1,
		  "process",
		  "ptrace",
		  "ptrace: victim (pid 88); it failed: Operation not permitted" },
		{ ACTED_BPF_PROGRAM,
		  { 2 },
		  { "prog" },
		  0,
		  "driver",
		  "bpf-program-load",
		  "BPF program prog of type kprobe" },
		{ ACTED_BPF_MAP, { 999 }, { "" }, 0, "driver", "bpf-map-create", "BPF map " },
		{ ACTED_MOUNT,
		  { 4096 | 16384 },
		  { "/a", "/b", "" },
		  0,
		  "host",
		  "mount",
		  "/a mounted on /b: bind, recursive" },
		{ ACTED_MOUNT,
		  { 0xc0ed0001 },
		  { "none", "/b", "tmpfs" },
		  2,
		  "host",
		  "mount",
		  "none mounted on /b, tmpfs: read-only; it failed: No such file or directory" },
		{ ACTED_UNMOUNT, { 0 }, { "/b" }, 0, "host", "unmount", "/b unmounted" },
		{ ACTED_UNSHARE,
		  { 0x10000000 | 0x20000 },
		  { NULL },
		  0,
		  "process",
		  "unshare",
		  "new namespaces: mount, user" },
		{ ACTED_SETNS,
		  { 0 },
		  { NULL },
		  0,
		  "process",
		  "setns",
		  "enters namespaces of others" },
		{ ACTED_CLONE,
		  { 0x40000000 },
		  { NULL },
		  0,
		  "process",
		  "clone-namespaces",
		  "new process in new namespaces: network" },
		{ ACTED_SET_USER,
		  { 1, 2, 3 },
		  { NULL },
		  0,
		  "process",
		  "set-user",
		  "user is now 1, effective 2, saved 3" },
		{ ACTED_SET_GROUP,
		  { 1, 2, 3 },
		  { NULL },
		  0,
		  "process",
		  "set-group",
		  "group is now 1, effective 2, saved 3" },
		{ ACTED_LISTEN,
		  { 6, 443, 4, 0x0100007f },
		  { NULL },
		  0,
		  "network",
		  "listen",
		  "listens on 127.0.0.1 port 443, tcp" },
	};
	const struct process_info victim = { .pid = 88, .name = SLICE("victim") };
	const struct event_details d = { .process = &info, .target = &victim };

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct event e = {
			.kind = EVENT_IS_ACTION,
			.action = { .kind = cases[i].kind,
				    .error = cases[i].error,
				    .task = { .pid = 77, .uid = 5 } },
		};
		struct json_c_object *o;
		char want[200];
		struct msg m;

		memcpy(e.action.value, cases[i].value, sizeof(e.action.value));
		for (int t = 0; t < 3 && cases[i].text[t]; t++)
			e.action.text[t] = slice_of(cases[i].text[t]);
		o = record_of(&e, &d, &m);
		snprintf(want, sizeof(want), "'%s", cases[i].reason);
		if (!json_is(o, "event.reason", want))
			printf("# %.*s\n", (int)m.json.len, m.json.p);
		CHECK(json_is(o, "event.reason", want));
		snprintf(want, sizeof(want), "'%s", cases[i].action);
		CHECK(json_is(o, "event.action", want));
		snprintf(want, sizeof(want), "[\"%s\"]", cases[i].category);
		CHECK(json_is(o, "event.category", want));
		CHECK(json_is(o, "event.outcome", cases[i].error ? "'failure" : "'success"));
		CHECK(json_is(o, "user.id", "'5"));
		json_object_put(o);
	}
}

TEST(files)
{
	const struct event_details d = { .process = &info,
					 .user_name = SLICE("mia"),
					 .owner_name = SLICE("root") };
	const struct stat st = { .st_mode = S_IFREG | 0640,
				 .st_uid = 0,
				 .st_gid = 42,
				 .st_size = 1234,
				 .st_ino = 99,
				 .st_mtim = { .tv_sec = BOOT_REAL_NS / 1000000000 } };
	struct file_event e = { .path = SLICE("/etc/shadow"),
				.changes = FILE_CREATED | FILE_WRITTEN | FILE_CLOSED,
				.notices = 7,
				.first_ns = 1500000000,
				.last_ns = 2500000000,
				.there = true,
				.stat = &st,
				.task = { .pid = 77, .uid = 1000, .gid = 100, .cgroup_id = 5 },
				.has_ids = true };
	static const struct {
		uint32_t changes;
		bool there;
		const char *action, *type, *words;
	} rows[] = {
		{ FILE_CREATED | FILE_ATTRIBUTES, true, "file-create", "creation",
		  "[\"create\",\"attributes\"]" },
		{ FILE_RENAMED | FILE_ATTRIBUTES, true, "file-replace", "change",
		  "[\"replace\",\"attributes\"]" },
		{ FILE_WRITTEN, true, "file-write", "change", "[\"write\"]" },
		{ FILE_CLOSED, true, "file-write", "change", "[\"write\"]" },
		{ FILE_ATTRIBUTES, true, "file-attributes", "change", "[\"attributes\"]" },
		{ FILE_CREATED | FILE_DELETED, false, "file-delete", "deletion",
		  "[\"delete\",\"create\"]" },
		{ FILE_CREATED | FILE_DELETED, true, "file-create", "creation",
		  "[\"delete\",\"create\"]" },
		{ FILE_MOVED, false, "file-move", "deletion", "[\"move\"]" },
		{ FILE_DELETED, true, "file-delete", "deletion", "[\"delete\"]" },
	};
	struct json_c_object *o = file_of(&e, &d);

	CHECK(json_is(o, "@timestamp", "'2026-11-23T00:00:01.500000Z"));
	CHECK(json_is(o, "event.category", "[\"file\"]"));
	CHECK(json_is(o, "event.reason", "'/etc/shadow created by ls (pid 77)"));
	CHECK(json_is(o, "event.end", "'2026-11-23T00:00:02.500000Z"));
	CHECK(json_is(o, "file.path", "'/etc/shadow"));
	CHECK(json_is(o, "file.name", "'shadow"));
	CHECK(json_is(o, "file.directory", "'/etc"));
	CHECK(json_is(o, "file.type", "'file"));
	CHECK(json_is(o, "file.mode", "'0640"));
	CHECK(json_is(o, "file.gid", "'42"));
	CHECK(json_is(o, "file.owner", "'root"));
	CHECK(json_is(o, "file.size", "1234"));
	CHECK(json_is(o, "file.mtime", "'2026-11-23T00:00:00.000000Z"));
	CHECK(json_is(o, "process.pid", "77"));
	CHECK(json_is(o, "user.name", "'mia"));
	CHECK(json_is(o, "sekoia_ebpf.file.notices", "7"));
	CHECK(json_is(o, "sekoia_ebpf.cgroup_id", "5"));
	json_object_put(o);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char want[64];

		e.changes = rows[i].changes;
		e.there = rows[i].there;
		o = file_of(&e, &d);
		snprintf(want, sizeof(want), "'%s", rows[i].action);
		CHECK(json_is(o, "event.action", want));
		snprintf(want, sizeof(want), "[\"%s\"]", rows[i].type);
		CHECK(json_is(o, "event.type", want));
		CHECK(json_is(o, "sekoia_ebpf.file.changes", rows[i].words));
		CHECK(json_is(o, "file.size", rows[i].there ? "1234" : NULL));
		json_object_put(o);
	}
}

TEST(a_file_that_nobody_watched)
{
	const struct event_details d = { .process = NULL };
	const struct stat st = { .st_mode = S_IFREG };
	const struct file_event e = { .path = SLICE("/x"),
				      .there = true,
				      .stat = &st,
				      .unseen_us = BOOT_REAL_NS / 1000 + 5,
				      .watched_until_us = BOOT_REAL_NS / 1000 };
	struct json_c_object *o = file_of(&e, &d);

	CHECK(json_is(o, "@timestamp", "'2026-11-23T00:00:00.000005Z"));
	CHECK(json_is(o, "event.action", "'file-change"));
	CHECK(json_is(o, "event.reason", "'/x changed while nobody watched"));
	CHECK(json_is(o, "file.directory", "'/"));
	CHECK(json_is(o, "file.name", "'x"));
	CHECK(json_is(o, "sekoia_ebpf.file.not_watched_since", "'2026-11-23T00:00:00.000000Z"));
	CHECK(json_is(o, "process", NULL));
	CHECK(json_is(o, "user", NULL));
	json_object_put(o);
}

/* The worst that a sample can hold, escaped at its longest, is still a record. */
TEST(the_longest_of_all_in_control_characters)
{
	static char ugly[8192];
	struct process_info p = info;
	const struct event_details d = { .process = &p };
	struct event e = exec_of();
	struct json_c_object *o;
	struct msg m;

	memset(ugly, 1, sizeof(ugly));
	p.args = p.command_line = (struct slice){ ugly, sizeof(ugly) };
	p.name = p.executable = (struct slice){ ugly, 1024 };
	p.parent.executable = p.parent.name = (struct slice){ ugly, 4096 };
	p.parent.command_line = (struct slice){ ugly, 1024 };
	e.exec.cwd = e.exec.file = (struct slice){ ugly, 1024 };
	o = record_of(&e, &d, &m);
	CHECK(o != NULL);
	json_object_put(o);
	record_free(r);
	r = NULL;
}
