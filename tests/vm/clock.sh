#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# clock.sh: a machine under qemu whose clock is stepped by an hour both ways and
# which is suspended; tests/vm/init_clock says what must be so. The console stays in
# build/vm/console.clock. Ends with "N passed, N failed".
set -uo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
vm=${VM_DIR:-$top/build/vm}
static=$top/build/static
kernel=${VM_KERNEL:-6.1}

die() {
	echo "tests/vm/clock.sh: $*" >&2
	exit 1
}

command -v qemu-system-x86_64 >/dev/null || die "no qemu-system-x86_64: apt-get install qemu-system-x86"
busybox=$(command -v busybox) || die "no busybox: apt-get install busybox-static"
[[ -x $static/sekoia-ebpf ]] || die "no $static/sekoia-ebpf: make static"
mkdir -p "$vm"
vmlinuz=$("$top/tests/vm/fetch.sh" "$kernel") || exit 1
work=$(mktemp -d "$vm/clock.XXXXXX")
trap 'rm -rf "$work"; kill $(jobs -p) 2>/dev/null' EXIT
trap 'exit 1' INT TERM

mkdir -p "$work/root/bin"
cp "$busybox" "$work/root/bin/busybox"
cp "$top/tests/vm/init_clock" "$work/root/init"
cp "$static/sekoia-ebpf" "$work/root/bin/"
(cd "$work/root" && find . | cpio -o -H newc --quiet) | gzip -1 >"$work/initrd.gz"
timeout -k 5 "${VM_SECONDS:-180}" qemu-system-x86_64 -accel tcg,thread=single -cpu max,cx16=off -smp 1 -m 1024 \
	-global PIIX4_PM.disable_s3=0 -nic none -nographic -no-reboot -rtc base=utc,clock=host -kernel "$vmlinuz" -initrd "$work/initrd.gz" \
	-append "console=ttyS0 panic=-1 quiet no_timer_check no_console_suspend" </dev/null >"$vm/console.clock" 2>&1
tr -d '\r' <"$vm/console.clock" | grep -E '^(ok|not ok|#) '
passed=$(tr -d '\r' <"$vm/console.clock" | grep -c '^ok ')
failed=$(tr -d '\r' <"$vm/console.clock" | grep -c '^not ok ')
if ! tr -d '\r' <"$vm/console.clock" | grep -qx 'vm: done'; then
	echo "not ok ran to its end"
	tr -d '\r' <"$vm/console.clock" | tail -n 20 | sed 's/^/# | /'
	failed=$((failed + 1))
fi
echo "$passed passed, $failed failed"
[[ $failed == 0 && $passed -gt 0 ]]
