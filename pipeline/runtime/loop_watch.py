"""Watches whether the event loop turns: heartbeats, deadlines and every partition of a process share it (reference: reliability, rule 6)."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Final

from pipeline.ports.clock import Clock
from pipeline.ports.metrics import Metrics

_log = logging.getLogger(__name__)

TICK_SECONDS: Final = 0.2
STALL_SECONDS: Final = 4.0
"""Two thirds of a group's session: a loop that stands for so long is about to lose its partitions, and must do no more work on them."""
GUARD_SECONDS: Final = 0.5
STALLED_STATUS: Final = 75
"""Exit status of a process whose loop stood still (EX_TEMPFAIL of sysexits.h: to start again may help)."""


def is_stalled(now: float, turned: float, looked: float, *, limit: float) -> bool:
    """Say whether a loop stands still.

    Args:
        now: Monotonic time in seconds.
        turned: When the loop turned last.
        looked: When the one who asks looked last. Who did not get to look for long was stopped himself, and so was the loop: it gets
            its chance first.
        limit: For how long a loop may stand still.

    Returns:
        Whether it does.
    """
    return now - turned > limit and now - looked < 3 * GUARD_SECONDS


class LoopWatch:
    """Measures how late timers come, and ends a process whose loop stands still.

    A timer that is due while a turn lasts comes late by what is left of it. What a turn costs in CPU is measured beside this (`loop_turns`).
    A turn that holds Python's lock all the time (one call into a library) keeps the guard waiting too: then the group finds out, and fences.

    Args:
        clock: Time.
        metrics: Counts.
        process: Name of the process.
        limit_seconds: For how long the loop may stand still.
        end: Ends the process.
    """

    def __init__(
        self,
        clock: Clock,
        metrics: Metrics,
        *,
        process: str,
        limit_seconds: float = STALL_SECONDS,
        end: Callable[[], None] = lambda: os._exit(STALLED_STATUS),
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._process = process
        self._limit = limit_seconds
        self._end = end
        self._turned = clock.monotonic()

    async def run(self) -> None:
        """Watch the loop that this is awaited on, until cancelled."""
        stopped = threading.Event()
        self._turned = self._clock.monotonic()
        guard = threading.Thread(target=self._guard, args=(stopped, threading.get_ident()), name="loop guard", daemon=True)
        guard.start()
        try:
            while True:
                due = self._clock.monotonic() + TICK_SECONDS
                await self._clock.sleep(TICK_SECONDS)
                self._turned = self._clock.monotonic()
                self._metrics.observe("headrace_loop_lag_seconds", max(0.0, self._turned - due), process=self._process)
        finally:
            stopped.set()
            await asyncio.to_thread(guard.join, 2 * GUARD_SECONDS)

    def _guard(self, stopped: threading.Event, watched: int) -> None:
        looked = self._clock.monotonic()
        while not stopped.wait(GUARD_SECONDS):
            now = self._clock.monotonic()
            if is_stalled(now, self._turned, looked, limit=self._limit):
                frame = sys._current_frames().get(watched)  # noqa: SLF001 (the documented way to see what another thread does)
                where = "".join(traceback.format_stack(frame, 4)) if frame is not None else ""
                _log.critical("The loop has not turned for %.1f s; the process ends, to be started again. It was at:\n%s", now - self._turned, where)
                self._end()
                return
            looked = now
