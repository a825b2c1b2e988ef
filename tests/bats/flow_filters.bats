#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The lists of [flows]: what they leave out is not recorded and is counted, and
# the rest is whole.

# shellcheck disable=SC2016,SC2030,SC2031

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	need_root
	common_setup
	take_net
	DAEMON_ARGS=(--flows-loopback yes --journal-enable no --kernel-log no)
	OWN=127.$NET.0.0/16
}

teardown() {
	common_teardown
}

# capture ARG...: a daemon that writes what it records to $T/stdout.
capture() {
	PEER_PORT=1 daemon_start stdout "$@"
}

# talk ADDRESS PORT: one connection that is refused, a flow of its own.
talk() {
	(exec 3<>"/dev/tcp/$1/$2") 2>/dev/null || true
}

# seen_on ADDRESS: how many flows to it were recorded.
seen_on() {
	grep -c "\"destinationIPv4Address\":\"$1\"" "$T/stdout" || true
}

# said WANT...: "ADDRESS=N" each, once the daemon has stopped and the books are right.
said() {
	local want

	daemon_stop
	for want in "$@"; do
		echo "${want%=*}: $(seen_on "${want%=*}"), wanted ${want#*=}"
		[ "$(seen_on "${want%=*}")" -eq "${want#*=}" ]
	done
	[ "$(books kernel.flows seen)" -eq $(($(books kernel.flows submitted) + \
		$(books kernel.flows filtered) + $(books kernel.flows ring_full) + \
		$(books kernel.flows no_room) + $(books kernel.flows missed) + \
		$(books kernel.flows live))) ]
}

@test "networks: only one, and a part of it not" {
	capture --flows-networks "$OWN, !127.$NET.7.0/24"
	talk "127.$NET.1.1" 9
	talk "127.$NET.7.1" 9
	talk 127.1.0.1 9
	talk "127.$NET.1.2" 9
	said "127.$NET.1.1=1" "127.$NET.7.1=0" "127.1.0.1=0" "127.$NET.1.2=1"
	[ "$(books kernel.flows filtered)" -ge 2 ]
}

@test "networks: all but one" {
	capture --flows-networks "!127.$NET.7.0/24, !::1/128"
	talk "127.$NET.1.1" 9
	talk "127.$NET.7.1" 9
	talk ::1 9
	said "127.$NET.1.1=1" "127.$NET.7.1=0"
	run ! grep -q '"destinationIPv6Address":"::1"' "$T/stdout"
}

@test "networks: IPv6" {
	capture --flows-networks "::1"
	talk "127.$NET.1.1" 9
	talk ::1 9
	said "127.$NET.1.1=0"
	grep -q '"destinationIPv6Address":"::1"' "$T/stdout"
}

@test "ports: some, and some not" {
	capture --flows-networks "$OWN" --flows-ports '9, 100-200, !150'
	talk "127.$NET.1.1" 9
	talk "127.$NET.1.2" 10
	talk "127.$NET.1.3" 149
	talk "127.$NET.1.4" 150
	said "127.$NET.1.1=1" "127.$NET.1.2=0" "127.$NET.1.3=1" "127.$NET.1.4=0"
}

@test "protocols, of packets and of connections" {
	capture --flows-networks "$OWN" --flows-protocols '!icmp, !udp'
	talk "127.$NET.1.1" 9
	ping -c 1 "127.$NET.1.2"
	echo x >"/dev/udp/127.$NET.1.3/9"
	said "127.$NET.1.1=1" "127.$NET.1.2=0" "127.$NET.1.3=0"
	capture --flows-networks "$OWN" --flows-protocols 'icmp'
	talk "127.$NET.2.1" 9
	ping -c 1 "127.$NET.2.2"
	said "127.$NET.2.1=0" "127.$NET.2.2=1"
}

@test "users, by name and by number; known for what is accepted only at its end" {
	capture --flows-networks "$OWN" --flows-users '!nobody'
	talk "127.$NET.1.1" 9
	setpriv --reuid 65534 bash -c "(exec 3<>/dev/tcp/127.$NET.1.2/9) 2>/dev/null" || true
	said "127.$NET.1.1=1" "127.$NET.1.2=0"
	[ "$(books kernel.flows live)" -eq 0 ]
	capture --flows-networks "$OWN" --flows-users '65534'
	talk "127.$NET.2.1" 9
	setpriv --reuid 65534 bash -c "(exec 3<>/dev/tcp/127.$NET.2.2/9) 2>/dev/null" || true
	said "127.$NET.2.1=0" "127.$NET.2.2=1"
}

@test "processes, by their names" {
	capture --flows-networks "$OWN" --flows-processes '!curl'
	talk "127.$NET.1.1" 9
	curl -s -m 2 "http://127.$NET.1.2:9/" || true
	said "127.$NET.1.1=1" "127.$NET.1.2=0"
}

@test "cgroups: also one that is made later, and made again" {
	local group=/sekoia-test-$NET mount

	mount=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)
	[ -n "$mount" ] || skip "no cgroup v2 here"
	capture --flows-networks "$OWN" --flows-cgroups "!$group"
	talk "127.$NET.1.1" 9
	for i in 2 3; do
		mkdir "$mount$group"
		sleep 2.5
		(echo "$BASHPID" >"$mount$group/cgroup.procs" && talk "127.$NET.1.$i" 9)
		wait_until 'rmdir "'"$mount$group"'"'
	done
	talk "127.$NET.1.4" 9
	said "127.$NET.1.1=1" "127.$NET.1.2=0" "127.$NET.1.3=0" "127.$NET.1.4=1"
}

@test "direction: what this host began, or what others did" {
	capture --flows-networks "$OWN" --flows-direction out
	"$PEERS/emit" --net "$NET" --first 1 --count 5 --rate 0
	daemon_stop
	[ "$(grep -c '"flowDirection":1' "$T/stdout")" -eq 5 ]
	[ "$(grep -c '"flowDirection":0' "$T/stdout")" -eq 0 ]
	: >"$T/stdout"
	capture --flows-networks "$OWN" --flows-direction in
	"$PEERS/emit" --net "$NET" --first 10 --count 5 --rate 0
	daemon_stop
	[ "$(grep -c '"flowDirection":1' "$T/stdout")" -eq 0 ]
	[ "$(grep -c '"flowDirection":0' "$T/stdout")" -eq 5 ]
}

@test "private to private" {
	capture --flows-networks "$OWN" --flows-private no
	talk "127.$NET.1.1" 9
	said "127.$NET.1.1=0"
	[ "$(books kernel.flows filtered)" -ge 1 ]
}

@test "sampling: about one in four, and all are counted" {
	local n

	capture --flows-networks "$OWN" --flows-sample 4 --flows-direction out
	"$PEERS/emit" --net "$NET" --first 1 --count 2000 --rate 0
	daemon_stop
	n=$(grep -c '"flowDirection":1' "$T/stdout")
	echo "$n of 2000"
	[ "$n" -gt 350 ] && [ "$n" -lt 650 ]
	[ "$n" -eq "$(books kernel.flows submitted)" ]
	[ "$(books kernel.flows filtered)" -ge $((4000 - n)) ]
}

@test "a user who is not there: said at start, with the cure" {
	run -1 "$SEKOIA" --config /dev/null --output stdout --spool-dir "$T/spool" \
		--collector-bpf-dir "$BPF_DIR" --flows-users nosuchuser
	[[ $output == *'there is no user "nosuchuser" in /etc/passwd; give the number'* ]]
}

@test "a rule is changed: a daemon that takes the rings over has the new one" {
	capture --flows-networks "$OWN"
	talk "127.$NET.1.1" 9
	daemon_kill
	capture --flows-networks "!$OWN"
	talk "127.$NET.1.2" 9
	said "127.$NET.1.1=1" "127.$NET.1.2=0"
}
