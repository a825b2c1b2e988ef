#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# https to a local intake that takes its time to answer: messages/s of 300 bytes, and
# the shipper's memory, by how many requests may be in flight.
#   tests/bench/answers.sh [MESSAGES [DELAY_MS...]]
set -euo pipefail

n=${1:-200000}
[ $# -gt 1 ] && delays=("${@:2}") || delays=(0 20 200 2000)
top=$(cd "$(dirname "$0")/../.." && pwd)
O=${O:-$top/build}
dir=$(mktemp -d /tmp/sekoia-bench.XXXXXX)
key=0123456789abcdef0123456789abcdef
intake=
finish() {
	[ -z "$intake" ] || kill -KILL "$intake" 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT
chmod 755 "$dir"
"$top/tests/lib/certs.sh" "$dir/certs" >/dev/null 2>&1
(umask 077 && echo "$key" >"$dir/key")

# one DELAY_MS REQUESTS: "RATE (MEMORY MiB)"
one() {
	rm -rf "$dir/ports" "$dir/spool"
	"$O/tests/peers/intake" --https 0 --ack-delay-ms "$1" --ports-file "$dir/ports" \
		--cert "$dir/certs/server.pem" --tls-key "$dir/certs/server.key" --key "$key" >/dev/null 2>&1 &
	intake=$!
	until [ -s "$dir/ports" ]; do sleep 0.05; done
	"$O/tests/bench/bench_ship" https "$(sed -n 's/.*https=\([0-9]*\).*/\1/p' "$dir/ports")" \
		"$dir/certs/ca.pem" "$dir/key" "$dir/spool" "$n" --output-requests-in-flight "$2" |
		jq -r '"\(.rate) (\(.rss_mib) MiB)"'
	kill "$intake"
	wait "$intake" 2>/dev/null || true
	intake=
}

printf '%12s' 'answer after'
for lanes in 1 2 4 8; do printf '%24s' "$lanes in flight"; done
echo
for delay in "${delays[@]}"; do
	printf '%9s ms' "$delay"
	for lanes in 1 2 4 8; do printf '%24s' "$(one "$delay" "$lanes")"; done
	echo
done
