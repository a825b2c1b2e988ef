# SPDX-License-Identifier: Apache-2.0
# A spool at its limit: the oldest events go, counted exactly; the newest are
# whole and arrive when the intake is back.

load ../lib/common
load ../lib/faults

setup() {
	faults_setup
	DAEMON_ARGS+=(--spool-max-bytes 1M --spool-segment-bytes 64k)
}

teardown() {
	common_teardown
}

# The numbers of the events at the intake, ascending, each once.
numbers() {
	sed -n 's/.*"event":{"id":"[0-9a-f]*-\([0-9]*\)".*/\1/p' "$T/received" | sort -n -u
}

spool_bytes() {
	find "$T/spool" -name '*.seg' -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }'
}

# assert_newest N: what arrived is the newest N, without a gap.
assert_newest() {
	local appended

	appended=$(books spool appended)
	echo "$1 of $appended arrived: $(numbers | sed -n '1p;$p' | tr '\n' ' ')"
	[ "$(numbers | wc -l)" -eq "$1" ]
	[ "$(numbers | tail -n 1)" -eq "$appended" ]
	[ "$(numbers | head -n 1)" -eq $((appended - $1 + 1)) ]
}

# limit TRANSPORT
limit() {
	local transport=$1 acked dropped

	peer_start "$transport"
	peer_stop KILL
	daemon_start "$transport"
	emit 1000
	wait_until '[ "$(log_count "at its limit .*: dropped before the intake has taken them: [0-9]+ flows since")" -eq 1 ]'
	# Never above the limit, whenever one looks.
	[ "$(spool_bytes)" -le 1048576 ]
	emit 100
	[ "$(spool_bytes)" -le 1048576 ]
	peer_start "$transport"
	wait_until '[ "$("$PEERS/cursor" "$T/spool" '"$transport"' acked)" -gt 0 ]'
	emit 10
	daemon_stop
	peer_stop
	assert_accounts_balance
	acked=$(books "output.$transport" acknowledged)
	dropped=$(books "output.$transport" dropped)
	[ "$dropped" -gt 0 ]
	[ "$(books "output.$transport" damaged)" -eq 0 ]
	[ "$(books "output.$transport" waiting)" -eq 0 ]
	[ $((acked + dropped)) -eq "$(books spool appended)" ]
	assert_newest "$acked"
	[ "$(books kernel.flows ring_full)" -eq 0 ]
}

@test "https: the limit is reached while the intake is away" { limit https; }
@test "relp: the limit is reached while the intake is away" { limit relp; }
@test "syslog: the limit is reached while the intake is away" { limit syslog; }

@test "nothing that was acknowledged is counted as dropped" {
	peer_start https
	daemon_start https --spool-max-bytes 4M
	# Three times what fits; the intake keeps up.
	emit 1500 500
	wait_for_flows
	daemon_stop
	peer_stop
	assert_all_delivered
	[ "$(books output.https dropped)" -eq 0 ]
	assert_flows_arrived
}

@test "the limit is reached, then stopped: what is left is whole after the restart" {
	local before
	peer_start https
	peer_stop KILL
	daemon_start https --collector-stop-timeout 0s
	emit 1000
	wait_until '[ "$(log_count "at its limit")" -eq 1 ]'
	daemon_stop || true
	assert_accounts_balance
	[ "$(books output.https dropped)" -gt 0 ]
	[ "$(books output.https waiting)" -le 1000 ]
	before=$(books spool appended)
	[ "$(books output.https waiting)" -gt 100 ]
	peer_start https
	daemon_start https
	wait_until '[ "$("$PEERS/cursor" "$T/spool" https acked)" -gt 0 ]'
	daemon_stop
	peer_stop
	assert_accounts_balance
	[ "$(books spool appended)" -ge "$before" ]
	[ "$(books output.https waiting)" -eq 0 ]
	[ "$(books output.https damaged)" -eq 0 ]
	assert_newest "$(books output.https acknowledged)"
}

@test "the limit is lowered between two runs" {
	peer_start https
	peer_stop KILL
	daemon_start https --spool-max-bytes 64M --collector-stop-timeout 0s
	emit 1000
	wait_until '[ "$(spool_bytes)" -gt 3000000 ]'
	daemon_stop || true
	[ "$(books output.https dropped)" -eq 0 ]
	daemon_start https
	emit 10
	wait_until '[ "$(spool_bytes)" -le 1048576 ]'
	peer_start https
	wait_until '[ "$("$PEERS/cursor" "$T/spool" https acked)" -gt 0 ]'
	daemon_stop
	peer_stop
	assert_accounts_balance
	[ "$(books output.https dropped)" -gt 0 ]
	assert_newest "$(books output.https acknowledged)"
}
