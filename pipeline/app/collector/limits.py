"""What one collector remembers of who sends how much: the buckets of its sources, and of addresses that guess write keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from pipeline.ingest import refusals
from pipeline.ingest.rates import Bucket, default_burst, limited, taken
from pipeline.ingest.refusals import Refused
from pipeline.model.workspace import Workspace

GUESSES_A_SECOND: Final = 5.0
GUESSES_AT_ONCE: Final = 100.0
"""Requests with an unknown write key that one address may send: an SDK with a wrong key comes often, who tries all keys never ends."""
_ADDRESSES_MOST: Final = 10_000


class Buckets(Protocol):
    """Where the bucket of each source is kept: a dictionary, or what several processes share."""

    def get(self, source: str, full: Bucket, /) -> Bucket:
        """Give a source's bucket, which is full before anyone took from it."""

    def update(self, after: Mapping[str, Bucket], /) -> None:
        """Keep what is left of some."""


class SourceRates:
    """The token bucket of each source that declares a rate.

    Args:
        buckets: Where they are kept; in this process unless given.
    """

    def __init__(self, buckets: Buckets | None = None) -> None:
        self._buckets: Buckets = {} if buckets is None else buckets
        self._workspace: Workspace | None = None
        self._declared = False

    def wait(self, counts: Mapping[tuple[str, str], int], workspace: Workspace, now: float) -> Refused | None:
        """Take the events of a request out of the buckets of their sources, or refuse it.

        Args:
            counts: Events by source and outcome.
            workspace: The workspace, which says how fast each source may send.
            now: The time, seconds of a clock that never goes back.

        Returns:
            The refusal where a bucket is empty; nothing is taken then.
        """
        if workspace is not self._workspace:
            self._workspace = workspace
            self._declared = any(source.rate is not None for source in workspace.sources.values())
        return self._taken(counts, workspace, now) if self._declared else None

    def _taken(self, counts: Mapping[tuple[str, str], int], workspace: Workspace, now: float) -> Refused | None:
        after: dict[str, Bucket] = {}
        for source_id, _ in counts:
            source = workspace.sources.get(source_id)
            if source is None or source.rate is None or source_id in after:
                continue
            burst = float(source.burst) if source.burst is not None else default_burst(source.rate)
            events = sum(count for (each, _), count in counts.items() if each == source_id)
            after[source_id], seconds = taken(self._buckets.get(source_id, Bucket(burst, now)), source.rate, burst, now, events)
            if seconds:
                return limited(refusals.RATE_LIMITED, seconds, source_id)
        self._buckets.update(after)
        return None


class Guesses:
    """The token bucket of each address that has sent an unknown write key.

    Args:
        workers: Among how many processes what an address may guess is divided.
    """

    def __init__(self, workers: int = 1) -> None:
        self._rate, self._burst = GUESSES_A_SECOND / workers, max(1.0, GUESSES_AT_ONCE / workers)
        self._buckets: dict[str, Bucket] = {}

    def wait(self, ip: str, now: float) -> Refused | None:
        """Count a request with an unknown write key.

        Args:
            ip: Address of the client.
            now: The time, seconds of a clock that never goes back.

        Returns:
            The refusal that is answered in place of 401 where there were too many.
        """
        bucket, seconds = taken(self._buckets.pop(ip, Bucket(self._burst, now)), self._rate, self._burst, now, 1)
        self._buckets[ip] = bucket  # at the end: the oldest goes when there are too many
        if len(self._buckets) > _ADDRESSES_MOST:
            del self._buckets[next(iter(self._buckets))]
        return limited(refusals.TOO_MANY_GUESSES, seconds) if seconds else None


class Limits(NamedTuple):
    """The bounds of who sends how much.

    Attributes:
        rates: Of the sources.
        guesses: Of the addresses that guess write keys.
    """

    rates: SourceRates
    guesses: Guesses
