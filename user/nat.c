/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/nat.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
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

struct question {
	uint32_t seq;
	struct ct_tuple tuple;
};

struct answer {
	uint32_t seq;
	int32_t err;   /* 0, or -errno */
	uint32_t used; /* there are rules that translate */
	struct ct_entry entry;
};

/* ------------------------------------------------------------------ the collector's side */

struct nat {
	int fd; /* -1: the process is gone */
	pid_t pid;
	uint32_t seq;
	uint64_t again_ms; /* when nat_is_used() asks again */
	uint64_t well_ms;  /* not asked before that */
	bool used;
	struct nat_stats stats;
};

bool nat_is_possible(void)
{
	return access(COUNT_PATH, F_OK) == 0;
}

int nat_new(struct nat **ret)
{
	static char title[] = "sekoia-ebpf: nat", verb[] = NAT_VERB;
	char *argv[] = { title, verb, NULL };
	_cleanup_(nat_freep) struct nat *n = calloc(1, sizeof(*n));
	_cleanup_close_ int theirs = -1;
	int pair[2], err;

	if (!n)
		return -ENOMEM;
	n->fd = -1;
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

/* True: *ret is the answer to this question. */
static bool ask(struct nat *n, const struct question *q, unsigned wait_ms, struct answer *ret)
{
	uint64_t until_ms = clock_mono_ms() + wait_ms, now_ms;
	struct pollfd p = { .fd = n->fd, .events = POLLIN };
	ssize_t got;

	if (send(n->fd, q, sizeof(*q), MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(*q)) {
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

	if (!ask(n, &q, wait_ms, ret)) {
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
	return n && n->fd >= 0 && n->used;
}

bool nat_find(struct nat *n, struct flow *f, uint64_t now_ms, struct nat_view *ret)
{
	struct ct_tuple t = { .ip_version = f->ip_version,
			      .protocol = f->protocol,
			      .source_port = f->local_port,
			      .destination_port = f->remote_port };
	struct answer a;

	if (!n || n->fd < 0 || !n->used || !has_ports(f->protocol) || f->loopback)
		return false;
	memcpy(t.source, f->local, 16);
	memcpy(t.destination, f->remote, 16);
	if (now_ms < n->well_ms || !look(n, &t, now_ms, NAT_WAIT_MS, &a)) {
		n->stats.unanswered++;
		return false;
	}
	n->stats.asked++;
	if (a.err == -ENOENT && f->protocol == PROTO_UDP && !f->in_packets) {
		memcpy(t.source, f->remote, 16);
		memcpy(t.destination, f->local, 16);
		t.source_port = f->remote_port;
		t.destination_port = f->local_port;
		if (!look(n, &t, now_ms, NAT_WAIT_MS, &a) || a.err)
			return false;
		/* What answers it would be for whom conntrack says that it began. */
		t = a.entry.original;
		memcpy(f->local, t.source, 16);
		memcpy(f->remote, t.destination, 16);
		f->local_port = t.source_port;
		f->remote_port = t.destination_port;
	}
	if (a.err || !view_of(&t, &a.entry, ret))
		return false;
	n->stats.translated++;
	return true;
}

/* ------------------------------------------------------------------ the process */

#define BIT(cap) (1ull << (cap))

/* What is open stays; nothing is opened but the lists of tables. */
static const struct seccomp_rule rules[] = {
	SECCOMP_ALLOW(sendto),
	SECCOMP_ALLOW(recvfrom),
	SECCOMP_ALLOW(lseek),
	SECCOMP_ALLOW(read),
};

struct asker {
	int netlink, names[2];
	uint32_t seq;
	uint64_t rules_ms; /* when used was found out; 0: never */
	bool used;
};

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

static void look_up(struct asker *a, const struct question *q, struct answer *ret)
{
	uint8_t question[CT_MESSAGE_MAX], answer[ANSWER_BYTES];
	uint64_t now_ms = clock_mono_ms();
	uint32_t seq;
	ssize_t n;

	*ret = (struct answer){ .seq = q->seq, .err = -ENOENT };
	if (!a->rules_ms || now_ms - a->rules_ms >= RULES_MS) {
		a->used = find_rules(a);
		a->rules_ms = now_ms;
	}
	ret->used = a->used;
	if (!a->used)
		return;
	seq = ++a->seq;
	n = exchange(a, question, ct_encode_get(&q->tuple, seq, question), answer, sizeof(answer));
	/* What is left of a list that was given up comes first. */
	while (n > 0 && (ret->err = ct_decode(answer, (size_t)n, seq, &ret->entry)) == -EAGAIN)
		n = recv(a->netlink, answer, sizeof(answer), 0);
	if (n < 0)
		ret->err = (int32_t)n;
}

static int enter_sandbox(void)
{
	const struct seccomp_table tables[] = { SECCOMP_TABLE(rules), seccomp_libc, sanitizer_calls,
						seccomp_fatal };
	int err = privs_keep(BIT(CAP_NET_ADMIN));

	return err ? err : seccomp_enter(tables, sizeof(tables) / sizeof(tables[0]));
}

int nat_main(int fd)
{
	const struct timeval limit = { .tv_usec = ANSWER_MS * 1000 };
	struct asker a = { .netlink = -1, .names = { -1, -1 } };
	struct question q;
	struct answer answer;
	int err;

	log_set_name("sekoia-ebpf[nat]");
	prctl(PR_SET_NAME, "sekoia-nat", 0, 0, 0);
	a.netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (a.netlink < 0) {
		log_warning("netlink: %s; flows do not tell what this host translates",
			    log_strerror(errno));
		return EXIT_FAILURE;
	}
	setsockopt(a.netlink, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	a.names[0] = open("/proc/self/net/ip_tables_names", O_RDONLY | O_CLOEXEC);
	a.names[1] = open("/proc/self/net/ip6_tables_names", O_RDONLY | O_CLOEXEC);
	err = enter_sandbox();
	if (err && err != -ENOTSUP && err != -EINVAL && err != -ENOSYS) {
		log_error("sandbox: %s", log_strerror(err));
		return EXIT_FAILURE;
	}
	for (;;) {
		ssize_t n = recv(fd, &q, sizeof(q), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOTSOCK)
			log_error("this process is started by the collector, not by hand");
		if (n != sizeof(q))
			return n ? EXIT_FAILURE : EXIT_SUCCESS;
		look_up(&a, &q, &answer);
		if (send(fd, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
			return EXIT_FAILURE;
	}
}
