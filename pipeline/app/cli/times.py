"""Times as options of commands."""

from __future__ import annotations

from typing import Final

from pipeline.app.cli.errors import CommandError
from pipeline.model.times import parse_time
from pipeline.runtime.clock import SystemClock

TIME_FORMS: Final = "ISO 8601 (UTC unless it says otherwise), or how long ago: -2h, -7d"
"""What a time may look like, for a help text."""


def time_ms(option: str, text: str) -> int | None:
    """Read the time that an option gives.

    Args:
        option: The option that it stands behind, for the error.
        text: As `pipeline.model.times.parse_time` reads it, or empty.

    Returns:
        Milliseconds since the epoch, or None where nothing is given.

    Raises:
        CommandError: It is no time.
    """
    if not text:
        return None
    try:
        return parse_time(text, SystemClock().now_ms())
    except ValueError:
        raise CommandError(f"{option} {text} is no time", "give one such as 2026-05-01T12:00:00Z, or how long ago, such as -2h", status=2) from None
