/* SPDX-License-Identifier: Apache-2.0 */
/* A list of hosts, "host[:port],…", as output.host has it; "[v6]:port" in brackets. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "config/private.h"

static int parse_port(const char *p, size_t len, uint16_t *ret)
{
	unsigned long port = 0;

	if (!len || len > 5)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (p[i] < '0' || p[i] > '9')
			return -EINVAL;
		port = port * 10 + (unsigned long)(p[i] - '0');
	}
	if (!port || port > 65535)
		return -EINVAL;
	*ret = (uint16_t)port;
	return 0;
}

int config_parse_target(const char **list, char *host, size_t size, uint16_t *ret_port)
{
	const char *p = *list, *colon;
	size_t len = strcspn(p, ","), host_len, rest;
	uint16_t port = 0;

	*list = p + len + (p[len] == ',');
	while (len && *p == ' ') {
		p++;
		len--;
	}
	while (len && p[len - 1] == ' ')
		len--;
	if (!len)
		return -EINVAL;
	if (*p == '[') {
		const char *end = memchr(p, ']', len);

		if (!end)
			return -EINVAL;
		host_len = (size_t)(end - p - 1);
		rest = len - host_len - 2;
		if (rest && (end[1] != ':' || parse_port(end + 2, rest - 1, &port) < 0))
			return -EINVAL;
		p++;
		if (!config_is_ipv6(p, host_len))
			return -EINVAL;
	} else if (config_is_ipv6(p, len)) {
		host_len = len;
	} else {
		colon = memchr(p, ':', len);
		host_len = colon ? (size_t)(colon - p) : len;
		if (colon && parse_port(colon + 1, len - host_len - 1, &port) < 0)
			return -EINVAL;
		if (!config_is_name(p, host_len))
			return -EINVAL;
	}
	if (host_len >= size)
		return -EINVAL;
	memcpy(host, p, host_len);
	host[host_len] = '\0';
	*ret_port = port;
	return 0;
}

const char *config_check_targets(char *value)
{
	const char *p = value;
	char host[256];
	uint16_t port;
	int n = 0;

	do {
		if (++n > CONFIG_TARGETS_MAX)
			return "names more than 8 hosts; leave some out";
		if (config_parse_target(&p, host, sizeof(host), &port) < 0)
			return "is not a host; allowed: a name or an address, without scheme or path, "
			       "with :port behind it if you like; IPv6 then in brackets; several with "
			       "commas, the one to prefer first";
	} while (*p || (p > value && p[-1] == ','));
	return NULL;
}
