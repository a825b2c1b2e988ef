# shellcheck shell=bash disable=SC2016,SC2034
# SPDX-License-Identifier: Apache-2.0
# The faults of the network, in namespaces of their own: sender - router - intake.
#
#   10.97.0.2 ${N}a ---- .1 ${N}r 10.98.0.1 ---- 10.98.0.2 ${N}b
#
# The router translates addresses and follows connections, as middleboxes do.

# The intake's host.
net_peer() {
	ip netns add "${N}b"
	ip -n "${N}b" link add veth0 type veth peer name right netns "${N}r"
	ip -n "${N}b" addr add 10.98.0.2/24 dev veth0
	ip -n "${N}r" addr add 10.98.0.1/24 dev right
	ip -n "${N}b" link set lo up
	ip -n "${N}r" link set right up
	ip -n "${N}b" link set veth0 up
}

net_setup() {
	N=lab$BASHPID
	command -v nft >/dev/null || skip "needs nft"
	NETNS+=("${N}a" "${N}r" "${N}b")
	ip netns add "${N}a"
	ip netns add "${N}r"
	ip -n "${N}a" link add veth0 type veth peer name left netns "${N}r"
	ip -n "${N}a" addr add 10.97.0.2/24 dev veth0
	ip -n "${N}r" addr add 10.97.0.1/24 dev left
	for ns in a r; do
		ip -n "$N$ns" link set lo up
	done
	ip -n "${N}a" link set veth0 up
	ip -n "${N}r" link set left up
	net_peer
	ip -n "${N}a" route add default via 10.97.0.1
	in_router sysctl -qw net.ipv4.ip_forward=1
	in_router nft -f - <<-END
		table ip lab {
			chain post {
				type nat hook postrouting priority 100;
				oifname "right" masquerade
			}
			chain forward { type filter hook forward priority 0; }
		}
	END
	# The sender and the intake where they belong.
	mkdir "$T/peers"
	ln -s "$PEERS"/* "$T/peers/"
	rm "$T/peers/intake"
	ln -s "$(in_netns "${N}b" "$PEERS/intake")" "$T/peers/intake"
	PEERS=$T/peers
	CLEANER=$SEKOIA
	SEKOIA=$(in_netns "${N}a" "$SEKOIA")
	RSYSLOGD=$(in_netns "${N}a" "$(command -v rsyslogd || echo rsyslogd)")
	PEER_ARGS=(--bind 10.98.0.2)
	PEER_HOST=10.98.0.2
}

in_router() {
	ip netns exec "${N}r" "$@"
}

# net_case SECONDS BREAK MEND: the network breaks in mid-stream and is mended SECONDS later.
net_case() {
	local s=$1

	net_setup
	intake_start
	sender_start
	generate "$(of 6000 40000)" 1000
	wait_until '[ "$(arrived)" -gt 500 ]'
	say "$2"
	"$2"
	sleep "$s"
	"$3"
	generated
	drain "$(is_ours && echo 40 || echo 30)"
	NOTE="${NOTE:-for $s s}"
	settle_accounts
}

drop_all() { in_router nft add rule ip lab forward drop; }
pass_all() { in_router nft flush chain ip lab forward; }
case_net_cut() { net_case "$(of 3 30)" drop_all pass_all; }

link_down() { ip -n "${N}r" link set right down; }
link_up() { ip -n "${N}r" link set right up; }
case_net_down() { net_case "$(of 3 30)" link_down link_up; }

# Each packet of a connection that is there is answered with RST, to both ends; a new one may pass.
reset_all() {
	in_router nft add rule ip lab forward ct state established tcp flags '& (syn|rst) == 0' reject with tcp reset
}
case_net_reset() {
	local times i

	times=$(of 3 20)
	net_setup
	intake_start
	sender_start
	generate "$(of 6000 40000)" 1000
	wait_until '[ "$(arrived)" -gt 500 ]'
	for ((i = 0; i < times; i++)); do
		reset_all
		sleep 0.3
		pass_all
		random_ms 2000
	done
	generated
	drain
	NOTE="$times times"
	settle_accounts
}

# The peer's host loses its power: nothing is said; the next one does not know the connection.
peer_gone() {
	ip -n "${N}b" link set veth0 down
	intake_kill
	# Its sockets are gone with their way out; the namespace itself may live a little longer.
	ip -n "${N}b" link del veth0
	ip netns del "${N}b"
}
peer_back() {
	net_peer
	intake_start
}
case_net_half_open() { net_case "$(of 2 20)" peer_gone peer_back; }

# A firewall that is restarted: it drops what it does not know, and says nothing.
nat_forgets() {
	in_router sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0
	in_router nft add rule ip lab forward ct state invalid drop
	in_router conntrack -F 2>/dev/null
}
nothing() { :; }
case_net_nat() {
	command -v conntrack >/dev/null || skip "needs conntrack"
	NOTE="once"
	net_case 0 nat_forgets nothing
}
