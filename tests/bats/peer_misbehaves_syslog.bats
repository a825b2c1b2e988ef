# SPDX-License-Identifier: Apache-2.0
# Syslog over TLS to an intake that is slow, stalls, cuts, babbles: the protocol
# has no acknowledgement, and still nothing is lost, a repeat can be recognised,
# and memory does not grow while it lasts. The receipts that this rests on are
# in syslog_receipts.bats.

load ../lib/common
load ../lib/faults

setup() {
	faults_setup
}

teardown() {
	common_teardown
}

# More than is emitted here: what may be without a receipt.
WINDOW=262144

@test "syslog: the peer is slow" {
	misbehaves syslog 60 0 --slow 5000000
	[ "$CUTS" -eq 0 ]
}

@test "syslog: the peer stalls" {
	MORE_ARGS=(--output-timeout 1s)
	misbehaves syslog 2000 $WINDOW --stall-after 100 --times 2
	[ "$(log_count '(nothing was read there|acknowledged nothing) for [0-9]+ s; retrying')" -ge 1 ]
}

@test "syslog: the peer stalls for a while" {
	misbehaves syslog 200 0 --stall-after 100 --stall-ms 1500 --times 1
	[ "$(log_troubles)" -eq 0 ]
}

@test "syslog: the peer closes after each hundred events" {
	misbehaves syslog 500 100 --close-after 100 --times 3
	[ "$CUTS" -ge 3 ]
}

@test "syslog: the peer closes in the middle of a message" {
	misbehaves syslog 500 100 --close-after 100 --close-mid-frame --times 3
}

@test "syslog: the peer closes without close_notify" {
	misbehaves syslog 500 100 --close-after 100 --no-close-notify --times 3
}

@test "syslog: the peer resets" {
	misbehaves syslog 500 100 --reset-after 100 --times 3
}

@test "syslog: the peer accepts and closes, then is replaced" {
	REPLACE_WHEN='[ "$(failures syslog)" -ge 3 ]'
	misbehaves syslog 200 0 --refuse
	# Which of the two it is depends on how far our first message came.
	[ "$(log_count 'closed the connection in the handshake')" -le 1 ]
	[ "$(log_count 'reset by peer in the handshake')" -le 1 ]
}

@test "syslog: the peer is not there, then is" {
	peer_start syslog
	peer_stop KILL
	daemon_start syslog
	emit 200
	wait_until '[ "$(failures syslog)" -ge 3 ]'
	[ "$(log_troubles)" -eq 1 ]
	peer_start syslog
	wait_for_flows
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived
}

@test "syslog: the peer talks: nobody listens" {
	misbehaves syslog 200 0 --garbage
	[ "$(log_troubles)" -eq 0 ]
}

@test "syslog: the peer is killed while it reads, then is replaced" {
	peer_start syslog
	daemon_start syslog
	watch_memory
	emit 500
	peer_stop KILL
	emit 200
	peer_start syslog
	wait_for_flows
	daemon_stop
	peer_stop
	assert_all_delivered
	# A killed intake may have taken what it had not written yet.
	assert_flows_arrived $WINDOW
	assert_memory
}

@test "syslog: the peer stalls with a full socket, is killed, then is replaced" {
	peer_start syslog --stall-after 100
	daemon_start syslog
	watch_memory
	emit 3000
	wait_until '[ "$("$PEERS/cursor" "$T/spool" syslog sent)" -ge 1000 ]'
	sleep 1
	# What its kernel holds is not what it has read.
	[ "$("$PEERS/cursor" "$T/spool" syslog acked)" -le 100 ]
	peer_stop KILL
	peer_start syslog
	wait_for_flows 45
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived $WINDOW
	assert_memory
}
