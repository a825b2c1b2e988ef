/* SPDX-License-Identifier: Apache-2.0 */
/* The process cache against a /proc of our own making. */
#define _GNU_SOURCE
#include "user/process.h"

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tests/lib/test.h"

#define SECOND	  1000000000ull
#define DOCKER_ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static char root[64];

static void begin(void)
{
	strcpy(root, "/tmp/test_process.XXXXXX");
	if (!mkdtemp(root))
		abort();
}

static int remove_one(const char *p, const struct stat *st, int type, struct FTW *w)
{
	(void)st, (void)type, (void)w;
	return remove(p);
}

static void end(void)
{
	nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void put(int pid, const char *name, const char *text, size_t len)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%d", root, pid);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%d/%s", root, pid, name);
	f = fopen(path, "we");
	if (!f || fwrite(text, 1, len, f) != len || fclose(f) != 0)
		abort();
}

/* args: a literal with NULs; its own last one is the end of the last argument. */
static void put_process(int pid, int ppid, const char *comm, char state, uint64_t ticks,
			const char *exe, const char *args, size_t args_len, const char *cgroup)
{
	char text[512], path[128];

	snprintf(text, sizeof(text),
		 "%d (%s) %c %d 1 1 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 1 0 %llu 1000 200 1844 0\n",
		 pid, comm, state, ppid, (unsigned long long)ticks);
	put(pid, "stat", text, strlen(text));
	put(pid, "cmdline", args, args_len);
	put(pid, "cgroup", cgroup, strlen(cgroup));
	snprintf(path, sizeof(path), "%s/%d/exe", root, pid);
	unlink(path);
	if (exe && symlink(exe, path) < 0)
		abort();
}

static void remove_process(int pid)
{
	static const char *const names[] = { "stat", "cmdline", "cgroup", "exe", "" };
	char path[128];

	for (int i = 0; i < 5; i++) {
		snprintf(path, sizeof(path), "%s/%d/%s", root, pid, names[i]);
		remove(path);
	}
}

static void put_curl(void)
{
	static const char args[] = "curl\0-o\0out file";

	put_process(10, 1, "systemd", 'S', 1, "/usr/lib/systemd/systemd", "/sbin/init", 11,
		    "0::/init.scope\n");
	put_process(4782, 10, "bash", 'S', 5000, "/usr/bin/bash", "-bash", 6,
		    "0::/user.slice/user-1000.slice/session-4.scope\n");
	put_process(4784, 4782, "curl) x", 'R', 10025, "/usr/bin/curl", args, sizeof(args),
		    "0::/system.slice/docker-" DOCKER_ID ".scope\n");
}

static struct task_ref curl(void)
{
	struct task_ref t = { .pid = 4784,
			      .ppid = 4782,
			      .start_ns = 100 * SECOND + 253000000,
			      .cgroup_id = 99,
			      .comm = "curl" };

	return t;
}

static struct process_cache *cache_of(struct process_opts opts)
{
	struct process_cache *c;

	opts.procfs = root;
	if (process_cache_new(&opts, &c) < 0)
		abort();
	return c;
}

static void check_slice(struct slice s, const char *want, int line)
{
	/* An empty one may point nowhere. */
	if (want[0] ? slice_is(s, want) : !s.len)
		return;
	printf("# line %d: \"%.*s\", not \"%s\"\n", line, (int)s.len, s.p ? s.p : "", want);
	test_failed = true;
}

#define CHECK_SLICE(s, want) check_slice(s, want, __LINE__)

TEST(all_that_proc_knows)
{
	_cleanup_(process_cache_freep) struct process_cache *c = NULL;
	struct task_ref ref = curl();
	const struct process_info *p;
	struct process_stats s;

	begin();
	put_curl();
	c = cache_of((struct process_opts){ 0 });
	p = process_find(c, &ref, 0, 0);
	CHECK_INT(p->pid, 4784);
	CHECK(p->start_ns == ref.start_ns);
	CHECK_SLICE(p->name, "curl");
	CHECK_SLICE(p->executable, "/usr/bin/curl");
	CHECK_INT(p->args.len, 16);
	CHECK(memcmp(p->args.p, "curl\0-o\0out file", 16) == 0);
	CHECK_SLICE(p->command_line, "curl -o out file");
	CHECK(!p->args_cut && !p->deleted && !p->gone);
	CHECK_INT(p->parent.pid, 4782);
	CHECK_SLICE(p->parent.name, "bash");
	CHECK_SLICE(p->parent.executable, "/usr/bin/bash");
	CHECK_SLICE(p->parent.command_line, "-bash");
	CHECK_STR(p->container.id, DOCKER_ID);
	CHECK_STR(p->container.runtime, "docker");
	CHECK_STR(p->container.unit, "docker-" DOCKER_ID ".scope");

	/* The second time nothing is read: it is no longer there to be read. */
	remove_process(4784);
	p = process_find(c, &ref, 0, 1);
	CHECK_SLICE(p->executable, "/usr/bin/curl");
	process_get_stats(c, &s);
	CHECK_INT(s.hits, 1);
	CHECK_INT(s.misses, 1);
	CHECK_INT(s.entries, 1);
	end();
}

TEST(a_pid_that_was_given_again)
{
	/* Off by more than a tick of 10 ms, in either direction, is another process. */
	static const struct {
		int64_t off_ms;
		bool same;
	} cases[] = { { 0, true },    { 9, true },     { -9, true },	{ 25, false },
		      { -25, false }, { 5000, false }, { -5000, false } };

	begin();
	put_curl();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		_cleanup_(process_cache_freep) struct process_cache *c =
			cache_of((struct process_opts){ 0 });
		struct task_ref ref = curl();
		const struct process_info *p;
		struct process_stats s;

		ref.start_ns = (uint64_t)((int64_t)ref.start_ns + cases[i].off_ms * 1000000);
		p = process_find(c, &ref, 0, 0);
		CHECK_INT(p->gone, !cases[i].same);
		CHECK_SLICE(p->executable, cases[i].same ? "/usr/bin/curl" : "");
		CHECK_SLICE(p->name, "curl");
		process_get_stats(c, &s);
		CHECK_INT(s.reused, !cases[i].same);
	}
	end();
}

TEST(both_owners_of_one_pid)
{
	_cleanup_(process_cache_freep) struct process_cache *c = NULL;
	struct task_ref first = curl(), second = curl();
	const struct process_info *p;

	begin();
	put_curl();
	c = cache_of((struct process_opts){ 0 });
	process_find(c, &first, 0, 0);
	put_process(4784, 1, "wget", 'R', 20000, "/usr/bin/wget", "wget", 5, "0::/\n");
	second.start_ns = 200 * SECOND;
	strcpy(second.comm, "wget");
	p = process_find(c, &second, 0, 1);
	CHECK_SLICE(p->executable, "/usr/bin/wget");
	p = process_find(c, &first, 0, 2);
	CHECK_SLICE(p->executable, "/usr/bin/curl");
	end();
}

static int lookup(void *arg, uint32_t pid, uint64_t start_ns, struct process_exec *ret)
{
	static const char args[] = "/opt/x/tool\0--fast";

	*(int *)arg += 1;
	if (pid != 4784 || start_ns != 100 * SECOND + 253000000)
		return -ENOENT;
	strcpy(ret->filename, "/opt/x/tool");
	memcpy(ret->args, args, sizeof(args));
	ret->args_len = sizeof(args);
	ret->ppid = 4782;
	return 0;
}

TEST(gone_but_seen_at_exec)
{
	_cleanup_(process_cache_freep) struct process_cache *c = NULL;
	struct task_ref ref = curl();
	const struct process_info *p;
	struct process_stats s;
	int asked = 0;

	begin();
	put_curl();
	c = cache_of((struct process_opts){ .lookup = lookup, .lookup_arg = &asked });
	/* A sibling in the same control group tells where it lived. */
	process_find(c, &ref, 0, 0);
	CHECK_INT(asked, 0);
	remove_process(4784);
	ref.start_ns += 5 * SECOND;
	ref.ppid = 0;
	p = process_find(c, &ref, 0, 0);
	CHECK_INT(asked, 1);
	CHECK(p->gone);
	CHECK_SLICE(p->name, "curl"); /* nobody saw it: what the event says */
	CHECK_SLICE(p->executable, "");
	CHECK_STR(p->container.id, DOCKER_ID);
	CHECK_INT(p->parent.pid, 0);

	process_cache_free(TAKE_PTR(c));
	c = cache_of((struct process_opts){ .lookup = lookup, .lookup_arg = &asked });
	ref = curl();
	ref.ppid = 0;
	p = process_find(c, &ref, 0, 0);
	CHECK(p->gone);
	CHECK_SLICE(p->name, "tool");
	CHECK_SLICE(p->executable, "/opt/x/tool");
	CHECK_SLICE(p->command_line, "/opt/x/tool --fast");
	CHECK_INT(p->parent.pid, 4782);
	CHECK_SLICE(p->parent.name, "bash");
	CHECK_STR(p->container.id, "");
	/* It stays gone: asked once. */
	process_find(c, &ref, 0, 60000);
	CHECK_INT(asked, 2);
	process_get_stats(c, &s);
	CHECK_INT(s.gone, 1);
	CHECK_INT(s.from_exec, 1);
	CHECK_INT(s.hits, 1);
	end();
}

TEST(odd_processes)
{
	_cleanup_(process_cache_freep) struct process_cache *c = NULL;
	struct task_ref ref = { .pid = 7, .start_ns = 10 * SECOND };
	const struct process_info *p;
	static char big[PROCESS_ARGS_MAX + 100];

	begin();
	c = cache_of((struct process_opts){ 0 });
	/* A kernel thread: no executable, no arguments. */
	put_process(7, 2, "kworker/0:1-(x)", 'I', 1000, NULL, "", 0, "0::/\n");
	p = process_find(c, &ref, 0, 0);
	CHECK_SLICE(p->name, "kworker/0:1-(x)");
	CHECK_SLICE(p->executable, "");
	CHECK_SLICE(p->command_line, "");
	CHECK(!p->gone);

	/* An executable that is no more. */
	put_process(8, 2, "old", 'S', 1000, "/usr/bin/old (deleted)", "old", 4, "0::/\n");
	ref.pid = 8;
	p = process_find(c, &ref, 0, 0);
	CHECK_SLICE(p->executable, "/usr/bin/old");
	CHECK_SLICE(p->name, "old");
	CHECK(p->deleted);

	/* A title written over the arguments. */
	put_process(9, 2, "nginx", 'S', 1000, "/usr/sbin/nginx", "nginx: master\0\0\0\0", 17,
		    "0::/\n");
	ref.pid = 9;
	p = process_find(c, &ref, 0, 0);
	CHECK_SLICE(p->command_line, "nginx: master");

	/* More arguments than we keep. */
	memset(big, 'a', sizeof(big));
	put_process(11, 2, "big", 'S', 1000, "/bin/big", big, sizeof(big), "0::/\n");
	ref.pid = 11;
	p = process_find(c, &ref, 0, 0);
	CHECK_INT(p->args.len, PROCESS_ARGS_MAX);
	CHECK(p->args_cut);

	/* A zombie. */
	put_process(12, 2, "dead", 'Z', 1000, NULL, "", 0, "0::/\n");
	ref.pid = 12;
	p = process_find(c, &ref, 0, 0);
	CHECK(p->gone);
	CHECK_SLICE(p->name, "dead");

	/* A parent that is younger than its child is not its parent. */
	put_process(13, 14, "child", 'S', 1000, "/bin/child", "c", 2, "0::/\n");
	put_process(14, 1, "imposter", 'S', 2000, "/bin/imposter", "i", 2, "0::/\n");
	ref.pid = 13;
	p = process_find(c, &ref, 0, 0);
	CHECK_INT(p->parent.pid, 14);
	CHECK_SLICE(p->parent.name, "");
	end();
}

TEST(stat_files_that_are_not)
{
	static const char *const texts[] = {
		"",
		"5",
		"5 (x",
		"5 (x)",
		"5 (x) S",
		"5 (x) S 1 1 1",
		"5 (x) S a 1 1 0 -1 1 1 0 0 0 5 6 0 0 20 0 1 0 1000 1",
		"5 (x) S 1 1 1 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 1 0 x 1",
		"5 (x) S 1 1 1 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 1 0 99999999999999999999999 1",
	};

	begin();
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		_cleanup_(process_cache_freep) struct process_cache *c =
			cache_of((struct process_opts){ 0 });
		struct task_ref ref = { .pid = 5, .start_ns = 10 * SECOND, .comm = "x" };

		put(5, "stat", texts[i], strlen(texts[i]));
		CHECK(process_find(c, &ref, 0, 0)->gone);
	}
	end();
}

TEST(another_program_in_the_same_process)
{
	_cleanup_(process_cache_freep) struct process_cache *c = NULL;
	struct task_ref ref = curl();
	const struct process_info *p;
	struct process_stats s;

	begin();
	put_curl();
	c = cache_of((struct process_opts){ 0 });
	process_find(c, &ref, 0, 0);
	put_process(4784, 4782, "wget", 'R', 10025, "/usr/bin/wget", "wget", 5, "0::/\n");
	strcpy(ref.comm, "wget");
	p = process_find(c, &ref, 0, 1);
	CHECK_SLICE(p->executable, "/usr/bin/wget");
	/* Its threads' names are not worth more than a few looks a second. */
	for (unsigned i = 0; i < 100; i++) {
		snprintf(ref.comm, sizeof(ref.comm), "t-%u", i);
		process_find(c, &ref, 0, 2);
	}
	process_get_stats(c, &s);
	CHECK(s.reread >= 2 && s.reread < 20);
	end();
}

TEST(start_not_known)
{
	_cleanup_(process_cache_freep) struct process_cache *c = NULL;
	struct task_ref ref = { .pid = 4784 };
	const struct process_info *p;

	begin();
	put_curl();
	c = cache_of((struct process_opts){ 0 });
	/* It had started when the message was read: it is the sender. */
	p = process_find(c, &ref, 150 * SECOND, 0);
	CHECK_SLICE(p->executable, "/usr/bin/curl");
	CHECK(p->start_ns == 10025 * (SECOND / 100));
	/* A message from before that is somebody else's: known to the cache, or not. */
	p = process_find(c, &ref, 90 * SECOND, 1);
	CHECK_SLICE(p->executable, "");
	CHECK(p->gone);
	p = process_find(c, &ref, 90 * SECOND, 5000);
	CHECK(p->gone);
	p = process_find(c, &ref, 150 * SECOND, 5001);
	CHECK_SLICE(p->executable, "/usr/bin/curl");
	/* After a second the answer is looked at again. */
	put_process(4784, 1, "wget", 'R', 20000, "/usr/bin/wget", "wget", 5, "0::/\n");
	p = process_find(c, &ref, 300 * SECOND, 5500);
	CHECK_SLICE(p->executable, "/usr/bin/curl");
	p = process_find(c, &ref, 300 * SECOND, 6100);
	CHECK_SLICE(p->executable, "/usr/bin/wget");
	/* Nobody. */
	ref.pid = 0;
	CHECK_INT(process_find(c, &ref, 0, 0)->pid, 0);
	end();
}

TEST(ceilings)
{
	_cleanup_(process_cache_freep) struct process_cache *c = NULL;
	const struct process_info *first, *second;
	struct process_stats s;

	begin();
	c = cache_of((struct process_opts){ .max_entries = 16, .max_bytes = 1000 });
	for (int i = 0; i < 200; i++) {
		char exe[64], args[64];

		snprintf(exe, sizeof(exe), "/usr/bin/program-%d", i);
		snprintf(args, sizeof(args), "program-%d", i);
		put_process(100 + i, 1, "x", 'S', 1000, exe, args, strlen(args), "0::/\n");
	}
	for (int i = 0; i < 200; i++) {
		struct task_ref a = { .pid = (uint32_t)(100 + i), .start_ns = 10 * SECOND };
		struct task_ref b = { .pid = (uint32_t)(100 + (i * 7) % 200),
				      .start_ns = 10 * SECOND };
		char want[64];

		/* Two answers are good at the same time. */
		first = process_find(c, &a, 0, 0);
		second = process_find(c, &b, 0, 0);
		snprintf(want, sizeof(want), "/usr/bin/program-%d", i);
		CHECK_SLICE(first->executable, want);
		snprintf(want, sizeof(want), "/usr/bin/program-%d", (i * 7) % 200);
		CHECK_SLICE(second->executable, want);
		process_get_stats(c, &s);
		CHECK(s.entries <= 16);
		CHECK(s.bytes <= 1000);
	}
	CHECK(s.evictions > 300);
	CHECK_INT(s.hits + s.misses, 400);
	end();
}

TEST(one_that_does_not_fit_at_all)
{
	_cleanup_(process_cache_freep) struct process_cache *c = NULL;
	struct task_ref ref = curl();
	const struct process_info *p;
	struct process_stats s;

	begin();
	put_curl();
	c = cache_of((struct process_opts){ .max_entries = 4, .max_bytes = 10 });
	p = process_find(c, &ref, 0, 0);
	CHECK_INT(p->pid, 4784);
	CHECK_SLICE(p->name, "curl");
	CHECK_SLICE(p->executable, "");
	process_get_stats(c, &s);
	CHECK_INT(s.bytes, 0);
	CHECK_INT(s.entries, 0);
	end();
}

static int find_cgroup(void *arg, uint64_t cgroup_id, char *ret, size_t size)
{
	int *asked = arg;

	++*asked;
	if (cgroup_id != 99)
		return -ENOENT;
	snprintf(ret, size, "/system.slice/before.service");
	return 0;
}

/* It executed a program, moved, and ended: the program is known, and so is where it was last. */
TEST(moved_after_its_exec)
{
	int asked = 0;
	_cleanup_(process_cache_freep) struct process_cache *c = NULL;
	struct process_info info = { .pid = 4784, .name = SLICE("curl") };
	struct task_ref ref = curl();
	const struct process_info *p;

	begin();
	c = cache_of(
		(struct process_opts){ .find_cgroup = find_cgroup, .find_cgroup_arg = &asked });
	ref.cgroup_id = 1;
	process_put(c, &ref, &info, 0);
	ref.cgroup_id = 99;
	p = process_find(c, &ref, 0, 1);
	CHECK_SLICE(p->name, "curl");
	CHECK_STR(p->container.unit, "before.service");
	end();
}

/* The number is of the moment of the event; /proc tells where it is now. */
TEST(a_cgroup_by_its_number)
{
	int asked = 0;
	_cleanup_(process_cache_freep) struct process_cache *c = NULL;
	struct task_ref ref = curl(), child = curl();
	struct container_info info;

	begin();
	put_curl();
	c = cache_of(
		(struct process_opts){ .find_cgroup = find_cgroup, .find_cgroup_arg = &asked });
	CHECK_STR(process_find(c, &ref, 0, 0)->container.unit, "before.service");
	/* Known from here on, also of those that are gone. */
	child.pid = 4785;
	CHECK_STR(process_find(c, &child, 0, 0)->container.unit, "before.service");
	process_find_container(c, &child, &info);
	CHECK_STR(info.unit, "before.service");
	CHECK_INT(asked, 1);
	/* Another number, which nobody knows: /proc. */
	ref.cgroup_id = 100;
	CHECK_STR(process_find(c, &ref, 0, 0)->container.unit, "docker-" DOCKER_ID ".scope");
	CHECK_INT(process_find_cgroup(c, 100, &info), 0);
	/* The root's is everybody's who is in v1's hierarchies. */
	ref.cgroup_id = 1;
	process_find(c, &ref, 0, 5000);
	CHECK_INT(process_find_cgroup(c, 1, &info), -ENOENT);
	/* With v1 beside it, /proc alone has all of it. */
	asked = 0;
	put(4784, "cgroup", "1:name=systemd:/system.slice/v1.service\n0::/x\n", 45);
	ref.cgroup_id = 101;
	CHECK_STR(process_find(c, &ref, 0, 9000)->container.unit, "v1.service");
	CHECK_INT(asked, 0);
	end();
}

TEST(no_proc)
{
	struct process_cache *c;

	CHECK_INT(process_cache_new(&(struct process_opts){ .procfs = "/nonexistent" }, &c),
		  -ENOENT);
}

TEST(ourselves)
{
	_cleanup_(process_cache_freep) struct process_cache *c = NULL;
	struct task_ref ref = { .pid = (uint32_t)getpid() };
	const struct process_info *p;

	CHECK_INT(process_cache_new(&(struct process_opts){ 0 }, &c), 0);
	p = process_find(c, &ref, UINT64_MAX / 2, 0);
	CHECK_SLICE(p->name, "test_process");
	CHECK(p->start_ns > 0);
	CHECK_INT(p->parent.pid, getppid());
}
