"""When a transaction is committed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.cadence import STRETCH_MOST, TRANSACTION_BYTES, interval_under, is_due, rest_after, until_beat
from pipeline.runtime.inbox import INBOX_BYTES


def test_nothing_waits_for_nothing() -> None:
    """When the input has run dry the transaction is committed at once."""
    assert is_due(waiting_bytes=0, written_bytes=1, elapsed=0, interval=0.1)
    assert not is_due(waiting_bytes=1, written_bytes=1, elapsed=0.1, interval=0.1)
    assert is_due(waiting_bytes=1, written_bytes=1, elapsed=0.11, interval=0.1)


def test_records_gather_while_it_rests() -> None:
    """Until the rest after the last transaction is over a dry input ends none; its interval and its bytes still do."""
    assert not is_due(waiting_bytes=0, written_bytes=1, elapsed=0.01, interval=0.1, rest=0.001)
    assert is_due(waiting_bytes=0, written_bytes=1, elapsed=0.01, interval=0.1, rest=0.0)
    assert is_due(waiting_bytes=0, written_bytes=1, elapsed=0.11, interval=0.1, rest=0.001)
    assert is_due(waiting_bytes=0, written_bytes=TRANSACTION_BYTES + 1, elapsed=0, interval=0.1, rest=0.001)


def test_a_rest_is_as_long_as_commits_are_slow() -> None:
    """At a share of a half it is as long as the commit, at a quarter three times as long, and never longer than the most."""
    assert pytest.approx(0.010) == rest_after(0.010, share=0.5, most=0.025)
    assert pytest.approx(0.024) == rest_after(0.008, share=0.25, most=0.025)
    assert pytest.approx(0.025) == rest_after(0.200, share=0.5, most=0.025)
    assert pytest.approx(0) == rest_after(0.0, share=0.5, most=0.025)


def test_who_commits_together_rests_to_the_same_moment() -> None:
    """Whenever each of them was done; one that must rest for longer comes a beat later."""
    first, second, third = (at + until_beat(at, least, interval=0.1, name="crm") for at, least in ((7.01, 0.0), (7.02, 0.0), (7.02, 0.1)))
    assert pytest.approx(first) == second
    assert pytest.approx(first + 0.1) == third


@given(st.floats(0, 1e6), st.floats(0, 1), st.floats(0.001, 10), st.text())
def test_a_rest_to_the_beat_is_bounded(now: float, least: float, interval: float, name: str) -> None:
    """Never shorter than the least, and longer by an interval at most."""
    assert least <= until_beat(now, least, interval=interval, name=name) <= (least + interval) * 1.0001


def test_a_backlog_makes_transactions_longer() -> None:
    """Up to a quarter of the inbox the interval is the topology's; at half of it, and above, it is four times as long."""
    assert 0.1 == interval_under(INBOX_BYTES // 4, 0.1)
    assert pytest.approx(0.25) == interval_under(INBOX_BYTES * 3 // 8, 0.1)
    assert pytest.approx(0.4) == interval_under(INBOX_BYTES // 2, 0.1)


def test_bytes_end_a_transaction() -> None:
    """However much waits, a transaction does not grow beyond its bytes."""
    assert is_due(waiting_bytes=INBOX_BYTES, written_bytes=TRANSACTION_BYTES + 1, elapsed=0, interval=0.1)


@given(st.integers(0, 4 * INBOX_BYTES), st.floats(0.001, 10))
def test_the_stretch_is_bounded(waiting: int, interval: float) -> None:
    """Never shorter than the topology says, never longer than four times that."""
    assert interval <= interval_under(waiting, interval) <= interval * STRETCH_MOST * 1.0001
