/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel event as a record: ECS JSON, as the endpoint format wants it. What
 * has no name there is in sekoia_ebpf{}. docs/EVENTS.md has each field. Pure.
 */
#pragma once

#include <sys/stat.h>

#include "user/event.h"
#include "user/record.h"

struct event_details {
	const struct process_info *process; /* who did it; of an action perhaps NULL */
	const struct process_info *target;  /* of an action; may be NULL */
	struct slice user_name;		    /* of its uid; may be empty */
	struct slice effective_name;	    /* of its euid, if that is another; may be empty */
	struct slice owner_name;	    /* of a file's owner; may be empty */
	uint64_t page_bytes;
};

/* 0, or -EMSGSIZE when it does not fit: with 250,000 bytes that is no event of ours. */
int events_record_format(struct record *r, const struct event *e, const struct event_details *d,
			 struct msg *ret);

/* A change of a file, or several by one process. */
struct file_event {
	struct slice path;
	uint32_t changes;	    /* enum file_change */
	uint64_t notices;	    /* how often the kernel said so */
	uint64_t first_ns, last_ns; /* CLOCK_BOOTTIME, when it did */
	bool there;		    /* stat is how it is now */
	const struct stat *stat;
	struct task_ref task; /* pid 0: not known */
	bool has_ids;	      /* task has its user and group */
	/* Nobody was watching; 0: somebody was. Both since the epoch. */
	uint64_t unseen_us;	   /* when it changed, by its file's account */
	uint64_t watched_until_us; /* since when nobody was */
};

/* The same; d->process may be NULL. */
int events_record_file(struct record *r, const struct file_event *e, const struct event_details *d,
		       struct msg *ret);
