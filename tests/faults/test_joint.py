"""Several partitions in one transaction: each case is a moment at which only one of its precautions stands between a stale owner and a duplicate.

The members are real, in this process, so that a transaction can be held at a certain step. What a stale owner writes is `stale`, what the new
one writes, from the position that it read, is `fresh`: a partition that has both has an event twice.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.dedup.window import pack
from pipeline.model.limits import TOPIC_MESSAGE_BYTES
from pipeline.model.record import Output, TopicPartition
from pipeline.model.topics import Declared
from pipeline.ports.broker import BrokerError, Committed, Membership, Position, RecordRefused, Transactions
from pipeline.runtime.brokers import kafka_admin, kafka_stable_offsets
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.brokers.kafka_joint_committer import JointCommitter
from pipeline.runtime.brokers.kafka_transactional_producer import TransactionalProducer
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.dedup_state import DedupState
from pipeline.runtime.metrics.memory import MemoryMetrics
from pipeline.runtime.stores.sorted_runs import SortedRunsStore
from tests.conftest import Kafka
from tests.faults.report import Row

pytestmark = [pytest.mark.faults, pytest.mark.integration]

PARTITIONS = 4
HELD_SECONDS = 1.0
"""How long a transaction is held while its successor reads: it must wait, and a broken build does not."""
DIGEST = b"\x01" * 16


class Owner:
    """A real member of the group, and what its partitions commit with.

    Attributes:
        mine: The partitions that it has now.
        membership: Under which it was given them.
    """

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.broker = KafkaBroker(bootstrap)
        self.consumer = self.broker.consumer(f"{prefix}.group")
        self.mine: set[int] = set()
        self.membership = Membership("", -1, "")
        self._prefix = prefix
        self._opened: list[Transactions] = []

    async def join(self) -> None:
        """Join the group."""
        await self.consumer.start([f"{self._prefix}.in"], self._assigned, self._revoked)

    async def _assigned(self, partitions: Collection[TopicPartition]) -> None:
        self.mine = {number for _, number in partitions}
        self.membership = self.consumer.membership()

    async def _revoked(self, _partitions: Collection[TopicPartition]) -> None:
        self.mine = set()

    async def open(self, number: int) -> Transactions:
        """Open a partition, as its worker does."""
        transactions = self.broker.transactions(f"{self._prefix}-t-{number}", self.membership)
        await transactions.start()
        self._opened.append(transactions)
        return transactions

    async def committed(self, number: int) -> Position | None:
        """Read where to go on."""
        return await self.consumer.committed(TopicPartition(f"{self._prefix}.in", number))

    def output(self, number: int, value: bytes) -> Output:
        """Make a record of a partition's work."""
        return Output(f"{self._prefix}.out", None, value, (), number)

    def commit(self, transactions: Transactions, number: int, *values: bytes) -> asyncio.Task[Committed]:
        """Commit records of a partition, and that its first input is done."""
        position = {TopicPartition(f"{self._prefix}.in", number): Position(1)}
        outputs = [self.output(number, value) for value in values]
        return asyncio.create_task(transactions.commit(outputs, position, f"{self._prefix}.group"))

    async def written(self, number: int) -> list[bytes | None]:
        """Read what was committed of a partition's work."""
        batches = self.broker.reader().read(f"{self._prefix}.out", partitions=(number,), settled=True)
        return [record.value async for batch in batches for record in batch]

    async def stop(self) -> None:
        """Leave."""
        for transactions in self._opened:
            await transactions.stop()
        await self.consumer.stop()


@asynccontextmanager
async def owners(kafka: Kafka, prefix: str, count: int) -> AsyncIterator[list[Owner]]:
    """Give members of one group over topics of their own, not joined."""
    log = {"message.timestamp.type": "LogAppendTime"}
    names = (f"{prefix}.in", f"{prefix}.out", f"{prefix}.changelog")
    await KafkaBroker(kafka.bootstrap).admin().create([Declared(name, PARTITIONS, log) for name in names])
    members = [Owner(kafka.bootstrap, prefix) for _ in range(count)]
    try:
        yield members
    finally:
        for one in members:
            await one.stop()


async def until_shared(*members: Owner) -> None:
    """Wait until members have all partitions between them."""
    async with asyncio.timeout(30):
        while sum(len(one.mine) for one in members) != PARTITIONS or not all(one.mine for one in members):  # noqa: ASYNC110 (it is the broker's)
            await asyncio.sleep(0.02)


class Held:
    """A step of a member's joint transactions that is held until it is let go, as where its process stands still.

    Args:
        owner: The member, one of whose partitions is open.
        step: `send_offsets`, after the records are stored; or `commit`, after the positions are.
    """

    def __init__(self, owner: Owner, step: str) -> None:
        self.reached = asyncio.Event()
        self.let_go = asyncio.Event()
        producer = owner.broker._joint[owner.membership]._producer
        assert producer is not None
        inner: Callable[..., Awaitable[None]] = getattr(producer, step)

        async def held(*arguments: Any) -> None:  # noqa: ANN401 (the step's own)
            self.reached.set()
            await self.let_go.wait()
            await inner(*arguments)

        setattr(producer, step, held)


Scenario = Callable[[str], Awaitable[list[str]]]
"""Runs a case under a prefix of its own; gives what it finds wrong."""


async def _prove(row: Row, prefix: str, scenario: Scenario, name: str, broken: Callable[[pytest.MonkeyPatch], None]) -> None:
    """Run a case on the product, which must do nothing wrong, and on a broken build, which must."""
    assert [] == await scenario(prefix)
    row.kills = 1
    with pytest.MonkeyPatch.context() as patch:
        broken(patch)
        wrong = await scenario(f"{prefix}-{name}")
    print(f"broken build {name}: {'caught: ' + wrong[0] if wrong else 'NOT CAUGHT'}")
    row.caught[name] = bool(wrong)
    assert wrong


async def _doubled(owner: Owner, number: int) -> list[str]:
    values = await owner.written(number)
    return [] if len(values) == 1 else [f"partition {number} has {values}"]


async def _go_on(owner: Owner, transactions: Transactions, number: int, position: Position | None) -> None:
    """Do the first input, unless it is done."""
    if position is None:
        await owner.commit(transactions, number, b"fresh")


@pytest.mark.fault("T3")
async def test_a_zombie_that_had_two_partitions_which_two_others_have_now_commits_nothing(kafka: Kafka, prefix: str, row: Row) -> None:
    """It wakes in the middle of its joint transaction, before the owner of the id that it goes under has opened: the group alone fences it."""

    async def scenario(name: str) -> list[str]:
        async with owners(kafka, name, 3) as (zombie, *others):
            await zombie.join()
            await until_shared(zombie)
            stale = [await zombie.open(number) for number in (0, 1)]
            held = Held(zombie, "send_offsets")
            commits = [zombie.commit(one, number, b"stale") for number, one in enumerate(stale)]
            await held.reached.wait()
            await zombie.consumer.stop()
            for other in others:
                await other.join()
            await until_shared(*others)
            owner = next(other for other in others if 1 in other.mine)
            fresh = await owner.open(1)
            position = await owner.committed(1)
            held.let_go.set()
            await asyncio.wait(commits)
            await _go_on(owner, fresh, 1, position)
            told = [type(one.exception()).__name__ for one in commits]
            return [*await _doubled(owner, 1), *(f"the zombie is told {one}" for one in told if one != "Fenced")]

    def groupless(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(JointCommitter, "_member_of", lambda _self, group: Membership(group, -1, ""))

    await _prove(row, prefix, scenario, "groupless", groupless)


@pytest.mark.fault("T6")
async def test_a_stale_transaction_does_not_ride_on_a_new_generation(kafka: Kafka, prefix: str, row: Row) -> None:
    """A member whose transaction lasts longer than its assignment is still in the group: its next generation does not cover what it began before."""
    members: list[Owner] = []

    async def scenario(name: str) -> list[str]:
        async with owners(kafka, name, 2) as members[:]:
            late, other = members
            await late.join()
            await until_shared(late)
            stale = {number: await late.open(number) for number in range(PARTITIONS)}
            held = Held(late, "send_offsets")
            commits = [late.commit(one, number, b"stale") for number, one in stale.items()]
            await held.reached.wait()
            await other.join()
            await until_shared(late, other)
            moved = max(other.mine)  # not the first, under whose id the joint transaction goes
            fresh = await other.open(moved)
            position = await other.committed(moved)
            held.let_go.set()
            await asyncio.wait(commits)
            await _go_on(other, fresh, moved, position)
            return await _doubled(other, moved)

    def read_late(patch: pytest.MonkeyPatch) -> None:
        send_offsets = TransactionalProducer.send_offsets
        patch.setattr(TransactionalProducer, "send_offsets", lambda self, positions, _member: send_offsets(self, positions, members[0].membership))

    await _prove(row, prefix, scenario, "read_late", read_late)


@pytest.mark.fault("T5")
async def test_a_position_that_a_transaction_is_about_to_decide_is_waited_for(kafka: Kafka, prefix: str, row: Row) -> None:
    """The new owner of a partition opens while the old one's joint transaction, under another partition's id, is at its end."""

    async def scenario(name: str) -> list[str]:
        async with owners(kafka, name, 2) as (old, new):
            await old.join()
            await until_shared(old)
            stale = [await old.open(number) for number in (0, 1)]
            held = Held(old, "commit")
            commits = [old.commit(one, number, b"stale") for number, one in enumerate(stale)]
            await held.reached.wait()
            await old.consumer.stop()
            await new.join()
            await until_shared(new)
            fresh = await new.open(1)
            reading = asyncio.create_task(new.committed(1))
            await asyncio.wait({reading}, timeout=HELD_SECONDS)
            held.let_go.set()
            await asyncio.wait(commits)
            await _go_on(new, fresh, 1, await reading)
            return await _doubled(new, 1)

    request = kafka_stable_offsets.OffsetFetchRequest_v7

    def unstable(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(kafka_stable_offsets, "OffsetFetchRequest_v7", lambda group, topics, _stable, tags: request(group, topics, False, tags))  # noqa: FBT003 (a structure of the protocol)

    await _prove(row, prefix, scenario, "unstable", unstable)


@pytest.mark.fault("T2")
async def test_state_is_restored_after_what_its_last_owner_wrote_is_decided(kafka: Kafka, prefix: str, tmp_path: Path, row: Row) -> None:
    """The marker of a transaction comes to the changelog later than its end elsewhere: what it brings is waited for."""

    async def scenario(name: str) -> list[str]:
        async with owners(kafka, name, 1) as (old,):
            await old.join()
            await until_shared(old)
            transactions = await old.open(1)
            held = Held(old, "commit")
            record = Output(f"{name}.changelog", None, pack({DIGEST: (1_000, 7)}), (), 1)
            commit = asyncio.create_task(transactions.commit([record], {}, f"{name}.group"))
            await held.reached.wait()
            state = DedupState(
                TopicPartition(f"{name}.changelog", 1),
                processor="once",
                open_store=lambda: SortedRunsStore(tmp_path / name, 200_000),
                broker=old.broker,
                clock=SystemClock(),
                metrics=MemoryMetrics(),
            )
            restoring = asyncio.create_task(state.restore(resumed=True))
            await asyncio.wait({restoring}, timeout=HELD_SECONDS)
            held.let_go.set()
            await commit
            await restoring
            try:
                return [] if state.first_seen(DIGEST) else ["a message that was seen is not known"]
            finally:
                state.close()

    def unsettled(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(kafka_admin, "settled_ends", kafka_admin.last_stable_ends)

    await _prove(row, prefix, scenario, "unsettled", unsettled)


@pytest.mark.fault("T11")
async def test_a_record_that_is_refused_leaves_the_others_of_its_transaction_alone(kafka: Kafka, prefix: str, row: Row) -> None:
    """Of four partitions that commit together one has a record that is too large: the other three are committed, once, in their order."""

    async def scenario(name: str) -> list[str]:
        async with owners(kafka, name, 1) as (owner,):
            await owner.join()
            await until_shared(owner)
            opened = [await owner.open(number) for number in range(PARTITIONS)]
            bad = os.urandom(TOPIC_MESSAGE_BYTES + 100_000)  # packed, it must still be too large
            commits = [owner.commit(one, number, b"1", bad if number == 2 else b"2") for number, one in enumerate(opened)]
            outcomes = await asyncio.gather(*commits, return_exceptions=True)
            wrong = [] if isinstance(outcomes[2], RecordRefused) else [f"whose record is refused is told {outcomes[2]!r}"]
            wrong += [f"partition {number} is told {one!r}" for number, one in enumerate(outcomes) if number != 2 and isinstance(one, BrokerError)]
            for number in range(PARTITIONS):
                values, position = await owner.written(number), await owner.committed(number)
                good: tuple[Sequence[bytes], Position | None] = ([], None) if number == 2 else ([b"1", b"2"], Position(1))
                wrong += [] if good == (values, position) else [f"partition {number} has {len(values)} records, at {position}"]
            return wrong

    def all_punished(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(JointCommitter, "_undone", lambda *_arguments: False)

    await _prove(row, prefix, scenario, "all_punished", all_punished)


@pytest.mark.fault("T12")
async def test_a_caller_that_is_cut_off_under_way_reads_what_became_of_it(kafka: Kafka, prefix: str, row: Row) -> None:
    """A worker that is cancelled inside a joint transaction, and opens its partition again, goes on behind what that transaction wrote."""

    async def scenario(name: str) -> list[str]:
        async with owners(kafka, name, 1) as (owner,):
            await owner.join()
            await until_shared(owner)
            one, other = await owner.open(0), await owner.open(1)
            held = Held(owner, "send_offsets")
            commits = [owner.commit(one, 0, b"first"), owner.commit(other, 1, b"stale")]
            await held.reached.wait()
            commits[1].cancel()
            await asyncio.wait({commits[1]})
            await other.stop()
            opening = asyncio.create_task(owner.open(1))
            await asyncio.wait({opening}, timeout=HELD_SECONDS)
            reading = asyncio.create_task(_opened_at(owner, opening))
            await asyncio.wait({reading}, timeout=HELD_SECONDS)
            held.let_go.set()
            await commits[0]
            await _go_on(owner, opening.result() if opening.done() else await opening, 1, await reading)
            return await _doubled(owner, 1)

    def hasty(patch: pytest.MonkeyPatch) -> None:
        opened = JointCommitter.open

        async def at_once(self: JointCommitter, transactional_id: str, owner: object) -> None:
            under_way, self._under_way = self._under_way, []
            try:
                await opened(self, transactional_id, owner)
            finally:
                self._under_way = under_way

        patch.setattr(JointCommitter, "open", at_once)

    await _prove(row, prefix, scenario, "hasty", hasty)


async def _opened_at(owner: Owner, opening: asyncio.Task[Transactions]) -> Position | None:
    await opening
    return await owner.committed(1)
