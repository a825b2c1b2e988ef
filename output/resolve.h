/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name to its addresses, in the loop (c-ares: the C library's resolver blocks
 * and does not link statically). Literal addresses first, then /etc/hosts,
 * which settles the matter when it knows the name, then DNS.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "user/util/loop.h"

#define RESOLVE_ADDRS_MAX 8   /* of each family; the rest is left out */
#define RESOLVE_TEXT_SIZE 64  /* an address for people */
#define RESOLVE_HOST_MAX  255 /* bytes of a name */

struct resolve;

union resolve_addr {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/*
 * Brings n new addresses. IPv6 comes first, if it comes at all: IPv4 is held
 * back for 50 ms (RFC 8305, 3). While more is true, another call follows; a
 * call without addresses is the last one, and why then says what went wrong
 * if there never were any. May call resolve_free().
 */
typedef void (*resolve_fn)(void *arg, const union resolve_addr *addrs, int n, bool more,
			   const char *why);

/*
 * Reads resolv.conf and hosts anew each time. Never calls fn from inside.
 * There is no limit in time here: each server is asked three times, then it is
 * a failure; free it to give up sooner.
 */
int resolve_new(struct loop *loop, const char *host, uint16_t port, resolve_fn fn, void *arg,
		struct resolve **ret);

/* Also cancels. NULL is fine. */
void resolve_free(struct resolve *r);
DEFINE_CLEANUP(struct resolve *, resolve_free);

/* "10.0.0.1, fd00::1": who is asked, for an error text. */
void resolve_servers(const struct resolve *r, char *text, size_t size);

/* An address without a name: "192.0.2.1", "2001:db8::1", "fe80::1%eth0". */
bool resolve_literal(const char *host, uint16_t port, union resolve_addr *ret);

/* The reverse, without the port. */
const char *resolve_addr_text(const union resolve_addr *a, char text[static RESOLVE_TEXT_SIZE]);

static inline socklen_t resolve_addr_size(const union resolve_addr *a)
{
	return a->any.sa_family == AF_INET6 ? sizeof(a->v6) : sizeof(a->v4);
}
