#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the chart renders (build/helm, by helm.sh) against the plain manifest: helm.py MANIFEST DIR"""
import copy
import os
import sys

import yaml

mistakes = []


def load(path):
    with open(path, encoding="utf-8") as f:
        return {doc["kind"]: doc for doc in yaml.safe_load_all(f) if doc}


def expect(what, ok):
    if not ok:
        mistakes.append(what)


def differences(a, b, path=""):
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(set(a) | set(b)):
            yield from differences(a.get(key), b.get(key), f"{path}.{key}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b)):
            yield from differences(x, y, f"{path}[{i}]")
    elif a != b:
        yield f"{path}: {a!r} in the manifest, {b!r} of the chart"


def pod(docs):
    return docs["DaemonSet"]["spec"]["template"]["spec"]


def check_names(name, chart, runtime):
    """Names are read from three folders of the node, and nothing is written there."""
    mounts = {m["name"]: m for m in pod(chart)["containers"][0]["volumeMounts"]}
    volumes = {v["name"]: v for v in pod(chart)["volumes"]}
    for volume, path in (("pods", "/var/log/pods"), ("containers", "/var/log/containers"), ("runtime", runtime)):
        expect(f"{name}: {volume}: read-only", mounts[volume]["readOnly"] is True)
        expect(f"{name}: {volume}: its place", mounts[volume]["mountPath"] == path == volumes[volume]["hostPath"]["path"])
    # Or the mounts of containers that ended would stay in ours.
    expect(f"{name}: runtime: unmounted with the host", mounts["runtime"]["mountPropagation"] == "HostToContainer")


def check_plain(manifest, chart):
    a, b = copy.deepcopy(pod(manifest)), copy.deepcopy(pod(chart))
    # Helm's own: the manifest leaves these to their defaults.
    expect("plain: imagePullPolicy", b["containers"][0].pop("imagePullPolicy") == "IfNotPresent")
    mistakes.extend(f"plain: pod{d}" for d in differences(a, b))
    mistakes.extend(f"plain: updateStrategy{d}" for d in differences(
        manifest["DaemonSet"]["spec"]["updateStrategy"], chart["DaemonSet"]["spec"]["updateStrategy"]))
    expect("plain: PriorityClass", manifest["PriorityClass"]["value"] == chart["PriorityClass"]["value"])
    check_names("plain", chart, "/run/containerd/io.containerd.runtime.v2.task")
    expect("plain: no token", chart["ServiceAccount"]["automountServiceAccountToken"] is False)
    expect("plain: no Secret of its own", "Secret" not in chart)
    lines = manifest["ConfigMap"]["data"]["sekoia-ebpf.conf"].split()
    expect("plain: configuration", set(lines) <= set(chart["ConfigMap"]["data"]["sekoia-ebpf.conf"].split()))


def check_unprivileged(chart):
    c = pod(chart)["containers"][0]
    expect("unprivileged: privileged", c["securityContext"]["privileged"] is False)
    expect("unprivileged: capabilities", c["securityContext"]["capabilities"]["drop"] == ["ALL"])
    expect("unprivileged: image", c["image"] == "registry.example/sekoia-ebpf:1.2.3")
    conf = chart["ConfigMap"]["data"]["sekoia-ebpf.conf"]
    for line in ("region = fra2", "[kernel]\nlog = no", "[output]\ntype = relp", "[tls]\nca = /etc/our-ca/ca.pem"):
        expect(f"unprivileged: {line!r}", line in conf)
    expect("unprivileged: the key is in the configuration", "0123456789abcdef" not in conf)
    expect("unprivileged: Secret", list(chart["Secret"]["data"]) == ["intake-key"])
    check_names("unprivileged", chart, "/var/lib/containers/storage/overlay-containers")
    expect("unprivileged: volumes", {"ca", "key"} <= {v["name"] for v in pod(chart)["volumes"]})


def check_least(chart):
    expect("least: kinds", sorted(chart) == ["ConfigMap", "DaemonSet"])
    for key in ("priorityClassName", "tolerations"):
        expect(f"least: {key}", key not in pod(chart))
    for key in ("readinessProbe", "resources"):
        expect(f"least: {key}", key not in pod(chart)["containers"][0])
    expect("least: names", not {"pods", "containers", "runtime"} & {v["name"] for v in pod(chart)["volumes"]})
    expect("least: serviceAccountName", pod(chart)["serviceAccountName"] == "default")


def main():
    manifest, out = load(sys.argv[1]), sys.argv[2]
    for suffix in ("yaml", "helm.yaml"):
        if not os.path.exists(f"{out}/plain.{suffix}"):
            continue
        check_plain(manifest, load(f"{out}/plain.{suffix}"))
        check_unprivileged(load(f"{out}/unprivileged.{suffix}"))
        check_least(load(f"{out}/least.{suffix}"))
    for name in ("plain", "unprivileged", "least"):
        chart = load(f"{out}/{name}.yaml")
        for doc in chart.values():
            expect(f"{name}: {doc['kind']}: namespace", doc["kind"] == "PriorityClass" or
                   doc["metadata"]["namespace"] == "sekoia-ebpf")
        labels = chart["DaemonSet"]["spec"]["template"]["metadata"]["labels"]
        wanted = chart["DaemonSet"]["spec"]["selector"]["matchLabels"]
        expect(f"{name}: the selector does not select its pods", wanted.items() <= labels.items())
    for text in mistakes:
        print(text)
    sys.exit(1 if mistakes else 0)


main()
