/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast is the local intake itself? Starts it, sends preformatted 300-byte
 * messages over TLS, in full records, and prints messages per second: by the
 * clock, and by the CPU time that the intake used. A benchmark of a shipper
 * is only as good as this is higher.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "user/util/clock.h"

#define MSG_BYTES   300
#define BATCH	    1000 /* messages in one piece */
#define RELP_WINDOW 50000
#define SEQ_DIGITS  9

enum kind { SYSLOG, RELP, HTTPS };

static const char *const names[] = { "syslog", "relp", "https" };

struct sender {
	enum kind kind;
	bool json;
	SSL *ssl;
	int fd;
	char *batch; /* BATCH messages */
	size_t batch_len;
	size_t seq_at[BATCH];	 /* where each message's number stands */
	size_t txnr_at[BATCH];	 /* RELP: where its txnr stands, as wide as digits */
	uint64_t sent, answered; /* messages; https: requests */
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* "000000041" to "000000042", in place. */
static void put_number(char *at, int digits, uint64_t n)
{
	while (digits--) {
		at[digits] = (char)('0' + n % 10);
		n /= 10;
	}
}

static int starts_in(const char *p, const char *needle)
{
	const char *at = strstr(p, needle);

	return at ? (int)(at - p) : -1;
}

/* One message of MSG_BYTES; its number is written as nine zeros. */
static void format_message(const struct sender *s, char *msg)
{
	static const char header[] = "<13>1 2026-11-23T05:33:01.123456Z host-1.example sekoia-ebpf "
				     "1234 LOG [SEKOIA@53288 "
				     "intake_key=\"0123456789abcdef0123456789abcdef\"]";
	int n = 0;

	if (s->kind != HTTPS)
		n = sprintf(msg, s->json ? "%s " : "%s[meta sequenceId=\"000000000\"] ", header);
	if (s->json)
		n += sprintf(
			msg + n,
			"{\"event\":{\"id\":\"0123456789abcdef-000000000\",\"kind\":\"event\"},"
			"\"text\":\"");
	memset(msg + n, 'x', (size_t)(MSG_BYTES - n));
	if (s->json)
		memcpy(msg + MSG_BYTES - 2, "\"}", 2);
	msg[MSG_BYTES] = '\0';
}

static void format_batch(struct sender *s)
{
	char msg[MSG_BYTES + 1];
	size_t n = 0;
	int seq_at;

	format_message(s, msg);
	seq_at = starts_in(msg, "000000000");
	s->batch = malloc((size_t)BATCH * (MSG_BYTES + 64) + 1024);
	if (!s->batch)
		die("malloc");
	if (s->kind == HTTPS)
		n = (size_t)sprintf(
			s->batch,
			"POST /plain/batch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
			BATCH * (MSG_BYTES + 1));
	for (int i = 0; i < BATCH; i++) {
		if (s->kind == RELP) {
			s->txnr_at[i] = n;
			n += (size_t)sprintf(s->batch + n, "000000000 syslog %d ", MSG_BYTES);
		} else if (s->kind == SYSLOG) {
			n += (size_t)sprintf(s->batch + n, "%d ", MSG_BYTES);
		}
		s->seq_at[i] = n + (size_t)seq_at;
		memcpy(s->batch + n, msg, MSG_BYTES);
		n += MSG_BYTES;
		if (s->kind != SYSLOG)
			s->batch[n++] = '\n';
	}
	s->batch_len = n;
}

static void number_batch(struct sender *s)
{
	for (int i = 0; i < BATCH; i++) {
		s->sent++;
		put_number(s->batch + s->seq_at[i], SEQ_DIGITS, s->sent);
		if (s->kind == RELP) /* open was number 1 */
			put_number(s->batch + s->txnr_at[i], 9, s->sent + 1);
	}
}

/* Reads what is there; counts lines (RELP) or requests (https). */
static void read_answers(struct sender *s, bool wait)
{
	static char text[65536];
	int n;

	if (wait && !SSL_has_pending(s->ssl)) {
		struct pollfd p = { .fd = s->fd, .events = POLLIN };

		poll(&p, 1, 5000);
	}
	while ((n = SSL_read(s->ssl, text, sizeof(text))) > 0)
		for (const char *at = text, *end = text + n; at < end; at++) {
			/* RELP: a line each; https: one '}' each. */
			at = memchr(at, s->kind == RELP ? '\n' : '}', (size_t)(end - at));
			if (!at)
				break;
			s->answered++;
		}
	if (SSL_get_error(s->ssl, n) != SSL_ERROR_WANT_READ) {
		fprintf(stderr, "the intake has closed (%d)\n", SSL_get_error(s->ssl, n));
		exit(1);
	}
}

static void send_all(struct sender *s, const char *p, size_t n)
{
	while (n) {
		int put = SSL_write(s->ssl, p, n < 16384 ? (int)n : 16384);

		if (put > 0) {
			p += put;
			n -= (size_t)put;
			continue;
		}
		switch (SSL_get_error(s->ssl, put)) {
		case SSL_ERROR_WANT_READ:
			read_answers(s, true);
			break;
		case SSL_ERROR_WANT_WRITE: {
			struct pollfd at = { .fd = s->fd, .events = POLLIN | POLLOUT };

			poll(&at, 1, 5000);
			if (at.revents & POLLIN)
				read_answers(s, false);
			break;
		}
		default:
			fprintf(stderr, "the intake has closed (%d)\n", SSL_get_error(s->ssl, n));
			exit(1);
		}
	}
}

static void connect_to(struct sender *s, SSL_CTX *ctx, uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1;

	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		die("connect");
	setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	s->ssl = SSL_new(ctx);
	SSL_set_fd(s->ssl, s->fd);
	if (SSL_connect(s->ssl) != 1) {
		fprintf(stderr, "handshake failed\n");
		exit(1);
	}
	fcntl(s->fd, F_SETFL, O_NONBLOCK);
}

static pid_t start_intake(const char *program, const char *dir, enum kind kind, uint16_t *ret_port)
{
	char cert[512], key[512], option[16], line[256];
	int out[2];
	pid_t pid;
	FILE *f;

	snprintf(cert, sizeof(cert), "%s/server.pem", dir);
	snprintf(key, sizeof(key), "%s/server.key", dir);
	snprintf(option, sizeof(option), "--%s", names[kind]);
	if (pipe2(out, O_CLOEXEC) < 0)
		die("pipe");
	pid = fork();
	if (!pid) {
		dup2(out[1], STDOUT_FILENO);
		execl(program, program, option, "0", "--cert", cert, "--tls-key", key, "--bind",
		      "127.0.0.1", "--key", "0123456789abcdef0123456789abcdef", "--key", "", NULL);
		die(program);
	}
	close(out[1]);
	f = fdopen(out[0], "r");
	if (!f || !fgets(line, sizeof(line), f) || !strchr(line, '='))
		die("the intake did not start");
	*ret_port = (uint16_t)atoi(strchr(line, '=') + 1);
	fclose(f);
	return pid;
}

static void bench(SSL_CTX *ctx, const char *program, const char *dir, enum kind kind, bool json,
		  uint64_t messages)
{
	struct sender s = { .kind = kind, .json = json };
	uint64_t start_ms, took_ms;
	struct rusage usage;
	uint16_t port;
	double cpu;
	pid_t pid;

	pid = start_intake(program, dir, kind, &port);
	connect_to(&s, ctx, port);
	format_batch(&s);
	if (kind == RELP) {
		send_all(&s, "1 open 30 relp_version=0\ncommands=syslog\n",
			 strlen("1 open 30 relp_version=0\ncommands=syslog\n"));
		while (s.answered < 4)
			read_answers(&s, true);
		s.answered = 0;
	}
	start_ms = clock_mono_ms();
	while (s.sent < messages) {
		number_batch(&s);
		send_all(&s, s.batch, s.batch_len);
		read_answers(&s, false);
		while (kind == RELP && s.sent - s.answered > RELP_WINDOW)
			read_answers(&s, true);
		while (kind == HTTPS && s.sent / BATCH - s.answered > 4)
			read_answers(&s, true);
	}
	while (kind != SYSLOG && s.answered < (kind == RELP ? messages : messages / BATCH))
		read_answers(&s, true);
	/* Its close_notify comes when it has read all. */
	SSL_shutdown(s.ssl);
	while (!(SSL_get_shutdown(s.ssl) & SSL_RECEIVED_SHUTDOWN)) {
		char c;
		struct pollfd p = { .fd = s.fd, .events = POLLIN };

		if (SSL_read(s.ssl, &c, 1) <= 0 && poll(&p, 1, 5000) <= 0)
			die("the intake did not close");
	}
	took_ms = clock_mono_ms() - start_ms;
	kill(pid, SIGTERM);
	if (wait4(pid, NULL, 0, &usage) < 0)
		die("wait4");
	cpu = (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
	      (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
	printf("%-7s %-5s %9.0f msg/s by the clock, %9.0f msg/s of the intake's CPU\n", names[kind],
	       json ? "json" : "text", (double)messages * 1000 / (double)(took_ms ? took_ms : 1),
	       (double)messages / cpu);
	fflush(stdout);
	SSL_free(s.ssl);
	close(s.fd);
	free(s.batch);
}

int main(int argc, char **argv)
{
	const char *program = argc > 1 ? argv[1] : "build/tests/peers/intake";
	uint64_t messages = argc > 2 ? strtoull(argv[2], NULL, 10) : 2000000;
	char dir[] = "/tmp/bench-intake-XXXXXX", command[512];
	SSL_CTX *ctx;

	if (argc > 3 || !messages || messages % BATCH || messages > 99999999) {
		fprintf(stderr, "Usage: bench_intake [INTAKE [MESSAGES]], in thousands\n");
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(dir))
		die("mkdtemp");
	snprintf(command, sizeof(command), "tests/lib/certs.sh %s", dir);
	if (system(command) != 0)
		return 1;
	ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	for (int kind = SYSLOG; kind <= HTTPS; kind++)
		/* Text over https has no number, so it is not asked for. */
		for (int json = kind == HTTPS; json < 2; json++)
			bench(ctx, program, dir, (enum kind)kind, json, messages);
	SSL_CTX_free(ctx);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command) != 0;
}
