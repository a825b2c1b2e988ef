/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of files: what user/file_watch.c sees, as records. What one process does to one
 * file is held back for a moment and told once; meanwhile its exec is read from the other
 * ring, so that a process which is gone is known.
 *
 * The kernel keeps nothing for a collector that is away. So the position of this source is a
 * time, behind which all is told: whatever was changed later, by its file's own account, and before
 * the watching began again, is told as changed while nobody watched, without a process.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "output/spool.h"
#include "user/events_record.h"
#include "user/file_watch.h"
#include "user/process.h"
#include "user/source.h"
#include "user/task_ids.h"
#include "user/users.h"
#include "user/util/clock.h"
#include "user/util/log.h"

#define QUIET_NS   300000000ull	 /* without anything new: told */
#define LONGEST_NS 5000000000ull /* held back at the most */
#define HELD_MAX   1024
#define HELD_SOFT  512 /* from here on the oldest one goes before the next notice is taken */
#define TOLD	   8192

/* A file's own time is that of the last tick. */
#define TICK_US 10000
/* How far the position is behind the time while nothing happens. */
#define QUIET_MOVE_US 10000000

/* Of the positions: times since the epoch, whatever the boot. */
#define GENERATION 1

struct held {
	char *path;
	struct task_ref task; /* pid 0: not known */
	bool has_ids;
	uint32_t changes;
	uint64_t notices;
	uint64_t first_ns, last_ns; /* CLOCK_BOOTTIME */
	uint64_t unseen_us;	    /* its file's time, since the epoch; 0: it was seen */
};

struct source_files {
	struct source source;
	struct file_watch *watch;
	struct task_ids *tasks;
	struct held held[HELD_MAX]; /* in the order of first_ns */
	size_t n_held;
	/* How a file was when it was told last: a scan has nothing to add. By a hash of its path.
	 */
	struct {
		uint64_t path, changed_us;
	} told[TOLD];
	bool has_news;	   /* since the position moved */
	uint64_t since_us; /* of a scan: told are those that changed after it */
	uint64_t unseen;   /* how many those were */
	char user_name[256];
};

/* ------------------------------------------------------------------ who */

/* "Uid:" and "Gid:" of a process that lives: the real ones. */
static bool read_ids(struct task_ref *task)
{
	char name[32], line[256];
	_cleanup_fclose_ FILE *f = NULL;
	int found = 0;

	snprintf(name, sizeof(name), "/proc/%u/status", task->pid);
	f = fopen(name, "re");
	while (f && found < 2 && fgets(line, sizeof(line), f))
		found += sscanf(line, "Uid: %u", &task->uid) == 1 ||
			 sscanf(line, "Gid: %u", &task->gid) == 1;
	return found == 2;
}

/* While it lives, perhaps: what /proc says of it is kept in the cache of processes. */
static void look_at(struct source_files *v, struct held *h, struct sink *sink)
{
	const struct process_info *info;

	if (!h->task.pid)
		return;
	if (task_ids_find(v->tasks, h->task.pid, h->last_ns, &h->task))
		h->has_ids = true;
	info = process_find(sink->processes, &h->task, h->last_ns, sink->now_ms);
	if (info->gone)
		return;
	if (read_ids(&h->task))
		h->has_ids = true;
	if (!h->task.start_ns && info->start_ns) {
		h->task.start_ns = info->start_ns;
		process_put(sink->processes, &h->task, info, sink->now_ms);
	}
}

/* ------------------------------------------------------------------ held back */

static struct held *hold(struct source_files *v, const char *path, uint32_t pid, uint64_t now_ns)
{
	struct held *h;

	for (size_t i = 0; i < v->n_held; i++) {
		h = &v->held[i];
		if (h->task.pid == pid && !h->unseen_us && !strcmp(h->path, path))
			return h;
	}
	if (v->n_held == HELD_MAX)
		return NULL;
	h = &v->held[v->n_held];
	*h = (struct held){ .path = strdup(path), .task.pid = pid, .first_ns = now_ns };
	if (!h->path)
		return NULL;
	v->n_held++;
	return h;
}

static void drop(struct source_files *v, size_t i)
{
	free(v->held[i].path);
	v->n_held--;
	memmove(&v->held[i], &v->held[i + 1], (v->n_held - i) * sizeof(v->held[0]));
}

static uint64_t changed_us(const struct stat *st)
{
	return (uint64_t)st->st_ctim.tv_sec * 1000000 + (uint64_t)st->st_ctim.tv_nsec / 1000;
}

/* FNV-1a */
static uint64_t hash_of(const char *path)
{
	uint64_t h = 0xcbf29ce484222325ull;

	while (*path)
		h = (h ^ (unsigned char)*path++) * 0x100000001b3ull;
	return h;
}

/* struct file_watch's scan: a file that changed while nobody looked. */
static void see_unseen(void *arg, const char *path, const struct stat *st)
{
	struct source_files *v = arg;
	uint64_t hash = hash_of(path);
	struct held *h;

	if (changed_us(st) <= v->since_us || (v->told[hash % TOLD].path == hash &&
					      v->told[hash % TOLD].changed_us == changed_us(st)))
		return;
	for (size_t i = 0; i < v->n_held; i++)
		if (!strcmp(v->held[i].path, path))
			return;
	h = hold(v, path, 0, clock_boot_ns());
	if (!h) {
		v->source.stats.lost++;
		return;
	}
	h->unseen_us = changed_us(st);
	h->notices = 1;
	v->unseen++;
}

static void scan(struct source_files *v)
{
	v->since_us = v->source.position;
	v->unseen = 0;
	file_watch_scan(v->watch, see_unseen, v);
}

/* ------------------------------------------------------------------ records */

static struct slice keep_name(struct source_files *v, struct slice name)
{
	if (name.len > sizeof(v->user_name))
		name.len = sizeof(v->user_name);
	if (name.len)
		memcpy(v->user_name, name.p, name.len);
	return (struct slice){ v->user_name, name.len };
}

/* Opened to write and closed: it is a write when its file says that it was written then. */
static bool is_nothing(const struct held *h, const struct stat *st, bool there, int64_t offset_ns)
{
	int64_t written_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;

	return h->changes == FILE_CLOSED &&
	       (!there || written_ns + TICK_US * 1000 < (int64_t)h->first_ns + offset_ns);
}

static void tell(struct source_files *v, size_t i, struct sink *sink)
{
	struct held *h = &v->held[i];
	struct event_details d = { .process = NULL };
	struct file_event e = { .path = slice_of(h->path),
				.changes = h->changes,
				.notices = h->notices,
				.first_ns = h->first_ns,
				.last_ns = h->last_ns,
				.unseen_us = h->unseen_us,
				.watched_until_us = h->unseen_us ? v->since_us : 0 };
	uint64_t hash = hash_of(h->path);
	struct stat st = { .st_size = 0 };
	struct msg m;

	e.there = file_watch_stat(v->watch, h->path, &st) == 0;
	if (!h->unseen_us && is_nothing(h, &st, e.there, sink->record->boot_to_real_ns)) {
		v->source.stats.filtered++;
		drop(v, i);
		return;
	}
	v->told[hash % TOLD].path = hash;
	v->told[hash % TOLD].changed_us = changed_us(&st);
	if (!h->has_ids)
		look_at(v, h, sink);
	if (own_is_of(&sink->own, &h->task)) {
		v->source.stats.own++;
		drop(v, i);
		return;
	}
	e.stat = &st;
	e.task = h->task;
	e.has_ids = h->has_ids;
	if (h->has_ids)
		d.user_name = keep_name(v, users_find(sink->users, h->task.uid, sink->now_ms));
	if (e.there)
		d.owner_name = users_find(sink->users, st.st_uid, sink->now_ms);
	if (h->task.pid)
		d.process = process_find(sink->processes, &h->task, h->last_ns, sink->now_ms);
	sink_begin(sink);
	if (events_record_file(sink->record, &e, &d, &m) < 0)
		v->source.stats.too_large++;
	else
		sink_add(&v->source, sink, &m);
	drop(v, i);
}

/* ------------------------------------------------------------------ the source */

static bool is_due(const struct held *h, uint64_t now_ns)
{
	return now_ns >= h->last_ns + QUIET_NS || now_ns >= h->first_ns + LONGEST_NS;
}

/*
 * All that there was is told, so nothing from before this is new any more. Without anything
 * told there is no hurry to say so, and each time that it is said is a write to the disk.
 */
static void move(struct source_files *v, uint64_t to_us, bool now)
{
	uint64_t position = v->source.position;

	if (to_us <= position || (!now && !v->has_news && to_us - position < QUIET_MOVE_US))
		return;
	v->source.position = to_us;
	v->has_news = false;
}

static int files_take(struct source *s, struct sink *sink)
{
	struct source_files *v = (struct source_files *)s;
	uint64_t before_us = clock_real_us(), now_ns;
	struct file_notice n;
	struct held *h;
	int r;

	if (v->n_held >= HELD_SOFT) {
		tell(v, 0, sink);
		return 1;
	}
	r = file_watch_next(v->watch, &n);
	if (!r && v->n_held && is_due(&v->held[0], clock_boot_ns())) {
		tell(v, 0, sink);
		return 1;
	}
	if (r <= 0) {
		if (!r && !v->n_held && before_us > TICK_US)
			move(v, before_us - TICK_US, sink->stopping);
		s->soon = v->n_held;
		return r;
	}
	v->has_news = true;
	s->stats.samples++;
	if (!n.path) {
		s->stats.lost++;
		scan(v);
		return 1;
	}
	now_ns = clock_boot_ns();
	h = hold(v, n.path, n.pid, now_ns);
	if (!h) {
		s->stats.lost++;
		return 1;
	}
	h->last_ns = now_ns;
	h->changes |= n.changes;
	if (!h->notices++)
		look_at(v, h, sink);
	return 1;
}

static bool files_flush(struct source *s, struct sink *sink, bool all)
{
	struct source_files *v = (struct source_files *)s;
	uint64_t now_ns = clock_boot_ns();

	for (size_t i = 0; i < v->n_held;) {
		if (!all && !is_due(&v->held[i], now_ns)) {
			i++;
			continue;
		}
		if (sink->is_full(sink->arg))
			return false;
		tell(v, i, sink);
	}
	return true;
}

/* The kernel gives its queue's room back as it is read. */
static void files_release(struct source *s)
{
	(void)s;
}

static void files_free(struct source *s)
{
	struct source_files *v = (struct source_files *)s;

	while (v->n_held)
		drop(v, v->n_held - 1);
	file_watch_free(v->watch);
	free(v);
}

static const struct source_ops files_ops = {
	.name = "files",
	.id = SOURCE_FILES,
	.apart = true,
	.take = files_take,
	.release = files_release,
	.flush = files_flush,
	.free = files_free,
};

/* What was not watched is named. */
static void tell_watched(const struct source_files *v, bool resumed)
{
	char from[CLOCK_RFC3339_SIZE];
	struct file_watch_stats st;

	file_watch_get_stats(v->watch, &st);
	log_debug("files: %u folders are watched", st.dirs);
	if (st.refused)
		log_warning("files: %u folders can not be watched, the first one is %s", st.refused,
			    file_watch_refusal(v->watch));
	if (!file_watch_knows_pids(v->watch))
		log_warning("files: without CAP_SYS_ADMIN the kernel does not say which process "
			    "changes a file: these events name none");
	if (!resumed)
		return;
	clock_format_rfc3339(v->since_us, from);
	log_info("files: not watched from %s to now; %llu have changed meanwhile", from,
		 (unsigned long long)v->unseen);
}

int source_files_new(const struct config *config, struct task_ids *tasks,
		     const struct spool_position *resume, char *text, size_t text_size,
		     struct source **ret)
{
	struct source_files *v = calloc(1, sizeof(*v));
	bool resumed = resume && resume->generation == GENERATION && resume->position;
	int err;

	if (!v) {
		snprintf(text, text_size, "%s", log_strerror(ENOMEM));
		return -ENOMEM;
	}
	err = file_watch_new(config->events_paths, NULL, text, text_size, &v->watch);
	if (err) {
		free(v);
		return err;
	}
	v->tasks = tasks;
	v->source = (struct source){ .ops = &files_ops,
				     .fd = file_watch_fd(v->watch),
				     .generation = GENERATION };
	if (resumed) {
		v->source.position = resume->position;
		scan(v);
	}
	tell_watched(v, resumed);
	*ret = &v->source;
	return 0;
}
