"""Where a group stands is read exactly or not at all: an answer without the partition is a coordinator that does not know."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any, Self

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError

from pipeline.model.record import TopicPartition
from pipeline.ports.broker import BrokerError, Position
from pipeline.runtime.brokers import kafka_metadata
from pipeline.runtime.brokers.kafka_consumer import COMMITTED_ATTEMPTS, KafkaConsumer
from pipeline.runtime.brokers.kafka_metadata import SharedAdmin
from tests.unit.runtime.jumping import jumping

PARTITION = TopicPartition("test.raw", 0)


class _Admin:
    """Answers as it is told, the last answer for ever.

    Attributes:
        answers: What a look-up gives or raises, in order.
        failures: What connecting raises, in order.
        made: How many clients were made.
        closed: How many were closed.
    """

    answers: deque[SimpleNamespace | Exception]
    failures: deque[Exception]
    made = 0
    closed = 0
    _topics: frozenset[str] = frozenset()

    def __call__(self, bootstrap_servers: str, request_timeout_ms: int) -> Self:
        assert bootstrap_servers
        assert request_timeout_ms
        self.made += 1
        return self

    async def start(self) -> None:
        if self.failures:
            raise self.failures.popleft()

    async def close(self) -> None:
        self.closed += 1

    async def find_coordinator(self, group: str) -> int:
        assert "test.filter" == group
        return 1

    @property
    def _client(self) -> Self:
        return self

    async def send(self, node: int, request: Any) -> Any:  # noqa: ANN401 (aiokafka's)
        built = request.prepare({9: (0, 9)})
        assert (1, [("test.raw", [0], {})], True) == (node, built.topics, built.require_stable)
        answer = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> _Admin:
    """Put a client that answers as it is told in the place of aiokafka's."""
    fake = _Admin()
    fake.failures = deque()
    monkeypatch.setattr(kafka_metadata, "AIOKafkaAdminClient", fake)
    return fake


def a_consumer() -> KafkaConsumer:
    """Make a member that never joins."""
    return KafkaConsumer("127.0.0.1:1", "test.filter", "test", {}, SharedAdmin("127.0.0.1:1"))


def at(offset: int, code: int = 0) -> SimpleNamespace:
    """Give the answer of a coordinator about the partition."""
    return SimpleNamespace(error_code=0, topics=[("test.raw", [(0, offset, -1, "", code, {})], {})])


def refusing(code: int) -> SimpleNamespace:
    """Give the answer of a coordinator about the whole group."""
    return SimpleNamespace(error_code=code, topics=[])


def test_a_coordinator_that_is_still_loading_is_asked_again(admin: _Admin) -> None:
    """Its answer names an error and no partition: taken for a new group, everything would be read again."""
    admin.answers = deque([refusing(14), refusing(16), refusing(0), at(70)])
    assert Position(70) == _committed(a_consumer())


def test_a_coordinator_that_keeps_loading_is_no_new_group(admin: _Admin) -> None:
    """After the last try the position is unknown, not absent."""
    admin.answers = deque([refusing(0)])
    with pytest.raises(BrokerError, match="does not know"):
        _committed(a_consumer())


def test_a_new_group_has_no_position(admin: _Admin) -> None:
    """A coordinator that knows that there is none says -1."""
    admin.answers = deque([at(-1)])
    assert _committed(a_consumer()) is None


def test_an_error_is_tried_again_and_then_doubt(admin: _Admin) -> None:
    """What the broker refuses for a moment is asked again, what it refuses for long is a `BrokerError`."""
    admin.answers = deque([KafkaError("not now"), at(7)])
    assert Position(7) == _committed(a_consumer())
    admin.answers = deque([KafkaError("never")])
    with pytest.raises(BrokerError, match="never"):
        _committed(a_consumer())


def test_a_transaction_that_is_about_to_decide_is_waited_for(admin: _Admin) -> None:
    """However often the coordinator says so (KIP-447): what it had before may be void in a moment."""
    admin.answers = deque([*[at(-1, 88)] * (COMMITTED_ATTEMPTS + 3), at(7)])
    assert Position(7) == _committed(a_consumer())


def test_a_transaction_that_never_ends_is_doubt(admin: _Admin) -> None:
    """After longer than any transaction may last the position is unknown."""
    admin.answers = deque([at(-1, 88)])
    with pytest.raises(BrokerError, match="about to decide"):
        _committed(a_consumer())


@pytest.mark.parametrize("error", [KafkaConnectionError("away"), OSError("away")])
def test_a_broker_that_is_away_for_a_moment_ends_no_process(admin: _Admin, error: Exception) -> None:
    """A client that could not connect is closed and thrown away, and the next try makes another one."""
    admin.answers = deque([at(7)])
    admin.failures = deque([error] * COMMITTED_ATTEMPTS)
    consumer = a_consumer()
    with pytest.raises(BrokerError, match="away"):
        _committed(consumer)
    assert admin.made == admin.closed
    assert Position(7) == _committed(consumer)


def _committed(consumer: KafkaConsumer) -> Position | None:
    found: list[Position | None] = []

    @jumping
    async def read() -> None:
        found.append(await consumer.committed(PARTITION))

    read()
    return found[0]
