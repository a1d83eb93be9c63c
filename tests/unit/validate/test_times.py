"""The short ways through a call's times give what the long ones give."""

from __future__ import annotations

from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from pipeline.validate import times


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31)))  # noqa: DTZ001 (naive UTC, as the module has it)
def test_a_time_is_written_as_iso_8601_with_milliseconds(at: datetime) -> None:
    """The writer that remembers seconds writes what the standard library writes."""
    assert at.isoformat("T", "milliseconds") + "Z" == times._text(at - datetime(1970, 1, 1))  # noqa: DTZ001 (the same)


@given(*[st.sampled_from(["2026-03-14T09:26:41.234Z", "2026-03-14T09:26:40Z", "2026-03-14T10:26:41+01:00", "soon", ""]) for _ in range(2)])
def test_what_sdks_write_is_corrected_like_the_rest(stated: str, sent: str) -> None:
    """A call with timestamp and sentAt comes out as the same call whose client named its original timestamp."""
    arrived = times.read_arrival(b"1773480402000")
    assert arrived is not None
    plain, named = {"timestamp": stated, "sentAt": sent}, {"originalTimestamp": stated, "sentAt": sent}
    assert times.correct_times(named, arrived) == times.correct_times(plain, arrived)
    assert named == plain


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)), st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)))  # noqa: DTZ001 (naive UTC)
def test_a_time_is_corrected_by_how_long_it_waited(occurred: datetime, sent: datetime) -> None:
    """`receivedAt` less the time between call and sending, never later than `receivedAt`; clocks that lead out of the calendar count for nothing."""
    arrived = times.read_arrival(b"1773480402000")
    assert arrived is not None
    body = {"timestamp": occurred.isoformat() + "Z", "sentAt": sent.isoformat() + "Z"}
    assert "" == times.correct_times(body, arrived)
    received = datetime(2026, 3, 14, 9, 26, 42)  # noqa: DTZ001 (naive UTC)
    try:
        expected = min(received - (sent - occurred), received)
    except OverflowError:
        expected = received
    assert expected.isoformat("T", "milliseconds") + "Z" == body["timestamp"]
