"""Takes a sample of events from a range of time, with the requests that were made of each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, NamedTuple

from pipeline.app.explain.looking import CLOCKS_MS, WIDER_MS, Looking
from pipeline.explain.evidence import header
from pipeline.model import headers as names
from pipeline.model.ids import partition_of
from pipeline.model.json_text import decode
from pipeline.model.record import Record, TopicPartition
from pipeline.model.topology import Topology

CHUNK: Final = 50
"""Events that are taken side by side: near each other, their requests are too."""
READ_MOST: Final = 400_000
"""Most records that are read to find events of a rare kind."""
REQUESTS_MOST: Final = 5_000
"""Most records of a partition of requests that are read for one chunk."""


class Wanted(NamedTuple):
    """Which events are looked at.

    Attributes:
        begin_ms: Broker time from which on, milliseconds since the epoch.
        end_ms: Broker time before which.
        sample: How many events at most.
        source: Only this source; empty for all.
        event: Only track events of this name; empty for all.
    """

    begin_ms: int
    end_ms: int
    sample: int
    source: str = ""
    event: str = ""


class Start(NamedTuple):
    """Where a sample is read: the topic before filter, and the steps that its events have not passed yet."""

    topic: str
    before: tuple[str, ...]


Stored = dict[str, dict[str, bytes]]
"""Requests of one event: values by mapping, by destination."""


def start_of(topology: Topology) -> Start:
    """Say where events can be taken from before they are routed.

    Args:
        topology: The topology that is run.

    Returns:
        The input of the processor that filters; where it does more before that (`fused`), these steps too, but dedup.

    Raises:
        ValueError: Nothing filters.
    """
    for processor in topology.processors.values():
        if "filter" in processor.steps:
            before = processor.steps[: processor.steps.index("filter")]
            return Start(processor.input, tuple(step for step in before if step != "dedup"))
    reason = f"the topology {topology.name} has no step filter"
    raise ValueError(reason)


class Sample:
    """One pass over a range.

    Args:
        looking: How topics are looked at, started.
        topic: Where the events are.
        destinations: Destinations whose requests are looked up.
        wanted: Which events.

    Attributes:
        range: How many offsets the range has; more than records, for each transaction that wrote some of them has one too.
        read: How many records were read of it.
    """

    def __init__(self, looking: Looking, topic: str, destinations: Collection[str], wanted: Wanted) -> None:
        self._looking = looking
        self._topic = topic
        self._destinations = destinations
        self._wanted = wanted
        self.range = 0
        self.read = 0
        self._passed = 0

    @property
    def records(self) -> int:
        """How many records the range has: counted where all of it was read, else reckoned from what was."""
        return round(self.range * self.read / self._passed) if self._passed else 0

    async def events(self, progress: Callable[[int], None]) -> AsyncIterator[tuple[Record, Stored]]:
        """Give events with their requests, spread evenly over the range.

        Args:
            progress: Told how many events were taken.

        Yields:
            Each event, and what was found of it in `requests.*`.
        """
        ranges: dict[int, tuple[int, int]] = {}
        for number in range(self._looking.partitions(self._topic)):
            begin = await self._looking.offset_at(self._topic, number, self._wanted.begin_ms)
            ranges[number] = begin, await self._looking.offset_at(self._topic, number, self._wanted.end_ms)
        self.range = sum(end - begin for begin, end in ranges.values())
        taken = 0
        for number, (begin, end) in ranges.items():
            share = -(-self._wanted.sample * (end - begin) // self.range) if self.range else 0
            chunks = max(1, -(-share // CHUNK))
            length = -(-(end - begin) // chunks)
            for start in range(begin, end, max(1, length)):
                most = min(CHUNK, share, self._wanted.sample - taken) if chunks > 1 else min(share, self._wanted.sample - taken)
                found = await self._chunk(number, start, min(start + length, end), most)
                stored = await self._stored(found)
                for record in found:
                    yield record, stored.get(_message_id(record), {})
                taken += len(found)
                progress(taken)
                if taken >= self._wanted.sample or self.read >= READ_MOST:
                    break

    async def _chunk(self, partition: int, start: int, end: int, most: int) -> list[Record]:
        found: list[Record] = []
        if most <= 0:
            return found
        passed = end
        async with aclosing(self._looking.read(self._topic, partition, start, end)) as batches:  # type: ignore[type-var]  # an async generator
            async for records in batches:
                self.read += len(records)
                found += [record for record in records if self._is_wanted(record)]
                if len(found) >= most or self.read >= READ_MOST:
                    passed = records[-1].offset + 1
                    break
        self._passed += passed - start
        return found[:most]

    def _is_wanted(self, record: Record) -> bool:
        wanted = self._wanted
        if wanted.source and header(record, names.SOURCE) != wanted.source:
            return False
        if not wanted.event:
            return True
        if wanted.event.encode() not in (record.value or b"") and wanted.event.isascii():
            return False
        body = _body(record)
        return body.get("type") == "track" and body.get("event") == wanted.event

    async def _stored(self, events: Sequence[Record]) -> Mapping[str, Stored]:
        """Find the requests of events that lie side by side."""
        found: dict[str, Stored] = {}
        if not events:
            return found
        ids = {_message_id(record).encode() for record in events}
        begin, until = min(one.timestamp for one in events) - CLOCKS_MS, max(one.timestamp for one in events) + WIDER_MS
        for destination in self._destinations:
            topic = f"requests.{destination}"
            for partition in self._partitions(topic, events):
                start = await self._looking.offset_at(topic, partition, begin)
                end = min(start + REQUESTS_MOST, await self._looking.offset_at(topic, partition, until))
                async for records in self._looking.read(topic, partition, start, end):
                    for record in records:
                        own = dict(record.headers)
                        if own.get(names.MESSAGE_ID) in ids:
                            stored = found.setdefault(own[names.MESSAGE_ID].decode("utf-8", "replace"), {})
                            stored.setdefault(destination, {}).setdefault(own.get(names.MAPPING, b"").decode(), record.value or b"")
        return found

    def _partitions(self, topic: str, events: Sequence[Record]) -> list[int]:
        count = self._looking.partitions(topic)
        if not count or TopicPartition(topic, 0) not in self._looking.bounds:
            return []
        numbers = {record.partition if record.key is None else partition_of(record.key, count) for record in events}
        for record in events:  # where a destination keeps users in order, their requests lie under the user
            user = _body(record).get("userId")
            if isinstance(user, str) and user:
                numbers.add(partition_of(user.encode(), count))
        return sorted(numbers)


def _message_id(record: Record) -> str:
    return str(_body(record).get("messageId", ""))


def _body(record: Record) -> dict[str, Any]:
    try:
        body = decode(record.value or b"{}")[0]
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
