/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client stream against peers that this file forks: each is a few lines of
 * blocking code. Where namespaces can be made, the names come from a hosts file
 * and a name server of our own; else those tests are skipped and say so.
 */
#define _GNU_SOURCE
#include "output/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ipv6.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "output/resolve.h"
#include "output/tls.h"
#include "tests/lib/certs.h"
#include "tests/lib/test.h"

#define MEGABYTE    (1024 * 1024)
#define FAILSAFE_MS 20000

static char dir[] = "/tmp/test_conn.XXXXXX";
static bool isolated; /* our own hosts, resolv.conf and network */

/* ------------------------------------------------------------------ surroundings */

static const char *in_dir(const char *name)
{
	static char paths[4][256];
	static unsigned turn;
	char *path = paths[turn++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	if (!f || fputs(text, f) < 0 || fclose(f) != 0) {
		perror(path);
		exit(1);
	}
}

static bool make_namespaces(void)
{
	int flags = CLONE_NEWNS | CLONE_NEWNET, fd;
	unsigned uid = getuid(), gid = getgid();
	struct ifreq lo = { .ifr_name = "lo" };
	struct in6_ifreq second = { .ifr6_prefixlen = 128 };
	char map[64];

	if (unshare(flags) < 0) {
		if (unshare(flags | CLONE_NEWUSER) < 0)
			return false;
		write_file("/proc/self/setgroups", "deny");
		snprintf(map, sizeof(map), "0 %u 1", uid);
		write_file("/proc/self/uid_map", map);
		snprintf(map, sizeof(map), "0 %u 1", gid);
		write_file("/proc/self/gid_map", map);
	}
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	lo.ifr_flags = IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &lo) < 0) {
		perror("lo");
		exit(1);
	}
	close(fd);
	/* A second IPv6 address. */
	fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	second.ifr6_ifindex = (int)if_nametoindex("lo");
	inet_pton(AF_INET6, "fd00::2", &second.ifr6_addr);
	if (ioctl(fd, SIOCSIFADDR, &second) < 0)
		perror("fd00::2");
	close(fd);
	write_file(in_dir("hosts"), "127.0.0.1 localhost race.test three.test noroute.test\n"
				    "::1 localhost race.test three.test\n"
				    "fd00::2 three.test\n"
				    "2001:db8::1 noroute.test\n");
	write_file(in_dir("resolv.conf"), "nameserver 127.0.0.1\n");
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount(in_dir("hosts"), "/etc/hosts", NULL, MS_BIND, NULL) == 0 &&
	       mount(in_dir("resolv.conf"), "/etc/resolv.conf", NULL, MS_BIND, NULL) == 0;
}

static bool skip(const char *why)
{
	printf("# skip: %s\n", why);
	return true;
}

static bool skip_without_names(void)
{
	return !isolated && skip("no namespaces here, so no hosts file of our own");
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
	/* A write to a closed socket must not need this; tested with the default. */
	signal(SIGPIPE, SIG_DFL);
	if (!mkdtemp(dir)) {
		perror(dir);
		exit(1);
	}
	atexit(clean_up);
	certs_make(dir);
	isolated = make_namespaces();
	/* Nothing of this machine's may decide a test. */
	unsetenv("SSL_CERT_FILE");
	unsetenv("SSL_CERT_DIR");
}

static uint8_t pattern(size_t i)
{
	/* Never 0, so that a piece of it can be a string. */
	return (uint8_t)((i * 2654435761u) >> 13) | 1;
}

/* ------------------------------------------------------------------ peers */

/* Runs in a child, on a listening socket; its return value is the exit status. */
typedef int (*peer_fn)(int listen_fd, const void *arg);

struct peer {
	pid_t pid;
	uint16_t port;
};

static int listen_on(const char *addr, uint16_t port, int backlog)
{
	union resolve_addr a;
	int fd, on = 1;

	if (!resolve_literal(addr, port, &a))
		abort();
	fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, &a.any, resolve_addr_size(&a)) < 0 || listen(fd, backlog) < 0) {
		perror(addr);
		exit(1);
	}
	return fd;
}

static uint16_t port_of(int fd)
{
	union resolve_addr a;
	socklen_t size = sizeof(a);

	if (getsockname(fd, &a.any, &size) < 0)
		abort();
	return ntohs(a.any.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
}

static struct peer peer_on(int listen_fd, peer_fn fn, const void *arg)
{
	struct peer p = { .port = port_of(listen_fd) };

	fflush(stdout);
	p.pid = fork();
	if (!p.pid) {
		signal(SIGPIPE, SIG_IGN);
		alarm(60);
		_exit(fn(listen_fd, arg));
	}
	close(listen_fd);
	return p;
}

static struct peer peer_start(peer_fn fn, const void *arg)
{
	return peer_on(listen_on("127.0.0.1", 0, 8), fn, arg);
}

/* Its exit status; 99 when it had to be killed. */
static int peer_end(struct peer *p)
{
	int status = 0;

	if (waitpid(p->pid, &status, 0) < 0 || !WIFEXITED(status))
		return 99;
	return WEXITSTATUS(status);
}

static void peer_kill(struct peer *p)
{
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
}

/* A port on which nobody listens. */
static uint16_t closed_port(void)
{
	int fd = listen_on("127.0.0.1", 0, 1);
	uint16_t port = port_of(fd);

	close(fd);
	return port;
}

static void nap_ms(int ms)
{
	poll(NULL, 0, ms);
}

/* close() sends RST instead of FIN, once the other side's kernel has what was written. */
static void reset(int fd)
{
	struct linger now = { .l_onoff = 1 };
	int unacked;

	while (ioctl(fd, SIOCOUTQ, &unacked) == 0 && unacked)
		nap_ms(1);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

struct server {
	const char *cert;
	int version;	       /* the only one; 0: any */
	const char *suites;    /* of TLS 1.3 */
	const char *client_ca; /* require a client certificate of this CA */
	bool no_tls;
	bool refuse_name;
	int connections;	/* 0: one */
	size_t greeting_bytes;	/* sent at once */
	size_t end_after_bytes; /* received; then as "end" says. 0: when the client ends */
	enum { END_CLOSE_NOTIFY, END_FIN, END_RST } end;
	int nap_before_read_ms;
};

static int on_name(SSL *ssl, int *alert, void *arg)
{
	(void)ssl;
	(void)arg;
	*alert = SSL_AD_UNRECOGNIZED_NAME;
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static SSL_CTX *server_ctx(const struct server *s)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	/* The parent's own client may have loaded the library without its strings. */
	if (!ctx || SSL_CTX_use_certificate_chain_file(ctx, certs_path(dir, s->cert, "pem")) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, certs_path(dir, s->cert, "key"), SSL_FILETYPE_PEM) !=
		    1)
		abort();
	if (s->version) {
		SSL_CTX_set_security_level(ctx, 0);
		SSL_CTX_set_min_proto_version(ctx, s->version);
		SSL_CTX_set_max_proto_version(ctx, s->version);
	}
	if (s->suites)
		SSL_CTX_set_ciphersuites(ctx, s->suites);
	if (s->client_ca) {
		SSL_CTX_load_verify_file(ctx, certs_path(dir, s->client_ca, "pem"));
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	}
	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"t", 1);
	if (s->refuse_name)
		SSL_CTX_set_tlsext_servername_callback(ctx, on_name);
	return ctx;
}

static ssize_t peer_read(SSL *ssl, int fd, void *p, size_t n)
{
	return ssl ? SSL_read(ssl, p, (int)n) : read(fd, p, n);
}

static bool peer_write(SSL *ssl, int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t done = ssl ? SSL_write(ssl, p, (int)n) : write(fd, p, n);

		if (done <= 0)
			return false;
		p += done;
		n -= (size_t)done;
	}
	return true;
}

static int serve_stream(int fd, SSL *ssl, const struct server *s)
{
	static uint8_t bytes[16384];
	size_t at = 0, sent = 0, total = 0;
	ssize_t n;

	while (sent < s->greeting_bytes) {
		size_t chunk = s->greeting_bytes - sent;

		chunk = chunk < sizeof(bytes) ? chunk : sizeof(bytes);
		for (size_t i = 0; i < chunk; i++)
			bytes[i] = pattern(sent + i);
		if (!peer_write(ssl, fd, bytes, chunk))
			return 5;
		sent += chunk;
	}
	nap_ms(s->nap_before_read_ms);
	for (;;) {
		n = peer_read(ssl, fd, bytes, sizeof(bytes));
		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++)
			if (bytes[i] != pattern(at++))
				return 3;
		total += (size_t)n;
		if (s->end_after_bytes && total >= s->end_after_bytes)
			break;
		/* With a greeting it only listens, else it is an echo. */
		if (!s->greeting_bytes && !s->end_after_bytes &&
		    !peer_write(ssl, fd, bytes, (size_t)n))
			return 4;
	}
	if (n < 0)
		return 6;
	switch (s->end) {
	case END_CLOSE_NOTIFY:
		if (ssl)
			SSL_shutdown(ssl);
		break;
	case END_FIN:
		break;
	case END_RST:
		reset(fd);
		return 0;
	}
	shutdown(fd, SHUT_WR);
	/* Until the client is gone, so that no RST of ours spoils the end. */
	while (read(fd, bytes, sizeof(bytes)) > 0)
		;
	return 0;
}

static int serve(int listen_fd, const void *arg)
{
	const struct server *s = arg;
	SSL_CTX *ctx = s->no_tls ? NULL : server_ctx(s);
	int status = 0;

	for (int i = 0; i < (s->connections ? s->connections : 1); i++) {
		int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		SSL *ssl = NULL;

		if (fd < 0)
			return 1;
		if (ctx) {
			ssl = SSL_new(ctx);
			SSL_set_fd(ssl, fd);
			if (SSL_accept(ssl) != 1) {
				/* Let the alert arrive. */
				shutdown(fd, SHUT_WR);
				nap_ms(50);
				return 2;
			}
		}
		status |= serve_stream(fd, ssl, s);
		close(fd);
	}
	return status;
}

/* ------------------------------------------------------------------ the client */

struct client {
	struct loop *loop;
	struct conn *c; /* NULL once it was freed */
	struct loop_timer failsafe;
	struct loop_timer consume_timer;
	char events[64]; /* O D(once per run) R E X */
	size_t n_events;
	size_t to_send, sent, received, most_waiting;
	size_t finish_after; /* bytes received */
	bool mismatch;
	bool finish_when_sent;
	bool finish_on_open;
	bool finish_on_eof;
	bool write_blindly; /* without looking at the socket */
	bool slow;	    /* consume by timer, not in the event */
	char free_at;	    /* this event */
	bool inside_call;   /* no event may come now */
	char error[700];
	char peer[300];
	char tls[100];
};

static void client_fill(struct client *t)
{
	struct buf *out = conn_out(t->c);
	char chunk[8192];

	while (t->sent < t->to_send) {
		size_t n = t->to_send - t->sent;

		n = n < sizeof(chunk) ? n : sizeof(chunk);
		for (size_t i = 0; i < n; i++)
			chunk[i] = (char)pattern(t->sent + i);
		if (buf_append(out, chunk, n) == -ENOBUFS)
			break;
		t->sent += n;
	}
	t->inside_call = true;
	conn_flush(t->c);
	if (t->sent == t->to_send && t->finish_when_sent)
		conn_finish(t->c);
	t->inside_call = false;
}

static void client_consume(struct client *t)
{
	struct buf *in = conn_in(t->c);

	if (in->len > t->most_waiting)
		t->most_waiting = in->len;
	for (size_t i = 0; i < in->len; i++)
		if ((uint8_t)buf_data(in)[i] != pattern(t->received + i))
			t->mismatch = true;
	t->received += in->len;
	buf_consume(in, in->len);
	if (t->finish_after && t->received == t->finish_after)
		conn_finish(t->c);
}

static void on_consume_timer(void *arg, uint64_t now_ms)
{
	struct client *t = arg;

	client_consume(t);
	loop_timer_set(t->loop, &t->consume_timer, now_ms + 2);
}

static void client_event(void *arg, enum conn_event event)
{
	static const char letters[] = { [CONN_OPEN] = 'O',
					[CONN_DATA] = 'D',
					[CONN_DRAIN] = 'R',
					[CONN_EOF] = 'E',
					[CONN_ERROR] = 'X' };
	struct client *t = arg;
	char letter = letters[event];

	CHECK(!t->inside_call);
	if (t->n_events < sizeof(t->events) - 1 &&
	    (!t->n_events || t->events[t->n_events - 1] != letter))
		t->events[t->n_events++] = letter;
	snprintf(t->peer, sizeof(t->peer), "%s", conn_peer(t->c));
	if (event == CONN_ERROR)
		snprintf(t->error, sizeof(t->error), "%s", conn_error(t->c));
	if (event == CONN_OPEN)
		conn_describe(t->c, t->tls, sizeof(t->tls));
	if (t->free_at == letter) {
		conn_free(TAKE_PTR(t->c));
		loop_stop(t->loop, 0);
		return;
	}
	switch (event) {
	case CONN_OPEN:
		if (t->finish_on_open)
			conn_finish(t->c);
		for (int i = 0; t->write_blindly && i < 3; i++) {
			nap_ms(30);
			buf_puts(conn_out(t->c), "hello");
			conn_flush(t->c);
		}
		/* fallthrough */
	case CONN_DRAIN:
		client_fill(t);
		break;
	case CONN_DATA:
		if (!t->slow)
			client_consume(t);
		break;
	case CONN_EOF:
		client_consume(t);
		if (t->finish_on_eof) {
			t->finish_on_eof = false;
			conn_finish(t->c);
			break;
		}
		loop_stop(t->loop, 0);
		break;
	case CONN_ERROR:
		client_consume(t);
		loop_stop(t->loop, 0);
		break;
	}
}

static void on_failsafe(void *arg, uint64_t now_ms)
{
	struct client *t = arg;

	(void)now_ms;
	printf("# nothing more happened after \"%s\"\n", t->events);
	test_failed = true;
	loop_stop(t->loop, 1);
}

static struct conn_opts opts_for(uint16_t port, struct tls_client *tls)
{
	return (struct conn_opts){ .host = "127.0.0.1",
				   .port = port,
				   .tls = tls,
				   .connect_timeout_ms = 10000,
				   .idle_timeout_ms = 10000,
				   .max_out_bytes = 256 * 1024,
				   .max_in_bytes = 64 * 1024 };
}

/* Runs until CONN_EOF or CONN_ERROR (or a free), and frees all. */
static void client_run(struct client *t, const struct conn_opts *opts)
{
	CHECK_INT(loop_new(&t->loop), 0);
	t->failsafe = (struct loop_timer){ .fn = on_failsafe, .arg = t };
	loop_timer_set(t->loop, &t->failsafe, loop_now_ms(t->loop) + FAILSAFE_MS);
	t->inside_call = true;
	CHECK_INT(conn_new(t->loop, opts, client_event, t, &t->c), 0);
	t->inside_call = false;
	if (t->slow) {
		t->consume_timer = (struct loop_timer){ .fn = on_consume_timer, .arg = t };
		loop_timer_set(t->loop, &t->consume_timer, loop_now_ms(t->loop) + 200);
	}
	if (t->c)
		loop_run(t->loop);
	conn_free(TAKE_PTR(t->c));
	loop_free(TAKE_PTR(t->loop));
}

static struct tls_client *tls_with(const char *ca, const char *cert)
{
	struct tls_opts opts = { .ca = certs_path(dir, ca, "pem") };
	struct tls_client *tls = NULL;
	char text[512] = "";

	if (cert) {
		opts.cert = certs_path(dir, cert, "pem");
		opts.key = certs_path(dir, cert, "key");
	}
	CHECK_INT(tls_client_new(&opts, text, sizeof(text), &tls), 0);
	CHECK_STR(text, "");
	return tls;
}

static void check_error_has(const struct client *t, const char *what)
{
	if (!strstr(t->error, what) || strchr(t->error, '\n')) {
		printf("# \"%s\" does not say \"%s\" in a line\n", t->error, what);
		test_failed = true;
	}
}

/* ------------------------------------------------------------------ bytes both ways */

static void echo(const struct server *s, bool tls)
{
	struct peer p = peer_start(serve, s);
	struct tls_client *tls_client = tls ? tls_with("ca", NULL) : NULL;
	struct conn_opts opts = opts_for(p.port, tls_client);
	struct client t = { .to_send = 10 * MEGABYTE, .finish_when_sent = true };

	client_run(&t, &opts);
	CHECK_INT(t.received, t.to_send);
	CHECK(!t.mismatch);
	CHECK(t.events[0] == 'O' && t.events[t.n_events - 1] == 'E');
	CHECK(strchr(t.events, 'R'));
	CHECK_STR(t.error, "");
	CHECK_INT(peer_end(&p), 0);
	if (tls && s->version)
		CHECK(!strncmp(t.tls, s->version == TLS1_2_VERSION ? "TLSv1.2 " : "TLSv1.3 ", 8));
	if (!tls)
		CHECK_STR(t.tls, "no TLS");
	tls_client_free(tls_client);
}

TEST(echo_tls13)
{
	echo(&(struct server){ .cert = "good", .version = TLS1_3_VERSION }, true);
}

TEST(echo_tls12)
{
	echo(&(struct server){ .cert = "good", .version = TLS1_2_VERSION }, true);
}

TEST(echo_plain)
{
	echo(&(struct server){ .no_tls = true }, false);
}

/* Takes a connection and its handshake, for those who then do as they like. */
static SSL *accept_tls(int listen_fd, int *fd)
{
	struct server s = { .cert = "good" };
	SSL *ssl = SSL_new(server_ctx(&s));

	*fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	SSL_set_fd(ssl, *fd);
	return SSL_accept(ssl) == 1 ? ssl : NULL;
}

/* Many records in one segment: epoll tells of them once. */
static int send_small_records(int listen_fd, const void *arg)
{
	int fd, on = 1, off = 0;
	SSL *ssl = accept_tls(listen_fd, &fd);
	uint8_t bytes[10];

	(void)arg;
	if (!ssl)
		return 1;
	setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
	for (size_t i = 0; i < 50; i++) {
		for (size_t k = 0; k < sizeof(bytes); k++)
			bytes[k] = pattern(i * sizeof(bytes) + k);
		if (!peer_write(ssl, fd, bytes, sizeof(bytes)))
			return 2;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof(off));
	if (SSL_read(ssl, bytes, sizeof(bytes)) != 0)
		return 3;
	SSL_shutdown(ssl);
	close(fd);
	return 0;
}

TEST(many_records_in_one_segment)
{
	struct peer p = peer_start(send_small_records, NULL);
	struct tls_client *tls = tls_with("ca", NULL);
	struct conn_opts opts = opts_for(p.port, tls);
	struct client t = { .finish_after = 500 };

	client_run(&t, &opts);
	CHECK_STR(t.events, "ODE");
	CHECK_INT(t.received, 500);
	CHECK(!t.mismatch);
	CHECK_INT(peer_end(&p), 0);
	tls_client_free(tls);
}

/* ------------------------------------------------------------------ TLS: how it fails */

static void check_tls_failure(const struct server *s, struct tls_client *tls,
			      const char *server_name, const char *const *says)
{
	struct peer p = peer_start(serve, s);
	struct conn_opts opts = opts_for(p.port, tls);
	/* In TLS 1.3 the server's view of our certificate comes after our handshake. */
	struct client t = { 0 };

	opts.server_name = server_name;
	client_run(&t, &opts);
	CHECK(t.n_events && t.events[t.n_events - 1] == 'X');
	for (; *says; says++)
		check_error_has(&t, *says);
	peer_kill(&p);
}

static const struct {
	struct server server;
	const char *ca, *client_cert, *server_name;
	const char *says[6];
} tls_failures[] = {
	{ { .cert = "other" },
	  "ca",
	  NULL,
	  NULL,
	  { "tls 127.0.0.1: unknown CA", "\"CN=Other CA\"", "tls.ca" } },
	{ { .cert = "self-signed" },
	  "ca",
	  NULL,
	  NULL,
	  { "self-signed", "\"CN=localhost\"", "tls.ca" } },
	{ { .cert = "expired" }, "ca", NULL, NULL, { "expired", "UTC, and now it is 2", "clock" } },
	{ { .cert = "future" },
	  "ca",
	  NULL,
	  NULL,
	  { "not yet valid", "UTC, and now it is 2", "clock" } },
	{ { .cert = "wrong-name" },
	  "ca",
	  NULL,
	  "localhost",
	  { "name mismatch", "other.example, *.example.net", "not for localhost",
	    "tls.server_name" } },
	{ { .cert = "wrong-name" }, "ca", NULL, NULL, { "name mismatch", "not for 127.0.0.1" } },
	{ { .cert = "good" },
	  "ca",
	  NULL,
	  "127.0.0.2",
	  { "name mismatch", "localhost, ", "127.0.0.1", "::1", "not for 127.0.0.2" } },
	{ { .cert = "good", .version = TLS1_1_VERSION },
	  "ca",
	  NULL,
	  NULL,
	  { "does not speak TLS 1.2 or later", "protocol version" } },
	{ { .cert = "good", .version = TLS1_3_VERSION, .suites = "TLS_AES_128_CCM_SHA256" },
	  "ca",
	  NULL,
	  NULL,
	  { "no common cipher" } },
	{ { .cert = "good", .version = TLS1_3_VERSION, .client_ca = "ca" },
	  "ca",
	  NULL,
	  NULL,
	  { "requires a client certificate", "tls.cert" } },
	{ { .cert = "good", .version = TLS1_2_VERSION, .client_ca = "ca" },
	  "ca",
	  NULL,
	  NULL,
	  { "requires a client certificate", "tls.cert" } },
	{ { .cert = "good", .version = TLS1_3_VERSION, .client_ca = "other-ca" },
	  "ca",
	  "client",
	  NULL,
	  { "refuses our client certificate", "unknown CA" } },
	{ { .cert = "good", .version = TLS1_2_VERSION, .client_ca = "other-ca" },
	  "ca",
	  "client",
	  NULL,
	  { "refuses our client certificate", "unknown CA" } },
	{ { .cert = "good", .refuse_name = true },
	  "ca",
	  NULL,
	  "localhost",
	  { "does not know the name localhost" } },
};

TEST(tls_failures_say_why)
{
	for (size_t i = 0; i < sizeof(tls_failures) / sizeof(tls_failures[0]); i++) {
		struct tls_client *tls = tls_with(tls_failures[i].ca, tls_failures[i].client_cert);

		check_tls_failure(&tls_failures[i].server, tls, tls_failures[i].server_name,
				  tls_failures[i].says);
		tls_client_free(tls);
	}
}

struct raw_answer {
	const char *bytes;
	size_t n;
	bool reset;
	bool before_hello; /* does not even read */
};

static int answer_raw(int listen_fd, const void *arg)
{
	const struct raw_answer *a = arg;
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	char hello[4096];

	if (!a->before_hello && read(fd, hello, sizeof(hello)) <= 0)
		return 1;
	if (a->n && write(fd, a->bytes, a->n) != (ssize_t)a->n)
		return 2;
	if (a->reset) {
		reset(fd);
		return 0;
	}
	shutdown(fd, SHUT_WR);
	while (read(fd, hello, sizeof(hello)) > 0)
		;
	return 0;
}

/* A ServerHello of TLS 1.1, complete enough to be refused for its version. */
static const char hello_tls11[] = "\x16\x03\x02\x00\x2a"
				  "\x02\x00\x00\x26\x03\x02"
				  "01234567890123456789012345678901\x00\x00\x2f\x00";

static const struct {
	struct raw_answer answer;
	const char *says[4];
} raw_failures[] = {
#define BYTES(s) .bytes = (s), .n = sizeof(s) - 1
	{ { BYTES("220 mail.example ESMTP\r\n") },
	  { "does not speak TLS", "220 mail.example", "port" } },
	{ { BYTES("HTTP/1.1 400 Bad Request\r\n\r\n") }, { "does not speak TLS", "HTTP/1.1 400" } },
	{ { BYTES("\x1b[31mhello\x07, this is no TLS") }, { "says \"?[31mhello?" } },
	{ { BYTES(hello_tls11) }, { "speaks only TLS 1.1", "1.2 is needed" } },
	{ { BYTES("\x15\x03\x03\x00\x02\x02\x50") }, { "alert \"internal error\"" } },
	{ { BYTES("\x15\x03\x03\x00\x02\x01\x00") }, { "closed the connection in the handshake" } },
	{ { BYTES("\x16\x03\x03\x40\x00\x02") }, { "closed the connection in the handshake" } },
	{ { .n = 0 }, { "closed the connection in the handshake", "this port speaks TLS" } },
	{ { .reset = true }, { "Connection reset by peer in the handshake" } },
};

TEST(peers_that_are_not_tls_are_named)
{
	struct tls_client *tls = tls_with("ca", NULL);

	for (size_t i = 0; i < sizeof(raw_failures) / sizeof(raw_failures[0]); i++) {
		struct peer p = peer_start(answer_raw, &raw_failures[i].answer);
		struct conn_opts opts = opts_for(p.port, tls);
		struct client t = { 0 };

		client_run(&t, &opts);
		CHECK_STR(t.events, "X");
		for (int k = 0; raw_failures[i].says[k]; k++)
			check_error_has(&t, raw_failures[i].says[k]);
		peer_kill(&p);
	}
	tls_client_free(tls);
}

TEST(a_client_certificate_is_shown)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct tls_client *tls = tls_with("ca", "client");

	for (int i = 0; i < 2; i++) {
		struct server s = { .cert = "good", .client_ca = "ca", .version = versions[i] };
		struct peer p = peer_start(serve, &s);
		struct conn_opts opts = opts_for(p.port, tls);
		struct client t = { .to_send = 1000, .finish_when_sent = true };

		client_run(&t, &opts);
		CHECK_STR(t.events, "ODE");
		CHECK_INT(t.received, 1000);
		CHECK_INT(peer_end(&p), 0);
	}
	tls_client_free(tls);
}

/* A server's own certificate may be what is trusted, and a folder may hold it. */
TEST(trust_is_what_was_named)
{
	struct server s = { .cert = "self-signed", .connections = 2 };
	struct peer p = peer_start(serve, &s);
	struct tls_opts tls_opts = { .ca = in_dir("trusted") };
	struct tls_client *tls = tls_with("self-signed", NULL);
	struct conn_opts opts = opts_for(p.port, tls);
	struct client t = { .to_send = 10, .finish_when_sent = true }, u = t;
	char text[256], target[256];

	opts.server_name = "localhost.";
	client_run(&t, &opts);
	CHECK_STR(t.events, "ODE");
	tls_client_free(tls);

	mkdir(in_dir("trusted"), 0700);
	snprintf(target, sizeof(target), "%s/trusted/a", dir);
	CHECK_INT(link(certs_path(dir, "self-signed", "pem"), target), 0);
	snprintf(target, sizeof(target), "%s/trusted/b", dir);
	write_file(target, "not a certificate\n");
	CHECK_INT(tls_client_new(&tls_opts, text, sizeof(text), &tls), 0);
	opts.tls = tls;
	client_run(&u, &opts);
	CHECK_STR(u.events, "ODE");
	CHECK_INT(peer_end(&p), 0);
	tls_client_free(tls);
}

TEST(files_that_can_not_be_used_are_named)
{
	char ca[256], good[256], good_key[256], encrypted[256], garbage[256], damaged[256],
		fifo[256], empty_folder[256];
	FILE *f, *from;
	EVP_PKEY *key;

	snprintf(ca, sizeof(ca), "%s/ca.pem", dir);
	snprintf(good, sizeof(good), "%s/good.pem", dir);
	snprintf(good_key, sizeof(good_key), "%s/good.key", dir);
	snprintf(garbage, sizeof(garbage), "%s/garbage", dir);
	write_file(garbage, "hello\n");
	snprintf(damaged, sizeof(damaged), "%s/damaged", dir);
	write_file(damaged, "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	CHECK_INT(mkfifo(fifo, 0600), 0);
	snprintf(empty_folder, sizeof(empty_folder), "%s/empty", dir);
	mkdir(empty_folder, 0700);
	snprintf(encrypted, sizeof(encrypted), "%s/encrypted.key", dir);
	from = fopen(good_key, "re");
	key = PEM_read_PrivateKey(from, NULL, NULL, NULL);
	fclose(from);
	f = fopen(encrypted, "we");
	PEM_write_PKCS8PrivateKey(f, key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL);
	fclose(f);
	EVP_PKEY_free(key);

	const struct {
		struct tls_opts opts;
		int err;
		const char *says[3];
	} cases[] = {
		{ { .ca = "/nonexistent/ca" },
		  -ENOENT,
		  { "tls.ca: /nonexistent/ca: No such file" } },
		{ { .ca = fifo }, -EINVAL, { "neither a file nor a folder" } },
		{ { .ca = garbage }, -EINVAL, { "garbage: no certificate in it", "PEM" } },
		{ { .ca = damaged }, -EINVAL, { "damaged: its certificate is damaged" } },
		{ { .ca = empty_folder }, -EINVAL, { "empty: no certificate in it" } },
		{ { .ca = ca, .key = good_key }, -EINVAL, { "without tls.cert" } },
		{ { .ca = ca, .cert = "/nonexistent/c", .key = good_key },
		  -ENOENT,
		  { "tls.cert: /nonexistent/c: No such file" } },
		{ { .ca = ca, .cert = good, .key = "/nonexistent/k" },
		  -ENOENT,
		  { "tls.key: /nonexistent/k: No such file" } },
		{ { .ca = ca, .cert = garbage, .key = good_key },
		  -EINVAL,
		  { "tls.cert: ", "no certificate in it" } },
		{ { .ca = ca, .cert = good, .key = garbage },
		  -EINVAL,
		  { "tls.key: ", "no usable private key" } },
		{ { .ca = ca, .cert = good }, -EINVAL, { "tls.key: ", "no usable private key" } },
		{ { .ca = ca, .cert = good, .key = encrypted },
		  -EINVAL,
		  { "tls.key: ", "encrypted" } },
		{ { .ca = ca, .cert = ca, .key = good_key },
		  -EINVAL,
		  { "tls.key: ", "does not belong to the certificate" } },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tls_client *tls = NULL;
		struct client t = { 0 };

		CHECK_INT(tls_client_new(&cases[i].opts, t.error, sizeof(t.error), &tls),
			  cases[i].err);
		CHECK(!tls);
		for (int k = 0; k < 3 && cases[i].says[k]; k++)
			check_error_has(&t, cases[i].says[k]);
	}
}

TEST(the_system_store)
{
	struct tls_opts opts = { 0 };
	struct tls_client *tls = NULL;
	struct client t = { 0 };

	setenv("SSL_CERT_FILE", certs_path(dir, "ca", "pem"), 1);
	CHECK_INT(tls_client_new(&opts, t.error, sizeof(t.error), &tls), 0);
	tls_client_free(TAKE_PTR(tls));
	setenv("SSL_CERT_FILE", "/nonexistent", 1);
	CHECK_INT(tls_client_new(&opts, t.error, sizeof(t.error), &tls), -ENOENT);
	check_error_has(&t, "SSL_CERT_FILE=/nonexistent");
	setenv("SSL_CERT_DIR", dir, 1);
	CHECK_INT(tls_client_new(&opts, t.error, sizeof(t.error), &tls), 0);
	tls_client_free(TAKE_PTR(tls));
	unsetenv("SSL_CERT_FILE");
	unsetenv("SSL_CERT_DIR");

	if (skip_without_names())
		return;
	/* A system of which we see nothing, then one that keeps them where SUSE does. */
	if (mount("none", "/etc/ssl", "tmpfs", 0, NULL) < 0) {
		skip("no tmpfs over /etc/ssl");
		return;
	}
	if (access("/etc/pki", F_OK) < 0 &&
	    access("/var/lib/ca-certificates/ca-bundle.pem", F_OK) < 0) {
		CHECK_INT(tls_client_new(&opts, t.error, sizeof(t.error), &tls), -ENOENT);
		check_error_has(&t, "no CA certificates found on this system");
		check_error_has(&t, "tls.ca");
	}
	CHECK_INT(symlink(certs_path(dir, "ca", "pem"), "/etc/ssl/ca-bundle.pem"), 0);
	CHECK_INT(tls_client_new(&opts, t.error, sizeof(t.error), &tls), 0);
	tls_client_free(TAKE_PTR(tls));
	CHECK_INT(umount("/etc/ssl"), 0);
}

/* ------------------------------------------------------------------ sessions */

TEST(a_reconnect_resumes_the_session)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

	for (int i = 0; i < 2; i++) {
		struct server s = { .cert = "good", .version = versions[i], .connections = 4 };
		struct peer p = peer_start(serve, &s);
		struct tls_client *tls = tls_with("ca", NULL);
		struct conn_opts opts = opts_for(p.port, tls);

		for (int k = 0; k < 4; k++) {
			/* The last one breaks off: that must not spoil the session it left. */
			struct client t = { .to_send = 100,
					    .finish_when_sent = k != 2,
					    .free_at = k == 2 ? 'D' : 0 };

			client_run(&t, &opts);
			CHECK_STR(t.events, k == 2 ? "OD" : "ODE");
			CHECK_INT(strstr(t.tls, ", resumed") != NULL, k > 0);
		}
		peer_kill(&p);
		tls_client_free(tls);
	}
}

/* Another name is another identity: no session of the first may vouch for it. */
TEST(a_session_belongs_to_its_name)
{
	struct server s = { .cert = "good", .connections = 2 };
	struct peer p = peer_start(serve, &s);
	struct tls_client *tls = tls_with("ca", NULL);
	struct conn_opts opts = opts_for(p.port, tls);
	struct client t = { .to_send = 10, .finish_when_sent = true }, u = { 0 };

	client_run(&t, &opts);
	CHECK_STR(t.events, "ODE");
	opts.server_name = "elsewhere.example";
	client_run(&u, &opts);
	CHECK_STR(u.events, "X");
	check_error_has(&u, "name mismatch");
	peer_kill(&p);
	tls_client_free(tls);
}

/* ------------------------------------------------------------------ the race */

/* Listens but takes no more connections: a SYN gets no answer. */
struct blackhole {
	int listen_fd, fill_fd;
	uint16_t port;
};

static struct blackhole blackhole_on(const char *addr, uint16_t port)
{
	struct blackhole b = { .listen_fd = listen_on(addr, port, 0) };
	union resolve_addr a;

	b.port = port_of(b.listen_fd);
	resolve_literal(addr, b.port, &a);
	b.fill_fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(b.fill_fd, &a.any, resolve_addr_size(&a)) < 0) {
		perror("blackhole");
		exit(1);
	}
	return b;
}

static void blackhole_end(struct blackhole *b)
{
	close(b->fill_fd);
	close(b->listen_fd);
}

TEST(refused)
{
	struct conn_opts opts = opts_for(closed_port(), NULL);
	struct client t = { 0 };
	char want[100];

	client_run(&t, &opts);
	CHECK_STR(t.events, "X");
	snprintf(want, sizeof(want), "connect 127.0.0.1:%u: 127.0.0.1: Connection refused; check",
		 opts.port);
	check_error_has(&t, want);
	snprintf(want, sizeof(want), "127.0.0.1:%u", opts.port);
	CHECK_STR(t.peer, want);
}

TEST(no_answer)
{
	struct blackhole b = blackhole_on("127.0.0.1", 0);
	struct conn_opts opts = opts_for(b.port, NULL);
	struct client t = { 0 };

	opts.connect_timeout_ms = 100;
	client_run(&t, &opts);
	CHECK_STR(t.events, "X");
	check_error_has(&t, "127.0.0.1: no answer; a firewall");
	blackhole_end(&b);
}

static int say_nothing(int listen_fd, const void *arg)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	char bytes[4096];

	(void)arg;
	while (read(fd, bytes, sizeof(bytes)) > 0)
		;
	return 0;
}

TEST(a_handshake_without_answer_ends)
{
	struct peer p = peer_start(say_nothing, NULL);
	struct tls_client *tls = tls_with("ca", NULL);
	struct conn_opts opts = opts_for(p.port, tls);
	struct client t = { 0 };

	opts.connect_timeout_ms = 100;
	client_run(&t, &opts);
	CHECK_STR(t.events, "X");
	check_error_has(&t, "tls 127.0.0.1: no answer in the handshake");
	CHECK_INT(peer_end(&p), 0);
	tls_client_free(tls);
}

static void check_race(const char *host, uint16_t port, const char *addr)
{
	struct conn_opts opts = opts_for(port, NULL);
	struct client t = { .to_send = 10, .finish_when_sent = true };
	char want[200];

	opts.host = host;
	client_run(&t, &opts);
	CHECK_STR(t.events, "ODE");
	CHECK_INT(t.received, 10);
	snprintf(want, sizeof(want), "%s:%u (%s)", addr, port, host);
	CHECK_STR(t.peer, want);
}

TEST(ipv6_first_and_ipv4_when_it_fails)
{
	struct server s = { .no_tls = true };
	struct blackhole hole;
	struct peer p, q;
	uint16_t port;
	int fd;

	if (skip_without_names())
		return;
	/* Both listen: IPv6. */
	fd = listen_on("127.0.0.1", 0, 8);
	port = port_of(fd);
	p = peer_on(fd, serve, &s);
	q = peer_on(listen_on("::1", port, 8), serve, &s);
	check_race("race.test", port, "[::1]");
	CHECK_INT(peer_end(&q), 0);
	/* IPv6 refuses. */
	check_race("race.test", port, "127.0.0.1");
	CHECK_INT(peer_end(&p), 0);
	/* IPv6 is silent: IPv4 starts after 250 ms. */
	fd = listen_on("127.0.0.1", 0, 8);
	port = port_of(fd);
	hole = blackhole_on("::1", port);
	p = peer_on(fd, serve, &s);
	check_race("race.test", port, "127.0.0.1");
	CHECK_INT(peer_end(&p), 0);
	blackhole_end(&hole);
	/* The first IPv6 refuses: IPv4 is next, not the second IPv6. */
	fd = listen_on("127.0.0.1", 0, 8);
	port = port_of(fd);
	p = peer_on(fd, serve, &s);
	q = peer_on(listen_on("fd00::2", port, 8), serve, &s);
	check_race("three.test", port, "127.0.0.1");
	CHECK_INT(peer_end(&p), 0);
	/* And now only the second IPv6 is left. */
	check_race("three.test", port, "[fd00::2]");
	CHECK_INT(peer_end(&q), 0);
	/* IPv6 has no route. */
	p = peer_start(serve, &s);
	check_race("noroute.test", p.port, "127.0.0.1");
	CHECK_INT(peer_end(&p), 0);
}

TEST(every_address_failed)
{
	struct conn_opts opts = opts_for(closed_port(), NULL);
	struct client t = { 0 };

	if (skip_without_names())
		return;
	opts.host = "race.test";
	client_run(&t, &opts);
	CHECK_STR(t.events, "X");
	check_error_has(&t, "connect race.test:");
	check_error_has(&t,
			": ::1: Connection refused, 127.0.0.1: Connection refused; check the port");
}

/* ------------------------------------------------------------------ names */

/* Answers as the name says. Never for AAAA of "no6", never for "silent". */
static int serve_dns(int listen_fd, const void *arg)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(53) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)listen_fd;
	a.sin_addr.s_addr = inet_addr(arg);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return 1;
	/* The parent waits for this connection: we are bound. */
	close(accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC));
	for (;;) {
		uint8_t m[512];
		struct sockaddr_in from;
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(fd, m, sizeof(m) - 64, 0, (struct sockaddr *)&from, &size);
		uint8_t code = 0;
		bool is_v6, answer = false;
		char name[32];

		if (n < 17 || m[12] >= sizeof(name))
			continue;
		memcpy(name, m + 13, m[12]);
		name[m[12]] = '\0';
		is_v6 = m[n - 3] == 28;
		if (!strcmp(name, "silent") || (!strcmp(name, "no6") && is_v6))
			continue;
		if (!strcmp(name, "gone"))
			code = 3;
		else if (!strcmp(name, "broken"))
			code = 2;
		else if (!strcmp(name, "no6") || !strcmp(name, "four"))
			answer = !is_v6;
		else if (!strcmp(name, "both"))
			answer = true;
		m[2] = 0x81;
		m[3] = 0x80 | code;
		m[7] = answer;
		m[8] = m[9] = m[10] = m[11] = 0;
		if (answer) {
			static const uint8_t a4[] = { 0xc0, 12, 0, 1, 0,   1, 0, 0,
						      0,    9,	0, 4, 127, 0, 0, 1 };
			static const uint8_t a6[] = { 0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 9,
						      0,    16, 0, 0,  0, 0, 0, 0, 0, 0,
						      0,    0,	0, 0,  0, 0, 0, 1 };

			memcpy(m + n, is_v6 ? a6 : a4, is_v6 ? sizeof(a6) : sizeof(a4));
			n += is_v6 ? sizeof(a6) : sizeof(a4);
		}
		sendto(fd, m, (size_t)n, 0, (struct sockaddr *)&from, size);
	}
}

static struct peer dns_start(const char *addr)
{
	int fd = listen_on("127.0.0.1", 0, 1), probe;
	uint16_t port = port_of(fd);
	struct peer p = peer_on(fd, serve_dns, addr);
	union resolve_addr a;
	char byte;

	resolve_literal("127.0.0.1", port, &a);
	probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(probe, &a.any, resolve_addr_size(&a)) < 0 || read(probe, &byte, 1) != 0)
		perror("name server");
	close(probe);
	return p;
}

static const struct {
	const char *host, *says;
} unresolved[] = {
	{ "gone.dns", "resolve gone.dns: no such name; check its spelling" },
	{ "empty.dns", "resolve empty.dns: the name has no address" },
	{ "broken.dns", "the name server (127.0.0.1) failed or can not be reached" },
	{ "silent.dns", "resolve silent.dns: no answer from the name server (127.0.0.1)" },
	{ "a..b", "resolve a..b: no such name" },
};

TEST(names_that_do_not_resolve)
{
	struct peer dns;

	if (skip_without_names())
		return;
	dns = dns_start("127.0.0.1");
	for (size_t i = 0; i < sizeof(unresolved) / sizeof(unresolved[0]); i++) {
		struct conn_opts opts = opts_for(1, NULL);
		struct client t = { 0 };

		opts.host = unresolved[i].host;
		opts.connect_timeout_ms = 300;
		client_run(&t, &opts);
		CHECK_STR(t.events, "X");
		check_error_has(&t, unresolved[i].says);
	}
	peer_kill(&dns);
}

TEST(names_from_dns)
{
	static const char *const hosts[] = { "four.dns", "no6.dns", "both.dns" };
	struct server s = { .no_tls = true };
	struct peer dns;

	if (skip_without_names())
		return;
	dns = dns_start("127.0.0.1");
	for (int i = 0; i < 3; i++) {
		struct peer p = peer_start(serve, &s);

		check_race(hosts[i], p.port, "127.0.0.1");
		CHECK_INT(peer_end(&p), 0);
	}
	peer_kill(&dns);
}

TEST(a_changed_resolv_conf_is_followed)
{
	struct server s = { .no_tls = true };
	struct conn_opts opts = opts_for(1, NULL);
	struct client t = { 0 };
	struct peer dns, p;

	if (skip_without_names())
		return;
	opts.host = "four.dns";
	opts.connect_timeout_ms = 300;
	client_run(&t, &opts);
	CHECK_STR(t.events, "X");
	check_error_has(&t, "the name server (127.0.0.1)");

	dns = dns_start("127.0.0.2");
	/* In place: the file is mounted. */
	write_file("/etc/resolv.conf", "nameserver 127.0.0.2\n");
	p = peer_start(serve, &s);
	check_race("four.dns", p.port, "127.0.0.1");
	CHECK_INT(peer_end(&p), 0);
	peer_kill(&dns);
	write_file("/etc/resolv.conf", "nameserver 127.0.0.1\n");
}

TEST(literals)
{
	static const struct {
		const char *host, *text;
	} cases[] = {
		{ "127.0.0.1", "127.0.0.1" },
		{ "::1", "::1" },
		{ "2001:DB8::0:1", "2001:db8::1" },
		{ "fe80::1%lo", "fe80::1%lo" },
		{ "1.2.3", NULL },
		{ "[::1]", NULL },
		{ "localhost", NULL },
		{ "::1%", NULL },
		{ "", NULL },
	};
	char text[RESOLVE_TEXT_SIZE];
	union resolve_addr a;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CHECK_INT(resolve_literal(cases[i].host, 80, &a), cases[i].text != NULL);
		if (cases[i].text)
			CHECK_STR(resolve_addr_text(&a, text), cases[i].text);
	}
}

TEST(options_that_can_not_work)
{
	struct conn_opts opts = opts_for(1, NULL);
	struct conn *c = NULL;
	struct loop *loop;

	CHECK_INT(loop_new(&loop), 0);
	opts.proxy = "socks5://127.0.0.1:1";
	CHECK_INT(conn_new(loop, &opts, client_event, NULL, &c), -EINVAL);
	opts.proxy = NULL;
	opts.host = "";
	CHECK_INT(conn_new(loop, &opts, client_event, NULL, &c), -EINVAL);
	opts.host = "x";
	opts.port = 0;
	CHECK_INT(conn_new(loop, &opts, client_event, NULL, &c), -EINVAL);
	CHECK(!c);
	loop_free(loop);
}

/* ------------------------------------------------------------------ proxies */

struct proxy_server {
	const char *answer; /* NULL: go through */
	bool bytewise;
	bool endless;
	const char *expect;    /* in the request */
	const char *greeting;  /* of the tunnel, in one packet with the answer */
	struct server through; /* what stands behind it */
};

static int serve_proxy(int listen_fd, const void *arg)
{
	const struct proxy_server *s = arg;
	const char *answer =
		s->answer ? s->answer : "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC), on = 1;
	static char request[4096], all[4096];
	size_t len = 0;
	SSL *ssl = NULL;

	while (!strstr(request, "\r\n\r\n")) {
		ssize_t n = read(fd, request + len, sizeof(request) - 1 - len);

		if (n <= 0)
			return 1;
		len += (size_t)n;
	}
	if (s->expect && !strstr(request, s->expect))
		return 2;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	snprintf(all, sizeof(all), "%s%s", answer, s->greeting ? s->greeting : "");
	for (size_t i = 0; i < strlen(all);) {
		size_t n = s->bytewise ? 1 : strlen(all);

		if (write(fd, all + i, n) != (ssize_t)n)
			return 3;
		i += n;
	}
	while (s->endless)
		if (write(fd, "X-Long: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n", 42) < 0)
			return 0;
	if (!s->answer) {
		if (!s->through.no_tls) {
			ssl = SSL_new(server_ctx(&s->through));
			SSL_set_fd(ssl, fd);
			if (SSL_accept(ssl) != 1)
				return 4;
		}
		return serve_stream(fd, ssl, &s->through);
	}
	shutdown(fd, SHUT_WR);
	while (read(fd, request, sizeof(request)) > 0)
		;
	return 0;
}

TEST(through_a_proxy)
{
	struct proxy_server s = { .expect = "CONNECT intake.example:443 HTTP/1.1\r\n"
					    "Host: intake.example:443\r\n" };
	struct tls_client *tls = tls_with("ca", NULL);

	s.through.cert = "good";
	for (int i = 0; i < 3; i++) {
		struct conn_opts opts = opts_for(443, tls);
		struct client t = { .to_send = MEGABYTE, .finish_when_sent = true };
		char url[100], want[200];
		struct peer p;

		s.bytewise = i == 1;
		s.through.no_tls = i == 2;
		p = peer_start(serve_proxy, &s);
		snprintf(url, sizeof(url), "http://127.0.0.1:%u", p.port);
		opts.host = "intake.example";
		opts.server_name = "localhost";
		opts.proxy = url;
		if (i == 2)
			opts.tls = NULL;
		client_run(&t, &opts);
		CHECK(t.events[t.n_events - 1] == 'E');
		CHECK_INT(t.received, MEGABYTE);
		CHECK(!t.mismatch);
		snprintf(want, sizeof(want), "intake.example:443 through the proxy 127.0.0.1:%u",
			 p.port);
		CHECK_STR(t.peer, want);
		CHECK_INT(peer_end(&p), 0);
	}
	tls_client_free(tls);
}

/* What the far end says right behind the proxy's answer is the stream's. */
TEST(a_proxy_takes_nothing_from_the_tunnel)
{
	char greeting[100];
	struct proxy_server s = { .greeting = greeting,
				  .through = { .no_tls = true, .end_after_bytes = 1 } };
	struct conn_opts opts = opts_for(443, NULL);
	struct client t = { .to_send = 1, .finish_when_sent = true };
	struct peer p;
	char url[100];

	for (size_t i = 0; i < sizeof(greeting) - 1; i++)
		greeting[i] = (char)pattern(i);
	greeting[sizeof(greeting) - 1] = '\0';
	p = peer_start(serve_proxy, &s);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u", p.port);
	opts.proxy = url;
	client_run(&t, &opts);
	CHECK_STR(t.events, "ODE");
	CHECK_INT(t.received, strlen(greeting));
	CHECK(!t.mismatch);
	CHECK_INT(peer_end(&p), 0);
}

static const struct {
	struct proxy_server server;
	const char *credentials;
	const char *says[3];
} proxy_failures[] = {
	{ { .answer = "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n" },
	  "",
	  { "it wants a user and a password", "(407 Proxy Authentication Required)" } },
	{ { .answer = "HTTP/1.1 407 No\r\n\r\n",
	    .expect = "Proxy-Authorization: Basic bWU6aHVudGVyMg==\r\n" },
	  "me:hunter2@",
	  { "it refuses the user or the password" } },
	{ { .answer = "HTTP/1.1 403 Forbidden\r\n\r\n" },
	  "",
	  { "does not allow this destination" } },
	{ { .answer = "HTTP/1.1 405 Method Not Allowed\r\n\r\n" }, "", { "does not do CONNECT" } },
	{ { .answer = "HTTP/1.1 502 Bad Gateway\r\n\r\n" },
	  "",
	  { "can not reach the destination" } },
	{ { .answer = "HTTP/1.1 302 Found\r\n\r\n" }, "", { "it refuses (302 Found)" } },
	{ { .answer = "SSH-2.0-OpenSSH\r\n" }, "", { "not HTTP" } },
	{ { .answer = "HTTP/1.1 200 OK\r\n" }, "", { "closed the connection before it answered" } },
	{ { .answer = "" }, "", { "closed the connection before it answered" } },
	{ { .answer = "HTTP/1.1 200 OK\r\n", .endless = true }, "", { "too long" } },
};

TEST(proxies_that_refuse)
{
	for (size_t i = 0; i < sizeof(proxy_failures) / sizeof(proxy_failures[0]); i++) {
		struct peer p = peer_start(serve_proxy, &proxy_failures[i].server);
		struct conn_opts opts = opts_for(443, NULL);
		struct client t = { 0 };
		char url[100], want[100];

		snprintf(url, sizeof(url), "http://%s127.0.0.1:%u", proxy_failures[i].credentials,
			 p.port);
		opts.host = "intake.example";
		opts.proxy = url;
		client_run(&t, &opts);
		CHECK_STR(t.events, "X");
		snprintf(want, sizeof(want), "proxy 127.0.0.1:%u: ", p.port);
		check_error_has(&t, want);
		for (int k = 0; k < 3 && proxy_failures[i].says[k]; k++)
			check_error_has(&t, proxy_failures[i].says[k]);
		CHECK(!strstr(t.error, "hunter2") && !strstr(t.error, "bWU6"));
		CHECK_INT(peer_end(&p), 0);
	}
}

TEST(a_proxy_that_is_not_there)
{
	struct conn_opts opts = opts_for(443, NULL);
	struct client t = { 0 };
	char url[100];

	snprintf(url, sizeof(url), "http://me:hunter2@127.0.0.1:%u", closed_port());
	opts.proxy = url;
	client_run(&t, &opts);
	CHECK_STR(t.events, "X");
	check_error_has(&t, "proxy 127.0.0.1:");
	check_error_has(&t, "Connection refused");
	CHECK(!strstr(t.error, "hunter2"));
}

TEST(a_proxy_that_says_nothing)
{
	struct peer p = peer_start(say_nothing, NULL);
	struct conn_opts opts = opts_for(443, NULL);
	struct client t = { 0 };
	char url[100];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u", p.port);
	opts.proxy = url;
	opts.host = "intake.example";
	opts.connect_timeout_ms = 100;
	client_run(&t, &opts);
	CHECK_STR(t.events, "X");
	check_error_has(&t, "no answer to CONNECT intake.example:443");
	CHECK_INT(peer_end(&p), 0);
}

/* ------------------------------------------------------------------ how it ends */

static const struct {
	struct server server;
	bool finish_on_eof;
	const char *events, *says;
} ends[] = {
	/* The peer ends in the middle of our stream, in each way. */
	{ { .cert = "good", .end_after_bytes = 100, .end = END_CLOSE_NOTIFY }, false, "OE", NULL },
	{ { .cert = "good", .end_after_bytes = 100, .end = END_FIN },
	  false,
	  "OX",
	  "without a TLS close_notify" },
	{ { .cert = "good", .end_after_bytes = 100, .end = END_RST },
	  false,
	  "OX",
	  "Connection reset" },
	{ { .no_tls = true, .end_after_bytes = 100, .end = END_FIN }, false, "OE", NULL },
	{ { .no_tls = true, .end_after_bytes = 100, .end = END_RST },
	  false,
	  "OX",
	  "Connection reset" },
	/* It ends first, and then we do: the second one is ours. */
	{ { .cert = "good", .end_after_bytes = 100, .end = END_CLOSE_NOTIFY }, true, "OE", NULL },
	{ { .no_tls = true, .end_after_bytes = 100, .end = END_FIN }, true, "OE", NULL },
	/* What it had said is told before its end. */
	{ { .cert = "good",
	    .greeting_bytes = 50000,
	    .end_after_bytes = 100,
	    .end = END_CLOSE_NOTIFY },
	  false,
	  "ODE",
	  NULL },
	{ { .no_tls = true, .greeting_bytes = 50000, .end_after_bytes = 100, .end = END_RST },
	  false,
	  "ODX",
	  "Connection reset" },
};

TEST(the_peer_ends_first)
{
	struct tls_client *tls = tls_with("ca", NULL);

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		struct peer p = peer_start(serve, &ends[i].server);
		struct conn_opts opts = opts_for(p.port, ends[i].server.no_tls ? NULL : tls);
		struct client t = { .to_send = 100, .finish_on_eof = ends[i].finish_on_eof };

		client_run(&t, &opts);
		CHECK_STR(t.events, ends[i].events);
		CHECK(!t.mismatch);
		CHECK_INT(t.received, ends[i].server.greeting_bytes);
		if (ends[i].says)
			check_error_has(&t, ends[i].says);
		else
			CHECK_STR(t.error, "");
		if (ends[i].finish_on_eof)
			CHECK(!t.finish_on_eof);
		peer_kill(&p);
	}
	tls_client_free(tls);
}

/* A plain FIN is a fair answer to our close_notify; so is a slow reader's. */
TEST(we_end_first)
{
	static const struct server servers[] = {
		{ .cert = "good" },
		{ .cert = "good", .end = END_FIN },
		{ .cert = "good", .version = TLS1_2_VERSION },
		{ .cert = "good", .nap_before_read_ms = 100, .greeting_bytes = 10000 },
		{ .no_tls = true },
		{ .no_tls = true, .nap_before_read_ms = 100, .greeting_bytes = 10000 },
	};
	struct tls_client *tls = tls_with("ca", NULL);

	for (size_t i = 0; i < sizeof(servers) / sizeof(servers[0]); i++) {
		struct peer p = peer_start(serve, &servers[i]);
		struct conn_opts opts = opts_for(p.port, servers[i].no_tls ? NULL : tls);
		struct client t = { .to_send = 200000, .finish_when_sent = true };

		client_run(&t, &opts);
		CHECK(t.n_events && t.events[t.n_events - 1] == 'E');
		CHECK_INT(t.received,
			  servers[i].greeting_bytes ? servers[i].greeting_bytes : 200000);
		CHECK_STR(t.error, "");
		CHECK_INT(peer_end(&p), 0);
	}
	tls_client_free(tls);
}

/* Finish before anything was sent, even before it is open. */
TEST(nothing_to_say)
{
	struct server s = { .cert = "good" };
	struct peer p = peer_start(serve, &s);
	struct tls_client *tls = tls_with("ca", NULL);
	struct conn_opts opts = opts_for(p.port, tls);
	struct client t = { .finish_on_open = true };

	client_run(&t, &opts);
	CHECK_STR(t.events, "OE");
	CHECK_INT(peer_end(&p), 0);
	tls_client_free(tls);
}

/* Closes without having read: its kernel says RST, and so it is no receipt. */
static int close_without_reading(int listen_fd, const void *arg)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct pollfd ready = { .fd = fd, .events = POLLIN };

	(void)arg;
	poll(&ready, 1, 10000);
	close(fd);
	return 0;
}

TEST(a_peer_that_closes_unread_gives_no_receipt)
{
	struct peer p = peer_start(close_without_reading, NULL);
	struct conn_opts opts = opts_for(p.port, NULL);
	struct client t = { .to_send = 1000, .finish_when_sent = true };

	client_run(&t, &opts);
	CHECK_STR(t.events, "OX");
	CHECK_INT(peer_end(&p), 0);
}

/* Its FIN comes while most of ours waits for room there: the two have crossed. */
static int end_without_reading(int listen_fd, const void *arg)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);

	(void)arg;
	nap_ms(100);
	shutdown(fd, SHUT_WR);
	nap_ms(10000);
	return 0;
}

TEST(an_end_that_crossed_ours_is_no_receipt)
{
	int fd = listen_on("127.0.0.1", 0, 1), bytes = 4096;
	struct conn_opts opts;
	struct client t = { .to_send = 200000, .finish_when_sent = true };
	struct peer p;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	p = peer_on(fd, end_without_reading, NULL);
	opts = opts_for(p.port, NULL);
	client_run(&t, &opts);
	CHECK(t.events[t.n_events - 1] == 'X');
	check_error_has(&t, "the peer closed before");
	peer_kill(&p);
}

/* Ends, and then makes the pipe readable: both are seen in one turn, in this order. */
static int end_and_tell(int listen_fd, const void *arg)
{
	const int *pipe_fd = arg;
	char bytes[100];
	SSL *ssl;
	int fd;

	ssl = accept_tls(listen_fd, &fd);
	if (!ssl || SSL_read(ssl, bytes, sizeof(bytes)) <= 0)
		return 1;
	SSL_shutdown(ssl);
	nap_ms(20);
	if (write(*pipe_fd, "x", 1) != 1)
		return 2;
	nap_ms(10000);
	return 0;
}

static struct loop_io told;

static void finish_now(void *arg, uint32_t events)
{
	struct client *t = arg;

	(void)events;
	loop_del(&told);
	conn_finish(t->c);
}

/* Both ends come while nobody looks. */
static void nap_once(void *arg)
{
	struct client *t = arg;

	static bool done;

	if (t->sent && !done) {
		done = true;
		CHECK_INT(loop_add(t->loop, &told), 0);
		nap_ms(200);
	}
}

TEST(an_end_before_ours_that_was_not_told_yet_is_no_receipt)
{
	struct tls_client *tls = tls_with("ca", NULL);
	struct client t = { .to_send = 100 };
	struct conn_opts opts;
	struct peer p;
	int fds[2];

	CHECK_INT(pipe2(fds, O_CLOEXEC), 0);
	p = peer_start(end_and_tell, &fds[1]);
	opts = opts_for(p.port, tls);
	CHECK_INT(loop_new(&t.loop), 0);
	t.failsafe = (struct loop_timer){ .fn = on_failsafe, .arg = &t };
	loop_timer_set(t.loop, &t.failsafe, loop_now_ms(t.loop) + FAILSAFE_MS);
	told = (struct loop_io){ .fd = fds[0], .events = EPOLLIN, .fn = finish_now, .arg = &t };
	loop_before_sleep(t.loop, nap_once, &t);
	CHECK_INT(conn_new(t.loop, &opts, client_event, &t, &t.c), 0);
	loop_run(t.loop);
	conn_free(t.c);
	loop_free(t.loop);
	CHECK_STR(t.events, "OX");
	check_error_has(&t, "the peer closed before");
	close(fds[0]);
	close(fds[1]);
	peer_kill(&p);
	tls_client_free(tls);
}

/* New keys of its own accord, one byte, and then it reads nothing any more. */
static int rekey_and_sleep(int listen_fd, const void *arg)
{
	SSL *ssl;
	int fd;

	(void)arg;
	ssl = accept_tls(listen_fd, &fd);
	if (!ssl || SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1 ||
	    SSL_do_handshake(ssl) != 1 || SSL_write(ssl, "x", 1) != 1)
		return 1;
	nap_ms(10000);
	return 0;
}

static void ask_on_data(void *arg, enum conn_event event)
{
	struct client *t = arg;

	if (event != CONN_DATA)
		return;
	client_consume(t);
	CHECK_INT(conn_receipts(t->c), 0);
	buf_puts(conn_out(t->c), "hello");
	conn_flush(t->c);
	CHECK_INT(conn_ask_receipt(t->c), 0);
	/* Does what came before count for what was asked after it? */
	CHECK_INT(conn_receipts(t->c), 0);
	loop_stop(t->loop, 0);
}

TEST(new_keys_that_nobody_asked_for_are_no_receipt)
{
	struct peer p = peer_start(rekey_and_sleep, NULL);
	struct tls_client *tls = tls_with("ca", NULL);
	struct conn_opts opts = opts_for(p.port, tls);
	struct client t = { 0 };

	CHECK_INT(loop_new(&t.loop), 0);
	t.failsafe = (struct loop_timer){ .fn = on_failsafe, .arg = &t };
	loop_timer_set(t.loop, &t.failsafe, loop_now_ms(t.loop) + FAILSAFE_MS);
	CHECK_INT(conn_new(t.loop, &opts, ask_on_data, &t, &t.c), 0);
	loop_run(t.loop);
	conn_free(t.c);
	loop_free(t.loop);
	peer_kill(&p);
	tls_client_free(tls);
}

TEST(a_peer_that_never_ends)
{
	static const struct server servers[] = { { .no_tls = true, .nap_before_read_ms = 5000 },
						 { .cert = "good", .nap_before_read_ms = 5000 } };
	struct tls_client *tls = tls_with("ca", NULL);

	for (int i = 0; i < 2; i++) {
		struct peer p = peer_start(serve, &servers[i]);
		struct conn_opts opts = opts_for(p.port, servers[i].no_tls ? NULL : tls);
		struct client t = { .to_send = 1000, .finish_when_sent = true };

		opts.idle_timeout_ms = 200;
		client_run(&t, &opts);
		CHECK_STR(t.events, "OX");
		check_error_has(&t, "did not close its side");
		peer_kill(&p);
	}
	tls_client_free(tls);
}

/* A window that stays closed is as bad as silence (TCP_USER_TIMEOUT). */
TEST(a_peer_that_never_reads)
{
	struct server s = { .no_tls = true, .nap_before_read_ms = 30000 };
	struct peer p = peer_start(serve, &s);
	struct conn_opts opts = opts_for(p.port, NULL);
	struct client t = { .to_send = 64 * MEGABYTE };

	opts.idle_timeout_ms = 300;
	client_run(&t, &opts);
	CHECK(t.events[t.n_events - 1] == 'X');
	check_error_has(&t, "nothing was acknowledged");
	peer_kill(&p);
}

static int close_after_handshake(int listen_fd, const void *arg)
{
	int fd;

	(void)arg;
	if (!accept_tls(listen_fd, &fd))
		return 1;
	close(fd);
	return 0;
}

/* The second write to a closed socket is EPIPE, and without care SIGPIPE. */
TEST(writing_on_after_the_peer_closed)
{
	struct peer p = peer_start(close_after_handshake, NULL);
	struct tls_client *tls = tls_with("ca", NULL);
	struct conn_opts opts = opts_for(p.port, tls);
	struct client t = { .write_blindly = true };

	client_run(&t, &opts);
	CHECK_STR(t.events, "OX");
	CHECK_INT(peer_end(&p), 0);
	tls_client_free(tls);
}

/* ------------------------------------------------------------------ ownership and limits */

TEST(free_inside_each_event)
{
	static const struct {
		char at;
		struct server server;
		size_t to_send;
	} cases[] = {
		{ 'O', { .cert = "good" }, 0 },
		{ 'D', { .cert = "good", .greeting_bytes = 1000 }, 0 },
		{ 'R', { .cert = "good" }, 10 * MEGABYTE },
		{ 'E', { .cert = "good", .end_after_bytes = 1 }, 10 },
		{ 'X', { .cert = "good", .end_after_bytes = 1, .end = END_RST }, 10 },
		{ 'D', { .no_tls = true, .greeting_bytes = 1000 }, 0 },
		{ 'X', { .cert = "expired" }, 0 },
	};
	struct tls_client *tls = tls_with("ca", NULL);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct peer p = peer_start(serve, &cases[i].server);
		struct conn_opts opts = opts_for(p.port, cases[i].server.no_tls ? NULL : tls);
		struct client t = { .to_send = cases[i].to_send, .free_at = cases[i].at };

		client_run(&t, &opts);
		CHECK(t.n_events && t.events[t.n_events - 1] == cases[i].at);
		peer_kill(&p);
	}
	tls_client_free(tls);
}

static void stop_loop(void *arg, uint64_t now_ms)
{
	(void)now_ms;
	loop_stop(arg, 0);
}

/* At any time, in any stage: after each of the loop's first turns. */
TEST(free_in_each_stage)
{
	struct server s = { .cert = "good", .connections = 100 };
	struct tls_client *tls = tls_with("ca", NULL);
	struct peer p = peer_start(serve, &s);

	for (int turns = 0; turns < 12; turns++) {
		struct conn_opts opts = opts_for(p.port, tls);
		struct loop_timer stop = { .fn = stop_loop };
		struct client t = { 0 };

		CHECK_INT(loop_new(&t.loop), 0);
		stop.arg = t.loop;
		if (turns % 2 && isolated)
			opts.host = "race.test";
		CHECK_INT(conn_new(t.loop, &opts, client_event, &t, &t.c), 0);
		for (int i = 0; i < turns; i++) {
			loop_timer_set(t.loop, &stop, loop_now_ms(t.loop) + 1);
			loop_run(t.loop);
		}
		conn_free(TAKE_PTR(t.c));
		loop_free(t.loop);
	}
	peer_kill(&p);
	tls_client_free(tls);
}

TEST(reading_pauses_while_in_is_full)
{
	static const struct server servers[] = {
		{ .cert = "good", .greeting_bytes = 3 * MEGABYTE, .end_after_bytes = 1 },
		{ .no_tls = true,
		  .greeting_bytes = 3 * MEGABYTE,
		  .end_after_bytes = 1,
		  .end = END_FIN },
	};
	struct tls_client *tls = tls_with("ca", NULL);

	for (int i = 0; i < 2; i++) {
		struct peer p = peer_start(serve, &servers[i]);
		struct conn_opts opts = opts_for(p.port, servers[i].no_tls ? NULL : tls);
		struct client t = { .to_send = 1, .slow = true };

		opts.max_in_bytes = 40000;
		client_run(&t, &opts);
		CHECK_INT(t.received, 3 * MEGABYTE);
		CHECK(!t.mismatch);
		CHECK_INT(t.most_waiting, 40000);
		CHECK(t.events[t.n_events - 1] == 'E');
		peer_kill(&p);
	}
	tls_client_free(tls);
}

/* The peer resets while we do not read: known when we read again, without a spin. */
TEST(a_reset_while_reading_pauses)
{
	struct server s = {
		.no_tls = true, .greeting_bytes = 60000, .end_after_bytes = 1, .end = END_RST
	};
	struct peer p = peer_start(serve, &s);
	struct conn_opts opts = opts_for(p.port, NULL);
	struct client t = { .to_send = 1, .slow = true };

	opts.max_in_bytes = 1000;
	client_run(&t, &opts);
	CHECK(t.events[t.n_events - 1] == 'X');
	CHECK(!t.mismatch);
	CHECK(t.received >= 1000);
	peer_kill(&p);
}

TEST(out_has_a_ceiling_and_drains)
{
	struct server s = { .cert = "good",
			    .nap_before_read_ms = 100,
			    .end_after_bytes = 20 * MEGABYTE };
	struct peer p = peer_start(serve, &s);
	struct tls_client *tls = tls_with("ca", NULL);
	struct conn_opts opts = opts_for(p.port, tls);
	struct client t = { .to_send = 20 * MEGABYTE };

	opts.max_out_bytes = 100000;
	client_run(&t, &opts);
	CHECK_INT(t.sent, t.to_send);
	CHECK(strchr(t.events, 'R'));
	CHECK(t.events[t.n_events - 1] == 'E');
	peer_kill(&p);
	tls_client_free(tls);
}
