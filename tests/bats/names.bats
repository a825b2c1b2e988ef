# SPDX-License-Identifier: Apache-2.0
# What flows are called: a real dnsmasq, real resolvers, real TLS between two network
# namespaces. A server of the tests computes each JA4 once more, by code of its own.

load ../lib/common

setup() {
	common_setup
	need_root
	A=sk${T##*.}a
	B=sk${T##*.}b
	D=n${T##*.}.test # names are this test's alone
	D=${D,,}
	ADDRESS=10.99.0.2
	netns_pair "sk${T##*.}"
	mkdir -p "/etc/netns/$A"
	echo "nameserver $ADDRESS" >"/etc/netns/$A/resolv.conf"
}

teardown() {
	rm -rf "/etc/netns/$A"
	rmdir /etc/netns 2>/dev/null || true
	common_teardown
}

in_a() {
	ip netns exec "$A" "$@"
}

# start_in NAMESPACE COMMAND...: killed with the test.
start_in() {
	ip netns exec "$@" >>"$T/servers.out" 2>&1 3>&- &
	KEEP_PIDS+=($!)
}

dns_start() {
	start_in "$B" dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file= --no-resolv --no-hosts \
		--user=root --listen-address="$ADDRESS" --bind-interfaces --local=/test/ \
		--host-record="four.$D,$ADDRESS" --host-record="six.$D,fd00:99::2" \
		--host-record="real.$D,$ADDRESS" --cname="alias.$D,real.$D" --cname="www.$D,alias.$D"
	wait_until 'in_a dig +short +tries=1 +time=1 @$ADDRESS ready.$D >/dev/null' 10
}

web_start() {
	start_in "$B" busybox httpd -f -p '[::]:8080' -h "$T"
	wait_until 'in_a curl -so /dev/null "http://$ADDRESS:8080/"' 5
}

tls_start() {
	certs
	start_in "$B" python3 "$TOP/tests/lib/hello.py" serve :: 4433 "$T/certs/server.pem" \
		"$T/certs/server.key" "$T/hellos"
	wait_until 'in_a nc -z $ADDRESS 4433' 5
}

fetch() { # LOCAL_PORT URL...
	in_a curl -sko /dev/null -m 5 --local-port "$@"
}

# A real one; it says "localhost" when it is given an address.
quic() { # NAME
	in_a gtlsclient --quiet --no-quic-dump --no-http-dump --exit-on-all-streams-close --timeout=5s \
		"$1" 443 "https://$1/" &>>"$T/quic.out"
}

# flow LOCAL_PORT FILTER: what jq makes of the record of the flow that came from there.
flow() {
	jq -r "select(.sourceTransportPort == $1 and .flowDirection == 1 and
		(.destinationTransportPort == 8080 or .destinationTransportPort == 4433)) | $2" "$T/received"
}

finish() {
	daemon_stop
	peer_stop
	assert_all_delivered
	# Each packet that was taken is one or the other.
	[ "$(books kernel.names seen)" -eq $(($(books kernel.names submitted) + $(books kernel.names filtered) +
		$(books kernel.names ring_full) + $(books kernel.names no_room))) ]
	[ "$(books source.names samples)" -eq $(($(books names answers) + $(books names hellos) +
		$(books names parts) + $(books names malformed) + $(books source.names bad))) ]
}

@test "DNS: the name that the process asked for: A, AAAA, over two CNAMEs, another one's" {
	dns_start
	web_start
	peer_start https
	daemon_start https --journal-enable no --kernel-log no
	fetch 40001 "http://four.$D:8080/"
	fetch 40002 "http://six.$D:8080/"
	fetch 40003 "http://WWW.$D:8080/"
	# Nobody asked for the address since; its last name is what it is taken for.
	in_a dig +short "real.$D" >/dev/null
	fetch 40004 "http://$ADDRESS:8080/"
	in_a dig +noedns -b 10.99.0.1#40005 "www.$D" >/dev/null
	in_a dig +noedns -b 10.99.0.1#40006 "nope.$D" >/dev/null
	finish
	[ "$(flow 40001 .destination.domain)" = "four.$D" ]
	[ "$(flow 40001 .sekoia_ebpf.uncertain)" = null ]
	[ "$(flow 40002 .destination.domain)" = "six.$D" ]
	[ "$(flow 40002 .destination.ip)" = fd00:99::2 ]
	[ "$(flow 40003 .destination.domain)" = "www.$D" ]
	[ "$(flow 40004 .destination.domain)" = "real.$D" ]
	[ "$(flow 40004 '.sekoia_ebpf.uncertain | join(" ")')" = domain ]
	# The side that was called has no name for itself.
	[ "$(jq -r 'select(.sourceTransportPort == 40001 and .flowDirection == 0) | .destination.domain' "$T/received")" = null ]
	# The transactions themselves.
	[ "$(jq -r 'select(.sourceTransportPort == 40005 and .flowDirection == 1) | .dns |
		[.response_code, .question.name, .question.type, .resolved_ip[]] | join(" ")' "$T/received")" = "NOERROR www.$D A $ADDRESS" ]
	[ "$(jq -r 'select(.sourceTransportPort == 40006 and .flowDirection == 1) | .dns.response_code' "$T/received")" = NXDOMAIN ]
	[ "$(books names malformed)" -eq 0 ]
}

@test "DNS: a stub on loopback is heard, though loopback is no flow; the names outlive a kill -9" {
	dns_start
	web_start
	start_in "$A" dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file= --no-resolv --no-hosts \
		--user=root --listen-address=127.0.0.53 --bind-interfaces --server="$ADDRESS"
	echo "nameserver 127.0.0.53" >"/etc/netns/$A/resolv.conf"
	wait_until '[ "$(in_a dig +short +tries=1 +time=1 @127.0.0.53 four.$D)" = $ADDRESS ]' 10
	peer_start https
	daemon_start https --journal-enable no --kernel-log no
	fetch 40011 "http://four.$D:8080/"
	in_a dig +short "www.$D" >/dev/null
	wait_until '"$SEKOIA" --config /dev/null --monitor-socket "$T/monitor" status --json | jq -e ".names.answers >= 3"' 10
	daemon_kill
	daemon_start https --journal-enable no --kernel-log no
	fetch 40012 "http://$ADDRESS:8080/"
	finish
	[ "$(flow 40011 .destination.domain)" = "four.$D" ]
	[ "$(flow 40011 .sekoia_ebpf.uncertain)" = null ]
	[ "$(flow 40012 .destination.domain)" = "www.$D" ]
}

@test "TLS: server name, protocols and JA4 of openssl, curl and a hello in parts, on both ends" {
	tls_start
	peer_start https
	daemon_start https --journal-enable no --kernel-log no --flows-dns no
	in_a openssl s_client -bind 10.99.0.1:40021 -connect "$ADDRESS:4433" -servername "one.$D" -alpn h2,http/1.1 </dev/null &>/dev/null || true
	in_a openssl s_client -bind 10.99.0.1:40022 -connect "$ADDRESS:4433" -noservername -tls1_2 -alpn h2 </dev/null &>/dev/null || true
	in_a openssl s_client -bind 10.99.0.1:40023 -connect "$ADDRESS:4433" -noservername </dev/null &>/dev/null || true
	in_a curl -sko /dev/null --local-port 40024 --resolve "two.$D:4433:$ADDRESS" "https://two.$D:4433/"
	in_a curl -sko /dev/null --local-port 40025 --http1.1 --resolve "six.$D:4433:[fd00:99::2]" "https://six.$D:4433/"
	in_a python3 "$TOP/tests/lib/hello.py" connect "$ADDRESS" 4433 40026 "parts.$D" 3
	wait_until '[ "$(wc -l <"$T/hellos")" -eq 6 ]' 5
	finish
	cat "$T/hellos"
	# What the server saw is what both flows say: the client's and its own.
	local port ja4 name protocols n=0
	while read -r port ja4 name protocols; do
		[ "$(jq -r "select(.sourceTransportPort == $port and .destinationTransportPort == 4433 and .tls) |
			[.tls.client.ja4, .tls.client.server_name // \"-\",
			((.tls.client.alpn // [\"-\"]) | join(\",\"))] | join(\" \")" "$T/received")" = "$ja4 $name $protocols
$ja4 $name $protocols" ]
		n=$((n + 1))
	done <"$T/hellos"
	[ $n -eq 6 ]
	[ "$(flow 40021 .tls.next_protocol)" = null ]
	[ "$(flow 40022 .tls.next_protocol)" = h2 ]
	[ "$(flow 40021 .destination.domain)" = null ]
	[ "$(books names parts)" -ge 4 ]
	[ "$(books names incomplete)" -eq 0 ]
}

@test "DNS over TCP: as over UDP, of the process that asked; a stub on loopback, too" {
	dns_start
	web_start
	echo 'options use-vc' >>"/etc/netns/$A/resolv.conf"
	peer_start https
	daemon_start https --journal-enable no --kernel-log no
	fetch 40041 "http://four.$D:8080/"
	fetch 40042 "http://www.$D:8080/"
	# Two questions on one connection.
	in_a dig +tcp +keepopen -b 10.99.0.1#40044 "@$ADDRESS" "four.$D" "real.$D" >/dev/null
	start_in "$A" dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file= --no-resolv --no-hosts \
		--user=root --listen-address=127.0.0.53 --bind-interfaces --server="$ADDRESS"
	wait_until '[ "$(in_a dig +short +tries=1 +time=1 @127.0.0.53 four.$D)" = $ADDRESS ]' 10
	printf 'nameserver 127.0.0.53\noptions use-vc\n' >"/etc/netns/$A/resolv.conf"
	fetch 40046 "http://alias.$D:8080/"
	finish
	[ "$(flow 40041 .destination.domain)" = "four.$D" ]
	[ "$(flow 40041 .sekoia_ebpf.uncertain)" = null ]
	[ "$(flow 40042 .destination.domain)" = "www.$D" ]
	[ "$(flow 40042 .sekoia_ebpf.uncertain)" = null ]
	[ "$(flow 40046 .destination.domain)" = "alias.$D" ]
	[ "$(flow 40046 .sekoia_ebpf.uncertain)" = null ]
	[ "$(jq -r 'select(.sourceTransportPort == 40044 and .flowDirection == 1) | .dns |
		[.response_code, .question.name, .question.type, .resolved_ip[]] | join(" ")' "$T/received")" = "NOERROR real.$D A $ADDRESS" ]
	[ "$(books names malformed)" -eq 0 ]
	[ "$(books names incomplete)" -eq 0 ]
}

@test "QUIC: server name, protocols and JA4 of a real client, and of a hello in two datagrams, on both ends" {
	command -v gtlsclient >/dev/null && command -v gtlsserver >/dev/null || skip "needs ngtcp2-client and ngtcp2-server"
	certs
	dns_start
	start_in "$B" gtlsserver --quiet "$ADDRESS" 4434 "$T/certs/server.key" "$T/certs/server.pem"
	start_in "$B" python3 "$TOP/tests/lib/hello.py" relay "$ADDRESS" 443 4434 "$T/hellos"
	wait_until '[ -n "$(ip netns exec "$B" ss -Hlun "sport = :443 or sport = :4434")" ]' 5
	peer_start https
	daemon_start https --journal-enable no --kernel-log no --flows-dns no
	quic "four.$D"
	quic "real.$D"
	# A hello in two datagrams, the second one first, as of a client with a key of ML-KEM; and of
	# version 2, which Debian has no client of.
	in_a "$PEERS/quic_client" "$ADDRESS" 443 "parts.$D" 1500 1
	in_a "$PEERS/quic_client" "$ADDRESS" 443 "two.$D" 1500 2
	wait_until '[ "$(wc -l <"$T/hellos")" -eq 4 ]' 5
	finish
	cat "$T/hellos"
	local port ja4 name protocols n=0
	while read -r port ja4 name protocols; do
		[ "$(jq -r "select(.sourceTransportPort == $port and .destinationTransportPort == 443 and .tls) |
			[.tls.client.ja4, .tls.client.server_name, (.tls.client.alpn | join(\",\"))] | join(\" \")" "$T/received")" = "$ja4 $name $protocols
$ja4 $name $protocols" ]
		n=$((n + 1))
	done <"$T/hellos"
	[ $n -eq 4 ]
	[ "$(cut -d ' ' -f 3 "$T/hellos" | tr '\n' ' ')" = "four.$D real.$D parts.$D two.$D " ]
	[ "$(books names malformed)" -eq 0 ]
	[ "$(books names incomplete)" -eq 0 ]
}

@test "off: neither is there, and nothing of it is attached" {
	dns_start
	tls_start
	peer_start https
	daemon_start https --journal-enable no --kernel-log no --flows-tls no
	fetch 40031 "https://four.$D:4433/"
	daemon_hand_over
	# What is already attached is replaced, by nothing.
	daemon_start https --journal-enable no --kernel-log no --flows-dns no --flows-tls no --flows-quic no
	wait_until '! ls -d "$BPF_DIR"/*/names 2>/dev/null' 5
	fetch 40032 "https://four.$D:4433/"
	in_a dig +noedns -b 10.99.0.1#40033 "four.$D" >/dev/null
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(flow 40031 .destination.domain)" = "four.$D" ]
	[ "$(flow 40031 .tls)" = null ]
	[ "$(flow 40032 .destination.domain)" = null ]
	[ "$(flow 40032 .tls)" = null ]
	[ "$(jq -r 'select(.sourceTransportPort == 40033 and .flowDirection == 1) | .dns' "$T/received")" = null ]
	[ "$(sed -n '/handing over/,$p' "$T/daemon.log" | sed -n '/: ready/,$p' | grep -c '^books: names')" -eq 0 ]
}
