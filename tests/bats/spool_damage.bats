# SPDX-License-Identifier: Apache-2.0
# Spool files that were damaged while nobody looked: what is lost is counted to
# the event, everything else is delivered, once.

load ../lib/common
load ../lib/faults

setup() {
	faults_setup
}

teardown() {
	common_teardown
}

# Events that wait, in four batches or more: the intake is away, the collector has stopped.
# wait_in_spool STOP [ARG...]: STOP is stop or kill.
wait_in_spool() {
	local stop=$1

	shift
	peer_start https
	peer_stop KILL
	daemon_start https --collector-stop-timeout 0s "$@"
	for _ in 1 2 3 4; do
		emit 25
		wait_until '[ "$(cat "$T"/spool/*.seg | grep -ao "\"source\":{\"ip\":\"127\.$NET\.[0-9.]*\"" | wc -l)" -eq $((2 * EMITTED)) ]'
	done
	if [ "$stop" = kill ]; then
		daemon_kill
		wait_until '[ -z "$(fuser "$T"/spool/cursors/* 2>/dev/null)" ]'
	else
		daemon_stop || true
	fi
}

# segment [N]: the oldest one, or the Nth.
segment() {
	find "$T/spool" -name '*.seg' | sort | sed -n "${1:-1}p"
}

last_segment() {
	find "$T/spool" -name '*.seg' | sort | tail -n 1
}

# flip FILE OFFSET: all bits of one byte.
flip() {
	local byte

	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	printf '%b' "\\x$(printf %02x $((byte ^ 255)))" |
		dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# The record of SEGMENT that holds TEXT for the first time: "record OFFSET SIZE SEQ".
record_with() {
	local at

	at=$(grep -abo -- "$2" "$1" | head -n 1 | cut -d: -f1)
	"$PEERS/spoolmap" "$1" | awk -v at="$at" '$1 == "record" && $2 <= at && at < $2 + $3'
}

# deliver DAMAGED: the intake comes back; so many are lost, all others arrive once.
# Those of this test that are missing are left in MISSING.
deliver() {
	peer_start https
	daemon_start https
	wait_until '[ "$("$PEERS/cursor" "$T/spool" https acked)" -gt 0 ]'
	daemon_stop
	peer_stop
	echo "damaged: $(books output.https damaged) of $(books spool appended), wanted $1"
	assert_accounts_balance
	[ "$(books output.https damaged)" -eq "$1" ]
	[ "$(books output.https dropped)" -eq 0 ]
	[ "$(books output.https waiting)" -eq 0 ]
	[ "$(peer_summary repeats)" -eq 0 ]
	[ "$(received_flows | sort | uniq -d | wc -l)" -eq 0 ]
	MISSING=$((2 * EMITTED - $(received_flows | cut -d' ' -f1,2 | sort -u | wc -l)))
}

@test "a byte flipped in one record: one event is lost, and it is that one" {
	wait_in_spool stop
	local record seq
	record=$(record_with "$(segment)" "\"ip\":\"127.$NET.0.57\"")
	read -r _ offset size seq <<<"$record"
	flip "$(segment)" $((offset + size / 2))
	deliver 1
	[ "$MISSING" -eq 1 ]
	[ "$(received_flows | grep -c "^127.$NET.0.57 ")" -eq 1 ]
	received_flows >"$T/flows"
	run ! grep -q -- "-$seq\$" "$T/flows"
}

@test "bytes flipped in three records, one of them in its header" {
	wait_in_spool stop
	local address where
	for address in 11 44 77; do
		record_with "$(segment)" "\"ip\":\"127.$NET.0.$address\""
	done >"$T/records"
	while read -r where; do
		flip "$(segment)" "$where"
	done < <(awk 'NR == 2 { print $2 + 9; next } { print $2 + $3 - 1 }' "$T/records")
	deliver 3
	[ "$MISSING" -eq 3 ]
}

@test "the headers of batches flipped: their records are found without them" {
	wait_in_spool stop
	local where
	"$PEERS/spoolmap" "$(segment)" | awk '$1 == "batch" && $6 { print $2 + 20 }' >"$T/batches"
	[ "$(wc -l <"$T/batches")" -ge 4 ]
	while read -r where; do
		flip "$(segment)" "$where"
	done < <(sed -n '1p;3p;$p' "$T/batches")
	deliver 0
	[ "$MISSING" -eq 0 ]
}

@test "the header of the segment flipped" {
	wait_in_spool stop
	flip "$(segment)" 5
	flip "$(segment)" 30
	deliver 0
	[ "$MISSING" -eq 0 ]
}

@test "the last batch cut short: exactly its events are lost, when the rings are gone" {
	wait_in_spool stop
	local offset header body n segment
	segment=$(last_segment)
	read -r _ offset header body _ n < <("$PEERS/spoolmap" "$segment" | awk '$1 == "batch" && $6' | tail -n 1)
	[ "$n" -ge 1 ]
	truncate -s $((offset + header + body / 2)) "$segment"
	deliver "$n"
	[ "$(books spool torn_bytes)" -ge $((header + body / 2)) ]
}

@test "a file cut short, with others behind it: its tail is lost, and nothing else" {
	wait_in_spool stop --spool-segment-bytes 64k
	local segment lost size
	[ "$(find "$T/spool" -name '*.seg' | wc -l)" -ge 3 ]
	segment=$(segment 2)
	size=$(stat -c %s "$segment")
	lost=$("$PEERS/spoolmap" "$segment" | awk -v cut=$((size / 2)) '$1 == "record" && $2 + $3 > cut' | wc -l)
	[ "$lost" -ge 5 ]
	truncate -s $((size / 2)) "$segment"
	deliver "$lost"
}

@test "a file deleted" {
	wait_in_spool stop --spool-segment-bytes 64k
	local segment lost
	segment=$(segment 2)
	lost=$("$PEERS/spoolmap" "$segment" | grep -c '^record')
	rm "$segment"
	deliver "$lost"
}

@test "a torn tail after a kill -9: its events come from the rings, none is lost, none comes twice" {
	wait_in_spool kill
	local segment offset header body n
	segment=$(last_segment)
	# These are in the rings alone.
	emit 50 400
	# What a write leaves that was cut by the kill: a good header, and not all of its body.
	read -r _ offset header body _ n < <("$PEERS/spoolmap" "$segment" | awk '$1 == "batch" && $6' | tail -n 1)
	dd if="$segment" bs=1 skip="$offset" count=$((header + body * 2 / 3)) status=none >"$T/torn"
	cat "$T/torn" >>"$segment"
	deliver 0
	[ "$MISSING" -eq 0 ]
	[ "$(books spool torn_bytes)" -eq "$(stat -c %s "$T/torn")" ]
	[ "$(log_count 'resumed from the kernel')" -eq 1 ]
}

@test "junk behind the last batch after a kill -9: cut, and the rings go on" {
	wait_in_spool kill
	emit 50 400
	head -c 100 /dev/urandom >>"$(last_segment)"
	deliver 0
	[ "$MISSING" -eq 0 ]
	[ "$(books spool torn_bytes)" -eq 100 ]
}

@test "the identity file zeroed: the segments say whose they are" {
	wait_in_spool stop
	dd if=/dev/zero of="$T/spool/spool" bs=4096 count=1 conv=notrunc status=none
	deliver 0
	[ "$MISSING" -eq 0 ]
}

@test "the cursor damaged: sent again from the oldest event, under the same numbers" {
	wait_in_spool stop
	head -c 4096 /dev/urandom >"$T/spool/cursors/https"
	deliver 0
	[ "$MISSING" -eq 0 ]
}
