"""The breaker stops a processor whose steps are wrong, and lets one go on whose input is."""

from __future__ import annotations

from typing import Literal

import pytest

from pipeline.model.ledger import Row
from pipeline.runtime.breaker import CRASHES_MOST, SPAN_SOURCES, WINDOW_RECORDS, Breaker, BreakerError
from pipeline.runtime.judgement import Crash, Judged
from pipeline.runtime.throttle import PROBE_EVERY


def judged(crashes: int = 0, *, sources: int = 1, dead: int = 0, **others: int) -> Judged:
    """Say what a transaction was: crashes of so many sources in turn, other dead letters, and successes by verdict."""
    result = Judged(crashes=[Crash(f"source-{number % sources}", "filter") for number in range(crashes)])
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


def test_a_worker_that_is_started_again_does_not_begin_to_count() -> None:
    """What was committed beside the position says how many crashed: the next crash stops it, whatever was restarted in between."""
    breaker = Breaker("filter")
    breaker.note(1, judged(CRASHES_MOST - 1))
    for _ in range(3):
        again = Breaker("filter")
        again.restore(breaker.remembered())
        with pytest.raises(BreakerError, match="succeeded with none"):
            again.note(1, judged(1))


def test_what_is_remembered_belongs_to_a_version() -> None:
    """Another configuration begins anew."""
    breaker = Breaker("filter")
    breaker.note(1, judged(CRASHES_MOST - 1))
    again = Breaker("filter")
    again.restore(breaker.remembered())
    again.note(2, judged(CRASHES_MOST - 1))


def test_a_window_is_remembered_too() -> None:
    """Crashes that span sources stop a worker that took over in the middle of them."""
    breaker = Breaker("filter")
    for _ in range(9):
        breaker.note(1, judged(10, sources=SPAN_SOURCES, passed=90))
    again = Breaker("filter")
    again.restore(breaker.remembered())
    with pytest.raises(BreakerError, match="3 sources"):
        again.note(1, judged(10, sources=SPAN_SOURCES, passed=90))


def test_where_nothing_crashed_nothing_is_remembered() -> None:
    """A position costs nothing more."""
    breaker = Breaker("filter")
    breaker.note(1, judged(passed=1_000))
    assert "" == breaker.remembered()


@pytest.mark.parametrize("text", ["", "x", "[]", "{}", '{"version":1,"own":1,"crashed":2}', "3 5-7"])
def test_what_anyone_wrote_beside_a_position_counts_for_nothing(text: str) -> None:
    """Another tool may have set it."""
    breaker = Breaker("filter")
    breaker.restore(text)
    breaker.note(1, judged(CRASHES_MOST - 1))


def of_source(source: str, *, crashes: int = 0, passed: int = 0) -> Judged:
    """Say what became of the records of one source, while others succeed."""
    result = Judged(crashes=[Crash(source, "enrich")] * crashes)
    for verdict, count in (("dead", crashes), ("passed", passed)):
        if count:
            result.tally.rows[Row(source, "", "", verdict)] += count  # type: ignore[arg-type]  # the tests' own names
    result.tally.rows[Row("good", "", "", "passed")] += 1
    return result


def test_a_source_that_crashes_is_throttled_alone() -> None:
    """Its records go unjudged to the dead letters of the stage, but for each hundredth; one that goes through lifts it."""
    breaker = Breaker("filter")
    breaker.note(1, of_source("bad", crashes=CRASHES_MOST - 1))
    assert not breaker.throttle.sources
    breaker.note(1, of_source("bad", crashes=1))
    assert ["bad"] == list(breaker.throttle.sources)
    assert "" == breaker.throttle.diverts("good")
    assert ["enrich"] * (PROBE_EVERY - 1) + [""] == [breaker.throttle.diverts("bad") for _ in range(PROBE_EVERY)]
    breaker.note(1, of_source("bad", crashes=1))
    assert ["bad"] == list(breaker.throttle.sources)
    breaker.note(1, of_source("bad", passed=1))
    assert not breaker.throttle.sources
    breaker.note(1, of_source("bad", crashes=1))
    assert not breaker.throttle.sources


def test_a_source_most_of_whose_records_pass_is_judged() -> None:
    """A poison among good ones is no reason to keep the good ones back."""
    breaker = Breaker("filter")
    for _ in range(10):
        breaker.note(1, of_source("web", crashes=20, passed=30))
    assert not breaker.throttle.sources


def test_a_new_version_judges_everyone() -> None:
    """The fault may be mended."""
    breaker = Breaker("filter")
    breaker.note(1, of_source("bad", crashes=CRASHES_MOST))
    breaker.note(2, of_source("bad", crashes=1))
    assert not breaker.throttle.sources
