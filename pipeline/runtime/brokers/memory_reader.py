"""Reads topics of a cluster in memory without a group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

from pipeline.model.record import Record


class MemoryReader:
    """Reads partitions without a group.

    Args:
        log: Gives the partitions of a topic.
        written: Gives what is set at the next write.
    """

    def __init__(self, log: Callable[[str], list[list[Record]]], written: Callable[[], asyncio.Event]) -> None:
        self._log = log
        self._written = written

    async def read(
        self,
        topic: str,
        *,
        start: Mapping[int, int] | None = None,
        partitions: Collection[int] | None = None,
        follow: bool = False,
        settled: bool = False,
    ) -> AsyncIterator[Sequence[Record]]:
        """Read a topic from given offsets to its present end, or for ever; see the port. Nothing is ever open here."""
        del settled
        log = self._log(topic)
        numbers = range(len(log)) if partitions is None else sorted(partitions)
        places = {number: (start or {}).get(number, 0) for number in numbers}
        places = {number: max(0, len(log[number]) + 1 + place) if place < 0 else place for number, place in places.items()}
        while True:
            written = self._written()
            for number in numbers:
                records = log[number][places[number] :]
                if records:
                    places[number] += len(records)
                    yield records
            if not follow:
                return
            try:
                async with asyncio.timeout(0.5):
                    await written.wait()
            except TimeoutError:
                yield []
