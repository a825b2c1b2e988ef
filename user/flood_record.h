/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows that the table had no room for, as one record for each source network and
 * window: event.action "flows-summed". It is the same in each schema, and of the
 * class of our own records, which the spool gives up last. Pure.
 */
#pragma once

#include "user/event.h"
#include "user/record.h"

/* 0, or -EMSGSIZE when it does not fit (none of ours is that large). */
int flood_record_format(struct record *r, const struct flood_sample *f, struct msg *ret);
