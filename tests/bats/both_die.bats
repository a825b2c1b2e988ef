# SPDX-License-Identifier: Apache-2.0
# Collector and shipper are killed at the same moment, again and again, while events
# come in: none is lost, and what entered the spool entered it once. (One of
# them at a time: kills.bats.)
# long: it waits for what takes time

load ../lib/common
load ../lib/faults

setup() {
	faults_setup
}

teardown() {
	common_teardown
}

# The shipper first: it must not see its collector go and end by itself.
kill_both() {
	local shipper

	shipper=$(shipper_pid)
	[ -z "$shipper" ] || kill -STOP "$shipper"
	kill -KILL "$DAEMON_PID" ${shipper:+"$shipper"}
	wait "$DAEMON_PID" 2>/dev/null || true
	wait_until "! kill -0 ${shipper:-$DAEMON_PID} 2>/dev/null"
}

# both_die TRANSPORT TIMES
both_die() {
	local i generator

	peer_start "$1"
	daemon_start "$1"
	"$PEERS/emit" --net "$NET" --count 6000 --rate 1000 3>&- &
	generator=$!
	KEEP_PIDS+=("$generator")
	EMITTED=6000
	for ((i = 0; i < $2; i++)); do
		sleep "0.$((RANDOM % 4))"
		kill_both
		daemon_start "$1"
	done
	wait "$generator"
	wait_for_flows
	daemon_stop
	peer_stop
	assert_all_delivered
	# What was on its way each time may come twice, and is known by its number.
	assert_flows_arrived $(($2 * 2 * EMITTED))
	[ "$(peer_summary gaps)" -eq 0 ]
	[ "$(peer_summary first)" -eq 1 ]
	[ "$(peer_count)" -eq "$(books spool appended)" ]
	[ "$(books kernel.flows ring_full)" -eq 0 ]
	[ "$(log_count 'resumed from the kernel.s rings')" -eq "$2" ]
}

@test "https: collector and shipper are killed ten times, together" { both_die https 10; }
@test "relp: collector and shipper are killed four times, together" { both_die relp 4; }
@test "syslog: collector and shipper are killed four times, together" { both_die syslog 4; }
