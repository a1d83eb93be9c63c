"""Follows the pipeline's topics while someone looks, and gives each open page what changed, four times a second."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from pipeline.app.live.facts import Place, fact
from pipeline.app.live.graph import graph, groups, shape
from pipeline.app.live.ledgers import Ledgers
from pipeline.app.live.recent import EVENTS_OF_A_SOURCE, Recent
from pipeline.app.live.sampling import Sampling
from pipeline.app.live.standing import Standing
from pipeline.app.live.trail import GRACE_MS, as_detail, as_row, trail
from pipeline.model.headers import DEAD_REASON, DESTINATION
from pipeline.model.record import Record
from pipeline.model.topics import DEAD_STAGES, topic_name
from pipeline.model.topology import Topology
from pipeline.model.workspace import Workspace
from pipeline.ports.broker import Broker, BrokerError
from pipeline.ports.clock import Clock

_log = logging.getLogger(__name__)

TICK_SECONDS: Final = 0.25
"""How often a page is told what changed: often enough to feel live, seldom enough to cost little at any rate of events."""
STAGES_SECONDS: Final = 1.0
LAG_SECONDS: Final = 2.0
LINGER_SECONDS: Final = 30.0
"""How long the feed goes on after the last page was closed, so that a reload finds everything there."""
RETRY_SECONDS: Final = 1.0
TOPICS_SECONDS: Final = 3.0
LEDGER_HISTORY: Final = 3000
"""How many ledger records are read from before the page was opened."""
_SLICE: Final = 100
"""Records that are taken in between two turns of the loop, which is also the collector's."""
_ROWS_OF_A_TICK: Final = 2500
_ENDED_OF_A_BATCH: Final = 250
"""Most dead letters that are looked at of one batch; the newest. Their keys say nothing about which events are shown."""
START_SECONDS: Final = 0.05
_RECORD_SECONDS: Final = 5.0


class LiveFeed:
    """What the live page shows, kept in memory while a page is open.

    Args:
        broker: The cluster.
        prefix: The workspace's name, before every topic and group.
        topology: The topology that runs.
        workspace: Gives the workspace as it is now.
        clock: Time.
        processes: Gives what the processes say of themselves; None to ask the cluster for lags, which costs a connection for each group.
    """

    def __init__(
        self,
        broker: Broker,
        prefix: str,
        topology: Topology,
        *,
        workspace: Callable[[], Workspace],
        clock: Clock,
        processes: Callable[[], Awaitable[Standing]] | None = None,
    ) -> None:
        self._broker = broker
        self._prefix = prefix
        self._topology = topology
        self._workspace = workspace
        self._clock = clock
        self._stand_now = processes or self._ask_lags
        self._shape = shape(topology)
        self._watchers = 0
        self._opened = asyncio.Event()
        self._forget()

    def _forget(self) -> None:
        self._recent = Recent(self._shape.event_topics[:2])
        self._ledgers = Ledgers()
        self._sampling = Sampling()
        self._standing = Standing()
        self._refused: Counter[str] = Counter()
        self._doubtful: deque[tuple[int, str, int, int, int]] = deque(maxlen=5000)
        self._began_ms = self._clock.now_ms()

    async def run(self) -> None:
        """Follow the topics whenever a page is open, until cancelled."""
        while True:
            await self._opened.wait()
            self._forget()
            await self._watch()

    async def _watch(self) -> None:
        following: dict[str, asyncio.Task[None]] = {}
        tending = [asyncio.create_task(self._keep_standing()), asyncio.create_task(self._tend())]
        try:
            unwatched = 0.0
            while unwatched < LINGER_SECONDS:
                await self._follow_new(following)
                for task in (*tending, *following.values()):
                    if task.done():
                        task.result()
                await self._clock.sleep(TOPICS_SECONDS)
                unwatched = 0.0 if self._watchers else unwatched + TOPICS_SECONDS
            self._opened.clear()
        finally:
            tasks = (*tending, *following.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow_new(self, following: dict[str, asyncio.Task[None]]) -> None:
        try:
            existing = await self._broker.admin().topics()
        except BrokerError as error:
            _log.debug("The live page cannot list topics: %s", error)
            return
        for name in self.topics():
            partitions = existing.get(topic_name(self._prefix, name))
            if partitions is not None and name not in following:
                following[name] = asyncio.create_task(self._follow(name, partitions))
                # One after the other, `raw` first: what a person waits for is not held up by a dozen connections.
                await self._clock.sleep(START_SECONDS)

    def topics(self) -> list[str]:
        """List the topics that the page follows, without prefix; destinations may have been added since it was last asked."""
        dead = {*DEAD_STAGES, *self._topology.processors}
        return [
            *self._shape.event_topics,
            *(f"requests.{destination}" for destination in self._workspace().destinations),
            "deliveries",
            "blocked",
            *(f"dead.{stage}" for stage in sorted(dead)),
            "ledger",
        ]

    async def _follow(self, name: str, partitions: int) -> None:
        back = LEDGER_HISTORY if name == "ledger" else EVENTS_OF_A_SOURCE
        places = dict.fromkeys(range(partitions), -1 - back)
        topic = topic_name(self._prefix, name)
        while True:
            try:
                async with contextlib.aclosing(self._read(topic, places)) as batches:
                    async for records in batches:
                        for start in range(0, len(records), _SLICE):
                            self._take(name, records[start : start + _SLICE])
                            await asyncio.sleep(0)
                        for record in records[-1:]:
                            places[record.partition] = record.offset + 1
            except BrokerError as error:
                _log.debug("The live page cannot read %s: %s", topic, error)
            await self._clock.sleep(RETRY_SECONDS)

    async def _read(self, topic: str, places: Mapping[int, int], *, follow: bool = True) -> AsyncGenerator[Sequence[Record], None]:
        partitions = None if follow else list(places)
        async for records in self._broker.reader().read(topic, start=dict(places), partitions=partitions, follow=follow):
            yield records

    def _take(self, name: str, records: Sequence[Record]) -> None:
        if name == "ledger":
            self._take_ledger(records)
            return
        if name == "raw":
            for record in records:
                self._sampling.arrived(record.timestamp, 1)
        ended = name.startswith("dead.") or name == "blocked"
        events = name in self._shape.event_topics
        for record in records[-_ENDED_OF_A_BATCH:] if ended else records:
            if name == "dead.ingest":
                self._refused[_reason(record)] += 1
            if ended or record.timestamp < self._began_ms or self._looks_at(name, record.key):
                found = fact(record, self._prefix)
                if found is not None:
                    self._recent.add(found, record.value if events or (ended and not self._is_request(record)) else None)

    def _looks_at(self, name: str, key: bytes | None) -> bool:
        if name == "deliveries" and key is not None and self._sampling.one_in > 1:
            return self._recent.get(key.decode("utf-8", "replace")) is not None
        return self._sampling.takes(key)

    @staticmethod
    def _is_request(record: Record) -> bool:
        return any(header == DESTINATION for header, _ in record.headers)

    def _take_ledger(self, records: Sequence[Record]) -> None:
        first = self._shape.chain[0].name if self._shape.chain else ""
        for record in records:
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                # What does not read as a ledger record was written by a newer version, or by hand; it is not the page's to judge.
                body = orjson.loads(record.value or b"")
                transaction = self._ledgers.add(body, first)
                place = (str(body["topic"]), int(body["partition"]), transaction.start, transaction.end)
                self._recent.touch_range(*place)
                if transaction.endings:
                    self._doubtful.append((transaction.at + GRACE_MS, *place))

    async def _tend(self) -> None:
        """Choose the share that is looked at, and show events anew whose end has become certain."""
        while True:
            await self._clock.sleep(TICK_SECONDS)
            now = self._clock.now_ms()
            self._sampling.pace(now)
            while self._doubtful and self._doubtful[0][0] <= now:
                _, topic, partition, start, end = self._doubtful.popleft()
                self._recent.touch_range(topic, partition, start, end)

    async def _keep_standing(self) -> None:
        while True:
            began = self._clock.monotonic()
            try:
                self._standing = await self._stand_now()
            except BrokerError as error:
                _log.debug("The live page cannot read lags: %s", error)
            # However many groups there are, asking for their lags takes a tenth of the time at most.
            await self._clock.sleep(max(LAG_SECONDS, 10 * (self._clock.monotonic() - began)))

    async def _ask_lags(self) -> Standing:
        admin = self._broker.admin()
        existing = await admin.topics()
        lags: dict[str, int] = {}
        for group, names in groups(self._topology, self._workspace()).items():
            topics = [topic for name in names if (topic := topic_name(self._prefix, name)) in existing]
            with contextlib.suppress(BrokerError):  # a group that has not committed anything yet has no coordinator
                lags[group] = sum((await admin.lags(topic_name(self._prefix, group), topics)).values())
        return Standing(lags)

    async def updates(self) -> AsyncGenerator[tuple[str, Any], None]:
        """Give what a page has to know: everything at first, then what changed. Closing it lets the feed rest.

        Yields:
            (`events`, {`rows`}) with the rows that are new or changed, at most four times a second;
            (`stages`, {…}) about once a second: `now`, `since`, `config`, `one_in`, `arrivals`, `history`, `sources`, `processors`, `destinations`.
        """
        self._watchers += 1
        self._opened.set()
        version, stages_due = 0, 0.0
        try:
            while True:
                now = self._clock.monotonic()
                if now >= stages_due:
                    stages_due = now + STAGES_SECONDS
                    yield "stages", self.stages()
                if self._recent.version != version:
                    rows = self._rows(version if version < self._recent.version else 0)
                    version = self._recent.version
                    yield "events", {"rows": rows}
                await self._clock.sleep(TICK_SECONDS)
        finally:
            self._watchers -= 1

    def _rows(self, version: int) -> list[dict[str, Any]]:
        now, workspace = self._clock.now_ms(), self._workspace()
        newest = sorted(self._recent.changed(version), key=lambda seen: seen.about.received_at)[-_ROWS_OF_A_TICK:]
        return [as_row(seen, trail(seen, self._shape, self._ledgers, workspace, now)) for seen in newest]

    def stages(self) -> dict[str, Any]:
        """Give what the graph shows: rates, lags and totals.

        Returns:
            A JSON object; `processors` as in `Ledgers.summary` with `lag`, which is None until it is known, and `halt` where the breaker has
            stopped one; `destinations` those that take no requests (`Halt`).
        """
        now = self._clock.now_ms()
        processors = self._ledgers.summary(now)
        said = self._standing
        for group in {*groups(self._topology, self._workspace()), *said.lags}:
            processors.setdefault(group, {})["lag"] = said.lags.get(group)
            if group in said.stopped:
                processors[group]["halt"] = said.stopped[group]._asdict()
        processors["collector"] = {"dead": dict(self._refused)}  # it writes no ledger
        return {
            "now": now,
            "since": self._ledgers.since,
            "config": self._workspace().version,
            "one_in": self._sampling.one_in,
            "arrivals": self._sampling.arrivals.per_second(now),
            "history": self._sampling.arrivals.history(now),
            "sources": self._ledgers.source_rates(now),
            "processors": processors,
            "destinations": {one: halt._asdict() for one, halt in said.destinations.items()},
        }

    def graph(self) -> dict[str, Any]:
        """Give the topology as nodes and edges; see `pipeline.app.live.graph`."""
        return graph(self._topology, self._workspace())

    def detail(self, message_id: str) -> dict[str, Any] | None:
        """Give everything that is known of one event.

        Args:
            message_id: Its message id.

        Returns:
            A JSON object (`as_detail`), or None where it is not among the newest.
        """
        seen = self._recent.get(message_id)
        if seen is None:
            return None
        return as_detail(seen, trail(seen, self._shape, self._ledgers, self._workspace(), self._clock.now_ms()))

    async def record(self, place: Place) -> dict[str, Any] | None:
        """Read one record.

        Args:
            place: Where it lies.

        Returns:
            `key`, `headers` and `value` as text, and `at`; None where there is none, or the page does not show that topic.

        Raises:
            BrokerError: The broker does not answer.
        """
        if place.topic not in self.topics():
            return None
        topic = topic_name(self._prefix, place.topic)
        with contextlib.suppress(TimeoutError):
            async with (
                asyncio.timeout(_RECORD_SECONDS),
                contextlib.aclosing(self._read(topic, {place.partition: place.offset}, follow=False)) as batches,
            ):
                async for records in batches:
                    for record in records:
                        return _as_text(record) if record.offset == place.offset else None
        return None


def _reason(record: Record) -> str:
    return next((value.decode("utf-8", "replace") for name, value in record.headers if name == DEAD_REASON), "")


def _as_text(record: Record) -> dict[str, Any]:
    return {
        "key": record.key.decode("utf-8", "replace") if record.key is not None else None,
        "headers": [[name, value.decode("utf-8", "replace")] for name, value in record.headers],
        "value": record.value.decode("utf-8", "replace") if record.value is not None else None,
        "at": record.timestamp,
    }
