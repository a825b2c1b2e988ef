/* SPDX-License-Identifier: Apache-2.0 */
#include "user/journal_teller.h"

#include <inttypes.h>
#include <stdio.h>

#include "config/config.h"
#include "user/journal_record.h"
#include "user/routes.h"
#include "user/users.h"
#include "user/util/clock.h"

int journal_teller_init(struct journal_teller *t, const struct config *config)
{
	int err;

	*t = (struct journal_teller){
		.rate_limit = config->journal_rate_limit,
		.rate_interval_ms = config->journal_rate_interval_ms,
	};
	err = journal_filter_new(config, &t->filter);
	if (!err && t->rate_limit)
		err = rate_limit_new(t->rate_limit, t->rate_interval_ms * 1000000, 0, &t->rates);
	return err;
}

void journal_teller_done(struct journal_teller *t)
{
	journal_filter_free(t->filter);
	rate_limit_free(t->rates);
}

bool journal_teller_wants(struct journal_teller *t, struct source *s, const struct sink *sink,
			  const struct journal_line *line)
{
	/* Each line that tells of trouble would make another event, and more trouble. */
	if (own_has_pid(&sink->own, line->trusted_pid)) {
		s->stats.own++;
		return false;
	}
	if (!journal_filter_wants_severity(t->filter, line->pri & 7)) {
		s->stats.filtered++;
		return false;
	}
	return true;
}

static bool may_pass(struct journal_teller *t, struct source *s, const struct journal_line *line,
		     const struct process_info *p, uint64_t now_ns)
{
	struct slice unit = journal_record_unit(line, p), manager = SLICE("");

	if (p && p->container.user_unit[0])
		manager = slice_of(p->container.unit);
	if (!journal_filter_wants(t->filter, journal_record_app(line, p), unit, manager)) {
		s->stats.filtered++;
		return false;
	}
	if (!t->rates)
		return true;
	if (rate_limit_take(t->rates, unit.len ? unit : line->identifier, now_ns))
		return true;
	s->stats.rate_limited++;
	return false;
}

void journal_teller_tell(struct journal_teller *t, struct source *s, struct sink *sink,
			 const struct journal_line *line, const struct process_info *process,
			 uint64_t now_ns)
{
	struct journal_details d = { .process = process };
	struct msg m;

	if (line->trusted_pid)
		d.user_name = users_find(sink->users, line->uid, sink->now_ms);
	if (!may_pass(t, s, line, process, now_ns))
		return;
	d.route = routes_find(sink->routes, MSG_JOURNAL, journal_record_app(line, process),
			      journal_record_unit(line, process));
	sink_begin(sink);
	journal_record_format(sink->record, line, &d, &m);
	sink_add(s, sink, &m);
}

bool journal_teller_say(struct source *s, struct sink *sink, unsigned severity, const char *code,
			struct slice unit, uint64_t time_us, const char *text)
{
	const struct journal_details d = { 0 };
	const struct journal_line line = {
		.transport = JOURNAL_NATIVE,
		.pri = (uint8_t)(3 << 3 | severity), /* daemon */
		.identifier = SLICE(RECORD_NAME),
		.text = slice_of(text),
		.code = slice_of(code),
		.unit = unit,
		.time_us = time_us,
	};
	struct msg m;

	if (sink->is_full(sink->arg))
		return false;
	sink_begin(sink);
	journal_record_format(sink->record, &line, &d, &m);
	m.class = MSG_SELF;
	sink_add(s, sink, &m);
	return true;
}

struct reporting {
	const struct journal_teller *teller;
	struct source *source;
	struct sink *sink;
	int64_t ns_to_real_ns;
};

static uint64_t real_us(const struct reporting *r, uint64_t ns)
{
	int64_t real_ns = (int64_t)ns + r->ns_to_real_ns;

	return real_ns < 0 ? 0 : (uint64_t)real_ns / 1000;
}

/* In place of what was suppressed: how much, of whom, when and why. */
static bool on_suppressed(void *arg, const struct rate_limit_report *report)
{
	const struct reporting *r = arg;
	char from[CLOCK_RFC3339_SIZE], to[CLOCK_RFC3339_SIZE], text[512];
	uint64_t last_us = real_us(r, report->last_ns);

	clock_format_rfc3339(real_us(r, report->first_ns), from);
	clock_format_rfc3339(last_us, to);
	snprintf(text, sizeof(text),
		 "%" PRIu64 " lines of %.*s suppressed between %s and %s: journal.rate_limit is "
		 "%" PRIu64 " in %g s",
		 report->lines, (int)(report->name.len ? report->name.len : 11),
		 report->name.len ? report->name.p : "other units", from, to, r->teller->rate_limit,
		 (double)r->teller->rate_interval_ms / 1000);
	return journal_teller_say(r->source, r->sink, 4, "journal.rate_limit", report->name,
				  last_us, text);
}

bool journal_teller_report(struct journal_teller *t, struct source *s, struct sink *sink,
			   uint64_t now_ns, int64_t ns_to_real_ns, bool all)
{
	struct reporting r = { t, s, sink, ns_to_real_ns };

	if (!t->rates || (!all && !rate_limit_is_due(t->rates, now_ns)))
		return true;
	return rate_limit_report(t->rates, now_ns, all, on_suppressed, &r);
}
