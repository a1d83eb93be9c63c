"""The newest events of each source, and everything that was seen of each: bounded in number and bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from pipeline.app.live.facts import About, Fact, Place

EVENTS_OF_A_SOURCE: Final = 1000
EVENTS_BYTES: Final = 48 * 1024 * 1024
"""Most bytes of all events together, bodies and what is known of them."""
_FACTS_OF_AN_EVENT: Final = 96
"""Most facts that are kept of one event; an event for many destinations that fail for hours has more."""
_FACT_BYTES: Final = 700
_SLACK: Final = 1.2
"""How far a source may go beyond its number before the oldest are looked for."""


class Seen:
    """An event and what was seen of it.

    Attributes:
        message_id: Its message id.
        about: What is shown of it.
        body: The newest value of an event topic, as JSON text; None before one was seen.
        facts: What happened, in the order of arrival.
        version: When it last changed, as a number that only grows.
    """

    __slots__ = ("about", "body", "body_place", "facts", "message_id", "size", "version")

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id
        self.about = About()
        self.body: bytes | None = None
        self.body_place: Place | None = None
        self.facts: list[Fact] = []
        self.version = 0
        self.size = 0

    @property
    def shown(self) -> bool:
        """Whether it has a row of its own: it was seen as an event, not only as what became of one."""
        return self.body is not None


class Recent:
    """The newest events by source.

    Args:
        body_topics: Topics whose values are shown as an event's body, the best last.
        most_events: Most events of one source.
        most_bytes: Most bytes of all.
    """

    def __init__(self, body_topics: tuple[str, ...], *, most_events: int = EVENTS_OF_A_SOURCE, most_bytes: int = EVENTS_BYTES) -> None:
        self._body_topics = {topic: rank for rank, topic in enumerate(body_topics)}
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._by_id: dict[str, Seen] = {}
        self._by_source: dict[str, dict[str, Seen]] = {}
        self._by_version: OrderedDict[str, Seen] = OrderedDict()
        self._by_place: dict[tuple[str, int], OrderedDict[int, str]] = {}
        self.version = 0
        self.size = 0

    def get(self, message_id: str) -> Seen | None:
        """Give an event, or None where it is not among the newest."""
        return self._by_id.get(message_id)

    def add(self, fact: Fact, body: bytes | None = None) -> None:
        """Take in a fact.

        Args:
            fact: The fact.
            body: The record's value where it is the event itself.
        """
        seen = self._by_id.get(fact.message_id)
        if seen is None:
            seen = self._by_id[fact.message_id] = Seen(fact.message_id)
            self._by_source.setdefault("", {})[fact.message_id] = seen
        if len(seen.facts) < _FACTS_OF_AN_EVENT:
            seen.facts.append(fact)
            self._grow(seen, _FACT_BYTES + len(fact.answer) + len(fact.detail))
        self._describe(seen, fact)
        if body is not None:
            self._take_body(seen, fact.place, body)
        if fact.kind == "event":
            places = self._by_place.setdefault((fact.place.topic, fact.place.partition), OrderedDict())
            places[fact.place.offset] = fact.message_id
            while len(places) > 2 * self._most_events:
                places.popitem(last=False)
        self.touch(seen)
        self._make_room(seen.about.source if seen.shown else "")

    def touch(self, seen: Seen) -> None:
        """Note that an event has to be shown anew."""
        self.version += 1
        seen.version = self.version
        self._by_version[seen.message_id] = seen
        self._by_version.move_to_end(seen.message_id)

    def touch_range(self, topic: str, partition: int, start: int, end: int) -> None:
        """Note that the events of a range of offsets have to be shown anew.

        Args:
            topic: Topic without prefix.
            partition: Partition.
            start: First offset.
            end: Offset after the last one.
        """
        for offset, message_id in reversed(self._by_place.get((topic, partition), {}).items()):
            if offset < start:
                break
            seen = self._by_id.get(message_id)
            if offset < end and seen is not None:
                self.touch(seen)

    def changed(self, version: int) -> Iterator[Seen]:
        """Give the events that changed after a version, the latest change first."""
        for seen in reversed(self._by_version.values()):
            if seen.version <= version:
                return
            if seen.shown:
                yield seen

    def _describe(self, seen: Seen, fact: Fact) -> None:
        old, new = seen.about, fact.about
        about = About(
            old.source or new.source,
            new.type if fact.kind == "event" and new.type else old.type or new.type,
            new.event if fact.kind == "event" and new.event else old.event or new.event,
            new.user if fact.kind == "event" and new.user else old.user or new.user,
            old.received_at or new.received_at,
        )
        if about.source != old.source and seen.shown:
            self._by_source[old.source].pop(seen.message_id, None)
            self._by_source.setdefault(about.source, {})[seen.message_id] = seen
        seen.about = about

    def _take_body(self, seen: Seen, place: Place, body: bytes) -> None:
        held = self._body_topics.get(seen.body_place.topic, -1) if seen.body_place is not None else -2
        if self._body_topics.get(place.topic, -1) < held:
            return
        if not seen.shown:
            self._by_source[""].pop(seen.message_id, None)
            self._by_source.setdefault(seen.about.source, {})[seen.message_id] = seen
        self._grow(seen, len(body) - len(seen.body or b""))
        seen.body, seen.body_place = body, place

    def _grow(self, seen: Seen, size: int) -> None:
        seen.size += size
        self.size += size

    def _make_room(self, source: str) -> None:
        """Let the oldest go, a fifth at a time: records of several partitions come in no order."""
        of_source = self._by_source.get(source, {})
        if len(of_source) > _SLACK * self._most_events:
            self._forget_oldest(source, len(of_source) - self._most_events)
        while self.size > self._most_bytes and len(self._by_id) > 1:
            largest = max(self._by_source, key=lambda each: len(self._by_source[each]))
            self._forget_oldest(largest, max(1, len(self._by_source[largest]) // 5))

    def _forget_oldest(self, source: str, count: int) -> None:
        of_source = self._by_source[source]
        for seen in sorted(of_source.values(), key=lambda each: (each.about.received_at, each.version))[:count]:
            del of_source[seen.message_id]
            del self._by_id[seen.message_id]
            self._by_version.pop(seen.message_id, None)
            self.size -= seen.size
        if not of_source:
            del self._by_source[source]
