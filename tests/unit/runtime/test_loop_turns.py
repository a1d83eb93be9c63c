"""The CPU time of every turn of uvloop's loop is counted, and a long one is said."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
import uvloop

from pipeline.runtime.clock import SystemClock
from pipeline.runtime.loop_turns import LONG_SECONDS, LoopTurns, call_each_turn
from pipeline.testing import MemoryMetrics

METRIC = ("headrace_loop_turn_cpu_seconds", ("collector",))


def _work(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


async def _turns(metrics: MemoryMetrics, turns: LoopTurns, seconds: float) -> list[float]:
    running = asyncio.create_task(turns.run())
    await asyncio.sleep(0.01)
    before = len(metrics.observations.get(METRIC, ()))
    _work(seconds)
    await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    return metrics.observations[METRIC][before:]


def test_a_turn_costs_what_the_loops_thread_works() -> None:
    """What one handler works is in one turn, whole; a turn that waits costs next to nothing."""
    metrics = MemoryMetrics()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(_turns(metrics, LoopTurns(SystemClock(), metrics, process="collector"), 0.06))
    assert [turn for turn in found if turn >= 0.06] == [max(found)]


def test_a_wait_is_no_work() -> None:
    """A handler that blocks without CPU makes a late timer, not a long turn."""
    metrics = MemoryMetrics()

    async def blocked() -> list[float]:
        running = asyncio.create_task(LoopTurns(SystemClock(), metrics, process="collector").run())
        await asyncio.sleep(0.01)
        time.sleep(0.1)  # noqa: ASYNC251 (the fault)
        await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait([running])
        return list(metrics.observations.get(METRIC, ()))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert not [turn for turn in runner.run(blocked()) if turn > LONG_SECONDS]


def test_a_long_turn_is_said_once_and_a_short_one_never(caplog: pytest.LogCaptureFixture) -> None:
    """One line names the longest turn since the last one."""
    metrics = MemoryMetrics()
    turns = LoopTurns(SystemClock(), metrics, process="collector")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_turns(metrics, turns, 2 * LONG_SECONDS))
    with caplog.at_level(logging.WARNING):
        turns._say()
        turns._say()
    assert [record.message.partition(" took ")[0] for record in caplog.records] == ["One turn of the loop"]


def test_the_handle_is_gone_before_the_loop_is(caplog: pytest.LogCaptureFixture) -> None:
    """A loop that measured its turns closes without a word, and calls no more."""
    calls = 0

    def called(_handle: int) -> None:
        nonlocal calls
        calls += 1

    async def measured() -> int:
        end = call_each_turn(asyncio.get_running_loop(), called)
        for _ in range(5):
            await asyncio.sleep(0)
        end()
        so_far = calls
        for _ in range(5):
            await asyncio.sleep(0)
        return so_far

    with caplog.at_level(logging.DEBUG), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(measured()) == calls == 5
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_loop_of_another_kind_is_left_alone() -> None:
    """The own loop of asyncio has no end of a turn to be called at."""
    calls: list[None] = []
    end = call_each_turn(asyncio.get_running_loop(), lambda _handle: calls.append(None))
    await asyncio.sleep(0)
    end()
    assert calls == []
