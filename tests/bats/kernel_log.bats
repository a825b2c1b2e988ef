#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The kernel's log: each line once, with its level, facility and text, from
# before the collector, while it runs, is killed or is away.

# shellcheck disable=SC2016,SC2034

bats_require_minimum_version 1.5.0
load ../lib/common
load ../lib/journal
load ../lib/kmsg

setup() {
	need_root
	[ -w /dev/kmsg ] || skip "needs /dev/kmsg"
	common_setup
	journal_alone
	TAG=sekoia-$RANDOM$RANDOM
	DAEMON_ARGS=(--flows-enable no --journal-enable no)
}

teardown() {
	common_teardown
}

# Each write has an open of its own, so that the kernel's limit of ten does not
# hold. A line without its end would wait for more. bash would write each line alone.
kmsg() {
	printf '%b\n' "$1" | dd of=/dev/kmsg bs=8192 iflag=fullblock status=none
}

# kernel_lines: "facility severity app text" of ours, in the order of capture.
kernel_lines() {
	jq -r --arg tag "$TAG" 'select(.log.logger == "kernel" and (.event.reason | contains($tag))) |
		"\(.event.id | split("-")[1]) \(.log.syslog.facility.code) \(.log.syslog.severity.code) \(.log.syslog.appname) \(.event.reason | gsub("\n"; "\\n"))"' \
		"$T/received" | sort -n -s -u -k1,1 | cut -d ' ' -f 2-
}

@test "level, facility, name and text" {
	peer_start https
	daemon_start https
	kmsg "<12>a warning $TAG"
	kmsg "<30>appd[77]: from a daemon $TAG"
	kmsg "<3>the kernel's facility is the kernel's alone $TAG"
	kmsg "without a level $TAG"
	kmsg "<191>local7.debug $TAG"
	kmsg "<14>\"quoted\" back\\\\slash caf\xc3\xa9 \xe2\x82\xac \x01 $TAG"
	kmsg "<14>two\nlines $TAG"
	kmsg "<9>$(head -c 900 /dev/zero | tr '\0' x) $TAG"
	kmsg "<15>the last $TAG"
	wait_until 'grep -q "the last '"$TAG"'" "$T/received"'
	daemon_stop
	assert_all_delivered
	[ "$(books source.kernel_log lost)" -eq 0 ]
	peer_stop
	kernel_lines >"$T/got"
	cat >"$T/want" <<-END
		1 4 kernel a warning $TAG
		3 6 appd from a daemon $TAG
		1 3 kernel the kernel's facility is the kernel's alone $TAG
		1 4 kernel without a level $TAG
		23 7 kernel local7.debug $TAG
		1 6 kernel "quoted" back\\slash café € $(printf '\001') $TAG
		1 6 kernel two\nlines $TAG
		1 1 kernel $(head -c 900 /dev/zero | tr '\0' x) $TAG
		1 7 kernel the last $TAG
	END
	diff "$T/want" "$T/got"
	[ "$(jq --arg text "from a daemon $TAG" 'select(.event.reason == $text) | .log.syslog.procid == "77" and
		.log.level == "info" and .event.provider == "kernel"' "$T/received")" = true ]
}

@test "the log since the boot, each record once" {
	local n

	dd if=/dev/kmsg iflag=nonblock bs=8192 2>/dev/null | grep -a '^[0-9]' | cut -d ';' -f 1 | cut -d , -f 1,2 >"$T/seqs" || true
	n=$(grep -vc '^$' "$T/seqs")
	[ "$n" -gt 0 ] || skip "the kernel's log is empty"
	peer_start https
	daemon_start https
	kmsg "<14>the last $TAG"
	wait_until 'grep -q "the last '"$TAG"'" "$T/received"'
	daemon_stop
	assert_all_delivered
	peer_stop
	# Records without a text are none, and others may have written meanwhile.
	[ "$(books source.kernel_log samples)" -ge $((n + 1)) ]
	[ "$(books source.kernel_log records)" -eq $(($(books source.kernel_log samples) - $(books source.kernel_log filtered))) ]
	[ "$(books spool appended)" -eq "$(books source.kernel_log records)" ]
}

@test "kills and pauses: each line once, in order" {
	local i n=0

	peer_start https
	daemon_start https
	for i in 1 2 3 4 5 6; do
		while [ $n -lt $((i * 100)) ]; do
			n=$((n + 1))
			kmsg "<$((8 + n % 8))>line $n $TAG"
			[ $((n % 100)) -ne 50 ] || daemon_kill
		done
		daemon_start https
	done
	# A clean stop keeps the position, too.
	daemon_stop
	for ((i = 1; i <= 50; i++)); do
		n=$((n + 1))
		kmsg "<$((8 + n % 8))>line $n $TAG"
	done
	daemon_start https
	wait_until 'grep -q "line 650 '"$TAG"'" "$T/received"'
	daemon_stop
	assert_all_delivered
	[ "$(books source.kernel_log lost)" -eq 0 ]
	peer_stop
	for ((i = 1; i <= n; i++)); do
		echo "1 $((i % 8)) kernel line $i $TAG"
	done >"$T/want"
	kernel_lines | diff - "$T/want" | head -n 20
	kernel_lines | cmp - "$T/want"
}

@test "a burst: what comes and what is counted as lost is what was written" {
	DAEMON_ARGS=()
	kmsg_burst "${KERNEL_LINES:-20000}"
}
