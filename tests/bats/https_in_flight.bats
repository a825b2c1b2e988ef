# SPDX-License-Identifier: Apache-2.0
# HTTPS to an intake whose answers come late: several requests wait for theirs at
# the same time, and whoever dies meanwhile, nothing is lost and what comes twice
# is what had no answer.
# long: it waits for what takes time

load ../lib/common
load ../lib/faults

setup() {
	faults_setup
	# About 50 events in a request, so that there are many of them.
	MORE_ARGS=(--output-batch-bytes 64k --output-gzip no --output-requests-per-second 0)
}

teardown() {
	common_teardown
}

# What one request holds at the most.
BATCH=70

late() {
	peer_start https --ack-delay-ms 400
}

four_in_flight() {
	wait_until '[ "$(peer_summary connections)" -ge 4 ]' 20
}

finish() { # REPEATS
	wait_for_flows 45
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived "$1"
}

@test "https: late answers: four requests at a time, and nothing comes twice" {
	late
	daemon_start https "${MORE_ARGS[@]}"
	emit 300
	four_in_flight
	finish 0
	[ "$(peer_summary connections)" -eq 4 ]
	[ "$(books output.https failures)" -eq 0 ]
}

@test "https: late answers: one at a time when that is what is asked for" {
	late
	daemon_start https "${MORE_ARGS[@]}" --output-requests-in-flight 1
	emit 60
	finish 0
	[ "$(peer_summary connections)" -eq 1 ]
}

@test "https: late answers: one of four is 503, the others count" {
	peer_start https --ack-delay-ms 300 --status 503 --status-count 1
	daemon_start https "${MORE_ARGS[@]}"
	emit 200
	finish 0
	[ "$(peer_summary requests_failed)" -eq 1 ]
	[ "$(books output.https failures)" -eq 1 ]
}

@test "https: late answers: the shipper is killed with four in flight" {
	local pid

	late
	daemon_start https "${MORE_ARGS[@]}"
	emit 300
	four_in_flight
	pid=$(shipper_pid)
	kill -KILL "$pid"
	wait_until '[ -n "$(shipper_pid)" ] && [ "$(shipper_pid)" != '"$pid"' ]' 20
	finish $((4 * BATCH))
}

@test "https: late answers: the intake is killed with four in flight" {
	late
	daemon_start https "${MORE_ARGS[@]}"
	emit 300
	four_in_flight
	peer_stop KILL
	late
	finish $((4 * BATCH))
}
