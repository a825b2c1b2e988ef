#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# SIGHUP: the configuration is read again while events come in. What can be had
# at once is taken, the rest is named, mistakes change nothing; no event is lost
# and none is in the spool twice.

load ../lib/common
load ../lib/faults

setup() {
	faults_setup
}

teardown() {
	common_teardown
}

# write_config [LINE...]: the file, with [section] lines and values as they are given.
write_config() {
	printf '%s\n' "[output]" "host = localhost" "port = $PORT" "retry_max = 500ms" "requests_per_second = 0" \
		"[tls]" "ca = $T/certs/ca.pem" "$@" >"$T/conf"
}

# started TRANSPORT: with the file, not with flags, so that SIGHUP can change it.
started() {
	DAEMON_TRANSPORT=$1
	"$SEKOIA" --config "$T/conf" --output "$1" --intake-key-file "$T/key" \
		--spool-dir "$T/spool" --collector-bpf-dir "$BPF_DIR" --events-enable no "${DAEMON_ARGS[@]}" \
		>>"$T/stdout" 2>>"$T/daemon.log" 3>&- &
	DAEMON_PID=$!
	wait_until 'grep -q ": ready" "$T/daemon.log"' 15
}

# reload PATTERN: and wait for what it says.
reload() {
	local n

	n=$(log_count "$1")
	kill -HUP "$DAEMON_PID"
	wait_until "[ \$(log_count '$1') -gt $n ]"
}

# All that was appended is with some intake, and nothing was appended twice.
assert_books() {
	assert_accounts_balance
	[ "$(books "output.$DAEMON_TRANSPORT" waiting)" -eq 0 ]
	[ "$(books "output.$DAEMON_TRANSPORT" dropped)" -eq 0 ]
	[ "$(books spool appended)" -eq $(($(books source.flows records) + $(books source.self records))) ]
	assert_flows_arrived "${1:-0}"
}

@test "reload: another intake, under load: nothing is lost, each has one number" {
	local emitter first_port

	peer_start relp
	PORT=$PEER_PORT first_port=$PEER_PORT
	write_config
	started relp
	emit 1500 1000 &
	emitter=$!
	EMITTED=1500
	wait_until '[ "$(flows_arrived)" -gt 100 ]'

	# The second one, on a port of its own; both write to one file, one after the other.
	FIRST_PEER=$PEER_PID
	KEEP_PIDS+=("$FIRST_PEER")
	mv "$T/received" "$T/received.1"
	PEER_PID='' PEER_PORT=''
	peer_start relp
	PORT=$PEER_PORT
	[ "$PORT" != "$first_port" ]
	write_config
	reload 'reload: changed: output.port$'
	wait "$emitter"
	emit 200
	# It is the one that is used.
	wait_until '[ "$(flows_arrived)" -gt 0 ]'
	kill -TERM "$FIRST_PEER"
	wait_until '! kill -0 $FIRST_PEER 2>/dev/null'
	daemon_stop
	peer_stop
	cat "$T/received.1" >>"$T/received"
	# What the first one had not yet acknowledged may be at both, under one number.
	assert_books 6000
	[ "$(log_count 'starting it again|error')" -eq 0 ]
}

@test "reload: another key in the file of the key" {
	peer_start https
	PORT=$PEER_PORT
	write_config
	started https
	emit 20
	wait_for_flows
	peer_stop
	# The intake has got a new key, and the file gets it.

	TEST_KEY=ffffffffffffffffffffffffffffffff
	peer_start https
	emit 20
	wait_until "[ \$(log_count 'refused') -ge 1 ]"
	printf '%s\n' $TEST_KEY >"$T/key"
	reload 'reload: changed: intake.key$'
	[ "$(grep -c ffffffff "$T/daemon.log")" -eq 0 ]
	wait_for_flows 90
	daemon_stop
	peer_stop
	assert_books
}

@test "reload: timeouts and log level at once; sizes at the next start; mistakes not at all" {
	peer_start relp
	PORT=$PEER_PORT
	write_config
	started relp
	emit 20
	wait_for_flows
	reload 'reload: changed: nothing'

	write_config "[log]" "level = debug" "[flows]" "active_timeout = 1s" "max = 2048" "[spool]" "max_bytes = 2G"
	reload 'reload: changed: flows.active_timeout, log.level$'
	[ "$(log_count 'warning: reload: not changed while it runs: spool.max_bytes, flows.max; restart it for that')" -eq 1 ]
	wait_until "[ \$(log_count 'shipper: started as pid') -eq 1 ]"
	# The kernel knows of it: a flow that goes on is reported each second.
	sleep 8 | nc -s "127.$NET.255.1" 127.0.0.1 "$PEER_PORT" >/dev/null &
	KEEP_PIDS+=($!)
	EMITTED=$((EMITTED + 1)) # it has two ends, like the others
	wait_until "grep -a '\"destinationTransportPort\":$PEER_PORT,' '$T/received' | grep -ac '\"flowEndReason\":2' | grep -qv '^0'" 10

	printf '[output\nport = 1\n[flows]\nactive_timeout = never\n' >"$T/conf"
	reload 'reload: mistakes; going on with the configuration of before'
	[ "$(log_count 'error: reload: .*conf:1')" -eq 1 ]
	[ "$(log_count 'error: reload: .*never')" -eq 1 ]
	rm "$T/conf"
	reload 'reload: No such file or directory; going on'
	emit 20
	wait_for_flows
	daemon_stop
	peer_stop
	assert_accounts_balance
	[ "$(books output.relp waiting)" -eq 0 ]
}

@test "reload: again and again, under load" {
	local i

	peer_start relp
	PORT=$PEER_PORT
	write_config
	started relp
	emit 1500 1000 &
	EMITTED=1500
	for i in 1 2 3 4 5; do
		write_config "[output]" "connect_timeout = $((10 + i))s"
		reload 'reload: changed: output.connect_timeout$'
	done
	wait $!
	# A signal that comes while it stops changes nothing.
	kill -HUP "$DAEMON_PID"
	daemon_stop
	peer_stop
	assert_books 6000
	[ "$(log_count 'starting it again')" -eq 0 ]
}
