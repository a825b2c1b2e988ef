#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Shows the whole path on this machine: a throwaway CA, a local intake on
# loopback, the collector against it. Events scroll by until Ctrl-C, which
# prints the books. Usage: deploy/demo.sh [https|relp|syslog]
# DEMO_ARGS holds further options of the collector.
set -euo pipefail

output=${1:-https}
top=$(cd "$(dirname "$0")/.." && pwd)
build=${O:-$top/build}
read -ra more <<<"${DEMO_ARGS:-}"

case $output in
https | relp | syslog) ;;
*)
	echo "demo: OUTPUT=$output is not a transport; allowed: https, relp, syslog" >&2
	exit 2
	;;
esac
if [ "$(id -u)" != 0 ]; then
	echo "demo: loading BPF needs root: sudo make demo" >&2
	exit 1
fi

dir=$(mktemp -d /tmp/sekoia-ebpf-demo.XXXXXX)
chmod 755 "$dir"
intake=
finish() {
	trap - EXIT INT TERM
	if [ -n "$intake" ]; then
		kill "$intake" 2>/dev/null || true
		wait "$intake" 2>/dev/null || true
	fi
	rm -rf "$dir"
}
trap finish EXIT

"$top/tests/lib/certs.sh" "$dir/certs"
key=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
(umask 077 && printf '%s\n' "$key" >"$dir/key")

# The intake ignores Ctrl-C: it must still be there while the collector drains.
(
	trap '' INT
	exec "$build/tests/peers/intake" "--$output" 0 --ports-file "$dir/ports" \
		--cert "$dir/certs/server.pem" --tls-key "$dir/certs/server.key" \
		--key "$key" --print
) &
intake=$!
for _ in $(seq 50); do
	[ -s "$dir/ports" ] && break
	sleep 0.1
done
port=$(sed -n "s/.*$output=\([0-9]*\).*/\1/p" "$dir/ports")

echo "demo: sending by $output to a local intake on port $port; Ctrl-C ends it"
echo "demo: make something happen: curl, ssh, logger hello, dig"
trap : INT TERM
"$build/sekoia-ebpf" --config /dev/null --output "$output" \
	--output-host localhost --output-port "$port" --tls-ca "$dir/certs/ca.pem" \
	--intake-key-file "$dir/key" --spool-dir "$dir/spool" \
	--collector-bpf-dir /sys/fs/bpf/sekoia-ebpf-demo --flows-loopback yes \
	--flows-idle-timeout 3s "${more[@]}" || true
