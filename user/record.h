/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all record formatters share: the facts of this host, rendered once, and
 * the buffers into which one record at a time is written. Formatters are pure:
 * values in, a struct msg out, whose slices point into these buffers (or at
 * what the caller passed) and live until the next record.
 *
 * The keys are those of the intake's formats: IPFIX names at the top level for
 * flows, ECS objects for all. A key without a true value is left out.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "output/msg.h"
#include "user/container_names.h"
#include "user/process.h"
#include "user/util/cleanup.h"
#include "user/util/json_writer.h"

/*
 * A formatted record (text and JSON together) stays below this; the rest of
 * MSG_MAX_BYTES is for names, for the intake's own header, and for framing.
 */
#define RECORD_MAX_BYTES (MSG_MAX_BYTES - 4096)

#define RECORD_HOST_SIZE 8192
#define RECORD_NAME	 "sekoia-ebpf"
#define RECORD_JSON_NAME "sekoia_ebpf" /* of what is in no schema: our own numbers */

struct record_opts {
	struct slice hostname;
	const char *const *ips; /* texts; beyond RECORD_MAX_IPS they are left out */
	int n_ips;
	struct slice os_name, os_version; /* may be empty */
	struct slice agent_id;		  /* may be empty */
	struct slice version;		  /* ours */
	uint64_t epoch;			  /* spool_epoch() */
	enum config_flow_schema flow_schema;
	enum config_journal_schema journal_schema;
};
#define RECORD_MAX_IPS 32

struct record {
	/* Set these before each record. */
	uint64_t seq;		   /* spool_next_seq() */
	int64_t boot_to_real_ns;   /* clock_boot_to_real_ns() */
	int64_t kernel_to_real_ns; /* the same for the kernel log's clock, which stops in suspend */

	/* Private from here on. */
	enum config_flow_schema flow_schema;
	enum config_journal_schema journal_schema;
	char id[40]; /* the spool's id in hex and a dash */
	size_t id_len;
	void (*name_container)(void *arg, const struct container_info *c,
			       struct container_name *ret);
	void *name_container_arg;
	struct slice hostname; /* in host_json's tail */
	struct slice host_json, agent_json;
	char host[RECORD_HOST_SIZE];
	char number[24];
	char json[RECORD_MAX_BYTES];
	char text[RECORD_MAX_BYTES];
};

/* The caller owns *ret. -ENOMEM; -EINVAL for a host name above 255 bytes. */
int record_new(const struct record_opts *opts, struct record **ret);
void record_free(struct record *r);
DEFINE_CLEANUP(struct record *, record_free);

/* What containers are called: asked for each record of one. Without it they are ids. */
void record_set_container_names(struct record *r,
				void (*fn)(void *arg, const struct container_info *c,
					   struct container_name *ret),
				void *arg);

/* ------------------------------------------------------------------ for the formatters */

uint64_t record_real_us(const struct record *r, uint64_t boot_ns);

/* Opens the object and writes @timestamp, host and agent. */
void record_begin(struct record *r, struct json_writer *w, uint64_t time_us);

/* "id": the spool's id and the event's number there. */
void record_put_id(struct record *r, struct json_writer *w);

/* process{}: all that p knows. pid 0 writes nothing. */
void record_put_process(struct record *r, struct json_writer *w, const struct process_info *p);

/* The same, not closed: what else is known of it follows, and json_object_end(). */
void record_open_process(struct record *r, struct json_writer *w, const struct process_info *p);

/* container{} and orchestrator{}, when the process runs in one. */
void record_put_container(struct record *r, struct json_writer *w, const struct container_info *c);

void record_put_user(struct json_writer *w, uint32_t uid, struct slice name);

/* log{}: level, logger, and what m says of name, pid, facility and severity. */
void record_put_log(struct json_writer *w, const char *logger, const struct msg *m);

/* The same, open inside "syslog":{: what else is known follows, and json_object_end() twice. */
void record_open_log(struct json_writer *w, const char *logger, const struct msg *m);

/* Opens event{} of a log line, up to "reason": for record_finish_text(). */
void record_open_event(struct record *r, struct json_writer *w, const char *provider);

/*
 * A line of text, as msg.h wants it: sets ret->text and ret->json from a head
 * that is open inside "event":{ and has everything but "reason". cut_bytes is
 * what is known to be missing already. What is too long, raw or escaped, is
 * shortened at a character's border and says so at its end. text and cut_bytes
 * are not both 0. head may be NULL when the schema is raw.
 */
void record_finish_text(struct record *r, enum config_journal_schema schema,
			struct json_writer *head, struct slice text, uint64_t cut_bytes,
			struct msg *ret);
