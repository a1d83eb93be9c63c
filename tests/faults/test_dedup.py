"""Dedup on a real broker: lost or spoiled local state, both ends of the window and of its bound, many copies at once (tests T22 to T24)."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition as KafkaTopicPartition

from pipeline.runtime.dedup_state import WINDOW_MS
from tests.conftest import Kafka
from tests.faults.broken_dedup import broken_build
from tests.faults.dedup_bench import AT_MS, DedupBench, messages
from tests.faults.laws import Verdict, bounded, no_duplicate
from tests.faults.proof import prove
from tests.faults.report import Row
from tests.faults.tool_laws import alike, arrived

pytestmark = [pytest.mark.faults, pytest.mark.integration]

COPIES = int(os.environ.get("HEADRACE_FAULT_COPIES", "5000"))
"""How many copies of one message are sent; `make faults` sends 100,000."""
FEW_COPIES = 2_000
"""How many to a broken build."""

Proof = Callable[[Callable[[DedupBench], Awaitable[Sequence[Verdict]]], Sequence[str]], Awaitable[None]]
"""Runs what is done to a bench on the product and on broken builds."""


@pytest.fixture
def proof(kafka: Kafka, prefix: str, tmp_path: Path, row: Row) -> Proof:
    """Give what proves the test's row, each trial on a bench of its own."""

    async def run(scenario: Callable[[DedupBench], Awaitable[Sequence[Verdict]]], broken: Sequence[str]) -> None:
        async def on_a_bench(build: str) -> Sequence[Verdict]:
            with broken_build(build):
                folder = tmp_path / (build or "product") / "0"
                return await scenario(await DedupBench.made(kafka.bootstrap, f"{prefix}-{build}", folder, build))

        await prove(row, on_a_bench, broken)

    return run


async def each_once(bench: DedupBench, sent: Sequence[str]) -> list[Verdict]:
    """Hold what was let through to L1 and L2."""
    ids = Counter({message_id: count for (_, message_id), count in (await bench.passed()).items()})
    return [arrived(sent, ids), no_duplicate(ids)]


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


@pytest.mark.fault("T22")
@pytest.mark.parametrize(("damage", "refused"), [(_deleted, 0), (_corrupt, 1), (_of_rocksdb, 1)], ids=["deleted", "corrupt", "of another format"])
async def test_lost_or_spoiled_state_is_rebuilt_before_the_first_message(proof: Proof, damage: Callable[[Path], None], refused: int) -> None:
    """Whatever became of the local files, they are refused and rebuilt before the first message: second copies are dropped."""

    async def scenario(bench: DedupBench) -> Sequence[Verdict]:
        await bench.send(messages(0, 2_000))
        await bench.work()
        if bench.folder.exists():
            damage(bench.folder)
        await bench.send([*messages(0, 2_000), *messages(2_000, 2_100)])
        await bench.work()
        window = (bench.metric("headrace_dedup_window_seconds"), bench.metric("headrace_dedup_window_short"))
        return [
            *await each_once(bench, messages(0, 2_100)),
            alike("stores refused", refused, bench.rebuilds("damaged")),
            alike("window", (86_400, False), window),
        ]

    await proof(scenario, ["read_as_empty"])


@pytest.mark.fault("T22")
async def test_a_changelog_that_was_cut_is_told(proof: Proof) -> None:
    """A store whose changelog was cut under it cannot be proven: it is refused, and the window is said to be short; nothing new is dropped."""

    async def scenario(bench: DedupBench) -> Sequence[Verdict]:
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
        window = (bench.metric("headrace_dedup_window_seconds"), bench.metric("headrace_dedup_window_short"))
        return [
            arrived(messages(0, 2_000), {message_id for _, message_id in await bench.passed()}),
            alike("stores refused", 1, bench.rebuilds("foreign")),
            alike("window", (60, True), window),
        ]

    await proof(scenario, ["trusted_blindly"])


@pytest.mark.fault("T22")
async def test_a_commit_that_failed_leaves_nothing_in_the_store(proof: Proof) -> None:
    """Messages of a transaction that was given up pass at the second try."""

    async def scenario(bench: DedupBench) -> Sequence[Verdict]:
        bench.failures.append("given up by the test")
        await bench.send(messages(0, 500))
        await bench.work()
        return await each_once(bench, messages(0, 500))

    await proof(scenario, ["state_first"])


@pytest.mark.fault("T23")
async def test_both_ends_of_the_window(proof: Proof) -> None:
    """A copy one second before the window's end is dropped, one a second after it passes."""

    async def scenario(bench: DedupBench) -> Sequence[Verdict]:
        await bench.send(["early", "late"])
        await bench.send(["early"], at_ms=AT_MS + WINDOW_MS - 1_000)
        await bench.send(["late"], at_ms=AT_MS + WINDOW_MS + 1_000)
        await bench.work()
        passed = await bench.passed()
        return [
            arrived(["early", "late"], {message_id for _, message_id in passed}),
            alike("copies that passed before the end, and after it", (1, 2), (passed["web", "early"], passed["web", "late"])),
        ]

    await proof(scenario, ["no_window", "window_too_short", "window_too_long", "wall_clock"])


@pytest.mark.fault("T23")
async def test_at_its_bound_the_oldest_are_forgotten(proof: Proof) -> None:
    """With room for 2,400 of 10,000 unique ids none is dropped; the newest are still known, the oldest are not, and a metric says so."""

    async def scenario(bench: DedupBench) -> Sequence[Verdict]:
        for first in range(0, 10_000, 500):
            await bench.send(messages(first, first + 500), at_ms=AT_MS + first)
        await bench.work(max_ids=2_400)
        unique = await each_once(bench, messages(0, 10_000))
        kept, short = bench.metric("headrace_dedup_ids"), bench.metric("headrace_dedup_window_short")
        await bench.send([*messages(9_000, 10_000), *messages(0, 100)], at_ms=AT_MS + 10_000)
        await bench.work(max_ids=2_400)
        passed = await bench.passed()
        again = tuple({passed["web", one] for one in some} for some in (messages(9_000, 10_000), messages(0, 100)))
        return [
            *unique,
            bounded({"ids": kept}, {"ids": 2_400 + 6}),
            alike("the window is said to be short", 1, short),
            alike("times that the newest, and the oldest, have passed", ({1}, {2}), again),
        ]

    await proof(scenario, ["unbounded", "short_names"])


@pytest.mark.fault("T24")
async def test_many_copies_pass_once_for_each_source(proof: Proof, row: Row) -> None:
    """Thousands of copies of one message from 50 connections pass once; the same id in another source is another message."""

    async def scenario(bench: DedupBench) -> Sequence[Verdict]:
        copies = FEW_COPIES if bench.build else COPIES
        await asyncio.gather(
            bench.send(["same"] * copies, connections=40),
            bench.send(["same"] * (copies // 10), source="app", connections=10),
        )
        await bench.work()
        if not bench.build:
            row.figures = f"{copies + copies // 10} copies from 50 connections"
        passed = Counter({f"{source}/{message_id}": count for (source, message_id), count in (await bench.passed()).items()})
        return [arrived(["web/same", "app/same"], passed), no_duplicate(passed)]

    await proof(scenario, ["committed_only", "sourceless"])
