# shellcheck shell=bash disable=SC2016,SC2034
# SPDX-License-Identifier: Apache-2.0
# A collector that lives in the room of a journald of the test's own, so that
# the journal which it reads back is that one's; and senders that never stop. Load it after journal.

# The collector's mounts are the room's: what it calls /run is journald's.
backfill_room() {
	local real=$SEKOIA

	journald_start
	printf '#!/bin/sh\nexec nsenter -m -t %s -- %s "$@"\n' "$ROOM_PID" "$real" >"$T/sekoia"
	chmod 755 "$T/sekoia"
	SEKOIA=$T/sekoia
}

SENDERS=(native syslog stdout)

senders_start() {
	local how

	SENDER_PIDS=()
	for how in "${SENDERS[@]}"; do
		if [ "$how" = stdout ]; then
			start_in_room systemd-cat -t "steady-$how" "$PEERS/journal_sender" steady "$how" "steady-$how" "$T/$how.count"
		else
			start_in_room "$PEERS/journal_sender" steady "$how" "steady-$how" "$T/$how.count"
		fi
		SENDER_PIDS+=("$STARTED")
	done
}

senders_stop() {
	local how

	kill "${SENDER_PIDS[@]}"
	for how in "${SENDERS[@]}"; do
		wait_until '[ -s "$T/'"$how"'.count" ]' 10
	done
}

# All that was sent was read by journald, and has arrived.
senders_arrived() {
	local how n=0

	in_room journalctl --sync
	for how in "${SENDERS[@]}"; do
		n=$((n + $(cat "$T/$how.count")))
	done
	wait_until '[ "$(grep -ac "\"appname\":\"steady-" "$T/received")" -ge '$n' ]' "${1:-20}" || true
}

# In the order of their capture: "NUMBER NAME BACKFILLED TEXT", each event once.
received_lines() {
	jq -r 'select(.log.logger == "journal") |
		"\(.event.id | split("-")[1]) \(.log.syslog.appname) \(.sekoia_ebpf.journal.backfill // false) \(.event.reason)"' \
		"$T/received" | sort -n -s -u -k1,1
}

# Of what senders_check has looked at.
backfilled() {
	awk '$3 == "true"' "$T/flat"
}

# Each sender's lines: none missing, none twice, none wrong. Those of the journal's files and those of
# the tap are each in order: a backfill goes on beside the capture.
senders_check() {
	local how bad=0

	received_lines >"$T/flat"
	for how in "${SENDERS[@]}"; do
		"$PEERS/journal_sender" lines "steady-$how" 1 "$(cat "$T/$how.count")" >"$T/want"
		grep -a "^[0-9]* steady-$how " "$T/flat" | cut -d ' ' -f 4- | sort -s -n -k2,2 >"$T/got"
		if ! cmp -s "$T/want" "$T/got"; then
			diff -a "$T/want" "$T/got" | head -n 10
			bad=1
		fi
		grep -a "^[0-9]* steady-$how " "$T/flat" | awk '$5 + 0 < last[$3] { print "out of order: " $0; n++ }
			{ last[$3] = $5 + 0 } END { exit n > 0 }' | head -n 5
		[ "${PIPESTATUS[1]}" -eq 0 ] || bad=1
		echo "# $how: $(wc -l <"$T/want") sent, $(wc -l <"$T/got") received, $(grep -ac "^[0-9]* steady-$how true " "$T/flat") of them backfilled"
	done
	return $bad
}

# What the room takes for the boot that it is in.
backfill_boot() {
	echo "$1" >"$T/room/boot_id.new"
	cp "$T/room/boot_id.new" "$T/room/boot_id"
	in_room mountpoint -q /proc/sys/kernel/random/boot_id ||
		in_room mount --bind "$T/room/boot_id" /proc/sys/kernel/random/boot_id
}
