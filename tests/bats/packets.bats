# SPDX-License-Identifier: Apache-2.0
# What is not TCP: each socket has a flow for each of its peers, with all packets
# and bytes. A flood has more flows than there is room for: memory stays, and what
# is not told one by one is told by source network, to the last packet.
#
# shellcheck disable=SC2153,SC2034,SC2016

load ../lib/common

setup() {
	common_setup
	need_root
	take_net
	NET6=fd00:$NET
	ip -6 route add local "$NET6::/32" dev lo
}

teardown() {
	ip -6 route del local "$NET6::/32" dev lo 2>/dev/null || true
	common_teardown
}

# As many words as packetgen prints of each flow, of each record.
FLOWS='select(.flowId) | "\(.protocolIdentifier) \(.source.ip) \(.source.port // 0) \(.destination.ip
	) \(.destination.port // 0) \(.flowDirection) \(.initiatorPackets) \(.initiatorOctets
	) \(.responderPackets) \(.responderOctets)"'

flows() {
	jq -r "$FLOWS" "$T/received"
}

start() {
	peer_start https
	daemon_start https --flows-loopback yes --journal-enable no --kernel-log no \
		--flows-networks "127.$NET.0.0/16,$NET6::/32" "$@"
}

stop() {
	daemon_stop
	peer_stop
	assert_all_delivered
}

generate() {
	"$PEERS/packetgen" "$@" --net "$NET" >>"$T/truth"
	"$PEERS/packetgen" "$@" --net "$NET" --v6 "$NET6::" >>"$T/truth"
}

assert_truth() {
	sort "$T/truth" >"$T/want"
	flows | sort >"$T/got"
	[ "$(wc -l <"$T/want")" -gt 0 ]
	diff "$T/want" "$T/got"
}

@test "many peers of one socket, empty datagrams, trains of segments, raw protocols" {
	local mode

	start
	for mode in peers empty segments; do
		generate $mode
	done
	# 132 is SCTP, which needs no module to be sent.
	generate raw --protocol 253
	generate raw --protocol 132
	stop
	assert_truth
	[ "$(books kernel.flows no_room)" -eq 0 ]
	[ "$(jq -r 'select(.protocolIdentifier == 132) | .network.transport' "$T/received" | sort -u)" = sctp ]
}

@test "multicast: the sender's flow, and one of each receiver" {
	local ns=sk${T##*.} from

	netns_pair "$ns"
	start --flows-networks 10.99.0.0/24,fd00:99::/64
	for from in 10.99.0.1 fd00:99::1; do
		ip netns exec "${ns}a" "$PEERS/packetgen" multicast --net "$NET" --from $from --interface 2 \
			--v6 "$([ $from = 10.99.0.1 ] || echo fd00:99::)" >>"$T/truth"
	done
	stop
	# What the namespaces say to each other beside it.
	flows() {
		jq -r "$FLOWS" "$T/received" | grep -E ' (239|ff15)[.:]'
	}
	assert_truth
}

@test "a pause longer than the idle timeout makes two flows" {
	start --flows-idle-timeout 1s
	generate pause --ms 4000
	stop
	assert_truth
	[ "$(jq -r 'select(.flowId) | .flowId' "$T/received" | sort -u | wc -l)" -eq 8 ]
	[ "$(jq -r 'select(.flowId) | .event.reason' "$T/received" | grep -c '^idle timeout$')" -ge 4 ]
}

metric() {
	curl -fsS --unix-socket "$T/monitor" http://localhost/metrics | sed -n "s/^sekoia_ebpf_$1 //p"
}

# One flow of no socket: its source, type * 256 + code, packets and bytes.
has_no_socket() {
	[ "$(jq -c "select(.source.ip == \"$1\" and (.icmpTypeCodeIPv4 // .icmpTypeCodeIPv6) == $2 and
		.initiatorPackets == $3 and .initiatorOctets == $4 and .responderPackets == 0 and
		.sekoia_ebpf.no_socket and (has(\"process\") | not))" "$T/received" | wc -l)" -eq 1 ]
}

@test "what the kernel sends by itself are flows of no socket; what arrives for none is counted" {
	local ns=sk${T##*.} resets closed

	netns_pair "$ns"
	start --flows-networks 10.99.0.0/24,fd00:99::/64
	# The kernel answers from a socket of each CPU.
	ip netns exec "${ns}a" taskset -c 0 ping -c 1 10.99.0.2
	ip netns exec "${ns}a" taskset -c $(($(nproc) - 1)) ping -c 2 -i 0.2 10.99.0.2
	ip netns exec "${ns}a" ping -c 2 -i 0.2 fd00:99::2
	ip netns exec "${ns}a" bash -c 'echo hi >/dev/udp/10.99.0.2/9999; echo hi >/dev/udp/fd00:99::2/9999'
	# In our own namespace: nobody listens there.
	closed=$(metric 'unowned_received_total{protocol="udp"}')
	resets=$(metric 'unowned_sent_total{protocol="tcp"}')
	for _ in 1 2 3 4 5; do
		bash -c "echo >/dev/udp/127.$NET.0.1/9; echo >/dev/udp/::1/9; echo >/dev/tcp/127.$NET.0.1/9" 2>/dev/null || true
	done
	[ "$(metric 'unowned_received_total{protocol="udp"}')" -ge $((closed + 10)) ]
	[ "$(metric 'unowned_sent_total{protocol="tcp"}')" -ge $((resets + 5)) ]
	stop
	# Echo replies; "port unreachable", which has the datagram in it.
	has_no_socket 10.99.0.2 0 3 252
	has_no_socket 10.99.0.2 $((3 * 256 + 3)) 1 59
	has_no_socket fd00:99::2 $((129 * 256)) 2 208
	has_no_socket fd00:99::2 $((256 + 4)) 1 99
}

# Packets and bytes by source network, of one side: flows and what is summed up together.
by_network() {
	jq -r --arg side "$1" --arg v "$2" 'select(.network.direction == $side and .network.type == $v) |
		if .sekoia_ebpf.flood then
			"\(.sekoia_ebpf.flood.network) \(.network.packets) \(.network.bytes) \(.sekoia_ebpf.flood.flows)"
		elif .flowId then
			"\(.source.ip) \(.source.packets) \(.source.bytes) 1"
		else empty end' "$T/received" |
		awk -v v="$2" '{ sub("/.*", "", $1)
			if (v == "ipv4") sub("[.][0-9]*$", ".0", $1); else sub("::[0-9a-f]*$", "::", $1)
			packets[$1] += $2; bytes[$1] += $3; flows[$1] += $4 }
			END { for (n in packets) print n, packets[n], bytes[n], flows[n] }' | sort
}

@test "a flood of one-packet flows: what has no room is told by source network" {
	local side before after

	# The ring holds a part of the table only: at the end, too, nothing stays behind.
	start --flows-max 1024 --ring-flows 64k
	before=$(awk '/VmHWM/ { print $2 }' "/proc/$DAEMON_PID/status")
	"$PEERS/packetgen" flood --net "$NET" --packets 100000 --networks 20 >"$T/truth4" 2>"$T/said"
	"$PEERS/packetgen" flood --v6 "$NET6::" --packets 50000 --networks 10 >"$T/truth6" 2>>"$T/said"
	after=$(awk '/VmHWM/ { print $2 }' "/proc/$DAEMON_PID/status")
	stop
	cat "$T/said"
	echo "memory: $before kB, then $after kB"
	# Nothing was left out on the way: what was sent, has arrived.
	[ "$(awk '/^arrived/ { print $2 }' "$T/said" | tr '\n' ' ')" = '100000 50000 ' ]
	for side in outbound inbound; do
		awk '{ print $0, $2 }' "$T/truth4" | sort | diff - <(by_network $side ipv4)
		awk '{ print $0, $2 }' "$T/truth6" | sort | diff - <(by_network $side ipv6)
	done
	[ "$(books kernel.flows seen)" -ge 300000 ]
	[ "$(books kernel.flows no_room)" -ge 290000 ]
	[ "$(books kernel.flows summed_packets)" -eq "$(books kernel.flows no_room)" ]
	[ "$(books kernel.flows summed_packets)" -eq "$(jq -s 'map(select(.sekoia_ebpf.flood).network.packets) | add' "$T/received")" ]
	[ "$(books kernel.flows live)" -eq 0 ]
	[ $((after - before)) -lt 20000 ]
}
