"""Measures the CPU time of each turn of the event loop: heartbeats, deadlines and every partition of a process wait for the longest one.

libuv itself says when a turn is over: a prepare handle is called once a turn, before the loop waits for I/O
(https://docs.libuv.org/en/v1.x/prepare.html). uvloop gives the loop's address for such uses (`libuv_get_loop_t_ptr`) and no handle of its own. It
costs about 1 µs a turn, however many events the turn handles. Turns that do next to nothing are many and tell nothing: they are not counted.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import time
from collections.abc import Callable
from typing import Any, Final

import uvloop
import uvloop.loop

from pipeline.ports.clock import Clock
from pipeline.ports.metrics import Metrics

_log = logging.getLogger(__name__)

LONG_SECONDS: Final = 0.05
"""CPU time of a turn above which it is said (reference: reliability, rule 6)."""
SHORT_SECONDS: Final = 0.0001
"""CPU time up to which a turn is not counted."""
SAY_SECONDS: Final = 10.0
_PREPARE: Final = 9
"""The kind of handle in libuv's `uv_handle_type`."""
_Called = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def call_each_turn(loop: asyncio.AbstractEventLoop, called: Callable[[int], None]) -> Callable[[], None]:
    """Have a function called at the end of each turn of a loop, in the loop's thread.

    Args:
        loop: The running loop. One that is not uvloop's has no such moment: nothing is called.
        called: The function; quick, and without exceptions. It gets the address of the handle, which says nothing.

    Returns:
        Ends it; to be called while the loop still runs.
    """
    if not isinstance(loop, uvloop.Loop):
        return lambda: None
    libuv = ctypes.CDLL(uvloop.loop.__file__)
    address = ctypes.pythonapi.PyCapsule_GetPointer
    address.restype, address.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    handle = ctypes.create_string_buffer(libuv.uv_handle_size(_PREPARE))
    function = _Called(called)
    where = uvloop.loop.libuv_get_loop_t_ptr(loop)  # type: ignore[attr-defined]  # its stub leaves it out
    libuv.uv_prepare_init(ctypes.c_void_p(address(where, None)), handle)
    libuv.uv_prepare_start(handle, function)
    libuv.uv_unref(handle)  # a loop with nothing else to do may end

    def keep(*_memory: Any) -> None:  # noqa: ANN401 (only holds them)
        """Hold what libuv still reads until the turn is over in which the handle closes."""

    def end() -> None:
        libuv.uv_prepare_stop(handle)
        libuv.uv_close(handle, None)
        loop.call_soon(keep, handle, function)

    return end


class LoopTurns:
    """Counts how much CPU time each turn of a process's loop takes, and says when one was long.

    Args:
        clock: Time.
        metrics: Counts.
        process: Name of the process.
    """

    def __init__(self, clock: Clock, metrics: Metrics, *, process: str) -> None:
        self._clock = clock
        self._metrics = metrics
        self._process = process
        self._before = 0.0
        self._long: list[float] = []

    async def run(self) -> None:
        """Measure the loop that this is awaited on, until cancelled."""
        self._before = time.thread_time()
        end = call_each_turn(asyncio.get_running_loop(), self._turned)
        try:
            while True:
                await self._clock.sleep(SAY_SECONDS)
                self._say()
        finally:
            end()

    def _turned(self, _handle: int) -> None:
        now = time.thread_time()  # the thread's own: what the machine gives to others meanwhile is none of it
        turn, self._before = now - self._before, now
        if turn > SHORT_SECONDS:
            self._metrics.observe("headrace_loop_turn_cpu_seconds", turn, process=self._process)
            if turn > LONG_SECONDS:
                self._long.append(turn)

    def _say(self) -> None:
        if self._long:
            longest = max(self._long) * 1000
            _log.warning("One turn of the loop took %d ms of CPU; above %d ms heartbeats and deadlines suffer.", longest, LONG_SECONDS * 1000)
            self._long.clear()
