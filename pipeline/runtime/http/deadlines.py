"""Ends what takes too long, with one timer for all connections: setting a timer and taking it back costs as much as parsing an answer."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Final, Protocol

_LOOP_RESOLUTION: Final = 0.001
"""uvloop counts whole milliseconds, so that its timers may come so much early."""


class Expiring(Protocol):
    """What waits for an answer."""

    def expire(self) -> None:
        """Wait no longer."""
        ...


class Deadlines:
    """Deadlines of all that waits for an answer.

    Args:
        loop: The loop that it waits on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[Expiring, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = inf

    def start(self, waiting: Expiring, seconds: float) -> None:
        """Expire something.

        Args:
            waiting: What waits.
            seconds: Longest time.
        """
        deadline = self._waiting[waiting] = self._loop.time() + seconds
        if deadline < self._looks_at:
            self._look_at(deadline)

    def stop(self, waiting: Expiring) -> None:
        """Let something be that waits no more."""
        self._waiting.pop(waiting, None)

    def close(self) -> None:
        """Expire nothing any more."""
        self._waiting.clear()
        self._look_at(inf)

    def _look_at(self, time: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at = time
        self._timer = self._loop.call_at(time, self._look) if time < inf else None

    def _look(self) -> None:
        now = self._loop.time() + _LOOP_RESOLUTION
        expired = [waiting for waiting, deadline in self._waiting.items() if deadline <= now]
        for waiting in expired:
            del self._waiting[waiting]
            waiting.expire()
        self._look_at(min(self._waiting.values(), default=inf))
