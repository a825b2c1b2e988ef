/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls that a build with ASan makes beyond ours: its report at the end
 * stops the process from a second one and looks at it. Empty in any other build.
 */
#pragma once

#include "user/util/seccomp.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#endif

#ifdef SANITIZED
static const struct seccomp_rule sanitizer_rules[] = {
	SECCOMP_ALLOW(clone),	  SECCOMP_ALLOW(ptrace),    SECCOMP_ALLOW(wait4),
	SECCOMP_ALLOW(prctl),	  SECCOMP_ALLOW(tgkill),    SECCOMP_ALLOW(mmap),
	SECCOMP_ALLOW(mprotect),  SECCOMP_ALLOW(prlimit64), SECCOMP_ALLOW(set_robust_list),
	SECCOMP_ALLOW(setrlimit),
};
static const struct seccomp_table sanitizer_calls = SECCOMP_TABLE(sanitizer_rules);
#else
static const struct seccomp_table sanitizer_calls = { NULL, 0 };
#endif
