/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Syslog over TLS (RFC 5425): octet-counted frames, many in a TLS record. The protocol
 * has no acknowledgement; what takes its place is in out_stream.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "config/config.h"
#include "output/out_stream.h"

#define WINDOW_MSGS  262144	/* a power of two; what a fast peer takes between two receipts */
#define WINDOW_BYTES (1u << 30) /* they are in the spool, not in memory */

struct syslog {
	struct out_stream stream;
	struct out_sd sd;
};

static void syslog_close(struct output *out)
{
	struct syslog *s = out->impl;

	if (!s)
		return;
	out_stream_close(&s->stream);
	free(s);
	out->impl = NULL;
}

static int syslog_open(struct output *out)
{
	struct syslog *s;
	int err;

	if (!output_key(out->config, SLICE("")).p)
		return -ENOKEY;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	out->impl = s;
	err = out_stream_open(&s->stream, out, WINDOW_MSGS, true);
	if (err)
		syslog_close(out);
	return err;
}

static int syslog_send(struct output *out, const struct msg *m)
{
	struct syslog *s = out->impl;
	const struct rfc5424_sd *sd = out_sd(out, &s->sd, m->route);
	size_t bytes = 0;
	int err;

	if (s->stream.conn && !sd)
		return -ENOKEY;
	err = out_stream_ready(&s->stream);
	if (err)
		return err;
	err = rfc5424_append_counted(conn_out(s->stream.conn), sd, m, &bytes);
	if (err)
		return err == -ENOBUFS ? -EMSGSIZE : err;
	out_stream_sent(&s->stream, m->seq, bytes);
	return 0;
}

static void syslog_flush(struct output *out)
{
	out_stream_flush(&((struct syslog *)out->impl)->stream);
}

static void syslog_rest(struct output *out)
{
	out_stream_rest(&((struct syslog *)out->impl)->stream);
}

static void syslog_finish(struct output *out)
{
	out_stream_finish(&((struct syslog *)out->impl)->stream);
}

const struct output_ops output_syslog = {
	.name = "syslog",
	.port = CONFIG_PORT_SYSLOG,
	.window_msgs = WINDOW_MSGS,
	.window_bytes = WINDOW_BYTES,
	.open = syslog_open,
	.send = syslog_send,
	.flush = syslog_flush,
	.rest = syslog_rest,
	.finish = syslog_finish,
	.probe = out_probe,
	.probe_end = out_probe_end,
	.close = syslog_close,
};
