"""Whether a group member moves: what its liveness means (reference: reliability, design rule 21).

A partition stands still when there is something to do, nothing on purpose to wait for, and nothing gets done, though the broker
answers. Whether a destination answers, a disk has room or a right is granted never counts: to start again would mend none of them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

PATIENCE_SECONDS: Final = 60.0
"""How long a partition may stand still: longer than a take-over (30 s) and a commit without an answer (9 s) together."""


class Standing(NamedTuple):
    """What a worker says of itself.

    Attributes:
        done: Offset before which everything is committed; -1 before it is open.
        waits_for: What it waits for on purpose, or empty.
        restored: Records of its state that it has read before it is open.
    """

    done: int
    waits_for: str = ""
    restored: int = 0


class Place(NamedTuple):
    """Where a partition was found at a look.

    Attributes:
        moved: Numbers of which one grows whenever something gets done. What only goes back to be done again does not count.
        has_work: Whether there is something that is not done.
        waits_for: What it waits for on purpose, or empty.
    """

    moved: tuple[int, ...]
    has_work: bool
    waits_for: str = ""


class Progress:
    """Compares the looks at one partition."""

    def __init__(self) -> None:
        self._best: tuple[int, ...] = ()
        self._since: float | None = None

    def look(self, now: float, place: Place | None) -> float:
        """Take a look.

        Args:
            now: Monotonic time in seconds.
            place: What was found, or None where the broker did not answer: that time does not count.

        Returns:
            For how many seconds it has stood still; 0 where it moves, waits on purpose or has nothing to do.
        """
        if place is None:
            self._since = None
            return 0.0
        best = self._best or place.moved
        moves = not self._best or any(new > old for new, old in zip(place.moved, best, strict=True))
        self._best = tuple(map(max, place.moved, best))
        if not place.has_work or place.waits_for:
            self._since = None
            return 0.0
        if moves or self._since is None:
            self._since = now
        return now - self._since
