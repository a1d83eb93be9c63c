"""Hours of reception."""

import pytest

from pipeline.lake.hours import instant, received_hour, timestamp_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-14T09:26:54.100Z", "2026-03-14T09"),
        ("2026-03-14T09:26:54+02:00", "2026-03-14T07"),
        ("2026-03-14T23:30:00-01:00", "2026-03-15T00"),
        ("2026-03-14", "2026-03-14T00"),
        ("2026-02-30T09:00:00Z", None),
        ("../../../../etcZ", None),
        ("yesterday", None),
    ],
)
def test_received_hour_is_in_utc(text: str, expected: str | None) -> None:
    """The hour is that of UTC, whatever the zone of the text; what is no time has none."""
    assert received_hour(text) == expected


def test_timestamp_text_is_the_collectors_form() -> None:
    """Milliseconds are always written, in UTC."""
    assert timestamp_text(1773480414100) == "2026-03-14T09:26:54.100Z"
    assert instant(timestamp_text(0)) == instant("1970-01-01T00:00:00+00:00")
