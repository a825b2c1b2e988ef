#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# rpm.sh OLD.rpm NEW.rpm: installs, upgrades and erases the package in a tree of its own
# (rpm --root), made of the same small Debian that vm.sh boots. Its systemctl is a stub
# that writes down what the scriptlets ask of it and plays the manager of a service that
# runs; the real one is what vm.sh is for. TAP lines without numbers.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
old=$1 new=$2
work=$(mktemp -d "${VM_DIR:-$top/build/vm}/rpm.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
root=$work/root
mkdir "$root"
tar -xf "$("$top/tests/packages/image.sh")" -C "$root" --exclude='./dev/*' --exclude='./usr/share/locale/*' \
	--exclude='./var/cache/*' --exclude='./var/lib/apt/lists/*'
mknod -m 666 "$root/dev/null" c 1 3

# The main process is another one each time that it was killed.
cat >"$root/usr/bin/systemctl.stub" <<'END'
#!/bin/sh
echo "$*" >>/asked
case "$*" in
*is-active*) [ -e /pid ] ;;
*MainPID*) cat /pid ;;
*kill*USR2*) echo $(($(cat /pid) + 1)) >/pid ;;
*disable*--now*) rm -f /pid ;;
esac
END
chmod 755 "$root/usr/bin/systemctl.stub"
mv "$root/usr/bin/systemctl.stub" "$root/bin/systemctl"
mkdir -p "$root/run/systemd/system"

# The tree's packages are dpkg's: rpm knows of none.
in_root() {
	rpm --root "$root" --nodeps --noplugins "$@" >"$work/log" 2>&1 || {
		sed 's/^/# /' "$work/log"
		false
	}
}

check() { # WHAT COMMAND...
	local what=$1
	shift
	if "$@"; then
		echo "ok - rpm: $what"
	else
		echo "not ok - rpm: $what"
	fi
}

asked() {
	grep -qx -- "$1" "$root/asked" 2>/dev/null
}

not() {
	! "$@"
}

check "install" in_root -i "$old"
check "install: the user is there" grep -q '^sekoia-ebpf:' "$root/etc/passwd"
check "install: the configuration is closed to others" test "$(stat -c %a:%U "$root/etc/sekoia-ebpf/sekoia-ebpf.conf")" = 640:root
check "install: it runs" test "$(chroot "$root" sekoia-ebpf --version)" = "sekoia-ebpf $(sed -n 's/^VERSION := //p' "$top/Makefile")"
check "install: nothing is started" not asked '.*start .*'
echo "# mine" >>"$root/etc/sekoia-ebpf/sekoia-ebpf.conf"
echo 100 >"$root/pid"
: >"$root/asked"
check "upgrade" in_root -U "$new"
check "upgrade: handed over, once" test "$(grep -c 'kill --signal=USR2 --kill-who=main' "$root/asked")" = 1
check "upgrade: started" asked 'start sekoia-ebpf.service'
check "upgrade: not stopped in between" not grep -qE '(^| )(stop|restart|disable)' "$root/asked"
check "upgrade: the configuration is as it was" grep -q '^# mine' "$root/etc/sekoia-ebpf/sekoia-ebpf.conf"
mkdir -p "$root/var/lib/sekoia-ebpf/spool"
check "erase" in_root -e sekoia-ebpf
check "erase: stopped" test ! -e "$root/pid"
check "erase: the changed configuration is kept" test -e "$root/etc/sekoia-ebpf/sekoia-ebpf.conf.rpmsave"
check "erase: the spool stays" test -d "$root/var/lib/sekoia-ebpf/spool"
check "erase: the program is gone" test ! -e "$root/usr/sbin/sekoia-ebpf" -a ! -e "$root/usr/lib/sekoia-ebpf"
