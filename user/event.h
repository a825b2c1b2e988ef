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

enum event_kind {
	EVENT_IS_FLOW,
	EVENT_IS_JOURNAL,
	EVENT_IS_EXEC,
	EVENT_IS_EXIT,
	EVENT_IS_ACTION,
	EVENT_IS_PACKET,
	EVENT_IS_FLOOD,
};

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
	bool in_uncertain, reset_by_peer;
	uint64_t unacknowledged; /* of out_total */
	uint32_t error;		 /* errno of the socket, 0: none */
	uint32_t ifindex, netns, retransmits, srtt_us, report;
};

struct journal_sample {
	uint64_t boot_ns;
	uint64_t socket, socket_ino, sender_cgroup;
	uint32_t pid, uid, gid, reader_pid;
	bool stream, truncated, has_fds, netlink;
	bool lost_open; /* what was lost did not end with a line, or perhaps not */
	uint32_t full_len;
	uint64_t lost; /* bytes of this stream that had no room in the ring, before this sample */
	struct slice path; /* of the reader's socket; may be empty */
	bool path_is_cut;  /* perhaps: there is only the end of it */
	struct slice data;
};

/* A parent is known by pid, start_ns and comm alone. */
struct exec_event {
	struct task_ref task, parent;
	uint32_t euid, egid;
	bool args_cut, path_cut, cwd_cut; /* paths have their end only */
	bool no_args;			  /* they could not be read */
	bool environment_cut;		  /* there are more names */
	bool script;			  /* path is the interpreter, file the script */
	bool memfd, deleted, privileged;
	uint32_t args_total; /* bytes, before they were cut */
	struct slice path;   /* of the executable, absolute; "memfd:NAME" */
	struct slice file;   /* as it was given to execve() */
	struct slice cwd;    /* absolute */
	struct slice args;   /* each ended by a NUL; the last one perhaps not */
	struct slice
		environment; /* names of variables, each ended by a NUL; empty: not asked for */
};

struct exit_event {
	struct task_ref task, parent;
	uint64_t cpu_ns, max_rss_pages;
	uint8_t status; /* of exit(), when signal is 0 */
	uint8_t signal; /* that killed it */
	bool core;	/* dumped */
	bool no_exec;	/* forked, and never executed a program of its own */
};

/* bpf/events.h, enum action; numbers and texts as it says there. */
enum action_kind {
	ACTED_MODULE_LOAD = 1,
	ACTED_MODULE_UNLOAD,
	ACTED_OOM_KILL,
	ACTED_SIGNAL,
	ACTED_PTRACE,
	ACTED_BPF_PROGRAM,
	ACTED_BPF_MAP,
	ACTED_MOUNT,
	ACTED_UNMOUNT,
	ACTED_UNSHARE,
	ACTED_SETNS,
	ACTED_CLONE,
	ACTED_SET_USER,
	ACTED_SET_GROUP,
	ACTED_LISTEN,
	ACTED_KINDS,
};

struct action_event {
	enum action_kind kind;
	int error;		/* 0, or the errno of what did not work */
	struct task_ref task;	/* pid 0: the kernel did it by itself */
	struct task_ref target; /* pid 0: none, or not known */
	uint64_t parent_start_ns;
	uint64_t value[5];
	struct slice text[3]; /* empty: none */
};

/* The payload of a packet that says what a flow is called. */
struct packet_sample {
	uint64_t boot_ns;
	struct task_ref asker; /* of a DNS answer: whose question it answers */
	uint8_t local[16], remote[16];
	uint16_t local_port, remote_port;
	uint8_t ip_version, protocol; /* TCP: DNS, or of a client hello; UDP: DNS, or QUIC */
	bool outbound;
	uint32_t seq; /* TCP's, of the first byte */
	uint32_t full_len;
	struct slice data;
};

/* Flows that were not followed one by one, by where their packets came from. */
struct flood_sample {
	uint64_t start_ns, last_ns; /* CLOCK_BOOTTIME */
	uint64_t packets, bytes, flows;
	uint8_t network[16]; /* network order; IPv4 in the first four */
	uint8_t prefix_len;  /* 0: from anywhere, of any protocol */
	uint8_t ip_version, protocol;
	bool outbound;
};

struct event {
	enum event_kind kind;
	uint64_t boot_ns;
	union {
		struct flow flow;
		struct journal_sample journal;
		struct exec_event exec;
		struct exit_event exit;
		struct action_event action;
		struct packet_sample packet;
		struct flood_sample flood;
	};
};

/*
 * 0, or -EBADMSG for a sample that no program of ours wrote, of whatever version:
 * too short, a length that does not fit, a value out of its range. What an older
 * version did not write is zero. Slices in ret point into the sample.
 */
int event_decode(const void *sample, size_t size, struct event *ret);
