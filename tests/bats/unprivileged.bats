# SPDX-License-Identifier: Apache-2.0
# Who may do what: the shipper has the network and nothing else, the collector
# everything but the network; there is one of it, and it leaves nothing behind.

bats_require_minimum_version 1.5.0
load ../lib/common
load ../lib/faults

setup() {
	faults_setup
}

teardown() {
	[ -z "${USER_MADE:-}" ] || userdel "$USER_MADE" 2>/dev/null || true
	common_teardown
}

# status FIELD PID: a line of /proc/PID/status.
status() {
	sed -n "s/^$1:[[:space:]]*//p" "/proc/$2/status" | tr '\t' ' ' | sed 's/ *$//'
}

as_user() {
	local uid=$1

	shift
	setpriv --reuid "$uid" --regid "$uid" --clear-groups --bounding-set -all --inh-caps -all "$@"
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

# assert_shipper_is UID GID
assert_shipper_is() {
	local pid set

	pid=$(shipper_pid)
	[ "$(status Uid "$pid")" = "$1 $1 $1 $1" ]
	[ "$(status Gid "$pid")" = "$2 $2 $2 $2" ]
	[ -z "$(status Groups "$pid")" ]
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do
		[ "$(status $set "$pid")" = 0000000000000000 ]
	done
	[ "$(status NoNewPrivs "$pid")" = 1 ]
}

@test "unprivileged: the shipper is nobody, without capabilities and ways to get them" {
	run_daemon --shipper-user no-such-user-here
	assert_shipper_is 65534 65534
	stop_daemon
}

@test "unprivileged: the shipper is the user that shipper.user names" {
	USER_MADE=sktest$$
	useradd --system --no-create-home --shell /usr/sbin/nologin "$USER_MADE"
	run_daemon --shipper-user "$USER_MADE"
	assert_shipper_is "$(id -u "$USER_MADE")" "$(id -g "$USER_MADE")"
	stop_daemon
	# The next one is another user: what the first one left is no obstacle.
	run_daemon --shipper-user nobody
	assert_shipper_is 65534 65534
	stop_daemon
}

@test "unprivileged: root is not accepted as the shipper's user" {
	run -1 "$SEKOIA" --config /dev/null --intake-key-file "$T/key" --spool-dir "$T/spool" \
		--collector-bpf-dir "$BPF_DIR" --shipper-user root
	[[ "$output" = *"shipper.user: root is root, or in its group; the shipper runs as neither"* ]]
	[ ! -e "$BPF_DIR" ]
}

@test "unprivileged: the shipper reads the spool and can neither change it nor read keys" {
	run_daemon
	local uid segment

	uid=$(status Uid "$(shipper_pid)" | cut -d' ' -f1)
	segment=$(find "$T/spool" -name '*.seg' | head -n 1)
	as_user "$uid" head -c 1 "$segment" >/dev/null
	refute as_user "$uid" sh -c "echo >>'$segment'"
	refute as_user "$uid" sh -c "echo >>'$T/spool/spool'"
	refute as_user "$uid" rm -f "$segment"
	refute as_user "$uid" touch "$T/spool/0000000000000001.seg.new"
	refute as_user "$uid" cat "$T/key"
	refute as_user "$uid" cat "$T/spool/lock"
	# Another user has no business here at all.
	refute as_user 65533 ls "$T/spool"
	refute as_user 65533 cat "$segment"
	# It holds no file open but the spool's, for writing its cursor alone.
	for fd in "/proc/$(shipper_pid)"/fd/*; do
		case $(readlink "$fd") in
		"$T/spool/cursors/https" | "$T"/daemon.log | "$T"/stdout) ;;
		/dev/null | "$T"/spool | "$T"/spool/*)
			grep -Eq '^flags:\s+0[0-7]*0$' "${fd/\/fd\///fdinfo/}"
			;;
		socket:* | anon_inode:*) ;;
		*)
			readlink "$fd"
			false
			;;
		esac
	done
	stop_daemon
}

# The sockets of PID that are of a network: anything but a Unix socket.
network_sockets() {
	local fd inode

	for fd in "/proc/$1"/fd/*; do
		inode=$(readlink "$fd" | sed -n 's/^socket:\[\([0-9]*\)\]$/\1/p')
		[ -n "$inode" ] || continue
		awk -v inode="$inode" '$7 == inode { found = 1 } END { exit !found }' "/proc/$1/net/unix" ||
			echo "$fd $inode"
	done
}

@test "unprivileged: the collector has no socket of any network, the shipper has" {
	run_daemon --journal-enable yes --kernel-log yes
	for _ in 1 2 3 4 5; do
		emit 50
		[ -z "$(network_sockets "$DAEMON_PID")" ]
		refute grep -q "pid=$DAEMON_PID," <(ss -Htuwap; ss -H0p)
	done
	[ -n "$(network_sockets "$(shipper_pid)")" ]
	wait_for_flows
	stop_daemon
}

@test "unprivileged: without root it says what to do" {
	cp "$SEKOIA" "$T/sekoia-ebpf"
	chmod 755 "$T/sekoia-ebpf"
	printf '%s\n' "$TEST_KEY" >"$T/nobodys-key"
	chown 65534 "$T/nobodys-key"
	chmod 600 "$T/nobodys-key"
	run -1 as_user 65534 "$T/sekoia-ebpf" --config /dev/null --spool-dir "$T/spool" \
		--intake-key-file "$T/nobodys-key"
	[[ "$output" = *"needs root: sudo sekoia-ebpf"* ]]
	[ ! -e "$T/spool" ]
}

@test "one collector: a second one on the same spool is refused, and the first goes on" {
	run_daemon
	run -1 "$SEKOIA" --config /dev/null --intake-key-file "$T/key" --spool-dir "$T/spool" \
		--collector-bpf-dir "$BPF_DIR"
	printf '%s\n' "$output"
	[[ "$output" = *"spool $T/spool: another collector has it; stop that one first, or give this one another spool.dir and collector.bpf_dir"* ]]
	emit 20
	wait_for_flows
	stop_daemon
}

@test "one collector: a second one on the same pins is refused, and the first goes on" {
	run_daemon
	run -1 timeout 10 "$SEKOIA" --config /dev/null --intake-key-file "$T/key" \
		--spool-dir "$T/spool2" --collector-bpf-dir "$BPF_DIR" --output stdout
	printf '%s\n' "$output"
	[[ "$output" = *"$BPF_DIR: a running collector has it; stop that one first, or choose another collector.bpf_dir"* ]]
	emit 20
	wait_for_flows
	stop_daemon
}

@test "pins: a clean stop leaves nothing behind" {
	run_daemon
	[ -n "$(find "$BPF_DIR" -mindepth 1 | head -n 1)" ]
	stop_daemon
	[ ! -e "$BPF_DIR" ] || [ -z "$(ls -A "$BPF_DIR")" ]
}

@test "pins: cleanup while a collector runs is refused, and it goes on" {
	run_daemon
	run -1 "$SEKOIA" --config /dev/null --collector-bpf-dir "$BPF_DIR" cleanup
	printf '%s\n' "$output"
	[[ "$output" = *"$BPF_DIR: a running collector has it; stop that one first"* ]]
	emit 20
	wait_for_flows
	stop_daemon
}

@test "pins: cleanup after a kill -9 removes them, and says so" {
	run_daemon
	daemon_kill
	[ -n "$(find "$BPF_DIR" -mindepth 1 | head -n 1)" ]
	run -0 "$SEKOIA" --config /dev/null --collector-bpf-dir "$BPF_DIR" cleanup
	[[ "$output" = *"1 capture removed"* ]]
	[ ! -e "$BPF_DIR" ] || [ -z "$(ls -A "$BPF_DIR")" ]
	run -0 "$SEKOIA" --config /dev/null --collector-bpf-dir "$BPF_DIR" cleanup
	[[ "$output" = *"0 captures removed"* ]]
	# The spool is as it was, and the next one begins anew in the kernel.
	daemon_start https
	emit 20
	wait_for_flows
	stop_daemon
}

@test "unprivileged: no socket of a network in the collector, on each transport" {
	local transport
	for transport in https relp syslog; do
		rm -rf "$T/spool" "$T/received"
		EMITTED=0
		PEER_PORT=
		peer_start "$transport"
		daemon_start "$transport"
		emit 5
		wait_for_flows
		[ -n "$(network_sockets "$(shipper_pid)")" ]
		[ -z "$(network_sockets "$DAEMON_PID")" ]
		# And it can not be reached by a socket of any kind but its ends of three pairs (with
		# shipper, starter, and who asks connection tracking) and the monitor's, which is root's.
		[ "$(find "/proc/$DAEMON_PID/fd" -lname 'socket:*' | wc -l)" -le 4 ]
		[ "$(stat -c '%a %u' "$T/monitor")" = "600 0" ]
		stop_daemon
	done
}

@test "unprivileged: neither process dumps core, nor shows its memory to others" {
	local pid uid
	run_daemon
	for pid in "$DAEMON_PID" "$(shipper_pid)"; do
		grep -Eq '^Max core file size +0 +0 ' "/proc/$pid/limits"
	done
	# What is not dumpable belongs to root, whoever runs it.
	pid=$(shipper_pid)
	uid=$(status Uid "$pid" | cut -d' ' -f1)
	[ "$(stat -c %u "/proc/$pid/environ")" -eq 0 ]
	refute as_user "$uid" cat "/proc/$pid/environ"
	refute as_user "$uid" head -c 0 "/proc/$pid/mem"
	# A crash is told, costs nothing and leaves nothing.
	kill -SEGV "$pid"
	emit 20
	wait_for_flows
	grep -q "shipper (pid $pid): .*; starting it again" "$T/daemon.log"
	refute grep -q 'core dumped' "$T/daemon.log"
	stop_daemon
}

@test "one collector: two of them side by side, each with its own spool and pins" {
	local second
	run_daemon
	# The shipper is who writes it.
	mkdir -m 777 "$T/out"
	"$SEKOIA" --config /dev/null --output file --output-file "$T/out/second" --spool-dir "$T/spool2" \
		--collector-bpf-dir "$BPF_DIR-2" "${DAEMON_ARGS[@]}" 2>"$T/second.log" 3>&- &
	second=$!
	KEEP_PIDS+=("$second")
	wait_until 'grep -q ": ready" "$T/second.log"'
	emit 20
	wait_for_flows
	kill -INT "$second"
	wait "$second"
	[ ! -e "$BPF_DIR-2" ]
	# What the other one unpinned was its own.
	emit 20
	wait_for_flows
	[ "$(grep -Eo "\"sourceIPv4Address\":\"127\.$NET\.[0-9.]+\"" "$T/out/second" | wc -l)" -eq 40 ]
	stop_daemon
}

@test "one collector: one that captures nothing in the kernel leaves the other one's pins alone" {
	local second
	run_daemon
	mkdir -m 777 "$T/out"
	"$SEKOIA" --config /dev/null --output file --output-file "$T/out/second" --spool-dir "$T/spool2" \
		--collector-bpf-dir "$BPF_DIR" --flows-enable no --journal-enable no --events-enable no 2>"$T/second.log" 3>&- &
	second=$!
	KEEP_PIDS+=("$second")
	wait_until 'grep -q ": ready" "$T/second.log"'
	kill -INT "$second"
	wait "$second"
	emit 20
	wait_for_flows
	stop_daemon
}

# The ids of all that is pinned below $BPF_DIR, as "KIND ID".
pinned() {
	local path

	find "$BPF_DIR" -type f -path '*/links/*' | while read -r path; do
		bpftool -j link show pinned "$path" | jq -r '"link \(.id)", "prog \(.prog_id)"'
	done
	find "$BPF_DIR" -type f -path '*/maps/*' | while read -r path; do
		bpftool -j map show pinned "$path" | jq -r '"map \(.id)"'
	done
}

# Those of FILE ("KIND ID") that the kernel still has.
still_there() {
	local kind

	for kind in link prog map; do
		bpftool -j $kind list | jq -r ".[] | \"$kind \(.id)\""
	done | sort | comm -12 - <(sort -u "$1")
}

# What is in the kernel, is what is pinned: nothing else keeps it.
@test "pins: no link, program or map of ours is left after a stop, nor after cleanup" {
	command -v bpftool >/dev/null && bpftool link list >/dev/null 2>&1 || skip "needs bpftool"
	run_daemon --journal-enable yes
	pinned >"$T/pinned"
	[ "$(grep -c ^link "$T/pinned")" -ge 5 ]
	[ "$(grep -c ^map "$T/pinned")" -ge 5 ]
	stop_daemon
	wait_until '[ -z "$(still_there "$T/pinned")" ]' 10

	run_daemon --journal-enable yes
	pinned >"$T/pinned"
	daemon_kill
	[ "$(still_there "$T/pinned" | wc -l)" -eq "$(sort -u "$T/pinned" | wc -l)" ]
	"$SEKOIA" --config /dev/null --collector-bpf-dir "$BPF_DIR" cleanup
	wait_until '[ -z "$(still_there "$T/pinned")" ]' 10
	daemon_start https
	stop_daemon
}
