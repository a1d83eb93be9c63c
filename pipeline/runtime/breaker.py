"""Tells a bug of ours from a bad input: stops a processor whose steps crash, with its lag kept (design: the breaker)."""

from __future__ import annotations

from collections import deque
from typing import Final

from pipeline.runtime.judgement import Judged

CRASHES_MOST: Final = 100
"""Crashes below which nothing is said to be wrong with the steps; a tenth of the window."""
WINDOW_RECORDS: Final = 1_000
SPAN_SOURCES: Final = 3
"""So many sources do not send the same poison at the same time: the fault is the step's."""


class BreakerError(Exception):
    """The steps crash on everything, or for everyone: a bug of ours. The processor stops with its lag kept."""


class Breaker:
    """Watches what becomes of one partition's records, a transaction at a time.

    Args:
        processor: Consumer group without prefix, for the error.
    """

    def __init__(self, processor: str) -> None:
        self._processor = processor
        self._begin(-1)

    def _begin(self, version: int) -> None:
        self._version = version
        self._succeeded = False
        self._crashes = 0
        self._window: deque[tuple[int, list[str]]] = deque()
        self._window_records = 0

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
        self._crashes += len(judged.crashes)
        self._window.append((records, judged.crashes))
        self._window_records += records
        while self._window_records - self._window[0][0] >= WINDOW_RECORDS:
            self._window_records -= self._window.popleft()[0]
        if not judged.crashes or self._crashes < CRASHES_MOST:
            return
        if not self._succeeded:
            reason = f"processor {self._processor} crashed on {self._crashes} records and succeeded with none; it stops and keeps its lag"
            raise BreakerError(reason)
        crashed = [source for _, sources in self._window for source in sources]
        sources = len(set(crashed))
        if sources >= SPAN_SOURCES and len(crashed) >= CRASHES_MOST and len(crashed) * 10 >= self._window_records:
            reason = (
                f"processor {self._processor} crashed on {len(crashed)} of the last {self._window_records} records, of {sources} sources; "
                "it stops and keeps its lag"
            )
            raise BreakerError(reason)
