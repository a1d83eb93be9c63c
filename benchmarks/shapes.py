"""What an event costs when it is larger, when partitions, processes, schemas or destinations are more: one broker, one shape after the other.

Run: `python -m benchmarks.shapes [--json] [--only TEXT]`. Each shape has a workspace, topics and input of its own. An event goes to three
destinations where there are as many. From 1 destination to 200 the CPU of an event may at most double.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson
import uvloop

from benchmarks.cluster import Cluster, cluster
from benchmarks.figures import ALONE, AMONG, SHAPE
from benchmarks.processors import Shape, measure_on

PREPARE: Final = ("prepare",)
ROUTED: Final = ("prepare", "translate")
SENT: Final = ("prepare", "translate", "deliver")
"""Stages of which the last is measured: the others only feed it."""
SHAPES: Final[Mapping[str, Shape]] = {
    SHAPE: Shape(stages=PREPARE),
    "10 KB": Shape(size=10_240, stages=PREPARE),
    "1 partition": Shape(partitions=1, stages=PREPARE),
    "16 partitions": Shape(partitions=16, stages=PREPARE),
    "2 processes": Shape(processes=2, stages=PREPARE),
    "4 processes": Shape(processes=4, stages=PREPARE),
    "1 schema": Shape(schemas=1, stages=PREPARE),
    "100 schemas": Shape(schemas=100, stages=PREPARE),
    "1,000 schemas": Shape(schemas=1_000, stages=PREPARE),
    "1 destination": Shape(destinations=1, stages=ROUTED),
    "20 destinations, 3 routes": Shape(destinations=20, stages=ROUTED),
    "200 destinations, 3 routes": Shape(destinations=200, stages=ROUTED),
    ALONE: Shape(destinations=1, stages=SENT),
    AMONG: Shape(destinations=200, stages=SENT),
}
"""By label; the last ones leave thousands of topics on the broker, and so come last."""
LARGE_PART: Final = 0.4
"""Part of the events that the shape of 10 KB has: they weigh ten times as much."""


async def _one(bare: Cluster, number: int, shape: Shape) -> list[dict[str, Any]]:
    home = bare.home / f"shape-{number}"
    home.mkdir()
    own = bare._replace(home=home, workspace=replace(bare.workspace, name=f"shape-{number}"))
    return await measure_on(own, shape)


async def measure(events: int, only: str) -> dict[str, Any]:
    """Measure the shapes.

    Args:
        events: How many each has.
        only: Text in the labels of those that are measured.

    Returns:
        The figures of each stage, by label; and why others could not be measured.
    """
    chosen = {label: shape for label, shape in SHAPES.items() if only in label}
    found: dict[str, list[dict[str, Any]]] = {}
    failed: dict[str, str] = {}
    async with cluster() as bare:
        for number, (label, shape) in enumerate(chosen.items()):
            print(f"  {label} …", file=sys.stderr, flush=True)
            part = LARGE_PART if shape.size else 1.0
            try:
                stages = await _one(bare, number, shape._replace(events=int(events * part)))
            except RuntimeError as error:
                failed[label] = " ".join(str(error).split())[:300]
            else:
                found[label] = stages[-1:] if shape.stages == SENT else stages
    return {"shapes": found, "not_run": failed}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=60_000, help="of each shape")
    parser.add_argument("--only", default="", help="text in the labels of the shapes to measure")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measure(arguments.events, arguments.only))
    if arguments.json:
        print(orjson.dumps(found).decode())
        return
    for label, why in found["not_run"].items():
        print(f"{label}: not measured: {why}")
    for label, stages in found["shapes"].items():
        for figures in stages:
            print(f"{label}: " + ", ".join(f"{name} {value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
