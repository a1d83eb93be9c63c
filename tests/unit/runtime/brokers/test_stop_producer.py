"""A producer that is thrown away does nothing any more, whatever state it was in."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaError

from pipeline.runtime.brokers.kafka_batches import stop_producer
from tests.unit.runtime.jumping import jumping


class _Client:
    closed = False

    async def close(self) -> None:
        self.closed = True


class _Sender:
    def __init__(self) -> None:
        self.sender_task = asyncio.create_task(asyncio.Event().wait())


class _Producer:
    """Like aiokafka's: its sender is a task of its own, which connects again where the client was closed under it."""

    def __init__(self, failure: Exception | None) -> None:
        self.client = _Client()
        self._sender = _Sender()
        self._failure = failure

    async def stop(self) -> None:
        if self._failure is not None:
            raise self._failure
        await asyncio.Event().wait()

    @property
    def is_silent(self) -> bool:
        """Whether nothing of it can send any more."""
        return self._sender.sender_task.done() and self.client.closed


@pytest.mark.parametrize("failure", [None, KafkaError("fenced"), OSError("away"), AssertionError("a background error")], ids=str)
def test_nothing_of_it_goes_on(failure: Exception | None) -> None:
    """One that cannot flush, or fails while it stops, is cut off with its sender; stopping never raises."""

    @jumping
    async def run() -> None:
        producer = _Producer(failure)
        await stop_producer(cast("Any", producer))
        assert producer.is_silent

    run()
