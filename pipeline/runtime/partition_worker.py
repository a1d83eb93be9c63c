"""What works on one partition: the order of its life, and where it starts to read."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from pipeline.model.record import TopicPartition
from pipeline.ports.broker import Blocked, Membership, Position
from pipeline.runtime.inbox import Inbox
from pipeline.runtime.progress import Standing

_log = logging.getLogger(__name__)

ReadCommitted = Callable[[], Awaitable[Position | None]]


class PartitionWorker(Protocol):
    """Works on one assigned partition; made anew after each assignment and after each doubtful outcome."""

    async def open(self, read_committed: ReadCommitted, bounds: tuple[int, int]) -> int:
        """Fence a stale owner, then read where to start, then restore state.

        Args:
            read_committed: Reads the group's committed position; to be called after fencing.
            bounds: First and end offset of the partition.

        Returns:
            The offset to start at.
        """
        ...

    async def run(self, inbox: Inbox) -> None:
        """Work until the inbox is closed, then finish what is in flight and return.

        Args:
            inbox: The partition's records.

        Raises:
            Fenced: The partition has a new owner.
            BrokerError: An outcome is doubtful; the host makes a new worker and rewinds.
        """
        ...

    def standing(self) -> Standing:
        """Say how far it is, and what it waits for on purpose."""
        ...

    async def close(self) -> None:
        """Release everything within a bound; never raises."""
        ...


MakeWorker = Callable[[TopicPartition, Membership], PartitionWorker]
"""Makes the worker of a partition that was assigned under a membership."""


def start_offset(committed: Position | None, bounds: tuple[int, int]) -> int:
    """Decide where to start to read.

    Args:
        committed: The group's position, or None for a new group.
        bounds: First and end offset of the partition.

    Returns:
        The committed offset; the first one for a new group, or where retention ran ahead of the group.

    Raises:
        Blocked: The position lies beyond the partition's end: the topic was made anew.
    """
    first, end = bounds
    if committed is None:
        return first
    if committed.offset > end:
        raise Blocked(
            f"the committed offset {committed.offset} lies beyond the end {end}: the topic was made anew; "
            "`headrace offsets reset` sets the group on purpose"
        )
    if committed.offset < first:
        _log.error("Records %d to %d are no longer in the topic: retention ran ahead of the group.", committed.offset, first - 1)
    return max(committed.offset, first)
