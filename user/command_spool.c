/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sekoia-ebpf spool ls|cat|verify: what waits in a spool, event by event, and
 * whether it is whole. It reads only, needs no key, and runs beside a daemon.
 */
#define _GNU_SOURCE
#include "user/command_spool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "output/spool_view.h"
#include "user/record_line.h"
#include "user/util/clock.h"
#include "user/util/log.h"

#define OUTPUTS_MAX 64

static const char *const class_names[] = {
	[MSG_JOURNAL] = "journal", [MSG_FLOW] = "flow", [MSG_KERNEL] = "kernel", [MSG_SELF] = "self"
};

struct output_line {
	char name[64];
	struct spool_cursor c;
	bool is_known;
	uint64_t dropped; /* ahead of its cursor */
};

struct looking {
	uint64_t since, now_us;
	uint64_t told;
	struct output_line outputs[OUTPUTS_MAX];
	size_t n_outputs;
};

/* ------------------------------------------------------------------ small texts */

/* 999, 12k, 3.4M: five columns at the most. */
static const char *size_text(uint64_t n, char ret[static 16])
{
	static const char units[] = "kMGTPE";
	double v = (double)n;
	int unit = -1;

	while (v >= 999.5) {
		v /= 1024;
		unit++;
	}
	if (unit < 0)
		snprintf(ret, 16, "%llu", (unsigned long long)n);
	else
		snprintf(ret, 16, v < 9.95 ? "%.1f%c" : "%.0f%c", v, units[unit]);
	return ret;
}

static const char *age_text(uint64_t now_us, uint64_t us, char ret[static 16])
{
	uint64_t s = now_us > us ? (now_us - us) / 1000000 : 0;

	if (!us)
		snprintf(ret, 16, "-");
	else if (s < 100)
		snprintf(ret, 16, "%llus", (unsigned long long)s);
	else if (s < 100 * 60)
		snprintf(ret, 16, "%llum", (unsigned long long)s / 60);
	else if (s < 100 * 3600)
		snprintf(ret, 16, "%lluh", (unsigned long long)s / 3600);
	else
		snprintf(ret, 16, "%llud", (unsigned long long)s / 86400);
	return ret;
}

/* "12 journal, 3 flow"; ret is always terminated. */
static const char *lost_text(const struct spool_item *item, char *ret, size_t size)
{
	size_t len = 0;

	ret[0] = '\0';
	for (int class = 0; class < MSG_CLASSES; class ++) {
		for (int reason = 0; reason < SPOOL_LOSSES; reason++) {
			uint64_t n = item->lost[reason][class];

			if (n && len < size)
				len += (size_t)snprintf(ret + len, size - len, "%s%llu %s%s",
							len ? ", " : "", (unsigned long long)n,
							class_names[class],
							reason == SPOOL_LOST_AGE ? " (age)" : "");
		}
	}
	return ret;
}

/* ------------------------------------------------------------------ ls */

static int ls_item(void *arg, const struct spool_item *item)
{
	struct looking *l = arg;

	for (size_t i = 0; i < l->n_outputs; i++) {
		uint64_t at = l->outputs[i].c.cursor_seq;

		if (item->kind == SPOOL_ITEM_DROPPED && item->last > at)
			l->outputs[i].dropped +=
				item->last - (item->first > at ? item->first - 1 : at);
	}
	return 0;
}

static int ls_file(void *arg, const struct spool_file *f)
{
	struct looking *l = arg;
	uint64_t kernel = f->of_class[MSG_KERNEL] + f->of_class[MSG_SELF];
	char size[16], age[16];

	if (!l->told++)
		printf("%11s %11s %5s %8s %8s %7s %7s %6s %4s\n", "FIRST", "LAST", "SIZE",
		       "JOURNAL", "FLOWS", "KERNEL", "DROPPED", "DAMAGE", "AGE");
	printf("%11llu %11llu %5s %8llu %8llu %7llu %7llu %6llu %4s\n",
	       (unsigned long long)f->first_seq, (unsigned long long)f->last_seq,
	       size_text(f->bytes, size), (unsigned long long)f->of_class[MSG_JOURNAL],
	       (unsigned long long)f->of_class[MSG_FLOW], (unsigned long long)kernel,
	       (unsigned long long)f->dropped, (unsigned long long)f->damaged,
	       age_text(l->now_us, f->oldest_us, age));
	return 0;
}

static void add_output(void *arg, const char *name, const struct spool_cursor *c)
{
	struct looking *l = arg;
	struct output_line *o = &l->outputs[l->n_outputs];

	if (l->n_outputs == OUTPUTS_MAX)
		return;
	snprintf(o->name, sizeof(o->name), "%s", name);
	o->is_known = c != NULL;
	if (c)
		o->c = *c;
	l->n_outputs++;
}

static void print_output(const struct output_line *o, const struct spool_view *v)
{
	uint64_t last = v->last_seq > o->c.cursor_seq ? v->last_seq : o->c.cursor_seq;
	uint64_t ahead = last - o->c.cursor_seq, dropped = o->dropped < ahead ? o->dropped : ahead;
	char state[80 - 11 + 1]; /* the rest of a line */

	if (!o->is_known || o->c.spool_id != v->id) {
		printf("%-10s %s\n", o->name,
		       o->is_known ? "belongs to another spool" : "can not be read");
		return;
	}
	printf("%-10s %11llu %9llu %11llu %9llu %9llu %9llu\n", o->name,
	       (unsigned long long)o->c.cursor_seq, (unsigned long long)(ahead - dropped),
	       (unsigned long long)o->c.acked, (unsigned long long)o->c.rejected,
	       (unsigned long long)(o->c.lost_limit + o->c.lost_age + dropped),
	       (unsigned long long)o->c.lost_damage);
	snprintf(state, sizeof(state), "%s%s%s", o->c.state, o->c.last_error[0] ? ": " : "",
		 o->c.last_error);
	printf("           %s\n", state);
}

static int ls(const char *dir, struct looking *l)
{
	const struct spool_viewer viewer = { .on_item = ls_item, .on_file = ls_file, .arg = l };
	struct spool_view v;
	char size[16];
	int cursors, err;

	/* Before the events: what is delivered meanwhile is not missing then. */
	cursors = spool_view_cursors(dir, add_output, l);
	err = spool_view(dir, &viewer, &v);
	if (err)
		return err;
	printf("%s%llu events in %llu %s, %s; the last number given is %llu\n", l->told ? "\n" : "",
	       (unsigned long long)v.events, (unsigned long long)v.files,
	       v.files == 1 ? "file" : "files", size_text(v.bytes, size),
	       (unsigned long long)v.last_seq);
	if (v.damaged + v.missing)
		printf("damaged in %llu places, %llu events missing: see spool verify\n",
		       (unsigned long long)v.damaged, (unsigned long long)v.missing);
	if (cursors && cursors != -ENOENT)
		printf("cursors: %s\n", log_strerror(cursors));
	if (l->n_outputs)
		printf("\n%-10s %11s %9s %11s %9s %9s %9s\n", "OUTPUT", "POSITION", "WAITING",
		       "ACKED", "REJECTED", "DROPPED", "DAMAGED");
	for (size_t i = 0; i < l->n_outputs; i++)
		print_output(&l->outputs[i], &v);
	return 0;
}

/* ------------------------------------------------------------------ cat */

static int cat_item(void *arg, const struct spool_item *item)
{
	const struct looking *l = arg;
	char when[CLOCK_RFC3339_SIZE], lost[160];

	switch (item->kind) {
	case SPOOL_ITEM_EVENT:
		if (item->msg->seq < l->since)
			return 0;
		clock_format_rfc3339(item->msg->time_us, when);
		printf("%llu\t%s\t%s\t", (unsigned long long)item->msg->seq, when,
		       class_names[item->msg->class]);
		if (record_put_json(item->msg, stdout))
			return -EMSGSIZE;
		break;
	case SPOOL_ITEM_DROPPED:
		if (item->last >= l->since)
			printf("# %llu to %llu: dropped: %s\n", (unsigned long long)item->first,
			       (unsigned long long)item->last, lost_text(item, lost, sizeof(lost)));
		break;
	case SPOOL_ITEM_MISSING:
		if (item->last >= l->since)
			printf("# %llu to %llu: missing\n", (unsigned long long)item->first,
			       (unsigned long long)item->last);
		break;
	case SPOOL_ITEM_DAMAGE:
	case SPOOL_ITEM_TORN:
		break;
	}
	/* A reader that went away, such as head(1), is no failure. */
	return ferror(stdout) ? -EPIPE : 0;
}

static int cat(const char *dir, struct looking *l)
{
	const struct spool_viewer viewer = { .on_item = cat_item, .arg = l };
	struct spool_view v;
	int err = spool_view(dir, &viewer, &v);

	return err == -EPIPE ? 0 : err;
}

/* ------------------------------------------------------------------ verify */

static int verify_item(void *arg, const struct spool_item *item)
{
	uint64_t n;

	(void)arg;
	switch (item->kind) {
	case SPOOL_ITEM_EVENT:
	case SPOOL_ITEM_DROPPED:
		break;
	case SPOOL_ITEM_DAMAGE:
		printf("%s: byte %llu: %s: does not match its sum\n", item->file,
		       (unsigned long long)item->offset, item->what);
		break;
	case SPOOL_ITEM_MISSING:
		n = item->last - item->first + 1;
		printf("%s: %llu missing: %llu to %llu\n", item->file[0] ? item->file : "-",
		       (unsigned long long)n, (unsigned long long)item->first,
		       (unsigned long long)item->last);
		break;
	case SPOOL_ITEM_TORN:
		printf("%s: byte %llu: a batch that was never complete, %llu bytes\n"
		       "  no damage: the next start cuts it and takes its events from where they "
		       "came\n",
		       item->file, (unsigned long long)item->offset,
		       (unsigned long long)item->bytes);
		break;
	}
	return 0;
}

/* 1: there is damage. */
static int verify(const char *dir, struct looking *l)
{
	const struct spool_viewer viewer = { .on_item = verify_item, .arg = l };
	struct spool_view v;
	char size[16];
	int err = spool_view(dir, &viewer, &v);

	if (err)
		return err;
	printf("%s: %llu events in %llu %s, %s: ", dir, (unsigned long long)v.events,
	       (unsigned long long)v.files, v.files == 1 ? "file" : "files",
	       size_text(v.bytes, size));
	if (!v.damaged && !v.missing) {
		printf("all whole\n");
		return 0;
	}
	printf("damaged in %llu %s, %llu %s missing\n", (unsigned long long)v.damaged,
	       v.damaged == 1 ? "place" : "places", (unsigned long long)v.missing,
	       v.missing == 1 ? "event" : "events");
	return 1;
}

/* ------------------------------------------------------------------ the command */

static bool is_number(const char *s)
{
	return *s && s[strspn(s, "0123456789")] == '\0';
}

int command_spool(const struct config *c, int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*fn)(const char *dir, struct looking *l);
		bool takes_number;
	} actions[] = { { "ls", ls, false }, { "cat", cat, true }, { "verify", verify, false } };
	struct looking *l = calloc(1, sizeof(*l));
	const char *dir = c->spool_dir;
	int err = -EINVAL;
	size_t k = 0;

	if (!l)
		return EXIT_FAILURE;
	l->now_us = clock_real_us();
	while (k < 3 && (argc < 1 || strcmp(actions[k].name, argv[0]) != 0))
		k++;
	for (int i = 1; i < argc && k < 3; i++) {
		if (actions[k].takes_number && is_number(argv[i]))
			l->since = strtoull(argv[i], NULL, 10);
		else if (i == 1)
			dir = argv[i];
		else
			k = 3;
	}
	if (k == 3) {
		log_error("spool: takes ls [DIR], cat [DIR] [FIRST-NUMBER], or verify [DIR]");
		free(l);
		return 2;
	}
	err = actions[k].fn(dir, l);
	free(l);
	if (err >= 0)
		return err || (fflush(stdout) && errno != EPIPE) ? EXIT_FAILURE : EXIT_SUCCESS;
	fflush(stdout);
	if (err == -EBADMSG)
		log_error("spool %s: holds no spool, or its file \"spool\" is damaged", dir);
	else
		log_error("spool %s: %s%s", dir, log_strerror(err),
			  err == -EACCES   ? "; root and the shipper's user may read it"
			  : err == -ENOENT ? "; name the directory: sekoia-ebpf spool ls DIR"
					   : "");
	return EXIT_FAILURE;
}
