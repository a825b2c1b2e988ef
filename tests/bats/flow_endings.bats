# SPDX-License-Identifier: Apache-2.0
# Every way in which a TCP connection can begin and end, a few dozen of each, held
# against the generator's truth, and what is written of each of them; connections that
# were there before us, and that are there after us. tests/soak/flows.bats has many more.

load ../lib/common
load ../lib/flows

setup() {
	common_setup
	need_root
}

teardown() {
	common_teardown
}

# ended MODE DIRECTION WANT...: these are all the kinds of last records that such connections have.
ended() {
	local mode=$1 direction=$2 got

	shift 2
	got=$(flows_with "$mode" "$direction" '"\(.tcpControlBits | if . % 16 >= 8 then . - 8 else . end) \(.event.reason), \(.event.outcome), by \(.sekoia_ebpf.reset_by), \(.flowEndReason)"' |
		sed 's/^[0-9]* //' | sort | tr '\n' ';')
	[ "$got" = "$(printf '%s\n' "$@" | sort | tr '\n' ';')" ] || { echo "$mode, $direction: $got"; return 1; }
}

@test "endings: loopback and namespaces, IPv4 and IPv6, with and without loss: every record is exact" {
	local d m
	flows_world
	peer_start https
	daemon_start https --flows-loopback yes --flows-active-timeout 1s --journal-enable no --kernel-log no \
		--flows-networks "$FLOWS_NETWORKS"
	flows_make lo all 250
	[ "$(jq .fast_opened "$T/made.1")" -gt 0 ] || ! grep -q fast-open "$T/truth.1"
	flows_make lo prefork 30
	flows_make lo reuseport 30
	"$PEERS/tcpgen" --mode mptcp --connections 1 --truth "$T/try" >/dev/null 2>&1 && flows_make lo mptcp 30
	flows_make veth timed-out 2
	flows_lose 2
	flows_make veth all 80
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(books kernel.flows ring_full)" -eq 0 ]
	[ "$(books kernel.flows no_room)" -eq 0 ]
	flows_judge
	# FIN 1, SYN 2, RST 4, ACK 16; PSH is that there was anything to push.
	for m in normal server-first half-close simultaneous orphan fork passed sendfile fast-open mapped reused prefork reuseport; do
		for d in 1 0; do
			ended $m $d '19 end of flow, success, by null, 3'
		done
	done
	ended refused 1 '22 connection refused, failure, by remote, 3'
	[ -z "$(flows_with refused 0 .)" ]
	ended timed-out 1 '2 timed out, failure, by null, 3'
	# A reset that was lost on the way was not received: then that end resets, too.
	[ "$(flows_with reset-unread 1 .sekoia_ebpf.reset_by | grep -c remote)" -eq 1 ]
	ended reset-unread 0 '22 connection reset, success, by local, 3'
	ended reset 1 '22 connection reset, success, by local, 3' '22 connection reset, success, by remote, 3'
	ended reset 0 '22 connection reset, success, by local, 3' '22 connection reset, success, by remote, 3'
	# Who opened, who used.
	[ "$(flows_with passed 1 '.process.pid == .sekoia_ebpf.opener.pid' | tail -n 1 | sed 's/^[0-9]* //')" = false ]
	[ "$(flows_with fork 0 '.sekoia_ebpf.opener.pid' | wc -l)" -ge 1 ]
	# What was lost was sent again.
	[ "$(flows_with '[a-z-]*' 1 '.sekoia_ebpf.retransmits > 0' | wc -l)" -eq 2 ]
}

@test "endings: the peer is gone in the middle: timed out, reset by nobody, and what is in flight is named" {
	flows_world
	peer_start https
	daemon_start https --journal-enable no --kernel-log no
	mkfifo "$T/go"
	ip netns exec "${WORLD}b" nc -l 10.99.0.2 7003 >"$T/got" 2>/dev/null 3>&- &
	KEEP_PIDS+=($!)
	wait_until "ip netns exec ${WORLD}b ss -Hltn 'sport = :7003' | grep -q ."
	ip netns exec "${WORLD}a" python3 -c 'import socket, sys
s = socket.socket()
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 700)
s.bind(("10.99.0.1", 17003))
s.connect(("10.99.0.2", 7003))
s.sendall(bytes(1000))
open(sys.argv[1]).read()
s.sendall(bytes(300))
try:
    s.recv(1)
except OSError as e:
    print(e.errno)' "$T/go" >"$T/errno" 3>&- &
	CLIENT=$!
	KEEP_PIDS+=("$CLIENT")
	wait_until '[ "$(stat -c %s "$T/got")" -eq 1000 ]'
	flows_lose 100
	echo >"$T/go"
	wait "$CLIENT"
	[ "$(cat "$T/errno")" = 110 ]
	daemon_stop
	peer_stop
	assert_all_delivered
	jq -c 'select(.sourceTransportPort == 17003 and .flowDirection == 1 and .sourceIPv4Address == "10.99.0.1")' "$T/received" >"$T/record"
	cat "$T/record"
	jq -e '.initiatorOctets == 1300 and .sekoia_ebpf.unacknowledged == 300 and .sekoia_ebpf.uncertain == ["out_bytes"] and
		.event.reason == "timed out" and (.sekoia_ebpf.reset_by | not) and .tcpControlBits == 26 and
		.process.pid == '"$CLIENT" "$T/record"
}

@test "endings: SYNs that cross are one connection, also with itself" {
	take_net
	peer_start https
	daemon_start https --flows-loopback yes --journal-enable no --kernel-log no
	python3 -c 'import socket, sys
s = socket.socket()
s.bind((sys.argv[1], 17004))
s.connect((sys.argv[1], 17004))
s.sendall(bytes(100))
while len(s.recv(100, socket.MSG_PEEK)) < 100: pass
s.recv(100)
s.close()' "127.$NET.0.1"
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(books kernel.flows missed)" -eq 0 ]
	jq -c "select(.sourceIPv4Address == \"127.$NET.0.1\" and .sourceTransportPort == 17004)" "$T/received" >"$T/record"
	cat "$T/record"
	[ "$(wc -l <"$T/record")" -eq 1 ]
	jq -e '.flowDirection == 1 and .initiatorOctets == 100 and .responderOctets == 100 and .flowEndReason == 3' "$T/record"
}

# nc to nc on 127.$NET.0.0/16, kept open by fifos: talk_open, then talk_say "up" or "down" BYTES.
talk_open() {
	mkfifo "$T/up" "$T/down"
	nc -l "127.$NET.0.1" 7001 <"$T/down" >"$T/got.up" 2>/dev/null 3>&- &
	SERVER=$!
	KEEP_PIDS+=("$SERVER")
	exec 7>"$T/down"
	wait_until "ss -Hltn 'src 127.$NET.0.1' | grep -q ."
	nc -N -s "127.$NET.0.2" -p 17001 "127.$NET.0.1" 7001 <"$T/up" >"$T/got.down" 2>/dev/null 3>&- 7>&- &
	CLIENT=$!
	KEEP_PIDS+=("$CLIENT")
	exec 8>"$T/up"
	wait_until "ss -Htn state established 'src 127.$NET.0.2' | grep -q ."
	SAID_UP=0 SAID_DOWN=0
}

talk_say() {
	local to=8

	if [ "$1" = up ]; then
		SAID_UP=$((SAID_UP + $2))
	else
		to=7 SAID_DOWN=$((SAID_DOWN + $2))
	fi
	head -c "$2" /dev/zero >&$to
	wait_until '[ "$(stat -c %s "$T/got.up")" -eq $SAID_UP ] && [ "$(stat -c %s "$T/got.down")" -eq $SAID_DOWN ]'
}

talk_close() {
	kill "$CLIENT"
	wait "$CLIENT" || true
	wait_until "! ss -Htn state established 'src 127.$NET.0.1' | grep -q ."
	kill "$SERVER" 2>/dev/null || true
	wait "$SERVER" || true
	exec 7>&- 8>&-
}

# The records of that connection, from one end: a JSON array.
talk_records() {
	jq -sc "[.[] | select(.sourceIPv4Address == \"127.$NET.0.2\" and .sourceTransportPort == 17001 and .flowDirection == $1)]" "$T/received"
}

@test "endings: what was open before us is counted from our start on, with its direction and its process" {
	local d r
	take_net
	talk_open
	talk_say up 1000
	talk_say down 3000
	peer_start https
	daemon_start https --flows-loopback yes --journal-enable no --kernel-log no
	talk_say up 200
	talk_say down 50
	talk_close
	daemon_stop
	peer_stop
	assert_all_delivered
	for d in 1 0; do
		r=$(talk_records $d)
		echo "$r"
		[ "$(jq length <<<"$r")" = 1 ]
		jq -e '.[0] | .initiatorOctets == 200 and .responderOctets == 50 and .octetTotalCount == 4250 and .flowEndReason == 3 and
			.sekoia_ebpf.uncertain == ["start"] and .tcpControlBits == 27' <<<"$r"
	done
	[ "$(talk_records 1 | jq '.[0].process.pid')" = "$CLIENT" ]
	[ "$(talk_records 0 | jq '.[0].process.pid')" = "$SERVER" ]
	[ "$(books kernel.flows adopted)" -ge 2 ]
}

@test "endings: what listened before us opened what is accepted later" {
	local r
	take_net
	# One that listens first, and forks for what comes.
	python3 -c 'import os, socket, sys
l = socket.create_server((sys.argv[1], 7002))
c, _ = l.accept()
if os.fork():
    c.close(), os.wait()
else:
    os.dup2(c.fileno(), 0), os.dup2(c.fileno(), 1), c.close()
    os.execvp("cat", ["cat"])' "127.$NET.0.1" 3>&- &
	SERVER=$!
	KEEP_PIDS+=("$SERVER")
	wait_until "ss -Hltn 'src 127.$NET.0.1' | grep -q ."
	peer_start https
	daemon_start https --flows-loopback yes --journal-enable no --kernel-log no
	head -c 500 /dev/zero | nc -N -s "127.$NET.0.2" -p 17001 "127.$NET.0.1" 7002 >/dev/null
	wait "$SERVER"
	daemon_stop
	peer_stop
	assert_all_delivered
	r=$(talk_records 0)
	echo "$r"
	[ "$(jq '.[0].sekoia_ebpf.opener.pid' <<<"$r")" = "$SERVER" ]
	[ "$(jq '.[0].process.pid' <<<"$r")" != "$SERVER" ]
	jq -e '.[0] | .initiatorOctets == 500 and .responderOctets == 500 and .process.name == "cat" and (.sekoia_ebpf.uncertain | not)' <<<"$r"
}

@test "endings: over stops, starts and handovers nothing is counted twice" {
	local d r
	take_net
	peer_start https
	daemon_start https --flows-loopback yes --journal-enable no --kernel-log no
	talk_open
	talk_say up 1000
	# A stop ends the flow; what is said meanwhile is nobody's.
	daemon_stop
	talk_say up 77
	daemon_start https --flows-loopback yes --journal-enable no --kernel-log no
	talk_say down 300
	# A handover does not.
	daemon_hand_over
	talk_say up 20
	daemon_start https --flows-loopback yes --journal-enable no --kernel-log no
	talk_say up 4
	# Nor does a kill.
	daemon_kill
	talk_say down 5
	daemon_start https --flows-loopback yes --journal-enable no --kernel-log no
	talk_close
	daemon_stop
	peer_stop
	[ "$(books "output.$DAEMON_TRANSPORT" waiting)" -eq 0 ]
	for d in 1 0; do
		r=$(talk_records $d)
		jq -c '.[] | [.initiatorOctets, .responderOctets, .octetTotalCount, .flowEndReason, .event.reason, .sekoia_ebpf]' <<<"$r"
		[ "$(jq 'map(select(.flowEndReason != 2)) | length' <<<"$r")" = 2 ]
		[ "$(jq 'map(.initiatorOctets) | add' <<<"$r")" = 1024 ]
		[ "$(jq 'map(.responderOctets) | add' <<<"$r")" = 305 ]
		jq -e 'first | .flowEndReason == 4 and .event.reason == "forced end" and .initiatorOctets == 1000' <<<"$r"
		jq -e 'last | .flowEndReason == 3 and .octetTotalCount == 1406 and .sekoia_ebpf.uncertain == ["start"]' <<<"$r"
	done
}
