/* SPDX-License-Identifier: Apache-2.0 */
#include "user/rate_limit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SAVE_MAGIC 0x314c5253u /* "SRL1" */
#define NONE	   UINT32_MAX

struct unit {
	char name[RATE_LIMIT_NAME_MAX];
	uint32_t name_len;
	uint32_t next;	       /* of the same bucket of the hash */
	uint32_t newer, older; /* by their last line */
	uint64_t full_ns;      /* when its bucket will be full again */
	uint64_t suppressed;   /* not reported yet */
	uint64_t first_ns, last_ns;
};

struct rate_limit {
	uint64_t cost_ns, interval_ns; /* of a line, and of all that a bucket holds */
	struct unit *units;
	uint32_t *heads;
	uint32_t mask, max_units, n;
	uint32_t oldest, newest;
	struct unit forgotten; /* only what it had too much */
	uint64_t due_ns;       /* of the first report; 0: there is none */
	uint64_t changes;
};

struct saved {
	uint32_t magic;
	uint32_t name_len;
	uint64_t full_ns, suppressed, first_ns, last_ns;
	char name[RATE_LIMIT_NAME_MAX];
};

int rate_limit_new(uint64_t limit, uint64_t interval_ns, uint32_t max_units,
		   struct rate_limit **ret)
{
	_cleanup_(rate_limit_freep) struct rate_limit *r = calloc(1, sizeof(*r));
	uint32_t slots = 1;

	if (!r)
		return -ENOMEM;
	r->max_units = max_units ? max_units : RATE_LIMIT_UNITS;
	while (slots < r->max_units)
		slots *= 2;
	r->mask = slots - 1;
	r->interval_ns = interval_ns;
	r->cost_ns = interval_ns / limit ? interval_ns / limit : 1;
	r->oldest = r->newest = NONE;
	r->units = calloc(r->max_units, sizeof(*r->units));
	r->heads = malloc(slots * sizeof(*r->heads));
	if (!r->units || !r->heads)
		return -ENOMEM;
	memset(r->heads, 0xff, slots * sizeof(*r->heads));
	*ret = TAKE_PTR(r);
	return 0;
}

void rate_limit_free(struct rate_limit *r)
{
	if (!r)
		return;
	free(r->units);
	free(r->heads);
	free(r);
}

/* ------------------------------------------------------------------ the table */

static uint32_t *bucket_of(const struct rate_limit *r, struct slice name)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < name.len; i++)
		h = (h ^ (unsigned char)name.p[i]) * 16777619u;
	return &r->heads[(h ^ h >> 15) & r->mask];
}

static struct slice name_of(const struct unit *u)
{
	return (struct slice){ u->name, u->name_len };
}

static void unlink_age(struct rate_limit *r, uint32_t i)
{
	struct unit *u = &r->units[i];

	if (u->older != NONE)
		r->units[u->older].newer = u->newer;
	else
		r->oldest = u->newer;
	if (u->newer != NONE)
		r->units[u->newer].older = u->older;
	else
		r->newest = u->older;
}

static void link_newest(struct rate_limit *r, uint32_t i)
{
	struct unit *u = &r->units[i];

	u->older = r->newest;
	u->newer = NONE;
	if (r->newest != NONE)
		r->units[r->newest].newer = i;
	else
		r->oldest = i;
	r->newest = i;
}

static void set_due(struct rate_limit *r, const struct unit *u)
{
	uint64_t due_ns = u->first_ns + r->interval_ns;

	if (u->suppressed && (!r->due_ns || due_ns < r->due_ns))
		r->due_ns = due_ns ? due_ns : 1;
}

/* What it had too much is not forgotten with its name. */
static void keep_forgotten(struct rate_limit *r, const struct unit *u)
{
	struct unit *all = &r->forgotten;

	if (!u->suppressed)
		return;
	if (!all->suppressed || u->first_ns < all->first_ns)
		all->first_ns = u->first_ns;
	if (!all->suppressed || u->last_ns > all->last_ns)
		all->last_ns = u->last_ns;
	all->suppressed += u->suppressed;
	set_due(r, all);
	r->changes++;
}

static uint32_t evict_oldest(struct rate_limit *r)
{
	uint32_t i = r->oldest;
	uint32_t *at = bucket_of(r, name_of(&r->units[i]));

	while (*at != i)
		at = &r->units[*at].next;
	*at = r->units[i].next;
	unlink_age(r, i);
	keep_forgotten(r, &r->units[i]);
	return i;
}

static struct unit *find_or_add(struct rate_limit *r, struct slice name)
{
	uint32_t *head, i;
	struct unit *u;

	if (name.len > RATE_LIMIT_NAME_MAX)
		name.len = RATE_LIMIT_NAME_MAX;
	for (i = *bucket_of(r, name); i != NONE; i = r->units[i].next)
		if (r->units[i].name_len == name.len &&
		    (!name.len || !memcmp(r->units[i].name, name.p, name.len)))
			break;
	if (i != NONE) {
		unlink_age(r, i);
		link_newest(r, i);
		return &r->units[i];
	}
	i = r->n < r->max_units ? r->n++ : evict_oldest(r);
	head = bucket_of(r, name);
	u = &r->units[i];
	*u = (struct unit){ .name_len = (uint32_t)name.len, .next = *head };
	if (name.len)
		memcpy(u->name, name.p, name.len);
	*head = i;
	link_newest(r, i);
	return u;
}

/* ------------------------------------------------------------------ lines and reports */

bool rate_limit_take(struct rate_limit *r, struct slice name, uint64_t now_ns)
{
	struct unit *u = find_or_add(r, name);
	uint64_t from_ns = u->full_ns > now_ns ? u->full_ns : now_ns;

	if (from_ns - now_ns + r->cost_ns <= r->interval_ns) {
		u->full_ns = from_ns + r->cost_ns;
		return true;
	}
	if (!u->suppressed++) {
		u->first_ns = now_ns;
		set_due(r, u);
	}
	u->last_ns = now_ns;
	r->changes++;
	return false;
}

bool rate_limit_is_due(const struct rate_limit *r, uint64_t now_ns)
{
	return r->due_ns && now_ns >= r->due_ns;
}

static bool report_unit(struct rate_limit *r, struct unit *u, rate_limit_fn fn, void *arg)
{
	const struct rate_limit_report report = { name_of(u), u->suppressed, u->first_ns,
						  u->last_ns };

	if (!fn(arg, &report))
		return false;
	u->suppressed = 0;
	r->changes++;
	return true;
}

bool rate_limit_report(struct rate_limit *r, uint64_t now_ns, bool all, rate_limit_fn fn, void *arg)
{
	bool taken = true;

	if (!r->due_ns || (!all && now_ns < r->due_ns))
		return true;
	r->due_ns = 0;
	for (uint32_t i = 0; i <= r->n; i++) {
		struct unit *u = i < r->n ? &r->units[i] : &r->forgotten;

		if (!u->suppressed)
			continue;
		if (taken && (all || now_ns - u->first_ns >= r->interval_ns))
			taken = report_unit(r, u, fn, arg);
		set_due(r, u);
	}
	return taken;
}

uint64_t rate_limit_changes(const struct rate_limit *r)
{
	return r->changes;
}

/* ------------------------------------------------------------------ on disk */

int rate_limit_save(const struct rate_limit *r, struct buf *ret)
{
	size_t before = ret->len;
	int err = 0;

	for (uint32_t i = 0; i <= r->n && !err; i++) {
		const struct unit *u = i < r->n ? &r->units[i] : &r->forgotten;
		struct saved s = { .magic = SAVE_MAGIC,
				   .name_len = i < r->n ? u->name_len : NONE,
				   .full_ns = u->full_ns,
				   .suppressed = u->suppressed,
				   .first_ns = u->first_ns,
				   .last_ns = u->last_ns };

		if (!u->suppressed)
			continue;
		memcpy(s.name, u->name, sizeof(s.name));
		err = buf_append(ret, &s, sizeof(s));
	}
	if (err)
		ret->len = before;
	return err;
}

static void forget_all(struct rate_limit *r)
{
	memset(r->heads, 0xff, ((size_t)r->mask + 1) * sizeof(*r->heads));
	r->oldest = r->newest = NONE;
	r->n = 0;
	r->forgotten = (struct unit){ 0 };
	r->due_ns = 0;
}

static int restore(struct rate_limit *r, struct slice bytes)
{
	struct saved s;

	for (size_t at = 0; at < bytes.len; at += sizeof(s)) {
		struct unit *u = &r->forgotten;

		if (bytes.len - at < sizeof(s))
			return -EBADMSG;
		memcpy(&s, bytes.p + at, sizeof(s));
		if (s.magic != SAVE_MAGIC || !s.suppressed || s.last_ns < s.first_ns ||
		    (s.name_len > RATE_LIMIT_NAME_MAX && s.name_len != NONE))
			return -EBADMSG;
		if (s.name_len != NONE)
			u = find_or_add(r, (struct slice){ s.name, s.name_len });
		u->full_ns = s.full_ns;
		u->suppressed = s.suppressed;
		u->first_ns = s.first_ns;
		u->last_ns = s.last_ns;
		set_due(r, u);
	}
	return 0;
}

int rate_limit_restore(struct rate_limit *r, struct slice bytes)
{
	int err;

	forget_all(r);
	err = restore(r, bytes);
	if (err)
		forget_all(r);
	return err;
}
