"""oha, a compiled HTTP load generator, as a child process: what it costs does not count, and it keeps a rate whatever the answers take."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from pipeline.app.local.tether import tethered

MISSING: Final = "not run: oha, the load generator, is not on this machine; `cargo install oha` brings it"


class Load(NamedTuple):
    """One run of the generator.

    Attributes:
        path: Path of the endpoint.
        bodies: File with one request body a line, of which it takes any; or one whole body, where it is compressed.
        connections: How many at once.
        seconds: How long new requests are begun; those under way are waited for.
        keep_alive: Whether a connection serves more than one request.
        compressed: Whether `bodies` is gzip.
        rate: Requests a second, begun on time whatever the answers take; None for as many as are answered.
    """

    path: str
    bodies: Path
    connections: int
    seconds: float
    keep_alive: bool = True
    compressed: bool = False
    rate: float | None = None


class Answers(NamedTuple):
    """What came back.

    Attributes:
        stored: How many with status 200.
        others: How many by another status or error.
        p50_ms: Half of the answers took no longer, in milliseconds from when they were due.
        p99_ms: 99 of 100 took no longer.
    """

    stored: int
    others: dict[str, int]
    p50_ms: float
    p99_ms: float


def command(load: Load, port: int) -> list[str]:
    """Give the generator's command line.

    Args:
        load: The run.
        port: Port of the collector on this machine.

    Returns:
        The command line.
    """
    line = ["oha", "--no-tui", "--output-format", "json", "-z", f"{load.seconds:g}s", "-w", "-c", str(load.connections), "-m", "POST"]
    line += ["-T", "application/json", "-a", "demo:", "-D" if load.compressed else "-Z", str(load.bodies)]
    line += ["-H", "content-encoding: gzip"] if load.compressed else []
    line += [] if load.keep_alive else ["--disable-keepalive"]
    line += [] if load.rate is None else ["-q", f"{load.rate:g}", "--latency-correction"]
    return [*line, f"http://127.0.0.1:{port}{load.path}"]


def answers(text: bytes) -> Answers:
    """Read the generator's report.

    Args:
        text: Its JSON.

    Returns:
        The answers.
    """
    found: dict[str, Any] = orjson.loads(text)
    statuses, errors = found["statusCodeDistribution"], found["errorDistribution"]
    others = {name: count for name, count in {**statuses, **errors}.items() if name != "200" and "deadline" not in name}
    percentiles = found["latencyPercentiles"]
    return Answers(statuses.get("200", 0), others, (percentiles["p50"] or 0) * 1000, (percentiles["p99"] or 0) * 1000)


def program() -> str | None:
    """Find the generator: on the path, or where cargo puts it."""
    return shutil.which("oha") or shutil.which("oha", path=Path.home() / ".cargo" / "bin")


def generator_version() -> str:
    """Name the generator and its version."""
    return subprocess.run([program() or "oha", "--version"], capture_output=True, text=True, check=True).stdout.strip()


async def generate(load: Load, port: int) -> Answers:
    """Send a load.

    Args:
        load: The run.
        port: Port of the collector on this machine.

    Returns:
        The answers.

    Raises:
        RuntimeError: The generator failed; with what it said.
    """
    line = [program() or "oha", *command(load, port)[1:]]
    process = await asyncio.create_subprocess_exec(*tethered(line, os.getpid()), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    out, error = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"oha ended with status {process.returncode}: {error.decode()[-1000:]}")
    return answers(out)
