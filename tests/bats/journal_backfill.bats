# SPDX-License-Identifier: Apache-2.0
# What journald stored while nobody captured it is read back, and joined to what was
# captured: each line once, in its sender's order, whenever the collector came and went.
#
# shellcheck disable=SC2016,SC2034

load ../lib/common
load ../lib/journal
load ../lib/backfill

setup() {
	need_root
	need_journald
	command -v journalctl >/dev/null || skip "needs journalctl"
	common_setup
	journal_alone
	DAEMON_ARGS=(--flows-enable no --kernel-log no --ring-journal 64M)
}

teardown() {
	common_teardown
}

@test "stopped and started while senders write: each line once, in order" {
	backfill_room
	peer_start https
	daemon_start https
	senders_start
	wait_until '[ "$(grep -c steady "$T/received")" -ge 100 ]'
	daemon_stop
	sleep 1
	daemon_start https
	sleep 0.5
	daemon_stop
	daemon_start https
	sleep 0.5
	senders_stop
	senders_arrived
	daemon_stop
	peer_stop
	assert_all_delivered
	senders_check
	[ "$(backfilled | wc -l)" -ge 1000 ]
	grep -q 'lines of the journal, from' "$T/daemon.log"
}

# journald reads a stream now and then: several writes at once, of which a ring has room for some.
journald_stutters() {
	local i

	for i in $(seq "$1"); do
		kill -STOP "$LOGD_PID"
		sleep 0.005
		kill -CONT "$LOGD_PID"
		sleep 0.01
	done
}

@test "killed, with a ring that is too small for what comes: what had no room comes from the files" {
	local i

	DAEMON_ARGS=(--flows-enable no --kernel-log no --ring-journal 1M)
	backfill_room
	peer_start https
	daemon_start https
	senders_start
	wait_until '[ "$(grep -c steady "$T/received")" -ge 100 ]'
	for i in 1 2; do
		daemon_kill
		journald_stutters 50
		daemon_start https
		journald_stutters 25
	done
	senders_stop
	senders_arrived
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(books kernel.journal ring_full)" -gt 0 ]
	senders_check
	[ "$(backfilled | wc -l)" -ge 100 ]
}

@test "killed in the middle of a backfill: it goes on where it was" {
	local i

	backfill_room
	peer_start https
	daemon_start https
	in_room logger -t first 'the first one'
	wait_until 'grep -q "the first one" "$T/received"'
	daemon_stop
	for how in native syslog stdout; do
		echo 6000 >"$T/$how.count"
	done
	in_room "$PEERS/journal_sender" native steady-native 1 6000
	in_room "$PEERS/journal_sender" lines steady-syslog 1 6000 >"$T/lines"
	in_room logger -t steady-syslog --size 4096 -f "$T/lines"
	in_room systemd-cat -t steady-stdout "$PEERS/journal_sender" lines steady-stdout 1 6000
	in_room journalctl --sync
	for i in 1 2 3 4; do
		daemon_start https
		wait_until '[ "$(grep -ac "\"appname\":\"steady-" "$T/received")" -ge '$((i * 1000))' ]'
		daemon_kill
	done
	daemon_start https
	senders_arrived
	daemon_stop
	peer_stop
	assert_all_delivered
	senders_check
	[ "$(backfilled | grep -c steady)" -eq 18000 ]
}

@test "another boot, its journald, and a journal that was rotated meanwhile" {
	journal_room
	backfill_boot 11111111-2222-4333-8444-555555555555
	backfill_room
	peer_start https
	daemon_start https
	in_room logger -t boots 'captured'
	wait_until 'grep -q "captured" "$T/received"'
	daemon_stop
	in_room logger -t boots 'before the end'
	in_room journalctl --sync
	in_room journalctl -q --rotate
	in_room systemd-cat -t boots echo 'the end'
	in_room journalctl --sync
	logd_stop
	# One that nobody captured at all, and then this one.
	backfill_boot 66666666-2222-4333-8444-555555555555
	journald_start
	in_room logger -t boots 'in between'
	in_room journalctl --sync
	logd_stop
	backfill_boot 99999999-2222-4333-8444-555555555555
	journald_start
	in_room logger -t boots 'early'
	in_room journalctl --sync
	daemon_start https
	in_room logger -t boots 'now'
	wait_until 'grep -q "that nobody had captured" "$T/daemon.log"'
	wait_until 'grep -q "\"now\"" "$T/received"'
	daemon_stop
	peer_stop
	assert_all_delivered
	received_lines | awk '$2 == "boots"' | cut -d ' ' -f 3- | sort >"$T/got"
	diff "$T/got" - <<-END
		false captured
		false now
		true before the end
		true early
		true in between
		true the end
	END
}

@test "the first start: nothing, unless it is asked for; then no further back, and no more than allowed" {
	backfill_room
	in_room logger -t early 'before all'
	in_room journalctl --sync
	peer_start https
	daemon_start https
	in_room logger -t early 'captured'
	wait_until 'grep -q "captured" "$T/received"'
	daemon_stop
	run ! grep -q 'before all' "$T/received"
	rm -rf "$T/spool"
	in_room "$PEERS/journal_sender" native many 1 1000
	in_room journalctl --sync
	daemon_start https --journal-backfill-first 1h --journal-backfill-max 500
	wait_until 'grep -q "journal.backfill_max ended it" "$T/received"'
	daemon_stop
	peer_stop
	assert_all_delivered
	grep -q 'before all' "$T/received"
	[ "$(grep -c '"backfill":true' "$T/received")" -eq 500 ]
	[ "$(books source.backfill limited)" -eq 1 ]
}

@test "without journalctl nothing happens, and a line says so; a backfill of 0 asks for none" {
	backfill_room
	peer_start https
	daemon_start https
	in_room logger -t t 'one'
	wait_until 'grep -q "\"one\"" "$T/received"'
	daemon_stop
	in_room logger -t t 'two'
	in_room journalctl --sync
	: >"$T/nothing"
	in_room mount --bind "$T/nothing" "$(readlink -f /usr/bin/journalctl)"
	daemon_start https
	in_room logger -t t 'three'
	wait_until 'grep -q "\"three\"" "$T/received"'
	daemon_stop
	[ "$(grep -c 'there is no journalctl here' "$T/daemon.log")" -eq 1 ]
	in_room umount "$(readlink -f /usr/bin/journalctl)"
	in_room logger -t t 'four'
	in_room journalctl --sync
	daemon_start https --journal-backfill 0
	in_room logger -t t 'five'
	wait_until 'grep -q "\"five\"" "$T/received"'
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(received_lines | awk '$2 == "t"' | cut -d ' ' -f 3- | sort)" = $'false five\nfalse one\nfalse three' ]
}
