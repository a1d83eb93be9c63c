"""When a failed request is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.deliver.schedule import WINDOW_MS, Later, back_off_ms, due_in_tier_ms, next_try, tier_for
from pipeline.model.outcomes import Dead
from pipeline.model.topics import RETRY_DELAYS


@pytest.mark.parametrize(
    ("failures", "expected"),
    [(1, 10_000), (2, 20_000), (3, 40_000), (4, 80_000), (6, 320_000), (8, 1_280_000), (9, 1_800_000), (500, 1_800_000)],
)
def test_back_off_doubles(failures: int, expected: int) -> None:
    """The wait doubles from 10 seconds up to the longest tier."""
    assert expected == back_off_ms(failures)


@pytest.mark.parametrize(
    ("wait", "expected"),
    [(0, "10s"), (10_000, "10s"), (10_001, "1m"), (60_000, "1m"), (80_000, "5m"), (320_000, "10m"), (640_000, "30m"), (3_600_000, "30m")],
)
def test_smallest_tier_not_shorter(wait: int, expected: str) -> None:
    """A wait lies in the smallest tier that is not shorter."""
    assert expected == tier_for(wait)


def test_first_retry_without_jitter() -> None:
    """The first failure waits ten seconds in the ten-second tier."""
    assert Later("10s", 11_000) == next_try(failures=1, after_ms=0, first_attempt_ms=900, now_ms=1_000, jitter=0.0)


def test_jitter_only_adds() -> None:
    """Jitter adds up to a tenth of the tier's delay."""
    assert Later("10s", 12_000) == next_try(failures=1, after_ms=0, first_attempt_ms=900, now_ms=1_000, jitter=1.0)


def test_retry_after_counts_when_longer() -> None:
    """A tool that asks for 50 seconds gets the one-minute tier; an hour is waited in full."""
    assert Later("1m", 60_000) == next_try(failures=1, after_ms=50_000, first_attempt_ms=0, now_ms=0, jitter=0.0)
    assert Later("30m", 3_600_000) == next_try(failures=1, after_ms=3_600_000, first_attempt_ms=0, now_ms=0, jitter=0.0)


def test_window_ends_after_four_hours() -> None:
    """A next try that would lie beyond four hours from the first is not made."""
    last = WINDOW_MS - 10_000
    assert Later("10s", WINDOW_MS) == next_try(failures=1, after_ms=0, first_attempt_ms=0, now_ms=last, jitter=0.0)
    assert Dead("retries_exhausted", "1 tries") == next_try(failures=1, after_ms=0, first_attempt_ms=0, now_ms=last + 1, jitter=0.0)


def test_time_scale_shrinks_waits_and_window() -> None:
    """With a scale of a thousandth, ten seconds are ten milliseconds."""
    assert Later("10s", 10) == next_try(failures=1, after_ms=0, first_attempt_ms=0, now_ms=0, jitter=0.0, time_scale=0.001)


@given(st.integers(1, 50), st.integers(0, 3_600_000), st.floats(0, 1), st.integers(0, WINDOW_MS))
def test_never_earlier_than_asked(failures: int, after_ms: int, jitter: float, now: int) -> None:
    """No next try comes before the back-off, the tool's own wait or its tier's delay."""
    later = next_try(failures=failures, after_ms=after_ms, first_attempt_ms=0, now_ms=now, jitter=jitter)
    if isinstance(later, Later):
        assert later.not_before_ms - now >= max(back_off_ms(failures), after_ms, RETRY_DELAYS[later.tier])
        assert later.not_before_ms <= WINDOW_MS


def test_a_long_wait_delays_none_behind_it() -> None:
    """A record leaves its tier when it is due, or at the latest a tenth after the tier's delay."""
    assert 5_000 == due_in_tier_ms(tier="10s", appended_ms=0, not_before_ms=5_000)
    assert 1_980_000 == due_in_tier_ms(tier="30m", appended_ms=0, not_before_ms=3_600_000)
