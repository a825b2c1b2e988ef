/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of transports and what they have in common. What each of them does
 * is in out_*.c; when, in shipper.c.
 */
#define _GNU_SOURCE
#include "output/output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "output/out.h"

static const struct output_ops *const output_types[] = {
	&output_https, &output_relp, &output_syslog, &output_stdout, &output_file, NULL,
};

const struct output_ops *output_find(const char *name)
{
	for (const struct output_ops *const *t = output_types; *t; t++)
		if (!strcmp((*t)->name, name))
			return *t;
	return NULL;
}

const char *output_key(const struct config *config, struct slice route)
{
	/* One intake so far: all routes lead to it. */
	(void)route;
	return config->intake_key;
}

const char *out_host(const struct config *config)
{
	return config->output_host ? config->output_host : config_endpoints[config->region].host;
}

uint16_t out_port(const struct config *config, uint16_t port)
{
	return config->output_port ? (uint16_t)config->output_port : port;
}

int out_connect(struct output *out, uint16_t port, size_t max_out_bytes, conn_fn fn, void *arg,
		struct conn **ret)
{
	const struct config *config = out->config;
	struct conn_opts opts = {
		.host = out_host(config),
		.port = out_port(config, port),
		.tls = out->tls,
		.server_name = config->tls_server_name,
		.proxy = config->output_proxy,
		.connect_timeout_ms = (uint32_t)config->output_connect_timeout_ms,
		.idle_timeout_ms = (uint32_t)config->output_timeout_ms,
		.max_out_bytes = max_out_bytes,
		.max_in_bytes = OUT_IN_BYTES,
	};

	if (!out->tls)
		return -EINVAL;
	return conn_new(out->loop, &opts, fn, arg, ret);
}

void out_opened(struct output *out, const struct conn *c)
{
	char tls[64];

	snprintf(out->peer, sizeof(out->peer), "%s, %s", conn_peer(c),
		 conn_describe(c, tls, sizeof(tls)));
}

void out_down(struct output *out, uint64_t retry_after_ms, const char *fmt, ...)
{
	char why[768];
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
	const char *key = output_key(out->config, route);

	if (!key)
		return NULL;
	if (key != cache->key) {
		cache->key = NULL;
		if (rfc5424_sd_init(&cache->sd, slice_of(key)) < 0)
			return NULL;
		cache->key = key;
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
