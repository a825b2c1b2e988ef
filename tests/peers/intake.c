/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local intake: takes events over TLS syslog (RFC 5425), RELP and HTTPS as
 * the platform's does, finds what is missing and what came twice, and
 * misbehaves on request. One thread, fast enough not to be what a benchmark
 * measures. What a frame or a request is stands in intake_*.h; here are the
 * connections, the answers and the misdeeds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libdeflate.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/peers/intake_http.h"
#include "tests/peers/intake_json.h"
#include "tests/peers/intake_sink.h"
#include "tests/peers/intake_syslog.h"
#include "user/util/buf.h"
#include "user/util/cleanup.h"
#include "user/util/clock.h"
#include "user/util/log.h"
#include "user/util/loop.h"

#define READ_CHUNK	(64 * 1024)
#define READ_PER_TURN	(1024 * 1024) /* then others have their turn */
#define MAX_IN_BYTES	(16 * 1024 * 1024)
#define MAX_OUT_BYTES	(64 * 1024 * 1024)
#define PAUSE_OUT_BYTES (4 * 1024 * 1024) /* no reading while so much waits to be written */
#define CLOSE_WAIT_MS	3000
#define REORDER_MAX	64
#define REORDER_WAIT_MS 20
#define SLOW_TICK_MS	20
#define MAX_KEYS	16
#define MAX_BINDS	8
#define MAX_LISTENERS	(TRANSPORTS * MAX_BINDS)

/* ------------------------------------------------------------------ options */

struct options {
	long port[TRANSPORTS]; /* -1: not wanted */
	const char *bind[MAX_BINDS];
	int n_binds;
	const char *cert, *tls_key, *client_ca, *tls_min, *tls_max;
	const char *key[MAX_KEYS];
	int n_keys;
	const char *write, *write_full, *summary, *ports_file;
	const char *reject_text;
	bool plain, print, count;

	/* Misdeeds; 0 and false: none. */
	long slow, stall_after, stall_ms, close_after, reset_after, times;
	long ack_delay_ms, status, status_count, retry_after, reject_nth, relp_max;
	bool close_mid_frame, ack_split, ack_reorder, never_ack, refuse, no_close_notify, garbage;
};

enum option_type { OPT_FLAG, OPT_NUMBER, OPT_STRING, OPT_LIST, OPT_HEAD };

static const struct option_row {
	const char *name;
	enum option_type type;
	size_t offset, count_offset; /* count_offset: of a list's length */
	int max;
	const char *metavar, *help;
} option_rows[] = {
#define AT(field) offsetof(struct options, field)
	{ "Where", OPT_HEAD },
	{ "syslog", OPT_NUMBER, AT(port[BY_SYSLOG]), 0, 0, "PORT",
	  "listen for syslog; 0: any free port" },
	{ "relp", OPT_NUMBER, AT(port[BY_RELP]), 0, 0, "PORT", "listen for RELP" },
	{ "https", OPT_NUMBER, AT(port[BY_HTTPS]), 0, 0, "PORT", "listen for HTTPS" },
	{ "bind", OPT_LIST, AT(bind), AT(n_binds), MAX_BINDS, "ADDR",
	  "listen here, instead of on 127.0.0.1 and ::1; may be repeated" },
	{ "ports-file", OPT_STRING, AT(ports_file), 0, 0, "FILE",
	  "write the \"listening\" line here, not on standard output" },
	{ "cert", OPT_STRING, AT(cert), 0, 0, "FILE", "the server's certificate and chain, PEM" },
	{ "tls-key", OPT_STRING, AT(tls_key), 0, 0, "FILE", "its private key, PEM" },
	{ "client-ca", OPT_STRING, AT(client_ca), 0, 0, "FILE",
	  "ask for a client certificate of this CA" },
	{ "tls-min", OPT_STRING, AT(tls_min), 0, 0, "1.2|1.3",
	  "the oldest TLS; 1.2 when not given" },
	{ "tls-max", OPT_STRING, AT(tls_max), 0, 0, "1.2|1.3", "the newest TLS" },
	{ "plain", OPT_FLAG, AT(plain), 0, 0, NULL, "no TLS on any port" },
	{ "key", OPT_LIST, AT(key), AT(n_keys), MAX_KEYS, "KEY",
	  "refuse all but this intake key: https 422, RELP 500, syslog drops; may be repeated" },

	{ "What becomes of events", OPT_HEAD },
	{ "write", OPT_STRING, AT(write), 0, 0, "FILE", "each event on a line, LF inside as \\n" },
	{ "write-full", OPT_STRING, AT(write_full), 0, 0, "FILE",
	  "the whole syslog line or JSON element instead" },
	{ "print", OPT_FLAG, AT(print), 0, 0, NULL, "show each event on a line for people" },
	{ "count", OPT_FLAG, AT(count), 0, 0, NULL, "print totals each second and at the end" },
	{ "summary", OPT_STRING, AT(summary), 0, 0, "FILE",
	  "write all counters as JSON at the end and at SIGUSR1" },

	{ "Misdeeds (N counts the messages of one connection)", OPT_HEAD },
	{ "slow", OPT_NUMBER, AT(slow), 0, 0, "BYTES", "read at most so many bytes a second" },
	{ "stall-after", OPT_NUMBER, AT(stall_after), 0, 0, "N", "stop reading after N messages" },
	{ "stall-ms", OPT_NUMBER, AT(stall_ms), 0, 0, "MS", "for so long; 0: for ever" },
	{ "close-after", OPT_NUMBER, AT(close_after), 0, 0, "N",
	  "close in an orderly way after N messages; later ones are not taken" },
	{ "close-mid-frame", OPT_FLAG, AT(close_mid_frame), 0, 0, NULL,
	  "with --close-after: in the middle of an answer (RELP, https) or of message N+1 (syslog)" },
	{ "reset-after", OPT_NUMBER, AT(reset_after), 0, 0, "N",
	  "reset after N messages, with the answers unsent" },
	{ "times", OPT_NUMBER, AT(times), 0, 0, "K",
	  "stall, close and reset K times, then behave" },
	{ "ack-delay-ms", OPT_NUMBER, AT(ack_delay_ms), 0, 0, "MS",
	  "hold each answer back for MS" },
	{ "ack-split", OPT_FLAG, AT(ack_split), 0, 0, NULL, "write each answer byte by byte" },
	{ "ack-reorder", OPT_FLAG, AT(ack_reorder), 0, 0, NULL, "RELP: answer in reverse order" },
	{ "never-ack", OPT_FLAG, AT(never_ack), 0, 0, NULL, "take messages and never answer" },
	{ "status", OPT_NUMBER, AT(status), 0, 0, "CODE",
	  "answer https requests with CODE, taking nothing" },
	{ "status-count", OPT_NUMBER, AT(status_count), 0, 0, "N",
	  "only the first N of them; 0: all" },
	{ "retry-after", OPT_NUMBER, AT(retry_after), 0, 0, "S",
	  "with a Retry-After of S seconds" },
	{ "reject-nth", OPT_NUMBER, AT(reject_nth), 0, 0, "N",
	  "refuse each Nth event for good: RELP 500, https null and status 413" },
	{ "reject-text", OPT_STRING, AT(reject_text), 0, 0, "TEXT",
	  "refuse each event that has TEXT in it, in the same way" },
	{ "refuse", OPT_FLAG, AT(refuse), 0, 0, NULL, "accept and close at once" },
	{ "no-close-notify", OPT_FLAG, AT(no_close_notify), 0, 0, NULL,
	  "close without TLS close_notify" },
	{ "garbage", OPT_FLAG, AT(garbage), 0, 0, NULL,
	  "answer with what is neither RELP nor HTTP" },
	{ "relp-max", OPT_NUMBER, AT(relp_max), 0, 0, "BYTES",
	  "RELP: end a session that sends larger data" },
#undef AT
};
#define N_OPTION_ROWS ((int)(sizeof(option_rows) / sizeof(option_rows[0])))

static void print_help(void)
{
	printf("Usage: intake [--syslog PORT] [--relp PORT] [--https PORT] --cert FILE --tls-key FILE\n"
	       "A local intake for tests and demonstrations. It prints the ports that it chose:\n"
	       "  listening syslog=10514 relp=11514 https=8443\n"
	       "SIGUSR1 writes the summary; SIGTERM and SIGINT write it and end.\n");
	for (int i = 0; i < N_OPTION_ROWS; i++) {
		const struct option_row *o = &option_rows[i];
		char text[64];

		if (o->type == OPT_HEAD) {
			printf("\n%s:\n", o->name);
			continue;
		}
		snprintf(text, sizeof(text), "--%s%s%s", o->name, o->metavar ? " " : "",
			 o->metavar ? o->metavar : "");
		printf("  %-22s %s\n", text, o->help);
	}
}

static int parse_options(int argc, char **argv, struct options *ret)
{
	struct option longopts[N_OPTION_ROWS + 2] = { { "help", no_argument, NULL, 'h' } };
	int row[N_OPTION_ROWS + 1] = { 0 }, n = 1, c, index;

	*ret = (struct options){ .port = { -1, -1, -1 } };
	for (int i = 0; i < N_OPTION_ROWS; i++) {
		if (option_rows[i].type == OPT_HEAD)
			continue;
		longopts[n] = (struct option){ option_rows[i].name, option_rows[i].type != OPT_FLAG,
					       NULL, 1 };
		row[n++] = i;
	}
	while ((c = getopt_long(argc, argv, "h", longopts, &index)) != -1) {
		const struct option_row *o;
		char *at, *end;

		if (c == 'h') {
			print_help();
			exit(0);
		}
		if (c != 1)
			return -EINVAL;
		o = &option_rows[row[index]];
		at = (char *)ret + o->offset;
		switch (o->type) {
		case OPT_FLAG:
			*(bool *)at = true;
			break;
		case OPT_STRING:
			*(const char **)at = optarg;
			break;
		case OPT_NUMBER:
			errno = 0;
			*(long *)at = strtol(optarg, &end, 10);
			if (errno || end == optarg || *end || *(long *)at < 0) {
				log_error("--%s: \"%s\" is not a number", o->name, optarg);
				return -EINVAL;
			}
			break;
		case OPT_LIST: {
			int *count = (int *)((char *)ret + o->count_offset);

			if (*count == o->max) {
				log_error("--%s: at most %d times", o->name, o->max);
				return -EINVAL;
			}
			((const char **)at)[(*count)++] = optarg;
			break;
		}
		case OPT_HEAD:
			break;
		}
	}
	if (optind < argc) {
		log_error("\"%s\" is not an option; --help lists them", argv[optind]);
		return -EINVAL;
	}
	if (ret->port[BY_SYSLOG] < 0 && ret->port[BY_RELP] < 0 && ret->port[BY_HTTPS] < 0) {
		log_error("nothing to do: give --syslog, --relp or --https");
		return -EINVAL;
	}
	if (!ret->plain && (!ret->cert || !ret->tls_key)) {
		log_error("give --cert and --tls-key, or --plain");
		return -EINVAL;
	}
	if (!ret->n_binds) {
		ret->bind[ret->n_binds++] = "127.0.0.1";
		ret->bind[ret->n_binds++] = "::1";
	}
	return 0;
}

/* ------------------------------------------------------------------ state */

struct intake {
	struct options opts;
	struct loop *loop;
	SSL_CTX *tls;
	struct sink sink;
	struct listener {
		struct loop_io io;
		enum transport by;
		struct intake *in;
	} listeners[MAX_LISTENERS];
	int n_listeners;
	struct conn *conns;
	struct loop_timer count_timer;

	uint64_t events;   /* seen by --reject-nth */
	uint64_t statuses; /* sent by --status */
	uint64_t next_uuid;
	struct http_events http_events;
	char *inflated;		/* HTTP_MAX_BODY */
	char *unescaped;	/* HTTP_MAX_BODY */
	unsigned char *refused; /* HTTP_MAX_EVENTS: why, by event; 0: it was taken */
	struct libdeflate_decompressor *inflater;
};

enum conn_state {
	CONN_HANDSHAKE,
	CONN_OPEN,
	CONN_CLOSING, /* writes what is left, says goodbye, reads and forgets until EOF */
	CONN_DEAD,    /* is freed when its callback returns */
};

struct held {
	uint64_t due_ms;
	size_t bytes;
};

struct conn {
	struct loop_io io;
	struct loop_timer read_timer, ack_timer, close_timer;
	struct intake *in;
	struct conn *next, **link;
	enum transport by;
	enum conn_state state;
	SSL *ssl; /* NULL with --plain */
	bool paused, eof, said_goodbye, wants_write, cut_answer;
	struct buf inbuf, out;
	uint64_t taken;
	struct id_stream *id_hint;
	bool stalled_once;

	long slow_budget, slow_mille; /* bytes, and thousandths of one */

	/* --ack-delay-ms: answers behind each other in late, due as held says. */
	struct buf late;
	struct held held[256];
	unsigned held_first, held_n;

	/* RELP */
	bool relp_open, close_on_next;
	uint32_t relp_next;
	uint32_t reorder[REORDER_MAX];
	unsigned reorder_n;

	/* HTTPS: the request whose body is awaited. */
	struct http_request req;
	bool have_head, discard_body;
	struct buf body; /* of a chunked request */
};

static void conn_pump(struct conn *c);
static void conn_read(struct conn *c);

/* ------------------------------------------------------------------ connections */

static void conn_free(struct conn *c)
{
	loop_del(&c->io);
	loop_timer_cancel(&c->read_timer);
	loop_timer_cancel(&c->ack_timer);
	loop_timer_cancel(&c->close_timer);
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	SSL_free(c->ssl);
	close_fd(c->io.fd);
	buf_done(&c->inbuf);
	buf_done(&c->out);
	buf_done(&c->late);
	buf_done(&c->body);
	free(c);
}

static const char *tls_reason(void)
{
	unsigned long e = ERR_get_error();

	ERR_clear_error();
	return e ? ERR_reason_error_string(e) : "the connection was lost";
}

/* Bytes, 0: EOF, -EAGAIN, -EPIPE: it is over. */
static ssize_t conn_recv(struct conn *c, char *p, size_t n)
{
	ssize_t got;
	int why;

	if (!c->ssl) {
		got = read(c->io.fd, p, n);
		if (got < 0)
			return errno == EAGAIN || errno == EINTR ? -EAGAIN : -EPIPE;
		if (!got)
			c->in->sink.clean_closes++;
		return got;
	}
	ERR_clear_error();
	got = SSL_read(c->ssl, p, n > INT32_MAX ? INT32_MAX : (int)n);
	if (got > 0)
		return got;
	why = SSL_get_error(c->ssl, (int)got);
	if (why == SSL_ERROR_WANT_READ)
		return -EAGAIN;
	if (why == SSL_ERROR_WANT_WRITE) {
		c->wants_write = true;
		return -EAGAIN;
	}
	if (why == SSL_ERROR_ZERO_RETURN) {
		c->in->sink.clean_closes++;
		return 0;
	}
	c->in->sink.unclean_closes++;
	return -EPIPE;
}

static ssize_t conn_send(struct conn *c, const char *p, size_t n)
{
	ssize_t put;
	int why;

	if (!c->ssl) {
		put = send(c->io.fd, p, n, MSG_NOSIGNAL);
		if (put < 0)
			return errno == EAGAIN || errno == EINTR ? -EAGAIN : -EPIPE;
		return put;
	}
	ERR_clear_error();
	put = SSL_write(c->ssl, p, n > INT32_MAX ? INT32_MAX : (int)n);
	if (put > 0)
		return put;
	why = SSL_get_error(c->ssl, (int)put);
	return why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ ? -EAGAIN : -EPIPE;
}

static void conn_reset(struct conn *c)
{
	struct linger hard = { .l_onoff = 1 };

	setsockopt(c->io.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	c->state = CONN_DEAD;
}

/* close_notify, then FIN; unread data would make the kernel reset, so it is read and forgotten. */
static void conn_goodbye(struct conn *c)
{
	c->said_goodbye = true;
	if (c->ssl && !c->in->opts.no_close_notify) {
		ERR_clear_error();
		SSL_shutdown(c->ssl);
	}
	shutdown(c->io.fd, SHUT_WR);
	if (c->eof)
		c->state = CONN_DEAD;
}

static void conn_flush(struct conn *c)
{
	/* What is acknowledged is written: whoever kills us now finds it in the file. */
	if (c->out.len)
		sink_flush(&c->in->sink);
	while (c->out.len) {
		size_t n = c->in->opts.ack_split ? 1 : c->out.len < 16384 ? c->out.len : 16384;
		ssize_t put = conn_send(c, buf_data(&c->out), n);

		if (put == -EAGAIN) {
			c->wants_write = true;
			return;
		}
		if (put < 0) {
			c->state = CONN_DEAD;
			return;
		}
		buf_consume(&c->out, (size_t)put);
	}
	if (c->state == CONN_CLOSING && !c->said_goodbye)
		conn_goodbye(c);
}

/* Everything answered so far still goes out. */
static void conn_close(struct conn *c)
{
	if (c->state == CONN_CLOSING || c->state == CONN_DEAD)
		return;
	if (c->late.len) {
		buf_append(&c->out, buf_data(&c->late), c->late.len);
		buf_clear(&c->late);
		c->held_n = 0;
	}
	if (c->cut_answer && c->out.len)
		c->out.len = c->by == BY_RELP && c->out.len > 7 ? c->out.len - 7 : c->out.len / 2;
	c->state = CONN_CLOSING;
	c->paused = false;
	loop_timer_set(c->in->loop, &c->close_timer, loop_now_ms(c->in->loop) + CLOSE_WAIT_MS);
	conn_flush(c);
}

static void conn_bad(struct conn *c, const char *what)
{
	c->in->sink.bad_frame++;
	log_warning("%s: %s; closing", transport_names[c->by], what);
	conn_close(c);
}

static void conn_watch(struct conn *c)
{
	uint32_t events = 0;

	if (!c->paused && !c->eof && c->out.len < PAUSE_OUT_BYTES)
		events |= EPOLLIN;
	if (c->wants_write)
		events |= EPOLLOUT;
	if (loop_watch(&c->io, events) < 0)
		c->state = CONN_DEAD;
}

/* Ends each callback of a connection; c may be gone afterwards. */
static void conn_settle(struct conn *c)
{
	if (c->state != CONN_DEAD)
		conn_watch(c);
	if (c->state == CONN_DEAD)
		conn_free(c);
}

/* ------------------------------------------------------------------ answers */

static void answer(struct conn *c, const char *p, size_t n)
{
	if (c->in->opts.never_ack)
		return;
	if (buf_append(c->in->opts.ack_delay_ms ? &c->late : &c->out, p, n))
		conn_bad(c, "it does not read its answers");
}

static void answer_relp(struct conn *c, struct slice number, const char *code)
{
	char text[96];
	size_t n = number.len;

	memcpy(text, number.p, n);
	n += (size_t)snprintf(text + n, sizeof(text) - n, " rsp %zu %s\n", strlen(code), code);
	answer(c, text, n);
}

static void answer_relp_ok(struct conn *c, struct slice number)
{
	static const char ok[] = " rsp 6 200 OK\n";
	char text[32];

	memcpy(text, number.p, number.len);
	memcpy(text + number.len, ok, sizeof(ok) - 1);
	answer(c, text, number.len + sizeof(ok) - 1);
}

static void reorder_flush(struct conn *c)
{
	char number[16];

	while (c->reorder_n) {
		int n = snprintf(number, sizeof(number), "%u", c->reorder[--c->reorder_n]);

		answer_relp_ok(c, (struct slice){ number, (size_t)n });
	}
}

/* What was answered in this turn: later, if so asked for. */
static void answers_end(struct conn *c)
{
	struct held *last;
	size_t before = 0;

	if (!c->in->opts.ack_delay_ms || c->state == CONN_CLOSING)
		return;
	for (unsigned i = 0; i < c->held_n; i++)
		before += c->held[(c->held_first + i) % 256].bytes;
	if (c->late.len == before)
		return;
	if (c->held_n == 256) {
		last = &c->held[(c->held_first + 255) % 256];
		last->bytes += c->late.len - before;
		return;
	}
	last = &c->held[(c->held_first + c->held_n++) % 256];
	last->bytes = c->late.len - before;
	last->due_ms = loop_now_ms(c->in->loop) + (uint64_t)c->in->opts.ack_delay_ms;
	if (c->held_n == 1)
		loop_timer_set(c->in->loop, &c->ack_timer, last->due_ms);
}

static void on_ack_timer(void *arg, uint64_t now_ms)
{
	struct conn *c = arg;

	if (c->reorder_n) {
		reorder_flush(c);
		answers_end(c);
	}
	while (c->held_n && c->held[c->held_first].due_ms <= now_ms) {
		size_t n = c->held[c->held_first].bytes;

		if (buf_append(&c->out, buf_data(&c->late), n))
			c->state = CONN_DEAD;
		buf_consume(&c->late, n);
		c->held_first = (c->held_first + 1) % 256;
		c->held_n--;
	}
	if (c->held_n)
		loop_timer_set(c->in->loop, &c->ack_timer, c->held[c->held_first].due_ms);
	if (c->state != CONN_DEAD)
		conn_flush(c);
	conn_settle(c);
}

/* ------------------------------------------------------------------ misdeeds */

static bool may_misbehave(struct intake *in)
{
	return !in->opts.times || in->sink.misdeeds < (uint64_t)in->opts.times;
}

static void on_read_timer(void *arg, uint64_t now_ms)
{
	struct conn *c = arg;

	(void)now_ms;
	if (c->in->opts.slow) {
		c->slow_mille += c->in->opts.slow * SLOW_TICK_MS;
		c->slow_budget += c->slow_mille / 1000;
		c->slow_mille %= 1000;
		if (c->slow_budget > c->in->opts.slow + 1)
			c->slow_budget = c->in->opts.slow + 1;
	}
	c->paused = false;
	conn_pump(c);
}

/* After each message: true when this connection must not take the next one. */
static bool after_message(struct conn *c)
{
	const struct options *o = &c->in->opts;

	c->taken++;
	if (o->reset_after && c->taken >= (uint64_t)o->reset_after && may_misbehave(c->in)) {
		c->in->sink.misdeeds++;
		conn_reset(c);
		return true;
	}
	if (o->close_after && c->taken >= (uint64_t)o->close_after && may_misbehave(c->in)) {
		c->in->sink.misdeeds++;
		c->close_on_next = true;
		return true;
	}
	if (o->stall_after && c->taken >= (uint64_t)o->stall_after && !c->stalled_once &&
	    may_misbehave(c->in)) {
		c->in->sink.misdeeds++;
		c->stalled_once = c->paused = true;
		if (o->stall_ms)
			loop_timer_set(c->in->loop, &c->read_timer,
				       loop_now_ms(c->in->loop) + (uint64_t)o->stall_ms);
		/* What was read is dealt with: it is reading that stops. */
	}
	return false;
}

/* The close that after_message() decided on, when the transport has answered what it took. */
static void close_if_due(struct conn *c)
{
	if (!c->close_on_next || c->state != CONN_OPEN)
		return;
	reorder_flush(c);
	if (c->in->opts.close_mid_frame) {
		/* Syslog has no answer to cut: wait for a part of what follows. */
		if (c->by == BY_SYSLOG && !c->inbuf.len)
			return;
		c->cut_answer = true;
	} else if (c->by == BY_RELP) {
		answer(c, "0 serverclose 0\n", 16);
	}
	conn_close(c);
}

/* Each Nth event is refused for good, or what has the text in it. */
static bool is_rejected(struct intake *in, struct slice event)
{
	const char *text = in->opts.reject_text;
	bool has_text = text && event.len && memmem(event.p, event.len, text, strlen(text));

	if (!has_text && (!in->opts.reject_nth || ++in->events % (uint64_t)in->opts.reject_nth))
		return false;
	in->sink.refused++;
	return true;
}

/* ------------------------------------------------------------------ syslog and RELP */

static bool key_is_ours(const void *arg, struct slice key)
{
	const struct intake *in = arg;

	for (int i = 0; i < in->opts.n_keys; i++)
		if (slice_is(key, in->opts.key[i]))
			return true;
	return !in->opts.n_keys;
}

enum line_verdict { LINE_TAKEN, LINE_DROPPED, LINE_REJECTED, LINE_BAD_HEADER, LINE_BAD_KEY };

static const char *const line_verdicts[] = {
	[LINE_REJECTED] = "500 refused for good",
	[LINE_BAD_HEADER] = "500 not an RFC 5424 header",
	[LINE_BAD_KEY] = "500 invalid intake key",
};

static enum line_verdict take_line(struct conn *c, struct slice text)
{
	struct intake *in = c->in;
	struct syslog_line line;

	if (syslog_parse(text, &line) < 0) {
		in->sink.bad_header++;
		return LINE_BAD_HEADER;
	}
	if (in->opts.n_keys && (!line.key.p || !key_is_ours(in, line.key))) {
		in->sink.bad_key++;
		return LINE_BAD_KEY;
	}
	if (line.msg.len > SINK_MAX_EVENT) {
		in->sink.too_large++;
		return LINE_DROPPED;
	}
	if (is_rejected(in, line.msg))
		return LINE_REJECTED;
	sink_take(&in->sink, &(struct event_in){ .by = c->by,
						 .full = text,
						 .msg = line.msg,
						 .time = line.time,
						 .app = line.app,
						 .procid = line.procid,
						 .id = line.id,
						 .seq = line.seq,
						 .id_hint = &c->id_hint });
	return LINE_TAKEN;
}

static void syslog_on_data(struct conn *c)
{
	size_t used = 0;

	if (c->close_on_next) {
		close_if_due(c);
		return;
	}
	while (used < c->inbuf.len) {
		struct slice line;
		ssize_t n = syslog_unframe(buf_data(&c->inbuf) + used, c->inbuf.len - used, &line);

		if (n < 0) {
			conn_bad(c,
				 n == -EMSGSIZE ? "a message above 1 MiB" : "not an octet count");
			return;
		}
		if (!n)
			break;
		take_line(c, line);
		used += (size_t)n;
		if (after_message(c))
			break;
	}
	buf_consume(&c->inbuf, used);
	close_if_due(c);
}

/* True when the session may go on. */
static bool relp_open(struct conn *c, const struct relp_frame *f)
{
	static const char offers[] =
		"200 OK\nrelp_version=0\nrelp_software=intake\ncommands=syslog";

	if (c->relp_open || !memmem(f->data.p, f->data.len, "relp_version=", 13)) {
		answer_relp(c, f->number, "500 open failed");
		conn_bad(c, c->relp_open ? "a second open" : "an open without relp_version");
		return false;
	}
	c->relp_open = true;
	answer_relp(c, f->number, offers);
	return true;
}

static bool relp_syslog(struct conn *c, const struct relp_frame *f)
{
	enum line_verdict verdict = take_line(c, f->data);

	if (verdict > LINE_DROPPED) {
		reorder_flush(c);
		answer_relp(c, f->number, line_verdicts[verdict]);
	} else if (c->in->opts.ack_reorder) {
		c->reorder[c->reorder_n++] = f->txnr;
		if (c->reorder_n == REORDER_MAX)
			reorder_flush(c);
	} else {
		answer_relp_ok(c, f->number);
	}
	return !after_message(c);
}

static bool relp_frame(struct conn *c, const struct relp_frame *f)
{
	if (c->in->opts.garbage) {
		answer(c, "12 rsp what is this?\n", 21);
		return true;
	}
	if (f->txnr != c->relp_next) {
		conn_bad(c, "a txnr out of order");
		return false;
	}
	c->relp_next = c->relp_next == 999999999 ? 1 : c->relp_next + 1;
	if (slice_is(f->command, "open"))
		return relp_open(c, f);
	if (!c->relp_open) {
		conn_bad(c, "a command before open");
		return false;
	}
	if (slice_is(f->command, "syslog"))
		return relp_syslog(c, f);
	reorder_flush(c);
	if (slice_is(f->command, "close")) {
		char text[32];
		int n = snprintf(text, sizeof(text), "%.*s rsp 0\n0 serverclose 0\n",
				 (int)f->number.len, f->number.p);

		answer(c, text, (size_t)n);
		conn_close(c);
		return false;
	}
	answer_relp(c, f->number, "500 unknown command");
	return true;
}

static void relp_on_data(struct conn *c)
{
	size_t max = c->in->opts.relp_max ? (size_t)c->in->opts.relp_max : SYSLOG_MAX_FRAME;
	size_t used = 0;

	while (used < c->inbuf.len && c->state == CONN_OPEN) {
		struct relp_frame f;
		ssize_t n = relp_unframe(buf_data(&c->inbuf) + used, c->inbuf.len - used, max, &f);

		if (n < 0) {
			conn_bad(c, n == -EMSGSIZE ? "data above --relp-max" : "not a RELP frame");
			return;
		}
		if (!n)
			break;
		used += (size_t)n;
		if (!relp_frame(c, &f))
			break;
	}
	if (c->state == CONN_DEAD)
		return;
	buf_consume(&c->inbuf, used);
	if (c->reorder_n > 1)
		reorder_flush(c);
	else if (c->reorder_n && !loop_timer_is_set(&c->ack_timer))
		loop_timer_set(c->in->loop, &c->ack_timer,
			       loop_now_ms(c->in->loop) + REORDER_WAIT_MS);
	close_if_due(c);
}

/* ------------------------------------------------------------------ https */

static const char *http_reason(long code)
{
	static const struct {
		long code;
		const char *reason;
	} reasons[] = {
		{ 200, "OK" },
		{ 400, "Bad Request" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 411, "Length Required" },
		{ 413, "Content Too Large" },
		{ 415, "Unsupported Media Type" },
		{ 422, "Unprocessable Content" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].code == code)
			return reasons[i].reason;
	return "Something Else";
}

static void http_head(struct conn *c, long code, size_t length, bool close, const char *extra)
{
	char text[512];
	int n;

	n = snprintf(text, sizeof(text),
		     "HTTP/1.1 %ld %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
		     "%s%s\r\n",
		     code, http_reason(code), length, extra, close ? "Connection: close\r\n" : "");
	answer(c, text, (size_t)n);
}

/* An error: code, and why in the body. Closes when the body of the request is not read. */
static void http_fail(struct conn *c, long code, const char *why, bool close)
{
	char body[256], extra[64] = "";
	int n = snprintf(body, sizeof(body), "{\"code\":%ld,\"message\":\"%s\"}", code, why);

	c->in->sink.requests_failed++;
	if (code == 405)
		snprintf(extra, sizeof(extra), "Allow: POST\r\n");
	if (c->in->opts.status && c->in->opts.retry_after)
		snprintf(extra, sizeof(extra), "Retry-After: %ld\r\n", c->in->opts.retry_after);
	http_head(c, code, (size_t)n, close, extra);
	answer(c, body, (size_t)n);
	if (close)
		conn_close(c);
}

/* 36 characters, as if it were random. */
static void http_uuid(struct intake *in, char *text)
{
	static const char hex[] = "0123456789abcdef";
	uint64_t n = in->next_uuid++;

	memcpy(text, "5e401a00-0000-4000-8000-000000000000", 36);
	for (int i = 35; n && i > 23; i--, n >>= 4)
		text[i] = hex[n & 15];
}

/* Takes all events of a request that was found right; answers with their ids. */
static void http_take(struct conn *c, struct http_events *l, bool single)
{
	struct intake *in = c->in;
	bool stop = false, garbage = in->opts.garbage;
	size_t refused = 0;
	_cleanup_(buf_done) struct buf body = { .max_bytes = MAX_OUT_BYTES };
	char id[40];

	for (size_t i = 0; i < l->n; i++) {
		const struct http_event *e = &l->list[i];
		struct slice event = e->raw;

		if (e->escaped)
			event = (struct slice){ in->unescaped,
						json_unescape(in->unescaped, e->raw) };
		in->refused[i] = 0;
		if (event.len > SINK_MAX_EVENT)
			in->sink.too_large++;
		if (event.len > SINK_MAX_EVENT || is_rejected(in, event)) {
			in->refused[i] = 1;
			refused++;
			continue;
		}
		sink_take(&in->sink, &(struct event_in){ .by = BY_HTTPS,
							 .full = e->full,
							 .msg = event,
							 .id_hint = &c->id_hint });
		stop |= after_message(c);
	}
	if (c->state == CONN_DEAD)
		return;
	if (garbage) {
		answer(c, "HTPP/9 what is this?\r\n\r\n", 24);
		return;
	}
	if (l->n && refused == l->n) {
		http_fail(c, 413, "every event is too large", false);
		return;
	}

	buf_puts(&body, single ? "{\"event_id\":" : "{\"event_ids\":[");
	for (size_t i = 0; i < l->n; i++) {
		if (i)
			buf_append(&body, ",", 1);
		if (in->refused[i]) {
			buf_append(&body, "null", 4);
			continue;
		}
		id[0] = id[37] = '"';
		http_uuid(in, id + 1);
		buf_append(&body, id, 38);
	}
	if (!single)
		buf_append(&body, "]", 1);
	if (refused) {
		const char *comma = "";

		buf_puts(&body, ",\"errors\":[");
		for (size_t i = 0; i < l->n; i++) {
			if (!in->refused[i])
				continue;
			buf_printf(&body, "%s{\"index\":%zu,\"status\":413}", comma, i);
			comma = ",";
		}
		buf_append(&body, "]", 1);
	}
	buf_append(&body, "}", 1);
	http_head(c, 200, body.len, c->req.close, "");
	answer(c, buf_data(&body), body.len);
	if (stop)
		close_if_due(c);
}

/* gzip, perhaps of several members. 0, -EBADMSG, -EMSGSIZE. */
static int http_inflate(struct intake *in, struct slice *body)
{
	size_t used = 0, len = 0;

	if (!in->inflater)
		in->inflater = libdeflate_alloc_decompressor();
	if (!in->inflater)
		return -ENOMEM;
	while (used < body->len) {
		size_t in_n, out_n;

		switch (libdeflate_gzip_decompress_ex(in->inflater, body->p + used,
						      body->len - used, in->inflated + len,
						      HTTP_MAX_BODY - len, &in_n, &out_n)) {
		case LIBDEFLATE_SUCCESS:
			break;
		case LIBDEFLATE_INSUFFICIENT_SPACE:
			return -EMSGSIZE;
		default:
			return -EBADMSG;
		}
		used += in_n;
		len += out_n;
	}
	*body = (struct slice){ in->inflated, len };
	return 0;
}

/* The whole request is here. */
static void http_request(struct conn *c, struct slice body)
{
	struct http_request *r = &c->req;
	struct intake *in = c->in;
	int err;

	in->sink.requests++;
	if (in->opts.status &&
	    (!in->opts.status_count || in->statuses < (uint64_t)in->opts.status_count)) {
		in->statuses++;
		http_fail(c, in->opts.status, "as --status asked for", false);
		return;
	}
	if (r->endpoint == EP_NONE) {
		http_fail(c, 404, "no such endpoint", false);
		return;
	}
	if (!r->post) {
		http_fail(c, 405, "POST it", false);
		return;
	}
	if (r->unknown_coding) {
		http_fail(c, 415, "gzip or nothing", false);
		return;
	}
	if (r->gzip) {
		err = http_inflate(in, &body);
		if (err) {
			http_fail(c, err == -EMSGSIZE ? 413 : 400,
				  err == -EMSGSIZE ? "above 10 MiB" : "not gzip", false);
			return;
		}
	}
	err = r->has_jsonpath ? -EBADMSG
			      : http_parse_body(&in->http_events, r, body, key_is_ours, in);
	if (err) {
		http_fail(c, err == -EMSGSIZE ? 413 : 400,
			  err == -EMSGSIZE ? "too many events" : "not what this endpoint takes",
			  false);
		return;
	}
	if (r->endpoint != EP_ROOT && r->endpoint != EP_BATCH && r->endpoint != EP_ARRAY)
		in->http_events.missing_key = true;
	/* A key in the body comes before that of the request, which stands in for a missing one. */
	if (in->opts.n_keys &&
	    (in->http_events.wrong_key ||
	     (in->http_events.missing_key && !key_is_ours(in, slice_of(r->key))))) {
		in->sink.bad_key++;
		http_fail(c, 422, "invalid intake key", false);
		return;
	}
	http_take(c, &in->http_events, r->endpoint == EP_PLAIN || r->endpoint == EP_ROOT);
}

static void http_end_request(struct conn *c)
{
	c->have_head = false;
	if (c->req.close && c->state == CONN_OPEN)
		conn_close(c);
}

/* True: one request was dealt with, look for the next. */
static bool http_step(struct conn *c)
{
	struct http_request *r = &c->req;
	bool done;
	ssize_t n;

	if (!c->have_head) {
		n = http_parse_head(buf_data(&c->inbuf), c->inbuf.len, r);
		if (n < 0) {
			c->in->sink.bad_frame++;
			http_fail(c, n == -EMSGSIZE ? 431 : 400, "not an HTTP/1.1 request", true);
			return false;
		}
		if (!n)
			return false;
		buf_consume(&c->inbuf, (size_t)n);
		c->have_head = true;
		if (r->length > HTTP_MAX_BODY) {
			c->in->sink.requests++;
			http_fail(c, 413, "above 10 MiB", true);
			return false;
		}
		if (!r->has_length && !r->chunked && r->post) {
			c->in->sink.requests++;
			http_fail(c, 411, "how long is it?", true);
			return false;
		}
		if (r->expect) {
			buf_puts(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
			conn_flush(c);
		}
	}
	if (!r->chunked) {
		if (c->inbuf.len < r->length)
			return false;
		n = (ssize_t)r->length;
		http_request(c, (struct slice){ buf_data(&c->inbuf), (size_t)n });
		if (c->state == CONN_DEAD)
			return false;
		buf_consume(&c->inbuf, (size_t)n);
		http_end_request(c);
		return c->state == CONN_OPEN;
	}
	n = http_dechunk(buf_data(&c->inbuf), c->inbuf.len, &c->body, &done);
	if (n < 0) {
		http_fail(c, n == -EMSGSIZE ? 413 : 400,
			  n == -EMSGSIZE ? "above 10 MiB" : "not chunked", true);
		return false;
	}
	buf_consume(&c->inbuf, (size_t)n);
	if (!done)
		return false;
	http_request(c, buf_slice(&c->body));
	buf_clear(&c->body);
	if (c->state == CONN_DEAD)
		return false;
	http_end_request(c);
	return c->state == CONN_OPEN;
}

static void http_on_data(struct conn *c)
{
	while (c->state == CONN_OPEN && !c->paused && http_step(c))
		;
}

/* ------------------------------------------------------------------ reading */

static void conn_on_data(struct conn *c)
{
	switch (c->by) {
	case BY_SYSLOG:
		syslog_on_data(c);
		break;
	case BY_RELP:
		relp_on_data(c);
		break;
	case BY_HTTPS:
	default:
		http_on_data(c);
		break;
	}
}

/* Returns false when nothing more can be read now. */
static bool conn_read_some(struct conn *c, size_t *budget)
{
	size_t want = READ_CHUNK;
	ssize_t n;
	char *at;

	if (c->in->opts.slow) {
		if (c->slow_budget <= 0) {
			c->paused = true;
			loop_timer_set(c->in->loop, &c->read_timer,
				       loop_now_ms(c->in->loop) + SLOW_TICK_MS);
			return false;
		}
		if (want > (size_t)c->slow_budget)
			want = (size_t)c->slow_budget;
	}
	if (c->state == CONN_CLOSING)
		buf_clear(&c->inbuf);
	if (buf_reserve(&c->inbuf, want, &at)) {
		conn_bad(c, "more than we hold");
		return false;
	}
	n = conn_recv(c, at, want);
	if (n == -EAGAIN)
		return false;
	if (n <= 0) {
		c->eof = true;
		return false;
	}
	buf_added(&c->inbuf, (size_t)n);
	c->slow_budget -= n;
	c->in->sink.wire_bytes += (uint64_t)n;
	*budget -= (size_t)n < *budget ? (size_t)n : *budget;
	return true;
}

static void conn_read(struct conn *c)
{
	size_t budget = READ_PER_TURN, parsed_at = budget;
	bool more = true;

	/* A pause may have left whole messages behind. */
	if (c->inbuf.len && c->state == CONN_OPEN)
		conn_on_data(c);
	while (more && budget && !c->paused && c->state != CONN_DEAD &&
	       c->out.len < PAUSE_OUT_BYTES) {
		more = conn_read_some(c, &budget);
		if (c->state == CONN_OPEN && c->inbuf.len &&
		    (!more || parsed_at - budget >= READ_CHUNK / 2)) {
			conn_on_data(c);
			parsed_at = budget;
		}
	}
	if (c->state == CONN_DEAD)
		return;
	answers_end(c);
	conn_flush(c);
	if (c->state == CONN_DEAD)
		return;
	if (c->eof && !c->late.len) {
		/* Their goodbye is answered with ours. */
		if (c->said_goodbye)
			c->state = CONN_DEAD;
		else
			conn_close(c);
	} else if (!budget && !c->paused) {
		/* TLS may hold data that epoll does not see. */
		loop_timer_set(c->in->loop, &c->read_timer, loop_now_ms(c->in->loop));
	}
}

static void conn_handshake(struct conn *c)
{
	int n, why;

	if (c->ssl) {
		ERR_clear_error();
		n = SSL_accept(c->ssl);
		if (n != 1) {
			why = SSL_get_error(c->ssl, n);
			c->wants_write = why == SSL_ERROR_WANT_WRITE;
			if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
				return;
			c->in->sink.tls_failures++;
			log_warning("%s: handshake: %s", transport_names[c->by], tls_reason());
			c->state = CONN_DEAD;
			return;
		}
	}
	c->state = CONN_OPEN;
	if (c->in->opts.garbage && c->by == BY_SYSLOG)
		buf_puts(&c->out, "what is this?\n");
}

static void conn_pump(struct conn *c)
{
	c->wants_write = false;
	if (c->state == CONN_HANDSHAKE)
		conn_handshake(c);
	if (c->state == CONN_OPEN || c->state == CONN_CLOSING)
		conn_read(c);
	conn_settle(c);
}

static void on_conn_io(void *arg, uint32_t events)
{
	struct conn *c = arg;

	/* While it is paused only the end of the connection is reported. */
	if (c->paused && (events & (EPOLLERR | EPOLLHUP))) {
		c->state = CONN_DEAD;
		conn_settle(c);
		return;
	}
	conn_pump(c);
}

static void on_close_timer(void *arg, uint64_t now_ms)
{
	struct conn *c = arg;

	(void)now_ms;
	c->state = CONN_DEAD;
	conn_settle(c);
}

/* ------------------------------------------------------------------ listening */

static void conn_new(struct intake *in, enum transport by, int fd)
{
	struct conn *c = calloc(1, sizeof(*c));
	int one = 1, small = 16 * 1024;

	in->sink.connections++;
	if (!c || in->opts.refuse) {
		free(c);
		close_fd(fd);
		return;
	}
	*c = (struct conn){ .in = in, .by = by, .state = CONN_HANDSHAKE, .relp_next = 1 };
	c->io = (struct loop_io){ .fd = fd, .events = EPOLLIN, .fn = on_conn_io, .arg = c };
	c->read_timer = (struct loop_timer){ .fn = on_read_timer, .arg = c };
	c->ack_timer = (struct loop_timer){ .fn = on_ack_timer, .arg = c };
	c->close_timer = (struct loop_timer){ .fn = on_close_timer, .arg = c };
	buf_init(&c->inbuf, MAX_IN_BYTES);
	buf_init(&c->out, MAX_OUT_BYTES);
	buf_init(&c->late, MAX_OUT_BYTES);
	buf_init(&c->body, HTTP_MAX_BODY);
	c->next = in->conns;
	c->link = &in->conns;
	if (c->next)
		c->next->link = &c->next;
	in->conns = c;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (in->opts.slow)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	if (in->tls) {
		c->ssl = SSL_new(in->tls);
		if (!c->ssl || !SSL_set_fd(c->ssl, fd)) {
			conn_free(c);
			return;
		}
	}
	if (loop_add(in->loop, &c->io) < 0) {
		conn_free(c);
		return;
	}
	conn_pump(c);
}

static void on_listener(void *arg, uint32_t events)
{
	struct listener *l = arg;
	int fd;

	(void)events;
	for (;;) {
		fd = accept4(l->io.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		conn_new(l->in, l->by, fd);
	}
}

/* *port is 0 for any; the one that was taken afterwards. */
static int listen_at(const char *addr, uint16_t *port, int *ret)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} at = { 0 };
	socklen_t len = sizeof(at);
	_cleanup_close_ int fd = -1;
	int one = 1;

	if (inet_pton(AF_INET, addr, &at.v4.sin_addr) == 1) {
		at.v4.sin_family = AF_INET;
		at.v4.sin_port = htons(*port);
		len = sizeof(at.v4);
	} else if (inet_pton(AF_INET6, addr, &at.v6.sin6_addr) == 1) {
		at.v6.sin6_family = AF_INET6;
		at.v6.sin6_port = htons(*port);
	} else {
		return -EINVAL;
	}
	fd = socket(at.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (at.sa.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, &at.sa, len) < 0 || listen(fd, 1024) < 0)
		return -errno;
	len = sizeof(at);
	if (getsockname(fd, &at.sa, &len) < 0)
		return -errno;
	*port = ntohs(at.sa.sa_family == AF_INET ? at.v4.sin_port : at.v6.sin6_port);
	*ret = TAKE_FD(fd);
	return 0;
}

/* The same port on all addresses. */
static int listen_all(struct intake *in, enum transport by)
{
	uint16_t wanted = (uint16_t)in->opts.port[by], port;
	int fds[MAX_BINDS], n, err = 0;

	for (int attempt = 0; attempt < 50; attempt++) {
		port = wanted;
		for (n = 0; n < in->opts.n_binds; n++) {
			err = listen_at(in->opts.bind[n], &port, &fds[n]);
			if (err)
				break;
		}
		if (!err)
			break;
		if (wanted || err != -EADDRINUSE)
			log_error("%s: listen on %s port %u: %s", transport_names[by],
				  in->opts.bind[n], port, log_strerror(err));
		while (n)
			close_fd(fds[--n]);
		if (wanted || err != -EADDRINUSE)
			return err;
	}
	if (err)
		return err;
	in->opts.port[by] = port;
	for (n = 0; n < in->opts.n_binds; n++) {
		struct listener *l = &in->listeners[in->n_listeners++];

		*l = (struct listener){ .in = in, .by = by };
		l->io = (struct loop_io){
			.fd = fds[n], .events = EPOLLIN, .fn = on_listener, .arg = l
		};
		err = loop_add(in->loop, &l->io);
		if (err)
			return err;
	}
	return 0;
}

/*
 * A regular file appears whole or not at all. Anything else (a pipe, a device)
 * is only written to: renaming over it would replace it.
 */
static int write_whole(const char *path, const char *text, size_t n)
{
	char tmp[4096];
	struct stat st;
	bool in_place = stat(path, &st) == 0 && !S_ISREG(st.st_mode);
	FILE *f;

	if (snprintf(tmp, sizeof(tmp), "%s.tmp", path) >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	f = fopen(in_place ? path : tmp, "we");
	if (!f)
		return -errno;
	if (fwrite(text, 1, n, f) != n) {
		fclose(f);
		return -EIO;
	}
	if (fclose(f) || (!in_place && rename(tmp, path)))
		return -errno;
	return 0;
}

static int say_ports(const struct intake *in)
{
	char text[128] = "listening";
	size_t n = strlen(text);

	for (int i = 0; i < TRANSPORTS; i++)
		if (in->opts.port[i] >= 0)
			n += (size_t)snprintf(text + n, sizeof(text) - n, " %s=%ld",
					      transport_names[i], in->opts.port[i]);
	text[n++] = '\n';
	if (in->opts.ports_file)
		return write_whole(in->opts.ports_file, text, n);
	fwrite(text, 1, n, stdout);
	fflush(stdout);
	return 0;
}

static int tls_version(const char *text)
{
	if (!text || strcmp(text, "1.2") == 0)
		return TLS1_2_VERSION;
	return strcmp(text, "1.3") == 0 ? TLS1_3_VERSION : -1;
}

static int tls_new(const struct options *o, SSL_CTX **ret)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	int min = tls_version(o->tls_min), max = o->tls_max ? tls_version(o->tls_max) : 0;

	if (!ctx || min < 0 || max < 0 || !SSL_CTX_set_min_proto_version(ctx, min) ||
	    !SSL_CTX_set_max_proto_version(ctx, max)) {
		log_error("--tls-min and --tls-max: 1.2 or 1.3");
		SSL_CTX_free(ctx);
		return -EINVAL;
	}
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"intake", 6);
	/* One recv() for many records; --slow wants them to stay with the kernel. */
	if (!o->slow) {
		SSL_CTX_set_read_ahead(ctx, 1);
		SSL_CTX_set_default_read_buffer_len(ctx, 128 * 1024);
	}
	if (SSL_CTX_use_certificate_chain_file(ctx, o->cert) != 1) {
		log_error("%s: %s", o->cert, tls_reason());
		SSL_CTX_free(ctx);
		return -EINVAL;
	}
	if (SSL_CTX_use_PrivateKey_file(ctx, o->tls_key, SSL_FILETYPE_PEM) != 1) {
		log_error("%s: %s", o->tls_key, tls_reason());
		SSL_CTX_free(ctx);
		return -EINVAL;
	}
	if (o->client_ca) {
		if (SSL_CTX_load_verify_locations(ctx, o->client_ca, NULL) != 1) {
			log_error("%s: %s", o->client_ca, tls_reason());
			SSL_CTX_free(ctx);
			return -EINVAL;
		}
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	}
	*ret = ctx;
	return 0;
}

/* ------------------------------------------------------------------ running */

static void write_summary(const struct intake *in)
{
	_cleanup_(buf_done) struct buf text = { .max_bytes = 1024 * 1024 };
	int err;

	if (!in->opts.summary)
		return;
	sink_summary(&in->sink, &text);
	err = write_whole(in->opts.summary, buf_data(&text), text.len);
	if (err)
		log_error("%s: %s", in->opts.summary, log_strerror(err));
}

static void on_signal(void *arg, int signo)
{
	struct intake *in = arg;

	sink_flush(&in->sink);
	if (signo == SIGUSR1)
		write_summary(in);
	else
		loop_stop(in->loop, 0);
}

static void on_count_timer(void *arg, uint64_t now_ms)
{
	struct intake *in = arg;

	sink_print_count(&in->sink);
	loop_timer_set(in->loop, &in->count_timer, now_ms + 1000);
}

static void before_sleep(void *arg)
{
	struct intake *in = arg;

	sink_flush(&in->sink);
}

static FILE *open_for_lines(const char *path)
{
	FILE *f = fopen(path, "ae");

	if (!f)
		log_error("%s: %s", path, log_strerror(errno));
	else
		setvbuf(f, NULL, _IOFBF, 1024 * 1024);
	return f;
}

static int intake_run(struct intake *in)
{
	static const int signos[] = { SIGTERM, SIGUSR1, SIGINT };
	struct sigaction interrupt;
	int err, n = 3;

	in->inflated = malloc(HTTP_MAX_BODY);
	in->unescaped = malloc(HTTP_MAX_BODY);
	in->refused = malloc(HTTP_MAX_EVENTS);
	if (!in->inflated || !in->unescaped || !in->refused)
		return -ENOMEM;
	if (in->opts.write && !(in->sink.write = open_for_lines(in->opts.write)))
		return -EIO;
	if (in->opts.write_full && !(in->sink.write_full = open_for_lines(in->opts.write_full)))
		return -EIO;
	in->sink.print = in->opts.print;
	in->sink.colour = isatty(STDOUT_FILENO);
	if (!in->opts.plain) {
		err = tls_new(&in->opts, &in->tls);
		if (err)
			return err;
	}
	err = loop_new(&in->loop);
	if (err)
		return err;
	/* Who starts it so that a Ctrl-C is not for it means that; signalfd(2) would still get it.
	 */
	if (sigaction(SIGINT, NULL, &interrupt) == 0 && interrupt.sa_handler == SIG_IGN)
		n = 2;
	err = loop_signals(in->loop, signos, n, on_signal, in);
	if (err)
		return err;
	for (int i = 0; i < TRANSPORTS; i++) {
		if (in->opts.port[i] < 0)
			continue;
		err = listen_all(in, (enum transport)i);
		if (err)
			return err;
	}
	loop_before_sleep(in->loop, before_sleep, in);
	if (in->opts.count) {
		in->count_timer = (struct loop_timer){ .fn = on_count_timer, .arg = in };
		loop_timer_set(in->loop, &in->count_timer, loop_now_ms(in->loop) + 1000);
	}
	err = say_ports(in);
	if (err) {
		log_error("%s: %s", in->opts.ports_file, log_strerror(err));
		return err;
	}
	err = loop_run(in->loop);
	if (in->opts.count)
		sink_print_count(&in->sink);
	sink_flush(&in->sink);
	write_summary(in);
	return err;
}

static void intake_done(struct intake *in)
{
	while (in->conns)
		conn_free(in->conns);
	for (int i = 0; i < in->n_listeners; i++) {
		loop_del(&in->listeners[i].io);
		close_fd(in->listeners[i].io.fd);
	}
	loop_free(in->loop);
	SSL_CTX_free(in->tls);
	if (in->sink.write)
		fclose(in->sink.write);
	if (in->sink.write_full)
		fclose(in->sink.write_full);
	ids_done(&in->sink.ids);
	free(in->http_events.list);
	free(in->inflated);
	free(in->unescaped);
	free(in->refused);
	libdeflate_free_decompressor(in->inflater);
}

int main(int argc, char **argv)
{
	static struct intake in;
	struct rlimit files;
	int err;

	log_set_name("intake");
	if (parse_options(argc, argv, &in.opts) < 0)
		return EXIT_FAILURE;
	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	err = intake_run(&in);
	if (err)
		log_error("%s", log_strerror(err));
	intake_done(&in);
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
