/* SPDX-License-Identifier: Apache-2.0 */
/* Each key of a flow record, in each kind of flow, read by another JSON parser. */
#include "user/flow_record.h"

#include <arpa/inet.h>
#include <errno.h>

#include "tests/lib/test.h"

#include "tests/lib/json.h"

/* Boot at 2026-11-23T00:00:00Z. */
#define BOOT_REAL_NS 1795392000000000000ll
#define SECOND	     1000000000ull

static const char *const ips[] = { "192.0.2.10", "2001:db8::10" };

static struct record *record_of(enum config_flow_schema schema)
{
	static struct record *r;
	const struct record_opts opts = {
		.hostname = SLICE("web-1"),
		.ips = ips,
		.n_ips = 2,
		.os_name = SLICE("Debian GNU/Linux"),
		.os_version = SLICE("12"),
		.agent_id = SLICE("0011223344556677"),
		.version = SLICE("0.1.0"),
		.epoch = 0xabcdef,
		.flow_schema = schema,
	};

	record_free(r);
	if (record_new(&opts, &r) < 0)
		abort();
	r->seq = 42;
	r->boot_to_real_ns = BOOT_REAL_NS;
	return r;
}

static const struct process_info curl = {
	.pid = 4784,
	.start_ns = 99 * SECOND,
	.name = { "curl", 4 },
	.executable = { "/usr/bin/curl", 13 },
	.args = { "curl\0-o\0a \"b\"", 13 },
	.command_line = { "curl -o a \"b\"", 13 },
	.parent = { .pid = 4782,
		    .name = { "bash", 4 },
		    .executable = { "/usr/bin/bash", 13 },
		    .command_line = { "bash -i", 7 } },
	.container = { .id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		       .pod_uid = "7f0b1a2c-0000-1111-2222-333344445555",
		       .unit = "docker-x.scope",
		       .runtime = "docker" },
};

/* A whole TCP connection from here; cases change what they are about. */
static struct flow tcp_out(void)
{
	struct flow f = {
		.id = 77,
		.start_ns = 100 * SECOND + 250000000,
		.from_ns = 100 * SECOND + 250000000,
		.last_ns = 101 * SECOND + 500001000,
		.out_bytes = 517,
		.in_bytes = 4096,
		.out_packets = 7,
		.in_packets = 6,
		.out_total = 517,
		.in_total = 4096,
		.opener = { .pid = 4784,
			    .uid = 1000,
			    .gid = 1000,
			    .ppid = 4782,
			    .start_ns = 99 * SECOND,
			    .comm = "curl" },
		.user = { .pid = 4784,
			  .uid = 1000,
			  .gid = 1000,
			  .ppid = 4782,
			  .start_ns = 99 * SECOND,
			  .comm = "curl" },
		.local = { 192, 0, 2, 10 },
		.remote = { 198, 51, 100, 7 },
		.local_port = 40000,
		.remote_port = 443,
		.ip_version = 4,
		.protocol = 6,
		.outbound = true,
		.direction_known = true,
		.end_reason = 3,
		.tcp_flags = 0x1b,
		.first = true,
		.last = true,
		.established = true,
		.ifindex = 2,
		.retransmits = 1,
		.srtt_us = 12345,
	};

	return f;
}

static struct flow tcp_in(void)
{
	struct flow f = tcp_out();

	f.outbound = false;
	f.local_port = 443;
	f.remote_port = 40000;
	return f;
}

static struct flow tcp6_out(void)
{
	struct flow f = tcp_out();

	f.ip_version = 6;
	inet_pton(AF_INET6, "2001:db8::10", f.local);
	inet_pton(AF_INET6, "2001:db8::1:7", f.remote);
	return f;
}

static struct flow udp_out(void)
{
	struct flow f = tcp_out();

	f.protocol = 17;
	f.remote_port = 53;
	f.end_reason = 1;
	f.established = false;
	f.tcp_flags = 0;
	f.retransmits = f.srtt_us = 0;
	return f;
}

static struct flow icmp_out(void)
{
	struct flow f = udp_out();

	f.protocol = 1;
	f.local_port = f.remote_port = 0;
	f.icmp_type = 8;
	return f;
}

static struct flow icmp6_in(void)
{
	struct flow f = tcp6_out();

	f.protocol = 58;
	f.outbound = false;
	f.established = false;
	f.local_port = f.remote_port = 0;
	f.icmp_type = 128;
	f.icmp_code = 3;
	return f;
}

static struct flow refused(void)
{
	struct flow f = tcp_out();

	f.established = false;
	f.error = 111;
	f.tcp_flags = 0x02;
	f.in_bytes = f.out_bytes = f.in_total = f.out_total = 0;
	f.in_packets = f.out_packets = 1;
	return f;
}

static struct flow delta(void)
{
	struct flow f = tcp_in();

	f.first = f.last = false;
	f.report = 2;
	f.end_reason = 2;
	f.from_ns = 101 * SECOND;
	f.out_total = 100000;
	f.in_total = 5000;
	return f;
}

static struct flow reset_uncertain(void)
{
	struct flow f = tcp_in();

	f.reset = true;
	f.reset_by_peer = true;
	f.error = 104;
	f.out_uncertain = f.in_uncertain = true;
	f.unacknowledged = 1448;
	f.user_is_guess = true;
	f.opener.pid = 900;
	f.opener.start_ns = 5 * SECOND;
	strcpy(f.opener.comm, "nginx");
	return f;
}

static struct flow no_direction(void)
{
	struct flow f = udp_out();

	f.direction_known = false;
	f.start_unknown = true;
	f.ifindex = 0;
	return f;
}

static struct flow nobody(void)
{
	struct flow f = tcp_in();

	f.opener.pid = f.user.pid = 0;
	return f;
}

static struct flow gre(void)
{
	struct flow f = udp_out();

	f.protocol = 47;
	f.local_port = f.remote_port = 0;
	return f;
}

static struct flow clock_went_back(void)
{
	struct flow f = tcp_out();

	f.last_ns = f.start_ns - 5;
	return f;
}

static struct flow unnamed_error(void)
{
	struct flow f = refused();

	f.error = 1234;
	return f;
}

static struct flow aborted_connect(void)
{
	struct flow f = refused();

	f.error = 0;
	return f;
}

static struct flow still_connecting(void)
{
	struct flow f = refused();

	f.error = 0;
	f.last = false;
	f.end_reason = 2;
	return f;
}

static struct json_c_object *format(struct record *r, const struct flow *f)
{
	const struct flow_details d = {
		.process = &curl,
		.user_name = SLICE("alice"),
		.interface_name = SLICE("eth0"),
	};
	struct json_c_object *o;
	struct msg m = { 0 };

	CHECK_INT(flow_record_format(r, f, &d, &m), 0);
	CHECK_INT(m.seq, 42);
	CHECK_INT(m.class, MSG_FLOW);
	CHECK_INT(m.pri, 30);
	CHECK_INT(m.text.len, 0);
	CHECK_INT(m.procid.len, 0);
	CHECK_INT(m.route.len, 0);
	CHECK_MEM(m.host.p, m.host.len, "web-1");
	CHECK_MEM(m.app.p, m.app.len, "sekoia-ebpf");
	o = json_of(m.json.p, m.json.len);
	CHECK(o != NULL);
	return o;
}

/* want as in json_is(): "'text", JSON, or NULL for absent. */
static const struct {
	struct flow (*make)(void);
	const char *path, *want;
} cases[] = {
	/* The initiator is the source. */
	{ tcp_out, "sourceIPv4Address", "'192.0.2.10" },
	{ tcp_out, "destinationIPv4Address", "'198.51.100.7" },
	{ tcp_out, "sourceIPv6Address", NULL },
	{ tcp_in, "sourceIPv4Address", "'198.51.100.7" },
	{ tcp_in, "destinationIPv4Address", "'192.0.2.10" },
	{ tcp6_out, "sourceIPv6Address", "'2001:db8::10" },
	{ tcp6_out, "destinationIPv6Address", "'2001:db8::1:7" },
	{ tcp6_out, "sourceIPv4Address", NULL },
	{ icmp6_in, "sourceIPv6Address", "'2001:db8::1:7" },

	{ tcp_out, "sourceTransportPort", "40000" },
	{ tcp_out, "destinationTransportPort", "443" },
	{ tcp_in, "sourceTransportPort", "40000" },
	{ tcp_in, "destinationTransportPort", "443" },
	{ udp_out, "destinationTransportPort", "53" },
	{ icmp_out, "sourceTransportPort", NULL },
	{ icmp_out, "destinationTransportPort", NULL },
	{ icmp6_in, "sourceTransportPort", NULL },
	{ gre, "sourceTransportPort", NULL },

	{ icmp_out, "icmpTypeCodeIPv4", "2048" },
	{ icmp_out, "icmpTypeCodeIPv6", NULL },
	{ icmp6_in, "icmpTypeCodeIPv6", "32771" },
	{ tcp_out, "icmpTypeCodeIPv4", NULL },

	{ tcp_out, "protocolIdentifier", "6" },
	{ udp_out, "protocolIdentifier", "17" },
	{ icmp_out, "protocolIdentifier", "1" },
	{ icmp6_in, "protocolIdentifier", "58" },
	{ tcp_out, "ipVersion", "4" },
	{ tcp_out, "IP_PROTOCOL_VERSION", "4" },
	{ tcp6_out, "ipVersion", "6" },
	{ tcp6_out, "IP_PROTOCOL_VERSION", "6" },

	{ tcp_out, "octetDeltaCount", "4613" },
	{ tcp_out, "packetDeltaCount", "13" },
	{ tcp_out, "initiatorOctets", "517" },
	{ tcp_out, "responderOctets", "4096" },
	{ tcp_out, "initiatorPackets", "7" },
	{ tcp_out, "responderPackets", "6" },
	{ tcp_in, "initiatorOctets", "4096" },
	{ tcp_in, "responderOctets", "517" },
	{ tcp_in, "initiatorPackets", "6" },
	{ tcp_in, "responderPackets", "7" },
	{ tcp_out, "octetTotalCount", NULL },
	{ delta, "octetTotalCount", "105000" },
	{ delta, "octetDeltaCount", "4613" },
	{ refused, "octetDeltaCount", "0" },

	{ tcp_out, "flowDirection", "1" },
	{ tcp_in, "flowDirection", "0" },
	{ no_direction, "flowDirection", NULL },
	{ no_direction, "biflowDirection", "0" },
	{ tcp_out, "biflowDirection", NULL },

	{ tcp_out, "flowStartSysUpTime", "100250" },
	{ tcp_out, "flowEndSysUpTime", "101500" },
	{ tcp_out, "flowStartSeconds", "'2026-11-23T00:01:40.250000Z" },
	{ tcp_out, "flowEndSeconds", "'2026-11-23T00:01:41.500001Z" },
	{ delta, "flowStartSeconds", "'2026-11-23T00:01:40.250000Z" },
	{ clock_went_back, "flowEndSysUpTime", "100250" },
	{ tcp_out, "flowDurationMicroseconds", NULL },

	{ tcp_out, "egressInterface", "2" },
	{ tcp_out, "ingressInterface", NULL },
	{ tcp_in, "ingressInterface", "2" },
	{ tcp_in, "egressInterface", NULL },
	{ no_direction, "egressInterface", NULL },
	{ tcp_out, "interfaceName", "'eth0" },
	{ tcp_out, "tcpControlBits", "27" },
	{ refused, "tcpControlBits", "2" },
	{ udp_out, "tcpControlBits", NULL },
	{ tcp_out, "flowEndReason", "3" },
	{ udp_out, "flowEndReason", "1" },
	{ delta, "flowEndReason", "2" },
	{ tcp_out, "flowId", "77" },

	{ tcp_out, "@timestamp", "'2026-11-23T00:01:41.500001Z" },
	{ tcp_out, "event.id", "'0000000000abcdef-42" },
	{ tcp_out, "event.kind", "'event" },
	{ tcp_out, "event.category", "[\"network\"]" },
	{ tcp_out, "event.type", "[\"connection\",\"start\",\"end\"]" },
	{ delta, "event.type", "[\"connection\"]" },
	{ still_connecting, "event.type", "[\"connection\",\"start\"]" },
	{ tcp_out, "event.action", "'network_flow" },
	{ tcp_out, "event.outcome", "'success" },
	{ udp_out, "event.outcome", "'success" },
	{ refused, "event.outcome", "'failure" },
	{ reset_uncertain, "event.outcome", "'success" },
	{ still_connecting, "event.outcome", "'unknown" },
	{ tcp_out, "event.start", "'2026-11-23T00:01:40.250000Z" },
	{ tcp_out, "event.end", "'2026-11-23T00:01:41.500001Z" },
	{ tcp_out, "event.reason", "'end of flow" },
	{ udp_out, "event.reason", "'idle timeout" },
	{ delta, "event.reason", "'active timeout" },
	{ refused, "event.reason", "'connection refused" },
	{ reset_uncertain, "event.reason", "'connection reset" },
	{ unnamed_error, "event.reason", "'error 1234" },
	{ aborted_connect, "event.reason", "'closed before the handshake was completed" },
	{ tcp_out, "event.provider", "'sekoia-ebpf" },

	{ tcp_out, "source.ip", "'192.0.2.10" },
	{ tcp_out, "source.port", "40000" },
	{ tcp_out, "source.bytes", "517" },
	{ tcp_out, "source.packets", "7" },
	{ tcp_out, "destination.ip", "'198.51.100.7" },
	{ tcp_out, "destination.port", "443" },
	{ tcp_out, "destination.bytes", "4096" },
	{ tcp_out, "destination.packets", "6" },
	{ tcp_in, "source.ip", "'198.51.100.7" },
	{ tcp_in, "source.bytes", "4096" },
	{ tcp6_out, "destination.ip", "'2001:db8::1:7" },
	{ icmp_out, "source.port", NULL },
	{ icmp_out, "destination.port", NULL },

	{ tcp_out, "network.direction", "'outbound" },
	{ tcp_in, "network.direction", "'inbound" },
	{ no_direction, "network.direction", "'unknown" },
	{ tcp_out, "network.type", "'ipv4" },
	{ tcp6_out, "network.type", "'ipv6" },
	{ tcp_out, "network.transport", "'tcp" },
	{ udp_out, "network.transport", "'udp" },
	{ icmp_out, "network.transport", "'icmp" },
	{ icmp6_in, "network.transport", "'ipv6-icmp" },
	{ gre, "network.transport", "'gre" },
	{ tcp_out, "network.iana_number", "'6" },
	{ icmp6_in, "network.iana_number", "'58" },
	{ tcp_out, "network.bytes", "4613" },
	{ tcp_out, "network.packets", "13" },
	/* Made with another implementation. */
	{ tcp_out, "network.community_id", "'1:J/xyCth7UBTAVlDILJPkvdXxmZw=" },
	{ tcp_in, "network.community_id", "'1:hYqzh65DqbJifXr8nIl/L1OI368=" },
	{ icmp_out, "network.community_id", "'1:GxLFVZJEgibNwDCM1pwM6/RqsY8=" },

	{ tcp_out, "process.pid", "4784" },
	{ tcp_out, "process.name", "'curl" },
	{ tcp_out, "process.executable", "'/usr/bin/curl" },
	{ tcp_out, "process.args", "[\"curl\",\"-o\",\"a \\\"b\\\"\"]" },
	{ tcp_out, "process.command_line", "'curl -o a \"b\"" },
	{ tcp_out, "process.start", "'2026-11-23T00:01:39.000000Z" },
	{ tcp_out, "process.parent.pid", "4782" },
	{ tcp_out, "process.parent.name", "'bash" },
	{ tcp_out, "process.parent.executable", "'/usr/bin/bash" },
	{ tcp_out, "process.parent.command_line", "'bash -i" },
	{ nobody, "process", NULL },
	{ tcp_out, "user.id", "'1000" },
	{ tcp_out, "user.name", "'alice" },
	{ nobody, "user", NULL },
	{ tcp_out, "container.id",
	  "'0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" },
	{ tcp_out, "container.runtime", "'docker" },
	{ tcp_out, "orchestrator.type", "'kubernetes" },
	{ tcp_out, "orchestrator.resource.id", "'7f0b1a2c-0000-1111-2222-333344445555" },
	{ nobody, "container", NULL },

	{ tcp_out, "host.hostname", "'web-1" },
	{ tcp_out, "host.ip", "[\"192.0.2.10\",\"2001:db8::10\"]" },
	{ tcp_out, "host.os.type", "'linux" },
	{ tcp_out, "host.os.name", "'Debian GNU/Linux" },
	{ tcp_out, "host.os.version", "'12" },
	{ tcp_out, "agent.id", "'0011223344556677" },
	{ tcp_out, "agent.name", "'sekoia-ebpf" },
	{ tcp_out, "agent.type", "'sekoia-ebpf" },
	{ tcp_out, "agent.version", "'0.1.0" },

	{ tcp_out, "sekoia_ebpf.retransmits", "1" },
	{ tcp_out, "sekoia_ebpf.srtt_us", "12345" },
	{ tcp_out, "sekoia_ebpf.report", NULL },
	{ tcp_out, "sekoia_ebpf.uncertain", NULL },
	{ tcp_out, "sekoia_ebpf.opener", NULL },
	{ delta, "sekoia_ebpf.report", "2" },
	{ udp_out, "sekoia_ebpf", NULL },
	{ reset_uncertain, "sekoia_ebpf.uncertain", "[\"out_bytes\",\"in_bytes\",\"process\"]" },
	{ reset_uncertain, "sekoia_ebpf.reset_by", "'remote" },
	{ reset_uncertain, "sekoia_ebpf.unacknowledged", "1448" },
	{ reset_uncertain, "sekoia_ebpf.opener.pid", "900" },
	{ reset_uncertain, "sekoia_ebpf.opener.name", "'nginx" },
	{ no_direction, "sekoia_ebpf.uncertain", "[\"start\"]" },
	/* Wrapped records are not read by the intake. */
	{ tcp_out, "message", NULL },
};

TEST(every_key)
{
	struct record *r = record_of(FLOW_SCHEMA_BOTH);

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct flow f = cases[i].make();
		struct json_c_object *o = format(r, &f);

		CHECK_JSON(o, cases[i].path, cases[i].want);
		json_object_put(o);
	}
}

TEST(each_key_once)
{
	/* json-c keeps the last of two equal keys: count them by hand, at the top. */
	struct record *r = record_of(FLOW_SCHEMA_BOTH);
	struct flow f = reset_uncertain();
	const struct flow_details d = { .process = &curl, .user_name = SLICE("alice") };
	struct json_c_object *o;
	struct msg m;
	int depth = 0, commas = 0;
	bool quoted = false;

	CHECK_INT(flow_record_format(r, &f, &d, &m), 0);
	for (size_t i = 0; i < m.json.len; i++) {
		char c = m.json.p[i];

		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted)
			depth += (c == '{' || c == '[') - (c == '}' || c == ']');
		if (!quoted && depth == 1 && c == ',')
			commas++;
	}
	o = json_of(m.json.p, m.json.len);
	CHECK_INT(json_object_object_length(o), commas + 1);
	json_object_put(o);
}

TEST(one_schema_alone)
{
	static const char *const both[] = { "event.id", NULL };
	static const char *const ipfix[] = { "sourceIPv4Address", "flowStartSeconds", "flowId",
					     "octetDeltaCount", NULL };
	static const char *const ecs[] = { "@timestamp",  "host",    "agent",	"source",
					   "destination", "network", "process", "user",
					   "event.kind",  NULL };
	struct flow f = tcp_out();
	struct json_c_object *o;

	o = format(record_of(FLOW_SCHEMA_IPFIX), &f);
	for (int i = 0; ipfix[i]; i++)
		CHECK(json_at(o, ipfix[i]) != NULL);
	for (int i = 0; ecs[i]; i++)
		CHECK_JSON(o, ecs[i], NULL);
	for (int i = 0; both[i]; i++)
		CHECK(json_at(o, both[i]) != NULL);
	json_object_put(o);

	o = format(record_of(FLOW_SCHEMA_ECS), &f);
	for (int i = 0; ipfix[i]; i++)
		CHECK_JSON(o, ipfix[i], NULL);
	for (int i = 0; ecs[i]; i++)
		CHECK(json_at(o, ecs[i]) != NULL);
	for (int i = 0; both[i]; i++)
		CHECK(json_at(o, both[i]) != NULL);
	json_object_put(o);
}

TEST(a_process_that_is_not_resolved)
{
	struct record *r = record_of(FLOW_SCHEMA_BOTH);
	const struct flow_details d = { 0 };
	struct flow f = tcp_out();
	struct json_c_object *o;
	struct msg m;

	/* What the kernel said is still there. */
	CHECK_INT(flow_record_format(r, &f, &d, &m), 0);
	o = json_of(m.json.p, m.json.len);
	CHECK_JSON(o, "process.pid", "4784");
	CHECK_JSON(o, "process.name", "'curl");
	CHECK_JSON(o, "process.parent.pid", "4782");
	CHECK_JSON(o, "process.executable", NULL);
	CHECK_JSON(o, "user.id", "'1000");
	CHECK_JSON(o, "user.name", NULL);
	CHECK_JSON(o, "interfaceName", NULL);
	json_object_put(o);
}

/* What others found out about it. */
TEST(what_it_is_called)
{
	static const struct tls_hello hello = { .server_name = "www.example.test",
						.alpn = { { 2, "h2" }, { 8, "http/1.1" } },
						.n_alpn = 2,
						.ja4 = "t13d1516h2_8daaf6152771_e5627efa2ab1" };
	static const struct names_answer answer = {
		.name = "www.example.test",
		.type = DNS_AAAA,
		.rcode = 0,
		.n_addresses = 2,
		.addresses = { { .bytes = { 192, 0, 2, 7 }, .ip_version = 4 },
			       { .bytes = { 0x20, 1, 0xd, 0xb8, [15] = 7 }, .ip_version = 6 } },
	};
	struct flow_details d = { .domain = SLICE("www.example.test"), .hello = &hello };
	struct tls_hello one = hello;
	struct names_answer no = { .name = "nope.test", .type = 999, .rcode = 3 };
	struct record *r = record_of(FLOW_SCHEMA_BOTH);
	struct flow f = tcp_out();
	struct json_c_object *o;
	struct msg m;

	CHECK_INT(flow_record_format(r, &f, &d, &m), 0);
	o = json_of(m.json.p, m.json.len);
	CHECK_JSON(o, "destination.domain", "'www.example.test");
	CHECK_JSON(o, "source.domain", NULL);
	CHECK_JSON(o, "tls.client.server_name", "'www.example.test");
	CHECK_JSON(o, "tls.client.alpn", "[\"h2\",\"http/1.1\"]");
	CHECK_JSON(o, "tls.client.ja4", "'t13d1516h2_8daaf6152771_e5627efa2ab1");
	CHECK_JSON(o, "tls.next_protocol", NULL); /* which of them is not known */
	CHECK_JSON(o, "sekoia_ebpf.uncertain", NULL);
	CHECK_JSON(o, "dns", NULL);
	json_object_put(o);

	one.n_alpn = 1;
	one.server_name[0] = 0;
	d.hello = &one;
	d.domain_by_other = true;
	CHECK_INT(flow_record_format(r, &f, &d, &m), 0);
	o = json_of(m.json.p, m.json.len);
	CHECK_JSON(o, "tls.next_protocol", "'h2");
	CHECK_JSON(o, "tls.client.server_name", NULL);
	CHECK_JSON(o, "sekoia_ebpf.uncertain", "[\"domain\"]");
	json_object_put(o);

	f = udp_out();
	d = (struct flow_details){ .answer = &answer };
	CHECK_INT(flow_record_format(r, &f, &d, &m), 0);
	o = json_of(m.json.p, m.json.len);
	CHECK_JSON(o, "destination.domain", NULL);
	CHECK_JSON(o, "tls", NULL);
	CHECK_JSON(o, "dns.type", "'answer");
	CHECK_JSON(o, "dns.response_code", "'NOERROR");
	CHECK_JSON(o, "dns.question.name", "'www.example.test");
	CHECK_JSON(o, "dns.question.type", "'AAAA");
	CHECK_JSON(o, "dns.resolved_ip", "[\"192.0.2.7\",\"2001:db8::7\"]");
	json_object_put(o);

	d.answer = &no;
	CHECK_INT(flow_record_format(r, &f, &d, &m), 0);
	o = json_of(m.json.p, m.json.len);
	CHECK_JSON(o, "dns.response_code", "'NXDOMAIN");
	CHECK_JSON(o, "dns.question.type", NULL);
	CHECK_JSON(o, "dns.resolved_ip", NULL);
	json_object_put(o);

	/* IPFIX has no elements for them. */
	r->flow_schema = FLOW_SCHEMA_IPFIX;
	d = (struct flow_details){ .domain = SLICE("a.test"),
				   .domain_by_other = true,
				   .hello = &hello,
				   .answer = &answer };
	CHECK_INT(flow_record_format(r, &f, &d, &m), 0);
	o = json_of(m.json.p, m.json.len);
	CHECK_JSON(o, "destination", NULL);
	CHECK_JSON(o, "tls", NULL);
	CHECK_JSON(o, "dns", NULL);
	json_object_put(o);
}

TEST(the_largest_process)
{
	static char args[PROCESS_ARGS_MAX], exe[PROCESS_EXE_MAX];
	struct record *r = record_of(FLOW_SCHEMA_BOTH);
	struct process_info p = curl;
	const struct flow_details d = { .process = &p };
	struct flow f = tcp_out();
	struct json_c_object *o;
	struct msg m;

	/* Every byte of it needs the longest escape. */
	memset(args, 1, sizeof(args));
	memset(exe, 1, sizeof(exe));
	p.args = p.command_line = (struct slice){ args, sizeof(args) };
	p.executable = p.name = (struct slice){ exe, sizeof(exe) };
	p.parent.executable = p.parent.name = p.executable;
	p.parent.command_line = (struct slice){ args, PROCESS_PARENT_ARGS_MAX };
	CHECK_INT(flow_record_format(r, &f, &d, &m), 0);
	CHECK(m.json.len < MSG_MAX_BYTES);
	o = json_of(m.json.p, m.json.len);
	CHECK(o != NULL);
	json_object_put(o);
}

TEST(sequence_numbers_and_ids)
{
	struct record *r = record_of(FLOW_SCHEMA_BOTH);
	const struct flow_details d = { 0 };
	struct flow f = tcp_out();
	struct json_c_object *o;
	struct msg m;

	r->seq = UINT64_MAX;
	CHECK_INT(flow_record_format(r, &f, &d, &m), 0);
	o = json_of(m.json.p, m.json.len);
	CHECK_JSON(o, "event.id", "'0000000000abcdef-18446744073709551615");
	json_object_put(o);
	r->seq = 1;
	CHECK_INT(flow_record_format(r, &f, &d, &m), 0);
	o = json_of(m.json.p, m.json.len);
	CHECK_JSON(o, "event.id", "'0000000000abcdef-1");
	json_object_put(o);
}

TEST(who_used_the_socket)
{
	struct flow f = tcp_out();

	f.opener.pid = 1;
	f.user.pid = 2;
	CHECK_INT(flow_process(&f)->pid, 2);
	f.user.pid = 0;
	CHECK_INT(flow_process(&f)->pid, 1);
}

TEST(a_host_that_can_not_be)
{
	static char name[300];
	struct record *r;
	struct record_opts opts = { .hostname = { name, sizeof(name) } };

	memset(name, 'a', sizeof(name));
	CHECK_INT(record_new(&opts, &r), -EINVAL);
	opts.hostname.len = 255;
	CHECK_INT(record_new(&opts, &r), 0);
	CHECK_INT(r->hostname.len, 255);
	record_free(r);
}

/* The record of f with these details, parsed. */
static struct json_c_object *told(const struct flow *f, const struct flow_details *d)
{
	struct msg m;

	CHECK_INT(flow_record_format(record_of(FLOW_SCHEMA_BOTH), f, d, &m), 0);
	return json_of(m.json.p, m.json.len);
}

TEST(what_the_host_translates)
{
	struct nat_view v = { .local = { 203, 0, 113, 5 },
			      .remote = { 10, 0, 0, 8 },
			      .local_port = 50000,
			      .remote_port = 8443,
			      .local_changed = true,
			      .remote_changed = true };
	struct flow_details d = { .nat = &v };
	struct flow out = tcp_out(), in = tcp_in(), out6 = tcp6_out();
	struct json_c_object *o = told(&out, &d);

	CHECK_JSON(o, "source.ip", "'192.0.2.10");
	CHECK_JSON(o, "source.nat.ip", "'203.0.113.5");
	CHECK_JSON(o, "source.nat.port", "50000");
	CHECK_JSON(o, "destination.nat.ip", "'10.0.0.8");
	CHECK_JSON(o, "destination.nat.port", "8443");
	CHECK_JSON(o, "postNATSourceIPv4Address", "'203.0.113.5");
	CHECK_JSON(o, "postNAPTSourceTransportPort", "50000");
	CHECK_JSON(o, "postNATDestinationIPv4Address", "'10.0.0.8");
	CHECK_JSON(o, "postNAPTDestinationTransportPort", "8443");
	CHECK_JSON(o, "sekoia_ebpf.before_nat", NULL);
	json_object_put(o);

	/* Who began it is the source, whichever end is ours. */
	v.local_changed = false;
	o = told(&in, &d);
	CHECK_JSON(o, "source.nat.ip", "'10.0.0.8");
	CHECK_JSON(o, "destination.nat", NULL);
	CHECK_JSON(o, "postNATDestinationIPv4Address", NULL);
	json_object_put(o);

	v.before = true;
	o = told(&in, &d);
	CHECK_JSON(o, "source.nat", NULL);
	CHECK_JSON(o, "postNATSourceIPv4Address", NULL);
	CHECK_JSON(o, "sekoia_ebpf.before_nat.source.ip", "'10.0.0.8");
	CHECK_JSON(o, "sekoia_ebpf.before_nat.destination", NULL);
	json_object_put(o);

	v = (struct nat_view){ .local_changed = true, .local_port = 7 };
	inet_pton(AF_INET6, "2001:db8::99", v.local);
	o = told(&out6, &d);
	CHECK_JSON(o, "postNATSourceIPv6Address", "'2001:db8::99");
	CHECK_JSON(o, "postNATSourceIPv4Address", NULL);
	CHECK_JSON(o, "source.nat.port", "7");
	json_object_put(o);
}

TEST(what_the_kernel_sends_by_itself)
{
	const struct flow_details d = { 0 };
	struct flow f = icmp_out();
	struct json_c_object *o = told(&f, &d);

	CHECK_JSON(o, "sekoia_ebpf.no_socket", NULL);
	json_object_put(o);
	f.opener.pid = f.user.pid = 0;
	f.icmp_type = 0;
	o = told(&f, &d);
	CHECK_JSON(o, "sekoia_ebpf.no_socket", "true");
	json_object_put(o);
	/* A ping whose socket was there before us. */
	f.icmp_type = 8;
	o = told(&f, &d);
	CHECK_JSON(o, "sekoia_ebpf.no_socket", NULL);
	json_object_put(o);
}
