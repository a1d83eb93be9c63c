"""Translates requests anew that were rendered from events in the past: reads the events back, and says what each request would be today."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Final, Literal, NamedTuple

from pipeline.model import headers as names
from pipeline.model.headers import number_in
from pipeline.model.outcomes import Emit
from pipeline.model.record import Headers, Record, TopicPartition
from pipeline.ports.broker import Broker

TranslateAnew = Callable[[Record, str, str], Emit | str]
"""Given an event as it lies in its topic, a destination and the name of a mapping: the request, or why there is none."""

Fate = Literal["translated anew", "unchanged", "event expired", "no request"]

GAP: Final = 500
"""Offsets between two events from which on it is cheaper to look at each place than to read what lies between them."""

_ORIGIN: Final = re.compile(r"(.+)/(\d{1,9})/(\d{1,18})")


class Renewed(NamedTuple):
    """A request that was judged anew.

    Attributes:
        by: What judged it.
        record: The request as it is to be sent; what it was before, unless it was translated anew.
        how: What became of it. `unchanged`: translating it anew gives the same. `event expired`: its event is no longer kept.
            `no request`: today's configuration makes none of its event.
        why: Why there is none, for a person; else empty.
    """

    by: Renewal
    record: Record
    how: Fate
    why: str = ""


class Renewal:
    """Translates anew what was rendered before a destination changed.

    Args:
        broker: Where the events are.
        translate: Translates an event by the configuration in force.
        destination: Destination id.
        below: The version since which the destination has been declared as it is; requests of older versions are meant.
    """

    def __init__(self, broker: Broker, translate: TranslateAnew, destination: str, below: int) -> None:
        self._broker = broker
        self._translate = translate
        self._destination = destination
        self._below = below

    def means(self, record: Record) -> bool:
        """Say whether a request was rendered before the destination changed."""
        return number_in(dict(record.headers), names.CONFIG, self._below) < self._below

    async def renew(self, records: Sequence[Record]) -> list[Renewed]:
        """Judge requests anew.

        Args:
            records: Requests that are meant.

        Returns:
            What became of each, in their order. A request keeps its key, so its place in the order, and the headers that tell its history.

        Raises:
            BrokerError: The events cannot be read.
        """
        all_headers = [dict(record.headers) for record in records]
        events = await read_events(self._broker, (_text(headers, names.EVENT_ORIGIN) for headers in all_headers))
        return [
            self._renewed(record, headers, events.get(_text(headers, names.EVENT_ORIGIN)))
            for record, headers in zip(records, all_headers, strict=True)
        ]

    def _renewed(self, record: Record, headers: Headers, event: Record | None) -> Renewed:
        if event is None:
            return Renewed(self, record, "event expired")
        made = self._translate(event, self._destination, _text(headers, names.MAPPING))
        if isinstance(made, str):
            return Renewed(self, record, "no request", made)
        if made.value == record.value:
            return Renewed(self, record, "unchanged")
        return Renewed(self, record._replace(value=made.value, headers=tuple({**headers, **dict(made.headers)}.items())), "translated anew")


async def read_events(broker: Broker, origins: Iterable[str]) -> dict[str, Record]:
    """Read the events that requests were made of, as far as they are still there.

    Args:
        broker: Where they are.
        origins: Their places, as the header `event_origin` has them; what is no place is passed over.

    Returns:
        Events by place.

    Raises:
        BrokerError: The broker does not answer.
    """
    wanted: defaultdict[TopicPartition, set[int]] = defaultdict(set)
    for origin in origins:
        if match := _ORIGIN.fullmatch(origin):
            wanted[TopicPartition(match[1], int(match[2]))].add(int(match[3]))
    if not wanted:
        return {}
    lookup = broker.lookup()
    try:
        there = await lookup.start({partition.topic for partition in wanted})

        async def read() -> AsyncIterator[Record]:
            for partition, offsets in wanted.items():
                first, end = there.get(partition, (0, 0))
                for start, last in _runs(sorted(offset for offset in offsets if first <= offset < end)):
                    async for records in lookup.read(partition, start, last + 1):
                        for record in records:
                            if record.offset in offsets:
                                yield record

        return {f"{record.topic}/{record.partition}/{record.offset}": record async for record in read()}
    finally:
        await lookup.stop()


def _runs(offsets: Sequence[int]) -> list[tuple[int, int]]:
    """Put offsets that lie near each other together, as first and last of each run."""
    runs: list[tuple[int, int]] = []
    for offset in offsets:
        if runs and offset - runs[-1][1] <= GAP:
            runs[-1] = runs[-1][0], offset
        else:
            runs.append((offset, offset))
    return runs


def _text(headers: Headers, name: str) -> str:
    return (headers.get(name) or b"").decode("utf-8", "replace")
