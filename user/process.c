/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/process.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "user/cgroup.h"

#define DEFAULT_ENTRIES 4096
#define DEFAULT_BYTES	(8u << 20)
#define NONE		UINT32_MAX

/* /proc counts a process's start in USER_HZ, which is 100 wherever BPF is. */
#define TICK_NS 10000000ull

/* A process of unknown start is asked for again after this time. */
#define UNKNOWN_KEEP_MS 1000
/* One that keeps changing its name, or its threads' names, costs no more than this. */
#define REREADS_PER_SECOND 8

#define CGROUPS		1024 /* of which the container is remembered; a power of two */
#define CGROUP_TEXT_MAX 4096
#define STAT_MAX	1024

struct entry {
	struct process_info info; /* texts are in blob */
	char *blob;
	size_t blob_len;
	uint64_t start_ns; /* with pid, the key: as asked, 0 for unknown */
	uint64_t cgroup_id;
	uint64_t filled_ms;
	uint32_t pid;
	uint32_t rereads;
	bool put;	       /* process_put(): all of its programs are told to us */
	uint32_t chain;	       /* next in its bucket, or in the free list */
	uint32_t newer, older; /* LRU */
	char comm[17];
};

struct cgroup_memo {
	uint64_t id;
	struct container_info container;
};

/* Where a fill collects its texts before their size is known. */
struct scratch {
	char name[16 + 1];
	char exe[PROCESS_EXE_MAX];
	char args[PROCESS_ARGS_MAX];
	char line[PROCESS_ARGS_MAX];
	char parent_name[16 + 1];
	char parent_exe[PROCESS_EXE_MAX];
	char parent_line[PROCESS_PARENT_ARGS_MAX];
};

struct process_cache {
	int proc_fd;
	uint32_t max_entries;
	size_t max_bytes;
	int (*lookup)(void *arg, uint32_t pid, uint64_t start_ns, struct process_exec *ret);
	void *lookup_arg;
	int (*find_cgroup)(void *arg, uint64_t cgroup_id, char *ret, size_t size);
	void *find_cgroup_arg;
	void (*mask)(void *arg, char *args, size_t len);
	void *mask_arg;

	struct entry *entries;
	uint32_t *buckets;
	uint32_t bucket_mask;
	uint32_t free;	/* a list of those that were given up */
	uint32_t fresh; /* from here on none was ever used, and is no memory yet */
	uint32_t newest, oldest;
	struct cgroup_memo *cgroups;
	struct process_stats stats;

	/* For answers that are not kept. */
	struct process_info bare[2];
	char bare_comm[2][17];
	unsigned next_bare;
	struct scratch scratch;
};

/* What /proc/PID/stat tells. */
struct proc_stat {
	char comm[17];
	char state;
	uint32_t ppid;
	uint64_t start_ticks;
};

int process_cache_new(const struct process_opts *opts, struct process_cache **ret)
{
	_cleanup_(process_cache_freep) struct process_cache *c = NULL;
	uint32_t n_buckets = 1;

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->proc_fd = open(opts->procfs ? opts->procfs : "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (c->proc_fd < 0)
		return -errno;
	c->max_entries = opts->max_entries ? opts->max_entries : DEFAULT_ENTRIES;
	c->max_bytes = opts->max_bytes ? opts->max_bytes : DEFAULT_BYTES;
	c->lookup = opts->lookup;
	c->lookup_arg = opts->lookup_arg;
	c->find_cgroup = opts->find_cgroup;
	c->find_cgroup_arg = opts->find_cgroup_arg;
	c->mask = opts->mask;
	c->mask_arg = opts->mask_arg;
	if (c->max_entries > 1u << 20)
		return -EINVAL;
	if (c->max_entries < 2)
		c->max_entries = 2;
	while (n_buckets < c->max_entries * 2)
		n_buckets *= 2;
	c->bucket_mask = n_buckets - 1;
	c->entries = calloc(c->max_entries, sizeof(*c->entries));
	c->buckets = malloc(n_buckets * sizeof(*c->buckets));
	c->cgroups = calloc(CGROUPS, sizeof(*c->cgroups));
	if (!c->entries || !c->buckets || !c->cgroups)
		return -ENOMEM;
	for (uint32_t i = 0; i < n_buckets; i++)
		c->buckets[i] = NONE;
	c->free = c->newest = c->oldest = NONE;
	*ret = TAKE_PTR(c);
	return 0;
}

void process_cache_free(struct process_cache *c)
{
	if (!c)
		return;
	for (uint32_t i = 0; i < c->fresh; i++)
		free(c->entries[i].blob);
	free(c->entries);
	free(c->buckets);
	free(c->cgroups);
	close_fd(c->proc_fd);
	free(c);
}

/* ------------------------------------------------------------------ table and LRU */

static uint32_t bucket_of(const struct process_cache *c, uint32_t pid, uint64_t start_ns)
{
	uint64_t h = (start_ns ^ (uint64_t)pid << 40 ^ pid) * 0x9e3779b97f4a7c15ull;

	return (uint32_t)(h >> 32) & c->bucket_mask;
}

static void lru_remove(struct process_cache *c, struct entry *e)
{
	if (e->newer != NONE)
		c->entries[e->newer].older = e->older;
	else
		c->newest = e->older;
	if (e->older != NONE)
		c->entries[e->older].newer = e->newer;
	else
		c->oldest = e->newer;
}

static void lru_add(struct process_cache *c, struct entry *e)
{
	uint32_t i = (uint32_t)(e - c->entries);

	e->newer = NONE;
	e->older = c->newest;
	if (c->newest != NONE)
		c->entries[c->newest].newer = i;
	else
		c->oldest = i;
	c->newest = i;
}

static void lru_touch(struct process_cache *c, struct entry *e)
{
	if (c->newest == (uint32_t)(e - c->entries))
		return;
	lru_remove(c, e);
	lru_add(c, e);
}

static struct entry *table_find(struct process_cache *c, uint32_t pid, uint64_t start_ns)
{
	uint32_t i = c->buckets[bucket_of(c, pid, start_ns)];

	while (i != NONE && (c->entries[i].pid != pid || c->entries[i].start_ns != start_ns))
		i = c->entries[i].chain;
	return i == NONE ? NULL : &c->entries[i];
}

static void drop_blob(struct process_cache *c, struct entry *e)
{
	c->stats.bytes -= e->blob_len;
	free(e->blob);
	e->blob = NULL;
	e->blob_len = 0;
}

static void evict(struct process_cache *c, struct entry *e)
{
	uint32_t i = (uint32_t)(e - c->entries);
	uint32_t *at = &c->buckets[bucket_of(c, e->pid, e->start_ns)];

	while (*at != i)
		at = &c->entries[*at].chain;
	*at = e->chain;
	lru_remove(c, e);
	drop_blob(c, e);
	e->chain = c->free;
	c->free = i;
	c->stats.entries--;
	c->stats.evictions++;
}

/* The two newest are never given up: one is being filled, the other may be an answer in use. */
static bool make_room(struct process_cache *c, size_t bytes)
{
	while (c->stats.bytes + bytes > c->max_bytes && c->oldest != c->newest &&
	       c->oldest != c->entries[c->newest].older)
		evict(c, &c->entries[c->oldest]);
	return c->stats.bytes + bytes <= c->max_bytes;
}

static struct entry *table_add(struct process_cache *c, uint32_t pid, uint64_t start_ns)
{
	uint32_t *bucket = &c->buckets[bucket_of(c, pid, start_ns)];
	struct entry *e;
	uint32_t i;

	if (c->free == NONE && c->fresh == c->max_entries)
		evict(c, &c->entries[c->oldest]);
	i = c->free;
	if (i == NONE)
		i = c->fresh++;
	else
		c->free = c->entries[i].chain;
	e = &c->entries[i];
	*e = (struct entry){ .pid = pid, .start_ns = start_ns, .chain = *bucket };
	*bucket = i;
	lru_add(c, e);
	c->stats.entries++;
	return e;
}

/* ------------------------------------------------------------------ /proc */

/* Up to size bytes of dir/name; *more is set when there are more. */
static ssize_t read_file(int dir, const char *name, char *ret, size_t size, bool *more)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	char rest;

	if (fd < 0)
		return -errno;
	while (len < size) {
		ssize_t n = read(fd, ret + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return (ssize_t)len;
		len += (size_t)n;
	}
	if (more)
		*more = read(fd, &rest, 1) == 1;
	return (ssize_t)len;
}

static bool parse_u64(const char **at, const char *end, uint64_t *ret)
{
	const char *p = *at;
	uint64_t v = 0;

	while (p < end && *p >= '0' && *p <= '9') {
		if (v > (UINT64_MAX - 9) / 10)
			return false;
		v = v * 10 + (uint64_t)(*p++ - '0');
	}
	if (p == *at)
		return false;
	*at = p;
	*ret = v;
	return true;
}

/* proc(5): the name may hold blanks and parentheses; it ends at the last one. */
static int parse_stat(const char *text, size_t len, struct proc_stat *ret)
{
	const char *open = memchr(text, '(', len), *end = text + len, *close, *p;
	uint64_t value;
	size_t n;

	close = open ? memrchr(open, ')', (size_t)(end - open)) : NULL;
	if (!close || end - close < 4)
		return -EBADMSG;
	n = (size_t)(close - open - 1);
	if (n > sizeof(ret->comm) - 1)
		n = sizeof(ret->comm) - 1;
	memcpy(ret->comm, open + 1, n);
	ret->comm[n] = '\0';
	p = close + 2;
	ret->state = *p++;
	for (int field = 4; field <= 22; field++) {
		if (p >= end || *p != ' ')
			return -EBADMSG;
		p++;
		if (field == 4 || field == 22) {
			if (!parse_u64(&p, end, &value))
				return -EBADMSG;
			if (field == 4)
				ret->ppid = (uint32_t)value;
			else
				ret->start_ticks = value;
		} else {
			while (p < end && *p != ' ')
				p++;
		}
	}
	return 0;
}

static int open_process(const struct process_cache *c, uint32_t pid, struct proc_stat *ret)
{
	_cleanup_close_ int dir = -1;
	char name[16], text[STAT_MAX];
	ssize_t n;
	int r;

	snprintf(name, sizeof(name), "%u", pid);
	dir = openat(c->proc_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	n = read_file(dir, "stat", text, sizeof(text), NULL);
	if (n < 0)
		return (int)n;
	r = parse_stat(text, (size_t)n, ret);
	if (r < 0)
		return r;
	return TAKE_FD(dir);
}

/* start_ns 0: not known, so it may be. */
static bool is_same_start(const struct proc_stat *st, uint64_t start_ns)
{
	uint64_t ticks = start_ns / TICK_NS;

	return !start_ns || (st->start_ticks <= ticks + 1 && st->start_ticks + 1 >= ticks);
}

static struct slice read_exe(int dir, char *buf, size_t size, bool *deleted)
{
	static const char mark[] = " (deleted)";
	ssize_t n = readlinkat(dir, "exe", buf, size);
	size_t len = n > 0 ? (size_t)n : 0;

	*deleted = false;
	if (len > sizeof(mark) - 1 &&
	    memcmp(buf + len - (sizeof(mark) - 1), mark, sizeof(mark) - 1) == 0) {
		len -= sizeof(mark) - 1;
		*deleted = true;
	}
	return (struct slice){ buf, len };
}

static struct slice read_args(const struct process_cache *c, int dir, char *buf, size_t size,
			      bool *cut)
{
	ssize_t n;

	*cut = false;
	n = read_file(dir, "cmdline", buf, size, cut);
	if (n < 0)
		n = 0;
	/* Programs that rewrite their title leave what they did not need as NULs. */
	while (n > 0 && !buf[n - 1])
		n--;
	if (c->mask)
		c->mask(c->mask_arg, buf, (size_t)n);
	return (struct slice){ buf, (size_t)n };
}

static struct slice join_args(struct slice args, char *buf)
{
	for (size_t i = 0; i < args.len; i++)
		buf[i] = args.p[i] ? args.p[i] : ' ';
	return (struct slice){ buf, args.len };
}

static struct slice base_name(struct slice path)
{
	const char *slash = path.len ? memrchr(path.p, '/', path.len) : NULL;
	size_t skip = slash ? (size_t)(slash + 1 - path.p) : 0;

	return (struct slice){ path.p + skip, path.len - skip };
}

static struct cgroup_memo *memo_of(struct process_cache *c, uint64_t cgroup_id)
{
	return &c->cgroups[(cgroup_id * 0x9e3779b97f4a7c15ull >> 32) & (CGROUPS - 1)];
}

/* Nothing but v2: "0::/path" is all there is. */
static bool is_v2_alone(struct slice text)
{
	return text.len > 3 && memcmp(text.p, "0::", 3) == 0 &&
	       memchr(text.p, '\n', text.len) == text.p + text.len - 1;
}

static void read_container(struct process_cache *c, int dir, const struct task_ref *ref,
			   struct container_info *ret)
{
	/*
	 * Of a process known by its pid alone, the id is that of a socket, maybe inherited. In
	 * the root are all those that are told apart by v1's hierarchies.
	 */
	bool is_known = ref->start_ns && ref->cgroup_id > CGROUP_ROOT_ID;
	char text[CGROUP_TEXT_MAX];
	ssize_t n = read_file(dir, "cgroup", text, sizeof(text), NULL);
	struct cgroup_memo *m = memo_of(c, ref->cgroup_id);

	if (n < 0)
		return;
	/* Where it was at that moment: by now it may be elsewhere. */
	if (is_known && is_v2_alone((struct slice){ text, (size_t)n }) &&
	    process_find_cgroup(c, ref->cgroup_id, ret) == 0)
		return;
	container_parse_cgroup((struct slice){ text, (size_t)n }, ret);
	if (is_known) {
		m->id = ref->cgroup_id;
		m->container = *ret;
	}
}

int process_find_cgroup(struct process_cache *c, uint64_t cgroup_id, struct container_info *ret)
{
	struct cgroup_memo *m = memo_of(c, cgroup_id);
	char path[CGROUP_TEXT_MAX];

	if (cgroup_id <= CGROUP_ROOT_ID)
		return -ENOENT;
	if (m->id != cgroup_id) {
		if (!c->find_cgroup ||
		    c->find_cgroup(c->find_cgroup_arg, cgroup_id, path, sizeof(path)) < 0)
			return -ENOENT;
		c->stats.from_cgroup++;
		m->id = cgroup_id;
		container_parse_path(slice_of(path), &m->container);
	}
	*ret = m->container;
	return 0;
}

static void read_parent(struct process_cache *c, uint32_t pid, uint64_t child_start_ns,
			struct process_info *ret)
{
	_cleanup_close_ int dir = -1;
	struct proc_stat st = { .state = 0 };
	struct slice args;
	bool unused;

	ret->parent.pid = pid;
	dir = open_process(c, pid, &st);
	/* A parent is older than its child: another one has this pid by now. */
	if (dir < 0 || (child_start_ns && st.start_ticks > child_start_ns / TICK_NS + 1))
		return;
	memcpy(c->scratch.parent_name, st.comm, sizeof(st.comm));
	ret->parent.executable =
		read_exe(dir, c->scratch.parent_exe, sizeof(c->scratch.parent_exe), &unused);
	args = read_args(c, dir, c->scratch.parent_line, sizeof(c->scratch.parent_line), &unused);
	ret->parent.command_line = join_args(args, c->scratch.parent_line);
	ret->parent.name = base_name(ret->parent.executable);
	if (!ret->parent.name.len)
		ret->parent.name = slice_of(c->scratch.parent_name);
}

/* ------------------------------------------------------------------ filling */

static void fill_from_exec(struct process_cache *c, const struct task_ref *ref,
			   struct process_info *ret, uint32_t *ppid)
{
	struct process_exec exec = { .ppid = 0 };
	struct slice file;
	size_t len;

	if (!c->lookup || c->lookup(c->lookup_arg, ref->pid, ref->start_ns, &exec) < 0)
		return;
	c->stats.from_exec++;
	exec.filename[sizeof(exec.filename) - 1] = '\0';
	file = slice_of(exec.filename);
	memcpy(c->scratch.exe, file.p, file.len);
	file.p = c->scratch.exe;
	/* What exec was given may be relative; then it is a name, and no more. */
	if (file.len && file.p[0] == '/')
		ret->executable = file;
	if (file.len)
		ret->name = base_name(file);
	len = exec.args_len < sizeof(exec.args) ? exec.args_len : sizeof(exec.args);
	ret->args_cut = exec.args_len >= sizeof(exec.args);
	while (len && !exec.args[len - 1])
		len--;
	memcpy(c->scratch.args, exec.args, len);
	if (c->mask)
		c->mask(c->mask_arg, c->scratch.args, len);
	ret->args = (struct slice){ c->scratch.args, len };
	ret->command_line = join_args(ret->args, c->scratch.line);
	if (exec.ppid)
		*ppid = exec.ppid;
}

/*
 * Everything that can be known, with texts in c->scratch. *is_other is set
 * when the pid's start is unknown and this process began after event_ns.
 */
static void collect(struct process_cache *c, const struct task_ref *ref, uint64_t event_ns,
		    struct process_info *ret, bool *is_other)
{
	_cleanup_close_ int dir = -1;
	uint32_t ppid = ref->ppid;
	struct proc_stat st = { .state = 0 };

	*is_other = false;
	*ret = (struct process_info){ .pid = ref->pid, .start_ns = ref->start_ns };
	memcpy(c->scratch.name, ref->comm, sizeof(c->scratch.name));

	dir = open_process(c, ref->pid, &st);
	if (dir >= 0 && ref->start_ns) {
		if (!is_same_start(&st, ref->start_ns)) {
			c->stats.reused++;
			close_fd(TAKE_FD(dir));
		}
	}
	if (dir >= 0) {
		if (!ref->start_ns) {
			ret->start_ns = st.start_ticks * TICK_NS;
			*is_other = ret->start_ns > event_ns + TICK_NS;
		}
		if (!ppid)
			ppid = st.ppid;
		if (!c->scratch.name[0])
			memcpy(c->scratch.name, st.comm, sizeof(st.comm));
		ret->executable =
			read_exe(dir, c->scratch.exe, sizeof(c->scratch.exe), &ret->deleted);
		ret->args =
			read_args(c, dir, c->scratch.args, sizeof(c->scratch.args), &ret->args_cut);
		ret->command_line = join_args(ret->args, c->scratch.line);
		ret->name = base_name(ret->executable);
		read_container(c, dir, ref, &ret->container);
	}
	/* A zombie keeps its entry in /proc but neither executable nor arguments. */
	if (dir < 0 || st.state == 'Z') {
		ret->gone = true;
		c->stats.gone++;
		fill_from_exec(c, ref, ret, &ppid);
		process_find_cgroup(c, ref->cgroup_id, &ret->container);
	}
	if (!ret->name.len)
		ret->name = slice_of(c->scratch.name);
	if (ppid)
		read_parent(c, ppid, ret->start_ns, ret);
}

static void texts_of(struct process_info *p, struct slice *ret[7])
{
	ret[0] = &p->name;
	ret[1] = &p->executable;
	ret[2] = &p->args;
	ret[3] = &p->command_line;
	ret[4] = &p->parent.name;
	ret[5] = &p->parent.executable;
	ret[6] = &p->parent.command_line;
}

/* Moves info's texts into memory of the entry's own. */
static int store(struct process_cache *c, struct entry *e, const struct process_info *info)
{
	struct process_info copy = *info;
	struct slice *texts[7];
	size_t len = 0;
	char *blob;

	texts_of(&copy, texts);
	for (int i = 0; i < 7; i++)
		len += texts[i]->len;
	drop_blob(c, e);
	e->info = (struct process_info){ .pid = info->pid, .start_ns = info->start_ns };
	if (!make_room(c, len))
		return -ENOBUFS;
	blob = malloc(len ? len : 1);
	if (!blob)
		return -ENOMEM;
	e->blob = blob;
	e->blob_len = len;
	c->stats.bytes += len;
	for (int i = 0; i < 7; i++) {
		if (texts[i]->len)
			memcpy(blob, texts[i]->p, texts[i]->len);
		texts[i]->p = blob;
		blob += texts[i]->len;
	}
	e->info = copy;
	return 0;
}

static const struct process_info *answer_bare(struct process_cache *c, const struct task_ref *ref)
{
	unsigned i = c->next_bare++ % 2;

	memcpy(c->bare_comm[i], ref->comm, sizeof(c->bare_comm[i]));
	c->bare_comm[i][16] = '\0';
	c->bare[i] = (struct process_info){
		.pid = ref->pid,
		.start_ns = ref->start_ns,
		.name = slice_of(c->bare_comm[i]),
		.gone = true,
		.parent.pid = ref->ppid,
	};
	process_find_cgroup(c, ref->cgroup_id, &c->bare[i].container);
	return &c->bare[i];
}

/* Another program, or another control group, under the same key. */
static bool has_changed(const struct entry *e, const struct task_ref *ref)
{
	return (ref->comm[0] && strcmp(e->comm, ref->comm) != 0) ||
	       (ref->start_ns && ref->cgroup_id && e->cgroup_id != ref->cgroup_id);
}

static bool is_stale(struct entry *e, const struct task_ref *ref, uint64_t now_ms)
{
	uint64_t age_ms = now_ms - e->filled_ms;

	if (!ref->start_ns && age_ms >= UNKNOWN_KEEP_MS)
		return true;
	/* What is gone stays gone: nothing new can be read. */
	if (!has_changed(e, ref) || (e->info.gone && ref->start_ns))
		return false;
	if (age_ms >= 1000)
		e->rereads = 0;
	return e->rereads++ < REREADS_PER_SECOND;
}

const struct process_info *process_find(struct process_cache *c, const struct task_ref *ref,
					uint64_t event_ns, uint64_t now_ms)
{
	struct process_info info;
	struct entry *e;
	bool is_other;

	if (!ref->pid)
		return answer_bare(c, ref);
	e = table_find(c, ref->pid, ref->start_ns);
	if (e && !is_stale(e, ref, now_ms)) {
		c->stats.hits++;
		lru_touch(c, e);
		is_other = !ref->start_ns && e->info.start_ns > event_ns + TICK_NS;
		return is_other ? answer_bare(c, ref) : &e->info;
	}

	c->stats.misses++;
	c->stats.reread += e != NULL;
	collect(c, ref, event_ns, &info, &is_other);
	/* Another name, or another control group, of a process that we know better. */
	if (e && e->put && info.gone) {
		memcpy(e->comm, ref->comm, sizeof(e->comm));
		e->cgroup_id = ref->cgroup_id;
		process_find_cgroup(c, ref->cgroup_id, &e->info.container);
		lru_touch(c, e);
		return &e->info;
	}
	if (e)
		lru_touch(c, e);
	else
		e = table_add(c, ref->pid, ref->start_ns);
	e->filled_ms = now_ms;
	e->cgroup_id = ref->cgroup_id;
	e->put = false;
	memcpy(e->comm, ref->comm, sizeof(e->comm));
	/* No memory for it: an empty entry would be taken for an answer. */
	if (store(c, e, &info) < 0) {
		evict(c, e);
		return answer_bare(c, ref);
	}
	if (is_other) {
		c->stats.reused++;
		return answer_bare(c, ref);
	}
	return &e->info;
}

const struct process_info *process_put(struct process_cache *c, const struct task_ref *ref,
				       const struct process_info *info, uint64_t now_ms)
{
	struct entry *e = table_find(c, ref->pid, ref->start_ns);

	if (e)
		lru_touch(c, e);
	else
		e = table_add(c, ref->pid, ref->start_ns);
	e->filled_ms = now_ms;
	e->cgroup_id = ref->cgroup_id;
	e->put = true;
	memcpy(e->comm, ref->comm, sizeof(e->comm));
	if (store(c, e, info) < 0) {
		evict(c, e);
		return NULL;
	}
	return &e->info;
}

void process_find_container(struct process_cache *c, const struct task_ref *ref,
			    struct container_info *ret)
{
	struct proc_stat st = { 0 };
	_cleanup_close_ int dir = -1;

	if (ref->cgroup_id > CGROUP_ROOT_ID && memo_of(c, ref->cgroup_id)->id == ref->cgroup_id) {
		*ret = memo_of(c, ref->cgroup_id)->container;
		return;
	}
	dir = open_process(c, ref->pid, &st);
	if (dir >= 0 && is_same_start(&st, ref->start_ns))
		read_container(c, dir, ref, ret);
	else
		process_find_cgroup(c, ref->cgroup_id, ret);
}

void process_get_stats(const struct process_cache *c, struct process_stats *ret)
{
	*ret = c->stats;
}
