/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/nat.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "user/ctnetlink.h"
#include "user/starter.h"
#include "user/util/clock.h"
#include "user/util/log.h"
#include "user/util/privs.h"
#include "user/util/sanitizer_calls.h"
#include "user/util/seccomp.h"

#define COUNT_PATH   "/proc/sys/net/netfilter/nf_conntrack_count"
#define PROTO_UDP    17
#define START_MS     500
#define SICK_MS	     1000 /* one that did not answer in time is left alone for so long */
#define RULES_MS     5000 /* how old the knowledge of the rules gets */
#define ANSWER_MS    10	  /* of the kernel, which answers before send() is over */
#define ANSWER_BYTES 16384
#define NAMESPACES   256 /* of which is known whether they translate; a power of two */

/* Comes with descriptors when it is about another namespace: that, and its lists of tables. */
#define QUESTION_FDS 3
struct question {
	uint32_t seq;
	uint32_t find_rules; /* of that namespace: it is not known */
	struct ct_tuple tuple;
};

struct answer {
	uint32_t seq;
	int32_t err;	 /* 0, or -errno */
	int32_t entered; /* the namespace: 0, or -errno */
	uint32_t used;	 /* there are rules that translate */
	struct ct_entry entry;
};

/* ------------------------------------------------------------------ the collector's side */

struct namespace
{
	uint32_t netns;	   /* its inode; 0: free */
	uint32_t pid;	   /* a process in it */
	uint64_t again_ms; /* when its rules are looked at again */
	bool used;
};

struct nat {
	int fd;		    /* -1: the process is gone */
	uint32_t netns;	    /* ours; 0: not known */
	bool stays;	    /* it may enter no other */
	uint64_t inside_ms; /* until when some namespace is known to translate */
	struct namespace namespaces[NAMESPACES];
	pid_t pid;
	uint32_t seq;
	uint64_t again_ms; /* when nat_is_used() asks again */
	uint64_t well_ms;  /* not asked before that */
	bool used;
	struct nat_stats stats;
};

static uint32_t netns_of(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 ? (uint32_t)st.st_ino : 0;
}

bool nat_is_possible(void)
{
	return access(COUNT_PATH, F_OK) == 0;
}

int nat_new(struct nat **ret)
{
	static char title[] = "sekoia-ebpf: nat", verb[] = NAT_VERB;
	char *argv[] = { title, verb, NULL };
	_cleanup_(nat_freep) struct nat *n = calloc(1, sizeof(*n));
	_cleanup_close_ int theirs = -1, netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int pair[2], err;

	if (!n)
		return -ENOMEM;
	n->fd = -1;
	n->netns = netns_of(netns);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	n->fd = pair[0];
	theirs = pair[1];
	err = starter_spawn(argv, theirs, &n->pid);
	if (err)
		return err;
	*ret = TAKE_PTR(n);
	return 0;
}

void nat_free(struct nat *n)
{
	if (!n)
		return;
	close_fd(n->fd);
	/* It sees that we are gone. One that is stuck is init's. */
	for (int i = 0; n->pid && i < 100; i++) {
		const struct timespec pause = { .tv_nsec = 2000000 };

		if (waitpid(n->pid, NULL, WNOHANG) != 0)
			break;
		nanosleep(&pause, NULL);
	}
	free(n);
}

void nat_get_stats(const struct nat *n, struct nat_stats *ret)
{
	*ret = n->stats;
}

static ssize_t put_question(int fd, const struct question *q, const int *fds, size_t n_fds)
{
	union {
		char room[CMSG_SPACE(QUESTION_FDS * sizeof(int))];
		struct cmsghdr align;
	} control = { .align = { .cmsg_level = SOL_SOCKET,
				 .cmsg_type = SCM_RIGHTS,
				 .cmsg_len = CMSG_LEN(n_fds * sizeof(int)) } };
	struct iovec iov = { .iov_base = (void *)q, .iov_len = sizeof(*q) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n_fds) {
		memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(int));
		m.msg_control = control.room;
		m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	}
	return sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* True: *ret is the answer to this question. */
static bool ask(struct nat *n, const struct question *q, const int *fds, size_t n_fds,
		unsigned wait_ms, struct answer *ret)
{
	uint64_t until_ms = clock_mono_ms() + wait_ms, now_ms;
	struct pollfd p = { .fd = n->fd, .events = POLLIN };
	ssize_t got;

	if (put_question(n->fd, q, fds, n_fds) != sizeof(*q)) {
		if (errno != EAGAIN)
			goto gone;
		return false;
	}
	for (;;) {
		got = recv(n->fd, ret, sizeof(*ret), MSG_DONTWAIT);
		if (got == sizeof(*ret) && ret->seq == q->seq)
			return true;
		if (got == sizeof(*ret))
			continue; /* of a question that was given up */
		if (got >= 0 || (errno != EAGAIN && errno != EINTR))
			goto gone;
		now_ms = clock_mono_ms();
		if (now_ms >= until_ms)
			return false;
		poll(&p, 1, (int)(until_ms - now_ms));
	}
gone:
	log_warning("nat (pid %d) is gone: flows do not tell what this host translates, until "
		    "the collector is started again",
		    (int)n->pid);
	close_fd(TAKE_FD(n->fd));
	return false;
}

static bool has_ports(uint8_t protocol)
{
	return protocol == 6 || protocol == 17 || protocol == 33 || protocol == 132 ||
	       protocol == 136;
}

static bool is_same_end(const uint8_t *a, uint16_t a_port, const uint8_t *b, uint16_t b_port)
{
	return a_port == b_port && !memcmp(a, b, 16);
}

/* A socket sends as the one tuple says and gets what answers to it: that is the other one, turned.
 */
static bool view_of(const struct ct_tuple *ours, const struct ct_entry *e, struct nat_view *ret)
{
	const struct ct_tuple *other;

	ret->before = !is_same_end(ours->source, ours->source_port, e->original.source,
				   e->original.source_port) ||
		      !is_same_end(ours->destination, ours->destination_port,
				   e->original.destination, e->original.destination_port);
	other = ret->before ? &e->original : &e->reply;
	if (other->ip_version != ours->ip_version)
		return false;
	memcpy(ret->local, other->destination, 16);
	memcpy(ret->remote, other->source, 16);
	ret->local_port = other->destination_port;
	ret->remote_port = other->source_port;
	ret->local_changed =
		!is_same_end(ret->local, ret->local_port, ours->source, ours->source_port);
	ret->remote_changed = !is_same_end(ret->remote, ret->remote_port, ours->destination,
					   ours->destination_port);
	return ret->local_changed || ret->remote_changed;
}

/* False: it is not known. What is found of it when the host translates is in *ret. */
static bool look(struct nat *n, const struct ct_tuple *t, uint64_t now_ms, unsigned wait_ms,
		 struct answer *ret)
{
	struct question q = { .seq = ++n->seq, .tuple = *t };

	if (!ask(n, &q, NULL, 0, wait_ms, ret)) {
		n->well_ms = n->again_ms = now_ms + SICK_MS;
		return false;
	}
	n->used = ret->used;
	n->again_ms = now_ms + RULES_MS;
	return true;
}

bool nat_is_used(struct nat *n, uint64_t now_ms)
{
	const struct ct_tuple nothing = { .ip_version = 4 };
	struct answer a;

	if (n && n->fd >= 0 && now_ms >= n->again_ms)
		look(n, &nothing, now_ms, n->seq ? NAT_WAIT_MS : START_MS, &a);
	return n && n->fd >= 0 && (n->used || now_ms < n->inside_ms);
}

/* ------------------------------------------------------------------ namespaces */

/* Of what is not TCP the kernel side does not say it: that of the process, as long as it is there.
 */
static uint32_t find_netns(struct nat *n, const struct flow *f, uint64_t now_ms)
{
	uint32_t pid = f->user.pid ? f->user.pid : f->opener.pid;
	struct stat st;
	char path[48];

	if (!n->netns || f->netns || !pid)
		return f->netns;
	snprintf(path, sizeof(path), "/proc/%u/ns/net", pid);
	if (stat(path, &st) == 0)
		return (uint32_t)st.st_ino;
	n->stats.unreached += now_ms < n->inside_ms;
	return 0;
}

/* The namespace itself, if this process is in it. */
static int open_netns(uint32_t pid, uint32_t netns)
{
	_cleanup_close_ int fd = -1;
	char path[48];

	if (!pid)
		return -1;
	snprintf(path, sizeof(path), "/proc/%u/ns/net", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return netns_of(fd) == netns ? TAKE_FD(fd) : -1;
}

static int open_table_names(uint32_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%u/net/%s", pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* By whose flow it is, or their parents: who used the socket may have ended. */
static int open_netns_of(const struct flow *f, struct namespace *s)
{
	const uint32_t pids[] = { s->pid, f->user.pid, f->opener.pid, f->user.ppid,
				  f->opener.ppid };

	for (size_t i = 0; i < sizeof(pids) / sizeof(pids[0]); i++) {
		int fd = open_netns(pids[i], s->netns);

		if (fd < 0)
			continue;
		s->pid = pids[i];
		return fd;
	}
	s->pid = 0;
	return -1;
}

static struct namespace *find_namespace(struct nat *n, uint32_t netns)
{
	struct namespace *s = &n->namespaces[netns % NAMESPACES];

	if (s->netns != netns) {
		n->stats.forgotten += s->netns != 0;
		*s = (struct namespace){ .netns = netns };
	}
	return s;
}

/* As look(), in the namespace of the flow. */
static bool look_inside(struct nat *n, const struct flow *f, struct namespace *s,
			const struct ct_tuple *t, uint64_t now_ms, struct answer *ret)
{
	struct question q = { .seq = ++n->seq, .tuple = *t, .find_rules = now_ms >= s->again_ms };
	_cleanup_close_ int netns = open_netns_of(f, s), names4 = -1, names6 = -1;
	int fds[QUESTION_FDS] = { netns };
	size_t n_fds = 1;

	*ret = (struct answer){ .err = -ESRCH };
	if (netns < 0) {
		n->stats.unreached++;
		return true;
	}
	if (q.find_rules) {
		names4 = open_table_names(s->pid, "ip_tables_names");
		names6 = open_table_names(s->pid, "ip6_tables_names");
		if (names4 >= 0)
			fds[n_fds++] = names4;
		if (names6 >= 0)
			fds[n_fds++] = names6;
	}
	if (!ask(n, &q, fds, n_fds, NAT_WAIT_MS, ret)) {
		n->well_ms = now_ms + SICK_MS;
		return false;
	}
	if (ret->entered < 0) {
		log_info("nat: another network namespace: %s; flows do not tell what containers "
			 "translate inside of theirs",
			 log_strerror(ret->entered));
		n->stays = true;
		ret->err = ret->entered;
		return true;
	}
	if (q.find_rules) {
		s->used = ret->used;
		s->again_ms = now_ms + RULES_MS;
	}
	if (s->used)
		n->inside_ms = now_ms + 2 * RULES_MS;
	return true;
}

/* ------------------------------------------------------------------ flows */

static void turn(struct ct_tuple *t)
{
	struct ct_tuple was = *t;

	memcpy(t->source, was.destination, 16);
	memcpy(t->destination, was.source, 16);
	t->source_port = was.destination_port;
	t->destination_port = was.source_port;
}

/* Where the flow's own socket is; inside is NULL if that is our namespace. */
static bool look_at_home(struct nat *n, const struct flow *f, struct namespace *inside,
			 const struct ct_tuple *t, uint64_t now_ms, struct answer *ret)
{
	return inside ? look_inside(n, f, inside, t, now_ms, ret)
		      : look(n, t, now_ms, NAT_WAIT_MS, ret);
}

/* 1: translated, 0: not; -EAGAIN: it is not known. */
static int find_at_home(struct nat *n, struct flow *f, struct namespace *inside, struct ct_tuple *t,
			uint64_t now_ms, struct nat_view *ret)
{
	struct answer a;

	if (!look_at_home(n, f, inside, t, now_ms, &a))
		return -EAGAIN;
	if (a.err == -ENOENT && a.used && f->protocol == PROTO_UDP && !f->in_packets) {
		struct ct_tuple back = *t;

		turn(&back);
		if (!look_at_home(n, f, inside, &back, now_ms, &a) || a.err)
			return 0;
		/* What answers it would be for whom conntrack says that it began. */
		*t = a.entry.original;
		memcpy(f->local, t->source, 16);
		memcpy(f->remote, t->destination, 16);
		f->local_port = t->source_port;
		f->remote_port = t->destination_port;
	}
	return !a.err && view_of(t, &a.entry, ret);
}

/* The host translates again what comes out of the namespace, or did so before it went in. */
static int find_outside(struct nat *n, const struct flow *f, bool is_inside, uint64_t now_ms,
			struct nat_view *view)
{
	struct ct_tuple t = { .ip_version = f->ip_version,
			      .protocol = f->protocol,
			      .source_port = is_inside ? view->local_port : f->local_port,
			      .destination_port = is_inside ? view->remote_port : f->remote_port };
	struct nat_view outer;
	struct answer a;

	memcpy(t.source, is_inside ? view->local : f->local, 16);
	memcpy(t.destination, is_inside ? view->remote : f->remote, 16);
	if (!look(n, &t, now_ms, NAT_WAIT_MS, &a))
		return -EAGAIN;
	if (a.err || !view_of(&t, &a.entry, &outer) || (is_inside && outer.before != view->before))
		return is_inside;
	outer.local_changed = !is_same_end(outer.local, outer.local_port, f->local, f->local_port);
	outer.remote_changed =
		!is_same_end(outer.remote, outer.remote_port, f->remote, f->remote_port);
	*view = outer;
	return outer.local_changed || outer.remote_changed;
}

bool nat_find(struct nat *n, struct flow *f, uint64_t now_ms, struct nat_view *ret)
{
	struct ct_tuple t = { .ip_version = f->ip_version,
			      .protocol = f->protocol,
			      .source_port = f->local_port,
			      .destination_port = f->remote_port };
	struct namespace *inside = NULL;
	uint32_t netns;
	bool is_foreign;
	int found = 0;

	if (!n || n->fd < 0 || !has_ports(f->protocol) || f->loopback)
		return false;
	netns = find_netns(n, f, now_ms);
	is_foreign = n->netns && netns && netns != n->netns;
	if (is_foreign && !n->stays) {
		inside = find_namespace(n, netns);
		if (!inside->used && now_ms < inside->again_ms)
			inside = NULL; /* it translates nothing */
	}
	if (!inside && !n->used)
		return false;
	memcpy(t.source, f->local, 16);
	memcpy(t.destination, f->remote, 16);
	if (now_ms < n->well_ms) {
		n->stats.unanswered++;
		return false;
	}
	if (inside || !is_foreign)
		found = find_at_home(n, f, inside, &t, now_ms, ret);
	if (found >= 0 && is_foreign && n->used)
		found = find_outside(n, f, found, now_ms, ret);
	if (found < 0) {
		n->stats.unanswered++;
		return false;
	}
	n->stats.asked += n->used || (inside && inside->used);
	n->stats.translated += (uint64_t)found;
	return found;
}

/* ------------------------------------------------------------------ the process */

#define BIT(cap) (1ull << (cap))

/* Nothing is opened, but a socket to ask in a network namespace that was handed to us. */
static const struct seccomp_rule rules[] = {
	SECCOMP_ALLOW(sendto),
	SECCOMP_ALLOW(recvfrom),
	SECCOMP_ALLOW(recvmsg),
	SECCOMP_ALLOW(lseek),
	SECCOMP_ALLOW(read),
	SECCOMP_ALLOW(close),
	SECCOMP_ALLOW_IF(setns, 1, 0xffffffffu, CLONE_NEWNET),
	/* Of no other family is there such a protocol. */
	SECCOMP_ALLOW_IF(socket, 2, 0xffffffffu, NETLINK_NETFILTER),
	SECCOMP_ALLOW_IF(setsockopt, 2, 0xffffffffu, SO_RCVTIMEO),
};

struct asker {
	int netlink, names[2];
	int home; /* our namespace */
	uint32_t seq;
	uint64_t rules_ms; /* when used was found out; 0: never */
	bool used;
};

static int open_netlink(void)
{
	const struct timeval limit = { .tv_usec = ANSWER_MS * 1000 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

static ssize_t exchange(struct asker *a, const void *question, size_t size, void *ret,
			size_t ret_size)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	if (sendto(a->netlink, question, size, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	for (;;) {
		ssize_t n = recv(a->netlink, ret, ret_size, 0);

		if (n >= 0 || errno != EINTR)
			return n < 0 ? -errno : n;
	}
}

/* The older iptables has tables of its own. */
static bool has_old_table(int fd)
{
	char text[512];
	ssize_t n = fd < 0 || lseek(fd, 0, SEEK_SET) < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	for (char *save = NULL, *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (!strcmp(line, "nat"))
			return true;
	return false;
}

static bool find_rules(struct asker *a)
{
	static uint8_t answer[ANSWER_BYTES];
	uint8_t question[CT_MESSAGE_MAX];
	bool used = has_old_table(a->names[0]) || has_old_table(a->names[1]);
	uint32_t seq = ++a->seq;
	ssize_t n;

	if (used)
		return true;
	n = exchange(a, question, ct_encode_chains(seq, question), answer, sizeof(answer));
	while (n > 0 && ct_decode_chains(answer, (size_t)n, seq, &used) == 0)
		n = recv(a->netlink, answer, sizeof(answer), 0);
	return used;
}

/* Where a->netlink is. */
static void look_up(struct asker *a, const struct question *q, struct answer *ret)
{
	uint8_t question[CT_MESSAGE_MAX], answer[ANSWER_BYTES];
	uint32_t seq = ++a->seq;
	ssize_t n;

	n = exchange(a, question, ct_encode_get(&q->tuple, seq, question), answer, sizeof(answer));
	/* What is left of a list that was given up comes first. */
	while (n > 0 && (ret->err = ct_decode(answer, (size_t)n, seq, &ret->entry)) == -EAGAIN)
		n = recv(a->netlink, answer, sizeof(answer), 0);
	if (n < 0)
		ret->err = (int32_t)n;
}

static void answer_at_home(struct asker *a, const struct question *q, struct answer *ret)
{
	uint64_t now_ms = clock_mono_ms();

	if (!a->rules_ms || now_ms - a->rules_ms >= RULES_MS) {
		a->used = find_rules(a);
		a->rules_ms = now_ms;
	}
	ret->used = a->used;
	if (a->used)
		look_up(a, q, ret);
}

/* 0, or -errno: then we are not where we were, and can not go on. */
static int answer_inside(struct asker *home, const struct question *q, const int *fds,
			 struct answer *ret)
{
	struct asker a = { .names = { fds[1], fds[2] }, .seq = home->seq };
	_cleanup_close_ int netlink = -1;

	if (home->home < 0 || setns(fds[0], CLONE_NEWNET) < 0) {
		ret->entered = home->home < 0 ? -EPERM : -errno;
		return 0;
	}
	netlink = open_netlink();
	if (setns(home->home, CLONE_NEWNET) < 0)
		return -errno;
	a.netlink = netlink;
	if (netlink < 0) {
		ret->err = netlink;
		return 0;
	}
	ret->used = !q->find_rules || find_rules(&a);
	if (ret->used)
		look_up(&a, q, ret);
	home->seq = a.seq;
	return 0;
}

/* As recv(); the descriptors that came along are the caller's to close, the others are -1. */
static ssize_t take_question(int fd, struct question *ret, int fds[static QUESTION_FDS])
{
	union {
		char room[CMSG_SPACE(QUESTION_FDS * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = ret, .iov_len = sizeof(*ret) };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control.room,
			    .msg_controllen = sizeof(control.room) };
	struct cmsghdr *c;
	ssize_t n;

	for (int i = 0; i < QUESTION_FDS; i++)
		fds[i] = -1;
	do {
		n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	return n;
}

static int enter_sandbox(void)
{
	const struct seccomp_table tables[] = { SECCOMP_TABLE(rules), seccomp_libc, sanitizer_calls,
						seccomp_fatal };
	int err = privs_keep(BIT(CAP_NET_ADMIN) | BIT(CAP_SYS_ADMIN));

	if (!err)
		err = seccomp_enter(tables, sizeof(tables) / sizeof(tables[0]));
	/* To enter namespaces is not worth what could be done with it without a filter. */
	if (err == -ENOTSUP || err == -EINVAL || err == -ENOSYS)
		err = privs_keep(BIT(CAP_NET_ADMIN));
	return err;
}

int nat_main(int fd)
{
	struct asker a = { .netlink = -1, .names = { -1, -1 }, .home = -1 };
	int err;

	log_set_name("sekoia-ebpf[nat]");
	prctl(PR_SET_NAME, "sekoia-nat", 0, 0, 0);
	a.netlink = open_netlink();
	if (a.netlink < 0) {
		log_warning("netlink: %s; flows do not tell what this host translates",
			    log_strerror(a.netlink));
		return EXIT_FAILURE;
	}
	a.home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	a.names[0] = open("/proc/self/net/ip_tables_names", O_RDONLY | O_CLOEXEC);
	a.names[1] = open("/proc/self/net/ip6_tables_names", O_RDONLY | O_CLOEXEC);
	err = enter_sandbox();
	if (err) {
		log_error("sandbox: %s", log_strerror(err));
		return EXIT_FAILURE;
	}
	for (;;) {
		int fds[QUESTION_FDS];
		struct question q;
		struct answer answer;
		ssize_t n = take_question(fd, &q, fds);

		if (n < 0 && errno == ENOTSOCK)
			log_error("this process is started by the collector, not by hand");
		if (n != sizeof(q))
			return n ? EXIT_FAILURE : EXIT_SUCCESS;
		answer = (struct answer){ .seq = q.seq, .err = -ENOENT };
		if (fds[0] < 0)
			answer_at_home(&a, &q, &answer);
		else if (answer_inside(&a, &q, fds, &answer) < 0)
			return EXIT_FAILURE;
		for (int i = 0; i < QUESTION_FDS; i++)
			close_fd(fds[i]);
		if (send(fd, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
			return EXIT_FAILURE;
	}
}
