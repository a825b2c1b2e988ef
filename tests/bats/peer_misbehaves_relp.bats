# SPDX-License-Identifier: Apache-2.0
# RELP to an intake that is slow, stalls, cuts, answers late, in pieces, in
# another order, with errors or not at all: nothing is lost, a repeat can be
# recognised, and memory does not grow while it lasts.
# long: it waits for what takes time

load ../lib/common
load ../lib/faults

setup() {
	faults_setup
}

teardown() {
	common_teardown
}

# More than is emitted here: what a window may hold that is not answered.
WINDOW=16384

@test "relp: the peer is slow" {
	misbehaves relp 60 0 --slow 5000000
	[ "$CUTS" -eq 0 ]
}

@test "relp: the peer stalls" {
	MORE_ARGS=(--output-timeout 1s)
	misbehaves relp 200 200 --stall-after 100 --times 2
	[ "$(log_count '(no answer to what was sent|acknowledged nothing) for [0-9]+ s; retrying')" -ge 1 ]
}

@test "relp: the peer stalls for a while" {
	misbehaves relp 200 0 --stall-after 100 --stall-ms 1500 --times 1
	[ "$(log_troubles)" -eq 0 ]
}

@test "relp: the peer closes the session after each hundred events (serverclose)" {
	# All that it took is answered before it goes.
	misbehaves relp 500 0 --close-after 100 --times 3
	[ "$CUTS" -ge 3 ]
	[ "$(log_count 'the peer close[ds] the session \(serverclose\)')" -ge 1 ]
}

@test "relp: the peer closes in the middle of an answer" {
	misbehaves relp 500 1 --close-after 100 --close-mid-frame --times 3
}

@test "relp: the peer closes without close_notify in the middle of an answer" {
	misbehaves relp 500 1 --close-after 100 --close-mid-frame --no-close-notify --times 3
}

@test "relp: the peer resets with its answers unsent" {
	misbehaves relp 500 100 --reset-after 100 --times 3
}

@test "relp: the peer accepts and closes, then is replaced" {
	REPLACE_WHEN='[ "$(failures relp)" -ge 3 ]'
	misbehaves relp 200 0 --refuse
	# Which of the two it is depends on how far our first message came.
	[ "$(log_count 'closed the connection in the handshake')" -le 1 ]
	[ "$(log_count 'reset by peer in the handshake')" -le 1 ]
}

@test "relp: the peer is not there, then is" {
	peer_start relp
	peer_stop KILL
	daemon_start relp
	emit 200
	wait_until '[ "$(failures relp)" -ge 3 ]'
	[ "$(log_troubles)" -eq 1 ]
	peer_start relp
	wait_for_flows
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived
}

@test "relp: the peer answers garbage, then is replaced" {
	REPLACE_WHEN='[ "$(failures relp)" -ge 3 ]'
	misbehaves relp 200 0 --garbage
	[ "$(log_count 'what it sends is not RELP|its answer|it answers')" -eq 1 ]
}

@test "relp: the peer never answers, then is replaced" {
	MORE_ARGS=(--output-timeout 1s)
	REPLACE_WHEN='[ "$(failures relp)" -ge 2 ]'
	misbehaves relp 1500 $WINDOW --never-ack
	[ "$(log_count 'no answer to "open" for [0-9]+ s; retrying')" -eq 1 ]
}

@test "relp: the peer is killed with answers on their way, then is replaced" {
	peer_start relp --ack-delay-ms 3000
	daemon_start relp
	watch_memory
	emit 1500
	wait_until '[ "$("$PEERS/cursor" "$T/spool" relp sent)" -ge 1000 ]'
	peer_stop KILL
	peer_start relp
	wait_for_flows
	daemon_stop
	peer_stop
	assert_all_delivered
	# One window, once.
	assert_flows_arrived $WINDOW
	[ "$(books output.relp sent)" -le $(($(books spool appended) + WINDOW)) ]
	assert_memory
}

@test "relp: the peer answers late, byte by byte" {
	misbehaves relp 200 0 --ack-delay-ms 200 --ack-split
	[ "$(log_troubles)" -eq 0 ]
}

@test "relp: the peer answers in reverse order" {
	misbehaves relp 500 0 --ack-reorder
	[ "$(log_troubles)" -eq 0 ]
}

@test "relp: 500 to some, once: they come again on a new session" {
	# The one that was refused, and none of those that were taken behind it.
	misbehaves relp 200 0 --reject-nth 300
	[ "$(books output.relp rejected)" -eq 0 ]
	[ "$(log_count 'the peer refuses some messages: 500 refused for good; retrying')" -eq 1 ]
}

@test "relp: 500 to everything: nothing is given up" {
	REPLACE_WHEN='[ "$(failures relp)" -ge 3 ]'
	misbehaves relp 200 0 --reject-nth 1
	[ "$(books output.relp rejected)" -eq 0 ]
	[ "$(log_count 'the peer refuses every message: 500 refused for good; retrying')" -eq 1 ]
}

@test "relp: 500 twice: counted, and not sent again" {
	peer_start relp --reject-nth 2
	daemon_start relp
	emit 20
	wait_until '[ $(($("$PEERS/cursor" "$T/spool" relp acked) + $("$PEERS/cursor" "$T/spool" relp rejected))) -ge 40 ]'
	daemon_stop
	peer_stop
	cat "$T/daemon.log"
	assert_accounts_balance
	[ "$(books output.relp rejected)" -ge 1 ]
	# One that was taken behind a refused one was given again, and may have been refused then.
	[ "$(peer_count)" -ge "$(books output.relp acknowledged)" ]
	[ $(($(peer_count) + $(books output.relp rejected))) -ge "$(books spool appended)" ]
	[ "$(log_count 'relp: event [0-9]+ was refused: the peer refuses it twice: 500 refused for good')" -eq 1 ]
}

@test "relp: the key is refused: nothing is given up, and with the right one it goes on" {
	REPLACE_WHEN='[ "$(failures relp)" -ge 3 ]'
	PEER_ARGS=()
	peer_start relp
	printf 'anotherKey0123456789\n' >"$T/wrong-key"
	chmod 600 "$T/wrong-key"
	daemon_start relp --intake-key-file "$T/wrong-key" --collector-stop-timeout 1s
	emit 200
	wait_until "$REPLACE_WHEN"
	[ "$(log_count 'the peer refuses every message: 500 invalid intake key; retrying')" -eq 1 ]
	[ "$(log_troubles)" -eq 1 ]
	daemon_stop
	assert_accounts_balance
	[ "$(books output.relp rejected)" -eq 0 ]

	daemon_start relp
	wait_for_flows
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived
}

@test "relp: the peer ends its session on a message that is too large for it: that one is given up" {
	peer_start relp --relp-max 4000
	daemon_start relp
	emit 20
	emit 1 0 --note "$(head -c 3000 /dev/zero | tr '\0' x)"
	emit 20
	wait_until '[ $(($("$PEERS/cursor" "$T/spool" relp acked) + $("$PEERS/cursor" "$T/spool" relp rejected))) -ge 82 ]'
	daemon_stop
	peer_stop
	cat "$T/daemon.log"
	assert_accounts_balance
	# Both ends of that connection tell of the process.
	[ "$(books output.relp rejected)" -eq 2 ]
	[ "$(books output.relp waiting)" -eq 0 ]
	[ "$(books output.relp acknowledged)" -eq "$(peer_count)" ]
	[ "$(log_count 'ends its session on this message of [0-9]+ bytes; raise its size limit')" -eq 1 ]
}
