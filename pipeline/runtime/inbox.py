"""What waits for the worker of one partition, bounded in bytes: the place where backpressure begins."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from math import ceil
from typing import Final

from pipeline.model.record import Record

INBOX_BYTES: Final = 2 * 1024 * 1024
"""Input that waits for a partition's worker; above it the partition is paused. What follows waits packed, in the client."""
_RECORD_OVERHEAD: Final = 256


class InboxClosedError(Exception):
    """The inbox is closed and empty: the partition is handed on."""


class _Run:
    """Records that were put together, less those that were taken. They count as equally large: to weigh each costs as much as to take it."""

    __slots__ = ("_next", "_records", "mean")

    def __init__(self, records: Sequence[Record], mean: float) -> None:
        self._records = records
        self._next = 0
        self.mean = mean

    @property
    def is_empty(self) -> bool:
        return self._next >= len(self._records)

    def next(self, room: float) -> list[Record]:
        """Give as many as fill the room, and at least one."""
        first, self._next = self._next, self._next + max(1, ceil(room / self.mean))
        return list(self._records[first : self._next])


class Inbox:
    """Records of one partition, filled by the host, emptied by its worker, bounded in bytes.

    Args:
        limit_bytes: Size above which the host pauses the partition.
        on_room: Called when the size falls under half of the limit after it was above.

    Attributes:
        closed: Whether nothing more comes.
        taken: Offset after the last record that was taken; -1 before the first.
    """

    def __init__(self, limit_bytes: int, on_room: Callable[[], None]) -> None:
        self._runs: deque[_Run] = deque()
        self._count = 0
        self._bytes = 0.0
        self._limit = limit_bytes
        self._on_room = on_room
        self._arrived = asyncio.Event()
        self._over = False
        self.closed = False
        self.taken = -1

    def __len__(self) -> int:
        """Count the records that wait."""
        return self._count

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return int(self._bytes)

    def put(self, records: Sequence[Record]) -> bool:
        """Add fetched records.

        Args:
            records: Records in order.

        Returns:
            Whether the inbox is now above its limit.
        """
        if records:
            size = _size(records)
            self._runs.append(_Run(records, size / len(records)))
            self._count += len(records)
            self._bytes += size
        self._arrived.set()
        if self._bytes > self._limit:
            self._over = True
        return self._over

    async def take(self, max_bytes: int, timeout_seconds: float | None) -> list[Record]:
        """Take the oldest records.

        Args:
            max_bytes: About the most bytes of keys, values and headers: records that were put together count alike. At least one is given.
            timeout_seconds: Longest wait for a first record, or None to wait for ever.

        Returns:
            Records in order; empty when none came in time.

        Raises:
            InboxClosedError: The inbox is closed and empty.
        """
        if not self._runs and not self.closed:
            self._arrived.clear()
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._arrived.wait()
            except TimeoutError:
                return []
        if not self._runs:
            if self.closed:
                raise InboxClosedError
            return []
        taken: list[Record] = []
        room = float(max_bytes)
        while self._runs and (room > 0 or not taken):
            run = self._runs[0]
            part = run.next(room)
            taken = taken + part if taken else part
            room -= len(part) * run.mean
            self._bytes -= len(part) * run.mean
            if run.is_empty:
                self._runs.popleft()
        self._count -= len(taken)
        if not self._runs:
            self._bytes = 0.0
        self.taken = taken[-1].offset + 1
        if self._over and self._bytes < self._limit // 2:
            self._over = False
            self._on_room()
        return taken

    def close(self) -> None:
        """Say that nothing more comes; what has not been taken is let go."""
        self.closed = True
        self._runs.clear()
        self._count = 0
        self._bytes = 0.0
        self._arrived.set()


def _size(records: Sequence[Record]) -> int:
    size = _RECORD_OVERHEAD * len(records)
    for _, _, _, _, key, value, headers in records:
        if value is not None:
            size += len(value)
        if key is not None:
            size += len(key)
        for name, content in headers:
            size += len(name) + (len(content) if content else 0)
    return size
