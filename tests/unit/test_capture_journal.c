/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal tap alone, on the running kernel: this program goes by the name
 * of a log daemon, reads messages whose bytes are known, and looks at what the
 * ring got. Needs root and a BPF that may trace.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/netlink.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf/events.h"
#include "tests/lib/test.h"
#include "user/event.h"
#include "user/probe.h"
#include "user/ring.h"

#define BIG (256 << 10)

static struct kernel *kernel;
static struct ring *ring;
static char dir[64], path[40];
static bool usable;
static uint64_t truncated; /* samples that say so */
static bool lacks_pages;   /* page fragments can not be read here, and that is told */

/* A sample, its bytes behind it. */
static struct event_journal sample;
static uint8_t sample_data[BIG];

/* The next sample that this process read. Others may be log daemons, too. */
static bool take(void)
{
	const struct event_journal *e;
	struct event decoded;
	const void *p;
	size_t size;

	while (ring_next(ring, &p, &size) > 0) {
		e = p;
		if (e->h.type != EVENT_JOURNAL || e->reader_tgid != (uint32_t)getpid())
			continue;
		CHECK(size >= sizeof(*e) + e->len && e->len <= sizeof(sample_data));
		CHECK_INT(event_decode(p, size, &decoded), 0);
		CHECK_INT(decoded.journal.data.len, e->len);
		memcpy(&sample, e, sizeof(*e));
		truncated += !!(e->flags & JOURNAL_TRUNCATED);
		memcpy(sample_data, e->data, e->len);
		return true;
	}
	return false;
}

static uint8_t byte_at(size_t i)
{
	return (uint8_t)(i * 7 + (i >> 8) * 13 + (i >> 16));
}

static void fill(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = byte_at(i);
}

/* Whether the sample is the n bytes that stand at from in what fill() made. */
static void check_bytes(size_t from, size_t n)
{
	size_t i;

	CHECK_INT(sample.full_len, n);
	if (!lacks_pages || !(sample.flags & JOURNAL_TRUNCATED)) {
		CHECK_INT(sample.flags & JOURNAL_TRUNCATED, 0);
		CHECK_INT(sample.len, n);
	}
	for (i = 0; i < sample.len; i++)
		if (sample_data[i] != byte_at(from + i))
			break;
	CHECK_INT(i, sample.len);
}

static struct sockaddr_un address(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	memcpy(a.sun_path, path, sizeof(path));
	return a;
}

static int bound(int type)
{
	struct sockaddr_un a = address();
	int fd = socket(AF_UNIX, type, 0), bytes = 1 << 20, yes = 1;

	unlink(path);
	CHECK(bind(fd, (void *)&a, sizeof(a)) == 0);
	/* Log daemons ask for it; without it the kernel does not say who sent. */
	CHECK(setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes)) == 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	return fd;
}

static int connected(int type)
{
	struct sockaddr_un a = address();
	int fd = socket(AF_UNIX, type, 0), bytes = 1 << 20;

	CHECK(connect(fd, (void *)&a, sizeof(a)) == 0);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	return fd;
}

static void check_sender(void)
{
	CHECK_INT(sample.sender_pid, getpid());
	CHECK_INT(sample.sender_uid, geteuid());
	CHECK_INT(sample.sender_gid, getegid());
	CHECK_INT(sample.h.size, sizeof(sample) + sample.len);
	CHECK_MEM(sample.path, sample.path_len, path);
}

TEST(attaches)
{
	struct kernel_opts o = {
		.dir = dir,
		.wanted = { [KERNEL_JOURNAL] = true },
		.flow_ring_bytes = 1 << 20,
		.journal_ring_bytes = 8 << 20,
		.flows_max = 4096,
	};
	char text[256] = "";
	int err;

	snprintf(dir, sizeof(dir), "/sys/fs/bpf/sekoia-test-%d", getpid());
	snprintf(path, sizeof(path), "/tmp/sekoia-test-%d", getpid());
	if (geteuid()) {
		printf("# skipped: not root\n");
		return;
	}
	prctl(PR_SET_NAME, "syslog-ng");
	err = kernel_new(&o, text, sizeof(text), &kernel);
	CHECK_INT(err, 0);
	if (err) {
		printf("# %s\n", text);
		return;
	}
	lacks_pages = kernel_lacks(kernel, KERNEL_JOURNAL);
	if (lacks_pages)
		printf("# lacks: %s\n", kernel_lacks(kernel, KERNEL_JOURNAL));
	CHECK_INT(ring_new(kernel_ring_fd(kernel, KERNEL_JOURNAL), &ring), 0);
	kernel_find_readers(kernel);
	usable = ring != NULL;
}

TEST(datagrams_of_every_size)
{
	static const size_t sizes[] = { 1,     39,    400,   401,   912,   913,	  1936,	 1937,
					3984,  3985,  4096,  8080,  8081,  16000, 16272, 16273,
					20480, 32656, 32657, 40000, 65424, 65425, 80000 };
	static uint8_t bytes[BIG], got[BIG];
	int reader, sender;

	if (!usable)
		return;
	fill(bytes, sizeof(bytes));
	reader = bound(SOCK_DGRAM);
	sender = connected(SOCK_DGRAM);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		CHECK_INT(send(sender, bytes, sizes[i], 0), sizes[i]);
		CHECK_INT(read(reader, got, sizeof(got)), sizes[i]);
		CHECK(take());
		check_bytes(0, sizes[i]);
		check_sender();
		CHECK_INT(sample.flags & (JOURNAL_STREAM | JOURNAL_FDS), 0);
	}
	CHECK(!take());
	close(reader);
	close(sender);
}

/* sd_journal_send() does not connect. */
TEST(a_sender_that_is_not_connected)
{
	struct sockaddr_un a;
	int reader, sender;
	char got[100];

	if (!usable)
		return;
	reader = bound(SOCK_DGRAM);
	sender = socket(AF_UNIX, SOCK_DGRAM, 0);
	a = address();
	CHECK_INT(sendto(sender, "PRIORITY=6\nMESSAGE=x\n", 21, 0, (void *)&a, sizeof(a)), 21);
	close(sender); /* and is gone before anybody reads */
	CHECK_INT(recv(reader, got, sizeof(got), 0), 21);
	CHECK(take());
	check_sender();
	CHECK_MEM((char *)sample_data, sample.len, "PRIORITY=6\nMESSAGE=x\n");
	CHECK(sample.socket_ino != 0);
	close(reader);
}

/* systemd asks for the size first: nothing is read by that. */
TEST(a_peek_is_not_a_message)
{
	int reader, sender;
	char got[100];

	if (!usable)
		return;
	reader = bound(SOCK_DGRAM);
	sender = connected(SOCK_DGRAM);
	CHECK_INT(send(sender, "hello", 5, 0), 5);
	CHECK_INT(recv(reader, NULL, 0, MSG_PEEK | MSG_TRUNC), 5);
	CHECK(!take());
	CHECK_INT(recv(reader, got, sizeof(got), 0), 5);
	CHECK(take());
	CHECK_MEM((char *)sample_data, sample.len, "hello");
	CHECK(!take());
	close(reader);
	close(sender);
}

/* 4096 bytes are what stdio writes at once to a socket. */
TEST(a_stream_read_in_parts)
{
	static const size_t writes[] = { 10, 3776, 3777, 4096, 4097, 8192, 12288, 30000, 36544 };
	static uint8_t bytes[BIG], got[BIG];
	int listener, reader, sender;
	uint64_t socket_ = 0, ino = 0;
	size_t from, total;

	if (!usable)
		return;
	fill(bytes, sizeof(bytes));
	listener = bound(SOCK_STREAM);
	CHECK(listen(listener, 1) == 0);
	sender = connected(SOCK_STREAM);
	reader = accept(listener, NULL, NULL);
	for (size_t i = 0; i < sizeof(writes) / sizeof(*writes); i++) {
		CHECK_INT(write(sender, bytes, writes[i]), writes[i]);
		if (i + 1 == sizeof(writes) / sizeof(*writes))
			close(sender); /* the last one is read when the sender is gone */
		for (from = total = 0; total < writes[i];) {
			ssize_t n =
				read(reader, got, total + 1500 < writes[i] ? 1500 : sizeof(got));

			if (n <= 0)
				break;
			total += (size_t)n;
			while (from < total && take()) {
				check_bytes(from, sample.full_len);
				check_sender();
				CHECK(sample.flags & JOURNAL_STREAM);
				from += sample.full_len;
				if (!socket_) {
					socket_ = sample.socket;
					ino = sample.socket_ino;
				}
				CHECK_INT(sample.socket, socket_);
				CHECK_INT(sample.socket_ino, ino);
			}
			CHECK_INT(from, total);
		}
		CHECK_INT(total, writes[i]);
	}
	CHECK(ino != 0);
	CHECK(!take());
	close(listener);
	close(reader);
}

TEST(a_message_with_a_descriptor)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte = 'm';
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int reader, sender;

	if (!usable)
		return;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &(int){ 0 }, sizeof(int));
	reader = bound(SOCK_DGRAM);
	sender = connected(SOCK_DGRAM);
	CHECK_INT(sendmsg(sender, &m, 0), 1);
	CHECK_INT(recv(reader, &byte, 1, 0), 1);
	CHECK(take());
	CHECK(sample.flags & JOURNAL_FDS);
	close(reader);
	close(sender);
}

/* sd_journal_send() does that with what is too large for a datagram. */
/* Where the kernel tells where it has mapped all of memory, files can be read, too. */
static bool has_files(void)
{
	FILE *f = fopen("/proc/kallsyms", "re");
	char line[512], name[256];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "%*s %*s %255s", name) == 1 &&
			!strcmp(name, "page_offset_base") && strtoull(line, NULL, 16);
	if (f)
		fclose(f);
	return found;
}

TEST(a_message_in_a_file)
{
	static const size_t sizes[] = { 1, 4096, 4097, 40000, 245760, 345678 };
	static uint8_t bytes[345678];
	bool readable = has_files();

	if (!usable)
		return;
	printf("# files can %sbe read\n", readable ? "" : "not ");
	fill(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte;
		struct msghdr m = { .msg_control = control, .msg_controllen = sizeof(control) };
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		size_t len = sizes[i] < 245760 ? sizes[i] : 245760, same = 0;
		int reader, sender, fd;

		fd = memfd_create("test", 0);
		CHECK_INT(write(fd, bytes, sizes[i]), sizes[i]);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
		reader = bound(SOCK_DGRAM);
		sender = connected(SOCK_DGRAM);
		CHECK_INT(sendmsg(sender, &m, 0), 0);
		close(fd);
		CHECK_INT(recv(reader, &byte, 1, 0), 0);
		CHECK(take());
		check_sender();
		CHECK(sample.flags & JOURNAL_FDS);
		CHECK_INT(sample.full_len, sizes[i]);
		CHECK_INT(sample.len, readable ? len : 0);
		CHECK_INT(!!(sample.flags & JOURNAL_TRUNCATED), sample.len < sizes[i]);
		while (same < sample.len && sample_data[same] == byte_at(same))
			same++;
		CHECK_INT(same, sample.len);
		CHECK(!take());
		close(reader);
		close(sender);
	}
}

/* As journald listens to it. What is sent is a kind that needs no auditing to be on. */
TEST(audit)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	struct {
		struct nlmsghdr h;
		char text[40];
	} request = { .h = { .nlmsg_len = sizeof(request),
			     .nlmsg_type = AUDIT_USER_AVC,
			     .nlmsg_flags = NLM_F_REQUEST } };
	struct timeval wait = { .tv_sec = 5 };
	static char got[9000];
	int reader, sender;
	ssize_t n;

	if (!usable)
		return;
	reader = socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT);
	sender = socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT);
	setsockopt(reader, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	snprintf(request.text, sizeof(request.text), "sekoia test %d", getpid());
	if (reader < 0 || bind(reader, (void *)&a, sizeof(a)) < 0 ||
	    send(sender, &request, sizeof(request), 0) < 0) {
		printf("# skipped: no audit here: %s\n", strerror(errno));
		return;
	}
	do {
		n = recv(reader, got, sizeof(got), 0);
		if (n <= 0) {
			printf("# skipped: the kernel does not give it\n");
			break;
		}
		CHECK(take());
		CHECK_INT(sample.flags, JOURNAL_NETLINK);
		CHECK_INT(sample.sender_pid, 0);
		CHECK_INT(sample.path_len, 0);
		CHECK_INT(sample.full_len, n);
		CHECK_INT(sample.len, n);
		CHECK(!memcmp(sample_data, got, (size_t)n));
	} while (!memmem(got, (size_t)n, request.text, strlen(request.text)));
	CHECK(!take());
	close(reader);
	close(sender);
}

TEST(more_than_the_reader_takes)
{
	static uint8_t bytes[20000];
	int reader, sender;
	char got[100];

	if (!usable)
		return;
	fill(bytes, sizeof(bytes));
	reader = bound(SOCK_DGRAM);
	sender = connected(SOCK_DGRAM);
	CHECK_INT(send(sender, bytes, sizeof(bytes), 0), sizeof(bytes));
	CHECK_INT(recv(reader, got, sizeof(got), 0), sizeof(got));
	CHECK(take());
	check_bytes(0, sizeof(bytes));
	CHECK(!take());
	close(reader);
	close(sender);
}

TEST(more_than_a_sample_takes)
{
	static uint8_t bytes[400000], got[sizeof(bytes)];
	int reader, sender, size = 1 << 20;
	size_t i;

	if (!usable)
		return;
	fill(bytes, sizeof(bytes));
	reader = bound(SOCK_DGRAM);
	sender = connected(SOCK_DGRAM);
	CHECK(setsockopt(sender, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) == 0);
	CHECK_INT(send(sender, bytes, sizeof(bytes), 0), sizeof(bytes));
	CHECK_INT(recv(reader, got, sizeof(got), 0), sizeof(bytes));
	CHECK(take());
	CHECK_INT(sample.full_len, sizeof(bytes));
	CHECK(sample.flags & JOURNAL_TRUNCATED);
	CHECK(sample.len > 0 && sample.len < sizeof(bytes));
	for (i = 0; i < sample.len; i++)
		if (sample_data[i] != byte_at(i))
			break;
	CHECK_INT(i, sample.len);
	close(reader);
	close(sender);
}

TEST(others_are_not_listened_to)
{
	struct kernel_counters before, after;
	int pair[2], status = 0;
	pid_t child;

	if (!usable)
		return;
	CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
	CHECK_INT(kernel_get_counters(kernel, KERNEL_JOURNAL, &before), 0);
	child = fork();
	if (child == 0) {
		char got[10];

		_exit(read(pair[0], got, sizeof(got)) != 5);
	}
	CHECK_INT(write(pair[1], "hello", 5), 5);
	waitpid(child, &status, 0);
	CHECK_INT(status, 0);
	CHECK(!take());
	CHECK_INT(kernel_get_counters(kernel, KERNEL_JOURNAL, &after), 0);
	/* Another log daemon of this host may have read something meanwhile. */
	CHECK(after.seen - before.seen <= after.submitted - before.submitted);
	close(pair[0]);
	close(pair[1]);
}

TEST(the_counters_balance)
{
	struct kernel_counters c;

	if (!usable)
		return;
	CHECK_INT(kernel_get_counters(kernel, KERNEL_JOURNAL, &c), 0);
	CHECK(c.seen > 0);
	CHECK_INT(c.seen, c.submitted);
	if (!lacks_pages)
		CHECK_INT(c.truncated, truncated);
	CHECK_INT(c.ring_full + c.no_room, 0);
}

/* Until the ring is full; then what it lost of a stream is said by the next sample of that. */
TEST(what_a_stream_lost_in_a_full_ring)
{
	static uint8_t bytes[48 << 10], got[sizeof(bytes)];
	static const struct {
		const char *lost;
		bool open;
	} cases[] = { { "whole line\n", false }, { "half a", true }, { "a\nb", true } };
	struct kernel_counters before, after;
	int listener, reader, sender, other, other_reader;

	if (!usable)
		return;
	listener = bound(SOCK_STREAM);
	CHECK(listen(listener, 2) == 0);
	sender = connected(SOCK_STREAM);
	reader = accept(listener, NULL, NULL);
	other = connected(SOCK_STREAM);
	other_reader = accept(listener, NULL, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		size_t len = strlen(cases[i].lost), lost = 0;

		CHECK_INT(kernel_get_counters(kernel, KERNEL_JOURNAL, &before), 0);
		do {
			CHECK_INT(write(other, bytes, sizeof(bytes)), sizeof(bytes));
			for (size_t n = 0; n < sizeof(bytes);) {
				ssize_t r = read(other_reader, got, sizeof(got));

				if (r <= 0)
					break;
				n += (size_t)r;
			}
			CHECK_INT(kernel_get_counters(kernel, KERNEL_JOURNAL, &after), 0);
		} while (after.ring_full == before.ring_full && !test_failed);
		/* Smaller ones may still find room. */
		for (int try = 0; try < 100000; try++) {
			CHECK_INT(kernel_get_counters(kernel, KERNEL_JOURNAL, &before), 0);
			CHECK_INT(write(sender, cases[i].lost, len), len);
			CHECK_INT(read(reader, got, sizeof(got)), len);
			CHECK_INT(kernel_get_counters(kernel, KERNEL_JOURNAL, &after), 0);
			lost += after.ring_full > before.ring_full ? len : 0;
			if (lost == 2 * len)
				break;
		}
		CHECK_INT(lost, 2 * len);
		while (take())
			;
		ring_release(ring, ring_position(ring));
		for (int n = 0; n < 2; n++) {
			CHECK_INT(write(sender, "then\n", 5), 5);
			CHECK_INT(read(reader, got, sizeof(got)), 5);
			CHECK(take());
			CHECK_INT(sample.lost, n ? 0 : lost);
			CHECK_INT(!!(sample.flags & JOURNAL_LOST_OPEN), !n && cases[i].open);
			CHECK_MEM((char *)sample_data, sample.len, "then\n");
		}
	}
	close(listener);
	close(reader);
	close(sender);
	close(other);
	close(other_reader);
}

TEST(cleanup_leaves_nothing)
{
	if (!usable)
		return;
	kernel_detach(kernel);
	ring_free(ring);
	kernel_free(kernel);
	unlink(path);
	CHECK_INT(kernel_cleanup(dir), 1);
	CHECK(access(dir, F_OK) < 0);
}
