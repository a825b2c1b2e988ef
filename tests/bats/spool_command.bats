# SPDX-License-Identifier: Apache-2.0
# sekoia-ebpf spool: what waits is shown as it is, beside a daemon and in a copy,
# and damage is found where it was done.

load ../lib/common
load ../lib/faults

setup() {
	faults_setup
}

teardown() {
	common_teardown
}

spool() {
	"$SEKOIA" --config /dev/null --spool-dir "$T/spool" spool "$@"
}

# The intake is away: all that is emitted waits, in four batches or more.
spool_with() {
	peer_start https
	peer_stop KILL
	daemon_start https --collector-stop-timeout 0s --spool-segment-bytes 64k
	for _ in 1 2 3 4; do
		emit $(($1 / 4))
		wait_until '[ "$(emitted_in "$T/spool")" -eq $((2 * EMITTED)) ]'
	done
}

# Events of this test in DIR.
emitted_in() {
	spool cat "$1" | grep -c "\"source\":{\"ip\":\"127\.$NET\." || true
}

# flip FILE OFFSET
flip() {
	local byte
	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	printf '%b' "\\x$(printf %02x $((byte ^ 255)))" |
		dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

@test "ls, cat and verify beside a running daemon, then of a copy" {
	spool_with 100
	spool verify | tee "$T/out"
	grep -Eq "^$T/spool: [0-9]+ events in [0-9]+ files?, [0-9.]+k?M?: all whole$" "$T/out"
	spool ls | tee "$T/out"
	awk 'length > 80 { print; wrong = 1 } END { exit wrong }' "$T/out"
	grep -Eq '^ +FIRST +LAST +SIZE +JOURNAL +FLOWS +KERNEL +DROPPED +DAMAGE +AGE$' "$T/out"
	grep -Eq '^https +0 +[0-9]+ +0 +0 +0 +0' "$T/out"
	grep -Eq '^ +(backing off|connecting): ' "$T/out"
	daemon_stop || true
	cp -a "$T/spool" "$T/copy"
	chown -R nobody "$T/copy"
	# As its owner; nothing is written.
	find "$T/copy" -type f -exec md5sum {} + | sort >"$T/before"
	cp "$SEKOIA" "$T/sekoia-ebpf"
	setpriv --reuid=nobody --clear-groups "$T/sekoia-ebpf" --config /dev/null spool verify "$T/copy"
	setpriv --reuid=nobody --clear-groups "$T/sekoia-ebpf" --config /dev/null spool ls "$T/copy" >"$T/out"
	grep -q '^https ' "$T/out"
	find "$T/copy" -type f -exec md5sum {} + | sort | cmp - "$T/before"
	# Each event is a line: its number, its time, its class, and itself.
	spool cat >"$T/out"
	[ "$(wc -l <"$T/out")" -eq "$(books spool appended)" ]
	cut -f1 "$T/out" | cmp - <(seq "$(books spool appended)")
	cut -f4 "$T/out" | jq -e -c 'select(.event == null)' | wc -l | grep -qx 0
	[ "$(spool cat 101 | head -n 1 | cut -f1)" -eq 101 ]
	[ "$(spool cat "$T/copy" 101 | wc -l)" -eq $(($(books spool appended) - 100)) ]
}

@test "verify: each kind of damage is found, at its byte, and counted" {
	spool_with 100
	daemon_stop || true
	local n segment offset size header seq
	n=$(books spool appended)
	# The first one may have no more than what woke the collector.
	for segment in "$T"/spool/*.seg; do
		[ "$("$PEERS/spoolmap" "$segment" | grep -c '^record')" -lt 5 ] || break
	done
	read -r _ offset size seq < <("$PEERS/spoolmap" "$segment" | grep '^record' | sed -n 5p)
	flip "$segment" $((offset + size - 1))
	run -1 spool verify
	echo "$output"
	[ "${lines[0]}" = "${segment##*/}: byte $offset: event: does not match its sum" ]
	[ "${lines[1]}" = "${segment##*/}: 1 missing: $seq to $seq" ]
	[[ ${lines[2]} = *": $((n - 1)) events in "*": damaged in 1 place, 1 event missing" ]]
	[ "${#lines[@]}" -eq 3 ]
	flip "$segment" $((offset + size - 1))
	spool verify
	# The head of a batch: its events are found without it.
	read -r _ offset _ < <("$PEERS/spoolmap" "$segment" | grep '^batch' | head -n 1)
	flip "$segment" $((offset + 20))
	run -1 spool verify
	[ "${lines[0]}" = "${segment##*/}: byte $offset: head of a batch: does not match its sum" ]
	[[ ${lines[1]} = *": $n events in "*": damaged in 1 place, 0 events missing" ]]
	flip "$segment" $((offset + 20))
	flip "$segment" 3
	run -1 spool verify
	[ "${lines[0]}" = "${segment##*/}: byte 0: head of the file: does not match its sum" ]
	flip "$segment" 3
	# A file that is gone.
	segment=$(find "$T/spool" -name '*.seg' | sort | sed -n 2p)
	seq=$("$PEERS/spoolmap" "$segment" | grep -c ^record)
	mv "$segment" "$T/gone"
	run -1 spool verify
	[[ ${lines[0]} = *": $seq missing: "* ]]
	mv "$T/gone" "$segment"
	# A torn tail is none: what was in it comes again.
	segment=$(find "$T/spool" -name '*.seg' | sort | tail -n 1)
	size=$(stat -c %s "$segment")
	"$PEERS/spoolmap" "$segment" | awk '$1 == "batch" { print $2, $3 }' | head -n 1 >"$T/batch"
	read -r offset header <"$T/batch"
	dd if="$segment" bs=1 skip="$offset" count="$header" status=none >>"$segment.tail"
	cat "$segment.tail" >>"$segment"
	rm "$segment.tail"
	run -0 spool verify
	echo "$output"
	[ "${lines[0]}" = "${segment##*/}: byte $size: a batch that was never complete, $header bytes" ]
}

@test "what was dropped is shown as that" {
	spool_with 12
	daemon_stop || true
	daemon_start https --collector-stop-timeout 0s --spool-max-bytes 1M --spool-segment-bytes 64k
	emit 1200
	wait_until '[ "$(log_count "at its limit")" -ge 1 ]'
	daemon_stop || true
	spool verify
	spool cat >"$T/out"
	grep -Eq '^# 1 to [0-9]+: dropped: [0-9]+ flow$' "$T/out"
	spool ls | tee "$T/out"
	[ "$(awk '$1 == "https" { print $6 }' "$T/out")" -eq "$(books output.https dropped)" ]
	[ "$(awk '$1 == "https" { print $3 }' "$T/out")" -eq "$(books output.https waiting)" ]
	[ "$(books output.https dropped)" -gt 100 ]
	[ "$(books output.https dropped)" -eq "$(books output.https dropped_flows)" ]
	assert_accounts_balance
}

@test "mistakes are told with the way out" {
	run -2 spool
	[[ $output = *"spool: takes ls [DIR], cat [DIR] [FIRST-NUMBER], or verify [DIR]"* ]]
	run -2 spool ls "$T" 12
	run -1 spool ls "$T/none"
	[[ $output = *"spool $T/none: No such file or directory; name the directory: sekoia-ebpf spool ls DIR"* ]]
	run -1 spool verify /etc
	[[ $output = *'spool /etc: holds no spool, or its file "spool" is damaged'* ]]
}
