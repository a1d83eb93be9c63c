"""One partition of messages on a real broker, the member that lets each through once, and its state."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import orjson
from aiokafka import AIOKafkaProducer

from pipeline.dedup import create_dedup
from pipeline.model.record import Output, TopicPartition
from pipeline.model.topics import Declared
from pipeline.ports.broker import Committed, Membership, Position, Transactions, Uncertain
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.dedup_state import WINDOW_MS, DedupState
from pipeline.runtime.judgement import Plan
from pipeline.runtime.metrics.memory import MemoryMetrics
from pipeline.runtime.partitions import PartitionHost
from pipeline.runtime.step_worker import StepWorker
from pipeline.runtime.stores.sorted_runs import SortedRunsStore
from tests.faults.member import FixedPlan

AT_MS: Final = 1_767_225_600_000
"""Broker time of the first messages."""
ROOMY: Final = 1_000_000


class _FailingOnce:
    """Transactions of which the first commit is given up before anything of it is sent."""

    def __init__(self, inner: Transactions, failures: list[str]) -> None:
        self._inner = inner
        self._failures = failures

    async def start(self) -> None:
        """Fence."""
        await self._inner.start()

    async def commit(self, outputs: Sequence[Output], positions: Mapping[TopicPartition, Position], group: str) -> Committed:
        """Commit, or fail as often as failures are left."""
        if self._failures:
            raise Uncertain(self._failures.pop())
        return await self._inner.commit(outputs, positions, group)

    async def stop(self) -> None:
        """Stop."""
        await self._inner.stop()


class DedupBench:
    """One partition of messages, the member that lets each through once, and its state.

    Attributes:
        failures: Reasons for which the next commits fail.
        metrics: What the member said.
        build: Name of the broken build that runs on it, or empty.
    """

    def __init__(self, bootstrap: str, prefix: str, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.broker = KafkaBroker(bootstrap)
        self.prefix = prefix
        self.folder = folder
        self.failures: list[str] = []
        self.metrics = MemoryMetrics()
        self.changelog = TopicPartition(f"{prefix}.once.dedup.changelog", 0)
        self.build = ""
        self._sent = 0

    @classmethod
    async def made(cls, bootstrap: str, prefix: str, folder: Path, build: str) -> Self:
        """Make a bench with its topics."""
        bench = cls(bootstrap, prefix, folder)
        bench.build = build
        await bench.create()
        return bench

    async def create(self) -> None:
        """Create the topics; the input takes the times that it is given, so that the window can be tried to the second."""
        names = [f"{self.prefix}.{name}" for name in ("main", "ledger", "dead.dedup")]
        log = {"message.timestamp.type": "LogAppendTime"}
        given = {"message.timestamp.type": "CreateTime", "retention.ms": "-1"}  # by their times the messages have long expired
        await self.broker.admin().create(
            [Declared(f"{self.prefix}.input", 1, given), *(Declared(name, 1, log) for name in (*names, self.changelog.topic))]
        )

    async def send(self, ids: Iterable[str], *, at_ms: int = AT_MS, source: str = "web", connections: int = 1) -> None:
        """Write one message for each id, from several connections in turn."""
        producers = [AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", linger_ms=5) for _ in range(connections)]
        for producer in producers:
            await producer.start()
        sends = []
        for number, message_id in enumerate(ids):
            body = orjson.dumps({"type": "track", "event": "Load", "messageId": message_id})
            producer = producers[number % connections]
            sends.append(
                await producer.send(f"{self.prefix}.input", body, key=b"k", partition=0, timestamp_ms=at_ms, headers=[("source", source.encode())])
            )
        await asyncio.gather(*sends)
        for producer in producers:
            await producer.stop()
        self._sent += len(sends)

    def _worker(self, partition: TopicPartition, membership: Membership, window_ms: int, max_ids: int) -> StepWorker:
        dedup = DedupState(
            self.changelog,
            processor="once",
            open_store=lambda: SortedRunsStore(self.folder, max_ids),
            broker=self.broker,
            clock=SystemClock(),
            metrics=self.metrics,
            window_ms=window_ms,
        )
        plan = Plan(self.prefix, 1, (("dedup", create_dedup(dedup.seen)),), {"main": "main", "dead": "dead.{stage}"}, trusted=True)
        return StepWorker(
            partition,
            processor="once",
            group=f"{self.prefix}.once",
            prefix=self.prefix,
            transactions=_FailingOnce(self.broker.transactions(f"{self.prefix}.once-0", membership), self.failures),
            plans=FixedPlan(plan),
            state=dedup,
            clock=SystemClock(),
            metrics=self.metrics,
        )

    async def work(self, *, window_ms: int = WINDOW_MS, max_ids: int = ROOMY) -> None:
        """Run a member until everything that was sent has come to its end, then stop it."""
        host = PartitionHost(
            self.broker,
            group=f"{self.prefix}.once",
            topics=[f"{self.prefix}.input"],
            make_worker=lambda partition, membership: self._worker(partition, membership, window_ms, max_ids),
        )
        task = asyncio.create_task(host.run())
        try:
            async with asyncio.timeout(60):
                while await self._ended() < self._sent and not task.done():  # noqa: ASYNC110 (it asks the broker)
                    await asyncio.sleep(0.2)
        finally:
            host.stop()
            await task

    async def _ended(self) -> int:
        ended = 0
        async for records in self.broker.reader().read(f"{self.prefix}.ledger"):
            ended += sum(orjson.loads(record.value or b"{}")["in"] for record in records)
        return ended

    async def passed(self) -> Counter[tuple[str, str]]:
        """Count what was let through, by source and message id."""
        found: Counter[tuple[str, str]] = Counter()
        async for records in self.broker.reader().read(f"{self.prefix}.main"):
            found.update((dict(record.headers)["source"].decode(), orjson.loads(record.value or b"")["messageId"]) for record in records)
        return found

    def metric(self, name: str) -> float:
        """Give a gauge of the member."""
        return self.metrics.values[name, ("once", "0")]

    def rebuilds(self, cause: str) -> float:
        """Count the stores that were refused."""
        return self.metrics.sums["headrace_dedup_rebuilds_total", ("once", cause)]


def messages(first: int, end: int) -> list[str]:
    """Name messages."""
    return [f"m-{number}" for number in range(first, end)]
