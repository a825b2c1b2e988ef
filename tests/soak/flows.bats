# SPDX-License-Identifier: Apache-2.0
# FLOW_CONNECTIONS (20,000) TCP connections of every kind, over loopback and between
# namespaces, IPv4 and IPv6, a fifth of them with 2 % of the packets lost each way, and some
# that pause for longer than the active timeout. Says what was wrong: it ought to be nothing.
#
# shellcheck disable=SC2016,SC2034

load ../lib/common
load ../lib/flows

setup() {
	need_root
	common_setup
}

teardown() {
	common_teardown
}

@test "flows: every connection is seen once, with its bytes, its process and its end" {
	local n=${FLOW_CONNECTIONS:-20000} from=$SECONDS

	flows_world
	peer_start https
	daemon_start https --flows-loopback yes --flows-active-timeout 1s --journal-enable no --kernel-log no \
		--flows-networks "$FLOWS_NETWORKS"
	flows_make lo all $((n * 30 / 100)) --timeout 600
	flows_make veth all $((n * 30 / 100)) --timeout 600
	flows_make lo all $((n * 5 / 100)) --timeout 600 --pause-ms 2500 --parallel 1000
	flows_make lo prefork $((n * 5 / 100)) --timeout 600
	flows_make lo reuseport $((n * 5 / 100)) --timeout 600
	"$PEERS/tcpgen" --mode mptcp --connections 1 --truth "$T/try" >/dev/null 2>&1 &&
		flows_make lo mptcp $((n * 5 / 100)) --timeout 600
	flows_make veth timed-out 50
	flows_lose 2
	flows_make veth all $((n * 20 / 100)) --timeout 600 --parallel 256
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(books kernel.flows ring_full)" -eq 0 ]
	[ "$(books kernel.flows no_room)" -eq 0 ]
	flows_judge >"$T/totals" || { cat "$T/totals"; return 1; }
	echo "# in $((SECONDS - from)) s, missed $(books kernel.flows missed): $(tail -n 1 "$T/totals")" >&3
	# What is missing is in the books: flowcheck has looked at it.
	[ "$(tail -n 1 "$T/totals" | jq .connections)" -ge $((n * 99 / 100)) ]
}
