# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What the tests of mishaps share, beside common.bash: events whose number is
# known, and what became of each of them. Call faults_setup in setup().

faults_setup() {
	common_setup
	need_root
	EMITTED=0
	MORE_ARGS=()
	REPLACE_WHEN=
	take_net
	# shellcheck disable=SC2034 # common.bash reads it
	DAEMON_ARGS=(--flows-loopback yes --flows-networks "127.$NET.0.0/16" --journal-enable no
		--kernel-log no --output-timeout 5s --collector-stop-timeout 30s)
}

# emit N [RATE [ARG...]]: N connections more, each of them two flows: one of the
# client, one of the server.
emit() {
	local n=$1 rate=${2:-0}

	shift $(($# > 2 ? 2 : $#))
	"$PEERS/emit" --net "$NET" --first $((EMITTED + 1)) --count "$n" --rate "$rate" "$@"
	EMITTED=$((EMITTED + n))
}

# The emitted flows as the intake wrote them, one a line: "ADDRESS DIRECTION ID".
received_flows() {
	[ -e "$T/received" ] || return 0
	LC_ALL=C sed -n "s/.*\"sourceIPv4Address\":\"\(127\.$NET\.[0-9.]*\)\".*\"flowDirection\":\([01]\).*\"event\":{\"id\":\"\([^\"]*\)\".*/\1 \2 \3/p" \
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

# What a process holds, in KiB: 0 of one that is not there, or has not its name yet. Never nothing:
# a sum without a number ends the shell that adds it up, and with it all samples.
memory_kb() {
	local kb

	kb=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB$/\1/p' "/proc/$1/status" 2>/dev/null)
	echo "${kb:-0}"
}

# Collector and shipper, sampled for as long as the test lasts.
watch_memory() {
	(
		while kill -0 "$DAEMON_PID" 2>/dev/null; do
			echo $(($(memory_kb "$DAEMON_PID") + $(memory_kb "$(shipper_pid)")))
			sleep 0.2
		done
	) >>"$T/memory" 2>/dev/null 3>&- &
	KEEP_PIDS+=("$!")
}

assert_memory() {
	local most

	most=$(sort -n "$T/memory" | tail -n 1)
	echo "memory: ${most:-no} KiB at the most, in $(wc -l <"$T/memory") samples"
	[ "$most" -gt 1000 ]
	[ "$most" -lt 40960 ]
}

# misbehaves TRANSPORT N PER_CUT ARG...: N connections are made while the peer
# does what ARG... says: until it has done that often enough (--times), or until
# REPLACE_WHEN is true and one that behaves takes its place. None is missing, and
# each cut has made PER_CUT events at most come twice. MORE_ARGS are the daemon's.
misbehaves() {
	local transport=$1 n=$2 per_cut=$3

	shift 3
	CUTS=0
	peer_start "$transport" "$@"
	daemon_start "$transport" "${MORE_ARGS[@]}"
	watch_memory
	emit "$n"
	if [ -n "${REPLACE_WHEN:-}" ]; then
		wait_until "$REPLACE_WHEN" 30
		replace_peer "$transport"
	fi
	wait_for_flows 45
	daemon_stop
	peer_stop
	cat "$T/daemon.log"
	CUTS=$((CUTS + $(peer_summary misdeeds) + $(failures "$transport")))
	echo "cuts: $CUTS"
	assert_all_delivered
	assert_flows_arrived $((per_cut * CUTS))
	assert_memory
}

# By one that behaves. What the first one took stays taken.
replace_peer() {
	CUTS=$((CUTS + 1 + $(peer_summary misdeeds)))
	peer_stop KILL
	peer_start "$@"
}

# "! command" is no check in a test, as it never ends it; this is.
refute() {
	if "$@"; then
		echo "it should have failed: $*"
		return 1
	fi
}

# secret_in SECRET FILE...: is it in one of them, as it is or in the form that a
# proxy is told? Folders are searched with all that is in them.
secret_in() {
	local secret=$1

	shift
	grep -raF -e "$secret" -e "$(printf %s "$secret" | base64)" \
		-e "$(printf 'user:%s' "$secret" | base64)" -- "$@" 2>/dev/null
}

# Neither the processes nor what they leave behind have any of these SECRETs.
assert_secrets_unseen() {
	local secret pid

	# Asked for first: grep has the secret in its own arguments.
	ps -eww -o args= >"$T/ps"
	for secret; do
		for pid in $DAEMON_PID ${DAEMON_PID:+$(shipper_pid)}; do
			refute secret_in "$secret" "/proc/$pid/cmdline" "/proc/$pid/environ"
		done
		refute secret_in "$secret" "$T/ps" "$T/daemon.log" "$T/stdout" "$T/spool"
	done
}
