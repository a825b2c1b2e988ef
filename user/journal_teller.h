/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a journal line from whoever has it to the spool: is it wanted, is it too
 * much, which intake is it for, its record. The same for all lines, however they came.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "user/journal.h"
#include "user/journal_filter.h"
#include "user/process.h"
#include "user/rate_limit.h"
#include "user/source.h"

struct journal_teller {
	struct journal_filter *filter;
	struct rate_limit *rates; /* NULL: every line passes */
	uint64_t rate_limit, rate_interval_ms;
};

/* Of a configuration that was checked. 0 or -errno; done() is due in any case. */
int journal_teller_init(struct journal_teller *t, const struct config *config);
void journal_teller_done(struct journal_teller *t);

/* Before anything is looked up for a line: may it be wanted? Counts in s->stats. */
bool journal_teller_wants(struct journal_teller *t, struct source *s, const struct sink *sink,
			  const struct journal_line *line);

/* process may be NULL. now_ns: the line's time for journal.rate_limit. Counts in s->stats. */
void journal_teller_tell(struct journal_teller *t, struct source *s, struct sink *sink,
			 const struct journal_line *line, const struct process_info *process,
			 uint64_t now_ns);

/*
 * A line of our own, with severity (as in syslog), about the journal. False: the sink is
 * full, and has not taken it.
 */
bool journal_teller_say(struct source *s, struct sink *sink, unsigned severity, const char *code,
			struct slice unit, uint64_t time_us, const char *text);

/*
 * What was suppressed, when it is due; all: all of it. Times are the teller's now_ns;
 * ns_to_real_ns makes them the world's. False: the sink is full.
 */
bool journal_teller_report(struct journal_teller *t, struct source *s, struct sink *sink,
			   uint64_t now_ns, int64_t ns_to_real_ns, bool all);
