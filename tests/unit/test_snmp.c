/* SPDX-License-Identifier: Apache-2.0 */
#include "user/snmp.h"

#include "tests/lib/test.h"

TEST(ipv4)
{
	struct unowned_packets u[UNOWNED_KINDS] = { 0 };

	snmp_parse(SLICE("Ip: Forwarding DefaultTTL InReceives ForwDatagrams InUnknownProtos\n"
			 "Ip: 2 64 1000 17 3\n"
			 "Icmp: InMsgs InErrors OutMsgs OutDestUnreachs OutEchos OutEchoReps\n"
			 "Icmp: 209 1 205 105 40 50\n"
			 "Tcp: RtoAlgorithm MaxConn OutSegs OutRsts InCsumErrors\n"
			 "Tcp: 1 -1 500 18 0\n"
			 "Udp: InDatagrams NoPorts\n"
			 "Udp: 9 105\n"
			 "UdpLite: InDatagrams NoPorts\n"
			 "UdpLite: 0 2\n"),
		   u);
	CHECK_INT(u[UNOWNED_TCP].sent, 18);
	CHECK_INT(u[UNOWNED_TCP].received, 0);
	CHECK_INT(u[UNOWNED_UDP].received, 107);
	CHECK_INT(u[UNOWNED_ICMP].sent, 155);
	CHECK_INT(u[UNOWNED_ICMP].received, 209);
	CHECK_INT(u[UNOWNED_OTHER].received, 3);
	CHECK_INT(u[UNOWNED_FORWARDED].sent, 17);
}

TEST(ipv6_adds)
{
	struct unowned_packets u[UNOWNED_KINDS] = { [UNOWNED_UDP] = { .received = 5 } };

	snmp6_parse(SLICE("Ip6InReceives                   \t77\n"
			  "Icmp6OutDestUnreachs            \t20\n"
			  "Icmp6OutType1                   \t20\n"
			  "Icmp6OutEchoReplies             \t17\n"
			  "Icmp6InMsgs                     \t71\n"
			  "Udp6NoPorts                     \t16"),
		    u);
	CHECK_INT(u[UNOWNED_ICMP6].sent, 37);
	CHECK_INT(u[UNOWNED_ICMP6].received, 71);
	CHECK_INT(u[UNOWNED_UDP].received, 21);
}

TEST(what_makes_no_sense_is_nothing)
{
	static const char *const texts[] = {
		"",
		"\n",
		"Tcp:",
		"Tcp: OutRsts",
		"Tcp: OutRsts\n",
		"Tcp: OutRsts\nUdp: 7\n",
		"Tcp: OutRsts\nTcp: x\n",
		":\n:\n",
		"OutRsts\nOutRsts 7\n",
		"\n\n\n",
		"A very long name of a line: OutRsts\nA very long name of a line: 7\n",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct unowned_packets u[UNOWNED_KINDS] = { 0 };

		snmp_parse(slice_of(texts[i]), u);
		snmp6_parse(slice_of(texts[i]), u);
		for (int k = 0; k < UNOWNED_KINDS; k++)
			CHECK_INT(u[k].sent + u[k].received, 0);
	}
}

TEST(of_this_host)
{
	struct unowned_packets u[UNOWNED_KINDS];

	snmp_read(u);
	CHECK(u[UNOWNED_KINDS - 1].received == 0);
}
