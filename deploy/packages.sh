#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# packages.sh BINARY ARCH VERSION OUT [deb] [rpm]: makes the packages of a static binary
# (ARCH is Debian's name: amd64, arm64) in the folder OUT. It reaches for no network
# and is reproducible: the same binary, SOURCE_DATE_EPOCH and PACKAGER (who answers for
# these packages: "NAME <ADDRESS>") give the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."

die() {
	echo "packages: $*" >&2
	exit 1
}

[[ $# -ge 4 ]] || die "usage: deploy/packages.sh BINARY ARCH VERSION OUT [deb] [rpm]"
binary=$(realpath "$1") arch=$2 version=$3 out=$4
shift 4
kinds=("$@")
[[ $# -gt 0 ]] || kinds=(deb rpm)
case $arch in
amd64) rpm_arch=x86_64 ;;
arm64) rpm_arch=aarch64 ;;
*) die "$arch: neither amd64 nor arm64" ;;
esac
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Makefile)}"
: "${PACKAGER:=sekoia-ebpf maintainers <maintainers@example.org>}"
export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8 TZ=UTC
umask 022
mkdir -p "$out"
out=$(realpath "$out")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# put MODE SOURCE TARGET: into the tree that both packages hold.
tree=$work/tree
put() {
	install -D -m "$1" "$2" "$tree/$3"
}

put 755 "$binary" usr/sbin/sekoia-ebpf
put 755 deploy/systemd/handover usr/lib/sekoia-ebpf/handover
put 644 deploy/systemd/sekoia-ebpf.service usr/lib/systemd/system/sekoia-ebpf.service
put 644 deploy/systemd/sysusers.conf usr/lib/sysusers.d/sekoia-ebpf.conf
put 640 config/sekoia-ebpf.conf etc/sekoia-ebpf/sekoia-ebpf.conf
for file in README.md docs/*.md; do
	# It is installed already.
	[[ $file != docs/INSTALL.md ]] || continue
	put 644 "$file" "usr/share/doc/sekoia-ebpf/${file##*/}"
done
shopt -s nullglob
for file in build/man/*.[0-9]; do
	put 644 "$file" "usr/share/man/man${file##*.}/${file##*/}"
	gzip -9n "$tree/usr/share/man/man${file##*.}/${file##*/}"
done
for file in build/completions/*; do
	case $file in
	*.bash) put 644 "$file" usr/share/bash-completion/completions/sekoia-ebpf ;;
	*.fish) put 644 "$file" usr/share/fish/vendor_completions.d/sekoia-ebpf.fish ;;
	*/_*) put 644 "$file" usr/share/zsh/site-functions/_sekoia-ebpf ;;
	esac
done

make_deb() {
	local at=$work/deb/sekoia-ebpf-$version
	mkdir -p "$at/debian"
	cp deploy/debian/* "$at/debian/"
	sed -i "s|@PACKAGER@|$PACKAGER|" "$at/debian/control"
	cp deploy/systemd/sysusers.conf "$at/debian/sekoia-ebpf.sysusers"
	cp -a "$tree" "$at/tree"
	# These two have their own places in a Debian package.
	rm -r "$at/tree/usr/lib/sysusers.d"
	mkdir -p "$at/tree/lib"
	mv "$at/tree/usr/lib/systemd" "$at/tree/lib/systemd"
	if [[ -d $at/tree/usr/share/zsh ]]; then
		mv "$at/tree/usr/share/zsh/site-functions" "$at/tree/usr/share/zsh/vendor-completions"
	fi
	echo "tree/* /" >"$at/debian/sekoia-ebpf.install"
	cat >"$at/debian/changelog" <<-END
		sekoia-ebpf ($version) unstable; urgency=medium

		  * Version $version.

		 -- $PACKAGER  $(date -R -d "@$SOURCE_DATE_EPOCH")
	END
	mkdir -p "$at/debian/source"
	echo "3.0 (native)" >"$at/debian/source/format"
	(cd "$at" && dpkg-buildpackage -b -us -uc -d -a "$arch" --no-check-builddeps) >"$work/log" 2>&1 || {
		cat "$work/log" >&2
		die "dpkg-buildpackage failed"
	}
	mv "$work/deb/sekoia-ebpf_${version}_$arch.deb" "$out/"
	echo "$out/sekoia-ebpf_${version}_$arch.deb"
}

make_rpm() {
	local at=$work/rpm
	mkdir -p "$at"
	(cd "$tree" && find . -mindepth 1 -type f -printf '/%P\n' | sort) >"$at/all"
	{
		echo "%dir %attr(0755, root, root) /etc/sekoia-ebpf"
		echo "%dir /usr/lib/sekoia-ebpf"
		sed -e 's,^/etc/.*,%config(noreplace) %attr(0640\, root\, root) &,' \
			-e 's,^/usr/share/doc/.*,%doc &,' -e 's,^/usr/share/man/.*,%doc &,' "$at/all"
	} >"$at/files"
	rpmbuild -bb --quiet --target "$rpm_arch" \
		--define "_topdir $at/top" --define "the_tree $tree" --define "the_files $at/files" \
		--define "the_version $version" --define "_buildhost localhost" \
		--define "use_source_date_epoch_as_buildtime 1" \
		--define "clamp_mtime_to_source_date_epoch 1" \
		--define "build_mtime_policy clamp_to_source_date_epoch" \
		--define "source_date_epoch_from_changelog 0" \
		--define "the_date $(date -d "@$SOURCE_DATE_EPOCH" '+%a %b %d %Y')" \
		--define "the_packager $PACKAGER" --define "_binary_payload w19.zstdio" \
		deploy/rpm/sekoia-ebpf.spec >"$work/log" 2>&1 || {
		cat "$work/log" >&2
		die "rpmbuild failed"
	}
	mv "$at/top/RPMS/$rpm_arch/"*.rpm "$out/"
	echo "$out/sekoia-ebpf-$version-1.$rpm_arch.rpm"
}

for kind in "${kinds[@]}"; do
	case $kind in
	deb)
		command -v dh >/dev/null || die "no debhelper: deploy/deps.sh packages"
		make_deb
		;;
	rpm)
		command -v rpmbuild >/dev/null || die "no rpmbuild: deploy/deps.sh packages"
		make_rpm
		;;
	*) die "$kind: neither deb nor rpm" ;;
	esac
done
