"""What a producer raises becomes what the port promises, at whichever point of a transaction it comes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError, ProducerFenced, TopicAuthorizationFailedError, UnknownError

from pipeline.model.record import Output, TopicPartition
from pipeline.ports.broker import Blocked, BrokerError, Fenced, RecordRefused, Uncertain
from pipeline.runtime.brokers.kafka_batches import RECORDS_MOST
from pipeline.runtime.brokers.kafka_transactional_producer import BatchFailed
from pipeline.runtime.brokers.kafka_transactions import KafkaTransactions

PLACE = TopicPartition("test.out", 0)


class Producer:
    """A producer that fails as the test says.

    Attributes:
        aborted: How often it was asked to abort.
    """

    def __init__(self, error: Exception, *, on_abort: Exception | None = None) -> None:
        self._error = error
        self._on_abort = on_abort
        self.aborted = 0

    async def partitions_for(self, _topic: str) -> Collection[int]:
        """Give one partition."""
        return {0}

    def create_batch(self, *, packed: bool) -> Any:  # noqa: ANN401 (aiokafka's batch builder)
        """Give a builder that takes everything."""
        assert not packed
        return _Builder()

    async def produce(self, _batches: Sequence[object]) -> Mapping[TopicPartition, int]:
        """Fail as told."""
        raise self._error

    async def abort(self) -> None:
        """Abort."""
        self.aborted += 1
        if self._on_abort is not None:
            raise self._on_abort


class _Builder:
    def append(self, **_record: object) -> bool:
        return True

    def close(self) -> None:
        """Close."""


async def outcome(producer: Producer) -> BrokerError:
    """Commit a record, and give what is raised."""
    transactions = KafkaTransactions("127.0.0.1:1", "t", {})
    transactions._producer = cast("Any", producer)  # the one thing that no real broker does when it is asked to
    with pytest.raises(BrokerError) as raised:
        await transactions.commit([Output("test.out", None, b"v", (), 0)], {}, "group")
    return raised.value


async def test_a_fenced_producer_is_not_asked_to_abort() -> None:
    """Whoever is fenced has nothing left to abort."""
    producer = Producer(ProducerFenced())
    assert isinstance(await outcome(producer), Fenced)
    assert 0 == producer.aborted


async def test_a_refused_record_is_aborted_and_told() -> None:
    """The transaction ends here, and the record is to blame."""
    producer = Producer(BatchFailed(PLACE, MessageSizeTooLargeError()))
    assert isinstance(await outcome(producer), RecordRefused)
    assert 1 == producer.aborted


async def test_a_missing_right_blocks() -> None:
    """Somebody must give the right; to start again helps nothing."""
    assert isinstance(await outcome(Producer(BatchFailed(PLACE, TopicAuthorizationFailedError()))), Blocked)
    assert isinstance(await outcome(Producer(TopicAuthorizationFailedError())), Blocked)


@pytest.mark.parametrize("on_abort", [None, KafkaConnectionError(), OSError()])
async def test_everything_else_is_doubt(on_abort: Exception | None) -> None:
    """Whatever else goes wrong, in a batch or in the abort after it, is doubt and never a bug of the worker."""
    assert isinstance(await outcome(Producer(BatchFailed(PLACE, UnknownError()), on_abort=on_abort)), Uncertain)
    assert isinstance(await outcome(Producer(KafkaConnectionError())), Uncertain)
    assert isinstance(await outcome(Producer(TimeoutError())), Uncertain)


async def test_a_producer_is_replaced_before_its_numbers_overflow() -> None:
    """After 2^30 records nothing more is begun with it: the host makes a fresh one and rewinds (reference: reliability, rule 5)."""
    transactions = KafkaTransactions("127.0.0.1:1", "t", {})
    transactions._producer = cast("Any", Producer(TimeoutError()))  # a billion records take hours
    transactions._written = RECORDS_MOST
    with pytest.raises(Uncertain, match="is replaced"):
        await transactions.commit([Output("test.out", None, b"v", (), 0)], {}, "group")
