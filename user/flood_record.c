/* SPDX-License-Identifier: Apache-2.0 */
#include "user/flood_record.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "user/flow_record.h"

/* daemon.notice: nothing is lost, but somebody may want to know why. */
#define FLOOD_PRI (3 * 8 + 5)

static void format_network(const struct flood_sample *f, char *ret, size_t size)
{
	char ip[INET6_ADDRSTRLEN];

	inet_ntop(f->ip_version == 4 ? AF_INET : AF_INET6, f->network, ip, sizeof(ip));
	snprintf(ret, size, "%s/%u", ip, f->prefix_len);
}

static void put_event(struct record *r, struct json_writer *w, const struct flood_sample *f,
		      const char *network, const char *transport)
{
	char reason[256];

	snprintf(
		reason, sizeof(reason),
		"%llu%s%s flows from %s summed up, for the table of flows was full: %llu packets; a "
		"larger flows.max follows more flows at once",
		(unsigned long long)f->flows, transport ? " " : "", transport ? transport : "",
		f->prefix_len ? network : "further networks", (unsigned long long)f->packets);
	json_object(w, "event");
	record_put_id(r, w);
	json_plain(w, "kind", "metric", 6);
	json_array(w, "category");
	json_plain(w, NULL, "network", 7);
	json_array_end(w);
	json_array(w, "type");
	json_plain(w, NULL, "info", 4);
	json_array_end(w);
	json_plain(w, "action", "flows-summed", 12);
	json_plain(w, "outcome", "unknown", 7);
	json_time_us(w, "start", record_real_us(r, f->start_ns));
	json_time_us(w, "end", record_real_us(r, f->last_ns));
	json_str(w, "reason", reason);
	json_plain(w, "provider", RECORD_NAME, sizeof(RECORD_NAME) - 1);
	json_object_end(w);
}

int flood_record_format(struct record *r, const struct flood_sample *f, struct msg *ret)
{
	const char *transport = f->prefix_len ? flow_transport_name(f->protocol) : NULL;
	uint64_t time_us = record_real_us(r, f->last_ns);
	char network[INET6_ADDRSTRLEN + 8], number[8];
	struct json_writer w;

	format_network(f, network, sizeof(network));
	snprintf(number, sizeof(number), "%u", f->protocol);
	record_begin(r, &w, time_us);
	put_event(r, &w, f, network, transport);
	json_object(&w, "network");
	json_str(&w, "direction", f->outbound ? "outbound" : "inbound");
	json_str(&w, "type", f->ip_version == 6 ? "ipv6" : "ipv4");
	if (transport)
		json_str(&w, "transport", transport);
	if (f->prefix_len)
		json_str(&w, "iana_number", number);
	json_u64(&w, "bytes", f->bytes);
	json_u64(&w, "packets", f->packets);
	json_object_end(&w);
	json_object(&w, RECORD_JSON_NAME);
	json_object(&w, "flood");
	json_str(&w, "network", network);
	json_u64(&w, "flows", f->flows);
	json_object_end(&w);
	json_object_end(&w);
	json_object_end(&w);
	if (!json_len(&w))
		return -EMSGSIZE;
	*ret = (struct msg){
		.seq = r->seq,
		.time_us = time_us,
		.class = MSG_SELF,
		.pri = FLOOD_PRI,
		.host = r->hostname,
		.app = SLICE(RECORD_NAME),
		.json = { r->json, json_len(&w) },
	};
	return 0;
}
