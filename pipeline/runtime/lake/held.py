"""What the workers of one process hold in memory together, and the turns that they take for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from pipeline.lake.memory import HELD_BYTES, next_move

SLICE_BYTES: Final = 512 * 1024
"""Input that all workers together lay out between two turns of the loop, so that heartbeats are never starved."""
_SLICE_LEAST: Final = 16 * 1024
WRITERS: Final = 4
"""How many workers turn rows into files at a time: they wait for the disk more than they compute, and each has its rows in memory once more."""


class Held:
    """Bytes that gathered rows take, by worker; shared by all workers of a process.

    Args:
        most: The bound. Each worker may go beyond it by one slice.

    Attributes:
        one_merges: Held by the one who merges files.
    """

    def __init__(self, most: int = HELD_BYTES) -> None:
        self._most = most
        self._sizes: dict[object, int] = {}
        self._writing: set[object] = set()
        self._few_write = asyncio.Semaphore(WRITERS)
        self._freed = asyncio.Event()
        self.one_merges = asyncio.Lock()

    @property
    def total(self) -> int:
        """Bytes that are held now."""
        return sum(self._sizes.values())

    @property
    def slice_bytes(self) -> int:
        """Input that one worker lays out at once."""
        return max(_SLICE_LEAST, SLICE_BYTES // max(1, len(self._sizes)))

    def note(self, worker: object, size: int) -> None:
        """Note how much a worker holds; 0 lets others go on.

        Args:
            worker: The worker.
            size: Bytes.
        """
        self._sizes[worker] = size
        if not size:
            self._freed.set()

    def leave(self, worker: object) -> None:
        """Forget a worker that has ended."""
        self._sizes.pop(worker, None)
        self._freed.set()

    async def may_take(self, worker: object, patience: float | None) -> bool:
        """Wait until a worker may take more.

        Args:
            worker: The worker.
            patience: Longest wait, seconds; who holds nothing waits for as long as it takes.

        Returns:
            Whether it may; else it must write what it has.
        """
        own = self._sizes.setdefault(worker, 0)
        try:
            async with asyncio.timeout(patience if own else None):
                while True:
                    largest = max((size for one, size in self._sizes.items() if one not in self._writing), default=0)
                    move = next_move(own, largest, self.total, self._most)
                    if move != "wait":
                        return move == "take"
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            return False

    @asynccontextmanager
    async def writing(self, worker: object) -> AsyncIterator[None]:
        """Be one of the few that turn rows into files at a time; the caller notes what it holds after it."""
        self._writing.add(worker)
        self._freed.set()  # among the others another one holds the most now
        try:
            async with self._few_write:
                yield
        finally:
            self._writing.discard(worker)
            self._freed.set()
