"""A consumer group's member: it hosts one worker for each partition that it is assigned.

The order that makes a hand-over safe (reference: reliability, design rules 3 to 5): an assigned partition is paused, its worker
fences the stale owner, only then is the committed offset read, and the loop below seeks and resumes. Seeking happens between two
fetches in the one task that fetches, so that nothing fetched before it can slip in after it.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, Protocol

from pipeline.model.record import TopicPartition
from pipeline.ports.broker import Broker, BrokerError, Fenced, Position
from pipeline.runtime.inbox import INBOX_BYTES, Inbox

_log = logging.getLogger(__name__)

FETCH_SECONDS: Final = 0.25
REOPEN_SECONDS: Final = 0.5
FENCED_SECONDS: Final = 30.0
"""Whoever is fenced has lost the partition and is told so within a session and a rebalance, 21 s. Who still has it after this was
fenced by a member that woke up too late and is gone, and nobody else would ever take it up."""
REVOKE_SECONDS: Final = 4.0
"""Longest wait for a worker to finish what is in flight; correctness never depends on it."""


ReadCommitted = Callable[[], Awaitable[Position | None]]


class PartitionWorker(Protocol):
    """Works on one assigned partition; made anew after each assignment and after each doubtful outcome."""

    async def open(self, read_committed: ReadCommitted, bounds: tuple[int, int]) -> int:
        """Fence a stale owner, then read where to start, then restore state.

        Args:
            read_committed: Reads the group's committed position; to be called after fencing.
            bounds: First and end offset of the partition.

        Returns:
            The offset to start at.
        """
        ...

    async def run(self, inbox: Inbox) -> None:
        """Work until the inbox is closed, then finish what is in flight and return.

        Args:
            inbox: The partition's records.

        Raises:
            Fenced: The partition has a new owner.
            BrokerError: An outcome is doubtful; the host makes a new worker and rewinds.
        """
        ...

    async def close(self) -> None:
        """Release everything within a bound; never raises."""
        ...


def start_offset(committed: Position | None, bounds: tuple[int, int]) -> int:
    """Decide where to start to read.

    Args:
        committed: The group's position, or None for a new group.
        bounds: First and end offset of the partition.

    Returns:
        The committed offset; the first one for a new group, or where retention ran ahead of the group.

    Raises:
        BrokerError: The position lies beyond the partition's end: the topic was made anew.
    """
    first, end = bounds
    if committed is None:
        return first
    if committed.offset > end:
        reason = f"the committed offset {committed.offset} lies beyond the end {end}: the topic was made anew; reset the group on purpose"
        raise BrokerError(reason)
    if committed.offset < first:
        _log.error("Records %d to %d are no longer in the topic: retention ran ahead of the group.", committed.offset, first - 1)
    return max(committed.offset, first)


class _Slot:
    """One assigned partition."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.opened: tuple[Inbox, int] | None = None
        self.inbox: Inbox | None = None
        self.closing = False


class PartitionHost:
    """Runs one consumer group member.

    Args:
        broker: Where the topics are.
        group: Consumer group with prefix.
        topics: Topics with prefix.
        make_worker: Makes a worker for a partition.
        inbox_bytes: Bound of each partition's inbox.
        on_expired: Called with how many offsets retention took before the group had read them.
        on_end: Called when `run` has come to its end, however it did.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        group: str,
        topics: Collection[str],
        make_worker: Callable[[TopicPartition], PartitionWorker],
        inbox_bytes: int = INBOX_BYTES,
        on_expired: Callable[[int], None] = lambda _offsets: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.group = group
        self.topics = list(topics)
        self._consumer = broker.consumer(group)
        self._make_worker = make_worker
        self._inbox_bytes = inbox_bytes
        self._on_expired = on_expired
        self._expired: dict[TopicPartition, int] = {}
        self._on_end = on_end
        self._slots: dict[TopicPartition, _Slot] = {}
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self.joined = False

    @property
    def assigned(self) -> list[TopicPartition]:
        """The partitions whose workers take records now."""
        return sorted(partition for partition, slot in self._slots.items() if slot.inbox is not None)

    @property
    def ready(self) -> bool:
        """Whether the group was joined and every assigned partition takes records."""
        return self.joined and all(slot.inbox is not None for slot in self._slots.values())

    async def lag(self) -> int:
        """Count the records of the assigned partitions that no worker has taken yet."""
        slots = [(partition, slot.inbox) for partition, slot in self._slots.items() if slot.inbox is not None]
        return sum([await self._consumer.behind(partition) + len(inbox) for partition, inbox in slots])

    async def run(self) -> None:
        """Join the group and work until stopped.

        Raises:
            BrokerError: The group cannot be joined or the topics cannot be read.
            Exception: Whatever ended a worker: a bug.
        """
        try:
            await self._consumer.start(self.topics, self._assigned, self._revoked)
            await self._work()
        finally:
            self._on_end()

    async def _work(self) -> None:
        try:
            while not self._stopping.is_set():
                self._resume_opened()
                fetched = await self._consumer.fetch(FETCH_SECONDS)
                for partition, records in fetched.items():
                    slot = self._slots.get(partition)
                    if slot is not None and slot.inbox is not None and slot.inbox.put(records):
                        self._consumer.pause(partition)
                if self._failure is not None:
                    raise self._failure
                await asyncio.sleep(0)
        finally:
            self._stopping.set()  # from here on a new assignment is not taken
            await self._close(list(self._slots))
            await self._consumer.stop()

    def stop(self) -> None:
        """Ask `run` to finish what is in flight and return."""
        self._stopping.set()

    def _resume_opened(self) -> None:
        for partition, slot in self._slots.items():
            if slot.opened is not None:
                slot.inbox, offset = slot.opened
                slot.opened = None
                self._consumer.seek(partition, offset)
                self._consumer.resume(partition)

    async def _assigned(self, partitions: Collection[TopicPartition]) -> None:
        if self._stopping.is_set():
            return
        for partition in partitions:
            slot = self._slots[partition] = _Slot()
            slot.task = asyncio.create_task(self._serve(partition, slot), name=f"{self.group} {partition.topic}-{partition.partition}")
            slot.task.add_done_callback(self._ended)
        self.joined = True

    async def _revoked(self, partitions: Collection[TopicPartition]) -> None:
        await self._close(list(partitions))

    async def _close(self, partitions: Sequence[TopicPartition]) -> None:
        slots = [slot for partition in partitions if (slot := self._slots.pop(partition, None)) is not None]
        tasks = []
        for slot in slots:
            for inbox in (slot.inbox, slot.opened[0] if slot.opened else None):
                if inbox is not None:
                    inbox.close()
            if slot.task is not None:
                if slot.inbox is None and slot.opened is None and not slot.closing:
                    slot.task.cancel()  # still fencing or restoring: nothing is in flight
                tasks.append(slot.task)
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=REVOKE_SECONDS)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=REVOKE_SECONDS)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error

    async def _serve(self, partition: TopicPartition, slot: _Slot) -> None:
        while True:
            worker = self._make_worker(partition)
            wait = REOPEN_SECONDS
            try:
                bounds = (await self._consumer.bounds([partition]))[partition]
                offset = await worker.open(functools.partial(self._committed, partition, bounds[0]), bounds)
                inbox = Inbox(self._inbox_bytes, lambda: self._resume(partition))
                slot.opened = (inbox, offset)
                await worker.run(inbox)
            except Fenced as error:
                _log.warning("%s; the partition is left to its new owner.", error)
                wait = FENCED_SECONDS
            except BrokerError as error:
                _log.warning("%s: %s; starting again from the committed offset.", partition, error)
            else:
                return
            finally:
                slot.inbox = slot.opened = None
                slot.closing = True
                if self._slots.get(partition) is slot:
                    self._consumer.pause(partition)
                await worker.close()
                slot.closing = False
            if self._slots.get(partition) is not slot:
                return
            await asyncio.sleep(wait)

    async def _committed(self, partition: TopicPartition, first: int) -> Position | None:
        committed = await self._consumer.committed(partition)
        if committed is not None:
            counted = max(committed.offset, self._expired.get(partition, 0))  # opened again before its first commit, it has the same gap
            if first > counted:
                self._expired[partition] = first
                self._on_expired(first - counted)
        return committed

    def _resume(self, partition: TopicPartition) -> None:
        if partition in self._slots:
            self._consumer.resume(partition)
