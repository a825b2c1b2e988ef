#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# image.sh: puts a small Debian 12 with systemd into build/vm/debian12.tar, unless it is
# there, and prints that path. From the Debian mirror that this machine uses.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
out=${VM_DIR:-$top/build/vm}/debian12.tar

if [[ ! -s $out ]]; then
	command -v mmdebstrap >/dev/null || {
		echo "image.sh: no mmdebstrap: deploy/deps.sh packages" >&2
		exit 1
	}
	mirror=$("$top/tests/vm/mirror.sh")
	mkdir -p "${out%/*}"
	mmdebstrap --quiet --format=tar --variant=minbase --include=systemd,systemd-sysv \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/zoneinfo/*' \
		bookworm "$out.part" "$mirror" >&2 </dev/null
	mv "$out.part" "$out"
fi
echo "$out"
