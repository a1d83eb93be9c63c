"""The producer of the collector without a broker: what is offered again, and what is not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError

from pipeline.model.record import Output, TopicPartition
from pipeline.runtime.brokers import kafka_idempotent_producer as module
from pipeline.runtime.brokers.kafka_batches import batches_of
from pipeline.runtime.brokers.kafka_idempotent_producer import IdempotentProducer

LOST, NOT_LEADER, TOO_LARGE, DUPLICATE, STORED = -1, 6, 10, 46, 0


class Broker:
    """A client of aiokafka whose broker gives the codes that it is told, the last one for ever."""

    def __init__(self, codes: list[int]) -> None:
        self.cluster = SimpleNamespace(leader_for_partition=lambda partition: partition.partition % 2)
        self.codes = codes
        self.asked: list[tuple[int, Any]] = []

    async def send(self, node: int, request: Any) -> Any:  # noqa: ANN401 (as aiokafka's)
        """Answer."""
        ((topic, partitions),) = request._topics
        self.asked.append((node, partitions))
        code = self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]
        if code == LOST:
            raise KafkaConnectionError
        return SimpleNamespace(topics=[(topic, [(number, code, 0) for number, _ in partitions])])

    async def _wait_on_metadata(self, topic: str) -> set[int]:
        assert topic == "t"
        return set(range(5))

    async def force_metadata_update(self) -> None:
        """Know no better."""

    async def close(self) -> None:
        """Give no answer any more, as aiokafka's, whose metadata nobody updates then."""
        self.codes = [LOST]
        self.force_metadata_update = asyncio.Event().wait  # type: ignore[assignment,method-assign]


def producer_of(broker: Broker) -> IdempotentProducer:
    """Make a producer that writes to a broker."""
    producer = IdempotentProducer("localhost:1", "test")
    producer._client = cast("Any", broker)
    return producer


async def written(broker: Broker, partitions: int = 1, producer: IdempotentProducer | None = None) -> None:
    """Write a record to each of some partitions."""
    producer = producer or producer_of(broker)
    records = [Output("t", None, b"value")]
    await producer.produce(
        [(TopicPartition("t", number), batch) for number in range(partitions) for batch in batches_of(producer.create_batch, records)]
    )


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait."""
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.0)


@pytest.mark.parametrize("codes", [[LOST, DUPLICATE], [NOT_LEADER, LOST, STORED]])
async def test_what_is_in_doubt_is_offered_again_under_the_same_number(codes: list[int]) -> None:
    """Byte for byte, until the broker has it, or says that it had it already."""
    broker, times = Broker(codes), len(codes)
    await written(broker)
    assert len(broker.asked) == times
    assert all(asked == broker.asked[0] for asked in broker.asked)


async def test_what_is_refused_is_not_offered_again() -> None:
    """Whoever wrote it hears why."""
    broker = Broker([TOO_LARGE])
    with pytest.raises(MessageSizeTooLargeError):
        await written(broker)
    assert len(broker.asked) == 1


async def test_each_leader_gets_one_request() -> None:
    """With the batches of all its partitions."""
    broker = Broker([STORED])
    await written(broker, partitions=5)
    assert sorted((node, [number for number, _ in partitions]) for node, partitions in broker.asked) == [(0, [0, 2, 4]), (1, [1, 3])]


@pytest.mark.parametrize("code", [TOO_LARGE, NOT_LEADER])
async def test_who_waited_behind_a_failure_hears_of_it(code: int) -> None:
    """After a refusal, or a wait that was given up, what is queued writes nothing: its numbers would leave a gap, and its client is being closed."""
    broker = Broker([code])
    producer = producer_of(broker)
    async with asyncio.timeout(5):
        first, second = asyncio.create_task(written(broker, producer=producer)), asyncio.create_task(written(broker, producer=producer))
        while not broker.asked:  # noqa: ASYNC110 (a broker tells nobody)
            await asyncio.sleep(0)
        first.cancel()
        ended = await asyncio.gather(first, second, return_exceptions=True)
    assert isinstance(ended[0], MessageSizeTooLargeError if code == TOO_LARGE else asyncio.CancelledError)
    assert isinstance(ended[1], KafkaConnectionError)
    assert all(asked == broker.asked[0] for asked in broker.asked)


async def test_a_stopped_producer_offers_nothing_again() -> None:
    """Whoever is under way while it is stopped hears of it, and does not wait for metadata that nobody asks for any more."""
    broker = Broker([NOT_LEADER])
    producer = producer_of(broker)
    async with asyncio.timeout(5):
        writing = asyncio.create_task(written(broker, producer=producer))
        while not broker.asked:  # noqa: ASYNC110 (a broker tells nobody)
            await asyncio.sleep(0)
        await producer.stop()
        with pytest.raises(KafkaConnectionError):
            await writing
