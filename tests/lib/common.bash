# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What the end-to-end tests share. Load it, call common_setup in setup() and
# common_teardown in teardown(). Everything that a test starts is its own:
# folder, ports, pins, namespaces; all of it is gone when the test is over.
#
# wait_until evaluates its command again and again: it is quoted on purpose.
# shellcheck disable=SC2016

bats_require_minimum_version 1.5.0 # run !

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
O=${O:-$TOP/build}
[[ $O = /* ]] || O=$TOP/$O
SEKOIA=${SEKOIA:-$O/sekoia-ebpf}
PEERS=$O/tests/peers
TEST_KEY=0123456789abcdefABCDEF0123456789

common_setup() {
	T=$(mktemp -d /tmp/sekoia-test.XXXXXX)
	chmod 755 "$T"
	BPF_DIR=/sys/fs/bpf/sekoia-test-${T##*.}
	DAEMON_ARGS=()
	PEER_ARGS=()
	NETNS=()
	PEER_PID=
	DAEMON_PID=
	PEER_PORT=
	KEEP_PIDS=()
	(umask 077 && printf '%s\n' "$TEST_KEY" >"$T/key")
	unset https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
}

common_teardown() {
	local pid ns reports

	for pid in $DAEMON_PID $PEER_PID "${KEEP_PIDS[@]}"; do
		kill -KILL "$pid" 2>/dev/null || true
	done
	[ -d "$BPF_DIR" ] && "$SEKOIA" --config /dev/null --collector-bpf-dir "$BPF_DIR" cleanup >/dev/null
	rmdir "$BPF_DIR" 2>/dev/null || true
	[ -z "${NET:-}" ] || rmdir "/tmp/sekoia-test-net.$NET" 2>/dev/null || true
	for ns in "${NETNS[@]}"; do
		ip netns del "$ns" 2>/dev/null || true
	done
	if [ -z "${BATS_TEST_COMPLETED:-}" ] && [ -n "${T:-}" ]; then
		local f
		for f in "$T"/daemon.log "$T"/peer.log; do
			[ -s "$f" ] && { echo "--- $f"; tail -n 40 "$f"; }
		done
	fi
	# Built with the sanitizers (O=build/san), the daemon, its shipper and the
	# intake say here what they did wrong, or did not free before they ended.
	reports=$(cat "$T"/*.log 2>/dev/null | grep -aE -A20 'ERROR: (Address|Leak)Sanitizer|runtime error: ' || true)
	if [ -n "${T:-}" ]; then
		umount -R "$T"/* 2>/dev/null || true
		rm -rf "$T" || true
	fi
	[ -z "$reports" ] || { echo "$reports"; return 1; }
}

# NET: 127.$NET.0.0/16 is this test's alone, whatever runs beside it.
take_net() {
	until NET=$((RANDOM % 230 + 20)) && mkdir "/tmp/sekoia-test-net.$NET" 2>/dev/null; do
		# One whose test was killed.
		find /tmp -maxdepth 1 -name 'sekoia-test-net.*' -mmin +60 -exec rmdir {} + 2>/dev/null || true
	done
}

# For tests that load BPF: says why not, instead of failing somewhere inside.
need_root() {
	[ "$(id -u)" = 0 ] || skip "needs root"
}

# wait_until 'COMMAND' [SECONDS]: true as soon as it is; prints it when it never was.
wait_until() {
	local limit=$((SECONDS + ${2:-20}))

	until eval "$1"; do
		if [ "$SECONDS" -ge "$limit" ]; then
			echo "not so after ${2:-20} s: $1"
			return 1
		fi
		sleep 0.1
	done
}

# Made once for all tests of a file, as they take a second.
certs() {
	local made=$BATS_FILE_TMPDIR/certs

	[ -d "$made" ] || "$TOP/tests/lib/certs.sh" "$made" >/dev/null 2>&1
	[ -d "$T/certs" ] || cp -a "$made" "$T/certs"
}

# A port that no other test takes while our peer is away: below the ephemeral ones, by network.
free_port() {
	local port

	port=$((10000 + ${NET:-$((RANDOM % 20))} * 64 + RANDOM % 64))
	[ -z "$(ss -Hltn "sport = :$port")" ] && echo "$port" || echo 0
}

# peer_start TRANSPORT [ARG...]: the local intake; on the same port when it is started again.
peer_start() {
	local transport=$1

	shift
	certs
	[ -n "${PEER_PORT:-}" ] || PEER_PORT=$(free_port)
	rm -f "$T/ports"
	"$PEERS/intake" "--$transport" "$PEER_PORT" --ports-file "$T/ports" \
		--cert "$T/certs/server.pem" --tls-key "$T/certs/server.key" --key "$TEST_KEY" \
		--write "$T/received" --summary "$T/summary" "${PEER_ARGS[@]}" "$@" >>"$T/peer.log" 2>&1 3>&- &
	PEER_PID=$!
	wait_until '[ -s "$T/ports" ]' 10
	PEER_PORT=$(sed -n "s/.*$transport=\([0-9]*\).*/\1/p" "$T/ports")
}

# peer_stop [SIGNAL]: TERM writes the summary, KILL is a crash.
peer_stop() {
	kill "-${1:-TERM}" "$PEER_PID"
	wait "$PEER_PID" 2>/dev/null || true
	PEER_PID=
}

# peer_summary FIELD: of the running intake, or of the one that was stopped last.
peer_summary() {
	if [ -n "$PEER_PID" ]; then
		rm -f "$T/summary"
		kill -USR1 "$PEER_PID"
		wait_until '[ -s "$T/summary" ]' 10 || return 1
	fi
	jq -r ".$1" "$T/summary"
}

peer_count() {
	peer_summary unique
}

# daemon_begin TRANSPORT [ARG...]: the collector, sending to the local intake; not waited for.
# Kernel events are the whole host's, so that only tests that are about them (EVENTS=yes) have them.
daemon_begin() {
	local transport=$1

	shift
	DAEMON_TRANSPORT=$transport
	"$SEKOIA" --config /dev/null --output "$transport" --intake-key-file "$T/key" \
		--spool-dir "$T/spool" --collector-bpf-dir "$BPF_DIR" --output-host localhost \
		--output-port "${PEER_PORT:-1}" --tls-ca "$T/certs/ca.pem" \
		--output-retry-max 500ms --output-requests-per-second 0 \
		--monitor-socket "$T/monitor" --heartbeat-interval 0 --events-enable "${EVENTS:-no}" \
		"${DAEMON_ARGS[@]}" "$@" >>"$T/stdout" 2>>"$T/daemon.log" 3>&- &
	DAEMON_PID=$!
}

# The same, until it is ready.
daemon_start() {
	local n

	n=$(grep -c ': ready' "$T/daemon.log" 2>/dev/null) || n=0
	daemon_begin "$@"
	wait_until '[ "$(grep -c ": ready" "$T/daemon.log")" -gt '"$n"' ] || ! kill -0 $DAEMON_PID 2>/dev/null' 15
	kill -0 "$DAEMON_PID"
}

# daemon_refuses STATUS TRANSPORT [ARG...]: it does not start, but ends with STATUS.
daemon_refuses() {
	local want=$1 got=0

	shift
	if daemon_start "$@"; then
		echo "it did start"
		return 1
	fi
	wait "$DAEMON_PID" || got=$?
	DAEMON_PID=
	[ "$got" -eq "$want" ]
}

# A clean stop; its exit status is the daemon's.
daemon_stop() {
	local status=0

	kill -INT "$DAEMON_PID"
	wait "$DAEMON_PID" || status=$?
	DAEMON_PID=
	return $status
}

# It leaves all that is attached to the next one.
daemon_hand_over() {
	local status=0

	kill -USR2 "$DAEMON_PID"
	wait "$DAEMON_PID" || status=$?
	DAEMON_PID=
	return $status
}

daemon_kill() {
	kill -KILL "$DAEMON_PID"
	wait "$DAEMON_PID" 2>/dev/null || true
	DAEMON_PID=
}

shipper_pid() {
	pgrep -P "$DAEMON_PID" -x sekoia-shipper | head -n 1
}

starter_pid() {
	pgrep -P "$DAEMON_PID" -x sekoia-starter | head -n 1
}

# books LINE FIELD: a number from the books that the daemon printed last.
books() {
	sed -n "s/^books: $1 \(.*\)/\1/p" "$T/daemon.log" | tail -n 1 | tr ' ' '\n' |
		sed -n "s/^$2=//p" | grep . || echo 0
}

# The identities of the books, for each line that is there.
assert_accounts_balance() {
	local s

	for s in flows journal events; do
		grep -q "^books: kernel.$s " "$T/daemon.log" || continue
		[ "$(books kernel.$s seen)" -eq $(($(books kernel.$s submitted) + $(books kernel.$s filtered) +
			$(books kernel.$s ring_full) + $(books kernel.$s no_room) + $(books kernel.$s missed) +
			$(books kernel.$s live))) ]
	done
	s=output.$DAEMON_TRANSPORT
	[ "$(books spool appended)" -eq $(($(books "$s" acknowledged) + $(books "$s" rejected) + $(books "$s" filtered) +
		$(books "$s" dropped) + $(books "$s" damaged) + $(books "$s" waiting))) ]
}

# All that was appended is at the intake, each once.
assert_all_delivered() {
	assert_accounts_balance
	[ "$(books "output.$DAEMON_TRANSPORT" waiting)" -eq 0 ]
	[ "$(books "output.$DAEMON_TRANSPORT" acknowledged)" -eq "$(books spool appended)" ]
}

# netns_pair NAME: two hosts, ${NAME}a and ${NAME}b, joined by a veth pair:
# 10.99.0.1 and .2, fd00:99::1 and ::2.
netns_pair() {
	local a=$1a b=$1b

	NETNS+=("$a" "$b")
	ip netns add "$a"
	ip netns add "$b"
	ip -n "$a" link add veth0 type veth peer name veth0 netns "$b"
	ip -n "$a" addr add 10.99.0.1/24 dev veth0
	ip -n "$b" addr add 10.99.0.2/24 dev veth0
	ip -n "$a" addr add fd00:99::1/64 dev veth0 nodad
	ip -n "$b" addr add fd00:99::2/64 dev veth0 nodad
	ip -n "$a" link set lo up
	ip -n "$b" link set lo up
	ip -n "$a" link set veth0 up
	ip -n "$b" link set veth0 up
}
