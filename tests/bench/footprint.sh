#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# footprint.sh [IDLE_SECONDS [RATE [LOAD_SECONDS]]] (60, 55000, 30): what the collector costs the host
# on which it runs: times from its start to ready and to the first event, resident memory and CPU of
# each of its processes with nothing to do, under so many events a second, and 20 s later; and the
# time that a stop takes. Of the dynamic binary and of the static one. A fifth of the load are log
# messages of two senders, the rest flows of one datagram, two for each, one at each end; all goes over
# HTTPS to the local intake. What is told of the load is what the intake has acknowledged, from
# its tenth second on: before that no flow has ended. Memory is looked at each 100 ms; a peak is the kernel's
# (VmHWM), and the sum of peaks at least the peak of the sum. Exit status 1: a promise is not
# kept. What else happens on the host is in the numbers: how many events came while it was idle is told,
# and of a host that was not, that promise is not asked for. So the idle CPU is told twice: of all the
# time, and of those seconds in which nothing was sent. QUIET=yes leaves all sources on while it is idle,
# but lets the kernel filter what a busy host has of execs, flows and the like.
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
O=${O:-$top/build}
peers=$O/tests/peers
idle_s=${1:-60} rate=${2:-55000} load_s=${3:-30}
warm_s=10
idle_rate=50 # events a second: with more than that there is something to do
idle_kib=$((24 * 1024)) load_kib=$((48 * 1024)) # of collector and shipper
[[ $(id -u) == 0 ]] || {
	echo "footprint.sh: needs root" >&2
	exit 1
}
T=$(mktemp -d /tmp/sekoia-footprint.XXXXXX)
chmod 755 "$T"
bpf=/sys/fs/bpf/sekoia-test-footprint-$$
pids=()
# By the trap.
# shellcheck disable=SC2317
finish() {
	kill -KILL "${pids[@]}" 2>/dev/null || true
	wait "${pids[@]}" 2>/dev/null || true
	[[ ! -d $bpf ]] || "$O/sekoia-ebpf" --config /dev/null --collector-bpf-dir "$bpf" cleanup >/dev/null || true
	rm -rf "$T"
}
trap finish EXIT
trap 'exit 1' INT TERM

key=0123456789abcdefABCDEF0123456789
(umask 077 && echo $key >"$T/key")
"$top/tests/lib/certs.sh" "$T/certs" >/dev/null 2>&1
"$peers/intake" --https 0 --ports-file "$T/ports" --cert "$T/certs/server.pem" \
	--tls-key "$T/certs/server.key" --key $key >"$T/peer.log" 2>&1 &
intake=$!
pids+=("$intake")
until [[ -s $T/ports ]]; do sleep 0.05; done
port=$(sed -n 's/.*https=\([0-9]*\).*/\1/p' "$T/ports")
# It is a log daemon by the name of its file.
cp "$peers/syslog_reader" "$T/rsyslogd"
"$T/rsyslogd" "$T/dev-log" &
reader=$!
pids+=("$reader")
mkfifo "$T/fifo"

now_ms() { echo $(($(date +%s%N) / 1000000)); }

# cpu_ns PID...: of these, all their threads, into "ns": a process that is started for this would be an event.
cpu_ns() {
	local pid task one
	ns=0
	for pid; do
		for task in "/proc/$pid/task/"*/schedstat; do
			read -r one _ 2>/dev/null <"$task" || continue
			ns=$((ns + one))
		done
	done
}

percent() { # NANOSECONDS SECONDS
	awk -v ns="$1" -v s="$2" 'BEGIN { if (s) printf "%.3f %%", ns / s / 1e7; else print "-" }'
}

# idle: for $idle_s seconds, looks once a second.
idle() {
	local name i ns cursor then='' quiet=0 is_quiet=no was_quiet all=0 all_quiet=0
	local -A first last of_quiet
	for ((i = 0; i <= idle_s; i++)); do
		((i == 0)) || read -rt 1 <>"$T/fifo" || true
		# Its numbers change with each event that is sent.
		mapfile -d '' cursor <"$T/spool/cursors/https"
		was_quiet=$is_quiet
		[[ ${cursor[*]} == "$then" ]] && is_quiet=yes || is_quiet=no
		then=${cursor[*]}
		[[ $is_quiet$was_quiet != yesyes ]] || quiet=$((quiet + 1))
		for name in "${names[@]}"; do
			cpu_ns "${pids_of[$name]}"
			: "${first[$name]:=$ns}" "${of_quiet[$name]:=0}"
			[[ $is_quiet$was_quiet != yesyes ]] || of_quiet[$name]=$((of_quiet[$name] + ns - last[$name]))
			last[$name]=$ns
		done
	done
	for name in "${names[@]}"; do
		ns=$((last[$name] - first[$name]))
		tell "idle: CPU of $name" "$(percent $ns "$idle_s"), without events $(percent "${of_quiet[$name]}" $quiet)"
		all=$((all + ns)) all_quiet=$((all_quiet + of_quiet[$name]))
	done
	tell "idle: CPU of all, $idle_s s and $quiet s" "$(percent $all "$idle_s"), without events $(percent $all_quiet $quiet)"
}

# look KEY: VmRSS or VmHWM of each process, in KiB, into "now"; no process is started for it.
look() {
	local name key value
	for name in "${names[@]}"; do
		while read -r key value _; do
			[[ $key != "$1:" ]] || now[$name]=$value
		done <"/proc/${pids_of[$name]}/status"
	done
}

# keep COLUMN: what was looked at is told in this column.
keep() {
	local name
	for name in "${names[@]}"; do
		kib[$name $1]=${now[$name]}
	done
}

# row NAME...: the sum of these processes.
row() {
	local column name sum
	for column in start idle load peak after; do
		sum=0
		for name; do sum=$((sum + ${kib[$name $column]})); done
		printf ' %10s' "$sum"
	done
	echo
}

# tell_memory BINARY: the table, and whether the promise is kept.
tell_memory() {
	local name column most events both=(sekoia-ebpf sekoia-shipper)
	printf '  %-24s %10s %10s %10s %10s %10s\n' "memory in KiB" "start,peak" idle "load,mean" "load,peak" "20 s later"
	for name in "${names[@]}"; do
		printf '  %-24s' "$name"
		row "$name"
	done
	printf '  %-24s' "collector and shipper"
	row "${both[@]}"
	printf '  %-24s %10s %10s %10s %10s %10s\n' "what is promised" "" $idle_kib $load_kib $load_kib $idle_kib
	printf '  %-24s' "all processes"
	row "${names[@]}"
	for name in "idle $idle_kib $idle_events" "peak $load_kib 0" "after $idle_kib $after_events"; do
		read -r column most events <<<"$name"
		if ((events > idle_rate)); then
			tell "$column: this host was not idle" "$events events a second"
			continue
		fi
		if ((${kib[sekoia-ebpf $column]} + ${kib[sekoia-shipper $column]} > most)); then
			tell "NOT KEPT" "$column: more than $most KiB"
			failed=1
		fi
	done
}

acked() { "$peers/cursor" "$T/spool" https acked; }

appended() { # in all
	{ "$sekoia" --config /dev/null --monitor-socket "$T/monitor" status --json 2>/dev/null || true; } |
		jq '[.. | .appended? // empty] | first // 0'
}

tell() { printf '  %-44s %s\n' "$1" "$2"; }

others_ns() { # SENDER..., into "ns"
	local children
	mapfile -t children < <(pgrep -P "$1")
	cpu_ns "$@" "${children[@]}" "$reader" "$intake"
}

# load: for $load_s seconds; what it is told by is what the intake has acknowledged.
load() {
	local senders=() name samples=0 from_ns to_ns from to others ns
	local -A before after sum

	for name in "${names[@]}"; do
		echo 5 >"/proc/${pids_of[$name]}/clear_refs" # VmHWM begins again
		sum[$name]=0
	done
	"$peers/packetgen" flood --net 77 --networks 255 --packets $((rate * load_s * 2 / 5)) \
		--rate $((rate * 2 / 5)) >/dev/null 2>&1 &
	senders+=($!)
	for name in a b; do
		"$peers/syslog_sender" "$T/dev-log" "$name" 1 $((rate * load_s / 10)) $((rate / 10)) >/dev/null &
		senders+=($!)
	done
	pids+=("${senders[@]}")
	sleep $warm_s
	for name in "${names[@]}"; do
		cpu_ns "${pids_of[$name]}"
		before[$name]=$ns
	done
	others_ns "${senders[@]}"
	others=$ns
	from=$(acked) from_ns=$(date +%s%N)
	while (($(date +%s%N) - from_ns < (load_s - warm_s - 1) * 1000000000)); do
		look VmRSS
		for name in "${names[@]}"; do sum[$name]=$((${sum[$name]} + ${now[$name]})); done
		samples=$((samples + 1))
		sleep 0.1
	done
	to=$(acked) to_ns=$(date +%s%N)
	others_ns "${senders[@]}"
	others=$((ns - others))
	for name in "${names[@]}"; do
		cpu_ns "${pids_of[$name]}"
		after[$name]=$ns
	done
	wait "${senders[@]}" || true
	for name in "${names[@]}"; do now[$name]=$((${sum[$name]} / samples)); done
	keep load
	tell "load: events acknowledged a second" "$(((to - from) * 1000000000 / (to_ns - from_ns)))"
	for name in "${names[@]}"; do
		tell "load: CPU of $name" "$(awk -v ns=$((${after[$name]} - ${before[$name]})) \
			-v all=$((to_ns - from_ns)) 'BEGIN { printf "%.1f %%", ns / all * 100 }')"
	done
	tell "load: CPU of senders, log daemon, intake" "$(awk -v ns=$others \
		-v all=$((to_ns - from_ns)) 'BEGIN { printf "%.1f %%", ns / all * 100 }')"
	sleep 4
	look VmHWM
	keep peak
}

# begin [OPTION...]: starts it, and waits until its first event was acknowledged.
begin() {
	local began name child

	began=$(now_ms)
	rm -rf "$T/spool" "$T/out"
	"$sekoia" --config /dev/null --intake-key-file "$T/key" --spool-dir "$T/spool" --collector-bpf-dir "$bpf" \
		--output https --output-host localhost --output-port "$port" --tls-ca "$T/certs/ca.pem" \
		--output-requests-per-second 0 --monitor-socket "$T/monitor" "$@" >"$T/out" 2>"$T/log" &
	pid=$!
	pids+=("$pid")
	until grep -q ': ready' "$T/log"; do
		kill -0 $pid
		sleep 0.01
	done
	ready_ms=$(($(now_ms) - began))
	"$peers/syslog_sender" "$T/dev-log" first 1 1 0 >/dev/null
	until [[ -s $T/spool/cursors/https ]] && [[ $(acked) -ge 1 ]]; do sleep 0.01; done
	first_ms=$(($(now_ms) - began))
	sleep 5
	names=()
	for child in $pid $(pgrep -P $pid); do
		name=$(cat "/proc/$child/comm")
		pids_of[$name]=$child
		names+=("$name")
	done
}

end() {
	kill -INT "$pid"
	wait "$pid" || true
}

measure() { # BINARY
	local began pid events name ready_ms first_ms idle_events after_events quiet=()
	local -A pids_of now kib
	local names=()

	sekoia=$1
	if [[ ${QUIET:-no} == yes ]]; then
		quiet=(--flows-networks 192.0.2.0/24 --events-paths "$T/certs/")
		for name in exec exit signals ptrace bpf mounts namespaces credentials listen; do
			quiet+=("--events-$name" no)
		done
	fi
	begin "${quiet[@]}"
	tell "start to ready" "$ready_ms ms"
	tell "start to the first event acknowledged" "$first_ms ms"
	look VmHWM
	keep start
	events=$(appended)
	idle
	idle_events=$(($(appended) - events))
	tell "idle: events" $idle_events
	idle_events=$((idle_events / idle_s))
	look VmRSS
	keep idle
	end
	# Flows that end soon, and room for as many as there are then.
	begin --heartbeat-interval 0 --kernel-log no --spool-max-bytes 1G \
		--flows-loopback yes --flows-idle-timeout 1s --flows-max 262144 --ring-flows 32M
	load
	events=$(appended)
	sleep 16
	after_events=$((($(appended) - events) / 16))
	look VmRSS
	keep after
	tell_memory
	began=$(now_ms)
	end
	tell "stop" "$(($(now_ms) - began)) ms"
	grep -E '^books: (kernel.flows|kernel.journal|spool|output.https) ' "$T/log" | sed 's/^/  /'
}

failed=0
grep -m1 'model name' /proc/cpuinfo | sed 's/.*: /CPU: /'
for binary in "$O/sekoia-ebpf" "$top/build/static/sekoia-ebpf"; do
	[[ -x $binary ]] || continue
	printf '%s (kernel %s, %s CPUs, load %s)\n' "${binary#"$top"/}" "$(uname -r)" "$(nproc)" \
		"$(cut -d' ' -f1 /proc/loadavg)"
	measure "$binary"
done
exit $failed
