"""What the processors did, added up from the ledger: rates, totals by reason, statuses, latencies, and what a transaction left out."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from pipeline.model.ledger import LATENCY_BOUNDS_MS

RATE_SECONDS: Final = 10
"""Length of the window of a rate, in seconds."""
HISTORY_SECONDS: Final = 60
"""How many seconds back the rate of each second is kept."""
TRANSACTIONS: Final = 300
"""How many transactions are remembered of each processor and partition."""


class Rate:
    """Counts of the last minute, second by second."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        self._seconds: dict[int, int] = {}

    def add(self, at_ms: int, count: int) -> None:
        """Count things that happened at a time."""
        second = at_ms // 1000
        self._seconds[second] = self._seconds.get(second, 0) + count
        if len(self._seconds) > 2 * HISTORY_SECONDS:
            newest = max(self._seconds)
            self._seconds = {each: count for each, count in self._seconds.items() if each > newest - HISTORY_SECONDS}

    def per_second(self, now_ms: int) -> float:
        """Give the mean of the last ten whole seconds."""
        return sum(self.history(now_ms)[-RATE_SECONDS:]) / RATE_SECONDS

    def history(self, now_ms: int) -> list[int]:
        """Give the counts of the last 60 whole seconds, oldest first."""
        last = now_ms // 1000
        return [self._seconds.get(second, 0) for second in range(last - HISTORY_SECONDS, last)]


class Transaction(NamedTuple):
    """What one transaction did with a range of offsets.

    Attributes:
        start: First offset.
        end: Offset after the last one.
        at: When, milliseconds since the epoch.
        endings: Rows of inputs that did not pass: (source, type, event, verdict, reason, destination, count).
    """

    start: int
    end: int
    at: int
    endings: tuple[tuple[str, str, str, str, str, str, int], ...]


class Sums:
    """What one processor did since the page began to read."""

    __slots__ = ("blocked", "dead", "dropped", "latencies", "passed", "rate", "statuses", "taken", "withheld")

    def __init__(self) -> None:
        self.taken = 0
        self.passed = 0
        self.dropped: Counter[str] = Counter()
        self.dead: Counter[str] = Counter()
        self.blocked: Counter[str] = Counter()
        self.withheld: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.latencies = [0] * (len(LATENCY_BOUNDS_MS) + 1)
        self.rate = Rate()


class Ledgers:
    """Everything that was read of the ledger."""

    def __init__(self) -> None:
        self.since = 0
        self._sums: dict[str, Sums] = {}
        self._sources: dict[str, Rate] = {}
        self._transactions: dict[tuple[str, str, int], deque[Transaction]] = {}

    def add(self, body: Mapping[str, Any], first: str) -> Transaction:
        """Count one ledger record.

        Args:
            body: Its value, parsed.
            first: The processor that every event meets first; sources are counted there.

        Returns:
            The transaction.

        Raises:
            KeyError: It is not a ledger record.
            TypeError: The same.
            ValueError: The same.
        """
        processor, at = str(body["processor"]), int(body["at"])
        sums = self._sums.setdefault(processor, Sums())
        sums.taken += body["in"]
        sums.passed += body["passed"]
        sums.rate.add(at, body["in"])
        self.since = min(self.since or at, at)
        endings = []
        for source, call, event, verdict, reason, destination, count in body["rows"]:
            if verdict != "passed":
                endings.append((source, call, event, verdict, reason, destination, count))
                getattr(sums, verdict)[reason] += count
            if processor == first and source and verdict != "withheld":
                self._sources.setdefault(source, Rate()).add(at, count)
        for status, count in body.get("statuses", {}).items():
            sums.statuses[status] += count
        for index, count in enumerate(body.get("latency_ms", ())):
            sums.latencies[index] += count
        transaction = Transaction(body["from"], body["to"], at, tuple(endings))
        key = (processor, str(body["topic"]), int(body["partition"]))
        self._transactions.setdefault(key, deque(maxlen=TRANSACTIONS)).append(transaction)
        return transaction

    def transaction(self, processor: str, topic: str, partition: int, offset: int) -> Transaction | None:
        """Find the transaction that took an offset.

        Args:
            processor: Group name without prefix.
            topic: Input topic without prefix.
            partition: Input partition.
            offset: The offset.

        Returns:
            The newest remembered one, or None where it has not been taken, or too long ago.
        """
        for transaction in reversed(self._transactions.get((processor, topic, partition), ())):
            if transaction.start <= offset < transaction.end:
                return transaction
        return None

    def source_rates(self, now_ms: int) -> dict[str, float]:
        """Give the events per second of each source."""
        return {source: rate.per_second(now_ms) for source, rate in self._sources.items()}

    def summary(self, now_ms: int) -> dict[str, dict[str, Any]]:
        """Give what the page shows of each processor.

        Args:
            now_ms: Wall time, milliseconds since the epoch.

        Returns:
            By processor: `rate` (events a second), `history` (the last 60 seconds), `in`, `passed`, `dropped`, `dead`, `blocked` and `withheld` by
            reason; for deliver also `statuses` and the latencies `p50` and `p95` in milliseconds.
        """
        return {name: _summary(sums, now_ms) for name, sums in self._sums.items()}


def _summary(sums: Sums, now_ms: int) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "rate": sums.rate.per_second(now_ms),
        "history": sums.rate.history(now_ms),
        "in": sums.taken,
        "passed": sums.passed,
        "dropped": dict(sums.dropped),
        "dead": dict(sums.dead),
        "blocked": dict(sums.blocked),
        "withheld": dict(sums.withheld),
    }
    if sums.statuses:
        shown["statuses"] = dict(sums.statuses)
        shown["p50"] = quantile(sums.latencies, 0.5)
        shown["p95"] = quantile(sums.latencies, 0.95)
    return shown


def quantile(buckets: Sequence[int], share: float) -> int | None:
    """Give the upper bound of the bucket in which a quantile lies.

    Args:
        buckets: Counts for each of `LATENCY_BOUNDS_MS` and one for all above.
        share: 0.5 for the median.

    Returns:
        Milliseconds; None where nothing was counted, or the quantile lies above the last bound.
    """
    wanted = share * sum(buckets)
    counted = 0
    for bound, count in zip(LATENCY_BOUNDS_MS, buckets, strict=False):
        counted += count
        if count and counted >= wanted:
            return bound
    return None
