"""When a transaction is committed: soon where nothing waits, seldom where much does, never above its bytes."""

from __future__ import annotations

from typing import Final

from pipeline.runtime.inbox import INBOX_BYTES

TRANSACTION_BYTES: Final = 6 * 1024 * 1024
"""Output at which a transaction is committed whatever the interval says."""
STRETCH_MOST: Final = 4.0
"""How many intervals a transaction may last while the inbox is full: a transaction costs milliseconds here and in the broker, whatever is in it."""
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


def is_due(*, waiting_bytes: int, written_bytes: int, elapsed: float, interval: float) -> bool:
    """Say whether a transaction is to be committed.

    Args:
        waiting_bytes: Input that waits; at 0 there is nothing to wait for.
        written_bytes: Output that has gathered.
        elapsed: For how long it has been open, in seconds.
        interval: The topology's interval, in seconds.

    Returns:
        Whether it is.
    """
    return waiting_bytes == 0 or written_bytes > TRANSACTION_BYTES or elapsed > interval_under(waiting_bytes, interval)
