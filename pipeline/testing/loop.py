"""An event loop without waiting: when nothing is ready, its time jumps to the next timer. Nothing outside the process takes part.

The runtime's own short waits (polls, retries of a broker that is away) cost a test nothing this way, and happen in the same order each time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

_T = TypeVar("_T")


class _Jumping(selectors.DefaultSelector):
    """Hands over what the system has, and instead of waiting lets the loop's time jump."""

    def __init__(self, jump: Callable[[float | None], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found and (timeout is None or timeout > 0):
            self._jump(timeout)
        return found


class JumpingLoop(asyncio.SelectorEventLoop):
    """The loop that a driver runs on."""

    def __init__(self) -> None:
        self._jumped_to = 0.0
        self._waiting_for_quiet: list[asyncio.Future[None]] = []
        super().__init__(_Jumping(self._jump))

    def time(self) -> float:
        """Give the loop's own time in seconds from 0."""
        return self._jumped_to

    async def quiet(self) -> None:
        """Wait until nothing is ready to run any more; the loop's time stands still until then."""
        future = self.create_future()
        self._waiting_for_quiet.append(future)
        await future

    def _jump(self, seconds: float | None) -> None:
        if self._waiting_for_quiet:
            for future in self._waiting_for_quiet:
                if not future.done():
                    future.set_result(None)
            self._waiting_for_quiet.clear()
        elif seconds is not None:
            self._jumped_to += seconds
        else:
            raise RuntimeError("everything waits for something that cannot happen any more")

    def run_in_executor(self, executor: Executor | None, func: Callable[..., _T], *args: Any) -> asyncio.Future[_T]:  # type: ignore[override]  # noqa: ANN401 (asyncio's own signature)
        """Run a function at once, in this thread, so that nothing happens at a time of its own."""
        del executor
        future: asyncio.Future[_T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 (belongs to whoever awaits the future)
            future.set_exception(error)
        return future
