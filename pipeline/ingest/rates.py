"""How fast a source may send: a token bucket that a batch may overdraw, so that one larger than the bucket passes too, and is waited for."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from pipeline.ingest.refusals import Refused

RETRY_AFTER_MOST: Final = 300
"""Longest wait that a client is asked for, in seconds: what SDKs cut it to."""


class Bucket(NamedTuple):
    """What is left of a rate.

    Attributes:
        tokens: Events that may still come now; below zero where the last batch was larger.
        at: When that was, seconds of a clock that never goes back.
    """

    tokens: float
    at: float


def taken(bucket: Bucket, rate: float, burst: float, now: float, events: int) -> tuple[Bucket, float]:
    """Take events out of a bucket, or say how long it stays empty.

    Args:
        bucket: The bucket.
        rate: Events that come in a second.
        burst: Most events that it holds.
        now: The time, seconds of the same clock.
        events: Events to take.

    Returns:
        The bucket afterwards, and the seconds until the next event may come: 0 where these may.
    """
    tokens = min(burst, bucket.tokens + max(0.0, now - bucket.at) * rate)
    if tokens < 1:
        return Bucket(tokens, now), (1 - tokens) / rate
    return Bucket(tokens - events, now), 0.0


def limited(refusal: Refused, seconds: float, source: str = "") -> Refused:
    """Refuse for a while.

    Args:
        refusal: `refusals.RATE_LIMITED` or its like.
        seconds: How long.
        source: Source id.

    Returns:
        The refusal with whole seconds, 1 to 300.
    """
    return refusal._replace(retry_after=min(RETRY_AFTER_MOST, max(1, math.ceil(seconds))), source=source)


def default_burst(rate: float) -> float:
    """Give the burst of a source that declares none: what comes in two seconds."""
    return max(1.0, 2 * rate)
