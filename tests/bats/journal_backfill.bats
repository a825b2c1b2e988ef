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
	sleep 2
	daemon_start https
	sleep 1
	daemon_stop
	daemon_start https
	sleep 1
	senders_stop
	senders_arrived
	daemon_stop
	peer_stop
	assert_all_delivered
	senders_check
	[ "$(backfilled | wc -l)" -ge 1000 ]
	grep -q 'lines of the journal, from' "$T/daemon.log"
}
