"""What aiokafka raises becomes what the port promises, at whichever point of a transaction it comes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import IllegalOperation, MessageSizeTooLargeError, NotLeaderForPartitionError, ProducerFenced

from pipeline.model.record import Output
from pipeline.ports.broker import BrokerError, Fenced, RecordRefused, Uncertain
from pipeline.runtime.brokers.kafka_batches import RECORDS_MOST
from pipeline.runtime.brokers.kafka_transactions import KafkaTransactions


class Producer:
    """An aiokafka producer whose batches fail as the test says: an exception that is raised, or one that the batch's future ends with.

    Attributes:
        aborted: How often it was asked to abort.
    """

    def __init__(self, *batches: tuple[str, Exception], on_abort: Exception | None = None) -> None:
        self._batches = list(batches)
        self._on_abort = on_abort
        self.aborted = 0

    async def begin_transaction(self) -> None:
        """Begin."""

    def create_batch(self) -> Any:  # noqa: ANN401 (aiokafka's batch builder)
        """Give a builder that takes everything."""
        return _Builder()

    async def send_batch(self, _batch: object, _topic: str, *, partition: int) -> asyncio.Future[Any]:
        """Fail as told."""
        how, error = self._batches.pop(0)
        if how == "raises":
            raise error
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_exception(error)
        return future

    async def abort_transaction(self) -> None:
        """Abort."""
        self.aborted += 1
        if self._on_abort is not None:
            raise self._on_abort


class _Builder:
    def append(self, **_record: object) -> bool:
        return True

    def record_count(self) -> int:
        return 1

    def close(self) -> None:
        """Close."""


async def outcome(producer: Producer) -> BrokerError:
    """Commit a record to each of two partitions, and give what is raised."""
    transactions = KafkaTransactions("127.0.0.1:1", "t", {})
    transactions._producer = producer  # the one thing that no real broker does when it is asked to
    with pytest.raises(BrokerError) as raised:
        await transactions.commit([Output("test.out", None, b"v", (), number) for number in range(2)], {}, "group")
    return raised.value


async def test_a_fenced_producer_is_not_asked_to_abort() -> None:
    """Whoever is fenced has nothing left to abort; aiokafka would assert."""
    producer = Producer(("ends", ProducerFenced()), ("ends", ProducerFenced()), on_abort=AssertionError("FATAL_ERROR"))
    assert isinstance(await outcome(producer), Fenced)
    assert 0 == producer.aborted


async def test_a_fence_between_two_batches_is_a_fence() -> None:
    """When the second batch is refused because the first one was fenced, the outcome is Fenced: Uncertain would fence the new owner."""
    assert isinstance(await outcome(Producer(("ends", ProducerFenced()), ("raises", IllegalOperation("not in a transaction")))), Fenced)


async def test_a_refused_record_is_aborted_and_told() -> None:
    """The transaction ends here, and the record is to blame."""
    producer = Producer(("ends", MessageSizeTooLargeError()), ("raises", IllegalOperation("not in a transaction")))
    assert isinstance(await outcome(producer), RecordRefused)
    assert 1 == producer.aborted


@pytest.mark.parametrize("on_abort", [None, AssertionError("FATAL_ERROR"), IllegalOperation("no")])
async def test_everything_else_is_doubt(on_abort: Exception | None) -> None:
    """Whatever else goes wrong, in a batch or in the abort after it, is doubt and never a bug of the worker."""
    producer = Producer(("ends", NotLeaderForPartitionError()), ("ends", NotLeaderForPartitionError()), on_abort=on_abort)
    assert isinstance(await outcome(producer), Uncertain)
    assert isinstance(await outcome(Producer(("raises", IllegalOperation("no")), on_abort=on_abort)), Uncertain)


async def test_a_producer_is_replaced_before_its_numbers_overflow() -> None:
    """After 2^30 records nothing more is begun with it: the host makes a fresh one and rewinds (reference: reliability, rule 5)."""
    producer = Producer()
    transactions = KafkaTransactions("127.0.0.1:1", "t", {})
    transactions._producer = producer  # a billion records take hours
    transactions._written = RECORDS_MOST
    with pytest.raises(Uncertain, match="is replaced"):
        await transactions.commit([Output("test.out", None, b"v", (), 0)], {}, "group")
