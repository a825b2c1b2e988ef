# SPDX-License-Identifier: Apache-2.0
# journal.rate_limit: a unit that floods is cut, the others are not, and what was
# cut is told in exact numbers, also by a collector that was killed meanwhile.
#
# shellcheck disable=SC2016,SC2034

load ../lib/common
load ../lib/journal

setup() {
	need_root
	need_journald
	common_setup
	journal_alone
	DAEMON_ARGS=(--flows-enable no --kernel-log no --ring-journal 32M
		--journal-rate-limit 200 --journal-rate-interval 3600s)
}

teardown() {
	common_teardown
}

# flood NAME N: lines "NAME 1" to "NAME N" of one identifier.
flood() {
	seq -f "$1 %.0f" "$2" | in_room systemd-cat -t "$1"
}

# passed NAME: how many of its lines arrived.
passed() {
	jq -r --arg n "$1" 'select(.log.syslog.appname == $n) | .event.id' "$T/received" | sort -u | wc -l
}

# suppressed: the sum of what was told of the unit of "noisy": its cgroup's, or else its name.
suppressed() {
	local unit

	unit=$(jq -r 'select(.log.syslog.appname == "noisy") | .service.name // "noisy"' "$T/received" | head -n 1)
	jq -r --arg u "$unit" 'select(.event.code == "journal.rate_limit" and .service.name == $u) |
		"\(.event.id) \(.event.reason)"' "$T/received" | sort -u |
		sed -n 's/^[^ ]* \([0-9]*\) lines of .* suppressed between .*Z and .*Z: journal.rate_limit is 200 in [0-9]* s$/\1/p' |
		awk '{ n += $1 } END { if (NR) print n }'
}

@test "a unit that floods is cut, and what was cut is told" {
	DAEMON_ARGS+=(--journal-rate-interval 2s)
	journald_start
	peer_start https
	daemon_start https
	# On a host that has units, both are of the same one: so the small one comes first.
	flood quiet 20
	flood noisy 5000
	# While it runs, and not only at the end.
	wait_until '[ -n "$(suppressed)" ]'
	daemon_stop
	peer_stop
	cat "$T/daemon.log"
	assert_all_delivered
	[ "$(passed quiet)" -eq 20 ]
	# The rest of the host may have units that are cut, too.
	[ $(($(passed noisy) + $(suppressed))) -ge 5000 ]
	[ "$(suppressed)" -gt 3000 ]
	[ "$(suppressed)" -le "$(books source.journal rate_limited)" ]
	# What was told is of a unit, has its name, and is ours.
	jq -e 'select(.event.code == "journal.rate_limit") | .service.name != null and .log.syslog.appname == "sekoia-ebpf"' \
		"$T/received" >/dev/null
}

@test "the numbers are exact after a kill" {
	local lines

	journald_start
	peer_start https
	daemon_start https
	flood noisy 2000
	wait_until '[ "$(passed noisy)" -eq 200 ]'
	# What it has not told yet is on the disk with the batch.
	wait_until 'ls "$T"/spool/journal-rates* >/dev/null 2>&1'
	wait_until 'in_room journalctl -q -o cat | grep -qx "noisy 2000"'
	daemon_kill
	flood noisy 1000
	daemon_start https
	flood noisy 500
	# What journald has not read is in no ring.
	wait_until '[ "$(in_room journalctl -q -o cat | grep -c "^noisy [0-9]*$")" -eq 3500 ]'
	daemon_stop
	peer_stop
	cat "$T/daemon.log"
	assert_all_delivered
	lines=$(jq -r 'select(.event.reason | test("^noisy [0-9]+$")) | .event.id' "$T/received" | sort -u | wc -l)
	echo "passed $lines, suppressed $(suppressed)"
	# Each line of the three floods passed, or is in one sum.
	[ $((lines + $(suppressed))) -eq 3500 ]
}
