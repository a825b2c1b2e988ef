# SPDX-License-Identifier: Apache-2.0
# Each key of a flow record, held against what the system itself says of the
# same connection: one run, in which everything is written down that must come
# out again, and a test for each group of keys.

load ../lib/common
load ../lib/faults

CONTAINER=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
POD=7f0b1a2c-0000-1111-2222-333344445555

# fact NAME [VALUE]: writes it down, or gives it back.
fact() {
	if [ $# -eq 2 ]; then
		printf '%s\n' "$2" >"$BATS_FILE_TMPDIR/fact.$1"
	else
		cat "$BATS_FILE_TMPDIR/fact.$1"
	fi
}

# What is seen is the whole host, another run of this test included: ports are
# told from a random one on.
port() {
	echo $(($(fact base) + $1))
}

# flow PORT DIRECTION FILTER: the value in the one record of that client's port.
flow() {
	jq -rc "select(.sourceTransportPort == $(port "$1") and .flowDirection == $2) | $3" "$BATS_FILE_TMPDIR/received"
}

# holds PORT DIRECTION CONDITION: there is one such record, and it is so.
holds() {
	local got

	got=$(flow "$1" "$2" "$3")
	[ "$got" = true ] || { echo "port $1, direction $2: $3: ${got:-no record}"; flow "$1" "$2" .; return 1; }
}

is() {
	[ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; return 1; }
}

cgroup2() {
	awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts
}

uptime_ms() {
	awk '{ printf "%d", $1 * 1000 }' /proc/uptime
}

# The number of TCP segments that a namespace has sent, as they were on the wire.
# (What it counts as received are the bundles in which they came.)
segments() {
	ip netns exec "$1" awk '/^Tcp:/ && names++ { print $at }
		/^Tcp:/ { for (i = 1; i <= NF; i++) if ($i == "OutSegs") at = i }' /proc/net/snmp
}

# remember WHAT PID: what /proc says of it while it lives.
remember() {
	local what=$1 pid=$2 parent

	fact "$what.pid" "$pid"
	fact "$what.exe" "$(readlink "/proc/$pid/exe")"
	fact "$what.args" "$(tr '\0' '\n' <"/proc/$pid/cmdline")"
	fact "$what.uid" "$(awk '/^Uid:/ { print $2 }' "/proc/$pid/status")"
	fact "$what.start" "$(awk -v up="$(cut -d' ' -f1 /proc/uptime)" -v hz="$(getconf CLK_TCK)" -v now="$EPOCHREALTIME" \
		'{ sub(/.*\) /, ""); printf "%.3f", now - up + $20 / hz }' "/proc/$pid/stat")"
	parent=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status")
	fact "$what.parent.pid" "$parent"
	fact "$what.parent.exe" "$(readlink "/proc/$parent/exe")"
}

# talk FAMILY PORT SERVER CLIENT: nc to nc, 1000 bytes there and 3000 back, while /proc is read.
talk() {
	local port=$2 server=$3 client=$4 name=tcp$1

	head -c 3000 /dev/zero | ip netns exec "$B" nc -N -l "$server" 7000 >"$T/got.$name" 2>/dev/null 3>&- &
	KEEP_PIDS+=($!)
	wait_until "ip netns exec $B ss -Hltn 'sport = :7000' | grep -q ."
	mkfifo "$T/fifo.$name"
	fact "$name.segments" "$(segments "$A") $(segments "$B")"
	fact "$name.before_ms" "$(uptime_ms)"
	fact "$name.before" "$EPOCHREALTIME"
	ip netns exec "$A" setpriv --reuid=65534 --regid=65534 --clear-groups \
		nc -N -s "$client" -p "$port" "$server" 7000 <"$T/fifo.$name" >/dev/null 2>&1 3>&- &
	local pid=$!
	KEEP_PIDS+=("$pid")
	exec 9>"$T/fifo.$name"
	head -c 1000 /dev/zero >&9
	wait_until "ip netns exec $A ss -Htn state connected 'sport = :$port' | grep -q ."
	wait_until '[ "$(stat -c %s "$T/got.'"$name"'")" -eq 1000 ]'
	remember "$name" "$pid"
	exec 9>&-
	wait "$pid" || true
	fact "$name.after" "$EPOCHREALTIME"
	fact "$name.after_ms" "$(uptime_ms)"
	fact "$name.segments" "$(fact "$name.segments") $(segments "$A") $(segments "$B")"
}

# in_cgroup PATH PORT: a connection to PORT from a process in that control group,
# which outlives it.
in_cgroup() {
	local dir

	dir=$(cgroup2)/$1
	CGROUPS+=("$dir")
	mkdir -p "$dir"
	ip netns exec "$B" nc -l 10.99.0.2 "$2" >/dev/null 2>&1 3>&- &
	KEEP_PIDS+=($!)
	wait_until "ip netns exec $B ss -Hltn 'sport = :$2' | grep -q ."
	# Not "ip netns exec": its mount of /sys hides the control groups.
	nsenter --net="/run/netns/$A" bash -c 'echo $$ >"$1/cgroup.procs" && exec 3<>"/dev/tcp/10.99.0.2/$2" && exec 3>&- && sleep 1' \
		bash "$dir" "$2"
}

setup_file() {
	local i
	[ "$(id -u)" = 0 ] || return 0
	common_setup
	trap 'common_teardown; remove_cgroups' EXIT
	NET=$((RANDOM % 230 + 20))
	fact base $((RANDOM % 20000 + 10000))
	CGROUPS=()
	netns_pair "sk${T##*.}"
	A=sk${T##*.}a
	B=sk${T##*.}b
	fact ifindex.a "$(ip netns exec "$A" cat /sys/class/net/veth0/ifindex)"
	fact ifindex.b "$(ip netns exec "$B" cat /sys/class/net/veth0/ifindex)"
	peer_start https
	daemon_start https --flows-loopback yes --flows-idle-timeout 1s --journal-enable no --kernel-log no
	fact spool.began "$EPOCHREALTIME"
	talk 4 "$(port 4)" 10.99.0.2 10.99.0.1
	talk 6 "$(port 6)" fd00:99::2 fd00:99::1
	# Refused.
	ip netns exec "$A" nc -s 10.99.0.1 -p "$(port 9)" 10.99.0.2 9 </dev/null 2>/dev/null || true
	# One datagram there, one back.
	head -c 300 /dev/zero | ip netns exec "$B" nc -u -l 10.99.0.2 7000 >/dev/null 2>&1 3>&- &
	KEEP_PIDS+=($!)
	wait_until "ip netns exec $B ss -Hlun 'sport = :7000' | grep -q ."
	head -c 100 /dev/zero | ip netns exec "$A" nc -u -w 1 -s 10.99.0.1 -p "$(port 17)" 10.99.0.2 7000 >/dev/null 2>&1 || true
	ip netns exec "$A" ping -c 2 -i 0.2 -s 72 10.99.0.2 >/dev/null 3>&- &
	fact ping4.pid $!
	wait $!
	ip netns exec "$A" ping -6 -c 2 -i 0.2 -s 72 fd00:99::2 >/dev/null 3>&- &
	fact ping6.pid $!
	wait $!
	# In our own namespace, whose interfaces have names.
	"$PEERS/emit" --net "$NET" --count 1
	if [ -n "$(cgroup2)" ]; then
		in_cgroup "sk-$NET.slice/docker-$CONTAINER.scope" "$(port 101)"
		in_cgroup "sk-$NET.slice/kubepods-burstable-pod${POD//-/_}.slice/cri-containerd-$CONTAINER.scope" "$(port 102)"
	fi
	wait_until 'peer_summary received >/dev/null; [ "$(grep -c "\"sourceTransportPort\":$(port 17)," "$T/received")" -eq 2 ]' 20
	daemon_stop
	peer_stop
	assert_all_delivered
	fact net "$NET"
	cp "$T/received" "$BATS_FILE_TMPDIR/received"
	trap - EXIT
	common_teardown
	remove_cgroups
}

remove_cgroups() {
	local dir

	for dir in "${CGROUPS[@]}"; do
		rmdir "$dir" 2>/dev/null || true
		rmdir "${dir%/*}" 2>/dev/null || true
	done
	rmdir "$(cgroup2)/sk-$NET.slice" 2>/dev/null || true
}

setup() {
	common_setup
	need_root
}

teardown() {
	common_teardown
}

@test "keys: addresses and ports, IPv4 and IPv6" {
	local d
	for d in 1 0; do
		holds 4 $d '.sourceIPv4Address == "10.99.0.1" and .destinationIPv4Address == "10.99.0.2" and
			.destinationTransportPort == 7000 and .source.ip == "10.99.0.1" and .source.port == .sourceTransportPort and
			.destination.ip == "10.99.0.2" and .destination.port == 7000'
		holds 6 $d '.sourceIPv6Address == "fd00:99::1" and .destinationIPv6Address == "fd00:99::2" and
			.destinationTransportPort == 7000 and .source.ip == "fd00:99::1" and .source.port == .sourceTransportPort and
			.destination.ip == "fd00:99::2" and .destination.port == 7000'
		# Of one family only.
		holds 4 $d 'has("sourceIPv6Address") or has("destinationIPv6Address") | not'
		holds 6 $d 'has("sourceIPv4Address") or has("destinationIPv4Address") | not'
	done
}

@test "keys: protocol and version" {
	holds 4 1 '.protocolIdentifier == 6 and .ipVersion == 4 and .IP_PROTOCOL_VERSION == 4 and
		.network.transport == "tcp" and .network.type == "ipv4" and .network.iana_number == "6"'
	holds 6 1 '.protocolIdentifier == 6 and .ipVersion == 6 and .IP_PROTOCOL_VERSION == 6 and
		.network.transport == "tcp" and .network.type == "ipv6"'
	holds 17 1 '.protocolIdentifier == 17 and .ipVersion == 4 and .IP_PROTOCOL_VERSION == 4 and
		.network.transport == "udp" and .network.type == "ipv4" and .network.iana_number == "17"'
}

@test "keys: octets are those that were sent, each way and together" {
	local p d
	for p in 4 6; do
		for d in 1 0; do
			holds $p $d '.initiatorOctets == 1000 and .responderOctets == 3000 and .octetDeltaCount == 4000 and
				.source.bytes == 1000 and .destination.bytes == 3000 and .network.bytes == 4000'
		done
	done
	# UDP counts from the IP header on, 28 bytes of headers.
	for d in 1 0; do
		holds 17 $d '.initiatorOctets == 128 and .responderOctets == 328 and .octetDeltaCount == 456 and
			.source.bytes == 128 and .destination.bytes == 328 and .network.bytes == 456'
	done
}

@test "keys: packets are those that the namespace counted" {
	local name port a_before b_before a b
	for name in tcp4 tcp6; do
		port=${name#tcp}
		read -r a_before b_before a b < <(fact "$name".segments)
		a=$((a - a_before))
		b=$((b - b_before))
		[ "$a" -ge 4 ] && [ "$b" -ge 4 ]
		echo "sent: $a and $b; record: $(flow "$port" 1 '"\(.initiatorPackets) and \(.responderPackets)"')"
		# The last ACK of an end whose socket is no more (TIME_WAIT) is not in its flow.
		[ "$(flow "$port" 1 .initiatorPackets)" -ge $((a - 1)) ] && [ "$(flow "$port" 1 .initiatorPackets)" -le "$a" ]
		[ "$(flow "$port" 1 .responderPackets)" -ge $((b - 1)) ] && [ "$(flow "$port" 1 .responderPackets)" -le "$b" ]
		holds "$port" 1 '.packetDeltaCount == .initiatorPackets + .responderPackets and
			.source.packets == .initiatorPackets and .destination.packets == .responderPackets and
			.network.packets == .packetDeltaCount'
	done
	holds 17 1 '.initiatorPackets == 1 and .responderPackets == 1 and .packetDeltaCount == 2'
}

@test "keys: direction: who connected, who accepted" {
	local p
	for p in 4 6 17; do
		holds $p 1 '.network.direction == "outbound" and (.process.name | startswith("nc"))'
		holds $p 0 '.network.direction == "inbound" and (.process.name | startswith("nc"))'
		[ "$(flow $p 1 .process.pid)" -ne "$(flow $p 0 .process.pid)" ]
	done
}

@test "keys: times: within the moments before and after, RFC 3339, and of uptime" {
	local name port
	for name in tcp4 tcp6; do
		port=${name#tcp}
		holds "$port" 1 ".flowStartSysUpTime >= $(fact "$name".before_ms) - 10 and .flowEndSysUpTime <= $(fact "$name".after_ms) + 10 and
			.flowStartSysUpTime < .flowEndSysUpTime"
		holds "$port" 1 '[.["@timestamp"], .flowStartSeconds, .flowEndSeconds, .event.start, .event.end] |
			all(test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z$"))'
		holds "$port" 1 '.event.start == .flowStartSeconds and .event.end == .flowEndSeconds and .["@timestamp"] == .flowEndSeconds'
		# A clock that is set meanwhile moves these: a tenth of a second is let pass.
		[ "$(date -d "$(flow "$port" 1 .flowStartSeconds)" +%s%3N)" -ge $(($(fact "$name".before | tr -d .) / 1000 - 100)) ]
		[ "$(date -d "$(flow "$port" 1 .flowEndSeconds)" +%s%3N)" -le $(($(fact "$name".after | tr -d .) / 1000 + 100)) ]
		holds "$port" 1 'def ms: (.[0:19] + "Z" | fromdate) * 1000 + (.[20:23] | tonumber);
			((.flowEndSeconds | ms) - (.flowStartSeconds | ms)) - (.flowEndSysUpTime - .flowStartSysUpTime) | . >= -1 and . <= 1'
	done
}

@test "keys: interfaces: the index in each namespace, the name in ours" {
	is "$(flow 4 1 .egressInterface)" "$(fact ifindex.a)"
	is "$(flow 4 0 .ingressInterface)" "$(fact ifindex.b)"
	holds 4 1 'has("ingressInterface") | not'
	holds 4 0 'has("egressInterface") | not'
	is "$(flow 6 1 .egressInterface)" "$(fact ifindex.a)"
	# An index of another namespace has no name here.
	holds 4 1 'has("interfaceName") | not'
	is "$(jq -r "select(.destinationIPv4Address == \"127.$(fact net).255.254\" and .flowDirection == 1) |
		\"\(.egressInterface) \(.interfaceName)\"" "$BATS_FILE_TMPDIR/received")" "$(cat /sys/class/net/lo/ifindex) lo"
}

@test "keys: TCP control bits and the reason of the end" {
	# FIN, SYN, PSH, ACK.
	holds 4 1 '.tcpControlBits == 27 and .flowEndReason == 3 and .event.reason == "end of flow"'
	holds 4 0 '.tcpControlBits == 27 and .flowEndReason == 3'
	holds 9 1 '.tcpControlBits == 22 and .flowEndReason == 3 and .event.reason == "connection refused"'
	holds 17 1 '.flowEndReason == 1 and .event.reason == "idle timeout" and (has("tcpControlBits") | not)'
}

@test "keys: event" {
	local p
	for p in 4 6 17; do
		holds $p 1 '.event | .kind == "event" and .category == ["network"] and .type == ["connection", "start", "end"] and
			.action == "network_flow" and .outcome == "success" and .provider == "sekoia-ebpf"'
	done
	holds 9 1 '.event.outcome == "failure"'
	# Its number: the spool's id, and no two alike.
	is "$(jq -r '.event.id | select(test("^[0-9a-f]{16}-[0-9]+$"))' "$BATS_FILE_TMPDIR/received" | sort -u | wc -l)" \
		"$(wc -l <"$BATS_FILE_TMPDIR/received")"
	is "$(jq -r '.event.id[0:16]' "$BATS_FILE_TMPDIR/received" | sort -u | wc -l)" 1
}

@test "keys: network.community_id is the same at both ends, and the specification's" {
	command -v xxd >/dev/null || skip "needs xxd"
	local want
	want=$(printf '1:%s' "$(printf '0000%s%s0600%04x%04x' 0a630001 0a630002 "$(port 4)" 7000 | xxd -r -p | openssl dgst -sha1 -binary | base64)")
	is "$(flow 4 1 .network.community_id)" "$want"
	is "$(flow 4 0 .network.community_id)" "$want"
	want=$(printf '1:%s' "$(printf '0000%s%s0600%04x%04x' fd000099000000000000000000000001 fd000099000000000000000000000002 \
		"$(port 6)" 7000 | xxd -r -p | openssl dgst -sha1 -binary | base64)")
	is "$(flow 6 1 .network.community_id)" "$want"
	want=$(printf '1:%s' "$(printf '0000%s%s1100%04x%04x' 0a630001 0a630002 "$(port 17)" 7000 | xxd -r -p | openssl dgst -sha1 -binary | base64)")
	is "$(flow 17 1 .network.community_id)" "$want"
}

@test "keys: process and its parent are what /proc says" {
	local name port start
	for name in tcp4 tcp6; do
		port=${name#tcp}
		is "$(flow "$port" 1 .process.pid)" "$(fact "$name".pid)"
		# By the name that exec was given when it is gone, which may be a link.
		is "$(readlink -f "$(flow "$port" 1 .process.executable)")" "$(fact "$name".exe)"
		is "$(flow "$port" 1 .process.name)" "$(basename "$(flow "$port" 1 .process.executable)")"
		is "$(flow "$port" 1 '.process.args[]')" "$(fact "$name".args)"
		is "$(flow "$port" 1 .process.command_line)" "$(fact "$name".args | tr '\n' ' ' | sed 's/ $//')"
		start=$(date -d "$(flow "$port" 1 .process.start)" +%s%3N)
		start=$((start - $(fact "$name".start | tr -d .)))
		[ "${start#-}" -le 100 ]
		is "$(flow "$port" 1 .process.parent.pid)" "$(fact "$name".parent.pid)"
		is "$(flow "$port" 1 .process.parent.executable)" "$(fact "$name".parent.exe)"
		holds "$port" 1 '.process.parent | (.name | length > 0) and (.command_line | length > 0)'
	done
}

@test "keys: user is who ran it" {
	is "$(flow 4 1 .user.id)" 65534
	is "$(flow 4 1 .user.id)" "$(fact tcp4.uid)"
	is "$(flow 4 1 .user.name)" "$(id -nu 65534)"
	is "$(flow 4 0 '"\(.user.id) \(.user.name)"')" "0 root"
}

@test "keys: host is this one" {
	is "$(flow 4 1 .host.hostname)" "$(hostname)"
	is "$(flow 4 1 '.host.ip[]' | sort)" \
		"$(ip -o addr show scope global | awk '{ sub("/.*", "", $4); print $4 }' | sort | head -n 16)"
	is "$(flow 4 1 .host.os.type)" linux
	is "$(flow 4 1 .host.os.name)" "$(. /etc/os-release && echo "$NAME")"
	is "$(flow 4 1 '.host.os.version // ""')" "$(. /etc/os-release && echo "${VERSION_ID:-}")"
}

@test "keys: agent is this program, under a name that does not tell the machine's" {
	is "$(flow 4 1 .agent.name)" sekoia-ebpf
	is "$(flow 4 1 .agent.type)" sekoia-ebpf
	is "sekoia-ebpf $(flow 4 1 .agent.version)" "$("$SEKOIA" --version)"
	[ -s /etc/machine-id ] || skip "needs a machine id"
	holds 4 1 '.agent.id | test("^[0-9a-f]{32}$")'
	[ "$(flow 4 1 .agent.id)" != "$(cat /etc/machine-id)" ]
	is "$(jq -r .agent.id "$BATS_FILE_TMPDIR/received" | sort -u | wc -l)" 1
}

@test "keys: container and pod, from the control group" {
	[ -n "$(cgroup2)" ] || skip "needs cgroup v2"
	is "$(jq -cS --argjson p "$(port 101)" 'select(.destinationTransportPort == $p and .flowDirection == 1) | [.container, .orchestrator]' \
		"$BATS_FILE_TMPDIR/received")" "[{\"id\":\"$CONTAINER\",\"runtime\":\"docker\"},null]"
	is "$(jq -cS --argjson p "$(port 102)" 'select(.destinationTransportPort == $p and .flowDirection == 1) | [.container, .orchestrator]' \
		"$BATS_FILE_TMPDIR/received")" \
		"[{\"id\":\"$CONTAINER\",\"runtime\":\"containerd\"},{\"resource\":{\"id\":\"$POD\",\"type\":\"pod\"},\"type\":\"kubernetes\"}]"
	holds 4 1 'has("container") or has("orchestrator") | not'
}

@test "keys: ICMP has no ports, but type and code" {
	is "$(jq -c --argjson pid "$(fact ping4.pid)" 'select(.protocolIdentifier == 1 and .process.pid == $pid and .sourceIPv4Address == "10.99.0.1") |
		[.flowDirection, .icmpTypeCodeIPv4, .initiatorPackets, .responderPackets, .initiatorOctets, .network.transport]' \
		"$BATS_FILE_TMPDIR/received")" '[1,2048,2,2,200,"icmp"]'
	is "$(jq -c --argjson pid "$(fact ping6.pid)" 'select(.protocolIdentifier == 58 and .process.pid == $pid and .sourceIPv6Address == "fd00:99::1" and .icmpTypeCodeIPv6 == 32768) |
		[.flowDirection, .initiatorPackets, .responderPackets, .initiatorOctets, .network.transport]' \
		"$BATS_FILE_TMPDIR/received")" '[1,2,2,240,"ipv6-icmp"]'
	is "$(jq -c 'select(.protocolIdentifier == 1 or .protocolIdentifier == 58) |
		select(has("sourceTransportPort") or has("destinationTransportPort") or .source.port or .destination.port)' \
		"$BATS_FILE_TMPDIR/received" | wc -l)" 0
}

@test "keys: every record is one flat object, without what the intake can not read" {
	is "$(jq -c 'select((type != "object") or has("message") or has("flowDurationMicroseconds") or has("OUTPUT") or
		has("destinationMacAddress") or (has("@timestamp") and has("host") and has("agent") and has("event") | not))' \
		"$BATS_FILE_TMPDIR/received" | wc -l)" 0
	# Interfaces that are not known are left out, not 0.
	is "$(jq -c 'select(.ingressInterface == 0 or .egressInterface == 0)' "$BATS_FILE_TMPDIR/received" | wc -l)" 0
	# No number above what the platform takes, no key twice.
	is "$(jq -c '[.. | numbers] | select(any(. > 9007199254740992))' "$BATS_FILE_TMPDIR/received" | wc -l)" 0
	is "$(sed -n 1p "$BATS_FILE_TMPDIR/received" | grep -o '"sourceTransportPort"' | wc -l)" 1
}

@test "keys: flows.schema leaves out one half or the other" {
	local schema
	for schema in ipfix ecs; do
		rm -rf "$T/spool" "$T/received"
		PEER_PORT=
		peer_start https
		daemon_start https --flows-schema $schema --flows-loopback yes --journal-enable no --kernel-log no
		"$PEERS/emit" --net "$(fact net)" --count 1
		wait_until 'peer_summary received >/dev/null; [ "$(grep -c "127.$(fact net).255.254" "$T/received")" -ge 2 ]'
		daemon_stop
		peer_stop
		assert_all_delivered
		mv "$T/received" "$T/received.$schema"
	done
	is "$(jq -c "select(.destinationIPv4Address == \"127.$(fact net).255.254\" and .flowDirection == 1) |
		[has(\"source\"), has(\"process\"), has(\"host\"), (.event | keys)]" "$T/received.ipfix")" '[false,false,false,["id"]]'
	is "$(jq -c "select(.destination.ip == \"127.$(fact net).255.254\" and .network.direction == \"outbound\") |
		[has(\"sourceIPv4Address\"), has(\"flowDirection\"), .event.action, .process.name]" "$T/received.ecs")" \
		'[false,false,"network_flow","emit"]'
}

@test "keys: a long flow: deltas sum to its totals, active timeout, then the end" {
	local i records
	netns_pair "sk${T##*.}"
	A=sk${T##*.}a
	B=sk${T##*.}b
	peer_start https
	daemon_start https --flows-active-timeout 1s --journal-enable no --kernel-log no
	head -c 777 /dev/zero | ip netns exec "$B" nc -l 10.99.0.2 7000 >"$T/got" 2>/dev/null 3>&- &
	KEEP_PIDS+=($!)
	wait_until "ip netns exec $B ss -Hltn 'sport = :7000' | grep -q ."
	mkfifo "$T/fifo"
	ip netns exec "$A" nc -N -s 10.99.0.1 -p "$(port 200)" 10.99.0.2 7000 <"$T/fifo" >/dev/null 2>&1 3>&- &
	local pid=$!
	KEEP_PIDS+=("$pid")
	exec 9>"$T/fifo"
	for i in 1 2 3 4 5 6 7 8; do
		head -c $((1000 * i)) /dev/zero >&9
		sleep 0.5
	done
	exec 9>&-
	wait "$pid" || true
	daemon_stop
	peer_stop
	assert_all_delivered
	for i in 1 0; do
		records=$(jq -sc "[.[] | select(.sourceTransportPort == $(port 200) and .flowDirection == $i)]" "$T/received")
		echo "$records" | jq -c '.[] | [.flowEndReason, .initiatorOctets, .responderOctets, .sekoia_ebpf.report, .event.type]'
		is "$(jq 'length >= 3' <<<"$records")" true
		is "$(jq 'map(.initiatorOctets) | add' <<<"$records")" 36000
		is "$(jq 'map(.responderOctets) | add' <<<"$records")" 777
		is "$(jq 'map(.octetDeltaCount) | add' <<<"$records")" 36777
		is "$(jq 'last.octetTotalCount' <<<"$records")" 36777
		is "$(jq 'map(.flowId) | unique | length' <<<"$records")" 1
		is "$(jq -c 'map(.flowEndReason) | [(.[:-1] | unique), last]' <<<"$records")" '[[2],3]'
		is "$(jq -c '[first.event.type, last.event.type]' <<<"$records")" '[["connection","start"],["connection","end"]]'
		is "$(jq -c '[.[1:-1][] | .event.type] | unique' <<<"$records")" '[["connection"]]'
		is "$(jq -c 'map(.sekoia_ebpf.report) == [range(length)]' <<<"$records")" true
		is "$(jq -c '.[0].event.reason, last.event.reason' <<<"$records" | tr '\n' ' ')" '"active timeout" "end of flow" '
		# Each begins where the flow began, and ends later than the one before it.
		is "$(jq 'map(.flowStartSeconds) | unique | length' <<<"$records")" 1
		is "$(jq 'map(.flowEndSeconds) | . == sort and (unique | length) == length' <<<"$records")" true
	done
}
