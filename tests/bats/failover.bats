# SPDX-License-Identifier: Apache-2.0
# output.host as a list: the next one takes over, the first one is returned to,
# nothing is lost, and what comes twice is one window for each cut.
#
# shellcheck disable=SC2016

load ../lib/common
load ../lib/faults
load ../lib/targets

setup() {
	faults_setup
	TARGET_PORT=()
	TARGET_PID=()
	DAEMON_ARGS+=(--output-failback 1s --output-timeout 3s --output-connect-timeout 1s)
}

teardown() {
	common_teardown
}

# start_with_three TRANSPORT: the list is known, the first and the third are down.
start_with_three() {
	local n

	for n in 1 2 3; do
		target_start "$n" "$1"
	done
	target_stop 1
	target_stop 3
	daemon_start "$1" --output-host \
		"localhost:${TARGET_PORT[1]},127.0.0.1:${TARGET_PORT[2]}, localhost:${TARGET_PORT[3]}"
}

# fails_over TRANSPORT WINDOW: the life of three targets.
fails_over() {
	local transport=$1 window=$2 emitter

	start_with_three "$transport"
	watch_memory

	# The first is down at start.
	emit 100
	wait_for_targets
	wait_until '[ "$(cursor target_since_us)" -gt 0 ]'
	[[ $(cursor target) = "127.0.0.1:${TARGET_PORT[2]} (2 of 3)" ]]
	[[ $(cursor others) = "localhost:${TARGET_PORT[1]} since "*"Connection refused"* ]]
	[ "$(log_count "connect localhost:${TARGET_PORT[1]}: .*; trying 127.0.0.1:${TARGET_PORT[2]} \(2 of 3\)")" -eq 1 ]

	# It comes, and is returned to, with a goodbye: nothing comes twice.
	target_start 1 "$transport"
	wait_until '[[ $(cursor target) = *"(1 of 3)" ]]'
	emit 100
	wait_for_targets
	[ "$(flows_at 1)" -eq 200 ]
	assert_flows_arrived 0
	[ "$(log_count "localhost:${TARGET_PORT[1]} \(1 of 3\) is well again; returning to it")" -eq 1 ]
	[ -z "$(cursor others)" ]

	# It dies in mid-stream, or on a slow host a moment later: what follows is the next one's.
	emit 1200 400 &
	emitter=$!
	EMITTED=$((EMITTED + 1200))
	wait_until 'targets_received; [ $(flows_at 1) -ge 300 ]'
	target_stop 1
	wait "$emitter"
	emit 100
	wait_for_targets
	[[ $(cursor target) = *"(2 of 3)" ]]
	[ "$(flows_at 2)" -ge 400 ]

	# It is up again, but without TLS: not yet.
	target_start 1 "$transport" --plain
	wait_until '[[ $(cursor others) = *"tls localhost"* ]]'
	[[ $(cursor target) = *"(2 of 3)" ]]

	# All are down; then the third one is there.
	target_stop 2
	emit 100
	wait_until '[ "$(log_count "none of the 3 targets works, beginning again in")" -eq 1 ]'
	target_start 3 "$transport"
	wait_for_targets
	[[ $(cursor target) = "localhost:${TARGET_PORT[3]} (3 of 3)" ]]
	[ "$(flows_at 3)" -ge 200 ]

	daemon_stop
	targets_received
	cat "$T/daemon.log"
	assert_all_delivered
	# Two were killed with what they had not answered.
	assert_flows_arrived $((2 * window))
	assert_memory
}

@test "https: three targets come and go" {
	fails_over https 1000
}

@test "relp: three targets come and go" {
	fails_over relp 1000
}

@test "syslog: three targets come and go" {
	fails_over syslog 1000
}

@test "a key that is refused is no reason to go elsewhere" {
	start_with_three https
	target_start 1 https
	daemon_stop
	printf 'anotherKey0123456789\n' >"$T/wrong-key"
	chmod 600 "$T/wrong-key"
	daemon_start https --intake-key-file "$T/wrong-key" --collector-stop-timeout 1s --output-host \
		"localhost:${TARGET_PORT[1]},localhost:${TARGET_PORT[2]}"
	emit 20
	wait_until '[ "$(log_count "intake key refused \(422\): check intake.key; retrying")" -eq 1 ]'
	[[ $(cursor target) = *"(1 of 2)" ]]
	daemon_stop
	assert_accounts_balance
	[ "$(books output.https rejected)" -eq 0 ]
}
