# SPDX-License-Identifier: Apache-2.0
# What the intake refuses for good is set aside, counted, told, and holds nothing
# up; what is refused because of the key is not.
#
# shellcheck disable=SC2016,SC2034

load ../lib/common
load ../lib/faults

setup() {
	faults_setup
}

teardown() {
	common_teardown
}

# dead OUTPUT: its letters, the older ones first.
dead() {
	cat "$T/spool/dead/$1.jsonl.1" "$T/spool/dead/$1.jsonl" 2>/dev/null || true
}

# settled N: that many have their answer.
settled() {
	wait_until '[ $(($("$PEERS/cursor" "$T/spool" '"$DAEMON_TRANSPORT"' acked) + $("$PEERS/cursor" "$T/spool" '"$DAEMON_TRANSPORT"' rejected))) -ge '"$1"' ]' 30
}

# Every event is at the intake or in the file, by its id, and in one of them.
assert_dead_balance() {
	local output=output.$DAEMON_TRANSPORT

	assert_accounts_balance
	[ "$(books "$output" waiting)" -eq 0 ]
	[ "$(books "$output" rejected)" -eq $(($(books "$output" dead_lettered) + $(books "$output" dead_unwritten))) ]
	[ "$(books "$output" acknowledged)" -eq "$(peer_count)" ]
	dead "$DAEMON_TRANSPORT" | jq -r .id | sort >"$T/dead.ids"
	jq -r .event.id "$T/received" | sort -u >"$T/received.ids"
	[ "$(wc -l <"$T/dead.ids")" -eq $(($(books "$output" dead_lettered) - $(books "$output" dead_dropped))) ]
	[ "$(sort -u "$T/dead.ids" | wc -l)" -eq "$(wc -l <"$T/dead.ids")" ]
	[ -z "$(comm -12 "$T/dead.ids" "$T/received.ids")" ]
	# A message may tell of a process that had it in its arguments: those of these tests do.
	dead "$DAEMON_TRANSPORT" | jq -c 'del(.message)' >"$T/dead.heads"
	refute secret_in "$TEST_KEY" "$T/dead.heads"
}

@test "https: some events are refused: they are in the file, whole, and can be sent again" {
	peer_start https --reject-nth 50
	daemon_start https --output-batch-bytes 64k
	emit 300
	settled 600
	daemon_stop
	peer_stop
	cat "$T/daemon.log"
	assert_dead_balance
	[ "$(books output.https rejected)" -ge 10 ]
	[ "$(log_count 'event [0-9]+ was refused: event too large for the intake; .* set aside in the spool.s folder dead')" -eq 1 ]
	# The shipper's own, and nobody else reads it.
	[ "$(stat -c %a "$T/spool/dead" "$T/spool/dead/https.jsonl" | paste -sd ' ')" = "700 600" ]
	[ "$(stat -c %u "$T/spool/dead/https.jsonl")" -ne 0 ]
	dead https | jq -e 'select(.output == "https" and .class == "flow" and (.reason | contains("too large")) and
		(.target | contains("localhost")) and (.message | fromjson | .event.id) == .id)' >"$T/good"
	[ "$(dead https | wc -l)" -eq "$(jq -c . "$T/good" | wc -l)" ]

	# As docs/DEDUPLICATION.md says: each message as it was meant to be.
	PEER_PORT=
	peer_start https
	dead https | jq -r .message >"$T/again"
	curl -sS --fail --cacert "$T/certs/ca.pem" -H "X-SEKOIAIO-INTAKE-KEY: $TEST_KEY" \
		--data-binary @"$T/again" "https://localhost:$PEER_PORT/plain/batch" >/dev/null
	[ "$(peer_count)" -eq "$(wc -l <"$T/again")" ]
}

@test "relp: 500 twice: in the file, and only what was refused is sent again" {
	peer_start relp --reject-text "POISON-$NET"
	daemon_start relp
	emit 100
	emit 1 0 --note "POISON-$NET"
	# Others must be taken in each session in which it is refused.
	for _ in $(seq 40); do
		emit 5
		[ "$("$PEERS/cursor" "$T/spool" relp rejected)" -lt 2 ] || break
		sleep 0.3
	done
	settled $((2 * EMITTED))
	daemon_stop
	peer_stop
	cat "$T/daemon.log"
	assert_dead_balance
	# Both ends of that connection tell of the process.
	[ "$(books output.relp rejected)" -eq 2 ]
	[ "$(dead relp | jq -r 'select((.reason | contains("the peer refuses it twice: 500 refused for good")) and
		(.message | contains("POISON"))) | .id' | wc -l)" -eq 2 ]
	# What was taken behind them is not sent again.
	[ "$(peer_summary repeats)" -eq 0 ]
}

@test "relp: an event above the peer's ceiling: in the file" {
	peer_start relp --relp-max 4000
	daemon_start relp
	emit 20
	emit 1 0 --note "$(head -c 3000 /dev/zero | tr '\0' x)"
	emit 20
	settled 82
	daemon_stop
	peer_stop
	cat "$T/daemon.log"
	assert_dead_balance
	[ "$(books output.relp dead_lettered)" -eq 2 ]
	[ "$(dead relp | jq -r 'select(.reason | contains("raise its size limit")) | .id' | wc -l)" -eq 2 ]
}

@test "the file has a ceiling: the oldest go, and are counted" {
	peer_start https --reject-nth 2
	daemon_start https --output-batch-bytes 64k --output-dead-letter-max-bytes 100k
	emit 200
	settled 400
	daemon_stop
	peer_stop
	cat "$T/daemon.log"
	assert_dead_balance
	[ "$(books output.https dead_dropped)" -ge 1 ]
	[ "$(dead https | wc -c)" -le 102400 ]
}

@test "the folder can not be written: counted, told once, nothing is held up" {
	peer_start https --reject-nth 10
	daemon_start https --output-batch-bytes 64k
	rm -rf "$T/spool/dead"
	emit 100
	settled 200
	daemon_stop
	peer_stop
	cat "$T/daemon.log"
	assert_accounts_balance
	# The host's own flows may have been refused before the folder was gone.
	[ "$(books output.https rejected)" -eq \
		$(($(books output.https dead_lettered) + $(books output.https dead_unwritten))) ]
	[ "$(books output.https dead_unwritten)" -ge 10 ]
	[ "$(log_count 'a refused event can not be kept in .*/dead: No such file or directory; it is counted')" -eq 1 ]
}

@test "the key is refused: nothing is set aside, on any transport that says so" {
	local transport

	printf 'anotherKey0123456789\n' >"$T/wrong-key"
	chmod 600 "$T/wrong-key"
	for transport in https relp; do
		PEER_PORT=
		rm -rf "$T/spool"
		peer_start "$transport"
		daemon_start "$transport" --intake-key-file "$T/wrong-key" --collector-stop-timeout 1s
		emit 20
		wait_until '[ "$(failures '"$transport"')" -ge 1 ]'
		daemon_stop
		peer_stop
		assert_accounts_balance
		[ "$(books "output.$transport" rejected)" -eq 0 ]
		[ "$(books "output.$transport" waiting)" -ge 40 ]
		[ -z "$(dead "$transport")" ]
	done
}
