#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# kubernetes.sh [FILE...]: holds the manifests in deploy/kubernetes against the types of the
# Kubernetes API, which npm brings into build/npm. It needs node and, once, npm's registry.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v npm >/dev/null || {
	echo "kubernetes.sh: no npm: apt-get install npm" >&2
	exit 1
}
modules=$PWD/build/npm/node_modules
if [[ ! -d $modules/typescript || ! -d $modules/kubernetes-models ]]; then
	mkdir -p build/npm
	npm install --prefix build/npm --silent --no-audit --no-fund \
		kubernetes-models@4.5.1 yaml@2 typescript@5 >&2
fi
[[ $# -gt 0 ]] || set -- deploy/kubernetes/*.yaml
exec node tests/deploy/kubernetes.mjs "$modules" "$@"
