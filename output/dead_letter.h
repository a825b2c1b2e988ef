/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a peer refuses for good is set aside: DIR/dead/NAME.jsonl, one JSON object
 * a line, and the older half in NAME.jsonl.1. Above the ceiling the older file goes.
 *
 *   time, output, target, reason   when, and what the peer has said
 *   id, seq, class, event_time, pri, host, app, procid
 *   message                        the event itself: JSON, or the raw line
 *
 * Never the key. Files are opened for each letter, so they may be moved or removed
 * at any time; the folder is made by the spool's writer.
 */
#pragma once

#include <stdint.h>

#include "output/msg.h"

struct dead_letter {
	const char *dir;    /* the spool's */
	const char *output; /* also the file's stem */
	const char *target;
	const char *reason;
	uint64_t real_us;
	uint64_t max_bytes; /* of both files together */
};

/*
 * Writes m. *ret_dropped: how many older ones had to go for it. 0; -EFBIG: larger
 * than the ceiling allows; -errno, and then nothing of it is there.
 */
int dead_letter_write(const struct dead_letter *d, const struct msg *m, uint64_t *ret_dropped);
