"""A loop that turns is left alone; one that stands still ends its process."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest

from pipeline.runtime.clock import SystemClock
from pipeline.runtime.loop_watch import GUARD_SECONDS, LoopWatch, is_stalled
from pipeline.testing import MemoryMetrics


def test_who_was_stopped_himself_is_no_judge() -> None:
    """A loop stands still when it has not turned for the limit, seen by a guard that could look; not after SIGSTOP of both."""
    assert is_stalled(14.1, 10, 13.6, limit=4)
    assert not is_stalled(13.9, 10, 13.4, limit=4)
    assert not is_stalled(30.0, 10, 10.2, limit=4)


async def test_a_loop_that_stands_ends_the_process(caplog: pytest.LogCaptureFixture) -> None:
    """While a handler blocks the loop, a thread beside it ends the process and says where the loop was; the lag is counted."""
    ended = threading.Event()
    metrics = MemoryMetrics()
    watch = LoopWatch(SystemClock(), metrics, process="filter", limit_seconds=GUARD_SECONDS, end=ended.set)
    watching = asyncio.create_task(watch.run())
    await asyncio.sleep(0.05)
    with caplog.at_level(logging.CRITICAL):
        while not ended.is_set():
            time.sleep(0.05)  # noqa: ASYNC251 (the fault)
    await asyncio.sleep(0.25)
    watching.cancel()
    await asyncio.wait([watching])
    assert "has not turned for" in caplog.text
    assert "test_a_loop_that_stands_ends_the_process" in caplog.text
    assert max(metrics.observations["headrace_loop_lag_seconds", ("filter",)]) > GUARD_SECONDS / 2


async def test_a_loop_that_turns_goes_on() -> None:
    """A loop with nothing to do is watched without a word."""
    ended = threading.Event()
    watch = LoopWatch(SystemClock(), MemoryMetrics(), process="filter", limit_seconds=2 * GUARD_SECONDS, end=ended.set)
    watching = asyncio.create_task(watch.run())
    await asyncio.wait([watching], timeout=3 * GUARD_SECONDS)
    watching.cancel()
    await asyncio.wait([watching])
    assert not ended.is_set()
