"""One transactional producer, as the transactions port wants it: every wait has a deadline, and none is used again after a doubtful outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    CorruptRecordException,
    GroupAuthorizationFailedError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from pipeline.model.record import Output, TopicPartition
from pipeline.ports.broker import Blocked, BrokerError, Fenced, Position, RecordRefused, Uncertain
from pipeline.runtime.brokers.kafka_batches import RECORDS_MOST, Placement, batches_of, worth_packing
from pipeline.runtime.brokers.kafka_topics import Pins, marked
from pipeline.runtime.brokers.kafka_transactional_producer import BatchFailed, TransactionalProducer

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


class KafkaTransactions:
    """Writes and positions in one Kafka transaction at a time.

    Args:
        bootstrap: `host:port`, comma separated.
        transactional_id: Id that encodes group and input partition; starting it fences a stale owner.
        pins: The topics that groups work on.
    """

    def __init__(self, bootstrap: str, transactional_id: str, pins: Pins) -> None:
        self._bootstrap = bootstrap
        self._id = transactional_id
        self._pins = pins
        self._written = 0
        self._producer: TransactionalProducer | None = None
        self._placement = Placement()

    async def start(self) -> None:
        """Take over the transactional id, ending what a stale owner left open."""
        producer = TransactionalProducer(self._bootstrap, self._id, TRANSACTION_TIMEOUT_MS)
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
        except BatchFailed as error:
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
        except (KafkaError, OSError) as error:
            reason = f"unknown outcome of a transaction of {self._id}: {type(error).__name__}: {error}"
            raise Uncertain(reason) from error

    async def _commit(
        self, producer: TransactionalProducer, outputs: Sequence[Output], positions: Mapping[TopicPartition, Position], group: str
    ) -> Mapping[TopicPartition, int]:
        placed = await self._placement.placed(producer, outputs)
        batches = [
            (partition, batch)
            for partition, records in placed.items()
            for batch in batches_of(partial(producer.create_batch, packed=worth_packing(records)), records)
        ]
        try:
            ends = await producer.produce(batches)
        except BatchFailed:
            await producer.abort()
            raise
        if positions:
            await producer.send_offsets({key: (value.offset, marked(self._pins, group, key, value)) for key, value in positions.items()}, group)
        await producer.commit()
        return ends

    async def stop(self) -> None:
        """Abort what is open and close the connections; never raises."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()
