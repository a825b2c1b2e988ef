/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the books: from the kernel's maps, the sources, the spool, the cursors and /proc. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "output/spool.h"
#include "user/books.h"
#include "user/losses.h"
#include "user/shipper_process.h"
#include "user/util/clock.h"

/* A loss is something to look at for so long. */
#define RECENT_NS (600 * 1000000000ull)

static struct books_item *add(struct books *b, enum books_scope scope, const char *name, size_t len)
{
	static struct books_item none;
	struct books_item *item = b->n_items < BOOKS_ITEMS ? &b->items[b->n_items++] : &none;

	*item = (struct books_item){ .scope = scope };
	if (len >= sizeof(item->name))
		len = sizeof(item->name) - 1;
	memcpy(item->name, name, len);
	return item;
}

__attribute__((format(printf, 2, 3))) static void wrong(struct books *b, const char *fmt, ...)
{
	va_list ap;

	if (b->n_wrongs == BOOKS_WRONGS)
		return;
	va_start(ap, fmt);
	vsnprintf(b->wrongs[b->n_wrongs++], sizeof(b->wrongs[0]), fmt, ap);
	va_end(ap);
}

static void read_kernel(struct books *b, const struct books_inputs *in, enum books_extent extent)
{
	for (int i = 0; in->kernel && i < KERNEL_SOURCES; i++) {
		const char *name = kernel_source_name((enum kernel_source)i);
		struct books_item *item;
		struct kernel_counters c;

		/* An executable that is not remembered is no event. */
		if (i == KERNEL_PROCESSES && extent != BOOKS_READ_ALL)
			continue;
		if (kernel_get_counters(in->kernel, (enum kernel_source)i, &c) < 0)
			continue;
		item = add(b, BOOKS_KERNEL, name, strlen(name));
		item->kernel = c;
		item->generation = kernel_lineage(in->kernel, (enum kernel_source)i);
	}
}

static void read_sources(struct books *b, const struct books_inputs *in)
{
	for (int i = 0; i < in->n_sources; i++) {
		const struct source *s = in->sources[i];
		struct books_item *item = add(b, BOOKS_SOURCE, s->ops->name, strlen(s->ops->name));

		item->source = s->stats;
		item->generation = in->run_id;
	}
}

static void read_rings(struct books *b, const struct books_inputs *in)
{
	for (int i = 0; i < in->n_sources; i++) {
		const struct source *s = in->sources[i];
		struct books_ring ring;

		if (!s->ops->get_ring)
			continue;
		s->ops->get_ring(s, &ring.size, &ring.fill);
		add(b, BOOKS_RING, s->ops->name, strlen(s->ops->name))->ring = ring;
	}
}

/* The oldest of the spool's files: how long ago it was begun. */
static uint64_t oldest_ns(const char *dir, uint64_t real_us)
{
	char first[64] = "";
	struct statx st;
	struct dirent *e;
	uint64_t born_us;
	DIR *d = opendir(dir);

	if (!d)
		return 0;
	while ((e = readdir(d))) {
		const char *dot = strrchr(e->d_name, '.');

		if (dot && !strcmp(dot, ".seg") && strlen(e->d_name) < sizeof(first) &&
		    (!first[0] || strcmp(e->d_name, first) < 0))
			memcpy(first, e->d_name, strlen(e->d_name) + 1);
	}
	born_us = real_us;
	if (first[0] &&
	    !statx(dirfd(d), first, AT_SYMLINK_NOFOLLOW, STATX_BTIME | STATX_MTIME, &st)) {
		const struct statx_timestamp *t =
			st.stx_mask & STATX_BTIME ? &st.stx_btime : &st.stx_mtime;

		born_us = (uint64_t)t->tv_sec * 1000000 + t->tv_nsec / 1000;
	}
	closedir(d);
	return born_us < real_us ? (real_us - born_us) * 1000 : 0;
}

static void read_spool(struct books *b, const struct books_inputs *in, const struct spool_stats *s)
{
	add(b, BOOKS_SPOOL, "", 0)->spool = (struct books_spool){
		.appended = s->last_seq,
		.bytes = s->bytes,
		.max_bytes = in->config->spool_max_bytes,
		.oldest_ns = oldest_ns(in->config->spool_dir, b->real_us),
		.torn_bytes = s->torn_bytes,
		.dropped_segments = s->dropped_segments,
		.commit_errors = s->commit_errors,
	};
}

/* Of which class, and why. */
static void read_drops(struct books_output *o, const struct spool_cursor *c,
		       const struct spool_ahead *ahead)
{
	uint64_t *const by_class[MSG_CLASSES] = {
		[MSG_JOURNAL] = &o->dropped_journal,
		[MSG_FLOW] = &o->dropped_flows,
		[MSG_KERNEL] = &o->dropped_kernel,
		[MSG_SELF] = &o->dropped_self,
	};

	o->dropped_old = c->lost_age;
	for (int class = 0; class < MSG_CLASSES; class ++) {
		o->dropped_old += ahead->lost[SPOOL_LOST_AGE][class];
		for (int reason = 0; reason < SPOOL_LOSSES; reason++)
			*by_class[class] += c->lost[reason][class] + ahead->lost[reason][class];
	}
}

static void read_output(struct books *b, const struct books_inputs *in, const struct spool_stats *s,
			enum books_extent extent, const char *name, size_t len)
{
	struct spool_ahead ahead = { 0 };
	struct spool_cursor c;
	struct books_item *item;
	uint64_t from;
	char text[32];

	snprintf(text, sizeof(text), "%.*s", (int)len, name);
	if (spool_cursor_peek(in->config->spool_dir, text, &c) < 0 ||
	    c.spool_id != spool_id(in->spool))
		return;
	/* What was given up is dropped, though its reader has not come to it yet. */
	if (extent == BOOKS_READ_ALL) {
		spool_get_ahead(in->spool, c.cursor_seq, &ahead);
	} else {
		from = c.cursor_seq;
		ahead.dropped = s->removed_seq > from ? s->removed_seq - from : 0;
		from += ahead.dropped;
		/* The cursor may be a moment ahead of the numbers that we took before it. */
		ahead.waiting = s->last_seq > from ? s->last_seq - from : 0;
	}
	item = add(b, BOOKS_OUTPUT, text, strlen(text));
	item->generation = c.spool_id;
	item->output = (struct books_output){
		.acknowledged = c.acked,
		.rejected = c.rejected,
		.filtered = c.filtered,
		.dropped = c.lost_limit + c.lost_age + ahead.dropped,
		.settled_dropped = c.lost_limit + c.lost_age,
		.damaged = c.lost_damage,
		.waiting = ahead.waiting,
		.before = c.start_seq,
		.dead_lettered = c.dead_lettered,
		.dead_unwritten = c.dead_unwritten,
		.dead_dropped = c.dead_dropped,
		.sent = c.sent,
		.sent_bytes = c.sent_bytes,
		.connects = c.connects,
		.failures = c.failures,
	};
	read_drops(&item->output, &c, &ahead);
	if (c.target[0])
		snprintf(item->peer, sizeof(item->peer), "%.79s", c.target);
	else if (strcmp(text, "stdout") != 0 && strcmp(text, "file") != 0)
		snprintf(item->peer, sizeof(item->peer), "%.79s",
			 config_hosts(in->config, text)
				 ? config_hosts(in->config, text)
				 : config_endpoints[in->config->region].host);
	else if (!strcmp(text, "file") && in->config->output_file)
		snprintf(item->peer, sizeof(item->peer), "%.79s", in->config->output_file);
	snprintf(item->state, sizeof(item->state), "%.31s", c.state);
	snprintf(item->error, sizeof(item->error), "%.191s", c.last_error);
}

static void read_outputs(struct books *b, const struct books_inputs *in,
			 const struct spool_stats *s, enum books_extent extent)
{
	for (const char *p = in->config->output; *p;) {
		size_t n = strcspn(p, ",");

		read_output(b, in, s, extent, p, n);
		p += n + (p[n] == ',');
	}
}

static void read_names(struct books *b, const struct books_inputs *in)
{
	struct names_stats s;

	if (!in->names)
		return;
	names_get_stats(in->names, &s);
	add(b, BOOKS_NAMES, "", 0)->names = s;
}

static void read_containers(struct books *b, const struct books_inputs *in)
{
	struct container_names_stats s;

	if (!in->containers)
		return;
	container_names_get_stats(in->containers, &s);
	add(b, BOOKS_CONTAINERS, "", 0)->containers = s;
}

static void read_losses(struct books *b, const struct books_inputs *in)
{
	const struct loss *l;

	for (int i = 0; (l = losses_get(in->losses, i)); i++) {
		if (!l->lost)
			continue;
		add(b, BOOKS_LOSS, l->name, strlen(l->name))->loss =
			(struct books_loss){ l->lost, l->told };
	}
}

/* /proc/PID/stat: utime and stime are the 12th and 13th field behind the name. */
static void read_process(struct books *b, const char *name, pid_t pid)
{
	unsigned long long user = 0, system = 0, pages = 0;
	uint64_t tick_ns = 1000000000ull / (uint64_t)sysconf(_SC_CLK_TCK);
	char path[64], text[1024];
	struct books_item *item;
	const char *p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return;
	p = fgets(text, sizeof(text), f);
	fclose(f);
	p = p ? strrchr(text, ')') : NULL;
	if (!p || sscanf(p + 1,
			 " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu "
			 "%*d %*d %*d %*d %*d %*d %*u %*u %llu",
			 &user, &system, &pages) != 3)
		return;
	item = add(b, BOOKS_PROCESS, name, strlen(name));
	item->process = (struct books_process){
		.pid = (uint64_t)pid,
		.rss = pages * (uint64_t)sysconf(_SC_PAGESIZE),
		.cpu_ns = (user + system) * tick_ns,
	};
}

static void read_nat(struct books *b, const struct books_inputs *in)
{
	if (in->nat)
		nat_get_stats(in->nat, &add(b, BOOKS_NAT, "", 0)->nat);
}

static void read_unowned(struct books *b)
{
	struct unowned_packets packets[UNOWNED_KINDS];

	snmp_read(packets);
	for (int i = 0; i < UNOWNED_KINDS; i++)
		add(b, BOOKS_UNOWNED, unowned_names[i], strlen(unowned_names[i]))->unowned =
			packets[i];
}

static void read_programs(struct books *b, const struct books_inputs *in)
{
	struct kernel_program programs[64];
	int n = in->kernel ? kernel_get_programs(in->kernel, programs, 64) : 0;

	for (int i = 0; i < n; i++)
		add(b, BOOKS_PROGRAM, programs[i].name, strlen(programs[i].name))->program =
			programs[i];
}

static void judge(struct books *b, const struct books_inputs *in, pid_t shipper)
{
	const struct loss *l;

	if (in->daemon.stuck_ns)
		wrong(b, "the spool can not be written for %llu s: events wait in the kernel",
		      (unsigned long long)(in->daemon.stuck_ns / 1000000000));
	if (in->shipper && !shipper)
		wrong(b, "the shipper does not run: nothing is sent");
	for (int i = 0; i < b->n_items; i++) {
		const struct books_item *item = &b->items[i];

		if (item->scope == BOOKS_OUTPUT && item->output.waiting &&
		    !strcmp(item->state, "backing off"))
			wrong(b, "%s does not deliver: %llu events wait", item->name,
			      (unsigned long long)item->output.waiting);
	}
	for (int i = 0; (l = losses_get(in->losses, i)); i++)
		if (l->row && l->lost && l->last_us && b->real_us - l->last_us < RECENT_NS / 1000)
			wrong(b, "%s: events %s within the last ten minutes", l->name,
			      l->row->lost);
}

void books_read(struct books *b, const struct books_inputs *in, enum books_extent extent)
{
	struct shipper_process_stats shipper = { 0 };
	struct spool_stats s;

	b->version = SEKOIA_VERSION;
	b->real_us = clock_real_us();
	b->boot_ns = clock_boot_ns();
	b->n_items = b->n_wrongs = 0;
	if (extent == BOOKS_READ_SOURCES) {
		read_sources(b, in);
		return;
	}
	spool_get_stats(in->spool, &s);
	read_kernel(b, in, extent);
	read_sources(b, in);
	if (extent == BOOKS_READ_LOSSES) {
		read_outputs(b, in, &s, extent);
		return;
	}
	snprintf(b->hostname, sizeof(b->hostname), "%.255s", in->hostname ? in->hostname : "");
	if (in->shipper)
		shipper_get_stats(in->shipper, &shipper);
	read_rings(b, in);
	read_names(b, in);
	read_nat(b, in);
	read_containers(b, in);
	if (in->kernel && kernel_has(in->kernel, KERNEL_FLOWS))
		read_unowned(b);
	read_spool(b, in, &s);
	read_outputs(b, in, &s, extent);
	read_losses(b, in);
	read_process(b, "collector", getpid());
	if (shipper.pid)
		read_process(b, "shipper", shipper.pid);
	read_programs(b, in);
	{
		struct books_item *item = add(b, BOOKS_DAEMON, "", 0);

		item->daemon = in->daemon;
		item->daemon.shipper_starts = shipper.starts;
		item->daemon.shipper_deaths = shipper.deaths;
		item->daemon.shipper_failures = shipper.failures;
	}
	judge(b, in, shipper.pid);
}
