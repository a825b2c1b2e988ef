/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams to host:port: resolve, connect, send, at a pace that a receiver's
 * buffer bears. Non-blocking. What the network says of it (a port that nobody listens
 * at) is an error; that there is none means nothing.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "user/util/cleanup.h"
#include "user/util/loop.h"

struct udp;

enum udp_event {
	UDP_OPEN,  /* send, if you like */
	UDP_DRAIN, /* after -EAGAIN: now there is room */
	UDP_ERROR, /* it is over; udp_error() says why. Nothing follows */
};

/* May call udp_free(). Never comes from inside a call. */
typedef void (*udp_fn)(void *arg, enum udp_event event);

int udp_new(struct loop *loop, const char *host, uint16_t port, udp_fn fn, void *arg,
	    struct udp **ret);
void udp_free(struct udp *u);
DEFINE_CLEANUP(struct udp *, udp_free);

/* 0: it is out; -EAGAIN: UDP_DRAIN will follow; -errno: UDP_ERROR will follow. */
int udp_send(struct udp *u, const void *p, size_t n);

/* "192.0.2.1:4739 (collector.example)" once open. */
const char *udp_peer(const struct udp *u);
const char *udp_error(const struct udp *u);
