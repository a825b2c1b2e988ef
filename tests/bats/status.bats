#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A collector that runs can be asked: for people, as JSON, by Prometheus. Whoever
# asks badly is refused, and nobody makes it wait. Its heartbeats say the same.

load ../lib/common
load ../lib/faults

setup() {
	faults_setup
}

teardown() {
	common_teardown
}

status() {
	"$SEKOIA" --config /dev/null --monitor-socket "$T/monitor" status "$@"
}

# number PATH: from the JSON of status, "output.https.waiting".
number() {
	status --json | jq ".$1"
}

get() {
	curl -s --max-time 10 --unix-socket "$T/monitor" "http://localhost$1"
}

# Standard input as it is, and what comes back.
raw() {
	curl -s --max-time 60 --unix-socket "$T/monitor" telnet://x
}

wait_delivered() {
	wait_until 'status --json | jq -e ".spool.appended == .output.https.acknowledged and .spool.appended >= '"$1"'" >/dev/null'
}

@test "status: for people, in 80 columns; the same numbers everywhere" {
	local appended

	peer_start https
	daemon_start https --heartbeat-interval 1s
	emit 50
	wait_for_flows
	status >"$T/page"
	cat "$T/page"
	grep -q "^sekoia-ebpf [0-9.]* on .*, running for .*: all is well$" "$T/page"
	grep -Eq '^  https: connected, localhost$' "$T/page"
	for section in KERNEL SOURCE OUTPUT ROOM COST; do
		grep -q "^$section " "$T/page"
	done
	[ "$(awk 'length($0) > 79' "$T/page" | wc -l)" -eq 0 ]
	get /metrics >"$T/metrics"
	status --json >"$T/json"
	[ "$(jq -r .version "$T/json")" = "$("$SEKOIA" --version | cut -d' ' -f2)" ]
	# The socket is root's alone.
	[ "$(stat -c '%a %u' "$T/monitor")" = "600 0" ]
	[ "$(stat -c '%F' "$T/monitor")" = socket ]
	# The shape of the text format: HELP and TYPE once, before the samples; counters end in _total.
	[ "$(grep -c '^# TYPE' "$T/metrics")" -eq "$(grep '^# TYPE' "$T/metrics" | sort -u | wc -l)" ]
	[ "$(grep -vEc '^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+="[^"]*"\})? [0-9.]+)$' "$T/metrics")" -eq 0 ]
	[ "$(grep -E '^# TYPE .* counter$' "$T/metrics" | grep -vc '_total counter$')" -eq 0 ]
	[ "$(grep -E '^# TYPE .* gauge$' "$T/metrics" | grep -c '_total gauge$')" -eq 0 ]
	grep -Eq '^sekoia_ebpf_kernel_seen_total\{source="flows"\} [1-9]' "$T/metrics"
	grep -Eq '^sekoia_ebpf_process_resident_bytes\{process="shipper"\} [1-9]' "$T/metrics"
	wait_until 'peer_summary received >/dev/null; [ "$(grep -c "\"action\":\"heartbeat\"" "$T/received")" -ge 2 ]'
	daemon_stop
	peer_stop
	assert_all_delivered
	[ ! -e "$T/monitor" ]
	# At least two heartbeats; the last one's numbers are no greater than the books.
	grep '"action":"heartbeat"' "$T/received" | sort -u >"$T/beats"
	[ "$(wc -l <"$T/beats")" -ge 2 ]
	jq -e '.event.kind == "metric" and .event.provider == "sekoia-ebpf" and .event.reason != "" and
		.sekoia_ebpf.version != "" and .sekoia_ebpf.kernel.flows.seen >= 0 and
		(.sekoia_ebpf.output.https.acknowledged // 0) >= 0 and .host.hostname != ""' "$T/beats" >"$T/out"
	refute grep -q false "$T/out"
	appended=$(books spool appended)
	[ "$(jq -s "map(.sekoia_ebpf.spool.appended) | max <= $appended" "$T/beats")" = true ]
	[ "$(jq -s 'map(.sekoia_ebpf.spool.appended) | max > 50' "$T/beats")" = true ]
}

@test "status: at a quiet moment the books balance, and are those that are printed at the exit" {
	peer_start https
	daemon_start https
	emit 100
	wait_for_flows
	wait_delivered 200
	status --json >"$T/json"
	jq -e '.kernel.flows | .seen == .submitted + .filtered + .ring_full + .no_room + .missed + .live' "$T/json"
	jq -e '.spool.appended == .output.https.acknowledged + .output.https.rejected + .output.https.dropped +
		.output.https.damaged + .output.https.waiting' "$T/json"
	jq -e '.spool.appended == ([.source[].records] | add)' "$T/json"
	jq -e '.output.https.state == "connected" and (.wrong | length) == 0' "$T/json"
	jq -e '.process.collector.resident > 1000000 and .process.shipper.pid > 1 and .ring.flows.size == 8388608' "$T/json"
	jq -e '.daemon.events_per_second_minute >= 0 and .daemon.uptime_ns > 0' "$T/json"
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(books spool appended)" -ge "$(jq .spool.appended "$T/json")" ]
	[ "$(books kernel.flows seen)" -ge "$(jq .kernel.flows.seen "$T/json")" ]
}

@test "status: no collector, a dead one, nobody's socket: 1, and what to do" {
	run -1 status
	[[ $output == *"no collector answers at $T/monitor; start it"* ]]
	peer_start https
	daemon_start https
	run -0 status
	daemon_kill
	[ -S "$T/monitor" ]
	run -1 status
	[[ $output == *"no collector answers"* ]]
	run -1 "$SEKOIA" --config /dev/null --monitor-socket off status
	[[ $output == *"monitor.socket is off"* ]]
	run -2 status metrics metrics
	run -1 status yaml
	[[ $output == *"allowed: metrics, --json, or nothing"* ]]
	# The dead one's socket is replaced, a living one's is not.
	daemon_start https
	run -0 status
	"$SEKOIA" --config /dev/null --output file --output-file "$T/second" --spool-dir "$T/spool2" \
		--collector-bpf-dir "$BPF_DIR-2" --monitor-socket "$T/monitor" --kernel-log yes --flows-enable no \
		--journal-enable no >"$T/second.log" 2>&1 3>&- &
	KEEP_PIDS+=($!)
	wait_until 'grep -q "another collector has it" "$T/second.log"'
	kill -INT $!
	wait $! || true
	run -0 status
	daemon_stop
	peer_stop
	assert_all_delivered
}

@test "status: something is wrong: 2, and what" {
	peer_start https
	peer_stop KILL
	daemon_start https
	emit 5
	wait_until '[ "$(status >"$T/page"; echo $?)" -eq 2 ]'
	wait_until 'status >"$T/page"; grep -q "  ! https does not deliver: [0-9]* events wait" "$T/page"'
	cat "$T/page"
	grep -q ': something is wrong$' "$T/page"
	grep -Eq '^  https: (backing off|connecting), localhost$' "$T/page"
	grep -q '^    last error: ' "$T/page"
	peer_start https
	wait_until 'status >"$T/page"'
	daemon_stop
	peer_stop
	assert_all_delivered
}

@test "monitor: bad, slow, many clients: refused, and nothing waits for them" {
	local i

	peer_start https
	daemon_start https
	[ "$(curl -s -o /dev/null -w '%{http_code}' --unix-socket "$T/monitor" http://x/nothing)" = 404 ]
	[ "$(curl -s -o /dev/null -w '%{http_code}' -X POST --unix-socket "$T/monitor" http://x/status)" = 405 ]
	[ "$(printf 'nonsense\r\n\r\n' | raw | head -c 12)" = "HTTP/1.0 400" ]
	head -c 100000 /dev/zero | tr '\0' x | raw >"$T/out" 2>&1 || true
	# Eight say nothing: the ninth is refused, until their time is over.
	for i in 1 2 3 4 5 6 7 8; do
		(sleep 8 | raw) >/dev/null 2>&1 3>&- &
		KEEP_PIDS+=($!)
	done
	wait_until '! status >/dev/null 2>&1'
	emit 50
	wait_for_flows
	wait_until 'status >/dev/null 2>&1'
	[ "$(number daemon.monitor_refused)" -ge 10 ]
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived
}
