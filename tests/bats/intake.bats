#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The local intake, by clients that are not ours: curl, openssl, rsyslogd, and bytes by hand.

# Expressions are for wait_until and bash -c; each test is a subshell of its own.
# shellcheck disable=SC2016,SC2030,SC2031

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
}

teardown() {
	common_teardown
}

HEADER='<13>1 2026-11-23T05:33:01.123456Z host app 12 LOG'

# line NUMBER [TEXT]: a syslog message with that sequenceId and the right key.
line() {
	printf '%s [SEKOIA@53288 intake_key="%s"][meta sequenceId="%d"] %s' "$HEADER" "$TEST_KEY" "$1" "${2:-text $1}"
}

# counted TEXT: framed as RFC 5425 has it.
counted() {
	printf '%d %s' "${#1}" "$1"
}

# counted_lines N: the first N of line(), counted.
counted_lines() {
	awk -v n="$1" -v head="$HEADER [SEKOIA@53288 intake_key=\"$TEST_KEY\"][meta sequenceId=\"" 'BEGIN {
		for (i = 1; i <= n; i++) {
			text = head i "\"] text " i
			printf "%d %s", length(text), text
		}
	}'
}

# relp TXNR COMMAND [DATA]
relp() {
	if [ -n "${3:-}" ]; then
		printf '%d %s %d %s\n' "$1" "$2" "${#3}" "$3"
	else
		printf '%d %s 0\n' "$1" "$2"
	fi
}

relp_open() {
	relp 1 open $'relp_version=0\nrelp_software=bats\ncommands=syslog'
}

# tls: standard input to the intake, its answers to standard output, until it closes.
tls() {
	timeout 10 openssl s_client -quiet -connect "localhost:$PEER_PORT" -CAfile "$T/certs/ca.pem" \
		-verify_return_error "$@" 2>>"$T/client.log"
}

# The same without TLS, for an intake with --plain; waits for the answers.
plain() {
	timeout 10 bash -c 'exec 9<>"/dev/tcp/127.0.0.1/$1"; cat >&9; cat <&9' plain "$PEER_PORT" 2>>"$T/client.log"
}

# post PATH [CURL-ARG...]: prints the status and the body.
post() {
	local path=$1

	shift
	curl -s --max-time 20 --cacert "$T/certs/ca.pem" -w '%{stderr}%{http_code}' -H 'Expect:' -X POST \
		"$@" "https://localhost:$PEER_PORT$path" 2>"$T/status" >"$T/body" || return 1
	echo "$(cat "$T/status") $(cat "$T/body")"
}

key_header() {
	echo "X-SEKOIAIO-INTAKE-KEY: $TEST_KEY"
}

UUID='[0-9a-f]\{8\}-[0-9a-f]\{4\}-[0-9a-f]\{4\}-[0-9a-f]\{4\}-[0-9a-f]\{12\}'

matches() {
	grep -qx "$2" <<<"$1" || {
		echo "got:    $1"
		echo "wanted: $2"
		return 1
	}
}

# ------------------------------------------------------------------ https

@test "intake: https: the six endpoints, with and without their prefix" {
	peer_start https
	matches "$(post /plain -H "$(key_header)" --data-binary 'one')" "200 {\"event_id\":\"$UUID\"}"
	matches "$(post /plain/batch -H "$(key_header)" --data-binary $'two\n\nthree\n')" \
		"200 {\"event_ids\":\[\"$UUID\",\"$UUID\"\]}"
	matches "$(post /jsons -H "$(key_header)" --data-binary '["four", {"n": 5}]')" \
		"200 {\"event_ids\":\[\"$UUID\",\"$UUID\"\]}"
	matches "$(post / --data-binary "{\"intake_key\":\"$TEST_KEY\",\"json\":\"{\\\"n\\\":6}\"}")" \
		"200 {\"event_id\":\"$UUID\"}"
	matches "$(post /api/v1/intake-http/batch --data-binary "{\"intake_key\":\"$TEST_KEY\",\"jsons\":[\"a\\u00e9\\nb\",\"8\"]}")" \
		"200 {\"event_ids\":\[\"$UUID\",\"$UUID\"\]}"
	matches "$(post /api/v1/intake-http/array --data-binary "[{\"intake_key\":\"$TEST_KEY\",\"json\":\"9\",\"timestamp\":\"2026-11-23T00:00:00Z\"}]")" \
		"200 {\"event_ids\":\[\"$UUID\"\]}"
	diff - "$T/received" <<-'END'
		one
		two
		three
		four
		{"n": 5}
		{"n":6}
		aé\nb
		8
		9
	END
	[ "$(peer_summary by_transport.https)" = 9 ]
	[ "$(peer_summary bad_json)" = 0 ]
}

@test "intake: https: gzip, chunked, 100-continue, two requests on one connection" {
	peer_start https
	printf '{"n":%d}\n' $(seq 1000) >"$T/lines"
	gzip -k "$T/lines"
	post /plain/batch -H "$(key_header)" -H 'Content-Encoding: gzip' --data-binary "@$T/lines.gz"
	[ "$(peer_summary received)" = 1000 ]
	cat "$T/lines.gz" "$T/lines.gz" >"$T/two.gz" # two gzip members
	post /plain/batch -H "$(key_header)" -H 'Content-Encoding: gzip' --data-binary "@$T/two.gz"
	[ "$(peer_summary received)" = 3000 ]
	post /plain/batch -H "$(key_header)" -H 'Transfer-Encoding: chunked' --data-binary "@$T/lines"
	[ "$(peer_summary received)" = 4000 ]
	post /plain/batch -H "$(key_header)" -H 'Expect: 100-continue' --data-binary "@$T/lines"
	[ "$(peer_summary received)" = 5000 ]

	local before
	before=$(peer_summary connections)
	curl -s --cacert "$T/certs/ca.pem" -H "$(key_header)" -d a "https://localhost:$PEER_PORT/plain" \
		"https://localhost:$PEER_PORT/plain" >/dev/null
	[ "$(peer_summary connections)" = $((before + 1)) ]
	[ "$(peer_summary received)" = 5002 ]
	[ "$(sort -u "$T/received" | wc -l)" = 1001 ]
}

@test "intake: https: the key may stand in four places, and must be right" {
	peer_start https
	[[ $(post /plain -u ":$TEST_KEY" -d a) == 200* ]]
	[[ $(post "/plain?intake_key=$TEST_KEY" -d a) == 200* ]]
	[[ $(post "/plain?header_X-SEKOIAIO-INTAKE-KEY=$TEST_KEY" -d a) == 200* ]]
	[[ $(post /plain -d a) == 422* ]]
	[[ $(post /plain -H 'X-SEKOIAIO-INTAKE-KEY: wrong' -d a) == 422* ]]
	[[ $(post /array -d '[{"intake_key":"wrong","json":"a"}]') == 422* ]]
	# What stands in the body counts, even beside a right header.
	[[ $(post /array -H "$(key_header)" -d '[{"intake_key":"wrong","json":"a"}]') == 422* ]]
	[ "$(peer_summary received)" = 3 ]
	[ "$(peer_summary bad_key)" = 4 ]
}

@test "intake: https: an event over 250 KiB, a request over 10 MiB" {
	peer_start https
	head -c $((250 * 1024)) /dev/zero | tr '\0' x >"$T/fits"
	(cat "$T/fits"; printf x) >"$T/large"
	[[ $(post /plain -H "$(key_header)" --data-binary "@$T/fits") == 200* ]]
	[[ $(post /plain -H "$(key_header)" --data-binary "@$T/large") == 413* ]]
	(echo a; cat "$T/large"; echo; echo b) >"$T/batch"
	matches "$(post /plain/batch -H "$(key_header)" --data-binary "@$T/batch")" \
		"200 {\"event_ids\":\[\"$UUID\",null,\"$UUID\"\],\"errors\":\[{\"index\":1,\"status\":413}\]}"
	(cat "$T/large"; echo; cat "$T/large") >"$T/batch"
	[[ $(post /plain/batch -H "$(key_header)" --data-binary "@$T/batch") == 413* ]]
	head -c 10485761 /dev/zero >"$T/request"
	[[ $(post /plain/batch -H "$(key_header)" --data-binary "@$T/request") == 413* ]]
	# So does one that grows beyond it.
	gzip -k "$T/request"
	[[ $(post /plain/batch -H "$(key_header)" -H 'Content-Encoding: gzip' --data-binary "@$T/request.gz") == 413* ]]
	[ "$(peer_summary received)" = 3 ]
	[ "$(peer_summary too_large)" = 4 ]
}

@test "intake: https: what is wrong is answered, and nothing of it is taken" {
	peer_start https
	[[ $(post /nowhere -H "$(key_header)" -d a) == 404* ]]
	[[ $(post /plain/ -H "$(key_header)" -d a) == 404* ]]
	[[ $(post /plain -H "$(key_header)" -X GET) == 405* ]]
	[[ $(post /plain -H "$(key_header)" -d '') == 400* ]]
	[[ $(post /plain -H "$(key_header)" -H 'Content-Encoding: gzip' -d 'not gzip') == 400* ]]
	[[ $(post /plain -H "$(key_header)" -H 'Content-Encoding: br' -d a) == 415* ]]
	local bad
	for bad in '[' '["a"' '["a",]' '["a"] x' '[1]' '"a"' '["\x"]' '["\u12"]' $'["a\nb"]' $'["\xff"]' '[01]'; do
		[[ $(post /jsons -H "$(key_header)" --data-binary "$bad") == 400* ]] || {
			echo "taken: $bad"
			return 1
		}
	done
	for bad in '[{"json":"a","intake_key":"'"$TEST_KEY"'","more":1}]' '[{"intake_key":"'"$TEST_KEY"'"}]' \
		'[{"intake_key":"'"$TEST_KEY"'","json":{"a":1}}]'; do
		[[ $(post /array --data-binary "$bad") == 400* ]] || {
			echo "taken: $bad"
			return 1
		}
	done
	[ "$(peer_summary received)" = 0 ]
}

@test "intake: https: a head that is not HTTP is answered with 400, and the connection ends" {
	peer_start https --plain
	[[ $(printf 'hello\r\n\r\n' | plain) == 'HTTP/1.1 400'* ]]
	[[ $(printf 'POST /plain HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na' | plain) == 'HTTP/1.1 400'* ]]
	[[ $(printf 'POST /plain HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na' | plain) == 'HTTP/1.1 400'* ]]
	[[ $(printf 'POST /plain HTTP/1.1\r\n\r\n' | plain) == 'HTTP/1.1 411'* ]]
	[[ $(printf 'POST /plain HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n' | plain) == 'HTTP/1.1 400'* ]]
	[ "$(peer_summary received)" = 0 ]
}

# ------------------------------------------------------------------ syslog

@test "intake: syslog: good lines are taken, bad headers and keys are dropped and counted" {
	peer_start syslog --write-full "$T/full"
	{
		counted "$(line 1)"
		counted "$(line 2)"$'\n'
		counted "$HEADER [SEKOIA@53288 intake_key=\"wrong\"] a"
		counted "$HEADER - a"
		# One fault each.
		counted "<192>1 2026-11-23T05:33:01Z h a - LOG - a"
		counted "<013>1 2026-11-23T05:33:01Z h a - LOG - a"
		counted "<13>2 2026-11-23T05:33:01Z h a - LOG - a"
		counted "<13>1 2026-11-31T05:33:01Z h a - LOG - a"
		counted "<13>1 2026-11-23t05:33:01z h a - LOG - a"
		counted "<13>1 2026-11-23T05:33:01.1234567Z h a - LOG - a"
		counted "<13>1 2026-11-23T05:33:01 h a - LOG - a"
		counted "<13>1 2026-11-23T05:33:01Z h  - LOG - a"
		counted "<13>1 2026-11-23T05:33:01Z h $(printf 'a%.0s' $(seq 49)) - LOG - a"
		counted "<13>1 2026-11-23T05:33:01Z h a - LOG [x y=\"a\"b\"] a"
		counted "<13>1 2026-11-23T05:33:01Z h a - LOG [x y=\"a]\"] a"
		counted "<13>1 2026-11-23T05:33:01Z h a - LOG [x y=\"a\"]a"
		counted "<13>1 2026-11-23T05:33:01Z h a - LOG a"
		counted "$(line 3 $'two\nlines')"
		sleep 0.3
	} | tls -no_ign_eof
	wait_until '[ "$(peer_summary received)" = 3 ]'
	[ "$(peer_summary bad_key)" = 2 ]
	[ "$(peer_summary bad_header)" = 13 ]
	[ "$(peer_summary bad_frame)" = 0 ]
	[ "$(peer_summary unique)" = 3 ]
	diff - "$T/received" <<-'END'
		text 1
		text 2
		two\nlines
	END
	[ "$(head -n 1 "$T/full")" = "$(line 1)" ]
}

@test "intake: syslog: what is no octet count ends the connection" {
	peer_start syslog
	local bad n=0
	for bad in "$HEADER - a" '012 aaaa' '9999999 a' ' 1 a' $'5\na'; do
		printf '%s' "$bad" | tls >/dev/null || true
		n=$((n + 1))
		[ "$(peer_summary bad_frame)" = $n ]
	done
	[ "$(peer_summary received)" = 0 ]
}

@test "intake: syslog: a frame in two pieces, many frames in one" {
	peer_start syslog
	{
		printf '%d ' "$(line 1 | wc -c)"
		sleep 0.2
		line 1 | head -c 20
		sleep 0.2
		line 1 | tail -c +21
		counted_lines 2000
		sleep 0.3
	} | tls -no_ign_eof
	wait_until '[ "$(peer_summary received)" = 2001 ]'
	[ "$(peer_summary gaps)" = 0 ]
	[ "$(peer_summary unique)" = 2000 ]
	wait_until '[ "$(peer_summary clean_closes)" = 1 ]'
}

# ------------------------------------------------------------------ RELP

@test "intake: RELP: open, syslog, close; each answer is as librelp gives it" {
	peer_start relp
	{
		relp_open
		relp 2 syslog "$(line 1)"
		relp 3 syslog "$HEADER [SEKOIA@53288 intake_key=\"wrong\"] a"
		relp 4 syslog "no header"
		relp 5 syslog "$(line 2)"
		relp 6 close
	} | tls >"$T/answers"
	diff - "$T/answers" <<-'END'
		1 rsp 58 200 OK
		relp_version=0
		relp_software=intake
		commands=syslog
		2 rsp 6 200 OK
		3 rsp 22 500 invalid intake key
		4 rsp 26 500 not an RFC 5424 header
		5 rsp 6 200 OK
		6 rsp 0
		0 serverclose 0
	END
	[ "$(peer_summary received)" = 2 ]
}

@test "intake: RELP: a session that breaks the rules is ended" {
	peer_start relp --plain --relp-max 1000
	local n=0 big
	big=$(printf 'x%.0s' $(seq 1001))
	for session in "$(relp 1 syslog "$(line 1)")" "$(relp_open; relp 3 syslog "$(line 1)")" \
		"$(relp_open; relp 2 open relp_version=0)" "$(relp 1 open commands=syslog)" \
		"$(relp_open; relp 2 syslog "$big")" "$(relp_open; printf '2 syslog 3 abcd\n')" \
		"$(relp_open; printf '2 sys1og 3 abc\n')" '1234567890 open 0'; do
		printf '%s\n' "$session" | plain >/dev/null || true
		n=$((n + 1))
		[ "$(peer_summary bad_frame)" = $n ] || {
			echo "went on: $session"
			return 1
		}
	done
	[ "$(peer_summary received)" = 0 ]
}

# ------------------------------------------------------------------ gaps and repeats

@test "intake: finds the gaps and the repeats, across transports" {
	peer_start syslog --https 0
	local https
	https=$(sed -n 's/.*https=\([0-9]*\).*/\1/p' "$T/ports")
	{
		for i in 1 2 3 6 7 7 7 10 2; do counted "$(line "$i")"; done
		counted "$HEADER [SEKOIA@53288 intake_key=\"$TEST_KEY\"] no number"
		sleep 0.3
	} | tls -no_ign_eof
	wait_until '[ "$(peer_summary received)" = 10 ]'
	[ "$(peer_summary no_id)" = 1 ]
	[ "$(peer_summary unique)" = 6 ]
	[ "$(peer_summary repeats)" = 3 ]
	[ "$(peer_summary gaps)" = 4 ]
	[ "$(peer_summary 'streams[0].missing|tostring')" = '[[4,5],[8,9]]' ]

	# JSON with an event.id of the same numbers: the same spool.
	PEER_PORT=$https post /array --data-binary "[
		{\"intake_key\":\"$TEST_KEY\",\"json\":\"{\\\"event\\\":{\\\"id\\\":\\\"00ab-4\\\"}}\"},
		{\"intake_key\":\"$TEST_KEY\",\"json\":\"{\\\"event\\\":{\\\"id\\\":\\\"00ab-7\\\"},\\\"id\\\":\\\"00ab-5\\\"}\"},
		{\"intake_key\":\"$TEST_KEY\",\"json\":\"{\\\"event.id\\\":\\\"00ab-12\\\"}\"}]"
	[ "$(peer_summary unique)" = 8 ]
	[ "$(peer_summary repeats)" = 4 ]
	[ "$(peer_summary gaps)" = 4 ] # 5, 8, 9, 11
	[ "$(peer_summary first)" = 1 ]
	[ "$(peer_summary last)" = 12 ]
	# Another name is another spool.
	PEER_PORT=$https post /plain -H "$(key_header)" -d '{"event":{"id":"00cd-4"}}'
	[ "$(peer_summary unique)" = 9 ]
	[ "$(peer_summary 'streams|length')" = 2 ]
	# As it stops it says the same.
	peer_stop
	[ "$(peer_summary unique)" = 9 ]
	[ "$(peer_summary received)" = 14 ]
}

# ------------------------------------------------------------------ misdeeds

# A session of n messages over --plain RELP; its answers but the one to open.
relp_session() {
	{
		relp_open
		for i in $(seq "$1"); do relp $((i + 1)) syslog "$(line "$i")"; done
	} | plain | sed -e '1,4d'
}

@test "intake: --close-after: N messages, their answers, serverclose; --times K" {
	peer_start relp --plain --close-after 3 --times 1
	[ "$(relp_session 10)" = $'2 rsp 6 200 OK\n3 rsp 6 200 OK\n4 rsp 6 200 OK\n0 serverclose 0' ]
	[ "$(peer_summary received)" = 3 ]
	[ "$(peer_summary misdeeds)" = 1 ]
	# It behaves from now on: the session ends because the client says so.
	{ relp_open; for i in 1 2 3 4 5; do relp $((i + 1)) syslog "$(line "$i")"; done; relp 7 close; } | plain >"$T/answers"
	[ "$(grep -c 'rsp 6 200 OK' "$T/answers")" = 5 ]
}

@test "intake: --close-mid-frame: the last answer is cut" {
	peer_start relp --plain --close-after 3 --close-mid-frame
	relp_session 10 >"$T/answers"
	[ "$(tail -n 1 "$T/answers")" = "4 rsp 6 " ]
	peer_stop
	PEER_PORT=
	peer_start https --plain --close-after 1 --close-mid-frame
	printf 'POST /plain HTTP/1.1\r\nX-SEKOIAIO-INTAKE-KEY: %s\r\nContent-Length: 1\r\n\r\na' "$TEST_KEY" | plain >"$T/answers"
	grep -q '^HTTP/1.1 200' "$T/answers"
	run ! grep -q event_id "$T/answers"
}

@test "intake: --reset-after: no answer, and the connection is reset" {
	peer_start relp --plain --reset-after 3
	relp_session 3 >"$T/answers"
	run ! grep -q '^4 rsp' "$T/answers"
	[ "$(peer_summary received)" = 3 ]
	[ "$(peer_summary misdeeds)" = 1 ]
	grep -q 'reset by peer' "$T/client.log"
}

@test "intake: --reject-nth: each third is refused for good" {
	peer_start relp --plain --reject-nth 3 --close-after 7
	[ "$(relp_session 7 | grep -c '500 refused')" = 2 ]
	[ "$(peer_summary received)" = 5 ]
	[ "$(peer_summary refused)" = 2 ]
}

@test "intake: --ack-split and --ack-reorder: the same answers, byte by byte and backwards" {
	peer_start relp --plain --ack-split --ack-reorder --close-after 5
	[ "$(relp_session 5 | sort)" = $'0 serverclose 0\n2 rsp 6 200 OK\n3 rsp 6 200 OK\n4 rsp 6 200 OK\n5 rsp 6 200 OK\n6 rsp 6 200 OK' ]
	peer_stop
	PEER_PORT=
	peer_start relp --plain --ack-reorder
	{ relp_open; printf '%s\n%s\n' "$(relp 2 syslog "$(line 1)")" "$(relp 3 syslog "$(line 2)")" >"$T/two"; cat "$T/two"
		sleep 0.3; relp 4 close; } | plain >"$T/answers"
	[ "$(grep -c 'rsp 6 200 OK' "$T/answers")" = 2 ]
}

@test "intake: --never-ack takes and is silent; --ack-delay-ms is late" {
	peer_start relp --plain --never-ack
	run -124 timeout 1 bash -c 'exec 9<>"/dev/tcp/127.0.0.1/$1"; cat >&9; cat <&9' x "$PEER_PORT" < <(relp_open; relp 2 syslog "$(line 1)")
	[ -z "$output" ]
	[ "$(peer_summary received)" = 1 ]
	peer_stop
	PEER_PORT=
	peer_start relp --plain --ack-delay-ms 500 --close-after 1
	local start=${EPOCHREALTIME/[.,]/}
	[ "$( (relp_open; sleep 1; relp 2 syslog "$(line 1)") | plain | grep -c 'rsp')" = 2 ]
	[ $((${EPOCHREALTIME/[.,]/} - start)) -ge 1000000 ]
}

@test "intake: --status: the first N requests, with Retry-After; nothing is taken" {
	peer_start https --status 503 --status-count 2 --retry-after 7
	[[ $(post /plain -H "$(key_header)" -d a -D "$T/head") == 503* ]]
	grep -qi '^retry-after: 7' "$T/head"
	[[ $(post /plain -H "$(key_header)" -d a) == 503* ]]
	[ "$(peer_summary received)" = 0 ]
	[[ $(post /plain -H "$(key_header)" -d a) == 200* ]]
	[ "$(peer_summary requests_failed)" = 2 ]
}

@test "intake: --refuse, --garbage, --slow and --stall-after" {
	peer_start relp --plain --refuse
	[ -z "$(relp_session 1)" ]
	[ "$(peer_summary connections)" = 1 ]
	peer_stop
	PEER_PORT=
	peer_start https --garbage
	run post /plain -H "$(key_header)" -d a
	[ "$status" != 0 ] || [[ $output != 200* ]]
	peer_stop
	PEER_PORT=
	# 2,000 messages of 150 bytes at 200 kB/s take more than a second.
	peer_start syslog --plain --slow 200000
	counted_lines 2000 >"$T/stream"
	local start=${EPOCHREALTIME/[.,]/}
	timeout 20 bash -c 'exec 9<>"/dev/tcp/127.0.0.1/$1"; cat >&9' x "$PEER_PORT" <"$T/stream"
	wait_until '[ "$(peer_summary received)" = 2000 ]'
	[ $((${EPOCHREALTIME/[.,]/} - start)) -ge 1000000 ]
	peer_stop
	PEER_PORT=
	peer_start syslog --plain --stall-after 10 --stall-ms 1000
	start=${EPOCHREALTIME/[.,]/}
	timeout 20 bash -c 'exec 9<>"/dev/tcp/127.0.0.1/$1"; cat >&9' x "$PEER_PORT" <"$T/stream"
	wait_until '[ "$(peer_summary received)" = 2000 ]'
	[ $((${EPOCHREALTIME/[.,]/} - start)) -ge 1000000 ]
}

# ------------------------------------------------------------------ TLS and the rest

@test "intake: TLS: versions, client certificates, certificates that must not be accepted" {
	peer_start https --tls-max 1.2
	[[ $(post /plain -H "$(key_header)" -d a) == 200* ]]
	run post /plain -H "$(key_header)" -d a --tlsv1.3
	[ "$status" != 0 ]
	peer_stop
	peer_start https --client-ca "$T/certs/ca.pem"
	run post /plain -H "$(key_header)" -d a
	[ "$status" != 0 ]
	[[ $(post /plain -H "$(key_header)" -d a --cert "$T/certs/client.pem" --key "$T/certs/client.key") == 200* ]]
	run post /plain -H "$(key_header)" -d a --cert "$T/certs/other-client.pem" --key "$T/certs/other-client.key"
	[ "$status" != 0 ]
	peer_stop
	local name
	for name in expired wrong-name self-signed untrusted; do
		peer_start https --cert "$T/certs/$name.pem" --tls-key "$T/certs/$name.key"
		run post /plain -H "$(key_header)" -d a
		[ "$status" != 0 ]
		peer_stop
	done
}

@test "intake: --print keeps to 80 columns and lets no control character through" {
	certs
	"$PEERS/intake" --https 0 --plain --print --ports-file "$T/ports" >"$T/print" 3>&- &
	KEEP_PIDS+=($!)
	wait_until '[ -s "$T/ports" ]'
	local url
	url=http://localhost:$(sed -n 's/.*https=//p' "$T/ports")
	curl -s -d '{"@timestamp":"2026-11-23T05:33:01Z","sourceIPv4Address":"10.0.0.1","sourceTransportPort":34567,"destinationIPv4Address":"1.2.3.4","destinationTransportPort":443,"protocolIdentifier":6,"network":{"transport":"tcp"},"initiatorOctets":1200,"responderOctets":34000,"process":{"name":"curl","pid":1234}}' "$url/plain"
	curl -s -d '{"@timestamp":"2026-11-23T05:33:01Z","protocolIdentifier":6,"sourceIPv6Address":"2001:db8:1111:2222:3333:4444:5555:6666","sourceTransportPort":34567,"destinationIPv6Address":"2001:db8:1111:2222:3333:4444:5555:7777","destinationTransportPort":443,"network":{"transport":"tcp"},"initiatorOctets":1,"responderOctets":2}' "$url/plain"
	curl -s -d '{"@timestamp":"2026-11-23T05:33:01Z","event":{"reason":"Accepted \u001b[31m password é"},"process":{"name":"sshd","pid":123}}' "$url/plain"
	curl -s -d "$(printf 'x%.0s' $(seq 300))" "$url/plain"
	wait_until '[ "$(wc -l <"$T/print")" = 4 ]'
	diff - <(head -n 3 "$T/print") <<-'END'
		05:33:01 flow    10.0.0.1:34567 -> 1.2.3.4:443 tcp 1.2 kB/34 kB curl(1234)
		05:33:01 flow    [2001:db8..:6666]:34567 -> [2001:db8..:7777]:443 tcp 1 B/2 B
		05:33:01 journal sshd[123]: Accepted ?[31m password é
	END
	[ "$(tail -n 1 "$T/print" | wc -L)" -le 80 ]
}

@test "intake: --summary and --ports-file write into what is no file, and replace nothing" {
	mkfifo "$T/fifo"
	cat "$T/fifo" >"$T/copy" 3>&- &
	KEEP_PIDS+=($!)
	peer_start syslog --summary "$T/fifo"
	kill -TERM "$PEER_PID"
	wait "$PEER_PID"
	PEER_PID=
	[ -p "$T/fifo" ]
	wait_until 'jq -e .connections "$T/copy" >/dev/null'
}

# ------------------------------------------------------------------ rsyslogd

# rsyslog_send ACTION...: a private rsyslogd forwards 1,000 lines of a file.
rsyslog_send() {
	command -v rsyslogd >/dev/null || skip "rsyslogd is not installed"
	seq -f 'rsyslog line %.0f' 1000 >"$T/lines"
	mkdir -p "$T/work"
	cat >"$T/rsyslog.conf" <<-END
		global(workDirectory="$T/work" maxMessageSize="250k" defaultNetstreamDriverCAFile="$T/certs/ca.pem")
		module(load="imfile")
		template(name="sekoia" type="string" string="<%pri%>1 %timestamp:::date-rfc3339% %hostname% %app-name% %procid% LOG [SEKOIA@53288 intake_key=\"$TEST_KEY\"] %msg%\n")
		input(type="imfile" file="$T/lines" tag="bats")
		$1
	END
	rsyslogd -n -f "$T/rsyslog.conf" -i "$T/rsyslog.pid" >"$T/rsyslog.log" 2>&1 3>&- &
	KEEP_PIDS+=($!)
	wait_until '[ "$(wc -l <"$T/received" 2>/dev/null || echo 0)" -ge 1000 ]' 30 || {
		cat "$T/rsyslog.log" "$T/peer.log"
		return 1
	}
	[ "$(sort -u "$T/received" | grep -c '^rsyslog line [0-9]*$')" = 1000 ]
	[ "$(peer_summary bad_header)" = 0 ]
	[ "$(peer_summary bad_key)" = 0 ]
}

@test "intake: rsyslog's omrelp over TLS" {
	peer_start relp
	rsyslog_send "module(load=\"omrelp\" tls.tlslib=\"openssl\")
		action(type=\"omrelp\" target=\"localhost\" port=\"$PEER_PORT\" tls=\"on\" tls.caCert=\"$T/certs/ca.pem\"
		tls.authMode=\"name\" tls.permittedPeer=\"localhost\" template=\"sekoia\")"
	[ "$(peer_summary by_transport.relp)" = 1000 ]
}

@test "intake: rsyslog's omfwd over TLS, gtls" {
	peer_start syslog
	rsyslog_send "action(type=\"omfwd\" protocol=\"tcp\" target=\"localhost\" port=\"$PEER_PORT\" tcp_framing=\"octet-counted\"
		streamDriver=\"gtls\" streamDriverMode=\"1\" streamDriverAuthMode=\"x509/name\" streamDriverPermittedPeers=\"localhost\" template=\"sekoia\")"
	[ "$(peer_summary by_transport.syslog)" = 1000 ]
}

@test "intake: rsyslog's omfwd over TLS, ossl" {
	peer_start syslog
	rsyslog_send "action(type=\"omfwd\" protocol=\"tcp\" target=\"localhost\" port=\"$PEER_PORT\" tcp_framing=\"octet-counted\"
		streamDriver=\"ossl\" streamDriverMode=\"1\" streamDriverAuthMode=\"x509/name\" streamDriverPermittedPeers=\"localhost\" template=\"sekoia\")"
	[ "$(peer_summary by_transport.syslog)" = 1000 ]
}
