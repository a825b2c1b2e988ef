/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's log from /dev/kmsg: unlike the console tracepoint it carries the
 * facility and a sequence number, so a gap is seen and counted. The position
 * is that number; it counts from the boot, which is the generation.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "output/spool.h"
#include "user/kernel_record.h"
#include "user/kmsg.h"
#include "user/source.h"
#include "user/util/cleanup.h"
#include "user/util/clock.h"

struct source_kmsg {
	struct source source; /* position: the number of the next record */
	bool started;	      /* position is one that we know */
	struct kmsg kmsg;
};

static int kmsg_take(struct source *s, struct sink *sink)
{
	struct source_kmsg *k = (struct source_kmsg *)s;
	char text[KMSG_MAX];
	struct msg m;
	ssize_t n;

	do {
		n = read(s->fd, text, sizeof(text));
	} while (n < 0 &&
		 (errno == EINTR || errno == EPIPE)); /* EPIPE: overwritten, the gap tells */
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (kmsg_parse((struct slice){ text, (size_t)n }, &k->kmsg) < 0) {
		s->stats.samples++;
		s->stats.bad++;
		return 1;
	}
	if (k->started && k->kmsg.seq < s->position)
		return 1; /* in the spool already */
	s->stats.samples++;
	if (k->started)
		s->stats.lost += k->kmsg.seq - s->position;
	sink_begin(sink);
	if (kernel_record_format(sink->record, &k->kmsg, &m) < 0)
		s->stats.filtered++;
	else
		sink_add(s, sink, &m);
	s->position = k->kmsg.seq + 1;
	k->started = true;
	return 1;
}

/* The kernel keeps its own log: there is no room to give back. */
static void kmsg_release(struct source *s)
{
	(void)s;
}

static void kmsg_free(struct source *s)
{
	close_fd(s->fd);
	free(s);
}

static const struct source_ops kmsg_ops = {
	.name = "kernel_log",
	.id = SOURCE_KERNEL_LOG,
	.apart = true,
	.take = kmsg_take,
	.release = kmsg_release,
	.free = kmsg_free,
};

int source_kmsg_new(const char *path, const struct spool_position *resume, struct source **ret)
{
	struct source_kmsg *k;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	k = calloc(1, sizeof(*k));
	if (!k) {
		close_fd(fd);
		return -ENOMEM;
	}
	k->source = (struct source){ .ops = &kmsg_ops, .fd = fd, .generation = clock_boot_id() };
	if (resume && resume->generation == k->source.generation) {
		k->source.position = resume->position;
		k->started = true;
	}
	*ret = &k->source;
	return 0;
}
