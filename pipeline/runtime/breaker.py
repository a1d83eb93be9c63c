"""Tells a bug of ours from a bad input: stops a processor whose steps crash, and throttles a source whose records do (design: the breaker)."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, Final, NamedTuple

import orjson

from pipeline.runtime.judgement import Judged
from pipeline.runtime.throttle import Throttle

CRASHES_MOST: Final = 100
"""Crashes below which nothing is said to be wrong with the steps; a tenth of the window."""
WINDOW_RECORDS: Final = 1_000
SPAN_SOURCES: Final = 3
"""So many sources do not send the same poison at the same time: the fault is the step's."""
SOURCES_MOST: Final = 20
"""Sources that are remembered beside a position; its metadata has 4 KB."""


class BreakerError(Exception):
    """The steps crash on everything, or for everyone: a bug of ours. The processor stops with its lag kept."""


class _Transaction(NamedTuple):
    """How many records it took in all, how many of each source, and how many of each crashed."""

    records: int
    own: Counter[str]
    crashed: Counter[str]


class Breaker:
    """Watches what becomes of one partition's records, a transaction at a time.

    Args:
        processor: Consumer group without prefix, for the error.

    Attributes:
        throttle: The sources that are throttled now.
    """

    def __init__(self, processor: str) -> None:
        self.throttle = Throttle()
        self._processor = processor
        self._begin(-1)

    def _begin(self, version: int) -> None:
        self._version = version
        self._succeeded = False
        self._crashes = 0
        self._window: deque[_Transaction] = deque()
        self._window_records = 0
        for source in list(self.throttle.sources):
            self.throttle.lift(source)

    def restore(self, text: str) -> None:
        """Go on where another worker of the partition ended, so that one that is started again and again does not begin to count each time.

        Args:
            text: What `remembered` gave with the committed position; anything else counts for nothing.
        """
        try:
            body: dict[str, Any] = orjson.loads(text)
            own, crashed = (Counter({str(source): int(count) for source, count in body[name].items()}) for name in ("own", "crashed"))
            self._begin(int(body["version"]))
            self._succeeded, self._crashes, self._window_records = bool(body["succeeded"]), int(body["crashes"]), int(body["records"])
            self._window.append(_Transaction(self._window_records, own, crashed))
        except (ValueError, KeyError, TypeError, AttributeError):
            self._begin(-1)

    def remembered(self) -> str:
        """Write down what the next worker of the partition has to know.

        Returns:
            Text to commit beside the position; empty where nothing has crashed.
        """
        crashed: Counter[str] = sum((one.crashed for one in self._window), Counter())
        if not crashed and (self._succeeded or not self._crashes):
            return ""
        own: Counter[str] = sum((one.own for one in self._window), Counter())
        kept = dict(crashed.most_common(SOURCES_MOST))
        body = {
            "version": self._version,
            "succeeded": self._succeeded,
            "crashes": self._crashes,
            "records": self._window_records,
            "own": {source: own[source] for source in kept},
            "crashed": kept,
        }
        return orjson.dumps(body).decode()

    def note(self, version: int, judged: Judged) -> None:
        """Take what a transaction is about to commit.

        Args:
            version: Version of the configuration that judged it; a new one begins anew.
            judged: What became of its records. Only what passed, was dropped or blocked is a success: a record that died
                of itself (invalid JSON, no source) may never have reached the step that crashes.

        Raises:
            BreakerError: So many crashed, and either nothing has succeeded under this version, or they are a tenth of the last
                1,000 records and come from three sources or more.
        """
        if version != self._version:
            self._begin(version)
        totals = judged.tally.totals()
        records = sum(totals.values())
        self._succeeded = self._succeeded or records > totals["dead"]
        crashes = Counter(crash.source for crash in judged.crashes)
        self._crashes += crashes.total()
        self._lift(judged)
        self._slide(records, crashes, judged)
        if not crashes or self._crashes < CRASHES_MOST:
            return
        if not self._succeeded:
            reason = f"processor {self._processor} crashed on {self._crashes} records and succeeded with none; it stops and keeps its lag"
            raise BreakerError(reason)
        crashed: Counter[str] = sum((one.crashed for one in self._window), Counter())
        if len(crashed) >= SPAN_SOURCES and crashed.total() >= CRASHES_MOST and crashed.total() * 10 >= self._window_records:
            reason = (
                f"processor {self._processor} crashed on {crashed.total()} of the last {self._window_records} records, of {len(crashed)} sources; "
                "it stops and keeps its lag"
            )
            raise BreakerError(reason)
        self._throttle(crashed, {crash.source: crash.stage for crash in judged.crashes})

    def _slide(self, records: int, crashed: Counter[str], judged: Judged) -> None:
        own: Counter[str] = Counter()
        for row, count in judged.tally.rows.items():
            if row.verdict != "withheld":
                own[row.source] += count
        self._window.append(_Transaction(records, own, crashed))
        self._window_records += records
        while self._window_records - self._window[0].records >= WINDOW_RECORDS:
            self._window_records -= self._window.popleft().records

    def _throttle(self, crashed: Counter[str], stages: dict[str, str]) -> None:
        """Throttle the sources at least half of whose records of late crashed; one that nobody has named (yet) cannot be."""
        for source, stage in stages.items():
            own = sum(one.own[source] for one in self._window)
            if source and crashed[source] >= CRASHES_MOST and crashed[source] * 2 >= own:
                self.throttle.add(source, stage)

    def _lift(self, judged: Judged) -> None:
        """A probe of a throttled source that went through: what it did before is forgotten."""
        for source in list(self.throttle.sources):
            if any(row.source == source and row.verdict in ("passed", "dropped", "blocked") for row in judged.tally.rows):
                self.throttle.lift(source)
                self._window = deque(
                    _Transaction(
                        one.records,
                        Counter({name: count for name, count in one.own.items() if name != source}),
                        Counter({name: count for name, count in one.crashed.items() if name != source}),
                    )
                    for one in self._window
                )
