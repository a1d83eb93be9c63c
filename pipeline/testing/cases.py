"""Cases of a topology as YAML: what goes in, what must come out (`topologies/default_test.yaml` teaches the format)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml

from pipeline.declaration.objects import workspace_of
from pipeline.model.json_text import decode
from pipeline.model.record import Record
from pipeline.model.topology import Topology
from pipeline.model.workspace import Workspace
from pipeline.ports.http import Answer, Request
from pipeline.runtime.http.memory import an_answer
from pipeline.testing.driver import Driver


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a file.

    Attributes:
        name: What it shows.
        workspace: What is declared.
        answers: What each destination answers by id: statuses in order, the last one for ever.
        input: What happens, in order: each item is one of `write`, `send`, `advance`, `crash`.
        output: Records expected by topic without prefix.
        rows: Rows expected by storage.
    """

    name: str
    workspace: Workspace
    answers: Mapping[str, Sequence[int]]
    input: Sequence[Mapping[str, Any]]
    output: Mapping[str, Sequence[Mapping[str, Any]]]
    rows: Mapping[str, Sequence[Mapping[str, Any]]]


def read_cases(path: Path) -> list[Case]:
    """Read the cases of a file.

    Args:
        path: A file such as `topologies/default_test.yaml`.

    Returns:
        The cases in order.

    Raises:
        TypeError: A case has a key that does not exist.
        KeyError: One is missing.
    """
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    workspace = workspace_of(data["workspace"])
    defaults: dict[str, Any] = {"answers": {}, "output": {}, "rows": {}}
    return [Case(workspace=workspace, **{**defaults, **case}) for case in data["cases"]]


def run_case(topology: Path, case: Case) -> list[str]:
    """Run a case on its topology.

    Args:
        topology: The topology's file.
        case: The case.

    Returns:
        What differs from what is expected, one line each; empty where all is as it should be.

    Raises:
        ValueError: An item of the input is none of those that exist.
    """
    with Driver(topology, case.workspace, answering=_answering(case)) as driver:
        for item in case.input:
            _do(driver, item)
            driver.run_until_idle()
        faults: list[str] = []
        for topic, expected in case.output.items():
            found = [_seen(record) for record in driver.read(topic)]
            faults += _differences(topic, expected, _in_order_of(expected, found) if _has_many_writers(driver.topology, topic) else found)
        if case.rows:
            driver.advance(1)  # a lake gathers rows for a second
        for storage, rows in case.rows.items():
            faults += _differences(storage, rows, driver.rows(storage))
        return faults


def _do(driver: Driver, item: Mapping[str, Any]) -> None:
    match dict(item):
        case {"write": str(topic), "value": value, **rest}:
            headers = {name: str(text).encode() for name, text in rest.get("headers", {}).items()}
            key = str(rest["key"]).encode() if rest.get("key") is not None else None
            content = value if value is None or isinstance(value, dict) else str(value).encode()
            driver.write(topic, key, content, headers, partition=rest.get("partition"))
        case {"send": dict(event), **rest}:
            driver.send(event, source=rest.get("source", "web"))
        case {"advance": int() | float() as seconds}:
            driver.advance(seconds)
        case {"crash": str(processor), **rest}:
            driver.crash(processor, rest.get("when", "before commit"), lose_state=bool(rest.get("lose_state", False)))
        case _:
            raise ValueError(f"an input is one of write, send, advance and crash, not {', '.join(item)}")


def _answering(case: Case) -> Callable[[Request], Answer]:
    left = {destination: list(statuses) for destination, statuses in case.answers.items()}
    addresses = {str(one.settings.get("url", "")): one.id for one in case.workspace.destinations.values()}

    def answer(request: Request) -> Answer:
        statuses = left.get(addresses.get(request.url, ""), [])
        if not statuses:
            return an_answer()
        return an_answer(statuses.pop(0) if len(statuses) > 1 else statuses[0])

    return answer


def _seen(record: Record) -> dict[str, Any]:
    """Lay a record out as a case names its parts."""
    try:
        value: Any = decode(record.value or b"null")[0]
    except ValueError:
        value = (record.value or b"").decode("utf-8", "replace")
    return {
        "key": record.key.decode("utf-8", "replace") if record.key is not None else None,
        "partition": record.partition,
        "headers": {name: (text or b"").decode("utf-8", "replace") for name, text in record.headers},
        "value": value,
    }


def _has_many_writers(topology: Topology, topic: str) -> bool:
    """Say whether the groups of several destinations write to a topic, so that its order is chance."""
    return any(
        processor.for_each and "{" + processor.for_each not in lane and lane.partition("{")[0] == topic[: len(lane.partition("{")[0])]
        for processor in topology.processors.values()
        for lane in processor.lanes.values()
    )


def _in_order_of(expected: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Order records as they are expected, what nobody expects last."""
    left = list(found)
    ordered: list[Mapping[str, Any]] = []
    for wanted in expected:
        match = next((seen for seen in left if not _unlike("", wanted, seen)), None)
        if match is not None:
            left.remove(match)
            ordered.append(match)
    return ordered + left


def _differences(place: str, expected: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> list[str]:
    faults = [f"{place}: {len(expected)} expected, {len(found)} found"] if len(expected) != len(found) else []
    for number, (wanted, seen) in enumerate(zip_longest(expected, found)):
        if wanted is None:
            faults.append(f"{place}[{number}]: too many: {seen}")
        elif seen is None:
            faults.append(f"{place}[{number}]: missing: {wanted}")
        else:
            faults += _unlike(f"{place}[{number}]", wanted, seen)
    return faults


def _unlike(path: str, expected: Any, found: Any) -> list[str]:  # noqa: ANN401 (any JSON value)
    """Compare what is expected; of an object, only what is named, all the way down."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        faults = [f"{path}: no {name}" for name in expected if name not in found and expected[name] is not None]
        return faults + [fault for name in expected if name in found for fault in _unlike(f"{path}.{name}", expected[name], found[name])]
    same = type(expected) is type(found) or (isinstance(expected, int | float) and isinstance(found, int | float))
    return [] if same and expected == found else [f"{path}: {expected!r} expected, {found!r} found"]
