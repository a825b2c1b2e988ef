# SPDX-License-Identifier: Apache-2.0
# A host that translates addresses (nft) tells of its flows what they are on the other
# side: of connections of its own, and of those that come to it.
#
# shellcheck disable=SC2016,SC2034,SC2119,SC2120

load ../lib/common

setup() {
	common_setup
	need_root
	[ -e /proc/sys/net/netfilter/nf_conntrack_count ] || skip "needs connection tracking in the kernel"
	command -v nft >/dev/null || skip "needs nft"
	netns_pair "sk${T##*.}"
	A=sk${T##*.}a
	B=sk${T##*.}b
	ip -n "$A" addr add 10.99.0.9/24 dev veth0
	ip -n "$A" addr add fd00:99::9/64 dev veth0 nodad
}

teardown() {
	common_teardown
}

# The collector lives in A, as it does on a host.
start() {
	nsenter --net="/run/netns/$A" "$SEKOIA" --config /dev/null --output stdout --spool-dir "$T/spool" \
		--collector-bpf-dir "$BPF_DIR" --monitor-socket "$T/monitor" --heartbeat-interval 0 \
		--events-enable no --journal-enable no --kernel-log no \
		--flows-networks 10.99.0.0/24,fd00:99::/64 "$@" >"$T/received" 2>>"$T/daemon.log" 3>&- &
	DAEMON_PID=$!
	DAEMON_TRANSPORT=stdout
	wait_until 'grep -q ": ready" "$T/daemon.log"' 15
}

nat_pid() {
	pgrep -P "$DAEMON_PID" -x sekoia-nat
}

translate() {
	ip netns exec "$A" nft -f - <<-EOF
		table inet nat {
			chain output {
				type nat hook output priority -100;
				ip daddr 10.99.0.50 tcp dport 80 dnat ip to 10.99.0.2:8080
				ip daddr 10.99.0.50 udp dport 53 dnat ip to 10.99.0.2:5353
				ip6 daddr fd00:99::50 tcp dport 80 dnat ip6 to [fd00:99::2]:8080
			}
			chain postrouting {
				type nat hook postrouting priority 100;
				ip saddr 10.99.0.1 ip daddr 10.99.0.2 tcp dport 8080 snat ip to 10.99.0.9
				ip6 saddr fd00:99::1 ip6 daddr fd00:99::2 tcp dport 8080 snat ip6 to fd00:99::9
			}
			chain prerouting {
				type nat hook prerouting priority -100;
				ip daddr 10.99.0.9 tcp dport 81 redirect to :8081
			}
		}
	EOF
}

in_ns() {
	local ns=$1

	shift
	ip netns exec "$ns" "$@" >/dev/null 2>&1 3>&- &
	KEEP_PIDS+=($!)
}

serve() {
	mkdir "$T/www"
	echo hello >"$T/www/file"
	in_ns "$B" busybox httpd -f -p '[::]:8080' -h "$T/www"
	in_ns "$A" busybox httpd -f -p '10.99.0.9:8081' -h "$T/www"
	in_ns "$A" busybox httpd -f -p '10.99.0.1:8081' -h "$T/www"
	in_ns "$B" dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file= --no-resolv --no-hosts \
		--user=root --port=5353 --listen-address=10.99.0.2 --address=/host.test/192.0.2.77
	wait_until '[ "$(ip netns exec "$B" ss -Hltnu "sport = :8080 or sport = :5353" | wc -l)" -ge 2 ]'
	wait_until '[ "$(ip netns exec "$A" ss -Hltn "sport = :8081" | wc -l)" -ge 2 ]'
}

talk() {
	ip netns exec "$A" curl -fsS --interface 10.99.0.1 --local-port 40000 -o /dev/null http://10.99.0.50/file
	ip netns exec "$A" curl -fsS --interface fd00:99::1 --local-port 40001 -o /dev/null 'http://[fd00:99::50]/file'
	ip netns exec "$A" dig +noedns +tries=1 -b 10.99.0.1#40002 @10.99.0.50 host.test >/dev/null
	ip netns exec "$A" "$PEERS/packetgen" send --from 10.99.0.1 --port 40005 --to 10.99.0.50 --to-port 53
	ip netns exec "$B" curl -fsS --local-port 40003 -o /dev/null http://10.99.0.9:81/file
	ip netns exec "$A" curl -fsS --interface 10.99.0.1 --local-port 40004 -o /dev/null http://10.99.0.2:8080/file
}

# What is told of the flow from this port on this host: FLOW PORT JQ
told() {
	jq -c "select(.sourceTransportPort == $1 and $2)" "$T/received" | tee /dev/stderr | wc -l
}

@test "source, destination and port of flows that are translated" {
	translate
	serve
	start
	[ -n "$(nat_pid)" ]
	talk
	daemon_stop
	assert_all_delivered
	[ "$(told 40000 '.flowDirection == 1 and .source.ip == "10.99.0.1" and .destination.ip == "10.99.0.50" and
		.destination.port == 80 and .source.nat.ip == "10.99.0.9" and .destination.nat == {ip: "10.99.0.2", port: 8080} and
		.postNATSourceIPv4Address == "10.99.0.9" and .postNAPTSourceTransportPort == .source.nat.port and
		.postNATDestinationIPv4Address == "10.99.0.2" and .postNAPTDestinationTransportPort == 8080')" -eq 1 ]
	[ "$(told 40001 '.flowDirection == 1 and .destination.ip == "fd00:99::50" and .source.nat.ip == "fd00:99::9" and
		.destination.nat == {ip: "fd00:99::2", port: 8080} and .postNATDestinationIPv6Address == "fd00:99::2"')" -eq 1 ]
	[ "$(told 40002 '.protocolIdentifier == 17 and .destination.ip == "10.99.0.50" and (.source | has("nat") | not) and
		.destination.nat == {ip: "10.99.0.2", port: 5353} and .process.name == "dig" and
		.initiatorPackets == 1 and .responderPackets == 1')" -eq 1 ]
	# A socket without a peer: what it sends is seen behind the translation, and told as it sees it.
	[ "$(told 40005 '.flowDirection == 1 and .source.ip == "10.99.0.1" and .destination.ip == "10.99.0.50" and
		.destination.port == 53 and .destination.nat == {ip: "10.99.0.2", port: 5353} and .initiatorPackets == 1')" -eq 1 ]
	# It came to port 81.
	[ "$(told 40003 '.flowDirection == 0 and .destination.port == 8081 and (.destination | has("nat") | not) and
		.sekoia_ebpf.before_nat == {destination: {ip: "10.99.0.9", port: 81}}')" -eq 1 ]
	# The source alone.
	[ "$(told 40004 '.flowDirection == 1 and .source.nat.ip == "10.99.0.9" and (.destination | has("nat") | not) and
		(has("postNATDestinationIPv4Address") | not)')" -eq 1 ]
	[ "$(books nat translated)" -ge 5 ]
	[ "$(books nat unanswered)" -eq 0 ]
}

@test "tables of the older iptables, the host's and a container's" {
	command -v iptables-legacy >/dev/null && iptables-legacy -t nat -S >/dev/null 2>&1 || skip "needs iptables-legacy"
	ip netns exec "$A" iptables-legacy -t nat -A OUTPUT -d 10.99.0.50 -p tcp --dport 80 -j DNAT --to 10.99.0.2:8080
	ip netns exec "$B" iptables-legacy -t nat -A OUTPUT -d 10.99.0.60 -p tcp --dport 80 -j DNAT --to 10.99.0.1:8081
	serve
	start
	ip netns exec "$A" curl -fsS --local-port 40000 -o /dev/null http://10.99.0.50/file
	wait_until '[ "$(told 40000 ".flowDirection == 0" 2>/dev/null)" -ge 1 ]' # a process of B's is known by that
	ip netns exec "$B" curl -fsS --local-port 40011 -o /dev/null http://10.99.0.60/file
	daemon_stop
	assert_all_delivered
	[ "$(told 40000 '.flowDirection == 1 and .destination.nat == {ip: "10.99.0.2", port: 8080}')" -eq 1 ]
	[ "$(told 40011 '.flowDirection == 1 and .destination.nat == {ip: "10.99.0.1", port: 8081}')" -eq 1 ]
}

# nfcapd_start NAME: in A; its port in PORT.
nfcapd_start() {
	PORT=$((RANDOM % 20000 + 40000))
	mkdir "$T/$1"
	in_ns "$A" nfcapd -w "$T/$1" -b 127.0.0.1 -p "$PORT" -t 3600
	wait_until 'ip netns exec "$A" ss -Hlun "sport = :$PORT" | grep -q .'
}

# On its way out of B, and into it: B is a container, and A the host that it is on.
translate_in_b() {
	ip netns exec "$B" nft -f - <<-EOF
		table inet nat {
			chain output {
				type nat hook output priority -100;
				ip daddr 10.99.0.60 tcp dport 80 dnat ip to 10.99.0.1:8081
				ip daddr 10.99.0.60 udp dport 53 dnat ip to 10.99.0.1:5353
			}
			chain prerouting {
				type nat hook prerouting priority -100;
				ip daddr 10.99.0.2 tcp dport 82 redirect to :8080
			}
		}
	EOF
}

talk_to_b() {
	ip netns exec "$A" curl -fsS --interface 10.99.0.1 --local-port 40010 -o /dev/null http://10.99.0.2:82/file
	wait_until '[ "$(told 40010 ".flowDirection == 0" 2>/dev/null)" -ge 1 ]'
	ip netns exec "$B" curl -fsS --local-port 40011 -o /dev/null http://10.99.0.60/file
	# A process that has ended does not tell where it was: this one waits for an answer.
	in_ns "$A" nc -d -u -l 10.99.0.1 5353
	wait_until 'ip netns exec "$A" ss -Hlun "sport = :5353" | grep -q .'
	in_ns "$B" dig +noedns +tries=1 +time=20 -b 10.99.0.2#40012 @10.99.0.60 host.test
	wait_until '[ "$(told 40012 ".flowDirection == 1" 2>/dev/null)" -ge 1 ]'
	wait_until '[ "$(told 40011 ".flowDirection == 1" 2>/dev/null)" -ge 1 ]'
}

@test "what a container translates inside of its own network namespace" {
	translate_in_b
	serve
	start --flows-idle-timeout 2s
	talk_to_b
	ip netns exec "$B" "$PEERS/packetgen" send --from 10.99.0.2 --port 40014 --to 10.99.0.60 --to-port 53
	# Nothing of it is kept open: the namespace would stay for ever.
	[ -z "$(find "/proc/$(nat_pid)/fd" -lname "net:*" -printf '%l\n' | sort -u | sed 1d)" ]
	[ "$(find "/proc/$(nat_pid)/fd" -lname "socket:*" | wc -l)" -eq 2 ]
	ip netns exec "$A" curl -fsS --interface 10.99.0.1 --local-port 40004 -o /dev/null http://10.99.0.2:8080/file
	daemon_stop
	assert_all_delivered
	[ "$(told 40010 '.flowDirection == 0 and .destination.port == 8080 and
		.sekoia_ebpf.before_nat == {destination: {ip: "10.99.0.2", port: 82}}')" -eq 1 ]
	[ "$(told 40010 '.flowDirection == 1 and .destination.port == 82 and (.destination | has("nat") | not)')" -eq 1 ]
	[ "$(told 40011 '.flowDirection == 1 and .destination.ip == "10.99.0.60" and .destination.port == 80 and
		.destination.nat == {ip: "10.99.0.1", port: 8081}')" -eq 1 ]
	[ "$(told 40012 '.protocolIdentifier == 17 and .flowDirection == 1 and .destination.ip == "10.99.0.60" and .destination.port == 53 and
		.destination.nat == {ip: "10.99.0.1", port: 5353}')" -eq 1 ]
	[ "$(told 40004 '.flowDirection == 0 and (.sekoia_ebpf.before_nat == null)')" -eq 1 ]
	[ "$(books nat translated)" -eq 3 ]
	[ "$(books nat unanswered)" -eq 0 ]
	# The one that had ended; other tests may have such, too.
	[ "$(told 40014 '.flowDirection == 1 and (.destination | has("nat") | not)')" -eq 1 ]
	[ "$(books nat unreached)" -ge 1 ]
}

@test "what the host makes of what a container has translated is told in the end" {
	translate
	translate_in_b
	# To a port of the host's that it redirects.
	ip netns exec "$B" nft insert rule inet nat output ip daddr 10.99.0.70 tcp dport 80 dnat ip to 10.99.0.9:81
	serve
	start --flows-idle-timeout 2s
	talk_to_b
	ip netns exec "$B" curl -fsS --local-port 40013 -o /dev/null http://10.99.0.70/file
	daemon_stop
	assert_all_delivered
	# Redirected by A to 8081: that is how A's tracking has it, in which B's packets are, too.
	[ "$(told 40013 '.flowDirection == 1 and .destination.ip == "10.99.0.70" and .destination.nat == {ip: "10.99.0.1", port: 8081}')" -eq 1 ]
	[ "$(told 40013 '.flowDirection == 0 and .destination.port == 8081 and
		.sekoia_ebpf.before_nat == {destination: {ip: "10.99.0.9", port: 81}}')" -eq 1 ]
}

@test "IPFIX and NetFlow 9: the other side of the translation, to nfdump and to tshark" {
	command -v nfcapd >/dev/null && command -v tshark >/dev/null || skip "needs nfcapd and tshark"
	local ipfix netflow9 shark
	nfcapd_start ipfix
	ipfix=$PORT
	nfcapd_start netflow9
	netflow9=$PORT
	ip netns exec "$A" tshark -Qi lo -f 'udp' -w "$T/wire.pcap" 2>>"$T/daemon.log" 3>&- &
	shark=$!
	KEEP_PIDS+=("$shark")
	wait_until '[ -s "$T/wire.pcap" ]'
	translate
	serve
	start --output stdout,ipfix,netflow9 --ipfix-host "127.0.0.1:$ipfix" --netflow9-host "127.0.0.1:$netflow9"
	talk
	daemon_stop
	assert_accounts_balance
	sleep 0.3 # what tshark reads is behind what is sent
	kill -INT "$shark"
	wait "$shark" || true
	kill "${KEEP_PIDS[@]}" 2>/dev/null || true
	for DAEMON_TRANSPORT in ipfix netflow9; do
		wait_until 'ls "$T/$DAEMON_TRANSPORT"/nfcapd.2*'
		nfdump -r "$T/$DAEMON_TRANSPORT"/nfcapd.2* -o json >"$T/$DAEMON_TRANSPORT.json"
		[ "$(books "output.$DAEMON_TRANSPORT" rejected)" -eq 0 ]
	done
	# What the JSON record says, in each form.
	local want port
	port=$(jq 'select(.sourceTransportPort == 40000 and .flowDirection == 1) | .source.nat.port' "$T/received")
	want="[\"10.99.0.1\",\"10.99.0.50\",80,\"10.99.0.9\",\"$port\",\"10.99.0.2\",\"8080\"]"
	for DAEMON_TRANSPORT in ipfix netflow9; do
		[ "$(jq -c '.[] | select(.src_port == 40000 and .dst_port == 80) |
			[.src4_addr, .dst4_addr, .dst_port, .src4_xlt_ip, .src_xlt_port, .dst4_xlt_ip, .dst_xlt_port]' "$T/$DAEMON_TRANSPORT.json")" = "$want" ]
		# IPv6: this nfdump shows the port only, so the addresses are tshark's.
		[ "$(jq -r '.[] | select(.src_port == 40001 and .dst_port == 80) | .dst_xlt_port' "$T/$DAEMON_TRANSPORT.json")" = 8080 ]
		# Only the destination changes; and what is not translated is told without it.
		[ "$(jq -c '.[] | select(.src_port == 40002 and .dst_port == 53) | [.src4_xlt_ip, .dst4_xlt_ip, .dst_xlt_port]' \
			"$T/$DAEMON_TRANSPORT.json")" = '["10.99.0.1","10.99.0.2","5353"]' ]
		[ "$(jq '[.[] | select(.dst_port == 8080 and .direction == 0) | has("src4_xlt_ip") or has("src6_xlt_ip")] | unique == [false]' \
			"$T/$DAEMON_TRANSPORT.json")" = true ]
	done
	tshark -r "$T/wire.pcap" -d "udp.port==$ipfix,cflow" -d "udp.port==$netflow9,cflow" -Y cflow -V >"$T/shark" 2>/dev/null
	[ "$(grep -c 'Post NAT Source IPv4 Address: 10.99.0.9' "$T/shark")" -ge 2 ]
	[ "$(grep -c 'Post NAT Destination IPv6 Address: fd00:99::2' "$T/shark")" -ge 2 ]
	run ! grep -E 'Malformed|No template found' "$T/shark"
}

@test "without rules that translate nothing is asked; without its process nothing is held up" {
	serve
	start
	wait_until '[ -n "$(nat_pid)" ]'
	ip netns exec "$A" curl -fsS --interface 10.99.0.1 --local-port 40004 -o /dev/null http://10.99.0.2:8080/file
	ip netns exec "$A" curl -fsS --interface 10.99.0.1 --local-port 40005 -o /dev/null http://10.99.0.2:8080/file
	wait_until '[ "$(told 40005 true 2>/dev/null)" -ge 1 ]'
	[ "$(books nat asked)" -eq 0 ]
	# It may ask the kernel, enter a network namespace, and nothing more.
	[ "$(awk '/^CapEff/ { print $2 }' "/proc/$(nat_pid)/status")" = 0000000000201000 ]
	[ "$(awk '/^Seccomp:/ { print $2 }' "/proc/$(nat_pid)/status")" = 2 ]
	kill -KILL "$(nat_pid)"
	translate
	wait_until 'grep -q "nat (pid [0-9]*) is gone" "$T/daemon.log"' 15
	ip netns exec "$A" curl -fsS --interface 10.99.0.1 --local-port 40006 -o /dev/null http://10.99.0.50/file
	daemon_stop
	assert_all_delivered
	[ "$(books nat asked)" -eq 0 ]
	[ "$(told 40006 '.flowDirection == 1 and (.destination | has("nat") | not)')" -eq 1 ]
}
