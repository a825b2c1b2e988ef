/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets, one after the other, into tables with little room: each is a length of
 * two bytes, one byte for its ports and protocol, one for the time, and its payload.
 */
#include <stdlib.h>

#include "user/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct names_stats s;
	struct names *n;
	uint64_t now = 1000, packets = 0;

	if (names_new(&(struct names_opts){ .max_addresses = 8, .max_flows = 4, .quic = true },
		      &n) < 0)
		abort();
	while (size >= 4) {
		size_t len = (size_t)(data[0] << 8 | data[1]) % 2048;
		uint8_t ports = data[2], time = data[3];
		struct packet_sample p = { .boot_ns = now += time * 100000000ull,
					   .asker = { .pid = ports & 3, .cgroup_id = ports & 4 },
					   .local_port = ports & 7,
					   .remote_port = ports & 128  ? 53
							  : ports & 32 ? 443
								       : 0,
					   .ip_version = ports & 8 ? 4 : 6,
					   .protocol = ports & 16 ? 6 : 17,
					   .outbound = ports & 32 };
		struct flow f = { .start_ns = now,
				  .last_ns = now,
				  .local_port = ports & 7,
				  .remote_port = p.remote_port,
				  .ip_version = p.ip_version,
				  .protocol = p.protocol,
				  .outbound = p.outbound };

		data += 4;
		size -= 4;
		if (len > size)
			len = size;
		p.data = (struct slice){ (const char *)data, len };
		p.full_len = (uint32_t)len;
		p.seq = (uint32_t)time;
		names_take_packet(n, &p);
		packets++;
		names_find_domain(n, &f);
		names_find_hello(n, &f);
		names_find_answer(n, &f);
		if (ports & 64)
			names_forget(n, &f);
		data += len;
		size -= len;
	}
	names_get_stats(n, &s);
	if (s.answers + s.hellos + s.parts + s.malformed != packets || s.addresses > 8 ||
	    s.flows > 4)
		abort();
	names_free(n);
	return 0;
}
