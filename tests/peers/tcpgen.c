/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP whose every byte is known: a server process and a client process make N
 * connections with sizes from a seed, and the truth file says what each of
 * them was. Both ends count for themselves, and must agree.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/peers/truth.h"
#include "user/util/clock.h"
#include "user/util/loop.h"

enum mode {
	NORMAL,
	SERVER_FIRST,
	HALF_CLOSE,
	REFUSED,
	RESET,
	SIMULTANEOUS,
	ORPHAN,
	PREFORK,
	MODES
};

static const char *const mode_names[MODES] = {
	[NORMAL] = "normal",	     [SERVER_FIRST] = "server-first",
	[HALF_CLOSE] = "half-close", [REFUSED] = "refused",
	[RESET] = "reset",	     [SIMULTANEOUS] = "simultaneous",
	[ORPHAN] = "orphan",	     [PREFORK] = "prefork",
};

struct options {
	const char *v4, *v6;	       /* the server's; NULL: not this family */
	const char *bind_v4, *bind_v6; /* the client's; NULL: the server's */
	const char *client_netns, *server_netns;
	uint32_t connections, parallel, max_bytes, pause_ms, workers, timeout_s;
	uint64_t seed;
	bool modes[MODES];
	const char *truth;
};

static const char help[] =
	"Usage: tcpgen [OPTION]... --truth FILE\n"
	"Makes TCP connections of known size between two processes of its own, and\n"
	"writes a line of JSON about each of them.\n\n"
	"  --connections N     how many (1000)\n"
	"  --parallel N        at once (64)\n"
	"  --max-bytes B       at most so many in each direction (65536)\n"
	"  --seed S            of sizes and modes (1)\n"
	"  --mode M[,M...]     normal, server-first, half-close, refused, reset,\n"
	"                      simultaneous, orphan, prefork; all: all of them (normal)\n"
	"  --v4 ADDR --v6 ADDR the server's addresses; \"\": not this family (127.0.0.1, ::1)\n"
	"  --bind-v4, --bind-v6 ADDR  the client's, if they are others\n"
	"  --client-netns, --server-netns NAME  where each of them lives\n"
	"  --pause-ms MS       the client pauses after half of its bytes\n"
	"  --workers N         processes that accept, for prefork (4)\n"
	"  --timeout S         give up (60)\n"
	"  --truth FILE        where the truth goes\n\n"
	"normal        the client sends, the server answers, the client closes\n"
	"server-first  the server sends, the client answers, the server closes\n"
	"half-close    the client sends and shuts down, the server answers to EOF\n"
	"refused       nobody listens\n"
	"reset         as normal, but one end resets when all is acknowledged\n"
	"simultaneous  both send at once, both shut down, both read to EOF\n"
	"orphan        the client closes while its bytes are still on the way\n"
	"prefork       as normal; the listener was made by another process than accepts\n";

/* ------------------------------------------------------------------ one end */

struct side {
	struct loop *loop;
	struct truth *truth;
	const struct options *opts;
	bool client;
	uint32_t next, live; /* client: the next entry to start, connections open */
	union truth_addr to[2], from[2];
	_Atomic uint32_t *done;
	int listeners[2][TRUTH_PORTS];
	int ready_fd; /* server: says so here when it listens */
};

/* A connection, seen from one end. */
struct end {
	struct loop_io io;
	struct loop_timer timer;
	struct side *side;
	struct truth_entry *e;
	uint64_t to_send, to_receive; /* planned */
	uint64_t sent, received;
	bool connecting, paused_once, paused, shut, slow_reader;
};

static char payload[65536];

static void end_pump(struct end *x);
static void client_start_more(struct side *s);

static bool is_resetter(const struct end *x)
{
	/* Each end in turn. */
	return x->e->mode == RESET && x->side->client == !(x->e->sport & 1);
}

static void end_finish(struct end *x, const char *error)
{
	struct side *s = x->side;
	struct truth_entry *e = x->e;

	if (s->client) {
		e->client_pid = (uint32_t)getpid();
		e->client_sent = x->sent;
		e->client_received = x->received;
		snprintf(e->error, sizeof(e->error), "%s", error);
		s->live--;
	} else {
		e->server_sent = x->sent;
		e->server_received = x->received;
		e->server_pid = (uint32_t)getpid();
	}
	loop_del(&x->io);
	loop_timer_cancel(&x->timer);
	close_fd(x->io.fd);
	free(x);
	if (s->client)
		atomic_store(&e->client_done, true);
	else
		atomic_store(&e->server_done, true);
	atomic_fetch_add(s->done, 1);
	if (s->client)
		client_start_more(s);
}

static void on_timer(void *arg, uint64_t now_ms)
{
	struct end *x = arg;

	(void)now_ms;
	x->paused = false;
	end_pump(x);
}

static void end_pause(struct end *x, uint32_t ms)
{
	x->paused = true;
	loop_watch(&x->io, 0);
	loop_timer_set(x->side->loop, &x->timer, loop_now_ms(x->side->loop) + ms);
}

/* May this end send now, by its mode? */
static bool may_send(const struct end *x)
{
	bool first = x->side->client;

	if (x->e->mode == SIMULTANEOUS || x->e->mode == ORPHAN)
		return true;
	if (x->e->mode == SERVER_FIRST)
		first = !first;
	return first || x->received == x->to_receive;
}

/* 1: all sent, 0: the socket is full or it pauses, -1: finished with an error. */
static int end_send(struct end *x)
{
	while (x->sent < x->to_send) {
		uint64_t left = x->to_send - x->sent;
		ssize_t n;

		if (x->side->client && x->side->opts->pause_ms && !x->paused_once) {
			if (x->sent >= x->to_send / 2) {
				x->paused_once = true;
				end_pause(x, x->side->opts->pause_ms);
				return 0;
			}
			left = x->to_send / 2 - x->sent;
		}
		n = send(x->io.fd, payload, left < sizeof(payload) ? left : sizeof(payload),
			 MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0) {
			end_finish(x, strerrorname_np(errno));
			return -1;
		}
		x->sent += (uint64_t)n;
	}
	return 1;
}

/* 1: EOF, 0: nothing more now, -1: finished with an error. */
static int end_receive(struct end *x)
{
	static char sink[sizeof(payload)];
	ssize_t n;

	for (;;) {
		n = recv(x->io.fd, sink, sizeof(sink), 0);
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0) {
			/* The other end's reset is what was planned. */
			end_finish(x, strerrorname_np(errno));
			return -1;
		}
		if (!n)
			return 1;
		x->received += (uint64_t)n;
	}
}

/* What this end sent is acknowledged: nothing waits in the socket. */
static bool is_acked(const struct end *x)
{
	int waiting = 0;

	return ioctl(x->io.fd, SIOCOUTQ, &waiting) == 0 && !waiting;
}

/*
 * Everything is exchanged. One end resets when both have read everything and
 * all of it is acknowledged, so that both sockets' counters are exact.
 */
static void end_reset(struct end *x)
{
	struct linger hard = { .l_onoff = 1 };
	bool client = x->side->client;
	_Atomic bool *ours = client ? &x->e->client_ready : &x->e->server_ready;
	_Atomic bool *theirs = client ? &x->e->server_ready : &x->e->client_ready;
	int one = 1;

	/* Without this the last acknowledgement may take 40 ms. */
	setsockopt(x->io.fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
	if (is_acked(x))
		atomic_store(ours, true);
	if (!atomic_load(ours) || (is_resetter(x) && !atomic_load(theirs))) {
		end_pause(x, 1);
		return;
	}
	if (!is_resetter(x)) {
		loop_watch(&x->io, EPOLLIN); /* its reset comes now */
		return;
	}
	setsockopt(x->io.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	end_finish(x, "");
}

/* Moves an end as far as it goes now. May free it. */
static void end_pump(struct end *x)
{
	enum mode mode = x->e->mode;
	bool client = x->side->client, eof;
	int sent = 0, got;

	if (x->paused)
		return;
	if (x->connecting) {
		int error = 0;
		socklen_t len = sizeof(error);

		getsockopt(x->io.fd, SOL_SOCKET, SO_ERROR, &error, &len);
		if (error) {
			end_finish(x, strerrorname_np(error));
			return;
		}
		x->connecting = false;
	}
	if (x->slow_reader) {
		/* The orphan's bytes must still be on the way when it closes. */
		x->slow_reader = false;
		end_pause(x, 20);
		return;
	}
	got = end_receive(x);
	if (got < 0)
		return;
	eof = got == 1;
	if (may_send(x)) {
		sent = end_send(x);
		if (sent < 0 || x->paused)
			return;
	}
	if (sent && !x->shut && ((mode == HALF_CLOSE && client) || mode == SIMULTANEOUS)) {
		shutdown(x->io.fd, SHUT_WR);
		x->shut = true;
	}
	if (mode == RESET && sent && x->received == x->to_receive && !eof) {
		end_reset(x);
		return;
	}
	if (sent && (eof || (client && mode == ORPHAN) ||
		     (x->received == x->to_receive &&
		      ((client && (mode == NORMAL || mode == PREFORK)) ||
		       (!client && (mode == SERVER_FIRST || mode == HALF_CLOSE)))))) {
		/* A server that closes first must have seen the client's EOF in half-close. */
		if (!(mode == HALF_CLOSE && !client && !eof)) {
			end_finish(x, "");
			return;
		}
	} else if (eof && !sent && mode != HALF_CLOSE && mode != SIMULTANEOUS) {
		end_finish(x, "EOF");
		return;
	}
	if (loop_watch(&x->io, (eof ? 0 : EPOLLIN) | (may_send(x) && !sent ? EPOLLOUT : 0)) < 0)
		end_finish(x, "EPOLL");
}

static void on_io(void *arg, uint32_t events)
{
	(void)events;
	end_pump(arg);
}

static struct end *end_new(struct side *s, struct truth_entry *e, int fd)
{
	struct end *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->io = (struct loop_io){ .fd = fd, .events = EPOLLIN, .fn = on_io, .arg = x };
	x->timer = (struct loop_timer){ .fn = on_timer, .arg = x };
	x->side = s;
	x->e = e;
	x->to_send = s->client ? e->to_server : e->to_client;
	x->to_receive = s->client ? e->to_client : e->to_server;
	return x;
}

/* ------------------------------------------------------------------ client */

/* A socket that is connecting, as *ret. -EAGAIN: that port was no good, try another one. */
static int client_socket(struct side *s, uint32_t i, int *ret, int *ret_error)
{
	struct truth_entry *e = &s->truth->entries[i];
	union truth_addr to = s->to[e->family];
	_cleanup_close_ int fd = -1;
	int err, one = 1;

	fd = socket(to.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* TIME_WAIT of another tuple does not keep the port from us. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	err = truth_bind(s->truth, i, fd, &s->from[e->family], e->mode == REFUSED);
	if (err)
		return err;
	truth_set_port(&to, e->dport);
	*ret_error = connect(fd, &to.sa, truth_addr_len(&to)) < 0 ? errno : 0;
	if (*ret_error == EADDRNOTAVAIL) /* in TIME_WAIT since an earlier run */
		return -EAGAIN;
	*ret = TAKE_FD(fd);
	return 0;
}

static int client_connect(struct side *s, uint32_t i)
{
	int err, error = 0, fd = -1, tries = 1000;
	struct end *x;

	do
		err = client_socket(s, i, &fd, &error);
	while (err == -EAGAIN && --tries);
	if (err)
		return err;
	x = end_new(s, &s->truth->entries[i], fd);
	if (!x) {
		close(fd);
		return -ENOMEM;
	}
	s->live++;
	x->connecting = true;
	x->io.events = EPOLLOUT;
	if (error && error != EINPROGRESS) {
		end_finish(x, strerrorname_np(error));
		return 0;
	}
	return loop_add(s->loop, &x->io);
}

static void client_start_more(struct side *s)
{
	static bool busy;
	int err;

	if (busy)
		return;
	busy = true;
	while (s->next < s->truth->n && s->live < s->opts->parallel) {
		err = client_connect(s, s->next++);
		if (err) {
			log_error("connection %u: %s", s->next - 1, log_strerror(err));
			loop_stop(s->loop, 1);
			break;
		}
	}
	busy = false;
	if (s->next == s->truth->n && !s->live)
		loop_stop(s->loop, 0);
}

/* ------------------------------------------------------------------ server */

struct acceptor {
	struct loop_io io;
	struct side *side;
	unsigned family, port;
};

static void on_accept(void *arg, uint32_t events)
{
	struct acceptor *a = arg;
	union truth_addr peer;
	int one = 1, small = 4096;

	(void)events;
	for (;;) {
		socklen_t len = sizeof(peer);
		int fd = accept4(a->io.fd, &peer.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct truth_entry *e;
		struct end *x;

		if (fd < 0)
			return;
		e = truth_find(a->side->truth, a->family, a->port, &peer);
		x = e ? end_new(a->side, e, fd) : NULL;
		if (!x) {
			close_fd(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (e->mode == ORPHAN) {
			setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
			x->slow_reader = true;
		}
		if (loop_add(a->side->loop, &x->io) < 0)
			end_finish(x, "EPOLL");
		else
			end_pump(x);
	}
}

/* A closed port is bound but does not listen: nobody else can take it, and it refuses. */
static int open_port(const union truth_addr *addr, bool closed, uint16_t *ret_port)
{
	union truth_addr at = *addr;
	socklen_t len = truth_addr_len(addr);
	_cleanup_close_ int fd = -1;

	truth_set_port(&at, 0);
	fd = socket(at.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, &at.sa, len) < 0 || (!closed && listen(fd, 4096) < 0) ||
	    getsockname(fd, &at.sa, &len) < 0)
		return -errno;
	*ret_port = truth_port_of(&at);
	return TAKE_FD(fd);
}

static int server_listen(struct side *s)
{
	for (unsigned f = 0; f < 2; f++) {
		if (s->to[f].sa.sa_family == AF_UNSPEC)
			continue;
		for (unsigned p = 0; p < 2 * TRUTH_PORTS; p++) {
			int fd = open_port(&s->to[f], p >= TRUTH_PORTS, &s->truth->ports[f][p]);

			if (fd < 0)
				return fd;
			if (p < TRUTH_PORTS)
				s->listeners[f][p] = fd;
			/* The closed ones stay open as long as the process. */
		}
	}
	return 0;
}

static int server_run(struct side *s)
{
	static struct acceptor acceptors[2][TRUTH_PORTS];
	int err = loop_new(&s->loop);

	if (err)
		return err;
	for (unsigned f = 0; f < 2; f++) {
		if (s->to[f].sa.sa_family == AF_UNSPEC)
			continue;
		for (unsigned p = 0; p < TRUTH_PORTS; p++) {
			struct acceptor *a = &acceptors[f][p];

			*a = (struct acceptor){ .side = s, .family = f, .port = p };
			a->io = (struct loop_io){ .fd = s->listeners[f][p],
						  .fn = on_accept,
						  .arg = a };
			a->io.events = EPOLLIN | EPOLLEXCLUSIVE;
			err = loop_add(s->loop, &a->io);
			if (err)
				return err;
		}
	}
	return loop_run(s->loop); /* until it is killed */
}

/* ------------------------------------------------------------------ the run */

static void plan(struct truth *t, const struct options *o)
{
	uint64_t state = o->seed;
	unsigned modes[MODES] = { NORMAL }, n_modes = 0;

	for (unsigned m = 0; m < MODES; m++)
		if (o->modes[m])
			modes[n_modes++] = m;
	for (uint32_t i = 0; i < t->n; i++) {
		struct truth_entry *e = &t->entries[i];

		e->family = !o->v4 || (o->v6 && i % 2) ? TRUTH_V6 : TRUTH_V4;
		e->mode = (uint8_t)modes[truth_random(&state) % (n_modes ? n_modes : 1)];
		e->to_server = truth_size(&state, o->max_bytes);
		e->to_client = truth_size(&state, o->max_bytes);
		if (e->mode == REFUSED)
			e->to_server = e->to_client = 0;
		if (e->mode == ORPHAN)
			e->to_client = 0;
		/* The answer carries the acknowledgement of what it answers. */
		if (e->mode == RESET)
			e->to_client++;
	}
}

static bool is_right(const struct truth_entry *e)
{
	if (e->mode == REFUSED)
		return strcmp(e->error, "ECONNREFUSED") == 0 && !e->client_sent &&
		       !e->client_received;
	if (e->error[0] && !(e->mode == RESET && strcmp(e->error, "ECONNRESET") == 0))
		return false;
	return e->client_sent == e->to_server && e->client_received == e->to_client &&
	       e->server_received == e->to_server && e->server_sent == e->to_client;
}

static int write_truth(const struct truth *t, const struct options *o)
{
	const char *src[2] = { o->bind_v4 ? o->bind_v4 : o->v4, o->bind_v6 ? o->bind_v6 : o->v6 };
	const char *dst[2] = { o->v4, o->v6 };
	FILE *f = fopen(o->truth, "we");

	if (!f)
		return -errno;
	for (uint32_t i = 0; i < t->n; i++) {
		const struct truth_entry *e = &t->entries[i];

		fprintf(f,
			"{\"proto\":6,\"src\":\"%s\",\"sport\":%u,\"dst\":\"%s\",\"dport\":%u,"
			"\"sent\":%" PRIu64 ",\"received\":%" PRIu64
			",\"client_pid\":%u,\"server_pid\":%u,\"mode\":\"%s\",\"error\":\"%s\"}\n",
			src[e->family], e->sport, dst[e->family], e->dport, e->client_sent,
			e->client_received, e->client_pid, e->server_pid, mode_names[e->mode],
			e->error);
	}
	return fclose(f) ? -errno : 0;
}

/* A child that does not outlive us. */
static pid_t spawn(const char *netns, int (*fn)(struct side *), struct side *s)
{
	pid_t pid = fork();
	int err;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	err = netns ? truth_enter_netns(netns) : 0;
	if (err)
		log_error("network namespace %s: %s", netns, log_strerror(err));
	else
		err = fn(s);
	if (err)
		log_error("%s: %s", s->client ? "client" : "server", log_strerror(err));
	_exit(err ? 1 : 0);
}

/* Listens, then serves, or lets the workers do so. */
static int server_main(struct side *s)
{
	int err = server_listen(s);

	if (err)
		return err;
	if (s->opts->modes[PREFORK])
		for (uint32_t i = 0; i < s->opts->workers; i++)
			if (spawn(NULL, server_run, s) < 0)
				return -errno;
	if (write(s->ready_fd, "", 1) != 1)
		return -errno;
	if (!s->opts->modes[PREFORK])
		return server_run(s);
	for (;;)
		pause();
}

static int client_main(struct side *s)
{
	int err = loop_new(&s->loop);

	if (err)
		return err;
	client_start_more(s);
	return s->next == s->truth->n && !s->live ? 0 : loop_run(s->loop);
}

/* Waits for the client's end, then for the servers' last bytes. */
static int await(struct truth *t, pid_t client, uint32_t servers_expected, uint32_t timeout_s)
{
	uint64_t until_ms = clock_mono_ms() + timeout_s * 1000ull;
	int status = -1;
	pid_t done = 0;

	while (clock_mono_ms() < until_ms) {
		if (!done)
			done = waitpid(client, &status, WNOHANG);
		if (done && (!WIFEXITED(status) || WEXITSTATUS(status)))
			return -ECHILD;
		if (done && atomic_load(&t->servers_done) >= servers_expected)
			return 0;
		usleep(1000);
	}
	return -ETIMEDOUT;
}

static int run(const struct options *o)
{
	struct truth *t = truth_new(o->connections);
	struct side server = { .opts = o }, client = { .opts = o, .client = true };
	uint32_t wrong = 0, servers = 0;
	uint64_t sent = 0, received = 0;
	int ready[2], err;
	pid_t server_pid, client_pid;
	char byte;

	if (!t)
		return -ENOMEM;
	plan(t, o);
	for (uint32_t i = 0; i < t->n; i++)
		servers += t->entries[i].mode != REFUSED;
	server.truth = client.truth = t;
	server.done = &t->servers_done;
	client.done = &t->clients_done;
	for (unsigned f = 0; f < 2; f++) {
		const char *to = f ? o->v6 : o->v4, *from = f ? o->bind_v6 : o->bind_v4;

		if (!to)
			continue;
		if (!truth_parse_addr(to, 0, &server.to[f]) ||
		    !truth_parse_addr(from ? from : to, 0, &client.from[f])) {
			log_error("not an address: %s", from ? from : to);
			return -EINVAL;
		}
		client.to[f] = server.to[f];
	}

	if (pipe2(ready, O_CLOEXEC) < 0)
		return -errno;
	server.ready_fd = ready[1];
	server_pid = spawn(o->server_netns, server_main, &server);
	if (server_pid < 0)
		return -errno;
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		return -ECHILD;
	client_pid = spawn(o->client_netns, client_main, &client);
	if (client_pid < 0)
		return -errno;
	err = await(t, client_pid, servers, o->timeout_s);
	/* Its workers die with it (PR_SET_PDEATHSIG). */
	kill(server_pid, SIGKILL);
	kill(client_pid, SIGKILL);
	waitpid(server_pid, NULL, 0);

	for (uint32_t i = 0; i < t->n; i++) {
		const struct truth_entry *e = &t->entries[i];

		sent += e->client_sent;
		received += e->client_received;
		if (is_right(e))
			continue;
		if (wrong++ < 10)
			log_warning("%s port %u to %u: planned %u/%u, client %" PRIu64 "/%" PRIu64
				    ", server %" PRIu64 "/%" PRIu64 ", error \"%s\"",
				    mode_names[e->mode], e->sport, e->dport, e->to_server,
				    e->to_client, e->client_sent, e->client_received,
				    e->server_received, e->server_sent, e->error);
	}
	printf("{\"connections\":%u,\"sent\":%" PRIu64 ",\"received\":%" PRIu64 ",\"wrong\":%u}\n",
	       t->n, sent, received, wrong);
	if (err) {
		log_error("%u of %u clients and %u of %u servers finished: %s",
			  atomic_load(&t->clients_done), t->n, atomic_load(&t->servers_done),
			  servers, log_strerror(err));
		return err;
	}
	if (o->truth)
		err = write_truth(t, o);
	if (err)
		log_error("%s: %s", o->truth, log_strerror(err));
	return err ? err : wrong ? -EBADMSG : 0;
}

static bool parse_modes(const char *text, bool modes[MODES])
{
	memset(modes, 0, sizeof(bool) * MODES);
	while (*text) {
		size_t n = strcspn(text, ",");
		bool found = false;

		for (unsigned m = 0; m < MODES; m++) {
			/* Workers accept whatever comes, so that mode stands for itself. */
			bool all = n == 3 && strncmp(text, "all", 3) == 0 && m != PREFORK;

			if (all ||
			    (strlen(mode_names[m]) == n && strncmp(text, mode_names[m], n) == 0))
				modes[m] = found = true;
		}
		if (!found)
			return false;
		text += n + (text[n] == ',');
	}
	return true;
}

static uint32_t number(const char *text, uint32_t min, uint32_t max)
{
	char *end;
	unsigned long long n = strtoull(text, &end, 10);

	if (end == text || *end || n < min || n > max) {
		log_error("\"%s\" is not a number from %u to %u", text, min, max);
		exit(2);
	}
	return (uint32_t)n;
}

static void raise_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

int main(int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "connections", 1, NULL, 'n' },
		{ "parallel", 1, NULL, 'p' },
		{ "max-bytes", 1, NULL, 'b' },
		{ "seed", 1, NULL, 's' },
		{ "mode", 1, NULL, 'm' },
		{ "v4", 1, NULL, '4' },
		{ "v6", 1, NULL, '6' },
		{ "bind-v4", 1, NULL, 'B' },
		{ "bind-v6", 1, NULL, 'C' },
		{ "client-netns", 1, NULL, 'c' },
		{ "server-netns", 1, NULL, 'r' },
		{ "pause-ms", 1, NULL, 'w' },
		{ "workers", 1, NULL, 'k' },
		{ "timeout", 1, NULL, 't' },
		{ "truth", 1, NULL, 'o' },
		{ "help", 0, NULL, 'h' },
		{ 0 },
	};
	struct options o = { .v4 = "127.0.0.1",
			     .v6 = "::1",
			     .connections = 1000,
			     .parallel = 64,
			     .max_bytes = 65536,
			     .seed = 1,
			     .workers = 4,
			     .timeout_s = 60,
			     .modes = { [NORMAL] = true } };
	int c;

	log_set_name("tcpgen");
	while ((c = getopt_long(argc, argv, "h", longopts, NULL)) != -1) {
		switch (c) {
		case 'n':
			o.connections = number(optarg, 1, TRUTH_MAX_ENTRIES);
			break;
		case 'p':
			o.parallel = number(optarg, 1, 100000);
			break;
		case 'b':
			o.max_bytes = number(optarg, 0, 1u << 30);
			break;
		case 's':
			o.seed = strtoull(optarg, NULL, 10);
			break;
		case 'm':
			if (!parse_modes(optarg, o.modes)) {
				log_error("--mode: \"%s\"; --help names them", optarg);
				return 2;
			}
			break;
		case '4':
			o.v4 = *optarg ? optarg : NULL;
			break;
		case '6':
			o.v6 = *optarg ? optarg : NULL;
			break;
		case 'B':
			o.bind_v4 = optarg;
			break;
		case 'C':
			o.bind_v6 = optarg;
			break;
		case 'c':
			o.client_netns = optarg;
			break;
		case 'r':
			o.server_netns = optarg;
			break;
		case 'w':
			o.pause_ms = number(optarg, 0, 600000);
			break;
		case 'k':
			o.workers = number(optarg, 1, 64);
			break;
		case 't':
			o.timeout_s = number(optarg, 1, 86400);
			break;
		case 'o':
			o.truth = optarg;
			break;
		case 'h':
			fputs(help, stdout);
			return 0;
		default:
			return 2;
		}
	}
	if (optind < argc || (!o.v4 && !o.v6)) {
		log_error("nothing to do; see --help");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	raise_files();
	return run(&o) ? EXIT_FAILURE : EXIT_SUCCESS;
}
