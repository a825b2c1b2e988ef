# SPDX-License-Identifier: Apache-2.0
# An intake that reads a byte a second slows the shipper down and nobody else: the
# collector goes on, what waits is on the disk, and memory does not grow.
#
# shellcheck disable=SC2016,SC2034

load ../lib/common
load ../lib/faults

setup() {
	faults_setup
}

teardown() {
	common_teardown
}

# holds_out TRANSPORT WINDOW BYTES: that many a second.
holds_out() {
	local transport=$1 window=$2 before

	peer_start "$transport" --slow "$3"
	daemon_start "$transport" --output-timeout 2s --output-batch-bytes 256k
	emit 200
	watch_memory
	before=$(spool_bytes)
	emit 1500
	# All of them are there, although nothing was taken.
	wait_until "[ \$(spool_bytes) -ge $((before + 1500 * 2 * 400)) ]"
	wait_until '[ "$(failures '"$transport"')" -ge 1 ]'
	[ "$("$PEERS/cursor" "$T/spool" "$transport" acked)" -le 200 ]
	replace_peer "$transport"
	wait_for_flows 45
	daemon_stop
	peer_stop
	cat "$T/daemon.log"
	assert_all_delivered
	[ "$(books kernel.flows ring_full)" -eq 0 ]
	assert_flows_arrived $((window * ($(failures "$transport") + 1)))
	assert_memory
}

spool_bytes() {
	cat "$T"/spool/*.seg 2>/dev/null | wc -c
}

@test "https: a peer that reads a byte a second" {
	holds_out https 400 1
}

@test "relp: a peer that reads a hundred bytes a second" {
	# At one byte it has not even read our "open" in time.
	holds_out relp 8192 100
}

@test "syslog: a peer that reads a byte a second" {
	holds_out syslog 8192 1
}
