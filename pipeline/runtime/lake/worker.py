"""The sink of a lake: takes one partition of `routed`, and makes its rows queryable within seconds, exactly once.

A range of offsets counts from the moment in which its manifest record exists. The group's offset and the ledger record follow in one
Kafka transaction; where a crash comes between, the next worker reads the manifest and makes good what is missing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from pipeline.lake.gathering import Ended, Gathered, Gathering
from pipeline.lake.manifest import ManifestRecord, chain_name, outputs_beyond, plan_merge
from pipeline.model import headers as names
from pipeline.model.ledger import ledger_key, ledger_value
from pipeline.model.record import Output, Record, TopicPartition
from pipeline.model.topics import topic_name
from pipeline.ports.broker import Blocked, Broker, Fenced, Position, Transactions, Uncertain
from pipeline.ports.clock import Clock
from pipeline.ports.metrics import Metrics
from pipeline.runtime.counting import count_transaction
from pipeline.runtime.dead_letters import dead_letter
from pipeline.runtime.inbox import Inbox, InboxClosedError
from pipeline.runtime.lake.chain import MANIFEST, Chain, Part, Taken
from pipeline.runtime.lake.disk import Disk
from pipeline.runtime.lake.parquet import to_arrow
from pipeline.runtime.partitions import ReadCommitted, start_offset
from pipeline.runtime.progress import Standing

_log = logging.getLogger(__name__)

SLICE_BYTES: Final = 128 * 1024
"""Input that is laid out between two turns of the loop, so that heartbeats are never starved."""
STAGE: Final = "lake"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class LakeLimits:
    """When rows are written.

    Attributes:
        seconds: Longest time that a record waits; an event must be queryable 5 s after its 200.
        records: Most records in one manifest record.
        size: Most bytes of values in one manifest record.
    """

    seconds: float = 1.0
    records: int = 20_000
    size: int = 16 * 1024 * 1024


class LakeWorker:
    """Stores one partition of `routed` in one lake.

    Args:
        partition: The input partition.
        storage: Id of the storage.
        prefix: The workspace's name.
        root: The lake's folder.
        transactions: Producer of this partition, not started.
        clock: Time.
        metrics: Counts.
        limits: When rows are written.
        disk: How files are written.
        doubts: Where chains ended that seemed to reach beyond their topic, by partition; shared by all workers of a process.
    """

    def __init__(  # noqa: PLR0913 (ports are passed one by one)
        self,
        partition: TopicPartition,
        *,
        storage: str,
        prefix: str,
        root: Path,
        transactions: Transactions,
        clock: Clock,
        metrics: Metrics,
        limits: LakeLimits | None = None,
        disk: Disk | None = None,
        doubts: dict[TopicPartition, int] | None = None,
    ) -> None:
        self._partition = partition
        self._topic = partition.topic.removeprefix(f"{prefix}.")
        self._storage = storage
        self._processor = f"lake.{storage}"
        self._group = f"{prefix}.{self._processor}"
        self._ledger_topic = topic_name(prefix, "ledger")
        self._dead_topic = topic_name(prefix, f"dead.{STAGE}")
        self._root = root
        self._transactions = transactions
        self._clock = clock
        self._metrics = metrics
        self._limits = limits or LakeLimits()
        self._disk = disk or Disk()
        self._doubts = {} if doubts is None else doubts
        self._gathering = Gathering(storage)
        self._first: Record | None = None
        self._last: Record | None = None
        self._since = 0.0
        self._chain = Chain(root, "", self._disk)
        self._live: list[ManifestRecord] = []
        self._end = 0
        self._done = -1
        self._upkeep: asyncio.Task[None] | None = None

    async def open(self, read_committed: ReadCommitted, bounds: tuple[int, int]) -> int:
        """Fence a stale owner, read manifest and committed offset, and make good what a crash left undone."""
        await self._transactions.start()
        committed = await read_committed()
        start = start_offset(committed, bounds)
        await self._in_thread(self._find_chain, bounds[1])
        if not self._live:
            self._end = self._done = start
            return start
        self._end = self._live[-1].end
        if self._end > (committed.offset if committed is not None else 0):
            outputs = outputs_beyond(self._live, committed.offset if committed is not None else 0)
            await self._transactions.commit(outputs, {self._partition: Position(self._end)}, self._group)
        await self._in_thread(self._chain.sweep, self._clock.now_ms())
        self._done = max(start, self._end)
        return self._done

    def standing(self) -> Standing:
        """Say how far it is; it waits for nothing on purpose."""
        return Standing(self._done)

    async def _in_thread(self, work: Callable[..., _T], *arguments: object) -> _T:
        """Work with files beside the loop; a disk that fails is no bug: the host tries again, and nothing is lost meanwhile."""
        try:
            return await asyncio.to_thread(work, *arguments)
        except OSError as error:
            raise Blocked(f"the lake {self._root} cannot be read or written: {error}") from error

    def _find_chain(self, end: int) -> None:
        """Read the newest chain of this partition; one that reaches beyond the topic's end is left to its topic, which is no more.

        The end was read before the old owner was fenced, who may have stored what came since. So it is believed at the second look only:
        what was read for that is newer than the chain that was found at the first.
        """
        generation = 0
        while (self._root / MANIFEST / self._chain_name(generation + 1)).is_dir():
            generation += 1
        self._chain = Chain(self._root, self._chain_name(generation), self._disk)
        self._live = self._chain.read()
        if self._live and self._live[-1].end > end:
            if self._doubts.get(self._partition) != self._live[-1].end:
                self._doubts[self._partition] = self._live[-1].end
                raise Uncertain(f"the lake has rows of {self._partition} up to {self._live[-1].end}, its topic ends at {end}; looking again")
            _log.warning("%s ends at %d, but the lake has rows up to %d: the topic was made anew.", self._partition, end, self._live[-1].end)
            self._chain = Chain(self._root, self._chain_name(generation + 1), self._disk)
            self._live = []

    def _chain_name(self, generation: int) -> str:
        return chain_name(self._partition.topic, self._partition.partition, generation)

    async def run(self, inbox: Inbox) -> None:
        """Gather and write until the inbox is closed; what is not written then is read again by the next owner."""
        while True:
            try:
                records = await inbox.take(SLICE_BYTES, self._patience())
            except InboxClosedError:
                return
            for record in records:
                self._take(record)
            if self._is_due():
                await self._commit()
            elif records:
                await asyncio.sleep(0)

    def _patience(self) -> float | None:
        if self._first is None:
            return None
        return max(0.0, self._since + self._limits.seconds - self._clock.monotonic())

    def _is_due(self) -> bool:
        if self._first is None:
            return False
        gathering = self._gathering
        full = gathering.records >= self._limits.records or gathering.size >= self._limits.size
        return full or self._clock.monotonic() - self._since >= self._limits.seconds

    def _take(self, record: Record) -> None:
        if self._first is None:
            self._first = record
            self._since = self._clock.monotonic()
        self._last = record
        try:
            self._gathering.add(record)
        except Exception as error:  # noqa: BLE001 (a bug must end one record only, and must not stop the others)
            _log.exception("The lake failed on %s-%d at offset %d.", record.topic, record.partition, record.offset)
            self._gathering.end(record, "crashed", type(error).__name__)

    async def _commit(self) -> None:
        first, last = self._first, self._last
        if first is None or last is None:
            return
        started = self._clock.monotonic()
        gathered = self._gathering.take()
        at = self._clock.now_ms()
        end = last.offset + 1
        outputs = self._outputs(gathered, first.offset, end, at)
        record = ManifestRecord(self._end, end, (), 0, at, dict(gathered.notes), outputs)
        try:
            complete = await self._in_thread(self._write, gathered, record)
        except Taken as error:
            await self._yield_to_other(error)
            raise Uncertain(f"another writer added the record at offset {self._end} of {self._partition}; reading the manifest anew") from error
        await self._transactions.commit(outputs, {self._partition: Position(end)}, self._group)
        self._end = self._done = end
        self._live.append(complete)
        self._first = self._last = None
        self._count(gathered, last, started)
        self._keep_up()

    def _write(self, gathered: Gathered, record: ManifestRecord) -> ManifestRecord:
        parts = (Part(rows.source, rows.call, rows.hour, to_arrow(rows.columns), rows.events) for rows in gathered.files)
        return self._chain.add(parts, record)

    async def _yield_to_other(self, error: Taken) -> None:
        """Find out who is the stale one of two writers: the broker knows, and raises Fenced if it is this one."""
        try:
            await self._transactions.commit((), {self._partition: Position(self._end)}, self._group)
        except Fenced:
            raise
        except Exception as doubt:  # whatever else it is: a new worker fences and reads everything anew
            raise Uncertain(f"another writer has {error}") from doubt

    def _outputs(self, gathered: Gathered, start: int, end: int, at: int) -> tuple[Output, ...]:
        dead = [self._dead(ended, at) for ended in gathered.ended]
        number = self._partition.partition
        if dead:
            gathered.tally.lanes["dead"] = len(dead)
        value = ledger_value(gathered.tally, processor=self._processor, topic=self._topic, partition=number, start=start, end=end, at_ms=at)
        return (*dead, Output(self._ledger_topic, ledger_key(self._processor, self._topic, number), value))

    def _dead(self, ended: Ended, at: int) -> Output:
        config = next((int(value) for name, value in ended.record.headers if name == names.CONFIG and value.isdigit()), 0)
        return dead_letter(
            ended.record,
            topic=self._dead_topic,
            stage=STAGE,
            reason=ended.reason,
            detail=ended.detail,
            config=config,
            at_ms=at,
            destination=self._storage,
        )

    def _count(self, gathered: Gathered, last: Record, started: float) -> None:
        count_transaction(self._metrics, self._processor, gathered.tally, last, self._clock.now_ms())
        self._metrics.add("headrace_lake_rows_total", gathered.tally.totals()["passed"], storage=self._storage)
        self._metrics.observe("headrace_lake_commit_seconds", self._clock.monotonic() - started, storage=self._storage)
        self._metrics.add("headrace_transactions_total", 1, processor=self._processor, outcome="committed")

    def _keep_up(self) -> None:
        """Merge small files beside the work; failing to is no reason to stop, because nothing depends on it."""
        if self._upkeep is not None and not self._upkeep.done():
            return
        run = plan_merge(self._live)
        if run:
            self._upkeep = asyncio.create_task(self._merge(list(run)), name=f"{self._group} merge")

    async def _merge(self, run: list[ManifestRecord]) -> None:
        try:
            merged = await asyncio.to_thread(self._chain.merge, run, self._clock.now_ms())
            place = self._live.index(run[0])
            self._live[place : place + len(run)] = [merged]
            await asyncio.to_thread(self._chain.sweep, self._clock.now_ms())
        except (Taken, OSError, ValueError) as error:
            _log.warning("Small files of %s could not be merged (%s); they are tried again with the next ones.", self._partition, error)

    async def close(self) -> None:
        """Stop upkeep and the producer; never raises."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, return_exceptions=True)
        await self._transactions.stop()


def lake_workers(
    broker: Broker, *, storage: str, prefix: str, root: Path, clock: Clock, metrics: Metrics, limits: LakeLimits | None = None
) -> Callable[[TopicPartition], LakeWorker]:
    """Give the factory of a lake's workers, for a `PartitionHost` of the group `<prefix>.lake.<storage>` over `<prefix>.routed`.

    Args:
        broker: The cluster.
        storage: Id of the storage.
        prefix: The workspace's name.
        root: The lake's folder; it is made when the first rows come.
        clock: Time.
        metrics: Counts.
        limits: When rows are written.

    Returns:
        A function that makes the worker of a partition.
    """
    doubts: dict[TopicPartition, int] = {}

    def make(partition: TopicPartition) -> LakeWorker:
        topic = partition.topic.removeprefix(f"{prefix}.")
        transactions = broker.transactions(f"{prefix}-lake.{storage}-{topic}-{partition.partition}")
        return LakeWorker(
            partition,
            storage=storage,
            prefix=prefix,
            root=root,
            transactions=transactions,
            clock=clock,
            metrics=metrics,
            limits=limits,
            doubts=doubts,
        )

    return make
