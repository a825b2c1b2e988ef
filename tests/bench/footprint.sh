#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# footprint.sh [IDLE_SECONDS [RATE [LOAD_SECONDS]]] (60, 50000, 15): what the collector costs the host
# on which it runs: times from its start to ready and to the first event, resident memory and CPU of
# its processes with nothing to do, the same under so many log messages a second, which go over
# HTTPS to the local intake, and the time that a stop takes. Of the dynamic binary and of the static
# one. Numbers only: it asserts nothing. What else happens on the host is in them: how many events
# came while it was idle is told, and the load.
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

now_ms() { echo $(($(date +%s%N) / 1000000)); }

rss_of() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB$/\1/p' "/proc/$1/status"; }

cpu_ns() { # of all three
	local pid n=0
	for pid; do n=$((n + $(cut -d' ' -f1 "/proc/$pid/schedstat"))); done
	echo $n
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
	local began pid all before events ns most=0 now sender stop
	sekoia=$1
	rm -rf "$T/spool" "$T/out"
	began=$(now_ms)
	"$sekoia" --config /dev/null --intake-key-file "$T/key" --spool-dir "$T/spool" --collector-bpf-dir "$bpf" \
		--output https --output-host localhost --output-port "$port" --tls-ca "$T/certs/ca.pem" \
		--output-requests-per-second 0 --monitor-socket "$T/monitor" --heartbeat-interval 0 --kernel-log no \
		--spool-max-bytes 1G >"$T/out" 2>"$T/log" &
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
	before=$(cpu_ns "${all[@]}")
	sleep "$idle_s"
	ns=$(($(cpu_ns "${all[@]}") - before))
	tell "idle: CPU in $idle_s s, $(($(appended) - events)) events" \
		"$(awk -v ns=$ns -v s="$idle_s" 'BEGIN { printf "%.3f %%", ns / s / 1e7 }')"
	events=$(appended)
	before=$(cpu_ns "${all[@]}")
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
	ns=$(($(cpu_ns "${all[@]}") - before))
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
