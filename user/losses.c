/* SPDX-License-Identifier: Apache-2.0 */
#include "user/losses.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "user/books.h"

struct losses {
	struct loss list[LOSSES_MAX];
	int n;
	uint64_t version;
};

/* As it is on the disk, of this machine: in its byte order. */
struct saved_loss {
	char name[LOSS_NAME_SIZE];
	uint64_t generation, counted, noticed, lost, told, first_us, last_us;
};
_Static_assert(sizeof(struct saved_loss) == LOSS_NAME_SIZE + 7 * 8, "no padding");

struct saved_head {
	uint64_t version;
	uint64_t n;
};

int losses_new(struct losses **ret)
{
	struct losses *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	*ret = l;
	return 0;
}

void losses_free(struct losses *l)
{
	free(l);
}

static struct loss *find(struct losses *l, const char *name)
{
	for (int i = 0; i < l->n; i++)
		if (!strcmp(l->list[i].name, name))
			return &l->list[i];
	return NULL;
}

static void name_of(char ret[static LOSS_NAME_SIZE], const char *scope, const char *item,
		    const char *key)
{
	snprintf(ret, LOSS_NAME_SIZE, "%.10s.%.14s.%.13s", scope, item, key);
}

/* The row and the item that a name was made of. A row may be of another version, and gone. */
static void know_row(struct loss *loss)
{
	const char *dot = strchr(loss->name, '.'), *last = strrchr(loss->name, '.');

	loss->row = NULL;
	if (!dot || last == dot)
		return;
	snprintf(loss->item, sizeof(loss->item), "%.*s", (int)(last - dot - 1), dot + 1);
	for (const struct books_row *row = books_rows; row->key && !loss->row; row++) {
		char name[LOSS_NAME_SIZE];

		name_of(name, books_scopes[row->scope].name, loss->item, row->key);
		if (row->lost && !strcmp(name, loss->name))
			loss->row = row;
	}
}

bool losses_has_grown(const struct losses *l, const char *scope, const char *item, const char *key,
		      uint64_t generation, uint64_t value)
{
	char name[LOSS_NAME_SIZE];
	const struct loss *loss;

	name_of(name, scope, item, key);
	loss = find((struct losses *)l, name);
	return loss && loss->generation == generation ? value > loss->noticed : value > 0;
}

bool losses_note(struct losses *l, const struct books_row *row, const char *scope, const char *item,
		 uint64_t generation, uint64_t value, uint64_t noticed, uint64_t first_us,
		 uint64_t last_us)
{
	char name[LOSS_NAME_SIZE];
	uint64_t was, was_noticed;
	struct loss *loss;

	name_of(name, scope, item, row->key);
	loss = find(l, name);
	if (!loss) {
		if (!noticed && !value)
			return false;
		if (l->n == LOSSES_MAX)
			return false;
		loss = &l->list[l->n++];
		*loss = (struct loss){ .generation = generation };
		memcpy(loss->name, name, sizeof(name));
		know_row(loss);
	}
	was = loss->generation == generation ? loss->counted : 0;
	was_noticed = loss->generation == generation ? loss->noticed : 0;
	if (noticed < value)
		noticed = value;
	if (value <= was && noticed <= was_noticed)
		return false;
	if (noticed > was_noticed) {
		/* A new span begins behind what was told. */
		if (loss->lost == loss->told && was == was_noticed)
			loss->first_us = first_us;
		loss->last_us = last_us;
		loss->noticed = noticed;
	} else {
		loss->noticed = was_noticed;
	}
	if (value > was)
		loss->lost += value - was;
	loss->counted = value > was ? value : was;
	loss->generation = generation;
	l->version++;
	return true;
}

struct loss *losses_due(struct losses *l, uint64_t now_ms, bool all)
{
	for (int i = 0; i < l->n; i++) {
		struct loss *loss = &l->list[i];

		if (loss->row && loss->lost > loss->told && (all || now_ms >= loss->tell_ms))
			return loss;
	}
	return NULL;
}

void losses_told(struct losses *l, struct loss *loss, uint64_t own, uint64_t now_ms)
{
	bool only_own = loss->pause_ms && loss->row->scope == BOOKS_OUTPUT &&
			loss->lost - loss->told <= own - loss->own_told;

	if (!only_own)
		loss->pause_ms = LOSS_PAUSE_MS;
	else if (loss->pause_ms < LOSS_PAUSE_MAX_MS)
		loss->pause_ms *= 2;
	loss->tell_ms = now_ms + loss->pause_ms;
	loss->own_told = own;
	loss->told = loss->lost;
	l->version++;
}

const struct loss *losses_get(const struct losses *l, int i)
{
	return l && i < l->n ? &l->list[i] : NULL;
}

uint64_t losses_version(const struct losses *l)
{
	return l->version;
}

int losses_save(const struct losses *l, struct buf *ret)
{
	struct saved_head head = { l->version, (uint64_t)l->n };
	size_t before = ret->len;
	int err = buf_append(ret, &head, sizeof(head));

	for (int i = 0; i < l->n && !err; i++) {
		const struct loss *loss = &l->list[i];
		struct saved_loss saved = {
			.generation = loss->generation,
			.counted = loss->counted,
			.noticed = loss->noticed,
			.lost = loss->lost,
			.told = loss->told,
			.first_us = loss->first_us,
			.last_us = loss->last_us,
		};

		memcpy(saved.name, loss->name, sizeof(saved.name));
		err = buf_append(ret, &saved, sizeof(saved));
	}
	if (err)
		ret->len = before;
	return err;
}

int losses_restore(struct losses *l, struct slice bytes)
{
	struct saved_head head;

	l->n = 0;
	if (bytes.len < sizeof(head))
		return -EBADMSG;
	memcpy(&head, bytes.p, sizeof(head));
	if (head.n > LOSSES_MAX || bytes.len != sizeof(head) + head.n * sizeof(struct saved_loss))
		return -EBADMSG;
	for (uint64_t i = 0; i < head.n; i++) {
		struct loss *loss = &l->list[i];
		struct saved_loss saved;

		memcpy(&saved, bytes.p + sizeof(head) + i * sizeof(saved), sizeof(saved));
		if (!memchr(saved.name, 0, sizeof(saved.name)) || saved.told > saved.lost) {
			l->n = 0;
			return -EBADMSG;
		}
		*loss = (struct loss){
			.generation = saved.generation,
			.counted = saved.counted,
			.noticed = saved.noticed,
			.lost = saved.lost,
			.told = saved.told,
			.first_us = saved.first_us,
			.last_us = saved.last_us,
		};
		memcpy(loss->name, saved.name, sizeof(loss->name));
		know_row(loss);
		l->n = (int)i + 1;
	}
	l->version = head.version;
	return 0;
}
