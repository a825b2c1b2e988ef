#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# cpus.sh [N...]: what a collector costs on machines of N CPUs (1 and 64), under qemu: memory in KiB,
# with little to do and under load; CPU of all its processes within a minute of nothing; milliseconds
# from the start to ready and to the first event. Time is counted in instructions there: one each
# nanosecond (-icount), whatever the machine below does meanwhile; so CPU and times are those
# of a slow CPU of 1 GHz that does one instruction in each cycle, and the same in each run. The
# load is as many log messages as one such CPU can send, 50000 a second at the most: it is told how many.
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
vm=${VM_DIR:-$top/build/vm}
static=$top/build/static
[[ -x $static/sekoia-ebpf ]] || {
	echo "tests/vm/cpus.sh: no $static/sekoia-ebpf: make static" >&2
	exit 1
}
[[ $# -gt 0 ]] || set -- 1 64
mkdir -p "$vm"
vmlinuz=$("$top/tests/vm/fetch.sh" "${VM_KERNEL:-6.1}")
work=$(mktemp -d "$vm/cpus.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root/bin"
cp "$(command -v busybox)" "$work/root/bin/busybox"
cp "$top/tests/vm/init_cpus" "$work/root/init"
cp "$static/sekoia-ebpf" "$work/root/bin/"
for program in syslog_reader syslog_sender; do
	[[ -x $static/tests/peers/$program ]] || {
		echo "tests/vm/cpus.sh: no $static/tests/peers/$program: make $static/tests/peers/$program" >&2
		exit 1
	}
	strip -o "$work/root/bin/$program" "$static/tests/peers/$program"
done
(cd "$work/root" && find . | cpio -o -H newc --quiet) | gzip -1 >"$work/initrd.gz"
for n; do
	timeout -k 5 "${VM_SECONDS:-1200}" qemu-system-x86_64 -accel tcg,thread=single -icount shift=0,sleep=off \
		-rtc clock=vm -cpu max,cx16=off -smp "$n" -m 2048 \
		-nic none -nographic -no-reboot -kernel "$vmlinuz" -initrd "$work/initrd.gz" \
		-append "console=ttyS0 panic=-1 quiet no_timer_check" </dev/null >"$vm/console.cpus.$n" 2>&1
	tr -d '\r' <"$vm/console.cpus.$n" | sed -n 's/^cost //p' >"$vm/cpus.$n"
	grep -q '^stop_ms' "$vm/cpus.$n" || {
		echo "tests/vm/cpus.sh: $n CPUs: not to its end: ${vm#"$top"/}/console.cpus.$n" >&2
		exit 1
	}
done
for n; do
	awk -v n="$n" '{ print n, $0 }' "$vm/cpus.$n"
done | awk '{ if (!($2 in seen)) keys[++k] = $2; seen[$2] = 1; if (!($1 in col)) cols[++c] = $1; col[$1] = 1; v[$1, $2] = $3 }
	END { for (i = 1; i <= k; i++) { printf "%-36s", keys[i]; for (j = 1; j <= c; j++) printf "%10s", v[cols[j], keys[i]]; print "" } }'
