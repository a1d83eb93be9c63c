"""Times that a person writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.times import parse_time, time_text

NOW = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("-2h", NOW - 7_200_000),
        ("-7d", NOW - 604_800_000),
        ("-1w", NOW - 604_800_000),
        ("-1h30m", NOW - 5_400_000),
        ("-90s", NOW - 90_000),
        ("2026-01-01", NOW),
        ("2026-01-01T00:00:00", NOW),
        ("2026-01-01T01:00:00+01:00", NOW),
        ("2025-12-31T23:59:59.5Z", NOW - 500),
        ("-999999w", 0),
    ],
)
def test_a_time_is_a_point_or_so_long_ago(text: str, expected: int) -> None:
    """ISO 8601 is UTC unless it says otherwise; a sign and units count back from now, not further than the epoch."""
    assert expected == parse_time(text, NOW)


@pytest.mark.parametrize("text", ["", "2h", "-2", "-h", "-2y", "+2h", "yesterday", "2026-13-01", "-2h ", "-\u0662h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match=r".*"):
        parse_time(text, NOW)


@given(st.integers(0, 4_000_000_000))
def test_a_written_time_is_read_as_the_same(seconds: int) -> None:
    """What is written to the second is read again without loss."""
    assert seconds * 1000 == parse_time(time_text(seconds * 1000), 0)
