#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# "sekoia-ebpf check": each thing that can be wrong is made wrong, and is told with
# its cure; what is right beside it stays right; nothing is left behind.

load ../lib/common

setup() {
	common_setup
	need_root
}

teardown() {
	common_teardown
}

# check [-w COMMAND...] [OPTION...]: its JSON to $T/check.json, its status to $status.
# What stands between -w and -- is put before it.
check() {
	local before=()

	if [ "${1:-}" = -w ]; then
		shift
		while [ "$1" != -- ]; do
			before+=("$1")
			shift
		done
		shift
	fi
	status=0
	"${before[@]}" "$SEKOIA" --config /dev/null --intake-key-file "$T/key" \
		--spool-dir "$T/spool" --collector-bpf-dir "$BPF_DIR" --output-host localhost \
		--output-port "${PEER_PORT:-1}" --tls-ca "${CA:-$T/certs/ca.pem}" "$@" \
		check --json >"$T/check.json" 2>"$T/check.log" || status=$?
	cat "$T/check.json" "$T/check.log"
	jq -e . "$T/check.json" >/dev/null
	if grep -q "$TEST_KEY" "$T/check.json" "$T/check.log"; then
		echo "the key was printed"
		return 1
	fi
}

# The same without the kernel's programs, which take most of the time.
check_quick() {
	check "$@" --flows-enable no --journal-enable no --events-enable no
}

# state WHAT: of the first finding of that name that is worst.
state() {
	jq -r --arg what "$1" '[.checks[] | select(.check == $what) | .state] |
		(map(select(. == "fail")) + map(select(. == "warn")) + .)[0] // "none"' "$T/check.json"
}

text() {
	jq -r --arg what "$1" '.checks[] | select(.check == $what) | .text' "$T/check.json"
}

cure() {
	jq -r --arg what "$1" '.checks[] | select(.check == $what) | .cure // ""' "$T/check.json"
}

# fails WHAT TEXT CURE: patterns.
fails() {
	[ "$(state "$1")" = fail ]
	text "$1" | grep -qE -- "$2"
	cure "$1" | grep -qE -- "$3"
	[ "$status" -eq 1 ]
}

# Nothing but these failed.
only() {
	local name

	while IFS= read -r name; do
		[[ $name =~ ^($1)$ ]] || { echo "$name failed, too"; return 1; }
	done < <(jq -r '.checks[] | select(.state == "fail") | .check' "$T/check.json")
}

@test "check: all is well, over https" {
	local n

	peer_start https
	check
	[ "$status" -eq 0 ]
	[ "$(jq .fail "$T/check.json")" -eq 0 ]
	for n in config kernel.btf kernel.bpffs kernel.cgroup host.capabilities spool.write \
		spool.room https.dns https.tcp https.tls https.key; do
		[ "$(state $n)" = ok ]
	done
	text https.tls | grep -qE '^TLSv1\.3 .*; localhost, .*issued by "CN=sekoia-ebpf test ca", valid for (29|30) days$'
	text https.key | grep -q '^accepted: '
	# The totals are those of the list, and each program of the tables is in it.
	[ "$(jq '.ok + .twin + .warn + .fail' "$T/check.json")" -eq "$(jq '.checks | length' "$T/check.json")" ]
	[ "$(jq '[.checks[] | select(.check | startswith("bpf."))] | length' "$T/check.json")" -eq \
		"$(sed -n '/^const struct program_row kernel_programs\[\]/,/^};/p' "$TOP"/user/*.c |
			awk '/\{ KERNEL_|EVENT_ROW\("/ { n++ } /CALL_ROWS\("/ { n += 2 } END { print n }')" ]
	# Nothing was sent, and nothing stays.
	[ "$(peer_count)" -eq 0 ]
	[ ! -e "$T/spool" ]
	[ ! -e "$BPF_DIR" ]
	[ -z "$(find /sys/fs/bpf -maxdepth 1 -name "sekoia-check-*" 2>/dev/null)" ]
}

@test "check: system calls are told from behind their functions, or else by tracepoints, at a cost" {
	local call used=0 refused

	check --output stdout
	refused=$(state bpf.call_setns)
	for call in ptrace bpf mount move_mount umount unshare setns setuid setreuid setresuid \
		setgid setregid setresgid listen; do
		echo "$call: $(text bpf.call_$call)"
		[ "$(state bpf.call_$call)" = "$refused" ]
		case $refused in
		ok)
			[ "$(text bpf.call_$call)" = "events: works" ]
			! text bpf.event_$call | grep -q 'system call of the host'
			;;
		twin)
			text bpf.call_$call | grep -q 'another one does its work$'
			[ "$(text bpf.event_$call)" = "events: works; each system call of the host takes some ns longer" ]
			;;
		*) return 1 ;;
		esac
		used=$((used + 1))
	done
	[ "$used" -eq 14 ]
}

@test "check: relp and syslog, which can not tell of keys" {
	local transport

	for transport in relp syslog; do
		PEER_PORT=
		peer_start $transport
		check_quick --output $transport
		[ "$status" -eq 0 ]
		[ "$(state $transport.tls)" = ok ]
		[ "$(state $transport.key)" = warn ]
		peer_stop
	done
}

@test "check: for people: lines, cures, colours on a terminal alone" {
	peer_start https
	run -1 "$SEKOIA" --config /dev/null --intake-key-file "$T/key" --spool-dir "$T/spool" \
		--collector-bpf-dir "$BPF_DIR" --output-host localhost --output-port 1 check
	[[ $output == *$'\nok     kernel.release '* ]]
	[[ $output == *$'\nFAIL   https.tcp '*$'\n       -> '* ]]
	[[ $output != *$'\033'* ]]
	run script -qec "'$SEKOIA' --config /dev/null --intake-key-file '$T/key' --spool-dir '$T/spool' \
		--collector-bpf-dir '$BPF_DIR' --output-host localhost --output-port 1 check" /dev/null
	[[ $output == *$'\033[1;31mFAIL'* ]]
	[ "$(sed 's/\x1b\[[0-9;]*m//g; s/\r//' <<<"$output" | grep -cE '.{80}')" -eq 0 ]
}

@test "check: mistakes of the configuration, all of them, and the rest is tried all the same" {
	peer_start https
	printf '[flows]\nloopbak = yes\nmax = many\n[tls]\ncert = /nowhere.pem\n' >"$T/conf"
	check_quick --config "$T/conf"
	[ "$(jq '[.checks[] | select(.check == "config")] | length' "$T/check.json")" -eq 3 ]
	fails config 'conf:2: .*loopbak' ''
	# The client certificate is one of the mistakes: without it the way ends behind TCP.
	fails tls.files 'nowhere\.pem' .
	[ "$(state https.tcp)" = ok ]
	rm "$T/key"
	check_quick
	fails config 'key' ''
	# A wrong word on the command line is not for check to bear.
	run -2 "$SEKOIA" --config /dev/null check everything
	run -2 "$SEKOIA" --config /dev/null cleanup --json
	[[ $output == *"--json: cleanup does not take it; these commands do: check, "* ]]
}

@test "check: no bpffs" {
	check -w unshare -m sh -c 'umount -l /sys/fs/bpf; exec "$@"' sh --
	[ "$(state kernel.bpffs)" = warn ]
	[ "$(cure kernel.bpffs)" = "mount -t bpf bpf /sys/fs/bpf" ]
	[ "$(state bpf.tcp_set_state)" = ok ]
	check -w unshare -m sh -c 'umount -l /sys/fs/bpf; exec setpriv --bounding-set -sys_admin "$@"' sh --
	fails kernel.bpffs 'no right to mount one' '^mount -t bpf'
	check --collector-bpf-dir "$T/pins"
	fails kernel.bpffs 'not on a bpffs' '--collector-bpf-dir'
}

@test "check: no cgroup-v2 tree is mounted" {
	# It is there all the same, and its root can be had without a mount.
	check -w unshare -m sh -c 'umount -l -a -t cgroup2; exec "$@"' sh --
	[ "$(state kernel.cgroup)" = ok ]
	text kernel.cgroup | grep -q '^v2 root mounted nowhere'
	[ "$(state bpf.packet_egress)" = ok ]
	check -w unshare -m sh -c 'umount -l -a -t cgroup2; exec setpriv --bounding-set -sys_admin "$@"' sh --
	fails kernel.cgroup 'no UDP and ICMP flows' 'mount -t cgroup2'
	fails bpf.packet_egress 'lost: UDP and ICMP flows' 'mount -t cgroup2'
	[ "$(state bpf.tcp_set_state)" = ok ]
}

@test "check: no BTF, and BTF from a file" {
	check -w unshare -m sh -c 'mount -t tmpfs none /sys/kernel/btf; exec "$@"' sh --
	fails kernel.btf 'no /sys/kernel/btf/vmlinux' "$(uname -r)\.btf\.tar\.xz.*--btf FILE"
	fails bpf.tcp_set_state 'missing' 'see kernel.btf'
	cp /sys/kernel/btf/vmlinux "$T/btf"
	check --btf "$T/btf"
	[ "$(state kernel.btf)" = ok ]
	[ "$(state bpf.tcp_set_state)" = ok ]
	# A file is not enough for tracepoints, and that is said.
	check -w unshare -m sh -c 'mount -t tmpfs none /sys/kernel/btf; exec "$@"' sh -- --btf "$T/btf"
	[ "$(state kernel.btf)" = warn ]
	[ "$(state bpf.packet_egress)" = ok ] # it has no tracepoint, and loads
	check --btf "$T/key"
	fails kernel.btf 'not BTF' 'exactly this kernel'
}

@test "check: a locked kernel" {
	mkdir "$T/security"
	echo 'none integrity [confidentiality]' >"$T/security/lockdown"
	check_quick -w unshare -m sh -c 'mount --bind "$0" /sys/kernel/security; exec "$@"' "$T/security" --
	fails kernel.lockdown confidentiality 'lockdown=integrity'
}

@test "check: missing capabilities" {
	check -w setpriv --bounding-set -net_admin,-sys_admin --
	fails host.capabilities 'CAP_NET_ADMIN is missing' 'CapabilityBoundingSet'
	fails bpf.packet_egress 'lost: UDP and ICMP flows' 'CAP_NET_ADMIN'
	[ "$(state bpf.tcp_set_state)" = ok ]
	check -w setpriv --bounding-set -bpf,-sys_admin --
	fails host.capabilities 'CAP_BPF is missing' .
	fails bpf.tcp_set_state missing 'run it as root'
	check -w setpriv --bounding-set -setuid --
	fails host.capabilities 'CAP_SETUID is missing' .
	fails network.privileges 'the network was not tried' CAP_SETUID
	[ "$(state https.tcp)" = none ]
}

@test "check: by an ordinary user" {
	certs
	install -m 644 "$T/key" "$T/other-key"
	check_quick -w setpriv --reuid 65534 --regid 65534 --clear-groups -- --intake-key-file "$T/key"
	fails config 'Permission denied' ''
	fails host.capabilities 'CAP_SETUID' 'as root'
	fails https.tcp 'refused' .
}

@test "check: a name that is none, a port that is closed" {
	certs
	check_quick --output-host nowhere.invalid
	fails https.dns '^nowhere\.invalid: ' 'output\.host'
	[ "$(state https.tcp)" = none ]
	check_quick --output-port 1
	fails https.tcp 'refused' 'the port'
	only 'https.tcp'
}

@test "check: certificates" {
	peer_start https --cert "$T/certs/expired.pem" --tls-key "$T/certs/expired.key"
	check_quick
	fails https.tls expired .
	peer_stop KILL
	peer_start https --cert "$T/certs/wrong-name.pem" --tls-key "$T/certs/wrong-name.key"
	check_quick
	fails https.tls 'name mismatch: the certificate is for another\.test, not for localhost' 'tls\.server_name'
	peer_stop KILL
	peer_start https --cert "$T/certs/untrusted.pem" --tls-key "$T/certs/untrusted.key"
	check_quick
	fails https.tls . 'tls\.ca'
	peer_stop KILL
	peer_start https --plain
	check_quick --output-connect-timeout 1s
	fails https.tls 'no answer in the handshake' 'speaks TLS'
	only 'https.tls'
	# The shipper says so of the same file.
	CA=$T/certs/nothing.pem check_quick
	fails tls.files 'nothing\.pem' .
}

@test "check: a client certificate is wanted" {
	certs
	peer_start relp --client-ca "$T/certs/ca.pem"
	check_quick --output relp
	fails relp.tls 'client certificate' 'tls\.cert'
	check_quick --output relp --tls-cert "$T/certs/client.pem" --tls-key "$T/certs/client.key"
	[ "$(state relp.tls)" = ok ]
}

@test "check: the key is refused; the intake is ill; it is no intake" {
	local answer

	TEST_KEY_OF_OTHERS=ffffffffffffffffffffffffffffffff
	peer_start https
	(umask 077 && echo $TEST_KEY_OF_OTHERS >"$T/wrong")
	check_quick --intake-key-file "$T/wrong"
	fails https.key '^refused: the intake answers 422' 'region'
	[ "$(grep -c $TEST_KEY_OF_OTHERS "$T/check.json")" -eq 0 ]
	only 'https.key'
	peer_stop
	for answer in 503:warn 429:warn 403:fail 404:fail 400:warn; do
		peer_start https --status "${answer%:*}"
		check_quick
		text https.key | grep -q "${answer%:*}"
		[ "$(state https.key)" = "${answer#*:}" ]
		peer_stop KILL
	done
	peer_start https --garbage
	check_quick
	fails https.key . .
	peer_stop KILL
	peer_start https --never-ack
	check_quick --output-connect-timeout 1s
	fails https.key 'no answer' .
}

@test "check: a full disk, a small one, one that is read-only" {
	certs
	mkdir "$T/disk"
	mount -t tmpfs -o size=4m none "$T/disk"
	check_quick --spool-dir "$T/disk/spool"
	[ "$(state spool.write)" = ok ]
	[ "$(state spool.room)" = warn ]
	dd if=/dev/zero of="$T/disk/full" bs=1M status=none || true
	check_quick --spool-dir "$T/disk/spool"
	fails spool.write 'No space left' '--spool-dir'
	rm "$T/disk/full"
	mount -o remount,ro "$T/disk"
	check_quick --spool-dir "$T/disk/spool"
	fails spool.write 'Read-only' '--spool-dir'
}

@test "check: a spool that the shipper can not reach" {
	certs
	mkdir -p "$T/closed/spool"
	chmod 700 "$T/closed"
	check_quick --spool-dir "$T/closed/spool"
	fails spool.reader "may not enter $T/closed" "chmod o\+x $T/closed"
	check_quick --shipper-user root
	fails network.privileges 'can not become root' 'shipper\.user'
}

@test "check: beside a running collector, and after one that was killed" {
	peer_start https
	daemon_start https --flows-loopback yes
	check
	[ "$status" -eq 0 ]
	[ "$(text collector.running)" = "yes (pid $DAEMON_PID): a second one needs another collector.bpf_dir and spool.dir" ]
	daemon_kill
	check
	[ "$(state collector.running)" = warn ]
	text collector.running | grep -q '1 capture of a killed one goes on'
	cure collector.running | grep -q 'sekoia-ebpf cleanup'
	# It disturbed nothing: the next one takes over.
	daemon_start https --flows-loopback yes
	grep -q 'resumed from the kernel' "$T/daemon.log"
	wait_until '[ "$(peer_count)" -gt 0 ]'
	daemon_stop
	peer_stop
	assert_accounts_balance
}

@test "check: through a proxy" {
	local port

	peer_start https
	echo me:secretword >"$T/auth"
	"$PEERS/proxy" --port 0 --ports-file "$T/proxy.port" --log "$T/proxy.log" --auth "$T/auth" \
		>>"$T/peer.log" 2>&1 3>&- &
	KEEP_PIDS+=($!)
	wait_until '[ -s "$T/proxy.port" ]' 10
	port=$(cat "$T/proxy.port")
	check_quick --output-proxy "http://me:secretword@localhost:$port"
	[ "$status" -eq 0 ]
	[ "$(state https.proxy)" = ok ]
	[ "$(state https.key)" = ok ]
	check_quick --output-proxy "http://me:wrongword@localhost:$port"
	fails https.proxy 407 'password'
	[ "$(grep -cE 'secretword|wrongword' "$T/check.json")" -eq 0 ]
	check_quick --output-proxy http://localhost:1
	fails https.tcp 'refused' 'the port'
}

@test "check: the network is tried by a process that has given up everything" {
	local child

	certs
	# Takes the connection and never says a word.
	nc -lk 127.0.0.1 0 >/dev/null 2>"$T/nc.log" 3>&- &
	KEEP_PIDS+=($!)
	wait_until "ss -Hltnp | grep -q 'pid=${KEEP_PIDS[0]},'"
	PEER_PORT=$(ss -Hltnp | sed -n "s/.*127.0.0.1:\([0-9]*\).*pid=${KEEP_PIDS[0]},.*/\1/p" | head -n 1)
	check_quick --output-host 127.0.0.1 --output-connect-timeout 4s &
	KEEP_PIDS+=($!)
	wait_until "ss -Htnp state established dport = :$PEER_PORT | grep -q sekoia"
	child=$(ss -Htnp state established dport = ":$PEER_PORT" | sed -n 's/.*pid=\([0-9]*\).*/\1/p' | head -n 1)
	grep -qP '^Uid:\t65534\t65534\t65534\t65534$' "/proc/$child/status"
	grep -qP '^CapEff:\t0+$' "/proc/$child/status"
	grep -qP '^CapBnd:\t0+$' "/proc/$child/status"
	grep -qP '^NoNewPrivs:\t1$' "/proc/$child/status"
	wait "${KEEP_PIDS[-1]}" || true
	jq -e '.checks[] | select(.check == "https.tls" and .state == "fail")' "$T/check.json"
}
