#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The dashboard and the alerts against the metrics of a collector that runs.

    metrics.py METRICS [FILE...]     METRICS: what /metrics answered

Every metric that they name is there, of the kind that they take it for (a rate is a counter's),
and with the labels that they ask for. promtool, if it is installed, judges the expressions.
"""
import glob
import json
import os
import re
import shutil
import subprocess
import sys

import yaml

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
FROM_OUTSIDE = {"instance", "job"}  # Prometheus gives these to every sample
mistakes = []


def read_metrics(path):
    """name -> (kind, labels)"""
    kinds, labels = {}, {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            kind = re.match(r"# TYPE (\S+) (\S+)", line)
            sample = re.match(r"([a-z_]+)(?:\{(.*)\})? ", line)
            if kind:
                kinds[kind.group(1)] = kind.group(2)
            elif sample and not line.startswith("#"):
                labels.setdefault(sample.group(1), set()).update(
                    re.findall(r'([a-z_]+)="', sample.group(2) or ""))
    return {name: (kinds[name], labels.get(name, set())) for name in kinds}


def expressions(path):
    """(where, expression, texts that may name labels)"""
    if path.endswith(".json"):
        with open(path, encoding="utf-8") as f:
            board = json.load(f)
        places, ids = set(), set()
        for p in board["panels"]:
            g = p["gridPos"]
            cells = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
            if cells & places or g["x"] + g["w"] > 24 or p["id"] in ids:
                mistakes.append(f"{path}: panel {p['title']}: lies upon another, or has its id")
            places |= cells
            ids.add(p["id"])
            for t in p["targets"]:
                yield p["title"], t["expr"], t["legendFormat"].replace("{{", "$labels.")
        for v in board["templating"]["list"]:
            if v["type"] == "query":
                yield v["name"], v["query"]["query"], ""
    else:
        with open(path, encoding="utf-8") as f:
            groups = yaml.safe_load(f)["groups"]
        seen = set()
        for group in groups:
            for rule in group["rules"]:
                if rule["alert"] in seen or not rule["annotations"]["summary"] or \
                        rule["labels"]["severity"] not in ("warning", "critical"):
                    mistakes.append(f"{path}: {rule['alert']}: twice, or without summary or severity")
                seen.add(rule["alert"])
                yield rule["alert"], rule["expr"], " ".join(rule["annotations"].values())


def check(path, metrics):
    n = 0
    for where, expr, texts in expressions(path):
        n += 1
        used = re.findall(r"\bsekoia_ebpf_[a-z_]+", expr)
        known = [m for m in used if m in metrics]
        for m in sorted(set(used) - set(known)):
            mistakes.append(f"{path}: {where}: there is no metric {m}")
        labels = set().union(*(metrics[m][1] for m in known)) | FROM_OUTSIDE
        asked = set(re.findall(r"([a-z_]+) *=~? *\"", expr)) | set(re.findall(r"\$labels\.([a-z_]+)", texts))
        for by in re.findall(r"\bby \(([^)]*)\)", expr):
            asked |= {label.strip() for label in by.split(",")}
        for label in sorted(asked - labels):
            mistakes.append(f"{path}: {where}: its metrics have no label {label}")
        for m in re.findall(r"(?:rate|increase)\((sekoia_ebpf_[a-z_]+)", expr):
            if m in metrics and metrics[m][0] != "counter":
                mistakes.append(f"{path}: {where}: {m} is no counter")
    if not n:
        mistakes.append(f"{path}: asks for nothing")
    promtool = shutil.which("promtool") or os.environ.get("PROMTOOL")
    if promtool and path.endswith(".yaml"):
        done = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True, check=False)
        if done.returncode:
            mistakes.append(done.stdout + done.stderr)
    return n


def main():
    metrics = read_metrics(sys.argv[1])
    if len(metrics) < 20:
        mistakes.append(f"{sys.argv[1]}: no metrics of a collector")
    files = sys.argv[2:] or sorted(glob.glob(f"{TOP}/deploy/grafana/*.json") + glob.glob(f"{TOP}/deploy/prometheus/*.yaml"))
    if len(files) < 2 and not sys.argv[2:]:
        mistakes.append("deploy/grafana, deploy/prometheus: where are they?")
    n = sum(check(path, metrics) for path in files)
    for text in mistakes:
        print(text)
    if not mistakes:
        print(f"{n} expressions, all of metrics that there are")
    sys.exit(1 if mistakes else 0)


main()
