#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# static.sh: builds the static binary in two folders of different names and compares
# their bytes; it is static, small enough, and tells its version. TAP lines without numbers.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

check() { # WHAT COMMAND...
	local what=$1
	shift
	if "$@" >"$work/out" 2>&1; then
		echo "ok - static: $what"
	else
		echo "not ok - static: $what"
		sed 's/^/# /' "$work/out"
	fi
}

not() {
	! "$@"
}

for folder in a "a folder whose name is longer"; do
	# make does not take blanks in a path of its own.
	folder=$work/${folder// /-}
	mkdir "$folder"
	(cd "$top" && cp -a Makefile bpf config output user vmlinux tests "$folder/")
	check "is built in a folder of ${#folder} letters" make -C "$folder" -j2 static
done
binary=$work/a/build/static/sekoia-ebpf
check "the same bytes from both folders" cmp "$work"/*/build/static/sekoia-ebpf
check "no interpreter" not grep -q INTERP <(readelf -lW "$binary")
check "less than 8 MB" test "$(stat -c %s "$binary")" -lt 8000000
check "no folder of the build in it" not grep -qaF "$work" "$binary"
