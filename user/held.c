/* SPDX-License-Identifier: Apache-2.0 */
#include "user/held.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void copy(struct slice *s, char **at)
{
	char *to = *at;

	if (s->len)
		memcpy(to, s->p, s->len);
	*at += s->len;
	s->p = to;
}

static size_t size_of(const struct msg *m)
{
	return sizeof(*m) + m->host.len + m->app.len + m->procid.len + m->route.len + m->text.len +
	       m->json.len;
}

int held_add(struct held *h, const struct msg *m)
{
	size_t size = size_of(m), cap = h->cap ? h->cap * 2 : 64;
	struct msg **list, *mine;
	char *at;

	if (size > HELD_MAX_BYTES - h->bytes)
		return -ENOBUFS;
	if (h->n == h->cap) {
		list = reallocarray(h->list, cap, sizeof(struct msg *));
		if (!list)
			return -ENOMEM;
		h->list = list;
		h->cap = cap;
	}
	mine = malloc(size);
	if (!mine)
		return -ENOMEM;
	*mine = *m;
	at = (char *)(mine + 1);
	copy(&mine->host, &at);
	copy(&mine->app, &at);
	copy(&mine->procid, &at);
	copy(&mine->route, &at);
	copy(&mine->text, &at);
	copy(&mine->json, &at);
	h->list[h->n++] = mine;
	h->bytes += size;
	return 0;
}

const struct msg *held_first(const struct held *h)
{
	return h->first < h->n ? h->list[h->first] : NULL;
}

void held_drop_first(struct held *h)
{
	if (h->first == h->n)
		return;
	h->bytes -= size_of(h->list[h->first]);
	free(h->list[h->first++]);
	if (h->first == h->n)
		held_done(h);
}

size_t held_count(const struct held *h)
{
	return h->n - h->first;
}

void held_done(struct held *h)
{
	while (h->first < h->n)
		free(h->list[h->first++]);
	free(h->list);
	*h = (struct held){ 0 };
}
