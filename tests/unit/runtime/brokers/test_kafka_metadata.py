"""Many ask the cluster over one connection: a broker that stands still is waited for once, not by each after the other."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, NoReturn, Self

import pytest
from aiokafka import client as aiokafka_client
from aiokafka.errors import KafkaConnectionError, RequestTimedOutError, TopicAuthorizationFailedError
from aiokafka.structs import BrokerMetadata

from pipeline.model.record import TopicPartition
from pipeline.ports.broker import BrokerError
from pipeline.runtime.brokers import kafka_metadata
from pipeline.runtime.brokers.kafka_consumer import COMMITTED_ATTEMPTS, KafkaConsumer
from pipeline.runtime.brokers.kafka_metadata import ANSWER_MS, ASK_SECONDS, SharedAdmin
from tests.unit.runtime.jumping import jumping

ANSWER_SECONDS = ANSWER_MS / 1000
MEMBERS = 20


class _Still:
    """A client whose brokers take connections and say nothing.

    Attributes:
        made: How many there were.
        closed: How many were closed.
    """

    made = closed = 0
    _client = SimpleNamespace(_topics=frozenset[str]())

    def __call__(self, **_settings: object) -> Self:
        self.made += 1
        return self

    async def start(self) -> None:
        await asyncio.sleep(ANSWER_SECONDS)
        raise KafkaConnectionError("no answer")

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> _Still:
    """Put such a client in the place of aiokafka's."""
    fake = _Still()
    monkeypatch.setattr(kafka_metadata, "AIOKafkaAdminClient", fake)
    return fake


async def _fails(admin: SharedAdmin, user: object) -> None:
    with pytest.raises(BrokerError, match="does not say"):
        await admin.describe(user, ["shop.raw"])


def test_all_wait_for_one_connection(still: _Still) -> None:
    """Nobody connects again only because it has stood in line, and what fails is closed."""

    @jumping
    async def ask() -> None:
        admin, began = SharedAdmin("127.0.0.1:1"), asyncio.get_running_loop().time()
        await asyncio.gather(*(_fails(admin, number) for number in range(MEMBERS)))
        assert asyncio.get_running_loop().time() - began < 2 * ANSWER_SECONDS

    ask()
    assert (1, 1) == (still.made, still.closed)


def test_who_gives_up_takes_the_connection_from_nobody(still: _Still) -> None:
    """The first that asks is cancelled, and the others get their answer when they would have; the last that leaves ends what is begun."""

    @jumping
    async def ask() -> None:
        admin = SharedAdmin("127.0.0.1:1")
        first, second = (asyncio.create_task(_fails(admin, number)) for number in range(2))
        await asyncio.sleep(1)
        first.cancel()
        await asyncio.wait({first})
        await second
        assert 1 == still.made
        third = asyncio.create_task(_fails(admin, 2))
        await asyncio.sleep(1)
        for number in range(3):
            await admin.leave(number)
        await asyncio.wait_for(third, 1)

    ask()
    assert (2, 2) == (still.made, still.closed)


def _a_broker_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    async def bootstrap(client: Any) -> None:  # noqa: ANN401 (aiokafka's)
        client.cluster._brokers = {1: BrokerMetadata(1, "127.0.0.1", 1, None)}

    async def never(*_place: object, **_settings: object) -> NoReturn:
        await asyncio.sleep(ANSWER_SECONDS)
        raise TimeoutError

    monkeypatch.setattr(aiokafka_client.AIOKafkaClient, "bootstrap", bootstrap)
    monkeypatch.setattr(aiokafka_client, "create_conn", never)


def test_nobody_stands_in_line_for_a_broker_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library connects to one broker at a time: a member waits for its own answer, not for the attempts of all that came before it."""
    _a_broker_that_stands_still(monkeypatch)

    @jumping
    async def ask() -> None:
        admin, began = SharedAdmin("127.0.0.1:1"), asyncio.get_running_loop().time()
        await asyncio.gather(*(_fails(admin, number) for number in range(MEMBERS)))
        assert asyncio.get_running_loop().time() - began < 2 * ANSWER_SECONDS

    ask()


def test_a_committed_offset_is_not_stood_in_line_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, for as many tries as there are."""
    _a_broker_that_stands_still(monkeypatch)

    @jumping
    async def ask() -> None:
        consumer, began = KafkaConsumer("127.0.0.1:1", "shop.filter", "test", {}, SharedAdmin("127.0.0.1:1")), asyncio.get_running_loop().time()
        found = await asyncio.gather(*(consumer.committed(TopicPartition("shop.raw", number)) for number in range(MEMBERS)), return_exceptions=True)
        assert all(isinstance(one, BrokerError) for one in found)
        assert asyncio.get_running_loop().time() - began < (COMMITTED_ATTEMPTS + 1) * ASK_SECONDS

    ask()


@pytest.mark.parametrize(("error", "closed"), [(TopicAuthorizationFailedError("no"), 0), (RequestTimedOutError(), 1)])
def test_only_a_client_without_an_answer_is_thrown_away(monkeypatch: pytest.MonkeyPatch, error: Exception, closed: int) -> None:
    """A broker that refuses one member has answered: the connection is that of all others, too."""
    fake = _Still()

    async def start() -> None:
        """Connect at once."""

    async def refused(*_question: object) -> NoReturn:
        raise error

    monkeypatch.setattr(fake, "start", start)
    monkeypatch.setattr(kafka_metadata, "AIOKafkaAdminClient", fake)
    monkeypatch.setattr(kafka_metadata, "describe_topics", refused)

    @jumping
    async def ask() -> None:
        await _fails(SharedAdmin("127.0.0.1:1"), "member")

    ask()
    assert closed == fake.closed
