#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# footprint.sh [IDLE_SECONDS [RATE [LOAD_SECONDS]]] (60, 50000, 15): what the collector costs the host
# on which it runs: times from its start to ready and to the first event, resident memory and CPU of
# its processes with nothing to do, the same under so many log messages a second, which go over
# HTTPS to the local intake, and the time that a stop takes. Of the dynamic binary and of the static
# one. Numbers only: it asserts nothing. What else happens on the host is in them: how many events
# came while it was idle is told, and the load. So the idle CPU is told twice: of all the time, and of
# those seconds in which nothing was sent. QUIET=yes leaves all sources on, but lets the kernel
# filter what a busy host has of execs, flows and the like.
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
O=${O:-$top/build}
peers=$O/tests/peers
idle_s=${1:-60} rate=${2:-50000} load_s=${3:-15}
[[ $(id -u) == 0 ]] || {
	echo "footprint.sh: needs root" >&2
	exit 1
}
T=$(mktemp -d /tmp/sekoia-footprint.XXXXXX)
chmod 755 "$T"
bpf=/sys/fs/bpf/sekoia-test-footprint-$$
pids=()
finish() {
	kill -KILL "${pids[@]}" 2>/dev/null || true
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
pids+=($!)
until [[ -s $T/ports ]]; do sleep 0.05; done
port=$(sed -n 's/.*https=\([0-9]*\).*/\1/p' "$T/ports")
# It is a log daemon by the name of its file.
cp "$peers/syslog_reader" "$T/rsyslogd"
"$T/rsyslogd" "$T/dev-log" &
pids+=($!)

mkfifo "$T/fifo"

now_ms() { echo $(($(date +%s%N) / 1000000)); }

rss_of() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB$/\1/p' "/proc/$1/status"; }

cpu_ns() { # of all, into $ns: a process that is started for this would be an event
	local pid one
	ns=0
	for pid; do
		read -r one _ <"/proc/$pid/schedstat"
		ns=$((ns + one))
	done
}

percent() { # NANOSECONDS SECONDS
	awk -v ns="$1" -v s="$2" 'BEGIN { if (s) printf "%.3f %%", ns / s / 1e7; else print "-" }'
}

# idle PID...: looks once a second.
idle() {
	local pid i ns cursor then='' quiet=0 is_quiet=no was_quiet all=0 all_quiet=0
	local -A first last of_quiet
	for ((i = 0; i <= idle_s; i++)); do
		((i == 0)) || read -rt 1 <>"$T/fifo" || true
		# Its numbers change with each event that is sent.
		mapfile -d '' cursor <"$T/spool/cursors/https"
		was_quiet=$is_quiet
		[[ ${cursor[*]} == "$then" ]] && is_quiet=yes || is_quiet=no
		then=${cursor[*]}
		[[ $is_quiet$was_quiet != yesyes ]] || quiet=$((quiet + 1))
		for pid; do
			cpu_ns "$pid"
			: "${first[$pid]:=$ns}" "${of_quiet[$pid]:=0}"
			[[ $is_quiet$was_quiet != yesyes ]] || of_quiet[$pid]=$((of_quiet[$pid] + ns - last[$pid]))
			last[$pid]=$ns
		done
	done
	for pid; do
		ns=$((last[$pid] - first[$pid]))
		tell "idle: CPU of $(cat "/proc/$pid/comm")" "$(percent $ns "$idle_s"), without events $(percent "${of_quiet[$pid]}" $quiet)"
		all=$((all + ns)) all_quiet=$((all_quiet + of_quiet[$pid]))
	done
	tell "idle: CPU of all, $idle_s s and $quiet s" "$(percent $all "$idle_s"), without events $(percent $all_quiet $quiet)"
}

sum_rss() {
	local pid n=0
	for pid; do n=$((n + $(rss_of "$pid"))); done
	echo $n
}

appended() { # in all
	"$sekoia" --config /dev/null --monitor-socket "$T/monitor" status --json 2>/dev/null |
		jq '[.. | .appended? // empty] | first // 0'
}

tell() { printf '  %-44s %s\n' "$1" "$2"; }

measure() { # BINARY
	local began pid all before events ns most=0 now sender stop quiet=()
	sekoia=$1
	rm -rf "$T/spool" "$T/out"
	if [[ ${QUIET:-no} == yes ]]; then
		quiet=(--flows-networks 192.0.2.0/24 --events-paths "$T/certs/")
		for now in exec exit signals ptrace bpf mounts namespaces credentials listen; do
			quiet+=("--events-$now" no)
		done
	fi
	began=$(now_ms)
	"$sekoia" --config /dev/null --intake-key-file "$T/key" --spool-dir "$T/spool" --collector-bpf-dir "$bpf" \
		--output https --output-host localhost --output-port "$port" --tls-ca "$T/certs/ca.pem" \
		--output-requests-per-second 0 --monitor-socket "$T/monitor" "${quiet[@]}" >"$T/out" 2>"$T/log" &
	pid=$!
	pids+=("$pid")
	until grep -q ': ready' "$T/log"; do
		kill -0 $pid
		sleep 0.01
	done
	tell "start to ready" "$(($(now_ms) - began)) ms"
	"$peers/syslog_sender" "$T/dev-log" first 1 1 0 >/dev/null
	until [[ -s $T/spool/cursors/https ]] && [[ $("$peers/cursor" "$T/spool" https acked) -ge 1 ]]; do sleep 0.01; done
	tell "start to the first event acknowledged" "$(($(now_ms) - began)) ms"
	sleep 5
	mapfile -t all < <(echo $pid; pgrep -P $pid)
	for now in "${all[@]}"; do
		tell "idle: memory of $(cat "/proc/$now/comm")" "$(rss_of "$now") KiB"
	done
	tell "idle: memory of all" "$(sum_rss "${all[@]}") KiB"
	events=$(appended)
	idle "${all[@]}"
	tell "idle: events" "$(($(appended) - events))"
	events=$(appended)
	cpu_ns "${all[@]}"
	before=$ns
	began=$(now_ms)
	"$peers/syslog_sender" "$T/dev-log" load 1 $((rate * load_s)) "$rate" >/dev/null &
	sender=$!
	while kill -0 $sender 2>/dev/null; do
		now=$(sum_rss "${all[@]}")
		((now <= most)) || most=$now
		sleep 0.2
	done
	wait $sender
	stop=$(now_ms)
	cpu_ns "${all[@]}"
	ns=$((ns - before))
	sleep 2
	tell "load: events a second, of $rate" "$((($(appended) - events) * 1000 / (stop - began)))"
	tell "load: memory of all, at the most" "$most KiB"
	tell "load: CPU" "$(awk -v ns=$ns -v ms=$((stop - began)) 'BEGIN { printf "%.0f %%", ns / ms / 1e4 }')"
	began=$(now_ms)
	kill -INT $pid
	wait $pid || true
	tell "stop" "$(($(now_ms) - began)) ms"
	grep -E '^books: (kernel.journal|spool|output.https) ' "$T/log" | sed 's/^/  /'
}

grep -m1 'model name' /proc/cpuinfo | sed 's/.*: /CPU: /'
for binary in "$O/sekoia-ebpf" "$top/build/static/sekoia-ebpf"; do
	[[ -x $binary ]] || continue
	printf '%s (kernel %s, %s CPUs, load %s)\n' "${binary#"$top"/}" "$(uname -r)" "$(nproc)" \
		"$(cut -d' ' -f1 /proc/loadavg)"
	measure "$binary"
done
