/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flow as one flat JSON object: IPFIX names at the top level, ECS objects
 * beside them, or one of the two. Pure.
 *
 * Conventions, where the standards leave room:
 *   - The source is the initiator, the destination the responder. When it is
 *     not known who began (direction_known), this host is taken for the
 *     initiator if the kernel says outbound, biflowDirection is 0 (arbitrary,
 *     RFC 5103, 6.3), flowDirection is left out and network.direction is "unknown".
 *   - octetDeltaCount and packetDeltaCount are both directions together, since
 *     the previous report of this flow (RFC 5102, 5.10.1). Bytes are payload for
 *     TCP, IP packets for the rest.
 *   - flowStart* is the start of the flow in each of its reports (RFC 5102,
 *     5.9: of the flow, not of the report); flowEnd* is its last packet so far. No
 *     information element names the start of the interval that a delta covers:
 *     it is the flowEnd of the report before. octetTotalCount, both
 *     directions since the start, is there when a flow has more than one report.
 *   - flowId (IANA 148) joins the reports of one flow.
 *   - What no standard names is in sekoia_ebpf{}: retransmits, srtt_us, the
 *     report's number, the opener if another process used the socket, reset_by
 *     ("local", "remote"), and uncertain[], the names of the values that are not exact:
 *     "out_bytes" (data was in flight at the end: of what was sent nobody knows whether
 *     the last "unacknowledged" bytes arrived), "in_bytes" (an earlier report counted
 *     what did not arrive), "process" (the process that listened, not seen to use the
 *     connection), "start" (the flow was there before us; flowStart is when we came,
 *     and only what came after that is counted, but in octetTotalCount), "domain" (its
 *     process is not known to have asked for that name, but another one).
 *   - Addresses and ports are those that the socket sees. Where this host translates
 *     them on their way out, source.nat, destination.nat and the postNAT... elements
 *     (IANA 225 to 228, 281, 282) say to what; where it did so on their way
 *     in, sekoia_ebpf.before_nat says from what. Only ends that changed are told.
 *   - sekoia_ebpf.no_socket: the kernel itself sent it, as it answers and reports by ICMP.
 *   - tls{} is what the client said. next_protocol is there when it offered one alone.
 */
#pragma once

#include "user/event.h"
#include "user/names.h"
#include "user/nat.h"
#include "user/record.h"

struct flow_details {
	const struct process_info *process; /* of flow_process(); NULL: not known */
	const struct process_info *opener;  /* of f->opener if it is another one; may be NULL */
	struct slice user_name;		    /* of flow_process()->uid; may be empty */
	struct slice interface_name;	    /* may be empty */
	struct slice domain;		    /* the remote end's name; may be empty */
	bool domain_by_other;		    /* another process asked for it, for all we know */
	const struct tls_hello *hello;	    /* what its client said; may be NULL */
	const struct names_answer *answer;  /* a DNS flow's transaction; may be NULL */
	const struct nat_view *nat;	    /* what this host made of its addresses; may be NULL */
};

/* Whom the record names: who used the socket, else who opened it. pid 0: nobody is known. */
const struct task_ref *flow_process(const struct flow *f);

/* "udp"; NULL for a protocol that has only its number. */
const char *flow_transport_name(uint8_t protocol);

/* 0, or -EMSGSIZE when it does not fit (no flow of ours is that large). */
int flow_record_format(struct record *r, const struct flow *f, const struct flow_details *d,
		       struct msg *ret);
