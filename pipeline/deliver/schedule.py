"""When the next try is made, and in which retry topic it waits (design §2.4)."""

from __future__ import annotations

import zlib
from typing import Final, NamedTuple

from pipeline.model.outcomes import Dead
from pipeline.model.topics import RETRY_DELAYS

WINDOW_MS: Final = 4 * 3_600_000
"""Retries run this long from the first try."""

FIRST_BACK_OFF_MS: Final = 10_000
"""Wait after the first failure; each further one doubles it."""

JITTER: Final = 0.1
"""Largest part of a tier's delay that jitter adds, so that what failed together does not come back together."""


class Later(NamedTuple):
    """The next try.

    Attributes:
        tier: Name of the retry tier.
        not_before_ms: Before this time (milliseconds since the epoch) it is not made.
    """

    tier: str
    not_before_ms: int


def back_off_ms(failures: int) -> int:
    """Give the wait after so many failures, before jitter.

    Args:
        failures: How many tries have failed, at least 1.

    Returns:
        Milliseconds: 10 s, 20 s, 40 s … at most the longest tier.
    """
    return min(FIRST_BACK_OFF_MS << min(failures - 1, 20), max(RETRY_DELAYS.values()))


def tier_for(wait_ms: int) -> str:
    """Give the smallest tier that is not shorter than a wait; the longest for longer ones.

    Args:
        wait_ms: Wait in milliseconds.

    Returns:
        Name of the tier.
    """
    for name, delay in RETRY_DELAYS.items():
        if delay >= wait_ms:
            return name
    return name


def jitter_of(message_id: bytes, failures: int) -> float:
    """Draw the jitter of a try from its message and number, so that no randomness is needed and equal tries wait alike.

    Args:
        message_id: The event's message id.
        failures: How many tries have failed.

    Returns:
        A number from 0 to 1, spread evenly over message ids.
    """
    return zlib.crc32(message_id, failures) / 0xFFFFFFFF


def next_try(*, failures: int, after_ms: int, first_attempt_ms: int, now_ms: int, jitter: float, time_scale: float = 1.0) -> Later | Dead:
    """Decide when a request that failed is tried again.

    Args:
        failures: How many tries have failed, this one included.
        after_ms: Least wait that the tool asked for, in milliseconds, at most one hour.
        first_attempt_ms: When the first try was made, milliseconds since the epoch.
        now_ms: When this try ended, milliseconds since the epoch.
        jitter: A number from 0 to 1, drawn for this decision; it only adds.
        time_scale: What all waits and the window are multiplied by; below 1 in tests and demonstrations.

    Returns:
        The next try, or Dead where it would lie beyond the window.
    """
    wait = max(back_off_ms(failures), after_ms)
    tier = tier_for(wait)
    wait = max(wait, RETRY_DELAYS[tier])
    not_before = now_ms + round(time_scale * (wait + jitter * JITTER * RETRY_DELAYS[tier]))
    if not_before > first_attempt_ms + time_scale * WINDOW_MS:
        return Dead("retries_exhausted", f"{failures} tries")
    return Later(tier, not_before)


def due_in_tier_ms(*, tier: str, appended_ms: int, not_before_ms: int, time_scale: float = 1.0) -> int:
    """Say when a record leaves its retry topic: when it is due, or when its tier's delay is over.

    The second keeps a record that must wait longer than its tier (`Retry-After` of an hour) from delaying those behind it.

    Args:
        tier: Name of the tier.
        appended_ms: Broker time of the record, milliseconds since the epoch.
        not_before_ms: When it is due, milliseconds since the epoch.
        time_scale: As for `next_try`.

    Returns:
        Milliseconds since the epoch.
    """
    return min(not_before_ms, appended_ms + round(time_scale * (1 + JITTER) * RETRY_DELAYS[tier]))
