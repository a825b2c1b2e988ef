# SPDX-License-Identifier: Apache-2.0
# HTTPS to an intake that is slow, stalls, cuts, babbles, refuses: nothing is
# lost, a repeat can be recognised, and memory does not grow while it lasts.
# long: it waits for what takes time

load ../lib/common
load ../lib/faults

setup() {
	faults_setup
	# About 50 events in a request, so that there are many of them.
	MORE_ARGS=(--output-batch-bytes 64k --output-gzip no)
}

teardown() {
	common_teardown
}

# What the requests in flight hold at the most: four of 70 events.
BATCH=280

@test "https: the peer is slow" {
	misbehaves https 500 0 --slow 5000000
	[ "$CUTS" -eq 0 ]
}

@test "https: the peer stalls" {
	MORE_ARGS+=(--output-timeout 1s)
	misbehaves https 200 $BATCH --stall-after 100 --times 2
	[ "$(log_count 'https: .*(no answer|acknowledged nothing) for [0-9]+ s; retrying')" -ge 1 ]
}

@test "https: the peer stalls for a while" {
	misbehaves https 200 0 --stall-after 100 --stall-ms 1500 --times 1
	[ "$(log_troubles)" -eq 0 ]
}

@test "https: the peer closes after each hundred events" {
	misbehaves https 1000 0 --close-after 100 --times 5
	[ "$CUTS" -ge 5 ]
	[ "$(log_troubles)" -eq 0 ]
}

@test "https: the peer closes in the middle of an answer" {
	misbehaves https 500 $BATCH --close-after 100 --close-mid-frame --times 3
}

@test "https: the peer closes without close_notify in the middle of an answer" {
	misbehaves https 500 $BATCH --close-after 100 --close-mid-frame --no-close-notify --times 3
}

@test "https: the peer resets instead of an answer" {
	misbehaves https 500 $BATCH --reset-after 100 --times 3
}

@test "https: the peer accepts and closes, then is replaced" {
	REPLACE_WHEN='[ "$(failures https)" -ge 3 ]'
	misbehaves https 200 0 --refuse
	# Which of the two it is depends on how far our first message came.
	[ "$(log_count 'closed the connection in the handshake')" -le 1 ]
	[ "$(log_count 'reset by peer in the handshake')" -le 1 ]
}

@test "https: the peer is not there, then is" {
	peer_start https
	peer_stop KILL
	daemon_start https
	emit 200
	wait_until '[ "$(failures https)" -ge 3 ]'
	[ "$(log_troubles)" -eq 1 ]
	[ "$(log_count 'connect localhost:[0-9]+: .*Connection refused.*check the port')" -eq 1 ]
	peer_start https
	wait_for_flows
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived
}

@test "https: the peer answers garbage, then is replaced" {
	REPLACE_WHEN='[ "$(failures https)" -ge 3 ]'
	misbehaves https 200 $BATCH --garbage
	[ "$(log_count 'its answer is not HTTP; check output.host and output.port')" -eq 1 ]
}

@test "https: the peer never answers, then is replaced" {
	MORE_ARGS+=(--output-timeout 1s)
	REPLACE_WHEN='[ "$(failures https)" -ge 2 ]'
	misbehaves https 2500 $BATCH --never-ack
	[ "$(log_count '(no answer|acknowledged nothing) for [0-9]+ s; retrying')" -ge 1 ]
}

@test "https: the peer answers late, byte by byte" {
	misbehaves https 200 0 --ack-delay-ms 100 --ack-split
	[ "$(log_troubles)" -eq 0 ]
}

@test "https: 413 to the whole request: it is split, and all arrive" {
	misbehaves https 50 0 --status 413 --status-count 3
	[ "$(books output.https rejected)" -eq 0 ]
}

@test "https: some events are refused for good: counted, and not sent again" {
	peer_start https --reject-nth 50
	daemon_start https "${MORE_ARGS[@]}"
	emit 500
	wait_until '[ "$("$PEERS/cursor" "$T/spool" https acked)" -ge 900 ]'
	daemon_stop
	peer_stop
	cat "$T/daemon.log"
	assert_accounts_balance
	[ "$(books output.https waiting)" -eq 0 ]
	[ "$(books output.https rejected)" -ge 18 ]
	[ "$(books output.https rejected)" -eq "$(peer_summary refused)" ]
	[ "$(books output.https acknowledged)" -eq "$(peer_count)" ]
	[ "$(peer_summary repeats)" -eq 0 ]
	# The first is told at once, the rest in numbers.
	[ "$(log_count 'https: event [0-9]+ was refused: event too large for the intake')" -eq 1 ]
}

@test "https: 422: the key is refused, said once; with the right one it goes on" {
	peer_start https
	printf 'anotherKey0123456789\n' >"$T/wrong-key"
	chmod 600 "$T/wrong-key"
	daemon_start https --intake-key-file "$T/wrong-key"
	emit 200
	wait_until '[ "$(log_count "intake key refused \(422\): check intake.key")" -eq 1 ]'
	sleep 3
	# It does not knock again and again.
	[ "$(peer_summary bad_key)" -eq 1 ]
	[ "$(log_troubles)" -eq 1 ]
	[ ! -s "$T/received" ]
	daemon_stop
	assert_accounts_balance
	[ "$(books output.https rejected)" -eq 0 ]
	[ "$(books output.https waiting)" -ge 400 ]

	daemon_start https
	wait_for_flows
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived
	refute grep -q anotherKey "$T/daemon.log"
}

@test "https: 429: it waits as long as Retry-After says" {
	peer_start https --status 429 --status-count 1 --retry-after 4
	daemon_start https
	emit 100
	wait_until '[ "$(log_count "too many requests \(429\); retrying in [45] s")" -eq 1 ]'
	sleep 2
	[ "$(peer_summary requests)" -eq 1 ]
	wait_for_flows
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived
	[ "$(peer_summary requests_failed)" -eq 1 ]
}

@test "https: 500 and 503: it comes again, and all arrive" {
	for status in 500 503; do
		PEER_PORT=
		EMITTED=0
		rm -rf "$T/spool" "$T/received" "$T/daemon.log" "$T/memory"
		misbehaves https 100 0 --status $status --status-count 3
		[ "$(log_count "it answers $status; retrying")" -eq 1 ]
		# Those that were out together are one failure.
		[ "$(peer_summary requests_failed)" -eq 3 ]
		[ "$(books output.https failures)" -ge 1 ]
		[ "$(books output.https failures)" -le 3 ]
	done
}

@test "https: 403: the cure is named" {
	misbehaves https 100 0 --status 403 --status-count 2
	[ "$(log_count 'access refused \(403\); check intake.key, and whether this address is blocked')" -eq 1 ]
}
