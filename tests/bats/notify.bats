# SPDX-License-Identifier: Apache-2.0
# A service manager is told when the collector is ready, that it is alive and
# that it stops: by the collector alone, over a path and an abstract socket.

load ../lib/common
load ../lib/faults

setup() {
	common_setup
	need_root
}

teardown() {
	common_teardown
}

# manager_start SOCKET
manager_start() {
	MANAGER_SOCKET=$1
	"$PEERS/manager" "$1" >"$T/told" 2>&1 3>&- &
	KEEP_PIDS+=($!)
	wait_until '[ -s "$T/told" ]' 10
}

told() { # PATTERN: of an assignment; by the collector
	grep -qE "^$DAEMON_PID $1\$" "$T/told"
}

notified_run() {
	export NOTIFY_SOCKET=$MANAGER_SOCKET WATCHDOG_USEC=400000
	daemon_start stdout --flows-enable no --journal-enable no --kernel-log yes
	unset NOTIFY_SOCKET WATCHDOG_USEC
	wait_until 'told READY=1' 10
	told 'STATUS=kernel-log to stdout'
	# It goes on for as long as the loop turns.
	wait_until '[ "$(grep -c "^$DAEMON_PID WATCHDOG=1$" "$T/told")" -ge 3 ]' 10
	run ! told STOPPING=1
	# What it executes inherits no leave to speak for it.
	wait_until '[ -n "$(shipper_pid)" ]'
	run ! grep -qaE 'NOTIFY_SOCKET|WATCHDOG' "/proc/$(shipper_pid)/environ"
	kill -INT "$DAEMON_PID"
	wait "$DAEMON_PID"
	wait_until 'told STOPPING=1' 5
	told 'EXTEND_TIMEOUT_USEC=20000000'
	# Nobody else spoke.
	[ "$(grep -cvE "^$DAEMON_PID |^listening" "$T/told")" -eq 0 ]
	DAEMON_PID=
	assert_all_delivered
}

@test "notify: a socket with a path" {
	manager_start "$T/notify"
	notified_run
}

@test "notify: an abstract socket" {
	manager_start "@sekoia-test/${T##*.}"
	notified_run
}

@test "notify: a collector whose loop hangs says nothing more" {
	manager_start "$T/notify"
	export NOTIFY_SOCKET=$MANAGER_SOCKET WATCHDOG_USEC=400000
	daemon_start stdout --flows-enable no --journal-enable no --kernel-log yes
	unset NOTIFY_SOCKET WATCHDOG_USEC
	wait_until 'told WATCHDOG=1' 10
	kill -STOP "$DAEMON_PID"
	wait_until 'grep -q "^State:.*stopped" /proc/$DAEMON_PID/status' 10
	sleep 0.2
	local before
	before=$(grep -c WATCHDOG=1 "$T/told")
	sleep 1
	[ "$(grep -c WATCHDOG=1 "$T/told")" -eq "$before" ]
	kill -CONT "$DAEMON_PID"
	wait_until '[ "$(grep -c WATCHDOG=1 "$T/told")" -gt '"$before"' ]' 10
	daemon_stop
	assert_all_delivered
}

@test "notify: a spool that can not be written is the status, until it can" {
	faults_setup
	mkdir "$T/disk"
	mount -t tmpfs -o size=16m,mode=755 tmpfs "$T/disk"
	DAEMON_ARGS+=(--spool-dir "$T/disk/spool")
	peer_start https
	manager_start "$T/notify"
	export NOTIFY_SOCKET=$MANAGER_SOCKET
	daemon_start https
	unset NOTIFY_SOCKET
	wait_until 'told READY=1' 10
	dd if=/dev/zero of="$T/disk/filler" bs=4k 2>/dev/null || true
	emit 1000
	wait_until 'told "STATUS=spool can not be written: No space left on device"' 15
	rm "$T/disk/filler"
	wait_until '[ "$(grep STATUS= "$T/told" | tail -n 1)" = "$DAEMON_PID STATUS=flows to https" ]' 15
	wait_for_flows
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived
}

@test "notify: an address that is none is told, and nothing else" {
	export NOTIFY_SOCKET=run/notify
	daemon_start stdout --flows-enable no --journal-enable no --kernel-log yes
	unset NOTIFY_SOCKET
	grep -q 'NOTIFY_SOCKET: .*the service manager is told nothing' "$T/daemon.log"
	daemon_stop
}
