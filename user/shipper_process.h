/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The collector's side of the shipper: starts it as a process of its own,
 * wakes it, stops it, and starts it again when it dies. All that the
 * collector knows of the network.
 *
 * Needs, at each start, what the shipper gives up again: CAP_SETUID,
 * CAP_SETGID, CAP_SETPCAP, and CAP_DAC_READ_SEARCH for a private key that only
 * its owner may read; CAP_KILL for a shipper that does not end by itself.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "user/util/cleanup.h"
#include "user/util/loop.h"

struct config;
struct shipper_process;

struct shipper_process_stats {
	pid_t pid;			   /* 0: none is running */
	uint64_t fork_from_ns, fork_to_ns; /* CLOCK_BOOTTIME around its start */
	uint64_t starts;		   /* processes that were started */
	uint64_t deaths;		   /* that ended without being asked to */
	uint64_t kills;			   /* that did not end in time and were killed */
	uint64_t failures;		   /* attempts to start that failed */
	char last_death[128];		   /* "killed by SIGSEGV"; empty when there was none */
};

/* The shipper has ended after shipper_stop(). May call shipper_free(). */
typedef void (*shipper_stopped_fn)(void *arg, bool clean);

/*
 * Starts the shipper with all of config, borrowed for the life of *ret. When
 * the start fails it is tried again, as after a death: logged, never returned.
 * The caller owns *ret. 0 or -ENOMEM.
 */
int shipper_start(struct loop *loop, const struct config *config, struct shipper_process **ret);

/* The spool has grown. Never blocks, cheap enough for every batch. */
void shipper_wake(struct shipper_process *s);

/*
 * It sends what is in the spool now, and exits; at the latest at deadline_ms
 * (monotonic), a second after which it is killed. Then fn, from the loop.
 * Call it again to shorten the deadline.
 */
void shipper_stop(struct shipper_process *s, uint64_t deadline_ms, shipper_stopped_fn fn,
		  void *arg);

void shipper_get_stats(const struct shipper_process *s, struct shipper_process_stats *ret);

/* A shipper that is still running sees its collector gone, and ends by itself. */
void shipper_free(struct shipper_process *s);
DEFINE_CLEANUP(struct shipper_process *, shipper_free);
