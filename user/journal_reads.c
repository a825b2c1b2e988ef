/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/journal_reads.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "user/util/cleanup.h"
#include "user/util/clock.h"

#define JOURNALD_DIR "/run/systemd/journal"
#define FIRST_PID_NS 0xeffffffcu /* linux/proc_ns.h, PROC_PID_INIT_INO */
#define STEP_NS	     1000000	 /* less than this is how exactly two clocks can be read */

uint64_t journal_reads_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/* The shortest of a few rounds: the others were interrupted. */
static uint64_t clock_offset_ns(void)
{
	uint64_t best = UINT64_MAX, ret = 0;

	for (int i = 0; i < 8; i++) {
		uint64_t before = journal_reads_now_ns();
		uint64_t boot = clock_boot_ns();
		uint64_t after = journal_reads_now_ns();

		if (after - before < best) {
			uint64_t mono = before + (after - before) / 2;

			best = after - before;
			ret = boot > mono ? boot - mono : 0;
		}
	}
	/* It has never slept: what is left is how long it took to read the clocks. */
	return ret < STEP_NS ? 0 : ret;
}

int journal_reads_init(struct journal_reads *r, struct journal_gaps *gaps)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	struct stat st;
	char id[64] = "";
	size_t n = 0;

	*r = (struct journal_reads){ .gaps = gaps };
	if (!f || !fgets(id, sizeof(id), f))
		return errno ? -errno : -ENOENT;
	for (const char *p = id; *p && n < JOURNAL_BOOT_SIZE - 1; p++)
		if (*p != '-' && *p != '\n')
			r->boot[n++] = *p;
	if (n != JOURNAL_BOOT_SIZE - 1)
		return -EINVAL;
	r->has_pids = stat("/proc/self/ns/pid", &st) == 0 && st.st_ino == FIRST_PID_NS;
	r->off_ns = r->off_before_ns = clock_offset_ns();
	r->looked_ns = clock_boot_ns();
	return 0;
}

void journal_reads_look(struct journal_reads *r)
{
	uint64_t now_ns = clock_boot_ns(), off_ns = clock_offset_ns();
	uint64_t step_ns = off_ns > r->off_ns ? off_ns - r->off_ns : r->off_ns - off_ns;

	if (step_ns >= STEP_NS) {
		r->off_before_ns = r->off_ns;
		r->off_ns = off_ns;
		/* It fell asleep when it had been awake for that long since the last look. */
		r->changed_ns = now_ns - step_ns > r->looked_ns ? now_ns - step_ns : r->looked_ns;
	}
	r->looked_ns = now_ns;
}

/* Does it have the same /run as we have? One that is gone was, as far as its path tells. */
bool journal_reads_has_our_run(uint32_t tgid)
{
	struct stat ours, theirs;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%u/root" JOURNALD_DIR, tgid);
	if (stat(JOURNALD_DIR, &ours) < 0)
		return false;
	if (stat(path, &theirs) < 0)
		return errno == ENOENT || errno == ESRCH;
	return ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

/* Its main one, and not a namespace's; and not what it passes on to rsyslogd. */
static bool is_journald_path(const struct journal_sample *s)
{
	static const char *const paths[] = { JOURNALD_DIR "/socket", JOURNALD_DIR "/stdout",
					     JOURNALD_DIR "/dev-log" };

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		if (slice_is(s->path, paths[i]))
			return !s->path_is_cut;
	return false;
}

static bool is_ours(struct journal_reads *r, const struct journal_sample *s)
{
	bool is_path = is_journald_path(s);
	int i;

	/* The kernel's audit comes without a path: whoever reads that must be known. */
	if (!is_path && !s->netlink)
		return false;
	for (i = 0; i < JOURNAL_READERS_KNOWN; i++)
		if (r->known[i].tgid == s->reader_pid && s->reader_pid)
			return r->known[i].ours;
	if (!is_path)
		return false;
	i = r->next_known++ % JOURNAL_READERS_KNOWN;
	r->known[i].tgid = s->reader_pid;
	r->known[i].ours = journal_reads_has_our_run(s->reader_pid);
	return r->known[i].ours;
}

/* When it was read, in CLOCK_MONOTONIC. */
static uint64_t mono_ns_of(const struct journal_reads *r, const struct journal_sample *s)
{
	uint64_t off_ns = s->boot_ns <= r->changed_ns ? r->off_before_ns : r->off_ns;

	return s->boot_ns > off_ns ? s->boot_ns - off_ns : 0;
}

void journal_reads_note(struct journal_reads *r, const struct journal_sample *s)
{
	uint64_t ns = mono_ns_of(r, s);

	if (ns > r->last_ns && is_ours(r, s))
		r->last_ns = ns;
}

void journal_reads_note_line(struct journal_reads *r, const struct journal_sample *s,
			     const struct journal_line *line)
{
	struct journal_read read;

	if (!r->gaps->n || !is_ours(r, s))
		return;
	/* A line that another process's write has ended is of the one that began it. */
	read = (struct journal_read){
		.ns = mono_ns_of(r, s),
		.pid = r->has_pids ? line->trusted_pid : 0,
		.is_stream = s->stream,
		.line = s->stream ? journal_line_sum(line->text) : 0,
	};
	journal_gaps_note(r->gaps, r->boot, &read);
}
