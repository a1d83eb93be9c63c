"""From the text of a topology to a `Topology`, or to everything that is wrong with it.

A topology that is accepted can run: every lane that its steps write to leads to a topic of the one table of topics, every topic that is read is
written, and every name with a placeholder has what fills it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pipeline.declaration.problems import DeclarationError, Problem, did_you_mean
from pipeline.declaration.shape import Fault, shape_faults
from pipeline.declaration.yaml_text import Document, parse_yaml
from pipeline.model.topics import DEAD_STAGES, RETRY_DELAYS, TOPICS
from pipeline.model.topology import Processor, Topology
from pipeline.model.workspace import ID_PATTERN

MAIN: Final = "main"
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")


class KindRules(NamedTuple):
    """How processors of one kind are wired.

    Attributes:
        lanes: Lanes that must be wired; for the kind `steps` its steps say that.
        for_each: What there may be one group for each of; empty text for a single group.
        input: Placeholder that its input must hold, without braces; empty for none.
    """

    lanes: frozenset[str] = frozenset()
    for_each: tuple[str, ...] = ("",)
    input: str = ""


KINDS: Final[Mapping[str, KindRules]] = {
    "steps": KindRules(for_each=("", "destination")),
    "deliver": KindRules(frozenset({"retry", "deliveries", "dead"}), for_each=("destination",), input="destination"),
    "retry": KindRules(frozenset({"due"}), input="delay"),
    "lake": KindRules(for_each=("storage",)),
    "replay": KindRules(frozenset({"requests", "rows", "dead"})),
}
"""The kinds of processors, as the runtime writes to their lanes."""

LANE_PLACEHOLDERS: Final[Mapping[str, str]] = {"requests": "destination", "due": "destination", "retry": "delay", "rows": "storage"}
"""Lanes whose records name a destination or a delay themselves; their topic must have the placeholder, or the name would be lost."""


class TopologyRules(NamedTuple):
    """Everything that a topology is checked against.

    Attributes:
        schema: The content of `schemas/topology.json`.
        steps: For each step, the lanes that it writes to; `main` among them where messages can go on from it.
        enrichments: Names of the enrichments.
    """

    schema: Mapping[str, Any]
    steps: Mapping[str, Collection[str]]
    enrichments: Collection[str]


def load_topology(text: str, file: str, rules: TopologyRules) -> Topology:
    """Read and check a topology.

    Args:
        text: YAML.
        file: Its name, for problems.
        rules: What exists.

    Returns:
        The topology.

    Raises:
        DeclarationError: With all problems. What has not the right shape is not looked at further.
    """
    document = parse_yaml(text, file)
    if not isinstance(document, Document):
        raise DeclarationError(document)
    faults = shape_faults({} if document.data is None else document.data, rules.schema)
    if not faults:
        faults = list(_faults(document.data, rules))
    if faults:
        raise DeclarationError(_problem(document, fault) for fault in faults)
    return _topology(document.data)


def _problem(document: Document, fault: Fault) -> Problem:
    return document.problem(fault.path, fault.message, fault.hint, key=fault.key)


def _topology(data: Mapping[str, Any]) -> Topology:
    processors = {}
    for name, declared in data["processors"].items():
        values = {**declared, "steps": tuple(declared.get("steps", ())), "enrichments": tuple(declared.get("enrichments", ()))}
        processors[name] = Processor(name=name, **{"process": name, **values})
    rest = {"partitions": data["partitions"]} if "partitions" in data else {}
    return Topology(name=data["topology"], processors=processors, **rest)


def _faults(data: Mapping[str, Any], rules: TopologyRules) -> Iterator[Fault]:
    processors: Mapping[str, Mapping[str, Any]] = data["processors"]
    written = {topic.replace("{stage}", name) for name, one in processors.items() for topic in one.get("lanes", {}).values()}
    for name, processor in processors.items():
        for fault in _processor_faults(name, processor, rules, written):
            yield Fault(("processors", name, *fault.path), fault.message, fault.hint, fault.key)


def _processor_faults(name: str, processor: Mapping[str, Any], rules: TopologyRules, written: Collection[str]) -> Iterator[Fault]:
    if not ID_PATTERN.fullmatch(name):
        yield Fault(
            (), f"{name} is no name for a processor", "lower-case letters, digits and hyphens, beginning with a letter or digit, at most 63", key=True
        )
    kind = KINDS[processor.get("kind", "steps")]
    yield from _kind_faults(processor, kind)
    yield from _step_faults(processor, rules)
    yield from _lane_faults(processor, kind, rules)
    for path, topic in [(("input",), processor["input"]), *((("lanes", lane), topic) for lane, topic in processor.get("lanes", {}).items())]:
        for fault in _topic_faults(topic):
            yield Fault(path, fault.message, fault.hint)
    source = processor["input"]
    if source != "raw" and source not in written and not list(_topic_faults(source)):
        yield Fault(("input",), f"no lane leads to {source}", "wire a lane of an earlier processor to it, or read another topic")


def _kind_faults(processor: Mapping[str, Any], kind: KindRules) -> Iterator[Fault]:
    for_each = processor.get("for_each", "")
    names = set(_PLACEHOLDER.findall(processor["input"]))
    if for_each not in kind.for_each:
        hint = f"write for_each: {kind.for_each[-1]}" if kind.for_each[-1] else "remove it"
        yield Fault(("for_each",) if for_each else (), f"kind {processor.get('kind', 'steps')} cannot run like this", hint, key=bool(for_each))
    if kind.input and kind.input not in names:
        yield Fault(("input",), f"kind {processor['kind']} needs {{{kind.input}}} in its input")
    for name in sorted(names & {"destination", "storage"} - {for_each}):
        yield Fault(("input",), f"nothing fills {{{name}}}", f"add for_each: {name}")
    if "delay" in names and kind.input != "delay":
        yield Fault(("input",), "only kind retry reads a topic for each delay")


def _step_faults(processor: Mapping[str, Any], rules: TopologyRules) -> Iterator[Fault]:
    steps = processor.get("steps", [])
    if processor.get("kind", "steps") != "steps":
        if steps:
            yield Fault(("steps",), f"kind {processor['kind']} runs no steps", "remove the steps, or the kind", key=True)
    elif not steps:
        yield Fault((), "steps is missing", f"its steps in order; {did_you_mean('', rules.steps)}")
    yield from _name_faults("steps", "step", steps, rules.steps)
    for index, step in enumerate(steps[:-1]):
        if step in rules.steps and MAIN not in rules.steps[step]:
            yield Fault(("steps", index), f"no message goes on after {step}", "make it the last step")
    enrichments = processor.get("enrichments", [])
    if enrichments and "enrich" not in steps:
        yield Fault(("enrichments",), "nothing runs them", "add the step enrich", key=True)
    for setting in ("dedup_window_seconds", "dedup_max_ids"):
        if setting in processor and "dedup" not in steps:
            yield Fault((setting,), "nothing uses it", "add the step dedup, or remove it", key=True)
    yield from _name_faults("enrichments", "enrichment", enrichments, rules.enrichments)


def _name_faults(key: str, kind: str, names: Sequence[str], known: Collection[str]) -> Iterator[Fault]:
    for index, name in enumerate(names):
        if name not in known:
            yield Fault((key, index), f"unknown {kind} {name}", did_you_mean(name, known))
        elif name in names[:index]:
            yield Fault((key, index), f"the {kind} {name} stands twice", "keep one of them")


def _lane_faults(processor: Mapping[str, Any], kind: KindRules, rules: TopologyRules) -> Iterator[Fault]:
    lanes = processor.get("lanes", {})
    steps = [step for step in processor.get("steps", []) if step in rules.steps]
    needed = set(kind.lanes)
    if processor.get("kind", "steps") == "steps":
        needed.add("dead")  # any step may raise: a bug of ours, which the runtime keeps as `crashed`
    for step in steps:
        needed |= set(rules.steps[step]) - {MAIN}
    if steps and MAIN in rules.steps[steps[-1]]:
        needed.add(MAIN)
    for lane in sorted(needed - set(lanes)):
        writer = next((step for step in reversed(steps) if lane in rules.steps[step]), processor.get("kind", ""))
        hint = f"{writer} writes to it: add {lane}: {_TOPIC_OF.get(lane, 'TOPIC')} under lanes"
        yield Fault(("lanes",) if lanes else (), f"the lane {lane} leads nowhere", hint, key=True)
    if all(step in rules.steps for step in processor.get("steps", [])):
        for lane in lanes.keys() - needed:
            yield Fault(("lanes", lane), f"nothing writes to the lane {lane}", did_you_mean(lane, needed), key=True)
    for lane, name in LANE_PLACEHOLDERS.items():
        if lane in lanes and f"{{{name}}}" not in lanes[lane]:
            yield Fault(("lanes", lane), f"the topic's name must hold {{{name}}}", f"else the {name} of each record is lost: {_TOPIC_OF[lane]}")


_TOPIC_OF: Final = {
    "requests": "requests.{destination}",
    "due": "requests.{destination}.retry",
    "retry": "retry.{delay}",
    "rows": "routed.{storage}.replay",
    "deliveries": "deliveries",
    "dead": "dead.{stage}",
    "raw": "raw",
}


_TEMPLATES: Final = tuple(topic.name.replace("{processor}", "{stage}") if topic.name.startswith("dead.") else topic.name for topic in TOPICS)


def _topic_faults(topic: str) -> Iterator[Fault]:
    """Compare a topic's name with the table of topics; a placeholder may also be written out (`dead.validate`)."""
    for template in _TEMPLATES:
        if topic == template:
            return
        match = re.fullmatch(_PLACEHOLDER.sub(r"([a-z0-9-]+)", template.replace(".", r"\.")), topic)
        if (
            match
            and (not template.startswith("dead.") or match[1] in DEAD_STAGES)
            and (not template.startswith("retry.") or match[1] in RETRY_DELAYS)
        ):
            return
    yield Fault((), f"there is no topic {topic}", did_you_mean(topic, _TEMPLATES))
