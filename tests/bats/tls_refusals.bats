# SPDX-License-Identifier: Apache-2.0
# TLS that must not come to be: the daemon says once why and what helps, sends
# nothing, and delivers everything when the peer has been repaired.

load ../lib/common
load ../lib/faults

setup() {
	faults_setup
}

teardown() {
	common_teardown
}

# A port that is free now, and that the peers of this test will have.
choose_port() {
	peer_start "$1"
	peer_stop KILL
	rm -f "$T/received"
}

# What the intake does not do.
s_server() {
	openssl s_server -accept "127.0.0.1:$PEER_PORT" -cert "$T/certs/server.pem" \
		-key "$T/certs/server.key" -quiet "$@" >/dev/null 2>>"$T/peer.log" 3>&- &
	PEER_PID=$!
	wait_until 'ss -Hltn "sport = :$PEER_PORT" | grep -q .'
}

# refused TRANSPORT CAUSE CURE: the peer that is running is refused for CAUSE,
# more than once; then it is repaired, and everything arrives.
refused() {
	local transport=$1 cause=$2 cure=$3

	daemon_start "$transport"
	emit 50
	wait_until "[ \$(log_count '$cause') -ge 1 ]"
	wait_until '[ "$(failures "'"$transport"'")" -ge 3 ]'
	echo "--- while refused:"
	cat "$T/daemon.log"
	[ "$(log_troubles)" -eq 1 ]
	[ "$(log_count "$transport: .*$cause.*$cure.*; retrying in")" -eq 1 ]
	[ ! -s "$T/received" ]

	peer_stop KILL
	peer_start "$transport"
	wait_for_flows
	# An outage that was told ends with a line, too.
	[ "$(log_count "$transport: connected to .* after [0-9]+ attempts, [0-9,]+ events waiting")" -eq 1 ]
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived
	[ "$(peer_summary repeats)" -eq 0 ]
	[ "$(peer_summary gaps)" -eq 0 ]
}

@test "tls: https: an expired certificate" {
	peer_start https --cert "$T/certs/expired.pem" --tls-key "$T/certs/expired.key"
	refused https "certificate expired" "renew it, or check the clock"
}

@test "tls: relp: an expired certificate" {
	peer_start relp --cert "$T/certs/expired.pem" --tls-key "$T/certs/expired.key"
	refused relp "certificate expired" "renew it, or check the clock"
}

@test "tls: syslog: an expired certificate" {
	peer_start syslog --cert "$T/certs/expired.pem" --tls-key "$T/certs/expired.key"
	refused syslog "certificate expired" "renew it, or check the clock"
}

@test "tls: https: a certificate of the future" {
	peer_start https --cert "$T/certs/not-yet.pem" --tls-key "$T/certs/not-yet.key"
	refused https "certificate not yet valid.*begins at 2090-01-01" "check the clock"
}

@test "tls: https: a certificate for another name" {
	peer_start https --cert "$T/certs/wrong-name.pem" --tls-key "$T/certs/wrong-name.key"
	refused https "for another.test, not for localhost" "set tls.server_name"
}

@test "tls: https: a self-signed certificate" {
	peer_start https --cert "$T/certs/self-signed.pem" --tls-key "$T/certs/self-signed.key"
	refused https "self-signed certificate" "tls.ca"
}

@test "tls: https: a certificate of an unknown CA" {
	peer_start https --cert "$T/certs/untrusted.pem" --tls-key "$T/certs/untrusted.key"
	refused https "unknown CA.*sekoia-ebpf test other-ca" "give its CA with tls.ca"
}

@test "tls: https: a peer that speaks only TLS 1.1" {
	choose_port https
	s_server -tls1_1 -cipher 'ALL:@SECLEVEL=0'
	refused https "TLS 1.2" "must be upgraded"
}

@test "tls: https: a peer without TLS" {
	choose_port https
	"$PEERS/proxy" --port "$PEER_PORT" --ports-file "$T/ports" 3>&- &
	PEER_PID=$!
	wait_until '[ -s "$T/ports" ]'
	refused https "does not speak TLS on this port: it says .HTTP/1.1 400" "check the port"
}

@test "tls: relp: a peer without TLS" {
	peer_start relp --plain
	refused relp "closed the connection in the handshake" "check that this port speaks TLS"
}

@test "tls: syslog: a peer without TLS" {
	peer_start syslog --plain
	refused syslog "closed the connection in the handshake" "check that this port speaks TLS"
}

@test "tls: https: a peer that wants a client certificate" {
	certs
	peer_start https --client-ca "$T/certs/ca.pem"
	refused https "requires a client certificate" "give one with tls.cert and tls.key"
}

@test "tls: relp: a peer that wants a client certificate" {
	certs
	peer_start relp --client-ca "$T/certs/ca.pem"
	refused relp "requires a client certificate" "give one with tls.cert and tls.key"
}

@test "tls: syslog: a peer that wants a client certificate" {
	certs
	peer_start syslog --client-ca "$T/certs/ca.pem"
	refused syslog "requires a client certificate" "give one with tls.cert and tls.key"
}

@test "tls: https: a client certificate of a CA that the peer does not trust" {
	certs
	DAEMON_ARGS+=(--tls-cert "$T/certs/other-client.pem" --tls-key "$T/certs/other-client.key")
	peer_start https --client-ca "$T/certs/ca.pem"
	refused https "refuses our client certificate" "a CA that it trusts"
}

@test "tls: all: a client certificate that the peer trusts" {
	certs
	for transport in https relp syslog; do
		PEER_PORT=
		rm -rf "$T/spool" "$T/received"
		EMITTED=0
		peer_start $transport --client-ca "$T/certs/ca.pem"
		daemon_start $transport --tls-cert "$T/certs/client.pem" --tls-key "$T/certs/client.key"
		emit 20
		wait_for_flows
		daemon_stop
		peer_stop
		assert_all_delivered
		assert_flows_arrived
		[ "$(log_troubles)" -eq 0 ]
	done
}

# no_trust PATTERN: the CA file that the daemon is given is of no use; then it is put right.
no_trust() {
	local ca=$T/ca.pem

	daemon_start https --tls-ca "$ca"
	emit 50
	wait_until "[ \$(log_count '$1') -ge 1 ]"
	sleep 3
	[ "$(log_troubles)" -eq 1 ]
	[ "$(log_count "tls.ca: $ca: $1")" -eq 1 ]
	[ ! -s "$T/received" ]
	[ "$(peer_summary connections)" -eq 0 ]

	rm -rf "$ca"
	cp "$T/certs/ca.pem" "$ca"
	wait_for_flows
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived
}

@test "tls: the CA file is missing" {
	peer_start https
	no_trust "No such file or directory"
}

@test "tls: the CA file is empty" {
	peer_start https
	: >"$T/ca.pem"
	no_trust "no certificate in it; PEM is expected"
}

@test "tls: the CA file can not be read" {
	peer_start https
	mkfifo "$T/ca.pem"
	no_trust "neither a file nor a folder"
}

@test "tls: a stop while the CA file is missing keeps the events" {
	peer_start https
	daemon_start https --tls-ca "$T/ca.pem"
	emit 50
	wait_until "[ \$(log_count 'No such file') -ge 1 ]"
	daemon_stop
	[ "$(books spool appended)" -ge $((2 * EMITTED)) ]
	cp "$T/certs/ca.pem" "$T/ca.pem"
	daemon_start https --tls-ca "$T/ca.pem"
	wait_for_flows
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived
}
