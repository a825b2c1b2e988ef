# SPDX-License-Identifier: Apache-2.0
# Memory: collector, starter and shipper together stay below one ceiling, whatever
# happens, and do not grow with what they have done.

# What is in single quotes is for wait_until.
# shellcheck disable=SC2034

load ../lib/common
load ../lib/faults

CEILING_KIB=$((40 * 1024))
IDLE_KIB=$((24 * 1024)) # of collector and shipper, with nothing to do

setup() {
	faults_setup
	# A stall is no reason to give up the connection.
	DAEMON_ARGS+=(--output-timeout 60s)
}

teardown() {
	common_teardown
}

# All that the process has: its own, of files, and what is mapped of the rings.
resident_kib() {
	sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB$/\1/p' "/proc/$1/status"
}

all_kib() {
	echo $(($(resident_kib "$DAEMON_PID") + $(resident_kib "$(starter_pid)") +
		$(resident_kib "$(shipper_pid)")))
}

both_kib() {
	echo $(($(resident_kib "$DAEMON_PID") + $(resident_kib "$(shipper_pid)")))
}

# watch_memory: the greatest sum, until the test stops it, is in $T/peak.
watch_memory() {
	local now peak=0

	while sleep 0.2; do
		now=$(all_kib 2>/dev/null) || continue
		[ "$now" -gt "$peak" ] || continue
		peak=$now
		echo "$peak" >"$T/peak"
	done 3>&- &
	WATCH=$!
	KEEP_PIDS+=("$WATCH")
}

stop_watching() {
	kill "$WATCH"
	wait "$WATCH" 2>/dev/null || true
	echo "at the most: $(cat "$T/peak") KiB; the ceiling is $CEILING_KIB KiB"
	[ "$(cat "$T/peak")" -lt "$CEILING_KIB" ]
}

# flows N SEED: to an address of this test's own, so that no tuple is there twice.
flows() {
	"$PEERS/tcpgen" --connections "$1" --seed "$2" --max-bytes 2000 --parallel 32 \
		--v4 "127.$NET.0.$2" --v6 "" --truth "$T/truth.$2" >/dev/null
}

# A flow whose end this kernel did not show is in the books.
missed_now() {
	"$SEKOIA" --config /dev/null --monitor-socket "$T/monitor" status --json | jq .kernel.flows.missed
}

settled() {
	wait_until '[ $(($("$PEERS/cursor" "$T/spool" '"$DAEMON_TRANSPORT"' cursor_seq) + $(missed_now))) -ge '"$1"' ]' 30
}

# assert_flows [OPTION...]: each flow is there, but for those that are in the books.
assert_flows() {
	cat "$T"/truth.* >"$T/truth"
	"$PEERS/flowcheck" --sides 2 --allow-missing "$(books kernel.flows missed)" "$@" "$T/truth" "$T/received"
}

@test "memory: 50,000 flows, and it does not grow in the second half" {
	local first second
	peer_start https
	daemon_start https
	# The caches' first fill is no growth.
	flows 10000 1
	settled 20000
	watch_memory
	flows 20000 2
	settled 60000
	stop_watching
	first=$(cat "$T/peak")
	watch_memory
	flows 20000 3
	settled 100000
	stop_watching
	second=$(cat "$T/peak")
	echo "at the most, in the first half $first KiB, in the second one $second KiB"
	# A leak of 60 bytes for each event would be seen.
	[ $((second - first)) -lt 2400 ]
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows
}

# after_load TRANSPORT: what a load took goes back, though the connection stays.
after_load() {
	local transport=$1 connects little

	peer_start "$transport"
	daemon_start "$transport"
	flows 20000 1
	settled 40000
	connects=$("$PEERS/cursor" "$T/spool" "$transport" connects)
	echo "after the load $(both_kib) KiB"
	# A little goes on.
	"$PEERS/tcpgen" --connections 1000 --seed 2 --max-bytes 2000 --parallel 8 --pause-ms 100 \
		--v4 "127.$NET.0.2" --v6 "" --truth "$T/truth.2" >/dev/null 3>&- &
	little=$!
	KEEP_PIDS+=("$little")
	wait_until '[ "$(both_kib)" -le "$IDLE_KIB" ]' 30
	echo "then $(both_kib) KiB"
	[ "$("$PEERS/cursor" "$T/spool" "$transport" connects)" -eq "$connects" ]
	# And what comes then is sent as before.
	wait "$little"
	flows 1000 3
	settled 44000
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows
}

@test "memory: https: what a load took is given back" { after_load https; }
@test "memory: relp: what a load took is given back" { after_load relp; }
@test "memory: syslog: what a load took is given back" { after_load syslog; }

# stalled TRANSPORT: the peer reads nothing for ten seconds, in the midst of it all.
stalled() {
	local transport=$1

	peer_start "$transport" --stall-after 100 --stall-ms 10000 --times 1
	daemon_start "$transport"
	watch_memory
	flows 10000 1
	settled 20000
	stop_watching
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows --allow-repeats
}

@test "memory: https: the peer stalls for 10 s" { stalled https; }
@test "memory: relp: the peer stalls for 10 s" { stalled relp; }
@test "memory: syslog: the peer stalls for 10 s" { stalled syslog; }

@test "memory: the peer is away while 10,000 flows come" {
	peer_start https
	peer_stop KILL
	daemon_start https
	watch_memory
	flows 10000 1
	sleep 1
	peer_start https
	settled 20000
	stop_watching
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows
}
