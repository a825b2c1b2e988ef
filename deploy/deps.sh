#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing to build ("build"), to build and test ("test", the
# default), to measure beside others ("bench"), to make and test packages
# ("packages"), to test what is for Kubernetes ("kubernetes"), or to build for arm64 on
# another machine ("arm64": dpkg is told of that architecture), on Debian and Ubuntu. When
# nothing is missing it is silent and touches neither the network nor the system. It
# starts no service.
set -euo pipefail

# One line for each need: the first package that the distribution has is taken.
build=(
	gcc make binutils libc6-dev
	clang llvm "bpftool|linux-tools-generic"
	pkgconf openssl ca-certificates
	libbpf-dev libelf-dev zlib1g-dev libssl-dev libjson-c-dev libc-ares-dev
	libinih-dev libdeflate-dev
)
test=(
	bats jq curl git procps util-linux bsdutils
	iproute2 iputils-ping bind9-dnsutils dnsmasq-base iperf3 netcat-openbsd python3
	nftables conntrack e2fsprogs nfdump ngtcp2-client ngtcp2-server
	rsyslog rsyslog-relp rsyslog-gnutls rsyslog-openssl systemd
	qemu-system-x86 busybox-static cpio xz-utils gzip
	man-db mandoc zsh
	python3-yaml python3-jinja2
	clang-format clang-tidy cppcheck shellcheck "libclang-rt-dev|libclang-rt-14-dev"
)
bench=(softflowd)
packages=(debhelper lintian rpm rpmlint mmdebstrap buildah runc)
kubernetes=(golang-go golang-github-masterminds-sprig-dev golang-gopkg-yaml.v3-dev python3-yaml)
arm64=(
	gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static qemu-system-arm libc6-dev:arm64
	libbpf-dev:arm64 libelf-dev:arm64 zlib1g-dev:arm64 libssl-dev:arm64 libjson-c-dev:arm64
	libc-ares-dev:arm64 libinih-dev:arm64 libdeflate-dev:arm64
)

die() {
	printf '%s: %s\n' "deps.sh" "$1" >&2
	exit 1
}

# Is any of "a|b" installed? For this machine's architecture, if it does not name one:
# there may be another's beside it.
is_installed() {
	local package arch
	for package in ${1//|/ }; do
		arch=$(dpkg --print-architecture)
		[[ $package != *:* ]] || arch=${package#*:}
		dpkg-query -W -f '${db:Status-Status} ${Architecture}\n' "$package" 2>/dev/null |
			grep -qxE "installed ($arch|all)" && return
	done
	return 1
}

# The first of "a|b" that apt could install; the first of all when it knows none.
pick() {
	local package known
	for package in ${1//|/ }; do
		known=$(apt-cache policy "$package" 2>/dev/null)
		if [[ $known == *Candidate:* && $known != *"Candidate: (none)"* ]]; then
			echo "$package"
			return
		fi
	done
	echo "${1%%|*}"
}

# A package that brings a daemon would start it: tests start what they need themselves.
policy=/usr/sbin/policy-rc.d
made_policy=
forbid_services() {
	[[ -e $policy ]] && return
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	made_policy=yes
}
allow_services() {
	[[ -z $made_policy ]] || rm -f "$policy"
}

case ${1:-test} in
build) needs=("${build[@]}") ;;
test) needs=("${build[@]}" "${test[@]}") ;;
bench) needs=("${build[@]}" "${test[@]}" "${bench[@]}") ;;
packages) needs=("${build[@]}" "${test[@]}" "${packages[@]}") ;;
arm64) needs=("${build[@]}" "${arm64[@]}") ;;
kubernetes) needs=("${kubernetes[@]}") ;;
*) die "usage: deploy/deps.sh [build|test|bench|packages|arm64|kubernetes]" ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	echo "deps.sh: this is neither Debian nor Ubuntu, so nothing is installed; needed are, by their Debian names: ${needs[*]}" >&2
	exit 0
fi

missing=()
for need in "${needs[@]}"; do
	is_installed "$need" || missing+=("$need")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0
[[ $(id -u) == 0 ]] || die "missing: ${missing[*]}; run it as root, or install them: sudo deploy/deps.sh ${1:-test}"

trap allow_services EXIT
trap 'exit 1' INT TERM HUP
forbid_services
export DEBIAN_FRONTEND=noninteractive
echo "installing: ${missing[*]}"
[[ ${1:-test} != arm64 ]] || dpkg --add-architecture arm64
apt-get update -q >/dev/null || echo "deps.sh: the package lists could not be refreshed; going on with the old ones" >&2
chosen=()
for need in "${missing[@]}"; do
	chosen+=("$(pick "$need")")
done
apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=120 "${chosen[@]}" >/dev/null </dev/null ||
	die "apt-get could not install: ${chosen[*]}"
