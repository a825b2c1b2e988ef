#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# cpus.sh [N...]: what a collector costs on machines of N CPUs (1, 1/64 and 64), under qemu: memory
# in KiB, with nothing to do, under load and 30 s later, of each process, and both of collector and
# shipper, beside what is promised of that; what the kernel keeps for each CPU, of all of them; CPU
# of all its processes within a minute of nothing; milliseconds from the start to ready and to the
# first event acknowledged. Exit status 1: a promise is not kept. 1/64: one CPU in a machine that has
# room for 64, so that maps have a value for each.
# With one CPU time is counted in instructions: one each nanosecond (-icount), whatever the machine
# below does meanwhile; so CPU and times are those of a slow CPU of 1 GHz that does one instruction
# in each cycle, and the same in each run. With more of them qemu can not do that (Linux does not get
# beyond the start of the second one): they take turns on one CPU of the machine below, memory alone
# says something, and times are at most what is told.
# The load: for 3 s 55,000 flows and log messages a second are offered, as in
# tests/bench/footprint.sh, over HTTPS to an intake in there. It is told how many of them such CPUs
# collect, how many the intake acknowledges meanwhile, and how many when only the spool is left to
# be sent: no emulated CPU does 50,000, so a peak is that of a shipper with as much to send as it takes.
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
vm=${VM_DIR:-$top/build/vm}
static=$top/build/static
[[ -x $static/sekoia-ebpf ]] || {
	echo "tests/vm/cpus.sh: no $static/sekoia-ebpf: make static" >&2
	exit 1
}
[[ $# -gt 0 ]] || set -- 1 1/64 64
mkdir -p "$vm"
vmlinuz=$("$top/tests/vm/fetch.sh" "${VM_KERNEL:-6.1}")
work=$(mktemp -d "$vm/cpus.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root/bin"
cp "$(command -v busybox)" "$work/root/bin/busybox"
cp "$top/tests/vm/init_cpus" "$work/root/init"
cp "$static/sekoia-ebpf" "$work/root/bin/"
for program in cursor intake packetgen syslog_reader syslog_sender; do
	[[ -x $static/tests/peers/$program ]] || {
		echo "tests/vm/cpus.sh: no $static/tests/peers/$program: make $static/tests/peers/$program" >&2
		exit 1
	}
	strip -o "$work/root/bin/$program" "$static/tests/peers/$program"
done
"$top/tests/lib/certs.sh" "$work/certs" >/dev/null 2>&1
mkdir "$work/root/certs"
cp "$work/certs/ca.pem" "$work/certs/server.pem" "$work/certs/server.key" "$work/root/certs/"
(cd "$work/root" && find . | cpio -o -H newc --quiet) | gzip -1 >"$work/initrd.gz"
for n; do
	name=${n/\//of}
	clock=()
	[[ ${n%%/*} != 1 ]] || clock=(-icount "shift=0,sleep=off" -rtc "clock=vm")
	timeout -k 5 "${VM_SECONDS:-1200}" qemu-system-x86_64 -accel tcg,thread=single "${clock[@]}" \
		-cpu max,cx16=off -smp "${n/\//,maxcpus=}" -m 2048 \
		-nic none -nographic -no-reboot -kernel "$vmlinuz" -initrd "$work/initrd.gz" \
		-append "console=ttyS0 panic=-1 quiet no_timer_check" </dev/null >"$vm/console.cpus.$name" 2>&1 || true
	tr -d '\r' <"$vm/console.cpus.$name" | sed -n 's/^.*cost //p' >"$vm/cpus.$name"
	grep -q '^after.both' "$vm/cpus.$name" || {
		echo "tests/vm/cpus.sh: $n CPUs: not to its end: ${vm#"$top"/}/console.cpus.$name" >&2
		exit 1
	}
done
for n; do
	awk -v n="$n" '{ print n, $0 }' "$vm/cpus.${n/\//of}"
done | awk '{
		if (!($2 in seen)) keys[++k] = $2
		if (!($1 in column)) columns[++c] = $1
		seen[$2] = column[$1] = 1
		value[$1, $2] = $3
		if ($4) most[$2] = $4
		if ($4 && $3 > $4) not_kept[$2] = missed = 1
	}
	END {
		for (i = 1; i <= k; i++) {
			printf "%-36s", keys[i]
			for (j = 1; j <= c; j++) printf "%10s", value[columns[j], keys[i]]
			print (keys[i] in most ? "   of " most[keys[i]] : "") (keys[i] in not_kept ? " NOT KEPT" : "")
		}
		exit missed
	}'
