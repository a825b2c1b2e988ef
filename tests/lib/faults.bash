# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What the tests of mishaps share, beside common.bash: events whose number is
# known, and what became of each of them. Call faults_setup in setup().

faults_setup() {
	common_setup
	need_root
	EMITTED=0
	# The part of 127/8 whose flows are this test's.
	NET=$((RANDOM % 230 + 20))
	# shellcheck disable=SC2034 # common.bash reads it
	DAEMON_ARGS=(--flows-loopback yes --journal-enable no --kernel-log no --output-timeout 5s)
}

# emit N [RATE]: N connections more, each of them two flows: one of the client,
# one of the server.
emit() {
	"$PEERS/emit" --net "$NET" --first $((EMITTED + 1)) --count "$1" --rate "${2:-0}"
	EMITTED=$((EMITTED + $1))
}

# The emitted flows as the intake wrote them, one a line: "ADDRESS DIRECTION ID".
received_flows() {
	[ -e "$T/received" ] || return 0
	sed -n "s/.*\"sourceIPv4Address\":\"\(127\.$NET\.[0-9.]*\)\".*\"flowDirection\":\([01]\).*\"event\":{\"id\":\"\([^\"]*\)\".*/\1 \2 \3/p" \
		"$T/received"
}

# Distinct flows of this test that have arrived; the running intake is asked to write first.
flows_arrived() {
	[ -z "$PEER_PID" ] || peer_summary received >/dev/null
	received_flows | cut -d' ' -f1,2 | sort -u | wc -l
}

wait_for_flows() {
	wait_until "[ \$(flows_arrived) -eq $((2 * EMITTED)) ]" "${1:-30}"
}

# Nothing is missing, and each has kept one number: a repeat can be recognised.
# assert_flows_arrived [REPEATS]: at most so many came twice; 0 when not given.
assert_flows_arrived() {
	local flows ids lines

	flows=$(received_flows | cut -d' ' -f1,2 | sort -u | wc -l)
	ids=$(received_flows | sort -u | wc -l)
	lines=$(received_flows | wc -l)
	echo "flows: $((2 * EMITTED)) emitted, $flows arrived with $ids numbers in $lines lines"
	[ "$flows" -eq $((2 * EMITTED)) ]
	[ "$ids" -eq "$flows" ]
	[ $((lines - flows)) -le "${1:-0}" ]
}

# How many lines of the daemon's log have PATTERN.
log_count() {
	grep -Ec -- "$1" "$T/daemon.log" || true
}

# What people are told of an outage: the lines with a cause.
log_troubles() {
	log_count '(warning|error|retrying in|starting it again)'
}

# Connections of TRANSPORT that failed, as its cursor has them while it runs.
failures() {
	"$PEERS/cursor" "$T/spool" "$1" failures
}
