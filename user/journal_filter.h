/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which journal lines are wanted: the lists and the severity of [journal], read
 * once. Pure. What the lists mean is in docs/JOURNAL.md.
 */
#pragma once

#include <stdbool.h>

#include "user/util/cleanup.h"
#include "user/util/slice.h"

struct config;
struct journal_filter;

/* Of a configuration that was checked; it is not kept. The caller owns *ret. -ENOMEM, -EINVAL. */
int journal_filter_new(const struct config *config, struct journal_filter **ret);
void journal_filter_free(struct journal_filter *f);
DEFINE_CLEANUP(struct journal_filter *, journal_filter_free);

/* Before anything is looked up for a line: is it urgent enough? */
bool journal_filter_wants_severity(const struct journal_filter *f, unsigned severity);

/*
 * Any may be empty: then a list with a wanted item does not want the line. Of a user's
 * unit, manager is user@UID.service: a line is of both.
 */
bool journal_filter_wants(const struct journal_filter *f, struct slice identifier,
			  struct slice unit, struct slice manager);

/*
 * "sshd", "sshd*", "user@*.service": a * stands for any bytes, a ? for one. An item
 * without a dot is a service, as systemctl has it.
 */
bool journal_filter_is_unit(struct slice item, struct slice unit);
bool journal_filter_is_identifier(struct slice item, struct slice identifier);
