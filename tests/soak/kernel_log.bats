# SPDX-License-Identifier: Apache-2.0
# A burst of KERNEL_LINES (100,000) lines of the kernel's log, from two writers at once: what arrives
# and what is counted as lost (the kernel's own buffer is a ring) add up to what was written,
# in each writer's order. The short version is in tests/bats/kernel_log.bats.
#
# shellcheck disable=SC2016,SC2034

load ../lib/common
load ../lib/journal
load ../lib/kmsg

setup() {
	need_root
	[ -w /dev/kmsg ] || skip "needs /dev/kmsg"
	common_setup
	journal_alone
	TAG=sekoia-$RANDOM$RANDOM
}

teardown() {
	common_teardown
}

@test "100,000 lines in a burst: come, or counted as lost" {
	kmsg_burst "${KERNEL_LINES:-100000}"
}
