"""One transactional producer of aiokafka, as the transactions port wants it.

What aiokafka leaves to its user is done here: every send future is awaited before the commit (a transaction commits although
one of its batches failed), every wait has a deadline, and a producer is never used again after a doubtful outcome
(no epoch bump, sequence gaps: aio-libs/aiokafka#1017).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    CorruptRecordException,
    GroupAuthorizationFailedError,
    IllegalOperation,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as KafkaTopicPartition

from pipeline.model.limits import TOPIC_MESSAGE_BYTES
from pipeline.model.record import Output, TopicPartition
from pipeline.ports.broker import Blocked, BrokerError, Fenced, Position, RecordRefused, Uncertain
from pipeline.runtime.brokers.kafka_batches import BATCH_BYTES, RECORDS_MOST, Placement, append_batches, stop_producer
from pipeline.runtime.brokers.kafka_topics import Pins, marked

TRANSACTION_TIMEOUT_MS: Final = 10_000
"""After this the broker aborts what a dead owner left open, so that it blocks readers for seconds only."""
DEADLINE_SECONDS: Final = 9.0
"""Longest wait for a commit; below the transaction's timeout."""
START_SECONDS: Final = 30.0
_REFUSALS = (MessageSizeTooLargeError, CorruptRecordException)
_RIGHTS = (
    TopicAuthorizationFailedError,
    GroupAuthorizationFailedError,
    ClusterAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    InvalidTopicError,
)


class _BatchFailed(Exception):
    """A batch was not stored, and its transaction was aborted."""

    def __init__(self, partition: TopicPartition, error: BaseException) -> None:
        super().__init__(f"{partition.topic}-{partition.partition}: {type(error).__name__}: {error}")
        self.error = error


class KafkaTransactions:
    """Writes and positions in one Kafka transaction at a time.

    Args:
        bootstrap: `host:port`, comma separated.
        transactional_id: Id that encodes group and input partition; starting it fences a stale owner.
        pins: The topics that groups work on.
        compression: Codec name.
    """

    def __init__(self, bootstrap: str, transactional_id: str, pins: Pins, compression: str = "zstd") -> None:
        self._producer_settings: dict[str, Any] = {
            "bootstrap_servers": bootstrap,
            "transactional_id": transactional_id,
            "transaction_timeout_ms": TRANSACTION_TIMEOUT_MS,
            "compression_type": compression,
            "max_batch_size": BATCH_BYTES,
            "max_request_size": 2 * TOPIC_MESSAGE_BYTES,
            "request_timeout_ms": 10_000,
        }
        self._id = transactional_id
        self._pins = pins
        self._written = 0
        self._producer: AIOKafkaProducer | None = None
        self._placement = Placement()

    async def start(self) -> None:
        """Take over the transactional id, ending what a stale owner left open."""
        producer = AIOKafkaProducer(**self._producer_settings)
        self._producer = producer
        try:
            async with asyncio.timeout(START_SECONDS):
                await producer.start()
        except (TimeoutError, KafkaError, OSError) as error:
            await self.stop()
            reason = f"cannot take over the transactional id {self._id}: {error or 'no answer from the broker'}"
            raise BrokerError(reason) from error

    async def commit(self, outputs: Sequence[Output], positions: Mapping[TopicPartition, Position], group: str) -> Mapping[TopicPartition, int]:
        """Write records and a group's positions, all or nothing.

        Args:
            outputs: Records in order.
            positions: Input positions to commit with them.
            group: The consumer group that they belong to.

        Returns:
            For each partition written to, the offset after its last record.
        """
        producer = self._producer
        if producer is None:
            reason = f"the producer of {self._id} is not started"
            raise Uncertain(reason)
        if self._written + len(outputs) > RECORDS_MOST:
            raise Uncertain(f"the producer of {self._id} has written {self._written} records and is replaced; nothing was begun")
        self._written += len(outputs)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await self._commit(producer, outputs, positions, group)
        except ProducerFenced as error:
            reason = f"another instance has taken over {self._id}"
            raise Fenced(reason) from error
        except _BatchFailed as error:
            reason = f"the broker refused what {self._id} writes to {error}"
            raise (RecordRefused if isinstance(error.error, _REFUSALS) else Blocked if isinstance(error.error, _RIGHTS) else Uncertain)(
                reason
            ) from error
        except _RIGHTS as error:
            reason = f"a right of {self._id} is missing: {type(error).__name__}: {error}"
            raise Blocked(reason) from error
        except TimeoutError as error:
            reason = f"no outcome of a transaction of {self._id} within {DEADLINE_SECONDS:g} s"
            raise Uncertain(reason) from error
        except (KafkaError, IllegalOperation, AssertionError) as error:  # the last is aiokafka's way to refuse work after a background error
            reason = f"unknown outcome of a transaction of {self._id}: {type(error).__name__}: {error}"
            raise Uncertain(reason) from error

    async def _commit(
        self, producer: AIOKafkaProducer, outputs: Sequence[Output], positions: Mapping[TopicPartition, Position], group: str
    ) -> Mapping[TopicPartition, int]:
        by_partition = await self._placement.placed(producer, outputs)
        await producer.begin_transaction()
        sent: list[tuple[TopicPartition, int, Awaitable[Any]]] = []
        interrupted: Exception | None = None
        try:
            for partition, records in by_partition.items():
                await append_batches(producer, partition, records, sent)
        except IllegalOperation as error:  # the transaction has failed in the background; what was sent until then says why
            interrupted = error
        ends: dict[TopicPartition, int] = {}
        results = await asyncio.gather(*(future for _, _, future in sent), return_exceptions=True)
        failures = [(partition, result) for (partition, _, _), result in zip(sent, results, strict=True) if isinstance(result, BaseException)]
        fenced = next((result for _, result in failures if isinstance(result, ProducerFenced)), None)
        if fenced is not None:
            raise fenced  # there is nothing left to abort, and aiokafka asserts that nobody tries
        if failures or interrupted is not None:
            await producer.abort_transaction()
            if not failures:
                raise interrupted  # type: ignore[misc]  # the condition above
            raise _BatchFailed(*failures[0])
        for (partition, count, _), metadata in zip(sent, results, strict=True):
            ends[partition] = metadata.offset + count  # type: ignore[union-attr]  # exceptions were raised above
        if positions:
            # Only now: while the coordinator adds the group to the transaction, the partitions' leaders cannot verify theirs with it, and
            # answer a concurrent produce with NOT_ENOUGH_REPLICAS (KIP-890), which costs a back-off of 100 ms.
            await producer.send_offsets_to_transaction(
                {
                    KafkaTopicPartition(*key): OffsetAndMetadata(value.offset, marked(self._pins, group, key, value))
                    for key, value in positions.items()
                },
                group,
            )
        await producer.commit_transaction()
        return ends

    async def stop(self) -> None:
        """Abort what is open and close the connections; never raises."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_producer(producer)
