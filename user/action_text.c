/* SPDX-License-Identifier: Apache-2.0 */
#include "user/action_text.h"

#include <netinet/in.h>
#include <string.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

struct bit {
	uint64_t flag;
	const char *name;
};

static const char *nth(const struct bit *bits, size_t n_bits, uint64_t flags, int n)
{
	for (size_t i = 0; i < n_bits; i++)
		if ((flags & bits[i].flag) && n-- == 0)
			return bits[i].name;
	return NULL;
}

const char *action_signal_name(unsigned signal)
{
	static const char *const names[] = {
		[1] = "SIGHUP",	  [2] = "SIGINT",   [3] = "SIGQUIT",	[4] = "SIGILL",
		[5] = "SIGTRAP",  [6] = "SIGABRT",  [7] = "SIGBUS",	[8] = "SIGFPE",
		[9] = "SIGKILL",  [10] = "SIGUSR1", [11] = "SIGSEGV",	[12] = "SIGUSR2",
		[13] = "SIGPIPE", [14] = "SIGALRM", [15] = "SIGTERM",	[16] = "SIGSTKFLT",
		[24] = "SIGXCPU", [25] = "SIGXFSZ", [26] = "SIGVTALRM", [27] = "SIGPROF",
		[29] = "SIGIO",	  [30] = "SIGPWR",  [31] = "SIGSYS",
	};

	return signal < N(names) ? names[signal] : NULL;
}

const char *action_ptrace_name(uint64_t request)
{
	return request == 0	   ? "traceme"
	       : request == 16	   ? "attach"
	       : request == 0x4206 ? "seize"
				   : NULL;
}

/* include/uapi/linux/bpf.h */
const char *action_bpf_program_type(uint64_t type)
{
	static const char *const names[] = {
		"unspecified",
		"socket_filter",
		"kprobe",
		"sched_cls",
		"sched_act",
		"tracepoint",
		"xdp",
		"perf_event",
		"cgroup_skb",
		"cgroup_sock",
		"lwt_in",
		"lwt_out",
		"lwt_xmit",
		"sock_ops",
		"sk_skb",
		"cgroup_device",
		"sk_msg",
		"raw_tracepoint",
		"cgroup_sock_addr",
		"lwt_seg6local",
		"lirc_mode2",
		"sk_reuseport",
		"flow_dissector",
		"cgroup_sysctl",
		"raw_tracepoint_writable",
		"cgroup_sockopt",
		"tracing",
		"struct_ops",
		"ext",
		"lsm",
		"sk_lookup",
		"syscall",
		"netfilter",
	};

	return type < N(names) ? names[type] : NULL;
}

const char *action_bpf_map_type(uint64_t type)
{
	static const char *const names[] = {
		"unspecified",
		"hash",
		"array",
		"prog_array",
		"perf_event_array",
		"percpu_hash",
		"percpu_array",
		"stack_trace",
		"cgroup_array",
		"lru_hash",
		"lru_percpu_hash",
		"lpm_trie",
		"array_of_maps",
		"hash_of_maps",
		"devmap",
		"sockmap",
		"cpumap",
		"xskmap",
		"sockhash",
		"cgroup_storage",
		"reuseport_sockarray",
		"percpu_cgroup_storage",
		"queue",
		"stack",
		"sk_storage",
		"devmap_hash",
		"struct_ops",
		"ringbuf",
		"inode_storage",
		"task_storage",
		"bloom_filter",
		"user_ringbuf",
		"cgrp_storage",
		"arena",
	};

	return type < N(names) ? names[type] : NULL;
}

const char *action_transport_name(uint64_t protocol)
{
	return protocol == IPPROTO_TCP	  ? "tcp"
	       : protocol == IPPROTO_SCTP ? "sctp"
	       : protocol == 262	  ? "mptcp"
					  : NULL;
}

/* include/uapi/linux/mount.h; the upper half may be the old magic number. */
const char *action_mount_flag(uint64_t flags, int n)
{
	static const struct bit bits[] = {
		{ 1, "read-only" },	{ 2, "nosuid" },	{ 4, "nodev" },
		{ 8, "noexec" },	{ 32, "remount" },	{ 4096, "bind" },
		{ 8192, "move" },	{ 16384, "recursive" }, { 1 << 17, "unbindable" },
		{ 1 << 18, "private" }, { 1 << 19, "slave" },	{ 1 << 20, "shared" },
	};

	if ((flags & 0xffff0000) == 0xc0ed0000)
		flags &= 0xffff;
	return nth(bits, N(bits), flags, n);
}

/* include/uapi/linux/sched.h */
const char *action_namespace(uint64_t flags, int n)
{
	static const struct bit bits[] = {
		{ 0x00000080, "time" }, { 0x00020000, "mount" },   { 0x02000000, "cgroup" },
		{ 0x04000000, "uts" },	{ 0x08000000, "ipc" },	   { 0x10000000, "user" },
		{ 0x20000000, "pid" },	{ 0x40000000, "network" },
	};

	return nth(bits, N(bits), flags, n);
}

/* Documentation/admin-guide/tainted-kernels.rst */
void action_taints(uint64_t taints, char ret[static ACTION_TAINTS_SIZE])
{
	static const char letters[] = "PFSRMBUDAWCIOELKXTNJ";
	size_t at = 0;

	for (size_t i = 0; i < sizeof(letters) - 1; i++)
		if (taints >> i & 1)
			ret[at++] = letters[i];
	ret[at] = '\0';
}
