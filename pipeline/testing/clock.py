"""Time that stands still until a test moves it."""

from __future__ import annotations

import asyncio


class HandClock:
    """A clock that only a test moves; who sleeps wakes when it was moved far enough.

    Args:
        now_ms: Wall time at the start, milliseconds since the epoch.
    """

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms
        self._sleepers: dict[asyncio.Future[None], int] = {}

    def now_ms(self) -> int:
        """Give the wall time in milliseconds since the epoch."""
        return self._now_ms

    def monotonic(self) -> float:
        """Give the same time in seconds."""
        return self._now_ms / 1000

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was moved so far.

        Args:
            seconds: How long; less than a millisecond counts as one.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers[future] = self._now_ms + max(1, round(seconds * 1000))
        try:
            await future
        finally:
            self._sleepers.pop(future, None)

    def next_waking_ms(self) -> int | None:
        """Give the earliest time at which someone wakes, or None where nobody sleeps."""
        return min(self._sleepers.values(), default=None)

    def move(self, to_ms: int) -> None:
        """Move the clock and wake who has slept long enough.

        Args:
            to_ms: The new time, milliseconds since the epoch.

        Raises:
            ValueError: The time lies in the past.
        """
        if to_ms < self._now_ms:
            raise ValueError(f"the clock cannot go back from {self._now_ms} to {to_ms}")
        self._now_ms = to_ms
        for future, waking in list(self._sleepers.items()):
            if waking <= to_ms and not future.done():
                future.set_result(None)
