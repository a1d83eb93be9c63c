"""When a transaction is committed: at once after a silence, seldom where much comes or waits, never above its bytes."""

from __future__ import annotations

from typing import Final
from zlib import crc32

from pipeline.runtime.inbox import INBOX_BYTES

TRANSACTION_BYTES: Final = 3 * 1024 * 1024
"""Output at which a transaction is committed whatever the interval says. Until then each partition keeps it twice: as records and as the batches
that are made of them, which take about five times this size together."""
STRETCH_MOST: Final = 4.0
"""How many intervals a transaction may last while the inbox is full: a transaction costs milliseconds here and in the broker, whatever is in it."""
STEPS_SHARE: Final = 0.5
"""How much of the time the transactions of a partition may take; as much again, records gather for the next one."""
STEPS_REST_SECONDS: Final = 0.025
"""Longest time that records gather, on each hop of an event's way."""
DELIVER_SHARE: Final = 0.25
"""The same for deliver: a request has gone out long before what became of it is committed, so nobody waits for that."""
_BACKLOG_BYTES: Final = INBOX_BYTES // 4
"""Input that waits from which on it is a backlog; at twice as much the stretch is at its most."""


def interval_under(waiting_bytes: int, interval: float) -> float:
    """Stretch the interval of a topology by what waits.

    Args:
        waiting_bytes: Input that waits in the inbox.
        interval: Longest time that a transaction stays open without a backlog, in seconds.

    Returns:
        Longest time that it stays open now.
    """
    backlog = min(1.0, max(0, waiting_bytes - _BACKLOG_BYTES) / _BACKLOG_BYTES)
    return interval * (1 + (STRETCH_MOST - 1) * backlog)


def rest_after(seconds: float, *, share: float, most: float) -> float:
    """Say for how long records gather after a transaction, though none of them waits: a transaction costs the same for one as for a hundred.

    While the brokers are quick that is next to nothing; when they have much to do, it takes from them what only makes everybody wait. After a
    longer silence the rest is over, and a single event is committed at once.

    Args:
        seconds: How long the last commit took.
        share: How much of the time commits may take.
        most: Longest rest, in seconds.

    Returns:
        For how long after it no dry input ends a transaction, in seconds.
    """
    return min(most, seconds * (1 - share) / share)


def until_beat(now: float, least: float, *, interval: float, name: str) -> float:
    """Say how long to rest so that all who commit together come at the same moment: one transaction for all of them, not one for each.

    Args:
        now: Monotonic time in seconds.
        least: Shortest rest in seconds.
        interval: Time between two beats in seconds.
        name: What they have in common; others beat at other moments, so that not all of a process come at once.

    Returns:
        Time until the first beat that is not too early, in seconds.
    """
    phase = crc32(name.encode()) / 2**32 * interval
    return least + interval - (now + least - phase) % interval


def is_due(*, waiting_bytes: int, written_bytes: int, elapsed: float, interval: float, rest: float = 0.0) -> bool:
    """Say whether a transaction is to be committed.

    Args:
        waiting_bytes: Input that waits; at 0 there is nothing to wait for, once the rest is over.
        written_bytes: Output that has gathered.
        elapsed: For how long it has been open, in seconds.
        interval: The topology's interval, in seconds.
        rest: What is left of the rest after the last one, in seconds.

    Returns:
        Whether it is.
    """
    dry = waiting_bytes == 0 and rest <= 0
    return dry or written_bytes > TRANSACTION_BYTES or elapsed > interval_under(waiting_bytes, interval)
