"""Follows the topic `jobs`, so that every process knows which groups are held back, and the one that replays knows its jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from pipeline.model.record import Output, Record
from pipeline.model.topics import topic_name
from pipeline.ports.broker import Broker, BrokerError
from pipeline.ports.clock import Clock
from pipeline.replay.board import TOPIC, Board

_log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0


class Jobs:
    """What stands in the topic `jobs` now.

    Args:
        broker: Where the topic is.
        prefix: The workspace's name.
        clock: Time.
    """

    def __init__(self, broker: Broker, prefix: str, clock: Clock) -> None:
        self._broker = broker
        self._clock = clock
        self._topic = topic_name(prefix, TOPIC)
        self._offset = 0
        self._listeners: list[Callable[[], None]] = []
        self._held: frozenset[str] = frozenset()
        self.board = Board()

    @property
    def held(self) -> frozenset[str]:
        """The groups that are held back for a reset, without prefix."""
        return self._held

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have a function called whenever something stands there that did not before, or a hold has run out.

        Args:
            listener: The function; it must not wait.

        Returns:
            What takes the listener away.
        """
        self._listeners.append(listener)

        def leave() -> None:
            with suppress(ValueError):
                self._listeners.remove(listener)

        return leave

    async def write(self, key: bytes, value: bytes | None) -> None:
        """Write a record to the topic.

        Raises:
            BrokerError: It may not be stored.
        """
        producer = self._broker.producer()
        try:
            await producer.start()
            await producer.send([Output(self._topic, key, value, partition=0)])
        finally:
            await producer.stop()

    async def read(self) -> Board:
        """Read the topic to its present end, for who does not follow it."""
        if self._topic in await self._broker.admin().topics():
            async for records in self._broker.reader().read(self._topic, start={0: self._offset}):
                self._fold(records)
        return self.board

    async def run(self) -> None:
        """Follow the topic for ever, through a broker's absence."""
        said = False
        while True:
            try:
                async for records in self._broker.reader().read(self._topic, start={0: self._offset}, follow=True):
                    said = False
                    self._take(records)
            except BrokerError as error:
                if not said:
                    _log.warning("Jobs and holds cannot be followed: %s; trying again.", error)
                said = True
            await asyncio.sleep(RETRY_SECONDS)

    def _take(self, records: Sequence[Record]) -> None:
        self._fold(records)
        held = self.board.held(self._clock.now_ms())
        if records or held != self._held:
            self._held = held
            for listener in list(self._listeners):
                listener()

    def _fold(self, records: Sequence[Record]) -> None:
        for record in records:
            self._offset = record.offset + 1
            self.board.take(record.key, record.value)
