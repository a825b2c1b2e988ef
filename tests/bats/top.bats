#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# sekoia-ebpf top: the flows that go on, beside a collector and by itself; what it made is
# gone when it ends, and the terminal is as it was.
#
# shellcheck disable=SC2016

load ../lib/common
load ../lib/faults

setup() {
	faults_setup
}

teardown() {
	common_teardown
	for dir in "$BPF_DIR"-top-*; do
		[ ! -d "$dir" ] || "$SEKOIA" --config /dev/null --collector-bpf-dir "$dir" cleanup >/dev/null
		[ ! -d "$dir" ] || rmdir "$dir"
	done
}

top() {
	"$SEKOIA" --config /dev/null --collector-bpf-dir "$BPF_DIR" top "$@"
}

# A connection that goes on, with so many bytes sent; its client is NC_PID.
hold_connection() {
	nc -l -s "127.$NET.0.1" -p 4000 >"$T/got" 3>&- &
	KEEP_PIDS+=($!)
	wait_until '[ -n "$(ss -Hltn src 127.$NET.0.1:4000)" ]' 5
	mkfifo "$T/feed"
	nc -N -s "127.$NET.200.2" "127.$NET.0.1" 4000 <"$T/feed" >/dev/null 3>&- &
	NC_PID=$!
	KEEP_PIDS+=("$NC_PID")
	exec 9>"$T/feed"
	head -c "$1" /dev/zero >&9
	wait_until '[ "$(stat -c %s "$T/got")" -eq '"$1"' ]' 5
}

# Of this test's, wherever it runs.
top_pid() {
	pgrep -f "^$SEKOIA --config /dev/null --collector-bpf-dir $BPF_DIR top"
}

# The pins that captures of their own have left.
own_pins() {
	find /sys/fs/bpf -maxdepth 1 -name "${BPF_DIR##*/}-top-*" | wc -l
}

@test "top: beside a collector, which is not disturbed: the socket's own numbers" {
	peer_start https
	daemon_start https
	hold_connection 5000000
	top --once >"$T/top"
	cat "$T/top"
	awk 'length > 80 { print; wrong = 1 } END { exit wrong }' "$T/top"
	grep -Eq '^ +OUT/S +IN/S +OUT +IN +FLOWS +PROCESS$' "$T/top"
	grep -Eq "^ +0 B +0 B +5\.0 MB +0 B +1  nc\($NC_PID\)$" "$T/top"
	top peer total >"$T/top"
	grep -Eq "  127\.$NET\.0\.1$" "$T/top"
	grep -Eq "^ .* 5\.0 MB +1  127\.$NET\.200\.2$" "$T/top"
	top container flows >"$T/top"
	grep -Eq '  (\(no container\)|[0-9a-f]{12})$' "$T/top"
	[ "$(own_pins)" -eq 0 ]
	exec 9>&-
	wait "$NC_PID" || true
	emit 10
	wait_until '[ "$(flows_arrived)" -eq $((2 * EMITTED + 2)) ]'
	daemon_stop
	peer_stop
	# Nothing was reported for that, and nothing twice.
	assert_all_delivered
	[ "$(jq -s 'map(select(.source.ip == "127.'"$NET"'.200.2") | .source.bytes) | add' "$T/received")" -eq 10000000 ]
}

@test "top: by itself; its capture goes with it, however it ends" {
	"$SEKOIA" --config /dev/null --collector-bpf-dir "$BPF_DIR" top --once >"$T/top" 3>&- &
	KEEP_PIDS+=($!)
	wait_until '[ "$(own_pins)" -eq 1 ]' 10
	wait $!
	[ "$(own_pins)" -eq 0 ]
	grep -q ' flows\?, ' "$T/top"
	# One that was killed leaves its pins, until the next one comes.
	script -qec "'$SEKOIA' --config /dev/null --collector-bpf-dir '$BPF_DIR' top" /dev/null >"$T/screen" </dev/zero 3>&- &
	KEEP_PIDS+=($!)
	wait_until '[ "$(own_pins)" -eq 1 ]' 10
	wait_until 'grep -q FLOWS "$T/screen"' 10
	hold_connection 3000
	wait_until 'grep -qa "nc($NC_PID)" "$T/screen"' 5
	kill -KILL "$(top_pid)"
	[ "$(own_pins)" -eq 1 ]
	top >"$T/top"
	[ "$(own_pins)" -eq 0 ]
	exec 9>&-
}

# in_terminal HOW: top in a terminal of its own, until KEY or SIGNAL ends it.
in_terminal() {
	local pid
	cat >"$T/session" <<-END
		stty rows 10 cols 80
		stty -a >"$T/before"
		"$SEKOIA" --config /dev/null --collector-bpf-dir "$BPF_DIR" top
		echo "status \$?"
		stty -a >"$T/after"
	END
	rm -f "$T/keys"
	mkfifo "$T/keys"
	: >"$T/screen"
	script -qec "bash '$T/session'" /dev/null <"$T/keys" >"$T/screen" 2>&1 3>&- &
	KEEP_PIDS+=($!)
	exec 8>"$T/keys"
	wait_until 'grep -qa FLOWS "$T/screen"' 10
	pid=$(top_pid)
	case $1 in
	q)
		printf 'r' >&8
		wait_until 'grep -qa "by peer" "$T/screen"' 5
		printf 'cf' >&8
		wait_until 'grep -qa "by container, sorted by flows" "$T/screen"' 5
		printf q >&8
		;;
	*) kill "-$1" "$pid" ;;
	esac
	wait_until 'grep -qa "status [0-9]" "$T/screen"' 10
	exec 8>&-
}

@test "top: keys and signals; the terminal is as it was on every way out" {
	local how

	need_terminal
	peer_start https
	daemon_start https
	for how in q TERM INT HUP SEGV; do
		in_terminal "$how"
		wait_until '[ -s "$T/after" ]'
		cmp "$T/before" "$T/after"
		rm "$T/after"
		# The cursor is back, and the screen that was there before.
		grep -qaF "$(printf '\033[?25h\033[?1049l')" "$T/screen"
		[ "$how" = SEGV ] || grep -qa 'status 0' "$T/screen"
	done
	daemon_stop
	peer_stop
	assert_all_delivered
}

need_terminal() {
	command -v script >/dev/null || skip "needs script"
}

@test "top: a wrong word, and no root, are told" {
	run -2 top nonsense
	[[ $output = *'"nonsense" is no grouping and no order; allowed: process, peer, container; rate, total, flows'* ]]
	cp "$SEKOIA" "$T/sekoia-ebpf"
	run -1 setpriv --reuid=nobody --clear-groups "$T/sekoia-ebpf" --config /dev/null top
	[[ $output = *"only root may read the tables: sudo sekoia-ebpf top"* ]]
}
