"""Who of those that gather rows goes on, waits or writes, so that all of them together hold no more than a bound, whatever the backlog."""

from __future__ import annotations

from typing import Final, Literal

HELD_BYTES: Final = 192 * 1024 * 1024
"""What gathered rows may take in memory, over all partitions of a process. With a quarter of it files are so small that a row costs a third more."""

Move = Literal["take", "wait", "write"]


def next_move(own: int, largest: int, total: int, most: int = HELD_BYTES) -> Move:
    """Say what one does next.

    Who holds nothing begins only while less than half of the bound is held, so that under a backlog a few gather at a time, and files stay
    large. Where the bound is reached, who holds the most writes, and the others wait for that.

    Args:
        own: Bytes that it holds.
        largest: The most that anyone holds who is not writing.
        total: Bytes that all hold, those that are being written included.
        most: The bound.

    Returns:
        The move.
    """
    if own == 0:
        return "take" if total < most // 2 else "wait"
    if total < most:
        return "take"
    return "write" if own >= largest else "wait"
