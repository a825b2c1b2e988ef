#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Metrics on a loopback address: of a collector in its sandbox, for whoever is on the host, and
# nothing but them. The dashboard and the alerts ask for metrics that there are.
#
# shellcheck disable=SC2016

load ../lib/common
load ../lib/faults

setup() {
	faults_setup
	PORT=$((20000 + RANDOM % 10000))
}

teardown() {
	common_teardown
}

get() {
	curl -s --max-time 10 "http://127.0.0.1:$PORT$1"
}

code_of() {
	curl -s -o /dev/null -w '%{http_code}' --max-time 10 "http://$2$1" || true
}

@test "metrics: over loopback as over the Unix socket; the dashboard and the alerts know them" {
	peer_start https
	daemon_start https --monitor-listen "127.0.0.1:$PORT" --ring-flows 64k
	# A loss: before the first there is no metric of them.
	kill -STOP "$DAEMON_PID"
	emit 500
	kill -CONT "$DAEMON_PID"
	wait_until 'get /metrics | grep -q "^sekoia_ebpf_loss_lost_total{.*} [1-9]"'
	wait_until 'get /metrics | grep -q "^sekoia_ebpf_output_waiting{.*} 0$"'
	get /metrics >"$T/metrics"
	curl -s --unix-socket "$T/monitor" http://x/metrics >"$T/unix"
	[ "$(wc -l <"$T/metrics")" -gt 100 ]
	cmp <(sed -E 's/ [0-9.]+$//' "$T/metrics") <(sed -E 's/ [0-9.]+$//' "$T/unix")
	curl -s -i --max-time 5 "http://127.0.0.1:$PORT/metrics" | tr -d '\r' | grep -q '^Content-Type: text/plain; version=0.0.4'
	# Nothing else is for everybody.
	[ "$(code_of /status "127.0.0.1:$PORT")" = 404 ]
	[ "$(code_of / "127.0.0.1:$PORT")" = 404 ]
	refute grep -q "$TEST_KEY" "$T/metrics"
	# The collector is in its sandbox, listens there and nowhere else.
	grep -q '^Seccomp:.*2$' "/proc/$DAEMON_PID/status"
	[ "$(ss -Hltnp | grep -c "pid=$DAEMON_PID,")" -eq 1 ]
	ss -Hltn "src 127.0.0.1:$PORT" | grep -q .
	if /usr/bin/python3 -c 'import yaml' 2>/dev/null; then
		/usr/bin/python3 "$TOP/tests/deploy/metrics.py" "$T/metrics"
		# It can fail.
		sed 's/sekoia_ebpf_loss_lost_total/sekoia_ebpf_loss_lots_total/' "$TOP/deploy/prometheus/sekoia-ebpf.rules.yaml" >"$T/wrong.yaml"
		refute /usr/bin/python3 "$TOP/tests/deploy/metrics.py" "$T/metrics" "$T/wrong.yaml"
	fi
	daemon_stop
	# The port is free again.
	daemon_start https --monitor-listen "127.0.0.1:$PORT"
	get /metrics | grep -q ^sekoia_ebpf_info
	daemon_stop
	peer_stop
	assert_all_delivered
}

@test "metrics: clients that hang take no place from \"status\"; off by default; only loopback" {
	local i

	peer_start https
	daemon_start https --monitor-listen "[::1]:$PORT"
	for ((i = 0; i < 12; i++)); do
		(exec 3<>"/dev/tcp/::1/$PORT" && sleep 8) 2>/dev/null 3>&- &
		KEEP_PIDS+=($!)
	done
	wait_until '[ "$(ss -Htn state established dst "[::1]:$PORT" | wc -l)" -ge 4 ]' 5
	"$SEKOIA" --config /dev/null --monitor-socket "$T/monitor" status >/dev/null
	# Another one on the same port works without it.
	"$SEKOIA" --config /dev/null --output file --output-file "$T/second" --spool-dir "$T/spool2" --kernel-log yes \
		--flows-enable no --journal-enable no --monitor-socket off --monitor-listen "[::1]:$PORT" >"$T/second.log" 2>&1 3>&- &
	KEEP_PIDS+=($!)
	wait_until 'grep -q ": ready" "$T/second.log"'
	grep -q "monitor.listen \[::1\]:$PORT: another program has that port" "$T/second.log"
	kill -INT $!
	wait $! || true
	daemon_stop
	daemon_start https
	[ "$(ss -Hltnp | grep -c "pid=$DAEMON_PID,")" -eq 0 ]
	daemon_stop
	peer_stop
	assert_all_delivered
	for at in 0.0.0.0:9477 192.0.2.1:9477 127.0.0.1 127.0.0.1:0 "[::]:9477" localhost:9477 :9477 nonsense; do
		run -2 "$SEKOIA" --config /dev/null --monitor-listen "$at" status
		[[ $output = *"--monitor-listen"*"allowed: a loopback address with a port, as 127.0.0.1:9477"* ]]
	done
}
