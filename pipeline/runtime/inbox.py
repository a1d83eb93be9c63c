"""What waits for the worker of one partition, bounded in bytes: the place where backpressure begins."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from pipeline.model.record import Record

INBOX_BYTES: Final = 8 * 1024 * 1024
"""Input that waits for a partition's worker; above it the partition is paused."""
_RECORD_OVERHEAD: Final = 256


class InboxClosedError(Exception):
    """The inbox is closed and empty: the partition is handed on."""


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
        self._records: deque[Record] = deque()
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self._limit = limit_bytes
        self._on_room = on_room
        self._arrived = asyncio.Event()
        self._over = False
        self.closed = False
        self.taken = -1

    def __len__(self) -> int:
        """Count the records that wait."""
        return len(self._records)

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return self._bytes

    def put(self, records: Sequence[Record]) -> bool:
        """Add fetched records.

        Args:
            records: Records in order.

        Returns:
            Whether the inbox is now above its limit.
        """
        sizes = [_size(record) for record in records]
        self._records.extend(records)
        self._sizes.extend(sizes)
        self._bytes += sum(sizes)
        self._arrived.set()
        if self._bytes > self._limit:
            self._over = True
        return self._over

    async def take(self, max_bytes: int, timeout_seconds: float | None) -> list[Record]:
        """Take the oldest records.

        Args:
            max_bytes: Most bytes of keys, values and headers; at least one record is given.
            timeout_seconds: Longest wait for a first record, or None to wait for ever.

        Returns:
            Records in order; empty when none came in time.

        Raises:
            InboxClosedError: The inbox is closed and empty.
        """
        if not self._records and not self.closed:
            self._arrived.clear()
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._arrived.wait()
            except TimeoutError:
                return []
        if not self._records:
            if self.closed:
                raise InboxClosedError
            return []
        taken: list[Record] = []
        size = 0
        records, sizes = self._records, self._sizes
        while records and (size < max_bytes or not taken):
            taken.append(records.popleft())
            size += sizes.popleft()
        self._bytes -= size
        self.taken = taken[-1].offset + 1
        if self._over and self._bytes < self._limit // 2:
            self._over = False
            self._on_room()
        return taken

    def close(self) -> None:
        """Say that nothing more comes; what has not been taken is let go."""
        self.closed = True
        self._records.clear()
        self._sizes.clear()
        self._bytes = 0
        self._arrived.set()


def _size(record: Record) -> int:
    size = _RECORD_OVERHEAD + (len(record.value) if record.value else 0) + (len(record.key) if record.key else 0)
    for name, value in record.headers:
        size += len(name) + (len(value) if value else 0)
    return size
