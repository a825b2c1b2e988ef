#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Spool, framing and TLS to the local intake, 300-byte messages, beside
# rsyslog's omfwd and omrelp, in the same minute on the same machine. Prints
# messages/s, CPU seconds per million messages, and the ratios.
#   tests/bench/ship.sh [MESSAGES [ROUNDS]]
set -euo pipefail

n=${1:-1000000}
rounds=${2:-3}
top=$(cd "$(dirname "$0")/../.." && pwd)
O=${O:-$top/build}
dir=$(mktemp -d /tmp/sekoia-bench.XXXXXX)
key=0123456789abcdef0123456789abcdef
intake=
rsyslog=
finish() {
	for pid in $intake $rsyslog; do kill -KILL "$pid" 2>/dev/null || true; done
	rm -rf "$dir"
}
trap finish EXIT
chmod 755 "$dir"
"$top/tests/lib/certs.sh" "$dir/certs" >/dev/null 2>&1
(umask 077 && echo "$key" >"$dir/key")

start_intake() {
	rm -f "$dir/ports" "$dir/summary"
	"$O/tests/peers/intake" "--$1" 0 --ports-file "$dir/ports" --cert "$dir/certs/server.pem" \
		--tls-key "$dir/certs/server.key" --key "$key" --summary "$dir/summary" >/dev/null 2>&1 &
	intake=$!
	until [ -s "$dir/ports" ]; do sleep 0.05; done
	port=$(sed -n "s/.*$1=\([0-9]*\).*/\1/p" "$dir/ports")
}

stop_intake() {
	kill "$intake"
	wait "$intake" 2>/dev/null || true
	intake=
}

received() {
	rm -f "$dir/summary"
	kill -USR1 "$intake"
	until [ -s "$dir/summary" ]; do sleep 0.02; done
	jq .received "$dir/summary"
}

cpu_ticks() {
	awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"
}

ours() { # TRANSPORT [OPTION...]
	start_intake "$1"
	rm -rf "$dir/spool"
	"$O/tests/bench/bench_ship" "$1" "$port" "$dir/certs/ca.pem" "$dir/key" "$dir/spool" "$n" "${@:2}" |
		jq -r '"\(.rate) \(.cpu_per_million)"'
	stop_intake
}

# One line in, one message out: the header is made by rsyslog's template.
make_lines() {
	local text
	text=$(head -c 176 /dev/zero | tr '\0' x)
	yes "<86>Nov 23 10:00:00 bench sshd[1234]: $text" | head -n "$n" >"$dir/lines" || true
}

rsyslogd_run() { # ACTION QUEUE
	local transport=syslog action start end ticks got
	[ "$1" = omrelp ] && transport=relp
	start_intake $transport
	rm -rf "$dir/work"
	mkdir "$dir/work"
	if [ "$1" = omrelp ]; then
		action='action(type="omrelp" target="localhost" port="'$port'" tls="on" tls.authmode="name"
			tls.cacert="'$dir'/certs/ca.pem" tls.permittedpeer=["localhost"] template="t" '
	else
		action='action(type="omfwd" protocol="tcp" target="localhost" port="'$port'"
			tcp_framing="octet-counted" streamdriver="ossl" streamdrivermode="1"
			streamdriverauthmode="x509/name" streamdriverpermittedpeers="localhost" template="t" '
	fi
	case $2 in
	memory) action+='queue.type="LinkedList" queue.size="'$((n + 1000))'"' ;;
	disk) action+='queue.type="Disk" queue.filename="q" queue.maxdiskspace="8g"' ;;
	esac
	cat >"$dir/rsyslog.conf" <<-EOF
		global(workDirectory="$dir/work" defaultNetstreamDriverCAFile="$dir/certs/ca.pem"
		       maxMessageSize="64k" net.enableDNS="off")
		module(load="imptcp")
		$([ "$1" = omrelp ] && echo 'module(load="omrelp" tls.tlslib="openssl")')
		input(type="imptcp" path="$dir/in.sock" ruleset="r")
		template(name="t" type="string" string="<%pri%>1 %timestamp:::date-rfc3339% %hostname% %app-name% %procid% LOG [SEKOIA@53288 intake_key=\"$key\"] %msg%\n")
		ruleset(name="r") { $action action.resumeretrycount="-1") }
	EOF
	rm -f "$dir/in.sock"
	rsyslogd -n -f "$dir/rsyslog.conf" -i "$dir/rsyslog.pid" >"$dir/rsyslog.log" 2>&1 &
	rsyslog=$!
	until [ -S "$dir/in.sock" ]; do sleep 0.05; done
	ticks=$(cpu_ticks "$rsyslog")
	start=$(date +%s%N)
	nc -N -U "$dir/in.sock" <"$dir/lines"
	got=0
	for _ in $(seq 1200); do
		got=$(received)
		[ "$got" -ge "$n" ] && break
		sleep 0.1
	done
	end=$(date +%s%N)
	ticks=$(($(cpu_ticks "$rsyslog") - ticks))
	kill "$rsyslog"
	wait "$rsyslog" 2>/dev/null || true
	rsyslog=
	stop_intake
	awk -v n="$n" -v got="$got" -v ns=$((end - start)) -v t="$ticks" -v hz="$(getconf CLK_TCK)" \
		'BEGIN { printf "%.0f %.3f\n", got / ns * 1e9, t / hz * 1e6 / (got ? got : 1) }'
}

# The median of each column over the rounds.
median() {
	sort -n | awk '{ a[NR] = $0 } END { print a[int((NR + 1) / 2)] }'
}

measure() { # NAME COMMAND...
	local name=$1 i
	shift
	: >"$dir/m"
	for ((i = 0; i < rounds; i++)); do "$@" >>"$dir/m"; done
	rate[$name]=$(cut -d' ' -f1 "$dir/m" | median)
	cpu[$name]=$(cut -d' ' -f2 "$dir/m" | median)
	printf '%-28s %12s msg/s %8s CPU s per million\n' "$name" "${rate[$name]}" "${cpu[$name]}"
}

declare -A rate cpu
make_lines
echo "$n messages of about 300 bytes over TLS to the local intake, median of $rounds:"
measure "sekoia-ebpf syslog" ours syslog
measure "rsyslog omfwd, memory" rsyslogd_run omfwd memory
measure "rsyslog omfwd, disk" rsyslogd_run omfwd disk
measure "sekoia-ebpf relp" ours relp
measure "rsyslog omrelp, memory" rsyslogd_run omrelp memory
measure "rsyslog omrelp, disk" rsyslogd_run omrelp disk
measure "sekoia-ebpf https gzip" ours https
measure "sekoia-ebpf https" ours https --output-gzip no

compare() { # OURS THEIRS
	awk -v a="$1" -v b="$2" -v ra="${rate[$1]}" -v rb="${rate[$2]}" -v ca="${cpu[$1]}" -v cb="${cpu[$2]}" \
		'BEGIN { printf "%-24s / %-24s rate x %.1f, CPU x %.2f\n", a, b, ra / rb, ca / cb }'
}
echo
echo "Ours on disk always; theirs in memory, then on disk:"
for queue in memory disk; do
	compare "sekoia-ebpf syslog" "rsyslog omfwd, $queue"
	compare "sekoia-ebpf relp" "rsyslog omrelp, $queue"
	compare "sekoia-ebpf https gzip" "rsyslog omrelp, $queue"
	compare "sekoia-ebpf https gzip" "rsyslog omfwd, $queue"
done
