"""Halving finds the one record whose output is refused, and nothing else is suspected."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.suspicion import Suspicion


def worked_off(offsets: range, guilty: set[int]) -> tuple[set[int], int]:
    """Work a partition off as the worker does; gives what ended as dead letters, and how many transactions were refused."""
    suspicion = Suspicion()
    dead: set[int] = set()
    place, refusals = offsets.start, 0
    while place < offsets.stop:
        most = suspicion.most(place) or offsets.stop - place
        taken = range(place, min(place + most, offsets.stop))
        if any(one in guilty and one not in suspicion.guilty for one in taken):
            refusals += 1
            assert suspicion.refused(taken.start, taken.stop, len(taken), "too large")
            continue
        dead |= {one for one in taken if one in suspicion.guilty}
        suspicion.committed(taken.stop)
        place = taken.stop
    assert {} == suspicion.guilty
    return dead, refusals


@given(st.integers(1, 300), st.sets(st.integers(0, 299), max_size=5))
def test_exactly_the_guilty_die(count: int, guilty: set[int]) -> None:
    """Whichever records are refused, those and no others become dead letters."""
    assert {one for one in guilty if one < count} == worked_off(range(count), guilty)[0]


def test_few_refusals_find_one_of_many() -> None:
    """One of 1,024 is found by halving: eleven refusals."""
    assert ({700}, 11) == worked_off(range(1_024), {700})


def test_a_refused_dead_letter_is_no_more_to_be_tried() -> None:
    """Where the dead letter is refused as well, the partition has to wait for somebody."""
    suspicion = Suspicion()
    assert suspicion.refused(7, 8, 1, "too large")
    assert not suspicion.refused(7, 8, 1, "too large")


def test_a_guilty_record_with_output_left_is_tried_again() -> None:
    """Each time one more of its outputs is left out; only when its dead letters alone are refused is there nothing left to try."""
    suspicion = Suspicion()
    assert suspicion.refused(5, 6, 1, "first")
    assert suspicion.refused(5, 6, 1, "second", spared=True)
    assert {5: ("first", "second")} == suspicion.guilty
    assert not suspicion.refused(5, 6, 1, "third")
