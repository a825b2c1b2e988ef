/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stored records to IPFIX and NetFlow 9: messages byte by byte, as RFC 7011's
 * appendix A draws them; what does not fit; what is no record; numbers and templates;
 * docs/IPFIX.md (UPDATE=1 writes its tables).
 */
#define _GNU_SOURCE
#include "output/ipfix.h"

#include <errno.h>

#include "output/json_walk.h"
#include "tests/lib/test.h"

#define NOW_MS	1795440090500ull /* 2026-11-23T13:21:30.5Z */
#define BOOT_MS (NOW_MS - 1000000)

#define EVENT "\"event\":{\"id\":\"00ab-7\",\"outcome\":\"success\",\"reason\":\"end of flow\"}"
#define TIMES                                                                                      \
	"\"flowStartSeconds\":\"2026-11-23T13:21:29.001999Z\","                                    \
	"\"flowEndSeconds\":\"2026-11-23T13:21:30.000000Z\","
#define COUNTS                                                                                     \
	"\"initiatorOctets\":258,\"responderOctets\":3,\"initiatorPackets\":2,"                    \
	"\"responderPackets\":1,"

static const char tcp4[] =
	"{\"sourceIPv4Address\":\"192.0.2.1\",\"destinationIPv4Address\":\"198.51.100.2\","
	"\"sourceTransportPort\":4660,\"destinationTransportPort\":443,\"protocolIdentifier\":6,"
	"\"ipVersion\":4,\"IP_PROTOCOL_VERSION\":4," COUNTS "\"flowDirection\":1," TIMES
	"\"egressInterface\":2,\"interfaceName\":\"eth0\",\"tcpControlBits\":27,"
	"\"flowEndReason\":3,\"flowId\":72623859790382856," EVENT ","
	"\"network\":{\"community_id\":\"1:x\"},"
	"\"process\":{\"pid\":99,\"name\":\"c\\u0075rl\",\"args\":[\"curl\",\"-s\"],"
	"\"parent\":{\"pid\":1,\"name\":\"sh\"}},\"user\":{\"id\":\"1000\",\"name\":\"me\"},"
	"\"sekoia_ebpf\":{\"retransmits\":1,\"srtt_us\":15,\"uncertain\":[\"out_bytes\",\"start\"]}}";

static const char icmp6[] =
	"{\"sourceIPv6Address\":\"2001:db8::1\",\"destinationIPv6Address\":\"2001:db8::2\","
	"\"icmpTypeCodeIPv6\":32768,\"protocolIdentifier\":58,\"ipVersion\":6," COUNTS
	"\"biflowDirection\":0," TIMES "\"ingressInterface\":3,\"flowEndReason\":1,"
	"\"flowId\":5," EVENT "}";

/* Only the destination changes. */
#define NAT4                                                                                       \
	"\"postNATDestinationIPv4Address\":\"203.0.113.5\","                                       \
	"\"postNAPTDestinationTransportPort\":8443,"
#define NAT6                                                                                       \
	"\"postNATSourceIPv6Address\":\"2001:db8::9\",\"postNAPTSourceTransportPort\":50000,"      \
	"\"postNATDestinationIPv6Address\":\"2001:db8::a\",\"postNAPTDestinationTransportPort\":53,"

static struct ipfix_flow flow;
static char buf[IPFIX_MAX_BYTES];

static void parse(const char *json)
{
	CHECK_INT(ipfix_parse(slice_of(json), &flow), 0);
}

/* want is hex with blanks and newlines. */
static void check_bytes(const char *got, size_t len, const char *want, int line)
{
	size_t n = 0;

	for (const char *p = want; *p; n++) {
		unsigned v;

		while (*p == ' ')
			p++;
		if (!*p)
			break;
		if (sscanf(p, "%2x", &v) != 1)
			abort();
		if (n >= len || (unsigned char)got[n] != v) {
			printf("# line %d: byte %zu is %02x, not %02x\n", line, n,
			       n < len ? (unsigned char)got[n] : 0u, v);
			test_failed = true;
			return;
		}
		p += 2;
	}
	if (n != len) {
		printf("# line %d: %zu bytes, not %zu\n", line, len, n);
		test_failed = true;
	}
}
#define CHECK_BYTES(got, len, want) check_bytes(got, len, want, __LINE__)

static char *replace(const char *json, const char *what, const char *with)
{
	static char text[4096];
	const char *at = strstr(json, what);

	if (!at)
		abort();
	snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - json), json, with, at + strlen(what));
	return text;
}

static uint32_t at32(size_t at)
{
	const unsigned char *p = (const unsigned char *)buf + at;

	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t at16(size_t at)
{
	return at32(at) >> 16;
}

/* ------------------------------------------------------------------ bytes */

TEST(a_tcp_flow_in_ipfix)
{
	struct ipfix x;

	parse(tcp4);
	ipfix_init(&x, IPFIX_10, 0x01020304, 1400, "", BOOT_MS);
	x.sequence = 0xfffffffe;
	ipfix_begin(&x, buf, NOW_MS);
	CHECK_INT(ipfix_put_flow(&x, &flow), 0);
	CHECK_BYTES(buf, ipfix_end(&x, NOW_MS),
		    "000a 00c1 6b043dda fffffffe 01020304" /* header; its length, time, number */
		    "0100 00b1"				   /* a set of template 256 */
		    "c0000201 c6336402 1234 01bb 06 04"
		    "0000000000000102 0000000000000002" /* there */
		    "0000000000000003 0000000000000001" /* and back */
		    "000001a2089197a9 000001a208919b90" /* times */
		    "01 01 00000000 00000002"		/* out; who began is known; interfaces */
		    "001b 03 0102030405060708"
		    "02 6d65 04 65746830"		/* me, eth0 */
		    "00000063 04 6375726c 00 00"	/* pid, curl, no executable, no command */
		    "0000000000000000 00000001 02 7368" /* not known when; parent 1, sh */
		    "000003e8 00 00 00"			/* uid; no container */
		    "00000001 0000000f 00000000 05"	/* retransmits, srtt, report, uncertain */
		    "00000000 00"			/* no other opener */
		    "06 303061622d37 03 313a78"		/* 00ab-7, 1:x */
		    "07 73756363657373 0b 656e64206f6620666c6f77");
	CHECK_INT(x.sequence, 0xffffffff);
}

TEST(a_translated_flow)
{
	static const struct {
		enum ipfix_version version;
		const char *what, *with; /* in tcp4 */
		const char *want;	 /* the end of the message */
	} cases[] = {
		{ IPFIX_10, "\"event\"", NAT4 "\"event\"", "c0000201 cb007105 1234 20fb" },
		/* The answer is the flow turned, behind the translation, too. */
		{ IPFIX_NETFLOW9, "\"event\"", NAT4 "\"event\"",
		  "c0000201 cb007105 1234 20fb"
		  "c6336402 c0000201 01bb 1234 06 04 0000000000000003 0000000000000001"
		  "000f3c65 000f404c 00 00000002 00000000 1b"
		  "cb007105 c0000201 20fb 1234" },
		/* Without ports of their own: a host that translates addresses alone. */
		{ IPFIX_10, "\"event\"", "\"postNATSourceIPv4Address\":\"203.0.113.5\",\"event\"",
		  "cb007105 c6336402 1234 01bb" },
	};
	char json[2048];
	struct ipfix x;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		size_t len, want = 0;

		snprintf(json, sizeof(json), "%s", replace(tcp4, cases[i].what, cases[i].with));
		parse(json);
		ipfix_init(&x, cases[i].version, 1, 1400, "", BOOT_MS);
		ipfix_begin(&x, buf, NOW_MS);
		CHECK_INT(ipfix_put_flow(&x, &flow), 0);
		len = ipfix_end(&x, NOW_MS);
		CHECK_INT(at16(cases[i].version == IPFIX_10 ? 16 : 20), 264);
		for (const char *p = cases[i].want; *p; p++)
			want += *p != ' ';
		CHECK_BYTES(buf + len - want / 2, want / 2, cases[i].want);
	}
	/* Both ends, IPv6, no TCP. */
	parse("{\"sourceIPv6Address\":\"2001:db8::1\",\"destinationIPv6Address\":\"2001:db8::2\","
	      "\"sourceTransportPort\":1,\"destinationTransportPort\":2,"
	      "\"protocolIdentifier\":17,\"ipVersion\":6," COUNTS TIMES NAT6 EVENT "}");
	ipfix_init(&x, IPFIX_10, 1, 1400, "", BOOT_MS);
	ipfix_begin(&x, buf, NOW_MS);
	CHECK_INT(ipfix_put_flow(&x, &flow), 0);
	CHECK_BYTES(buf + ipfix_end(&x, NOW_MS) - 36, 36,
		    "20010db8000000000000000000000009 2001 0db800000000000000000000000a"
		    "c350 0035");
	CHECK_INT(at16(16), 267);
	/* Of the other family, or of a protocol without ports: as if it was not there. */
	snprintf(json, sizeof(json), "%s",
		 replace(tcp4, "\"event\"",
			 "\"postNATSourceIPv6Address\":\"2001:db8::9\",\"event\""));
	parse(json);
	ipfix_begin(&x, buf, NOW_MS);
	CHECK_INT(ipfix_put_flow(&x, &flow), 0);
	CHECK(ipfix_end(&x, NOW_MS) > 0);
	CHECK_INT(at16(16), 256);
	snprintf(json, sizeof(json), "%s", replace(icmp6, "\"event\"", NAT6 "\"event\""));
	parse(json);
	ipfix_begin(&x, buf, NOW_MS);
	CHECK_INT(ipfix_put_flow(&x, &flow), 0);
	CHECK(ipfix_end(&x, NOW_MS) > 0);
	CHECK_INT(at16(16), 261);
}

TEST(an_icmp_flow_in_ipfix)
{
	struct ipfix x;
	size_t len;

	parse(icmp6);
	ipfix_init(&x, IPFIX_10, 1, 1400, "", BOOT_MS);
	ipfix_begin(&x, buf, NOW_MS);
	CHECK_INT(ipfix_put_flow(&x, &flow), 0);
	len = ipfix_end(&x, NOW_MS);
	CHECK(len > 120);
	/* 261: ICMP, IPv6. Not known who began: biflowDirection 0, and "in" as it came in. */
	CHECK_BYTES(buf + 16, 4 + 32 + 4 + 32 + 16 + 2 + 8 + 1,
		    "0105 00ae"
		    "20010db8000000000000000000000001 20010db8000000000000000000000002"
		    "8000 3a 06"
		    "0000000000000102 0000000000000002 0000000000000003 0000000000000001"
		    "000001a2089197a9 000001a208919b90 00 00 00000003 00000000 01");
}

TEST(a_flow_and_its_answer_in_netflow_9)
{
	struct ipfix x;

	parse(tcp4);
	ipfix_init(&x, IPFIX_NETFLOW9, 7, 1400, "", BOOT_MS);
	x.sequence = 41;
	ipfix_begin(&x, buf, NOW_MS);
	CHECK_INT(ipfix_put_flow(&x, &flow), 0);
	/* Times are ms since the start of the host, which was 1,000,000 ms ago. */
	CHECK_BYTES(buf, ipfix_end(&x, NOW_MS),
		    "0009 0002 000f4240 6b043dda 00000029 00000007"
		    "0100 0064"
		    "c0000201 c6336402 1234 01bb 06 04 0000000000000102 0000000000000002"
		    "000f3c65 000f404c 01 00000000 00000002 1b"
		    "c6336402 c0000201 01bb 1234 06 04 0000000000000003 0000000000000001"
		    "000f3c65 000f404c 00 00000002 00000000 1b");
	CHECK_INT(x.sequence, 42);
}

TEST(the_answer_to_an_echo_request_in_netflow_9)
{
	struct ipfix x;
	size_t len;

	parse(icmp6);
	ipfix_init(&x, IPFIX_NETFLOW9, 7, 1400, "", BOOT_MS);
	ipfix_begin(&x, buf, NOW_MS);
	CHECK_INT(ipfix_put_flow(&x, &flow), 0);
	len = ipfix_end(&x, NOW_MS);
	CHECK_INT(len % 4, 0);
	CHECK_INT(at16(20 + 4 + 32), 0x8000);
	CHECK_INT(at16(20 + 4 + 32 + 2 + 2 + 16 + 8 + 1 + 8 + 32), 0x8100);
	/* Nobody answered: there is no flow back. */
	flow.value[12].number = flow.value[13].number = 0;
	ipfix_begin(&x, buf, NOW_MS);
	CHECK_INT(ipfix_put_flow(&x, &flow), 0);
	CHECK(ipfix_end(&x, NOW_MS) < len);
	CHECK_INT(at16(2), 1);
}

TEST(netflow_9_has_flows_from_before_the_hosts_start)
{
	struct ipfix x;

	ipfix_init(&x, IPFIX_NETFLOW9, 7, 1400, "", NOW_MS); /* it has just been started */
	ipfix_begin(&x, buf, NOW_MS);
	parse(tcp4);
	CHECK_INT(ipfix_put_flow(&x, &flow), 0);
	CHECK(ipfix_end(&x, NOW_MS) > 0);
	/* uptime - first is how long ago it was, whatever they are */
	CHECK_INT(at32(4) - at32(24 + 30), 1499);
	CHECK_INT(at32(4) - at32(24 + 34), 500);
	/* And a host that has been up for years */
	ipfix_init(&x, IPFIX_NETFLOW9, 7, 1400, "", 1);
	ipfix_begin(&x, buf, NOW_MS);
	CHECK_INT(ipfix_put_flow(&x, &flow), 0);
	CHECK(ipfix_end(&x, NOW_MS) > 0);
	CHECK_INT(at32(4) - at32(24 + 30), 1499);
}

/* ------------------------------------------------------------------ templates and sequence */

/* Walks all sets of a message: what is in them, as a receiver would find it. */
static unsigned count_sets(size_t len, size_t header, unsigned id)
{
	unsigned n = 0;

	for (size_t at = header; at < len;) {
		size_t set = at16(at + 2);

		CHECK(set >= 4 && at + set <= len);
		if (set < 4)
			break;
		n += at16(at) == id;
		at += set;
	}
	return n;
}

TEST(templates_in_as_many_messages_as_they_need)
{
	static const size_t sizes[] = { IPFIX_MIN_BYTES, 1400, 9000, IPFIX_MAX_BYTES };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		unsigned at = 0, messages = 0, types = 0, flows = 0;
		uint32_t sequence = 0;
		struct ipfix x;
		bool more;

		ipfix_init(&x, IPFIX_10, 1, sizes[i], "host.example", BOOT_MS);
		do {
			size_t len;

			ipfix_begin(&x, buf, NOW_MS);
			more = ipfix_put_templates(&x, &at) == -ENOBUFS;
			len = ipfix_end(&x, NOW_MS);
			CHECK(len > 16 && len <= sizes[i]);
			CHECK_INT(at16(2), len);
			/* Templates are not counted, the records of options are. */
			CHECK_INT(at32(8), sequence);
			sequence = x.sequence;
			types += count_sets(len, 16, 300);
			flows += count_sets(len, 16, 2);
		} while (more && ++messages < 100);
		CHECK(types && flows);
		CHECK_INT(x.sequence, 21 + 1); /* our elements, and the host's name */
		CHECK_INT(messages == 0, sizes[i] > 9000 - 1);
	}
}

TEST(a_template_of_netflow_9)
{
	unsigned at = 0;
	struct ipfix x;
	size_t len;

	ipfix_init(&x, IPFIX_NETFLOW9, 1, 1400, "host.example", BOOT_MS);
	ipfix_begin(&x, buf, NOW_MS);
	CHECK_INT(ipfix_put_templates(&x, &at), 0);
	len = ipfix_end(&x, NOW_MS);
	CHECK_INT(count_sets(len, 20, 0), 1);
	CHECK_INT(at16(2), 12);
	CHECK_BYTES(
		buf + 24, 4 + 14 * 4,
		"0100 000e 0008 0004 000c 0004 0007 0002 000b 0002 0004 0001 003c 0001"
		"0001 0008 0002 0008 0016 0004 0015 0004 003d 0001 000a 0004 000e 0004 0006 0001");
}

TEST(the_type_of_an_element)
{
	unsigned at = 0;
	struct ipfix x;
	char *found;
	size_t len;

	ipfix_init(&x, IPFIX_10, 1, IPFIX_MAX_BYTES, "", BOOT_MS);
	ipfix_begin(&x, buf, NOW_MS);
	CHECK_INT(ipfix_put_templates(&x, &at), 0);
	len = ipfix_end(&x, NOW_MS);
	/* RFC 5610, 3.9: number, element; type, semantics, units, name, description */
	found = memmem(buf, len, "\x14sekoiaTcpSmoothedRtt", 21);
	CHECK(found != NULL);
	if (found)
		CHECK_BYTES(found - 10, 10, "0000d028 000d 03 01 0007");
	/* Its template: two of the seven fields are the scope. */
	found = memmem(buf, len, "\x01\x2c\x00\x07\x00\x02", 6);
	CHECK(found != NULL);
	if (found)
		CHECK_BYTES(
			found + 6, 28,
			"015a 0004 012f 0002 0153 0001 0158 0001 0159 0002 0155 ffff 0154 ffff");
}

TEST(a_message_is_filled_and_no_further)
{
	static const enum ipfix_version versions[] = { IPFIX_10, IPFIX_NETFLOW9 };

	for (int v = 0; v < 2; v++) {
		for (size_t size = IPFIX_MIN_BYTES; size < IPFIX_MIN_BYTES + 300; size++) {
			struct ipfix x;
			unsigned n = 0;
			size_t len;

			ipfix_init(&x, versions[v], 1, size, "", BOOT_MS);
			memset(buf + size, 0x5a, 8);
			ipfix_begin(&x, buf, NOW_MS);
			do
				parse(n % 3 ? tcp4 : icmp6);
			while (ipfix_put_flow(&x, &flow) == 0 && ++n < 1000);
			len = ipfix_end(&x, NOW_MS);
			CHECK(len <= size && len + 250 > size);
			CHECK_INT(x.flows, n);
			CHECK(!memcmp(buf + size, "ZZZZZZZZ", 8));
			if (versions[v] == IPFIX_10)
				CHECK_INT(x.sequence, n);
			else
				CHECK_INT(at16(2), 2 * n);
		}
	}
}

TEST(an_empty_message_is_none)
{
	struct ipfix x;

	ipfix_init(&x, IPFIX_10, 1, 1400, "", BOOT_MS);
	ipfix_begin(&x, buf, NOW_MS);
	CHECK_INT(ipfix_end(&x, NOW_MS), 0);
	CHECK_INT(x.sequence, 0);
}

/* ------------------------------------------------------------------ odd records */

/* The largest of each text that there is. */
TEST(the_largest_flow_fits_into_the_smallest_message)
{
	static char json[200000], long_text[10001];
	struct ipfix x;
	int n;

	memset(long_text, 'x', sizeof(long_text) - 1);
	for (size_t len = 0; len < sizeof(long_text); len += 97) {
		n = snprintf(
			json, sizeof(json),
			"{\"sourceIPv6Address\":\"2001:db8::1\",\"destinationIPv6Address\":"
			"\"2001:db8::2\",\"sourceTransportPort\":1,\"destinationTransportPort\":2,"
			"\"protocolIdentifier\":6,\"ipVersion\":6," COUNTS TIMES NAT6
			"\"interfaceName\":\"%.*s\",\"event\":{\"id\":\"%.*s\",\"outcome\":\"%.*s\","
			"\"reason\":\"%.*s\"},\"network\":{\"community_id\":\"%.*s\"},"
			"\"process\":{\"pid\":1,\"name\":\"%.*s\",\"executable\":\"%.*s\","
			"\"command_line\":\"%.*s\",\"parent\":{\"name\":\"%.*s\"}},"
			"\"user\":{\"name\":\"%.*s\"},\"container\":{\"id\":\"%.*s\",\"runtime\":"
			"\"%.*s\"},\"orchestrator\":{\"resource\":{\"id\":\"%.*s\"}},"
			"\"sekoia_ebpf\":{\"opener\":{\"pid\":4,\"name\":\"%.*s\"}}}",
			(int)len, long_text, (int)len, long_text, (int)len, long_text, (int)len,
			long_text, (int)len, long_text, (int)len, long_text, (int)len, long_text,
			(int)len, long_text, (int)len, long_text, (int)len, long_text, (int)len,
			long_text, (int)len, long_text, (int)len, long_text, (int)len, long_text);
		CHECK(n > 0 && (size_t)n < sizeof(json));
		parse(json);
		ipfix_init(&x, IPFIX_10, 1, IPFIX_MIN_BYTES, "", BOOT_MS);
		ipfix_begin(&x, buf, NOW_MS);
		CHECK_INT(ipfix_put_flow(&x, &flow), 0);
		CHECK(ipfix_end(&x, NOW_MS) <= IPFIX_MIN_BYTES);
	}
}

TEST(what_is_no_flow_record_is_refused)
{
	static const char *const bad[][2] = {
		{ "\"192.0.2.1\"", "\"192.0.2.256\"" },
		{ "\"192.0.2.1\"", "\"2001:db8::1\"" },
		{ "\"192.0.2.1\"", "7" },
		{ "\"sourceIPv4Address\"", "\"sourceIPv4Addres\"" },
		{ "\"sourceTransportPort\":4660", "\"sourceTransportPort\":65536" },
		{ "\"sourceTransportPort\":4660", "\"sourceTransportPort\":-1" },
		{ "\"sourceTransportPort\":4660", "\"sourceTransportPort\":4.5" },
		{ "\"sourceTransportPort\":4660,", "" },
		{ "\"event\"", "\"postNATSourceIPv4Address\":\"::1\",\"event\"" },
		{ "\"event\"", "\"postNAPTSourceTransportPort\":65536,\"event\"" },
		{ "\"ipVersion\":4", "\"ipVersion\":6" },
		{ "\"ipVersion\":4,", "" },
		{ "\"protocolIdentifier\":6", "\"protocolIdentifier\":256" },
		{ "\"initiatorOctets\":258", "\"initiatorOctets\":18446744073709551616" },
		{ "\"initiatorOctets\":258,", "" },
		{ "13:21:29.001999Z", "13:21:29Z" },
		{ "13:21:29.001999Z", "13:21:29.001999+" },
		{ "2026-11-23T13:21:29", "2026-13-23T13:21:29" },
		{ "2026-11-23T13:21:29", "1969-11-23T13:21:29" },
		{ "2026-11-23T13:21:29", "2026-11-23T24:21:29" },
		{ "\"00ab-7\"", "\"00ab-7" },
		{ "}}", "}" },
		{ "{", "" },
		{ "{\"uncertain", "{" },
	};

	CHECK_INT(ipfix_parse(slice_of(""), &flow), -EBADMSG);
	CHECK_INT(ipfix_parse(slice_of("{}"), &flow), -EBADMSG);
	CHECK_INT(ipfix_parse(slice_of("[]"), &flow), -EBADMSG);
	CHECK_INT(ipfix_parse(slice_of("nonsense"), &flow), -EBADMSG);
	for (size_t i = 0; i + 1 < sizeof(bad) / sizeof(*bad); i++) {
		const char *json = replace(tcp4, bad[i][0], bad[i][1]);

		if (ipfix_parse(slice_of(json), &flow) != -EBADMSG) {
			printf("# taken: %s instead of %s\n", bad[i][1], bad[i][0]);
			test_failed = true;
		}
	}
	for (size_t len = 0; len < sizeof(tcp4) - 1; len++)
		CHECK_INT(ipfix_parse((struct slice){ tcp4, len }, &flow), -EBADMSG);
	CHECK_INT(ipfix_parse((struct slice){ tcp4, sizeof(tcp4) - 1 }, &flow), 0);
}

TEST(the_ipfix_schema_alone_is_enough)
{
	struct ipfix x;

	parse("{\"sourceIPv4Address\":\"192.0.2.1\",\"destinationIPv4Address\":\"198.51.100.2\","
	      "\"protocolIdentifier\":47,\"ipVersion\":4," COUNTS TIMES
	      "\"event\":{\"id\":\"00ab-7\"}}");
	ipfix_init(&x, IPFIX_10, 1, 1400, "", BOOT_MS);
	ipfix_begin(&x, buf, NOW_MS);
	CHECK_INT(ipfix_put_flow(&x, &flow), 0);
	CHECK(ipfix_end(&x, NOW_MS) > 0);
	CHECK_INT(at16(16), 262); /* neither ports nor ICMP */
	/* Not known is not root. */
	CHECK(memmem(buf, 400, "\xff\xff\xff\xff", 4) != NULL);
}

/* ------------------------------------------------------------------ JSON */

TEST(escapes)
{
	static const struct {
		const char *raw;
		size_t size;
		const char *want;
	} cases[] = {
		{ "plain", 16, "plain" },
		{ "a\\\"b\\\\c\\/d", 16, "a\"b\\c/d" },
		{ "\\b\\f\\n\\r\\t", 16, "\b\f\n\r\t" },
		{ "\\u0041\\u00e9\\u20ac", 16, "A\xc3\xa9\xe2\x82\xac" },
		{ "\\ud83d\\ude00", 16, "\xf0\x9f\x98\x80" },
		{ "\\ud83dx", 16, "\xef\xbf\xbdx" },
		{ "\\ude00", 16, "\xef\xbf\xbd" },
		{ "\\u12", 16, "u12" },
		{ "\\uzzzz", 16, "uzzzz" },
		{ "\\", 16, "\\" },
		{ "ab\xc3\xa9", 4, "ab\xc3\xa9" },
		{ "ab\xc3\xa9", 3, "ab" }, /* never half a character */
		{ "ab\\u20ac", 4, "ab" },
		{ "ab\xc3", 3, "ab\xc3" },
	};
	char out[16];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		CHECK_MEM(out, json_unescape(slice_of(cases[i].raw), out, cases[i].size),
			  cases[i].want);
}

static char seen[512];

static void on_value(void *arg, struct slice path, bool is_string, struct slice raw)
{
	size_t len = strlen(seen);

	(void)arg;
	snprintf(seen + len, sizeof(seen) - len, "%.*s=%s%.*s;", (int)path.len, path.p,
		 is_string ? "'" : "", (int)raw.len, raw.p);
}

TEST(walking_an_object)
{
	static const struct {
		const char *text;
		const char *want; /* NULL: refused */
	} cases[] = {
		{ "{}", "" },
		{ " { \"a\" : 1 , \"b\":{\"c\":\"x\\\"y\",\"d\":[1,\"2\",{\"e\":null}]},\"f\":[],\"g\":{}} ",
		  "a=1;b.c='x\\\"y;b.d=1;b.d='2;b.d.e=null;" },
		{ "{\"a\":-1.5E+3,\"b\":true}", "a=-1.5E+3;b=true;" },
		{ "{\"a\":\"\\\\\",\"b\":\"\"}", "a='\\\\;b=';" },
		{ "{\"a\":1,}", NULL },
		{ "{\"a\"}", NULL },
		{ "{\"a\":}", NULL },
		{ "{\"a\":1}x", NULL },
		{ "{\"a\":1", NULL },
		{ "{\"a\":\"\\\"}", NULL },
		{ "{a:1}", NULL },
		{ "{\"a\":[[[[[[[[[[1]]]]]]]]]]}", NULL },
		{ "{\"0123456789012345678901234567890123456789012345678901234567890123456789"
		  "0123456789012345678901234567890123456789\":{\"a\":1},\"b\":2}",
		  "b=2;" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int err;

		seen[0] = '\0';
		err = json_walk(slice_of(cases[i].text), on_value, NULL);
		CHECK_INT(err, cases[i].want ? 0 : -EBADMSG);
		if (cases[i].want)
			CHECK_STR(seen, cases[i].want);
	}
}

/* ------------------------------------------------------------------ docs */

TEST(the_documentation_has_the_table)
{
	static const char begin[] = "<!-- elements: begin; written by UPDATE=1 "
				    "build/tests/unit/test_ipfix -->\n",
			  end[] = "<!-- elements: end -->";
	static char text[65536], want[32768];
	char *from, *to;
	size_t n;
	FILE *f;

	f = fmemopen(want, sizeof(want), "w");
	ipfix_put_reference(f);
	fclose(f);
	f = fopen("docs/IPFIX.md", "re");
	CHECK(f != NULL);
	if (!f)
		return;
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	from = strstr(text, begin);
	to = strstr(text, end);
	CHECK(from && to && from < to);
	if (!from || !to)
		return;
	from += strlen(begin);
	if (getenv("UPDATE")) {
		f = fopen("docs/IPFIX.md", "we");
		if (!f)
			abort();
		fprintf(f, "%.*s%s%s", (int)(from - text), text, want, to);
		fclose(f);
		return;
	}
	CHECK_MEM(from, (size_t)(to - from), want);
}
