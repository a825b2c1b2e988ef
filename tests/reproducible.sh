#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the static binary twice, from copies of the tree in two places, with
# another order, language, time zone and umask: not one byte may differ.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
one=$work/one two=$work/of/another/length
for copy in "$one" "$two"; do
	mkdir -p "$copy"
	git ls-files -z | tar --null -T - -cf - | tar -xf - -C "$copy"
done
make -s -C "$one" -j1 static >/dev/null
(
	umask 077
	LC_ALL=C.UTF-8 TZ=Asia/Kathmandu make -s -C "$two" -j4 static >/dev/null
)
sha256sum "$one/build/static/sekoia-ebpf" "$two/build/static/sekoia-ebpf" | sed "s,$work/,,"
cmp "$one/build/static/sekoia-ebpf" "$two/build/static/sekoia-ebpf"
echo "identical"
