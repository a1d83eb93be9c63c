"""The header `Retry-After`, as tools really send it (source: RFC 9110 §10.2.3)."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final

MOST_MS: Final = 3_600_000
"""The longest wait that a tool is granted: one hour."""


def parse_retry_after(text: str | None, now_ms: int) -> int:
    """Read a `Retry-After` header.

    Args:
        text: The header's value, seconds or an HTTP date, or None.
        now_ms: Wall time in milliseconds since the epoch.

    Returns:
        The wait in milliseconds, 0 to one hour; 0 for what is absent, past, negative or no such value.
    """
    if text is None:
        return 0
    text = text.strip()
    if text.isascii() and text.isdigit():
        # Nine digits are 31 years: what is longer is capped anyway, and never turned into a number.
        return MOST_MS if len(text) > 9 else min(int(text) * 1000, MOST_MS)
    try:
        then = parsedate_to_datetime(text)
        wait = int(then.timestamp() * 1000) - now_ms
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0
    return max(0, min(wait, MOST_MS))
