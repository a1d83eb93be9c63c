"""Watches whether the event loop turns: heartbeats, deadlines and every partition of a process share it (reference: reliability, rule 6)."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final

from pipeline.ports.clock import Clock
from pipeline.ports.metrics import Metrics

_log = logging.getLogger(__name__)

TICK_SECONDS: Final = 0.2
LONG_SECONDS: Final = 0.05
"""CPU time between two turns above which it is said."""
STALL_SECONDS: Final = 4.0
"""Two thirds of a group's session: a loop that stands for so long is about to lose its partitions, and must do no more work on them."""
GUARD_SECONDS: Final = 0.5
SAY_SECONDS: Final = 10.0
STALLED_STATUS: Final = 75
"""Exit status of a process whose loop stood still (EX_TEMPFAIL of sysexits.h: to start again may help)."""


def long_turn(late: float, cpu: float) -> float:
    """Say how much CPU time one turn took that kept a timer waiting.

    Args:
        late: How late the timer came, in seconds.
        cpu: CPU time that the loop's thread used since it was set.

    Returns:
        Seconds of CPU; what the machine gave to others meanwhile is none of it.
    """
    return max(0.0, min(late, cpu))


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

    A timer that is due while a turn lasts comes late by what is left of it, so a turn shorter than the tick may be seen in part, or not at all.
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
        self._said = float("-inf")

    async def run(self) -> None:
        """Watch the loop that this is awaited on, until cancelled."""
        stopped = threading.Event()
        self._turned = self._clock.monotonic()
        guard = threading.Thread(target=self._guard, args=(stopped, threading.get_ident()), name="loop guard", daemon=True)
        guard.start()
        try:
            while True:
                due, cpu = self._clock.monotonic() + TICK_SECONDS, time.thread_time()
                await self._clock.sleep(TICK_SECONDS)
                self._turn(self._clock.monotonic(), due, time.thread_time() - cpu)
        finally:
            stopped.set()
            await asyncio.to_thread(guard.join, 2 * GUARD_SECONDS)

    def _turn(self, now: float, due: float, cpu: float) -> None:
        self._turned = now
        late = max(0.0, now - due)
        self._metrics.observe("headrace_loop_lag_seconds", late, process=self._process)
        turn = long_turn(late, cpu)
        if turn > LONG_SECONDS and now - self._said >= SAY_SECONDS:
            self._said = now
            _log.warning("One turn of the loop took %d ms of CPU; above %d ms heartbeats and deadlines suffer.", turn * 1000, LONG_SECONDS * 1000)

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
