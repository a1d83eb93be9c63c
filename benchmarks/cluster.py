"""A broker of its own for a benchmark: topics, a published workspace, input in `raw`, and processors as the processes that they are."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import orjson
import psutil

from pipeline.app.declared import read_topology, read_workspace
from pipeline.app.demo_workspace import demo_workspace
from pipeline.app.local.kafka import LocalKafka, free_port
from pipeline.app.local.tether import tethered
from pipeline.declaration import config_records
from pipeline.demo import shop_events
from pipeline.model import ids
from pipeline.model.record import Output
from pipeline.model.topics import Declared, declared_topics, topic_name
from pipeline.model.workspace import Workspace
from pipeline.ports.broker import BrokerError
from pipeline.runtime.brokers.kafka import KafkaBroker

BATCH: Final = 2_000
"""Records that the filler hands to the producer at once."""
DIFFERENT: Final = 20_000
"""Events that the shop makes; the same ones come again under new message ids."""
AT_MS: Final = 1_700_000_000_000
LOOK_SECONDS: Final = 0.5
CREATE_SECONDS: Final = 120.0
"""How long the broker may take to make the partitions of a workspace: thousands for 200 destinations."""
PATIENCE_SECONDS: Final = 600.0


class Cluster(NamedTuple):
    """A running broker with a published workspace.

    Attributes:
        broker: Client of it.
        pid: Its process.
        home: Folder of state.
        workspace: What is declared.
    """

    broker: KafkaBroker
    pid: int
    home: Path
    workspace: Workspace

    @property
    def prefix(self) -> str:
        """The workspace's name."""
        return self.workspace.name

    async def publish(self, workspace: Workspace, partitions: int, topology: str) -> Cluster:
        """Declare a workspace: its topics, and it as version 1.

        Args:
            workspace: What to declare.
            partitions: Of the topics that hold events.
            topology: Name of the topology, whose dedup processors have changelogs.

        Returns:
            The cluster with that workspace.
        """
        processors = read_topology(topology).processors.values()
        dedup = [one.name for one in processors if "dedup" in one.steps]
        topics = declared_topics(
            workspace.name, destinations=workspace.destinations, storages=workspace.storage, dedup_processors=dedup, partitions=partitions
        )
        await self.broker.admin().create(replace_retention(topics))
        producer = self.broker.producer()
        topic = topic_name(workspace.name, "config")
        records = [Output(topic, key, value, partition=0) for key, value in config_records(workspace, 1, at_ms=AT_MS)]
        deadline = asyncio.get_running_loop().time() + CREATE_SECONDS
        while True:
            try:
                await producer.send(records)
                break
            except BrokerError:  # it leads no partition before it has made the folders of all
                if asyncio.get_running_loop().time() > deadline:
                    raise
        await producer.stop()
        return self._replace(workspace=workspace)

    async def fill(self, events: Iterator[bytes], headers: tuple[tuple[str, bytes], ...] = (("source", b"web"),), topic: str = "raw") -> int:
        """Write events under their keys, as the collector does.

        Returns:
            How many.
        """
        producer = self.broker.producer()
        name = topic_name(self.prefix, topic)
        count = 0
        while values := list(islice(events, BATCH)):
            await producer.send([Output(name, ids.event_key(orjson.loads(value)), value, headers) for value in values])
            count += len(values)
        await producer.stop()
        return count


def replace_retention(topics: Iterator[Declared]) -> list[Declared]:
    """Keep everything: a run is shorter than any retention, and a cap on bytes would take input away."""
    return [topic._replace(settings={**topic.settings, "retention.bytes": "-1"}) for topic in topics]


@asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    """Start a broker in a temporary folder, and stop it."""
    with TemporaryDirectory(prefix="headrace-bench-") as folder:
        home = Path(folder)
        kafka = LocalKafka(home, free_port())
        await kafka.start(lambda _text: None)
        try:
            workspace = replace(read_workspace(demo_workspace(home)), version=1)
            yield Cluster(KafkaBroker(kafka.bootstrap, "benchmark"), kafka.pid or 0, home, workspace)
        finally:
            await kafka.stop()


def shop_bodies(count: int, size: int = 0) -> Iterator[bytes]:
    """Give events of the demo shop, each about 1 KB.

    Args:
        count: How many.
        size: Bytes that each is filled up to by a property, or 0.

    Yields:
        JSON with a key among its ids.
    """
    keyed = (call.body for call in shop_events(1, AT_MS, 50.0) if call.kind == "normal" and ids.event_key(call.body) is not None)
    some = list(islice(keyed, min(count, DIFFERENT)))
    for number in range(count):
        body = some[number % DIFFERENT]
        value = orjson.dumps({**body, "messageId": f"{body['messageId'][:-8]}{number:08x}"})
        if len(value) < size:
            name = "properties" if body["type"] in {"track", "page", "screen"} else "traits"
            text = ("lorem ipsum dolor sit amet " * (size // 27 + 1))[: size - len(value)]
            pieces = {f"text_{index}": text[index : index + 200] for index in range(0, len(text), 200)}
            value = orjson.dumps({**orjson.loads(value), name: {**(body.get(name) or {}), **pieces}})
        yield value


class Usage(NamedTuple):
    """What a process has used so far.

    Attributes:
        seconds: CPU time.
        records: Records that it has taken.
        transactions: Transactions that it has committed.
        rows: Rows that it has committed to a lake.
        requests: Requests that it has written for deliver.
        rss: Memory in bytes.
        wall: Wall clock in seconds.
        sockets: Connections.
        turns: Turns of its event loop above 0.1 ms of CPU, by the upper bound in seconds of what they took.
    """

    seconds: float
    records: int
    transactions: int
    rows: int
    requests: int
    rss: int
    wall: float
    sockets: int
    turns: Mapping[float, int]


class Running:
    """A process of the product that a benchmark has started.

    Args:
        process: The process.
        port: Port of its metrics.
        log: What it writes.
    """

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self.process = process
        self._log = log
        self.port = port
        self._psutil = psutil.Process(process.pid)

    async def usage(self) -> Usage:
        """Read what it has used; counts 0 records before its metrics answer.

        Raises:
            RuntimeError: It has ended; with its last words.
        """
        if self.process.returncode is not None:
            raise RuntimeError(f"a process ended with status {self.process.returncode}: {self.last_words()}")
        text = await asyncio.to_thread(_get, f"http://127.0.0.1:{self.port}/metrics")
        records = _sum(text, r"^headrace_records_in_total\{.*\} (\S+)$")
        transactions = _sum(text, r'^headrace_transactions_total\{.*outcome="committed".*\} (\S+)$')
        rows = _sum(text, r"^headrace_lake_rows_total\{.*\} (\S+)$")
        requests = _sum(text, r'^headrace_records_out_total\{.*lane="requests".*\} (\S+)$')
        loop = asyncio.get_running_loop()
        rss, sockets = self._psutil.memory_info().rss, len(self._psutil.net_connections())
        return Usage(seconds_of(self._psutil.pid), records, transactions, rows, requests, rss, loop.time(), sockets, _turns(text))

    def last_words(self) -> str:
        """Give the end of its log."""
        return self._log.read_text(encoding="utf-8")[-1500:]

    async def is_ready(self) -> bool:
        """Say whether it takes records, or requests."""
        return bool(await asyncio.to_thread(_get, f"http://127.0.0.1:{self.port}/health/ready"))

    async def until(self, records: int) -> Usage:
        """Wait until it has taken so many records.

        Raises:
            RuntimeError: It ended, or came no further in ten minutes.
        """
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while (usage := await self.usage()).records < records:
            if self.process.returncode is not None or asyncio.get_running_loop().time() > deadline:
                raise RuntimeError(f"the process took {usage.records} of {records} records and then no more (status {self.process.returncode})")
            await asyncio.sleep(LOOK_SECONDS)
        return usage

    async def stop(self) -> None:
        """End it in order."""
        if self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()


@asynccontextmanager
async def running(
    cluster: Cluster, topology: str, processors: Sequence[str], name: str, environment: Mapping[str, str] | None = None, wrap: Sequence[str] = ()
) -> AsyncIterator[Running]:
    """Run processors in a process of their own, as `headrace run` does.

    Args:
        cluster: Where.
        topology: Name or path of the topology.
        processors: Their names.
        name: Name of the process.
        environment: Its environment; this process's own unless given.
        wrap: Command that the process is started by, such as a profiler.

    Yields:
        The process.
    """
    port = free_port()
    arguments = ("-m", "pipeline.app.cli", "run", *processors, "--topology", topology, "--bootstrap", cluster.broker.bootstrap)
    more = ("--prefix", cluster.prefix, "--name", name, "--home", str(cluster.home), "--port", str(port))
    log = (cluster.home / f"{name}.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        *tethered([*wrap, sys.executable, *arguments, *more], os.getpid()),
        stdout=log,
        stderr=log,
        env=dict(environment) if environment is not None else None,
    )
    log.close()
    one = Running(process, port, cluster.home / f"{name}.log")
    try:
        yield one
    finally:
        await one.stop()


def _get(address: str) -> str:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 (loopback, our own process)
            text: str = answer.read().decode()
            return text
    except OSError:
        return ""


def _turns(text: str) -> dict[float, int]:
    below = re.findall(r'^headrace_loop_turn_cpu_seconds_bucket\{.*le="(.+?)".*\} (\S+)$', text, re.MULTILINE)
    turns, before = {}, 0
    for bound, count in below:
        turns[float(bound)] = int(float(count)) - before
        before = int(float(count))
    return turns


def turns_between(before: Sequence[Usage], after: Sequence[Usage]) -> dict[str, float]:
    """Say how long turns of event loops were between two readings of some processes.

    Args:
        before: The first readings.
        after: The second ones, in the same order.

    Returns:
        Upper bounds in milliseconds of the longest turn and of 999 in 1,000, and how many there were above 0.1 ms.
    """
    counts: Counter[float] = Counter()
    for early, late in zip(before, after, strict=True):
        counts.update({bound: count - early.turns.get(bound, 0) for bound, count in late.turns.items()})
    bounds = [bound for bound, count in sorted(counts.items()) for _ in range(count)]
    if not bounds:
        return {"turns": 0, "turn_p999_ms": 0.0, "turn_longest_ms": 0.0}
    return {"turns": len(bounds), "turn_p999_ms": bounds[int(len(bounds) * 0.999)] * 1000, "turn_longest_ms": bounds[-1] * 1000}


def _sum(text: str, pattern: str) -> int:
    return int(sum(float(value) for value in re.findall(pattern, text, re.MULTILINE)))


def seconds_of(pid: int) -> float:
    """Read the CPU time that a process has used, in seconds."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def rounded(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Round what a report shows."""
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in figures.items()}
