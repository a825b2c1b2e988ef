# SPDX-License-Identifier: Apache-2.0
# SIGKILL, ten times in a run, of the collector, the shipper and the intake, on
# each transport: no flow is lost, none enters the spool twice, and every byte
# count is the generator's.
# long: it waits for what takes time

load ../lib/common

setup() {
	common_setup
	need_root
}

teardown() {
	common_teardown
}

kill_collector() {
	daemon_kill
	sleep "0.$((RANDOM % 3))"
	daemon_start "$1" --flows-loopback yes --journal-enable no --kernel-log no
}

kill_shipper() {
	local pid
	pid=$(shipper_pid)
	[ -z "$pid" ] || kill -KILL "$pid"
}

kill_intake() {
	peer_stop KILL
	# A line that was being written when it died was not acknowledged.
	if [ -s "$T/received" ] && [ -n "$(tail -c 1 "$T/received")" ]; then
		sed -i '$d' "$T/received"
	fi
	cat "$T/received" >>"$T/received.all"
	sleep "0.$((RANDOM % 3))"
	peer_start "$1"
}

# run_kills TRANSPORT VICTIM
run_kills() {
	local transport=$1 victim=$2 generator

	peer_start "$transport"
	daemon_start "$transport" --flows-loopback yes --journal-enable no --kernel-log no
	"$PEERS/tcpgen" --connections 6000 --max-bytes 20000 --parallel 4 --pause-ms 2 --seed 7 \
		--mode normal,server-first,half-close --truth "$T/truth" 3>&- &
	generator=$!
	KEEP_PIDS+=("$generator")
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		sleep "0.$((1 + RANDOM % 4))"
		"kill_$victim" "$transport"
	done
	wait "$generator"
	wait_until '[ -n "$(shipper_pid)" ]' 20
	sleep 0.5
	daemon_stop
	assert_all_delivered
	[ "$(books kernel.flows ring_full)" -eq 0 ]
	[ "$(books kernel.flows no_room)" -eq 0 ]
	peer_stop
	cat "$T/received" >>"$T/received.all"
	"$PEERS/flowcheck" --sides 2 --allow-missing "$(books kernel.flows missed)" --allow-repeats "$T/truth" "$T/received.all"
	# Every event that entered the spool arrived, under its own number.
	[ "$(jq -r .event.id "$T/received.all" | sort -u | wc -l)" -eq "$(books spool appended)" ]
	# No flow under two numbers.
	[ "$(jq -r 'select(.flowEndReason == 3) | "\(.flowId) \(.event.id)"' "$T/received.all" | sort -u |
		cut -d' ' -f1 | uniq -d | wc -l)" -eq 0 ]
}

@test "https: the collector is killed ten times" { run_kills https collector; }
@test "relp: the collector is killed ten times" { run_kills relp collector; }
@test "syslog: the collector is killed ten times" { run_kills syslog collector; }
@test "https: the shipper is killed ten times" { run_kills https shipper; }
@test "relp: the shipper is killed ten times" { run_kills relp shipper; }
@test "syslog: the shipper is killed ten times" { run_kills syslog shipper; }
@test "https: the intake is killed ten times" { run_kills https intake; }
@test "relp: the intake is killed ten times" { run_kills relp intake; }
@test "syslog: the intake is killed ten times" { run_kills syslog intake; }
