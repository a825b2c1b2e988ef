/* SPDX-License-Identifier: Apache-2.0 */
/* What the transports share but the connection, which is in out_conn.c. */
#define _GNU_SOURCE
#include "output/out.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "config/routes.h"
#include "user/util/pages.h"

struct slice output_key(const struct config *config, struct slice route)
{
	const char *list = config->intake_route_keys;
	struct config_route r;

	while (route.len && list && config_route_next(&list, &r))
		if (r.name.len == route.len && !memcmp(r.name.p, route.p, route.len))
			return r.value;
	return config->intake_key ? slice_of(config->intake_key) : (struct slice){ NULL, 0 };
}

const char *out_host(const struct output *out)
{
	return out->host && out->host[0] ? out->host : config_endpoints[out->config->region].host;
}

uint16_t out_port(const struct output *out)
{
	uint16_t port = out->port ? out->port : config_port(out->config, out->ops->name);

	return port ? port : out->ops->port;
}

/* Fewer characters of a key than this tell nothing. */
#define KEY_PART_MIN 6

static void hide_key(struct slice key, char *text)
{
	size_t len = strlen(text);
	char *p;

	if (!key.len)
		return;
	while ((p = memmem(text, len, key.p, key.len)))
		memset(p, '*', key.len);
	for (size_t n = key.len - 1; n >= KEY_PART_MIN; n--) {
		if (n <= len && !memcmp(text + len - n, key.p, n)) {
			memset(text + len - n, '*', n);
			return;
		}
	}
}

void out_hide_key(const struct config *config, char *text)
{
	const char *list = config->intake_route_keys;
	struct config_route r;

	hide_key(output_key(config, SLICE("")), text);
	while (list && config_route_next(&list, &r))
		hide_key(r.value, text);
}

void out_down(struct output *out, uint64_t retry_after_ms, const char *fmt, ...)
{
	char why[OUT_WHY_SIZE];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	for (unsigned char *p = (unsigned char *)why; *p; p++)
		if (*p < ' ' || *p == 0x7f)
			*p = '?';
	out->events->on_down(out->arg, why, retry_after_ms);
}

const struct rfc5424_sd *out_sd(const struct output *out, struct out_sd *cache, struct slice route)
{
	struct slice key = output_key(out->config, route);

	if (!key.p)
		return NULL;
	if (key.p != cache->key) {
		cache->key = NULL;
		if (rfc5424_sd_init(&cache->sd, key) < 0)
			return NULL;
		cache->key = key.p;
	}
	return &cache->sd;
}

/* ------------------------------------------------------------------ marks */

int out_marks_init(struct out_marks *m, uint32_t size)
{
	*m = (struct out_marks){ .mask = size - 1 };
	m->ring = calloc(size, sizeof(*m->ring));
	return m->ring ? 0 : -ENOMEM;
}

void out_marks_done(struct out_marks *m)
{
	free(m->ring);
	m->ring = NULL;
}

void out_marks_rest(struct out_marks *m)
{
	pages_forget_ring(m->ring, sizeof(*m->ring), m->mask, m->head, m->tail);
}

void out_marks_push(struct out_marks *m, uint64_t seq, size_t bytes)
{
	m->bytes += bytes;
	m->ring[m->tail++ & m->mask] = (struct out_mark){ .end = m->bytes, .seq = seq };
}

bool out_marks_settle(struct output *out, struct out_marks *m, uint64_t offset)
{
	uint64_t first, last;

	if (out_marks_is_empty(m) || m->ring[m->head & m->mask].end > offset)
		return false;
	first = m->ring[m->head & m->mask].seq;
	do
		last = m->ring[m->head++ & m->mask].seq;
	while (!out_marks_is_empty(m) && m->ring[m->head & m->mask].end <= offset);
	out->events->on_settled(out->arg, first, last, OUTPUT_ACKED, NULL);
	return true;
}
