/* SPDX-License-Identifier: Apache-2.0 */
/* The connection of a transport, and a look at another target beside it. */
#include <errno.h>
#include <stdio.h>

#include "config/config.h"
#include "output/out.h"

/* What a probe may hold: it sends nothing. */
#define PROBE_BYTES 4096

static struct conn_opts opts_of(const struct output *out, size_t max_out_bytes)
{
	const struct config *config = out->config;

	return (struct conn_opts){
		.host = out_host(out),
		.port = out_port(out),
		.connect_timeout_ms = (uint32_t)config->output_connect_timeout_ms,
		.idle_timeout_ms = (uint32_t)config->output_timeout_ms,
		.max_out_bytes = max_out_bytes,
		.max_in_bytes = OUT_IN_BYTES,
	};
}

int out_connect(struct output *out, size_t max_out_bytes, conn_fn fn, void *arg, struct conn **ret)
{
	struct conn_opts opts = opts_of(out, max_out_bytes);

	if (!out->tls)
		return -EINVAL;
	opts.tls = out->tls;
	/* These are about the way to the intake. */
	if (!out->ops->is_direct) {
		opts.server_name = out->config->tls_server_name;
		opts.proxy = out->config->output_proxy;
	}
	return conn_new(out->loop, &opts, fn, arg, ret);
}

int out_connect_plain(struct output *out, size_t max_out_bytes, conn_fn fn, void *arg,
		      struct conn **ret)
{
	struct conn_opts opts = opts_of(out, max_out_bytes);

	return conn_new(out->loop, &opts, fn, arg, ret);
}

void out_opened(struct output *out, const struct conn *c)
{
	char tls[64];

	snprintf(out->peer, sizeof(out->peer), "%s, %s", conn_peer(c),
		 conn_describe(c, tls, sizeof(tls)));
}

/* ------------------------------------------------------------------ probe */

static void on_probe(void *arg, enum conn_event event)
{
	struct output *out = arg;
	struct conn *c = out->probe;

	if (event != CONN_OPEN && event != CONN_ERROR)
		return;
	out->probe = NULL;
	out->events->on_probed(out->arg, event == CONN_ERROR ? conn_error(c) : NULL);
	conn_free(c);
}

int out_probe(struct output *out, const char *host, uint16_t port)
{
	struct output there = *out;
	struct conn *c;
	int err;

	there.host = host;
	there.port = port;
	err = out_connect(&there, PROBE_BYTES, on_probe, out, &c);
	if (!err)
		out->probe = c;
	return err;
}

void out_probe_end(struct output *out)
{
	conn_free(out->probe);
	out->probe = NULL;
}
