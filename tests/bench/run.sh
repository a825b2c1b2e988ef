#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All measurements, or the named ones: ship, capture, frames, spool, records.
# Ratios to a peer or to the bare host, run in the same minute.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
O=${O:-$top/build}

wanted() {
	[ $# -gt 0 ] || return 1
	[ -z "${names:-}" ] || [[ " $names " == *" $1 "* ]]
}
names="$*"
grep -m1 'model name' /proc/cpuinfo | sed 's/.*: /CPU: /'
printf 'Kernel: %s, %s CPUs, load %s\n\n' "$(uname -r)" "$(nproc)" "$(cut -d' ' -f1 /proc/loadavg)"
if wanted ship; then
	"$top/tests/bench/ship.sh" "${BENCH_MESSAGES:-1000000}" "${BENCH_ROUNDS:-3}"
	echo
fi
if wanted capture; then
	if [ "$(id -u)" = 0 ]; then
		echo "What capture costs this host, both ends here: ratios, median of ${BENCH_ROUNDS:-7} rounds:"
		"$top/tests/bench/capture.sh" "${BENCH_LOADS:-all}" "${BENCH_ROUNDS:-7}" 700
	else
		echo "capture: needs root"
	fi
	echo
fi
for b in spool frames records; do
	if wanted "$b" && [ -x "$O/tests/bench/bench_$b" ]; then
		"$O/tests/bench/bench_$b"
		echo
	fi
done
