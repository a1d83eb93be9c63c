"""A consumer group's member: it hosts one worker for each partition that it is assigned.

The order that makes a hand-over safe (reference: reliability, design rules 3 to 5): an assigned partition is paused, its worker
fences the stale owner, only then is the committed offset read, and the loop below seeks and resumes. Seeking happens between two
fetches in the one task that fetches, so that nothing fetched before it can slip in after it.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Final

from pipeline.model.record import TopicPartition
from pipeline.ports.broker import Blocked, Broker, BrokerError, Fenced, Membership, Position, RecordRefused, TopicState
from pipeline.runtime.inbox import INBOX_BYTES, Inbox
from pipeline.runtime.partition_worker import MakeWorker, PartitionWorker
from pipeline.runtime.progress import PATIENCE_SECONDS, Place, Progress, Standing
from pipeline.runtime.topic_identity import position_fault, topic_fault

_log = logging.getLogger(__name__)

FETCH_SECONDS: Final = 0.25
REOPEN_SECONDS: Final = 0.5
REJOIN_SECONDS: Final = 2.0
"""Wait before a group that could not be joined is tried again, or a partition whose work is blocked."""
BLOCKED_MOST_SECONDS: Final = 15.0
"""Longest wait before it is tried whether what must be mended is; deliver would send again each time what it could not commit."""
SAY_SECONDS: Final = 60.0
"""How often the same trouble is said again."""
LOOK_SECONDS: Final = 3.0
"""Longest wait for the broker's answers to a look."""
FENCED_SECONDS: Final = 30.0
"""Whoever is fenced has lost the partition and is told so within a session and a rebalance, 21 s. Who still has it after this was
fenced by a member that woke up too late and is gone, and nobody else would ever take it up."""
REVOKE_SECONDS: Final = 4.0
"""Longest wait for a worker to finish what is in flight; correctness never depends on it."""


class _Slot:
    """One assigned partition."""

    def __init__(self, membership: Membership) -> None:
        self.membership = membership
        self.task: asyncio.Task[None] | None = None
        self.worker: PartitionWorker | None = None
        self.opened: tuple[Inbox, int] | None = None
        self.inbox: Inbox | None = None
        self.closing = False
        self.handed_on = False
        self.progress = Progress()
        self._block = ("", -1)
        self._blocks = 0

    def block(self, what: str) -> float:
        """Note what must be mended before its worker gets any further; gives the seconds to wait, more each time."""
        done = self.worker.standing().done if self.worker is not None else -1
        self._blocks = 0 if done > self._block[1] else self._blocks + 1
        self._block = what, done
        return float(min(BLOCKED_MOST_SECONDS, REJOIN_SECONDS * 2**self._blocks))

    @property
    def blocked(self) -> str:
        """What must be mended, or empty; it is once a worker has got further than the one that met it."""
        what, done = self._block
        return what if what and (self.worker is None or self.worker.standing().done <= done) else ""


class PartitionHost:
    """Runs one consumer group member.

    A broker that is away, and what must be mended first (a topic that is missing, was made anew or has another number of partitions, a
    missing right, a full disk), is waited for: nothing is judged meanwhile, `ready` is false and `trouble` says what it is.

    Args:
        broker: Where the topics are.
        group: Consumer group with prefix.
        topics: Topics with prefix.
        make_worker: Makes a worker for a partition, under the membership by which it was assigned.
        counts: How many partitions topics must have, by name with prefix; topics that it reads need not be among them.
        inbox_bytes: Bound of each partition's inbox.
        on_end: Called when `run` has come to its end, however it did.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        group: str,
        topics: Collection[str],
        make_worker: MakeWorker,
        counts: Mapping[str, int] | None = None,
        inbox_bytes: int = INBOX_BYTES,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.group = group
        self.topics = list(topics)
        self._broker = broker
        self._consumer = broker.consumer(group)
        self._make_worker = make_worker
        self._counts = dict(counts or {})
        self._inbox_bytes = inbox_bytes
        self._on_end = on_end
        self._slots: dict[TopicPartition, _Slot] = {}
        self._pinned: dict[str, TopicState] = {}
        self._assignments = 0
        self._joining = Progress()
        self._stopping = asyncio.Event()
        self._leaving = False
        self._failure: BaseException | None = None
        self._said: dict[str, float] = {}
        self._trouble = "the group is not joined yet"
        self._answers = True
        self.joined = False

    @property
    def assigned(self) -> list[TopicPartition]:
        """The partitions whose workers take records now."""
        return sorted(partition for partition, slot in self._slots.items() if slot.inbox is not None)

    @property
    def ready(self) -> bool:
        """Whether the group was joined, every assigned partition takes records, and the broker answers."""
        return self.joined and self._answers and all(slot.inbox is not None and not slot.blocked for slot in self._slots.values())

    @property
    def trouble(self) -> str:
        """What must be mended before everything that is assigned goes on, or empty."""
        return self._trouble or next((slot.blocked for slot in self._slots.values() if slot.blocked), "")

    @property
    def blocked(self) -> int:
        """How many assigned partitions cannot go on until something around them is mended."""
        return sum(1 for slot in self._slots.values() if slot.blocked)

    async def lag(self) -> int:
        """Count the records of the assigned partitions that no worker has taken yet."""
        slots = [(partition, slot.inbox) for partition, slot in self._slots.items() if slot.inbox is not None]
        return sum([await self._consumer.behind(partition) + len(inbox) for partition, inbox in slots])

    async def run(self) -> None:
        """Join the group and work until stopped; through a broker's absence, and through faults of topics that somebody mends.

        Raises:
            Exception: Whatever ended a worker: a bug.
        """
        try:
            while not self._stopping.is_set():
                try:
                    await self._find_topics()
                    self._leaving = False
                    self._failure = None
                    await self._consumer.start(self.topics, self._assigned, self._revoked)
                    self._trouble = ""
                    await self._work()
                except BrokerError as error:
                    self._trouble = str(error)
                    self._say(f"Group {self.group} does not work: {error}")
                    await self._consumer.stop()
                    self._consumer = self._broker.consumer(self.group)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(REJOIN_SECONDS):
                            await self._stopping.wait()
        finally:
            self._trouble = "the member has ended"  # stopped by the breaker, say: no watchdog has to end the process for that
            await self._consumer.stop()
            self._on_end()

    async def _find_topics(self) -> None:
        """See that the topics are there as the topology says, and pin them: their ids go into every position from now on."""
        found = await self._consumer.describe({*self.topics, *self._counts})
        for topic in sorted({*self.topics, *self._counts}):
            if fault := topic_fault(topic, found.get(topic), wanted=self._counts.get(topic, 0)):
                raise Blocked(fault)
        self._pinned = dict(found)
        self._consumer.pin({topic: found[topic].topic_id for topic in self.topics})

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
            self._leaving = True  # from here on a new assignment is not taken
            self.joined = False
            await self._close(list(self._slots))
            await self._consumer.stop()

    def stop(self) -> None:
        """Ask `run` to finish what is in flight and return."""
        self._stopping.set()

    def _say(self, trouble: str) -> None:
        """Log a trouble, the same one not again and again."""
        now = asyncio.get_running_loop().time()
        if now - self._said.get(trouble, -SAY_SECONDS) >= SAY_SECONDS:
            self._said = {text: at for text, at in self._said.items() if now - at < SAY_SECONDS} | {trouble: now}
            _log.error("%s", trouble)

    def _resume_opened(self) -> None:
        for partition, slot in self._slots.items():
            if slot.opened is not None:
                slot.inbox, offset = slot.opened
                slot.opened = None
                self._consumer.seek(partition, offset)
                self._consumer.resume(partition)

    async def _assigned(self, partitions: Collection[TopicPartition]) -> None:
        if self._stopping.is_set() or self._leaving:
            return
        membership = self._consumer.membership()
        for partition in partitions:
            slot = self._slots[partition] = _Slot(membership)
            slot.task = asyncio.create_task(self._serve(partition, slot), name=f"{self.group} {partition.topic}-{partition.partition}")
            slot.task.add_done_callback(self._ended)
        self._assignments += 1
        self.joined = True

    async def _revoked(self, partitions: Collection[TopicPartition]) -> None:
        self.joined = False
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
            worker = slot.worker = self._make_worker(partition, slot.membership)
            wait = REOPEN_SECONDS
            try:
                bounds = (await self._consumer.bounds([partition]))[partition]
                offset = await worker.open(functools.partial(self._committed, partition), bounds)
                inbox = Inbox(self._inbox_bytes, lambda: self._resume(partition))
                slot.opened = (inbox, offset)
                await worker.run(inbox)
            except Fenced as error:
                _log.warning("%s; the partition is left to its new owner.", error)
                slot.handed_on = True
                wait = FENCED_SECONDS
            except Blocked as error:
                wait = slot.block(str(error))
                self._say(f"{partition.topic}-{partition.partition} waits, with its lag kept, until this is mended: {error}")
            except RecordRefused as error:
                slot.block(str(error))
                self._say(f"{partition.topic}-{partition.partition}: {error}; what it was made of is looked for")
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
            slot.handed_on = False

    async def _committed(self, partition: TopicPartition) -> Position | None:
        committed = await self._consumer.committed(partition)
        if fault := position_fault(self.group, partition.topic, committed, self._pinned[partition.topic]):
            raise Blocked(fault)
        return committed

    def _resume(self, partition: TopicPartition) -> None:
        if partition in self._slots:
            self._consumer.resume(partition)

    async def look(self, now: float) -> list[str]:
        """Look whether the partitions move, and whether their topics are still the same.

        Args:
            now: Monotonic time in seconds.

        Returns:
            A line for each one that has stood still for too long, though the broker answers and there is work; see `pipeline.runtime.progress`.
        """
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                found = await self._consumer.describe(self._pinned or self.topics)
        except (BrokerError, TimeoutError):
            self._answers = False
            for progress in (self._joining, *(slot.progress for slot in self._slots.values())):
                progress.look(now, None)
            return []
        self._answers = True
        for topic, pinned in self._pinned.items():
            if (fault := topic_fault(topic, found.get(topic), pinned=pinned)) and self._failure is None and not self._leaving:
                self._failure = Blocked(fault)
        still = []
        joining = Place((self._assignments,), not self.joined, self._trouble)
        if (seconds := self._joining.look(now, joining)) >= PATIENCE_SECONDS:
            still.append(f"group {self.group} has had no assignment for {seconds:.0f} s")
        ends = await self._ends()
        for partition, slot in list(self._slots.items()):
            place = await self._place(partition, slot, ends.get(partition))
            if (seconds := slot.progress.look(now, place)) >= PATIENCE_SECONDS:
                still.append(
                    f"{partition.topic}-{partition.partition} of {self.group} has stood still at offset {place.moved[0]} for {seconds:.0f} s"
                )
        return still

    async def _ends(self) -> Mapping[TopicPartition, int]:
        """Read where partitions end, past what the fetching client believes; nothing where it does not get an answer."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return {partition: end for partition, (_, end) in (await self._consumer.bounds(self.assigned)).items()}
        except (BrokerError, TimeoutError):
            return {}

    async def _place(self, partition: TopicPartition, slot: _Slot, end: int | None) -> Place:
        standing = slot.worker.standing() if slot.worker is not None else Standing(-1)
        inbox = slot.inbox
        if inbox is None:
            waits_for = slot.blocked or ("its new owner" if slot.handed_on else "")
            return Place((standing.done, standing.restored, -1), has_work=True, waits_for=waits_for)
        fetched = await self._consumer.position(partition)
        in_hand = len(inbox) > 0 or inbox.taken > standing.done
        # Where records wait, to fetch them is no progress; where none came out of what was fetched (what a writer aborted), it is.
        moved = (standing.done, standing.restored, -1 if in_hand else fetched)
        return Place(moved, in_hand or end is None or end > fetched, standing.waits_for)
