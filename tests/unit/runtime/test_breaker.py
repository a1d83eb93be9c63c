"""The breaker stops a processor whose steps are wrong, and lets one go on whose input is."""

from __future__ import annotations

from typing import Literal

import pytest

from pipeline.model.ledger import Row
from pipeline.runtime.breaker import CRASHES_MOST, SPAN_SOURCES, WINDOW_RECORDS, Breaker, BreakerError
from pipeline.runtime.judgement import Judged


def judged(crashes: int = 0, *, sources: int = 1, dead: int = 0, **others: int) -> Judged:
    """Say what a transaction was: crashes of so many sources in turn, other dead letters, and successes by verdict."""
    result = Judged(crashes=[f"source-{number % sources}" for number in range(crashes)])
    verdicts: dict[Literal["passed", "dropped", "dead", "blocked"], int] = {"dead": crashes + dead, **others}  # type: ignore[dict-item]  # the tests' own names
    for verdict, count in verdicts.items():
        result.tally.rows[Row("", "", "", verdict)] += count
    return result


@pytest.mark.parametrize("verdict", ["passed", "dropped", "blocked"])
def test_what_was_judged_as_meant_is_a_success(verdict: str) -> None:
    """One record that a step did its work on, and one source's crashes stop nothing, however many."""
    breaker = Breaker("filter")
    breaker.note(1, judged(1, **{verdict: 1}))
    for _ in range(20):
        breaker.note(1, judged(CRASHES_MOST))


def test_garbage_is_no_success() -> None:
    """A stream of a little garbage and else crashes trips it: that invalid JSON died says nothing about the steps."""
    breaker = Breaker("filter")
    breaker.note(1, judged(CRASHES_MOST - 1, dead=1))
    with pytest.raises(BreakerError, match="filter"):
        breaker.note(1, judged(1, dead=1))


def test_garbage_alone_stops_nothing() -> None:
    """Without a crash nothing is wrong with the steps."""
    breaker = Breaker("filter")
    for _ in range(20):
        breaker.note(1, judged(dead=CRASHES_MOST))


def test_a_new_version_begins_anew() -> None:
    """Neither the crashes nor the successes of an older version are this one's."""
    breaker = Breaker("filter")
    breaker.note(1, judged(CRASHES_MOST - 1))
    breaker.note(2, judged(1, passed=1))
    breaker.note(3, judged(CRASHES_MOST - 1))
    with pytest.raises(BreakerError):
        breaker.note(3, judged(1))


def test_crashes_that_span_sources_stop_it() -> None:
    """A tenth of the last 1,000 records, of three sources: the fault is not theirs, although others succeed."""
    breaker = Breaker("filter")
    for _ in range(9):
        breaker.note(1, judged(10, sources=SPAN_SOURCES, passed=90))
    with pytest.raises(BreakerError, match="3 sources"):
        breaker.note(1, judged(10, sources=SPAN_SOURCES, passed=90))


@pytest.mark.parametrize(
    ("crashes", "sources", "passed"),
    [(10, SPAN_SOURCES - 1, 90), (10, SPAN_SOURCES, 100), (1, SPAN_SOURCES, 999)],
    ids=["two sources", "less than a tenth", "few"],
)
def test_fewer_stop_nothing(crashes: int, sources: int, passed: int) -> None:
    """Crashes of fewer sources, or of a smaller share, are poison of their own."""
    breaker = Breaker("filter")
    for _ in range(30):
        breaker.note(1, judged(crashes, sources=sources, passed=passed))


def test_what_lies_further_back_is_forgotten() -> None:
    """Crashes do not add up over more than the last 1,000 records."""
    breaker = Breaker("filter")
    for _ in range(5):
        breaker.note(1, judged(CRASHES_MOST - 1, sources=SPAN_SOURCES, passed=1))
        breaker.note(1, judged(passed=WINDOW_RECORDS))
