/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring sample, decoded: lengths and ranges are checked here and nowhere
 * else. Pure; what the fields mean is in bpf/events.h, of which this is the
 * user-space twin: only event.c and ring.c see that header.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "user/util/slice.h"

enum event_kind { EVENT_IS_FLOW, EVENT_IS_JOURNAL };

struct task_ref {
	uint32_t pid; /* 0: not known */
	uint32_t uid, gid, ppid;
	uint64_t start_ns; /* CLOCK_BOOTTIME */
	uint64_t cgroup_id;
	char comm[17]; /* terminated */
};

struct flow {
	uint64_t id;
	uint64_t start_ns, from_ns, last_ns; /* CLOCK_BOOTTIME */
	uint64_t out_bytes, in_bytes, out_packets, in_packets;
	uint64_t out_total, in_total;
	struct task_ref opener, user;
	uint8_t local[16], remote[16]; /* network order; IPv4 in the first four */
	uint16_t local_port, remote_port;
	uint8_t icmp_type, icmp_code;
	uint8_t ip_version, protocol;
	bool outbound; /* we connected */
	bool direction_known;
	uint8_t end_reason; /* IANA 136 */
	uint8_t tcp_flags;  /* IANA 6 */
	bool user_is_guess, out_uncertain, first, last, reset, loopback, established;
	bool start_unknown; /* begun before we were there: start_ns is when we came */
	uint32_t error;	    /* errno of the socket, 0: none */
	uint32_t ifindex, netns, retransmits, srtt_us, report;
};

struct journal_sample {
	uint64_t boot_ns;
	uint64_t socket, socket_ino, sender_cgroup;
	uint32_t pid, uid, gid, reader_pid;
	bool stream, truncated, has_fds, netlink;
	uint32_t full_len;
	struct slice path; /* of the reader's socket; may be empty */
	bool path_is_cut;  /* perhaps: there is only the end of it */
	struct slice data;
};

struct event {
	enum event_kind kind;
	uint64_t boot_ns;
	union {
		struct flow flow;
		struct journal_sample journal;
	};
};

/*
 * 0, or -EBADMSG for a sample that no program of ours wrote, of whatever version:
 * too short, a length that does not fit, a value out of its range. What an older
 * version did not write is zero. Slices in ret point into the sample.
 */
int event_decode(const void *sample, size_t size, struct event *ret);
