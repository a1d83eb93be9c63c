"""Broken builds of whoever writes the first record: each undoes one precaution of the product's producer, inside the test's own process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from pipeline.model.record import Output
from pipeline.ports.broker import BrokerError
from pipeline.runtime.brokers.kafka import KafkaBroker, KafkaProducer


class CarelessProducer(KafkaProducer):
    """A producer that is content with fewer copies than all.

    Args:
        bootstrap: `host:port`, comma separated.
        acks: How many brokers have to have a record: the leader, or none.
    """

    def __init__(self, bootstrap: str, acks: int) -> None:
        super().__init__(bootstrap, "careless")
        self._acks = acks
        self._careless: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect."""
        if self._careless is None:
            producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, acks=self._acks, request_timeout_ms=10_000)
            try:
                await producer.start()
            except (KafkaError, OSError) as error:
                with suppress(KafkaError, OSError):
                    await producer.stop()
                raise BrokerError(str(error)) from error
            self._careless = producer

    async def send(self, outputs: Sequence[Output]) -> None:
        """Write records and wait for what the broker says to that, if it says anything."""
        await self.start()
        assert self._careless is not None
        send = self._careless.send
        try:
            sent = [await send(topic, value, key, partition, headers=list(headers)) for topic, key, value, headers, partition in outputs]
            await asyncio.gather(*sent)
        except (KafkaError, OSError) as error:
            raise BrokerError(str(error)) from error

    async def stop(self) -> None:
        """Flush and disconnect."""
        if self._careless is not None:
            with suppress(KafkaError, OSError):
                await self._careless.stop()


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
