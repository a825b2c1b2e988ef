/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which processes are ours: what they do is not captured, or each event that is
 * sent would make another one. A process that has our number, but began at
 * another time, is not ours.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "user/event.h"

#define OWN_MAX 8

struct own {
	uint32_t collector; /* our number */
	struct {
		uint32_t pid;		 /* 0: none */
		uint64_t from_ns, to_ns; /* CLOCK_BOOTTIME: it began in between */
	} list[OWN_MAX];
	uint32_t n; /* ever; the newest overwrite the oldest */
};

/* Once for each process. */
void own_add(struct own *o, uint32_t pid, uint64_t from_ns, uint64_t to_ns);

/* By its number and its start. Without a start it is not ours. */
bool own_has(const struct own *o, const struct task_ref *task);

/* It is the collector, or began as its child: there is nobody else whom it starts. */
bool own_is_of(const struct own *o, const struct task_ref *task);

/* By its number alone: the collector, and the newest of those that were added. */
bool own_has_pid(const struct own *o, uint32_t pid);
