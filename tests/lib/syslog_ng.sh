#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# syslog_ng.sh DIR: unpacks Debian's syslog-ng into DIR, with what it needs that is
# not here. It is not installed: it would take rsyslog's place.
set -euo pipefail

dir=$1
[[ -x $dir/usr/sbin/syslog-ng ]] && exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get -qq download syslog-ng-core libivykis0 libnet1 libwrap0 libglib2.0-0 >/dev/null 2>&1
mkdir root
for deb in *.deb; do
	dpkg -x "$deb" root
done
mkdir -p "$dir"
rm -rf "${dir:?}/usr"
mkdir "$dir/usr"
mv root/usr/sbin root/usr/lib "$dir/usr/"
[[ ! -d root/lib ]] || cp -a root/lib/. "$dir/usr/lib/"
