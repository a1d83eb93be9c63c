"""Time, given in so that tests move it by hand."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Wall time for what is written down, monotonic time for what is waited for."""

    def now_ms(self) -> int:
        """Give the wall time in milliseconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Give seconds that never go back, from an arbitrary start."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait.

        Args:
            seconds: How long, at least 0.
        """
        ...
