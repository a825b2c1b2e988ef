#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# 100,000 lines through a real journald, by all its protocols and from several
# senders at once: all arrive, each once, in each sender's order, with their
# priority, name, pid and text. And those that journald itself refuses.

# shellcheck disable=SC2016

bats_require_minimum_version 1.5.0
load ../lib/common
load ../lib/journal

setup() {
	need_root
	need_journald
	common_setup
	journal_alone
}

teardown() {
	[ -z "${CGROUP:-}" ] || rmdir "$CGROUP" 2>/dev/null || true
	common_teardown
}

sender() {
	"$PEERS/journal_sender" "$@"
}

ours() {
	grep -aE '"appname":"(logger|cat|native)[123]"' "$T/received"
}

# arrived TAG PID COUNT [SEVERITY]: exactly its lines, in order; without SEVERITY it is n modulo 8.
arrived() {
	sender lines "$1" 1 "$3" | awk -v pid="$2" -v fixed="${4:-}" \
		'{ print $1, pid, fixed == "" ? $2 % 8 : fixed, $0 }' >"$T/want"
	grep -a "^$1 " "$T/flat" >"$T/got" || true
	cmp "$T/want" "$T/got" || { diff "$T/want" "$T/got" | head -n 5; return 1; }
}

@test "100,000 journal lines from eight senders" {
	local -A pid
	local tag

	journald_start
	peer_start https
	# A ring that holds them all: how fast this machine is now does not matter.
	daemon_start https --flows-enable no --kernel-log no --ring-journal 64M
	for tag in logger1 logger2; do
		sender lines $tag 1 12500 prio >"$T/$tag"
		start_in_room logger --prio-prefix --size 4096 -t $tag -f "$T/$tag"
		pid[$tag]=$STARTED
	done
	sender lines logger3 1 10000 >"$T/logger3"
	start_in_room logger -p local2.warning -t logger3 --size 4096 <"$T/logger3"
	pid[logger3]=$STARTED
	for tag in cat1 cat2; do
		start_in_room systemd-cat -t $tag "$PEERS/journal_sender" lines $tag 1 15000 prio
		pid[$tag]=$STARTED
	done
	for tag in native1 native2; do
		start_in_room "$PEERS/journal_sender" native $tag 1 15000
		pid[$tag]=$STARTED
	done
	start_in_room systemd-cat -t cat3 -p err cat <(sender lines cat3 1 5000)
	pid[cat3]=$STARTED
	wait "${pid[@]}"
	wait_until '[ "$(peer_count)" -ge 100000 ] && [ "$(ours | wc -l)" -ge 100000 ]' 40
	logd_stop
	daemon_stop
	assert_all_delivered
	[ "$(books kernel.journal ring_full)" -eq 0 ]
	[ "$(books kernel.journal no_room)" -eq 0 ]
	[ "$(books kernel.journal seen)" -eq "$(books source.journal samples)" ]
	[ "$(peer_summary repeats)" -eq 0 ]
	peer_stop
	journal_lines >"$T/flat"
	for tag in logger1 logger2; do
		arrived $tag "${pid[$tag]}" 12500
	done
	arrived logger3 "${pid[logger3]}" 10000 4
	for tag in cat1 cat2 native1 native2; do
		arrived $tag "${pid[$tag]}" 15000
	done
	arrived cat3 "${pid[cat3]}" 5000 3
}

@test "thousands of lines in one read, over RELP" {
	journald_start
	peer_start relp
	daemon_start relp --flows-enable no --kernel-log no --ring-journal 64M
	in_room systemd-cat -t yes sh -c 'yes | head -n 100000'
	in_room systemd-cat -t last echo 'that was all'
	wait_until '[ "$(grep -c "^y$" "$T/received")" -ge 100000 ]' 60
	daemon_stop
	assert_all_delivered
	[ "$(books kernel.journal ring_full)" -eq 0 ]
	peer_stop
	[ "$(grep -c '^y$' "$T/received")" -eq 100000 ]
}

@test "what journald drops for its rate is sent all the same" {
	local kept

	for CGROUP in /sys/fs/cgroup/unified /sys/fs/cgroup /sys/fs/cgroup/systemd ''; do
		[ -e "$CGROUP/cgroup.procs" ] || continue
		CGROUP=$CGROUP/${T##*/}.service
		mkdir "$CGROUP" 2>/dev/null && break
		CGROUP=
	done
	[ -n "$CGROUP" ] || skip "needs a cgroup that journald takes for a unit's"
	JOURNAL_RATE_INTERVAL=1h JOURNAL_RATE_BURST=50 journald_start
	peer_start https
	daemon_start https --flows-enable no --kernel-log no
	sender lines limited 1 5000 >"$T/lines"
	in_room sh -c 'echo $$ >"$1/cgroup.procs" && exec logger -t limited --size 4096 -f "$2"' sh "$CGROUP" "$T/lines"
	wait_until '[ "$(grep -c limited "$T/received")" -ge 5000 ]'
	kept=$(in_room journalctl -q -t limited -o cat | wc -l)
	[ "$kept" -lt 4000 ] || { echo "journald kept $kept of 5000"; return 1; }
	daemon_stop
	assert_all_delivered
	peer_stop
	# Of several requests on their way, a later one may be there first.
	[ "$(journal_lines | sed -n 's/^limited [0-9]* [0-9]* //p' | cksum)" = "$(cksum <"$T/lines")" ]
}

@test "lines of which a part had no room in the ring say so, and are not joined to others" {
	local waits='until [ -e "$1" ]; do sleep .01; done'

	journald_start
	peer_start syslog
	daemon_start syslog --flows-enable no --kernel-log no --ring-journal 256k
	start_in_room systemd-cat -t middle sh -c 'printf "whole\nbegun,"
		wait_for() { '"$waits"'; }
		wait_for "$1/full" && printf "middle " && touch "$1/middle"
		wait_for "$1/again" && printf "ended\n"' sh "$T"
	# Three writes for each line, so that the ring may be full within one; more than it has room for.
	start_in_room systemd-cat -t halves sh -c 'i=0
		wait_for() { '"$waits"'; }
		begin() { printf "one "; printf "half %d," $i; }
		end() { printf "other %d\n" $i; i=$((i + 1)); }
		while [ $i -lt 20 ]; do begin; end; done
		wait_for "$1/fast"
		while [ $i -lt 3020 ]; do begin; end; done
		begin
		touch "$1/full"
		wait_for "$1/again"
		end
		while [ $i -lt 3040 ]; do begin; end; done' sh "$T"
	wait_until 'grep -q "one half 19,other 19$" "$T/received" && grep -q "^whole$" "$T/received"'
	kill -STOP "$DAEMON_PID"
	touch "$T/fast"
	wait_until '[ -e "$T/middle" ]'
	in_room systemd-cat -t mark echo x
	wait_until 'in_room journalctl -q -t mark -o cat | grep -q x' # journald has come so far
	kill -CONT "$DAEMON_PID"
	wait_until 'grep -q "ring was full" "$T/received"'
	touch "$T/again"
	wait_until 'grep -q "ended$" "$T/received" && grep -q "other 3039$" "$T/received"' 60
	logd_stop
	daemon_stop
	assert_all_delivered
	[ "$(books kernel.journal ring_full)" -gt 100 ]
	peer_stop
	grep -aqx 'begun,… \[7 bytes cut\]' "$T/received"
	grep -aqx '\[7 bytes lost\] …ended' "$T/received"
	run ! grep -aq begun,ended "$T/received"
	grep -a '^one \|other ' "$T/received" >"$T/halves"
	grep -av 'one half \([0-9]*\),other \1$' "$T/halves"
	# Whole, or a part that says of the other that it is lost.
	run ! grep -av -e '^one half \([0-9]*\),other \1$' -e '^one \(half [0-9]*,\)\?… \[[0-9]* bytes cut\]$' \
		-e '^\[[0-9]* bytes lost\] …other [0-9]*$' "$T/halves"
	grep -aq '^\[[0-9]* bytes lost\] …other 3020$' "$T/halves"
	tail -n 1 "$T/halves" | grep -q '^one half 3039,other 3039$'
}
