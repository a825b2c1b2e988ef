/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows in binary, IPFIX or NetFlow 9 (ipfix.c), over UDP, TCP or TLS. Takes
 * flows only; the rest is filtered.
 *
 * Over UDP nobody acknowledges: what was handed to the network is settled. What
 * can be known all the same is used: templates go first, and if the network says that
 * nobody listens, flows wait in the spool. Over TCP and TLS: out_stream.h. What is
 * sent twice after a lost connection has the same sekoiaEventId.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "output/ipfix.h"
#include "output/out_stream.h"
#include "output/udp.h"
#include "user/util/clock.h"

/* Two marks for each message: its first flow, and its last. A power of two. */
#define MARKS	     32768
#define WINDOW_MSGS  16384
#define WINDOW_BYTES (64u << 20)
/* For the network to say that nobody listens, before the first flow goes out. */
#define LISTEN_MS 100

struct exporter {
	struct output *out;
	struct ipfix ipfix;
	struct ipfix_flow flow; /* the one that is being written */
	bool over_udp, is_open;
	bool is_starved; /* over UDP: send() has said -EAGAIN */
	struct udp *udp;
	struct out_stream stream;
	struct loop_timer listen;

	char *buf;	  /* the message */
	bool is_building; /* flows are being added to it */
	size_t whole_len; /* it is complete, and has to go out first */
	uint64_t first_seq, last_seq;

	bool templates_left; /* from templates_at on */
	unsigned templates_at;
	uint64_t templates_ms;	 /* when they were last begun */
	uint64_t messages_since; /* how many messages went out since then */
};

static uint64_t now_ms(void)
{
	return clock_real_us() / 1000;
}

static bool wants_flow(const struct msg *m)
{
	return m->class == MSG_FLOW;
}

/* ------------------------------------------------------------------ messages */

static int put_on_stream(struct exporter *e)
{
	int err = out_stream_ready(&e->stream);

	if (!err)
		err = buf_append(conn_out(e->stream.conn), e->buf, e->whole_len);
	if (err)
		return err;
	if (!e->ipfix.flows) {
		out_stream_add(&e->stream, e->whole_len);
		return 0;
	}
	out_stream_sent(&e->stream, e->first_seq, e->whole_len);
	out_stream_sent(&e->stream, e->last_seq, 0);
	return 0;
}

static int put_on_network(struct exporter *e)
{
	struct output *out = e->out;
	int err = udp_send(e->udp, e->buf, e->whole_len);

	if (err && err != -EAGAIN)
		out_down(out, 0, "%s", udp_error(e->udp));
	if (err)
		return err;
	out->sent_bytes += e->whole_len;
	/* The next socket goes on counting: it is the same exporter to the collector. */
	out->memory.sequence = e->ipfix.sequence;
	if (e->ipfix.flows)
		out->events->on_settled(out->arg, e->first_seq, e->last_seq, OUTPUT_ACKED, NULL);
	return 0;
}

/* The complete message goes out: 0, -EAGAIN, or -errno. */
static int transmit(struct exporter *e)
{
	int err;

	if (!e->whole_len)
		return 0;
	err = e->over_udp ? put_on_network(e) : put_on_stream(e);
	if (err)
		return err;
	e->whole_len = 0;
	e->messages_since++;
	return 0;
}

static int end_message(struct exporter *e)
{
	if (e->is_building) {
		e->is_building = false;
		e->whole_len = ipfix_end(&e->ipfix, now_ms());
	}
	return transmit(e);
}

/* What has to go out before a flow can be written: 0, -EAGAIN, or -errno. */
static int work_off(struct exporter *e)
{
	int err = transmit(e);

	while (!err && e->templates_left) {
		ipfix_begin(&e->ipfix, e->buf, now_ms());
		e->templates_left = ipfix_put_templates(&e->ipfix, &e->templates_at) < 0;
		e->whole_len = ipfix_end(&e->ipfix, now_ms());
		err = transmit(e);
	}
	return err;
}

static void begin_templates(struct exporter *e)
{
	e->templates_left = true;
	e->templates_at = 0;
	e->templates_ms = loop_now_ms(e->out->loop);
	e->messages_since = 0;
}

/* RFC 7011, 8.4: over UDP they are sent again, as they may have been lost. */
static bool templates_are_due(const struct exporter *e)
{
	const struct config *c = e->out->config;

	if (!e->over_udp || e->is_building)
		return false;
	return loop_now_ms(e->out->loop) - e->templates_ms >= c->ipfix_template_interval_ms ||
	       (c->ipfix_template_messages && e->messages_since >= c->ipfix_template_messages);
}

/* ------------------------------------------------------------------ UDP */

static void wake(struct exporter *e)
{
	if (!e->is_open || !e->is_starved)
		return;
	if (work_off(e))
		return; /* another event follows */
	e->is_starved = false;
	e->out->events->on_ready(e->out->arg);
}

static void on_listened(void *arg, uint64_t loop_ms)
{
	struct exporter *e = arg;

	(void)loop_ms;
	e->is_open = true;
	e->out->events->on_ready(e->out->arg);
}

static void on_udp(void *arg, enum udp_event event)
{
	struct exporter *e = arg;
	struct output *out = e->out;

	switch (event) {
	case UDP_OPEN:
		snprintf(out->peer, sizeof(out->peer), "%.150s, UDP", udp_peer(e->udp));
		begin_templates(e);
		(void)work_off(e); /* what fails is told as UDP_ERROR */
		loop_timer_set(out->loop, &e->listen, loop_now_ms(out->loop) + LISTEN_MS);
		return;
	case UDP_DRAIN:
		wake(e);
		return;
	case UDP_ERROR:
		e->is_open = false;
		loop_timer_cancel(&e->listen);
		out_down(out, 0, "%s", udp_error(e->udp));
		return;
	}
}

/* ------------------------------------------------------------------ struct output_ops */

static void before_ready(struct output *out)
{
	struct exporter *e = out->impl;

	if (!e->is_open)
		begin_templates(e);
	e->is_open = true;
	(void)work_off(e); /* what has no room waits for the next time */
}

static void exporter_close(struct output *out)
{
	struct exporter *e = out->impl;

	if (!e)
		return;
	loop_timer_cancel(&e->listen);
	udp_free(e->udp);
	if (!e->over_udp)
		out_stream_close(&e->stream);
	free(e->buf);
	free(e);
	out->impl = NULL;
}

static void init_messages(struct exporter *e, enum ipfix_version version)
{
	const struct config *c = e->out->config;
	char host[256] = "";

	if (c->hostname)
		snprintf(host, sizeof(host), "%s", c->hostname);
	else if (gethostname(host, sizeof(host) - 1) < 0)
		host[0] = '\0';
	ipfix_init(&e->ipfix, version, (uint32_t)c->ipfix_domain,
		   e->over_udp ? (size_t)c->ipfix_message_bytes : IPFIX_MAX_BYTES, host,
		   now_ms() - clock_boot_ns() / 1000000);
	if (e->over_udp)
		e->ipfix.sequence = e->out->memory.sequence;
}

static int open_exporter(struct output *out, enum ipfix_version version,
			 enum config_ipfix_transport transport)
{
	struct exporter *e = calloc(1, sizeof(*e));
	int err = 0;

	if (!e)
		return -ENOMEM;
	out->impl = e;
	e->out = out;
	e->over_udp = transport == IPFIX_OVER_UDP;
	e->listen = (struct loop_timer){ .fn = on_listened, .arg = e };
	init_messages(e, version);
	e->buf = malloc(e->ipfix.max_bytes);
	if (!e->buf)
		err = -ENOMEM;
	else if (e->over_udp)
		err = udp_new(out->loop, out_host(out), out_port(out), on_udp, e, &e->udp);
	else
		err = out_stream_open(&e->stream, out, MARKS, transport == IPFIX_OVER_TLS);
	e->stream.before_ready = before_ready;
	if (err)
		exporter_close(out);
	return err;
}

static int ipfix_open(struct output *out)
{
	return open_exporter(out, IPFIX_10,
			     (enum config_ipfix_transport)out->config->ipfix_transport);
}

static int netflow9_open(struct output *out)
{
	return open_exporter(out, IPFIX_NETFLOW9, IPFIX_OVER_UDP);
}

static bool ipfix_needs_tls(const struct config *c)
{
	return c->ipfix_transport == IPFIX_OVER_TLS;
}

static bool netflow9_needs_tls(const struct config *c)
{
	(void)c;
	return false;
}

/* A message has room for the flow that was parsed, or gets out of its way. */
static int put_flow(struct exporter *e)
{
	int err;

	if (e->is_building) {
		if (ipfix_put_flow(&e->ipfix, &e->flow) == 0)
			return 0;
		err = end_message(e);
		if (err)
			return err;
	}
	ipfix_begin(&e->ipfix, e->buf, now_ms());
	if (ipfix_put_flow(&e->ipfix, &e->flow) < 0)
		return -EMSGSIZE;
	e->is_building = true;
	e->first_seq = 0;
	return 0;
}

static int make_ready(struct exporter *e)
{
	int err = e->over_udp ? (e->is_open ? 0 : -EAGAIN) : out_stream_ready(&e->stream);

	if (!err)
		err = work_off(e);
	if (!err && templates_are_due(e)) {
		begin_templates(e);
		err = work_off(e);
	}
	return err;
}

static int exporter_send(struct output *out, const struct msg *m)
{
	struct exporter *e = out->impl;
	int err = make_ready(e);

	if (!err && ipfix_parse(m->json, &e->flow) < 0) {
		out->events->on_settled(out->arg, m->seq, m->seq, OUTPUT_REJECTED,
					"it is no flow record with IPFIX names: was flows.schema "
					"ecs when it was written?");
		return 0;
	}
	if (!err)
		err = put_flow(e);
	e->is_starved |= err == -EAGAIN;
	if (err)
		return err;
	if (!e->first_seq)
		e->first_seq = m->seq;
	e->last_seq = m->seq;
	return 0;
}

static void exporter_flush(struct output *out)
{
	struct exporter *e = out->impl;
	int err = end_message(e);

	/* The rest goes out when there is room; errors are told by events. */
	e->is_starved |= err == -EAGAIN;
	if (!e->over_udp)
		out_stream_flush(&e->stream);
}

static void exporter_rest(struct output *out)
{
	struct exporter *e = out->impl;

	if (!e->over_udp)
		out_stream_rest(&e->stream);
}

static void exporter_finish(struct output *out)
{
	struct exporter *e = out->impl;

	exporter_flush(out);
	if (!e->over_udp) {
		out_stream_finish(&e->stream);
		return;
	}
	loop_timer_cancel(&e->listen);
	e->is_open = false;
	out_down(out, 0, "closed");
}

const struct output_ops output_ipfix = {
	.name = "ipfix",
	.is_direct = true,
	.needs_tls = ipfix_needs_tls,
	.port = CONFIG_PORT_IPFIX,
	.window_msgs = WINDOW_MSGS,
	.window_bytes = WINDOW_BYTES,
	.wants = wants_flow,
	.open = ipfix_open,
	.send = exporter_send,
	.flush = exporter_flush,
	.rest = exporter_rest,
	.finish = exporter_finish,
	.close = exporter_close,
};

const struct output_ops output_netflow9 = {
	.name = "netflow9",
	.is_direct = true,
	.needs_tls = netflow9_needs_tls,
	.port = CONFIG_PORT_NETFLOW9,
	.window_msgs = WINDOW_MSGS,
	.window_bytes = WINDOW_BYTES,
	.wants = wants_flow,
	.open = netflow9_open,
	.send = exporter_send,
	.flush = exporter_flush,
	.rest = exporter_rest,
	.finish = exporter_finish,
	.close = exporter_close,
};
