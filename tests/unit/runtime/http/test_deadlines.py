"""One timer for all that waits for an answer."""

from __future__ import annotations

import asyncio
from typing import cast

from pipeline.runtime.http.deadlines import Deadlines


class Loop:
    """A loop whose time is moved by hand.

    Attributes:
        made: How many timers were set.
    """

    def __init__(self) -> None:
        self.now = 100.0
        self.made = 0
        self._timer: Timer | None = None

    def time(self) -> float:
        """Give the time."""
        return self.now

    def call_at(self, when: float, look: object) -> Timer:
        """Set the timer."""
        self.made += 1
        self._timer = Timer(when, look)
        return self._timer

    def pass_time(self, seconds: float) -> None:
        """Move the time, and fire what is due."""
        self.now += seconds
        timer = self._timer
        if timer is not None and not timer.cancelled and timer.when <= self.now:
            timer.fire()


class Timer:
    """A timer of it."""

    def __init__(self, when: float, look: object) -> None:
        self.when = when
        self.cancelled = False
        self._look = look

    def cancel(self) -> None:
        """Take it back."""
        self.cancelled = True

    def fire(self) -> None:
        """Call what it is for."""
        assert callable(self._look)
        self._look()


class Waiting:
    """Something that waits."""

    def __init__(self) -> None:
        self.expired = 0

    def expire(self) -> None:
        """Count."""
        self.expired += 1


def deadlines() -> tuple[Loop, Deadlines]:
    """Make deadlines on a loop that is moved by hand."""
    loop = Loop()
    return loop, Deadlines(cast("asyncio.AbstractEventLoop", loop))


def test_what_waits_too_long_expires_and_the_rest_goes_on() -> None:
    """Each expires once, at its own time, whatever the order in which they began."""
    loop, all_deadlines = deadlines()
    slow, quick = Waiting(), Waiting()
    all_deadlines.start(slow, 10)
    all_deadlines.start(quick, 3)
    loop.pass_time(3)
    assert (0, 1) == (slow.expired, quick.expired)
    loop.pass_time(7)
    assert (1, 1) == (slow.expired, quick.expired)


def test_what_was_answered_does_not_expire() -> None:
    """One that stopped is let be; one that begins again has its whole time anew."""
    loop, all_deadlines = deadlines()
    again = Waiting()
    all_deadlines.start(again, 3)
    all_deadlines.stop(again)
    loop.pass_time(2)
    all_deadlines.start(again, 3)
    loop.pass_time(1)
    assert 0 == again.expired
    loop.pass_time(2)
    assert 1 == again.expired


def test_a_timer_serves_many() -> None:
    """A thousand requests after one another, each answered, set one timer."""
    loop, all_deadlines = deadlines()
    for _ in range(1000):
        one = Waiting()
        all_deadlines.start(one, 10)
        all_deadlines.stop(one)
        loop.pass_time(0.001)
    assert 1 == loop.made


def test_nothing_expires_after_the_end() -> None:
    """What is closed looks at nothing any more."""
    loop, all_deadlines = deadlines()
    one = Waiting()
    all_deadlines.start(one, 1)
    all_deadlines.close()
    loop.pass_time(2)
    assert 0 == one.expired
