# SPDX-License-Identifier: Apache-2.0
# PROCESSES (100,000) short processes, made on all CPUs as fast as they can be: each has its
# exec and its exit, once, with its arguments, its parent and its exit code. Says how many
# are missing, twice or wrong, and what the host made of it. The short version is the
# first test of tests/bats/kernel_events.bats.
#
# shellcheck disable=SC2016,SC2034

load ../lib/common

setup() {
	need_root
	common_setup
	EVENTS=yes
	TOKEN=run$RANDOM$RANDOM
}

teardown() {
	common_teardown
}

# judge ACTION: "lost twice wrong" of the lines "NUMBER PID PARENT CODE" in truth and in what came.
judge() {
	grep -aF "$TOKEN" "$T/received" | jq -r --arg action "$1" \
		'select(.event.action == $action and .process.args[0] == "sh" and .process.args[1] == "-c") |
			[.event.id, .process.args[4], .process.pid, .process.parent.pid, .process.exit_code // .process.args[5]] | map(tostring) | join(" ")' |
		sort -u | cut -d ' ' -f 2- |
		awk 'FNR == NR { want[$1] = $0; n++; next }
			seen[$1]++ { twice++; next }
			want[$1] != $0 { wrong++; print "wrong: " $0 ", not " want[$1] >"/dev/stderr" }
			{ got++ }
			END { print n - got, twice + 0, wrong + 0 }' "$T/want" -
}

@test "100,000 processes: each exec and each exit, once, with arguments and parent" {
	local n=${PROCESSES:-100000} from took action counts

	peer_start relp
	daemon_start relp --flows-enable no --journal-enable no --kernel-log no --ring-events 32M \
		--spool-max-bytes 4G --collector-stop-timeout 5m
	from=$SECONDS
	"$PEERS/procgen" "$TOKEN" "$n" "$T/truth"
	took=$((SECONDS - from))
	daemon_stop
	peer_stop
	assert_all_delivered
	cat "$T"/truth.* >"$T/want"
	[ "$(wc -l <"$T/want")" -eq "$n" ]
	for action in exec exit; do
		read -r -a counts < <(judge $action)
		echo "# $action: $n processes in $took s, lost ${counts[0]}, twice ${counts[1]}, wrong ${counts[2]}" >&3
		[ "${counts[*]}" = "0 0 0" ]
	done
	echo "# $(sed -n 's/^books: kernel.events //p' "$T/daemon.log" | tail -n 1)" >&3
	[ "$(books kernel.events ring_full)" -eq 0 ]
	[ "$(books kernel.events skipped)" -eq 0 ]
	[ "$(books kernel.events truncated)" -eq 0 ]
	[ "$(books source.events bad)" -eq 0 ]
}
