#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# build.sh BINARY TAG: makes the image with buildah, podman or docker. Reaches for no
# network: the base is empty, the CA certificates are this machine's.
set -euo pipefail
cd "$(dirname "$0")"
[[ $# == 2 ]] || {
	echo "usage: deploy/container/build.sh BINARY TAG" >&2
	exit 2
}
binary=$(cd ../.. && realpath "$1")
tag=$2
ca=${CA_FILE:-/etc/ssl/certs/ca-certificates.crt}
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
install -m 755 "$binary" "$context/sekoia-ebpf"
install -m 644 "$ca" "$context/ca-certificates.crt"
cp Containerfile "$context/"
for tool in buildah podman docker; do
	command -v "$tool" >/dev/null || continue
	options=()
	# Two builds give the same layer.
	[[ $tool == docker ]] || options+=(--timestamp "${SOURCE_DATE_EPOCH:-0}")
	"$tool" build "${options[@]}" -t "$tag" -f "$context/Containerfile" "$context"
	exit
done
echo "build.sh: none of buildah, podman, docker is here: apt-get install buildah" >&2
exit 1
