/* SPDX-License-Identifier: Apache-2.0 */
/* Each key of a record of flows that were summed up. */
#include "user/flood_record.h"

#include "tests/lib/test.h"

#include "tests/lib/json.h"

#define BOOT_REAL_NS 1795392000000000000ll /* 2026-11-23T00:00:00Z */
#define SECOND	     1000000000ull

static struct flood_sample some(void)
{
	return (struct flood_sample){ .start_ns = 5 * SECOND,
				      .last_ns = 65 * SECOND,
				      .packets = 1234,
				      .bytes = 56780,
				      .flows = 1200,
				      .network = { 198, 51, 100 },
				      .prefix_len = 24,
				      .ip_version = 4,
				      .protocol = 17 };
}

static struct msg format(const struct flood_sample *f)
{
	static struct record *r;
	struct msg m = { 0 };

	record_free(r);
	r = NULL;
	if (record_new(&(struct record_opts){ .hostname = SLICE("web-1"), .epoch = 0xabcdef }, &r) <
	    0)
		abort();
	r->seq = 42;
	r->boot_to_real_ns = BOOT_REAL_NS;
	CHECK_INT(flood_record_format(r, f, &m), 0);
	return m;
}

TEST(a_network)
{
	struct flood_sample f = some();
	struct msg m = format(&f);
	struct json_c_object *o = json_of(m.json.p, m.json.len);

	CHECK_INT(m.class, MSG_SELF);
	CHECK(json_is(o, "@timestamp", "'2026-11-23T00:01:05.000000Z"));
	CHECK(json_is(o, "event.action", "'flows-summed"));
	CHECK(json_is(o, "event.start", "'2026-11-23T00:00:05.000000Z"));
	CHECK(json_is(o, "event.end", "'2026-11-23T00:01:05.000000Z"));
	CHECK(json_is(
		o, "event.reason",
		"'1200 udp flows from 198.51.100.0/24 summed up, for the table of flows was full: "
		"1234 packets; a larger flows.max follows more flows at once"));
	CHECK(json_is(o, "network.direction", "'inbound"));
	CHECK(json_is(o, "network.type", "'ipv4"));
	CHECK(json_is(o, "network.transport", "'udp"));
	CHECK(json_is(o, "network.iana_number", "'17"));
	CHECK(json_is(o, "network.bytes", "56780"));
	CHECK(json_is(o, "network.packets", "1234"));
	CHECK(json_is(o, "sekoia_ebpf.flood.network", "'198.51.100.0/24"));
	CHECK(json_is(o, "sekoia_ebpf.flood.flows", "1200"));
	json_object_put(o);
}

TEST(all_others)
{
	struct flood_sample f = some();
	struct json_c_object *o;
	struct msg m;

	f = (struct flood_sample){ .ip_version = 6, .outbound = true, .flows = 7, .packets = 8 };
	m = format(&f);
	o = json_of(m.json.p, m.json.len);
	CHECK(json_is(o, "sekoia_ebpf.flood.network", "'::/0"));
	CHECK(json_is(o, "network.direction", "'outbound"));
	CHECK(json_is(o, "network.type", "'ipv6"));
	CHECK(json_is(o, "network.transport", NULL));
	CHECK(json_is(o, "network.iana_number", NULL));
	CHECK(json_is(
		o, "event.reason",
		"'7 flows from further networks summed up, for the table of flows was full: 8 "
		"packets; a larger flows.max follows more flows at once"));
	json_object_put(o);
}
