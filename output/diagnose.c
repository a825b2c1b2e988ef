/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each stage is a turn of the loop that ends with its answer. A stage that
 * fails ends its target: what comes behind it can not be known.
 *
 * Whether the intake takes our key is asked with a request that holds no
 * event: POST PATH/batch, {"intake_key":"KEY","jsons":[]}. Documented is that 422
 * refuses a key; an answer that is neither that nor 2xx tells us nothing. RELP
 * and syslog give no answer about keys at all: events with a wrong one vanish.
 */
#define _GNU_SOURCE
#include "output/diagnose.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "output/conn.h"
#include "output/http1.h"
#include "output/out.h"
#include "output/out_https.h"
#include "output/output.h"
#include "output/proxy.h"
#include "output/resolve.h"
#include "output/tls.h"
#include "user/util/clock.h"
#include "user/util/loop.h"

#define STAGE_MAX_MS	10000 /* a person waits */
#define ALERT_WAIT_MS	300   /* TLS 1.3 refuses a client certificate after the handshake */
#define ANSWER_SHOWN	120   /* bytes of the intake's answer */
#define SOON_DAYS	14    /* a certificate that ends so soon is told */
#define CLOCK_APART_S	120
#define REQUEST_BYTES	4096
#define DESCRIBED_BYTES 64

static const struct {
	const char *name;
	uint16_t port;
} transports[] = {
	{ "https", CONFIG_PORT_HTTPS },	      { "relp", CONFIG_PORT_RELP },
	{ "syslog", CONFIG_PORT_SYSLOG },     { "ipfix", CONFIG_PORT_IPFIX },
	{ "netflow9", CONFIG_PORT_NETFLOW9 },
};
#define N_TRANSPORTS (sizeof(transports) / sizeof(transports[0]))

struct diagnosis {
	const struct config *config;
	const struct finding_sink *sink;
	struct tls_client *tls; /* NULL: its files are at fault, which was told */
	struct loop *loop;
	struct loop_timer timeout;

	/* The target: */
	const char *name;
	const char *host;
	uint16_t port;

	/* The stage: */
	bool timed_out;
	enum conn_event event;
	struct conn *conn;
	struct http1_response *response; /* NULL: none is awaited */
	bool is_broken;			 /* the answer is not HTTP */
	char body[ANSWER_SHOWN + 1];
	size_t body_len;
	char addrs[200];
	char why[256]; /* of names */
};

static void tell(const struct diagnosis *d, enum finding_state state, const char *stage,
		 const char *cure, const char *text)
{
	char what[sizeof(((struct finding *)0)->what)];

	snprintf(what, sizeof(what), "%s.%s", d->name, stage);
	finding_tell(d->sink, state, what, cure, "%s", text);
}

/* Errors of conn.c say cause and cure: "...; check the port". */
static void tell_error(const struct diagnosis *d, const char *stage, const char *text,
		       const char *otherwise)
{
	char cause[640];
	char *cure = NULL;

	snprintf(cause, sizeof(cause), "%s", text);
	for (char *p = cause; (p = strstr(p, "; ")); p += 2)
		cure = p;
	if (cure)
		*cure = '\0';
	tell(d, FINDING_FAIL, stage, cure ? cure + 2 : otherwise, cause);
}

static void on_timeout(void *arg, uint64_t now_ms)
{
	struct diagnosis *d = arg;

	(void)now_ms;
	d->timed_out = true;
	loop_stop(d->loop, 0);
}

/* One turn of the loop, until somebody stops it. */
static int await(struct diagnosis *d, uint64_t wait_ms)
{
	int err;

	d->timed_out = false;
	loop_timer_set(d->loop, &d->timeout, clock_mono_ms() + wait_ms);
	err = loop_run(d->loop);
	loop_timer_cancel(&d->timeout);
	return err < 0 ? err : 0;
}

static uint64_t stage_ms(const struct diagnosis *d)
{
	uint64_t ms = d->config->output_connect_timeout_ms;

	return ms < STAGE_MAX_MS ? ms : STAGE_MAX_MS;
}

/* ------------------------------------------------------------------ the name */

static void on_addrs(void *arg, const union resolve_addr *addrs, int n, bool more, const char *why)
{
	struct diagnosis *d = arg;
	char text[RESOLVE_TEXT_SIZE];

	for (int i = 0; i < n; i++) {
		size_t len = strlen(d->addrs);

		snprintf(d->addrs + len, sizeof(d->addrs) - len, "%s%s", len ? ", " : "",
			 resolve_addr_text(&addrs[i], text));
	}
	if (why)
		snprintf(d->why, sizeof(d->why), "%s", why);
	if (!more)
		loop_stop(d->loop, 0);
}

static bool check_name(struct diagnosis *d, const char *host, uint16_t port)
{
	_cleanup_(resolve_freep) struct resolve *r = NULL;
	union resolve_addr literal;
	char text[400], servers[128];
	int err;

	if (resolve_literal(host, port, &literal))
		return true;
	d->addrs[0] = d->why[0] = '\0';
	err = resolve_new(d->loop, host, port, on_addrs, d, &r);
	if (!err)
		err = await(d, stage_ms(d));
	if (err) {
		snprintf(text, sizeof(text), "%s: %s", host, log_strerror(err));
		tell(d, FINDING_FAIL, "dns", NULL, text);
		return false;
	}
	if (d->addrs[0]) {
		snprintf(text, sizeof(text), "%s is %s", host, d->addrs);
		tell(d, FINDING_OK, "dns", NULL, text);
		return true;
	}
	resolve_servers(r, servers, sizeof(servers));
	if (d->timed_out)
		snprintf(text, sizeof(text), "%s: no answer from %s", host, servers);
	else
		snprintf(text, sizeof(text), "%s: %s", host, d->why);
	tell(d, FINDING_FAIL, "dns",
	     d->config->output_proxy ? "check the host in output.proxy, and /etc/resolv.conf"
	     : d->config->output_host
		     ? "check output.host, and /etc/resolv.conf"
		     : "check /etc/resolv.conf, and that its servers may be asked from here; "
		       "behind a proxy: --output-proxy URL",
	     text);
	return false;
}

/* ------------------------------------------------------------------ connections */

static void take_answer(struct diagnosis *d)
{
	struct buf *in = conn_in(d->conn);
	struct slice body;
	ssize_t n = 0;

	while (d->response->state != HTTP1_DONE &&
	       (n = http1_parse(d->response, buf_slice(in), &body)) > 0) {
		size_t room = sizeof(d->body) - 1 - d->body_len;

		if (body.len < room)
			room = body.len;
		if (room)
			memcpy(d->body + d->body_len, body.p, room);
		d->body_len += room;
		buf_consume(in, (size_t)n);
	}
	d->is_broken = n < 0;
	if (d->is_broken || d->response->state == HTTP1_DONE)
		loop_stop(d->loop, 0);
}

static void on_conn(void *arg, enum conn_event event)
{
	struct diagnosis *d = arg;

	d->event = event;
	switch (event) {
	case CONN_DATA:
		if (d->response)
			take_answer(d);
		else
			buf_clear(conn_in(d->conn));
		return;
	case CONN_DRAIN:
		return;
	case CONN_EOF:
		if (d->response && http1_parse_eof(d->response) < 0)
			d->is_broken = true;
		loop_stop(d->loop, 0);
		return;
	case CONN_OPEN:
	case CONN_ERROR:
		loop_stop(d->loop, 0);
		return;
	}
}

/* True when it is open. The connection is d->conn, for the caller to close. */
static bool is_open(struct diagnosis *d, const char *stage, const struct conn_opts *opts,
		    const char *cure)
{
	char text[300];
	int err;

	d->event = CONN_DRAIN;
	err = conn_new(d->loop, opts, on_conn, d, &d->conn);
	if (!err)
		err = await(d, stage_ms(d) + 1000); /* its own limit is the better text */
	if (!err && d->event == CONN_OPEN)
		return true;
	if (err)
		snprintf(text, sizeof(text), "%s: %s", opts->host, log_strerror(err));
	else if (d->event != CONN_ERROR)
		snprintf(text, sizeof(text), "%s:%u: no answer", opts->host, opts->port);
	else
		text[0] = '\0';
	tell_error(d, stage, text[0] ? text : conn_error(d->conn), cure);
	return false;
}

static void close_conn(struct diagnosis *d)
{
	conn_free(d->conn);
	d->conn = NULL;
}

static bool check_tcp(struct diagnosis *d, const char *host, uint16_t port)
{
	const struct conn_opts opts = {
		.host = host,
		.port = port,
		.connect_timeout_ms = (uint32_t)stage_ms(d),
		.idle_timeout_ms = (uint32_t)stage_ms(d),
		.max_out_bytes = REQUEST_BYTES,
		.max_in_bytes = OUT_IN_BYTES,
	};
	char cure[200], text[400];
	bool good;

	snprintf(cure, sizeof(cure),
		 "a firewall or a wrong port? TCP from this host to port %u must be allowed%s",
		 port, d->config->output_proxy ? "" : "; behind a proxy: --output-proxy URL");
	good = is_open(d, "tcp", &opts, cure);
	if (good) {
		snprintf(text, sizeof(text), "connected to %s%s", conn_peer(d->conn),
			 d->config->output_proxy ? ", the proxy" : "");
		tell(d, FINDING_OK, "tcp", NULL, text);
	}
	close_conn(d);
	return good;
}

static bool is_collector(const struct diagnosis *d)
{
	return strcmp(d->name, "ipfix") == 0 || strcmp(d->name, "netflow9") == 0;
}

static struct conn_opts target_opts(const struct diagnosis *d, struct tls_client *tls)
{
	return (struct conn_opts){
		.host = d->host,
		.port = d->port,
		.tls = tls,
		.server_name = is_collector(d) ? NULL : d->config->tls_server_name,
		.proxy = is_collector(d) ? NULL : d->config->output_proxy,
		.connect_timeout_ms = (uint32_t)stage_ms(d),
		.idle_timeout_ms = (uint32_t)stage_ms(d),
		.max_out_bytes = REQUEST_BYTES,
		.max_in_bytes = OUT_IN_BYTES,
	};
}

static bool check_tunnel(struct diagnosis *d)
{
	const struct conn_opts opts = target_opts(d, NULL);
	char text[400];
	bool good;

	good = is_open(d, "proxy", &opts,
		       "the proxy must allow CONNECT to this host and port; check its rules, and "
		       "the user and password in output.proxy");
	if (good) {
		snprintf(text, sizeof(text), "leads to %s:%u", d->host, d->port);
		tell(d, FINDING_OK, "proxy", NULL, text);
	}
	close_conn(d);
	return good;
}

/* Leaves the connection open when it is good. */
static bool check_tls(struct diagnosis *d)
{
	const struct conn_opts opts = target_opts(d, d->tls);
	char version[DESCRIBED_BYTES], text[600];
	struct tls_peer peer;
	int err;

	if (!is_open(d, "tls", &opts, "check that this port speaks TLS, and output.port"))
		return false;
	conn_describe(d->conn, version, sizeof(version));
	version[strcspn(version, ",")] = '\0';
	/* A server that wants no client certificate, or takes ours, says nothing. */
	err = await(d, ALERT_WAIT_MS);
	if (err || d->event == CONN_ERROR || d->event == CONN_EOF) {
		tell_error(d, "tls",
			   d->event == CONN_ERROR
				   ? conn_error(d->conn)
				   : "the server closed the connection after the handshake",
			   "look at the server's log; is this the right port?");
		return false;
	}
	if (conn_get_tls_peer(d->conn, &peer) < 0) {
		tell(d, FINDING_OK, "tls", NULL, version);
		return true;
	}
	snprintf(text, sizeof(text), "%s; %s, issued by %s, valid for %d %s", version, peer.names,
		 peer.issuer, peer.days_left, peer.days_left == 1 ? "day" : "days");
	tell(d, peer.days_left < SOON_DAYS ? FINDING_WARN : FINDING_OK, "tls",
	     peer.days_left < SOON_DAYS ? "the server's certificate must be renewed soon" : NULL,
	     text);
	return true;
}

/* ------------------------------------------------------------------ the key */

static int ask(struct diagnosis *d)
{
	const char *key = d->config->intake_key;
	struct http1_request request = {
		.method = "POST",
		.host = d->host,
		.port = d->port,
		.default_port = CONFIG_PORT_HTTPS,
		.content_type = "application/json",
	};
	char path[1100];
	int err;

	err = out_https_path(d->config, "batch", path, sizeof(path));
	if (err)
		return err;
	request.path = path;
	/* The key is letters and digits: config_check_intake_key(). */
	request.content_length = strlen(key) + strlen("{\"intake_key\":\"\",\"jsons\":[]}");
	err = http1_append_request(conn_out(d->conn), &request);
	if (!err)
		err = buf_printf(conn_out(d->conn), "{\"intake_key\":\"%s\",\"jsons\":[]}", key);
	if (!err)
		conn_flush(d->conn);
	return err;
}

static void judge_status(const struct diagnosis *d, int status)
{
	char text[300];

	if (status / 100 == 2) {
		snprintf(text, sizeof(text), "accepted: the intake answers %d to a request with it",
			 status);
		tell(d, FINDING_OK, "key", NULL, text);
	} else if (status == 401 || status == 403 || status == 422) {
		snprintf(text, sizeof(text), "refused: the intake answers %d%s%s", status,
			 d->body_len ? ": " : "", d->body);
		tell(d, FINDING_FAIL, "key",
		     "copy the intake's key from the platform (Configure, Intakes), check that the "
		     "region is that of your community, and that its subscription is valid",
		     text);
	} else if (status == 404 || status == 405) {
		snprintf(text, sizeof(text), "%s:%u answers %d: no intake at this address", d->host,
			 d->port, status);
		tell(d, FINDING_FAIL, "key", "check region, output.host and output.path", text);
	} else {
		snprintf(text, sizeof(text), "not known: the intake answers %d%s%s", status,
			 d->body_len ? ": " : "", d->body);
		tell(d, FINDING_WARN, "key",
		     status == 429 || status >= 500
			     ? "try again later; events wait in the spool meanwhile"
			     : "start it, and look whether events are acknowledged",
		     text);
	}
}

/* What the server's Date says of our clock, when it is far away. */
static void judge_clock(const struct diagnosis *d, uint64_t date_s)
{
	int64_t apart = (int64_t)(clock_real_us() / 1000000) - (int64_t)date_s;
	char text[200];

	if (!date_s || llabs(apart) < CLOCK_APART_S)
		return;
	snprintf(text, sizeof(text), "this host's clock is %lld s %s the intake's",
		 (long long)llabs(apart), apart < 0 ? "behind" : "ahead of");
	tell(d, FINDING_WARN, "clock",
	     "set it, and keep it set: chrony or systemd-timesyncd; events carry its time", text);
}

static void check_key(struct diagnosis *d)
{
	struct http1_response response = { 0 };
	char text[700];
	int err;

	if (!d->config->intake_key) {
		tell(d, FINDING_FAIL, "key", "give it with --intake-key-file FILE",
		     "there is none to ask about");
		return;
	}
	d->response = &response;
	d->is_broken = false;
	d->body_len = 0;
	d->event = CONN_DRAIN;
	err = ask(d);
	if (!err)
		err = await(d, stage_ms(d));
	d->response = NULL;
	d->body[d->body_len] = '\0';
	if (!err && response.state == HTTP1_DONE) {
		judge_status(d, response.status);
		judge_clock(d, response.date_s);
		return;
	}
	if (err)
		snprintf(text, sizeof(text), "the request could not be made: %s",
			 log_strerror(err));
	else if (d->is_broken)
		snprintf(text, sizeof(text), "not known: the answer is not HTTP");
	else if (d->event == CONN_ERROR)
		snprintf(text, sizeof(text), "not known: %s", conn_error(d->conn));
	else
		snprintf(text, sizeof(text), "not known: no answer in %" PRIu64 " s",
			 stage_ms(d) / 1000);
	tell(d, FINDING_FAIL, "key", "is this an intake? check output.host and output.port", text);
}

/* ------------------------------------------------------------------ targets */

static void check_network(struct diagnosis *d)
{
	struct proxy proxy = { 0 };
	const char *why;
	bool good;

	if (d->config->output_proxy) {
		if (proxy_parse(d->config->output_proxy, &proxy, &why) < 0) {
			tell(d, FINDING_FAIL, "proxy", "http://[user:password@]host:port", why);
			return;
		}
		good = check_name(d, proxy.host, proxy.port) &&
		       check_tcp(d, proxy.host, proxy.port) && check_tunnel(d);
		proxy_done(&proxy);
	} else {
		good = check_name(d, d->host, d->port) && check_tcp(d, d->host, d->port);
	}
	if (!good)
		return;
	if (d->tls && check_tls(d)) {
		if (!strcmp(d->name, "https"))
			check_key(d);
		else
			tell(d, FINDING_WARN, "key",
			     "look for events on the platform; or ask over https: sekoia-ebpf "
			     "--output https check",
			     "not known: with this transport the intake does not say whether it "
			     "takes a key, events with a wrong one vanish");
	}
	close_conn(d);
}

static void check_file(struct diagnosis *d)
{
	const char *path = d->config->output_file;
	_cleanup_free_ char *folder = NULL;
	_cleanup_close_ int fd = -1;
	char text[400], *slash;

	if (!path)
		return; /* a mistake of the configuration, and told as one */
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT) {
		folder = strdup(path);
		slash = folder ? strrchr(folder, '/') : NULL;
		if (slash)
			slash[slash == folder] = '\0';
		if (access(slash ? folder : ".", W_OK | X_OK) == 0) {
			snprintf(text, sizeof(text), "%s can be made", path);
			tell(d, FINDING_OK, "path", NULL, text);
			return;
		}
	} else if (fd >= 0) {
		snprintf(text, sizeof(text), "%s can be written", path);
		tell(d, FINDING_OK, "path", NULL, text);
		return;
	}
	snprintf(text, sizeof(text), "%s: %s", path, log_strerror(errno));
	tell(d, FINDING_FAIL, "path", "it must be writable for the user in shipper.user", text);
}

/* Of IPFIX or NetFlow 9: no proxy, no key; and over UDP no answer, whatever is there. */
static void check_collector(struct diagnosis *d)
{
	int transport = strcmp(d->name, "ipfix") == 0 ? d->config->ipfix_transport : IPFIX_OVER_UDP;
	char text[400];

	if (!check_name(d, d->host, d->port))
		return;
	if (transport == IPFIX_OVER_UDP) {
		snprintf(text, sizeof(text), "%s:%u: UDP does not tell whether somebody listens",
			 d->host, d->port);
		tell(d, FINDING_OK, "udp", NULL, text);
		return;
	}
	if (check_tcp(d, d->host, d->port) && transport == IPFIX_OVER_TLS && d->tls)
		check_tls(d);
	close_conn(d);
}

/* Each host that the configuration names, or the region's. */
static void check_targets(struct diagnosis *d, uint16_t port)
{
	const struct config *config = d->config;
	const char *hosts = config_hosts(config, d->name);
	char host[256];

	if (!hosts && is_collector(d))
		return; /* a mistake of the configuration, and told as one */
	if (!hosts)
		hosts = config_endpoints[config->region].host;

	while (*hosts) {
		if (config_parse_target(&hosts, host, sizeof(host), &d->port) < 0)
			continue;
		if (!d->port)
			d->port = config_port(config, d->name);
		if (!d->port)
			d->port = port;
		d->host = host;
		if (is_collector(d))
			check_collector(d);
		else
			check_network(d);
	}
	d->host = NULL;
}

int diagnosis_run(struct diagnosis *d)
{
	int err;

	err = loop_new(&d->loop);
	if (err)
		return err;
	for (const char *p = d->config->output; *p;) {
		size_t len = strcspn(p, ",");

		for (size_t i = 0; i < N_TRANSPORTS; i++) {
			if (strlen(transports[i].name) != len ||
			    strncmp(transports[i].name, p, len) != 0)
				continue;
			d->name = transports[i].name;
			check_targets(d, transports[i].port);
		}
		if (len == 4 && !strncmp(p, "file", len)) {
			d->name = "file";
			check_file(d);
		}
		p += len + (p[len] == ',');
	}
	return 0;
}

static bool needs_tls(const struct config *config)
{
	for (size_t i = 0; i < N_TRANSPORTS; i++) {
		const struct output_ops *ops = output_find(transports[i].name);

		if (strstr(config->output, transports[i].name) &&
		    (!ops->needs_tls || ops->needs_tls(config)))
			return true;
	}
	return false;
}

int diagnosis_new(const struct config *config, const struct finding_sink *sink,
		  struct diagnosis **ret)
{
	const struct tls_opts opts = {
		.ca = config->tls_ca,
		.cert = config->tls_cert,
		.key = config->tls_key,
	};
	struct diagnosis *d = calloc(1, sizeof(*d));
	char text[512] = "";
	int err;

	if (!d)
		return -ENOMEM;
	d->config = config;
	d->sink = sink;
	d->timeout = (struct loop_timer){ .fn = on_timeout, .arg = d };
	if (needs_tls(config)) {
		d->name = "tls";
		err = tls_client_new(&opts, text, sizeof(text), &d->tls);
		if (err)
			tell_error(d, "files", text[0] ? text : log_strerror(err),
				   "check the path, and that root may read it");
	}
	*ret = d;
	return 0;
}

void diagnosis_free(struct diagnosis *d)
{
	if (!d)
		return;
	conn_free(d->conn);
	loop_free(d->loop);
	tls_client_free(d->tls);
	free(d);
}
