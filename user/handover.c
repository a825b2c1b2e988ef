/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From one capture to the next, so that each event is seen by one of them, and
 * what the older one knew is not forgotten. docs/ARCHITECTURE.md tells why this is
 * exact; bpf/handover.bpf.h is the kernel's part of it. The steps:
 *
 *  1. Ours is attached (build() in capture.c) and leaves all events to theirs
 *     (BEFORE_ALL). What is attached later runs later, for each event.
 *  2. What is behind functions of system calls is replaced, each in one instant. Of calls that
 *     theirs sees at tracepoints, which run behind ours, ours marks those that it has told.
 *     Then, of all else, theirs marks what it has seen to, ours sees to what is not marked.
 *  3. The programs on cgroups are replaced, each in one instant.
 *  4. Theirs is detached: from the event on that it does not see, ours does.
 *  5. Its tables become ours: moved, or taken from there by who needs an entry.
 *  6. When its rings were read to their end its numbers become ours, and it is removed.
 *
 * A step that was done is done again without harm, or is known to be done by what
 * it leaves: our tunables' before, the pins that are there, pending/ at last.
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/events.h"
#include "user/capture.h"
#include "user/util/log.h"

#define PASSES_MAX 64 /* a walk misses entries when others come and go beside it */

/* Tables that both fill while both are attached; the older one knows more. */
static const struct {
	enum kernel_source source;
	const char *name;
} copied[] = {
	{ KERNEL_FLOWS, "tcp_listeners" }, { KERNEL_FLOWS, "socket_owners" },
	{ KERNEL_JOURNAL, "readers" },	   { KERNEL_JOURNAL, "stream_losses" },
	{ KERNEL_PROCESSES, "processes" }, { KERNEL_PROCESSES, "cgroups" },
	{ KERNEL_NAMES, "askers" },
};

static int map_info(int fd, struct bpf_map_info *ret)
{
	__u32 len = sizeof(*ret);

	*ret = (struct bpf_map_info){ 0 };
	return bpf_obj_get_info_by_fd(fd, ret, &len) < 0 ? -errno : 0;
}

/* What ours does not know yet. A value of another size is taken as far as both go. */
static int copy_table(const struct capture *ours, const struct capture *theirs,
		      enum kernel_source source, const char *name)
{
	_cleanup_close_ int to = -1, from = -1;
	_cleanup_free_ char *key = NULL, *value = NULL;
	struct bpf_map_info a, b;
	void *at = NULL;
	int err;

	to = capture_open_map(ours, source, name);
	if (to < 0)
		return to == -ENOENT ? 0 : to; /* ours may be of an older version, too */
	from = capture_open_map(theirs, source, name);
	if (from < 0)
		return from == -ENOENT ? 0 : from;
	err = map_info(to, &a);
	if (!err)
		err = map_info(from, &b);
	if (err)
		return err;
	if (a.key_size != b.key_size)
		return 0;
	key = malloc(a.key_size);
	value = calloc(1, a.value_size > b.value_size ? a.value_size : b.value_size);
	if (!key || !value)
		return -ENOMEM;
	/* A key that has gone meanwhile sends the walk back to its start. */
	for (uint64_t n = 0; n < 2ull * b.max_entries; n++) {
		if (bpf_map_get_next_key(from, at, key) < 0)
			break;
		at = key;
		if (bpf_map_lookup_elem(from, key, value) < 0)
			continue;
		/* It fails when ours has that key, or no room: it did without so far. */
		bpf_map_update_elem(to, key, value, BPF_NOEXIST);
	}
	return 0;
}

static struct capture_tunables *tunables(const struct capture *c, int source)
{
	return c->source[source].bss;
}

static uint32_t load(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

static void store(uint32_t *p, uint32_t value)
{
	__atomic_store_n(p, value, __ATOMIC_SEQ_CST);
}

/* Marks that nobody took away: of events that our program was skipped for. */
static void clear_marks(const struct capture *ours, enum kernel_source source)
{
	_cleanup_close_ int fd = capture_open_map(ours, source, "marks");
	uint64_t key;

	for (int n = 0; fd >= 0 && n < 65536 && bpf_map_get_next_key(fd, NULL, &key) == 0; n++)
		bpf_map_delete_elem(fd, &key);
}

static struct events_tunables *events_tunables(const struct capture *c)
{
	const struct source_state *s = &c->source[KERNEL_EVENTS];

	return s->bss_size >= sizeof(struct events_tunables) ? s->bss : NULL;
}

static bool is_marking_calls(const struct capture *c)
{
	return events_tunables(c) && load(&events_tunables(c)->calls) == CALLS_MARKING;
}

/* Step 2. Between its parts all events that began before have ended. */
static void share_events(const struct capture *ours, const struct capture *theirs)
{
	bool begins = false;

	for (int i = 0; i < KERNEL_SOURCES; i++) {
		struct capture_tunables *mine = tunables(ours, i), *its = tunables(theirs, i);

		if (mine && its && load(&mine->before) == BEFORE_ALL) {
			/* Or they are in use already: see take_over_calls(). */
			if (i != KERNEL_EVENTS || !is_marking_calls(ours))
				clear_marks(ours, (enum kernel_source)i);
			begins = true;
		}
	}
	if (!begins)
		return;
	wait_for_events(); /* behind this, an event that theirs runs for is one that ours runs for
			    */
	for (int i = 0; i < KERNEL_SOURCES; i++)
		if (tunables(ours, i) && tunables(theirs, i) &&
		    load(&tunables(ours, i)->before) == BEFORE_ALL)
			store(&tunables(theirs, i)->marking, 1);
	wait_for_events(); /* behind this, it has a mark then */
	for (int i = 0; i < KERNEL_SOURCES; i++)
		if (tunables(ours, i) && load(&tunables(ours, i)->before) == BEFORE_ALL)
			store(&tunables(ours, i)->before, BEFORE_MARKED);
}

/* A link of theirs becomes ours. Returns false when there is none: it was done, or never was. */
static bool open_link(const struct capture *theirs, const struct program_row *row, int *ret)
{
	struct place place;

	*ret = bpf_obj_get(at(&place, "%s/%s/links/%s", theirs->dir,
			      kernel_sources[row->source].name, row->name));
	return *ret >= 0;
}

static int move_link(const struct capture *ours, const struct capture *theirs,
		     const struct program_row *row, int link)
{
	const char *source = kernel_sources[row->source].name;
	struct place place;

	if (bpf_obj_pin(link, at(&place, "%s/%s/links/%s", ours->dir, source, row->name)) < 0 &&
	    errno != EEXIST)
		return -errno;
	unlink(at(&place, "%s/%s/links/%s", theirs->dir, source, row->name));
	return 0;
}

/* Does theirs see a call at its tracepoint that ours sees behind its function? */
static bool runs_behind_ours(const struct capture *ours, const struct capture *theirs)
{
	struct place place;

	for (size_t i = 0; i < kernel_n_programs; i++) {
		const struct program_row *row = &kernel_programs[i], *twin = row_twin(row);

		if (row->attach == ATTACH_SYSCALL && twin &&
		    access(at(&place, "%s/pending/%s", ours->dir, row->name), F_OK) == 0 &&
		    access(at(&place, "%s/events/links/%s", theirs->dir, twin->name), F_OK) == 0)
			return true;
	}
	return false;
}

/* Step 2, of system calls that ours sees behind their function. From here on they are ours. */
static int take_over_calls(const struct capture *ours, struct capture *theirs, char *text,
			   size_t size)
{
	struct events_tunables *mine = events_tunables(ours);
	struct capture_tunables *its = tunables(theirs, KERNEL_EVENTS);
	bool marking = its && runs_behind_ours(ours, theirs);
	struct place place;
	__u32 zero = 0;
	int err;

	if (!mine)
		return 0;
	if (marking) {
		if (load(&mine->calls) == CALLS_AS_ALL)
			clear_marks(ours, KERNEL_EVENTS);
		if (load(&its->before) < BEFORE_MARKED)
			store(&its->before, BEFORE_MARKED);
		wait_for_events(); /* behind this, theirs leaves alone what ours has marked */
	}
	store(&mine->calls, marking ? CALLS_MARKING : CALLS_TAKEN);
	for (size_t i = 0; i < kernel_n_programs; i++) {
		const struct program_row *row = &kernel_programs[i];
		_cleanup_close_ int link = -1, prog = -1, map = -1;

		if (row->attach != ATTACH_SYSCALL)
			continue;
		prog = bpf_obj_get(at(&place, "%s/pending/%s", ours->dir, row->name));
		if (prog < 0)
			continue;
		map = capture_open_map(ours, KERNEL_EVENTS, row->map);
		err = map < 0						    ? map
		      : bpf_map_update_elem(map, &zero, &prog, BPF_ANY) < 0 ? -errno
									    : 0;
		if (!err && open_link(theirs, row, &link))
			err = move_link(ours, theirs, row, link);
		if (err) {
			say(text, size, "%s: replacing %s: %s", theirs->dir, row->handler,
			    log_strerror(err));
			return err;
		}
		/* How often that one was skipped is ours to tell, too: from its beginning. */
		if (link >= 0) {
			close_fd(theirs->program_fds[i]);
			theirs->program_fds[i] = -1;
		}
	}
	wait_for_events();
	return 0;
}

/* Step 3. The link stays, with another program; its pin moves over to ours. */
static int replace_programs(const struct capture *ours, const struct capture *theirs, char *text,
			    size_t size)
{
	for (size_t i = 0; i < kernel_n_programs; i++) {
		const struct program_row *row = &kernel_programs[i];
		_cleanup_close_ int link = -1, prog = -1;
		struct place place;
		int err;

		if (row->attach != ATTACH_CGROUP)
			continue;
		prog = bpf_obj_get(at(&place, "%s/pending/%s", ours->dir, row->name));
		if (prog < 0 || !open_link(theirs, row, &link))
			continue;
		err = bpf_link_update(link, prog, NULL) < 0 ? -errno : 0;
		if (!err)
			err = move_link(ours, theirs, row, link);
		if (err) {
			say(text, size, "%s: replacing %s: %s", theirs->dir, row->name,
			    log_strerror(err));
			return err;
		}
	}
	return 0;
}

/* Runs one of our programs for each entry of a table of theirs. */
static int walk(const struct capture *ours, const char *name, int map_fd)
{
	union bpf_iter_link_info info = { .map.map_fd = (__u32)map_fd };
	LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &info, .iter_info_len = sizeof(info));
	_cleanup_close_ int prog = -1, link = -1, iter = -1;
	struct place place;
	char nothing[64];

	prog = bpf_obj_get(at(&place, "%s/pending/%s", ours->dir, name));
	if (prog < 0)
		return -errno;
	link = bpf_link_create(prog, 0, BPF_TRACE_ITER, &opts);
	if (link < 0)
		return -errno;
	iter = bpf_iter_create(link);
	if (iter < 0)
		return -errno;
	while (read(iter, nothing, sizeof(nothing)) < 0)
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	return 0;
}

/* Step 5, of one table: until it is empty, or what is left finds no room in ours. */
static void take_over_table(const struct capture *ours, struct capture *theirs,
			    const struct program_row *row)
{
	_cleanup_close_ int fd = capture_open_map(theirs, row->source, row->map);
	uint64_t left, before = UINT64_MAX;
	int err;

	if (fd < 0)
		return;
	for (int pass = 0; pass < PASSES_MAX; pass++) {
		left = map_count(fd);
		if (!left || left >= before)
			break;
		before = left;
		err = walk(ours, row->name, fd);
		if (err) {
			log_debug("%s: %s: %s", theirs->dir, row->name, log_strerror(err));
			break;
		}
	}
}

static int sweep_of(const char *map)
{
	for (size_t i = 0; i < kernel_n_programs; i++)
		if (kernel_programs[i].attach == ATTACH_SWEEP &&
		    !strcmp(kernel_programs[i].map, map))
			return (int)i;
	return -1;
}

/* Step 5: nothing of theirs runs any more, but its sweeps when we ask them to. */
static void take_over_flows(struct capture *ours, struct capture *theirs)
{
	static const char *const outer[] = { "tcp_before", "packet_before" };
	struct capture_tunables *mine = tunables(ours, KERNEL_FLOWS);
	struct flow_tunables *its = theirs->source[KERNEL_FLOWS].bss;
	__u32 zero = 0;

	if (!mine || load(&mine->before) == BEFORE_NOBODY)
		return;
	if (its && theirs->source[KERNEL_FLOWS].bss_size >= sizeof(*its)) {
		store(&its->give_back, 1);
		capture_sweep(theirs, sweep_of("packet_flows"), false);
		store(&its->give_back, 0);
	}
	store(&mine->before, BEFORE_TABLES);
	for (size_t i = 0; i < kernel_n_programs; i++)
		if (kernel_programs[i].attach == ATTACH_TAKE_OVER)
			take_over_table(ours, theirs, &kernel_programs[i]);
	/* What found no room ends here; if it goes on it is a flow of its own. */
	capture_sweep(theirs, sweep_of("packet_flows"), true);
	capture_sweep(theirs, sweep_of("packet_floods"), true);
	store(&mine->before, BEFORE_NOBODY);
	wait_for_events();
	for (int i = 0; i < 2; i++) {
		_cleanup_close_ int fd = capture_open_map(ours, KERNEL_FLOWS, outer[i]);

		if (fd >= 0)
			bpf_map_delete_elem(fd, &zero);
	}
}

/* While its programs can still be asked: how often they did not run. */
static void carry_skipped(const struct capture *ours, const struct capture *theirs)
{
	__u32 at = CARRIED_SKIPPED;

	for (int i = 0; i < KERNEL_SOURCES; i++) {
		uint64_t before = 0, known = 0;

		if (!ours->source[i].present || !theirs->source[i].attached)
			continue;
		bpf_map_lookup_elem(theirs->source[i].carried_fd, &at, &before);
		bpf_map_lookup_elem(ours->source[i].carried_fd, &at, &known);
		before += count_skipped(theirs, (enum kernel_source)i);
		if (before > known)
			bpf_map_update_elem(ours->source[i].carried_fd, &at, &before, BPF_ANY);
	}
}

int handover_run(struct capture *ours, struct capture *theirs, char *text, size_t text_size)
{
	struct place place;
	int err;

	if (access(at(&place, "%s/pending", ours->dir), F_OK) < 0)
		return 0; /* all of it was done */
	err = take_over_calls(ours, theirs, text, text_size);
	if (err)
		return err;
	share_events(ours, theirs);
	for (size_t i = 0; i < sizeof(copied) / sizeof(copied[0]); i++) {
		if (!ours->source[copied[i].source].present ||
		    !theirs->source[copied[i].source].present)
			continue;
		err = copy_table(ours, theirs, copied[i].source, copied[i].name);
		if (err) {
			say(text, text_size, "%s: %s: %s", theirs->dir, copied[i].name,
			    log_strerror(err));
			return err;
		}
	}
	err = replace_programs(ours, theirs, text, text_size);
	if (err)
		return err;
	carry_skipped(ours, theirs);
	capture_detach(theirs);
	/* Nothing is behind ours any more, and all else is ours, too. */
	if (events_tunables(ours))
		store(&events_tunables(ours)->calls, CALLS_AS_ALL);
	take_over_flows(ours, theirs);
	if (tunables(ours, KERNEL_JOURNAL))
		store(&tunables(ours, KERNEL_JOURNAL)->before, BEFORE_NOBODY);
	/* Its programs are on cgroups: replaced, they never shared an event. */
	if (tunables(ours, KERNEL_NAMES))
		store(&tunables(ours, KERNEL_NAMES)->before, BEFORE_NOBODY);
	/* What ours does not want at all ends here. */
	if (theirs->source[KERNEL_FLOWS].present && !ours->source[KERNEL_FLOWS].present)
		capture_sweep(theirs, -1, true);
	remove_tree(at(&place, "%s/pending", ours->dir));
	return 0;
}

int handover_finish(struct capture *ours, struct capture *theirs, const char *dir, int n_cpus)
{
	struct place place, gone;
	int err;

	for (int i = 0; i < KERNEL_SOURCES; i++) {
		uint64_t sum[COUNTERS], carried;

		if (!ours->source[i].present || !theirs->source[i].present)
			continue;
		err = capture_get_counters(theirs, (enum kernel_source)i, n_cpus, sum);
		if (err)
			return err;
		/* Flows of which nobody told the end, or for which our table has no room. */
		if (i == KERNEL_FLOWS) {
			static const char *const tables[] = { "tcp_flows", "packet_flows" };

			for (int t = 0; t < 2; t++) {
				_cleanup_close_ int fd =
					capture_open_map(theirs, KERNEL_FLOWS, tables[t]);

				if (fd >= 0)
					sum[COUNT_MISSED] += map_count(fd);
			}
		}
		for (__u32 c = 0; c < COUNTERS; c++) {
			__u32 key = CARRIED_COUNTERS + c;

			if (bpf_map_lookup_elem(theirs->source[i].carried_fd, &key, &carried) == 0)
				sum[c] += carried;
			if (bpf_map_update_elem(ours->source[i].carried_fd, &key, &sum[c],
						BPF_ANY) < 0)
				return -errno;
		}
	}
	/* With this name it is nobody's any more: what was carried counts from here on. */
	at(&place, "%s", theirs->dir);
	at(&gone, "%s/%s_gone", dir, theirs->name);
	if (rename(place.path, gone.path) < 0)
		return -errno;
	remove_tree(gone.path);
	unlink(at(&place, "%s/before", ours->dir));
	return 0;
}
