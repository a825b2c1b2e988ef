/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System call filters from tables of rules. What a process may do is the
 * table of whoever calls this (output/shipper_sandbox.c, user/collector_sandbox.c);
 * here they become a program for the kernel.
 *
 * What no rule names is refused: with EPERM; with ENOSYS when the call is newer
 * than Linux 5.0, because then libraries take the older way that they have
 * for older kernels. What no honest code of ours ever does kills the process:
 * SECCOMP_FATAL_RULES.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

enum seccomp_action {
	SECCOMP_ALLOWED,
	SECCOMP_REFUSED, /* with .error */
	SECCOMP_FATAL,	 /* SIGSYS for the process */
};

/*
 * The first rule that matches decides. Of an argument the lower 32 bits are
 * looked at, which is all that the kernel takes of an int.
 */
struct seccomp_rule {
	int nr;
	enum seccomp_action action;
	int error;
	bool looks;  /* at argument arg: (value & mask) == equals */
	uint8_t arg; /* 0 to 5 */
	uint32_t mask, equals;
};

#define SECCOMP_ALLOW(name)                                                                        \
	{                                                                                          \
		.nr = __NR_##name, .action = SECCOMP_ALLOWED                                       \
	}
#define SECCOMP_REFUSE(name, errno_)                                                               \
	{                                                                                          \
		.nr = __NR_##name, .action = SECCOMP_REFUSED, .error = (errno_)                    \
	}
#define SECCOMP_KILL(name)                                                                         \
	{                                                                                          \
		.nr = __NR_##name, .action = SECCOMP_FATAL                                         \
	}
/* Only if argument n, of which mask counts, is value. */
#define SECCOMP_ALLOW_IF(name, n, mask_, value)                                                    \
	{                                                                                          \
		.nr = __NR_##name, .action = SECCOMP_ALLOWED, .looks = true, .arg = (n),           \
		.mask = (uint32_t)(mask_), .equals = (uint32_t)(value),                            \
	}

/* Rules in several tables, looked at one after the other. */
struct seccomp_table {
	const struct seccomp_rule *rules;
	size_t n;
};
#define SECCOMP_TABLE(array)                                                                       \
	{                                                                                          \
		(array), sizeof(array) / sizeof((array)[0])                                        \
	}

/* What a process of ours that has started never does: other programs, other processes'
 * memory, modules, mounts, namespaces, users. */
extern const struct seccomp_table seccomp_fatal;
/* What any C library needs to live, allocate memory and end; no new executable memory. */
extern const struct seccomp_table seccomp_libc;
/* Regular files and folders, within what else allows it; pipes, epoll, clocks. */
extern const struct seccomp_table seccomp_files;

/*
 * From here on this thread, and what it starts, is held to the tables. Needs
 * no_new_privs. 0; -ENOTSUP: not for this CPU; -EINVAL or -ENOSYS: the kernel
 * has no filters; -E2BIG: too many rules.
 */
int seccomp_enter(const struct seccomp_table *tables, size_t n);

/* What the kernel would answer, from the program itself, for tests: an action, and *ret_error. */
struct sock_filter;
int seccomp_compile(const struct seccomp_table *tables, size_t n, struct sock_filter *program,
		    size_t max, size_t *ret_len);
