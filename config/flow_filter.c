/* SPDX-License-Identifier: Apache-2.0 */
#include "config/flow_filter.h"

#include <arpa/inet.h>
#include <string.h>

#include "config/private.h"

static struct slice trimmed(const char *from, const char *end)
{
	while (from < end && (*from == ' ' || *from == '\t'))
		from++;
	while (end > from && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	return (struct slice){ from, (size_t)(end - from) };
}

bool flow_list_each(const char *list, bool (*fn)(void *arg, struct slice item, bool unwanted),
		    void *arg)
{
	const char *from = list;

	for (int n = 0;; n++) {
		const char *end = from + strcspn(from, ",");
		struct slice item = trimmed(from, end);
		bool unwanted = item.len && item.p[0] == '!';

		if (unwanted)
			item = trimmed(item.p + 1, item.p + item.len);
		if (!item.len || n == FLOW_LIST_MAX || !fn(arg, item, unwanted))
			return false;
		if (!*end)
			return true;
		from = end + 1;
	}
}

bool flow_is_plain(struct slice name)
{
	for (size_t i = 0; i < name.len; i++)
		if ((unsigned char)name.p[i] <= ' ' || name.p[i] == 0x7f || name.p[i] == ',')
			return false;
	return name.len;
}

/* A decimal number up to max; -1: none. */
static long parse_number(struct slice s, long max)
{
	long n = 0;

	if (!s.len || s.len > 9)
		return -1;
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -1;
		n = n * 10 + (s.p[i] - '0');
	}
	return n <= max ? n : -1;
}

bool flow_network_parse(struct slice item, struct flow_network *ret)
{
	struct flow_network net = { 0 };
	const char *slash = memchr(item.p, '/', item.len);
	size_t len = slash ? (size_t)(slash - item.p) : item.len;
	char address[INET6_ADDRSTRLEN];
	long bits, max;

	if (len >= sizeof(address))
		return false;
	memcpy(address, item.p, len);
	address[len] = '\0';
	if (inet_pton(AF_INET, address, net.address + 12) == 1) {
		net.address[10] = net.address[11] = 0xff;
		max = 32;
	} else if (inet_pton(AF_INET6, address, net.address) == 1) {
		max = 128;
	} else {
		return false;
	}
	bits = slash ? parse_number((struct slice){ slash + 1, item.len - len - 1 }, max) : max;
	if (bits < 0)
		return false;
	net.prefix_len = (uint32_t)(bits + 128 - max);
	for (uint32_t i = 0; i < 16; i++) {
		uint32_t keep = net.prefix_len > i * 8 ? net.prefix_len - i * 8 : 0;

		if (keep < 8)
			net.address[i] &= (uint8_t)(0xff00 >> keep);
	}
	*ret = net;
	return true;
}

bool flow_ports_parse(struct slice item, struct flow_ports *ret)
{
	const char *dash = memchr(item.p, '-', item.len);
	size_t len = dash ? (size_t)(dash - item.p) : item.len;
	long first = parse_number((struct slice){ item.p, len }, UINT16_MAX);
	long last = dash ? parse_number((struct slice){ dash + 1, item.len - len - 1 }, UINT16_MAX)
			 : first;

	if (first < 0 || last < first)
		return false;
	ret->first = (uint16_t)first;
	ret->last = (uint16_t)last;
	return true;
}

int flow_protocol_parse(struct slice item)
{
	static const struct {
		const char *name;
		int number;
	} names[] = {
		{ "icmp", 1 },	 { "igmp", 2 },	     { "tcp", 6 },	  { "udp", 17 },
		{ "gre", 47 },	 { "esp", 50 },	     { "ipv6-icmp", 58 }, { "icmpv6", 58 },
		{ "sctp", 132 }, { "udplite", 136 },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (slice_is(item, names[i].name))
			return names[i].number;
	return (int)parse_number(item, UINT8_MAX);
}

/* ------------------------------------------------------------------ the options' checks */

static bool is_network(void *arg, struct slice item, bool unwanted)
{
	struct flow_network net;

	(void)arg, (void)unwanted;
	return flow_network_parse(item, &net);
}

static bool is_ports(void *arg, struct slice item, bool unwanted)
{
	struct flow_ports ports;

	(void)arg, (void)unwanted;
	return flow_ports_parse(item, &ports);
}

static bool is_protocol(void *arg, struct slice item, bool unwanted)
{
	(void)arg, (void)unwanted;
	return flow_protocol_parse(item) >= 0;
}

static bool is_command(void *arg, struct slice item, bool unwanted)
{
	(void)arg, (void)unwanted;
	return item.len <= 15;
}

static bool is_user(void *arg, struct slice item, bool unwanted)
{
	(void)arg, (void)unwanted;
	return item.len < FLOW_ITEM_SIZE && !memchr(item.p, ':', item.len) &&
	       !memchr(item.p, '/', item.len);
}

static bool is_cgroup(void *arg, struct slice item, bool unwanted)
{
	(void)arg, (void)unwanted;
	return item.p[0] == '/' && item.len < FLOW_ITEM_SIZE;
}

static bool is_unit(void *arg, struct slice item, bool unwanted)
{
	(void)arg, (void)unwanted;
	return item.len < FLOW_ITEM_SIZE && flow_is_plain(item) && !memchr(item.p, '/', item.len);
}

static bool is_identifier(void *arg, struct slice item, bool unwanted)
{
	(void)arg, (void)unwanted;
	return item.len < FLOW_ITEM_SIZE && flow_is_plain(item);
}

const char *config_check_networks(char *value)
{
	return flow_list_each(value, is_network, NULL)
		       ? NULL
		       : "is not a list of networks; allowed: 10.0.0.0/8, !fd00::/8, at most 256";
}

const char *config_check_ports(char *value)
{
	return flow_list_each(value, is_ports, NULL)
		       ? NULL
		       : "is not a list of ports; allowed: 443, 8000-8999, !53, at most 256";
}

const char *config_check_protocols(char *value)
{
	return flow_list_each(value, is_protocol, NULL)
		       ? NULL
		       : "is not a list of protocols; allowed: tcp, udp, icmp, icmpv6, sctp, ... or "
			 "numbers to 255, with ! in front of what is unwanted";
}

const char *config_check_users(char *value)
{
	return flow_list_each(value, is_user, NULL)
		       ? NULL
		       : "is not a list of users; allowed: names and numbers, www-data, !1000";
}

const char *config_check_commands(char *value)
{
	return flow_list_each(value, is_command, NULL)
		       ? NULL
		       : "is not a list of process names; allowed: names of at most 15 bytes as ps "
			 "-o comm shows them, nginx, !curl";
}

const char *config_check_cgroups(char *value)
{
	return flow_list_each(value, is_cgroup, NULL)
		       ? NULL
		       : "is not a list of cgroups; allowed: their paths from the root of cgroup v2, "
			 "!/system.slice/cron.service";
}

const char *config_check_units(char *value)
{
	return flow_list_each(value, is_unit, NULL)
		       ? NULL
		       : "is not a list of units; allowed: ssh, cron.service, user@*.service, "
			 "!session-*.scope, at most 256";
}

const char *config_check_identifiers(char *value)
{
	return flow_list_each(value, is_identifier, NULL)
		       ? NULL
		       : "is not a list of names; allowed: what stands before [PID]: in a log line, "
			 "sshd, postfix/*, !systemd, at most 256";
}
