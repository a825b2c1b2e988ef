#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# vm.sh KERNEL OLD.deb NEW.deb: boots a Debian 12 with systemd under qemu, on a kernel of
# tests/vm/kernels, and runs tests/packages/in_vm.sh in it. TAP; the console stays in
# build/vm/packages-KERNEL.log. tests/vm/run.sh says why qemu is called like that.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
vm=${VM_DIR:-$top/build/vm}
kernel=$1 old=$2 new=$3
peers=$top/build/static/tests/peers

tar=$("$top/tests/packages/image.sh")
vmlinuz=$("$top/tests/vm/fetch.sh" "$kernel")
work=$(mktemp -d "$vm/packages.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
root=$work/root
mkdir "$root"
tar -xf "$tar" -C "$root" --exclude='./dev/*' --exclude='./var/lib/apt/lists/*' \
	--exclude='./var/cache/*' --exclude='./usr/share/locale/*' --exclude='./usr/share/zoneinfo/*' \
	--exclude='./usr/lib/*/gconv/*' --exclude='./boot/*'
mkdir "$root/test"
cp "$old" "$root/test/old.deb"
cp "$new" "$root/test/new.deb"
cp "$peers/intake" "$peers/emit" "$root/test/"
cp "${VM_SCRIPT:-$top/tests/packages/in_vm.sh}" "$root/test/in_vm.sh"
strip "$root/test/intake" "$root/test/emit"
"$top/tests/lib/certs.sh" "$root/test/certs" >/dev/null 2>&1
cat >"$root/etc/systemd/system/packages-test.service" <<-END
	[Unit]
	DefaultDependencies=no
	After=basic.target
	[Service]
	Type=simple
	ExecStart=/bin/bash /test/in_vm.sh
	TimeoutStopSec=5
END
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -s /etc/systemd/system/packages-test.service "$root/etc/systemd/system/multi-user.target.wants/"
echo vm >"$root/etc/hostname"
echo "127.0.0.1 localhost" >"$root/etc/hosts"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
# No policy of a build chroot's, and nothing that this machine has no use for.
rm -f "$root/usr/sbin/policy-rc.d"
for unit in systemd-udevd apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
	systemd-timesyncd systemd-binfmt systemd-pcrphase getty.target; do
	ln -sf /dev/null "$root/etc/systemd/system/${unit%.service}$([[ $unit == *.* ]] || echo .service)"
done
ln -sf /lib/systemd/systemd "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet) >"$work/initrd"
rm -rf "$root"

log=$vm/packages-$kernel.log
timeout -k 5 "${VM_SECONDS:-1200}" qemu-system-x86_64 -accel tcg,thread=single -cpu max,cx16=off -smp 2 -m 1536 \
	-nic none -nographic -no-reboot -kernel "$vmlinuz" -initrd "$work/initrd" \
	-append "console=ttyS0 panic=-1 quiet no_timer_check systemd.show_status=no systemd.log_color=no" \
	</dev/null >"$log" 2>&1 || echo "# qemu ended with status $?"
tr -d '\r' <"$log" | sed -n "s/^vm: \(.*, systemd.*\)/# \1/p; s/^ok /ok - $kernel: /p; s/^not ok /not ok - $kernel: /p; /^# /p"
if ! tr -d '\r' <"$log" | grep -qx 'vm: done'; then
	echo "not ok - $kernel: ran to its end"
	tr -d '\r' <"$log" | tail -n 40 | sed 's/^/# | /'
fi
