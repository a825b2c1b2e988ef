# SPDX-License-Identifier: Apache-2.0
# UDP_FLOWS (10,000) flows with UDP_DATAGRAMS (10,000,000) datagrams in all, each answered
# or not, one at a time so that no buffer of the generator's drops any: no flow is
# missing, and packets and bytes are exact at both ends.

load ../lib/common

setup() {
	need_root
	common_setup
}

teardown() {
	common_teardown
}

@test "ten million datagrams in ten thousand flows" {
	local flows=${UDP_FLOWS:-10000} datagrams=${UDP_DATAGRAMS:-10000000} from=$SECONDS each sent

	# The client sends 1 to N for each flow, the server answers 0 to as many: 0.75 N together.
	each=$((datagrams * 4 / flows / 3 + 2))
	peer_start https
	daemon_start https --flows-loopback yes --journal-enable no --kernel-log no --flows-idle-timeout 10m
	"$PEERS/udpgen" --flows "$flows" --max-packets $each --max-bytes 1400 --timeout 3000 --truth "$T/truth" >"$T/said"
	daemon_stop
	peer_stop
	assert_all_delivered
	sent=$(jq '.sent_datagrams + .received_datagrams' "$T/said")
	echo "# $sent datagrams, of which each is sent and received, in $flows flows, $((SECONDS - from)) s" >&3
	[ "$(books kernel.flows no_room)" -eq 0 ]
	[ "$(books kernel.flows ring_full)" -eq 0 ]
	"$PEERS/flowcheck" --sides 2 "$T/truth" "$T/received" >"$T/judged"
	echo "# $(cat "$T/judged")" >&3
}
