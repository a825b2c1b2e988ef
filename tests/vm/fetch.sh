#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# fetch.sh NAME: puts the kernel of that row of tests/vm/kernels into
# build/vm/NAME.vmlinuz, unless it is there, and prints that path; one of its modules into
# build/vm/NAME.dummy.ko (empty, if it has none), and for another
# machine's architecture its busybox as well, into build/vm/NAME.busybox. apt gets a
# configuration, sources, lists and a cache of our own: nothing of this
# machine's changes. The mirror is the one that the machine itself uses.
set -eu

name=${1:?usage: fetch.sh NAME}
here=$(cd "$(dirname "$0")" && pwd)
out=${VM_DIR:-build/vm}
keyring=${DEBIAN_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}

fail() {
	echo "kernel $name: $*" >&2
	exit 1
}

mkdir -p "$out"
out=$(cd "$out" && pwd)
if [ -s "$out/$name.vmlinuz" ] && [ -e "$out/$name.dummy.ko" ]; then
	echo "$out/$name.vmlinuz"
	exit 0
fi

row=$(awk -v name="$name" '$1 == name' "$here/kernels")
[ -n "$row" ] || fail "no such row in tests/vm/kernels"
# shellcheck disable=SC2086 # the columns of the table
set -- $row
suite=$3 arch=$4 package=$5

for tool in apt-get apt-cache apt-config dpkg-deb; do
	command -v "$tool" >/dev/null || fail "can not be had without $tool"
done
[ -r "$keyring" ] || fail "can not be had without $keyring: apt-get install debian-archive-keyring"

base=$("$here/mirror.sh" 2>&1) || fail "$base"

work=$(mktemp -d "$out/apt.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
: >"$work/status"
echo "deb [signed-by=$keyring] $base $suite main" >"$work/sources.list"
# A mirror that is behind is good enough for a test: signatures are checked, dates are not.
cat >"$work/apt.conf" <<END
Dir::Etc::main "/dev/null";
Dir::Etc::parts "$work/none";
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "$work/none";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "$work/none";
Dir::Etc::trusted "$work/none.gpg";
Dir::Etc::trustedparts "$work/none";
Dir::State "$work";
Dir::State::lists "$work/lists/";
Dir::State::status "$work/status";
Dir::Cache "$work/cache";
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::Check-Valid-Until "false";
END
# A proxy of the machine's is needed here, too; its hooks are not.
apt-config dump --format '%F "%v";%n' Acquire::http Acquire::https |
	grep -i '::proxy' >>"$work/apt.conf" || :
mkdir "$work/none"
export APT_CONFIG="$work/apt.conf"

apt-get -q -o APT::Update::Error-Mode=any update >"$work/log" 2>&1 || {
	cat "$work/log" >&2
	fail "$suite can not be read from this machine's Debian mirror"
}
# NAME FILE: downloads the package and takes files of that name out of it.
unpack() {
	(cd "$work" && apt-get -q download "$1") >"$work/log" 2>&1 || {
		cat "$work/log" >&2
		fail "$1 of $suite can not be downloaded from this machine's Debian mirror"
	}
	dpkg-deb --fsys-tarfile "$work/$1"_*.deb |
		tar -xf - -C "$work" --wildcards --no-anchored "$2" 2>>"$work/log" || :
	find "$work" -type f -path "*/$2" | head -n 1
}

deb=$(apt-cache search --names-only "^$package\$" | awk '{ print $1 }' | sort -V | tail -n 1)
[ -n "$deb" ] || fail "$suite has no package $package"
if [ "$arch" != "$(dpkg --print-architecture)" ]; then
	busybox=$(unpack busybox-static bin/busybox)
	[ -n "$busybox" ] || fail "busybox-static of $suite holds no busybox"
	mv "$busybox" "$out/$name.busybox"
fi
vmlinuz=$(unpack "$deb" 'vmlinuz*')
[ -n "$vmlinuz" ] || fail "$deb of $suite holds no vmlinuz"
mv "$vmlinuz" "$out/$name.vmlinuz"
# Newer kernels have their modules in a package of their own. Without its signature it taints.
case $deb in
linux-binary-*) modules=linux-modules-${deb#linux-binary-} ;;
*) modules=$deb ;;
esac
module=$(unpack "$modules" 'dummy.ko*' 2>>"$work/log") || module=
: >"$out/$name.dummy.ko"
if [ -n "$module" ]; then
	case $module in *.xz) xz -d "$module" && module=${module%.xz} ;; esac
	case $arch in
	arm64) aarch64-linux-gnu-strip --strip-debug -o "$out/$name.dummy.ko" "$module" ;;
	*) strip --strip-debug -o "$out/$name.dummy.ko" "$module" ;;
	esac
fi
echo "$out/$name.vmlinuz"
