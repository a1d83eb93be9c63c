"""Where a group is set to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.record import TopicPartition
from pipeline.model.topology import Processor, Topology
from pipeline.replay.reset import Move, Target, checksum, doubled_stores, parse_target, plan_reset, yields_only_duplicates

NOW = 1_767_225_600_000
ONE, TWO = TopicPartition("shop.routed", 0), TopicPartition("shop.routed", 1)
BOUNDS = {ONE: (10, 100), TWO: (0, 0)}
TARGETS = st.one_of(
    st.sampled_from([Target("earliest"), Target("latest"), Target("time", 5)]),
    st.builds(Target, st.sampled_from(["shift", "offset"]), st.integers(-200, 200)),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("earliest", Target("earliest")),
        ("latest", Target("latest")),
        ("-5", Target("shift", -5)),
        ("+5", Target("shift", 5)),
        ("42", Target("offset", 42)),
        ("-2h", Target("time", NOW - 7_200_000)),
        ("2026-01-01", Target("time", NOW)),
    ],
)
def test_a_place_is_a_word_a_number_or_a_time(text: str, expected: Target) -> None:
    """A sign makes a number a distance, and a unit makes it a time."""
    assert expected == parse_target(text, NOW)


def test_anything_else_is_no_place() -> None:
    """It is refused, not guessed."""
    with pytest.raises(ValueError, match="begin"):
        parse_target("begin", NOW)


@pytest.mark.parametrize(
    ("target", "after"),
    [
        (Target("earliest"), 10),
        (Target("latest"), 100),
        (Target("shift", -5), 45),
        (Target("shift", -500), 10),
        (Target("offset", 7), 10),
        (Target("offset", 700), 100),
        (Target("time", 1), 33),
    ],
)
def test_a_plan_stays_within_the_topic(target: Target, after: int) -> None:
    """What lies before the first offset is gone, and nothing lies after the end."""
    moves = plan_reset(target, {ONE: 50}, BOUNDS, {ONE: 33})
    assert [Move(ONE, 50, after, 10, 100), Move(TWO, None, 0, 0, 0)] == moves


@given(TARGETS, st.one_of(st.none(), st.integers(0, 150)), st.integers(0, 50), st.integers(0, 100))
def test_what_is_read_again_and_what_is_skipped_never_meet(target: Target, committed: int | None, first: int, length: int) -> None:
    """A move goes back or on, not both, and stays within what the partition holds."""
    known = {} if committed is None else {ONE: committed}
    (move,) = plan_reset(target, known, {ONE: (first, first + length)}, {ONE: first})
    assert first <= move.after <= first + length
    again, skipped = (end - start for start, end in (move.again, move.skipped))
    assert again >= 0
    assert skipped >= 0
    assert not (again and skipped)


def test_equal_positions_have_equal_checksums() -> None:
    """In any order; one offset more is another text."""
    assert checksum({ONE: 1, TWO: 2}) == checksum({TWO: 2, ONE: 1})
    assert checksum({ONE: 1, TWO: 2}) != checksum({ONE: 1, TWO: 3})


def test_only_a_group_with_dedup_reads_again_in_vain() -> None:
    """Its own state has seen everything."""
    assert yields_only_duplicates(Processor("prepare", "raw", steps=("validate", "dedup", "filter")))
    assert not yields_only_duplicates(Processor("filter", "enriched", steps=("filter",)))


def test_a_group_before_a_store_would_double_its_rows() -> None:
    """Its records come once more to whoever reads them; a dedup on the way drops them, and a tool knows the ids of its requests."""
    enrich = Processor("enrich", "validated", steps=("enrich",), lanes={"main": "enriched"})
    route = Processor("filter", "enriched", steps=("filter",), lanes={"main": "routed", "dead": "dead.{stage}"})
    late = Processor("late", "raw", steps=("validate",), lanes={"main": "checked"})
    dedup = Processor("dedup", "checked", steps=("dedup",), lanes={"main": "validated", "raw": "raw"})
    translate = Processor("translate", "routed", for_each="destination", steps=("translate",), lanes={"requests": "requests.{destination}"})
    lake = Processor("lake", "routed", kind="lake", for_each="storage")
    topology = Topology("t", {one.name: one for one in (enrich, route, late, dedup, translate, lake)})
    doubled = {name: doubled_stores(topology, name, ["a", "b"]) for name in topology.processors}
    assert {"enrich": ["lake.a", "lake.b"], "filter": ["lake.a", "lake.b"]} == {name: stores for name, stores in doubled.items() if stores}
    assert [] == doubled_stores(topology, "filter", [])
