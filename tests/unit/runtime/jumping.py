"""Runs a test on a loop whose waits cost nothing: what takes seconds in a process takes none here, in the same order."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

from pipeline.testing.loop import JumpingLoop

_P = ParamSpec("_P")


def jumping(test: Callable[_P, Coroutine[Any, Any, None]]) -> Callable[_P, None]:
    """Make a plain test of a coroutine function.

    Args:
        test: The test.

    Returns:
        The same, run to its end on a jumping loop of its own.
    """

    @functools.wraps(test)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run
