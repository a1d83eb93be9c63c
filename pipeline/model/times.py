"""The times that commands are given: ISO 8601, or so long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_UNITS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
_AGO: Final = re.compile(r"-((?:\d{1,9}[smhdw])+)", re.ASCII)
_PART: Final = re.compile(r"(\d+)([smhdw])", re.ASCII)


def parse_time(text: str, now_ms: int) -> int:
    """Read a time.

    Args:
        text: ISO 8601 (UTC unless it says otherwise), `now`, or how long ago: `-2h`, `-7d`, `-1h30m` (s, m, h, d and w).
        now_ms: The present, milliseconds since the epoch.

    Returns:
        Milliseconds since the epoch; never below 0.

    Raises:
        ValueError: It is no time.
    """
    if text == "now":
        return now_ms
    if ago := _AGO.fullmatch(text):
        return max(0, now_ms - sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(ago[1])))
    time = datetime.fromisoformat(text)
    return max(0, round((time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp() * 1000))


def time_text(milliseconds: int) -> str:
    """Write a time for a person, to the second, in UTC.

    Args:
        milliseconds: Milliseconds since the epoch.

    Returns:
        `2026-05-01T12:00:00Z`.
    """
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
