#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Renders the chart in deploy/helm with several sets of values into build/helm, and compares what
# comes out with the plain manifest: the pods must be the same where nothing else was asked for. Debian has
# no helm, so tests/deploy/helm.go renders; a helm that is there is asked as well. Prints the files.
set -euo pipefail
cd "$(dirname "$0")/../.."
chart=deploy/helm/sekoia-ebpf
out=build/helm
if ! command -v go >/dev/null || [[ ! -d /usr/share/gocode/src/github.com/Masterminds/sprig ]]; then
	echo "helm.sh: no go, or no sprig: deploy/deps.sh kubernetes" >&2
	exit 1
fi
mkdir -p $out/cache
GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$PWD/$out/cache GOFLAGS='' go build -o $out/render tests/deploy/helm.go

render() {
	local name=$1
	cat >"$out/$name.values"
	"$out/render" $chart sekoia-ebpf sekoia-ebpf "$out/$name.values" >"$out/$name.yaml"
	if command -v helm >/dev/null; then
		helm lint --quiet --values "$out/$name.values" $chart >&2
		helm template sekoia-ebpf $chart --namespace sekoia-ebpf --values "$out/$name.values" >"$out/$name.helm.yaml"
	fi
}

render plain <<-END
	intake: { existingSecret: sekoia-ebpf }
	kernelLog: { enabled: true }
END
render unprivileged <<-END
	intake: { region: fra2, key: 0123456789abcdefABCDEF0123456789 }
	config: { output: { type: relp }, tls: { ca: /etc/our-ca/ca.pem } }
	image: { repository: registry.example/sekoia-ebpf, tag: 1.2.3 }
	imagePullSecrets: [{ name: registry }]
	extraVolumes: [{ name: ca, configMap: { name: our-ca } }]
	extraVolumeMounts: [{ name: ca, mountPath: /etc/our-ca, readOnly: true }]
	podLabels: { team: security }
	containerNames: { runtimeDir: /var/lib/containers/storage/overlay-containers }
	podAnnotations: { example.com/note: "yes" }
	affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions: [{ key: a, operator: Exists }] }] } } }
END
render least <<-END
	intake: { existingSecret: sekoia-ebpf }
	priorityClass: { create: false }
	serviceAccount: { create: false }
	readinessProbe: { enabled: false }
	containerNames: { enabled: false }
	tolerations: []
	resources: null
END
# Without a key there is nothing to install.
if echo '{}' >$out/none.values && "$out/render" $chart a b $out/none.values >/dev/null 2>$out/none.log; then
	echo "helm.sh: it renders without a key" >&2
	exit 1
fi
grep -q 'intake.existingSecret names a Secret' $out/none.log
/usr/bin/python3 tests/deploy/helm.py deploy/kubernetes/sekoia-ebpf.yaml $out >&2
printf '%s\n' $out/plain.yaml $out/unprivileged.yaml $out/least.yaml
