"""The sink of a lake: takes one partition of `routed`, and makes its rows queryable within seconds, exactly once.

A range of offsets counts from the moment in which its manifest record exists. The group's offset and the ledger record follow in one
Kafka transaction; where a crash comes between, the next worker reads the manifest and makes good what is missing. Where the group's offset was set
back, the ranges behind it are written again, each in one step, so that at every moment each row counts once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

from pipeline.lake.gathering import Ended, Gathered, Gathering, summed
from pipeline.lake.manifest import AGAIN, STORED, ManifestRecord, chain_name, is_of_topic, plan_merge, resume
from pipeline.model import headers as names
from pipeline.model.ledger import ledger_key, ledger_value
from pipeline.model.record import Output, Record, TopicPartition
from pipeline.model.topics import topic_name
from pipeline.ports.broker import Blocked, Committed, Fenced, Position, Transactions, Uncertain
from pipeline.ports.clock import Clock
from pipeline.ports.metrics import Metrics
from pipeline.replay.board import TOPIC, reset_record
from pipeline.runtime.counting import count_committed, count_transaction
from pipeline.runtime.dead_letters import dead_letter
from pipeline.runtime.expiry import expired_ranges, pass_over
from pipeline.runtime.inbox import Inbox, InboxClosedError
from pipeline.runtime.lake.chain import MANIFEST, Chain, Draft, Taken, parts_of
from pipeline.runtime.lake.disk import Disk
from pipeline.runtime.lake.held import Held
from pipeline.runtime.lake.sieve import Sieve, add_or_end, is_of_replay
from pipeline.runtime.partition_worker import ReadCommitted, start_offset
from pipeline.runtime.progress import Standing

_log = logging.getLogger(__name__)

AGAIN_SECONDS: Final = 1.0
"""How long rows of a range that is written again wait in memory for more of it; then they wait on disk."""
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
        transactions: What this partition commits with, not started.
        clock: Time.
        metrics: Counts.
        limits: When rows are written.
        disk: How files are written.
        topic_id: Id of the topic, where the broker knows it.
        doubts: Where chains ended that seemed to reach beyond their topic, by partition; shared by all workers of a process.
        held: What all workers of a process hold in memory.
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
        topic_id: str = "",
        doubts: dict[TopicPartition, int] | None = None,
        held: Held | None = None,
    ) -> None:
        self._partition = partition
        self._topic = partition.topic.removeprefix(f"{prefix}.")
        self._storage = storage
        self._prefix = prefix
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
        self._topic_id = topic_id
        self._doubts = {} if doubts is None else doubts
        self._held = Held() if held is None else held
        self._gathering = Gathering(storage)
        self._first: Record | None = None
        self._last: Record | None = None
        self._since = 0.0
        self._chain = Chain(root, "", self._disk)
        self._live: list[ManifestRecord] = []
        self._end = 0
        self._done = -1
        self._upkeep: asyncio.Task[None] | None = None
        self._again: deque[ManifestRecord] = deque()
        self._draft: Draft | None = None
        self._drafted: list[Gathered] = []
        self._sieve: Sieve | None = None
        self._unsifted: list[Record] = []
        self._unsifted_bytes = 0

    async def open(self, read_committed: ReadCommitted, bounds: tuple[int, int]) -> int:
        """Fence a stale owner, read manifest and committed offset, and make good what a crash left undone."""
        await self._transactions.start()
        committed = await read_committed()
        start = start_offset(committed, bounds)
        await self._in_thread(self._find_chain, bounds[1])
        if is_of_replay(self._topic):
            self._sieve = Sieve(self._root, self._chain.name, self._gathering)
        if not self._live:
            if committed is not None:
                await self._pass_over(committed.offset, start)
            self._end = self._done = start
            return start
        self._end = self._live[-1].end
        todo = resume(self._live, committed, bounds[0])
        if todo.again:
            _log.info("The offset of %s was set to %d: %d ranges are written again.", self._partition, start, len(todo.again))
            self._again.extend(todo.again)
            if committed is not None and committed.metadata not in (STORED, AGAIN):  # the accounts tell a purpose from a fault by this
                note = Output(topic_name(self._prefix, TOPIC), *reset_record(self._processor, self._clock.now_ms()))
                await self._transactions.commit((note,), {}, self._group)
            self._sieve = Sieve(self._root, self._chain.name, self._gathering)
        elif self._end > (committed.offset if committed is not None else 0):
            await self._transactions.commit(todo.outputs, {self._partition: Position(self._end, STORED)}, self._group)
        await self._pass_over(self._end, bounds[0])
        await self._in_thread(self._chain.sweep, self._clock.now_ms())
        self._done = self._again[0].start if self._again else max(start, self._end)
        return self._done

    async def _pass_over(self, known: int, first: int) -> None:
        await pass_over(
            list(expired_ranges(known, first)),
            Position(first, STORED),
            partition=self._partition,
            processor=self._processor,
            prefix=self._prefix,
            transactions=self._transactions,
            metrics=self._metrics,
            at_ms=self._clock.now_ms(),
        )

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
        """Read the newest chain of this partition; one of a topic that is no more is left to it: its id is another, or it reaches beyond the end.

        The end was read before the old owner was fenced, who may have stored what came since. So it is believed at the second look only:
        what was read for that is newer than the chain that was found at the first.
        """
        generation = next(number for number in count() if not (self._root / MANIFEST / chain_name(*self._partition, number + 1)).is_dir())
        self._chain = Chain(self._root, chain_name(*self._partition, generation), self._disk)
        self._live = self._chain.read()
        if not is_of_topic(self._live, self._topic_id):
            _log.warning(
                "The lake has rows of an earlier topic %s, which was made anew since; partition %d begins a chain beside them.", *self._partition
            )
        elif self._live and self._live[-1].end > end:
            if self._doubts.get(self._partition) != self._live[-1].end:
                self._doubts[self._partition] = self._live[-1].end
                raise Uncertain(f"the lake has rows of {self._partition} up to {self._live[-1].end}, its topic ends at {end}; looking again")
            _log.warning("%s ends at %d, but the lake has rows up to %d: the topic was made anew.", self._partition, end, self._live[-1].end)
        else:
            return
        self._chain, self._live = Chain(self._root, chain_name(*self._partition, generation + 1), self._disk), []

    async def run(self, inbox: Inbox) -> None:
        """Gather and write until the inbox is closed; what is not written then is read again by the next owner."""
        while True:
            # Who has laid rows aside has the turn that those wait for who hold the rest of the room: it must not wait for them.
            may_take = self._draft is not None or await self._held.may_take(self, self._patience())
            try:
                records = await inbox.take(self._held.slice_bytes, self._patience()) if may_take else []
            except InboxClosedError:
                return
            for record in await self._write_again(records) if self._again else records:
                self._take(record)
            self._held.note(self, self._size())
            if self._again and not records and self._size():
                await self._keep(self._again[0])
            elif self._is_due() or not may_take:
                await self._commit()
            elif records:
                await asyncio.sleep(0)

    def _size(self) -> int:
        return self._gathering.memory + self._unsifted_bytes

    def _patience(self) -> float | None:
        if self._again:
            return AGAIN_SECONDS if self._size() else None
        if self._first is None:
            return None
        return max(0.0, self._since + self._limits.seconds - self._clock.monotonic())

    def _is_due(self) -> bool:
        if self._first is None or self._again:
            return False
        return self._is_full() or self._clock.monotonic() - self._since >= self._limits.seconds

    def _is_full(self) -> bool:
        gathering = self._gathering
        size = gathering.size + sum(len(record.value or b"") for record in self._unsifted)
        return gathering.records + len(self._unsifted) >= self._limits.records or size >= self._limits.size

    def _take(self, record: Record) -> None:
        if self._first is None:
            self._first = record
            self._since = self._clock.monotonic()
        self._last = record
        if self._sieve is not None:
            self._unsifted.append(record)
            self._unsifted_bytes += len(record.value or b"")
        else:
            add_or_end(self._gathering, record)

    async def _sift(self, target: ManifestRecord | None = None) -> None:
        if self._sieve is None:
            return
        await self._sieve.take_turn()
        records, self._unsifted, self._unsifted_bytes = self._unsifted, [], 0
        await self._in_thread(self._sieve.add, records, target)

    async def _write_again(self, records: Sequence[Record]) -> Sequence[Record]:
        """Write ranges again that these records end; gives the records behind the last of them."""
        for place, record in enumerate(records):
            while self._again and record.offset >= self._again[0].end:
                await self._leave_as_it_is()
            if not self._again:
                return records[place:]
            self._take(record)
            if record.offset + 1 >= self._again[0].end:
                await self._replace(self._again[0])
            elif self._is_full():
                await self._keep(self._again[0])
        return ()

    async def _keep(self, target: ManifestRecord) -> None:
        """Lay rows of a large range aside until all of them are there."""
        await self._sift(target)
        if self._draft is None:
            self._draft = await self._in_thread(self._chain.draft, target.start)
        async with self._held.writing(self):
            gathered = await self._in_thread(self._gathering.take)
            await self._in_thread(self._draft.add, parts_of(gathered))
        self._held.note(self, 0)
        self._drafted.append(gathered)

    async def _leave_as_it_is(self) -> None:
        """Pass over a range whose last record the topic has lost meanwhile."""
        self._again.popleft()
        self._first = self._last = None
        self._unsifted, self._unsifted_bytes = [], 0
        self._gathering.take()
        await self._end_range()

    async def _end_range(self) -> None:
        draft, self._draft, self._drafted = self._draft, None, []
        if draft is not None:
            await self._in_thread(draft.drop)
        if self._sieve is not None:
            await self._sieve.give_turn()
        if not self._again and not is_of_replay(self._topic):
            self._sieve = None

    async def _replace(self, target: ManifestRecord) -> None:
        first, last = self._first, self._last
        assert first is not None and last is not None  # noqa: S101, PT018 (a record of the range was taken just now)
        started = self._clock.monotonic()
        if self._draft is not None:
            await self._keep(target)
        else:
            await self._sift(target)
        gathered = summed([*self._drafted, await self._in_thread(self._gathering.take)])
        at = self._clock.now_ms()
        outputs = self._outputs(gathered, first.offset, target.end, at)
        revision = await self._in_thread(self._chain.revision, target.start)
        record = replace(target, files=(), at=at, notes=dict(gathered.notes), outputs=(), revision=revision)
        try:
            async with self._held.writing(self):
                complete = await self._in_thread(self._write, gathered, record)
        except Taken as error:
            await self._yield_to_other(error)
            raise Uncertain(f"another writer wrote the range at offset {target.start} of {self._partition}; reading the manifest anew") from error
        self._again.popleft()
        metadata = AGAIN if self._again else STORED
        self._held.note(self, 0)
        committed = await self._transactions.commit(outputs, {self._partition: Position(target.end, metadata)}, self._group)
        self._done = target.end
        self._live[self._live.index(target)] = complete
        self._first = self._last = None
        await self._end_range()
        self._count(gathered, committed, last, started)

    async def _commit(self) -> None:
        first, last = self._first, self._last
        if first is None or last is None:
            return
        started = self._clock.monotonic()
        await self._sift()
        gathered = await self._in_thread(self._gathering.take)
        at = self._clock.now_ms()
        end = last.offset + 1
        outputs = self._outputs(gathered, first.offset, end, at)
        record = ManifestRecord(self._end, end, (), 0, at, dict(gathered.notes), outputs, topic_id=self._topic_id)
        try:
            async with self._held.writing(self):
                complete = await self._in_thread(self._write, gathered, record)
        except Taken as error:
            await self._yield_to_other(error)
            raise Uncertain(f"another writer added the record at offset {self._end} of {self._partition}; reading the manifest anew") from error
        self._held.note(self, 0)
        committed = await self._transactions.commit(outputs, {self._partition: Position(end, STORED)}, self._group)
        if self._sieve is not None:
            await self._sieve.give_turn()
        self._end = self._done = end
        self._live.append(complete)
        self._first = self._last = None
        self._count(gathered, committed, last, started)
        self._keep_up()

    def _write(self, gathered: Gathered, record: ManifestRecord) -> ManifestRecord:
        return self._chain.add(self._draft.parts() if self._draft is not None else parts_of(gathered), record)

    async def _yield_to_other(self, error: Taken) -> None:
        """Find out who is the stale one of two writers: the broker knows, and raises Fenced if it is this one."""
        try:
            await self._transactions.commit((), {self._partition: Position(self._end, STORED)}, self._group)
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

    def _count(self, gathered: Gathered, committed: Committed, last: Record, started: float) -> None:
        count_transaction(self._metrics, self._processor, gathered.tally, last, self._clock.now_ms())
        self._metrics.add("headrace_lake_rows_total", gathered.tally.totals()["passed"], storage=self._storage)
        self._metrics.observe("headrace_lake_commit_seconds", self._clock.monotonic() - started, storage=self._storage)
        count_committed(self._metrics, self._processor, committed)

    def _keep_up(self) -> None:
        """Merge small files beside the work; failing to is no reason to stop, because nothing depends on it."""
        if self._upkeep is not None and not self._upkeep.done():
            return
        run = plan_merge(self._live)
        if run:
            self._upkeep = asyncio.create_task(self._merge(list(run)), name=f"{self._group} merge")

    async def _merge(self, run: list[ManifestRecord]) -> None:
        try:
            async with self._held.one_merges:
                merged = await asyncio.to_thread(self._chain.merge, run, self._clock.now_ms())
            place = self._live.index(run[0])
            self._live[place : place + len(run)] = [merged]
            await asyncio.to_thread(self._chain.sweep, self._clock.now_ms())
        except (Taken, OSError, ValueError) as error:
            _log.warning("Small files of %s could not be merged (%s); they are tried again with the next ones.", self._partition, error)

    async def close(self) -> None:
        """Stop upkeep and the producer; never raises."""
        self._held.leave(self)
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, return_exceptions=True)
        if self._sieve is not None:
            await self._sieve.give_turn()
        await self._transactions.stop()
