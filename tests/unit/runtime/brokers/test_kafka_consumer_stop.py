"""A group member leaves within a bound, however long its broker is away."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.runtime.brokers import kafka_consumer
from pipeline.runtime.brokers.kafka_consumer import STOP_SECONDS, KafkaConsumer
from pipeline.runtime.brokers.kafka_metadata import SharedAdmin
from tests.unit.runtime.jumping import jumping


class _Client:
    """Takes as long to leave its group as aiokafka does where no broker answers.

    Attributes:
        left: Whether it came to its end.
    """

    left = False

    def __init__(self, **_settings: object) -> None:
        """Take every setting."""

    def subscribe(self, _topics: object, listener: object) -> None:
        assert listener

    async def start(self) -> None:
        """Start."""

    async def stop(self) -> None:
        await asyncio.sleep(40)
        self.left = True


def test_it_leaves_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopping waits three seconds for a broker that does not answer; the goodbye goes on beside, and ends what it holds."""
    client = _Client()
    monkeypatch.setattr(kafka_consumer, "AIOKafkaConsumer", lambda **_settings: client)

    async def nothing(_partitions: object) -> None:
        """Take it."""

    @jumping
    async def run() -> None:
        loop = asyncio.get_running_loop()
        consumer = KafkaConsumer("nowhere:1", "test.filter", "test", {}, SharedAdmin("nowhere:1"))
        await consumer.start(["test.in"], nothing, nothing)
        before = loop.time()
        await consumer.stop()
        assert loop.time() - before == pytest.approx(STOP_SECONDS)
        assert consumer.stopped
        await asyncio.sleep(40)
        assert client.left

    run()
