#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The intake format against itself, against the source, and against what the product sends.

    format.py check             files, fields, descriptions, tests; every key of the source
    format.py cover FILE...     every key of these records ("-": standard input) is mapped
    format.py make NAME...      writes tests/NAME.json from the message that is in it, or from
                                a message on standard input

It runs the parser as its documentation describes the language (stages of "set" and "translate",
templates of Jinja): a model of the platform's, not the platform's.
"""
import glob
import json
import os
import re
import struct
import sys

import jinja2.nativetypes
import yaml

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
MODULE = os.path.join(TOP, "deploy/intake-format")
FORMAT = os.path.join(MODULE, "sekoia-ebpf")

# What we set of ECS, by name: a name that is not here was mistyped, or belongs in fields.yml.
ECS = """
@timestamp action.name action.outcome agent.id agent.name agent.type agent.version container.id
container.image.name container.image.tag container.name container.runtime destination.bytes destination.ip destination.packets
destination.port event.action event.category event.code event.end event.id event.kind event.outcome
event.provider event.reason event.start event.type group.id host.hostname host.ip host.name host.os.name
host.os.type host.os.version log.hostname log.level log.logger log.syslog.appname
log.syslog.facility.code log.syslog.facility.name log.syslog.procid log.syslog.severity.code
log.syslog.severity.name log.syslog.structured_data network.bytes network.community_id network.direction network.iana_number
network.packets network.transport network.type observer.egress.interface.id
observer.egress.interface.name observer.ingress.interface.id observer.ingress.interface.name
orchestrator.namespace orchestrator.resource.id orchestrator.resource.name orchestrator.resource.type orchestrator.type process.args
process.command_line process.executable process.name process.parent.command_line
process.parent.executable process.parent.name process.parent.pid process.pid process.start
destination.domain dns.question.name dns.question.type dns.resolved_ip dns.response_code dns.type
tls.client.server_name tls.next_protocol file.directory file.gid file.inode file.mode file.mtime file.name
file.owner file.path file.size file.type file.uid error.code event.duration process.end process.exit_code process.working_directory user.effective.id
user.effective.name user.group.id service.name destination.nat.ip
destination.nat.port source.nat.ip source.nat.port source.bytes source.ip source.packets source.port user.id user.name
""".split()

# What we send and do not map, and why.
LEFT_OUT = {
    "IP_PROTOCOL_VERSION": "ipVersion has it",
    "biflowDirection": "0 says that the direction is not known; network.direction says it",
    "flowEndSysUpTime": "flowEndSeconds has it",
    "flowStartSysUpTime": "flowStartSeconds has it",
    "sekoia_ebpf.hostname": "host.hostname has it",
    "sekoia_ebpf.time": "@timestamp has it",
    "sekoia_ebpf.version": "agent.version has it",
}

# Below an object that is mapped as a whole, and in no test.
BELOW = {"args_cut", "file"}

CATEGORY_TYPES = {  # as far as we use them; ECS, allowed values
    "network": {"connection", "start", "end", "protocol", "info", "denied", "allowed", "access"},
    "host": {"access", "change", "end", "info", "start"},
    "process": {"access", "change", "end", "info", "start"},
    "authentication": {"start", "end", "info"},
    "session": {"start", "end", "info"},
    "driver": {"change", "end", "info", "start"},
    "file": {"access", "change", "creation", "deletion", "info"},
    "configuration": {"access", "change", "creation", "deletion", "info"},
}
TYPES = "keyword text long int number float boolean date ip array dict object".split()

mistakes = []


def mistake(text):
    mistakes.append(text)


class Nothing(jinja2.ChainableUndefined):
    def __eq__(self, other):
        return other is None or isinstance(other, jinja2.Undefined)

    def __ne__(self, other):
        return not self == other

    __hash__ = jinja2.ChainableUndefined.__hash__


ENV = jinja2.nativetypes.NativeEnvironment(undefined=Nothing)
ENV.globals["null"] = None
WHOLE = re.compile(r"^\s*\{\{(.*)\}\}\s*$", re.S)
COMPILED = {}


def evaluate(template, layers):
    """A template's value: of the type that it refers to, or None."""
    if isinstance(template, list):
        return [evaluate(t, layers) for t in template]
    whole = WHOLE.match(template) if isinstance(template, str) else None
    if not whole:
        return template
    if template not in COMPILED:
        COMPILED[template] = ENV.compile_expression(whole.group(1).strip(), undefined_to_none=True)
    return COMPILED[template](**layers)


def put(target, path, value):
    *folders, leaf = path.split(".")
    for folder in folders:
        target = target.setdefault(folder, {})
    target[leaf] = value


def get(layers, path):
    for name in path.split("."):
        layers = layers.get(name) if isinstance(layers, dict) else None
    return layers


def run_actions(actions, layers, final):
    for action in actions:
        if "filter" in action and not evaluate(action["filter"], layers):
            continue
        for path, template in action.get("set", {}).items():
            value = evaluate(template, layers)
            if value is not None and value != "" and value != []:
                put(final, path, value)
        if "translate" in action:
            t = action["translate"] or action
            words = {str(k): v for k, v in t["dictionary"].items()}
            for source, target in t["mapping"].items():
                value = words.get(str(get(layers, source)), t.get("fallback"))
                if value is not None:
                    put(final, target, value)


def run_parser(parser, original):
    final = {}
    layers = {"original": original, "final": final}
    for stage in parser["pipeline"]:
        if "filter" in stage and not evaluate(stage["filter"], layers):
            continue
        if "external" in stage:
            p = stage["external"]["properties"]
            text = evaluate(p["input_field"], layers)
            layers[stage["name"]] = {p["output_field"]: json.loads(text)}
        else:
            run_actions(parser["stages"][stage["name"]]["actions"], layers, final)
    return final


def leaves(value, path=""):
    if isinstance(value, dict) and value:
        for key, member in value.items():
            yield from leaves(member, f"{path}.{key}" if path else key)
    else:
        yield path


def load(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f) if path.endswith(".json") else yaml.safe_load(f)


def parser_facts(parser):
    """What it sets, and what of our records it reads."""
    sets, reads = set(), set()
    text = json.dumps(parser)
    for stage in parser["stages"].values():
        for action in stage["actions"]:
            sets.update(action.get("set", {}))
            sets.update((action.get("translate") or action).get("mapping", {}).values())
    reads.update(re.findall(r"json\.event\.([A-Za-z0-9_.]+)", text))
    reads.update(re.findall(r'json\.event\[\\"([^\\]+)\\"\]', text))
    return sets, reads


def is_covered(path, reads):
    parts = path.split(".")
    return any(".".join(parts[:n]) in reads or ".".join(parts[:n]) in LEFT_OUT
               for n in range(1, len(parts) + 1))


def check_png(path):
    with open(path, "rb") as f:
        head = f.read(26)
    if head[:8] != b"\x89PNG\r\n\x1a\n":
        return mistake(f"{path}: no PNG")
    width, height, _depth, color = struct.unpack(">IIBB", head[16:26])
    if width != height or color not in (4, 6) or os.path.getsize(path) > 50 << 10:
        mistake(f"{path}: is to be square, with transparency, 50 KiB at the most")


def check_manifests():
    for path in (f"{MODULE}/_meta", f"{FORMAT}/_meta"):
        m = load(f"{path}/manifest.yml")
        if not re.fullmatch(r"[a-z]([a-z]|-|\d)*", m["slug"]) or not m["description"].strip() or not m["name"]:
            mistake(f"{path}/manifest.yml: slug, name or description")
        if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", m["uuid"]):
            mistake(f"{path}/manifest.yml: uuid")
        check_png(f"{path}/logo.png")
    if not load(f"{FORMAT}/_meta/manifest.yml")["data_sources"]:
        mistake("manifest.yml: data_sources")


def check_fields(sets):
    fields = load(f"{FORMAT}/_meta/fields.yml")
    if list(fields) != sorted(fields):
        mistake("fields.yml: not sorted")
    for key, f in fields.items():
        if f["name"] != key or not f["description"] or f["type"] not in TYPES:
            mistake(f"fields.yml: {key}: name, description or type")
        if not re.fullmatch(r"sekoia_ebpf(\.[a-z][a-z0-9_]*)+", key):
            mistake(f"fields.yml: {key}: not a name of ours in snake_case")
    for name in sorted(set(fields) - sets):
        mistake(f"fields.yml: {name}: the parser does not set it")
    for name in sorted(sets - set(fields) - set(ECS)):
        mistake(f"parser.yml: sets {name}, which neither ECS nor fields.yml has")


def check_language(parser):
    names = [s["name"] for s in parser["pipeline"] if "external" not in s]
    if sorted(names) != sorted(parser["stages"]):
        mistake("parser.yml: pipeline and stages name different ones")
    for name, stage in parser["stages"].items():
        for action in stage["actions"]:
            for path, value in action.get("set", {}).items():
                texts = value if isinstance(value, list) else [value]
                if not all(isinstance(t, str) for t in texts):
                    mistake(f"parser.yml: {name}: {path}: neither a text nor a list of texts")


def check_descriptions(sets):
    descriptions = load(f"{FORMAT}/_meta/smart-descriptions.json")
    if not descriptions:
        mistake("smart-descriptions.json: empty")
    for d in descriptions:
        used = set(re.findall(r"\{([a-z_.]+)\}", d["value"])) | {c["field"] for c in d["conditions"]}
        for r in d.get("relationships", []):
            used |= {r["source"], r["target"]}
        for name in sorted(used - sets):
            mistake(f'smart-descriptions.json: "{d["value"]}": {name} is never set')


def check_event(what, event):
    category, types = get(event, "event.category"), get(event, "event.type")
    if not isinstance(category, list) or not isinstance(types, list) or not category or not types:
        return mistake(f"{what}: no event.category or event.type")
    for c in category:
        for t in types:
            if t not in CATEGORY_TYPES.get(c, ()):
                mistake(f"{what}: event.type {t} does not go with event.category {c}")
    if get(event, "@timestamp") and not re.fullmatch(
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", event["@timestamp"]):
        mistake(f"{what}: @timestamp {event['@timestamp']}")
    return None


def expected_of(parser, given):
    return {"message": given["message"], **dict(sorted(run_parser(parser, given).items()))}


def check_tests(parser, sets):
    seen = set()
    tests = sorted(glob.glob(f"{FORMAT}/tests/*.json"))
    for path in tests:
        test, name = load(path), os.path.basename(path)
        got = expected_of(parser, test["input"])
        if got != test["expected"]:
            mistake(f"tests/{name}: expected {json.dumps(test['expected'], sort_keys=True)}\n"
                    f"  but the parser makes {json.dumps(got, sort_keys=True)}")
        check_event(f"tests/{name}", got)
        for s in sets:
            if get(got, s) is not None:
                seen.add(s)
    for name in sorted(sets - seen):
        mistake(f"tests: none of {len(tests)} sets {name}")


def check_source(reads):
    """Every key that is written in the source of the records."""
    components = BELOW | {part for path in reads | set(LEFT_OUT) for part in path.split(".")}
    for test in glob.glob(f"{FORMAT}/tests/*.json"):
        message = load(test)["input"]["message"]
        if message.startswith("{"):
            for path in leaves(json.loads(message)):
                if is_covered(path, reads):
                    components.update(path.split("."))
    files = [f for f in glob.glob(f"{TOP}/user/*record*.c")]
    if len(files) < 5:
        mistake("user/*record*.c: where are they?")
    for path in files:
        with open(path, encoding="utf-8") as f:
            text = f.read()
        keys = set(re.findall(r'(?:json_(?!raw)\w+|put_if|put_code)\(&?w, "([^"]+)"', text))
        for pair in re.findall(r'\? "(\w+)" : "(\w+)"', text):
            keys.update(k for k in pair if re.search(r"IPv[46]|Interface$", k))
        for key in sorted(keys - components):
            # Below an object that is taken as a whole, all are.
            if key in ("code", "name", "type", "version") or re.search(r"^(ip|os)$", key):
                continue
            mistake(f"{os.path.relpath(path, TOP)}: key {key}: the parser does not read it")


# What stands before a raw line on standard output: the header, which the collection point reads.
HEADER = re.compile(r"<\d+>1 \S+ (\S+) (\S+) \S+ \S+ (?:\[[^]]*\])+ ?")


def as_received(line):
    head = HEADER.match(line)
    if not head:
        return {"message": line}
    return {"message": line[head.end():], "log": {"hostname": head.group(1), "syslog": {"appname": head.group(2)}}}


def cover(parser, reads, name):
    n = 0
    with sys.stdin if name == "-" else open(name, encoding="utf-8") as f:
        for line in f:
            line = line.rstrip("\n")
            if not line:
                continue
            n += 1
            given = as_received(line)
            event = run_parser(parser, given)
            check_event(f"{name}: record {n}", event)
            if not given["message"].startswith("{"):
                continue
            for path in leaves(json.loads(given["message"])):
                if not is_covered(path, reads):
                    mistake(f"{name}: record {n}: {path} is not mapped")
    if not n:
        mistake(f"{name}: holds no record")
    return n


def make(parser, name):
    path = f"{FORMAT}/tests/{name}.json"
    given = load(path)["input"] if os.path.exists(path) else {"message": sys.stdin.read().rstrip("\n")}
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"input": given, "expected": expected_of(parser, given)}, f, indent=2, ensure_ascii=False)
        f.write("\n")


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in ("check", "cover", "make"):
        sys.exit(__doc__)
    parser = load(f"{FORMAT}/ingest/parser.yml")
    sets, reads = parser_facts(parser)
    n = 0
    if sys.argv[1] == "check":
        check_manifests()
        check_language(parser)
        check_fields(sets)
        check_descriptions(sets)
        check_tests(parser, sets)
        check_source(reads)
    for name in sys.argv[2:]:
        if sys.argv[1] == "make":
            make(parser, name)
        else:
            n += cover(parser, reads, name)
    for text in sorted(set(mistakes)):
        print(text)
    if sys.argv[1] == "cover" and not mistakes:
        print(f"{n} records, all keys mapped")
    sys.exit(1 if mistakes else 0)


main()
