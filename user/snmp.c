/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/snmp.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "user/util/cleanup.h"

const char *const unowned_names[UNOWNED_KINDS] = {
	[UNOWNED_TCP] = "tcp",	       [UNOWNED_UDP] = "udp",	  [UNOWNED_ICMP] = "icmp",
	[UNOWNED_ICMP6] = "ipv6-icmp", [UNOWNED_OTHER] = "other", [UNOWNED_FORWARDED] = "forwarded",
};

#define SENT	 0
#define RECEIVED 1

/* Lines of IPv4 have a name in front; those of IPv6 begin with the key. */
static const struct {
	const char *line, *key;
	enum unowned kind;
	int which;
} keys[] = {
	{ "Tcp", "OutRsts", UNOWNED_TCP, SENT },
	{ "Udp", "NoPorts", UNOWNED_UDP, RECEIVED },
	{ "UdpLite", "NoPorts", UNOWNED_UDP, RECEIVED },
	{ NULL, "Udp6NoPorts", UNOWNED_UDP, RECEIVED },
	{ NULL, "UdpLite6NoPorts", UNOWNED_UDP, RECEIVED },
	{ "Icmp", "InMsgs", UNOWNED_ICMP, RECEIVED },
	{ "Icmp", "OutDestUnreachs", UNOWNED_ICMP, SENT },
	{ "Icmp", "OutTimeExcds", UNOWNED_ICMP, SENT },
	{ "Icmp", "OutParmProbs", UNOWNED_ICMP, SENT },
	{ "Icmp", "OutRedirects", UNOWNED_ICMP, SENT },
	{ "Icmp", "OutEchoReps", UNOWNED_ICMP, SENT },
	{ "Icmp", "OutTimestampReps", UNOWNED_ICMP, SENT },
	{ NULL, "Icmp6InMsgs", UNOWNED_ICMP6, RECEIVED },
	{ NULL, "Icmp6OutDestUnreachs", UNOWNED_ICMP6, SENT },
	{ NULL, "Icmp6OutPktTooBigs", UNOWNED_ICMP6, SENT },
	{ NULL, "Icmp6OutTimeExcds", UNOWNED_ICMP6, SENT },
	{ NULL, "Icmp6OutParmProblems", UNOWNED_ICMP6, SENT },
	{ NULL, "Icmp6OutEchoReplies", UNOWNED_ICMP6, SENT },
	{ NULL, "Icmp6OutRouterSolicits", UNOWNED_ICMP6, SENT },
	{ NULL, "Icmp6OutNeighborSolicits", UNOWNED_ICMP6, SENT },
	{ NULL, "Icmp6OutNeighborAdvertisements", UNOWNED_ICMP6, SENT },
	{ NULL, "Icmp6OutMLDv2Reports", UNOWNED_ICMP6, SENT },
	{ "Ip", "InUnknownProtos", UNOWNED_OTHER, RECEIVED },
	{ NULL, "Ip6InUnknownProtos", UNOWNED_OTHER, RECEIVED },
	{ "Ip", "ForwDatagrams", UNOWNED_FORWARDED, SENT },
	{ NULL, "Ip6OutForwDatagrams", UNOWNED_FORWARDED, SENT },
};

static bool is(struct slice s, const char *text)
{
	return s.len == strlen(text) && !memcmp(s.p, text, s.len);
}

/* The next word of what is left; empty at its end. */
static struct slice word(struct slice *left)
{
	struct slice w;

	while (left->len && (*left->p == ' ' || *left->p == '\t'))
		*left = (struct slice){ left->p + 1, left->len - 1 };
	w = (struct slice){ left->p, 0 };
	while (left->len && *left->p != ' ' && *left->p != '\t') {
		*left = (struct slice){ left->p + 1, left->len - 1 };
		w.len++;
	}
	return w;
}

static struct slice line(struct slice *left)
{
	const char *end = left->len ? memchr(left->p, '\n', left->len) : NULL;
	struct slice l = { left->p, end ? (size_t)(end - left->p) : left->len };
	size_t taken = l.len + (end ? 1 : 0);

	*left = (struct slice){ left->p + taken, left->len - taken };
	return l;
}

/* 0 for what is no number: the kernel writes -1 for what has none. */
static uint64_t number(struct slice s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return 0;
		n = n * 10 + (uint64_t)(s.p[i] - '0');
	}
	return n;
}

static void take(const char *name, struct slice key, uint64_t n, struct unowned_packets *ret)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (!keys[i].line != !name || (name && strcmp(keys[i].line, name) != 0) ||
		    !is(key, keys[i].key))
			continue;
		*(keys[i].which == SENT ? &ret[keys[i].kind].sent : &ret[keys[i].kind].received) +=
			n;
	}
}

void snmp_parse(struct slice text, struct unowned_packets ret[static UNOWNED_KINDS])
{
	while (text.len) {
		struct slice names = line(&text), values = line(&text), name, first;
		char of[16];

		first = word(&names);
		name = word(&values);
		if (first.len != name.len || first.len < 2 || first.len > sizeof(of) ||
		    memcmp(first.p, name.p, name.len) != 0)
			continue;
		memcpy(of, name.p, name.len - 1); /* without its colon */
		of[name.len - 1] = '\0';
		while (names.len && values.len) {
			struct slice key = word(&names);

			take(of, key, number(word(&values)), ret);
		}
	}
}

void snmp6_parse(struct slice text, struct unowned_packets ret[static UNOWNED_KINDS])
{
	while (text.len) {
		struct slice l = line(&text), key = word(&l);

		take(NULL, key, number(word(&l)), ret);
	}
}

static void read_file(const char *path, void (*parse)(struct slice, struct unowned_packets *),
		      struct unowned_packets *ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[16384];
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return;
	while (len < sizeof(text) && (n = read(fd, text + len, sizeof(text) - len)) > 0)
		len += (size_t)n;
	parse((struct slice){ text, len }, ret);
}

void snmp_read(struct unowned_packets ret[static UNOWNED_KINDS])
{
	memset(ret, 0, UNOWNED_KINDS * sizeof(*ret));
	read_file("/proc/self/net/snmp", snmp_parse, ret);
	read_file("/proc/self/net/snmp6", snmp6_parse, ret);
}
