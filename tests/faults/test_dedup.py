"""Dedup on a real broker: lost or spoiled local state, both ends of the window and of its bound, many copies at once (tests T22 to T24)."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition as KafkaTopicPartition

from pipeline.dedup import create_dedup
from pipeline.model.record import Output, TopicPartition
from pipeline.model.topics import Declared
from pipeline.ports.broker import Position, Transactions, Uncertain
from pipeline.runtime import dedup_state
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.dedup_state import WINDOW_MS, DedupState
from pipeline.runtime.judgement import Plan
from pipeline.runtime.metrics.memory import MemoryMetrics
from pipeline.runtime.partitions import PartitionHost
from pipeline.runtime.step_worker import StepWorker
from pipeline.runtime.stores.sorted_runs import SortedRunsStore
from tests.conftest import Kafka
from tests.faults.member import FixedPlan

pytestmark = [pytest.mark.faults, pytest.mark.integration]

COPIES = int(os.environ.get("HEADRACE_FAULT_COPIES", "5000"))
"""How many copies of one message are sent; test T24 is about 100,000."""
AT_MS = 1_767_225_600_000
ROOMY = 1_000_000


class _FailingOnce:
    """Transactions of which the first commit is given up before anything of it is sent."""

    def __init__(self, inner: Transactions, failures: list[str]) -> None:
        self._inner = inner
        self._failures = failures

    async def start(self) -> None:
        """Fence."""
        await self._inner.start()

    async def commit(self, outputs: Sequence[Output], positions: Mapping[TopicPartition, Position], group: str) -> Mapping[TopicPartition, int]:
        """Commit, or fail as often as failures are left."""
        if self._failures:
            raise Uncertain(self._failures.pop())
        return await self._inner.commit(outputs, positions, group)

    async def stop(self) -> None:
        """Stop."""
        await self._inner.stop()


class Bench:
    """One partition of messages, the member that lets each through once, and its state.

    Attributes:
        failures: Reasons for which the next commits fail.
        metrics: What the member said.
    """

    def __init__(self, bootstrap: str, prefix: str, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.broker = KafkaBroker(bootstrap)
        self.prefix = prefix
        self.folder = folder
        self.failures: list[str] = []
        self.metrics = MemoryMetrics()
        self.changelog = TopicPartition(f"{prefix}.once.dedup.changelog", 0)
        self._sent = 0

    async def create(self) -> None:
        """Create the topics; the input takes the times that it is given, so that the window can be tried to the second."""
        names = [f"{self.prefix}.{name}" for name in ("main", "ledger", "dead.dedup")]
        log = {"message.timestamp.type": "LogAppendTime"}
        given = {"message.timestamp.type": "CreateTime"}
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

    def _worker(self, partition: TopicPartition, window_ms: int, max_ids: int) -> StepWorker:
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
            transactions=_FailingOnce(self.broker.transactions(f"{self.prefix}.once-0"), self.failures),
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
            make_worker=lambda partition: self._worker(partition, window_ms, max_ids),
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


@pytest.fixture
async def bench(kafka: Kafka, prefix: str, tmp_path: Path) -> Bench:
    """Give a bench with its topics."""
    made = Bench(kafka.bootstrap, prefix, tmp_path / "state" / "0")
    await made.create()
    return made


def messages(first: int, end: int) -> list[str]:
    """Name messages."""
    return [f"m-{number}" for number in range(first, end)]


def _as_if_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break the build: a store that is refused is read as an empty one."""

    async def broken(self: DedupState, *, resumed: bool) -> None:
        del resumed
        self._store = self._open_store()
        self._store.clear()

    monkeypatch.setattr(DedupState, "restore", broken)


def _deleted(folder: Path) -> None:
    shutil.rmtree(folder)


def _corrupt(folder: Path) -> None:
    segment = next(folder.glob("*.segment"))
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)


def _of_rocksdb(folder: Path) -> None:
    _deleted(folder)
    folder.mkdir()
    (folder / "CURRENT").write_bytes(b"MANIFEST-000005\n")


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize(("damage", "refused"), [(_deleted, 0), (_corrupt, 1), (_of_rocksdb, 1)])
async def test_lost_or_spoiled_state_is_rebuilt_before_the_first_message(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None], refused: int, *, broken: bool
) -> None:
    """Whatever became of the local files, second copies are dropped; a build that reads such files as empty lets them through."""
    await bench.send(messages(0, 2_000))
    await bench.work()
    damage(bench.folder)
    if broken:
        _as_if_empty(monkeypatch)
    await bench.send([*messages(0, 2_000), *messages(2_000, 2_100)])
    await bench.work()
    passed = await bench.passed()
    assert 2_100 == len(passed)
    assert (2 if broken else 1) == max(passed.values())
    if not broken:
        assert refused == bench.rebuilds("damaged")
        assert (86_400, False) == (bench.metric("headrace_dedup_window_seconds"), bench.metric("headrace_dedup_window_short"))


async def test_a_changelog_that_was_cut_is_told(bench: Bench) -> None:
    """A store whose changelog was cut under it cannot be proven: it is refused, and the window is said to be short; nothing new is dropped."""
    await bench.send(messages(0, 1_000))
    await bench.work()
    admin = AIOKafkaAdminClient(bootstrap_servers=bench.bootstrap)
    await admin.start()
    try:
        await admin.delete_records({KafkaTopicPartition(*bench.changelog): RecordsToDelete(-1)})
    finally:
        await admin.close()
    await bench.send([*messages(0, 10), *messages(1_000, 2_000)], at_ms=AT_MS + 60_000)
    await bench.work()
    passed = await bench.passed()
    assert 2_000 == len(passed)
    assert 1 == bench.rebuilds("foreign")
    assert (60, True) == (bench.metric("headrace_dedup_window_seconds"), bench.metric("headrace_dedup_window_short"))


@pytest.mark.parametrize("broken", [False, True])
async def test_a_commit_that_failed_leaves_nothing_in_the_store(bench: Bench, monkeypatch: pytest.MonkeyPatch, *, broken: bool) -> None:
    """Messages of a transaction that was given up pass at the second try; a build that writes the store before the commit drops them."""
    if broken:
        changes = DedupState.changes

        def early(self: DedupState) -> list[Output]:
            assert self._store is not None
            self._store.add(self._overlay, self._store.changelog_offset())
            return changes(self)

        monkeypatch.setattr(DedupState, "changes", early)
    bench.failures.append("given up by the test")
    await bench.send(messages(0, 500))
    await bench.work()
    assert (500 if not broken else 0) == len(await bench.passed())


@pytest.mark.parametrize("broken", [None, True, False])
async def test_both_ends_of_the_window(bench: Bench, monkeypatch: pytest.MonkeyPatch, broken: bool | None) -> None:  # noqa: FBT001 (a parameter)
    """A copy one second before the window's end is dropped, one second after it passes; a build without a window is found out."""
    if broken is not None:
        monkeypatch.setattr(dedup_state, "is_duplicate", lambda *_: broken)
    await bench.send(["early", "late"])
    await bench.send(["early"], at_ms=AT_MS + WINDOW_MS - 1_000)
    await bench.send(["late"], at_ms=AT_MS + WINDOW_MS + 1_000)
    await bench.work()
    passed = await bench.passed()
    right = (1, 2) == (passed["web", "early"], passed["web", "late"])
    assert right == (broken is None)


async def test_at_its_bound_the_oldest_are_forgotten(bench: Bench) -> None:
    """With room for 2,400 of 10,000 unique ids none is dropped; the newest are still known, the oldest are not, and a metric says so."""
    for first in range(0, 10_000, 500):
        await bench.send(messages(first, first + 500), at_ms=AT_MS + first)
    await bench.work(max_ids=2_400)
    assert Counter({("web", one): 1 for one in messages(0, 10_000)}) == await bench.passed()
    assert bench.metric("headrace_dedup_ids") <= 2_400 + 6
    assert bench.metric("headrace_dedup_window_short")
    await bench.send([*messages(9_000, 10_000), *messages(0, 100)], at_ms=AT_MS + 10_000)
    await bench.work(max_ids=2_400)
    passed = await bench.passed()
    assert {1} == {passed["web", one] for one in messages(9_000, 10_000)}
    assert {2} == {passed["web", one] for one in messages(0, 100)}


async def test_many_copies_pass_once_for_each_source(bench: Bench) -> None:
    """Thousands of copies of one message from ten connections pass once; the same id in another source is another message."""
    await asyncio.gather(
        bench.send(["same"] * COPIES, connections=10),
        bench.send(["same"] * (COPIES // 10), source="app", connections=2),
    )
    await bench.work()
    assert Counter({("web", "same"): 1, ("app", "same"): 1}) == await bench.passed()
