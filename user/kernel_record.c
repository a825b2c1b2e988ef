/* SPDX-License-Identifier: Apache-2.0 */
#include "user/kernel_record.h"

#include <errno.h>
#include <stdio.h>

#include "user/journal_parse.h"

int kernel_record_format(struct record *r, const struct kmsg *k, struct msg *ret)
{
	int64_t offset_ns = r->kernel_to_real_ns ? r->kernel_to_real_ns : r->boot_to_real_ns;
	int64_t real_ns = (int64_t)(k->clock_us * 1000) + offset_ns;
	struct slice text = k->text, app = SLICE("kernel");
	struct json_writer w;
	uint32_t pid = 0;

	if (k->pri >> 3)
		journal_parse_identifier(&text, &app, &pid);
	if (!text.len)
		return -ENODATA;
	*ret = (struct msg){
		.seq = r->seq,
		.time_us = real_ns < 0 ? 0 : (uint64_t)real_ns / 1000,
		.class = MSG_KERNEL,
		.pri = k->pri,
		.host = r->hostname,
		.app = app,
		.procid = { r->number, 0 },
	};
	if (pid)
		ret->procid.len = (size_t)snprintf(r->number, sizeof(r->number), "%u", pid);

	if (r->journal_schema == JOURNAL_SCHEMA_RAW) {
		record_finish_text(r, JOURNAL_SCHEMA_RAW, NULL, text, 0, ret);
		return 0;
	}

	record_begin(r, &w, ret->time_us);
	record_put_log(&w, "kernel", ret);
	if (k->subsystem.len || k->device.len) {
		json_object(&w, "labels");
		if (k->subsystem.len)
			json_slice(&w, "subsystem", k->subsystem);
		if (k->device.len)
			json_slice(&w, "device", k->device);
		json_object_end(&w);
	}
	record_open_event(r, &w, "kernel");
	record_finish_text(r, JOURNAL_SCHEMA_ECS, &w, text, 0, ret);
	return 0;
}
