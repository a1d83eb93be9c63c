"""The contract of the broker port, held by the broker in memory and by a real Kafka alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from random import Random
from typing import NamedTuple

import pytest
from aiokafka import AIOKafkaProducer

from pipeline.model.ids import partition_of
from pipeline.model.limits import TOPIC_MESSAGE_BYTES
from pipeline.model.record import Output, Record, TopicPartition
from pipeline.model.topics import Declared
from pipeline.ports.broker import Broker, BrokerError, Committed, Consumer, Fenced, Membership, Position, Producer, RecordRefused, Transactions
from pipeline.runtime.brokers import kafka_transaction_requests
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.brokers.memory import MemoryBroker
from tests.conftest import Kafka

PARTITIONS = 4
TOO_LARGE = Random(1).randbytes(TOPIC_MESSAGE_BYTES + 1024)  # noqa: S311 (what no codec makes smaller)
KEYS = [b"", b"a", b"21", b"user-7", "żółć".encode(), b"\x00\xff\x80", *(b"key-%d" % number for number in range(20))]


class Cluster(NamedTuple):
    """A broker with names of its own."""

    broker: Broker
    prefix: str

    def name(self, short: str) -> str:
        """Give the full name of a topic, group or transactional id."""
        return f"{self.prefix}.{short}"

    async def create(self, *topics: str, partitions: int = PARTITIONS) -> None:
        """Create topics."""
        await self.broker.admin().create([Declared(self.name(topic), partitions, {"message.timestamp.type": "LogAppendTime"}) for topic in topics])

    async def read(self, topic: str, *, start: Mapping[int, int] | None = None, partitions: Collection[int] | None = None) -> list[Record]:
        """Read a topic to its present end, in the order of partition and offset."""
        found = [
            record
            async for records in self.broker.reader().read(self.name(topic), start=start, partitions=partitions, settled=True)
            for record in records
        ]
        return sorted(found, key=lambda record: (record.partition, record.offset))

    async def values(self, topic: str) -> list[bytes | None]:
        """Read the values of a topic."""
        return [record.value for record in await self.read(topic)]

    async def committed(self, group: str, topic: str, partition: int = 0) -> Position | None:
        """Read a group's position as a new owner does: a commit may be over before its position is to be read, unless its owner is fenced first."""
        await self.fence()
        consumer = self.broker.consumer(self.name(group))
        try:
            return await consumer.committed(TopicPartition(self.name(topic), partition))
        finally:
            await consumer.stop()

    @asynccontextmanager
    async def owner(self, transactional_id: str) -> AsyncIterator[Transactions]:
        """Give a transactional producer, started."""
        transactions = self.broker.transactions(self.name(transactional_id))
        await transactions.start()
        try:
            yield transactions
        finally:
            await transactions.stop()

    async def fence(self) -> None:
        """End what the owner of the tests' transactional id left open."""
        async with self.owner("t"):
            pass

    @asynccontextmanager
    async def writer(self) -> AsyncIterator[Producer]:
        """Give an idempotent producer, started."""
        producer = self.broker.producer()
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    def output(self, topic: str, value: bytes | None, key: bytes | None = None, partition: int | None = 0) -> Output:
        """Make a record to write."""
        return Output(self.name(topic), key, value, (), partition)


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.integration)])
def cluster(request: pytest.FixtureRequest, prefix: str) -> Cluster:
    """Each broker in turn."""
    if request.param == "memory":
        return Cluster(MemoryBroker(), prefix)
    kafka: Kafka = request.getfixturevalue("kafka")
    return Cluster(KafkaBroker(kafka.bootstrap), prefix)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; fails after 30 seconds."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 (what it waits for is not of our making)
            await asyncio.sleep(0.02)


async def test_a_commit_writes_everything(cluster: Cluster) -> None:
    """Records of several topics and the group's position appear together; ends lie after the last record of each partition."""
    await cluster.create("in", "one", "two")
    position = {TopicPartition(cluster.name("in"), 0): Position(3)}
    outputs = [cluster.output("one", b"1"), cluster.output("two", b"2", partition=3), cluster.output("one", b"3")]
    async with cluster.owner("t") as transactions:
        ends = (await transactions.commit(outputs, position, cluster.name("group"))).ends
    one, two = await cluster.read("one"), await cluster.read("two")
    assert [b"1", b"3"] == [record.value for record in one]
    assert [(3, b"2")] == [(record.partition, record.value) for record in two]
    assert {
        TopicPartition(cluster.name("one"), 0): one[-1].offset + 1,
        TopicPartition(cluster.name("two"), 3): two[-1].offset + 1,
    } == ends
    assert Position(3) == await cluster.committed("group", "in")


async def test_a_refused_record_undoes_the_whole_transaction(cluster: Cluster) -> None:
    """One record too large: nothing of its transaction is ever seen, in no topic, and the offset stays where it was."""
    await cluster.create("in", "one", "two")
    partition = TopicPartition(cluster.name("in"), 0)
    async with cluster.owner("t") as transactions:
        await transactions.commit([cluster.output("one", b"before")], {partition: Position(1)}, cluster.name("group"))
        outputs = [cluster.output("one", b"lost"), cluster.output("two", TOO_LARGE), cluster.output("two", b"lost", partition=1)]
        with pytest.raises(RecordRefused):
            await transactions.commit(outputs, {partition: Position(2)}, cluster.name("group"))
    assert [b"before"] == await cluster.values("one")
    assert [] == await cluster.values("two")
    assert Position(1) == await cluster.committed("group", "in")
    async with cluster.owner("t") as transactions:
        await transactions.commit([cluster.output("two", b"after")], {partition: Position(2)}, cluster.name("group"))
    assert [b"after"] == await cluster.values("two")
    assert Position(2) == await cluster.committed("group", "in")


async def test_a_stale_owner_is_fenced(cluster: Cluster) -> None:
    """Whoever starts a transactional id is its only owner from then on; the stale one writes nothing and learns why."""
    await cluster.create("in", "one")
    partition = TopicPartition(cluster.name("in"), 0)
    async with cluster.owner("t") as stale:
        await stale.commit([cluster.output("one", b"1")], {partition: Position(1)}, cluster.name("group"))
        async with cluster.owner("t") as new:
            outputs = [cluster.output("one", b"stale", partition=number) for number in range(PARTITIONS)]
            with pytest.raises(Fenced):
                await stale.commit(outputs, {partition: Position(9)}, cluster.name("group"))
            await new.commit([cluster.output("one", b"2")], {partition: Position(2)}, cluster.name("group"))
    assert [b"1", b"2"] == await cluster.values("one")
    assert Position(2) == await cluster.committed("group", "in")


@pytest.mark.integration
@pytest.mark.parametrize("law", [test_a_commit_writes_everything, test_a_refused_record_undoes_the_whole_transaction, test_a_stale_owner_is_fenced])
async def test_transactions_of_older_clusters_keep_the_contract(
    kafka: Kafka, prefix: str, monkeypatch: pytest.MonkeyPatch, law: Callable[[Cluster], Awaitable[None]]
) -> None:
    """Where the cluster's transactions are of level 1 (before Kafka 4.0), partitions and group are added by requests of their own."""
    monkeypatch.setattr(kafka_transaction_requests, "transaction_level", lambda _features: 1)
    await law(Cluster(KafkaBroker(kafka.bootstrap), prefix))


async def test_ids_do_not_fence_each_other(cluster: Cluster) -> None:
    """Two transactional ids work side by side."""
    await cluster.create("one")
    async with cluster.owner("t-0") as first, cluster.owner("t-1") as second:
        for number in range(2):
            await first.commit([cluster.output("one", b"a%d" % number)], {}, cluster.name("group"))
            await second.commit([cluster.output("one", b"b%d" % number)], {}, cluster.name("group"))
    assert [b"a0", b"b0", b"a1", b"b1"] == await cluster.values("one")


async def test_a_stopped_producer_writes_nothing(cluster: Cluster) -> None:
    """After stop, and before start, a commit raises and leaves nothing."""
    await cluster.create("one")
    transactions = cluster.broker.transactions(cluster.name("t"))
    with pytest.raises(BrokerError):
        await transactions.commit([cluster.output("one", b"early")], {}, cluster.name("group"))
    await transactions.start()
    await transactions.stop()
    with pytest.raises(BrokerError):
        await transactions.commit([cluster.output("one", b"late")], {}, cluster.name("group"))
    await transactions.stop()
    assert [] == await cluster.values("one")


async def test_positions_keep_their_metadata(cluster: Cluster) -> None:
    """Offset and metadata come back as they were committed, also in a transaction without records; None before the first."""
    await cluster.create("in")
    assert await cluster.committed("group", "in") is None
    for position in (Position(7, "żółć 1-3,5"), Position(8)):
        async with cluster.owner("t") as transactions:
            await transactions.commit([], {TopicPartition(cluster.name("in"), 2): position}, cluster.name("group"))
        assert position == await cluster.committed("group", "in", 2)
    assert await cluster.committed("group", "in", 1) is None
    assert await cluster.committed("other", "in", 2) is None


async def test_keys_are_placed_as_kafka_places_them(cluster: Cluster) -> None:
    """A record without partition lies where murmur2 over its key says, and in partition 0 without key; transactions and producer agree."""
    await cluster.create("one", "two")
    async with cluster.owner("t") as transactions:
        await transactions.commit([cluster.output("one", b"v", key, None) for key in [*KEYS, None]], {}, cluster.name("group"))
    async with cluster.writer() as producer:
        await producer.send([cluster.output("two", b"v", key, None) for key in [*KEYS, None]])
    expected = {key: partition_of(key, PARTITIONS) for key in KEYS} | {None: 0}
    for topic in ("one", "two"):
        assert expected == {record.key: record.partition for record in await cluster.read(topic)}


@pytest.mark.integration
async def test_a_default_producer_places_keys_alike(kafka: Kafka, prefix: str) -> None:
    """Aiokafka's own partitioner puts each key into the partition that we compute."""
    cluster = Cluster(KafkaBroker(kafka.bootstrap), prefix)
    await cluster.create("one")
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    await producer.start()
    try:
        placed = {key: (await producer.send_and_wait(cluster.name("one"), b"v", key=key)).partition for key in KEYS if key}
    finally:
        await producer.stop()
    assert {key: partition_of(key, PARTITIONS) for key in KEYS if key} == placed


async def test_records_come_back_as_they_were_written(cluster: Cluster) -> None:
    """Keys, values, tombstones and headers, repeated ones too, survive; offsets and the broker's time are added."""
    await cluster.create("one")
    headers = (("source", b"web"), ("source", b"again"), ("empty", b""), ("ключ", b"\x00\xff"))
    outputs = [
        Output(cluster.name("one"), b"key", b"value", headers, 1),
        Output(cluster.name("one"), None, b"", (), 1),
        Output(cluster.name("one"), b"", None, (), 1),
    ]
    async with cluster.writer() as producer:
        await producer.send(outputs)
    found = await cluster.read("one")
    assert [(b"key", b"value", headers), (None, b"", ()), (b"", None, ())] == [(record.key, record.value, record.headers) for record in found]
    assert [(cluster.name("one"), 1, offset) for offset in range(3)] == [(record.topic, record.partition, record.offset) for record in found]
    assert all(record.timestamp > 1_600_000_000_000 for record in found)


async def test_a_large_transaction_is_split_and_whole(cluster: Cluster) -> None:
    """More than a batch holds comes back in order, and the end lies after the last record."""
    await cluster.create("one")
    values = [b"%05d" % number + b"x" * 2_000 for number in range(1_500)]
    async with cluster.owner("t") as transactions:
        ends = (await transactions.commit([cluster.output("one", value) for value in values], {}, cluster.name("group"))).ends
    assert values == await cluster.values("one")
    assert {TopicPartition(cluster.name("one"), 0): 1_500} == ends


async def test_a_producer_works_on_after_a_refusal(cluster: Cluster) -> None:
    """A record that is too large is told from other failures, and what is sent next is stored."""
    await cluster.create("one")
    async with cluster.writer() as producer:
        with pytest.raises(RecordRefused):
            await producer.send([cluster.output("one", TOO_LARGE)])
        await producer.send([cluster.output("one", b"after")])
    assert [b"after"] == await cluster.values("one")


class Member:
    """A group member that notes what it is assigned."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.mine: set[TopicPartition] = set()
        self.membership = Membership("", -1, "")
        self.revoked: list[TopicPartition] = []

    async def start(self, topics: Collection[str]) -> None:
        """Join."""
        await self.consumer.start(topics, self._assigned, self._revoked)

    async def _assigned(self, partitions: Collection[TopicPartition]) -> None:
        self.mine = set(partitions)
        self.membership = self.consumer.membership()

    async def _revoked(self, partitions: Collection[TopicPartition]) -> None:
        if self.mine:
            await self.before_it_goes()
        self.revoked += partitions
        self.mine = set()

    async def before_it_goes(self) -> None:
        """Do what is done while partitions are being taken away."""

    async def fetch_some(self) -> list[Record]:
        """Fetch until something comes."""
        async with asyncio.timeout(30):
            while True:
                found: Mapping[TopicPartition, Sequence[Record]] = await self.consumer.fetch(0.2)
                if found:
                    return [record for records in found.values() for record in records]


@asynccontextmanager
async def members(cluster: Cluster, count: int) -> AsyncIterator[list[Member]]:
    """Give members of one group, not started."""
    group = [Member(cluster.broker.consumer(cluster.name("group"))) for _ in range(count)]
    try:
        yield group
    finally:
        for member in group:
            await member.consumer.stop()


async def test_members_share_all_partitions(cluster: Cluster) -> None:
    """Two members have all partitions between them, none twice; a third one gets some; what a leaver had is taken over."""
    await cluster.create("in")
    everything = {TopicPartition(cluster.name("in"), number) for number in range(PARTITIONS)}

    def shared(group: Sequence[Member]) -> bool:
        each = [member.mine for member in group]
        return all(each) and set.union(*each) == everything and sum(map(len, each)) == len(everything)

    async with members(cluster, 3) as group:
        for count in (1, 2, 3):
            await group[count - 1].start([cluster.name("in")])
            await until(lambda count=count: shared(group[:count]))  # type: ignore[misc]  # mypy infers no type for a lambda's default
        assert group[0].revoked
        await group[0].consumer.stop()
        await until(lambda: shared(group[1:]))


async def test_a_membership_commits_until_its_group_goes_on(cluster: Cluster) -> None:
    """Partitions of one member commit side by side, also while they are taken away; after that their membership is stale."""
    await cluster.create("in", "one")
    inputs = [TopicPartition(cluster.name("in"), number) for number in range(2)]
    async with members(cluster, 2) as (first, second):
        await first.start([cluster.name("in")])
        await until(lambda: len(first.mine) == PARTITIONS)
        both = [cluster.broker.transactions(cluster.name(f"t-{number}"), first.membership) for number in range(2)]
        for transactions in both:
            await transactions.start()

        async def commit(value: bytes, offset: int) -> list[Committed | BaseException]:
            return await asyncio.gather(
                *(
                    transactions.commit([cluster.output("one", value, partition=place.partition)], {place: Position(offset)}, cluster.name("group"))
                    for transactions, place in zip(both, inputs, strict=True)
                ),
                return_exceptions=True,
            )

        async def last_commit() -> None:
            last.extend(await commit(b"last", 2))

        last: list[Committed | BaseException] = []
        assert all(isinstance(one, Committed) for one in await commit(b"first", 1))
        first.before_it_goes = last_commit  # type: ignore[method-assign]  # of this member only
        await second.start([cluster.name("in")])
        await until(lambda: bool(first.mine) and bool(second.mine))
        assert all(isinstance(one, Committed) for one in last)
        assert [Fenced, Fenced] == [type(one) for one in await commit(b"stale", 9)]
        for transactions in both:
            await transactions.stop()
    assert [b"first", b"last"] * 2 == await cluster.values("one")
    assert [Position(2), Position(2)] == [await cluster.committed("group", "in", number) for number in range(2)]


async def test_a_member_that_stops_has_left_its_group(cluster: Cluster) -> None:
    """The broker knows nothing more of it when `stop` returns: nobody waits for its session to end."""
    await cluster.create("in")
    async with members(cluster, 1) as group:
        await group[0].start([cluster.name("in")])
        await until(lambda: len(group[0].mine) == PARTITIONS)
        assert 1 == len(await cluster.broker.admin().members(cluster.name("group")))
        await group[0].consumer.stop()
        assert [] == list(await cluster.broker.admin().members(cluster.name("group")))


async def test_a_member_reads_from_where_it_is_told(cluster: Cluster) -> None:
    """Assigned partitions are paused; after seek and resume records come from that offset, and again after a seek back."""
    await cluster.create("in", partitions=1)
    partition = TopicPartition(cluster.name("in"), 0)
    async with cluster.writer() as producer:
        await producer.send([cluster.output("in", b"%d" % number) for number in range(5)])
    async with members(cluster, 1) as (member,):
        await member.start([cluster.name("in")])
        await until(lambda: bool(member.mine))
        consumer = member.consumer
        assert {} == await consumer.fetch(0.2)
        assert {partition: (0, 5)} == await consumer.bounds([partition])
        consumer.seek(partition, 3)
        consumer.resume(partition)
        assert [b"3", b"4"] == [record.value for record in await member.fetch_some()]
        consumer.pause(partition)
        consumer.seek(partition, 1)
        assert {} == await consumer.fetch(0.2)
        consumer.resume(partition)
        assert [b"1", b"2", b"3", b"4"] == [record.value for record in await member.fetch_some()]
        await consumer.commit({partition: Position(4, "mine")})
        assert Position(4, "mine") == await consumer.committed(partition)


async def test_a_member_sees_committed_records_only(cluster: Cluster) -> None:
    """Between two committed transactions lies an aborted one, which a group member never sees."""
    await cluster.create("in", "other", partitions=1)
    partition = TopicPartition(cluster.name("in"), 0)
    async with cluster.owner("t") as transactions:
        await transactions.commit([cluster.output("in", b"1")], {}, cluster.name("x"))
        with pytest.raises(RecordRefused):
            await transactions.commit([cluster.output("in", b"aborted"), cluster.output("other", TOO_LARGE)], {}, cluster.name("x"))
    async with cluster.owner("t") as transactions:
        await transactions.commit([cluster.output("in", b"2")], {}, cluster.name("x"))
    async with members(cluster, 1) as (member,):
        await member.start([cluster.name("in")])
        await until(lambda: bool(member.mine))
        member.consumer.seek(partition, 0)
        member.consumer.resume(partition)
        found: list[Record] = []
        while len(found) < 2:
            found += await member.fetch_some()
        assert [b"1", b"2"] == [record.value for record in found]
        assert 0 == await member.consumer.behind(partition)
        assert 0 == await member.consumer.behind(partition._replace(partition=77))  # taken away between two looks


@pytest.mark.parametrize(
    ("start", "expected"),
    [({}, range(10)), ({0: 7}, range(7, 10)), ({0: -1}, ()), ({0: -4}, range(7, 10)), ({0: -100}, range(10)), ({1: 0}, range(10)), ({0: 10}, ())],
)
async def test_a_reader_starts_where_it_is_told(cluster: Cluster, start: dict[int, int], expected: Sequence[int]) -> None:
    """An offset is itself; a negative one counts back from the end, -1 being the end; partitions not named start at the beginning."""
    await cluster.create("one", partitions=2)
    async with cluster.writer() as producer:
        await producer.send([cluster.output("one", b"%d" % number) for number in range(10)])
    assert [b"%d" % number for number in expected] == [record.value for record in await cluster.read("one", start=start)]


async def test_a_reader_keeps_to_its_partitions(cluster: Cluster) -> None:
    """Only the partitions that are named are read."""
    await cluster.create("one")
    async with cluster.writer() as producer:
        await producer.send([cluster.output("one", b"%d" % number, partition=number) for number in range(4)])
    assert [b"1", b"3"] == [record.value for record in await cluster.read("one", partitions=(1, 3))]


async def test_a_reader_follows(cluster: Cluster) -> None:
    """A following reader gives what is there, empty sequences while nothing comes, and then what is written later."""
    await cluster.create("one", partitions=1)
    async with cluster.writer() as producer:
        await producer.send([cluster.output("one", b"1")])
        seen: list[bytes | None] = []
        async with aclosing(cluster.broker.reader().read(cluster.name("one"), follow=True)) as following, asyncio.timeout(30):  # type: ignore[type-var]  # an async generator behind its protocol
            async for records in following:
                seen += [record.value for record in records]
                if seen == [b"1"] and not records:
                    await producer.send([cluster.output("one", b"2")])
                if len(seen) == 2:
                    break
    assert [b"1", b"2"] == seen


async def test_a_topic_that_is_not_there_is_named(cluster: Cluster) -> None:
    """Reading a topic that does not exist raises and says which."""
    with pytest.raises(BrokerError, match="nowhere"):
        await cluster.read("nowhere")


async def test_creating_twice_changes_nothing(cluster: Cluster) -> None:
    """A topic that exists stays as it is, records and partitions; others are created beside it; an empty list is fine."""
    await cluster.create("one", partitions=2)
    async with cluster.writer() as producer:
        await producer.send([cluster.output("one", b"1")])
    await cluster.create("one", "two", partitions=3)
    await cluster.broker.admin().create([])
    topics = await cluster.broker.admin().topics()
    assert (2, 3) == (topics[cluster.name("one")], topics[cluster.name("two")])
    assert [b"1"] == await cluster.values("one")


async def test_lags_count_what_a_group_has_not_read(cluster: Cluster) -> None:
    """Without a position everything counts, with one what lies after it."""
    await cluster.create("in", partitions=2)
    async with cluster.writer() as producer:
        await producer.send([cluster.output("in", b"v", partition=number % 2) for number in range(10)])
    admin, topics = cluster.broker.admin(), [cluster.name("in")]
    first, second = (TopicPartition(cluster.name("in"), number) for number in range(2))
    assert {first: 5, second: 5} == await admin.lags(cluster.name("group"), topics)
    async with cluster.owner("t") as transactions:
        await transactions.commit([], {first: Position(3), second: Position(5)}, cluster.name("group"))
    await cluster.fence()
    assert {first: 2, second: 0} == await admin.lags(cluster.name("group"), topics)


async def test_a_topic_is_described(cluster: Cluster) -> None:
    """A consumer that has not joined says how many partitions a topic has, and an id that no other topic has; what is missing is left out."""
    await cluster.create("in")
    await cluster.create("one", partitions=1)
    consumer = cluster.broker.consumer(cluster.name("group"))
    try:
        found = await consumer.describe([cluster.name("in"), cluster.name("one"), cluster.name("none")])
    finally:
        await consumer.stop()
    assert {cluster.name("in"): PARTITIONS, cluster.name("one"): 1} == {topic: state.partitions for topic, state in found.items()}
    ids = {state.topic_id for state in found.values()}
    assert {22} == {len(one) for one in ids}
    assert 2 == len(ids)


async def test_an_admin_describes_the_topics_that_it_is_asked_for(cluster: Cluster) -> None:
    """Who wants to know of a topic need not ask for all; what is missing is left out."""
    await cluster.create("in", "one")
    found = await cluster.broker.admin().describe([cluster.name("in"), cluster.name("none")])
    assert {cluster.name("in"): PARTITIONS} == {topic: state.partitions for topic, state in found.items()}


async def test_positions_carry_the_topic_that_is_pinned(cluster: Cluster) -> None:
    """What a group commits after it pinned a topic, in a transaction or outside, says of which topic it is; metadata stays as it was."""
    await cluster.create("in")
    partition = TopicPartition(cluster.name("in"), 0)
    consumer = cluster.broker.consumer(cluster.name("group"))
    try:
        topic_id = (await consumer.describe([partition.topic]))[partition.topic].topic_id
        assert not cluster.broker.pinned(cluster.name("group"), partition.topic)
        consumer.pin({partition.topic: topic_id})
        assert topic_id == cluster.broker.pinned(cluster.name("group"), partition.topic)
        async with cluster.owner("t") as transactions:
            await transactions.commit([], {partition: Position(1, "żółć topic=")}, cluster.name("group"))
        assert Position(1, "żółć topic=", topic_id) == await cluster.committed("group", "in")
        async with cluster.owner("t") as transactions:
            await transactions.commit([], {partition: Position(2)}, cluster.name("other"))
        assert Position(2) == await cluster.committed("other", "in")
    finally:
        await consumer.stop()


async def test_a_stopped_group_can_be_set_to_other_positions(cluster: Cluster) -> None:
    """Positions are the group's own words for them; a group that nobody knows has none, and no members."""
    await cluster.create("in", partitions=2)
    admin, group, first = cluster.broker.admin(), cluster.name("group"), TopicPartition(cluster.name("in"), 0)
    assert [] == list(await admin.members(group))
    assert {} == await admin.positions(group)
    await admin.set_positions(group, {first: Position(0, "note")})
    assert {first: Position(0, "note")} == await admin.positions(group)
    assert group in await admin.groups()


async def test_the_positions_of_a_group_with_members_are_theirs(cluster: Cluster) -> None:
    """Its members are named with what they were assigned, and nobody else sets its positions."""
    await cluster.create("in", partitions=2)
    admin, group = cluster.broker.admin(), cluster.name("group")
    assigned: asyncio.Queue[Collection[TopicPartition]] = asyncio.Queue()
    consumer = cluster.broker.consumer(group)

    async def nothing(_partitions: Collection[TopicPartition]) -> None:
        """Do nothing."""

    await consumer.start([cluster.name("in")], assigned.put, nothing)
    partitions = await assigned.get()
    try:
        (member,) = await admin.members(group)
        assert set(partitions) == set(member.partitions)
        with pytest.raises(BrokerError, match="has members"):
            await admin.set_positions(group, {TopicPartition(cluster.name("in"), 0): Position(0)})
        assert {} == await admin.positions(group)
    finally:
        await consumer.stop()
