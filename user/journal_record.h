/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A journal line as a record: the raw text with its facility, severity, name
 * and pid, and ECS JSON around it; or one of the two (journal.schema). Pure.
 *
 * The other fields of a native message are in sekoia_ebpf.journal{}, as they are
 * named there; how many had no room is in sekoia_ebpf.journal_left_out.
 *
 * process{} and user{} are what the kernel vouches for; what the sender says
 * of itself (name, SYSLOG_PID) is in log.syslog{}.
 */
#pragma once

#include "user/journal.h"
#include "user/record.h"

struct journal_details {
	const struct process_info *process; /* of the trusted pid; NULL: not known */
	struct slice user_name;		    /* of the uid; may be empty */
	struct slice route;		    /* empty: the default intake */
};

/*
 * The unit by which lines are counted: what the kernel vouches for, if it does; may be empty. Of
 * a user's own services it is theirs, and not their manager's, user@UID.service.
 */
struct slice journal_record_unit(const struct journal_line *line, const struct process_info *p);

/* What the record calls its sender: never empty. */
struct slice journal_record_app(const struct journal_line *line, const struct process_info *p);

/*
 * Always gives a record: what is too long is shortened, and says so. With a route
 * it is the raw text, unless journal.schema is ecs: so the formats want it that
 * read one program's lines.
 */
void journal_record_format(struct record *r, const struct journal_line *line,
			   const struct journal_details *d, struct msg *ret);
