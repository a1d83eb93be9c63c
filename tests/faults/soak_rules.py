"""When a process counts as growing: its memory by the slope of a line, its open files by their floor. Pure functions over what a soak noted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tests.faults.laws import Verdict

Points = Sequence[tuple[float, float]]
"""Seconds and values, in order."""
Named = Mapping[tuple[str, int], Points]
"""The points of each process, by name and pid."""

SLOPE_MOST: Final = 1.0
"""Most growth of a process's memory, in MB an hour, over the second half of the soak."""
SLOPE_SECONDS: Final = 50 * 60
"""A slope an hour says nothing over less."""
FILES_MOST: Final = 2
"""Most open files by which the floor may rise from the second quarter to the last one: a leak of one at each fault rises by more in an hour."""
POINTS_LEAST: Final = 8


def slope_per_hour(points: Points) -> float:
    """Fit a line through the second half of some points, by least squares.

    Args:
        points: Seconds and values.

    Returns:
        Growth of the value in an hour.
    """
    half = points[len(points) // 2 :]
    if len(half) < 2:
        return 0.0
    middle = sum(at for at, _ in half) / len(half)
    mean = sum(value for _, value in half) / len(half)
    spread = sum((at - middle) ** 2 for at, _ in half)
    return 3600 * sum((at - middle) * (value - mean) for at, value in half) / spread if spread else 0.0


def floor_rise(points: Points) -> float:
    """Give by how much the least value of the last quarter lies above that of the second quarter; what comes and goes in between counts for nothing.

    Args:
        points: Seconds and values.

    Returns:
        The rise; 0 where there are too few points.
    """
    if len(points) < POINTS_LEAST:
        return 0.0
    quarter = len(points) // 4
    second, last = points[quarter : 2 * quarter], points[-quarter:]
    return min(value for _, value in last) - min(value for _, value in second)


def memory_flat(memory: Named) -> Verdict:
    """L9: the memory of no process that lived long enough grows by more than a MB an hour.

    Args:
        memory: MB of each process.
    """
    slopes = {name: slope_per_hour(points) for (name, _), points in memory.items() if points[-1][0] - points[0][0] >= SLOPE_SECONDS}
    grown = tuple(f"{name} {slope:+.1f} MB an hour" for name, slope in slopes.items() if slope > SLOPE_MOST)
    return Verdict("L9 memory flat", len(slopes), grown)


def files_flat(files: Named) -> Verdict:
    """L9: no process keeps more and more files open.

    Args:
        files: Open files of each process.
    """
    rises = {name: floor_rise(points) for (name, _), points in files.items()}
    return Verdict("L9 open files flat", len(rises), tuple(f"{name} {rise:+.0f} files" for name, rise in rises.items() if rise > FILES_MOST))


def leaking(points: Named, leaked: Callable[[float], float]) -> dict[tuple[str, int], list[tuple[float, float]]]:
    """Give the points of broken builds that leak.

    Args:
        points: Those of the product.
        leaked: How much was leaked after so many seconds.
    """
    return {name: [(at, value + leaked(at - found[0][0])) for at, value in found] for name, found in points.items() if found}
