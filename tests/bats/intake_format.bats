#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The intake format (deploy/intake-format) is whole, and maps every key that the product sends:
# of the source as it is written, and of records of each kind as they come.
#
# shellcheck disable=SC2016,SC2034

load ../lib/common
load ../lib/faults
load ../lib/journal

setup() {
	faults_setup
	[ -x /usr/bin/python3 ] || skip "needs python3"
	/usr/bin/python3 -c 'import jinja2, yaml' 2>/dev/null || skip "needs python3-jinja2 and python3-yaml"
}

teardown() {
	[ -z "${CGROUP:-}" ] || rmdir "$CGROUP" "${CGROUP%/*}" 2>/dev/null || true
	common_teardown
}

format() {
	/usr/bin/python3 "$TOP/tests/deploy/format.py" "$@"
}

to_stdout() {
	"$SEKOIA" --config /dev/null --output stdout --spool-dir "$T/spool" --collector-bpf-dir "$BPF_DIR" \
		--monitor-socket "$T/monitor" --hostname web-1 --flows-loopback yes --flows-networks "127.$NET.0.0/16,::1" \
		--flows-idle-timeout 1s --flows-active-timeout 1s "$@" >"$T/out" 2>>"$T/daemon.log" 3>&- &
	DAEMON_PID=$!
	wait_until 'grep -q ": ready" "$T/daemon.log"' 15
}

# A process in a cgroup as a pod's container has it.
in_container() {
	mkdir -p "$CGROUP"
	sh -c 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"' sh "$CGROUP" "$@"
}

@test "the format is whole, and maps what the source of the records writes" {
	format check
}

@test "every key of what the product sends is mapped" {
	local schema=${SCHEMA:-both}

	need_journald
	journal_alone
	journald_start
	: >"$T/daemon.log"
	to_stdout --flows-schema "$schema" --journal-schema ecs --heartbeat-interval 1s --ring-flows 64k \
		--journal-rate-limit 3 --journal-rate-interval 1s
	# A line, and more than may pass; one of the kernel's, and one that names a device, which
	# every host's log begins with.
	seq -f 'line %.0f' 9 | in_room systemd-cat -t sekoia-format
	echo "<4>sekoia format $NET" >/dev/kmsg
	CGROUP=$(findmnt -nt cgroup2 -o TARGET | head -n 1)/kubepods-pod$(printf '%08d' "$NET")_0000_4000_8000_000000000000.slice
	CGROUP+=/cri-containerd-$(printf '%064d' "$NET").scope
	# TCP in and out, of a container; UDP, ICMP, both versions; one that fails, one that goes on.
	in_container nc -l -s "127.$NET.0.1" -p 4321 >/dev/null &
	KEEP_PIDS+=($!)
	nc -z -s "127.$NET.0.3" "127.$NET.0.2" 1 || true
	wait_until '[ -n "$(ss -Hltn src 127.$NET.0.1:4321)" ]' 5
	(echo hello; sleep 2.5) | nc -s "127.$NET.0.4" "127.$NET.0.1" 4321 -N >/dev/null &
	KEEP_PIDS+=($!)
	# One process listens, its child accepts.
	/usr/bin/python3 -c 'import os, socket, sys
s = socket.create_server((sys.argv[1], 4322))
if os.fork():
    os.wait()
else:
    s.accept()[0].recv(1)' "127.$NET.0.1" &
	KEEP_PIDS+=($!)
	wait_until '[ -n "$(ss -Hltn src 127.$NET.0.1:4322)" ]' 5
	echo x | nc -s "127.$NET.0.7" "127.$NET.0.1" 4322 -N >/dev/null || true
	(exec 3<>"/dev/udp/127.$NET.0.5/4000" && echo x >&3)
	(exec 3<>/dev/udp/::1/4000 && echo x >&3) || true
	ping -c 1 "127.$NET.0.6" >/dev/null || true
	ping -c 1 ::1 >/dev/null || true
	wait_until '[ "$(grep -c "\"action\":\"heartbeat\"" "$T/out")" -ge 3 ]'
	# A loss.
	kill -STOP "$DAEMON_PID"
	emit 400
	kill -CONT "$DAEMON_PID"
	wait_until 'grep -q "\"action\":\"events-lost\"" "$T/out"'
	daemon_stop
	[ -z "${KEEP_SAMPLES:-}" ] || cp "$T/out" "$KEEP_SAMPLES"
	for part in '"sourceIPv4Address"' '"report":1' '"opener":{' '"container":{' '"orchestrator":{' '"tcpControlBits"' '"icmpTypeCodeIPv' \
		'"logger":"journal"' '"logger":"kernel"' 'journal.rate_limit'; do
		grep -q "$part" "$T/out" || { echo "none has $part"; return 1; }
	done
	format cover "$T/out"
}

@test "flows in IPFIX names alone, and raw lines, have their place as well" {
	: >"$T/daemon.log"
	to_stdout --flows-schema ipfix --journal-schema raw --journal-enable no --heartbeat-interval 0
	echo "<4>sekoia format $NET" >/dev/kmsg
	emit 2
	ping -c 1 "127.$NET.0.6" >/dev/null || true
	wait_until 'grep -q "\"flowId\"" "$T/out"; grep -q " sekoia format $NET\$" "$T/out"'
	daemon_stop
	# shellcheck disable=SC2086
	[ -z "${KEEP_SAMPLES:-}" ] || cp "$T/out" "$KEEP_SAMPLES"
	grep -q '^{"sourceIPv4Address"' "$T/out"
	format cover "$T/out"
}
