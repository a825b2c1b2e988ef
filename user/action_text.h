/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of kernel actions in words. Pure; NULL, or nothing, for what has no name. */
#pragma once

#include <stddef.h>
#include <stdint.h>

const char *action_signal_name(unsigned signal);      /* "SIGKILL" */
const char *action_ptrace_name(uint64_t request);     /* "attach" */
const char *action_bpf_program_type(uint64_t type);   /* "kprobe" */
const char *action_bpf_map_type(uint64_t type);	      /* "hash" */
const char *action_transport_name(uint64_t protocol); /* "tcp" */

/* The n-th of the words that a set of flags has, from 0 on; NULL behind the last one. */
const char *action_mount_flag(uint64_t flags, int n); /* "bind", "read-only" */
const char *action_namespace(uint64_t flags, int n);  /* CLONE_NEW...: "mount", "network" */

/* The letters that the kernel has for a module's taints: "OE". */
#define ACTION_TAINTS_SIZE 32
void action_taints(uint64_t taints, char ret[static ACTION_TAINTS_SIZE]);
