"""The hour in which an event was received: it names the folder that the event's row lies in."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

_HOUR: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def instant(text: str) -> datetime | None:
    """Read an ISO-8601 time.

    Args:
        text: The time; UTC where it names no zone.

    Returns:
        The time in UTC, or None where the text is not one.
    """
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def timestamp_text(milliseconds: int) -> str:
    """Write a time as the collector does.

    Args:
        milliseconds: Milliseconds since the epoch.

    Returns:
        `YYYY-MM-DDTHH:MM:SS.mmmZ`.
    """
    return (_EPOCH + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def received_hour(text: str) -> str | None:
    """Give the hour of a time, in UTC.

    Args:
        text: ISO-8601.

    Returns:
        `YYYY-MM-DDTHH`, or None where the text is not a time.
    """
    if text[-1:] == "Z":
        return _hour_of_prefix(text[:13]) or _hour_of(text)
    return _hour_of(text)


@lru_cache(maxsize=1024)
def _hour_of_prefix(prefix: str) -> str | None:
    return prefix if _HOUR.fullmatch(prefix) and instant(f"{prefix}:00:00Z") else None


def _hour_of(text: str) -> str | None:
    time = instant(text)
    return time.strftime("%Y-%m-%dT%H") if time else None
