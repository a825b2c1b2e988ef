# SPDX-License-Identifier: Apache-2.0
# Nothing to do: what is not done then, and how soon it is done when there is something.
# alone: it counts how often processes sleep, and measures times

# shellcheck disable=SC2016,SC2034

load ../lib/common

setup() {
	common_setup
	need_root
	# All sources, of which the rest of this host gives next to nothing.
	EVENTS=yes
	mkdir "$T/watched"
	DAEMON_ARGS=(--flows-networks 192.0.2.0/24 --kernel-log no --events-paths "$T/watched/")
	local class
	for class in exec exit signals ptrace bpf mounts namespaces credentials listen modules; do
		DAEMON_ARGS+=("--events-$class" no)
	done
}

teardown() {
	common_teardown
}

# How often a process has gone to sleep.
sleeps() {
	sed -n 's/^voluntary_ctxt_switches:[^0-9]*//p' "/proc/$1/status"
}

spool_bytes() {
	cat "$T"/spool/*.seg | wc -c
}

# A tick each second, and what is seldom.
@test "idle: the collector sleeps, the shipper too, and nothing is written" {
	local shipper try bytes collector_sleeps shipper_sleeps

	daemon_start stdout --journal-enable no
	shipper=$(shipper_pid)
	# Now and then something happens on any host.
	for try in 1 2 3 4; do
		sleep 3
		bytes=$(spool_bytes)
		collector_sleeps=$(sleeps "$DAEMON_PID")
		shipper_sleeps=$(sleeps "$shipper")
		sleep 6
		bytes=$(($(spool_bytes) - bytes))
		collector_sleeps=$(($(sleeps "$DAEMON_PID") - collector_sleeps))
		shipper_sleeps=$(($(sleeps "$shipper") - shipper_sleeps))
		echo "in 6 s: collector $collector_sleeps, shipper $shipper_sleeps, $bytes bytes"
		# A look each 100 ms would be 60, and as many batches that only say so.
		if [ "$collector_sleeps" -le 25 ] && [ "$shipper_sleeps" -le 6 ] && [ "$bytes" -le 1000 ]; then
			daemon_stop
			return
		fi
	done
	false
}

@test "idle: what comes then is on its way at once" {
	local i before after sum=0

	# It is a log daemon by the name of its file.
	cp "$PEERS/syslog_reader" "$T/rsyslogd"
	"$T/rsyslogd" "$T/dev-log" >/dev/null 2>&1 3>&- &
	KEEP_PIDS+=($!)
	wait_until '[ -S "$T/dev-log" ]'
	daemon_start stdout
	for i in 11 19 28 37 46 55 64 73 82 91; do
		sleep "1.$i"
		before=${EPOCHREALTIME/./}
		"$PEERS/syslog_sender" "$T/dev-log" "line$i-" 1 1 0 >/dev/null
		until grep -q "line$i-" "$T/stdout"; do
			[ "${EPOCHREALTIME/./}" -lt $((before + 10000000)) ]
			sleep 0.01
		done
		after=${EPOCHREALTIME/./}
		echo "$(((after - before) / 1000)) ms"
		sum=$((sum + (after - before) / 1000))
	done
	# If only the tick looked it would be half a second, and more on a busy host.
	[ $((sum / 10)) -le 350 ]
	daemon_stop
	assert_all_delivered
}

@test "idle: a flow ends as promised though no sweep is due in between" {
	netns_pair "sk${T##*.}"
	DAEMON_ARGS=(--flows-idle-timeout 4s --journal-enable no --kernel-log no --events-enable no)
	daemon_start stdout
	# Behind the first sweep; one datagram, nobody answers.
	sleep 2
	ip netns exec "${NETNS[0]}" bash -c 'echo hello >/dev/udp/10.99.0.2/7009'
	wait_until 'grep -q "\"destinationTransportPort\":7009," "$T/stdout"' 15
	jq -es 'any(.[]; .destinationTransportPort == 7009 and .flowEndReason == 1)' "$T/stdout"
	daemon_stop
	assert_all_delivered
}
