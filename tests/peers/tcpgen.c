/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP whose every byte is known: a server process and a client process make N
 * connections with sizes from a seed, and the truth file says what each of
 * them was. Both ends count for themselves, and must agree.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <linux/close_range.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/peers/tcpgen_ways.h"
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
	RESET_UNREAD,
	RESET_FLIGHT,
	FORK,
	PASSED,
	SENDFILE,
	URING,
	FAST_OPEN,
	MAPPED,
	REUSED,
	/* From here on each stands for itself: --mode all is without them. */
	PREFORK,
	REUSEPORT,
	MPTCP,
	TIMED_OUT,
	MODES
};

static const char *const mode_names[MODES] = {
	[NORMAL] = "normal",
	[SERVER_FIRST] = "server-first",
	[HALF_CLOSE] = "half-close",
	[REFUSED] = "refused",
	[RESET] = "reset",
	[SIMULTANEOUS] = "simultaneous",
	[ORPHAN] = "orphan",
	[RESET_UNREAD] = "reset-unread",
	[RESET_FLIGHT] = "reset-flight",
	[FORK] = "fork",
	[PASSED] = "passed",
	[SENDFILE] = "sendfile",
	[URING] = "io-uring",
	[FAST_OPEN] = "fast-open",
	[MAPPED] = "mapped",
	[REUSED] = "reused",
	[PREFORK] = "prefork",
	[REUSEPORT] = "reuseport",
	[MPTCP] = "mptcp",
	[TIMED_OUT] = "timed-out",
};

#define REUSED_ROUNDS	   3
#define FLIGHT_BYTES	   300000 /* more than fits into the sockets' buffers */
#define UNREAD_BYTES	   32768  /* fits */
#define LOST_RESET_MS	   2000
#define PROTOCOL_MPTCP	   262
#define FASTOPEN_NO_COOKIE 34

struct options {
	const char *v4, *v6;	       /* the server's; NULL: not this family */
	const char *bind_v4, *bind_v6; /* the client's; NULL: the server's */
	const char *hole_v4, *hole_v6; /* nobody answers there */
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
	"  --mode M[,M...]     those below; all: those that need no run of their own (normal)\n"
	"  --v4 ADDR --v6 ADDR the server's addresses; \"\": not this family (127.0.0.1, ::1)\n"
	"  --bind-v4, --bind-v6 ADDR  the client's, if they are others\n"
	"  --hole-v4, --hole-v6 ADDR  where nobody answers, for timed-out\n"
	"  --client-netns, --server-netns NAME  where each of them lives\n"
	"  --pause-ms MS       the client pauses after half of its bytes\n"
	"  --workers N         processes that accept, for prefork and reuseport (4)\n"
	"  --timeout S         give up (60)\n"
	"  --truth FILE        where the truth goes\n\n"
	"normal        the client sends, the server answers, the client closes\n"
	"server-first  the server sends, the client answers, the server closes\n"
	"half-close    the client sends and shuts down, the server answers to EOF\n"
	"refused       nobody listens\n"
	"reset         as normal, but one end resets when all is acknowledged\n"
	"simultaneous  both send at once, both shut down, both read to EOF\n"
	"orphan        the client closes while its bytes are still on the way\n"
	"reset-unread  as reset, but by closing with half of the client's bytes unread\n"
	"reset-flight  nobody reads, and one end resets with bytes on the way: the truth\n"
	"              has what was written, and how much of it arrived nobody knows\n"
	"fork          as normal; a process is forked for each accepted connection\n"
	"passed        as normal; both ends pass their socket to another process\n"
	"sendfile      as normal, by sendfile() and splice()\n"
	"io-uring      as normal, by io_uring\n"
	"fast-open     as normal; the SYN carries data (in namespaces of its own)\n"
	"mapped        as normal, IPv4 through IPv6 sockets\n"
	"reused        as server-first, three times, from TIME_WAIT to the next\n"
	"Each in a run of its own:\n"
	"prefork       as normal; the listener was made by another process than accepts\n"
	"reuseport     as normal; each worker has listeners of its own, on the same ports\n"
	"mptcp         as normal, by MPTCP\n"
	"timed-out     to --hole-v4 and --hole-v6, with one retry of the SYN\n";

/* ------------------------------------------------------------------ one end */

struct side {
	struct loop *loop;
	struct truth *truth;
	const struct options *opts;
	bool client;
	uint32_t next, live; /* client: the next entry to start, connections open */
	union truth_addr to[2], from[2];
	union truth_addr hole[2];
	_Atomic uint32_t *done;
	int listeners[2][TRUTH_PORTS];
	int ready_fd; /* server: says so here when it listens */
	uint32_t listener_pid;
	int worker[2]; /* passed: what one process writes the other one reads */
	bool is_worker, is_single;
};

/* A connection, seen from one end. */
struct end {
	struct loop_io io;
	struct loop_timer timer;
	struct side *side;
	struct truth_entry *e;
	uint64_t to_send, to_receive; /* planned */
	uint64_t sent, received;
	uint32_t round;
	bool connecting, paused_once, paused, shut, slow_reader, waits_for_reset, is_blocked;
};

static char payload[WAY_BYTES];

static void end_pump(struct end *x);
static void client_start_more(struct side *s);
static int client_connect(struct side *s, uint32_t i, uint32_t round);

/* What it does, whatever it does it by. */
static enum mode manner(const struct truth_entry *e)
{
	switch (e->mode) {
	case REUSED:
		return SERVER_FIRST;
	case RESET_UNREAD:
		return RESET;
	case FORK:
	case PASSED:
	case SENDFILE:
	case URING:
	case FAST_OPEN:
	case MAPPED:
	case PREFORK:
	case REUSEPORT:
	case MPTCP:
		return NORMAL;
	default:
		return (enum mode)e->mode;
	}
}

static bool has_server(const struct truth_entry *e)
{
	return e->mode != REFUSED && e->mode != TIMED_OUT;
}

static bool is_resetter(const struct end *x)
{
	if (x->e->mode == RESET_UNREAD)
		return !x->side->client;
	/* Each end in turn, of either family. */
	return x->side->client == !((x->e - x->side->truth->entries) & 2);
}

static void end_finish(struct end *x, const char *error)
{
	struct side *s = x->side;
	struct truth_entry *e = x->e;
	uint32_t round = x->round + 1, i = (uint32_t)(e - s->truth->entries);
	bool again = s->client && round < e->rounds && !*error;

	if (s->client) {
		struct tcp_info info = { 0 };
		socklen_t len = sizeof(info);

		e->client_pid = (uint32_t)getpid();
		e->client_sent += x->sent;
		e->client_received += x->received;
		snprintf(e->error, sizeof(e->error), "%s", error);
		if (e->mode == FAST_OPEN &&
		    getsockopt(x->io.fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0)
			atomic_fetch_add(&s->truth->fast_opened,
					 !!(info.tcpi_options & TCPI_OPT_SYN_DATA));
		if (!s->is_worker)
			s->live--;
	} else {
		e->server_sent += x->sent;
		e->server_received += x->received;
		e->server_pid = (uint32_t)getpid();
		e->server_opener = s->listener_pid;
	}
	loop_del(&x->io);
	loop_timer_cancel(&x->timer);
	close_fd(x->io.fd);
	free(x);
	if (again && client_connect(s, i, round) == 0)
		return;
	atomic_fetch_add(s->done, 1);
	if (s->is_single)
		loop_stop(s->loop, 0);
	else if (s->client && !s->is_worker)
		client_start_more(s);
}

/* Ends it here and now: nothing that waits is sent, and the other end is told. */
static void end_abort(struct end *x)
{
	struct linger hard = { .l_onoff = 1 };

	setsockopt(x->io.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	end_finish(x, "");
}

static void on_timer(void *arg, uint64_t now_ms)
{
	struct end *x = arg;

	(void)now_ms;
	x->paused = false;
	if (x->waits_for_reset)
		end_abort(x); /* it was lost on the way */
	else
		end_pump(x);
}

/* Nothing more to do here but to be reset. */
static void end_await_reset(struct end *x, uint32_t events)
{
	loop_watch(&x->io, events);
	if (x->waits_for_reset)
		return;
	x->waits_for_reset = true;
	loop_timer_set(x->side->loop, &x->timer, loop_now_ms(x->side->loop) + LOST_RESET_MS);
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
	enum mode mode = manner(x->e);
	bool first = x->side->client;

	if (mode == SIMULTANEOUS || mode == ORPHAN || mode == RESET_FLIGHT)
		return true;
	if (mode == SERVER_FIRST)
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
		left = left < sizeof(payload) ? left : sizeof(payload);
		if (x->e->mode == SENDFILE)
			n = way_sendfile(x->io.fd, left);
		else if (x->e->mode == URING)
			n = way_uring(true, x->io.fd, payload, left);
		else
			n = send(x->io.fd, payload, left, MSG_NOSIGNAL);
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
		size_t most = sizeof(sink);

		if (x->e->mode == RESET_UNREAD && most > x->to_receive - x->received)
			most = x->to_receive - x->received;
		if (!most)
			return 0;
		if (x->e->mode == SENDFILE)
			n = way_splice(x->io.fd, most);
		else if (x->e->mode == URING)
			n = way_uring(false, x->io.fd, sink, most);
		else
			n = recv(x->io.fd, sink, most, 0);
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

/* All that the other end sends is here, read or not. */
static bool is_here(const struct end *x)
{
	uint64_t planned = x->side->client ? x->e->to_client : x->e->to_server;
	int waiting = 0;

	return ioctl(x->io.fd, SIOCINQ, &waiting) == 0 &&
	       x->received + (uint64_t)waiting == planned;
}

/*
 * Everything is exchanged. One end resets when both have read everything and
 * all of it is acknowledged, so that both sockets' counters are exact.
 */
static void end_reset(struct end *x)
{
	bool client = x->side->client;
	_Atomic bool *ours = client ? &x->e->client_ready : &x->e->server_ready;
	_Atomic bool *theirs = client ? &x->e->server_ready : &x->e->client_ready;
	int one = 1;

	/* Without this the last acknowledgement may take 40 ms. */
	setsockopt(x->io.fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
	if (is_acked(x) && is_here(x))
		atomic_store(ours, true);
	if (!atomic_load(ours) || (is_resetter(x) && !atomic_load(theirs))) {
		end_pause(x, 1);
		return;
	}
	if (!is_resetter(x))
		end_await_reset(x, EPOLLIN);
	else if (x->e->mode == RESET_UNREAD)
		end_finish(x, ""); /* what is unread makes it a reset */
	else
		end_abort(x);
}

/* Nobody reads; one end is cut off with what it has sent still on the way. */
static void end_cut(struct end *x)
{
	int error = 0;
	socklen_t len = sizeof(error);

	getsockopt(x->io.fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (!x->side->client)
		atomic_store(&x->e->server_ready, true);
	if (error)
		end_finish(x, strerrorname_np(error));
	else if (end_send(x) < 0)
		return;
	else if (!atomic_load(&x->e->server_ready))
		end_pause(x, 1); /* one that was reset before would not be accepted */
	else if (is_resetter(x))
		end_abort(x);
	else
		end_await_reset(x, 0);
}

/* The client's socket is connected: another process is to use it. */
static void end_pass(struct end *x)
{
	struct side *s = x->side;
	struct truth_entry *e = x->e;
	int fd = x->io.fd, err;

	loop_del(&x->io);
	err = hand_on(s->worker[0], (uint32_t)(e - s->truth->entries), fd);
	close(fd);
	atomic_fetch_or(&e->handed_on, 2);
	if (err) {
		snprintf(e->error, sizeof(e->error), "%s", strerrorname_np(-err));
		atomic_fetch_add(s->done, 1);
	}
	free(x);
	s->live--;
	client_start_more(s);
}

/* Moves an end as far as it goes now. May free it. */
static void end_pump(struct end *x)
{
	enum mode mode = manner(x->e);
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
		if (x->e->mode == PASSED) {
			end_pass(x);
			return;
		}
	}
	if (mode == RESET_FLIGHT) {
		end_cut(x);
		return;
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
		      ((client && mode == NORMAL) ||
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
	if (e->mode == RESET_UNREAD && !s->client)
		x->to_receive /= 2;
	return x;
}

/* A worker of either side: its ends are sockets that another process has made. */
struct passed {
	struct loop_io io;
	struct side *side;
};

static void on_passed(void *arg, uint32_t events)
{
	struct passed *p = arg;
	uint32_t i;
	int fd;

	(void)events;
	while ((fd = take_over(p->side->worker[1], &i)) >= 0) {
		struct truth_entry *e = &p->side->truth->entries[i];
		struct end *x = end_new(p->side, e, fd);

		if (!x) {
			close(fd);
			continue;
		}
		/* The one that closes last is this process. */
		while (!(atomic_load(&e->handed_on) & (p->side->client ? 2 : 1)))
			usleep(10);
		if (loop_add(p->side->loop, &x->io) < 0)
			end_finish(x, "EPOLL");
		else
			end_pump(x);
	}
}

static int worker_main(struct side *s)
{
	static struct passed p;
	int err = loop_new(&s->loop);

	if (err)
		return err;
	s->is_worker = true;
	close(s->worker[0]);
	p.side = s;
	p.io = (struct loop_io){
		.fd = s->worker[1], .events = EPOLLIN, .fn = on_passed, .arg = &p
	};
	err = loop_add(s->loop, &p.io);
	return err ? err : loop_run(s->loop); /* until it is killed */
}

/* ------------------------------------------------------------------ client */

static void map_v4(union truth_addr *a)
{
	struct in_addr v4 = a->v4.sin_addr;
	in_port_t port = a->v4.sin_port;

	*a = (union truth_addr){ .v6 = { .sin6_family = AF_INET6, .sin6_port = port } };
	a->v6.sin6_addr.s6_addr[10] = a->v6.sin6_addr.s6_addr[11] = 0xff;
	memcpy(&a->v6.sin6_addr.s6_addr[12], &v4, sizeof(v4));
}

/* Connects with data in the SYN: how many bytes were taken, or -1 and errno. */
static ssize_t connect_with_data(int fd, const union truth_addr *to, uint32_t n)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, FASTOPEN_NO_COOKIE, &one, sizeof(one));
	if (!n)
		return connect(fd, &to->sa, truth_addr_len(to));
	return sendto(fd, payload, n < sizeof(payload) ? n : sizeof(payload),
		      MSG_FASTOPEN | MSG_NOSIGNAL, &to->sa, truth_addr_len(to));
}

/* A socket that is connecting, as *ret. -EAGAIN: that port was no good, try another one. */
static int client_socket(struct side *s, uint32_t i, uint32_t round, int *ret, uint64_t *ret_sent,
			 int *ret_error)
{
	struct truth_entry *e = &s->truth->entries[i];
	union truth_addr to = e->mode == TIMED_OUT ? s->hole[e->family] : s->to[e->family];
	union truth_addr from = s->from[e->family];
	_cleanup_close_ int fd = -1;
	int err, one = 1;
	ssize_t n;

	if (e->mode == MAPPED && e->family == TRUTH_V4) {
		map_v4(&to);
		map_v4(&from);
	}
	fd = socket(to.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
		    e->mode == MPTCP ? PROTOCOL_MPTCP : 0);
	if (fd < 0)
		return -errno;
	/* TIME_WAIT of another tuple does not keep the port from us. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (e->mode == TIMED_OUT)
		setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &one, sizeof(one));
	if (round) {
		truth_set_port(&from, e->sport);
		err = bind(fd, &from.sa, truth_addr_len(&from)) < 0 ? -errno : 0;
	} else {
		err = truth_bind(s->truth, i, fd, &from, !has_server(e));
	}
	if (err)
		return err;
	truth_set_port(&to, e->dport);
	if (e->mode == FAST_OPEN)
		n = connect_with_data(fd, &to, e->to_server);
	else
		n = connect(fd, &to.sa, truth_addr_len(&to));
	*ret_error = n < 0 ? errno : 0;
	*ret_sent = n > 0 ? (uint64_t)n : 0;
	if (*ret_error == EADDRNOTAVAIL) { /* in TIME_WAIT since an earlier run, */
		if (round)
			usleep(2000); /* or its own last FIN was lost, and is sent again */
		return -EAGAIN;
	}
	e->client_opener = (uint32_t)getpid();
	*ret = TAKE_FD(fd);
	return 0;
}

static int client_connect(struct side *s, uint32_t i, uint32_t round)
{
	int err, error = 0, fd = -1, tries = 1000;
	uint64_t sent = 0;
	struct end *x;

	do
		err = client_socket(s, i, round, &fd, &sent, &error);
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
	x->sent = sent;
	x->round = round;
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
		err = client_connect(s, s->next++, 0);
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

/* A process for this connection alone. The parent waits until it has nothing of its own. */
static void fork_for(struct side *s, struct truth_entry *e, int fd)
{
	pid_t pid = fork();

	if (!pid) {
		struct end *x;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (dup3(fd, 3, O_CLOEXEC) < 0 || close_range(4, ~0u, 0) < 0)
			_exit(1);
		atomic_fetch_or(&e->handed_on, 4);
		s->is_single = true;
		if (loop_new(&s->loop) < 0 || !(x = end_new(s, e, 3)) ||
		    loop_add(s->loop, &x->io) < 0)
			_exit(1);
		while (!(atomic_load(&e->handed_on) & 1))
			usleep(10);
		end_pump(x);
		loop_run(s->loop);
		_exit(0);
	}
	while (pid > 0 && !(atomic_load(&e->handed_on) & 4))
		usleep(10);
	close_fd(fd);
	atomic_fetch_or(&e->handed_on, 1);
}

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
		if (e && e->mode == FORK) {
			fork_for(a->side, e, fd);
			continue;
		}
		if (e && e->mode == PASSED) {
			hand_on(a->side->worker[0], (uint32_t)(e - a->side->truth->entries), fd);
			close(fd);
			atomic_fetch_or(&e->handed_on, 1);
			continue;
		}
		x = e ? end_new(a->side, e, fd) : NULL;
		if (!x) {
			close_fd(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (e->mode == ORPHAN || e->mode == RESET_FLIGHT) {
			setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
			x->slow_reader = true;
		}
		if (loop_add(a->side->loop, &x->io) < 0)
			end_finish(x, "EPOLL");
		else
			end_pump(x);
	}
}

/*
 * A closed port is bound but does not listen: nobody else can take it, and it
 * refuses. *port: that one, or if it is 0 any, which it then is.
 */
static int open_port(const struct options *o, const union truth_addr *addr, bool closed,
		     uint16_t *port)
{
	union truth_addr at = *addr;
	socklen_t len = truth_addr_len(addr);
	_cleanup_close_ int fd = -1;
	int one = 1, many = 1024;

	truth_set_port(&at, *port);
	fd = socket(at.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
		    o->modes[MPTCP] ? PROTOCOL_MPTCP : 0);
	if (fd < 0)
		return -errno;
	if (o->modes[REUSEPORT])
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (o->modes[FAST_OPEN]) {
		setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &many, sizeof(many));
		setsockopt(fd, IPPROTO_TCP, FASTOPEN_NO_COOKIE, &one, sizeof(one));
	}
	if (bind(fd, &at.sa, len) < 0 || (!closed && listen(fd, 4096) < 0) ||
	    getsockname(fd, &at.sa, &len) < 0)
		return -errno;
	*port = truth_port_of(&at);
	return TAKE_FD(fd);
}

/* only_take: the ports are taken, but who listens there is somebody else. */
static int server_listen(struct side *s, bool only_take)
{
	s->listener_pid = (uint32_t)getpid();
	for (unsigned f = 0; f < 2; f++) {
		if (s->to[f].sa.sa_family == AF_UNSPEC)
			continue;
		for (unsigned p = 0; p < 2 * TRUTH_PORTS; p++) {
			union truth_addr at = s->to[f];
			int fd;

			if (s->opts->modes[MAPPED] && f == TRUTH_V4 && p % 2)
				map_v4(&at);
			fd = open_port(s->opts, &at, only_take || p >= TRUTH_PORTS,
				       &s->truth->ports[f][p]);
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
		if (e->mode == MAPPED && o->v4)
			e->family = TRUTH_V4;
		if (!has_server(e))
			e->to_server = e->to_client = 0;
		e->rounds = e->mode == REUSED ? REUSED_ROUNDS : 1;
		if (e->mode == RESET_FLIGHT) {
			e->to_server = (uint32_t)(truth_random(&state) % FLIGHT_BYTES);
			e->to_client = (uint32_t)(truth_random(&state) % FLIGHT_BYTES);
		}
		if (e->mode == RESET_UNREAD)
			e->to_server = 2 + e->to_server % UNREAD_BYTES;
		if (e->mode == ORPHAN)
			e->to_client = 0;
		/* The answer carries the acknowledgement of what it answers. */
		if (manner(e) == RESET)
			e->to_client++;
	}
}

static bool is_right(const struct truth_entry *e)
{
	uint64_t up = (uint64_t)e->to_server * e->rounds, down = (uint64_t)e->to_client * e->rounds;
	uint64_t up_read = e->mode == RESET_UNREAD ? up / 2 : up;

	if (!has_server(e))
		return strcmp(e->error, e->mode == REFUSED ? "ECONNREFUSED" : "ETIMEDOUT") == 0 &&
		       !e->client_sent && !e->client_received;
	if (e->mode == RESET_FLIGHT)
		return true;
	if (e->error[0] && !(manner(e) == RESET && strcmp(e->error, "ECONNRESET") == 0))
		return false;
	return e->client_sent == up && e->client_received == down &&
	       e->server_received == up_read && e->server_sent == down;
}

static int write_truth(const struct truth *t, const struct options *o)
{
	const char *src[2] = { o->bind_v4 ? o->bind_v4 : o->v4, o->bind_v6 ? o->bind_v6 : o->v6 };
	const char *dst[2] = { o->v4, o->v6 }, *hole[2] = { o->hole_v4, o->hole_v6 };
	FILE *f = fopen(o->truth, "we");

	if (!f)
		return -errno;
	for (uint32_t i = 0; i < t->n; i++) {
		const struct truth_entry *e = &t->entries[i];

		fprintf(f,
			"{\"proto\":6,\"src\":\"%s\",\"sport\":%u,\"dst\":\"%s\",\"dport\":%u,"
			"\"sent\":%" PRIu64 ",\"received\":%" PRIu64 ",\"server_sent\":%" PRIu64
			",\"server_received\":%" PRIu64
			",\"client_pid\":%u,\"client_opener\":%u,\"server_pid\":%u,\"server_opener\":%u"
			",\"flows\":%u,\"mode\":\"%s\",\"error\":\"%s\"}\n",
			src[e->family], e->sport,
			e->mode == TIMED_OUT ? hole[e->family] : dst[e->family], e->dport,
			e->client_sent, e->client_received, e->server_sent, e->server_received,
			e->client_pid, e->client_opener, e->server_pid, e->server_opener, e->rounds,
			mode_names[e->mode], e->error);
	}
	return fclose(f) ? -errno : 0;
}

/* Both roles, in our own network namespace. */
static int allow_fast_open(void)
{
	_cleanup_close_ int fd = open("/proc/sys/net/ipv4/tcp_fastopen", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "3", 1) != 1) {
		log_error("/proc/sys/net/ipv4/tcp_fastopen: %s", log_strerror(errno));
		return -errno;
	}
	return 0;
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
	else if (netns && s->opts->modes[FAST_OPEN])
		err = allow_fast_open();
	if (err)
		;
	else
		err = fn(s);
	if (err)
		log_error("%s: %s", s->client ? "client" : "server", log_strerror(err));
	_exit(err ? 1 : 0);
}

/* One of those that each have their own listeners. */
static int reuseport_main(struct side *s)
{
	int err = server_listen(s, false);

	if (err)
		return err;
	if (write(s->ready_fd, "", 1) != 1)
		return -errno;
	return server_run(s);
}

/* Listens, then serves, or lets the workers do so. */
static int server_main(struct side *s)
{
	bool reuseport = s->opts->modes[REUSEPORT], workers = reuseport || s->opts->modes[PREFORK];
	int err = server_listen(s, reuseport);

	if (err)
		return err;
	signal(SIGCHLD, SIG_IGN);
	for (uint32_t i = 0; workers && i < s->opts->workers; i++)
		if (spawn(NULL, reuseport ? reuseport_main : server_run, s) < 0)
			return -errno;
	if (!reuseport && write(s->ready_fd, "", 1) != 1)
		return -errno;
	if (!workers)
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
		if (done && atomic_load(&t->clients_done) >= t->n &&
		    atomic_load(&t->servers_done) >= servers_expected)
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
	pid_t server_pid, client_pid, worker_pids[2] = { -1, -1 };
	char byte;

	if (!t)
		return -ENOMEM;
	plan(t, o);
	for (uint32_t i = 0; i < t->n; i++)
		servers += has_server(&t->entries[i]) ? t->entries[i].rounds : 0;
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
		to = f ? o->hole_v6 : o->hole_v4;
		if (o->modes[TIMED_OUT] && (!to || !truth_parse_addr(to, 0, &client.hole[f]))) {
			log_error("timed-out: not an address: --hole-v%c", f ? '6' : '4');
			return -EINVAL;
		}
	}

	if (pipe2(ready, O_CLOEXEC) < 0)
		return -errno;
	server.ready_fd = ready[1];
	for (int i = 0; o->modes[PASSED] && i < 2; i++) {
		struct side *s = i ? &client : &server;

		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s->worker) < 0)
			return -errno;
		s->listener_pid = 0;
	}
	server_pid = spawn(o->server_netns, server_main, &server);
	if (server_pid < 0)
		return -errno;
	close(ready[1]);
	for (uint32_t i = o->modes[REUSEPORT] ? o->workers : 1; i; i--)
		if (read(ready[0], &byte, 1) != 1)
			return -ECHILD;
	server.listener_pid = (uint32_t)server_pid;
	for (int i = 0; o->modes[PASSED] && i < 2; i++) {
		worker_pids[i] = spawn(i ? o->client_netns : o->server_netns, worker_main,
				       i ? &client : &server);
		if (worker_pids[i] < 0)
			return -errno;
	}
	client_pid = spawn(o->client_netns, client_main, &client);
	if (client_pid < 0)
		return -errno;
	err = await(t, client_pid, servers, o->timeout_s);
	/* Its workers die with it (PR_SET_PDEATHSIG). */
	kill(server_pid, SIGKILL);
	kill(client_pid, SIGKILL);
	for (int i = 0; i < 2; i++)
		if (worker_pids[i] > 0)
			kill(worker_pids[i], SIGKILL);
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
	printf("{\"connections\":%u,\"sent\":%" PRIu64 ",\"received\":%" PRIu64
	       ",\"wrong\":%u,\"fast_opened\":%u}\n",
	       t->n, sent, received, wrong, atomic_load(&t->fast_opened));
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
			bool all = n == 3 && strncmp(text, "all", 3) == 0 && m < PREFORK;

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

/* Leaves out what this kernel does not have, and says so. False: nothing is left. */
static bool drop_missing_modes(bool modes[MODES])
{
	int err = modes[URING] ? uring_try() : 0, fd = -1;
	bool any = false;

	if (err) {
		log_warning("io-uring: %s; left out", log_strerror(err));
		modes[URING] = false;
	}
	if (modes[MPTCP]) {
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, PROTOCOL_MPTCP);
		if (fd < 0) {
			log_warning("mptcp: %s; left out", log_strerror(errno));
			modes[MPTCP] = false;
		}
		close_fd(fd);
	}
	for (unsigned m = 0; m < MODES; m++)
		any |= modes[m];
	return any;
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
		{ "hole-v4", 1, NULL, 'H' },
		{ "hole-v6", 1, NULL, 'I' },
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
			o.connections = truth_number(optarg, NULL, 1, TRUTH_MAX_ENTRIES);
			break;
		case 'p':
			o.parallel = truth_number(optarg, NULL, 1, 100000);
			break;
		case 'b':
			o.max_bytes = truth_number(optarg, NULL, 0, 1u << 30);
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
		case 'H':
			o.hole_v4 = optarg;
			break;
		case 'I':
			o.hole_v6 = optarg;
			break;
		case 'c':
			o.client_netns = optarg;
			break;
		case 'r':
			o.server_netns = optarg;
			break;
		case 'w':
			o.pause_ms = truth_number(optarg, NULL, 0, 600000);
			break;
		case 'k':
			o.workers = truth_number(optarg, NULL, 1, 64);
			break;
		case 't':
			o.timeout_s = truth_number(optarg, NULL, 1, 86400);
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
	if (!drop_missing_modes(o.modes))
		return 2;
	signal(SIGPIPE, SIG_IGN);
	raise_files();
	return run(&o) ? EXIT_FAILURE : EXIT_SUCCESS;
}
