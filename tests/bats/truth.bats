#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The traffic generators count the same at both ends, and flowcheck finds each kind of mistake.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
}

teardown() {
	common_teardown
}

# records TRUTH: the flow records that would be right, two for each connection; of a tuple that
# is used several times, two for each time.
records() {
	jq -c 'def address($side; $ip): if $ip | contains(":") then {($side + "IPv6Address"): $ip}
			else {($side + "IPv4Address"): $ip} end;
		. as $t | (if .mode == "refused" then [1] else [1, 0] end)[] as $direction
		| range($t.flows // 1) as $k
		| (if $direction == 1 then $t.client_opener else $t.server_opener end) as $opener
		| (if $direction == 1 then $t.client_pid else $t.server_pid end) as $user
		| address("source"; $t.src) + address("destination"; $t.dst) + {
			sourceTransportPort: $t.sport, destinationTransportPort: $t.dport,
			protocolIdentifier: $t.proto, flowDirection: $direction, flowEndReason: 3,
			initiatorOctets: (if $k > 0 then 0 else $t.sent_ip_bytes // $t.sent end),
			responderOctets: (if $k > 0 then 0 else $t.received_ip_bytes // $t.received end),
			initiatorPackets: ($t.sent_datagrams // 0),
			responderPackets: ($t.received_datagrams // 0),
			process: {pid: $user}, sekoia_ebpf: {opener: (if $opener != $user then {pid: $opener} else null end)},
			event: {id: "00ab-\(input_line_number * 8 + $direction * 4 + $k)"}}' "$1"
}

# flowcheck fails, and names nothing but this: fails_with FIELD NUMBER
fails_with() {
	run -1 "$PEERS/flowcheck" "$T/truth" "$T/records"
	[ "$(tail -n 1 <<<"$output" | jq ".$1")" = "$2" ]
	[ "$(tail -n 1 <<<"$output" | jq '[.missing, .repeated, .wrong_bytes, .wrong_packets, .wrong_pid, .wrong_opener, .wrong_totals,
		.not_ended, .ended_twice, .no_id, .no_direction, .bad_lines | select(. > 0)] | length')" = 1 ]
}

@test "truth: tcpgen: each mode, IPv4 and IPv6; both ends agree" {
	local mode
	for mode in normal server-first half-close refused reset simultaneous orphan reset-unread reset-flight \
		fork passed sendfile reused prefork reuseport; do
		"$PEERS/tcpgen" --mode $mode --connections 200 --max-bytes 20000 --truth "$T/$mode" >"$T/out"
		[ "$(jq .wrong "$T/out")" = 0 ]
		[ "$(wc -l <"$T/$mode")" = 200 ]
		[ "$(jq -s 'map(.sent) | add' "$T/$mode")" = "$(jq .sent "$T/out")" ]
		[ "$(jq -r '"\(.src) \(.sport) \(.dst) \(.dport)"' "$T/$mode" | sort -u | wc -l)" = 200 ]
		[ "$(jq -r .src "$T/$mode" | sort | uniq -c | tr -s ' \n' ' ')" = ' 100 127.0.0.1 100 ::1 ' ]
	done
	[ "$(jq -r .error "$T/refused" | sort -u)" = ECONNREFUSED ]
	[ "$(jq .server_pid "$T/normal" | sort -u | wc -l)" = 1 ]
	[ "$(jq '.client_pid != .server_pid' "$T/normal" | sort -u)" = true ]
	# The same seed gives the same sizes.
	"$PEERS/tcpgen" --connections 200 --max-bytes 20000 --truth "$T/again" >/dev/null
	[ "$(jq -c '[.sent, .received]' "$T/normal")" = "$(jq -c '[.sent, .received]' "$T/again")" ]
}

@test "truth: tcpgen: ten thousand connections, no tuple twice" {
	"$PEERS/tcpgen" --mode all --connections 10000 --max-bytes 2000 --parallel 200 --truth "$T/truth" >/dev/null
	[ "$(jq -r '"\(.src) \(.sport) \(.dst) \(.dport)"' "$T/truth" | sort -u | wc -l)" = 10000 ]
	[ "$(jq -r .mode "$T/truth" | sort -u | wc -l)" = 16 ]
}

@test "truth: tcpgen: client and server in namespaces of their own" {
	need_root
	netns_pair "skt$$"
	"$PEERS/tcpgen" --mode all --connections 200 --v4 10.99.0.2 --v6 fd00:99::2 --bind-v4 10.99.0.1 \
		--bind-v6 fd00:99::1 --client-netns "skt$$"a --server-netns "skt$$"b --truth "$T/truth"
	[ "$(jq -r '"\(.src) \(.dst)"' "$T/truth" | sort -u | tr '\n' ' ')" = '10.99.0.1 10.99.0.2 fd00:99::1 fd00:99::2 ' ]
}

@test "truth: udpgen: sizes, answers, GSO; both ends agree" {
	local args
	for args in '' '--gso' '--sizes 0,1,512,1472,9000,65487' '--max-bytes 65487'; do
		# shellcheck disable=SC2086
		"$PEERS/udpgen" --flows 200 $args --truth "$T/truth" >"$T/out"
		[ "$(jq .wrong "$T/out")" = 0 ]
		[ "$(jq -s 'map(.received_datagrams) | add' "$T/truth")" = "$(jq .received_datagrams "$T/out")" ]
		jq -es 'all(.sent_ip_bytes == .sent + .sent_datagrams * (if .src == "::1" then 48 else 28 end))' "$T/truth"
	done
}

@test "truth: flowcheck: right records are right, in any order, as deltas, among others" {
	"$PEERS/tcpgen" --mode all --connections 100 --truth "$T/truth" >/dev/null
	records "$T/truth" >"$T/records"
	"$PEERS/flowcheck" "$T/truth" "$T/records"
	# Halves of each, the last one final.
	jq -c '. as $r | (. + {flowEndReason: 2, initiatorOctets: (.initiatorOctets / 2 | floor), responderOctets: 0,
			event: {id: "00cd-\(input_line_number)"}}),
		(. + {initiatorOctets: (.initiatorOctets - (.initiatorOctets / 2 | floor))})' "$T/records" | tac >"$T/deltas"
	echo '{"sourceIPv4Address":"192.0.2.1","destinationIPv4Address":"192.0.2.2"}' >>"$T/deltas"
	echo 'a text' >>"$T/deltas"
	"$PEERS/flowcheck" "$T/truth" "$T/deltas" >"$T/out"
	[ "$(jq .other "$T/out")" = 2 ]
	# One end of each is on this host.
	jq -c 'select(.flowDirection == 1)' "$T/records" >"$T/client"
	"$PEERS/flowcheck" --sides 1 "$T/truth" "$T/client"
	"$PEERS/udpgen" --flows 100 --truth "$T/truth" >/dev/null
	records "$T/truth" >"$T/records"
	"$PEERS/flowcheck" "$T/truth" "$T/records"
	run -1 "$PEERS/flowcheck" --udp-octets payload "$T/truth" "$T/records"
}

@test "truth: flowcheck: each mistake is found, and nothing else with it" {
	"$PEERS/tcpgen" --connections 100 --truth "$T/truth" >/dev/null
	records "$T/truth" >"$T/right"
	sed 7d "$T/right" >"$T/records"
	fails_with missing 1
	[[ $output == *"missing: normal "* ]]
	(cat "$T/right"; sed -n 7p "$T/right") >"$T/records"
	fails_with repeated 1
	"$PEERS/flowcheck" --allow-repeats "$T/truth" "$T/records"
	(sed 7d "$T/right"; sed -n 7p "$T/right" | jq -c '.responderOctets += 1') >"$T/records"
	fails_with wrong_bytes 1
	(sed 7d "$T/right"; sed -n 7p "$T/right" | jq -c '.process.pid += 1') >"$T/records"
	fails_with wrong_pid 1
	(sed 7d "$T/right"; sed -n 7p "$T/right" | jq -c 'del(.process)') >"$T/records"
	fails_with wrong_pid 1
	"$PEERS/flowcheck" --no-pid "$T/truth" "$T/records"
	(sed 7d "$T/right"; sed -n 7p "$T/right" | jq -c '.sekoia_ebpf.opener.pid = 1') >"$T/records"
	fails_with wrong_opener 1
	(sed 7d "$T/right"; sed -n 7p "$T/right" | jq -c '.octetTotalCount = .initiatorOctets + .responderOctets + 1') >"$T/records"
	fails_with wrong_totals 1
	(sed 7d "$T/right"; sed -n 7p "$T/right" | jq -c '.flowEndReason = 2') >"$T/records"
	fails_with not_ended 1
	"$PEERS/flowcheck" --allow-unended "$T/truth" "$T/records"
	(cat "$T/right"; sed -n 7p "$T/right" | jq -c '.initiatorOctets = 0 | .responderOctets = 0 | .event.id = "00cd-1"') >"$T/records"
	fails_with ended_twice 1
	(cat "$T/right"; echo '{"half') >"$T/records"
	fails_with bad_lines 1
	"$PEERS/udpgen" --flows 100 --truth "$T/truth" >/dev/null
	records "$T/truth" | sed '3s/"initiatorPackets":/"initiatorPackets":1/' >"$T/records"
	fails_with wrong_packets 1
}
