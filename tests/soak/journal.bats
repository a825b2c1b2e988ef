# SPDX-License-Identifier: Apache-2.0
# JOURNAL_LINES (1,000,000) lines through a real journald as fast as it reads, from
# eight senders by three protocols at once. Says how many were lost, wrong, twice
# and out of their sender's order; what is lost must be in the books.
#
# shellcheck disable=SC2016,SC2034

load ../lib/common
load ../lib/journal
load ../lib/backfill

setup() {
	need_root
	need_journald
	common_setup
	journal_alone
}

teardown() {
	common_teardown
}

sender() {
	"$PEERS/journal_sender" "$@"
}

# Prints "lost wrong twice unordered" of a sender whose lines 1 to N should be there.
judge() {
	sender lines "$1" 1 "$2" >"$T/want"
	grep -a "^$1 " "$T/received" | awk -v n="$2" '
		FNR == NR { want[$2] = $0; next }
		{
			if (want[$2] != $0) { wrong++; next }
			if (seen[$2]++) { twice++; next }
			if ($2 + 0 < last) unordered++
			last = $2 + 0
			got++
		}
		END { print n - got, wrong + 0, twice + 0, unordered + 0 }' "$T/want" -
}

@test "a million lines of mixed protocols, at full speed" {
	local n=$((${JOURNAL_LINES:-1000000} / 8)) pids=() tag from took counts total=(0 0 0 0)

	journald_start
	peer_start relp
	daemon_start relp --flows-enable no --kernel-log no --ring-journal 64M --spool-max-bytes 4G
	from=$SECONDS
	for tag in logger1 logger2; do
		sender lines $tag 1 $n prio >"$T/$tag"
		start_in_room logger --prio-prefix --size 4096 -t $tag -f "$T/$tag"
		pids+=("$STARTED")
	done
	for tag in cat1 cat2 cat3; do
		start_in_room systemd-cat -t $tag "$PEERS/journal_sender" lines $tag 1 $n prio
		pids+=("$STARTED")
	done
	for tag in native1 native2 native3; do
		start_in_room "$PEERS/journal_sender" native $tag 1 $n
		pids+=("$STARTED")
	done
	wait "${pids[@]}"
	# Datagrams that wait in a socket are not read yet: journald ends when it has them.
	in_room systemd-cat -t last echo 'that was all'
	wait_until 'grep -qax "that was all" "$T/received"' 300
	took=$((SECONDS - from))
	logd_stop
	daemon_stop
	peer_stop
	assert_all_delivered
	for tag in logger1 logger2 cat1 cat2 cat3 native1 native2 native3; do
		read -r -a counts < <(judge $tag $n)
		echo "# $tag: $n lines, lost ${counts[0]}, wrong ${counts[1]}, twice ${counts[2]}, out of order ${counts[3]}" >&3
		for i in 0 1 2 3; do
			total[i]=$((total[i] + counts[i]))
		done
	done
	echo "# $((8 * n)) lines in $took s: lost ${total[0]}, wrong ${total[1]}, twice ${total[2]}, out of order ${total[3]}; samples $(books kernel.journal seen), ring_full $(books kernel.journal ring_full)" >&3
	[ "${total[1]}" -eq 0 ]
	[ "${total[2]}" -eq 0 ]
	[ "${total[3]}" -eq 0 ]
	# A sample may hold many lines, but no line is lost without one.
	[ "$(books kernel.journal ring_full)" -gt 0 ] || [ "${total[0]}" -eq 0 ]
}

@test "BACKFILL_ROUNDS (12) stops and kills of the collector while three senders write" {
	local i

	DAEMON_ARGS=(--flows-enable no --kernel-log no --ring-journal 8M)
	backfill_room
	peer_start https
	daemon_start https
	senders_start
	for i in $(seq "${BACKFILL_ROUNDS:-12}"); do
		sleep 1
		# A ring that is full while the collector is away, one that is not, and none.
		case $((i % 3)) in
		0) daemon_kill && sleep 12 ;;
		1) daemon_kill ;;
		2) daemon_stop && sleep 2 ;;
		esac
		daemon_start https
	done
	senders_stop
	senders_arrived 120
	daemon_stop
	peer_stop
	assert_all_delivered
	senders_check >&3
	echo "# backfilled $(backfilled | wc -l); ring_full $(books kernel.journal ring_full)" >&3
}
