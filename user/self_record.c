/* SPDX-License-Identifier: Apache-2.0 */
#include "user/self_record.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "user/util/clock.h"

#define FACILITY_DAEMON (3 << 3)
#define WARNING		4
#define INFO		6

const char *self_format_bytes(uint64_t bytes, char ret[static SELF_SIZE_TEXT])
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned long long whole = bytes, rest = 0;
	int unit = 0;

	while (whole >= 1024) {
		rest = whole % 1024;
		whole /= 1024;
		unit++;
	}
	if (rest && whole < 10)
		snprintf(ret, SELF_SIZE_TEXT, "%llu.%llu %s", whole, rest * 10 / 1024, units[unit]);
	else
		snprintf(ret, SELF_SIZE_TEXT, "%llu %s", whole, units[unit]);
	return ret;
}

/* What a loss is made of, in the words of its item. */
static const char *noun(const struct loss *loss, bool one)
{
	if (loss->row->scope == BOOKS_OUTPUT)
		return one ? "event" : "events";
	if (!strcmp(loss->item, "flows"))
		return one ? "flow event" : "flow events";
	if (!strcmp(loss->item, "journal"))
		return one ? "journal message" : "journal messages";
	if (!strcmp(loss->item, "events"))
		return one ? "kernel event" : "kernel events";
	if (!strcmp(loss->item, "kernel_log"))
		return one ? "line of the kernel's log" : "lines of the kernel's log";
	return one ? "event" : "events";
}

static void begin(struct record *r, struct json_writer *w, uint64_t time_us, uint8_t severity,
		  struct msg *ret)
{
	*ret = (struct msg){
		.seq = r->seq,
		.time_us = time_us,
		.class = MSG_SELF,
		.pri = FACILITY_DAEMON | severity,
		.host = r->hostname,
		.app = SLICE(RECORD_NAME),
		.procid = { r->number, 0 },
		.text = { r->text, 0 },
	};
	ret->procid.len = (size_t)snprintf(r->number, sizeof(r->number), "%d", (int)getpid());
	record_begin(r, w, time_us);
	record_put_log(w, RECORD_NAME, ret);
}

static void open_event(struct record *r, struct json_writer *w, const char *kind,
		       const char *action)
{
	json_object(w, "event");
	record_put_id(r, w);
	json_str(w, "kind", kind);
	json_array(w, "category");
	json_str(w, NULL, "host");
	json_array_end(w);
	json_array(w, "type");
	json_str(w, NULL, "info");
	json_array_end(w);
	json_str(w, "provider", RECORD_NAME);
	json_str(w, "action", action);
}

/* "; ring.flows is 8 MiB, a larger one holds more", or nothing. */
static void put_cure(const struct loss *loss, uint64_t size, char *ret, size_t ret_size)
{
	char text[SELF_SIZE_TEXT];
	bool is_flows = !strcmp(loss->item, "flows");

	*ret = 0;
	if (!loss->row->cure)
		return;
	if (size)
		snprintf(ret, ret_size, "; ring.%s is %s, %s", loss->item,
			 self_format_bytes(size, text), loss->row->cure);
	else if (loss->row->scope != BOOKS_KERNEL || is_flows)
		snprintf(ret, ret_size, "; %s", loss->row->cure);
}

void self_record_loss(struct record *r, const struct loss *loss, uint64_t now_us, uint64_t size,
		      struct msg *ret)
{
	uint64_t n = loss->lost - loss->told;
	char from[CLOCK_RFC3339_SIZE], to[CLOCK_RFC3339_SIZE], cure[128];
	struct json_writer w;
	int len;

	clock_format_rfc3339(loss->first_us, from);
	clock_format_rfc3339(loss->last_us, to);
	put_cure(loss, size, cure, sizeof(cure));
	len = snprintf(r->text, sizeof(r->text), "%llu %s %s between %s and %s: %s%s",
		       (unsigned long long)n, noun(loss, n == 1), loss->row->lost, from, to,
		       loss->row->cause, cure);

	begin(r, &w, now_us, WARNING, ret);
	json_object(&w, RECORD_JSON_NAME);
	json_object(&w, "loss");
	json_str(&w, "name", loss->name);
	json_u64(&w, "events", n);
	json_u64(&w, "total", loss->lost);
	json_object_end(&w);
	json_object_end(&w);
	open_event(r, &w, "event", "events-lost");
	json_str(&w, "outcome", "failure");
	json_time_us(&w, "start", loss->first_us);
	json_time_us(&w, "end", loss->last_us);
	json_slice(&w, "reason", (struct slice){ r->text, (size_t)len });
	json_object_end(&w);
	json_object_end(&w);
	ret->json = (struct slice){ r->json, json_len(&w) };
}

static void describe(const struct books *b, char *ret, size_t size)
{
	uint64_t lost = 0, waiting = 0;
	const struct books_item *spool = books_find(b, BOOKS_SPOOL, NULL);
	const struct books_item *daemon = books_find(b, BOOKS_DAEMON, NULL);

	for (int i = 0; i < b->n_items; i++) {
		if (b->items[i].scope == BOOKS_LOSS)
			lost += b->items[i].loss.lost;
		if (b->items[i].scope == BOOKS_OUTPUT && b->items[i].output.waiting > waiting)
			waiting = b->items[i].output.waiting;
	}
	snprintf(
		ret, size,
		"running for %llu s: %llu events appended, %llu waiting, %llu lost since the spool "
		"was made%s%s",
		(unsigned long long)(daemon ? daemon->daemon.uptime_ns / 1000000000 : 0),
		(unsigned long long)(spool ? spool->spool.appended : 0),
		(unsigned long long)waiting, (unsigned long long)lost, b->n_wrongs ? "; " : "",
		b->n_wrongs ? b->wrongs[0] : "");
}

int self_record_heartbeat(struct record *r, const struct books *b, struct msg *ret)
{
	struct json_writer w;
	char text[400];

	describe(b, text, sizeof(text));
	begin(r, &w, b->real_us, INFO, ret);
	open_event(r, &w, "metric", "heartbeat");
	json_str(&w, "outcome", b->n_wrongs ? "failure" : "success");
	json_str(&w, "reason", text);
	json_object_end(&w);
	json_object(&w, RECORD_JSON_NAME);
	books_put_json(b, true, &w);
	json_object_end(&w);
	json_object_end(&w);
	ret->json = (struct slice){ r->json, json_len(&w) };
	return ret->json.len ? 0 : -EMSGSIZE;
}
