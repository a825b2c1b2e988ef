/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which addresses this host has translated a connection's to, or from: asked of the
 * kernel's connection tracking when a flow is told, while it still knows.
 *
 * To ask takes CAP_NET_ADMIN, which the collector does not keep. So a process of our own
 * has that and little else: it takes a tuple, and gives the kernel's answer. It is
 * there only where there is connection tracking; it is asked only while the host
 * has rules that translate, and never for longer than a moment.
 *
 * A flow of another network namespace is looked up in that one, too, which takes
 * CAP_SYS_ADMIN: what the container translates comes before what the host does. The
 * process is handed the namespace with the question, and keeps nothing of it: a socket
 * that is open there would keep it alive.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "user/event.h"
#include "user/util/cleanup.h"

#define NAT_VERB "nat"

/* A flow as it is on the other side of the translation; what did not change is the flow's own. */
struct nat_view {
	uint8_t local[16], remote[16]; /* as in struct flow */
	uint16_t local_port, remote_port;
	bool local_changed, remote_changed; /* address or port */
	bool before; /* translated on its way in: this is how it came; else how it went out */
};

struct nat_stats {
	uint64_t asked, translated, unanswered;
	uint64_t unreached; /* reports of a namespace of which no process was found */
	uint64_t forgotten; /* namespaces, for others */
};

struct nat;

/* Is there connection tracking on this host? */
bool nat_is_possible(void);

/* Starts the process, before this one gives anything up. The caller owns *ret. 0 or -errno. */
int nat_new(struct nat **ret);
void nat_free(struct nat *n);
DEFINE_CLEANUP(struct nat *, nat_free);

/*
 * Does this host translate anything, or a namespace of which it is known? Finds out every few
 * seconds; the first time it waits for the process to be there. n may be NULL: no.
 */
bool nat_is_used(struct nat *n, uint64_t now_ms);

/*
 * True when the flow was translated. n may be NULL. Waits NAT_WAIT_MS at the most, and
 * then not again for long. What a socket without a peer sent was seen as it went out: f gets
 * the addresses that the socket sees instead.
 */
#define NAT_WAIT_MS 20
bool nat_find(struct nat *n, struct flow *f, uint64_t now_ms, struct nat_view *ret);

void nat_get_stats(const struct nat *n, struct nat_stats *ret);

/* The whole life of the process; fd is its end of the socket pair. Returns the exit code. */
int nat_main(int fd);
