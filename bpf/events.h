/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What crosses a ring: the one header that kernel and user code share. Fixed
 * widths, padding spelled out, sizes asserted. Byte order is the host's unless
 * a comment says otherwise; addresses are in network order.
 *
 * A collector adopts pins that its own binary could have made; those of another
 * binary, older or newer, it drains and replaces. So that it can read them:
 *
 *   - the structs of samples, and the values of the tables that are taken over
 *     (tcp_flow, packet_flow, event_task, process_exec_info, process_cgroup), only ever grow, at
 *     their end; an event_task, being a part of others, does not. Who reads one
 *     takes what both know: what an older one lacks is zero, what a newer one has
 *     beyond is not looked at. A new flag is a new bit; a reader masks what it
 *     does not know.
 *   - keys, names of maps and sources, and the tunables up to what is there now
 *     never change.
 *
 * What can not keep to this changes EVENTS_FORMAT: then the pins are of no use to
 * each other, and what the old ones hold is counted as lost.
 */
#pragma once

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define EVENTS_FORMAT 1

/* "The next version", for the tests of an upgrade: all that may grow has grown. */
#ifdef EVENTS_GROWN
#define EVENTS_EXTRA_BYTES 64
#define EVENTS_EXTRA	   __u64 extra[EVENTS_EXTRA_BYTES / 8];
#else
#define EVENTS_EXTRA_BYTES 0
#define EVENTS_EXTRA
#endif

enum event_type {
	EVENT_NONE,
	EVENT_FLOW,	   /* struct event_flow */
	EVENT_JOURNAL,	   /* struct event_journal and the bytes behind it */
	EVENT_EXEC,	   /* struct event_exec and the bytes behind it */
	EVENT_EXIT,	   /* struct event_exit */
	EVENT_ACTION,	   /* struct event_action and the texts behind it */
	EVENT_PACKET = 16, /* struct event_packet and the bytes behind it */
	EVENT_FLOOD = 17,  /* struct event_flood */
};

struct event_header {
	__u16 type; /* enum event_type */
	__u16 pad;
	__u32 size;    /* of the whole sample, this header included */
	__u64 boot_ns; /* CLOCK_BOOTTIME when it was written */
};
_Static_assert(sizeof(struct event_header) == 16, "wire");

#define EVENT_COMM_SIZE 16

/* Who: all zero when it is not known. A thread group, as ps shows it. */
struct event_task {
	__u64 start_ns; /* CLOCK_BOOTTIME, start of the thread group's leader */
	__u64 cgroup_id;
	__u32 tgid; /* in the host's pid namespace */
	__u32 uid;
	__u32 gid;
	__u32 ppid;
	char comm[EVENT_COMM_SIZE]; /* NUL-padded; may lack the NUL */
};
_Static_assert(sizeof(struct event_task) == 48, "wire");

/*
 * Each object has its own array of these. What always holds for a source:
 *     seen = submitted + filtered + ring_full + no_room + missed + live
 */
enum counter {
	COUNT_SEEN,		 /* flows begun; messages read */
	COUNT_SUBMITTED,	 /* flows ended and reported; messages handed over */
	COUNT_FILTERED,		 /* by configuration */
	COUNT_RING_FULL,	 /* lost: the ring had no room */
	COUNT_NO_ROOM,		 /* lost: the table of flows was full */
	COUNT_TRUNCATED,	 /* submitted, but not with all of its bytes */
	COUNT_REPORTS,		 /* samples of flows that go on */
	COUNT_REPORTS_RING_FULL, /* put off: such a report had no room, the next one has it all */
	COUNT_ADOPTED, /* begun before we were there: found at our start, or seen at their end */
	COUNT_MISSED,  /* lost: the kernel did not show us how the flow ended */
	COUNT_SUMMED_PACKETS, /* of flows that found no room, and are in samples of floods: */
	COUNT_SUMMED_BYTES,
	COUNTERS,
};

/*
 * When a counter of losses went up: the first and the last time within an epoch.
 * User space begins an epoch whenever it asks; of two one is read, the other written.
 */
struct loss_window {
	struct {
		__u64 epoch;
		__u64 first_ns, last_ns; /* CLOCK_BOOTTIME */
	} half[2];
};
_Static_assert(sizeof(struct loss_window) == 48, "wire");

enum flow_direction { FLOW_IN, FLOW_OUT }; /* IANA 61: we accepted, we connected */

/* IANA 136 flowEndReason */
enum flow_end {
	FLOW_END_IDLE = 1,
	FLOW_END_ACTIVE = 2, /* goes on: these are deltas */
	FLOW_END_DETECTED = 3,
	FLOW_END_FORCED = 4,
	FLOW_END_RESOURCES = 5,
};

enum flow_flag {
	FLOW_NO_DIRECTION = 1 << 0,  /* who began is not known */
	FLOW_USER_IS_GUESS = 1 << 1, /* user is the one who listened, not seen to use it */
	FLOW_OUT_UNCERTAIN = 1 << 2, /* data was in flight at the end: see unacknowledged */
	FLOW_FIRST = 1 << 3,	     /* the first report of this flow */
	FLOW_LAST = 1 << 4,	     /* the last one */
	FLOW_RESET = 1 << 5,	     /* ended by a RST, ours or the peer's */
	FLOW_LOOPBACK = 1 << 6,
	FLOW_ESTABLISHED = 1 << 7,    /* the handshake was completed */
	FLOW_NO_START = 1 << 8,	      /* begun before we were there: start_ns is when we came */
	FLOW_IN_UNCERTAIN = 1 << 9,   /* an earlier report counted more than arrived */
	FLOW_RESET_BY_PEER = 1 << 10, /* with FLOW_RESET: the RST was received */
};

/*
 * One report about one flow: the whole of it, or what is new since the last
 * report. out is what this host's socket sent, in what it received; bytes are
 * payload for TCP, and IP packets with their headers for the rest.
 */
struct event_flow {
	struct event_header h;
	__u64 id;	/* of the flow on this host: all its reports share it */
	__u64 start_ns; /* CLOCK_BOOTTIME: start of the flow */
	__u64 from_ns;	/* start of what this report counts */
	__u64 last_ns;	/* last packet, or the close */
	__u64 out_bytes, in_bytes;
	__u64 out_packets, in_packets;
	__u64 out_total, in_total;  /* bytes since the start, this report included */
	struct event_task opener;   /* connected, or called listen */
	struct event_task user;	    /* the first to read or write, or to accept */
	__u8 local[16], remote[16]; /* IPv4 in the first four bytes; network order */
	__u16 local_port, remote_port;
	__u16 icmp_type_code; /* type * 256 + code */
	__u8 ip_version;      /* 4 or 6 */
	__u8 protocol;	      /* IANA number */
	__u8 direction;	      /* enum flow_direction */
	__u8 end_reason;      /* enum flow_end */
	__u8 tcp_flags;	      /* what is known of IANA 6 tcpControlBits */
	__u8 tcp_state;	      /* the state that it left, TCP_ESTABLISHED... */
	__u32 flags;	      /* enum flow_flag */
	__u32 error;	      /* the socket's errno: 111 refused, 110 timed out, 104 reset */
	__u32 ifindex;	      /* 0: not known */
	__u32 netns;	      /* inode number of the network namespace */
	__u32 retransmits;    /* segments, in this report */
	__u32 srtt_us;
	__u32 report;	      /* number of this report, from 0 */
	__u64 unacknowledged; /* TCP: of out_total; nobody knows whether it arrived */
	EVENTS_EXTRA
};
#define EVENT_FLOW_MIN (16 + 80 + 96 + 32 + 8 + 4 + 28) /* of the first version */
_Static_assert(sizeof(struct event_flow) == EVENT_FLOW_MIN + 8 + EVENTS_EXTRA_BYTES, "wire");

/* Where packets came from. Never changes: it is the key of a table. */
struct flood_key {
	__u32 address[4]; /* network order; what is behind the prefix is 0 */
	__u8 prefix_len;  /* 0: from anywhere, and then of any protocol, which is 0, too */
	__u8 ip_version;
	__u8 protocol;
	__u8 direction; /* enum flow_direction */
};
_Static_assert(sizeof(struct flood_key) == 20, "wire");

#define FLOODS_MAX 2048

/* Flows that the table had no room for, summed up since the last sample of this source. */
struct event_flood {
	struct event_header h;
	__u64 start_ns, last_ns; /* CLOCK_BOOTTIME */
	__u64 packets, bytes;	 /* of IP, headers included */
	__u64 flows; /* at the most: one that is refused again much later counts again */
	struct flood_key source;
	__u32 pad;
	EVENTS_EXTRA
};
#define EVENT_FLOOD_MIN (16 + 40 + 24) /* of the first version */
_Static_assert(sizeof(struct event_flood) == EVENT_FLOOD_MIN + EVENTS_EXTRA_BYTES, "wire");

/*
 * Who else captures. At a handover the programs of two captures are attached for a
 * moment, and one event runs those that were attached first, then the others: of
 * two that run both, the older one leaves a mark, which the newer one takes away.
 */
enum capture_before {
	BEFORE_NOBODY,
	BEFORE_TABLES, /* one whose programs are gone; its tables are still to be taken over */
	BEFORE_MARKED, /* one that sees to the events that it has marked */
	BEFORE_ALL,    /* one that sees to all events: ours are for nothing yet */
};

/* What every object's tunables begin with. Never changes. */
struct capture_tunables {
	__u64 generation; /* random, of this set of rings: never 0 once it is attached */
	__u64 lineage;	  /* the generation of the first of those that carried their numbers here */
	__u32 format;	  /* EVENTS_FORMAT */
	__u32 marking;	  /* there is one behind us: tell it what we have seen to */
	__u32 before;	  /* enum capture_before */
	__u32 pad;
};
_Static_assert(sizeof(struct capture_tunables) == 32, "wire");

/*
 * The numbers of the captures before this one, in a map called carried: enum
 * counter at CARRIED_COUNTERS, and what the kernel skipped.
 */
enum carried { CARRIED_SKIPPED, CARRIED_COUNTERS };

/* Which lists of the filter have something in them; ONLY: something that is wanted. */
enum flow_filter_bit {
	FILTER_NETWORKS = 1 << 0,
	FILTER_NETWORKS_ONLY = 1 << 1,
	FILTER_PORTS = 1 << 2,
	FILTER_PORTS_ONLY = 1 << 3,
	FILTER_PROTOCOLS = 1 << 4,
	FILTER_DIRECTION = 1 << 5,
	FILTER_PRIVATE = 1 << 6, /* not from one private address to another */
	FILTER_USERS = 1 << 7,	 /* these three are the kinds of struct filter_owner, too */
	FILTER_USERS_ONLY = 1 << 8,
	FILTER_COMMANDS = 1 << 9,
	FILTER_COMMANDS_ONLY = 1 << 10,
	FILTER_CGROUPS = 1 << 11,
	FILTER_CGROUPS_ONLY = 1 << 12,
};

enum filter_verdict { FILTER_WANTED = 1, FILTER_UNWANTED = 2 };

#define FILTER_NETWORKS_MAX 512 /* twice a list: the next one is there before this one goes */
#define FILTER_OWNERS_MAX   1536
#define FILTER_PORT_WORDS   1024

struct filter_network {
	__u32 prefix_len;
	__u32 address[4]; /* network order; IPv4 as ::ffff:a.b.c.d */
};

struct filter_owner {
	__u32 kind, pad;
	__u64 value[2]; /* uid, cgroup id, or the bytes of comm */
};

enum flow_phase {
	FLOWS_CAPTURED,
	FLOWS_ADOPTED, /* a walk looks for TCP flows that were there before us */
	FLOWS_ENDING,  /* the end of TCP flows alone: what begins now is not ours any more */
};

/* What the user space sets in the .bss of the flow objects, at any time. */
struct flow_tunables {
	struct capture_tunables capture;
	__u64 attached_ns; /* CLOCK_BOOTTIME */
	__u64 active_ns, idle_ns;
	__u32 loopback;
	__u32 flush;	    /* report everything at the next sweep, as FLOW_END_FORCED */
	__u32 filter;	    /* enum flow_filter_bit */
	__u32 direction;    /* enum flow_direction: the wanted one of FILTER_DIRECTION */
	__u64 protocols[4]; /* a bitmap of those that are wanted */
	__u32 sample_rate;  /* one flow in so many; 0 and 1: all */
	__u32 phase;	    /* enum flow_phase */
	__u64 loss_epoch;
	__u32 nat;	 /* this host translates addresses: see packet_unmask() */
	__u32 give_back; /* a sweep moves to the flows what their slots have, and tells nothing */
	__u64 due_ns; /* CLOCK_BOOTTIME: sweeps make it earlier, to when one has something to do */
	__u32 asleep; /* the reader sleeps: the next sample clears this, and wakes it */
	__u32 pad2;
};

/* What exec saw: for processes that are gone when their events are read. */
#define PROCESS_FILENAME_SIZE 256
#define PROCESS_ARGS_SIZE     512
struct process_exec_info {
	__u64 start_ns;
	__u32 ppid;
	__u32 args_len;			      /* of args; the last one may be cut */
	char filename[PROCESS_FILENAME_SIZE]; /* of the binary, an interpreter's for a script */
	char args[PROCESS_ARGS_SIZE];	      /* NUL between them */
	EVENTS_EXTRA
};
_Static_assert(sizeof(struct process_exec_info) == 16 + 256 + 512 + EVENTS_EXTRA_BYTES, "wire");

/* The path of a cgroup of v2, from the root: for those that are gone when they are asked for. */
#define PROCESS_CGROUP_SIZE 384
struct process_cgroup {
	char path[PROCESS_CGROUP_SIZE]; /* terminated; a longer one is not kept */
	EVENTS_EXTRA
};
_Static_assert(sizeof(struct process_cgroup) == 384 + EVENTS_EXTRA_BYTES, "wire");

/*
 * The log daemons that the journal tap listens to: those of these names, as in
 * task->comm. A map holds their thread groups, JOURNAL_READERS at the most.
 */
#define JOURNAL_NAMES	4
#define JOURNAL_READERS 64
struct journal_tunables {
	struct capture_tunables capture;
	__u64 names[JOURNAL_NAMES][2]; /* NUL-padded; 0: none */
	__u64 loss_epoch;
	__u32 asleep; /* as of flows */
	__u32 pad;
};

enum journal_flag {
	JOURNAL_STREAM = 1 << 0,    /* a stream socket: text follows what came before on it */
	JOURNAL_TRUNCATED = 1 << 1, /* not all bytes could be copied */
	JOURNAL_FDS = 1 << 2,	    /* descriptors came with it: the message is in a memfd */
	JOURNAL_NETLINK = 1 << 3,   /* audit */
	JOURNAL_LOST_OPEN = 1 << 4, /* what was lost did not end with a line, or perhaps not */
};

/* One read by a log daemon: the message as its sender wrote it, and who that was. */
struct event_journal {
	struct event_header h;
	__u64 socket;				  /* of the reader: tells streams apart */
	__u64 socket_ino;			  /* of the reader's socket, as in /proc/PID/fd */
	__u64 sender_cgroup;			  /* of the sender's socket; 0: not known */
	__u32 sender_pid, sender_uid, sender_gid; /* UNIXCB: checked by the kernel */
	__u32 reader_tgid;
	__u32 flags;	/* enum journal_flag */
	__u32 full_len; /* of the message */
	__u32 len;	/* bytes that follow this struct */
	__u32 path_len; /* of path */
	char path[40];	/* of the reader's socket, its end: /run/systemd/journal/socket */
	__u64 lost; /* bytes of this stream that had no room in the ring since its last sample */
	EVENTS_EXTRA
	__u8 data[]; /* the last len of the sample's h.size */
};
#define EVENT_JOURNAL_MIN (16 + 24 + 32 + 40) /* of the first version */
_Static_assert(sizeof(struct event_journal) == EVENT_JOURNAL_MIN + 8 + EVENTS_EXTRA_BYTES, "wire");

/* What a stream lost: the value of the map of these, by event_journal's socket. */
struct journal_loss {
	__u64 bytes;
	__u32 open; /* as JOURNAL_LOST_OPEN */
	__u32 pad;
	EVENTS_EXTRA
};
_Static_assert(sizeof(struct journal_loss) == 16 + EVENTS_EXTRA_BYTES, "wire");

/* Which events the programs behind functions of system calls see to. */
enum calls_mode {
	CALLS_AS_ALL,  /* as all others do: those that no other capture sees to */
	CALLS_TAKEN,   /* all, whatever becomes of other events */
	CALLS_MARKING, /* all, and what runs behind us, another's tracepoints, is to know it */
};

/* What the user space sets in the .bss of the kernel events' object. */
struct events_tunables {
	struct capture_tunables capture;
	__u64 loss_epoch;
	__u32 asleep; /* as of flows */
	__u32 calls;  /* enum calls_mode */
};

#define EVENT_PATH_MAX	      1024 /* of each path */
#define EVENT_ARGS_MAX	      8192 /* of all arguments together */
#define EVENT_ENVIRONMENT_MAX 2048 /* of all names of variables, with their NULs */

enum exec_flag {
	EXEC_ARGS_CUT = 1 << 0, /* there were more than args has */
	EXEC_PATH_CUT = 1 << 1, /* path has its end only */
	EXEC_CWD_CUT = 1 << 2,	/* so has cwd */
	EXEC_SCRIPT = 1 << 3,	/* path is an interpreter, file what it was started for */
	EXEC_MEMFD = 1 << 4,	/* the executable is in memory alone */
	EXEC_DELETED = 1 << 5,	/* it has no name in any folder any more */
	EXEC_PRIVILEGED =
		1 << 6, /* it gave rights that its caller did not have: setuid, capabilities */
	EXEC_NO_ARGS = 1 << 7,	       /* they could not be read */
	EXEC_ENVIRONMENT_CUT = 1 << 8, /* there were more names, or more than was looked at */
};

/* A process became another program: that program, and how it was called. */
struct event_exec {
	struct event_header h;
	struct event_task task;
	__u64 parent_start_ns;
	__u32 euid, egid;
	__u32 flags;	  /* enum exec_flag */
	__u32 args_total; /* bytes of the arguments, NULs included */
	/* What follows, one behind the other, without NULs of their own: */
	__u32 path_len; /* the executable's, absolute; "memfd:NAME" for one in memory */
	__u32 file_len; /* as it was given to execve(); of a script, the script */
	__u32 cwd_len;	/* the working directory */
	__u32 args_len; /* NUL between them */
	char parent_comm[EVENT_COMM_SIZE];
	__u32 environment_len; /* names of variables, a NUL behind each: before the other bytes */
	__u32 pad;
	EVENTS_EXTRA
	/* and these bytes, the last ones of the sample's h.size */
};
#define EVENT_EXEC_MIN (16 + 48 + 8 + 16 + 16 + 16) /* of the first version */
_Static_assert(sizeof(struct event_exec) == EVENT_EXEC_MIN + 8 + EVENTS_EXTRA_BYTES, "wire");

enum exit_flag {
	EXIT_NO_EXEC = 1 << 0, /* it was forked, and never executed a program of its own */
};

/* A process ended: its last thread did. */
struct event_exit {
	struct event_header h;
	struct event_task task;
	__u64 parent_start_ns;
	__u64 cpu_ns;	     /* of all its threads */
	__u64 max_rss_pages; /* the most memory that it had */
	__u32 code;	     /* as wait() gives it */
	__u32 flags;	     /* enum exit_flag */
	char parent_comm[EVENT_COMM_SIZE];
	EVENTS_EXTRA
};
#define EVENT_EXIT_MIN (16 + 48 + 24 + 8 + 16) /* of the first version */
_Static_assert(sizeof(struct event_exit) == EVENT_EXIT_MIN + EVENTS_EXTRA_BYTES, "wire");

/* What else processes do to the system and to each other. What the values and texts are: */
enum action {
	ACTION_NONE,
	ACTION_MODULE_LOAD,   /* taints; name */
	ACTION_MODULE_UNLOAD, /* -; name */
	ACTION_OOM_KILL,      /* -; target: the victim */
	ACTION_SIGNAL,	      /* signal, si_code; target: who gets it and dies of it */
	ACTION_PTRACE,	      /* request, pid as the caller knows it; target */
	ACTION_BPF_PROGRAM,   /* type; name */
	ACTION_BPF_MAP,	      /* type; name */
	ACTION_MOUNT,	      /* flags; source, target, type */
	ACTION_UNMOUNT,	      /* flags; target */
	ACTION_UNSHARE,	      /* flags, as CLONE_NEW... */
	ACTION_SETNS,	      /* flags */
	ACTION_CLONE,	      /* flags; target: the new process */
	ACTION_SET_USER,      /* real, effective and saved uid after it, which call */
	ACTION_SET_GROUP,     /* the same of gids */
	ACTION_LISTEN,	      /* protocol, port, IP version, address in values 3 and 4 */
	ACTIONS,
};

#define EVENT_ACTION_VALUES 5
#define EVENT_ACTION_TEXT   256
#define EVENT_ACTION_TEXTS  3

struct event_action {
	struct event_header h;
	struct event_task task; /* who did it; of a kernel's own doing, all zero */
	__u64 parent_start_ns;
	struct event_task target;
	__u64 value[EVENT_ACTION_VALUES];
	__u32 action; /* enum action */
	__s32 result; /* 0 or -errno */
	__u32 texts;  /* that follow, EVENT_ACTION_TEXT bytes each, NUL-padded */
	__u32 pad;
	EVENTS_EXTRA
	/* and these texts, the last bytes of the sample's h.size */
};
#define EVENT_ACTION_MIN (16 + 48 + 8 + 48 + 40 + 16) /* of the first version */
_Static_assert(sizeof(struct event_action) == EVENT_ACTION_MIN + EVENTS_EXTRA_BYTES, "wire");

/* What names flows; bits. */
enum names_wanted { NAMES_DNS = 1 << 0, NAMES_TLS = 1 << 1, NAMES_QUIC = 1 << 2 };

/* What the user space sets in the .bss of the names object, at any time. */
struct names_tunables {
	struct capture_tunables capture;
	__u64 loss_epoch;
	__u32 loopback; /* flows from this host to itself are captured, so their names, too */
	__u32 asleep;	/* never: nobody waits for names */
};

/*
 * The payload of a packet that says what flows are called: a DNS answer to a question
 * that was seen, or the first bytes of a TLS or QUIC connection's client. Which of them it
 * is, the ports say: a DNS answer comes from port 53, QUIC goes to port 443.
 */
struct event_packet {
	struct event_header h;
	struct event_task asker;    /* DNS: who asked */
	__u8 local[16], remote[16]; /* IPv4 in the first four bytes; network order */
	__u16 local_port, remote_port;
	__u8 ip_version; /* 4 or 6 */
	__u8 protocol;	 /* IPPROTO_TCP: DNS, or a part of a client hello; IPPROTO_UDP: DNS, or QUIC
			  */
	__u8 outbound;	 /* sent by this host */
	__u8 pad;
	__u32 seq;	/* TCP: of its first byte */
	__u32 full_len; /* of the payload */
	__u32 len;	/* bytes that follow this struct */
	__u32 pad2;
	EVENTS_EXTRA
	__u8 data[]; /* the last len of the sample's h.size */
};
#define EVENT_PACKET_MIN (16 + 48 + 32 + 8 + 16) /* of the first version */
_Static_assert(sizeof(struct event_packet) == EVENT_PACKET_MIN + EVENTS_EXTRA_BYTES, "wire");
