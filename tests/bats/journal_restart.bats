#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The collector is killed while lines come in pieces: each line is whole, and
# there once. And log daemons that come, go and stand beside each other.

# shellcheck disable=SC2016,SC2034,SC2030,SC2031

bats_require_minimum_version 1.5.0
load ../lib/common
load ../lib/journal

setup() {
	need_root
	need_journald
	common_setup
	journal_alone
	DAEMON_ARGS=(--flows-enable no --kernel-log no --ring-journal 64M)
}

teardown() {
	common_teardown
}

# is_read TEXT: by journald, with which what it has not read would die.
is_read() {
	wait_until 'in_room journalctl -q -o cat | grep -q "'"$1"'"'
}

@test "ten kills in the middle of lines: each is whole, once, in order" {
	local a b

	journald_start
	peer_start https
	daemon_start https
	stream one
	a=$STARTED
	stream two
	b=$STARTED
	for i in 1 2 3 4 5 6 7 8 9 10; do
		sleep 0."$i"
		daemon_kill
		[ $((i % 3)) -ne 0 ] || sleep 0.5
		daemon_start https
	done
	stream_end "$a" one
	stream_end "$b" two
	in_room systemd-cat -t last echo 'the last one'
	wait_until 'grep -q "the last one" "$T/received"'
	daemon_stop
	assert_all_delivered
	[ "$(books kernel.journal ring_full)" -eq 0 ]
	peer_stop
	journal_lines >"$T/flat"
	stream_check one
	stream_check two
	[ "$(cat "$T/one.count")" -ge 1000 ]
}

@test "kills while thousands of lines come in one read: each once" {
	local i written=0

	yes | head -n 20000 >"$T/yes"
	journald_start
	peer_start https
	daemon_start https
	for i in 02 05 07 10 12 15 20 25; do
		# A read of 8 KiB is 4096 lines, and several batches.
		start_in_room systemd-cat -t yes cat "$T/yes"
		written=$((written + 20000))
		sleep 0.$i
		daemon_kill
		wait "$STARTED"
		daemon_start https
	done
	in_room systemd-cat -t last echo 'the last one'
	wait_until 'grep -q "the last one" "$T/received"' 30
	daemon_stop
	assert_all_delivered
	[ "$(books kernel.journal ring_full)" -eq 0 ]
	peer_stop
	# What came twice came with the same number.
	[ "$(journal_lines | grep -c '^yes ')" -eq "$written" ]
}

@test "a journald that dies is followed to its successor, collector or not" {
	journald_start
	peer_start https
	daemon_start https
	in_room logger -t t 'to the first'
	is_read 'to the first'
	logd_stop KILL
	journald_start
	in_room logger -t t 'to the second'
	is_read 'to the second'
	daemon_kill
	logd_stop
	journald_start
	in_room logger -t t 'to the third'
	is_read 'to the third'
	daemon_start https
	in_room logger -t t 'to the third, again'
	wait_until 'grep -q "again" "$T/received"'
	daemon_stop
	assert_all_delivered
	peer_stop
	[ "$(journal_lines | grep '^t ' | cut -d ' ' -f 4-)" = $'to the first\nto the second\nto the third\nto the third, again' ]
}

@test "nobody takes a log daemon's place" {
	local first second

	need_rsyslogd imuxsock
	journald_start
	peer_start https
	daemon_start https
	first=$ROOM_PID
	# One that only looks at its configuration, and one that is not what it says.
	printf 'module(load="imuxsock")\n' >"$T/check.conf"
	rsyslogd -N1 -f "$T/check.conf" >/dev/null 2>&1 || true
	cp /bin/true "$T/systemd-journald"
	setpriv --reuid 65534 --regid 65534 --clear-groups "$T/systemd-journald"
	"$T/systemd-journald"
	in_room logger -t t 'after the others'
	# A container's own.
	mv "$T/room" "$T/first-room"
	ROOM_PID=
	journald_start
	second=$ROOM_PID
	in_room logger -t t 'in the second room'
	ROOM_PID=$first
	in_room logger -t t 'in the first room'
	ROOM_PID=$second
	logd_stop
	ROOM_PID=$first
	in_room logger -t t 'in the first room, alone'
	wait_until 'grep -q "alone" "$T/received"'
	daemon_stop
	assert_all_delivered
	peer_stop
	[ "$(journal_lines | grep '^t ' | cut -d ' ' -f 4-)" = $'after the others\nin the second room\nin the first room\nin the first room, alone' ]
}
