/* SPDX-License-Identifier: Apache-2.0 */
#include "output/ipfix.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "output/json_walk.h"

#define IPFIX_HEADER	16
#define NETFLOW9_HEADER 20
#define SET_HEADER	4
#define ENTERPRISE_BIT	0x8000
#define VARIABLE	65535

/* RFC 7011, 3.3.2; RFC 3954, 5.2 */
#define SET_TEMPLATES	       2
#define SET_OPTION_TEMPLATES   3
#define SET_NETFLOW9_TEMPLATES 0

#define TEMPLATE_FIRST	256
#define TEMPLATE_TYPES	300 /* RFC 5610 */
#define TEMPLATE_DOMAIN 301

/* A command line is cut where it would fill so much of a message. */
#define ELASTIC_PART 4
#define ELASTIC_MAX  4096

/* How far the origin of version 9's times is kept from what it must not reach. */
#define ORIGIN_MARGIN_MS (3600ull * 1000)
#define ORIGIN_SPAN_MS	 (45ull * 24 * 3600 * 1000) /* below 2^32 ms */

/* Those that the host translates have templates of their own, so that the others stay small. */
enum kind { KIND_TCP, KIND_PORTS, KIND_ICMP, KIND_OTHER, KIND_TCP_NAT, KIND_PORTS_NAT, KINDS };
static const char *const kind_names[KINDS] = { "TCP",
					       "UDP, SCTP, DCCP, UDP-Lite",
					       "ICMP",
					       "other protocols",
					       "TCP, translated",
					       "UDP, SCTP, DCCP, UDP-Lite, translated" };

enum {
	NAT = 1 << KIND_TCP_NAT | 1 << KIND_PORTS_NAT,
	TCP = 1 << KIND_TCP | 1 << KIND_TCP_NAT,
	PORTS = 1 << KIND_PORTS | 1 << KIND_PORTS_NAT,
	ICMP = 1 << KIND_ICMP,
	ALL = TCP | PORTS | ICMP | 1 << KIND_OTHER
};
enum family { BOTH, V4, V6 };
enum owner { IANA, REVERSE, OURS };

/* RFC 5610, 3.1: the numbers of informationElementDataType. */
enum type { U8 = 1, U16 = 2, U32 = 3, U64 = 4, STRING = 13, MS = 15, IPV4 = 18, IPV6 = 19 };
/* …of informationElementSemantics and informationElementUnits. */
enum semantics { PLAIN, QUANTITY, TOTAL, DELTA, IDENTIFIER, FLAGS };
enum units { NO_UNIT, PACKETS = 3, MILLISECONDS = 6, MICROSECONDS = 7 };

enum field_id {
	F_SRC4,
	F_DST4,
	F_SRC6,
	F_DST6,
	F_SRC_PORT,
	F_DST_PORT,
	F_ICMP4,
	F_ICMP6,
	F_PROTOCOL,
	F_IP_VERSION,
	F_OCTETS,
	F_PACKETS,
	F_BACK_OCTETS,
	F_BACK_PACKETS,
	F_START,
	F_END,
	F_DIRECTION,
	F_BIFLOW,
	F_IN_IF,
	F_OUT_IF,
	F_TCP_FLAGS,
	F_END_REASON,
	F_FLOW_ID,
	F_USER_NAME,
	F_IF_NAME,
	F_PID,
	F_NAME,
	F_EXECUTABLE,
	F_COMMAND,
	F_PROCESS_START,
	F_PARENT_PID,
	F_PARENT_NAME,
	F_UID,
	F_CONTAINER,
	F_RUNTIME,
	F_POD,
	F_RETRANSMITS,
	F_SRTT,
	F_REPORT,
	F_UNCERTAIN,
	F_OPENER_PID,
	F_OPENER_NAME,
	F_EVENT_ID,
	F_COMMUNITY,
	F_OUTCOME,
	F_REASON,
	F_NAT_SRC4,
	F_NAT_DST4,
	F_NAT_SRC6,
	F_NAT_DST6,
	F_NAT_SRC_PORT,
	F_NAT_DST_PORT,
	FIELDS,
};
_Static_assert(FIELDS <= IPFIX_FIELDS_MAX, "a bit for each");

struct field {
	struct slice path; /* in the stored record */
	const char *name, *help;
	uint16_t id;
	uint8_t owner, type, family, kinds;
	uint16_t max; /* of a string */
	uint8_t semantics, units;
	uint16_t old_id; /* in version 9; 0: not there */
	uint8_t old_size;
	uint8_t back; /* version 9: 1 + what takes its place in the flow back */
	bool must;
};

/* A row is read as a row. In the order of the templates. */
/* clang-format off */
#define AT(p) .path = { (p), sizeof(p) - 1 }
static const struct field fields[FIELDS] = {
	[F_SRC4] = { AT("sourceIPv4Address"), .name = "sourceIPv4Address", .id = 8, .type = IPV4,
		.family = V4, .kinds = ALL, .old_id = 8, .old_size = 4, .back = 1 + F_DST4, .must = true,
		.help = "Who began the flow" },
	[F_DST4] = { AT("destinationIPv4Address"), .name = "destinationIPv4Address", .id = 12, .type = IPV4,
		.family = V4, .kinds = ALL, .old_id = 12, .old_size = 4, .back = 1 + F_SRC4, .must = true,
		.help = "Who answered" },
	[F_SRC6] = { AT("sourceIPv6Address"), .name = "sourceIPv6Address", .id = 27, .type = IPV6,
		.family = V6, .kinds = ALL, .old_id = 27, .old_size = 16, .back = 1 + F_DST6, .must = true,
		.help = "Who began the flow" },
	[F_DST6] = { AT("destinationIPv6Address"), .name = "destinationIPv6Address", .id = 28, .type = IPV6,
		.family = V6, .kinds = ALL, .old_id = 28, .old_size = 16, .back = 1 + F_SRC6, .must = true,
		.help = "Who answered" },
	[F_SRC_PORT] = { AT("sourceTransportPort"), .name = "sourceTransportPort", .id = 7, .type = U16,
		.kinds = TCP | PORTS, .old_id = 7, .old_size = 2, .back = 1 + F_DST_PORT, .must = true,
		.help = "Its port" },
	[F_DST_PORT] = { AT("destinationTransportPort"), .name = "destinationTransportPort", .id = 11, .type = U16,
		.kinds = TCP | PORTS, .old_id = 11, .old_size = 2, .back = 1 + F_SRC_PORT, .must = true,
		.help = "Its port" },
	[F_ICMP4] = { AT("icmpTypeCodeIPv4"), .name = "icmpTypeCodeIPv4", .id = 32, .type = U16,
		.family = V4, .kinds = ICMP, .old_id = 32, .old_size = 2,
		.help = "Of the first message: type * 256 + code" },
	[F_ICMP6] = { AT("icmpTypeCodeIPv6"), .name = "icmpTypeCodeIPv6", .id = 139, .type = U16,
		.family = V6, .kinds = ICMP, .old_id = 139, .old_size = 2,
		.help = "Of the first message: type * 256 + code" },
	[F_PROTOCOL] = { AT("protocolIdentifier"), .name = "protocolIdentifier", .id = 4, .type = U8,
		.kinds = ALL, .old_id = 4, .old_size = 1, .must = true,
		.help = "Of IP" },
	[F_IP_VERSION] = { AT("ipVersion"), .name = "ipVersion", .id = 60, .type = U8,
		.kinds = ALL, .old_id = 60, .old_size = 1, .must = true,
		.help = "4 or 6" },
	[F_OCTETS] = { AT("initiatorOctets"), .name = "octetDeltaCount", .id = 1, .type = U64,
		.kinds = ALL, .old_id = 1, .old_size = 8, .back = 1 + F_BACK_OCTETS, .must = true,
		.help = "From source to destination since the report before; TCP: payload, others: IP packets" },
	[F_PACKETS] = { AT("initiatorPackets"), .name = "packetDeltaCount", .id = 2, .type = U64,
		.kinds = ALL, .old_id = 2, .old_size = 8, .back = 1 + F_BACK_PACKETS, .must = true,
		.help = "The same in packets (TCP: segments)" },
	[F_BACK_OCTETS] = { AT("responderOctets"), .name = "reverseOctetDeltaCount", .id = 1, .owner = REVERSE, .type = U64,
		.kinds = ALL, .must = true,
		.help = "From destination to source" },
	[F_BACK_PACKETS] = { AT("responderPackets"), .name = "reversePacketDeltaCount", .id = 2, .owner = REVERSE, .type = U64,
		.kinds = ALL, .must = true,
		.help = "The same in packets" },
	[F_START] = { AT("flowStartSeconds"), .name = "flowStartMilliseconds", .id = 152, .type = MS,
		.kinds = ALL, .old_id = 22, .old_size = 4, .must = true,
		.help = "The flow's start, the same in all its reports" },
	[F_END] = { AT("flowEndSeconds"), .name = "flowEndMilliseconds", .id = 153, .type = MS,
		.kinds = ALL, .old_id = 21, .old_size = 4, .must = true,
		.help = "Its last packet so far" },
	[F_DIRECTION] = { AT("flowDirection"), .name = "flowDirection", .id = 61, .type = U8,
		.kinds = ALL, .old_id = 61, .old_size = 1,
		.help = "0: others began it, 1: this host did" },
	[F_BIFLOW] = { AT("biflowDirection"), .name = "biflowDirection", .id = 239, .type = U8,
		.kinds = ALL,
		.help = "1: the source is who began it; 0: not known who did" },
	[F_IN_IF] = { AT("ingressInterface"), .name = "ingressInterface", .id = 10, .type = U32,
		.kinds = ALL, .old_id = 10, .old_size = 4, .back = 1 + F_OUT_IF,
		.help = "Its index; 0: not known, or it was sent" },
	[F_OUT_IF] = { AT("egressInterface"), .name = "egressInterface", .id = 14, .type = U32,
		.kinds = ALL, .old_id = 14, .old_size = 4, .back = 1 + F_IN_IF,
		.help = "Its index; 0: not known, or it was received" },
	[F_TCP_FLAGS] = { AT("tcpControlBits"), .name = "tcpControlBits", .id = 6, .type = U16,
		.kinds = TCP, .old_id = 6, .old_size = 1,
		.help = "Of both directions together" },
	[F_END_REASON] = { AT("flowEndReason"), .name = "flowEndReason", .id = 136, .type = U8,
		.kinds = ALL,
		.help = "1 idle, 2 goes on, 3 end, 4 forced, 5 lack of resources" },
	[F_FLOW_ID] = { AT("flowId"), .name = "flowId", .id = 148, .type = U64,
		.kinds = ALL,
		.help = "Joins the reports of one flow" },
	[F_USER_NAME] = { AT("user.name"), .name = "userName", .id = 371, .type = STRING, .max = 48,
		.kinds = ALL,
		.help = "Of the process" },
	[F_IF_NAME] = { AT("interfaceName"), .name = "interfaceName", .id = 82, .type = STRING, .max = 16,
		.kinds = ALL,
		.help = "Of either interface" },
	[F_PID] = { AT("process.pid"), .name = "sekoiaProcessId", .id = 1, .owner = OURS, .type = U32,
		.semantics = IDENTIFIER, .kinds = ALL,
		.help = "The process that used the socket; 0: not known" },
	[F_NAME] = { AT("process.name"), .name = "sekoiaProcessName", .id = 2, .owner = OURS, .type = STRING, .max = 48,
		.kinds = ALL,
		.help = "Its name" },
	[F_EXECUTABLE] = { AT("process.executable"), .name = "sekoiaProcessExecutable", .id = 3, .owner = OURS, .type = STRING, .max = 192,
		.kinds = ALL,
		.help = "Its program's path" },
	[F_COMMAND] = { AT("process.command_line"), .name = "sekoiaProcessCommandLine", .id = 4, .owner = OURS, .type = STRING, .max = ELASTIC_MAX,
		.kinds = ALL,
		.help = "Its command line, cut at a quarter of a message" },
	[F_PROCESS_START] = { AT("process.start"), .name = "sekoiaProcessStartMilliseconds", .id = 5, .owner = OURS, .type = MS,
		.kinds = ALL, .units = NO_UNIT,
		.help = "When it was started; 0: not known" },
	[F_PARENT_PID] = { AT("process.parent.pid"), .name = "sekoiaParentProcessId", .id = 6, .owner = OURS, .type = U32,
		.semantics = IDENTIFIER, .kinds = ALL,
		.help = "Its parent; 0: not known" },
	[F_PARENT_NAME] = { AT("process.parent.name"), .name = "sekoiaParentProcessName", .id = 7, .owner = OURS, .type = STRING, .max = 48,
		.kinds = ALL,
		.help = "The parent's name" },
	[F_UID] = { AT("user.id"), .name = "sekoiaUserId", .id = 8, .owner = OURS, .type = U32,
		.semantics = IDENTIFIER, .kinds = ALL,
		.help = "The process's user; 4294967295: not known" },
	[F_CONTAINER] = { AT("container.id"), .name = "sekoiaContainerId", .id = 9, .owner = OURS, .type = STRING, .max = 64,
		.kinds = ALL,
		.help = "The container that it runs in" },
	[F_RUNTIME] = { AT("container.runtime"), .name = "sekoiaContainerRuntime", .id = 10, .owner = OURS, .type = STRING, .max = 16,
		.kinds = ALL,
		.help = "The container's runtime" },
	[F_POD] = { AT("orchestrator.resource.id"), .name = "sekoiaPodUid", .id = 11, .owner = OURS, .type = STRING, .max = 40,
		.kinds = ALL,
		.help = "The Kubernetes pod that it runs in" },
	[F_RETRANSMITS] = { AT("sekoia_ebpf.retransmits"), .name = "sekoiaTcpRetransmits", .id = 12, .owner = OURS, .type = U32,
		.semantics = QUANTITY, .units = PACKETS, .kinds = TCP,
		.help = "Segments that this host sent again" },
	[F_SRTT] = { AT("sekoia_ebpf.srtt_us"), .name = "sekoiaTcpSmoothedRtt", .id = 13, .owner = OURS, .type = U32,
		.semantics = QUANTITY, .units = MICROSECONDS, .kinds = TCP,
		.help = "Smoothed round trip time; 0: not known" },
	[F_REPORT] = { AT("sekoia_ebpf.report"), .name = "sekoiaFlowReport", .id = 14, .owner = OURS, .type = U32,
		.semantics = IDENTIFIER, .kinds = ALL,
		.help = "Number of this report of a flow with several, from 0" },
	[F_UNCERTAIN] = { AT("sekoia_ebpf.uncertain"), .name = "sekoiaUncertain", .id = 15, .owner = OURS, .type = U8,
		.semantics = FLAGS, .kinds = ALL,
		.help = "What is not exact: 1 octets sent, 2 process, 4 start" },
	[F_OPENER_PID] = { AT("sekoia_ebpf.opener.pid"), .name = "sekoiaOpenerProcessId", .id = 16, .owner = OURS, .type = U32,
		.semantics = IDENTIFIER, .kinds = ALL,
		.help = "Who opened the socket, if it is another process; else 0" },
	[F_OPENER_NAME] = { AT("sekoia_ebpf.opener.name"), .name = "sekoiaOpenerProcessName", .id = 17, .owner = OURS, .type = STRING, .max = 48,
		.kinds = ALL,
		.help = "That one's name" },
	[F_EVENT_ID] = { AT("event.id"), .name = "sekoiaEventId", .id = 18, .owner = OURS, .type = STRING, .max = 40,
		.kinds = ALL, .must = true,
		.help = "Names this report for ever: what has the same came twice" },
	[F_COMMUNITY] = { AT("network.community_id"), .name = "sekoiaCommunityId", .id = 19, .owner = OURS, .type = STRING, .max = 32,
		.kinds = ALL,
		.help = "Community ID, version 1" },
	[F_OUTCOME] = { AT("event.outcome"), .name = "sekoiaFlowOutcome", .id = 20, .owner = OURS, .type = STRING, .max = 8,
		.kinds = ALL,
		.help = "success, failure (no connection came about) or unknown" },
	[F_REASON] = { AT("event.reason"), .name = "sekoiaFlowReason", .id = 21, .owner = OURS, .type = STRING, .max = 48,
		.kinds = ALL,
		.help = "Why it ended, or why it failed" },
	[F_NAT_SRC4] = { AT("postNATSourceIPv4Address"), .name = "postNATSourceIPv4Address", .id = 225, .type = IPV4,
		.family = V4, .kinds = NAT, .old_id = 225, .old_size = 4, .back = 1 + F_NAT_DST4,
		.help = "The source behind what this host translates; its own if that did not change" },
	[F_NAT_DST4] = { AT("postNATDestinationIPv4Address"), .name = "postNATDestinationIPv4Address", .id = 226, .type = IPV4,
		.family = V4, .kinds = NAT, .old_id = 226, .old_size = 4, .back = 1 + F_NAT_SRC4,
		.help = "The destination there, likewise" },
	[F_NAT_SRC6] = { AT("postNATSourceIPv6Address"), .name = "postNATSourceIPv6Address", .id = 281, .type = IPV6,
		.family = V6, .kinds = NAT, .old_id = 281, .old_size = 16, .back = 1 + F_NAT_DST6,
		.help = "The source behind what this host translates; its own if that did not change" },
	[F_NAT_DST6] = { AT("postNATDestinationIPv6Address"), .name = "postNATDestinationIPv6Address", .id = 282, .type = IPV6,
		.family = V6, .kinds = NAT, .old_id = 282, .old_size = 16, .back = 1 + F_NAT_SRC6,
		.help = "The destination there, likewise" },
	[F_NAT_SRC_PORT] = { AT("postNAPTSourceTransportPort"), .name = "postNAPTSourceTransportPort", .id = 227, .type = U16,
		.kinds = NAT, .old_id = 227, .old_size = 2, .back = 1 + F_NAT_DST_PORT,
		.help = "The source's port there" },
	[F_NAT_DST_PORT] = { AT("postNAPTDestinationTransportPort"), .name = "postNAPTDestinationTransportPort", .id = 228, .type = U16,
		.kinds = NAT, .old_id = 228, .old_size = 2, .back = 1 + F_NAT_SRC_PORT,
		.help = "The destination's port there" },
};
/* clang-format on */

static bool is_in(const struct field *f, unsigned kind, bool is_v6)
{
	return f->kinds & 1u << kind && f->family != (is_v6 ? V4 : V6);
}

/* ------------------------------------------------------------------ reading a record */

struct parse {
	struct ipfix_flow *flow;
	bool bad;
};

static bool parse_number(struct slice s, uint64_t *ret)
{
	uint64_t v = 0;

	for (size_t i = 0; i < s.len; i++) {
		unsigned digit = (unsigned char)s.p[i] - '0';

		if (digit > 9 || v > (UINT64_MAX - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*ret = v;
	return s.len > 0;
}

static bool parse_part(const char *p, size_t n, uint64_t *ret)
{
	return parse_number((struct slice){ p, n }, ret);
}

/* Days since the epoch; years from 1970 on. */
static uint64_t days_of(uint64_t y, uint64_t m, uint64_t d)
{
	uint64_t era_year = m <= 2 ? y - 1 : y;

	return era_year * 365 + era_year / 4 - era_year / 100 + era_year / 400 +
	       (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1 - 719468;
}

/* "2026-11-23T05:33:01.123456Z", as json_time_us() writes it, to ms. */
static bool parse_time(struct slice s, uint64_t *ret)
{
	uint64_t y, mo, d, h, mi, sec, us;

	if (s.len != 27 || s.p[4] != '-' || s.p[7] != '-' || s.p[10] != 'T' || s.p[13] != ':' ||
	    s.p[16] != ':' || s.p[19] != '.' || s.p[26] != 'Z')
		return false;
	if (!parse_part(s.p, 4, &y) || !parse_part(s.p + 5, 2, &mo) ||
	    !parse_part(s.p + 8, 2, &d) || !parse_part(s.p + 11, 2, &h) ||
	    !parse_part(s.p + 14, 2, &mi) || !parse_part(s.p + 17, 2, &sec) ||
	    !parse_part(s.p + 20, 6, &us))
		return false;
	if (y < 1970 || mo < 1 || mo > 12 || d < 1 || d > 31 || h > 23 || mi > 59 || sec > 60)
		return false;
	*ret = ((days_of(y, mo, d) * 24 + h) * 60 + mi) * 60000 + sec * 1000 + us / 1000;
	return true;
}

static bool parse_address(struct slice s, int family, uint8_t ret[static 16])
{
	char text[INET6_ADDRSTRLEN];

	if (s.len >= sizeof(text))
		return false;
	memcpy(text, s.p, s.len);
	text[s.len] = '\0';
	return inet_pton(family, text, ret) == 1;
}

static uint64_t uncertain_bit(struct slice s)
{
	return slice_is(s, "out_bytes") ? 1
	       : slice_is(s, "process") ? 2
	       : slice_is(s, "start")	? 4
					: 0;
}

static bool take_number(unsigned i, struct slice raw, uint64_t *ret)
{
	static const uint64_t max[] = {
		[U8] = UINT8_MAX, [U16] = UINT16_MAX, [U32] = UINT32_MAX, [U64] = UINT64_MAX
	};

	return parse_number(raw, ret) && *ret <= max[fields[i].type];
}

/* Fields by a hash of their path: each value of a record is looked up. */
#define BUCKETS 256
static uint8_t first_in[BUCKETS], next_of[FIELDS]; /* 1 + field; 0: none */

static unsigned bucket_of(struct slice path)
{
	return (path.len * 37 + (unsigned char)path.p[path.len - 1] * 5 +
		(unsigned char)path.p[path.len / 2]) %
	       BUCKETS;
}

static void fill_buckets(void)
{
	for (unsigned i = 0; i < FIELDS; i++) {
		uint8_t *first = &first_in[bucket_of(fields[i].path)];

		next_of[i] = *first;
		*first = (uint8_t)(i + 1);
	}
}

/* FIELDS: it is none of ours. */
static unsigned find_field(struct slice path)
{
	unsigned i;

	if (!path.len)
		return FIELDS;
	for (i = first_in[bucket_of(path)]; i; i = next_of[i - 1])
		if (fields[i - 1].path.len == path.len &&
		    memcmp(fields[i - 1].path.p, path.p, path.len) == 0)
			return i - 1;
	return FIELDS;
}

static void on_value(void *arg, struct slice path, bool is_string, struct slice raw)
{
	struct parse *p = arg;
	struct ipfix_flow *flow = p->flow;
	bool good = true;
	unsigned i = find_field(path);

	(void)is_string;
	if (i == FIELDS)
		return;
	switch (fields[i].type) {
	case IPV4:
		good = parse_address(raw, AF_INET, flow->value[i].address);
		break;
	case IPV6:
		good = parse_address(raw, AF_INET6, flow->value[i].address);
		break;
	case MS:
		good = parse_time(raw, &flow->value[i].number);
		break;
	case STRING:
		flow->value[i].text = raw;
		break;
	default:
		if (i == F_UNCERTAIN) {
			uint64_t bits = flow->has & 1ull << i ? flow->value[i].number : 0;

			flow->value[i].number = bits | uncertain_bit(raw);
		} else {
			good = take_number(i, raw, &flow->value[i].number);
		}
		break;
	}
	p->bad |= !good;
	flow->has |= 1ull << i;
}

static void set_if_missing(struct ipfix_flow *f, unsigned i, uint64_t number)
{
	if (f->has & 1ull << i)
		return;
	f->value[i].number = number;
	f->has |= 1ull << i;
}

static uint8_t kind_of(uint64_t protocol)
{
	switch (protocol) {
	case 6:
		return KIND_TCP;
	case 17:  /* UDP */
	case 33:  /* DCCP */
	case 132: /* SCTP */
	case 136: /* UDP-Lite */
		return KIND_PORTS;
	case 1:
	case 58:
		return KIND_ICMP;
	default:
		return KIND_OTHER;
	}
}

/* Of an end that does not change, what is there already. */
static void set_nat(struct ipfix_flow *f)
{
	static const struct {
		uint8_t nat, plain;
	} ends[] = {
		{ F_NAT_SRC4, F_SRC4 },		{ F_NAT_DST4, F_DST4 },
		{ F_NAT_SRC6, F_SRC6 },		{ F_NAT_DST6, F_DST6 },
		{ F_NAT_SRC_PORT, F_SRC_PORT }, { F_NAT_DST_PORT, F_DST_PORT },
	};
	uint8_t kind = f->kind == KIND_TCP ? KIND_TCP_NAT : KIND_PORTS_NAT;
	uint64_t has = 0;

	for (unsigned i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		if (is_in(&fields[ends[i].nat], kind, f->is_v6))
			has |= f->has & 1ull << ends[i].nat;
	if (!has || (f->kind != KIND_TCP && f->kind != KIND_PORTS))
		return;
	f->kind = kind;
	for (unsigned i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		if (!(f->has & 1ull << ends[i].nat))
			f->value[ends[i].nat] = f->value[ends[i].plain];
	f->has |= 1ull << F_NAT_SRC_PORT | 1ull << F_NAT_DST_PORT;
}

int ipfix_parse(struct slice json, struct ipfix_flow *ret)
{
	struct parse p = { .flow = ret };
	int err;

	if (!first_in[bucket_of(fields[0].path)])
		fill_buckets();
	ret->has = 0;
	err = json_walk(json, on_value, &p);
	if (err || p.bad || !(ret->has & 1ull << F_PROTOCOL) || !(ret->has & 1ull << F_IP_VERSION))
		return -EBADMSG;
	ret->kind = kind_of(ret->value[F_PROTOCOL].number);
	ret->is_v6 = ret->value[F_IP_VERSION].number == 6;
	for (unsigned i = 0; i < FIELDS; i++)
		if (fields[i].must && is_in(&fields[i], ret->kind, ret->is_v6) &&
		    !(ret->has & 1ull << i))
			return -EBADMSG;
	/* When it is not known who began, this host is the source if the kernel says "out". */
	set_if_missing(ret, F_DIRECTION, !(ret->has & 1ull << F_IN_IF));
	set_if_missing(ret, F_BIFLOW, 1);
	set_if_missing(ret, F_UID, UINT32_MAX);
	set_nat(ret);
	return 0;
}

/* ------------------------------------------------------------------ bytes */

static void put(struct ipfix *x, const void *p, size_t n)
{
	memcpy(x->buf + x->len, p, n);
	x->len += n;
}

static void write_number(char *at, uint64_t v, size_t size)
{
	while (size) {
		at[--size] = (char)(v & 0xff);
		v >>= 8;
	}
}

static void put_number(struct ipfix *x, uint64_t v, size_t size)
{
	write_number(x->buf + x->len, v, size);
	x->len += size;
}

/* RFC 7011, 7. */
static size_t var_header(size_t len)
{
	return len < 255 ? 1 : 3;
}

static void put_var_header(struct ipfix *x, size_t len)
{
	if (len < 255) {
		put_number(x, len, 1);
	} else {
		put_number(x, 255, 1);
		put_number(x, len, 2);
	}
}

static void put_text(struct ipfix *x, const char *text)
{
	size_t len = strlen(text);

	put_var_header(x, len);
	put(x, text, len);
}

static size_t type_size(uint8_t type)
{
	switch (type) {
	case U8:
		return 1;
	case U16:
		return 2;
	case U32:
	case IPV4:
		return 4;
	case U64:
	case MS:
		return 8;
	case IPV6:
		return 16;
	default:
		return 0;
	}
}

/* ------------------------------------------------------------------ sets */

static void close_set(struct ipfix *x)
{
	if (!x->set_at)
		return;
	/* RFC 3954, 5.3; in IPFIX nothing asks for it, and some readers stumble. */
	while (x->version == IPFIX_NETFLOW9 && x->len % 4)
		x->buf[x->len++] = 0;
	write_number(x->buf + x->set_at + 2, x->len - x->set_at, 2);
	x->set_at = 0;
}

/* Room for a record of n bytes in a set with this id: 0 or -ENOBUFS. */
static int open_set(struct ipfix *x, uint16_t id, size_t n)
{
	size_t need = n;
	bool is_new = !x->set_at || x->set_id != id;

	if (is_new)
		need += SET_HEADER;
	if (x->version == IPFIX_NETFLOW9)
		need += 6; /* the padding of the set before, and of this one */
	if (need > x->max_bytes - x->len)
		return -ENOBUFS;
	if (!is_new)
		return 0;
	close_set(x);
	x->set_at = x->len;
	x->set_id = id;
	put_number(x, id, 2);
	put_number(x, 0, 2);
	return 0;
}

/* ------------------------------------------------------------------ flows */

static size_t text_cap(const struct ipfix *x, unsigned i)
{
	size_t part = x->max_bytes / ELASTIC_PART;

	return i == F_COMMAND && part < fields[i].max ? part : fields[i].max;
}

static void put_string(struct ipfix *x, unsigned i, const struct ipfix_flow *f)
{
	char text[ELASTIC_MAX];
	size_t len;

	if (!(f->has & 1ull << i)) {
		put_var_header(x, 0);
		return;
	}
	len = json_unescape(f->value[i].text, text, text_cap(x, i));
	put_var_header(x, len);
	put(x, text, len);
}

static uint64_t number_of(const struct ipfix_flow *f, unsigned i)
{
	return f->has & 1ull << i ? f->value[i].number : 0;
}

/* An upper limit: an escape is never shorter than what it stands for. */
static size_t flow_size(const struct ipfix *x, const struct ipfix_flow *f)
{
	size_t size = 0;

	for (unsigned i = 0; i < FIELDS; i++) {
		size_t cap, len;

		if (!is_in(&fields[i], f->kind, f->is_v6))
			continue;
		if (fields[i].type != STRING) {
			size += type_size(fields[i].type);
			continue;
		}
		cap = text_cap(x, i);
		len = f->has & 1ull << i ? f->value[i].text.len : 0;
		len = len < cap ? len : cap;
		size += var_header(len) + len;
	}
	return size;
}

static int put_biflow(struct ipfix *x, const struct ipfix_flow *f, uint16_t id)
{
	if (open_set(x, id, flow_size(x, f)) < 0)
		return -ENOBUFS;
	for (unsigned i = 0; i < FIELDS; i++) {
		if (!is_in(&fields[i], f->kind, f->is_v6))
			continue;
		if (fields[i].type == STRING)
			put_string(x, i, f);
		else if (fields[i].type == IPV4 || fields[i].type == IPV6)
			put(x, f->value[i].address, type_size(fields[i].type));
		else
			put_number(x, number_of(f, i), type_size(fields[i].type));
	}
	x->records++;
	x->all_records++;
	return 0;
}

/* ------------------------------------------------------------------ flows of version 9 */

/* What answers a request; of the others, nothing more is known. */
static uint64_t icmp_answer(unsigned i, uint64_t type_code)
{
	switch (type_code >> 8) {
	case 8: /* echo */
		return i == F_ICMP4 ? 0 : type_code;
	case 13: /* timestamp */
		return i == F_ICMP4 ? 14 << 8 : type_code;
	case 128: /* echo */
		return i == F_ICMP6 ? 129 << 8 : type_code;
	default:
		return type_code;
	}
}

static uint64_t old_number(const struct ipfix *x, const struct ipfix_flow *f, unsigned i,
			   bool is_back)
{
	uint64_t v = number_of(f, is_back && fields[i].back ? fields[i].back - 1u : i);

	if (i == F_START || i == F_END)
		return v - x->origin_ms;
	if (!is_back)
		return v;
	if (i == F_DIRECTION)
		return !v;
	if (i == F_ICMP4 || i == F_ICMP6)
		return icmp_answer(i, v);
	return v;
}

static size_t old_size(const struct ipfix_flow *f)
{
	size_t size = 0;

	for (unsigned i = 0; i < FIELDS; i++)
		if (is_in(&fields[i], f->kind, f->is_v6))
			size += fields[i].old_size;
	return size;
}

static void put_old(struct ipfix *x, const struct ipfix_flow *f, bool is_back)
{
	for (unsigned i = 0; i < FIELDS; i++) {
		unsigned from = is_back && fields[i].back ? fields[i].back - 1u : i;

		if (!fields[i].old_id || !is_in(&fields[i], f->kind, f->is_v6))
			continue;
		if (fields[i].type == IPV4 || fields[i].type == IPV6)
			put(x, f->value[from].address, fields[i].old_size);
		else
			put_number(x, old_number(x, f, i, is_back), fields[i].old_size);
	}
	x->records++;
	x->all_records++;
}

static int put_old_flows(struct ipfix *x, const struct ipfix_flow *f, uint16_t id)
{
	bool answered = number_of(f, F_BACK_OCTETS) || number_of(f, F_BACK_PACKETS);

	/* From before the host was started: as all times of a message have one origin, first. */
	if (number_of(f, F_START) < x->origin_ms) {
		if (x->all_records)
			return -ENOBUFS;
		x->origin_ms = number_of(f, F_START);
		x->origin_ms -= x->origin_ms < ORIGIN_MARGIN_MS ? x->origin_ms : ORIGIN_MARGIN_MS;
	}
	if (open_set(x, id, old_size(f) * (answered ? 2 : 1)) < 0)
		return -ENOBUFS;
	put_old(x, f, false);
	if (answered)
		put_old(x, f, true);
	return 0;
}

int ipfix_put_flow(struct ipfix *x, const struct ipfix_flow *f)
{
	uint16_t id = (uint16_t)(TEMPLATE_FIRST + f->kind * 2 + f->is_v6);
	int err = x->version == IPFIX_NETFLOW9 ? put_old_flows(x, f, id) : put_biflow(x, f, id);

	if (!err)
		x->flows++;
	return err;
}

/* ------------------------------------------------------------------ templates */

#define FLOW_TEMPLATES (KINDS * 2)

static int put_flow_template(struct ipfix *x, unsigned n)
{
	bool is_old = x->version == IPFIX_NETFLOW9;
	unsigned count = 0, bytes = 4;

	for (unsigned i = 0; i < FIELDS; i++) {
		if (!is_in(&fields[i], n / 2, n % 2) || (is_old && !fields[i].old_id))
			continue;
		count++;
		bytes += fields[i].owner == IANA ? 4 : 8;
	}
	if (open_set(x, is_old ? SET_NETFLOW9_TEMPLATES : SET_TEMPLATES, bytes) < 0)
		return -ENOBUFS;
	put_number(x, TEMPLATE_FIRST + n, 2);
	put_number(x, count, 2);
	for (unsigned i = 0; i < FIELDS; i++) {
		const struct field *f = &fields[i];

		if (!is_in(f, n / 2, n % 2) || (is_old && !f->old_id))
			continue;
		if (is_old) {
			put_number(x, f->old_id, 2);
			put_number(x, f->old_size, 2);
			continue;
		}
		put_number(x, f->id | (f->owner == IANA ? 0 : ENTERPRISE_BIT), 2);
		put_number(x, f->type == STRING ? VARIABLE : type_size(f->type), 2);
		if (f->owner != IANA)
			put_number(x, f->owner == REVERSE ? IPFIX_PEN_REVERSE : IPFIX_PEN, 4);
	}
	x->all_records++;
	return 0;
}

/* id, length; the first n_scope are the scope. */
static int put_options_template(struct ipfix *x, uint16_t id, unsigned n_scope,
				const uint16_t (*spec)[2], unsigned n)
{
	if (open_set(x, SET_OPTION_TEMPLATES, 6 + 4 * n) < 0)
		return -ENOBUFS;
	put_number(x, id, 2);
	put_number(x, n, 2);
	put_number(x, n_scope, 2);
	for (unsigned i = 0; i < n; i++) {
		put_number(x, spec[i][0], 2);
		put_number(x, spec[i][1], 2);
	}
	x->all_records++;
	return 0;
}

/* RFC 5610, 3.9 */
static int put_type(struct ipfix *x, const struct field *f)
{
	size_t need = 4 + 2 + 1 + 1 + 2 + 2 * 3 + strlen(f->name) + strlen(f->help);

	if (open_set(x, TEMPLATE_TYPES, need) < 0)
		return -ENOBUFS;
	put_number(x, IPFIX_PEN, 4);
	put_number(x, f->id, 2);
	put_number(x, f->type, 1);
	put_number(x, f->semantics, 1);
	put_number(x, f->units, 2);
	put_text(x, f->name);
	put_text(x, f->help);
	x->records++;
	x->all_records++;
	return 0;
}

static int put_domain(struct ipfix *x)
{
	if (!x->host[0])
		return 0;
	if (open_set(x, TEMPLATE_DOMAIN, 4 + 3 + strlen(x->host)) < 0)
		return -ENOBUFS;
	put_number(x, x->domain, 4);
	put_text(x, x->host);
	x->records++;
	x->all_records++;
	return 0;
}

static int put_template(struct ipfix *x, unsigned n)
{
	/* privateEnterpriseNumber, informationElementId; its type, semantics, units, name, text */
	static const uint16_t types[][2] = { { 346, 4 },       { 303, 2 }, { 339, 1 },
					     { 344, 1 },       { 345, 2 }, { 341, VARIABLE },
					     { 340, VARIABLE } };
	/* observationDomainId, observationDomainName */
	static const uint16_t domain[][2] = { { 149, 4 }, { 300, VARIABLE } };

	if (n < FLOW_TEMPLATES)
		return put_flow_template(x, n);
	n -= FLOW_TEMPLATES;
	if (n == 0)
		return put_options_template(x, TEMPLATE_TYPES, 2, types, 7);
	if (n == 1)
		return put_options_template(x, TEMPLATE_DOMAIN, 1, domain, 2);
	n -= 2;
	if (n < FIELDS)
		return fields[n].owner == OURS ? put_type(x, &fields[n]) : 0;
	return put_domain(x);
}

int ipfix_put_templates(struct ipfix *x, unsigned *at)
{
	unsigned n =
		x->version == IPFIX_NETFLOW9 ? FLOW_TEMPLATES : FLOW_TEMPLATES + 2 + FIELDS + 1;

	for (; *at < n; ++*at)
		if (put_template(x, *at) < 0)
			return -ENOBUFS;
	return 0;
}

/* ------------------------------------------------------------------ messages */

void ipfix_init(struct ipfix *x, enum ipfix_version version, uint32_t domain, size_t max_bytes,
		const char *host, uint64_t boot_ms)
{
	size_t len = strnlen(host, sizeof(x->host) - 1);

	*x = (struct ipfix){ .version = version, .domain = domain, .origin_ms = boot_ms };
	x->max_bytes = max_bytes < IPFIX_MAX_BYTES ? max_bytes : IPFIX_MAX_BYTES;
	memcpy(x->host, host, len);
}

void ipfix_begin(struct ipfix *x, char *buf, uint64_t now_ms)
{
	/* 32 bits of ms: a host that has been up for longer than that begins anew. */
	if (now_ms > x->origin_ms + ORIGIN_SPAN_MS)
		x->origin_ms = now_ms - 24 * ORIGIN_MARGIN_MS;
	x->buf = buf;
	x->len = x->version == IPFIX_NETFLOW9 ? NETFLOW9_HEADER : IPFIX_HEADER;
	x->set_at = 0;
	x->records = x->all_records = x->flows = 0;
}

size_t ipfix_end(struct ipfix *x, uint64_t now_ms)
{
	size_t len;

	close_set(x);
	len = x->len;
	x->len = 0;
	if (!x->all_records)
		return 0;
	put_number(x, x->version, 2);
	if (x->version == IPFIX_NETFLOW9) {
		put_number(x, x->all_records, 2);
		put_number(x, now_ms - x->origin_ms, 4);
		put_number(x, now_ms / 1000, 4);
		put_number(x, x->sequence, 4);
		x->sequence++;
	} else {
		put_number(x, len, 2);
		put_number(x, now_ms / 1000, 4);
		put_number(x, x->sequence, 4);
		x->sequence += x->records;
	}
	put_number(x, x->domain, 4);
	return len;
}

/* ------------------------------------------------------------------ for people */

static const char *type_name(uint8_t type)
{
	static const char *const names[] = {
		[U8] = "unsigned8",	[U16] = "unsigned16",  [U32] = "unsigned32",
		[U64] = "unsigned64",	[STRING] = "string",   [MS] = "dateTimeMilliseconds",
		[IPV4] = "ipv4Address", [IPV6] = "ipv6Address"
	};

	return names[type];
}

static void put_where(FILE *f, const struct field *row)
{
	static const char *const families[] = { [BOTH] = "", [V4] = "IPv4", [V6] = "IPv6" };
	const char *which = row->kinds == ALL	 ? ""
			    : row->kinds == TCP	 ? "TCP"
			    : row->kinds == ICMP ? "ICMP"
			    : row->kinds == NAT	 ? "translated"
						 : "with ports";

	fprintf(f, "%s%s%s", which, which[0] && row->family ? ", " : "", families[row->family]);
}

void ipfix_put_reference(FILE *f)
{
	static const uint32_t pens[] = {
		[IANA] = 0, [REVERSE] = IPFIX_PEN_REVERSE, [OURS] = IPFIX_PEN
	};

	fputs("| template | flows |\n| --- | --- |\n", f);
	for (unsigned i = 0; i < FLOW_TEMPLATES; i++)
		fprintf(f, "| %u | %s, IPv%d |\n", TEMPLATE_FIRST + i, kind_names[i / 2],
			i % 2 ? 6 : 4);
	fprintf(f, "| %d | options: types of our elements (RFC 5610) |\n", TEMPLATE_TYPES);
	fprintf(f, "| %d | options: the name of the host |\n\n", TEMPLATE_DOMAIN);
	fputs("| element | enterprise | name | type | in | v9 | meaning |\n"
	      "| --- | --- | --- | --- | --- | --- | --- |\n",
	      f);
	for (unsigned i = 0; i < FIELDS; i++) {
		const struct field *row = &fields[i];

		fprintf(f, "| %u | ", row->id);
		if (pens[row->owner])
			fprintf(f, "%u", pens[row->owner]);
		fprintf(f, " | %s | %s", row->name, type_name(row->type));
		if (row->max)
			fprintf(f, ", %u", row->max);
		fputs(" | ", f);
		put_where(f, row);
		fputs(" | ", f);
		if (row->old_id)
			fprintf(f, "%u", row->old_id);
		fprintf(f, " | %s |\n", row->help);
	}
}
