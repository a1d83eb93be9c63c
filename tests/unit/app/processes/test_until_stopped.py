"""A process that is told to stop ends within a bound."""

from __future__ import annotations

import asyncio
import signal

import pytest

from pipeline.app.processes.work import STOP_SECONDS, until_stopped
from tests.unit.runtime.jumping import jumping


async def _endless() -> None:
    await asyncio.Event().wait()


def _tell_to_stop() -> None:
    signal.raise_signal(signal.SIGTERM)


@jumping
async def test_what_finishes_is_let_finish() -> None:
    """Work that ends a while after it was asked to is awaited, and what runs beside it goes on until then."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    beside = loop.create_future()
    finished: list[bool] = []

    async def work() -> None:
        await asked.wait()
        await asyncio.sleep(STOP_SECONDS - 1)
        finished.append(not beside.cancelled())

    async def company() -> None:
        await beside

    loop.call_later(1, _tell_to_stop)
    await until_stopped([work()], [company()], asked.set)
    assert [True] == finished
    assert beside.cancelled()


@jumping
async def test_what_does_not_finish_is_cut() -> None:
    """Work that hangs (a broker that does not answer) is cancelled when its time is over, and the process ends without an error."""
    loop = asyncio.get_running_loop()
    cut: list[float] = []

    async def work() -> None:
        try:
            await _endless()
        finally:
            cut.append(loop.time())

    before = loop.time()
    loop.call_later(1, _tell_to_stop)
    await until_stopped([work()], [_endless()], lambda: None)
    assert [pytest.approx(before + 1 + STOP_SECONDS)] == cut


@jumping
async def test_what_fails_ends_the_process() -> None:
    """An error of the work is raised, after the rest has been asked to finish."""
    asked = asyncio.Event()

    async def rest() -> None:
        await asked.wait()

    async def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await until_stopped([rest(), work()], [_endless()], asked.set)
    assert asked.is_set()
