#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What is lost arrives as events: how much, when and why; and the sum of all of
# them is what the books say, also when the collector is killed in between.

load ../lib/common
load ../lib/faults

setup() {
	faults_setup
}

teardown() {
	common_teardown
}

# told NAME: the sum of all loss events of this name that arrived, each once.
told() {
	[ -z "$PEER_PID" ] || peer_summary received >/dev/null
	grep '"action":"events-lost"' "$T/received" 2>/dev/null | sort -u |
		jq -s --arg name "$1" '[.[] | select(.sekoia_ebpf.loss.name == $name) | .sekoia_ebpf.loss.events] | add // 0'
}

# The loss events of a name, one a line.
losses() {
	grep '"action":"events-lost"' "$T/received" | sort -u | jq -c --arg name "$1" 'select(.sekoia_ebpf.loss.name == $name)'
}

# The same number in the books of the last run.
lost() {
	books "loss.$1" lost
}

# More flows than a ring of 64 KiB holds, while nobody reads it.
burst() {
	emit 500 0
}

now_us() {
	echo "${EPOCHREALTIME/[.,]/}"
}

@test "a ring that is full: generated = delivered + lost, and the loss is an event" {
	local delivered from to event

	peer_start https
	daemon_start https --ring-flows 64k
	kill -STOP "$DAEMON_PID"
	from=$(now_us)
	burst
	to=$(now_us)
	kill -CONT "$DAEMON_PID"
	wait_until '[ "$(told kernel.flows.ring_full)" -gt 0 ]'
	daemon_stop
	peer_stop
	assert_all_delivered
	lost=$(books kernel.flows ring_full)
	[ "$lost" -gt 0 ]
	[ "$(told kernel.flows.ring_full)" -eq "$lost" ]
	[ "$(lost kernel.flows.ring_full)" -eq "$lost" ]
	[ "$(books loss.kernel.flows.ring_full told)" -eq "$lost" ]
	# Of the whole host: each flow that began was delivered, left out as ours, or is lost.
	[ "$(books kernel.flows submitted)" -eq $(($(books source.flows records) + $(books source.flows own) - $(books kernel.flows reports))) ]
	# Of this test's: what did not come is among the lost ones.
	delivered=$(received_flows | cut -d' ' -f1,2 | sort -u | wc -l)
	echo "$((2 * EMITTED)) generated, $delivered delivered, $lost lost on this host"
	[ "$delivered" -lt $((2 * EMITTED)) ]
	[ $((delivered + lost)) -ge $((2 * EMITTED)) ]
	# When, why, and what to do.
	event=$(losses kernel.flows.ring_full | head -n 1)
	jq -e '.event.kind == "event" and .event.provider == "sekoia-ebpf" and .event.outcome == "failure" and
		.log.level == "warning" and .host.hostname != "" and .agent.name == "sekoia-ebpf"' <<<"$event"
	jq -r .event.reason <<<"$event" |
		grep -E '^[0-9]+ flow events lost between .*Z and .*Z: the ring was full; ring.flows is 64 KiB, a larger one holds more$'
	[ "$(date -d "$(jq -r .event.start <<<"$event")" +%s%6N)" -ge "$from" ]
	[ "$(date -d "$(jq -r .event.start <<<"$event")" +%s%6N)" -le "$to" ]
}

@test "a collector that was killed: losses while it was away have their own times" {
	local from to event

	peer_start https
	daemon_start https --ring-flows 64k
	emit 5
	wait_for_flows
	daemon_kill
	from=$(now_us)
	burst
	to=$(now_us)
	sleep 2
	daemon_start https --ring-flows 64k
	wait_until '[ "$(told kernel.flows.ring_full)" -gt 0 ]'
	event=$(losses kernel.flows.ring_full | head -n 1)
	[ "$(date -d "$(jq -r .event.start <<<"$event")" +%s%6N)" -ge "$from" ]
	daemon_stop
	peer_stop
	[ "$(told kernel.flows.ring_full)" -eq "$(books kernel.flows ring_full)" ]
	[ "$(date -d "$(jq -r .event.start <<<"$event")" +%s%6N)" -le "$to" ]
}

@test "killed again and again: each loss is told, none twice" {
	local i

	peer_start https
	for i in 1 2 3 4; do
		daemon_start https --ring-flows 64k
		kill -STOP "$DAEMON_PID"
		burst
		kill -CONT "$DAEMON_PID"
		# At any moment: before the loss was seen, while it is told, or after that.
		sleep "0.$((i * 23))"
		daemon_kill
	done
	daemon_start https --ring-flows 64k
	daemon_stop
	peer_stop
	[ "$(books kernel.flows ring_full)" -gt 1000 ]
	[ "$(told kernel.flows.ring_full)" -eq "$(books kernel.flows ring_full)" ]
	# Told once a minute, and once for each start and stop.
	[ "$(losses kernel.flows.ring_full | wc -l)" -le 6 ]
}

@test "a spool at its limit: what it dropped is told when the intake is back" {
	peer_start https
	peer_stop KILL
	daemon_start https --spool-max-bytes 1M --spool-segment-bytes 64k
	emit 1000
	wait_until '[ "$(log_count "at its limit")" -eq 1 ]'
	peer_start https
	wait_until '[ "$(told output.https.dropped)" -gt 0 ]'
	daemon_stop
	assert_accounts_balance
	# What was dropped after the last event of that is told by the next collector.
	daemon_start https --spool-max-bytes 1M --spool-segment-bytes 64k
	daemon_stop
	peer_stop
	assert_accounts_balance
	[ "$(books output.https dropped)" -gt 0 ]
	[ "$(told output.https.dropped)" -eq "$(books output.https dropped)" ]
	losses output.https.dropped | jq -r .event.reason | grep -q 'the spool was at its limit; a larger spool.max_bytes holds more'
}

@test "an intake that refuses events: told, and the telling does not go on for ever" {
	peer_start https --reject-nth 50
	daemon_start https
	emit 500
	wait_until '[ "$(told output.https.rejected)" -gt 0 ]'
	daemon_stop
	[ "$(books output.https rejected)" -gt 0 ]
	peer_stop
	peer_start https
	daemon_start https
	daemon_stop
	peer_stop
	assert_accounts_balance
	[ "$(lost output.https.rejected)" -eq "$(books output.https rejected)" ]
	[ "$(books loss.output.https.rejected told)" -eq "$(books output.https rejected)" ]
	# A loss event may have been refused itself: each says how many there were in all.
	[ "$(losses output.https.rejected | jq -s 'map(.sekoia_ebpf.loss.total) | max')" -eq "$(books output.https rejected)" ] ||
		[ "$(told output.https.rejected)" -eq "$(books output.https rejected)" ]
	[ "$(losses output.https.rejected | wc -l)" -le 4 ]
}

@test "our own connections are not captured, and counted" {
	peer_start https --close-after 3
	daemon_start https
	emit 20
	wait_for_flows
	wait_until '[ "$("$SEKOIA" --config /dev/null --monitor-socket "$T/monitor" status --json | jq .source.flows.own)" -gt 0 ]'
	# The connections that end with the shipper.
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(books source.flows own)" -gt 0 ]
	[ "$(jq -r 'select(.process.command_line == "sekoia-ebpf: shipper shipper") | .event.id' "$T/received" | wc -l)" -eq 0 ]
}

@test "our own lines in the journal are not captured, and counted" {
	load ../lib/journal
	need_journald
	journal_alone
	peer_start https
	journald_start
	start_in_room systemd-cat -t sekoia-ebpf "$SEKOIA" --config /dev/null --output https \
		--intake-key-file "$T/key" --spool-dir "$T/spool" --collector-bpf-dir "$BPF_DIR" \
		--output-host localhost --output-port "$PEER_PORT" --tls-ca "$T/certs/ca.pem" \
		--monitor-socket "$T/monitor" --flows-enable no --kernel-log no --log-level debug
	DAEMON_PID=$STARTED
	wait_until '"$SEKOIA" --config /dev/null --monitor-socket "$T/monitor" status --json >"$T/status"'
	in_room logger -t others "a line of another program"
	wait_until 'grep -q "a line of another program" "$T/received"'
	# The shipper is started again: its lines, and the collector's about that.
	kill -KILL "$(pgrep -f '^sekoia-ebpf: shipper' -P "$DAEMON_PID")"
	in_room logger -t others "a second line"
	wait_until 'grep -q "a second line" "$T/received"'
	wait_until '"$SEKOIA" --config /dev/null --monitor-socket "$T/monitor" status --json | jq -e ".source.journal.own > 2"'
	kill -INT "$DAEMON_PID"
	wait "$DAEMON_PID"
	DAEMON_PID=
	peer_stop
	[ "$(jq -r 'select(.log.logger == "journal" and .log.syslog.appname == "sekoia-ebpf") | .event.id' "$T/received" | wc -l)" -eq 0 ]
	[ "$(grep -c '"action":"heartbeat"' "$T/received")" -ge 1 ]
}
