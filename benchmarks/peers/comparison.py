"""What a comparison with another engine needs: the same facts on both sides, our own run, and outputs compared event by event."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
import psutil

from benchmarks.cluster import Cluster, rounded, running, seconds_of
from pipeline.app.local.tether import tethered
from pipeline.enrich import create_enrich
from pipeline.model import headers as names
from pipeline.model.topics import Declared, topic_name

WARM: Final = 0.5
"""Part of the input before the first reading: a JVM gets faster for a while."""
LOOK_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 600.0
COMMIT_SECONDS: Final = 2.0
"""How long a peer is left running after its last record, for its last commit."""
COMPARED: Final = frozenset({names.SOURCE, names.RECEIVED_AT, names.ROUTES, names.CONFIG})
"""Headers that every side writes."""


class NotRunError(Exception):
    """The peer cannot run on this machine; the message says why."""


class Given(NamedTuple):
    """What every peer gets.

    Attributes:
        cluster: The cluster, whose topic `raw` holds the input.
        records: How many it holds.
        agents: What each user agent says: looked up by value, so that nobody parses one while measured.
        routes: Value of the header `routes`.
    """

    cluster: Cluster
    records: int
    agents: dict[str, Any]
    routes: str

    @property
    def input(self) -> str:
        """Name of the input topic."""
        return topic_name(self.cluster.prefix, "raw")

    async def output(self, name: str) -> str:
        """Create a topic for what a peer writes, and give its name."""
        topic = topic_name(self.cluster.prefix, name)
        settings = {"message.timestamp.type": "LogAppendTime", "retention.bytes": "-1"}
        await self.cluster.broker.admin().create([Declared(topic, 4, settings)])
        return topic


def agents_of(bodies: Sequence[bytes]) -> dict[str, Any]:
    """Say what the user agents of some events say.

    Args:
        bodies: The events.

    Returns:
        Groups of `context` by user agent.
    """
    enrich = create_enrich(("bot", "user_agent"), {})
    agents: dict[str, Any] = {}
    for body in bodies:
        agent = (orjson.loads(body).get("context") or {}).get("userAgent")
        if agent and agent not in agents:
            event: dict[str, Any] = {"context": {"userAgent": agent}}
            enrich(event)
            agents[agent] = {name: group for name, group in event["context"].items() if name != "userAgent"}
    return agents


async def run_ours(given: Given) -> dict[str, Any]:
    """Run our fused processor over the input.

    Args:
        given: The input.

    Returns:
        CPU for each event of the second half, and memory.
    """
    async with running(given.cluster, "fused", ["prepare"], "prepare") as process:
        before = await process.until(int(given.records * WARM))
        after = await process.until(given.records)
    events = after.records - before.records
    return rounded({"events": events, "cpu_us": (after.seconds - before.seconds) / events * 1e6, "rss_mb": after.rss / 1e6})


async def run_peer(command: Sequence[str], count: int, log: Path, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a peer that prints how many records it has taken.

    Args:
        command: Its command line.
        count: Records of the input.
        log: File for what it prints.
        environment: Its environment; this process's own unless given.

    Returns:
        CPU for each event of the second half, and memory.

    Raises:
        RuntimeError: It came no further.
    """
    async with _process(command, log, environment) as process:
        first = await _until(process, log, int(count * WARM))
        before = seconds_of(process.pid)
        last = await _until(process, log, count)
        after = seconds_of(process.pid)
        rss = psutil.Process(process.pid).memory_info().rss
        await asyncio.sleep(COMMIT_SECONDS)
    return rounded({"events": last - first, "cpu_us": (after - before) / (last - first) * 1e6, "rss_mb": rss / 1e6})


@asynccontextmanager
async def _process(command: Sequence[str], log: Path, environment: Mapping[str, str] | None) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("wb") as output:
        line = tethered(list(command), os.getpid())
        own = {**os.environ, **(environment or {})}
        process = await asyncio.create_subprocess_exec(*line, stdout=output, stderr=output, env=own)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 20)
        except TimeoutError:
            process.kill()
            await process.wait()


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


async def _until(process: asyncio.subprocess.Process, log: Path, count: int) -> int:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_SECONDS
    while True:
        text = _text(log)
        numbers = [line for line in text.splitlines() if line.isdigit()]
        taken = int(numbers[-1]) if numbers else 0
        if taken >= count:
            return taken
        if loop.time() > deadline or process.returncode is not None:
            raise RuntimeError(f"the peer took {taken} of {count} records and then no more:\n{text[-2000:]}")
        await asyncio.sleep(LOOK_SECONDS)


async def outcome(cluster: Cluster, topic: str) -> dict[str, tuple[Any, Mapping[str, bytes]]]:
    """Read what a side wrote.

    Args:
        cluster: The cluster.
        topic: Where it wrote.

    Returns:
        Each event's body and compared headers, by message id.

    Raises:
        RuntimeError: An event is there twice.
    """
    found: dict[str, tuple[Any, Mapping[str, bytes]]] = {}
    async for records in cluster.broker.reader().read(topic):
        for record in records:
            body = orjson.loads(record.value or b"null")
            kept = {name: value for name, value in record.headers if name in COMPARED}
            if body["messageId"] in found:
                raise RuntimeError(f"{topic} holds {body['messageId']} twice")
            found[body["messageId"]] = (body, kept)
    return found


def require_equal(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> int:
    """Compare two outcomes.

    Returns:
        How many events were compared.

    Raises:
        RuntimeError: They differ: there is no ratio between different work.
    """
    differing = [identity for identity in mine.keys() | theirs.keys() if mine.get(identity) != theirs.get(identity)]
    if differing:
        one = differing[0]
        raise RuntimeError(f"{len(differing)} of {len(mine)} events differ, such as:\nours  {mine.get(one)}\ntheirs {theirs.get(one)}")
    return len(mine)
