# SPDX-License-Identifier: Apache-2.0
# What the running processes have left of what a root process has, that all they
# do goes on with that, and that it is enough to begin with less. What is impossible
# inside is tried by tests/unit/test_sandbox.c, from inside.

bats_require_minimum_version 1.5.0
load ../lib/common
load ../lib/faults

setup() {
	faults_setup
}

teardown() {
	common_teardown
}

run_daemon() {
	peer_start https
	daemon_start https "$@"
	emit 20
	wait_for_flows
}

stop_daemon() {
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived
}

is_sanitized() {
	readelf -sW "$SEKOIA" 2>/dev/null | grep -q __asan_
}

# status_is PID FIELD VALUE
status_is() {
	local value

	value=$(sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status" | tr '\t' ' ' | sed 's/ *$//')
	[ "$value" = "$3" ] || {
		echo "$2 of $1 ($(cat "/proc/$1/comm")) is \"$value\", not \"$3\""
		return 1
	}
}

# caps_are PID MASK: in each of the sets that count, and no way to more.
caps_are() {
	local set

	for set in CapPrm CapEff CapBnd; do
		status_is "$1" $set "$2"
	done
	for set in CapInh CapAmb; do
		status_is "$1" $set 0000000000000000
	done
	status_is "$1" NoNewPrivs 1
}

# chown, dac_read_search, fowner, sys_ptrace, and bpf; with the kernel's log, syslog.
CAPS_FLOWS=000000800008000d
CAPS_ALL=000000840008000d
# dac_override, dac_read_search, kill, setgid, setuid, setpcap, sys_admin
CAPS_STARTER=00000000002001e6

@test "sandbox: what each process has left" {
	local pid

	run_daemon
	caps_are "$DAEMON_PID" $CAPS_FLOWS
	caps_are "$(starter_pid)" $CAPS_STARTER
	caps_are "$(shipper_pid)" 0000000000000000
	status_is "$DAEMON_PID" Seccomp 2
	status_is "$(shipper_pid)" Seccomp 2
	status_is "$(shipper_pid)" Uid "65534 65534 65534 65534"
	status_is "$(shipper_pid)" Groups ""
	for pid in "$DAEMON_PID" "$(starter_pid)" "$(shipper_pid)"; do
		grep -Eq '^Max core file size +0 +0 ' "/proc/$pid/limits"
		status_is "$pid" Threads 1
	done
	stop_daemon
	# Reading the kernel's log again takes one more.
	EMITTED=0
	rm -rf "$T/spool" "$T/received"
	run_daemon --kernel-log yes
	caps_are "$DAEMON_PID" $CAPS_ALL
	stop_daemon
}

@test "sandbox: the shipper's file tree" {
	local pid seen

	run_daemon
	pid=$(shipper_pid)
	[ "$(readlink "/proc/$pid/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ]
	[ "$(readlink "/proc/$DAEMON_PID/ns/mnt")" = "$(readlink /proc/self/ns/mnt)" ]
	# Nothing but what it needs, and of the rest not even the name.
	is_sanitized && skip "a build with the sanitizers sees /proc and /usr, too"
	seen=$(find "/proc/$pid/root/" -mindepth 1 -maxdepth 1 -printf '%f ')
	for seen in $seen; do
		[[ " dev etc tmp usr run mnt " = *" $seen "* ]]
	done
	for seen in proc sys bin sbin home root var boot; do
		[ ! -e "/proc/$pid/root/$seen" ]
	done
	[ "$(find "/proc/$pid/root/dev" -mindepth 1 -printf '%f ' | tr ' ' '\n' | sort | xargs)" = "null urandom" ]
	[ "$(ls "/proc/$pid/root/tmp")" = "${T##*/}" ]
	# All is read-only but the folder around the spool and /dev/null; nothing is executable or setuid.
	while read -r _ _ _ _ at options _; do
		[[ ,$options, = *,noexec,* && ,$options, = *,nosuid,* ]]
		[ "$at" = "$T" ] || [ "$at" = /dev/null ] || [[ ,$options, = *,ro,* ]]
	done <"/proc/$pid/mountinfo"
	# What it left behind is nobody else's.
	refute grep -q "$T" /proc/self/mountinfo
	stop_daemon
}

@test "sandbox: a umask of 077, which a unit may have, hides nothing from the shipper" {
	umask 077
	run_daemon
	umask 022
	emit 20
	wait_for_flows
	stop_daemon
}

@test "sandbox: descriptors" {
	local fd

	run_daemon --journal-enable yes --kernel-log yes
	# The starter: the streams, its end of the pair, and which shipper it may kill.
	[ "$(find "/proc/$(starter_pid)/fd" -mindepth 1 | wc -l)" -eq 5 ]
	[ "$(find "/proc/$(starter_pid)/fd" -lname 'anon_inode:\[pidfd\]' | wc -l)" -eq 1 ]
	[[ $(readlink "/proc/$(starter_pid)/fd/3") = socket:* ]]
	# The shipper: no device, no BPF object, nothing of /proc and /sys.
	for fd in "/proc/$(shipper_pid)"/fd/*; do
		[[ "$(readlink "$fd")" != *bpf* ]]
		[[ "$(readlink "$fd")" != /proc* && "$(readlink "$fd")" != /sys* ]]
	done
	stop_daemon
}

@test "sandbox: a killed shipper is started again, each time into the same sandbox" {
	local pid

	run_daemon
	for _ in 1 2 3; do
		pid=$(shipper_pid)
		kill -KILL "$pid"
		emit 10
		wait_until '[ -n "$(shipper_pid)" ] && [ "$(shipper_pid)" != '"$pid"' ]'
		wait_for_flows
		caps_are "$(shipper_pid)" 0000000000000000
		status_is "$(shipper_pid)" Seccomp 2
		[ ! -e "/proc/$(shipper_pid)/root/bin" ]
	done
	stop_daemon
}

@test "sandbox: without its starter the collector ends, and the next one has it all" {
	run_daemon
	kill -KILL "$(starter_pid)"
	# What runs goes on.
	emit 20
	wait_for_flows
	kill -KILL "$(shipper_pid)"
	wait_until '! kill -0 $DAEMON_PID 2>/dev/null'
	run -1 wait "$DAEMON_PID"
	DAEMON_PID=
	grep -q 'starter (pid [0-9]*): killed by SIGKILL; without it no shipper can be started: ending' "$T/daemon.log"
	[ -e "$BPF_DIR" ]
	emit 20
	daemon_start https
	grep -q "resumed from the kernel's rings" "$T/daemon.log"
	wait_for_flows
	# A killed shipper may have sent what was not acknowledged yet.
	daemon_stop
	peer_stop
	assert_all_delivered
	assert_flows_arrived $((2 * EMITTED))
}

@test "sandbox: the folder around the spool is removed, and all goes on" {
	mkdir "$T/around"
	run_daemon --spool-dir "$T/around/spool"
	rm -rf "$T/around"
	emit 20
	wait_for_flows
	grep -q 'the folder around it, or its file system, is another one' "$T/daemon.log"
	grep -q 'the cursor was lost; going on with what it said' "$T/daemon.log"
	daemon_stop
	peer_stop
	# What others' flows were not acknowledged when it went is counted as damaged.
	assert_accounts_balance
	[ "$(books output.https before)" -eq 0 ]
	assert_flows_arrived
}

@test "sandbox: a new user is found, and a program of another user is named" {
	local uid=$((RANDOM % 10000 + 40000))

	run_daemon
	cp "$PEERS/emit" "$T/emit-as"
	setpriv --reuid $uid --clear-groups "$T/emit-as" --net "$NET" --first 21 --count 5
	EMITTED=25
	wait_for_flows
	grep "\"sourceIPv4Address\":\"127\.$NET\." "$T/received" | grep -q "\"executable\":\"$T/emit-as\""
	stop_daemon
}

@test "sandbox: switched off, it says so, and all works" {
	run_daemon --sandbox-enable no
	grep -q 'sandbox: switched off (sandbox.enable)' "$T/daemon.log"
	status_is "$DAEMON_PID" Seccomp 0
	status_is "$(shipper_pid)" Seccomp 0
	# What needs no kernel's help is given up all the same.
	caps_are "$DAEMON_PID" $CAPS_FLOWS
	caps_are "$(shipper_pid)" 0000000000000000
	stop_daemon
}

# with_caps LIST COMMAND...: root with no capability but those.
with_caps() {
	local list=$1

	shift
	setpriv --bounding-set "$list" --inh-caps -all "$@"
}

LESS=-all,+bpf,+perfmon,+net_admin,+sys_ptrace,+setuid,+setgid,+setpcap,+chown,+fowner,+dac_read_search

@test "less than root: without CAP_SYS_ADMIN" {
	cat >"$T/less" <<-END
		#!/bin/sh
		exec setpriv --bounding-set $LESS --inh-caps=-all "$SEKOIA" "\$@"
	END
	chmod 755 "$T/less"
	SEKOIA=$T/less run_daemon
	caps_are "$DAEMON_PID" $CAPS_FLOWS
	# No mounts of its own, and it says so; the other layers hold.
	grep -q 'no file tree of its own: a mount namespace: Operation not permitted' "$T/daemon.log"
	caps_are "$(shipper_pid)" 0000000000000000
	status_is "$(shipper_pid)" Seccomp 2
	stop_daemon
}

@test "less than root: what is missing is named, with what it is for" {
	run -1 with_caps "-all,+bpf,+setuid" "$SEKOIA" --config /dev/null --intake-key-file "$T/key" \
		--spool-dir "$T/spool" --collector-bpf-dir "$BPF_DIR"
	printf '%s\n' "$output"
	[[ "$output" = *"root, but without CAP_PERFMON (to let them read the kernel's data), CAP_NET_ADMIN (to attach them to the network), CAP_SETGID"* ]]
	[ ! -e "$T/spool" ]
	[ ! -e "$BPF_DIR" ]
}

@test "less than root: a small limit of locked memory" {
	cat >"$T/less" <<-END
		#!/bin/sh
		ulimit -l 64
		exec "$SEKOIA" "\$@"
	END
	chmod 755 "$T/less"
	SEKOIA=$T/less run_daemon
	stop_daemon
}

@test "less than root: a read-only root file system" {
	cat >"$T/less" <<-END
		#!/bin/sh
		mount --make-rprivate / &&
		mount --bind "$T" "$T" &&
		mount -o remount,bind,ro / || exit 99
		[ ! -w /etc ] && [ ! -w /tmp ] || exit 98
		exec "$SEKOIA" "\$@"
	END
	chmod 755 "$T/less"
	cat >"$T/readonly" <<-END
		#!/bin/sh
		exec unshare -m "$T/less" "\$@"
	END
	chmod 755 "$T/readonly"
	SEKOIA=$T/readonly run_daemon
	[ ! -e "/proc/$(shipper_pid)/root/bin" ]
	kill -KILL "$(shipper_pid)"
	emit 20
	wait_for_flows
	stop_daemon
}
