# shellcheck shell=bash disable=SC2016,SC2034,SC2153,SC2119
# SPDX-License-Identifier: Apache-2.0
# The faults that need one machine: processes killed, an intake that misbehaves,
# certificates, disks. (The network:
# cases_net.bash. Power and clock need another machine: tests/vm.)

# ------------------------------------------------------------------ processes killed

# The shipper first: it must not see its collector go and end by itself.
kill_both() {
	local shipper

	shipper=$(shipper_pid)
	[ -z "$shipper" ] || kill -STOP "$shipper"
	kill -KILL "$DAEMON_PID" ${shipper:+"$shipper"} 2>/dev/null || true
	wait "$DAEMON_PID" 2>/dev/null || true
	wait_until "! kill -0 ${shipper:-$DAEMON_PID} 2>/dev/null"
}

# Of the collector, the shipper, or both, while flows and journal lines come in.
case_kills() {
	local times=${LAB_COUNT:-$(of 20 200)} i victims=(0 0 0) pid

	need_journald
	journal_alone
	journald_start
	DAEMON_ARGS=(--flows-loopback yes --flows-networks "127.$NET.0.0/16" --kernel-log no --output-timeout 5s --collector-stop-timeout 30s
		--journal-schema ecs --ring-journal 64M --ring-flows 64M)
	intake_start
	sender_start
	generate $((times * 300)) 600
	say_lines $((times * 300)) 600 /dev/log
	for ((i = 1; i <= times; i++)); do
		random_ms 400
		case $((RANDOM % 3)) in
		0)
			victims[0]=$((victims[0] + 1))
			daemon_kill
			random_ms 200
			sender_start
			;;
		1)
			victims[1]=$((victims[1] + 1))
			pid=$(shipper_pid)
			[ -z "$pid" ] || kill -KILL "$pid"
			;;
		2)
			victims[2]=$((victims[2] + 1))
			kill_both
			random_ms 200
			sender_start
			;;
		esac
		((i % 20)) || say "$i kills of $times"
	done
	generated
	wait "$LINES_PID"
	drain
	NOTE="$times: collector ${victims[0]}, shipper ${victims[1]}, both ${victims[2]}"
	settle_accounts
	[ "$(books kernel.journal ring_full)" -eq 0 ] || fail "the ring was too small for this load"
}

# The same for rsyslog, with the intake away each second time: a queue that has something in it.
case_kill_sender() {
	local times=${LAB_COUNT:-$(of 5 20)} i

	[[ $SENDER != *-disk ]] || RSYSLOG_QUEUE=disk
	intake_start
	sender_start
	generate $((times * 600)) 1000
	for ((i = 1; i <= times; i++)); do
		random_ms 600
		sender_kill
		random_ms 200
		sender_start
	done
	generated
	drain
	NOTE="$times kills"
	settle_accounts
}

case_intake_killed() {
	local times=${LAB_COUNT:-$(of 5 50)} i

	intake_start
	sender_start
	generate $((times * 1200)) 2000
	for ((i = 1; i <= times; i++)); do
		random_ms 800
		intake_kill
		random_ms 300
		intake_start
		((i % 10)) || say "$i kills of $times"
	done
	generated
	drain
	NOTE="$times kills"
	settle_accounts
	[ "$(is_ours && echo "$REPEATED" || echo 0)" -le $((times * 16384)) ] || fail "more repeats than a window each time"
}

# ------------------------------------------------------------------ an intake that misbehaves

# misbehave N RATE MISDEED...: it does so while events come, then one that behaves takes its place.
misbehave() {
	local n=$1 rate=$2

	shift 2
	intake_start "$@"
	sender_start
	watch_sender
	generate "$n" "$rate"
	[ -n "${MISBEHAVES_S:-}" ] && sleep "$MISBEHAVES_S"
	generated
	if [ -n "${MISBEHAVES_S:-}" ]; then
		say "it is replaced"
		intake_kill
		intake_start
	fi
	drain
	NOTE="${NOTE:-}${NOTE:+; }$(memory_most) MiB at the most"
	settle_accounts
	[ "$(is_ours && memory_most || echo 0)" -le 40 ] || fail "memory grew to $(memory_most) MiB"
}

case_trickle() {
	MISBEHAVES_S=$(of 5 40)
	NOTE="for $MISBEHAVES_S s"
	misbehave "$(of 4000 40000)" "$(of 1000 1000)" --slow 1
}

case_stall() {
	local s

	s=$(of 4 60)
	NOTE="for $s s"
	DAEMON_ARGS+=(--output-timeout $((s + 10))s)
	misbehave "$(of 4000 40000)" 1000 --stall-after 1000 --stall-ms $((s * 1000)) --times 1
}

case_ack_late() {
	NOTE="each by 2 s"
	misbehave "$(of 4000 40000)" 1000 --ack-delay-ms 2000
}

case_ack_reorder() {
	misbehave "$(of 4000 40000)" 1000 --ack-reorder
}

case_ack_never() {
	MISBEHAVES_S=$(of 8 30)
	NOTE="for $MISBEHAVES_S s"
	misbehave "$(of 4000 30000)" 1000 --never-ack
}

# ------------------------------------------------------------------ certificates

# A leaf of the test's CA that is good for so many seconds more.
brief_certificate() { # SECONDS
	openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$T/brief.key" 2>/dev/null
	openssl req -new -key "$T/brief.key" -subj /CN=localhost -out "$T/brief.csr"
	printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >"$T/brief.ext"
	: >"$T/index.txt"
	printf '[ca]\ndefault_ca=ours\n[ours]\ndatabase=%s/index.txt\nserial=%s/serial\nnew_certs_dir=%s\npolicy=any\n[any]\ncommonName=supplied\n' \
		"$T" "$T" "$T" >"$T/ca.cnf"
	openssl ca -batch -notext -md sha256 -create_serial -in "$T/brief.csr" -out "$T/brief.pem" \
		-cert "$T/certs/ca.pem" -keyfile "$T/certs/ca.key" -extfile "$T/brief.ext" -config "$T/ca.cnf" \
		-startdate 20200101000000Z -enddate "$(date -u -d "+$1 seconds" +%Y%m%d%H%M%SZ)" 2>"$T/ca.log" ||
		{ cat "$T/ca.log"; return 1; }
}

# An open connection may go on; the next one is refused until there is a new certificate.
case_cert_expires() {
	local life before refused

	life=$(of 4 10)
	certs
	brief_certificate "$life"
	intake_start --cert "$T/brief.pem" --tls-key "$T/brief.key"
	sender_start
	generate "$(of 6000 30000)" 1000
	wait_until '[ "$(arrived)" -gt 500 ]'
	sleep "$life"
	# Its time is over, and the connection as well.
	intake_kill
	before=$(find "$T/all" -type f | wc -l)
	intake_start --cert "$T/brief.pem" --tls-key "$T/brief.key"
	sleep "$(of 2 5)"
	refused=$(peer_summary received)
	if is_ours; then
		[ "$refused" -eq 0 ] || fail "$refused events went to a peer whose certificate has expired"
		[ "$(log_count 'certificate expired.*renew it, or check the clock')" -eq 1 ] ||
			fail "it is not said once with its cure"
		NOTE="refused, said once, 0 sent"
	elif [ "$refused" -gt 0 ]; then
		NOTE="not refused: $refused went to it"
	else
		NOTE="refused, 0 sent"
	fi
	intake_kill
	intake_start
	generated
	drain
	settle_accounts
}

# ------------------------------------------------------------------ disks

case_disk_full() {
	local s

	s=$(of 3 20)
	mkdir "$T/disk"
	mount -t tmpfs -o size=24m,mode=755 tmpfs "$T/disk"
	# The kernel keeps all of it: how much else happens on this machine does not matter.
	DAEMON_ARGS+=(--spool-dir "$T/disk/spool" --ring-flows 128M)
	is_ours || ln -s "$T/disk" "$T/work"
	intake_start
	sender_start
	generate "$(of 6000 40000)" 1000
	wait_until '[ "$(arrived)" -gt 500 ]'
	# The intake is away as well, so that the disk is needed.
	intake_kill
	dd if=/dev/zero of="$T/disk/filler" bs=4k oflag=append conv=notrunc 2>/dev/null || true
	sleep "$s"
	if is_ours; then
		[ "$(log_count 'No space left')" -eq 1 ] || fail "it is not said once"
	fi
	rm "$T/disk/filler"
	intake_start
	generated
	drain
	NOTE="for $s s"
	settle_accounts
	umount "$T/disk" 2>/dev/null || true
}

# Dropped is what the limit says; it is counted to the event.
case_spool_limit() {
	DAEMON_ARGS+=(--spool-max-bytes 2M --spool-segment-bytes 64k)
	intake_start
	intake_kill
	sender_start
	generate "$(of 8000 60000)" 4000
	generated
	wait_until '[ "$(log_count "at its limit .*: dropped before")" -eq 1 ]'
	intake_start
	drain 3
	NOTE="limit 2 MiB"
	settle_accounts "$SENT"
	# Flows of others on this host are in the books, too: what is ours is a part of it.
	[ "$LOST" -gt 0 ] || fail "the limit was not reached"
	[ "$LOST" -le "$TOLD" ] || fail "$LOST lost, $TOLD in the books"
	assert_given_up
}

# 4 KiB blocks, at places from a seed, while nobody looks.
case_spool_damage() {
	local seed=${LAB_SEED:-$RANDOM} blocks i file size at lost

	blocks=$(of 5 20)
	certs
	SENDER_ARGS=(--collector-stop-timeout 0s --spool-segment-bytes 256k)
	sender_start
	generate "$(of 3000 20000)" 4000
	generated
	sleep 1
	daemon_stop || true
	RANDOM=$seed
	for ((i = 0; i < blocks; i++)); do
		mapfile -t files < <(find "$T/spool" -name '*.seg' | sort)
		file=${files[RANDOM % ${#files[@]}]}
		size=$(stat -c %s "$file")
		at=$(((RANDOM * 32768 + RANDOM) % (size > 4096 ? size - 4096 : 1)))
		openssl rand 4096 | dd of="$file" bs=1 seek="$at" conv=notrunc status=none
	done
	intake_start
	SENDER_ARGS=()
	sender_start
	drain 3
	NOTE="$blocks blocks, seed $seed"
	settle_accounts "$SENT"
	lost=$(books "output.$SENDER" damaged)
	[ "$LOST" -le "$lost" ] || fail "$LOST lost, $lost counted"
	assert_given_up
}

# ------------------------------------------------------------------ load

# A million lines at once: what the journal's ring can not hold is counted; the flows have their own.
case_journal_flood() {
	local lines=${LAB_COUNT:-$(of 100000 1000000)} flows=20000 pids=() i got

	need_journald
	journal_alone
	journald_start
	DAEMON_ARGS=(--flows-loopback yes --flows-networks "127.$NET.0.0/16" --kernel-log no --output-timeout 5s --collector-stop-timeout 120s
		--journal-schema ecs --spool-max-bytes 4G)
	intake_start
	sender_start
	for i in 1 2 3 4; do
		start_in_room "$PEERS/journal_sender" native "$TAG$i" 1 $((lines / 4))
		pids+=("$STARTED")
	done
	generate $flows 1000
	wait "${pids[@]}"
	say "$lines lines were said"
	generated
	drain
	settle_accounts
	got=$(cat "$T"/all/* | LC_ALL=C grep -aoE "\"reason\":\"${TAG}[1-4] [0-9]+" | sort -u | wc -l)
	TITLE="journal flood beside flows: the lines"
	NOTE="ring_full=$(books kernel.journal ring_full)"
	row "$lines" $((lines - got)) "$(books kernel.journal ring_full)" 0 0 "$NOTE"
	[ $((lines - got)) -le "$(books kernel.journal ring_full)" ] || fail "$((lines - got)) lines lost that were not counted"
}

# ------------------------------------------------------------------ upgrade

# It has a test of its own, which counts for itself.
case_upgrade() {
	local file=$TOP/tests/bats/upgrade.bats

	[ -e "$file" ] || { row_skip "no tests/bats/upgrade.bats"; return; }
	bats "$file" >&2
	row - 0 - - - "tests/bats/upgrade.bats"
}
