/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel event as a record: ECS JSON, as the endpoint format wants it. What
 * has no name there is in sekoia_ebpf{}. docs/EVENTS.md has each field. Pure.
 */
#pragma once

#include "user/event.h"
#include "user/record.h"

struct event_details {
	const struct process_info *process; /* who did it; of an action perhaps NULL */
	const struct process_info *target;  /* of an action; may be NULL */
	struct slice user_name;		    /* of its uid; may be empty */
	struct slice effective_name;	    /* of its euid, if that is another; may be empty */
	uint64_t page_bytes;
};

/* 0, or -EMSGSIZE when it does not fit: with 250,000 bytes that is no event of ours. */
int events_record_format(struct record *r, const struct event *e, const struct event_details *d,
			 struct msg *ret);
