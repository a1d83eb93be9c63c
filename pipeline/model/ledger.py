"""What one transaction did, in numbers: the record that proves that nothing is dropped without a reason."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Any, Final, Literal, NamedTuple

import orjson

Verdict = Literal["passed", "dropped", "dead", "blocked", "withheld"]
"""How an input ended; `withheld` counts a destination that an event does not go to, beside the input's own verdict."""

ROWS_MOST: Final = 200
"""Most rows in one ledger record; the rest is added up as one row for each verdict and reason, named `other`."""

OTHER: Final = "other"

DEAD_LETTERS: Final = "dead-letters"
"""What stands for a processor where dead letters were redriven (passed, with the topics they went to as lanes) or discarded (dropped)."""

LATENCY_BOUNDS_MS: Final = (10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000)
"""Upper bounds of the latency histogram in milliseconds; one bucket more for everything above."""


class Row(NamedTuple):
    """One kind of thing that happened to inputs of a transaction.

    Attributes:
        source: Source id, or empty where it is unknown.
        type: Spec call, or empty where it is unknown.
        event: Event name of a track call, else empty.
        verdict: How the inputs ended.
        reason: Registered reason; empty for `passed`.
        destination: Destination or storage id, or empty.
    """

    source: str
    type: str
    event: str
    verdict: Verdict
    reason: str = ""
    destination: str = ""


class Tally:
    """Counts of one transaction, filled by the runtime once for each input.

    Attributes:
        rows: How many inputs had each outcome.
        lanes: How many records were written to each lane.
        statuses: How many attempts ended with each HTTP status (deliver only).
        latencies: Attempts in each latency bucket (deliver only).
    """

    __slots__ = ("lanes", "latencies", "rows", "statuses")

    def __init__(self) -> None:
        self.rows: Counter[Row] = Counter()
        self.lanes: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.latencies: list[int] = [0] * (len(LATENCY_BOUNDS_MS) + 1)

    def attempt(self, status: int, latency_ms: float) -> None:
        """Count one delivery attempt.

        Args:
            status: HTTP status, 0 for a network error.
            latency_ms: How long it took, in milliseconds.
        """
        self.statuses[status] += 1
        self.latencies[bisect_left(LATENCY_BOUNDS_MS, latency_ms)] += 1

    def totals(self) -> dict[str, int]:
        """Add the rows up by verdict.

        Returns:
            Counts by `passed`, `dropped`, `dead`, `blocked`; their sum is how many inputs there were.
        """
        totals = {"passed": 0, "dropped": 0, "dead": 0, "blocked": 0}
        for row, count in self.rows.items():
            if row.verdict != "withheld":
                totals[row.verdict] += count
        return totals


def ledger_key(processor: str, topic: str, partition: int) -> bytes:
    """Give the key of a ledger record.

    Args:
        processor: Consumer group without the workspace's prefix (`translate.crm`).
        topic: Input topic without prefix.
        partition: Input partition.

    Returns:
        The key.
    """
    return f"{processor}/{topic}/{partition}".encode()


def ledger_value(
    tally: Tally,
    *,
    processor: str,
    topic: str,
    partition: int,
    start: int,
    end: int,
    at_ms: int,
    expired: tuple[int, int] | None = None,
) -> bytes:
    """Write the ledger record of one transaction.

    Args:
        tally: What happened.
        processor: Consumer group without the workspace's prefix.
        topic: Input topic without prefix.
        partition: Input partition.
        start: Offset of the first input.
        end: Offset after the last input.
        at_ms: Wall time in milliseconds since the epoch.
        expired: Offsets before `start`, half open, that retention took before the processor had read them; None where it took none.

    Returns:
        JSON; its layout is `schemas/ledger.json`.
    """
    rows = tally.rows.most_common()
    if len(rows) > ROWS_MOST:
        rest: Counter[Row] = Counter()
        for row, count in rows[ROWS_MOST:]:
            rest[Row("", "", OTHER, row.verdict, row.reason, "")] += count
        rows = rows[:ROWS_MOST] + rest.most_common()
    totals = tally.totals()
    body: dict[str, Any] = {
        "processor": processor,
        "topic": topic,
        "partition": partition,
        "from": start,
        "to": end,
        "at": at_ms,
        "in": sum(totals.values()),
        **totals,
        "lanes": dict(tally.lanes),
        "rows": [[*row, count] for row, count in rows],
    }
    if expired is not None:
        body["expired"] = expired
    if tally.statuses:
        body["statuses"] = {str(status): count for status, count in sorted(tally.statuses.items())}
        body["latency_ms"] = tally.latencies
    return orjson.dumps(body)
