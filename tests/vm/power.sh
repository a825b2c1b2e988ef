#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# power.sh [ROUNDS [SYNC]]: a machine under qemu loses its power in mid-stream,
# ROUNDS times (2) on one disk, and is started once more. Each event that the
# guest said was synced must be in the spool, whole and once, or be sent and gone with
# its whole segment, and no id may have been given to two events, whatever had been sent before. With SYNC
# interval, what was written within the last second may be lost; the ids hold.
#
# kill -9 of qemu is the loss of power: what was in the guest's page cache is
# gone, what its disk had been told to write is in the image.
# Prints "lost N of N, ..." on its last line.
set -uo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
vm=${VM_DIR:-$top/build/vm}
static=$top/build/static
kernel=${VM_KERNEL:-6.1}
rounds=${1:-2}
sync=${2:-batch}

die() {
	echo "tests/vm/power.sh: $*" >&2
	exit 1
}

command -v qemu-system-x86_64 >/dev/null || die "no qemu-system-x86_64: apt-get install qemu-system-x86"
busybox=$(command -v busybox) || die "no busybox: apt-get install busybox-static"
for program in sekoia-ebpf tests/peers/emit tests/peers/spoolmap; do
	[[ -x $static/$program ]] || die "no $static/$program: make vm-programs"
done
mkdir -p "$vm"
vmlinuz=$("$top/tests/vm/fetch.sh" "$kernel") || exit 1
work=$(mktemp -d "$vm/power.XXXXXX")
qemu=
finish() {
	[[ -z $qemu ]] || kill -KILL "$qemu" 2>/dev/null
	mountpoint -q "$work/mnt" && umount "$work/mnt"
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

mkdir -p "$work/root/bin" "$work/mnt"
cp "$busybox" "$work/root/bin/busybox"
cp "$top/tests/vm/init_power" "$work/root/init"
cp "$static/sekoia-ebpf" "$static/tests/peers/emit" "$static/tests/peers/spoolmap" "$work/root/bin/"
strip "$work/root/bin/emit" "$work/root/bin/spoolmap"
(cd "$work/root" && find . | cpio -o -H newc --quiet) | gzip -1 >"$work/initrd.gz"
truncate -s 256M "$work/disk"
mkfs.ext4 -q -F "$work/disk" || die "no mkfs.ext4: apt-get install e2fsprogs"

boot() { # PART
	qemu-system-x86_64 -accel tcg,thread=single -cpu max,cx16=off -smp 2 -m 1024 -nic none -display none \
		-no-reboot -kernel "$vmlinuz" -initrd "$work/initrd.gz" \
		-append "console=ttyS0 panic=-1 quiet no_timer_check part=$1 sync=$sync" \
		-serial "file:$work/console.$1" -serial "file:$work/sent.$1" -monitor none \
		-drive "if=none,id=disk,format=raw,cache=writeback,file=$work/disk" \
		-device nvme,drive=disk,serial=disk </dev/null &
	qemu=$!
	disown # no word about its end
}

# The newest number that the guest said was on the disk.
committed() { # PART
	[[ ! -e $work/console.$1 ]] ||
		tr -d '\r' <"$work/console.$1" | sed -n 's/^committed \([0-9]*\)$/\1/p' | tail -n 1
}

waited() { # SECONDS COMMAND...
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		((SECONDS < end)) && kill -0 "$qemu" 2>/dev/null || return 1
		sleep 0.2
	done
}

waited_for_end() {
	while kill -0 "$qemu" 2>/dev/null; do sleep 0.1; done
}

is_streaming() { # PART ABOVE
	[[ $(committed "$1") -gt $(($2 + 100)) ]]
}

newest=0
for ((i = 1; i <= rounds; i++)); do
	part=$((10 + i))
	boot "$part"
	waited 120 is_streaming $part "$newest" || {
		tr -d '\r' <"$work/console.$part" | tail -n 30
		die "round $i: nothing was committed"
	}
	sleep "$((1 + RANDOM % 3)).$((RANDOM % 10))"
	kill -KILL "$qemu"
	waited_for_end
	qemu=
	newest=$(committed $part)
	echo "round $i: the power went when $newest events were synced" >&2
done
boot last
waited 120 grep -qs 'vm: done' "$work/console.last" || {
	tr -d '\r' <"$work/console.last" | tail -n 30
	die "the last boot did not end"
}
waited_for_end
qemu=
mount -o loop,ro "$work/disk" "$work/mnt" || die "the disk can not be mounted"
LC_ALL=C grep -a '"event"' "$work/mnt/out" >"$work/out"
umount "$work/mnt"

# id TAB the whole record
numbered() {
	tr -d '\r' | LC_ALL=C sed -n 's/^\(.*"event":{"id":"\([0-9a-f]*-[0-9]*\)".*}\)$/\2\t\1/p'
}
numbered <"$work/out" | LC_ALL=C sort -u >"$work/have"
# The last line may have been cut with the power; it does not end with what a record ends with.
for ((i = 1; i <= rounds; i++)); do
	sed '$d' "$work/sent.$((10 + i))" | numbered
done | LC_ALL=C sort -u >"$work/sent"
have=$(cut -f1 "$work/have" | sort -u | wc -l)
# What was delivered may be gone from the spool, with its whole segment; then it was sent.
lost=$(awk -F'[-\t]' -v newest="$newest" '
	FNR == NR { have[$2] = 1; if (!first || $2 < first) first = $2; next }
	$2 < first { have[$2] = 1 }
	END { for (i = 1; i <= newest; i++) n += !have[i]; print n + 0 }' "$work/have" "$work/sent")
twice=$(cut -f1 "$work/have" | sort | uniq -d | wc -l)
# The same id on two different events: whoever got the first takes the second for a repeat.
reused=$(cat "$work/have" "$work/sent" | LC_ALL=C sort -u | cut -f1 | sort | uniq -d | wc -l)
gone=$(cut -f1 "$work/sent" | sort -u | comm -23 - <(cut -f1 "$work/have" | sort -u) | wc -l)
cp "$work"/console.* "$vm/"
if [[ -n ${VM_KEEP:-} ]]; then cp "$work/have" "$work/sent" "$vm/"; fi
torn=$(cat "$work"/console.* | tr -d '\r' | sed -n 's/.*torn_bytes=\([0-9]*\).*/\1/p' | awk '{ n += $1 } END { print n + 0 }')
echo "# $have in the spool, $newest said to be synced, $(cut -f1 "$work/sent" | sort -u | wc -l) had been sent, $gone of them are not in the spool; $torn bytes were torn"
echo "lost $lost of $newest, twice $twice, ids given twice $reused, rounds $rounds"
[[ ($lost == 0 || $sync != batch) && $twice == 0 && $reused == 0 && $newest -gt 0 ]]
