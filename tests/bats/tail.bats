#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# sekoia-ebpf tail: the records as they pass, those that were asked for, and what it
# missed; it holds nothing back, and ends when it should.
#
# shellcheck disable=SC2016

load ../lib/common
load ../lib/faults

setup() {
	faults_setup
}

teardown() {
	common_teardown
}

tail_begin() {
	"$SEKOIA" --config /dev/null --spool-dir "$T/spool" tail "$@" >"$T/tail" 2>"$T/tail.log" 3>&- &
	TAIL_PID=$!
	KEEP_PIDS+=("$TAIL_PID")
}

# tail_end SIGNAL: its status.
tail_end() {
	local status=0
	kill "-$1" "$TAIL_PID"
	wait "$TAIL_PID" || status=$?
	return $status
}

# It follows from the moment when it has the directory open.
tail_follows() {
	wait_until 'ls -l /proc/$TAIL_PID/fd 2>/dev/null | grep -q "$T/spool"' 5
}

# Numbers of the emitted flows in a file of JSON.
flows_in() {
	jq -r 'select(.sourceIPv4Address != null) | "\(.sourceIPv4Address) \(.flowDirection)"' "$1" | sort -u | wc -l
}

@test "tail: each record as it passes, once, a line of 80 columns or JSON; it holds nothing back" {
	peer_start https
	daemon_start https
	tail_begin --json
	tail_follows
	"$SEKOIA" --config /dev/null --spool-dir "$T/spool" tail flows "host=127.$NET.0.7" >"$T/people" 3>&- &
	KEEP_PIDS+=($!)
	wait_until 'ls -l /proc/'$!'/fd 2>/dev/null | grep -q "$T/spool"' 5
	emit 300 800
	wait_for_flows
	wait_until '[ "$(flows_in "$T/tail")" -eq 600 ]'
	wait_until '[ "$(grep -c . "$T/people")" -eq 2 ]'
	cat "$T/people"
	# As it is sent, each once, in order, none missing.
	tail_end INT
	[ ! -s "$T/tail.log" ]
	jq -r .event.id "$T/tail" | cut -d- -f2 >"$T/seqs"
	cmp "$T/seqs" <(seq "$(head -n 1 "$T/seqs")" "$(tail -n 1 "$T/seqs")")
	awk 'length > 80 { print; wrong = 1 } END { exit wrong }' "$T/people"
	grep -Eq "^[0-9:]{8} flow    127\.$NET\.0\.7:[0-9]+ -> 127\.$NET\.255\.254:[0-9]+ tcp 8 B/0 B( emit|$)" "$T/people"
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived
}

@test "tail: what went before it could look is told as that" {
	local seen gone

	peer_start https
	daemon_start https --spool-segment-bytes 64k
	tail_begin
	tail_follows
	emit 1
	wait_until '[ -s "$T/tail" ]'
	kill -STOP "$TAIL_PID"
	emit 600
	wait_for_flows
	# Delivered, and its files removed: the tick does that.
	wait_until '[ "$("$SEKOIA" --config /dev/null --spool-dir "$T/spool" spool cat | grep -c flow)" -lt 600 ]'
	kill -CONT "$TAIL_PID"
	emit 1
	wait_until 'grep -q "\.2\.90:" "$T/tail"'
	daemon_stop
	wait_until 'grep -q "the collector has stopped; waiting" "$T/tail.log"'
	tail_end TERM
	grep '^#' "$T/tail"
	grep -Eq '^# [0-9]+ to [0-9]+: gone before they could be shown$' "$T/tail"
	seen=$(grep -vc '^#' "$T/tail")
	gone=$(sed -n 's/^# \([0-9]*\) to \([0-9]*\): gone.*/\1 \2/p' "$T/tail" | awk '{ n += $2 - $1 + 1 } END { print n + 0 }')
	echo "$seen seen, $gone gone, of $(books spool appended)"
	[ "$gone" -gt 0 ]
	[ $((seen + gone)) -eq "$(books spool appended)" ]
	peer_stop
	assert_all_delivered
	assert_flows_arrived
}

@test "tail: a reader that goes away ends it; no collector, no spool, a wrong filter are told" {
	run -1 "$SEKOIA" --config /dev/null --spool-dir "$T/none" tail
	[[ $output = *"holds no spool: no collector has run with this configuration; start it"* ]]
	run -2 "$SEKOIA" --config /dev/null tail nonsense
	[[ $output = *'"nonsense" is no filter; allowed: journal, flows, kernel, self, process=NAME'* ]]
	peer_start https
	daemon_start https
	# The pipe's reader has its line, and goes; nothing more comes.
	"$SEKOIA" --config /dev/null --spool-dir "$T/spool" tail flows 2>"$T/tail.log" 3>&- > >(head -n 1 >"$T/one") &
	TAIL_PID=$!
	KEEP_PIDS+=("$TAIL_PID")
	tail_follows
	emit 1
	wait "$TAIL_PID"
	[ ! -s "$T/tail.log" ]
	wait_until '[ "$(grep -c " flow " "$T/one")" -eq 1 ]'
	wait_for_flows
	daemon_stop
	run -1 "$SEKOIA" --config /dev/null --spool-dir "$T/spool" tail
	[[ $output = *"no collector writes into $T/spool; start it"* ]]
	peer_stop
	assert_all_delivered
}
