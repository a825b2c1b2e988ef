/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets that are not TCP, in all shapes that udpgen does not make, with a line of
 * truth for each flow that each socket should have:
 *
 *     PROTOCOL SOURCE PORT DESTINATION PORT DIRECTION PACKETS BYTES PACKETS BYTES
 *
 * from the initiator and from the responder; direction 1: we began. A flood has too
 * many flows for that: its truth is packets and bytes by source network.
 *
 * Every socket lives as long as the process; but for multicast all is on loopback.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <linux/sock_diag.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/peers/truth.h"
#include "user/util/clock.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

#define IP4_HEADER    20
#define IP6_HEADER    40
#define UDP_HEADER    8
#define FLOOD_BATCH   64
#define FLOOD_SOCKETS 64

static const char help[] =
	"Usage: packetgen MODE [OPTION]...\n"
	"Makes packets on loopback, and prints a line of truth for each flow.\n\n"
	"  peers      one unconnected UDP socket and many peers; they answer\n"
	"  empty      datagrams without payload, connected and not\n"
	"  multicast  one sender, three members of its group\n"
	"  segments   one send is cut into many datagrams, and put together again (GSO, GRO)\n"
	"  raw        raw sockets of an IP protocol\n"
	"  pause      two datagrams from one socket with so many milliseconds between: two flows\n"
	"  flood      datagrams from as many sources as there are addresses and ports\n"
	"  send       one datagram from a socket without a peer, without truth\n\n"
	"  --net N          of 127.N.0.0/16 (1)\n"
	"  --v6 PREFIX      IPv6 instead, of this prefix (\"fd00:1::\"), routed to lo as local\n"
	"  --packets N      of a flood, all together (100000)\n"
	"  --networks N     of a flood: source networks, 1 to 255 (16)\n"
	"  --rate N         of a flood: so many packets a second at the most; 0: no limit (0)\n"
	"  --from ADDR --interface NUMBER  where multicast leaves: not on lo\n"
	"  --from ADDR --port N --to ADDR --to-port N  of send\n"
	"  --ms N           of a pause (3000)\n"
	"  --protocol N     of raw sockets (253)\n";

struct options {
	unsigned net, packets, networks, rate, ms, protocol, interface;
	unsigned port, to_port;
	const char *v6, *from, *to;
};

static char payload[65536];

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *fmt, ...)
{
	va_list ap;
	int err = errno;

	va_start(ap, fmt);
	fputs("packetgen: ", stderr);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, ": %s\n", strerror(err));
	exit(1);
}

/* Host number n of ours: 127.N.hi.lo, or PREFIX:hi::lo. */
static union truth_addr host(const struct options *o, unsigned n, uint16_t port)
{
	union truth_addr a;
	char text[INET6_ADDRSTRLEN];

	if (o->v6)
		snprintf(text, sizeof(text), "%.*s:%x::%x", (int)strlen(o->v6) - 2, o->v6, n >> 8,
			 n & 255);
	else
		snprintf(text, sizeof(text), "127.%u.%u.%u", o->net, n >> 8 & 255, n & 255);
	if (!truth_parse_addr(text, port, &a))
		die("%s", text);
	return a;
}

static const char *text_of(const union truth_addr *a, char ret[static INET6_ADDRSTRLEN])
{
	if (a->sa.sa_family == AF_INET)
		inet_ntop(AF_INET, &a->v4.sin_addr, ret, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, &a->v6.sin6_addr, ret, INET6_ADDRSTRLEN);
	return ret;
}

static int bound(union truth_addr *at, int type, int protocol)
{
	socklen_t len = truth_addr_len(at);
	int one = 1, fd = socket(at->sa.sa_family, type | SOCK_CLOEXEC, protocol);

	if (fd < 0)
		die("socket");
	/* An address that nobody has, but that is routed to us. */
	if (at->sa.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof(one));
	if (bind(fd, &at->sa, len) < 0)
		die("bind");
	getsockname(fd, &at->sa, &len);
	return fd;
}

static void send_to(int fd, const union truth_addr *to, size_t size)
{
	if (sendto(fd, payload, size, 0, &to->sa, truth_addr_len(to)) != (ssize_t)size)
		die("send of %zu bytes", size);
}

/* So many bytes of payload as read, in one read. */
static size_t take(int fd, union truth_addr *from)
{
	union truth_addr who;
	socklen_t len = sizeof(who);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, 5000) != 1)
		die("nothing came");
	n = recvfrom(fd, payload, sizeof(payload), 0, &who.sa, &len);
	if (n < 0)
		die("recv");
	if (from)
		*from = who;
	return (size_t)n;
}

static unsigned headers(const union truth_addr *a)
{
	return UDP_HEADER + (a->sa.sa_family == AF_INET ? IP4_HEADER : IP6_HEADER);
}

struct sum {
	uint64_t packets, bytes;
};

static void tell(int protocol, const union truth_addr *from, const union truth_addr *to, bool out,
		 struct sum there, struct sum back)
{
	char a[INET6_ADDRSTRLEN], b[INET6_ADDRSTRLEN];
	bool ports = protocol == IPPROTO_UDP;

	printf("%d %s %u %s %u %d %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", protocol,
	       text_of(from, a), ports ? truth_port_of(from) : 0, text_of(to, b),
	       ports ? truth_port_of(to) : 0, out, there.packets, there.bytes, back.packets,
	       back.bytes);
}

/* ------------------------------------------------------------------ modes */

static void peers(const struct options *o)
{
	enum { PEERS = 50 };
	union truth_addr at = host(o, 1, 0);
	int fd = bound(&at, SOCK_DGRAM, 0);

	for (unsigned i = 0; i < PEERS; i++) {
		union truth_addr peer = host(o, 256 + i, 0), from;
		int other = bound(&peer, SOCK_DGRAM, 0);
		struct sum there = { 0 }, back = { 0 };

		for (unsigned k = 0; k <= i % 5; k++) {
			size_t size = (size_t)i * 29 * k;

			send_to(fd, &peer, size);
			if (take(other, &from) != size)
				die("another size");
			there.packets++;
			there.bytes += size + headers(&at);
			if (k % 2)
				continue;
			send_to(other, &from, size + 1);
			take(fd, NULL);
			back.packets++;
			back.bytes += size + 1 + headers(&at);
		}
		tell(IPPROTO_UDP, &at, &peer, true, there, back);
		tell(IPPROTO_UDP, &at, &peer, false, there, back);
	}
}

static void empty(const struct options *o)
{
	for (int connected = 0; connected < 2; connected++) {
		union truth_addr at = host(o, 1, 0), to = host(o, 2, 0);
		int fd = bound(&at, SOCK_DGRAM, 0), other = bound(&to, SOCK_DGRAM, 0);
		struct sum there = { 7, 7ull * headers(&at) };

		if (connected && connect(fd, &to.sa, truth_addr_len(&to)) < 0)
			die("connect");
		for (int k = 0; k < 7; k++) {
			if (connected ? send(fd, "", 0, 0) != 0 : (send_to(fd, &to, 0), false))
				die("send");
			if (take(other, NULL) != 0)
				die("not empty");
		}
		tell(IPPROTO_UDP, &at, &to, true, there, (struct sum){ 0 });
		tell(IPPROTO_UDP, &at, &to, false, there, (struct sum){ 0 });
	}
}

static void join(const struct options *o, int fd, const union truth_addr *group)
{
	if (o->v6) {
		struct ipv6_mreq m = { .ipv6mr_multiaddr = group->v6.sin6_addr,
				       .ipv6mr_interface = o->interface };

		if (setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof(m)) < 0)
			die("IPV6_JOIN_GROUP");
	} else {
		struct ip_mreqn m = { .imr_multiaddr = group->v4.sin_addr,
				      .imr_ifindex = (int)o->interface };

		if (setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)) < 0)
			die("IP_ADD_MEMBERSHIP");
	}
}

static void multicast(const struct options *o)
{
	enum { MEMBERS = 3, DATAGRAMS = 11 };
	struct ip_mreqn on = { .imr_ifindex = (int)o->interface };
	int fd, members[MEMBERS], one = 1, on6 = (int)o->interface;
	union truth_addr at, group;
	struct sum sum = { 0 };
	char text[64];

	if (!o->from || !truth_parse_addr(o->from, 0, &at))
		die("--from");
	fd = bound(&at, SOCK_DGRAM, 0);
	snprintf(text, sizeof(text), o->v6 ? "ff15::%x" : "239.77.%u.1", o->net);
	truth_parse_addr(text, 0, &group);
	for (int i = 0; i < MEMBERS; i++) {
		union truth_addr any = group;

		members[i] = socket(group.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		setsockopt(members[i], SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (members[i] < 0 || bind(members[i], &any.sa, truth_addr_len(&any)) < 0)
			die("bind to the group");
		if (!i) {
			socklen_t len = sizeof(group);

			getsockname(members[i], &any.sa, &len);
			truth_set_port(&group, truth_port_of(&any));
		}
		join(o, members[i], &group);
	}
	if (o->v6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &on6, sizeof(on6)) < 0
		  : setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &on, sizeof(on)) < 0)
		die("MULTICAST_IF");
	for (size_t k = 0; k < DATAGRAMS; k++) {
		send_to(fd, &group, k * 100);
		for (int i = 0; i < MEMBERS; i++)
			if (take(members[i], NULL) != k * 100)
				die("another size");
		sum.packets++;
		sum.bytes += k * 100 + headers(&at);
	}
	tell(IPPROTO_UDP, &at, &group, true, sum, (struct sum){ 0 });
	for (int i = 0; i < MEMBERS; i++)
		tell(IPPROTO_UDP, &at, &group, false, sum, (struct sum){ 0 });
}

/* Both ends send as a QUIC stack does: trains of full datagrams and a shorter last one. */
static void segments(const struct options *o)
{
	union truth_addr at[2] = { host(o, 1, 0), host(o, 2, 0) };
	int fd[2], one = 1, segment = 1200;
	struct sum sum[2] = { 0 };

	for (int i = 0; i < 2; i++) {
		fd[i] = bound(&at[i], SOCK_DGRAM, 0);
		if (setsockopt(fd[i], IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment)) < 0 ||
		    setsockopt(fd[i], IPPROTO_UDP, UDP_GRO, &one, sizeof(one)) < 0)
			die("UDP_SEGMENT, UDP_GRO");
	}
	for (size_t k = 1; k < 40; k++) {
		int from = k % 3 ? 0 : 1;
		size_t size = k * 1200 + k % 7, left = size;

		send_to(fd[from], &at[!from], size);
		while (left)
			left -= take(fd[!from], NULL);
		sum[from].packets += (size + 1199) / 1200;
		sum[from].bytes += size + (size + 1199) / 1200 * headers(&at[0]);
	}
	tell(IPPROTO_UDP, &at[0], &at[1], true, sum[0], sum[1]);
	tell(IPPROTO_UDP, &at[0], &at[1], false, sum[0], sum[1]);
}

static void raw(const struct options *o)
{
	union truth_addr at = host(o, 1, 0), to = host(o, 2, 0);
	int fd = bound(&at, SOCK_RAW, (int)o->protocol),
	    other = bound(&to, SOCK_RAW, (int)o->protocol);
	struct sum sum = { 0 };

	/* Of those protocols that begin with ports: none. */
	memset(payload, 0, 64);
	for (size_t k = 0; k < 9; k++) {
		send_to(fd, &to, 12 + k * 50);
		take(other, NULL);
		memset(payload, 0, 64);
		sum.packets++;
		sum.bytes += 12 + k * 50 + (o->v6 ? IP6_HEADER : IP4_HEADER);
	}
	tell((int)o->protocol, &at, &to, true, sum, (struct sum){ 0 });
	tell((int)o->protocol, &at, &to, false, sum, (struct sum){ 0 });
}

static void pause_between(const struct options *o)
{
	union truth_addr at = host(o, 1, 0), to = host(o, 2, 0);
	int fd = bound(&at, SOCK_DGRAM, 0), other = bound(&to, SOCK_DGRAM, 0);

	for (size_t k = 0; k < 2; k++) {
		struct sum sum = { 1, 10 + k + headers(&at) };

		if (k)
			usleep(o->ms * 1000);
		send_to(fd, &to, 10 + k);
		take(other, NULL);
		tell(IPPROTO_UDP, &at, &to, true, sum, (struct sum){ 0 });
		tell(IPPROTO_UDP, &at, &to, false, sum, (struct sum){ 0 });
	}
}

static void send_one(const struct options *o)
{
	union truth_addr at, to;

	if (!o->from || !o->to || !truth_parse_addr(o->from, (uint16_t)o->port, &at) ||
	    !truth_parse_addr(o->to, (uint16_t)o->to_port, &to))
		die("--from, --to");
	send_to(bound(&at, SOCK_DGRAM, 0), &to, 10);
}

/* ------------------------------------------------------------------ the flood */

/* Reads so that the sender is not held up. What finds no room is counted by the kernel. */
static void flood_reader(int fd, int done_fd)
{
	static char bytes[FLOOD_BATCH][16];
	struct iovec iov[FLOOD_BATCH];
	struct mmsghdr m[FLOOD_BATCH];
	uint32_t mem[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(mem);
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN },
			       { .fd = done_fd, .events = POLLIN } };
	uint64_t packets = 0;
	int n;

	for (int i = 0; i < FLOOD_BATCH; i++) {
		iov[i] = (struct iovec){ bytes[i], sizeof(bytes[i]) };
		m[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &iov[i], .msg_iovlen = 1 } };
	}
	for (;;) {
		if (poll(p, 2, -1) < 0)
			die("poll");
		n = recvmmsg(fd, m, FLOOD_BATCH, MSG_DONTWAIT, NULL);
		if (n > 0)
			packets += (uint64_t)n;
		else if (p[1].revents)
			break;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, mem, &len) < 0)
		die("SO_MEMINFO");
	fprintf(stderr, "arrived %" PRIu64 "\n", packets + mem[SK_MEMINFO_DROPS]);
	exit(0);
}

/* From host n of network k, whichever address the socket has: it has none. */
static void set_source(struct msghdr *h, const union truth_addr *from)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(h);

	if (from->sa.sa_family == AF_INET6) {
		struct in6_pktinfo info = { .ipi6_addr = from->v6.sin6_addr };

		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
	} else {
		struct in_pktinfo info = { .ipi_spec_dst = from->v4.sin_addr };

		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
	}
	h->msg_controllen = CMSG_SPACE(from->sa.sa_family == AF_INET6 ? sizeof(struct in6_pktinfo)
								      : sizeof(struct in_pktinfo));
}

/* Keeps to the rate on the whole: who is late does not wait. */
static void wait_for_turn(uint64_t from_ns, uint64_t packets, unsigned rate)
{
	uint64_t ns = from_ns + packets * 1000000000 / rate;
	struct timespec due = { .tv_sec = (time_t)(ns / 1000000000),
				.tv_nsec = (long)(ns % 1000000000) };

	clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &due, NULL);
}

static void flood(const struct options *o)
{
	static char control[FLOOD_BATCH][64];
	union truth_addr to = host(o, 0xff01, 0);
	int fd = bound(&to, SOCK_DGRAM, 0), sockets[FLOOD_SOCKETS], done[2], one = 1, status;
	struct iovec iov = { payload, 16 };
	struct mmsghdr m[FLOOD_BATCH];
	uint64_t sent[256] = { 0 }, from_ns, ns;
	unsigned n_sockets = 0, per_socket = o->networks * 254;
	pid_t reader;

	if (pipe2(done, O_CLOEXEC) < 0)
		die("pipe");
	fflush(stdout);
	reader = fork();
	if (!reader) {
		close(done[1]);
		flood_reader(fd, done[0]);
	}
	from_ns = clock_boot_ns();
	for (unsigned k = 0; k < o->packets;) {
		unsigned n = 0, host_number, socket_number;
		int got;

		if (o->rate)
			wait_for_turn(from_ns, k, o->rate);
		/* The next port, when all addresses had this one. */
		socket_number = k / per_socket;
		for (; n < FLOOD_BATCH && k + n < o->packets; n++) {
			union truth_addr from;
			unsigned network = (k + n) % o->networks;

			if ((k + n) / per_socket != socket_number)
				break;

			host_number = (k + n) / o->networks % 254 + 1;
			from = host(o, network << 8 | host_number, 0);
			m[n] = (struct mmsghdr){ .msg_hdr = { .msg_name = &to.sa,
							      .msg_namelen = truth_addr_len(&to),
							      .msg_iov = &iov,
							      .msg_iovlen = 1,
							      .msg_control = control[n],
							      .msg_controllen = 64 } };
			set_source(&m[n].msg_hdr, &from);
		}
		if (socket_number >= FLOOD_SOCKETS) {
			fprintf(stderr, "packetgen: no more than %u packets from %u networks\n", k,
				o->networks);
			exit(1);
		}
		if (socket_number == n_sockets) {
			union truth_addr any = { .sa.sa_family = to.sa.sa_family };

			sockets[n_sockets] = bound(&any, SOCK_DGRAM, 0);
			setsockopt(sockets[n_sockets], SOL_IP, IP_FREEBIND, &one, sizeof(one));
			n_sockets++;
		}
		got = sendmmsg(sockets[socket_number], m, n, 0);
		if (got <= 0)
			die("sendmmsg");
		for (int i = 0; i < got; i++)
			sent[(k + (unsigned)i) % o->networks]++;
		k += (unsigned)got;
	}
	ns = clock_boot_ns() - from_ns;
	close(done[1]);
	waitpid(reader, &status, 0);
	for (unsigned i = 0; i < o->networks; i++) {
		union truth_addr network = host(o, i << 8, 0);
		char text[INET6_ADDRSTRLEN];

		printf("%s %" PRIu64 " %" PRIu64 "\n", text_of(&network, text), sent[i],
		       sent[i] * (16 + headers(&to)));
	}
	fprintf(stderr, "sent %u, %.0f a second\n", o->packets,
		(double)o->packets * 1e9 / (double)ns);
}

static const struct {
	const char *name;
	void (*run)(const struct options *o);
} modes[] = {
	{ "peers", peers }, { "empty", empty },		{ "multicast", multicast },
	{ "raw", raw },	    { "pause", pause_between }, { "segments", segments },
	{ "flood", flood }, { "send", send_one },
};

int main(int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "net", 1, NULL, 'n' },     { "v6", 1, NULL, '6' },
		{ "packets", 1, NULL, 'p' }, { "networks", 1, NULL, 'w' },
		{ "rate", 1, NULL, 'R' },    { "ms", 1, NULL, 'm' },
		{ "from", 1, NULL, 'f' },    { "interface", 1, NULL, 'i' },
		{ "port", 1, NULL, 'P' },    { "to", 1, NULL, 't' },
		{ "to-port", 1, NULL, 'T' }, { "protocol", 1, NULL, 'r' },
		{ "help", 0, NULL, 'h' },    { 0 },
	};
	struct options o = { .net = 1,
			     .packets = 100000,
			     .networks = 16,
			     .ms = 3000,
			     .protocol = 253,
			     .interface = 1 };
	int c;

	log_set_name("packetgen");
	while ((c = getopt_long(argc, argv, "h", longopts, NULL)) != -1) {
		switch (c) {
		case 'n':
			o.net = truth_number(optarg, NULL, 0, 255);
			break;
		case '6':
			o.v6 = *optarg ? optarg : NULL;
			break;
		case 'p':
			o.packets = truth_number(optarg, NULL, 1, 1000000000);
			break;
		case 'w':
			o.networks = truth_number(optarg, NULL, 1, 255);
			break;
		case 'R':
			o.rate = truth_number(optarg, NULL, 0, 1000000000);
			break;
		case 'f':
			o.from = optarg;
			break;
		case 't':
			o.to = optarg;
			break;
		case 'P':
			o.port = truth_number(optarg, NULL, 1, 65535);
			break;
		case 'T':
			o.to_port = truth_number(optarg, NULL, 1, 65535);
			break;
		case 'i':
			o.interface = truth_number(optarg, NULL, 1, 100000);
			break;
		case 'm':
			o.ms = truth_number(optarg, NULL, 1, 3600000);
			break;
		case 'r':
			o.protocol = truth_number(optarg, NULL, 1, 255);
			break;
		case 'h':
			fputs(help, stdout);
			return 0;
		default:
			return 2;
		}
	}
	for (size_t i = 0; optind + 1 == argc && i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(argv[optind], modes[i].name)) {
			modes[i].run(&o);
			return fflush(stdout) ? 1 : 0;
		}
	fputs(help, stderr);
	return 2;
}
