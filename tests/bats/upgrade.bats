# SPDX-License-Identifier: Apache-2.0
# An upgrade, a downgrade, other sizes: the next collector finds a capture that is
# not its own, takes over from it while events come in, and reads it to its end. No
# flow and no line is lost, none comes twice, sums are exact, and the books are one.
# build/grown/sekoia-ebpf is "the next version": its samples and tables have grown.

# shellcheck disable=SC2016,SC2034,SC2030,SC2031

load ../lib/common
load ../lib/journal

setup() {
	common_setup
	need_root
	NEXT=$O/grown/sekoia-ebpf
	DAEMON_ARGS=(--flows-loopback yes --journal-enable no --kernel-log no --flows-active-timeout 1s
		--ring-flows 32M --collector-stop-timeout 40s)
}

teardown() {
	common_teardown
}

# with PROGRAM COMMAND...: what COMMAND starts is that version.
with() {
	local SEKOIA=$1

	shift
	"$@"
}

# Connections that come and go, some that stay, and UDP flows that go on.
traffic_start() {
	"$PEERS/tcpgen" --connections "${1:-2000}" --max-bytes 20000 --parallel 16 --pause-ms 20 --seed 7 \
		--mode normal,server-first,half-close,prefork --truth "$T/truth.tcp" 3>&- &
	TRAFFIC=("$!")
	"$PEERS/tcpgen" --connections 40 --max-bytes 200000 --parallel 20 --pause-ms 2000 --seed 8 \
		--mode normal,half-close --v4 127.0.0.2 --v6 "" --truth "$T/truth.long" 3>&- &
	TRAFFIC+=("$!")
	"$PEERS/udpgen" --flows 20 --max-packets 3000 --max-bytes 300 --seed 9 --truth "$T/truth.udp" 3>&- &
	TRAFFIC+=("$!")
	KEEP_PIDS+=("${TRAFFIC[@]}")
}

traffic_check() {
	local pid kind left_out starts

	for pid in "${TRAFFIC[@]}"; do
		wait "$pid"
	done
	daemon_stop
	peer_stop
	grep -a '^books: kernel' "$T/daemon.log" | tail -n 1
	assert_all_delivered
	[ "$(books kernel.flows ring_full)" -eq 0 ]
	[ "$(books kernel.flows no_room)" -eq 0 ]
	# One book for all of them: what was submitted to whichever ring is in the spool, once, but
	# our own connections, a few for each start.
	left_out=$(($(books kernel.flows submitted) + $(books kernel.flows reports) - $(books spool appended)))
	starts=$(grep -c 'connected to' "$T/daemon.log")
	echo "left out: $left_out in $starts starts"
	[ "$left_out" -ge 0 ]
	[ "$left_out" -le $((4 * starts + 4)) ]
	# Between an answer of the intake and a kill a batch may be sent twice; its number tells.
	[ "$(jq -r .event.id "$T/received" | sort -u | wc -l)" -eq "$(books spool appended)" ]
	for kind in tcp long udp; do
		"$PEERS/flowcheck" --sides 2 --allow-repeats --allow-missing "$(books kernel.flows missed)" \
			"$T/truth.$kind" "$T/received"
	done
	[ ! -e "$BPF_DIR" ]
}

took_over() {
	grep -c 'took over from another capture' "$T/daemon.log" || true
}

@test "upgrade and downgrade by SIGUSR2, and other sizes: each flow once, every byte" {
	peer_start https
	daemon_start https
	traffic_start
	sleep 0.5
	daemon_hand_over
	with "$NEXT" daemon_start https
	sleep 0.5
	daemon_hand_over
	daemon_start https
	sleep 0.2
	daemon_hand_over
	daemon_start https --ring-flows 16M --flows-max 30000
	sleep 0.2
	daemon_hand_over
	with "$NEXT" daemon_start https
	[ "$(took_over)" -eq 4 ]
	wait_until '[ "$(ls "$BPF_DIR" | wc -l)" -eq 1 ]'
	traffic_check
}

@test "upgrade and downgrade after SIGKILL: each flow once, every byte" {
	peer_start https
	daemon_start https
	traffic_start
	for _ in 1 2; do
		sleep 0.3
		daemon_kill
		sleep 0.2
		with "$NEXT" daemon_start https
		sleep 0.3
		daemon_kill
		daemon_start https
	done
	[ "$(took_over)" -eq 4 ]
	traffic_check
}

@test "the new version is killed at any moment of it: each flow once, every byte" {
	local round rounds=${UPGRADE_ROUNDS:-10}

	peer_start https
	daemon_start https
	traffic_start $((1000 + 200 * rounds))
	for ((round = 1; round <= rounds; round++)); do
		daemon_kill
		# The same version again, or another: the one that was replaced, perhaps.
		with "$( ((RANDOM % 3)) && echo "$NEXT" || echo "$SEKOIA")" daemon_begin https
		sleep "$(printf '0.%03d' $((RANDOM % 800)))"
		ls "$BPF_DIR"
	done
	daemon_kill
	with "$NEXT" daemon_start https
	[ "$(grep -c 'error:' "$T/daemon.log")" -eq 0 ]
	wait_until '[ "$(ls "$BPF_DIR" | wc -l)" -eq 1 ]'
	traffic_check
}

@test "lines that are being written at an upgrade are whole, once, in order" {
	local a b

	need_journald
	journal_alone
	DAEMON_ARGS=(--flows-enable no --kernel-log no --ring-journal 64M --collector-stop-timeout 40s)
	journald_start
	peer_start https
	daemon_start https
	stream one
	a=$STARTED
	stream two
	b=$STARTED
	for version in "$NEXT" "$SEKOIA" "$NEXT"; do
		sleep 0.3
		daemon_hand_over
		with "$version" daemon_start https
		sleep 0.2
		daemon_kill
		with "$([ "$version" = "$NEXT" ] && echo "$SEKOIA" || echo "$NEXT")" daemon_begin https
		sleep "$(printf '0.%03d' $((RANDOM % 500)))"
		daemon_kill
		with "$version" daemon_start https
	done
	stream_end "$a" one
	stream_end "$b" two
	in_room systemd-cat -t last echo 'the last one'
	wait_until 'grep -q "the last one" "$T/received"'
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(books kernel.journal ring_full)" -eq 0 ]
	journal_lines >"$T/flat"
	stream_check one
	stream_check two
	[ "$(cat "$T/one.count")" -ge 1000 ]
	[ ! -e "$BPF_DIR" ]
}

@test "what the last version held when it was turned off is read" {
	peer_start https
	daemon_start https
	"$PEERS/tcpgen" --connections 500 --seed 3 --truth "$T/truth" 3>&-
	daemon_kill
	"$PEERS/tcpgen" --connections 500 --seed 4 --truth "$T/truth.2" 3>&-
	cat "$T/truth.2" >>"$T/truth"
	# The next one wants no flows at all.
	with "$NEXT" daemon_start https --flows-enable no --journal-enable yes
	wait_until '[ "$(ls "$BPF_DIR" | wc -l)" -eq 1 ]'
	daemon_stop
	peer_stop
	assert_all_delivered
	"$PEERS/flowcheck" --sides 2 --allow-repeats "$T/truth" "$T/received"
}

@test "the disk fills up while a clean stop drains: the next start has it all" {
	local status=0

	mkdir "$T/disk"
	mount -t tmpfs -o size=12m,mode=755 tmpfs "$T/disk"
	DAEMON_ARGS+=(--spool-dir "$T/disk/spool" --collector-stop-timeout 2s)
	peer_start https
	daemon_start https
	# Flows that end with the capture: one report each, at the stop, and no room for all of them.
	"$PEERS/udpgen" --flows 3000 --max-packets 2 --v6 "" --truth "$T/truth" 3>&-
	dd if=/dev/zero of="$T/disk/filler" bs=4k count=2300 2>/dev/null
	daemon_stop || status=$?
	[ "$status" -eq 1 ]
	grep -q 'which collects no more; the next start takes it over' "$T/daemon.log"
	rm "$T/disk/filler"
	# The same version, with the same sizes: but nothing is attached any more.
	daemon_start https --collector-stop-timeout 40s
	"$PEERS/tcpgen" --connections 100 --seed 5 --truth "$T/truth.2" 3>&-
	daemon_stop
	peer_stop
	assert_all_delivered
	"$PEERS/flowcheck" --sides 2 --allow-repeats "$T/truth" "$T/received"
	"$PEERS/flowcheck" --sides 2 --allow-repeats "$T/truth.2" "$T/received"
	[ ! -e "$BPF_DIR" ]
}
