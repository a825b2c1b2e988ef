/* SPDX-License-Identifier: Apache-2.0 */
#include "user/flow_record.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "user/community_id.h"

enum {
	PROTO_ICMP = 1,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PROTO_DCCP = 33,
	PROTO_ICMP6 = 58,
	PROTO_SCTP = 132,
	PROTO_UDPLITE = 136,
};

enum { END_IDLE = 1, END_ACTIVE, END_DETECTED, END_FORCED, END_RESOURCES };

/* daemon.info: nothing better names a flow. */
#define FLOW_PRI (3 * 8 + 6)

/* One end of the flow, as the record tells it. */
struct end {
	char ip[INET6_ADDRSTRLEN];
	size_t ip_len;
	const uint8_t *addr;
	uint16_t port;
	uint64_t bytes, packets;
};

static const char *const transport_names[256] = {
	[PROTO_ICMP] = "icmp",
	[2] = "igmp",
	[PROTO_TCP] = "tcp",
	[PROTO_UDP] = "udp",
	[PROTO_DCCP] = "dccp",
	[41] = "ipv6",
	[47] = "gre",
	[50] = "esp",
	[51] = "ah",
	[PROTO_ICMP6] = "ipv6-icmp",
	[89] = "ospf",
	[103] = "pim",
	[112] = "vrrp",
	[PROTO_SCTP] = "sctp",
	[PROTO_UDPLITE] = "udplite",
};

const char *flow_transport_name(uint8_t protocol)
{
	return transport_names[protocol];
}

/* Linux's numbers, spelled out: they cross the ring, and strerror() follows the locale. */
static const struct {
	uint32_t number;
	const char *text;
} errors[] = {
	{ 111, "connection refused" },	  { 110, "timed out" },
	{ 104, "connection reset" },	  { 113, "no route to host" },
	{ 101, "network unreachable" },	  { 112, "host is down" },
	{ 103, "connection aborted" },	  { 32, "broken pipe" },
	{ 99, "address not available" },  { 13, "permission denied" },
	{ 1, "operation not permitted" }, { 71, "protocol error" },
	{ 92, "protocol not available" }, { 90, "message too long" },
	{ 105, "no buffer space" },	  { 125, "canceled" },
};

const struct task_ref *flow_process(const struct flow *f)
{
	return f->user.pid ? &f->user : &f->opener;
}

static size_t format_ipv4(const uint8_t *a, char *ret)
{
	char *at = ret;

	for (int i = 0; i < 4; i++) {
		unsigned v = a[i];

		if (i)
			*at++ = '.';
		if (v >= 100)
			*at++ = (char)('0' + v / 100);
		if (v >= 10)
			*at++ = (char)('0' + v / 10 % 10);
		*at++ = (char)('0' + v % 10);
	}
	*at = '\0';
	return (size_t)(at - ret);
}

static void end_init(struct end *e, const struct flow *f, bool local)
{
	e->addr = local ? f->local : f->remote;
	e->port = local ? f->local_port : f->remote_port;
	e->bytes = local ? f->out_bytes : f->in_bytes;
	e->packets = local ? f->out_packets : f->in_packets;
	if (f->ip_version == 4) {
		e->ip_len = format_ipv4(e->addr, e->ip);
	} else {
		inet_ntop(AF_INET6, e->addr, e->ip, sizeof(e->ip));
		e->ip_len = strlen(e->ip);
	}
}

static bool has_ports(uint8_t protocol)
{
	return protocol == PROTO_TCP || protocol == PROTO_UDP || protocol == PROTO_SCTP ||
	       protocol == PROTO_DCCP || protocol == PROTO_UDPLITE;
}

static bool is_icmp(uint8_t protocol)
{
	return protocol == PROTO_ICMP || protocol == PROTO_ICMP6;
}

/* A TCP connection attempt that came to nothing. */
static bool has_failed(const struct flow *f)
{
	return f->protocol == PROTO_TCP && f->last && !f->established;
}

static const char *outcome(const struct flow *f)
{
	if (has_failed(f))
		return "failure";
	if (f->protocol == PROTO_TCP && !f->established)
		return "unknown"; /* still connecting */
	if (f->protocol != PROTO_TCP && f->error)
		return "failure";
	return "success";
}

static void put_reason(struct json_writer *w, const struct flow *f)
{
	const char *text = NULL;
	char number[24];

	for (size_t i = 0; f->error && i < sizeof(errors) / sizeof(*errors); i++)
		if (errors[i].number == f->error)
			text = errors[i].text;
	if (!text && f->error) {
		size_t n = sizeof(number);
		uint32_t v = f->error;

		do {
			number[--n] = (char)('0' + v % 10);
			v /= 10;
		} while (v);
		n -= 6;
		memcpy(number + n, "error ", 6);
		json_plain(w, "reason", number + n, sizeof(number) - n);
		return;
	}
	if (!text && f->reset)
		text = "connection reset";
	if (!text && has_failed(f))
		text = "closed before the handshake was completed";
	if (!text)
		switch (f->end_reason) {
		case END_IDLE:
			text = "idle timeout";
			break;
		case END_ACTIVE:
			text = "active timeout";
			break;
		case END_FORCED:
			text = "forced end";
			break;
		case END_RESOURCES:
			text = "lack of resources";
			break;
		default:
			text = "end of flow";
			break;
		}
	json_str(w, "reason", text);
}

/* An end as it is on the other side of the translation. */
struct nat_end {
	char ip[INET6_ADDRSTRLEN];
	uint16_t port;
	bool changed;
};

static void nat_end_init(struct nat_end *e, const struct flow *f, const struct nat_view *v,
			 bool local)
{
	*e = (struct nat_end){ .changed = local ? v->local_changed : v->remote_changed,
			       .port = local ? v->local_port : v->remote_port };
	inet_ntop(f->ip_version == 4 ? AF_INET : AF_INET6, local ? v->local : v->remote, e->ip,
		  sizeof(e->ip));
}

static void put_nat_ipfix(struct json_writer *w, const struct flow *f, const struct nat_view *v)
{
	bool v6 = f->ip_version == 6;
	struct nat_end e;

	if (!v || v->before)
		return;
	nat_end_init(&e, f, v, f->outbound);
	if (e.changed) {
		json_str(w, v6 ? "postNATSourceIPv6Address" : "postNATSourceIPv4Address", e.ip);
		json_u64(w, "postNAPTSourceTransportPort", e.port);
	}
	nat_end_init(&e, f, v, !f->outbound);
	if (e.changed) {
		json_str(w, v6 ? "postNATDestinationIPv6Address" : "postNATDestinationIPv4Address",
			 e.ip);
		json_u64(w, "postNAPTDestinationTransportPort", e.port);
	}
}

static void put_nat_end(struct json_writer *w, const char *key, const struct flow *f,
			const struct nat_view *v, bool local)
{
	struct nat_end e;

	nat_end_init(&e, f, v, local);
	if (!e.changed)
		return;
	json_object(w, key);
	json_str(w, "ip", e.ip);
	json_u64(w, "port", e.port);
	json_object_end(w);
}

/* What the kernel sends by itself, from sockets that are nobody's. */
static bool has_no_socket(const struct flow *f)
{
	static const uint8_t v4[] = { 0, 3, 4, 5, 11, 12, 14, 18 };
	static const uint8_t v6[] = { 1, 2, 3, 4, 129, 130, 131, 132, 133, 135, 136, 137, 143 };
	const uint8_t *types = f->protocol == PROTO_ICMP ? v4 : v6;
	size_t n = f->protocol == PROTO_ICMP ? sizeof(v4) : sizeof(v6);

	return is_icmp(f->protocol) && f->outbound && !f->opener.pid && !f->user.pid &&
	       memchr(types, f->icmp_type, n);
}

static void put_ipfix(struct record *r, struct json_writer *w, const struct flow *f,
		      const struct flow_details *d, const struct end *src, const struct end *dst,
		      uint64_t last_ns)
{
	bool v6 = f->ip_version == 6;

	json_plain(w, v6 ? "sourceIPv6Address" : "sourceIPv4Address", src->ip, src->ip_len);
	json_plain(w, v6 ? "destinationIPv6Address" : "destinationIPv4Address", dst->ip,
		   dst->ip_len);
	if (has_ports(f->protocol)) {
		json_u64(w, "sourceTransportPort", src->port);
		json_u64(w, "destinationTransportPort", dst->port);
	}
	if (is_icmp(f->protocol))
		json_u64(w, v6 ? "icmpTypeCodeIPv6" : "icmpTypeCodeIPv4",
			 (uint64_t)f->icmp_type * 256 + f->icmp_code);
	json_u64(w, "protocolIdentifier", f->protocol);
	/* Both: the intake's NetFlow parser takes IPv6 for IPv4 when ipVersion is missing. */
	json_u64(w, "ipVersion", f->ip_version);
	json_u64(w, "IP_PROTOCOL_VERSION", f->ip_version);
	json_u64(w, "octetDeltaCount", src->bytes + dst->bytes);
	json_u64(w, "packetDeltaCount", src->packets + dst->packets);
	json_u64(w, "initiatorOctets", src->bytes);
	json_u64(w, "responderOctets", dst->bytes);
	json_u64(w, "initiatorPackets", src->packets);
	json_u64(w, "responderPackets", dst->packets);
	if (!(f->first && f->last) || f->start_unknown)
		json_u64(w, "octetTotalCount", f->out_total + f->in_total);
	if (f->direction_known)
		json_u64(w, "flowDirection", f->outbound ? 1 : 0);
	else
		json_u64(w, "biflowDirection", 0);
	json_u64(w, "flowStartSysUpTime", f->start_ns / 1000000);
	json_u64(w, "flowEndSysUpTime", last_ns / 1000000);
	json_time_us(w, "flowStartSeconds", record_real_us(r, f->start_ns));
	json_time_us(w, "flowEndSeconds", record_real_us(r, last_ns));
	if (f->ifindex)
		json_u64(w, f->outbound ? "egressInterface" : "ingressInterface", f->ifindex);
	if (d->interface_name.len)
		json_slice(w, "interfaceName", d->interface_name);
	if (f->protocol == PROTO_TCP)
		json_u64(w, "tcpControlBits", f->tcp_flags);
	put_nat_ipfix(w, f, d->nat);
	json_u64(w, "flowEndReason", f->end_reason);
	json_u64(w, "flowId", f->id);
}

/* domain: only a name that dns_parse() has checked needs no escape. */
static void put_end(struct json_writer *w, const char *key, const struct flow *f,
		    const struct end *e, struct slice domain, const struct nat_view *nat)
{
	json_object(w, key);
	json_plain(w, "ip", e->ip, e->ip_len);
	if (domain.len)
		json_plain(w, "domain", domain.p, domain.len);
	if (has_ports(f->protocol))
		json_u64(w, "port", e->port);
	json_u64(w, "bytes", e->bytes);
	json_u64(w, "packets", e->packets);
	if (nat && !nat->before)
		put_nat_end(w, "nat", f, nat, e->addr == f->local);
	json_object_end(w);
}

static void put_network(struct json_writer *w, const struct flow *f, const struct end *src,
			const struct end *dst)
{
	char id[COMMUNITY_ID_SIZE], number[4];
	size_t n = sizeof(number);
	unsigned v = f->protocol;
	size_t id_len;

	if (is_icmp(f->protocol))
		id_len = community_id(f->ip_version, f->protocol, src->addr, dst->addr,
				      f->icmp_type, f->icmp_code, id);
	else
		id_len = community_id(f->ip_version, f->protocol, src->addr, dst->addr, src->port,
				      dst->port, id);

	json_object(w, "network");
	json_str(w, "direction",
		 !f->direction_known ? "unknown"
		 : f->outbound	     ? "outbound"
				     : "inbound");
	json_str(w, "type", f->ip_version == 6 ? "ipv6" : "ipv4");
	if (transport_names[f->protocol])
		json_str(w, "transport", transport_names[f->protocol]);
	do {
		number[--n] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	json_plain(w, "iana_number", number + n, sizeof(number) - n);
	json_u64(w, "bytes", src->bytes + dst->bytes);
	json_u64(w, "packets", src->packets + dst->packets);
	json_plain(w, "community_id", id, id_len);
	json_object_end(w);
}

static void put_event(struct record *r, struct json_writer *w, const struct flow *f,
		      uint64_t last_ns)
{
	json_object(w, "event");
	record_put_id(r, w);
	json_plain(w, "kind", "event", 5);
	json_array(w, "category");
	json_plain(w, NULL, "network", 7);
	json_array_end(w);
	json_array(w, "type");
	json_plain(w, NULL, "connection", 10);
	if (f->first)
		json_plain(w, NULL, "start", 5);
	if (f->last)
		json_plain(w, NULL, "end", 3);
	json_array_end(w);
	json_plain(w, "action", "network_flow", 12);
	json_str(w, "outcome", outcome(f));
	json_time_us(w, "start", record_real_us(r, f->start_ns));
	json_time_us(w, "end", record_real_us(r, last_ns));
	put_reason(w, f);
	json_plain(w, "provider", RECORD_NAME, sizeof(RECORD_NAME) - 1);
	json_object_end(w);
}

static bool is_same_task(const struct task_ref *a, const struct task_ref *b)
{
	return a->pid == b->pid && a->start_ns == b->start_ns;
}

static void put_process(struct record *r, struct json_writer *w, const struct task_ref *who,
			const struct flow_details *d)
{
	struct process_info bare;

	if (!who->pid)
		return;
	if (d->process && d->process->pid == who->pid) {
		record_put_process(r, w, d->process);
		record_put_user(w, who->uid, d->user_name);
		record_put_container(r, w, &d->process->container);
		return;
	}
	bare = (struct process_info){
		.pid = who->pid,
		.start_ns = who->start_ns,
		.name = slice_of(who->comm),
		.parent.pid = who->ppid,
	};
	record_put_process(r, w, &bare);
	record_put_user(w, who->uid, d->user_name);
}

/* What only we know; left out when there is nothing to say. */
static void put_own(struct json_writer *w, const struct flow *f, const struct flow_details *d)
{
	bool other_opener = f->opener.pid && f->user.pid && !is_same_task(&f->opener, &f->user);
	bool has_tcp = f->protocol == PROTO_TCP && f->established;
	bool one_report = f->first && f->last;
	bool other_domain = d->domain.len && d->domain_by_other;
	bool uncertain = f->out_uncertain || f->in_uncertain || f->user_is_guess ||
			 f->start_unknown || other_domain;

	bool no_socket = has_no_socket(f), before_nat = d->nat && d->nat->before;

	if (one_report && !has_tcp && !other_opener && !uncertain && !no_socket && !before_nat &&
	    !f->reset)
		return;
	json_object(w, "sekoia_ebpf");
	if (!one_report)
		json_u64(w, "report", f->report);
	if (has_tcp) {
		json_u64(w, "retransmits", f->retransmits);
		json_u64(w, "srtt_us", f->srtt_us);
	}
	if (f->reset)
		json_str(w, "reset_by", f->reset_by_peer ? "remote" : "local");
	if (f->unacknowledged)
		json_u64(w, "unacknowledged", f->unacknowledged);
	if (other_opener) {
		json_object(w, "opener");
		json_u64(w, "pid", f->opener.pid);
		if (d->opener && d->opener->pid == f->opener.pid)
			json_slice(w, "name", d->opener->name);
		else
			json_str(w, "name", f->opener.comm);
		json_object_end(w);
	}
	if (no_socket) {
		json_key(w, "no_socket");
		json_raw(w, "true", 4);
	}
	if (before_nat) {
		json_object(w, "before_nat");
		put_nat_end(w, "source", f, d->nat, f->outbound);
		put_nat_end(w, "destination", f, d->nat, !f->outbound);
		json_object_end(w);
	}
	if (uncertain) {
		json_array(w, "uncertain");
		if (f->out_uncertain)
			json_plain(w, NULL, "out_bytes", 9);
		if (f->in_uncertain)
			json_plain(w, NULL, "in_bytes", 8);
		if (f->user_is_guess)
			json_plain(w, NULL, "process", 7);
		if (f->start_unknown)
			json_plain(w, NULL, "start", 5);
		if (other_domain)
			json_plain(w, NULL, "domain", 6);
		json_array_end(w);
	}
	json_object_end(w);
}

/* What the client said: whether the server agreed is not known. */
static void put_tls(struct json_writer *w, const struct tls_hello *h)
{
	json_object(w, "tls");
	if (h->n_alpn == 1)
		json_slice(w, "next_protocol", (struct slice){ h->alpn[0].text, h->alpn[0].len });
	json_object(w, "client");
	if (h->server_name[0])
		json_str(w, "server_name", h->server_name);
	if (h->n_alpn) {
		json_array(w, "alpn");
		for (int i = 0; i < h->n_alpn; i++)
			json_slice(w, NULL, (struct slice){ h->alpn[i].text, h->alpn[i].len });
		json_array_end(w);
	}
	json_str(w, "ja4", h->ja4);
	json_object_end(w);
	json_object_end(w);
}

static void put_dns(struct json_writer *w, const struct names_answer *a)
{
	const char *type = dns_type_name(a->type), *rcode = dns_rcode_name(a->rcode);

	json_object(w, "dns");
	json_plain(w, "type", "answer", 6);
	if (rcode)
		json_str(w, "response_code", rcode);
	json_object(w, "question");
	json_str(w, "name", a->name);
	if (type)
		json_str(w, "type", type);
	json_object_end(w);
	if (a->n_addresses) {
		json_array(w, "resolved_ip");
		for (int i = 0; i < a->n_addresses; i++) {
			char ip[INET6_ADDRSTRLEN];

			inet_ntop(a->addresses[i].ip_version == 4 ? AF_INET : AF_INET6,
				  a->addresses[i].bytes, ip, sizeof(ip));
			json_str(w, NULL, ip);
		}
		json_array_end(w);
	}
	json_object_end(w);
}

int flow_record_format(struct record *r, const struct flow *f, const struct flow_details *d,
		       struct msg *ret)
{
	uint64_t last_ns = f->last_ns > f->start_ns ? f->last_ns : f->start_ns;
	uint64_t time_us = record_real_us(r, last_ns);
	struct json_writer w;
	struct end src, dst;

	end_init(&src, f, f->outbound);
	end_init(&dst, f, !f->outbound);

	if (r->flow_schema == FLOW_SCHEMA_IPFIX) {
		json_init(&w, r->json, sizeof(r->json));
		json_object(&w, NULL);
		put_ipfix(r, &w, f, d, &src, &dst, last_ns);
		/* The one thing that no information element can say: a repeat is recognisable. */
		json_object(&w, "event");
		record_put_id(r, &w);
		json_object_end(&w);
		if (f->out_uncertain || f->in_uncertain || f->start_unknown ||
		    (d->nat && d->nat->before))
			put_own(&w, f, d);
	} else {
		const struct task_ref *who = flow_process(f);

		record_begin(r, &w, time_us);
		if (r->flow_schema == FLOW_SCHEMA_BOTH)
			put_ipfix(r, &w, f, d, &src, &dst, last_ns);
		put_event(r, &w, f, last_ns);
		put_end(&w, "source", f, &src, (struct slice){ 0 }, d->nat);
		put_end(&w, "destination", f, &dst, d->domain, d->nat);
		put_network(&w, f, &src, &dst);
		if (d->hello)
			put_tls(&w, d->hello);
		if (d->answer)
			put_dns(&w, d->answer);
		put_process(r, &w, who, d);
		put_own(&w, f, d);
	}
	json_object_end(&w);
	if (!json_len(&w))
		return -EMSGSIZE;

	*ret = (struct msg){
		.seq = r->seq,
		.time_us = time_us,
		.class = MSG_FLOW,
		.pri = FLOW_PRI,
		.host = r->hostname,
		.app = SLICE(RECORD_NAME),
		.json = { r->json, json_len(&w) },
	};
	return 0;
}
