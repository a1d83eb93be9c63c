"""Where the collector's CPU time goes, by place, in µs an event: single events over 256 connections, and batches of 100 over 16.

Run: `python -m benchmarks.ingest_profile [--seconds 8] [--json]`. py-spy looks at the process 250 times a second while oha sends. Each look
counts for the innermost place of its stack, down to the libraries in C, so that the places add up to the whole: the process's CPU time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop

from benchmarks import generator
from benchmarks.cluster import Running, cluster, running, seconds_of
from benchmarks.ingest import BATCH, READY_SECONDS, Kind, load_of, write_bodies
from pipeline.app.local.tether import tethered

MISSING: Final = "not run: py-spy, the profiler, is not on this machine; `pip install py-spy` brings it"
SHAPES: Final = ((Kind(1, keep_alive=True, compressed=False), 256), (Kind(BATCH, keep_alive=True, compressed=False), 16))
LOOKS_A_SECOND: Final = 250
LOOP: Final = "event loop, reading sockets"
PLACES: Final = {
    "read JSON (gzip, doubled keys, values counted)": ("ingest/body.py", "ingest/slices.py"),
    "authenticate": ("ingest/write_keys.py", "ingest/credentials.py", "ingest/oauth.py", "collector/tokens.py"),
    "judge (type, ids, size, depth)": ("ingest/judgement.py",),
    "spell records (value, headers, key)": ("ingest/records.py", "ingest/completion.py", "model/addresses.py"),
    "decide: the rest": ("pipeline/ingest/",),
    "rates": ("collector/limits.py",),
    "metrics": ("collector/counts.py", "runtime/metrics/", "runtime/loop_turns.py"),
    "compress": ("snappy_encode",),
    "producer (batches, CRC, request, answer)": ("runtime/brokers/", "aiokafka/"),
    "gather and tell (outbox)": ("collector/outbox.py",),
    "answer": ("Connection.respond (", "Connection._answered (", "rendered ("),
    "HTTP": ("collector/connection.py", "collector/http.py", "collector/bodies.py", "parser.c", "llhttp.c"),
    "from HTTP to the decision and back": ("collector/requests.py",),
}
"""Places by what their frames have in common; a frame belongs to the first that fits."""


def place_of(stack: str) -> str:
    """Name the place of a stack.

    Args:
        stack: Its frames, the outermost first, with semicolons between them.

    Returns:
        The place of the innermost frame that has one.
    """
    for frame in reversed(stack.split(";")):
        for place, marks in PLACES.items():
            if any(mark in frame for mark in marks):
                return place
    return LOOP


def shares(lines: Iterable[str]) -> dict[str, float]:
    """Add up looks by place.

    Args:
        lines: What py-spy writes in its raw form: a stack and how often it was seen.

    Returns:
        The share of each place, of 1 in all.
    """
    counts = Counter(dict.fromkeys((*PLACES, LOOP), 0))
    for line in lines:
        stack, _, count = line.rpartition(" ")
        counts[place_of(stack)] += int(count)
    return {place: count / counts.total() for place, count in counts.items()}


async def _profiled(collector: Running, kind: Kind, connections: int, files: dict[tuple[int, bool], Path], seconds: int) -> dict[str, Any]:
    load = load_of(kind, files, connections, seconds)
    await generator.generate(load._replace(seconds=2.0), collector.port)
    looks = files[kind.batch, False].with_suffix(".looks")
    spying = [
        shutil.which("py-spy") or "py-spy",
        "record",
        "--pid",
        str(collector.process.pid),
        "--native",
        "--format",
        "raw",
        "--rate",
        str(LOOKS_A_SECOND),
    ]
    before = seconds_of(collector.process.pid)
    spy = await asyncio.create_subprocess_exec(
        *tethered([*spying, "--duration", str(seconds), "--output", str(looks)], os.getpid()),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    came = await generator.generate(load, collector.port)
    whole = (seconds_of(collector.process.pid) - before) / (came.stored * kind.batch) * 1e6
    if await spy.wait():
        raise RuntimeError(f"py-spy ended with status {spy.returncode}")
    found = shares(looks.read_text(encoding="utf-8").splitlines())
    places = {place: round(share * whole, 2) for place, share in found.items()}
    return {"kind": kind.label, "connections": connections, "cpu_us": round(whole, 2), "places": places}


async def measure(seconds: int) -> list[dict[str, Any]]:
    """Profile each shape.

    Args:
        seconds: Of each.
    """
    async with cluster() as bare:
        files = write_bodies(bare.home)
        ready = await bare.publish(bare.workspace, 4, "fused")
        async with running(ready, "fused", ["collector"], "collector") as collector:
            async with asyncio.timeout(READY_SECONDS):
                while not await collector.is_ready():  # noqa: ASYNC110 (another process tells nobody)
                    await asyncio.sleep(0.2)
            return [await _profiled(collector, kind, connections, files, seconds) for kind, connections in SHAPES]


def main() -> None:
    """Profile and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=8, help="of each kind of request")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if generator.program() is None:
        sys.exit(generator.MISSING)
    if shutil.which("py-spy") is None:
        sys.exit(MISSING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measure(arguments.seconds))
    if arguments.json:
        print(orjson.dumps(found).decode())
        return
    for one in found:
        print(f"{one['kind']}, {one['connections']} connections: {one['cpu_us']:.1f} µs CPU an event")
        for place, cost in sorted(one["places"].items(), key=lambda item: -item[1]):
            print(f"  {place:50} {cost:6.2f}")


if __name__ == "__main__":
    main()
