"""The one place that reads the time."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """The machine's clock, for everything but tests."""

    def now_ms(self) -> int:
        """Give the wall time in milliseconds since the epoch, UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Give seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait.

        Args:
            seconds: How long.
        """
        await asyncio.sleep(seconds)
