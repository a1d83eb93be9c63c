"""CPU time of one event in memory, without Kafka: the fused chain (parse, validate, dedup, enrich, filter, serialise, count), and each of its hops.

Run: `python -m benchmarks.hot_path [--json]`. Budget: 11 µs with Kafka (design: budgets). The events are the demo shop's, each about 1 KB, through
the demo workspace and the topology `fused`. What a step costs is what the chain costs with it less what it costs without; "read and write"
is a chain without steps. A "hop" is a processor of the topology `default`, which reads what the one before it wrote.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Final

import orjson

from pipeline.app.declared import read_topology, read_workspace
from pipeline.app.demo_workspace import demo_workspace
from pipeline.app.processes.options import call_schemas
from pipeline.assembly import Judges, build_steps
from pipeline.dedup import create_dedup
from pipeline.demo import shop_events
from pipeline.model import ids
from pipeline.model.outcomes import Outcome, Step
from pipeline.model.record import Message, Record
from pipeline.model.topology import Topology
from pipeline.model.workspace import Workspace
from pipeline.runtime.judgement import Judged, Plan, judge

BUDGET: Final = 11.0
AT_MS: Final = 1_700_000_000_000
_HOPS: Final = ("validate", "enrich", "filter")
RECORDS_OF_A_SLICE: Final = 120
"""What 128 KB of input hold (step worker)."""


class _Seen:
    """Ids seen in memory alone, as the overlay of an open transaction is."""

    def __init__(self) -> None:
        self._ids: dict[bytes, int] = {}

    def seen(self, digest: bytes, at_ms: int, offset: int, died_at: int | None = None) -> bool:
        """Remember an id and say whether it was there."""
        return self._ids.setdefault(digest, at_ms) != at_ms

    def forget(self) -> None:
        """Start a new round."""
        self._ids.clear()


def shop_records(count: int, partitions: int) -> list[Record]:
    """Make records of raw from the demo shop's events, as the collector writes them."""
    bodies = (call.body for call in shop_events(1, AT_MS, 50.0) if call.kind == "normal")
    keyed = ((key, body) for body in bodies if (key := ids.event_key(body)) is not None)
    headers = (("source", b"web"), ("received_at", b"%d" % AT_MS))
    return [
        Record("demo.raw", ids.partition_of(key, partitions), offset, AT_MS + offset, key, orjson.dumps(body), headers)
        for offset, (key, body) in enumerate(islice(keyed, count))
    ]


def _nothing(_message: Message) -> Outcome | None:
    return None


def _cpu_seconds(records: list[Record], plan: Plan, seen: _Seen) -> float:
    seen.forget()
    start = time.process_time()
    for first in range(0, len(records), RECORDS_OF_A_SLICE):
        judge(records[first : first + RECORDS_OF_A_SLICE], plan, judged := Judged(), at_ms=AT_MS)
        if judged.crashes:
            raise RuntimeError("a step crashed: what this measures is not its work")
    return time.process_time() - start


def measure(events: int, rounds: int) -> dict[str, float]:
    """Measure the chain and each of its prefixes.

    Args:
        events: How many events a round carries.
        rounds: How many rounds; the least of each chain counts.

    Returns:
        CPU µs an event of reading and writing, of each step, together, and of each hop.
    """
    with tempfile.TemporaryDirectory() as home:
        workspace = dataclasses.replace(read_workspace(demo_workspace(Path(home))), version=1)
    topology = read_topology("fused")
    records = shop_records(events, topology.partitions)
    seen = _Seen()
    whole = _plan(topology, "prepare", workspace, seen)
    chains: list[tuple[tuple[str, Step], ...]] = [(("nothing", _nothing),), *(whole.steps[: count + 1] for count in range(len(whole.steps)))]
    runs = [(dataclasses.replace(whole, steps=chain), records) for chain in chains]
    for name in _HOPS:
        runs.append((hop := _plan(read_topology("default"), name, workspace, seen), records))
        seen.forget()
        judge(records, hop, judged := Judged(), at_ms=AT_MS)
        written = enumerate(judged.outputs)
        records = [Record("demo", 0, offset, AT_MS + offset, output.key, output.value, output.headers) for offset, output in written]
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)  # as the processes do
    least = [float("inf")] * len(runs)
    for _ in range(rounds):
        least = [min(before, _cpu_seconds(inputs, plan, seen) / len(inputs)) for before, (plan, inputs) in zip(least, runs, strict=True)]
    costs = [seconds * 1e6 for seconds in least]
    parts = {name: after - before for (name, _), before, after in zip(whole.steps, costs, costs[1:], strict=False)}
    hops = {f"hop {name}": cost for name, cost in zip(_HOPS, costs[-len(_HOPS) :], strict=True)}
    return {"read and write": costs[0], **parts, "together": costs[len(whole.steps)], **hops}


def _plan(topology: Topology, name: str, workspace: Workspace, seen: _Seen) -> Plan:
    processor = topology.processors[name]
    made = dict(build_steps(processor, "", workspace, Judges(topology, call_schemas(), lambda text: text)))
    made["dedup"] = create_dedup(seen.seen)
    steps = tuple((step, made[step]) for step in processor.steps)
    return Plan("demo", 1, steps, processor.lanes, trusted=processor.input != "raw")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_000, help="events of a round")
    parser.add_argument("--rounds", type=int, default=25, help="rounds, of which the least counts")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    costs = measure(arguments.events, arguments.rounds)
    if arguments.json:
        figures = {"benchmark": "hot_path", "cpu_us": {name: round(cost, 2) for name, cost in costs.items()}, "budget_us_with_kafka": BUDGET}
        print(orjson.dumps(figures).decode())
        return
    for name, cost in costs.items():
        print(f"{name:15} {cost:6.2f} CPU µs an event")
    print(f"budget {BUDGET:g} with Kafka")


if __name__ == "__main__":
    main()
