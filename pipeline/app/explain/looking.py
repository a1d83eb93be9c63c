"""Looks for records in small ranges of partitions: by offset, by time, by the ledger's transactions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Final, NamedTuple

import orjson

from pipeline.model.ledger import ledger_key
from pipeline.model.record import Record, TopicPartition
from pipeline.model.topics import topic_name
from pipeline.ports.broker import Lookup

CLOCKS_MS: Final = 2_000
"""How far the clocks of two brokers may lie apart, and how long a transaction's writes may take; one step wider is tried after it."""
WIDER_MS: Final = 20_000
WIDER: Final = 10
"""How many times the first range is read where it does not hold what is looked for."""
LINEAR: Final = 4_000
"""Records of the ledger that are read one after the other; what is further away is found by halving."""
PROBE: Final = 3_000
"""Records that are read at most to meet one of a group's own: every group of a busy run writes ten a second for each partition."""

Matches = Callable[[Record], bool]
Progress = Callable[[str], None]


class Transaction(NamedTuple):
    """A record of the ledger: the offsets that it took, when the broker stored it, and its rows."""

    start: int
    end: int
    at: int
    rows: Sequence[Sequence[Any]]


class Looking:
    """Looks through one connection; every topic is named without its prefix.

    Args:
        lookup: The connection, not started.
        prefix: The workspace's name.
        progress: Told what is read where that may take longer.

    Attributes:
        bounds: First and end offset of each partition.
        records_read: How many records were read.
        given_up: Where something was looked for and not found, though the partition goes on; a sentence each.
    """

    def __init__(self, lookup: Lookup, prefix: str, progress: Progress) -> None:
        self._lookup = lookup
        self._prefix = prefix
        self.progress = progress
        self.bounds: dict[TopicPartition, tuple[int, int]] = {}
        self.records_read = 0
        self.given_up: list[str] = []

    async def start(self, topics: Sequence[str]) -> None:
        """Connect; those topics that do not exist are passed over."""
        found = await self._lookup.start([topic_name(self._prefix, topic) for topic in topics])
        self.bounds = {TopicPartition(key.topic.removeprefix(f"{self._prefix}."), key.partition): value for key, value in found.items()}

    async def stop(self) -> None:
        """Disconnect."""
        await self._lookup.stop()

    def partitions(self, topic: str) -> int:
        """Give how many partitions a topic has; 0 where it is not there."""
        return sum(key.topic == topic for key in self.bounds)

    async def offset_at(self, topic: str, partition: int, time_ms: int) -> int:
        """Find a time in a partition."""
        return await self._lookup.offset_at(TopicPartition(topic_name(self._prefix, topic), partition), time_ms)

    async def read(self, topic: str, partition: int, start: int, end: int, most: int = 500) -> AsyncIterator[Sequence[Record]]:
        """Read a range; nothing where the topic is not there."""
        if TopicPartition(topic, partition) not in self.bounds:
            return
        async with aclosing(self._lookup.read(TopicPartition(topic_name(self._prefix, topic), partition), start, end, most=most)) as found:  # type: ignore[type-var]  # both are async generators
            async for records in found:
                self.records_read += len(records)
                yield records

    async def record(self, topic: str, partition: int, offset: int) -> Record | None:
        """Read the record at a place, or None where none is (any more)."""
        async for records in self.read(topic, partition, offset, offset + 1, most=1):
            return next((one for one in records if one.offset == offset), None)
        return None

    async def within(self, topic: str, partition: int, start: int, end: int, matches: Matches) -> list[Record]:
        """Give the records of a range that match."""
        return [record async for records in self.read(topic, partition, start, end) for record in records if matches(record)]

    async def between(self, topic: str, partition: int, begin_ms: int, until_ms: int, matches: Matches) -> list[Record]:
        """Give the records of a range of time that match."""
        if TopicPartition(topic, partition) not in self.bounds:
            return []
        start, end = await self.offset_at(topic, partition, begin_ms), await self.offset_at(topic, partition, until_ms)
        return await self.within(topic, partition, start, end, matches)

    async def near(self, topic: str, partition: int, at_ms: int, matches: Matches) -> list[Record]:
        """Look around a time, close by first, then wider."""
        for before, after in ((CLOCKS_MS // 8, CLOCKS_MS // 8), (CLOCKS_MS, CLOCKS_MS), (WIDER_MS, WIDER_MS)):
            found = await self.between(topic, partition, at_ms - before, at_ms + after, matches)
            if found:
                return found
        return []

    async def forward(self, topic: str, partition: int, begin_ms: int, matches: Matches, *, most: int) -> list[Record]:
        """Look from a time on until something matches; gives the matches of the slice that has some.

        Over so many offsets at first, then over `WIDER` times as many; what is not found within these is noted as given up.
        """
        key = TopicPartition(topic, partition)
        if key not in self.bounds:
            return []
        start, end = await self.offset_at(topic, partition, begin_ms), self.bounds[key][1]
        last = min(start + most * WIDER, end)
        wider = False
        async for records in self.read(topic, partition, start, last):
            found = [record for record in records if matches(record)]
            if found:
                return found
            if not wider and records and records[-1].offset >= start + most:
                wider = True
                self.progress(f"not found within {most} offsets: reading {topic}/{partition} on from {records[-1].offset + 1}")
        if last < end:
            self._give_up(topic, partition, start, last, end)
        return []

    async def since(self, topic: str, partition: int, begin_ms: int, matches: Matches, *, most: int) -> list[Record]:
        """Give all that matches from a time on, over so many offsets at most."""
        key = TopicPartition(topic, partition)
        if key not in self.bounds:
            return []
        start, end = await self.offset_at(topic, partition, begin_ms), self.bounds[key][1]
        found = await self.within(topic, partition, start, min(start + most, end), matches)
        if start + most < end:
            self._give_up(topic, partition, start, start + most, end)
        return found

    def _give_up(self, topic: str, partition: int, start: int, last: int, end: int) -> None:
        text = f"{topic}/{partition} was read from {start} to {last - 1}; it goes on to {end - 1}, where more may lie"
        if text not in self.given_up:
            self.given_up.append(text)

    async def is_before(self, topic: str, partition: int, at_ms: int) -> bool:
        """Say whether a time lies before the oldest record that a partition keeps, and something is gone from it."""
        bounds = self.bounds.get(TopicPartition(topic, partition))
        if bounds is None or bounds[0] == 0:
            return False
        return await self.offset_at(topic, partition, at_ms) <= bounds[0]

    # ---- the ledger

    async def transaction(self, group: str, topic: str, partition: int, offset: int, since_ms: int) -> Transaction | None:
        """Find the transaction that took an offset.

        The transactions of one group and partition lie in the ledger in the order of their offsets, so that halving finds one among millions.

        Args:
            group: Consumer group without prefix.
            topic: Its input.
            partition: Partition of it.
            offset: The offset.
            since_ms: When the record was written: its transaction is no older.

        Returns:
            The transaction, or None where the group has not come to it (or the ledger no longer knows).
        """
        if ("ledger", 0) not in self.bounds:
            return None
        key = ledger_key(group, topic, partition)
        low, high = await self.offset_at("ledger", 0, since_ms - CLOCKS_MS), self.bounds[TopicPartition("ledger", 0)][1]
        found, low = await self._first_reaching(key, offset, low, min(low + LINEAR, high))
        if found is not None or low >= high:
            return found
        while high - low > LINEAR:
            middle = (low + high) // 2
            met = await self._next_of(key, middle, min(middle + PROBE, high))
            if met is None or met[1].start > offset:
                high = middle
            elif met[1].end <= offset:
                low = met[0] + 1
            else:
                return met[1]
        found, _ = await self._first_reaching(key, offset, low, min(high + PROBE, self.bounds[TopicPartition("ledger", 0)][1]))
        return found

    async def _first_reaching(self, key: bytes, offset: int, low: int, high: int) -> tuple[Transaction | None, int]:
        async for records in self.read("ledger", 0, low, high):
            for record in records:
                if record.key == key:
                    transaction = _transaction(record)
                    if transaction is not None and transaction.end > offset:
                        return (transaction if transaction.start <= offset else None), high if transaction.start > offset else record.offset
        return None, high

    async def _next_of(self, key: bytes, low: int, high: int) -> tuple[int, Transaction] | None:
        async for records in self.read("ledger", 0, low, high, most=200):
            for record in records:
                if record.key == key:
                    transaction = _transaction(record)
                    if transaction is not None:
                        return record.offset, transaction
        return None


def _transaction(record: Record) -> Transaction | None:
    try:
        body = orjson.loads(record.value or b"")
        return Transaction(int(body["from"]), int(body["to"]), record.timestamp, body["rows"])
    except (ValueError, KeyError, TypeError):
        return None
