/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transports against peers that this file forks, over real TLS: each peer
 * is a few lines of blocking code that misbehaves as its struct says. What a
 * shipper does around a transport is done here in its shortest form: send all,
 * reconnect, send again what is not settled, finish.
 */
#define _GNU_SOURCE
#include "output/out.h"
#include "output/output.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libdeflate.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "config/config.h"
#include "output/out_https.h"
#include "output/out_relp.h"
#include "output/relp.h"
#include "output/rfc5424.h"
#include "output/tls.h"
#include "tests/lib/certs.h"
#include "tests/lib/test.h"

#define ELEMENT	    "{\"intake_key\":\"" KEY "\",\"json\":\""
#define MSGS_MAX    40000
#define KEY	    "0123456789abcdef0123456789abcdef"
#define FAILSAFE_MS 20000
#define RETRY_MS    2

static char dir[] = "/tmp/test_outputs.XXXXXX";

/* ------------------------------------------------------------------ what peers share with us */

/* Misbehaviour; 0 is none of it. */
struct habits {
	/* All: */
	uint32_t cut_after; /* messages of the first connection, then close(2), in mid-frame */
	/* RELP: */
	uint32_t ack_group;   /* answers are held until so many are due, and then reversed */
	uint32_t refuse_seq;  /* 500, always */
	bool refuse_all;      /* 500 to everything */
	uint32_t refuse_once; /* 500 to this one, the first time */
	uint32_t max_data;    /* a longer message ends the session */
	uint32_t serverclose_after;
	bool unknown_txnr, no_syslog, refuse_open, garbage;
	bool deaf; /* never answers */
	/* HTTPS: the status of request n; 0: 200 */
	int status[8];
	const char *extra[8]; /* header lines of answer n, each with its CRLF */
	uint32_t max_body;    /* 413 above it, before compression */
	uint32_t poison;      /* 413 for a request with this message in it */
	int poison_status;    /* or this */
	uint32_t null_seq;    /* refused inside a 200 */
	bool chunked, close_each, not_json, let_go;
	bool to_eof;   /* no length, no close_notify: the answer ends where the connection does */
	bool cut_json; /* in the midst of it */
	uint32_t answer_slowly_ms;
	bool parallel; /* several connections at a time, each served by a process of its own */
};

struct shared {
	struct habits habits;
	uint32_t connections, frames, requests, closes, goodbyes;
	uint32_t highest_txnr;
	uint32_t largest_body;
	uint32_t events_of_request[64];
	uint32_t in_work, most_in_work; /* requests that wait for their answer */
	bool body_is_sound;
	char head[2048]; /* of the last request */
	char last[2048]; /* the last message */
	uint32_t got[MSGS_MAX + 1];
};

static struct shared *shared;
static struct tls_client *tls;

/* ------------------------------------------------------------------ peers */

struct peer {
	int fd;
	SSL *ssl;
	char *in;
	size_t len, cap;
};

/* More bytes: true. False: the end, or nothing for wait_ms. */
static bool peer_read(struct peer *p, int wait_ms)
{
	struct pollfd fd = { .fd = p->fd, .events = POLLIN };
	int n;

	if (wait_ms >= 0 && !SSL_pending(p->ssl) && poll(&fd, 1, wait_ms) == 0)
		return false;
	if (p->cap - p->len < 65536) {
		p->cap = p->cap * 2 + 131072;
		p->in = realloc(p->in, p->cap);
	}
	n = SSL_read(p->ssl, p->in + p->len, 65536);
	if (n <= 0) {
		if (SSL_get_error(p->ssl, n) == SSL_ERROR_ZERO_RETURN)
			shared->goodbyes++;
		return false;
	}
	p->len += (size_t)n;
	return true;
}

static bool peer_at_end(struct peer *p)
{
	return SSL_get_shutdown(p->ssl) & SSL_RECEIVED_SHUTDOWN;
}

static void peer_consume(struct peer *p, size_t n)
{
	memmove(p->in, p->in + n, p->len - n);
	p->len -= n;
}

__attribute__((format(printf, 2, 3))) static void peer_say(struct peer *p, const char *fmt, ...)
{
	static char text[1 << 20];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	SSL_write(p->ssl, text, n);
}

/* Messages name themselves: "#SEQ#". */
static uint32_t seq_in(struct slice s)
{
	const char *at = s.len ? memchr(s.p, '#', s.len) : NULL;

	return at ? (uint32_t)strtoul(at + 1, NULL, 10) : 0;
}

static void note(struct slice s)
{
	uint32_t seq = seq_in(s);

	if (seq <= MSGS_MAX)
		shared->got[seq]++;
	snprintf(shared->last, sizeof(shared->last), "%.*s", (int)(s.len < 2000 ? s.len : 2000),
		 s.p);
}

static bool must_cut(uint32_t frames)
{
	return shared->habits.cut_after && shared->connections == 1 &&
	       frames >= shared->habits.cut_after;
}

static void serve_syslog(struct peer *p)
{
	struct slice frame;
	uint32_t frames = 0;
	ssize_t n;

	while (peer_read(p, -1)) {
		size_t used = 0;

		while ((n = rfc5424_parse_counted((struct slice){ p->in + used, p->len - used },
						  300000, &frame)) > 0) {
			if (must_cut(frames++))
				return;
			note(frame);
			used += (size_t)n;
		}
		if (n < 0)
			abort();
		peer_consume(p, used);
	}
}

static void serve_relp(struct peer *p)
{
	const struct habits *h = &shared->habits;
	static uint32_t due[MSGS_MAX];
	static bool due_bad[MSGS_MAX];
	uint32_t n_due = 0, frames = 0, expected = 1;

	for (;;) {
		size_t used = 0;
		char *lf;

		if (!peer_read(p, n_due ? 20 : -1) && (!n_due || peer_at_end(p)))
			return;
		for (;;) {
			char *at = p->in + used, command[33] = "";
			unsigned txnr = 0, len = 0;
			int head = 0;
			size_t all;

			/* Our own reader, not relp_parse(): what is wrong there must not be hidden.
			 */
			if (p->len == used || !(lf = memchr(at, '\n', p->len - used)))
				break;
			if (sscanf(at, "%9u %32[a-z] %u%n", &txnr, command, &len, &head) != 3)
				abort();
			all = (size_t)head + (len ? 1 + len : 0) + 1;
			if (p->len - used < all)
				break;
			if (txnr != expected++ || at[all - 1] != '\n')
				abort();
			used += all;
			if (txnr > shared->highest_txnr)
				shared->highest_txnr = txnr;
			if (!strcmp(command, "open")) {
				if (h->garbage)
					peer_say(p, "220 mail.example ESMTP\r\n");
				else if (h->refuse_open)
					peer_say(p, "1 rsp 12 500 too busy\n");
				else
					peer_say(p,
						 "1 rsp %d 200 OK\nrelp_version=0\ncommands=%s\n",
						 37, h->no_syslog ? "eventl" : "syslog");
			} else if (!strcmp(command, "close")) {
				shared->closes++;
				peer_say(p, "%u rsp 0\n0 serverclose 0\n", txnr);
				SSL_shutdown(p->ssl);
				return;
			} else {
				struct slice data = { at + head + 1, len };
				uint32_t seq = seq_in(data);
				bool bad = h->refuse_all || seq == h->refuse_seq ||
					   (seq == h->refuse_once && !shared->got[0]);

				if (h->max_data && len > h->max_data)
					return;
				if (must_cut(frames++))
					return;
				if (seq == h->refuse_once && h->refuse_once)
					shared->got[0]++;
				if (!bad)
					note(data);
				due_bad[n_due] = bad;
				due[n_due++] = txnr;
				shared->frames++;
				if (h->serverclose_after && shared->connections == 1 &&
				    frames == h->serverclose_after) {
					for (uint32_t i = 0; i < n_due; i++)
						peer_say(p, "%u rsp 6 200 OK\n", due[i]);
					peer_say(p, "0 serverclose 0\n");
					SSL_shutdown(p->ssl);
					while (peer_read(p, 500))
						p->len = 0;
					return;
				}
			}
		}
		peer_consume(p, used);
		if (h->deaf) {
			n_due = 0;
			continue;
		}
		/* All that is due in one write, the youngest first when asked for. */
		if (n_due >= h->ack_group || !peer_read(p, 20)) {
			static char text[32 * MSGS_MAX];
			size_t n = 0;

			for (uint32_t i = 0; i < n_due; i++) {
				uint32_t k = h->ack_group ? n_due - 1 - i : i;

				n += (size_t)sprintf(text + n,
						     due_bad[k] ? "%u rsp 11 500 refused\n"
								: "%u rsp 6 200 OK\n",
						     due[k]);
			}
			if (h->unknown_txnr && n_due)
				n += (size_t)sprintf(text + n, "999999 rsp 6 200 OK\n");
			n_due = 0;
			if (n)
				SSL_write(p->ssl, text, (int)n);
		}
	}
}

/* The body, unpacked; static. */
static struct slice body_of(struct peer *p, size_t head, size_t len)
{
	static char text[16 << 20];
	struct libdeflate_decompressor *d;
	size_t n = len;

	if (!memmem(p->in, head, "Content-Encoding: gzip", 22))
		return (struct slice){ p->in + head, len };
	d = libdeflate_alloc_decompressor();
	if (libdeflate_gzip_decompress(d, p->in + head, len, text, sizeof(text), &n))
		abort();
	libdeflate_free_decompressor(d);
	return (struct slice){ text, n };
}

static void answer_request(struct peer *p, uint32_t request, struct slice body)
{
	const struct habits *h = &shared->habits;
	static char ids[4 << 20], poison[32];
	int status = request < 8 ? h->status[request] : 0;
	const char *extra = request < 8 && h->extra[request] ? h->extra[request] : "";
	size_t n = 0, events = 0;

	snprintf(poison, sizeof(poison), "#%u#", h->poison);
	shared->body_is_sound &= body.len > 2 && body.p[0] == '[' && body.p[body.len - 1] == ']' &&
				 body.p[1] == '{' && body.p[body.len - 2] == '}';
	if (body.len > shared->largest_body)
		shared->largest_body = (uint32_t)body.len;
	if (!status && h->max_body && body.len > h->max_body)
		status = 413;
	if (!status && h->poison && memmem(body.p, body.len, poison, strlen(poison)))
		status = h->poison_status ? h->poison_status : 413;
	if (!status)
		status = 200;
	n += (size_t)sprintf(ids, "{\"event_ids\":[");
	for (const char *at = body.p, *end = body.p + body.len;
	     (at = memmem(at, (size_t)(end - at), ELEMENT, sizeof(ELEMENT) - 1)); at++) {
		const char *next = memmem(at + 1, (size_t)(end - at - 1), "{\"intake_key\":", 14);
		struct slice event = { at, (size_t)((next ? next : end) - at) };
		bool is_null = h->null_seq && seq_in(event) == h->null_seq;

		if (status == 200 && !is_null)
			note(event);
		n += (size_t)sprintf(ids + n, "%s%s", events ? "," : "",
				     is_null ? "null" : "\"00000000-0000-0000-0000-000000000000\"");
		events++;
	}
	if (request < 64)
		shared->events_of_request[request] = (uint32_t)events;
	n += (size_t)sprintf(ids + n, "]%s}",
			     h->null_seq ? ",\"errors\":[{\"index\":1,\"status\":413}]" : "");
	if (h->not_json)
		n = (size_t)sprintf(ids, "<html>log in</html>");
	if (status != 200)
		n = (size_t)sprintf(ids, "{\"message\":\"no\"}");
	if (h->answer_slowly_ms) {
		uint32_t now = __atomic_add_fetch(&shared->in_work, 1, __ATOMIC_SEQ_CST);

		if (now > shared->most_in_work)
			shared->most_in_work = now;
		usleep(h->answer_slowly_ms * 1000);
		__atomic_sub_fetch(&shared->in_work, 1, __ATOMIC_SEQ_CST);
	}
	if (h->chunked && status == 200) {
		size_t half = n / 2;

		peer_say(p, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n%.*s\r\n",
			 half, (int)half, ids);
		peer_say(p, "%zx;x=y\r\n%.*s\r\n0\r\n\r\n", n - half, (int)(n - half), ids + half);
		return;
	}
	if (h->to_eof) {
		peer_say(p, "HTTP/1.0 %d Text\r\n\r\n%.*s", status, (int)(h->cut_json ? n / 2 : n),
			 ids);
		return;
	}
	peer_say(p, "HTTP/1.1 %d Text\r\n%s%sContent-Length: %zu\r\n\r\n", status, extra,
		 h->close_each ? "Connection: close\r\n" : "", n);
	SSL_write(p->ssl, ids, (int)n);
}

static void serve_https(struct peer *p)
{
	const struct habits *h = &shared->habits;

	for (uint32_t mine = 0;; mine++) {
		char *end = NULL, *field;
		size_t head, len;

		while (!p->len || !(end = memmem(p->in, p->len, "\r\n\r\n", 4)))
			if (!peer_read(p, -1))
				return;
		head = (size_t)(end - p->in) + 4;
		field = memmem(p->in, head, "Content-Length: ", 16);
		len = field ? strtoul(field + 16, NULL, 10) : 0;
		while (p->len < head + len)
			if (!peer_read(p, -1))
				return;
		snprintf(shared->head, sizeof(shared->head), "%.*s", (int)head, p->in);
		if (must_cut(shared->requests))
			return;
		/* An idle connection is let go just as the next request comes. */
		if (h->let_go && mine == 1 && shared->connections == 1)
			return;
		answer_request(p, __atomic_fetch_add(&shared->requests, 1, __ATOMIC_SEQ_CST),
			       body_of(p, head, len));
		peer_consume(p, head + len);
		if (h->to_eof)
			return;
		if (h->close_each) {
			SSL_shutdown(p->ssl);
			return;
		}
	}
}

/* Forks the peer; *ret_port is where it listens. */
static pid_t start_peer(void (*serve)(struct peer *p), const struct habits *habits,
			uint16_t *ret_port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(addr);
	SSL_CTX *ctx;
	int fd, on = 1;
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	shared->habits = *habits;
	shared->body_is_sound = true;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(fd, (struct sockaddr *)&addr, size) < 0 || listen(fd, 8) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &size) < 0) {
		perror("listen");
		exit(1);
	}
	*ret_port = ntohs(addr.sin_port);
	pid = fork();
	if (pid) {
		close(fd);
		return pid;
	}
	alarm(60);
	signal(SIGPIPE, SIG_IGN);
	ctx = SSL_CTX_new(TLS_server_method());
	if (SSL_CTX_use_certificate_file(ctx, certs_path(dir, "good", "pem"), SSL_FILETYPE_PEM) !=
		    1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, certs_path(dir, "good", "key"), SSL_FILETYPE_PEM) != 1)
		_exit(1);
	for (;;) {
		struct peer p = { .fd = accept(fd, NULL, NULL) };

		shared->connections++;
		if (habits->parallel && fork() > 0) {
			close(p.fd);
			continue;
		}
		setsockopt(p.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		p.ssl = SSL_new(ctx);
		SSL_set_fd(p.ssl, p.fd);
		if (SSL_accept(p.ssl) == 1) {
			serve(&p);
			if (peer_at_end(&p))
				SSL_shutdown(p.ssl);
		}
		SSL_free(p.ssl);
		close(p.fd);
		free(p.in);
		if (habits->parallel)
			_exit(0);
	}
}

static void stop_peer(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* ------------------------------------------------------------------ a short shipper */

struct rig {
	struct loop *loop;
	struct config config;
	struct output out;
	struct loop_timer failsafe, act;
	uint64_t total, next, settled;
	void (*make)(uint64_t seq, struct msg *m);
	unsigned char verdict[MSGS_MAX + 1]; /* 1: acked, 2: rejected */
	uint32_t n_acked, n_rejected, n_unknown;
	bool ready, is_up, is_finishing, stop_when_ready, timed_out, dirty;
	bool pass_settled; /* as a window does */
	uint32_t downs, max_downs;
	uint64_t retry_after_ms;
	char why[256], rejected_why[256];
};

static void make_json(uint64_t seq, struct msg *m)
{
	static char text[128];

	*m = (struct msg){ .seq = seq,
			   .time_us = 1795412001123456ull,
			   .pri = 14,
			   .host = SLICE("host-1"),
			   .app = SLICE("sekoia-ebpf") };
	m->json = (struct slice){ text, (size_t)snprintf(text, sizeof(text), "{\"n\":\"#%llu#\"}",
							 (unsigned long long)seq) };
}

static void on_ready(void *arg)
{
	struct rig *r = arg;

	r->ready = true;
	if (r->stop_when_ready)
		loop_stop(r->loop, 0);
}

static void on_settled(void *arg, uint64_t first, uint64_t last, enum output_verdict verdict,
		       const char *why)
{
	struct rig *r = arg;

	for (uint64_t seq = first; seq <= last; seq++) {
		if (!seq || seq >= r->next || seq > r->total) {
			r->n_unknown++;
			continue;
		}
		if (r->verdict[seq])
			continue;
		r->verdict[seq] = verdict == OUTPUT_ACKED ? 1 : 2;
		r->settled++;
		if (verdict == OUTPUT_ACKED)
			r->n_acked++;
		else
			r->n_rejected++;
	}
	if (why)
		snprintf(r->rejected_why, sizeof(r->rejected_why), "%s", why);
}

static void on_down(void *arg, const char *why, uint64_t retry_after_ms)
{
	struct rig *r = arg;

	snprintf(r->why, sizeof(r->why), "%s", why);
	r->retry_after_ms = retry_after_ms;
	r->is_up = false;
	r->ready = false;
	loop_timer_set(r->loop, &r->act, loop_now_ms(r->loop) + RETRY_MS);
}

static const struct output_events events = { on_ready, on_settled, on_down };

static void rig_open(struct rig *r)
{
	r->next = 1;
	while (r->next <= r->total && r->verdict[r->next])
		r->next++;
	r->is_up = true;
	CHECK_INT(r->out.ops->open(&r->out), 0);
}

static void on_act(void *arg, uint64_t now_ms)
{
	struct rig *r = arg;

	(void)now_ms;
	r->out.ops->close(&r->out);
	r->downs++;
	if (r->is_finishing || r->downs == r->max_downs)
		loop_stop(r->loop, 0);
	else
		rig_open(r);
}

static void on_failsafe(void *arg, uint64_t now_ms)
{
	struct rig *r = arg;

	(void)now_ms;
	r->timed_out = true;
	loop_stop(r->loop, 1);
}

static void pump(void *arg)
{
	struct rig *r = arg;
	struct msg m;
	int err;

again:
	if (r->is_up && r->settled == r->total && !r->is_finishing) {
		r->is_finishing = true;
		if (r->out.ops->finish)
			r->out.ops->finish(&r->out);
		else
			on_down(r, "closed", 0);
		return;
	}
	/* More often than it may come: what is in use is not touched. */
	if (r->is_up && r->out.impl && r->out.ops->rest)
		r->out.ops->rest(&r->out);
	while (r->is_up && r->ready && r->next <= r->total) {
		if (r->pass_settled && r->verdict[r->next]) {
			r->next++; /* it is settled, behind one that is not */
			continue;
		}
		r->make(r->next, &m);
		r->next++;
		err = r->out.ops->send(&r->out, &m);
		if (!err) {
			r->dirty = true;
			continue;
		}
		if (err == -EMSGSIZE) {
			on_settled(r, m.seq, m.seq, OUTPUT_REJECTED, "too large");
			continue;
		}
		r->next--;
		r->ready = false;
		r->dirty = true;
		if (err != -EAGAIN && r->is_up)
			on_down(r, strerror(-err), 0);
	}
	if (r->is_up && r->dirty) {
		r->dirty = false;
		r->out.ops->flush(&r->out);
		goto again; /* it may have settled all */
	}
}

/* Everything as the defaults of the configuration have it, and times as tests need them. */
static void rig_init(struct rig *r, const struct output_ops *ops, uint16_t port, uint64_t total)
{
	*r = (struct rig){ .total = total, .make = make_json };
	r->config = (struct config){ .intake_key = (char *)KEY,
				     .output_host = (char *)"127.0.0.1",
				     .output_port = port,
				     .output_connect_timeout_ms = 5000,
				     .output_timeout_ms = 5000,
				     .output_batch_bytes = 2 << 20,
				     .output_gzip = true };
	CHECK_INT(loop_new(&r->loop), 0);
	r->out = (struct output){ .ops = ops,
				  .host = "127.0.0.1",
				  .loop = r->loop,
				  .config = &r->config,
				  .tls = tls,
				  .events = &events,
				  .arg = r };
	r->act = (struct loop_timer){ .fn = on_act, .arg = r };
	r->failsafe = (struct loop_timer){ .fn = on_failsafe, .arg = r };
}

static void rig_run(struct rig *r)
{
	loop_before_sleep(r->loop, pump, r);
	loop_timer_set(r->loop, &r->failsafe, loop_now_ms(r->loop) + FAILSAFE_MS);
	rig_open(r);
	loop_run(r->loop);
	if (r->timed_out)
		r->out.ops->close(&r->out);
	CHECK(!r->timed_out);
	CHECK_INT(r->n_unknown, 0);
	loop_free(r->loop);
}

/* All were acknowledged, and what was acknowledged is there. */
static void check_all(const struct rig *r)
{
	uint32_t missing = 0;

	CHECK_INT(r->n_acked, r->total);
	CHECK_INT(r->n_rejected, 0);
	for (uint64_t seq = 1; seq <= r->total; seq++)
		missing += !shared->got[seq];
	CHECK_INT(missing, 0);
}

static uint32_t repeats(const struct rig *r)
{
	uint32_t n = 0;

	for (uint64_t seq = 1; seq <= r->total; seq++)
		n += shared->got[seq] > 1 ? shared->got[seq] - 1 : 0;
	return n;
}

static void clean_up(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command) != 0)
		perror(command);
}

TEST(set_up)
{
	struct tls_opts opts = { 0 };
	char text[256];
	pid_t pid = getpid();

	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(dir)) {
		perror(dir);
		exit(1);
	}
	if (pid == getpid())
		atexit(clean_up);
	certs_make(dir);
	opts.ca = certs_path(dir, "ca", "pem");
	CHECK_INT(tls_client_new(&opts, text, sizeof(text), &tls), 0);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	out_https_refused_pause_ms = 1;
}

static struct rig rig; /* too large for the stack */

static void run(const struct output_ops *ops, void (*serve)(struct peer *p), struct habits habits,
		uint64_t total, void (*tune)(struct rig *r))
{
	uint16_t port;
	pid_t pid = start_peer(serve, &habits, &port);

	rig_init(&rig, ops, port, total);
	if (tune)
		tune(&rig);
	rig_run(&rig);
	stop_peer(pid);
}

static void tune_one_down(struct rig *r)
{
	r->max_downs = 1;
}

/* ------------------------------------------------------------------ syslog */

TEST(syslog_all_arrive)
{
	run(&output_syslog, serve_syslog, (struct habits){ 0 }, 20000, NULL);
	check_all(&rig);
	CHECK_INT(repeats(&rig), 0);
	CHECK_INT(shared->connections, 1);
	CHECK_INT(shared->goodbyes, 1);
	CHECK_STR(rig.why, "closed");
	CHECK_STR(shared->last, "<14>1 2026-11-23T05:33:21.123456Z host-1 sekoia-ebpf - LOG "
				"[SEKOIA@53288 intake_key=\"" KEY "\"] {\"n\":\"#20000#\"}");
	CHECK(rig.out.sent_bytes > 20000 * 100);
	CHECK(strncmp(rig.out.peer, "127.0.0.1:", 10) == 0 && strstr(rig.out.peer, "TLSv1."));
}

TEST(syslog_closed_in_mid_stream)
{
	run(&output_syslog, serve_syslog, (struct habits){ .cut_after = 5000 }, 20000, NULL);
	check_all(&rig);
	CHECK_INT(shared->connections, 2);
}

/* The goodbye is a receipt: what was only written is settled by it. */
TEST(syslog_goodbye_settles)
{
	struct habits none = { 0 };
	uint16_t port;
	pid_t pid = start_peer(serve_syslog, &none, &port);
	struct msg m;

	rig_init(&rig, &output_syslog, port, 10);
	rig.stop_when_ready = true;
	loop_timer_set(rig.loop, &rig.failsafe, loop_now_ms(rig.loop) + FAILSAFE_MS);
	rig_open(&rig);
	loop_run(rig.loop); /* connects */
	rig.stop_when_ready = false;
	CHECK(rig.ready);
	for (; rig.next <= 10; rig.next++) {
		make_json(rig.next, &m);
		CHECK_INT(rig.out.ops->send(&rig.out, &m), 0);
	}
	rig.is_finishing = true;
	rig.out.ops->finish(&rig.out);
	CHECK_INT(rig.settled, 0);
	loop_timer_set(rig.loop, &rig.failsafe, loop_now_ms(rig.loop) + FAILSAFE_MS);
	loop_run(rig.loop);
	CHECK(!rig.timed_out);
	check_all(&rig);
	loop_free(rig.loop);
	stop_peer(pid);
}

/* ------------------------------------------------------------------ relp */

TEST(relp_all_arrive)
{
	run(&output_relp, serve_relp, (struct habits){ 0 }, 40000, NULL);
	check_all(&rig);
	CHECK_INT(repeats(&rig), 0);
	CHECK_INT(shared->connections, 1);
	CHECK_INT(shared->closes, 1);
	CHECK_STR(rig.why, "closed");
}

TEST(relp_answers_late_and_out_of_order)
{
	run(&output_relp, serve_relp, (struct habits){ .ack_group = 700 }, 20000, NULL);
	check_all(&rig);
	CHECK_INT(repeats(&rig), 0);
}

TEST(relp_closed_in_mid_frame)
{
	run(&output_relp, serve_relp, (struct habits){ .cut_after = 3000 }, 20000, NULL);
	check_all(&rig);
	CHECK_INT(shared->connections, 2);
	CHECK(repeats(&rig) <= output_relp.window_msgs);
}

TEST(relp_serverclose)
{
	run(&output_relp, serve_relp, (struct habits){ .serverclose_after = 100 }, 5000, NULL);
	check_all(&rig);
	CHECK_INT(shared->connections, 2);
	/* The answers before it have counted. */
	for (int seq = 1; seq <= 100; seq++)
		CHECK_INT(shared->got[seq], 1);
}

TEST(relp_sessions_are_rotated)
{
	uint32_t saved = out_relp_last_txnr;

	out_relp_last_txnr = 1000;
	run(&output_relp, serve_relp, (struct habits){ 0 }, 9000, NULL);
	out_relp_last_txnr = saved;
	check_all(&rig);
	CHECK_INT(repeats(&rig), 0);
	CHECK(shared->highest_txnr <= 1000);
	CHECK_INT(rig.downs, 1); /* the one at the end: nothing was down in between */
	CHECK_STR(rig.why, "closed");
	CHECK(shared->connections >= 9);
}

TEST(relp_refused_twice_is_for_good)
{
	run(&output_relp, serve_relp, (struct habits){ .refuse_seq = 77 }, 500, NULL);
	/* Nothing else is left for its second time, so that it is not given up yet. */
	CHECK_INT(rig.n_acked, 499);
	CHECK_INT(rig.verdict[77], 2);
	CHECK(strstr(rig.rejected_why, "500 refused"));
}

TEST(relp_refused_once_comes_again)
{
	run(&output_relp, serve_relp, (struct habits){ .refuse_once = 77 }, 500, NULL);
	check_all(&rig);
	CHECK_INT(shared->connections, 2);
}

static void tune_five_downs(struct rig *r)
{
	r->max_downs = 5;
}

TEST(relp_a_peer_that_refuses_all_gets_nothing_rejected)
{
	run(&output_relp, serve_relp, (struct habits){ .refuse_all = true }, 100, tune_five_downs);
	CHECK_INT(rig.downs, 5);
	CHECK_INT(rig.settled, 0);
	CHECK(strstr(rig.why, "refuses every message: 500 refused"));
}

static void make_large_13(uint64_t seq, struct msg *m)
{
	static char text[200000];

	make_json(seq, m);
	if (seq != 13)
		return;
	memset(text, 'x', sizeof(text));
	memcpy(text, m->json.p, m->json.len);
	m->json = (struct slice){ text, sizeof(text) };
}

static void tune_large_13(struct rig *r)
{
	r->make = make_large_13;
}

TEST(relp_too_large_for_the_peer)
{
	run(&output_relp, serve_relp, (struct habits){ .max_data = 131072 }, 2000, tune_large_13);
	CHECK_INT(rig.n_acked, 1999);
	CHECK_INT(rig.verdict[13], 2);
	CHECK(strstr(rig.rejected_why, "message of 200"));
	/* Once among others, three times alone. */
	CHECK_INT(shared->connections, 5);
}

TEST(relp_large_is_fine_elsewhere)
{
	run(&output_relp, serve_relp, (struct habits){ 0 }, 2000, tune_large_13);
	check_all(&rig);
	CHECK_INT(shared->connections, 1);
}

static void tune_short_timeout(struct rig *r)
{
	r->max_downs = 1;
	r->config.output_timeout_ms = 300;
}

TEST(relp_peers_that_are_none)
{
	static const struct {
		struct habits habits;
		const char *why;
	} cases[] = {
		{ { .refuse_open = true }, "refuses the session" },
		{ { .no_syslog = true }, "does not offer the command syslog" },
		{ { .garbage = true }, "not RELP" },
		{ { .unknown_txnr = true }, "answers what was not asked" },
		{ { .deaf = true }, "no answer to what was sent" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		run(&output_relp, serve_relp, cases[i].habits, 100, tune_short_timeout);
		if (!strstr(rig.why, cases[i].why))
			printf("# case %zu: %s\n", i, rig.why);
		CHECK(strstr(rig.why, cases[i].why));
		CHECK(strncmp(rig.why, "127.0.0.1:", 10) == 0);
	}
}

/* ------------------------------------------------------------------ https */

TEST(https_all_arrive)
{
	run(&output_https, serve_https, (struct habits){ 0 }, 25000, NULL);
	check_all(&rig);
	CHECK_INT(repeats(&rig), 0);
	CHECK_INT(shared->connections, 1);
	CHECK(shared->body_is_sound);
	CHECK(strncmp(shared->head, "POST /array HTTP/1.1\r\nHost: 127.0.0.1:", 38) == 0);
	CHECK(strstr(shared->head, "\r\nContent-Encoding: gzip\r\n"));
	CHECK(strstr(shared->head, "\r\nContent-Type: application/json\r\n"));
	CHECK(!strstr(shared->head, KEY));
	CHECK_STR(rig.why, "closed");
	CHECK_INT(shared->goodbyes, 1);
}

static void tune_plain(struct rig *r)
{
	r->config.output_gzip = false;
	r->config.output_batch_bytes = 65536;
	r->config.output_path = (char *)"api/v1/intake-http/";
}

TEST(https_without_gzip)
{
	run(&output_https, serve_https, (struct habits){ .chunked = true }, 3000, tune_plain);
	check_all(&rig);
	CHECK(shared->body_is_sound);
	CHECK(shared->largest_body <= 65536);
	CHECK(shared->largest_body > 60000);
	CHECK(strncmp(shared->head, "POST /api/v1/intake-http/array HTTP/1.1\r\n", 41) == 0);
	CHECK(!strstr(shared->head, "Content-Encoding"));
	CHECK_STR(shared->last,
		  "{\"intake_key\":\"" KEY "\",\"json\":\"{\\\"n\\\":\\\"#3000#\\\"}\","
		  "\"timestamp\":\"2026-11-23T05:33:21.123456Z\"}]");
}

static void make_journal(uint64_t seq, struct msg *m)
{
	static char text[64];

	make_json(seq, m);
	m->text = (struct slice){ text, (size_t)snprintf(text, sizeof(text), "#%llu# \"q\"\n\\",
							 (unsigned long long)seq) };
	m->json = seq % 2 ? SLICE("{\"event\":{\"reason\":") : SLICE("");
}

static void tune_journal(struct rig *r)
{
	r->make = make_journal;
	r->config.output_gzip = false;
}

TEST(https_text_stands_inside_the_event)
{
	run(&output_https, serve_https, (struct habits){ 0 }, 1, tune_journal);
	check_all(&rig);
	CHECK_STR(shared->last,
		  "{\"intake_key\":\"" KEY "\",\"json\":\"{\\\"event\\\":{\\\"reason\\\":"
		  "\\\"#1# \\\\\\\"q\\\\\\\"\\\\n\\\\\\\\\\\"}}\","
		  "\"timestamp\":\"2026-11-23T05:33:21.123456Z\"}]");
	run(&output_https, serve_https, (struct habits){ 0 }, 2, tune_journal);
	check_all(&rig);
	CHECK_STR(shared->last, "{\"intake_key\":\"" KEY "\",\"json\":\"#2# \\\"q\\\"\\n\\\\\","
				"\"timestamp\":\"2026-11-23T05:33:21.123456Z\"}]");
}

TEST(https_one_event_is_too_large)
{
	run(&output_https, serve_https, (struct habits){ .poison = 33 }, 100, NULL);
	CHECK_INT(rig.n_acked, 99);
	CHECK_INT(rig.verdict[33], 2);
	CHECK_STR(rig.rejected_why, "event too large for the intake");
	CHECK_INT(repeats(&rig), 0);
	CHECK(shared->body_is_sound);
	CHECK_INT(shared->connections, 1);
	CHECK_INT(rig.downs, 1);
}

TEST(https_one_event_is_malformed)
{
	run(&output_https, serve_https, (struct habits){ .poison = 100, .poison_status = 400 }, 100,
	    NULL);
	CHECK_INT(rig.n_acked, 99);
	CHECK_INT(rig.verdict[100], 2);
	CHECK_STR(rig.rejected_why, "the intake refuses this event (400)");
}

TEST(https_requests_are_too_large)
{
	run(&output_https, serve_https, (struct habits){ .max_body = 100000 }, 5000, NULL);
	check_all(&rig);
	CHECK_INT(repeats(&rig), 0);
	/* It is learned, and the next connection knows. */
	CHECK(rig.out.memory.batch_bytes >= 65536 && rig.out.memory.batch_bytes <= 100000);
}

TEST(https_a_peer_that_refuses_all_gets_nothing_rejected)
{
	struct habits habits = { .max_body = 1 };

	run(&output_https, serve_https, habits, 5000, tune_one_down);
	CHECK_INT(rig.settled, 0);
	CHECK(strstr(rig.why, "refuses one event after the other (413)"));
	CHECK(shared->requests < 40);
	run(&output_https, serve_https, habits, 1, tune_one_down);
	CHECK_INT(rig.settled, 0);
	CHECK(strstr(rig.why, "refuses everything (413)"));
}

TEST(https_refused_inside_an_answer)
{
	run(&output_https, serve_https, (struct habits){ .null_seq = 2 }, 300, NULL);
	CHECK_INT(rig.n_acked, 299);
	CHECK_INT(rig.verdict[2], 2);
	CHECK_STR(rig.rejected_why, "event too large for the intake");
}

TEST(https_statuses)
{
	static const struct {
		struct habits habits;
		uint64_t retry_after_ms;
		const char *why;
	} cases[] = {
		{ { .status = { 422 } }, 60000, "intake key refused (422): check intake.key" },
		{ { .status = { 429 }, .extra = { "Retry-After: 7\r\n" } },
		  7000,
		  "too many requests (429)" },
		{ { .status = { 503 },
		    .extra = { "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
			       "Retry-After: Sun, 06 Nov 1994 08:49:50 GMT\r\n" } },
		  13000,
		  "it answers 503" },
		{ { .status = { 429 }, .extra = { "Retry-After: 99999999\r\n" } },
		  3600000,
		  "(429)" },
		/* In milliseconds it would be more than 64 bits hold. */
		{ { .status = { 429 }, .extra = { "Retry-After: 18446744073709552\r\n" } },
		  3600000,
		  "(429)" },
		{ { .status = { 500 } }, 0, "it answers 500" },
		{ { .status = { 403 } }, 0, "access refused (403)" },
		{ { .status = { 404 } }, 0, "no intake there (404)" },
		{ { .status = { 302 }, .extra = { "Location: https://x.example/\r\n" } },
		  0,
		  "redirects (302), which is not followed" },
		{ { .not_json = true }, 0, "not an intake's" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		run(&output_https, serve_https, cases[i].habits, 10, tune_one_down);
		if (!strstr(rig.why, cases[i].why))
			printf("# case %zu: %s\n", i, rig.why);
		CHECK(strstr(rig.why, cases[i].why));
		CHECK_INT(rig.retry_after_ms, cases[i].retry_after_ms);
		CHECK_INT(rig.settled, 0);
		CHECK(!strstr(rig.why, KEY));
	}
}

TEST(https_comes_back_after_an_error)
{
	run(&output_https, serve_https, (struct habits){ .status = { 503, 500, 429 } }, 1000, NULL);
	check_all(&rig);
	CHECK_INT(repeats(&rig), 0);
	CHECK_INT(rig.downs, 4);
}

static void tune_small_batches(struct rig *r)
{
	r->config.output_batch_bytes = 65536;
}

TEST(https_connections_end)
{
	run(&output_https, serve_https, (struct habits){ .close_each = true }, 5000,
	    tune_small_batches);
	check_all(&rig);
	CHECK_INT(repeats(&rig), 0);
	CHECK_INT(rig.downs, 1);
	CHECK_INT(shared->connections, shared->requests);

	/* An idle one, just as it is used again: once more, and nobody need know. */
	run(&output_https, serve_https, (struct habits){ .let_go = true }, 5000,
	    tune_small_batches);
	check_all(&rig);
	CHECK_INT(rig.downs, 1);
	CHECK_INT(shared->connections, 2);

	/* In the middle of the first request: that is an error. */
	run(&output_https, serve_https, (struct habits){ .cut_after = 2 }, 5000,
	    tune_small_batches);
	check_all(&rig);
}

static void tune_rate(struct rig *r)
{
	r->config.output_requests_per_second = 10;
}

/* TLS can not say whether such an answer is all of it, but its JSON can. */
TEST(https_an_answer_that_the_end_of_tcp_ends)
{
	run(&output_https, serve_https, (struct habits){ .to_eof = true }, 1000, tune_five_downs);
	check_all(&rig);
	CHECK_INT(repeats(&rig), 0);
	CHECK_INT(rig.downs, 1);

	run(&output_https, serve_https, (struct habits){ .to_eof = true, .cut_json = true }, 1000,
	    tune_five_downs);
	CHECK_INT(rig.settled, 0);
	CHECK(strstr(rig.why, "without a TLS close_notify"));
}

TEST(https_few_requests_a_second)
{
	uint64_t before = (uint64_t)time(NULL);

	run(&output_https, serve_https, (struct habits){ 0 }, 22000, tune_rate);
	check_all(&rig);
	CHECK(time(NULL) - (time_t)before <= 5);
	/* Batches were filled while they waited for their turn. */
	CHECK(shared->requests >= 3 && shared->requests <= 5);
}

static void tune_dead(struct rig *r)
{
	r->max_downs = 1;
	r->config.output_timeout_ms = 200;
}

TEST(https_no_answer)
{
	run(&output_https, serve_https, (struct habits){ .answer_slowly_ms = 3000 }, 10, tune_dead);
	CHECK(strstr(rig.why, "no answer for"));
	CHECK_INT(rig.settled, 0);
}

/* Some 30 requests, four of them in flight. */
static void tune_lanes(struct rig *r)
{
	r->config.output_batch_bytes = 65536;
	r->config.output_requests_in_flight = 4;
	r->pass_settled = true;
}

TEST(https_several_in_flight)
{
	struct habits habits = { .parallel = true, .answer_slowly_ms = 100 };

	run(&output_https, serve_https, habits, 15000, tune_lanes);
	check_all(&rig);
	CHECK_INT(repeats(&rig), 0);
	CHECK_INT(rig.downs, 1);
	CHECK_INT(shared->most_in_work, 4);
	CHECK_INT(shared->connections, 4);
	CHECK_INT(shared->goodbyes, 4);

	/* Few events are one request. */
	run(&output_https, serve_https, habits, 100, tune_lanes);
	check_all(&rig);
	CHECK_INT(shared->most_in_work, 1);
	CHECK_INT(shared->connections, 1);
}

TEST(https_several_in_flight_and_one_fails)
{
	struct habits habits = { .parallel = true, .answer_slowly_ms = 100 };

	/* The others have their answers first: nothing comes twice. */
	habits.status[2] = 503;
	habits.status[6] = 429;
	run(&output_https, serve_https, habits, 15000, tune_lanes);
	check_all(&rig);
	CHECK_INT(repeats(&rig), 0);
	/* Both may be out at the same time, and are one failure then. */
	CHECK(rig.downs == 2 || rig.downs == 3);
	/* Fewer at a time, as the peer was asked for more than it took. */
	CHECK(rig.out.memory.lanes == 1 || rig.out.memory.lanes == 2);

	/* One event is poison. */
	habits = (struct habits){ .parallel = true, .answer_slowly_ms = 10, .poison = 7000 };
	run(&output_https, serve_https, habits, 15000, tune_lanes);
	CHECK_INT(rig.n_acked, 14999);
	CHECK_INT(rig.verdict[7000], 2);
	CHECK_INT(repeats(&rig), 0);
	CHECK_INT(rig.downs, 1);

	/* A connection is cut: what was on that one comes again, and no more. */
	habits = (struct habits){ .parallel = true, .answer_slowly_ms = 50, .cut_after = 2 };
	run(&output_https, serve_https, habits, 15000, tune_lanes);
	check_all(&rig);
	CHECK_INT(repeats(&rig), 0);

	/* The key is refused. */
	habits = (struct habits){ .parallel = true, .answer_slowly_ms = 10 };
	habits.status[3] = 403;
	run(&output_https, serve_https, habits, 15000, tune_lanes);
	check_all(&rig);
	CHECK_INT(repeats(&rig), 0);
	CHECK_INT(rig.n_rejected, 0);
}

static void tune_one_connection(struct rig *r)
{
	tune_lanes(r);
	r->config.output_connect_timeout_ms = 300;
}

/* It accepts a second connection, and does not look at it. */
TEST(https_a_peer_of_one_connection)
{
	run(&output_https, serve_https, (struct habits){ .answer_slowly_ms = 50 }, 15000,
	    tune_one_connection);
	check_all(&rig);
	CHECK_INT(repeats(&rig), 0);
	CHECK_INT(rig.downs, 2);
	CHECK_INT(rig.out.memory.lanes, 1);
}

/* ------------------------------------------------------------------ file and stdout */

static char *read_file(const char *path)
{
	static char text[1 << 20];
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	text[n] = '\0';
	if (f)
		fclose(f);
	return text;
}

TEST(file_lines)
{
	char path[64];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/out", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK_INT(write(fd, "torn", 4), 4);
	close(fd);
	rig_init(&rig, &output_file, 0, 2);
	rig.config.output_file = path;
	rig.make = make_journal;
	rig_run(&rig);
	CHECK_INT(rig.n_acked, 2);
	CHECK_STR(
		read_file(path),
		"torn\n"
		"<14>1 2026-11-23T05:33:21.123456Z host-1 sekoia-ebpf - LOG [SEKOIA@53288 "
		"intake_key=\"***\"][event@53288 id=\"0000000000000000-1\"][meta sequenceId=\"1\"] #1# \"q\"#012\\\n"
		"<14>1 2026-11-23T05:33:21.123456Z host-1 sekoia-ebpf - LOG [SEKOIA@53288 "
		"intake_key=\"***\"][event@53288 id=\"0000000000000000-2\"][meta sequenceId=\"2\"] #2# \"q\"#012\\\n");

	unlink(path);
	rig_init(&rig, &output_file, 0, 3);
	rig.config.output_file = path;
	rig_run(&rig);
	CHECK_STR(read_file(path), "{\"n\":\"#1#\"}\n{\"n\":\"#2#\"}\n{\"n\":\"#3#\"}\n");
	CHECK_INT(stat(path, &st), 0);
	CHECK_INT(st.st_mode & 07137, 0); /* 0640, less what the umask takes */
}

TEST(file_that_can_not_be)
{
	rig_init(&rig, &output_file, 0, 3);
	CHECK_INT(output_file.open(&rig.out), -EINVAL);
	rig.config.output_file = (char *)"/proc/nowhere/out";
	rig.max_downs = 2;
	rig_run(&rig);
	CHECK_STR(rig.why, "open /proc/nowhere/out: No such file or directory");
}

TEST(stdout_is_a_slow_pipe)
{
	int pipe_fd[2], saved = dup(STDOUT_FILENO), flags;
	static char text[4 << 20];
	size_t len = 0;
	pid_t pid;

	fflush(stdout);
	CHECK_INT(pipe(pipe_fd), 0);
	memset(shared, 0, sizeof(*shared));
	pid = fork();
	if (!pid) {
		ssize_t n;

		close(pipe_fd[1]);
		while ((n = read(pipe_fd[0], text + len, 5000)) > 0) {
			len += (size_t)n;
			usleep(100);
		}
		for (char *at = text; (at = strstr(at, "{\"n\":\"#")); at++)
			note((struct slice){ at, 20 });
		_exit(0);
	}
	close(pipe_fd[0]);
	dup2(pipe_fd[1], STDOUT_FILENO);
	close(pipe_fd[1]);
	rig_init(&rig, &output_stdout, 0, 10000);
	rig_run(&rig);
	flags = fcntl(STDOUT_FILENO, F_GETFL);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	waitpid(pid, NULL, 0);
	CHECK(!(flags & O_NONBLOCK));
	check_all(&rig);
	CHECK_INT(repeats(&rig), 0);
}

/* ------------------------------------------------------------------ what they have in common */

TEST(types)
{
	struct config config = { .intake_key = (char *)KEY };

	CHECK(output_find("https") == &output_https);
	CHECK(output_find("relp") == &output_relp);
	CHECK(output_find("syslog") == &output_syslog);
	CHECK(output_find("stdout") == &output_stdout);
	CHECK(output_find("file") == &output_file);
	CHECK(output_find("ipfix") == &output_ipfix);
	CHECK(output_find("netflow9") == &output_netflow9);
	CHECK(!output_find("ipfi"));
	CHECK(!output_find(""));
	CHECK_STR(output_key(&config, SLICE("")).p, KEY);
}

TEST(unusable_options)
{
	static const struct output_ops *const network[] = { &output_https, &output_relp,
							    &output_syslog };

	for (size_t i = 0; i < 3; i++) {
		rig_init(&rig, network[i], 1, 1);
		rig.config.intake_key = NULL;
		CHECK_INT(network[i]->open(&rig.out), -ENOKEY);
		network[i]->close(&rig.out);
		rig.config.intake_key = (char *)KEY;
		rig.out.tls = NULL;
		CHECK_INT(network[i]->open(&rig.out), -EINVAL);
		network[i]->close(&rig.out);
		loop_free(rig.loop);
	}
	rig_init(&rig, &output_https, 1, 1);
	rig.config.output_path = (char *)"/a\r\nX: y";
	CHECK_INT(output_https.open(&rig.out), -EINVAL);
	loop_free(rig.loop);
}

TEST(nobody_is_there)
{
	static const struct output_ops *const network[] = { &output_https, &output_relp,
							    &output_syslog };

	for (size_t i = 0; i < 3; i++) {
		rig_init(&rig, network[i], 1, 1);
		rig.max_downs = 2;
		rig_run(&rig);
		CHECK(strstr(rig.why, "connect 127.0.0.1:1: "));
		CHECK_INT(rig.settled, 0);
	}
}

TEST(a_key_in_a_peers_words)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "500 invalid key 0123456789abcdef, bye",
		  "500 invalid key ****************, bye" },
		{ "0123456789abcdef0123456789abcdef", "********************************" },
		{ "500 invalid key 01234567", "500 invalid key ********" },
		{ "5 is 01234", "5 is 01234" },
		{ "", "" },
		{ "nothing of it", "nothing of it" },
	};
	const struct config config = { .intake_key = (char *)"0123456789abcdef" };
	char text[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text), "%s", cases[i].text);
		out_hide_key(&config, text);
		CHECK_STR(text, cases[i].want);
	}
	snprintf(text, sizeof(text), "no key");
	out_hide_key(&(struct config){ 0 }, text);
	CHECK_STR(text, "no key");
}

TEST(done)
{
	tls_client_free(tls);
}
