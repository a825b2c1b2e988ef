/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "user/host.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "user/util/cleanup.h"
#include "user/util/sha1.h"

/* os-release(5): the value stands bare, or in quotes of either kind. */
static void parse_os_release_line(const char *p, const char *end, struct host *h)
{
	const char *value = memchr(p, '=', (size_t)(end - p));
	size_t key_len, len;
	char *to;

	if (!value)
		return;
	key_len = (size_t)(value++ - p);
	if (key_len == strlen("NAME") && memcmp(p, "NAME", key_len) == 0)
		to = h->os_name;
	else if (key_len == strlen("VERSION_ID") && memcmp(p, "VERSION_ID", key_len) == 0)
		to = h->os_version;
	else
		return;
	if (value < end && (*value == '"' || *value == '\'')) {
		const char *close = memchr(value + 1, *value, (size_t)(end - value - 1));

		value++;
		end = close ? close : end;
	}
	len = (size_t)(end - value);
	if (len > sizeof(h->os_name) - 1)
		len = sizeof(h->os_name) - 1;
	memcpy(to, value, len);
	to[len] = 0;
}

void host_parse_os_release(struct slice text, struct host *ret)
{
	const char *p = text.p, *end = p + text.len;

	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));

		parse_os_release_line(p, nl ? nl : end, ret);
		p = nl ? nl + 1 : end;
	}
}

static void read_os_release(struct host *h)
{
	_cleanup_fclose_ FILE *f = fopen("/etc/os-release", "re");
	char text[8192];

	if (!f)
		f = fopen("/usr/lib/os-release", "re");
	if (f)
		host_parse_os_release((struct slice){ text, fread(text, 1, sizeof(text), f) }, h);
}

/* machine-id(5) asks not to show the id itself, but a hash of it with one's own name. */
static void read_id(struct host *h)
{
	_cleanup_fclose_ FILE *f = fopen("/etc/machine-id", "re");
	char machine[64] = "";
	uint8_t digest[SHA1_SIZE];
	char text[128];
	int n;

	if (!f || !fgets(machine, sizeof(machine), f))
		return;
	machine[strcspn(machine, "\n")] = 0;
	if (!machine[0])
		return;
	n = snprintf(text, sizeof(text), "sekoia-ebpf agent.id %s", machine);
	sha1(text, (size_t)n, digest);
	for (int i = 0; i < 16; i++)
		snprintf(h->id + 2 * i, 3, "%02x", digest[i]);
}

static void read_ips(struct host *h)
{
	struct ifaddrs *list = NULL;

	if (getifaddrs(&list) < 0)
		return;
	for (struct ifaddrs *a = list; a && h->n_ips < RECORD_MAX_IPS; a = a->ifa_next) {
		const void *address = NULL;

		if (!a->ifa_addr || a->ifa_flags & IFF_LOOPBACK)
			continue;
		if (a->ifa_addr->sa_family == AF_INET) {
			address =
				&((const struct sockaddr_in *)(const void *)a->ifa_addr)->sin_addr;
		} else if (a->ifa_addr->sa_family == AF_INET6) {
			const struct in6_addr *six =
				&((const struct sockaddr_in6 *)(const void *)a->ifa_addr)
					 ->sin6_addr;

			if (!IN6_IS_ADDR_LINKLOCAL(six))
				address = six;
		}
		if (!address || !inet_ntop(a->ifa_addr->sa_family, address, h->ips[h->n_ips],
					   sizeof(h->ips[0])))
			continue;
		h->ip_list[h->n_ips] = h->ips[h->n_ips];
		h->n_ips++;
	}
	freeifaddrs(list);
}

void host_read(struct host *h, const char *hostname)
{
	memset(h, 0, sizeof(*h));
	if (hostname)
		snprintf(h->name, sizeof(h->name), "%s", hostname);
	else if (gethostname(h->name, sizeof(h->name) - 1) < 0)
		snprintf(h->name, sizeof(h->name), "localhost");
	read_os_release(h);
	read_id(h);
	read_ips(h);
}

void host_fill(const struct host *h, struct record_opts *ret)
{
	ret->hostname = slice_of(h->name);
	ret->ips = h->ip_list;
	ret->n_ips = h->n_ips;
	ret->os_name = slice_of(h->os_name);
	ret->os_version = slice_of(h->os_version);
	ret->agent_id = slice_of(h->id);
}

int64_t host_kernel_to_real_ns(void)
{
	struct timespec mono, real;

	clock_gettime(CLOCK_MONOTONIC, &mono);
	clock_gettime(CLOCK_REALTIME, &real);
	return (real.tv_sec - mono.tv_sec) * 1000000000ll + real.tv_nsec - mono.tv_nsec;
}
