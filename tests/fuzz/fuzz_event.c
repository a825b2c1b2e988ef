/* SPDX-License-Identifier: Apache-2.0 */
/* A ring sample, and for a flow or a kernel event the record that is made of it. */
#include <stdlib.h>

#include "user/event.h"
#include "user/events_record.h"
#include "user/flood_record.h"
#include "user/flow_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct record *r;
	const struct flow_details d = { 0 };
	struct event e;
	struct msg m;

	if (!r && record_new(&(struct record_opts){ .hostname = SLICE("host") }, &r) < 0)
		abort();
	if (event_decode(data, size, &e) < 0)
		return 0;
	if (e.kind == EVENT_IS_JOURNAL) {
		volatile char last;

		/* What it points at is inside of the sample. */
		if (e.journal.data.len)
			last = e.journal.data.p[e.journal.data.len - 1];
		if (e.journal.path.len)
			last = e.journal.path.p[e.journal.path.len - 1];
		(void)last;
		if (e.journal.full_len < e.journal.data.len)
			abort();
		return 0;
	}
	if (e.kind == EVENT_IS_PACKET) {
		volatile char last = 0;

		if (e.packet.data.len)
			last = e.packet.data.p[e.packet.data.len - 1];
		(void)last;
		if (e.packet.full_len < e.packet.data.len)
			abort();
		return 0;
	}
	if (e.kind == EVENT_IS_FLOOD) {
		if (flood_record_format(r, &e.flood, &m) < 0)
			abort();
		return 0;
	}
	if (e.kind != EVENT_IS_FLOW) {
		const struct process_info p = { .pid = 1,
						.executable = e.exec.path,
						.args = e.exec.args };
		const struct process_info bare = { .pid = 1 };
		const struct event_details k = { .process = e.kind == EVENT_IS_EXEC ? &p : &bare,
						 .target =
							 e.kind == EVENT_IS_ACTION ? &bare : NULL };

		if (events_record_format(r, &e, &k, &m) < 0 || m.json.len > RECORD_MAX_BYTES)
			abort();
		return 0;
	}
	for (int schema = 0; schema < 3; schema++) {
		r->flow_schema = (enum config_flow_schema)schema;
		if (flow_record_format(r, &e.flow, &d, &m) < 0 || m.json.len > RECORD_MAX_BYTES)
			abort();
	}
	return 0;
}
