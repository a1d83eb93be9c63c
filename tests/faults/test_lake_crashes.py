"""A lake whose writer is stopped at every step, or has a rival at every step: readers see each offset range once (reliability T44)."""

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from pipeline.app.query import lake_files
from pipeline.lake.manifest import MERGE_RECORDS, ManifestRecord, chain_name
from pipeline.model.record import Output, Record, TopicPartition
from pipeline.ports.broker import BrokerError, Committed, Fenced, Membership, Position, Transactions, Uncertain
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.inbox import Inbox
from pipeline.runtime.lake.chain import MANIFEST, TEMPORARY, Chain
from pipeline.runtime.lake.disk import Disk
from pipeline.runtime.lake.worker import LakeLimits, LakeWorker
from pipeline.runtime.metrics.memory import MemoryMetrics
from tests.faults.report import Row

COMMIT, PUBLISH, TRANSACTIONS = Chain._commit, Chain._publish, MemoryBroker.transactions
PARTITION = TopicPartition("shop.routed", 0)
GROUP = "shop.lake.lake"
EVENTS = 12
STEPS = ("temporary", "write", "make_folder", "rename", "link", "remove", "remove_folder")


class CrashError(Exception):
    """The process ends here."""


class CrashingDisk(Disk):
    """Ends the process at one step, before or after it is done."""

    def __init__(self, number: int = 0, *, after: bool = False, does: Callable[[], None] = lambda: None) -> None:
        self.steps = 0
        self._number = number
        self._after = after
        self._does = does

    def sync(self, path: Path) -> None:
        """Count, but don't wait for the disk: these tests end processes, not machines."""
        assert path.exists()
        self._step(lambda: None)

    def _step(self, work: Callable[[], object]) -> object:
        self.steps += 1
        is_the_one = self.steps == self._number  # a step may be made of others
        if is_the_one and not self._after:
            self._does()
        result = work()
        if is_the_one and self._after:
            self._does()
        return result


def _stepping(name: str) -> Callable[..., object]:
    def method(self: CrashingDisk, *arguments: object) -> object:
        return self._step(lambda: getattr(Disk, name)(self, *arguments))

    return method


for step in STEPS:
    setattr(CrashingDisk, step, _stepping(step))


def _crash() -> None:
    raise CrashError


class CrashingTransactions:
    """Ends the process around the commit of a chosen number."""

    def __init__(self, inner: Transactions, number: int, *, after: bool) -> None:
        self._inner = inner
        self._number = number
        self._after = after
        self._commits = 0

    async def start(self) -> None:
        """Start."""
        await self._inner.start()

    async def commit(self, outputs: Sequence[Output], positions: Mapping[TopicPartition, Position], group: str) -> Committed:
        """Commit, unless the process ends before."""
        self._commits += 1
        if self._commits == self._number and not self._after:
            raise Uncertain("lost before the commit")
        ends = await self._inner.commit(outputs, positions, group)
        if self._commits == self._number:
            raise Uncertain("lost after the commit")
        return ends

    async def stop(self) -> None:
        """Stop."""
        await self._inner.stop()


def _broker(events: int = EVENTS) -> MemoryBroker:
    broker = MemoryBroker(SystemClock())
    broker.create("shop.routed", 1)
    broker.create("shop.ledger", 1)
    broker.create("shop.dead.lake", 1)
    for number in range(events):
        call = ("track", "page")[number % 2]
        body = {"type": call, "messageId": f"m{number}", "event": "Bought", "receivedAt": f"2026-03-14T{9 + number % 3:02d}:00:00.000Z"}
        routes = b"crm" if number % 5 == 4 else b"crm,lake"
        broker.append([Output("shop.routed", None, orjson.dumps(body), (("source", b"web"), ("routes", routes)))])
    return broker


def _worker(broker: MemoryBroker, root: Path, disk: Disk | None = None, transactions: Transactions | None = None) -> LakeWorker:
    return LakeWorker(
        PARTITION,
        storage="lake",
        prefix="shop",
        root=root,
        transactions=transactions or broker.transactions("shop-lake.lake-routed-0"),
        clock=SystemClock(),
        metrics=MemoryMetrics(),
        limits=LakeLimits(seconds=0),
        disk=disk or CrashingDisk(),
    )


async def _work(worker: LakeWorker, broker: MemoryBroker, batch: int) -> None:
    """Let a worker read to the end, a few records at a time; its failure is raised."""
    records = broker.log(PARTITION.topic)[0]
    inbox = Inbox(1 << 20, lambda: None)

    async def committed() -> Position | None:
        return broker.positions(GROUP).get(PARTITION)

    try:
        place = await worker.open(committed, (0, len(records)))
        running = asyncio.create_task(worker.run(inbox))
        try:
            while place < len(records) and not running.done():
                part: list[Record] = records[place : place + batch]
                inbox.put(part)
                place += len(part)
                while broker.positions(GROUP).get(PARTITION, Position(0)).offset < place and not running.done():  # noqa: ASYNC110 (the broker has no event)
                    await asyncio.sleep(0.001)
            if worker._upkeep is not None and not running.done():  # a crash may lie in upkeep too
                await worker._upkeep
        finally:
            inbox.close()
            await running
    finally:
        await worker.close()


def _seen(root: Path) -> list[str]:
    """Ids of all rows in the files that count; the views would hide a doubled one."""
    ids = [name for file in lake_files(root) for name in pq.ParquetFile(root / file.path).read(["id"])["id"].to_pylist()]
    assert len(ids) == len(set(ids))
    return sorted(ids)


def _files_on_disk(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("source=*/**/*.parquet")}


def _check_complete(broker: MemoryBroker, root: Path, events: int = EVENTS) -> None:
    expected = sorted(f"m{number}" for number in range(events) if number % 5 != 4)
    assert _seen(root) == expected
    ledger = [orjson.loads(record.value or b"") for record in broker.log("shop.ledger")[0]]
    by_end = {entry["to"]: entry for entry in ledger}
    ranges = sorted((entry["from"], entry["to"]) for entry in by_end.values())
    assert [start for start, _ in ranges] == [0, *(end for _, end in ranges[:-1])]
    assert ranges[-1][1] == events
    assert sum(entry["in"] for entry in by_end.values()) == events
    assert sum(entry["passed"] for entry in by_end.values()) == len(expected)
    assert len(by_end) == len(ledger)
    assert broker.positions(GROUP)[PARTITION].offset == events


def _listed(root: Path) -> set[str]:
    return {file["path"] for path in (root / MANIFEST).rglob("*.json") for file in orjson.loads(path.read_bytes())["files"]}


def _record_first(self: Chain, folder: Path, record: ManifestRecord) -> None:
    """A broken build: the record that makes files count comes before them."""
    COMMIT(self, folder, record)
    PUBLISH(self, folder, record.files)


def _unfenced(self: MemoryBroker, transactional_id: str, _membership: Membership | None = None) -> Transactions:
    """A broken build: each writer has a transactional id of its own, so that none is fenced."""
    return TRANSACTIONS(self, f"{transactional_id}-{uuid.uuid4().hex}")


def _manifest_ignored(self: LakeWorker, _end: int) -> None:
    """A broken build: the committed offset alone says what is stored."""
    self._chain = Chain(self._root, chain_name(*self._partition, 0), self._disk)


async def _must_fail(row: Row, name: str, work: Coroutine[Any, Any, object]) -> None:
    """Run what must fail on a broken build, and note that it does."""
    row.caught[name] = False
    with pytest.raises((AssertionError, BrokerError, OSError)) as caught:
        await work
    row.caught[name] = True
    print(f"broken build {name}: caught: {caught.type.__name__}: {str(caught.value)[:100]}")


@pytest.mark.fault("T44")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_crash_at_any_step_on_disk_loses_and_doubles_nothing(
    tmp_path: Path, row: Row, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    """Whatever step is the last of a process, readers see whole ranges, and the next process completes the lake and sweeps."""
    row.kills = await _crash_at_each_step(tmp_path, after=after)
    row.events, row.lost, row.doubled = row.kills * EVENTS, 0, 0
    monkeypatch.setattr(Chain, "_publish", lambda *_arguments: None)
    monkeypatch.setattr(Chain, "_commit", _record_first)
    await _must_fail(row, "record_first", _crash_at_each_step(tmp_path / "broken", after=after))


async def _crash_at_each_step(tmp_path: Path, *, after: bool) -> int:
    number = 0
    while True:
        number += 1
        root = tmp_path / f"{number}"
        broker = _broker()
        disk = CrashingDisk(number, after=after, does=_crash)
        try:
            await _work(_worker(broker, root, disk), broker, 5)
        except CrashError:
            assert set(_seen(root)) <= {f"m{event}" for event in range(EVENTS)}
        else:
            break
        await _work(_worker(broker, root), broker, EVENTS)
        await _work(_worker(broker, root), broker, EVENTS)  # what lay at the end is swept once the end has moved on
        _check_swept(root)
        expected = sorted(f"m{event}" for event in range(EVENTS) if event % 5 != 4)
        assert _seen(root) == expected, number
    assert number > 30
    return number - 1


def _check_swept(root: Path) -> None:
    assert _files_on_disk(root) == _listed(root)
    assert [path for path in (root / TEMPORARY).rglob("*") if path.is_file()] == []


@pytest.mark.fault("T44")
async def test_an_uncertain_commit_loses_and_doubles_nothing(tmp_path: Path, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the outcome of the Kafka transaction is unknown, the next worker finds out and writes what is missing, once."""
    cases = [(number, after) for number in (1, 2, 3) for after in (False, True)]
    for number, after in cases:
        await _lose_an_answer(tmp_path / f"{number}-{after}", number, after=after)
    row.kills, row.events, row.lost, row.doubled = len(cases), len(cases) * EVENTS, 0, 0
    monkeypatch.setattr(LakeWorker, "_find_chain", _manifest_ignored)
    await _must_fail(row, "manifest_ignored", _lose_an_answer(tmp_path / "broken", 2, after=False))


async def _lose_an_answer(tmp_path: Path, number: int, *, after: bool) -> None:
    broker = _broker()
    transactions = CrashingTransactions(broker.transactions("shop-lake.lake-routed-0"), number, after=after)
    with pytest.raises(Uncertain):
        await _work(_worker(broker, tmp_path, transactions=transactions), broker, 5)
    await _work(_worker(broker, tmp_path), broker, 5)
    _check_complete(broker, tmp_path)


@pytest.mark.fault("T44")
@pytest.mark.parametrize("batch", [5, 12])
async def test_a_rival_at_any_step_leaves_each_range_once(tmp_path: Path, row: Row, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """While one writer is at any step, another takes the partition over and finishes; the first one adds nothing and gives up."""
    row.kills = await _rival_at_each_step(tmp_path, batch)
    row.events, row.lost, row.doubled = row.kills * EVENTS, 0, 0
    monkeypatch.setattr(MemoryBroker, "transactions", _unfenced)
    await _must_fail(row, "unfenced", _rival_at_each_step(tmp_path / "broken", batch))


async def _rival_at_each_step(tmp_path: Path, batch: int) -> int:
    number = 0
    while True:
        number += 1
        root = tmp_path / f"{number}"
        broker = _broker()

        def take_over(broker: MemoryBroker = broker, root: Path = root) -> None:
            asyncio.run(_work(_worker(broker, root), broker, batch))

        disk = CrashingDisk(number, after=False, does=take_over)
        try:
            await _work(_worker(broker, root, disk), broker, 5)
        except BrokerError as error:
            assert isinstance(error, Fenced), error  # noqa: PT017 (any other kind would make the stale one start again)
        _check_complete(broker, root)
        assert _listed(root) <= _files_on_disk(root)
        if disk.steps < number:
            break
    assert number > 30
    return number


async def test_small_files_are_merged_whatever_step_fails(tmp_path: Path) -> None:
    """Merging changes no row; a merge that stops at any step is as if it had not begun, or done."""
    events = MERGE_RECORDS + 2
    for number in (*range(1, 400, 23), 10_000):
        root = tmp_path / f"{number}"
        broker = _broker(events)
        try:
            await _work(_worker(broker, root, CrashingDisk(number, after=bool(number % 2), does=_crash)), broker, 1)
        except CrashError:
            await _work(_worker(broker, root), broker, 1)
        _check_complete(broker, root, events)


async def test_merged_files_go_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a merge replaced stays for the queries that began before, and is removed once the time of grace is over."""
    events = MERGE_RECORDS + 2
    broker = _broker(events)
    await _work(_worker(broker, tmp_path), broker, 1)
    kept = _files_on_disk(tmp_path)
    monkeypatch.setattr("pipeline.runtime.lake.chain.GRACE_MS", 0)
    await _work(_worker(broker, tmp_path), broker, 1)
    left = _files_on_disk(tmp_path)
    assert len(left) < len(kept)
    assert left == _listed(tmp_path)
    assert len(list((tmp_path / MANIFEST / "shop.routed-0").iterdir())) == 3
    _check_complete(broker, tmp_path, events)
