"""Keeps a source whose records crash from costing the others: what it sends goes to dead letters unjudged, but for a probe now and then."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

PROBE_EVERY: Final = 100
"""Of the records of a throttled source each hundredth is judged: when one goes through, the source is judged again."""


class Throttle:
    """The throttled sources of one partition."""

    def __init__(self) -> None:
        self._stages: dict[str, str] = {}
        self._records: dict[str, int] = {}

    @property
    def sources(self) -> Collection[str]:
        """The sources that are throttled."""
        return self._stages.keys()

    def add(self, source: str, stage: str) -> None:
        """Throttle a source.

        Args:
            source: Its id.
            stage: The stage on which its records crash, whose dead letters they go to.
        """
        self._stages[source] = stage
        self._records[source] = 0

    def lift(self, source: str) -> None:
        """Judge a source again.

        Args:
            source: Its id.
        """
        del self._stages[source], self._records[source]

    def diverts(self, source: str) -> str:
        """Say what to do with the next record of a source.

        Args:
            source: Its id.

        Returns:
            The stage whose dead letters it goes to, or empty where it is to be judged.
        """
        stage = self._stages.get(source)
        if stage is None:
            return ""
        self._records[source] += 1
        return stage if self._records[source] % PROBE_EVERY else ""
