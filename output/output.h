/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a transport is. Cursor, window, retry and counters live once, in
 * shipper.c, in units of whole messages; a transport frames, sends and says
 * what its peer has acknowledged. A new transport is one file, one row in
 * output_types[] and one set of tests.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "output/msg.h"
#include "user/util/loop.h"

struct config;
struct conn;
struct output;
struct tls_client;

enum output_verdict {
	OUTPUT_ACKED,	 /* the peer has it */
	OUTPUT_REJECTED, /* the peer refuses this message for good; why is for people */
};

/* What the shipper gives a transport to call. arg comes first. */
struct output_events {
	/* send() would take a message again, or for the first time. */
	void (*on_ready)(void *arg);
	/* The messages first to last, both included, are settled. In any order. */
	void (*on_settled)(void *arg, uint64_t first, uint64_t last, enum output_verdict verdict,
			   const char *why);
	/*
	 * The connection is over, or never came to be: what is not settled, and only
	 * that, is sent again on the next one. why is one line that names the cause and, where
	 * there is one, the cure. retry_after_ms: as the peer asked, or 0.
	 * The shipper calls close() from a timer, never from inside this.
	 */
	void (*on_down)(void *arg, const char *why, uint64_t retry_after_ms);
	/* probe() has its answer: the target is well (NULL), or why it is not. */
	void (*on_probed)(void *arg, const char *why);
};

/*
 * What a transport remembers from one connection to the next with the same
 * target. Starts as zeroes, is the transport's alone, and holds no pointer.
 */
#define OUTPUT_REFUSED_MAX 64
struct output_memory {
	uint64_t refused[OUTPUT_REFUSED_MAX]; /* refused once; a second time is for good */
	uint32_t n_refused;		      /* ever; the newest overwrite the oldest */
	uint32_t suspect_bytes;	 /* messages from this size on go out alone; 0: none do */
	uint64_t suspect_seq;	 /* a session has ended on this message… */
	uint32_t suspect_aborts; /* …so often */
	bool worked;		 /* the peer has taken something since it last refused */
	bool gives_receipts;	 /* the peer's TLS has answered a request for one */
	uint32_t sequence;	 /* of the next datagram */
	uint64_t batch_bytes;	 /* a learned ceiling, below the configured one; 0: none */
	uint32_t lanes;		 /* the same, of requests in flight */
	uint32_t lanes_worked;	 /* requests that were taken since */
};

struct output {
	const struct output_ops *ops;
	struct loop *loop;
	const struct config *config;
	struct tls_client *tls; /* shared by all outputs of the process; NULL without TLS */
	const struct output_events *events;
	void *arg;	    /* for events */
	void *impl;	    /* the transport's own */
	struct conn *probe; /* out_conn.c's; NULL: none is under way */
	const char *host;   /* the target; NULL: the region's */
	uint16_t port;	    /* the target's; 0: output.port, or the transport's own */
	/*
	 * A transport sets it before on_down() when another target would say the same:
	 * the key is refused, or we ask too often. False when open() is called.
	 */
	bool keep_target;
	uint64_t sent_bytes; /* framed; the transport adds to it */
	/*
	 * For people: to whom and how, "192.0.2.1:11514 (intake.example), TLSv1.3".
	 * The transport writes it before on_ready(), or leaves it empty.
	 */
	char peer[160];
	struct output_memory memory;
};

struct output_ops {
	const char *name; /* as written in the configuration: "relp" */

	/* It writes on this host: no TLS, and no peer whose silence is an error. */
	bool local;

	/* Its peers are no intake: output.proxy and tls.server_name are not about them. */
	bool is_direct;

	/* With this configuration, does it need TLS? NULL: it does, if it is not local. */
	bool (*needs_tls)(const struct config *config);

	/* Where its peers listen when nothing else is said; 0 for local ones. */
	uint16_t port;

	/* How many messages, and bytes of them, may be unsettled at once. */
	uint32_t window_msgs;
	uint32_t window_bytes;

	/* Is this one for it? What is not is counted as filtered. NULL: all are. */
	bool (*wants)(const struct msg *msg);

	/* Start connecting; never blocks. -errno when the options are unusable. */
	int (*open)(struct output *out);

	/*
	 * Take one message (its slices are copied). -EAGAIN: not now; on_ready()
	 * will follow. -EMSGSIZE: never, reject it. Any other -errno ends the
	 * connection, as on_down() does.
	 */
	int (*send)(struct output *out, const struct msg *msg);

	/* No more messages for now: put what is buffered on the wire. */
	void (*flush)(struct output *out);

	/*
	 * Nothing more will be sent: take the answers to what was, and say goodbye in
	 * the protocol's way; on_settled() may come still. on_down() follows when
	 * that is done, at once if there is nothing to say. NULL: nothing.
	 */
	void (*finish)(struct output *out);

	/*
	 * A number that grows as long as the peer takes what was sent, for a transport whose
	 * answers come only after a lot of it: on a slow line that is not silence. NULL:
	 * what is settled tells enough.
	 */
	uint64_t (*progress)(const struct output *out);

	/*
	 * Looks whether another target can be connected to, beside what goes on;
	 * on_probed() follows, unless probe_end() comes first. 0 or -errno. NULL: there
	 * is no way but to try.
	 */
	int (*probe)(struct output *out, const char *host, uint16_t port);
	void (*probe_end)(struct output *out);

	/*
	 * A load may be over: nothing is unsettled. Give back the memory that nothing is in;
	 * it is wanted again with the next load. NULL: there is none to speak of.
	 */
	void (*rest)(struct output *out);

	/* Release what open() made. Safe after a failed open(). */
	void (*close)(struct output *out);
};

extern const struct output_ops output_https, output_relp, output_syslog, output_ipfix,
	output_netflow9, output_stdout, output_file;

/* By its name, or NULL. */
const struct output_ops *output_find(const char *name);

/*
 * The key for a route: the default intake's for an empty one, and for one that is
 * not configured any more. Points into config; p is NULL when there is none.
 */
struct slice output_key(const struct config *config, struct slice route);
