# SPDX-License-Identifier: Apache-2.0
# Through an HTTP proxy (CONNECT): every transport, with a password that nobody
# sees, and a proxy that refuses, dawdles, babbles and cuts.

load ../lib/common
load ../lib/faults

PASSWORD='s3cret/pa:ss%w0rd'
PASSWORD_IN_URL='s3cret%2Fpa%3Ass%25w0rd'

setup() {
	faults_setup
	PROXY_PORT=0
	PROXY_PID=
	printf 'user:%s\n' "$PASSWORD" >"$T/auth"
	printf 'user:another\n' >"$T/other-auth"
}

teardown() {
	[ -z "$PROXY_PID" ] || kill -KILL -- "-$PROXY_PID" 2>/dev/null || true
	common_teardown
}

# proxy_start [ARG...]: on the same port when it is started again.
proxy_start() {
	rm -f "$T/proxy-port"
	"$PEERS/proxy" --port "$PROXY_PORT" --ports-file "$T/proxy-port" --log "$T/proxy.log" "$@" \
		>>"$T/peer.log" 2>&1 3>&- &
	PROXY_PID=$!
	wait_until '[ -s "$T/proxy-port" ]'
	PROXY_PORT=$(cat "$T/proxy-port")
}

# With its tunnels.
proxy_stop() {
	kill -KILL -- "-$PROXY_PID"
	wait "$PROXY_PID" 2>/dev/null || true
	PROXY_PID=
}

# No name server knows this host, which the certificate is for: the proxy resolves it.
daemon_start_through() {
	local url=$1 transport=$2

	shift 2
	daemon_start "$transport" --output-host intake.test --output-proxy "$url" "$@"
}

assert_all_came() {
	wait_for_flows
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived "$@"
	[ "$(peer_summary gaps)" -eq 0 ]
}

assert_no_password() {
	assert_secrets_unseen "$PASSWORD" "$PASSWORD_IN_URL"
}

through() {
	peer_start "$1"
	proxy_start
	daemon_start_through "http://127.0.0.1:$PROXY_PORT" "$1"
	emit 50
	assert_all_came
	[ "$(sort -u "$T/proxy.log")" = "CONNECT intake.test:$PEER_PORT 200" ]
	[ "$(log_troubles)" -eq 0 ]
	[ "$(log_count "connected to intake.test:$PEER_PORT through the proxy 127.0.0.1:$PROXY_PORT")" -eq 1 ]
}

@test "proxy: https goes through it" {
	through https
}

@test "proxy: relp goes through it" {
	through relp
}

@test "proxy: syslog goes through it" {
	through syslog
}

@test "proxy: from https_proxy, but not for what no_proxy names" {
	peer_start https
	proxy_start --auth "$T/auth"
	https_proxy=http://user:$PASSWORD_IN_URL@127.0.0.1:$PROXY_PORT \
		daemon_start https --output-host intake.test
	assert_no_password
	emit 50
	assert_all_came
	[ "$(sort -u "$T/proxy.log")" = "CONNECT intake.test:$PEER_PORT 200" ]

	peer_start https
	https_proxy=http://127.0.0.1:1 no_proxy=.test,localhost daemon_start https
	emit 50
	assert_all_came
	assert_no_password
}

@test "proxy: a password is used and never shown" {
	peer_start relp
	proxy_start --auth "$T/auth"
	daemon_start_through "http://user:$PASSWORD_IN_URL@127.0.0.1:$PROXY_PORT" relp --log-level debug
	emit 20
	wait_for_flows
	assert_no_password
	assert_all_came
	assert_no_password
}

# refuses CAUSE ARG...: the proxy started with ARG... is of no use, then it is.
refuses() {
	local cause=$1 transport=$2

	shift 2
	peer_start "$transport"
	proxy_start "$@"
	daemon_start_through "http://user:$PASSWORD_IN_URL@127.0.0.1:$PROXY_PORT" "$transport" \
		--output-connect-timeout 2s
	emit 50
	wait_until "[ \$(log_count '$cause') -ge 1 ]"
	wait_until '[ "$(failures "'"$transport"'")" -ge 2 ]'
	[ "$(log_troubles)" -eq 1 ]
	[ "$(log_count "$transport: proxy 127.0.0.1:$PROXY_PORT: .*$cause")" -eq 1 ]
	[ ! -s "$T/received" ]

	proxy_stop
	proxy_start --auth "$T/auth"
	assert_all_came
	assert_no_password
}

@test "proxy: https: it refuses the password" {
	refuses "refuses the user or the password of output.proxy \(407" https --auth "$T/other-auth"
}

@test "proxy: relp: it refuses the password" {
	refuses "refuses the user or the password of output.proxy \(407" relp --auth "$T/other-auth"
}

@test "proxy: syslog: it refuses the password" {
	refuses "refuses the user or the password of output.proxy \(407" syslog --auth "$T/other-auth"
}

@test "proxy: it wants a password and has none" {
	peer_start https
	proxy_start --auth "$T/auth"
	daemon_start_through "http://127.0.0.1:$PROXY_PORT" https
	emit 20
	wait_until "[ \$(log_count 'wants a user and a password; give them with output.proxy') -eq 1 ]"
	daemon_stop
	daemon_start_through "http://user:$PASSWORD_IN_URL@127.0.0.1:$PROXY_PORT" https
	assert_all_came
}

@test "proxy: it does not allow the destination" {
	refuses "does not allow this destination.* \(403" https --status 403
}

@test "proxy: it can not reach the destination" {
	refuses "can not reach the destination \(502" relp --status 502
}

@test "proxy: it is not a proxy" {
	refuses "its answer is not HTTP; check host and port" syslog --garbage
}

@test "proxy: it closes instead of an answer" {
	refuses "closed the connection before it answered" https --drop
}

@test "proxy: it takes too long" {
	refuses "no answer to CONNECT intake.test:[0-9]+ in 2 s" relp --delay-ms 20000
}

@test "proxy: it is slow, byte by byte, and that is all" {
	peer_start https
	proxy_start --byte-ms 20
	daemon_start_through "http://127.0.0.1:$PROXY_PORT" https
	emit 50
	assert_all_came
	[ "$(log_troubles)" -eq 0 ]
}

@test "proxy: it is not there" {
	peer_start https
	proxy_start
	proxy_stop
	daemon_start_through "http://127.0.0.1:$PROXY_PORT" https
	emit 50
	wait_until '[ "$(failures https)" -ge 3 ]'
	[ "$(log_troubles)" -eq 1 ]
	[ "$(log_count "proxy 127.0.0.1:$PROXY_PORT: .*Connection refused; check the port")" -eq 1 ]
	proxy_start
	assert_all_came
}

# It cuts tunnels, and is mended while events wait.
cuts() {
	peer_start "$1"
	proxy_start --cut-after 200000
	daemon_start_through "http://127.0.0.1:$PROXY_PORT" "$1" --output-batch-bytes 64k --output-gzip no
	emit 1000 1000
	wait_until '[ "$(wc -l <"$T/proxy.log")" -ge 4 ]'
	proxy_stop
	proxy_start
	# Each cut costs what was on its way, which is less than what a tunnel carries.
	assert_all_came $((200 * $(wc -l <"$T/proxy.log")))
}

@test "proxy: https: it cuts tunnels" {
	cuts https
}

@test "proxy: relp: it cuts tunnels" {
	cuts relp
}

@test "proxy: syslog: it cuts tunnels" {
	cuts syslog
}
