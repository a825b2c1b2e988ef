# SPDX-License-Identifier: Apache-2.0
# Plain syslog has no acknowledgement; over TLS 1.3 the peer's own TLS gives one.
# What the peer's kernel had, but its program had not read, is sent again.

load ../lib/common

setup() {
	common_setup
	need_root
}

teardown() {
	common_teardown
}

kernel_lines() { # FROM TO
	local i

	for ((i = $1; i <= $2; i++)); do
		echo "<6>receipts ${T##*.} line $i" >/dev/kmsg
	done
}

# The lines that were received, each with how often.
received_lines() {
	cat "$T"/received* | grep -ao "receipts ${T##*.} line [0-9]*" | awk '{ print $4 }' | sort -n
}

@test "syslog: a peer that dies with unread bytes gets them again" {
	peer_start syslog --stall-after 500 --stall-ms 60000
	daemon_start syslog --flows-enable no --journal-enable no
	kernel_lines 1 2000
	# All of it is in the peer's kernel by now, and TCP has acknowledged it.
	sleep 3
	peer_stop KILL
	mv "$T/received" "$T/received.1"
	peer_start syslog
	kernel_lines 2001 2010
	wait_until 'received_lines | grep -qx 2010' 20
	daemon_stop
	assert_all_delivered
	received_lines | uniq >"$T/lines"
	diff <(seq 2010) "$T/lines"
	# Without the receipts, nothing would have been repeated, and much been lost.
	[ "$(books output.syslog sent)" -gt "$(books spool appended)" ]
}

@test "syslog: what was receipted is not repeated" {
	peer_start syslog
	daemon_start syslog --flows-enable no --journal-enable no
	kernel_lines 1 1000
	wait_until 'received_lines | grep -qx 1000' 20
	sleep 1
	peer_stop KILL
	peer_start syslog
	kernel_lines 1001 1010
	wait_until 'received_lines | grep -qx 1010' 20
	daemon_stop
	assert_all_delivered
	[ "$(books output.syslog sent)" -eq "$(books spool appended)" ]
}
