"""One transaction at a time for all partitions of a group's member: whoever comes while one is under way goes in the next (group commit).

What fences is the group: positions are written under the membership that the partitions were assigned by (KIP-447). The transactional ids stay
one for each input partition, and opening a partition takes over its id, so that what a predecessor left open ends at once, not after the broker's
timeout: the joint transactions go under the id of the first partition that was opened, which some member owns, and takes over, after us.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Final

from aiokafka.errors import (
    BrokerResponseError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    InvalidTopicError,
    KafkaError,
    ProducerFenced,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from pipeline.model.record import Output, TopicPartition
from pipeline.ports.broker import Blocked, BrokerError, Committed, Fenced, Membership, Position, RecordRefused, Uncertain
from pipeline.runtime.brokers.kafka_batches import RECORDS_MOST, REFUSALS, Placement, packed_in_turns
from pipeline.runtime.brokers.kafka_topics import Pins, marked
from pipeline.runtime.brokers.kafka_transactional_producer import BatchFailed, GroupWentOn, TransactionalProducer

TRANSACTION_TIMEOUT_MS: Final = 10_000
"""After this the broker aborts what a dead owner left open, so that it blocks readers for seconds only."""
DEADLINE_SECONDS: Final = 9.0
"""Longest wait for a commit; below the transaction's timeout."""
START_SECONDS: Final = 30.0
JOINT_BYTES: Final = 8 * 1024 * 1024
"""Output above which no further caller goes into a transaction."""
_RIGHTS = (
    TopicAuthorizationFailedError,
    GroupAuthorizationFailedError,
    ClusterAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    InvalidTopicError,
)
_FAILURES = (BatchFailed, GroupWentOn, TimeoutError, KafkaError, OSError)
Positions = Mapping[TopicPartition, Position]


class Call:
    """What one caller wants committed.

    Args:
        transactional_id: Whose it is.
        outputs: Records in order.
        positions: Input positions to commit with them.
        group: The consumer group that they belong to.

    Attributes:
        size: Bytes of its values.
        done: Gets what was committed, or the error; cancelled where nobody waits any more.
    """

    def __init__(self, transactional_id: str, outputs: Sequence[Output], positions: Positions, group: str) -> None:
        self.transactional_id = transactional_id
        self.outputs = outputs
        self.positions = positions
        self.group = group
        self.size = sum(len(output.value or b"") for output in outputs)
        self.done: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()


class JointCommitter:
    """Commits for the partitions of one assignment.

    Args:
        bootstrap: `host:port`, comma separated.
        pins: The topics that groups work on.
        membership: What the group fences its positions by, or None for one that commits alone and is fenced by its id only.
    """

    def __init__(self, bootstrap: str, pins: Pins, membership: Membership | None = None) -> None:
        self._bootstrap = bootstrap
        self._pins = pins
        self._membership = membership
        self._id = ""
        self._open: dict[str, object] = {}
        self._taken: set[str] = set()
        self._starting = asyncio.Lock()
        self._producer: TransactionalProducer | None = None
        self._placement = Placement()
        self._written = 0
        self._fenced = ""
        self._ending = False
        self._waiting: deque[Call] = deque()
        self._under_way: list[Call] = []
        self._working: asyncio.Task[None] | None = None
        self._landed = asyncio.Event()

    async def open(self, transactional_id: str, owner: object) -> None:
        """Take over a partition's id; a transaction of ours that still has something of it is waited for.

        Args:
            transactional_id: The id.
            owner: Who commits under it from now on, and nobody else.

        Raises:
            BrokerError: The broker did not answer in time.
        """
        self._open[transactional_id] = owner
        while any(call.transactional_id == transactional_id for call in self._under_way):
            await self._landed.wait()
        self._id = self._id or transactional_id
        self._fenced = ""
        producer: TransactionalProducer | None = None
        try:
            async with asyncio.timeout(START_SECONDS):
                async with self._starting:
                    producer = await self._started()
                if transactional_id not in self._taken:  # beside what the others commit: it may wait for long
                    await producer.take_over(transactional_id)
        except _FAILURES as error:
            if self._producer is producer and not self._under_way:  # else it is in good use, or finds out by itself
                await self._discard()
            reason = f"cannot take over the transactional id {transactional_id}: {str(error) or 'no answer from the broker'}"
            raise BrokerError(reason) from error
        self._taken.add(transactional_id)

    def owned(self, transactional_id: str, owner: object) -> bool:
        """Tell whether someone is who opened an id last, and has not closed it."""
        return self._open.get(transactional_id) is owner

    async def commit(self, call: Call) -> Committed:
        """Commit with all others that wait; see the port for what is raised."""
        self._waiting.append(call)
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work(), name=f"commit {self._id}")
        return await call.done

    async def close(self, transactional_id: str, owner: object) -> None:
        """Let go of an id; the last one ends what is under way and closes the connections. Never raises."""
        if self.owned(transactional_id, owner):
            del self._open[transactional_id]
        if not self._open:
            try:
                if self._working is not None:
                    self._working.cancel()
                    await asyncio.wait({self._working})
            finally:
                if not self._open:  # nobody has come meanwhile
                    _fail(self._waiting, Uncertain(f"{self._id} was stopped"))
                    self._waiting.clear()
                    await self._discard()

    async def _started(self) -> TransactionalProducer:
        if self._producer is None:
            producer = TransactionalProducer(self._bootstrap, self._id, TRANSACTION_TIMEOUT_MS)
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer, self._placement, self._written = producer, Placement(), 0
            self._taken.add(self._id)
        return self._producer

    async def _discard(self) -> None:
        """Throw the producer away; the next one fences it, and ends what it left open."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def _work(self) -> None:
        try:
            while calls := self._gathered():
                self._under_way = calls
                self._landed.clear()
                await self._together(calls)
                self._under_way = []
                self._landed.set()
        finally:
            _fail([*self._under_way, *self._waiting], Uncertain(f"{self._id} was stopped"))
            self._under_way = []
            self._waiting.clear()
            self._landed.set()

    def _gathered(self) -> list[Call]:
        """Take from those that wait what goes into the next transaction, at least one."""
        calls: list[Call] = []
        size = 0
        while self._waiting:
            call = self._waiting[0]
            if not call.done.done():
                if calls and size + call.size > JOINT_BYTES:
                    break
                calls.append(call)
                size += call.size
            self._waiting.popleft()
        return calls

    async def _together(self, calls: Sequence[Call]) -> None:
        try:
            ends = await self._transact(calls)
        except BrokerError as error:
            if len(calls) > 1 and self._undone(error):
                for call in calls:  # one of them is to blame: each is told what is true of its own
                    if not call.done.done():
                        await self._together([call])
            else:
                _fail(calls, error)
        except Exception as error:  # noqa: BLE001 (a bug is the callers' to raise: nobody waits for this task)
            _fail(calls, error)
        else:
            for number, (call, own) in enumerate(zip(calls, ends, strict=True)):
                if not call.done.done():
                    call.done.set_result(Committed(own, joined=number > 0))

    def _undone(self, error: BrokerError) -> bool:
        """Say whether a transaction was certainly not committed, and for a reason that may be one caller's only."""
        return not self._ending and not isinstance(error, Fenced) and isinstance(error.__cause__, BatchFailed | BrokerResponseError)

    async def _transact(self, calls: Sequence[Call]) -> Sequence[Mapping[TopicPartition, int]]:
        self._ending = False
        if self._fenced:
            raise Fenced(self._fenced)
        count = sum(len(call.outputs) for call in calls)
        try:
            async with self._starting, asyncio.timeout(START_SECONDS):
                if self._written + count > RECORDS_MOST:
                    await self._discard()
                producer = await self._started()
            self._written += count
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await self._commit(producer, calls)
        except _FAILURES as error:
            await self._discard()
            told = _told(self._id, error)
            if isinstance(told, Fenced):
                self._fenced = str(told)
            raise told from error
        except BaseException:
            await self._discard()
            raise

    async def _commit(self, producer: TransactionalProducer, calls: Sequence[Call]) -> Sequence[Mapping[TopicPartition, int]]:
        placed = [await self._placement.placed(producer, call.outputs) for call in calls]
        together: dict[TopicPartition, list[Output]] = {}
        for own in placed:
            for partition, records in own.items():
                together.setdefault(partition, []).extend(records)
        batches = await packed_in_turns(producer, together)
        try:
            ends = await producer.produce(batches)
            await self._send_offsets(producer, calls)
        except (BatchFailed, GroupWentOn):
            await producer.abort()
            raise
        self._ending = True
        await producer.commit()
        return [{partition: ends[partition] for partition in own} for own in placed]

    async def _send_offsets(self, producer: TransactionalProducer, calls: Sequence[Call]) -> None:
        positions: dict[str, dict[TopicPartition, tuple[int, str]]] = {}
        for call in calls:
            for key, value in call.positions.items():
                positions.setdefault(call.group, {})[key] = (value.offset, marked(self._pins, call.group, key, value))
        for group, of_group in positions.items():
            await producer.send_offsets(of_group, self._member_of(group))

    def _member_of(self, group: str) -> Membership:
        if self._membership is None or self._membership.group != group:
            return Membership(group, -1, "")
        if self._membership.generation < 0:  # the group lost sight of the member before it learned what was assigned to it
            raise GroupWentOn("the member was none any more when its partitions were assigned")
        return self._membership


def _told(transactional_id: str, error: BaseException) -> BrokerError:
    """Say in the port's words what a failure means."""
    if isinstance(error, ProducerFenced):
        return Fenced(f"another instance has taken over {transactional_id}")
    if isinstance(error, GroupWentOn):
        return Fenced(f"the group has gone on without the member that writes as {transactional_id}: {error}")
    if isinstance(error, BatchFailed):
        kind = RecordRefused if isinstance(error.error, REFUSALS) else Blocked if isinstance(error.error, _RIGHTS) else Uncertain
        return kind(f"the broker refused what {transactional_id} writes to {error}")
    if isinstance(error, _RIGHTS):
        return Blocked(f"a right of {transactional_id} is missing: {type(error).__name__}: {error}")
    if isinstance(error, TimeoutError):
        return Uncertain(f"no outcome of a transaction of {transactional_id} within {DEADLINE_SECONDS:g} s")
    return Uncertain(f"unknown outcome of a transaction of {transactional_id}: {type(error).__name__}: {error}")


def _fail(calls: Iterable[Call], error: Exception) -> None:
    """Tell each caller, with an error of its own."""
    for number, call in enumerate(calls):
        if not call.done.done():
            own = error
            if isinstance(error, BrokerError):
                own = copy(error)
                own.__cause__ = error.__cause__
                own.joined = number > 0
            call.done.set_exception(own)
