"""What an answer means (design §2.4: one table, everywhere)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pipeline.deliver.retry_after import parse_retry_after
from pipeline.model.outcomes import Dead


class Delivered(NamedTuple):
    """The tool has taken the request."""


class Retry(NamedTuple):
    """The tool, or the way to it, failed for now.

    Attributes:
        after_ms: The least wait that the tool asked for, in milliseconds; 0 where it asked for none.
        broken: Whether the tool as a whole seems to be down (network error, 5xx), rather than busy.
    """

    after_ms: int = 0
    broken: bool = False


class Park(NamedTuple):
    """Nothing can be delivered until a person acts; the backlog is kept and the destination probed."""

    reason: str


class Disable(NamedTuple):
    """The tool asked for no more requests; the backlog is kept and nothing is sent."""

    reason: str


Verdict = Delivered | Retry | Dead | Park | Disable
"""What one attempt came to."""

MISSING_SECRET = "missing_secret"  # noqa: S105 (the name of an error)
"""Error name of an attempt that was not made, because a secret of the destination is missing."""

_OURS = frozenset((MISSING_SECRET, "invalid_request", "address_blocked"))
"""Errors of attempts that were not made because of what is declared: a fault of ours never ends an event."""

_DELIVERED = Delivered()
_BUSY = frozenset((408, 423, 429))


def classify(status: int, headers: Mapping[str, str], error: str, now_ms: int) -> Verdict:  # noqa: PLR0911 (one return a row of the table)
    """Say what an answer means.

    Args:
        status: HTTP status; 0 where no answer came.
        headers: Header names in lower case, and values.
        error: Name of the network error where status is 0.
        now_ms: Wall time in milliseconds since the epoch, for a `Retry-After` that is a date.

    Returns:
        The verdict. Source: design §2.4; RFC 9110 §15 for the statuses.
    """
    if 200 <= status < 300:
        return _DELIVERED
    if status == 0:
        return Park("misconfigured") if error in _OURS else Retry(broken=True)
    if status in _BUSY or (status >= 500 and status != 501) or status < 200:
        return Retry(parse_retry_after(headers.get("retry-after"), now_ms), broken=status >= 500)
    if status < 400:
        return Dead("redirected", f"status {status}")
    if status in (401, 403):
        return Park("unauthorized")
    if status == 410:
        return Disable("gone")
    return Dead("rejected", f"status {status}")
