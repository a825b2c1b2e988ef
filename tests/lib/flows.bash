# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Connections whose every byte is known, in network namespaces whose addresses no
# other test has, and the verdict on their records. Needs tests/lib/common.bash.

# flows_world: three namespaces: ${WORLD}l by itself, ${WORLD}a and ${WORLD}b joined by a veth pair.
# FLOWS_NETWORKS: all addresses there; what else goes on on this host is not this test's.
flows_world() {
	take_net
	WORLD=skf$NET
	FLOW_RUNS=()
	# shellcheck disable=SC2034 # by those who load this
	FLOWS_NETWORKS=127.$NET.0.0/16,10.98.$NET.0/24,fd98:$NET::/32
	netns_pair "$WORLD"
	NETNS+=("${WORLD}l")
	ip netns add "${WORLD}l"
	ip -n "${WORLD}l" link set lo up
	local ns
	for ns in a b l; do
		# Many that are half closed, or wait, at once; and ports for all of them.
		ip netns exec "$WORLD$ns" sysctl -qw net.ipv4.ip_local_port_range="20000 60999"
	done
	# What is sent there arrives nowhere.
	local mac
	mac=$(ip -n "${WORLD}b" -j link show veth0 | jq -r '.[0].address')
	ip -n "${WORLD}a" neigh add 10.99.0.77 lladdr "$mac" dev veth0
	ip -n "${WORLD}a" neigh add fd00:99::77 lladdr "$mac" dev veth0
}

# flows_lose PERCENT: of the packets between a and b, each way.
flows_lose() {
	ip netns exec "${WORLD}a" "$PEERS/lossy" veth0 "$1"
	ip netns exec "${WORLD}b" "$PEERS/lossy" veth0 "$1"
}

# flows_make WHERE MODE CONNECTIONS [ARG...]: over "lo" or "veth". Each run has addresses of its own.
flows_make() {
	local where=$1 mode=$2 n=$3 r=$((${#FLOW_RUNS[@]} + 1)) args

	shift 3
	if [ "$where" = lo ]; then
		ip -n "${WORLD}l" addr add "fd98:$NET:$r::1/128" dev lo nodad
		args=(--v4 "127.$NET.$r.1" --v6 "fd98:$NET:$r::1" --client-netns "${WORLD}l" --server-netns "${WORLD}l")
	else
		ip -n "${WORLD}a" addr add "10.98.$NET.$((2 * r))/24" dev veth0
		ip -n "${WORLD}b" addr add "10.98.$NET.$((2 * r + 1))/24" dev veth0
		ip -n "${WORLD}a" addr add "fd98:$NET:0:$r::1/64" dev veth0 nodad
		ip -n "${WORLD}b" addr add "fd98:$NET:0:$r::2/64" dev veth0 nodad
		args=(--bind-v4 "10.98.$NET.$((2 * r))" --v4 "10.98.$NET.$((2 * r + 1))" --bind-v6 "fd98:$NET:0:$r::1"
			--v6 "fd98:$NET:0:$r::2" --client-netns "${WORLD}a" --server-netns "${WORLD}b"
			--hole-v4 10.99.0.77 --hole-v6 fd00:99::77)
	fi
	FLOW_RUNS+=("$T/truth.$r")
	"$PEERS/tcpgen" --mode "$mode" --connections "$n" --seed "$r$n" --truth "$T/truth.$r" "${args[@]}" "$@" >"$T/made.$r" || {
		echo "tcpgen $where $mode: $(cat "$T/made.$r")"
		return 1
	}
	[ "$(jq .wrong "$T/made.$r")" -eq 0 ]
}

# All records of all runs are right; prints the totals as one line of JSON.
flows_judge() {
	local truth missed wrong=0

	missed=$(books kernel.flows missed)
	for truth in "${FLOW_RUNS[@]}"; do
		"$PEERS/flowcheck" --sides 2 --allow-missing "$missed" "$truth" "$T/received" >"$T/verdict" || wrong=1
		tail -n 1 "$T/verdict" | tee -a "$T/verdicts"
	done
	jq -sc 'map(del(.right, .other)) | reduce .[] as $v ({}; reduce ($v | to_entries[]) as $e (.; .[$e.key] += $e.value))' "$T/verdicts"
	return $wrong
}

# flows_with MODE DIRECTION FILTER: each value that the last records of these connections have, with how often.
flows_with() {
	if [ ! -s "$T/ends" ]; then
		cat "${FLOW_RUNS[@]}" | jq -sc 'map({"\(.src) \(.sport) \(.dst) \(.dport)": .mode}) | add' >"$T/modes"
		grep '^{' "$T/received" | jq -r --slurpfile modes "$T/modes" 'select(.protocolIdentifier == 6 and .flowEndReason != 2)
			| $modes[0]["\(.sourceIPv4Address // .sourceIPv6Address) \(.sourceTransportPort) \(.destinationIPv4Address // .destinationIPv6Address) \(.destinationTransportPort)"] as $mode
			| select($mode) | "\($mode) \(.flowDirection) \(tojson)"' >"$T/ends"
	fi
	sed -n "s/^$1 $2 //p" "$T/ends" | jq -r "$3" | sort | uniq -c | sed 's/^ *//'
}
