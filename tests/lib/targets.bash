# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Several intakes at once, for output.host as a list. Load it after common and faults.
#
# What stands in single quotes is for wait_until.
# shellcheck disable=SC2016

# target_start N TRANSPORT [ARG...]: the Nth one; on the same port when it is started again.
target_start() {
	local n=$1 transport=$2

	shift 2
	certs
	rm -f "$T/ports.$n"
	"$PEERS/intake" "--$transport" "${TARGET_PORT[n]:-0}" --ports-file "$T/ports.$n" \
		--cert "$T/certs/server.pem" --tls-key "$T/certs/server.key" --key "$TEST_KEY" \
		--write "$T/received.$n" --summary "$T/summary.$n" "$@" >>"$T/peer.log" 2>&1 3>&- &
	TARGET_PID[n]=$!
	KEEP_PIDS+=("${TARGET_PID[n]}")
	wait_until "[ -s '$T/ports.$n' ]" 10
	TARGET_PORT[n]=$(sed -n "s/.*$transport=\([0-9]*\).*/\1/p" "$T/ports.$n")
}

# target_stop N [SIGNAL]
target_stop() {
	kill "-${2:-KILL}" "${TARGET_PID[$1]}"
	wait "${TARGET_PID[$1]}" 2>/dev/null || true
	unset "TARGET_PID[$1]"
}

# targets_received: what arrived anywhere is where received_flows looks.
targets_received() {
	local n

	for n in "${!TARGET_PID[@]}"; do
		rm -f "$T/summary.$n"
		kill -USR1 "${TARGET_PID[n]}"
		wait_until "[ -s '$T/summary.$n' ]" 10 || return 1
	done
	# One that was killed may have left half a line.
	for n in "$T"/received.[0-9]; do
		[ ! -e "$n" ] || { cat "$n"; echo; }
	done >"$T/received"
}

# All that was emitted has arrived at one of them.
wait_for_targets() {
	wait_until "targets_received; [ \$(flows_arrived) -eq $((2 * EMITTED)) ]" "${1:-60}"
}

# flows_at N: how many distinct flows of this test the Nth one has.
flows_at() {
	local saved=$T/received.$1

	[ -e "$saved" ] || { echo 0; return; }
	LC_ALL=C sed -n "s/.*\"sourceIPv4Address\":\"\(127\.$NET\.[0-9.]*\)\".*\"flowDirection\":\([01]\).*/\1 \2/p" \
		"$saved" | sort -u | wc -l
}

# cursor FIELD: of the running output, as status shows it.
cursor() {
	"$PEERS/cursor" "$T/spool" "$DAEMON_TRANSPORT" "$1"
}
