"""The rules by which a soak tells a process that grows from one that does not."""

from __future__ import annotations

import random

import pytest

from tests.faults.soak_rules import files_flat, floor_rise, leaking, memory_flat, slope_per_hour

HOUR = range(0, 3600, 10)


def noisy(level: float, spread: float) -> dict[tuple[str, int], list[tuple[float, float]]]:
    """Make the points of an hour that rise for ten minutes and then go up and down."""
    chance = random.Random(7)  # noqa: S311 (noise need not be secret)
    return {("enrich", 1): [(at, min(level, level * (0.5 + at / 1200)) + chance.uniform(-spread, spread)) for at in HOUR]}


def test_a_line_has_its_slope() -> None:
    """Two MB in half an hour are four in an hour; what the first half did counts for nothing."""
    assert 4.0 == pytest.approx(slope_per_hour([(0, 900.0), (1, 700.0), (1800, 10.0), (3600, 12.0)]))


def test_a_process_that_warms_up_is_flat() -> None:
    """Growth in the first ten minutes, and noise of half a MB or of ten files, are none."""
    assert (memory_flat(noisy(90, 0.5)).violations, files_flat(noisy(90, 5)).violations) == ((), ())


@pytest.mark.parametrize("mb_a_minute", [0.05, 1.0])
def test_a_leak_of_memory_is_found(mb_a_minute: float) -> None:
    """A leak of 1 MB a minute is found in the noise, and so is one of 3 MB an hour."""
    assert memory_flat(leaking(noisy(90, 0.5), lambda seconds: mb_a_minute * seconds / 60)).violations


def test_a_leak_of_a_file_a_fault_is_found() -> None:
    """One file at each of six faults in an hour is found in a noise of four files."""
    assert files_flat(leaking(noisy(90, 2), lambda seconds: seconds // 600)).violations


def test_a_short_soak_says_nothing_of_slopes() -> None:
    """Three minutes are no hour: the memory of a process that starts up rises; of too few points no floor is given."""
    short = {("enrich", 1): [(float(at), 60.0 + at) for at in range(0, 180, 10)]}
    assert () == memory_flat(short).violations
    assert 0.0 == floor_rise(short["enrich", 1][:7])
