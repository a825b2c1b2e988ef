#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh [KERNEL...]: makes the packages twice and compares, has lintian and rpmlint read
# them, installs, upgrades and removes the .rpm in a tree and the .deb in a machine that
# a real systemd runs. TAP. Minutes; "make test-packages" builds what it needs first.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
binary=build/static/sekoia-ebpf
version=$(sed -n 's/^VERSION := //p' Makefile)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
n=0 failed=0

point() { # "ok - WHAT" or "not ok - WHAT"
	n=$((n + 1))
	[[ $1 == ok* ]] || failed=$((failed + 1))
	echo "${1/ - / $n - }"
}

check() { # WHAT COMMAND...
	local what=$1
	shift
	if "$@" >"$work/out" 2>&1 </dev/null; then
		point "ok - $what"
	else
		point "not ok - $what"
		sed 's/^/# /' "$work/out"
	fi
}

points() { # SCRIPT...: prints TAP without numbers
	local before=$failed status=0 line
	"$@" >"$work/points" 2>&1 </dev/null || status=$?
	while IFS= read -r line; do
		case $line in
		"ok - "* | "not ok - "*) point "$line" ;;
		*) echo "${line/#[^#]/# &}" ;;
		esac
	done <"$work/points"
	[[ $status == 0 || $failed != "$before" ]] || point "not ok - ${1##*/} ran to its end"
}

no_complaints() {
	! grep -E '(^| )[EW]: ' "$1"
}

export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1700000000}
check "packages are made" deploy/packages.sh $binary amd64 "$version" "$work/a"
sleep 1.1
check "packages are made, again" deploy/packages.sh $binary amd64 "$version" "$work/b"
check "the same bytes twice: deb" cmp "$work"/{a,b}/"sekoia-ebpf_${version}_amd64.deb"
check "the same bytes twice: rpm" cmp "$work"/{a,b}/"sekoia-ebpf-$version-1.x86_64.rpm"
lintian --allow-root --pedantic "$work"/a/*.deb >"$work/lintian" 2>&1
check "lintian has no complaint" no_complaints "$work/lintian"
rpmlint -c deploy/rpm/rpmlint.toml "$work"/a/*.rpm >"$work/rpmlint" 2>&1
check "rpmlint has no complaint" no_complaints "$work/rpmlint"
check "a later version is made" deploy/packages.sh $binary amd64 "$version+next" "$work/next"
points tests/packages/static.sh
points tests/packages/rpm.sh "$work"/a/*.rpm "$work"/next/*.rpm
points tests/packages/container.sh
for kernel in "${@:-newest}"; do
	points tests/packages/vm.sh "$kernel" "$work"/a/*.deb "$work"/next/*.deb
done
echo "1..$n"
echo "$((n - failed)) passed, $failed failed"
[[ $failed == 0 ]]
