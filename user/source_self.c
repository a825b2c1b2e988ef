/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/source_self.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "output/spool.h"
#include "user/kernel_meters.h"
#include "user/record.h"
#include "user/self_record.h"
#include "user/stream_state.h"
#include "user/util/clock.h"
#include "user/util/log.h"

#define STATE_MAGIC	0x31534c53u /* "SLS1": the form of losses_save() */
#define STATE_MAX_BYTES (64u << 10)

struct source_self {
	struct source source;
	struct source_self_opts opts;
	struct stream_state state;
	struct buf saved;
	uint64_t saved_version;
	uint64_t heartbeat_ms; /* when the next one is due; 0: at once */
	uint64_t started_us;   /* since the epoch */
	uint64_t looked_us;    /* 0: not yet */
	struct sink *sink;
};

static struct kernel_span span_of(const struct kernel_losses *l, const char *key)
{
	if (!strcmp(key, "ring_full"))
		return l->ring_full;
	if (!strcmp(key, "no_room"))
		return l->no_room;
	if (!strcmp(key, "missed"))
		return l->missed;
	if (!strcmp(key, "truncated"))
		return l->truncated;
	return (struct kernel_span){ 0 };
}

struct look {
	struct source_self *self;
	uint64_t from_us, to_us; /* the last look and this one */
	uint64_t kernel_from_us; /* the same; 0: the kernel knows what was before this process */
	int64_t boot_to_real_ns;
};

/* The kernel is asked for the times of a source once, when any of its counters grew. */
static void note_kernel(const struct look *look, const struct books_item *item)
{
	const struct source_self_opts *o = &look->self->opts;
	enum kernel_source source = kernel_source_find(item->name);
	bool asked = false;
	struct kernel_losses times = { 0 };

	for (const struct books_row *row = books_rows; row->key; row++) {
		uint64_t from_us = look->from_us, to_us = look->to_us;
		uint64_t value = row->scope == BOOKS_KERNEL ? books_value(item, row) : 0;
		struct kernel_span span;

		if (row->scope != BOOKS_KERNEL || !row->lost ||
		    !losses_has_grown(o->losses, "kernel", item->name, row->key, item->generation,
				      value))
			continue;
		if (!asked)
			kernel_take_losses(o->kernel, source, &times);
		asked = true;
		span = span_of(&times, row->key);
		if (span.first_ns) {
			uint64_t first_us =
				(uint64_t)((int64_t)span.first_ns + look->boot_to_real_ns) / 1000;
			uint64_t last_us =
				(uint64_t)((int64_t)span.last_ns + look->boot_to_real_ns) / 1000;

			/* What was asked about before lies before the last look. */
			from_us = first_us > look->kernel_from_us ? first_us : look->kernel_from_us;
			if (last_us >= from_us && last_us < to_us)
				to_us = last_us;
		}
		losses_note(o->losses, row, "kernel", item->name, item->generation, value, value,
			    from_us, to_us);
	}
}

static void note_item(const struct look *look, const struct books_item *item)
{
	const char *scope = books_scopes[item->scope].name;

	for (const struct books_row *row = books_rows; row->key; row++) {
		uint64_t value, noticed;

		if (row->scope != item->scope || !row->lost)
			continue;
		value = noticed = books_value(item, row);
		if (item->scope == BOOKS_OUTPUT && !strcmp(row->key, "dropped"))
			value = item->output.settled_dropped;
		losses_note(look->self->opts.losses, row, scope, item->name, item->generation,
			    value, noticed, look->from_us, look->to_us);
	}
}

static void look(struct source_self *self, struct sink *sink)
{
	struct books *b = self->opts.books;
	struct look l = { .self = self, .boot_to_real_ns = sink->record->boot_to_real_ns };

	self->opts.read_books(self->opts.arg, b, BOOKS_READ_LOSSES);
	l.kernel_from_us = self->looked_us;
	l.from_us = self->looked_us ? self->looked_us : self->started_us;
	l.to_us = b->real_us;
	for (int i = 0; i < b->n_items; i++) {
		if (b->items[i].scope == BOOKS_KERNEL)
			note_kernel(&l, &b->items[i]);
		else
			note_item(&l, &b->items[i]);
	}
	self->looked_us = b->real_us;
	self->source.position = losses_version(self->opts.losses);
}

void source_self_look(struct source *s, struct sink *sink)
{
	struct source_self *self = (struct source_self *)s;

	self->sink = sink;
	look(self, sink);
}

static uint64_t ring_size_of(const struct books *b, const struct loss *loss)
{
	const struct books_item *ring;

	if (strcmp(loss->row->key, "ring_full") != 0)
		return 0;
	ring = books_find(b, BOOKS_RING, loss->item);
	return ring ? ring->ring.size : 0;
}

/* True when it is in the batch. */
static bool tell_loss(struct source_self *self, struct sink *sink, struct loss *loss)
{
	struct msg m;

	self->opts.read_books(self->opts.arg, self->opts.books, BOOKS_READ_ALL);
	sink_begin(sink);
	self_record_loss(sink->record, loss, self->opts.books->real_us,
			 ring_size_of(self->opts.books, loss), &m);
	if (sink->add(sink->arg, &m))
		return false;
	losses_told(self->opts.losses, loss, self->source.stats.records, sink->now_ms);
	self->source.stats.records++;
	self->source.position = losses_version(self->opts.losses);
	return true;
}

static bool beat(struct source_self *self, struct sink *sink)
{
	struct msg m;

	self->heartbeat_ms = sink->now_ms + self->opts.heartbeat_ms;
	self->opts.read_books(self->opts.arg, self->opts.books, BOOKS_READ_ALL);
	sink_begin(sink);
	if (self_record_heartbeat(sink->record, self->opts.books, &m) < 0 ||
	    sink->add(sink->arg, &m))
		return false;
	self->source.stats.records++;
	return true;
}

static int self_take(struct source *s, struct sink *sink)
{
	struct source_self *self = (struct source_self *)s;
	struct loss *loss;

	self->sink = sink;
	if (self->opts.heartbeat_ms && sink->now_ms >= self->heartbeat_ms) {
		s->stats.samples++;
		return beat(self, sink);
	}
	loss = losses_due(self->opts.losses, sink->now_ms, false);
	if (!loss)
		return 0;
	s->stats.samples++;
	return tell_loss(self, sink, loss);
}

/* The sources count what they lose by themselves: that is saved with their positions. */
static int self_prepare(struct source *s, uint64_t next_seq)
{
	struct source_self *self = (struct source_self *)s;
	struct stream_moment when = { .generation = s->generation, .next_seq = next_seq };
	struct books *b = self->opts.books;
	int err;

	if (self->sink) {
		struct look l = { .self = self, .from_us = self->started_us };

		if (self->looked_us)
			l.from_us = self->looked_us;
		self->opts.read_books(self->opts.arg, b, BOOKS_READ_SOURCES);
		l.to_us = b->real_us;
		for (int i = 0; i < b->n_items; i++)
			if (b->items[i].scope == BOOKS_SOURCE)
				note_item(&l, &b->items[i]);
	}
	s->position = losses_version(self->opts.losses);
	if (s->position == self->saved_version)
		return 0;
	when.position = s->position;
	buf_clear(&self->saved);
	err = losses_save(self->opts.losses, &self->saved);
	if (!err)
		err = stream_state_save(&self->state, &when, buf_slice(&self->saved));
	if (!err)
		self->saved_version = s->position;
	return err;
}

static void self_release(struct source *s)
{
	(void)s;
}

static bool self_flush(struct source *s, struct sink *sink, bool all)
{
	struct source_self *self = (struct source_self *)s;
	struct loss *loss;

	if (!all)
		return true;
	look(self, sink);
	while ((loss = losses_due(self->opts.losses, sink->now_ms, true))) {
		if (sink->is_full(sink->arg))
			return false;
		s->stats.samples++;
		if (!tell_loss(self, sink, loss))
			return true;
	}
	return true;
}

static void self_free(struct source *s)
{
	struct source_self *self = (struct source_self *)s;

	buf_done(&self->saved);
	free(self);
}

static const struct source_ops self_ops = {
	.name = "self",
	.id = SOURCE_SELF,
	.take = self_take,
	.prepare = self_prepare,
	.release = self_release,
	.flush = self_flush,
	.free = self_free,
};

static void restore(struct source_self *self, const struct spool_position *resume,
		    uint64_t next_seq)
{
	struct stream_moment now = { resume->generation, resume->position, next_seq };

	if (stream_state_load(&self->state, &now, &self->saved) == 0 &&
	    losses_restore(self->opts.losses, buf_slice(&self->saved)) < 0)
		log_warning("the ledger of losses is damaged: losses may be told again");
}

int source_self_new(const struct source_self_opts *opts, const struct spool_position *resume,
		    uint64_t next_seq, struct source **ret)
{
	struct source_self *self = calloc(1, sizeof(*self));

	if (!self)
		return -ENOMEM;
	self->source = (struct source){ .ops = &self_ops, .fd = -1, .generation = opts->spool_id };
	self->opts = *opts;
	buf_init(&self->saved, STATE_MAX_BYTES);
	stream_state_init(&self->state, opts->state_dir, "losses", STATE_MAGIC);
	if (resume && resume->generation == self->source.generation)
		restore(self, resume, next_seq);
	self->saved_version = self->source.position = losses_version(opts->losses);
	self->started_us = clock_real_us();
	*ret = &self->source;
	return 0;
}
