#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# hosts.sh [KERNEL...]: hosts on which something is missing, small, locked or taken, under qemu: of
# each tests/vm/init_hosts says whether it works, or is refused with the cure. Three boots
# for each kernel (5.10 and 6.12): lockdown is a word on the kernel's command line. Prints TAP and
# a table. The consoles stay in build/vm/console.hosts.*.
set -uo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
vm=${VM_DIR:-$top/build/vm}
static=$top/build/static

die() {
	echo "tests/vm/hosts.sh: $*" >&2
	exit 1
}

[[ $# -gt 0 ]] || set -- 5.10 6.12
command -v qemu-system-x86_64 >/dev/null || die "no qemu-system-x86_64: apt-get install qemu-system-x86"
busybox=$(command -v busybox) || die "no busybox: apt-get install busybox-static"
for program in sekoia-ebpf tests/peers/confine tests/peers/neighbour; do
	[[ -x $static/$program ]] || die "no $static/$program: make static $static/$program"
done
mkdir -p "$vm"
work=$(mktemp -d "$vm/hosts.XXXXXX")
trap 'rm -rf "$work"; kill $(jobs -p) 2>/dev/null' EXIT
trap 'exit 1' INT TERM

mkdir -p "$work/root/bin"
cp "$busybox" "$work/root/bin/busybox"
cp "$top/tests/vm/init_hosts" "$work/root/init"
cp "$static/sekoia-ebpf" "$static/tests/peers/confine" "$static/tests/peers/neighbour" "$work/root/bin/"
strip "$work/root/bin/confine" "$work/root/bin/neighbour"
(cd "$work/root" && find . | cpio -o -H newc --quiet) | gzip -1 >"$work/initrd.gz"

n=0 passed=0 failed=0
point() { # ok|not ok, WHAT
	n=$((n + 1))
	if [[ $1 == ok ]]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
	echo "$1 $n - $2"
}

for kernel; do
	vmlinuz=$("$top/tests/vm/fetch.sh" "$kernel") || exit 1
	for lockdown in none integrity confidentiality; do
		console=$vm/console.hosts.$kernel.$lockdown
		word=lockdown=$lockdown
		timeout -k 5 "${VM_SECONDS:-900}" qemu-system-x86_64 -accel tcg,thread=single -cpu max,cx16=off \
			-smp 2 -m 1024 -nic none -nographic -no-reboot -kernel "$vmlinuz" -initrd "$work/initrd.gz" \
			-append "console=ttyS0 panic=-1 quiet no_timer_check ${word/lockdown=none/}" \
			</dev/null 2>&1 | tr -d '\r' >"$console"
		echo "# $kernel${word:+, }${word/lockdown=none/no lockdown}: $(sed -n 's/.*vm: kernel /Linux /p' "$console")"
		while IFS= read -r line; do
			case $line in
			"ok "*) point ok "$kernel: ${line#ok }" ;;
			"not ok "*) point "not ok" "$kernel: ${line#not ok }" ;;
			"#"*) echo "$line" ;;
			esac
		done <"$console"
		if grep -qx 'vm: done' "$console"; then
			point ok "$kernel: ran to its end"
		else
			point "not ok" "$kernel: ran to its end"
			tail -n 30 "$console" | sed 's/^/# | /'
		fi
		sed -n "s/^host /$kernel|/p" "$console" >>"$work/table"
	done
done
echo '#'
awk -F'|' '{ if (!($2 in row)) rows[++r] = $2; row[$2] = 1; if (!($1 in col)) cols[++c] = $1; col[$1] = 1; v[$1, $2] = $3 }
	END {
		for (i = 1; i <= r; i++) {
			same = 1
			for (j = 2; j <= c; j++) same = same && v[cols[j], rows[i]] == v[cols[1], rows[i]]
			if (same) { printf "# %-38s %s\n", rows[i], v[cols[1], rows[i]]; continue }
			for (j = 1; j <= c; j++) printf "# %-38s %s: %s\n", j == 1 ? rows[i] : "", cols[j], v[cols[j], rows[i]]
		}
	}' "$work/table"
echo '#'
echo "1..$n"
echo "$passed passed, $failed failed"
[[ $failed == 0 && $passed -gt 0 ]]
