# SPDX-License-Identifier: Apache-2.0
# Which journal lines are sent: by unit, by name, by severity. What is left out is
# counted, to the line.
#
# shellcheck disable=SC2016,SC2034

bats_require_minimum_version 1.5.0
load ../lib/common
load ../lib/journal

setup() {
	need_root
	need_journald
	common_setup
	journal_alone
	DAEMON_ARGS=(--flows-enable no --kernel-log no)
}

teardown() {
	common_teardown
}

# say NAME PRIORITY TEXT: one line, through /dev/log.
say() {
	in_room logger -t "$1" -p "user.$2" "$3"
}

# the_texts: what arrived of the names that this test uses, in order.
the_texts() {
	journal_lines | grep -aE '^(wanted|spoken|other|last)' | cut -d ' ' -f 4-
}

# run_with ARG...: three names at two priorities, and a last line that always comes.
run_with() {
	journald_start
	peer_start https
	daemon_start https "$@"
	say wanted info one
	say wanted-too debug two
	say other info three
	say other err four
	say last err five
	wait_until 'in_room journalctl -q -o cat | grep -qx five'
	daemon_stop
	peer_stop
	assert_all_delivered
	the_texts >"$T/texts"
}

@test "by name: only these" {
	run_with --journal-identifiers 'wanted*, last'
	[ "$(cat "$T/texts")" = "$(printf 'one\ntwo\nfive')" ]
	# The rest of the host speaks, too: at least ours are in the book.
	[ "$(books source.journal filtered)" -ge 2 ]
}

@test "by name: all but these" {
	run_with --journal-identifiers '!other, !wanted-*'
	[ "$(cat "$T/texts")" = "$(printf 'one\nfive')" ]
	[ "$(books source.journal filtered)" -ge 3 ]
}

@test "by severity" {
	run_with --journal-max-severity warning
	[ "$(cat "$T/texts")" = "$(printf 'four\nfive')" ]
	[ "$(books source.journal filtered)" -ge 3 ]
}

# A unit that is in no control group here: as root's stream announces it.
announce() {
	printf '%s\n%s\n30\n0\n0\n0\n0\n%s\n' "$1" "$2" "$3" |
		in_room "$PEERS/journal_sender" stream /run/systemd/journal/stdout
}

@test "the unit of a sender that has ended, and a user's own" {
	local root

	for root in /sys/fs/cgroup/unified /sys/fs/cgroup; do
		[ -e "$root/cgroup.controllers" ] && break
	done
	[ -e "$root/cgroup.controllers" ] || skip "needs cgroup v2"
	CGROUP=$root/${T##*/}.slice
	mkdir -p "$CGROUP/user@1000.service/app.slice/ended.service" "$CGROUP/ended-too.service"
	journald_start
	peer_start https
	daemon_start https
	# They are gone when their line is read: journald is stopped meanwhile.
	kill -STOP "$LOGD_PID"
	in_room sh -c 'echo $$ >"$1/cgroup.procs" && exec logger -t spoken one' sh "$CGROUP/user@1000.service/app.slice/ended.service"
	in_room sh -c 'echo $$ >"$1/cgroup.procs" && exec logger -t spoken two' sh "$CGROUP/ended-too.service"
	kill -CONT "$LOGD_PID"
	wait_until '[ "$(grep -c "\"appname\":\"spoken\"" "$T/received")" -eq 2 ]'
	daemon_stop
	peer_stop
	assert_all_delivered
	rmdir "$CGROUP/user@1000.service/app.slice/ended.service" "$CGROUP/user@1000.service/app.slice" \
		"$CGROUP/user@1000.service" "$CGROUP/ended-too.service" "$CGROUP"
	[ "$(jq -r 'select(.log.syslog.appname == "spoken") | "\(.event.reason) \(.service.name)"' "$T/received" | sort)" = $'one ended.service\ntwo ended-too.service' ]
}

@test "by unit" {
	local own

	journald_start
	peer_start https
	# Where this test runs, all that it starts may be of one unit: which counts more.
	own=$(sed -n 's/^0:://p' /proc/self/cgroup | grep -oE '[^/]+\.(service|scope)' | head -n 1 || true)
	daemon_start https --journal-units "foo, session-*.scope${own:+, $own}"
	announce wanted foo.service one
	announce other bar.service two
	announce last foo.service five
	wait_until 'in_room journalctl -q -o cat | grep -qx five'
	daemon_stop
	peer_stop
	assert_all_delivered
	the_texts >"$T/texts"
	cat "$T/texts"
	if [ -n "$own" ]; then
		[ "$(cat "$T/texts")" = "$(printf 'one\ntwo\nfive')" ]
	else
		[ "$(cat "$T/texts")" = "$(printf 'one\nfive')" ]
		[ "$(books source.journal filtered)" -ge 1 ]
	fi
}

@test "a list that is none is refused, and says what is allowed" {
	certs
	daemon_refuses 2 https --journal-units 'my service'
	grep -q 'journal-units.*is not a list of units; allowed: ssh' "$T/daemon.log"
	rm "$T/daemon.log"
	daemon_refuses 2 https --journal-max-severity loud
	grep -q 'emergency.*debug' "$T/daemon.log"
}

@test "an empty line is counted, too" {
	journald_start
	peer_start https
	daemon_start https
	printf '<13>' | in_room "$PEERS/journal_sender" datagram /dev/log
	printf 'MESSAGE=\nPRIORITY=5\n' | in_room "$PEERS/journal_sender" datagram /run/systemd/journal/socket
	printf '\n\nfive\n' | in_room systemd-cat -t last
	wait_until 'in_room journalctl -q -o cat | grep -qx five'
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(the_texts)" = five ]
	[ "$(books source.journal filtered)" -ge 4 ]
}
