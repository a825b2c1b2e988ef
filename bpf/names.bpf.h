/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Which packets may name something: the one look that all packets of the host pay for.
 * It is in the programs that see them anyway (flow_packet.bpf.h); they hand what
 * passes to names.bpf.c by a tail call, which is made for few.
 */
#pragma once

#define DNS_PORT  53
#define QUIC_PORT 443
#define NAMES_SEGMENTS                                                                             \
	8 /* a hello, and answers over TCP, are among the first so many with data                  \
	   */
/* RFC 9000, 14.1: a client's datagram with an Initial packet has at least so many bytes. */
#define QUIC_INITIAL  1200
#define TLS_HANDSHAKE 22 /* RFC 8446, 5.1: the type of a record */

const volatile __u32 names; /* enum names_wanted; what is not wanted the verifier takes out */

static __always_inline bool datagram_may_name(u16 source, u16 destination, u32 payload, bool out)
{
	if (names & NAMES_DNS && (out ? destination : source) == bpf_htons(DNS_PORT))
		return true;
	return names & NAMES_QUIC && destination == bpf_htons(QUIC_PORT) && payload >= QUIC_INITIAL;
}

/* ip: of a packet of TCP; offset: of its header. */
static __always_inline bool segment_may_name(struct __sk_buff *skb, const u8 *ip, const u8 *end,
					     u32 offset, bool out)
{
	const u8 *tcp = ip + offset;
	struct bpf_tcp_sock *tp;
	struct bpf_sock *sk;
	u32 payload, before;
	u8 type;

	if (!(names & (NAMES_DNS | NAMES_TLS)) || tcp + 20 > end)
		return false;
	payload = offset + (tcp[12] >> 4) * 4;
	if (skb->len <= payload)
		return false;
	sk = skb->sk;
	tp = sk ? bpf_tcp_sock(sk) : NULL;
	if (!tp)
		return false;
	/* One that leaves is counted before it comes here, one that arrives is not. */
	before = out ? tp->data_segs_out - 1 : tp->data_segs_in;
	if ((s32)before >= NAMES_SEGMENTS)
		return false;
	if (names & NAMES_DNS && ((const u16 *)tcp)[out ? 1 : 0] == bpf_htons(DNS_PORT))
		return true;
	if (!(names & NAMES_TLS))
		return false;
	/* It may be the rest of a hello. */
	if ((s32)before > 0)
		return true;
	return !bpf_skb_load_bytes(skb, payload, &type, 1) && type == TLS_HANDSHAKE;
}
