# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Bursts of the kernel's log. Load it behind common; the test takes $TAG and has the
# log to itself (journal_alone).
#
# shellcheck disable=SC2016,SC2154

# kmsg_write WRITER N: lines "WRITER NUMBER TAG" as fast as it goes. Each has an open of its own, or
# the kernel would take ten of them.
kmsg_write() {
	python3 -c '
import os, sys
writer, n, tag = sys.argv[1], int(sys.argv[2]), sys.argv[3]
for i in range(1, n + 1):
    fd = os.open("/dev/kmsg", os.O_WRONLY)
    os.write(fd, b"<14>%s %d %s\n" % (writer.encode(), i, tag.encode()))
    os.close(fd)
' "$1" "$2" "$TAG"
}

# kmsg_burst N: two writers at once. What has come and what was counted as lost is what was written;
# nothing came twice, or before what its writer wrote before it.
kmsg_burst() {
	local n=$(($1 / 2)) from took came lost twice unordered pids=() w

	peer_start relp
	daemon_start relp --flows-enable no --journal-enable no
	from=$(date +%s%N)
	for w in one two; do
		kmsg_write $w "$n" &
		pids+=($!)
	done
	wait "${pids[@]}"
	took=$((($(date +%s%N) - from) / 1000000))
	TAG=$TAG-end kmsg_write last 1
	wait_until 'grep -aq "last 1 $TAG-end" "$T/received"' 60
	daemon_stop
	assert_all_delivered
	peer_stop
	lost=$(books source.kernel_log lost)
	read -r came twice unordered < <(grep -aoE "(one|two) [0-9]+ $TAG" "$T/received" | awk '
		seen[$1, $2]++ { twice++; next }
		{ came++; if ($2 + 0 < last[$1]) unordered++; last[$1] = $2 + 0 }
		END { print came + 0, twice + 0, unordered + 0 }')
	echo "# $((2 * n)) lines in $took ms: $came came, $lost counted as lost, $twice twice, $unordered out of order" >&3
	[ "$twice" -eq 0 ]
	[ "$unordered" -eq 0 ]
	# Lines of others may have been lost, too.
	[ $((2 * n - came)) -le "$lost" ]
	[ $((2 * n - came)) -ge $((lost - 100)) ]
}
