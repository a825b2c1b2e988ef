/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sekoia-ebpf tail: follows the spool of the collector that runs. It has no cursor, so it
 * holds nothing back: what was delivered and removed before it was read is told
 * as a number. It reads only, and needs no key.
 */
#define _GNU_SOURCE
#include "user/command_tail.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "output/spool_view.h"
#include "user/record_line.h"
#include "user/util/clock.h"
#include "user/util/log.h"

#define LOOK_MS	  100
#define WRITER_MS 2000 /* how often to ask whether a collector is still there */

struct tail {
	struct record_filter filter;
	bool json, colour;
	uint64_t passed; /* numbers that were not to be had */
};

static volatile sig_atomic_t asked_to_stop;

static void on_stop(int signo)
{
	(void)signo;
	asked_to_stop = 1;
}

static void put_human(const struct tail *t, const struct record_facts *r)
{
	static const char *const colours[MSG_CLASSES] = { "32", "36", "33", "35" };
	char line[RECORD_LINE_SIZE];

	record_line(r, line);
	if (t->colour)
		printf("\033[2m%.8s\033[0m \033[%sm%.7s\033[0m%s\n", line, colours[r->msg->class],
		       line + 9, line + 16);
	else
		puts(line);
}

static int on_item(void *arg, const struct spool_item *item)
{
	struct tail *t = arg;
	struct record_facts facts;

	if (asked_to_stop)
		return -EINTR;
	if (item->kind != SPOOL_ITEM_EVENT) {
		t->passed += item->last - item->first + 1;
		/* It has no place in the JSON. */
		fflush(stdout);
		fprintf(t->json ? stderr : stdout, "# %llu to %llu: %s\n",
			(unsigned long long)item->first, (unsigned long long)item->last,
			item->kind == SPOOL_ITEM_DROPPED ? "dropped at the spool's limit"
							 : "gone before they could be shown");
		return 0;
	}
	record_read(item->msg, &facts);
	if (!record_filter_takes(&t->filter, &facts))
		return 0;
	if (t->json)
		record_put_json(item->msg, stdout);
	else
		put_human(t, &facts);
	return ferror(stdout) ? -EPIPE : 0;
}

/* True while it makes sense to go on: a reader that went away is noticed on a quiet host, too. */
static bool wait_a_moment(void)
{
	struct pollfd out = { .fd = STDOUT_FILENO };

	return poll(&out, 1, LOOK_MS) <= 0 || !(out.revents & (POLLERR | POLLNVAL));
}

static int refuse(const char *dir, int err)
{
	if (err == -ENOENT || err == -EBADMSG)
		log_error("tail: %s holds no spool: no collector has run with this "
			  "configuration; start it (systemctl start sekoia-ebpf), or name its "
			  "spool.dir: sekoia-ebpf --spool-dir DIR tail",
			  dir);
	else
		log_error("tail: %s: %s%s", dir, log_strerror(err),
			  err == -EACCES ? "; sudo sekoia-ebpf tail" : "");
	return EXIT_FAILURE;
}

/* Of its own spool.dir there is at most one. */
static int refuse_without_writer(const char *dir)
{
	log_error("tail: no collector writes into %s; start it (systemctl start sekoia-ebpf), or "
		  "name the spool.dir of the one that runs; what waits in this one: sekoia-ebpf "
		  "spool cat",
		  dir);
	return EXIT_FAILURE;
}

static int follow(const char *dir, struct tail *t)
{
	const struct spool_viewer viewer = { .on_item = on_item, .arg = t };
	_cleanup_(spool_follow_freep) struct spool_follow *f = NULL;
	uint64_t asked_ms = clock_mono_ms();
	bool alone = false;
	int err = spool_follow_new(dir, &f);

	if (err)
		return refuse(dir, err);
	if (!spool_has_writer(dir))
		return refuse_without_writer(dir);
	while (!asked_to_stop) {
		uint64_t now_ms = clock_mono_ms();

		err = spool_follow_read(f, &viewer);
		if (fflush(stdout) || err == -EPIPE)
			return EXIT_SUCCESS;
		if (err == -ESTALE) {
			log_error("tail: %s was removed; start again when a collector has made it "
				  "anew",
				  dir);
			return EXIT_FAILURE;
		}
		if (err && err != -EINTR)
			return refuse(dir, err);
		if (now_ms - asked_ms >= WRITER_MS) {
			bool gone = spool_has_writer(dir) == 0;

			if (gone != alone)
				log_info("tail: %s", gone ? "the collector has stopped; waiting "
							    "for the next start, Ctrl-C ends it"
							  : "a collector runs again");
			alone = gone;
			asked_ms = now_ms;
		}
		if (!wait_a_moment())
			break;
	}
	return EXIT_SUCCESS;
}

int command_tail(const struct config *c, int argc, char **argv)
{
	struct tail t = { .json = c->command_flags & COMMAND_JSON,
			  .colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR") };
	const struct sigaction stop = { .sa_handler = on_stop };

	for (int i = 0; i < argc; i++) {
		int err = record_filter_add(&t.filter, argv[i]);

		if (err) {
			log_error("tail: \"%s\" %s; allowed: journal, flows, kernel, self, "
				  "process=NAME, pid=N, host=ADDRESS, port=N, container=ID, "
				  "text=WORDS",
				  argv[i], err == -E2BIG ? "is one too many" : "is no filter");
			return 2;
		}
	}
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	return follow(c->spool_dir, &t);
}
