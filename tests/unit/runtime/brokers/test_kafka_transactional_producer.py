"""A transaction in as few requests as the cluster allows, and what is asked again."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerFenced
from aiokafka.protocol.types import CompactArray, CompactString, Int16, TaggedFields

from pipeline.model.record import Output, TopicPartition
from pipeline.ports.broker import Membership
from pipeline.runtime.brokers import kafka_transactional_producer
from pipeline.runtime.brokers.kafka_batches import batches_of
from pipeline.runtime.brokers.kafka_transaction_requests import transaction_level
from pipeline.runtime.brokers.kafka_transactional_producer import BatchFailed, TransactionalProducer

PLACE = TopicPartition("test.out", 0)
MEMBER = Membership("group", 3, "m-1")
PRODUCE, FEATURES_OF, INIT, ADD_PARTITIONS, ADD_OFFSETS, END, OFFSETS = 0, 18, 22, 24, 25, 26, 28
FEATURES = CompactArray(("name", CompactString("utf-8")), ("most", Int16), ("least", Int16), ("tags", TaggedFields))


class Client:
    """aiokafka's client before a broker that answers with codes as the test says, and otherwise does what it is asked.

    Args:
        level: Level of its transactions.
        codes: Error codes to answer a request with, one after the other, by the number of the request.

    Attributes:
        newest: Newest version that it knows of each request.
        sent: The requests in order.
        lookups: How often a coordinator was looked up.
    """

    def __init__(self, level: int, codes: dict[int, list[int]]) -> None:
        self.newest = {PRODUCE: 12, FEATURES_OF: 4, INIT: 6, ADD_PARTITIONS: 5, ADD_OFFSETS: 4, END: 5, OFFSETS: 5}
        self._level = level
        self._codes = codes
        self.sent: list[Any] = []
        self.lookups = 0
        self.cluster = SimpleNamespace(leader_for_partition=lambda _partition: 1)

    @property
    def asked(self) -> list[int]:
        """Numbers of the requests in order."""
        return [request.API_KEY for request in self.sent]

    async def bootstrap(self) -> None:
        """Connect."""

    def get_random_node(self) -> int:
        """Give a broker."""
        return 1

    async def ready(self, _node: int) -> bool:
        """Say that it is connected."""
        return True

    async def coordinator_lookup(self, _kind: int, _key: str) -> int:
        """Give the broker."""
        self.lookups += 1
        return 1

    async def _wait_on_metadata(self, _topic: str) -> Collection[int]:
        return {0}

    async def force_metadata_update(self) -> None:
        """Read the metadata anew."""

    async def send(self, _node: int, request: Any) -> Any:  # noqa: ANN401 (aiokafka's)
        """Answer."""
        built = request.prepare({number: (0, newest) for number, newest in self.newest.items()})
        if built.API_KEY == FEATURES_OF:
            features = FEATURES.encode([("metadata.version", 29, 1, {}), ("transaction.version", self._level, 0, {})])
            return SimpleNamespace(tags={2: features})
        self.sent.append(built)
        codes = self._codes.get(built.API_KEY, [])
        code = codes.pop(0) if codes else 0
        return SimpleNamespace(
            error_code=code,
            producer_id=7,
            producer_epoch=len(self.sent),
            topics=[("test.out", [(0, code, 100)])],
            errors=[("test.out", [(0, code)])],
        )


Made = Callable[..., tuple[TransactionalProducer, Client]]


@pytest.fixture(name="made")
async def a_producer(monkeypatch: pytest.MonkeyPatch) -> Made:
    """Make a producer before such a client; it waits for nothing."""
    for name in ("SOON_SECONDS", "LATER_SECONDS", "AGAIN_SECONDS"):
        monkeypatch.setattr(kafka_transactional_producer, name, 0.0)

    def make(level: int = 2, **codes: list[int]) -> tuple[TransactionalProducer, Client]:
        producer = TransactionalProducer("127.0.0.1:1", "t", 10_000)
        client = Client(level, {globals()[name.upper()]: answers for name, answers in codes.items()})
        producer._client = cast("Any", client)
        return producer, client

    return make


async def write(producer: TransactionalProducer, count: int = 1) -> int:
    """Write records to a partition in one batch each; gives the offset after the last."""
    batches = [(PLACE, batch) for _ in range(count) for batch in batches_of(producer.create_batch, [Output("test.out", None, b"v", (), 0)])]
    return (await producer.produce(batches))[PLACE]


async def transact(producer: TransactionalProducer) -> None:
    """Write a record and a position, and commit."""
    await write(producer)
    await producer.send_offsets({PLACE: (5, "")}, MEMBER)
    await producer.commit()


async def test_three_requests_where_the_broker_adds_what_is_written(made: Made) -> None:
    """With transactions of level 2 nothing is added by requests of its own (KIP-890)."""
    producer, client = made(2)
    await producer.start()
    await transact(producer)
    assert [INIT, PRODUCE, OFFSETS, END] == client.asked


async def test_five_requests_elsewhere(made: Made) -> None:
    """Before Kafka 4.0 partitions and group are added first."""
    producer, client = made(1)
    await producer.start()
    await transact(producer)
    assert [INIT, ADD_PARTITIONS, PRODUCE, ADD_OFFSETS, OFFSETS, END] == client.asked


async def test_a_broker_without_features_has_the_oldest_transactions(made: Made) -> None:
    """It is not even asked for them: it would not understand."""
    producer, client = made(2)
    client.newest[FEATURES_OF] = 2
    await producer.start()
    await transact(producer)
    assert [INIT, ADD_PARTITIONS, PRODUCE, ADD_OFFSETS, OFFSETS, END] == client.asked


async def test_each_transaction_has_an_epoch_of_its_own(made: Made) -> None:
    """The next one goes on under the id and epoch that EndTxn gave; so a delayed EndTxn cannot end it."""
    producer, client = made(2)
    await producer.start()
    await transact(producer)
    await transact(producer)
    assert [(7, 1), (7, 1), (7, 4), (7, 4)] == [(one.producer_id, one.producer_epoch) for one in client.sent if one.API_KEY in (OFFSETS, END)]


async def test_whoever_is_busy_is_asked_again(made: Made) -> None:
    """A coordinator that writes the last transaction's markers, comes up, or has moved, has done nothing yet: asking again is safe."""
    producer, client = made(2, init=[51, 14], offsets=[51, 16], end=[51, 15])
    await producer.start()
    await transact(producer)
    assert [INIT] * 3 + [PRODUCE] + [OFFSETS] * 3 + [END] * 3 == client.asked
    assert 5 == client.lookups  # two coordinators, and again after each of 14, 15 and 16


@pytest.mark.parametrize("code", [5, 6, 19, 51])
async def test_what_a_leader_would_not_take_yet_is_offered_again(made: Made, code: int) -> None:
    """The same bytes under the same sequence number, so that they can be stored once only."""
    producer, client = made(2, produce=[code])
    await producer.start()
    assert 101 == await write(producer)
    first, second = (request for request in client.sent if request.API_KEY == PRODUCE)
    assert first.topics == second.topics


async def test_batches_of_a_partition_go_one_after_another(made: Made) -> None:
    """A request takes one batch for each partition."""
    producer, client = made(2)
    await producer.start()
    await write(producer, 3)
    assert [INIT, PRODUCE, PRODUCE, PRODUCE] == client.asked
    assert 3 == producer._sequences[PLACE]


async def test_a_batch_that_is_refused_is_named(made: Made) -> None:
    """The error says which partition would not take it, and why; it is not offered again."""
    producer, _ = made(2, produce=[10])
    await producer.start()
    with pytest.raises(BatchFailed, match=r"test\.out-0") as raised:
        await write(producer)
    assert isinstance(raised.value.error, MessageSizeTooLargeError)


@pytest.mark.parametrize("code", [47, 90])
@pytest.mark.parametrize("request_name", ["produce", "offsets", "end"])
async def test_an_old_epoch_is_a_fence(made: Made, request_name: str, code: int) -> None:
    """INVALID_PRODUCER_EPOCH and PRODUCER_FENCED both say that the id has another owner."""
    producer, _ = made(2, **{request_name: [code]})
    await producer.start()
    with pytest.raises(ProducerFenced):
        await transact(producer)


@pytest.mark.parametrize("code", [48, 49, 120, -1])
async def test_any_other_answer_is_doubt(made: Made, code: int) -> None:
    """INVALID_TXN_STATE, INVALID_PRODUCER_ID_MAPPING, TRANSACTION_ABORTABLE, UNKNOWN: the producer is of no more use."""
    producer, _ = made(2, end=[code])
    await producer.start()
    with pytest.raises(KafkaError):
        await transact(producer)


async def test_nothing_is_aborted_that_was_not_begun(made: Made) -> None:
    """There is no transaction before the first write, nor after a commit."""
    producer, client = made(2)
    await producer.start()
    await producer.abort()
    await transact(producer)
    await producer.abort()
    assert [INIT, PRODUCE, OFFSETS, END] == client.asked


def test_a_cluster_without_the_feature_has_level_0() -> None:
    """Brokers of old metadata name no feature of that name, or no features at all."""
    others = FEATURES.encode([("metadata.version", 7, 1, {})])
    assert [0, 0] == [transaction_level(cast("Any", SimpleNamespace(tags=tags))) for tags in ({}, {2: others})]
