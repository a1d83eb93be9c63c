"""Broken builds of whoever writes the first record: each undoes one precaution of the product's producer, inside the test's own process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from pipeline.ports.broker import BrokerError
from pipeline.runtime.brokers.kafka import KafkaBroker, KafkaProducer
from pipeline.runtime.brokers.kafka_batches import stop_producer


class CarelessProducer(KafkaProducer):
    """A producer that is content with fewer copies than all.

    Args:
        bootstrap: `host:port`, comma separated.
        acks: How many brokers have to have a record: the leader, or none.
    """

    def __init__(self, bootstrap: str, acks: int) -> None:
        super().__init__(bootstrap, "careless")
        self._acks = acks

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, acks=self._acks, request_timeout_ms=10_000)
                try:
                    await producer.start()
                except (KafkaError, OSError) as error:
                    await stop_producer(producer)
                    raise BrokerError(str(error)) from error
                self._producer = producer
            return self._producer


class CarelessBroker(KafkaBroker):
    """A cluster that the load writes to with a broken build.

    Args:
        bootstrap: `host:port`, comma separated.
        acks: How many brokers have to have a record.
    """

    def __init__(self, bootstrap: str, acks: int) -> None:
        super().__init__(bootstrap)
        self._acks = acks

    def producer(self) -> KafkaProducer:
        """Make a producer, not started."""
        return CarelessProducer(self.bootstrap, self._acks)


def leader_only(bootstrap: str) -> KafkaBroker:
    """Take a record for stored once its leader has it (acks=1)."""
    return CarelessBroker(bootstrap, 1)


def unacknowledged(bootstrap: str) -> KafkaBroker:
    """Take a record for stored once it is sent (acks=0)."""
    return CarelessBroker(bootstrap, 0)


LOADS: Final[Mapping[str, Callable[[str], KafkaBroker]]] = {build.__name__: build for build in (leader_only, unacknowledged)}
"""Every broken build of a load by its name."""
