/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live flows added up for people: by process, by peer, or by container, with
 * the rates since the last look. Pure: whoever calls reads the flows, the clock and the keys.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "user/event.h"
#include "user/util/buf.h"
#include "user/util/cleanup.h"

#define TOP_FLOWS_MAX 262144 /* followed from one look to the next; rates of others are 0 */
#define TOP_ROWS_MAX  8192   /* what is beyond is one row, "others" */
#define TOP_COLUMNS   80

enum top_group { TOP_PROCESS, TOP_PEER, TOP_CONTAINER, TOP_GROUPS };
enum top_order { TOP_BY_RATE, TOP_BY_TOTAL, TOP_BY_FLOWS, TOP_ORDERS };
extern const char *const top_groups[TOP_GROUPS + 1]; /* their names; ended by NULL */
extern const char *const top_orders[TOP_ORDERS + 1];

struct top;

/* The caller owns *ret. */
int top_new(struct top **ret);
void top_free(struct top *t);
DEFINE_CLEANUP(struct top *, top_free);

/* A look: what is added until the next one. now_ns is of a clock that only goes on. */
void top_begin(struct top *t, enum top_group group, uint64_t now_ns);

/* container: its id, or empty; asked for with TOP_CONTAINER only. */
void top_add(struct top *t, const struct flow *f, const char *container);

/* The table in so many lines, heads included: at least 4. 0, -ENOBUFS or -ENOMEM. */
int top_format(struct top *t, enum top_order order, size_t lines, struct buf *ret);
