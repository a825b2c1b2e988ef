/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What flows are called: ring samples to the tables of user/names.h. No record is made
 * of them, and nobody waits for them: they are taken before each flow.
 *
 * The ring is a memory, too: the half of it that was read last is not given back, so
 * that a collector that was killed is followed by one that knows those names.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "user/event.h"
#include "user/names.h"
#include "user/probe.h"
#include "user/rings.h"
#include "user/source.h"

#define MARKS 8 /* in the half that is kept */

struct source_names {
	struct source source;
	struct rings *rings;
	struct names *names;
	uint64_t marks[MARKS]; /* positions, a sixteenth of the ring apart */
	int n_marks, first_mark;
	uint64_t marked, generation; /* the last of them, and of which ring */
	uint64_t released;
};

/* The position behind which all is kept. */
static void mark(struct source_names *s)
{
	uint64_t at = s->source.position;

	if (s->generation != s->source.generation) {
		s->generation = s->source.generation;
		s->n_marks = s->first_mark = 0;
		s->marked = s->released = at;
	}
	if (at - s->marked < rings_size(s->rings) / (2 * MARKS))
		return;
	if (s->n_marks == MARKS) {
		s->released = s->marks[s->first_mark];
		s->first_mark = (s->first_mark + 1) % MARKS;
		s->n_marks--;
	}
	s->marks[(s->first_mark + s->n_marks++) % MARKS] = at;
	s->marked = at;
}

static int names_take(struct source *source, struct sink *sink)
{
	struct source_names *s = (struct source_names *)source;
	const void *sample;
	struct event e;
	size_t size;

	(void)sink;
	if (!rings_next(s->rings, &source->generation, &source->position, &sample, &size)) {
		source->behind = rings_is_behind(s->rings);
		return 0;
	}
	source->stats.samples++;
	if (event_decode(sample, size, &e) < 0 || e.kind != EVENT_IS_PACKET)
		source->stats.bad++;
	else
		names_take_packet(s->names, &e.packet);
	source->position = rings_position(s->rings);
	mark(s);
	return 1;
}

static void names_release(struct source *source)
{
	struct source_names *s = (struct source_names *)source;

	if (s->generation == source->generation)
		rings_release(s->rings, s->released);
}

/* What was read and is kept is not waiting. */
static void names_get_ring(const struct source *source, uint64_t *ret_size, uint64_t *ret_fill)
{
	const struct source_names *s = (const struct source_names *)source;

	*ret_size = rings_size(s->rings);
	*ret_fill = rings_waiting(s->rings);
}

static void names_source_free(struct source *source)
{
	rings_free(((struct source_names *)source)->rings);
	free(source);
}

static const struct source_ops names_ops = {
	.name = "names",
	.id = SOURCE_NAMES,
	.quiet = true,
	.take = names_take,
	.release = names_release,
	.get_ring = names_get_ring,
	.free = names_source_free,
};

int source_names_new(const struct kernel *k, struct names *names, struct source **ret)
{
	struct source_names *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	/* From where the ring was given back, not from where the spool knows: to learn again. */
	err = rings_new(k, KERNEL_NAMES, NULL, &s->rings);
	if (err) {
		free(s);
		return err;
	}
	s->names = names;
	s->source = (struct source){ .ops = &names_ops,
				     .fd = kernel_ring_fd(k, KERNEL_NAMES),
				     .edge = true,
				     .generation = rings_generation(s->rings),
				     .position = rings_position(s->rings),
				     .behind = rings_is_behind(s->rings) };
	s->generation = s->source.generation;
	s->marked = s->released = s->source.position;
	s->source.stats.lost = kernel_lost(k, KERNEL_NAMES);
	*ret = &s->source;
	return 0;
}
