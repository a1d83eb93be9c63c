"""Who waits together commits together, and each is told what is true of its own, at whichever point of a transaction something fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    MessageSizeTooLargeError,
    ProducerFenced,
    TopicAuthorizationFailedError,
    UnknownError,
    UnknownTopicOrPartitionError,
)

from pipeline.model.record import Output, TopicPartition
from pipeline.ports.broker import Blocked, BrokerError, Committed, Fenced, Membership, Position, RecordRefused, Uncertain
from pipeline.runtime.brokers import kafka_joint_committer
from pipeline.runtime.brokers.kafka_batches import RECORDS_MOST
from pipeline.runtime.brokers.kafka_joint_committer import JointCommitter
from pipeline.runtime.brokers.kafka_transactional_producer import BatchFailed, GroupWentOn
from pipeline.runtime.brokers.kafka_transactions import KafkaTransactions

PLACE = TopicPartition("test.out", 0)
MEMBER = Membership("group", 3, "m-1")
BAD = b"bad"


class Broker:
    """What all producers of a test talk to.

    Attributes:
        said: What they did, in order: `init ID`, `take ID`, values and positions of each transaction, `commit`, `abort`, `stop`.
        failures: What a step raises, by the step's name: once for each in the list.
        gate: Set while a transaction may end.
    """

    def __init__(self) -> None:
        self.said: list[str] = []
        self.failures: dict[str, list[Exception]] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    def say(self, step: str, text: str = "") -> None:
        """Note a step, and fail where the test says so."""
        self.said.append(f"{step} {text}".strip())
        if self.failures.get(step):
            raise self.failures[step].pop(0)

    def producer(self, _bootstrap: str, transactional_id: str, _timeout_ms: int) -> Producer:
        """Make a producer."""
        return Producer(self, transactional_id)


class Producer:
    """A producer before such a broker; it refuses what is `bad`."""

    def __init__(self, broker: Broker, transactional_id: str) -> None:
        self._broker = broker
        self._id = transactional_id

    async def start(self) -> None:
        """Start."""
        self._broker.say("init", self._id)

    async def take_over(self, transactional_id: str) -> tuple[int, int]:
        """Take an id over."""
        self._broker.say("take", transactional_id)
        return 1, 1

    async def partitions_for(self, _topic: str) -> Collection[int]:
        """Give one partition."""
        return {0}

    def create_batch(self, *, packed: bool) -> Any:  # noqa: ANN401 (aiokafka's batch builder)
        """Give a builder that takes everything."""
        assert not packed
        return _Builder()

    async def produce(self, batches: Sequence[tuple[TopicPartition, Any]]) -> Mapping[TopicPartition, int]:
        """Write."""
        values = [value for _, batch in batches for value in batch.values]
        self._broker.say("produce", b" ".join(values).decode())
        await asyncio.sleep(0)
        if BAD in values:
            raise BatchFailed(PLACE, MessageSizeTooLargeError())
        return {PLACE: 100}

    async def send_offsets(self, positions: Mapping[TopicPartition, tuple[int, str]], member: Membership) -> None:
        """Write positions."""
        numbers = " ".join(str(offset) for offset, _ in positions.values())
        self._broker.say("offsets", f"{numbers} of generation {member.generation}")

    async def commit(self) -> None:
        """Commit."""
        await self._broker.gate.wait()
        self._broker.say("commit")

    async def abort(self) -> None:
        """Abort."""
        self._broker.say("abort")

    async def stop(self) -> None:
        """Stop."""
        self._broker.say("stop")


class _Builder:
    def __init__(self) -> None:
        self.values: list[bytes] = []

    def append(self, *, value: bytes, **_record: object) -> bool:
        self.values.append(value)
        return True

    def close(self) -> None:
        """Close."""

    def record_count(self) -> int:
        """Count them."""
        return len(self.values)


@pytest.fixture(name="broker")
async def a_broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """Let all producers talk to a broker of the test."""
    broker = Broker()
    monkeypatch.setattr(kafka_joint_committer, "TransactionalProducer", broker.producer)
    return broker


Opened = Callable[..., Awaitable[list[KafkaTransactions]]]


@pytest.fixture(name="opened")
async def some_partitions(broker: Broker) -> Opened:
    """Open partitions of one member."""

    async def opened(count: int, membership: Membership | None = MEMBER) -> list[KafkaTransactions]:
        committer = JointCommitter("127.0.0.1:1", {}, membership)
        partitions = [KafkaTransactions(committer, f"t-{number}") for number in range(count)]
        for one in partitions:
            await one.start()
        broker.said.clear()
        return partitions

    return opened


def commit(transactions: KafkaTransactions, value: bytes, offset: int = 1) -> asyncio.Task[Committed]:
    """Commit a record and a position."""
    positions = {TopicPartition("in", offset): Position(offset)}
    return asyncio.create_task(transactions.commit([Output("test.out", None, value, (), 0)], positions, "group"))


async def outcomes(*tasks: asyncio.Task[Committed]) -> list[Any]:
    """Give what each got, errors as their kinds."""
    return [type(one) if isinstance(one, BaseException) else one for one in await asyncio.gather(*tasks, return_exceptions=True)]


async def test_opening_takes_over_each_id_once(broker: Broker) -> None:
    """The first partition's id is the one that is written under; another worker of the same member fences nobody."""
    committer = JointCommitter("127.0.0.1:1", {}, MEMBER)
    for name in ("t-0", "t-1", "t-0", "t-1"):
        await KafkaTransactions(committer, name).start()
    assert ["init t-0", "take t-1"] == broker.said


async def test_a_lone_caller_commits_at_once(broker: Broker, opened: Opened) -> None:
    """Nothing waits for others."""
    (one,) = await opened(1)
    assert [Committed({PLACE: 100})] == await outcomes(commit(one, b"a"))
    assert ["produce a", "offsets 1 of generation 3", "commit"] == broker.said


async def test_who_comes_while_a_transaction_is_under_way_goes_in_the_next(broker: Broker, opened: Opened) -> None:
    """Three that wait are one transaction, which the first of them counts."""
    one, *others = await opened(4)
    broker.gate.clear()
    tasks = [commit(one, b"a")]
    while "produce a" not in broker.said:  # noqa: ASYNC110 (the broker is the test's own)
        await asyncio.sleep(0)
    tasks += [commit(other, b"%d" % number, number) for number, other in enumerate(others)]
    broker.gate.set()
    assert [False, False, True, True] == [done.joined for done in await outcomes(*tasks)]
    assert ["produce 0 1 2", "offsets 0 1 2 of generation 3", "commit"] == broker.said[3:]


async def test_a_partition_that_cannot_be_taken_over_holds_up_no_other(broker: Broker, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its coordinator may be away for long; the others commit meanwhile, with the producer that they have."""
    (one,) = await opened(1)
    answers = asyncio.Event()

    async def take_over(self: Producer, transactional_id: str) -> tuple[int, int]:
        self._broker.say("take", transactional_id)
        await answers.wait()
        raise KafkaConnectionError

    monkeypatch.setattr(Producer, "take_over", take_over)
    opening = asyncio.create_task(KafkaTransactions(one._committer, "t-1").start())
    while "take t-1" not in broker.said:  # noqa: ASYNC110 (the broker is the test's own)
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert [Committed({PLACE: 100})] == await outcomes(commit(one, b"a"))
    broker.failures["produce"] = [KafkaConnectionError()]
    assert [Uncertain] == await outcomes(commit(one, b"b"))
    await one.start()
    assert [Committed({PLACE: 100})] == await outcomes(commit(one, b"b"))
    answers.set()
    with pytest.raises(BrokerError, match="cannot take over the transactional id t-1"):
        await opening
    assert ["stop", "init t-0"] == [step for step in broker.said if step in ("stop", "init t-0")]


async def test_a_transaction_has_a_bound_in_bytes(broker: Broker, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not fit waits for the one after; who alone is larger goes alone."""
    monkeypatch.setattr(kafka_joint_committer, "JOINT_BYTES", 3)
    one, two, three = await opened(3)
    await outcomes(commit(one, b"aa"), commit(two, b"bb"), commit(three, b"cccc"))
    assert ["produce aa", "produce bb", "produce cccc"] == [step for step in broker.said if "produce" in step]


async def test_a_refused_record_is_its_callers_only(broker: Broker, opened: Opened) -> None:
    """The joint transaction is aborted, and each of its callers is committed alone."""
    one, two, three = await opened(3)
    good = Committed({PLACE: 100})
    assert [good, RecordRefused, good] == await outcomes(commit(one, b"a"), commit(two, BAD), commit(three, b"c"))
    assert ["produce a bad c", "produce a", "produce bad", "produce c"] == [step for step in broker.said if "produce" in step]
    assert 2 == broker.said.count("abort")
    assert 2 == broker.said.count("commit")


async def test_a_topic_that_only_one_of_them_may_not_write_blocks_that_one(broker: Broker, opened: Opened) -> None:
    """Whatever a broker answers before the end is told to whom it is about."""
    one, two = await opened(2)
    broker.failures["produce"] = [TopicAuthorizationFailedError(), TopicAuthorizationFailedError()]
    assert [Blocked, Committed({PLACE: 100})] == await outcomes(commit(one, b"a"), commit(two, b"b"))
    broker.failures["produce"] = [UnknownTopicOrPartitionError(), UnknownTopicOrPartitionError()]
    assert [Uncertain, Committed({PLACE: 100})] == await outcomes(commit(one, b"a"), commit(two, b"b"))


@pytest.mark.parametrize("step", ["produce", "offsets", "commit"])
@pytest.mark.parametrize("error", [KafkaConnectionError(), TimeoutError(), OSError()])
async def test_doubt_is_everybodys_and_ends_the_producer(broker: Broker, opened: Opened, step: str, error: Exception) -> None:
    """All that went together start anew; who did not goes on with a producer that fences the one in doubt."""
    one, two, three = await opened(3)
    broker.failures[step] = [error]
    assert [Uncertain, Uncertain] == await outcomes(commit(one, b"a"), commit(two, b"b"))
    assert [Committed({PLACE: 100})] == await outcomes(commit(three, b"c"))
    assert "stop" in broker.said
    assert "init t-0" in broker.said
    assert [Uncertain] == await outcomes(commit(one, b"a"))  # until it has started anew
    await one.start()
    assert [Committed({PLACE: 100})] == await outcomes(commit(one, b"a"))


@pytest.mark.parametrize("error", [ProducerFenced(), GroupWentOn()])
async def test_who_is_fenced_takes_nothing_back(broker: Broker, opened: Opened, error: Exception) -> None:
    """All of the member are fenced, also who was not in the transaction, until one of them starts anew; no id is taken from the new owner."""
    one, two, three = await opened(3)
    broker.failures["offsets"] = [error]
    assert [Fenced, Fenced] == await outcomes(commit(one, b"a"), commit(two, b"b"))
    assert [Fenced] == await outcomes(commit(three, b"c"))
    assert "init t-0" not in broker.said


async def test_a_member_that_the_group_does_not_know_commits_nothing(broker: Broker, opened: Opened) -> None:
    """Without a generation its positions would be taken as anybody's."""
    (one,) = await opened(1, Membership("group", -1, ""))
    assert [Fenced] == await outcomes(commit(one, b"a"))
    assert ["produce a", "abort", "stop"] == broker.said


async def test_whoever_commits_alone_is_nobodys_member(broker: Broker, opened: Opened) -> None:
    """Its transactional id alone fences it."""
    (one,) = await opened(1, None)
    await outcomes(commit(one, b"a"))
    assert "offsets 1 of generation -1" in broker.said


async def test_a_caller_that_is_cancelled_while_it_waits_leaves(broker: Broker, opened: Opened) -> None:
    """Nothing of it is written."""
    one, two = await opened(2)
    broker.gate.clear()
    first = commit(one, b"a")
    while "produce a" not in broker.said:  # noqa: ASYNC110 (the broker is the test's own)
        await asyncio.sleep(0)
    second = commit(two, b"b")
    await asyncio.sleep(0)
    second.cancel()
    broker.gate.set()
    await outcomes(first, second)
    assert ["produce a", "offsets 1 of generation 3", "commit"] == broker.said


async def test_a_caller_that_is_cancelled_under_way_is_waited_for_when_it_starts_anew(broker: Broker, opened: Opened) -> None:
    """Its position is read after its transaction has ended, however that ended; and so it is the next time."""
    one, _other = await opened(2)
    for _ in range(2):
        broker.said.clear()
        broker.gate.clear()
        task = commit(one, b"a")
        while "offsets 1 of generation 3" not in broker.said:  # noqa: ASYNC110 (the broker is the test's own)
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        await one.stop()
        starting = asyncio.create_task(one.start())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not starting.done()
        broker.gate.set()
        await starting
        assert "commit" == broker.said[-1]


async def test_a_worker_before_another_of_its_partition_commits_nothing(opened: Opened) -> None:
    """Whoever started a partition last is its only owner."""
    (one,) = await opened(1)
    await KafkaTransactions(one._committer, "t-0").start()
    assert [Fenced] == await outcomes(commit(one, b"a"))


async def test_the_last_one_closes_the_connections(broker: Broker, opened: Opened) -> None:
    """As long as one partition is open, the producer is kept."""
    one, two = await opened(2)
    await one.stop()
    assert [] == broker.said
    await two.stop()
    assert ["stop"] == broker.said


async def test_an_id_that_cannot_be_taken_over_is_named(broker: Broker) -> None:
    """The producer is thrown away, and made anew at the next try."""
    committer = JointCommitter("127.0.0.1:1", {}, MEMBER)
    one, two = (KafkaTransactions(committer, name) for name in ("t-0", "t-1"))
    await one.start()
    broker.failures["take"] = [KafkaConnectionError()]
    with pytest.raises(BrokerError, match="t-1"):
        await two.start()
    await two.start()
    assert ["init t-0", "take t-1", "stop", "init t-0", "take t-1"] == broker.said


@pytest.mark.parametrize("on_abort", [None, KafkaConnectionError(), OSError()])
async def test_everything_else_is_doubt(broker: Broker, opened: Opened, on_abort: Exception | None) -> None:
    """Whatever else goes wrong, in a batch or in the abort after it, is doubt and never a bug of the worker."""
    (one,) = await opened(1)
    broker.failures = {"produce": [BatchFailed(PLACE, UnknownError())], "abort": [on_abort] if on_abort else []}
    assert [Uncertain] == await outcomes(commit(one, b"a"))


async def test_a_bug_is_the_callers(broker: Broker, opened: Opened) -> None:
    """It is raised where the commit was asked for, and not lost in a task of its own."""
    (one,) = await opened(1)
    broker.failures["offsets"] = [ZeroDivisionError()]
    assert [ZeroDivisionError] == await outcomes(commit(one, b"a"))


async def test_a_producer_is_replaced_before_its_numbers_overflow(broker: Broker, opened: Opened) -> None:
    """After 2^30 records a fresh one goes on (reference: reliability, rule 5)."""
    (one,) = await opened(1)
    one._committer._written = RECORDS_MOST  # a billion records take hours
    assert [Committed({PLACE: 100})] == await outcomes(commit(one, b"a"))
    assert ["stop", "init t-0"] == broker.said[:2]
