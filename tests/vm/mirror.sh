#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Prints the base address of the Debian archive that this machine's apt uses, from one-line
# sources and deb822 ones; DEBIAN_MIRROR is taken before.
set -eu

mirrors() {
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ -r "$file" ] || continue
		sed -n 's/^deb[[:space:]]\{1,\}\(\[[^]]*\][[:space:]]*\)\{0,1\}\([^[:space:]]*\).*/\2/p' "$file"
	done
	for file in /etc/apt/sources.list.d/*.sources; do
		[ -r "$file" ] || continue
		sed -n 's/^URIs:[[:space:]]*//p' "$file" | tr -s ' ' '\n'
	done
}

base=${DEBIAN_MIRROR:-$(mirrors | grep -E '/debian/?$' | head -n 1)}
[ -n "$base" ] || {
	echo "no Debian mirror in this machine's apt sources; set DEBIAN_MIRROR" >&2
	exit 1
}
echo "$base"
