# SPDX-License-Identifier: Apache-2.0
# curl, iperf3, dig and ping between two network namespaces: what each program
# says of its own bytes is what the flow record says.

load ../lib/common

setup() {
	common_setup
	need_root
	netns_pair "sk${T##*.}"
	A=sk${T##*.}a
	B=sk${T##*.}b
}

teardown() {
	common_teardown
}

in_a() {
	ip netns exec "$A" "$@"
}

# A server in B, killed with the test.
in_b() {
	ip netns exec "$B" "$@" >/dev/null 2>&1 3>&- &
	KEEP_PIDS+=($!)
}

# The records that a jq condition selects.
records() {
	jq -c "select($1)" "$T/received"
}

@test "curl: both ends have the bytes that curl counted, IPv4 and IPv6" {
	local url want_up want_down
	mkdir "$T/www"
	head -c 3000000 /dev/urandom >"$T/www/file"
	in_b busybox httpd -f -p 8080 -h "$T/www"
	in_b busybox httpd -f -p '[::]:8081' -h "$T/www"
	peer_start https
	daemon_start https --journal-enable no --kernel-log no
	wait_until 'in_a curl -fso /dev/null http://10.99.0.2:8080/file' 5
	for url in http://10.99.0.2:8080/file 'http://[fd00:99::2]:8081/file'; do
		in_a curl -fsS --local-port 40000 -o /dev/null \
			-w '%{size_request} %{size_header} %{size_download}\n' "$url" >>"$T/curl"
	done
	daemon_stop
	peer_stop
	assert_all_delivered
	while read -r up header body; do
		want_up=$up
		want_down=$((header + body))
		[ "$(records ".sourceTransportPort == 40000 and .initiatorOctets == $want_up and
			.responderOctets == $want_down and .process.name == \"curl\" and .flowDirection == 1" | wc -l)" -ge 1 ]
		[ "$(records ".sourceTransportPort == 40000 and .initiatorOctets == $want_up and
			.responderOctets == $want_down and .process.name == \"busybox\" and .flowDirection == 0" | wc -l)" -ge 1 ]
	done <"$T/curl"
	[ "$(records '.sourceIPv6Address == "fd00:99::1" and .network.type == "ipv6"' | wc -l)" -ge 1 ]
	[ "$(records '.sourceTransportPort == 40000' | wc -l)" -eq 4 ]
}

@test "iperf3: a stream's bytes and its cookie, both ends alike" {
	in_b iperf3 -s -p 5201
	peer_start https
	daemon_start https --journal-enable no --kernel-log no
	wait_until 'in_a iperf3 -c 10.99.0.2 -n 1K >/dev/null 2>&1' 5
	in_a iperf3 -c 10.99.0.2 -n 50M --cport 41000 -J >"$T/iperf"
	daemon_stop
	peer_stop
	assert_all_delivered
	local sent
	sent=$(jq .end.sum_sent.bytes "$T/iperf")
	echo "iperf3 sent $sent"
	records '.sourceTransportPort == 41000'
	# 37 bytes of cookie begin each of iperf3's connections. Its server resets them
	# at the end, at times with data on the way: then the sender's record says that
	# it is not certain, and has what was acknowledged.
	[ "$(records ".sourceTransportPort == 41000 and (.initiatorOctets == $((sent + 37)) or
		(.initiatorOctets < $((sent + 37)) and .initiatorOctets > $((sent * 9 / 10)) and
		(.flowDirection == 0 or (.event.reason == \"connection reset\" and
		.sekoia_ebpf.uncertain == [\"out_bytes\"]))))" | wc -l)" -eq 2 ]
}

@test "dig: one packet each way, headers counted" {
	in_b dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file= --no-resolv --no-hosts \
		--user=root --port=5353 --listen-address=10.99.0.2 --address=/host.test/192.0.2.77
	peer_start https
	daemon_start https --journal-enable no --kernel-log no
	wait_until '[ "$(in_a dig +short +tries=1 +time=1 -b 10.99.0.1#42000 @10.99.0.2 -p 5353 host.test)" = 192.0.2.77 ]' 10
	in_a dig +noedns +tries=1 -b 10.99.0.1#42001 @10.99.0.2 -p 5353 host.test >"$T/dig"
	daemon_stop
	peer_stop
	assert_all_delivered
	local got
	got=$(sed -n 's/.*MSG SIZE *rcvd: //p' "$T/dig")
	# 27: a DNS header and one question for host.test.
	[ "$(records ".sourceTransportPort == 42001 and .protocolIdentifier == 17 and .initiatorOctets == 55 and
		.initiatorPackets == 1 and .responderOctets == $((got + 28)) and .responderPackets == 1" | wc -l)" -eq 2 ]
	[ "$(records '.sourceTransportPort == 42001 and .process.name == "dig" and .flowDirection == 1' | wc -l)" -eq 1 ]
}

@test "ping: requests and answers" {
	peer_start https
	daemon_start https --journal-enable no --kernel-log no
	in_a ping -c 3 -i 0.2 -s 100 10.99.0.2
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(records '.protocolIdentifier == 1 and .sourceIPv4Address == "10.99.0.1" and .icmpTypeCodeIPv4 == 2048 and
		.initiatorPackets == 3 and .initiatorOctets == 384 and .responderPackets == 3' | wc -l)" -eq 1 ]
}

@test "a refused connect is a flow with its reason" {
	peer_start https
	daemon_start https --journal-enable no --kernel-log no
	run ! in_a curl -s --local-port 43000 http://10.99.0.2:9/
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(records '.sourceTransportPort == 43000 and .event.outcome == "failure" and
		.event.reason == "connection refused" and .process.name == "curl"' | wc -l)" -eq 1 ]
}
