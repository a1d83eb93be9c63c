"""Apache Kafka through aiokafka (0.14 or newer: aio-libs/aiokafka#1134, #1151)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from aiokafka.errors import KafkaError

from pipeline.model.record import Output
from pipeline.ports.broker import BrokerError, Membership, RecordRefused
from pipeline.runtime.brokers.kafka_admin import KafkaAdmin, KafkaReader
from pipeline.runtime.brokers.kafka_batches import RECORDS_MOST, REFUSALS, Placement, packed_in_turns
from pipeline.runtime.brokers.kafka_consumer import KafkaConsumer
from pipeline.runtime.brokers.kafka_idempotent_producer import IdempotentProducer
from pipeline.runtime.brokers.kafka_joint_committer import JointCommitter
from pipeline.runtime.brokers.kafka_lookup import KafkaLookup
from pipeline.runtime.brokers.kafka_metadata import SharedAdmin
from pipeline.runtime.brokers.kafka_topics import Pins
from pipeline.runtime.brokers.kafka_transactions import KafkaTransactions

SEND_SECONDS: Final = 10.0


class KafkaBroker:
    """A Kafka cluster.

    Args:
        bootstrap: `host:port`, comma separated.
        client_id: Name that the cluster's logs show.
    """

    def __init__(self, bootstrap: str, client_id: str = "headrace") -> None:
        self.bootstrap = bootstrap
        self._client_id = client_id
        self._pins: Pins = {}
        self._shared_admin = SharedAdmin(bootstrap)
        self._joint: dict[Membership, JointCommitter] = {}

    def transactions(self, transactional_id: str, membership: Membership | None = None) -> KafkaTransactions:
        """Make what commits, not started; all of one membership commit together."""
        if membership is None:
            return KafkaTransactions(JointCommitter(self.bootstrap, self._pins), transactional_id)
        committer = self._joint.get(membership)
        if committer is None:
            group, generation, *_ = membership
            self._joint = {one: joint for one, joint in self._joint.items() if one.group != group or one.generation >= generation}
            committer = self._joint[membership] = JointCommitter(self.bootstrap, self._pins, membership)
        return KafkaTransactions(committer, transactional_id)

    def consumer(self, group: str) -> KafkaConsumer:
        """Make a group member, not started."""
        return KafkaConsumer(self.bootstrap, group, self._client_id, self._pins, self._shared_admin)

    def pinned(self, group: str, topic: str) -> str:
        """Give the id of the topic that a group works on, or empty."""
        return self._pins.get((group, topic), "")

    def producer(self) -> KafkaProducer:
        """Make an idempotent producer, not started."""
        return KafkaProducer(self.bootstrap, self._client_id)

    def reader(self) -> KafkaReader:
        """Make a reader without a group."""
        return KafkaReader(self.bootstrap)

    def lookup(self) -> KafkaLookup:
        """Make what looks at single places, not started."""
        return KafkaLookup(self.bootstrap)

    def admin(self) -> KafkaAdmin:
        """Make an admin client."""
        return KafkaAdmin(self.bootstrap, self._shared_admin)


class KafkaProducer:
    """An idempotent producer with acks=all; replaced by a fresh one after every failure.

    Args:
        bootstrap: `host:port`, comma separated.
        client_id: Name that the cluster's logs show.
    """

    def __init__(self, bootstrap: str, client_id: str) -> None:
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._producer: IdempotentProducer | None = None
        self._starting = asyncio.Lock()
        self._placement = Placement()
        self._written = 0

    async def start(self) -> None:
        """Connect."""
        await self._started()

    async def _started(self) -> IdempotentProducer:
        async with self._starting:
            if self._producer is None:
                producer = IdempotentProducer(self._bootstrap, self._client_id)
                try:
                    async with asyncio.timeout(SEND_SECONDS):
                        await producer.start()
                except BaseException as error:
                    await producer.stop()
                    if not isinstance(error, (TimeoutError, KafkaError, OSError)):
                        raise
                    reason = f"cannot connect a producer to {self._bootstrap}: {str(error) or 'no answer'}"
                    raise BrokerError(reason) from error
                self._producer, self._placement, self._written = producer, Placement(), 0
            return self._producer

    async def send(self, outputs: Sequence[Output]) -> None:
        """Write records and wait until the broker has stored all of them."""
        producer = await self._started()
        try:
            async with asyncio.timeout(SEND_SECONDS):
                placed = await self._placement.placed(producer, outputs)
                await producer.produce(await packed_in_turns(producer, placed))
        except (TimeoutError, KafkaError, OSError) as error:
            await self._discard(producer)
            reason = f"the broker has not stored all records: {str(error) or 'no answer in time'}"
            raise (RecordRefused if isinstance(error, REFUSALS) else BrokerError)(reason) from error
        self._written += len(outputs)
        if self._written > RECORDS_MOST:
            await self._discard(producer)

    async def _discard(self, producer: IdempotentProducer) -> None:
        # What was numbered and not stored leaves a gap that a broker refuses for ever.
        if self._producer is producer:
            self._producer = None
        await producer.stop()

    async def stop(self) -> None:
        """Disconnect."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()
