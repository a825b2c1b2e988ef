/* SPDX-License-Identifier: Apache-2.0 */
#include "user/rings.h"

#include <errno.h>
#include <stdlib.h>

#include "output/spool.h"
#include "user/ring.h"

struct rings {
	struct {
		struct ring *ring; /* NULL: done with */
		uint64_t generation;
		bool current;
	} list[KERNEL_OLDER_MAX + 1];
	int n, at;
};

int rings_new(const struct kernel *k, enum kernel_source source,
	      const struct spool_position *resume, struct rings **ret)
{
	_cleanup_(rings_freep) struct rings *r = calloc(1, sizeof(*r));
	struct kernel_ring maps[KERNEL_OLDER_MAX + 1];
	int err;

	if (!r)
		return -ENOMEM;
	r->n = kernel_rings(k, source, maps);
	if (!r->n)
		return -ENOENT;
	for (int i = 0; i < r->n; i++) {
		err = ring_new(maps[i].fd, &r->list[i].ring);
		if (err)
			return err;
		r->list[i].generation = maps[i].generation;
		r->list[i].current = maps[i].current;
	}
	for (int i = 0; resume && i < r->n; i++) {
		if (r->list[i].generation != resume->generation)
			continue;
		/* Those before it are in the spool to their ends. */
		r->at = i;
		ring_seek(r->list[i].ring, resume->position);
		break;
	}
	*ret = TAKE_PTR(r);
	return 0;
}

void rings_free(struct rings *r)
{
	if (!r)
		return;
	for (int i = 0; i < r->n; i++)
		ring_free(r->list[i].ring);
	free(r);
}

/* Nobody writes to it any more, and all that was written was read. */
static bool is_over(const struct rings *r)
{
	return !r->list[r->at].current && !ring_waiting(r->list[r->at].ring);
}

int rings_next(struct rings *r, uint64_t *generation, uint64_t *position, const void **sample,
	       size_t *size)
{
	while (!ring_next(r->list[r->at].ring, sample, size)) {
		/* What was passed is given back: a ring that is not empty is readable. */
		*position = rings_position(r);
		if (!is_over(r) || r->at == r->n - 1)
			return 0;
		r->at++;
		*generation = rings_generation(r);
		*position = rings_position(r);
	}
	return 1;
}

void rings_unread(struct rings *r, uint64_t position)
{
	ring_unread(r->list[r->at].ring, position);
}

uint64_t rings_position(const struct rings *r)
{
	return ring_position(r->list[r->at].ring);
}

uint64_t rings_generation(const struct rings *r)
{
	return r->list[r->at].generation;
}

uint64_t rings_waiting(const struct rings *r)
{
	uint64_t n = 0;

	for (int i = r->at; i < r->n; i++)
		n += ring_waiting(r->list[i].ring);
	return n;
}

uint64_t rings_size(const struct rings *r)
{
	return ring_size(r->list[r->at].ring);
}

uint64_t rings_fill(const struct rings *r)
{
	return ring_fill(r->list[r->at].ring);
}

void rings_release(struct rings *r, uint64_t position)
{
	for (int i = 0; i < r->at; i++) {
		if (!r->list[i].ring)
			continue;
		ring_release(r->list[i].ring, ring_position(r->list[i].ring));
		ring_free(r->list[i].ring);
		r->list[i].ring = NULL;
	}
	ring_release(r->list[r->at].ring, position);
}

bool rings_is_behind(const struct rings *r)
{
	return r->at < r->n - 1 || (!r->list[r->at].current && !is_over(r));
}
