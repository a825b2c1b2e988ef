# SPDX-License-Identifier: Apache-2.0
# Flows in IPFIX and NetFlow 9, to nfcapd and to tshark, which were written by others:
# their totals are those of the traffic generators.

load ../lib/common

setup() {
	common_setup
	need_root
	take_net
}

teardown() {
	common_teardown
}

need() {
	command -v "$1" >/dev/null || skip "needs $1 (deploy/deps.sh)"
}

free_port() {
	local port
	until port=$((RANDOM % 20000 + 40000)) && ! ss -Hltun "sport = :$port" | grep -q .; do :; done
	echo "$port"
}

# exporter_start OUTPUT [ARG...]: the daemon, with the flows of this test's network alone.
exporter_start() {
	daemon_start "$1" --flows-loopback yes --flows-networks "127.$NET.0.0/16" \
		--journal-enable no "${@:2}"
}

# TCP and UDP, each flow seen at both of its ends.
traffic() {
	"$PEERS/tcpgen" --connections "$1" --max-bytes 20000 --v4 "127.$NET.0.1" --v6 '' --truth "$T/tcp" >/dev/null
	"$PEERS/udpgen" --flows "$1" --v4 "127.$NET.0.1" --v6 '' --truth "$T/udp" >/dev/null
}

# The bytes that both ends of all flows have counted: TCP's payload, UDP's packets.
true_bytes() {
	cat "$T/tcp" "$T/udp" | jq -s 'map((.sent_ip_bytes // .sent) + (.received_ip_bytes // .received)) | add * 2'
}

# The books: what is no flow is filtered, and all flows have gone.
assert_exported() {
	assert_accounts_balance
	[ "$(books "output.$DAEMON_TRANSPORT" waiting)" -eq 0 ]
	[ "$(books "output.$DAEMON_TRANSPORT" rejected)" -eq 0 ]
	[ "$(books "output.$DAEMON_TRANSPORT" acknowledged)" -eq "$(books source.flows records)" ]
	[ "$(books "output.$DAEMON_TRANSPORT" filtered)" -eq \
		$(($(books spool appended) - $(books source.flows records))) ]
}

# nfcapd_start NAME: its port in PORT, its process in NFCAPD.
nfcapd_start() {
	[ -n "${PORT:-}" ] || PORT=$(free_port)
	mkdir "$T/$1"
	nfcapd -w "$T/$1" -b 127.0.0.1 -p "$PORT" -t 3600 >"$T/$1.log" 2>&1 3>&- &
	NFCAPD=$!
	KEEP_PIDS+=("$NFCAPD")
	wait_until '[ -n "$(ss -Hlun "sport = :$PORT")" ]'
}

# nfcapd_stop NAME PID: it writes its file when it ends; to NAME.json.
nfcapd_stop() {
	kill "$2"
	wait "$2" || true
	cat "$T/$1.log"
	nfdump -r "$T/$1"/nfcapd.2* -o json >"$T/$1.json"
	nfdump -r "$T/$1"/nfcapd.2* -o extended | tail -n 4
	grep -q 'Sequence Errors: 0, Bad Packets: 0' "$T/$1.log"
}

@test "nfcapd over UDP has the generators' bytes: IPFIX in biflows, NetFlow 9 in a flow for each way" {
	need nfcapd
	local ipfix ipfix_pid sport
	nfcapd_start ipfix
	ipfix=$PORT ipfix_pid=$NFCAPD
	PORT=
	nfcapd_start netflow9
	exporter_start ipfix,netflow9 --ipfix-host 127.0.0.1 --ipfix-port "$ipfix" --netflow9-host "127.0.0.1:$PORT" --kernel-log yes
	traffic 100
	daemon_stop
	nfcapd_stop ipfix "$ipfix_pid"
	nfcapd_stop netflow9 "$NFCAPD"
	for DAEMON_TRANSPORT in ipfix netflow9; do
		assert_exported
		[ "$(jq 'map(.in_bytes + (.out_bytes // 0)) | add' "$T/$DAEMON_TRANSPORT.json")" -eq "$(true_bytes)" ]
		# Times are those of today, also where they are counted from the host's start.
		[[ " $(date +%F) $(date -u +%F) " = *" $(jq -r '.[0].first[:10]' "$T/$DAEMON_TRANSPORT.json") "* ]]
	done
	[ "$(jq length "$T/ipfix.json")" -eq "$(books source.flows records)" ]
	# One connection, with what its two ends sent.
	sport=$(jq -s 'map(select(.sent > 0 and .received > 0))[0].sport' "$T/tcp")
	[ "$(jq -c --argjson p "$sport" '[.[] | select(.src_port == $p and .proto == 6) | [.src4_addr, .in_bytes, .out_bytes]] | unique' "$T/ipfix.json")" = \
		"$(jq -c --argjson p "$sport" 'select(.sport == $p) | [[.src, .sent, .received]]' "$T/tcp")" ]
	[ "$(jq -c --argjson p "$sport" '[.[] | select((.src_port, .dst_port) == $p and .proto == 6) | [.src_port == $p, .in_bytes]] | unique' "$T/netflow9.json")" = \
		"$(jq -c --argjson p "$sport" 'select(.sport == $p) | [[false, .received], [true, .sent]]' "$T/tcp")" ]
}

@test "udp: what nobody listens to waits, and goes when somebody does" {
	need nfcapd
	PORT=$(free_port)
	exporter_start ipfix --ipfix-host "127.0.0.1:$PORT"
	traffic 20
	wait_until 'grep -q "nobody listens there" "$T/daemon.log"'
	[ "$("$PEERS/cursor" "$T/spool" ipfix acked)" -eq 0 ]
	nfcapd_start nf
	wait_until '[ "$("$PEERS/cursor" "$T/spool" ipfix acked)" -ge 40 ]'
	daemon_stop
	nfcapd_stop nf "$NFCAPD"
	assert_exported
	[ "$(jq 'map(.in_bytes + (.out_bytes // 0)) | add' "$T/nf.json")" -eq "$(true_bytes)" ]
}

# sink_start FILE: one TCP connection into a file.
sink_start() {
	[ -n "${PORT:-}" ] || PORT=$(free_port)
	nc -d -l 127.0.0.1 "$PORT" >"$1" 2>>"$T/peer.log" 3>&- &
	SINK=$!
	KEEP_PIDS+=("$SINK")
	wait_until '[ -n "$(ss -Hltn "sport = :$PORT")" ]'
}

@test "ipfix over TCP: every element, ours by the names that RFC 5610's records give them" {
	sink_start "$T/stream"
	exporter_start ipfix --ipfix-transport tcp --ipfix-host "127.0.0.1:$PORT" --ipfix-domain 4711
	traffic 50
	daemon_stop
	wait "$SINK"
	assert_exported
	"$PEERS/ipfix_read" "$T/stream" >"$T/flows.json"
	jq -c 'select(.protocolIdentifier == 6)' "$T/flows.json" | head -n 1
	[ "$(wc -l <"$T/flows.json")" -eq "$(books source.flows records)" ]
	[ "$(jq -s 'map(.octetDeltaCount + .reverseOctetDeltaCount) | add' "$T/flows.json")" -eq "$(true_bytes)" ]
	[ "$(jq -r .domain "$T/flows.json" | sort -u)" = 4711 ]
	[ "$(jq -r .observationDomainName "$T/flows.json" | sort -u)" = "$(hostname)" ]
	# The process at either end, by the generator's word.
	[ "$(jq -c 'select(.protocolIdentifier == 6 and .flowDirection == 1) | [.sourceTransportPort, .sekoiaProcessId]' "$T/flows.json" | sort)" = \
		"$(jq -c '[.sport, .client_pid]' "$T/tcp" | sort)" ]
	[ "$(jq -c 'select(.protocolIdentifier == 6 and .flowDirection == 0) | [.sourceTransportPort, .sekoiaProcessId]' "$T/flows.json" | sort)" = \
		"$(jq -c '[.sport, .server_pid]' "$T/tcp" | sort)" ]
	[ "$(jq -r .sekoiaEventId "$T/flows.json" | sort -u | wc -l)" -eq "$(books source.flows records)" ]
	[ "$(jq -r '[.sekoiaUserId, .userName, .sekoiaFlowOutcome] | join(" ")' "$T/flows.json" | sort -u)" = "0 root success" ]
	[ "$(jq -r 'select(.protocolIdentifier == 6) | .sekoiaProcessName' "$T/flows.json" | sort -u)" = tcpgen ]
	[ "$(jq -c 'keys | map(select(test("/")))' "$T/flows.json" | sort -u)" = '[]' ]
}

@test "ipfix over TCP: the collector is killed and comes back; nothing is missing" {
	sink_start "$T/stream1"
	exporter_start ipfix --ipfix-transport tcp --ipfix-host "127.0.0.1:$PORT"
	traffic 20
	wait_until '[ "$("$PEERS/cursor" "$T/spool" ipfix acked)" -ge 40 ]'
	kill -KILL "$SINK"
	traffic 20
	wait_until 'grep -q "retrying in" "$T/daemon.log"'
	sink_start "$T/stream2"
	wait_until '[ "$("$PEERS/cursor" "$T/spool" ipfix acked)" -ge 80 ]'
	daemon_stop
	wait "$SINK"
	assert_exported
	# Each connection has its templates; what came twice has the same id, and all is there.
	"$PEERS/ipfix_read" "$T/stream1" "$T/stream2" >"$T/flows.json"
	[ "$(jq -r .sekoiaEventId "$T/flows.json" | sort -u | wc -l)" -eq "$(books source.flows records)" ]
	[ "$(wc -l <"$T/flows.json")" -le "$(books output.ipfix sent)" ]
}

@test "ipfix over TLS: to a TLS server of another make, by the CA that is configured" {
	certs
	PORT=$(free_port)
	sleep 60 3>&- | openssl s_server -quiet -naccept 1 -accept "127.0.0.1:$PORT" -cert "$T/certs/server.pem" \
		-key "$T/certs/server.key" >"$T/stream" 2>>"$T/peer.log" 3>&- &
	KEEP_PIDS+=($!)
	wait_until '[ -n "$(ss -Hltn "sport = :$PORT")" ]'
	exporter_start ipfix --ipfix-transport tls --ipfix-host "localhost:$PORT"
	traffic 50
	daemon_stop
	assert_exported
	"$PEERS/ipfix_read" "$T/stream" >"$T/flows.json"
	[ "$(wc -l <"$T/flows.json")" -eq "$(books source.flows records)" ]
	[ "$(jq -s 'map(.octetDeltaCount + .reverseOctetDeltaCount) | add' "$T/flows.json")" -eq "$(true_bytes)" ]
	grep -q 'TLSv1.3' "$T/daemon.log"
}

@test "configuration: a host is needed, and IPFIX names" {
	run ! "$SEKOIA" --config /dev/null --output ipfix check
	[[ $output == *"the ipfix output needs ipfix.host (--ipfix-host HOST)"* ]]
	run ! "$SEKOIA" --config /dev/null --output netflow9 --netflow9-host a.example --flows-schema ecs check
	[[ $output == *"flows.schema: the netflow9 output needs the IPFIX names"* ]]
}
